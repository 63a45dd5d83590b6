/* scaler.h -- how many instances a revision should have, from what it was asked to carry.
 *
 * Receives the concurrency (running plus waiting requests) whenever it changes, and the time.
 * Owns a ring of time-weighted averages over the stable window. Emits one number.
 * Refuses nothing; more than max-scale is clamped, the caller counts it.
 * Pure: no clock, no allocation; the simulator and the fit advisor run this code.
 *
 * desired = max(ceil(now / target), ceil(average over the window / target)): up at once with the
 * burst that waits, down only as the window forgets; zero after a whole window without a request
 * (plus the retention). Bounds: min, max, and the initial scale until it was reached once.
 */
#pragma once

#include "base/base.h"

struct scaler_config {
    uint32_t min, max; /* max >= 1, max >= min */
    uint32_t initial;
    double target;     /* concurrent requests per instance; > 0 */
    uint64_t window_us, retention_us, scale_down_delay_us;
};

enum { SCALER_BUCKETS = 60 };

struct scaler {
    struct scaler_config config;
    double area[SCALER_BUCKETS]; /* request-microseconds per bucket */
    uint64_t bucket_us;          /* width */
    uint64_t head;               /* number of the current bucket, from time 0 */
    uint64_t noted_us;           /* area is complete up to here */
    uint64_t begin_us;
    uint32_t concurrency;
    uint64_t active_us; /* last moment with concurrency > 0; 0: never */
    uint32_t held;      /* for the scale-down delay */
    uint64_t held_until_us;
    bool initial_reached;
};

void scaler_init(struct scaler *s, const struct scaler_config *c, uint64_t now_us);
void scaler_note(struct scaler *s, uint32_t concurrency, uint64_t now_us); /* now never goes back */
uint32_t scaler_desired(struct scaler *s, uint32_t ready, uint64_t now_us);
double scaler_average(struct scaler *s, uint64_t now_us);
/* When the answer may change though nothing happens; UINT64_MAX: never. */
uint64_t scaler_next_us(const struct scaler *s, uint64_t now_us);
