/* Zones against the C library (which reads the same files), rules against what they say, and broken files. */
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

static int32_t offset_at(const struct zone *z, int64_t s)
{
    int32_t offset;
    int64_t until;
    zone_span(z, s, &offset, &until);
    return until > s ? offset : INT32_MIN;
}

static const char *const zones[] = {
    "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Africa/Casablanca",
    "America/Nuuk", "Asia/Kathmandu", "Pacific/Apia", "Europe/Dublin", "Asia/Tehran", "Antarctica/Troll",
    "Pacific/Chatham", "Etc/GMT+5", "America/St_Johns", "Africa/Cairo",
};

TEST(clocks_show_what_the_c_library_says)
{
    struct rng r = { 3 };
    for (size_t i = 0; i < COUNT_OF(zones); i++) {
        AUTO(zone) struct zone *z = zone_of_machine(zones[i]);
        if (!z)
            FAIL("%s: no such zone here (tzdata is not installed?)", zones[i]);
        CHECK_EQ(setenv("TZ", zones[i], 1), 0);
        tzset();
        for (int n = 0; n < 20000; n++) {
            /* from the end of local mean time to the year 2400, and close to the changes of each year */
            time_t t = (time_t)rng_below(&r, UINT64_C(15000000000)) - 1500000000;
            struct tm tm;
            int32_t offset;
            int64_t until;
            if (n % 4 == 0) {
                zone_span(z, t, &offset, &until);
                if (until < INT64_C(13500000000))
                    t = (time_t)until - (n / 4) % 2;
            }
            CHECK(localtime_r(&t, &tm));
            if (offset_at(z, t) != tm.tm_gmtoff)
                FAIL("%s at %lld: %d, not %ld", zones[i], (long long)t, offset_at(z, t), tm.tm_gmtoff);
        }
    }
    CHECK_EQ(unsetenv("TZ"), 0);
    tzset();
}

TEST(within_a_span_nothing_changes_and_local_times_lead_back)
{
    struct rng r = { 5 };
    int missing = 0, twice = 0;
    for (size_t i = 0; i < COUNT_OF(zones); i++) {
        AUTO(zone) struct zone *z = zone_of_machine(zones[i]);
        for (int n = 0; n < 3000; n++) {
            int64_t t = (int64_t)rng_below(&r, UINT64_C(6000000000)) - 1500000000, until, m[2] = { 0 };
            int32_t offset;
            zone_span(z, t, &offset, &until);
            if (until < INT64_C(5000000000)) { /* around the change itself */
                CHECK(offset_at(z, until - 1) == offset);
                t = until - 7200 + (int64_t)rng_below(&r, 14400);
                offset = offset_at(z, t);
            }
            int count = zone_moments(z, t + offset, m);
            CHECK(count > 0 && (m[0] == t || (count == 2 && m[1] == t && m[0] < m[1])));
            twice += count == 2;
            int64_t local = t + 5400; /* may be one that there is not */
            count = zone_moments(z, local, m);
            for (int k = 0; k < count; k++)
                CHECK_EQ(m[k] + offset_at(z, m[k]), local);
            missing += count == 0;
        }
    }
    CHECK(twice > 100 && missing > 20);
}

TEST(a_rule_says_when_clocks_are_set)
{
    AUTO(zone) struct zone *z = zone_of_rule("CET-1CEST,M3.5.0,M10.5.0/3");
    int64_t m[2];
    CHECK(z);
    CHECK_EQ(offset_at(z, at("2026-03-29T00:59:59Z")), 3600);
    CHECK_EQ(offset_at(z, at("2026-03-29T01:00:00Z")), 7200);
    CHECK_EQ(offset_at(z, at("2300-10-28T00:59:59Z")), 7200); /* the last Sunday */
    CHECK_EQ(offset_at(z, at("2300-10-28T01:00:00Z")), 3600);
    CHECK_EQ(offset_at(z, at("2026-10-25T00:59:59Z")), 7200);
    CHECK_EQ(offset_at(z, at("2026-10-25T01:00:00Z")), 3600);
    CHECK_EQ(zone_moments(z, at("2026-03-29T02:30:00Z"), m), 0);
    CHECK_EQ(zone_moments(z, at("2026-10-25T02:30:00Z"), m), 2);
    CHECK(m[0] == at("2026-10-25T00:30:00Z") && m[1] == at("2026-10-25T01:30:00Z"));
    CHECK_EQ(zone_moments(z, at("2026-10-25T03:00:00Z"), m), 1);
}

TEST(rules_of_all_kinds_are_followed)
{
    static const struct {
        const char *rule, *when;
        int32_t offset;
    } cases[] = {
        { "EST5", "2026-07-01T00:00:00Z", -18000 },
        { "<+0545>-5:45", "2026-07-01T00:00:00Z", 20700 },
        { "XXX3EDT4,0/0,J365/23", "2026-01-01T02:59:59Z", -14400 }, /* all year: RFC 9636's own example */
        { "XXX3EDT4,0/0,J365/23", "2026-12-31T23:59:59Z", -14400 },
        { "XXX3EDT4,0/0,J365/23", "2027-01-01T04:00:00Z", -14400 },
        { "AAA0BBB,J60/0,J61/0", "2024-02-29T12:00:00Z", 0 },      /* J60 is the first of March, always */
        { "AAA0BBB,J60/0,J61/0", "2024-03-01T12:00:00Z", 3600 },
        { "AAA0BBB,59/0,60/0", "2024-02-29T12:00:00Z", 3600 },     /* 59 is the 29th of February in 2024 */
        { "AAA0BBB,59/0,60/0", "2025-03-01T12:00:00Z", 3600 },
        { "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T00:59:59Z", -7200 },
        { "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T01:00:00Z", -3600 },
        { "IST-1GMT0,M10.5.0,M3.5.0/1", "2026-12-01T00:00:00Z", 0 }, /* saving time that is behind */
        { "IST-1GMT0,M10.5.0,M3.5.0/1", "2026-07-01T00:00:00Z", 3600 },
        { "IST-2IDT,M3.4.4/26,M10.5.0", "2026-03-26T23:59:59Z", 7200 }, /* 26 h after Thursday: Friday 2:00 */
        { "IST-2IDT,M3.4.4/26,M10.5.0", "2026-03-27T00:00:00Z", 10800 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(zone) struct zone *z = zone_of_rule(cases[i].rule);
        if (!z || offset_at(z, at(cases[i].when)) != cases[i].offset)
            FAIL("%s at %s: %d", cases[i].rule, cases[i].when, z ? offset_at(z, at(cases[i].when)) : -1);
    }
}

TEST(rules_that_are_none_are_refused)
{
    static const char *const bad[] = { "X5", "EST", "EST5EDT", "EST5EDT,M3.2.0", "EST25", "EST5EDT,M13.2.0,M11.1.0",
                                       "EST5EDT,M3.0.0,M11.1.0", "EST5EDT,M3.2.7,M11.1.0", "EST5EDT,J0,J5",
                                       "EST5EDT,J366,J5", "EST5EDT,M3.2.0/168,M11.1.0", "EST5EDT,M3.2.0,M11.1.0x",
                                       "<EST5", "EST5:60", "5EST", "EST5EDT,400,1" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        AUTO(zone) struct zone *z = zone_of_rule(bad[i]);
        if (z)
            FAIL("%s: taken", bad[i]);
    }
}

TEST(a_file_cut_or_changed_anywhere_is_refused_or_is_a_zone)
{
    static char bytes[8192];
    int refused = 0;
    FILE *f = fopen("/usr/share/zoneinfo/Europe/Berlin", "rbe");
    CHECK(f);
    size_t whole = fread(bytes, 1, sizeof bytes, f);
    (void)fclose(f);
    for (size_t size = 0; size < whole; size++) {
        AUTO_FREE char *exact = xcalloc(1, size + 1);
        AUTO(zone) struct zone *z = NULL;
        struct err e = { 0 };
        memcpy(exact, bytes, size);
        int r = zone_parse((struct str){ exact, size }, &z, &e);
        CHECK(r < 0 && !z && str_starts(str_of(e.text), STR("time zone file: ")));
    }
    for (size_t i = 0; i < whole; i++) {
        AUTO_FREE char *exact = xcalloc(1, whole);
        AUTO(zone) struct zone *z = NULL;
        struct err e = { 0 };
        memcpy(exact, bytes, whole);
        exact[i] = (char)(exact[i] ^ 0x80);
        refused += zone_parse((struct str){ exact, whole }, &z, &e) < 0;
        if (z)
            CHECK(offset_at(z, 1767323045) != INT32_MIN);
    }
    CHECK(refused > 100);
}

TEST(a_transition_leads_to_a_type_that_there_is)
{
    for (uint64_t type = 0; type < 3; type++) {
        AUTO(zone) struct zone *z = NULL;
        struct err e = { 0 };
        struct buf b;
        buf_init(&b, 1000);
        zone_header(&b, 0, 1);
        zone_number(&b, 0, 6);
        zone_number(&b, 0, 4);
        zone_header(&b, 1, 2);
        zone_number(&b, 1000, 8);
        zone_number(&b, type, 1);
        zone_number(&b, 0, 6);
        zone_number(&b, UINT64_C(3600) << 16, 6);
        zone_number(&b, 0, 4);
        buf_text(&b, "\n\n");
        int r = zone_parse(buf_str(&b), &z, &e);
        buf_done(&b);
        CHECK(type < 2 ? r == 0 && offset_at(z, 1000) == (int32_t)type * 3600 && offset_at(z, 999) == 0 : r < 0);
    }
}

TEST(leap_seconds_and_names_that_lead_elsewhere_are_refused)
{
    AUTO(zone) struct zone *z = zone_of_machine("right/Europe/Berlin");
    CHECK(!z);
    static const char *const good[] = { "UTC", "Europe/Berlin", "Etc/GMT+5", "America/Argentina/Buenos_Aires",
                                        "America/Port-au-Prince", "EST5EDT" };
    static const char *const bad[] = { "", "/etc/passwd", "../x", "Europe/../x", "Europe/", "Europe//Berlin",
                                       "localtime", "right/UTC", "posix/UTC", "Europe/Ber lin", "a.b", "\xc3\xa9",
                                       "Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
    for (size_t i = 0; i < COUNT_OF(good); i++)
        CHECK(zone_name_valid(str_of(good[i])));
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (zone_name_valid(str_of(bad[i])))
            FAIL("%s: taken", bad[i]);
    CHECK_EQ(offset_at(NULL, 5), 0);
}

TEST_MAIN()
