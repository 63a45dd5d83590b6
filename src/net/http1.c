#include "net/http1.h"

#include <stdlib.h>

enum state {
    AT_START, /* of a message */
    IN_METHOD,
    IN_TARGET,
    IN_REQUEST_VERSION, /* up to and with the line's CRLF */
    IN_RESPONSE_VERSION,
    IN_STATUS,
    IN_REASON,
    AT_LINE, /* first byte of a field line, or of the empty line */
    IN_NAME,
    BEFORE_VALUE,
    IN_VALUE,
    COMPLETE,
    REFUSED,
};

enum {
    METHOD_BYTES_MAX = 32, /* longer than any registered one; RFC 9112 3: answer 501 */
    VERSION_BYTES = 8,
    STATUS_BYTES = 5, /* SP 3DIGIT and the byte after them */
    FIELDS_AT_FIRST = 16,
    /* Each option is compared with every field: this bounds the product. */
    CONNECTION_OPTIONS_MAX = 32,
    HOST_BYTES_MAX = 255, /* of a DNS name */
};

/* ---- refusing --------------------------------------------------------------------------- */

/* False, so that a check ends in one line. A function's malformed answer is a bad gateway,
 * whatever is wrong with it. */
static bool refuse(struct http1_head *h, int status, const char *text)
{
    h->refusal = (struct http1_refusal){ h->kind == HTTP1_RESPONSE ? 502 : status, text };
    h->state = REFUSED;
    return false;
}

static bool refuse_control(struct http1_head *h, char c)
{
    switch (c) {
    case '\n': return refuse(h, 400, "line ends in a bare LF");
    case '\r': return refuse(h, 400, "CR without LF");
    case '\0': return refuse(h, 400, "NUL byte in the head");
    default: return refuse(h, 400, "control byte in the head");
    }
}

static bool refuse_size(struct http1_head *h)
{
    if (h->state <= IN_TARGET)
        return refuse(h, 414, "target is longer than http_line_bytes_max");
    if (h->scan >= h->limits->http_head_bytes_max)
        return refuse(h, 431, "head is larger than http_head_bytes_max");
    return refuse(h, 431, "line is longer than http_line_bytes_max");
}

/* ---- what a field means by itself ------------------------------------------------------- */

static bool take_content_length(struct http1_head *h, struct str value)
{
    uint64_t bytes;
    if (!str_u64(value, &bytes) || bytes > INT64_MAX)
        return refuse(h, 400, "Content-Length is not a plain number");
    if (value.size > 1 && value.at[0] == '0')
        return refuse(h, 400, "Content-Length has leading zeros");
    h->content_length = bytes;
    return true;
}

static bool take_transfer_encoding(struct http1_head *h, struct str value)
{
    if (h->minor == 0)
        return refuse(h, 400, "Transfer-Encoding in HTTP/1.0");
    if (str_eq_nocase(value, STR("chunked")))
        return true;
    return http_is_token(value) ? refuse(h, 501, "Transfer-Encoding other than chunked")
                                : refuse(h, 400, "Transfer-Encoding other than one chunked");
}

static const char *twice_text(enum http_field_id id)
{
    switch (id) {
    case HTTP_FIELD_HOST: return "more than one Host";
    case HTTP_FIELD_CONTENT_LENGTH: return "more than one Content-Length";
    case HTTP_FIELD_TRANSFER_ENCODING: return "more than one Transfer-Encoding";
    default: return "more than one Expect";
    }
}

static bool take_field(struct http1_head *h, struct http_field *f)
{
    bool imitates;
    enum http_field_id id = http_field_find(f->name, &imitates);
    unsigned flags = http_field_flags(id);

    f->id = (uint8_t)id;
    f->hop = (flags & HTTP_FIELD_HOP) != 0;
    if (imitates)
        return refuse(h, 400, "field name imitates a known one");
    if (id == HTTP_FIELD_OTHER)
        return true;
    if (http1_has(h, id))
        return (flags & HTTP_FIELD_ONCE) == 0 || refuse(h, 400, twice_text(id));
    h->seen |= BIT(id);
    h->first[id] = (uint16_t)h->field_count;
    if (id == HTTP_FIELD_CONTENT_LENGTH)
        return take_content_length(h, f->value);
    if (id == HTTP_FIELD_TRANSFER_ENCODING)
        return take_transfer_encoding(h, f->value);
    return true;
}

/* ---- what the fields mean together ------------------------------------------------------ */

static bool host_literal_ok(struct str inner)
{
    bool colon = false;
    for (size_t i = 0; i < inner.size; i++) {
        colon |= inner.at[i] == ':';
        if (inner.at[i] != ':' && inner.at[i] != '.' && !http_byte_is(inner.at[i], HTTP_BYTE_HEX))
            return false;
    }
    return colon;
}

/* host [":" port] as hob accepts it: letters, digits, '.', '-', '_', or an IPv6 literal. Percent
 * encoding and the rest of RFC 3986's reg-name is what names are confused with, so it is refused. */
static bool host_split(struct str text, struct str *ret_host, uint16_t *ret_port)
{
    const char *close = text.size && text.at[0] == '[' ? memchr(text.at, ']', text.size) : NULL;
    struct str host = text, port = { NULL, 0 };
    uint64_t number = 0;

    if (close) {
        host.size = (size_t)(close - text.at) + 1;
        if (!host_literal_ok((struct str){ text.at + 1, host.size - 2 }))
            return false;
    } else {
        for (host.size = 0; host.size < text.size; host.size++)
            if (!http_byte_is(text.at[host.size], HTTP_BYTE_HOST))
                break;
    }
    if (host.size == 0 || host.size > HOST_BYTES_MAX)
        return false;
    if (host.size < text.size) {
        port = str_from(text, host.size + 1);
        if (text.at[host.size] != ':' || port.size > 5 || !str_u64(port, &number) || number == 0 ||
            number > UINT16_MAX)
            return false;
    }
    *ret_host = host;
    *ret_port = (uint16_t)number;
    return true;
}

/* In the path, '%' must start an encoded byte, and not NUL: C-string consumers end there. A query
 * is the function's own business. */
static bool path_ok(struct str path)
{
    struct str rest = path;
    for (const char *p; rest.size && (p = memchr(rest.at, '%', rest.size)) != NULL;) {
        rest = str_from(rest, (size_t)(p - rest.at));
        if (rest.size < 3 || !http_byte_is(p[1], HTTP_BYTE_HEX) ||
            !http_byte_is(p[2], HTTP_BYTE_HEX) || (p[1] == '0' && p[2] == '0'))
            return false;
        rest = str_from(rest, 3);
    }
    return true;
}

/* "http://authority/path": splits off the authority. False: not absolute form. */
static bool absolute_cut(struct str *target, struct str *ret_authority)
{
    size_t scheme = 0;
    if (target->size > 7 && str_eq_nocase(str_head(*target, 7), STR("http://")))
        scheme = 7;
    else if (target->size > 8 && str_eq_nocase(str_head(*target, 8), STR("https://")))
        scheme = 8;
    if (scheme == 0)
        return false;
    struct str rest = str_from(*target, scheme);
    size_t size = 0;
    while (size < rest.size && rest.at[size] != '/' && rest.at[size] != '?')
        size++;
    *ret_authority = str_head(rest, size);
    *target = str_from(rest, size);
    return true;
}

static bool check_absolute(struct http1_head *h)
{
    struct str authority, host;
    uint16_t port;

    if (!absolute_cut(&h->target, &authority))
        return refuse(h, 400, "target is neither a path nor an http URL");
    if (!host_split(authority, &host, &port))
        return refuse(h, 400, "target has a malformed authority");
    if (http1_has(h, HTTP_FIELD_HOST) && !str_eq_nocase(authority, http1_field(h, HTTP_FIELD_HOST)))
        return refuse(h, 400, "Host is not the target's authority");
    h->host = host;
    h->port = port;
    if (h->target.size == 0) /* RFC 9112 3.2.4: an empty path means the server itself */
        h->target = h->method_id == HTTP_OPTIONS ? STR("*") : STR("/");
    if (h->target.at[0] == '?')
        return refuse(h, 400, "target has a query but no path");
    return true;
}

static bool check_target(struct http1_head *h)
{
    if (h->method_id == HTTP_CONNECT)
        return refuse(h, 501, "CONNECT is not served");
    if (h->target.at[0] != '/' && !str_eq(h->target, STR("*")) && !check_absolute(h))
        return false;
    if (h->target.at[0] == '*' && h->method_id != HTTP_OPTIONS)
        return refuse(h, 400, "target '*' is for OPTIONS only");

    struct str rest = h->target;
    h->path = str_cut(&rest, '?');
    if (h->path.size < h->target.size)
        h->query = rest;
    return path_ok(h->path) || refuse(h, 400, "path has a malformed percent encoding");
}

static bool check_host(struct http1_head *h)
{
    if (http1_has(h, HTTP_FIELD_HOST))
        return host_split(http1_field(h, HTTP_FIELD_HOST), &h->host, &h->port) ||
               refuse(h, 400, "Host is malformed");
    return h->minor == 0 || refuse(h, 400, "Host is missing");
}

struct options {
    bool close, keep_alive, upgrade;
};

/* An option that is no word of the protocol nominates a field as hop-by-hop. */
static bool nominate(struct http1_head *h, struct str option)
{
    bool imitates;
    enum http_field_id id = http_field_find(option, &imitates);
    if (!http_is_token(option))
        return refuse(h, 400, "Connection is malformed");
    if (imitates || (http_field_flags(id) & HTTP_FIELD_FIXED))
        return refuse(h, 400, "Connection nominates an end-to-end field");
    for (uint32_t i = 0; i < h->field_count; i++)
        if (str_eq_nocase(h->fields[i].name, option))
            h->fields[i].hop = true;
    return true;
}

static bool check_connection(struct http1_head *h, struct options *ret)
{
    uint32_t count = 0;
    if (!http1_has(h, HTTP_FIELD_CONNECTION))
        return true;
    for (uint32_t i = h->first[HTTP_FIELD_CONNECTION]; i < h->field_count; i++) {
        struct str rest = h->fields[i].value, option;
        if (h->fields[i].id != HTTP_FIELD_CONNECTION)
            continue;
        while (http_list_next(&rest, &option)) {
            if (++count > CONNECTION_OPTIONS_MAX)
                return refuse(h, 400, "Connection has more than 32 options");
            if (str_eq_nocase(option, STR("close")))
                ret->close = true;
            else if (str_eq_nocase(option, STR("keep-alive")))
                ret->keep_alive = true;
            else if (str_eq_nocase(option, STR("upgrade")))
                ret->upgrade = true;
            else if (!nominate(h, option))
                return false;
        }
    }
    return true;
}

static bool check_lengths(struct http1_head *h)
{
    bool chunked = http1_has(h, HTTP_FIELD_TRANSFER_ENCODING);
    if (chunked && http1_has(h, HTTP_FIELD_CONTENT_LENGTH))
        return refuse(h, 400, "Content-Length beside Transfer-Encoding");
    h->framing = HTTP1_BODY_NONE;
    if (chunked)
        h->framing = HTTP1_BODY_CHUNKED;
    else if (h->content_length != UINT64_MAX && h->content_length > 0)
        h->framing = HTTP1_BODY_LENGTH;
    h->body_bytes = h->framing == HTTP1_BODY_LENGTH ? h->content_length : 0;
    return true;
}

static bool check_expect(struct http1_head *h)
{
    if (!http1_has(h, HTTP_FIELD_EXPECT))
        return true;
    if (!str_eq_nocase(http1_field(h, HTTP_FIELD_EXPECT), STR("100-continue")))
        return refuse(h, 417, "Expect other than 100-continue");
    h->expect_continue = h->minor == 1 && h->framing != HTTP1_BODY_NONE;
    return true;
}

static bool finish_request(struct http1_head *h)
{
    struct options o = { 0 };
    if (!check_host(h) || !check_target(h) || !check_lengths(h) || !check_expect(h) ||
        !check_connection(h, &o))
        return false;
    if (h->method_id == HTTP_TRACE && h->framing != HTTP1_BODY_NONE)
        return refuse(h, 400, "TRACE with a body");
    h->keep_alive = !o.close && (h->minor == 1 || o.keep_alive);
    h->upgrade = o.upgrade && h->minor == 1 && h->framing == HTTP1_BODY_NONE &&
                 http1_has(h, HTTP_FIELD_UPGRADE);
    return true;
}

/* RFC 9112 6.3, in its order. */
static bool frame_response(struct http1_head *h)
{
    bool bare = h->status < 200 || h->status == 204;
    if (!check_lengths(h))
        return false;
    if (bare && h->framing != HTTP1_BODY_NONE)
        return refuse(h, 502, "body announced with a status that has none");
    if (bare || h->status == 304 || h->answers == HTTP_HEAD) {
        h->framing = HTTP1_BODY_NONE;
        h->body_bytes = 0;
    } else if (h->framing == HTTP1_BODY_NONE && h->content_length == UINT64_MAX) {
        h->framing = HTTP1_BODY_CLOSE;
    }
    return true;
}

static bool finish_response(struct http1_head *h)
{
    struct options o = { 0 };
    if (!frame_response(h) || !check_connection(h, &o))
        return false;
    h->interim = h->status < 200 && h->status != 101;
    h->upgrade = h->status == 101;
    if (h->upgrade && (!o.upgrade || !http1_has(h, HTTP_FIELD_UPGRADE)))
        return refuse(h, 502, "status 101 without Upgrade");
    h->keep_alive = !o.close && (h->minor == 1 || o.keep_alive) && h->framing != HTTP1_BODY_CLOSE;
    return true;
}

/* ---- scanning --------------------------------------------------------------------------- */

/* Each step takes bytes from p, never past end, and returns where it stopped. It moved to another state
 * when it found what it looks for; it stays in its state when the bytes ran out; it returns
 * NULL after a refusal. Where it needs several bytes at once it stays at the first of them. */

static const char *step_start(struct http1_head *h, const char *p)
{
    if (*p == '\r' || *p == '\n') {
        refuse(h, 400, "empty line before the start line");
        return NULL;
    }
    h->state = h->kind == HTTP1_REQUEST ? IN_METHOD : IN_RESPONSE_VERSION;
    h->mark = 0;
    return p;
}

static const char *step_method(struct http1_head *h, const char *p, const char *end)
{
    const char *start = h->base + h->mark, *stop = MIN(end, start + METHOD_BYTES_MAX + 1);
    while (p < stop && http_byte_is(*p, HTTP_BYTE_METHOD))
        p++;
    size_t size = (size_t)(p - start);
    if (size > METHOD_BYTES_MAX) {
        refuse(h, 501, "method is longer than 32 bytes");
        return NULL;
    }
    if (p == end)
        return p;
    if (*p != ' ' || size == 0) {
        bool token = http_byte_is(*p, HTTP_BYTE_TOKEN);
        refuse(h, token ? 501 : 400, token ? "method is unknown" : "request line is malformed");
        return NULL;
    }
    h->method = (struct str){ start, size };
    h->method_id = (uint8_t)http_method_find(h->method);
    h->mark = (uint32_t)(p + 1 - h->base);
    h->state = IN_TARGET;
    return p + 1;
}

static const char *step_target(struct http1_head *h, const char *p, const char *end)
{
    const char *start = h->base + h->mark;
    while (p < end && http_byte_is(*p, HTTP_BYTE_TARGET))
        p++;
    if (p == end)
        return p;
    if (*p != ' ' || p == start) {
        refuse(h, 400, "request line is malformed, or its target has a byte that needs encoding");
        return NULL;
    }
    h->target = (struct str){ start, (size_t)(p - start) };
    h->state = IN_REQUEST_VERSION;
    return p + 1;
}

/* 1: taken; 0: not all here yet; -1: refused, as soon as it cannot become a version any more. */
static int version_take(struct http1_head *h, const char *p, const char *end)
{
    size_t here = (size_t)(end - p);
    bool bad = memcmp(p, "HTTP/", MIN(here, 5)) != 0;
    if (!bad && here < VERSION_BYTES)
        return 0;
    if (bad || p[5] < '0' || p[5] > '9' || p[6] != '.' || p[7] < '0' || p[7] > '9') {
        refuse(h, 400, "start line is malformed, or not HTTP");
        return -1;
    }
    if (p[5] != '1' || p[7] > '1') {
        refuse(h, 505, "HTTP version other than 1.0 and 1.1");
        return -1;
    }
    h->minor = (uint8_t)(p[7] - '0');
    return 1;
}

/* The line's CR is at p, or should be. p, when the LF has not come yet; NULL after a refusal. */
static const char *line_end(struct http1_head *h, const char *p, const char *end)
{
    if (*p != '\r' || (p + 1 < end && p[1] != '\n')) {
        refuse_control(h, *p);
        return NULL;
    }
    if (p + 1 == end)
        return p;
    h->state = AT_LINE;
    h->line = (uint32_t)(p + 2 - h->base);
    return p + 2;
}

static const char *step_request_version(struct http1_head *h, const char *p, const char *end)
{
    int r = version_take(h, p, end);
    if (r < 0)
        return NULL;
    if (r == 0 || end - p == VERSION_BYTES)
        return p;
    if (p[VERSION_BYTES] != '\r' && p[VERSION_BYTES] != '\n') {
        refuse(h, 400, "request line is malformed");
        return NULL;
    }
    const char *after = line_end(h, p + VERSION_BYTES, end);
    return after == p + VERSION_BYTES ? p : after;
}

static const char *step_response_version(struct http1_head *h, const char *p, const char *end)
{
    int r = version_take(h, p, end);
    if (r < 0)
        return NULL;
    if (r == 0)
        return p;
    h->state = IN_STATUS;
    return p + VERSION_BYTES;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* The space after the status is required, and commonly forgotten where no reason follows. Nothing
 * depends on it, so that is the one thing forgiven. */
static const char *step_status(struct http1_head *h, const char *p, const char *end)
{
    if (*p == ' ' && end - p < STATUS_BYTES)
        return p;
    if (*p != ' ' || p[1] < '1' || p[1] > '5' || !is_digit(p[2]) || !is_digit(p[3]) ||
        (p[4] != ' ' && p[4] != '\r')) {
        refuse(h, 502, "status line is malformed");
        return NULL;
    }
    h->status = (uint16_t)((p[1] - '0') * 100 + (p[2] - '0') * 10 + (p[3] - '0'));
    p += p[4] == ' ' ? 5 : 4;
    h->mark = (uint32_t)(p - h->base);
    h->state = IN_REASON;
    return p;
}

/* The first byte from p that cannot be in a value, eight at a time: no byte below 0x20, none 0x7f.
 * (Tabs stop the fast loop too; they are rare.) */
static const char *value_scan(const char *p, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    for (uint64_t w; end - p >= (ptrdiff_t)sizeof w; p += sizeof w) {
        memcpy(&w, p, sizeof w);
        uint64_t del = w ^ (ones * 0x7f);
        if ((((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & highs)
            break;
    }
    while (p < end && http_byte_is(*p, HTTP_BYTE_VALUE))
        p++;
    return p;
}

static const char *step_reason(struct http1_head *h, const char *p, const char *end)
{
    const char *start = h->base + h->mark;
    p = value_scan(p, end);
    if (p == end)
        return p;
    const char *after = line_end(h, p, end);
    if (after && after > p)
        h->reason = (struct str){ start, (size_t)(p - start) };
    return after;
}

/* COMPLETE, after the empty line; or on to a field. */
static const char *step_line(struct http1_head *h, const char *p, const char *end)
{
    if (*p == '\r') {
        const char *after = line_end(h, p, end);
        if (after && after > p)
            h->state = COMPLETE;
        return after;
    }
    if (*p == ' ' || *p == '\t') {
        refuse(h, 400, "folded line, or space before a field name");
        return NULL;
    }
    if (h->field_count >= h->limits->http_fields_max) {
        refuse(h, 431, "more fields than http_fields_max");
        return NULL;
    }
    h->mark = (uint32_t)(p - h->base);
    h->state = IN_NAME;
    return p;
}

static void fields_grow(struct http1_head *h)
{
    uint32_t most = (uint32_t)h->limits->http_fields_max;
    uint32_t more = h->field_capacity ? h->field_capacity * 2 : FIELDS_AT_FIRST;
    h->field_capacity = MIN(more, most);
    h->fields = xrealloc(h->fields, h->field_capacity, sizeof *h->fields);
}

static const char *step_name(struct http1_head *h, const char *p, const char *end)
{
    const char *start = h->base + h->mark;
    while (p < end && http_byte_is(*p, HTTP_BYTE_TOKEN))
        p++;
    if (p == end)
        return p;
    if (*p != ':' || p == start) {
        bool space = *p == ' ' || *p == '\t';
        refuse(h, 400, space ? "space before the colon" : "field name is malformed");
        return NULL;
    }
    if (h->field_count == h->field_capacity)
        fields_grow(h);
    h->fields[h->field_count].name = (struct str){ start, (size_t)(p - start) };
    h->state = BEFORE_VALUE;
    return p + 1;
}

static const char *step_before_value(struct http1_head *h, const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    if (p == end)
        return p;
    h->mark = (uint32_t)(p - h->base);
    h->state = IN_VALUE;
    return p;
}

static const char *step_value(struct http1_head *h, const char *p, const char *end)
{
    const char *start = h->base + h->mark;
    p = value_scan(p, end);
    if (p == end)
        return p;
    const char *after = line_end(h, p, end);
    if (!after || after == p)
        return after;
    struct http_field *f = &h->fields[h->field_count];
    while (p > start && (p[-1] == ' ' || p[-1] == '\t'))
        p--;
    f->value = (struct str){ start, (size_t)(p - start) };
    if (!take_field(h, f))
        return NULL;
    h->field_count++;
    return after;
}

static const char *step(struct http1_head *h, const char *p, const char *end)
{
    switch ((enum state)h->state) {
    case AT_START: return step_start(h, p);
    case IN_METHOD: return step_method(h, p, end);
    case IN_TARGET: return step_target(h, p, end);
    case IN_REQUEST_VERSION: return step_request_version(h, p, end);
    case IN_RESPONSE_VERSION: return step_response_version(h, p, end);
    case IN_STATUS: return step_status(h, p, end);
    case IN_REASON: return step_reason(h, p, end);
    case AT_LINE: return step_line(h, p, end);
    case IN_NAME: return step_name(h, p, end);
    case BEFORE_VALUE: return step_before_value(h, p, end);
    case IN_VALUE: return step_value(h, p, end);
    case COMPLETE:
    case REFUSED: break;
    }
    UNREACHABLE("a head fed after its end");
}

/* ---- life ------------------------------------------------------------------------------- */

void http1_head_reset(struct http1_head *h)
{
    struct http_field *fields = h->fields;
    const struct limits *limits = h->limits;
    uint32_t capacity = h->field_capacity;
    uint8_t kind = h->kind;

    memset(h, 0, offsetof(struct http1_head, first));
    h->fields = fields;
    h->limits = limits;
    h->field_capacity = capacity;
    h->kind = kind;
    h->content_length = UINT64_MAX;
}

void http1_head_init(struct http1_head *h, enum http1_kind kind, const struct limits *limits)
{
    h->fields = NULL;
    h->field_capacity = 0;
    h->kind = (uint8_t)kind;
    h->limits = limits;
    http1_head_reset(h);
}

void http1_head_done(struct http1_head *h)
{
    free(h->fields);
    h->fields = NULL;
    h->field_capacity = 0;
    http1_head_reset(h);
}

void http1_head_answers(struct http1_head *h, enum http_method method)
{
    ASSERT(h->kind == HTTP1_RESPONSE && h->state == AT_START);
    h->answers = (uint8_t)method;
}

/* Text outside the head's bytes ("/" for an empty path) stays where it is. The old bytes may be gone, so
 * their address is only a number here. */
static void str_move(struct str *s, uintptr_t from, size_t size, const char *to)
{
    uintptr_t at = (uintptr_t)s->at;
    if (at >= from && at - from <= size)
        s->at = to + (at - from);
}

void http1_head_rebase(struct http1_head *h, const char *at)
{
    uintptr_t from = (uintptr_t)h->base;
    if (at == h->base)
        return;
    struct str *texts[] = { &h->method, &h->target, &h->path, &h->query, &h->host, &h->reason };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        str_move(texts[i], from, h->scan, at);
    for (uint32_t i = 0; i < h->field_count; i++) {
        str_move(&h->fields[i].name, from, h->scan, at);
        str_move(&h->fields[i].value, from, h->scan, at);
    }
    if (h->state == BEFORE_VALUE || h->state == IN_VALUE) /* the next slot already has its name */
        str_move(&h->fields[h->field_count].name, from, h->scan, at);
    h->base = at;
}

enum http1_result http1_head_feed(struct http1_head *h, const char *at, size_t size)
{
    ASSERT(h->state < COMPLETE && size >= h->scan);
    if (size == 0)
        return HTTP1_MORE; /* an empty buffer has no address */
    if (h->base)
        http1_head_rebase(h, at);
    h->base = at;
    const char *p = at + h->scan;
    while (h->state < COMPLETE) {
        size_t most = MIN(h->line + h->limits->http_line_bytes_max, h->limits->http_head_bytes_max);
        const char *end = at + MIN(size, most), *before = p;
        uint8_t state = h->state;
        if (p < end && (p = step(h, p, end)) == NULL)
            return HTTP1_BAD;
        h->scan = (uint32_t)(p - at);
        if (h->state != state || p > before)
            continue;
        if (size <= most)
            return HTTP1_MORE;
        h->scan = (uint32_t)most;
        refuse_size(h);
        return HTTP1_BAD;
    }
    h->size = h->scan;
    if (!(h->kind == HTTP1_REQUEST ? finish_request(h) : finish_response(h)))
        return HTTP1_BAD;
    return HTTP1_DONE;
}

/* ---- looking ---------------------------------------------------------------------------- */

struct str http1_field_named(const struct http1_head *h, struct str name)
{
    for (uint32_t i = 0; i < h->field_count; i++)
        if (str_eq_nocase(h->fields[i].name, name))
            return h->fields[i].value;
    return (struct str){ NULL, 0 };
}

bool http1_field_lists(const struct http1_head *h, enum http_field_id id, struct str element)
{
    if (!http1_has(h, id))
        return false;
    for (uint32_t i = h->first[id]; i < h->field_count; i++) {
        struct str rest = h->fields[i].value, item;
        while (h->fields[i].id == id && http_list_next(&rest, &item))
            if (str_eq_nocase(item, element))
                return true;
    }
    return false;
}

bool http1_field_line(struct str line, struct http_field *ret, const char **ret_why)
{
    const char *colon = line.size ? memchr(line.at, ':', line.size) : NULL;
    if (!colon) {
        *ret_why = "field line without a colon";
        return false;
    }
    struct str name = str_head(line, (size_t)(colon - line.at));
    struct str value = str_from(line, name.size + 1);
    bool imitates;
    enum http_field_id id = http_field_find(name, &imitates);
    if (!http_is_token(name) || imitates) {
        *ret_why = "field name is malformed";
        return false;
    }
    if (value_scan(value.at, value.at + value.size) != value.at + value.size) {
        *ret_why = "control byte in a field";
        return false;
    }
    *ret = (struct http_field){ name, str_trim(value), (uint8_t)id,
                                (http_field_flags(id) & HTTP_FIELD_HOP) != 0 };
    return true;
}
