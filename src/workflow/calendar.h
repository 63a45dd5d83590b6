/* calendar.h -- when a schedule acts: calendars and intervals, less what is excluded, from a start to an end,
 * with jitter.
 *
 * Receives plain structures (whoever speaks a wire format translates), and the time zone, which must outlive
 * the calendar.
 * Owns a compiled form. Emits moments, one after another; two askers get the same.
 * Refuses, in Temporal's words: ranges outside their field, intervals below a second, a phase beyond its
 * interval; more than CALENDAR_PARTS_MAX parts. Pure: no clock, no randomness; jitter is a function of the
 * moment and a seed.
 *
 * Moments are whole seconds. Where clocks are set see dial.h. Calendars end with the year 2100, as Temporal's
 * do. */
#pragma once

#include "codec/cron.h"

struct calendar; /* opaque, immutable */

/* From start to end in steps; an end before the start means the start alone, a step of 0 means 1. */
struct calendar_range {
    int32_t start, end, step;
};
enum calendar_field {
    CALENDAR_SECOND, CALENDAR_MINUTE, CALENDAR_HOUR, CALENDAR_DAY, CALENDAR_MONTH, CALENDAR_YEAR,
    CALENDAR_WEEKDAY, /* 0: Sunday */
    CALENDAR_FIELDS,
};
/* A moment is meant if each field has a range with it. No range: no moment, but of years all. */
struct calendar_ranges {
    const struct calendar_range *at[CALENDAR_FIELDS];
    size_t count[CALENDAR_FIELDS];
};
/* Unix time = n * interval + phase. */
struct calendar_interval {
    int64_t every_ms, phase_ms;
};
struct calendar_spec {
    const struct calendar_ranges *calendars, *excludes;
    size_t calendar_count, exclude_count;
    const struct calendar_interval *intervals;
    size_t interval_count;
    int64_t start_ms, end_ms; /* both included; INT64_MIN, INT64_MAX: none */
    int64_t jitter_ms;
};
enum {
    CALENDAR_PARTS_MAX = 200,   /* calendars, intervals and exclusions together */
    CALENDAR_RANGES_MAX = 1000, /* in one field */
};

int calendar_open(const struct calendar_spec *spec, const struct zone *z, struct calendar **ret,
                  struct err *e) MUST_USE;
void calendar_free(struct calendar *c); /* NULL is fine */
DEFINE_AUTO(calendar, struct calendar *, calendar_free)

enum calendar_found {
    CALENDAR_NONE,  /* never again */
    CALENDAR_FOUND,
    CALENDAR_LATER, /* nothing until nominal_ms, included; ask again after it. Keeps the search short where nearly
                     * everything is excluded */
};
struct calendar_time {
    int64_t nominal_ms; /* as the calendar says */
    int64_t actual_ms;  /* with jitter: not before it, and before the nominal time that follows */
};
/* The first one whose nominal time is after `after_ms`. The seed is the schedule's own (its id). */
enum calendar_found calendar_next(const struct calendar *c, struct str seed, int64_t after_ms,
                                  struct calendar_time *ret);
int64_t calendar_jitter_ms(const struct calendar *c); /* no actual time is later than this after its nominal one */
/* At most `max` of those with after_ms < nominal <= until_ms; returns how many. */
size_t calendar_between(const struct calendar *c, struct str seed, int64_t after_ms, int64_t until_ms,
                        struct calendar_time *into, size_t max);
