/* records.h -- telemetry.db: a writing connection, a reading one, and the bounds of what is kept.
 *
 * Private to src/store/. records_read() may run beside the others, on a thread of its own; the rest
 * is for one thread at a time. */
#pragma once

#include "base/map.h"
#include "store/database.h"
#include "store/record_page.h"
#include "store/store.h"

struct records {
    struct limits limits;
    struct database writer, reader;
    int64_t count;
    struct map functions; /* "ns\0service" -> rowid; empty after a rollback */
    uint32_t looks;       /* of the query that runs; reader thread */
};

int records_open(struct records *s, const char *dir, const struct limits *limits,
                 struct err *e) MUST_USE;
void records_close(struct records *s);

/* As in engine.h. */
int records_write(struct records *s, const struct list *pages, int64_t wall_ms, struct err *e);
int records_read(struct records *s, const struct record_query *q,
                 struct invocation_record **ret_rows, uint32_t *ret_count, struct err *e);
