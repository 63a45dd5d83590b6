#include "store/journal_lister.h"
#include "base/crc32c.h"
#include "store/filter_sql.h"
#include "store/journal_column.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    STEPS = 1000,     /* of SQLite's machine, between looks at the clock */
    GROUPS_MAX = 1000,
    FIRST_PARAMETER = 7,
    TOKEN_BYTES = 28, /* close, start, id, and their sum */
};

#define OF_NAMESPACE " FROM entity e WHERE e.kind = ?1 AND e.ns = (SELECT id FROM space WHERE name = ?2) AND "
/* The same, and a + keeps SQLite from taking the index of lists. */
#define FROM_ALL " FROM entity e WHERE +e.kind = ?1 AND +e.ns = (SELECT id FROM space WHERE name = ?2) AND "
#define LISTED                                                                                        \
    "SELECT e.id, e.name, e.run, e.version, e.open, e.ready, e.due, e.state_sum, e.sum, e.status, e.type, e.queue," \
    " e.start, e.execution, e.close, e.history_length, e.history_bytes, e.transitions, e.parent_id, e.parent_run," \
    " e.root_id, e.root_run, e.division, e.attribute_sum, e.index_sum, e.extra"

struct journal_lister {
    struct database db;
    struct journal_stats *stats;
    const _Atomic bool *closing;
    uint64_t query_ms;
    int64_t deadline_ms;
};

/* ---- time ---- */

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int on_progress(void *ctx)
{
    const struct journal_lister *l = ctx;
    return atomic_load(l->closing) || clock_ms() >= l->deadline_ms;
}

static int failed(const struct journal_lister *l, int rc, struct err *e)
{
    if ((rc & 0xff) != SQLITE_INTERRUPT)
        return database_err(&l->db, rc, "list", e);
    if (atomic_load(l->closing))
        return err_set(e, CODE_CANCELLED, "journal: it closes");
    return err_set(e, CODE_DEADLINE, "journal: the list took longer than %llu ms (journal_query_ms): ask for less",
                   (unsigned long long)l->query_ms);
}

/* ---- statements ---- */

static int too_much(struct err *e)
{
    return err_set(e, CODE_INVALID, "journal: the filter has more than %d values", FILTER_SQL_PARAMETERS_MAX);
}

static int prepare(struct journal_lister *l, const struct filter_sql *where, struct buf *sql, enum journal_kind kind,
                   struct str ns, sqlite3_stmt **ret, struct err *e)
{
    l->deadline_ms = clock_ms() + (int64_t)l->query_ms;
    if (sql->overflow)
        return too_much(e);
    int rc = sqlite3_prepare_v2(l->db.db, buf_at(sql), (int)sql->size, ret, NULL);
    if (rc != SQLITE_OK)
        return failed(l, rc, e);
    (void)sqlite3_bind_int64(*ret, 1, kind);
    (void)sqlite3_bind_text64(*ret, 2, ns.size ? ns.at : "", ns.size, SQLITE_STATIC, SQLITE_UTF8);
    filter_sql_bind(where, *ret);
    return 0;
}

struct sql { /* a statement being written */
    struct filter_sql where, group;
    struct buf text;
};
static void sql_done(struct sql *s)
{
    filter_sql_done(&s->where);
    filter_sql_done(&s->group);
    buf_done(&s->text);
}
#define SQL(s) \
    __attribute__((cleanup(sql_done))) struct sql s; \
    buf_init(&s.text, 3 * FILTER_SQL_BYTES_MAX); \
    filter_sql_init(&s.where, FIRST_PARAMETER); \
    filter_sql_init(&s.group, FIRST_PARAMETER)

/* ---- lists ---- */

static void put_int(unsigned char *into, uint64_t n, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        into[i] = (unsigned char)(n >> 8 * i);
}
static uint64_t get_int(const char *from, unsigned size)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < size; i++)
        n |= (uint64_t)(unsigned char)from[i] << 8 * i;
    return n;
}

struct place { /* of a row in the order of a list */
    int64_t close, start, id;
};

static struct str place_token(const struct place *p, struct keep *keep)
{
    unsigned char bytes[TOKEN_BYTES];
    put_int(bytes, (uint64_t)p->close, 8);
    put_int(bytes + 8, (uint64_t)p->start, 8);
    put_int(bytes + 16, (uint64_t)p->id, 8);
    put_int(bytes + 24, crc32c(0, bytes, 24), 4);
    return keep_str(keep, bytes, sizeof bytes);
}

static int place_parse(struct str token, struct place *ret, struct err *e)
{
    if (token.size != TOKEN_BYTES || get_int(token.at + 24, 4) != crc32c(0, token.at, 24))
        return err_set(e, CODE_INVALID, "journal: this page token is not one that a list gave: begin anew without");
    *ret = (struct place){ (int64_t)get_int(token.at, 8), (int64_t)get_int(token.at + 8, 8),
                           (int64_t)get_int(token.at + 16, 8) };
    return 0;
}

static bool column_uuid_or_none(sqlite3_stmt *st, int at, struct uuid *ret)
{
    *ret = (struct uuid){ 0 };
    return sqlite3_column_type(st, at) == SQLITE_NULL || journal_column_uuid(st, at, ret);
}

/* False: damaged. */
static bool found_take(sqlite3_stmt *st, const struct journal_list *q, struct keep *k, struct journal_found *f)
{
    struct journal_write w;
    uint32_t state_sum;
    struct journal_index *x = &f->index;
    *f = (struct journal_found){ .key = { .kind = q->kind, .ns = q->ns, .id = journal_column_str(k, st, 1) } };
    if (!journal_column_uuid(st, 2, &f->key.run))
        return false;
    uint32_t sum = journal_sum_key(&f->key);
    if (!journal_column_head(st, 3, sum, &w, &state_sum))
        return false;
    f->open = w.open;
    x->status = (uint32_t)sqlite3_column_int64(st, 9);
    x->type = journal_column_str(k, st, 10);
    x->queue = journal_column_str(k, st, 11);
    x->start_ns = sqlite3_column_int64(st, 12);
    x->execution_ns = sqlite3_column_int64(st, 13);
    x->close_ns = sqlite3_column_int64(st, 14);
    x->history_length = (uint64_t)sqlite3_column_int64(st, 15);
    x->history_bytes = (uint64_t)sqlite3_column_int64(st, 16);
    x->transitions = (uint64_t)sqlite3_column_int64(st, 17);
    x->parent_id = journal_column_str(k, st, 18);
    x->root_id = journal_column_str(k, st, 20);
    x->division = journal_column_str(k, st, 22);
    x->extra = journal_column_str(k, st, 25);
    return column_uuid_or_none(st, 19, &x->parent_run) && column_uuid_or_none(st, 21, &x->root_run) &&
           journal_sum_index(sum, x, (uint32_t)sqlite3_column_int64(st, 23)) == (uint32_t)sqlite3_column_int64(st, 24);
}

static int rows_take(struct journal_lister *l, sqlite3_stmt *st, const struct journal_list *q, struct keep *keep,
                     struct journal_listed *ret, struct err *e)
{
    struct place last = { 0 };
    struct err damage;
    uint32_t seen = 0;
    int rc;
    *ret = (struct journal_listed){ .rows = keep_room(keep, q->limit * sizeof *ret->rows) };
    while ((rc = sqlite3_step(st)) == SQLITE_ROW && seen < q->limit) {
        struct journal_found *f = &ret->rows[ret->count];
        seen++;
        last = (struct place){ sqlite3_column_int64(st, 14), sqlite3_column_int64(st, 12), sqlite3_column_int64(st, 0) };
        if (found_take(st, q, keep, f))
            ret->count++;
        else
            (void)journal_sqlite_damage(l->stats, &f->key, "the row", &damage);
    }
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return failed(l, rc, e);
    if (rc == SQLITE_ROW)
        ret->next = place_token(&last, keep);
    return 0;
}

int journal_lister_list(struct journal_lister *l, const struct journal_list *q, struct str after, struct keep *keep,
                        struct journal_listed *ret, struct err *e)
{
    SQL(s);
    AUTO(stmt) sqlite3_stmt *st = NULL;
    struct place place = { 0 };
    int r = after.size > 0 ? place_parse(after, &place, e) : 0;
    if (r < 0)
        return r;
    if (q->filter && !filter_sql_where(&s.where, q->filter))
        return too_much(e);
    enum filter_sql_way way = q->filter ? filter_sql_narrow(q->filter) : FILTER_SQL_IN_ORDER;
    bool narrow = way != FILTER_SQL_IN_ORDER;
    buf_text(&s.text, way == FILTER_SQL_BY_ENTITY ? LISTED FROM_ALL : LISTED OF_NAMESPACE);
    const char *from = narrow ? "(+e.close, +e.start, +e.id) < (?3, ?4, ?5) AND "
                              : "(e.close, e.start, e.id) < (?3, ?4, ?5) AND ";
    buf_text(&s.text, after.size > 0 ? from : "");
    buf_str_append(&s.text, q->filter ? buf_str(&s.where.text) : STR("1"));
    buf_text(&s.text, narrow
                          ? " ORDER BY +e.close DESC, +e.start DESC, +e.id DESC LIMIT ?6" /* + : not by its index */
                          : " ORDER BY e.close DESC, e.start DESC, e.id DESC LIMIT ?6");
    r = prepare(l, &s.where, &s.text, q->kind, q->ns, &st, e);
    if (r < 0)
        return r;
    if (after.size > 0) {
        (void)sqlite3_bind_int64(st, 3, place.close);
        (void)sqlite3_bind_int64(st, 4, place.start);
        (void)sqlite3_bind_int64(st, 5, place.id);
    }
    (void)sqlite3_bind_int64(st, 6, (int64_t)q->limit + 1);
    return rows_take(l, st, q, keep, ret, e);
}

/* ---- counts ---- */

static void group_take(sqlite3_stmt *st, const struct filter *f, struct keep *k, struct journal_group *g)
{
    *g = (struct journal_group){ .value = { .name = f->group_name, .type = f->group_type },
                                 .count = (uint64_t)sqlite3_column_int64(st, 1) };
    switch (sqlite3_column_type(st, 0)) {
    case SQLITE_INTEGER: g->value.integer = sqlite3_column_int64(st, 0); break;
    case SQLITE_FLOAT: g->value.real = sqlite3_column_double(st, 0); break;
    default: g->value.text = journal_column_str(k, st, 0); break;
    }
}

static int groups_take(struct journal_lister *l, sqlite3_stmt *st, const struct journal_count *q, struct keep *keep,
                       struct journal_counted *ret, struct err *e)
{
    int rc;
    ret->groups = keep_room(keep, GROUPS_MAX * sizeof *ret->groups);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        ret->count += (uint64_t)sqlite3_column_int64(st, 1);
        if (sqlite3_column_type(st, 0) == SQLITE_NULL)
            continue; /* counted, in no group */
        if (ret->group_count == GROUPS_MAX)
            return err_set(e, CODE_EXHAUSTED, "journal: there are more than %d groups: filter, or group by another",
                           GROUPS_MAX);
        group_take(st, q->filter, keep, &ret->groups[ret->group_count++]);
    }
    return rc == SQLITE_DONE ? 0 : failed(l, rc, e);
}

int journal_lister_count(struct journal_lister *l, const struct journal_count *q, struct keep *keep,
                         struct journal_counted *ret, struct err *e)
{
    SQL(s);
    AUTO(stmt) sqlite3_stmt *st = NULL;
    bool grouped = q->filter && q->filter->grouped;
    *ret = (struct journal_counted){ 0 };
    if (q->filter && !filter_sql_where(&s.where, q->filter))
        return too_much(e);
    s.group.first = FIRST_PARAMETER + (int)s.where.count;
    if (grouped && !filter_sql_group(&s.group, q->filter))
        return too_much(e);
    buf_text(&s.text, "SELECT ");
    buf_str_append(&s.text, grouped ? buf_str(&s.group.text) : STR("NULL"));
    buf_text(&s.text, ", count(*)" OF_NAMESPACE);
    buf_str_append(&s.text, q->filter ? buf_str(&s.where.text) : STR("1"));
    buf_text(&s.text, grouped ? " GROUP BY 1 ORDER BY 1" : "");
    int r = prepare(l, &s.where, &s.text, q->kind, q->ns, &st, e);
    if (r < 0)
        return r;
    filter_sql_bind(&s.group, st);
    return groups_take(l, st, q, keep, ret, e);
}

/* ---- life ---- */

int journal_lister_open(const char *dir, const struct limits *limits, struct journal_stats *stats,
                        const _Atomic bool *closing, struct journal_lister **ret, struct err *e)
{
    struct database_spec spec;
    AUTO(journal_lister) struct journal_lister *l = xcalloc(1, sizeof *l);
    l->stats = stats;
    l->closing = closing;
    l->query_ms = limits->journal_query_ms;
    journal_sqlite_spec(&spec, NULL, false);
    spec.value_bytes_max = limits->journal_value_bytes_max;
    int r = database_open(&l->db, dir, &spec, limits, e);
    if (r < 0)
        return r;
    int rc = filter_sql_functions(l->db.db);
    if (rc != SQLITE_OK)
        return database_err(&l->db, rc, "open", e);
    sqlite3_progress_handler(l->db.db, STEPS, on_progress, l);
    *ret = TAKE(l);
    return 0;
}

void journal_lister_close(struct journal_lister *l)
{
    if (!l)
        return;
    database_close(&l->db);
    free(l);
}
