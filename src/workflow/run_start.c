#include "workflow/run_cron.h"

#include <string.h>

/* A cron schedule decides when its first run begins, too; what goes on from another was told. */
static int64_t delay_of(const struct run_start *st, int64_t now_ns)
{
    int64_t cron_ns;
    if (!st->chain && !run_empty(st->q->cron_schedule) &&
        run_cron_delay(st->q->cron_schedule, st->cron_zone, now_ns, now_ns, &cron_ns))
        return MIN(cron_ns, RUN_LONGEST_NS);
    int64_t asked = MAX(run_duration_ns(st->q->workflow_start_delay), 0), ms = MAX(st->first_task_delay_ms, 0), ns;
    if (__builtin_mul_overflow(ms, INT64_C(1000000), &ns))
        ns = RUN_LONGEST_NS;
    return MIN(MAX(asked, ns), RUN_LONGEST_NS);
}

static Tp__WorkflowExecution *execution_dup(const Tp__WorkflowExecution *e, const char *id, const char *run_id)
{
    if (e)
        return proto_dup(e);
    Tp__WorkflowExecution *own = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&own->workflow_id, id);
    proto_set_text(&own->run_id, run_id);
    return own;
}

static void from_chain(Tp__WorkflowExecutionStartedEventAttributes *a, const struct run_start *st)
{
    const Tp__WorkflowExecutionStartedEventAttributes *c = st->chain;
    a->attempt = 1;
    if (!c)
        return;
    proto_set_text(&a->continued_execution_run_id, c->continued_execution_run_id);
    a->initiator = c->initiator;
    if (c->attempt)
        a->attempt = c->attempt;
    a->workflow_execution_expiration_time = proto_dup(c->workflow_execution_expiration_time);
    a->prev_auto_reset_points = proto_dup(c->prev_auto_reset_points);
}

static void from_parent(Tp__WorkflowExecutionStartedEventAttributes *a, const struct run_start *st)
{
    if (!st->parent)
        return;
    proto_set_text(&a->parent_workflow_namespace, st->parent_ns);
    proto_set_text(&a->parent_workflow_namespace_id, st->parent_ns);
    a->parent_workflow_execution = proto_dup(st->parent);
    a->parent_initiated_event_id = st->parent_initiated_id;
}

static int64_t task_timeout(const Tp__Duration *asked, int64_t run_ns)
{
    int64_t ns = run_duration_ns(asked);
    ns = ns <= 0 ? RUN_TASK_TIMEOUT : MIN(ns, RUN_TASK_TIMEOUT_MAX);
    return run_ns > 0 ? MIN(ns, run_ns) : ns;
}

static Tp__HistoryEvent *started_event(const struct run_start *st, const Ws__Run *s, int64_t now_ns)
{
    const Tp__StartWorkflowExecutionRequest *q = st->q;
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionStartedEventAttributes *a = run_event_new(EVENT(WORKFLOW_EXECUTION_STARTED), &event);
    int64_t delay_ns = delay_of(st, now_ns), all_ns = MAX(run_duration_ns(q->workflow_execution_timeout), 0);
    int64_t run_ns = MAX(run_duration_ns(q->workflow_run_timeout), 0);
    if (all_ns && (!run_ns || run_ns > all_ns))
        run_ns = all_ns;
    a->workflow_type = proto_dup(q->workflow_type);
    a->task_queue = run_task_queue(q->task_queue->name, NULL);
    a->input = proto_dup(q->input);
    a->workflow_execution_timeout = temporal_duration_new(all_ns);
    a->workflow_run_timeout = temporal_duration_new(run_ns);
    a->workflow_task_timeout = temporal_duration_new(task_timeout(q->workflow_task_timeout, run_ns));
    from_parent(a, st);
    from_chain(a, st);
    a->continued_failure = run_failure_dup(q->continued_failure);
    a->last_completion_result = proto_dup(q->last_completion_result);
    proto_set_text(&a->original_execution_run_id, s->original_run_id);
    proto_set_text(&a->first_execution_run_id, s->first_run_id);
    proto_set_text(&a->identity, q->identity);
    a->retry_policy = proto_dup(q->retry_policy);
    if (a->retry_policy)
        run_retry_fill(a->retry_policy);
    proto_set_text(&a->cron_schedule, q->cron_schedule);
    a->first_workflow_task_backoff = temporal_duration_new(delay_ns);
    if (all_ns && !a->workflow_execution_expiration_time)
        a->workflow_execution_expiration_time =
            temporal_time_new(run_deadline(now_ns + delay_ns, all_ns));
    a->memo = proto_dup(q->memo);
    a->search_attributes = proto_dup(q->search_attributes);
    a->header = proto_dup(q->header);
    proto_set_text(&a->workflow_id, q->workflow_id);
    for (size_t i = 0; i < q->n_completion_callbacks; i++)
        proto_push(&a->n_completion_callbacks, &a->completion_callbacks, proto_dup(q->completion_callbacks[i]));
    a->root_workflow_execution = execution_dup(st->root, q->workflow_id, s->run_id);
    a->versioning_override = proto_dup(q->versioning_override);
    a->priority = proto_dup(q->priority);
    event->user_metadata = proto_dup(q->user_metadata);
    for (size_t i = 0; i < q->n_links; i++)
        proto_push(&event->n_links, &event->links, proto_dup(q->links[i]));
    return event;
}

void run_started(struct run *r, const Tp__HistoryEvent *event)
{
    Ws__Run *s = r->s;
    Tp__WorkflowExecutionStartedEventAttributes *a = proto_dup(event->workflow_execution_started_event_attributes);
    s->memo = a->memo;
    s->search_attributes = a->search_attributes;
    a->memo = NULL;
    a->search_attributes = NULL;
    if (!a->retry_policy && run_empty(a->cron_schedule)) {
        proto_set_message(&a->input, NULL);
        proto_set_message(&a->header, NULL);
    }
    s->started = a;
    s->metadata = proto_dup(event->user_metadata);
    s->priority = proto_dup(a->priority);
    s->versioning_override = proto_dup(a->versioning_override);
    s->start_ns = temporal_time_ns(event->event_time);
    int64_t delay_ns = run_duration_ns(a->first_workflow_task_backoff);
    s->execution_ns = s->start_ns + MAX(delay_ns, 0);
    s->backing_off = delay_ns > 0;
    s->waits_for_parent = a->parent_workflow_execution && run_empty(a->continued_execution_run_id);
    s->run_deadline_ns = run_deadline(s->execution_ns, run_duration_ns(a->workflow_run_timeout));
    s->execution_deadline_ns = temporal_time_ns(a->workflow_execution_expiration_time);
    s->task_attempt = 1;
    s->status = STATUS(RUNNING);
}

static void signal_first(struct run *r, struct durable_turn *t, const struct run_start *st)
{
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionSignaledEventAttributes *a = run_event_new(EVENT(WORKFLOW_EXECUTION_SIGNALED), &event);
    proto_set_text(&a->signal_name, st->signal_name);
    a->input = proto_dup(st->signal_input);
    a->header = proto_dup(st->signal_header);
    proto_set_text(&a->identity, st->q->identity);
    (void)run_event_add(r, t, event);
    r->s->signal_count = 1;
    run_signal_remember(r, st->q->request_id);
}

struct run *run_alloc(void)
{
    struct run *r = xcalloc(1, sizeof *r);
    buf_init(&r->index_text, RUN_STATE_BYTES_MAX);
    buf_init(&r->index_extra, RUN_STATE_BYTES_MAX);
    r->self = r;
    r->s = proto_new(&ws__run__descriptor);
    r->s->next_event_id = 1;
    return r;
}

struct run *run_new(const struct run_start *st, struct durable_turn *t)
{
    struct run *r = run_alloc();
    Ws__Run *s = r->s;
    char run_id[UUID_TEXT], first_id[UUID_TEXT];
    uuid_format(&st->run, run_id);
    uuid_format(&st->first_run, first_id);
    static const struct uuid none;
    bool first = memcmp(&st->first_run, &none, sizeof none) == 0;
    proto_set_text(&s->ns, st->q->namespace_);
    proto_set_text(&s->workflow_id, st->q->workflow_id);
    proto_set_text(&s->run_id, run_id);
    proto_set_text(&s->first_run_id, first ? run_id : first_id);
    proto_set_text(&s->original_run_id, run_id);
    proto_set_text(&s->start_request_id, st->q->request_id);
    s->retention_ns = st->retention_ms > 0 ? MIN(st->retention_ms, RUN_LONGEST_NS / 1000000) * 1000000 : RUN_RETENTION;
    proto_set_bytes(&s->cron_zone, st->cron_zone);
    Tp__HistoryEvent *event = started_event(st, s, t->now_ns);
    (void)run_event_add(r, t, event);
    run_started(r, event);
    if (st->signal_name)
        signal_first(r, t, st);
    run_wake(r, t);
    t->indexed = true;
    run_end(r, t);
    return r;
}
