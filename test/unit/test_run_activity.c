#include "run_world.h"

/* A run that waits for the activity "a", as `alter` wants it: events 1 to 5. */
static void waiting(struct world *w, void (*alter)(Tp__ScheduleActivityTaskCommandAttributes *a))
{
    world_start(w, NULL);
    ASSERT(world_poll(w, false) == 0);
    Tp__ScheduleActivityTaskCommandAttributes *a = world_activity(w, "a");
    if (alter)
        alter(a);
    ASSERT(world_answer(w) == 0);
    (void)world_history(w);
}

static Tp__Failure *failure_new(const char *type, bool non_retryable)
{
    Tp__Failure *f = proto_new(&tp__failure__descriptor);
    proto_set_text(&f->message, "no");
    f->failure_info_case = TP__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO;
    f->application_failure_info = proto_new(&tp__application_failure_info__descriptor);
    proto_set_text(&f->application_failure_info->type, type);
    f->application_failure_info->non_retryable = non_retryable;
    return f;
}
static int fail(struct world *w, const struct run_token *token, bool non_retryable)
{
    Tp__Failure *f = failure_new("E", non_retryable);
    int r = run_activity_fail(w->r, &w->t, token, f, NULL, "aw", &w->no);
    proto_free(f);
    world_commit(w);
    return r;
}
static Tp__Payloads *details_new(const char *json) { return temporal_payloads_new(str_of(json)); }
static int beat(struct world *w, const struct run_token *token, const char *json, bool *ret_cancel)
{
    Tp__Payloads *p = details_new(json);
    int r = run_activity_beat(w->r, &w->t, token, p, ret_cancel, &w->no);
    proto_free(p);
    world_commit(w);
    return r;
}

TEST(an_activity_that_fails_is_tried_again_and_only_its_last_attempt_is_history)
{
    AUTO_WORLD w;
    struct run_token token;
    struct run_task task;
    waiting(&w, NULL);
    CHECK_EQ(world_take_activity(&w, &token, NULL), 0);
    CHECK_EQ(fail(&w, &token, false), 0);
    CHECK(!run_wants_task(w.r, 0, &task));
    CHECK_EQ(run_standing(w.r).due_ms, 1001 * 1000);
    CHECK_EQ(fail(&w, &token, false), -CODE_NOT_FOUND); /* of an attempt that is over */
    world_pass(&w, SECOND);
    CHECK_EQ(world_take_activity(&w, &token, NULL), 0);
    CHECK_EQ(token.attempt, 2);
    CHECK_STR(world_history(&w), "");
    CHECK_EQ(fail(&w, &token, true), 0);
    CHECK_STR(world_history(&w), "6 ActivityTaskStarted / 7 ActivityTaskFailed / 8 WorkflowTaskScheduled");
    const Tp__ActivityTaskStartedEventAttributes *s = world_event(&w, 6)->activity_task_started_event_attributes;
    CHECK_EQ(s->attempt, 2);
    CHECK_STR(s->last_failure->message, "no");
    CHECK_EQ(world_event(&w, 7)->activity_task_failed_event_attributes->retry_state, RETRY(NON_RETRYABLE_FAILURE));
}

static void at_once(Tp__ScheduleActivityTaskCommandAttributes *a)
{
    a->retry_policy = proto_new(&tp__retry_policy__descriptor);
    a->retry_policy->initial_interval = temporal_duration_new(1);
}
TEST(an_answer_of_an_attempt_that_is_over_is_not_found)
{
    AUTO_WORLD w;
    struct run_token first, second;
    waiting(&w, at_once);
    CHECK_EQ(world_take_activity(&w, &first, NULL), 0);
    CHECK_EQ(fail(&w, &first, false), 0);
    world_pass(&w, 1);
    CHECK_EQ(world_take_activity(&w, &second, NULL), 0);
    first.started_ns = second.started_ns; /* as if it were the same instant */
    CHECK_EQ(fail(&w, &first, true), -CODE_NOT_FOUND);
    CHECK_EQ(fail(&w, &second, true), 0);
}

static void twice(Tp__ScheduleActivityTaskCommandAttributes *a)
{
    a->retry_policy = proto_new(&tp__retry_policy__descriptor);
    a->retry_policy->maximum_attempts = 2;
}
TEST(an_activity_is_tried_as_often_as_its_policy_says)
{
    AUTO_WORLD w;
    struct run_token token;
    waiting(&w, twice);
    CHECK_EQ(world_take_activity(&w, &token, NULL), 0);
    CHECK_EQ(fail(&w, &token, false), 0);
    world_pass(&w, SECOND);
    CHECK_EQ(world_take_activity(&w, &token, NULL), 0);
    CHECK_EQ(fail(&w, &token, false), 0);
    CHECK_STR(world_history(&w), "6 ActivityTaskStarted / 7 ActivityTaskFailed / 8 WorkflowTaskScheduled");
    CHECK_EQ(world_event(&w, 7)->activity_task_failed_event_attributes->retry_state, RETRY(MAXIMUM_ATTEMPTS_REACHED));
}

static void quick_start(Tp__ScheduleActivityTaskCommandAttributes *a)
{
    a->schedule_to_start_timeout = temporal_duration_new(5 * SECOND);
}
TEST(an_activity_that_nobody_takes_in_time_is_over)
{
    AUTO_WORLD w;
    waiting(&w, quick_start);
    world_pass(&w, 5 * SECOND);
    CHECK_STR(world_history(&w), "6 ActivityTaskTimedOut / 7 WorkflowTaskScheduled");
    const Tp__ActivityTaskTimedOutEventAttributes *a = world_event(&w, 6)->activity_task_timed_out_event_attributes;
    CHECK_EQ(a->failure->timeout_failure_info->timeout_type, TIMEOUT(SCHEDULE_TO_START));
    CHECK_EQ(a->started_event_id, 0);
    CHECK_EQ(a->scheduled_event_id, 5);
}

static void heartbeats(Tp__ScheduleActivityTaskCommandAttributes *a)
{
    twice(a);
    a->heartbeat_timeout = temporal_duration_new(10 * SECOND);
}
TEST(a_heartbeat_is_the_next_attempts_beginning_and_the_timeouts_witness)
{
    AUTO_WORLD w;
    struct run_token token;
    bool cancel = true;
    waiting(&w, heartbeats);
    CHECK_EQ(world_take_activity(&w, &token, NULL), 0);
    world_pass(&w, 9 * SECOND);
    CHECK_EQ(beat(&w, &token, "7", &cancel), 0);
    CHECK(!cancel);
    world_pass(&w, 8 * SECOND);
    CHECK_EQ(run_standing(w.r).due_ms, 1019 * 1000);
    world_pass(&w, 2 * SECOND);
    CHECK_STR(world_history(&w), ""); /* again */
    world_pass(&w, SECOND);
    Tp__PollActivityTaskQueueResponse *answer;
    CHECK_EQ(world_take_activity(&w, &token, &answer), 0);
    CHECK_EQ(answer->attempt, 2);
    CHECK(str_is(proto_bytes(&answer->heartbeat_details->payloads[0]->data), "7"));
    proto_free(answer);
    CHECK_EQ(beat(&w, &token, "8", &cancel), 0);
    world_pass(&w, 10 * SECOND);
    CHECK_STR(world_history(&w), "6 ActivityTaskStarted / 7 ActivityTaskTimedOut / 8 WorkflowTaskScheduled");
    const Tp__Failure *f = world_event(&w, 7)->activity_task_timed_out_event_attributes->failure;
    CHECK_EQ(f->timeout_failure_info->timeout_type, TIMEOUT(HEARTBEAT));
    CHECK(str_is(proto_bytes(&f->timeout_failure_info->last_heartbeat_details->payloads[0]->data), "8"));
    CHECK_STR(f->message, "activity Heartbeat timeout");
}

static void minute_in_all(Tp__ScheduleActivityTaskCommandAttributes *a)
{
    proto_set_message(&a->start_to_close_timeout, NULL);
    a->schedule_to_close_timeout = temporal_duration_new(60 * SECOND);
    a->retry_policy = proto_new(&tp__retry_policy__descriptor);
    a->retry_policy->initial_interval = temporal_duration_new(40 * SECOND);
}
TEST(no_attempt_begins_after_the_time_for_all_of_them)
{
    AUTO_WORLD w;
    struct run_token token;
    waiting(&w, minute_in_all);
    CHECK_EQ(run_duration_ns(world_event(&w, 5)->activity_task_scheduled_event_attributes->start_to_close_timeout), 60 * SECOND);
    CHECK_EQ(world_take_activity(&w, &token, NULL), 0);
    CHECK_EQ(fail(&w, &token, false), 0);
    CHECK_EQ(run_standing(w.r).due_ms, 1040 * 1000);
    world_pass(&w, 40 * SECOND);
    CHECK_EQ(world_take_activity(&w, &token, NULL), 0);
    CHECK_EQ(fail(&w, &token, false), 0); /* the next would be at 120 s */
    CHECK_STR(world_history(&w), "6 ActivityTaskStarted / 7 ActivityTaskFailed / 8 WorkflowTaskScheduled");
    CHECK_EQ(world_event(&w, 7)->activity_task_failed_event_attributes->retry_state, RETRY(TIMEOUT));
}

static void slow(Tp__ScheduleActivityTaskCommandAttributes *a)
{
    proto_set_message(&a->start_to_close_timeout, temporal_duration_new(50 * SECOND));
    a->schedule_to_close_timeout = temporal_duration_new(50 * SECOND + 1);
}
TEST(a_timeout_after_which_there_is_no_time_is_that_of_the_whole)
{
    AUTO_WORLD w;
    struct run_token token;
    waiting(&w, slow);
    CHECK_EQ(world_take_activity(&w, &token, NULL), 0);
    world_pass(&w, 50 * SECOND);
    CHECK_STR(world_history(&w), "6 ActivityTaskStarted / 7 ActivityTaskTimedOut / 8 WorkflowTaskScheduled");
    const Tp__ActivityTaskTimedOutEventAttributes *a = world_event(&w, 7)->activity_task_timed_out_event_attributes;
    CHECK_EQ(a->failure->timeout_failure_info->timeout_type, TIMEOUT(SCHEDULE_TO_CLOSE));
    CHECK_EQ(a->retry_state, RETRY(TIMEOUT));
}

TEST(a_running_activity_is_told_to_stop_and_says_that_it_did)
{
    AUTO_WORLD w;
    struct run_token token;
    bool cancel = false;
    waiting(&w, NULL);
    CHECK_EQ(world_take_activity(&w, &token, NULL), 0);
    CHECK_EQ(run_activity_cancel(w.r, &w.t, &token, NULL, "aw", &w.no), -CODE_INVALID);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_EQ(world_poll(&w, false), 0);
    world_cancel_activity(&w, 5);
    CHECK_EQ(world_answer(&w), 0);
    CHECK_STR(world_history(&w), "6 WorkflowExecutionSignaled / 7 WorkflowTaskScheduled / 8 WorkflowTaskStarted / "
                                 "9 WorkflowTaskCompleted / 10 ActivityTaskCancelRequested");
    CHECK_EQ(beat(&w, &token, "1", &cancel), 0);
    CHECK(cancel);
    CHECK_EQ(run_activity_cancel(w.r, &w.t, &token, NULL, "aw", &w.no), 0);
    world_commit(&w);
    CHECK_STR(world_history(&w), "11 ActivityTaskStarted / 12 ActivityTaskCanceled / 13 WorkflowTaskScheduled");
    CHECK_EQ(world_event(&w, 12)->activity_task_canceled_event_attributes->latest_cancel_requested_event_id, 10);
}

TEST(an_activity_that_nobody_has_is_cancelled_at_once_behind_the_other_commands)
{
    AUTO_WORLD w;
    waiting(&w, NULL);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_EQ(world_poll(&w, false), 0);
    (void)world_history(&w);
    world_cancel_activity(&w, 5);
    world_timer(&w, "t", SECOND);
    CHECK_EQ(world_answer(&w), 0);
    CHECK_STR(world_history(&w), "9 WorkflowTaskCompleted / 10 ActivityTaskCancelRequested / 11 TimerStarted / "
                                 "12 ActivityTaskCanceled / 13 WorkflowTaskScheduled");
}

TEST(a_cancelled_activity_that_fails_is_not_tried_again)
{
    AUTO_WORLD w;
    struct run_token token;
    waiting(&w, NULL);
    CHECK_EQ(world_take_activity(&w, &token, NULL), 0);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_EQ(world_poll(&w, false), 0);
    world_cancel_activity(&w, 5);
    CHECK_EQ(world_answer(&w), 0);
    (void)world_history(&w);
    CHECK_EQ(fail(&w, &token, false), 0);
    CHECK_STR(world_history(&w), "11 ActivityTaskStarted / 12 ActivityTaskFailed / 13 WorkflowTaskScheduled");
    CHECK_EQ(world_event(&w, 12)->activity_task_failed_event_attributes->retry_state, RETRY(CANCEL_REQUESTED));
}

TEST(an_activity_is_completed_by_its_name_from_anywhere)
{
    AUTO_WORLD w;
    struct run_token token = { .activity_id = "a" };
    waiting(&w, NULL);
    CHECK_EQ(run_activity_complete(w.r, &w.t, &token, NULL, "me", &w.no), 0);
    world_commit(&w);
    CHECK_STR(world_history(&w), "6 ActivityTaskStarted / 7 ActivityTaskCompleted / 8 WorkflowTaskScheduled");
    CHECK_EQ(run_activity_complete(w.r, &w.t, &token, NULL, "me", &w.no), -CODE_NOT_FOUND);
}

TEST(an_activity_that_is_asked_for_eagerly_comes_with_the_answer)
{
    AUTO_WORLD w;
    world_start(&w, NULL);
    CHECK_EQ(world_poll(&w, false), 0);
    for (int i = 0; i < 5; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "%d", i);
        Tp__ScheduleActivityTaskCommandAttributes *a = world_activity(&w, id);
        a->request_eager_execution = i != 0;
        if (i == 1)
            a->task_queue = run_task_queue("other", NULL);
    }
    CHECK_EQ(world_answer(&w), 0);
    CHECK_EQ(w.completed.eager_count, 3);
    CHECK_EQ(w.completed.eager[0].scheduled_id, 7);
    struct run_token token;
    Tp__PollActivityTaskQueueResponse *answer;
    struct run_poller p = { .identity = "w", .queue = "q" };
    CHECK_EQ(run_activity_start(w.r, &w.t, &w.completed.eager[0], &p, &answer, &token, &w.no), 0);
    world_commit(&w);
    CHECK_STR(answer->activity_id, "2");
    proto_free(answer);
    CHECK_EQ(run_activity_start(w.r, &w.t, &w.completed.eager[0], &p, &answer, &token, &w.no), -CODE_NOT_FOUND);
}

/* ---- bad commands ---- */

static void no_id(struct world *w) { (void)world_activity(w, ""); }
static void no_timeout(struct world *w) { proto_set_message(&world_activity(w, "x")->start_to_close_timeout, NULL); }
static void below_zero(struct world *w) { world_activity(w, "x")->heartbeat_timeout = temporal_duration_new(-1); }
static void same_activity(struct world *w)
{
    (void)world_activity(w, "x");
    (void)world_activity(w, "x");
}
static void bad_policy(struct world *w)
{
    world_activity(w, "x")->retry_policy = proto_new(&tp__retry_policy__descriptor);
    w->commands[0]->schedule_activity_task_command_attributes->retry_policy->maximum_attempts = -1;
}
static void no_activity(struct world *w) { world_cancel_activity(w, 99); }
static void zero_timer(struct world *w) { (void)world_timer(w, "x", 0); }
static void nameless_timer(struct world *w) { (void)world_timer(w, "", SECOND); }
static void same_timer(struct world *w)
{
    (void)world_timer(w, "x", SECOND);
    (void)world_timer(w, "x", SECOND);
}
static void no_timer(struct world *w) { world_cancel_timer(w, "x"); }
static void nameless_marker(struct world *w) { (void)world_command(w, COMMAND(RECORD_MARKER), 10); }
static void no_search(struct world *w) { (void)world_command(w, COMMAND(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES), 14); }
static void large_search(struct world *w)
{
    static char text[RUN_SEARCH_VALUE_BYTES_MAX + 2];
    memset(text, '1', sizeof text - 1);
    Tp__UpsertWorkflowSearchAttributesCommandAttributes *u =
        world_command(w, COMMAND(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES), 14)->upsert_workflow_search_attributes_command_attributes;
    u->search_attributes = proto_new(&tp__search_attributes__descriptor);
    Tp__SearchAttributes__IndexedFieldsEntry *field = proto_new(&tp__search_attributes__indexed_fields_entry__descriptor);
    proto_set_text(&field->key, "K");
    field->value = temporal_payload_new("json/plain", str_of(text));
    proto_push(&u->search_attributes->n_indexed_fields, &u->search_attributes->indexed_fields, field);
}
static void no_memo(struct world *w) { (void)world_command(w, COMMAND(MODIFY_WORKFLOW_PROPERTIES), 17); }
static void no_failure(struct world *w) { (void)world_command(w, COMMAND(FAIL_WORKFLOW_EXECUTION), 5); }
static void wrong_attributes(struct world *w) { world_command(w, COMMAND(START_TIMER), 7)->command_type = COMMAND(START_TIMER); }

TEST(a_bad_command_fails_its_task_and_leaves_nothing_of_the_others)
{
    static const struct {
        void (*add)(struct world *w);
        int cause;
    } bad[] = {
        { no_id, CAUSE(BAD_SCHEDULE_ACTIVITY_ATTRIBUTES) },
        { no_timeout, CAUSE(BAD_SCHEDULE_ACTIVITY_ATTRIBUTES) },
        { below_zero, CAUSE(BAD_SCHEDULE_ACTIVITY_ATTRIBUTES) },
        { bad_policy, CAUSE(BAD_SCHEDULE_ACTIVITY_ATTRIBUTES) },
        { same_activity, CAUSE(SCHEDULE_ACTIVITY_DUPLICATE_ID) },
        { no_activity, CAUSE(BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES) },
        { zero_timer, CAUSE(BAD_START_TIMER_ATTRIBUTES) },
        { nameless_timer, CAUSE(BAD_START_TIMER_ATTRIBUTES) },
        { same_timer, CAUSE(START_TIMER_DUPLICATE_ID) },
        { no_timer, CAUSE(BAD_CANCEL_TIMER_ATTRIBUTES) },
        { nameless_marker, CAUSE(BAD_RECORD_MARKER_ATTRIBUTES) },
        { no_search, CAUSE(BAD_SEARCH_ATTRIBUTES) },
        { large_search, CAUSE(BAD_SEARCH_ATTRIBUTES) },
        { no_memo, CAUSE(BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES) },
        { no_failure, CAUSE(BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES) },
        { wrong_attributes, CAUSE(BAD_START_TIMER_ATTRIBUTES) },
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        AUTO_WORLD w;
        world_start(&w, NULL);
        CHECK_EQ(world_poll(&w, false), 0);
        (void)world_history(&w);
        bad[i].add(&w);
        CHECK_EQ(world_answer(&w), -CODE_INVALID);
        CHECK_STR(world_history(&w), "4 WorkflowTaskFailed");
        const Tp__WorkflowTaskFailedEventAttributes *a = world_event(&w, 4)->workflow_task_failed_event_attributes;
        CHECK_EQ(a->cause, bad[i].cause);
        CHECK_STR(a->failure->message, w.no.text);
        CHECK(!w.r->s->n_activities && !w.r->s->n_timers);
        /* A second time it is not written, and the worker is left to its timeout. */
        CHECK_EQ(world_poll(&w, false), 0);
        bad[i].add(&w);
        CHECK_EQ(world_answer(&w), -CODE_INVALID);
        CHECK_STR(world_history(&w), "");
        CHECK(run_task_held(w.r));
    }
}

TEST(unknown_commands_and_commands_behind_the_last_are_refused_without_a_trace)
{
    AUTO_WORLD w;
    world_start(&w, NULL);
    CHECK_EQ(world_poll(&w, false), 0);
    (void)world_history(&w);
    world_timer(&w, "t", SECOND)->start_to_fire_timeout->nanos = 0;
    w.commands[0]->command_type = 99;
    CHECK_EQ(world_answer(&w), -CODE_INVALID);
    world_complete_command(&w);
    (void)world_timer(&w, "t", SECOND);
    CHECK_EQ(world_answer(&w), -CODE_INVALID);
    CHECK_STR(world_history(&w), "");
    CHECK_EQ(world_answer(&w), 0);
}

TEST(what_is_too_large_ends_the_workflow)
{
    AUTO_WORLD w;
    world_start(&w, NULL);
    CHECK_EQ(world_poll(&w, false), 0);
    (void)world_history(&w);
    char *large = xcalloc(1, RUN_BLOB_BYTES_MAX + 1);
    memset(large, '1', RUN_BLOB_BYTES_MAX);
    world_activity(&w, "a")->input = temporal_payloads_new(str_of(large));
    free(large);
    CHECK_EQ(world_answer(&w), -CODE_INVALID);
    CHECK_STR(world_history(&w), "4 WorkflowTaskFailed / 5 WorkflowExecutionTerminated");
}

TEST(a_memo_and_attributes_are_merged_and_what_is_empty_goes)
{
    AUTO_WORLD w;
    world_start(&w, NULL);
    static const char *const values[] = { "1", "\"x\"", "" };
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(i ? world_signal(&w, "s", values[i]) : 0, 0);
        CHECK_EQ(world_poll(&w, false), 0);
        Tp__ModifyWorkflowPropertiesCommandAttributes *m =
            world_command(&w, COMMAND(MODIFY_WORKFLOW_PROPERTIES), 17)->modify_workflow_properties_command_attributes;
        m->upserted_memo = proto_new(&tp__memo__descriptor);
        Tp__Memo__FieldsEntry *entry = proto_new(&tp__memo__fields_entry__descriptor);
        proto_set_text(&entry->key, "k");
        entry->value = temporal_payload_new("json/plain", str_of(values[i]));
        proto_push(&m->upserted_memo->n_fields, &m->upserted_memo->fields, entry);
        Tp__UpsertWorkflowSearchAttributesCommandAttributes *u =
            world_command(&w, COMMAND(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES), 14)->upsert_workflow_search_attributes_command_attributes;
        u->search_attributes = proto_new(&tp__search_attributes__descriptor);
        Tp__SearchAttributes__IndexedFieldsEntry *field = proto_new(&tp__search_attributes__indexed_fields_entry__descriptor);
        proto_set_text(&field->key, "K");
        field->value = temporal_payload_new("json/plain", str_of(values[i]));
        proto_push(&u->search_attributes->n_indexed_fields, &u->search_attributes->indexed_fields, field);
        CHECK_EQ(world_answer(&w), 0);
        CHECK_EQ(w.r->s->memo->n_fields, i < 2);
        struct journal_index index;
        run_index(w.r, &index);
        CHECK_EQ(index.attribute_count, i < 2);
        if (i == 0)
            CHECK(index.attributes[0].type == JOURNAL_INT && index.attributes[0].integer == 1);
        if (i == 1)
            CHECK(index.attributes[0].type == JOURNAL_KEYWORD && str_is(index.attributes[0].text, "x"));
    }
}

TEST_MAIN()
