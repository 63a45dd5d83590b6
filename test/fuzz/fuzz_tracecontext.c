/* Whatever comes in, what goes out reads back as the same; a shortened tracestate needs no more. The
 * first line is a traceparent, the others are fields of tracestate. */
#include "telemetry/tracecontext.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static void parent_check(struct str text)
{
    struct trace_context t = { .span = 5 }, again = { .span = 7 };
    char out[TRACEPARENT_TEXT];
    if (!traceparent_parse(text, &t)) {
        ASSERT(trace_id_none(&t) && t.parent_span == 0 && t.span == 5);
        return;
    }
    ASSERT(!trace_id_none(&t) && t.parent_span != 0 && t.span == 5);
    traceparent_format(&t, out);
    ASSERT(traceparent_parse(str_of(out), &again) && again.parent_span == 5 && again.sampled == t.sampled &&
           again.random == t.random && memcmp(again.trace_id, t.trace_id, sizeof t.trace_id) == 0);
    again.span = t.parent_span;
    traceparent_format(&again, out);
    if (text.at[0] == '0' && text.at[1] == '0') /* but for flags that nobody knows */
        ASSERT(memcmp(out, text.at, TRACEPARENT_TEXT - 3) == 0);
}

static void state_check(struct str text)
{
    struct tracestate s = { .count = 0 }, again = { .count = 0 };
    struct buf first, second;
    buf_init(&first, TRACESTATE_BYTES_MAX), buf_init(&second, TRACESTATE_BYTES_MAX);
    while (text.size > 0)
        tracestate_add(&s, str_cut(&text, '\n'));
    bool some = tracestate_write(&s, &first);
    ASSERT(!first.overflow && some == (first.size > 0) && (!s.bad || !some));
    tracestate_add(&again, buf_str(&first));
    ASSERT(tracestate_write(&again, &second) == some && str_eq(buf_str(&first), buf_str(&second)));
    buf_done(&first), buf_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct str rest = { (const char *)in, size };
    parent_check(str_cut(&rest, '\n'));
    state_check(rest);
    return 0;
}
