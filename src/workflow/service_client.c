#include "workflow/service_impl.h"

#include <stdlib.h>

/* What clients ask of one run, that is done when it is committed. */
struct asking {
    struct op op;
    const char *first_run;
    int (*apply)(struct asking *x, struct run *r, struct durable_turn *t);
};

static void asking_act(struct op *op, const struct durable_view *v)
{
    struct asking *x = CONTAINER_OF(op, struct asking, op);
    if (!v->machine || (x->first_run && *x->first_run && strcmp(run_first_id(v->machine), x->first_run)))
        op_missing(op);
    else
        (void)x->apply(x, v->machine, v->turn);
}

static void asking_send(struct service *s, struct service_call *c, const Tp__WorkflowExecution *x,
                        const char *first_run, int (*apply)(struct asking *x, struct run *r, struct durable_turn *t))
{
    if (!x) {
        service_fail(c, CODE_INVALID, "Execution is not set on request.");
        return;
    }
    struct asking *a = op_new(s, c, sizeof(*a), c->ns, x->workflow_id, x->run_id, asking_act);
    if (!a)
        return;
    a->first_run = first_run;
    a->apply = apply;
    op_send(&a->op);
}

static int signal_apply(struct asking *x, struct run *r, struct durable_turn *t)
{
    x->op.answer = proto_new(&tp__signal_workflow_execution_response__descriptor);
    return run_signal(r, t, x->op.c->q, NULL, &x->op.no);
}

void service_signal(struct service *s, struct service_call *c)
{
    const Tp__SignalWorkflowExecutionRequest *q = c->q;
    if (!*q->signal_name)
        service_fail(c, CODE_INVALID, "SignalName is not set on request.");
    else if (strlen(q->signal_name) > SERVICE_ID_BYTES_MAX)
        service_fail(c, CODE_INVALID, "SignalName length exceeds limit.");
    else if (q->input && proto_size(q->input) > SERVICE_BLOB_BYTES)
        service_fail(c, CODE_INVALID, "Blob data size exceeds limit.");
    else
        asking_send(s, c, q->workflow_execution, NULL, signal_apply);
}

static int cancel_apply(struct asking *x, struct run *r, struct durable_turn *t)
{
    x->op.answer = proto_new(&tp__request_cancel_workflow_execution_response__descriptor);
    return run_request_cancel(r, t, x->op.c->q, NULL, &x->op.no);
}

void service_cancel(struct service *s, struct service_call *c)
{
    const Tp__RequestCancelWorkflowExecutionRequest *q = c->q;
    asking_send(s, c, q->workflow_execution, q->first_execution_run_id, cancel_apply);
}

static int terminate_apply(struct asking *x, struct run *r, struct durable_turn *t)
{
    const Tp__TerminateWorkflowExecutionRequest *q = x->op.c->q;
    x->op.answer = proto_new(&tp__terminate_workflow_execution_response__descriptor);
    return run_terminate(r, t, q->reason, q->details, q->identity, &x->op.no);
}

void service_terminate(struct service *s, struct service_call *c)
{
    const Tp__TerminateWorkflowExecutionRequest *q = c->q;
    asking_send(s, c, q->workflow_execution, q->first_execution_run_id, terminate_apply);
}

static int describe_apply(struct asking *x, struct run *r, struct durable_turn *t)
{
    (void)t;
    x->op.answer = run_describe(r);
    return 0;
}

void service_describe(struct service *s, struct service_call *c)
{
    const Tp__DescribeWorkflowExecutionRequest *q = c->q;
    asking_send(s, c, q->execution, NULL, describe_apply);
}

static int options_apply(struct asking *x, struct run *r, struct durable_turn *t)
{
    Tp__UpdateWorkflowExecutionOptionsResponse *w =
        proto_new(&tp__update_workflow_execution_options_response__descriptor);
    x->op.answer = w;
    return run_set_options(r, t, x->op.c->q, &w->workflow_execution_options, &x->op.no);
}

void service_options(struct service *s, struct service_call *c)
{
    const Tp__UpdateWorkflowExecutionOptionsRequest *q = c->q;
    asking_send(s, c, q->workflow_execution, NULL, options_apply);
}

/* Deleted with its history; an open one is terminated by that, and its children with it. */
static int remove_apply(struct asking *x, struct run *r, struct durable_turn *t)
{
    (void)r;
    x->op.answer = proto_new(&tp__delete_workflow_execution_response__descriptor);
    t->changed = t->indexed = true;
    t->forget = true;
    return 0;
}

void service_remove(struct service *s, struct service_call *c)
{
    const Tp__DeleteWorkflowExecutionRequest *q = c->q;
    asking_send(s, c, q->workflow_execution, NULL, remove_apply);
}

static int sticky_apply(struct asking *x, struct run *r, struct durable_turn *t)
{
    x->op.answer = proto_new(&tp__reset_sticky_task_queue_response__descriptor);
    run_sticky_lost(r, t);
    return 0;
}

void service_sticky_reset(struct service *s, struct service_call *c)
{
    const Tp__ResetStickyTaskQueueRequest *q = c->q;
    asking_send(s, c, q->execution, NULL, sticky_apply);
}
