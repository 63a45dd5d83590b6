/* host.h -- where durable entities live: it gives each its turns, and lets out only what is committed.
 *
 * Receives inputs for an id, and the passing of time.
 * Owns the machines in memory (a bounded number of bytes; the rest are rows), the inputs that wait, and the due times
 * of the next minute. Of one id at most one commit is in flight; what comes meanwhile is applied together, next.
 * Emits to the journal one commit per turn; after it each input's `done` in the order of their application, the turn's `after`s,
 * and then `committed` once for each machine of the turn.
 * Refuses (in `done`): CODE_EXHAUSTED when limits.durable_waiting_max inputs wait for one id or durable_waiting_all_max for
 * all; what the journal refuses, for every input of the turn: then its machines are dropped, and loaded again
 * when the next input comes. Nothing of a refused turn was seen by anybody.
 *
 * What is told outside (done, after, committed) is on disk. Loop thread only. Time and randomness reach the
 * machines as fields of the turn; the host itself takes them from its world, which a simulator replaces. */
#pragma once

#include "base/buf.h"
#include "base/rng.h"
#include "store/journal.h"

struct durable_host; /* opaque */

struct durable_world {
    struct loop *loop; /* timers, deferred calls */
    struct journal *journal;
    const struct limits *limits;
    int64_t (*wall_ns)(void *ctx); /* Unix time; may jump */
    void *ctx;
    uint64_t seed;
};

struct durable_after { /* embedded; called once the turn is durable (r 0), or is not (r < 0) */
    struct list_node node;
    void (*run)(struct durable_after *a, int r, const struct err *e); /* may free a */
};

struct durable_row {
    uint64_t first;
    uint32_t count;
    char *bytes; /* the row's own */
    size_t size;
};

/* One turn of one machine; filled while inputs are applied. */
struct durable_turn {
    int64_t now_ns; /* never goes back within one entity */
    struct rng *random;
    /* for machines to set: */
    bool changed; /* the state is another: it is written */
    bool indexed; /* the index columns are, too */
    bool forget;  /* delete the entity and its history */
    /* through the functions below: */
    struct durable_row *rows;
    size_t row_count, row_capacity;
    struct list afters;
    struct durable_slot *slot;
};
/* Behind those the history has, or in place of the last, where it begins as that one does. */
void durable_turn_row(struct durable_turn *t, uint64_t first, uint32_t count, char *take_bytes,
                      size_t size);
void durable_turn_after(struct durable_turn *t, struct durable_after *a);
/* Another run of the same id, which is current from this commit on; takes the machine. The new machine's
 * own turn, to add its first rows to. At most DURABLE_RUNS_MAX by one input. */
enum { DURABLE_RUNS_MAX = 2 };
struct durable_turn *durable_turn_create(struct durable_turn *t, const struct uuid *run,
                                         void *take_machine);

struct durable_standing { /* what the journal keeps beside the state */
    bool open, ready;
    int64_t due_ms;
};

/* One per kind. All but `open` are without failure. `ctx` is the kind's own world, and outlives the host. */
struct durable_kind {
    enum journal_kind kind;
    void *ctx;
    int (*open)(void *ctx, const struct journal_key *key, struct str state, void **ret,
                struct err *e); /* -CODE_DATA_LOSS: these bytes are not a state */
    void (*free)(void *ctx, void *machine);
    void (*pack)(const void *machine, struct buf *into);
    struct durable_standing (*standing)(const void *machine);
    /* Fills what the turn's `indexed` asks for; what it points at lives until the next call. */
    void (*index)(void *ctx, const void *machine, struct journal_index *into);
    size_t (*bytes)(const void *machine); /* in memory, about */
    /* The time that `standing` named has come. */
    void (*due)(void *ctx, void *machine, struct durable_turn *t);
    /* Last before the commit: hands tasks to those who wait for them. May be NULL. */
    void (*settle)(void *ctx, void *machine, struct durable_turn *t);
    /* What is in memory is on disk now: make known what is to be done. Also after a load of a state that
     * was `ready`. Must bear to be called again. */
    void (*committed)(void *ctx, const struct journal_key *key, void *machine);
    /* A turn of it failed, or it was forgotten; it is not in memory any more: what was made known is void. If it is
     * still `ready` on disk, it is loaded again and given its `committed`. Not called when it only leaves
     * memory for others. May be NULL. */
    void (*dropped)(void *ctx, const struct journal_key *key);
};

/* kinds: outlive the host. */
int durable_host_open(const struct durable_world *w, const struct durable_kind *kinds,
                      size_t kind_count, struct durable_host **ret, struct err *e) MUST_USE;
/* Loads what is `ready`, and begins to wait for what is due. Once, after open. on_ready: all of it was
 * given its `committed`; or (r < 0) the journal could not be read: then it may be called again, and goes on. */
int durable_host_start(struct durable_host *h, void (*on_ready)(void *ctx, int r, const struct err *e),
                       void *ctx, struct err *e) MUST_USE;
/* As at the start: what is ready is given its `committed`, again if it was before. false: that is under way, or the host is not
 * ready itself; on_done does not come then. */
bool durable_ready_again(struct durable_host *h, void (*on_done)(void *ctx, int r, const struct err *e), void *ctx) MUST_USE;
/* Inputs that wait are done with CODE_CANCELLED; commits in flight must be over before (the journal's
 * free sees to it). */
void durable_host_free(struct durable_host *h);
DEFINE_AUTO(durable_host, struct durable_host *, durable_host_free)

/* What an input sees. */
struct durable_view {
    void *machine; /* of the run that was asked for; NULL: there is none */
    struct uuid run;
    void *current; /* of the current run, often the same; NULL: there is none */
    struct uuid current_run;
    struct durable_turn *turn, *current_turn; /* theirs; not NULL where the machine is not */
    struct durable_turn *fresh; /* for durable_turn_create() when there is no current run */
};
struct durable_input { /* embedded; its owner frees it in or after `done` */
    struct list_node node;
    struct journal_key key; /* run all zero: the current one. The texts live until `done` */
    bool creates;           /* likely that there is no such id yet: applied as if, see 0010 */
    /* Applies itself to what is there; what it answers it keeps for `done`. May come again, when its
     * turn could not be committed because more was there than was thought (`creates`): then everything of
     * the first time is void. */
    void (*apply)(struct durable_input *in, const struct durable_view *v);
    void (*done)(struct durable_input *in, int r, const struct err *e);
    bool applied;           /* host's own */
    enum code refused;      /* too */
};
void durable_send(struct durable_host *h, struct durable_input *in); /* done never comes before this returns */
/* Not yet applied: taken back, true, no `done`. Else false, and `done` will come. */
bool durable_take_back(struct durable_host *h, struct durable_input *in);

/* Some of a history, as committed: from memory if it is still there, else from the journal. */
struct durable_history {
    struct journal_read read; /* fill key, from, to, bytes_max, backwards, on_done */
    struct loop_task task;    /* host's own, as the rest */
    struct list_node node;
    struct durable_host *host;
};
int durable_read(struct durable_host *h, struct durable_history *q, struct err *e) MUST_USE;

struct durable_counts {
    uint64_t turns, inputs, commits, refused, creates_retried, loads, drops, evictions, reads_cached;
    uint64_t machines, machine_bytes, history_bytes, waiting, dues;
};
void durable_counts(const struct durable_host *h, struct durable_counts *ret);
void durable_check(const struct durable_host *h); /* asserts the invariants */
