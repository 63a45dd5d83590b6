/* However a stream of answers is cut, it reads the same; and a head that was accepted, written anew as
 * the gateway does, frames the same content. */
#include "../http1_stream.h"
#include "net/http1_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static struct limits small_limits(void)
{
    struct limits l;
    limits_default(&l);
    l.http_line_bytes_max = 256;
    l.http_head_bytes_max = 1024;
    l.http_fields_max = 8;
    l.http_chunk_line_bytes_max = 32;
    l.http_trailer_bytes_max = 64;
    return l;
}

/* What ends with the connection is chunked towards a client that is kept. */
static void write_again(struct buf *out, const struct http1_head *h, enum http_method answers)
{
    http1_write_status(out, h->status, h->reason);
    http1_write_fields(out, h, 0);
    if (answers == HTTP_HEAD || h->status == 304) {
        if (h->content_length != UINT64_MAX)
            http1_write_framing(out, HTTP1_BODY_LENGTH, h->content_length);
    } else if (h->framing == HTTP1_BODY_CLOSE) {
        http1_write_framing(out, HTTP1_BODY_CHUNKED, 0);
    } else if (h->framing == HTTP1_BODY_NONE && h->status != 204 && !h->interim) {
        http1_write_framing(out, HTTP1_BODY_LENGTH, 0);
    } else {
        http1_write_framing(out, (enum http1_framing)h->framing, h->body_bytes);
    }
    http1_write_end(out);
}

static void check_written(const struct limits *l, struct str in, enum http_method answers)
{
    struct limits wide;
    struct http1_head h, again;
    struct buf out;

    limits_default(&wide);
    http1_head_init(&h, HTTP1_RESPONSE, l);
    http1_head_init(&again, HTTP1_RESPONSE, &wide);
    http1_head_answers(&h, answers);
    http1_head_answers(&again, answers);
    buf_init(&out, 65536);
    if (http1_head_feed(&h, in.at, in.size) == HTTP1_DONE && !h.upgrade) {
        uint8_t framing = h.framing == HTTP1_BODY_CLOSE ? HTTP1_BODY_CHUNKED : h.framing;
        write_again(&out, &h, answers);
        ASSERT(!out.overflow);
        ASSERT(http1_head_feed(&again, buf_at(&out), out.size) == HTTP1_DONE);
        ASSERT(again.size == out.size && again.keep_alive && again.status == h.status);
        ASSERT(str_eq(h.reason, again.reason) && h.interim == again.interim);
        ASSERT(again.framing == framing && again.body_bytes == h.body_bytes);
    }
    http1_head_done(&h);
    http1_head_done(&again);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    if (size < 2 || size > 4096)
        return 0;
    struct limits l = small_limits();
    struct stream_case c = { .kind = HTTP1_RESPONSE,
                             .answers = in[1] & 1 ? HTTP_HEAD : HTTP_GET,
                             .limits = &l,
                             .verbose = true };
    struct str stream = { (const char *)in + 2, size - 2 };
    struct buf whole, pieces;
    buf_init(&whole, MIB(4));
    buf_init(&pieces, MIB(4));

    stream_read(&c, stream, &whole);
    c.piece_max = in[0] % 16 + 1;
    c.seed = in[0] / 16;
    stream_read(&c, stream, &pieces);
    ASSERT(!whole.overflow && whole.size == pieces.size);
    ASSERT(whole.size == 0 || memcmp(buf_at(&whole), buf_at(&pieces), whole.size) == 0);
    check_written(&l, stream, c.answers);
    buf_done(&whole);
    buf_done(&pieces);
    return 0;
}
