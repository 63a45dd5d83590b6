/* digest.h -- sha256 digests as text ("sha256:<64 lower-case hex digits>"), and references that carry
 * one behind an @. Refuses other algorithms, upper case and other lengths. Pure. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct digest {
    uint8_t at[32];
};
enum { DIGEST_HEX = 65, DIGEST_TEXT = 7 + DIGEST_HEX }; /* with the NUL */

int digest_parse(struct str text, struct digest *ret, struct err *e) MUST_USE;
void digest_format(const struct digest *d, char into[DIGEST_TEXT]);
void digest_hex(const struct digest *d, char into[DIGEST_HEX]);
static inline bool digest_eq(const struct digest *a, const struct digest *b)
{
    return memcmp(a->at, b->at, sizeof a->at) == 0;
}

/* "http://host/path@sha256:…" -> the part before the @ and 1; 0: not pinned, *ret_base is all of it;
 * negative: what follows the last @sha256: is no digest. */
int digest_cut(struct str reference, struct str *ret_base, struct digest *ret, struct err *e) MUST_USE;
