#include "net/http2.h"
#include "base/list.h"
#include "net/http2_head.h"

#include <malloc.h>
#include <stdlib.h>

enum {
    HEAD_EXTRA = 1024, /* what a head's text has more than its list: start line, framing */
    ORPHANS_MAX = 100, /* streams without an owner that may wait for the peer's end */
    ACKS_MAX = 100,    /* answers to SETTINGS and PING waiting to be sent */
    PIECES_MAX = 1 << 20,
    EMPTY_KEPT = 1024, /* memory of an empty buffer: a stream may stay for long after it was used */
};

struct http2 {
    nghttp2_session *ng;
    const struct limits *limits;
    enum http2_side side;
    struct http2_guard guard;
    struct http2_block block; /* the one that is coming in */
    struct http2_fields fields;
    struct list streams, changed;
    uint64_t now_ms;
    struct http2_budget *budget; /* NULL: it shares none */
    size_t ng_bytes; /* of nghttp2's; counted in the budget */
    uint32_t orphans;
    bool told_to_go; /* GOAWAY came */
    bool failed, lost;
};

struct http2_stream {
    struct list_node node, changed;
    struct http2 *h;
    void *owner;
    int32_t id;
    uint32_t code; /* after `closed` */
    struct buf heads, in, out, trailers, last;
    size_t held, owners; /* counted in the budget; of that, the owner's */
    uint64_t expected, received; /* of content; UINT64_MAX: not known */
    uint8_t method;              /* client: enum http_method */
    bool shown;                  /* given out: it is somebody's */
    bool dropped, orphan;
    bool cut; /* to be reset once `out` has gone */
    bool has_head, chunked;
    bool on_wire;            /* client: the request's head was sent */
    bool finished;           /* nothing more will be put */
    bool end_sent, end_came; /* END_STREAM */
    bool closed;             /* nghttp2 has forgotten it */
};

/* ---- streams ------------------------------------------------------------------------------ */

/* What it holds has changed. */
static void account(struct http2_stream *s)
{
    struct http2_budget *b = s->h->budget;
    size_t now = sizeof *s + s->heads.capacity + s->in.capacity + s->out.capacity +
                 s->trailers.capacity + s->last.capacity + s->owners;
    if (!b)
        return;
    ASSERT(b->bytes >= s->held);
    b->bytes += now - s->held;
    s->held = now;
}

/* Whether one more stream fits; counts it where it does not. */
static bool budget_has_room(struct http2 *h)
{
    struct http2_budget *b = h->budget;
    if (!b)
        return true;
    bool many = b->streams >= h->limits->h2_streams_all_max;
    bool large = b->bytes >= h->limits->h2_held_bytes_max;
    b->streams_refused += many;
    b->bytes_refused += large && !many;
    return !many && !large;
}

static struct http2_stream *stream_new(struct http2 *h)
{
    struct http2_stream *s = xcalloc(1, sizeof *s);
    size_t list = h->limits->h2_head_list_bytes_max;
    s->h = h;
    s->expected = UINT64_MAX;
    buf_init(&s->heads, 2 * (list + HEAD_EXTRA));
    buf_init(&s->in, h->limits->h2_window_bytes);
    buf_init(&s->out, h->limits->h2_window_bytes);
    buf_init(&s->trailers, list + HEAD_EXTRA);
    buf_init(&s->last, list + HEAD_EXTRA);
    list_push(&h->streams, &s->node);
    if (h->budget)
        h->budget->streams++;
    account(s);
    return s;
}

static void stream_free(struct http2_stream *s)
{
    struct http2 *h = s->h;
    if (list_node_linked(&s->changed))
        list_remove(&h->changed, &s->changed);
    list_remove(&h->streams, &s->node);
    h->orphans -= s->orphan;
    if (h->budget) {
        ASSERT(h->budget->streams > 0 && h->budget->bytes >= s->held);
        h->budget->streams--;
        h->budget->bytes -= s->held;
    }
    buf_done(&s->heads);
    buf_done(&s->in);
    buf_done(&s->out);
    buf_done(&s->trailers);
    buf_done(&s->last);
    free(s);
}

static void news(struct http2_stream *s)
{
    if (!s->dropped && !list_node_linked(&s->changed))
        list_push(&s->h->changed, &s->changed);
}

static void reset(struct http2_stream *s, uint32_t code)
{
    if (!s->closed && !s->h->failed)
        (void)nghttp2_submit_rst_stream(s->h->ng, NGHTTP2_FLAG_NONE, s->id, code);
}

/* The connection ends for what the peer did; its own words follow in the GOAWAY. */
static void fail(struct http2 *h, uint32_t code, const char *why)
{
    if (h->failed)
        return;
    (void)nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(h->ng), code,
                                (const uint8_t *)why, strlen(why));
    h->failed = true;
}

/* For what is cut short on our side. */
static uint32_t reset_code(const struct http2 *h)
{
    return h->side == HTTP2_SERVER ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL;
}

static void check_budget(struct http2 *h)
{
    if (h->guard.reached != HTTP2_LIMIT_NONE)
        fail(h, NGHTTP2_ENHANCE_YOUR_CALM, http2_limit_name(h->guard.reached));
}

/* ---- what nghttp2 tells ------------------------------------------------------------------- */

static struct http2_stream *stream_of(struct http2 *h, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h->ng, id);
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *f, void *user)
{
    struct http2 *h = user;
    http2_block_reset(&h->block);
    if (f->headers.cat != NGHTTP2_HCAT_REQUEST || h->side != HTTP2_SERVER || h->failed)
        return 0;
    if (!budget_has_room(h)) {
        (void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, f->hd.stream_id,
                                        NGHTTP2_REFUSED_STREAM);
        return 0; /* its fields are still decoded: they change the table that both sides keep */
    }
    struct http2_stream *s = stream_new(h);
    s->id = f->hd.stream_id;
    (void)nghttp2_session_set_stream_user_data(ng, s->id, s);
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
    struct http2 *h = user;
    (void)ng, (void)f, (void)flags;
    http2_block_add(&h->block, (struct str){ (const char *)name, name_size },
                    (struct str){ (const char *)value, value_size });
    if (h->block.fault == HTTP2_BLOCK_LARGE && !h->failed) {
        h->guard.reached = HTTP2_LIMIT_h2_head_list_bytes_max;
        check_budget(h); /* the table that both sides keep may be what it is about */
    }
    return 0;
}

/* Without this one nghttp2 would leave such a field out, and go on. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name,
                             size_t name_size, const uint8_t *value, size_t value_size,
                             uint8_t flags, void *user)
{
    struct http2 *h = user;
    (void)ng, (void)f, (void)name, (void)name_size, (void)value, (void)value_size, (void)flags;
    h->block.fault = HTTP2_BLOCK_BAD;
    return 0;
}

static void head_came(struct http2_stream *s, bool end)
{
    struct http2 *h = s->h;
    if (h->block.fault != HTTP2_BLOCK_FINE) {
        ASSERT(h->block.fault == HTTP2_BLOCK_BAD); /* a large one has ended the connection */
    } else if (s->has_head) {
        http2_block_trailers(&h->block, &s->trailers);
    } else if (h->side == HTTP2_SERVER) {
        http2_block_request(&h->block, end, &s->heads, &s->chunked);
        s->expected = h->block.content_length;
        s->has_head = true;
    } else if (s->heads.size < h->limits->h2_head_list_bytes_max) { /* else: an interim too many */
        int status = http2_block_answer(&h->block, end, (enum http_method)s->method, &s->heads,
                                        &s->chunked);
        s->has_head = status >= 200;
        s->expected = s->method == HTTP_HEAD || status == 304 ? 0 : h->block.content_length;
    } else {
        h->block.fault = HTTP2_BLOCK_BAD;
    }
    account(s);
    if (h->block.fault == HTTP2_BLOCK_BAD)
        reset(s, NGHTTP2_PROTOCOL_ERROR);
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *f, void *user)
{
    struct http2 *h = user;
    (void)ng;
    if (h->failed)
        return 0; /* what follows in the same bytes */
    if (f->hd.type == NGHTTP2_GOAWAY)
        h->told_to_go = true;
    struct http2_stream *s = f->hd.stream_id ? stream_of(h, f->hd.stream_id) : NULL;
    if (!s)
        return 0;
    bool end = (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (f->hd.type == NGHTTP2_HEADERS)
        head_came(s, end);
    if (f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA) {
        s->end_came |= end;
        news(s);
    } else if (f->hd.type == NGHTTP2_WINDOW_UPDATE) {
        news(s);
    }
    return 0;
}

static void consume_connection(struct http2 *h, size_t size)
{
    if (size > 0 && !h->lost)
        (void)nghttp2_session_consume_connection(h->ng, size);
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *at, size_t size,
                   void *user)
{
    struct http2 *h = user;
    struct http2_stream *s = stream_of(h, id);
    (void)ng, (void)flags;
    if (h->side == HTTP2_CLIENT || !s || s->dropped)
        consume_connection(h, size);
    if (!s || s->dropped || h->failed)
        return 0;
    buf_append(&s->in, at, size);
    ASSERT(!s->in.overflow); /* the window is as large as the buffer */
    s->received += size;
    account(s);
    news(s);
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user)
{
    struct http2_stream *s = stream_of(user, id);
    (void)ng;
    if (!s)
        return 0;
    s->closed = true;
    s->code = code;
    if (s->dropped || !s->shown)
        stream_free(s);
    else
        news(s);
    return 0;
}

/* Its answer is complete, and nobody waits for the rest of the request. */
static void end_sent(struct http2_stream *s)
{
    s->end_sent = true;
    if (s->dropped && !s->end_came && !s->orphan)
        reset(s, NGHTTP2_NO_ERROR);
}

static bool is_the_peers_fault(uint32_t code)
{
    return code != NGHTTP2_NO_ERROR && code != NGHTTP2_CANCEL &&
           code != NGHTTP2_INTERNAL_ERROR && code != NGHTTP2_REFUSED_STREAM;
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *f, void *user)
{
    struct http2 *h = user;
    (void)ng;
    if (f->hd.type == NGHTTP2_RST_STREAM && is_the_peers_fault(f->rst_stream.error_code)) {
        (void)http2_guard_reset(&h->guard, h->now_ms);
        check_budget(h);
    }
    struct http2_stream *s = f->hd.stream_id ? stream_of(h, f->hd.stream_id) : NULL;
    if (f->hd.type == NGHTTP2_DATA && f->hd.length > 0)
        http2_guard_sent_data(&h->guard);
    if (!s || (f->hd.type != NGHTTP2_DATA && f->hd.type != NGHTTP2_HEADERS))
        return 0;
    s->on_wire = true;
    if (f->hd.flags & NGHTTP2_FLAG_END_STREAM)
        end_sent(s);
    return 0;
}

static ssize_t on_read(nghttp2_session *ng, int32_t id, uint8_t *into, size_t room, uint32_t *flags,
                       nghttp2_data_source *source, void *user)
{
    struct http2_stream *s = source->ptr;
    struct http2 *h = user;
    size_t size = MIN(room, s->out.size);
    (void)ng;
    if (size == 0 && !s->finished)
        return NGHTTP2_ERR_DEFERRED;
    if (size > 0)
        memcpy(into, buf_at(&s->out), size);
    buf_consume(&s->out, size);
    buf_relax(&s->out, EMPTY_KEPT);
    account(s);
    news(s);
    if (s->cut && s->out.size == 0)
        reset(s, reset_code(h));
    if (!s->finished || s->out.size > 0)
        return (ssize_t)size;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s->last.size > 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        http2_fields_trailers(&h->fields, buf_str(&s->last));
        (void)nghttp2_submit_trailer(h->ng, id, h->fields.at, h->fields.count);
    }
    return (ssize_t)size;
}

/* ---- life --------------------------------------------------------------------------------- */

/* The session's own memory: tables of HPACK, streams, frames that wait to be sent. */
static void ng_account(struct http2 *h, size_t before, size_t after)
{
    ASSERT(h->ng_bytes >= before);
    h->ng_bytes += after - before;
    if (!h->budget)
        return;
    ASSERT(h->budget->bytes >= before);
    h->budget->bytes += after - before;
}
static void *ng_realloc(void *p, size_t size, void *user)
{
    size_t before = malloc_usable_size(p);
    p = xrealloc(p, 1, MAX(size, 1));
    ng_account(user, before, malloc_usable_size(p));
    return p;
}
static void *ng_calloc(size_t n, size_t size, void *user)
{
    void *p = xcalloc(MAX(n, 1), MAX(size, 1));
    ng_account(user, 0, malloc_usable_size(p));
    return p;
}
static void *ng_malloc(size_t size, void *user) { return ng_calloc(1, size, user); }
static void ng_free(void *p, void *user)
{
    ng_account(user, malloc_usable_size(p), 0);
    free(p);
}

static void session_open(struct http2 *h)
{
    nghttp2_mem mem = { h, ng_malloc, ng_free, ng_calloc, ng_realloc };
    nghttp2_session_callbacks *cb;
    nghttp2_option *o;
    ASSERT(nghttp2_session_callbacks_new(&cb) == 0 && nghttp2_option_new(&o) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_outbound_ack(o, ACKS_MAX);
    /* http2_guard.h counts them; nghttp2 counts every piece in which such a frame's head comes. */
    nghttp2_option_set_max_continuations(o, PIECES_MAX);
    nghttp2_option_set_max_send_header_block_length(o, 4 * h->limits->h2_head_list_bytes_max);
    ASSERT((h->side == HTTP2_SERVER ? nghttp2_session_server_new3
                                    : nghttp2_session_client_new3)(&h->ng, cb, h, o, &mem) == 0);
    nghttp2_option_del(o);
    nghttp2_session_callbacks_del(cb);
}

static void settings_send(struct http2 *h)
{
    const struct limits *l = h->limits;
    const nghttp2_settings_entry s[] = {
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)l->h2_window_bytes },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)l->h2_head_list_bytes_max },
        h->side == HTTP2_SERVER ? (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                                                            (uint32_t)l->h2_streams_max }
                                : (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
    };
    ASSERT(nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, s, COUNT_OF(s)) == 0);
    ASSERT(nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0,
                                                 (int32_t)l->h2_connection_window_bytes) == 0);
}

struct http2 *http2_new(enum http2_side side, const struct limits *limits)
{
    struct http2 *h = xcalloc(1, sizeof *h);
    h->side = side;
    h->limits = limits;
    list_init(&h->streams);
    list_init(&h->changed);
    http2_block_init(&h->block, limits);
    http2_guard_init(&h->guard, limits, side == HTTP2_SERVER);
    session_open(h);
    settings_send(h);
    return h;
}

void http2_share(struct http2 *h, struct http2_budget *b)
{
    ASSERT(h->streams.count == 0 && !h->budget);
    h->budget = b;
    b->bytes += h->ng_bytes;
}

void http2_free(struct http2 *h)
{
    if (!h)
        return;
    for (struct list_node *n; (n = list_first(&h->streams)) != NULL;) {
        struct http2_stream *s = CONTAINER_OF(n, struct http2_stream, node);
        ASSERT(s->dropped || !s->shown);
        stream_free(s);
    }
    nghttp2_session_del(h->ng);
    ASSERT(h->ng_bytes == 0);
    http2_block_done(&h->block);
    http2_fields_done(&h->fields);
    free(h);
}

/* ---- bytes -------------------------------------------------------------------------------- */

static int over_text(const struct http2 *h, struct err *e)
{
    if (h->guard.reached != HTTP2_LIMIT_NONE)
        return err_set(e, CODE_EXHAUSTED, "http/2: the peer reached %s",
                       http2_limit_name(h->guard.reached));
    return err_set(e, CODE_INVALID, "http/2: the connection is over");
}

int http2_feed(struct http2 *h, const char *at, size_t size, uint64_t now_ms, struct err *e)
{
    h->now_ms = now_ms;
    if (h->failed || h->lost)
        return over_text(h, e);
    size_t fine = http2_guard_feed(&h->guard, at, size, now_ms);
    enum http2_limit after = h->guard.reached; /* by the frame behind those bytes */
    h->guard.reached = HTTP2_LIMIT_NONE;
    ssize_t n = nghttp2_session_mem_recv(h->ng, (const uint8_t *)at, fine);
    if (n >= 0 && h->guard.reached == HTTP2_LIMIT_NONE && nghttp2_session_want_read(h->ng))
        h->guard.reached = after;
    if (n < 0) {
        bool flooded = n == NGHTTP2_ERR_FLOODED;
        fail(h, flooded ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR,
             nghttp2_strerror((int)n));
        return err_set(e, flooded ? CODE_EXHAUSTED : CODE_INVALID, "http/2: %s",
                       nghttp2_strerror((int)n));
    }
    check_budget(h);
    return h->failed ? over_text(h, e) : 0;
}

void http2_write(struct http2 *h, struct buf *into, size_t hold, uint64_t now_ms)
{
    const uint8_t *at;
    h->now_ms = now_ms;
    while (!h->lost && into->size < hold) {
        ssize_t n = nghttp2_session_mem_send(h->ng, &at);
        if (n < 0)
            fail(h, NGHTTP2_INTERNAL_ERROR, nghttp2_strerror((int)n));
        if (n <= 0)
            return;
        buf_append(into, at, (size_t)n);
        ASSERT(!into->overflow);
    }
}

bool http2_over(const struct http2 *h)
{
    return h->failed || h->lost ||
           (!nghttp2_session_want_read(h->ng) && !nghttp2_session_want_write(h->ng));
}

void http2_lost(struct http2 *h)
{
    h->lost = true;
    LIST_EACH(&h->streams, n, tmp) {
        struct http2_stream *s = CONTAINER_OF(n, struct http2_stream, node);
        if (!s->closed)
            s->code = NGHTTP2_CONNECT_ERROR;
        s->closed = true;
        if (s->dropped || !s->shown)
            stream_free(s);
        else
            news(s);
    }
}

void http2_shut(struct http2 *h)
{
    if (!h->failed && !h->lost)
        (void)nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(h->ng),
                                    NGHTTP2_NO_ERROR, NULL, 0);
}

void http2_ping(struct http2 *h)
{
    if (!h->failed && !h->lost)
        (void)nghttp2_submit_ping(h->ng, NGHTTP2_FLAG_NONE, NULL);
}

uint32_t http2_streams(const struct http2 *h) { return h->streams.count; }

bool http2_takes_requests(const struct http2 *h)
{
    return h->side == HTTP2_CLIENT && !h->told_to_go && !http2_over(h) &&
           nghttp2_session_check_request_allowed(h->ng);
}

/* Not merely busy: it said that it takes none. */
bool http2_stuck(const struct http2 *h)
{
    if (h->side == HTTP2_SERVER || http2_over(h) ||
        nghttp2_session_get_remote_settings(h->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) > 0)
        return false;
    LIST_EACH(&h->streams, n, tmp)
        if (!CONTAINER_OF(n, struct http2_stream, node)->on_wire)
            return true;
    return false;
}

enum http2_limit http2_reached(const struct http2 *h) { return h->guard.reached; }
bool http2_waiting(const struct http2 *h) { return http2_guard_waiting(&h->guard); }

struct http2_stream *http2_changed(struct http2 *h)
{
    for (struct list_node *n; (n = list_first(&h->changed)) != NULL;) {
        struct http2_stream *s = CONTAINER_OF(n, struct http2_stream, changed);
        list_remove(&h->changed, n);
        if (!s->shown && !s->has_head)
            continue; /* its head was refused; it goes when nghttp2 lets it go */
        s->shown = true;
        return s;
    }
    return NULL;
}

/* ---- a stream: reading -------------------------------------------------------------------- */

void http2_stream_own(struct http2_stream *s, void *owner) { s->owner = owner; }
void *http2_stream_owner(const struct http2_stream *s) { return s->owner; }
struct buf *http2_stream_heads(struct http2_stream *s) { return &s->heads; }
bool http2_stream_has_head(const struct http2_stream *s) { return s->has_head; }
bool http2_stream_chunked(const struct http2_stream *s) { return s->chunked; }
struct str http2_stream_content(const struct http2_stream *s) { return buf_str(&s->in); }
struct str http2_stream_trailers(const struct http2_stream *s) { return buf_str(&s->trailers); }

void http2_stream_take(struct http2_stream *s, size_t size)
{
    struct http2 *h = s->h;
    buf_consume(&s->in, size);
    buf_relax(&s->in, EMPTY_KEPT);
    account(s);
    if (size == 0 || h->lost)
        return;
    if (h->side == HTTP2_SERVER)
        consume_connection(h, size);
    if (!s->closed)
        (void)nghttp2_session_consume_stream(h->ng, s->id, size);
}

enum http2_end http2_stream_end(const struct http2_stream *s)
{
    if (s->h->side == HTTP2_CLIENT && s->end_came)
        return HTTP2_ENDED;
    if (s->closed && s->h->side == HTTP2_CLIENT)
        return s->code == NGHTTP2_REFUSED_STREAM || !s->on_wire ? HTTP2_REFUSED : HTTP2_RESET;
    if (s->closed && !(s->end_sent && s->code == NGHTTP2_NO_ERROR))
        return HTTP2_RESET;
    return s->end_came ? HTTP2_ENDED : HTTP2_OPEN;
}

/* ---- a stream: writing -------------------------------------------------------------------- */

static nghttp2_data_provider provider(struct http2_stream *s)
{
    return (nghttp2_data_provider){ .source.ptr = s, .read_callback = on_read };
}

struct http2_stream *http2_request(struct http2 *h, const struct http1_head *head, bool end)
{
    if (!http2_takes_requests(h))
        return NULL;
    struct http2_stream *s = stream_new(h);
    nghttp2_data_provider p = provider(s);
    http2_fields_request(&h->fields, head);
    s->method = head->method_id;
    s->finished = end;
    s->shown = true;
    s->id = nghttp2_submit_request(h->ng, NULL, h->fields.at, h->fields.count, end ? NULL : &p, s);
    if (s->id > 0)
        return s;
    stream_free(s);
    return NULL;
}

void http2_answer(struct http2_stream *s, const struct http1_head *head, bool end)
{
    struct http2 *h = s->h;
    nghttp2_data_provider p = provider(s);
    if (http2_stream_deaf(s))
        return;
    http2_fields_answer(&h->fields, head);
    if (head->status < 200) {
        (void)nghttp2_submit_headers(h->ng, NGHTTP2_FLAG_NONE, s->id, NULL, h->fields.at,
                                     h->fields.count, NULL);
        return;
    }
    s->finished = end;
    (void)nghttp2_submit_response(h->ng, s->id, h->fields.at, h->fields.count, end ? NULL : &p);
}

bool http2_stream_deaf(const struct http2_stream *s)
{
    return s->closed || s->h->failed || s->h->lost;
}

size_t http2_stream_room(const struct http2_stream *s)
{
    return http2_stream_deaf(s) || s->finished ? 0 : s->out.max - s->out.size;
}

void http2_stream_put(struct http2_stream *s, struct str data)
{
    if (data.size == 0)
        return;
    ASSERT(data.size <= http2_stream_room(s));
    buf_str_append(&s->out, data);
    account(s);
    (void)nghttp2_session_resume_data(s->h->ng, s->id);
}

void http2_stream_finish(struct http2_stream *s, struct str trailer_lines)
{
    ASSERT(!s->finished);
    buf_str_append(&s->last, trailer_lines);
    account(s);
    s->finished = true;
    if (!http2_stream_deaf(s))
        (void)nghttp2_session_resume_data(s->h->ng, s->id);
}

bool http2_stream_flows(const struct http2_stream *s)
{
    if (http2_stream_deaf(s))
        return true; /* it goes nowhere, but it does not wait */
    int32_t stream = nghttp2_session_get_stream_remote_window_size(s->h->ng, s->id);
    int32_t all = nghttp2_session_get_remote_window_size(s->h->ng);
    return s->out.size == 0 || (int64_t)s->out.size <= (int64_t)MIN(stream, all);
}

size_t http2_stream_unsent(const struct http2_stream *s) { return s->out.size; }

void http2_stream_hold(struct http2_stream *s, size_t bytes)
{
    s->owners = bytes;
    buf_relax(&s->heads, EMPTY_KEPT);
    account(s);
}

/* The peer has said all that counts, and only its END_STREAM is missing: that is not worth a reset,
 * which the peer might take for a failure. */
static bool may_wait_for_end(const struct http2_stream *s)
{
    return s->has_head && s->expected != UINT64_MAX && s->received == s->expected &&
           s->h->orphans < ORPHANS_MAX;
}

void http2_stream_drop(struct http2_stream *s, enum http2_drop how)
{
    struct http2 *h = s->h;
    ASSERT(s->shown && !s->dropped);
    if (h->side == HTTP2_SERVER)
        consume_connection(h, s->in.size);
    buf_done(&s->in);
    buf_done(&s->heads);
    s->owners = 0;
    account(s);
    s->owner = NULL;
    s->dropped = true;
    if (list_node_linked(&s->changed))
        list_remove(&h->changed, &s->changed);
    if (s->closed) {
        stream_free(s);
        return;
    }
    if (how == HTTP2_DROP_DONE && s->finished && may_wait_for_end(s)) {
        s->orphan = !s->end_came;
        h->orphans += s->orphan;
        return;
    }
    if (how == HTTP2_DROP_DONE && s->finished && h->side == HTTP2_SERVER) {
        if (s->end_sent && !s->end_came)
            reset(s, NGHTTP2_NO_ERROR); /* else end_sent() does, or nothing is left to be said */
        return;
    }
    if (how == HTTP2_DROP_DONE && s->finished && s->end_came)
        return;
    /* What came of an answer goes out before the reset, as far as the peer takes it at once. */
    s->cut = h->side == HTTP2_SERVER && !s->finished && s->out.size > 0 && http2_stream_flows(s);
    if (!s->cut)
        reset(s, reset_code(h));
}

void http2_check(const struct http2 *h)
{
    uint32_t orphans = 0;
    LIST_EACH(&h->streams, n, tmp) {
        const struct http2_stream *s = CONTAINER_OF(n, struct http2_stream, node);
        ASSERT(s->h == h && s->in.size <= s->in.max && s->out.size <= s->out.max);
        ASSERT(!(s->dropped && s->closed) && !(s->dropped && s->owner));
        ASSERT(!list_node_linked(&s->changed) || !s->dropped);
        orphans += s->orphan;
    }
    ASSERT(orphans == h->orphans && h->changed.count <= h->streams.count);
}
