/* Reset: a new run with the history of an old one up to a workflow task, which is made to have failed; what came from outside
 * later is applied again. */
#include "workflow/run_child.h"
#include "workflow/run_replay.h"
#include "workflow/run_update.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_EVENTS = 256 }; /* readers take a history in pieces of this size */
#define EXCLUDE(name) TP__RESET_REAPPLY_EXCLUDE_TYPE__RESET_REAPPLY_EXCLUDE_TYPE_##name
#define REAPPLY(name) TP__RESET_REAPPLY_TYPE__RESET_REAPPLY_TYPE_##name
#define IDENTITY      "history-service"

static bool ends_a_task(const Tp__HistoryEvent *e)
{
    return e->event_type == EVENT(WORKFLOW_TASK_COMPLETED) || e->event_type == EVENT(WORKFLOW_TASK_FAILED) ||
           e->event_type == EVENT(WORKFLOW_TASK_TIMED_OUT) || e->event_type == EVENT(WORKFLOW_TASK_STARTED);
}

static int reset_check(const struct run *base, Tp__HistoryEvent *const *events, size_t count,
                       Tp__HistoryEvent *const *later, size_t later_count,
                       const Tp__ResetWorkflowExecutionRequest *q, struct refusal *no)
{
    int64_t finish = q->workflow_task_finish_event_id;
    if (finish <= 1 || finish >= run_next_event(base))
        return refuse(no, CODE_INVALID,
                      "Workflow task finish ID must be > 1 && <= workflow last event ID (%lld).",
                      (long long)run_next_event(base) - 1);
    ASSERT(count > 0 && events[count - 1]->event_id == finish - 1);
    ASSERT(later_count > 0 && later[0]->event_id == finish);
    if (!ends_a_task(later[0]))
        return refuse(no, CODE_INVALID,
                      "Cannot reset workflow to event %lld: it neither starts nor ends a workflow task. Name one that is "
                      "completed, failed, timed out or started.",
                      (long long)finish);
    return 0;
}

/* ---- the old history ---- */

static void rows_add(struct durable_turn *t, Tp__HistoryEvent *const *events, size_t count)
{
    for (size_t from = 0; from < count; from += ROW_EVENTS) {
        size_t n = MIN((size_t)ROW_EVENTS, count - from);
        Tp__HistoryEvent **slice = xcalloc(n, sizeof(*slice));
        Tp__History history = TP__HISTORY__INIT;
        struct buf row;
        memcpy(slice, events + from, n * sizeof(*slice));
        history.n_events = n;
        history.events = slice;
        buf_init(&row, SIZE_MAX / 2);
        proto_encode(&history, &row);
        durable_turn_row(t, (uint64_t)slice[0]->event_id, (uint32_t)n, row.base, row.size);
        free(slice);
    }
}

/* The old run may have asked for their start already: it is not asked for twice. */
static void children_take(struct run *r, const struct run *base)
{
    for (size_t i = 0; i < r->s->n_children; i++) {
        Ws__Child *child = r->s->children[i];
        const Ws__Child *old = run_child_find(base, child->initiated_id);
        if (old && run_open(base) && child->started_id == 0)
            proto_set_text(&child->requested_by, run_empty(old->requested_by) ? base->s->run_id : old->requested_by);
    }
}

/* What the new run knows of is its own; the others are let go when the old one closes. */
static void children_leave(struct run *base, int64_t finish)
{
    for (size_t i = 0; i < base->s->n_children;) {
        if (base->s->children[i]->initiated_id < finish)
            run_remove(&base->s->n_children, &base->s->children, i);
        else
            i++;
    }
}

static struct run *rebuild(const struct run *base, Tp__HistoryEvent *const *events, size_t count,
                           const struct uuid *id, const char *request_id, int64_t now_ns, struct err *e)
{
    struct run *r = run_alloc();
    Ws__Run *s = r->s;
    char run_id[UUID_TEXT];
    uuid_format(id, run_id);
    proto_set_text(&s->ns, base->s->ns);
    proto_set_text(&s->workflow_id, base->s->workflow_id);
    proto_set_text(&s->run_id, run_id);
    proto_set_text(&s->base_run_id, base->s->run_id);
    proto_set_text(&s->start_request_id, request_id);
    proto_set_bytes(&s->cron_zone, proto_bytes(&base->s->cron_zone));
    s->retention_ns = base->s->retention_ns;
    s->n_signal_ids = base->s->n_signal_ids; /* senders may still repeat what the old run has */
    if (s->n_signal_ids) {
        s->signal_ids = xcalloc(s->n_signal_ids, sizeof(*s->signal_ids));
        memcpy(s->signal_ids, base->s->signal_ids, s->n_signal_ids * sizeof(*s->signal_ids));
    }
    for (size_t i = 0; i < count; i++)
        if (run_replay_event(r, events[i], e) < 0) {
            run_free(r);
            return NULL;
        }
    children_take(r, base);
    s->start_ns = s->execution_ns = s->last_reset_ns = now_ns;
    s->run_deadline_ns = run_deadline(now_ns, temporal_duration_ns(s->started->workflow_run_timeout));
    s->execution_deadline_ns = run_deadline(now_ns, temporal_duration_ns(s->started->workflow_execution_timeout));
    return r;
}

/* ---- the task that never was answered ---- */

static void task_fail(struct run *r, struct durable_turn *t, const struct run *base,
                      const Tp__ResetWorkflowExecutionRequest *q)
{
    Ws__Run *s = r->s;
    if (!s->task->started_id) {
        char request_id[UUID_TEXT];
        run_new_id(t, request_id);
        proto_set_text(&s->task->identity, IDENTITY);
        proto_set_text(&s->task->request_id, request_id);
        s->task->started_ns = MAX(t->now_ns, s->last_event_ns);
        s->task->started_id = run_event_add(r, t, run_task_event_started(r));
    }
    Tp__HistoryEvent *event;
    Tp__WorkflowTaskFailedEventAttributes *a = run_event_new(EVENT(WORKFLOW_TASK_FAILED), &event);
    a->scheduled_event_id = s->task->scheduled_id;
    a->started_event_id = s->task->started_id;
    a->cause = CAUSE(RESET_WORKFLOW);
    a->failure = proto_new(&tp__failure__descriptor);
    proto_set_text(&a->failure->message, q->reason);
    proto_set_text(&a->failure->source, "Server");
    a->failure->failure_info_case = TP__FAILURE__FAILURE_INFO_RESET_WORKFLOW_FAILURE_INFO;
    a->failure->reset_workflow_failure_info = proto_new(&tp__reset_workflow_failure_info__descriptor);
    proto_set_text(&a->identity, IDENTITY);
    proto_set_text(&a->base_run_id, base->s->run_id);
    proto_set_text(&a->new_run_id, s->run_id);
    (void)run_event_add(r, t, event);
    proto_set_message(&s->task, NULL);
    s->task_attempt = 1;
}

/* ---- what came later ---- */

struct again { /* what is applied again */
    bool signals, updates, cancels;
};

static struct again again_of(const Tp__ResetWorkflowExecutionRequest *q)
{
    struct again again = { true, true, true };
    if (q->reset_reapply_type == REAPPLY(NONE))
        return (struct again){ 0 };
    if (q->reset_reapply_type == REAPPLY(SIGNAL))
        again = (struct again){ .signals = true };
    for (size_t i = 0; i < q->n_reset_reapply_exclude_types; i++) {
        again.signals &= q->reset_reapply_exclude_types[i] != EXCLUDE(SIGNAL);
        again.updates &= q->reset_reapply_exclude_types[i] != EXCLUDE(UPDATE);
        again.cancels &= q->reset_reapply_exclude_types[i] != EXCLUDE(CANCEL_REQUEST);
    }
    return again;
}

static void admit_again(struct run *r, struct durable_turn *t, const Tp__UpdateRequest *request)
{
    Tp__HistoryEvent *event;
    if (!request || !request->meta || run_update_find(r, request->meta->update_id))
        return;
    Tp__WorkflowExecutionUpdateAdmittedEventAttributes *a =
        run_event_new(EVENT(WORKFLOW_EXECUTION_UPDATE_ADMITTED), &event);
    a->request = proto_dup(request);
    a->origin = TP__UPDATE_ADMITTED_EVENT_ORIGIN__UPDATE_ADMITTED_EVENT_ORIGIN_REAPPLY;
    (void)run_event_add(r, t, event);
    run_update_admit(r, request, t->now_ns);
}

/* Its attributes are copied: links and request ids stay what they were. */
static void event_again(struct run *r, struct durable_turn *t, const Tp__HistoryEvent *e)
{
    Tp__HistoryEvent *copy = proto_dup(e);
    copy->event_id = 0;
    (void)run_event_add(r, t, copy);
}

static void apply_again(struct run *r, struct durable_turn *t, const struct again *again,
                        const Tp__HistoryEvent *e)
{
    switch (e->event_type) {
    case EVENT(WORKFLOW_EXECUTION_SIGNALED):
        if (!again->signals)
            return;
        event_again(r, t, e);
        r->s->signal_count++;
        return;
    case EVENT(WORKFLOW_EXECUTION_CANCEL_REQUESTED):
        if (!again->cancels || r->s->cancel_requested)
            return;
        event_again(r, t, e);
        r->s->cancel_requested = true;
        return;
    case EVENT(WORKFLOW_EXECUTION_UPDATE_ADMITTED):
        if (again->updates)
            admit_again(r, t, e->workflow_execution_update_admitted_event_attributes->request);
        return;
    case EVENT(WORKFLOW_EXECUTION_UPDATE_ACCEPTED):
        if (again->updates)
            admit_again(r, t, e->workflow_execution_update_accepted_event_attributes->accepted_request);
        return;
    default: /* nobody says it twice */
        run_child_again(r, t, e);
        return;
    }
}

static void signal_after(struct run *r, struct durable_turn *t, const char *identity,
                         const Tp__PostResetOperation__SignalWorkflow *q)
{
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionSignaledEventAttributes *a = run_event_new(EVENT(WORKFLOW_EXECUTION_SIGNALED), &event);
    proto_set_text(&a->signal_name, q->signal_name);
    a->input = proto_dup(q->input);
    a->header = proto_dup(q->header);
    proto_set_text(&a->identity, identity);
    for (size_t i = 0; i < q->n_links; i++)
        proto_push(&event->n_links, &event->links, proto_dup(q->links[i]));
    (void)run_event_add(r, t, event);
    r->s->signal_count++;
}

static int after_reset(struct run *r, struct durable_turn *t, const Tp__ResetWorkflowExecutionRequest *q,
                       struct refusal *no)
{
    for (size_t i = 0; i < q->n_post_reset_operations; i++) {
        const Tp__PostResetOperation *op = q->post_reset_operations[i];
        if (op->variant_case == TP__POST_RESET_OPERATION__VARIANT_SIGNAL_WORKFLOW) {
            signal_after(r, t, q->identity, op->signal_workflow);
        } else if (op->variant_case == TP__POST_RESET_OPERATION__VARIANT_UPDATE_WORKFLOW_OPTIONS) {
            int k = run_options_apply(r, t, op->update_workflow_options->workflow_execution_options,
                                      op->update_workflow_options->update_mask, q->identity, no);
            if (k < 0)
                return k;
        } else {
            return refuse(no, CODE_INVALID, "post_reset_operations[%zu] says nothing to do", i);
        }
    }
    return 0;
}

/* ---- all of it ---- */

/* All but the rows that the machine writes itself; these wait in `first`, so that a refusal leaves nothing. */
static int reset_build(const struct run *base, Tp__HistoryEvent *const *later, size_t later_count,
                       const Tp__ResetWorkflowExecutionRequest *q, struct durable_turn *first, struct run *r,
                       struct refusal *no)
{
    struct again again = again_of(q);
    if (!r->s->task)
        return refuse(no, CODE_INVALID, "Cannot reset workflow to event %lld: no workflow task is pending before it.",
                      (long long)q->workflow_task_finish_event_id);
    task_fail(r, first, base, q);
    for (size_t i = 0; i < later_count; i++)
        apply_again(r, first, &again, later[i]);
    for (size_t i = 0; i < base->s->n_buffered; i++) /* not numbered yet, but acknowledged */
        apply_again(r, first, &again, base->s->buffered[i]);
    for (size_t i = 0; i < r->s->n_children; i++) /* it may have ended while no run that knew of it was open */
        r->s->children[i]->ask = true;
    int k = after_reset(r, first, q, no);
    if (k < 0)
        return k;
    run_task_schedule(r, first, false);
    run_end(r, first);
    return 0;
}

int run_reset(struct run *base, struct durable_turn *base_turn, Tp__HistoryEvent *const *events, size_t count,
              Tp__HistoryEvent *const *later, size_t later_count, const Tp__ResetWorkflowExecutionRequest *q,
              const struct uuid *run, struct durable_turn *t, struct refusal *no)
{
    struct durable_turn first = { .now_ns = t->now_ns, .random = t->random };
    struct err e;
    int k = reset_check(base, events, count, later, later_count, q, no);
    if (k < 0)
        return k;
    struct run *r = rebuild(base, events, count, run, q->request_id, t->now_ns, &e);
    if (!r)
        return refuse(no, CODE_DATA_LOSS, "%s", e.text);
    list_init(&first.afters);
    k = reset_build(base, later, later_count, q, &first, r, no);
    if (k < 0) {
        run_batch_drop(r);
        run_free(r);
        ASSERT(first.row_count == 0);
        return k;
    }
    proto_set_text(&base->s->reset_run_id, r->s->run_id);
    if (run_open(base))
        children_leave(base, q->workflow_task_finish_event_id);
    base_turn->changed = true;
    struct durable_turn *own = durable_turn_create(t, run, r);
    rows_add(own, events, count);
    for (size_t i = 0; i < first.row_count; i++)
        durable_turn_row(own, first.rows[i].first, first.rows[i].count, first.rows[i].bytes, first.rows[i].size);
    free(first.rows);
    own->changed = own->indexed = true;
    return 0;
}

struct uuid run_reset_to(const struct run *r)
{
    struct uuid to = { 0 };
    if (run_empty(r->s->reset_run_id) || !uuid_parse(str_of(r->s->reset_run_id), &to))
        memset(&to, 0, sizeof(to));
    return to;
}
