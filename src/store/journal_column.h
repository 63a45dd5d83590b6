/* journal_column.h -- what the columns of a row of durable.db say. Private to src/store/. */
#pragma once

#include "store/journal_sum.h"
#include "store/keep.h"

#include <sqlite3.h>

static inline bool journal_column_uuid(sqlite3_stmt *st, int at, struct uuid *ret) /* false: it is none */
{
    const void *bytes = sqlite3_column_blob(st, at);
    bool fits = bytes && sqlite3_column_bytes(st, at) == (int)sizeof ret->at;
    if (fits)
        memcpy(ret->at, bytes, sizeof ret->at);
    return fits;
}

static inline struct str journal_column_str(struct keep *k, sqlite3_stmt *st, int at)
{
    const void *bytes = sqlite3_column_blob(st, at);
    return keep_str(k, bytes, bytes ? (size_t)sqlite3_column_bytes(st, at) : 0);
}

/* version, open, ready, due from `at` on; then the sum of the state and that of the head. False: damaged. */
static inline bool journal_column_head(sqlite3_stmt *st, int at, uint32_t key_sum, struct journal_write *w,
                                       uint32_t *ret_state_sum)
{
    w->expect = (uint64_t)sqlite3_column_int64(st, at);
    w->open = sqlite3_column_int64(st, at + 1) != 0;
    w->ready = sqlite3_column_type(st, at + 2) != SQLITE_NULL;
    w->due_ms = sqlite3_column_type(st, at + 3) != SQLITE_NULL ? sqlite3_column_int64(st, at + 3) : JOURNAL_NEVER;
    *ret_state_sum = (uint32_t)sqlite3_column_int64(st, at + 4);
    return journal_sum_head(key_sum, w, *ret_state_sum) == (uint32_t)sqlite3_column_int64(st, at + 5);
}
