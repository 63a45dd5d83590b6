/* uuid.h -- UUID version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then random bits.
 * Ids made later sort later, so a table keyed by them is written at its end. */
#pragma once

#include "base/str.h"

struct uuid {
    uint8_t at[16];
};
enum { UUID_TEXT = 37 }; /* 36 characters and the NUL */

struct uuid uuid_v7(int64_t unix_ms, const uint8_t random[10]);
/* Sorts behind every one before it from the same clock, within a millisecond and when the wall clock is
 * set back: twelve of its bits count (RFC 9562, 6.2, method 1). */
struct uuid_clock { /* zeroed is new */
    int64_t ms;
    uint16_t count;
};
struct uuid uuid_v7_next(struct uuid_clock *c, int64_t unix_ms, const uint8_t random[10]);
void uuid_format(const struct uuid *u, char into[UUID_TEXT]);
bool uuid_parse(struct str text, struct uuid *ret); /* lower or upper case; only the 8-4-4-4-12 form */
