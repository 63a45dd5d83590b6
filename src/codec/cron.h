/* cron.h -- cron lines as robfig/cron's ParseStandard reads them, which Temporal's cron workflows and hob's
 * schedules use.
 *
 * Receives "minute hour day-of-month month day-of-week" with * ? lists, ranges, steps and three-letter names;
 * @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly; "@every 1h30m"; in front of each
 * "TZ=Zone " or "CRON_TZ=Zone ". Emits a value, and the moments it means. Owns nothing; the zone's file is
 * read by the caller.
 * Refuses, saying which field: anything else; Sunday is 0, not 7. Pure.
 *
 * Where both day fields are restricted either is enough; where one is * (or ?, or has one in its list) both
 * hold. */
#pragma once

#include "codec/dial.h"

enum { CRON_BYTES_MAX = 1000, CRON_ZONE_BYTES = 65 }; /* as an id */

struct cron {
    int64_t every_s; /* > 0: so long after the one before; the dial does not count */
    struct dial dial;
    char zone[CRON_ZONE_BYTES]; /* "": UTC, or as the caller has it */
};

int cron_parse(struct str text, struct cron *ret, struct err *e) MUST_USE;
/* The first moment after `after_s`; false: none in that year and the next five. `z` is cron.zone, parsed. */
bool cron_next(const struct cron *c, const struct zone *z, int64_t after_s, int64_t *ret_s);

/* "TZ=Zone rest" or "CRON_TZ=Zone rest" becomes rest; the zone's name is empty where there is none. < 0: a zone
 * without a rest, or a name that none has. */
int cron_cut_zone(struct str *text, struct str *ret_zone, struct err *e) MUST_USE;
/* @daily and its like as five fields; what is none stays. */
struct str cron_shorthand(struct str text);
