/* courier.h -- tells who asked for it that an invocation ended, again until somebody has it.
 *
 * Receives the ids of invocations that owe a callback, from the desk, as often as it sees them. Owns, of each, a small
 * record while it waits, is under way, or what came of it is being written down.
 * Emits tries through courier_ops, at most invoke_callbacks_max at once, oldest first; what came of each is on disk before the next.
 * A try whose outcome was not written down (hob died) is made again: at least once, under the same webhook-id.
 * Refuses none for good: when invoke_waiting_max wait, or nothing can be sent at the moment, it is put off, which is no try.
 * Loop thread only. */
#pragma once

#include "invocation/callback.h"
#include "invocation/desk.h"

struct courier; /* opaque */
struct courier_try;

struct courier_ops {
    /* The value of a Secret's key, as it stands there ("name/key"). */
    int (*secret)(void *ctx, const char *ns, const char *name, struct buf *into, struct err *e);
    /* Sends it; courier_answered() once, later. < 0: nothing can be sent at the moment. */
    int (*post)(void *ctx, struct courier_try *y, const char *url, struct str headers, struct str body, struct err *e);
};
struct courier_world {
    struct loop *loop;
    const struct limits *limits;
    const struct courier_ops *ops;
    void *ctx;
    int64_t (*wall_ns)(void *ctx);
    uint64_t seed;
};
struct courier_answer {
    int status;              /* 0: none came; then `why` says why */
    uint64_t retry_after_ms; /* 0: not said */
    const char *why;
};

struct courier *courier_new(const struct courier_world *w);
/* After the host, whose inputs are all done then. Tries under way must not be answered any more. */
void courier_free(struct courier *c);
DEFINE_AUTO(courier, struct courier *, courier_free)
void courier_attach(struct courier *c, struct desk *d, struct durable_host *h); /* before its start */
void courier_answered(struct courier_try *y, const struct courier_answer *a);
void courier_stop(struct courier *c); /* no further try begins */
bool courier_idle(const struct courier *c); /* none is under way */

struct courier_counts {
    uint64_t tries, taken, given_up, put_off;
    uint32_t waiting, running;
};
struct courier_counts courier_counts(const struct courier *c);
void courier_check(const struct courier *c); /* asserts the invariants */

/* What an answer means. Pure. */
void courier_means(const struct courier_answer *a, struct invocation_called *ret, char why[128]);
