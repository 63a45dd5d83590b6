/* invocations.h -- durable invocations in the node: the desk, the runner that brings its attempts to the gateway, and the ticker that
 * accepts those of Schedules.
 *
 * Receives the ingress, which outlives every attempt but the last (see stop and free). Owns all three, and hands the desk out to those
 * who ask it: gateway and API. Emits counters. Refuses attempts once it is stopped: what was accepted then waits for the next
 * process. Loop thread only. */
#pragma once

#include "gateway/ingress.h"
#include "invocation/runner.h"
#include "invocation/ticker.h"
#include "telemetry/metrics.h"

struct invocations;

struct invocations_world {
    struct loop *loop;
    const struct limits *limits;
    struct ingress *ingress;
    const struct ticker_ops *schedules;
    void *schedules_ctx;
    int64_t (*wall_ns)(void *ctx);
    uint64_t seed;
};
struct invocations *invocations_new(const struct invocations_world *w);
struct desk *invocations_desk(const struct invocations *i);
struct ticker *invocations_ticker(const struct invocations *i);
/* No attempt begins any more; idle: those under way are over, and that is on disk. */
void invocations_stop(struct invocations *i);
bool invocations_idle(const struct invocations *i);
void invocations_free(struct invocations *i); /* after the host; attempts under way are lost with this process */
size_t invocations_values(const struct invocations *i, struct metrics_value *into, size_t max);
