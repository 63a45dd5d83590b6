#include "workflow/run_impl.h"

#include <string.h>

#define BAD CAUSE(BAD_SCHEDULE_ACTIVITY_ATTRIBUTES)

struct limits_of { /* an activity's four timeouts, ns; 0: none was given */
    int64_t close, start, run, beat; /* schedule to close, schedule to start, start to close, heartbeat */
};

static int64_t shorter(int64_t a, int64_t b) { return a <= 0 ? b : b <= 0 ? a : MIN(a, b); }

/* What is not given follows from what is, as Temporal fills it: SDKs read all four from the event. */
static bool timeouts_fill(struct limits_of *l, int64_t run_timeout_ns)
{
    if (l->close > 0) {
        l->close = shorter(l->close, run_timeout_ns);
        l->start = shorter(l->start, l->close);
        l->run = shorter(l->run, l->close);
    } else if (l->run > 0) {
        l->close = run_timeout_ns;
        l->start = shorter(l->start, run_timeout_ns);
        l->run = shorter(l->run, run_timeout_ns);
    } else
        return false;
    l->beat = MIN(l->beat, l->run);
    return true;
}

static int names_check(struct run_commanding *c, const Tp__ScheduleActivityTaskCommandAttributes *q)
{
    const char *id = q->activity_id, *type = q->activity_type ? q->activity_type->name : NULL;
    if (run_empty(id))
        return run_command_bad(c, BAD, "ActivityId is not set on ScheduleActivityTaskCommand.");
    if (run_empty(type))
        return run_command_bad(c, BAD, "ActivityType is not set on ScheduleActivityTaskCommand. ActivityId=%.200s", id);
    if (strlen(id) > RUN_ID_BYTES_MAX)
        return run_command_bad(c, BAD, "ActivityId on ScheduleActivityTaskCommand exceeds length limit.");
    if (strlen(type) > RUN_ID_BYTES_MAX)
        return run_command_bad(c, BAD, "ActivityType on ScheduleActivityTaskCommand exceeds length limit.");
    if (q->task_queue && strlen(q->task_queue->name) > RUN_ID_BYTES_MAX)
        return run_command_bad(c, BAD, "TaskQueue on ScheduleActivityTaskCommand exceeds length limit.");
    struct err e;
    if (run_retry_check(q->retry_policy, &e) < 0)
        return run_command_bad(c, BAD, "Invalid ActivityRetryPolicy for ActivityId=%.100s: %.200s", id, e.text);
    return 0;
}

static int schedule_check(struct run_commanding *c, const Tp__ScheduleActivityTaskCommandAttributes *q,
                          struct limits_of *l)
{
    const Ws__Run *s = c->r->s;
    if (names_check(c, q) < 0)
        return -1;
    *l = (struct limits_of){ run_duration_ns(q->schedule_to_close_timeout), run_duration_ns(q->schedule_to_start_timeout),
                             run_duration_ns(q->start_to_close_timeout), run_duration_ns(q->heartbeat_timeout) };
    if (l->close < 0 || l->start < 0 || l->run < 0 || l->beat < 0)
        return run_command_bad(c, BAD, "a timeout of ScheduleActivityTaskCommand is below zero. ActivityId=%.200s", q->activity_id);
    if (!timeouts_fill(l, run_duration_ns(s->started->workflow_run_timeout)))
        return run_command_bad(c, BAD,
                               "A valid StartToClose or ScheduleToCloseTimeout is not set on ScheduleActivityTaskCommand. ActivityId=%.100s ActivityType=%.100s",
                               q->activity_id, q->activity_type->name);
    for (size_t i = 0; i < s->n_activities; i++)
        if (strcmp(s->activities[i]->id, q->activity_id) == 0)
            return run_command_bad(c, CAUSE(SCHEDULE_ACTIVITY_DUPLICATE_ID), "ScheduleActivityDuplicateId: ActivityId=%.200s", q->activity_id);
    if (s->n_activities >= RUN_PENDING_MAX)
        return run_command_bad(c, CAUSE(PENDING_ACTIVITIES_LIMIT_EXCEEDED),
                               "PendingActivitiesLimitExceeded: the number of pending activities, %d, has reached the per-workflow limit of %d",
                               (int)s->n_activities, RUN_PENDING_MAX);
    if (q->input && proto_size(q->input) > RUN_BLOB_BYTES_MAX)
        return run_command_fatal(c, BAD, "ScheduleActivityTaskCommandAttributes.Input exceeds size limit.");
    return 0;
}

static Tp__HistoryEvent *scheduled_event(struct run_commanding *c, const struct limits_of *l, const char *queue)
{
    const Tp__ScheduleActivityTaskCommandAttributes *q = c->command->schedule_activity_task_command_attributes;
    Tp__HistoryEvent *event;
    Tp__ActivityTaskScheduledEventAttributes *a = run_event_new(EVENT(ACTIVITY_TASK_SCHEDULED), &event);
    proto_set_text(&a->activity_id, q->activity_id);
    a->activity_type = proto_dup(q->activity_type);
    a->task_queue = run_task_queue(queue, NULL);
    a->header = proto_dup(q->header);
    a->input = proto_dup(q->input);
    a->schedule_to_close_timeout = temporal_duration_new(l->close);
    a->schedule_to_start_timeout = temporal_duration_new(l->start);
    a->start_to_close_timeout = temporal_duration_new(l->run);
    a->heartbeat_timeout = temporal_duration_new(l->beat);
    a->workflow_task_completed_event_id = c->completed_id;
    a->retry_policy = q->retry_policy ? proto_dup(q->retry_policy) : proto_new(&tp__retry_policy__descriptor);
    run_retry_fill(a->retry_policy);
    a->use_workflow_build_id = q->use_workflow_build_id;
    a->priority = proto_dup(q->priority);
    return event;
}

Ws__Activity *run_activity_scheduled(struct run *r, const Tp__HistoryEvent *event)
{
    Ws__Run *s = r->s;
    const Tp__ActivityTaskScheduledEventAttributes *e = event->activity_task_scheduled_event_attributes;
    Ws__Activity *a = proto_new(&ws__activity__descriptor);
    a->scheduled_id = event->event_id;
    proto_set_text(&a->id, e->activity_id);
    proto_set_text(&a->type, e->activity_type->name);
    proto_set_text(&a->queue, e->task_queue->name);
    a->attempt = 1;
    a->stamp = ++s->stamp;
    a->first_scheduled_ns = a->scheduled_ns = temporal_time_ns(event->event_time);
    a->schedule_to_close_ns = run_duration_ns(e->schedule_to_close_timeout);
    a->schedule_to_start_ns = run_duration_ns(e->schedule_to_start_timeout);
    a->start_to_close_ns = run_duration_ns(e->start_to_close_timeout);
    a->heartbeat_ns = run_duration_ns(e->heartbeat_timeout);
    a->retry = proto_dup(e->retry_policy);
    a->priority = proto_dup(e->priority ? e->priority : s->priority);
    proto_push(&s->n_activities, &s->activities, a);
    return a;
}

int run_activity_command_schedule(struct run_commanding *c)
{
    const Tp__ScheduleActivityTaskCommandAttributes *q = c->command->schedule_activity_task_command_attributes;
    struct limits_of l;
    if (schedule_check(c, q, &l) < 0)
        return -1;
    const char *own = run_queue(c->r);
    const char *queue = q->task_queue && !run_empty(q->task_queue->name) ? q->task_queue->name : own;
    Tp__HistoryEvent *event = scheduled_event(c, &l, queue);
    (void)run_command_event(c, event);
    const Ws__Activity *a = run_activity_scheduled(c->r, event);
    if (q->request_eager_execution && c->eager_count < RUN_EAGER_MAX && strcmp(queue, own) == 0)
        c->eager[c->eager_count++] = (struct run_task){
            .type = RUN_ACTIVITY_TASK,
            .scheduled_id = a->scheduled_id,
            .attempt = a->attempt,
            .stamp = a->stamp,
            .queue = a->queue,
            .scheduled_ns = a->scheduled_ns,
            .priority = a->priority ? a->priority->priority_key : 0,
        };
    return 0;
}

/* ---- cancel ---- */

/* It is over, and the worker that asks does not know yet: the end waits for its number. */
static bool end_waits(const Ws__Run *s, int64_t scheduled_id)
{
    for (size_t i = 0; i < s->n_buffered; i++) {
        const Tp__HistoryEvent *e = s->buffered[i];
        if (e->event_type == EVENT(ACTIVITY_TASK_STARTED) &&
            e->activity_task_started_event_attributes->scheduled_event_id == scheduled_id)
            return true;
        if (e->event_type == EVENT(ACTIVITY_TASK_TIMED_OUT) &&
            e->activity_task_timed_out_event_attributes->scheduled_event_id == scheduled_id)
            return true;
    }
    return false;
}

static void cancel_unstarted(struct run_commanding *c, size_t i)
{
    Ws__Run *s = c->r->s;
    Tp__HistoryEvent *event;
    Tp__ActivityTaskCanceledEventAttributes *a = run_event_new(EVENT(ACTIVITY_TASK_CANCELED), &event);
    a->details = temporal_payloads_new(STR("\"ACTIVITY_ID_NOT_STARTED\""));
    a->latest_cancel_requested_event_id = s->activities[i]->cancel_id;
    a->scheduled_event_id = s->activities[i]->scheduled_id;
    proto_set_text(&a->identity, c->q->identity);
    (void)run_event_add(c->r, c->t, event);
    run_remove(&s->n_activities, &s->activities, i);
    c->wake = true;
}

int run_activity_command_cancel(struct run_commanding *c)
{
    int64_t id = c->command->request_cancel_activity_task_command_attributes->scheduled_event_id;
    Ws__Run *s = c->r->s;
    size_t i = 0;
    while (i < s->n_activities && s->activities[i]->scheduled_id != id)
        i++;
    Ws__Activity *a = i < s->n_activities ? s->activities[i] : NULL;
    if (id <= 0)
        return run_command_bad(c, CAUSE(BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES),
                               "ScheduledEventId is not set on RequestCancelActivityTaskCommand.");
    if ((!a && !end_waits(s, id)) || (a && a->cancel_requested))
        return run_command_bad(c, CAUSE(BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES),
                               "RequestCancelActivityTaskCommand: no activity to cancel was scheduled by event %lld", (long long)id);
    Tp__HistoryEvent *event;
    Tp__ActivityTaskCancelRequestedEventAttributes *e = run_event_new(EVENT(ACTIVITY_TASK_CANCEL_REQUESTED), &event);
    e->scheduled_event_id = id;
    e->workflow_task_completed_event_id = c->completed_id;
    int64_t cancel_id = run_command_event(c, event);
    if (!a)
        return 0;
    a->cancel_requested = true;
    a->cancel_id = cancel_id;
    if (!a->started_ns)
        cancel_unstarted(c, i);
    return 0;
}
