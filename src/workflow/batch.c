#include "workflow/batch.h"
#include "workflow/batch.pb-c.h"

#include <stdlib.h>

#define OPERATION(name) TP__START_BATCH_OPERATION_REQUEST__OPERATION_##name##_OPERATION
#define STATE(name)     TP__BATCH_OPERATION_STATE__BATCH_OPERATION_STATE_##name
#define TYPE(name)      TP__BATCH_OPERATION_TYPE__BATCH_OPERATION_TYPE_##name
#define STATE_MEMORY_MAX MIB(64)
enum { BATCH_ID_BYTES_MAX = 1000 }; /* Temporal's */

struct batch {
    Wb__Batch *s;
    struct buf *extra; /* what the index points at */
};

/* ---- the request ---- */

static int reset_check(const Tp__BatchOperationReset *q, struct refusal *no)
{
    bool typed = q->reset_type == TP__RESET_TYPE__RESET_TYPE_FIRST_WORKFLOW_TASK ||
                 q->reset_type == TP__RESET_TYPE__RESET_TYPE_LAST_WORKFLOW_TASK;
    if (!q->options && !typed)
        return refuse(no, CODE_INVALID, "Reset options are not set on request: a batch resets to the first or to the last workflow task.");
    if (q->options && q->options->target_case != TP__RESET_OPTIONS__TARGET_FIRST_WORKFLOW_TASK &&
        q->options->target_case != TP__RESET_OPTIONS__TARGET_LAST_WORKFLOW_TASK &&
        q->options->target_case != TP__RESET_OPTIONS__TARGET_WORKFLOW_TASK_ID)
        return refuse(no, CODE_UNIMPLEMENTED, "hob resets to the first, the last or a named workflow task, not to a build");
    return 0;
}

static int operation_check(const Tp__StartBatchOperationRequest *q, struct refusal *no)
{
    switch ((int)q->operation_case) {
    case OPERATION(TERMINATION):
    case OPERATION(CANCELLATION):
    case OPERATION(DELETION):
    case OPERATION(UPDATE_WORKFLOW_OPTIONS):
        return 0;
    case OPERATION(SIGNAL):
        return *q->signal_operation->signal ? 0 : refuse(no, CODE_INVALID, "SignalName is not set on request.");
    case OPERATION(RESET):
        return reset_check(q->reset_operation, no);
    case TP__START_BATCH_OPERATION_REQUEST__OPERATION__NOT_SET:
        return refuse(no, CODE_INVALID, "Batch operation is not set on request.");
    default:
        return refuse(no, CODE_UNIMPLEMENTED, "hob does not do batches of activities yet");
    }
}

int batch_check(const Tp__StartBatchOperationRequest *q, const struct limits *limits, struct refusal *no)
{
    size_t given = q->n_executions + q->n_target_executions;
    if (!*q->job_id)
        return refuse(no, CODE_INVALID, "JobId is not set on request.");
    if (strlen(q->job_id) > BATCH_ID_BYTES_MAX)
        return refuse(no, CODE_INVALID, "JobId length exceeds limit.");
    if (!*q->reason)
        return refuse(no, CODE_INVALID, "Reason is not set on request.");
    if (!*q->visibility_query && !given)
        return refuse(no, CODE_INVALID, "Workflow executions filter is not set on request.");
    if (*q->visibility_query && given)
        return refuse(no, CODE_INVALID,
                      "Workflow executions and visibility filter are both set on request. Only one of them is allowed.");
    if (given > limits->batch_executions_max)
        return refuse(no, CODE_INVALID, "Workflow executions count exceeded: at most %llu (batch_executions_max).",
                      (unsigned long long)limits->batch_executions_max);
    for (size_t i = 0; i < q->n_target_executions; i++)
        if (q->target_executions[i]->type == TP__EXECUTION_TYPE__EXECUTION_TYPE_ACTIVITY)
            return refuse(no, CODE_UNIMPLEMENTED, "hob does not do batches of activities yet");
    return operation_check(q, no);
}

uint32_t batch_page_max(const Tp__StartBatchOperationRequest *q, const struct limits *limits)
{
    float rate = q->max_operations_per_second;
    uint32_t most = (uint32_t)limits->batch_page_max;
    return rate > 0 && rate < (float)most ? MAX((uint32_t)rate, 1U) : most;
}

uint64_t batch_pace_us(const Tp__StartBatchOperationRequest *q, size_t count, const struct limits *limits)
{
    double rate = (double)limits->batch_operations_per_s;
    if (q->max_operations_per_second > 0 && (double)q->max_operations_per_second < rate)
        rate = MAX((double)q->max_operations_per_second, 0.001);
    return (uint64_t)((double)count * 1e6 / rate);
}

/* ---- life ---- */

static struct batch *batch_of(Wb__Batch *take_s)
{
    struct batch *b = xcalloc(1, sizeof *b);
    b->s = take_s;
    b->extra = xcalloc(1, sizeof *b->extra);
    buf_init(b->extra, KIB(64));
    return b;
}

static Tp__WorkflowExecution *given_at(const Tp__StartBatchOperationRequest *q, uint64_t i)
{
    Tp__WorkflowExecution *x;
    if (i < q->n_executions)
        return proto_dup(q->executions[i]);
    const Tp__Execution *from = q->target_executions[i - q->n_executions];
    x = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&x->workflow_id, from->business_id);
    proto_set_text(&x->run_id, from->run_id);
    return x;
}

static void given_page(struct batch *b, const struct limits *limits)
{
    const Tp__StartBatchOperationRequest *q = b->s->request;
    const uint64_t all = q->n_executions + q->n_target_executions;
    b->s->page++;
    while (b->s->given < all && b->s->n_items < batch_page_max(q, limits))
        proto_push(&b->s->n_items, &b->s->items, given_at(q, b->s->given++));
    b->s->last = b->s->given == all;
}

struct batch *batch_new(const Tp__StartBatchOperationRequest *q, const struct uuid *run, int64_t now_ns, const struct limits *limits)
{
    char text[UUID_TEXT];
    struct batch *b = batch_of(proto_new(&wb__batch__descriptor));
    uuid_format(run, text);
    proto_set_text(&b->s->ns, q->namespace_);
    proto_set_text(&b->s->run_id, text);
    b->s->request = proto_dup(q);
    b->s->created_ns = now_ns;
    b->s->kept_ms = (int64_t)limits->batch_kept_ms;
    b->s->state = STATE(RUNNING);
    if (!*q->visibility_query) {
        b->s->counted = true;
        b->s->total = (int64_t)(q->n_executions + q->n_target_executions);
        given_page(b, limits);
    }
    return b;
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    proto_free(b->s);
    buf_done(b->extra);
    free(b->extra);
    free(b);
}

int batch_unpack(struct str state, struct batch **ret, struct err *e)
{
    ProtobufCMessage *m = NULL;
    int r = proto_decode_new(&wb__batch__descriptor, state, STATE_MEMORY_MAX, &m, e);
    if (r < 0)
        return err_wrap(e, "a batch operation's state");
    Wb__Batch *s = (Wb__Batch *)(void *)m;
    struct uuid run;
    if (!s->request || !uuid_parse(str_of(s->run_id), &run) || !s->created_ns || (s->state == STATE(RUNNING)) != !s->closed_ns) {
        proto_free(s);
        return err_set(e, CODE_DATA_LOSS, "a batch operation's state is none");
    }
    *ret = batch_of(s);
    return 0;
}

void batch_pack(const struct batch *b, struct buf *into) { proto_encode(b->s, into); }

size_t batch_bytes(const struct batch *b) { return sizeof *b + 4 * proto_size(b->s); }

void batch_check_invariants(const struct batch *b)
{
    ASSERT((b->s->state == STATE(RUNNING)) == !b->s->closed_ns);
    ASSERT(b->s->state != STATE(COMPLETED) || (b->s->last && !b->s->n_items));
    ASSERT(b->s->page || (!b->s->n_items && !b->s->last));
}

static bool runs(const struct batch *b) { return b->s->state == STATE(RUNNING); }

static int64_t forget_ms(const struct batch *b) { return b->s->closed_ns / 1000000 + b->s->kept_ms; }

struct durable_standing batch_standing(const struct batch *b)
{
    return (struct durable_standing){ .open = runs(b), .ready = runs(b),
                                      .due_ms = runs(b) ? JOURNAL_NEVER
                                                        : forget_ms(b) };
}

void batch_due(const struct batch *b, struct durable_turn *t)
{
    if (!runs(b) && t->now_ns / 1000000 >= forget_ms(b))
        t->forget = true;
}

/* ---- what there is to do ---- */

void batch_wants(const struct batch *b, struct batch_want *ret)
{
    *ret = (struct batch_want){ .page = b->s->page };
    if (!runs(b))
        return;
    if (!b->s->counted) {
        ret->wish = BATCH_COUNT;
    } else if (b->s->n_items) {
        ret->wish = BATCH_WORK;
        ret->items = b->s->items;
        ret->count = b->s->n_items;
    } else {
        ret->wish = BATCH_PAGE;
        ret->page = b->s->page + 1;
        ret->position = proto_bytes(&b->s->position);
    }
}

char *batch_query(const struct batch *b)
{
    struct buf text;
    const long long began = (long long)b->s->created_ns;
    buf_init(&text, MIB(4));
    buf_printf(&text, "(%s) AND StartTime <= %lld AND (CloseTime IS NULL OR CloseTime < %lld)",
               b->s->request->visibility_query, began, began);
    return buf_take_text(&text);
}

/* ---- what came of it ---- */

static void turned(struct batch *b, struct durable_turn *t)
{
    t->changed = t->indexed = true;
    batch_check_invariants(b);
}

static void over(struct batch *b, const struct durable_turn *t, Tp__BatchOperationState state)
{
    b->s->state = state;
    b->s->closed_ns = MAX(t->now_ns, b->s->created_ns);
}

static void items_clear(struct batch *b)
{
    for (size_t i = 0; i < b->s->n_items; i++)
        proto_free(b->s->items[i]);
    b->s->n_items = 0;
    free(TAKE(b->s->items));
}

void batch_counted(struct batch *b, struct durable_turn *t, uint64_t total)
{
    if (!runs(b) || b->s->counted)
        return;
    b->s->counted = true;
    b->s->total = (int64_t)total;
    turned(b, t);
}

void batch_paged(struct batch *b, struct durable_turn *t, uint64_t page, Tp__WorkflowExecution *const *items, size_t count,
                 struct str next)
{
    if (!runs(b) || page != b->s->page + 1 || b->s->n_items || b->s->last)
        return;
    b->s->page = page;
    for (size_t i = 0; i < count; i++)
        proto_push(&b->s->n_items, &b->s->items, proto_dup(items[i]));
    proto_set_bytes(&b->s->position, next);
    b->s->last = next.size == 0;
    if (b->s->last && !count)
        over(b, t, STATE(COMPLETED));
    turned(b, t);
}

void batch_worked(struct batch *b, struct durable_turn *t, uint64_t page, uint64_t complete, uint64_t failed,
                  const struct limits *limits)
{
    if (page != b->s->page || !b->s->n_items)
        return;
    b->s->complete += (int64_t)complete;
    b->s->failed += (int64_t)failed;
    b->s->total = MAX(b->s->total, b->s->complete + b->s->failed); /* the query has found more since it was counted */
    items_clear(b);
    if (runs(b) && b->s->last)
        over(b, t, STATE(COMPLETED));
    else if (runs(b) && !*b->s->request->visibility_query)
        given_page(b, limits);
    turned(b, t);
}

void batch_stop(struct batch *b, struct durable_turn *t, const char *why)
{
    if (!runs(b))
        return;
    proto_set_text(&b->s->why, why);
    over(b, t, STATE(FAILED));
    turned(b, t);
}

/* ---- what is known of it ---- */

const Tp__StartBatchOperationRequest *batch_request(const struct batch *b) { return b->s->request; }

struct uuid batch_run(const struct batch *b)
{
    struct uuid run = { 0 };
    bool is = uuid_parse(str_of(b->s->run_id), &run);
    ASSERT(is);
    return run;
}

static const char *identity_of(const Tp__StartBatchOperationRequest *q)
{
    switch ((int)q->operation_case) {
    case OPERATION(TERMINATION): return q->termination_operation->identity;
    case OPERATION(SIGNAL): return q->signal_operation->identity;
    case OPERATION(CANCELLATION): return q->cancellation_operation->identity;
    case OPERATION(DELETION): return q->deletion_operation->identity;
    case OPERATION(RESET): return q->reset_operation->identity;
    default: return q->update_workflow_options_operation->identity;
    }
}

static Tp__BatchOperationType type_of(const Tp__StartBatchOperationRequest *q)
{
    switch ((int)q->operation_case) {
    case OPERATION(TERMINATION): return TYPE(TERMINATE);
    case OPERATION(SIGNAL): return TYPE(SIGNAL);
    case OPERATION(CANCELLATION): return TYPE(CANCEL);
    case OPERATION(DELETION): return TYPE(DELETE);
    case OPERATION(RESET): return TYPE(RESET);
    default: return TYPE(UPDATE_EXECUTION_OPTIONS);
    }
}

Tp__DescribeBatchOperationResponse *batch_describe(const struct batch *b)
{
    const Tp__StartBatchOperationRequest *q = b->s->request;
    Tp__DescribeBatchOperationResponse *w = proto_new(&tp__describe_batch_operation_response__descriptor);
    w->operation_type = type_of(q);
    proto_set_text(&w->job_id, q->job_id);
    w->state = b->s->state;
    temporal_set_time(&w->start_time, b->s->created_ns);
    if (b->s->closed_ns)
        temporal_set_time(&w->close_time, b->s->closed_ns);
    w->total_operation_count = b->s->total;
    w->complete_operation_count = b->s->complete;
    w->failure_operation_count = b->s->failed;
    proto_set_text(&w->identity, identity_of(q));
    proto_set_text(&w->reason, *b->s->why ? b->s->why : q->reason);
    proto_set_text(&w->query, q->visibility_query);
    return w;
}

Tp__BatchOperationInfo *batch_info(const struct batch *b)
{
    Tp__BatchOperationInfo *w = proto_new(&tp__batch_operation_info__descriptor);
    proto_set_text(&w->job_id, b->s->request->job_id);
    w->state = b->s->state;
    w->operation_type = type_of(b->s->request);
    temporal_set_time(&w->start_time, b->s->created_ns);
    if (b->s->closed_ns)
        temporal_set_time(&w->close_time, b->s->closed_ns);
    return w;
}

void batch_index(const struct batch *b, struct journal_index *into)
{
    Tp__BatchOperationInfo *info = batch_info(b);
    buf_clear(b->extra);
    proto_encode(info, b->extra);
    proto_free(info);
    *into = (struct journal_index){
        .status = (uint32_t)b->s->state, /* the numbers of workflows' statuses */
        .start_ns = b->s->created_ns,
        .execution_ns = b->s->created_ns,
        .close_ns = b->s->closed_ns ? b->s->closed_ns : JOURNAL_NEVER,
        .extra = buf_str(b->extra),
    };
}
