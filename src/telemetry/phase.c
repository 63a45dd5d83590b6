#include "telemetry/phase.h"
#include "base/str.h"

#include <stdio.h>

enum { INTERVALS_MAX = 32 };

static const char *const phase_names[PHASES] = {
    [PHASE_QUEUE] = "queue",
    [PHASE_SCHEDULE] = "schedule",
    [PHASE_IMAGE_PULL] = "image_pull",
    [PHASE_IMAGE_UNPACK] = "image_unpack",
    [PHASE_MODEL_FETCH] = "model_fetch",
    [PHASE_MODEL_VERIFY] = "model_verify",
    [PHASE_MODEL_COMPILE] = "model_compile",
    [PHASE_SANDBOX] = "sandbox",
    [PHASE_RUNTIME_INIT] = "runtime_init",
    [PHASE_MODEL_LOAD] = "model_load",
    [PHASE_ALLOCATE] = "allocate",
    [PHASE_WARMUP] = "warmup",
    [PHASE_READY] = "ready",
    [PHASE_FIRST_REQUEST_DELTA] = "first_request_delta",
};
static const char *const outcome_names[] = {
    [PHASE_ABSENT] = "absent", [PHASE_OPEN] = "open",     [PHASE_DONE] = "done",
    [PHASE_WARM] = "warm",     [PHASE_FAILED] = "failed",
};
static const char *const cache_names[CACHES] = {
    [CACHE_IMAGE] = "image",       [CACHE_MODEL] = "model",
    [CACHE_ENGINE] = "engine",     [CACHE_PAGE_CACHE] = "page_cache",
    [CACHE_ZYGOTE] = "zygote",     [CACHE_SANDBOX_POOL] = "sandbox_pool",
    [CACHE_SNAPSHOT] = "snapshot",
};
static const char *const cache_state_names[] = {
    [CACHE_UNKNOWN] = "unknown", [CACHE_NONE] = "none", [CACHE_MISS] = "miss",
    [CACHE_PARTIAL] = "partial", [CACHE_HIT] = "hit",
};
_Static_assert(COUNT_OF(outcome_names) == PHASE_FAILED + 1, "every outcome has a name");
_Static_assert(COUNT_OF(cache_state_names) == CACHE_HIT + 1, "every cache state has a name");

const char *phase_name(enum phase p)
{
    ASSERT((unsigned)p < PHASES);
    return phase_names[p];
}

bool phase_find(const char *name, size_t size, enum phase *ret)
{
    for (unsigned p = 0; p < PHASES; p++) {
        if (str_is((struct str){ name, size }, phase_names[p])) {
            *ret = (enum phase)p;
            return true;
        }
    }
    return false;
}

const char *phase_outcome_name(enum phase_outcome o)
{
    ASSERT((unsigned)o < COUNT_OF(outcome_names));
    return outcome_names[o];
}

const char *cache_name(enum cache c)
{
    ASSERT((unsigned)c < CACHES);
    return cache_names[c];
}

const char *cache_state_name(enum cache_state s)
{
    ASSERT((unsigned)s < COUNT_OF(cache_state_names));
    return cache_state_names[s];
}

static struct phase_mark *mark_of(struct start_record *r, enum phase p)
{
    ASSERT((unsigned)p < PHASES && p != PHASE_FIRST_REQUEST_DELTA);
    return &r->phases[p];
}

void phase_begin(struct start_record *r, enum phase p, uint64_t now_us)
{
    struct phase_mark *m = mark_of(r, p);
    if (r->failed)
        return;
    if (m->outcome == PHASE_ABSENT)
        m->start_us = now_us;
    ASSERT(m->start_us <= now_us);
    m->outcome = PHASE_OPEN;
}

void phase_end(struct start_record *r, enum phase p, uint64_t now_us, enum phase_outcome o)
{
    struct phase_mark *m = mark_of(r, p);
    ASSERT(o == PHASE_DONE || o == PHASE_WARM || o == PHASE_FAILED);
    if (r->failed)
        return;
    ASSERT(m->outcome == PHASE_OPEN && m->start_us <= now_us);
    m->duration_us = (int64_t)(now_us - m->start_us);
    m->outcome = o;
}

void phase_bytes(struct start_record *r, enum phase p, uint64_t bytes)
{
    mark_of(r, p)->bytes += bytes;
}

void beside_begin(struct start_record *r, uint32_t index, const char *name, bool is_init, uint64_t now_us)
{
    if (r->finished || index >= START_BESIDES_MAX)
        return;
    struct start_beside *b = &r->besides[index];
    if (b->mark.outcome == PHASE_ABSENT) {
        snprintf(b->name, sizeof b->name, "%.39s", name);
        b->is_init = is_init;
        b->mark.start_us = now_us;
        r->beside_count = MAX(r->beside_count, index + 1);
    }
    b->mark.outcome = PHASE_OPEN;
}

void beside_end(struct start_record *r, uint32_t index, uint64_t now_us, enum phase_outcome o)
{
    if (r->finished || index >= r->beside_count || r->besides[index].mark.outcome != PHASE_OPEN)
        return;
    struct phase_mark *m = &r->besides[index].mark;
    m->duration_us = (int64_t)(now_us - m->start_us);
    m->outcome = o;
}

void phase_fail(struct start_record *r, enum phase at, uint64_t now_us, const char *why)
{
    struct phase_mark *culprit = mark_of(r, at);
    if (r->failed)
        return;
    if (culprit->outcome == PHASE_ABSENT)
        culprit->start_us = now_us;
    for (unsigned p = 0; p < PHASES; p++)
        if (r->phases[p].outcome == PHASE_OPEN)
            phase_end(r, (enum phase)p, now_us, PHASE_FAILED);
    for (uint32_t k = 0; k < r->beside_count; k++)
        beside_end(r, k, now_us, PHASE_FAILED);
    culprit->outcome = PHASE_FAILED;
    r->failed = r->finished = true;
    r->failed_phase = at;
    snprintf(r->error, sizeof r->error, "%s", why);
}

static void mark_relative(struct phase_mark *m, uint64_t begin_us)
{
    uint64_t before_us = m->start_us < begin_us ? begin_us - m->start_us : 0;
    m->start_us = before_us ? 0 : m->start_us - begin_us;
    m->duration_us = MAX(m->duration_us - (int64_t)before_us, 0);
}

void phase_relative(const struct start_record *running, struct start_record *into)
{
    *into = *running;
    for (unsigned p = 0; p < PHASES; p++) {
        struct phase_mark *m = &into->phases[p];
        if (m->outcome == PHASE_ABSENT || p == PHASE_FIRST_REQUEST_DELTA)
            continue;
        mark_relative(m, into->begin_us);
    }
    for (uint32_t k = 0; k < into->beside_count; k++)
        if (into->besides[k].mark.outcome != PHASE_ABSENT)
            mark_relative(&into->besides[k].mark, into->begin_us);
}

/* From `at`, either some interval reaches further, or nothing covers until the next start. Each step
 * uses up an interval's start or end, so there are at most 2n: no sorted copy is needed for 32. */
uint64_t interval_union(const struct interval *in, size_t n, uint64_t from_us, uint64_t to_us)
{
    ASSERT(n <= INTERVALS_MAX);
    uint64_t covered = 0, at = from_us;
    while (at < to_us) {
        uint64_t reach = at, next = to_us;
        for (size_t i = 0; i < n; i++) {
            if (in[i].start_us <= at)
                reach = MAX(reach, MIN(in[i].end_us, to_us));
            else
                next = MIN(next, in[i].start_us);
        }
        covered += reach - at;
        at = reach > at ? reach : next;
    }
    return covered;
}
