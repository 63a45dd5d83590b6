/* observe.h -- what leaves the node about its requests: spans to a collector, through the fetcher.
 *
 * Receives records as they are kept (their starts relative), with their notes. Owns the exporter.
 * Emits log events and counts; nothing here can hold up a request. Off costs nothing. Loop thread only.
 */
#pragma once

#include "artifact/fetcher_link.h"
#include "telemetry/exporter.h"
#include "telemetry/metrics.h"

struct observe;

struct observe_config {
    const struct limits *limits;
    bool traces;              /* the fetcher knows where to */
    const char *service_name; /* of the resource; "" is "hob" */
};
struct observe *observe_new(struct loop *l, const struct observe_config *c, struct fetcher_link *fetcher,
                            void (*on_limit)(void *ctx, const char *limit), void *ctx, uint64_t seed);
void observe_free(struct observe *o); /* before the fetcher's link */

bool observe_traces(const struct observe *o); /* sampled requests need a note */
void observe_record(struct observe *o, const struct invocation_record *r);
/* hob is stopping: nothing new will come. Idle: nothing is left to send. */
void observe_flush(struct observe *o);
bool observe_idle(const struct observe *o);
size_t observe_values(const struct observe *o, struct metrics_value *into, size_t max);
