/* The service: what its calls do, by a client and a worker in C. */
#include "service_world.h"

#include "workflow/service_worker.h"

/* ---- tests ---- */

static bool hello(struct world *w, bool worker_first)
{
    struct call s, p, r, h;
    bool fine = true;
    if (worker_first)
        poll_task(w, &p);
    start(w, &s, "one", "r1");
    fine = wait_for(w, &s) && s.answer;
    closing(w, &h, "one", NULL);
    if (!worker_first)
        poll_task(w, &p);
    fine = fine && wait_for(w, &p) && p.answer;
    const Tp__PollWorkflowTaskQueueResponse *task = (const void *)p.answer;
    fine = fine && task->task_token.len && task->history && task->history->n_events == 3 && task->attempt == 1;
    if (fine) {
        complete(w, &r, task);
        fine = wait_for(w, &r) && r.answer && wait_for(w, &h) && h.answer;
        const Tp__GetWorkflowExecutionHistoryResponse *last = (const void *)h.answer;
        fine = fine && last->history->n_events == 1 && !last->next_page_token.len &&
               last->history->events[0]->event_type == TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED;
        call_done(&r);
        call_done(&h);
    }
    call_done(&s);
    call_done(&p);
    return fine;
}

TEST(a_workflow_is_started_given_to_the_worker_that_waits_completed_and_its_end_told)
{
    struct world w;
    world_begin(&w);
    bool fine = world_start(&w) && hello(&w, true);
    uint64_t commits = w.disk.commits;
    world_done(&w);
    CHECK(fine);
    CHECK_EQ(commits, 2); /* scheduled and started in one */
}

TEST(a_worker_that_comes_later_finds_the_task_in_the_backlog)
{
    struct world w;
    world_begin(&w);
    bool fine = world_start(&w) && hello(&w, false);
    world_done(&w);
    CHECK(fine);
}

TEST(a_poll_that_nobody_answers_ends_empty_before_its_client_gives_up)
{
    struct world w;
    world_begin(&w);
    struct call p;
    bool fine = world_start(&w);
    poll_task(&w, &p);
    fine = fine && wait_for(&w, &p) && p.answer && !((const Tp__PollWorkflowTaskQueueResponse *)(const void *)p.answer)->task_token.len;
    call_done(&p);
    uint64_t now = w.clock.now_us;
    world_done(&w);
    CHECK(fine);
    CHECK(now >= 61000000 && now < 70000000);
}

TEST(a_start_repeated_is_the_same_run_and_another_is_refused_with_the_one_that_runs)
{
    struct world w;
    world_begin(&w);
    struct call a, b, c;
    bool fine = world_start(&w);
    start(&w, &a, "one", "r1");
    fine = fine && wait_for(&w, &a) && a.answer;
    start(&w, &b, "one", "r1");
    fine = fine && wait_for(&w, &b) && b.answer;
    start(&w, &c, "one", "r2");
    fine = fine && wait_for(&w, &c);
    bool same = fine && !strcmp(((const Tp__StartWorkflowExecutionResponse *)(const void *)a.answer)->run_id,
                                ((const Tp__StartWorkflowExecutionResponse *)(const void *)b.answer)->run_id);
    call_done(&a);
    call_done(&b);
    call_done(&c);
    world_done(&w);
    CHECK(same);
    CHECK_EQ(c.no.code, CODE_EXISTS);
}

TEST(what_was_started_is_given_out_after_a_restart)
{
    struct world w;
    world_begin(&w);
    struct call a, p;
    bool fine = world_start(&w);
    start(&w, &a, "one", "r1");
    fine = fine && wait_for(&w, &a) && a.answer;
    call_done(&a);
    world_close(&w);
    world_open(&w);
    fine = fine && world_start(&w);
    poll_task(&w, &p);
    fine = fine && wait_for(&w, &p) && p.answer && ((const Tp__PollWorkflowTaskQueueResponse *)(const void *)p.answer)->task_token.len;
    call_done(&p);
    world_done(&w);
    CHECK(fine);
}

TEST(a_run_that_is_over_is_reset_to_its_task_and_goes_on_in_another)
{
    struct world w;
    world_begin(&w);
    struct call r, p;
    bool fine = world_start(&w) && hello(&w, true);
    Tp__ResetWorkflowExecutionRequest q;
    tp__reset_workflow_execution_request__init(&q);
    Tp__WorkflowExecution x;
    tp__workflow_execution__init(&x);
    char ns[] = "default", id[] = "one", why[] = "again";
    x.workflow_id = id;
    q.namespace_ = ns;
    q.workflow_execution = &x;
    q.reason = why;
    q.workflow_task_finish_event_id = 4;
    ask(&w, &r, "ResetWorkflowExecution", &q, &tp__reset_workflow_execution_response__descriptor, 10);
    fine = fine && wait_for(&w, &r) && r.answer && strlen(((const Tp__ResetWorkflowExecutionResponse *)(const void *)r.answer)->run_id) == 36;
    poll_task(&w, &p);
    fine = fine && wait_for(&w, &p) && p.answer;
    const Tp__PollWorkflowTaskQueueResponse *task = (const void *)p.answer;
    fine = fine && task->history && task->history->n_events >= 5 &&
           !strcmp(task->workflow_execution->run_id, ((const Tp__ResetWorkflowExecutionResponse *)(const void *)r.answer)->run_id);
    call_done(&p);
    call_done(&r);
    world_done(&w);
    CHECK(fine);
}

TEST(who_has_gone_is_forgotten_and_gets_no_task)
{
    struct world w;
    world_begin(&w);
    struct call gone, p, s;
    bool fine = world_start(&w);
    poll_task(&w, &gone);
    service_gone(gone.at);
    poll_task(&w, &p);
    start(&w, &s, "one", "r1");
    fine = fine && wait_for(&w, &s) && wait_for(&w, &p) && p.answer &&
           ((const Tp__PollWorkflowTaskQueueResponse *)(const void *)p.answer)->task_token.len && !gone.done;
    call_done(&p);
    call_done(&s);
    world_done(&w);
    CHECK(fine);
}

/* ---- eager ---- */

static Tp__Command *cancel_command(int64_t scheduled_id)
{
    Tp__Command *c = proto_new(&tp__command__descriptor);
    c->command_type = TP__COMMAND_TYPE__COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK;
    c->attributes_case = TP__COMMAND__ATTRIBUTES_REQUEST_CANCEL_ACTIVITY_TASK_COMMAND_ATTRIBUTES;
    c->request_cancel_activity_task_command_attributes =
        proto_new(&tp__request_cancel_activity_task_command_attributes__descriptor);
    c->request_cancel_activity_task_command_attributes->scheduled_event_id = scheduled_id;
    return c;
}

static bool activity_complete(struct world *w, const ProtobufCBinaryData *token)
{
    struct call c;
    Tp__RespondActivityTaskCompletedRequest q;
    tp__respond_activity_task_completed_request__init(&q);
    char ns[] = "default", me[] = "worker";
    q.namespace_ = ns;
    q.identity = me;
    q.task_token = *token;
    ask(w, &c, "RespondActivityTaskCompleted", &q, &tp__respond_activity_task_completed_response__descriptor, 10);
    bool fine = wait_for(w, &c) && c.answer;
    call_done(&c);
    return fine;
}

static bool says(const Tp__Payloads *p, const char *text)
{
    return p && p->n_payloads == 1 && str_is(proto_bytes(&p->payloads[0]->data), text);
}

TEST(activities_asked_for_eagerly_come_with_the_answer_and_are_completed_by_its_tokens)
{
    struct world w;
    struct call r = { 0 };
    world_begin(&w);
    bool fine = world_start(&w);
    Tp__Command *commands[] = { activity_command("a", "\"in a\"", true), activity_command("b", "\"in b\"", false),
                                activity_command("c", "\"in c\"", true) };
    const Tp__RespondWorkflowTaskCompletedResponse *got = fine ? answered(&w, &r, commands, 3) : NULL;
    uint64_t commits = w.disk.commits;
    size_t count = got ? got->n_activity_tasks : 0;
    bool whole = count == 2 && !strcmp(got->activity_tasks[0]->activity_id, "a") && says(got->activity_tasks[0]->input, "\"in a\"") &&
                 !strcmp(got->activity_tasks[1]->activity_id, "c") && says(got->activity_tasks[1]->input, "\"in c\"") &&
                 got->activity_tasks[1]->schedule_to_close_timeout && !strcmp(got->activity_tasks[1]->workflow_type->name, "hello");
    bool ends = whole && activity_complete(&w, &got->activity_tasks[1]->task_token) &&
                !activity_complete(&w, &got->activity_tasks[1]->task_token);
    call_done(&r);
    world_done(&w);
    CHECK_EQ(count, 2);
    CHECK_EQ(commits, 2); /* started and given; answered with both */
    CHECK(whole);
    CHECK(ends);
}

TEST(an_id_that_was_cancelled_and_scheduled_again_comes_eagerly_with_its_last_input)
{
    struct world w;
    struct call r = { 0 };
    world_begin(&w);
    bool fine = world_start(&w);
    Tp__Command *commands[] = { activity_command("a", "\"first\"", true), cancel_command(5), activity_command("a", "\"second\"", true) };
    const Tp__RespondWorkflowTaskCompletedResponse *got = fine ? answered(&w, &r, commands, 3) : NULL;
    bool whole = got && got->n_activity_tasks == 1 && says(got->activity_tasks[0]->input, "\"second\"");
    call_done(&r);
    world_done(&w);
    CHECK(whole);
}

static void start_eager(struct world *w, struct call *c, const char *request, int64_t delay_ns)
{
    Tp__StartWorkflowExecutionRequest *q = proto_new(&tp__start_workflow_execution_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->workflow_id, "one");
    proto_set_text(&q->request_id, request);
    q->workflow_type = proto_new(&tp__workflow_type__descriptor);
    proto_set_text(&q->workflow_type->name, "hello");
    q->task_queue = proto_new(&tp__task_queue__descriptor);
    proto_set_text(&q->task_queue->name, "q");
    q->request_eager_execution = true;
    q->workflow_start_delay = delay_ns ? temporal_duration_new(delay_ns) : NULL;
    ask(w, c, "StartWorkflowExecution", q, &tp__start_workflow_execution_response__descriptor, 10);
    proto_free(q);
}

TEST(a_workflow_started_eagerly_brings_its_first_task_once)
{
    struct world w;
    struct call first, again, r = { 0 };
    world_begin(&w);
    bool fine = world_start(&w);
    start_eager(&w, &first, "r1", 0);
    fine = fine && wait_for(&w, &first) && first.answer;
    uint64_t commits = w.disk.commits;
    start_eager(&w, &again, "r1", 0);
    fine = fine && wait_for(&w, &again) && again.answer;
    const Tp__StartWorkflowExecutionResponse *a = (const void *)first.answer, *b = (const void *)again.answer;
    bool once = fine && a->eager_workflow_task && !b->eager_workflow_task && a->eager_workflow_task->history &&
                a->eager_workflow_task->history->n_events == 3 && a->eager_workflow_task->task_token.len;
    if (once) {
        complete(&w, &r, a->eager_workflow_task);
        once = wait_for(&w, &r) && r.answer;
    }
    call_done(&first);
    call_done(&again);
    call_done(&r);
    world_done(&w);
    CHECK(fine);
    CHECK(once);
    CHECK_EQ(commits, 1);
}

static bool start_cron(struct world *w, struct call *c, const char *schedule)
{
    Tp__StartWorkflowExecutionRequest *q = proto_new(&tp__start_workflow_execution_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->workflow_id, "one");
    proto_set_text(&q->request_id, schedule);
    q->workflow_type = proto_new(&tp__workflow_type__descriptor);
    proto_set_text(&q->workflow_type->name, "hello");
    q->task_queue = proto_new(&tp__task_queue__descriptor);
    proto_set_text(&q->task_queue->name, "q");
    proto_set_text(&q->cron_schedule, schedule);
    q->workflow_id_conflict_policy = TP__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING;
    ask(w, c, "StartWorkflowExecution", q, &tp__start_workflow_execution_response__descriptor, 10);
    proto_free(q);
    return wait_for(w, c);
}

static int64_t first_delay_s(struct world *w)
{
    struct call h;
    Tp__GetWorkflowExecutionHistoryRequest q;
    tp__get_workflow_execution_history_request__init(&q);
    Tp__WorkflowExecution x;
    tp__workflow_execution__init(&x);
    char ns[] = "default", id[] = "one";
    x.workflow_id = id;
    q.namespace_ = ns;
    q.execution = &x;
    ask(w, &h, "GetWorkflowExecutionHistory", &q, &tp__get_workflow_execution_history_response__descriptor, 10);
    int64_t s = -1;
    if (wait_for(w, &h) && h.answer) {
        const Tp__GetWorkflowExecutionHistoryResponse *all = (const void *)h.answer;
        const Tp__WorkflowExecutionStartedEventAttributes *a =
            all->history->n_events ? all->history->events[0]->workflow_execution_started_event_attributes : NULL;
        s = a && a->first_workflow_task_backoff ? a->first_workflow_task_backoff->seconds : -1;
    }
    call_done(&h);
    return s;
}

TEST(a_cron_schedule_has_its_first_run_at_its_time_in_its_zone_and_one_that_cannot_be_read_ends_nobody)
{
    struct world w;
    struct call utc, berlin, wrong, nowhere;
    world_begin(&w);
    bool fine = world_start(&w);
    int64_t now_s = sim_wall_ns(&w.clock) / 1000000000; /* 2023-11-14 22:13 UTC, 23:13 in Berlin */
    fine = fine && start_cron(&w, &utc, "0 12 * * *") && utc.answer;
    int64_t at_utc = fine ? (first_delay_s(&w) + now_s) % 86400 : 0;
    fine = fine && start_cron(&w, &berlin, "CRON_TZ=Europe/Berlin 0 12 * * *") && berlin.answer;
    int64_t at_berlin = fine ? (first_delay_s(&w) + now_s) % 86400 : 0;
    fine = fine && start_cron(&w, &wrong, "CRON_TZ=Europe/Atlantis 0 12 * * *") && start_cron(&w, &nowhere, "61 * * * *");
    bool still = fine && (first_delay_s(&w) + now_s) % 86400 == at_berlin;
    call_done(&utc);
    call_done(&berlin);
    world_done(&w);
    CHECK(fine && still);
    CHECK(at_utc >= 43200 && at_utc <= 43202); /* the seconds of the calls lie between */
    CHECK(at_berlin >= 39600 && at_berlin <= 39602);
    CHECK_EQ(wrong.no.code, CODE_INVALID);
    CHECK(strstr(wrong.no.text, "Invalid CronSchedule") && strstr(wrong.no.text, "Europe/Atlantis"));
    CHECK_EQ(nowhere.no.code, CODE_INVALID);
}

TEST(a_workflow_that_starts_later_brings_no_task)
{
    struct world w;
    struct call first;
    world_begin(&w);
    bool fine = world_start(&w);
    start_eager(&w, &first, "r1", INT64_C(60000000000));
    fine = fine && wait_for(&w, &first) && first.answer &&
           !((const Tp__StartWorkflowExecutionResponse *)(const void *)first.answer)->eager_workflow_task;
    call_done(&first);
    world_done(&w);
    CHECK(fine);
}

TEST(a_namespace_that_is_not_there_and_a_method_that_is_not_done_are_named)
{
    struct world w;
    world_begin(&w);
    struct call c, d;
    bool fine = world_start(&w);
    Tp__PollWorkflowTaskQueueRequest q;
    tp__poll_workflow_task_queue_request__init(&q);
    char ns[] = "nowhere";
    q.namespace_ = ns;
    ask(&w, &c, "PollWorkflowTaskQueue", &q, &tp__poll_workflow_task_queue_response__descriptor, 70);
    ask(&w, &d, "PollNexusTaskQueue", &q, &tp__poll_workflow_task_queue_response__descriptor, 70);
    world_done(&w);
    CHECK(fine);
    CHECK_EQ(c.no.code, CODE_NOT_FOUND);
    CHECK_STR(c.no.text, "Namespace nowhere is not found.");
    CHECK_EQ(d.no.code, CODE_UNIMPLEMENTED);
}

/* ---- workers that hob runs itself ---- */

struct own {
    int polled, tasks, changed;
};
static void own_polled(void *owner) { ((struct own *)owner)->polled++; }
static void own_task(void *owner, int change) { ((struct own *)owner)->tasks += change; }
static void own_changed(void *owner) { ((struct own *)owner)->changed++; }
static const struct service_worker_ops own_ops = { own_polled, own_task };

static void turns(struct world *w, uint64_t us)
{
    struct err e;
    for (uint64_t end = w->clock.now_us + us; w->clock.now_us < end;)
        if (loop_turn(w->loop, true, &e) < 0)
            return;
}

TEST(a_worker_has_its_task_until_it_is_answered_or_timed_out)
{
    struct world w;
    struct own own = { 0 };
    struct call started, polled, ended;
    world_begin(&w);
    CHECK(world_start(&w));
    struct service_worker *k = service_worker_new(w.service, "default", "q", &own_ops, &own);
    for (int i = 0; i < 2; i++) {
        w.worker = 0;
        start(&w, &started, i ? "lost" : "done", i ? "r2" : "r1");
        CHECK(wait_for(&w, &started) && !started.no.code);
        w.worker = service_worker_id(k);
        poll_task(&w, &polled);
        CHECK(wait_for(&w, &polled) && polled.answer);
        CHECK(own.polled == 1 && own.tasks == 1);
        if (i == 0) {
            complete(&w, &ended, (const Tp__PollWorkflowTaskQueueResponse *)polled.answer);
            CHECK(wait_for(&w, &ended) && !ended.no.code);
            call_done(&ended);
        } else {
            turns(&w, 11000000);
        }
        CHECK_EQ(own.tasks, 0);
        call_done(&started);
        call_done(&polled);
    }
    service_worker_free(k);
    poll_task(&w, &polled); /* a connection may outlive its worker */
    CHECK(polled.done && polled.no.code == CODE_UNAVAILABLE);
    world_done(&w);
}

TEST(a_worker_that_drains_gets_no_task_and_what_waits_is_unattended_at_once)
{
    struct world w;
    struct own own = { 0 };
    struct call started, first, second, third;
    struct service_demand d;
    world_begin(&w);
    CHECK(world_start(&w));
    struct service_watch *watch = service_watch_new(w.service, "default", "q", own_changed, &own);
    struct service_worker *k = service_worker_new(w.service, "default", "q", &own_ops, &own);
    w.worker = service_worker_id(k);
    poll_task(&w, &first);
    turns(&w, 1000000);
    CHECK(!first.done);
    service_worker_drain(k);
    CHECK(wait_for(&w, &first) && !first.no.code);
    CHECK(!((const Tp__PollWorkflowTaskQueueResponse *)first.answer)->task_token.len);
    poll_task(&w, &second);
    int before = own.changed;
    w.worker = 0;
    start(&w, &started, "waits", "r");
    CHECK(wait_for(&w, &started) && !started.no.code);
    turns(&w, 1000000);
    CHECK(!second.done && own.changed > before && own.tasks == 0);
    service_demand(w.service, "default", "q", &d);
    CHECK(d.waiting == 1 && d.unattended && !d.first.activity);
    CHECK_STR(d.first.id, "waits");

    poll_task(&w, &third); /* another's: it takes the task, and is expected back for a while */
    CHECK(wait_for(&w, &third) && third.answer);
    call_done(&started);
    start(&w, &started, "waits too", "r2");
    CHECK(wait_for(&w, &started) && !started.no.code);
    turns(&w, 1000000);
    service_demand(w.service, "default", "q", &d);
    CHECK(d.waiting == 1 && !d.unattended && d.due_ns < INT64_MAX);
    turns(&w, 10000000);
    service_demand(w.service, "default", "q", &d);
    CHECK(d.waiting >= 1 && d.unattended);
    service_worker_free(k);
    CHECK(wait_for(&w, &second));
    call_done(&first);
    call_done(&second);
    call_done(&third);
    call_done(&started);
    service_watch_free(watch);
    world_done(&w);
}

TEST(a_worker_speaks_of_no_other_namespace)
{
    struct world w;
    struct own own = { 0 };
    struct call c;
    world_begin(&w);
    CHECK(world_start(&w));
    struct service_worker *k = service_worker_new(w.service, "elsewhere", "q", &own_ops, &own);
    w.worker = service_worker_id(k);
    start(&w, &c, "x", "r");
    CHECK(c.done && c.no.code == CODE_DENIED);
    CHECK_STR(c.no.text, "this instance works for namespace elsewhere: it may not speak of another");
    Tp__ListNamespacesRequest all;
    tp__list_namespaces_request__init(&all);
    ask(&w, &c, "ListNamespaces", &all, &tp__list_namespaces_response__descriptor, 10);
    CHECK(c.done && c.no.code == CODE_DENIED);
    Tp__GetSystemInfoRequest info;
    tp__get_system_info_request__init(&info);
    ask(&w, &c, "GetSystemInfo", &info, &tp__get_system_info_response__descriptor, 10);
    CHECK(wait_for(&w, &c) && !c.no.code);
    call_done(&c);
    service_worker_free(k);
    world_done(&w);
}

TEST_MAIN()

