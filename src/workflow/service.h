/* service.h -- Temporal's service: what its RPCs do, over the durable host, matching and the runs.
 *
 * Receives calls: decoded requests (api/temporal checks what does not depend on state), and the host's callbacks.
 * Owns task queues, what waits (polls, long polls for history, queries, updates), the namespaces, the errands that
 * are on their way, and the tokens it gave out.
 * Emits for each call exactly one answer, as bytes, or one refusal: once what it says is durable.
 * Refuses in Temporal's words and with its error details.
 *
 * A call whose client has gone (service_gone()) is not answered; what it has begun in a run goes on, what
 * only waits is forgotten. Loop thread only. */
#pragma once

#include "durable/host.h"
#include "store/store.h"
#include "workflow/refusal.h"

struct service;      /* opaque */
struct service_call; /* opaque */

struct service_world {
    struct loop *loop;
    struct store *store;     /* namespaces; NULL: only in memory */
    struct journal *journal; /* lists */
    const struct limits *limits;
    int64_t (*wall_ns)(void *ctx);
    void *ctx;
    uint64_t seed;
    const char *version; /* GetSystemInfo */
    void (*on_limit)(void *ctx, const char *limit); /* may be NULL */
};

int service_open(const struct service_world *w, struct service **ret, struct err *e) MUST_USE;
/* The host is opened with these kinds (runs, schedules, batches), and told before anything else happens. */
struct durable_kind service_kind(struct service *s);
struct durable_kind service_schedule_kind(struct service *s);
struct durable_kind service_batch_kind(struct service *s);
void service_attach(struct service *s, struct durable_host *h);
/* Ends all that waits: polls with empty answers, the rest with UNAVAILABLE. New calls are refused. */
void service_drain(struct service *s);
void service_free(struct service *s); /* after the host */
DEFINE_AUTO(service, struct service *, service_free)

/* ---- calls ---- */

struct service_reply { /* one of the two; borrowed for the callback */
    struct str answer;
    const struct refusal *no; /* NULL: the answer */
};
/* done: never inside service_ask() or service_gone(). */
struct service_ask {
    struct str method; /* "PollWorkflowTaskQueue" */
    struct str message;
    int64_t timeout_ns; /* what the client still waits; INT64_MAX: it did not say */
    uint64_t worker;    /* the client is one that hob runs itself (service_worker.h); 0: it is not */
    void (*done)(void *owner, const struct service_reply *reply);
    void *owner;
};
/* 0: done follows, unless *ret is said to be gone before. -CODE_INVALID, -CODE_EXHAUSTED (not readable), -CODE_UNIMPLEMENTED. */
int service_ask(struct service *s, const struct service_ask *a, struct service_call **ret, struct refusal *no) MUST_USE;
void service_gone(struct service_call *c);

struct service_counts {
    uint64_t calls, waiting_calls, polls_empty, errands, errands_repeated;
};
void service_counts(const struct service *s, struct service_counts *ret);
struct matching;
const struct matching *service_matching(const struct service *s);

/* Makes a namespace, or search attributes, unless they are there (start-dev's flags). */
int service_namespace_make(struct service *s, const char *name, struct err *e) MUST_USE;
/* type: "Keyword", "Text", "Int", "Double", "Bool", "Datetime", "KeywordList". */
int service_attribute_make(struct service *s, const char *ns, const char *name, const char *type, struct err *e) MUST_USE;
