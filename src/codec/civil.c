#include "codec/civil.h"

#include <stdio.h>

enum { DAY_S = 86400 };

static int64_t floor_div(int64_t n, int64_t by) { return n / by - (n % by < 0); }

/* Years begin in March here, so that the day that comes and goes is the last one; 400 of them are an era of
 * always the same 146097 days. */
int64_t civil_days(int64_t year, int month, int day)
{
    ASSERT(month >= 1 && month <= 12 && year > -1000000000 && year < 1000000000);
    int64_t y = year - (month <= 2), era = floor_div(y, 400), of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

int64_t civil_seconds(const struct civil *c)
{
    return civil_days(c->year, c->month, c->day) * DAY_S + c->hour * 3600 + c->minute * 60 + c->second;
}

void civil_of_days(int64_t days, struct civil *ret)
{
    int64_t z = days + 719468, era = floor_div(z, 146097), of_era = z - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int of_year = (int)(of_era - (365 * y + y / 4 - y / 100)), m = (5 * of_year + 2) / 153;
    *ret = (struct civil){ .day = of_year - (153 * m + 2) / 5 + 1, .month = m < 10 ? m + 3 : m - 9 };
    ret->year = y + era * 400 + (ret->month <= 2);
}

void civil_of_seconds(int64_t seconds, struct civil *ret)
{
    int64_t days = floor_div(seconds, DAY_S);
    int of_day = (int)(seconds - days * DAY_S);
    civil_of_days(days, ret);
    ret->hour = of_day / 3600;
    ret->minute = of_day / 60 % 60;
    ret->second = of_day % 60;
}

int civil_weekday(int64_t days)
{
    return (int)((days % 7 + 11) % 7); /* 1970-01-01 was a Thursday */
}

int civil_month_days(int64_t year, int month)
{
    ASSERT(month >= 1 && month <= 12);
    if (month == 2)
        return 28 + ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0);
    return 30 + ((month + (month > 7)) & 1);
}

/* `count` digits, then `end` if that is not 0. */
static bool cut_number(struct str *s, size_t count, char end, int *ret)
{
    uint64_t n;
    if (s->size < count + (end != 0) || !str_u64(str_head(*s, count), &n) || (end && s->at[count] != end))
        return false;
    *s = str_from(*s, count + (end != 0));
    *ret = (int)n;
    return true;
}

static bool cut_fraction(struct str *s, int32_t *ret_ns)
{
    size_t size = 0;
    int32_t ns = 0;
    if (s->size == 0 || (s->at[0] != '.' && s->at[0] != ','))
        return true;
    *s = str_from(*s, 1);
    for (; size < s->size && s->at[size] >= '0' && s->at[size] <= '9'; size++)
        if (size < 9)
            ns = ns * 10 + (s->at[size] - '0');
    for (size_t i = size; i < 9; i++)
        ns *= 10;
    *s = str_from(*s, size);
    *ret_ns = ns;
    return size > 0;
}

static bool cut_offset(struct str *s, int *ret_s)
{
    int hours, minutes, sign;
    if (s->size == 0)
        return false;
    sign = s->at[0] == '-' ? -1 : 1;
    if (s->at[0] == 'Z' && s->size == 1) {
        *ret_s = 0;
        return true;
    }
    if (s->at[0] != '+' && s->at[0] != '-')
        return false;
    *s = str_from(*s, 1);
    if (!cut_number(s, 2, ':', &hours) || !cut_number(s, 2, 0, &minutes) || s->size > 0 ||
        hours > 23 || minutes > 59)
        return false;
    *ret_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

int civil_rfc3339_parse(struct str text, int64_t *ret_s, int32_t *ret_ns, struct err *e)
{
    struct str s = text;
    struct civil c;
    int year = 0, offset_s = 0;
    int32_t ns = 0;
    if (!cut_number(&s, 4, '-', &year) || !cut_number(&s, 2, '-', &c.month) ||
        !cut_number(&s, 2, 'T', &c.day) || !cut_number(&s, 2, ':', &c.hour) ||
        !cut_number(&s, 2, ':', &c.minute) || !cut_number(&s, 2, 0, &c.second) ||
        !cut_fraction(&s, &ns) || !cut_offset(&s, &offset_s) || c.month < 1 || c.month > 12 ||
        c.day < 1 || c.day > civil_month_days(year, c.month) || c.hour > 23 || c.minute > 59 ||
        c.second > 59)
        return err_set(e, CODE_INVALID, "time \"%.*s\": not RFC 3339, such as 2026-01-02T15:04:05Z",
                       (int)MIN(text.size, 60), text.at);
    c.year = year;
    *ret_s = civil_seconds(&c) - offset_s;
    *ret_ns = ns;
    return 0;
}

void civil_rfc3339_format(int64_t seconds, int32_t ns, char into[CIVIL_TEXT])
{
    struct civil c;
    char fraction[12] = "";
    civil_of_seconds(seconds, &c);
    if (ns > 0 && ns < 1000000000) {
        int size = snprintf(fraction, sizeof fraction, ".%09d", (int)ns);
        while (size > 1 && fraction[size - 1] == '0')
            fraction[--size] = '\0';
    }
    (void)snprintf(into, CIVIL_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d%sZ", (int)c.year, c.month, c.day,
                   c.hour, c.minute, c.second, fraction);
}

int64_t civil_ns(int64_t seconds, int32_t ns)
{
    int64_t n;
    if (__builtin_mul_overflow(seconds, INT64_C(1000000000), &n) || __builtin_add_overflow(n, ns, &n))
        return seconds < 0 ? INT64_MIN : INT64_MAX - 1;
    return MIN(n, INT64_MAX - 1);
}
