/* filter_sql.h -- a filter as a condition of SQL: what is true exactly where filter_matches() is.
 *
 * Private to src/store/. Every value is a parameter; names of columns come from a table here. It speaks of the
 * tables of journal_schema.h, of an `entity` that the statement calls e, and of a function hob_has_word(text,
 * word), which filter_sql_functions() brings. */
#pragma once

#include "base/buf.h"
#include "store/filter.h"

#include <sqlite3.h>

struct filter_bind {
    enum { FILTER_BIND_VALUE, FILTER_BIND_TEXT, FILTER_BIND_OWN, FILTER_BIND_RUN, FILTER_BIND_INT } how;
    const struct filter_value *value;
    struct str text;
    char *own;
    size_t own_size;
    struct uuid run;
    int64_t integer;
};
struct filter_sql {
    struct buf text;
    struct filter_bind *binds;
    size_t count, room;
    int first; /* number of the first parameter */
};

enum { FILTER_SQL_PARAMETERS_MAX = 30000, FILTER_SQL_BYTES_MAX = 4 << 20 };
void filter_sql_init(struct filter_sql *s, int first); /* numbers of the parameters begin with it */
void filter_sql_done(struct filter_sql *s);
/* Appends "(condition)"; the filter must outlive s. False: it has too many values. */
bool filter_sql_where(struct filter_sql *s, const struct filter *f) MUST_USE;
bool filter_sql_group(struct filter_sql *s, const struct filter *f) MUST_USE; /* the expression it groups by */
/* Whether an index finds the few that can match, so that they are better sorted than met in the order of a list. */
enum filter_sql_way { FILTER_SQL_IN_ORDER, FILTER_SQL_BY_ENTITY /* a parent, an attribute */, FILTER_SQL_BY_ID };
enum filter_sql_way filter_sql_narrow(const struct filter *f);
void filter_sql_bind(const struct filter_sql *s, sqlite3_stmt *st);
int filter_sql_functions(sqlite3 *db);
