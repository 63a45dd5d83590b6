#include "gateway/tracing.h"

/* The only one there is. Two are as good as none: nobody knows which is true. */
static bool parent_find(const struct http1_head *h, struct str *ret)
{
    uint32_t count = 0;
    if (!http1_has(h, HTTP_FIELD_TRACEPARENT))
        return false;
    for (uint32_t i = 0; i < h->field_count; i++)
        count += h->fields[i].id == HTTP_FIELD_TRACEPARENT;
    *ret = http1_field(h, HTTP_FIELD_TRACEPARENT);
    return count == 1;
}

void tracing_begin(const struct http1_head *h, const struct tracing_new *n, struct trace_context *ret)
{
    struct str parent;
    struct trace_context t = { .span = n->random ? n->random : 1 }; /* zero is no span */
    _Static_assert(sizeof t.trace_id == sizeof n->id->at, "an invocation's id is a trace's");
    if (!parent_find(h, &parent) || !traceparent_parse(parent, &t)) {
        memcpy(t.trace_id, n->id->at, sizeof t.trace_id);
        t.sampled = trace_sampled(t.trace_id, n->per_million);
    }
    *ret = t;
}

static void state_write(struct buf *b, const struct http1_head *h)
{
    struct tracestate s = { .count = 0 };
    char room[TRACESTATE_BYTES_MAX];
    struct buf kept = { .base = room, .capacity = sizeof room, .max = sizeof room };
    for (uint32_t i = 0; i < h->field_count; i++)
        if (h->fields[i].id == HTTP_FIELD_TRACESTATE)
            tracestate_add(&s, h->fields[i].value);
    if (!tracestate_write(&s, &kept))
        return;
    ASSERT(!kept.overflow);
    buf_str_append(b, STR("tracestate: "));
    buf_str_append(b, buf_str(&kept));
    buf_str_append(b, STR("\r\n"));
}

void tracing_write(struct buf *b, const struct http1_head *h, const struct trace_context *t)
{
    char text[TRACEPARENT_TEXT];
    traceparent_format(t, text);
    buf_str_append(b, STR("traceparent: "));
    buf_append(b, text, sizeof text - 1);
    buf_str_append(b, STR("\r\n"));
    if (t->parent_span != 0 && http1_has(h, HTTP_FIELD_TRACESTATE))
        state_write(b, h);
}
