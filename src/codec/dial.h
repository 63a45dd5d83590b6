/* dial.h -- which seconds of a calendar are meant: one set for each of second, minute, hour, day, month,
 * weekday, year.
 *
 * A moment is meant when what clocks on walls show then is in every set. That alone decides about clocks
 * being set: a local time that is left out comes never, one that comes twice is meant twice (robfig's cron
 * and Temporal's schedules do the same). Moments are whole seconds. Pure; a value; owns nothing. */
#pragma once

#include "codec/zone.h"

enum { DIAL_YEAR_MIN = 2000, DIAL_YEAR_MAX = 2100 };

struct dial { /* bit n: the value n */
    uint64_t seconds, minutes, hours, days, months, weekdays;
    uint64_t years[2];  /* bit n: 2000 + n */
    bool every_year;    /* also before 2000 and after 2100; `years` does not count */
    bool day_or_weekday; /* either is enough, as in a cron with both restricted */
};

/* The bits of from, from + step, …, up to `to`; all below 64. */
uint64_t dial_bits(int from, int to, int step);
void dial_add_years(struct dial *d, int from, int to, int step);

bool dial_matches(const struct dial *d, const struct zone *z, int64_t at_s);
/* The first moment that is meant after `after_s` and not after `last_s`; false: there is none. Its cost is
 * bounded by the number of years between them. */
bool dial_next(const struct dial *d, const struct zone *z, int64_t after_s, int64_t last_s, int64_t *ret_s);
