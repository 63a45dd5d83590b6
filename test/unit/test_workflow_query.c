/* Queries through the service: whoever could answer goes away, fails or is late, and the query does not wait for its end. */
#include "service_world.h"

static void query(struct world *w, struct call *c, int64_t timeout_s)
{
    Tp__QueryWorkflowRequest *q = proto_new(&tp__query_workflow_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    q->execution = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&q->execution->workflow_id, "one");
    q->query = proto_new(&tp__workflow_query__descriptor);
    proto_set_text(&q->query->query_type, "state");
    ask(w, c, "QueryWorkflow", q, &tp__query_workflow_response__descriptor, timeout_s);
    proto_free(q);
}

static void poll_at(struct world *w, struct call *c, const char *queue, bool sticky)
{
    Tp__PollWorkflowTaskQueueRequest *q = proto_new(&tp__poll_workflow_task_queue_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    q->task_queue = proto_new(&tp__task_queue__descriptor);
    proto_set_text(&q->task_queue->name, queue);
    if (sticky) {
        q->task_queue->kind = TP__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY;
        proto_set_text(&q->task_queue->normal_name, "q");
    }
    ask(w, c, "PollWorkflowTaskQueue", q, &tp__poll_workflow_task_queue_response__descriptor, 70);
    proto_free(q);
}

static const Tp__PollWorkflowTaskQueueResponse *polled(struct world *w, struct call *c)
{
    const Tp__PollWorkflowTaskQueueResponse *task = wait_for(w, c) && c->answer ? (const void *)c->answer : NULL;
    return task && task->task_token.len ? task : NULL;
}

/* The first task is over and nothing is pending; the worker keeps the workflow, or not. */
static bool idle(struct world *w, bool sticky)
{
    struct call s, p, r;
    start(w, &s, "one", "r1");
    poll_task(w, &p);
    const Tp__PollWorkflowTaskQueueResponse *task = wait_for(w, &s) ? polled(w, &p) : NULL;
    bool fine = task != NULL;
    if (task) {
        Tp__RespondWorkflowTaskCompletedRequest *q = proto_new(&tp__respond_workflow_task_completed_request__descriptor);
        proto_set_text(&q->namespace_, "default");
        proto_set_bytes(&q->task_token, proto_bytes(&task->task_token));
        if (sticky) {
            q->sticky_attributes = proto_new(&tp__sticky_execution_attributes__descriptor);
            q->sticky_attributes->worker_task_queue = proto_new(&tp__task_queue__descriptor);
            proto_set_text(&q->sticky_attributes->worker_task_queue->name, "mine");
            q->sticky_attributes->schedule_to_start_timeout = temporal_duration_new(INT64_C(10000000000));
        }
        ask(w, &r, "RespondWorkflowTaskCompleted", q, &tp__respond_workflow_task_completed_response__descriptor, 10);
        fine = wait_for(w, &r) && r.answer;
        proto_free(q);
        call_done(&r);
    }
    call_done(&s);
    call_done(&p);
    return fine;
}

static bool signal_it(struct world *w)
{
    struct call c;
    Tp__SignalWorkflowExecutionRequest *q = proto_new(&tp__signal_workflow_execution_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->signal_name, "s");
    q->workflow_execution = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&q->workflow_execution->workflow_id, "one");
    ask(w, &c, "SignalWorkflowExecution", q, &tp__signal_workflow_execution_response__descriptor, 10);
    bool fine = wait_for(w, &c) && c.answer;
    proto_free(q);
    call_done(&c);
    return fine;
}

static bool task_failed(struct world *w, const ProtobufCBinaryData *token, const char *why, struct call *c)
{
    Tp__RespondWorkflowTaskFailedRequest *q = proto_new(&tp__respond_workflow_task_failed_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_bytes(&q->task_token, proto_bytes(token));
    q->failure = proto_new(&tp__failure__descriptor);
    proto_set_text(&q->failure->message, why);
    ask(w, c, "RespondWorkflowTaskFailed", q, &tp__respond_workflow_task_failed_response__descriptor, 10);
    bool fine = wait_for(w, c) && c->answer;
    proto_free(q);
    call_done(c);
    return fine;
}

static bool answer_query(struct world *w, const Tp__PollWorkflowTaskQueueResponse *task, const char *result)
{
    struct call c;
    Tp__RespondQueryTaskCompletedRequest *q = proto_new(&tp__respond_query_task_completed_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_bytes(&q->task_token, proto_bytes(&task->task_token));
    q->completed_type = TP__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED;
    q->query_result = payload(result);
    ask(w, &c, "RespondQueryTaskCompleted", q, &tp__respond_query_task_completed_response__descriptor, 10);
    bool fine = wait_for(w, &c) && !c.no.code;
    proto_free(q);
    call_done(&c);
    return fine;
}

static bool answered_with(const struct call *c, const char *text)
{
    const Tp__QueryWorkflowResponse *a = c->answer ? (const void *)c->answer : NULL;
    return a && a->query_result && a->query_result->n_payloads == 1 &&
           str_is(proto_bytes(&a->query_result->payloads[0]->data), text);
}

TEST(a_query_whose_own_task_fails_is_answered_at_once_with_the_reason)
{
    struct world w;
    struct call q, p, f;
    world_begin(&w);
    bool fine = world_start(&w) && idle(&w, false);
    query(&w, &q, 30);
    poll_task(&w, &p);
    uint64_t before = w.clock.now_us;
    const Tp__PollWorkflowTaskQueueResponse *task = fine ? polled(&w, &p) : NULL;
    fine = task && task->query && task_failed(&w, &task->task_token, "no such workflow here", &f) && wait_for(&w, &q);
    uint64_t took_us = w.clock.now_us - before;
    bool again = fine && !task_failed(&w, &task->task_token, "twice", &f);
    call_done(&p);
    call_done(&q);
    world_done(&w);
    CHECK(fine);
    CHECK(took_us < 1000000);
    CHECK_EQ(q.no.code, CODE_INVALID); /* QueryFailed */
    CHECK_STR(q.no.text, "no such workflow here");
    CHECK(again);
    CHECK_EQ(f.no.code, CODE_NOT_FOUND);
}

/* A query that goes with a workflow task, which then fails `times` times. */
static bool sent_and_failed(struct world *w, struct call *q, int times)
{
    struct call p, f;
    bool fine = idle(w, false) && signal_it(w);
    query(w, q, 50);
    for (int i = 0; fine && i < times; i++) {
        poll_task(w, &p);
        const Tp__PollWorkflowTaskQueueResponse *task = polled(w, &p);
        fine = task && task->n_queries == 1 && !q->done && task_failed(w, &task->task_token, "it breaks", &f);
        call_done(&p);
    }
    return fine;
}

TEST(a_query_whose_workflow_task_fails_goes_with_the_next_one)
{
    struct world w;
    struct call q, p, r;
    world_begin(&w);
    bool fine = world_start(&w) && sent_and_failed(&w, &q, 1);
    poll_task(&w, &p);
    const Tp__PollWorkflowTaskQueueResponse *task = fine ? polled(&w, &p) : NULL;
    fine = task && task->n_queries == 1 && task->attempt == 2;
    if (fine) {
        Tp__RespondWorkflowTaskCompletedRequest *a = proto_new(&tp__respond_workflow_task_completed_request__descriptor);
        Tp__RespondWorkflowTaskCompletedRequest__QueryResultsEntry *entry =
            proto_new(&tp__respond_workflow_task_completed_request__query_results_entry__descriptor);
        proto_set_text(&entry->key, task->queries[0]->key);
        entry->value = proto_new(&tp__workflow_query_result__descriptor);
        entry->value->result_type = TP__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED;
        entry->value->answer = payload("7");
        proto_push(&a->n_query_results, &a->query_results, entry);
        proto_set_text(&a->namespace_, "default");
        proto_set_bytes(&a->task_token, proto_bytes(&task->task_token));
        ask(&w, &r, "RespondWorkflowTaskCompleted", a, &tp__respond_workflow_task_completed_response__descriptor, 10);
        fine = wait_for(&w, &r) && r.answer && wait_for(&w, &q) && answered_with(&q, "7");
        proto_free(a);
        call_done(&r);
    }
    call_done(&p);
    call_done(&q);
    world_done(&w);
    CHECK(fine);
}

TEST(a_query_of_a_workflow_whose_tasks_fail_is_refused_before_its_client_gives_up)
{
    struct world w;
    struct call q;
    world_begin(&w);
    bool fine = world_start(&w) && sent_and_failed(&w, &q, 2) && wait_for(&w, &q);
    uint64_t at_us = w.clock.now_us;
    call_done(&q);
    world_done(&w);
    CHECK(fine);
    CHECK(at_us < 11000000);
    CHECK_EQ(q.no.code, CODE_PRECONDITION);
    CHECK_STR(q.no.text, "Unable to query workflow due to Workflow Task in failed state.");
}

TEST(a_query_whose_workflow_task_is_never_answered_goes_with_the_next_one)
{
    struct world w;
    struct call q, p, again;
    world_begin(&w);
    bool fine = world_start(&w) && idle(&w, false) && signal_it(&w);
    query(&w, &q, 50);
    poll_task(&w, &p);
    fine = fine && polled(&w, &p);
    poll_task(&w, &again); /* after the first one's 10 s */
    const Tp__PollWorkflowTaskQueueResponse *task = fine ? polled(&w, &again) : NULL;
    fine = task && task->n_queries == 1 && task->attempt == 2 && !q.done;
    service_gone(q.at);
    call_done(&p);
    call_done(&again);
    world_done(&w);
    CHECK(fine);
}

TEST(a_query_that_its_sticky_worker_does_not_answer_goes_to_any_worker_with_the_whole_history)
{
    struct world w;
    struct call q, first, second;
    world_begin(&w);
    bool fine = world_start(&w);
    poll_at(&w, &first, "mine", true);
    fine = fine && idle(&w, true);
    query(&w, &q, 40);
    const Tp__PollWorkflowTaskQueueResponse *kept = fine ? polled(&w, &first) : NULL;
    bool short_one = kept && kept->query && kept->history->n_events == 0;
    poll_task(&w, &second);
    const Tp__PollWorkflowTaskQueueResponse *task = short_one ? polled(&w, &second) : NULL;
    uint64_t at_us = w.clock.now_us;
    fine = task && task->query && task->history->n_events == 4 && answer_query(&w, task, "5") && wait_for(&w, &q) &&
           answered_with(&q, "5");
    call_done(&q);
    call_done(&first);
    call_done(&second);
    world_done(&w);
    CHECK(short_one);
    CHECK(fine);
    CHECK(at_us >= 11000000 && at_us < 13000000);
}

TEST(a_query_of_a_workflow_that_begins_later_is_refused_at_once)
{
    struct world w;
    struct call s, q;
    world_begin(&w);
    bool fine = world_start(&w);
    Tp__StartWorkflowExecutionRequest *a = proto_new(&tp__start_workflow_execution_request__descriptor);
    proto_set_text(&a->namespace_, "default");
    proto_set_text(&a->workflow_id, "one");
    a->workflow_type = proto_new(&tp__workflow_type__descriptor);
    proto_set_text(&a->workflow_type->name, "hello");
    a->task_queue = proto_new(&tp__task_queue__descriptor);
    proto_set_text(&a->task_queue->name, "q");
    a->workflow_start_delay = temporal_duration_new(INT64_C(3600000000000));
    ask(&w, &s, "StartWorkflowExecution", a, &tp__start_workflow_execution_response__descriptor, 10);
    proto_free(a);
    fine = fine && wait_for(&w, &s) && s.answer;
    query(&w, &q, 40);
    fine = fine && wait_for(&w, &q);
    uint64_t at_us = w.clock.now_us;
    call_done(&s);
    call_done(&q);
    world_done(&w);
    CHECK(fine);
    CHECK(at_us < 2000000);
    CHECK_EQ(q.no.code, CODE_PRECONDITION);
}

TEST(a_query_that_nobody_takes_ends_when_its_client_gives_up)
{
    struct world w;
    struct call q;
    world_begin(&w);
    bool fine = world_start(&w) && idle(&w, true);
    query(&w, &q, 40);
    fine = fine && wait_for(&w, &q);
    uint64_t at_us = w.clock.now_us;
    call_done(&q);
    world_done(&w);
    CHECK(fine);
    CHECK_EQ(q.no.code, CODE_DEADLINE);
    CHECK(at_us >= 39000000 && at_us < 42000000);
}

TEST_MAIN()
