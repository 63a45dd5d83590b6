#include "telemetry/exporter.h"

#include "base/log.h"
#include "base/rng.h"

#include <stdlib.h>

enum { PAUSE_FIRST_MS = 1000, PAUSE_MAX_MS = 30000, RETRY_AFTER_MAX_MS = 300000 };

struct batch {
    struct list_node node;
    struct buf text;
    uint32_t spans;
};
struct exporter {
    struct loop *loop;
    const struct limits *limits;
    const struct otlp_resource *resource;
    const struct exporter_ops *ops;
    void *ctx;
    struct rng rng;
    struct batch *open; /* being filled; NULL: none */
    struct list full;   /* the first is under way, or waits for its next try */
    struct loop_timer close_timer, send_timer;
    uint32_t tried; /* of the first */
    uint64_t full_bytes;
    bool sending, unwell, flushing;
    struct exporter_counts counts;
};

/* Under way means: at the head, and nothing touches it until the answer. */
static void exporter_check(const struct exporter *x)
{
    ASSERT(!x->sending || x->full.count > 0);
    ASSERT((x->full.count == 0) == (x->full_bytes == 0));
    ASSERT(!x->open || x->open->spans > 0);
}

/* ---- what next, purely ---- */

static bool worth_a_retry(int status)
{
    return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

int64_t exporter_pause_ms(const struct exporter_answer *a, uint32_t tried, uint32_t attempts_max, uint64_t random)
{
    if (!worth_a_retry(a->status) || tried >= attempts_max)
        return -1;
    if (a->retry_after_ms >= 0)
        return MIN(a->retry_after_ms, RETRY_AFTER_MAX_MS);
    int64_t pause_ms = MIN((int64_t)PAUSE_FIRST_MS << MIN(tried - 1, 10U), PAUSE_MAX_MS);
    return pause_ms / 2 + (int64_t)(random % (uint64_t)(pause_ms / 2 + 1)); /* many nodes, one collector */
}

/* ---- batches ---- */

static void batch_free(struct batch *b)
{
    if (!b)
        return;
    buf_done(&b->text);
    free(b);
}

static void send_first(struct exporter *x);

static void batch_close(struct exporter *x)
{
    struct batch *b = TAKE(x->open);
    loop_cancel(x->loop, &x->close_timer);
    otlp_end(&b->text);
    ASSERT(!b->text.overflow);
    x->full_bytes += b->text.size;
    list_push(&x->full, &b->node);
    if (x->full.count == 1)
        send_first(x);
}

static void on_close(struct loop_timer *t)
{
    batch_close(CONTAINER_OF(t, struct exporter, close_timer));
}

static void batch_open(struct exporter *x)
{
    struct batch *b = xcalloc(1, sizeof *b);
    buf_init(&b->text, x->limits->trace_batch_bytes);
    otlp_begin(&b->text, x->resource);
    x->open = b;
    loop_after(x->loop, &x->close_timer, x->flushing ? 0 : x->limits->trace_batch_ms * 1000);
}

static struct batch *first_of(const struct exporter *x)
{
    return CONTAINER_OF(list_first(&x->full), struct batch, node);
}

static void first_done(struct exporter *x)
{
    struct batch *b = first_of(x);
    x->full_bytes -= b->text.size;
    list_remove(&x->full, &b->node);
    batch_free(b);
    x->tried = 0;
    if (x->full.count > 0)
        send_first(x);
}

/* ---- sending ---- */

/* Said when it begins, not with each batch. */
static void unwell(struct exporter *x, const struct exporter_answer *a, bool lost)
{
    if (!x->unwell)
        log_event(LOG_WARN, "traces.not_taken", "status=%d lost=%u error=\"%s\"", a->status,
                  lost ? first_of(x)->spans : 0, LOG_QUOTED(a->why ? a->why : ""));
    x->unwell = true;
}

static void taken(struct exporter *x)
{
    if (x->unwell)
        log_event(LOG_INFO, "traces.taken_again", "dropped=%llu", (unsigned long long)x->counts.dropped);
    x->unwell = false;
    x->counts.spans += first_of(x)->spans;
    first_done(x);
}

static void not_taken(struct exporter *x, const struct exporter_answer *a)
{
    uint32_t most = (uint32_t)x->limits->trace_attempts_max;
    int64_t pause_ms = exporter_pause_ms(a, x->tried, most, rng_next(&x->rng));
    unwell(x, a, pause_ms < 0);
    if (pause_ms >= 0) {
        x->counts.retries++;
        loop_after(x->loop, &x->send_timer, (uint64_t)pause_ms * 1000);
        return;
    }
    x->counts.dropped += first_of(x)->spans;
    first_done(x);
}

static void send_first(struct exporter *x)
{
    struct err e;
    ASSERT(!x->sending && x->full.count > 0);
    loop_cancel(x->loop, &x->send_timer);
    x->tried++;
    if (x->ops->post(x->ctx, buf_str(&first_of(x)->text), &e) >= 0)
        x->sending = true;
    else
        not_taken(x, &(struct exporter_answer){ .retry_after_ms = -1, .why = e.text });
}

static void on_send(struct loop_timer *t) { send_first(CONTAINER_OF(t, struct exporter, send_timer)); }

void exporter_answered(struct exporter *x, const struct exporter_answer *a)
{
    ASSERT(x->sending);
    x->sending = false;
    if (a->status >= 200 && a->status < 300)
        taken(x);
    else
        not_taken(x, a);
    exporter_check(x);
}

/* ---- taking records ---- */

static uint64_t held_bytes(const struct exporter *x)
{
    return x->full_bytes + (x->open ? x->open->text.size : 0);
}

static void drop(struct exporter *x, const char *limit)
{
    x->counts.dropped++; /* at least the server's; how many it would have been is not worth writing them */
    x->ops->on_limit(x->ctx, limit);
}

void exporter_record(struct exporter *x, const struct invocation_record *r)
{
    if (!r->trace.sampled || trace_id_none(&r->trace))
        return;
    if (x->open && x->open->text.max - x->open->text.size < OTLP_RECORD_BYTES_MAX)
        batch_close(x);
    if (held_bytes(x) + OTLP_RECORD_BYTES_MAX > x->limits->trace_held_bytes_max) {
        drop(x, "trace_held_bytes_max");
        return;
    }
    bool first = !x->open;
    if (first)
        batch_open(x);
    x->open->spans += otlp_spans(&x->open->text, r, first);
    ASSERT(!x->open->text.overflow);
    exporter_check(x);
}

void exporter_flush(struct exporter *x)
{
    bool waits = x->full.count > 0 && !x->sending;
    x->flushing = true;
    if (x->open)
        batch_close(x);
    if (waits)
        send_first(x);
}

bool exporter_idle(const struct exporter *x) { return !x->open && x->full.count == 0; }

struct exporter_counts exporter_counts(const struct exporter *x)
{
    struct exporter_counts c = x->counts;
    c.held_bytes = held_bytes(x);
    return c;
}

/* ---- life ---- */

struct exporter *exporter_new(struct loop *l, const struct limits *limits, const struct otlp_resource *resource,
                              const struct exporter_ops *ops, void *ctx, uint64_t seed)
{
    struct exporter *x = xcalloc(1, sizeof *x);
    *x = (struct exporter){ .loop = l, .limits = limits, .resource = resource, .ops = ops, .ctx = ctx, .rng = { seed },
                            .close_timer = { .on_due = on_close }, .send_timer = { .on_due = on_send } };
    list_init(&x->full);
    return x;
}

void exporter_free(struct exporter *x)
{
    if (!x)
        return;
    loop_cancel(x->loop, &x->close_timer);
    loop_cancel(x->loop, &x->send_timer);
    batch_free(x->open);
    for (struct list_node *n; (n = list_first(&x->full)) != NULL;) {
        list_remove(&x->full, n);
        batch_free(CONTAINER_OF(n, struct batch, node));
    }
    free(x);
}
