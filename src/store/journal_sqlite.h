/* journal_sqlite.h -- durable.db written by SQLite: commits, each for itself, many in one transaction.
 *
 * Private to src/store/; journal.c brings the queue and the threads. One thread at a time, but for the counts.
 *
 * What is acknowledged lasts, also when a sync fails: the frames of the transaction that failed lie behind the
 * last acknowledged one in the log, nothing reads them, and the next transaction writes that place anew before
 * it syncs; a sync is never merely tried again. A log that an earlier process left is written anew, byte for byte,
 * before anything is built upon it, as the kernel may have taken what that process could not sync for written. */
#pragma once

#include "store/database.h"
#include "store/journal.h"

#include <stdatomic.h>

struct journal_item { /* one commit, copied */
    struct list_node node;
    struct journal_commit *owner;
    size_t bytes; /* of all that was copied */
    int r;
    struct err e;
    size_t count;
    struct journal_write writes[JOURNAL_WRITES_MAX];
};

struct journal_stats { /* written by any thread */
    _Atomic uint64_t commits, transactions, rows_written, fsyncs, bytes_written;
    _Atomic uint64_t checksum_failures, fenced;
};

struct journal_sqlite;
int journal_sqlite_open(const char *dir, const struct limits *limits, struct journal_stats *stats,
                        struct journal_sqlite **ret, struct err *e) MUST_USE;
void journal_sqlite_close(struct journal_sqlite *s); /* NULL is fine */
DEFINE_AUTO(journal_sqlite, struct journal_sqlite *, journal_sqlite_close)

/* All items that can be, in one durable transaction, in order; each gets its own r. None: a durable write that
 * changes nothing. < 0: nothing was committed, and every item has that error. */
int journal_sqlite_write(struct journal_sqlite *s, struct list *items, struct err *e) MUST_USE;
void journal_sqlite_tend(struct journal_sqlite *s, bool idle); /* what no acknowledgement waits for */

/* How every connection to durable.db is opened. `main`: the one that writes, and makes the tables. */
void journal_sqlite_spec(struct database_spec *spec, const char *const *sql, bool main);
bool journal_sqlite_damaged(int rc); /* what SQLite says of a page that cannot be right */
/* CODE_DATA_LOSS, and counts it. */
int journal_sqlite_damage(struct journal_stats *stats, const struct journal_key *key, const char *what,
                          struct err *e);
