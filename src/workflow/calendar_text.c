#include "workflow/calendar_text.h"

#include "codec/duration.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const months[] = { "january", "february", "march",     "april",   "may",      "june",
                                      "july",    "august",   "september", "october", "november", "december" };
static const char *const weekdays[] = { "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday" };

static const struct field {
    const char *name, *otherwise; /* otherwise: what an empty text means */
    int min, max;
    const char *const *names;
    size_t name_count, letters_min;
} fields[] = {
    [CALENDAR_SECOND] = { "second", "0", 0, 59, NULL, 0, 0 },
    [CALENDAR_MINUTE] = { "minute", "0", 0, 59, NULL, 0, 0 },
    [CALENDAR_HOUR] = { "hour", "0", 0, 23, NULL, 0, 0 },
    [CALENDAR_DAY] = { "day of month", "*", 1, 31, NULL, 0, 0 },
    [CALENDAR_MONTH] = { "month", "*", 1, 12, months, COUNT_OF(months), 3 },
    [CALENDAR_YEAR] = { "year", "*", DIAL_YEAR_MIN, DIAL_YEAR_MAX, NULL, 0, 0 },
    [CALENDAR_WEEKDAY] = { "day of week", "*", 0, 7, weekdays, COUNT_OF(weekdays), 2 },
};

/* Ranges while they are read: the names' own list is const, because callers lend theirs, too. */
struct list_of_ranges {
    struct calendar_range *at;
    size_t count;
};

static int no(const struct field *f, struct str part, const char *why, struct err *e)
{
    return err_set(e, CODE_INVALID, "schedule: %s \"%.*s\": %s", f->name, (int)MIN(part.size, (size_t)60), part.at,
                   why);
}

static bool begins_nocase(const char *name, struct str s)
{
    return s.size <= strlen(name) && str_eq_nocase(str_head(str_of(name), s.size), s);
}

static int number(const struct field *f, struct str s, struct str part, int *ret, struct err *e)
{
    uint64_t n;
    for (size_t i = 0; i < f->name_count && s.size >= f->letters_min; i++)
        if (begins_nocase(f->names[i], s)) {
            *ret = (int)i + f->min;
            return 0;
        }
    if (!str_u64(s, &n))
        return no(f, part, f->names ? "neither a number nor a name" : "not a number", e);
    if (n < (uint64_t)f->min || n > (uint64_t)f->max)
        return err_set(e, CODE_INVALID, "schedule: %s \"%.*s\": outside %d to %d", f->name,
                       (int)MIN(part.size, (size_t)60), part.at, f->min, f->max);
    *ret = (int)n;
    return 0;
}

static int add(const struct field *f, struct list_of_ranges *l, int start, int end, int step, struct err *e)
{
    if (l->count == CALENDAR_RANGES_MAX)
        return err_set(e, CODE_INVALID, "schedule: %s: more than %d ranges", f->name, CALENDAR_RANGES_MAX);
    if (l->count % 16 == 0)
        l->at = xrealloc(l->at, l->count + 16, sizeof l->at[0]);
    l->at[l->count++] = (struct calendar_range){ start, end > start ? end : 0, step > 1 ? step : 0 };
    return 0;
}

/* A range as Temporal shows it: an end only where it differs, a step only beyond 1; Sunday is 0. */
static int add_range(const struct field *f, struct list_of_ranges *l, int start, int end, int step, struct err *e)
{
    bool sunday = f == &fields[CALENDAR_WEEKDAY] && end == 7 && (7 - start) % step == 0;
    int r = 0;
    if (f == &fields[CALENDAR_WEEKDAY])
        end = MIN(end, 6);
    if (start <= end)
        r = add(f, l, start, end, step, e);
    if (r == 0 && sunday && !(start == 0 && step == 1))
        r = add(f, l, 0, 0, 1, e);
    return r;
}

static int range(const struct field *f, struct str part, struct list_of_ranges *l, struct err *e)
{
    struct str steps = part, ends = str_cut(&steps, '/'), to = ends, from = str_cut(&to, '-');
    bool stepped = ends.size < part.size, single = from.size == ends.size, all = str_is(ends, "*");
    int start = f->min, end = f == &fields[CALENDAR_WEEKDAY] ? 6 : f->max, r;
    uint64_t step = 1;
    if (stepped && (!str_u64(steps, &step) || step == 0 || step > INT32_MAX))
        return no(f, part, "the step is no positive number", e);
    if (!all) {
        if ((r = number(f, from, part, &start, e)) < 0)
            return r;
        if (!single && (r = number(f, to, part, &end, e)) < 0)
            return r;
        if (single && (!stepped || start > end))
            end = start;
    }
    if (start > end)
        return no(f, part, "the range ends before it begins", e);
    return add_range(f, l, start, end, (int)step, e);
}

static int field_parse(enum calendar_field which, struct str text, struct calendar_text *t, struct err *e)
{
    const struct field *f = &fields[which];
    struct list_of_ranges l = { 0 };
    struct str rest = str_trim(text), part;
    int r = 0;
    if (rest.size == 0)
        rest = str_of(f->otherwise);
    bool more = true, all = str_is(rest, "*") && which == CALENDAR_YEAR;
    while (more && r == 0 && !all) { /* all years: no range says so */
        size_t before = rest.size;
        part = str_cut(&rest, ',');
        more = part.size < before;
        r = range(f, part, &l, e);
    }
    t->ranges.at[which] = l.at;
    t->ranges.count[which] = l.count;
    return r;
}

void calendar_text_done(struct calendar_text *t)
{
    for (size_t i = 0; i < CALENDAR_FIELDS; i++) {
        union {
            const struct calendar_range *read;
            struct calendar_range *write;
        } owned = { t->ranges.at[i] };
        free(owned.write);
    }
    *t = (struct calendar_text){ 0 };
}

static int all_fields(const struct str text[CALENDAR_FIELDS], struct calendar_text *t, struct err *e)
{
    int r = 0;
    for (enum calendar_field f = 0; f < CALENDAR_FIELDS && r == 0; f++)
        r = field_parse(f, text[f], t, e);
    return r;
}

int calendar_text_fields(const struct str text[CALENDAR_FIELDS], struct calendar_text *ret, struct err *e)
{
    struct calendar_text t = { 0 };
    int r = all_fields(text, &t, e);
    if (r < 0)
        calendar_text_done(&t);
    else
        *ret = t;
    return r;
}

static int every(struct str text, struct calendar_interval *ret, struct err *e)
{
    struct str phase = str_trim(text), interval = str_cut(&phase, '/');
    int64_t every_ns, phase_ns = 0;
    int r = duration_parse_days(interval, &every_ns, e);
    if (r == 0 && phase.size > 0)
        r = duration_parse_days(phase, &phase_ns, e);
    if (r < 0)
        return err_wrap(e, "schedule: every%.*s", (int)MIN(text.size, (size_t)60), text.at);
    *ret = (struct calendar_interval){ every_ns / 1000000, phase_ns / 1000000 };
    return 0;
}

static bool space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static size_t split(struct str rest, struct str into[8])
{
    size_t count = 0, end;
    for (size_t at = 0; count < 8; at = end) {
        while (at < rest.size && space(rest.at[at]))
            at++;
        for (end = at; end < rest.size && !space(rest.at[end]);)
            end++;
        if (end == at)
            break;
        into[count++] = (struct str){ rest.at + at, end - at };
    }
    return count;
}

static int cron_fields(struct str text, struct calendar_text *t, struct err *e)
{
    struct str words[8], by_field[CALENDAR_FIELDS] = { { NULL, 0 } };
    size_t count = split(cron_shorthand(text), words), at = count == 7;
    if (count < 5 || count > 7)
        return err_set(e, CODE_INVALID, "schedule: cron \"%.*s\": five to seven fields are wanted",
                       (int)MIN(text.size, (size_t)100), text.at);
    if (count == 7)
        by_field[CALENDAR_SECOND] = words[0];
    by_field[CALENDAR_MINUTE] = words[at];
    by_field[CALENDAR_HOUR] = words[at + 1];
    by_field[CALENDAR_DAY] = words[at + 2];
    by_field[CALENDAR_MONTH] = words[at + 3];
    by_field[CALENDAR_WEEKDAY] = words[at + 4];
    if (count > 5)
        by_field[CALENDAR_YEAR] = words[at + 5];
    return all_fields(by_field, t, e);
}

int calendar_text_cron(struct str text, struct calendar_text *ret, struct err *e)
{
    struct calendar_text t = { 0 };
    struct str zone, comment;
    if (text.size > CRON_BYTES_MAX)
        return err_set(e, CODE_INVALID, "schedule: cron: longer than %d bytes", CRON_BYTES_MAX);
    comment = text;
    text = str_cut(&comment, '#');
    int r = cron_cut_zone(&text, &zone, e);
    if (r < 0)
        return r;
    text = str_trim(text);
    (void)snprintf(t.zone, sizeof t.zone, "%.*s", (int)zone.size, zone.at);
    t.comment = str_trim(comment);
    t.is_interval = str_starts(text, STR("@every"));
    r = t.is_interval ? every(str_from(text, sizeof "@every" - 1), &t.interval, e) : cron_fields(text, &t, e);
    if (r < 0)
        calendar_text_done(&t);
    else
        *ret = t;
    return r;
}

int calendar_text_human(struct str text, struct calendar_text *ret, struct err *e)
{
    struct calendar_text t = { .is_interval = true };
    text = str_trim(text);
    if (!str_starts(text, STR("every ")))
        return calendar_text_cron(text, ret, e);
    int r = every(str_from(text, sizeof "every" - 1), &t.interval, e);
    if (r == 0)
        *ret = t;
    return r;
}
