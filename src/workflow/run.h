/* run.h -- one run of a workflow: Temporal's semantics as a pure state machine.
 *
 * Receives what clients ask, what workers answer, and the time, each through one function below, with the turn
 * (durable/host.h) it happens in: now and randomness come from there, and history and changes go there.
 * Owns the mutable state of the run (workflow/state.proto): its tasks, activities, timers, children, outbox.
 * Emits history events (protobuf, codec/temporal*.proto), each exactly as the SDKs replay it; what the
 * outside has to do next is read off the state by run_wants_*() (level, not edge; 0010).
 * Refuses, with a `struct refusal`, what the state does not allow; a refusal has changed nothing.
 *
 * No clock, no I/O, no allocation that outlives the run but through the turn. What a request is must be
 * checked by its reader for sizes and presence (api/temporal); what depends on the state is checked here. */
#pragma once

#include "codec/temporal.pb-c.h"
#include "durable/host.h"
#include "workflow/refusal.h"

struct run; /* opaque to all but run_*.c (run_impl.h) */

/* ---- life ---- */

enum run_origin { RUN_STARTED, RUN_CONTINUED, RUN_RETRIED, RUN_CRON, RUN_CHILD, RUN_RESET };

/* The first event and, unless it starts later, the first workflow task. `q` is what a client asked (or what the
 * engine composed for a child). The machine belongs to the caller (for durable_turn_create()). */
struct run_start {
    const Tp__StartWorkflowExecutionRequest *q;
    struct uuid run, first_run;
    /* NULL, or what the first event says of the run it goes on from: continued_execution_run_id, initiator, attempt (0: 1),
     * workflow_execution_expiration_time. (Its failure and last result are the request's.) */
    const Tp__WorkflowExecutionStartedEventAttributes *chain;
    /* Child: who is told of its end. */
    const char *parent_ns;
    const Tp__WorkflowExecution *parent, *root;
    int64_t parent_initiated_id;
    struct str cron_zone; /* tzdata's file of the cron schedule's zone, kept for the next ones; empty: UTC */
    int64_t first_task_delay_ms;
    const Tp__Payloads *signal_input; /* signal with start: */
    const char *signal_name;          /* NULL: none */
    const Tp__Header *signal_header;
    int64_t retention_ms; /* it is kept so long after its end; 0: 72 h */
};
struct run *run_new(const struct run_start *s, struct durable_turn *t);
void run_free(struct run *r);
/* How long it is kept counts from what is in force when it ends: for the last word of each turn. */
void run_retain(struct run *r, const struct durable_turn *t, int64_t retention_ms);
int run_unpack(struct str state, struct run **ret, struct err *e) MUST_USE;
void run_pack(const struct run *r, struct buf *into);
size_t run_bytes(const struct run *r);
struct durable_standing run_standing(const struct run *r);
void run_index(const struct run *r, struct journal_index *into);
/* A search attribute's value, or each of its list's, is of that type; null, and an empty list, unset it. */
bool run_attribute_fits(const Tp__Payload *p, enum journal_type type);
void run_check(const struct run *r); /* asserts the invariants */

/* Everything that is due by t->now_ns: timers, timeouts, retries, back-offs, retention. */
void run_due(struct run *r, struct durable_turn *t);

/* ---- what there is to do (read after a commit) ---- */

enum run_task_type { RUN_WORKFLOW_TASK, RUN_ACTIVITY_TASK };
struct run_task { /* a scheduled task that nobody has started; its key: the three numbers */
    enum run_task_type type;
    int64_t scheduled_id; /* of a speculative one too: the number its event would have */
    int32_t attempt;
    uint32_t stamp;       /* of its life in memory: changes when it was rescheduled */
    const char *queue;    /* where it is to be offered: the run's own words, until its next turn */
    const char *normal_queue; /* of a sticky one; NULL: not sticky */
    int64_t scheduled_ns;
    int32_t priority;
};
/* The n-th such task, or false. At most one is a workflow task, and it is the first. */
bool run_wants_task(const struct run *r, size_t n, struct run_task *ret);

enum run_errand_type { /* what another run is to be told; stands in the state until run_errand_done() */
    RUN_ERRAND_START_CHILD,      /* then it answers: started with a run id, or refused */
    RUN_ERRAND_SIGNAL,           /* an external workflow, or a child */
    RUN_ERRAND_CANCEL,
    RUN_ERRAND_TELL_PARENT,      /* how this run ended */
    RUN_ERRAND_CHILD_SCHEDULE,   /* "your start is in the parent's history: schedule your first task" */
    RUN_ERRAND_CLOSE_TERMINATE,  /* parent close policy */
    RUN_ERRAND_CLOSE_CANCEL,
    RUN_ERRAND_ASK_CHILD,        /* after a reset: did it end while nobody listened? run_child_closed(), or done */
};
struct run_close { /* how a run ended */
    Tp__WorkflowExecutionStatus status;
    const Tp__Payloads *result;  /* completed; canceled: details */
    const Tp__Failure *failure;  /* failed */
    Tp__RetryState retry_state;
    struct uuid next_run;        /* it goes on there: nobody is told */
};
struct run_errand { /* what it points at is the run's own, until its next turn */
    enum run_errand_type type;
    int64_t id;                 /* the event it comes from: with the run's id, what tells a repetition */
    const char *ns;
    const Tp__WorkflowExecution *target; /* run_id empty: the current one */
    const char *first_run_id;   /* follows the chain; NULL: any */
    const char *own_chain;      /* TELL_PARENT: the first run of the chain that ended */
    const char *requested_by;   /* START_CHILD, CLOSE_TERMINATE: the run in whose name it is started; NULL: this one */
    bool child_only;            /* refuse a target that is not this run's child */
    const void *attributes;     /* the Initiated event's attributes of the type's own kind; NULL: none */
    const Tp__WorkflowExecution *root; /* START_CHILD: of the tree that the child belongs to; NULL: this run */
    struct run_close close;     /* TELL_PARENT */
};
bool run_wants_errand(const struct run *r, size_t n, struct run_errand *ret);
/* What came of it. `no`: NULL, it was done. A child's start: `child` is its run id. Fine if it is not known
 * any more. A refusal that passes (UNAVAILABLE, EXHAUSTED, ABORTED, CANCELLED, DEADLINE, DATA_LOSS) leaves it standing, to be
 * sent again. */
void run_errand_done(struct run *r, struct durable_turn *t, enum run_errand_type type, int64_t id,
                     const struct uuid *child, const struct refusal *no);

/* ---- workflow tasks ---- */

struct run_poller { /* who takes a task */
    const char *identity, *queue; /* the queue it polled: normal or sticky */
    bool sticky;
    const char *request_id;
    const Tp__WorkerVersionCapabilities *version; /* NULL: none */
};
struct run_token { /* what a worker shows again; the service encodes it */
    enum run_task_type type;
    char ns[256];
    char workflow_id[1024];
    struct uuid run;
    int64_t scheduled_id, started_id;
    int32_t attempt;
    int64_t started_ns;
    char activity_id[1024]; /* activities only */
};
/* -CODE_NOT_FOUND: this task is not there any more. Fills what the state knows of the answer: token, ids, attempt,
 * times, type, messages (updates), scaling apart; the service adds history events *ret_from.. *ret_to (exclusive;
 * those of a transient or speculative task are in ret_extra, not in the journal), queries, and its own
 * encoding of the token. */
struct run_task_given {
    Tp__PollWorkflowTaskQueueResponse *answer; /* the caller's */
    struct run_token token;
    int64_t from, to;
    Tp__HistoryEvent **extra; /* the caller's */
    size_t extra_count;
    uint32_t stamp; /* run_task_stamp() says it as long as the worker has this task; 0: a query's own */
};
void run_task_given_done(struct run_task_given *g);
int run_task_start(struct run *r, struct durable_turn *t, const struct run_task *task,
                   const struct run_poller *p, struct run_task_given *ret, struct refusal *no) MUST_USE;

/* Applies commands and messages. Bad ones fail the task instead: then, alone of all refusals, the turn has
 * changed. `next`: a new workflow task that the answer may bring along (return_new_workflow_task), to be
 * started with run_task_start(). */
struct run_completed {
    bool next;
    struct run_task next_task;
    int64_t reset_history_event_id; /* a discarded speculative task */
    /* Activities asked for eagerly, scheduled by this completion; to be started with run_activity_start() */
    struct run_task *eager; /* the caller's */
    size_t eager_count;
    struct uuid next_run; /* continued as new, retried, cron; all zero: none */
};
int run_task_complete(struct run *r, struct durable_turn *t, const struct run_token *token,
                      const Tp__RespondWorkflowTaskCompletedRequest *q, struct run_completed *ret,
                      struct refusal *no) MUST_USE;
int run_task_fail(struct run *r, struct durable_turn *t, const struct run_token *token,
                  const Tp__RespondWorkflowTaskFailedRequest *q, struct refusal *no) MUST_USE;
uint32_t run_task_stamp(const struct run *r); /* of the task that a worker has; 0: none has any */
/* The task of that token is with a worker still: neither answered nor timed out. */
bool run_holds(const struct run *r, const struct run_token *token);
/* Nobody polls that sticky queue: to the normal one at once. */
void run_sticky_lost(struct run *r, struct durable_turn *t);

/* ---- activities; the payload of one that is handed out stands in the event `scheduled_id` ---- */

/* Fills the answer but input and header, which the service reads from that event, and the token's encoding. */
int run_activity_start(struct run *r, struct durable_turn *t, const struct run_task *task,
                       const struct run_poller *p, Tp__PollActivityTaskQueueResponse **ret,
                       struct run_token *token, struct refusal *no) MUST_USE;
/* By token, or (token->scheduled_id 0) by activity_id. */
int run_activity_complete(struct run *r, struct durable_turn *t, const struct run_token *token,
                          const Tp__Payloads *result, const char *identity, struct refusal *no) MUST_USE;
int run_activity_fail(struct run *r, struct durable_turn *t, const struct run_token *token,
                      const Tp__Failure *failure, const Tp__Payloads *last_heartbeat,
                      const char *identity, struct refusal *no) MUST_USE;
int run_activity_cancel(struct run *r, struct durable_turn *t, const struct run_token *token,
                        const Tp__Payloads *details, const char *identity, struct refusal *no) MUST_USE;
int run_activity_beat(struct run *r, struct durable_turn *t, const struct run_token *token,
                      const Tp__Payloads *details, bool *ret_cancel_requested,
                      struct refusal *no) MUST_USE;

/* ---- clients and other runs ---- */

struct run_from { /* another run that sent it; NULL where a client did */
    const char *ns;
    const Tp__WorkflowExecution *run;
    int64_t initiated_id;
};
int run_signal(struct run *r, struct durable_turn *t, const Tp__SignalWorkflowExecutionRequest *q,
               const struct run_from *from, struct refusal *no) MUST_USE;
int run_request_cancel(struct run *r, struct durable_turn *t,
                       const Tp__RequestCancelWorkflowExecutionRequest *q, const struct run_from *from,
                       struct refusal *no) MUST_USE;
int run_terminate(struct run *r, struct durable_turn *t, const char *reason, const Tp__Payloads *details,
                  const char *identity, struct refusal *no) MUST_USE;
/* The parent of a child was told (RUN_ERRAND_TELL_PARENT), or had asked. Fine if it knows it already. Where the run
 * that began the child is over, the one that is current is told, if the child is its own too (run_has_child()): it was reset
 * from the other. If it is not, nobody needs to know: a run that is built from an older one later asks. */
void run_child_closed(struct run *r, struct durable_turn *t, int64_t initiated_id,
                      const struct uuid *child, const struct run_close *close);
/* RUN_ERRAND_CHILD_SCHEDULE */
void run_child_may_begin(struct run *r, struct durable_turn *t);
int run_set_options(struct run *r, struct durable_turn *t,
                    const Tp__UpdateWorkflowExecutionOptionsRequest *q,
                    Tp__WorkflowExecutionOptions **ret, struct refusal *no) MUST_USE;

/* ---- updates (1.8 of Temporal's rules) ---- */

/* 0: admitted or known; ask run_update_stage() after each commit. */
int run_update(struct run *r, struct durable_turn *t, const Tp__UpdateRequest *q, struct refusal *no) MUST_USE;
/* `ret_outcome`: the run's own, until its next turn; NULL unless completed, and of older ones, whose outcome stands in the
 * event run_update_completed_event(). -CODE_NOT_FOUND: no such update, or the run closed before it was accepted. -CODE_ABORTED:
 * that too, but the run goes on in another, which may be asked. */
int run_update_stage(const struct run *r, const char *update_id,
                     Tp__UpdateWorkflowExecutionLifecycleStage *ret, const Tp__UpdateOutcome **ret_outcome,
                     struct refusal *no) MUST_USE;
int64_t run_update_completed_event(const struct run *r, const char *update_id); /* 0: none */

/* ---- queries: in memory only; they change nothing that is written ---- */

enum run_query_way {
    RUN_QUERY_DIRECT,
    RUN_QUERY_WITH_TASK,
    RUN_QUERY_EARLY, /* once its first task is completed: ask then */
    RUN_QUERY_NOT_READY,
    RUN_QUERY_REJECTED,
};
/* How a query is to be answered now: by a query task of its own, with the workflow task that is pending, or
 * not at all (it ended before a task was completed, or tasks fail: `no` says it). */
enum run_query_way run_query_way(const struct run *r, Tp__QueryRejectCondition reject, struct refusal *no);
/* Of a query task: token and all but history and the query. */
void run_query_given(const struct run *r, bool sticky, struct run_task_given *ret);
/* Its sticky queue, or NULL. */
const char *run_sticky_queue(const struct run *r);
const char *run_queue(const struct run *r);

/* ---- what is known of it ---- */

struct journal_key run_key(const struct run *r); /* its texts are the run's own */
const char *run_start_request(const struct run *r); /* the request id of its start */
bool run_open(const struct run *r);
Tp__WorkflowExecutionStatus run_status(const struct run *r);
int64_t run_next_event(const struct run *r); /* the number the next one gets */
int64_t run_close_event(const struct run *r); /* 0: open */
int64_t run_last_task_done(const struct run *r);  /* the last one's; 0: none */
int64_t run_first_task_done(const struct run *r); /* the event of the first completed task; 0: none */
const char *run_first_id(const struct run *r);
struct uuid run_next_run(const struct run *r); /* after it closed; all zero: none */
bool run_started_by(const struct run *r, const char *request_id); /* it is its start, repeated */
Tp__DescribeWorkflowExecutionResponse *run_describe(const struct run *r); /* the caller's */
Tp__WorkflowExecutionInfo *run_info(const struct run *r);                /* the caller's */

/* ---- reset ---- */

/* A new run from `events`, the history of `base` before its event q->workflow_task_finish_event_id (a workflow task's
 * start or end), with what came after (`later`, from that event on) re-applied as `q` asks. It is made in `t`, the current run's
 * turn; the base, whose own turn is base_turn, remembers where it was reset to. If the current run is open, the caller
 * terminates it in the same commit, afterwards: children of the base are the new run's then. */
int run_reset(struct run *base, struct durable_turn *base_turn, Tp__HistoryEvent *const *events, size_t count,
              Tp__HistoryEvent *const *later, size_t later_count, const Tp__ResetWorkflowExecutionRequest *q,
              const struct uuid *run, struct durable_turn *t, struct refusal *no) MUST_USE;
struct uuid run_reset_to(const struct run *r); /* all zero: it was not reset */
bool run_is_child(const struct run *r, const char *parent_run, int64_t initiated_id);
/* It waits for the end of that child, whose chain began with that run. */
bool run_has_child(const struct run *r, int64_t initiated_id, const char *first_run);
/* How a run ended, read off the event that closed it; result and failure are the event's. Of another event: false. */
bool run_close_read(const Tp__HistoryEvent *e, struct run_close *ret);
