/* attributes.h -- custom search attributes as requests bring them, against what their namespace has defined.
 *
 * Receives a request that may change (proto_dup()), and a namespace's names and types. Owns nothing. Emits, in each
 * payload's metadata, the type that was defined: what is listed by it later is read by that (run_index()).
 * Refuses (CODE_INVALID, in Temporal's words) names that nobody defined, the server's own, values that are not of
 * their type, and what is too many or too large. Pure. */
#pragma once

#include "workflow/refusal.h"

enum { ATTRIBUTES_KEYS_MAX = 100 }; /* Temporal's three */
#define ATTRIBUTES_VALUE_BYTES_MAX KIB(2)
#define ATTRIBUTES_BYTES_MAX       KIB(40)

struct attributes_rules {
    const char *ns;
    Tp__IndexedValueType (*find)(void *ctx, const char *name); /* UNSPECIFIED: nobody defined it */
    void *ctx;
};
/* NULL is fine. */
int attributes_apply(Tp__SearchAttributes *a, const struct attributes_rules *rules, struct refusal *no) MUST_USE;
