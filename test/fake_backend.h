/* fake_backend.h -- for tests of the gateway: a backend without instances, and a world whose clock
 * moves only when a test says so. A "function" is the other end of a socket pair. */
#pragma once

#include "instance/backend.h"
#include "os/fault.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a world whose clock is ours ---------------------------------------------------------- */

struct world {
    struct loop_world world;
    int fd;
    uint64_t now_us;
};
static inline uint64_t world_now(struct loop_world *w)
{
    return CONTAINER_OF(w, struct world, world)->now_us;
}
static inline int world_control(struct loop_world *w, int op, int fd, uint32_t events,
                                uint32_t slot, struct err *e)
{
    struct epoll_event ev = { .events = events, .data.u32 = slot };
    if ((op == EPOLL_CTL_ADD && fault_hit("epoll_ctl")) ||
        epoll_ctl(CONTAINER_OF(w, struct world, world)->fd, op, fd, &ev) < 0)
        return err_sys(e, "watch %d", fd);
    return 0;
}
static inline int world_wait(struct loop_world *w, uint64_t due_us, struct loop_event *into,
                             int max, struct err *e)
{
    struct epoll_event events[64];
    (void)due_us, (void)e;
    int n = epoll_wait(CONTAINER_OF(w, struct world, world)->fd, events, MIN(max, 64), 0);
    for (int i = 0; i < n; i++)
        into[i] = (struct loop_event){ events[i].data.u32, events[i].events };
    return MAX(n, 0);
}
static inline void world_free(struct loop_world *w)
{
    close(CONTAINER_OF(w, struct world, world)->fd);
}

/* ---- a backend without instances ---------------------------------------------------------- */

enum { FUNCTIONS = 256, RECORDS = 512 };

struct fake {
    struct backend backend;
    struct loop *loop;
    struct loop_task task;
    struct list waiting;
    struct target_policy policy;
    const char *host;
    bool hold;               /* tickets wait until released */
    enum ticket_result next; /* what tickets get */
    bool cold, stale_next;
    bool shared; /* policy.h2c: a connection was handed out, and does for all */
    struct start_record start;
    uint64_t ready_us;
    int functions[FUNCTIONS]; /* the functions' ends, in order of connection; -1: closed */
    int gates[FUNCTIONS];     /* our end's descriptor, to find one again */
    int connected;
    int idle[FUNCTIONS], idle_count;
    int asked, granted, released, cancelled, reconnects, retries, unhealthy, mute;
    struct invocation_record records[RECORDS];
    int recorded;
    struct err why;
    char tag[64]; /* of the last request that was routed */
    bool from_here;
    struct backend_way way; /* what it is told */
};

static inline struct fake *fake_of(struct backend *b)
{
    return CONTAINER_OF(b, struct fake, backend);
}
static struct fake *the_fake; /* policy() gets only the target */

static inline struct rev *fake_route(struct backend *b, const struct backend_ask *ask, struct backend_way *ret)
{
    struct fake *f = fake_of(b);
    snprintf(f->tag, sizeof f->tag, STR_FMT, (int)ask->tag.size, ask->tag.size ? ask->tag.at : "");
    f->from_here = ask->from_here;
    *ret = f->way;
    return str_is(ask->host, f->host) ? (struct rev *)(void *)f : NULL;
}
static inline void fake_policy(const struct rev *t, struct target_policy *ret)
{
    (void)t;
    *ret = the_fake->policy;
}
static inline void fake_ask(struct backend *b, struct ticket *t)
{
    struct fake *f = fake_of(b);
    f->asked++;
    list_push(&f->waiting, &t->node);
    if (!f->hold)
        loop_defer(f->loop, &f->task);
}
static inline void fake_cancel(struct backend *b, struct ticket *t)
{
    struct fake *f = fake_of(b);
    f->cancelled++;
    list_remove(&f->waiting, &t->node);
}
static inline void fake_reconnect(struct backend *b, struct ticket *t, struct lease *lease)
{
    struct fake *f = fake_of(b);
    (void)lease;
    f->reconnects++;
    f->shared = false;
    f->granted--; /* the lease is in the ticket again */
    list_push(&f->waiting, &t->node);
    loop_defer(f->loop, &f->task);
}
static inline void fake_retry(struct backend *b, struct ticket *t, struct lease *lease)
{
    struct fake *f = fake_of(b);
    (void)lease;
    f->retries++;
    f->released++;
    f->unhealthy++;
    list_push(&f->waiting, &t->node);
    loop_defer(f->loop, &f->task);
}
static inline void fake_release(struct backend *b, struct lease *lease, int take_fd, bool healthy)
{
    struct fake *f = fake_of(b);
    (void)lease;
    f->released++;
    f->unhealthy += !healthy;
    if (take_fd >= 0)
        f->idle[f->idle_count++] = take_fd;
}
static inline void fake_mute(struct backend *b, const char *instance_id)
{
    ASSERT(strcmp(instance_id, "echo-1") == 0);
    fake_of(b)->mute++;
}
static inline void fake_record(struct backend *b, const struct invocation_record *r)
{
    struct fake *f = fake_of(b);
    ASSERT(f->recorded < RECORDS);
    f->records[f->recorded++] = *r;
}
static const struct backend_ops fake_ops = { fake_route,     fake_policy,  fake_ask,   fake_cancel,
                                             fake_reconnect, fake_retry, fake_release, fake_mute, fake_record };

static inline void fake_turn(struct fake *f, struct ticket *t)
{
    struct lease lease = { .instance = f,
                           .instance_id = "echo-1",
                           .cold = f->cold,
                           .start = &f->start,
                           .ready_us = f->ready_us };
    list_remove(&f->waiting, &t->node);
    if (f->next != TICKET_GRANTED) {
        t->on_turn(t, f->next, NULL, 7, &f->why);
        return;
    }
    f->granted++;
    if (f->policy.h2c && f->shared) {
        lease.fd = -1;
    } else if (f->idle_count > 0) {
        lease.fd = f->idle[--f->idle_count];
        lease.fd_reused = true;
    } else {
        int ends[2];
        ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
        ASSERT(f->connected < FUNCTIONS);
        f->functions[f->connected] = ends[1];
        f->gates[f->connected++] = ends[0];
        lease.fd = ends[0];
        f->shared = true;
    }
    t->on_turn(t, TICKET_GRANTED, &lease, 0, NULL);
}
static inline void fake_run(struct loop_task *task)
{
    struct fake *f = CONTAINER_OF(task, struct fake, task);
    for (uint32_t left = f->waiting.count; left > 0 && f->waiting.count > 0; left--)
        fake_turn(f, CONTAINER_OF(list_first(&f->waiting), struct ticket, node));
}
