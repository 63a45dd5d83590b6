/* timing.h -- where a request's time went, for the caller (Server-Timing, Cache-Status) and for its
 * record (coverage). Pure; docs/decisions/0004 defines the terms.
 */
#pragma once

#include "base/buf.h"
#include "telemetry/phase.h"

struct timing { /* absolute monotonic microseconds */
    uint64_t arrival_us;
    uint64_t dispatch_us;             /* 0: never given to an instance */
    uint64_t now_us;                  /* first byte of the answer */
    uint64_t ready_us;                /* the instance became ready; cold only */
    const struct start_record *start; /* NULL: warm */
};

/* "Server-Timing: queue;dur=0.012, handler;dur=1.500\r\n"; a cold one lists every phase of the start. */
void timing_write(struct buf *b, const struct timing *t);
/* "Cache-Status: hob-instance; hit\r\n" (RFC 9211) when warm; without an instance that was there
 * already "hob-instance; fwd=miss", followed by the caches of its start as far as they are known. */
void timing_write_caches(struct buf *b, const struct timing *t);
/* How much of [arrival, first byte] the phases account for; 1000 when warm. */
uint32_t timing_coverage_permille(const struct timing *t);
