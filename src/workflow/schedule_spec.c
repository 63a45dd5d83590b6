#include "workflow/schedule_spec.h"

#include "codec/temporal.h"
#include "workflow/calendar_text.h"

#include <stdlib.h>

/* ---- strings become ranges ---- */

struct field { /* of a StructuredCalendarSpec */
    size_t *count;
    Tp__Range ***ranges;
};

static struct field field_of(Tp__StructuredCalendarSpec *c, enum calendar_field f)
{
    switch (f) {
    case CALENDAR_SECOND: return (struct field){ &c->n_second, &c->second };
    case CALENDAR_MINUTE: return (struct field){ &c->n_minute, &c->minute };
    case CALENDAR_HOUR: return (struct field){ &c->n_hour, &c->hour };
    case CALENDAR_DAY: return (struct field){ &c->n_day_of_month, &c->day_of_month };
    case CALENDAR_MONTH: return (struct field){ &c->n_month, &c->month };
    case CALENDAR_YEAR: return (struct field){ &c->n_year, &c->year };
    default: return (struct field){ &c->n_day_of_week, &c->day_of_week };
    }
}

static void range_push(struct field at, int32_t start, int32_t end, int32_t step)
{
    Tp__Range *r = proto_new(&tp__range__descriptor);
    r->start = start;
    r->end = end;
    r->step = step;
    proto_push(at.count, at.ranges, r);
}

static Tp__StructuredCalendarSpec *structured(const struct calendar_text *t, struct str comment)
{
    Tp__StructuredCalendarSpec *c = proto_new(&tp__structured_calendar_spec__descriptor);
    for (enum calendar_field f = 0; f < CALENDAR_FIELDS; f++)
        for (size_t i = 0; i < t->ranges.count[f]; i++) {
            const struct calendar_range *r = &t->ranges.at[f][i];
            range_push(field_of(c, f), r->start, r->end, r->step);
        }
    proto_set_str(&c->comment, comment);
    return c;
}

static int strings_structure(Tp__CalendarSpec **from, size_t count, size_t *into_count, Tp__StructuredCalendarSpec ***into,
                             struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        const Tp__CalendarSpec *c = from[i];
        struct str texts[] = {
            [CALENDAR_SECOND] = str_of(c->second),     [CALENDAR_MINUTE] = str_of(c->minute),
            [CALENDAR_HOUR] = str_of(c->hour),         [CALENDAR_DAY] = str_of(c->day_of_month),
            [CALENDAR_MONTH] = str_of(c->month),       [CALENDAR_YEAR] = str_of(c->year),
            [CALENDAR_WEEKDAY] = str_of(c->day_of_week),
        };
        struct calendar_text t;
        int r = calendar_text_fields(texts, &t, e);
        if (r < 0)
            return r;
        proto_push(into_count, into, structured(&t, str_of(c->comment)));
        calendar_text_done(&t);
    }
    return 0;
}

static int cron_structure(Tp__ScheduleSpec *spec, const char *text, struct err *e)
{
    struct calendar_text t;
    int r = calendar_text_cron(str_of(text), &t, e);
    if (r < 0)
        return r;
    if (*t.zone && *spec->timezone_name && strcmp(t.zone, spec->timezone_name) != 0) {
        calendar_text_done(&t);
        return err_set(e, CODE_INVALID, "conflicting timezones in spec: %s, %s", spec->timezone_name, t.zone);
    }
    if (*t.zone)
        proto_set_text(&spec->timezone_name, t.zone);
    if (t.is_interval) {
        Tp__IntervalSpec *i = proto_new(&tp__interval_spec__descriptor);
        temporal_set_duration(&i->interval, t.interval.every_ms * 1000000);
        temporal_set_duration(&i->phase, t.interval.phase_ms * 1000000);
        proto_push(&spec->n_interval, &spec->interval, i);
    } else {
        proto_push(&spec->n_structured_calendar, &spec->structured_calendar, structured(&t, t.comment));
    }
    calendar_text_done(&t);
    return 0;
}

static void drop(size_t *count, void *items)
{
    void **list = NULL;
    memcpy(&list, items, sizeof list);
    for (size_t i = 0; i < *count; i++)
        proto_free(list[i]);
    free(list);
    memset(items, 0, sizeof list);
    *count = 0;
}

/* What an empty field means is written out, as Temporal shows it. */
static void defaults(Tp__StructuredCalendarSpec *c)
{
    static const int32_t ends[] = { [CALENDAR_DAY] = 31, [CALENDAR_MONTH] = 12, [CALENDAR_WEEKDAY] = 6 };
    for (enum calendar_field f = 0; f < CALENDAR_FIELDS; f++) {
        struct field at = field_of(c, f);
        if (*at.count || f == CALENDAR_YEAR)
            continue;
        range_push(at, f == CALENDAR_DAY || f == CALENDAR_MONTH, f >= CALENDAR_DAY ? ends[f] : 0, 1);
    }
}

int schedule_spec_structure(Tp__ScheduleSpec *spec, struct err *e)
{
    int r = strings_structure(spec->calendar, spec->n_calendar, &spec->n_structured_calendar, &spec->structured_calendar, e);
    if (r == 0)
        r = strings_structure(spec->exclude_calendar, spec->n_exclude_calendar, &spec->n_exclude_structured_calendar,
                              &spec->exclude_structured_calendar, e);
    for (size_t i = 0; r == 0 && i < spec->n_cron_string; i++)
        r = cron_structure(spec, spec->cron_string[i], e);
    if (r < 0)
        return r;
    drop(&spec->n_calendar, &spec->calendar);
    drop(&spec->n_exclude_calendar, &spec->exclude_calendar);
    for (size_t i = 0; i < spec->n_cron_string; i++)
        free(spec->cron_string[i]);
    free(spec->cron_string);
    spec->cron_string = NULL;
    spec->n_cron_string = 0;
    for (size_t i = 0; i < spec->n_structured_calendar; i++)
        defaults(spec->structured_calendar[i]);
    for (size_t i = 0; i < spec->n_exclude_structured_calendar; i++)
        defaults(spec->exclude_structured_calendar[i]);
    return 0;
}

/* ---- ranges become a calendar ---- */

static struct calendar_ranges *ranges_new(Tp__StructuredCalendarSpec **from, size_t count)
{
    struct calendar_ranges *all = xcalloc(count + 1, sizeof *all);
    for (size_t i = 0; i < count; i++)
        for (enum calendar_field f = 0; f < CALENDAR_FIELDS; f++) {
            struct field at = field_of(from[i], f);
            struct calendar_range *r = xcalloc(*at.count + 1, sizeof *r);
            for (size_t k = 0; k < *at.count; k++)
                r[k] = (struct calendar_range){ (*at.ranges)[k]->start, (*at.ranges)[k]->end, (*at.ranges)[k]->step };
            all[i].at[f] = r;
            all[i].count[f] = *at.count;
        }
    return all;
}

static void ranges_free(struct calendar_ranges *all, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (enum calendar_field f = 0; f < CALENDAR_FIELDS; f++) {
            void *mine = NULL;
            memcpy(&mine, &all[i].at[f], sizeof mine); /* only this file made it const */
            free(mine);
        }
    free(all);
}

int schedule_spec_open(const Tp__ScheduleSpec *spec, const struct schedule_zones *zones, struct zone **ret_zone,
                       struct calendar **ret, struct err *e)
{
    Tp__ScheduleSpec none;
    tp__schedule_spec__init(&none);
    spec = spec ? spec : &none;
    AUTO(zone) struct zone *zone = NULL;
    int r = zones->load(zones->ctx, str_of(spec->timezone_name), proto_bytes(&spec->timezone_data), &zone, e);
    if (r < 0)
        return r;
    struct calendar_ranges *in = ranges_new(spec->structured_calendar, spec->n_structured_calendar);
    struct calendar_ranges *out = ranges_new(spec->exclude_structured_calendar, spec->n_exclude_structured_calendar);
    struct calendar_interval *every = xcalloc(spec->n_interval + 1, sizeof *every);
    for (size_t i = 0; i < spec->n_interval; i++)
        every[i] = (struct calendar_interval){ temporal_duration_ns(spec->interval[i]->interval) / 1000000,
                                               temporal_duration_ns(spec->interval[i]->phase) / 1000000 };
    struct calendar_spec all = {
        .calendars = in, .calendar_count = spec->n_structured_calendar,
        .excludes = out, .exclude_count = spec->n_exclude_structured_calendar,
        .intervals = every, .interval_count = spec->n_interval,
        .start_ms = spec->start_time ? temporal_time_ns(spec->start_time) / 1000000 : INT64_MIN,
        .end_ms = spec->end_time ? temporal_time_ns(spec->end_time) / 1000000 : INT64_MAX,
        .jitter_ms = temporal_duration_ms(spec->jitter),
    };
    r = calendar_open(&all, zone, ret, e);
    ranges_free(in, spec->n_structured_calendar);
    ranges_free(out, spec->n_exclude_structured_calendar);
    free(every);
    if (r == 0)
        *ret_zone = TAKE(zone);
    return r;
}
