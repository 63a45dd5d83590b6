/* Updates and queries: each stage, what the history says of it, and what it says when nothing came of it. */
#include "run_world.h"
#include "workflow/run_update.h"

#define STAGE(name) \
    TP__UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE__UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_##name

static int update(struct world *w, const char *id)
{
    Tp__UpdateRequest *q = proto_new(&tp__update_request__descriptor);
    q->meta = proto_new(&tp__update_meta__descriptor);
    proto_set_text(&q->meta->update_id, id);
    q->input = proto_new(&tp__update_input__descriptor);
    proto_set_text(&q->input->name, "u");
    refusal_done(&w->no);
    int r = run_update(w->r, &w->t, q, &w->no);
    proto_free(q);
    world_commit(w);
    return r;
}

/* Its stage; 100 and its outcome's failure text in w->text. < 0: refused. */
static int stage(struct world *w, const char *id)
{
    Tp__UpdateWorkflowExecutionLifecycleStage s = 0;
    const Tp__UpdateOutcome *outcome = NULL;
    refusal_done(&w->no);
    int r = run_update_stage(w->r, id, &s, &outcome, &w->no);
    w->text[0] = 0;
    if (r == 0 && outcome)
        (void)snprintf(w->text, sizeof w->text, "%s",
                       outcome->value_case == TP__UPDATE_OUTCOME__VALUE_FAILURE ? outcome->failure->message : "done");
    return r < 0 ? r : (int)s;
}

static void message(struct world *w, const char *id, const char *update_id, void *take_body)
{
    Tp__ProtocolMessage *m = proto_new(&tp__protocol_message__descriptor);
    proto_set_text(&m->id, id);
    proto_set_text(&m->protocol_instance_id, update_id);
    m->body = temporal_any_new(take_body);
    proto_free(take_body);
    proto_push(&w->q.n_messages, &w->q.messages, m);
}
static void commanded(struct world *w, const char *id)
{
    proto_set_text(&world_command(w, COMMAND(PROTOCOL_MESSAGE), 15)->protocol_message_command_attributes->message_id, id);
}
static void accept(struct world *w, const char *id)
{
    char name[64];
    Tp__UpdateAcceptance *a = proto_new(&tp__update_acceptance__descriptor);
    (void)snprintf(name, sizeof name, "%s/accept", id);
    proto_set_text(&a->accepted_request_message_id, "x");
    a->accepted_request_sequencing_event_id = 7;
    message(w, name, id, a);
    commanded(w, name);
}
static void respond(struct world *w, const char *id)
{
    char name[64];
    Tp__UpdateResponse *a = proto_new(&tp__update_response__descriptor);
    (void)snprintf(name, sizeof name, "%s/complete", id);
    a->meta = proto_new(&tp__update_meta__descriptor);
    proto_set_text(&a->meta->identity, "w");
    a->outcome = proto_new(&tp__update_outcome__descriptor);
    a->outcome->value_case = TP__UPDATE_OUTCOME__VALUE_SUCCESS;
    a->outcome->success = temporal_payloads_new(STR("1"));
    message(w, name, id, a);
    commanded(w, name);
}
static void reject(struct world *w, const char *id)
{
    char name[64];
    Tp__UpdateRejection *a = proto_new(&tp__update_rejection__descriptor);
    (void)snprintf(name, sizeof name, "%s/reject", id);
    a->failure = run_failure_server("no");
    message(w, name, id, a);
}
static int answer(struct world *w)
{
    refusal_done(&w->no);
    int r = world_answer(w);
    for (size_t i = 0; i < w->q.n_messages; i++)
        proto_free(w->q.messages[i]);
    free(w->q.messages);
    w->q.messages = NULL;
    w->q.n_messages = 0;
    return r;
}

/* One task is done: events 1 to 4, a timer at 5 that never fires here. */
static void idle(struct world *w)
{
    world_start(w, NULL);
    ASSERT(world_poll(w, false) == 0);
    (void)world_timer(w, "t", 100000 * SECOND);
    ASSERT(answer(w) == 0);
    (void)world_history(w);
}

TEST(an_update_is_admitted_sent_accepted_and_completed)
{
    AUTO_WORLD w;
    idle(&w);
    CHECK_EQ(update(&w, "u1"), 0);
    CHECK_STR(world_history(&w), "");
    CHECK_EQ(stage(&w, "u1"), STAGE(ADMITTED));
    CHECK_EQ(world_poll(&w, false), 0);
    CHECK_EQ(w.given.answer->n_messages, 1);
    CHECK_EQ(w.given.extra_count, 2);
    const Tp__ProtocolMessage *m = w.given.answer->messages[0];
    CHECK_STR(m->protocol_instance_id, "u1");
    CHECK_EQ(m->event_id, w.given.answer->started_event_id - 1);
    CHECK(temporal_any_is(m->body, &tp__update_request__descriptor));
    accept(&w, "u1");
    CHECK_EQ(answer(&w), 0);
    CHECK_STR(world_history(&w), "6 WorkflowTaskScheduled / 7 WorkflowTaskStarted / 8 WorkflowTaskCompleted / "
                                 "9 WorkflowExecutionUpdateAccepted");
    const Tp__WorkflowExecutionUpdateAcceptedEventAttributes *a =
        world_event(&w, 9)->workflow_execution_update_accepted_event_attributes;
    CHECK_STR(a->protocol_instance_id, "u1");
    CHECK_STR(a->accepted_request->input->name, "u");
    CHECK_EQ(stage(&w, "u1"), STAGE(ACCEPTED));
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_EQ(world_poll(&w, false), 0);
    CHECK_EQ(w.given.answer->n_messages, 0); /* the worker has it in its history */
    (void)world_history(&w);
    respond(&w, "u1");
    CHECK_EQ(answer(&w), 0);
    CHECK_STR(world_history(&w), "13 WorkflowTaskCompleted / 14 WorkflowExecutionUpdateCompleted");
    CHECK_EQ(world_event(&w, 14)->workflow_execution_update_completed_event_attributes->accepted_event_id, 9);
    CHECK_STR(world_event(&w, 14)->workflow_execution_update_completed_event_attributes->meta->update_id, "u1");
    CHECK_EQ(stage(&w, "u1"), STAGE(COMPLETED));
    CHECK_STR(w.text, "done");
    CHECK_EQ(run_update_completed_event(w.r, "u1"), 14);
    CHECK_EQ(update(&w, "u1"), 0); /* again: it is known */
    CHECK(!w.r->s->task);
}

TEST(a_rejection_leaves_no_trace)
{
    AUTO_WORLD w;
    idle(&w);
    CHECK_EQ(update(&w, "u1"), 0);
    CHECK_EQ(world_poll(&w, false), 0);
    reject(&w, "u1");
    CHECK_EQ(answer(&w), 0);
    CHECK_STR(world_history(&w), "");
    CHECK_EQ(w.completed.reset_history_event_id, 3);
    CHECK_EQ(run_next_event(w.r), 6);
    CHECK_EQ(stage(&w, "u1"), STAGE(COMPLETED));
    CHECK_STR(w.text, "no");
    CHECK(!w.r->s->task);
    CHECK_EQ(world_signal(&w, "s", "1"), 0); /* and the next task is an ordinary one */
    CHECK_STR(world_history(&w), "6 WorkflowExecutionSignaled / 7 WorkflowTaskScheduled");
}

TEST(what_the_worker_does_not_speak_of_is_rejected)
{
    AUTO_WORLD w;
    idle(&w);
    CHECK_EQ(update(&w, "u1"), 0);
    CHECK_EQ(world_poll(&w, false), 0);
    CHECK_EQ(answer(&w), 0);
    CHECK_STR(world_history(&w), "");
    CHECK_EQ(stage(&w, "u1"), STAGE(COMPLETED));
    CHECK(strstr(w.text, "wasn't processed by worker"));
}

TEST(a_rejection_beside_an_event_is_forgotten_by_workers_that_can)
{
    static const char *const histories[] = {
        "6 WorkflowTaskScheduled / 7 WorkflowTaskStarted / 8 WorkflowTaskCompleted / 9 WorkflowExecutionSignaled / "
        "10 WorkflowTaskScheduled",
        "6 WorkflowExecutionSignaled / 7 WorkflowTaskScheduled",
    };
    for (int can = 0; can < 2; can++) {
        AUTO_WORLD w;
        Tp__RespondWorkflowTaskCompletedRequest__Capabilities able;
        tp__respond_workflow_task_completed_request__capabilities__init(&able);
        able.discard_speculative_workflow_task_with_events = can;
        idle(&w);
        CHECK_EQ(update(&w, "u1"), 0);
        CHECK_EQ(world_poll(&w, false), 0);
        CHECK_EQ(world_signal(&w, "s", "1"), 0);
        CHECK_STR(world_history(&w), "");
        reject(&w, "u1");
        w.q.capabilities = &able;
        int r = answer(&w);
        w.q.capabilities = NULL;
        CHECK_EQ(r, 0);
        CHECK_STR(world_history(&w), histories[can]);
        CHECK_EQ(stage(&w, "u1"), STAGE(COMPLETED));
    }
}

TEST(a_task_that_nobody_has_is_written_when_something_happens)
{
    AUTO_WORLD w;
    idle(&w);
    CHECK_EQ(update(&w, "u1"), 0);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_STR(world_history(&w), "6 WorkflowExecutionSignaled / 7 WorkflowTaskScheduled");
    CHECK_EQ(world_poll(&w, false), 0);
    CHECK_EQ(w.given.answer->n_messages, 1);
    CHECK_EQ(w.given.answer->messages[0]->event_id, 7);
}

TEST(an_update_that_comes_while_a_worker_has_the_task_gets_the_next_one)
{
    AUTO_WORLD w;
    idle(&w);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_EQ(world_poll(&w, false), 0);
    (void)world_history(&w);
    CHECK_EQ(update(&w, "u1"), 0);
    CHECK_EQ(answer(&w), 0);
    CHECK_STR(world_history(&w), "9 WorkflowTaskCompleted");
    CHECK_EQ(stage(&w, "u1"), STAGE(ADMITTED));
    CHECK_EQ(world_poll(&w, false), 0);
    CHECK_EQ(w.given.answer->n_messages, 1);
    reject(&w, "u1");
    CHECK_EQ(answer(&w), 0);
    CHECK_STR(world_history(&w), "");
}

TEST(an_update_that_waits_keeps_the_run_open)
{
    AUTO_WORLD w;
    idle(&w);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_EQ(world_poll(&w, false), 0);
    (void)world_history(&w);
    CHECK_EQ(update(&w, "u1"), 0);
    world_complete_command(&w);
    CHECK_EQ(answer(&w), -CODE_INVALID);
    CHECK_STR(world_history(&w), "9 WorkflowTaskFailed");
    CHECK_EQ(world_event(&w, 9)->workflow_task_failed_event_attributes->cause, CAUSE(UNHANDLED_COMMAND));
    CHECK_EQ(world_poll(&w, false), 0);
    CHECK_EQ(w.given.answer->n_messages, 1);
}

TEST(a_task_that_is_lost_sends_its_updates_again)
{
    AUTO_WORLD w;
    idle(&w);
    CHECK_EQ(update(&w, "u1"), 0);
    CHECK_EQ(world_poll(&w, false), 0);
    world_pass(&w, 11 * SECOND);
    CHECK_EQ(stage(&w, "u1"), STAGE(ADMITTED));
    CHECK_EQ(world_poll(&w, false), 0);
    CHECK_EQ(w.given.answer->n_messages, 1);
    accept(&w, "u1");
    respond(&w, "u1");
    CHECK_EQ(answer(&w), 0);
    CHECK_EQ(stage(&w, "u1"), STAGE(COMPLETED));
}

TEST(what_is_accepted_has_an_outcome_when_the_run_ends_and_what_is_not_has_none)
{
    AUTO_WORLD w;
    idle(&w);
    CHECK_EQ(update(&w, "u1"), 0);
    CHECK_EQ(update(&w, "u2"), 0);
    CHECK_EQ(world_poll(&w, false), 0);
    accept(&w, "u1");
    reject(&w, "u2");
    world_complete_command(&w);
    CHECK_EQ(answer(&w), 0);
    CHECK_EQ(stage(&w, "u1"), STAGE(COMPLETED));
    CHECK(strstr(w.text, "Workflow completed before the Update completed"));
    CHECK_EQ(stage(&w, "u2"), STAGE(COMPLETED));
    CHECK_STR(w.text, "no");
    CHECK_EQ(update(&w, "u3"), -CODE_NOT_FOUND);
    CHECK_EQ(stage(&w, "u3"), -CODE_NOT_FOUND);
    CHECK_STR(w.no.text, "workflow execution already completed");
}

TEST(what_was_only_admitted_is_not_there_after_the_end)
{
    AUTO_WORLD w;
    idle(&w);
    CHECK_EQ(update(&w, "u1"), 0);
    CHECK_EQ(run_terminate(w.r, &w.t, "x", NULL, "me", &w.no), 0);
    world_commit(&w);
    CHECK_EQ(stage(&w, "u1"), -CODE_NOT_FOUND);
    CHECK_STR(w.no.text, "workflow execution already completed");
}

TEST(bad_messages_fail_the_task)
{
    static const struct {
        const char *accept, *respond, *command;
    } rows[] = {
        { "unknown", NULL, NULL },
        { NULL, "u1", NULL }, /* not accepted */
        { NULL, NULL, "absent" },
        { NULL, NULL, "" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO_WORLD w;
        idle(&w);
        CHECK_EQ(update(&w, "u1"), 0);
        CHECK_EQ(world_poll(&w, false), 0);
        if (rows[i].accept)
            accept(&w, rows[i].accept);
        if (rows[i].respond)
            respond(&w, rows[i].respond);
        if (rows[i].command)
            commanded(&w, rows[i].command);
        CHECK_EQ(answer(&w), -CODE_INVALID);
        CHECK_EQ(world_event(&w, 8)->workflow_task_failed_event_attributes->cause,
                 CAUSE(BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE));
        CHECK_EQ(stage(&w, "u1"), STAGE(ADMITTED));
    }
}

TEST(no_more_updates_than_the_limits_say)
{
    AUTO_WORLD w;
    char id[16];
    idle(&w);
    for (int i = 0; i < 10; i++) {
        (void)snprintf(id, sizeof id, "u%d", i);
        CHECK_EQ(update(&w, id), 0);
    }
    CHECK_EQ(update(&w, "one more"), -CODE_EXHAUSTED);
    CHECK_STR(w.no.detail_type, "temporal.api.errordetails.v1.ResourceExhaustedFailure");
    CHECK_EQ(update(&w, "u3"), 0);
    w.r->s->update_count = 2000;
    CHECK_EQ(world_poll(&w, false), 0);
    CHECK_EQ(w.given.answer->n_messages, 10);
    CHECK_EQ(answer(&w), 0);
    CHECK_EQ(update(&w, "too late"), -CODE_PRECONDITION);
    for (int i = 0; i < 10; i++) {
        (void)snprintf(id, sizeof id, "u%d", i);
        CHECK_EQ(stage(&w, id), STAGE(COMPLETED));
    }
}

TEST(a_workflow_whose_task_fails_is_not_ready_for_updates_and_queries)
{
    AUTO_WORLD w;
    idle(&w);
    CHECK_EQ(run_query_way(w.r, 0, &w.no), RUN_QUERY_DIRECT);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_EQ(run_query_way(w.r, 0, &w.no), RUN_QUERY_WITH_TASK);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(world_poll(&w, false), 0);
        CHECK_EQ(world_fail_task(&w), 0);
    }
    CHECK_EQ(run_query_way(w.r, 0, &w.no), RUN_QUERY_NOT_READY);
    CHECK_STR(w.no.detail_type, "temporal.api.errordetails.v1.WorkflowNotReadyFailure");
    CHECK_EQ(update(&w, "u1"), -CODE_PRECONDITION);
    CHECK_STR(w.no.detail_type, "temporal.api.errordetails.v1.WorkflowNotReadyFailure");
}

TEST(queries_are_answered_directly_with_a_task_or_not)
{
    AUTO_WORLD w;
    world_start(&w, NULL);
    CHECK_EQ(run_query_way(w.r, 0, &w.no), RUN_QUERY_EARLY);
    CHECK_EQ(world_poll(&w, false), 0);
    world_complete_command(&w);
    CHECK_EQ(answer(&w), 0);
    refusal_done(&w.no);
    CHECK_EQ(run_query_way(w.r, TP__QUERY_REJECT_CONDITION__QUERY_REJECT_CONDITION_NONE, &w.no), RUN_QUERY_DIRECT);
    CHECK_EQ(run_query_way(w.r, TP__QUERY_REJECT_CONDITION__QUERY_REJECT_CONDITION_NOT_OPEN, &w.no), RUN_QUERY_REJECTED);
    CHECK_EQ(run_query_way(w.r, TP__QUERY_REJECT_CONDITION__QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY, &w.no),
             RUN_QUERY_DIRECT);
    struct run_task_given given;
    run_query_given(w.r, false, &given);
    int64_t from = given.from, to = given.to, previous = given.answer->previous_started_event_id;
    run_task_given_done(&given);
    CHECK_EQ(from, 1);
    CHECK_EQ(to, 6);
    CHECK_EQ(previous, 3);
    run_query_given(w.r, true, &given);
    from = given.from;
    to = given.to;
    run_task_given_done(&given);
    CHECK_EQ(from, to);
}

TEST_MAIN()
