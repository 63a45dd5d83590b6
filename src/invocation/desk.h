/* desk.h -- where durable invocations are accepted, attempted and asked about: the machine of invocation.h with the world.
 *
 * Receives what clients ask (desk_ask()), and what became of attempts (desk_over()).
 * Owns, of each invocation that waits for its attempt or has one, a small record; not the machines (durable/host.h).
 * Emits attempts through desk_ops: at most invoke_attempts_max at once, invoke_attempts_service_max of one service, and services
 * take turns. An attempt is on disk before `start` hears of it; its end is told again until it is on disk.
 * Refuses new invocations while invoke_waiting_max wait (CODE_EXHAUSTED), and what invocation.h refuses.
 *
 * An attempt that the state says is under way and this desk never began died with another process: it is lost, and what that
 * means is decision 0011's. Loop thread only. */
#pragma once

#include "invocation/invocation.h"

struct desk; /* opaque */

struct desk_attempt { /* texts live for the call */
    struct uuid id;
    uint32_t attempt;
    const char *ns, *service, *host;
    int64_t deadline_ms; /* 0: none */
    struct str request;
    struct str checkpoint; /* at NULL: none */
};
struct desk_ops {
    /* The function may see it from now on. desk_over() ends it, later. */
    void (*start)(void *ctx, const struct desk_attempt *a);
    /* It is to be given up: desk_over() follows as always. */
    void (*drop)(void *ctx, const struct uuid *id, uint32_t attempt);
};
struct desk_world {
    struct loop *loop;
    const struct limits *limits;
    const struct desk_ops *ops;
    void *ctx;
    uint64_t seed;
};

struct desk *desk_new(const struct desk_world *w);
/* After the host, whose inputs are all done then. Waiters are forgotten. */
void desk_free(struct desk *d);
DEFINE_AUTO(desk, struct desk *, desk_free)
struct durable_kind desk_kind(struct desk *d);              /* for durable_host_open() */
void desk_attach(struct desk *d, struct durable_host *h);   /* before its start */

/* Who is told, after each commit, of those that have ended and owe a callback now. May be told again. */
void desk_on_owed(struct desk *d, void (*on_owed)(void *ctx, const struct uuid *id), void *ctx);
void desk_stop(struct desk *d);       /* no attempt begins any more; those under way may end */
bool desk_idle(const struct desk *d); /* none is under way: of each that began, how it ended is on disk */

/* Takes end->take_answer. One that this desk does not know (any more) is nothing. */
void desk_over(struct desk *d, const struct uuid *id, const struct invocation_end *end);

/* The id that this key of this service is (0011). */
struct uuid desk_id_of(struct str ns, struct str service, struct str key);
/* The key of the journal's lists: all of this kind stand in one namespace; whose each is says its index (queue: namespace, type:
 * service, extra: account.h's text without the id). */
#define DESK_SPACE "invocations"

/* What is held in memory for clients, of all together at most invoke_bodies_bytes_max: makes of *held, which counts already,
 * `bytes`. False: no room for that, and it stays as it was. */
bool desk_hold(struct desk *d, uint64_t *held, uint64_t bytes);

enum desk_verb { DESK_ACCEPT, DESK_LOOK, DESK_CANCEL, DESK_REDRIVE, DESK_CHECKPOINT };
struct desk_told { /* lives for the call */
    bool fresh; /* ACCEPT: made by this */
    bool other; /* ACCEPT: there is one of this id with another fingerprint; nothing else of it is told */
    struct invocation_facts facts;
    struct str answer; /* asked for, and there is one; else at NULL */
};
struct desk_ask { /* embedded; lives until on_done */
    enum desk_verb verb;
    struct uuid id;
    struct invocation_spec spec; /* ACCEPT: its texts live until on_done */
    bool with_answer;            /* of one that has ended */
    uint32_t attempt;            /* CHECKPOINT */
    struct str checkpoint;       /* CHECKPOINT: lives until on_done */
    int64_t deadline_ms;         /* REDRIVE */
    /* Once, not within desk_ask(). r < 0: told is NULL. -CODE_NOT_FOUND: there is none. */
    void (*on_done)(struct desk_ask *q, int r, const struct desk_told *told, const struct err *e);
    /* own: */
    struct desk *desk;
    char text[UUID_TEXT];
    struct durable_input in;
    struct durable_history read;
    struct desk_told told;
    int result;
    struct err why;
};
void desk_ask(struct desk *d, struct desk_ask *q);

struct desk_waiter { /* embedded; zero it first */
    struct list_node node;
    void (*on_end)(struct desk_waiter *w); /* it has ended, or is there no more: ask again */
    struct dossier *dossier;               /* own; not NULL: it waits */
};
/* Of one that was told not to have ended in this turn of the loop. */
void desk_wait(struct desk *d, const struct uuid *id, struct desk_waiter *w);
void desk_wait_stop(struct desk_waiter *w); /* fine if it does not wait */

struct desk_counts {
    uint64_t accepted, repeated, conflicts, refused; /* ACCEPT: new, known, other request, no room */
    uint64_t attempts, lost;
    uint64_t ended[INVOKED_AMBIGUOUS + 1]; /* by status */
    uint64_t redrives;
    uint32_t queued, running, waiters;
    uint64_t held_bytes;
};
void desk_counts(const struct desk *d, struct desk_counts *ret);
void desk_check(const struct desk *d); /* asserts the invariants */
