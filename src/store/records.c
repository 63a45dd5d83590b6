#include "store/records.h"
#include "store/schema.h"
#include "telemetry/record_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RETAIN_MIN = 256,     /* old records deleted with one batch, at least */
    READ_STEPS = 1000,    /* virtual machine steps between looks at the budget */
    READ_BUDGET = 200000, /* looks: about ten seconds of scanning */
    FUNCTIONS_CACHED_MAX = 16384,
};

enum {
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
_Static_assert((int)REC_STATEMENTS <= DATABASE_STATEMENTS_MAX, "room for all");

static const char *const rec_sql[REC_STATEMENTS] = {
    [REC_BEGIN] = "BEGIN IMMEDIATE",
    [REC_COMMIT] = "COMMIT",
    [REC_FUNCTION_FIND] = "SELECT id FROM function WHERE ns = ?1 AND service = ?2",
    [REC_FUNCTION_ADD] = "INSERT INTO function(ns, service) VALUES(?1, ?2)",
    [REC_ADD] =
        ("INSERT OR IGNORE INTO record(id, function, cold, status, outcome, wall_ms, arrival_us,"
         " dispatch_us, first_byte_us, total_us, queue_us, coverage_permille, request_bytes,"
         " response_bytes, revision, instance, method, path, error, start, trace)"
         " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,"
         " ?18, ?19, ?20, ?21)"),
    [REC_COUNT_SET] = "UPDATE meta SET value = ?1 WHERE key = 'records'",
    [REC_DELETE_OLDEST] =
        "DELETE FROM record WHERE id IN (SELECT id FROM record ORDER BY id LIMIT ?1)",
    [REC_DELETE_BEFORE] =
        "DELETE FROM record WHERE id IN (SELECT id FROM record WHERE id < ?2 ORDER BY id LIMIT ?1)",
};
#define RECORD_COLUMNS \
    "r.id, f.ns, f.service, r.cold, r.status, r.outcome, r.wall_ms, r.arrival_us, r.dispatch_us," \
    " r.first_byte_us, r.total_us, r.queue_us, r.coverage_permille, r.request_bytes," \
    " r.response_bytes, r.revision, r.instance, r.method, r.path, r.error, r.start, r.trace"

/* ---- writing ---- */

static int function_find(struct database *d, const struct invocation_record *r, int64_t *ret)
{
    sqlite3_stmt *st;
    int rc = database_statement(d, REC_FUNCTION_FIND, &st);
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
    int rc = database_statement(d, REC_FUNCTION_ADD, &st);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_text(st, 1, r->ns, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, r->service, -1, SQLITE_STATIC);
    rc = database_step(st);
    *ret = sqlite3_last_insert_rowid(d->db);
    return rc;
}

static void functions_forget(struct records *s)
{
    uint64_t seed = s->functions.seed;
    map_done(&s->functions);
    map_init(&s->functions, seed);
}

static int function_id(struct records *s, const struct invocation_record *r, int64_t *ret)
{
    char key[sizeof r->ns + sizeof r->service];
    size_t ns_size = strlen(r->ns) + 1, service_size = strlen(r->service);
    memcpy(key, r->ns, ns_size);
    memcpy(key + ns_size, r->service, service_size);
    struct str k = { key, ns_size + service_size };
    *ret = (int64_t)(intptr_t)map_find(&s->functions, k);
    if (*ret != 0)
        return SQLITE_OK;
    int rc = function_find(&s->writer, r, ret);
    if (rc == SQLITE_OK && *ret == 0)
        rc = function_add(&s->writer, r, ret);
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

static bool trace_is_callers(const struct invocation_record *r)
{
    return !trace_id_none(&r->trace) && memcmp(r->trace.trace_id, r->id.at, sizeof r->id.at) != 0;
}

static int record_add(struct records *s, const struct invocation_record *r)
{
    AUTO_FREE char *start = start_text(r);
    int64_t function = 0;
    sqlite3_stmt *st;
    int rc = function_id(s, r, &function);
    if (rc == SQLITE_OK)
        rc = database_statement(&s->writer, REC_ADD, &st);
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
    if (trace_is_callers(r))
        sqlite3_bind_blob(st, 21, r->trace.trace_id, sizeof r->trace.trace_id, SQLITE_STATIC);
    rc = database_step(st);
    s->count += rc == SQLITE_OK ? sqlite3_changes(s->writer.db) : 0;
    (void)sqlite3_clear_bindings(st);
    return rc;
}

static int delete_some(struct records *s, unsigned which, int64_t count, const struct uuid *before)
{
    sqlite3_stmt *st;
    int rc = database_statement(&s->writer, which, &st);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_int64(st, 1, count);
    if (before)
        sqlite3_bind_blob(st, 2, before->at, sizeof before->at, SQLITE_STATIC);
    rc = database_step(st);
    s->count -= rc == SQLITE_OK ? sqlite3_changes(s->writer.db) : 0;
    return rc;
}

/* Twice as many as came, so that a table over its bounds shrinks, and no batch pays for all of it. */
static int retain(struct records *s, int64_t came, int64_t wall_ms)
{
    int64_t may = MAX(2 * came, (int64_t)RETAIN_MIN);
    int64_t over = s->count - (int64_t)s->limits.records_max;
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

static int pages_add(struct records *s, const struct list *pages, int64_t *ret_came)
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

int records_write(struct records *s, const struct list *pages, int64_t wall_ms, struct err *e)
{
    int64_t before = s->count, came = 0;
    int r = database_log_check(&s->writer, e);
    if (r < 0)
        return r;
    int rc = database_run(&s->writer, REC_BEGIN);
    if (rc == SQLITE_OK)
        rc = pages_add(s, pages, &came);
    if (rc == SQLITE_OK)
        rc = retain(s, came, wall_ms);
    if (rc == SQLITE_OK && s->count != before)
        rc = database_run_int(&s->writer, REC_COUNT_SET, s->count);
    if (rc == SQLITE_OK)
        rc = database_run(&s->writer, REC_COMMIT);
    if (rc == SQLITE_OK)
        return 0;
    database_err(&s->writer, rc, "write records", e);
    database_rollback(&s->writer, rc);
    functions_forget(s); /* what the transaction added is gone */
    s->count = before;
    return -(int)e->code;
}

/* ---- reading ---- */

static int on_read_progress(void *ctx)
{
    struct records *s = ctx;
    return ++s->looks > READ_BUDGET;
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
    if (q->by_trace)
        return "SELECT " RECORD_COLUMNS " FROM record r JOIN function f ON f.id = r.function"
               " WHERE r.id IN (SELECT id FROM record WHERE id = ?1 AND trace IS NULL"
               " UNION SELECT id FROM record WHERE trace = ?1) ORDER BY r.id LIMIT ?4";
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
    const void *trace = sqlite3_column_blob(st, 21);
    bool callers = trace && sqlite3_column_bytes(st, 21) == (int)sizeof into->trace.trace_id;
    memcpy(into->trace.trace_id, callers ? trace : into->id.at, sizeof into->trace.trace_id);
    column_text(st, 1, into->ns, sizeof into->ns);
    column_text(st, 2, into->service, sizeof into->service);
    column_text(st, 15, into->revision, sizeof into->revision);
    column_text(st, 16, into->instance, sizeof into->instance);
    column_text(st, 17, into->method, sizeof into->method);
    column_text(st, 18, into->path, sizeof into->path);
    column_text(st, 19, into->error, sizeof into->error);
    start_read(st, 20, into);
}

static int err_read(struct records *s, int rc, struct err *e)
{
    if (rc == SQLITE_INTERRUPT)
        return err_set(e, CODE_DEADLINE, "%s: the query takes too long; name a service",
                       s->reader.path);
    return database_err(&s->reader, rc, "read records", e);
}

int records_read(struct records *s, const struct record_query *q,
                 struct invocation_record **ret_rows, uint32_t *ret_count, struct err *e)
{
    AUTO(stmt) sqlite3_stmt *st = NULL;
    AUTO_FREE struct invocation_record *rows = NULL;
    uint32_t count = 0, capacity = 0;
    s->looks = 0;
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

int records_open(struct records *s, const char *dir, const struct limits *limits, struct err *e)
{
    static const char *const steps[] = TELEMETRY_DB_STEPS;
    const struct database_spec writer = {
        .name = "telemetry.db",
        .pragmas = "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -8192",
        .flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
        .application = TELEMETRY_DB_APPLICATION,
        .steps = steps,
        .step_count = COUNT_OF(steps),
        .sql = rec_sql,
    };
    const struct database_spec reader = {
        .name = "telemetry.db",
        .pragmas = "PRAGMA query_only = ON; PRAGMA cache_size = -1024",
        .flags = SQLITE_OPEN_READWRITE,
    };
    s->limits = *limits;
    map_init(&s->functions, (uint64_t)(uintptr_t)s); /* names that the API has accepted */
    int r = database_open(&s->writer, dir, &writer, limits, e);
    if (r == 0)
        r = database_open(&s->reader, dir, &reader, limits, e);
    if (r < 0)
        return r;
    int rc =
        database_exec(&s->writer, "DELETE FROM function WHERE NOT EXISTS"
                                  " (SELECT 1 FROM record WHERE record.function = function.id)");
    if (rc == SQLITE_OK)
        rc = database_query_int(&s->writer, "SELECT value FROM meta WHERE key = 'records'",
                                &s->count);
    if (rc != SQLITE_OK)
        return database_err_open(&s->writer, rc, "count records", e);
    sqlite3_progress_handler(s->reader.db, READ_STEPS, on_read_progress, s);
    return 0;
}

void records_close(struct records *s)
{
    database_close(&s->reader); /* first: the last connection to close clears the log */
    database_close(&s->writer);
    map_done(&s->functions);
}
