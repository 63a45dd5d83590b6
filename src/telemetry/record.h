/* record.h -- what is kept of one invocation. A value; copied freely, but for its note. */
#pragma once

#include "base/uuid.h"
#include "telemetry/phase.h"
#include "telemetry/tracecontext.h"

enum invocation_outcome {
    INVOCATION_OK,        /* the function answered (whatever status it chose) */
    INVOCATION_FUNCTION_ERROR, /* the function answered 5xx */
    INVOCATION_REFUSED,   /* queue full or too late: 429/503, the function never saw it */
    INVOCATION_TIMEOUT,   /* 504, or the stream was cut at the deadline */
    INVOCATION_CLIENT_GONE,
    INVOCATION_FAILED,    /* 502/503: the instance died, or did not start */
    INVOCATION_OUTCOMES,
};
const char *invocation_outcome_name(enum invocation_outcome o); /* "ok" "function_error" … */

/* What only a trace or the request log says of a request: kept only for those who want it. */
struct request_note {
    char host[256], user_agent[256], referer[256], remote[48];
    bool http2;
};

struct invocation_record {
    struct uuid id;
    struct trace_context trace; /* kept of it: trace_id, which is `id` where the trace began here */
    char ns[64], service[64], revision[80], instance[40];
    char method[16], path[128]; /* path without query, cut */
    uint16_t status;            /* 0: the client left before there was one */
    enum invocation_outcome outcome;
    int64_t wall_ms;            /* arrival */
    uint64_t arrival_us;        /* monotonic; the following are durations since arrival */
    uint32_t dispatch_us;       /* given to an instance; 0 with first_byte_us 0: never was */
    uint32_t first_byte_us;     /* first byte of the answer towards the client; 0: no instance had it */
    uint32_t total_us;
    uint64_t request_bytes, response_bytes; /* bodies */
    bool cold;                  /* it waited for a start; then: */
    uint32_t queue_us;          /* arrival to the start's decision; 0 if the start was earlier; all of it if the start failed */
    uint32_t coverage_permille; /* of arrival..first byte that the phases account for */
    bool has_start;
    struct start_record start;  /* copied in when has_start */
    char error[160];
    const struct request_note *note; /* NULL: nobody wants it; not kept, valid during the call that brings it */
};

/* What docs/decisions/0004 calls the coverage, rounded down: how much of arrival..first byte the
 * queue, the phases of `start` (relative to start.begin_us, as in a finished record), ready..dispatch
 * and the handler account for. 0 when there was no first byte. Pure; the caller stores it. */
uint32_t record_coverage_permille(const struct invocation_record *r);
