/* phase.h -- the phases of a cold start: their names, their order, and one start's record of them.
 *
 * Receives begin and end marks with the monotonic clock; owns nothing but its struct.
 * Emits names, intervals and coverage. Refuses (ASSERT) to end what did not begin.
 * Pure: the clock comes in. docs/decisions/0004 says who measures what.
 */
#pragma once

#include "base/base.h"

enum phase {
    PHASE_QUEUE,
    PHASE_SCHEDULE,
    PHASE_IMAGE_PULL,
    PHASE_IMAGE_UNPACK,
    PHASE_MODEL_FETCH,
    PHASE_MODEL_VERIFY,
    PHASE_MODEL_COMPILE,
    PHASE_SANDBOX,
    PHASE_RUNTIME_INIT,
    PHASE_MODEL_LOAD,
    PHASE_ALLOCATE,
    PHASE_WARMUP,
    PHASE_READY,
    PHASE_FIRST_REQUEST_DELTA, /* a difference, not an interval: duration only, may be negative */
    PHASES,
};
const char *phase_name(enum phase p); /* "image_pull" */
bool phase_find(const char *name, size_t size, enum phase *ret);

enum phase_outcome {
    PHASE_ABSENT = 0, /* did not happen and was not needed */
    PHASE_OPEN,       /* began, not ended */
    PHASE_DONE,
    PHASE_WARM,   /* a cache made it unnecessary; zero or near-zero length */
    PHASE_FAILED,
};
const char *phase_outcome_name(enum phase_outcome o); /* "absent" "open" "done" "warm" "failed" */

struct phase_mark {
    uint64_t start_us;   /* absolute monotonic while running; writers of records subtract the base */
    int64_t duration_us;
    uint64_t bytes;
    enum phase_outcome outcome;
};

/* Which caches were warm. UNKNOWN is for what was not looked at; it is never shown as a miss. */
enum cache { CACHE_IMAGE, CACHE_MODEL, CACHE_ENGINE, CACHE_PAGE_CACHE, CACHE_ZYGOTE,
             CACHE_SANDBOX_POOL, CACHE_SNAPSHOT, CACHES };
enum cache_state { CACHE_UNKNOWN = 0, CACHE_NONE, CACHE_MISS, CACHE_PARTIAL, CACHE_HIT };
const char *cache_name(enum cache c);             /* "image" "model" "engine" "page_cache" … */
const char *cache_state_name(enum cache_state s); /* "unknown" "none" "miss" "partial" "hit" */

/* A container beside the one that serves: an init container from when it could start to its end, a sidecar from its start to
 * ready. Those that fit, init containers first. */
struct start_beside {
    char name[40]; /* cut */
    bool is_init;
    struct phase_mark mark;
};
enum { START_BESIDES_MAX = 7 };

/* The task of a workflow that an instance was started for; workflow "": none. Texts are cut. */
struct start_task {
    char queue[64], workflow[96], run[37];
    bool activity;      /* else a workflow task */
    uint64_t waited_us; /* when the start was decided, since the task was there to be taken */
};

struct start_record { /* one cold start */
    char id[40];          /* "start-<uuid>" is too long for people: it is the instance's name */
    uint64_t begin_us;    /* monotonic: when the start was decided */
    int64_t begin_wall_ms;
    struct phase_mark phases[PHASES];
    struct start_beside besides[START_BESIDES_MAX];
    uint32_t beside_count;
    enum cache_state caches[CACHES];
    struct start_task task;
    uint32_t page_cache_permille; /* of the models' bytes, resident before the start */
    enum phase failed_phase;      /* valid when failed */
    bool failed, finished;
    char error[256]; /* why it failed; of one that was ready: why it was given up since */
};

/* A phase that begins again keeps its first start, and begin..begin is one opening: with several
 * models it is one interval from the first begin to the last end (the owner counts them). On a
 * failed record begin and end do nothing: what ran beside the culprit may still report. */
void phase_begin(struct start_record *r, enum phase p, uint64_t now_us);
void phase_end(struct start_record *r, enum phase p, uint64_t now_us, enum phase_outcome o);
void phase_bytes(struct start_record *r, enum phase p, uint64_t bytes); /* adds */
/* The same for the container at `index`, which comes after those that are there; one that does not fit is left out. A finished
 * record keeps what it says: a sidecar that is started again later is not of the start. */
void beside_begin(struct start_record *r, uint32_t index, const char *name, bool is_init, uint64_t now_us);
void beside_end(struct start_record *r, uint32_t index, uint64_t now_us, enum phase_outcome o);
/* Every open phase ends as failed, and `at` is named the culprit, begun or not; the record is
 * finished. The first failure stays: later ones are its consequences. */
void phase_fail(struct start_record *r, enum phase at, uint64_t now_us, const char *why);
/* A copy for records: every start_us counts from begin_us (what lies before is cut off); begin_us
 * itself stays. Not to be applied twice. */
void phase_relative(const struct start_record *running, struct start_record *into);

/* Length of the union of the given [start, end) intervals, clipped to [from, to). n <= 32. */
struct interval {
    uint64_t start_us, end_us;
};
uint64_t interval_union(const struct interval *in, size_t n, uint64_t from_us, uint64_t to_us);
