#include "workflow/service_start.h"

#include <stdlib.h>

/* Two inputs: the first learns how long the history is, which is then read; the second resets, if it is that long
 * still. Else it is read on. */
struct resetting {
    struct op op; /* first: its own memory */
    struct page page;
    Tp__History *events; /* 1 .. read-1 */
    int64_t read, end;
    struct uuid run; /* the new one */
    bool stale;
};
#define RESETTING(op_) CONTAINER_OF(op_, struct resetting, op)

static void reset_send(struct resetting *from, struct service *s, struct service_call *c);

static void reset_done(struct op *op)
{
    proto_free(RESETTING(op)->events);
}

static const char *refused_run(const struct run *r) { return run_open(r) ? "" : " of a run that is over"; }

static void reset_act(struct op *op, const struct durable_view *v)
{
    struct resetting *x = RESETTING(op);
    const Tp__ResetWorkflowExecutionRequest *q = op->c->q;
    if (!v->machine) {
        op_missing(op);
        return;
    }
    x->stale = false;
    if (*q->request_id && v->current && run_started_by(v->current, q->request_id)) { /* repeated: it was reset to that one */
        x->run = v->current_run;
        return;
    }
    x->end = run_next_event(v->machine);
    x->stale = x->read < x->end;
    if (x->stale)
        return;
    size_t count = 0;
    while (count < x->events->n_events && x->events->events[count]->event_id < q->workflow_task_finish_event_id)
        count++;
    if (q->workflow_task_finish_event_id <= 1 || count == x->events->n_events) {
        refuse(&op->no, CODE_INVALID, "Workflow task finish ID must be > 1 && <= workflow last event ID%s.",
               refused_run(v->machine));
        return;
    }
    struct run *current = v->current;
    struct durable_turn *t = v->current_turn;
    x->run = service_run_new(t);
    if (run_reset(v->machine, v->turn, x->events->events, count, x->events->events + count, x->events->n_events - count, q,
                  &x->run, t, &op->no) < 0)
        return;
    struct refusal no = { 0 };
    if (run_open(current) && run_terminate(current, t, q->reason, NULL, "history-service", &no) < 0)
        refusal_done(&no);
}

static void on_page(struct page *p, int r, const struct err *e)
{
    struct resetting *x = CONTAINER_OF(p, struct resetting, page);
    Tp__History *more = TAKE(p->events);
    for (size_t i = 0; i < more->n_events; i++)
        proto_push(&x->events->n_events, &x->events->events, more->events[i]);
    more->n_events = 0;
    proto_free(more);
    x->read = p->next ? p->next : x->end;
    struct service_call *c = TAKE(x->op.c);
    if (r < 0)
        service_fail(c, -(enum code)r, "%s", e->text);
    else
        reset_send(x, x->op.s, c);
    op_free(&x->op);
}

static void reset_then(struct op *op)
{
    struct resetting *x = RESETTING(op);
    if (x->stale) {
        x->page = (struct page){ .s = op->s, .ns = xstrdup(op->ns), .id = xstrdup(op->id), .run = op->run, .from = x->read,
                                 .to = x->end, .events_max = SIZE_MAX, .ready = on_page };
        page_read(&x->page);
        return;
    }
    char text[UUID_TEXT];
    uuid_format(&x->run, text);
    Tp__ResetWorkflowExecutionResponse w;
    tp__reset_workflow_execution_response__init(&w);
    w.run_id = text;
    service_reply(TAKE(op->c), &w);
    op_free(op);
}

/* The next try; what was read goes over to it. */
static void reset_send(struct resetting *from, struct service *s, struct service_call *c)
{
    const Tp__ResetWorkflowExecutionRequest *q = c->q;
    const Tp__WorkflowExecution *at = q->workflow_execution;
    struct resetting *x = op_new(s, c, sizeof(*x), c->ns, at ? at->workflow_id : NULL, at ? at->run_id : NULL, reset_act);
    if (!x)
        return;
    x->op.then = reset_then;
    x->op.done = reset_done;
    x->read = from ? from->read : 1;
    if (from)
        x->op.in.key.run = from->op.run; /* the same run, whatever is current by now */
    x->events = from ? TAKE(from->events) : proto_new(&tp__history__descriptor);
    op_send(&x->op);
}

void service_reset(struct service *s, struct service_call *c) { reset_send(NULL, s, c); }
