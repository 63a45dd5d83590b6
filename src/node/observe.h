/* observe.h -- what leaves the node about its requests: spans to a collector, through the fetcher, and lines of
 * the request log, into a file that the launcher opened.
 *
 * Receives records as they are kept (their starts relative), with their notes. Owns the exporter and the log.
 * Emits log events and counts; nothing here can hold up a request. Off costs nothing. Loop thread only.
 */
#pragma once

#include "artifact/fetcher_link.h"
#include "gateway/ingress.h"
#include "telemetry/exporter.h"
#include "telemetry/metrics.h"

struct observe;

struct observe_config {
    const struct limits *limits;
    bool traces;              /* the fetcher knows where to */
    bool request_log;         /* observe_attach() follows */
    const char *service_name; /* of the resource; "" is "hob" */
};
struct observe_sinks { /* outlive it */
    struct fetcher_link *fetcher;
    void (*on_limit)(void *ctx, const char *limit);
    void *ctx;
};
int observe_open(struct loop *l, const struct observe_config *c, const struct observe_sinks *sinks, uint64_t seed,
                 struct observe **ret, struct err *e) MUST_USE;
void observe_free(struct observe *o); /* before the fetcher's link */

DEFINE_AUTO(observe, struct observe *, observe_free)

void observe_attach(struct observe *o, int take_fd); /* the request log */
enum ingress_notes observe_notes(const struct observe *o); /* whose records need one */
void observe_record(struct observe *o, const struct invocation_record *r);
/* hob is stopping: nothing new will come. Idle: nothing is left to send. */
void observe_flush(struct observe *o);
bool observe_idle(const struct observe *o);
size_t observe_values(const struct observe *o, struct metrics_value *into, size_t max);
