/* hist.h -- log-linear histogram of unsigned values (microseconds, bytes): 8 steps per power of
 * two, so a percentile is at most 12.5 % above the truth. 2 KiB; made on the first sample. */
#pragma once

#include "base/base.h"

enum { HIST_STEPS = 8, HIST_SLOTS = (64 - 2) * HIST_STEPS };

struct hist {
    uint32_t *slots; /* NULL until the first sample; saturates, never wraps */
    uint64_t count, sum, min, max;
};

/* The one rule for every percentile hob shows or judges, nearest rank: which of `count` sorted samples,
 * counted from 1, is the smallest with at least `percent` of all at or below it. count >= 1. */
uint64_t hist_rank(uint64_t count, double percent);

void hist_add(struct hist *h, uint64_t value);
uint64_t hist_percentile(const struct hist *h, double percent); /* 0 when empty; <= max */
uint64_t hist_at_most(const struct hist *h, uint64_t bound);    /* how many samples <= bound */
void hist_done(struct hist *h);
