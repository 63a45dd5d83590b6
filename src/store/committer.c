#include "store/committer.h"
#include "os/fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    RETRY_MS = 1000, /* between tries while the disk refuses */
    IDLE_MS = 10000, /* without work, until it is tended as idle */
};

struct committer {
    struct loop *loop;
    struct committer_spec spec;
    struct loop_io io;
    int event_fd;
    pthread_t thread;
    bool runs;

    /* loop thread */
    struct err health;
    struct list fresh; /* of this turn: handed over at its end, so that they are written together */
    struct loop_task hand_over;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    struct list waiting, done;
    struct err health_now;
    bool stopping;
};

static void list_move(struct list *from, struct list *to)
{
    for (struct list_node *n; (n = list_first(from)) != NULL;) {
        list_remove(from, n);
        list_push(to, n);
    }
}

/* ---- writer thread ---- */

/* Takes what waits; returns whether to go on. Nothing in `items`: the wait took too long. */
static bool wait_for_work(struct committer *c, struct list *items, bool was_idle)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    pthread_mutex_lock(&c->lock);
    bool unwell = c->health_now.code != CODE_OK;
    until.tv_sec += (unwell ? RETRY_MS : IDLE_MS) / 1000;
    int r = 0;
    while (c->waiting.count == 0 && !c->stopping && r == 0)
        r = was_idle && !unwell ? pthread_cond_wait(&c->wake, &c->lock)
                                : pthread_cond_timedwait(&c->wake, &c->lock, &until);
    list_move(&c->waiting, items);
    bool goes_on = items->count > 0 || !c->stopping;
    pthread_mutex_unlock(&c->lock);
    return goes_on;
}

static void hand_back(struct committer *c, struct list *items, const struct err *health)
{
    const uint64_t one = 1;
    pthread_mutex_lock(&c->lock);
    list_move(items, &c->done);
    c->health_now = *health;
    pthread_mutex_unlock(&c->lock);
    (void)!write(c->event_fd, &one, sizeof one);
}

static void *thread_main(void *arg)
{
    struct committer *c = arg;
    struct list items;
    bool idle = false;
    (void)pthread_setname_np(pthread_self(), c->spec.name);
    list_init(&items);
    while (wait_for_work(c, &items, idle)) {
        idle = items.count == 0;
        if (!idle || c->health_now.code != CODE_OK) {
            struct err e = { 0 };
            int r = c->spec.write(c->spec.ctx, &items, &e);
            hand_back(c, &items, r < 0 ? &e : &(struct err){ 0 });
        }
        c->spec.tend(c->spec.ctx, idle);
    }
    return NULL;
}

/* ---- loop thread ---- */

static void drain(struct committer *c)
{
    struct list done;
    list_init(&done);
    pthread_mutex_lock(&c->lock);
    list_move(&c->done, &done);
    c->health = c->health_now;
    pthread_mutex_unlock(&c->lock);
    for (struct list_node *n; (n = list_first(&done)) != NULL;) {
        list_remove(&done, n);
        c->spec.on_done(c->spec.ctx, n);
    }
}

static void on_event(struct loop_io *io, uint32_t events)
{
    struct committer *c = CONTAINER_OF(io, struct committer, io);
    uint64_t count;
    (void)events;
    (void)!read(c->event_fd, &count, sizeof count);
    drain(c);
}

static void fresh_hand_over(struct committer *c)
{
    pthread_mutex_lock(&c->lock);
    list_move(&c->fresh, &c->waiting);
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

static void on_turn_end(struct loop_task *t) { fresh_hand_over(CONTAINER_OF(t, struct committer, hand_over)); }

void committer_push(struct committer *c, struct list_node *item)
{
    ASSERT(!c->stopping); /* written on this thread: no lock to read it */
    list_push(&c->fresh, item);
    loop_defer(c->loop, &c->hand_over);
}

int committer_health(const struct committer *c, struct err *e)
{
    if (c->health.code == CODE_OK)
        return 0;
    *e = c->health;
    return -(int)e->code;
}

/* ---- life ---- */

static int thread_start(struct committer *c, struct err *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals belong to the loop thread */
    int failed = fault_hit("thread") ? EAGAIN : pthread_create(&c->thread, NULL, thread_main, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failed;
    if (failed)
        return err_sys(e, "start %s thread", c->spec.name);
    c->runs = true;
    return 0;
}

int committer_open(struct loop *l, const struct committer_spec *spec, struct committer **ret, struct err *e)
{
    pthread_condattr_t monotonic;
    AUTO(committer) struct committer *c = xcalloc(1, sizeof *c);
    c->loop = l;
    c->spec = *spec;
    c->io.on_ready = on_event;
    c->hand_over.run = on_turn_end;
    list_init(&c->fresh);
    list_init(&c->waiting);
    list_init(&c->done);
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    c->event_fd = fault_hit("eventfd") ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->event_fd < 0)
        return err_sys(e, "%s: eventfd", spec->name);
    int r = loop_watch(l, &c->io, c->event_fd, EPOLLIN, e);
    if (r == 0)
        r = thread_start(c, e);
    if (r < 0)
        return r;
    *ret = TAKE(c);
    return 0;
}

void committer_free(struct committer *c)
{
    if (!c)
        return;
    loop_undefer(c->loop, &c->hand_over);
    fresh_hand_over(c);
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    if (c->runs)
        pthread_join(c->thread, NULL);
    drain(c);
    ASSERT(c->fresh.count == 0 && c->waiting.count == 0 && c->done.count == 0);
    loop_unwatch(c->loop, &c->io);
    if (c->event_fd >= 0)
        (void)close(c->event_fd);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
