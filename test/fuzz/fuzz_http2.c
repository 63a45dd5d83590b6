/* A peer that says anything, to either side. Whatever it says: what comes out as a head passes the
 * strict parser or is refused by it with a status, never read as two; no more content is held than the
 * windows allow; the same bytes give the same events however they are cut; and nothing is left over.
 *
 * Input: one byte of options (1: we are the client; 2: what comes is answered), one of how finely the
 * bytes are cut, then the peer's bytes. A server's are preceded by the client's greeting. */
#include "net/http1_body.h"
#include "net/http2.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

enum { INPUT_MAX = 8192, OPTION_CLIENT = 1, OPTION_ANSWER = 2 };

struct seen { /* what the peer's bytes meant */
    struct limits limits;
    struct http2 *h;
    struct http2_stream *asked[3];
    uint64_t heads_hash, content_bytes, streams, ended, reset;
    enum http2_limit reached;
    uint8_t options;
};

static void head_check(struct seen *x, struct buf *text, enum http1_kind kind)
{
    while (text->size > 0) {
        struct http1_head h;
        http1_head_init(&h, kind, &x->limits);
        enum http1_result r = http1_head_feed(&h, buf_at(text), text->size);
        ASSERT(r == HTTP1_DONE || r == HTTP1_BAD); /* the text is whole */
        ASSERT(r == HTTP1_BAD || kind == HTTP1_RESPONSE || h.size == text->size);
        for (size_t i = 0; i < text->size; i++)
            x->heads_hash = x->heads_hash * 31 + (uint8_t)buf_at(text)[i];
        buf_consume(text, r == HTTP1_BAD ? text->size : h.size);
        http1_head_done(&h);
    }
}

static void answer(struct http2_stream *s, const struct limits *l)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    struct http1_head h;
    http1_head_init(&h, HTTP1_RESPONSE, l);
    ASSERT(http1_head_feed(&h, text, sizeof text - 1) == HTTP1_DONE);
    http2_answer(s, &h, false);
    http1_head_done(&h);
    if (http2_stream_room(s) >= 4)
        http2_stream_put(s, STR("body"));
    http2_stream_finish(s, STR("x-trailer: 1\r\n"));
}

static void stream_read(struct seen *x, struct http2_stream *s)
{
    bool client = x->options & OPTION_CLIENT;
    bool first = http2_stream_heads(s)->size > 0;
    head_check(x, http2_stream_heads(s), client ? HTTP1_RESPONSE : HTTP1_REQUEST);
    x->streams += first;
    if (http2_stream_end(s) == HTTP2_ENDED) /* of one that is refused, as much as came before */
        x->content_bytes += http2_stream_content(s).size;
    ASSERT(http2_stream_content(s).size <= x->limits.h2_window_bytes);
    http2_stream_take(s, http2_stream_content(s).size);
    if (!client && first && (x->options & OPTION_ANSWER))
        answer(s, &x->limits);
    if (http2_stream_end(s) == HTTP2_OPEN)
        return;
    x->ended += http2_stream_end(s) == HTTP2_ENDED;
    x->reset += http2_stream_end(s) != HTTP2_ENDED;
    for (size_t i = 0; i < COUNT_OF(x->asked); i++)
        if (x->asked[i] == s)
            x->asked[i] = NULL;
    http2_stream_drop(s, client ? HTTP2_DROP_DONE : HTTP2_DROP_CUT);
}

static void ask(struct seen *x)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: f\r\n\r\n";
    struct http1_head h;
    http1_head_init(&h, HTTP1_REQUEST, &x->limits);
    ASSERT(http1_head_feed(&h, text, sizeof text - 1) == HTTP1_DONE);
    for (size_t i = 0; i < COUNT_OF(x->asked); i++)
        x->asked[i] = http2_request(x->h, &h, true);
    http1_head_done(&h);
}

static void write_all(struct seen *x)
{
    struct buf out;
    buf_init(&out, MIB(1));
    http2_write(x->h, &out, 65536, 1000);
    buf_done(&out);
}

static void read_all(struct seen *x)
{
    for (struct http2_stream *s; (s = http2_changed(x->h)) != NULL;)
        stream_read(x, s);
    http2_check(x->h);
}

/* Cut or not, the session reads all before anybody looks, so that news are the same. */
static void play(struct seen *x, uint8_t options, size_t cut, struct str says)
{
    struct err e;
    *x = (struct seen){ .options = options };
    limits_default(&x->limits);
    x->limits.h2_window_bytes = 16384;
    x->h = http2_new(options & OPTION_CLIENT ? HTTP2_CLIENT : HTTP2_SERVER, &x->limits);
    if (options & OPTION_CLIENT)
        ask(x);
    else
        (void)!http2_feed(x->h, HTTP2_PREFACE, HTTP2_PREFACE_BYTES, 1000, &e);
    write_all(x);
    for (int r = 0; says.size > 0 && r >= 0;) {
        size_t piece = MIN(cut, says.size);
        r = http2_feed(x->h, says.at, piece, 1000, &e);
        says = str_from(says, piece);
    }
    x->reached = http2_reached(x->h);
    read_all(x);
    write_all(x);
    http2_lost(x->h);
    read_all(x);
    for (size_t i = 0; i < COUNT_OF(x->asked); i++)
        ASSERT(!x->asked[i]);
    ASSERT(http2_streams(x->h) == 0);
    http2_free(x->h);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct seen whole, cut;
    if (size < 2 || size > INPUT_MAX)
        return 0;
    struct str says = { (const char *)in + 2, size - 2 };
    play(&whole, in[0], SIZE_MAX, says);
    play(&cut, in[0], (size_t)in[1] + 1, says);
    ASSERT(whole.heads_hash == cut.heads_hash && whole.content_bytes == cut.content_bytes);
    ASSERT(whole.streams == cut.streams && whole.ended == cut.ended && whole.reset == cut.reset);
    ASSERT(whole.reached == cut.reached);
    return 0;
}
