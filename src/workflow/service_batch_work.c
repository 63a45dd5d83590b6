/* service_batch_work.c -- what batch operations want: runs are found a page at a time, the page is put into the batch's state,
 * and then each of its runs gets a call of the service's own, which can tell a repetition. After a crash the page is done again. */
#include "store/filter.h"
#include "workflow/filter_text.h"
#include "workflow/service_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum { AGAIN_US = 1000000, WHY_TEXT = 512 };
#define OPERATION(name) TP__START_BATCH_OPERATION_REQUEST__OPERATION_##name##_OPERATION

struct batch_item {
    struct batching *of;
    Tp__WorkflowExecution *at;
    bool over; /* it needs no other try */
    bool failed;
};

struct batching {
    struct service *s;
    struct uuid run;
    char *ns, *job, *query;
    Tp__StartBatchOperationRequest *q;
    struct journal_list list;
    struct journal_count count;
    struct filter *filter; /* of the list or count that is on its way */
    struct loop_timer again;
    void (*next)(struct batching *d); /* when `again` is due */
    /* what is wanted */
    enum batch_wish wish;
    uint64_t page;
    struct str_own { char *at; size_t size; } position;
    struct batch_item *items;
    size_t item_count, in_flight, tries;
    uint64_t paced_us; /* the loop's clock: the next page's work does not begin before */
    /* what came of it, on its way to the batch */
    Tp__WorkflowExecution **found;
    size_t found_count;
    struct str_own after;
    uint64_t counted;
    char why[WHY_TEXT]; /* it cannot go on; "": it can */
};

struct batch_op {
    struct op op;
    struct batching *d;
    struct batch_item *item; /* a reset, that asks where to */
    int64_t finish;
};

static struct str run_text(const struct uuid *run) { return (struct str){ (const char *)run, sizeof *run }; }

static void items_free(struct batching *d)
{
    for (size_t i = 0; i < d->item_count; i++)
        proto_free(d->items[i].at);
    free(TAKE(d->items));
    d->item_count = 0;
}

static void found_free(struct batching *d)
{
    for (size_t i = 0; i < d->found_count; i++)
        proto_free(d->found[i]);
    free(TAKE(d->found));
    d->found_count = 0;
    free(TAKE(d->after.at));
    d->after.size = 0;
}

static void batching_free(struct batching *d)
{
    map_remove(&d->s->batches, run_text(&d->run));
    loop_cancel(d->s->w.loop, &d->again);
    filter_free(d->filter);
    items_free(d);
    found_free(d);
    proto_free(d->q);
    free(d->position.at);
    free(d->ns);
    free(d->job);
    free(d->query);
    free(d);
}

static void later(struct batching *d, uint64_t us, void (*next)(struct batching *d))
{
    d->next = next;
    loop_after(d->s->w.loop, &d->again, us);
}

static void on_again(struct loop_timer *t)
{
    struct batching *d = CONTAINER_OF(t, struct batching, again);
    d->next(d);
}

static bool passes(enum code c)
{
    return c == CODE_UNAVAILABLE || c == CODE_EXHAUSTED || c == CODE_ABORTED || c == CODE_CANCELLED || c == CODE_DEADLINE;
}

/* ---- to the batch and back: what came of the last wish, and what is wanted next ---- */

static void perform(struct batching *d);
static void turn(struct batching *d);

static struct batching *of(struct op *op) { return CONTAINER_OF(op, struct batch_op, op)->d; }

static void want_copy(struct batching *d, const struct batch *b)
{
    struct batch_want w;
    batch_wants(b, &w);
    items_free(d);
    d->wish = w.wish;
    d->page = w.page;
    d->item_count = w.count;
    d->items = xcalloc(w.count + 1, sizeof *d->items);
    for (size_t i = 0; i < w.count; i++)
        d->items[i] = (struct batch_item){ .of = d, .at = proto_dup(w.items[i]) };
    free(d->position.at);
    d->position = (struct str_own){ xcalloc(1, w.position.size + 1), w.position.size };
    if (w.position.size)
        memcpy(d->position.at, w.position.at, w.position.size);
    d->tries = 0;
}

static void turn_act(struct op *op, const struct durable_view *v)
{
    struct batching *d = of(op);
    if (!v->machine) {
        op_missing(op);
        return;
    }
    struct batch *b = v->machine;
    size_t failed = 0;
    for (size_t i = 0; i < d->item_count; i++)
        failed += d->items[i].failed;
    if (*d->why)
        batch_stop(b, v->turn, d->why);
    else if (d->wish == BATCH_COUNT)
        batch_counted(b, v->turn, d->counted);
    else if (d->wish == BATCH_PAGE)
        batch_paged(b, v->turn, d->page, d->found, d->found_count, (struct str){ d->after.at, d->after.size });
    else if (d->wish == BATCH_WORK)
        batch_worked(b, v->turn, d->page, d->item_count - failed, failed, op->s->w.limits);
}

static void look_act(struct op *op, const struct durable_view *v)
{
    if (v->machine)
        want_copy(of(op), v->machine);
    else
        op_missing(op);
}

static void look_then(struct op *op)
{
    struct batching *d = of(op);
    op_free(op);
    found_free(d);
    perform(d);
}

static void look(struct batching *d);

static void turn_then(struct op *op)
{
    struct batching *d = of(op);
    op_free(op);
    look(d); /* at what is on the disk */
}

static void turn_failed(struct op *op)
{
    struct batching *d = of(op);
    bool gone = op->no.code == CODE_NOT_FOUND, looked = op->act == look_act;
    op_free(op);
    if (gone)
        batching_free(d);
    else
        later(d, AGAIN_US, looked ? look : turn);
}

static void send(struct batching *d, void (*act)(struct op *op, const struct durable_view *v), void (*then)(struct op *op))
{
    char run[UUID_TEXT];
    uuid_format(&d->run, run);
    struct batch_op *o = op_new(d->s, NULL, sizeof *o, d->ns, d->job, run, act);
    ASSERT(o);
    o->d = d;
    o->op.in.key.kind = JOURNAL_BATCH;
    o->op.then = then;
    o->op.failed = turn_failed;
    op_send(&o->op);
}

static void turn(struct batching *d) { send(d, turn_act, turn_then); }
static void look(struct batching *d) { send(d, look_act, look_then); }

/* ---- finding ---- */

int service_batch_filter(struct service *s, const char *ns, const char *query, struct filter **ret, struct err *e)
{
    struct filter_rules rules = { .limits = s->w.limits, .find = service_attribute_find, .ctx = service_namespace_find(s, ns),
                                  .divided = true };
    if (!rules.ctx)
        return err_set(e, CODE_NOT_FOUND, "Namespace %s is not found.", ns);
    return filter_text_parse(str_of(query), &rules, ret, e);
}

static void on_count(struct journal_count *c, int r, uint64_t count, const struct journal_group *groups, size_t group_count,
                     const struct err *e)
{
    struct batching *d = CONTAINER_OF(c, struct batching, count);
    (void)groups;
    (void)group_count;
    (void)e;
    d->counted = count;
    if (r < 0)
        later(d, AGAIN_US, perform);
    else
        turn(d);
}

static void on_list(struct journal_list *l, int r, const struct journal_found *rows, size_t count, struct str next, const struct err *e)
{
    struct batching *d = CONTAINER_OF(l, struct batching, list);
    (void)e;
    if (r < 0) {
        later(d, AGAIN_US, perform);
        return;
    }
    found_free(d);
    for (size_t i = 0; i < count; i++) {
        AUTO_FREE char *id = xstrndup(rows[i].key.id.at, rows[i].key.id.size);
        proto_push(&d->found_count, &d->found, service_execution(id, &rows[i].key.run));
    }
    d->after = (struct str_own){ xcalloc(1, next.size + 1), next.size };
    if (next.size)
        memcpy(d->after.at, next.at, next.size);
    turn(d);
}

static void find(struct batching *d)
{
    struct service *s = d->s;
    struct err e;
    filter_free(TAKE(d->filter));
    if (service_batch_filter(s, d->ns, d->query, &d->filter, &e) < 0) {
        snprintf(d->why, sizeof d->why, "%s", e.text); /* an attribute that it asks for was removed since */
        turn(d);
        return;
    }
    int r;
    if (d->wish == BATCH_COUNT) {
        d->count = (struct journal_count){ .kind = JOURNAL_WORKFLOW, .ns = str_of(d->ns), .filter = d->filter, .on_done = on_count };
        r = journal_count(s->w.journal, &d->count, &e);
    } else {
        d->list = (struct journal_list){ .kind = JOURNAL_WORKFLOW, .ns = str_of(d->ns), .filter = d->filter, .on_done = on_list,
                                         .limit = batch_page_max(d->q, s->w.limits),
                                         .after = { d->position.at, d->position.size } };
        r = journal_list(s->w.journal, &d->list, &e);
    }
    if (r < 0)
        later(d, AGAIN_US, perform);
}

/* ---- doing ---- */

static void work_done(struct batching *d);

/* A run that is over, or is not there any more, is as it was to be. */
static void item_over(struct batch_item *i, enum code code)
{
    struct batching *d = i->of;
    i->over = !passes(code) || d->tries >= d->s->w.limits->batch_tries_max;
    i->failed = code != CODE_OK && code != CODE_NOT_FOUND;
    if (--d->in_flight == 0)
        work_done(d);
}

static void on_done(void *owner, const struct service_reply *reply) { item_over(owner, reply->no ? reply->no->code : CODE_OK); }

static void item_ask(struct batch_item *i, const char *method, void *take_message)
{
    struct batching *d = i->of;
    struct buf bytes;
    struct refusal no = { 0 };
    struct service_call *call;
    buf_init(&bytes, SERVICE_MESSAGE_MEMORY);
    proto_encode(take_message, &bytes);
    proto_free(take_message);
    const struct service_ask a = { .method = str_of(method), .message = buf_str(&bytes), .timeout_ns = INT64_MAX, .done = on_done,
                                   .owner = i };
    int r = service_ask(d->s, &a, &call, &no);
    buf_done(&bytes);
    refusal_done(&no);
    if (r < 0)
        item_over(i, -(enum code)r);
}

/* The request's own words for a repetition: the batch's run is in no other. */
static void request_id_set(const struct batching *d, char **field)
{
    char run[UUID_TEXT], text[UUID_TEXT + 8];
    uuid_format(&d->run, run);
    snprintf(text, sizeof text, "batch:%s", run);
    proto_set_text(field, text);
}

#define FILL(m, i)                                                                                  \
    (proto_set_text(&(m)->namespace_, (i)->of->ns), (void)((m)->workflow_execution = proto_dup((i)->at)))

static void reset_ask(struct batch_item *i, int64_t finish)
{
    const Tp__StartBatchOperationRequest *q = i->of->q;
    const Tp__BatchOperationReset *how = q->reset_operation;
    Tp__ResetWorkflowExecutionRequest *m = proto_new(&tp__reset_workflow_execution_request__descriptor);
    FILL(m, i);
    proto_set_text(&m->reason, q->reason);
    proto_set_text(&m->identity, how->identity);
    request_id_set(i->of, &m->request_id);
    m->workflow_task_finish_event_id = finish;
    m->reset_reapply_type = how->options ? how->options->reset_reapply_type : how->reset_reapply_type;
    if (how->options && how->options->n_reset_reapply_exclude_types) {
        size_t count = how->options->n_reset_reapply_exclude_types;
        m->n_reset_reapply_exclude_types = count;
        m->reset_reapply_exclude_types = xcalloc(count, sizeof *m->reset_reapply_exclude_types);
        memcpy(m->reset_reapply_exclude_types, how->options->reset_reapply_exclude_types,
               count * sizeof *m->reset_reapply_exclude_types);
    }
    for (size_t k = 0; k < how->n_post_reset_operations; k++)
        proto_push(&m->n_post_reset_operations, &m->post_reset_operations, proto_dup(how->post_reset_operations[k]));
    item_ask(i, "ResetWorkflowExecution", m);
}

static void point_act(struct op *op, const struct durable_view *v)
{
    struct batch_op *o = CONTAINER_OF(op, struct batch_op, op);
    const Tp__BatchOperationReset *how = o->d->q->reset_operation;
    bool first = how->options ? how->options->target_case == TP__RESET_OPTIONS__TARGET_FIRST_WORKFLOW_TASK
                              : how->reset_type == TP__RESET_TYPE__RESET_TYPE_FIRST_WORKFLOW_TASK;
    if (!v->machine)
        op_missing(op);
    else
        o->finish = first ? run_first_task_done(v->machine) : run_last_task_done(v->machine);
}

static void point_then(struct op *op)
{
    struct batch_item *i = CONTAINER_OF(op, struct batch_op, op)->item;
    int64_t finish = CONTAINER_OF(op, struct batch_op, op)->finish;
    op_free(op);
    reset_ask(i, finish);
}

static void point_failed(struct op *op)
{
    struct batch_item *i = CONTAINER_OF(op, struct batch_op, op)->item;
    enum code code = op->no.code;
    op_free(op);
    item_over(i, code);
}

static void item_reset(struct batch_item *i)
{
    const Tp__BatchOperationReset *how = i->of->q->reset_operation;
    if (how->options && how->options->target_case == TP__RESET_OPTIONS__TARGET_WORKFLOW_TASK_ID) {
        reset_ask(i, how->options->workflow_task_id);
        return;
    }
    struct batch_op *o = op_new(i->of->s, NULL, sizeof *o, i->of->ns, i->at->workflow_id, i->at->run_id, point_act);
    if (!o) {
        item_over(i, CODE_INVALID);
        return;
    }
    o->d = i->of;
    o->item = i;
    o->op.then = point_then;
    o->op.failed = point_failed;
    op_send(&o->op);
}

static void item_signal(struct batch_item *i)
{
    const Tp__BatchOperationSignal *how = i->of->q->signal_operation;
    Tp__SignalWorkflowExecutionRequest *m = proto_new(&tp__signal_workflow_execution_request__descriptor);
    FILL(m, i);
    proto_set_text(&m->signal_name, how->signal);
    m->input = proto_dup(how->input);
    m->header = proto_dup(how->header);
    proto_set_text(&m->identity, how->identity);
    request_id_set(i->of, &m->request_id);
    item_ask(i, "SignalWorkflowExecution", m);
}

static void item_terminate(struct batch_item *i)
{
    const Tp__BatchOperationTermination *how = i->of->q->termination_operation;
    Tp__TerminateWorkflowExecutionRequest *m = proto_new(&tp__terminate_workflow_execution_request__descriptor);
    FILL(m, i);
    proto_set_text(&m->reason, i->of->q->reason);
    m->details = proto_dup(how->details);
    proto_set_text(&m->identity, how->identity);
    item_ask(i, "TerminateWorkflowExecution", m);
}

static void item_cancel(struct batch_item *i)
{
    Tp__RequestCancelWorkflowExecutionRequest *m = proto_new(&tp__request_cancel_workflow_execution_request__descriptor);
    FILL(m, i);
    proto_set_text(&m->reason, i->of->q->reason);
    proto_set_text(&m->identity, i->of->q->cancellation_operation->identity);
    request_id_set(i->of, &m->request_id);
    item_ask(i, "RequestCancelWorkflowExecution", m);
}

static void item_delete(struct batch_item *i)
{
    Tp__DeleteWorkflowExecutionRequest *m = proto_new(&tp__delete_workflow_execution_request__descriptor);
    FILL(m, i);
    item_ask(i, "DeleteWorkflowExecution", m);
}

static void item_options(struct batch_item *i)
{
    const Tp__BatchOperationUpdateWorkflowExecutionOptions *how = i->of->q->update_workflow_options_operation;
    Tp__UpdateWorkflowExecutionOptionsRequest *m = proto_new(&tp__update_workflow_execution_options_request__descriptor);
    FILL(m, i);
    m->workflow_execution_options = proto_dup(how->workflow_execution_options);
    m->update_mask = proto_dup(how->update_mask);
    proto_set_text(&m->identity, how->identity);
    item_ask(i, "UpdateWorkflowExecutionOptions", m);
}

static void item_begin(struct batch_item *i)
{
    switch ((int)i->of->q->operation_case) {
    case OPERATION(TERMINATION): item_terminate(i); break;
    case OPERATION(SIGNAL): item_signal(i); break;
    case OPERATION(CANCELLATION): item_cancel(i); break;
    case OPERATION(DELETION): item_delete(i); break;
    case OPERATION(RESET): item_reset(i); break;
    default: item_options(i); break;
    }
}

static void work(struct batching *d)
{
    d->in_flight = 1; /* ours: what is refused at once does not end the page under us */
    d->tries++;
    for (size_t i = 0; i < d->item_count; i++)
        if (!d->items[i].over) {
            d->in_flight++;
            item_begin(&d->items[i]);
        }
    if (--d->in_flight == 0)
        work_done(d);
}

static void work_done(struct batching *d)
{
    for (size_t i = 0; i < d->item_count; i++)
        if (!d->items[i].over) {
            later(d, AGAIN_US, work);
            return;
        }
    turn(d);
}

static void perform(struct batching *d)
{
    const uint64_t now = loop_now_us(d->s->w.loop);
    switch (d->wish) {
    case BATCH_NOTHING:
        batching_free(d);
        break;
    case BATCH_COUNT:
    case BATCH_PAGE:
        find(d);
        break;
    case BATCH_WORK:
        if (now < d->paced_us) {
            later(d, d->paced_us - now, look); /* it may have been stopped by then */
            break;
        }
        d->paced_us = now + batch_pace_us(d->q, d->item_count, d->s->w.limits);
        work(d);
        break;
    }
}

/* ---- life ---- */

void service_batch_tend(struct service *s, const struct journal_key *key, const struct batch *b)
{
    struct batch_want w;
    batch_wants(b, &w);
    if (w.wish == BATCH_NOTHING || map_find(&s->batches, run_text(&key->run)))
        return; /* whoever is on its way looks again itself */
    struct batching *d = xcalloc(1, sizeof *d);
    *d = (struct batching){ .s = s, .run = key->run, .ns = xstrndup(key->ns.at, key->ns.size),
                            .job = xstrndup(key->id.at, key->id.size), .query = batch_query(b), .q = proto_dup(batch_request(b)),
                            .again = { .on_due = on_again } };
    map_put(&s->batches, run_text(&d->run), d);
    look(d);
}

uint64_t service_batches_running(const struct service *s, const char *ns)
{
    uint64_t count = 0;
    const struct map_slot *slot;
    for (uint32_t i = 0; (slot = map_next(&s->batches, &i));)
        count += !strcmp(((const struct batching *)slot->value)->ns, ns);
    return count;
}

/* After the host, the journal and the calls: nothing comes back any more. */
void service_batches_close(struct service *s)
{
    const struct map_slot *slot;
    for (uint32_t i = 0; (slot = map_next(&s->batches, &i)); i = 0)
        batching_free(slot->value);
}
