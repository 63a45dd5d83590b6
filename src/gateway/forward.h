/* forward.h -- the heads that the gateway writes: the request as the function gets it, and the fields
 * that every answer to a client carries. Pure; everything comes in, text is appended.
 *
 * To the function: Host and the user's fields unchanged and in order; hop-by-hop ones (also those
 * that Connection names) gone; Forwarded and X-Forwarded-For extended by this client, so that the last
 * element is ours and cannot be forged; X-Forwarded-Proto and -Host kept if there (a proxy in front
 * knows better), else set; traceparent and tracestate by tracing.h; Hob-Invocation-Id, Hob-Attempt, Hob-Checkpoint (of an
 * attempt of a durable invocation they stay as the node sent them),
 * Hob-Hops and Hob-Deadline are ours alone, as is the word about which target it is routed to (Knative-Serving-Tag, or
 * Knative-Serving-Default-Route: true, beside which a tag that there is not stays as it came). Expect is answered here.
 */
#pragma once

#include "base/uuid.h"
#include "gateway/timing.h"
#include "gateway/tracing.h"
#include "net/http1.h"

struct forward_request {
    const struct http1_head *head;
    struct str client; /* address without port; "unknown": not an IP socket */
    const struct uuid *id;
    const struct trace_context *trace;
    struct str tag;     /* that it is routed by; empty: by none */
    bool default_route; /* by none, and by the Route's weights */
    uint32_t hops; /* this one included */
    bool attempt;  /* of a durable invocation, by the node itself: what the head says of it is believed */
    bool kept;     /* to be written down: no id, no framing and no Prefer, which come or went with this hop */
    bool upgrade;  /* ask the function for what the client asks for */
    bool grpc;     /* grpc-timeout is ours to write, as Hob-Deadline is */
};
/* All but the deadline and the empty line: those are known when the request leaves. */
void forward_request(struct buf *b, const struct forward_request *f);
void forward_request_end(struct buf *b, uint64_t deadline_left_ms, bool grpc); /* UINT64_MAX: none */

enum forward_connection { FORWARD_KEEP, FORWARD_KEEP_1_0, FORWARD_CLOSE, FORWARD_UPGRADE };
struct forward_answer {
    const struct uuid *id; /* NULL: it is no invocation */
    const struct timing *timing;
    struct str date; /* at NULL: the answer has one */
    enum forward_connection connection;
};
/* What every answer ends with, the empty line included. */
void forward_answer_end(struct buf *b, const struct forward_answer *f);
/* The function's own fields: all but hop-by-hop ones and framing, and nothing that would pass for hob's:
 * no "Hob-…", no member of Server-Timing with a name of hob's, none of Cache-Status that begins with "hob-". */
void forward_answer_fields(struct buf *b, const struct http1_head *answer);
/* The end of a chunked answer; its trailers ("Name: value\r\n"…) by the same rule. */
void forward_answer_last_chunk(struct buf *b, struct str trailers);
/* The Upgrade fields of a head, as they came. */
void forward_upgrade(struct buf *b, const struct http1_head *h);
