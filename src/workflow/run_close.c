#include "workflow/run_impl.h"

#include <string.h>

/* A worker still has the task: its answer comes too late, and the history says why. */
static void task_end(struct run *r, struct durable_turn *t)
{
    Ws__Run *s = r->s;
    Ws__WorkflowTask *k = s->task;
    if (!k)
        return;
    if (k->started_id && k->written && k->attempt == 1) {
        Tp__HistoryEvent *event;
        Tp__WorkflowTaskFailedEventAttributes *a = run_event_new(EVENT(WORKFLOW_TASK_FAILED), &event);
        a->scheduled_event_id = k->scheduled_id;
        a->started_event_id = k->started_id;
        a->cause = CAUSE(FORCE_CLOSE_COMMAND);
        proto_set_text(&a->identity, "history-service");
        (void)run_event_add(r, t, event);
    }
    proto_free(k);
    s->task = NULL;
    run_update_on_lost(r);
}

static void forget_all(Ws__Run *s)
{
    while (s->n_activities)
        run_remove(&s->n_activities, &s->activities, s->n_activities - 1);
    while (s->n_timers)
        run_remove(&s->n_timers, &s->timers, s->n_timers - 1);
    s->backing_off = s->waits_for_parent = false;
    proto_set_text(&s->sticky_queue, NULL);
}

void run_close(struct run *r, struct durable_turn *t, Tp__WorkflowExecutionStatus status,
               Tp__HistoryEvent *take_event, Ws__Close *take_close, const Tp__Command *command)
{
    Ws__Run *s = r->s;
    ASSERT(run_open(r) && status != STATUS(RUNNING) && s->close_event_id == 0);
    task_end(r, t);
    run_event_flush(r);
    run_update_on_close(r);
    if (command)
        take_event->user_metadata = proto_dup(command->user_metadata);
    s->close_event_id = run_event_add(r, t, take_event);
    s->status = status;
    s->close_ns = MAX(t->now_ns, s->last_event_ns);
    s->forget_ns = run_deadline(s->close_ns, s->retention_ns ? s->retention_ns : RUN_RETENTION);
    proto_set_message(&s->close, take_close);
    forget_all(s);
    run_child_on_close(r);
    /* Only what may be begun again needs what it began with. */
    proto_set_message(&s->started->input, NULL);
    proto_set_message(&s->started->header, NULL);
    t->indexed = true;
}

void run_retain(struct run *r, const struct durable_turn *t, int64_t retention_ms)
{
    Ws__Run *s = r->s;
    if (run_open(r) || !t->changed || s->close_ns != MAX(t->now_ns, s->last_event_ns) || retention_ms <= 0)
        return; /* it goes on, or ended before */
    s->retention_ns = MIN(retention_ms, RUN_LONGEST_NS / 1000000) * 1000000;
    s->forget_ns = run_deadline(s->close_ns, s->retention_ns);
}

static void next_set(struct run *r, const struct uuid *next, char **field)
{
    char text[UUID_TEXT];
    uuid_format(next, text);
    proto_set_text(&r->s->next_run_id, text);
    proto_set_text(field, text);
}

int run_close_command_complete(struct run_commanding *c)
{
    const Tp__CompleteWorkflowExecutionCommandAttributes *q =
        c->command->complete_workflow_execution_command_attributes;
    if (q->result && proto_size(q->result) > RUN_BLOB_BYTES_MAX)
        return run_command_fatal(c, CAUSE(BAD_COMPLETE_WORKFLOW_EXECUTION_ATTRIBUTES),
                                 "CompleteWorkflowExecutionCommandAttributes.Result exceeds size limit.");
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionCompletedEventAttributes *a =
        run_event_new(EVENT(WORKFLOW_EXECUTION_COMPLETED), &event);
    a->result = proto_dup(q->result);
    a->workflow_task_completed_event_id = c->completed_id;
    Tp__RetryState state;
    if (run_chain_after(c->r, c->t, STATUS(COMPLETED), NULL, q->result, &c->next_run, &state))
        next_set(c->r, &c->next_run, &a->new_execution_run_id);
    Ws__Close *close = proto_new(&ws__close__descriptor);
    close->result = proto_dup(q->result);
    run_close(c->r, c->t, STATUS(COMPLETED), event, close, c->command);
    return 0;
}

int run_close_command_fail(struct run_commanding *c)
{
    const Tp__FailWorkflowExecutionCommandAttributes *q =
        c->command->fail_workflow_execution_command_attributes;
    if (!q->failure)
        return run_command_bad(c, CAUSE(BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES),
                               "Failure is not set on FailWorkflowExecutionCommand.");
    if (proto_size(q->failure) > RUN_BLOB_BYTES_MAX)
        return run_command_fatal(c, CAUSE(BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES),
                                 "FailWorkflowExecutionCommandAttributes.Failure exceeds size limit.");
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionFailedEventAttributes *a = run_event_new(EVENT(WORKFLOW_EXECUTION_FAILED), &event);
    a->failure = run_failure_dup(q->failure);
    a->workflow_task_completed_event_id = c->completed_id;
    if (run_chain_after(c->r, c->t, STATUS(FAILED), q->failure, NULL, &c->next_run, &a->retry_state))
        next_set(c->r, &c->next_run, &a->new_execution_run_id);
    Ws__Close *close = proto_new(&ws__close__descriptor);
    close->failure = run_failure_dup(q->failure);
    close->retry_state = a->retry_state;
    run_close(c->r, c->t, STATUS(FAILED), event, close, c->command);
    return 0;
}

int run_close_command_cancel(struct run_commanding *c)
{
    const Tp__CancelWorkflowExecutionCommandAttributes *q =
        c->command->cancel_workflow_execution_command_attributes;
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionCanceledEventAttributes *a = run_event_new(EVENT(WORKFLOW_EXECUTION_CANCELED), &event);
    a->details = proto_dup(q->details);
    a->workflow_task_completed_event_id = c->completed_id;
    Ws__Close *close = proto_new(&ws__close__descriptor);
    close->result = proto_dup(q->details);
    run_close(c->r, c->t, STATUS(CANCELED), event, close, c->command);
    return 0;
}

void run_close_terminate(struct run *r, struct durable_turn *t, const char *reason,
                         const Tp__Payloads *details, const char *identity)
{
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionTerminatedEventAttributes *a =
        run_event_new(EVENT(WORKFLOW_EXECUTION_TERMINATED), &event);
    proto_set_text(&a->reason, reason);
    a->details = proto_dup(details);
    proto_set_text(&a->identity, identity);
    run_close(r, t, STATUS(TERMINATED), event, proto_new(&ws__close__descriptor), NULL);
}

bool run_close_read(const Tp__HistoryEvent *e, struct run_close *ret)
{
    switch (e->event_type) {
    case EVENT(WORKFLOW_EXECUTION_COMPLETED):
        *ret = (struct run_close){ .status = STATUS(COMPLETED),
                                   .result = e->workflow_execution_completed_event_attributes->result };
        return true;
    case EVENT(WORKFLOW_EXECUTION_FAILED):
        *ret = (struct run_close){ .status = STATUS(FAILED),
                                   .failure = e->workflow_execution_failed_event_attributes->failure,
                                   .retry_state = e->workflow_execution_failed_event_attributes->retry_state };
        return true;
    case EVENT(WORKFLOW_EXECUTION_CANCELED):
        *ret = (struct run_close){ .status = STATUS(CANCELED),
                                   .result = e->workflow_execution_canceled_event_attributes->details };
        return true;
    case EVENT(WORKFLOW_EXECUTION_TIMED_OUT):
        *ret = (struct run_close){ .status = STATUS(TIMED_OUT),
                                   .retry_state = e->workflow_execution_timed_out_event_attributes->retry_state };
        return true;
    case EVENT(WORKFLOW_EXECUTION_TERMINATED):
        *ret = (struct run_close){ .status = STATUS(TERMINATED) };
        return true;
    default:
        return false;
    }
}

/* ---- timeouts, retention ---- */

int64_t run_close_due(const struct run *r)
{
    const Ws__Run *s = r->s;
    struct run_errand errand;
    if (!run_open(r)) /* not while somebody is still to be told of its end */
        return run_wants_errand(r, 0, &errand) ? JOURNAL_NEVER : s->forget_ns;
    int64_t run_ns = s->run_deadline_ns ? s->run_deadline_ns : JOURNAL_NEVER;
    return MIN(run_ns, s->execution_deadline_ns ? s->execution_deadline_ns : JOURNAL_NEVER);
}

void run_close_on_due(struct run *r, struct durable_turn *t)
{
    if (run_close_due(r) > t->now_ns)
        return;
    if (!run_open(r)) {
        t->forget = true;
        t->changed = true;
        return;
    }
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionTimedOutEventAttributes *a =
        run_event_new(EVENT(WORKFLOW_EXECUTION_TIMED_OUT), &event);
    struct uuid next;
    if (run_chain_after(r, t, STATUS(TIMED_OUT), NULL, NULL, &next, &a->retry_state))
        next_set(r, &next, &a->new_execution_run_id);
    Ws__Close *close = proto_new(&ws__close__descriptor);
    close->retry_state = a->retry_state;
    run_close(r, t, STATUS(TIMED_OUT), event, close, NULL);
}
