/* callbacks.h -- the courier's hands in the node: secrets out of the cluster's objects, calls through the fetcher process.
 *
 * Receives the fetcher's link and a way to look objects up; both outlive it. Owns the courier, and each call until it is over. Emits
 * counters. Refuses a Secret or a key that is not there: then nothing is sent, and the invocation says why. The node itself
 * connects to nobody. Loop thread only. */
#pragma once

#include "artifact/fetcher_link.h"
#include "invocation/courier.h"
#include "serving/config.h"
#include "telemetry/metrics.h"

struct callbacks;

struct callbacks_world {
    struct loop *loop;
    const struct limits *limits;
    struct fetcher_link *fetcher;
    struct config_source secrets;
    int64_t (*wall_ns)(void *ctx);
    uint64_t seed;
};
struct callbacks *callbacks_new(const struct callbacks_world *w);
struct courier *callbacks_courier(const struct callbacks *c);
/* After the host. Calls under way are left to the fetcher: the loop does not turn any more until the link is gone. */
void callbacks_free(struct callbacks *c);
size_t callbacks_values(const struct callbacks *c, struct metrics_value *into, size_t max);
