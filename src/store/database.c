#include "store/database.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    BUSY_MS = 2000,
    PAGE_BYTES = 4096,
    CHECK_BYTES_MAX = 64 * 1024 * 1024, /* larger files are not read through at the start */
    LOG_BYTES_MAX = 65536 * PAGE_BYTES, /* when writing back fails for long: 256 MiB are enough */
};

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

int database_err(const struct database *d, int rc, const char *what, struct err *e)
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

int database_err_open(const struct database *d, int rc, const char *what, struct err *e)
{
    if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)
        return err_corrupt(d, cause(d, rc), e);
    return database_err(d, rc, what, e);
}

/* ---- one database ---- */

int database_exec(struct database *d, const char *sql)
{
    return sqlite3_exec(d->db, sql, NULL, NULL, NULL);
}

int database_statement(struct database *d, unsigned which, sqlite3_stmt **ret)
{
    ASSERT(which < DATABASE_STATEMENTS_MAX);
    int rc = SQLITE_OK;
    if (!d->statements[which])
        rc = sqlite3_prepare_v3(d->db, d->sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                                &d->statements[which], NULL);
    *ret = d->statements[which];
    return rc;
}

/* For statements without rows; the result code of the last call. */
int database_step(sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    int reset = sqlite3_reset(st);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? reset : rc;
}

int database_run(struct database *d, unsigned which)
{
    sqlite3_stmt *st;
    int rc = database_statement(d, which, &st);
    return rc == SQLITE_OK ? database_step(st) : rc;
}

int database_run_int(struct database *d, unsigned which, int64_t value)
{
    sqlite3_stmt *st;
    int rc = database_statement(d, which, &st);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_int64(st, 1, value);
    return database_step(st);
}

void database_rollback(struct database *d, int rc)
{
    for (unsigned i = 0; i < DATABASE_STATEMENTS_MAX; i++)
        if (d->statements[i])
            (void)sqlite3_reset(d->statements[i]);
    if (!sqlite3_get_autocommit(d->db))
        (void)database_exec(d, "ROLLBACK");
    if ((rc & 0xff) == SQLITE_CORRUPT)
        (void)sqlite3_db_release_memory(d->db);
}

int database_query_int(struct database *d, const char *sql, int64_t *ret)
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
void database_checkpoint(struct database *d)
{
    int left = 0, written = 0;
    int rc = sqlite3_wal_checkpoint_v2(d->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &left, &written);
    d->checkpoint.code = CODE_OK;
    if (rc == SQLITE_OK && written == left)
        d->wal_frames = 0;
    else if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
        database_err(d, rc, "checkpoint", &d->checkpoint);
}

int database_log_check(struct database *d, struct err *e)
{
    if ((uint64_t)d->wal_frames < d->log_frames_max)
        return 0;
    database_checkpoint(d);
    if ((uint64_t)d->wal_frames < d->log_frames_max)
        return 0;
    if (d->checkpoint.code == CODE_OK)
        return err_set(e, CODE_UNAVAILABLE, "%s: the log is full and is being read", d->path);
    *e = d->checkpoint;
    return -(int)e->code;
}

void database_close(struct database *d)
{
    for (unsigned i = 0; i < DATABASE_STATEMENTS_MAX; i++)
        (void)sqlite3_finalize(d->statements[i]);
    (void)sqlite3_close(d->db);
    free(d->path);
    *d = (struct database){ 0 };
}

static void harden(struct database *d, uint64_t value_bytes_max)
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
    (void)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, (int)MAX(value_bytes_max + 65536, 1000000U));
}

/* Before anything is written: is this ours, of a version we know, and whole? */
static int identity_check(struct database *d, int64_t application, int64_t steps, int64_t *ret_step,
                          struct err *e)
{
    int64_t id = 0, version = 0, tables = 0;
    int rc = database_query_int(d, "PRAGMA application_id", &id);
    if (rc == SQLITE_OK)
        rc = database_query_int(d, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK)
        rc = database_query_int(d, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc != SQLITE_OK)
        return database_err_open(d, rc, "open", e);
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
        return database_err_open(d, rc, "check", e);
    const char *verdict = (const char *)sqlite3_column_text(st, 0);
    if (!verdict || strcmp(verdict, "ok") != 0)
        return err_corrupt(d, verdict ? verdict : "unreadable", e);
    return 0;
}

static int migrate(struct database *d, int64_t application, const char *const *steps, int64_t from,
                   int64_t to, struct err *e)
{
    char pragma[64];
    int rc = from < to ? database_exec(d, "BEGIN IMMEDIATE") : SQLITE_OK;
    for (int64_t step = from; rc == SQLITE_OK && step < to; step++)
        rc = database_exec(d, steps[step]);
    if (from == to)
        return 0;
    snprintf(pragma, sizeof pragma, "PRAGMA application_id = %lld", (long long)application);
    if (rc == SQLITE_OK)
        rc = database_exec(d, pragma);
    snprintf(pragma, sizeof pragma, "PRAGMA user_version = %lld", (long long)to);
    if (rc == SQLITE_OK)
        rc = database_exec(d, pragma);
    if (rc == SQLITE_OK)
        rc = database_exec(d, "COMMIT");
    if (rc == SQLITE_OK)
        return 0;
    database_err_open(d, rc, "make the tables", e);
    database_rollback(d, rc);
    return -(int)e->code;
}

static int database_prepare(struct database *d, const struct database_spec *spec, struct err *e)
{
    int64_t step = 0;
    int r = identity_check(d, spec->application, spec->step_count, &step, e);
    if (r == 0)
        r = integrity_check(d, e);
    if (r < 0)
        return r;
    int rc = database_exec(d, "PRAGMA journal_mode = WAL");
    if (rc != SQLITE_OK)
        return database_err_open(d, rc, "open", e);
    r = migrate(d, spec->application, spec->steps, step, spec->step_count, e);
    if (r < 0)
        return r;
    (void)sqlite3_db_config(d->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    (void)sqlite3_wal_hook(d->db, on_wal, d); /* in place of the automatic checkpoint */
    return 0;
}

/* Secrets are in it, as they came. What SQLite makes beside the file from now on has its mode; what it made
 * before, for an older hob, does not. */
static int keep_private(const struct database *d, struct err *e)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        AUTO_FREE char *path = xasprintf("%s%s", d->path, ends[i]);
        if (chmod(path, 0600) < 0 && errno != ENOENT)
            return err_sys(e, "%s: make it private", path);
    }
    return 0;
}

/* Closing checkpoints, which writes to the file: not before we know that it is ours and whole. */
int database_open(struct database *d, const char *dir, const struct database_spec *spec,
                  const struct limits *l, struct err *e)
{
    d->path = xasprintf("%s/%s", dir, spec->name);
    d->sql = spec->sql;
    d->log_frames_max = (spec->log_bytes_max ? spec->log_bytes_max : LOG_BYTES_MAX) / PAGE_BYTES;
    int rc = sqlite3_open_v2(d->path, &d->db, spec->flags | SQLITE_OPEN_NOMUTEX, spec->vfs);
    if (rc != SQLITE_OK)
        return database_err_open(d, rc, "open", e);
    harden(d, spec->value_bytes_max ? spec->value_bytes_max : l->object_bytes_max);
    (void)sqlite3_db_config(d->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    int r = spec->steps ? keep_private(d, e) : 0;
    if (r < 0)
        return r;
    rc = database_exec(
        d, "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON");
    if (rc == SQLITE_OK)
        rc = database_exec(d, spec->pragmas);
    if (rc != SQLITE_OK)
        return database_err_open(d, rc, "open", e);
    return spec->steps ? database_prepare(d, spec, e) : 0;
}
