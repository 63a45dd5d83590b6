#include "codec/dial.h"

#define DIAL_FAR_S INT64_C(3000000000000) /* some 95,000 years: farther nobody looks, and sums stay below 64 bits */

uint64_t dial_bits(int from, int to, int step)
{
    uint64_t bits = 0;
    ASSERT(from >= 0 && to < 64 && step > 0);
    for (int64_t i = from; i <= to; i += step)
        bits |= BIT(i);
    return bits;
}

void dial_add_years(struct dial *d, int from, int to, int step)
{
    ASSERT(from >= DIAL_YEAR_MIN && to <= DIAL_YEAR_MAX && step > 0);
    for (int64_t i = from - DIAL_YEAR_MIN; i <= to - DIAL_YEAR_MIN; i += step)
        d->years[i / 64] |= BIT(i % 64);
}

static bool year_meant(const struct dial *d, int64_t year)
{
    int64_t i = year - DIAL_YEAR_MIN;
    return d->every_year || (i >= 0 && i < 128 && (d->years[i / 64] & BIT(i % 64)));
}

static bool day_meant(const struct dial *d, int day, int weekday)
{
    bool of_month = d->days & BIT(day), of_week = d->weekdays & BIT(weekday);
    return d->day_or_weekday ? of_month || of_week : of_month && of_week;
}

/* The smallest value in the set that is at least n; -1: none. */
static int at_least(uint64_t set, int n)
{
    if (n > 63)
        return -1;
    set = set >> n << n;
    return set ? __builtin_ctzll(set) : -1;
}

static bool time_of_day(const struct dial *d, struct civil *c)
{
    int second = at_least(d->seconds, c->second), minute, hour;
    minute = at_least(d->minutes, second < 0 ? c->minute + 1 : c->minute);
    hour = at_least(d->hours, minute < 0 ? c->hour + 1 : c->hour);
    if (hour < 0)
        return false;
    bool hour_moved = hour != c->hour, minute_moved = hour_moved || minute != c->minute;
    *c = (struct civil){ c->year, c->month, c->day, hour,
                         hour_moved ? at_least(d->minutes, 0) : minute,
                         minute_moved ? at_least(d->seconds, 0) : second };
    return c->minute >= 0 && c->second >= 0;
}

static void midnight(struct civil *c, int64_t year, int month, int day)
{
    *c = (struct civil){ year, month, day, 0, 0, 0 };
}

/* The first local time that is meant, from `from_s` to `to_s`, both included. */
static bool local_next(const struct dial *d, int64_t from_s, int64_t to_s, int64_t *ret_s)
{
    struct civil c;
    civil_of_seconds(from_s, &c);
    while (civil_seconds(&c) <= to_s) {
        int month = year_meant(d, c.year) ? at_least(d->months, c.month) : -1;
        if (month < 0 || month > 12) {
            midnight(&c, c.year + 1, 1, 1);
            continue;
        }
        if (month != c.month)
            midnight(&c, c.year, month, 1);
        int weekday = civil_weekday(civil_days(c.year, c.month, c.day));
        if (day_meant(d, c.day, weekday) && time_of_day(d, &c)) {
            *ret_s = civil_seconds(&c);
            return *ret_s <= to_s;
        }
        if (c.day < civil_month_days(c.year, c.month))
            midnight(&c, c.year, c.month, c.day + 1);
        else if (c.month < 12)
            midnight(&c, c.year, c.month + 1, 1);
        else
            midnight(&c, c.year + 1, 1, 1);
    }
    return false;
}

bool dial_matches(const struct dial *d, const struct zone *z, int64_t at_s)
{
    struct civil c;
    zone_local(z, at_s, &c);
    return year_meant(d, c.year) && (d->months & BIT(c.month)) &&
           day_meant(d, c.day, civil_weekday(civil_days(c.year, c.month, c.day))) &&
           (d->hours & BIT(c.hour)) && (d->minutes & BIT(c.minute)) && (d->seconds & BIT(c.second));
}

/* Within a span of one offset local time runs as a straight line, so each span is searched on its own. */
bool dial_next(const struct dial *d, const struct zone *z, int64_t after_s, int64_t last_s, int64_t *ret_s)
{
    after_s = MAX(after_s, -DIAL_FAR_S);
    last_s = MIN(last_s, DIAL_FAR_S);
    for (int64_t from = after_s + 1, until; from <= last_s; from = until) {
        int32_t offset_s;
        int64_t local;
        zone_span(z, from, &offset_s, &until);
        int64_t to = MIN(until - 1, last_s);
        if (local_next(d, from + offset_s, to + offset_s, &local)) {
            *ret_s = local - offset_s;
            return true;
        }
        if (until > last_s)
            return false;
    }
    return false;
}
