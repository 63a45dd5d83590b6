/* deadline.h -- the request header `Hob-Deadline`: how long the caller will still wait.
 *
 * Either milliseconds left ("1500"), which survive clocks that differ, or a moment in RFC 3339
 * ("2026-03-01T12:00:00.250Z"), which survives queues on the way. Pure: the clock comes in.
 * Refuses anything else (CODE_INVALID), rather than let a typing error mean "no deadline".
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* *ret_left_ms: 0 when it has passed. */
int deadline_parse(struct str text, int64_t wall_ms, uint64_t *ret_left_ms, struct err *e) MUST_USE;
