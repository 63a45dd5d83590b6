#include "net/grpc_call.h"
#include "net/http1_body.h"
#include "net/http2.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PREFIX_BYTES = 5, /* of a message: compressed or not, and its size */
    READ_BYTES = 16384,
    READS_PER_TURN = 16,
    OUT_HOLD = 16384,
};

struct grpc_call {
    struct grpc_call_request q;
    struct http2 *h;
    struct http2_stream *s;
    struct loop_io io;
    struct loop_timer timer;
    struct loop_task task;
    struct buf out, answer;
    int fd;
    int status; /* grpc-status; -1: not seen */
    bool http_ok;
};

void grpc_call_cancel(struct grpc_call *c)
{
    if (!c)
        return;
    loop_unwatch(c->q.loop, &c->io);
    loop_cancel(c->q.loop, &c->timer);
    loop_undefer(c->q.loop, &c->task);
    if (c->s)
        http2_stream_drop(c->s, HTTP2_DROP_CUT);
    http2_free(c->h);
    buf_done(&c->out);
    buf_done(&c->answer);
    (void)close(c->fd);
    free(c);
}
DEFINE_AUTO(grpc_call, struct grpc_call *, grpc_call_cancel)

/* ---- the end ------------------------------------------------------------------------------ */

static void done(struct grpc_call *take_c, int status, const struct err *e)
{
    AUTO(grpc_call) struct grpc_call *c = take_c;
    struct str message = { NULL, 0 };
    loop_unwatch(c->q.loop, &c->io); /* nothing of ours comes while the caller is told */
    loop_cancel(c->q.loop, &c->timer);
    if (status == 0)
        message = str_from(buf_str(&c->answer), PREFIX_BYTES);
    c->q.on_done(c->q.ctx, status, message, e);
}

static void fail(struct grpc_call *c, const char *why)
{
    struct err e;
    err_set(&e, CODE_UNAVAILABLE, "%s: %s", c->q.path, why);
    done(c, -1, &e);
}

/* What is here is one message, whole and plain. */
static const char *answer_fault(const struct grpc_call *c)
{
    const uint8_t *at = (const uint8_t *)buf_at(&c->answer);
    if (c->answer.overflow)
        return "the answer is larger than expected";
    if (c->answer.size < PREFIX_BYTES)
        return "status 0 without a message";
    if (at[0] != 0)
        return "the answer is compressed, which was not asked for";
    uint32_t size = (uint32_t)at[1] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 8 | at[4];
    return size == c->answer.size - PREFIX_BYTES ? NULL : "the answer is not one whole message";
}

static void ended(struct grpc_call *c)
{
    const char *fault = c->status == 0 ? answer_fault(c) : NULL;
    struct err e;
    if (!c->http_ok || c->status < 0)
        fail(c, c->http_ok ? "the answer has no grpc-status" : "the answer is not gRPC");
    else if (fault)
        fail(c, fault);
    else if (c->status == 0)
        done(c, 0, NULL);
    else {
        err_set(&e, (enum code)MIN(c->status, (int)CODE_DATA_LOSS), "%s: grpc-status %d", c->q.path,
                c->status);
        done(c, c->status, &e);
    }
}

/* ---- the answer --------------------------------------------------------------------------- */

static void status_note(struct grpc_call *c, struct str value)
{
    uint64_t n;
    if (str_u64(value, &n) && n <= CODE_DATA_LOSS + 1)
        c->status = (int)n;
}

/* False: it is no HTTP. */
static bool heads_read(struct grpc_call *c)
{
    struct buf *text = http2_stream_heads(c->s);
    while (text->size > 0) {
        struct http1_head h;
        http1_head_init(&h, HTTP1_RESPONSE, c->q.limits);
        bool fine = http1_head_feed(&h, buf_at(text), text->size) == HTTP1_DONE;
        if (fine && !h.interim) {
            struct str type = http1_field(&h, HTTP_FIELD_CONTENT_TYPE);
            c->http_ok = h.status == 200 && str_starts(type, STR("application/grpc"));
            status_note(c, http1_field_named(&h, STR("grpc-status")));
        }
        buf_consume(text, fine ? h.size : text->size);
        http1_head_done(&h);
        if (!fine)
            return false;
    }
    return true;
}

static void trailers_read(struct grpc_call *c)
{
    struct str rest = http2_stream_trailers(c->s);
    while (rest.size > 0) {
        struct str line = str_cut(&rest, '\r'), name = str_cut(&line, ':');
        rest = rest.size > 0 ? str_from(rest, 1) : rest;
        if (str_is(name, "grpc-status"))
            status_note(c, str_trim(line));
    }
}

/* True: it is over, and c with it. */
static bool stream_read(struct grpc_call *c)
{
    struct str data = http2_stream_content(c->s);
    if (!heads_read(c)) {
        fail(c, "the answer is not valid HTTP");
        return true;
    }
    buf_str_append(&c->answer, data);
    http2_stream_take(c->s, data.size);
    switch (http2_stream_end(c->s)) {
    case HTTP2_OPEN: return false;
    case HTTP2_ENDED:
        trailers_read(c);
        ended(c);
        return true;
    case HTTP2_RESET:
    case HTTP2_REFUSED: break;
    }
    fail(c, "the server reset the call");
    return true;
}

/* ---- the connection ----------------------------------------------------------------------- */

static bool send_out(struct grpc_call *c)
{
    for (;;) {
        http2_write(c->h, &c->out, OUT_HOLD, loop_now_us(c->q.loop) / 1000);
        if (c->out.size == 0)
            return true;
        ssize_t n = send(c->fd, buf_at(&c->out), c->out.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        buf_consume(&c->out, (size_t)n);
    }
}

/* False: no more will come, and the session knows. */
static bool receive(struct grpc_call *c)
{
    char bytes[READ_BYTES];
    struct err e;
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (n <= 0 ||
            http2_feed(c->h, bytes, (size_t)n, loop_now_us(c->q.loop) / 1000, &e) < 0) {
            http2_lost(c->h);
            return false;
        }
    }
    loop_defer(c->q.loop, &c->task);
    return true;
}

static void turn(struct grpc_call *c)
{
    (void)receive(c);
    while (http2_changed(c->h))
        if (stream_read(c))
            return;
    if (!send_out(c) || http2_over(c->h))
        fail(c, "the connection ended");
}

static void on_ready(struct loop_io *io, uint32_t events)
{
    (void)events;
    turn(CONTAINER_OF(io, struct grpc_call, io));
}

static void on_task(struct loop_task *t) { turn(CONTAINER_OF(t, struct grpc_call, task)); }

static void on_due(struct loop_timer *t)
{
    struct grpc_call *c = CONTAINER_OF(t, struct grpc_call, timer);
    struct err e;
    err_set(&e, CODE_DEADLINE, "%s: no answer in time", c->q.path);
    done(c, -1, &e);
}

/* ---- the request -------------------------------------------------------------------------- */

static int head_send(struct grpc_call *c, struct err *e)
{
    char text[1024];
    struct http1_head h;
    int size = snprintf(text, sizeof text,
                        "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/grpc\r\n"
                        "User-Agent: hob/" HOB_VERSION "\r\nTransfer-Encoding: chunked\r\n\r\n",
                        c->q.path, c->q.authority);
    http1_head_init(&h, HTTP1_REQUEST, c->q.limits);
    if (size > 0 && (size_t)size < sizeof text &&
        http1_head_feed(&h, text, (size_t)size) == HTTP1_DONE)
        c->s = http2_request(c->h, &h, false);
    http1_head_done(&h);
    return c->s ? 0
                : err_set(e, CODE_INVALID, "grpc: \"%s\" at \"%s\" is not a method and a host",
                          c->q.path, c->q.authority);
}

static int message_send(struct grpc_call *c, struct err *e)
{
    size_t size = c->q.message.size;
    const char prefix[PREFIX_BYTES] = { 0, (char)(size >> 24), (char)(size >> 16),
                                        (char)(size >> 8), (char)size };
    if (size + PREFIX_BYTES > http2_stream_room(c->s))
        return err_set(e, CODE_INVALID, "grpc: a message of %zu bytes", size);
    http2_stream_put(c->s, (struct str){ prefix, PREFIX_BYTES });
    http2_stream_put(c->s, c->q.message);
    http2_stream_finish(c->s, STR(""));
    c->q.message = (struct str){ NULL, 0 };
    return 0;
}

int grpc_call_start(const struct grpc_call_request *q, int take_fd, struct grpc_call **ret,
                    struct err *e)
{
    AUTO(grpc_call) struct grpc_call *c = xcalloc(1, sizeof *c);
    c->q = *q;
    c->fd = take_fd;
    c->status = -1;
    c->io.on_ready = on_ready;
    c->timer.on_due = on_due;
    c->task.run = on_task;
    c->h = http2_new(HTTP2_CLIENT, q->limits);
    buf_init(&c->out, OUT_HOLD + HTTP2_FRAME_BYTES_MAX);
    buf_init(&c->answer, q->answer_bytes_max + PREFIX_BYTES);
    int r = head_send(c, e);
    if (r == 0)
        r = message_send(c, e);
    if (r == 0)
        r = loop_watch(q->loop, &c->io, take_fd, EPOLLIN | EPOLLOUT | EPOLLET, e);
    if (r < 0)
        return r;
    loop_at(q->loop, &c->timer, q->give_up_us);
    loop_defer(q->loop, &c->task);
    *ret = TAKE(c);
    return 0;
}
