/* Children: from the command to the event that says how they ended. A child's state in its parent goes
 * initiated -> started (its first task may begin once that is on disk) -> gone. */
#include "workflow/run_child.h"
#include "workflow/run_cron.h"
#include "workflow/run_retry.h"

#include <string.h>

#define POLICY(name) TP__PARENT_CLOSE_POLICY__PARENT_CLOSE_POLICY_##name

Ws__Child *run_child_find(const struct run *r, int64_t initiated_id)
{
    for (size_t i = 0; i < r->s->n_children; i++)
        if (r->s->children[i]->initiated_id == initiated_id)
            return r->s->children[i];
    return NULL;
}

void run_child_remove(struct run *r, int64_t initiated_id)
{
    for (size_t i = 0; i < r->s->n_children; i++)
        if (r->s->children[i]->initiated_id == initiated_id) {
            run_remove(&r->s->n_children, &r->s->children, i);
            return;
        }
}

/* ---- the command ---- */

static int start_check(struct run_commanding *c, const Tp__StartChildWorkflowExecutionCommandAttributes *a)
{
    const Tp__WorkflowTaskFailedCause bad = CAUSE(BAD_START_CHILD_EXECUTION_ATTRIBUTES);
    struct err e;
    if (run_empty(a->workflow_id))
        return run_command_bad(c, bad,
                               "Required field WorkflowId is not set on StartChildWorkflowExecutionCommand.");
    if (strlen(a->workflow_id) > RUN_ID_BYTES_MAX)
        return run_command_bad(c, bad,
                               "WorkflowId on StartChildWorkflowExecutionCommand exceeds length limit: "
                               "%zu bytes, at most %d.",
                               strlen(a->workflow_id), RUN_ID_BYTES_MAX);
    if (!a->workflow_type || run_empty(a->workflow_type->name))
        return run_command_bad(c, bad,
                               "Required field WorkflowType is not set on StartChildWorkflowExecutionCommand. "
                               "WorkflowId=%.200s",
                               a->workflow_id);
    if (strlen(a->workflow_type->name) > RUN_ID_BYTES_MAX)
        return run_command_bad(c, bad,
                               "WorkflowType on StartChildWorkflowExecutionCommand exceeds length limit: "
                               "%zu bytes, at most %d.",
                               strlen(a->workflow_type->name), RUN_ID_BYTES_MAX);
    if (run_duration_ns(a->workflow_execution_timeout) < 0 || run_duration_ns(a->workflow_run_timeout) < 0 ||
        run_duration_ns(a->workflow_task_timeout) < 0)
        return run_command_bad(c, bad,
                               "Invalid timeout on StartChildWorkflowExecutionCommand: negative. "
                               "WorkflowId=%.200s",
                               a->workflow_id);
    if (run_retry_check(a->retry_policy, &e) < 0)
        return run_command_bad(c, bad, "Invalid retry policy on StartChildWorkflowExecutionCommand: %s WorkflowId=%.200s",
                               e.text, a->workflow_id);
    if (!run_empty(a->cron_schedule) && run_cron_check(a->cron_schedule, &e) < 0)
        return run_command_bad(c, bad, "Invalid cron schedule on StartChildWorkflowExecutionCommand: %s WorkflowId=%.200s",
                               e.text, a->workflow_id);
    if (a->input && proto_size(a->input) > RUN_BLOB_BYTES_MAX)
        return run_command_fatal(c, bad, "StartChildWorkflowExecutionCommandAttributes.Input exceeds size limit.");
    if (a->memo && proto_size(a->memo) > RUN_BLOB_BYTES_MAX)
        return run_command_fatal(c, bad, "StartChildWorkflowExecutionCommandAttributes.Memo exceeds size limit.");
    if (c->r->s->n_children >= RUN_PENDING_MAX)
        return run_command_bad(c, CAUSE(PENDING_CHILD_WORKFLOWS_LIMIT_EXCEEDED),
                               "the number of pending child workflow executions, %zu, has reached the "
                               "per-workflow limit of %d",
                               c->r->s->n_children, RUN_PENDING_MAX);
    return 0;
}

/* A run never outlives its chain's timeout; a task never its run's. */
static int64_t within(int64_t ns, int64_t max_ns)
{
    return max_ns > 0 && (ns == 0 || ns > max_ns) ? max_ns : ns;
}

static void initiated_times(const Tp__StartChildWorkflowExecutionCommandAttributes *a,
                            Tp__StartChildWorkflowExecutionInitiatedEventAttributes *ret)
{
    int64_t execution = temporal_duration_ns(a->workflow_execution_timeout);
    int64_t run = within(temporal_duration_ns(a->workflow_run_timeout), execution);
    int64_t task = temporal_duration_ns(a->workflow_task_timeout);
    task = MIN(task > 0 ? task : RUN_TASK_TIMEOUT, RUN_TASK_TIMEOUT_MAX);
    ret->workflow_execution_timeout = temporal_duration_new(execution);
    ret->workflow_run_timeout = temporal_duration_new(run);
    ret->workflow_task_timeout = temporal_duration_new(run > 0 ? MIN(task, run) : task);
}

static void initiated_fill(const struct run_commanding *c,
                           const Tp__StartChildWorkflowExecutionCommandAttributes *a,
                           Tp__StartChildWorkflowExecutionInitiatedEventAttributes *ret)
{
    const Ws__Run *s = c->r->s;
    proto_set_text(&ret->namespace_, run_empty(a->namespace_) ? s->ns : a->namespace_);
    proto_set_text(&ret->workflow_id, a->workflow_id);
    ret->workflow_type = proto_dup(a->workflow_type);
    ret->task_queue = run_task_queue(a->task_queue && !run_empty(a->task_queue->name)
                                         ? a->task_queue->name
                                         : s->started->task_queue->name,
                                     NULL);
    ret->input = proto_dup(a->input);
    initiated_times(a, ret);
    ret->parent_close_policy =
        a->parent_close_policy == POLICY(UNSPECIFIED) ? POLICY(TERMINATE) : a->parent_close_policy;
    proto_set_text(&ret->control, a->control);
    ret->workflow_task_completed_event_id = c->completed_id;
    ret->workflow_id_reuse_policy = a->workflow_id_reuse_policy;
    if (ret->workflow_id_reuse_policy == TP__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_UNSPECIFIED)
        ret->workflow_id_reuse_policy =
            TP__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE;
    ret->retry_policy = proto_dup(a->retry_policy);
    if (ret->retry_policy)
        run_retry_fill(ret->retry_policy);
    proto_set_text(&ret->cron_schedule, a->cron_schedule);
    ret->header = proto_dup(a->header);
    ret->memo = proto_dup(a->memo);
    ret->search_attributes = proto_dup(a->search_attributes);
    ret->inherit_build_id = a->inherit_build_id;
    ret->priority = proto_dup(a->priority ? a->priority : s->priority);
    ret->versioning_override = proto_dup(a->versioning_override);
}

void run_child_initiated(struct run *r, int64_t id,
                         const Tp__StartChildWorkflowExecutionInitiatedEventAttributes *a)
{
    Ws__Child *child = proto_new(&ws__child__descriptor);
    child->initiated_id = id;
    child->initiated = proto_dup(a);
    child->execution = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&child->execution->workflow_id, a->workflow_id);
    proto_push(&r->s->n_children, &r->s->children, child);
}

int run_child_command_start(struct run_commanding *c)
{
    const Tp__StartChildWorkflowExecutionCommandAttributes *a =
        c->command->start_child_workflow_execution_command_attributes;
    if (start_check(c, a) < 0)
        return -1;
    Tp__HistoryEvent *event;
    Tp__StartChildWorkflowExecutionInitiatedEventAttributes *initiated =
        run_event_new(EVENT(START_CHILD_WORKFLOW_EXECUTION_INITIATED), &event);
    initiated_fill(c, a, initiated);
    int64_t id = run_command_event(c, event);
    run_child_initiated(c->r, id, initiated);
    return 0;
}

/* ---- its start ---- */

void run_child_started(Ws__Child *child, int64_t started_id, const char *run_id)
{
    child->started_id = started_id;
    child->schedule_pending = true;
    proto_set_text(&child->execution->run_id, run_id);
    /* What it was started with is its own now. */
    proto_set_message(&child->initiated->input, NULL);
    proto_set_message(&child->initiated->header, NULL);
    proto_set_message(&child->initiated->memo, NULL);
    proto_set_message(&child->initiated->search_attributes, NULL);
}

static Tp__WorkflowExecution *execution(const char *workflow_id, const char *run_id)
{
    Tp__WorkflowExecution *x = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&x->workflow_id, workflow_id);
    proto_set_text(&x->run_id, run_id);
    return x;
}

void run_child_record_start(struct run *r, struct durable_turn *t, Ws__Child *child, const char *run_id)
{
    Tp__HistoryEvent *event;
    Tp__ChildWorkflowExecutionStartedEventAttributes *a =
        run_event_new(EVENT(CHILD_WORKFLOW_EXECUTION_STARTED), &event);
    proto_set_text(&a->namespace_, child->initiated->namespace_);
    a->initiated_event_id = child->initiated_id;
    a->workflow_execution = execution(child->initiated->workflow_id, run_id);
    a->workflow_type = proto_dup(child->initiated->workflow_type);
    a->header = proto_dup(child->initiated->header);
    run_child_started(child, run_event_add(r, t, event), run_id);
}

void run_child_record_refusal(struct run *r, struct durable_turn *t, Ws__Child *child, enum code code)
{
    Tp__HistoryEvent *event;
    Tp__StartChildWorkflowExecutionFailedEventAttributes *a =
        run_event_new(EVENT(START_CHILD_WORKFLOW_EXECUTION_FAILED), &event);
    proto_set_text(&a->namespace_, child->initiated->namespace_);
    proto_set_text(&a->workflow_id, child->initiated->workflow_id);
    a->workflow_type = proto_dup(child->initiated->workflow_type);
    a->cause = code == CODE_NOT_FOUND
                   ? TP__START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE__START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND
                   : TP__START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE__START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS;
    proto_set_text(&a->control, child->initiated->control);
    a->initiated_event_id = child->initiated_id;
    a->workflow_task_completed_event_id = child->initiated->workflow_task_completed_event_id;
    run_event_add(r, t, event);
    run_child_remove(r, child->initiated_id);
}

/* ---- its end ---- */

/* The attributes that all five ways to end have, by name. */
#define CLOSED(a, child, run_id)                                                         \
    do {                                                                                 \
        proto_set_text(&(a)->namespace_, (child)->initiated->namespace_);                \
        (a)->workflow_execution = execution((child)->initiated->workflow_id, (run_id));  \
        (a)->workflow_type = proto_dup((child)->initiated->workflow_type);               \
        (a)->initiated_event_id = (child)->initiated_id;                                 \
        (a)->started_event_id = (child)->started_id;                                     \
    } while (0)

static Tp__HistoryEvent *closed_event(const Ws__Child *child, const char *run_id,
                                      const struct run_close *close)
{
    Tp__HistoryEvent *event;
    switch (close->status) {
    case STATUS(COMPLETED): {
        Tp__ChildWorkflowExecutionCompletedEventAttributes *a =
            run_event_new(EVENT(CHILD_WORKFLOW_EXECUTION_COMPLETED), &event);
        CLOSED(a, child, run_id);
        a->result = proto_dup(close->result);
        return event;
    }
    case STATUS(FAILED): {
        Tp__ChildWorkflowExecutionFailedEventAttributes *a =
            run_event_new(EVENT(CHILD_WORKFLOW_EXECUTION_FAILED), &event);
        CLOSED(a, child, run_id);
        a->failure = run_failure_dup(close->failure);
        a->retry_state = close->retry_state;
        return event;
    }
    case STATUS(CANCELED): {
        Tp__ChildWorkflowExecutionCanceledEventAttributes *a =
            run_event_new(EVENT(CHILD_WORKFLOW_EXECUTION_CANCELED), &event);
        CLOSED(a, child, run_id);
        a->details = proto_dup(close->result);
        return event;
    }
    case STATUS(TIMED_OUT): {
        Tp__ChildWorkflowExecutionTimedOutEventAttributes *a =
            run_event_new(EVENT(CHILD_WORKFLOW_EXECUTION_TIMED_OUT), &event);
        CLOSED(a, child, run_id);
        a->retry_state = close->retry_state;
        return event;
    }
    default: {
        ASSERT(close->status == STATUS(TERMINATED));
        Tp__ChildWorkflowExecutionTerminatedEventAttributes *a =
            run_event_new(EVENT(CHILD_WORKFLOW_EXECUTION_TERMINATED), &event);
        CLOSED(a, child, run_id);
        return event;
    }
    }
}

void run_child_closed(struct run *r, struct durable_turn *t, int64_t initiated_id,
                      const struct uuid *child_run, const struct run_close *close)
{
    const struct uuid none = { { 0 } };
    Ws__Child *child = run_child_find(r, initiated_id);
    if (!child || !run_open(r) || memcmp(&close->next_run, &none, sizeof(none)) != 0)
        return;
    char run_id[UUID_TEXT];
    uuid_format(child_run, run_id);
    if (child->started_id == 0) /* ended by someone before its start was known here */
        run_child_record_start(r, t, child, run_id);
    run_event_add(r, t, closed_event(child, run_id, close));
    run_child_remove(r, initiated_id);
    run_wake(r, t);
    run_end(r, t);
}

void run_child_may_begin(struct run *r, struct durable_turn *t)
{
    if (!run_open(r) || !r->s->waits_for_parent)
        return;
    r->s->waits_for_parent = false;
    run_task_first(r, t);
    run_end(r, t);
}

/* ---- after a reset ---- */

#define ENDED_AGAIN(copy, child, field) ((copy)->field->started_event_id = (child)->started_id)

static Tp__HistoryEvent *end_again(const Tp__HistoryEvent *e, const Ws__Child *child)
{
    Tp__HistoryEvent *copy = proto_dup(e);
    copy->event_id = 0;
    switch (e->event_type) {
    case EVENT(CHILD_WORKFLOW_EXECUTION_COMPLETED):
        ENDED_AGAIN(copy, child, child_workflow_execution_completed_event_attributes);
        break;
    case EVENT(CHILD_WORKFLOW_EXECUTION_FAILED):
        ENDED_AGAIN(copy, child, child_workflow_execution_failed_event_attributes);
        break;
    case EVENT(CHILD_WORKFLOW_EXECUTION_CANCELED):
        ENDED_AGAIN(copy, child, child_workflow_execution_canceled_event_attributes);
        break;
    case EVENT(CHILD_WORKFLOW_EXECUTION_TIMED_OUT):
        ENDED_AGAIN(copy, child, child_workflow_execution_timed_out_event_attributes);
        break;
    default:
        ENDED_AGAIN(copy, child, child_workflow_execution_terminated_event_attributes);
        break;
    }
    return copy;
}

static int64_t initiated_of(const Tp__HistoryEvent *e)
{
    switch (e->event_type) {
    case EVENT(START_CHILD_WORKFLOW_EXECUTION_FAILED):
        return e->start_child_workflow_execution_failed_event_attributes->initiated_event_id;
    case EVENT(CHILD_WORKFLOW_EXECUTION_STARTED):
        return e->child_workflow_execution_started_event_attributes->initiated_event_id;
    case EVENT(CHILD_WORKFLOW_EXECUTION_COMPLETED):
        return e->child_workflow_execution_completed_event_attributes->initiated_event_id;
    case EVENT(CHILD_WORKFLOW_EXECUTION_FAILED):
        return e->child_workflow_execution_failed_event_attributes->initiated_event_id;
    case EVENT(CHILD_WORKFLOW_EXECUTION_CANCELED):
        return e->child_workflow_execution_canceled_event_attributes->initiated_event_id;
    case EVENT(CHILD_WORKFLOW_EXECUTION_TIMED_OUT):
        return e->child_workflow_execution_timed_out_event_attributes->initiated_event_id;
    case EVENT(CHILD_WORKFLOW_EXECUTION_TERMINATED):
        return e->child_workflow_execution_terminated_event_attributes->initiated_event_id;
    default:
        return 0;
    }
}

void run_child_again(struct run *r, struct durable_turn *t, const Tp__HistoryEvent *e)
{
    int64_t initiated = initiated_of(e);
    Ws__Child *child = initiated ? run_child_find(r, initiated) : NULL;
    if (!child)
        return; /* the new run has not got so far */
    if (e->event_type == EVENT(CHILD_WORKFLOW_EXECUTION_STARTED)) {
        if (child->started_id == 0)
            run_child_record_start(r, t, child,
                                   e->child_workflow_execution_started_event_attributes->workflow_execution->run_id);
        return;
    }
    if (e->event_type == EVENT(START_CHILD_WORKFLOW_EXECUTION_FAILED)) {
        Tp__HistoryEvent *copy = proto_dup(e);
        copy->event_id = 0;
        (void)run_event_add(r, t, copy);
    } else {
        (void)run_event_add(r, t, end_again(e, child));
    }
    run_child_remove(r, initiated);
}

bool run_is_child(const struct run *r, const char *parent_run, int64_t initiated_id)
{
    const Tp__WorkflowExecutionStartedEventAttributes *a = r->s->started;
    return a->parent_workflow_execution && a->parent_initiated_event_id == initiated_id &&
           strcmp(a->parent_workflow_execution->run_id, parent_run) == 0;
}

bool run_has_child(const struct run *r, int64_t initiated_id, const char *first_run)
{
    const Ws__Child *child = run_child_find(r, initiated_id);
    return child && child->started_id != 0 && strcmp(child->execution->run_id, first_run) == 0;
}

/* ---- the parent's end ---- */

static void errand_add(struct run *r, const Ws__Child *child, enum run_errand_type type)
{
    Ws__Errand *errand = proto_new(&ws__errand__descriptor);
    errand->id = child->initiated_id;
    errand->type = type;
    proto_set_text(&errand->ns, child->initiated->namespace_);
    errand->target = execution(child->initiated->workflow_id, NULL);
    /* Empty if its start is not known here: then whatever was started by that event is meant. */
    proto_set_text(&errand->first_run_id, child->execution->run_id);
    proto_set_text(&errand->requested_by, child->requested_by);
    proto_push(&r->s->n_errands, &r->s->errands, errand);
}

/* True: it stays, because it is still to be started, or to be told that it may begin. */
static bool child_let_go(struct run *r, Ws__Child *child)
{
    child->ask = false; /* its end is nothing to this run any more */
    bool seen = child->started_id != 0;
    switch (child->initiated->parent_close_policy) {
    case POLICY(ABANDON):
        return !seen || child->schedule_pending;
    case POLICY(REQUEST_CANCEL):
        /* One that was never seen to start would wait for its parent for ever: it ends. */
        errand_add(r, child, seen ? RUN_ERRAND_CLOSE_CANCEL : RUN_ERRAND_CLOSE_TERMINATE);
        return seen && child->schedule_pending;
    default:
        errand_add(r, child, RUN_ERRAND_CLOSE_TERMINATE);
        return false;
    }
}

void run_child_on_close(struct run *r)
{
    for (size_t i = 0; i < r->s->n_children;) {
        if (child_let_go(r, r->s->children[i]))
            i++;
        else
            run_remove(&r->s->n_children, &r->s->children, i);
    }
    if (r->s->close && r->s->started->parent_workflow_execution && run_empty(r->s->next_run_id) &&
        run_empty(r->s->reset_run_id)) /* else the parent is the other run's, as most children are */
        r->s->close->parent_pending = true; /* the end of the chain, not that of a link */
}
