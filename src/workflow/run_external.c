/* Signals and cancellations that a workflow sends to others: the commands, and how each came out. */
#include "workflow/run_external.h"

#include <string.h>

static size_t outbound_count(const Ws__Run *s, bool signals)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_outbound; i++)
        n += signals == (s->outbound[i]->signal != NULL);
    return n;
}

Ws__Outbound *run_external_find(const struct run *r, int64_t initiated_id)
{
    for (size_t i = 0; i < r->s->n_outbound; i++)
        if (r->s->outbound[i]->initiated_id == initiated_id)
            return r->s->outbound[i];
    return NULL;
}

void run_external_remove(struct run *r, int64_t initiated_id)
{
    for (size_t i = 0; i < r->s->n_outbound; i++)
        if (r->s->outbound[i]->initiated_id == initiated_id) {
            run_remove(&r->s->n_outbound, &r->s->outbound, i);
            return;
        }
}

static int target_check(struct run_commanding *c, Tp__WorkflowTaskFailedCause bad, const char *command,
                        const char *workflow_id, const char *run_id)
{
    struct uuid run;
    if (run_empty(workflow_id))
        return run_command_bad(c, bad, "WorkflowId is not set on %s.", command);
    if (strlen(workflow_id) > RUN_ID_BYTES_MAX)
        return run_command_bad(c, bad, "WorkflowId on %s exceeds length limit: %zu bytes, at most %d.", command,
                               strlen(workflow_id), RUN_ID_BYTES_MAX);
    if (!run_empty(run_id) && !uuid_parse(str_of(run_id), &run))
        return run_command_bad(c, bad, "Invalid RunId set on %s. WorkflowId=%.200s RunId=%.100s", command,
                               workflow_id, run_id);
    return 0;
}

/* ---- signals ---- */

static int signal_check(struct run_commanding *c,
                        const Tp__SignalExternalWorkflowExecutionCommandAttributes *a)
{
    const char *command = "SignalExternalWorkflowExecutionCommand";
    const Tp__WorkflowTaskFailedCause bad = CAUSE(BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES);
    if (!a->execution)
        return run_command_bad(c, bad, "Execution is not set on %s.", command);
    if (target_check(c, bad, command, a->execution->workflow_id, a->execution->run_id) < 0)
        return -1;
    if (run_empty(a->signal_name))
        return run_command_bad(c, bad, "SignalName is not set on %s. WorkflowId=%.200s", command,
                               a->execution->workflow_id);
    if (strlen(a->signal_name) > RUN_ID_BYTES_MAX)
        return run_command_bad(c, bad, "SignalName on %s exceeds length limit: %zu bytes, at most %d.", command,
                               strlen(a->signal_name), RUN_ID_BYTES_MAX);
    if (a->input && proto_size(a->input) > RUN_BLOB_BYTES_MAX)
        return run_command_fatal(
            c, bad, "SignalExternalWorkflowExecutionCommandAttributes.Input exceeds size limit.");
    if (outbound_count(c->r->s, true) >= RUN_PENDING_MAX)
        return run_command_bad(c, CAUSE(PENDING_SIGNALS_LIMIT_EXCEEDED),
                               "the number of pending signals to external workflows has reached the per-workflow "
                               "limit of %d",
                               RUN_PENDING_MAX);
    return 0;
}

void run_external_signal_initiated(struct run *r, int64_t id,
                                   const Tp__SignalExternalWorkflowExecutionInitiatedEventAttributes *a)
{
    Ws__Outbound *o = proto_new(&ws__outbound__descriptor);
    o->initiated_id = id;
    o->signal = proto_dup(a);
    proto_push(&r->s->n_outbound, &r->s->outbound, o);
}

int run_external_command_signal(struct run_commanding *c)
{
    const Tp__SignalExternalWorkflowExecutionCommandAttributes *a =
        c->command->signal_external_workflow_execution_command_attributes;
    if (signal_check(c, a) < 0)
        return -1;
    Tp__HistoryEvent *event;
    Tp__SignalExternalWorkflowExecutionInitiatedEventAttributes *i =
        run_event_new(EVENT(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED), &event);
    i->workflow_task_completed_event_id = c->completed_id;
    proto_set_text(&i->namespace_, run_empty(a->namespace_) ? c->r->s->ns : a->namespace_);
    i->workflow_execution = proto_dup(a->execution);
    proto_set_text(&i->signal_name, a->signal_name);
    i->input = proto_dup(a->input);
    proto_set_text(&i->control, a->control);
    i->child_workflow_only = a->child_workflow_only;
    i->header = proto_dup(a->header);
    int64_t id = run_command_event(c, event);
    run_external_signal_initiated(c->r, id, i);
    return 0;
}

/* ---- cancellations ---- */

static bool child_of_this_task(const struct run_commanding *c, const char *workflow_id)
{
    for (size_t i = 0; i < c->r->s->n_children; i++) {
        const Ws__Child *child = c->r->s->children[i];
        if (child->initiated_id > c->completed_id && strcmp(child->initiated->workflow_id, workflow_id) == 0)
            return true;
    }
    return false;
}

static int cancel_check(struct run_commanding *c,
                        const Tp__RequestCancelExternalWorkflowExecutionCommandAttributes *a)
{
    const char *command = "RequestCancelExternalWorkflowExecutionCommand";
    const Tp__WorkflowTaskFailedCause bad =
        CAUSE(BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES);
    if (target_check(c, bad, command, a->workflow_id, a->run_id) < 0)
        return -1;
    if (child_of_this_task(c, a->workflow_id))
        return run_command_bad(c, bad,
                               "Start and RequestCancel for child workflow is not allowed in same workflow task. "
                               "WorkflowId=%.200s",
                               a->workflow_id);
    if (outbound_count(c->r->s, false) >= RUN_PENDING_MAX)
        return run_command_bad(c, CAUSE(PENDING_REQUEST_CANCEL_LIMIT_EXCEEDED),
                               "the number of pending requests to cancel external workflows has reached the "
                               "per-workflow limit of %d",
                               RUN_PENDING_MAX);
    return 0;
}

void run_external_cancel_initiated(
    struct run *r, int64_t id,
    const Tp__RequestCancelExternalWorkflowExecutionInitiatedEventAttributes *a)
{
    Ws__Outbound *o = proto_new(&ws__outbound__descriptor);
    o->initiated_id = id;
    o->cancel = proto_dup(a);
    proto_push(&r->s->n_outbound, &r->s->outbound, o);
}

int run_external_command_cancel(struct run_commanding *c)
{
    const Tp__RequestCancelExternalWorkflowExecutionCommandAttributes *a =
        c->command->request_cancel_external_workflow_execution_command_attributes;
    if (cancel_check(c, a) < 0)
        return -1;
    Tp__HistoryEvent *event;
    Tp__RequestCancelExternalWorkflowExecutionInitiatedEventAttributes *i =
        run_event_new(EVENT(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED), &event);
    i->workflow_task_completed_event_id = c->completed_id;
    proto_set_text(&i->namespace_, run_empty(a->namespace_) ? c->r->s->ns : a->namespace_);
    i->workflow_execution = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&i->workflow_execution->workflow_id, a->workflow_id);
    proto_set_text(&i->workflow_execution->run_id, a->run_id);
    proto_set_text(&i->control, a->control);
    i->child_workflow_only = a->child_workflow_only;
    proto_set_text(&i->reason, a->reason);
    int64_t id = run_command_event(c, event);
    run_external_cancel_initiated(c->r, id, i);
    return 0;
}

/* ---- how it came out ---- */

static bool no_namespace(const struct refusal *no)
{
    return no->detail_type && strstr(no->detail_type, "NamespaceNotFound") != NULL;
}

static Tp__HistoryEvent *signal_failed(const Ws__Outbound *o, const struct refusal *no)
{
#define SIGNAL_CAUSE(name) \
    TP__SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE__SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_##name
    Tp__HistoryEvent *event;
    Tp__SignalExternalWorkflowExecutionFailedEventAttributes *a =
        run_event_new(EVENT(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED), &event);
    a->cause = no_namespace(no)               ? SIGNAL_CAUSE(NAMESPACE_NOT_FOUND)
               : no->code == CODE_NOT_FOUND   ? SIGNAL_CAUSE(EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND)
                                              : SIGNAL_CAUSE(SIGNAL_COUNT_LIMIT_EXCEEDED);
    a->workflow_task_completed_event_id = o->signal->workflow_task_completed_event_id;
    proto_set_text(&a->namespace_, o->signal->namespace_);
    a->workflow_execution = proto_dup(o->signal->workflow_execution);
    a->initiated_event_id = o->initiated_id;
    proto_set_text(&a->control, o->signal->control);
    return event;
}

static Tp__HistoryEvent *signal_done(const Ws__Outbound *o)
{
    Tp__HistoryEvent *event;
    Tp__ExternalWorkflowExecutionSignaledEventAttributes *a =
        run_event_new(EVENT(EXTERNAL_WORKFLOW_EXECUTION_SIGNALED), &event);
    a->initiated_event_id = o->initiated_id;
    proto_set_text(&a->namespace_, o->signal->namespace_);
    a->workflow_execution = proto_dup(o->signal->workflow_execution);
    proto_set_text(&a->control, o->signal->control);
    return event;
}

static Tp__HistoryEvent *cancel_failed(const Ws__Outbound *o, const struct refusal *no)
{
#define CANCEL_CAUSE(name) \
    TP__CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE__CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_##name
    Tp__HistoryEvent *event;
    Tp__RequestCancelExternalWorkflowExecutionFailedEventAttributes *a =
        run_event_new(EVENT(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED), &event);
    a->cause = no_namespace(no) ? CANCEL_CAUSE(NAMESPACE_NOT_FOUND)
                                : CANCEL_CAUSE(EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND);
    a->workflow_task_completed_event_id = o->cancel->workflow_task_completed_event_id;
    proto_set_text(&a->namespace_, o->cancel->namespace_);
    a->workflow_execution = proto_dup(o->cancel->workflow_execution);
    a->initiated_event_id = o->initiated_id;
    proto_set_text(&a->control, o->cancel->control);
    return event;
}

static Tp__HistoryEvent *cancel_done(const Ws__Outbound *o)
{
    Tp__HistoryEvent *event;
    Tp__ExternalWorkflowExecutionCancelRequestedEventAttributes *a =
        run_event_new(EVENT(EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED), &event);
    a->initiated_event_id = o->initiated_id;
    proto_set_text(&a->namespace_, o->cancel->namespace_);
    a->workflow_execution = proto_dup(o->cancel->workflow_execution);
    return event;
}

void run_external_record(struct run *r, struct durable_turn *t, const Ws__Outbound *o, const struct refusal *no)
{
    Tp__HistoryEvent *event = o->signal ? (no ? signal_failed(o, no) : signal_done(o))
                                        : (no ? cancel_failed(o, no) : cancel_done(o));
    run_event_add(r, t, event);
    run_external_remove(r, o->initiated_id);
}
