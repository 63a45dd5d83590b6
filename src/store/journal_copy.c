#include "store/journal_copy.h"
#include "os/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGES = 256 /* between looks whether the journal closes */ };

DEFINE_AUTO(sqlite, sqlite3 *, sqlite3_close)
static void database_auto(struct database *d) { database_close(d); }

static int pages_copy(struct database *from, sqlite3 *to, const char *part, const _Atomic bool *closing, struct err *e)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", from->db, "main");
    if (!b)
        return err_set(e, CODE_UNAVAILABLE, "%s: %s", part, sqlite3_errmsg(to));
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK && !atomic_load(closing))
        rc = sqlite3_backup_step(b, PAGES);
    (void)sqlite3_backup_finish(b);
    if (rc == SQLITE_OK)
        return err_set(e, CODE_CANCELLED, "%s: it closes", from->path);
    if (journal_sqlite_damaged(rc))
        return err_set(e, CODE_DATA_LOSS, "%s: a page is damaged; nothing was copied", from->path);
    return rc == SQLITE_DONE ? 0 : err_set(e, CODE_UNAVAILABLE, "%s: copy: %s", part, sqlite3_errstr(rc));
}

static int copy_check(sqlite3 *to, const char *part, struct err *e)
{
    AUTO(stmt) sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(to, "PRAGMA quick_check(1)", -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    const char *verdict = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : sqlite3_errmsg(to);
    if (verdict && strcmp(verdict, "ok") == 0)
        return 0;
    return err_set(e, CODE_DATA_LOSS, "%s: the copy is not whole: %s", part, verdict ? verdict : "unreadable");
}

/* The snapshot stands while the pages are copied, so commits meanwhile neither reach the copy nor begin it anew. */
static int copy_fill(struct database *from, const char *part, const _Atomic bool *closing, struct err *e)
{
    AUTO(sqlite) sqlite3 *to = NULL;
    int64_t tables;
    int rc = database_exec(from, "BEGIN");
    if (rc == SQLITE_OK)
        rc = database_query_int(from, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc != SQLITE_OK) {
        database_err(from, rc, "begin to copy", e);
        database_rollback(from, rc);
        return -(int)e->code;
    }
    rc = sqlite3_open_v2(part, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(to, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", NULL, NULL, NULL);
    int r = rc == SQLITE_OK ? pages_copy(from, to, part, closing, e)
                            : err_set(e, CODE_UNAVAILABLE, "%s: %s", part, sqlite3_errstr(rc));
    database_rollback(from, SQLITE_OK);
    return r == 0 ? copy_check(to, part, e) : r;
}

static int file_sync(const char *path, int flags, struct err *e)
{
    AUTO_CLOSE int fd = fault_hit("backup_open") ? -1 : open(path, flags | O_CLOEXEC);
    if (fd < 0 || fault_hit("backup_sync") || fsync(fd) < 0)
        return err_sys(e, "%s: make it durable", path);
    return 0;
}

static int copy_finish(const char *part, const char *path, uint64_t *ret_bytes, struct err *e)
{
    struct stat st;
    AUTO_FREE char *text = xstrdup(path);
    int r = file_sync(part, O_RDWR, e);
    if (r < 0)
        return r;
    if (stat(part, &st) < 0)
        return err_sys(e, "%s", part);
    if (fault_hit("backup_rename") || renameat2(AT_FDCWD, part, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
        return errno == EEXIST ? err_set(e, CODE_EXISTS, "%s: there is something already", path)
                               : err_sys(e, "%s: give it its name", path);
    *ret_bytes = (uint64_t)st.st_size;
    r = file_sync(dirname(text), O_RDONLY | O_DIRECTORY, e);
    if (r < 0)
        (void)unlink(path);
    return r;
}

int database_copy(struct database *from, const char *path, const _Atomic bool *closing, uint64_t *ret_bytes,
                  struct err *e)
{
    static const char *const ends[] = { "", "-journal", "-wal", "-shm" };
    AUTO_FREE char *part = xasprintf("%s.part", path);
    if (access(path, F_OK) == 0)
        return err_set(e, CODE_EXISTS, "%s: there is something already", path);
    AUTO_CLOSE int fd =
        fault_hit("backup_create") ? -1 : open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? err_set(e, CODE_EXISTS, "%s: another backup is being made there, or was cut off: remove it",
                                         part)
                               : err_sys(e, "%s", part);
    fd_auto(&fd);
    int r = copy_fill(from, part, closing, e);
    for (size_t i = 1; i < COUNT_OF(ends); i++) { /* as a WAL file it may have got them while it was checked */
        AUTO_FREE char *beside = xasprintf("%s%s", part, ends[i]);
        (void)unlink(beside);
    }
    if (r == 0)
        r = copy_finish(part, path, ret_bytes, e);
    if (r < 0)
        (void)unlink(part);
    return r;
}

int journal_copy_make(const char *dir, const struct limits *limits, const char *path, const _Atomic bool *closing,
                      uint64_t *ret_bytes, struct err *e)
{
    struct database_spec spec;
    __attribute__((cleanup(database_auto))) struct database from = { 0 };
    journal_sqlite_spec(&spec, NULL, false);
    spec.value_bytes_max = limits->journal_value_bytes_max;
    int r = database_open(&from, dir, &spec, limits, e);
    return r < 0 ? r : database_copy(&from, path, closing, ret_bytes, e);
}
