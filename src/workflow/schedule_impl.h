/* schedule_impl.h -- what the files schedule*.c share. For nobody else. */
#pragma once

#include "codec/temporal.h"
#include "workflow/overlap.h"
#include "workflow/schedule.h"
#include "workflow/schedule.pb-c.h"

enum { SCHEDULE_WISH_NONE, SCHEDULE_WISH_OPEN, SCHEDULE_WISH_TOLD }; /* of Action.cancel, .terminate */

struct schedule {
    Wc__Schedule *s; /* but for what `overlap` has */
    struct overlap overlap;
    struct zone *zone;
    struct calendar *calendar;
    bool more;         /* a look saw more than it could take in */
    struct schedule_shown *shown;
};
struct schedule_shown { /* what the index points at */
    struct buf extra;
    struct journal_attribute paused;
};

struct str schedule_seed(const struct schedule *s);
struct overlap_rules schedule_rules(const struct schedule *s);
void schedule_advance(struct schedule *s, int64_t now_ns); /* looks and decides */
void schedule_state_write(const struct schedule *s, Wc__Schedule *into); /* what `overlap` has */
int schedule_state_read(struct schedule *s);                              /* < 0: it says more than there may be */
Tp__ScheduleInfo *schedule_info(const struct schedule *s, int64_t now_ns, size_t recent_max, size_t future_max);
void schedule_limits_show(const struct schedule *s, Tp__Schedule *into); /* paused, remaining actions */
