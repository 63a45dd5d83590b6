/* Cron lines: a table of robfig's cases, refusals, and random lines beside a walk through every minute with the C
 * library's clock, days included on which clocks are set. */
#include "codec/cron.h"
#include "tap.h"

#include "base/rng.h"
#include "zone_files.h"

#include <stdlib.h>
#include <time.h>

static int64_t at(const char *rfc3339)
{
    struct err e;
    int64_t s = 0;
    int32_t ns;
    return civil_rfc3339_parse(str_of(rfc3339), &s, &ns, &e) < 0 ? INT64_MIN : s;
}

static const struct {
    const char *line, *after, *next; /* NULL: none */
} cases[] = {
    { "* * * * *", "2026-01-02T03:04:05Z", "2026-01-02T03:05:00Z" },
    { "* * * * *", "2026-01-02T03:04:00Z", "2026-01-02T03:05:00Z" },
    { "*/15 * * * *", "2026-01-02T03:45:00Z", "2026-01-02T04:00:00Z" },
    { "20-35/15 * * * *", "2026-01-02T03:21:00Z", "2026-01-02T03:35:00Z" },
    { "5/20 * * * *", "2026-01-02T03:26:00Z", "2026-01-02T03:45:00Z" },
    { "0 0 29 2 *", "2026-01-02T03:04:05Z", "2028-02-29T00:00:00Z" },
    { "0 0 29 2 *", "2096-03-01T00:00:00Z", NULL }, /* 2100 is no leap year, and five years are the limit */
    { "0 0 31 2 *", "2026-01-02T03:04:05Z", NULL },
    { "0 0 1 * ?", "2026-01-02T03:04:05Z", "2026-02-01T00:00:00Z" },
    { "0 9 * * mon-fri", "2026-01-02T09:00:00Z", "2026-01-05T09:00:00Z" },
    { "0 9 1,15 * SUN", "2026-01-02T09:00:00Z", "2026-01-04T09:00:00Z" },   /* either day */
    { "0 9 */2 * sun", "2026-01-02T09:00:00Z", "2026-01-03T09:00:00Z" },    /* a step restricts: either */
    { "0 9 */1 * sun", "2026-01-02T09:00:00Z", "2026-01-04T09:00:00Z" },    /* a step of one does not: both */
    { "0 9 ? * sun", "2026-01-02T09:00:00Z", "2026-01-04T09:00:00Z" },
    { "0 0 * Jul,dec *", "2026-01-02T09:00:00Z", "2026-07-01T00:00:00Z" },
    { "1,,3 * * * *", "2026-01-02T09:01:00Z", "2026-01-02T09:03:00Z" },
    { "@hourly", "2026-01-02T09:01:00Z", "2026-01-02T10:00:00Z" },
    { "@daily", "2026-01-02T09:01:00Z", "2026-01-03T00:00:00Z" },
    { "@midnight", "2026-01-02T09:01:00Z", "2026-01-03T00:00:00Z" },
    { "@weekly", "2026-01-02T09:01:00Z", "2026-01-04T00:00:00Z" },
    { "@monthly", "2026-01-02T09:01:00Z", "2026-02-01T00:00:00Z" },
    { "@yearly", "2026-01-02T09:01:00Z", "2027-01-01T00:00:00Z" },
    { "@annually", "2026-01-02T09:01:00Z", "2027-01-01T00:00:00Z" },
    { "@every 1h30m", "2026-01-02T09:01:07Z", "2026-01-02T10:31:07Z" },
    { "@every 10ms", "2026-01-02T09:01:07Z", "2026-01-02T09:01:08Z" },
    { "@every 2500ms", "2026-01-02T09:01:07Z", "2026-01-02T09:01:09Z" },
    { "  0  0\t* * *  ", "2026-01-02T09:01:07Z", "2026-01-03T00:00:00Z" },
    { "TZ=America/New_York 0 9 * * *", "2026-01-02T09:00:00Z", "2026-01-02T14:00:00Z" },
    { "CRON_TZ=Europe/Berlin @daily", "2026-07-02T09:00:00Z", "2026-07-02T22:00:00Z" },
    { "TZ=Europe/Berlin 30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z" },  /* not on the 29th */
    { "TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z" },  /* twice on the 25th */
    { "TZ=Europe/Berlin 30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z" },
    { "TZ=America/Sao_Paulo 0 0 * * *", "2018-11-03T12:00:00Z", "2018-11-05T02:00:00Z" }, /* midnight left out */
};

TEST(lines_mean_what_robfig_says)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = { 0 };
        struct cron c;
        int64_t next = -7;
        if (cron_parse(str_of(cases[i].line), &c, &e) < 0)
            FAIL("%s: %s", cases[i].line, e.text);
        AUTO(zone) struct zone *z = c.zone[0] ? zone_of_machine(c.zone) : NULL;
        CHECK(z || !c.zone[0]);
        bool is = cron_next(&c, z, at(cases[i].after), &next);
        char text[CIVIL_TEXT] = "none";
        if (is)
            civil_rfc3339_format(next, 0, text);
        if (is != (cases[i].next != NULL) || (is && next != at(cases[i].next)))
            FAIL("%s after %s: %s", cases[i].line, cases[i].after, text);
    }
}

static const struct {
    const char *line, *error;
} refused[] = {
    { "", "empty" },
    { "* * * *", "five fields are wanted" },
    { "* * * * * *", "more than five fields" },
    { "60 * * * *", "minute \"60\": outside 0 to 59" },
    { "* 24 * * *", "hour \"24\": outside 0 to 23" },
    { "* * 0 * *", "day of month \"0\": outside 1 to 31" },
    { "* * * 13 *", "month \"13\": outside 1 to 12" },
    { "* * * * 7", "day of week \"7\": outside 0 to 6" },
    { "* * * janu *", "month \"janu\": neither a number nor a name" },
    { "5-1 * * * *", "minute \"5-1\": the range ends before it begins" },
    { "*/0 * * * *", "the step is no positive number" },
    { "*/x * * * *", "the step is no positive number" },
    { "1/2/3 * * * *", "the step is no positive number" },
    { "1-2-3 * * * *", "not a number" },
    { "-5 * * * *", "not a number" },
    { "*-5 * * * *", "* has no end" },
    { ", * * * *", "empty" },
    { "@fortnightly", "unknown word" },
    { "@every", "unknown word" },
    { "@every x", "duration \"x\"" },
    { "@every 1d", "duration \"1d\"" },
    { "@Daily", "unknown word" },
    { "TZ=Europe/Berlin", "nothing behind the time zone" },
    { "TZ=../../etc/passwd * * * * *", "no name of a time zone" },
    { "TZ= * * * * *", "no name of a time zone" },
};

TEST(what_is_wrong_is_named)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct err e = { 0 };
        struct cron c = { .every_s = -7 };
        if (cron_parse(str_of(refused[i].line), &c, &e) != -CODE_INVALID || c.every_s != -7 ||
            !strstr(e.text, "cron") || !strstr(e.text, refused[i].error))
            FAIL("'%s': %s", refused[i].line, e.text);
    }
}

/* ---- beside a walk ---- */

struct meant { /* a field as the walk sees it */
    bool is[64];
    bool star;
};

static void random_field(struct rng *r, int min, int max, struct meant *m, struct buf *into)
{
    *m = (struct meant){ 0 };
    uint64_t parts = rng_chance(r, 35) ? 0 : 1 + rng_below(r, 3);
    if (parts == 0) {
        buf_text(into, "* ");
        memset(m->is, true, sizeof m->is);
        m->star = true;
        return;
    }
    for (uint64_t i = 0; i < parts; i++) {
        int a = min + (int)rng_below(r, (uint64_t)(max - min + 1)), b = a + (int)rng_below(r, (uint64_t)(max - a + 1));
        int step = rng_chance(r, 40) ? 1 + (int)rng_below(r, 9) : 0, shape = (int)rng_below(r, 3);
        const char *comma = i + 1 < parts ? "," : " ";
        int from = a, to = b;
        if (shape == 0) {
            buf_printf(into, step ? "%d/%d%s" : "%d%.0d%s", a, step, comma);
            to = step ? max : a;
        } else if (shape == 1) {
            buf_printf(into, step ? "%d-%d/%d%s" : "%d-%d%.0d%s", a, b, step, comma);
        } else {
            step = MAX(step, 2);
            buf_printf(into, "*/%d%s", step, comma);
            from = min;
            to = max;
        }
        for (int v = from; v <= to; v += MAX(step, 1))
            m->is[v] = true;
    }
}

static bool walk_matches(const struct meant m[5], const struct tm *tm)
{
    bool day = m[2].is[tm->tm_mday], weekday = m[4].is[tm->tm_wday];
    return m[0].is[tm->tm_min] && m[1].is[tm->tm_hour] && m[3].is[tm->tm_mon + 1] &&
           (m[2].star || m[4].star ? day && weekday : day || weekday);
}

TEST(random_lines_come_when_a_walk_through_the_minutes_finds_them)
{
    static const char *const zones[] = { "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "UTC" };
    struct rng r = { 8 };
    int found = 0, none = 0;
    for (int i = 0; i < 400; i++) {
        struct buf line;
        struct meant m[5];
        struct err e = { 0 };
        struct cron c;
        const char *name = zones[rng_below(&r, COUNT_OF(zones))];
        int64_t start = (int64_t)rng_below(&r, 500000000) + 1300000000, until, next;
        int32_t offset;
        buf_init(&line, 1000);
        random_field(&r, 0, 59, &m[0], &line);
        random_field(&r, 0, 23, &m[1], &line);
        random_field(&r, 1, 31, &m[2], &line);
        random_field(&r, 1, 12, &m[3], &line);
        random_field(&r, 0, 6, &m[4], &line);
        int parsed = cron_parse(buf_str(&line), &c, &e);
        buf_done(&line);
        CHECK_EQ(parsed, 0);
        AUTO(zone) struct zone *z = zone_of_machine(name);
        CHECK(z && setenv("TZ", name, 1) == 0);
        tzset();
        zone_span(z, start, &offset, &until);
        if (i % 2 && until < 1900000000)
            start = until - 86400; /* a day before clocks are set */
        time_t t = (start / 60 + 1) * 60;
        int minutes = 0;
        struct tm tm;
        while (localtime_r(&t, &tm) && !walk_matches(m, &tm) && minutes++ < 20 * 1440)
            t += 60;
        bool is = cron_next(&c, z, start, &next);
        if (minutes < 20 * 1440 && (!is || next != t))
            FAIL("line %d in %s after %" PRId64 ": %" PRId64 ", not %" PRId64, i, name, start, is ? next : -1, (int64_t)t);
        if (minutes >= 20 * 1440)
            CHECK(!is || next >= t);
        found += minutes < 20 * 1440;
        none += minutes >= 20 * 1440;
    }
    CHECK(unsetenv("TZ") == 0);
    tzset();
    CHECK(found > 200 && none > 10);
}

TEST_MAIN()
