#include "run_world.h"

static const char *const begun = "1 WorkflowExecutionStarted / 2 WorkflowTaskScheduled";

TEST(a_workflow_with_one_activity_has_eleven_events)
{
    AUTO_WORLD w;
    world_start(&w, NULL);
    CHECK_STR(world_history(&w), begun);
    CHECK_EQ(world_poll(&w, false), 0);
    CHECK_STR(world_history(&w), "3 WorkflowTaskStarted");
    CHECK_EQ(w.given.from, 1);
    CHECK_EQ(w.given.to, 4);
    CHECK_EQ(w.given.answer->started_event_id, 3);
    CHECK_EQ(w.given.answer->previous_started_event_id, 0);
    CHECK_EQ(w.given.answer->attempt, 1);
    CHECK_STR(w.given.answer->workflow_execution_task_queue->name, "q");
    world_activity(&w, "a");
    CHECK_EQ(world_answer(&w), 0);
    CHECK_STR(world_history(&w), "4 WorkflowTaskCompleted / 5 ActivityTaskScheduled");
    struct run_token token;
    Tp__PollActivityTaskQueueResponse *answer;
    CHECK_EQ(world_take_activity(&w, &token, &answer), 0);
    CHECK(answer->schedule_to_close_timeout && answer->heartbeat_timeout && answer->retry_policy);
    CHECK_EQ(answer->attempt, 1);
    proto_free(answer);
    CHECK_STR(world_history(&w), "");
    CHECK_EQ(run_activity_complete(w.r, &w.t, &token, NULL, "aw", &w.no), 0);
    world_commit(&w);
    CHECK_STR(world_history(&w), "6 ActivityTaskStarted / 7 ActivityTaskCompleted / 8 WorkflowTaskScheduled");
    CHECK_EQ(world_event(&w, 7)->activity_task_completed_event_attributes->started_event_id, 6);
    CHECK_EQ(world_poll(&w, false), 0);
    CHECK_EQ(w.given.answer->previous_started_event_id, 3);
    world_complete_command(&w);
    CHECK_EQ(world_answer(&w), 0);
    CHECK_STR(world_history(&w), "9 WorkflowTaskStarted / 10 WorkflowTaskCompleted / 11 WorkflowExecutionCompleted");
    CHECK_EQ(run_status(w.r), STATUS(COMPLETED));
    CHECK_EQ(run_close_event(w.r), 11);
    CHECK(!run_standing(w.r).open);
}

/* Started, and a worker has the first task: events 1 to 3. */
static void held(struct world *w, bool sticky)
{
    world_start(w, NULL);
    ASSERT(world_poll(w, false) == 0);
    if (sticky) {
        static Tp__StickyExecutionAttributes a;
        static Tp__TaskQueue queue;
        static Tp__Duration wait;
        tp__sticky_execution_attributes__init(&a);
        tp__task_queue__init(&queue);
        tp__duration__init(&wait);
        static char name[] = "sticky";
        queue.name = name;
        wait.seconds = 10;
        a.worker_task_queue = &queue;
        a.schedule_to_start_timeout = &wait;
        w->q.sticky_attributes = &a;
        world_timer(w, "t", 3600 * SECOND);
        ASSERT(world_answer(w) == 0);
        ASSERT(world_signal(w, "s", "") == 0);
    }
    (void)world_history(w);
}

TEST(what_one_turn_writes_is_one_row)
{
    AUTO_WORLD w;
    struct run_task task;
    struct run_poller p = { .identity = "w" };
    held(&w, false);
    Tp__SignalWorkflowExecutionRequest q;
    tp__signal_workflow_execution_request__init(&q);
    CHECK_EQ(run_task_complete(w.r, &w.t, &w.given.token, &w.q, &w.completed, &w.no), 0);
    CHECK_EQ(run_signal(w.r, &w.t, &q, NULL, &w.no), 0);
    CHECK(run_wants_task(w.r, 0, &task));
    run_task_given_done(&w.given);
    CHECK_EQ(run_task_start(w.r, &w.t, &task, &p, &w.given, &w.no), 0);
    CHECK_EQ(w.t.row_count, 1);
    CHECK_EQ(w.t.rows[0].count, 4);
    world_commit(&w);
    CHECK_STR(world_history(&w), "4 WorkflowTaskCompleted / 5 WorkflowExecutionSignaled / 6 WorkflowTaskScheduled / 7 WorkflowTaskStarted");
}

TEST(a_token_of_another_task_is_not_found)
{
    AUTO_WORLD w;
    held(&w, false);
    w.given.token.attempt = 2;
    CHECK_EQ(world_answer(&w), -CODE_NOT_FOUND);
    CHECK_STR(w.no.text, "Workflow task not found.");
    w.given.token.attempt = 1;
    w.given.token.started_ns++;
    CHECK_EQ(world_answer(&w), -CODE_NOT_FOUND);
    w.given.token.started_ns--;
    CHECK_EQ(world_answer(&w), 0);
    CHECK_EQ(world_answer(&w), -CODE_NOT_FOUND); /* said twice */
}

TEST(a_task_without_an_answer_times_out_and_the_next_is_transient)
{
    AUTO_WORLD w;
    held(&w, false);
    CHECK_EQ(run_standing(w.r).due_ms, 1010 * 1000);
    world_pass(&w, 10 * SECOND);
    CHECK_STR(world_history(&w), "4 WorkflowTaskTimedOut");
    CHECK_EQ(world_event(&w, 4)->workflow_task_timed_out_event_attributes->timeout_type, TIMEOUT(START_TO_CLOSE));
    CHECK_EQ(world_poll(&w, false), 0);
    CHECK_STR(world_history(&w), "");
    CHECK_EQ(w.given.answer->attempt, 2);
    CHECK_EQ(w.given.extra_count, 2);
    CHECK_EQ(w.given.extra[0]->event_id, 5);
    CHECK_EQ(w.given.extra[1]->event_id, 6);
    CHECK_EQ(w.given.answer->started_event_id, 6);
    CHECK_EQ(w.given.to, 5);
    world_timer(&w, "t", SECOND);
    CHECK_EQ(world_answer(&w), 0);
    CHECK_STR(world_history(&w), "5 WorkflowTaskScheduled / 6 WorkflowTaskStarted / 7 WorkflowTaskCompleted / 8 TimerStarted");
    CHECK_EQ(world_event(&w, 5)->workflow_task_scheduled_event_attributes->attempt, 2);
}

TEST(only_the_first_failure_of_a_task_is_written_and_from_the_fourth_attempt_it_has_more_time)
{
    static const int64_t seconds[] = { 10, 10, 10, 15, 20, 30, 50 };
    AUTO_WORLD w;
    held(&w, false);
    for (size_t i = 0; i < COUNT_OF(seconds); i++) {
        CHECK_EQ(w.given.answer->attempt, (int)i + 1);
        CHECK_EQ(w.r->s->task->timeout_ns, seconds[i] * SECOND);
        CHECK_EQ(world_fail_task(&w), 0);
        CHECK_STR(world_history(&w), i ? "" : "4 WorkflowTaskFailed");
        CHECK_EQ(world_poll(&w, false), 0);
    }
}

TEST(a_transient_task_becomes_an_ordinary_one_when_more_has_happened)
{
    AUTO_WORLD w;
    held(&w, false);
    CHECK_EQ(world_fail_task(&w), 0);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_STR(world_history(&w), "4 WorkflowTaskFailed / 5 WorkflowExecutionSignaled");
    CHECK_EQ(world_poll(&w, false), 0);
    CHECK_STR(world_history(&w), "6 WorkflowTaskScheduled / 7 WorkflowTaskStarted");
    CHECK_EQ(w.given.answer->attempt, 1);
    CHECK_EQ(w.given.extra_count, 0);
}

TEST(what_comes_while_a_worker_has_the_task_is_numbered_behind_its_commands)
{
    AUTO_WORLD w;
    held(&w, false);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_STR(world_history(&w), "");
    CHECK_EQ(run_next_event(w.r), 4);
    world_timer(&w, "t", SECOND);
    CHECK_EQ(world_answer(&w), 0);
    CHECK_STR(world_history(&w), "4 WorkflowTaskCompleted / 5 TimerStarted / 6 WorkflowExecutionSignaled / 7 WorkflowTaskScheduled");
}

TEST(what_ends_an_activity_is_numbered_behind_all_else_that_came)
{
    AUTO_WORLD w;
    struct run_token token;
    held(&w, false);
    world_activity(&w, "a");
    w.q.force_create_new_workflow_task = true;
    CHECK_EQ(world_answer(&w), 0);
    w.q.force_create_new_workflow_task = false;
    CHECK_EQ(world_take_activity(&w, &token, NULL), 0);
    CHECK_EQ(world_poll(&w, false), 0);
    (void)world_history(&w);
    CHECK_EQ(run_activity_complete(w.r, &w.t, &token, NULL, "", &w.no), 0);
    world_commit(&w);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_EQ(world_answer(&w), 0);
    CHECK_STR(world_history(&w), "8 WorkflowTaskCompleted / 9 ActivityTaskStarted / 10 WorkflowExecutionSignaled / "
                                 "11 ActivityTaskCompleted / 12 WorkflowTaskScheduled");
    CHECK_EQ(world_event(&w, 11)->activity_task_completed_event_attributes->started_event_id, 9);
}

TEST(no_command_closes_a_workflow_that_has_not_seen_everything)
{
    AUTO_WORLD w;
    held(&w, false);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    world_complete_command(&w);
    CHECK_EQ(world_answer(&w), -CODE_INVALID);
    CHECK_STR(world_history(&w), "4 WorkflowTaskFailed / 5 WorkflowExecutionSignaled / 6 WorkflowTaskScheduled");
    CHECK_EQ(world_event(&w, 4)->workflow_task_failed_event_attributes->cause, CAUSE(UNHANDLED_COMMAND));
    CHECK_EQ(world_event(&w, 6)->workflow_task_scheduled_event_attributes->attempt, 1);
}

TEST(a_cancelled_timer_that_fired_meanwhile_never_fired)
{
    AUTO_WORLD w;
    held(&w, false);
    world_timer(&w, "t", 5 * SECOND);
    w.q.force_create_new_workflow_task = true;
    CHECK_EQ(world_answer(&w), 0);
    w.q.force_create_new_workflow_task = false;
    CHECK_EQ(world_poll(&w, false), 0);
    world_pass(&w, 5 * SECOND);
    (void)world_history(&w);
    world_cancel_timer(&w, "t");
    world_complete_command(&w);
    CHECK_EQ(world_answer(&w), 0);
    CHECK_STR(world_history(&w), "8 WorkflowTaskCompleted / 9 TimerCanceled / 10 WorkflowExecutionCompleted");
    CHECK_EQ(world_event(&w, 9)->timer_canceled_event_attributes->started_event_id, 5);
}

TEST(a_sticky_task_that_nobody_takes_goes_to_the_normal_queue_as_the_same_attempt)
{
    AUTO_WORLD w;
    struct run_task task;
    held(&w, true);
    CHECK(run_wants_task(w.r, 0, &task));
    CHECK_STR(task.queue, "sticky");
    CHECK_STR(task.normal_queue, "q");
    world_pass(&w, 10 * SECOND);
    CHECK_STR(world_history(&w), "8 WorkflowTaskTimedOut / 9 WorkflowTaskScheduled");
    CHECK_EQ(world_event(&w, 8)->workflow_task_timed_out_event_attributes->timeout_type, TIMEOUT(SCHEDULE_TO_START));
    CHECK(run_wants_task(w.r, 0, &task));
    CHECK_STR(task.queue, "q");
    CHECK(!task.normal_queue);
    CHECK_EQ(task.attempt, 1);
    CHECK(!run_sticky_queue(w.r));
}

TEST(a_sticky_worker_that_is_gone_loses_the_task_at_once_without_a_trace)
{
    AUTO_WORLD w;
    struct run_task task, before;
    held(&w, true);
    CHECK(run_wants_task(w.r, 0, &before));
    uint32_t stamp = before.stamp;
    run_sticky_lost(w.r, &w.t);
    world_commit(&w);
    CHECK_STR(world_history(&w), "");
    CHECK(run_wants_task(w.r, 0, &task));
    CHECK_STR(task.queue, "q");
    CHECK(task.stamp != stamp);
    world_pass(&w, 60 * SECOND);
    CHECK_STR(world_history(&w), "");
}

TEST(a_failure_of_a_sticky_worker_does_not_count)
{
    AUTO_WORLD w;
    held(&w, true);
    CHECK_EQ(world_poll(&w, true), 0);
    CHECK_EQ(w.given.from, 4); /* all that its cache has not got */
    (void)world_history(&w);
    CHECK_EQ(world_fail_task(&w), 0);
    CHECK_STR(world_history(&w), "9 WorkflowTaskFailed / 10 WorkflowTaskScheduled");
    CHECK_EQ(world_event(&w, 10)->workflow_task_scheduled_event_attributes->attempt, 1);
    CHECK_STR(world_event(&w, 10)->workflow_task_scheduled_event_attributes->task_queue->name, "q");
}

TEST(the_answer_without_sticky_attributes_ends_stickiness)
{
    AUTO_WORLD w;
    held(&w, true);
    CHECK_EQ(world_poll(&w, true), 0);
    w.q.sticky_attributes = NULL;
    CHECK_EQ(world_answer(&w), 0);
    CHECK(!run_sticky_queue(w.r));
}

TEST(a_task_that_is_kept_alive_for_half_an_hour_times_out)
{
    AUTO_WORLD w;
    held(&w, false);
    w.q.force_create_new_workflow_task = true;
    w.q.return_new_workflow_task = true;
    int r = 0;
    int64_t beats = 0;
    for (; r == 0 && beats < 1000; beats++) {
        w.t.now_ns = w.now_ns += 9 * SECOND;
        r = world_answer(&w);
        if (r == 0) {
            CHECK(w.completed.next);
            CHECK_EQ(world_poll(&w, false), 0);
        }
    }
    CHECK_EQ(r, -CODE_NOT_FOUND);
    CHECK_STR(w.no.text, "workflow task heartbeat timeout");
    CHECK_EQ(beats, 1800 / 9 + 1);
    CHECK_EQ(world_event(&w, (int64_t)w.event_count)->event_type, EVENT(WORKFLOW_TASK_TIMED_OUT));
}

TEST(a_worker_that_never_answers_does_not_hold_more_than_a_hundred_events_back)
{
    AUTO_WORLD w;
    char id[16];
    held(&w, false);
    for (int i = 0; i < 101; i++) {
        (void)snprintf(id, sizeof id, "%d", i);
        CHECK_STR(world_history(&w), "");
        CHECK_EQ(world_signal(&w, "s", id), 0);
    }
    CHECK(world_event(&w, 4)->event_type == EVENT(WORKFLOW_TASK_FAILED));
    CHECK_EQ(world_event(&w, 4)->workflow_task_failed_event_attributes->cause, CAUSE(FORCE_CLOSE_COMMAND));
    CHECK_EQ(run_next_event(w.r), 4 + 1 + 101 + 1);
    CHECK_EQ(world_answer(&w), -CODE_NOT_FOUND);
}

TEST(what_the_sdk_says_of_itself_stands_in_the_completed_event)
{
    AUTO_WORLD w;
    held(&w, false);
    uint32_t flags[] = { 1, 3 };
    Tp__WorkflowTaskCompletedMetadata sdk;
    Tp__WorkerVersionStamp stamp;
    tp__workflow_task_completed_metadata__init(&sdk);
    tp__worker_version_stamp__init(&stamp);
    static char build[] = "b1", worker[] = "worker-1";
    sdk.n_core_used_flags = 2;
    sdk.core_used_flags = flags;
    stamp.build_id = build;
    w.q.sdk_metadata = &sdk;
    w.q.worker_version_stamp = &stamp;
    w.q.identity = worker;
    CHECK_EQ(world_answer(&w), 0);
    const Tp__WorkflowTaskCompletedEventAttributes *a = world_event(&w, 4)->workflow_task_completed_event_attributes;
    CHECK(proto_equal(a->sdk_metadata, &sdk));
    CHECK_STR(a->worker_version->build_id, "b1");
    CHECK_STR(a->identity, "worker-1");
    CHECK_EQ(a->scheduled_event_id, 2);
    CHECK_EQ(a->started_event_id, 3);
}

static void delayed(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    (void)st;
    q->workflow_start_delay = temporal_duration_new(60 * SECOND);
}
TEST(a_delayed_start_has_its_first_task_when_its_time_comes_and_no_signal_brings_it_forward)
{
    AUTO_WORLD w;
    world_start(&w, delayed);
    CHECK_EQ(run_duration_ns(world_event(&w, 1)->workflow_execution_started_event_attributes->first_workflow_task_backoff), 60 * SECOND);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_STR(world_history(&w), "1 WorkflowExecutionStarted / 2 WorkflowExecutionSignaled");
    world_pass(&w, 59 * SECOND);
    CHECK_STR(world_history(&w), "");
    world_pass(&w, SECOND);
    CHECK_STR(world_history(&w), "3 WorkflowTaskScheduled");
}
TEST(a_delayed_start_is_cancelled_without_waiting)
{
    AUTO_WORLD w;
    world_start(&w, delayed);
    CHECK_EQ(world_cancel(&w), 0);
    CHECK_STR(world_history(&w), "1 WorkflowExecutionStarted / 2 WorkflowExecutionCancelRequested / 3 WorkflowTaskScheduled");
}

TEST(a_signal_that_is_repeated_is_one_signal_and_a_cancellation_too)
{
    AUTO_WORLD w;
    world_start(&w, NULL);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_EQ(world_signal(&w, "s", "2"), 0);
    CHECK_EQ(world_cancel(&w), 0);
    CHECK_EQ(world_cancel(&w), 0);
    CHECK_STR(world_history(&w), "1 WorkflowExecutionStarted / 2 WorkflowTaskScheduled / 3 WorkflowExecutionSignaled / "
                                 "4 WorkflowExecutionSignaled / 5 WorkflowExecutionCancelRequested");
}

TEST(what_is_over_takes_no_signal_no_termination_but_bears_a_cancellation)
{
    AUTO_WORLD w;
    held(&w, false);
    CHECK_EQ(run_terminate(w.r, &w.t, "why", NULL, "me", &w.no), 0);
    world_commit(&w);
    CHECK_STR(world_history(&w), "4 WorkflowTaskFailed / 5 WorkflowExecutionTerminated");
    CHECK_EQ(world_signal(&w, "s", "1"), -CODE_NOT_FOUND);
    CHECK_EQ(run_terminate(w.r, &w.t, "why", NULL, "me", &w.no), -CODE_NOT_FOUND);
    CHECK_EQ(world_cancel(&w), 0);
    CHECK_EQ(world_answer(&w), -CODE_NOT_FOUND);
    CHECK_STR(world_history(&w), "");
}

TEST(what_has_ended_is_forgotten_when_its_retention_is_over)
{
    AUTO_WORLD w;
    held(&w, false);
    world_complete_command(&w);
    CHECK_EQ(world_answer(&w), 0);
    CHECK_EQ(run_standing(w.r).due_ms, (1000 + 72 * 3600) * 1000);
    world_pass(&w, 72 * 3600 * SECOND - 1);
    CHECK(!w.t.forget);
    world_pass(&w, 1);
    CHECK(w.t.forget);
}

static void with_run_timeout(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    (void)st;
    q->workflow_run_timeout = temporal_duration_new(30 * SECOND);
}
TEST(a_run_that_takes_too_long_times_out_with_all_that_it_waits_for)
{
    AUTO_WORLD w;
    world_start(&w, with_run_timeout);
    CHECK_EQ(world_poll(&w, false), 0);
    world_timer(&w, "t", 3600 * SECOND);
    world_activity(&w, "a");
    CHECK_EQ(world_answer(&w), 0);
    (void)world_history(&w);
    world_pass(&w, 30 * SECOND);
    CHECK_STR(world_history(&w), "7 WorkflowExecutionTimedOut");
    CHECK_EQ(run_status(w.r), STATUS(TIMED_OUT));
    CHECK_EQ(world_event(&w, 7)->workflow_execution_timed_out_event_attributes->retry_state, RETRY(RETRY_POLICY_NOT_SET));
}

TEST(a_history_that_is_too_long_is_told_to_go_on_elsewhere_and_then_ended)
{
    AUTO_WORLD w;
    held(&w, false);
    CHECK(!world_event(&w, 3)->workflow_task_started_event_attributes->suggest_continue_as_new);
    w.r->s->next_event_id = 4097; /* as if */
    w.next_event = 4097;
    CHECK_EQ(world_fail_task(&w), -CODE_OK);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_EQ(world_poll(&w, false), 0);
    const Tp__WorkflowTaskStartedEventAttributes *a = w.events[w.event_count - 1]->workflow_task_started_event_attributes;
    CHECK(a->suggest_continue_as_new && a->n_suggest_continue_as_new_reasons == 1);
    CHECK(a->history_size_bytes > 0);
    w.next_event = (uint64_t)(w.r->s->next_event_id = RUN_EVENTS_MAX);
    w.r->s->task->scheduled_id = w.r->s->task->started_id - 1;
    w.given.token.scheduled_id = w.r->s->task->scheduled_id;
    world_timer(&w, "t", SECOND);
    CHECK_EQ(world_answer(&w), 0);
    CHECK_EQ(run_status(w.r), STATUS(TERMINATED));
}

TEST_MAIN()
