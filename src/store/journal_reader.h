/* journal_reader.h -- one connection that answers questions about single entities and due times.
 *
 * Private to src/store/. One thread at a time. It sees what was committed before it was asked. A row whose
 * checksum does not fit is refused (CODE_DATA_LOSS) where it was asked for by its key; scans leave it out, so that
 * the others go on, and it is counted. */
#pragma once

#include "store/journal_sqlite.h"
#include "store/keep.h"

struct journal_reader;
int journal_reader_open(const char *dir, const struct limits *limits, struct journal_stats *stats,
                        struct journal_reader **ret, struct err *e) MUST_USE;
void journal_reader_close(struct journal_reader *r); /* NULL is fine */
DEFINE_AUTO(journal_reader, struct journal_reader *, journal_reader_close)

/* What comes out lies in `keep`. */
struct journal_loaded {
    struct journal_write now;
    struct uuid current;
};
int journal_reader_load(struct journal_reader *r, const struct journal_key *key, struct keep *keep,
                        struct journal_loaded *ret, struct err *e) MUST_USE;

enum { JOURNAL_READ_ROWS_MAX = 10000 };
struct journal_rows {
    struct journal_row *rows;
    size_t count;
};
int journal_reader_read(struct journal_reader *r, const struct journal_read *q, struct keep *keep,
                        struct journal_rows *ret, struct err *e) MUST_USE;

struct journal_keys {
    struct journal_key *keys;
    int64_t *dues;
    size_t count;
    uint64_t next;
};
int journal_reader_scan(struct journal_reader *r, const struct journal_scan *q, bool due, struct keep *keep,
                        struct journal_keys *ret, struct err *e) MUST_USE;
