/* load.h -- what a revision carries, as one exact number per second.
 *
 * Receives the number of requests that run or wait whenever it changes, and every arrival. Owns the sums of
 * the second that is not over yet. Emits, for each whole second, the time-weighted concurrency and the
 * arrivals. Refuses nothing. Nothing is sampled or scraped: the number is the integral.
 *
 * While it rests (nothing runs, nothing could) no seconds come; the first second after a rest is averaged
 * over the part of it that was seen, or a burst that begins late in a second would look small.
 */
#pragma once

#include "base/base.h"

#define LOAD_SECOND_US UINT64_C(1000000)
enum { LOAD_GAP_S_MAX = 3600 }; /* seconds told after a gap; more would leave every window anyway */

struct load {
    bool awake;
    uint32_t level;
    uint64_t noted_us; /* the sums are complete up to here; within `second`, or its end */
    uint64_t second;
    uint64_t area_us;  /* request-microseconds of it */
    uint64_t seen_us;  /* of it */
    uint64_t arrivals;
};
struct load_second {
    uint64_t second;
    uint64_t concurrency_micro, arrivals_micro;
};

void load_init(struct load *l, uint64_t now_us);
void load_level(struct load *l, uint32_t level, uint64_t now_us); /* wakes it, if it is not 0 */
void load_arrived(struct load *l, uint64_t now_us);
void load_wake(struct load *l, uint64_t now_us);
void load_rest(struct load *l); /* the level is 0; caught up by load_next() just before */
/* The next second that is over, once each, oldest first. False: caught up. To be called until then
 * before every other function here, with the same time. */
bool load_next(struct load *l, uint64_t now_us, struct load_second *ret);
