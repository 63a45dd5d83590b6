#include "workflow/service_query.h"

#include <stdio.h>
#include <stdlib.h>

/* A query waits: for its run's first task, for a worker's poll (matching), for its run's workflow task (watching), or for its answer. */
enum query_state { QUERY_ASKED, QUERY_EARLY, QUERY_MATCHING, QUERY_WATCHING, QUERY_GIVEN, QUERY_SENT };
#define STICKY_NS (10 * SERVICE_SECOND) /* Temporal's sticky schedule-to-start timeout */
struct query {
    struct op op; /* first: its own memory */
    struct matching_query mq;
    struct wait wait;
    enum query_state state;
    uint64_t number;
    char *queue, *normal_queue;
    enum run_query_way way;
    uint32_t stamp;   /* SENT: with this task of its run (run_task_stamp()) */
    int64_t until_ns; /* its client waits */
    bool sticky, handed; /* handed: a poll has it */
    bool sticky_late;    /* its sticky worker had its time: any worker does */
    Tp__QueryWorkflowResponse *rejected;
};
#define QUERY(op_) CONTAINER_OF(op_, struct query, op)

static struct str number_key(const struct query *q) { return (struct str){ (const char *)&q->number, sizeof(q->number) }; }

struct query *query_take(struct matching_query *mq)
{
    struct query *q = CONTAINER_OF(mq, struct query, mq);
    q->handed = true;
    return q;
}

struct journal_key query_key(const struct query *q)
{
    return (struct journal_key){ JOURNAL_WORKFLOW, str_of(q->op.ns), str_of(q->op.id), q->op.run };
}

static void query_leave(struct query *q)
{
    matching_query_remove(q->op.s->matching, &q->mq);
    wait_remove(&q->wait);
    if (map_find(&q->op.s->queries, number_key(q)) == q)
        map_remove(&q->op.s->queries, number_key(q));
}

static void query_end(struct query *q, const Tp__QueryWorkflowResponse *answer, struct refusal *take_no)
{
    query_leave(q);
    struct service_call *c = TAKE(q->op.c);
    if (c && take_no)
        service_refuse(c, take_no);
    else if (c)
        service_reply(c, answer);
    if (take_no)
        refusal_done(take_no);
    if (!q->handed) /* else who has it finds out */
        op_free(&q->op);
}

static void query_refuse(struct query *q, enum code code, const char *text)
{
    struct refusal no = { 0 };
    refuse(&no, code, "%s", text);
    query_end(q, NULL, &no);
}

void query_failed(struct query *q, enum code code, const char *text)
{
    q->handed = false;
    query_refuse(q, code, text);
}

static void on_gone(struct service_call *c)
{
    struct query *q = c->work;
    q->op.c = NULL;
    service_end(c);
    query_leave(q);
    if (!q->handed)
        op_free(&q->op);
}

static void on_drain(struct service_call *c)
{
    struct query *q = c->work;
    if (!q->handed)
        query_refuse(q, CODE_UNAVAILABLE, "hob is stopping");
}

/* ---- where it goes ---- */

static void on_watched(struct wait *w, struct run *r);

static void query_match(struct query *q)
{
    struct err e;
    q->state = QUERY_MATCHING;
    if (q->sticky) { /* who has the workflow in memory has so long */
        wait_remove(&q->wait);
        wait_add(&q->wait, MIN(q->until_ns, service_now(q->op.s) + STICKY_NS));
    }
    q->mq = (struct matching_query){ .ns = q->op.ns, .queue = q->queue };
    int r = matching_query_add(q->op.s->matching, &q->mq, service_now(q->op.s), &e);
    if (r < 0)
        query_refuse(q, -(enum code)r, e.text);
    else
        service_look_soon(q->op.s);
}

/* Its client's time is over; or its sticky worker's, which may be gone: then any worker reads the history and answers. */
static void on_expired(struct wait *w)
{
    struct query *q = CONTAINER_OF(w, struct query, wait);
    int64_t now_ns = service_now(q->op.s);
    if (now_ns >= q->until_ns) {
        query_refuse(q, CODE_DEADLINE, "query timed out");
        return;
    }
    bool late = q->sticky && !q->handed && (q->state == QUERY_MATCHING || q->state == QUERY_GIVEN);
    wait_add(&q->wait, late ? q->until_ns : MIN(q->until_ns, now_ns + STICKY_NS));
    if (!late)
        return;
    matching_query_remove(q->op.s->matching, &q->mq);
    q->sticky = false;
    q->sticky_late = true;
    free(q->queue);
    q->queue = xstrdup(q->normal_queue);
    query_match(q);
}

/* The machine says how it can be answered now. */
static void query_route(struct query *q, struct run *r)
{
    const Tp__QueryWorkflowRequest *asked = q->op.c->q;
    struct refusal no = { 0 };
    q->way = run_query_way(r, asked->query_reject_condition, &no);
    switch (q->way) {
    case RUN_QUERY_WITH_TASK:
        q->state = QUERY_WATCHING;
        break;
    case RUN_QUERY_DIRECT: {
        const char *sticky = run_sticky_queue(r);
        q->sticky = sticky && *sticky && !q->sticky_late && matching_polled(q->op.s->matching, str_of(q->op.ns), sticky, MATCHING_WORKFLOW,
                                                          service_now(q->op.s));
        free(q->normal_queue);
        q->normal_queue = xstrdup(run_queue(r));
        free(q->queue);
        q->queue = xstrdup(q->sticky ? sticky : run_queue(r));
        break;
    }
    case RUN_QUERY_REJECTED:
        q->rejected = proto_new(&tp__query_workflow_response__descriptor);
        q->rejected->query_rejected = proto_new(&tp__query_rejected__descriptor);
        q->rejected->query_rejected->status = run_status(r);
        break;
    case RUN_QUERY_EARLY: q->state = QUERY_EARLY; break;
    case RUN_QUERY_NOT_READY: break;
    }
    refusal_done(&q->op.no);
    if (q->way == RUN_QUERY_NOT_READY)
        q->op.no = no;
    else
        refusal_done(&no);
}

static void query_go(struct query *q)
{
    if (q->rejected)
        query_end(q, q->rejected, NULL);
    else if (q->way == RUN_QUERY_NOT_READY)
        query_end(q, NULL, &q->op.no);
    else if (q->way == RUN_QUERY_DIRECT)
        query_match(q);
}

static void query_act(struct op *op, const struct durable_view *v)
{
    struct query *q = QUERY(op);
    proto_free(TAKE(q->rejected));
    if (!v->machine)
        op_missing(op);
    else
        query_route(q, v->machine);
}

static void query_done(struct op *op)
{
    struct query *q = QUERY(op);
    ASSERT(!q->wait.in && !q->mq.in);
    free(q->queue);
    free(q->normal_queue);
    proto_free(q->rejected);
}

/* Whatever way it goes, it watches its run, until its client gives up. */
static void query_begin(struct query *q)
{
    struct service_call *c = q->op.c;
    if (c->gone) {
        q->op.c = NULL;
        service_end(c);
        op_free(&q->op);
        return;
    }
    c->work = q;
    c->on_gone = on_gone;
    c->on_drain = on_drain;
    q->number = ++q->op.s->query_next;
    q->until_ns = service_until(c, SERVICE_POLL_NS);
    q->wait = (struct wait){ .s = q->op.s, .run = q->op.run, .look = on_watched, .expired = on_expired };
    map_put(&q->op.s->queries, number_key(q), q);
    wait_add(&q->wait, q->until_ns);
    query_go(q);
}

static void query_then(struct op *op) { query_begin(QUERY(op)); }

static void query_refused(struct op *op)
{
    struct query *q = QUERY(op);
    service_refuse(TAKE(op->c), &op->no);
    op_free(&q->op);
}

static void on_watched(struct wait *w, struct run *r)
{
    struct query *q = CONTAINER_OF(w, struct query, wait);
    bool lost = q->state == QUERY_SENT && r && run_task_stamp(r) != q->stamp; /* its task failed, timed out, or the run ended */
    if ((q->state != QUERY_WATCHING && q->state != QUERY_EARLY && !lost) || !r || !q->op.c)
        return;
    query_route(q, r);
    query_go(q);
}

void service_query(struct service *s, struct service_call *c)
{
    const Tp__QueryWorkflowRequest *asked = c->q;
    if (!asked->query || !*asked->query->query_type) {
        service_fail(c, CODE_INVALID, asked->query ? "QueryType is not set on request." : "WorkflowQuery is not set on request.");
        return;
    }
    const Tp__WorkflowExecution *x = asked->execution;
    struct query *q = op_new(s, c, sizeof(*q), c->ns, x ? x->workflow_id : NULL, x ? x->run_id : NULL, query_act);
    if (!q)
        return;
    q->op.then = query_then;
    q->op.failed = query_refused;
    q->op.done = query_done;
    op_send(&q->op);
}

/* ---- a task of its own ---- */

void query_again(struct query *q)
{
    q->handed = false;
    if (!q->op.c)
        op_free(&q->op);
    else
        query_match(q);
}

void query_give(struct query *q, Tp__PollWorkflowTaskQueueResponse *into)
{
    q->handed = false;
    if (!q->op.c) { /* its client went while it was on its way: the worker's answer goes nowhere */
        proto_set_message(&into->query, proto_new(&tp__workflow_query__descriptor));
        op_free(&q->op);
        return;
    }
    const Tp__QueryWorkflowRequest *asked = q->op.c->q;
    q->state = QUERY_GIVEN;
    proto_set_message(&into->query, proto_dup(asked->query));
    Wt__TaskToken t;
    wt__task_token__init(&t);
    t.ns = q->op.ns;
    t.query = q->number;
    t.life = q->op.s->life;
    struct buf b;
    buf_init(&b, KIB(2));
    proto_encode(&t, &b);
    proto_set_bytes(&into->task_token, buf_str(&b));
    buf_done(&b);
}

static void query_answered(struct query *q, bool fine, const Tp__Payloads *answer, const char *error, const Tp__Failure *failure)
{
    if (fine) {
        Tp__QueryWorkflowResponse w;
        tp__query_workflow_response__init(&w);
        w.query_result = (Tp__Payloads *)(uintptr_t)answer;
        query_end(q, &w, NULL);
        return;
    }
    Tp__QueryFailedFailure *detail = proto_new(&tp__query_failed_failure__descriptor);
    detail->failure = proto_dup(failure);
    struct refusal no = { 0 };
    refuse_with(&no, CODE_INVALID, "temporal.api.errordetails.v1.QueryFailedFailure", detail, "%s",
                *error || !failure ? error : failure->message);
    query_end(q, NULL, &no);
}

/* false: the token is none of a query. *ret NULL: nobody waits for it any more. */
static bool query_of_token(struct service *s, const ProtobufCBinaryData *token, struct query **ret)
{
    __attribute__((cleanup(proto_arena_auto))) struct proto_arena arena = { 0 };
    ProtobufCMessage *m = NULL;
    struct err e;
    if (!token->len || proto_decode(&wt__task_token__descriptor, proto_bytes(token), KIB(64), &arena, &m, &e) < 0)
        return false;
    const Wt__TaskToken *t = (const Wt__TaskToken *)(const void *)m;
    if (!t->query)
        return false;
    struct query *found = t->life == s->life ? map_find(&s->queries, (struct str){ (const char *)&t->query, sizeof(t->query) })
                                             : NULL;
    *ret = found && found->state == QUERY_GIVEN && !strcmp(found->op.ns, t->ns) ? found : NULL;
    return true;
}

#define QUERY_GONE "query task not found, or already expired"

void service_query_completed(struct service *s, struct service_call *c)
{
    const Tp__RespondQueryTaskCompletedRequest *q = c->q;
    struct query *found;
    if (!query_of_token(s, &q->task_token, &found)) {
        service_fail(c, CODE_INVALID, "Error deserializing task token.");
        return;
    }
    if (!found) {
        service_fail(c, CODE_NOT_FOUND, QUERY_GONE);
        return;
    }
    query_answered(found, q->completed_type == TP__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED, q->query_result,
                   q->error_message, q->failure);
    service_reply(c, NULL);
}

bool query_task_failed(struct service *s, struct service_call *c)
{
    const Tp__RespondWorkflowTaskFailedRequest *q = c->q;
    struct query *found;
    if (!query_of_token(s, &q->task_token, &found))
        return false;
    if (!found) {
        service_fail(c, CODE_NOT_FOUND, QUERY_GONE);
        return true;
    }
    query_answered(found, false, NULL, q->failure ? "" : "the worker failed the query's task without a reason", q->failure);
    Tp__RespondWorkflowTaskFailedResponse w;
    tp__respond_workflow_task_failed_response__init(&w);
    service_reply(c, &w);
    return true;
}

/* ---- with a workflow task ---- */

static bool of_run(const struct query *q, const struct uuid *run) { return !memcmp(&q->op.run, run, sizeof(*run)); }

void queries_attach(struct service *s, const struct uuid *run, struct run_task_given *task)
{
    Tp__PollWorkflowTaskQueueResponse *into = task->answer;
    const struct map_slot *slot;
    for (uint32_t i = 0; s->queries.count && (slot = map_next(&s->queries, &i));) {
        struct query *q = slot->value;
        if (q->state != QUERY_WATCHING || !of_run(q, run) || !q->op.c)
            continue;
        const Tp__QueryWorkflowRequest *asked = q->op.c->q;
        char name[32];
        snprintf(name, sizeof(name), "%llu", (unsigned long long)q->number);
        Tp__PollWorkflowTaskQueueResponse__QueriesEntry *entry =
            proto_new(&tp__poll_workflow_task_queue_response__queries_entry__descriptor);
        proto_set_text(&entry->key, name);
        entry->value = proto_dup(asked->query);
        proto_push(&into->n_queries, &into->queries, entry);
        q->state = QUERY_SENT;
        q->stamp = task->stamp;
    }
}

void queries_answered(struct service *s, const struct uuid *run,
                      Tp__RespondWorkflowTaskCompletedRequest__QueryResultsEntry *const *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t number;
        const Tp__WorkflowQueryResult *r = results[i]->value;
        if (!r || !str_u64(str_of(results[i]->key), &number))
            continue;
        struct query *q = map_find(&s->queries, (struct str){ (const char *)&number, sizeof(number) });
        if (q && q->state == QUERY_SENT && of_run(q, run))
            query_answered(q, r->result_type == TP__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED, r->answer,
                           r->error_message, r->failure);
    }
    /* What was sent and not answered goes on as if it had not been. */
    const struct map_slot *slot;
    for (uint32_t i = 0; s->queries.count && (slot = map_next(&s->queries, &i));) {
        struct query *q = slot->value;
        if (q->state == QUERY_SENT && of_run(q, run))
            q->state = QUERY_WATCHING;
    }
}
