/* raw_commit FOLDER [ROUNDS] -- acknowledged creations per second of the durable journal, with as many outstanding as
 * said, against one connection of SQLite that commits the same rows into the same tables in transactions of that
 * size: both synchronous, WAL, interleaved. One JSON object per line. */
#include "base/rng.h"
#include "store/journal.h"
#include "store/journal_schema.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STATE_BYTES = 300, ROW_BYTES = 400, ROUND_MS = 400, ROUNDS_MAX = 50, FLIGHT_MAX = 64 };

static void die(const char *what, const char *why)
{
    fprintf(stderr, "raw_commit: %s: %s\n", what, why);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static char state[STATE_BYTES], row[ROW_BYTES];
static uint64_t serial; /* of what was created; both sides go on from it */
static struct rng rng = { 1 };

static struct uuid run_any(void)
{
    struct uuid u;
    for (unsigned i = 0; i < 16; i += 8) {
        uint64_t n = rng_next(&rng);
        memcpy(u.at + i, &n, 8);
    }
    return u;
}

/* ---- the floor: nothing but SQLite ---- */

static sqlite3 *raw;
static sqlite3_stmt *raw_find, *raw_entity, *raw_row, *raw_begin, *raw_commit;

static void raw_exec(const char *sql)
{
    if (sqlite3_exec(raw, sql, NULL, NULL, NULL) != SQLITE_OK)
        die(sql, sqlite3_errmsg(raw));
}
static sqlite3_stmt *raw_prepare(const char *sql)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v3(raw, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL) != SQLITE_OK)
        die(sql, sqlite3_errmsg(raw));
    return st;
}
static void raw_step(sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        die("step", sqlite3_errmsg(raw));
    sqlite3_reset(st);
}

static void raw_open(const char *dir)
{
    static const char *const steps[] = DURABLE_DB_STEPS;
    char path[4096];
    snprintf(path, sizeof path, "%s/raw.db", dir);
    if (sqlite3_open_v2(path, &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix-excl") != SQLITE_OK)
        die(path, sqlite3_errmsg(raw));
    raw_exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;"
             " PRAGMA wal_autocheckpoint = 2000");
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        raw_exec(steps[i]);
    raw_exec("INSERT INTO space VALUES(1, 'default')");
    raw_begin = raw_prepare("BEGIN IMMEDIATE");
    raw_commit = raw_prepare("COMMIT");
    raw_find = raw_prepare("SELECT id FROM entity WHERE kind = 2 AND ns = 1 AND name = ?1 AND current IS NOT NULL");
    raw_entity = raw_prepare(
        "INSERT INTO entity(kind, ns, name, run, current, version, open, ready, due, state_sum, sum, state, status, type,"
        " queue, start, execution, close, history_length, history_bytes, transitions, attribute_sum, index_sum, extra)"
        " VALUES(2, 1, ?1, ?2, 1, 1, 1, 1, ?3, 1, 1, ?4, 1, 'greet', 'q', ?3, ?3, 9223372036854775807, 1, 400, 1, 1, 1, x'')");
    raw_row = raw_prepare("INSERT INTO history(key, count, sum, bytes) VALUES(?1, 1, 1, ?2)");
}

static void raw_create(void)
{
    char id[64];
    struct uuid run = run_any();
    int size = snprintf(id, sizeof id, "invocation-%llu", (unsigned long long)++serial);
    sqlite3_bind_text(raw_find, 1, id, size, SQLITE_STATIC);
    raw_step(raw_find);
    sqlite3_bind_text(raw_entity, 1, id, size, SQLITE_STATIC);
    sqlite3_bind_blob(raw_entity, 2, run.at, sizeof run.at, SQLITE_STATIC);
    sqlite3_bind_int64(raw_entity, 3, (sqlite3_int64)serial);
    sqlite3_bind_blob(raw_entity, 4, state, sizeof state, SQLITE_STATIC);
    raw_step(raw_entity);
    sqlite3_bind_int64(raw_row, 1, sqlite3_last_insert_rowid(raw) << JOURNAL_NUMBER_BITS | 1);
    sqlite3_bind_blob(raw_row, 2, row, sizeof row, SQLITE_STATIC);
    raw_step(raw_row);
}

static double raw_round(unsigned flight)
{
    double start = now_s(), end;
    unsigned count = 0;
    do {
        raw_step(raw_begin);
        for (unsigned i = 0; i < flight; i++)
            raw_create();
        raw_step(raw_commit);
        count += flight;
    } while ((end = now_s()) - start < ROUND_MS / 1000.0);
    return count / (end - start);
}

/* ---- the journal ---- */

struct creation {
    struct journal_commit commit;
    struct journal_write write;
    struct journal_row history;
    struct journal_index index;
    char id[64];
};
static struct {
    struct loop *loop;
    struct journal *journal;
    struct creation at[FLIGHT_MAX];
    unsigned waiting, count;
    bool goes_on;
} hob;

static void create(struct creation *c);
static void on_done(struct journal_commit *commit, int r, const struct err *e)
{
    struct creation *c = CONTAINER_OF(commit, struct creation, commit);
    if (r < 0)
        die("commit", e->text);
    hob.waiting--;
    hob.count++;
    if (hob.goes_on)
        create(c);
}

static void create(struct creation *c)
{
    struct err e;
    int size = snprintf(c->id, sizeof c->id, "invocation-%llu", (unsigned long long)++serial);
    c->history = (struct journal_row){ 1, 1, { row, sizeof row } };
    c->index = (struct journal_index){ .status = 1, .type = STR("greet"), .queue = STR("q"),
                                       .start_ns = (int64_t)serial, .execution_ns = (int64_t)serial,
                                       .close_ns = JOURNAL_NEVER, .history_length = 1, .history_bytes = 400,
                                       .transitions = 1 };
    c->write = (struct journal_write){ .op = JOURNAL_CREATE,
                                       .key = { JOURNAL_INVOCATION, STR("default"), { c->id, (size_t)size }, run_any() },
                                       .state = { state, sizeof state }, .open = true, .ready = true,
                                       .due_ms = (int64_t)serial, .rows = &c->history, .row_count = 1,
                                       .index = &c->index };
    c->commit = (struct journal_commit){ .writes = &c->write, .count = 1, .on_done = on_done };
    hob.waiting++;
    if (journal_submit(hob.journal, &c->commit, &e) < 0)
        die("submit", e.text);
}

static double hob_round(unsigned flight)
{
    struct err e;
    double start = now_s();
    hob.count = 0;
    hob.goes_on = true;
    for (unsigned i = 0; i < flight; i++)
        create(&hob.at[i]);
    while (hob.waiting > 0) {
        if (loop_turn(hob.loop, true, &e) < 0)
            die("loop", e.text);
        hob.goes_on = now_s() - start < ROUND_MS / 1000.0;
    }
    return hob.count / (now_s() - start);
}

int main(int argc, char **argv)
{
    static const unsigned flights[] = { 1, 16, 64 };
    struct limits limits;
    struct err e;
    int rounds = argc > 2 ? atoi(argv[2]) : 9;
    if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX)
        die("usage", "raw_commit FOLDER [ROUNDS]");
    limits_default(&limits);
    raw_open(argv[1]);
    if (loop_open(&hob.loop, &e) < 0 || journal_open(hob.loop, argv[1], &limits, &hob.journal, &e) < 0)
        die("open", e.text);
    for (size_t f = 0; f < COUNT_OF(flights); f++) {
        double raws[ROUNDS_MAX], hobs[ROUNDS_MAX], ratios[ROUNDS_MAX];
        for (int i = 0; i < rounds; i++) {
            raws[i] = raw_round(flights[f]);
            hobs[i] = hob_round(flights[f]);
            ratios[i] = hobs[i] / raws[i];
        }
        qsort(raws, (size_t)rounds, sizeof *raws, by_value);
        qsort(hobs, (size_t)rounds, sizeof *hobs, by_value);
        qsort(ratios, (size_t)rounds, sizeof *ratios, by_value);
        printf("{\"outstanding\":%u,\"raw_per_s\":%.0f,\"journal_per_s\":%.0f,\"ratio\":%.2f}\n", flights[f],
               raws[rounds / 2], hobs[rounds / 2], ratios[rounds / 2]);
    }
    journal_free(hob.journal);
    loop_free(hob.loop);
    return 0;
}
