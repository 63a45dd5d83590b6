/* run_impl.h -- what the files run_*.c share: the run itself, its events, its commands. For nobody else.
 *
 * Every public function of run.h is one transition: it changes the state, adds events, and ends with run_end(), which
 * gives the events to the turn. What refuses does so before its first change; only the completion of a workflow
 * task may find out later, and goes back to the state it began with.
 *
 * Events that come from outside a workflow task's commands wait in the state (buffered) while a worker has the
 * task, because what the worker answers was decided without them: they get their numbers behind its commands. */
#pragma once

#include "codec/temporal.h"
#include "workflow/run_retry.h"
#include "workflow/run.h"
#include "workflow/state.pb-c.h"

/* Temporal's own figures (1.10 of its rules), which its SDKs and users count on. */
enum {
    RUN_EVENTS_MAX = 51200,       /* then it is terminated */
    RUN_EVENTS_SUGGEST = 4096,    /* then workers are told to continue as new */
    RUN_BUFFERED_MAX = 100,       /* events that wait for a worker's answer; then that task fails */
    RUN_PENDING_MAX = 2000,       /* activities; children; signals; cancellations: each */
    RUN_TIMERS_MAX = 100000,      /* ours: a state of some 3 MiB */
    RUN_SIGNALS_MAX = 10000,      /* of one run */
    RUN_SIGNAL_IDS_MAX = 1000,    /* remembered, to know a repetition: clients repeat within seconds */
    RUN_FAILURE_DEPTH_MAX = 20,   /* causes of causes that are kept: what is read must be readable again */
    RUN_ID_BYTES_MAX = 1000,
    RUN_SEARCH_KEYS_MAX = 100,
    RUN_SEARCH_VALUE_BYTES_MAX = 2048,
    RUN_SEARCH_BYTES_MAX = 40960,
    RUN_EAGER_MAX = 3,            /* activities handed out with a completion, as Temporal does */
    RUN_TASK_BACKOFF_AFTER = 3,   /* attempts without */
};
#define RUN_BYTES_MAX           ((int64_t)MIB(50))
#define RUN_BYTES_SUGGEST       ((int64_t)MIB(4))
#define RUN_BUFFERED_BYTES_MAX  ((int64_t)MIB(2))
#define RUN_BLOB_BYTES_MAX      MIB(2)
#define RUN_STATE_BYTES_MAX     MIB(64)
#define RUN_FAILURE_KEPT_BYTES  4096 /* of an attempt that is repeated */
#define RUN_SECOND              INT64_C(1000000000)
#define RUN_TASK_TIMEOUT        (10 * RUN_SECOND)
#define RUN_TASK_TIMEOUT_MAX    (120 * RUN_SECOND)
#define RUN_TASK_BACKOFF        (5 * RUN_SECOND)
#define RUN_TASK_BACKOFF_MAX    (600 * RUN_SECOND)
#define RUN_TASK_BEATING_MAX    (1800 * RUN_SECOND) /* of one task, by force_create_new_workflow_task */
#define RUN_RETENTION           (72 * 3600 * RUN_SECOND)

#define RUN_BUFFERED INT64_C(-123) /* the number of an event that has none yet, as Temporal writes it */

/* TP__EVENT_TYPE__EVENT_TYPE_TIMER_FIRED */
#define EVENT(name)   TP__EVENT_TYPE__EVENT_TYPE_##name
#define STATUS(name)  TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_##name
#define COMMAND(name) TP__COMMAND_TYPE__COMMAND_TYPE_##name
#define CAUSE(name)   TP__WORKFLOW_TASK_FAILED_CAUSE__WORKFLOW_TASK_FAILED_CAUSE_##name
#define RETRY(name)   TP__RETRY_STATE__RETRY_STATE_##name
#define TIMEOUT(name) TP__TIMEOUT_TYPE__TIMEOUT_TYPE_##name

struct run {
    Ws__Run *s;
    /* Numbered in this transition, not yet given to the turn. */
    Tp__HistoryEvent **batch;
    size_t batch_count, batch_capacity;
    int64_t batch_bytes;
    /* What run_index() lent. */
    struct buf index_text, index_extra;
    struct journal_attribute *index_attributes;
    struct run *self; /* through which a const run lends them */
};

struct run *run_alloc(void); /* with an empty state, for who fills it at once */
/* The state that follows from its first event, but for what the event does not say: ids, retention. */
void run_started(struct run *r, const Tp__HistoryEvent *event);

/* ---- small things (run_state.c) ---- */

/* now + d without overflow; 0 for a duration of 0. */
int64_t run_deadline(int64_t now_ns, int64_t duration_ns);
/* A copy with at most RUN_FAILURE_DEPTH_MAX causes; NULL: NULL. */
Tp__Failure *run_failure_dup(const Tp__Failure *f);
Tp__Failure *run_failure_server(const char *text); /* non-retryable, source Server */
Tp__TaskQueue *run_task_queue(const char *name, const char *sticky_of); /* NULL: a normal one */
bool run_empty(const char *text); /* NULL or "" */
void run_new_id(struct durable_turn *t, char into[UUID_TEXT]);
/* Removes item i of a repeated field, keeping the order; frees it. `items` as for proto_push(). */
void run_remove(size_t *count, void *items, size_t i);

/* ---- events (run_event.c) ---- */

/* An event of this type with empty attributes, which are returned. */
void *run_event_new(Tp__EventType type, Tp__HistoryEvent **ret);
/* The number it got, or RUN_BUFFERED: it gets one at the end of the transition in which no worker has the task. */
int64_t run_event_add(struct run *r, struct durable_turn *t, Tp__HistoryEvent *take_event);
/* The same at an earlier time: events of a transient task, written afterwards. Never buffered. */
int64_t run_event_add_at(struct run *r, int64_t ns, Tp__HistoryEvent *take_event);
/* Numbers for those that wait: all others first, then what ends activities and children. */
void run_event_flush(struct run *r);
/* The event of this timer waits: it is gone, and never fired. Its TimerStarted; 0: none waits. */
int64_t run_event_unbuffer_timer(struct run *r, const char *timer_id);
/* Ends every transition that changed anything: flushes unless a worker has the task, sees to the limits of histories
 * and buffers, gives the events to the turn. */
void run_end(struct run *r, struct durable_turn *t);
void run_batch_drop(struct run *r);

/* ---- workflow tasks (run_task.c) ---- */

/* There is something for the workflow to see: schedules a task unless there is one, the run is closed, or its first
 * task has to wait. */
void run_wake(struct run *r, struct durable_turn *t);
void run_task_schedule(struct run *r, struct durable_turn *t, bool speculative);
/* A speculative or transient task gets its events written: it is a normal one from now on. */
void run_task_write(struct run *r, struct durable_turn *t);
/* The first task's wait is over (back-off, parent). */
void run_task_first(struct run *r, struct durable_turn *t);
/* The worker's task is over without an answer; the next attempt is scheduled if the run is open. */
void run_task_lose(struct run *r, struct durable_turn *t, Tp__WorkflowTaskFailedCause cause,
                   const Tp__Failure *failure, const char *identity);
/* The events of a task as they are, or would be, in the history. The caller's. */
Tp__HistoryEvent *run_task_event_scheduled(const struct run *r);
Tp__HistoryEvent *run_task_event_started(const struct run *r);
static inline bool run_task_held(const struct run *r) { return r->s->task && r->s->task->started_id; }
int64_t run_task_timeout(const struct run *r, int32_t attempt); /* start to close, of this attempt */
void run_task_drop(struct run *r); /* there is no task any more; nothing is written */
void run_task_time_out(struct run *r, struct durable_turn *t, Tp__TimeoutType type);
void run_sticky_clear(Ws__Run *s);
int64_t run_task_due(const struct run *r); /* JOURNAL_NEVER: none */
void run_task_on_due(struct run *r, struct durable_turn *t);

/* ---- commands (run_command.c): one completion ---- */

struct run_commanding {
    struct run *r;
    struct durable_turn *t;
    const Tp__RespondWorkflowTaskCompletedRequest *q;
    const Tp__Command *command; /* the one at hand */
    int64_t completed_id;       /* of the task's Completed event */
    size_t unseen;              /* events that the worker has not seen: no command may close the run */
    bool wake;                  /* a new task is needed */
    bool closed;
    struct uuid next_run;
    struct run_task eager[RUN_EAGER_MAX];
    size_t eager_count;
    /* Bad: */
    Tp__WorkflowTaskFailedCause cause;
    bool terminate;
    char text[512];
};
/* -1, for `return`. All changes of the completion are void. */
int run_command_bad(struct run_commanding *c, Tp__WorkflowTaskFailedCause cause, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* The same, and the run is terminated: what it wants can never be. */
int run_command_fatal(struct run_commanding *c, Tp__WorkflowTaskFailedCause cause, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* Adds the event of a command: with its metadata. */
int64_t run_command_event(struct run_commanding *c, Tp__HistoryEvent *take_event);
/* What no state could make right: unknown commands, commands behind one that closes. Before any change. */
int run_command_check(const Tp__RespondWorkflowTaskCompletedRequest *q, struct refusal *no) MUST_USE;
int run_command_apply(struct run_commanding *c); /* all of q; -1: see cause */

/* A command's own function: 0, or run_command_bad(). The attributes are there. */
typedef int run_command_fn(struct run_commanding *c);
run_command_fn run_activity_command_schedule, run_activity_command_cancel;
run_command_fn run_timer_command_start, run_timer_command_cancel;
run_command_fn run_close_command_complete, run_close_command_fail, run_close_command_cancel;
run_command_fn run_record_command_marker, run_record_command_search, run_record_command_memo;
/* What these two mean for the state. */
void run_record_search(Ws__Run *s, const Tp__SearchAttributes *q);
void run_record_memo(Ws__Run *s, const Tp__Memo *q);
/* run_child.c, run_external.c, run_chain.c, run_update.c */
run_command_fn run_child_command_start, run_external_command_signal, run_external_command_cancel;
run_command_fn run_chain_command_continue, run_update_command_message;

/* ---- signals ---- */

/* One came with this request id otherwise than by run_signal(): repeated, it is known. */
void run_signal_remember(struct run *r, const char *request_id);

/* ---- activities, timers ---- */

/* The state that follows from its Scheduled event. */
Ws__Activity *run_activity_scheduled(struct run *r, const Tp__HistoryEvent *event);

int64_t run_activity_due(const struct run *r);
void run_activity_on_due(struct run *r, struct durable_turn *t);
int64_t run_timer_due(const struct run *r);
void run_timer_on_due(struct run *r, struct durable_turn *t);

/* ---- the end (run_close.c) ---- */

/* Writes the event (which carries why), and leaves nothing pending but errands. `close` is taken, may be NULL. */
void run_close(struct run *r, struct durable_turn *t, Tp__WorkflowExecutionStatus status,
               Tp__HistoryEvent *take_event, Ws__Close *take_close, const Tp__Command *command);
int64_t run_close_due(const struct run *r);
void run_close_on_due(struct run *r, struct durable_turn *t);
void run_close_terminate(struct run *r, struct durable_turn *t, const char *reason,
                         const Tp__Payloads *details, const char *identity);

/* ---- ENGINE's other half ---- */

/* run_chain.c. Does it go on in another run? If so it was created in the turn (durable_turn_create), and
 * `ret_next` is its id. Called before the closing event is written. RETRY_STATE for the event in ret_state. */
bool run_chain_after(struct run *r, struct durable_turn *t, Tp__WorkflowExecutionStatus status,
                     const Tp__Failure *failure, const Tp__Payloads *result, struct uuid *ret_next,
                     Tp__RetryState *ret_state);
/* run_child.c: the errands that follow from the end, by the children's close policies, and the parent's. */
void run_child_on_close(struct run *r);
/* run_update.c: the run closes; what was not completed has its outcome. */
void run_update_on_close(struct run *r);
/* The worker that has the task now gets what it has to be sent: messages of the answer. */
void run_update_on_start(struct run *r, Tp__PollWorkflowTaskQueueResponse *answer);
/* Nobody has the task any more: what was sent is to be sent again. */
void run_update_on_lost(struct run *r);
/* A completion: Accept, Reject, Respond of q->messages that no PROTOCOL_MESSAGE command names. -1: bad. */
int run_update_on_completed(struct run_commanding *c);
/* A speculative task whose answer says nothing but No: it was never there. Rejects what it rejects. */
bool run_update_discards(struct run *r, struct durable_turn *t, const Tp__RespondWorkflowTaskCompletedRequest *q);
/* Somebody waits and no task is there: a speculative one. */
void run_update_wake(struct run *r, struct durable_turn *t);
bool run_update_waiting(const struct run *r); /* some is admitted and not sent */
/* A speculative task whose answer says nothing but No: it was never there. Rejects what it rejects. */
bool run_update_discards(struct run *r, struct durable_turn *t, const Tp__RespondWorkflowTaskCompletedRequest *q);
/* run_describe.c: what the mask names, with its event. 0: it is so already; 1: it was changed; or refused. */
int run_options_apply(struct run *r, struct durable_turn *t, const Tp__WorkflowExecutionOptions *o,
                      const Tp__FieldMask *mask, const char *identity, struct refusal *no) MUST_USE;
