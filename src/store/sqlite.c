/* The SQLite engine: hob.db (objects, one connection, exclusive) and telemetry.db (records, one
 * writing and one reading connection).
 *
 * Why a failed commit cannot come back: in WAL mode its frames lie behind the last committed one, and
 * the next commit overwrites them. Only a crash in between may bring a change to light that was
 * answered with UNAVAILABLE; one that was acknowledged is never lost. Versions given out in a failed
 * batch are not given out again. */
#include "store/engine.h"
#include "base/map.h"
#include "store/schema.h"
#include "telemetry/record_json.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    BUSY_MS = 2000,
    CHECK_BYTES_MAX = 64 * 1024 * 1024, /* larger files are not read through at the start */
    WAL_FRAMES_WANTED = 1000,           /* then it is written back: 4 MiB */
    WAL_FRAMES_MAX = 65536,             /* when that fails for long: refuse, 256 MiB are enough */
    RETAIN_MIN = 256,                   /* old records deleted with one batch, at least */
    READ_STEPS = 1000,                  /* virtual machine steps between looks at the budget */
    READ_BUDGET = 200000,               /* looks: about ten seconds of scanning */
    FUNCTIONS_CACHED_MAX = 16384,
};

enum { /* statements of hob.db */
                 HOB_BEGIN,
                 HOB_COMMIT,
                 HOB_FIND,
                 HOB_PUT,
                 HOB_DELETE,
                 HOB_VERSION_SET,
                 HOB_EACH,
                 HOB_STATEMENTS,
};
enum { /* statements of telemetry.db */
       REC_BEGIN,
       REC_COMMIT,
       REC_FUNCTION_FIND,
       REC_FUNCTION_ADD,
       REC_ADD,
       REC_COUNT_SET,
       REC_DELETE_OLDEST,
       REC_DELETE_BEFORE,
       REC_STATEMENTS,
};
enum { STATEMENTS_MAX = 8 };
_Static_assert((int)HOB_STATEMENTS <= STATEMENTS_MAX && (int)REC_STATEMENTS <= STATEMENTS_MAX,
               "room for all");

static const char *const hob_sql[HOB_STATEMENTS] = {
    [HOB_BEGIN] = "BEGIN IMMEDIATE",
    [HOB_COMMIT] = "COMMIT",
    [HOB_FIND] = "SELECT version FROM object WHERE kind = ?1 AND ns = ?2 AND name = ?3",
    [HOB_PUT] = "INSERT INTO object(kind, ns, name, version, json) VALUES(?1, ?2, ?3, ?4, ?5)"
                " ON CONFLICT(kind, ns, name) DO UPDATE SET version = ?4, json = ?5",
    [HOB_DELETE] = "DELETE FROM object WHERE kind = ?1 AND ns = ?2 AND name = ?3",
    [HOB_VERSION_SET] = "UPDATE meta SET value = ?1 WHERE key = 'version'",
    [HOB_EACH] = "SELECT ns, name, version, json FROM object WHERE kind = ?1 ORDER BY ns, name",
};
static const char *const rec_sql[REC_STATEMENTS] = {
    [REC_BEGIN] = "BEGIN IMMEDIATE",
    [REC_COMMIT] = "COMMIT",
    [REC_FUNCTION_FIND] = "SELECT id FROM function WHERE ns = ?1 AND service = ?2",
    [REC_FUNCTION_ADD] = "INSERT INTO function(ns, service) VALUES(?1, ?2)",
    [REC_ADD] =
        "INSERT OR IGNORE INTO record(id, function, cold, status, outcome, wall_ms, arrival_us,"
        " dispatch_us, first_byte_us, total_us, queue_us, coverage_permille, request_bytes,"
        " response_bytes, revision, instance, method, path, error, start)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,"
        " ?18, ?19, ?20)",
    [REC_COUNT_SET] = "UPDATE meta SET value = ?1 WHERE key = 'records'",
    [REC_DELETE_OLDEST] =
        "DELETE FROM record WHERE id IN (SELECT id FROM record ORDER BY id LIMIT ?1)",
    [REC_DELETE_BEFORE] =
        "DELETE FROM record WHERE id IN (SELECT id FROM record WHERE id < ?2 ORDER BY id LIMIT ?1)",
};
#define RECORD_COLUMNS \
    "r.id, f.ns, f.service, r.cold, r.status, r.outcome, r.wall_ms, r.arrival_us, r.dispatch_us," \
    " r.first_byte_us, r.total_us, r.queue_us, r.coverage_permille, r.request_bytes," \
    " r.response_bytes, r.revision, r.instance, r.method, r.path, r.error, r.start"

struct database {
    sqlite3 *db;
    char *path;
    const char *name; /* "hob.db" */
    const char *const *sql;
    sqlite3_stmt *statements[STATEMENTS_MAX]; /* prepared when first used */
    int wal_frames;
    struct err checkpoint; /* why the last one did not succeed */
};

struct sqlite_engine {
    struct engine engine;
    struct limits limits;
    struct database hob, telemetry, reader;
    int64_t version, version_used; /* committed; and the highest ever given out */
    int64_t records;
    struct map functions; /* "ns\0service" -> rowid as a pointer; empty after a rollback */
    uint32_t read_looks;  /* reader thread */
};

DEFINE_AUTO(stmt, sqlite3_stmt *, sqlite3_finalize)

/* ---- errors ---- */

static const char *cause(const struct database *d, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL: return "the disk is full";
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return "another process uses it";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return "the file is corrupt";
    case SQLITE_READONLY: return "it is read-only";
    default: return d->db ? sqlite3_errmsg(d->db) : sqlite3_errstr(rc);
    }
}

/* While it runs, everything that a disk can do is temporary to those who ask. */
static int err_db(const struct database *d, int rc, const char *what, struct err *e)
{
    const char *why = cause(d, rc);
    int sys = d->db ? sqlite3_system_errno(d->db) : 0;
    bool io = (rc & 0xff) == SQLITE_IOERR && sys != 0;
    err_set(e, CODE_UNAVAILABLE, "%s: %s: %s%s%s", d->path, what, why, io ? ": " : "",
            io ? strerror(sys) : "");
    e->sys_errno = sys;
    return -(int)e->code;
}

static int err_corrupt(const struct database *d, const char *what, struct err *e)
{
    return err_set(e, CODE_DATA_LOSS,
                   "%s: %s; the file is left as it is: restore a copy or move it away", d->path,
                   what);
}

static int err_open(const struct database *d, int rc, const char *what, struct err *e)
{
    if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)
        return err_corrupt(d, cause(d, rc), e);
    return err_db(d, rc, what, e);
}

/* ---- one database ---- */

static int exec(struct database *d, const char *sql)
{
    return sqlite3_exec(d->db, sql, NULL, NULL, NULL);
}

static int statement(struct database *d, unsigned which, sqlite3_stmt **ret)
{
    ASSERT(which < STATEMENTS_MAX);
    int rc = SQLITE_OK;
    if (!d->statements[which])
        rc = sqlite3_prepare_v3(d->db, d->sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                                &d->statements[which], NULL);
    *ret = d->statements[which];
    return rc;
}

/* For statements without rows; the result code of the last call. */
static int step_done(sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    int reset = sqlite3_reset(st);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? reset : rc;
}

static int run(struct database *d, unsigned which)
{
    sqlite3_stmt *st;
    int rc = statement(d, which, &st);
    return rc == SQLITE_OK ? step_done(st) : rc;
}

static int run_int(struct database *d, unsigned which, int64_t value)
{
    sqlite3_stmt *st;
    int rc = statement(d, which, &st);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_int64(st, 1, value);
    return step_done(st);
}

/* Nothing of the transaction remains; a page that was read wrongly is read anew next time. */
static void rollback(struct database *d, int rc)
{
    for (unsigned i = 0; i < STATEMENTS_MAX; i++)
        if (d->statements[i])
            (void)sqlite3_reset(d->statements[i]);
    if (!sqlite3_get_autocommit(d->db))
        (void)exec(d, "ROLLBACK");
    if ((rc & 0xff) == SQLITE_CORRUPT)
        (void)sqlite3_db_release_memory(d->db);
}

static int query_int(struct database *d, const char *sql, int64_t *ret)
{
    AUTO(stmt) sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(d->db, sql, -1, &st, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(st);
    if (rc != SQLITE_ROW)
        return rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
    *ret = sqlite3_column_int64(st, 0);
    return SQLITE_OK;
}

static int on_wal(void *ctx, sqlite3 *db, const char *schema, int frames)
{
    struct database *d = ctx;
    (void)db;
    (void)schema;
    d->wal_frames = frames;
    return SQLITE_OK;
}

/* A reader of telemetry.db may hold the end of the log; the next commit tries again. */
static void checkpoint(struct database *d)
{
    int left = 0, written = 0;
    int rc = sqlite3_wal_checkpoint_v2(d->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &left, &written);
    d->checkpoint.code = CODE_OK;
    if (rc == SQLITE_OK && written == left)
        d->wal_frames = 0;
    else if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
        err_db(d, rc, "checkpoint", &d->checkpoint);
}

static int wal_check(struct database *d, struct err *e)
{
    if (d->wal_frames < WAL_FRAMES_MAX)
        return 0;
    checkpoint(d);
    if (d->wal_frames < WAL_FRAMES_MAX)
        return 0;
    if (d->checkpoint.code == CODE_OK)
        return err_set(e, CODE_UNAVAILABLE, "%s: the log is full and is being read", d->path);
    *e = d->checkpoint;
    return -(int)e->code;
}

static void database_close(struct database *d)
{
    for (unsigned i = 0; i < STATEMENTS_MAX; i++)
        (void)sqlite3_finalize(d->statements[i]);
    (void)sqlite3_close(d->db);
    free(d->path);
    *d = (struct database){ 0 };
}

static void harden(struct database *d, const struct limits *l)
{
    sqlite3 *db = d->db;
    (void)sqlite3_extended_result_codes(db, 1);
    (void)sqlite3_busy_timeout(db, BUSY_MS);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    (void)sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    (void)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, (int)MAX(l->object_bytes_max + 65536, 1000000U));
}

/* Before anything is written: is this ours, of a version we know, and whole? */
static int identity_check(struct database *d, int64_t application, int64_t steps, int64_t *ret_step,
                          struct err *e)
{
    int64_t id = 0, version = 0, tables = 0;
    int rc = query_int(d, "PRAGMA application_id", &id);
    if (rc == SQLITE_OK)
        rc = query_int(d, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK)
        rc = query_int(d, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc != SQLITE_OK)
        return err_open(d, rc, "open", e);
    if (id != application && (id != 0 || version != 0 || tables != 0))
        return err_set(e, CODE_PRECONDITION, "%s: this is the database of something else", d->path);
    if (version > steps)
        return err_set(e, CODE_PRECONDITION,
                       "%s: schema %lld was written by a newer hob; this one knows up to %lld",
                       d->path, (long long)version, (long long)steps);
    if (version < 0)
        return err_corrupt(d, "negative schema version", e);
    *ret_step = version;
    return 0;
}

static int integrity_check(struct database *d, struct err *e)
{
    AUTO(stmt) sqlite3_stmt *st = NULL;
    struct stat file;
    if (stat(d->path, &file) == 0 && file.st_size > CHECK_BYTES_MAX)
        return 0;
    int rc = sqlite3_prepare_v2(d->db, "PRAGMA quick_check(1)", -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc != SQLITE_ROW)
        return err_open(d, rc, "check", e);
    const char *verdict = (const char *)sqlite3_column_text(st, 0);
    if (!verdict || strcmp(verdict, "ok") != 0)
        return err_corrupt(d, verdict ? verdict : "unreadable", e);
    return 0;
}

static int migrate(struct database *d, int64_t application, const char *const *steps, int64_t from,
                   int64_t to, struct err *e)
{
    char pragma[64];
    int rc = from < to ? exec(d, "BEGIN IMMEDIATE") : SQLITE_OK;
    for (int64_t step = from; rc == SQLITE_OK && step < to; step++)
        rc = exec(d, steps[step]);
    if (from == to)
        return 0;
    snprintf(pragma, sizeof pragma, "PRAGMA application_id = %lld", (long long)application);
    if (rc == SQLITE_OK)
        rc = exec(d, pragma);
    snprintf(pragma, sizeof pragma, "PRAGMA user_version = %lld", (long long)to);
    if (rc == SQLITE_OK)
        rc = exec(d, pragma);
    if (rc == SQLITE_OK)
        rc = exec(d, "COMMIT");
    if (rc == SQLITE_OK)
        return 0;
    err_open(d, rc, "make the tables", e);
    rollback(d, rc);
    return -(int)e->code;
}

struct database_spec {
    const char *name, *pragmas;
    int flags;
    int64_t application;
    const char *const *steps; /* NULL: a second connection to a checked database */
    int64_t step_count;
    const char *const *sql;
};

static int database_prepare(struct database *d, const struct database_spec *spec, struct err *e)
{
    int64_t step = 0;
    int r = identity_check(d, spec->application, spec->step_count, &step, e);
    if (r == 0)
        r = integrity_check(d, e);
    if (r < 0)
        return r;
    int rc = exec(d, "PRAGMA journal_mode = WAL");
    if (rc != SQLITE_OK)
        return err_open(d, rc, "open", e);
    r = migrate(d, spec->application, spec->steps, step, spec->step_count, e);
    if (r < 0)
        return r;
    (void)sqlite3_db_config(d->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    (void)sqlite3_wal_hook(d->db, on_wal, d); /* in place of the automatic checkpoint */
    return 0;
}

/* Closing checkpoints, which writes to the file: not before we know that it is ours and whole. */
static int database_open(struct database *d, const char *dir, const struct database_spec *spec,
                         const struct limits *l, struct err *e)
{
    d->name = spec->name;
    d->path = xasprintf("%s/%s", dir, spec->name);
    d->sql = spec->sql;
    int rc = sqlite3_open_v2(d->path, &d->db, spec->flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return err_open(d, rc, "open", e);
    harden(d, l);
    (void)sqlite3_db_config(d->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    rc = exec(d, "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON");
    if (rc == SQLITE_OK)
        rc = exec(d, spec->pragmas);
    if (rc != SQLITE_OK)
        return err_open(d, rc, "open", e);
    return spec->steps ? database_prepare(d, spec, e) : 0;
}

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
    int rc = statement(d, HOB_EACH, &st), r = 0;
    if (rc != SQLITE_OK)
        return err_db(d, rc, "list objects", e);
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
    return r > 0 || rc == SQLITE_DONE ? 0 : err_db(d, rc, "list objects", e);
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
    int rc = statement(d, HOB_FIND, &st);
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
    rc = statement(&s->hob, c->json ? HOB_PUT : HOB_DELETE, &st);
    if (rc != SQLITE_OK)
        return rc;
    c->version = ++s->version_used;
    bind_key(st, c);
    if (c->json) {
        sqlite3_bind_int64(st, 4, c->version);
        sqlite3_bind_text(st, 5, c->json, -1, SQLITE_STATIC);
    }
    rc = step_done(st);
    (void)sqlite3_clear_bindings(st); /* they point into the change, which goes */
    return rc;
}

static int sqlite_apply(struct engine *en, const struct list *changes, struct err *e)
{
    struct sqlite_engine *s = self(en);
    int r = wal_check(&s->hob, e);
    if (r < 0)
        return r;
    const char *what = "begin";
    int rc = run(&s->hob, HOB_BEGIN);
    LIST_EACH(changes, n, tmp) {
        if (rc != SQLITE_OK)
            break;
        what = "change an object";
        rc = change_apply(s, CONTAINER_OF(n, struct engine_change, node));
    }
    if (rc == SQLITE_OK && s->version_used != s->version)
        rc = run_int(&s->hob, HOB_VERSION_SET, s->version_used);
    if (rc == SQLITE_OK) {
        what = "commit";
        rc = run(&s->hob, HOB_COMMIT);
    }
    if (rc != SQLITE_OK) {
        err_db(&s->hob, rc, what, e);
        rollback(&s->hob, rc);
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

/* ---- records ---- */

static int count_read(struct database *d, int64_t *ret)
{
    return query_int(d, "SELECT value FROM meta WHERE key = 'records'", ret);
}

static int function_find(struct database *d, const struct invocation_record *r, int64_t *ret)
{
    sqlite3_stmt *st;
    int rc = statement(d, REC_FUNCTION_FIND, &st);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_text(st, 1, r->ns, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, r->service, -1, SQLITE_STATIC);
    rc = sqlite3_step(st);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    int reset = sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : reset;
}

static int function_add(struct database *d, const struct invocation_record *r, int64_t *ret)
{
    sqlite3_stmt *st;
    int rc = statement(d, REC_FUNCTION_ADD, &st);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_text(st, 1, r->ns, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, r->service, -1, SQLITE_STATIC);
    rc = step_done(st);
    *ret = sqlite3_last_insert_rowid(d->db);
    return rc;
}

static void functions_forget(struct sqlite_engine *s)
{
    uint64_t seed = s->functions.seed;
    map_done(&s->functions);
    map_init(&s->functions, seed);
}

static int function_id(struct sqlite_engine *s, const struct invocation_record *r, int64_t *ret)
{
    char key[sizeof r->ns + sizeof r->service];
    size_t ns_size = strlen(r->ns) + 1, service_size = strlen(r->service);
    memcpy(key, r->ns, ns_size);
    memcpy(key + ns_size, r->service, service_size);
    struct str k = { key, ns_size + service_size };
    *ret = (int64_t)(intptr_t)map_find(&s->functions, k);
    if (*ret != 0)
        return SQLITE_OK;
    int rc = function_find(&s->telemetry, r, ret);
    if (rc == SQLITE_OK && *ret == 0)
        rc = function_add(&s->telemetry, r, ret);
    if (s->functions.count >= FUNCTIONS_CACHED_MAX)
        functions_forget(s);
    if (rc == SQLITE_OK)
        map_put(&s->functions, k, (void *)(intptr_t)*ret);
    return rc;
}

static char *start_text(const struct invocation_record *r)
{
    if (!r->has_start)
        return NULL;
    AUTO_JSON json_t *j = start_to_json(&r->start);
    return json_dumps(j, JSON_COMPACT);
}

static int64_t clamped(uint64_t n) { return (int64_t)MIN(n, (uint64_t)INT64_MAX); }

static int record_add(struct sqlite_engine *s, const struct invocation_record *r)
{
    AUTO_FREE char *start = start_text(r);
    int64_t function = 0;
    sqlite3_stmt *st;
    int rc = function_id(s, r, &function);
    if (rc == SQLITE_OK)
        rc = statement(&s->telemetry, REC_ADD, &st);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_blob(st, 1, r->id.at, sizeof r->id.at, SQLITE_STATIC);
    const int64_t numbers[] = {
        function,
        r->cold,
        r->status,
        r->outcome,
        r->wall_ms,
        clamped(r->arrival_us),
        r->dispatch_us,
        r->first_byte_us,
        r->total_us,
        r->queue_us,
        r->coverage_permille,
        clamped(r->request_bytes),
        clamped(r->response_bytes),
    };
    int column = 2;
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        sqlite3_bind_int64(st, column++, numbers[i]);
    const char *const texts[] = {
        r->revision, r->instance, r->method, r->path, r->error[0] ? r->error : NULL, start
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        sqlite3_bind_text(st, column++, texts[i], -1, SQLITE_STATIC);
    ASSERT(column == 21);
    rc = step_done(st);
    s->records += rc == SQLITE_OK ? sqlite3_changes(s->telemetry.db) : 0;
    (void)sqlite3_clear_bindings(st);
    return rc;
}

static int delete_some(struct sqlite_engine *s, unsigned which, int64_t count,
                       const struct uuid *before)
{
    sqlite3_stmt *st;
    int rc = statement(&s->telemetry, which, &st);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_int64(st, 1, count);
    if (before)
        sqlite3_bind_blob(st, 2, before->at, sizeof before->at, SQLITE_STATIC);
    rc = step_done(st);
    s->records -= rc == SQLITE_OK ? sqlite3_changes(s->telemetry.db) : 0;
    return rc;
}

/* Twice as many as came, so that a table over its bounds shrinks, and no batch pays for all of it. */
static int retain(struct sqlite_engine *s, int64_t came, int64_t wall_ms)
{
    int64_t may = MAX(2 * came, (int64_t)RETAIN_MIN);
    int64_t over = s->records - (int64_t)s->limits.records_max;
    int64_t oldest_ms = wall_ms - (int64_t)s->limits.records_age_s * 1000;
    int rc = SQLITE_OK;
    if (over > 0)
        rc = delete_some(s, REC_DELETE_OLDEST, MIN(over, may), NULL);
    if (rc == SQLITE_OK && oldest_ms > 0) {
        struct uuid before = { { 0 } };
        for (int i = 0; i < 6; i++) /* an id begins with its milliseconds, big end first */
            before.at[i] = (uint8_t)(oldest_ms >> (40 - 8 * i));
        rc = delete_some(s, REC_DELETE_BEFORE, may, &before);
    }
    return rc;
}

static int pages_add(struct sqlite_engine *s, const struct list *pages, int64_t *ret_came)
{
    struct invocation_record r;
    int rc = SQLITE_OK;
    LIST_EACH(pages, n, tmp) {
        const struct record_page *page = CONTAINER_OF(n, struct record_page, node);
        *ret_came += page->count;
        for (uint32_t at = 0; rc == SQLITE_OK && record_page_next(page, &at, &r);)
            rc = record_add(s, &r);
    }
    return rc;
}

static int sqlite_records_write(struct engine *en, const struct list *pages, int64_t wall_ms,
                                struct err *e)
{
    struct sqlite_engine *s = self(en);
    int64_t before = s->records, came = 0;
    int r = wal_check(&s->telemetry, e);
    if (r < 0)
        return r;
    int rc = run(&s->telemetry, REC_BEGIN);
    if (rc == SQLITE_OK)
        rc = pages_add(s, pages, &came);
    if (rc == SQLITE_OK)
        rc = retain(s, came, wall_ms);
    if (rc == SQLITE_OK && s->records != before)
        rc = run_int(&s->telemetry, REC_COUNT_SET, s->records);
    if (rc == SQLITE_OK)
        rc = run(&s->telemetry, REC_COMMIT);
    if (rc == SQLITE_OK)
        return 0;
    err_db(&s->telemetry, rc, "write records", e);
    rollback(&s->telemetry, rc);
    functions_forget(s); /* what the transaction added is gone */
    s->records = before;
    return -(int)e->code;
}

static void sqlite_tend(struct engine *en, bool idle, int64_t wall_ms)
{
    struct sqlite_engine *s = self(en);
    struct list none;
    struct err e;
    list_init(&none);
    if (idle && s->records > 0)
        (void)sqlite_records_write(en, &none, wall_ms, &e);
    if (s->hob.wal_frames >= (idle ? 1 : WAL_FRAMES_WANTED))
        checkpoint(&s->hob);
    if (s->telemetry.wal_frames >= (idle ? 1 : WAL_FRAMES_WANTED))
        checkpoint(&s->telemetry);
}

/* ---- reading records, on the reader thread ---- */

static int on_read_progress(void *ctx)
{
    struct sqlite_engine *s = ctx;
    return ++s->read_looks > READ_BUDGET;
}

static const char *record_query_sql(const struct record_query *q)
{
    static const char *const of_function =
        "SELECT " RECORD_COLUMNS " FROM record r JOIN function f ON f.id = r.function"
        " WHERE r.function IN (SELECT id FROM function WHERE (?2 = '' OR ns = ?2)"
        " AND (?3 = '' OR service = ?3)) ORDER BY r.id DESC LIMIT ?4";
    static const char *const cold =
        "SELECT " RECORD_COLUMNS " FROM record r JOIN function f ON f.id = r.function"
        " WHERE r.id IN (SELECT id FROM record WHERE cold = 1"
        " AND function IN (SELECT id FROM function WHERE (?2 = '' OR ns = ?2)"
        " AND (?3 = '' OR service = ?3)) ORDER BY id DESC LIMIT ?4) ORDER BY r.id DESC LIMIT ?4";
    if (q->by_id)
        return "SELECT " RECORD_COLUMNS " FROM record r JOIN function f ON f.id = r.function"
               " WHERE r.id = ?1 LIMIT ?4";
    if (q->cold_only)
        return cold;
    if (q->ns[0] || q->service[0])
        return of_function;
    return "SELECT " RECORD_COLUMNS " FROM record r JOIN function f ON f.id = r.function"
           " ORDER BY r.id DESC LIMIT ?4";
}

static void column_text(sqlite3_stmt *st, int column, char *into, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(st, column);
    snprintf(into, size, "%s", text ? text : "");
}

static void start_read(sqlite3_stmt *st, int column, struct invocation_record *into)
{
    const char *text = (const char *)sqlite3_column_text(st, column);
    struct err ignored;
    AUTO_JSON json_t *j = text ? json_loads(text, 0, NULL) : NULL;
    into->has_start = j && start_from_json(j, &into->start, &ignored) == 0;
}

static void row_read(sqlite3_stmt *st, struct invocation_record *into)
{
    const void *id = sqlite3_column_blob(st, 0);
    *into = (struct invocation_record){
        .cold = sqlite3_column_int(st, 3) != 0,
        .status = (uint16_t)sqlite3_column_int(st, 4),
        .outcome = (enum invocation_outcome)MIN(MAX(sqlite3_column_int(st, 5), 0),
                                                INVOCATION_OUTCOMES - 1),
        .wall_ms = sqlite3_column_int64(st, 6),
        .arrival_us = (uint64_t)sqlite3_column_int64(st, 7),
        .dispatch_us = (uint32_t)sqlite3_column_int64(st, 8),
        .first_byte_us = (uint32_t)sqlite3_column_int64(st, 9),
        .total_us = (uint32_t)sqlite3_column_int64(st, 10),
        .queue_us = (uint32_t)sqlite3_column_int64(st, 11),
        .coverage_permille = (uint32_t)sqlite3_column_int64(st, 12),
        .request_bytes = (uint64_t)sqlite3_column_int64(st, 13),
        .response_bytes = (uint64_t)sqlite3_column_int64(st, 14),
    };
    if (id && sqlite3_column_bytes(st, 0) == (int)sizeof into->id.at)
        memcpy(into->id.at, id, sizeof into->id.at);
    column_text(st, 1, into->ns, sizeof into->ns);
    column_text(st, 2, into->service, sizeof into->service);
    column_text(st, 15, into->revision, sizeof into->revision);
    column_text(st, 16, into->instance, sizeof into->instance);
    column_text(st, 17, into->method, sizeof into->method);
    column_text(st, 18, into->path, sizeof into->path);
    column_text(st, 19, into->error, sizeof into->error);
    start_read(st, 20, into);
}

static int err_read(struct sqlite_engine *s, int rc, struct err *e)
{
    if (rc == SQLITE_INTERRUPT)
        return err_set(e, CODE_DEADLINE, "%s: the query takes too long; name a service",
                       s->reader.path);
    return err_db(&s->reader, rc, "read records", e);
}

static int sqlite_records_read(struct engine *en, const struct record_query *q,
                               struct invocation_record **ret_rows, uint32_t *ret_count,
                               struct err *e)
{
    struct sqlite_engine *s = self(en);
    AUTO(stmt) sqlite3_stmt *st = NULL;
    AUTO_FREE struct invocation_record *rows = NULL;
    uint32_t count = 0, capacity = 0;
    s->read_looks = 0;
    int rc = sqlite3_prepare_v2(s->reader.db, record_query_sql(q), -1, &st, NULL);
    if (rc != SQLITE_OK)
        return err_read(s, rc, e);
    sqlite3_bind_blob(st, 1, q->id.at, sizeof q->id.at, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, q->ns, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, q->service, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 4, q->limit);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        ASSERT(count < q->limit);
        if (count == capacity) {
            capacity = MIN(MAX(capacity * 2, 4U), q->limit);
            rows = xrealloc(rows, capacity, sizeof *rows);
        }
        row_read(st, &rows[count++]);
    }
    if (rc != SQLITE_DONE)
        return err_read(s, rc, e);
    *ret_rows = TAKE(rows);
    *ret_count = count;
    return 0;
}

/* ---- life ---- */

static void sqlite_close(struct engine *en)
{
    struct sqlite_engine *s = self(en);
    database_close(&s->reader); /* first: the last connection to close clears the log */
    database_close(&s->telemetry);
    database_close(&s->hob);
    map_done(&s->functions);
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
    .records_read = sqlite_records_read,
    .close = sqlite_close,
};

static int databases_open(struct sqlite_engine *s, const char *dir, struct err *e)
{
    static const char *const hob_steps[] = HOB_DB_STEPS;
    static const char *const telemetry_steps[] = TELEMETRY_DB_STEPS;
    const int make = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    /* Exclusive: a second hob on the same folder is refused, and there is no shared memory file. */
    const struct database_spec hob = {
        "hob.db",
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; PRAGMA cache_size = -2048",
        make,
        HOB_DB_APPLICATION,
        hob_steps,
        COUNT_OF(hob_steps),
        hob_sql
    };
    const struct database_spec telemetry = {
        "telemetry.db",
        "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -8192",
        make,
        TELEMETRY_DB_APPLICATION,
        telemetry_steps,
        COUNT_OF(telemetry_steps),
        rec_sql
    };
    const struct database_spec reader = { "telemetry.db",
                                          "PRAGMA query_only = ON; PRAGMA cache_size = -1024",
                                          SQLITE_OPEN_READWRITE,
                                          0,
                                          NULL,
                                          0,
                                          NULL };
    int r = database_open(&s->hob, dir, &hob, &s->limits, e);
    if (r == 0)
        r = database_open(&s->telemetry, dir, &telemetry, &s->limits, e);
    if (r == 0)
        r = database_open(&s->reader, dir, &reader, &s->limits, e);
    return r;
}

int sqlite_engine_open(const char *dir, const struct limits *limits, struct engine **ret,
                       struct err *e)
{
    AUTO(sqlite_engine) struct sqlite_engine *s = xcalloc(1, sizeof *s);
    s->engine.ops = &sqlite_ops;
    s->limits = *limits;
    map_init(&s->functions, (uint64_t)(uintptr_t)s); /* the names were accepted by the API before */
    int r = databases_open(s, dir, e);
    if (r < 0)
        return r;
    int rc = query_int(&s->hob, "SELECT value FROM meta WHERE key = 'version'", &s->version);
    if (rc != SQLITE_OK)
        return err_open(&s->hob, rc, "read the version", e);
    s->version_used = s->version;
    rc = exec(&s->telemetry, "DELETE FROM function WHERE NOT EXISTS"
                             " (SELECT 1 FROM record WHERE record.function = function.id)");
    if (rc == SQLITE_OK)
        rc = count_read(&s->telemetry, &s->records);
    if (rc != SQLITE_OK)
        return err_open(&s->telemetry, rc, "count records", e);
    sqlite3_progress_handler(s->reader.db, READ_STEPS, on_read_progress, s);
    *ret = &s->engine;
    s = NULL;
    return 0;
}
