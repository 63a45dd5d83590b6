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

TEST_MAIN()
