/* suggest.h -- "did you mean": the nearest of the offered names, if one is near enough.
 *
 * Distance is Damerau-Levenshtein (a swap of neighbours counts as one); near enough is a third of the
 * typed length, at least 1 and at most 3; a name that begins with what was typed counts as near.
 * Pure; borrows the texts it is offered. */
#pragma once

#include "base/str.h"

enum { SUGGEST_TEXT = 96, SUGGEST_SIZE_MAX = 64 }; /* longer names are not compared */

struct suggest {
    struct str typed, best; /* best.size 0: none */
    uint32_t distance;
};

struct suggest suggest_begin(struct str typed);
void suggest_offer(struct suggest *s, struct str name);
/* "; did you mean 'x'?" or "". */
const char *suggest_phrase(const struct suggest *s, char into[SUGGEST_TEXT]);
/* ' (did you mean "x"?)' or "": for behind a text that is not ours, and that lists may follow. */
const char *suggest_clause(const struct suggest *s, char into[SUGGEST_TEXT]);

uint32_t suggest_distance(struct str a, struct str b); /* both at most SUGGEST_SIZE_MAX */
