/* Chains: a run that goes on in another, by its own wish, by retry, by the clock; and reset. */
#include "run_world.h"

#define INITIATOR(name) TP__CONTINUE_AS_NEW_INITIATOR__CONTINUE_AS_NEW_INITIATOR_##name

/* The first event of the run that was made; the caller's. */
static Tp__History *next_history(struct world *w)
{
    ProtobufCMessage *m;
    struct err e;
    ASSERT(w->next && w->next_turn.row_count >= 1 && w->next_turn.changed && w->next_turn.indexed);
    const struct durable_row *row = &w->next_turn.rows[w->next_turn.row_count - 1];
    ASSERT(proto_decode_new(&tp__history__descriptor, (struct str){ row->bytes, row->size }, MIB(64), &m, &e) == 0);
    return (Tp__History *)m;
}
static void history_auto(Tp__History **h) { proto_free(*h); }
#define AUTO_HISTORY __attribute__((cleanup(history_auto))) Tp__History

static void retried(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    (void)st;
    q->retry_policy = proto_new(&tp__retry_policy__descriptor);
    q->retry_policy->maximum_attempts = 2;
    q->input = temporal_payloads_new(STR("7"));
    q->workflow_execution_timeout = temporal_duration_new(100 * SECOND);
}

static void fail_first(struct world *w, void (*alter)(Tp__StartWorkflowExecutionRequest *q, struct run_start *st))
{
    world_start(w, alter);
    ASSERT(world_poll(w, false) == 0);
    world_fail_command(w, "sorry");
    ASSERT(world_answer(w) == 0);
    (void)world_history(w);
}

TEST(a_failed_run_is_tried_again_as_it_was_started)
{
    AUTO_WORLD w;
    fail_first(&w, retried);
    const Tp__WorkflowExecutionFailedEventAttributes *f = world_event(&w, 5)->workflow_execution_failed_event_attributes;
    CHECK_EQ(f->retry_state, RETRY(IN_PROGRESS));
    AUTO_HISTORY *h = next_history(&w);
    CHECK_EQ(h->n_events, 1); /* its first task waits for the back-off */
    const Tp__WorkflowExecutionStartedEventAttributes *a = h->events[0]->workflow_execution_started_event_attributes;
    CHECK_STR(a->continued_execution_run_id, w.r->s->run_id);
    CHECK_STR(a->first_execution_run_id, w.r->s->run_id);
    CHECK_STR(a->original_execution_run_id, f->new_execution_run_id);
    CHECK_STR(w.next->s->run_id, f->new_execution_run_id);
    CHECK_EQ(a->attempt, 2);
    CHECK_EQ(a->initiator, INITIATOR(RETRY));
    CHECK_STR(a->continued_failure->message, "sorry");
    CHECK_EQ(a->first_workflow_task_backoff->seconds, 1);
    CHECK(a->input);
    CHECK_EQ(temporal_time_ns(a->workflow_execution_expiration_time), w.r->s->execution_deadline_ns);
    CHECK_EQ(w.next->s->execution_deadline_ns, w.r->s->execution_deadline_ns);
    CHECK_EQ(run_standing(w.next).due_ms, (w.now_ns + SECOND) / 1000000);
}

static void last_attempt(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    retried(q, st);
    q->retry_policy->maximum_attempts = 1;
    proto_set_message(&q->workflow_execution_timeout, NULL);
    proto_set_text(&q->cron_schedule, "*/5 * * * *");
}

TEST(what_is_not_tried_again_comes_again_by_the_clock)
{
    AUTO_WORLD w;
    world_start(&w, last_attempt);
    CHECK_EQ(world_poll(&w, false), -CODE_NOT_FOUND); /* the first run, too, begins by the clock */
    CHECK_EQ(run_standing(w.r).due_ms % 300000, 0);
    CHECK(run_standing(w.r).due_ms > w.now_ns / 1000000);
    world_pass(&w, run_standing(w.r).due_ms * 1000000 - w.now_ns);
    CHECK_EQ(world_poll(&w, false), 0);
    world_fail_command(&w, "sorry");
    CHECK_EQ(world_answer(&w), 0);
    AUTO_HISTORY *h = next_history(&w);
    const Tp__WorkflowExecutionStartedEventAttributes *a = h->events[0]->workflow_execution_started_event_attributes;
    CHECK_EQ(a->initiator, INITIATOR(CRON_SCHEDULE));
    CHECK_EQ(a->attempt, 1);
    CHECK_STR(a->continued_failure->message, "sorry");
    int64_t next = w.now_ns / SECOND + a->first_workflow_task_backoff->seconds;
    CHECK(a->first_workflow_task_backoff->seconds > 0);
    CHECK_EQ(next % 300, 0);
}

static void once(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    (void)st;
    q->workflow_execution_timeout = temporal_duration_new(100 * SECOND);
}

TEST(a_run_out_of_time_is_not_tried_again_when_its_chain_is)
{
    AUTO_WORLD w;
    world_start(&w, once);
    world_pass(&w, 101 * SECOND);
    CHECK_EQ(run_status(w.r), STATUS(TIMED_OUT));
    CHECK(!w.next);
    CHECK_EQ(world_event(&w, (int64_t)w.event_count)->workflow_execution_timed_out_event_attributes->retry_state,
             RETRY(TIMEOUT));
}

static void timed(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    retried(q, st);
    q->workflow_run_timeout = temporal_duration_new(10 * SECOND);
}

TEST(a_run_out_of_time_is_tried_again_while_its_chain_is_not)
{
    AUTO_WORLD w;
    world_start(&w, timed);
    world_pass(&w, 10 * SECOND);
    CHECK_EQ(run_status(w.r), STATUS(TIMED_OUT));
    AUTO_HISTORY *h = next_history(&w);
    const Tp__WorkflowExecutionStartedEventAttributes *a = h->events[0]->workflow_execution_started_event_attributes;
    CHECK_EQ(a->continued_failure->failure_info_case, TP__FAILURE__FAILURE_INFO_TIMEOUT_FAILURE_INFO);
    CHECK_EQ(a->attempt, 2);
}

static void memoed(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    retried(q, st);
    q->memo = proto_new(&tp__memo__descriptor);
    Tp__Memo__FieldsEntry *entry = proto_new(&tp__memo__fields_entry__descriptor);
    proto_set_text(&entry->key, "k");
    entry->value = temporal_payload_new("json/plain", STR("1"));
    proto_push(&q->memo->n_fields, &q->memo->fields, entry);
}

TEST(a_run_continues_as_new_with_what_the_command_leaves_out)
{
    AUTO_WORLD w;
    world_start(&w, memoed);
    CHECK_EQ(world_poll(&w, false), 0);
    Tp__ContinueAsNewWorkflowExecutionCommandAttributes *c =
        world_command(&w, COMMAND(CONTINUE_AS_NEW_WORKFLOW_EXECUTION), 11)
            ->continue_as_new_workflow_execution_command_attributes;
    c->input = temporal_payloads_new(STR("2"));
    CHECK_EQ(world_answer(&w), 0);
    CHECK_STR(world_history(&w), "1 WorkflowExecutionStarted / 2 WorkflowTaskScheduled / 3 WorkflowTaskStarted / "
                                 "4 WorkflowTaskCompleted / 5 WorkflowExecutionContinuedAsNew");
    CHECK_EQ(run_status(w.r), STATUS(CONTINUED_AS_NEW));
    const Tp__WorkflowExecutionContinuedAsNewEventAttributes *n =
        world_event(&w, 5)->workflow_execution_continued_as_new_event_attributes;
    CHECK_STR(n->new_execution_run_id, w.next->s->run_id);
    CHECK_STR(n->workflow_type->name, "T");
    CHECK_STR(n->task_queue->name, "q");
    struct uuid next = run_next_run(w.r);
    CHECK(memcmp(&next, &w.completed.next_run, sizeof next) == 0);
    AUTO_HISTORY *h = next_history(&w);
    CHECK_EQ(h->n_events, 2);
    const Tp__WorkflowExecutionStartedEventAttributes *a = h->events[0]->workflow_execution_started_event_attributes;
    CHECK_EQ(a->initiator, INITIATOR(WORKFLOW));
    CHECK_EQ(a->attempt, 1);
    CHECK_STR(a->workflow_id, "wf");
    CHECK_EQ(a->memo->n_fields, 1);
    CHECK(!a->retry_policy);
    CHECK_EQ(w.next->s->execution_deadline_ns, w.r->s->execution_deadline_ns);
}

TEST(a_run_does_not_continue_in_another_time_zone)
{
    AUTO_WORLD w;
    world_start(&w, NULL);
    CHECK_EQ(world_poll(&w, false), 0);
    proto_set_text(&world_command(&w, COMMAND(CONTINUE_AS_NEW_WORKFLOW_EXECUTION), 11)
                        ->continue_as_new_workflow_execution_command_attributes->cron_schedule,
                   "CRON_TZ=Europe/Berlin 0 12 * * *");
    CHECK_EQ(world_answer(&w), -CODE_INVALID);
    CHECK(run_open(w.r));
    CHECK_EQ(world_event(&w, 4)->workflow_task_failed_event_attributes->cause, CAUSE(BAD_CONTINUE_AS_NEW_ATTRIBUTES));
}

TEST(a_run_with_something_unseen_does_not_continue)
{
    AUTO_WORLD w;
    world_start(&w, NULL);
    CHECK_EQ(world_poll(&w, false), 0);
    CHECK_EQ(world_signal(&w, "s", "1"), 0);
    (void)world_command(&w, COMMAND(CONTINUE_AS_NEW_WORKFLOW_EXECUTION), 11);
    CHECK_EQ(world_answer(&w), -CODE_INVALID);
    CHECK(!w.next && run_open(w.r));
    CHECK_EQ(world_event(&w, 4)->workflow_task_failed_event_attributes->cause, CAUSE(UNHANDLED_COMMAND));
}

/* ---- reset ---- */

static int reset(struct world *w, int64_t finish, Tp__ResetReapplyExcludeType exclude)
{
    Tp__ResetWorkflowExecutionRequest q;
    tp__reset_workflow_execution_request__init(&q);
    static char reason[] = "again", request[] = "reset-1";
    q.reason = reason;
    q.request_id = request;
    q.workflow_task_finish_event_id = finish;
    q.reset_reapply_exclude_types = &exclude;
    q.n_reset_reapply_exclude_types = exclude ? 1 : 0;
    struct uuid run = { { 3, 3 } };
    size_t cut = (size_t)MAX(finish - 1, 0);
    cut = MIN(cut, w->event_count);
    return run_reset(w->r, &w->t, w->events, cut, w->events + cut, w->event_count - cut, &q, &run, &w->t, &w->no);
}

/* What the new run's own turn wrote, behind the old history. */
static const char *reset_history(struct world *w)
{
    AUTO_HISTORY *h = next_history(w);
    size_t at = 0;
    for (size_t i = 0; i < h->n_events; i++)
        at += (size_t)snprintf(w->text + at, sizeof w->text - at, "%s%lld:%d", i ? " " : "",
                               (long long)h->events[i]->event_id, (int)h->events[i]->event_type);
    return w->text;
}

/* 5 activity, 6 timer; 7 signal, 8 to 10 a second task. */
static void two_tasks(struct world *w)
{
    world_start(w, NULL);
    ASSERT(world_poll(w, false) == 0);
    (void)world_activity(w, "a");
    (void)world_timer(w, "t", 50 * SECOND);
    ASSERT(world_answer(w) == 0);
    ASSERT(world_signal(w, "s", "1") == 0);
    ASSERT(world_poll(w, false) == 0);
    world_cancel_timer(w, "t");
    ASSERT(world_answer(w) == 0);
}

TEST(a_reset_run_has_the_history_and_what_was_pending_then)
{
    AUTO_WORLD w;
    two_tasks(&w);
    CHECK_EQ(w.r->s->n_timers, 0);
    CHECK_EQ(reset(&w, 10, 0), 0);
    CHECK_STR(reset_history(&w), "10:9 11:5");
    CHECK_EQ(w.next->s->n_activities, 1);
    CHECK_EQ(w.next->s->n_timers, 1);
    CHECK_STR(w.next->s->timers[0]->id, "t");
    CHECK_EQ(w.next->s->last_started_id, 3);
    CHECK(run_open(w.next) && w.next->s->task && w.next->s->task->scheduled_id == 11);
    CHECK_STR(w.next->s->first_run_id, w.r->s->run_id);
    CHECK(run_started_by(w.next, "reset-1"));
    struct uuid to = run_reset_to(w.r);
    CHECK_EQ(to.at[0], 3);
    AUTO_HISTORY *h = next_history(&w);
    const Tp__WorkflowTaskFailedEventAttributes *f = h->events[0]->workflow_task_failed_event_attributes;
    CHECK_EQ(f->cause, CAUSE(RESET_WORKFLOW));
    CHECK_STR(f->base_run_id, w.r->s->run_id);
    CHECK_STR(f->new_run_id, w.next->s->run_id);
    CHECK_STR(f->failure->message, "again");
}

TEST(what_came_after_a_reset_is_applied_again_unless_excluded)
{
    AUTO_WORLD w;
    two_tasks(&w);
    CHECK_EQ(reset(&w, 4, 0), 0);
    CHECK_STR(reset_history(&w), "4:9 5:26 6:5");
    CHECK_EQ(w.next->s->n_activities, 0);
    world_auto(&w);
    two_tasks(&w);
    CHECK_EQ(reset(&w, 4, TP__RESET_REAPPLY_EXCLUDE_TYPE__RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL), 0);
    CHECK_STR(reset_history(&w), "4:9 5:5");
}

static void with_signal(Tp__StartWorkflowExecutionRequest *q, struct run_start *st)
{
    proto_set_text(&q->request_id, "start-1");
    st->signal_name = "s";
}

TEST(a_signal_that_came_with_the_start_is_known_when_it_is_repeated_to_the_reset_run)
{
    AUTO_WORLD w;
    world_start(&w, with_signal);
    ASSERT(world_poll(&w, false) == 0);
    ASSERT(world_answer(&w) == 0);
    (void)world_history(&w);
    CHECK_EQ(reset(&w, 5, 0), 0);
    Tp__SignalWorkflowExecutionRequest q;
    struct refusal no = { 0 };
    tp__signal_workflow_execution_request__init(&q);
    char name[] = "s", id[] = "start-1";
    q.signal_name = name;
    q.request_id = id;
    int64_t next = run_next_event(w.next);
    CHECK_EQ(run_signal(w.next, &w.next_turn, &q, NULL, &no), 0);
    CHECK_EQ(run_next_event(w.next), next);
    CHECK_EQ(w.next->s->signal_count, 1);
}

TEST(a_reset_to_what_is_no_task_is_refused_and_leaves_nothing)
{
    static const int64_t bad[] = { 0, 1, 5, 6, 99 };
    AUTO_WORLD w;
    two_tasks(&w);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        refusal_done(&w.no);
        CHECK_EQ(reset(&w, bad[i], 0), -CODE_INVALID);
        CHECK(!w.next && !w.t.changed);
    }
}

TEST_MAIN()
