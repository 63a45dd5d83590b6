#include "sandbox/launcher.h"
#include "base/log.h"
#include "os/fault.h"
#include "os/fd.h"
#include "os/landlock.h"
#include "os/mnt.h"
#include "sandbox/localfiles.h"
#include "sandbox/peer.h"
#include "sandbox/rootfs.h"
#include "sandbox/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    MAKING_MAX = 4,          /* shells under construction at once: they compete for the CPUs */
    REFILL_QUIET_US = 5000,  /* no start for this long, then the pool is refilled */
    RESTART_US = 100000,     /* first pause before a child is started again; doubles */
    RESTART_US_MAX = 10000000,
    STEADY_US = 60000000,    /* lived this long: the next pause is the first one again */
    LOCK_WAIT_US = 3000000,  /* for what a killed predecessor forked; then it is another hob's */
    LOCK_LOOK_US = 5000,
    GRACE_US = 5000000,      /* after the drain: what is left is killed */
    NOTICES_WAITING_MAX = 8192,
    SHELLS_MAX = 20000,      /* what the uid ranges allow */
    FAILED_TO_EXEC = 127,
};

enum child_role { CHILD_NODE, CHILD_FETCHER, CHILDREN };

struct launcher;
struct child {
    struct launcher *owner;
    enum child_role role;
    int pidfd; /* -1: not running */
    struct loop_io io;
    struct loop_timer restart;
    uint64_t started_us, pause_us;
};

struct launcher {
    const struct launcher_config *config;
    struct loop *loop;
    struct shell_maker maker;
    struct sysfilter *filter;
    int lock_fd, signal_fd;
    struct loop_io signal_io;
    struct loop_timer deadline, refill;
    struct child children[CHILDREN];
    struct peer *node; /* NULL while there is none */
    bool node_said_hello, any_node_served, draining, stopping;
    struct localfiles *files; /* of the host, for images and models */
    char *data_real;          /* the data folder without links */

    struct list shells;
    uint32_t *slots; /* of each: how many shells use it; more than one are a pod */
    uint32_t slot_count, next_slot;
    uint64_t next_id;
    uint32_t life;                 /* counts nodes */
    uint32_t making, idle, wanted; /* of this life; wanted: WANTs not answered yet */
    uint32_t pool, pool_max;       /* shells to be kept ready: what the node asked for last; and may ask for */
    uint64_t last_took_us, pool_not_before_us;

    int result; /* of launcher_run, when the loop stops */
    struct err why;
};

static void child_start(struct launcher *a, enum child_role role);

/* ---- notices ---------------------------------------------------------------------------- */

static void notify(struct launcher *a, const struct notice *n, int *take_fds, size_t count)
{
    struct err e = { 0 };
    if (!a->node || !a->node_said_hello) {
        for (size_t i = 0; i < count; i++)
            close(TAKE_FD(take_fds[i]));
        return;
    }
    /* A link that fails here reports through on_node_gone. */
    if (peer_send(a->node, n, sizeof *n, take_fds, count, &e) < 0)
        log_event(LOG_DEBUG, "notice_lost", "type=%u cause=\"%s\"", n->type, LOG_QUOTED(e.text));
}

static void notice_error(struct notice *n, const struct err *e)
{
    n->error.code = e->code;
    n->error.sys_errno = e->sys_errno;
    snprintf(n->error.text, sizeof n->error.text, "%s", e->text);
}

/* ---- shells ----------------------------------------------------------------------------- */

static struct shell *shell_find(struct launcher *a, uint64_t id)
{
    LIST_EACH (&a->shells, n, tmp) {
        struct shell *s = CONTAINER_OF(n, struct shell, node);
        if (s->id == id && s->life == a->life && !s->ended)
            return s;
    }
    return NULL;
}

static int slot_take(struct launcher *a, uint32_t *ret, struct err *e)
{
    for (uint32_t i = 0; i < a->slot_count; i++) {
        uint32_t slot = (a->next_slot + i) % a->slot_count;
        if (a->slots[slot])
            continue;
        a->slots[slot] = 1;
        a->next_slot = slot + 1; /* the longest unused one: used ids rest a while */
        *ret = slot;
        return 0;
    }
    return err_set(e, CODE_EXHAUSTED, "sandbox: all %u are in use", a->slot_count);
}

static int shell_make(struct launcher *a, struct err *e)
{
    struct shell *s;
    uint32_t slot = 0;
    int r = slot_take(a, &slot, e);
    if (r < 0)
        return r;
    r = shell_open(&a->maker, a->next_id++, slot, &s, e);
    if (r < 0) {
        a->slots[slot] = 0;
        return r;
    }
    s->life = a->life;
    list_push(&a->shells, &s->node);
    a->making++;
    return 0;
}

/* A shell that was not to be: whoever waits for one is told; the pool just tries again later. */
static void shell_refuse(struct launcher *a, const struct err *e)
{
    struct notice n = { .type = NOTICE_REFUSED };
    a->pool_not_before_us = loop_now_us(a->loop) + RESTART_US;
    if (a->wanted == 0) {
        log_event(LOG_WARN, "sandbox.not_made", "cause=\"%s\"", LOG_QUOTED(e->text));
        return;
    }
    a->wanted--;
    notice_error(&n, e);
    notify(a, &n, NULL, 0);
}

/* The only place that decides whether a shell is made. What somebody waits for comes at once; the
 * pool is refilled one by one, when no start happened for a while, so that refilling does not compete with
 * the start that emptied it. */
static void pool_tend(struct launcher *a)
{
    struct err e = { 0 };
    uint64_t quiet_us = MAX(a->last_took_us + REFILL_QUIET_US, a->pool_not_before_us);
    if (a->stopping || !a->node_said_hello)
        return;
    while (a->wanted > a->making && a->making < MAKING_MAX)
        if (shell_make(a, &e) < 0)
            shell_refuse(a, &e);
    uint64_t have = (uint64_t)a->idle + a->making;
    if (a->making > 0 || have >= (uint64_t)a->pool + a->wanted)
        return; /* the one that is being made comes back here */
    if (loop_clock_us(a->loop) < quiet_us)
        loop_at(a->loop, &a->refill, quiet_us);
    else if (shell_make(a, &e) < 0) {
        shell_refuse(a, &e);
        loop_at(a->loop, &a->refill, a->pool_not_before_us);
    }
}

static void on_refill(struct loop_timer *t) { pool_tend(CONTAINER_OF(t, struct launcher, refill)); }

/* Everything the node needs to use a shell, in one notice. */
static int shell_offer(struct launcher *a, struct shell *s, struct err *e)
{
    struct notice n = { .type = NOTICE_SHELL, .id = s->id, .shell.beside = s->beside };
    int fds[3 + PROTOCOL_VOLUMES_MAX + PROTOCOL_SHELL_SOCKETS], cpu_fd, memory_fd;
    size_t count = 0;
    fds[count++] = s->control_fd;
    shell_usage_open(s, &cpu_fd, &memory_fd);
    if (cpu_fd >= 0 && memory_fd >= 0) {
        n.usage_fds = 2;
        fds[count++] = TAKE_FD(cpu_fd);
        fds[count++] = TAKE_FD(memory_fd);
    }
    fd_auto(&cpu_fd);
    fd_auto(&memory_fd);
    for (uint32_t i = 0; s->beside && i < s->volume_count; i++)
        fds[count + n.shell.volumes++] = TAKE_FD(s->volume_fds[i]);
    count += n.shell.volumes;
    int r = ns_sockets_make(s->netns_fd, a->maker.home_net_fd, fds + count, PROTOCOL_SHELL_SOCKETS, e);
    if (r < 0) {
        while (count > 1) /* the first is still the shell's */
            close(fds[--count]);
        return r;
    }
    s->control_fd = -1;
    notify(a, &n, fds, count + PROTOCOL_SHELL_SOCKETS);
    return 0;
}

/* ---- pods --- */

static void join_refuse(struct launcher *a, uint64_t leader, const struct err *e)
{
    struct notice n = { .type = NOTICE_REFUSED, .id = leader };
    notice_error(&n, e);
    notify(a, &n, NULL, 0);
}

static void joined_offer(struct launcher *a, struct shell *s)
{
    struct err e = { 0 };
    if (shell_offer(a, s, &e) == 0)
        return;
    s->state = SHELL_MAKING; /* the node never heard of it */
    s->why = e;
    shell_kill(s);
}

static uint32_t pod_size(struct launcher *a, uint64_t leader)
{
    uint32_t count = 0;
    LIST_EACH (&a->shells, n, tmp)
        count += CONTAINER_OF(n, struct shell, node)->beside == leader;
    return count;
}

/* Nothing of a pod outlives the shell that it was made around. */
static void pod_kill(struct launcher *a, uint64_t leader)
{
    LIST_EACH (&a->shells, n, tmp) {
        struct shell *s = CONTAINER_OF(n, struct shell, node);
        if (s->beside == leader)
            shell_kill(s);
    }
}

static int join_begin(struct launcher *a, const struct request *q, struct err *e)
{
    struct shell *s, *leader = shell_find(a, q->id);
    if (!leader || leader->state == SHELL_MAKING || leader->beside)
        return err_set(e, CODE_UNAVAILABLE, "sandbox: the pod is over");
    if (a->stopping || pod_size(a, leader->id) >= PROTOCOL_JOINED_MAX)
        return err_set(e, CODE_EXHAUSTED, "sandbox: %d are in the pod already", PROTOCOL_JOINED_MAX);
    int r = shell_join(&a->maker, a->next_id++, leader, q->name, &s, e);
    if (r < 0)
        return r;
    s->life = a->life;
    a->slots[s->slot]++;
    list_push(&a->shells, &s->node);
    return 0;
}

static void volumes_answer(struct launcher *a, const struct request *q)
{
    struct notice n = { .type = NOTICE_VOLUMES, .id = q->id };
    struct shell *s = shell_find(a, q->id);
    int fds[PROTOCOL_VOLUMES_MAX];
    size_t count = (size_t)q->number;
    struct err e = { 0 };
    if (!s)
        return; /* its end is on the way to the node */
    const struct join_volumes v = { .stage_fd = a->maker.stage_fd, .bytes = q->volume_bytes, .count = (uint32_t)count,
                                    .owner = shell_owner(s) };
    int r = s->state == SHELL_MAKING || s->beside || s->pod_fd >= 0
                ? err_set(&e, CODE_INVALID, "sandbox: has its volumes")
                : join_volumes_make(&v, &s->pod_fd, fds, &e);
    if (r == 0)
        s->volume_count = (uint32_t)count;
    else
        notice_error(&n, &e);
    notify(a, &n, fds, r == 0 ? count : 0);
}

static void on_shell_ready(void *ctx, struct shell *s)
{
    struct launcher *a = ctx;
    struct err e = { 0 };
    if (s->life != a->life) {
        shell_kill(s);
        return;
    }
    if (s->beside) {
        joined_offer(a, s);
        return;
    }
    ASSERT(a->making > 0);
    a->making--;
    a->idle++;
    if (shell_offer(a, s, &e) < 0) {
        shell_kill(s);
        shell_refuse(a, &e);
    } else if (a->wanted > 0) {
        a->wanted--;
    }
    pool_tend(a);
}

static void stop_if_empty(struct launcher *a)
{
    if (a->stopping && a->shells.count == 0 && a->children[CHILD_NODE].pidfd < 0 &&
        a->children[CHILD_FETCHER].pidfd < 0)
        loop_stop(a->loop);
}

static void on_shell_ended(void *ctx, struct shell *s, const struct notice_exit *x,
                           const struct err *why)
{
    struct launcher *a = ctx;
    struct notice n = { .type = NOTICE_ENDED, .id = s->id, .exit = *x };
    struct err cause = { 0 };
    bool ours = s->life == a->life, was_making = s->state == SHELL_MAKING;
    if (why)
        cause = *why;
    if (ours && was_making && !s->beside)
        a->making--;
    else if (ours && s->state == SHELL_IDLE && !s->beside)
        a->idle--;
    list_remove(&a->shells, &s->node);
    ASSERT(a->slots[s->slot] > 0);
    a->slots[s->slot]--;
    if (!s->beside)
        pod_kill(a, s->id);
    uint64_t beside = s->beside;
    shell_free(s);
    if (ours && !was_making)
        notify(a, &n, NULL, 0);
    else if (ours && beside)
        join_refuse(a, beside, &cause);
    else if (ours && cause.code)
        shell_refuse(a, &cause);
    pool_tend(a);
    stop_if_empty(a);
}

static void shells_kill(struct launcher *a)
{
    LIST_EACH (&a->shells, n, tmp)
        shell_kill(CONTAINER_OF(n, struct shell, node));
}

/* ---- requests --------------------------------------------------------------------------- */

static void open_answer(struct launcher *a, const struct request *q)
{
    struct notice n = { .type = NOTICE_OPENED, .id = q->id };
    struct err e = { 0 };
    int fd = localfiles_get(a->files, q->path, &e);
    if (fd < 0)
        notice_error(&n, &e);
    notify(a, &n, &fd, fd >= 0);
}

static void sockets_answer(struct launcher *a, const struct request *q)
{
    struct notice n = { .type = NOTICE_SOCKETS, .id = q->id };
    struct shell *s = shell_find(a, q->id);
    int fds[PROTOCOL_SOCKETS_MAX];
    size_t count = (size_t)q->number;
    struct err e = { 0 };
    if (!s)
        return; /* its end is on the way to the node */
    if (ns_sockets_make(s->netns_fd, a->maker.home_net_fd, fds, count, &e) < 0) {
        notice_error(&n, &e);
        count = 0;
    }
    notify(a, &n, fds, count);
}

/* The node has no folder to open it in. One that cannot be opened anew leaves the node with the one it has. */
static void request_log_give(struct launcher *a)
{
    struct notice n = { .type = NOTICE_REQUEST_LOG };
    struct err e;
    if (!a->config->request_log)
        return;
    int fd = a->config->request_log(a->config->children.ctx, &e);
    if (fd < 0)
        log_event(LOG_WARN, "request_log.not_opened", "error=\"%s\"", LOG_QUOTED(e.text));
    else
        notify(a, &n, &fd, 1);
}

static int hello_answer(struct launcher *a, struct err *e)
{
    const struct cgroup_tree *t = a->maker.cgroups;
    struct notice n = { .type = NOTICE_WELCOME,
                        .facts = { .memory = cgroup_tree_has(t, CGROUP_MEMORY),
                                   .cpu = cgroup_tree_has(t, CGROUP_CPU),
                                   .pids = true, /* RLIMIT_NPROC at least */
                                   .own_uids = a->maker.full_map,
                                   .landlock = landlock_version() > 0 } };
    if (a->node_said_hello)
        return err_set(e, CODE_INVALID, "request: a second hello");
    a->node_said_hello = true;
    notify(a, &n, NULL, 0);
    request_log_give(a);
    child_start(a, CHILD_FETCHER);
    pool_tend(a);
    return 0;
}

static void shell_request(struct launcher *a, const struct request *q)
{
    struct shell *s = shell_find(a, q->id);
    if (!s || s->state == SHELL_MAKING) /* it ended meanwhile, or was never offered */
        return;
    switch (q->type) {
    case REQUEST_TOOK:
        if (s->state == SHELL_USED)
            return;
        s->state = SHELL_USED;
        if (s->beside)
            return;
        a->idle--;
        a->last_took_us = loop_clock_us(a->loop);
        pool_tend(a);
        return;
    case REQUEST_SIGNAL: shell_signal(s, q->number); return;
    case REQUEST_KILL: shell_kill(s); return;
    default: UNREACHABLE("not about a shell");
    }
}

static int on_request(void *ctx, struct fd_packet *p, struct err *e)
{
    struct launcher *a = ctx;
    const struct request *q = p->at;
    int r = request_check(q, p->size, e);
    if (r < 0)
        return r;
    if (q->type != REQUEST_HELLO && !a->node_said_hello)
        return err_set(e, CODE_INVALID, "request of type %u: before hello", q->type);
    switch ((enum request_type)q->type) {
    case REQUEST_HELLO: return hello_answer(a, e);
    case REQUEST_WANT:
        if (a->wanted >= a->slot_count)
            return err_set(e, CODE_EXHAUSTED, "request: more wants than sandboxes");
        a->wanted++;
        pool_tend(a);
        return 0;
    case REQUEST_POOL:
        if ((uint32_t)q->number > a->pool_max)
            return err_set(e, CODE_EXHAUSTED, "request: a pool of %d, of %u at most", q->number, a->pool_max);
        a->pool = (uint32_t)q->number;
        pool_tend(a);
        return 0;
    case REQUEST_SOCKETS: sockets_answer(a, q); return 0;
    case REQUEST_VOLUMES: volumes_answer(a, q); return 0;
    case REQUEST_JOIN: {
        struct err why = { 0 };
        if (join_begin(a, q, &why) < 0)
            join_refuse(a, q->id, &why);
        return 0;
    }
    case REQUEST_OPEN: open_answer(a, q); return 0;
    case REQUEST_SERVING: a->any_node_served = true; return 0;
    case REQUEST_TOOK:
    case REQUEST_SIGNAL:
    case REQUEST_KILL: shell_request(a, q); return 0;
    case REQUEST_TYPES: break;
    }
    UNREACHABLE("request_check() knows every type");
}

/* ---- the node and the fetcher ----------------------------------------------------------- */

static const char *const role_names[CHILDREN] = { "node", "fetcher" };

static void child_kill(struct child *c)
{
    struct err e = { 0 };
    loop_cancel(c->owner->loop, &c->restart);
    if (c->pidfd >= 0 && ns_signal(c->pidfd, SIGKILL, &e) < 0)
        UNREACHABLE("we may always kill our own child");
}

/* The node's socket is closed or was misused. Its process follows, whatever it does. */
static void on_node_gone(void *ctx, const struct err *why)
{
    struct launcher *a = ctx;
    if (why->code)
        log_event(LOG_ERROR, "node.link_lost", "cause=\"%s\"", LOG_QUOTED(why->text));
    if (why->code || !a->draining) /* asked to finish, it closes its end on its way out */
        child_kill(&a->children[CHILD_NODE]);
    peer_free(TAKE(a->node));
    a->node_said_hello = false;
}

static const struct peer_events node_events = { on_request, on_node_gone };

static _Noreturn void child_main(struct launcher *a, enum child_role role, int link_fd, pid_t parent)
{
    const struct launcher_children *k = &a->config->children;
    if (!ns_die_with_parent(-1) || getppid() != parent)
        _exit(FAILED_TO_EXEC); /* born an orphan */
    ns_signals_reset();
    if (role == CHILD_NODE)
        k->run_node(k->ctx, link_fd, a->maker.full_map);
    else
        k->run_fetcher(k->ctx, link_fd, a->maker.full_map);
    _exit(FAILED_TO_EXEC);
}

/* Where the launcher's own end goes: the node's is a link of ours, the fetcher's belongs to the node. */
static int end_place(struct launcher *a, enum child_role role, int take_fd, struct err *e)
{
    if (role == CHILD_FETCHER) {
        struct notice n = { .type = NOTICE_FETCHER };
        notify(a, &n, &take_fd, 1);
        return 0;
    }
    return peer_open(a->loop, take_fd, sizeof(struct request), NOTICES_WAITING_MAX, &node_events, a,
                     &a->node, e);
}

static int child_fork(struct launcher *a, struct child *c, struct err *e)
{
    AUTO_CLOSE int theirs = -1, ours = -1;
    pid_t parent = getpid();
    int r = fd_pair(&ours, &theirs, e);
    if (r < 0)
        return r;
    int pid = ns_clone(0, &c->pidfd, e);
    if (pid == 0) {
        close(ours);
        child_main(a, c->role, theirs, parent);
    }
    if (pid < 0)
        return pid;
    c->started_us = loop_clock_us(a->loop);
    r = loop_watch(a->loop, &c->io, c->pidfd, EPOLLIN, e);
    return r < 0 ? r : end_place(a, c->role, TAKE_FD(ours), e);
}

static void child_start(struct launcher *a, enum child_role role)
{
    struct child *c = &a->children[role];
    struct err e = { 0 };
    if (c->pidfd >= 0 || (role == CHILD_FETCHER && !a->config->children.run_fetcher))
        return;
    if (role == CHILD_NODE)
        a->life++;
    if (child_fork(a, c, &e) == 0) {
        log_event(LOG_INFO, "child.started", "role=%s", role_names[role]);
        return;
    }
    log_event(LOG_ERROR, "child.not_started", "role=%s cause=\"%s\"", role_names[role],
              LOG_QUOTED(e.text));
    if (c->pidfd >= 0)
        child_kill(c); /* half started: its end restarts it */
    else
        loop_after(a->loop, &c->restart, RESTART_US_MAX);
}

static void on_restart(struct loop_timer *t)
{
    struct child *c = CONTAINER_OF(t, struct child, restart);
    if (c->role == CHILD_NODE || c->owner->node_said_hello) /* the fetcher waits for a node */
        child_start(c->owner, c->role);
}

/* What depends on a node goes with it: the sandboxes it spoke to, and the fetcher it listened to. */
static void node_forget(struct launcher *a)
{
    peer_free(TAKE(a->node));
    a->node_said_hello = false;
    a->making = a->idle = a->wanted = 0;
    a->pool = (uint32_t)a->config->limits->sandbox_pool;
    a->life++; /* shells of the old life are not anybody's */
    shells_kill(a);
    child_kill(&a->children[CHILD_FETCHER]);
}

static void child_restart(struct child *c, uint64_t now_us)
{
    if (now_us - c->started_us > STEADY_US || c->pause_us == 0)
        c->pause_us = RESTART_US;
    log_event(LOG_WARN, "child.restarts", "role=%s pause_us=%llu", role_names[c->role],
              (unsigned long long)c->pause_us);
    loop_after(c->owner->loop, &c->restart, c->pause_us);
    c->pause_us = MIN(c->pause_us * 2, (uint64_t)RESTART_US_MAX);
}

static void stop(struct launcher *a)
{
    a->stopping = true;
    shells_kill(a);
    child_kill(&a->children[CHILD_NODE]);
    child_kill(&a->children[CHILD_FETCHER]);
    stop_if_empty(a);
}

static void on_child_end(struct loop_io *io, uint32_t events)
{
    struct child *c = CONTAINER_OF(io, struct child, io);
    struct launcher *a = c->owner;
    struct ns_exit gone;
    struct err e = { 0 };
    (void)events;
    if (ns_reap(c->pidfd, false, &gone, &e) == 1)
        return;
    loop_unwatch(a->loop, &c->io);
    close(TAKE_FD(c->pidfd));
    /* The fetcher ends when the draining node closes it, or by stop(), whichever is first. */
    bool asked = gone.status == 0 ? a->stopping || a->draining
                                  : a->stopping && gone.status == 128 + SIGKILL;
    log_event(asked ? LOG_INFO : LOG_WARN, "child.ended", "role=%s status=%d", role_names[c->role], gone.status);
    if (c->role == CHILD_NODE)
        node_forget(a);
    if (c->role == CHILD_NODE && gone.status == 0)
        stop(a);
    else if (c->role == CHILD_NODE && a->draining)
        stop(a); /* no matter how it ended, nobody wants another */
    else if (c->role == CHILD_NODE && !a->any_node_served && !a->stopping) {
        a->result = err_set(&a->why, CODE_UNAVAILABLE, "node: ended with status %d before it was up",
                            gone.status);
        stop(a);
    } else if (!a->stopping && (c->role == CHILD_NODE || a->node_said_hello))
        child_restart(c, loop_clock_us(a->loop));
    stop_if_empty(a);
}

/* ---- signals ---------------------------------------------------------------------------- */

static void on_deadline(struct loop_timer *t)
{
    log_event(LOG_WARN, "drain_timeout", "left=killed");
    stop(CONTAINER_OF(t, struct launcher, deadline));
}

static void on_signal(struct loop_io *io, uint32_t events)
{
    struct launcher *a = CONTAINER_OF(io, struct launcher, signal_io);
    struct notice n = { .type = NOTICE_DRAIN };
    struct signalfd_siginfo info;
    (void)events;
    if (read(a->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGHUP) {
        if (a->node_said_hello)
            request_log_give(a);
        return;
    }
    if (a->draining || !a->node_said_hello) { /* asked twice, or nobody to ask */
        stop(a);
        return;
    }
    log_event(LOG_INFO, "drains", "signal=%u", info.ssi_signo);
    a->draining = true;
    loop_after(a->loop, &a->deadline, a->config->limits->drain_ms * 1000 + GRACE_US);
    notify(a, &n, NULL, 0);
}

/* ---- up and down ------------------------------------------------------------------------ */

static int signals_take(struct launcher *a, struct err *e)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (a->config->request_log)
        sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return err_sys(e, "signals");
    a->signal_fd = fault_hit("signalfd") ? -1 : signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (a->signal_fd < 0)
        return err_sys(e, "signals");
    return loop_watch(a->loop, &a->signal_io, a->signal_fd, EPOLLIN, e);
}

/* Whoever was forked by a killed predecessor holds its lock too, until the kernel has ended it: a hob
 * that is started again at once waits for that. */
static int lock_wait(int fd)
{
    for (int left = LOCK_WAIT_US / LOCK_LOOK_US; left > 0; left--) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -1;
        (void)usleep(LOCK_LOOK_US);
    }
    errno = EWOULDBLOCK;
    return -1;
}

static int folder_lock(struct launcher *a, struct err *e)
{
    const char *dir = a->config->data_dir;
    a->lock_fd = fault_hit("open") ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (a->lock_fd < 0)
        return err_sys(e, "data folder %s", dir);
    if (lock_wait(a->lock_fd) < 0) {
        if (errno == EWOULDBLOCK)
            return err_set(e, CODE_PRECONDITION, "data folder %s: another hob runs on it", dir);
        return err_sys(e, "data folder %s: lock", dir);
    }
    return 0;
}

static int data_find(struct launcher *a, struct err *e)
{
    a->data_real = realpath(a->config->data_dir, NULL);
    return a->data_real ? 0 : err_sys(e, "data folder %s", a->config->data_dir);
}

static int groups_open(struct launcher *a, struct err *e)
{
    char name[32];
    launcher_group_name(a->data_real, name, sizeof name);
    int found = cgroup_sweep(name, e);
    if (found < 0)
        return found;
    if (found > 0)
        log_event(LOG_WARN, "swept", "groups=%d name=%s", found, name);
    int r = cgroup_tree_open(name, &a->maker.cgroups, e);
    if (r < 0)
        return r;
    bool memory = cgroup_tree_has(a->maker.cgroups, CGROUP_MEMORY), cpu = cgroup_tree_has(a->maker.cgroups, CGROUP_CPU);
    if (!memory || !cpu)
        log_event(LOG_WARN, "limits_not_enforced", "limits=%s%s%s why=\"no control group that this user may use; see hob doctor\"",
                  memory ? "" : "memory", memory || cpu ? "" : ",", cpu ? "" : "cpu");
    return r;
}

static int maker_open(struct launcher *a, struct err *e)
{
    struct shell_maker *m = &a->maker;
    const struct rootfs_stage stage = { a->config->store_dir, m->cgroups };
    m->on_ready = on_shell_ready;
    m->on_ended = on_shell_ended;
    m->ctx = a;
    m->loop = a->loop;
    if (getrandom(&m->key, sizeof m->key, 0) != (ssize_t)sizeof m->key)
        return err_sys(e, "random key");
    int r = sysfilter_open(m->key, &a->filter, e);
    if (r < 0)
        return r;
    m->filter = a->filter;
    r = shell_maker_home(m, e);
    return r < 0 ? r : rootfs_stage_open(&stage, &m->stage_fd, e);
}

static int launcher_open(struct launcher *a, struct err *e)
{
    const struct limits *l = a->config->limits;
    a->pool = (uint32_t)l->sandbox_pool;
    a->pool_max = (uint32_t)MAX(l->sandbox_pool, l->sandbox_pool_max);
    int r = ns_privileged(e);
    a->maker.full_map = r == 1;
    if (r >= 0)
        r = a->maker.full_map ? 0 : ns_become_root(e);
    if (r == 0) /* sandboxes inherit our hard limit at most, and each shell costs six descriptors */
        r = ns_limit_set(RLIMIT_NOFILE, UINT64_MAX, e);
    if (r == 0)
        r = folder_lock(a, e);
    if (r == 0)
        r = data_find(a, e);
    if (r == 0)
        r = localfiles_open(a->config->file_roots, a->config->file_root_count, a->data_real, &a->files, e);
    if (r == 0)
        r = groups_open(a, e);
    if (r == 0)
        r = loop_open(&a->loop, e);
    if (r == 0)
        r = signals_take(a, e);
    if (r == 0)
        r = maker_open(a, e);
    a->slot_count = (uint32_t)MIN(l->instances_max + a->pool_max + MAKING_MAX, (uint64_t)SHELLS_MAX);
    a->slots = xcalloc(a->slot_count, sizeof *a->slots);
    return r;
}

static void launcher_close(struct launcher *a)
{
    LIST_EACH (&a->shells, n, tmp) {
        list_remove(&a->shells, n);
        shell_free(CONTAINER_OF(n, struct shell, node));
    }
    for (int i = 0; i < CHILDREN; i++) {
        struct child *c = &a->children[i];
        struct ns_exit gone;
        struct err e = { 0 };
        if (c->pidfd < 0)
            continue;
        child_kill(c);
        ASSERT(ns_reap(c->pidfd, true, &gone, &e) == 0);
        loop_unwatch(a->loop, &c->io);
        close(c->pidfd);
    }
    peer_free(a->node);
    if (a->loop)
        loop_unwatch(a->loop, &a->signal_io);
    fd_auto(&a->signal_fd);
    shell_maker_done(&a->maker);
    sysfilter_free(a->filter);
    loop_free(a->loop);
    cgroup_tree_free(a->maker.cgroups);
    localfiles_free(a->files);
    fd_auto(&a->lock_fd);
    free(a->slots);
    free(a->data_real);
    free(a);
}
DEFINE_AUTO(launcher, struct launcher *, launcher_close)

static struct launcher *launcher_new(const struct launcher_config *c)
{
    struct launcher *a = xcalloc(1, sizeof *a);
    a->config = c;
    a->lock_fd = a->signal_fd = -1;
    a->maker.stage_fd = a->maker.home_mnt_fd = a->maker.home_net_fd = a->maker.home_dir_fd = -1;
    list_init(&a->shells);
    a->signal_io.on_ready = on_signal;
    a->refill.on_due = on_refill;
    a->deadline.on_due = on_deadline;
    a->next_id = 1;
    for (int i = 0; i < CHILDREN; i++)
        a->children[i] = (struct child){ .owner = a,
                                         .role = (enum child_role)i,
                                         .pidfd = -1,
                                         .io.on_ready = on_child_end,
                                         .restart.on_due = on_restart };
    return a;
}

/* Control groups are named after the folder: the next life on the same folder knows which are ours. */
void launcher_group_name(const char *data_path, char *into, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a: stable across builds, no secret */
    for (const char *p = data_path; *p; p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    snprintf(into, size, "hob-%016llx", (unsigned long long)hash);
}

int launcher_run(const struct launcher_config *c, struct err *e)
{
    AUTO(launcher) struct launcher *a = launcher_new(c);
    int r = launcher_open(a, e);
    if (r < 0)
        return err_wrap(e, "launcher");
    child_start(a, CHILD_NODE);
    r = loop_run(a->loop, e);
    if (r == 0 && a->result < 0) {
        *e = a->why;
        r = a->result;
    }
    return r;
}
