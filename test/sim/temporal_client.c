/* temporal_client.c -- clients: each wish is repeated, with its request id, until somebody says what came of it. */
#include "sim/temporal_world.h"

#include <stdio.h>
#include <stdlib.h>

enum { ASK_S = 10, ASKS_MAX = 40, RESETS_MAX = 3 };
typedef void told_fn(struct tw_call *c, const void *answer, enum code code);

static void wish_over(struct tw_wish *x)
{
    if (x->type == WISH_START)
        x->w->flows[x->flow].starting = false;
    proto_free(TAKE(x->request));
    x->type = WISH_NONE;
}

static Tp__WorkflowExecution *execution(const struct tw_wish *x)
{
    Tp__WorkflowExecution *e = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&e->workflow_id, x->id);
    proto_set_text(&e->run_id, x->run);
    return e;
}

/* ---- what is asked -------------------------------------------------------------------------- */

static void start_policies(struct tw *w, Tp__StartWorkflowExecutionRequest *q)
{
    uint64_t dice = rng_below(&w->rng, 100);
    if (dice < 10)
        q->workflow_id_conflict_policy = TP__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING;
    else if (dice < 20)
        q->workflow_id_conflict_policy = TP__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING;
    else if (dice < 25)
        q->workflow_id_reuse_policy = TP__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING;
    else if (dice < 35)
        q->workflow_id_reuse_policy = TP__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY;
    if (rng_chance(&w->rng, 20))
        q->workflow_run_timeout = temporal_duration_new((int64_t)(20 + rng_below(&w->rng, 200)) * 1000000000);
    if (rng_chance(&w->rng, 20)) {
        q->retry_policy = proto_new(&tp__retry_policy__descriptor);
        q->retry_policy->initial_interval = temporal_duration_new(INT64_C(2000000000));
        q->retry_policy->backoff_coefficient = 2;
        q->retry_policy->maximum_attempts = 3;
    }
    if (rng_chance(&w->rng, 10))
        proto_set_text(&q->cron_schedule, "* * * * *");
    else if (rng_chance(&w->rng, 10))
        q->workflow_start_delay = temporal_duration_new(INT64_C(5000000000));
    q->request_eager_execution = rng_chance(&w->rng, 10);
}

static Tp__StartWorkflowExecutionRequest *start_new(struct tw_wish *x, uint64_t number)
{
    struct tw *w = x->w;
    char text[32];
    Tp__StartWorkflowExecutionRequest *q = proto_new(&tp__start_workflow_execution_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->workflow_id, x->id);
    q->workflow_type = proto_new(&tp__workflow_type__descriptor);
    snprintf(text, sizeof text, "P%u.%u", (unsigned)rng_below(&w->rng, 10000), (unsigned)rng_below(&w->rng, 3));
    proto_set_text(&q->workflow_type->name, text);
    q->task_queue = proto_new(&tp__task_queue__descriptor);
    proto_set_text(&q->task_queue->name, "q");
    q->input = tw_number(number);
    snprintf(text, sizeof text, "start-%" PRIu64, number);
    proto_set_text(&q->request_id, text);
    start_policies(w, q);
    return q;
}

static void make_start(struct tw_wish *x)
{
    x->number = fact_new(x->w, F_START);
    x->w->flows[x->flow].starting = true;
    x->request = (ProtobufCMessage *)start_new(x, x->number);
}

static void make_signal(struct tw_wish *x)
{
    char text[32];
    Tp__SignalWorkflowExecutionRequest *q = proto_new(&tp__signal_workflow_execution_request__descriptor);
    x->number = fact_new(x->w, F_SIGNAL);
    snprintf(text, sizeof text, "signal-%" PRIu64, x->number);
    proto_set_text(&q->namespace_, "default");
    q->workflow_execution = execution(x);
    proto_set_text(&q->signal_name, "s");
    proto_set_text(&q->request_id, text);
    q->input = tw_number(x->number);
    x->request = (ProtobufCMessage *)q;
}

static void make_signal_start(struct tw_wish *x)
{
    Tp__SignalWithStartWorkflowExecutionRequest *q = proto_new(&tp__signal_with_start_workflow_execution_request__descriptor);
    uint64_t start = fact_new(x->w, F_START);
    Tp__StartWorkflowExecutionRequest *like = start_new(x, start);
    x->number = fact_new(x->w, F_SIGNAL);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->workflow_id, x->id);
    q->workflow_type = TAKE(like->workflow_type);
    q->task_queue = TAKE(like->task_queue);
    q->input = TAKE(like->input);
    proto_set_text(&q->request_id, like->request_id);
    proto_set_text(&q->signal_name, "s");
    q->signal_input = tw_number(x->number);
    proto_free(like);
    x->request = (ProtobufCMessage *)q;
}

static void make_cancel(struct tw_wish *x)
{
    Tp__RequestCancelWorkflowExecutionRequest *q = proto_new(&tp__request_cancel_workflow_execution_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    q->workflow_execution = execution(x);
    x->request = (ProtobufCMessage *)q;
}

static void make_terminate(struct tw_wish *x)
{
    char text[32];
    Tp__TerminateWorkflowExecutionRequest *q = proto_new(&tp__terminate_workflow_execution_request__descriptor);
    x->number = fact_new(x->w, F_TERMINATE);
    snprintf(text, sizeof text, "#%" PRIu64, x->number);
    proto_set_text(&q->namespace_, "default");
    q->workflow_execution = execution(x);
    proto_set_text(&q->reason, text);
    x->request = (ProtobufCMessage *)q;
}

static void make_query(struct tw_wish *x)
{
    Tp__QueryWorkflowRequest *q = proto_new(&tp__query_workflow_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    q->execution = execution(x);
    q->query = proto_new(&tp__workflow_query__descriptor);
    proto_set_text(&q->query->query_type, "signals");
    x->request = (ProtobufCMessage *)q;
}

static void make_update(struct tw_wish *x)
{
    char text[32];
    Tp__UpdateWorkflowExecutionRequest *q = proto_new(&tp__update_workflow_execution_request__descriptor);
    x->number = fact_new(x->w, F_UPDATE);
    snprintf(text, sizeof text, "u%" PRIu64, x->number);
    proto_set_text(&q->namespace_, "default");
    q->workflow_execution = execution(x);
    q->wait_policy = proto_new(&tp__wait_policy__descriptor);
    q->wait_policy->lifecycle_stage =
        TP__UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE__UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED;
    q->request = proto_new(&tp__update_request__descriptor);
    q->request->meta = proto_new(&tp__update_meta__descriptor);
    proto_set_text(&q->request->meta->update_id, text);
    q->request->input = proto_new(&tp__update_input__descriptor);
    proto_set_text(&q->request->input->name, "set");
    x->request = (ProtobufCMessage *)q;
}

static void make_reset(struct tw_wish *x, int64_t event)
{
    char text[32];
    Tp__ResetWorkflowExecutionRequest *q = proto_new(&tp__reset_workflow_execution_request__descriptor);
    snprintf(text, sizeof text, "reset-%" PRIu64, rng_next(&x->w->rng));
    proto_set_text(&q->namespace_, "default");
    q->workflow_execution = execution(x);
    proto_set_text(&q->reason, "again");
    proto_set_text(&q->request_id, text);
    q->workflow_task_finish_event_id = event;
    x->request = (ProtobufCMessage *)q;
}

static void make_describe(struct tw_wish *x)
{
    Tp__DescribeWorkflowExecutionRequest *q = proto_new(&tp__describe_workflow_execution_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    q->execution = execution(x);
    x->request = (ProtobufCMessage *)q;
}

static void make_end(struct tw_wish *x)
{
    Tp__GetWorkflowExecutionHistoryRequest *q = proto_new(&tp__get_workflow_execution_history_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    q->execution = execution(x);
    q->wait_new_event = true;
    q->history_event_filter_type = TP__HISTORY_EVENT_FILTER_TYPE__HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT;
    x->request = (ProtobufCMessage *)q;
}

/* ---- what is answered ----------------------------------------------------------------------- */

static void told_start(struct tw_wish *x, const Tp__StartWorkflowExecutionResponse *a)
{
    struct tw *w = x->w;
    struct tw_fact *f = &w->facts[x->number];
    w->flows[x->flow].started = true;
    books_look(w);
    EXPECT(w, book_find(w, a->run_id)); /* what was acknowledged is on the disk */
    if (!a->started)
        return; /* it is another's, whom it may use */
    EXPECT(w, f->seen > 0);
    EXPECT(w, strcmp(f->run, a->run_id) == 0 || book_continued(w, f->run));
    f->acked = true;
}

static void told_update(struct tw_wish *x, const Tp__UpdateWorkflowExecutionResponse *a)
{
    struct tw *w = x->w;
    if (a->outcome && a->outcome->value_case == TP__UPDATE_OUTCOME__VALUE_SUCCESS) {
        EXPECT(w, tw_number_of(a->outcome->success) == x->number);
        EXPECT(w, x->number % 4 != 0); /* those are rejected */
        books_look(w);
        EXPECT(w, w->facts[x->number].seen > 0);
        w->facts[x->number].acked = true;
    }
}

static void told_describe(struct tw_wish *x, const Tp__DescribeWorkflowExecutionResponse *a)
{
    struct tw *w = x->w;
    const Tp__WorkflowExecutionInfo *i = a->workflow_execution_info;
    const struct tw_book *b = book_find(w, x->run);
    EXPECT(w, b && i->history_length >= (int64_t)x->number); /* what was on the disk before it was asked */
    if (b && i->status != TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_RUNNING) {
        books_look(w);
        EXPECT(w, b->life.closed && i->history_length == (int64_t)b->count);
        EXPECT(w, a->n_pending_activities == 0 && !a->pending_workflow_task);
    }
}

static bool told_end(struct tw_wish *x, const Tp__GetWorkflowExecutionHistoryResponse *a)
{
    struct tw *w = x->w;
    if (a->next_page_token.len && a->history->n_events == 0)
        return false; /* not yet */
    EXPECT(w, a->history->n_events == 1);
    book_compare(w, x->run, a->history, false);
    const struct tw_book *b = book_find(w, x->run);
    EXPECT(w, b && b->life.closed && a->history->events[0]->event_id == (int64_t)b->count);
    return true;
}

/* True: it is over. */
static bool told_of(struct tw_wish *x, const void *answer)
{
    struct tw *w = x->w;
    switch (x->type) {
    case WISH_START: told_start(x, answer); return true;
    case WISH_SIGNAL:
    case WISH_SIGNAL_START:
    case WISH_TERMINATE: w->facts[x->number].acked = true; return true;
    case WISH_QUERY: {
        const Tp__QueryWorkflowResponse *a = answer;
        EXPECT(w, tw_number_of(a->query_result) > x->number); /* it has seen all that was there when it was asked */
        return true;
    }
    case WISH_UPDATE: {
        const Tp__UpdateWorkflowExecutionResponse *a = answer;
        told_update(x, a);
        return a->outcome != NULL;
    }
    case WISH_RESET: {
        const Tp__ResetWorkflowExecutionResponse *a = answer;
        books_look(w);
        EXPECT(w, book_find(w, a->run_id));
        return true;
    }
    case WISH_DESCRIBE: told_describe(x, answer); return true;
    case WISH_END: return told_end(x, answer);
    default: return true;
    }
}

static void on_told(struct tw_call *c, const void *answer, enum code code)
{
    struct tw_wish *x = c->who;
    x->call = NULL;
    bool over = answer ? told_of(x, answer) : !call_passes(code);
    x->wake_us = c->w->clock.now_us + rng_below(&c->w->rng, 2 * TW_SECOND);
    if (over || (x->asks >= ASKS_MAX && x->type != WISH_START))
        wish_over(x);
}

static const char *const methods[] = {
    [WISH_START] = "StartWorkflowExecution", [WISH_SIGNAL] = "SignalWorkflowExecution",
    [WISH_SIGNAL_START] = "SignalWithStartWorkflowExecution", [WISH_CANCEL] = "RequestCancelWorkflowExecution",
    [WISH_TERMINATE] = "TerminateWorkflowExecution", [WISH_QUERY] = "QueryWorkflow",
    [WISH_UPDATE] = "UpdateWorkflowExecution", [WISH_RESET] = "ResetWorkflowExecution",
    [WISH_DESCRIBE] = "DescribeWorkflowExecution", [WISH_END] = "GetWorkflowExecutionHistory",
};

static void wish_ask(struct tw_wish *x)
{
    struct tw *w = x->w;
    const struct tw_book *b = *x->run ? book_find(w, x->run) : NULL;
    uint64_t timeout_s = x->type == WISH_QUERY || x->type == WISH_UPDATE || x->type == WISH_END ? 30 : ASK_S;
    books_look(w);
    if (x->type == WISH_QUERY)
        x->number = b ? b->life.signals : 0;
    if (x->type == WISH_DESCRIBE)
        x->number = b ? b->count : 0;
    x->asks++;
    if (tw_permille(w, w->rate.twice) && x->type != WISH_QUERY) /* the network repeats it */
        (void)call_send(w, methods[x->type], proto_dup(x->request), timeout_s * TW_SECOND, NULL, NULL);
    x->call = call_send(w, methods[x->type], proto_dup(x->request), timeout_s * TW_SECOND, on_told, x);
}

/* ---- what is wished for --------------------------------------------------------------------- */

/* A run of that flow, of those that the disk showed; NULL: none yet. */
static struct tw_book *book_any(struct tw *w, const char *id)
{
    struct tw_book *found = NULL;
    uint64_t seen = 0;
    for (size_t i = 0; i < w->book_count; i++)
        if (strcmp(w->books[i]->life.workflow, id) == 0 && rng_below(&w->rng, ++seen) == 0)
            found = w->books[i];
    return found;
}

static int64_t reset_point(struct tw *w, const struct tw_book *b)
{
    int64_t found = 0;
    uint64_t seen = 0;
    for (size_t i = 0; i < b->count; i++)
        if (b->types[i] == EV(WORKFLOW_TASK_COMPLETED) && rng_below(&w->rng, ++seen) == 0)
            found = (int64_t)i + 1;
    return found;
}

static bool wish_make(struct tw_wish *x)
{
    struct tw *w = x->w;
    struct tw_book *b = book_any(w, x->id);
    bool pinned = x->type == WISH_QUERY || x->type == WISH_DESCRIBE || x->type == WISH_END || x->type == WISH_RESET;
    if (b && (pinned || rng_chance(&w->rng, 30)))
        snprintf(x->run, sizeof x->run, "%s", b->life.run);
    switch (x->type) {
    case WISH_START:
        if (w->flows[x->flow].starting)
            return false;
        *x->run = '\0';
        make_start(x);
        return true;
    case WISH_SIGNAL_START:
        *x->run = '\0';
        make_signal_start(x);
        return true;
    case WISH_SIGNAL: make_signal(x); return true;
    case WISH_CANCEL: make_cancel(x); return true;
    case WISH_TERMINATE: make_terminate(x); return true;
    case WISH_UPDATE: make_update(x); return true;
    default: break;
    }
    if (!b)
        return false;
    if (x->type == WISH_QUERY) {
        make_query(x);
    } else if (x->type == WISH_DESCRIBE) {
        make_describe(x);
    } else if (x->type == WISH_END) {
        make_end(x);
    } else {
        int64_t event = reset_point(w, b);
        if (!event || b->copied || w->resets >= RESETS_MAX)
            return false;
        w->resets++;
        make_reset(x, event);
    }
    return true;
}

static enum tw_wish_type type_any(struct tw *w)
{
    uint32_t all = 0;
    for (size_t i = 1; i <= WISH_END; i++)
        all += w->rate.feature[i];
    uint64_t at = rng_below(&w->rng, all);
    for (size_t i = 1; i <= WISH_END; i++) {
        if (at < w->rate.feature[i])
            return (enum tw_wish_type)i;
        at -= w->rate.feature[i];
    }
    return WISH_START;
}

static void wish_begin(struct tw *w, struct tw_wish *x, enum tw_wish_type type, uint32_t flow)
{
    *x = (struct tw_wish){ .w = w, .type = type, .flow = flow, .wake_us = w->clock.now_us };
    snprintf(x->id, sizeof x->id, "%s", w->flows[flow].id);
    if (!wish_make(x))
        x->type = WISH_NONE;
}

void clients_tick(struct tw *w)
{
    for (size_t i = 0; i < TW_WISHES; i++) {
        struct tw_wish *x = &w->wishes[i];
        if (x->type == WISH_NONE && w->faults_on && tw_permille(w, w->rate.wish))
            wish_begin(w, x, type_any(w), (uint32_t)rng_below(&w->rng, TW_FLOWS));
        if (x->type != WISH_NONE && !x->call && x->wake_us <= w->clock.now_us)
            wish_ask(x);
    }
}

/* ---- the end -------------------------------------------------------------------------------- */

static void go(struct tw *w, const struct tw_book *b)
{
    Tp__SignalWorkflowExecutionRequest *q = proto_new(&tp__signal_workflow_execution_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    q->workflow_execution = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&q->workflow_execution->workflow_id, b->life.workflow);
    proto_set_text(&q->workflow_execution->run_id, b->life.run);
    proto_set_text(&q->signal_name, "go");
    (void)call_send(w, "SignalWorkflowExecution", q, ASK_S * TW_SECOND, NULL, NULL);
}

static void stop(struct tw *w, const struct tw_book *b)
{
    Tp__TerminateWorkflowExecutionRequest *q = proto_new(&tp__terminate_workflow_execution_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    q->workflow_execution = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&q->workflow_execution->workflow_id, b->life.workflow);
    proto_set_text(&q->reason, "enough");
    (void)call_send(w, "TerminateWorkflowExecution", q, ASK_S * TW_SECOND, NULL, NULL);
}

/* Whoever waits for a signal gets some; what never ends by itself is ended: cron, and what a reset left without parent. */
void clients_end(struct tw *w)
{
    uint64_t since_s = (w->clock.now_us - w->end_us) / TW_SECOND;
    for (size_t i = 0; i < w->book_count; i++) {
        const struct tw_book *b = w->books[i];
        if (b->life.closed)
            continue;
        if (since_s > 600 && (b->cron || (b->life.type[0] == 'F' && w->resets > 0)))
            stop(w, b);
        else if (b->life.goes < 30)
            go(w, b);
    }
}

void clients_done(struct tw *w)
{
    for (size_t i = 0; i < TW_WISHES; i++) {
        struct tw_wish *x = &w->wishes[i];
        if (x->call)
            call_drop(TAKE(x->call));
        if (x->type != WISH_NONE)
            wish_over(x);
    }
}
