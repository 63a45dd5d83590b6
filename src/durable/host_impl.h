/* host_impl.h -- what the files of the host share; nobody else includes it.
 *
 * A slot is one id: its runs in memory, the inputs that wait for it, and its one turn. An entity is one run; without a
 * machine it is only known to become due, or to be loaded again.
 *
 * What a slot does (host_slot.c slot_step() alone decides):
 *
 *   IDLE --- something is to be known first --> LOADING --+
 *    | ^------------------------------------------------- + (refused, or known)
 *    +------ inputs wait, or a machine is due --> COMMITTING --> EMITTING --> IDLE
 *
 * Invariants (durable_check()): an entity is in a turn only while its slot commits or emits; a slot is in the list of the idle, which
 * may be evicted, only when it is IDLE, nothing waits for it, and a machine is in memory; an entity with a machine that is
 * due before the window which is being read is in the heap, or on its way to its turn. */
#pragma once

#include "base/limits.h"
#include "base/map.h"
#include "durable/host.h"

struct cached_row {
    struct list_node node;
    struct durable_row row;
};

struct entity {
    struct list_node node; /* of slot->entities */
    struct durable_slot *slot;
    struct uuid run;
    void *machine;    /* NULL: not in memory */
    uint64_t version; /* on disk; 0: not yet */
    int64_t now_ns;   /* of its last turn */
    size_t bytes;     /* as counted in host->counts.machine_bytes */
    bool ready;       /* on disk */
    bool reload;      /* to be loaded for what its state has to make known */
    bool of_start;    /* the host's start waits for that */
    bool in_turn, gone;
    struct durable_turn turn;
    struct list_node turn_node; /* of slot->turn, in the order they came in */
    struct heap_node due;       /* of host->dues */
    int64_t due_ms;             /* on disk */
    int64_t quiet_ms;           /* not called before, when it named a time that is over again */
    bool due_came;
    struct list rows; /* struct cached_row: the last of its history, without a gap */
    struct list_node cached; /* of host->cached, the one used last at the end */
};

enum slot_state { SLOT_IDLE, SLOT_LOADING, SLOT_COMMITTING, SLOT_EMITTING };

struct durable_slot {
    struct durable_host *host;
    const struct durable_kind *kind;
    struct due_scan *scan; /* of its kind */
    struct str text;       /* in host->slots; owned */
    struct str ns, id;     /* in `text` */
    enum slot_state state;
    struct list waiting, applied; /* struct durable_input */
    struct list entities, turn;
    struct uuid current; /* all zero: there is none */
    bool current_known;
    struct uuid missing; /* this run was looked for and is not there */
    bool no_guess;       /* a start was applied as if the id were free, and it was not */
    bool guessed;        /* so this turn is applied */
    uint32_t created, entered;
    int64_t now_ns;
    struct durable_turn fresh;
    struct journal_load load;
    struct journal_commit commit;
    struct loop_timer again; /* set: after a failure, before the next try of its own */
    struct list_node soon, idle;
};

struct due_scan { /* of one kind */
    struct durable_host *host;
    const struct durable_kind *kind;
    struct journal_scan due, ready;
    bool asked;         /* journal_due() is under way */
    int64_t horizon_ms; /* what is due before, is in the heap */
    int64_t before_ms, from_ms;
    uint64_t after; /* of the page that comes next; 0: the window is complete */
};

struct durable_host {
    struct durable_world world;
    struct rng rng;
    struct due_scan *scans; /* one for each kind */
    size_t kind_count;
    struct map slots;
    struct list soon, idle, refused, cached, reads;
    struct loop_task task;
    struct loop_timer clock;
    struct heap dues;
    bool started, closing;
    struct durable_counts counts;
    /* of the start: */
    void (*on_ready)(void *ctx, int r, const struct err *e);
    void *on_ready_ctx;
    struct loop_task start_task;
    bool start_failed; /* it goes on where it stopped when it is asked to */
    bool again;        /* all was made known once: what is in memory is, too */
    size_t start_kind;
    uint64_t start_after, start_left;
};

static inline bool run_none(const struct uuid *u)
{
    static const struct uuid none;
    return memcmp(u, &none, sizeof none) == 0;
}
static inline bool run_same(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}
static inline struct journal_key entity_key(const struct entity *n)
{
    return (struct journal_key){ n->slot->kind->kind, n->slot->ns, n->slot->id, n->run };
}

/* host.c */
int64_t host_wall_ns(const struct durable_host *h);
void host_soon(struct durable_host *h); /* its task runs at the end of this turn of the loop */

/* host_slot.c */
struct durable_slot *slot_find(const struct durable_host *h, const struct journal_key *key);
struct durable_slot *slot_get(struct durable_host *h, const struct journal_key *key);
struct entity *entity_find(const struct durable_slot *s, const struct uuid *run);
struct entity *entity_add(struct durable_slot *s, const struct uuid *run);
void entity_weigh(struct entity *n);  /* counts its memory anew */
void entity_unload(struct entity *n); /* frees the machine; stays if it is due soon, or to be loaded again */
void entity_remove(struct entity *n);
/* Whether `in` can be applied now; if not, *ret_run is to be loaded first (all zero: the current one). */
bool slot_knows(const struct durable_slot *s, const struct durable_input *in, struct uuid *ret_run);
void slot_soon(struct durable_slot *s);
void slot_step(struct durable_slot *s); /* may free it */
void slot_again(struct durable_slot *s); /* a try of its own after limits.durable_retry_ms */
void slots_evict(struct durable_host *h);
void slot_free(struct durable_slot *s);

/* host_turn.c */
bool entity_due_now(const struct entity *n, int64_t now_ns);
int64_t slot_now_ns(const struct durable_slot *s); /* of a turn that begins now */
void turn_run(struct durable_slot *s);

/* host_commit.c */
void turn_commit(struct durable_slot *s);
/* Ends `applied` and afters with r < 0; its machines are dropped. `void_only`: the inputs wait again. */
void turn_fail(struct durable_slot *s, int r, const struct err *e, bool void_only);

/* host_due.c */
void due_set(struct entity *n, int64_t due_ms); /* as it is on disk now */
void due_forget(struct entity *n);
void due_start(struct durable_host *h);
void due_on_clock(struct loop_timer *t);
void start_loaded(struct entity *n); /* no more to be loaded again */
void start_on_task(struct loop_task *t);

/* host_read.c */
void cache_add(struct entity *n, struct durable_turn *t); /* takes the rows */
void cache_drop(struct entity *n);
void reads_cancel(struct durable_host *h);
