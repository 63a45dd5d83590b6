#include "net/http2_head.h"

#include <stdlib.h>

enum {
    FIELD_OVERHEAD = 32, /* RFC 9113, 6.5.2 */
    TEXT_EXTRA = 4,      /* ": " and CRLF instead */
    FIELDS_AT_FIRST = 32,
};

/* ---- a block comes in --------------------------------------------------------------------- */

void http2_block_init(struct http2_block *b, const struct limits *limits)
{
    size_t most = limits->h2_head_list_bytes_max;
    *b = (struct http2_block){ .list_bytes_max = most, .content_length = UINT64_MAX };
    buf_init(&b->method, most);
    buf_init(&b->path, most);
    buf_init(&b->authority, most);
    buf_init(&b->status, most);
    buf_init(&b->fields, most + TEXT_EXTRA);
    buf_init(&b->cookies, most + TEXT_EXTRA);
}

void http2_block_done(struct http2_block *b)
{
    buf_done(&b->method);
    buf_done(&b->path);
    buf_done(&b->authority);
    buf_done(&b->status);
    buf_done(&b->fields);
    buf_done(&b->cookies);
}

void http2_block_reset(struct http2_block *b)
{
    buf_clear(&b->method);
    buf_clear(&b->path);
    buf_clear(&b->authority);
    buf_clear(&b->status);
    buf_clear(&b->fields);
    buf_clear(&b->cookies);
    b->list_bytes = 0;
    b->content_length = UINT64_MAX;
    b->host_seen = false;
    b->fault = HTTP2_BLOCK_FINE;
}

static bool all_are(struct str s, unsigned class)
{
    for (size_t i = 0; i < s.size; i++)
        if (!http_byte_is(s.at[i], class))
            return false;
    return true;
}

/* Not what a host may look like, which is http1's to say; only that it is one word. */
static bool authority_ok(struct str s)
{
    for (size_t i = 0; i < s.size; i++)
        if (s.at[i] <= ' ' || s.at[i] == 0x7f)
            return false;
    return s.size > 0;
}

static bool pseudo_add(struct http2_block *b, struct str name, struct str value)
{
    struct buf *into = NULL;
    bool ok = value.size > 0;
    if (str_is(name, ":method")) {
        into = &b->method;
        ok = ok && all_are(value, HTTP_BYTE_METHOD);
    } else if (str_is(name, ":path")) {
        into = &b->path;
        ok = ok && all_are(value, HTTP_BYTE_TARGET);
    } else if (str_is(name, ":authority")) {
        into = &b->authority;
        ok = authority_ok(value);
    } else if (str_is(name, ":status")) {
        into = &b->status;
        ok = value.size == 3 && value.at[0] >= '1' && value.at[0] <= '5';
    } else if (str_is(name, ":scheme")) {
        return str_eq_nocase(value, STR("http")) || str_eq_nocase(value, STR("https"));
    }
    if (into && ok)
        buf_str_append(into, value);
    return into && ok;
}

static void line_add(struct buf *into, struct str name, struct str value)
{
    buf_str_append(into, name);
    buf_str_append(into, STR(": "));
    buf_str_append(into, value);
    buf_str_append(into, STR("\r\n"));
}

static bool field_add(struct http2_block *b, struct str name, struct str value)
{
    if (!http_is_token(name) || !all_are(value, HTTP_BYTE_VALUE))
        return false;
    if (str_is(name, "cookie")) {
        buf_str_append(&b->cookies, b->cookies.size > 0 ? STR("; ") : STR(""));
        buf_str_append(&b->cookies, value);
        return true;
    }
    if (str_is(name, "host")) {
        bool same = b->authority.size == 0 || str_eq_nocase(value, buf_str(&b->authority));
        if (!same || b->host_seen || !authority_ok(value))
            return false;
        b->host_seen = true;
        if (b->authority.size == 0)
            buf_str_append(&b->authority, value);
        return true;
    }
    if (str_is(name, "content-length") && !str_u64(value, &b->content_length))
        return false;
    line_add(&b->fields, name, value);
    return true;
}

void http2_block_add(struct http2_block *b, struct str name, struct str value)
{
    if (b->fault != HTTP2_BLOCK_FINE)
        return;
    b->list_bytes += name.size + value.size + FIELD_OVERHEAD;
    if (b->list_bytes > b->list_bytes_max) {
        b->fault = HTTP2_BLOCK_LARGE;
        return;
    }
    bool pseudo = name.size > 0 && name.at[0] == ':';
    if (!(pseudo ? pseudo_add(b, name, value) : field_add(b, name, value)))
        b->fault = HTTP2_BLOCK_BAD;
}

/* ---- a block is complete ------------------------------------------------------------------ */

static void block_end(struct http2_block *b, bool chunked, struct buf *into)
{
    buf_str_append(into, buf_str(&b->fields));
    if (b->cookies.size > 0)
        line_add(into, STR("cookie"), buf_str(&b->cookies));
    if (chunked)
        buf_str_append(into, STR("Transfer-Encoding: chunked\r\n"));
    buf_str_append(into, STR("\r\n"));
    ASSERT(!into->overflow); /* the list has its own limit, and the text is no longer */
}

void http2_block_request(struct http2_block *b, bool end, struct buf *into, bool *ret_chunked)
{
    bool connect = b->path.size == 0; /* then nghttp2 has seen that the method is CONNECT */
    *ret_chunked = !end && b->content_length == UINT64_MAX;
    buf_str_append(into, buf_str(&b->method));
    buf_str_append(into, STR(" "));
    buf_str_append(into, buf_str(connect ? &b->authority : &b->path));
    buf_str_append(into, STR(" HTTP/1.1\r\n"));
    if (b->authority.size > 0)
        line_add(into, STR("Host"), buf_str(&b->authority));
    block_end(b, *ret_chunked, into);
}

static bool has_no_body(int status, enum http_method method)
{
    return status < 200 || status == 204 || status == 304 || method == HTTP_HEAD;
}

int http2_block_answer(struct http2_block *b, bool end, enum http_method method, struct buf *into,
                       bool *ret_chunked)
{
    uint64_t status = 0;
    if (!str_u64(buf_str(&b->status), &status) || status == 101) {
        b->fault = HTTP2_BLOCK_BAD; /* 101 does not exist in HTTP/2 */
        return 0;
    }
    bool bare = has_no_body((int)status, method), unsized_ = b->content_length == UINT64_MAX;
    *ret_chunked = !end && !bare && unsized_;
    buf_str_append(into, STR("HTTP/1.1 "));
    buf_str_append(into, buf_str(&b->status));
    buf_str_append(into, STR(" "));
    buf_text(into, http_status_text((int)status));
    buf_str_append(into, STR("\r\n"));
    if (end && !bare && unsized_)
        line_add(into, STR("content-length"), STR("0"));
    block_end(b, *ret_chunked, into);
    return (int)status;
}

void http2_block_trailers(struct http2_block *b, struct buf *into)
{
    if (b->host_seen || b->cookies.size > 0)
        b->fault = HTTP2_BLOCK_BAD; /* http1_body.h refuses the others that must not be trailers */
    buf_str_append(into, buf_str(&b->fields));
    ASSERT(!into->overflow);
}

/* ---- going out ---------------------------------------------------------------------------- */

void http2_fields_done(struct http2_fields *f)
{
    free(f->at);
    *f = (struct http2_fields){ 0 };
}

/* nghttp2 copies both, and makes the name lower case; it does not write to them. */
static uint8_t *bytes_of(const char *at)
{
    union {
        const char *in;
        uint8_t *out;
    } u = { .in = at ? at : "" };
    return u.out;
}

static void add(struct http2_fields *f, struct str name, struct str value)
{
    if (f->count == f->capacity) {
        f->capacity = f->capacity ? f->capacity * 2 : FIELDS_AT_FIRST;
        f->at = xrealloc(f->at, f->capacity, sizeof *f->at);
    }
    f->at[f->count++] = (nghttp2_nv){ bytes_of(name.at), bytes_of(value.at), name.size, value.size,
                                      NGHTTP2_NV_FLAG_NONE };
}

/* A call that ends in its head has no length to speak of. */
static bool is_bare_call(const struct http1_head *h)
{
    return h->framing == HTTP1_BODY_NONE &&
           str_starts(http1_field(h, HTTP_FIELD_CONTENT_TYPE), STR("application/grpc"));
}

static void fields_add(struct http2_fields *f, const struct http1_head *h)
{
    bool bare = is_bare_call(h);
    for (uint32_t i = 0; i < h->field_count; i++) {
        const struct http_field *x = &h->fields[i];
        if (!x->hop && x->id != HTTP_FIELD_HOST && !(bare && x->id == HTTP_FIELD_CONTENT_LENGTH))
            add(f, x->name, x->value);
    }
}

void http2_fields_request(struct http2_fields *f, const struct http1_head *h)
{
    struct str host = http1_field(h, HTTP_FIELD_HOST);
    f->count = 0;
    add(f, STR(":method"), h->method);
    add(f, STR(":scheme"), STR("http"));
    if (host.size > 0)
        add(f, STR(":authority"), host);
    add(f, STR(":path"), h->target);
    fields_add(f, h);
    add(f, STR("te"), STR("trailers")); /* they are passed on, whoever asks for them */
}

void http2_fields_answer(struct http2_fields *f, const struct http1_head *h)
{
    ASSERT(h->status >= 100 && h->status < 600 && h->status != 101);
    f->count = 0;
    f->status[0] = (char)('0' + h->status / 100);
    f->status[1] = (char)('0' + h->status / 10 % 10);
    f->status[2] = (char)('0' + h->status % 10);
    add(f, STR(":status"), (struct str){ f->status, 3 });
    fields_add(f, h);
}

void http2_fields_trailers(struct http2_fields *f, struct str lines)
{
    f->count = 0;
    while (lines.size > 0) {
        struct str line = str_cut(&lines, '\n');
        struct str name = str_cut(&line, ':');
        if (line.size > 0)
            add(f, name, str_trim(str_head(line, line.size - 1)));
    }
}
