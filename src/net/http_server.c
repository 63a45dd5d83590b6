#include "net/http_server.h"
#include "net/http1_body.h"
#include "net/http1_write.h"
#include "net/url.h"
#include "os/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 16384, /* per connection and turn */
    ACCEPTS_PER_TURN = 64,
    ACCEPT_PAUSE_MS = 100,  /* when accept() fails for want of descriptors or memory */
    BODY_GRACE_MS = 5000,   /* before http_body_rate_bytes_s counts */
    LINGER_MS = 2000,       /* a closed connection is read out, or a reset could eat the answer */
    LINGER_BYTES = 4 << 20, /* at most this much of it */
};

/* HEAD -> BODY -> CALL -> FLUSH -> HEAD …   one request after the other; what is pipelined waits in `in`
 *  |       |      |\
 *  |       |      | `-> STREAM -> FLUSH     `out` may hold bytes in any state but HEAD's first
 *  `-------+------|--> FLUSH -> LINGER      refused, or the last answer
 *                 `--> GONE                 the client left, the handler does not know yet
 */
enum conn_state {
    CONN_HEAD,
    CONN_BODY,
    CONN_CALL,   /* the handler has it */
    CONN_STREAM, /* the handler writes on */
    CONN_FLUSH,  /* the answer is complete, and on its way */
    CONN_LINGER, /* our side is closed; waiting for the client's */
    CONN_GONE,   /* descriptor closed; freed when the handler answers */
};

struct param {
    struct str name, value;
};

struct http_call { /* a connection is its current call: there is one at a time */
    struct http_server *server;
    struct list_node node;
    struct loop_io io;
    struct loop_timer timer;
    struct loop_task task; /* flushes and goes on, outside of the handler's stack */
    enum conn_state state;
    bool fresh;       /* no request on this connection yet */
    bool head_begun;  /* its first byte is here */
    bool last;        /* close after this answer */
    bool stream_over; /* STREAM: the client left or is too slow; on_gone is due */
    bool chunked;     /* STREAM: to HTTP/1.1 */
    struct buf in, out, head_text, content;
    struct http1_head head;
    struct http1_body body;
    uint64_t body_start_us, linger_bytes;
    uint64_t reserved; /* of the budget: what `content` holds, until the answer is out */
    char *query; /* decoded in place; NULL until asked for */
    struct param *params;
    size_t param_count;
    void (*on_gone)(void *ctx);
    void (*on_room)(void *ctx); /* NULL: nobody waits */
    void *on_gone_ctx;          /* for both */
};

struct http_server {
    struct loop *loop;
    const struct limits *limits;
    struct http_server_ops ops;
    void *ctx;
    struct loop_io listen_io;
    struct loop_timer accept_timer;
    int listen_fd;
    bool stopped;
    struct http_budget own, *bodies;
    struct list calls;
    int64_t date_s; /* the second that date[] is of */
    char date[32];
};

/* ---- the bodies of all -------------------------------------------------------------------- */

/* Grows what this call holds to `size`; false: there is no room. */
static bool body_reserve(struct http_call *c, uint64_t size)
{
    struct http_budget *b = c->server->bodies;
    uint64_t more = size > c->reserved ? size - c->reserved : 0;
    ASSERT(b->used >= c->reserved);
    if (more > 0 && b->used + more > c->server->limits->api_bodies_bytes_max) {
        if (c->server->ops.on_limit)
            c->server->ops.on_limit(c->server->ctx, "api_bodies_bytes_max");
        return false;
    }
    b->used += more;
    c->reserved += more;
    return true;
}

static void content_drop(struct http_call *c)
{
    ASSERT(c->server->bodies->used >= c->reserved);
    c->server->bodies->used -= c->reserved;
    c->reserved = 0;
    buf_done(&c->content);
}

/* ---- connections -------------------------------------------------------------------------- */

static void call_free(struct http_call *c)
{
    loop_unwatch(c->server->loop, &c->io);
    loop_cancel(c->server->loop, &c->timer);
    loop_undefer(c->server->loop, &c->task);
    fd_auto(&c->io.fd);
    list_remove(&c->server->calls, &c->node);
    buf_done(&c->in);
    buf_done(&c->out);
    buf_done(&c->head_text);
    content_drop(c);
    http1_head_done(&c->head);
    http1_body_done(&c->body);
    free(c->query);
    free(c->params);
    free(c);
}

/* The connection is of no more use. Whoever still holds the call hears of it once, or finds out when it
 * answers; otherwise c is freed. */
static void call_lost(struct http_call *c)
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
    call_free(c);
}

static void call_await(struct http_call *c)
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

static void call_due_ms(struct http_call *c, uint64_t ms)
{
    loop_after(c->server->loop, &c->timer, ms * 1000);
}

/* ---- answers ------------------------------------------------------------------------------ */

static struct str date_now(struct http_server *s)
{
    int64_t now_s = loop_wall_ms() / 1000;
    if (now_s != s->date_s || s->date[0] == '\0') {
        struct tm tm;
        time_t t = (time_t)now_s;
        (void)gmtime_r(&t, &tm);
        (void)strftime(s->date, sizeof s->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        s->date_s = now_s;
    }
    return str_of(s->date);
}

static void check_lines(struct str lines)
{
    while (lines.size > 0) {
        struct str line = str_cut(&lines, '\n');
        struct http_field f;
        const char *why;
        ASSERT(str_ends(line, STR("\r")));
        ASSERT(http1_field_line(str_head(line, line.size - 1), &f, &why));
    }
}

static void write_head(struct http_call *c, int status, const char *content_type,
                       const char *headers)
{
    ASSERT(status >= 200 && status <= 599);
    c->last |= !c->head.keep_alive || c->server->stopped;
    http1_write_status(&c->out, status, (struct str){ NULL, 0 });
    http1_write_field(&c->out, STR("Date"), date_now(c->server));
    if (content_type)
        http1_write_field(&c->out, STR("Content-Type"), str_of(content_type));
    if (headers) {
        check_lines(str_of(headers));
        buf_text(&c->out, headers);
    }
    if (c->last)
        http1_write_field(&c->out, STR("Connection"), STR("close"));
    else if (c->head.minor == 0)
        http1_write_field(&c->out, STR("Connection"), STR("keep-alive"));
}

static bool has_body(const struct http_call *c, int status)
{
    return status != 204 && status != 304 && c->head.method_id != HTTP_HEAD;
}

static void call_flush_soon(struct http_call *c)
{
    c->state = CONN_FLUSH;
    call_due_ms(c, c->server->limits->http_idle_ms);
    loop_defer(c->server->loop, &c->task);
}

static void write_answer(struct http_call *c, int status, const char *content_type,
                         const char *headers, struct str body)
{
    size_t before = c->out.size;
    write_head(c, status, content_type, headers);
    if (status != 204 && status != 304)
        http1_write_framing(&c->out, HTTP1_BODY_LENGTH, body.size);
    http1_write_end(&c->out);
    if (has_body(c, status))
        buf_str_append(&c->out, body);
    if (!c->out.overflow)
        return;
    /* What overflowed was not appended, but the head before it was. */
    c->out.size = before;
    c->out.overflow = false;
    write_answer(c, 500, "text/plain", NULL, STR("answer is larger than api_answer_bytes_max\n"));
}

void http_answer(struct http_call *c, int status, const char *content_type, const char *headers,
                 struct str body)
{
    if (c->state == CONN_GONE) {
        call_free(c);
        return;
    }
    ASSERT(c->state == CONN_CALL);
    write_answer(c, status, content_type, headers, body);
    call_flush_soon(c);
}

static const struct http1_refusal bodies_full = {
    503, "the bodies of all requests together are more than api_bodies_bytes_max"
};

/* The client is at fault (but for bodies_full), and where its message ends is not known any more. The texts are our own and
 * hold nothing that JSON would escape. */
static void call_refuse(struct http_call *c, struct http1_refusal why)
{
    char body[512];
    int size =
        snprintf(body, sizeof body,
                 "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"}\n",
                 http_status_text(why.status), why.status, why.text);
    ASSERT(size > 0 && (size_t)size < sizeof body);
    c->last = true;
    write_answer(c, why.status, "application/problem+json", why.status == 503 ? "Retry-After: 1\r\n" : NULL,
                 (struct str){ body, (size_t)size });
    call_flush_soon(c);
}

/* ---- streams ------------------------------------------------------------------------------ */

void http_stream_begin(struct http_call *c, int status, const char *content_type,
                       void (*on_gone)(void *ctx), void *ctx)
{
    ASSERT((c->state == CONN_CALL || c->state == CONN_GONE) && on_gone);
    c->on_gone = on_gone;
    c->on_room = NULL;
    c->on_gone_ctx = ctx;
    c->stream_over = c->state == CONN_GONE;
    c->state = CONN_STREAM;
    c->chunked = c->head.minor == 1;
    c->last |= !c->chunked;
    loop_defer(c->server->loop, &c->task);
    if (c->stream_over)
        return;
    write_head(c, status, content_type, NULL);
    if (c->chunked)
        http1_write_framing(&c->out, HTTP1_BODY_CHUNKED, 0);
    http1_write_end(&c->out);
}

static int out_send(struct http_call *c);

void http_stream_write(struct http_call *c, struct str data)
{
    ASSERT(c->state == CONN_STREAM);
    if (c->stream_over || data.size == 0 || c->head.method_id == HTTP_HEAD)
        return;
    loop_defer(c->server->loop, &c->task);
    if (c->out.size > c->server->limits->http_stream_buffer_bytes &&
        (out_send(c) < 0 || c->out.size > c->server->limits->http_stream_buffer_bytes)) {
        c->stream_over = true;
        return;
    }
    if (c->chunked)
        http1_write_chunk(&c->out, data);
    else
        buf_str_append(&c->out, data);
    c->stream_over = c->out.overflow;
}

void http_stream_await(struct http_call *c, void (*on_room)(void *ctx))
{
    ASSERT(c->state == CONN_STREAM && on_room);
    c->on_room = on_room;
    loop_defer(c->server->loop, &c->task);
}

void http_stream_end(struct http_call *c)
{
    ASSERT(c->state == CONN_STREAM);
    if (c->stream_over) {
        call_free(c);
        return;
    }
    if (c->chunked && c->head.method_id != HTTP_HEAD)
        http1_write_last_chunk(&c->out, STR(""));
    call_flush_soon(c);
}

/* ---- requests ----------------------------------------------------------------------------- */

static void body_due(struct http_call *c)
{
    uint64_t rate = c->server->limits->http_body_rate_bytes_s;
    if (rate == 0)
        call_due_ms(c, c->server->limits->http_idle_ms);
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
        call_refuse(c, (struct http1_refusal){ 400, repeated });
    else if (c->head.framing == HTTP1_BODY_LENGTH &&
             c->head.body_bytes > c->server->limits->api_body_bytes_max)
        call_refuse(c, (struct http1_refusal){ 413, "body is larger than api_body_bytes_max" });
    else if (head_allowed(c) && c->head.expect_continue && c->in.size == 0)
        buf_text(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
}

/* Takes what there is of a head. True: go on with its body. */
static bool take_head(struct http_call *c)
{
    if (c->in.size == 0)
        return false;
    if (!c->head_begun && !c->fresh) /* a fresh connection's time runs from its first moment */
        call_due_ms(c, c->server->limits->http_head_ms);
    c->head_begun = true;
    enum http1_result r = http1_head_feed(&c->head, buf_at(&c->in), c->in.size);
    if (r == HTTP1_BAD)
        call_refuse(c, c->head.refusal);
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
        call_refuse(c, (struct http1_refusal){ 413, "body is larger than api_body_bytes_max" });
    else if (!room)
        call_refuse(c, bodies_full);
    else if (r == HTTP1_BAD)
        call_refuse(c, c->body.refusal);
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
    call_await(c);
    if (whole)
        c->server->ops.on_request(c->server->ctx, c);
}

static void call_next(struct http_call *c)
{
    buf_done(&c->head_text);
    content_drop(c);
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

/* 0: all is out, or the socket is full; -1: the connection is broken. */
static int out_send(struct http_call *c)
{
    while (c->out.size > 0) {
        ssize_t n = fault_hit("send")
                        ? -1
                        : send(c->io.fd, buf_at(&c->out), c->out.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
        buf_consume(&c->out, (size_t)n);
        if (c->state == CONN_FLUSH || c->state == CONN_STREAM)
            call_due_ms(c, c->server->limits->http_idle_ms);
    }
    if (c->state == CONN_STREAM)
        loop_cancel(c->server->loop, &c->timer);
    return 0;
}

static void linger_begin(struct http_call *c)
{
    (void)shutdown(c->io.fd, SHUT_WR);
    buf_done(&c->in);
    buf_done(&c->out);
    content_drop(c);
    c->state = CONN_LINGER;
    call_due_ms(c, LINGER_MS);
    call_await(c);
}

static void call_flush(struct http_call *c)
{
    if ((c->state == CONN_STREAM && c->stream_over) || c->io.fd < 0 || out_send(c) < 0) {
        call_lost(c);
        return;
    }
    if (c->out.size > 0 && c->state == CONN_STREAM && !heap_node_linked(&c->timer.node))
        call_due_ms(c, c->server->limits->http_idle_ms);
    if (c->state != CONN_FLUSH || c->out.size > 0) {
        call_await(c);
        if (c->state == CONN_STREAM && c->out.size == 0 && c->on_room)
            TAKE(c->on_room)(c->on_gone_ctx); /* may end the stream, and with it c */
    } else if (c->last) {
        linger_begin(c);
    } else {
        call_next(c);
    }
}

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
        call_lost(c);
        return;
    }
    if (c->state != CONN_LINGER) {
        call_advance(c);
        return;
    }
    buf_clear(&c->in);
    c->linger_bytes += (uint64_t)n;
    if (c->linger_bytes > LINGER_BYTES)
        call_lost(c);
}

static void call_on_ready(struct loop_io *io, uint32_t events)
{
    struct http_call *c = CONTAINER_OF(io, struct http_call, io);
    bool reads = c->state == CONN_HEAD || c->state == CONN_BODY || c->state == CONN_LINGER;

    if (!reads && (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP))) {
        call_lost(c);
        return;
    }
    if (events & EPOLLOUT) {
        call_flush(c); /* may free c, or go on to the next request: what else came is seen again */
        return;
    }
    if (reads)
        call_read(c);
}

static void call_on_due(struct loop_timer *t)
{
    struct http_call *c = CONTAINER_OF(t, struct http_call, timer);
    if (c->state == CONN_HEAD && c->head_begun) {
        call_refuse(c, (struct http1_refusal){ 408, "head took longer than http_head_ms" });
    } else if (c->state == CONN_BODY) {
        call_refuse(c, (struct http1_refusal){ 408, "body came too slowly" });
    } else {
        call_lost(c); /* idle, or does not take what we send */
    }
}

static void call_on_task(struct loop_task *t)
{
    call_flush(CONTAINER_OF(t, struct http_call, task));
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
        call_free(c);
        return;
    }
    call_due_ms(c, s->limits->http_head_ms);
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
        if (s->calls.count >= s->limits->connections_max)
            turn_away(fd);
        else
            call_new(s, fd);
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
    s->bodies = ops->bodies ? ops->bodies : &s->own;
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
            call_free(c);
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
            call_free(c);
        else
            call_lost(c);
    }
    free(s);
}

/* ---- what a handler asks ------------------------------------------------------------------ */

struct str http_call_method(const struct http_call *c) { return c->head.method; }
struct str http_call_path(const struct http_call *c) { return c->head.path; }
struct str http_call_body(const struct http_call *c) { return buf_str(&c->content); }

bool http_call_user(const struct http_call *c, uint32_t *ret_uid)
{
    struct ucred who;
    struct sockaddr_storage own = { 0 };
    socklen_t size = sizeof own, who_size = sizeof who;
    if (c->io.fd < 0 || getsockname(c->io.fd, (struct sockaddr *)&own, &size) < 0 || own.ss_family != AF_UNIX ||
        getsockopt(c->io.fd, SOL_SOCKET, SO_PEERCRED, &who, &who_size) < 0)
        return false;
    *ret_uid = who.uid;
    return true;
}

struct str http_call_header(const struct http_call *c, const char *name)
{
    return http1_field_named(&c->head, str_of(name));
}

/* Splits the query and decodes it where it stands, once. A pair that cannot be decoded is absent. */
static void params_make(struct http_call *c)
{
    struct str rest = c->head.query;
    size_t most = 1;
    for (size_t i = 0; i < rest.size; i++)
        most += rest.at[i] == '&';
    c->query = xstrndup(rest.at ? rest.at : "", rest.size);
    c->params = xcalloc(most, sizeof *c->params);
    c->param_count = 0;
    rest = (struct str){ c->query, rest.size };
    while (rest.size > 0) {
        struct str value = str_cut(&rest, '&');
        struct str name = str_cut(&value, '=');
        struct param p = { name, value };
        /* Both lie in c->query, which is ours to write; str only borrows as const. */
        char *name_at = c->query + (name.at - c->query),
             *value_at = c->query + (value.at - c->query);
        if (name.size > 0 && url_decode_query(name, name_at, &p.name.size) &&
            url_decode_query(value, value_at, &p.value.size))
            c->params[c->param_count++] = p;
    }
}

struct str http_call_param(struct http_call *c, const char *name)
{
    if (!c->query)
        params_make(c);
    for (size_t i = 0; i < c->param_count; i++)
        if (str_is(c->params[i].name, name))
            return c->params[i].value;
    return (struct str){ NULL, 0 };
}

uint32_t http_call_segments(const struct http_call *c)
{
    uint32_t count = 0;
    for (size_t i = 0; i < c->head.path.size; i++)
        count += c->head.path.at[i] == '/';
    return c->head.path.size > 1 ? count : 0;
}

bool http_call_segment(const struct http_call *c, uint32_t index, char *into, size_t size)
{
    struct str rest = c->head.path;
    if (index >= http_call_segments(c))
        return false;
    (void)str_cut(&rest, '/');
    for (uint32_t i = 0; i < index; i++)
        (void)str_cut(&rest, '/');
    return url_decode_segment(str_cut(&rest, '/'), into, size);
}
