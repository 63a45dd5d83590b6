#include "request.h"

#include <stdint.h>
#include <strings.h>

static int refuse(struct refusal *r, int status, const char *why)
{
    r->status = status;
    snprintf(r->why, sizeof r->why, "%s", why);
    return -1;
}

void request_init(struct request *q)
{
    struct bytes body = q->body;
    bytes_clear(&body);
    *q = (struct request){ .body = body };
}

void request_done(struct request *q) { bytes_free(&q->body); }

bool request_begun(const struct request *q, const struct bytes *in)
{
    return q->stage != STAGE_HEAD || bytes_size(in) > 0;
}

/* ---- the head ------------------------------------------------------------------------------- */

struct slice {
    const char *at;
    size_t size;
};

static bool same(struct slice s, const char *text)
{
    return s.size == strlen(text) && strncasecmp(s.at, text, s.size) == 0;
}

static bool has(struct slice s, const char *text)
{
    size_t size = strlen(text);
    for (size_t i = 0; i + size <= s.size; i++) {
        if (strncasecmp(s.at + i, text, size) == 0)
            return true;
    }
    return false;
}

static struct slice trim(struct slice s)
{
    while (s.size > 0 && (s.at[0] == ' ' || s.at[0] == '\t'))
        s = (struct slice){ s.at + 1, s.size - 1 };
    while (s.size > 0 && (s.at[s.size - 1] == ' ' || s.at[s.size - 1] == '\t'))
        s.size--;
    return s;
}

/* What comes before the first `c`; *rest is what comes behind it. False when there is none. */
static bool cut(struct slice s, char c, struct slice *ret, struct slice *rest)
{
    const char *found = s.size > 0 ? memchr(s.at, c, s.size) : NULL;
    if (found == NULL)
        return false;
    *ret = (struct slice){ s.at, (size_t)(found - s.at) };
    *rest = (struct slice){ found + 1, (size_t)(s.at + s.size - found - 1) };
    return true;
}

static bool is_letter(char c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.size; i++) {
        char c = s.at[i];
        if (!is_letter(c) && !is_digit(c) && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return s.size > 0;
}

static bool is_field_value(struct slice s)
{
    for (size_t i = 0; i < s.size; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static int take_request_line(struct request *q, struct slice line, bool *ret_old,
                             struct refusal *r)
{
    static const char malformed[] = "request line is not one of HTTP/1.1";
    struct slice method, path, query;
    bool good = cut(line, ' ', &method, &line) && cut(line, ' ', &path, &line) && method.size > 0 &&
                path.size > 0 && path.at[0] == '/' && memchr(line.at, ' ', line.size) == NULL;
    for (size_t i = 0; good && i < method.size; i++)
        good = is_letter(method.at[i]);
    if (!good)
        return refuse(r, 400, malformed);
    *ret_old = line.size == 8 && memcmp(line.at, "HTTP/1.0", 8) == 0;
    if (!*ret_old && (line.size != 8 || memcmp(line.at, "HTTP/1.1", 8) != 0))
        return refuse(r, 505, "only HTTP/1.1 is spoken here");
    (void)cut(path, '?', &path, &query);
    q->method = method.size == 3 && memcmp(method.at, "GET", 3) == 0    ? METHOD_GET
                : method.size == 4 && memcmp(method.at, "HEAD", 4) == 0 ? METHOD_HEAD
                : method.size == 4 && memcmp(method.at, "POST", 4) == 0 ? METHOD_POST
                                                                        : METHOD_OTHER;
    q->path = path.size == 1                                             ? PATH_ROOT
              : path.size == 8 && memcmp(path.at, "/healthz", 8) == 0    ? PATH_HEALTHZ
                                                                         : PATH_OTHER;
    return 0;
}

enum field { FIELD_CONTENT_LENGTH, FIELD_TRANSFER_ENCODING, FIELD_HOST, FIELD_CE_ID,
             FIELD_CE_SPECVERSION, FIELD_CONTENT_TYPE, FIELDS_ONCE,
             FIELD_CONNECTION = FIELDS_ONCE, FIELD_EXPECT, FIELDS };
static const char *const field_names[FIELDS] = { "content-length", "transfer-encoding", "host",
                                                 "ce-id", "ce-specversion", "content-type",
                                                 "connection", "expect" };

/* Takes the field lines into a table of the fields that mean something here. */
static int take_fields(struct slice rest, struct slice fields[FIELDS], struct refusal *r)
{
    while (rest.size > 0) {
        struct slice line = { 0 }, name = { 0 };
        const char *end = memmem(rest.at, rest.size, "\r\n", 2);
        line = (struct slice){ rest.at, end != NULL ? (size_t)(end - rest.at) : rest.size };
        size_t used = line.size + (end != NULL ? 2 : 0);
        rest = (struct slice){ rest.at + used, rest.size - used };
        bool good = cut(line, ':', &name, &line) && is_token(name);
        line = trim(line);
        if (!good || !is_field_value(line))
            return refuse(r, 400, "malformed header field");
        for (int i = 0; i < FIELDS; i++) {
            if (!same(name, field_names[i]))
                continue;
            if (i < FIELDS_ONCE && fields[i].at != NULL) {
                refuse(r, 400, "");
                snprintf(r->why, sizeof r->why, "more than one %s", field_names[i]);
                return -1;
            }
            fields[i] = line;
        }
    }
    return 0;
}

/* How the body is delimited: sets stage and left. */
static int take_length(struct request *q, const struct slice fields[FIELDS], bool old,
                       struct refusal *r)
{
    struct slice length = fields[FIELD_CONTENT_LENGTH], coding = fields[FIELD_TRANSFER_ENCODING];
    if (coding.at != NULL) {
        if (length.at != NULL || old)
            return refuse(r, 400, "transfer-encoding has no place in this request");
        if (!same(coding, "chunked"))
            return refuse(r, 501, "transfer-encoding is not chunked");
        q->stage = STAGE_CHUNK_SIZE;
        return 0;
    }
    q->stage = STAGE_BODY;
    if (length.at == NULL)
        return 0;
    bool good = length.size > 0;
    for (size_t i = 0; good && i < length.size; i++)
        good = is_digit(length.at[i]);
    if (!good)
        return refuse(r, 400, "content-length is not a number");
    for (size_t i = 0; i < length.size && i < 16; i++)
        q->left = q->left * 10 + (size_t)(length.at[i] - '0');
    if (length.size > 15 || q->left > REQUEST_BODY_BYTES_MAX) {
        refuse(r, 413, "");
        snprintf(r->why, sizeof r->why, "body is larger than %d bytes", REQUEST_BODY_BYTES_MAX);
        return -1;
    }
    return 0;
}

static void take_content(struct request *q, const struct slice fields[FIELDS])
{
    struct slice type = fields[FIELD_CONTENT_TYPE], version = fields[FIELD_CE_SPECVERSION];
    struct slice id = fields[FIELD_CE_ID], parameters;
    (void)cut(type, ';', &type, &parameters);
    type = trim(type);
    q->content = fields[FIELD_CONTENT_TYPE].at == NULL || same(type, "application/json")
                     ? CONTENT_JSON
                 : same(type, "application/cloudevents+json")       ? CONTENT_CLOUD
                 : same(type, "application/cloudevents-batch+json") ? CONTENT_CLOUD_BATCH
                                                                    : CONTENT_OTHER;
    q->has_ce_version = version.at != NULL;
    q->ce_version_is_1_0 = version.size == 3 && memcmp(version.at, "1.0", 3) == 0;
    q->ce_id_fits = id.size > 0 && id.size <= EVENT_ID_BYTES_MAX;
    for (size_t i = 0; q->ce_id_fits && i < id.size; i++) {
        q->ce_id_fits = (unsigned char)id.at[i] < 0x80;
        q->ce_id[i] = id.at[i];
    }
}

static int read_head(struct request *q, struct slice head, struct refusal *r)
{
    struct slice fields[FIELDS] = { 0 };
    const char *end = memmem(head.at, head.size, "\r\n", 2);
    struct slice line = { head.at, end != NULL ? (size_t)(end - head.at) : head.size };
    size_t used = line.size + (end != NULL ? 2 : 0);
    struct slice rest = { head.at + used, head.size - used };
    bool old = false;
    if (take_request_line(q, line, &old, r) < 0 || take_fields(rest, fields, r) < 0 ||
        take_length(q, fields, old, r) < 0)
        return -1;
    take_content(q, fields);
    struct slice wish = fields[FIELD_CONNECTION];
    q->keep_alive = !has(wish, "close") && (!old || has(wish, "keep-alive"));
    q->wants_continue = same(fields[FIELD_EXPECT], "100-continue");
    return 0;
}

static int take_head(struct request *q, struct bytes *in, struct refusal *r)
{
    /* RFC 9112 2.2: an empty line before a request is let pass. */
    while (bytes_size(in) >= 2 && memcmp(bytes_at(in), "\r\n", 2) == 0)
        bytes_drop(in, 2);
    size_t size = bytes_size(in);
    if (size > REQUEST_HEAD_BYTES_MAX)
        size = REQUEST_HEAD_BYTES_MAX;
    const char *end = size > 0 ? memmem(bytes_at(in), size, "\r\n\r\n", 4) : NULL;
    if (end == NULL) {
        if (size < REQUEST_HEAD_BYTES_MAX)
            return 0;
        refuse(r, 431, "");
        snprintf(r->why, sizeof r->why, "head is larger than %d bytes", REQUEST_HEAD_BYTES_MAX);
        return -1;
    }
    struct slice head = { bytes_at(in), (size_t)(end - bytes_at(in)) };
    if (read_head(q, head, r) < 0)
        return -1;
    bytes_drop(in, head.size + 4);
    return 1;
}

/* ---- the body ------------------------------------------------------------------------------- */

static void take_data(struct request *q, struct bytes *in)
{
    size_t size = bytes_size(in) < q->left ? bytes_size(in) : q->left;
    if (size == 0)
        return;
    bytes_add(&q->body, bytes_at(in), size);
    bytes_drop(in, size);
    q->left -= size;
}

static int read_chunk_size(struct request *q, struct slice line, struct refusal *r)
{
    size_t size = 0, digits = 0;
    struct slice extension;
    (void)cut(line, ';', &line, &extension);
    line = line.size > 0 && line.at[0] != ' ' && line.at[0] != '\t' ? trim(line) : line;
    for (; digits < line.size; digits++) {
        char c = line.at[digits];
        int value = is_digit(c) ? c - '0' : is_letter(c) && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (value < 0 || digits == 8)
            return refuse(r, 400, "chunk size is not a number");
        size = size << 4 | (size_t)value;
    }
    if (digits == 0)
        return refuse(r, 400, "chunk size is not a number");
    if (bytes_size(&q->body) + size > REQUEST_BODY_BYTES_MAX) {
        refuse(r, 413, "");
        snprintf(r->why, sizeof r->why, "body is larger than %d bytes", REQUEST_BODY_BYTES_MAX);
        return -1;
    }
    q->left = size;
    q->stage = size > 0 ? STAGE_CHUNK : STAGE_TRAILERS;
    return 1;
}

/* A chunk size line, or a trailer field, which is read and dropped. 1 got one; 2 got the last. */
static int take_chunk_line(struct request *q, struct bytes *in, struct refusal *r)
{
    size_t size = bytes_size(in);
    if (size > REQUEST_CHUNK_LINE_BYTES_MAX)
        size = REQUEST_CHUNK_LINE_BYTES_MAX;
    const char *end = size > 0 ? memmem(bytes_at(in), size, "\r\n", 2) : NULL;
    if (end == NULL)
        return size < REQUEST_CHUNK_LINE_BYTES_MAX ? 0
                                                   : refuse(r, 400, "chunk size line is too long");
    struct slice line = { bytes_at(in), (size_t)(end - bytes_at(in)) };
    int got = q->stage == STAGE_TRAILERS ? (line.size == 0 ? 2 : 1) : read_chunk_size(q, line, r);
    bytes_drop(in, line.size + 2);
    return got;
}

static int take_chunk_end(struct request *q, struct bytes *in, struct refusal *r)
{
    size_t size = bytes_size(in) < 2 ? bytes_size(in) : 2;
    if (size > 0 && memcmp(bytes_at(in), "\r\n", size) != 0)
        return refuse(r, 400, "chunk does not end where it said");
    if (size < 2)
        return 0;
    bytes_drop(in, 2);
    q->stage = STAGE_CHUNK_SIZE;
    return 1;
}

int request_take(struct request *q, struct bytes *in, struct refusal *ret_refusal)
{
    for (;;) {
        int got = 1;
        switch (q->stage) {
        case STAGE_HEAD: got = take_head(q, in, ret_refusal); break;
        case STAGE_BODY: take_data(q, in); return q->left == 0;
        case STAGE_CHUNK:
            take_data(q, in);
            if (q->left > 0)
                return 0;
            q->stage = STAGE_CHUNK_END;
            break;
        case STAGE_CHUNK_END: got = take_chunk_end(q, in, ret_refusal); break;
        case STAGE_CHUNK_SIZE:
        case STAGE_TRAILERS: got = take_chunk_line(q, in, ret_refusal); break;
        }
        if (got != 1)
            return got == 2 ? 1 : got;
    }
}
