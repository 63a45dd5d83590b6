#include "sandbox/native.h"
#include "base/map.h"
#include "os/cgroup.h"
#include "os/fault.h"
#include "os/fd.h"
#include "sandbox/demand.h"
#include "sandbox/peer.h"
#include "sandbox/order.h"
#include "sandbox/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    REQUESTS_WAITING_MAX = 8192,
    OPENS_MAX = 1024,        /* local opens not yet answered */
    SOCKETS_KEPT_MAX = 64,   /* per sandbox */
    SOCKETS_LOW = 2,         /* then more are asked for */
    SOCKETS_ASKED = 16,      /* at once */
    SHELL_FDS = 7,           /* of ours, that one which lies ready holds */
    POOL_FDS_SHARE = 4,      /* of all that we may hold, at most one in so many is for the pool */
    WORDS_PER_TURN = 16,     /* of one runner: it is as untrusted as its function */
};

struct native {
    struct sandbox_tier tier;
    struct loop *loop;
    struct peer *launcher;
    const struct limits *limits;
    const struct native_events *events;
    void *ctx;
    bool welcomed;
    struct notice_facts facts;
    struct map shells;   /* by id: every one that the launcher told us of and that did not end */
    struct list ready;   /* shells that lie idle */
    struct demand demand;
    uint32_t pool; /* what the launcher was last asked to keep ready */
    struct loop_timer pool_timer;
    struct list waiting; /* sandboxes that wait for a shell, in order */
    struct list pods_waiting; /* struct sandbox_pod: the same */
    struct list opens;
    uint64_t next_open;
    void (*on_stamps)(void *ctx, const uint64_t at_ns[STEM_STEPS]);
    void *stamps_ctx;
};

/* One that the launcher made; idle, or with a sandbox in it, or with nobody left to tell. */
struct shell_end {
    struct native *owner;
    struct list_node node; /* in ready */
    uint64_t id;
    int control_fd, cpu_fd, memory_fd;
    int sockets[SOCKETS_KEPT_MAX];
    size_t socket_count;
    bool sockets_asked;
    struct loop_io control_io;
    struct sandbox *sandbox; /* NULL: idle, or freed by its owner */
    struct sandbox_pod *pod; /* that it was taken for; NULL: none */
    bool joined;             /* made for another's pod */
    int volumes[PROTOCOL_VOLUMES_MAX];
    uint32_t volume_count;
};

struct sandbox_pod {
    struct native *owner;
    struct list_node node; /* in pods_waiting */
    const struct sandbox_pod_events *events;
    void *ctx;
    char name[PROTOCOL_NAME_MAX];
    uint64_t volume_bytes[PROTOCOL_VOLUMES_MAX];
    uint32_t volume_count;
    struct shell_end *shell; /* NULL: waits for it, or it ended */
    struct list waiting;     /* struct sandbox: wait for a shell that joins */
    bool pool_hit, told;
    struct err why;
    struct loop_task tell_task;
};

struct socket_waiter {
    struct list_node node;
    void (*on_socket)(void *ctx, int take_fd);
    void *ctx;
};

struct sandbox {
    struct native *owner;
    struct list_node node; /* in waiting, or in its pod's */
    struct list *in;       /* which of them */
    uint32_t volume_count; /* that go with its order */
    const struct sandbox_events *events;
    void *ctx;
    struct shell_end *shell; /* NULL: waits for one, or ended */
    struct buf order;
    int out_fd, phases_fd; /* the writing ends, until the order is sent */
    int runner_fd, runner_end_fd; /* ours; and the runner's, until the order is sent. -1: no commands */
    struct loop_io runner_io;
    struct list runs; /* struct sandbox_run */
    uint32_t next_run;
    bool pool_hit, started, over;
    struct err why;
    struct list waiters;
    struct loop_task socket_task; /* brings sockets to waiters */
    struct loop_task end_task;    /* a failure that must not be told before start() returned */
};

struct local_open {
    struct list_node node;
    uint64_t id;
    void (*on_open)(void *ctx, int take_fd, const struct err *e);
    void *ctx;
};

static struct native *native_of(struct sandbox_tier *t)
{
    return CONTAINER_OF(t, struct native, tier);
}

static struct str key_of(const uint64_t *id)
{
    return (struct str){ (const char *)id, sizeof *id };
}

static int ask(struct native *t, enum request_type type, uint64_t id, int32_t number, struct err *e)
{
    const struct request q = { .type = type, .id = id, .number = number };
    return peer_send(t->launcher, &q, request_size(type), NULL, 0, e);
}

/* For what cannot fail from the caller's view: a broken link reports through on_lost. */
static void tell(struct native *t, enum request_type type, uint64_t id, int32_t number)
{
    struct err e = { 0 };
    int r = ask(t, type, id, number, &e);
    (void)r;
}

static void sandbox_fail(struct sandbox *sb, const struct err *e);

/* ---- shells ----------------------------------------------------------------------------- */

/* Its shell is gone: there is nothing left to join. */
static void pod_over(struct sandbox_pod *p)
{
    p->shell = NULL;
    if (!p->why.code)
        err_set(&p->why, CODE_UNAVAILABLE, "sandbox: the pod is over");
    if (!p->told)
        loop_defer(p->owner->loop, &p->tell_task);
    for (struct list_node *n; (n = list_first(&p->waiting)) != NULL;)
        sandbox_fail(CONTAINER_OF(n, struct sandbox, node), &p->why);
}

static void shell_end_free(struct shell_end *s)
{
    struct native *t = s->owner;
    if (list_node_linked(&s->node))
        list_remove(&t->ready, &s->node);
    loop_unwatch(t->loop, &s->control_io);
    fd_auto(&s->control_fd);
    fd_auto(&s->cpu_fd);
    fd_auto(&s->memory_fd);
    for (size_t i = 0; i < s->socket_count; i++)
        close(s->sockets[i]);
    for (uint32_t i = 0; i < s->volume_count; i++)
        fd_auto(&s->volumes[i]);
    if (s->pod)
        pod_over(s->pod);
    (void)map_remove(&t->shells, key_of(&s->id));
    free(s);
}

/* What is too many is ours to end: the launcher cannot know which of them an order is on its way to. */
static void pool_fit(struct native *t)
{
    uint64_t now_us = loop_clock_us(t->loop);
    uint32_t wanted = demand_wanted(&t->demand, now_us);
    uint64_t due_us = demand_due_us(&t->demand);
    if (due_us == UINT64_MAX)
        loop_cancel(t->loop, &t->pool_timer);
    else
        loop_at(t->loop, &t->pool_timer, MAX(due_us, now_us + 1));
    if (wanted == t->pool)
        return;
    t->pool = wanted;
    tell(t, REQUEST_POOL, 0, (int32_t)wanted);
    while (t->ready.count > wanted) {
        struct shell_end *s = CONTAINER_OF(list_first(&t->ready), struct shell_end, node);
        list_remove(&t->ready, &s->node);
        tell(t, REQUEST_KILL, s->id, 0); /* its end frees it */
    }
}

static void on_pool_timer(struct loop_timer *timer) { pool_fit(CONTAINER_OF(timer, struct native, pool_timer)); }

static void sockets_ask(struct shell_end *s)
{
    if (s->sockets_asked)
        return;
    s->sockets_asked = true;
    tell(s->owner, REQUEST_SOCKETS, s->id, SOCKETS_ASKED);
}

/* The end of a sandbox, told once. The callback may free it. */
static void sandbox_over(struct sandbox *sb, const struct sandbox_exit *x)
{
    ASSERT(!sb->over);
    sb->over = true;
    sb->shell = NULL;
    if (sb->waiters.count > 0) /* unless the owner frees it now, they hear of it next */
        loop_defer(sb->owner->loop, &sb->socket_task);
    if (sb->why.code && !sb->started)
        sb->events->on_ended(sb->ctx, x, &sb->why);
    else
        sb->events->on_ended(sb->ctx, x, NULL);
}

static void on_end_task(struct loop_task *task)
{
    struct sandbox *sb = CONTAINER_OF(task, struct sandbox, end_task);
    const struct sandbox_exit none = { .status = 127 };
    sandbox_over(sb, &none);
}

/* Fails a sandbox that has no shell, or whose shell is on its way out. */
static void sandbox_fail(struct sandbox *sb, const struct err *e)
{
    struct native *t = sb->owner;
    sb->why = *e;
    if (list_node_linked(&sb->node))
        list_remove(sb->in, &sb->node);
    if (sb->shell)
        tell(t, REQUEST_KILL, sb->shell->id, 0); /* its end tells */
    else
        loop_defer(t->loop, &sb->end_task);
}

/* End of file: the exec closed it, the function's own code runs. A word before that: it failed. */
static void on_control(struct loop_io *io, uint32_t events)
{
    struct shell_end *s = CONTAINER_OF(io, struct shell_end, control_io);
    struct native *t = s->owner;
    struct sandbox *sb = s->sandbox;
    struct stem_word word = { 0 };
    struct fd_packet p = { .at = &word, .size = sizeof word };
    struct err e = { 0 };
    (void)events;
    int r = fd_packet_recv(s->control_fd, &p, &e);
    if (r == 2)
        return;
    fd_packet_close(&p);
    if (r == 1 && p.size == sizeof word && word.type == STEM_STAMPS) {
        if (t->on_stamps)
            t->on_stamps(t->stamps_ctx, word.at_ns);
        return;
    }
    loop_unwatch(t->loop, &s->control_io);
    /* Only now, so that the launcher's waking up does not compete with the start. */
    tell(t, REQUEST_TOOK, s->id, 0);
    if (!s->joined) { /* the pool has none of those */
        demand_start(&t->demand, loop_clock_us(t->loop));
        pool_fit(t);
    }
    if (!sb)
        return;
    if (r == 0) {
        sb->started = true;
        if (s->socket_count <= SOCKETS_LOW)
            sockets_ask(s);
        sb->events->on_started(sb->ctx, loop_clock_us(t->loop), sb->pool_hit);
        return;
    }
    if (r == 1 && p.size == sizeof word && word.type == STEM_FAILED) {
        word.text[sizeof word.text - 1] = '\0';
        err_set(&e, word.code > 0 && word.code <= CODE_DATA_LOSS ? word.code : CODE_INTERNAL,
                "sandbox: %s", word.text);
        e.sys_errno = word.sys_errno;
    } else if (r == 1) {
        err_set(&e, CODE_INTERNAL, "sandbox: its stem sent %zu bytes that mean nothing", p.size);
    }
    sandbox_fail(sb, &e);
}

/* The order as one packet, or as a memory file when it is long. */
static int order_send(struct sandbox *sb, const struct shell_end *s, struct err *e)
{
    struct order_elsewhere where = { ORDER_ELSEWHERE_MAGIC, (uint32_t)sb->order.size };
    AUTO_CLOSE int file = -1;
    struct fd_packet p = { .at = buf_at(&sb->order),
                           .size = sb->order.size,
                           .fds = { sb->out_fd, sb->phases_fd },
                           .fd_count = ORDER_FD_RUNNER };
    if (sb->runner_end_fd >= 0)
        p.fds[p.fd_count++] = sb->runner_end_fd;
    if (sb->volume_count > s->volume_count)
        return err_set(e, CODE_INVALID, "sandbox: volume %u is none of its pod", sb->volume_count);
    for (uint32_t i = 0; i < sb->volume_count; i++)
        p.fds[p.fd_count++] = s->volumes[i];
    if (sb->order.size > ORDER_INLINE_MAX) {
        file = fault_hit("memfd") ? -1 : memfd_create("order", MFD_CLOEXEC);
        if (file < 0 || write(file, buf_at(&sb->order), sb->order.size) != (ssize_t)sb->order.size)
            return err_sys(e, "order of %zu bytes", sb->order.size);
        p.at = &where;
        p.size = sizeof where;
        p.fds[p.fd_count++] = file;
    }
    int r = fd_packet_send(s->control_fd, &p, e);
    return r == 1 ? err_set(e, CODE_EXHAUSTED, "order of %zu bytes: no room in the socket", p.size) : r;
}

/* Puts sb into s. False: s was dead already (its end is on the way), and sb is as before. Whatever
 * else fails is told by on_ended. */
static bool shell_use(struct shell_end *s, struct sandbox *sb)
{
    struct native *t = s->owner;
    struct err e = { 0 };
    if (list_node_linked(&s->node))
        list_remove(&t->ready, &s->node);
    int r = order_send(sb, s, &e);
    if (r < 0 && e.code == CODE_UNAVAILABLE)
        return false;
    s->sandbox = sb;
    sb->shell = s;
    if (sb->waiters.count > 0)
        loop_defer(t->loop, &sb->socket_task);
    for (uint32_t i = 0; i < s->volume_count; i++)
        fd_auto(&s->volumes[i]);
    s->volume_count = 0;
    fd_auto(&sb->out_fd);
    fd_auto(&sb->phases_fd);
    fd_auto(&sb->runner_end_fd);
    buf_done(&sb->order);
    if (r == 0)
        r = loop_watch(t->loop, &s->control_io, s->control_fd, EPOLLIN, &e);
    if (r < 0)
        sandbox_fail(sb, &e);
    return true;
}

/* ---- notices ---------------------------------------------------------------------------- */

/* To the first that waits. */
static void shell_give(struct shell_end *s, struct list_node *first)
{
    struct sandbox *sb = CONTAINER_OF(first, struct sandbox, node);
    struct err gone = { 0 };
    list_remove(sb->in, first);
    if (shell_use(s, sb))
        return;
    err_set(&gone, CODE_UNAVAILABLE, "sandbox: the one made for it died at once");
    sandbox_fail(sb, &gone);
}

static void joined_give(struct native *t, struct shell_end *s, uint64_t beside)
{
    const struct shell_end *leader = map_find(&t->shells, key_of(&beside));
    struct list_node *first = leader && leader->pod ? list_first(&leader->pod->waiting) : NULL;
    if (first)
        shell_give(s, first);
    else /* who asked is gone */
        tell(t, REQUEST_KILL, s->id, 0);
}

/* The shell is the pod's from now on. */
static void pod_take(struct sandbox_pod *p, struct shell_end *s)
{
    struct native *t = p->owner;
    struct request q = { .type = REQUEST_VOLUMES, .id = s->id, .number = (int32_t)p->volume_count };
    struct err e = { 0 };
    if (list_node_linked(&p->node))
        list_remove(&t->pods_waiting, &p->node);
    if (list_node_linked(&s->node))
        list_remove(&t->ready, &s->node);
    p->shell = s;
    s->pod = p;
    tell(t, REQUEST_TOOK, s->id, 0);
    if (p->volume_count == 0) {
        loop_defer(t->loop, &p->tell_task);
        return;
    }
    memcpy(q.volume_bytes, p->volume_bytes, sizeof q.volume_bytes);
    if (peer_send(t->launcher, &q, request_size(q.type), NULL, 0, &e) < 0) {
        p->why = e;
        loop_defer(t->loop, &p->tell_task);
    }
}

static void on_pod_tell(struct loop_task *task)
{
    struct sandbox_pod *p = CONTAINER_OF(task, struct sandbox_pod, tell_task);
    if (p->told)
        return;
    p->told = true;
    if (p->why.code)
        p->events->on_failed(p->ctx, &p->why);
    else
        p->events->on_open(p->ctx);
}

static void on_volumes(struct native *t, const struct notice *n, struct fd_packet *p)
{
    struct shell_end *s = map_find(&t->shells, key_of(&n->id));
    struct sandbox_pod *pod = s ? s->pod : NULL;
    if (!pod)
        return;
    if (p->fd_count != pod->volume_count)
        err_set(&pod->why, n->error.code ? n->error.code : CODE_INTERNAL, "%s", n->error.text);
    for (size_t i = 0; !pod->why.code && i < p->fd_count; i++)
        s->volumes[s->volume_count++] = TAKE_FD(p->fds[i]);
    loop_defer(t->loop, &pod->tell_task);
}

static int on_shell(struct native *t, const struct notice *n, struct fd_packet *p, struct err *e)
{
    size_t used = 1 + (size_t)n->usage_fds;
    const size_t sockets_at = used + n->shell.volumes;
    if ((n->usage_fds != 0 && n->usage_fds != 2) || n->shell.volumes > PROTOCOL_VOLUMES_MAX || p->fd_count < sockets_at ||
        p->fd_count > sockets_at + SOCKETS_KEPT_MAX || map_find(&t->shells, key_of(&n->id)))
        return err_set(e, CODE_INTERNAL, "launcher: a shell came in pieces");
    struct shell_end *s = xcalloc(1, sizeof *s);
    s->owner = t;
    s->id = n->id;
    s->control_io.on_ready = on_control;
    s->control_fd = TAKE_FD(p->fds[0]);
    s->cpu_fd = n->usage_fds ? TAKE_FD(p->fds[1]) : -1;
    s->memory_fd = n->usage_fds ? TAKE_FD(p->fds[2]) : -1;
    for (; used < sockets_at; used++)
        s->volumes[s->volume_count++] = TAKE_FD(p->fds[used]);
    for (; used < p->fd_count; used++)
        s->sockets[s->socket_count++] = TAKE_FD(p->fds[used]);
    map_put(&t->shells, key_of(&s->id), s);
    s->joined = n->shell.beside != 0;
    if (s->joined) {
        joined_give(t, s, n->shell.beside);
        return 0;
    }
    struct list_node *first = list_first(&t->waiting), *pod = list_first(&t->pods_waiting);
    if (first)
        shell_give(s, first);
    else if (pod)
        pod_take(CONTAINER_OF(pod, struct sandbox_pod, node), s);
    else
        list_push(&t->ready, &s->node);
    return 0;
}

static void on_refused(struct native *t, const struct notice *n)
{
    const struct shell_end *leader = n->id ? map_find(&t->shells, key_of(&n->id)) : NULL;
    struct list *in = !n->id ? &t->waiting : leader && leader->pod ? &leader->pod->waiting : NULL;
    struct list_node *first = in ? list_first(in) : NULL;
    struct list_node *pod = n->id ? NULL : list_first(&t->pods_waiting);
    struct err e = { 0 };
    err_set(&e, n->error.code ? n->error.code : CODE_INTERNAL, "%s", n->error.text);
    if (!first && pod) {
        struct sandbox_pod *p = CONTAINER_OF(pod, struct sandbox_pod, node);
        list_remove(&t->pods_waiting, pod);
        p->why = e;
        loop_defer(t->loop, &p->tell_task);
    }
    if (!first) /* who asked is gone already */
        return;
    sandbox_fail(CONTAINER_OF(first, struct sandbox, node), &e);
}

static void on_socket_task(struct loop_task *task)
{
    struct sandbox *sb = CONTAINER_OF(task, struct sandbox, socket_task);
    struct shell_end *s = sb->shell;
    if (sb->waiters.count == 0)
        return;
    if (s && s->socket_count == 0)
        sockets_ask(s);
    if (!sb->over && (!s || s->socket_count == 0))
        return; /* comes back with the shell, or with the sockets */
    struct socket_waiter *w = CONTAINER_OF(list_first(&sb->waiters), struct socket_waiter, node);
    void (*on_socket)(void *, int) = w->on_socket;
    void *ctx = w->ctx;
    int sock = s ? s->sockets[--s->socket_count] : -1;
    list_remove(&sb->waiters, &w->node);
    free(w);
    if (sb->waiters.count > 0)
        loop_defer(sb->owner->loop, &sb->socket_task); /* the callback may free sb, which undefers */
    on_socket(ctx, sock);
}

static void on_sockets(struct native *t, const struct notice *n, struct fd_packet *p)
{
    struct shell_end *s = map_find(&t->shells, key_of(&n->id));
    if (!s)
        return;
    s->sockets_asked = false;
    for (size_t i = 0; i < p->fd_count && s->socket_count < SOCKETS_KEPT_MAX; i++)
        s->sockets[s->socket_count++] = TAKE_FD(p->fds[i]);
    if (s->sandbox && s->sandbox->waiters.count > 0 && s->socket_count > 0)
        loop_defer(t->loop, &s->sandbox->socket_task);
}

static void on_ended(struct native *t, const struct notice *n)
{
    struct shell_end *s = map_find(&t->shells, key_of(&n->id));
    if (!s)
        return;
    /* The exec, or the word why not, is older than the end: it is in the socket already. */
    while (s->sandbox && loop_watched(&s->control_io))
        on_control(&s->control_io, EPOLLIN);
    struct sandbox *sb = s->sandbox;
    const struct sandbox_exit x = { .status = n->exit.status,
                                    .oom_killed = n->exit.oom_killed,
                                    .cpu_us = n->exit.cpu_us,
                                    .memory_peak_bytes = n->exit.memory_peak_bytes };
    shell_end_free(s);
    if (sb)
        sandbox_over(sb, &x);
}

static void on_opened(struct native *t, const struct notice *n, struct fd_packet *p)
{
    LIST_EACH (&t->opens, node, tmp) {
        struct local_open *o = CONTAINER_OF(node, struct local_open, node);
        if (o->id != n->id)
            continue;
        struct local_open copy = *o;
        struct err e = { 0 };
        list_remove(&t->opens, &o->node);
        free(o);
        if (p->fd_count == 1) {
            copy.on_open(copy.ctx, TAKE_FD(p->fds[0]), NULL);
        } else {
            err_set(&e, n->error.code ? n->error.code : CODE_INTERNAL, "%s", n->error.text);
            e.sys_errno = n->error.sys_errno;
            copy.on_open(copy.ctx, -1, &e);
        }
        return;
    }
}

static int on_notice(void *ctx, struct fd_packet *p, struct err *e)
{
    struct native *t = ctx;
    const struct notice *n = p->at;
    if (p->size != sizeof *n)
        return err_set(e, CODE_INTERNAL, "launcher: a notice of %zu bytes", p->size);
    switch ((enum notice_type)n->type) {
    case NOTICE_WELCOME:
        t->facts = n->facts;
        t->welcomed = true;
        return 0;
    case NOTICE_SHELL: return on_shell(t, n, p, e);
    case NOTICE_REFUSED: on_refused(t, n); return 0;
    case NOTICE_VOLUMES: on_volumes(t, n, p); return 0;
    case NOTICE_SOCKETS: on_sockets(t, n, p); return 0;
    case NOTICE_ENDED: on_ended(t, n); return 0;
    case NOTICE_OPENED: on_opened(t, n, p); return 0;
    case NOTICE_FETCHER:
        if (p->fd_count == 1 && t->events->on_fetcher)
            t->events->on_fetcher(t->ctx, TAKE_FD(p->fds[0]));
        return 0;
    case NOTICE_REQUEST_LOG:
        if (p->fd_count == 1 && t->events->on_request_log)
            t->events->on_request_log(t->ctx, TAKE_FD(p->fds[0]));
        return 0;
    case NOTICE_DRAIN:
        if (t->events->on_drain)
            t->events->on_drain(t->ctx);
        return 0;
    case NOTICE_TYPES: break;
    }
    return err_set(e, CODE_INTERNAL, "launcher: a notice of type %u", n->type);
}

static void on_launcher_gone(void *ctx, const struct err *why)
{
    struct native *t = ctx;
    if (t->events->on_lost)
        t->events->on_lost(t->ctx, why);
}

static const struct peer_events link_to_launcher = { on_notice, on_launcher_gone };

/* ---- commands beside the function -------------------------------------------------------- */

static struct sandbox_run *run_find(const struct sandbox *sb, uint32_t id)
{
    LIST_EACH (&sb->runs, n, tmp) {
        struct sandbox_run *r = CONTAINER_OF(n, struct sandbox_run, node);
        if (r->id == id)
            return r;
    }
    return NULL;
}

/* True: sb may be gone. */
static bool run_done(struct sandbox *sb, const struct runner_word *w)
{
    struct sandbox_run *r = run_find(sb, w->id);
    if (!r)
        return false;
    list_remove(&sb->runs, &r->node);
    const struct str text = { w->output, MIN(w->output_size, sizeof w->output) };
    r->on_done(r, true, w->late != 0, w->status, text);
    return true;
}

/* What comes has the trust of the function. Callbacks may free the sandbox, so one is the last thing done; the
 * loop comes back for what is left. */
static void on_runner(struct loop_io *io, uint32_t events)
{
    struct sandbox *sb = CONTAINER_OF(io, struct sandbox, runner_io);
    struct runner_word word;
    struct err e = { 0 };
    (void)events;
    for (int i = 0; i < WORDS_PER_TURN; i++) {
        struct fd_packet p = { .at = &word, .size = sizeof word };
        int r = fd_packet_recv(sb->runner_fd, &p, &e);
        if (r == 2)
            return;
        if (r == 1)
            fd_packet_close(&p);
        if (r == 1 && p.size == sizeof word) {
            if (run_done(sb, &word))
                return;
            continue;
        }
        /* It is gone, or speaks in tongues: there are no commands any more. */
        struct list_node *first = list_first(&sb->runs);
        if (sb->runs.count <= 1)
            loop_unwatch(sb->owner->loop, &sb->runner_io);
        if (!first)
            return;
        struct sandbox_run *run = CONTAINER_OF(first, struct sandbox_run, node);
        list_remove(&sb->runs, first);
        run->on_done(run, false, false, 0, STR("what runs commands in the instance has gone"));
        return;
    }
}

static int native_run(struct sandbox *sb, const char *const *argv, uint64_t timeout_us,
                      struct sandbox_run *r, struct err *e)
{
    struct buf order;
    if (sb->runner_fd < 0 || !sb->started || sb->over || !loop_watched(&sb->runner_io))
        return err_set(e, CODE_UNAVAILABLE, "nothing runs commands in the instance");
    buf_init(&order, RUNNER_ORDER_MAX);
    r->id = ++sb->next_run;
    int result = runner_order_write(r->id, argv, timeout_us, &order, e);
    if (result == 0) {
        const struct fd_packet p = { .at = buf_at(&order), .size = order.size };
        result = fd_packet_send(sb->runner_fd, &p, e);
    }
    buf_done(&order);
    if (result == 1)
        return err_set(e, CODE_EXHAUSTED, "what runs commands in the instance takes none");
    if (result < 0)
        return result;
    list_push(&sb->runs, &r->node);
    return 0;
}

static void native_run_forget(struct sandbox *sb, struct sandbox_run *r)
{
    if (list_node_linked(&r->node))
        list_remove(&sb->runs, &r->node);
}

static int runner_open(struct sandbox *sb, struct err *e)
{
    int r = fd_pair(&sb->runner_fd, &sb->runner_end_fd, e);
    if (r == 0)
        r = fd_nonblock(sb->runner_fd, e);
    return r < 0 ? r : loop_watch(sb->owner->loop, &sb->runner_io, sb->runner_fd, EPOLLIN, e);
}

/* ---- the tier --------------------------------------------------------------------------- */

static struct sandbox *sandbox_new(struct native *t, const struct sandbox_events *events, void *ctx)
{
    struct sandbox *sb = xcalloc(1, sizeof *sb);
    sb->owner = t;
    sb->events = events;
    sb->ctx = ctx;
    sb->out_fd = sb->phases_fd = sb->runner_fd = sb->runner_end_fd = -1;
    sb->runner_io.on_ready = on_runner;
    buf_init(&sb->order, ORDER_BYTES_MAX);
    list_init(&sb->waiters);
    list_init(&sb->runs);
    sb->socket_task.run = on_socket_task;
    sb->end_task.run = on_end_task;
    return sb;
}

static void native_sandbox_free(struct sandbox *sb)
{
    if (!sb)
        return;
    struct native *t = sb->owner;
    if (list_node_linked(&sb->node))
        list_remove(sb->in, &sb->node);
    if (sb->shell) {
        tell(t, REQUEST_KILL, sb->shell->id, 0);
        sb->shell->sandbox = NULL;
    }
    loop_undefer(t->loop, &sb->socket_task);
    loop_undefer(t->loop, &sb->end_task);
    LIST_EACH (&sb->waiters, n, tmp)
        free(CONTAINER_OF(n, struct socket_waiter, node));
    LIST_EACH (&sb->runs, n, tmp)
        list_remove(&sb->runs, n);
    loop_unwatch(t->loop, &sb->runner_io);
    fd_auto(&sb->out_fd);
    fd_auto(&sb->phases_fd);
    fd_auto(&sb->runner_fd);
    fd_auto(&sb->runner_end_fd);
    buf_done(&sb->order);
    free(sb);
}
DEFINE_AUTO(sandbox, struct sandbox *, native_sandbox_free)

static int pipes_open(struct sandbox *sb, struct sandbox_pipes *ret, struct err *e)
{
    struct sandbox_pipes p = { -1, -1 };
    int r = fd_pipe(&p.out_fd, &sb->out_fd, e);
    if (r == 0)
        r = fd_pipe(&p.phases_fd, &sb->phases_fd, e);
    if (r == 0)
        r = fd_nonblock(p.out_fd, e);
    if (r == 0)
        r = fd_nonblock(p.phases_fd, e);
    /* The function is another user, and may open /dev/stdout and /dev/stderr by name: many log so. */
    if (r == 0 && (fault_hit("fchmod") || fchmod(sb->out_fd, 0666) < 0))
        r = err_sys(e, "give the function its standard output");
    if (r < 0) {
        fd_auto(&p.out_fd);
        fd_auto(&p.phases_fd);
        return r;
    }
    *ret = p;
    return 0;
}

static int place(struct native *t, struct sandbox *sb, struct err *e)
{
    for (struct list_node *n; !sb->pool_hit && (n = list_first(&t->ready)) != NULL;)
        sb->pool_hit = shell_use(CONTAINER_OF(n, struct shell_end, node), sb);
    int r = sb->pool_hit ? 0 : ask(t, REQUEST_WANT, 0, 0, e);
    if (r == 0 && !sb->pool_hit) {
        sb->in = &t->waiting;
        list_push(sb->in, &sb->node);
    }
    return r;
}

static int pod_place(const struct sandbox_spec *spec, struct sandbox *sb, struct err *e)
{
    struct sandbox_pod *p = spec->pod;
    if (!p->told || p->why.code || !p->shell || (spec->leads && p->shell->sandbox))
        return err_set(e, CODE_UNAVAILABLE, "the pod is over");
    for (size_t i = 0; i < spec->scratch_count; i++)
        sb->volume_count = MAX(sb->volume_count, spec->scratches[i].volume);
    if (spec->leads) {
        sb->pool_hit = p->pool_hit;
        return shell_use(p->shell, sb) ? 0 : err_set(e, CODE_UNAVAILABLE, "the pod is over");
    }
    struct request q = { .type = REQUEST_JOIN, .id = p->shell->id };
    memcpy(q.name, p->name, sizeof q.name);
    int r = peer_send(p->owner->launcher, &q, request_size(q.type), NULL, 0, e);
    if (r < 0)
        return r;
    sb->in = &p->waiting;
    list_push(sb->in, &sb->node);
    return 0;
}

static int native_pod_open(struct sandbox_tier *tier, const struct sandbox_pod_spec *spec,
                           const struct sandbox_pod_events *events, void *ctx, struct sandbox_pod **ret, struct err *e)
{
    struct native *t = native_of(tier);
    struct list_node *first = list_first(&t->ready);
    if (spec->volume_count > PROTOCOL_VOLUMES_MAX || strlen(spec->id) >= PROTOCOL_NAME_MAX)
        return err_set(e, CODE_EXHAUSTED, "pod %.80s: %zu shared volumes, %d are possible", spec->id, spec->volume_count,
                       PROTOCOL_VOLUMES_MAX);
    int r = first ? 0 : ask(t, REQUEST_WANT, 0, 0, e);
    if (r < 0)
        return r;
    struct sandbox_pod *p = xcalloc(1, sizeof *p);
    p->owner = t;
    p->events = events;
    p->ctx = ctx;
    p->tell_task.run = on_pod_tell;
    list_init(&p->waiting);
    memcpy(p->name, spec->id, strlen(spec->id));
    p->volume_count = (uint32_t)spec->volume_count;
    for (uint32_t i = 0; i < p->volume_count; i++)
        p->volume_bytes[i] = spec->volume_bytes[i];
    p->pool_hit = first != NULL;
    if (first)
        pod_take(p, CONTAINER_OF(first, struct shell_end, node));
    else
        list_push(&t->pods_waiting, &p->node);
    *ret = p;
    return 0;
}

static void native_pod_free(struct sandbox_pod *p)
{
    if (!p)
        return;
    ASSERT(p->waiting.count == 0);
    loop_undefer(p->owner->loop, &p->tell_task);
    if (list_node_linked(&p->node))
        list_remove(&p->owner->pods_waiting, &p->node); /* the shell that comes is as good for the pool */
    if (p->shell) {
        tell(p->owner, REQUEST_KILL, p->shell->id, 0);
        p->shell->pod = NULL;
    }
    free(p);
}

static int native_start(struct sandbox_tier *tier, const struct sandbox_spec *spec,
                        const struct sandbox_events *events, void *ctx, struct sandbox **ret,
                        struct sandbox_pipes *ret_pipes, struct err *e)
{
    struct native *t = native_of(tier);
    AUTO(sandbox) struct sandbox *sb = sandbox_new(t, events, ctx);
    struct sandbox_pipes pipes;
    uint32_t flags = (t->on_stamps ? ORDER_STAMPS : 0) | (spec->commands ? ORDER_RUNNER : 0);
    int r = order_write(spec, t->limits, flags, &sb->order, e);
    if (r == 0 && spec->commands)
        r = runner_open(sb, e);
    if (r == 0)
        r = pipes_open(sb, &pipes, e);
    if (r < 0)
        return err_wrap(e, "sandbox %s", spec->id);
    r = spec->pod ? pod_place(spec, sb, e) : place(t, sb, e);
    if (r < 0) {
        close(pipes.out_fd);
        close(pipes.phases_fd);
        return err_wrap(e, "sandbox %s", spec->id);
    }
    *ret_pipes = pipes;
    *ret = TAKE(sb);
    return 0;
}

static void native_signal(struct sandbox *sb, int signo)
{
    if (sb->shell)
        tell(sb->owner, REQUEST_SIGNAL, sb->shell->id, signo);
}

static void native_kill(struct sandbox *sb)
{
    struct err e = { 0 };
    if (sb->over)
        return;
    err_set(&e, CODE_CANCELLED, "sandbox: killed before it ran");
    if (sb->started)
        tell(sb->owner, REQUEST_KILL, sb->shell->id, 0);
    else if (!sb->why.code)
        sandbox_fail(sb, &e);
}

static int native_socket(struct sandbox *sb, struct err *e)
{
    struct shell_end *s = sb->shell;
    if (!s)
        return err_set(e, CODE_UNAVAILABLE, "sandbox: not there (any more)");
    if (s->socket_count <= SOCKETS_LOW)
        sockets_ask(s);
    if (s->socket_count == 0)
        return err_set(e, CODE_UNAVAILABLE, "sandbox: no socket at hand");
    return s->sockets[--s->socket_count];
}

static void native_want_socket(struct sandbox *sb, void (*on_socket)(void *ctx, int take_fd),
                               void *ctx)
{
    struct socket_waiter *w = xcalloc(1, sizeof *w);
    w->on_socket = on_socket;
    w->ctx = ctx;
    list_push(&sb->waiters, &w->node);
    loop_defer(sb->owner->loop, &sb->socket_task);
}

static int native_usage(struct sandbox *sb, uint64_t *ret_cpu_us, uint64_t *ret_memory_bytes)
{
    char text[1024];
    struct err e = { 0 };
    struct shell_end *s = sb->shell;
    if (!s || s->cpu_fd < 0 || fd_text_read(s->cpu_fd, text, sizeof text, &e) <= 0)
        return -CODE_UNAVAILABLE;
    uint64_t cpu_us = cgroup_cpu_parse(text);
    if (fd_text_read(s->memory_fd, text, sizeof text, &e) <= 0)
        return -CODE_UNAVAILABLE;
    *ret_cpu_us = cpu_us;
    *ret_memory_bytes = strtoull(text, NULL, 10);
    return 0;
}

static uint32_t native_pool_ready(struct sandbox_tier *tier) { return native_of(tier)->ready.count; }
static uint32_t native_pool_wanted(struct sandbox_tier *tier) { return native_of(tier)->pool; }

/* Every sandbox must have been freed before. */
static void native_tier_free(struct sandbox_tier *tier)
{
    if (!tier)
        return;
    struct native *t = native_of(tier);
    const struct map_slot *slot;
    ASSERT(t->waiting.count == 0 && t->pods_waiting.count == 0);
    for (uint32_t i = 0; (slot = map_next(&t->shells, &i)) != NULL; i = 0) {
        struct shell_end *s = slot->value;
        ASSERT(!s->sandbox);
        shell_end_free(s); /* takes it out of the map: begin again */
    }
    map_done(&t->shells);
    loop_cancel(t->loop, &t->pool_timer);
    LIST_EACH (&t->opens, n, tmp)
        free(CONTAINER_OF(n, struct local_open, node));
    peer_free(t->launcher);
    free(t);
}
DEFINE_AUTO(tier, struct sandbox_tier *, native_tier_free)

static const struct sandbox_tier_ops native_ops = {
    .name = "native",
    .start = native_start,
    .signal = native_signal,
    .kill = native_kill,
    .socket = native_socket,
    .want_socket = native_want_socket,
    .usage = native_usage,
    .run = native_run,
    .run_forget = native_run_forget,
    .pod_open = native_pod_open,
    .pod_free = native_pod_free,
    .free = native_sandbox_free,
    .pool_ready = native_pool_ready,
    .pool_wanted = native_pool_wanted,
    .tier_free = native_tier_free,
};

static void demand_open(struct native *t)
{
    const struct limits *l = t->limits;
    struct rlimit may;
    uint64_t most = l->sandbox_pool_max;
    if (getrlimit(RLIMIT_NOFILE, &may) == 0 && may.rlim_cur != RLIM_INFINITY)
        most = MIN(most, (uint64_t)may.rlim_cur / (POOL_FDS_SHARE * SHELL_FDS));
    demand_init(&t->demand, (uint32_t)l->sandbox_pool, (uint32_t)most, l->sandbox_pool_keep_s * 1000000);
    t->pool = t->demand.base;
    t->pool_timer.on_due = on_pool_timer;
}

int native_tier_open(struct loop *l, int take_launcher_fd, const struct limits *limits,
                     const struct native_events *events, void *ctx, struct sandbox_tier **ret,
                     struct err *e)
{
    struct native *t = xcalloc(1, sizeof *t);
    AUTO(tier) struct sandbox_tier *tier = &t->tier;
    uint64_t seed = 0;
    tier->ops = &native_ops;
    t->loop = l;
    t->limits = limits;
    t->events = events;
    t->ctx = ctx;
    list_init(&t->ready);
    list_init(&t->waiting);
    list_init(&t->pods_waiting);
    list_init(&t->opens);
    demand_open(t);
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = 1; /* the keys are ours, not an attacker's */
    map_init(&t->shells, seed);
    int r = peer_open(l, take_launcher_fd, sizeof(struct notice), REQUESTS_WAITING_MAX,
                      &link_to_launcher, t, &t->launcher, e);
    if (r == 0)
        r = ask(t, REQUEST_HELLO, 0, PROTOCOL_VERSION, e);
    if (r < 0)
        return err_wrap(e, "native tier");
    *ret = TAKE(tier);
    return 0;
}

int native_serving(struct sandbox_tier *tier, struct err *e)
{
    return ask(native_of(tier), REQUEST_SERVING, 0, 0, e);
}

int native_open_local(struct sandbox_tier *tier, const char *path,
                      void (*on_open)(void *ctx, int take_fd, const struct err *e), void *ctx,
                      struct err *e)
{
    struct native *t = native_of(tier);
    struct request q = { .type = REQUEST_OPEN, .id = ++t->next_open };
    if (path[0] != '/' || strlen(path) >= sizeof q.path)
        return err_set(e, CODE_INVALID, "%.200s: not an absolute path of usual length", path);
    if (t->opens.count >= OPENS_MAX)
        return err_set(e, CODE_EXHAUSTED, "%.200s: %d local opens wait already", path, OPENS_MAX);
    snprintf(q.path, sizeof q.path, "%s", path);
    int r = peer_send(t->launcher, &q, sizeof q, NULL, 0, e);
    if (r < 0)
        return r;
    struct local_open *o = xcalloc(1, sizeof *o);
    o->id = q.id;
    o->on_open = on_open;
    o->ctx = ctx;
    list_push(&t->opens, &o->node);
    return 0;
}

bool native_facts(const struct sandbox_tier *tier, struct notice_facts *ret)
{
    const struct native *t = (const struct native *)(const void *)tier;
    _Static_assert(offsetof(struct native, tier) == 0, "the cast above");
    if (t->welcomed)
        *ret = t->facts;
    return t->welcomed;
}

void native_stamps(struct sandbox_tier *tier,
                   void (*on_stamps)(void *ctx, const uint64_t at_ns[STEM_STEPS]), void *ctx)
{
    struct native *t = native_of(tier);
    t->on_stamps = on_stamps;
    t->stamps_ctx = ctx;
}
