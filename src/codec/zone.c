#include "codec/zone.h"

#include <stdlib.h>

enum {
    OFFSET_MAX_S = 26 * 3600, /* RFC 9636, 3.2 */
    YEAR_S = 31556952,        /* on average */
    NAME_MAX_BYTES = 64,
};
#define FAR_S (INT64_C(100000) * YEAR_S) /* beyond it no rule is followed any more */

/* One of the two days of a year when a POSIX rule sets clocks. */
struct rule_day {
    char kind; /* 'M' month, week, weekday; 'J' 1..365 without leap days; '0' 0..365 */
    int month, week, day;
    int32_t time_s; /* after that day's midnight; may lie days off */
};
struct rule {
    bool there, changes; /* changes: has daylight saving time */
    int32_t standard_s, saving_s;
    struct rule_day begins, ends;
};

struct zone {
    int64_t *at;        /* ascending */
    int32_t *offset_s;  /* from at[i] on */
    size_t count;
    int32_t before_s;   /* before at[0] */
    struct rule rule;   /* from the last one on */
};

void zone_free(struct zone *z)
{
    if (!z)
        return;
    free(z->at);
    free(z->offset_s);
    free(z);
}

/* ---- the rule behind the transitions: a POSIX TZ string ---- */

static bool cut_char(struct str *s, char c)
{
    if (s->size == 0 || s->at[0] != c)
        return false;
    *s = str_from(*s, 1);
    return true;
}

static bool cut_int(struct str *s, int max, int *ret)
{
    int n = 0;
    size_t size = 0;
    while (size < s->size && size < 4 && s->at[size] >= '0' && s->at[size] <= '9')
        n = n * 10 + (s->at[size++] - '0');
    *s = str_from(*s, size);
    *ret = n;
    return size > 0 && n <= max;
}

/* [+-]h[:m[:s]]; days' worth of hours in a rule's times (RFC 9636, 3.3.1) */
static bool cut_time(struct str *s, int hours_max, int32_t *ret_s)
{
    int h, m = 0, sec = 0;
    bool minus = cut_char(s, '-');
    if (!minus)
        (void)cut_char(s, '+');
    if (!cut_int(s, hours_max, &h) || (cut_char(s, ':') && !cut_int(s, 59, &m)))
        return false;
    if (cut_char(s, ':') && !cut_int(s, 59, &sec))
        return false;
    *ret_s = (minus ? -1 : 1) * (h * 3600 + m * 60 + sec);
    return true;
}

static bool cut_name(struct str *s)
{
    bool angle = cut_char(s, '<');
    size_t size = 0;
    for (; size < s->size; size++) {
        char c = s->at[size];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(angle && ((c >= '0' && c <= '9') || c == '+' || c == '-')))
            break;
    }
    *s = str_from(*s, size);
    return size >= 3 && (!angle || cut_char(s, '>'));
}

static bool cut_day(struct str *s, struct rule_day *ret)
{
    struct rule_day d = { .kind = '0', .time_s = 7200 };
    bool good;
    if (!cut_char(s, ','))
        return false;
    if (cut_char(s, 'M')) {
        d.kind = 'M';
        good = cut_int(s, 12, &d.month) && cut_char(s, '.') && cut_int(s, 5, &d.week) && cut_char(s, '.') &&
               cut_int(s, 6, &d.day) && d.month >= 1 && d.week >= 1;
    } else if (cut_char(s, 'J')) {
        d.kind = 'J';
        good = cut_int(s, 365, &d.day) && d.day >= 1;
    } else {
        good = cut_int(s, 365, &d.day);
    }
    if (!good || (cut_char(s, '/') && !cut_time(s, 167, &d.time_s)))
        return false;
    *ret = d;
    return true;
}

static bool rule_parse(struct str s, struct rule *ret)
{
    struct rule r = { .there = true };
    if (!cut_name(&s) || !cut_time(&s, 24, &r.standard_s))
        return false;
    r.standard_s = -r.standard_s; /* POSIX counts westwards */
    if (s.size > 0) {
        r.changes = true;
        r.saving_s = r.standard_s + 3600;
        if (!cut_name(&s))
            return false;
        if (s.size > 0 && s.at[0] != ',') {
            if (!cut_time(&s, 24, &r.saving_s))
                return false;
            r.saving_s = -r.saving_s;
        }
        if (!cut_day(&s, &r.begins) || !cut_day(&s, &r.ends) || s.size > 0)
            return false;
    }
    *ret = r;
    return true;
}

/* Seconds since 1970 as the clock that is set shows them. */
static int64_t rule_day_s(const struct rule_day *d, int64_t year)
{
    int64_t days;
    if (d->kind == 'M') {
        int64_t first = civil_days(year, d->month, 1);
        days = first + (d->day - civil_weekday(first) + 7) % 7 + 7 * (d->week - 1);
        if (days >= first + civil_month_days(year, d->month)) /* the fifth is the last */
            days -= 7;
    } else if (d->kind == 'J') {
        days = civil_days(year, 1, 1) + d->day - 1 + (d->day >= 60 && civil_month_days(year, 2) == 29);
    } else {
        days = civil_days(year, 1, 1) + d->day;
    }
    return days * 86400 + d->time_s;
}

/* The latest change at or before `at_s` decides. Changes of three years are looked at: rules may reach over
 * the new year. Where one ends saving time and another begins it at the same moment, it is all-year saving
 * time. */
static void rule_span(const struct rule *r, int64_t at_s, int32_t *ret_offset_s, int64_t *ret_until_s)
{
    struct civil c;
    int64_t latest = INT64_MIN, until = INT64_MAX;
    int32_t offset_s = r->standard_s;
    if (r->changes && at_s < FAR_S && at_s > -FAR_S) {
        civil_of_seconds(at_s, &c);
        for (int64_t year = c.year - 1; year <= c.year + 1; year++) {
            int64_t begins = rule_day_s(&r->begins, year) - r->standard_s;
            int64_t ends = rule_day_s(&r->ends, year) - r->saving_s;
            if (ends <= at_s && ends > latest) {
                latest = ends;
                offset_s = r->standard_s;
            }
            if (begins <= at_s && begins >= latest) {
                latest = begins;
                offset_s = r->saving_s;
            }
            until = begins > at_s ? MIN(until, begins) : until;
            until = ends > at_s ? MIN(until, ends) : until;
        }
    }
    *ret_offset_s = offset_s;
    *ret_until_s = until;
}

/* ---- the file ---- */

struct header {
    uint32_t utc, standard, leaps, times, types, chars;
};
enum { HEADER_BYTES = 44, TYPE_BYTES = 6 };

static uint64_t big_endian(const char *at, size_t size)
{
    uint64_t n = 0;
    for (size_t i = 0; i < size; i++)
        n = n << 8 | (uint8_t)at[i];
    return n;
}

static int refuse(struct err *e, const char *why)
{
    return err_set(e, CODE_INVALID, "time zone file: %s", why);
}

static size_t body_bytes(const struct header *h, size_t time_size)
{
    return h->times * (time_size + 1) + h->types * TYPE_BYTES + h->chars + h->leaps * (time_size + 4) +
           h->standard + h->utc;
}

/* Cuts a header off; the body it tells of must follow. */
static int cut_header(struct str *s, size_t time_size, char *ret_version, struct header *ret, struct err *e)
{
    struct header h;
    if (s->size < HEADER_BYTES || memcmp(s->at, "TZif", 4) != 0)
        return refuse(e, "it does not begin with TZif");
    const char *at = s->at + 20;
    h = (struct header){ (uint32_t)big_endian(at, 4),      (uint32_t)big_endian(at + 4, 4),
                         (uint32_t)big_endian(at + 8, 4),  (uint32_t)big_endian(at + 12, 4),
                         (uint32_t)big_endian(at + 16, 4), (uint32_t)big_endian(at + 20, 4) };
    if (h.times > ZONE_TRANSITIONS_MAX || h.types > 256 || h.chars > 4096 || h.leaps > 256 || h.utc > 256 ||
        h.standard > 256)
        return refuse(e, "it has more transitions or types than any real one");
    *ret_version = s->at[4];
    *s = str_from(*s, HEADER_BYTES);
    if (s->size < body_bytes(&h, time_size))
        return refuse(e, "it ends early");
    *ret = h;
    return 0;
}

static int read_types(const char *at, uint32_t count, int32_t offsets_s[256], struct err *e)
{
    for (uint32_t i = 0; i < count; i++) {
        int32_t offset_s = (int32_t)(uint32_t)big_endian(at + i * TYPE_BYTES, 4);
        if (offset_s > OFFSET_MAX_S || offset_s < -OFFSET_MAX_S)
            return refuse(e, "an offset of more than 26 hours");
        offsets_s[i] = offset_s;
    }
    return 0;
}

static int read_body(struct str s, const struct header *h, size_t time_size, struct zone *z, struct err *e)
{
    int32_t offsets_s[256];
    const char *types = s.at + h->times * time_size;
    if (h->leaps > 0)
        return refuse(e, "it counts leap seconds, which Unix time does not have (a zone of right/?)");
    if (h->types == 0)
        return refuse(e, "it has no types");
    int r = read_types(types + h->times, h->types, offsets_s, e);
    if (r < 0)
        return r;
    z->before_s = offsets_s[0]; /* RFC 9636, 3.2 */
    z->at = xcalloc(h->times + 1, sizeof z->at[0]);
    z->offset_s = xcalloc(h->times + 1, sizeof z->offset_s[0]);
    for (uint32_t i = 0; i < h->times; i++) {
        uint64_t n = big_endian(s.at + i * time_size, time_size);
        uint8_t type = (uint8_t)types[i];
        z->at[i] = time_size == 4 ? (int64_t)(int32_t)(uint32_t)n : (int64_t)n;
        if (type >= h->types || (i > 0 && z->at[i] <= z->at[i - 1]))
            return refuse(e, type >= h->types ? "a type that it does not have" : "transitions out of order");
        z->offset_s[i] = offsets_s[type];
    }
    z->count = h->times;
    return 0;
}

static int read_footer(struct str s, struct zone *z, struct err *e)
{
    struct str rule;
    if (!cut_char(&s, '\n') || s.size == 0 || !memchr(s.at, '\n', s.size))
        return refuse(e, "no rule behind its transitions");
    rule = str_cut(&s, '\n');
    if (rule.size == 0)
        return 0; /* the last transition holds for ever */
    if (!rule_parse(rule, &z->rule))
        return err_set(e, CODE_INVALID, "time zone file: \"%.*s\" is no rule for the years to come",
                       (int)MIN(rule.size, 60), rule.at);
    return 0;
}

int zone_parse(struct str bytes, struct zone **ret, struct err *e)
{
    AUTO(zone) struct zone *z = xcalloc(1, sizeof *z);
    struct header h;
    char version = 0, again;
    size_t time_size = 4;
    if (bytes.size > ZONE_BYTES_MAX)
        return refuse(e, "more than 64 KiB");
    int r = cut_header(&bytes, time_size, &version, &h, e);
    if (r == 0 && version >= '2') { /* the same again with 64 bits, and the rule */
        time_size = 8;
        bytes = str_from(bytes, body_bytes(&h, 4));
        r = cut_header(&bytes, time_size, &again, &h, e);
    }
    if (r < 0 || (r = read_body(bytes, &h, time_size, z, e)) < 0)
        return r;
    if (version >= '2' && (r = read_footer(str_from(bytes, body_bytes(&h, time_size)), z, e)) < 0)
        return r;
    *ret = TAKE(z);
    return 0;
}

/* ---- what it says ---- */

void zone_span(const struct zone *z, int64_t at_s, int32_t *ret_offset_s, int64_t *ret_until_s)
{
    size_t low = 0, high = z ? z->count : 0; /* high becomes the first transition behind at_s */
    *ret_offset_s = 0;
    *ret_until_s = INT64_MAX;
    if (!z)
        return;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (z->at[middle] <= at_s)
            low = middle + 1;
        else
            high = middle;
    }
    if (high == z->count && z->rule.there) {
        rule_span(&z->rule, at_s, ret_offset_s, ret_until_s);
        return;
    }
    *ret_offset_s = high > 0 ? z->offset_s[high - 1] : z->before_s;
    *ret_until_s = high < z->count ? z->at[high] : INT64_MAX;
}

void zone_local(const struct zone *z, int64_t at_s, struct civil *ret)
{
    int32_t offset_s;
    int64_t until_s;
    zone_span(z, at_s, &offset_s, &until_s);
    civil_of_seconds(at_s + offset_s, ret);
}

int zone_moments(const struct zone *z, int64_t local_s, int64_t ret[2])
{
    int64_t from = local_s - OFFSET_MAX_S, until_s;
    int32_t offset_s;
    int count = 0;
    while (count < 2 && from <= local_s + OFFSET_MAX_S) {
        zone_span(z, from, &offset_s, &until_s);
        int64_t at = local_s - offset_s;
        if (at >= from && at < until_s)
            ret[count++] = at;
        from = until_s;
    }
    return count;
}

bool zone_name_valid(struct str name)
{
    bool part = false;
    if (name.size == 0 || name.size > NAME_MAX_BYTES || str_is(name, "localtime") ||
        str_starts(name, STR("right/")) || str_starts(name, STR("posix/")))
        return false;
    for (size_t i = 0; i < name.size; i++) {
        char c = name.at[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (!part || !((c >= '0' && c <= '9') || c == '_' || c == '+' || c == '-' || c == '/')))
            return false;
        part = c != '/'; /* each part begins with a letter */
    }
    return part;
}

bool zone_name_is_utc(struct str name)
{
    return name.size == 0 || str_is(name, "UTC") || str_is(name, "Etc/UTC") || str_is(name, "Etc/GMT") ||
           str_is(name, "GMT") || str_is(name, "Z");
}
