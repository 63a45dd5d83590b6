/* retry.h -- how many requests of a function may be sent a second time. Pure.
 *
 * Receives every request and every wish to repeat one. Owns the credit. Emits whether it may be. Refuses when
 * more than one in RETRY_PART of the last requests were repeated: a function that breaks every connection
 * gets 1.1 times its requests, not twice as many.
 */
#pragma once

#include "base/base.h"

enum { RETRY_PART = 10, RETRY_SAVED_MAX = 10 }; /* so many at once, after a time without */

struct retry_budget {
    uint32_t credit; /* in parts of one repetition */
};

static inline void retry_budget_init(struct retry_budget *b) { b->credit = RETRY_PART * RETRY_SAVED_MAX; }
static inline void retry_budget_earn(struct retry_budget *b)
{
    b->credit = MIN(b->credit + 1, (uint32_t)(RETRY_PART * RETRY_SAVED_MAX));
}
static inline bool retry_budget_spend(struct retry_budget *b)
{
    if (b->credit < RETRY_PART)
        return false;
    b->credit -= RETRY_PART;
    return true;
}
