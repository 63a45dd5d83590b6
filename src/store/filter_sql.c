#include "store/filter_sql.h"

#include <stdlib.h>

/* The text of a run, as uuid_format() has it; NULL where there is none. */
#define RUN_TEXT(c) \
    "CASE WHEN " c " IS NOT NULL THEN lower(substr(hex(" c "), 1, 8) || '-' || substr(hex(" c "), 9, 4) || '-' ||" \
    " substr(hex(" c "), 13, 4) || '-' || substr(hex(" c "), 17, 4) || '-' || substr(hex(" c "), 21)) END"
#define NEVER "9223372036854775807"

static const struct {
    const char *sql, *run; /* run: the column itself, where sql is its text */
} columns[] = {
    [FILTER_ID] = { "e.name", NULL },
    [FILTER_RUN] = { RUN_TEXT("e.run"), "e.run" },
    [FILTER_TYPE] = { "e.type", NULL },
    [FILTER_QUEUE] = { "e.queue", NULL },
    [FILTER_STATUS] = { "e.status", NULL },
    [FILTER_START_TIME] = { "e.start", NULL },
    [FILTER_EXECUTION_TIME] = { "e.execution", NULL },
    [FILTER_CLOSE_TIME] = { "nullif(e.close, " NEVER ")", NULL },
    /* What is more than an integer holds becomes a REAL there, and is no duration. */
    [FILTER_EXECUTION_DURATION] = { "CASE WHEN e.close <> " NEVER " AND typeof(e.close - e.execution) = 'integer'"
                                    " THEN e.close - e.execution END", NULL },
    [FILTER_HISTORY_LENGTH] = { "e.history_length", NULL },
    [FILTER_HISTORY_BYTES] = { "e.history_bytes", NULL },
    [FILTER_TRANSITIONS] = { "e.transitions", NULL },
    [FILTER_PARENT_ID] = { "e.parent_id", NULL },
    [FILTER_PARENT_RUN] = { RUN_TEXT("e.parent_run"), "e.parent_run" },
    [FILTER_ROOT_ID] = { "e.root_id", NULL },
    [FILTER_ROOT_RUN] = { RUN_TEXT("e.root_run"), "e.root_run" },
    [FILTER_DIVISION] = { "e.division", NULL },
};

void filter_sql_init(struct filter_sql *s, int first)
{
    *s = (struct filter_sql){ .first = first };
    buf_init(&s->text, FILTER_SQL_BYTES_MAX);
}

void filter_sql_done(struct filter_sql *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->binds[i].own);
    free(s->binds);
    buf_done(&s->text);
}

/* ---- parameters ---- */

static void bind(struct filter_sql *s, struct filter_bind b)
{
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 8;
        s->binds = xrealloc(s->binds, s->room, sizeof *s->binds);
    }
    s->binds[s->count] = b;
    buf_printf(&s->text, "?%d", s->first + (int)s->count++);
}

static void bind_values(struct filter_sql *s, const struct filter_node *n)
{
    for (size_t i = 0; i < n->value_count; i++) {
        buf_text(&s->text, i ? ", " : "");
        bind(s, (struct filter_bind){ .how = FILTER_BIND_VALUE, .value = &n->values[i] });
    }
}

/* Runs are compared as they are stored. What is not the text of a run is none: no bytes at all. */
static void bind_runs(struct filter_sql *s, const struct filter_node *n)
{
    for (size_t i = 0; i < n->value_count; i++) {
        struct filter_bind b = { .how = FILTER_BIND_RUN };
        char text[UUID_TEXT];
        bool whole = uuid_parse(n->values[i].text, &b.run);
        if (whole)
            uuid_format(&b.run, text);
        if (!whole || !str_is(n->values[i].text, text))
            b = (struct filter_bind){ .how = FILTER_BIND_OWN };
        buf_text(&s->text, i ? ", " : "");
        bind(s, b);
    }
}

void filter_sql_bind(const struct filter_sql *s, sqlite3_stmt *st)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct filter_bind *b = &s->binds[i];
        const struct filter_value *v = b->value;
        int at = s->first + (int)i;
        if (b->how == FILTER_BIND_VALUE && v->type == JOURNAL_DOUBLE)
            (void)sqlite3_bind_double(st, at, v->real);
        else if (b->how == FILTER_BIND_VALUE && v->type != JOURNAL_KEYWORD && v->type != JOURNAL_TEXT)
            (void)sqlite3_bind_int64(st, at, v->integer);
        else if (b->how == FILTER_BIND_INT)
            (void)sqlite3_bind_int64(st, at, b->integer);
        else if (b->how == FILTER_BIND_RUN)
            (void)sqlite3_bind_blob64(st, at, b->run.at, sizeof b->run.at, SQLITE_STATIC);
        else if (b->how == FILTER_BIND_OWN && !b->own)
            (void)sqlite3_bind_zeroblob(st, at, 0);
        else {
            struct str t = b->how == FILTER_BIND_OWN ? (struct str){ b->own, b->own_size }
                           : v                       ? v->text
                                                     : b->text;
            (void)sqlite3_bind_text64(st, at, t.size ? t.at : "", t.size, SQLITE_STATIC, SQLITE_UTF8);
        }
    }
}

/* ---- conditions on `x`, the text of an expression ---- */

/* The first text behind all that begin with p; false: there is none. */
static bool behind(struct str p, struct filter_bind *ret)
{
    while (p.size > 0 && (unsigned char)p.at[p.size - 1] == 0xff)
        p.size--;
    if (p.size == 0)
        return false;
    *ret = (struct filter_bind){ .how = FILTER_BIND_OWN, .own = xstrndup(p.at, p.size), .own_size = p.size };
    ret->own[p.size - 1] = (char)((unsigned char)ret->own[p.size - 1] + 1);
    return true;
}

static void starts(struct filter_sql *s, const struct filter_node *n, const char *x)
{
    bool negated = n->op == FILTER_NOT_STARTS;
    struct filter_bind end;
    if (n->values[0].text.size == 0) {
        buf_printf(&s->text, negated ? "0" : "%s IS NOT NULL", x);
        return;
    }
    buf_printf(&s->text, negated ? "(%s < " : "(%s >= ", x);
    bind_values(s, n);
    if (behind(n->values[0].text, &end)) {
        buf_printf(&s->text, negated ? " OR %s >= " : " AND %s < ", x);
        bind(s, end);
    }
    buf_text(&s->text, ")");
}

static void words(struct filter_sql *s, const struct filter_node *n, const char *x)
{
    buf_printf(&s->text, "%s(", n->op == FILTER_NOT_WORDS ? "NOT " : "");
    for (size_t i = 0; i < n->value_count; i++) {
        buf_printf(&s->text, "%shob_has_word(%s, ", i ? " OR " : "", x);
        bind(s, (struct filter_bind){ .how = FILTER_BIND_VALUE, .value = &n->values[i] });
        buf_text(&s->text, ")");
    }
    buf_text(&s->text, ")");
}

static const char *const operators[] = {
    [FILTER_EQ] = "= ",      [FILTER_NE] = "<> ",         [FILTER_LT] = "< ",
    [FILTER_LE] = "<= ",     [FILTER_GT] = "> ",          [FILTER_GE] = ">= ",
    [FILTER_IN] = "IN (",    [FILTER_NOT_IN] = "NOT IN (",
    [FILTER_HAS] = "IN (",   [FILTER_HAS_NOT] = "NOT IN (",
};

static void condition(struct filter_sql *s, const struct filter_node *n, const char *x, const char *run)
{
    if (n->op == FILTER_IS_NULL || n->op == FILTER_NOT_NULL) {
        buf_printf(&s->text, "%s IS %sNULL", x, n->op == FILTER_NOT_NULL ? "NOT " : "");
        return;
    }
    if (n->op == FILTER_STARTS || n->op == FILTER_NOT_STARTS) {
        starts(s, n, x);
        return;
    }
    if (n->op == FILTER_WORDS || n->op == FILTER_NOT_WORDS) {
        words(s, n, x);
        return;
    }
    bool list = n->op >= FILTER_IN && n->op <= FILTER_HAS_NOT;
    bool whole = run && (list || n->op == FILTER_EQ || n->op == FILTER_NE);
    buf_printf(&s->text, "%s %s", whole ? run : x, operators[n->op]);
    if (whole)
        bind_runs(s, n);
    else
        bind_values(s, n);
    buf_text(&s->text, list ? ")" : "");
}

static void attribute_begin(struct filter_sql *s, struct str name, enum journal_type type, const char *wanted)
{
    buf_printf(&s->text, "SELECT a.%s FROM attribute a WHERE a.name = ", wanted);
    bind(s, (struct filter_bind){ .how = FILTER_BIND_TEXT, .text = name });
    buf_text(&s->text, " AND a.type = ");
    bind(s, (struct filter_bind){ .how = FILTER_BIND_INT, .integer = type });
}

/* As a set of entities: it is found by an index, once, and what is negated is what is not in it. */
static void attribute(struct filter_sql *s, const struct filter_node *n)
{
    bool there = n->op != FILTER_IS_NULL, only = n->op == FILTER_IS_NULL || n->op == FILTER_NOT_NULL;
    buf_printf(&s->text, "e.id %sIN (", there ? "" : "NOT ");
    attribute_begin(s, n->name, n->type, "entity");
    if (!only && n->op != FILTER_HAS_NOT) {
        buf_text(&s->text, " AND ");
        condition(s, n, "a.value", NULL);
    }
    buf_text(&s->text, ")");
    if (n->op != FILTER_HAS_NOT)
        return;
    buf_text(&s->text, " AND e.id NOT IN (");
    attribute_begin(s, n->name, n->type, "entity");
    buf_text(&s->text, " AND a.value IN (");
    bind_values(s, n);
    buf_text(&s->text, "))");
}

static void node(struct filter_sql *s, const struct filter_node *n);

/* In halves, so that a long chain is not a deep expression. */
static void parts(struct filter_sql *s, const struct filter_node *n, size_t from, size_t to)
{
    if (to - from == 1) {
        node(s, n->parts[from]);
        return;
    }
    size_t middle = from + (to - from) / 2;
    buf_text(&s->text, "(");
    parts(s, n, from, middle);
    buf_text(&s->text, n->op == FILTER_AND ? " AND " : " OR ");
    parts(s, n, middle, to);
    buf_text(&s->text, ")");
}

static void node(struct filter_sql *s, const struct filter_node *n)
{
    if (n->op == FILTER_AND || n->op == FILTER_OR) {
        if (n->part_count == 0)
            buf_text(&s->text, n->op == FILTER_AND ? "1" : "0");
        else
            parts(s, n, 0, n->part_count);
        return;
    }
    buf_text(&s->text, "(");
    if (n->column == FILTER_ATTRIBUTE) {
        attribute(s, n);
    } else if (n->column == FILTER_ID) { /* an empty one is none */
        buf_text(&s->text, n->op == FILTER_IS_NULL ? "e.name = ''" : "e.name <> ''");
        if (n->op != FILTER_IS_NULL) {
            buf_text(&s->text, " AND ");
            condition(s, n, columns[FILTER_ID].sql, NULL);
        }
    } else {
        condition(s, n, columns[n->column].sql, columns[n->column].run);
    }
    buf_text(&s->text, ")");
}

static bool whole(const struct filter_sql *s)
{
    return !s->text.overflow && s->count <= FILTER_SQL_PARAMETERS_MAX;
}

bool filter_sql_where(struct filter_sql *s, const struct filter *f)
{
    filter_check(f);
    if (f->root)
        node(s, f->root);
    else
        buf_text(&s->text, "1");
    return whole(s);
}

/* Of an attribute that an entity has several values of, the first. */
bool filter_sql_group(struct filter_sql *s, const struct filter *f)
{
    ASSERT(f->grouped);
    if (f->group != FILTER_ATTRIBUTE) {
        buf_text(&s->text, columns[f->group].sql);
        return whole(s);
    }
    buf_text(&s->text, "(");
    attribute_begin(s, f->group_name, f->group_type, "value");
    buf_text(&s->text, " AND a.entity = e.id ORDER BY a.ordinal LIMIT 1)");
    return whole(s);
}

static enum filter_sql_way narrow(const struct filter_node *n)
{
    enum filter_sql_way best = FILTER_SQL_IN_ORDER;
    if (n->op == FILTER_AND)
        for (size_t i = 0; i < n->part_count; i++) {
            enum filter_sql_way part = narrow(n->parts[i]);
            best = MAX(best, part);
        }
    if (n->op != FILTER_EQ && n->op != FILTER_IN && n->op != FILTER_HAS)
        return best;
    if (n->column == FILTER_ID)
        return FILTER_SQL_BY_ID;
    bool few = n->column == FILTER_PARENT_RUN || (n->column == FILTER_ATTRIBUTE && n->type != JOURNAL_BOOL);
    return few ? FILTER_SQL_BY_ENTITY : best;
}

enum filter_sql_way filter_sql_narrow(const struct filter *f)
{
    return f->root ? narrow(f->root) : FILTER_SQL_IN_ORDER;
}

/* ---- what SQL lacks ---- */

static void has_word(sqlite3_context *c, int count, sqlite3_value **v)
{
    (void)count;
    struct str of[2];
    for (int i = 0; i < 2; i++) {
        const char *at = (const char *)sqlite3_value_text(v[i]);
        of[i] = (struct str){ at ? at : "", (size_t)sqlite3_value_bytes(v[i]) };
    }
    bool found = false;
    for (struct str word; !found && filter_word(&of[0], &word);)
        found = str_eq_nocase(word, of[1]);
    sqlite3_result_int(c, found);
}

int filter_sql_functions(sqlite3 *db)
{
    return sqlite3_create_function_v2(db, "hob_has_word", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL,
                                      has_word, NULL, NULL, NULL);
}
