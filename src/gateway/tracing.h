/* tracing.h -- the trace of a request: read from its head, written into the one for the function.
 *
 * A trace that the caller began goes on, with its decision whether it is sampled. Otherwise (none, two
 * of them, or one that is not W3C's) one begins whose id is the invocation's, so that either finds the
 * record; then the ratio decides. B3 and other headers are the user's, and pass as they came. Pure.
 */
#pragma once

#include "base/uuid.h"
#include "net/http1.h"
#include "telemetry/tracecontext.h"

struct tracing_new { /* what a trace that begins here is made of */
    const struct uuid *id;
    uint64_t random;
    uint32_t per_million; /* sampled */
};
void tracing_begin(const struct http1_head *h, const struct tracing_new *n, struct trace_context *ret);
/* traceparent, and tracestate where the trace is the caller's. */
void tracing_write(struct buf *b, const struct http1_head *h, const struct trace_context *t);
