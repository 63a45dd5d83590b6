/* window.h -- the average of the last seconds, from one number for each.
 *
 * Receives one value per second, in micro-units (a concurrency of 1.5 is 1500000), with the number of that
 * second; numbers never go back. Owns nothing: the buckets are the caller's. Emits averages.
 * Refuses nothing; what is older than the window is forgotten.
 *
 * A linear average is over the seconds since the first one recorded, so a window that is younger than
 * its size does not water the load down; after a silence as long as the window it is young again.
 * A second without a record between two recorded ones counts as zero. Integral, rounded to a millionth.
 * Weighted exponential: the second i before now weighs c·(1-c)^i, c = max(1 - 0.0001^(1/size), 0.2).
 */
#pragma once

#include "base/base.h"

enum window_kind { WINDOW_LINEAR, WINDOW_EXPONENTIAL };
enum { WINDOW_S_MAX = 3600 };

struct window {
    enum window_kind kind;
    bool written;
    uint32_t size_s;
    uint64_t first_s, last_s; /* since the last silence of a whole window */
    uint64_t total;           /* sum of the buckets */
    uint64_t *bucket;         /* [second % size_s] */
    double coefficient;
};

/* buckets: size_s of them, and they outlive the window. size_s from 1 to WINDOW_S_MAX. */
void window_init(struct window *w, enum window_kind kind, uint32_t size_s, uint64_t *buckets);
void window_record(struct window *w, uint64_t second, uint64_t micro); /* adds to that second */
void window_copy(struct window *into, const struct window *from); /* what fits of it into one that has no record yet */
/* As of `second`, which is counted. False: nothing was recorded for longer than the window. */
bool window_average(const struct window *w, uint64_t second, uint64_t *ret_micro);
