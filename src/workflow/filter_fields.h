/* filter_fields.h -- what the fields of a list filter are called, and how their values are written. Pure.
 *
 * Receives names and literals from filter_text.c. Emits columns, types and typed values.
 * Refuses, in Temporal's words, names that nobody knows and values that do not fit. */
#pragma once

#include "store/filter.h"

struct filter_field {
    struct str name; /* as the asker wrote it */
    enum filter_column column;
    enum journal_type type;
    struct str attribute; /* FILTER_ATTRIBUTE: what it is stored under */
};

struct filter_literal {
    enum { FILTER_LITERAL_STRING, FILTER_LITERAL_INT, FILTER_LITERAL_REAL, FILTER_LITERAL_BOOL } kind;
    struct str text;
    int64_t integer; /* also of BOOL */
    double real;
};

/* An attribute that the server or the SDKs set themselves (BuildIds, TemporalChangeVersion, …). */
bool filter_field_predefined(struct str name, enum journal_type *ret);
/* The n-th of all that are not custom: system fields, then predefined ones; NULL: there are no more. */
const char *filter_field_nth(size_t n, enum journal_type *ret);
/* A name that a custom attribute cannot have: a system field's, a predefined one's. */
bool filter_field_reserved(struct str name);
/* `find`: of custom attributes; NULL: there are none. What `ret` points to is `name` or static. */
int filter_field_find(struct str name, bool (*find)(void *ctx, struct str name, enum journal_type *ret),
                      void *ctx, struct filter_field *ret, struct err *e) MUST_USE;
/* As Temporal names the types: "Keyword"; ExecutionStatus is one. */
const char *filter_field_type_name(const struct filter_field *f);
/* Not for TEXT, which has words. The value's text is the literal's. */
int filter_field_value(const struct filter_field *f, const struct filter_literal *l,
                       struct filter_value *ret, struct err *e) MUST_USE;
