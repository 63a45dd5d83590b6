/* loop.h -- the event loop: descriptors, timers and deferred calls, one thread.
 *
 * Receives readiness from the kernel (epoll) or from a simulator, through `struct loop_world`.
 * Owns no descriptor: callers own theirs and must loop_unwatch() before closing.
 * Emits callbacks, one at a time, on the thread that runs loop_run(). A callback may watch,
 * unwatch, set or cancel anything, including itself; after loop_unwatch() or loop_cancel() the
 * callback does not come any more, not even in the same turn.
 * Refuses to block: nothing here sleeps but the wait for the next event.
 *
 * Time: loop_now_us() is the monotonic clock read once per turn, so decisions within a turn agree.
 * loop_clock_us() reads it afresh, for measurements.
 */
#pragma once

#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"

#include <sys/epoll.h>

struct loop;

struct loop_io { /* embedded by its owner; zero it first */
    int fd;
    uint32_t events;
    void (*on_ready)(struct loop_io *io, uint32_t events); /* EPOLLIN | EPOLLOUT | … */
    uint32_t slot; /* loop's own; 0: not watched */
};
struct loop_timer { /* embedded; zero it first */
    struct heap_node node;
    void (*on_due)(struct loop_timer *t);
};
struct loop_task { /* embedded; zero it first */
    struct list_node node;
    void (*run)(struct loop_task *t);
};

/* The seam. The default is epoll and CLOCK_MONOTONIC; a simulator brings its own. */
struct loop_event {
    uint32_t slot, events;
};
struct loop_world {
    uint64_t (*now_us)(struct loop_world *w);
    /* op: EPOLL_CTL_ADD, _MOD or _DEL */
    int (*control)(struct loop_world *w, int op, int fd, uint32_t events, uint32_t slot,
                   struct err *e);
    /* Waits until an event or due_us (absolute; UINT64_MAX: no bound; <= now: only look). Returns
     * how many events were written. EINTR is 0 events, not an error. */
    int (*wait)(struct loop_world *w, uint64_t due_us, struct loop_event *into, int max,
                struct err *e);
    void (*free)(struct loop_world *w);
};

int loop_open(struct loop **ret, struct err *e) MUST_USE;
int loop_open_in(struct loop_world *take_world, struct loop **ret, struct err *e) MUST_USE;
void loop_free(struct loop *l);
DEFINE_AUTO(loop, struct loop *, loop_free)

int loop_run(struct loop *l, struct err *e) MUST_USE; /* until loop_stop() */
void loop_stop(struct loop *l);
int loop_turn(struct loop *l, bool may_wait, struct err *e) MUST_USE; /* one turn, for tests */

uint64_t loop_now_us(const struct loop *l);
uint64_t loop_clock_us(struct loop *l);
int64_t loop_wall_ms(void); /* CLOCK_REALTIME, for people and records */

int loop_watch(struct loop *l, struct loop_io *io, int fd, uint32_t events, struct err *e) MUST_USE;
void loop_rewatch(struct loop *l, struct loop_io *io, uint32_t events); /* changes what is awaited */
void loop_unwatch(struct loop *l, struct loop_io *io);                  /* fine if not watched */
/* For a descriptor that has been closed already, which ended the watch in the kernel: only then may
 * loop_unwatch() be left out. If it is still open after all, nobody hears of its events. */
void loop_forget(struct loop *l, struct loop_io *io);
static inline bool loop_watched(const struct loop_io *io) { return io->slot != 0; }

void loop_at(struct loop *l, struct loop_timer *t, uint64_t due_us); /* sets, or moves */
void loop_after(struct loop *l, struct loop_timer *t, uint64_t delay_us);
void loop_cancel(struct loop *l, struct loop_timer *t); /* fine if not set */

/* Runs at the end of this turn, in order; a task deferred by a task runs in the next turn. */
void loop_defer(struct loop *l, struct loop_task *t); /* fine if already deferred */
void loop_undefer(struct loop *l, struct loop_task *t);
