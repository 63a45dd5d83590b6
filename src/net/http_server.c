#include "net/http_server_impl.h"

#include "os/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_BYTES = 16384, /* per connection and turn */
    ACCEPTS_PER_TURN = 64,
    ACCEPT_PAUSE_MS = 100,  /* when accept() fails for want of descriptors or memory */
    BODY_GRACE_MS = 5000,   /* before http_body_rate_bytes_s counts */
    LINGER_BYTES = 4 << 20, /* at most this much of it */
};

/* ---- the bodies of all -------------------------------------------------------------------- */

/* Grows what this call holds to `size`; false: there is no room. */
static bool body_reserve(struct http_call *c, uint64_t size)
{
    struct http_budget *b = c->server->budget;
    uint64_t more = size > c->reserved ? size - c->reserved : 0;
    ASSERT(b->bodies >= c->reserved);
    if (more > 0 && b->bodies + more > c->server->limits->api_bodies_bytes_max) {
        if (c->server->ops.on_limit)
            c->server->ops.on_limit(c->server->ctx, "api_bodies_bytes_max");
        return false;
    }
    b->bodies += more;
    c->reserved += more;
    return true;
}

void http_call_drop(struct http_call *c)
{
    ASSERT(c->server->budget->bodies >= c->reserved);
    c->server->budget->bodies -= c->reserved;
    c->reserved = 0;
    buf_done(&c->content);
}

/* ---- connections -------------------------------------------------------------------------- */

void http_call_free(struct http_call *c)
{
    loop_unwatch(c->server->loop, &c->io);
    loop_cancel(c->server->loop, &c->timer);
    loop_undefer(c->server->loop, &c->task);
    fd_auto(&c->io.fd);
    list_remove(&c->server->calls, &c->node);
    buf_done(&c->in);
    http_call_forget(c);
    buf_done(&c->head_text);
    http_call_drop(c);
    http1_head_done(&c->head);
    http1_body_done(&c->body);
    free(c->query);
    free(c->params);
    free(c);
}

void http_call_lost(struct http_call *c)
{
    loop_unwatch(c->server->loop, &c->io);
    loop_cancel(c->server->loop, &c->timer);
    fd_auto(&c->io.fd);
    if (c->state == CONN_CALL) {
        c->state = CONN_GONE;
        return;
    }
    if (c->state == CONN_STREAM) {
        c->state = CONN_GONE;
        c->on_gone(c->on_gone_ctx);
    }
    http_call_free(c);
}

void http_call_await(struct http_call *c)
{
    uint32_t out = c->out.size > 0 ? EPOLLOUT : 0;
    switch (c->state) {
    case CONN_HEAD:
    case CONN_BODY:
    case CONN_LINGER: loop_rewatch(c->server->loop, &c->io, EPOLLIN | out); break;
    /* A client may close its sending side and wait for an answer, but not for a stream that may be
     * silent for hours: nobody would ever notice that it left. */
    case CONN_STREAM: loop_rewatch(c->server->loop, &c->io, EPOLLRDHUP | out); break;
    case CONN_CALL:
    case CONN_FLUSH: loop_rewatch(c->server->loop, &c->io, out); break;
    case CONN_GONE: break;
    }
}

void http_call_due(struct http_call *c, uint64_t ms)
{
    loop_after(c->server->loop, &c->timer, ms * 1000);
}

static const struct http1_refusal bodies_full = {
    503, "the bodies of all requests together are more than api_bodies_bytes_max"
};

/* ---- requests ----------------------------------------------------------------------------- */

static void body_due(struct http_call *c)
{
    uint64_t rate = c->server->limits->http_body_rate_bytes_s;
    if (rate == 0)
        http_call_due(c, c->server->limits->http_idle_ms);
    else
        loop_at(c->server->loop, &c->timer,
                c->body_start_us + BODY_GRACE_MS * 1000 +
                    (c->body.content_bytes / rate + 1) * 1000000);
}

/* The fields that decide who is let in: of two, another reader might have believed the other one. At NULL:
 * none is there twice. */
static const char *repeated_field(const struct http_call *c)
{
    static const struct {
        const char *name, *why;
    } single[] = { { "Authorization", "more than one Authorization" }, { "Origin", "more than one Origin" } };
    for (size_t i = 0; i < COUNT_OF(single); i++) {
        size_t count = 0;
        for (uint32_t k = 0; k < c->head.field_count; k++)
            count += str_eq_nocase(c->head.fields[k].name, str_of(single[i].name));
        if (count > 1)
            return single[i].why;
    }
    return NULL;
}

/* False: refused, and answered; the body that may follow is read out and forgotten. */
static bool head_allowed(struct http_call *c)
{
    if (!c->server->ops.on_head)
        return true;
    c->state = CONN_CALL; /* it may be answered now, and then nobody waits for the body */
    c->last = c->head.framing != HTTP1_BODY_NONE;
    if (!c->server->ops.on_head(c->server->ctx, c)) {
        ASSERT(c->state == CONN_FLUSH);
        return false;
    }
    ASSERT(c->state == CONN_CALL);
    c->last = false;
    c->state = CONN_BODY;
    return true;
}

static void body_begin(struct http_call *c)
{
    const char *repeated;
    buf_append(&c->head_text, buf_at(&c->in), c->head.size);
    buf_consume(&c->in, c->head.size);
    http1_head_rebase(&c->head, buf_at(&c->head_text));
    http1_body_init(&c->body, &c->head);
    c->state = CONN_BODY;
    c->body_start_us = loop_now_us(c->server->loop);
    if ((repeated = repeated_field(c)) != NULL)
        http_call_refuse(c, (struct http1_refusal){ 400, repeated });
    else if (c->head.framing == HTTP1_BODY_LENGTH &&
             c->head.body_bytes > c->server->limits->api_body_bytes_max)
        http_call_refuse(c, (struct http1_refusal){ 413, "body is larger than api_body_bytes_max" });
    else if (head_allowed(c) && c->head.expect_continue && c->in.size == 0)
        buf_text(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
}

/* Takes what there is of a head. True: go on with its body. */
static bool take_head(struct http_call *c)
{
    if (c->in.size == 0)
        return false;
    if (!c->head_begun && !c->fresh) /* a fresh connection's time runs from its first moment */
        http_call_due(c, c->server->limits->http_head_ms);
    c->head_begun = true;
    enum http1_result r = http1_head_feed(&c->head, buf_at(&c->in), c->in.size);
    if (r == HTTP1_BAD)
        http_call_refuse(c, c->head.refusal);
    else if (r == HTTP1_DONE)
        body_begin(c);
    return c->state == CONN_BODY;
}

/* True: the request is complete. */
static bool take_body(struct http_call *c)
{
    enum http1_result r;
    bool room;
    do {
        struct str data;
        size_t used;
        r = http1_body_feed(&c->body, buf_at(&c->in), c->in.size, &used, &data);
        room = body_reserve(c, c->content.size + data.size);
        if (room)
            buf_str_append(&c->content, data);
        buf_consume(&c->in, used);
    } while (room && r == HTTP1_DATA && c->in.size > 0 && !c->content.overflow);

    if (c->content.overflow)
        http_call_refuse(c, (struct http1_refusal){ 413, "body is larger than api_body_bytes_max" });
    else if (!room)
        http_call_refuse(c, bodies_full);
    else if (r == HTTP1_BAD)
        http_call_refuse(c, c->body.refusal);
    else if (r == HTTP1_DONE)
        return true;
    else
        body_due(c);
    return false;
}

/* Nothing touches c after on_request: the answer may be made in it. (It is sent by c->task, so
 * pipelined requests do not nest.) */
static void call_advance(struct http_call *c)
{
    if (c->state == CONN_HEAD)
        (void)take_head(c);
    bool whole = c->state == CONN_BODY && take_body(c);
    if (whole) {
        c->state = CONN_CALL;
        loop_cancel(c->server->loop, &c->timer);
    }
    http_call_await(c);
    if (whole)
        c->server->ops.on_request(c->server->ctx, c);
}

void http_call_next(struct http_call *c)
{
    buf_done(&c->head_text);
    http_call_drop(c);
    http1_body_done(&c->body);
    http1_head_reset(&c->head);
    free(c->query);
    free(c->params);
    c->query = NULL;
    c->params = NULL;
    c->fresh = false;
    c->head_begun = false;
    c->state = CONN_HEAD; /* http_idle_ms runs since the answer's last bytes went out */
    call_advance(c);
}

/* ---- bytes -------------------------------------------------------------------------------- */

/* How many bytes came; 0: none now; -1: end or error. */
static ssize_t bytes_read(struct http_call *c)
{
    size_t room;
    char *at = buf_reserve(&c->in, READ_BYTES, &room);
    ASSERT(room > 0); /* `in` has room for a whole head, and for one read beside it */
    ssize_t n = fault_hit("recv") ? -1 : recv(c->io.fd, at, MIN(room, READ_BYTES), MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
    if (n == 0)
        return -1;
    buf_commit(&c->in, (size_t)n);
    return n;
}

static void call_read(struct http_call *c)
{
    ssize_t n = bytes_read(c);
    if (n < 0) {
        http_call_lost(c);
        return;
    }
    if (c->state != CONN_LINGER) {
        call_advance(c);
        return;
    }
    buf_clear(&c->in);
    c->linger_bytes += (uint64_t)n;
    if (c->linger_bytes > LINGER_BYTES)
        http_call_lost(c);
}

static void call_on_ready(struct loop_io *io, uint32_t events)
{
    struct http_call *c = CONTAINER_OF(io, struct http_call, io);
    bool reads = c->state == CONN_HEAD || c->state == CONN_BODY || c->state == CONN_LINGER;

    if (!reads && (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP))) {
        http_call_lost(c);
        return;
    }
    if (events & EPOLLOUT) {
        http_call_flush(c); /* may free c, or go on to the next request: what else came is seen again */
        return;
    }
    if (reads)
        call_read(c);
}

static void call_on_due(struct loop_timer *t)
{
    struct http_call *c = CONTAINER_OF(t, struct http_call, timer);
    if (c->state == CONN_HEAD && c->head_begun) {
        http_call_refuse(c, (struct http1_refusal){ 408, "head took longer than http_head_ms" });
    } else if (c->state == CONN_BODY) {
        http_call_refuse(c, (struct http1_refusal){ 408, "body came too slowly" });
    } else {
        http_call_lost(c); /* idle, or does not take what we send */
    }
}

static void call_on_task(struct loop_task *t)
{
    http_call_flush(CONTAINER_OF(t, struct http_call, task));
}

/* ---- the listener ------------------------------------------------------------------------- */

static void call_new(struct http_server *s, int take_fd)
{
    struct http_call *c = xcalloc(1, sizeof *c);
    struct err e;
    int on = 1;

    c->server = s;
    c->fresh = true;
    c->io.fd = take_fd;
    c->io.on_ready = call_on_ready;
    c->timer.on_due = call_on_due;
    c->task.run = call_on_task;
    buf_init(&c->in, s->limits->http_head_bytes_max + READ_BYTES);
    buf_init(&c->out, s->limits->api_answer_bytes_max);
    buf_init(&c->head_text, s->limits->http_head_bytes_max);
    buf_init(&c->content, s->limits->api_body_bytes_max);
    http1_head_init(&c->head, HTTP1_REQUEST, s->limits);
    http1_body_init(&c->body, &c->head);
    list_push(&s->calls, &c->node);
    (void)setsockopt(take_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* not for AF_UNIX */
    if (loop_watch(s->loop, &c->io, take_fd, EPOLLIN, &e) < 0) {
        http_call_free(c);
        return;
    }
    http_call_due(c, s->limits->http_head_ms);
}

/* As far as it can without holding the connection: its request is read if it is there already, or
 * closing would reset the connection and the answer with it. */
static void turn_away(int fd)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                                 "Content-Length: 0\r\nConnection: close\r\n\r\n";
    char sink[READ_BYTES];
    (void)recv(fd, sink, sizeof sink, MSG_DONTWAIT);
    (void)send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fd, SHUT_WR);
    fd_auto(&fd);
}

static void listen_on_ready(struct loop_io *io, uint32_t events)
{
    struct http_server *s = CONTAINER_OF(io, struct http_server, listen_io);
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = fault_hit("accept")
                     ? -1
                     : accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (fd < 0) { /* the backlog stays ready: to be asked again at once would spin */
            loop_unwatch(s->loop, &s->listen_io);
            loop_after(s->loop, &s->accept_timer, ACCEPT_PAUSE_MS * 1000);
            return;
        }
        if (s->calls.count < s->limits->connections_max) {
            call_new(s, fd);
            continue;
        }
        if (s->ops.on_limit)
            s->ops.on_limit(s->ctx, "connections_max");
        turn_away(fd);
    }
}

static void accept_on_due(struct loop_timer *t)
{
    struct http_server *s = CONTAINER_OF(t, struct http_server, accept_timer);
    struct err e;
    if (loop_watch(s->loop, &s->listen_io, s->listen_fd, EPOLLIN, &e) < 0)
        loop_after(s->loop, t, ACCEPT_PAUSE_MS * 1000);
}

int http_server_open(struct loop *l, const struct limits *limits, int listen_fd,
                     const struct http_server_ops *ops, void *ctx, struct http_server **ret,
                     struct err *e)
{
    AUTO(http_server) struct http_server *s = xcalloc(1, sizeof *s);
    s->loop = l;
    s->limits = limits;
    s->ops = *ops;
    s->ctx = ctx;
    s->listen_fd = listen_fd;
    s->budget = ops->budget ? ops->budget : &s->own;
    s->listen_io.on_ready = listen_on_ready;
    s->accept_timer.on_due = accept_on_due;
    list_init(&s->calls);

    int flags = fault_hit("fcntl") ? -1 : fcntl(listen_fd, F_GETFL);
    if (flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_sys(e, "http server: listening socket");
    int r = loop_watch(l, &s->listen_io, listen_fd, EPOLLIN, e);
    if (r < 0)
        return err_wrap(e, "http server");
    *ret = TAKE(s);
    return 0;
}

void http_server_stop(struct http_server *s)
{
    s->stopped = true;
    loop_unwatch(s->loop, &s->listen_io);
    loop_cancel(s->loop, &s->accept_timer);
    LIST_EACH(&s->calls, n, next) {
        struct http_call *c = CONTAINER_OF(n, struct http_call, node);
        if (c->state == CONN_HEAD && !c->head_begun)
            http_call_free(c);
    }
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    http_server_stop(s);
    for (struct list_node *n; (n = list_first(&s->calls)) != NULL;) {
        struct http_call *c = CONTAINER_OF(n, struct http_call, node);
        if (c->state == CONN_CALL || c->state == CONN_GONE)
            http_call_free(c);
        else
            http_call_lost(c);
    }
    free(s);
}

