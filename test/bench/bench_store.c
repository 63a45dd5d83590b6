/* bench_store FOLDER [ROUNDS] -- acknowledged objects per second at several numbers of changes in
 * flight, against one connection of SQLite that commits transactions of that size (both synchronous,
 * WAL; interleaved); and invocation records per second. One JSON object per line. */
#include "store/store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NAMES = 1000, BYTES = 400, ROUND_MS = 200, ROUNDS_MAX = 50, FLIGHT_MAX = 512 };

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_store: %s: %s\n", what, why);
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

static char names[NAMES][16], json[BYTES];

/* ---- the floor: nothing but SQLite ---- */

static sqlite3 *raw;
static sqlite3_stmt *raw_put;

static void raw_exec(const char *sql)
{
    if (sqlite3_exec(raw, sql, NULL, NULL, NULL) != SQLITE_OK)
        die(sql, sqlite3_errmsg(raw));
}

static void raw_open(const char *dir)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/raw.db", dir);
    if (sqlite3_open(path, &raw) != SQLITE_OK)
        die(path, sqlite3_errmsg(raw));
    raw_exec(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
        "CREATE TABLE object(kind TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL,"
        " version INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY(kind, ns, name)) STRICT");
    const char *put = "INSERT INTO object VALUES('services', 'default', ?1, ?2, ?3)"
                      " ON CONFLICT(kind, ns, name) DO UPDATE SET version = ?2, json = ?3";
    if (sqlite3_prepare_v2(raw, put, -1, &raw_put, NULL) != SQLITE_OK)
        die(put, sqlite3_errmsg(raw));
}

static double raw_round(int batch)
{
    static int64_t version;
    double begin = now_s(), end;
    uint64_t rows = 0;
    do {
        raw_exec("BEGIN IMMEDIATE");
        for (int i = 0; i < batch; i++, rows++) {
            sqlite3_bind_text(raw_put, 1, names[version % NAMES], -1, SQLITE_STATIC);
            sqlite3_bind_int64(raw_put, 2, ++version);
            sqlite3_bind_text(raw_put, 3, json, -1, SQLITE_STATIC);
            if (sqlite3_step(raw_put) != SQLITE_DONE)
                die("raw", sqlite3_errmsg(raw));
            sqlite3_reset(raw_put);
        }
        raw_exec("COMMIT");
        end = now_s();
    } while (end - begin < ROUND_MS / 1e3);
    return (double)rows / (end - begin);
}

/* ---- objects ---- */

static struct {
    struct loop *loop;
    struct store *store;
    uint64_t acked, next;
    int in_flight;
    bool stopping;
} b;
static struct store_change changes[FLIGHT_MAX];

static void put(struct store_change *c);
static void on_done(struct store_change *c, int r, int64_t version, const struct err *e)
{
    (void)version;
    if (r < 0)
        die("change", e->text);
    b.acked++;
    b.in_flight--;
    if (!b.stopping)
        put(c);
}
static void put(struct store_change *c)
{
    struct err e;
    *c = (struct store_change){ .kind = "services",
                                .ns = "default",
                                .name = names[b.next++ % NAMES],
                                .json = json,
                                .expect_version = STORE_ANY_VERSION,
                                .on_done = on_done };
    if (store_submit(b.store, c, &e) < 0)
        die("submit", e.text);
    b.in_flight++;
}

static double ours_round(int in_flight)
{
    struct err e;
    double begin = now_s();
    b.acked = 0;
    b.stopping = false;
    for (int i = 0; i < in_flight; i++)
        put(&changes[i]);
    while (b.in_flight > 0) {
        b.stopping = b.stopping || now_s() - begin >= ROUND_MS / 1e3;
        if (loop_turn(b.loop, true, &e) < 0)
            die("loop", e.text);
    }
    return (double)b.acked / (now_s() - begin);
}

static void objects(int in_flight, int rounds)
{
    double ours[ROUNDS_MAX], floor[ROUNDS_MAX];
    for (int i = 0; i < rounds; i++) {
        floor[i] = raw_round(in_flight);
        ours[i] = ours_round(in_flight);
    }
    qsort(ours, (size_t)rounds, sizeof *ours, by_value);
    qsort(floor, (size_t)rounds, sizeof *floor, by_value);
    printf("{\"name\": \"store_objects_%d\", \"unit\": \"acknowledged/s\", \"p50\": %.0f, "
           "\"max\": %.0f, \"against\": \"sqlite, transactions of %d\", \"against_p50\": %.0f, "
           "\"ratio\": %.2f}\n",
           in_flight, ours[rounds / 2], ours[rounds - 1], in_flight, floor[rounds / 2],
           ours[rounds / 2] / floor[rounds / 2]);
}

/* ---- records ---- */

static bool asked;
static void on_query(struct record_query *q, int r, const struct invocation_record *rows,
                     uint32_t count, const struct err *e)
{
    (void)q;
    (void)rows;
    if (r < 0 || count != 1)
        die("query", r < 0 ? e->text : "a record is missing");
    asked = false;
}

static struct invocation_record record(uint64_t n, int functions)
{
    struct invocation_record r = { .wall_ms = loop_wall_ms(),
                                   .status = 200,
                                   .dispatch_us = 40,
                                   .arrival_us = n * 50,
                                   .first_byte_us = 900,
                                   .total_us = 1000,
                                   .request_bytes = 300,
                                   .response_bytes = 2000 };
    uint8_t random[10] = { 0 };
    memcpy(random + 2, &n, sizeof n);
    r.id = uuid_v7(r.wall_ms, random);
    snprintf(r.ns, sizeof r.ns, "default");
    snprintf(r.service, sizeof r.service, "function-%d", (int)(n % (uint64_t)functions));
    snprintf(r.revision, sizeof r.revision, "%s-00001", r.service);
    snprintf(r.instance, sizeof r.instance, "%.30s-x7k2q", r.service);
    snprintf(r.method, sizeof r.method, "POST");
    snprintf(r.path, sizeof r.path, "/v1/classify");
    return r;
}

/* Hands `count` records over, then asks for the last one, which waits for all before it. */
static void records(uint64_t first, uint64_t count, int functions)
{
    struct err e;
    struct invocation_record r = { 0 };
    double handing = 0, begin = now_s();
    for (uint64_t n = first; n < first + count; n++) {
        r = record(n, functions);
        double before = now_s();
        store_record(b.store, &r);
        handing += now_s() - before;
    }
    struct record_query q = { .by_id = true, .id = r.id, .limit = 1, .on_done = on_query };
    asked = true;
    if (store_records(b.store, &q, &e) < 0)
        die("query", e.text);
    while (asked)
        if (loop_turn(b.loop, true, &e) < 0)
            die("loop", e.text);
    double took = now_s() - begin;
    printf("{\"name\": \"store_records_%d_functions\", \"unit\": \"records/s\", \"p50\": %.0f, "
           "\"records\": %llu, \"dropped\": %llu, \"loop_thread_us_each\": %.2f}\n",
           functions, (double)count / took, (unsigned long long)count,
           (unsigned long long)store_records_dropped(b.store), handing / (double)count * 1e6);
}

static void clean(const char *dir)
{
    static const char *const files[] = { "raw.db",          "raw.db-wal",   "hob.db",
                                         "hob.db-wal",      "telemetry.db", "telemetry.db-wal",
                                         "telemetry.db-shm" };
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        (void)unlink(path);
    }
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? atoi(argv[2]) : 9;
    struct limits limits;
    struct err e;
    if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX)
        die("usage", "bench_store FOLDER [ROUNDS]");
    for (int i = 0; i < NAMES; i++)
        snprintf(names[i], sizeof names[i], "f%d", i);
    memset(json, 'x', sizeof json - 1);
    limits_default(&limits);
    limits.records_waiting_max = 10000000;
    clean(argv[1]);
    raw_open(argv[1]);
    if (loop_open(&b.loop, &e) < 0 || store_open(b.loop, argv[1], &limits, &b.store, &e) < 0)
        die("open", e.text);
    static const int flights[] = { 1, 8, 64, 512 };
    for (size_t i = 0; i < COUNT_OF(flights); i++)
        objects(flights[i], rounds);
    records(0, 200000, 1);
    records(1000000, 200000, 1000);
    store_free(b.store);
    loop_free(b.loop);
    sqlite3_finalize(raw_put);
    sqlite3_close(raw);
    clean(argv[1]);
    return 0;
}
