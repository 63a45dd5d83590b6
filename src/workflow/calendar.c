#include "workflow/calendar.h"

#include <stdlib.h>

enum { EXCLUDED_MAX = 2000 }; /* moments passed over in one search, then it is CALENDAR_LATER */

struct calendar {
    const struct zone *zone;
    struct dial *dials, *excludes;
    size_t dial_count, exclude_count;
    struct calendar_interval *intervals; /* in whole seconds, but kept in ms */
    size_t interval_count;
    int64_t start_s, end_s, last_s; /* last_s: end of the year 2100 there */
    int64_t jitter_ms;
};

static const struct {
    const char *name;
    int32_t min, max;
} fields[] = {
    [CALENDAR_SECOND] = { "Second", 0, 59 },  [CALENDAR_MINUTE] = { "Minute", 0, 59 },
    [CALENDAR_HOUR] = { "Hour", 0, 23 },      [CALENDAR_DAY] = { "DayOfMonth", 1, 31 },
    [CALENDAR_MONTH] = { "Month", 1, 12 },    [CALENDAR_YEAR] = { "Year", DIAL_YEAR_MIN, DIAL_YEAR_MAX },
    [CALENDAR_WEEKDAY] = { "DayOfWeek", 0, 6 },
};
_Static_assert(COUNT_OF(fields) == CALENDAR_FIELDS, "each field has its bounds");

static int64_t floor_s(int64_t ms) { return ms / 1000 - (ms % 1000 < 0); }

static int refuse(struct err *e, const char *field, const char *why)
{
    return err_set(e, CODE_INVALID, "invalid calendar spec: %s %s", field, why);
}

static int range_check(const struct calendar_range *r, enum calendar_field f, struct err *e)
{
    if (r->start < fields[f].min || r->start > fields[f].max)
        return err_set(e, CODE_INVALID, "invalid calendar spec: %s Start is not in range [%d-%d]", fields[f].name,
                       fields[f].min, fields[f].max);
    if (r->end != 0 && (r->end < r->start || r->end > fields[f].max))
        return err_set(e, CODE_INVALID, "invalid calendar spec: %s End is before Start or not in range [%d-%d]",
                       fields[f].name, fields[f].min, fields[f].max);
    return r->step < 0 ? refuse(e, fields[f].name, "has invalid Step") : 0;
}

static int dial_of(const struct calendar_ranges *c, struct dial *d, struct err *e)
{
    uint64_t *into[] = { &d->seconds, &d->minutes, &d->hours, &d->days, &d->months, NULL, &d->weekdays };
    for (enum calendar_field f = 0; f < CALENDAR_FIELDS; f++) {
        if (c->count[f] > CALENDAR_RANGES_MAX)
            return refuse(e, fields[f].name, "has more than 1000 ranges");
        for (size_t i = 0; i < c->count[f]; i++) {
            const struct calendar_range *r = &c->at[f][i];
            int result = range_check(r, f, e), step = r->step ? r->step : 1;
            if (result < 0)
                return result;
            if (f == CALENDAR_YEAR)
                dial_add_years(d, r->start, MAX(r->end, r->start), step);
            else
                *into[f] |= dial_bits(r->start, MAX(r->end, r->start), step);
        }
    }
    d->every_year = c->count[CALENDAR_YEAR] == 0;
    return 0;
}

static int dials_of(const struct calendar_ranges *from, size_t count, struct dial **into, size_t *ret_count,
                    struct err *e)
{
    *into = xcalloc(count + 1, sizeof **into);
    *ret_count = count;
    for (size_t i = 0; i < count; i++) {
        int r = dial_of(&from[i], &(*into)[i], e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int interval_check(const struct calendar_interval *i, struct err *e)
{
    if (i->every_ms < 1000)
        return err_set(e, CODE_INVALID, "interval is too small: it must be a second or more");
    if (i->phase_ms < 0)
        return err_set(e, CODE_INVALID, "phase is negative");
    if (i->phase_ms >= i->every_ms)
        return err_set(e, CODE_INVALID, "phase cannot be greater than Interval");
    return 0;
}

int calendar_open(const struct calendar_spec *spec, const struct zone *z, struct calendar **ret,
                  struct err *e)
{
    AUTO(calendar) struct calendar *c = NULL;
    int32_t offset_s;
    int64_t until_s, end_s = civil_seconds(&(struct civil){ DIAL_YEAR_MAX + 1, 1, 1, 0, 0, 0 });
    int r;
    if (spec->calendar_count > CALENDAR_PARTS_MAX || spec->exclude_count > CALENDAR_PARTS_MAX ||
        spec->interval_count > CALENDAR_PARTS_MAX ||
        spec->calendar_count + spec->exclude_count + spec->interval_count > CALENDAR_PARTS_MAX)
        return err_set(e, CODE_INVALID, "schedule spec: more than %d calendars, intervals and exclusions",
                       CALENDAR_PARTS_MAX);
    if (spec->jitter_ms < 0)
        return err_set(e, CODE_INVALID, "schedule spec: jitter is negative");
    c = xcalloc(1, sizeof *c);
    c->zone = z;
    zone_span(z, end_s, &offset_s, &until_s);
    c->last_s = end_s - offset_s - 1;
    c->jitter_ms = MIN(spec->jitter_ms, (int64_t)UINT32_MAX);
    c->end_s = floor_s(spec->end_ms);
    c->start_s = spec->start_ms == INT64_MIN ? INT64_MIN : floor_s(spec->start_ms) + (spec->start_ms % 1000 != 0);
    if ((r = dials_of(spec->calendars, spec->calendar_count, &c->dials, &c->dial_count, e)) < 0 ||
        (r = dials_of(spec->excludes, spec->exclude_count, &c->excludes, &c->exclude_count, e)) < 0)
        return r;
    c->intervals = xcalloc(spec->interval_count + 1, sizeof c->intervals[0]);
    for (size_t i = 0; i < spec->interval_count; i++) {
        if ((r = interval_check(&spec->intervals[i], e)) < 0)
            return r;
        c->intervals[c->interval_count++] = spec->intervals[i];
    }
    *ret = TAKE(c);
    return 0;
}

void calendar_free(struct calendar *c)
{
    if (!c)
        return;
    free(c->dials);
    free(c->excludes);
    free(c->intervals);
    free(c);
}

/* Phase and interval count in whole seconds, as in Temporal; a phase that rounding made equal to the interval
 * is 0. */
static int64_t interval_next(const struct calendar_interval *i, int64_t after_s)
{
    int64_t every = i->every_ms / 1000, phase = i->phase_ms / 1000 % every, n = after_s - phase, next;
    int64_t whole = n / every - (n % every < 0);
    if (__builtin_mul_overflow(whole + 1, every, &next) || __builtin_add_overflow(next, phase, &next))
        return INT64_MAX;
    return next;
}

/* Without exclusions; INT64_MAX: none. */
static int64_t raw_next(const struct calendar *c, int64_t after_s)
{
    int64_t next = INT64_MAX, last_s = MIN(c->last_s, c->end_s);
    for (size_t i = 0; i < c->interval_count; i++)
        next = MIN(next, interval_next(&c->intervals[i], after_s));
    for (size_t i = 0; i < c->dial_count; i++) {
        int64_t at;
        if (dial_next(&c->dials[i], c->zone, after_s, MIN(last_s, next), &at))
            next = MIN(next, at);
    }
    return next;
}

static bool excluded(const struct calendar *c, int64_t at_s)
{
    for (size_t i = 0; i < c->exclude_count; i++)
        if (dial_matches(&c->excludes[i], c->zone, at_s))
            return true;
    return false;
}

/* FNV-1a, then spread: neighbouring moments must not have neighbouring jitter. */
static uint32_t hash(struct str seed, int64_t at_s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (int i = 0; i < 8; i++)
        h = (h ^ ((uint64_t)at_s >> (8 * i) & 0xff)) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < seed.size; i++)
        h = (h ^ (uint8_t)seed.at[i]) * UINT64_C(0x100000001b3);
    h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(h >> 32);
}

static void with_jitter(const struct calendar *c, struct str seed, int64_t at_s, struct calendar_time *ret)
{
    uint64_t most_ms = (uint64_t)c->jitter_ms;
    ret->nominal_ms = at_s * 1000;
    ret->actual_ms = ret->nominal_ms;
    if (most_ms == 0)
        return;
    int64_t following_s = raw_next(c, at_s);
    if (following_s < at_s + c->jitter_ms / 1000 + 1)
        most_ms = MIN(most_ms, (uint64_t)(following_s - at_s) * 1000);
    ret->actual_ms += (int64_t)((hash(seed, at_s) * most_ms) >> 32);
}

enum calendar_found calendar_next(const struct calendar *c, struct str seed, int64_t after_ms,
                                  struct calendar_time *ret)
{
    int64_t far_s = INT64_MAX / 2000; /* whose milliseconds fit, jitter and all */
    int64_t at_s = MAX(MAX(floor_s(after_ms), -far_s), c->start_s == INT64_MIN ? INT64_MIN : c->start_s - 1);
    for (int tries = 0; tries < EXCLUDED_MAX; tries++) {
        at_s = raw_next(c, at_s);
        if (at_s > c->end_s || at_s > far_s)
            return CALENDAR_NONE;
        if (!excluded(c, at_s)) {
            with_jitter(c, seed, at_s, ret);
            return CALENDAR_FOUND;
        }
    }
    *ret = (struct calendar_time){ at_s * 1000, at_s * 1000 };
    return CALENDAR_LATER;
}

int64_t calendar_jitter_ms(const struct calendar *c) { return c->jitter_ms; }

size_t calendar_between(const struct calendar *c, struct str seed, int64_t after_ms, int64_t until_ms,
                        struct calendar_time *into, size_t max)
{
    size_t count = 0;
    struct calendar_time t;
    while (count < max) {
        enum calendar_found found = calendar_next(c, seed, after_ms, &t);
        if (found == CALENDAR_NONE || t.nominal_ms > until_ms)
            break;
        after_ms = t.nominal_ms;
        if (found == CALENDAR_FOUND)
            into[count++] = t;
    }
    return count;
}
