#include "workflow/run_impl.h"

#include <stdio.h>
#include <string.h>

static uint64_t hash_of(const char *text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a; who makes two of his ids equal loses his own signal */
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return h;
}

static bool signal_known(const Ws__Run *s, uint64_t id)
{
    for (size_t i = 0; i < s->n_signal_ids; i++)
        if (s->signal_ids[i] == id)
            return true;
    return false;
}

static void remember(Ws__Run *s, uint64_t id)
{
    if (s->n_signal_ids == RUN_SIGNAL_IDS_MAX)
        memmove(s->signal_ids, s->signal_ids + 1, --s->n_signal_ids * sizeof *s->signal_ids);
    s->signal_ids = xrealloc(s->signal_ids, s->n_signal_ids + 1, sizeof *s->signal_ids);
    s->signal_ids[s->n_signal_ids++] = id;
}

/* What tells a repetition: the client's request id, or where another run's wish stands; 0: nothing does. */
static uint64_t signal_id(const Tp__SignalWorkflowExecutionRequest *q, const struct run_from *from)
{
    if (!from)
        return run_empty(q->request_id) ? 0 : hash_of(q->request_id);
    char text[128];
    (void)snprintf(text, sizeof text, "%s/%lld", from->run->run_id, (long long)from->initiated_id);
    return hash_of(text);
}

void run_signal_remember(struct run *r, const char *request_id)
{
    if (!run_empty(request_id))
        remember(r->s, hash_of(request_id));
}

int run_signal(struct run *r, struct durable_turn *t, const Tp__SignalWorkflowExecutionRequest *q,
               const struct run_from *from, struct refusal *no)
{
    Ws__Run *s = r->s;
    uint64_t id = signal_id(q, from);
    if (id && signal_known(s, id))
        return 0;
    if (!run_open(r))
        return refuse(no, CODE_NOT_FOUND, "workflow execution already completed");
    if (s->signal_count >= RUN_SIGNALS_MAX)
        return refuse(no, CODE_INVALID, "exceeded workflow execution limit for signal events");
    if (id)
        remember(s, id);
    s->signal_count++;
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionSignaledEventAttributes *a = run_event_new(EVENT(WORKFLOW_EXECUTION_SIGNALED), &event);
    proto_set_text(&a->signal_name, q->signal_name);
    a->input = proto_dup(q->input);
    proto_set_text(&a->identity, q->identity);
    a->header = proto_dup(q->header);
    if (from)
        a->external_workflow_execution = proto_dup(from->run);
    proto_set_text(&a->request_id, q->request_id);
    for (size_t i = 0; i < q->n_links; i++)
        proto_push(&event->n_links, &event->links, proto_dup(q->links[i]));
    (void)run_event_add(r, t, event);
    run_wake(r, t);
    run_end(r, t);
    return 0;
}

int run_request_cancel(struct run *r, struct durable_turn *t, const Tp__RequestCancelWorkflowExecutionRequest *q,
                       const struct run_from *from, struct refusal *no)
{
    Ws__Run *s = r->s;
    if (!run_empty(q->first_execution_run_id) && strcmp(q->first_execution_run_id, s->first_run_id) != 0)
        return refuse(no, CODE_NOT_FOUND, "workflow not found for ID: %.200s", s->workflow_id);
    if (!run_open(r) || s->cancel_requested)
        return 0; /* it is what was asked for, or on the way there */
    s->cancel_requested = true;
    proto_set_text(&s->cancel_request_id, q->request_id);
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionCancelRequestedEventAttributes *a =
        run_event_new(EVENT(WORKFLOW_EXECUTION_CANCEL_REQUESTED), &event);
    proto_set_text(&a->cause, q->reason);
    proto_set_text(&a->identity, q->identity);
    if (from) {
        a->external_workflow_execution = proto_dup(from->run);
        a->external_initiated_event_id = from->initiated_id;
    }
    for (size_t i = 0; i < q->n_links; i++)
        proto_push(&event->n_links, &event->links, proto_dup(q->links[i]));
    (void)run_event_add(r, t, event);
    if (s->backing_off && !s->waits_for_parent)
        run_task_first(r, t); /* one that waits for its time may be cancelled without waiting for it */
    else
        run_wake(r, t);
    run_end(r, t);
    return 0;
}

int run_terminate(struct run *r, struct durable_turn *t, const char *reason, const Tp__Payloads *details,
                  const char *identity, struct refusal *no)
{
    if (!run_open(r))
        return refuse(no, CODE_NOT_FOUND, "workflow execution already completed");
    run_close_terminate(r, t, reason, details, identity);
    run_end(r, t);
    return 0;
}
