/* duration.h -- Go durations ("1m30s", "500ms") as nanoseconds, both ways. Pure.
 *
 * Receives what time.ParseDuration accepts: an optional sign, then decimals each with one of ns us µs ms
 * s m h; or a bare "0". Refuses everything else, and what does not fit 63 bits (about 292 years).
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { DURATION_TEXT = 64 };

int duration_parse(struct str text, int64_t *ret_ns, struct err *e) MUST_USE;
/* The same, and "d" of exactly 24 hours in front: "7d", "1.5d12h". */
int duration_parse_days(struct str text, int64_t *ret_ns, struct err *e) MUST_USE;
void duration_format(int64_t ns, char into[DURATION_TEXT]); /* as Go's Duration.String() */
