/* exporter.h -- sampled invocations to an OpenTelemetry collector, in batches, without ever waiting for it.
 *
 * Receives records as node.c passes them on. Owns the text of the spans that wait: at most
 * trace_held_bytes_max, in batches of at most trace_batch_bytes, each closed after trace_batch_ms.
 * Emits one batch at a time through its transport, oldest first; what the collector cannot take now (429, 502, 503,
 * 504, or it is not there) is tried again after its Retry-After or a pause that doubles, trace_attempts_max times.
 * Refuses what does not fit: dropped and counted, and counted as that limit reached.
 * docs/decisions/0008. Loop thread only.
 */
#pragma once

#include "base/limits.h"
#include "os/loop.h"
#include "telemetry/otlp.h"

struct exporter;

struct exporter_answer {
    int status;             /* 0: none came; then `why` says why */
    int64_t retry_after_ms; /* -1: not said */
    const char *why;
};
struct exporter_ops {
    /* Sends it; calls exporter_answered() once, later. < 0: it cannot at the moment (nothing will come). */
    int (*post)(void *ctx, struct str body, struct err *e);
    void (*on_limit)(void *ctx, const char *limit);
};

struct exporter_counts {
    uint64_t spans;   /* taken by the collector */
    uint64_t dropped; /* spans: refused, given up, or without room */
    uint64_t retries;
    uint64_t held_bytes; /* now */
};

struct exporter *exporter_new(struct loop *l, const struct limits *limits, const struct otlp_resource *resource,
                              const struct exporter_ops *ops, void *ctx, uint64_t seed); /* all but the seed outlive it */
void exporter_free(struct exporter *x);
DEFINE_AUTO(exporter, struct exporter *, exporter_free)

void exporter_record(struct exporter *x, const struct invocation_record *r); /* not sampled: nothing happens */
void exporter_answered(struct exporter *x, const struct exporter_answer *a);
void exporter_flush(struct exporter *x); /* from now on a batch does not wait for others, nor for its pause */
bool exporter_idle(const struct exporter *x);
struct exporter_counts exporter_counts(const struct exporter *x);

/* How long to wait before that batch is sent again; -1: it never will be. `tried` counts this one. Pure. */
int64_t exporter_pause_ms(const struct exporter_answer *a, uint32_t tried, uint32_t attempts_max, uint64_t random);
