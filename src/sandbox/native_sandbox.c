#include "sandbox/native_sandbox.h"
#include "os/cgroup.h"
#include "os/fault.h"
#include "sandbox/native_pod.h"
#include "sandbox/native_shell.h"
#include "sandbox/order.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct socket_waiter {
    struct list_node node;
    void (*on_socket)(void *ctx, int take_fd);
    void *ctx;
};

/* ---- its end ---- */

void native_sandbox_over(struct sandbox *sb, const struct sandbox_exit *x)
{
    ASSERT(!sb->over);
    sb->over = true;
    sb->shell = NULL;
    native_sandbox_on_sockets(sb); /* unless the owner frees it now, they hear of it next */
    if (sb->why.code && !sb->started)
        sb->events->on_ended(sb->ctx, x, &sb->why);
    else
        sb->events->on_ended(sb->ctx, x, NULL);
}

static void on_end_task(struct loop_task *task)
{
    struct sandbox *sb = CONTAINER_OF(task, struct sandbox, end_task);
    const struct sandbox_exit none = { .status = 127 };
    native_sandbox_over(sb, &none);
}

void native_sandbox_fail(struct sandbox *sb, const struct err *e)
{
    struct native *t = sb->owner;
    sb->why = *e;
    if (list_node_linked(&sb->node))
        list_remove(sb->in, &sb->node);
    if (sb->shell)
        native_tell(t, REQUEST_KILL, sb->shell->id, 0); /* its end tells */
    else
        loop_defer(t->loop, &sb->end_task);
}

/* ---- sockets ---- */

static void on_socket_task(struct loop_task *task)
{
    struct sandbox *sb = CONTAINER_OF(task, struct sandbox, socket_task);
    struct native_shell *s = sb->shell;
    if (sb->waiters.count == 0)
        return;
    if (s && s->socket_count == 0)
        native_shell_sockets_ask(s);
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

void native_sandbox_on_sockets(struct sandbox *sb)
{
    if (sb->waiters.count > 0)
        loop_defer(sb->owner->loop, &sb->socket_task);
}

int native_sandbox_socket(struct sandbox *sb, struct err *e)
{
    return sb->shell ? native_shell_socket(sb->shell, e) : err_set(e, CODE_UNAVAILABLE, "sandbox: not there (any more)");
}

void native_sandbox_want_socket(struct sandbox *sb, void (*on_socket)(void *ctx, int take_fd), void *ctx)
{
    struct socket_waiter *w = xcalloc(1, sizeof *w);
    w->on_socket = on_socket;
    w->ctx = ctx;
    list_push(&sb->waiters, &w->node);
    loop_defer(sb->owner->loop, &sb->socket_task);
}

/* ---- its beginning ---- */

static struct sandbox *sandbox_new(struct native *t, const struct sandbox_events *events, void *ctx)
{
    struct sandbox *sb = xcalloc(1, sizeof *sb);
    sb->owner = t;
    sb->events = events;
    sb->ctx = ctx;
    sb->out_fd = sb->phases_fd = sb->served_fd = -1;
    runs_init(&sb->runs, t->loop);
    buf_init(&sb->order, ORDER_BYTES_MAX);
    list_init(&sb->waiters);
    sb->socket_task.run = on_socket_task;
    sb->end_task.run = on_end_task;
    return sb;
}

void native_sandbox_free(struct sandbox *sb)
{
    if (!sb)
        return;
    struct native *t = sb->owner;
    if (list_node_linked(&sb->node))
        list_remove(sb->in, &sb->node);
    if (sb->shell) {
        native_tell(t, REQUEST_KILL, sb->shell->id, 0);
        sb->shell->sandbox = NULL;
    }
    loop_undefer(t->loop, &sb->socket_task);
    loop_undefer(t->loop, &sb->end_task);
    LIST_EACH (&sb->waiters, n, tmp)
        free(CONTAINER_OF(n, struct socket_waiter, node));
    runs_done(&sb->runs);
    fd_auto(&sb->out_fd);
    fd_auto(&sb->phases_fd);
    fd_auto(&sb->served_fd);
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

void native_sandbox_wait(struct sandbox *sb, struct list *in)
{
    sb->in = in;
    list_push(in, &sb->node);
}

static int place(struct native *t, struct sandbox *sb, struct err *e)
{
    for (struct list_node *n; !sb->pool_hit && (n = list_first(&t->ready)) != NULL;)
        sb->pool_hit = native_shell_use(CONTAINER_OF(n, struct native_shell, node), sb);
    int r = sb->pool_hit ? 0 : native_ask(t, REQUEST_WANT, 0, 0, e);
    if (r == 0 && !sb->pool_hit)
        native_sandbox_wait(sb, &t->waiting);
    return r;
}

int native_sandbox_start(struct sandbox_tier *tier, const struct sandbox_spec *spec, const struct sandbox_events *events,
                         void *ctx, struct sandbox **ret, struct sandbox_pipes *ret_pipes, struct err *e)
{
    struct native *t = native_of(tier);
    AUTO(sandbox) struct sandbox *sb = sandbox_new(t, events, ctx);
    struct sandbox_pipes pipes;
    sb->served_port = spec->served_port;
    uint32_t flags = (t->on_stamps ? ORDER_STAMPS : 0) | (spec->commands ? ORDER_RUNNER : 0);
    ASSERT(!spec->served_port || (events->on_served && spec->served_port >= 1024 && (!spec->pod || spec->leads)));
    int r = order_write(spec, t->limits, flags, &sb->order, e);
    if (r == 0 && spec->commands)
        r = runs_open(&sb->runs, e);
    if (r == 0)
        r = pipes_open(sb, &pipes, e);
    if (r < 0)
        return err_wrap(e, "sandbox %s", spec->id);
    r = spec->pod ? native_pod_place(spec, sb, e) : place(t, sb, e);
    if (r < 0) {
        close(pipes.out_fd);
        close(pipes.phases_fd);
        return err_wrap(e, "sandbox %s", spec->id);
    }
    *ret_pipes = pipes;
    *ret = TAKE(sb);
    return 0;
}

/* ---- while it runs ---- */

void native_sandbox_signal(struct sandbox *sb, int signo)
{
    if (sb->shell)
        native_tell(sb->owner, REQUEST_SIGNAL, sb->shell->id, signo);
}

void native_sandbox_kill(struct sandbox *sb)
{
    struct err e = { 0 };
    if (sb->over)
        return;
    err_set(&e, CODE_CANCELLED, "sandbox: killed before it ran");
    if (sb->started)
        native_tell(sb->owner, REQUEST_KILL, sb->shell->id, 0);
    else if (!sb->why.code)
        native_sandbox_fail(sb, &e);
}

int native_sandbox_usage(struct sandbox *sb, uint64_t *ret_cpu_us, uint64_t *ret_memory_bytes)
{
    char text[1024];
    struct err e = { 0 };
    struct native_shell *s = sb->shell;
    if (!s || s->cpu_fd < 0 || fd_text_read(s->cpu_fd, text, sizeof text, &e) <= 0)
        return -CODE_UNAVAILABLE;
    uint64_t cpu_us = cgroup_cpu_parse(text);
    if (fd_text_read(s->memory_fd, text, sizeof text, &e) <= 0)
        return -CODE_UNAVAILABLE;
    *ret_cpu_us = cpu_us;
    *ret_memory_bytes = strtoull(text, NULL, 10);
    return 0;
}

int native_sandbox_run(struct sandbox *sb, const char *const *argv, uint64_t timeout_us, struct sandbox_run *r, struct err *e)
{
    if (!sb->started || sb->over || !runs_there(&sb->runs))
        return err_set(e, CODE_UNAVAILABLE, "nothing runs commands in the instance");
    return runs_start(&sb->runs, argv, timeout_us, r, e);
}

void native_sandbox_run_forget(struct sandbox *sb, struct sandbox_run *r) { runs_forget(&sb->runs, r); }
