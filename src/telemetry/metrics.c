#include "telemetry/metrics.h"
#include "base/hist.h"
#include "base/list.h"
#include "base/map.h"
#include "telemetry/dist.h"
#include "telemetry/exposition.h"

#include <stdio.h>
#include <stdlib.h>

enum { STATUS_CLASSES = 6, NAME_MAX_BYTES = 160 };

/* The last METRICS_RECENT starts; a ready time of RECENT_NEVER stands for one that failed. */
#define RECENT_NEVER UINT32_MAX
struct recent_start {
    uint32_t ready_us;
    uint32_t phase_us; /* of the phase that took the most, or that failed */
    enum phase phase;
};
struct recent {
    struct recent_start *at;
    uint16_t count, capacity, next;
};

struct function {
    struct list_node node;
    char *name; /* "namespace/service" */
    uint64_t outcomes[INVOCATION_OUTCOMES];
    uint64_t statuses[STATUS_CLASSES]; /* [0]: none was sent */
    uint64_t cold, starts, starts_failed;
    struct buckets invoke, request, init;
    struct dist handler, warm_handler, total, ready, phases[PHASES];
    uint32_t phase_failures[PHASES];
    struct recent recent;
};

struct metrics {
    struct map by_name;
    struct list functions; /* in the order they appeared, so that pages are comparable */
    uint64_t functions_max;
    struct function *other; /* shared by all beyond functions_max */
    struct buckets phases[PHASES], queue;
    uint64_t cache_states[CACHES][CACHE_HIT + 1];
    uint64_t request_bytes, response_bytes;
    uint64_t *limits_reached; /* parallel to limit_rows */
    const char *(*refusal_name)(size_t i);
    const uint64_t *refusals; /* the gateway's; NULL: none is known */
};

/* ---- functions ---- */

static void function_free(struct function *f)
{
    dist_done(&f->handler);
    dist_done(&f->warm_handler);
    dist_done(&f->total);
    dist_done(&f->ready);
    for (unsigned p = 0; p < PHASES; p++)
        dist_done(&f->phases[p]);
    free(f->recent.at);
    free(f->name);
    free(f);
}

static struct function *function_new(const char *name)
{
    struct function *f = xcalloc(1, sizeof *f);
    f->name = xstrdup(name);
    return f;
}

static struct str name_of(const char *ns, const char *service, char into[static NAME_MAX_BYTES])
{
    int size = snprintf(into, NAME_MAX_BYTES, "%s/%s", ns, service);
    ASSERT(size > 0 && size < NAME_MAX_BYTES); /* both are DNS labels, of at most 63 bytes */
    return (struct str){ into, (size_t)size };
}

static struct function *function_find(const struct metrics *m, const char *ns, const char *service)
{
    char name[NAME_MAX_BYTES];
    return map_find(&m->by_name, name_of(ns, service, name));
}

static struct function *function_get(struct metrics *m, const char *ns, const char *service)
{
    char name[NAME_MAX_BYTES];
    struct str key = name_of(ns, service, name);
    struct function *f = map_find(&m->by_name, key);
    if (f)
        return f;
    if (m->by_name.count >= m->functions_max) {
        metrics_limit(m, "objects_max");
        if (!m->other) {
            m->other = function_new("other");
            list_push(&m->functions, &m->other->node);
        }
        return m->other;
    }
    f = function_new(name);
    map_put(&m->by_name, key, f);
    list_push(&m->functions, &f->node);
    return f;
}

void metrics_forget(struct metrics *m, const char *ns, const char *service)
{
    char name[NAME_MAX_BYTES];
    struct function *f = map_remove(&m->by_name, name_of(ns, service, name));
    if (!f)
        return;
    list_remove(&m->functions, &f->node);
    function_free(f);
}

struct metrics *metrics_new(const struct limits *limits, uint64_t seed)
{
    struct metrics *m = xcalloc(1, sizeof *m);
    map_init(&m->by_name, seed);
    list_init(&m->functions);
    m->functions_max = limits->objects_max;
    m->limits_reached = xcalloc(limit_row_count, sizeof *m->limits_reached);
    return m;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    LIST_EACH(&m->functions, n, tmp)
        function_free(CONTAINER_OF(n, struct function, node));
    map_done(&m->by_name);
    free(m->limits_reached);
    free(m);
}

/* ---- what happened ---- */

static void handler_add(struct function *f, const struct invocation_record *r)
{
    uint64_t handler_us = r->first_byte_us - r->dispatch_us;
    dist_add(&f->handler, handler_us);
    if (!r->cold)
        dist_add(&f->warm_handler, handler_us);
}

void metrics_record(struct metrics *m, const struct invocation_record *r)
{
    struct function *f = function_get(m, r->ns, r->service);
    bool dispatched = r->dispatch_us > 0 || r->first_byte_us > 0;
    ASSERT((unsigned)r->outcome < INVOCATION_OUTCOMES);
    f->outcomes[r->outcome]++;
    f->statuses[r->status >= 100 && r->status < 600 ? r->status / 100 : 0]++;
    f->cold += r->cold;
    m->request_bytes += r->request_bytes;
    m->response_bytes += r->response_bytes;

    dist_add(&f->total, r->total_us);
    buckets_add(&f->request, buckets_invoke_us, r->total_us);
    if (!dispatched)
        return;
    if (r->cold) { /* one whose start failed had no such phase: it never left the queue */
        buckets_add(&m->phases[PHASE_QUEUE], buckets_phase_us, r->queue_us);
        dist_add(&f->phases[PHASE_QUEUE], r->queue_us);
    }
    buckets_add(&m->queue, buckets_phase_us, r->dispatch_us);
    buckets_add(&f->invoke, buckets_invoke_us, r->total_us - MIN(r->dispatch_us, r->total_us));
    if (r->first_byte_us >= r->dispatch_us && r->first_byte_us > 0)
        handler_add(f, r);
}

static void recent_add(struct recent *recent, struct recent_start start)
{
    if (recent->count == recent->capacity && recent->capacity < METRICS_RECENT) {
        recent->capacity = recent->capacity ? (uint16_t)(recent->capacity * 2) : 8;
        recent->at = xrealloc(recent->at, recent->capacity, sizeof *recent->at);
    }
    if (recent->count < recent->capacity) {
        recent->at[recent->count++] = start;
        return;
    }
    recent->at[recent->next] = start;
    recent->next = (uint16_t)((recent->next + 1) % METRICS_RECENT);
}

static void phase_add(struct metrics *m, struct function *f, enum phase p, int64_t duration_us)
{
    uint64_t us = (uint64_t)MAX(duration_us, 0);
    dist_add(&f->phases[p], us);
    buckets_add(&m->phases[p], buckets_phase_us, us);
}

static bool counted_at_start(unsigned p)
{
    return p != PHASE_QUEUE && p != PHASE_READY && p != PHASE_FIRST_REQUEST_DELTA;
}

/* Where the record says when it was ready, that; otherwise the end of its last phase. */
static uint64_t ready_us(const struct start_record *r)
{
    uint64_t last_us = 0;
    if (r->phases[PHASE_READY].outcome != PHASE_ABSENT)
        return r->phases[PHASE_READY].start_us;
    for (unsigned p = 0; p < PHASES; p++)
        if (counted_at_start(p) && r->phases[p].outcome != PHASE_ABSENT)
            last_us =
                MAX(last_us, r->phases[p].start_us + (uint64_t)MAX(r->phases[p].duration_us, 0));
    return last_us;
}

/* Where the time of a start went. What the function told of its own start lies inside runtime_init, and is
 * taken out of it. */
static struct recent_start longest(const struct start_record *r, uint32_t ready_us)
{
    static const enum phase own[] = { PHASE_MODEL_LOAD, PHASE_ALLOCATE, PHASE_WARMUP };
    struct recent_start start = { .ready_us = ready_us, .phase = PHASE_SCHEDULE };
    for (unsigned p = 0; p < PHASES; p++) {
        int64_t us = r->phases[p].outcome == PHASE_ABSENT ? 0 : r->phases[p].duration_us;
        for (size_t k = 0; p == PHASE_RUNTIME_INIT && k < COUNT_OF(own); k++)
            us -= r->phases[own[k]].outcome == PHASE_ABSENT ? 0 : r->phases[own[k]].duration_us;
        if (counted_at_start(p) && us > (int64_t)start.phase_us)
            start = (struct recent_start){ ready_us, (uint32_t)MIN(us, (int64_t)RECENT_NEVER - 1),
                                           (enum phase)p };
    }
    return start;
}

void metrics_start(struct metrics *m, const char *ns, const char *service,
                   const struct start_record *r)
{
    struct function *f = function_get(m, ns, service);
    f->starts++;
    for (unsigned c = 0; c < CACHES; c++)
        m->cache_states[c][r->caches[c]]++;
    for (unsigned p = 0; p < PHASES; p++) {
        enum phase_outcome o = r->phases[p].outcome;
        if (counted_at_start(p) && (o == PHASE_DONE || o == PHASE_WARM))
            phase_add(m, f, (enum phase)p, r->phases[p].duration_us);
    }
    if (r->failed) {
        f->starts_failed++;
        f->phase_failures[r->failed_phase]++;
        recent_add(&f->recent, (struct recent_start){ .ready_us = RECENT_NEVER, .phase = r->failed_phase });
        return;
    }
    uint64_t us = ready_us(r);
    dist_add(&f->ready, us);
    buckets_add(&f->init, buckets_invoke_us, us);
    recent_add(&f->recent, longest(r, (uint32_t)MIN(us, RECENT_NEVER - 1)));
}

void metrics_first_request(struct metrics *m, const char *ns, const char *service,
                           int64_t after_ready_us, int64_t first_request_delta_us)
{
    struct function *f = function_get(m, ns, service);
    phase_add(m, f, PHASE_READY, after_ready_us);
    phase_add(m, f, PHASE_FIRST_REQUEST_DELTA, first_request_delta_us);
}

void metrics_limit(struct metrics *m, const char *limit)
{
    for (size_t i = 0; i < limit_row_count; i++) {
        if (strcmp(limit_rows[i].name, limit) == 0) {
            m->limits_reached[i]++;
            return;
        }
    }
    UNREACHABLE("every limit has a row in base/limits.h");
}

void metrics_refusals(struct metrics *m, const char *(*name)(size_t i), const uint64_t *counts)
{
    m->refusal_name = name;
    m->refusals = counts;
}

uint64_t metrics_limit_reached(const struct metrics *m, const char *limit)
{
    for (size_t i = 0; i < limit_row_count; i++)
        if (strcmp(limit_rows[i].name, limit) == 0)
            return m->limits_reached[i];
    return 0;
}

bool metrics_warm_median(const struct metrics *m, const char *ns, const char *service,
                         uint64_t *ret_us)
{
    const struct function *f = function_find(m, ns, service);
    if (!f || dist_count(&f->warm_handler) == 0)
        return false;
    *ret_us = dist_percentile(&f->warm_handler, 50);
    return true;
}

/* ---- reports ---- */

static struct metrics_percentiles percentiles_of(const struct dist *d)
{
    return (struct metrics_percentiles){ dist_count(d), dist_percentile(d, 50),
                                         dist_percentile(d, 90), dist_percentile(d, 99),
                                         dist_max(d) };
}

static int by_value(const void *a, const void *b)
{
    const struct recent_start *x = a, *y = b;
    return (x->ready_us > y->ready_us) - (x->ready_us < y->ready_us);
}

/* The smallest time within which at least `percent` of the recent starts were ready. */
static void budget_judge(const struct recent *recent, struct metrics_report *ret)
{
    struct recent_start sorted[METRICS_RECENT];
    if (recent->count == 0) {
        ret->budget = METRICS_BUDGET_UNKNOWN;
        return;
    }
    memcpy(sorted, recent->at, recent->count * sizeof sorted[0]);
    qsort(sorted, recent->count, sizeof sorted[0], by_value);
    const struct recent_start *judged =
        &sorted[hist_rank(recent->count, ret->budget_percentile) - 1];
    ret->budget_measured_us = judged->ready_us == RECENT_NEVER ? UINT64_MAX : judged->ready_us;
    ret->budget_phase = judged->phase;
    ret->budget_phase_us = judged->phase_us;
    bool kept = ret->budget_measured_us <= (uint64_t)ret->budget_ms * 1000;
    ret->budget = kept ? METRICS_BUDGET_KEPT : METRICS_BUDGET_MISSED;
}

void metrics_report(const struct metrics *m, const char *ns, const char *service,
                    uint32_t budget_ms, double budget_percentile, struct metrics_report *ret)
{
    static const struct function nothing;
    const struct function *f = function_find(m, ns, service);
    ASSERT(budget_percentile >= 0 && budget_percentile <= 100);
    if (!f)
        f = &nothing;
    *ret = (struct metrics_report){ .cold = f->cold,
                                    .starts = f->starts,
                                    .starts_failed = f->starts_failed,
                                    .budget_ms = budget_ms,
                                    .budget_percentile = budget_percentile };
    for (unsigned o = 0; o < INVOCATION_OUTCOMES; o++)
        ret->invocations += f->outcomes[o];
    if (ret->invocations > 0)
        ret->cold_frequency = (double)f->cold / (double)ret->invocations;
    for (unsigned p = 0; p < PHASES; p++)
        ret->phases[p] =
            (struct metrics_phase){ percentiles_of(&f->phases[p]), f->phase_failures[p] };
    ret->ready = percentiles_of(&f->ready);
    ret->handler = percentiles_of(&f->handler);
    ret->total = percentiles_of(&f->total);
    if (budget_ms > 0)
        budget_judge(&f->recent, ret);
}

void metrics_budget_text(const struct metrics_report *r, char *into, size_t size)
{
    if (r->budget_measured_us == UINT64_MAX)
        snprintf(into, size,
                 "too many of the recent starts failed for a budget of %u ms at the %gth percentile; the "
                 "time went into %s",
                 r->budget_ms, r->budget_percentile, phase_name(r->budget_phase));
    else
        snprintf(into, size,
                 "the %gth percentile of the recent starts is %llu ms, the budget %u ms; most of it, %u ms, "
                 "went into %s",
                 r->budget_percentile, (unsigned long long)(r->budget_measured_us / 1000), r->budget_ms,
                 r->budget_phase_us / 1000, phase_name(r->budget_phase));
}

/* ---- exposition ---- */

#define LABELS(...) ((struct exposition_labels){ { __VA_ARGS__ } })
#define OF(f) \
    { \
        "faas_name", (f)->name \
    }

#define EACH_FUNCTION(m, f) \
    LIST_EACH(&(m)->functions, n_, tmp_) \
        for (const struct function *f = CONTAINER_OF(n_, struct function, node); f; f = NULL)

static uint64_t invocations_of(const struct function *f)
{
    uint64_t sum = 0;
    for (unsigned o = 0; o < INVOCATION_OUTCOMES; o++)
        sum += f->outcomes[o];
    return sum;
}
static uint64_t errors_of(const struct function *f)
{
    return f->outcomes[INVOCATION_FUNCTION_ERROR] + f->outcomes[INVOCATION_FAILED];
}
static uint64_t timeouts_of(const struct function *f) { return f->outcomes[INVOCATION_TIMEOUT]; }
static uint64_t cold_of(const struct function *f) { return f->cold; }
static uint64_t starts_of(const struct function *f) { return f->starts; }

static void write_counters(const struct metrics *m, struct buf *b)
{
    static const struct {
        const char *name, *help;
        uint64_t (*of)(const struct function *f);
    } rows[] = {
        { "faas_invocations_total", "Invocations, whatever became of them.", invocations_of },
        { "faas_errors_total", "Invocations that failed: 5xx of the function, or no instance.",
          errors_of },
        { "faas_timeouts_total", "Invocations cut at their deadline.", timeouts_of },
        { "faas_coldstarts_total", "Invocations that waited for a start.", cold_of },
        { "hob_starts_total", "Starts of instances, failed ones included.", starts_of },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        exposition_family(b, rows[i].name, "counter", rows[i].help);
        EACH_FUNCTION(m, f)
        exposition_sample(b, rows[i].name, "", LABELS(OF(f)), (double)rows[i].of(f));
    }
}

static void write_outcomes(const struct metrics *m, struct buf *b)
{
    static const char *const classes[STATUS_CLASSES] = {
        "none", "1xx", "2xx", "3xx", "4xx", "5xx"
    };
    exposition_family(b, "hob_invocations_total", "counter", "Invocations by outcome.");
    EACH_FUNCTION(m, f)
    for (unsigned o = 0; o < INVOCATION_OUTCOMES; o++)
        if (f->outcomes[o])
            exposition_sample(
                b, "hob_invocations_total", "",
                LABELS(OF(f), { "outcome", invocation_outcome_name((enum invocation_outcome)o) }),
                (double)f->outcomes[o]);
    exposition_family(b, "hob_responses_total", "counter", "Answers by class of status.");
    EACH_FUNCTION(m, f)
    for (unsigned c = 0; c < STATUS_CLASSES; c++)
        if (f->statuses[c])
            exposition_sample(b, "hob_responses_total", "", LABELS(OF(f), { "code", classes[c] }),
                              (double)f->statuses[c]);
    exposition_family(b, "hob_start_failures_total", "counter",
                      "Failed starts by the phase that failed.");
    EACH_FUNCTION(m, f)
    for (unsigned p = 0; p < PHASES; p++)
        if (f->phase_failures[p])
            exposition_sample(b, "hob_start_failures_total", "",
                              LABELS(OF(f), { "phase", phase_name((enum phase)p) }),
                              (double)f->phase_failures[p]);
}

static void write_histograms(const struct metrics *m, struct buf *b)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } rows[] = {
        { "faas_invoke_duration_seconds",
          "From the dispatch to an instance to the answer's last byte.",
          offsetof(struct function, invoke) },
        { "faas_init_duration_seconds",
          "From the decision to start an instance until it was ready.",
          offsetof(struct function, init) },
        { "hob_request_duration_seconds",
          "From the arrival of a request to its end, waiting included.",
          offsetof(struct function, request) },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        exposition_family(b, rows[i].name, "histogram", rows[i].help);
        EACH_FUNCTION(m, f)
        {
            const struct buckets *h = (const void *)((const char *)f + rows[i].offset);
            if (h->count)
                exposition_buckets(b, rows[i].name, LABELS(OF(f)), h, buckets_invoke_us);
        }
    }
    exposition_family(b, "hob_start_phase_seconds", "histogram",
                      "Phases of cold starts, over all functions.");
    for (unsigned p = 0; p < PHASES; p++)
        if (m->phases[p].count)
            exposition_buckets(b, "hob_start_phase_seconds",
                               LABELS({ "phase", phase_name((enum phase)p) }), &m->phases[p],
                               buckets_phase_us);
    exposition_family(b, "hob_dispatch_wait_seconds", "histogram",
                      "From the arrival of a request to its dispatch.");
    exposition_buckets(b, "hob_dispatch_wait_seconds", LABELS({ 0 }), &m->queue, buckets_phase_us);
}

static void write_node(const struct metrics *m, struct buf *b)
{
    exposition_family(b, "hob_start_caches_total", "counter", "What starts found in the caches.");
    for (unsigned c = 0; c < CACHES; c++)
        for (unsigned s = 0; s <= CACHE_HIT; s++)
            if (m->cache_states[c][s])
                exposition_sample(b, "hob_start_caches_total", "",
                                  LABELS({ "cache", cache_name((enum cache)c) },
                                         { "state", cache_state_name((enum cache_state)s) }),
                                  (double)m->cache_states[c][s]);
    exposition_family(b, "hob_request_bytes_total", "counter", "Bytes of request bodies.");
    exposition_sample(b, "hob_request_bytes_total", "", LABELS({ 0 }), (double)m->request_bytes);
    exposition_family(b, "hob_response_bytes_total", "counter", "Bytes of answer bodies.");
    exposition_sample(b, "hob_response_bytes_total", "", LABELS({ 0 }), (double)m->response_bytes);
    exposition_family(b, "hob_limit_reached_total", "counter",
                      "How often a limit was reached; see hob limits.");
    for (size_t i = 0; i < limit_row_count; i++)
        if (m->limits_reached[i])
            exposition_sample(b, "hob_limit_reached_total", "",
                              LABELS({ "limit", limit_rows[i].name }),
                              (double)m->limits_reached[i]);
    exposition_family(b, "hob_refusals_total", "counter", "Requests that hob answered itself, by problem.");
    for (size_t i = 0; m->refusals && m->refusal_name(i); i++)
        if (m->refusals[i])
            exposition_sample(b, "hob_refusals_total", "", LABELS({ "problem", m->refusal_name(i) }),
                              (double)m->refusals[i]);
}

struct gauge_row {
    const char *name, *help; /* help NULL: the same family as the row before */
    const char *label, *value;
    size_t offset;
    bool real; /* a double, else uint64_t */
};
/* Knative's dashboards choose by these; everything else by faas_name. */
static bool row_is_knatives(const struct gauge_row *row) { return strncmp(row->name, "kn_", 3) == 0; }

struct gauge_page {
    struct buf *b;
    const struct gauge_row *row;
};
static void gauge_emit(void *ctx, const struct metrics_function *f)
{
    const struct gauge_page *page = ctx;
    const struct gauge_row *row = page->row;
    const void *at = (const char *)f + row->offset;
    char name[NAME_MAX_BYTES];
    name_of(f->ns, f->service, name);
    struct exposition_labels labels = LABELS({ "faas_name", name });
    if (row_is_knatives(row))
        labels = LABELS({ "k8s_namespace_name", f->ns }, { "kn_service_name", f->service });
    else if (row->label)
        labels.at[1] = (struct exposition_label){ row->label, row->value };
    exposition_sample(page->b, row->name, "", labels,
                      row->real ? *(const double *)at : (double)*(const uint64_t *)at);
}

static void write_gauges(const struct metrics_source *source, struct buf *b)
{
#define AT(field) offsetof(struct metrics_function, field)
    static const struct gauge_row rows[] = {
        { "hob_autoscaler_desired", "Instances by the autoscaler's last tick, before min and max.", NULL, NULL,
          AT(desired), false },
        { "hob_autoscaler_excess_burst_capacity", "Requests that what is ready takes beyond the load and the burst.",
          NULL, NULL, AT(excess_burst), true },
        { "hob_autoscaler_load", "Its metric, averaged over the window.", "window", "stable", AT(stable), true },
        { "hob_autoscaler_load", NULL, "window", "panic", AT(panic), true },
        { "hob_autoscaler_panic", "1 while it is in a panic.", NULL, NULL, AT(panicking), false },
        { "hob_autoscaler_target", "Of its metric, aimed at per instance.", NULL, NULL, AT(target), true },
        { "hob_in_flight", "Requests at instances.", NULL, NULL, AT(in_flight), false },
        { "hob_queued", "Requests waiting for an instance.", NULL, NULL, AT(queued), false },
        { "hob_instances", "Instances by state; wanted is the autoscaler's decision.", "state", "ready",
          AT(instances_ready), false },
        { "hob_instances", NULL, "state", "starting", AT(instances_starting), false },
        { "hob_instances", NULL, "state", "wanted", AT(instances_wanted), false },
        { "kn_revision_capacity_excess", "Knative's name of hob_autoscaler_excess_burst_capacity.", NULL, NULL,
          AT(excess_burst), true },
        { "kn_revision_concurrency_panic", "Knative's name of hob_autoscaler_load, panic.", NULL, NULL, AT(panic), true },
        { "kn_revision_concurrency_stable", "Knative's name of hob_autoscaler_load, stable.", NULL, NULL, AT(stable), true },
        { "kn_revision_concurrency_target", "Knative's name of hob_autoscaler_target.", NULL, NULL, AT(target), true },
        { "kn_revision_pods_count", "Knative's name of hob_instances, ready.", NULL, NULL, AT(instances_ready), false },
        { "kn_revision_pods_desired", "Knative's name of hob_autoscaler_desired.", NULL, NULL, AT(desired), false },
        { "kn_revision_pods_pending_count", "Knative's name of hob_instances, starting.", NULL, NULL,
          AT(instances_starting), false },
        { "kn_revision_pods_requested", "Knative's name of hob_instances, wanted.", NULL, NULL, AT(instances_wanted), false },
        { "kn_revision_request_active", "Knative's name of hob_in_flight.", NULL, NULL, AT(in_flight), false },
        { "kn_revision_request_queued", "Knative's name of hob_queued.", NULL, NULL, AT(queued), false },
    };
#undef AT
    for (size_t i = 0; i < COUNT_OF(rows) && source->functions; i++) {
        struct gauge_page page = { b, &rows[i] };
        if (rows[i].help)
            exposition_family(b, rows[i].name, "gauge", rows[i].help);
        source->functions(source->ctx, gauge_emit, &page);
    }
    for (size_t i = 0; i < source->value_count; i++) {
        const struct metrics_value *v = &source->values[i];
        char name[NAME_MAX_BYTES];
        snprintf(name, sizeof name, "hob_%s", v->name);
        exposition_family(b, name, v->counter ? "counter" : "gauge", v->help);
        exposition_sample(b, name, "", LABELS({ 0 }), v->value);
    }
}

void metrics_write(const struct metrics *m, const struct metrics_source *source, struct buf *b)
{
    exposition_family(b, "hob_build_info", "gauge", "1, and which hob this is.");
    exposition_sample(b, "hob_build_info", "", LABELS({ "version", HOB_VERSION }), 1);
    write_counters(m, b);
    write_outcomes(m, b);
    write_histograms(m, b);
    write_node(m, b);
    write_gauges(source, b);
}
