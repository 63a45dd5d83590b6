/* metrics.h -- what /metrics says, and the percentiles per function and phase.
 *
 * Receives finished invocation records and starts, reached limits, and (when asked to write) the
 * gauges of their owners. Owns one small struct per function that something happened to; a function
 * nothing happened to costs nothing. Emits Prometheus text 0.0.4 with OpenTelemetry's names
 * (faas.*) where they exist, and struct metrics_report.
 * Refuses nothing: functions beyond limits.objects_max are counted together as "other", and
 * counted as that limit reached. Everything is since the process began, except the start-up
 * budget, which looks at the last METRICS_RECENT starts so that it can recover.
 * Loop thread only; reads no clock.
 */
#pragma once

#include "base/buf.h"
#include "base/limits.h"
#include "telemetry/record.h"

struct metrics;
enum { METRICS_RECENT = 256 };

struct metrics *metrics_new(const struct limits *limits, uint64_t seed);
void metrics_free(struct metrics *m);
DEFINE_AUTO(metrics, struct metrics *, metrics_free)

void metrics_record(struct metrics *m, const struct invocation_record *r);
/* Once per start, when it became ready (PHASE_READY has begun) or failed; times as phase_relative()
 * leaves them. The phases `ready` and `first_request_delta` are not known yet: */
void metrics_start(struct metrics *m, const char *ns, const char *service,
                   const struct start_record *r);
/* once per start whose instance got a request. */
void metrics_first_request(struct metrics *m, const char *ns, const char *service, int64_t ready_us,
                           int64_t first_request_delta_us);
void metrics_limit(struct metrics *m,
                   const char *limit); /* a name of base/limits.h, reached once */
uint64_t metrics_limit_reached(const struct metrics *m, const char *limit); /* how often */
/* What the gateway answered itself, as it counts it: name(i) of counts[i], until NULL. Both outlive the reports. */
void metrics_refusals(struct metrics *m, const char *(*name)(size_t i), const uint64_t *counts);
void metrics_forget(struct metrics *m, const char *ns, const char *service); /* it was deleted */

/* Median of the handler's time (dispatch to first byte) of warm invocations; false: none yet. */
bool metrics_warm_median(const struct metrics *m, const char *ns, const char *service,
                         uint64_t *ret_us);

/* ---- reports ---- */

struct metrics_percentiles {
    uint64_t count, p50_us, p90_us, p99_us, max_us;
};
struct metrics_phase {
    struct metrics_percentiles time;
    uint64_t failures; /* starts that this phase failed; not among `time` */
};
enum metrics_budget {
    METRICS_BUDGET_NONE,
    METRICS_BUDGET_UNKNOWN /* no start yet */,
    METRICS_BUDGET_KEPT,
    METRICS_BUDGET_MISSED
};
struct metrics_report {
    uint64_t invocations, cold;
    double cold_frequency; /* cold / invocations; 0 without invocations */
    uint64_t starts, starts_failed;
    struct metrics_phase phases[PHASES];
    struct metrics_percentiles ready;          /* start decided to ready */
    struct metrics_percentiles handler, total; /* dispatch to first byte; arrival to the end */
    enum metrics_budget budget;
    uint32_t budget_ms;
    double budget_percentile;
    uint64_t budget_measured_us; /* UINT64_MAX: that percentile did not become ready at all */
    enum phase budget_phase;     /* of the start at that percentile: where most of its time went, or failed */
    uint32_t budget_phase_us;    /* 0 when it failed */
};
/* budget_ms 0: none. A function that nothing happened to has an empty report. */
void metrics_report(const struct metrics *m, const char *ns, const char *service,
                    uint32_t budget_ms, double budget_percentile, struct metrics_report *ret);
/* A missed budget as a sentence that names the phase. */
void metrics_budget_text(const struct metrics_report *r, char *into, size_t size);

/* ---- exposition ---- */

struct metrics_function { /* gauges of one function, as its owner knows them now */
    const char *ns, *service;
    uint64_t in_flight, queued, instances_ready, instances_starting, instances_wanted;
    /* The autoscaler's last tick. */
    uint64_t desired, panicking;
    double stable, panic, target; /* of its metric: averages of the windows, aimed at per instance */
    double excess_burst;
};
struct metrics_value {       /* one value of the node: hob_<name> */
    const char *name, *help; /* name without "hob_"; a counter's ends with _total */
    bool counter;
    double value;
};
struct metrics_source {
    void *ctx;
    /* Calls emit(emit_ctx, f) for each function; called several times for one page. May be NULL. */
    void (*functions)(void *ctx, void (*emit)(void *emit_ctx, const struct metrics_function *f),
                      void *emit_ctx);
    const struct metrics_value *values;
    size_t value_count;
};
/* Content-Type: METRICS_TYPE. b->overflow: the page did not fit. */
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
void metrics_write(const struct metrics *m, const struct metrics_source *source, struct buf *b);
