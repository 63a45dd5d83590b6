/* schema.h -- the tables, as steps: step n leads from version n to n + 1 and never changes again.
 *
 * STRICT throughout. `meta` holds what must never go back: the version of hob.db, and the count of
 * telemetry.db (counting a million rows at every start would be slow). */
#pragma once

// clang-format off
#define HOB_DB_APPLICATION       0x686f626f /* "hobo": objects */
#define TELEMETRY_DB_APPLICATION 0x686f6274 /* "hobt": telemetry */

#define HOB_DB_STEPS {                                                                              \
    "CREATE TABLE meta(key TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL)"                      \
    " STRICT, WITHOUT ROWID;"                                                                       \
    "INSERT INTO meta VALUES('version', 0);"                                                        \
    "CREATE TABLE object("                                                                          \
    " kind TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL,"                                    \
    " version INTEGER NOT NULL UNIQUE,"                                                             \
    " json TEXT NOT NULL,"                                                                          \
    " PRIMARY KEY(kind, ns, name)) STRICT;",                                                        \
}

/* Records are keyed by UUIDv7, so they are written at the end and the oldest are at the beginning:
 * the primary key is also the index by age. One narrow index finds those of a function, a partial
 * one the cold ones, which are few. */
#define TELEMETRY_DB_STEPS {                                                                        \
    "CREATE TABLE meta(key TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL)"                      \
    " STRICT, WITHOUT ROWID;"                                                                       \
    "INSERT INTO meta VALUES('records', 0);"                                                        \
    "CREATE TABLE function("                                                                        \
    " id INTEGER PRIMARY KEY, ns TEXT NOT NULL, service TEXT NOT NULL, UNIQUE(ns, service)) STRICT;"\
    "CREATE TABLE record("                                                                          \
    " id BLOB NOT NULL PRIMARY KEY,"                                                                \
    " function INTEGER NOT NULL REFERENCES function(id),"                                           \
    " cold INTEGER NOT NULL,"                                                                       \
    " status INTEGER NOT NULL, outcome INTEGER NOT NULL,"                                           \
    " wall_ms INTEGER NOT NULL, arrival_us INTEGER NOT NULL,"                                       \
    " dispatch_us INTEGER NOT NULL, first_byte_us INTEGER NOT NULL, total_us INTEGER NOT NULL,"     \
    " queue_us INTEGER NOT NULL, coverage_permille INTEGER NOT NULL,"                               \
    " request_bytes INTEGER NOT NULL, response_bytes INTEGER NOT NULL,"                             \
    " revision TEXT NOT NULL, instance TEXT NOT NULL,"                                              \
    " method TEXT NOT NULL, path TEXT NOT NULL, error TEXT,"                                        \
    " start TEXT) STRICT, WITHOUT ROWID;"                                                           \
    "CREATE INDEX record_function ON record(function);"                                             \
    "CREATE INDEX record_cold ON record(function) WHERE cold = 1;",                                 \
    /* NULL: the trace began here, and its id is the record's. */                                   \
    "ALTER TABLE record ADD COLUMN trace BLOB;"                                                     \
    "CREATE INDEX record_trace ON record(trace) WHERE trace IS NOT NULL;",                          \
}
// clang-format on
