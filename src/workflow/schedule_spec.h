/* schedule_spec.h -- Temporal's ScheduleSpec as a calendar.
 *
 * Receives the message as clients send it. Emits it with structured calendars only (cron and calendar strings
 * turned into them, as Describe shows it), and the calendar it means, with the zone that this needs.
 * Owns nothing. Refuses what calendar.h and calendar_text.h refuse, and two different time zones. */
#pragma once

#include "codec/temporal.pb-c.h"
#include "workflow/calendar.h"

/* How a zone is found: zones_load() without its folder, or a test's own. */
struct schedule_zones {
    int (*load)(void *ctx, struct str name, struct str data, struct zone **ret, struct err *e);
    void *ctx;
};

/* Of a message for proto_free(), in place. */
int schedule_spec_structure(Tp__ScheduleSpec *spec, struct err *e) MUST_USE;
/* Of a structured one; NULL is one that never comes. The zone outlives the calendar. */
int schedule_spec_open(const Tp__ScheduleSpec *spec, const struct schedule_zones *zones, struct zone **ret_zone,
                       struct calendar **ret, struct err *e) MUST_USE;
