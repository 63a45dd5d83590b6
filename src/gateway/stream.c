/* The two directions of an exchange: the request's body to the function, its answer to the client. */
#include "gateway/client.h"
#include "gateway/pipe.h"
#include "net/http1_write.h"
#include "net/http_guess.h"

#include <stdio.h>

enum { INTERIMS_MAX = 64 }; /* 1xx heads before an answer */

static uint64_t now_of(const struct client *c) { return loop_now_us(c->ingress->loop); }

/* ---- towards the function ----------------------------------------------------------------- */

/* Whether more of the request may be put into up.out; writes to make room. */
static bool request_has_room(struct client *c)
{
    struct channel *up = &c->up;
    size_t room = c->ingress->room;
    if (up->out.size < room)
        return true;
    if (channel_flush(up) == CHANNEL_BROKEN)
        c->x.function_deaf = true;
    if (c->x.function_deaf)
        return false;
    if (up->keep && up->sent > 0)
        channel_forget_sent(up); /* too large to be kept for a second try */
    return up->out.size < room;
}

static void request_put(struct client *c, struct str data, bool last)
{
    struct exchange *x = &c->x;
    struct buf *out = &c->up.out;
    x->record.request_bytes += data.size;
    if (data.size > 0 && x->request_chunked)
        http1_write_chunk(out, data);
    else if (data.size > 0)
        buf_str_append(out, data);
    if (last && x->request_chunked)
        http1_write_last_chunk(out, buf_str(&x->request_body.trailers));
    x->request_done = last;
    ASSERT(!out->overflow);
}

static enum step request_bad(struct client *c)
{
    const char *why = c->x.request_body.refusal.text;
    ingress_count_limit(c->ingress, why);
    return exchange_refuse(
        c,
        &(struct problem){ .kind = problem_of_status(c->x.request_body.refusal.status),
                           .detail = why },
        INVOCATION_REFUSED);
}

/* Writes, and settles whether there may be a second try: up.keep holds exactly as long as the rule in
 * ingress.h allows one. */
static void request_flush(struct client *c)
{
    struct exchange *x = &c->x;
    if (channel_pending(&c->up) > 0 && channel_flush(&c->up) == CHANNEL_BROKEN) {
        x->function_deaf = true; /* it may have answered first */
        c->up.readable = true;
    }
    /* A stream says by itself whether the function has begun with it. */
    if (c->up.keep && c->up.sent > 0 && !channel_is_stream(&c->up) && !exchange_may_repeat(c))
        channel_forget_sent(&c->up);
}

enum step stream_request(struct client *c)
{
    struct exchange *x = &c->x;
    while (!x->request_done && !x->function_deaf && request_has_room(c)) {
        size_t used, hold = c->ingress->room;
        struct str data;
        enum http1_result r = http1_body_feed(
            &x->request_body, buf_at(&c->net.in),
            MIN(c->net.in.size, hold - MIN(hold, c->up.out.size) + 1), &used, &data);
        if (r == HTTP1_BAD)
            return request_bad(c);
        request_put(c, data, r == HTTP1_DONE);
        buf_consume(&c->net.in, used);
        if (r != HTTP1_MORE || c->net.in.size > 0)
            continue;
        if (!client_may_read(c))
            break;
        enum channel_result filled = channel_fill(&c->net, hold);
        if (filled == CHANNEL_MOVED) {
            meter_moved(&x->read_meter, c->net.in.size, now_of(c));
            x->heard_us = now_of(c);
            continue;
        }
        if (filled != CHANNEL_AGAIN)
            return exchange_gone(c);
        meter_wait(&x->read_meter, now_of(c));
        break;
    }
    request_flush(c);
    return STEP_WAIT;
}

/* ---- towards the client ------------------------------------------------------------------- */

enum channel_result stream_flush(struct client *c)
{
    struct exchange *x = &c->x;
    size_t before = channel_pending(&c->net);
    enum channel_result r = channel_flush(&c->net);
    meter_moved(&x->write_meter, before - channel_pending(&c->net), now_of(c));
    if (r == CHANNEL_AGAIN)
        meter_wait(&x->write_meter, now_of(c));
    return r;
}

static enum step answer_bad(struct client *c, const char *why)
{
    return exchange_refuse(
        c, &(struct problem){ .kind = PROBLEM_BAD_ANSWER, .detail = why, .phase = "handler" },
        INVOCATION_FAILED);
}

/* 100 is ours to send (dispatch); the others are the function's own words. */
static enum step interim_relay(struct client *c)
{
    struct exchange *x = &c->x;
    struct buf *out = &c->net.out;
    if (x->interims++ == INTERIMS_MAX)
        return answer_bad(c, "more than 64 interim answers");
    if (x->minor == 1 && x->answer.status != 100) {
        http1_write_status(out, x->answer.status, x->answer.reason);
        forward_answer_fields(out, &x->answer);
        http1_write_end(out);
        ASSERT(!out->overflow);
    }
    buf_consume(&c->up.in, x->answer.size);
    http1_head_reset(&x->answer);
    http1_head_answers(&x->answer, (enum http_method)x->method_id);
    return STEP_ON;
}

static void answer_framing(struct client *c)
{
    struct exchange *x = &c->x;
    const struct http1_head *a = &x->answer;
    struct buf *out = &c->net.out;
    switch ((enum http1_framing)a->framing) {
    case HTTP1_BODY_NONE: /* to HEAD, or 304: the length that it would have */
        if (a->content_length != UINT64_MAX && a->status != 204 && a->status >= 200)
            http1_write_framing(out, HTTP1_BODY_LENGTH, a->content_length);
        return;
    case HTTP1_BODY_LENGTH: http1_write_framing(out, HTTP1_BODY_LENGTH, a->body_bytes); return;
    case HTTP1_BODY_CHUNKED:
    case HTTP1_BODY_CLOSE: break;
    }
    x->answer_chunked = x->minor == 1;
    if (x->answer_chunked)
        http1_write_framing(out, HTTP1_BODY_CHUNKED, 0);
    else
        x->client_keep = false; /* HTTP/1.0 sees the end in the end of the connection */
}

static enum step answer_open(struct client *c)
{
    struct exchange *x = &c->x;
    const struct http1_head *a = &x->answer;
    struct buf *out = &c->net.out;

    if (a->upgrade && !x->upgrade)
        return answer_bad(c, "it switched protocols (101) though nobody asked for it");
    x->answering = true;
    x->record.status = a->status;
    http1_write_status(out, a->status, a->reason.at ? a->reason : STR(""));
    forward_answer_fields(out, a);
    if (a->upgrade)
        forward_upgrade(out, a);
    else
        answer_framing(c);
    exchange_answer_end(c, a->upgrade ? FORWARD_UPGRADE : exchange_connection(c),
                        http1_has(a, HTTP_FIELD_DATE));
    http1_body_init(&x->answer_body, a);
    buf_consume(&c->up.in, a->size);
    return a->upgrade ? tunnel_begin(c) : STEP_ON;
}

static enum step answer_head(struct client *c)
{
    struct exchange *x = &c->x;
    switch (http1_head_feed(&x->answer, buf_at(&c->up.in), c->up.in.size)) {
    case HTTP1_DATA:
    case HTTP1_MORE: return STEP_WAIT;
    case HTTP1_BAD:
        return answer_bad(c, !channel_is_stream(&c->up) && http_guess_is_h2(buf_str(&c->up.in))
                                 ? HTTP_GUESS_IS_H2
                                 : x->answer.refusal.text);
    case HTTP1_DONE: break;
    }
    return x->answer.interim ? interim_relay(c) : answer_open(c);
}

static enum step answer_body(struct client *c)
{
    struct exchange *x = &c->x;
    struct buf *out = &c->net.out;
    size_t used, hold = c->ingress->room;
    struct str data;
    enum http1_result r = http1_body_feed(
        &x->answer_body, buf_at(&c->up.in),
        MIN(c->up.in.size, hold - MIN(hold, channel_pending(&c->net)) + 1), &used, &data);
    if (r == HTTP1_BAD)
        return answer_bad(c, x->answer_body.refusal.text);
    x->record.response_bytes += data.size;
    if (data.size > 0 && x->answer_chunked)
        http1_write_chunk(out, data);
    else if (data.size > 0)
        buf_str_append(out, data);
    x->answer_done = r == HTTP1_DONE;
    if (x->answer_done && x->answer_chunked)
        forward_answer_last_chunk(out, buf_str(&x->answer_body.trailers));
    ASSERT(!out->overflow);
    buf_consume(&c->up.in, used);
    return r == HTTP1_MORE && c->up.in.size == 0 ? STEP_WAIT : STEP_ON;
}

/* The instance is free for others as soon as its answer is here, however slowly it is read. */
static enum step answer_complete(struct client *c)
{
    struct exchange *x = &c->x;
    struct channel *up = &c->up;
    bool keep = !channel_is_stream(up) && x->request_done && channel_pending(up) == 0 && !x->function_deaf &&
                x->answer.keep_alive && up->in.size == 0 && !up->hangup;
    if (keep && up->readable) /* or else an edge will tell: ingress.c link_on_ready() */
        keep = channel_fill(up, c->ingress->room) == CHANNEL_AGAIN;
    exchange_release(c, keep, true);
    if (!x->request_done)
        x->client_keep = false;
    x->outcome = x->record.status >= 500 ? INVOCATION_FUNCTION_ERROR : INVOCATION_OK;
    c->state = CLIENT_FINISH;
    return STEP_ON;
}

/* The connection to the function ended. */
static enum step function_gone(struct client *c, enum channel_result how)
{
    struct exchange *x = &c->x;
    if (x->answering && how == CHANNEL_END && http1_body_ended(&x->answer_body) == HTTP1_DONE) {
        if (x->answer_chunked)
            http1_write_last_chunk(&c->net.out, STR(""));
        x->answer_done = true;
        return answer_complete(c);
    }
    const char *said = x->leased && x->lease.start ? x->lease.start->error : ""; /* hob gave it up */
    if (link_may_resend(c) && (x->lease.fd_reused || channel_is_stream(&c->up)))
        return exchange_reconnect(c);
    if (link_may_resend(c) && !said[0])
        return exchange_retry(c);
    if (!said[0] && channel_is_stream(&c->up) && pipe_is_foreign(c->up.pipe))
        said = HTTP_GUESS_NOT_H2;
    char why[320];
    snprintf(why, sizeof why, "the function ended the connection %s%s%s",
             x->answer_begun ? "in mid-answer" : "without an answer", said[0] ? ": " : "", said);
    return exchange_refuse(
        c, &(struct problem){ .kind = PROBLEM_INSTANCE_DIED, .detail = why, .phase = "handler" },
        INVOCATION_FAILED);
}

enum step stream_answer(struct client *c)
{
    struct exchange *x = &c->x;
    for (;;) {
        if (channel_pending(&c->net) >= c->ingress->room) {
            enum channel_result flushed = stream_flush(c);
            if (flushed == CHANNEL_BROKEN)
                return exchange_gone(c);
            if (channel_pending(&c->net) >= c->ingress->room)
                return STEP_WAIT;
        }
        if (c->up.in.size > 0 || (x->answering && x->answer.framing == HTTP1_BODY_NONE)) {
            enum step s = x->answering ? answer_body(c) : answer_head(c);
            if (c->state != CLIENT_EXCHANGE)
                return s;
            if (x->answer_done)
                return answer_complete(c);
            if (s == STEP_ON)
                continue;
        }
        if (!client_may_read(c))
            return STEP_WAIT;
        enum channel_result r = channel_fill(&c->up, MAX(c->ingress->room, c->up.in.max));
        if (r == CHANNEL_AGAIN) {
            if (x->answer_begun)
                channel_acknowledge(&c->up);
            return STEP_WAIT;
        }
        if (r != CHANNEL_MOVED)
            return function_gone(c, r);
        x->active_us = now_of(c);
        x->answer_begun = true;
        channel_forget_sent(&c->up);
    }
}
