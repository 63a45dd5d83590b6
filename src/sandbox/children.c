#include "sandbox/children.h"
#include "base/log.h"
#include "os/fault.h"
#include "os/fd.h"
#include "os/ns.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    RESTART_US = 100000,     /* first pause before a child is started again; doubles */
    RESTART_US_MAX = 10000000,
    STEADY_US = 60000000,    /* lived this long: the next pause is the first one again */
    FAILED_TO_EXEC = 127,
};

struct child {
    struct children *owner;
    enum child_role role;
    int pidfd; /* -1: not running */
    struct loop_io io;
    struct loop_timer restart;
    uint64_t started_us, pause_us;
};

struct children {
    struct loop *loop;
    const struct children_events *events;
    void *ctx;
    struct child all[CHILDREN];
};

const char *children_name(enum child_role role)
{
    static const char *const names[CHILDREN] = { "node", "fetcher" };
    return names[role];
}

bool children_run(const struct children *k, enum child_role role) { return k->all[role].pidfd >= 0; }

static void child_kill(struct child *c)
{
    struct err e = { 0 };
    loop_cancel(c->owner->loop, &c->restart);
    if (c->pidfd >= 0 && ns_signal(c->pidfd, SIGKILL, &e) < 0)
        UNREACHABLE("we may always kill our own child");
}

void children_kill(struct children *k, enum child_role role) { child_kill(&k->all[role]); }

static _Noreturn void child_main(struct children *k, enum child_role role, int link_fd, pid_t parent)
{
    if (!ns_die_with_parent(-1) || getppid() != parent)
        _exit(FAILED_TO_EXEC); /* born an orphan */
    ns_signals_reset();
    k->events->run(k->ctx, role, link_fd);
    _exit(FAILED_TO_EXEC);
}

static int child_fork(struct children *k, struct child *c, struct err *e)
{
    AUTO_CLOSE int theirs = -1, ours = -1;
    pid_t parent = getpid();
    int r = fd_pair(&ours, &theirs, e);
    if (r < 0)
        return r;
    int pid = ns_clone(0, &c->pidfd, e);
    if (pid == 0) {
        close(ours);
        child_main(k, c->role, theirs, parent);
    }
    if (pid < 0)
        return pid;
    c->started_us = loop_clock_us(k->loop);
    r = loop_watch(k->loop, &c->io, c->pidfd, EPOLLIN, e);
    return r < 0 ? r : k->events->on_link(k->ctx, c->role, TAKE_FD(ours), e);
}

void children_start(struct children *k, enum child_role role)
{
    struct child *c = &k->all[role];
    struct err e = { 0 };
    if (c->pidfd >= 0)
        return;
    if (child_fork(k, c, &e) == 0) {
        log_event(LOG_INFO, "child.started", "role=%s", children_name(role));
        return;
    }
    log_event(LOG_ERROR, "child.not_started", "role=%s cause=\"%s\"", children_name(role),
              LOG_QUOTED(e.text));
    if (c->pidfd >= 0)
        child_kill(c); /* half started: its end restarts it */
    else
        loop_after(k->loop, &c->restart, RESTART_US_MAX);
}

static void on_restart(struct loop_timer *t)
{
    struct child *c = CONTAINER_OF(t, struct child, restart);
    if (c->owner->events->wanted(c->owner->ctx, c->role))
        children_start(c->owner, c->role);
}

void children_restart(struct children *k, enum child_role role)
{
    struct child *c = &k->all[role];
    if (loop_clock_us(k->loop) - c->started_us > STEADY_US || c->pause_us == 0)
        c->pause_us = RESTART_US;
    log_event(LOG_WARN, "child.restarts", "role=%s pause_us=%llu", children_name(role),
              (unsigned long long)c->pause_us);
    loop_after(k->loop, &c->restart, c->pause_us);
    fault_disarm_outside(children_name(role));
    c->pause_us = MIN(c->pause_us * 2, (uint64_t)RESTART_US_MAX);
}

static void on_end(struct loop_io *io, uint32_t events)
{
    struct child *c = CONTAINER_OF(io, struct child, io);
    struct children *k = c->owner;
    struct ns_exit gone;
    struct err e = { 0 };
    (void)events;
    if (ns_reap(c->pidfd, false, &gone, &e) == 1)
        return;
    loop_unwatch(k->loop, &c->io);
    close(TAKE_FD(c->pidfd));
    k->events->on_ended(k->ctx, c->role, gone.status);
}

struct children *children_new(struct loop *l, const struct children_events *events, void *ctx)
{
    struct children *k = xcalloc(1, sizeof *k);
    k->loop = l;
    k->events = events;
    k->ctx = ctx;
    for (int i = 0; i < CHILDREN; i++)
        k->all[i] = (struct child){ .owner = k,
                                    .role = (enum child_role)i,
                                    .pidfd = -1,
                                    .io.on_ready = on_end,
                                    .restart.on_due = on_restart };
    return k;
}

void children_free(struct children *k)
{
    for (int i = 0; k && i < CHILDREN; i++) {
        struct child *c = &k->all[i];
        struct ns_exit gone;
        struct err e = { 0 };
        child_kill(c);
        if (c->pidfd < 0)
            continue;
        ASSERT(ns_reap(c->pidfd, true, &gone, &e) == 0);
        loop_unwatch(k->loop, &c->io);
        close(c->pidfd);
    }
    free(k);
}
