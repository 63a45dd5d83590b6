#include "store/filter.h"
#include "workflow/service_impl.h"

#include <stdlib.h>

/* ---- the kind that the host turns ---- */

static int kind_open(void *ctx, const struct journal_key *key, struct str state, void **ret, struct err *e)
{
    (void)ctx;
    struct batch *b = NULL;
    int r = batch_unpack(state, &b, e);
    if (r < 0)
        return err_wrap(e, "batch operation " STR_FMT, STR_ARG(key->id));
    *ret = b;
    return 0;
}

static void kind_free(void *ctx, void *machine)
{
    (void)ctx;
    batch_free(machine);
}

static void kind_pack(const void *machine, struct buf *into) { batch_pack(machine, into); }

static struct durable_standing kind_standing(const void *machine) { return batch_standing(machine); }

static void kind_index(void *ctx, const void *machine, struct journal_index *into)
{
    (void)ctx;
    batch_index(machine, into);
}

static size_t kind_bytes(const void *machine) { return batch_bytes(machine); }

static void kind_due(void *ctx, void *machine, struct durable_turn *t)
{
    (void)ctx;
    batch_due(machine, t);
}

static void kind_committed(void *ctx, const struct journal_key *key, void *machine) { service_batch_tend(ctx, key, machine); }

struct durable_kind service_batch_kind(struct service *s)
{
    return (struct durable_kind){
        .kind = JOURNAL_BATCH,
        .ctx = s,
        .open = kind_open,
        .free = kind_free,
        .pack = kind_pack,
        .standing = kind_standing,
        .index = kind_index,
        .bytes = kind_bytes,
        .due = kind_due,
        .committed = kind_committed,
    };
}

/* ---- one input to a batch ---- */

static int missing(struct op *op)
{
    refusal_done(&op->no);
    return refuse_with(&op->no, CODE_NOT_FOUND, "temporal.api.errordetails.v1.NotFoundFailure",
                       proto_new(&tp__not_found_failure__descriptor), "batch operation not found: %s", op->id);
}

static void ask_failed(struct op *op)
{
    if (op->no.code == CODE_NOT_FOUND)
        missing(op);
    service_refuse(op->c, &op->no);
    op_free(op);
}

static struct op *ask_new(struct service *s, struct service_call *c, const char *job, void (*act)(struct op *op, const struct durable_view *v))
{
    if (!*job || strlen(job) > SERVICE_ID_BYTES_MAX) {
        service_fail(c, CODE_INVALID, *job ? "JobId length exceeds limit." : "JobId is not set on request.");
        return NULL;
    }
    struct op *op = op_new(s, c, sizeof *op, c->ns, job, NULL, act);
    ASSERT(op);
    op->in.key.kind = JOURNAL_BATCH;
    op->failed = ask_failed;
    return op;
}

/* ---- StartBatchOperation ---- */

static void start_act(struct op *op, const struct durable_view *v)
{
    const Tp__StartBatchOperationRequest *q = op->c->q;
    if (v->current && proto_equal(batch_request(v->current), q)) { /* repeated */
        op->answer = proto_new(&tp__start_batch_operation_response__descriptor);
        return;
    }
    if (v->current) {
        char run[UUID_TEXT];
        uuid_format(&v->current_run, run);
        Tp__WorkflowExecutionAlreadyStartedFailure *d = proto_new(&tp__workflow_execution_already_started_failure__descriptor);
        proto_set_text(&d->run_id, run);
        refuse_with(&op->no, CODE_EXISTS, "temporal.api.errordetails.v1.WorkflowExecutionAlreadyStartedFailure", d,
                    "there is a batch operation %s already", op->id);
        return;
    }
    if (service_batches_running(op->s, op->ns) + op->s->batches_begun > op->s->w.limits->batch_running_max) {
        refuse(&op->no, CODE_EXHAUSTED, "Max concurrent batch operations is reached: %llu run in this namespace (batch_running_max)",
               (unsigned long long)op->s->w.limits->batch_running_max);
        return;
    }
    uint8_t random[10];
    for (size_t i = 0; i < sizeof random; i++)
        random[i] = (uint8_t)rng_next(v->fresh->random);
    struct uuid run = uuid_v7(v->fresh->now_ns / 1000000, random);
    struct batch *b = batch_new(q, &run, v->fresh->now_ns, op->s->w.limits);
    struct durable_turn *t = durable_turn_create(v->fresh, &run, b);
    t->changed = t->indexed = true;
    op->answer = proto_new(&tp__start_batch_operation_response__descriptor);
}

static void start_done(struct op *op) { op->s->batches_begun--; }

static int start_check(struct service *s, const struct service_call *c, struct refusal *no)
{
    const Tp__StartBatchOperationRequest *q = c->q;
    int r = batch_check(q, s->w.limits, no);
    if (r < 0 || !*q->visibility_query)
        return r;
    struct err e;
    struct filter *filter = NULL;
    r = service_batch_filter(s, c->ns, q->visibility_query, &filter, &e);
    filter_free(filter);
    return r < 0 ? refuse(no, -(enum code)r, "%s", e.text) : 0;
}

void service_batch_start(struct service *s, struct service_call *c)
{
    const Tp__StartBatchOperationRequest *q = c->q;
    struct refusal no = { 0 };
    if (start_check(s, c, &no) < 0) {
        service_refuse(c, &no);
        return;
    }
    struct op *op = ask_new(s, c, q->job_id, start_act);
    if (!op)
        return;
    s->batches_begun++;
    op->done = start_done;
    op->in.creates = true;
    op_send(op);
}

/* ---- the others ---- */

static void stop_act(struct op *op, const struct durable_view *v)
{
    const Tp__StopBatchOperationRequest *q = op->c->q;
    if (!v->machine) {
        missing(op);
        return;
    }
    batch_stop(v->machine, v->turn, *q->reason ? q->reason : "stopped");
    op->answer = proto_new(&tp__stop_batch_operation_response__descriptor);
}

void service_batch_stop(struct service *s, struct service_call *c)
{
    const Tp__StopBatchOperationRequest *q = c->q;
    struct op *op = ask_new(s, c, q->job_id, stop_act);
    if (op)
        op_send(op);
}

static void describe_act(struct op *op, const struct durable_view *v)
{
    if (v->machine)
        op->answer = batch_describe(v->machine);
    else
        missing(op);
}

void service_batch_describe(struct service *s, struct service_call *c)
{
    const Tp__DescribeBatchOperationRequest *q = c->q;
    struct op *op = ask_new(s, c, q->job_id, describe_act);
    if (op)
        op_send(op);
}

/* ---- ListBatchOperations ---- */

struct listing {
    struct service_call *c;
    struct journal_list list;
    char *ns;
};

static void on_list(struct journal_list *l, int r, const struct journal_found *rows, size_t count, struct str next, const struct err *e)
{
    struct listing *x = CONTAINER_OF(l, struct listing, list);
    struct service_call *c = x->c;
    free(x->ns);
    free(x);
    if (r < 0) {
        service_fail(c, -(enum code)r, "%s", e->text);
        return;
    }
    Tp__ListBatchOperationsResponse *w = proto_new(&tp__list_batch_operations_response__descriptor);
    for (size_t i = 0; i < count; i++) {
        ProtobufCMessage *m = NULL;
        struct err bad;
        if (proto_decode_new(&tp__batch_operation_info__descriptor, rows[i].index.extra, MIB(1), &m, &bad) == 0)
            proto_push(&w->n_operation_info, &w->operation_info, m);
    }
    if (next.size)
        proto_set_bytes(&w->next_page_token, next);
    service_reply(c, w);
    proto_free(w);
}

void service_batch_list(struct service *s, struct service_call *c)
{
    const Tp__ListBatchOperationsRequest *q = c->q;
    const uint32_t most = (uint32_t)s->w.limits->batch_executions_max;
    struct listing *x = xcalloc(1, sizeof *x);
    struct err e;
    *x = (struct listing){ .c = c, .ns = xstrdup(c->ns) };
    x->list = (struct journal_list){ .kind = JOURNAL_BATCH, .ns = str_of(x->ns), .after = proto_bytes(&q->next_page_token),
                                     .limit = q->page_size > 0 ? MIN((uint32_t)q->page_size, most) : most, .on_done = on_list };
    int r = journal_list(s->w.journal, &x->list, &e);
    if (r < 0)
        on_list(&x->list, r, NULL, 0, (struct str){ 0 }, &e);
}
