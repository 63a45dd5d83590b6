/* admit.h -- whether a request that finds no free slot is worth to wait. Pure.
 *
 * Receives every arrival, every grant of a slot and how long it was held, and a view of the queue. Owns an
 * estimate of the service time and whether the function is overloaded. Emits a verdict on arrival, a verdict
 * when its turn comes, how many of those who wait have to go, and when to come again.
 * Refuses nothing while it knows too little: a function of which fewer than ADMIT_SAMPLES_MIN requests were
 * seen keeps whoever fits into its queue.
 *
 *   - Its own deadline: who cannot be answered in time even if every instance that may still come were here is
 *     told so at once, and not after a wait; who could, but cannot any more when the turn comes, gives it to the next.
 *   - The deadline that nobody told: callers leave long before timeoutSeconds, and a first-in-first-out queue in front
 *     of a full function serves only those who have left. So a queue that stands, which means that for interval_us
 *     a new request would have waited for longer than wait_us, while in its later half more came than went, and no instance
 *     may come, is an overload: then what waits is cut to wait_us, the oldest first, and what comes beyond that is refused
 *     on arrival, until nobody waits. A burst is none: nothing comes after it. Nor are callers who wait for their
 *     answer before they ask again: as many come as go.
 *
 * wait_us is stretched to ADMIT_SERVICES service times, so that slow functions have a queue at all.
 */
#pragma once

#include "base/base.h"

enum { ADMIT_SAMPLES_MIN = 8, ADMIT_SERVICES = 2 };

struct admit_rules {
    uint64_t wait_us;     /* in an overload; 0: never refuse for one */
    uint64_t interval_us; /* a queue stands for so long, then it is one */
    uint64_t queue_us;    /* longest wait of all */
};
struct admit_view { /* at this moment */
    uint64_t now_us;
    uint64_t waiting;    /* without the one that is asked about */
    uint64_t slots;      /* requests that the ready instances may have at once; 0: any number, or none ready */
    uint64_t slots_most; /* the same with all instances that may still come; not less */
    bool grows;          /* one starts, or is about to */
};
struct admit { /* zero it first */
    uint64_t mean_us, spread_us; /* how long a slot was held */
    uint64_t samples;
    uint64_t stands_us; /* this half of an interval, in which the queue stands, began; 0: it does not */
    uint32_t halves;    /* in which it stood, before this one */
    uint64_t offered, granted; /* since stands_us */
    bool overloaded;
};

enum admit_verdict {
    ADMIT_TAKE,
    ADMIT_NO_TIME,    /* would be answered after its deadline, or wait for longer than queue_us */
    ADMIT_OVERLOADED, /* would be in time for all that is known; nobody else would */
};

/* A request comes, whatever becomes of it; before its verdict. */
void admit_arrived(struct admit *a, const struct admit_rules *r, const struct admit_view *v);
/* For one that found no free slot. deadline_us: UINT64_MAX: none. */
enum admit_verdict admit_ask(const struct admit *a, const struct admit_rules *r, const struct admit_view *v,
                             uint64_t deadline_us);
void admit_granted(struct admit *a, const struct admit_rules *r, const struct admit_view *v);
void admit_released(struct admit *a, uint64_t held_us);
/* Its turn has come, and others wait behind it: the slot is worth more to them. */
bool admit_hopeless(const struct admit *a, const struct admit_view *v, uint64_t deadline_us);
/* How many of those who wait have to go, the oldest first. To be asked after admit_arrived(): an overload begins there. */
uint64_t admit_surplus(const struct admit *a, const struct admit_rules *r, const struct admit_view *v);
/* What a new request would wait for with `slots`; 0 when not known. */
uint64_t admit_wait_us(const struct admit *a, uint64_t waiting, uint64_t slots);
/* When a refused one would be taken if nobody else came; 1 to 60. */
uint32_t admit_retry_after_s(const struct admit *a, const struct admit_rules *r, const struct admit_view *v);
