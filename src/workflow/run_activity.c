#include "workflow/run_impl.h"

#include <stdio.h>
#include <string.h>

/* ---- a worker takes it ---- */

static void token_fill(const struct run *r, const Ws__Activity *a, struct run_token *token)
{
    memset(token, 0, sizeof *token);
    token->type = RUN_ACTIVITY_TASK;
    (void)snprintf(token->ns, sizeof token->ns, "%s", r->s->ns);
    (void)snprintf(token->workflow_id, sizeof token->workflow_id, "%s", r->s->workflow_id);
    (void)uuid_parse(str_of(r->s->run_id), &token->run);
    token->scheduled_id = a->scheduled_id;
    token->attempt = a->attempt;
    token->started_ns = a->started_ns;
    (void)snprintf(token->activity_id, sizeof token->activity_id, "%s", a->id);
}

static Tp__PollActivityTaskQueueResponse *answer_new(const struct run *r, const Ws__Activity *a)
{
    const Ws__Run *s = r->s;
    Tp__PollActivityTaskQueueResponse *p = proto_new(&tp__poll_activity_task_queue_response__descriptor);
    proto_set_text(&p->workflow_namespace, s->ns);
    p->workflow_type = proto_dup(s->started->workflow_type);
    p->workflow_execution = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&p->workflow_execution->workflow_id, s->workflow_id);
    proto_set_text(&p->workflow_execution->run_id, s->run_id);
    p->activity_type = proto_new(&tp__activity_type__descriptor);
    proto_set_text(&p->activity_type->name, a->type);
    proto_set_text(&p->activity_id, a->id);
    p->heartbeat_details = proto_dup(a->heartbeat_details);
    p->scheduled_time = temporal_time_new(a->first_scheduled_ns);
    p->current_attempt_scheduled_time = temporal_time_new(a->scheduled_ns);
    p->started_time = temporal_time_new(a->started_ns);
    p->attempt = a->attempt;
    p->schedule_to_close_timeout = temporal_duration_new(a->schedule_to_close_ns);
    p->start_to_close_timeout = temporal_duration_new(a->start_to_close_ns);
    p->heartbeat_timeout = temporal_duration_new(a->heartbeat_ns);
    p->retry_policy = proto_dup(a->retry);
    p->priority = proto_dup(a->priority);
    return p;
}

int run_activity_start(struct run *r, struct durable_turn *t, const struct run_task *task,
                       const struct run_poller *p, Tp__PollActivityTaskQueueResponse **ret,
                       struct run_token *token, struct refusal *no)
{
    Ws__Run *s = r->s;
    Ws__Activity *a = NULL;
    for (size_t i = 0; run_open(r) && i < s->n_activities; i++)
        if (s->activities[i]->scheduled_id == task->scheduled_id)
            a = s->activities[i];
    if (!a || a->started_ns || a->paused || a->backing_off || a->attempt != task->attempt || a->stamp != task->stamp)
        return refuse(no, CODE_NOT_FOUND, "Activity task not found.");
    a->started_ns = a->last_started_ns = MAX(t->now_ns, a->scheduled_ns);
    a->heartbeat_at_ns = 0;
    proto_set_text(&a->identity, p->identity);
    proto_set_text(&a->request_id, p->request_id);
    *ret = answer_new(r, a);
    token_fill(r, a, token);
    run_end(r, t);
    return 0;
}

/* ---- how it ends ---- */

/* The index of the activity that the token is about; < 0: refused. Of one that is named by its id, the attempt at hand. */
static int64_t activity_of(const struct run *r, const struct run_token *token, struct refusal *no)
{
    const Ws__Run *s = r->s;
    if (!run_open(r))
        return refuse(no, CODE_NOT_FOUND, "workflow execution already completed");
    for (size_t i = 0; i < s->n_activities; i++) {
        const Ws__Activity *a = s->activities[i];
        bool named = !token->scheduled_id && strcmp(a->id, token->activity_id) == 0;
        bool shown = token->scheduled_id && a->scheduled_id == token->scheduled_id && a->attempt == token->attempt &&
                     a->started_ns && a->started_ns == token->started_ns;
        if (named || shown)
            return (int64_t)i;
    }
    return refuse(no, CODE_NOT_FOUND,
                  "invalid activityID or activity already timed out or invoking workflow is completed");
}

/* Only now is it written that it was started: of all attempts the last one is history. 0: nobody had it. */
static int64_t started_add(struct run *r, struct durable_turn *t, const Ws__Activity *a, bool anyway)
{
    if (!a->started_ns && !anyway)
        return 0;
    Tp__HistoryEvent *event;
    Tp__ActivityTaskStartedEventAttributes *e = run_event_new(EVENT(ACTIVITY_TASK_STARTED), &event);
    e->scheduled_event_id = a->scheduled_id;
    proto_set_text(&e->identity, a->identity);
    proto_set_text(&e->request_id, a->request_id);
    e->attempt = a->attempt;
    e->last_failure = proto_dup(a->last_failure);
    int64_t id = run_event_add(r, t, event);
    if (a->started_ns)
        temporal_set_time(&event->event_time, a->started_ns);
    return id;
}

static void activity_over(struct run *r, struct durable_turn *t, size_t i)
{
    run_remove(&r->s->n_activities, &r->s->activities, i);
    run_wake(r, t);
}

int run_activity_complete(struct run *r, struct durable_turn *t, const struct run_token *token,
                          const Tp__Payloads *result, const char *identity, struct refusal *no)
{
    int64_t i = activity_of(r, token, no);
    if (i < 0)
        return (int)i;
    const Ws__Activity *a = r->s->activities[i];
    Tp__HistoryEvent *event;
    Tp__ActivityTaskCompletedEventAttributes *e = run_event_new(EVENT(ACTIVITY_TASK_COMPLETED), &event);
    e->result = proto_dup(result);
    e->scheduled_event_id = a->scheduled_id;
    e->started_event_id = started_add(r, t, a, true);
    proto_set_text(&e->identity, identity);
    (void)run_event_add(r, t, event);
    activity_over(r, t, (size_t)i);
    run_end(r, t);
    return 0;
}

int run_activity_cancel(struct run *r, struct durable_turn *t, const struct run_token *token,
                        const Tp__Payloads *details, const char *identity, struct refusal *no)
{
    int64_t i = activity_of(r, token, no);
    if (i < 0)
        return (int)i;
    const Ws__Activity *a = r->s->activities[i];
    if (!a->cancel_requested)
        return refuse(no, CODE_INVALID, "unable to cancel activity that was not requested to be canceled: ActivityId=%.200s", a->id);
    Tp__HistoryEvent *event;
    Tp__ActivityTaskCanceledEventAttributes *e = run_event_new(EVENT(ACTIVITY_TASK_CANCELED), &event);
    e->details = proto_dup(details);
    e->latest_cancel_requested_event_id = a->cancel_id;
    e->scheduled_event_id = a->scheduled_id;
    e->started_event_id = started_add(r, t, a, true);
    proto_set_text(&e->identity, identity);
    (void)run_event_add(r, t, event);
    activity_over(r, t, (size_t)i);
    run_end(r, t);
    return 0;
}

int run_activity_beat(struct run *r, struct durable_turn *t, const struct run_token *token,
                      const Tp__Payloads *details, bool *ret_cancel_requested, struct refusal *no)
{
    int64_t i = activity_of(r, token, no);
    if (i < 0)
        return (int)i;
    Ws__Activity *a = r->s->activities[i];
    if (!a->started_ns)
        return refuse(no, CODE_NOT_FOUND,
                      "invalid activityID or activity already timed out or invoking workflow is completed");
    proto_set_message(&a->heartbeat_details, proto_dup(details));
    a->heartbeat_at_ns = t->now_ns;
    *ret_cancel_requested = a->cancel_requested;
    run_end(r, t);
    return 0;
}

/* ---- it failed: again, or for good ---- */

/* What of a failure is kept in the state while it is tried again: the next attempt and Describe show it. */
static Tp__Failure *failure_kept(const Tp__Failure *f)
{
    if (proto_size(f) <= RUN_FAILURE_KEPT_BYTES)
        return run_failure_dup(f);
    Tp__Failure *kept = proto_new(&tp__failure__descriptor);
    size_t size = strlen(f->message);
    size = MIN(size, (size_t)RUN_FAILURE_KEPT_BYTES / 2);
    while (size && ((unsigned char)f->message[size] & 0xc0) == 0x80)
        size--; /* not within a character */
    proto_set_str(&kept->message, (struct str){ f->message, size });
    proto_set_text(&kept->source, strlen(f->source) < RUN_ID_BYTES_MAX ? f->source : NULL);
    kept->failure_info_case = TP__FAILURE__FAILURE_INFO_SERVER_FAILURE_INFO;
    kept->server_failure_info = proto_new(&tp__server_failure_info__descriptor);
    return kept;
}

static struct run_retry decide(const Ws__Activity *a, const struct durable_turn *t, const Tp__Failure *failure)
{
    return run_retry_decide(&(struct run_retry_ask){
        .policy = a->retry,
        .failure = failure,
        .attempt = a->attempt,
        .now_ns = t->now_ns,
        .expiry_ns = run_deadline(a->first_scheduled_ns, a->schedule_to_close_ns),
        .cancel_requested = a->cancel_requested,
    });
}

static void again(struct run *r, struct durable_turn *t, Ws__Activity *a, const Tp__Failure *failure, int64_t delay_ns)
{
    a->attempt++;
    a->stamp = ++r->s->stamp;
    a->started_ns = 0;
    a->last_completed_ns = t->now_ns;
    a->retry_delay_ns = delay_ns;
    a->scheduled_ns = delay_ns > 0 ? run_deadline(t->now_ns, delay_ns) : t->now_ns;
    a->backing_off = delay_ns > 0;
    proto_set_message(&a->last_failure, failure_kept(failure));
}

int run_activity_fail(struct run *r, struct durable_turn *t, const struct run_token *token,
                      const Tp__Failure *failure, const Tp__Payloads *last_heartbeat, const char *identity,
                      struct refusal *no)
{
    int64_t i = activity_of(r, token, no);
    if (i < 0)
        return (int)i;
    Ws__Activity *a = r->s->activities[i];
    Tp__Failure none;
    tp__failure__init(&none);
    failure = failure ? failure : &none;
    if (last_heartbeat)
        proto_set_message(&a->heartbeat_details, proto_dup(last_heartbeat));
    struct run_retry retry = decide(a, t, failure);
    if (retry.state == RETRY(IN_PROGRESS)) {
        again(r, t, a, failure, retry.delay_ns);
        run_end(r, t);
        return 0;
    }
    Tp__HistoryEvent *event;
    Tp__ActivityTaskFailedEventAttributes *e = run_event_new(EVENT(ACTIVITY_TASK_FAILED), &event);
    e->failure = run_failure_dup(failure);
    e->scheduled_event_id = a->scheduled_id;
    e->started_event_id = started_add(r, t, a, true);
    proto_set_text(&e->identity, identity);
    e->retry_state = retry.state;
    (void)run_event_add(r, t, event);
    activity_over(r, t, (size_t)i);
    run_end(r, t);
    return 0;
}

/* ---- its four timers, and its back-off ---- */

struct next { /* what comes next for an activity; type UNSPECIFIED: its back-off ends */
    int64_t ns;
    Tp__TimeoutType type;
};

static void earlier(struct next *n, int64_t from_ns, int64_t ns, Tp__TimeoutType type)
{
    int64_t at = run_deadline(from_ns, ns);
    if (at && at < n->ns)
        *n = (struct next){ at, type };
}

static struct next next_of(const Ws__Activity *a)
{
    struct next n = { JOURNAL_NEVER, TIMEOUT(UNSPECIFIED) };
    earlier(&n, a->first_scheduled_ns, a->schedule_to_close_ns, TIMEOUT(SCHEDULE_TO_CLOSE));
    if (a->started_ns) {
        earlier(&n, a->started_ns, a->start_to_close_ns, TIMEOUT(START_TO_CLOSE));
        earlier(&n, MAX(a->started_ns, a->heartbeat_at_ns), a->heartbeat_ns, TIMEOUT(HEARTBEAT));
    } else if (a->backing_off) {
        if (a->scheduled_ns < n.ns)
            n = (struct next){ a->scheduled_ns, TIMEOUT(UNSPECIFIED) };
    } else
        earlier(&n, a->scheduled_ns, a->schedule_to_start_ns, TIMEOUT(SCHEDULE_TO_START));
    return n;
}

static const char *timeout_name(Tp__TimeoutType type)
{
    switch (type) {
    case TIMEOUT(START_TO_CLOSE):
        return "activity StartToClose timeout";
    case TIMEOUT(SCHEDULE_TO_START):
        return "activity ScheduleToStart timeout";
    case TIMEOUT(SCHEDULE_TO_CLOSE):
        return "activity ScheduleToClose timeout";
    case TIMEOUT(HEARTBEAT):
        return "activity Heartbeat timeout";
    default:
        UNREACHABLE("not a timeout");
    }
}

static Tp__Failure *timeout_failure(const Ws__Activity *a, Tp__TimeoutType type)
{
    Tp__Failure *f = proto_new(&tp__failure__descriptor);
    proto_set_text(&f->message, timeout_name(type));
    proto_set_text(&f->source, "Server");
    f->failure_info_case = TP__FAILURE__FAILURE_INFO_TIMEOUT_FAILURE_INFO;
    f->timeout_failure_info = proto_new(&tp__timeout_failure_info__descriptor);
    f->timeout_failure_info->timeout_type = type;
    f->timeout_failure_info->last_heartbeat_details = proto_dup(a->heartbeat_details);
    return f;
}

/* true: it is over. */
static bool time_out(struct run *r, struct durable_turn *t, Ws__Activity *a, Tp__TimeoutType type)
{
    Tp__Failure *failure = timeout_failure(a, type);
    struct run_retry retry = decide(a, t, failure);
    if (retry.state == RETRY(IN_PROGRESS)) {
        again(r, t, a, failure, retry.delay_ns);
        proto_free(failure);
        return false;
    }
    if (retry.state == RETRY(TIMEOUT)) { /* there is no time for another attempt: that is the reason */
        proto_free(failure);
        failure = timeout_failure(a, TIMEOUT(SCHEDULE_TO_CLOSE));
    }
    failure->cause = proto_dup(a->last_failure);
    Tp__HistoryEvent *event;
    Tp__ActivityTaskTimedOutEventAttributes *e = run_event_new(EVENT(ACTIVITY_TASK_TIMED_OUT), &event);
    e->failure = failure;
    e->scheduled_event_id = a->scheduled_id;
    e->started_event_id = started_add(r, t, a, false);
    e->retry_state = retry.state;
    (void)run_event_add(r, t, event);
    return true;
}

int64_t run_activity_due(const struct run *r)
{
    int64_t ns = JOURNAL_NEVER;
    for (size_t i = 0; i < r->s->n_activities; i++) {
        struct next n = next_of(r->s->activities[i]);
        ns = MIN(ns, n.ns);
    }
    return ns;
}

void run_activity_on_due(struct run *r, struct durable_turn *t)
{
    Ws__Run *s = r->s;
    bool over = false;
    for (size_t i = 0; i < s->n_activities;) {
        Ws__Activity *a = s->activities[i];
        struct next n = next_of(a);
        if (n.ns > t->now_ns)
            i++;
        else if (n.type == TIMEOUT(UNSPECIFIED))
            a->backing_off = false;
        else if (time_out(r, t, a, n.type)) {
            run_remove(&s->n_activities, &s->activities, i);
            over = true;
        }
    }
    if (over)
        run_wake(r, t);
}
