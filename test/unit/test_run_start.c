#include "run_world.h"

static const Tp__WorkflowExecutionStartedEventAttributes *first(const struct world *w)
{
    return world_event(w, 1)->workflow_execution_started_event_attributes;
}

TEST(the_first_event_has_all_that_sdks_read_from_it)
{
    AUTO_WORLD w;
    world_start(&w, NULL);
    const Tp__WorkflowExecutionStartedEventAttributes *a = first(&w);
    CHECK_STR(a->workflow_id, "wf");
    CHECK_STR(a->workflow_type->name, "T");
    CHECK_STR(a->task_queue->name, "q");
    CHECK_STR(a->original_execution_run_id, w.r->s->run_id);
    CHECK_STR(a->first_execution_run_id, w.r->s->run_id);
    CHECK_STR(a->continued_execution_run_id, "");
    CHECK_STR(a->root_workflow_execution->workflow_id, "wf");
    CHECK_STR(a->root_workflow_execution->run_id, w.r->s->run_id);
    CHECK_EQ(a->attempt, 1);
    CHECK(a->first_workflow_task_backoff && a->workflow_execution_timeout && a->workflow_run_timeout);
    CHECK_EQ(run_duration_ns(a->workflow_task_timeout), 10 * SECOND);
    CHECK(!a->workflow_execution_expiration_time && !a->retry_policy && !a->parent_workflow_execution);
    CHECK_EQ(temporal_time_ns(world_event(&w, 1)->event_time), 1000 * SECOND);
    CHECK_STR(run_first_id(w.r), w.r->s->run_id);
    CHECK(run_started_by(w.r, "start-1") && !run_started_by(w.r, "start-2") && !run_started_by(w.r, ""));
}

static void all_timeouts(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    (void)st;
    q->workflow_execution_timeout = temporal_duration_new(100 * SECOND);
    q->workflow_run_timeout = temporal_duration_new(500 * SECOND);
    q->workflow_task_timeout = temporal_duration_new(600 * SECOND);
    q->workflow_start_delay = temporal_duration_new(20 * SECOND);
    q->input = temporal_payloads_new(STR("1"));
}
static void absurd_times(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    st->retention_ms = INT64_MAX;
    st->first_task_delay_ms = INT64_MAX;
    q->workflow_execution_timeout = temporal_duration_new(INT64_MAX);
    q->workflow_run_timeout = temporal_duration_new(INT64_MAX);
    q->workflow_task_timeout = temporal_duration_new(INT64_MAX);
    q->workflow_start_delay = temporal_duration_new(INT64_MAX);
}
/* Anybody who can start a workflow can ask for that. */
TEST(times_that_no_clock_has_are_long_and_no_sum_of_them_overflows)
{
    AUTO_WORLD w;
    world_start(&w, absurd_times);
    CHECK_EQ(run_duration_ns(first(&w)->first_workflow_task_backoff), RUN_LONGEST_NS);
    CHECK(run_standing(w.r).due_ms > 1000000 && run_open(w.r));
}
TEST(a_timeout_is_not_longer_than_the_one_around_it_and_begins_after_the_delay)
{
    AUTO_WORLD w;
    world_start(&w, all_timeouts);
    const Tp__WorkflowExecutionStartedEventAttributes *a = first(&w);
    CHECK_EQ(run_duration_ns(a->workflow_run_timeout), 100 * SECOND);
    CHECK_EQ(run_duration_ns(a->workflow_task_timeout), 100 * SECOND);
    CHECK_EQ(temporal_time_ns(a->workflow_execution_expiration_time), 1120 * SECOND);
    CHECK(a->input && !w.r->s->started->input); /* nobody begins again: it is kept once */
    world_pass(&w, 120 * SECOND - 1);
    CHECK(run_open(w.r));
    world_pass(&w, 1);
    CHECK_EQ(run_status(w.r), STATUS(TIMED_OUT));
}

static void with_signal(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    (void)q;
    st->signal_name = "s";
}
TEST(the_signal_of_a_signal_with_start_comes_before_the_first_task)
{
    AUTO_WORLD w;
    world_start(&w, with_signal);
    CHECK_STR(world_history(&w), "1 WorkflowExecutionStarted / 2 WorkflowExecutionSignaled / 3 WorkflowTaskScheduled");
    CHECK_STR(world_event(&w, 2)->workflow_execution_signaled_event_attributes->signal_name, "s");
}

static void of_parent(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    (void)q;
    static Tp__WorkflowExecution parent;
    static char id[] = "p", run[] = "r";
    tp__workflow_execution__init(&parent);
    parent.workflow_id = id;
    parent.run_id = run;
    st->parent = st->root = &parent;
    st->parent_ns = "default";
    st->parent_initiated_id = 5;
}
TEST(a_child_has_its_first_task_when_its_parent_has_recorded_it)
{
    AUTO_WORLD w;
    struct run_task task;
    world_start(&w, of_parent);
    CHECK_STR(world_history(&w), "1 WorkflowExecutionStarted");
    CHECK_STR(first(&w)->parent_workflow_execution->workflow_id, "p");
    CHECK_STR(first(&w)->root_workflow_execution->workflow_id, "p");
    CHECK_EQ(first(&w)->parent_initiated_event_id, 5);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK(!run_wants_task(w.r, 0, &task));
    run_child_may_begin(w.r, &w.t);
    world_commit(&w);
    CHECK_STR(world_history(&w), "2 WorkflowExecutionSignaled / 3 WorkflowTaskScheduled");
}

static void retried(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    (void)st;
    q->retry_policy = proto_new(&tp__retry_policy__descriptor);
    q->retry_policy->maximum_attempts = 2;
    q->input = temporal_payloads_new(STR("1"));
}
TEST(a_run_that_fails_goes_on_in_another_as_its_policy_says)
{
    AUTO_WORLD w;
    world_start(&w, retried);
    CHECK(first(&w)->retry_policy->backoff_coefficient == 2.0);
    CHECK_EQ(world_poll(&w, false), 0);
    (void)world_history(&w);
    world_fail_command(&w, "no");
    CHECK_EQ(world_answer(&w), 0);
    CHECK_STR(world_history(&w), "4 WorkflowTaskCompleted / 5 WorkflowExecutionFailed");
    const Tp__WorkflowExecutionFailedEventAttributes *a = world_event(&w, 5)->workflow_execution_failed_event_attributes;
    CHECK_EQ(a->retry_state, RETRY(IN_PROGRESS));
    CHECK(w.next);
    CHECK_STR(a->new_execution_run_id, w.next->s->run_id);
    struct uuid next = run_next_run(w.r);
    CHECK(memcmp(&next, &w.completed.next_run, sizeof next) == 0);
    const Tp__WorkflowExecutionStartedEventAttributes *n = w.next->s->started;
    CHECK_EQ(n->attempt, 2);
    CHECK(n->input && n->continued_failure);
    CHECK_STR(n->continued_execution_run_id, w.r->s->run_id);
    CHECK_STR(n->first_execution_run_id, w.r->s->run_id);
    CHECK_EQ(run_duration_ns(n->first_workflow_task_backoff), SECOND);
    CHECK_EQ(w.next->s->retention_ns, w.r->s->retention_ns);
    run_check(w.next);
}

static void by_the_clock(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    (void)st;
    proto_set_text(&q->cron_schedule, "0 * * * *");
    q->workflow_execution_timeout = temporal_duration_new(100 * SECOND);
}
TEST(the_first_run_of_a_cron_schedule_begins_at_its_time_too)
{
    AUTO_WORLD w;
    struct run_task task;
    world_start(&w, by_the_clock);
    CHECK_EQ(run_duration_ns(first(&w)->first_workflow_task_backoff), 2600 * SECOND); /* 1000 s after the hour */
    CHECK_EQ(first(&w)->initiator, 0);
    CHECK_EQ(temporal_time_ns(first(&w)->workflow_execution_expiration_time), 3700 * SECOND);
    CHECK(!run_wants_task(w.r, 0, &task));
    CHECK_EQ(world_signal(&w, "s", "1"), 0); /* it is there, but not before its time */
    CHECK(!run_wants_task(w.r, 0, &task));
    world_pass(&w, 2600 * SECOND - 1);
    CHECK(!run_wants_task(w.r, 0, &task));
    world_pass(&w, 1);
    CHECK(run_wants_task(w.r, 0, &task));
}

static void never_due(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    (void)st;
    proto_set_text(&q->cron_schedule, "0 0 30 2 *");
}
TEST(a_cron_schedule_without_any_time_begins_at_once)
{
    AUTO_WORLD w;
    struct run_task task;
    world_start(&w, never_due);
    CHECK_EQ(run_duration_ns(first(&w)->first_workflow_task_backoff), 0);
    CHECK(run_wants_task(w.r, 0, &task));
}

TEST(bytes_that_are_no_state_are_refused_as_lost)
{
    struct run *r;
    struct err e;
    CHECK_EQ(run_unpack(STR("\xff\xff"), &r, &e), -CODE_DATA_LOSS);
    CHECK_EQ(run_unpack(STR(""), &r, &e), -CODE_DATA_LOSS);
}

TEST_MAIN()
