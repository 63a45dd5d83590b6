#include "os/loop.h"
#include "os/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_PER_TURN = 256 }; /* bounds one turn; what is left is seen in the next */

struct loop {
    struct loop_world *world;
    struct loop_io **slots; /* index 0 unused, so that 0 can mean "not watched" */
    uint32_t slot_count, slot_capacity;
    uint32_t *free_slots;
    uint32_t free_count;
    struct heap timers;
    struct list tasks;
    uint64_t now_us;
    bool stopping;
};

/* ---- the real world --------------------------------------------------------------------- */

struct epoll_world {
    struct loop_world world;
    int fd;
};

static uint64_t real_now_us(struct loop_world *w)
{
    struct timespec ts;
    (void)w;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static int real_control(struct loop_world *w, int op, int fd, uint32_t events, uint32_t slot,
                        struct err *e)
{
    struct epoll_world *ew = CONTAINER_OF(w, struct epoll_world, world);
    struct epoll_event ev = { .events = events, .data.u32 = slot };
    if ((op == EPOLL_CTL_ADD && fault_hit("epoll_ctl")) || epoll_ctl(ew->fd, op, fd, &ev) < 0)
        return err_sys(e, "watch descriptor %d", fd);
    return 0;
}

static int real_wait(struct loop_world *w, uint64_t due_us, struct loop_event *into, int max,
                     struct err *e)
{
    struct epoll_world *ew = CONTAINER_OF(w, struct epoll_world, world);
    struct epoll_event events[EVENTS_PER_TURN];
    struct timespec ts, *timeout = NULL;

    ASSERT(max <= EVENTS_PER_TURN);
    if (due_us != UINT64_MAX) {
        uint64_t now_us = real_now_us(w);
        uint64_t left_us = due_us > now_us ? due_us - now_us : 0;
        ts = (struct timespec){ .tv_sec = (time_t)(left_us / 1000000),
                                .tv_nsec = (long)(left_us % 1000000 * 1000) };
        timeout = &ts;
    }
    int n = epoll_pwait2(ew->fd, events, max, timeout, NULL);
    if (n < 0)
        return errno == EINTR ? 0 : err_sys(e, "epoll wait");
    for (int i = 0; i < n; i++)
        into[i] = (struct loop_event){ events[i].data.u32, events[i].events };
    return n;
}

static void real_free(struct loop_world *w)
{
    struct epoll_world *ew = CONTAINER_OF(w, struct epoll_world, world);
    (void)close(ew->fd);
    free(ew);
}

int loop_open(struct loop **ret, struct err *e)
{
    int fd = fault_hit("epoll_create") ? -1 : epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "epoll");
    struct epoll_world *ew = xcalloc(1, sizeof *ew);
    *ew = (struct epoll_world){ { real_now_us, real_control, real_wait, real_free }, fd };
    return loop_open_in(&ew->world, ret, e);
}

/* ---- the loop --------------------------------------------------------------------------- */

int loop_open_in(struct loop_world *take_world, struct loop **ret, struct err *e)
{
    (void)e;
    struct loop *l = xcalloc(1, sizeof *l);
    l->world = take_world;
    l->slot_count = 1;
    heap_init(&l->timers);
    list_init(&l->tasks);
    l->now_us = l->world->now_us(l->world);
    *ret = l;
    return 0;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    while (heap_first(&l->timers))
        heap_remove(&l->timers, heap_first(&l->timers));
    heap_done(&l->timers);
    l->world->free(l->world);
    free(l->slots);
    free(l->free_slots);
    free(l);
}

uint64_t loop_now_us(const struct loop *l) { return l->now_us; }
uint64_t loop_clock_us(struct loop *l) { return l->world->now_us(l->world); }

int64_t loop_wall_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void loop_stop(struct loop *l) { l->stopping = true; }

static uint32_t slot_take(struct loop *l, struct loop_io *io)
{
    if (l->free_count > 0) {
        uint32_t slot = l->free_slots[--l->free_count];
        l->slots[slot] = io;
        return slot;
    }
    if (l->slot_count >= l->slot_capacity) {
        l->slot_capacity = l->slot_capacity ? l->slot_capacity * 2 : 64;
        l->slots = xrealloc(l->slots, l->slot_capacity, sizeof *l->slots);
        l->free_slots = xrealloc(l->free_slots, l->slot_capacity, sizeof *l->free_slots);
    }
    l->slots[l->slot_count] = io;
    return l->slot_count++;
}

int loop_watch(struct loop *l, struct loop_io *io, int fd, uint32_t events, struct err *e)
{
    ASSERT(!loop_watched(io) && io->on_ready && fd >= 0);
    uint32_t slot = slot_take(l, io);
    int r = l->world->control(l->world, EPOLL_CTL_ADD, fd, events, slot, e);
    if (r < 0) {
        l->slots[slot] = NULL;
        l->free_slots[l->free_count++] = slot;
        return r;
    }
    io->fd = fd;
    io->events = events;
    io->slot = slot;
    return 0;
}

void loop_rewatch(struct loop *l, struct loop_io *io, uint32_t events)
{
    struct err e;
    ASSERT(loop_watched(io));
    if (io->events == events)
        return;
    int r = l->world->control(l->world, EPOLL_CTL_MOD, io->fd, events, io->slot, &e);
    ASSERT(r == 0); /* the descriptor is watched, so only a closed one could fail: our mistake */
    io->events = events;
}

void loop_unwatch(struct loop *l, struct loop_io *io)
{
    struct err e;
    if (!loop_watched(io))
        return;
    int r = l->world->control(l->world, EPOLL_CTL_DEL, io->fd, 0, io->slot, &e);
    ASSERT(r == 0);
    loop_forget(l, io);
}

void loop_forget(struct loop *l, struct loop_io *io)
{
    if (!loop_watched(io))
        return;
    l->slots[io->slot] = NULL; /* events already fetched in this turn find nobody */
    l->free_slots[l->free_count++] = io->slot;
    io->slot = 0;
}

void loop_at(struct loop *l, struct loop_timer *t, uint64_t due_us)
{
    ASSERT(t->on_due);
    if (heap_node_linked(&t->node))
        heap_remove(&l->timers, &t->node);
    heap_add(&l->timers, &t->node, due_us);
}

void loop_after(struct loop *l, struct loop_timer *t, uint64_t delay_us)
{
    loop_at(l, t, l->now_us + delay_us);
}

void loop_cancel(struct loop *l, struct loop_timer *t)
{
    if (heap_node_linked(&t->node))
        heap_remove(&l->timers, &t->node);
}

void loop_defer(struct loop *l, struct loop_task *t)
{
    ASSERT(t->run);
    if (!list_node_linked(&t->node))
        list_push(&l->tasks, &t->node);
}

void loop_undefer(struct loop *l, struct loop_task *t)
{
    if (list_node_linked(&t->node))
        list_remove(&l->tasks, &t->node);
}

static void timers_run(struct loop *l)
{
    uint64_t order_end = l->timers.order_next; /* a timer set now waits for the next turn */
    for (struct heap_node *n; (n = heap_first(&l->timers)) != NULL && n->key <= l->now_us;) {
        if (n->order >= order_end)
            break;
        heap_remove(&l->timers, n);
        struct loop_timer *t = CONTAINER_OF(n, struct loop_timer, node);
        t->on_due(t);
    }
}

static void tasks_run(struct loop *l)
{
    for (uint32_t left = l->tasks.count; left > 0; left--) {
        struct list_node *n = list_first(&l->tasks);
        if (!n)
            return; /* an earlier task undeferred it */
        list_remove(&l->tasks, n);
        struct loop_task *t = CONTAINER_OF(n, struct loop_task, node);
        t->run(t);
    }
}

int loop_turn(struct loop *l, bool may_wait, struct err *e)
{
    struct loop_event events[EVENTS_PER_TURN];
    uint64_t due_us = 0;
    if (may_wait && l->tasks.count == 0)
        due_us = heap_first(&l->timers) ? heap_first(&l->timers)->key : UINT64_MAX;

    int n = l->world->wait(l->world, due_us, events, EVENTS_PER_TURN, e);
    l->now_us = l->world->now_us(l->world);
    if (n < 0)
        return n;
    for (int i = 0; i < n; i++) {
        struct loop_io *io = events[i].slot < l->slot_count ? l->slots[events[i].slot] : NULL;
        /* A slot freed and taken again in this turn may see a stale event: owners read until
         * EAGAIN and treat readiness as a hint, so that is harmless. */
        if (io)
            io->on_ready(io, events[i].events);
    }
    timers_run(l);
    tasks_run(l);
    return n;
}

int loop_run(struct loop *l, struct err *e)
{
    l->stopping = false;
    while (!l->stopping) {
        int r = loop_turn(l, true, e);
        if (r < 0)
            return r;
    }
    return 0;
}
