#include "workflow/run_impl.h"

#include <string.h>

static size_t timer_find(const Ws__Run *s, const char *id)
{
    size_t i = 0;
    while (i < s->n_timers && strcmp(s->timers[i]->id, id) != 0)
        i++;
    return i;
}

int run_timer_command_start(struct run_commanding *c)
{
    const Tp__StartTimerCommandAttributes *q = c->command->start_timer_command_attributes;
    Ws__Run *s = c->r->s;
    int64_t ns = run_duration_ns(q->start_to_fire_timeout);
    if (run_empty(q->timer_id))
        return run_command_bad(c, CAUSE(BAD_START_TIMER_ATTRIBUTES), "TimerId is not set on StartTimerCommand.");
    if (strlen(q->timer_id) > RUN_ID_BYTES_MAX)
        return run_command_bad(c, CAUSE(BAD_START_TIMER_ATTRIBUTES), "TimerId on StartTimerCommand exceeds length limit.");
    if (ns <= 0)
        return run_command_bad(c, CAUSE(BAD_START_TIMER_ATTRIBUTES),
                               "A valid StartToFireTimeout is not set on StartTimerCommand. TimerId=%s", q->timer_id);
    if (timer_find(s, q->timer_id) < s->n_timers)
        return run_command_bad(c, CAUSE(START_TIMER_DUPLICATE_ID), "StartTimerDuplicateId: TimerId=%s", q->timer_id);
    if (s->n_timers >= RUN_TIMERS_MAX)
        return run_command_bad(c, CAUSE(BAD_START_TIMER_ATTRIBUTES), "the workflow has %d timers pending", RUN_TIMERS_MAX);

    Tp__HistoryEvent *event;
    Tp__TimerStartedEventAttributes *a = run_event_new(EVENT(TIMER_STARTED), &event);
    proto_set_text(&a->timer_id, q->timer_id);
    a->start_to_fire_timeout = proto_dup(q->start_to_fire_timeout);
    a->workflow_task_completed_event_id = c->completed_id;
    Ws__Timer *timer = proto_new(&ws__timer__descriptor);
    proto_set_text(&timer->id, q->timer_id);
    timer->started_id = run_command_event(c, event);
    timer->fire_ns = run_deadline(c->t->now_ns, ns);
    proto_push(&s->n_timers, &s->timers, timer);
    return 0;
}

int run_timer_command_cancel(struct run_commanding *c)
{
    const char *id = c->command->cancel_timer_command_attributes->timer_id;
    Ws__Run *s = c->r->s;
    if (run_empty(id))
        return run_command_bad(c, CAUSE(BAD_CANCEL_TIMER_ATTRIBUTES), "TimerId is not set on CancelTimerCommand.");
    size_t i = timer_find(s, id);
    int64_t started;
    if (i < s->n_timers) {
        started = s->timers[i]->started_id;
        run_remove(&s->n_timers, &s->timers, i);
    } else {
        /* Fired, and the worker does not know: as if it had not. */
        started = run_event_unbuffer_timer(c->r, id);
        if (!started)
            return run_command_bad(c, CAUSE(BAD_CANCEL_TIMER_ATTRIBUTES), "CancelTimer: unknown TimerId=%s", id);
        if (c->unseen)
            c->unseen--;
    }
    Tp__HistoryEvent *event;
    Tp__TimerCanceledEventAttributes *a = run_event_new(EVENT(TIMER_CANCELED), &event);
    proto_set_text(&a->timer_id, id);
    a->started_event_id = started;
    a->workflow_task_completed_event_id = c->completed_id;
    proto_set_text(&a->identity, c->q->identity);
    (void)run_command_event(c, event);
    return 0;
}

/* ---- they fire ---- */

static size_t timer_first(const Ws__Run *s)
{
    size_t first = 0;
    for (size_t i = 1; i < s->n_timers; i++)
        if (s->timers[i]->fire_ns < s->timers[first]->fire_ns)
            first = i;
    return first;
}

int64_t run_timer_due(const struct run *r)
{
    const Ws__Run *s = r->s;
    return s->n_timers ? s->timers[timer_first(s)]->fire_ns : JOURNAL_NEVER;
}

void run_timer_on_due(struct run *r, struct durable_turn *t)
{
    Ws__Run *s = r->s;
    bool fired = false;
    while (s->n_timers) {
        size_t i = timer_first(s);
        Ws__Timer *timer = s->timers[i];
        if (timer->fire_ns > t->now_ns)
            break;
        Tp__HistoryEvent *event;
        Tp__TimerFiredEventAttributes *a = run_event_new(EVENT(TIMER_FIRED), &event);
        proto_set_text(&a->timer_id, timer->id);
        a->started_event_id = timer->started_id;
        (void)run_event_add(r, t, event);
        run_remove(&s->n_timers, &s->timers, i);
        fired = true;
    }
    if (fired)
        run_wake(r, t);
}
