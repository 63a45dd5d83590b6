#include "net/http1_body.h"

enum state {
    COUNTED,     /* Content-Length: `left` bytes to come */
    UNTIL_CLOSE, /* everything is content */
    SIZE,        /* hex digits of a chunk's size */
    EXT_NAME,    /* ";name" */
    EXT_VALUE,   /* "=token" */
    EXT_QUOTED,  /* "=\"…" */
    EXT_ESCAPED, /* after the backslash */
    EXT_END,     /* after the closing quote: ';' or CR */
    SIZE_LF,     /* after the CR of the size line */
    CONTENT,     /* `left` bytes of the chunk to come */
    CONTENT_CR,
    CONTENT_LF,
    TRAILER,      /* first byte of a trailer line, or of the empty line */
    TRAILER_LINE, /* up to its LF */
    LAST_LF,      /* after the CR of the empty line */
    COMPLETE,
    REFUSED,
};

enum { SIZE_DIGITS_MAX = 15 }; /* below 2^60: no sum of sizes that one sees can overflow */

static bool refuse(struct http1_body *b, int status, const char *text)
{
    b->refusal = (struct http1_refusal){ b->kind == HTTP1_RESPONSE ? 502 : status, text };
    b->state = REFUSED;
    return false;
}

void http1_body_init(struct http1_body *b, const struct http1_head *h)
{
    static const uint8_t first[] = {
        [HTTP1_BODY_NONE] = COMPLETE,
        [HTTP1_BODY_LENGTH] = COUNTED,
        [HTTP1_BODY_CHUNKED] = SIZE,
        [HTTP1_BODY_CLOSE] = UNTIL_CLOSE,
    };
    *b = (struct http1_body){ .limits = h->limits,
                              .framing = h->framing,
                              .kind = h->kind,
                              .state = first[h->framing],
                              .left = h->body_bytes };
    /* A checked line is at most a byte longer than it came ("a:b" is kept as "a: b"). */
    buf_init(&b->trailers, 2 * h->limits->http_trailer_bytes_max + 1);
    uint64_t line_bytes = MIN(h->limits->http_trailer_bytes_max, h->limits->http_line_bytes_max);
    buf_init(&b->line, MAX(line_bytes, 1));
}

void http1_body_done(struct http1_body *b)
{
    buf_done(&b->trailers);
    buf_done(&b->line);
}

/* ---- chunks, byte by byte: everything but the content ------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_size(struct http1_body *b, char c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        if (++b->digits > SIZE_DIGITS_MAX)
            return refuse(b, 400, "chunk size has more than 15 digits");
        b->left = b->left << 4 | (uint64_t)digit;
        return true;
    }
    if (b->digits == 0)
        return refuse(b, 400, "chunk size is not a hexadecimal number");
    if (c != ';' && c != '\r')
        return refuse(b, 400,
                      c == '\n' ? "chunk size line ends in a bare LF"
                                : "chunk size is followed by neither CRLF nor ';'");
    b->state = c == ';' ? EXT_NAME : SIZE_LF;
    b->name_bytes = 0;
    return true;
}

/* RFC 9112 7.1.1 without its "bad" whitespace. Nothing uses extensions; they are checked because
 * what hides in them is read differently by others. */
static bool take_ext(struct http1_body *b, char c)
{
    if (++b->extra_bytes > b->limits->http_trailer_bytes_max)
        return refuse(b, 400, "chunk extensions are larger than http_trailer_bytes_max");
    switch ((enum state)b->state) {
    case EXT_QUOTED:
        if (c == '"')
            b->state = EXT_END;
        else if (c == '\\')
            b->state = EXT_ESCAPED;
        return http_byte_is(c, HTTP_BYTE_VALUE) ||
               refuse(b, 400, "control byte in a chunk extension");
    case EXT_ESCAPED:
        b->state = EXT_QUOTED;
        return http_byte_is(c, HTTP_BYTE_VALUE) ||
               refuse(b, 400, "control byte in a chunk extension");
    case EXT_VALUE:
        if (c == '"' && b->name_bytes == 0) {
            b->state = EXT_QUOTED;
            return true;
        }
        break;
    default: break;
    }
    if (b->state != EXT_END && http_byte_is(c, HTTP_BYTE_TOKEN)) {
        b->name_bytes = 1;
        return true;
    }
    if (b->state != EXT_END && b->name_bytes == 0)
        return refuse(b, 400, "chunk extension is malformed");
    b->name_bytes = 0;
    if (c == '\r')
        b->state = SIZE_LF;
    else if (c == ';')
        b->state = EXT_NAME;
    else if (c == '=' && b->state == EXT_NAME)
        b->state = EXT_VALUE;
    else
        return refuse(b, 400, "chunk extension is malformed");
    return true;
}

static bool take_size_line(struct http1_body *b, char c)
{
    if (++b->line_bytes > b->limits->http_chunk_line_bytes_max)
        return refuse(b, 400, "chunk size line is longer than http_chunk_line_bytes_max");
    if (b->state == SIZE)
        return take_size(b, c);
    if (b->state != SIZE_LF)
        return take_ext(b, c);
    if (c != '\n')
        return refuse(b, 400, "chunk size line ends in CR without LF");
    b->state = b->left > 0 ? CONTENT : TRAILER;
    return true;
}

static bool take_content_end(struct http1_body *b, char c)
{
    bool cr = b->state == CONTENT_CR;
    if (c != (cr ? '\r' : '\n'))
        return refuse(b, 400, "chunk is longer than its size, or not followed by CRLF");
    b->state = cr ? CONTENT_LF : SIZE;
    b->digits = 0;
    b->line_bytes = 0;
    return true;
}

static bool keep_trailer(struct http1_body *b)
{
    struct str line = buf_str(&b->line);
    struct http_field f;
    const char *why;

    if (!str_ends(line, STR("\r\n")))
        return refuse(b, 400, "trailer line ends in a bare LF");
    if (++b->trailer_count > b->limits->http_fields_max)
        return refuse(b, 431, "more trailer fields than http_fields_max");
    if (!http1_field_line(str_head(line, line.size - 2), &f, &why))
        return refuse(b, 400, why);
    if (http_field_flags((enum http_field_id)f.id) & HTTP_FIELD_NO_TRAIL)
        return refuse(b, 400, "trailer field that is not allowed in a trailer");
    buf_str_append(&b->trailers, f.name);
    buf_text(&b->trailers, ": ");
    buf_str_append(&b->trailers, f.value);
    buf_text(&b->trailers, "\r\n");
    ASSERT(!b->trailers.overflow);
    buf_clear(&b->line);
    b->state = TRAILER;
    return true;
}

static bool take_trailer(struct http1_body *b, char c)
{
    if (b->state == LAST_LF) {
        b->state = COMPLETE;
        return c == '\n' || refuse(b, 400, "chunked body ends in CR without LF");
    }
    if (b->state == TRAILER && c == '\r') {
        b->state = LAST_LF;
        return true;
    }
    b->state = TRAILER_LINE;
    buf_append(&b->line, &c, 1);
    if (++b->extra_bytes > b->limits->http_trailer_bytes_max || b->line.overflow)
        return refuse(b, 431, "trailers are larger than http_trailer_bytes_max");
    return c == '\n' ? keep_trailer(b) : true;
}

static bool take_byte(struct http1_body *b, char c)
{
    if (b->state >= SIZE && b->state <= SIZE_LF)
        return take_size_line(b, c);
    if (b->state == CONTENT_CR || b->state == CONTENT_LF)
        return take_content_end(b, c);
    return take_trailer(b, c);
}

/* ---- all framings ------------------------------------------------------------------------- */

static enum http1_result take_content(struct http1_body *b, const char *at, size_t size,
                                      struct str *ret_data)
{
    size_t take = b->state == UNTIL_CLOSE ? size : (size_t)MIN((uint64_t)size, b->left);
    if (take == 0)
        return HTTP1_MORE;
    *ret_data = (struct str){ at, take };
    b->content_bytes += take;
    if (b->state == UNTIL_CLOSE)
        return HTTP1_DATA;
    b->left -= take;
    if (b->left == 0)
        b->state = b->state == COUNTED ? COMPLETE : CONTENT_CR;
    return b->state == COMPLETE ? HTTP1_DONE : HTTP1_DATA;
}

enum http1_result http1_body_feed(struct http1_body *b, const char *at, size_t size,
                                  size_t *ret_used, struct str *ret_data)
{
    size_t used = 0;
    enum http1_result r = HTTP1_MORE;

    ASSERT(b->state != REFUSED);
    *ret_data = (struct str){ NULL, 0 };
    while (r == HTTP1_MORE && b->state != COMPLETE && used < size) {
        if (b->state == COUNTED || b->state == UNTIL_CLOSE || b->state == CONTENT) {
            r = take_content(b, at + used, size - used, ret_data);
            used += ret_data->size;
        } else if (!take_byte(b, at[used++])) {
            r = HTTP1_BAD;
        }
    }
    *ret_used = used;
    return r == HTTP1_MORE && b->state == COMPLETE ? HTTP1_DONE : r;
}

enum http1_result http1_body_ended(struct http1_body *b)
{
    if (b->state == UNTIL_CLOSE)
        b->state = COMPLETE;
    if (b->state == COMPLETE)
        return HTTP1_DONE;
    if (b->state != REFUSED)
        refuse(b, 400, "body was cut short");
    return HTTP1_BAD;
}
