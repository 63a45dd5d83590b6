/* civil.h -- dates and times of day as Unix seconds and back, and RFC 3339. Pure; owns nothing.
 *
 * The Gregorian calendar in both directions without end, in UTC; no leap seconds, as Unix time has none. What
 * clocks on walls show is zone.h's. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct civil {
    int64_t year;
    int month, day;           /* 1.. */
    int hour, minute, second; /* 0.. */
};
enum { CIVIL_TEXT = 40 };

int64_t civil_days(int64_t year, int month, int day); /* since 1970-01-01; year within ±10^9 */
int64_t civil_seconds(const struct civil *c);         /* as UTC */
void civil_of_days(int64_t days, struct civil *ret);  /* the time of day becomes 0 */
void civil_of_seconds(int64_t seconds, struct civil *ret);
int civil_weekday(int64_t days); /* 0: Sunday */
int civil_month_days(int64_t year, int month);

/* "2026-01-02T03:04:05.6789+02:00"; fractions are cut below a nanosecond. Refuses what Go's time.RFC3339 does:
 * lower case, a date that there is not, a 60th second. */
int civil_rfc3339_parse(struct str text, int64_t *ret_s, int32_t *ret_ns, struct err *e) MUST_USE;
/* In UTC with a Z; of the fraction only as many digits as say something. */
void civil_rfc3339_format(int64_t seconds, int32_t ns, char into[CIVIL_TEXT]);
/* Nanoseconds since 1970 as 64 bits hold them: what lies outside (1678 to 2262) is held at the ends, and
 * INT64_MAX itself is never given. */
int64_t civil_ns(int64_t seconds, int32_t ns);
