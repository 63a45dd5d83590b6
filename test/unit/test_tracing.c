#include "gateway/tracing.h"
#include "tap.h"

#define PARENT "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
#define OURS   "traceparent: 00-0af7651916cd43dd8448eb211c80319c-00000000000000ab-"
#define BEGUN  "traceparent: 00-0190a8c012347abc8def0123456789ab-00000000000000ab-"

static const struct {
    const char *fields, *out, *why;
    uint32_t per_million;
} cases[] = {
    { "", BEGUN "01\r\n", "a trace begins", 1000000 },
    { "", BEGUN "00\r\n", "and is not sampled", 0 },
    { PARENT "00\r\n", OURS "00\r\n", "the caller decided against it", 1000000 },
    { PARENT "01\r\n", OURS "01\r\n", "or for it", 0 },
    { PARENT "01\r\ntracestate: a=1\r\nTracestate: b=2\r\n", OURS "01\r\ntracestate: a=1,b=2\r\n", "with its state", 0 },
    { PARENT "01\r\ntracestate: A=1\r\n", OURS "01\r\n", "but not a broken one", 0 },
    { PARENT "01\r\n" PARENT "01\r\n", BEGUN "00\r\n", "two parents are none", 0 },
    { "traceparent: 00-aa-bb-01\r\ntracestate: a=1\r\n", BEGUN "01\r\n", "nor is a broken one", 1000000 },
    { "tracestate: a=1\r\n", BEGUN "01\r\n", "a state without a trace", 1000000 },
};

TEST(a_trace_goes_on_or_begins)
{
    struct limits limits;
    struct uuid id;
    limits_default(&limits);
    CHECK(uuid_parse(STR("0190a8c0-1234-7abc-8def-0123456789ab"), &id));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct http1_head h;
        struct trace_context t;
        struct buf in, out;
        http1_head_init(&h, HTTP1_REQUEST, &limits);
        buf_init(&in, 4096), buf_init(&out, 4096);
        buf_printf(&in, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", cases[i].fields);
        CHECK_EQ(http1_head_feed(&h, buf_at(&in), in.size), HTTP1_DONE);
        tracing_begin(&h, &(struct tracing_new){ &id, 0xab, cases[i].per_million }, &t);
        tracing_write(&out, &h, &t);
        AUTO_FREE char *text = buf_take_text(&out);
        if (strcmp(text, cases[i].out) != 0)
            FAIL("%s: %s", cases[i].why, text);
        http1_head_done(&h);
        buf_done(&in);
    }
}

TEST(a_span_is_never_zero)
{
    struct limits limits;
    struct http1_head h;
    struct trace_context t;
    const struct uuid id = { { 1 } };
    limits_default(&limits);
    http1_head_init(&h, HTTP1_REQUEST, &limits);
    CHECK_EQ(http1_head_feed(&h, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27), HTTP1_DONE);
    tracing_begin(&h, &(struct tracing_new){ &id, 0, 0 }, &t);
    CHECK(t.span != 0);
    http1_head_done(&h);
}
TEST_MAIN()
