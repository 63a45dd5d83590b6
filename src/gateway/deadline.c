#include "gateway/deadline.h"

/* Days since 1970-01-01 in the proleptic Gregorian calendar; years begin in March, so that the leap
 * day is the last of its year. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400, year_of_era = year % 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

/* Exactly `digits` digits in front of *rest. */
static bool number_take(struct str *rest, size_t digits, int64_t *ret)
{
    uint64_t value = 0;
    if (rest->size < digits || !str_u64(str_head(*rest, digits), &value))
        return false;
    *rest = str_from(*rest, digits);
    *ret = (int64_t)value;
    return true;
}

static bool char_take(struct str *rest, const char *any_of)
{
    if (rest->size == 0 || rest->at[0] == '\0' || !strchr(any_of, rest->at[0]))
        return false;
    *rest = str_from(*rest, 1);
    return true;
}

/* Any number of digits; finer than a millisecond does not count. */
static bool fraction_take(struct str *rest, int64_t *ret_ms)
{
    static const int64_t scale[] = { 100, 10, 1 };
    size_t digits = 0;
    *ret_ms = 0;
    for (; rest->size > 0 && rest->at[0] >= '0' && rest->at[0] <= '9'; digits++) {
        if (digits < COUNT_OF(scale))
            *ret_ms += (rest->at[0] - '0') * scale[digits];
        *rest = str_from(*rest, 1);
    }
    return digits > 0;
}

static bool offset_take(struct str *rest, int64_t *ret_minutes)
{
    int64_t hours, minutes;
    *ret_minutes = 0;
    if (char_take(rest, "Zz"))
        return true;
    bool east = rest->size > 0 && rest->at[0] == '+';
    if (!char_take(rest, "+-") || !number_take(rest, 2, &hours) || !char_take(rest, ":") ||
        !number_take(rest, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_minutes = (hours * 60 + minutes) * (east ? 1 : -1);
    return true;
}

static bool moment_parse(struct str s, int64_t *ret_ms)
{
    int64_t year, month, day, hour, minute, second, ms = 0, offset;
    if (!number_take(&s, 4, &year) || !char_take(&s, "-") || !number_take(&s, 2, &month) ||
        !char_take(&s, "-") || !number_take(&s, 2, &day) || !char_take(&s, "Tt ") ||
        !number_take(&s, 2, &hour) || !char_take(&s, ":") || !number_take(&s, 2, &minute) ||
        !char_take(&s, ":") || !number_take(&s, 2, &second))
        return false;
    if (char_take(&s, ".") && !fraction_take(&s, &ms))
        return false;
    if (!offset_take(&s, &offset) || s.size > 0)
        return false;
    static const int64_t days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    if (month < 1 || month > 12 || day < 1 || day > days[month - 1] || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (month == 2 && day == 29 && !leap)
        return false;
    int64_t minutes = (days_of(year, month, day) * 24 + hour) * 60 + minute - offset;
    *ret_ms = (minutes * 60 + second) * 1000 + ms;
    return true;
}

int deadline_parse(struct str text, int64_t wall_ms, uint64_t *ret_left_ms, struct err *e)
{
    int64_t at_ms;
    if (str_u64(text, ret_left_ms))
        return 0;
    if (!moment_parse(text, &at_ms))
        return err_set(e, CODE_INVALID,
                       "Hob-Deadline \"" STR_FMT
                       "\": milliseconds left or an RFC 3339 time expected",
                       (int)MIN(text.size, 40), text.at);
    *ret_left_ms = at_ms > wall_ms ? (uint64_t)(at_ms - wall_ms) : 0;
    return 0;
}
