/* journal.h -- the contract of the durable core's memory; `sqlite` implements it, `postgres` will.
 *
 * An entity is one run of something durable: a workflow, an invocation, a schedule. It has a key (kind,
 * namespace, id, run), a state (bytes of its owner's), a history (numbered rows), a due time, and columns by
 * which it is listed. Of all runs of one id at most one is *current*: the one made last.
 *
 * Receives commits: changes of some entities that hold together or not at all.
 * Owns durable.db, one writer thread that commits many callers' changes with one fsync, and readers.
 * Emits results on the loop thread, each exactly once, never inside the call that asked; commits in the order
 * of submission. A commit is acknowledged only when it is durable. A read sees every commit acknowledged
 * before it was asked.
 * Refuses: a commit one of whose expectations does not hold (CODE_ABORTED; CODE_EXISTS where a run was to be
 * created over another than is current) without touching others that share its transaction; every commit once
 * another process took the journal over (CODE_ABORTED, "fenced"); rows whose checksum does not fit
 * (CODE_DATA_LOSS, with the key; the row stays as it is); more than limits.journal_waiting_max commits or
 * journal_waiting_bytes_max (CODE_EXHAUSTED); everything while the disk refuses (CODE_UNAVAILABLE), until it
 * does not any more; everything while it closes (CODE_CANCELLED).
 *
 * No SQL above this header. All text and bytes given are copied before the call returns; what callbacks get is
 * theirs for the call. Times are Unix time. */
#pragma once

#include "base/limits.h"
#include "base/uuid.h"
#include "os/loop.h"

struct journal; /* opaque; a simulator has its own behind the same struct journal_ops */

enum journal_kind { JOURNAL_WORKFLOW = 1, JOURNAL_INVOCATION = 2, JOURNAL_SCHEDULE = 3, JOURNAL_TIMETABLE = 4, JOURNAL_BATCH = 5 };
#define JOURNAL_NEVER INT64_MAX

struct journal_key {
    enum journal_kind kind;
    struct str ns, id;
    struct uuid run; /* all zero in a question: the current one */
};

struct journal_row { /* `count` numbered things beginning with `first`, as one piece of bytes */
    uint64_t first; /* 1.. */
    uint32_t count; /* 1.. */
    struct str bytes;
};

enum journal_type { /* of an attribute, as search attributes have */
    JOURNAL_KEYWORD, JOURNAL_TEXT, JOURNAL_INT, JOURNAL_DOUBLE, JOURNAL_BOOL, JOURNAL_TIME,
    JOURNAL_KEYWORDS, /* a list: one row of the same name for each */
};
struct journal_attribute {
    struct str name;
    enum journal_type type;
    struct str text; /* KEYWORD, TEXT, KEYWORDS */
    int64_t integer; /* INT, BOOL, TIME in ns */
    double real;
};

/* What an entity is found by. */
struct journal_index {
    uint32_t status; /* as its owner numbers them */
    struct str type, queue;
    int64_t start_ns, execution_ns;
    int64_t close_ns; /* JOURNAL_NEVER: open */
    uint64_t history_length, history_bytes, transitions;
    struct str parent_id, root_id;
    struct uuid parent_run, root_run; /* all zero: none */
    struct str division; /* of the namespace; empty: an ordinary one */
    struct str extra;    /* given back by lists as it is (memo, attributes as their owner wrote them) */
    const struct journal_attribute *attributes;
    size_t attribute_count;
};

enum journal_op { JOURNAL_CREATE, JOURNAL_UPDATE, JOURNAL_DELETE };
struct journal_write {
    enum journal_op op;
    struct journal_key key; /* the run is named */
    uint64_t expect;        /* UPDATE, DELETE: the version it has; CREATE makes version 1, UPDATE the next */
    struct uuid over;       /* CREATE: the run that must be current; all zero: there must be none. The new
                             * run is current from then on */
    struct str state;
    bool open;      /* false: it has ended, and stays for whoever asks */
    bool ready;     /* it has work that nobody but its state knows of: found by journal_ready() */
    int64_t due_ms; /* JOURNAL_NEVER, or when its owner is to look at it: found by journal_due() */
    const struct journal_row *rows; /* of a history, after those it has; one that begins where another
                                     * begins replaces it. DELETE removes the history too */
    size_t row_count;
    const struct journal_index *index; /* NULL: as it was; CREATE must have one */
};

/* Its writes are done in their order; each expectation sees those before it. */
struct journal_commit { /* embedded by the caller */
    const struct journal_write *writes; /* at most JOURNAL_WRITES_MAX, of different entities */
    size_t count;
    void (*on_done)(struct journal_commit *c, int r, const struct err *e); /* may free c */
    void *internal;
};
enum { JOURNAL_WRITES_MAX = 8 };

struct journal_load { /* one entity; embedded */
    struct journal_key key; /* borrowed until on_done */
    /* -CODE_NOT_FOUND: none. `now` is its row: key.run, expect (its version), state, open, ready, due_ms; of `current` the run
     * (all zero: none). */
    void (*on_done)(struct journal_load *q, int r, const struct journal_write *now,
                    const struct uuid *current, const struct err *e);
    void *internal;
};
struct journal_read { /* some of a history; embedded */
    struct journal_key key; /* the run is named; borrowed until on_done */
    uint64_t from, to;      /* rows that have something of from <= number < to */
    size_t bytes_max;       /* stops after the row that goes past it; at least one is given, at most 10000 are */
    bool backwards;
    void (*on_done)(struct journal_read *q, int r, const struct journal_row *rows, size_t count,
                    const struct err *e);
    void *internal;
};
struct journal_scan { /* keys; embedded */
    enum journal_kind kind;
    int64_t from_ms, before_ms; /* journal_due(): from_ms <= due < before_ms */
    uint32_t limit;     /* 1..10000 */
    uint64_t after;     /* 0: the first page; else the `next` of the page before. For journal_due() from_ms is
                         * then the last due time of that page, and those of that time up to `after` are left out */
    /* dues: of each key. next: 0, or there is more. */
    void (*on_done)(struct journal_scan *q, int r, const struct journal_key *keys,
                    const int64_t *dues, size_t count, uint64_t next, const struct err *e);
    void *internal;
};

struct filter; /* store/filter.h */
struct journal_found {
    struct journal_key key;
    bool open;
    struct journal_index index;
};
struct journal_list { /* embedded */
    enum journal_kind kind;
    struct str ns;
    const struct filter *filter; /* NULL: all; borrowed until on_done */
    uint32_t limit;              /* 1..10000 */
    struct str after;            /* a `next` given before; empty: from the beginning */
    /* Open ones first, then by close time, newest first; within that by start time, newest first. Attributes are
     * not given back; what is damaged is left out, and counted, so a page may hold less than `limit`. */
    void (*on_done)(struct journal_list *q, int r, const struct journal_found *rows, size_t count,
                    struct str next, const struct err *e);
    void *internal;
};
struct journal_group {
    struct journal_attribute value; /* of the column that is grouped by */
    uint64_t count;
};
struct journal_count { /* embedded */
    enum journal_kind kind;
    struct str ns;
    const struct filter *filter;
    void (*on_done)(struct journal_count *q, int r, uint64_t count, const struct journal_group *groups,
                    size_t group_count, const struct err *e);
    void *internal;
};

struct journal_ops {
    int (*submit)(struct journal *j, struct journal_commit *c, struct err *e);
    int (*load)(struct journal *j, struct journal_load *q, struct err *e);
    int (*read)(struct journal *j, struct journal_read *q, struct err *e);
    int (*due)(struct journal *j, struct journal_scan *q, struct err *e);
    int (*ready)(struct journal *j, struct journal_scan *q, struct err *e);
    int (*list)(struct journal *j, struct journal_list *q, struct err *e);
    int (*count)(struct journal *j, struct journal_count *q, struct err *e);
    void (*free)(struct journal *j);
};
struct journal {
    const struct journal_ops *ops;
};

/* Opens or makes `dir`/durable.db, and takes its ownership. Refuses as store_open() does. */
int journal_open(struct loop *l, const char *dir, const struct limits *limits, struct journal **ret,
                 struct err *e) MUST_USE;

/* on_done follows unless these return < 0. Scans are by due time and by age. */
static inline int journal_submit(struct journal *j, struct journal_commit *c, struct err *e)
{
    return j->ops->submit(j, c, e);
}
static inline int journal_load(struct journal *j, struct journal_load *q, struct err *e)
{
    return j->ops->load(j, q, e);
}
static inline int journal_read(struct journal *j, struct journal_read *q, struct err *e)
{
    return j->ops->read(j, q, e);
}
static inline int journal_due(struct journal *j, struct journal_scan *q, struct err *e)
{
    return j->ops->due(j, q, e);
}
static inline int journal_ready(struct journal *j, struct journal_scan *q, struct err *e)
{
    return j->ops->ready(j, q, e);
}
static inline int journal_list(struct journal *j, struct journal_list *q, struct err *e)
{
    return j->ops->list(j, q, e);
}
static inline int journal_count(struct journal *j, struct journal_count *q, struct err *e)
{
    return j->ops->count(j, q, e);
}
/* Commits what was submitted and calls every on_done (reads not yet done: CODE_CANCELLED). Not from within a
 * callback. NULL is fine. */
static inline void journal_free(struct journal *j)
{
    if (j)
        j->ops->free(j);
}
DEFINE_AUTO(journal, struct journal *, journal_free)

/* Of a journal that journal_open() made: */
int journal_health(const struct journal *j, struct err *e); /* 0; < 0: nothing can be committed now */
struct journal_counts {
    uint64_t commits, transactions, rows_written, fsyncs, bytes_written;
    uint64_t waiting, waiting_bytes, checksum_failures, fenced;
};
void journal_counts(const struct journal *j, struct journal_counts *ret);
/* A consistent copy of durable.db, made while it is used, at `path` (must not exist). */
struct journal_backup {
    const char *path;
    void (*on_done)(struct journal_backup *b, int r, uint64_t bytes, const struct err *e);
    void *internal;
};
int journal_backup(struct journal *j, struct journal_backup *b, struct err *e) MUST_USE;
