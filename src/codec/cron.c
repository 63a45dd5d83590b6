#include "codec/cron.h"

#include "codec/duration.h"

#include <stdio.h>

#define CRON_FAR_S INT64_C(1000000000000) /* farther away nothing is looked for */

static const char *const month_names[] = { "jan", "feb", "mar", "apr", "may", "jun",
                                           "jul", "aug", "sep", "oct", "nov", "dec" };
static const char *const weekday_names[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" };

static const struct field {
    const char *name;
    int min, max;
    const char *const *names; /* of min, min + 1, … */
    size_t name_count;
} fields[] = {
    { "minute", 0, 59, NULL, 0 },
    { "hour", 0, 23, NULL, 0 },
    { "day of month", 1, 31, NULL, 0 },
    { "month", 1, 12, month_names, COUNT_OF(month_names) },
    { "day of week", 0, 6, weekday_names, COUNT_OF(weekday_names) },
};

static int no(struct err *e, struct str text, const char *why)
{
    return err_set(e, CODE_INVALID, "cron \"%.*s\": %s", (int)MIN(text.size, 100), text.at, why);
}

static int no_field(struct err *e, const struct field *f, struct str part, const char *why)
{
    return err_set(e, CODE_INVALID, "cron: %s \"%.*s\": %s", f->name, (int)MIN(part.size, 60), part.at, why);
}

static int number(const struct field *f, struct str s, struct str part, int *ret, struct err *e)
{
    uint64_t n;
    for (size_t i = 0; i < f->name_count; i++)
        if (str_eq_nocase(s, str_of(f->names[i]))) {
            *ret = f->min + (int)i;
            return 0;
        }
    if (!str_u64(s, &n))
        return no_field(e, f, part, f->names ? "neither a number nor a name of three letters" : "not a number");
    if (n < (uint64_t)f->min || n > (uint64_t)f->max)
        return err_set(e, CODE_INVALID, "cron: %s \"%.*s\": outside %d to %d", f->name, (int)MIN(part.size, 60),
                       part.at, f->min, f->max);
    *ret = (int)n;
    return 0;
}

/* "*", "5", "1-5", each with "/2"; "5/2" goes on to the end. */
static int range(const struct field *f, struct str part, uint64_t *bits, bool *star, struct err *e)
{
    struct str steps = part, ends = str_cut(&steps, '/'), to = ends, from = str_cut(&to, '-');
    bool all = str_is(from, "*") || str_is(from, "?"), stepped = ends.size < part.size;
    bool single = from.size == ends.size;
    int first = f->min, last = f->max, r = 0;
    uint64_t step = 1;
    if (all && !single)
        return no_field(e, f, part, "* has no end");
    if (!all) {
        if ((r = number(f, from, part, &first, e)) < 0)
            return r;
        if (!single && (r = number(f, to, part, &last, e)) < 0)
            return r;
        if (single && !stepped)
            last = first;
    }
    if (first > last)
        return no_field(e, f, part, "the range ends before it begins");
    if (stepped && (!str_u64(steps, &step) || step == 0))
        return no_field(e, f, part, "the step is no positive number");
    *bits |= dial_bits(first, last, (int)MIN(step, 64U));
    *star |= all && step == 1;
    return 0;
}

static int field_parse(const struct field *f, struct str text, uint64_t *ret_bits, bool *ret_star, struct err *e)
{
    uint64_t bits = 0;
    bool star = false;
    for (struct str rest = text; rest.size > 0;) {
        struct str part = str_cut(&rest, ',');
        if (part.size == 0)
            continue; /* as robfig: "1,,2" */
        int r = range(f, part, &bits, &star, e);
        if (r < 0)
            return r;
    }
    if (bits == 0)
        return no_field(e, f, text, "empty");
    *ret_bits = bits;
    *ret_star = star;
    return 0;
}

static bool space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static struct str cut_field(struct str *rest)
{
    size_t start = 0, end;
    while (start < rest->size && space(rest->at[start]))
        start++;
    for (end = start; end < rest->size && !space(rest->at[end]);)
        end++;
    struct str field = { rest->at + start, end - start };
    *rest = str_from(*rest, end);
    return field;
}

int cron_cut_zone(struct str *text, struct str *ret_zone, struct err *e)
{
    struct str rest = *text, zone;
    *ret_zone = (struct str){ text->at, 0 };
    if (str_starts(rest, STR("TZ=")))
        rest = str_from(rest, 3);
    else if (str_starts(rest, STR("CRON_TZ=")))
        rest = str_from(rest, 8);
    else
        return 0;
    zone = str_cut(&rest, ' ');
    if (rest.size == 0)
        return no(e, *text, "nothing behind the time zone");
    if (!zone_name_valid(zone))
        return no(e, *text, "that is no name of a time zone, such as Europe/Berlin");
    *ret_zone = zone;
    *text = rest;
    return 0;
}

struct str cron_shorthand(struct str text)
{
    static const struct {
        const char *name, *means;
    } known[] = {
        { "@yearly", "0 0 1 1 *" },  { "@annually", "0 0 1 1 *" }, { "@monthly", "0 0 1 * *" },
        { "@weekly", "0 0 * * 0" },  { "@daily", "0 0 * * *" },    { "@midnight", "0 0 * * *" },
        { "@hourly", "0 * * * *" },
    };
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (str_is(text, known[i].name))
            return str_of(known[i].means);
    return text;
}

static int every(struct str text, struct cron *c, struct err *e)
{
    int64_t ns;
    int r = duration_parse(str_from(text, sizeof "@every " - 1), &ns, e);
    if (r < 0)
        return err_wrap(e, "cron \"%.*s\"", (int)MIN(text.size, 100), text.at);
    c->every_s = MAX(ns / 1000000000, INT64_C(1)); /* robfig: in seconds, and at least one */
    return 0;
}

static int five_fields(struct str text, struct cron *c, struct err *e)
{
    struct dial *d = &c->dial;
    uint64_t *into[] = { &d->minutes, &d->hours, &d->days, &d->months, &d->weekdays };
    bool star[COUNT_OF(into)];
    struct str rest = text;
    for (size_t i = 0; i < COUNT_OF(into); i++) {
        struct str field = cut_field(&rest);
        if (field.size == 0)
            return no(e, text, "five fields are wanted: minute, hour, day of month, month, day of week");
        int r = field_parse(&fields[i], field, into[i], &star[i], e);
        if (r < 0)
            return r;
    }
    if (cut_field(&rest).size > 0)
        return no(e, text, "more than five fields");
    d->seconds = 1;
    d->every_year = true;
    d->day_or_weekday = !star[2] && !star[4];
    return 0;
}

int cron_parse(struct str text, struct cron *ret, struct err *e)
{
    struct cron c = { 0 };
    struct str zone, whole = text;
    if (text.size == 0 || text.size > CRON_BYTES_MAX)
        return no(e, text, text.size ? "longer than 1000 bytes" : "empty");
    int r = cron_cut_zone(&text, &zone, e);
    if (r < 0)
        return r;
    (void)snprintf(c.zone, sizeof c.zone, "%.*s", (int)zone.size, zone.at);
    text = str_trim(text);
    if (str_starts(text, STR("@every ")))
        r = every(text, &c, e);
    else if (str_starts(text, STR("@")) && cron_shorthand(text).at == text.at)
        r = no(e, whole, "unknown word; there are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, "
                         "@every DURATION");
    else
        r = five_fields(cron_shorthand(text), &c, e);
    if (r == 0)
        *ret = c;
    return r;
}

bool cron_next(const struct cron *c, const struct zone *z, int64_t after_s, int64_t *ret_s)
{
    struct civil now;
    int32_t offset_s;
    int64_t until_s;
    if (c->every_s > 0)
        return !__builtin_add_overflow(after_s, c->every_s, ret_s);
    after_s = MAX(MIN(after_s, CRON_FAR_S), -CRON_FAR_S);
    zone_local(z, after_s, &now);
    int64_t end_s = civil_seconds(&(struct civil){ now.year + 6, 1, 1, 0, 0, 0 });
    zone_span(z, end_s, &offset_s, &until_s);
    return dial_next(&c->dial, z, after_s, end_s - offset_s - 1, ret_s);
}
