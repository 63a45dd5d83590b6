#include "cli/human.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

/* Three significant digits of value, which is below 1000. */
static void three(double value, char *into, size_t size)
{
    snprintf(into, size, "%.*f", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value);
}

const char *human_us(int64_t us, char into[HUMAN_TEXT])
{
    char number[24];
    uint64_t size = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    const char *sign = us < 0 ? "-" : "";
    if (size == 0) {
        snprintf(into, HUMAN_TEXT, "0 ms");
    } else if (size < 10000000) {
        double ms = (double)size / 1000;
        if (size < 10)
            snprintf(number, sizeof number, "%.3f", ms);
        else if (ms < 999.5)
            three(ms, number, sizeof number);
        else
            snprintf(number, sizeof number, "%.0f", ms);
        snprintf(into, HUMAN_TEXT, "%s%s ms", sign, number);
    } else if (size < 120000000) {
        three((double)size / 1e6, number, sizeof number);
        snprintf(into, HUMAN_TEXT, "%s%s s", sign, number);
    } else {
        uint64_t seconds = size / 1000000;
        snprintf(into, HUMAN_TEXT, "%s%" PRIu64 " min %02" PRIu64 " s", sign, seconds / 60,
                 seconds % 60);
    }
    return into;
}

const char *human_bytes(uint64_t bytes, char into[HUMAN_TEXT])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    char number[24];
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 999.5 && unit + 1 < COUNT_OF(units); unit++)
        value /= 1024;
    if (unit == 0)
        snprintf(number, sizeof number, "%" PRIu64, bytes);
    else
        three(value, number, sizeof number);
    snprintf(into, HUMAN_TEXT, "%s %s", number, units[unit]);
    return into;
}

const char *human_rate(uint64_t bytes, int64_t us, char into[HUMAN_TEXT])
{
    char number[HUMAN_TEXT];
    if (us <= 0 || bytes == 0)
        into[0] = '\0';
    else
        snprintf(into, HUMAN_TEXT, "%.32s/s",
                 human_bytes((uint64_t)MIN((double)bytes * 1e6 / (double)us, 1e18), number));
    return into;
}

const char *human_age(int64_t s, char into[HUMAN_TEXT])
{
    s = MAX(s, 0);
    if (s < 120)
        snprintf(into, HUMAN_TEXT, "%" PRId64 "s", s);
    else if (s < 600 && s % 60)
        snprintf(into, HUMAN_TEXT, "%" PRId64 "m%" PRId64 "s", s / 60, s % 60);
    else if (s < 3 * 3600)
        snprintf(into, HUMAN_TEXT, "%" PRId64 "m", s / 60);
    else if (s < 8 * 3600 && s / 60 % 60)
        snprintf(into, HUMAN_TEXT, "%" PRId64 "h%" PRId64 "m", s / 3600, s / 60 % 60);
    else if (s < 48 * 3600)
        snprintf(into, HUMAN_TEXT, "%" PRId64 "h", s / 3600);
    else
        snprintf(into, HUMAN_TEXT, "%" PRId64 "d", s / 86400);
    return into;
}

const char *human_permille(int64_t permille, char into[HUMAN_TEXT])
{
    snprintf(into, HUMAN_TEXT, "%s%" PRId64 ".%" PRId64 " %%", permille < 0 ? "-" : "",
             (permille < 0 ? -permille : permille) / 10,
             (permille < 0 ? -permille : permille) % 10);
    return into;
}

/* Days since 1970-01-01 of a civil date (Gregorian, year 0 to 9999). */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool digits(struct str *s, size_t count, int64_t low, int64_t high, int64_t *ret)
{
    uint64_t n;
    if (s->size < count || !str_u64(str_head(*s, count), &n))
        return false;
    *s = str_from(*s, count);
    *ret = (int64_t)n;
    return *ret >= low && *ret <= high;
}

static bool sign(struct str *s, char expected)
{
    if (s->size == 0 || s->at[0] != expected)
        return false;
    *s = str_from(*s, 1);
    return true;
}

static bool zone(struct str *s, int64_t *ret_minutes)
{
    int64_t hours, minutes;
    if (sign(s, 'Z')) {
        *ret_minutes = 0;
        return true;
    }
    bool west = s->size && s->at[0] == '-';
    if (!sign(s, west ? '-' : '+') || !digits(s, 2, 0, 23, &hours) || !sign(s, ':') ||
        !digits(s, 2, 0, 59, &minutes))
        return false;
    *ret_minutes = (hours * 60 + minutes) * (west ? -1 : 1);
    return true;
}

bool human_rfc3339_parse(struct str s, int64_t *ret_unix_ms)
{
    int64_t year, month, day, hour, minute, second, ms = 0, offset, scale = 100;
    if (!digits(&s, 4, 0, 9999, &year) || !sign(&s, '-') || !digits(&s, 2, 1, 12, &month) ||
        !sign(&s, '-') || !digits(&s, 2, 1, 31, &day) || !sign(&s, 'T') ||
        !digits(&s, 2, 0, 23, &hour) || !sign(&s, ':') || !digits(&s, 2, 0, 59, &minute) ||
        !sign(&s, ':') || !digits(&s, 2, 0, 60, &second))
        return false;
    if (sign(&s, '.')) {
        int64_t digit;
        if (!(s.size && s.at[0] >= '0' && s.at[0] <= '9'))
            return false;
        for (; s.size && s.at[0] >= '0' && s.at[0] <= '9'; scale /= 10) {
            (void)digits(&s, 1, 0, 9, &digit);
            ms += digit * scale;
        }
    }
    if (!zone(&s, &offset) || s.size != 0)
        return false;
    int64_t minutes = (days_of(year, month, day) * 24 + hour) * 60 + minute - offset;
    *ret_unix_ms = (minutes * 60 + second) * 1000 + ms;
    return true;
}

const char *human_rfc3339(int64_t unix_ms, char into[HUMAN_TEXT])
{
    time_t seconds = (time_t)(unix_ms / 1000 - (unix_ms % 1000 < 0));
    struct tm tm;
    char date[32];
    if (!gmtime_r(&seconds, &tm) || strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        date[0] = '\0';
    snprintf(into, HUMAN_TEXT, "%s.%03dZ", date, (int)(unix_ms - (int64_t)seconds * 1000));
    return into;
}
