/* The SQLite engine: hob.db (objects, one connection, exclusive) and telemetry.db (records, one
 * writing and one reading connection).
 *
 * Why a failed commit cannot come back: in WAL mode its frames lie behind the last committed one, and
 * the next commit overwrites them. Only a crash in between may bring a change to light that was
 * answered with UNAVAILABLE; one that was acknowledged is never lost. Versions given out in a failed
 * batch are not given out again. */
#include "store/engine.h"
#include "store/journal_copy.h"
#include "store/records.h"
#include "store/schema.h"

#include <stdlib.h>

enum { WAL_FRAMES_WANTED = 1000 }; /* then the log is written back: 4 MiB */

enum {
    HOB_BEGIN,
    HOB_COMMIT,
    HOB_FIND,
    HOB_PUT,
    HOB_DELETE,
    HOB_VERSION_SET,
    HOB_EACH,
    HOB_STATEMENTS,
};
_Static_assert((int)HOB_STATEMENTS <= DATABASE_STATEMENTS_MAX, "room for all");

static const char *const hob_sql[HOB_STATEMENTS] = {
    [HOB_BEGIN] = "BEGIN IMMEDIATE",
    [HOB_COMMIT] = "COMMIT",
    [HOB_FIND] = "SELECT version FROM object WHERE kind = ?1 AND ns = ?2 AND name = ?3",
    [HOB_PUT] = ("INSERT INTO object(kind, ns, name, version, json) VALUES(?1, ?2, ?3, ?4, ?5)"
                 " ON CONFLICT(kind, ns, name) DO UPDATE SET version = ?4, json = ?5"),
    [HOB_DELETE] = "DELETE FROM object WHERE kind = ?1 AND ns = ?2 AND name = ?3",
    [HOB_VERSION_SET] = "UPDATE meta SET value = ?1 WHERE key = 'version'",
    [HOB_EACH] = "SELECT ns, name, version, json FROM object WHERE kind = ?1 ORDER BY ns, name",
};
struct sqlite_engine {
    struct engine engine;
    struct database hob;
    struct records records;
    int64_t version, version_used; /* committed; and the highest ever given out */
};

/* ---- objects ---- */

static struct sqlite_engine *self(struct engine *en)
{
    return CONTAINER_OF(en, struct sqlite_engine, engine);
}

static int sqlite_each(struct engine *en, const char *kind,
                       int (*on_object)(void *ctx, const struct store_object *o, struct err *e),
                       void *ctx, struct err *e)
{
    struct database *d = &self(en)->hob;
    sqlite3_stmt *st;
    int rc = database_statement(d, HOB_EACH, &st), r = 0;
    if (rc != SQLITE_OK)
        return database_err(d, rc, "list objects", e);
    sqlite3_bind_text(st, 1, kind, -1, SQLITE_STATIC);
    while (r == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct store_object o = { kind, (const char *)sqlite3_column_text(st, 0),
                                  (const char *)sqlite3_column_text(st, 1),
                                  sqlite3_column_int64(st, 2),
                                  (const char *)sqlite3_column_text(st, 3) };
        if (!o.ns || !o.name || !o.json)
            rc = SQLITE_NOMEM;
        if (rc != SQLITE_ROW)
            break;
        r = on_object(ctx, &o, e);
    }
    (void)sqlite3_reset(st);
    if (r < 0)
        return r;
    return r > 0 || rc == SQLITE_DONE ? 0 : database_err(d, rc, "list objects", e);
}

static int64_t sqlite_version(struct engine *en) { return self(en)->version; }

static void bind_key(sqlite3_stmt *st, const struct engine_change *c)
{
    sqlite3_bind_text(st, 1, c->kind, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, c->ns, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, c->name, -1, SQLITE_STATIC);
}

/* *ret: its version, or STORE_ABSENT. */
static int object_version(struct database *d, const struct engine_change *c, int64_t *ret)
{
    sqlite3_stmt *st;
    int rc = database_statement(d, HOB_FIND, &st);
    if (rc != SQLITE_OK)
        return rc;
    bind_key(st, c);
    rc = sqlite3_step(st);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : STORE_ABSENT;
    int reset = sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : reset;
}

static int version_check(const struct engine_change *c, int64_t version, struct err *e)
{
    if (c->expect_version == STORE_ANY_VERSION)
        return version == STORE_ABSENT && !c->json
                   ? err_set(e, CODE_NOT_FOUND, "%s %s/%s: there is none", c->kind, c->ns, c->name)
                   : 0;
    if (c->expect_version == version)
        return 0;
    if (version == STORE_ABSENT)
        return err_set(e, CODE_ABORTED, "%s %s/%s: there is none; version %lld was expected",
                       c->kind, c->ns, c->name, (long long)c->expect_version);
    if (c->expect_version == STORE_ABSENT)
        return err_set(e, CODE_ABORTED, "%s %s/%s: it exists already, as version %lld", c->kind,
                       c->ns, c->name, (long long)version);
    return err_set(e, CODE_ABORTED, "%s %s/%s: its version is %lld; %lld was expected", c->kind,
                   c->ns, c->name, (long long)version, (long long)c->expect_version);
}

/* An SQLite result; the change's own result is in c->r. */
static int change_apply(struct sqlite_engine *s, struct engine_change *c)
{
    int64_t version = 0;
    sqlite3_stmt *st;
    int rc = object_version(&s->hob, c, &version);
    if (rc != SQLITE_OK)
        return rc;
    c->r = version_check(c, version, &c->e);
    if (c->r < 0)
        return SQLITE_OK;
    rc = database_statement(&s->hob, c->json ? HOB_PUT : HOB_DELETE, &st);
    if (rc != SQLITE_OK)
        return rc;
    c->version = ++s->version_used;
    bind_key(st, c);
    if (c->json) {
        sqlite3_bind_int64(st, 4, c->version);
        sqlite3_bind_text(st, 5, c->json, -1, SQLITE_STATIC);
    }
    rc = database_step(st);
    (void)sqlite3_clear_bindings(st); /* they point into the change, which goes */
    return rc;
}

static int sqlite_apply(struct engine *en, const struct list *changes, struct err *e)
{
    struct sqlite_engine *s = self(en);
    int r = database_log_check(&s->hob, e);
    if (r < 0)
        return r;
    const char *what = "begin";
    int rc = database_run(&s->hob, HOB_BEGIN);
    LIST_EACH(changes, n, tmp) {
        if (rc != SQLITE_OK)
            break;
        what = "change an object";
        rc = change_apply(s, CONTAINER_OF(n, struct engine_change, node));
    }
    if (rc == SQLITE_OK && s->version_used != s->version)
        rc = database_run_int(&s->hob, HOB_VERSION_SET, s->version_used);
    if (rc == SQLITE_OK) {
        what = "commit";
        rc = database_run(&s->hob, HOB_COMMIT);
    }
    if (rc != SQLITE_OK) {
        database_err(&s->hob, rc, what, e);
        database_rollback(&s->hob, rc);
        return -(int)e->code;
    }
    s->version = s->version_used;
    return 0;
}

/* Gives a version out, so that the page is really written. */
static int sqlite_probe(struct engine *en, struct err *e)
{
    struct list none;
    list_init(&none);
    self(en)->version_used++;
    return sqlite_apply(en, &none, e);
}

/* ---- the rest of the engine ---- */

static int sqlite_records_write(struct engine *en, const struct list *pages, int64_t wall_ms,
                                struct err *e)
{
    return records_write(&self(en)->records, pages, wall_ms, e);
}

static int sqlite_records_read(struct engine *en, const struct record_query *q,
                               struct invocation_record **ret_rows, uint32_t *ret_count,
                               struct err *e)
{
    return records_read(&self(en)->records, q, ret_rows, ret_count, e);
}

static int sqlite_copy(struct engine *en, const char *path, const _Atomic bool *closing, uint64_t *ret_bytes,
                       struct err *e)
{
    return database_copy(&self(en)->hob, path, closing, ret_bytes, e);
}

static void sqlite_tend(struct engine *en, bool idle, int64_t wall_ms)
{
    struct sqlite_engine *s = self(en);
    struct list none;
    struct err e;
    list_init(&none);
    if (idle && s->records.count > 0)
        (void)records_write(&s->records, &none, wall_ms, &e); /* the next one reports it */
    if (s->hob.wal_frames >= (idle ? 1 : WAL_FRAMES_WANTED))
        database_checkpoint(&s->hob);
    if (s->records.writer.wal_frames >= (idle ? 1 : WAL_FRAMES_WANTED))
        database_checkpoint(&s->records.writer);
}

static void sqlite_close(struct engine *en)
{
    struct sqlite_engine *s = self(en);
    records_close(&s->records);
    database_close(&s->hob);
    free(s);
}
static void sqlite_engine_free(struct sqlite_engine *s)
{
    if (s)
        sqlite_close(&s->engine);
}
DEFINE_AUTO(sqlite_engine, struct sqlite_engine *, sqlite_engine_free)

static const struct engine_ops sqlite_ops = {
    .each = sqlite_each,
    .version = sqlite_version,
    .apply = sqlite_apply,
    .probe = sqlite_probe,
    .records_write = sqlite_records_write,
    .tend = sqlite_tend,
    .copy = sqlite_copy,
    .records_read = sqlite_records_read,
    .close = sqlite_close,
};

/* Exclusive: a second hob on the same folder is refused, and there is no shared memory file. */
void sqlite_engine_spec(struct database_spec *ret)
{
    static const char *const steps[] = HOB_DB_STEPS;
    *ret = (struct database_spec){
        .name = "hob.db",
        .pragmas = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL;"
                   " PRAGMA cache_size = -512",
        .flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
        .application = HOB_DB_APPLICATION,
        .steps = steps,
        .step_count = COUNT_OF(steps),
        .sql = hob_sql,
    };
}

int sqlite_engine_open(const char *dir, const struct limits *limits, struct engine **ret,
                       struct err *e)
{
    struct database_spec hob;
    sqlite_engine_spec(&hob);
    AUTO(sqlite_engine) struct sqlite_engine *s = xcalloc(1, sizeof *s);
    s->engine.ops = &sqlite_ops;
    int r = database_open(&s->hob, dir, &hob, limits, e);
    if (r == 0)
        r = records_open(&s->records, dir, limits, e);
    if (r < 0)
        return r;
    int rc =
        database_query_int(&s->hob, "SELECT value FROM meta WHERE key = 'version'", &s->version);
    if (rc != SQLITE_OK)
        return database_err_open(&s->hob, rc, "read the version", e);
    s->version_used = s->version;
    *ret = &TAKE(s)->engine;
    return 0;
}
