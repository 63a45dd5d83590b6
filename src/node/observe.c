#include "node/observe.h"

#include "telemetry/request_log.h"

#include <stdlib.h>
#include <unistd.h>

struct observe {
    struct otlp_resource resource;
    struct observe_sinks sinks;
    struct request_log *log;   /* NULL: none */
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
    return fetcher_link_post(o->sinks.fetcher, body, &q, e);
}

static void limit_reached(void *ctx, const char *limit)
{
    struct observe *o = ctx;
    o->sinks.on_limit(o->sinks.ctx, limit);
}

static const struct exporter_ops exporter_ops = { post, limit_reached };

enum ingress_notes observe_notes(const struct observe *o)
{
    if (o->log)
        return INGRESS_NOTES_ALL;
    return o->exporter ? INGRESS_NOTES_SAMPLED : INGRESS_NOTES_NONE;
}

void observe_attach(struct observe *o, int take_fd)
{
    if (o->log)
        request_log_attach(o->log, take_fd);
    else
        (void)close(take_fd);
}

void observe_record(struct observe *o, const struct invocation_record *r)
{
    if (o->log)
        request_log_record(o->log, r);
    if (o->exporter)
        exporter_record(o->exporter, r);
}

void observe_flush(struct observe *o)
{
    if (o->exporter)
        exporter_flush(o->exporter);
}

bool observe_idle(const struct observe *o)
{
    return (!o->exporter || exporter_idle(o->exporter)) && (!o->log || request_log_idle(o->log));
}

size_t observe_values(const struct observe *o, struct metrics_value *into, size_t max)
{
    struct exporter_counts c = o->exporter ? exporter_counts(o->exporter) : (struct exporter_counts){ 0 };
    struct request_log_counts lines = o->log ? request_log_counts(o->log) : (struct request_log_counts){ 0 };
    size_t count = 0;
#define VALUE(text, why, is_counter, number)                                                        \
    do {                                                                                             \
        if (count < max)                                                                             \
            into[count++] = (struct metrics_value){ text, why, is_counter, (double)(number) };       \
    } while (0)
    VALUE("request_log_lines_total", "Lines written to the request log.", true, lines.lines);
    VALUE("request_log_dropped_total", "Lines not written: no room, or the write failed.", true, lines.dropped);
    VALUE("trace_spans_sent_total", "Spans that the collector took.", true, c.spans);
    VALUE("trace_spans_dropped_total", "Spans given up: refused, tried too often, or no room.", true, c.dropped);
    VALUE("trace_retries_total", "Batches of spans to be sent again.", true, c.retries);
    VALUE("trace_held_bytes", "Spans that wait for the collector.", false, c.held_bytes);
#undef VALUE
    return count;
}

/* ---- life ---- */

int observe_open(struct loop *l, const struct observe_config *c, const struct observe_sinks *sinks, uint64_t seed,
                 struct observe **ret, struct err *e)
{
    AUTO(observe) struct observe *o = xcalloc(1, sizeof *o);
    const char *name = c->service_name && c->service_name[0] ? c->service_name : "hob";
    o->resource = (struct otlp_resource){ .service = name, .version = HOB_VERSION };
    o->sinks = *sinks;
    if (c->traces)
        o->exporter = exporter_new(l, c->limits, &o->resource, &exporter_ops, o, seed);
    int r = c->request_log ? request_log_open(l, c->limits, limit_reached, o, &o->log, e) : 0;
    if (r < 0)
        return r;
    *ret = TAKE(o);
    return 0;
}

void observe_free(struct observe *o)
{
    if (!o)
        return;
    request_log_free(o->log);
    exporter_free(o->exporter);
    free(o);
}
