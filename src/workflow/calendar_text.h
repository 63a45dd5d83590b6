/* calendar_text.h -- Temporal's calendar strings and cron strings, to calendar.h's ranges.
 *
 * Receives the seven strings of a CalendarSpec, or one cron string: 5 fields (minute hour day month weekday),
 * 6 (and year) or 7 (second first), @daily and its like, "@every 12h/3h" (interval/phase, also in days),
 * "TZ=Zone " or "CRON_TZ=Zone " in front, "# comment" behind. Fields: * x x-y x-y/s x/s (to the end), lists;
 * months and weekdays by three and two letters or more; Sunday is 0 or 7.
 * Owns the ranges until calendar_text_done(). Refuses everything else, naming the field. Pure.
 *
 * Unlike cron.h (robfig's dialect, for cron workflows) both day fields always hold. */
#pragma once

#include "workflow/calendar.h"

struct calendar_text {
    struct calendar_ranges ranges;
    bool is_interval; /* then `interval` is meant, and there are no ranges */
    struct calendar_interval interval;
    char zone[CRON_ZONE_BYTES]; /* of a cron string; "": none given */
    struct str comment;         /* borrowed from the text */
};
/* Empty ones: second, minute and hour are 0, the rest is all. */
int calendar_text_fields(const struct str text[CALENDAR_FIELDS], struct calendar_text *ret, struct err *e) MUST_USE;
int calendar_text_cron(struct str text, struct calendar_text *ret, struct err *e) MUST_USE;
/* As people write it for hob's own schedules: "every 5m", "every 1d/9h" (interval/phase); or any cron string. */
int calendar_text_human(struct str text, struct calendar_text *ret, struct err *e) MUST_USE;
void calendar_text_done(struct calendar_text *t); /* zeroed is fine */
