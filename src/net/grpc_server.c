/* Listeners and connections. The rules are in grpc_server.h. */
#include "net/grpc_server_impl.h"

#include "os/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_BYTES = 16384,
    READS_PER_STEP = 16,
    OUT_HOLD = 65536,
    ACCEPTS_PER_TURN = 64,
    ACCEPT_PAUSE_MS = 100, /* when accept() fails for want of descriptors or memory */
    LINGER_MS = 1000,      /* for the client to read our last words: a close with bytes unread would tear them away */
    LINGER_READS_MAX = 256,
    LINE_BYTES_MAX = 65536, /* of a head that HPACK has bounded already */
};

static uint64_t now_of(const struct grpc_conn *c) { return loop_now_us(c->server->loop); }

static struct grpc_conn *conn_of(struct list_node *n) { return CONTAINER_OF(n, struct grpc_conn, node); }

void grpc_conn_touch(struct grpc_conn *c) { loop_defer(c->server->loop, &c->task); }

/* ---- the end of a connection -------------------------------------------------------------- */

static void conn_close(struct grpc_conn *c)
{
    if (c->fd < 0)
        return;
    loop_unwatch(c->server->loop, &c->io);
    loop_cancel(c->server->loop, &c->timer);
    fd_auto(&c->fd);
    http2_lost(c->h);
}

static void deliver(struct grpc_conn *c)
{
    for (struct http2_stream *s; (s = http2_changed(c->h)) != NULL;) {
        struct grpc_server_call *call = http2_stream_owner(s);
        if (call)
            grpc_call_news(call);
        else
            grpc_call_open(c, s);
    }
}

/* Its calls have been told, and are gone. */
static void conn_free(struct grpc_conn *c)
{
    struct grpc_server *s = c->server;
    conn_close(c);
    deliver(c);
    loop_undefer(s->loop, &c->task);
    list_remove(&s->conns, &c->node);
    http2_free(c->h);
    buf_done(&c->out);
    free(c);
    if (s->shut && s->conns.count == 0)
        loop_defer(s->loop, &s->quiet);
}

/* ---- bytes -------------------------------------------------------------------------------- */

/* False: there is nothing more to read now. */
static bool receive(struct grpc_conn *c)
{
    char bytes[READ_BYTES];
    struct err e;
    if (c->out.size >= OUT_HOLD && c->linger_us == UINT64_MAX)
        return false; /* it does not read what we answer */
    ssize_t n = fault_hit("recv") ? -1 : recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (n <= 0 || (c->linger_us != UINT64_MAX && ++c->lingered > LINGER_READS_MAX)) {
        conn_close(c);
        return false;
    }
    if (c->linger_us != UINT64_MAX)
        return true;
    c->heard_us = now_of(c);
    c->pinged_us = UINT64_MAX;
    return http2_feed(c->h, bytes, (size_t)n, now_of(c) / 1000, &e) >= 0; /* if not, its GOAWAY says why */
}

static void transmit(struct grpc_conn *c)
{
    for (;;) {
        http2_write(c->h, &c->out, OUT_HOLD, now_of(c) / 1000);
        if (c->out.size == 0)
            break;
        ssize_t n = fault_hit("send") ? -1 : send(c->fd, buf_at(&c->out), c->out.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            c->blocked_us = MIN(c->blocked_us, now_of(c));
            return;
        }
        if (n < 0) {
            conn_close(c);
            return;
        }
        c->blocked_us = UINT64_MAX;
        buf_consume(&c->out, (size_t)n);
    }
    c->blocked_us = UINT64_MAX;
    buf_relax(&c->out, 0);
}

/* ---- time --------------------------------------------------------------------------------- */

static uint64_t after(uint64_t since_us, uint64_t ms) { return since_us == UINT64_MAX ? UINT64_MAX : since_us + ms * 1000; }

/* Calls wait, and nothing was heard of their client: it is asked, or given up. */
static uint64_t ping_due_us(const struct grpc_conn *c)
{
    const struct limits *l = &c->server->limits;
    if (c->linger_us != UINT64_MAX || http2_streams(c->h) == 0)
        return UINT64_MAX;
    return c->pinged_us != UINT64_MAX ? after(c->pinged_us, l->grpc_pong_ms) : after(c->heard_us, l->grpc_ping_ms);
}

static void note_time(struct grpc_conn *c)
{
    const struct limits *l = &c->server->limits;
    bool lingers = c->linger_us != UINT64_MAX;
    uint64_t now_us = now_of(c);
    if (c->idle_us != UINT64_MAX && http2_streams(c->h) > 0)
        c->heard_us = now_us; /* it begins to wait now */
    c->idle_us = lingers || http2_streams(c->h) > 0 ? UINT64_MAX : MIN(c->idle_us, now_us);
    c->waiting_us = !lingers && http2_waiting(c->h) ? MIN(c->waiting_us, now_us) : UINT64_MAX;
    uint64_t due = MIN(after(c->idle_us, l->grpc_idle_ms), after(c->waiting_us, l->http_head_ms));
    due = MIN(due, after(c->blocked_us, l->grpc_stall_ms));
    due = MIN(due, MIN(ping_due_us(c), c->linger_us));
    if (due == UINT64_MAX)
        loop_cancel(c->server->loop, &c->timer);
    else
        loop_at(c->server->loop, &c->timer, due);
}

static void give_up(struct grpc_conn *c, const char *limit)
{
    grpc_limit_reached(c->server, limit);
    conn_close(c);
}

static void on_due(struct loop_timer *t)
{
    struct grpc_conn *c = CONTAINER_OF(t, struct grpc_conn, timer);
    const struct limits *l = &c->server->limits;
    uint64_t now_us = now_of(c);
    if (c->linger_us <= now_us) {
        conn_close(c);
    } else if (after(c->waiting_us, l->http_head_ms) <= now_us) {
        give_up(c, "http_head_ms");
    } else if (after(c->blocked_us, l->grpc_stall_ms) <= now_us) {
        give_up(c, "grpc_stall_ms");
    } else if (ping_due_us(c) <= now_us) {
        if (c->pinged_us != UINT64_MAX)
            give_up(c, "grpc_pong_ms");
        else
            http2_ping(c->h);
        c->pinged_us = now_us;
    } else if (after(c->idle_us, l->grpc_idle_ms) <= now_us && !c->shut) {
        grpc_limit_reached(c->server, "grpc_idle_ms");
        c->shut = true;
        c->idle_us = now_us;
        http2_shut(c->h);
    } else if (after(c->idle_us, l->grpc_idle_ms) <= now_us) {
        conn_close(c);
    }
    grpc_conn_touch(c);
}

/* ---- the one place where something happens ------------------------------------------------ */

static void count_limits(struct grpc_conn *c)
{
    struct grpc_server *s = c->server;
    for (; s->streams_refused < s->budget.streams_refused; s->streams_refused++)
        grpc_limit_reached(s, "grpc_calls_max");
    for (; s->bytes_refused < s->budget.bytes_refused; s->bytes_refused++)
        grpc_limit_reached(s, "grpc_held_bytes_max");
    if (http2_reached(c->h) == HTTP2_LIMIT_NONE || c->counted)
        return;
    c->counted = true;
    bool resets = http2_reached(c->h) == HTTP2_LIMIT_h2_resets_max;
    grpc_limit_reached(s, resets ? "grpc_resets_max" : http2_limit_name(http2_reached(c->h)));
}

/* All that is to be said was said: nothing comes in any more, but what is on its way is read away. */
static void say_goodbye(struct grpc_conn *c)
{
    (void)shutdown(c->fd, SHUT_WR);
    c->linger_us = now_of(c) + LINGER_MS * 1000;
    http2_lost(c->h);
}

static void conn_step(struct grpc_conn *c)
{
    int reads = READS_PER_STEP;
    while (c->fd >= 0 && reads-- > 0 && receive(c))
        deliver(c);
    if (reads < 0)
        grpc_conn_touch(c);
    deliver(c);
    if (c->fd >= 0)
        transmit(c);
    count_limits(c);
    bool over = http2_over(c->h) || (c->shut && http2_streams(c->h) == 0);
    if (c->fd >= 0 && c->linger_us == UINT64_MAX && over && c->out.size == 0)
        say_goodbye(c);
    deliver(c); /* those that were lost, and those that may go on */
    if (c->fd >= 0)
        note_time(c);
    else
        conn_free(c);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
    (void)events;
    conn_step(CONTAINER_OF(io, struct grpc_conn, io));
}

static void on_task(struct loop_task *t) { conn_step(CONTAINER_OF(t, struct grpc_conn, task)); }

int grpc_server_adopt(struct grpc_server *s, int take_fd, bool far, void *tag, struct err *e)
{
    struct grpc_conn *c;
    int on = 1;
    ASSERT(!s->shut);
    if (s->conns.count >= s->limits.grpc_connections_max) {
        grpc_limit_reached(s, "grpc_connections_max");
        (void)close(take_fd);
        return err_set(e, CODE_EXHAUSTED, "grpc: more than grpc_connections_max connections");
    }
    c = xcalloc(1, sizeof *c);
    c->server = s;
    c->fd = take_fd;
    c->tag = tag;
    c->far = far;
    c->h = http2_new(HTTP2_SERVER, &s->limits);
    http2_share(c->h, &s->budget);
    buf_init(&c->out, OUT_HOLD + HTTP2_FRAME_BYTES_MAX);
    c->io.on_ready = on_ready;
    c->timer.on_due = on_due;
    c->task.run = on_task;
    c->heard_us = c->idle_us = now_of(c);
    c->waiting_us = c->blocked_us = c->pinged_us = c->linger_us = UINT64_MAX;
    list_push(&s->conns, &c->node);
    (void)setsockopt(take_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* not for AF_UNIX */
    int r = loop_watch(s->loop, &c->io, take_fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, e);
    if (r < 0) {
        conn_free(c);
        return err_wrap(e, "grpc");
    }
    s->counts.accepted++;
    grpc_conn_touch(c); /* our SETTINGS */
    return 0;
}

/* ---- listening ---------------------------------------------------------------------------- */

/* Packing costs more time than a loopback saves. */
static bool is_far(int fd)
{
    struct sockaddr_storage a = { 0 };
    socklen_t size = sizeof a;
    if (getpeername(fd, (struct sockaddr *)(void *)&a, &size) < 0)
        return false;
    if (a.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&a;
        return ntohl(in->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)&a;
    if (a.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        return in6->sin6_addr.s6_addr[12] != IN_LOOPBACKNET;
    return a.ss_family == AF_INET6 && !IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static void listen_on_ready(struct loop_io *io, uint32_t events)
{
    struct grpc_listener *l = CONTAINER_OF(io, struct grpc_listener, io);
    struct err e;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = fault_hit("accept") ? -1 : accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (fd < 0) { /* the backlog stays ready: to be asked again at once would spin */
            loop_unwatch(l->server->loop, &l->io);
            loop_after(l->server->loop, &l->timer, ACCEPT_PAUSE_MS * 1000);
            return;
        }
        (void)!grpc_server_adopt(l->server, fd, is_far(fd), l->tag, &e); /* a client that is let go tries again */
    }
}

static void listen_on_due(struct loop_timer *t)
{
    struct grpc_listener *l = CONTAINER_OF(t, struct grpc_listener, timer);
    struct err e;
    if (loop_watch(l->server->loop, &l->io, l->fd, EPOLLIN, &e) < 0)
        loop_after(l->server->loop, t, ACCEPT_PAUSE_MS * 1000);
}

void grpc_listener_close(struct grpc_listener *l)
{
    if (!l)
        return;
    loop_unwatch(l->server->loop, &l->io);
    loop_cancel(l->server->loop, &l->timer);
    list_remove(&l->server->listeners, &l->node);
    free(l);
}
DEFINE_AUTO(grpc_listener, struct grpc_listener *, grpc_listener_close)

int grpc_server_listen(struct grpc_server *s, int listen_fd, void *tag, struct grpc_listener **ret, struct err *e)
{
    AUTO(grpc_listener) struct grpc_listener *l = xcalloc(1, sizeof *l);
    ASSERT(!s->shut);
    *l = (struct grpc_listener){ .server = s, .fd = listen_fd, .tag = tag };
    l->io.on_ready = listen_on_ready;
    l->timer.on_due = listen_on_due;
    list_push(&s->listeners, &l->node);
    int flags = fault_hit("grpc listen") ? -1 : fcntl(listen_fd, F_GETFL);
    if (flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_sys(e, "grpc: listening socket");
    int r = loop_watch(s->loop, &l->io, listen_fd, EPOLLIN, e);
    if (r < 0)
        return err_wrap(e, "grpc");
    *ret = TAKE(l);
    return 0;
}

/* ---- the server --------------------------------------------------------------------------- */

static void on_quiet(struct loop_task *t)
{
    struct grpc_server *s = CONTAINER_OF(t, struct grpc_server, quiet);
    if (s->told_quiet || s->conns.count > 0)
        return;
    s->told_quiet = true;
    if (s->ops.on_quiet)
        s->ops.on_quiet(s->ctx);
}

/* The session and the parser of heads know the gateway's rows; here they mean ours. */
static void limits_adapt(struct limits *l)
{
    l->h2_streams_max = l->grpc_streams_max;
    l->h2_resets_max = l->grpc_resets_max;
    l->h2_window_bytes = l->grpc_window_bytes;
    l->h2_connection_window_bytes = MAX(l->h2_connection_window_bytes, 4 * l->grpc_window_bytes);
    l->h2_streams_all_max = l->grpc_calls_max;
    l->h2_held_bytes_max = l->grpc_held_bytes_max;
    l->http_line_bytes_max = MAX(l->http_line_bytes_max, (uint64_t)LINE_BYTES_MAX);
    l->http_head_bytes_max = MAX(l->http_head_bytes_max, 2 * l->h2_head_list_bytes_max + LINE_BYTES_MAX);
}

static void head_prepare(struct http1_head *h, const struct limits *l, struct str text)
{
    http1_head_init(h, HTTP1_RESPONSE, l);
    enum http1_result r = http1_head_feed(h, text.at, text.size);
    ASSERT(r == HTTP1_DONE);
}

struct grpc_server *grpc_server_new(struct loop *l, const struct limits *limits, const struct grpc_server_ops *ops,
                                    void *ctx)
{
    struct grpc_server *s = xcalloc(1, sizeof *s);
    s->loop = l;
    s->limits = *limits;
    limits_adapt(&s->limits);
    s->ops = *ops;
    s->ctx = ctx;
    s->quiet.run = on_quiet;
    s->gzip = gzip_new();
    list_init(&s->conns);
    list_init(&s->listeners);
    buf_init(&s->unpacked, s->limits.grpc_message_bytes_max);
    head_prepare(&s->plain, &s->limits, STR("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n"
                                            "grpc-accept-encoding: gzip,identity\r\n\r\n"));
    head_prepare(&s->packed, &s->limits, STR("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-encoding: gzip\r\n"
                                             "grpc-accept-encoding: gzip,identity\r\n\r\n"));
    return s;
}

void grpc_server_shut(struct grpc_server *s)
{
    s->shut = true;
    LIST_EACH(&s->listeners, n, tmp) {
        struct grpc_listener *l = CONTAINER_OF(n, struct grpc_listener, node);
        loop_unwatch(s->loop, &l->io);
        loop_cancel(s->loop, &l->timer);
    }
    LIST_EACH(&s->conns, n, tmp) {
        struct grpc_conn *c = conn_of(n);
        if (!c->shut)
            http2_shut(c->h);
        c->shut = true;
        grpc_conn_touch(c);
    }
    if (s->conns.count == 0)
        loop_defer(s->loop, &s->quiet);
}

void grpc_server_free(struct grpc_server *s)
{
    if (!s)
        return;
    while (list_first(&s->listeners))
        grpc_listener_close(CONTAINER_OF(list_first(&s->listeners), struct grpc_listener, node));
    while (list_first(&s->conns))
        conn_free(conn_of(list_first(&s->conns)));
    loop_undefer(s->loop, &s->quiet);
    ASSERT(s->budget.streams == 0 && s->budget.bytes == 0 && s->counts.calls == 0);
    http1_head_done(&s->plain);
    http1_head_done(&s->packed);
    buf_done(&s->unpacked);
    gzip_free(s->gzip);
    free(s);
}

struct grpc_server_counts grpc_server_counts(const struct grpc_server *s)
{
    struct grpc_server_counts n = s->counts;
    n.connections = s->conns.count;
    n.held_bytes = s->budget.bytes;
    return n;
}

void grpc_server_check(const struct grpc_server *s)
{
    uint64_t streams = 0;
    LIST_EACH(&s->conns, n, tmp) {
        const struct grpc_conn *c = conn_of(n);
        ASSERT(c->server == s && c->out.size <= c->out.max);
        http2_check(c->h);
        streams += http2_streams(c->h);
    }
    ASSERT(streams == s->budget.streams && s->counts.calls <= streams);
    ASSERT(s->unpacked.size == 0 || s->unpacked.capacity > 0);
}
