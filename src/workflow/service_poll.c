#include "workflow/service_impl.h"
#include "workflow/service_query.h"

#include <stdio.h>
#include <stdlib.h>

enum { AGAIN_US = 100000 };

/* A worker's poll. It waits in matching, or is on its way: it has a task (or a query) that is being started, then its
 * answer is put together. */
struct poll {
    struct matching_poll mp;
    struct service *s;
    struct service_call *c; /* NULL: the worker has gone */
    bool sticky;
    struct matching_task task; /* on its way */
    char *task_queue;
    struct query *query;
    struct op *op;
    struct durable_after after; /* started in the turn that scheduled it */
    struct loop_timer again;    /* what it was matched with could not be started now */
    struct journal_key key;     /* of that; its texts are h's */
    struct handing h;
};

static void poll_free(struct poll *p)
{
    handing_done(&p->h);
    free(p->task_queue);
    free(p);
}

/* Its client may have gone meanwhile. */
static void poll_finish(struct poll *p, const void *message)
{
    struct service_call *c = TAKE(p->c);
    if (c)
        service_reply(c, message);
    poll_free(p);
}

static void poll_empty(struct poll *p)
{
    p->s->counts.polls_empty++;
    poll_finish(p, NULL);
}

static void on_again(struct loop_timer *t);

static void on_gone(struct service_call *c)
{
    struct poll *p = c->work;
    p->c = NULL;
    service_end(c);
    if (heap_node_linked(&p->again.node)) {
        loop_cancel(p->s->w.loop, &p->again);
        on_again(&p->again);
    } else if (matching_poll_waits(&p->mp)) {
        matching_poll_remove(p->s->matching, &p->mp);
        service_look_soon(p->s); /* its queue may be without anybody now */
        poll_free(p);
    }
}

static void on_drain(struct service_call *c)
{
    struct poll *p = c->work;
    if (!matching_poll_waits(&p->mp))
        return;
    matching_poll_remove(p->s->matching, &p->mp);
    poll_empty(p);
}

/* What it was matched with came to nothing: it waits on, at the head. */
static void poll_again(struct poll *p)
{
    handing_done(&p->h);
    p->h = (struct handing){ 0 };
    free(TAKE(p->task_queue));
    p->query = NULL;
    p->op = NULL;
    if (!p->c) {
        poll_free(p);
    } else if (p->s->draining || p->mp.expires_ns <= service_now(p->s) ||
               (p->c->worker && service_worker_drains(p->c->worker))) {
        poll_empty(p);
    } else {
        matching_poll_return(p->s->matching, &p->mp, service_now(p->s));
        service_look_soon(p->s);
    }
}

/* ---- the answer ---- */

static void on_ready(struct handing *h, const struct err *e)
{
    struct poll *p = CONTAINER_OF(h, struct poll, h);
    if (e) {
        struct service_call *c = TAKE(p->c);
        if (c)
            service_fail(c, e->code, "%s", e->text);
        if (p->query)
            query_failed(p->query, e->code, e->text);
        poll_free(p);
        return;
    }
    if (p->query) {
        if (!p->c) {
            query_again(TAKE(p->query));
            poll_free(p);
            return;
        }
        query_give(p->query, h->given.answer);
    } else if (h->given.answer) {
        queries_attach(p->s, &h->run, &h->given);
    }
    if (p->c && p->c->worker && !p->query)
        service_worker_took(p->c->worker, h->given.answer ? &h->given.token : &h->token);
    if (h->given.answer)
        poll_finish(p, h->given.answer);
    else
        poll_finish(p, h->activity);
}

static void answer(struct poll *p, const struct journal_key *key)
{
    p->h.ready = on_ready;
    handing_begin(&p->h, p->s, key);
}

/* ---- a match with what waited ---- */

struct start {
    struct op op;
    struct poll *p;
};

static struct run_poller poller_of(const struct poll *p)
{
    const Tp__PollWorkflowTaskQueueRequest *q = p->c ? p->c->q : NULL;
    return (struct run_poller){ .identity = p->mp.identity ? p->mp.identity : "", .queue = p->mp.queue,
                                .sticky = p->sticky, .request_id = "",
                                .version = p->mp.kind == MATCHING_WORKFLOW && q ? q->worker_version_capabilities
                                                                                 : NULL };
}

static int start_in(struct poll *p, struct run *r, struct durable_turn *t, const struct run_task *task,
                    struct refusal *no)
{
    struct run_poller by = poller_of(p);
    if (task->type == RUN_WORKFLOW_TASK)
        return run_task_start(r, t, task, &by, &p->h.given, no);
    return run_activity_start(r, t, task, &by, &p->h.activity, &p->h.token, no);
}

static void start_act(struct op *op, const struct durable_view *v)
{
    struct poll *p = CONTAINER_OF(op, struct start, op)->p;
    handing_done(&p->h); /* of an attempt before */
    p->h = (struct handing){ 0 };
    if (!v->machine) {
        op_missing(op);
        return;
    }
    if (!p->c) {
        refuse(&op->no, CODE_CANCELLED, "the worker has gone");
        return;
    }
    if (p->query) {
        run_query_given(v->machine, p->sticky, &p->h.given);
        return;
    }
    struct run_task task = { .type = p->task.kind == MATCHING_WORKFLOW ? RUN_WORKFLOW_TASK : RUN_ACTIVITY_TASK,
                             .scheduled_id = p->task.scheduled_id, .attempt = p->task.attempt,
                             .stamp = p->task.stamp, .queue = p->task_queue,
                             .scheduled_ns = p->task.scheduled_ns, .priority = p->task.priority };
    op->no.code = (enum code)-start_in(p, v->machine, v->turn, &task, &op->no);
}

static void start_then(struct op *op)
{
    struct poll *p = CONTAINER_OF(op, struct start, op)->p;
    struct journal_key key = op->in.key;
    p->op = NULL;
    answer(p, &key); /* copies it */
    op_free(op);
}

static void start_failed(struct op *op)
{
    struct poll *p = CONTAINER_OF(op, struct start, op)->p;
    struct service *s = op->s;
    p->op = NULL;
    if (p->query && op->no.code != CODE_CANCELLED)
        query_failed(p->query, op->no.code, op->no.text);
    else if (p->query)
        query_again(p->query);
    else if (op->no.code == CODE_CANCELLED)
        matching_give_back(s->matching, &op->in.key.run, &p->task, service_now(s));
    else if (op->no.code != CODE_NOT_FOUND) { /* it may be the same task still; at once, it would be refused at once */
        p->h.run = op->in.key.run;
        p->again.on_due = on_again;
        op_free(op);
        loop_after(s->w.loop, &p->again, AGAIN_US);
        return;
    }
    op_free(op);
    poll_again(p);
}

static void on_again(struct loop_timer *t)
{
    struct poll *p = CONTAINER_OF(t, struct poll, again);
    matching_give_back(p->s->matching, &p->h.run, &p->task, service_now(p->s));
    poll_again(p);
}

static void matched(struct service *s, const struct matching_match *m)
{
    struct poll *p = CONTAINER_OF(m->poll, struct poll, mp);
    struct journal_key key = { JOURNAL_WORKFLOW, m->run.ns, m->run.id, m->run.run };
    if (m->query) {
        p->query = query_take(m->query);
        key = query_key(p->query);
    } else {
        p->task = m->task;
        p->task_queue = xstrdup(m->task.queue);
        p->task.queue = p->task_queue;
    }
    AUTO_FREE char *ns = xstrndup(key.ns.at, key.ns.size);
    AUTO_FREE char *id = xstrndup(key.id.at, key.id.size);
    struct start *st = op_new(s, NULL, sizeof(*st), ns, id, NULL, start_act);
    ASSERT(st);
    st->op.in.key.run = key.run;
    st->op.then = start_then;
    st->op.failed = start_failed;
    st->p = p;
    p->op = &st->op;
    op_send(&st->op);
}

void service_match(struct service *s)
{
    struct matching_match m;
    while (matching_next(s->matching, service_now(s), &m))
        matched(s, &m);
    struct matching_poll *mp;
    while ((mp = matching_expired(s->matching, service_now(s))))
        poll_empty(CONTAINER_OF(mp, struct poll, mp));
}

/* ---- a match before the commit ---- */

static void on_after(struct durable_after *a, int r, const struct err *e)
{
    struct poll *p = CONTAINER_OF(a, struct poll, after);
    (void)e;
    if (r < 0) {
        poll_again(p);
        return;
    }
    char *ns = TAKE(p->h.ns), *id = TAKE(p->h.id);
    struct journal_key key = service_key(ns, id, &p->h.run);
    answer(p, &key);
    free(ns);
    free(id);
}

static struct matching_task matching_task_of(const struct run_task *t)
{
    return (struct matching_task){ .kind = t->type == RUN_WORKFLOW_TASK ? MATCHING_WORKFLOW : MATCHING_ACTIVITY,
                                   .scheduled_id = t->scheduled_id, .attempt = t->attempt, .stamp = t->stamp,
                                   .queue = t->queue, .scheduled_ns = t->scheduled_ns, .priority = t->priority };
}

/* true: it was started, so it is not the n-th any more. */
static bool settle_one(struct service *s, struct run *r, struct durable_turn *t, const struct matching_run *key,
                       const struct run_task *task)
{
    struct matching_task mt = matching_task_of(task);
    struct matching_poll *mp = matching_claim(s->matching, key, &mt, service_now(s));
    if (!mp)
        return false;
    struct poll *p = CONTAINER_OF(mp, struct poll, mp);
    struct refusal no = { 0 };
    p->h = (struct handing){ 0 };
    if (start_in(p, r, t, task, &no) < 0) {
        refusal_done(&no);
        poll_again(p);
        return false;
    }
    p->h.ns = xstrndup(key->ns.at, key->ns.size);
    p->h.id = xstrndup(key->id.at, key->id.size);
    p->h.run = key->run;
    p->after = (struct durable_after){ .run = on_after };
    durable_turn_after(t, &p->after);
    return true;
}

void service_settle(struct service *s, struct run *r, struct durable_turn *t, const struct matching_run *key)
{
    struct run_task task;
    if (run_wants_task(r, 0, &task) && task.normal_queue &&
        !matching_polled(s->matching, key->ns, task.queue, MATCHING_WORKFLOW, service_now(s)))
        run_sticky_lost(r, t); /* StickyWorkerUnavailable */
    for (size_t n = 0; run_wants_task(r, n, &task);)
        if (!settle_one(s, r, t, key, &task))
            n++;
}

void service_offer(struct service *s, const struct journal_key *key, const struct run *r)
{
    struct matching_run run = { key->ns, key->id, key->run };
    struct matching_task few[16], *all = few;
    size_t count = 0, capacity = COUNT_OF(few);
    struct run_task task;
    for (; r && run_wants_task(r, count, &task); count++) {
        if (count == capacity) {
            struct matching_task *more = xcalloc(capacity * 2, sizeof(*more));
            memcpy(more, all, count * sizeof(*all));
            if (all != few)
                free(all);
            all = more;
            capacity *= 2;
        }
        all[count] = matching_task_of(&task);
    }
    matching_offer(s->matching, &run, all, count, service_now(s));
    if (all != few)
        free(all);
    service_look_soon(s);
}

/* ---- polls come ---- */

/* A poll of a worker that drains: it waits for nothing. */
static void parked_end(struct service_call *c)
{
    c->s->counts.polls_empty++;
    service_reply(c, NULL);
}

static void poll_begin(struct service *s, struct service_call *c, enum matching_kind kind, const Tp__TaskQueue *queue,
                       const char *identity, const char *worker_key, double rate)
{
    if (!queue || !*queue->name) {
        service_fail(c, CODE_INVALID, "TaskQueue is not set on request.");
        return;
    }
    if (strlen(queue->name) > SERVICE_ID_BYTES_MAX) {
        service_fail(c, CODE_INVALID, "TaskQueue name length exceeds limit.");
        return;
    }
    if (strlen(identity) > SERVICE_ID_BYTES_MAX) {
        service_fail(c, CODE_INVALID, "Identity length exceeds limit.");
        return;
    }
    if (c->deadline_ns == INT64_MAX) {
        service_fail(c, CODE_INVALID, "Context timeout is not set.");
        return;
    }
    if (c->deadline_ns - service_now(s) < 2 * SERVICE_SECOND) {
        service_fail(c, CODE_PRECONDITION, "Context timeout is too short.");
        return;
    }
    bool sticky = queue->kind == TP__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY;
    if (c->worker && !service_worker_polls(c->worker, queue->name, sticky)) {
        c->on_gone = service_end; /* else it would come again at once */
        c->on_drain = parked_end;
        return;
    }
    struct poll *p = xcalloc(1, sizeof(*p));
    *p = (struct poll){ .s = s, .c = c, .sticky = sticky };
    p->mp = (struct matching_poll){ .ns = c->ns, .queue = queue->name, .kind = kind, .identity = identity,
                                    .worker_key = worker_key, .tasks_per_second = rate, .own = c->worker != NULL,
                                    .expires_ns = service_until(c, SERVICE_POLL_NS) };
    c->work = p;
    c->on_gone = on_gone;
    c->on_drain = on_drain;
    struct err e;
    int r = matching_poll_add(s->matching, &p->mp, service_now(s), &e);
    if (r < 0) {
        if (s->w.on_limit)
            s->w.on_limit(s->w.ctx, "matching_polls_max");
        free(p);
        service_fail(c, -(enum code)r, "%s", e.text);
        return;
    }
    service_look_soon(s);
}

void service_poll_workflow(struct service *s, struct service_call *c)
{
    const Tp__PollWorkflowTaskQueueRequest *q = c->q;
    poll_begin(s, c, MATCHING_WORKFLOW, q->task_queue, q->identity, q->worker_instance_key, 0);
}

void service_poll_activity(struct service *s, struct service_call *c)
{
    const Tp__PollActivityTaskQueueRequest *q = c->q;
    const Tp__DoubleValue *rate = q->task_queue_metadata ? q->task_queue_metadata->max_tasks_per_second : NULL;
    poll_begin(s, c, MATCHING_ACTIVITY, q->task_queue, q->identity, q->worker_instance_key, rate ? rate->value : 0);
}

void service_worker_gone(struct service *s, struct service_call *c)
{
    const Tp__ShutdownWorkerRequest *q = c->q;
    if (c->worker)
        service_worker_left(c->worker);
    struct matching_poll *mp;
    while ((mp = matching_worker_gone(s->matching, c->ns, q->worker_instance_key, q->sticky_task_queue)))
        poll_empty(CONTAINER_OF(mp, struct poll, mp));
    Tp__ShutdownWorkerResponse w;
    tp__shutdown_worker_response__init(&w);
    service_reply(c, &w);
}

static void count_backlog(Tp__TaskQueueStats *into, const struct matching_figures *f)
{
    into->approximate_backlog_count += (int64_t)f->backlog;
    temporal_set_duration(&into->approximate_backlog_age, f->backlog_age_ns);
    into->tasks_add_rate += (float)f->added_per_second;
    into->tasks_dispatch_rate += (float)f->dispatched_per_second;
    into->rate_limiting_active |= f->tasks_per_second > 0 && f->backlog && f->waiting_polls;
}

void service_queue_describe(struct service *s, struct service_call *c)
{
    const Tp__DescribeTaskQueueRequest *q = c->q;
    if (!q->task_queue || !*q->task_queue->name) {
        service_fail(c, CODE_INVALID, "TaskQueue is not set on request.");
        return;
    }
    bool activity = q->task_queue_type == TP__TASK_QUEUE_TYPE__TASK_QUEUE_TYPE_ACTIVITY;
    struct matching_figures *f = xcalloc(1, sizeof(*f));
    matching_describe(s->matching, c->ns, q->task_queue->name, activity ? MATCHING_ACTIVITY : MATCHING_WORKFLOW,
                      service_now(s), f);
    Tp__DescribeTaskQueueResponse *w = proto_new(&tp__describe_task_queue_response__descriptor);
    for (size_t i = 0; i < f->poller_count; i++) {
        Tp__PollerInfo *info = proto_new(&tp__poller_info__descriptor);
        proto_set_text(&info->identity, f->pollers[i].identity);
        info->last_access_time = temporal_time_new(f->pollers[i].last_ns);
        info->rate_per_second = f->tasks_per_second > 0 ? f->tasks_per_second : 100000;
        proto_push(&w->n_pollers, &w->pollers, info);
    }
    w->stats = proto_new(&tp__task_queue_stats__descriptor);
    count_backlog(w->stats, f);
    if (q->include_task_queue_status) {
        w->task_queue_status = proto_new(&tp__task_queue_status__descriptor);
        w->task_queue_status->backlog_count_hint = (int64_t)f->backlog;
    }
    service_reply(c, w);
    proto_free(w);
    free(f);
}

void service_queue_partitions(struct service *s, struct service_call *c)
{
    const Tp__ListTaskQueuePartitionsRequest *q = c->q;
    (void)s;
    Tp__ListTaskQueuePartitionsResponse *w = proto_new(&tp__list_task_queue_partitions_response__descriptor);
    for (int i = 0; i < 2; i++) { /* one partition of each kind */
        Tp__TaskQueuePartitionMetadata *m = proto_new(&tp__task_queue_partition_metadata__descriptor);
        proto_set_text(&m->key, q->task_queue ? q->task_queue->name : "");
        proto_set_text(&m->owner_host_name, "hob");
        if (i)
            proto_push(&w->n_activity_task_queue_partitions, &w->activity_task_queue_partitions, m);
        else
            proto_push(&w->n_workflow_task_queue_partitions, &w->workflow_task_queue_partitions, m);
    }
    service_reply(c, w);
    proto_free(w);
}

void service_worker_heartbeat(struct service *s, struct service_call *c)
{
    (void)s;
    Tp__RecordWorkerHeartbeatResponse w;
    tp__record_worker_heartbeat_response__init(&w);
    service_reply(c, &w);
}
