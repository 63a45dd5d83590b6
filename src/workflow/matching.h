/* matching.h -- who waits for which task: task queues with waiting polls on one side and offered tasks on the other.
 *
 * Receives polls as they come and go, of each run the tasks that it wants done (as a whole, after each of its
 * commits), queries, and the time.
 * Owns, per (namespace, queue name, workflow or activity), a list of waiting polls, first come first served, and a
 * backlog, by priority and age. All in memory: a task is a row of its run's state, offered again after a restart.
 * Emits matches to whoever asks (matching_next(), matching_claim()): it calls nobody. A matched poll has left; a
 * matched task is *taken*: it stays known, so that it is offered to nobody else, until its run does not
 * want it any more (it was started) or matching_give_back() says that nothing came of it.
 * Refuses (-CODE_EXHAUSTED) polls over limits.matching_polls_max and queues over matching_queues_max; of tasks over
 * matching_tasks_max it only remembers that there are some (matching_missed()): they stay in their runs' states.
 *
 * Pure: time comes in, in ns, and never goes back. Texts given are copied, but those of polls and queries,
 * which belong to who waits. Invariant: no queue has both a waiting poll and a task it might give to it now,
 * once matching_next() has answered false. */
#pragma once

#include "base/heap.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/uuid.h"

struct matching; /* opaque */

enum matching_kind { MATCHING_WORKFLOW, MATCHING_ACTIVITY, MATCHING_KINDS };

struct matching_queue; /* opaque */

struct matching_poll { /* embedded by who polls; zero it first. The texts live while it waits */
    const char *ns, *queue;
    enum matching_kind kind;
    const char *identity, *worker_key; /* "" or NULL: none */
    int64_t expires_ns;
    double tasks_per_second;           /* the queue's rate from now on; 0: not said */
    bool own;                          /* of a worker whose end is known when it comes: it attends while it waits, no longer */
    struct list_node node;             /* matching's own, from here */
    struct heap_node expiry;
    struct matching_queue *in;
    int64_t since_ns;
};

struct matching_task { /* what is offered of a run; given back by matches */
    enum matching_kind kind;
    int64_t scheduled_id;
    int32_t attempt;
    uint32_t stamp;
    const char *queue;
    int64_t scheduled_ns;
    int32_t priority; /* 1 (first) .. 5; others count as 3 */
};
struct matching_run { /* whose task it is */
    struct str ns, id;
    struct uuid run;
};

struct matching_query { /* embedded; zero it first: a query that needs a worker of its own */
    const char *ns, *queue; /* live while it waits */
    struct list_node node;  /* matching's own */
    struct matching_queue *in;
};

struct matching *matching_new(const struct limits *limits, uint64_t seed);
void matching_free(struct matching *m); /* polls and queries must have left */
DEFINE_AUTO(matching, struct matching *, matching_free)

/* ---- polls ---- */

int matching_poll_add(struct matching *m, struct matching_poll *p, int64_t now_ns, struct err *e) MUST_USE;
/* To the head of its queue: what it was matched with came to nothing. */
void matching_poll_return(struct matching *m, struct matching_poll *p, int64_t now_ns);
void matching_poll_remove(struct matching *m, struct matching_poll *p); /* fine if it does not wait */
static inline bool matching_poll_waits(const struct matching_poll *p) { return p->in != NULL; }
/* One poll that expired, removed; NULL: none. */
struct matching_poll *matching_expired(struct matching *m, int64_t now_ns);
/* One waiting poll of that worker, removed; NULL: none (any more). Its sticky queue, if it is named, is without
 * pollers from now on. */
struct matching_poll *matching_worker_gone(struct matching *m, const char *ns, const char *worker_key,
                                           const char *sticky_queue);

/* Unless polls wait there: it is without pollers from now on. */
void matching_left(struct matching *m, struct str ns, const char *queue, enum matching_kind kind);

/* ---- tasks ---- */

/* All tasks of that run that nobody has started: what was offered of it before and is not among them is withdrawn.
 * None: the run is forgotten. */
void matching_offer(struct matching *m, const struct matching_run *run, const struct matching_task *tasks,
                    size_t count, int64_t now_ns);
/* A poll for this task, which its run then starts in the commit that is being made: only if the task is not taken and
 * nothing that is offered would come first. Removed; NULL: none. */
struct matching_poll *matching_claim(struct matching *m, const struct matching_run *run,
                                     const struct matching_task *task, int64_t now_ns);
/* A task that matching_next() gave was not started after all; fine if its run does not want it any more. */
void matching_give_back(struct matching *m, const struct uuid *run, const struct matching_task *task,
                        int64_t now_ns);
/* Some were not taken in, and nothing is left: true once; then whoever knows all runs offers them again. */
bool matching_missed(struct matching *m);

/* ---- queries ---- */

int matching_query_add(struct matching *m, struct matching_query *q, int64_t now_ns, struct err *e) MUST_USE;
void matching_query_remove(struct matching *m, struct matching_query *q); /* fine if it does not wait */

/* ---- matches ---- */

struct matching_match {
    struct matching_poll *poll;   /* removed */
    struct matching_query *query; /* removed; NULL: the task */
    struct matching_run run;      /* matching's own, until its next call */
    struct matching_task task;    /* likewise its text */
};
bool matching_next(struct matching *m, int64_t now_ns, struct matching_match *ret);
/* When to come again, if nothing happens: a poll expires, a rate allows more. INT64_MAX: never. */
int64_t matching_due(const struct matching *m, int64_t now_ns);

/* ---- what is known of a queue ---- */

/* A worker polled it within the last 10 s, or waits. */
bool matching_polled(const struct matching *m, struct str ns, const char *queue, enum matching_kind kind,
                     int64_t now_ns);
/* It has something to give and nobody who takes: a task or a query waits, and no poll does nor has been there within the last
 * 10 s (a worker that is at work comes back), but for polls that are `own`. True: *ret_since_ns is when its oldest task was
 * scheduled; of queries alone, now_ns. */
bool matching_unattended(const struct matching *m, struct str ns, const char *queue, enum matching_kind kind,
                         int64_t now_ns, int64_t *ret_since_ns);

/* What waits in a queue, for who starts workers. */
struct matching_demand {
    size_t waiting;         /* tasks and queries */
    bool unattended;
    int64_t due_ns;         /* when it will be, if nothing happens; INT64_MAX: it is already, or nothing waits */
    bool has_first;         /* the task that goes first: */
    struct matching_run run; /* matching's own, until its next call */
    struct matching_task task;
};
void matching_demand(const struct matching *m, struct str ns, const char *queue, enum matching_kind kind, int64_t now_ns,
                     struct matching_demand *ret);
/* From now on matching_changed() names the watcher whenever something came to that queue or left it; one per queue. */
void matching_watch(struct matching *m, const char *ns, const char *queue, enum matching_kind kind, void *watcher,
                    int64_t now_ns);
void matching_unwatch(struct matching *m, const char *ns, const char *queue, enum matching_kind kind, int64_t now_ns);
void *matching_changed(struct matching *m); /* the watcher of one, once; NULL: no other */
struct matching_poller { /* borrowed until the next call that is not a question */
    const char *identity;
    int64_t last_ns;
};
enum { MATCHING_POLLERS_MAX = 64 }; /* remembered per queue; the one longest not seen goes */
struct matching_figures {
    size_t backlog, waiting_polls;
    int64_t backlog_age_ns;
    double added_per_second, dispatched_per_second; /* about the last half minute */
    double tasks_per_second;                        /* 0: no rate is set */
    struct matching_poller pollers[MATCHING_POLLERS_MAX]; /* of the last 5 minutes */
    size_t poller_count;
};
void matching_describe(struct matching *m, const char *ns, const char *queue, enum matching_kind kind,
                       int64_t now_ns, struct matching_figures *ret);

struct matching_counts {
    uint64_t matches, claims, missed;
    size_t queues, polls, tasks, taken, runs, queries;
};
void matching_counts(const struct matching *m, struct matching_counts *ret);
void matching_check(const struct matching *m); /* asserts the invariants; walks everything */
