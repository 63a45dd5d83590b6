/* database.h -- one SQLite file, opened the way hob trusts it: hardened, ours, of a known schema,
 * whole, in WAL mode, with its statements cached.
 *
 * Private to src/store/. One thread at a time. Functions that speak SQLite return its result code;
 * database_err() makes an error for people of it. Checkpoints happen when the owner asks, so that no
 * acknowledgement waits for one; a log that cannot be written back is bounded by refusing. */
#pragma once

#include "base/limits.h"

#include <sqlite3.h>

enum { DATABASE_STATEMENTS_MAX = 32 };

struct database {
    sqlite3 *db;
    char *path;
    const char *const *sql; /* texts of the statements below */
    sqlite3_stmt *statements[DATABASE_STATEMENTS_MAX]; /* prepared when first used */
    int wal_frames;        /* in the log, not written back */
    uint64_t log_frames_max;
    struct err checkpoint; /* why the last one did not succeed; code 0: it did */
};

struct database_spec {
    const char *name, *pragmas;
    const char *vfs; /* NULL: the usual one */
    uint64_t value_bytes_max; /* 0: an object's */
    uint64_t log_bytes_max;   /* 0: 256 MiB */
    int flags; /* SQLITE_OPEN_… */
    int64_t application;
    const char *const *steps; /* NULL: another connection to a file that was checked */
    int64_t step_count;
    const char *const *sql;
};

/* CODE_DATA_LOSS: corrupt; CODE_PRECONDITION: a newer schema, or not ours: either way not a byte of
 * the file was changed. CODE_UNAVAILABLE: the disk, or another process. Close it also when it fails. */
int database_open(struct database *d, const char *dir, const struct database_spec *spec,
                  const struct limits *l, struct err *e) MUST_USE;
void database_close(struct database *d);

/* CODE_UNAVAILABLE whatever the cause: while hob runs, what a disk does may pass. */
int database_err(const struct database *d, int rc, const char *what, struct err *e);
int database_err_open(const struct database *d, int rc, const char *what, struct err *e);

int database_exec(struct database *d, const char *sql);
int database_query_int(struct database *d, const char *sql, int64_t *ret);
int database_statement(struct database *d, unsigned which, sqlite3_stmt **ret);
int database_step(sqlite3_stmt *st); /* to the end, and reset */
int database_run(struct database *d, unsigned which);
int database_run_int(struct database *d, unsigned which, int64_t value);
/* Nothing of the transaction remains; a page that was read wrongly is read anew next time. */
void database_rollback(struct database *d, int rc);

void database_checkpoint(struct database *d);
int database_log_check(struct database *d, struct err *e) MUST_USE; /* before a transaction */

DEFINE_AUTO(stmt, sqlite3_stmt *, sqlite3_finalize)
