/* otlp.h -- finished invocations as OpenTelemetry spans: OTLP's ExportTraceServiceRequest in its JSON encoding
 * (ids in hexadecimal, 64-bit numbers as text, enums as numbers).
 *
 * Receives records whose start is relative (phase_relative()), with their note if there is one. Owns
 * nothing; emits text. Per invocation: a server span; within it the wait for an instance, each phase of the
 * start it waited for, and the call of the function, whose span id is what `traceparent` told it.
 * The same record always gives the same spans. Pure.
 */
#pragma once

#include "base/buf.h"
#include "telemetry/record.h"

struct otlp_resource {
    const char *service, *version, *host; /* host NULL: not said */
};
/* begin, any number of spans, end: one request. */
void otlp_begin(struct buf *b, const struct otlp_resource *resource);
/* first: none was written after otlp_begin(). Returns how many were written. */
uint32_t otlp_spans(struct buf *b, const struct invocation_record *r, bool first);
void otlp_end(struct buf *b);

enum { OTLP_RECORD_BYTES_MAX = 48 << 10 }; /* otlp_spans() and otlp_end() together always write less */
