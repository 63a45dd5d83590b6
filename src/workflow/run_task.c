#include "workflow/run_impl.h"

#include <string.h>

#define SPECULATIVE_WAIT (5 * RUN_SECOND) /* then somebody has to be told, and the history says so */

int64_t run_task_timeout(const struct run *r, int32_t attempt)
{
    int64_t ns = run_duration_ns(r->s->started->workflow_task_timeout);
    ns = ns <= 0 ? RUN_TASK_TIMEOUT : MIN(ns, RUN_TASK_TIMEOUT_MAX);
    int32_t more = attempt - RUN_TASK_BACKOFF_AFTER;
    if (more <= 0)
        return ns;
    /* A worker that fails again and again does not answer any more: this is how long it is left alone. */
    return ns + (more > 8 ? RUN_TASK_BACKOFF_MAX : MIN(RUN_TASK_BACKOFF << (more - 1), RUN_TASK_BACKOFF_MAX));
}

/* ---- events ---- */

Tp__HistoryEvent *run_task_event_scheduled(const struct run *r)
{
    const Ws__Run *s = r->s;
    const Ws__WorkflowTask *k = s->task;
    Tp__HistoryEvent *event;
    Tp__WorkflowTaskScheduledEventAttributes *a = run_event_new(EVENT(WORKFLOW_TASK_SCHEDULED), &event);
    a->task_queue = k->sticky ? run_task_queue(s->sticky_queue, run_queue(r)) : run_task_queue(run_queue(r), NULL);
    a->start_to_close_timeout = temporal_duration_new(k->timeout_ns);
    a->attempt = k->attempt;
    event->event_id = k->scheduled_id;
    temporal_set_time(&event->event_time, k->scheduled_ns);
    return event;
}

Tp__HistoryEvent *run_task_event_started(const struct run *r)
{
    const Ws__WorkflowTask *k = r->s->task;
    Tp__HistoryEvent *event;
    Tp__WorkflowTaskStartedEventAttributes *a = run_event_new(EVENT(WORKFLOW_TASK_STARTED), &event);
    a->scheduled_event_id = k->scheduled_id;
    proto_set_text(&a->identity, k->identity);
    proto_set_text(&a->request_id, k->request_id);
    a->suggest_continue_as_new = k->suggest_continue_as_new;
    if (k->n_suggest_reasons) {
        a->n_suggest_continue_as_new_reasons = k->n_suggest_reasons;
        a->suggest_continue_as_new_reasons = xcalloc(k->n_suggest_reasons, sizeof *k->suggest_reasons);
        memcpy(a->suggest_continue_as_new_reasons, k->suggest_reasons,
               k->n_suggest_reasons * sizeof *k->suggest_reasons);
    }
    a->history_size_bytes = k->history_bytes;
    a->worker_version = proto_dup(k->worker_version);
    event->event_id = k->started_id;
    temporal_set_time(&event->event_time, k->started_ns);
    return event;
}

void run_task_write(struct run *r, struct durable_turn *t)
{
    Ws__WorkflowTask *k = r->s->task;
    (void)t;
    ASSERT(k && !k->written);
    if (!k->started_id)
        run_event_flush(r);
    k->scheduled_id = run_event_add_at(r, k->scheduled_ns, run_task_event_scheduled(r));
    if (k->started_id)
        k->started_id = run_event_add_at(r, k->started_ns, run_task_event_started(r));
    k->written = true;
    k->speculative = false;
    if (!k->sticky)
        k->schedule_to_start_deadline_ns = 0;
}

/* ---- scheduling ---- */

void run_task_schedule(struct run *r, struct durable_turn *t, bool speculative)
{
    Ws__Run *s = r->s;
    ASSERT(!s->task && run_open(r));
    if (s->task_attempt < 1)
        s->task_attempt = 1;
    if (s->n_buffered) {
        run_event_flush(r);
        s->task_attempt = 1; /* there is something new to decide about */
        speculative = false;
    }
    Ws__WorkflowTask *k = s->task = proto_new(&ws__workflow_task__descriptor);
    k->attempt = s->task_attempt;
    k->stamp = ++s->stamp;
    k->sticky = !run_empty(s->sticky_queue);
    k->timeout_ns = run_task_timeout(r, k->attempt);
    k->scheduled_ns = k->original_scheduled_ns = MAX(t->now_ns, s->last_event_ns);
    if (speculative)
        k->schedule_to_start_deadline_ns = run_deadline(t->now_ns, SPECULATIVE_WAIT);
    else if (k->sticky)
        k->schedule_to_start_deadline_ns = run_deadline(t->now_ns, s->sticky_timeout_ns);
    k->speculative = speculative && k->attempt == 1;
    k->written = k->attempt == 1 && !speculative;
    k->scheduled_id = k->written ? run_event_add(r, t, run_task_event_scheduled(r)) : s->next_event_id;
}

void run_wake(struct run *r, struct durable_turn *t)
{
    Ws__Run *s = r->s;
    if (!run_open(r) || s->waits_for_parent || s->backing_off)
        return;
    if (!s->task)
        run_task_schedule(r, t, false);
    else if (s->task->speculative && !s->task->started_id)
        run_task_write(r, t);
}

void run_task_first(struct run *r, struct durable_turn *t)
{
    Ws__Run *s = r->s;
    s->backing_off = false;
    s->waits_for_parent = false;
    run_wake(r, t);
}

void run_task_drop(struct run *r)
{
    proto_free(r->s->task);
    r->s->task = NULL;
    run_update_on_lost(r);
}

void run_sticky_clear(Ws__Run *s)
{
    proto_set_text(&s->sticky_queue, NULL);
    s->sticky_timeout_ns = 0;
}

/* The next attempt. A sticky worker's failure may be its own: the first one elsewhere is an ordinary one. */
static void task_again(struct run *r, struct durable_turn *t, bool counts)
{
    Ws__Run *s = r->s;
    if (!run_empty(s->sticky_queue)) {
        run_sticky_clear(s);
        counts = false;
    }
    s->task_attempt = s->task->attempt + (counts && s->task->attempt < INT32_MAX);
    run_task_drop(r);
    if (run_open(r))
        run_task_schedule(r, t, false);
}

void run_task_lose(struct run *r, struct durable_turn *t, Tp__WorkflowTaskFailedCause cause,
                   const Tp__Failure *failure, const char *identity)
{
    Ws__WorkflowTask *k = r->s->task;
    ASSERT(k && k->started_id);
    if (k->speculative)
        run_task_write(r, t);
    if (k->attempt == 1) { /* what follows the first is not written: a history has an end */
        Tp__HistoryEvent *event;
        Tp__WorkflowTaskFailedEventAttributes *a = run_event_new(EVENT(WORKFLOW_TASK_FAILED), &event);
        a->scheduled_event_id = k->scheduled_id;
        a->started_event_id = k->started_id;
        a->cause = cause;
        a->failure = run_failure_dup(failure);
        proto_set_text(&a->identity, identity);
        a->worker_version = proto_dup(k->worker_version);
        (void)run_event_add(r, t, event);
    }
    task_again(r, t, true);
}

void run_task_time_out(struct run *r, struct durable_turn *t, Tp__TimeoutType type)
{
    Ws__WorkflowTask *k = r->s->task;
    if (k->speculative)
        run_task_write(r, t);
    if (k->attempt == 1) {
        Tp__HistoryEvent *event;
        Tp__WorkflowTaskTimedOutEventAttributes *a = run_event_new(EVENT(WORKFLOW_TASK_TIMED_OUT), &event);
        a->scheduled_event_id = k->scheduled_id;
        a->started_event_id = k->started_id;
        a->timeout_type = type;
        (void)run_event_add(r, t, event);
    }
    task_again(r, t, type == TIMEOUT(START_TO_CLOSE));
}

int64_t run_task_due(const struct run *r)
{
    const Ws__Run *s = r->s;
    const Ws__WorkflowTask *k = s->task;
    if (!k)
        return s->backing_off ? s->execution_ns : JOURNAL_NEVER;
    if (k->started_id)
        return run_deadline(k->started_ns, k->timeout_ns);
    return k->schedule_to_start_deadline_ns ? k->schedule_to_start_deadline_ns : JOURNAL_NEVER;
}

void run_task_on_due(struct run *r, struct durable_turn *t)
{
    Ws__Run *s = r->s;
    if (run_task_due(r) > t->now_ns)
        return;
    if (!s->task) {
        run_task_first(r, t);
        return;
    }
    if (s->task->started_id) {
        run_task_time_out(r, t, TIMEOUT(START_TO_CLOSE));
        return;
    }
    if (s->task->sticky)
        run_task_time_out(r, t, TIMEOUT(SCHEDULE_TO_START));
    else
        run_task_write(r, t); /* speculative, and nobody came */
}

void run_sticky_lost(struct run *r, struct durable_turn *t)
{
    Ws__Run *s = r->s;
    if (run_empty(s->sticky_queue))
        return;
    run_sticky_clear(s);
    if (s->task && s->task->sticky) {
        s->task->sticky = false;
        if (!s->task->started_id)
            s->task->stamp = ++s->stamp;
        if (!s->task->speculative)
            s->task->schedule_to_start_deadline_ns = 0;
    }
    run_end(r, t);
}
