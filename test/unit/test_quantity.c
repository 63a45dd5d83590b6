#include "codec/quantity.h"
#include "tap.h"

static const struct {
    const char *text;
    int64_t milli, units;
    const char *canonical, *why;
} good[] = {
    { "0", 0, 0, "0", "zero" },
    { "-0", 0, 0, "0", "minus zero is zero" },
    { "250m", 250, 1, "250m", "milli; units round away from zero" },
    { "-250m", -250, -1, "-250m", "negative, also away from zero" },
    { "1.5", 1500, 2, "1500m", "decimals become milli" },
    { "0.5", 500, 1, "500m", "as above" },
    { ".5", 500, 1, "500m", "no digit before the point" },
    { "5.", 5000, 5, "5", "no digit after it" },
    { "+1", 1000, 1, "1", "explicit sign" },
    { "1000m", 1000, 1, "1", "canonical form has the largest suffix" },
    { "1024Mi", INT64_C(1073741824000), INT64_C(1073741824), "1Gi", "binary, as above" },
    { "1.5Gi", INT64_C(1610612736000), INT64_C(1610612736), "1536Mi", "decimals of a binary unit" },
    { "0.1Ki", 102400, 103, "102400m", "a broken binary quantity is shown decimal" },
    { "512Ki", INT64_C(524288000), 524288, "512Ki", "largest suffix that stays whole" },
    { "1000Ki", INT64_C(1024000000), 1024000, "1000Ki", "no power of 1024" },
    { "1023", 1023000, 1023, "1023", "no suffix" },
    { "0.001Ki", 1024, 2, "1024m", "under 1024: decimal" },
    { "1E", INT64_MAX, INT64_C(1000000000000000000), "1E", "exa, not an exponent; milli is held" },
    { "1E3", 1000000, 1000, "1e3", "exponent, upper case" },
    { "1e3", 1000000, 1000, "1e3", "exponent" },
    { "12e-1", 1200, 2, "1200e-3", "negative exponent, in steps of three" },
    { "1e0", 1000, 1, "1", "an exponent of zero is left out" },
    { "1Ei", INT64_MAX, INT64_C(1152921504606846976), "1Ei", "exbi" },
    { "8Ei", INT64_MAX, INT64_MAX, "9223372036854775807", "held at 2^63-1" },
    { "1e999999999999", INT64_MAX, INT64_MAX, "9223372036854775807", "absurd exponents are held" },
    { "0e999999999999", 0, 0, "0", "unless nothing is multiplied" },
    { "1e-99999", 1, 1, "1e-9", "rounded up to the smallest there is" },
    { "1n", 1, 1, "1n", "nano" },
    { "1u", 1, 1, "1u", "micro" },
    { "0.1n", 1, 1, "1n", "finer than nano rounds up" },
    { "9223372036854775807", INT64_MAX, INT64_MAX, "9223372036854775807", "largest" },
    { "9223372036854775808", INT64_MAX, INT64_MAX, "9223372036854775807", "one more is held" },
    { "9223372036854775.807", INT64_MAX, INT64_C(9223372036854776), "9223372036854775807m",
      "largest milli" },
    { "00000000000000000000000000000000000000000000001", 1000, 1, "1", "leading zeros" },
    { "1.00000000000000000000000000000000000000000000", 1000, 1, "1", "trailing zeros" },
    { "1.00000000000000000000000000000000000000000001", 1001, 2, "1000000001n", "they count" },
};

TEST(quantities_are_read_and_written_as_kubernetes_does)
{
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct err e = { 0 };
        struct quantity q, again;
        char text[QUANTITY_TEXT];
        if (quantity_parse(str_of(good[i].text), &q, &e) != 0)
            FAIL("'%s' (%s): %s", good[i].text, good[i].why, e.text);
        quantity_format(&q, text);
        if (quantity_milli(&q) != good[i].milli || quantity_units(&q) != good[i].units ||
            strcmp(text, good[i].canonical) != 0)
            FAIL("'%s' (%s): milli %" PRId64 ", units %" PRId64 ", '%s'", good[i].text, good[i].why,
                 quantity_milli(&q), quantity_units(&q), text);
        CHECK_EQ(quantity_parse(str_of(text), &again, &e), 0);
        CHECK(again.nano == q.nano && again.negative == q.negative);
    }
}

#define FORMAT "quantities must match the regular expression "
static const struct {
    const char *text, *error, *why;
} bad[] = {
    { "", FORMAT, "empty" },
    { "Gi", "unable to parse numeric part", "no digits" },
    { ".", "unable to parse numeric part", "only a point" },
    { "-", "unable to parse numeric part", "only a sign" },
    { "1..5", FORMAT, "two points" },
    { "1.2.3", FORMAT, "two points apart" },
    { "--1", "unable to parse numeric part", "two signs" },
    { " 1", FORMAT, "space in front" },
    { "1 ", FORMAT, "space behind" },
    { "1GB", FORMAT, "not a Kubernetes suffix" },
    { "1gi", FORMAT, "suffixes are case sensitive" },
    { "1Kk", "unable to parse quantity's suffix", "letters of suffixes, but none" },
    { "1K", "unable to parse quantity's suffix", "kilo is a small k" },
    { "1e", "unable to parse quantity's suffix", "exponent without digits" },
    { "1e1.5", FORMAT, "broken exponent" },
    { "1e+-5", FORMAT, "two signs in an exponent" },
    { "1m5", "unable to parse quantity's suffix", "digits behind a suffix" },
    { "0x10", FORMAT, "no hexadecimal" },
    { "1,5", FORMAT, "no comma" },
    { "inf", FORMAT, "no infinity" },
};

TEST(what_is_no_quantity_is_refused_and_changes_nothing)
{
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e = { 0 };
        struct quantity q = { .nano = 7 };
        int r = quantity_parse(str_of(bad[i].text), &q, &e);
        if (r != -CODE_INVALID || q.nano != 7 || !strstr(e.text, bad[i].error))
            FAIL("'%s' (%s): r=%d '%s'", bad[i].text, bad[i].why, r, e.text);
    }
}

TEST(a_text_of_any_length_is_answered)
{
    char text[200];
    struct quantity q;
    struct err e;
    memset(text, '9', sizeof text);
    CHECK_EQ(quantity_parse((struct str){ text, 128 }, &q, &e), 0);
    CHECK_EQ(quantity_units(&q), INT64_MAX);
    CHECK_EQ(quantity_parse((struct str){ text, 129 }, &q, &e), -CODE_INVALID);
    text[126] = 'E', text[127] = 'i';
    CHECK_EQ(quantity_parse((struct str){ text, 128 }, &q, &e), 0);
    memcpy(text + 124, "e+40", 4);
    text[0] = '.'; /* 123 decimals and the largest power that is multiplied out */
    CHECK_EQ(quantity_parse((struct str){ text, 128 }, &q, &e), 0);
}

TEST_MAIN()
