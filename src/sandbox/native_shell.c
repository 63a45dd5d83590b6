#include "sandbox/native_shell.h"
#include "os/fault.h"
#include "sandbox/native_pod.h"
#include "sandbox/native_sandbox.h"
#include "sandbox/order.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SOCKETS_LOW = 2,         /* then more are asked for */
    SOCKETS_ASKED = 16,      /* at once */
    SHELL_FDS = 7,           /* of ours, that one which lies ready holds */
    SERVED_BACKLOG = 128,    /* connections that the function begins before the node looks */
    POOL_FDS_SHARE = 4,      /* of all that we may hold, at most one in so many is for the pool */
};

/* ---- the pool ---- */

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
    native_tell(t, REQUEST_POOL, 0, (int32_t)wanted);
    while (t->ready.count > wanted) {
        struct native_shell *s = CONTAINER_OF(list_first(&t->ready), struct native_shell, node);
        list_remove(&t->ready, &s->node);
        native_tell(t, REQUEST_KILL, s->id, 0); /* its end frees it */
    }
}

static void on_pool_timer(struct loop_timer *timer) { pool_fit(CONTAINER_OF(timer, struct native, pool_timer)); }

void native_shell_pool_open(struct native *t)
{
    const struct limits *l = t->limits;
    struct rlimit may;
    uint64_t most = l->sandbox_pool_max;
    if (getrlimit(RLIMIT_NOFILE, &may) == 0 && may.rlim_cur != RLIM_INFINITY)
        most = MIN(most, (uint64_t)may.rlim_cur / (POOL_FDS_SHARE * SHELL_FDS));
    demand_init(&t->demand, (uint32_t)l->sandbox_pool, (uint32_t)most, (uint32_t)l->sandbox_pool_ahead,
                l->sandbox_pool_keep_s * 1000000);
    t->pool = t->demand.base;
    t->pool_timer.on_due = on_pool_timer;
}

void native_shell_pool_expect(struct native *t, uint32_t functions)
{
    demand_functions(&t->demand, functions);
    pool_fit(t);
}

/* ---- sockets ---- */

void native_shell_sockets_ask(struct native_shell *s)
{
    if (s->sockets_asked)
        return;
    s->sockets_asked = true;
    native_tell(s->owner, REQUEST_SOCKETS, s->id, SOCKETS_ASKED);
}

void native_shell_on_sockets(struct native *t, const struct notice *n, struct fd_packet *p)
{
    struct native_shell *s = map_find(&t->shells, native_key(&n->id));
    if (!s)
        return;
    s->sockets_asked = false;
    for (size_t i = 0; i < p->fd_count && s->socket_count < SOCKETS_KEPT_MAX; i++)
        s->sockets[s->socket_count++] = TAKE_FD(p->fds[i]);
    if (s->sandbox && s->socket_count > 0)
        native_sandbox_on_sockets(s->sandbox);
}

int native_shell_socket(struct native_shell *s, struct err *e)
{
    if (s->socket_count <= SOCKETS_LOW)
        native_shell_sockets_ask(s);
    if (s->socket_count == 0)
        return err_set(e, CODE_UNAVAILABLE, "sandbox: no socket at hand");
    return s->sockets[--s->socket_count];
}

/* ---- its start ---- */

/* End of file: the exec closed it, the function's own code runs. A word before that: it failed. */
static void on_control(struct loop_io *io, uint32_t events)
{
    struct native_shell *s = CONTAINER_OF(io, struct native_shell, control_io);
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
    native_tell(t, REQUEST_TOOK, s->id, 0);
    if (!s->joined) { /* the pool has none of those */
        demand_start(&t->demand, loop_clock_us(t->loop));
        pool_fit(t);
    }
    if (!sb)
        return;
    if (r == 0) {
        sb->started = true;
        if (s->socket_count <= SOCKETS_LOW)
            native_shell_sockets_ask(s);
        uint64_t now_us = loop_clock_us(t->loop);
        if (sb->served_fd >= 0)
            sb->events->on_served(sb->ctx, TAKE_FD(sb->served_fd));
        sb->events->on_started(sb->ctx, now_us, sb->pool_hit);
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
    native_sandbox_fail(sb, &e);
}

void native_shell_hear_out(struct native_shell *s)
{
    while (s->sandbox && loop_watched(&s->control_io))
        on_control(&s->control_io, EPOLLIN);
}

/* The order as one packet, or as a memory file when it is long. */
static int order_send(struct sandbox *sb, const struct native_shell *s, struct err *e)
{
    struct order_elsewhere where = { ORDER_ELSEWHERE_MAGIC, (uint32_t)sb->order.size };
    AUTO_CLOSE int file = -1;
    struct fd_packet p = { .at = buf_at(&sb->order),
                           .size = sb->order.size,
                           .fds = { sb->out_fd, sb->phases_fd },
                           .fd_count = ORDER_FD_RUNNER };
    if (sb->runs.runner_fd >= 0)
        p.fds[p.fd_count++] = sb->runs.runner_fd;
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

/* Before the function can run: it finds the port taken, by us. The socket was made in the shell's own network namespace. */
static int served_open(struct native_shell *s, struct sandbox *sb, struct err *e)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(sb->served_port) };
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!sb->served_port)
        return 0;
    if (s->socket_count == 0)
        return err_set(e, CODE_INTERNAL, "port %u inside: the shell came without a socket for it", sb->served_port);
    AUTO_CLOSE int fd = s->sockets[--s->socket_count];
    if (fault_hit("bind") || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || fault_hit("listen") ||
        listen(fd, SERVED_BACKLOG) < 0) {
        (void)err_sys(e, "port %u inside, for hob to serve", sb->served_port);
        e->code = CODE_INTERNAL; /* whatever it was: the shell itself is there */
        return -CODE_INTERNAL;
    }
    sb->served_fd = TAKE_FD(fd);
    return 0;
}

bool native_shell_use(struct native_shell *s, struct sandbox *sb)
{
    struct native *t = s->owner;
    struct err e = { 0 };
    if (list_node_linked(&s->node))
        list_remove(&t->ready, &s->node);
    int r = served_open(s, sb, &e);
    if (r == 0)
        r = order_send(sb, s, &e);
    if (r < 0 && e.code == CODE_UNAVAILABLE) {
        fd_auto(&sb->served_fd);
        return false;
    }
    s->sandbox = sb;
    sb->shell = s;
    native_sandbox_on_sockets(sb);
    for (uint32_t i = 0; i < s->volume_count; i++)
        fd_auto(&s->volumes[i]);
    s->volume_count = 0;
    fd_auto(&sb->out_fd);
    fd_auto(&sb->phases_fd);
    fd_auto(&sb->runs.runner_fd);
    buf_done(&sb->order);
    if (r == 0)
        r = loop_watch(t->loop, &s->control_io, s->control_fd, EPOLLIN, &e);
    if (r < 0)
        native_sandbox_fail(sb, &e);
    return true;
}

void native_shell_give(struct native_shell *s, struct list_node *first)
{
    struct sandbox *sb = CONTAINER_OF(first, struct sandbox, node);
    struct err gone = { 0 };
    list_remove(sb->in, first);
    if (native_shell_use(s, sb))
        return;
    err_set(&gone, CODE_UNAVAILABLE, "sandbox: the one made for it died at once");
    native_sandbox_fail(sb, &gone);
}

/* ---- life ---- */

int native_shell_open(struct native *t, const struct notice *n, struct fd_packet *p, struct native_shell **ret, struct err *e)
{
    size_t used = 1 + (size_t)n->usage_fds;
    const size_t sockets_at = used + n->shell.volumes;
    if ((n->usage_fds != 0 && n->usage_fds != 2) || n->shell.volumes > PROTOCOL_VOLUMES_MAX || p->fd_count < sockets_at ||
        p->fd_count > sockets_at + SOCKETS_KEPT_MAX || map_find(&t->shells, native_key(&n->id)))
        return err_set(e, CODE_INTERNAL, "launcher: a shell came in pieces");
    struct native_shell *s = xcalloc(1, sizeof *s);
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
    s->joined = n->shell.beside != 0;
    map_put(&t->shells, native_key(&s->id), s);
    *ret = s;
    return 0;
}

void native_shell_free(struct native_shell *s)
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
        native_pod_over(s->pod);
    (void)map_remove(&t->shells, native_key(&s->id));
    free(s);
}
