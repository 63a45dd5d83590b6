/* engine.h -- what store.c (queues, threads, acknowledgements) asks of a database.
 *
 * Private to src/store/. An engine knows nothing of the loop: it is called by one thread at a time,
 * except records_read, which a reader thread may call beside the others. It may block.
 * SQLite implements it in sqlite.c; PostgreSQL will beside it. */
#pragma once

#include "store/record_page.h"
#include "store/store.h"

struct engine_change {
    struct list_node node;
    const char *kind, *ns, *name, *json; /* as in store_change; live as long as this */
    int64_t expect_version;
    /* set by apply: */
    int r;
    int64_t version;
    struct err e;
};

struct engine;
struct engine_ops {
    int (*each)(struct engine *en, const char *kind,
                int (*on_object)(void *ctx, const struct store_object *o, struct err *e), void *ctx,
                struct err *e);
    int64_t (*version)(struct engine *en); /* highest committed */

    /* All changes of the list in one durable transaction, in order; each gets its own r. < 0: nothing
     * of it may be acknowledged, whatever the single results say. */
    int (*apply)(struct engine *en, const struct list *changes, struct err *e);
    /* A durable write that changes nothing: has the fault gone? */
    int (*probe)(struct engine *en, struct err *e);

    /* All pages in one transaction; < 0: nothing was written, try them again later. Records already
     * there are left as they are. Old ones go, a few for each new one. */
    int (*records_write)(struct engine *en, const struct list *pages, int64_t wall_ms,
                         struct err *e);
    /* What need not happen before an acknowledgement: checkpoints, and retention when `idle`. */
    void (*tend)(struct engine *en, bool idle, int64_t wall_ms);

    /* A whole copy of the objects at `path`, where nothing is; writes wait meanwhile. Reader thread, nothing beside it but
     * records_read. NULL: the engine has no files. */
    int (*copy)(struct engine *en, const char *path, const _Atomic bool *closing, uint64_t *ret_bytes, struct err *e);
    /* Up to q->limit rows; *ret_rows is the caller's to free. Reader thread. */
    int (*records_read)(struct engine *en, const struct record_query *q,
                        struct invocation_record **ret_rows, uint32_t *ret_count, struct err *e);
    void (*close)(struct engine *en);
};
struct engine {
    const struct engine_ops *ops;
};

struct database_spec;
void sqlite_engine_spec(struct database_spec *ret); /* how hob.db is opened */
int sqlite_engine_open(const char *dir, const struct limits *limits, struct engine **ret,
                       struct err *e) MUST_USE;

/* store_open() over an engine; takes it, also when it fails. */
int store_open_on(struct loop *l, struct engine *take_engine, const struct limits *limits,
                  struct store **ret, struct err *e) MUST_USE;
