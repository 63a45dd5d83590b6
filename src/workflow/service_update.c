#include "workflow/service_start.h"

#include <stdlib.h>

#define STAGE(name) \
    TP__UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE__UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_##name
typedef Tp__UpdateWorkflowExecutionLifecycleStage stage_t;

/* Somebody waits until an update has come so far. */
struct updating {
    struct op op; /* first: its own memory */
    struct wait wait;
    struct page page; /* the outcome of one that was completed long ago */
    const char *update_id;
    const Tp__UpdateRequest *request;                 /* NULL: only asked for */
    const Tp__StartWorkflowExecutionRequest *start;   /* update with start; else NULL */
    struct starting x;
    stage_t wanted, reached;
    Tp__UpdateOutcome *outcome;
    int64_t completed_event;
    bool poll, starting_failed;
};
#define UPDATING(op_) CONTAINER_OF(op_, struct updating, op)

/* ---- answers ---- */

static Tp__UpdateRef *update_ref(const struct updating *u)
{
    Tp__UpdateRef *ref = proto_new(&tp__update_ref__descriptor);
    ref->workflow_execution = service_execution(u->op.id, &u->op.run);
    proto_set_text(&ref->update_id, u->update_id);
    return ref;
}

static void updating_end(struct updating *u)
{
    wait_remove(&u->wait);
    op_free(&u->op);
}

static void multi_answer(struct updating *u, struct service_call *c, Tp__UpdateWorkflowExecutionResponse *update)
{
    char run[UUID_TEXT];
    uuid_format(&u->x.run, run);
    Tp__StartWorkflowExecutionResponse start;
    tp__start_workflow_execution_response__init(&start);
    start.run_id = run;
    start.started = u->x.started;
    start.status = TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_RUNNING;
    Tp__ExecuteMultiOperationResponse__Response one;
    tp__execute_multi_operation_response__response__init(&one);
    one.response_case = TP__EXECUTE_MULTI_OPERATION_RESPONSE__RESPONSE__RESPONSE_START_WORKFLOW;
    one.start_workflow = &start;
    Tp__ExecuteMultiOperationResponse__Response two;
    tp__execute_multi_operation_response__response__init(&two);
    two.response_case = TP__EXECUTE_MULTI_OPERATION_RESPONSE__RESPONSE__RESPONSE_UPDATE_WORKFLOW;
    two.update_workflow = update;
    Tp__ExecuteMultiOperationResponse__Response *both[] = { &one, &two };
    Tp__ExecuteMultiOperationResponse w;
    tp__execute_multi_operation_response__init(&w);
    w.n_responses = 2;
    w.responses = both;
    service_reply(c, &w);
}

static void updating_answer(struct updating *u)
{
    struct service_call *c = TAKE(u->op.c);
    Tp__UpdateRef *ref = update_ref(u);
    if (u->poll) {
        Tp__PollWorkflowExecutionUpdateResponse w;
        tp__poll_workflow_execution_update_response__init(&w);
        w.outcome = u->outcome;
        w.stage = u->reached;
        w.update_ref = ref;
        service_reply(c, &w);
    } else {
        Tp__UpdateWorkflowExecutionResponse w;
        tp__update_workflow_execution_response__init(&w);
        w.update_ref = ref;
        w.outcome = u->outcome;
        w.stage = u->reached;
        if (u->start)
            multi_answer(u, c, &w);
        else
            service_reply(c, &w);
    }
    proto_free(ref);
    updating_end(u);
}

/* One operation's fault is all's: the innocent one is told that it was not done. */
static void multi_refuse(struct refusal *no, bool start_failed)
{
    Tp__MultiOperationExecutionFailure *f = proto_new(&tp__multi_operation_execution_failure__descriptor);
    for (int i = 0; i < 2; i++) {
        Tp__MultiOperationExecutionFailure__OperationStatus *st =
            proto_new(&tp__multi_operation_execution_failure__operation_status__descriptor);
        bool guilty = (i == 0) == start_failed;
        st->code = guilty ? (int32_t)no->code : (int32_t)CODE_ABORTED;
        proto_set_text(&st->message, guilty ? no->text : "Operation was aborted.");
        Tp__MultiOperationExecutionAborted innocent;
        tp__multi_operation_execution_aborted__init(&innocent);
        const void *detail = guilty ? (const void *)no->detail : &innocent;
        Tp__Any *any = detail ? temporal_any_new(detail) : NULL;
        if (any)
            proto_push(&st->n_details, &st->details, any);
        proto_push(&f->n_statuses, &f->statuses, st);
    }
    enum code code = no->code;
    refuse_with(no, code, "temporal.api.errordetails.v1.MultiOperationExecutionFailure", f,
                "Update-with-Start could not be executed.");
}

static void updating_refuse(struct updating *u, struct refusal *take_no)
{
    struct service_call *c = TAKE(u->op.c);
    if (u->start)
        multi_refuse(take_no, u->starting_failed);
    service_refuse(c, take_no);
    updating_end(u);
}

/* ---- how far it is ---- */

/* false: not so far yet. `no` is filled if it will never be. */
static bool updating_look(struct updating *u, const struct run *r, struct refusal *no)
{
    const Tp__UpdateOutcome *outcome = NULL;
    stage_t reached = STAGE(UNSPECIFIED);
    if (run_update_stage(r, u->update_id, &reached, &outcome, no) < 0)
        return true;
    u->reached = reached;
    proto_free(TAKE(u->outcome));
    u->outcome = proto_dup(outcome);
    u->completed_event = reached == STAGE(COMPLETED) && !outcome ? run_update_completed_event(r, u->update_id) : 0;
    return reached >= u->wanted;
}

static void on_page(struct page *p, int r, const struct err *e)
{
    struct updating *u = CONTAINER_OF(p, struct updating, page);
    Tp__History *events = TAKE(p->events);
    struct refusal no = { 0 };
    if (r < 0)
        refuse(&no, -(enum code)r, "%s", e->text);
    else if (events->n_events == 1 && events->events[0]->attributes_case ==
                                          TP__HISTORY_EVENT__ATTRIBUTES_WORKFLOW_EXECUTION_UPDATE_COMPLETED_EVENT_ATTRIBUTES)
        u->outcome = proto_dup(events->events[0]->workflow_execution_update_completed_event_attributes->outcome);
    proto_free(events);
    if (no.code)
        updating_refuse(u, &no);
    else
        updating_answer(u);
}

static void updating_finish(struct updating *u)
{
    u->op.c->on_gone = NULL;
    u->op.c->on_drain = NULL;
    wait_remove(&u->wait);
    if (!u->completed_event) {
        updating_answer(u);
        return;
    }
    u->page = (struct page){ .s = u->op.s, .ns = xstrdup(u->op.ns), .id = xstrdup(u->op.id), .run = u->op.run,
                             .from = u->completed_event, .to = u->completed_event + 1, .events_max = 1,
                             .ready = on_page };
    page_read(&u->page);
}

static void on_look(struct wait *w, struct run *r)
{
    struct updating *u = CONTAINER_OF(w, struct updating, wait);
    struct refusal no = { 0 };
    if (!r || !updating_look(u, r, &no))
        return;
    if (no.code)
        updating_refuse(u, &no);
    else
        updating_finish(u);
}

static void on_expired(struct wait *w) { updating_finish(CONTAINER_OF(w, struct updating, wait)); }

static void on_gone(struct service_call *c)
{
    struct updating *u = c->work;
    u->op.c = NULL;
    service_end(c);
    updating_end(u);
}

static void on_drain(struct service_call *c) { updating_finish(c->work); }

/* ---- the input ---- */

static void update_act(struct op *op, const struct durable_view *v)
{
    struct updating *u = UPDATING(op);
    struct run *r = v->machine;
    struct durable_turn *t = v->turn;
    u->starting_failed = false;
    if (u->start) {
        u->starting_failed = true;
        if (starting_apply(op->s, &u->x, v, &op->no) < 0)
            return;
        u->starting_failed = false;
        op->run = u->x.run;
        r = u->x.machine;
        t = u->x.turn;
    }
    if (!r) {
        op_missing(op);
        return;
    }
    if (u->request && run_update(r, t, u->request, &op->no) < 0)
        return;
    (void)updating_look(u, r, &op->no);
}

static void update_then(struct op *op)
{
    struct updating *u = UPDATING(op);
    struct service_call *c = op->c;
    if (u->reached >= u->wanted || op->s->draining) {
        updating_finish(u);
        return;
    }
    if (c->gone) {
        op->c = NULL;
        service_end(c);
        updating_end(u);
        return;
    }
    c->work = u;
    c->on_gone = on_gone;
    c->on_drain = on_drain;
    u->wait = (struct wait){ .s = op->s, .run = op->run, .look = on_look, .expired = on_expired };
    wait_add(&u->wait, service_until(c, SERVICE_WAIT_NS));
}

static void update_failed(struct op *op)
{
    struct updating *u = UPDATING(op);
    struct refusal no = op->no;
    op->no = (struct refusal){ 0 };
    updating_refuse(u, &no);
}

static void update_done(struct op *op) { proto_free(UPDATING(op)->outcome); }

static int request_check(const Tp__UpdateRequest *q, struct refusal *no)
{
    if (!q || !q->meta || !*q->meta->update_id)
        return refuse(no, CODE_INVALID, "UpdateId is not set on request.");
    if (strlen(q->meta->update_id) > SERVICE_ID_BYTES_MAX)
        return refuse(no, CODE_INVALID, "UpdateID length exceeds limit.");
    if (!q->input || !*q->input->name)
        return refuse(no, CODE_INVALID, "UpdateName is not set on request.");
    return 0;
}

static stage_t wanted_stage(const Tp__WaitPolicy *p)
{
    stage_t wanted = p ? p->lifecycle_stage : STAGE(UNSPECIFIED);
    return wanted == STAGE(UNSPECIFIED) ? STAGE(ACCEPTED) : wanted;
}

static struct updating *updating_new(struct service *s, struct service_call *c, const char *id, const char *run)
{
    struct updating *u = op_new(s, c, sizeof(*u), c->ns, id, run, update_act);
    if (!u)
        return NULL;
    u->op.then = update_then;
    u->op.failed = update_failed;
    u->op.done = update_done;
    return u;
}

void service_update(struct service *s, struct service_call *c)
{
    const Tp__UpdateWorkflowExecutionRequest *q = c->q;
    struct refusal no = { 0 };
    if (request_check(q->request, &no) < 0) {
        service_refuse(c, &no);
        return;
    }
    const Tp__WorkflowExecution *x = q->workflow_execution;
    struct updating *u = updating_new(s, c, x ? x->workflow_id : NULL, x ? x->run_id : NULL);
    if (!u)
        return;
    u->request = q->request;
    u->update_id = q->request->meta->update_id;
    u->wanted = wanted_stage(q->wait_policy);
    op_send(&u->op);
}

void service_update_poll(struct service *s, struct service_call *c)
{
    const Tp__PollWorkflowExecutionUpdateRequest *q = c->q;
    const Tp__WorkflowExecution *x = q->update_ref ? q->update_ref->workflow_execution : NULL;
    if (!q->update_ref || !*q->update_ref->update_id) {
        service_fail(c, CODE_INVALID, "UpdateRef is not set on request.");
        return;
    }
    struct updating *u = updating_new(s, c, x ? x->workflow_id : NULL, x ? x->run_id : NULL);
    if (!u)
        return;
    u->poll = true;
    u->update_id = q->update_ref->update_id;
    u->wanted = q->wait_policy ? q->wait_policy->lifecycle_stage : STAGE(UNSPECIFIED);
    op_send(&u->op);
}

static int multi_check(const Tp__ExecuteMultiOperationRequest *q, struct refusal *no)
{
    if (q->n_operations != 2 ||
        q->operations[0]->operation_case != TP__EXECUTE_MULTI_OPERATION_REQUEST__OPERATION__OPERATION_START_WORKFLOW ||
        q->operations[1]->operation_case != TP__EXECUTE_MULTI_OPERATION_REQUEST__OPERATION__OPERATION_UPDATE_WORKFLOW)
        return refuse(no, CODE_INVALID, "Operations have to be exactly [Start, Update].");
    const Tp__StartWorkflowExecutionRequest *start = q->operations[0]->start_workflow;
    const Tp__UpdateWorkflowExecutionRequest *update = q->operations[1]->update_workflow;
    int r = starting_check(start, no);
    if (r == 0 && *start->cron_schedule)
        r = refuse(no, CODE_INVALID, "CronSchedule is not allowed.");
    if (r == 0 && start->request_eager_execution)
        r = refuse(no, CODE_INVALID, "RequestEagerExecution is not supported.");
    if (r == 0 && temporal_duration_ns(start->workflow_start_delay) > 0)
        r = refuse(no, CODE_INVALID, "WorkflowStartDelay is not supported.");
    if (r < 0) {
        multi_refuse(no, true);
        return r;
    }
    r = request_check(update->request, no);
    if (r == 0 && (!update->workflow_execution || strcmp(update->workflow_execution->workflow_id, start->workflow_id)))
        r = refuse(no, CODE_INVALID, "WorkflowId is not consistent with previous operation(s)");
    if (r == 0 && update->workflow_execution && *update->workflow_execution->run_id)
        r = refuse(no, CODE_INVALID, "RunId is not allowed.");
    if (r < 0)
        multi_refuse(no, false);
    return r;
}

void service_multi(struct service *s, struct service_call *c)
{
    const Tp__ExecuteMultiOperationRequest *q = c->q;
    struct refusal no = { 0 };
    if (multi_check(q, &no) < 0) {
        service_refuse(c, &no);
        return;
    }
    struct updating *u = updating_new(s, c, q->operations[0]->start_workflow->workflow_id, NULL);
    if (!u)
        return;
    const Tp__UpdateWorkflowExecutionRequest *update = q->operations[1]->update_workflow;
    u->start = q->operations[0]->start_workflow;
    u->x = (struct starting){ .q = u->start, .update = true };
    u->op.in.creates = true;
    u->request = update->request;
    u->update_id = update->request->meta->update_id;
    u->wanted = wanted_stage(update->wait_policy);
    op_send(&u->op);
}
