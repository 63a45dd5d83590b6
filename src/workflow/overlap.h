/* overlap.h -- what a schedule does about the moments that have come: start, hold back, cancel others, let
 * go, and count.
 *
 * Receives a calendar, the time, requests of people (trigger, backfill, pause), and how many of its actions
 * still run. The same for Temporal's schedules and hob's own. Owns (in `struct overlap`) which moments were
 * decided, what waits, and the counters; whoever keeps a schedule writes these fields down and reads them
 * back.
 * Emits, from overlap_decide(), what is to be started now and whether what runs is to be cancelled or
 * terminated.
 * Refuses: a backfill that ends before it begins, or the 101st at once. Drops, and counts, what is beyond
 * OVERLAP_BUFFER_MAX. Pure: a function of its parameters.
 *
 * Every nominal moment is decided once: the clock may stand still, jump forward or go back. One that came
 * longer ago than the catch-up window is counted as missed; one that came while the schedule could not act
 * (paused, or without actions left) is passed over; every other is started, or counted as skipped or dropped. */
#pragma once

#include "workflow/calendar.h"

enum overlap_policy { /* Temporal's numbers */
    OVERLAP_UNSPECIFIED, /* as the schedule has it */
    OVERLAP_SKIP,
    OVERLAP_BUFFER_ONE,
    OVERLAP_BUFFER_ALL,
    OVERLAP_CANCEL_OTHER,
    OVERLAP_TERMINATE_OTHER,
    OVERLAP_ALLOW_ALL,
};
enum {
    OVERLAP_BUFFER_MAX = 1000,   /* starts that wait, as in Temporal */
    OVERLAP_BACKFILLS_MAX = 100, /* at once; they are worked off while less than half of the buffer is taken */
    OVERLAP_LOOK_MAX = 10000,    /* moments in one look; then it says that there is more */
};
#define OVERLAP_CATCHUP_MS     (INT64_C(365) * 86400 * 1000) /* where none is given */
#define OVERLAP_CATCHUP_MS_MIN INT64_C(10000)

struct overlap_rules {
    enum overlap_policy policy; /* UNSPECIFIED: SKIP */
    int64_t catchup_ms;         /* 0: OVERLAP_CATCHUP_MS; never below OVERLAP_CATCHUP_MS_MIN */
    bool pause_on_failure;
};

struct overlap_start {
    int64_t nominal_ms, actual_ms;
    enum overlap_policy policy; /* UNSPECIFIED: decided by the rules of the day it is started */
    bool manual;                /* triggered or backfilled: also while paused, and not counted off */
};
struct overlap_backfill {
    int64_t after_ms, until_ms; /* what is left of it: after < nominal <= until */
    enum overlap_policy policy;
};
struct overlap { /* a value with memory of its own; zeroed, or from overlap_init() */
    int64_t decided_ms; /* nominal moments up to it were decided */
    struct overlap_start *buffer; /* in order of arrival */
    size_t buffered, buffer_room;
    struct overlap_backfill *backfills;
    size_t backfill_count, backfill_room;
    bool paused, limited;
    uint64_t remaining; /* limited: actions left. Of a schedule that was looked at, set by overlap_allow() */
    uint64_t actions, missed_catchup, overlap_skipped, buffer_dropped;
};

/* Moments after `now_ms` are its own: those before a schedule was made or changed are nobody's. */
void overlap_init(struct overlap *o, int64_t now_ms);
void overlap_done(struct overlap *o); /* zeroed is fine, and is what it leaves */
void overlap_changed(struct overlap *o, int64_t now_ms); /* its calendar is another from now on */
/* Pauses, goes on, limits. What came while it could not act is passed over. */
void overlap_allow(struct overlap *o, const struct calendar *c, struct str seed, int64_t now_ms, bool paused,
                   bool limited, uint64_t remaining);
void overlap_check(const struct overlap *o);

/* To put what was written down back; beyond their maxima nothing is taken (false). */
bool overlap_hold(struct overlap *o, struct overlap_start s);
bool overlap_hold_backfill(struct overlap *o, struct overlap_backfill b);

void overlap_trigger(struct overlap *o, enum overlap_policy policy, int64_t now_ms);
int overlap_backfill(struct overlap *o, int64_t from_ms, int64_t until_ms, enum overlap_policy policy,
                     struct err *e) MUST_USE; /* both included */

/* Takes in what has come by `now_ms`. true: there is more; decide, and look again. */
bool overlap_look(struct overlap *o, const struct overlap_rules *rules, const struct calendar *c, struct str seed,
                  int64_t now_ms) MUST_USE;

struct overlap_decision {
    struct overlap_start *starts; /* in order */
    size_t count;
    bool cancel, terminate; /* everything of this schedule that runs */
};
/* `running`: how many of its actions were started and have not ended. What is in `starts` runs from now on:
 * the next decision is told so. After each look, trigger, and end of an action. */
void overlap_decide(struct overlap *o, const struct overlap_rules *rules, uint64_t running,
                    struct overlap_decision *ret);
void overlap_decision_done(struct overlap_decision *d);

/* An action ended; `failed`: it failed or timed out, retries included. true: that paused the schedule. */
bool overlap_ended(struct overlap *o, const struct overlap_rules *rules, bool failed);

/* When to look next: INT64_MAX: not before something happens. May be in the past. */
int64_t overlap_wake_ms(const struct overlap *o, const struct calendar *c, struct str seed);
/* Whether it will never act again by itself, nor has anything left to do. A paused one may. */
bool overlap_over(const struct overlap *o, const struct calendar *c, struct str seed, uint64_t running);
