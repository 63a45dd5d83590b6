#include "artifact/plan.h"

#include <stdlib.h>

enum { BACKOFF_FIRST_MS = 200, BACKOFF_DOUBLINGS_MAX = 7 }; /* 0.2 s … 25.6 s */

static enum plan_next status_judge(int status, struct err *e)
{
    if (status == 0)
        err_set(e, CODE_UNAVAILABLE, "the origin did not answer");
    else if (status == 404 || status == 410)
        err_set(e, CODE_NOT_FOUND, "the origin does not have it (HTTP %d)", status);
    else if (status == 401 || status == 403)
        err_set(e, CODE_DENIED, "the origin does not give it out (HTTP %d)", status);
    else if (status == 408 || status == 425 || status == 429 || status >= 500)
        err_set(e, CODE_UNAVAILABLE, "the origin cannot serve it now (HTTP %d)", status);
    else
        err_set(e, CODE_PRECONDITION, "the origin answered HTTP %d", status);
    return e->code == CODE_UNAVAILABLE ? PLAN_RETRY : PLAN_REFUSE;
}

static enum plan_next part_judge(const struct plan_held *held, const struct transfer_head *h,
                                 struct err *e)
{
    if (held->bytes == 0) {
        err_set(e, CODE_PRECONDITION, "the origin sent a range that was not asked for");
        return PLAN_REFUSE;
    }
    if (h->from < 0 || (uint64_t)h->from != held->bytes) {
        err_set(e, CODE_PRECONDITION,
                "the origin sent bytes from %lld on where %llu was asked for", (long long)h->from,
                (unsigned long long)held->bytes);
        return PLAN_REFUSE;
    }
    if (h->size >= 0 && held->size >= 0 && h->size != held->size)
        return PLAN_ASK_ALL; /* another file than the one that was begun */
    return PLAN_TAKE;
}

enum plan_next plan_head(const struct plan_held *held, const struct transfer_head *h,
                         uint64_t bytes_max, struct err *e)
{
    if (h->status == 416 && held->bytes > 0)
        return PLAN_ASK_ALL;
    if (h->status != 200 && h->status != 206)
        return status_judge(h->status, e);
    if (h->size >= 0 && (uint64_t)h->size > bytes_max) {
        err_set(e, CODE_EXHAUSTED, "%lld bytes are more than %llu (limit artifact_bytes_max)",
                (long long)h->size, (unsigned long long)bytes_max);
        return PLAN_REFUSE;
    }
    if (h->size >= 0 && h->status == 206 && (uint64_t)h->size < held->bytes)
        return PLAN_ASK_ALL;
    if (h->status == 206)
        return part_judge(held, h, e);
    return held->bytes > 0 ? PLAN_RESTART : PLAN_TAKE;
}

bool plan_code_retryable(enum code code)
{
    return code == CODE_UNAVAILABLE || code == CODE_DEADLINE || code == CODE_ABORTED;
}

uint64_t plan_backoff_ms(uint32_t attempt, int64_t retry_after_ms, struct rng *r)
{
    ASSERT(attempt > 0);
    if (retry_after_ms >= 0)
        return (uint64_t)MIN(retry_after_ms, (int64_t)PLAN_RETRY_AFTER_MS_MAX) + rng_below(r, 100);
    uint64_t whole = (uint64_t)BACKOFF_FIRST_MS << MIN(attempt - 1, (uint32_t)BACKOFF_DOUBLINGS_MAX);
    return whole / 2 + rng_below(r, whole / 2 + 1); /* half is jitter: many nodes, one origin */
}

uint64_t plan_room_short(const struct limits *limits, const struct plan_disk *disk, uint64_t need)
{
    uint64_t spare = disk->free_bytes > limits->store_free_bytes_min
                         ? disk->free_bytes - limits->store_free_bytes_min
                         : 0;
    uint64_t by_disk = need > spare ? need - spare : 0, by_store = 0, after = 0;
    if (__builtin_add_overflow(disk->store_bytes, need, &after))
        after = UINT64_MAX;
    if (limits->store_bytes_max > 0 && after > limits->store_bytes_max)
        by_store = after - limits->store_bytes_max;
    return MAX(by_disk, by_store);
}

static int by_age(const void *a, const void *b)
{
    const struct plan_victim *va = a, *vb = b;
    return (va->last_used_ms > vb->last_used_ms) - (va->last_used_ms < vb->last_used_ms);
}

bool plan_evict(struct plan_victim *victims, size_t count, uint64_t short_by)
{
    uint64_t possible = 0, got = 0;
    for (size_t i = 0; i < count; i++) {
        victims[i].chosen = false;
        possible += victims[i].in_use ? 0 : victims[i].bytes;
    }
    if (possible < short_by)
        return false;
    if (count > 0)
        qsort(victims, count, sizeof *victims, by_age);
    for (size_t i = 0; i < count && got < short_by; i++) {
        victims[i].chosen = !victims[i].in_use && victims[i].bytes > 0;
        got += victims[i].chosen ? victims[i].bytes : 0;
    }
    return true;
}
