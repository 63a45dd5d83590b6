/* dist.h -- a distribution that costs what it holds: exact while it is small, a histogram later.
 *
 * The first DIST_FEW samples are kept as they are (percentiles are exact); the next one turns them
 * into a base/hist (2 KiB, within 12.5 %). An unused distribution is one pointer, so a thousand idle
 * functions with a dozen phases each stay small. */
#pragma once

#include "base/base.h"

enum { DIST_FEW = 32 };

struct dist_body;
struct dist {
    struct dist_body *body; /* NULL until the first sample */
};

void dist_add(struct dist *d, uint64_t value);
void dist_done(struct dist *d); /* d is empty again */

uint64_t dist_count(const struct dist *d);
uint64_t dist_max(const struct dist *d);                        /* 0 when empty */
uint64_t dist_percentile(const struct dist *d, double percent); /* nearest rank; 0 when empty */
