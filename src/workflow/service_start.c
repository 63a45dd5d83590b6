#include "workflow/service_start.h"
#include "codec/cron.h"
#include "workflow/zones.h"

#include <stdlib.h>

#define REUSE(name)    TP__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_##name
#define CONFLICT(name) TP__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_##name

/* ---- checks that need no state ---- */

static int id_length(const char *what, const char *text, struct refusal *no)
{
    return strlen(text) > SERVICE_ID_BYTES_MAX ? refuse(no, CODE_INVALID, "%s length exceeds limit.", what) : 0;
}

static int not_negative(const char *what, const Tp__Duration *d, struct refusal *no)
{
    return temporal_duration_ns(d) < 0 ? refuse(no, CODE_INVALID, "%s cannot be negative.", what) : 0;
}

static int retry_check(const Tp__RetryPolicy *p, struct refusal *no)
{
    if (!p)
        return 0;
    if (temporal_duration_ns(p->initial_interval) < 0)
        return refuse(no, CODE_INVALID, "InitialInterval cannot be negative on retry policy.");
    if (p->backoff_coefficient != 0 && !(p->backoff_coefficient >= 1))
        return refuse(no, CODE_INVALID, "BackoffCoefficient cannot be less than 1 on retry policy.");
    if (temporal_duration_ns(p->maximum_interval) < 0)
        return refuse(no, CODE_INVALID, "MaximumInterval cannot be negative on retry policy.");
    if (p->maximum_interval && temporal_duration_ns(p->maximum_interval) > 0 &&
        temporal_duration_ns(p->maximum_interval) < temporal_duration_ns(p->initial_interval))
        return refuse(no, CODE_INVALID, "MaximumInterval cannot be less than InitialInterval on retry policy.");
    if (p->maximum_attempts < 0)
        return refuse(no, CODE_INVALID, "MaximumAttempts cannot be negative on retry policy.");
    return 0;
}

static int texts_check(const Tp__StartWorkflowExecutionRequest *q, struct refusal *no)
{
    if (!*q->workflow_id)
        return refuse(no, CODE_INVALID, "WorkflowId is not set on request.");
    if (!q->workflow_type || !*q->workflow_type->name)
        return refuse(no, CODE_INVALID, "WorkflowType is not set on request.");
    if (!q->task_queue || !*q->task_queue->name)
        return refuse(no, CODE_INVALID, "TaskQueue is not set on request.");
    int r = id_length("WorkflowId", q->workflow_id, no);
    r = r < 0 ? r : id_length("WorkflowType", q->workflow_type->name, no);
    r = r < 0 ? r : id_length("TaskQueue name", q->task_queue->name, no);
    return r < 0 ? r : id_length("RequestId", q->request_id, no);
}

/* Reads the schedule, and into `zone` the file of the time zone that it names; NULL: it is only looked whether there is one. */
static int cron_zone_read(const char *schedule, struct buf *zone, struct refusal *no)
{
    struct cron cron;
    struct buf own;
    struct err e;
    buf_init(&own, ZONE_BYTES_MAX);
    int r = cron_parse(str_of(schedule), &cron, &e);
    if (r == 0)
        r = zones_read(NULL, str_of(cron.zone), zone ? zone : &own, &e);
    buf_done(&own);
    return r < 0 ? refuse(no, CODE_INVALID, "Invalid CronSchedule. %s", e.text) : 0;
}

int starting_check(const Tp__StartWorkflowExecutionRequest *q, struct refusal *no)
{
    int r = texts_check(q, no);
    r = r < 0 ? r : not_negative("WorkflowExecutionTimeout", q->workflow_execution_timeout, no);
    r = r < 0 ? r : not_negative("WorkflowRunTimeout", q->workflow_run_timeout, no);
    r = r < 0 ? r : not_negative("WorkflowTaskTimeout", q->workflow_task_timeout, no);
    r = r < 0 ? r : not_negative("WorkflowStartDelay", q->workflow_start_delay, no);
    r = r < 0 ? r : retry_check(q->retry_policy, no);
    if (r < 0)
        return r;
    if (*q->cron_schedule && cron_zone_read(q->cron_schedule, NULL, no) < 0)
        return -(int)no->code;
    if (*q->cron_schedule && temporal_duration_ns(q->workflow_start_delay) > 0)
        return refuse(no, CODE_INVALID, "CronSchedule and WorkflowStartDelay may not be used together.");
    if (q->workflow_id_reuse_policy == REUSE(TERMINATE_IF_RUNNING) &&
        q->workflow_id_conflict_policy != CONFLICT(UNSPECIFIED))
        return refuse(no, CODE_INVALID, "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING "
                                        "cannot be used together with a WorkflowIdConflictPolicy.");
    if (q->workflow_id_reuse_policy == REUSE(REJECT_DUPLICATE) &&
        q->workflow_id_conflict_policy == CONFLICT(TERMINATE_EXISTING))
        return refuse(no, CODE_INVALID, "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE cannot be "
                                        "used together with WorkflowIdConflictPolicy "
                                        "WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING");
    if (q->input && proto_size(q->input) > SERVICE_BLOB_BYTES)
        return refuse(no, CODE_INVALID, "Blob data size exceeds limit.");
    return 0;
}

/* ---- the policies ---- */

static int already(const struct run *r, struct refusal *no, const char *what, const char *why)
{
    struct journal_key key = run_key(r);
    char run[UUID_TEXT];
    uuid_format(&key.run, run);
    Tp__WorkflowExecutionAlreadyStartedFailure *d =
        proto_new(&tp__workflow_execution_already_started_failure__descriptor);
    proto_set_text(&d->start_request_id, run_start_request(r));
    proto_set_text(&d->run_id, run);
    proto_set_text(&d->first_execution_run_id, run_first_id(r));
    return refuse_with(no, CODE_EXISTS, "temporal.api.errordetails.v1.WorkflowExecutionAlreadyStartedFailure", d,
                       "%s WorkflowId: " STR_FMT ", RunId: %s.%s", what, STR_ARG(key.id), run, why);
}

enum way { WAY_NEW, WAY_SAME, WAY_USE, WAY_TERMINATE, WAY_REFUSED };

static enum way way_of_open(const struct starting *x, const struct run *r, struct refusal *no)
{
    if (x->signal || x->update) {
        if (x->q->workflow_id_conflict_policy != CONFLICT(TERMINATE_EXISTING) &&
            x->q->workflow_id_reuse_policy != REUSE(TERMINATE_IF_RUNNING) &&
            !(x->update && x->q->workflow_id_conflict_policy == CONFLICT(FAIL)))
            return WAY_USE;
    }
    if (x->q->workflow_id_reuse_policy == REUSE(TERMINATE_IF_RUNNING))
        return WAY_TERMINATE;
    switch (x->q->workflow_id_conflict_policy) {
    case CONFLICT(USE_EXISTING): return WAY_USE;
    case CONFLICT(TERMINATE_EXISTING): return WAY_TERMINATE;
    default: break;
    }
    (void)already(r, no, "Workflow execution is already running.", "");
    return WAY_REFUSED;
}

static enum way way_of_closed(const struct starting *x, const struct run *r, struct refusal *no)
{
    switch (x->q->workflow_id_reuse_policy) {
    case REUSE(REJECT_DUPLICATE):
        (void)already(r, no, "Workflow execution already finished.",
                      " Workflow Id reuse policy: reject duplicate workflow Id.");
        return WAY_REFUSED;
    case REUSE(ALLOW_DUPLICATE_FAILED_ONLY):
        if (run_status(r) != TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_COMPLETED)
            return WAY_NEW;
        (void)already(r, no, "Workflow execution already finished successfully.",
                      " Workflow Id reuse policy: allow duplicate workflow Id if last run failed.");
        return WAY_REFUSED;
    default: return WAY_NEW;
    }
}

static enum way way_of(const struct starting *x, const struct run *r, struct refusal *no)
{
    if (!r)
        return WAY_NEW;
    if (*x->q->request_id && run_started_by(r, x->q->request_id))
        return WAY_SAME;
    return run_open(r) ? way_of_open(x, r, no) : way_of_closed(x, r, no);
}

/* ---- a new run ---- */

struct uuid service_run_new(struct durable_turn *t)
{
    uint8_t random[10];
    uint64_t a = rng_next(t->random), b = rng_next(t->random);
    memcpy(random, &a, 8);
    memcpy(random + 8, &b, 2);
    return uuid_v7(t->now_ns / 1000000, random);
}

/* A machine needs a turn for its first events, and a turn a machine: they meet here. */
static void spawn(struct starting *x, struct durable_turn *t, const struct run_start *how)
{
    struct durable_turn first = { .now_ns = t->now_ns, .random = t->random };
    list_init(&first.afters);
    x->machine = run_new(how, &first);
    x->turn = durable_turn_create(t, &how->run, x->machine);
    for (size_t i = 0; i < first.row_count; i++)
        durable_turn_row(x->turn, first.rows[i].first, first.rows[i].count, first.rows[i].bytes, first.rows[i].size);
    free(first.rows);
    x->turn->changed = x->turn->indexed = true;
}

static void start_new(struct service *s, struct starting *x, const struct durable_view *v, struct str cron_zone)
{
    struct durable_turn *t = v->current ? v->current_turn : v->fresh;
    struct run_start how = x->more ? *x->more : (struct run_start){ 0 };
    how.q = x->q;
    how.run = how.first_run = service_run_new(t);
    struct service_namespace *n = service_namespace_find(s, x->q->namespace_);
    if (n)
        how.retention_ms = temporal_duration_ms(n->stored->config->workflow_execution_retention_ttl);
    how.first_task_delay_ms = temporal_duration_ms(x->q->workflow_start_delay);
    if (x->signal) {
        how.signal_name = x->signal->signal_name;
        how.signal_input = x->signal->signal_input;
        how.signal_header = x->signal->header;
    }
    x->run = how.run;
    how.cron_zone = cron_zone;
    x->started = x->fresh = true;
    spawn(x, t, &how);
}

static int signal_running(struct starting *x, const struct durable_view *v, struct refusal *no)
{
    Tp__SignalWorkflowExecutionRequest q;
    tp__signal_workflow_execution_request__init(&q);
    q.namespace_ = x->signal->namespace_;
    q.signal_name = x->signal->signal_name;
    q.input = x->signal->signal_input;
    q.header = x->signal->header;
    q.identity = x->signal->identity;
    q.request_id = x->signal->request_id;
    q.control = x->signal->control;
    return run_signal(v->current, v->current_turn, &q, NULL, no);
}

static int use_running(struct starting *x, const struct durable_view *v, struct refusal *no)
{
    x->machine = v->current;
    x->turn = v->current_turn;
    x->run = v->current_run;
    return x->signal ? signal_running(x, v, no) : 0;
}

/* In place of `old`, which is ended; NULL: nothing is in the way. */
static int start_instead(struct service *s, struct starting *x, const struct durable_view *v, struct run *old, struct refusal *no)
{
    struct buf zone; /* of a cron schedule: the run keeps the rules that it began with */
    buf_init(&zone, ZONE_BYTES_MAX);
    int r = *x->q->cron_schedule ? cron_zone_read(x->q->cron_schedule, &zone, no) : 0;
    if (r == 0 && old)
        r = run_terminate(old, v->current_turn, "TerminateIfRunning WorkflowIdReusePolicy", NULL, "history-service", no);
    if (r == 0)
        start_new(s, x, v, buf_str(&zone));
    buf_done(&zone);
    return r;
}

int starting_apply(struct service *s, struct starting *x, const struct durable_view *v, struct refusal *no)
{
    x->started = x->fresh = false;
    x->machine = NULL;
    switch (way_of(x, v->current, no)) {
    case WAY_REFUSED: return -(int)no->code;
    case WAY_SAME:
        x->started = true;
        x->machine = v->current;
        x->turn = v->current_turn;
        x->run = v->current_run;
        return 0;
    case WAY_USE: return use_running(x, v, no);
    case WAY_TERMINATE: return start_instead(s, x, v, v->current, no);
    case WAY_NEW: break;
    }
    return start_instead(s, x, v, NULL, no);
}

/* ---- StartWorkflowExecution ---- */

struct started {
    struct op op;
    struct starting x;
    struct handing h; /* of the first task, if it was asked for eagerly */
    bool eager;
    Tp__StartWorkflowExecutionRequest *own; /* composed of a signal with start */
};

static void started_done(struct op *op)
{
    struct started *st = CONTAINER_OF(op, struct started, op);
    handing_done(&st->h);
    proto_free(st->own);
}

static void start_act(struct op *op, const struct durable_view *v)
{
    struct started *st = CONTAINER_OF(op, struct started, op);
    handing_done(&st->h);
    st->h = (struct handing){ 0 };
    st->eager = false;
    if (starting_apply(op->s, &st->x, v, &op->no) < 0)
        return;
    op->run = st->x.run;
    struct run_task task;
    if (!st->x.fresh || !st->x.q->request_eager_execution || op->c->gone || !run_wants_task(st->x.machine, 0, &task))
        return;
    struct run_poller by = { .identity = st->x.q->identity, .queue = task.queue, .request_id = "" };
    struct refusal no = { 0 };
    st->eager = run_task_start(st->x.machine, st->x.turn, &task, &by, &st->h.given, &no) == 0;
    refusal_done(&no);
}

static void start_answer(struct started *st)
{
    struct service_call *c = TAKE(st->op.c);
    char run[UUID_TEXT];
    uuid_format(&st->x.run, run);
    Tp__StartWorkflowExecutionResponse w;
    tp__start_workflow_execution_response__init(&w);
    w.run_id = run;
    w.started = st->x.started;
    w.status = TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_RUNNING;
    w.eager_workflow_task = st->eager ? st->h.given.answer : NULL;
    service_reply(c, &w);
    op_free(&st->op);
}

static void on_ready(struct handing *h, const struct err *e)
{
    struct started *st = CONTAINER_OF(h, struct started, h);
    st->eager = !e; /* else it times out, and goes to who polls */
    if (!e && st->op.c->worker)
        service_worker_took(st->op.c->worker, &h->given.token);
    start_answer(st);
}

static void start_then(struct op *op)
{
    struct started *st = CONTAINER_OF(op, struct started, op);
    if (!st->eager) {
        start_answer(st);
        return;
    }
    st->h.ready = on_ready;
    struct journal_key key = op->in.key;
    key.run = st->x.run;
    handing_begin(&st->h, op->s, &key);
}

static struct started *started_new(struct service *s, struct service_call *c, const Tp__StartWorkflowExecutionRequest *q)
{
    struct refusal no = { 0 };
    if (starting_check(q, &no) < 0) {
        service_refuse(c, &no);
        return NULL;
    }
    struct started *st = op_new(s, c, sizeof(*st), c->ns, q->workflow_id, NULL, start_act);
    if (!st)
        return NULL;
    st->op.in.creates = true;
    st->op.done = started_done;
    st->op.then = start_then;
    st->x.q = q;
    return st;
}

void service_start(struct service *s, struct service_call *c)
{
    struct started *st = started_new(s, c, c->q);
    if (st)
        op_send(&st->op);
}

/* ---- SignalWithStartWorkflowExecution ---- */

static void signal_then(struct op *op)
{
    struct started *st = CONTAINER_OF(op, struct started, op);
    char run[UUID_TEXT];
    uuid_format(&st->x.run, run);
    Tp__SignalWithStartWorkflowExecutionResponse w;
    tp__signal_with_start_workflow_execution_response__init(&w);
    w.run_id = run;
    w.started = st->x.started;
    service_reply(TAKE(op->c), &w);
    op_free(op);
}

/* What the two requests have in common; borrowed but for the struct itself. */
static Tp__StartWorkflowExecutionRequest *start_of(const Tp__SignalWithStartWorkflowExecutionRequest *q)
{
    Tp__StartWorkflowExecutionRequest w;
    tp__start_workflow_execution_request__init(&w);
    w.namespace_ = q->namespace_;
    w.workflow_id = q->workflow_id;
    w.workflow_type = q->workflow_type;
    w.task_queue = q->task_queue;
    w.input = q->input;
    w.workflow_execution_timeout = q->workflow_execution_timeout;
    w.workflow_run_timeout = q->workflow_run_timeout;
    w.workflow_task_timeout = q->workflow_task_timeout;
    w.identity = q->identity;
    w.request_id = q->request_id;
    w.workflow_id_reuse_policy = q->workflow_id_reuse_policy;
    w.workflow_id_conflict_policy = q->workflow_id_conflict_policy;
    w.retry_policy = q->retry_policy;
    w.cron_schedule = q->cron_schedule;
    w.memo = q->memo;
    w.search_attributes = q->search_attributes;
    w.header = q->header;
    w.workflow_start_delay = q->workflow_start_delay;
    w.user_metadata = q->user_metadata;
    w.n_links = q->n_links;
    w.links = q->links;
    w.versioning_override = q->versioning_override;
    w.priority = q->priority;
    return proto_dup(&w);
}

void service_signal_with_start(struct service *s, struct service_call *c)
{
    const Tp__SignalWithStartWorkflowExecutionRequest *q = c->q;
    if (!*q->signal_name) {
        service_fail(c, CODE_INVALID, "SignalName is not set on request.");
        return;
    }
    Tp__StartWorkflowExecutionRequest *own = start_of(q);
    struct started *st = started_new(s, c, own);
    if (!st) {
        proto_free(own);
        return;
    }
    st->own = own;
    st->x.signal = q;
    st->op.then = signal_then;
    op_send(&st->op);
}
