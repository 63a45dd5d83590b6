#include "net/http_server_impl.h"

#include "os/fault.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

enum {
    LINGER_MS = 2000,          /* a closed connection is read out, or a reset could eat the answer */
    SMALL_ANSWER_BYTES = 4096, /* goes out whatever waits elsewhere */
};

/* ---- the answers of all ---- */

/* What waits to go out, and what a handler holds for it, as it is now. */
static void out_count(struct http_call *c)
{
    struct http_budget *b = c->server->budget;
    uint64_t now = c->out.size + c->held;
    ASSERT(b->answers >= c->counted);
    b->answers += now - c->counted;
    c->counted = now;
}

static bool answers_full(struct http_call *c)
{
    if (c->server->budget->answers <= c->server->limits->api_answers_bytes_max)
        return false;
    if (c->server->ops.on_limit)
        c->server->ops.on_limit(c->server->ctx, "api_answers_bytes_max");
    return true;
}

bool http_call_hold(struct http_call *c, uint64_t bytes)
{
    bool more = bytes > c->held;
    uint64_t before = c->held;
    c->held = bytes;
    out_count(c);
    if (!more || !answers_full(c))
        return true;
    c->held = before;
    out_count(c);
    return false;
}

void http_call_forget(struct http_call *c)
{
    buf_done(&c->out);
    c->held = 0;
    out_count(c);
}

/* ---- bytes ---- */

/* 0: all is out, or the socket is full; -1: the connection is broken. */
static int out_write(struct http_call *c)
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
            http_call_due(c, c->server->limits->http_idle_ms);
    }
    if (c->state == CONN_STREAM)
        loop_cancel(c->server->loop, &c->timer);
    return 0;
}

static int out_send(struct http_call *c)
{
    int r = out_write(c);
    out_count(c);
    return r;
}

static void linger_begin(struct http_call *c)
{
    (void)shutdown(c->io.fd, SHUT_WR);
    buf_done(&c->in);
    http_call_forget(c);
    http_call_drop(c);
    c->state = CONN_LINGER;
    http_call_due(c, LINGER_MS);
    http_call_await(c);
}

void http_call_flush(struct http_call *c)
{
    if ((c->state == CONN_STREAM && c->stream_over) || c->io.fd < 0 || out_send(c) < 0) {
        http_call_lost(c);
        return;
    }
    if (c->out.size > 0 && c->state == CONN_STREAM && !heap_node_linked(&c->timer.node))
        http_call_due(c, c->server->limits->http_idle_ms);
    if (c->state != CONN_FLUSH || c->out.size > 0) {
        http_call_await(c);
        if (c->state == CONN_STREAM && c->out.size == 0 && c->on_room)
            TAKE(c->on_room)(c->on_gone_ctx); /* may end the stream, and with it c */
    } else if (c->last) {
        linger_begin(c);
    } else {
        http_call_next(c);
    }
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

#define FULL \
    "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":" \
    "\"the answers that clients have not taken yet are more than api_answers_bytes_max together\"}\n"

static void call_flush_soon(struct http_call *c)
{
    c->state = CONN_FLUSH;
    http_call_due(c, c->server->limits->http_idle_ms);
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
        http_call_free(c);
        return;
    }
    ASSERT(c->state == CONN_CALL);
    size_t before = c->out.size;
    write_answer(c, status, content_type, headers, body);
    out_count(c);
    if (body.size > SMALL_ANSWER_BYTES && answers_full(c)) {
        c->out.size = before;
        write_answer(c, 503, "application/problem+json", "Retry-After: 1\r\n", STR(FULL));
        out_count(c);
    }
    call_flush_soon(c);
}

void http_call_refuse(struct http_call *c, struct http1_refusal why)
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
    out_count(c);
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
        http_call_free(c);
        return;
    }
    if (c->chunked && c->head.method_id != HTTP_HEAD)
        http1_write_last_chunk(&c->out, STR(""));
    call_flush_soon(c);
}
