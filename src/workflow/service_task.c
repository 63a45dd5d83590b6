#include "workflow/service_impl.h"
#include "workflow/service_query.h"

#include <stdlib.h>

/* ---- workflow tasks ---- */

struct completion {
    struct op op;
    struct run_token token;
    struct run_completed completed;
    struct handing h; /* the next task, which the answer brings along */
    bool handed;
    Tp__PollActivityTaskQueueResponse **eager; /* activities that it brings along, too */
    size_t eager_count;
};

static void completed_done(struct run_completed *c)
{
    free(c->eager);
    *c = (struct run_completed){ 0 };
}

static void completion_done(struct op *op)
{
    struct completion *x = CONTAINER_OF(op, struct completion, op);
    completed_done(&x->completed);
    handing_done(&x->h);
    for (size_t i = 0; i < x->eager_count; i++)
        proto_free(x->eager[i]);
    free(TAKE(x->eager));
    x->eager_count = 0;
}

/* What the worker is to be given stands in its own request: nothing is read. The last one of that id: those before it were
 * cancelled, else it would be a duplicate. */
static const Tp__ScheduleActivityTaskCommandAttributes *command_of(const Tp__RespondWorkflowTaskCompletedRequest *q,
                                                                   const char *activity_id)
{
    for (size_t i = q->n_commands; i-- > 0;)
        if (q->commands[i]->attributes_case == TP__COMMAND__ATTRIBUTES_SCHEDULE_ACTIVITY_TASK_COMMAND_ATTRIBUTES &&
            !strcmp(q->commands[i]->schedule_activity_task_command_attributes->activity_id, activity_id))
            return q->commands[i]->schedule_activity_task_command_attributes;
    UNREACHABLE("an eager activity comes from a command");
}

static void eager_start(struct completion *x, struct run *r, struct durable_turn *t, const struct run_task *task)
{
    const Tp__RespondWorkflowTaskCompletedRequest *q = x->op.c->q;
    const struct run_poller by = { .identity = q->identity, .queue = "", .request_id = "" };
    Tp__PollActivityTaskQueueResponse *answer = NULL;
    struct run_token token;
    struct refusal no = { 0 };
    if (run_activity_start(r, t, task, &by, &answer, &token, &no) < 0) { /* over again, by a later command */
        refusal_done(&no);
        return;
    }
    const Tp__ScheduleActivityTaskCommandAttributes *a = command_of(q, token.activity_id);
    proto_set_message(&answer->input, proto_dup(a->input));
    proto_set_message(&answer->header, proto_dup(a->header));
    service_token_write(&token, &answer->task_token);
    proto_push(&x->eager_count, &x->eager, answer);
}

static void next_start(struct completion *x, struct run *r, struct durable_turn *t)
{
    const Tp__RespondWorkflowTaskCompletedRequest *q = x->op.c->q;
    const struct run_task *task = &x->completed.next_task;
    const struct run_poller by = { .identity = q->identity, .queue = task->queue, .sticky = task->normal_queue != NULL,
                                   .request_id = "" };
    struct refusal no = { 0 };
    x->handed = run_task_start(r, t, task, &by, &x->h.given, &no) == 0;
    refusal_done(&no);
}

/* As the run does with other bad commands: the first time the task fails, then it runs into its timeout. */
static void attributes_bad(struct completion *x, struct run *r, struct durable_turn *t)
{
    struct service_call *c = x->op.c;
    const Tp__RespondWorkflowTaskCompletedRequest *q = c->q;
    Tp__RespondWorkflowTaskFailedRequest *f = proto_new(&tp__respond_workflow_task_failed_request__descriptor);
    f->cause = TP__WORKFLOW_TASK_FAILED_CAUSE__WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES;
    proto_set_text(&f->identity, q->identity);
    f->failure = proto_new(&tp__failure__descriptor);
    proto_set_text(&f->failure->message, c->bad.text);
    proto_set_text(&f->failure->source, "Server");
    f->failure->failure_info_case = TP__FAILURE__FAILURE_INFO_SERVER_FAILURE_INFO;
    f->failure->server_failure_info = proto_new(&tp__server_failure_info__descriptor);
    if (x->token.attempt > 1 || run_task_fail(r, t, &x->token, f, &x->op.no) == 0)
        (void)refuse(&x->op.no, CODE_INVALID, "BadSearchAttributes: %s", c->bad.text);
    proto_free(f);
}

static void completed_act(struct op *op, const struct durable_view *v)
{
    struct completion *x = CONTAINER_OF(op, struct completion, op);
    const Tp__RespondWorkflowTaskCompletedRequest *q = op->c->q;
    completion_done(op);
    x->h = (struct handing){ 0 };
    x->handed = false;
    if (!v->machine) {
        op_missing(op);
        return;
    }
    if (op->c->bad.code) {
        attributes_bad(x, v->machine, v->turn);
        return;
    }
    if (run_task_complete(v->machine, v->turn, &x->token, q, &x->completed, &op->no) < 0)
        return;
    if (op->c->gone) /* nobody would do what is handed out with the answer */
        return;
    for (size_t i = 0; i < x->completed.eager_count; i++)
        eager_start(x, v->machine, v->turn, &x->completed.eager[i]);
    if (x->completed.next && q->return_new_workflow_task)
        next_start(x, v->machine, v->turn);
}

static void completed_answer(struct completion *x)
{
    struct service_call *c = TAKE(x->op.c);
    Tp__RespondWorkflowTaskCompletedResponse w;
    tp__respond_workflow_task_completed_response__init(&w);
    w.workflow_task = x->handed ? x->h.given.answer : NULL;
    w.n_activity_tasks = x->eager_count;
    w.activity_tasks = x->eager;
    w.reset_history_event_id = x->completed.reset_history_event_id;
    service_reply(c, &w);
    op_free(&x->op);
}

static void on_ready(struct handing *h, const struct err *e)
{
    struct completion *x = CONTAINER_OF(h, struct completion, h);
    x->handed = !e; /* else the task times out, and is given out again */
    if (!e && x->op.c->worker)
        service_worker_took(x->op.c->worker, &h->given.token);
    if (!e)
        queries_attach(x->op.s, &h->run, &h->given);
    completed_answer(x);
}

static void completed_then(struct op *op)
{
    struct completion *x = CONTAINER_OF(op, struct completion, op);
    const Tp__RespondWorkflowTaskCompletedRequest *q = op->c->q;
    queries_answered(op->s, &x->token.run, q->query_results, q->n_query_results);
    if (!x->handed) {
        completed_answer(x);
        return;
    }
    x->h.ready = on_ready;
    handing_begin(&x->h, op->s, &op->in.key);
}

static void completed_failed(struct op *op)
{
    service_refuse(TAKE(op->c), &op->no);
    op_free(op);
}

void service_task_completed(struct service *s, struct service_call *c)
{
    const Tp__RespondWorkflowTaskCompletedRequest *q = c->q;
    struct run_token token;
    struct refusal no = { 0 };
    if (service_token_read(&q->task_token, c->ns, RUN_WORKFLOW_TASK, &token, &no) < 0) {
        service_refuse(c, &no);
        return;
    }
    struct completion *x = op_new(s, c, sizeof(*x), token.ns, token.workflow_id, NULL, completed_act);
    if (!x)
        return;
    x->token = token;
    x->op.in.key.run = token.run;
    x->op.then = completed_then;
    x->op.failed = completed_failed;
    x->op.done = completion_done;
    op_send(&x->op);
}

/* ---- what needs a token and nothing after ---- */

struct tokened {
    struct op op;
    struct run_token token;
    int (*apply)(struct tokened *x, struct run *r, struct durable_turn *t);
};

static void tokened_act(struct op *op, const struct durable_view *v)
{
    struct tokened *x = CONTAINER_OF(op, struct tokened, op);
    if (!v->machine)
        op_missing(op);
    else
        (void)x->apply(x, v->machine, v->turn);
}

static void tokened_send(struct service *s, struct service_call *c, const struct run_token *token,
                         int (*apply)(struct tokened *x, struct run *r, struct durable_turn *t))
{
    struct tokened *x = op_new(s, c, sizeof(*x), token->ns, token->workflow_id, NULL, tokened_act);
    if (!x)
        return;
    x->token = *token;
    x->op.in.key.run = token->run;
    x->apply = apply;
    op_send(&x->op);
}

static void by_token(struct service *s, struct service_call *c, const ProtobufCBinaryData *bytes,
                     enum run_task_type type, int (*apply)(struct tokened *x, struct run *r, struct durable_turn *t))
{
    struct run_token token;
    struct refusal no = { 0 };
    if (service_token_read(bytes, c->ns, type, &token, &no) < 0)
        service_refuse(c, &no);
    else
        tokened_send(s, c, &token, apply);
}

static void by_id(struct service *s, struct service_call *c, const char *workflow_id, const char *run_id,
                  const char *activity_id, int (*apply)(struct tokened *x, struct run *r, struct durable_turn *t))
{
    struct run_token token = { .type = RUN_ACTIVITY_TASK };
    if (!*activity_id || strlen(activity_id) > SERVICE_ID_BYTES_MAX) {
        service_fail(c, CODE_INVALID, "ActivityId is not set on request.");
        return;
    }
    if (!*workflow_id || strlen(workflow_id) > SERVICE_ID_BYTES_MAX) {
        service_fail(c, CODE_INVALID, "WorkflowId is not set on request.");
        return;
    }
    if (strlen(c->ns) >= sizeof(token.ns) || !service_run_parse(run_id, &token.run)) {
        service_fail(c, CODE_INVALID, "Invalid RunId.");
        return;
    }
    memcpy(token.ns, c->ns, strlen(c->ns));
    memcpy(token.workflow_id, workflow_id, strlen(workflow_id));
    memcpy(token.activity_id, activity_id, strlen(activity_id));
    tokened_send(s, c, &token, apply);
}

static int task_fail(struct tokened *x, struct run *r, struct durable_turn *t)
{
    x->op.answer = proto_new(&tp__respond_workflow_task_failed_response__descriptor);
    return run_task_fail(r, t, &x->token, x->op.c->q, &x->op.no);
}

void service_task_failed(struct service *s, struct service_call *c)
{
    const Tp__RespondWorkflowTaskFailedRequest *q = c->q;
    if (!query_task_failed(s, c))
        by_token(s, c, &q->task_token, RUN_WORKFLOW_TASK, task_fail);
}

/* ---- activities: each by token and by id, which have the same fields under other names ---- */

static int complete(struct tokened *x, struct run *r, struct durable_turn *t)
{
    const Tp__RespondActivityTaskCompletedRequest *q = x->op.c->q;
    x->op.answer = proto_new(&tp__respond_activity_task_completed_response__descriptor);
    return run_activity_complete(r, t, &x->token, q->result, q->identity, &x->op.no);
}

static int complete_by_id(struct tokened *x, struct run *r, struct durable_turn *t)
{
    const Tp__RespondActivityTaskCompletedByIdRequest *q = x->op.c->q;
    x->op.answer = proto_new(&tp__respond_activity_task_completed_by_id_response__descriptor);
    return run_activity_complete(r, t, &x->token, q->result, q->identity, &x->op.no);
}

static int fail(struct tokened *x, struct run *r, struct durable_turn *t)
{
    const Tp__RespondActivityTaskFailedRequest *q = x->op.c->q;
    x->op.answer = proto_new(&tp__respond_activity_task_failed_response__descriptor);
    return run_activity_fail(r, t, &x->token, q->failure, q->last_heartbeat_details, q->identity, &x->op.no);
}

static int fail_by_id(struct tokened *x, struct run *r, struct durable_turn *t)
{
    const Tp__RespondActivityTaskFailedByIdRequest *q = x->op.c->q;
    x->op.answer = proto_new(&tp__respond_activity_task_failed_by_id_response__descriptor);
    return run_activity_fail(r, t, &x->token, q->failure, q->last_heartbeat_details, q->identity, &x->op.no);
}

static int cancel(struct tokened *x, struct run *r, struct durable_turn *t)
{
    const Tp__RespondActivityTaskCanceledRequest *q = x->op.c->q;
    x->op.answer = proto_new(&tp__respond_activity_task_canceled_response__descriptor);
    return run_activity_cancel(r, t, &x->token, q->details, q->identity, &x->op.no);
}

static int cancel_by_id(struct tokened *x, struct run *r, struct durable_turn *t)
{
    const Tp__RespondActivityTaskCanceledByIdRequest *q = x->op.c->q;
    x->op.answer = proto_new(&tp__respond_activity_task_canceled_by_id_response__descriptor);
    return run_activity_cancel(r, t, &x->token, q->details, q->identity, &x->op.no);
}

static int beat(struct tokened *x, struct run *r, struct durable_turn *t)
{
    const Tp__RecordActivityTaskHeartbeatRequest *q = x->op.c->q;
    Tp__RecordActivityTaskHeartbeatResponse *w = proto_new(&tp__record_activity_task_heartbeat_response__descriptor);
    bool canceled = false;
    int r2 = run_activity_beat(r, t, &x->token, q->details, &canceled, &x->op.no);
    w->cancel_requested = canceled;
    x->op.answer = w;
    return r2;
}

static int beat_by_id(struct tokened *x, struct run *r, struct durable_turn *t)
{
    const Tp__RecordActivityTaskHeartbeatByIdRequest *q = x->op.c->q;
    Tp__RecordActivityTaskHeartbeatByIdResponse *w =
        proto_new(&tp__record_activity_task_heartbeat_by_id_response__descriptor);
    bool canceled = false;
    int r2 = run_activity_beat(r, t, &x->token, q->details, &canceled, &x->op.no);
    w->cancel_requested = canceled;
    x->op.answer = w;
    return r2;
}

#define BY_TOKEN(method, Request, apply)                                         \
    void service_##method(struct service *s, struct service_call *c)             \
    {                                                                            \
        const Tp__##Request *q = c->q;                                           \
        by_token(s, c, &q->task_token, RUN_ACTIVITY_TASK, apply);                \
    }
#define BY_ID(method, Request, apply)                                            \
    void service_##method(struct service *s, struct service_call *c)             \
    {                                                                            \
        const Tp__##Request *q = c->q;                                           \
        by_id(s, c, q->workflow_id, q->run_id, q->activity_id, apply);           \
    }
BY_TOKEN(activity_completed, RespondActivityTaskCompletedRequest, complete)
BY_TOKEN(activity_failed, RespondActivityTaskFailedRequest, fail)
BY_TOKEN(activity_canceled, RespondActivityTaskCanceledRequest, cancel)
BY_TOKEN(activity_beat, RecordActivityTaskHeartbeatRequest, beat)
BY_ID(activity_completed_by_id, RespondActivityTaskCompletedByIdRequest, complete_by_id)
BY_ID(activity_failed_by_id, RespondActivityTaskFailedByIdRequest, fail_by_id)
BY_ID(activity_canceled_by_id, RespondActivityTaskCanceledByIdRequest, cancel_by_id)
BY_ID(activity_beat_by_id, RecordActivityTaskHeartbeatByIdRequest, beat_by_id)
