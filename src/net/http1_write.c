#include "net/http1_write.h"

#include <stdio.h>

static const struct str crlf = { "\r\n", 2 };

static bool clean(struct str s)
{
    for (size_t i = 0; i < s.size; i++)
        if (!http_byte_is(s.at[i], HTTP_BYTE_VALUE))
            return false;
    return true;
}

static char *put(char *at, struct str s)
{
    if (s.size > 0)
        memcpy(at, s.at, s.size);
    return at + s.size;
}

/* Several pieces, all or none: a head with a hole would mean something else. */
static void append(struct buf *b, const struct str *pieces, size_t count)
{
    size_t size = 0, room;
    for (size_t i = 0; i < count; i++)
        size += pieces[i].size;
    char *at = buf_reserve(b, size, &room);
    if (room < size || b->overflow) {
        b->overflow = true;
        return;
    }
    for (size_t i = 0; i < count; i++)
        at = put(at, pieces[i]);
    buf_commit(b, size);
}

void http1_write_request(struct buf *b, struct str method, struct str target)
{
    ASSERT(http_is_token(method) && target.size > 0 && clean(target) &&
           !memchr(target.at, ' ', target.size));
    struct str pieces[] = { method, STR(" "), target, STR(" HTTP/1.1\r\n") };
    append(b, pieces, COUNT_OF(pieces));
}

void http1_write_status(struct buf *b, int status, struct str reason)
{
    ASSERT(status >= 100 && status <= 599 && clean(reason));
    char digits[] = { (char)('0' + status / 100), (char)('0' + status / 10 % 10),
                      (char)('0' + status % 10), ' ' };
    struct str text = reason.at ? reason : str_of(http_status_text(status));
    struct str pieces[] = { STR("HTTP/1.1 "), { digits, sizeof digits }, text, crlf };
    append(b, pieces, COUNT_OF(pieces));
}

void http1_write_field(struct buf *b, struct str name, struct str value)
{
    ASSERT(http_is_token(name) && clean(value));
    struct str pieces[] = { name, STR(": "), value, crlf };
    append(b, pieces, COUNT_OF(pieces));
}

static bool forwarded(const struct http_field *f, uint64_t skip)
{
    return !f->hop && !(skip & BIT(f->id));
}

/* The parser let only clean fields in, so they are not checked again; this is on every request's
 * way, twice. */
void http1_write_fields(struct buf *b, const struct http1_head *h, uint64_t skip)
{
    size_t size = 0, room;
    skip = (skip | BIT(HTTP_FIELD_CONTENT_LENGTH)) & ~BIT(HTTP_FIELD_OTHER);
    for (uint32_t i = 0; i < h->field_count; i++)
        if (forwarded(&h->fields[i], skip))
            size += h->fields[i].name.size + h->fields[i].value.size + 4;
    char *at = buf_reserve(b, size, &room);
    if (room < size || b->overflow) {
        b->overflow = true;
        return;
    }
    for (uint32_t i = 0; i < h->field_count; i++) {
        if (!forwarded(&h->fields[i], skip))
            continue;
        at = put(at, h->fields[i].name);
        at = put(at, STR(": "));
        at = put(at, h->fields[i].value);
        at = put(at, crlf);
    }
    buf_commit(b, size);
}

void http1_write_framing(struct buf *b, enum http1_framing framing, uint64_t body_bytes)
{
    char digits[24];
    if (framing == HTTP1_BODY_CHUNKED)
        buf_str_append(b, STR("Transfer-Encoding: chunked\r\n"));
    if (framing != HTTP1_BODY_LENGTH)
        return;
    int size = snprintf(digits, sizeof digits, "%llu", (unsigned long long)body_bytes);
    http1_write_field(b, STR("Content-Length"), (struct str){ digits, (size_t)size });
}

void http1_write_end(struct buf *b) { buf_str_append(b, crlf); }

size_t http1_chunk_line(char into[HTTP1_CHUNK_LINE_MAX], uint64_t chunk_bytes)
{
    static const char digits[] = "0123456789abcdef";
    size_t count = 1;
    while (count < 16 && chunk_bytes >> (4 * count) != 0)
        count++;
    for (size_t i = 0; i < count; i++)
        into[i] = digits[chunk_bytes >> (4 * (count - 1 - i)) & 15];
    into[count] = '\r';
    into[count + 1] = '\n';
    return count + 2;
}

void http1_write_chunk(struct buf *b, struct str data)
{
    char line[HTTP1_CHUNK_LINE_MAX];
    ASSERT(data.size > 0);
    struct str pieces[] = { { line, http1_chunk_line(line, data.size) }, data, crlf };
    append(b, pieces, COUNT_OF(pieces));
}

void http1_write_last_chunk(struct buf *b, struct str trailers)
{
    struct str pieces[] = { STR("0\r\n"), trailers, crlf };
    append(b, pieces, COUNT_OF(pieces));
}
