/* selector.h -- Kubernetes label and field selectors: text in, yes or no out. Pure.
 *
 * Receives "a=b,c!=d,e in (f,g),h notin (i),j,!k" (labels) or "metadata.name=x,metadata.namespace!=y"
 * (fields). Refuses what does not parse, other fields, and more than SELECTOR_MAX requirements.
 */
#pragma once

#include "codec/json.h"

enum { SELECTOR_MAX = 32, SELECTOR_VALUES_MAX = 32 };

enum selector_op { SELECTOR_IN, SELECTOR_NOT_IN, SELECTOR_EXISTS, SELECTOR_ABSENT };
struct selector_row {
    struct str key; /* all text is borrowed from what was parsed */
    enum selector_op op;
    struct str values[SELECTOR_VALUES_MAX];
    uint32_t value_count;
};
struct selector {
    struct selector_row rows[SELECTOR_MAX];
    uint32_t count; /* 0: everything matches */
};

int selector_parse_labels(struct str text, struct selector *ret, struct err *e) MUST_USE;
/* others: paths that may be asked for beside the two, joined by commas; NULL: none. */
int selector_parse_fields(struct str text, const char *others, struct selector *ret, struct err *e) MUST_USE;
bool selector_labels_match(const struct selector *s, const json_t *labels); /* NULL: no labels */
/* object may be NULL where selector_fields_simple(): only the two are asked for. */
bool selector_fields_match(const struct selector *s, const char *ns, const char *name, const json_t *object);
bool selector_fields_simple(const struct selector *s);
/* The one name that can match, or NULL. */
const struct str *selector_fields_name(const struct selector *s);
