#include "codec/duration.h"

#include <stdio.h>

static const struct {
    const char *name;
    int64_t ns;
} units[] = {
    { "ns", 1 },
    { "us", 1000 },
    { "\xc2\xb5s", 1000 }, /* U+00B5, micro sign */
    { "\xce\xbcs", 1000 }, /* U+03BC, Greek mu */
    { "ms", 1000000 },
    { "s", 1000000000 },
    { "m", INT64_C(60) * 1000000000 },
    { "h", INT64_C(3600) * 1000000000 },
};

static bool digit(char c) { return c >= '0' && c <= '9'; }

static struct str cut_digits(struct str *s)
{
    size_t size = 0;
    while (size < s->size && digit(s->at[size]))
        size++;
    struct str digits = str_head(*s, size);
    *s = str_from(*s, size);
    return digits;
}

static int64_t cut_unit(struct str *s)
{
    size_t size = 0;
    while (size < s->size && s->at[size] != '.' && !digit(s->at[size]))
        size++;
    struct str name = str_head(*s, size);
    *s = str_from(*s, size);
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (str_is(name, units[i].name))
            return units[i].ns;
    return size ? -1 : 0;
}

/* Digits after the point, cut off below a nanosecond as Go does. The 18 first are exact. */
static uint64_t part_ns(struct str decimals, int64_t unit)
{
    uint64_t n = 0, scale = 1;
    for (size_t i = 0; i < decimals.size && i < 18; i++) {
        n = n * 10 + (uint64_t)(decimals.at[i] - '0');
        scale *= 10;
    }
    return (uint64_t)((unsigned __int128)n * (uint64_t)unit / scale);
}

static int refuse(struct str text, struct err *e, const char *why)
{
    return err_set(e, CODE_INVALID, "duration \"%.*s\": %s", (int)MIN(text.size, 100), text.at, why);
}

int duration_parse(struct str text, int64_t *ret_ns, struct err *e)
{
    struct str s = text;
    bool negative = s.size > 0 && s.at[0] == '-';
    uint64_t sum = 0, n;
    if (s.size > 0 && (s.at[0] == '-' || s.at[0] == '+'))
        s = str_from(s, 1);
    if (str_is(s, "0")) {
        *ret_ns = 0;
        return 0;
    }
    if (s.size == 0)
        return refuse(text, e, "empty");
    while (s.size > 0) {
        struct str whole = cut_digits(&s), decimals = { s.at, 0 };
        if (s.size > 0 && s.at[0] == '.') {
            s = str_from(s, 1);
            decimals = cut_digits(&s);
        }
        if (whole.size == 0 && decimals.size == 0)
            return refuse(text, e, "not a number with a unit");
        int64_t unit = cut_unit(&s);
        if (unit <= 0)
            return refuse(text, e, unit ? "unknown unit, want ns, us, ms, s, m or h" : "missing unit");
        if (!str_u64(whole.size ? whole : STR("0"), &n) ||
            __builtin_mul_overflow(n, (uint64_t)unit, &n) ||
            __builtin_add_overflow(n, part_ns(decimals, unit), &n) ||
            __builtin_add_overflow(sum, n, &sum) || sum > (uint64_t)INT64_MAX + negative)
            return refuse(text, e, "too long for 64 bits of nanoseconds");
    }
    *ret_ns = negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return 0;
}

/* What stands in front of the d is read as hours, and taken 24 times: both are exact below a nanosecond. */
int duration_parse_days(struct str text, int64_t *ret_ns, struct err *e)
{
    struct str rest = text, days = str_cut(&rest, 'd');
    char hours[64];
    int64_t day_ns, rest_ns = 0;
    struct err ignored;
    if (days.size == text.size)
        return duration_parse(text, ret_ns, e);
    int size = snprintf(hours, sizeof hours, "%.*sh", (int)MIN(days.size, sizeof hours), days.at);
    bool negative = days.size > 0 && days.at[0] == '-';
    if (days.size == 0 || size >= (int)sizeof hours || strspn(hours, "+-.0123456789") != days.size ||
        duration_parse((struct str){ hours, (size_t)size }, &day_ns, &ignored) < 0 ||
        (rest.size > 0 && (rest.at[0] == '-' || rest.at[0] == '+' ||
                           duration_parse(rest, &rest_ns, &ignored) < 0)))
        return refuse(text, e, "not a number with a unit");
    if (__builtin_mul_overflow(day_ns, INT64_C(24), &day_ns) ||
        __builtin_add_overflow(day_ns, negative ? -rest_ns : rest_ns, &day_ns))
        return refuse(text, e, "too long for 64 bits of nanoseconds");
    *ret_ns = day_ns;
    return 0;
}

/* "1.5" of n / unit, without the zeros that say nothing. */
static int fraction(char *into, size_t size, uint64_t n, uint64_t unit)
{
    char decimals[24];
    uint64_t rest = n % unit, scale = unit;
    int count = 0;
    for (; rest > 0 && scale > 1; scale /= 10) {
        decimals[count++] = (char)('0' + rest / (scale / 10));
        rest %= scale / 10;
    }
    return snprintf(into, size, count ? "%llu.%.*s" : "%llu", (unsigned long long)(n / unit), count,
                    decimals);
}

void duration_format(int64_t ns, char into[DURATION_TEXT])
{
    const uint64_t second = 1000000000;
    uint64_t n = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    char number[32];
    const char *sign = ns < 0 ? "-" : "";
    if (n < second && n > 0) {
        bool micro = n < 1000000 && n >= 1000;
        (void)fraction(number, sizeof number, n, n < 1000 ? 1 : micro ? 1000 : 1000000);
        (void)snprintf(into, DURATION_TEXT, "%s%s%s", sign, number,
                       n < 1000  ? "ns"
                       : micro   ? "\xc2\xb5s"
                                 : "ms");
        return;
    }
    uint64_t minutes = n / second / 60;
    (void)fraction(number, sizeof number, n % (60 * second), second);
    if (minutes >= 60)
        (void)snprintf(into, DURATION_TEXT, "%s%lluh%llum%ss", sign,
                       (unsigned long long)(minutes / 60), (unsigned long long)(minutes % 60),
                       number);
    else if (minutes > 0)
        (void)snprintf(into, DURATION_TEXT, "%s%llum%ss", sign, (unsigned long long)minutes, number);
    else
        (void)snprintf(into, DURATION_TEXT, "%s%ss", sign, number);
}
