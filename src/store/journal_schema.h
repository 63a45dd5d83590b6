/* journal_schema.h -- the tables of durable.db, as steps: step n leads from version n to n + 1 and never changes
 * again.
 *
 * meta      the epoch: who owns the journal; probes: what is written to see whether the disk is well again.
 * space     namespaces by number, so that indexes stay narrow.
 * entity    one row for each run. What is changed most and what is read least stand last. `current` holds the
 *           sum of the key where the run is the current one of its id. close is INT64_MAX while it is open, so
 *           that lists are one index read backwards. Texts that are empty are NULL: they match no filter.
 * history   key: entity << 24 | number of the first; so rows of one entity lie together and need no index.
 * attribute what lists are filtered by beside the columns of entity. */
#pragma once

// clang-format off
#define DURABLE_DB_APPLICATION   0x686f6264 /* "hobd" */
#define JOURNAL_NUMBER_BITS      24         /* of a history: 16 million numbers */

#define DURABLE_DB_STEPS {                                                                          \
    "CREATE TABLE meta(key TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL)"                      \
    " STRICT, WITHOUT ROWID;"                                                                       \
    "INSERT INTO meta VALUES('epoch', 0), ('probes', 0);"                                           \
    "CREATE TABLE space(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"                 \
    "CREATE TABLE entity("                                                                          \
    " id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, ns INTEGER NOT NULL REFERENCES space(id),"     \
    " name TEXT NOT NULL, run BLOB NOT NULL, current INTEGER,"                                      \
    " version INTEGER NOT NULL, open INTEGER NOT NULL, ready INTEGER, due INTEGER,"                 \
    " state_sum INTEGER NOT NULL, sum INTEGER NOT NULL,"                                            \
    " status INTEGER NOT NULL, type TEXT, queue TEXT,"                                              \
    " start INTEGER NOT NULL, execution INTEGER NOT NULL, close INTEGER NOT NULL,"                  \
    " history_length INTEGER NOT NULL, history_bytes INTEGER NOT NULL, transitions INTEGER NOT NULL," \
    " parent_id TEXT, parent_run BLOB, root_id TEXT, root_run BLOB, division TEXT,"                 \
    " attribute_sum INTEGER NOT NULL, index_sum INTEGER NOT NULL,"                                  \
    " extra BLOB NOT NULL, state BLOB NOT NULL,"                                                    \
    " UNIQUE(kind, ns, name, run)) STRICT;"                                                         \
    "CREATE UNIQUE INDEX entity_current ON entity(kind, ns, name) WHERE current IS NOT NULL;"       \
    "CREATE INDEX entity_due ON entity(kind, due) WHERE due IS NOT NULL;"                           \
    "CREATE INDEX entity_ready ON entity(kind) WHERE ready IS NOT NULL;"                            \
    "CREATE INDEX entity_list ON entity(kind, ns, close, start);"                                   \
    "CREATE INDEX entity_type ON entity(kind, ns, type, close, start);"                             \
    "CREATE INDEX entity_parent ON entity(parent_run) WHERE parent_run IS NOT NULL;"                \
    "CREATE TABLE history(key INTEGER PRIMARY KEY, count INTEGER NOT NULL, sum INTEGER NOT NULL,"   \
    " bytes BLOB NOT NULL) STRICT;"                                                                 \
    "CREATE TABLE attribute(entity INTEGER NOT NULL, name TEXT NOT NULL, type INTEGER NOT NULL,"    \
    " ordinal INTEGER NOT NULL, value ANY NOT NULL,"                                                \
    " PRIMARY KEY(entity, name, type, ordinal)) STRICT, WITHOUT ROWID;"                             \
    "CREATE INDEX attribute_value ON attribute(name, type, value);",                                \
}
// clang-format on
