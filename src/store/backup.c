#include "store/backup.h"
#include "store/engine.h"
#include "store/journal_copy.h"
#include "store/journal_lister.h"
#include "store/journal_reader.h"

#include <stdio.h>
#include <unistd.h>

enum { READ_BYTES_MAX = 1024 * 1024, LIST_PAGE = 1000 };
/* More than any hob gives out between a backup and its loss; counters have 63 bits. */
#define LEAP "4294967296"

static void database_auto(struct database *d) { database_close(d); }
#define AUTO_DATABASE __attribute__((cleanup(database_auto)))

/* As a file that was made whole and is only looked at: no tables are made, nothing is written back. */
static void spec_for(bool objects, const struct limits *limits, struct database_spec *ret)
{
    if (objects) {
        sqlite_engine_spec(ret);
        ret->steps = NULL;
    } else {
        journal_sqlite_spec(ret, NULL, false);
        ret->value_bytes_max = limits->journal_value_bytes_max;
    }
    ret->flags = SQLITE_OPEN_READWRITE;
}

/* What SQLite may have made beside a file that nobody uses. */
static void beside_remove(const char *dir)
{
    static const char *const names[] = { BACKUP_OBJECTS, BACKUP_DURABLE }, *const ends[] = { "-wal", "-shm" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        for (size_t k = 0; k < COUNT_OF(ends); k++) {
            AUTO_FREE char *path = xasprintf("%s/%s%s", dir, names[i], ends[k]);
            (void)unlink(path);
        }
}

/* ---- copying ---- */

int backup_copy(const char *data, const char *into, const struct limits *limits, struct err *e)
{
    static const _Atomic bool closing;
    AUTO_FREE char *objects = xasprintf("%s/" BACKUP_OBJECTS, into), *durable = xasprintf("%s/" BACKUP_DURABLE, into);
    AUTO_DATABASE struct database d = { 0 };
    struct database_spec spec;
    uint64_t bytes;
    spec_for(true, limits, &spec);
    int r = database_open(&d, data, &spec, limits, e);
    if (r < 0)
        return r;
    /* Held from here on, so no hob begins meanwhile. */
    if (database_exec(&d, "BEGIN IMMEDIATE; COMMIT") != SQLITE_OK)
        return err_set(e, CODE_UNAVAILABLE, "%s: %s", d.path, sqlite3_errmsg(d.db));
    r = journal_copy_make(data, limits, durable, &closing, &bytes, e);
    return r < 0 ? r : database_copy(&d, objects, &closing, &bytes, e);
}

/* ---- checking ---- */

static int identity(struct database *d, const struct database_spec *spec, struct err *e)
{
    int64_t id = 0, version = 0;
    int rc = database_query_int(d, "PRAGMA application_id", &id);
    if (rc == SQLITE_OK)
        rc = database_query_int(d, "PRAGMA user_version", &version);
    if (rc != SQLITE_OK)
        return database_err_open(d, rc, "open", e);
    if (id != spec->application)
        return err_set(e, CODE_PRECONDITION, "%s: this is the database of something else", d->path);
    if (version > spec->step_count)
        return err_set(e, CODE_PRECONDITION, "%s: schema %lld was written by a newer hob; this one knows up to %lld", d->path,
                       (long long)version, (long long)spec->step_count);
    return 0;
}

static int pages_check(struct database *d, struct err *e)
{
    AUTO(stmt) sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(d->db, "PRAGMA integrity_check(1)", -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    const char *verdict = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
    if (verdict && strcmp(verdict, "ok") == 0)
        return 0;
    if (rc != SQLITE_ROW)
        return database_err_open(d, rc, "check", e);
    return err_set(e, CODE_DATA_LOSS, "%s: %s", d->path, verdict ? verdict : "unreadable");
}

static int checked_open(struct database *d, const char *dir, bool objects, const struct limits *limits, struct err *e)
{
    struct database_spec spec;
    spec_for(objects, limits, &spec);
    AUTO_FREE char *path = xasprintf("%s/%s", dir, spec.name);
    if (access(path, F_OK) < 0)
        return err_set(e, CODE_NOT_FOUND, "%s: there is no such file", path);
    int r = database_open(d, dir, &spec, limits, e);
    if (r == 0)
        r = identity(d, &spec, e);
    return r == 0 ? pages_check(d, e) : r;
}

struct look { /* at durable.db */
    struct database keys;
    struct journal_reader *reader;
    struct journal_lister *lister;
    struct journal_stats stats;
    struct backup_facts *facts;
};

static void look_auto(struct look *k)
{
    journal_reader_close(k->reader);
    journal_lister_close(k->lister);
    database_close(&k->keys);
}

static int history_check(struct look *k, const struct journal_key *key, struct err *e)
{
    for (uint64_t from = 1;;) {
        struct journal_read q = { .key = *key, .from = from, .to = UINT64_C(1) << 24, .bytes_max = READ_BYTES_MAX };
        struct journal_rows rows = { 0 };
        struct keep keep = { 0 };
        int r = journal_reader_read(k->reader, &q, &keep, &rows, e);
        k->facts->rows += r == 0 ? rows.count : 0;
        bool more = r == 0 && rows.count > 0;
        if (more)
            from = rows.rows[rows.count - 1].first + rows.rows[rows.count - 1].count;
        keep_done(&keep);
        if (!more || from >= q.to)
            return r;
    }
}

static int entity_check(struct look *k, const struct journal_key *key, struct err *e)
{
    struct journal_loaded loaded;
    struct keep keep = { 0 };
    int r = journal_reader_load(k->reader, key, &keep, &loaded, e);
    keep_done(&keep);
    k->facts->entities++;
    return r < 0 ? r : history_check(k, key, e);
}

static int entities_check(struct look *k, struct err *e)
{
    AUTO(stmt) sqlite3_stmt *st = NULL;
    int r = 0, rc = sqlite3_prepare_v2(k->keys.db,
                                       "SELECT e.kind, s.name, e.name, e.run FROM entity e LEFT JOIN space s ON s.id = e.ns"
                                       " ORDER BY e.id", -1, &st, NULL);
    while (rc == SQLITE_OK && r == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct journal_key key = { .kind = (enum journal_kind)sqlite3_column_int(st, 0) };
        const char *ns = (const char *)sqlite3_column_text(st, 1), *id = (const char *)sqlite3_column_text(st, 2);
        const void *run = sqlite3_column_blob(st, 3);
        if (!ns || !id || !run || sqlite3_column_bytes(st, 3) != (int)sizeof key.run)
            return err_set(e, CODE_DATA_LOSS, "%s: a row has no key", k->keys.path);
        key.ns = str_of(ns);
        key.id = str_of(id);
        memcpy(&key.run, run, sizeof key.run);
        r = entity_check(k, &key, e);
        rc = SQLITE_OK;
    }
    return r < 0 || rc == SQLITE_DONE ? r : database_err_open(&k->keys, rc, "read", e);
}

static int list_check(struct look *k, enum journal_kind kind, struct str ns, struct err *e)
{
    const struct journal_list q = { .kind = kind, .ns = ns, .limit = LIST_PAGE };
    AUTO_FREE char *after = NULL;
    size_t after_size = 0;
    for (;;) {
        struct keep keep = { 0 };
        struct journal_listed page = { 0 };
        int r = journal_lister_list(k->lister, &q, (struct str){ after, after_size }, &keep, &page, e);
        bool more = r == 0 && page.next.size > 0;
        if (more) {
            after = xrealloc(after, 1, page.next.size);
            after_size = page.next.size;
            memcpy(after, page.next.at, after_size);
        }
        keep_done(&keep);
        if (!more)
            return r;
    }
}

/* Index columns and attributes have sums of their own, which only lists look at. */
static int lists_check(struct look *k, struct err *e)
{
    AUTO(stmt) sqlite3_stmt *st = NULL;
    int r = 0, rc = sqlite3_prepare_v2(k->keys.db, "SELECT DISTINCT e.kind, s.name FROM entity e JOIN space s ON s.id = e.ns",
                                       -1, &st, NULL);
    while (rc == SQLITE_OK && r == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *ns = (const char *)sqlite3_column_text(st, 1);
        r = list_check(k, (enum journal_kind)sqlite3_column_int(st, 0), str_of(ns ? ns : ""), e);
        rc = SQLITE_OK;
    }
    return r < 0 || rc == SQLITE_DONE ? r : database_err_open(&k->keys, rc, "list", e);
}

static int durable_check(const char *dir, const struct limits *limits, struct backup_facts *facts, struct err *e)
{
    static const _Atomic bool closing;
    __attribute__((cleanup(look_auto))) struct look k = { .facts = facts };
    int r = checked_open(&k.keys, dir, false, limits, e);
    if (r == 0)
        r = journal_reader_open(dir, limits, &k.stats, &k.reader, e);
    if (r == 0)
        r = journal_lister_open(dir, limits, &k.stats, &closing, &k.lister, e);
    if (r == 0)
        r = entities_check(&k, e);
    if (r == 0)
        r = lists_check(&k, e);
    uint64_t damaged = atomic_load(&k.stats.checksum_failures);
    return r == 0 && damaged > 0
               ? err_set(e, CODE_DATA_LOSS, "%s: the checksums of %llu rows do not fit", k.keys.path, (unsigned long long)damaged)
               : r;
}

static int objects_check(const char *dir, const struct limits *limits, struct backup_facts *facts, struct err *e)
{
    AUTO_DATABASE struct database d = { 0 };
    int64_t count = 0;
    int r = checked_open(&d, dir, true, limits, e);
    if (r < 0)
        return r;
    int rc = database_query_int(&d, "SELECT count(*) FROM object WHERE json_valid(json)", &count);
    facts->objects = (uint64_t)count;
    if (rc == SQLITE_OK)
        rc = database_query_int(&d, "SELECT count(*) FROM object", &count);
    if (rc != SQLITE_OK)
        return database_err_open(&d, rc, "count", e);
    return (uint64_t)count == facts->objects ? 0 : err_set(e, CODE_DATA_LOSS, "%s: an object is no JSON", d.path);
}

int backup_check(const char *dir, const struct limits *limits, struct backup_facts *ret, struct err *e)
{
    struct backup_facts facts = { 0 };
    int r = durable_check(dir, limits, &facts, e);
    if (r == 0)
        r = objects_check(dir, limits, &facts, e);
    beside_remove(dir);
    if (r == 0)
        *ret = facts;
    return r;
}

/* ---- leaping ---- */

static int leap(const char *dir, bool objects, const struct limits *limits, struct err *e)
{
    AUTO_DATABASE struct database d = { 0 };
    struct database_spec spec;
    spec_for(objects, limits, &spec);
    spec.pragmas = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL";
    int r = database_open(&d, dir, &spec, limits, e);
    if (r < 0)
        return r;
    int rc = database_exec(&d, objects ? "UPDATE meta SET value = value + " LEAP " WHERE key = 'version'"
                                       : "UPDATE meta SET value = value + " LEAP " WHERE key = 'epoch'");
    return rc == SQLITE_OK ? 0 : database_err_open(&d, rc, "leap", e);
}

int backup_leap(const char *dir, const struct limits *limits, struct err *e)
{
    int r = leap(dir, true, limits, e);
    if (r == 0)
        r = leap(dir, false, limits, e);
    beside_remove(dir);
    return r;
}
