/* temporal_worker.c -- workers: they poll, are slow, die, answer twice, and keep runs in a cache behind a sticky queue. */
#include "sim/temporal_world.h"

#include <stdio.h>
#include <stdlib.h>

enum { POLL_S = 70, CALL_S = 10, TRIES = 4 };

static Tp__TaskQueue *queue_new(const char *name, bool sticky)
{
    Tp__TaskQueue *q = proto_new(&tp__task_queue__descriptor);
    proto_set_text(&q->name, name);
    if (sticky) {
        q->kind = TP__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY;
        proto_set_text(&q->normal_name, "q");
    }
    return q;
}

/* ---- the cache ------------------------------------------------------------------------------ */

static struct tw_life *cached(struct tw_worker *k, const char *run)
{
    for (size_t i = 0; i < TW_CACHE; i++)
        if (*run && strcmp(k->cache[i].run, run) == 0)
            return &k->cache[i];
    return NULL;
}

static void evict(struct tw_worker *k, const char *run)
{
    struct tw_life *l = cached(k, run);
    if (l)
        *l = (struct tw_life){ 0 };
}

static void keep(struct tw_worker *k, const struct tw_life *l)
{
    struct tw_life *at = cached(k, l->run);
    if (!at)
        at = &k->cache[rng_below(&k->w->rng, TW_CACHE)];
    *at = *l;
}

/* ---- hands ---------------------------------------------------------------------------------- */

static void hand_free(struct tw_hand *h, uint64_t again_us)
{
    proto_free(TAKE(h->task));
    proto_free(TAKE(h->activity));
    commands_done(&h->commands);
    h->state = H_IDLE;
    h->wake_us = h->worker->w->clock.now_us + again_us;
    h->number = 0;
    h->tries = 0;
    h->cancel = false;
}

static void hand_busy(struct tw_hand *h)
{
    struct tw *w = h->worker->w;
    h->state = H_BUSY;
    h->wake_us = w->clock.now_us + rng_below(&w->rng, 200000);
    if (tw_permille(w, w->rate.slow))
        h->wake_us += rng_below(&w->rng, 40 * TW_SECOND);
}

static void feed(struct tw_hand *h, const Tp__History *history, int64_t to)
{
    struct tw *w = h->worker->w;
    for (size_t i = 0; history && i < history->n_events && !w->broken; i++) {
        const Tp__HistoryEvent *v = history->events[i];
        if (v->event_id < h->life.next || (to && v->event_id > to))
            continue;
        const char *why = life_feed(&h->life, v);
        if (why)
            tw_wrong(w, __FILE__, __LINE__, "%s, as worker %s is told of %s %s event %" PRId64, why, h->worker->name,
                     h->life.workflow, h->life.run, v->event_id);
    }
}

static void task_ready(struct tw_hand *h)
{
    feed(h, h->task->history, h->task->query ? 0 : h->task->started_event_id);
    hand_busy(h);
}

/* ---- the whole history, when the cache has not what a sticky task builds on ------------------ */

static void read_page(struct tw_hand *h, const ProtobufCBinaryData *token);

static void on_page(struct tw_call *c, const void *answer, enum code code)
{
    struct tw_hand *h = c->who;
    const Tp__GetWorkflowExecutionHistoryResponse *a = answer;
    (void)code;
    h->call = NULL;
    if (!a) {
        if (++h->tries < TRIES && call_passes(code))
            read_page(h, NULL);
        else
            hand_free(h, TW_SECOND);
        return;
    }
    book_compare(c->w, h->life.run, a->history, true);
    feed(h, a->history, h->task->query ? 0 : h->task->started_event_id);
    if (h->life.closed) /* meanwhile */
        hand_free(h, 0);
    else if (a->next_page_token.len)
        read_page(h, &a->next_page_token);
    else
        task_ready(h);
}

static void read_page(struct tw_hand *h, const ProtobufCBinaryData *token)
{
    Tp__GetWorkflowExecutionHistoryRequest *q = proto_new(&tp__get_workflow_execution_history_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    q->execution = proto_dup(h->task->workflow_execution);
    q->maximum_page_size = (int32_t)(3 + rng_below(&h->worker->w->rng, 40));
    if (token)
        proto_set_bytes(&q->next_page_token, proto_bytes(token));
    if (!token) {
        struct tw_life fresh = { .next = 1 };
        snprintf(fresh.workflow, sizeof fresh.workflow, "%s", h->task->workflow_execution->workflow_id);
        snprintf(fresh.run, sizeof fresh.run, "%s", h->task->workflow_execution->run_id);
        h->life = fresh;
    }
    h->state = H_READING;
    h->call = call_send(h->worker->w, "GetWorkflowExecutionHistory", q, CALL_S * TW_SECOND, on_page, h);
}

/* ---- workflow tasks ------------------------------------------------------------------------- */

static void task_take(struct tw_hand *h, const Tp__PollWorkflowTaskQueueResponse *a)
{
    struct tw *w = h->worker->w;
    const Tp__History *history = a->history;
    h->task = proto_dup(a);
    h->tries = 0;
    EXPECT(w, a->workflow_execution && a->attempt >= 1 && a->workflow_type);
    book_compare(w, a->workflow_execution->run_id, history, true);
    const struct tw_life *had = cached(h->worker, a->workflow_execution->run_id);
    int64_t first = history && history->n_events ? history->events[0]->event_id : 0;
    tw_note(w, "%s takes %s %.8s %" PRId64 "/%d from %" PRId64 "%s", h->worker->name, a->workflow_execution->workflow_id,
            a->workflow_execution->run_id + 28, a->started_event_id, a->attempt, first, a->query ? " query" : "");
    if (first == 1 && !a->next_page_token.len) {
        h->life = (struct tw_life){ .next = 1 };
        snprintf(h->life.workflow, sizeof h->life.workflow, "%s", a->workflow_execution->workflow_id);
        snprintf(h->life.run, sizeof h->life.run, "%s", a->workflow_execution->run_id);
        task_ready(h);
    } else if (had && (first == had->next || (a->query && first == 0)) && !a->next_page_token.len) {
        h->life = *had;
        task_ready(h);
    } else {
        EXPECT(w, h->type == HAND_STICKY || h->commands.count == 0);
        read_page(h, NULL);
    }
}

static void message_add(struct tw_commands *c, const char *update, const char *what, const void *body, bool command)
{
    char id[48], sign[24];
    Tp__ProtocolMessage *m = proto_new(&tp__protocol_message__descriptor);
    snprintf(id, sizeof id, "%.20s/%s", update, what);
    proto_set_text(&m->id, id);
    proto_set_text(&m->protocol_instance_id, update);
    m->body = temporal_any_new(body);
    ASSERT(c->message_count < TW_COMMANDS);
    c->messages[c->message_count++] = m;
    if (!command)
        return;
    snprintf(sign, sizeof sign, "%c%.20s", *what == 'a' ? 'u' : 'U', update);
    Tp__ProtocolMessageCommandAttributes *a = COMMAND_NEW(c, PROTOCOL_MESSAGE, sign);
    proto_set_text(&a->message_id, id);
}

static void update_complete(struct tw_commands *c, const char *update)
{
    Tp__UpdateResponse *r = proto_new(&tp__update_response__descriptor);
    r->meta = proto_new(&tp__update_meta__descriptor);
    proto_set_text(&r->meta->update_id, update);
    r->outcome = proto_new(&tp__update_outcome__descriptor);
    r->outcome->value_case = TP__UPDATE_OUTCOME__VALUE_SUCCESS;
    r->outcome->success = tw_number(strtoul(update + 1, NULL, 10));
    message_add(c, update, "response", r, true);
    proto_free(r);
}

/* The last digit of an update's number says what becomes of it. */
static void updates_answer(struct tw_hand *h)
{
    struct tw_commands *c = &h->commands;
    for (uint32_t i = 0; i < h->life.update_count && c->message_count < 2; i++)
        if (!h->life.updates[i].completed)
            update_complete(c, h->life.updates[i].id);
    for (size_t i = 0; i < h->task->n_messages; i++) {
        const Tp__ProtocolMessage *m = h->task->messages[i];
        const char *id = m->protocol_instance_id;
        unsigned long kind = strtoul(id + 1, NULL, 10) % 4;
        if (c->sign_count >= 3)
            return; /* it is sent again with the next task */
        if (kind == 0) {
            Tp__UpdateRejection *r = proto_new(&tp__update_rejection__descriptor);
            proto_set_text(&r->rejected_request_message_id, m->id);
            r->failure = proto_new(&tp__failure__descriptor);
            message_add(c, id, "reject", r, false);
            proto_free(r);
            continue;
        }
        Tp__UpdateAcceptance *a = proto_new(&tp__update_acceptance__descriptor);
        proto_set_text(&a->accepted_request_message_id, m->id);
        a->accepted_request_sequencing_event_id = m->event_id;
        message_add(c, id, "accept", a, true);
        proto_free(a);
        if (kind == 1)
            c->again = true; /* completed with the next */
        else
            update_complete(c, id);
    }
}

static Tp__RespondWorkflowTaskCompletedRequest *completion_new(struct tw_hand *h, bool bad)
{
    struct tw *w = h->worker->w;
    struct tw_commands *c = &h->commands;
    Tp__RespondWorkflowTaskCompletedRequest *q = proto_new(&tp__respond_workflow_task_completed_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->identity, h->worker->name);
    proto_set_bytes(&q->task_token, proto_bytes(&h->task->task_token));
    for (uint32_t i = 0; i < c->count; i++)
        proto_push(&q->n_commands, &q->commands, proto_dup(c->at[i]));
    if (bad)
        q->commands[0]->command_type = TP__COMMAND_TYPE__COMMAND_TYPE_CANCEL_TIMER; /* its attributes are another's */
    for (uint32_t i = 0; i < c->message_count; i++)
        proto_push(&q->n_messages, &q->messages, proto_dup(c->messages[i]));
    for (size_t i = 0; i < h->task->n_queries; i++) {
        Tp__RespondWorkflowTaskCompletedRequest__QueryResultsEntry *entry =
            proto_new(&tp__respond_workflow_task_completed_request__query_results_entry__descriptor);
        proto_set_text(&entry->key, h->task->queries[i]->key);
        entry->value = proto_new(&tp__workflow_query_result__descriptor);
        entry->value->result_type = TP__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED;
        entry->value->answer = tw_number(h->life.signals + 1);
        proto_push(&q->n_query_results, &q->query_results, entry);
    }
    if (!tw_permille(w, w->rate.evict)) {
        q->sticky_attributes = proto_new(&tp__sticky_execution_attributes__descriptor);
        q->sticky_attributes->worker_task_queue = queue_new(h->worker->sticky, true);
        q->sticky_attributes->schedule_to_start_timeout = temporal_duration_new(INT64_C(5000000000));
    }
    q->return_new_workflow_task = rng_chance(&w->rng, 70);
    q->force_create_new_workflow_task = c->again;
    q->capabilities = proto_new(&tp__respond_workflow_task_completed_request__capabilities__descriptor);
    q->capabilities->discard_speculative_workflow_task_with_events = rng_chance(&w->rng, 50);
    return q;
}

static void done_add(struct tw_hand *h)
{
    struct tw *w = h->worker->w;
    EXPECT(w, w->done_count < TW_DONES);
    if (w->done_count == TW_DONES)
        return;
    struct tw_done *d = &w->dones[w->done_count++];
    *d = (struct tw_done){ .started = h->task->started_event_id, .count = h->commands.sign_count };
    snprintf(d->run, sizeof d->run, "%s", h->life.run);
    memcpy(d->signs, h->commands.signs, sizeof d->signs);
}

static void on_completed_again(struct tw_call *c, const void *answer, enum code code)
{
    (void)code;
    EXPECT(c->w, !answer); /* one task, one completion */
}

static void completion_send(struct tw_hand *h, Tp__RespondWorkflowTaskCompletedRequest *take_q);

static void on_completed(struct tw_call *c, const void *answer, enum code code)
{
    struct tw_hand *h = c->who;
    struct tw *w = c->w;
    const Tp__RespondWorkflowTaskCompletedResponse *a = answer;
    h->call = NULL;
    if (!a && call_passes(code) && ++h->tries < TRIES) {
        completion_send(h, completion_new(h, false));
        return;
    }
    if (!a || a->reset_history_event_id) {
        evict(h->worker, h->life.run);
        hand_free(h, 100000);
        return;
    }
    books_look(w);
    const struct tw_book *b = book_find(w, h->life.run);
    int64_t at = h->task->started_event_id;
    bool gone = b && b->life.closed && b->life.end == EV(WORKFLOW_EXECUTION_TERMINATED);
    EXPECT(w, gone || (b && (int64_t)b->count > at && b->types[at] == EV(WORKFLOW_TASK_COMPLETED)));
    if (tw_permille(w, w->rate.twice))
        (void)call_send(w, "RespondWorkflowTaskCompleted", completion_new(h, false), CALL_S * TW_SECOND, on_completed_again, NULL);
    hand_free(h, 0);
    if (a->workflow_task)
        task_take(h, a->workflow_task);
}

static void completion_send(struct tw_hand *h, Tp__RespondWorkflowTaskCompletedRequest *take_q)
{
    h->state = H_ANSWERING;
    h->call = call_send(h->worker->w, "RespondWorkflowTaskCompleted", take_q, CALL_S * TW_SECOND, on_completed, h);
}

static void on_over(struct tw_call *c, const void *answer, enum code code)
{
    struct tw_hand *h = c->who;
    (void)answer;
    (void)code;
    h->call = NULL;
    evict(h->worker, h->life.run);
    hand_free(h, 100000);
}

static void task_fail(struct tw_hand *h)
{
    Tp__RespondWorkflowTaskFailedRequest *q = proto_new(&tp__respond_workflow_task_failed_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_bytes(&q->task_token, proto_bytes(&h->task->task_token));
    q->cause = TP__WORKFLOW_TASK_FAILED_CAUSE__WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE;
    h->state = H_ANSWERING;
    h->call = call_send(h->worker->w, "RespondWorkflowTaskFailed", q, CALL_S * TW_SECOND, on_over, h);
}

static void query_answer(struct tw_hand *h)
{
    Tp__RespondQueryTaskCompletedRequest *q = proto_new(&tp__respond_query_task_completed_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_bytes(&q->task_token, proto_bytes(&h->task->task_token));
    q->completed_type = TP__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED;
    q->query_result = tw_number(h->life.signals + 1);
    h->state = H_ANSWERING;
    keep(h->worker, &h->life);
    h->call = call_send(h->worker->w, "RespondQueryTaskCompleted", q, CALL_S * TW_SECOND, on_over, h);
}

static void task_answer(struct tw_hand *h)
{
    struct tw *w = h->worker->w;
    if (h->task->query) {
        query_answer(h);
        return;
    }
    if (tw_permille(w, w->rate.fail)) {
        task_fail(h);
        return;
    }
    updates_answer(h);
    life_decide(&h->life, &h->commands);
    done_add(h);
    bool bad = h->commands.count > 0 && h->commands.at[0]->command_type != TP__COMMAND_TYPE__COMMAND_TYPE_CANCEL_TIMER &&
               tw_permille(w, w->rate.bad);
    keep(h->worker, &h->life); /* what it has done it knows, whether or not it hears of it: queries may come first */
    completion_send(h, completion_new(h, bad));
}

/* ---- activities ----------------------------------------------------------------------------- */

static void activity_complete(struct tw_hand *h, void (*told)(struct tw_call *c, const void *answer, enum code code), void *who);

static void on_result_again(struct tw_call *c, const void *answer, enum code code)
{
    (void)code;
    EXPECT(c->w, !answer); /* a token is good once */
}

static void on_result(struct tw_call *c, const void *answer, enum code code)
{
    struct tw_hand *h = c->who;
    h->call = NULL;
    if (answer) {
        c->w->facts[h->number].acked = true;
        if (tw_permille(c->w, c->w->rate.twice))
            activity_complete(h, on_result_again, NULL);
    } else if (call_passes(code) && ++h->tries < TRIES) {
        activity_complete(h, on_result, h);
        return;
    }
    hand_free(h, rng_below(&c->w->rng, 100000));
}

static void activity_complete(struct tw_hand *h, void (*told)(struct tw_call *c, const void *answer, enum code code), void *who)
{
    struct tw *w = h->worker->w;
    const Tp__PollActivityTaskQueueResponse *t = h->activity;
    struct tw_call *c;
    if (h->number % 5 == 0) {
        Tp__RespondActivityTaskCompletedByIdRequest *q =
            proto_new(&tp__respond_activity_task_completed_by_id_request__descriptor);
        proto_set_text(&q->namespace_, "default");
        proto_set_text(&q->workflow_id, t->workflow_execution->workflow_id);
        proto_set_text(&q->run_id, t->workflow_execution->run_id);
        proto_set_text(&q->activity_id, t->activity_id);
        q->result = tw_number(h->number);
        c = call_send(w, "RespondActivityTaskCompletedById", q, CALL_S * TW_SECOND, told, who);
    } else {
        Tp__RespondActivityTaskCompletedRequest *q = proto_new(&tp__respond_activity_task_completed_request__descriptor);
        proto_set_text(&q->namespace_, "default");
        proto_set_bytes(&q->task_token, proto_bytes(&t->task_token));
        q->result = tw_number(h->number);
        c = call_send(w, "RespondActivityTaskCompleted", q, CALL_S * TW_SECOND, told, who);
    }
    if (who) {
        h->call = c;
        h->state = H_ANSWERING;
    }
}

static void on_beaten(struct tw_call *c, const void *answer, enum code code)
{
    struct tw_hand *h = c->who;
    const Tp__RecordActivityTaskHeartbeatResponse *a = answer;
    h->call = NULL;
    h->cancel = a && a->cancel_requested;
    if (!a && !call_passes(code))
        hand_free(h, 100000);
    else
        hand_busy(h);
}

static void activity_beat(struct tw_hand *h)
{
    Tp__RecordActivityTaskHeartbeatRequest *q = proto_new(&tp__record_activity_task_heartbeat_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_bytes(&q->task_token, proto_bytes(&h->activity->task_token));
    h->state = H_ANSWERING;
    h->call = call_send(h->worker->w, "RecordActivityTaskHeartbeat", q, CALL_S * TW_SECOND, on_beaten, h);
}

static void on_activity_over(struct tw_call *c, const void *answer, enum code code)
{
    struct tw_hand *h = c->who;
    (void)answer;
    (void)code;
    h->call = NULL;
    hand_free(h, 100000);
}

static void activity_fail(struct tw_hand *h)
{
    Tp__RespondActivityTaskFailedRequest *q = proto_new(&tp__respond_activity_task_failed_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_bytes(&q->task_token, proto_bytes(&h->activity->task_token));
    q->failure = proto_new(&tp__failure__descriptor);
    q->failure->failure_info_case = TP__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO;
    q->failure->application_failure_info = proto_new(&tp__application_failure_info__descriptor);
    q->failure->application_failure_info->non_retryable = rng_chance(&h->worker->w->rng, 30);
    h->state = H_ANSWERING;
    h->call = call_send(h->worker->w, "RespondActivityTaskFailed", q, CALL_S * TW_SECOND, on_activity_over, h);
}

static void activity_cancel(struct tw_hand *h)
{
    Tp__RespondActivityTaskCanceledRequest *q = proto_new(&tp__respond_activity_task_canceled_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_bytes(&q->task_token, proto_bytes(&h->activity->task_token));
    h->state = H_ANSWERING;
    h->call = call_send(h->worker->w, "RespondActivityTaskCanceled", q, CALL_S * TW_SECOND, on_activity_over, h);
}

static void activity_answer(struct tw_hand *h)
{
    struct tw *w = h->worker->w;
    if (h->cancel) {
        activity_cancel(h);
    } else if (tw_permille(w, w->rate.fail)) {
        activity_fail(h);
    } else if (rng_chance(&w->rng, 30)) {
        activity_beat(h);
    } else {
        h->number = fact_new(w, F_RESULT);
        activity_complete(h, on_result, h);
    }
}

static void activity_take(struct tw_hand *h, const Tp__PollActivityTaskQueueResponse *a)
{
    struct tw *w = h->worker->w;
    h->activity = proto_dup(a);
    EXPECT(w, a->workflow_execution && a->attempt >= 1);
    EXPECT(w, tw_number_of(a->input) == strtoul(a->activity_id, NULL, 10) + 1); /* its own input */
    tw_note(w, "%s takes %s activity %s/%d", h->worker->name, a->workflow_execution->workflow_id, a->activity_id, a->attempt);
    hand_busy(h);
}

/* ---- polls ---------------------------------------------------------------------------------- */

static void on_polled(struct tw_call *c, const void *answer, enum code code)
{
    struct tw_hand *h = c->who;
    h->call = NULL;
    if (!answer) {
        EXPECT(c->w, call_passes(code));
        hand_free(h, rng_below(&c->w->rng, 3 * TW_SECOND));
    } else if (h->type == HAND_ACTIVITY) {
        const Tp__PollActivityTaskQueueResponse *a = answer;
        if (a->task_token.len)
            activity_take(h, a);
        else
            hand_free(h, 0);
    } else {
        const Tp__PollWorkflowTaskQueueResponse *a = answer;
        if (a->task_token.len)
            task_take(h, a);
        else
            hand_free(h, 0);
    }
}

static void poll(struct tw_hand *h)
{
    struct tw_worker *k = h->worker;
    h->state = H_POLLING;
    if (h->type == HAND_ACTIVITY) {
        Tp__PollActivityTaskQueueRequest *q = proto_new(&tp__poll_activity_task_queue_request__descriptor);
        proto_set_text(&q->namespace_, "default");
        proto_set_text(&q->identity, k->name);
        proto_set_text(&q->worker_instance_key, k->sticky);
        q->task_queue = queue_new("q", false);
        h->call = call_send(k->w, "PollActivityTaskQueue", q, POLL_S * TW_SECOND, on_polled, h);
        return;
    }
    Tp__PollWorkflowTaskQueueRequest *q = proto_new(&tp__poll_workflow_task_queue_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->identity, k->name);
    proto_set_text(&q->worker_instance_key, k->sticky);
    q->task_queue = h->type == HAND_STICKY ? queue_new(k->sticky, true) : queue_new("q", false);
    h->call = call_send(k->w, "PollWorkflowTaskQueue", q, POLL_S * TW_SECOND, on_polled, h);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void worker_name(struct tw_worker *k, size_t i)
{
    k->lives++;
    snprintf(k->name, sizeof k->name, "k%u.%u", (unsigned)i % 100, k->lives % 100000);
    snprintf(k->sticky, sizeof k->sticky, "sticky-%s", k->name);
}

static void worker_die(struct tw_worker *k)
{
    for (size_t i = 0; i < COUNT_OF(k->hands); i++) {
        struct tw_hand *h = &k->hands[i];
        if (h->call)
            call_drop(TAKE(h->call));
        hand_free(h, 0);
    }
    for (size_t i = 0; i < TW_CACHE; i++)
        k->cache[i] = (struct tw_life){ 0 };
    if (rng_chance(&k->w->rng, 30)) { /* it said so */
        Tp__ShutdownWorkerRequest *q = proto_new(&tp__shutdown_worker_request__descriptor);
        proto_set_text(&q->namespace_, "default");
        proto_set_text(&q->sticky_task_queue, k->sticky);
        proto_set_text(&q->worker_instance_key, k->sticky);
        (void)call_send(k->w, "ShutdownWorker", q, CALL_S * TW_SECOND, NULL, NULL);
    }
    tw_note(k->w, "%s dies", k->name);
    k->dead = true;
    k->wake_us = k->w->clock.now_us + rng_below(&k->w->rng, 20 * TW_SECOND);
}

static void hand_tick(struct tw_hand *h)
{
    struct tw *w = h->worker->w;
    if (h->state == H_POLLING && h->call && tw_permille(w, w->rate.evict / 10)) { /* its connection breaks */
        call_drop(TAKE(h->call));
        hand_free(h, 0);
    }
    if (h->wake_us > w->clock.now_us)
        return;
    if (h->state == H_IDLE)
        poll(h);
    else if (h->state == H_BUSY && h->activity)
        activity_answer(h);
    else if (h->state == H_BUSY)
        task_answer(h);
}

void workers_tick(struct tw *w)
{
    for (size_t i = 0; i < TW_WORKERS; i++) {
        struct tw_worker *k = &w->workers[i];
        if (k->dead && k->wake_us > w->clock.now_us)
            continue;
        if (k->dead)
            worker_name(k, i);
        k->dead = false;
        if (tw_permille(w, w->rate.die)) {
            worker_die(k);
            continue;
        }
        for (size_t n = 0; n < COUNT_OF(k->hands); n++)
            hand_tick(&k->hands[n]);
    }
}

void workers_open(struct tw *w)
{
    for (size_t i = 0; i < TW_WORKERS; i++) {
        struct tw_worker *k = &w->workers[i];
        k->w = w;
        worker_name(k, i);
        for (size_t n = 0; n < COUNT_OF(k->hands); n++)
            k->hands[n] = (struct tw_hand){ .worker = k, .type = n == 0 ? HAND_NORMAL : n == 1 ? HAND_STICKY : HAND_ACTIVITY };
    }
}

void workers_done(struct tw *w)
{
    for (size_t i = 0; i < TW_WORKERS; i++)
        for (size_t n = 0; n < COUNT_OF(w->workers[i].hands); n++) {
            struct tw_hand *h = &w->workers[i].hands[n];
            if (h->call)
                call_drop(TAKE(h->call));
            hand_free(h, 0);
        }
}
