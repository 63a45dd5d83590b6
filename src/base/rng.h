/* rng.h -- seeded generator (splitmix64) for jitter, tests and simulation. Not for secrets. */
#pragma once

#include "base/base.h"

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static inline uint64_t rng_below(struct rng *r, uint64_t n) { return rng_next(r) % n; }
static inline bool rng_chance(struct rng *r, uint64_t percent)
{
    return rng_below(r, 100) < percent;
}
