#include "store/journal_reader.h"
#include "base/crc32c.h"
#include "store/journal_column.h"
#include "store/journal_schema.h"
#include "store/journal_sum.h"

#include <stdio.h>
#include <stdlib.h>

enum { R_BEGIN, R_END, R_CURRENT, R_RUN, R_CURRENT_OF, R_ID, R_FORWARDS, R_BACKWARDS, R_DUE, R_READY, R_STATEMENTS };
_Static_assert((int)R_STATEMENTS <= DATABASE_STATEMENTS_MAX, "room for all");

#define KEYED " WHERE kind = ?1 AND ns = (SELECT id FROM space WHERE name = ?2) AND name = ?3"
#define LOADED "SELECT run, current, version, open, ready, due, state_sum, sum, state FROM entity"
#define SCANNED \
    "SELECT e.id, s.name, e.name, e.run, e.version, e.open, e.ready, e.due, e.state_sum, e.sum" \
    " FROM entity e JOIN space s ON s.id = e.ns WHERE e.kind = ?1"

static const char *const reader_sql[R_STATEMENTS] = {
    [R_BEGIN] = "BEGIN",
    [R_END] = "ROLLBACK",
    [R_CURRENT] = LOADED KEYED " AND current IS NOT NULL",
    [R_RUN] = LOADED KEYED " AND run = ?4",
    [R_CURRENT_OF] = "SELECT run, current FROM entity" KEYED " AND current IS NOT NULL",
    [R_ID] = "SELECT id FROM entity" KEYED " AND run = ?4",
    /* The first row may begin before what is asked for, and reach into it. */
    [R_FORWARDS] = ("SELECT key, count, sum, bytes FROM history WHERE key < ?3 AND key >= coalesce("
                    "(SELECT max(key) FROM history WHERE key > ?1 AND key <= ?2), ?2) ORDER BY key"),
    [R_BACKWARDS] = ("SELECT key, count, sum, bytes FROM history WHERE key < ?3 AND key >= coalesce("
                     "(SELECT max(key) FROM history WHERE key > ?1 AND key <= ?2), ?2) ORDER BY key DESC"),
    [R_DUE] = (SCANNED " AND e.due IS NOT NULL AND (e.due, e.id) > (?2, ?3) AND e.due < ?4"
               " ORDER BY e.due, e.id"),
    [R_READY] = SCANNED " AND e.ready IS NOT NULL AND e.id > ?3 ORDER BY e.id",
};

struct journal_reader {
    struct database db;
    struct journal_stats *stats;
};

/* ---- small things ---- */

static int failed(struct journal_reader *r, int rc, const struct journal_key *key, const char *what, struct err *e)
{
    if (key && journal_sqlite_damaged(rc))
        return journal_sqlite_damage(r->stats, key, "a page that it lies on", e);
    return database_err(&r->db, rc, what, e);
}

static void bind_text(sqlite3_stmt *st, int at, struct str s)
{
    (void)sqlite3_bind_text64(st, at, s.size ? s.at : "", s.size, SQLITE_STATIC, SQLITE_UTF8);
}

static int keyed(struct journal_reader *r, unsigned which, const struct journal_key *key, sqlite3_stmt **ret)
{
    int rc = database_statement(&r->db, which, ret);
    if (rc != SQLITE_OK)
        return rc;
    (void)sqlite3_bind_int64(*ret, 1, key->kind);
    bind_text(*ret, 2, key->ns);
    bind_text(*ret, 3, key->id);
    if (which == R_RUN || which == R_ID)
        (void)sqlite3_bind_blob64(*ret, 4, key->run.at, sizeof key->run.at, SQLITE_STATIC);
    return SQLITE_OK;
}

/* Ends a statement of which nothing is wanted any more; the code that says how it went. */
static int ended(sqlite3_stmt *st, int rc)
{
    int reset = sqlite3_reset(st);
    (void)sqlite3_clear_bindings(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : reset;
}

static bool uuid_none(const struct uuid *u)
{
    static const struct uuid none;
    return memcmp(u, &none, sizeof none) == 0;
}

/* ---- one entity ---- */

static bool loaded_take(sqlite3_stmt *st, const struct journal_key *key, struct keep *keep, struct journal_loaded *l)
{
    uint32_t state_sum;
    l->now = (struct journal_write){ .op = JOURNAL_UPDATE, .key = *key };
    if (!journal_column_uuid(st, 0, &l->now.key.run))
        return false;
    uint32_t sum = journal_sum_key(&l->now.key);
    bool current = sqlite3_column_type(st, 1) != SQLITE_NULL;
    if (!journal_column_head(st, 2, sum, &l->now, &state_sum) || (current && sqlite3_column_int64(st, 1) != (int64_t)sum))
        return false;
    l->now.state = journal_column_str(keep, st, 8);
    l->current = current ? l->now.key.run : (struct uuid){ 0 };
    return crc32c(0, l->now.state.at, l->now.state.size) == state_sum;
}

/* Which run is current, where that is not the one that was found. */
static int current_load(struct journal_reader *r, const struct journal_key *key, struct uuid *ret, struct err *e)
{
    sqlite3_stmt *st;
    struct journal_key found = *key;
    bool whole = true;
    int rc = keyed(r, R_CURRENT_OF, key, &st);
    if (rc != SQLITE_OK)
        return failed(r, rc, key, "load", e);
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        whole = journal_column_uuid(st, 0, &found.run) && sqlite3_column_int64(st, 1) == (int64_t)journal_sum_key(&found);
    bool there = rc == SQLITE_ROW;
    rc = ended(st, rc);
    if (rc != SQLITE_OK)
        return failed(r, rc, key, "load", e);
    if (!whole)
        return journal_sqlite_damage(r->stats, &found, "the row", e);
    if (there)
        *ret = found.run;
    return 0;
}

static int load_found(struct journal_reader *r, const struct journal_key *key, struct keep *keep,
                      struct journal_loaded *ret, struct err *e)
{
    sqlite3_stmt *st;
    bool current = uuid_none(&key->run), whole = true;
    int rc = keyed(r, current ? R_CURRENT : R_RUN, key, &st);
    if (rc != SQLITE_OK)
        return failed(r, rc, key, "load", e);
    rc = sqlite3_step(st);
    bool there = rc == SQLITE_ROW;
    if (there)
        whole = loaded_take(st, key, keep, ret);
    rc = ended(st, rc);
    if (rc != SQLITE_OK)
        return failed(r, rc, key, "load", e);
    if (!whole)
        return journal_sqlite_damage(r->stats, &ret->now.key, "the row", e);
    if (!there) {
        char text[JOURNAL_KEY_TEXT];
        return err_set(e, CODE_NOT_FOUND, "%s: there is none", journal_key_text(key, text));
    }
    return uuid_none(&ret->current) ? current_load(r, key, &ret->current, e) : 0;
}

/* Begins a look at one moment of the journal. */
static int look_begin(struct journal_reader *r, struct err *e)
{
    int rc = database_run(&r->db, R_BEGIN);
    return rc == SQLITE_OK ? 0 : failed(r, rc, NULL, "begin to read", e);
}
static void look_end(struct journal_reader *r) { (void)database_run(&r->db, R_END); }

int journal_reader_load(struct journal_reader *r, const struct journal_key *key, struct keep *keep,
                        struct journal_loaded *ret, struct err *e)
{
    if (uuid_none(&key->run)) /* one statement is one moment */
        return load_found(r, key, keep, ret, e);
    int result = look_begin(r, e);
    if (result < 0)
        return result;
    result = load_found(r, key, keep, ret, e);
    look_end(r);
    return result;
}

/* ---- histories ---- */

static int id_find(struct journal_reader *r, const struct journal_key *key, int64_t *ret, struct err *e)
{
    sqlite3_stmt *st;
    int rc = keyed(r, R_ID, key, &st);
    if (rc != SQLITE_OK)
        return failed(r, rc, key, "find", e);
    rc = sqlite3_step(st);
    bool there = rc == SQLITE_ROW;
    *ret = there ? sqlite3_column_int64(st, 0) : 0;
    rc = ended(st, rc);
    if (rc != SQLITE_OK)
        return failed(r, rc, key, "find", e);
    char text[JOURNAL_KEY_TEXT];
    return there ? 0 : err_set(e, CODE_NOT_FOUND, "%s: there is none", journal_key_text(key, text));
}

static bool row_take(sqlite3_stmt *st, uint32_t key_sum, struct keep *keep, struct journal_row *row)
{
    row->first = (uint64_t)sqlite3_column_int64(st, 0) & (BIT(JOURNAL_NUMBER_BITS) - 1);
    row->count = (uint32_t)sqlite3_column_int64(st, 1);
    row->bytes = journal_column_str(keep, st, 3);
    return journal_sum_row(key_sum, row) == (uint32_t)sqlite3_column_int64(st, 2);
}

static void rows_room(struct keep *keep, struct journal_rows *a, size_t *room)
{
    if (a->count < *room)
        return;
    *room = *room ? 2 * *room : 32;
    struct journal_row *rows = keep_room(keep, *room * sizeof *rows);
    if (a->count > 0)
        memcpy(rows, a->rows, a->count * sizeof *rows);
    a->rows = rows;
}

static int rows_take(struct journal_reader *r, sqlite3_stmt *st, const struct journal_read *q, struct keep *keep,
                     struct journal_rows *ret, struct err *e)
{
    uint32_t key_sum = journal_sum_key(&q->key);
    size_t bytes = 0, room = 0;
    int rc = SQLITE_DONE;
    while (ret->count < JOURNAL_READ_ROWS_MAX && (ret->count == 0 || bytes <= q->bytes_max) &&
           (rc = sqlite3_step(st)) == SQLITE_ROW) {
        rows_room(keep, ret, &room);
        struct journal_row *row = &ret->rows[ret->count];
        if (!row_take(st, key_sum, keep, row)) {
            char what[64];
            snprintf(what, sizeof what, "its history at %llu", (unsigned long long)row->first);
            (void)ended(st, SQLITE_DONE);
            return journal_sqlite_damage(r->stats, &q->key, what, e);
        }
        if (row->first + row->count <= q->from)
            continue;
        bytes += row->bytes.size;
        ret->count++;
    }
    rc = ended(st, rc);
    return rc == SQLITE_OK ? 0 : failed(r, rc, &q->key, "read a history", e);
}

static int history_read(struct journal_reader *r, const struct journal_read *q, struct keep *keep,
                        struct journal_rows *ret, struct err *e)
{
    const uint64_t numbers = BIT(JOURNAL_NUMBER_BITS);
    sqlite3_stmt *st;
    int64_t id;
    *ret = (struct journal_rows){ 0 };
    int result = id_find(r, &q->key, &id, e);
    if (result < 0 || q->from >= q->to)
        return result;
    int rc = database_statement(&r->db, q->backwards ? R_BACKWARDS : R_FORWARDS, &st);
    if (rc != SQLITE_OK)
        return failed(r, rc, &q->key, "read a history", e);
    int64_t base = id << JOURNAL_NUMBER_BITS;
    (void)sqlite3_bind_int64(st, 1, base);
    (void)sqlite3_bind_int64(st, 2, base + (int64_t)MIN(q->from, numbers - 1));
    (void)sqlite3_bind_int64(st, 3, base + (int64_t)MIN(q->to, numbers));
    return rows_take(r, st, q, keep, ret, e);
}

int journal_reader_read(struct journal_reader *r, const struct journal_read *q, struct keep *keep,
                        struct journal_rows *ret, struct err *e)
{
    int result = look_begin(r, e);
    if (result < 0)
        return result;
    result = history_read(r, q, keep, ret, e);
    look_end(r);
    return result;
}

/* ---- scans ---- */

/* False: the row is damaged. *ret_id is its place either way. */
static bool scanned_take(struct journal_reader *r, sqlite3_stmt *st, enum journal_kind kind, struct keep *keep,
                         struct journal_key *key, int64_t *ret_due, uint64_t *ret_id)
{
    struct journal_write w;
    uint32_t state_sum;
    struct err e;
    *ret_id = (uint64_t)sqlite3_column_int64(st, 0);
    *key = (struct journal_key){ .kind = kind, .ns = journal_column_str(keep, st, 1), .id = journal_column_str(keep, st, 2) };
    bool whole = journal_column_uuid(st, 3, &key->run) && journal_column_head(st, 4, journal_sum_key(key), &w, &state_sum);
    if (!whole)
        (void)journal_sqlite_damage(r->stats, key, "the row", &e);
    *ret_due = whole ? w.due_ms : 0;
    return whole;
}

int journal_reader_scan(struct journal_reader *r, const struct journal_scan *q, bool due, struct keep *keep,
                        struct journal_keys *ret, struct err *e)
{
    sqlite3_stmt *st;
    uint64_t id = 0, last = 0;
    int rc = database_statement(&r->db, due ? R_DUE : R_READY, &st);
    if (rc != SQLITE_OK)
        return failed(r, rc, NULL, "scan", e);
    *ret = (struct journal_keys){ .keys = keep_room(keep, q->limit * sizeof *ret->keys),
                                  .dues = keep_room(keep, q->limit * sizeof *ret->dues) };
    (void)sqlite3_bind_int64(st, 1, q->kind);
    (void)sqlite3_bind_int64(st, 2, q->from_ms);
    (void)sqlite3_bind_int64(st, 3, (int64_t)MIN(q->after, (uint64_t)INT64_MAX));
    (void)sqlite3_bind_int64(st, 4, q->before_ms);
    while (ret->count < q->limit && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        if (!scanned_take(r, st, q->kind, keep, &ret->keys[ret->count], &ret->dues[ret->count], &id))
            continue;
        ret->count++;
        last = id;
    }
    if (rc == SQLITE_ROW) /* the page is full */
        rc = sqlite3_step(st);
    ret->next = rc == SQLITE_ROW ? last : 0;
    rc = ended(st, rc);
    return rc == SQLITE_OK ? 0 : failed(r, rc, NULL, "scan", e);
}

/* ---- life ---- */

int journal_reader_open(const char *dir, const struct limits *limits, struct journal_stats *stats,
                        struct journal_reader **ret, struct err *e)
{
    struct database_spec spec;
    AUTO(journal_reader) struct journal_reader *r = xcalloc(1, sizeof *r);
    r->stats = stats;
    journal_sqlite_spec(&spec, reader_sql, false);
    spec.value_bytes_max = limits->journal_value_bytes_max;
    int result = database_open(&r->db, dir, &spec, limits, e);
    if (result < 0)
        return result;
    *ret = TAKE(r);
    return 0;
}

void journal_reader_close(struct journal_reader *r)
{
    if (!r)
        return;
    database_close(&r->db);
    free(r);
}
