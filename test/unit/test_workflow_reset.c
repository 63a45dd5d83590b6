/* A parent that is reset hears of its child's end, whenever that was. */
#include "service_world.h"

#define TYPE(name) TP__EVENT_TYPE__EVENT_TYPE_##name

static Tp__Command *child_command(void)
{
    Tp__Command *c = proto_new(&tp__command__descriptor);
    c->command_type = TP__COMMAND_TYPE__COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION;
    c->attributes_case = TP__COMMAND__ATTRIBUTES_START_CHILD_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
    Tp__StartChildWorkflowExecutionCommandAttributes *a = c->start_child_workflow_execution_command_attributes =
        proto_new(&tp__start_child_workflow_execution_command_attributes__descriptor);
    proto_set_text(&a->workflow_id, "kid");
    a->workflow_type = proto_new(&tp__workflow_type__descriptor);
    proto_set_text(&a->workflow_type->name, "hello");
    a->parent_close_policy = TP__PARENT_CLOSE_POLICY__PARENT_CLOSE_POLICY_ABANDON;
    return c;
}

/* A task's answer: no commands, or the workflow's end with a result, or with a failure. */
static bool answer(struct world *w, const Tp__PollWorkflowTaskQueueResponse *task, const char *result, const char *failure)
{
    struct call r;
    Tp__RespondWorkflowTaskCompletedRequest *q = proto_new(&tp__respond_workflow_task_completed_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->identity, "worker");
    proto_set_bytes(&q->task_token, proto_bytes(&task->task_token));
    Tp__Command *c = result || failure ? proto_new(&tp__command__descriptor) : NULL;
    if (result) {
        c->command_type = TP__COMMAND_TYPE__COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION;
        c->attributes_case = TP__COMMAND__ATTRIBUTES_COMPLETE_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
        c->complete_workflow_execution_command_attributes =
            proto_new(&tp__complete_workflow_execution_command_attributes__descriptor);
        c->complete_workflow_execution_command_attributes->result = payload(result);
    } else if (failure) {
        c->command_type = TP__COMMAND_TYPE__COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION;
        c->attributes_case = TP__COMMAND__ATTRIBUTES_FAIL_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
        c->fail_workflow_execution_command_attributes = proto_new(&tp__fail_workflow_execution_command_attributes__descriptor);
        c->fail_workflow_execution_command_attributes->failure = proto_new(&tp__failure__descriptor);
        proto_set_text(&c->fail_workflow_execution_command_attributes->failure->message, failure);
    }
    if (c)
        proto_push(&q->n_commands, &q->commands, c);
    ask(w, &r, "RespondWorkflowTaskCompleted", q, &tp__respond_workflow_task_completed_response__descriptor, 10);
    proto_free(q);
    bool fine = wait_for(w, &r) && r.answer;
    call_done(&r);
    return fine;
}

static const Tp__PollWorkflowTaskQueueResponse *polled(struct world *w, struct call *p)
{
    poll_task(w, p);
    if (!wait_for(w, p) || !p->answer)
        return NULL;
    const Tp__PollWorkflowTaskQueueResponse *task = (const void *)p->answer;
    return task->task_token.len ? task : NULL;
}

/* A minute in which nobody wants anything: all that was on its way has come. */
static bool quiet(struct world *w)
{
    struct call p;
    bool none = !polled(w, &p);
    call_done(&p);
    return none;
}

/* What was on its way among the runs has come; no task has run out of its time. */
static bool loop_rests(struct world *w)
{
    struct call s;
    bool fine = true;
    for (int i = 0; i < 20 && fine; i++) {
        char id[16];
        snprintf(id, sizeof(id), "other-%d", i);
        closing(w, &s, id, NULL); /* refused, after a commit's time */
        fine = wait_for(w, &s) && s.no.code == CODE_NOT_FOUND;
        call_done(&s);
    }
    return fine;
}

static bool reset(struct world *w, const char *run, int64_t finish, char ret_run[UUID_TEXT])
{
    struct call r;
    Tp__ResetWorkflowExecutionRequest q;
    tp__reset_workflow_execution_request__init(&q);
    Tp__WorkflowExecution x;
    tp__workflow_execution__init(&x);
    char ns[] = "default", id[] = "one", own[UUID_TEXT];
    snprintf(own, sizeof(own), "%s", run);
    x.workflow_id = id;
    x.run_id = own;
    q.namespace_ = ns;
    q.workflow_execution = &x;
    q.workflow_task_finish_event_id = finish;
    ask(w, &r, "ResetWorkflowExecution", &q, &tp__reset_workflow_execution_response__descriptor, 10);
    bool fine = wait_for(w, &r) && r.answer;
    if (fine)
        snprintf(ret_run, UUID_TEXT, "%s", ((const Tp__ResetWorkflowExecutionResponse *)(const void *)r.answer)->run_id);
    call_done(&r);
    return fine;
}

struct family { /* a parent whose second task has begun (event 8), and its child, whose first has; both are polled */
    struct world w;
    struct call one, kid;
    char run[UUID_TEXT]; /* the parent's first */
};
#define TASK(call) ((const Tp__PollWorkflowTaskQueueResponse *)(const void *)(call).answer)

static bool family_begin(struct family *f)
{
    struct call r = { 0 }, p;
    world_begin(&f->w);
    f->one = f->kid = (struct call){ 0 };
    Tp__Command *commands[] = { child_command() };
    bool fine = world_start(&f->w) && answered(&f->w, &r, commands, 1);
    call_done(&r);
    for (int i = 0; i < 2 && fine; i++) {
        const Tp__PollWorkflowTaskQueueResponse *task = polled(&f->w, &p);
        fine = task != NULL;
        if (!fine || !strcmp(task->workflow_execution->workflow_id, "kid"))
            f->kid = p;
        else
            f->one = p;
    }
    if (!fine || !f->one.answer || !f->kid.answer)
        return false;
    snprintf(f->run, sizeof(f->run), "%s", TASK(f->one)->workflow_execution->run_id);
    return true;
}

static void family_done(struct family *f)
{
    call_done(&f->one);
    call_done(&f->kid);
    world_done(&f->w);
}

/* What run `run` of the parent has heard of the child's end: within its first tasks. */
static bool heard(struct world *w, const char *run, Tp__EventType type, const char *text)
{
    bool found = false, fine = true;
    for (int i = 0; i < 3 && fine && !found; i++) {
        struct call p;
        const Tp__PollWorkflowTaskQueueResponse *task = polled(w, &p);
        fine = task && !strcmp(task->workflow_execution->run_id, run);
        for (size_t k = 0; fine && k < task->history->n_events; k++) {
            const Tp__HistoryEvent *e = task->history->events[k];
            if (e->event_type != type)
                continue;
            found = type == TYPE(CHILD_WORKFLOW_EXECUTION_COMPLETED)
                        ? str_is(proto_bytes(&e->child_workflow_execution_completed_event_attributes->result->payloads[0]->data), text)
                        : !strcmp(e->child_workflow_execution_failed_event_attributes->failure->message, text);
        }
        fine = fine && answer(w, task, NULL, NULL);
        call_done(&p);
    }
    return fine && found;
}

TEST(a_child_that_ended_behind_its_closed_parent_is_asked_for_when_the_parent_is_reset)
{
    static const char *const failures[] = { NULL, "boom" };
    for (size_t i = 0; i < COUNT_OF(failures); i++) {
        struct family f;
        char run[UUID_TEXT];
        bool fine = family_begin(&f) && answer(&f.w, TASK(f.one), "\"done\"", NULL);
        fine = fine && answer(&f.w, TASK(f.kid), failures[i] ? NULL : "\"seven\"", failures[i]) && quiet(&f.w);
        fine = fine && reset(&f.w, f.run, 8, run);
        bool told = fine && heard(&f.w, run, failures[i] ? TYPE(CHILD_WORKFLOW_EXECUTION_FAILED) : TYPE(CHILD_WORKFLOW_EXECUTION_COMPLETED),
                                  failures[i] ? failures[i] : "\"seven\"");
        bool once = told && quiet(&f.w);
        family_done(&f);
        CHECK(fine);
        CHECK(told);
        CHECK(once);
    }
}

TEST(a_child_whose_id_is_another_run_by_now_is_asked_for_by_its_own_run)
{
    struct family f;
    struct call s, p;
    char run[UUID_TEXT];
    bool fine = family_begin(&f) && answer(&f.w, TASK(f.one), "\"done\"", NULL);
    fine = fine && answer(&f.w, TASK(f.kid), "\"seven\"", NULL) && quiet(&f.w);
    start(&f.w, &s, "kid", "another");
    fine = fine && wait_for(&f.w, &s) && s.answer && polled(&f.w, &p);
    fine = fine && reset(&f.w, f.run, 8, run);
    bool told = fine && heard(&f.w, run, TYPE(CHILD_WORKFLOW_EXECUTION_COMPLETED), "\"seven\"");
    if (s.answer)
        call_done(&p);
    call_done(&s);
    family_done(&f);
    CHECK(fine);
    CHECK(told);
}

TEST(a_child_that_ended_while_a_reset_before_its_start_was_current_is_known_to_the_next)
{
    struct family f;
    char run[UUID_TEXT], later[UUID_TEXT];
    struct call p;
    bool fine = family_begin(&f) && reset(&f.w, f.run, 4, run);
    const Tp__PollWorkflowTaskQueueResponse *task = fine ? polled(&f.w, &p) : NULL;
    fine = task && answer(&f.w, task, NULL, NULL); /* it goes another way, and starts no child */
    fine = fine && answer(&f.w, TASK(f.kid), "\"seven\"", NULL) && quiet(&f.w);
    fine = fine && reset(&f.w, f.run, 8, later);
    bool told = fine && heard(&f.w, later, TYPE(CHILD_WORKFLOW_EXECUTION_COMPLETED), "\"seven\"");
    if (task)
        call_done(&p);
    family_done(&f);
    CHECK(fine);
    CHECK(told);
}

TEST(a_child_that_goes_on_over_two_resets_tells_the_run_that_is_current)
{
    struct family f;
    char first[UUID_TEXT], second[UUID_TEXT];
    bool fine = family_begin(&f) && reset(&f.w, f.run, 8, first) && reset(&f.w, f.run, 8, second);
    struct call p = { 0 };
    const Tp__PollWorkflowTaskQueueResponse *task = fine ? polled(&f.w, &p) : NULL;
    fine = task && answer(&f.w, task, NULL, NULL) && loop_rests(&f.w);
    call_done(&p);
    fine = fine && answer(&f.w, TASK(f.kid), "\"seven\"", NULL);
    bool told = fine && heard(&f.w, second, TYPE(CHILD_WORKFLOW_EXECUTION_COMPLETED), "\"seven\"");
    family_done(&f);
    CHECK(fine);
    CHECK(told);
}

TEST_MAIN()
