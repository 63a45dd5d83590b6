/* However a stream of requests is cut, it reads the same; and a head that was accepted, written anew as
 * the gateway does, is accepted again and says the same. */
#include "../http1_stream.h"
#include "net/http1_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static struct limits small_limits(void)
{
    struct limits l;
    limits_default(&l);
    l.http_line_bytes_max = 256; /* so that short inputs reach them */
    l.http_head_bytes_max = 1024;
    l.http_fields_max = 8;
    l.http_chunk_line_bytes_max = 32;
    l.http_trailer_bytes_max = 64;
    return l;
}

static bool kept(const struct http_field *f)
{
    return !f->hop && f->id != HTTP_FIELD_CONTENT_LENGTH;
}

/* Both have the same end-to-end fields, in order; `again` has nothing else but its framing. */
static void check_fields(const struct http1_head *h, const struct http1_head *again)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < h->field_count; i++) {
        if (!kept(&h->fields[i]))
            continue;
        ASSERT(k < again->field_count && str_eq(h->fields[i].name, again->fields[k].name));
        ASSERT(str_eq(h->fields[i].value, again->fields[k].value));
        ASSERT(h->fields[i].id == again->fields[k].id && !again->fields[k].hop);
        k++;
    }
    ASSERT(again->field_count - k == (h->framing == HTTP1_BODY_NONE ? 0 : 1));
}

static void check_written(const struct limits *l, struct str in)
{
    struct limits wide;
    struct http1_head h, again;
    struct buf out;

    limits_default(&wide); /* ": " may make a line longer than it was */
    wide.http_fields_max = l->http_fields_max + 1;
    http1_head_init(&h, HTTP1_REQUEST, l);
    http1_head_init(&again, HTTP1_REQUEST, &wide);
    buf_init(&out, 65536);
    if (http1_head_feed(&h, in.at, in.size) == HTTP1_DONE && http1_has(&h, HTTP_FIELD_HOST)) {
        http1_write_request(&out, h.method, h.target);
        http1_write_fields(&out, &h, 0);
        http1_write_framing(&out, (enum http1_framing)h.framing, h.body_bytes);
        http1_write_end(&out);
        ASSERT(!out.overflow);
        ASSERT(http1_head_feed(&again, buf_at(&out), out.size) == HTTP1_DONE);
        ASSERT(again.size == out.size && again.minor == 1 && again.keep_alive && !again.upgrade);
        ASSERT(str_eq(h.method, again.method) && str_eq(h.target, again.target));
        ASSERT(str_eq(h.path, again.path) && str_eq(h.query, again.query));
        ASSERT(str_eq(h.host, again.host) && h.port == again.port);
        ASSERT(h.framing == again.framing && h.body_bytes == again.body_bytes);
        check_fields(&h, &again);
    }
    http1_head_done(&h);
    http1_head_done(&again);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    if (size < 1 || size > 4096)
        return 0;
    struct limits l = small_limits();
    struct stream_case c = { .kind = HTTP1_REQUEST, .limits = &l, .verbose = true };
    struct str stream = { (const char *)in + 1, size - 1 };
    struct buf whole, pieces;
    buf_init(&whole, MIB(4));
    buf_init(&pieces, MIB(4));

    stream_read(&c, stream, &whole);
    c.piece_max = in[0] % 16 + 1;
    c.seed = in[0] / 16;
    stream_read(&c, stream, &pieces);
    ASSERT(!whole.overflow && whole.size == pieces.size);
    ASSERT(whole.size == 0 || memcmp(buf_at(&whole), buf_at(&pieces), whole.size) == 0);
    check_written(&l, stream);
    buf_done(&whole);
    buf_done(&pieces);
    return 0;
}
