#include "store/journal_sqlite.h"
#include "base/crc32c.h"
#include "base/map.h"
#include "store/journal_schema.h"
#include "store/journal_sum.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    LOG_FRAMES_WANTED = 2000, /* then the log is written back: 8 MiB */
    SPACES_CACHED_MAX = 16384,
    COPY_BYTES = 65536,
};

enum {
    J_BEGIN, J_COMMIT, J_SAVEPOINT, J_ROLLBACK_TO, J_RELEASE, J_EPOCH, J_PROBE,
    J_SPACE_FIND, J_SPACE_ADD, J_CURRENT, J_HEAD, J_WHOLE, J_CREATE, J_REPLACED,
    J_UPDATE, J_UPDATE_TIMES, J_UPDATE_INDEX, J_ROW, J_ATTRIBUTE,
    J_DELETE, J_DELETE_ROWS, J_DELETE_ATTRIBUTES, J_STATEMENTS,
};
_Static_assert((int)J_STATEMENTS <= DATABASE_STATEMENTS_MAX, "room for all");

/* The numbers of the parameters of the statements that write an entity. */
enum {
    P_KIND = 1, P_NS, P_NAME, P_RUN, P_CURRENT, P_VERSION, P_OPEN, P_READY, P_DUE, P_STATE_SUM, P_SUM, P_STATE,
    P_STATUS, P_TYPE, P_QUEUE, P_START, P_EXECUTION, P_CLOSE, P_LENGTH, P_BYTES, P_TRANSITIONS,
    P_PARENT_ID, P_PARENT_RUN, P_ROOT_ID, P_ROOT_RUN, P_DIVISION, P_ATTRIBUTE_SUM, P_INDEX_SUM, P_EXTRA,
    P_ID,
};
_Static_assert(P_ID == 30, "as the texts below have it");
#define SET_STATE "UPDATE entity SET version = ?6, open = ?7, state_sum = ?10, sum = ?11, state = ?12"
#define HEAD_COLUMNS "id, version, open, ready, due, state_sum, sum, current, attribute_sum"

static const char *const journal_sql[J_STATEMENTS] = {
    [J_BEGIN] = "BEGIN IMMEDIATE",
    [J_COMMIT] = "COMMIT",
    [J_SAVEPOINT] = "SAVEPOINT one",
    [J_ROLLBACK_TO] = "ROLLBACK TO one",
    [J_RELEASE] = "RELEASE one",
    [J_EPOCH] = "SELECT value FROM meta WHERE key = 'epoch'",
    [J_PROBE] = "UPDATE meta SET value = value + 1 WHERE key = 'probes'",
    [J_SPACE_FIND] = "SELECT id FROM space WHERE name = ?1",
    [J_SPACE_ADD] = "INSERT INTO space(name) VALUES(?1)",
    [J_CURRENT] = ("SELECT id, run, current FROM entity"
                   " WHERE kind = ?1 AND ns = ?2 AND name = ?3 AND current IS NOT NULL"),
    [J_HEAD] = ("SELECT " HEAD_COLUMNS " FROM entity"
                " WHERE kind = ?1 AND ns = ?2 AND name = ?3 AND run = ?4"),
    [J_WHOLE] = "SELECT state FROM entity WHERE id = ?1",
    [J_CREATE] = ("INSERT INTO entity(kind, ns, name, run, current, version, open, ready, due, state_sum, sum, state,"
                  " status, type, queue, start, execution, close, history_length, history_bytes, transitions,"
                  " parent_id, parent_run, root_id, root_run, division, attribute_sum, index_sum, extra)"
                  " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,"
                  " ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29)"),
    [J_REPLACED] = "UPDATE entity SET current = NULL WHERE id = ?1",
    [J_UPDATE] = SET_STATE " WHERE id = ?30",
    [J_UPDATE_TIMES] = SET_STATE ", ready = ?8, due = ?9 WHERE id = ?30",
    [J_UPDATE_INDEX] = (SET_STATE ", ready = ?8, due = ?9, status = ?13, type = ?14, queue = ?15, start = ?16,"
                        " execution = ?17, close = ?18, history_length = ?19, history_bytes = ?20,"
                        " transitions = ?21, parent_id = ?22, parent_run = ?23, root_id = ?24, root_run = ?25,"
                        " division = ?26, attribute_sum = ?27, index_sum = ?28, extra = ?29 WHERE id = ?30"),
    [J_ROW] = ("INSERT INTO history(key, count, sum, bytes) VALUES(?1, ?2, ?3, ?4)"
               " ON CONFLICT(key) DO UPDATE SET count = ?2, sum = ?3, bytes = ?4"),
    [J_ATTRIBUTE] = "INSERT INTO attribute(entity, name, type, ordinal, value) VALUES(?1, ?2, ?3, ?4, ?5)",
    [J_DELETE] = "DELETE FROM entity WHERE id = ?1",
    [J_DELETE_ROWS] = "DELETE FROM history WHERE key >= ?1 << 24 AND key < (?1 + 1) << 24",
    [J_DELETE_ATTRIBUTES] = "DELETE FROM attribute WHERE entity = ?1",
};
_Static_assert(JOURNAL_NUMBER_BITS == 24, "as the text above has it");

struct journal_sqlite {
    struct database db;
    struct journal_stats *stats;
    int64_t epoch;
    struct map spaces; /* namespace -> its number, as a pointer */
};

/* What one row of `entity` says that a write needs to know. */
struct head {
    bool there, current;
    int64_t id;
    struct journal_write w; /* expect: its version; open, ready, due_ms */
    uint32_t state_sum, attribute_sum;
};

/* ---- small things ---- */

bool journal_sqlite_damaged(int rc)
{
    return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB || rc == (SQLITE_IOERR | 32 << 8);
}

int journal_sqlite_damage(struct journal_stats *stats, const struct journal_key *key, const char *what,
                          struct err *e)
{
    char text[JOURNAL_KEY_TEXT];
    atomic_fetch_add(&stats->checksum_failures, 1);
    return err_set(e, CODE_DATA_LOSS,
                   "%s: %s is damaged, its checksum does not fit; it is left as it is: restore a copy of durable.db",
                   journal_key_text(key, text), what);
}

static bool uuid_none(const struct uuid *u)
{
    static const struct uuid none;
    return memcmp(u, &none, sizeof none) == 0;
}

static void bind_text(sqlite3_stmt *st, int at, struct str s)
{
    (void)sqlite3_bind_text64(st, at, s.size ? s.at : "", s.size, SQLITE_STATIC, SQLITE_UTF8);
}
static void bind_text_or_null(sqlite3_stmt *st, int at, struct str s)
{
    if (s.size > 0)
        bind_text(st, at, s);
    else
        (void)sqlite3_bind_null(st, at);
}
static void bind_blob(sqlite3_stmt *st, int at, struct str s)
{
    (void)sqlite3_bind_blob64(st, at, s.size ? s.at : "", s.size, SQLITE_STATIC);
}
static void bind_uuid(sqlite3_stmt *st, int at, const struct uuid *u)
{
    (void)sqlite3_bind_blob64(st, at, u->at, sizeof u->at, SQLITE_STATIC);
}
static void bind_uuid_or_null(sqlite3_stmt *st, int at, const struct uuid *u)
{
    if (uuid_none(u))
        (void)sqlite3_bind_null(st, at);
    else
        bind_uuid(st, at, u);
}
static void bind_count(sqlite3_stmt *st, int at, uint64_t n)
{
    (void)sqlite3_bind_int64(st, at, (int64_t)MIN(n, (uint64_t)INT64_MAX));
}

/* Steps to the end; what was bound points into a commit, which goes. */
static int step_bound(sqlite3_stmt *st)
{
    int rc = database_step(st);
    (void)sqlite3_clear_bindings(st);
    return rc;
}

static int run_id(struct journal_sqlite *s, unsigned which, int64_t id)
{
    return database_run_int(&s->db, which, id);
}

/* ---- namespaces ---- */

static int space_row(struct journal_sqlite *s, unsigned which, struct str ns, int64_t *ret)
{
    sqlite3_stmt *st;
    int rc = database_statement(&s->db, which, &st);
    if (rc != SQLITE_OK)
        return rc;
    bind_text(st, 1, ns);
    rc = sqlite3_step(st);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    int reset = sqlite3_reset(st);
    (void)sqlite3_clear_bindings(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : reset;
}

static void spaces_forget(struct journal_sqlite *s)
{
    uint64_t seed = s->spaces.seed;
    map_done(&s->spaces);
    map_init(&s->spaces, seed);
}

/* *ret: its number; 0: there is none, and none was to be made. */
static int space_find(struct journal_sqlite *s, struct str ns, bool make, int64_t *ret)
{
    *ret = (int64_t)(intptr_t)map_find(&s->spaces, ns);
    if (*ret != 0)
        return SQLITE_OK;
    int rc = space_row(s, J_SPACE_FIND, ns, ret);
    if (rc != SQLITE_OK || (*ret == 0 && !make))
        return rc;
    if (*ret == 0) {
        int64_t none;
        rc = space_row(s, J_SPACE_ADD, ns, &none);
        *ret = sqlite3_last_insert_rowid(s->db.db);
    }
    if (s->spaces.count >= SPACES_CACHED_MAX)
        spaces_forget(s);
    if (rc == SQLITE_OK)
        map_put(&s->spaces, ns, (void *)(intptr_t)*ret);
    return rc;
}

/* ---- what is there ---- */

static int refuse(struct journal_item *i, enum code code, const struct journal_write *w, const char *why)
{
    char text[JOURNAL_KEY_TEXT];
    i->r = err_set(&i->e, code, "%s: %s", journal_key_text(&w->key, text), why);
    return SQLITE_OK;
}

static int damaged(struct journal_sqlite *s, struct journal_item *i, const struct journal_key *key, const char *what)
{
    i->r = journal_sqlite_damage(s->stats, key, what, &i->e);
    return SQLITE_OK;
}

static void head_take(sqlite3_stmt *st, const struct journal_key *key, struct head *h, bool *ret_whole)
{
    h->there = true;
    h->id = sqlite3_column_int64(st, 0);
    h->w.expect = (uint64_t)sqlite3_column_int64(st, 1);
    h->w.open = sqlite3_column_int64(st, 2) != 0;
    h->w.ready = sqlite3_column_type(st, 3) != SQLITE_NULL;
    h->w.due_ms = sqlite3_column_type(st, 4) != SQLITE_NULL ? sqlite3_column_int64(st, 4) : JOURNAL_NEVER;
    h->state_sum = (uint32_t)sqlite3_column_int64(st, 5);
    h->current = sqlite3_column_type(st, 7) != SQLITE_NULL;
    h->attribute_sum = (uint32_t)sqlite3_column_int64(st, 8);
    uint32_t sum = journal_sum_key(key);
    *ret_whole = journal_sum_head(sum, &h->w, h->state_sum) == (uint32_t)sqlite3_column_int64(st, 6) &&
                 (!h->current || sqlite3_column_int64(st, 7) == (int64_t)sum);
}

static void bind_key(sqlite3_stmt *st, const struct journal_key *key, int64_t ns)
{
    (void)sqlite3_bind_int64(st, P_KIND, key->kind);
    (void)sqlite3_bind_int64(st, P_NS, ns);
    bind_text(st, P_NAME, key->id);
}

static int head_find(struct journal_sqlite *s, struct journal_item *i, const struct journal_key *key, int64_t ns,
                     struct head *h)
{
    sqlite3_stmt *st;
    bool whole = true;
    int rc = database_statement(&s->db, J_HEAD, &st);
    if (rc != SQLITE_OK)
        return rc;
    bind_key(st, key, ns);
    bind_uuid(st, P_RUN, &key->run);
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        head_take(st, key, h, &whole);
    int reset = sqlite3_reset(st);
    (void)sqlite3_clear_bindings(st);
    if (!whole)
        return damaged(s, i, key, "the row");
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : reset;
}

/* *ret_id: of the current run, which is written to *ret; 0: there is none. */
static int current_find(struct journal_sqlite *s, struct journal_item *i, const struct journal_key *key, int64_t ns,
                        int64_t *ret_id, struct uuid *ret)
{
    sqlite3_stmt *st;
    struct journal_key found = *key;
    bool whole = true;
    int rc = database_statement(&s->db, J_CURRENT, &st);
    if (rc != SQLITE_OK)
        return rc;
    *ret_id = 0;
    bind_key(st, key, ns);
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        const void *run = sqlite3_column_blob(st, 1);
        whole = run && sqlite3_column_bytes(st, 1) == (int)sizeof found.run.at;
        if (whole)
            memcpy(found.run.at, run, sizeof found.run.at);
        whole = whole && sqlite3_column_int64(st, 2) == (int64_t)journal_sum_key(&found);
        *ret_id = sqlite3_column_int64(st, 0);
        *ret = found.run;
    }
    int reset = sqlite3_reset(st);
    (void)sqlite3_clear_bindings(st);
    if (!whole)
        return damaged(s, i, &found, "the row");
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : reset;
}

/* ---- writing ---- */

static void bind_state(sqlite3_stmt *st, const struct journal_write *w, uint32_t key_sum, uint64_t version)
{
    struct journal_write now = *w;
    uint32_t state_sum = crc32c(0, w->state.at, w->state.size);
    now.expect = version;
    (void)sqlite3_bind_int64(st, P_VERSION, (int64_t)version);
    (void)sqlite3_bind_int(st, P_OPEN, w->open);
    (void)sqlite3_bind_int64(st, P_STATE_SUM, state_sum);
    (void)sqlite3_bind_int64(st, P_SUM, journal_sum_head(key_sum, &now, state_sum));
    bind_blob(st, P_STATE, w->state);
}

static void bind_times(sqlite3_stmt *st, const struct journal_write *w)
{
    if (w->ready)
        (void)sqlite3_bind_int(st, P_READY, 1);
    else
        (void)sqlite3_bind_null(st, P_READY);
    if (w->due_ms != JOURNAL_NEVER)
        (void)sqlite3_bind_int64(st, P_DUE, w->due_ms);
    else
        (void)sqlite3_bind_null(st, P_DUE);
}

static void bind_index(sqlite3_stmt *st, const struct journal_index *x, uint32_t key_sum, uint32_t attributes)
{
    (void)sqlite3_bind_int64(st, P_STATUS, x->status);
    bind_text_or_null(st, P_TYPE, x->type);
    bind_text_or_null(st, P_QUEUE, x->queue);
    (void)sqlite3_bind_int64(st, P_START, x->start_ns);
    (void)sqlite3_bind_int64(st, P_EXECUTION, x->execution_ns);
    (void)sqlite3_bind_int64(st, P_CLOSE, x->close_ns);
    bind_count(st, P_LENGTH, x->history_length);
    bind_count(st, P_BYTES, x->history_bytes);
    bind_count(st, P_TRANSITIONS, x->transitions);
    bind_text_or_null(st, P_PARENT_ID, x->parent_id);
    bind_uuid_or_null(st, P_PARENT_RUN, &x->parent_run);
    bind_text_or_null(st, P_ROOT_ID, x->root_id);
    bind_uuid_or_null(st, P_ROOT_RUN, &x->root_run);
    bind_text_or_null(st, P_DIVISION, x->division);
    (void)sqlite3_bind_int64(st, P_ATTRIBUTE_SUM, attributes);
    (void)sqlite3_bind_int64(st, P_INDEX_SUM, journal_sum_index(key_sum, x, attributes));
    bind_blob(st, P_EXTRA, x->extra);
}

static int rows_write(struct journal_sqlite *s, const struct journal_write *w, uint32_t key_sum, int64_t id)
{
    sqlite3_stmt *st;
    int rc = database_statement(&s->db, J_ROW, &st);
    for (size_t k = 0; rc == SQLITE_OK && k < w->row_count; k++) {
        const struct journal_row *row = &w->rows[k];
        (void)sqlite3_bind_int64(st, 1, id << JOURNAL_NUMBER_BITS | (int64_t)row->first);
        (void)sqlite3_bind_int64(st, 2, row->count);
        (void)sqlite3_bind_int64(st, 3, journal_sum_row(key_sum, row));
        bind_blob(st, 4, row->bytes);
        rc = step_bound(st);
    }
    return rc;
}

static void bind_value(sqlite3_stmt *st, int at, const struct journal_attribute *a)
{
    switch (a->type) {
    case JOURNAL_KEYWORD:
    case JOURNAL_TEXT:
    case JOURNAL_KEYWORDS: bind_text(st, at, a->text); return;
    case JOURNAL_INT:
    case JOURNAL_BOOL:
    case JOURNAL_TIME: (void)sqlite3_bind_int64(st, at, a->integer); return;
    case JOURNAL_DOUBLE: (void)sqlite3_bind_double(st, at, a->real); return;
    }
    UNREACHABLE("every type returns");
}

static int attributes_write(struct journal_sqlite *s, const struct journal_index *x, int64_t id)
{
    sqlite3_stmt *st;
    int rc = database_statement(&s->db, J_ATTRIBUTE, &st);
    for (size_t k = 0; rc == SQLITE_OK && k < x->attribute_count; k++) {
        const struct journal_attribute *a = &x->attributes[k];
        if (a->type == JOURNAL_DOUBLE && a->real != a->real)
            continue; /* NaN is no value, here as in filter_matches() */
        (void)sqlite3_bind_int64(st, 1, id);
        bind_text(st, 2, a->name);
        (void)sqlite3_bind_int64(st, 3, a->type);
        (void)sqlite3_bind_int64(st, 4, (int64_t)k);
        bind_value(st, 5, a);
        rc = step_bound(st);
    }
    return rc;
}

static int create(struct journal_sqlite *s, struct journal_item *i, const struct journal_write *w, int64_t ns)
{
    sqlite3_stmt *st;
    struct uuid run;
    int64_t current = 0;
    int rc = current_find(s, i, &w->key, ns, &current, &run);
    if (rc != SQLITE_OK || i->r < 0)
        return rc;
    if (current && (uuid_none(&w->over) || memcmp(&run, &w->over, sizeof run) != 0))
        return refuse(i, CODE_EXISTS, w, "another run is the current one");
    if (!current && !uuid_none(&w->over))
        return refuse(i, CODE_ABORTED, w, "the run that was to be current is not; there is none");
    if (current)
        rc = run_id(s, J_REPLACED, current);
    if (rc == SQLITE_OK)
        rc = database_statement(&s->db, J_CREATE, &st);
    if (rc != SQLITE_OK)
        return rc;
    uint32_t sum = journal_sum_key(&w->key);
    uint32_t attributes = journal_sum_attributes(w->index->attributes, w->index->attribute_count);
    bind_key(st, &w->key, ns);
    bind_uuid(st, P_RUN, &w->key.run);
    (void)sqlite3_bind_int64(st, P_CURRENT, sum);
    bind_state(st, w, sum, 1);
    bind_times(st, w);
    bind_index(st, w->index, sum, attributes);
    rc = step_bound(st);
    if (rc == SQLITE_CONSTRAINT_UNIQUE)
        return refuse(i, CODE_EXISTS, w, "this run exists");
    int64_t id = sqlite3_last_insert_rowid(s->db.db);
    if (rc == SQLITE_OK)
        rc = attributes_write(s, w->index, id);
    return rc == SQLITE_OK ? rows_write(s, w, sum, id) : rc;
}

static int version_check(struct journal_item *i, const struct journal_write *w, const struct head *h)
{
    char why[128];
    if (h->there && h->w.expect == w->expect)
        return SQLITE_OK;
    if (!h->there)
        return refuse(i, CODE_ABORTED, w, "there is no such run");
    snprintf(why, sizeof why, "its version is %llu; %llu was expected", (unsigned long long)h->w.expect,
             (unsigned long long)w->expect);
    return refuse(i, CODE_ABORTED, w, why);
}

static int update(struct journal_sqlite *s, struct journal_item *i, const struct journal_write *w, int64_t ns)
{
    sqlite3_stmt *st;
    struct head h = { 0 };
    int rc = head_find(s, i, &w->key, ns, &h);
    if (rc == SQLITE_OK && i->r == 0)
        rc = version_check(i, w, &h);
    if (rc != SQLITE_OK || i->r < 0)
        return rc;
    const struct journal_index *x = w->index;
    bool same_times = h.w.ready == w->ready && h.w.due_ms == w->due_ms;
    rc = database_statement(&s->db, x ? J_UPDATE_INDEX : same_times ? J_UPDATE : J_UPDATE_TIMES, &st);
    if (rc != SQLITE_OK)
        return rc;
    uint32_t sum = journal_sum_key(&w->key);
    uint32_t attributes = x ? journal_sum_attributes(x->attributes, x->attribute_count) : h.attribute_sum;
    bind_state(st, w, sum, w->expect + 1);
    if (x || !same_times)
        bind_times(st, w);
    if (x)
        bind_index(st, x, sum, attributes);
    (void)sqlite3_bind_int64(st, P_ID, h.id);
    rc = step_bound(st);
    if (rc == SQLITE_OK && attributes != h.attribute_sum) {
        rc = run_id(s, J_DELETE_ATTRIBUTES, h.id);
        if (rc == SQLITE_OK)
            rc = attributes_write(s, x, h.id);
    }
    return rc == SQLITE_OK ? rows_write(s, w, sum, h.id) : rc;
}

/* A damaged state is not deleted either: it may be all there is to find out from. */
static int state_check(struct journal_sqlite *s, struct journal_item *i, const struct journal_write *w,
                       const struct head *h)
{
    sqlite3_stmt *st;
    int rc = database_statement(&s->db, J_WHOLE, &st);
    if (rc != SQLITE_OK)
        return rc;
    (void)sqlite3_bind_int64(st, 1, h->id);
    rc = sqlite3_step(st);
    bool whole = rc == SQLITE_ROW && crc32c(0, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0)) ==
                                         h->state_sum;
    int reset = sqlite3_reset(st);
    if (rc != SQLITE_ROW)
        return rc == SQLITE_DONE ? SQLITE_CORRUPT : reset;
    return whole ? SQLITE_OK : damaged(s, i, &w->key, "the state");
}

static int delete(struct journal_sqlite *s, struct journal_item *i, const struct journal_write *w, int64_t ns)
{
    struct head h = { 0 };
    int rc = head_find(s, i, &w->key, ns, &h);
    if (rc == SQLITE_OK && i->r == 0)
        rc = version_check(i, w, &h);
    if (rc == SQLITE_OK && i->r == 0)
        rc = state_check(s, i, w, &h);
    if (rc != SQLITE_OK || i->r < 0)
        return rc;
    rc = run_id(s, J_DELETE, h.id);
    if (rc == SQLITE_OK)
        rc = run_id(s, J_DELETE_ROWS, h.id);
    return rc == SQLITE_OK ? run_id(s, J_DELETE_ATTRIBUTES, h.id) : rc;
}

static int write_apply(struct journal_sqlite *s, struct journal_item *i, const struct journal_write *w)
{
    int64_t ns;
    int rc = space_find(s, w->key.ns, w->op == JOURNAL_CREATE, &ns);
    if (rc != SQLITE_OK)
        return rc;
    switch (w->op) {
    case JOURNAL_CREATE: return create(s, i, w, ns);
    case JOURNAL_UPDATE: return update(s, i, w, ns);
    case JOURNAL_DELETE: return delete (s, i, w, ns);
    }
    UNREACHABLE("every operation returns");
}

/* ---- commits ---- */

/* Checks come before writes, so a commit of one write needs no savepoint; nor does one of several whose first
 * is refused, but that is not known before. (A run that exists already is refused by its insertion, after the
 * current one was replaced: there is something to take back.) */
static int item_apply(struct journal_sqlite *s, struct journal_item *i)
{
    bool guarded = i->count > 1 || (i->writes[0].op == JOURNAL_CREATE && !uuid_none(&i->writes[0].over));
    int rc = guarded ? database_run(&s->db, J_SAVEPOINT) : SQLITE_OK;
    for (size_t k = 0; rc == SQLITE_OK && i->r == 0 && k < i->count; k++)
        rc = write_apply(s, i, &i->writes[k]);
    if (rc != SQLITE_OK || !guarded)
        return rc;
    if (i->r < 0) {
        rc = database_run(&s->db, J_ROLLBACK_TO);
        spaces_forget(s);
    }
    return rc == SQLITE_OK ? database_run(&s->db, J_RELEASE) : rc;
}

static int epoch_read(struct journal_sqlite *s, int64_t *ret)
{
    sqlite3_stmt *st;
    int rc = database_statement(&s->db, J_EPOCH, &st);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(st);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    int reset = sqlite3_reset(st);
    return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_CORRUPT : reset;
}

struct turn { /* of items: those of the list, or one of them alone */
    struct list *items;
    struct journal_item *only;
};

static int turn_apply(struct journal_sqlite *s, const struct turn *t)
{
    int rc = SQLITE_OK;
    if (t->only)
        return item_apply(s, t->only);
    LIST_EACH(t->items, n, tmp) {
        rc = item_apply(s, CONTAINER_OF(n, struct journal_item, node));
        if (rc != SQLITE_OK)
            break;
    }
    return t->items->count == 0 ? database_run(&s->db, J_PROBE) : rc;
}

/* An SQLite result; *ret_fenced: another has taken over. */
static int transaction(struct journal_sqlite *s, const struct turn *t, const char **what, bool *ret_fenced)
{
    int64_t epoch = 0, rows = sqlite3_total_changes64(s->db.db);
    int frames = s->db.wal_frames;
    *what = "begin";
    int rc = database_run(&s->db, J_BEGIN);
    if (rc == SQLITE_OK)
        rc = epoch_read(s, &epoch);
    *ret_fenced = rc == SQLITE_OK && epoch != s->epoch;
    if (*ret_fenced || rc != SQLITE_OK)
        return rc;
    *what = "write";
    rc = turn_apply(s, t);
    if (rc != SQLITE_OK)
        return rc;
    *what = "commit";
    rc = database_run(&s->db, J_COMMIT);
    int64_t written = sqlite3_total_changes64(s->db.db) - rows;
    if (rc != SQLITE_OK || written == 0)
        return rc;
    int more = s->db.wal_frames > frames ? s->db.wal_frames - frames : s->db.wal_frames;
    atomic_fetch_add(&s->stats->transactions, 1);
    atomic_fetch_add(&s->stats->fsyncs, 1);
    atomic_fetch_add(&s->stats->rows_written, (uint64_t)written);
    atomic_fetch_add(&s->stats->bytes_written, (uint64_t)more * 4120);
    return rc;
}

static void turn_forget(const struct turn *t)
{
    if (t->only)
        t->only->r = 0;
    LIST_EACH(t->items, n, tmp)
        if (!t->only)
            CONTAINER_OF(n, struct journal_item, node)->r = 0;
}

static int turn_write(struct journal_sqlite *s, const struct turn *t, struct err *e)
{
    const char *what;
    bool fenced = false;
    int r = database_log_check(&s->db, e);
    if (r < 0)
        return r;
    turn_forget(t);
    int rc = transaction(s, t, &what, &fenced);
    if (rc == SQLITE_OK && !fenced)
        return 0;
    if (fenced)
        err_set(e, CODE_ABORTED, "%s: fenced: another process has taken the journal over", s->db.path);
    else
        database_err(&s->db, rc, what, e);
    if (!fenced && journal_sqlite_damaged(rc))
        e->code = CODE_DATA_LOSS;
    atomic_fetch_add(&s->stats->fenced, fenced ? 1 : 0);
    database_rollback(&s->db, rc);
    spaces_forget(s);
    return -(int)e->code;
}

/* Each in a transaction of its own: a page that is damaged stops those that need it, and no others. */
static int each_alone(struct journal_sqlite *s, struct list *items, struct err *e)
{
    LIST_EACH(items, n, tmp) {
        struct journal_item *i = CONTAINER_OF(n, struct journal_item, node);
        struct err why = { 0 };
        int r = turn_write(s, &(struct turn){ items, i }, &why);
        if (r == 0)
            continue;
        i->r = r;
        i->e = why;
        if (r == -CODE_DATA_LOSS) {
            atomic_fetch_add(&s->stats->checksum_failures, 1);
            char text[JOURNAL_KEY_TEXT];
            (void)err_wrap(&i->e, "%s", journal_key_text(&i->writes[0].key, text));
        } else {
            *e = why; /* goes on: each is to have a result, and each may have been written before */
        }
    }
    return e->code == CODE_OK ? 0 : -(int)e->code;
}

int journal_sqlite_write(struct journal_sqlite *s, struct list *items, struct err *e)
{
    *e = (struct err){ 0 };
    int r = turn_write(s, &(struct turn){ .items = items }, e);
    if (r == -CODE_DATA_LOSS && items->count > 0) {
        *e = (struct err){ 0 };
        r = each_alone(s, items, e);
    } else if (r < 0) {
        LIST_EACH(items, n, tmp) {
            struct journal_item *i = CONTAINER_OF(n, struct journal_item, node);
            i->r = r;
            i->e = *e;
        }
    }
    uint64_t commits = 0;
    LIST_EACH(items, n, tmp)
        commits += CONTAINER_OF(n, struct journal_item, node)->r == 0;
    atomic_fetch_add(&s->stats->commits, commits);
    return r;
}

void journal_sqlite_tend(struct journal_sqlite *s, bool idle)
{
    if (s->db.wal_frames >= (idle ? 1 : LOG_FRAMES_WANTED))
        database_checkpoint(&s->db);
}

/* ---- life ---- */

/* The log that an earlier process left, once more to the same places, and synced: see the header. */
static int log_rewrite(struct journal_sqlite *s, struct err *e)
{
    sqlite3_file *log = NULL;
    sqlite3_int64 size = 0;
    int rc = sqlite3_file_control(s->db.db, "main", SQLITE_FCNTL_JOURNAL_POINTER, (void *)&log);
    if (rc != SQLITE_OK || !log || !log->pMethods)
        return rc == SQLITE_OK ? 0 : database_err_open(&s->db, rc, "find the log", e);
    rc = log->pMethods->xFileSize(log, &size);
    AUTO_FREE char *bytes = xcalloc(1, COPY_BYTES);
    for (sqlite3_int64 at = 0; rc == SQLITE_OK && at < size; at += COPY_BYTES) {
        int piece = (int)MIN(size - at, (sqlite3_int64)COPY_BYTES);
        rc = log->pMethods->xRead(log, bytes, piece, at);
        if (rc == SQLITE_OK)
            rc = log->pMethods->xWrite(log, bytes, piece, at);
    }
    if (rc == SQLITE_OK && size > 0)
        rc = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
    return rc == SQLITE_OK ? 0 : database_err_open(&s->db, rc, "make its log durable", e);
}

static int ownership_take(struct journal_sqlite *s, struct err *e)
{
    int rc = database_exec(&s->db, "UPDATE meta SET value = value + 1 WHERE key = 'epoch'");
    if (rc == SQLITE_OK)
        rc = epoch_read(s, &s->epoch);
    return rc == SQLITE_OK ? 0 : database_err_open(&s->db, rc, "take its ownership", e);
}

void journal_sqlite_spec(struct database_spec *spec, const char *const *sql, bool main)
{
    static const char *const steps[] = DURABLE_DB_STEPS;
    *spec = (struct database_spec){
        .name = "durable.db",
        .vfs = "unix-excl", /* no other process while this one has it open; any number of connections within */
        .pragmas = main ? "PRAGMA synchronous = FULL; PRAGMA cache_size = -16384"
                        : "PRAGMA query_only = ON; PRAGMA cache_size = -2048",
        .flags = SQLITE_OPEN_READWRITE | (main ? SQLITE_OPEN_CREATE : 0),
        .application = DURABLE_DB_APPLICATION,
        .steps = main ? steps : NULL,
        .step_count = COUNT_OF(steps),
        .sql = sql,
    };
}

int journal_sqlite_open(const char *dir, const struct limits *limits, struct journal_stats *stats,
                        struct journal_sqlite **ret, struct err *e)
{
    struct database_spec spec;
    AUTO(journal_sqlite) struct journal_sqlite *s = xcalloc(1, sizeof *s);
    s->stats = stats;
    map_init(&s->spaces, (uint64_t)(uintptr_t)s);
    journal_sqlite_spec(&spec, journal_sql, true);
    spec.value_bytes_max = limits->journal_value_bytes_max;
    spec.log_bytes_max = limits->journal_log_bytes_max;
    int r = database_open(&s->db, dir, &spec, limits, e);
    if (r == 0)
        r = log_rewrite(s, e);
    if (r == 0)
        r = ownership_take(s, e);
    if (r < 0)
        return r;
    *ret = TAKE(s);
    return 0;
}

void journal_sqlite_close(struct journal_sqlite *s)
{
    if (!s)
        return;
    map_done(&s->spaces);
    database_close(&s->db);
    free(s);
}
