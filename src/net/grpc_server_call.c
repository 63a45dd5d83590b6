/* One call: from its first bytes to the last of its answer. The rules are in grpc_server.h. */
#include "net/grpc_server_impl.h"

#include "codec/base64.h"

#include <stdlib.h>

enum {
    TEXT_BYTES_MAX = 4096, /* of grpc-message, encoded: some clients take 16 KiB of head, with the details */
    SCRATCH_KEPT = 65536,
    PACKED_MAX = 1 << 20, /* larger answers would keep the loop from its work */
};

static struct grpc_server *server_of(const struct grpc_server_call *c) { return c->conn->server; }

void grpc_limit_reached(struct grpc_server *s, const char *limit)
{
    if (s->ops.on_limit)
        s->ops.on_limit(s->ctx, limit);
}

/* ---- life --------------------------------------------------------------------------------- */

static void hold(struct grpc_server_call *c)
{
    http2_stream_hold(c->s, sizeof *c + c->in.capacity + c->rest.capacity);
}

static bool has_room(const struct grpc_server_call *c, size_t more)
{
    const struct grpc_server *s = server_of(c);
    return s->budget.bytes + more <= s->limits.grpc_held_bytes_max;
}

/* The request's texts and bytes are not needed any more. */
static void request_done(struct grpc_server_call *c)
{
    struct buf *heads = http2_stream_heads(c->s);
    if (c->has_head)
        http1_head_done(&c->head);
    c->has_head = false;
    c->message = (struct str){ NULL, 0 };
    buf_consume(heads, heads->size);
    buf_done(&c->in);
    http2_stream_take(c->s, http2_stream_content(c->s).size);
    hold(c);
}

static void call_free(struct grpc_server_call *c, enum http2_drop how)
{
    if (c->gone)
        *c->gone = true;
    loop_cancel(server_of(c)->loop, &c->timer);
    server_of(c)->counts.calls -= c->state == CALL_HANDED;
    if (c->has_head)
        http1_head_done(&c->head);
    buf_done(&c->in);
    buf_done(&c->rest);
    grpc_conn_touch(c->conn);
    http2_stream_drop(c->s, how);
    free(c);
}

static void due_after(struct grpc_server_call *c, uint64_t ms)
{
    loop_after(server_of(c)->loop, &c->timer, ms * 1000);
}

/* ---- the answer --------------------------------------------------------------------------- */

static void put_rest(struct grpc_server_call *c)
{
    size_t size = MIN(http2_stream_room(c->s), c->rest.size);
    if (size > 0) {
        http2_stream_put(c->s, str_head(buf_str(&c->rest), size));
        buf_consume(&c->rest, size);
        buf_relax(&c->rest, 0);
        hold(c);
    }
    if (c->rest.size == 0 && !c->finished && !http2_stream_deaf(c->s)) {
        http2_stream_finish(c->s, STR("grpc-status: 0\r\n"));
        c->finished = true;
    }
}

/* The stream is kept until all of it is with the system: a client that takes nothing must be noticed. */
static void pump(struct grpc_server_call *c)
{
    put_rest(c);
    size_t unsent = c->rest.size + http2_stream_unsent(c->s);
    if (http2_stream_deaf(c->s) && !(c->finished && unsent == 0)) {
        call_free(c, HTTP2_DROP_CUT);
    } else if (unsent == 0) {
        call_free(c, HTTP2_DROP_DONE);
    } else {
        if (unsent != c->unsent)
            due_after(c, server_of(c)->limits.grpc_stall_ms);
        c->unsent = unsent;
        grpc_conn_touch(c->conn);
    }
}

static void enter_sending(struct grpc_server_call *c, enum code code)
{
    struct grpc_server *s = server_of(c);
    s->counts.calls -= c->state == CALL_HANDED;
    s->counts.ended[code]++;
    c->state = CALL_SENDING;
    c->owner = NULL;
    loop_cancel(s->loop, &c->timer);
}

static void head_send(struct grpc_server_call *c, const struct buf *text)
{
    struct http1_head h;
    http1_head_init(&h, HTTP1_RESPONSE, &server_of(c)->limits);
    enum http1_result r = http1_head_feed(&h, buf_at(text), text->size);
    ASSERT(r == HTTP1_DONE && !text->overflow);
    http2_answer(c->s, &h, true);
    http1_head_done(&h);
    c->finished = true;
}

/* Status in the head, and nothing else ("Trailers-Only"). */
static void refuse(struct grpc_server_call *c, int http_status, enum code code, struct str text, struct str details)
{
    struct grpc_server *s = server_of(c);
    struct buf b;
    enter_sending(c, code);
    buf_init(&b, s->limits.http_head_bytes_max);
    buf_printf(&b, "HTTP/1.1 %d Refused\r\nContent-Type: application/grpc\r\ngrpc-status: %d\r\ngrpc-message: ",
               http_status, (int)code);
    grpc_wire_text(&b, text, TEXT_BYTES_MAX);
    if (code == CODE_UNIMPLEMENTED)
        buf_text(&b, "\r\ngrpc-accept-encoding: gzip,identity");
    if (details.size > s->limits.grpc_details_bytes_max) {
        grpc_limit_reached(s, "grpc_details_bytes_max");
    } else if (details.size > 0) {
        buf_text(&b, "\r\ngrpc-status-details-bin: ");
        base64_write(details, &b);
    }
    buf_text(&b, "\r\n\r\n");
    head_send(c, &b);
    buf_done(&b);
    pump(c);
}

static void refuse_text(struct grpc_server_call *c, enum code code, const char *text)
{
    refuse(c, 200, code, str_of(text), STR(""));
}

static void refuse_limit(struct grpc_server_call *c, const char *limit, const char *text)
{
    grpc_limit_reached(server_of(c), limit);
    refuse_text(c, CODE_EXHAUSTED, text);
}

/* "grpc: received message larger than max (N vs. M)": clients know these words. */
static void refuse_large(struct grpc_server_call *c, const char *limit, const char *what, uint64_t size, uint64_t max)
{
    AUTO_FREE char *text = xasprintf("grpc: %s message larger than max (%llu vs. %llu)", what,
                                     (unsigned long long)size, (unsigned long long)max);
    refuse_limit(c, limit, text);
}

void grpc_server_refuse(struct grpc_server_call *c, enum code code, const char *text, struct str details)
{
    ASSERT(c->state == CALL_HANDED && !c->told && code != CODE_OK && code <= CODE_UNAUTHENTICATED);
    refuse(c, 200, code, str_of(text), details);
}

/* Of these two, what is smaller; packed is used only if that pays. */
static bool pack(struct grpc_server_call *c, struct str message, struct buf *into)
{
    struct grpc_server *s = server_of(c);
    uint64_t least = s->limits.grpc_gzip_bytes;
    if (!c->conn->far || !c->gzip_out || least == 0 || message.size < least || message.size > PACKED_MAX)
        return false;
    buf_init(into, message.size);
    gzip_write(s->gzip, message, into);
    if (!into->overflow)
        return true;
    buf_done(into);
    return false;
}

static void put(struct grpc_server_call *c, struct str data)
{
    size_t fits = c->rest.size > 0 ? 0 : MIN(http2_stream_room(c->s), data.size);
    http2_stream_put(c->s, str_head(data, fits));
    buf_str_append(&c->rest, str_from(data, fits));
}

void grpc_server_reply(struct grpc_server_call *c, struct str message)
{
    struct grpc_server *s = server_of(c);
    char prefix[GRPC_PREFIX_BYTES];
    struct buf small = { 0 };

    ASSERT(c->state == CALL_HANDED && !c->told);
    if (message.size > s->limits.grpc_answer_bytes_max) {
        refuse_large(c, "grpc_answer_bytes_max", "trying to send", message.size, s->limits.grpc_answer_bytes_max);
        return;
    }
    if (!has_room(c, message.size)) {
        refuse_limit(c, "grpc_held_bytes_max", "answers that clients have not taken are more than grpc_held_bytes_max");
        return;
    }
    bool packed = pack(c, message, &small);
    struct str body = packed ? buf_str(&small) : message;
    s->counts.message_bytes_out += message.size;
    enter_sending(c, CODE_OK);
    http2_answer(c->s, packed ? &s->packed : &s->plain, false);
    buf_init(&c->rest, body.size + sizeof prefix);
    grpc_wire_prefix((struct grpc_prefix){ packed, (uint32_t)body.size }, prefix);
    if (!http2_stream_deaf(c->s)) {
        put(c, (struct str){ prefix, sizeof prefix });
        put(c, body);
    }
    hold(c);
    if (packed)
        buf_done(&small);
    due_after(c, s->limits.grpc_stall_ms);
    pump(c);
}

/* ---- the end by others -------------------------------------------------------------------- */

/* It is told before anything else happens to it, and the owner has let go of it then. */
static void tell_cancelled(struct grpc_server_call *c)
{
    struct grpc_server *s = server_of(c);
    ASSERT(c->state == CALL_HANDED);
    s->counts.cancelled++;
    c->told = true;
    s->ops.on_cancel(s->ctx, c);
    c->owner = NULL;
}

static void lost(struct grpc_server_call *c)
{
    if (c->state == CALL_HANDED)
        tell_cancelled(c);
    call_free(c, HTTP2_DROP_CUT);
}

static void on_due(struct loop_timer *t)
{
    struct grpc_server_call *c = CONTAINER_OF(t, struct grpc_server_call, timer);
    struct grpc_server *s = server_of(c);
    bool deadline = loop_now_us(s->loop) >= c->deadline_us;
    switch (c->state) {
    case CALL_READING:
        if (!deadline)
            grpc_limit_reached(s, "grpc_read_ms");
        refuse_text(c, CODE_DEADLINE, deadline ? "context deadline exceeded" : "the request stopped coming for grpc_read_ms");
        break;
    case CALL_HANDED:
        tell_cancelled(c);
        refuse_text(c, CODE_DEADLINE, "context deadline exceeded");
        break;
    case CALL_SENDING:
        grpc_limit_reached(s, "grpc_stall_ms");
        call_free(c, HTTP2_DROP_CUT);
        break;
    }
}

/* ---- the request -------------------------------------------------------------------------- */

/* Whether a comma list has this element. */
static bool lists(struct str list, struct str element)
{
    while (list.size > 0)
        if (str_eq_nocase(str_trim(str_cut(&list, ',')), element))
            return true;
    return false;
}

static bool deadline_read(struct grpc_server_call *c, struct err *e)
{
    struct str text = http1_field(&c->head, HTTP_FIELD_GRPC_TIMEOUT);
    uint64_t ms = 0;
    if (!text.at)
        return true;
    if (grpc_wire_timeout(text, &ms, e) < 0)
        return false;
    c->deadline_us = loop_now_us(server_of(c)->loop) + ms * 1000;
    return true;
}

/* False: refused, and c is gone. */
static bool head_read(struct grpc_server_call *c)
{
    struct buf *text = http2_stream_heads(c->s);
    struct err e = { 0 };
    http1_head_init(&c->head, HTTP1_REQUEST, &server_of(c)->limits);
    c->has_head = true;
    if (http1_head_feed(&c->head, buf_at(text), text->size) != HTTP1_DONE) {
        refuse(c, c->head.refusal.status, CODE_INTERNAL, str_of(c->head.refusal.text), STR(""));
        return false;
    }
    struct str packing = http1_field_named(&c->head, STR("grpc-encoding"));
    c->gzip_in = str_is(packing, "gzip");
    c->gzip_out = lists(http1_field_named(&c->head, STR("grpc-accept-encoding")), STR("gzip"));
    if (c->head.method_id != HTTP_POST)
        refuse(c, 405, CODE_UNKNOWN, STR("a gRPC call is a POST"), STR(""));
    else if (!grpc_wire_is_type(http1_field(&c->head, HTTP_FIELD_CONTENT_TYPE)))
        refuse(c, 415, CODE_UNKNOWN, STR("the content type of a gRPC call is application/grpc"), STR(""));
    else if (packing.size > 0 && !c->gzip_in && !str_is(packing, "identity"))
        refuse_text(c, CODE_UNIMPLEMENTED, "grpc: no decompressor for this grpc-encoding: send gzip or identity");
    else if (!deadline_read(c, &e))
        refuse_text(c, CODE_INVALID, e.text);
    else
        return true;
    return false;
}

/* The message as it was before it was packed. False: refused, and c is gone. */
static bool unpack(struct grpc_server_call *c, struct grpc_prefix p, struct str body)
{
    struct grpc_server *s = server_of(c);
    struct err e = { 0 };
    c->message = body;
    if (!p.packed)
        return true;
    if (!c->gzip_in) {
        refuse_text(c, CODE_INTERNAL, "grpc: the message is packed, and grpc-encoding does not say how");
        return false;
    }
    buf_clear(&s->unpacked);
    int r = gzip_read(s->gzip, body, &s->unpacked, &e);
    if (r == -CODE_EXHAUSTED)
        refuse_large(c, "grpc_message_bytes_max", "received", s->limits.grpc_message_bytes_max + 1,
                     s->limits.grpc_message_bytes_max);
    else if (r < 0)
        refuse_text(c, CODE_INTERNAL, e.text);
    else
        c->message = buf_str(&s->unpacked);
    return r == 0;
}

static void hand_over(struct grpc_server_call *c, struct grpc_prefix p, struct str body)
{
    struct grpc_server *s = server_of(c);
    bool gone = false;
    if (!unpack(c, p, body))
        return;
    if (loop_now_us(s->loop) >= c->deadline_us) {
        refuse_text(c, CODE_DEADLINE, "context deadline exceeded");
        return;
    }
    c->state = CALL_HANDED;
    s->counts.calls++;
    s->counts.called++;
    s->counts.message_bytes_in += c->message.size;
    if (c->deadline_us != UINT64_MAX)
        loop_at(s->loop, &c->timer, c->deadline_us);
    else
        loop_cancel(s->loop, &c->timer);
    c->gone = &gone;
    s->ops.on_call(s->ctx, c);
    if (!gone) {
        c->gone = NULL;
        request_done(c);
    }
    buf_clear(&s->unpacked);
    buf_relax(&s->unpacked, SCRATCH_KEPT);
}

/* What came is either whole, and where it came in, or collected. False: no room, refused, c is gone. */
static bool collect(struct grpc_server_call *c, struct str *ret)
{
    struct str data = http2_stream_content(c->s);
    bool ended = http2_stream_end(c->s) == HTTP2_ENDED;
    *ret = data;
    if (c->in.size == 0 && (ended || data.size < GRPC_PREFIX_BYTES))
        return true;
    if (!has_room(c, data.size)) {
        refuse_limit(c, "grpc_held_bytes_max", "the requests that are on their way are more than grpc_held_bytes_max");
        return false;
    }
    buf_str_append(&c->in, data);
    http2_stream_take(c->s, data.size);
    hold(c);
    *ret = buf_str(&c->in);
    return true;
}

static void body_read(struct grpc_server_call *c)
{
    const struct limits *l = &server_of(c)->limits;
    struct grpc_prefix p = { false, 0 };
    struct str all;
    if (!collect(c, &all))
        return;
    bool ended = http2_stream_end(c->s) == HTTP2_ENDED;
    bool known = grpc_wire_prefix_read(all, &p);
    if (!known && all.size >= GRPC_PREFIX_BYTES)
        refuse_text(c, CODE_INTERNAL, "grpc: the message begins with neither 0 nor 1");
    else if (known && p.size > l->grpc_message_bytes_max)
        refuse_large(c, "grpc_message_bytes_max", "received", p.size, l->grpc_message_bytes_max);
    else if (known && all.size - GRPC_PREFIX_BYTES > p.size)
        refuse_text(c, CODE_UNIMPLEMENTED, "a stream of messages: every method here takes one");
    else if (ended && all.size == 0)
        refuse_text(c, CODE_UNIMPLEMENTED, "no message: every method here takes one");
    else if (ended && (!known || all.size - GRPC_PREFIX_BYTES < p.size))
        refuse_text(c, CODE_INTERNAL, "grpc: the request ended within its message");
    else if (ended)
        hand_over(c, p, str_from(all, GRPC_PREFIX_BYTES));
    else {
        uint64_t read_us = loop_now_us(server_of(c)->loop) + l->grpc_read_ms * 1000;
        loop_at(server_of(c)->loop, &c->timer, MIN(read_us, c->deadline_us));
    }
}

void grpc_call_news(struct grpc_server_call *c)
{
    bool reset = http2_stream_end(c->s) == HTTP2_RESET;
    if (c->state == CALL_SENDING)
        pump(c);
    else if (reset)
        lost(c);
    else if (c->state == CALL_READING)
        body_read(c);
}

void grpc_call_open(struct grpc_conn *conn, struct http2_stream *stream)
{
    struct grpc_server_call *c = xcalloc(1, sizeof *c);
    const struct limits *l = &conn->server->limits;
    c->conn = conn;
    c->s = stream;
    c->deadline_us = UINT64_MAX;
    c->timer.on_due = on_due;
    buf_init(&c->in, l->grpc_message_bytes_max + GRPC_PREFIX_BYTES + l->grpc_window_bytes);
    buf_init(&c->rest, 1);
    http2_stream_own(stream, c);
    hold(c);
    if (http2_stream_end(stream) == HTTP2_RESET)
        lost(c);
    else if (head_read(c))
        body_read(c);
}

/* ---- what an owner sees ------------------------------------------------------------------- */

struct str grpc_server_call_path(const struct grpc_server_call *c)
{
    ASSERT(c->state == CALL_HANDED && c->has_head);
    return c->head.target;
}

struct str grpc_server_call_field(const struct grpc_server_call *c, const char *name)
{
    ASSERT(c->state == CALL_HANDED && c->has_head);
    return http1_field_named(&c->head, str_of(name));
}

struct str grpc_server_call_message(const struct grpc_server_call *c)
{
    ASSERT(c->state == CALL_HANDED && c->has_head);
    return c->message;
}

uint64_t grpc_server_call_deadline_us(const struct grpc_server_call *c) { return c->deadline_us; }
void *grpc_server_call_tag(const struct grpc_server_call *c) { return c->conn->tag; }
void grpc_server_call_own(struct grpc_server_call *c, void *owner) { c->owner = owner; }
void *grpc_server_call_owner(const struct grpc_server_call *c) { return c->owner; }
