#include "workflow/run_replay.h"
#include "workflow/run_child.h"
#include "workflow/run_external.h"
#include "workflow/run_update.h"

#include <string.h>

/* ---- the run itself ---- */

static void on_started(struct run *r, const Tp__HistoryEvent *e)
{
    Ws__Run *s = r->s;
    const Tp__WorkflowExecutionStartedEventAttributes *a = e->workflow_execution_started_event_attributes;
    run_started(r, e);
    proto_set_text(&s->first_run_id, a->first_execution_run_id);
    proto_set_text(&s->original_run_id, a->original_execution_run_id);
    s->original_start_ns = s->start_ns;
}

static void on_options(Ws__Run *s, const Tp__WorkflowExecutionOptionsUpdatedEventAttributes *a, int64_t id)
{
    if (a->versioning_override || a->unset_versioning_override)
        proto_set_message(&s->versioning_override, proto_dup(a->versioning_override));
    if (a->priority)
        proto_set_message(&s->priority, proto_dup(a->priority));
    if (run_empty(a->attached_request_id))
        return;
    Ws__RequestId *request = proto_new(&ws__request_id__descriptor);
    proto_set_text(&request->id, a->attached_request_id);
    request->event_id = id;
    proto_push(&s->n_attached, &s->attached, request);
}

/* ---- workflow tasks ---- */

static void task_scheduled(Ws__Run *s, const Tp__HistoryEvent *e)
{
    const Tp__WorkflowTaskScheduledEventAttributes *a = e->workflow_task_scheduled_event_attributes;
    Ws__WorkflowTask *k = proto_new(&ws__workflow_task__descriptor);
    k->scheduled_id = e->event_id;
    k->attempt = MAX(a->attempt, 1);
    k->stamp = ++s->stamp;
    k->written = true;
    k->scheduled_ns = k->original_scheduled_ns = temporal_time_ns(e->event_time);
    k->timeout_ns = temporal_duration_ns(a->start_to_close_timeout);
    proto_set_message(&s->task, k);
    s->backing_off = s->waits_for_parent = false;
}

static void task_started(Ws__Run *s, const Tp__HistoryEvent *e)
{
    const Tp__WorkflowTaskStartedEventAttributes *a = e->workflow_task_started_event_attributes;
    s->task->started_id = e->event_id;
    s->task->started_ns = temporal_time_ns(e->event_time);
    proto_set_text(&s->task->identity, a->identity);
    proto_set_text(&s->task->request_id, a->request_id);
}

static void task_completed(Ws__Run *s, const Tp__HistoryEvent *e)
{
    const Tp__WorkflowTaskCompletedEventAttributes *a = e->workflow_task_completed_event_attributes;
    s->last_started_id = a->started_event_id;
    s->last_completed_id = e->event_id;
    if (!s->first_completed_id)
        s->first_completed_id = e->event_id;
    proto_set_message(&s->worker_version, proto_dup(a->worker_version));
    if (a->sdk_metadata)
        proto_set_message(&s->sdk, proto_dup(a->sdk_metadata));
    proto_set_message(&s->task, NULL);
}

/* ---- activities, timers ---- */

static size_t activity_index(const Ws__Run *s, int64_t scheduled_id)
{
    size_t i = 0;
    while (i < s->n_activities && s->activities[i]->scheduled_id != scheduled_id)
        i++;
    return i;
}

static bool activity_ended(Ws__Run *s, int64_t scheduled_id)
{
    size_t i = activity_index(s, scheduled_id);
    if (i == s->n_activities)
        return false;
    run_remove(&s->n_activities, &s->activities, i);
    return true;
}

static bool activity_cancel(Ws__Run *s, const Tp__HistoryEvent *e)
{
    size_t i = activity_index(s, e->activity_task_cancel_requested_event_attributes->scheduled_event_id);
    if (i == s->n_activities)
        return false;
    s->activities[i]->cancel_requested = true;
    s->activities[i]->cancel_id = e->event_id;
    return true;
}

static void timer_started(Ws__Run *s, const Tp__HistoryEvent *e)
{
    const Tp__TimerStartedEventAttributes *a = e->timer_started_event_attributes;
    Ws__Timer *timer = proto_new(&ws__timer__descriptor);
    proto_set_text(&timer->id, a->timer_id);
    timer->started_id = e->event_id;
    timer->fire_ns = run_deadline(temporal_time_ns(e->event_time), temporal_duration_ns(a->start_to_fire_timeout));
    proto_push(&s->n_timers, &s->timers, timer);
}

static bool timer_ended(Ws__Run *s, int64_t started_id)
{
    for (size_t i = 0; i < s->n_timers; i++)
        if (s->timers[i]->started_id == started_id) {
            run_remove(&s->n_timers, &s->timers, i);
            return true;
        }
    return false;
}

/* ---- children, others ---- */

static bool child_started(struct run *r, const Tp__HistoryEvent *e)
{
    const Tp__ChildWorkflowExecutionStartedEventAttributes *a =
        e->child_workflow_execution_started_event_attributes;
    Ws__Child *child = run_child_find(r, a->initiated_event_id);
    if (child)
        run_child_started(child, e->event_id, a->workflow_execution ? a->workflow_execution->run_id : NULL);
    return child != NULL;
}

static bool child_ended(struct run *r, int64_t initiated_id)
{
    bool known = run_child_find(r, initiated_id) != NULL;
    run_child_remove(r, initiated_id);
    return known;
}

static bool outbound_ended(struct run *r, int64_t initiated_id)
{
    bool known = run_external_find(r, initiated_id) != NULL;
    run_external_remove(r, initiated_id);
    return known;
}

static void update_accepted(struct run *r, const Tp__HistoryEvent *e)
{
    const Tp__WorkflowExecutionUpdateAcceptedEventAttributes *a =
        e->workflow_execution_update_accepted_event_attributes;
    Ws__Update *u = run_update_find(r, a->protocol_instance_id);
    if (!u) {
        Tp__UpdateRequest request;
        Tp__UpdateMeta meta;
        tp__update_request__init(&request);
        tp__update_meta__init(&meta);
        meta.update_id = a->protocol_instance_id;
        request.meta = &meta;
        u = run_update_admit(r, &request, temporal_time_ns(e->event_time));
    }
    run_update_accepted(u, e->event_id);
}

static bool update_completed(struct run *r, const Tp__HistoryEvent *e)
{
    const Tp__WorkflowExecutionUpdateCompletedEventAttributes *a =
        e->workflow_execution_update_completed_event_attributes;
    Ws__Update *u = a->meta ? run_update_find(r, a->meta->update_id) : NULL;
    if (u)
        run_update_completed(u, e->event_id, a->outcome);
    return u != NULL;
}

/* ---- each event ---- */

/* Of those about activities, timers, children and others: false where what it is about is not there. */
static bool replay_pending(struct run *r, const Tp__HistoryEvent *e)
{
    Ws__Run *s = r->s;
    switch (e->event_type) {
    case EVENT(ACTIVITY_TASK_SCHEDULED):
        (void)run_activity_scheduled(r, e);
        return true;
    case EVENT(ACTIVITY_TASK_STARTED): /* written together with its end */
        return activity_index(s, e->activity_task_started_event_attributes->scheduled_event_id) < s->n_activities;
    case EVENT(ACTIVITY_TASK_COMPLETED):
        return activity_ended(s, e->activity_task_completed_event_attributes->scheduled_event_id);
    case EVENT(ACTIVITY_TASK_FAILED):
        return activity_ended(s, e->activity_task_failed_event_attributes->scheduled_event_id);
    case EVENT(ACTIVITY_TASK_TIMED_OUT):
        return activity_ended(s, e->activity_task_timed_out_event_attributes->scheduled_event_id);
    case EVENT(ACTIVITY_TASK_CANCELED):
        return activity_ended(s, e->activity_task_canceled_event_attributes->scheduled_event_id);
    case EVENT(ACTIVITY_TASK_CANCEL_REQUESTED):
        return activity_cancel(s, e);
    case EVENT(TIMER_STARTED):
        timer_started(s, e);
        return true;
    case EVENT(TIMER_FIRED):
        return timer_ended(s, e->timer_fired_event_attributes->started_event_id);
    case EVENT(TIMER_CANCELED):
        /* One that had fired while the worker had its task was taken back: its event was never numbered. */
        return timer_ended(s, e->timer_canceled_event_attributes->started_event_id);
    case EVENT(START_CHILD_WORKFLOW_EXECUTION_INITIATED):
        run_child_initiated(r, e->event_id, e->start_child_workflow_execution_initiated_event_attributes);
        return true;
    case EVENT(CHILD_WORKFLOW_EXECUTION_STARTED):
        return child_started(r, e);
    case EVENT(START_CHILD_WORKFLOW_EXECUTION_FAILED):
        return child_ended(r, e->start_child_workflow_execution_failed_event_attributes->initiated_event_id);
    case EVENT(CHILD_WORKFLOW_EXECUTION_COMPLETED):
        return child_ended(r, e->child_workflow_execution_completed_event_attributes->initiated_event_id);
    case EVENT(CHILD_WORKFLOW_EXECUTION_FAILED):
        return child_ended(r, e->child_workflow_execution_failed_event_attributes->initiated_event_id);
    case EVENT(CHILD_WORKFLOW_EXECUTION_CANCELED):
        return child_ended(r, e->child_workflow_execution_canceled_event_attributes->initiated_event_id);
    case EVENT(CHILD_WORKFLOW_EXECUTION_TIMED_OUT):
        return child_ended(r, e->child_workflow_execution_timed_out_event_attributes->initiated_event_id);
    case EVENT(CHILD_WORKFLOW_EXECUTION_TERMINATED):
        return child_ended(r, e->child_workflow_execution_terminated_event_attributes->initiated_event_id);
    case EVENT(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED):
        run_external_signal_initiated(
            r, e->event_id, e->signal_external_workflow_execution_initiated_event_attributes);
        return true;
    case EVENT(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED):
        run_external_cancel_initiated(
            r, e->event_id, e->request_cancel_external_workflow_execution_initiated_event_attributes);
        return true;
    case EVENT(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED):
        return outbound_ended(r, e->signal_external_workflow_execution_failed_event_attributes->initiated_event_id);
    case EVENT(EXTERNAL_WORKFLOW_EXECUTION_SIGNALED):
        return outbound_ended(r, e->external_workflow_execution_signaled_event_attributes->initiated_event_id);
    case EVENT(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED):
        return outbound_ended(
            r, e->request_cancel_external_workflow_execution_failed_event_attributes->initiated_event_id);
    case EVENT(EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED):
        return outbound_ended(
            r, e->external_workflow_execution_cancel_requested_event_attributes->initiated_event_id);
    case EVENT(WORKFLOW_EXECUTION_UPDATE_ACCEPTED):
        update_accepted(r, e);
        return true;
    case EVENT(WORKFLOW_EXECUTION_UPDATE_COMPLETED):
        return update_completed(r, e);
    default:
        return false;
    }
}

/* Of those about the run and its tasks. 1: none of them. */
static int replay_run(struct run *r, const Tp__HistoryEvent *e)
{
    Ws__Run *s = r->s;
    switch (e->event_type) {
    case EVENT(WORKFLOW_EXECUTION_STARTED):
        on_started(r, e);
        return 0;
    case EVENT(WORKFLOW_TASK_SCHEDULED):
        task_scheduled(s, e);
        return 0;
    case EVENT(WORKFLOW_TASK_STARTED):
        if (!s->task)
            return -1;
        task_started(s, e);
        return 0;
    case EVENT(WORKFLOW_TASK_COMPLETED):
        task_completed(s, e);
        return 0;
    case EVENT(WORKFLOW_TASK_TIMED_OUT):
    case EVENT(WORKFLOW_TASK_FAILED):
        proto_set_message(&s->task, NULL);
        return 0;
    case EVENT(WORKFLOW_EXECUTION_SIGNALED):
        s->signal_count++;
        return 0;
    case EVENT(WORKFLOW_EXECUTION_CANCEL_REQUESTED):
        s->cancel_requested = true;
        return 0;
    case EVENT(MARKER_RECORDED):
        return 0;
    case EVENT(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES):
        run_record_search(s, e->upsert_workflow_search_attributes_event_attributes->search_attributes);
        return 0;
    case EVENT(WORKFLOW_PROPERTIES_MODIFIED):
        run_record_memo(s, e->workflow_properties_modified_event_attributes->upserted_memo);
        return 0;
    case EVENT(WORKFLOW_EXECUTION_OPTIONS_UPDATED):
        on_options(s, e->workflow_execution_options_updated_event_attributes, e->event_id);
        return 0;
    case EVENT(WORKFLOW_EXECUTION_UPDATE_ADMITTED):
        if (!e->workflow_execution_update_admitted_event_attributes->request)
            return -1;
        run_update_admit(r, e->workflow_execution_update_admitted_event_attributes->request,
                         temporal_time_ns(e->event_time));
        return 0;
    default:
        return 1;
    }
}

int run_replay_event(struct run *r, const Tp__HistoryEvent *e, struct err *ret_e)
{
    Ws__Run *s = r->s;
    bool first = e->event_type == EVENT(WORKFLOW_EXECUTION_STARTED);
    int k = e->event_id == s->next_event_id && first == (e->event_id == 1) &&
                    e->attributes_case != TP__HISTORY_EVENT__ATTRIBUTES__NOT_SET
                ? replay_run(r, e)
                : -1;
    if (k < 0 || (k > 0 && !replay_pending(r, e)))
        return err_set(ret_e, CODE_DATA_LOSS, "event %lld (type %d) of %s does not follow from those before it",
                       (long long)e->event_id, (int)e->event_type, s->workflow_id);
    s->next_event_id = e->event_id + 1;
    s->history_bytes += (int64_t)proto_size(e);
    s->last_event_ns = MAX(s->last_event_ns, temporal_time_ns(e->event_time));
    return 0;
}
