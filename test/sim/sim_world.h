/* sim_world.h -- a loop's world in which time is a number: it passes only when nothing else is to be done.
 *
 * Owns nothing but itself; the clock is the test's, and outlives the loops that crash. The wall clock is the same time
 * plus an offset that the test may change at any moment. No descriptors: watching one is refused. */
#pragma once

#include "base/rng.h"
#include "os/loop.h"

struct sim_clock {
    uint64_t now_us;
    int64_t wall_offset_ns;
    struct rng *rng;
    uint32_t late_us; /* timers come up to so late, so that several are due at once */
    bool stuck;       /* a loop waited for what can never come */
};
int sim_loop_open(struct sim_clock *c, struct loop **ret, struct err *e) MUST_USE;
int64_t sim_wall_ns(void *clock); /* for struct durable_world */
