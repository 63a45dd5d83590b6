/* Schedules: texts to ranges, refusals, moments against a walk through every second with the C library's clock, jitter, and a
 * search that stays short whatever is asked. */
#include "tap.h"

#include "base/rng.h"
#include "workflow/calendar_text.h"
#include "zone_files.h"

#include <stdlib.h>
#include <time.h>

#define SEED STR("schedule")

static int64_t at(const char *rfc3339)
{
    struct err e;
    int64_t s = 0;
    int32_t ns;
    return civil_rfc3339_parse(str_of(rfc3339), &s, &ns, &e) < 0 ? INT64_MIN : s * 1000 + ns / 1000000;
}

static const struct calendar_spec always = { .start_ms = INT64_MIN, .end_ms = INT64_MAX };

static struct calendar *of_cron(const char *cron, const struct calendar_spec *more, const struct zone *z, struct err *e)
{
    struct calendar_text t = { 0 };
    struct calendar *c = NULL;
    struct calendar_spec s = more ? *more : always;
    if (calendar_text_cron(str_of(cron), &t, e) < 0)
        return NULL;
    s.calendars = &t.ranges;
    s.calendar_count = !t.is_interval;
    s.intervals = &t.interval;
    s.interval_count = t.is_interval;
    if (calendar_open(&s, z, &c, e) < 0)
        c = NULL;
    calendar_text_done(&t);
    return c;
}

static const struct {
    const char *cron, *zone, *after, *next; /* NULL: none */
} cases[] = {
    { "0 9 * * mon-fri", NULL, "2026-01-02T09:00:00Z", "2026-01-05T09:00:00Z" },
    { "0 9 13 * FRIDAY", NULL, "2026-01-02T09:00:00Z", "2026-02-13T09:00:00Z" }, /* both days, unlike robfig's */
    { "0 9 * janu-mar 7", NULL, "2026-01-02T09:00:00Z", "2026-01-04T09:00:00Z" },
    { "0 9 * * fri-7", NULL, "2026-01-03T09:00:00Z", "2026-01-04T09:00:00Z" },
    { "0 9 * * 5/2", NULL, "2026-01-02T09:00:00Z", "2026-01-09T09:00:00Z" },
    { "0 0 29 2 * 2027-2100", NULL, "2026-01-02T09:00:00Z", "2028-02-29T00:00:00Z" },
    { "0 0 29 2 *", NULL, "2096-02-29T00:00:00Z", NULL }, /* 2100 has none, and is the end */
    { "0 0 31 12 *", NULL, "2099-12-31T00:00:00Z", "2100-12-31T00:00:00Z" },
    { "0 0 31 12 *", NULL, "2100-12-31T00:00:00Z", NULL },
    { "0 0 1 1 * 2030", NULL, "2026-01-02T09:00:00Z", "2030-01-01T00:00:00Z" },
    { "0 0 1 1 * 2030", NULL, "2030-01-01T00:00:00Z", NULL },
    { "*/20 30 9 * * * *", NULL, "2026-01-02T09:30:20Z", "2026-01-02T09:30:40Z" },
    { "30 9 * * * # comment", NULL, "2026-01-02T09:30:20Z", "2026-01-03T09:30:00Z" },
    { "@weekly", NULL, "2026-01-02T09:30:20Z", "2026-01-04T00:00:00Z" },
    { "@every 12h/3h", NULL, "2026-01-02T04:00:00Z", "2026-01-02T15:00:00Z" },
    { "@every 1d", NULL, "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z" },
    { "@every 1h", NULL, "1969-12-31T22:30:00Z", "1969-12-31T23:00:00Z" },
    { "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z" },
    { "30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z" },
    { "0 0 31 2 *", NULL, "2026-01-01T00:00:00Z", NULL },
    { "10 1 * * *", NULL, "2026-01-01T01:09:59.999Z", "2026-01-01T01:10:00Z" },
};

TEST(cron_strings_mean_what_temporal_says)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = { 0 };
        struct calendar_time t = { 0 };
        AUTO(zone) struct zone *z = cases[i].zone ? zone_of_machine(cases[i].zone) : NULL;
        AUTO(calendar) struct calendar *c = of_cron(cases[i].cron, NULL, z, &e);
        if (!c)
            FAIL("%s: %s", cases[i].cron, e.text);
        enum calendar_found found = calendar_next(c, SEED, at(cases[i].after), &t);
        char text[CIVIL_TEXT] = "none";
        if (found == CALENDAR_FOUND)
            civil_rfc3339_format(t.nominal_ms / 1000, 0, text);
        if (cases[i].next ? found != CALENDAR_FOUND || t.nominal_ms != at(cases[i].next) : found != CALENDAR_NONE)
            FAIL("%s after %s: %s", cases[i].cron, cases[i].after, text);
        CHECK(found == CALENDAR_NONE || t.actual_ms == t.nominal_ms);
    }
}

TEST(texts_become_the_ranges_that_temporal_shows)
{
    struct calendar_text t = { 0 };
    struct err e = { 0 };
    CHECK_EQ(calendar_text_cron(STR("CRON_TZ=Europe/Berlin 5,10-20/5,*/2 0/3 * feb 4-7/3 # why"), &t, &e), 0);
    const struct calendar_range *m = t.ranges.at[CALENDAR_MINUTE], *h = t.ranges.at[CALENDAR_HOUR],
                                *w = t.ranges.at[CALENDAR_WEEKDAY];
    bool right = t.ranges.count[CALENDAR_MINUTE] == 3 && m[0].start == 5 && m[0].end == 0 && m[0].step == 0 &&
                 m[1].start == 10 && m[1].end == 20 && m[1].step == 5 && m[2].end == 59 && m[2].step == 2 &&
                 h[0].start == 0 && h[0].end == 23 && h[0].step == 3 && t.ranges.count[CALENDAR_YEAR] == 0 &&
                 t.ranges.count[CALENDAR_SECOND] == 1 && t.ranges.at[CALENDAR_SECOND][0].start == 0 &&
                 t.ranges.count[CALENDAR_WEEKDAY] == 2 && w[0].start == 4 && w[0].end == 6 && w[1].start == 0 &&
                 strcmp(t.zone, "Europe/Berlin") == 0 && str_is(t.comment, "why");
    calendar_text_done(&t);
    CHECK(right);
    const struct str text[CALENDAR_FIELDS] = { [CALENDAR_HOUR] = STR("9"), [CALENDAR_WEEKDAY] = STR(" Mo,we ") };
    CHECK_EQ(calendar_text_fields(text, &t, &e), 0);
    right = t.ranges.count[CALENDAR_MINUTE] == 1 && t.ranges.at[CALENDAR_DAY][0].end == 31 &&
            t.ranges.count[CALENDAR_WEEKDAY] == 2 && t.ranges.at[CALENDAR_WEEKDAY][1].start == 3;
    calendar_text_done(&t);
    CHECK(right);
}

TEST(texts_that_are_wrong_are_named)
{
    static const struct {
        const char *cron, *error;
    } bad[] = {
        { "", "five to seven fields" },
        { "* * * *", "five to seven fields" },
        { "* * * * * * * *", "five to seven fields" },
        { "60 * * * *", "minute \"60\": outside 0 to 59" },
        { "* * * ja *", "month \"ja\": neither a number nor a name" },
        { "* * * * m", "day of week \"m\": neither a number nor a name" },
        { "* * * * 8", "outside 0 to 7" },
        { "* * * * * 1999", "year \"1999\": outside 2000 to 2100" },
        { "1,,2 * * * *", "minute \"\": not a number" },
        { "1, * * * *", "minute \"\": not a number" },
        { "5-1 * * * *", "ends before it begins" },
        { "*/0 * * * *", "the step is no positive number" },
        { "1/2/3 * * * *", "the step is no positive number" },
        { "@every", "every" },
        { "@every 1x", "unknown unit" },
        { "@every 1h/", "interval" },
        { "@every 100ms", "interval is too small" },
        { "@every 1h/2h", "phase cannot be greater than Interval" },
        { "@every -1h", "interval is too small" },
        { "TZ=x/../y * * * * *", "no name of a time zone" },
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e = { 0 };
        AUTO(calendar) struct calendar *c = of_cron(bad[i].cron, NULL, NULL, &e);
        if (strcmp(bad[i].cron, "@every 1h/") == 0)
            CHECK(c); /* an empty phase is none, as in Temporal */
        else if (c || !strstr(e.text, bad[i].error))
            FAIL("%s: %s", bad[i].cron, e.text);
    }
}

TEST(people_may_write_every_or_a_cron_string)
{
    static const struct {
        const char *text;
        int64_t every_ms, phase_ms; /* -7: refused; 0: a cron string */
    } texts[] = {
        { "every 5m", 300000, 0 }, { " every 1d/9h ", 86400000, 32400000 }, { "every 1h30m", 5400000, 0 },
        { "@every 5m", 300000, 0 }, { "*/5 * * * *", 0, 0 }, { "@daily", 0, 0 }, { "every", -7, 0 },
        { "every day", -7, 0 }, { "every5m", -7, 0 }, { "every 5", -7, 0 }, { "", -7, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct calendar_text t = { .interval = { -7, 0 } };
        struct err e = { 0 };
        int r = calendar_text_human(str_of(texts[i].text), &t, &e);
        bool right = t.interval.every_ms == texts[i].every_ms && (r < 0) == (texts[i].every_ms == -7) &&
                     t.interval.phase_ms == texts[i].phase_ms && t.is_interval == (texts[i].every_ms > 0);
        if (r == 0)
            calendar_text_done(&t);
        if (!right)
            FAIL("'%s': %d %s", texts[i].text, r, e.text);
    }
}

TEST(ranges_outside_their_field_are_refused_in_temporals_words)
{
    static const struct {
        enum calendar_field f;
        struct calendar_range r;
        const char *error; /* NULL: fine */
    } ranges[] = {
        { CALENDAR_SECOND, { 0, 59, 0 }, NULL }, { CALENDAR_SECOND, { 60, 0, 0 }, "Second Start is not in range [0-59]" },
        { CALENDAR_HOUR, { 5, 24, 0 }, "Hour End is before Start or not in range [0-23]" },
        { CALENDAR_HOUR, { 5, 4, 0 }, "Hour End is before Start" }, { CALENDAR_HOUR, { 5, 0, 0 }, NULL },
        { CALENDAR_DAY, { 0, 0, 0 }, "DayOfMonth Start is not in range [1-31]" },
        { CALENDAR_MONTH, { 12, 12, -1 }, "Month has invalid Step" },
        { CALENDAR_YEAR, { 1999, 0, 0 }, "Year Start is not in range [2000-2100]" },
        { CALENDAR_WEEKDAY, { 7, 0, 0 }, "DayOfWeek Start is not in range [0-6]" },
        { CALENDAR_MINUTE, { INT32_MIN, INT32_MAX, 1 }, "Minute Start" },
        { CALENDAR_MINUTE, { 0, 59, INT32_MAX }, NULL },
    };
    for (size_t i = 0; i < COUNT_OF(ranges); i++) {
        struct calendar_ranges all = { { 0 }, { 0 } };
        struct calendar_spec s = always;
        struct err e = { 0 };
        AUTO(calendar) struct calendar *c = NULL;
        all.at[ranges[i].f] = &ranges[i].r;
        all.count[ranges[i].f] = 1;
        s.excludes = &all;
        s.exclude_count = 1;
        int r = calendar_open(&s, NULL, &c, &e);
        if (ranges[i].error ? r == 0 || !strstr(e.text, ranges[i].error) : r < 0)
            FAIL("range %zu: %s", i, e.text);
    }
    struct calendar_spec many = always;
    struct err e = { 0 };
    struct calendar *c = NULL;
    many.calendar_count = CALENDAR_PARTS_MAX + 1;
    CHECK(calendar_open(&many, NULL, &c, &e) == -CODE_INVALID);
    many.calendar_count = SIZE_MAX;
    many.interval_count = 2;
    CHECK(calendar_open(&many, NULL, &c, &e) == -CODE_INVALID);
}

TEST(a_schedule_runs_from_its_start_to_its_end_both_included)
{
    struct calendar_spec s = always;
    struct err e = { 0 };
    struct calendar_time t[10];
    s.start_ms = at("2026-01-02T00:00:00Z");
    s.end_ms = at("2026-01-02T03:00:00Z");
    AUTO(calendar) struct calendar *c = of_cron("0 * * * *", &s, NULL, &e), *d = NULL;
    CHECK(c);
    CHECK_EQ(calendar_between(c, SEED, 0, INT64_MAX, t, 10), 4);
    CHECK(t[0].nominal_ms == s.start_ms && t[3].nominal_ms == s.end_ms);
    CHECK_EQ(calendar_between(c, SEED, s.start_ms, s.end_ms - 1, t, 10), 2);
    s.start_ms++;
    s.end_ms--;
    d = of_cron("0 * * * *", &s, NULL, &e);
    CHECK_EQ(calendar_between(d, SEED, 0, INT64_MAX, t, 10), 2);
}

TEST(jitter_is_the_same_each_time_and_never_reaches_the_next)
{
    struct calendar_spec s = always;
    struct err e = { 0 };
    struct calendar_time t, again, other;
    int64_t after = at("2026-01-01T00:00:00Z"), differ = 0, low = 0, high = 0;
    s.jitter_ms = 3600 * 1000;
    AUTO(calendar) struct calendar *c = of_cron("*/10 * * * *", &s, NULL, &e);
    for (int i = 0; i < 2000; i++) {
        CHECK_EQ(calendar_next(c, SEED, after, &t), CALENDAR_FOUND);
        CHECK_EQ(calendar_next(c, SEED, after + 1000, &again), CALENDAR_FOUND);
        CHECK_EQ(calendar_next(c, STR("other"), after, &other), CALENDAR_FOUND);
        CHECK(t.actual_ms == again.actual_ms && t.nominal_ms == other.nominal_ms);
        CHECK(t.actual_ms >= t.nominal_ms && t.actual_ms < t.nominal_ms + 600000);
        differ += t.actual_ms != other.actual_ms;
        low += t.actual_ms < t.nominal_ms + 300000;
        high += t.actual_ms >= t.nominal_ms + 300000;
        after = t.nominal_ms;
    }
    CHECK(differ > 1990 && low > 850 && high > 850);
}

TEST(a_search_is_short_even_where_nearly_all_is_excluded)
{
    static const struct calendar_range zero = { 0, 0, 0 }, sixty = { 0, 59, 1 }, hours = { 0, 23, 1 }, days = { 1, 31, 1 },
                                       months = { 1, 12, 1 }, week = { 0, 6, 1 }, before = { 2000, 2030, 1 };
    const struct calendar_ranges excluded = {
        { &zero, &sixty, &hours, &days, &months, &before, &week }, { 1, 1, 1, 1, 1, 1, 1 }
    };
    struct calendar_spec s = always;
    struct err e = { 0 };
    struct calendar_time t;
    int64_t after = at("2026-01-01T00:00:00Z");
    int asked = 0;
    s.excludes = &excluded;
    s.exclude_count = 1;
    AUTO(calendar) struct calendar *c = of_cron("* * * * *", &s, NULL, &e);
    CHECK_EQ(calendar_next(c, SEED, after, &t), CALENDAR_LATER);
    CHECK(t.nominal_ms > after && t.nominal_ms < after + INT64_C(90000000000));
    after = at("2030-12-30T00:00:00Z");
    for (enum calendar_found found = CALENDAR_LATER; found == CALENDAR_LATER; asked++) {
        found = calendar_next(c, SEED, after, &t);
        after = t.nominal_ms;
    }
    CHECK(asked == 2 && t.nominal_ms == at("2031-01-01T00:00:00Z"));
}

/* ---- beside a walk ---- */

struct meant {
    bool is[CALENDAR_FIELDS][64];
};

static void random_ranges(struct rng *r, struct calendar_ranges *c, struct calendar_range (*into)[2], struct meant *m)
{
    static const int max[] = { 59, 59, 23, 31, 12, 0, 6 };
    *c = (struct calendar_ranges){ { 0 }, { 0 } };
    *m = (struct meant){ 0 };
    for (int f = 0; f < CALENDAR_FIELDS; f++) {
        int min = f == CALENDAR_DAY || f == CALENDAR_MONTH;
        bool wide = rng_chance(r, f <= CALENDAR_MINUTE ? 40 : 75);
        if (f == CALENDAR_YEAR)
            continue;
        c->at[f] = into[f];
        c->count[f] = wide ? 1 : 1 + rng_below(r, 2);
        for (size_t i = 0; i < c->count[f]; i++) {
            int start = wide ? min : min + (int)rng_below(r, (uint64_t)(max[f] - min + 1));
            int end = wide ? max[f] : (int)rng_below(r, (uint64_t)max[f] + 1), step = (int)rng_below(r, 5) * !wide;
            end = end < start ? 0 : end;
            into[f][i] = (struct calendar_range){ start, end, step };
            for (int v = start; v <= MAX(end, start); v += MAX(step, 1))
                m->is[f][v] = true;
        }
    }
}

static bool walk_matches(const struct meant *m, const struct tm *tm)
{
    return m->is[CALENDAR_SECOND][tm->tm_sec] && m->is[CALENDAR_MINUTE][tm->tm_min] &&
           m->is[CALENDAR_HOUR][tm->tm_hour] && m->is[CALENDAR_DAY][tm->tm_mday] &&
           m->is[CALENDAR_MONTH][tm->tm_mon + 1] && m->is[CALENDAR_WEEKDAY][tm->tm_wday];
}

TEST(random_schedules_act_when_a_walk_through_the_seconds_says_so)
{
    enum { WALK_S = 40000 };
    static const char *const zones[] = { "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe" };
    struct rng r = { 21 };
    int acted = 0, changes = 0;
    for (int i = 0; i < 150; i++) {
        struct calendar_range into[3][CALENDAR_FIELDS][2];
        struct calendar_ranges ranges[3];
        struct meant m[3];
        struct calendar_interval interval = { 1000 * (1 + (int64_t)rng_below(&r, 9000)), 0 };
        struct calendar_spec s = always;
        struct err e = { 0 };
        const char *name = zones[rng_below(&r, COUNT_OF(zones))];
        AUTO(zone) struct zone *z = zone_of_machine(name);
        AUTO(calendar) struct calendar *c = NULL;
        int64_t start = (int64_t)rng_below(&r, 400000000) + 1300000000, until;
        int32_t offset;
        struct calendar_time next = { 0 };
        for (int k = 0; k < 3; k++)
            random_ranges(&r, &ranges[k], into[k], &m[k]);
        interval.phase_ms = (int64_t)rng_below(&r, (uint64_t)interval.every_ms / 1000) * 1000;
        s.calendars = ranges;
        s.calendar_count = 1 + rng_below(&r, 2);
        s.excludes = &ranges[2];
        s.exclude_count = rng_below(&r, 2);
        s.intervals = &interval;
        s.interval_count = rng_below(&r, 2);
        CHECK_EQ(calendar_open(&s, z, &c, &e), 0);
        CHECK(z && setenv("TZ", name, 1) == 0);
        tzset();
        zone_span(z, start, &offset, &until);
        if (i % 2 && until < 1900000000)
            start = until - WALK_S / 2;
        changes += until < start + WALK_S;
        enum calendar_found found = calendar_next(c, SEED, start * 1000, &next);
        for (int64_t t = start + 1; t < start + WALK_S; t++) {
            struct tm tm;
            time_t at_t = (time_t)t;
            CHECK(localtime_r(&at_t, &tm));
            bool is = walk_matches(&m[0], &tm) || (s.calendar_count > 1 && walk_matches(&m[1], &tm)) ||
                      (s.interval_count && (t * 1000 - interval.phase_ms) % interval.every_ms == 0);
            is = is && !(s.exclude_count && walk_matches(&m[2], &tm));
            while (found == CALENDAR_LATER && next.nominal_ms < t * 1000)
                found = calendar_next(c, SEED, next.nominal_ms, &next);
            if (is != (found == CALENDAR_FOUND && next.nominal_ms == t * 1000))
                FAIL("schedule %d in %s at %" PRId64 ": %d, next is %" PRId64, i, name, t, is, next.nominal_ms);
            if (is)
                found = calendar_next(c, SEED, t * 1000, &next);
            acted += is;
        }
    }
    CHECK(unsetenv("TZ") == 0);
    tzset();
    CHECK(acted > 1000 && changes > 40);
}

TEST_MAIN()
