/* idle.h -- the connections to one instance that nobody uses at the moment.
 *
 * Receives connections that may be used again, and the probe's, which nobody has used yet. Owns them until they are taken.
 * Emits nothing. Refuses (closes) what is beyond INSTANCE_IDLE_MAX.
 *
 * A function may serve one connection after the other: while it reads an idle one, the requests on all others wait. So
 * with other requests in flight none is kept for longer than about INSTANCE_IDLE_BUSY_US, and none at all once its accept
 * queue was full (`crowded`, written by who connects). Loop thread. */
#pragma once

#include "os/loop.h"

enum {
    INSTANCE_IDLE_MAX = 128,
    INSTANCE_IDLE_BUSY_US = 25000,
};

struct idle { /* embedded; only `crowded` is for others to write */
    struct loop *loop;
    const uint32_t *in_flight; /* of the instance */
    bool crowded;
    int fresh_fd; /* never used; -1: none */
    int fds[INSTANCE_IDLE_MAX];
    uint32_t count;
    uint32_t untouched; /* the fewest since the last look: these were idle all the while */
    struct loop_timer look;
    bool looking;
};

void idle_init(struct idle *k, struct loop *l, const uint32_t *in_flight); /* both outlive it */
void idle_done(struct idle *k);
void idle_rest(struct idle *k);  /* no timer any more: the instance goes down */
void idle_clear(struct idle *k); /* closes those that were used */

void idle_fresh(struct idle *k, int take_fd); /* the first is kept, for the first request */
void idle_give(struct idle *k, int take_fd);  /* while it is still counted in flight */
int idle_take(struct idle *k, bool *ret_reused); /* -1: none */
