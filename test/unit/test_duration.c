#include "codec/duration.h"
#include "tap.h"

#define S INT64_C(1000000000)
static const struct {
    const char *text;
    int64_t ns;
    const char *canonical, *why;
} good[] = {
    { "0", 0, "0s", "a bare zero" },
    { "0s", 0, "0s", "zero" },
    { "-0", 0, "0s", "minus zero" },
    { "1s", S, "1s", "a second" },
    { "1m30s", 90 * S, "1m30s", "two units" },
    { "90s", 90 * S, "1m30s", "written in the largest units" },
    { "500ms", S / 2, "500ms", "milli" },
    { "0.5s", S / 2, "500ms", "decimals" },
    { ".5s", S / 2, "500ms", "no digit before the point" },
    { "1.s", S, "1s", "no digit after it" },
    { "1500ms", 3 * S / 2, "1.5s", "over a second" },
    { "1h", 3600 * S, "1h0m0s", "Go names all smaller units" },
    { "100h1m2.003s", 360062003000000, "100h1m2.003s", "all of them" },
    { "1s1s", 2 * S, "2s", "repeated units add" },
    { "1us", 1000, "1\xc2\xb5s", "micro" },
    { "1\xc2\xb5s", 1000, "1\xc2\xb5s", "micro sign" },
    { "1\xce\xbcs", 1000, "1\xc2\xb5s", "Greek mu" },
    { "1.5us", 1500, "1.5\xc2\xb5s", "part of a micro" },
    { "7ns", 7, "7ns", "nano" },
    { "0.9ns", 0, "0s", "below a nanosecond is cut off" },
    { "-1.5h", -5400 * S, "-1h30m0s", "negative" },
    { "+5s", 5 * S, "5s", "explicit sign" },
    { "9223372036854775807ns", INT64_MAX, "2562047h47m16.854775807s", "largest" },
    { "-9223372036854775808ns", INT64_MIN, "-2562047h47m16.854775808s", "smallest" },
    { "0.3333333333333333333333333h", 1199999999999, "19m59.999999999s", "many decimals" },
};

TEST(durations_are_read_and_written_as_go_does)
{
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct err e = { 0 };
        int64_t ns = 7, again = 7;
        char text[DURATION_TEXT];
        if (duration_parse(str_of(good[i].text), &ns, &e) != 0)
            FAIL("'%s' (%s): %s", good[i].text, good[i].why, e.text);
        duration_format(ns, text);
        if (ns != good[i].ns || strcmp(text, good[i].canonical) != 0)
            FAIL("'%s' (%s): %" PRId64 ", '%s'", good[i].text, good[i].why, ns, text);
        CHECK_EQ(duration_parse(str_of(text), &again, &e), 0);
        CHECK_EQ(again, ns);
    }
}

static const struct {
    const char *text, *error, *why;
} bad[] = {
    { "", "empty", "empty" },
    { "-", "empty", "only a sign" },
    { "5", "missing unit", "no unit" },
    { "1m5", "missing unit", "no unit on the second" },
    { "s", "not a number", "no number" },
    { ".s", "not a number", "only a point" },
    { "1d", "unknown unit", "days are not Go's" },
    { "1S", "unknown unit", "units are lower case" },
    { "1 s", "unknown unit", "space inside" },
    { " 1s", "not a number", "space in front" },
    { "1s ", "unknown unit", "space behind" },
    { "1.2.3s", "missing unit", "two points" },
    { "--1s", "not a number", "two signs" },
    { "1s-1s", "unknown unit", "a sign inside" },
    { "9223372036854775808ns", "too long", "one more than the largest" },
    { "-9223372036854775809ns", "too long", "one less than the smallest" },
    { "99999999999999999999999s", "too long", "number too large" },
    { "2562047h47m16.854775808s", "too long", "the sum is too large" },
};

TEST(what_is_no_duration_is_refused_and_changes_nothing)
{
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e = { 0 };
        int64_t ns = 7;
        int r = duration_parse(str_of(bad[i].text), &ns, &e);
        if (r != -CODE_INVALID || ns != 7 || !strstr(e.text, bad[i].error))
            FAIL("'%s' (%s): r=%d '%s'", bad[i].text, bad[i].why, r, e.text);
    }
}

TEST_MAIN()
