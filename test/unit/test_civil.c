#include "codec/civil.h"
#include "codec/duration.h"
#include "tap.h"

#include "base/rng.h"

#include <time.h>

static const struct {
    const char *text;
    int64_t s;
    int32_t ns;
    const char *why;
} good[] = {
    { "1970-01-01T00:00:00Z", 0, 0, "the beginning" },
    { "1969-12-31T23:59:59Z", -1, 0, "before it" },
    { "2000-02-29T12:30:45Z", 951827445, 0, "a leap day of a century" },
    { "2026-01-02T03:04:05.6789Z", 1767323045, 678900000, "a fraction" },
    { "2026-01-02T03:04:05,5Z", 1767323045, 500000000, "with a comma, as Go takes it" },
    { "2026-01-02T03:04:05.1234567899Z", 1767323045, 123456789, "below a nanosecond it is cut" },
    { "2026-01-02T03:04:05+05:30", 1767303245, 0, "an offset" },
    { "2026-01-02T03:04:05-00:30", 1767324845, 0, "a negative one" },
    { "9999-12-31T23:59:59Z", INT64_C(253402300799), 0, "the end of four digits" },
    { "0000-03-01T00:00:00Z", INT64_C(-62162035200), 0, "the year 0" },
};
static const struct {
    const char *text, *why;
} bad[] = {
    { "", "nothing" },
    { "2026-01-02", "no time" },
    { "2026-01-02 03:04:05Z", "no T" },
    { "2026-01-02t03:04:05Z", "lower case" },
    { "2026-01-02T03:04:05z", "lower case" },
    { "2026-01-02T03:04:05", "no zone" },
    { "2026-02-29T03:04:05Z", "no leap year" },
    { "2100-02-29T03:04:05Z", "no leap year" },
    { "2026-13-01T03:04:05Z", "no month" },
    { "2026-00-01T03:04:05Z", "no month" },
    { "2026-01-00T03:04:05Z", "no day" },
    { "2026-04-31T03:04:05Z", "no day" },
    { "2026-01-02T24:00:00Z", "no hour" },
    { "2026-01-02T23:60:00Z", "no minute" },
    { "2026-01-02T23:59:60Z", "leap second" },
    { "2026-01-02T03:04:05.Z", "no digit" },
    { "2026-01-02T03:04:05+24:00", "no offset" },
    { "2026-01-02T03:04:05+0100", "no colon" },
    { "2026-01-02T03:04:05Zx", "more behind" },
    { "02026-01-02T03:04:05Z", "five digits" },
    { "2026-1-02T03:04:05Z", "one digit" },
};

TEST(times_are_read_as_go_reads_them)
{
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct err e = { 0 };
        int64_t s = -7;
        int32_t ns = -7;
        if (civil_rfc3339_parse(str_of(good[i].text), &s, &ns, &e) < 0 || s != good[i].s || ns != good[i].ns)
            FAIL("%s (%s): %" PRId64 " %d %s", good[i].text, good[i].why, s, (int)ns, e.text);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e = { 0 };
        int64_t s = -7;
        int32_t ns = -7;
        if (civil_rfc3339_parse(str_of(bad[i].text), &s, &ns, &e) != -CODE_INVALID || s != -7 || ns != -7)
            FAIL("%s (%s): taken", bad[i].text, bad[i].why);
    }
}

TEST(every_second_has_its_date_as_the_c_library_has_it)
{
    struct rng r = { 1 };
    for (int i = 0; i < 200000; i++) {
        time_t t = (time_t)(rng_below(&r, UINT64_C(600000000000)) - UINT64_C(200000000000));
        struct tm tm;
        struct civil c;
        CHECK(gmtime_r(&t, &tm));
        civil_of_seconds(t, &c);
        if (c.year != tm.tm_year + INT64_C(1900) || c.month != tm.tm_mon + 1 || c.day != tm.tm_mday ||
            c.hour != tm.tm_hour || c.minute != tm.tm_min || c.second != tm.tm_sec)
            FAIL("%lld is not %lld-%02d-%02d", (long long)t, (long long)c.year, c.month, c.day);
        CHECK_EQ(civil_seconds(&c), t);
        CHECK_EQ(civil_weekday(civil_days(c.year, c.month, c.day)), tm.tm_wday);
        CHECK(c.day <= civil_month_days(c.year, c.month));
        CHECK(c.month == 12 || civil_days(c.year, c.month + 1, 1) - civil_days(c.year, c.month, 1) ==
                                   civil_month_days(c.year, c.month));
    }
}

TEST(what_is_written_reads_back)
{
    struct rng r = { 2 };
    for (int i = 0; i < 20000; i++) {
        struct err e = { 0 };
        char text[CIVIL_TEXT];
        int64_t s = (int64_t)rng_below(&r, 4102444800) * 2 - 4102444800, s2;
        int32_t ns = rng_chance(&r, 50) ? 0 : (int32_t)rng_below(&r, 1000000000), ns2;
        civil_rfc3339_format(s, ns, text);
        CHECK_EQ(civil_rfc3339_parse(str_of(text), &s2, &ns2, &e), 0);
        CHECK(s == s2 && ns == ns2);
    }
    char text[CIVIL_TEXT];
    civil_rfc3339_format(1767323045, 500000000, text);
    CHECK_STR(text, "2026-01-02T03:04:05.5Z");
}

TEST(nanoseconds_are_held_at_the_ends_of_64_bits)
{
    CHECK_EQ(civil_ns(1, 5), 1000000005);
    CHECK_EQ(civil_ns(INT64_C(253402300799), 0), INT64_MAX - 1);
    CHECK_EQ(civil_ns(INT64_C(-62162035200), 0), INT64_MIN);
    CHECK_EQ(civil_ns(INT64_C(9223372036), 854775807), INT64_MAX - 1);
}

TEST(days_stand_in_front_of_a_duration)
{
    static const struct {
        const char *text;
        int64_t ns; /* -7: refused */
    } cases[] = {
        { "7d", INT64_C(604800000000000) }, { "1.5d", INT64_C(129600000000000) },
        { "1d12h", INT64_C(129600000000000) }, { "-1d1h", INT64_C(-90000000000000) },
        { "90m", INT64_C(5400000000000) }, { "d", -7 }, { "1h2d", -7 }, { "1dd", -7 }, { "1d-1h", -7 },
        { "1d1", -7 }, { "", -7 }, { "200000d", -7 }, { "1 d", -7 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = { 0 };
        int64_t ns = -7;
        int r = duration_parse_days(str_of(cases[i].text), &ns, &e);
        if (ns != cases[i].ns || (r < 0) != (ns == -7))
            FAIL("'%s': %" PRId64 " %s", cases[i].text, ns, e.text);
    }
}

TEST_MAIN()
