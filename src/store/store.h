/* store.h -- the contract of hob's durable state; `sqlite` implements it, `postgres` will.
 *
 * Receives objects (JSON text by kind, namespace and name), and invocation records.
 * Owns the database files and one writer thread that commits many callers' changes at once:
 * an object change is acknowledged (on_done) only after the commit, fsync included.
 * Emits results on the loop thread, in the order of submission, each exactly once.
 * Refuses: a change whose `expect_version` does not match (CODE_ABORTED), the deletion of what is
 * not there with STORE_ANY_VERSION (CODE_NOT_FOUND), more than limits.store_waiting_max waiting
 * changes or store_waiting_bytes_max of their text (CODE_EXHAUSTED), objects over object_bytes_max
 * (CODE_INVALID), anything while it closes (CODE_CANCELLED); and everything, with CODE_UNAVAILABLE,
 * while the disk refuses: nothing is acknowledged then, and writing resumes when the fault is gone.
 * A change refused so is not there while this process lives; only a crash before the next commit may
 * bring it to light. Changes that wait together share one transaction, and its failure.
 *
 * Two files: hob.db (objects; synchronous=FULL) and telemetry.db (records; synchronous=NORMAL, so
 * a power cut may lose the last moments of records and never an object).
 * No SQL, no SQLite type above this header.
 */
#pragma once

#include "base/limits.h"
#include "os/loop.h"
#include "telemetry/record.h"

struct store;

/* dir: an existing folder that this process may write. Migrates the schema; refuses a database of a
 * newer hob or of something else (CODE_PRECONDITION), a corrupt one (CODE_DATA_LOSS), naming the file
 * and leaving it alone, and one that another process has open (CODE_UNAVAILABLE, after 2 s). */
int store_open(struct loop *l, const char *dir, const struct limits *limits, struct store **ret,
               struct err *e) MUST_USE;
/* Commits what was submitted, calls the outstanding on_done, then closes. Queries that were not yet
 * read are answered with CODE_CANCELLED. Not from within a callback. */
void store_free(struct store *s);
DEFINE_AUTO(store, struct store *, store_free)

/* ---- objects ---- */

enum { STORE_ANY_VERSION = -1, STORE_ABSENT = 0 };

struct store_object { /* borrowed by callbacks for the call */
    const char *kind, *ns, *name; /* kind: "services", "revisions", … */
    int64_t version;              /* resourceVersion: of the last change, unique over the store */
    const char *json;
};

/* All objects of a kind, ordered by namespace and name. Synchronous; only before loop_run(). */
int store_each(struct store *s, const char *kind,
               int (*on_object)(void *ctx, const struct store_object *o, struct err *e), void *ctx,
               struct err *e) MUST_USE;
/* The highest version ever committed; what a list answers as its resourceVersion. Loop thread. */
int64_t store_version(const struct store *s);

struct store_change { /* embedded by the caller; zero it first; strings copied at submit */
    const char *kind, *ns, *name;
    const char *json;       /* NULL: delete */
    int64_t expect_version; /* STORE_ANY_VERSION, STORE_ABSENT (must not exist), or a version */
    /* r: 0 or -code with e set; version: of this change when r is 0. May free the change. */
    void (*on_done)(struct store_change *c, int r, int64_t version, const struct err *e);
    void *internal;
};
/* on_done follows unless this returns < 0. */
int store_submit(struct store *s, struct store_change *c, struct err *e) MUST_USE;

/* A copy of hob.db as it is at one moment, whole and synced, at `path` (must not exist; CODE_EXISTS). Changes wait while it
 * is made. One at a time (CODE_EXHAUSTED). Embedded; the path is copied. */
struct store_backup {
    const char *path;
    void (*on_done)(struct store_backup *b, int r, uint64_t bytes, const struct err *e);
    void *internal;
};
int store_backup(struct store *s, struct store_backup *b, struct err *e) MUST_USE;

/* ---- invocation records ---- */

/* Copies the record; written in batches within 200 ms. Full: dropped and counted. A record of an id
 * that is there already is ignored. The oldest go, by id (UUIDv7: by time), as new ones come. */
void store_record(struct store *s, const struct invocation_record *r);
uint64_t store_records_dropped(const struct store *s);

struct record_query {
    struct uuid id;       /* used when by_id; by_trace: the trace's */
    bool by_id, by_trace; /* by_trace: the oldest first */
    char ns[64], service[64]; /* empty: all */
    bool cold_only;
    uint32_t limit;       /* newest first; 1..1000 */
    void (*on_done)(struct record_query *q, int r, const struct invocation_record *rows,
                    uint32_t count, const struct err *e);
    void *internal;
};
/* Finds what store_record() was given before, written or not yet. A scan that takes too long ends
 * with CODE_DEADLINE. q stays the caller's, until on_done. */
int store_records(struct store *s, struct record_query *q, struct err *e) MUST_USE;

/* For /readyz and hob doctor: 0; 1: objects are written, records are not (e says why); < 0: no object
 * can be written now. While unwell it is tried again every second, unasked. */
int store_health(const struct store *s, struct err *e);
