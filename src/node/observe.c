#include "node/observe.h"

#include <stdlib.h>

struct observe {
    struct otlp_resource resource;
    struct fetcher_link *fetcher;
    void (*on_limit)(void *ctx, const char *limit);
    void *ctx;
    struct exporter *exporter; /* NULL: no traces */
    struct transfer_head head; /* of the post under way */
};

/* ---- spans ---- */

static void on_head(void *ctx, const struct transfer_head *h)
{
    struct observe *o = ctx;
    o->head = *h;
}

static void on_end(void *ctx, int r, const struct err *e)
{
    struct observe *o = ctx;
    const struct exporter_answer a = { .status = r < 0 ? 0 : o->head.status, .retry_after_ms = o->head.retry_after_ms,
                                       .why = e ? e->text : NULL };
    exporter_answered(o->exporter, &a);
}

static int post(void *ctx, struct str body, struct err *e)
{
    struct observe *o = ctx;
    const struct transfer_request q = { .on_head = on_head, .on_end = on_end, .ctx = o };
    o->head = (struct transfer_head){ .retry_after_ms = -1 };
    return fetcher_link_post(o->fetcher, body, &q, e);
}

static void limit_reached(void *ctx, const char *limit)
{
    struct observe *o = ctx;
    o->on_limit(o->ctx, limit);
}

static const struct exporter_ops exporter_ops = { post, limit_reached };

bool observe_traces(const struct observe *o) { return o->exporter != NULL; }

void observe_record(struct observe *o, const struct invocation_record *r)
{
    if (o->exporter)
        exporter_record(o->exporter, r);
}

void observe_flush(struct observe *o)
{
    if (o->exporter)
        exporter_flush(o->exporter);
}

bool observe_idle(const struct observe *o) { return !o->exporter || exporter_idle(o->exporter); }

size_t observe_values(const struct observe *o, struct metrics_value *into, size_t max)
{
    struct exporter_counts c = o->exporter ? exporter_counts(o->exporter) : (struct exporter_counts){ 0 };
    size_t count = 0;
#define VALUE(text, why, is_counter, number)                                                        \
    do {                                                                                             \
        if (count < max)                                                                             \
            into[count++] = (struct metrics_value){ text, why, is_counter, (double)(number) };       \
    } while (0)
    VALUE("trace_spans_sent_total", "Spans that the collector took.", true, c.spans);
    VALUE("trace_spans_dropped_total", "Spans given up: refused, tried too often, or no room.", true, c.dropped);
    VALUE("trace_retries_total", "Batches of spans to be sent again.", true, c.retries);
    VALUE("trace_held_bytes", "Spans that wait for the collector.", false, c.held_bytes);
#undef VALUE
    return count;
}

/* ---- life ---- */

struct observe *observe_new(struct loop *l, const struct observe_config *c, struct fetcher_link *fetcher,
                            void (*on_limit)(void *ctx, const char *limit), void *ctx, uint64_t seed)
{
    struct observe *o = xcalloc(1, sizeof *o);
    const char *name = c->service_name && c->service_name[0] ? c->service_name : "hob";
    *o = (struct observe){ .resource = { .service = name, .version = HOB_VERSION }, .fetcher = fetcher,
                           .on_limit = on_limit, .ctx = ctx };
    if (c->traces)
        o->exporter = exporter_new(l, c->limits, &o->resource, &exporter_ops, o, seed);
    return o;
}

void observe_free(struct observe *o)
{
    if (!o)
        return;
    exporter_free(o->exporter);
    free(o);
}
