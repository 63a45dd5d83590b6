/* Children, signals and cancellations to others: from the command to the event that says what became of it. */
#include "run_world.h"

#define POLICY(name) TP__PARENT_CLOSE_POLICY__PARENT_CLOSE_POLICY_##name

static const struct uuid child_run = { { 7, 7, 7 } };
#define CHILD_RUN "07070700-0000-0000-0000-000000000000"

static Tp__StartChildWorkflowExecutionCommandAttributes *child_command(struct world *w, const char *id,
                                                                       Tp__ParentClosePolicy policy)
{
    Tp__StartChildWorkflowExecutionCommandAttributes *a =
        world_command(w, COMMAND(START_CHILD_WORKFLOW_EXECUTION), 12)->start_child_workflow_execution_command_attributes;
    proto_set_text(&a->workflow_id, id);
    a->workflow_type = proto_new(&tp__workflow_type__descriptor);
    proto_set_text(&a->workflow_type->name, "C");
    a->parent_close_policy = policy;
    a->input = temporal_payloads_new(STR("1"));
    return a;
}

static Tp__SignalExternalWorkflowExecutionCommandAttributes *signal_command(struct world *w, const char *id)
{
    Tp__SignalExternalWorkflowExecutionCommandAttributes *a =
        world_command(w, COMMAND(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION), 13)
            ->signal_external_workflow_execution_command_attributes;
    a->execution = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&a->execution->workflow_id, id);
    proto_set_text(&a->signal_name, "s");
    return a;
}

static Tp__RequestCancelExternalWorkflowExecutionCommandAttributes *cancel_command(struct world *w, const char *id)
{
    Tp__RequestCancelExternalWorkflowExecutionCommandAttributes *a =
        world_command(w, COMMAND(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION), 9)
            ->request_cancel_external_workflow_execution_command_attributes;
    proto_set_text(&a->workflow_id, id);
    return a;
}

static void done(struct world *w, enum run_errand_type type, int64_t id, const struct uuid *child,
                 const struct refusal *no)
{
    run_errand_done(w->r, &w->t, type, id, child, no);
    world_commit(w);
}

static void refused(struct world *w, enum run_errand_type type, int64_t id, enum code code, const char *detail)
{
    struct refusal no = { .code = code, .detail_type = detail };
    done(w, type, id, NULL, &no);
}

static void ended(struct world *w, int64_t id, Tp__WorkflowExecutionStatus status)
{
    Tp__Failure *f = run_failure_server("boom");
    struct run_close close = { .status = status };
    if (status == STATUS(FAILED))
        close.failure = f;
    run_child_closed(w->r, &w->t, id, &child_run, &close);
    world_commit(w);
    proto_free(f);
}

/* "type id" of every errand there is. */
static const char *errands(struct world *w)
{
    static const char *const names[] = { "start", "signal", "cancel", "tell", "begin", "terminate", "close-cancel", "ask" };
    struct run_errand e;
    size_t at = 0;
    w->text[0] = 0;
    for (size_t n = 0; run_wants_errand(w->r, n, &e); n++)
        at += (size_t)snprintf(w->text + at, sizeof w->text - at, "%s%s %lld", n ? ", " : "", names[e.type], (long long)e.id);
    return w->text;
}

/* The first task is taken and answered with the commands of `add`; event 5 is the first of them. */
static void begin(struct world *w, void (*add)(struct world *w))
{
    world_start(w, NULL);
    ASSERT(world_poll(w, false) == 0);
    add(w);
    ASSERT(world_answer(w) == 0);
    (void)world_history(w);
}

static void one(struct world *w) { (void)child_command(w, "c", POLICY(UNSPECIFIED)); }

TEST(a_child_begins_only_when_its_parent_has_written_down_its_start)
{
    AUTO_WORLD w;
    struct run_errand e;
    begin(&w, one);
    CHECK_STR(errands(&w), "start 5");
    CHECK(run_wants_errand(w.r, 0, &e));
    CHECK_STR(e.ns, "default");
    CHECK_STR(e.root->workflow_id, "wf");
    const Tp__StartChildWorkflowExecutionInitiatedEventAttributes *i = e.attributes;
    CHECK_STR(i->workflow_id, "c");
    CHECK_STR(i->task_queue->name, "q");
    CHECK_EQ(i->parent_close_policy, POLICY(TERMINATE));
    CHECK_EQ(i->workflow_task_timeout->seconds, 10);
    CHECK_EQ(i->workflow_id_reuse_policy, 1);
    CHECK(i->input && run_standing(w.r).ready);
    done(&w, RUN_ERRAND_START_CHILD, 5, &child_run, NULL);
    CHECK_STR(world_history(&w), "6 ChildWorkflowExecutionStarted / 7 WorkflowTaskScheduled");
    CHECK_STR(world_event(&w, 6)->child_workflow_execution_started_event_attributes->workflow_execution->run_id, CHILD_RUN);
    CHECK_STR(errands(&w), "begin 5");
    CHECK(run_wants_errand(w.r, 0, &e));
    CHECK_STR(e.target->run_id, CHILD_RUN);
    done(&w, RUN_ERRAND_START_CHILD, 5, &child_run, NULL); /* again: known */
    CHECK_STR(errands(&w), "begin 5");
    done(&w, RUN_ERRAND_CHILD_SCHEDULE, 5, NULL, NULL);
    CHECK_STR(errands(&w), "");
    CHECK(!run_standing(w.r).ready || w.r->s->task);
    CHECK_STR(world_history(&w), "");
}

static const struct {
    Tp__WorkflowExecutionStatus status;
    const char *history;
} ends[] = {
    { STATUS(COMPLETED), "8 ChildWorkflowExecutionCompleted" },
    { STATUS(FAILED), "8 ChildWorkflowExecutionFailed" },
    { STATUS(CANCELED), "8 ChildWorkflowExecutionCanceled" },
    { STATUS(TIMED_OUT), "8 ChildWorkflowExecutionTimedOut" },
    { STATUS(TERMINATED), "8 ChildWorkflowExecutionTerminated" },
};

TEST(each_way_to_end_of_a_child_has_its_event)
{
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        AUTO_WORLD w;
        begin(&w, one);
        done(&w, RUN_ERRAND_START_CHILD, 5, &child_run, NULL);
        (void)world_history(&w);
        ended(&w, 5, ends[i].status);
        CHECK_STR(world_history(&w), ends[i].history);
        CHECK_EQ(w.r->s->n_children, 0);
        ended(&w, 5, ends[i].status); /* told twice */
        CHECK_STR(world_history(&w), "");
        if (ends[i].status == STATUS(FAILED)) {
            const Tp__ChildWorkflowExecutionFailedEventAttributes *a =
                world_event(&w, 8)->child_workflow_execution_failed_event_attributes;
            CHECK_STR(a->failure->message, "boom");
            CHECK_EQ(a->initiated_event_id, 5);
            CHECK_EQ(a->started_event_id, 6);
            CHECK_STR(a->workflow_type->name, "C");
        }
    }
}

TEST(a_child_that_goes_on_in_another_run_has_not_ended)
{
    AUTO_WORLD w;
    begin(&w, one);
    done(&w, RUN_ERRAND_START_CHILD, 5, &child_run, NULL);
    (void)world_history(&w);
    struct run_close close = { .status = STATUS(FAILED), .next_run = { { 9 } } };
    run_child_closed(w.r, &w.t, 5, &child_run, &close);
    world_commit(&w);
    CHECK_STR(world_history(&w), "");
    CHECK_EQ(w.r->s->n_children, 1);
}

TEST(a_child_that_ended_before_its_start_was_known_is_both)
{
    AUTO_WORLD w;
    begin(&w, one);
    ended(&w, 5, STATUS(TERMINATED));
    CHECK_STR(world_history(&w),
              "6 ChildWorkflowExecutionStarted / 7 ChildWorkflowExecutionTerminated / 8 WorkflowTaskScheduled");
    CHECK_EQ(world_event(&w, 7)->child_workflow_execution_terminated_event_attributes->started_event_id, 6);
    done(&w, RUN_ERRAND_START_CHILD, 5, &child_run, NULL);
    CHECK_STR(world_history(&w), "");
}

TEST(after_a_reset_a_child_that_has_begun_is_asked_for_until_somebody_knows)
{
    AUTO_WORLD w;
    struct run_errand e;
    begin(&w, one);
    w.r->s->children[0]->ask = true; /* as run_reset() does */
    CHECK_STR(errands(&w), "start 5");
    done(&w, RUN_ERRAND_START_CHILD, 5, &child_run, NULL);
    CHECK_STR(errands(&w), "begin 5");
    done(&w, RUN_ERRAND_CHILD_SCHEDULE, 5, NULL, NULL);
    CHECK_STR(errands(&w), "ask 5");
    CHECK(run_wants_errand(w.r, 0, &e));
    CHECK_STR(e.target->run_id, CHILD_RUN);
    CHECK_STR(e.first_run_id, CHILD_RUN);
    CHECK(run_has_child(w.r, 5, CHILD_RUN));
    CHECK(!run_has_child(w.r, 5, "07070700-0000-0000-0000-000000000001") && !run_has_child(w.r, 6, CHILD_RUN));
    refused(&w, RUN_ERRAND_ASK_CHILD, 5, CODE_UNAVAILABLE, NULL);
    CHECK_STR(errands(&w), "ask 5");
    (void)world_history(&w);
    done(&w, RUN_ERRAND_ASK_CHILD, 5, NULL, NULL); /* it goes on */
    CHECK_STR(errands(&w), "");
    CHECK_EQ(w.r->s->n_children, 1);
    w.r->s->children[0]->ask = true;
    refused(&w, RUN_ERRAND_ASK_CHILD, 5, CODE_NOT_FOUND, NULL); /* over, and forgotten */
    CHECK_STR(world_history(&w), "8 ChildWorkflowExecutionTerminated");
    CHECK_EQ(w.r->s->n_children, 0);
    done(&w, RUN_ERRAND_ASK_CHILD, 5, NULL, NULL); /* again: known */
    CHECK_STR(errands(&w), "");
}

TEST(a_parent_that_is_over_asks_for_nobody)
{
    AUTO_WORLD w;
    begin(&w, one);
    done(&w, RUN_ERRAND_START_CHILD, 5, &child_run, NULL);
    w.r->s->children[0]->ask = true;
    w.r->s->children[0]->initiated->parent_close_policy = POLICY(ABANDON);
    ASSERT(run_terminate(w.r, &w.t, "enough", NULL, "me", &w.no) == 0);
    world_commit(&w);
    CHECK_STR(errands(&w), "begin 5");
    done(&w, RUN_ERRAND_CHILD_SCHEDULE, 5, NULL, NULL);
    CHECK_STR(errands(&w), "");
    CHECK_EQ(w.r->s->n_children, 0);
}

TEST(a_start_that_is_refused_says_why_and_one_that_passes_is_tried_again)
{
    AUTO_WORLD w;
    begin(&w, one);
    refused(&w, RUN_ERRAND_START_CHILD, 5, CODE_UNAVAILABLE, NULL);
    CHECK_STR(world_history(&w), "");
    CHECK_STR(errands(&w), "start 5");
    refused(&w, RUN_ERRAND_START_CHILD, 5, CODE_EXISTS, NULL);
    CHECK_STR(world_history(&w), "6 StartChildWorkflowExecutionFailed / 7 WorkflowTaskScheduled");
    CHECK_EQ(world_event(&w, 6)->start_child_workflow_execution_failed_event_attributes->cause, 1);
    CHECK_STR(errands(&w), "");
}

TEST(ends_of_children_that_wait_for_a_worker_come_behind_signals)
{
    AUTO_WORLD w;
    begin(&w, one);
    done(&w, RUN_ERRAND_START_CHILD, 5, &child_run, NULL);
    CHECK_EQ(world_poll(&w, false), 0);
    (void)world_history(&w);
    ended(&w, 5, STATUS(COMPLETED));
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_STR(world_history(&w), "");
    CHECK_EQ(world_answer(&w), 0);
    CHECK_STR(world_history(&w), "9 WorkflowTaskCompleted / 10 WorkflowExecutionSignaled / "
                                 "11 ChildWorkflowExecutionCompleted / 12 WorkflowTaskScheduled");
}

TEST(a_start_and_an_end_in_one_task_know_each_other)
{
    AUTO_WORLD w;
    begin(&w, one);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_EQ(world_poll(&w, false), 0);
    (void)world_history(&w);
    done(&w, RUN_ERRAND_START_CHILD, 5, &child_run, NULL);
    ended(&w, 5, STATUS(COMPLETED));
    CHECK_EQ(world_answer(&w), 0);
    CHECK_STR(world_history(&w), "9 WorkflowTaskCompleted / 10 ChildWorkflowExecutionStarted / "
                                 "11 ChildWorkflowExecutionCompleted / 12 WorkflowTaskScheduled");
    CHECK_EQ(world_event(&w, 11)->child_workflow_execution_completed_event_attributes->started_event_id, 10);
}

/* ---- the parent's end ---- */

static void three(struct world *w)
{
    (void)child_command(w, "t", POLICY(TERMINATE));
    (void)child_command(w, "a", POLICY(ABANDON));
    (void)child_command(w, "c", POLICY(REQUEST_CANCEL));
}

static void close_all(struct world *w)
{
    ASSERT(run_terminate(w->r, &w->t, "enough", NULL, "me", &w->no) == 0);
    world_commit(w);
}

TEST(each_child_of_an_ended_parent_gets_what_its_policy_says)
{
    AUTO_WORLD w;
    struct run_errand e;
    begin(&w, three);
    for (int64_t id = 5; id <= 7; id++) {
        done(&w, RUN_ERRAND_START_CHILD, id, &child_run, NULL);
        done(&w, RUN_ERRAND_CHILD_SCHEDULE, id, NULL, NULL);
    }
    close_all(&w);
    CHECK_STR(errands(&w), "terminate 5, close-cancel 7");
    CHECK(run_wants_errand(w.r, 0, &e));
    CHECK_STR(e.first_run_id, CHILD_RUN);
    CHECK(e.child_only);
    CHECK_STR(e.target->workflow_id, "t");
    done(&w, RUN_ERRAND_CLOSE_TERMINATE, 5, NULL, NULL);
    CHECK_STR(errands(&w), "close-cancel 7");
    refused(&w, RUN_ERRAND_CLOSE_CANCEL, 7, CODE_NOT_FOUND, NULL);
    CHECK_STR(errands(&w), "");
}

TEST(children_that_were_not_seen_to_start_end_with_their_parent_unless_abandoned)
{
    AUTO_WORLD w;
    begin(&w, three);
    close_all(&w);
    CHECK_STR(errands(&w), "start 6, terminate 5, terminate 7");
    done(&w, RUN_ERRAND_START_CHILD, 6, &child_run, NULL);
    CHECK_STR(errands(&w), "begin 6, terminate 5, terminate 7");
    done(&w, RUN_ERRAND_CHILD_SCHEDULE, 6, NULL, NULL);
    CHECK_STR(errands(&w), "terminate 5, terminate 7");
    CHECK_EQ(w.r->s->n_children, 0);
}

static void of_parent(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    static Tp__WorkflowExecution parent;
    static char id[] = "p", run[] = CHILD_RUN;
    (void)q;
    tp__workflow_execution__init(&parent);
    parent.workflow_id = id;
    parent.run_id = run;
    st->parent_ns = "default";
    st->parent = &parent;
    st->root = &parent;
    st->parent_initiated_id = 5;
}

TEST(a_child_waits_for_its_parents_word_and_tells_it_of_its_end)
{
    AUTO_WORLD w;
    struct run_errand e;
    world_start(&w, of_parent);
    CHECK_STR(world_history(&w), "1 WorkflowExecutionStarted");
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    CHECK_STR(world_history(&w), "2 WorkflowExecutionSignaled");
    run_child_may_begin(w.r, &w.t);
    world_commit(&w);
    CHECK_STR(world_history(&w), "3 WorkflowTaskScheduled");
    run_child_may_begin(w.r, &w.t);
    CHECK_EQ(world_poll(&w, false), 0);
    world_fail_command(&w, "sorry");
    CHECK_EQ(world_answer(&w), 0);
    CHECK_STR(errands(&w), "tell 5");
    CHECK(run_wants_errand(w.r, 0, &e));
    CHECK_STR(e.target->workflow_id, "p");
    CHECK_EQ(e.close.status, STATUS(FAILED));
    CHECK_STR(e.close.failure->message, "sorry");
    CHECK_EQ(e.close.retry_state, RETRY(RETRY_POLICY_NOT_SET));
    CHECK_EQ(run_standing(w.r).due_ms, JOURNAL_NEVER); /* not forgotten before it was told */
    done(&w, RUN_ERRAND_TELL_PARENT, 5, NULL, NULL);
    CHECK_STR(errands(&w), "");
    CHECK(run_standing(w.r).due_ms != JOURNAL_NEVER);
}

/* ---- commands that are refused ---- */

static void bad_id(struct world *w) { (void)child_command(w, "", POLICY(TERMINATE)); }
static void bad_type(struct world *w) { proto_set_text(&child_command(w, "c", POLICY(TERMINATE))->workflow_type->name, ""); }
static void bad_time(struct world *w)
{
    child_command(w, "c", POLICY(TERMINATE))->workflow_run_timeout = temporal_duration_new(-SECOND);
}
static void bad_retry(struct world *w)
{
    Tp__StartChildWorkflowExecutionCommandAttributes *a = child_command(w, "c", POLICY(TERMINATE));
    a->retry_policy = proto_new(&tp__retry_policy__descriptor);
    a->retry_policy->backoff_coefficient = 0.5;
}
static void bad_cron(struct world *w)
{
    proto_set_text(&child_command(w, "c", POLICY(TERMINATE))->cron_schedule, "every now and then");
}
static void bad_signal(struct world *w) { proto_set_text(&signal_command(w, "x")->signal_name, ""); }
static void bad_target(struct world *w) { (void)signal_command(w, ""); }
static void bad_run(struct world *w) { proto_set_text(&signal_command(w, "x")->execution->run_id, "no-uuid"); }
static void bad_cancel(struct world *w) { (void)cancel_command(w, ""); }
static void own_child(struct world *w)
{
    (void)child_command(w, "c", POLICY(TERMINATE));
    (void)cancel_command(w, "c");
}
static const struct {
    void (*add)(struct world *w);
    Tp__WorkflowTaskFailedCause cause;
} bad[] = {
    { bad_id, CAUSE(BAD_START_CHILD_EXECUTION_ATTRIBUTES) },
    { bad_type, CAUSE(BAD_START_CHILD_EXECUTION_ATTRIBUTES) },
    { bad_time, CAUSE(BAD_START_CHILD_EXECUTION_ATTRIBUTES) },
    { bad_retry, CAUSE(BAD_START_CHILD_EXECUTION_ATTRIBUTES) },
    { bad_cron, CAUSE(BAD_START_CHILD_EXECUTION_ATTRIBUTES) },
    { bad_signal, CAUSE(BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES) },
    { bad_target, CAUSE(BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES) },
    { bad_run, CAUSE(BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES) },
    { bad_cancel, CAUSE(BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES) },
    { own_child, CAUSE(BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES) },
};

TEST(commands_that_make_no_sense_fail_the_task_and_leave_nothing)
{
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        AUTO_WORLD w;
        world_start(&w, NULL);
        CHECK_EQ(world_poll(&w, false), 0);
        bad[i].add(&w);
        CHECK_EQ(world_answer(&w), -CODE_INVALID);
        CHECK_EQ(world_event(&w, 4)->event_type, EVENT(WORKFLOW_TASK_FAILED));
        if (world_event(&w, 4)->workflow_task_failed_event_attributes->cause != bad[i].cause)
            FAIL("row %zu: cause %d", i, (int)world_event(&w, 4)->workflow_task_failed_event_attributes->cause);
        CHECK_STR(errands(&w), "");
    }
}

/* ---- others ---- */

static void to_others(struct world *w)
{
    proto_set_text(&signal_command(w, "x")->control, "k");
    (void)cancel_command(w, "y");
}

TEST(signals_and_cancellations_say_what_became_of_them)
{
    AUTO_WORLD w;
    begin(&w, to_others);
    CHECK_STR(errands(&w), "signal 5, cancel 6");
    done(&w, RUN_ERRAND_SIGNAL, 5, NULL, NULL);
    CHECK_STR(world_history(&w), "7 ExternalWorkflowExecutionSignaled / 8 WorkflowTaskScheduled");
    CHECK_STR(world_event(&w, 7)->external_workflow_execution_signaled_event_attributes->control, "k");
    done(&w, RUN_ERRAND_SIGNAL, 5, NULL, NULL);
    done(&w, RUN_ERRAND_CANCEL, 6, NULL, NULL);
    CHECK_STR(world_history(&w), "9 ExternalWorkflowExecutionCancelRequested");
    CHECK_STR(errands(&w), "");
}

TEST(signals_and_cancellations_that_are_refused_have_a_cause)
{
    static const struct {
        enum code code;
        const char *detail;
        int signal, cancel;
    } rows[] = {
        { CODE_NOT_FOUND, NULL, 1, 1 },
        { CODE_NOT_FOUND, "temporal.api.errordetails.v1.NamespaceNotFoundFailure", 2, 2 },
        { CODE_INVALID, NULL, 3, 1 },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO_WORLD w;
        begin(&w, to_others);
        refused(&w, RUN_ERRAND_SIGNAL, 5, rows[i].code, rows[i].detail);
        refused(&w, RUN_ERRAND_CANCEL, 6, rows[i].code, rows[i].detail);
        CHECK_STR(world_history(&w), "7 SignalExternalWorkflowExecutionFailed / 8 WorkflowTaskScheduled / "
                                     "9 RequestCancelExternalWorkflowExecutionFailed");
        CHECK_EQ(world_event(&w, 7)->signal_external_workflow_execution_failed_event_attributes->cause, rows[i].signal);
        CHECK_EQ(world_event(&w, 9)->request_cancel_external_workflow_execution_failed_event_attributes->cause,
                 rows[i].cancel);
        CHECK_STR(errands(&w), "");
    }
}

TEST(what_was_sent_before_the_end_still_goes_out)
{
    AUTO_WORLD w;
    begin(&w, to_others);
    close_all(&w);
    (void)world_history(&w);
    CHECK_STR(errands(&w), "signal 5, cancel 6");
    done(&w, RUN_ERRAND_SIGNAL, 5, NULL, NULL);
    refused(&w, RUN_ERRAND_CANCEL, 6, CODE_NOT_FOUND, NULL);
    CHECK_STR(errands(&w), "");
    CHECK_STR(world_history(&w), "");
}

TEST_MAIN()
