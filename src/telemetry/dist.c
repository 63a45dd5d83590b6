#include "telemetry/dist.h"
#include "base/hist.h"

#include <stdlib.h>
#include <string.h>

/* Either `few` holds `count` sorted samples, or (count > DIST_FEW) `hist` holds them all. */
struct dist_body {
    uint32_t count, capacity;
    struct hist hist;
    uint64_t few[];
};

static struct dist_body *body_of_capacity(struct dist_body *old, uint32_t capacity)
{
    struct dist_body *b = xrealloc(old, 1, sizeof *b + capacity * sizeof b->few[0]);
    if (!old)
        memset(b, 0, sizeof *b);
    b->capacity = capacity;
    return b;
}

static void few_add(struct dist_body *b, uint64_t value)
{
    uint32_t i = b->count++;
    for (; i > 0 && b->few[i - 1] > value; i--)
        b->few[i] = b->few[i - 1];
    b->few[i] = value;
}

static void become_hist(struct dist *d)
{
    struct dist_body *b = d->body;
    for (uint32_t i = 0; i < b->count; i++)
        hist_add(&b->hist, b->few[i]);
    b->count = DIST_FEW + 1;
    d->body = body_of_capacity(b, 0);
}

void dist_add(struct dist *d, uint64_t value)
{
    if (!d->body)
        d->body = body_of_capacity(NULL, 4);
    if (d->body->count == DIST_FEW)
        become_hist(d);
    if (d->body->count > DIST_FEW) {
        hist_add(&d->body->hist, value);
        return;
    }
    if (d->body->count == d->body->capacity)
        d->body = body_of_capacity(d->body, MIN(d->body->capacity * 2, (uint32_t)DIST_FEW));
    few_add(d->body, value);
    ASSERT(d->body->count <= d->body->capacity);
}

void dist_done(struct dist *d)
{
    if (d->body)
        hist_done(&d->body->hist);
    free(d->body);
    d->body = NULL;
}

uint64_t dist_count(const struct dist *d)
{
    if (!d->body)
        return 0;
    return d->body->count > DIST_FEW ? d->body->hist.count : d->body->count;
}

uint64_t dist_max(const struct dist *d) { return dist_percentile(d, 100); }

uint64_t dist_percentile(const struct dist *d, double percent)
{
    ASSERT(percent >= 0 && percent <= 100);
    if (!d->body)
        return 0;
    if (d->body->count > DIST_FEW)
        return hist_percentile(&d->body->hist, percent);
    return d->body->few[hist_rank(d->body->count, percent) - 1];
}
