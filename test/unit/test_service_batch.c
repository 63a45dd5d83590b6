/* Batch operations over the host, with a journal and a time that the test owns: power cuts leave no run out, and change none twice. */
#include "workflow/service.h"
#include "tap.h"

#include "codec/proto.h"
#include "codec/temporal.h"
#include "sim/sim_journal.h"
#include "sim/sim_world.h"

struct world {
    struct rng rng;
    struct sim_clock clock;
    struct sim_disk disk;
    struct sim_faults faults;
    struct limits limits;
    struct loop *loop;
    struct journal *journal;
    struct service *service;
    struct durable_kind kinds[2]; /* borrowed by the host */
    struct durable_host *host;
};

static void on_ready(void *ctx, int r, const struct err *e)
{
    (void)e;
    *(bool *)ctx = r == 0;
}

static bool turn(struct world *w)
{
    struct err e;
    return loop_turn(w->loop, true, &e) >= 0;
}

static bool world_open(struct world *w)
{
    struct err e;
    bool ready = false;
    ASSERT(sim_loop_open(&w->clock, &w->loop, &e) == 0);
    w->journal = sim_journal_new(&w->disk, w->loop, &w->rng, &w->faults);
    const struct service_world sw = { .loop = w->loop, .journal = w->journal, .limits = &w->limits, .wall_ns = sim_wall_ns,
                                      .ctx = &w->clock, .seed = rng_next(&w->rng), .version = "1" };
    ASSERT(service_open(&sw, &w->service, &e) == 0);
    const struct durable_world dw = { .loop = w->loop, .journal = w->journal, .limits = &w->limits, .wall_ns = sim_wall_ns,
                                      .ctx = &w->clock, .seed = rng_next(&w->rng) };
    w->kinds[0] = service_kind(w->service);
    w->kinds[1] = service_batch_kind(w->service);
    ASSERT(durable_host_open(&dw, w->kinds, 2, &w->host, &e) == 0);
    service_attach(w->service, w->host);
    if (durable_host_start(w->host, on_ready, &ready, &e) < 0)
        return false;
    for (int i = 0; i < 10000 && !ready; i++)
        if (!turn(w))
            return false;
    return ready;
}

static bool world_begin(struct world *w, uint64_t seed)
{
    *w = (struct world){ .rng = { seed }, .clock = { .now_us = 1000000 }, .faults = { .commit_us = 20000, .read_us = 5000 } };
    w->clock.rng = &w->rng;
    w->clock.wall_offset_ns = INT64_C(1700000000) * 1000000000;
    limits_default(&w->limits);
    return world_open(w);
}

static void world_close(struct world *w, bool crash)
{
    if (crash)
        sim_journal_crash(TAKE(w->journal));
    else
        journal_free(TAKE(w->journal));
    durable_host_free(TAKE(w->host));
    service_free(TAKE(w->service));
    loop_free(TAKE(w->loop));
}

static void world_done(struct world *w)
{
    world_close(w, false);
    sim_disk_done(&w->disk);
}

/* ---- calls ---- */

struct call {
    struct service_call *at;
    bool done;
    enum code code;
    const ProtobufCMessageDescriptor *type;
    ProtobufCMessage *answer;
};

static void on_done(void *owner, const struct service_reply *reply)
{
    struct call *c = owner;
    struct err e;
    c->done = true;
    c->code = reply->no ? reply->no->code : CODE_OK;
    if (!reply->no && proto_decode_new(c->type, reply->answer, MIB(8), &c->answer, &e) < 0)
        c->code = CODE_INTERNAL;
}

static bool ask(struct world *w, struct call *c, const char *method, const void *q, const ProtobufCMessageDescriptor *type)
{
    struct buf b;
    struct refusal no = { 0 };
    buf_init(&b, MIB(8));
    proto_encode(q, &b);
    *c = (struct call){ .type = type };
    const struct service_ask a = { .method = str_of(method), .message = buf_str(&b), .timeout_ns = INT64_MAX, .done = on_done,
                                   .owner = c };
    bool taken = service_ask(w->service, &a, &c->at, &no) == 0;
    refusal_done(&no);
    buf_done(&b);
    for (int i = 0; taken && i < 100000 && !c->done; i++)
        taken = turn(w);
    return taken && c->done;
}


#define TYPE(name) (&tp__##name##_response__descriptor)

static Tp__WorkflowExecution *execution(const char *id)
{
    Tp__WorkflowExecution *x = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&x->workflow_id, id);
    return x;
}

static const char *numbered(const char *head, int n)
{
    static char text[64];
    snprintf(text, sizeof text, "%s-%d", head, n);
    return text;
}

static bool start(struct world *w, const char *id, const char *type)
{
    struct call c;
    Tp__StartWorkflowExecutionRequest *q = proto_new(&tp__start_workflow_execution_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->workflow_id, id);
    proto_set_text(&q->request_id, id);
    q->workflow_type = proto_new(&tp__workflow_type__descriptor);
    proto_set_text(&q->workflow_type->name, type);
    q->task_queue = proto_new(&tp__task_queue__descriptor);
    proto_set_text(&q->task_queue->name, "q");
    bool ok = ask(w, &c, "StartWorkflowExecution", q, TYPE(start_workflow_execution)) && c.code == CODE_OK;
    proto_free(q);
    proto_free(c.answer);
    return ok;
}

enum { SIGNAL, TERMINATE, CANCEL, DELETE };

static Tp__StartBatchOperationRequest *job(const char *id, const char *query, int what)
{
    Tp__StartBatchOperationRequest *q = proto_new(&tp__start_batch_operation_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->job_id, id);
    proto_set_text(&q->reason, "why");
    proto_set_text(&q->visibility_query, query);
    if (what == SIGNAL) {
        q->operation_case = TP__START_BATCH_OPERATION_REQUEST__OPERATION_SIGNAL_OPERATION;
        q->signal_operation = proto_new(&tp__batch_operation_signal__descriptor);
        proto_set_text(&q->signal_operation->signal, "ring");
    } else if (what == TERMINATE) {
        q->operation_case = TP__START_BATCH_OPERATION_REQUEST__OPERATION_TERMINATION_OPERATION;
        q->termination_operation = proto_new(&tp__batch_operation_termination__descriptor);
    } else if (what == CANCEL) {
        q->operation_case = TP__START_BATCH_OPERATION_REQUEST__OPERATION_CANCELLATION_OPERATION;
        q->cancellation_operation = proto_new(&tp__batch_operation_cancellation__descriptor);
    } else {
        q->operation_case = TP__START_BATCH_OPERATION_REQUEST__OPERATION_DELETION_OPERATION;
        q->deletion_operation = proto_new(&tp__batch_operation_deletion__descriptor);
    }
    return q;
}

/* Of "a-0" and so on. */
static Tp__StartBatchOperationRequest *job_of(const char *id, int count, int what)
{
    Tp__StartBatchOperationRequest *q = job(id, "", what);
    for (int i = 0; i < count; i++)
        proto_push(&q->n_executions, &q->executions, execution(numbered("a", i)));
    return q;
}

static enum code begin(struct world *w, Tp__StartBatchOperationRequest *take_q)
{
    struct call c;
    bool came = ask(w, &c, "StartBatchOperation", take_q, TYPE(start_batch_operation));
    proto_free(take_q);
    proto_free(c.answer);
    return came ? c.code : CODE_INTERNAL;
}

static bool describe(struct world *w, const char *id, Tp__DescribeBatchOperationResponse **ret)
{
    struct call c;
    Tp__DescribeBatchOperationRequest *q = proto_new(&tp__describe_batch_operation_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->job_id, id);
    bool came = ask(w, &c, "DescribeBatchOperation", q, TYPE(describe_batch_operation)) && c.code == CODE_OK;
    proto_free(q);
    *ret = (Tp__DescribeBatchOperationResponse *)(void *)c.answer;
    return came;
}

/* Until it is over; the counts as "state total/complete/failed". */
static const char *outcome(struct world *w, const char *id)
{
    static char text[128];
    for (int i = 0; i < 100000; i++) {
        Tp__DescribeBatchOperationResponse *d = NULL;
        if (!describe(w, id, &d))
            return "not described";
        snprintf(text, sizeof text, "%d %lld/%lld/%lld", (int)d->state, (long long)d->total_operation_count,
                 (long long)d->complete_operation_count, (long long)d->failure_operation_count);
        bool over = d->state != TP__BATCH_OPERATION_STATE__BATCH_OPERATION_STATE_RUNNING;
        proto_free(d);
        if (over)
            return text;
        if (!turn(w))
            return "no turn";
    }
    return "not over";
}

/* 0: there is no such workflow. */
static int status(struct world *w, const char *id)
{
    struct call c;
    Tp__DescribeWorkflowExecutionRequest *q = proto_new(&tp__describe_workflow_execution_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    q->execution = execution(id);
    bool came = ask(w, &c, "DescribeWorkflowExecution", q, TYPE(describe_workflow_execution)) && c.code == CODE_OK;
    proto_free(q);
    const Tp__DescribeWorkflowExecutionResponse *a = (const void *)c.answer;
    int is = came ? (int)a->workflow_execution_info->status : 0;
    proto_free(c.answer);
    return is;
}

static int rung(struct world *w, const char *id)
{
    struct call c;
    Tp__GetWorkflowExecutionHistoryRequest *q = proto_new(&tp__get_workflow_execution_history_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    q->execution = execution(id);
    int count = 0;
    if (ask(w, &c, "GetWorkflowExecutionHistory", q, TYPE(get_workflow_execution_history)) && c.code == CODE_OK) {
        const Tp__GetWorkflowExecutionHistoryResponse *a = (const void *)c.answer;
        for (size_t i = 0; i < a->history->n_events; i++)
            count += a->history->events[i]->event_type == TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED;
    }
    proto_free(q);
    proto_free(c.answer);
    return count;
}

enum { RUNNING = 1, TERMINATED = 5 };

TEST(a_batch_that_is_cut_off_signals_each_run_once)
{
    for (int cut = 1; cut < 60; cut += 2) {
        struct world w;
        ASSERT(world_begin(&w, (uint64_t)cut));
        w.limits.batch_page_max = 4;
        for (int i = 0; i < 10; i++)
            ASSERT(start(&w, numbered("a", i), "A"));
        if (begin(&w, job_of("j", 10, SIGNAL)) != CODE_OK) {
            CHECK(false);
        }
        for (int lives = 0; lives < 6; lives++) {
            for (int i = 0; i < cut; i++)
                ASSERT(turn(&w));
            world_close(&w, true);
            ASSERT(world_open(&w));
        }
        CHECK_STR(outcome(&w, "j"), "2 10/10/0");
        for (int i = 0; i < 10; i++)
            CHECK_EQ(rung(&w, numbered("a", i)), 1);
        world_done(&w);
    }
}

TEST(a_batch_that_is_stopped_goes_no_further)
{
    struct world w;
    ASSERT(world_begin(&w, 3));
    for (int i = 0; i < 10; i++)
        ASSERT(start(&w, numbered("a", i), "A"));
    Tp__StartBatchOperationRequest *q = job_of("slow", 10, TERMINATE);
    q->max_operations_per_second = 1;
    uint64_t began = w.clock.now_us;
    CHECK_EQ(begin(&w, q), CODE_OK);
    Tp__DescribeBatchOperationResponse *d = NULL;
    for (int i = 0, complete = 0; i < 1000 && complete < 3; i++) {
        ASSERT(turn(&w) && describe(&w, "slow", &d));
        complete = (int)d->complete_operation_count;
        proto_free(d);
    }
    CHECK(w.clock.now_us - began >= 2000000); /* one a second */
    struct call c;
    Tp__StopBatchOperationRequest *stop = proto_new(&tp__stop_batch_operation_request__descriptor);
    proto_set_text(&stop->namespace_, "default");
    proto_set_text(&stop->job_id, "slow");
    proto_set_text(&stop->reason, "enough");
    CHECK(ask(&w, &c, "StopBatchOperation", stop, TYPE(stop_batch_operation)) && c.code == CODE_OK);
    proto_free(c.answer);
    CHECK_STR(outcome(&w, "slow"), "3 10/3/0");
    ASSERT(describe(&w, "slow", &d));
    CHECK_STR(d->reason, "enough");
    proto_free(d);
    int left = 0;
    for (int i = 0; i < 100; i++)
        left = turn(&w) ? left : -1;
    for (int i = 0; i < 10; i++)
        left += status(&w, numbered("a", i)) == RUNNING;
    CHECK_EQ(left, 7);
    proto_set_text(&stop->job_id, "none");
    CHECK(ask(&w, &c, "StopBatchOperation", stop, TYPE(stop_batch_operation)) && c.code == CODE_NOT_FOUND);
    proto_free(stop);
    world_done(&w);
}

TEST(a_batch_of_named_runs_counts_what_could_not_be_done)
{
    struct world w;
    ASSERT(world_begin(&w, 4));
    w.limits.batch_page_max = 2;
    for (int i = 0; i < 5; i++)
        ASSERT(start(&w, numbered("a", i), "A"));
    Tp__StartBatchOperationRequest *q = job("named", "", TERMINATE);
    for (int i = 0; i < 4; i++) {
        Tp__WorkflowExecution *x = execution(numbered("a", i));
        if (i == 2)
            proto_set_text(&x->run_id, "no uuid");
        proto_push(&q->n_executions, &q->executions, x);
    }
    Tp__Execution *target = proto_new(&tp__execution__descriptor);
    proto_set_text(&target->business_id, "never started");
    proto_push(&q->n_target_executions, &q->target_executions, target);
    CHECK_EQ(begin(&w, q), CODE_OK);
    CHECK_STR(outcome(&w, "named"), "2 5/4/1");
    CHECK_EQ(status(&w, "a-3"), TERMINATED);
    CHECK_EQ(status(&w, "a-2"), RUNNING);
    CHECK_EQ(status(&w, "a-4"), RUNNING);
    world_done(&w);
}

TEST(what_is_no_batch_is_refused_and_a_repeated_one_is_one)
{
    struct world w;
    ASSERT(world_begin(&w, 5));
    w.limits.batch_running_max = 1;
    CHECK(start(&w, "a-0", "A"));
    CHECK_EQ(begin(&w, job("", "WorkflowType = 'A'", CANCEL)), CODE_INVALID);
    CHECK_EQ(begin(&w, job("j", "", CANCEL)), CODE_INVALID);
    CHECK_EQ(begin(&w, job("j", "NoSuchField = 1", CANCEL)), CODE_INVALID);
    CHECK_EQ(begin(&w, job("j", "1 = 1) OR (1 = 1", CANCEL)), CODE_INVALID);
    Tp__StartBatchOperationRequest *q = job("j", "WorkflowType = 'A'", CANCEL);
    proto_free(TAKE(q->cancellation_operation));
    q->operation_case = TP__START_BATCH_OPERATION_REQUEST__OPERATION__NOT_SET;
    CHECK_EQ(begin(&w, q), CODE_INVALID);
    q = job_of("slow", 1, CANCEL);
    CHECK_EQ(begin(&w, proto_dup(q)), CODE_OK);
    CHECK_EQ(begin(&w, proto_dup(q)), CODE_OK);
    CHECK_EQ(begin(&w, job("other", "WorkflowType = 'A'", CANCEL)), CODE_EXHAUSTED);
    CHECK_STR(outcome(&w, "slow"), "2 1/1/0");
    CHECK_EQ(begin(&w, q), CODE_OK);
    CHECK_EQ(begin(&w, job("slow", "WorkflowType = 'A'", DELETE)), CODE_EXISTS);
    CHECK_EQ(status(&w, "a-0"), RUNNING);
    w.clock.now_us += w.limits.batch_kept_ms * 1000 + UINT64_C(1000000); /* and then nobody knows of it any more */
    Tp__DescribeBatchOperationResponse *d = NULL;
    bool known = true;
    for (int i = 0; i < 1000 && known; i++) {
        ASSERT(turn(&w));
        known = describe(&w, "slow", &d);
        proto_free(TAKE(d));
    }
    CHECK(!known);
    world_done(&w);
}

TEST_MAIN()
