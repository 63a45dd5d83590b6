#include "workflow/service_start.h"

#include <stdio.h>
#include <stdlib.h>

static const uint64_t AGAIN_US = 1000000; /* after what passes by itself */

/* What one run wants of another, on its way there and back. It stands in its run's state until that run has heard what
 * came of it, so it may be forgotten at any time: then it is sent again. */
struct errand_key {
    struct uuid run;
    int64_t id;
    uint32_t type;
    uint32_t zero;
};
struct errand {
    struct service *s;
    struct errand_key key;
    char *from_ns, *from_id, *ns;
    enum run_errand_type type;
    Tp__WorkflowExecution *from, *target, *root;
    char *first_run, *requested_by, *own_chain;
    bool elsewhere; /* not there: to be tried where it goes on (elsewhere_set()) */
    bool followed;  /* TELL_PARENT: it was, and goes to the run that is current */
    int64_t close_event; /* ASK_CHILD: the child is over, and this says how; 0: it is not */
    struct page page;
    bool child_only;
    ProtobufCMessage *attributes;
    struct run_close close; /* its parts are its own */
    Tp__StartWorkflowExecutionRequest *start;
    struct starting x;
    struct uuid child;
    struct refusal no;
    struct loop_timer again;
    bool in_flight;
    bool stale; /* its run has closed: what it began is undone next, so it is not begun again */
};
struct errand_op {
    struct op op;
    struct errand *d;
};
#define ERRAND(op_) (CONTAINER_OF(op_, struct errand_op, op)->d)

static struct str errand_text(const struct errand_key *k) { return (struct str){ (const char *)k, sizeof(*k) }; }

static void errand_free(struct errand *d)
{
    map_remove(&d->s->errands, errand_text(&d->key));
    loop_cancel(d->s->w.loop, &d->again);
    free(d->from_ns);
    free(d->from_id);
    free(d->ns);
    free(d->first_run);
    free(d->requested_by);
    free(d->own_chain);
    proto_free(d->from);
    proto_free(d->target);
    proto_free(d->root);
    proto_free(d->attributes);
    proto_free((void *)(uintptr_t)d->close.result);
    proto_free((void *)(uintptr_t)d->close.failure);
    proto_free(d->start);
    refusal_done(&d->no);
    free(d);
}

/* ---- back to who sent it ---- */

static void back_act(struct op *op, const struct durable_view *v)
{
    struct errand *d = ERRAND(op);
    if (v->machine && d->close_event && !d->no.code)
        run_child_closed(v->machine, v->turn, d->key.id, &d->child, &d->close);
    else if (v->machine)
        run_errand_done(v->machine, v->turn, d->type, d->key.id, &d->child, d->no.code ? &d->no : NULL);
}

static void back_over(struct op *op)
{
    struct errand *d = ERRAND(op);
    d->in_flight = false;
    bool again = op->no.code != CODE_OK;
    op_free(op);
    if (again)
        loop_after(d->s->w.loop, &d->again, AGAIN_US);
    else
        errand_free(d);
}

static void errand_op_send(struct errand *d, const char *ns, const char *id, const struct uuid *run,
                           void (*act)(struct op *op, const struct durable_view *v), void (*over)(struct op *op))
{
    struct errand_op *x = op_new(d->s, NULL, sizeof(*x), ns, id, NULL, act);
    if (!x) { /* an id that no run can have */
        refuse(&d->no, CODE_INVALID, "the workflow id is not one");
        return;
    }
    x->d = d;
    x->op.in.key.run = *run;
    x->op.in.creates = d->type == RUN_ERRAND_START_CHILD && act != back_act;
    x->op.then = x->op.failed = over;
    d->in_flight = true;
    op_send(&x->op);
}

static void errand_back(struct errand *d) { errand_op_send(d, d->from_ns, d->from_id, &d->key.run, back_act, back_over); }

/* ---- there ---- */

static struct run_from from_of(const struct errand *d)
{
    return (struct run_from){ .ns = d->from_ns, .run = d->from, .initiated_id = d->key.id };
}

static void request_id(const struct errand *d, char *into, size_t size)
{
    char run[UUID_TEXT];
    uuid_format(&d->key.run, run);
    snprintf(into, size, "%s:%lld", d->requested_by ? d->requested_by : run, (long long)d->key.id);
}

static void there_start(struct errand *d, struct op *op, const struct durable_view *v)
{
    struct run_start more = { .parent_ns = d->from_ns, .parent = d->from, .root = d->root ? d->root : d->from,
                              .parent_initiated_id = d->key.id };
    d->x = (struct starting){ .q = d->start, .more = &more };
    if (starting_apply(d->s, &d->x, v, &op->no) == 0)
        d->child = d->x.run;
    d->x.more = NULL;
}

static void there_signal(struct errand *d, struct op *op, const struct durable_view *v)
{
    const Tp__SignalExternalWorkflowExecutionInitiatedEventAttributes *a = (const void *)d->attributes;
    Tp__SignalWorkflowExecutionRequest q;
    tp__signal_workflow_execution_request__init(&q);
    char id[80];
    request_id(d, id, sizeof(id));
    q.namespace_ = d->ns;
    q.workflow_execution = d->target;
    q.signal_name = a->signal_name;
    q.input = a->input;
    q.header = a->header;
    q.control = a->control;
    q.identity = (char *)(uintptr_t) "history-service";
    q.request_id = id;
    struct run_from from = from_of(d);
    op->no.code = (enum code)-run_signal(v->machine, v->turn, &q, &from, &op->no);
}

static void there_cancel(struct errand *d, struct op *op, const struct durable_view *v)
{
    Tp__RequestCancelWorkflowExecutionRequest q;
    tp__request_cancel_workflow_execution_request__init(&q);
    char id[80];
    request_id(d, id, sizeof(id));
    q.namespace_ = d->ns;
    q.workflow_execution = d->target;
    q.request_id = id;
    q.identity = (char *)(uintptr_t) "history-service";
    if (d->type == RUN_ERRAND_CANCEL && d->attributes)
        q.reason =
            ((const Tp__RequestCancelExternalWorkflowExecutionInitiatedEventAttributes *)(const void *)d->attributes)->reason;
    struct run_from from = from_of(d);
    op->no.code = (enum code)-run_request_cancel(v->machine, v->turn, &q, &from, &op->no);
}

/* A child that is named by the first run of its chain is another one's by now, or it is not there. */
static bool is_meant(const struct errand *d, const struct durable_view *v)
{
    char run[UUID_TEXT];
    if (!v->machine)
        return false;
    if (d->first_run && *d->first_run)
        return !strcmp(run_first_id(v->machine), d->first_run);
    if (d->type != RUN_ERRAND_CLOSE_TERMINATE)
        return true;
    uuid_format(&d->key.run, run); /* its start was not known yet: it may be that of another */
    return run_is_child(v->machine, run, d->key.id) || (d->requested_by && run_is_child(v->machine, d->requested_by, d->key.id));
}

/* The run that began this child is over, or gone: what it was reset to knows of the child, or is told when it asks. */
static void there_tell(struct errand *d, const struct durable_view *v)
{
    if (!d->followed && !run_open(v->machine))
        d->elsewhere = true;
    else if (!d->followed || run_has_child(v->machine, d->key.id, d->own_chain))
        run_child_closed(v->machine, v->turn, d->key.id, &d->key.run, &d->close);
}

/* Along the chain, and over resets, to the run that is open, or to the end. */
static void there_ask(struct errand *d, struct op *op, const struct durable_view *v)
{
    if (run_open(v->machine))
        return;
    struct uuid next = run_next_run(v->machine);
    if (uuid_none(&next))
        next = run_reset_to(v->machine);
    if (!uuid_none(&next)) {
        char text[UUID_TEXT];
        uuid_format(&next, text);
        proto_set_text(&d->target->run_id, text);
        free(TAKE(d->first_run));
        d->elsewhere = true;
        return;
    }
    d->child = op->run;
    d->close_event = run_close_event(v->machine);
}

static void there_act(struct op *op, const struct durable_view *v)
{
    struct errand *d = ERRAND(op);
    d->elsewhere = false;
    d->close_event = 0;
    if (d->type == RUN_ERRAND_START_CHILD) {
        there_start(d, op, v);
        return;
    }
    if (!is_meant(d, v)) {
        op_missing(op);
        return;
    }
    switch (d->type) {
    case RUN_ERRAND_START_CHILD: break;
    case RUN_ERRAND_SIGNAL: there_signal(d, op, v); break;
    case RUN_ERRAND_CANCEL:
    case RUN_ERRAND_CLOSE_CANCEL: there_cancel(d, op, v); break;
    case RUN_ERRAND_TELL_PARENT: there_tell(d, v); break;
    case RUN_ERRAND_ASK_CHILD: there_ask(d, op, v); break;
    case RUN_ERRAND_CHILD_SCHEDULE: run_child_may_begin(v->machine, v->turn); break;
    case RUN_ERRAND_CLOSE_TERMINATE:
        op->no.code = (enum code)-run_terminate(v->machine, v->turn, "by parent close policy", NULL, "history-service", &op->no);
        break;
    }
}

static bool passes(enum code c)
{
    return c == CODE_UNAVAILABLE || c == CODE_EXHAUSTED || c == CODE_ABORTED || c == CODE_CANCELLED || c == CODE_DEADLINE ||
           c == CODE_DATA_LOSS;
}

/* The event that closed the child. Its run's state forgets how it ended as soon as its parent was told. */
static void on_close_event(struct page *p, int r, const struct err *e)
{
    struct errand *d = CONTAINER_OF(p, struct errand, page);
    Tp__History *read = TAKE(p->events);
    d->in_flight = false;
    if (r < 0)
        refuse(&d->no, -(enum code)r, "%s", e->text);
    else if (read->n_events != 1 || !run_close_read(read->events[0], &d->close))
        refuse(&d->no, CODE_NOT_FOUND, "the history of child %s has no end", d->target->workflow_id);
    d->close.result = proto_dup(d->close.result);
    d->close.failure = proto_dup(d->close.failure);
    proto_free(read);
    if (passes(d->no.code))
        loop_after(d->s->w.loop, &d->again, AGAIN_US);
    else
        errand_back(d);
}

static void close_event_read(struct errand *d, const struct op *op)
{
    d->page = (struct page){ .s = d->s, .ns = xstrdup(op->ns), .id = xstrdup(op->id), .run = d->child, .from = d->close_event,
                             .to = d->close_event + 1, .events_max = 1, .ready = on_close_event };
    d->in_flight = true;
    page_read(&d->page);
}

/* True: it is tried again elsewhere: a parent's end is told to the run that is current; a child whose id is another's by now
 * is asked run by run. */
static bool elsewhere_set(struct errand *d)
{
    bool gone = d->no.code == CODE_NOT_FOUND;
    if (d->type == RUN_ERRAND_TELL_PARENT && !d->followed && (gone || d->elsewhere)) {
        d->followed = true;
        proto_set_text(&d->target->run_id, "");
    } else if (d->type == RUN_ERRAND_ASK_CHILD && gone && d->first_run) {
        free(TAKE(d->first_run));
    } else if (!d->elsewhere) {
        return false;
    }
    d->elsewhere = false;
    return true;
}

static void there_over(struct op *op)
{
    struct errand *d = ERRAND(op);
    d->in_flight = false;
    refusal_done(&d->no);
    d->no = op->no;
    op->no = (struct refusal){ 0 };
    if (passes(d->no.code) && !d->stale)
        loop_after(d->s->w.loop, &d->again, AGAIN_US);
    else if (elsewhere_set(d))
        loop_after(d->s->w.loop, &d->again, 0);
    else if (d->close_event && d->no.code == CODE_OK)
        close_event_read(d, op);
    else
        errand_back(d);
    op_free(op);
}

static void errand_go(struct errand *d)
{
    d->s->counts.errands++;
    struct uuid run = { 0 };
    const char *ns = d->ns && *d->ns ? d->ns : d->from_ns;
    if (d->type != RUN_ERRAND_START_CHILD && !(d->first_run && *d->first_run) &&
        !service_run_parse(d->target->run_id, &run)) {
        refuse(&d->no, CODE_NOT_FOUND, "no workflow has that run id");
        errand_back(d);
        return;
    }
    if (!service_namespace_find(d->s, ns)) {
        refuse_with(&d->no, CODE_NOT_FOUND, "temporal.api.errordetails.v1.NamespaceNotFoundFailure",
                    proto_new(&tp__namespace_not_found_failure__descriptor), "Namespace %s is not found.", ns);
        errand_back(d);
        return;
    }
    errand_op_send(d, ns, d->target->workflow_id, &run, there_act, there_over);
    if (!d->in_flight)
        errand_back(d);
}

static void on_again(struct loop_timer *t)
{
    struct errand *d = CONTAINER_OF(t, struct errand, again);
    d->s->counts.errands_repeated++;
    if (d->stale) {
        errand_back(d);
        return;
    }
    refusal_done(&d->no);
    errand_go(d);
}

/* ---- off a run's state ---- */

static Tp__StartWorkflowExecutionRequest *start_of(const struct errand *d,
                                                   const Tp__StartChildWorkflowExecutionInitiatedEventAttributes *a)
{
    char id[80];
    request_id(d, id, sizeof(id));
    Tp__StartWorkflowExecutionRequest w;
    tp__start_workflow_execution_request__init(&w);
    w.namespace_ = d->ns;
    w.workflow_id = a->workflow_id;
    w.workflow_type = a->workflow_type;
    w.task_queue = a->task_queue;
    w.input = a->input;
    w.workflow_execution_timeout = a->workflow_execution_timeout;
    w.workflow_run_timeout = a->workflow_run_timeout;
    w.workflow_task_timeout = a->workflow_task_timeout;
    w.request_id = id;
    w.workflow_id_reuse_policy = a->workflow_id_reuse_policy;
    w.retry_policy = a->retry_policy;
    w.cron_schedule = a->cron_schedule;
    w.header = a->header;
    w.memo = a->memo;
    w.search_attributes = a->search_attributes;
    w.priority = a->priority;
    w.versioning_override = a->versioning_override;
    return proto_dup(&w);
}

static void errand_begin(struct service *s, const struct errand_key *k, const struct journal_key *key,
                         const struct run_errand *e)
{
    struct errand *d = xcalloc(1, sizeof(*d));
    *d = (struct errand){ .s = s, .key = *k, .type = e->type, .child_only = e->child_only,
                          .from_ns = xstrndup(key->ns.at, key->ns.size), .from_id = xstrndup(key->id.at, key->id.size),
                          .ns = xstrdup(e->ns && *e->ns ? e->ns : ""), .again = { .on_due = on_again } };
    if (!*d->ns) {
        free(d->ns);
        d->ns = xstrdup(d->from_ns);
    }
    d->from = service_execution(d->from_id, &key->run);
    d->target = e->target ? proto_dup(e->target) : proto_new(&tp__workflow_execution__descriptor);
    d->root = proto_dup(e->root);
    d->first_run = e->first_run_id ? xstrdup(e->first_run_id) : NULL;
    d->requested_by = e->requested_by ? xstrdup(e->requested_by) : NULL;
    d->own_chain = e->own_chain ? xstrdup(e->own_chain) : NULL;
    d->attributes = proto_dup(e->attributes);
    d->close = e->close;
    d->close.result = proto_dup(e->close.result);
    d->close.failure = proto_dup(e->close.failure);
    map_put(&s->errands, errand_text(&d->key), d);
    if (e->type == RUN_ERRAND_START_CHILD) {
        const Tp__StartChildWorkflowExecutionInitiatedEventAttributes *a = (const void *)d->attributes;
        d->start = start_of(d, a);
        proto_set_text(&d->target->workflow_id, a->workflow_id);
    }
    errand_go(d);
}

/* A child that is to be ended may still be about to be started. True: when that is over, its run is looked at again. */
static bool start_first(struct service *s, const struct errand_key *end)
{
    struct errand_key k = { .run = end->run, .id = end->id, .type = RUN_ERRAND_START_CHILD };
    struct errand *start = end->type == RUN_ERRAND_CLOSE_TERMINATE ? map_find(&s->errands, errand_text(&k)) : NULL;
    if (!start)
        return false;
    start->stale = true;
    if (start->in_flight)
        return true;
    errand_free(start);
    return false;
}

void service_errands_run(struct service *s, const struct journal_key *key, const struct run *r)
{
    struct run_errand e;
    for (size_t n = 0; run_wants_errand(r, n, &e); n++) {
        struct errand_key k = { .run = key->run, .id = e.id, .type = e.type };
        if (!map_find(&s->errands, errand_text(&k)) && !start_first(s, &k))
            errand_begin(s, &k, key, &e);
    }
}

void service_errands_close(struct service *s)
{
    const struct map_slot *slot;
    for (uint32_t i = 0; (slot = map_next(&s->errands, &i)); i = 0)
        errand_free(slot->value);
}
