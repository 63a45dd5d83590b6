/* temporal_life.c -- what a history may look like, and the programs that workers run: both read a history alone.
 *
 * A workflow of type "P123.2" runs program 123, two more generations of it. Its steps are drawn from that number. */
#include "sim/temporal_world.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- numbers that travel -------------------------------------------------------------------- */

Tp__Payloads *tw_number(uint64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, n);
    return temporal_payloads_new(str_of(text));
}

uint64_t tw_number_of(const Tp__Payloads *p)
{
    uint64_t n;
    if (!p || p->n_payloads != 1)
        return 0;
    return str_u64(proto_bytes(&p->payloads[0]->data), &n) ? n : 0;
}

/* ---- a history, event by event -------------------------------------------------------------- */

static struct tw_slot *slot_at(struct tw_life *l, const char *text)
{
    unsigned long at = strtoul(text, NULL, 10);
    return *text && at < TW_SLOTS ? &l->slots[at] : NULL;
}

static struct tw_slot *slot_by(struct tw_life *l, enum tw_thing thing, int64_t event)
{
    for (size_t i = 0; i < TW_SLOTS; i++)
        if (l->slots[i].thing == thing && l->slots[i].event == event)
            return &l->slots[i];
    return NULL;
}

static const char *issue(struct tw_life *l, const char *text, enum tw_thing thing, int64_t event, int64_t completed)
{
    struct tw_slot *s = slot_at(l, text);
    if (!s || s->thing)
        return "what a step asked for is there once";
    s->thing = thing;
    s->event = event;
    return completed == l->completed && completed ? NULL : "a command's event names the task it came with";
}

static const char *end(struct tw_life *l, enum tw_thing thing, int64_t event, bool good)
{
    struct tw_slot *s = slot_by(l, thing, event);
    if (!s || s->over)
        return "what was asked for ends, and ends once";
    s->over = true;
    s->bad = !good;
    return NULL;
}

static const char *activity_end(struct tw_life *l, int64_t event, int64_t started, bool good, bool unstarted)
{
    struct tw_slot *s = slot_by(l, T_ACTIVITY, event);
    if (s && !(unstarted && started == 0) && s->began_event != started)
        return "an activity ends as the attempt that was started";
    return end(l, T_ACTIVITY, event, good);
}

static const char *child_end(struct tw_life *l, int64_t initiated, int64_t started, bool good)
{
    struct tw_slot *s = slot_by(l, T_CHILD, initiated);
    if (s && (!s->began || s->began_event != started))
        return "a child began before it ended";
    return end(l, T_CHILD, initiated, good);
}

static const char *task_event(struct tw_life *l, const Tp__HistoryEvent *v)
{
    switch (v->event_type) {
    case EV(WORKFLOW_TASK_SCHEDULED):
        if (l->scheduled)
            return "one workflow task at a time";
        l->scheduled = v->event_id;
        return NULL;
    case EV(WORKFLOW_TASK_STARTED):
        if (!l->scheduled || l->started || v->workflow_task_started_event_attributes->scheduled_event_id != l->scheduled)
            return "the task that was scheduled is started";
        l->started = v->event_id;
        return NULL;
    case EV(WORKFLOW_TASK_COMPLETED):
        if (!l->started || v->workflow_task_completed_event_attributes->started_event_id != l->started ||
            v->workflow_task_completed_event_attributes->scheduled_event_id != l->scheduled)
            return "the task that was started is completed";
        l->completed = v->event_id;
        break;
    case EV(WORKFLOW_TASK_FAILED):
        if (!l->started || v->workflow_task_failed_event_attributes->started_event_id != l->started)
            return "the task that was started fails";
        break;
    default:
        if (!l->scheduled || v->workflow_task_timed_out_event_attributes->scheduled_event_id != l->scheduled ||
            v->workflow_task_timed_out_event_attributes->started_event_id != l->started)
            return "the task that there is times out";
        break;
    }
    l->scheduled = l->started = 0;
    return NULL;
}

static const char *activity_event(struct tw_life *l, const Tp__HistoryEvent *v)
{
    struct tw_slot *s;
    switch (v->event_type) {
    case EV(ACTIVITY_TASK_SCHEDULED): {
        const Tp__ActivityTaskScheduledEventAttributes *a = v->activity_task_scheduled_event_attributes;
        return issue(l, a->activity_id, T_ACTIVITY, v->event_id, a->workflow_task_completed_event_id);
    }
    case EV(ACTIVITY_TASK_STARTED):
        s = slot_by(l, T_ACTIVITY, v->activity_task_started_event_attributes->scheduled_event_id);
        if (!s || s->over || s->began_event)
            return "an activity's start is written once, before its end";
        s->began_event = v->event_id;
        return NULL;
    case EV(ACTIVITY_TASK_COMPLETED): {
        const Tp__ActivityTaskCompletedEventAttributes *a = v->activity_task_completed_event_attributes;
        return activity_end(l, a->scheduled_event_id, a->started_event_id, true, false);
    }
    case EV(ACTIVITY_TASK_FAILED): {
        const Tp__ActivityTaskFailedEventAttributes *a = v->activity_task_failed_event_attributes;
        return activity_end(l, a->scheduled_event_id, a->started_event_id, false, false);
    }
    case EV(ACTIVITY_TASK_TIMED_OUT): {
        const Tp__ActivityTaskTimedOutEventAttributes *a = v->activity_task_timed_out_event_attributes;
        return activity_end(l, a->scheduled_event_id, a->started_event_id, false, true);
    }
    case EV(ACTIVITY_TASK_CANCEL_REQUESTED): {
        const Tp__ActivityTaskCancelRequestedEventAttributes *a = v->activity_task_cancel_requested_event_attributes;
        s = slot_by(l, T_ACTIVITY, a->scheduled_event_id);
        if (!s || s->cancel || a->workflow_task_completed_event_id != l->completed)
            return "an activity is cancelled once, by a command";
        s->cancel = true;
        return NULL;
    }
    default: {
        const Tp__ActivityTaskCanceledEventAttributes *a = v->activity_task_canceled_event_attributes;
        s = slot_by(l, T_ACTIVITY, a->scheduled_event_id);
        if (!s || !s->cancel)
            return "an activity is not cancelled unasked";
        return activity_end(l, a->scheduled_event_id, a->started_event_id, false, true);
    }
    }
}

static const char *timer_event(struct tw_life *l, const Tp__HistoryEvent *v)
{
    if (v->event_type == EV(TIMER_STARTED)) {
        const Tp__TimerStartedEventAttributes *a = v->timer_started_event_attributes;
        return issue(l, a->timer_id, T_TIMER, v->event_id, a->workflow_task_completed_event_id);
    }
    if (v->event_type == EV(TIMER_FIRED))
        return end(l, T_TIMER, v->timer_fired_event_attributes->started_event_id, true);
    return end(l, T_TIMER, v->timer_canceled_event_attributes->started_event_id, false);
}

static const char *child_event(struct tw_life *l, const Tp__HistoryEvent *v)
{
    struct tw_slot *s;
    switch (v->event_type) {
    case EV(START_CHILD_WORKFLOW_EXECUTION_INITIATED): {
        const Tp__StartChildWorkflowExecutionInitiatedEventAttributes *a =
            v->start_child_workflow_execution_initiated_event_attributes;
        return issue(l, a->control, T_CHILD, v->event_id, a->workflow_task_completed_event_id);
    }
    case EV(START_CHILD_WORKFLOW_EXECUTION_FAILED):
        s = slot_by(l, T_CHILD, v->start_child_workflow_execution_failed_event_attributes->initiated_event_id);
        if (s && s->began)
            return "a child that began did not fail to";
        return end(l, T_CHILD, v->start_child_workflow_execution_failed_event_attributes->initiated_event_id, false);
    case EV(CHILD_WORKFLOW_EXECUTION_STARTED):
        s = slot_by(l, T_CHILD, v->child_workflow_execution_started_event_attributes->initiated_event_id);
        if (!s || s->began || s->over)
            return "a child begins once";
        s->began = true;
        s->began_event = v->event_id;
        return NULL;
    case EV(CHILD_WORKFLOW_EXECUTION_COMPLETED): {
        const Tp__ChildWorkflowExecutionCompletedEventAttributes *a = v->child_workflow_execution_completed_event_attributes;
        return child_end(l, a->initiated_event_id, a->started_event_id, true);
    }
    case EV(CHILD_WORKFLOW_EXECUTION_FAILED): {
        const Tp__ChildWorkflowExecutionFailedEventAttributes *a = v->child_workflow_execution_failed_event_attributes;
        return child_end(l, a->initiated_event_id, a->started_event_id, false);
    }
    case EV(CHILD_WORKFLOW_EXECUTION_CANCELED): {
        const Tp__ChildWorkflowExecutionCanceledEventAttributes *a = v->child_workflow_execution_canceled_event_attributes;
        return child_end(l, a->initiated_event_id, a->started_event_id, false);
    }
    case EV(CHILD_WORKFLOW_EXECUTION_TIMED_OUT): {
        const Tp__ChildWorkflowExecutionTimedOutEventAttributes *a = v->child_workflow_execution_timed_out_event_attributes;
        return child_end(l, a->initiated_event_id, a->started_event_id, false);
    }
    default: {
        const Tp__ChildWorkflowExecutionTerminatedEventAttributes *a =
            v->child_workflow_execution_terminated_event_attributes;
        return child_end(l, a->initiated_event_id, a->started_event_id, false);
    }
    }
}

static const char *outbound_event(struct tw_life *l, const Tp__HistoryEvent *v)
{
    switch (v->event_type) {
    case EV(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED): {
        const Tp__SignalExternalWorkflowExecutionInitiatedEventAttributes *a =
            v->signal_external_workflow_execution_initiated_event_attributes;
        return issue(l, a->control, T_SIGNAL_OUT, v->event_id, a->workflow_task_completed_event_id);
    }
    case EV(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED):
        return end(l, T_SIGNAL_OUT, v->signal_external_workflow_execution_failed_event_attributes->initiated_event_id, false);
    case EV(EXTERNAL_WORKFLOW_EXECUTION_SIGNALED):
        return end(l, T_SIGNAL_OUT, v->external_workflow_execution_signaled_event_attributes->initiated_event_id, true);
    case EV(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED): {
        const Tp__RequestCancelExternalWorkflowExecutionInitiatedEventAttributes *a =
            v->request_cancel_external_workflow_execution_initiated_event_attributes;
        return issue(l, a->control, T_CANCEL_OUT, v->event_id, a->workflow_task_completed_event_id);
    }
    case EV(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED):
        return end(l, T_CANCEL_OUT,
                   v->request_cancel_external_workflow_execution_failed_event_attributes->initiated_event_id, false);
    default:
        return end(l, T_CANCEL_OUT,
                   v->external_workflow_execution_cancel_requested_event_attributes->initiated_event_id, true);
    }
}

static struct tw_update *update_find(struct tw_life *l, const char *id)
{
    for (uint32_t i = 0; i < l->update_count; i++)
        if (strcmp(l->updates[i].id, id) == 0)
            return &l->updates[i];
    return NULL;
}

static const char *update_event(struct tw_life *l, const Tp__HistoryEvent *v)
{
    if (v->event_type == EV(WORKFLOW_EXECUTION_UPDATE_ACCEPTED)) {
        const char *id = v->workflow_execution_update_accepted_event_attributes->protocol_instance_id;
        if (update_find(l, id) || l->update_count == TW_UPDATES)
            return "an update is accepted once";
        struct tw_update *u = &l->updates[l->update_count++];
        snprintf(u->id, sizeof u->id, "%s", id);
        u->accepted = v->event_id;
        return NULL;
    }
    const Tp__WorkflowExecutionUpdateCompletedEventAttributes *a = v->workflow_execution_update_completed_event_attributes;
    struct tw_update *u = update_find(l, a->meta->update_id);
    if (!u || u->completed || u->accepted != a->accepted_event_id)
        return "an update that was accepted is completed once";
    u->completed = true;
    return NULL;
}

static const char *record_event(struct tw_life *l, const Tp__HistoryEvent *v)
{
    switch (v->event_type) {
    case EV(WORKFLOW_EXECUTION_STARTED):
        if (v->event_id != 1)
            return "a history begins once";
        snprintf(l->type, sizeof l->type, "%s", v->workflow_execution_started_event_attributes->workflow_type->name);
        return NULL;
    case EV(WORKFLOW_EXECUTION_SIGNALED):
        l->signals += tw_number_of(v->workflow_execution_signaled_event_attributes->input) > 0;
        l->goes++;
        return NULL;
    case EV(WORKFLOW_EXECUTION_CANCEL_REQUESTED):
        if (l->cancel)
            return "a cancel request is written once";
        l->cancel = true;
        return NULL;
    case EV(MARKER_RECORDED):
        if (issue(l, v->marker_recorded_event_attributes->marker_name, T_MARKER, v->event_id,
                  v->marker_recorded_event_attributes->workflow_task_completed_event_id))
            return "a marker is recorded once";
        return end(l, T_MARKER, v->event_id, true);
    case EV(WORKFLOW_EXECUTION_COMPLETED):
    case EV(WORKFLOW_EXECUTION_FAILED):
    case EV(WORKFLOW_EXECUTION_CANCELED):
    case EV(WORKFLOW_EXECUTION_TERMINATED):
    case EV(WORKFLOW_EXECUTION_CONTINUED_AS_NEW):
    case EV(WORKFLOW_EXECUTION_TIMED_OUT):
        l->closed = true;
        l->end = (int32_t)v->event_type;
        return NULL;
    default: return NULL;
    }
}

typedef const char *feed_fn(struct tw_life *l, const Tp__HistoryEvent *v);

static feed_fn *feed_of(Tp__EventType type)
{
    if (type >= EV(WORKFLOW_TASK_SCHEDULED) && type <= EV(WORKFLOW_TASK_FAILED))
        return task_event;
    if ((type >= EV(ACTIVITY_TASK_SCHEDULED) && type <= EV(ACTIVITY_TASK_TIMED_OUT)) ||
        type == EV(ACTIVITY_TASK_CANCEL_REQUESTED) || type == EV(ACTIVITY_TASK_CANCELED))
        return activity_event;
    if (type == EV(TIMER_STARTED) || type == EV(TIMER_FIRED) || type == EV(TIMER_CANCELED))
        return timer_event;
    if (type >= EV(START_CHILD_WORKFLOW_EXECUTION_INITIATED) && type <= EV(CHILD_WORKFLOW_EXECUTION_TERMINATED))
        return child_event;
    if ((type >= EV(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED) &&
         type <= EV(EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED)) ||
        (type >= EV(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED) && type <= EV(EXTERNAL_WORKFLOW_EXECUTION_SIGNALED)))
        return outbound_event;
    if (type == EV(WORKFLOW_EXECUTION_UPDATE_ACCEPTED) || type == EV(WORKFLOW_EXECUTION_UPDATE_COMPLETED))
        return update_event;
    return record_event;
}

const char *life_feed(struct tw_life *l, const Tp__HistoryEvent *v)
{
    feed_fn *feed = feed_of(v->event_type);
    if (v->event_id != l->next)
        return "events have no gap";
    if (l->closed)
        return "nothing comes after the end";
    if (temporal_time_ns(v->event_time) < l->time_ns)
        return "time does not go back within a history";
    if (l->started && feed != task_event)
        return "while a worker has the task, what happens waits";
    l->time_ns = temporal_time_ns(v->event_time);
    l->next++;
    return feed(l, v);
}
