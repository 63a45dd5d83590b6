/* However a chunked body is cut, it decodes to the same content, trailers and verdict, and ends at the
 * same byte; and content and trailers, encoded anew, decode to themselves. */
#include "net/http1_body.h"
#include "net/http1_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

struct decoded {
    enum http1_result result;
    size_t used;
    struct buf content;
    struct buf trailers;
    const char *why;
};

static void decode(const struct limits *l, struct str in, size_t piece, struct decoded *d)
{
    struct http1_head h = { .limits = l, .kind = HTTP1_REQUEST, .framing = HTTP1_BODY_CHUNKED };
    struct http1_body b;

    *d = (struct decoded){ .result = HTTP1_MORE };
    buf_init(&d->content, 8192);
    buf_init(&d->trailers, 8192);
    http1_body_init(&b, &h);
    while (d->used < in.size && (d->result == HTTP1_MORE || d->result == HTTP1_DATA)) {
        size_t used, offer = MIN(in.size - d->used, piece);
        struct str data;
        d->result = http1_body_feed(&b, in.at + d->used, offer, &used, &data);
        ASSERT(used <= offer && used > 0);
        buf_str_append(&d->content, data);
        d->used += used;
    }
    ASSERT(d->content.size == b.content_bytes);
    buf_str_append(&d->trailers, buf_str(&b.trailers));
    ASSERT(!d->trailers.overflow);
    if (d->result == HTTP1_DATA)
        d->result = HTTP1_MORE;
    d->why = d->result == HTTP1_BAD ? b.refusal.text : NULL;
    http1_body_done(&b);
}

static void decoded_done(struct decoded *d)
{
    buf_done(&d->content);
    buf_done(&d->trailers);
}

static bool same_text(const struct buf *a, const struct buf *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(buf_at(a), buf_at(b), a->size) == 0);
}

static void check_encoded(const struct decoded *d, size_t piece)
{
    struct limits l;
    struct buf out;
    struct decoded again;
    struct str rest = buf_str(&d->content);

    limits_default(&l);
    buf_init(&out, 1 << 17);
    while (rest.size > 0) {
        size_t size = MIN(rest.size, piece);
        http1_write_chunk(&out, str_head(rest, size));
        rest = str_from(rest, size);
    }
    http1_write_last_chunk(&out, buf_str(&d->trailers));
    ASSERT(!out.overflow);
    decode(&l, buf_str(&out), out.size, &again);
    /* `decode` feeds on after a piece of content, so it ends at DONE or not at all. */
    ASSERT(again.result == HTTP1_DONE && again.used == out.size);
    ASSERT(same_text(&d->content, &again.content) && same_text(&d->trailers, &again.trailers));
    decoded_done(&again);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    if (size < 1 || size > 4096)
        return 0;
    struct limits l;
    struct decoded whole, pieces;
    struct str stream = { (const char *)in + 1, size - 1 };
    size_t piece = (size_t)in[0] % 7 + 1;

    limits_default(&l);
    l.http_chunk_line_bytes_max = 32;
    l.http_trailer_bytes_max = 64;
    l.http_fields_max = 8;
    decode(&l, stream, size, &whole);
    decode(&l, stream, piece, &pieces);
    ASSERT(whole.result == pieces.result && whole.used == pieces.used && whole.why == pieces.why);
    ASSERT(same_text(&whole.content, &pieces.content));
    ASSERT(same_text(&whole.trailers, &pieces.trailers));
    if (whole.result == HTTP1_DONE)
        check_encoded(&whole, piece);
    decoded_done(&whole);
    decoded_done(&pieces);
    return 0;
}
