/* plan.h -- what to do next with a download, and what to throw out for it. Decisions only.
 *
 * Receives facts (what the origin said, what is held, what the disk has) and limits; randomness comes
 * in. Owns nothing, reads nothing. Emits a decision and the sentence that explains it.
 */
#pragma once

#include "artifact/artifact.h"
#include "base/rng.h"

/* ---- the origin has answered ---- */

enum plan_next {
    PLAN_TAKE,    /* write what comes after what is held */
    PLAN_RESTART, /* forget what is held; what comes is the whole */
    PLAN_ASK_ALL, /* forget what is held, and ask again from the start */
    PLAN_RETRY,   /* ask again later */
    PLAN_REFUSE,  /* asking again is pointless */
};
struct plan_held {
    uint64_t bytes; /* held and hashed; what was asked for begins here */
    int64_t size;   /* of the whole, if known from before; else -1 */
};
/* Fills e for PLAN_RETRY and PLAN_REFUSE. */
enum plan_next plan_head(const struct plan_held *held, const struct transfer_head *h,
                         uint64_t bytes_max, struct err *e);

/* ---- a try ended without the whole ---- */

enum { PLAN_RETRY_AFTER_MS_MAX = 60000 }; /* an origin cannot park a start for longer */
#define PLAN_FREE_TRY_BYTES MIB(16)         /* a try that brought this much is not counted */

bool plan_code_retryable(enum code code);
/* attempt: 1 for the pause after the first try. retry_after_ms < 0: the origin asked for none. */
uint64_t plan_backoff_ms(uint32_t attempt, int64_t retry_after_ms, struct rng *r);

/* ---- room ---- */

struct plan_disk {
    uint64_t free_bytes;  /* what the file system gives to this user */
    uint64_t store_bytes; /* in the store and reserved in it, without what is asked for */
};
/* How many bytes must go before `need` more may come: 0 = it fits. */
uint64_t plan_room_short(const struct limits *limits, const struct plan_disk *disk, uint64_t need);

struct plan_victim {
    uint64_t bytes;
    int64_t last_used_ms;
    bool in_use; /* mounted, waited for, or pinned */
    bool chosen; /* out */
    void *ctx;   /* the caller's */
};
/* Marks the least recently used free ones until `short_by` is reached. False, and none marked, where
 * they do not suffice. Sorts the array. */
bool plan_evict(struct plan_victim *victims, size_t count, uint64_t short_by);
