/* explain.h -- one invocation laid out in time: its rows, who is to blame for the wait, what to change.
 *
 * Receives a record and, if there are any, the service's percentiles. Emits text for a terminal of a
 * given width. Owns nothing. Refuses nothing: times that make no sense are drawn at the edge.
 * Pure: the same record and the same terminal give the same text.
 *
 * Phases overlap, so durations do not add up to the wait. `blame_us` does: each moment between arrival
 * and first byte is given to the one running phase that ends last, because the others were not what
 * the request was waiting for (but model_verify and image_unpack follow model_fetch and image_pull,
 * and are not blamed while those run). What no phase covers is the remainder.
 */
#pragma once

#include "cli/term.h"
#include "codec/json.h"
#include "telemetry/record.h"

enum explain_what { /* the phases, and what a request does besides */
                    EXPLAIN_HANDLER = PHASES,
                    EXPLAIN_ANSWER,
                    EXPLAIN_INIT,    /* an init container */
                    EXPLAIN_SIDECAR, /* from its start to ready */
                    EXPLAIN_KINDS,
};
const char *explain_what_name(unsigned what);

struct explain_row {
    unsigned what;    /* enum phase or enum explain_what */
    char name[48];    /* of the row: explain_what_name(), or the container's */
    int64_t start_us; /* since arrival; negative: before it */
    int64_t duration_us;
    int64_t blame_us;
    uint64_t bytes;
    enum phase_outcome outcome;
};
struct explain {
    struct explain_row rows[EXPLAIN_KINDS + START_BESIDES_MAX];
    size_t row_count;
    int64_t wait_us;     /* arrival to first byte, or to the end when there was none */
    int64_t end_us;      /* the right edge of the picture */
    int64_t unblamed_us; /* of the wait; no phase covers it */
};
void explain_lay_out(const struct invocation_record *r, struct explain *ret);
/* Which row the request waited for at that moment; NULL: none covers it. */
const struct explain_row *explain_waited_for(const struct explain *x, int64_t at_us);

struct explain_percentiles {
    uint32_t count;
    int64_t p50_us, p99_us;
};
/* How much longer this first request's handler took than a warm one (negative: less); 0: not known. */
int64_t explain_first_request_us(const struct invocation_record *r);

struct explain_stats { /* of a service; all zero: not known */
    struct explain_percentiles phases[EXPLAIN_KINDS];
    struct explain_percentiles ready; /* start decided to ready */
    uint64_t failures[EXPLAIN_KINDS]; /* starts that this phase failed */
    uint64_t invocations, cold, starts, starts_failed;
    char budget[16]; /* "none" "unknown" "kept" "missed", or "" */
    uint32_t budget_ms;
    int64_t budget_measured_us;
    double budget_percentile;
    char autoscaler[256]; /* its last decision and why, or "" */
};

struct explain_advice {
    unsigned what;     /* EXPLAIN_KINDS: about the record as a whole */
    int64_t cost_us;   /* what it is about; 0: no cost is meant */
    char finding[256]; /* what happened */
    char change[256];  /* what to do; empty: nothing */
};
enum { EXPLAIN_ADVICE_MAX = 5 };
/* The dearest first. Returns how many were written. */
size_t explain_advise(const struct invocation_record *r, const struct explain *x,
                      struct explain_advice into[EXPLAIN_ADVICE_MAX]);

void explain_draw(const struct invocation_record *r, const struct explain_stats *stats,
                  const struct term *term, struct buf *into);

void explain_stats_read(const json_t *j, struct explain_stats *ret);
