/* demand.h -- how many shells are worth keeping ready: as many as starts came at once lately, or may come though they never did.
 *
 * Receives each start, with its time, how many functions there are, and the bounds. Emits a number between `base` and `most`. Owns nothing and reads
 * no clock; refuses nothing.
 *
 * Starts that follow each other too closely for the pool to be refilled between them are one burst. The largest burst
 * is remembered for `keep_us` at least and twice that at most: two periods are kept, and the older one is forgotten
 * when the newer is full. So a burst that comes again finds its shells, and a host that is quiet goes back to `base`.
 *
 * The first burst of its size finds none, unless they were made for it: one for each function, `ahead` at most. All
 * functions count, not only those at zero, so that the pool does not breathe with every start and end. */
#pragma once

#include "base/base.h"

enum {
    DEMAND_GAP_US = 100000,    /* no start for this long: a pool was refilled, and the burst is over */
    DEMAND_BURST_US = 1000000, /* and this long is a stream of starts, which the refill keeps up with */
};

struct demand {
    uint32_t base, most; /* base 0: nothing is ever kept ready */
    uint64_t keep_us;
    uint32_t ahead, functions;
    uint32_t burst; /* starts of the one that goes on */
    uint64_t burst_us, last_us;
    uint32_t now, before; /* the largest of this period and of the last one */
    uint64_t period_us;   /* when this one began; 0: there was no burst yet */
};

void demand_init(struct demand *d, uint32_t base, uint32_t most, uint32_t ahead, uint64_t keep_us);
void demand_functions(struct demand *d, uint32_t count); /* so many may be called */
void demand_start(struct demand *d, uint64_t now_us);
uint32_t demand_wanted(struct demand *d, uint64_t now_us);
/* When demand_wanted() is to be asked again, though no start comes; UINT64_MAX: never. */
uint64_t demand_due_us(const struct demand *d);
