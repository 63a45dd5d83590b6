#include "base/hist.h"

#include <stdlib.h>

/* Values below 8 have a slot each; above, the top bit picks the row and the next three the step. */
static uint32_t slot_of(uint64_t value)
{
    if (value < HIST_STEPS)
        return (uint32_t)value;
    uint32_t top = 63 - (uint32_t)__builtin_clzll(value);
    return (top - 2) * HIST_STEPS + (uint32_t)(value >> (top - 3) & (HIST_STEPS - 1));
}

static uint64_t slot_last(uint32_t slot)
{
    if (slot < HIST_STEPS)
        return slot;
    uint32_t shift = slot / HIST_STEPS - 1;
    uint64_t first = (uint64_t)(HIST_STEPS + slot % HIST_STEPS) << shift;
    return first + ((UINT64_C(1) << shift) - 1);
}

void hist_add(struct hist *h, uint64_t value)
{
    if (!h->slots)
        h->slots = xcalloc(HIST_SLOTS, sizeof *h->slots);
    uint32_t slot = slot_of(value);
    ASSERT(slot < HIST_SLOTS);
    if (h->slots[slot] < UINT32_MAX)
        h->slots[slot]++;
    if (h->count == 0 || value < h->min)
        h->min = value;
    if (value > h->max)
        h->max = value;
    h->count++;
    h->sum += value;
}

/* What a binary fraction is too much (99.9 % of 1000 is 999) must not become a whole rank more. */
uint64_t hist_rank(uint64_t count, double percent)
{
    ASSERT(count >= 1);
    ASSERT(percent >= 0 && percent <= 100);
    double exact = percent * (double)count / 100;
    uint64_t rank = (uint64_t)exact;
    rank += exact - (double)rank > exact * 1e-12;
    return MIN(MAX(rank, 1U), count);
}

uint64_t hist_percentile(const struct hist *h, double percent)
{
    ASSERT(percent >= 0 && percent <= 100);
    if (h->count == 0)
        return 0;
    uint64_t rank = hist_rank(h->count, percent);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HIST_SLOTS; i++) {
        seen += h->slots[i];
        if (seen >= rank)
            return MIN(slot_last(i), h->max);
    }
    return h->max;
}

uint64_t hist_at_most(const struct hist *h, uint64_t bound)
{
    uint64_t seen = 0;
    for (uint32_t i = 0; h->slots && i < HIST_SLOTS && slot_last(i) <= bound; i++)
        seen += h->slots[i];
    return seen;
}

void hist_done(struct hist *h)
{
    free(h->slots);
    *h = (struct hist){ 0 };
}
