/* run_retry.h -- whether what failed is tried again, and when: an activity, and a whole run. Temporal's rules.
 *
 * Receives the policy, the attempt that failed, how, and the time.
 * Owns nothing, emits nothing: it decides.
 * Refuses (run_retry_check()) policies that say what cannot be, in words for the one who wrote them.
 *
 * Pure. Jitter there is none: SDKs and their tests know the delay. */
#pragma once

#include "base/err.h"
#include "codec/temporal.pb-c.h"

/* 73 years: whoever asks for more gets that, so that a time and two of them are a time still. */
#define RUN_LONGEST_NS (INT64_MAX / 4)
/* In nanoseconds; absent is 0; longer ones, and below zero the same, are RUN_LONGEST_NS. */
int64_t run_duration_ns(const Tp__Duration *d);

struct run_retry_ask {
    const Tp__RetryPolicy *policy; /* NULL: there is none, and no retry. What it leaves out has its default */
    const Tp__Failure *failure;    /* NULL: a timeout of the run */
    int32_t attempt;               /* that failed; the first is 1 */
    int64_t now_ns, expiry_ns;     /* no attempt begins after expiry; 0: none */
    bool cancel_requested;
};
struct run_retry {
    Tp__RetryState state; /* IN_PROGRESS: after delay_ns. Any other: the reason why not */
    int64_t delay_ns;
};
struct run_retry run_retry_decide(const struct run_retry_ask *a);

/* -CODE_INVALID: what is wrong with it. NULL is fine. */
int run_retry_check(const Tp__RetryPolicy *p, struct err *e) MUST_USE;
/* What it leaves out becomes its default: 1 s, twice as long each time, at most 100 times the first. Its
 * memory is malloc's. */
void run_retry_fill(Tp__RetryPolicy *p);
