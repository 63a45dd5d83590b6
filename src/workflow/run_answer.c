#include "workflow/run_impl.h"
#include "workflow/run_update.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A workflow task between a worker's poll and its answer. */

enum { DISCARD_EVENTS_MAX = 10 };

static void buf_auto(struct buf *b) { buf_done(b); }

/* ---- a worker takes it ---- */

static void suggest(Ws__Run *s)
{
    Ws__WorkflowTask *k = s->task;
    Tp__SuggestContinueAsNewReason why[2];
    size_t count = 0;
    if (s->history_bytes >= RUN_BYTES_SUGGEST)
        why[count++] = TP__SUGGEST_CONTINUE_AS_NEW_REASON__SUGGEST_CONTINUE_AS_NEW_REASON_HISTORY_SIZE_TOO_LARGE;
    if (s->next_event_id > RUN_EVENTS_SUGGEST)
        why[count++] = TP__SUGGEST_CONTINUE_AS_NEW_REASON__SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_HISTORY_EVENTS;
    k->history_bytes = s->history_bytes;
    k->suggest_continue_as_new = count > 0;
    if (!count)
        return;
    k->n_suggest_reasons = count;
    k->suggest_reasons = xcalloc(count, sizeof *why);
    memcpy(k->suggest_reasons, why, count * sizeof *why);
}

static Tp__WorkerVersionStamp *stamp_of(const Tp__WorkerVersionCapabilities *v)
{
    if (!v || run_empty(v->build_id))
        return NULL;
    Tp__WorkerVersionStamp *stamp = proto_new(&tp__worker_version_stamp__descriptor);
    proto_set_text(&stamp->build_id, v->build_id);
    stamp->use_versioning = v->use_versioning;
    return stamp;
}

static void token_fill(const struct run *r, struct run_token *token)
{
    const Ws__Run *s = r->s;
    memset(token, 0, sizeof *token);
    token->type = RUN_WORKFLOW_TASK;
    (void)snprintf(token->ns, sizeof token->ns, "%s", s->ns);
    (void)snprintf(token->workflow_id, sizeof token->workflow_id, "%s", s->workflow_id);
    (void)uuid_parse(str_of(s->run_id), &token->run);
    token->scheduled_id = s->task->scheduled_id;
    token->started_id = s->task->started_id;
    token->attempt = s->task->attempt;
    token->started_ns = s->task->started_ns;
}

static void answer_fill(struct run *r, struct run_task_given *ret)
{
    const Ws__Run *s = r->s;
    const Ws__WorkflowTask *k = s->task;
    Tp__PollWorkflowTaskQueueResponse *a = ret->answer =
        proto_new(&tp__poll_workflow_task_queue_response__descriptor);
    a->workflow_execution = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&a->workflow_execution->workflow_id, s->workflow_id);
    proto_set_text(&a->workflow_execution->run_id, s->run_id);
    a->workflow_type = proto_dup(s->started->workflow_type);
    a->previous_started_event_id = s->last_started_id;
    a->started_event_id = k->started_id;
    a->attempt = k->attempt;
    a->workflow_execution_task_queue = run_task_queue(run_queue(r), NULL);
    a->scheduled_time = temporal_time_new(k->scheduled_ns);
    a->started_time = temporal_time_new(k->started_ns);
    token_fill(r, &ret->token);
    if (k->written)
        return;
    ret->extra = xcalloc(2, sizeof(Tp__HistoryEvent *));
    ret->extra[ret->extra_count++] = run_task_event_scheduled(r);
    ret->extra[ret->extra_count++] = run_task_event_started(r);
}

void run_task_given_done(struct run_task_given *g)
{
    proto_free(g->answer);
    for (size_t i = 0; i < g->extra_count; i++)
        proto_free(g->extra[i]);
    free(g->extra);
    *g = (struct run_task_given){ 0 };
}

int run_task_start(struct run *r, struct durable_turn *t, const struct run_task *task,
                   const struct run_poller *p, struct run_task_given *ret, struct refusal *no)
{
    Ws__Run *s = r->s;
    Ws__WorkflowTask *k = s->task;
    if (!run_open(r) || !k || k->started_id || k->scheduled_id != task->scheduled_id ||
        k->attempt != task->attempt || k->stamp != task->stamp)
        return refuse(no, CODE_NOT_FOUND, "Workflow task not found.");
    k->started_ns = MAX(t->now_ns, k->scheduled_ns);
    proto_set_text(&k->identity, p->identity);
    proto_set_text(&k->request_id, p->request_id);
    k->worker_version = stamp_of(p->version);
    k->schedule_to_start_deadline_ns = 0;
    suggest(s);
    if (!k->written && k->scheduled_id != s->next_event_id) { /* more has happened: an ordinary task */
        k->attempt = s->task_attempt = 1;
        k->scheduled_ns = k->started_ns;
        k->timeout_ns = run_task_timeout(r, 1);
        k->scheduled_id = run_event_add_at(r, k->scheduled_ns, run_task_event_scheduled(r));
        k->written = true;
        k->speculative = false;
    }
    if (k->written)
        k->started_id = run_event_add_at(r, k->started_ns, run_task_event_started(r));
    else
        k->started_id = k->scheduled_id + 1;
    *ret = (struct run_task_given){ .from = p->sticky ? s->last_started_id + 1 : 1, .to = s->next_event_id,
                                     .stamp = k->stamp };
    answer_fill(r, ret);
    run_update_on_start(r, ret->answer);
    run_end(r, t);
    return 0;
}

uint32_t run_task_stamp(const struct run *r) { return run_task_held(r) ? r->s->task->stamp : 0; }

/* ---- its answer ---- */

static int token_check(const struct run *r, const struct run_token *token, struct refusal *no)
{
    const Ws__WorkflowTask *k = r->s->task;
    if (!run_open(r))
        return refuse(no, CODE_NOT_FOUND, "workflow execution already completed");
    if (!k || !k->started_id || k->scheduled_id != token->scheduled_id || k->started_id != token->started_id ||
        k->attempt != token->attempt || k->started_ns != token->started_ns)
        return refuse(no, CODE_NOT_FOUND, "Workflow task not found.");
    return 0;
}

int run_task_fail(struct run *r, struct durable_turn *t, const struct run_token *token,
                  const Tp__RespondWorkflowTaskFailedRequest *q, struct refusal *no)
{
    int k = token_check(r, token, no);
    if (k < 0)
        return k;
    run_task_lose(r, t, q->cause, q->failure, q->identity);
    run_end(r, t);
    return 0;
}

static void set_sticky(Ws__Run *s, const Tp__StickyExecutionAttributes *sticky)
{
    if (!sticky || !sticky->worker_task_queue || run_empty(sticky->worker_task_queue->name)) {
        run_sticky_clear(s);
        return;
    }
    proto_set_text(&s->sticky_queue, sticky->worker_task_queue->name);
    int64_t ns = run_duration_ns(sticky->schedule_to_start_timeout);
    s->sticky_timeout_ns = ns > 0 ? ns : RUN_TASK_TIMEOUT;
}

static void versions(Tp__WorkflowTaskCompletedEventAttributes *a,
                     const Tp__RespondWorkflowTaskCompletedRequest *q)
{
    a->worker_version = proto_dup(q->worker_version_stamp);
    a->deployment = proto_dup(q->deployment);
    a->versioning_behavior = q->versioning_behavior;
    const Tp__WorkerDeploymentOptions *d = q->deployment_options;
    if (!d || d->worker_versioning_mode != TP__WORKER_VERSIONING_MODE__WORKER_VERSIONING_MODE_VERSIONED)
        return;
    proto_set_text(&a->worker_deployment_name, d->deployment_name);
    a->deployment_version = proto_new(&tp__worker_deployment_version__descriptor);
    proto_set_text(&a->deployment_version->deployment_name, d->deployment_name);
    proto_set_text(&a->deployment_version->build_id, d->build_id);
}

/* Writes the Completed event; no task is there from now on. */
static int64_t task_completed(struct run *r, struct durable_turn *t,
                              const Tp__RespondWorkflowTaskCompletedRequest *q)
{
    Ws__Run *s = r->s;
    if (!s->task->written)
        run_task_write(r, t);
    Tp__HistoryEvent *event;
    Tp__WorkflowTaskCompletedEventAttributes *a = run_event_new(EVENT(WORKFLOW_TASK_COMPLETED), &event);
    a->scheduled_event_id = s->task->scheduled_id;
    a->started_event_id = s->last_started_id = s->task->started_id;
    proto_set_text(&a->identity, q->identity);
    proto_set_text(&a->binary_checksum, q->binary_checksum);
    a->sdk_metadata = proto_dup(q->sdk_metadata);
    a->metering_metadata = proto_dup(q->metering_metadata);
    versions(a, q);
    proto_set_message(&s->worker_version, proto_dup(q->worker_version_stamp));
    if (q->sdk_metadata)
        proto_set_message(&s->sdk, proto_dup(q->sdk_metadata));
    s->last_completed_id = run_event_add(r, t, event);
    if (!s->first_completed_id)
        s->first_completed_id = s->last_completed_id;
    s->task_attempt = 1;
    proto_free(s->task);
    s->task = NULL;
    set_sticky(s, q->sticky_attributes);
    return s->last_completed_id;
}

/* Back to the state of `before`, as if the completion had not come; then the task fails. */
static int task_bad(struct run *r, struct durable_turn *t, struct run_commanding *c, struct buf *before,
                    struct refusal *no)
{
    struct err e;
    ProtobufCMessage *s;
    run_batch_drop(r);
    int k = proto_decode_new(&ws__run__descriptor, buf_str(before), 8 * RUN_STATE_BYTES_MAX, &s, &e);
    ASSERT(k == 0);
    proto_free(r->s);
    r->s = (Ws__Run *)s;
    if (r->s->task->attempt > 1 && c->cause != CAUSE(UNHANDLED_COMMAND) && !c->terminate)
        return refuse(no, CODE_INVALID, "%s", c->text); /* it runs into its timeout: that is the back-off */
    Tp__Failure *failure = run_failure_server(c->text);
    run_task_lose(r, t, c->cause, failure, c->q->identity);
    proto_free(failure);
    if (c->terminate)
        run_close_terminate(r, t, c->text, NULL, "history-service");
    run_end(r, t);
    return refuse(no, CODE_INVALID, "%s", c->text);
}

static bool next_task(const struct run *r, struct run_task *ret)
{
    return run_wants_task(r, 0, ret) && ret->type == RUN_WORKFLOW_TASK;
}

static void completed_fill(const struct run *r, const struct run_commanding *c, struct run_completed *ret)
{
    ret->next = c->q->return_new_workflow_task && next_task(r, &ret->next_task);
    ret->next_run = c->next_run;
    if (!c->eager_count)
        return;
    ret->eager = xcalloc(c->eager_count, sizeof *ret->eager);
    memcpy(ret->eager, c->eager, c->eager_count * sizeof *ret->eager);
    ret->eager_count = c->eager_count;
}

static bool beats_too_long(const struct run *r, const struct durable_turn *t,
                           const Tp__RespondWorkflowTaskCompletedRequest *q)
{
    return q->force_create_new_workflow_task && !q->n_commands && !q->n_messages &&
           t->now_ns - r->s->task->original_scheduled_ns > RUN_TASK_BEATING_MAX;
}

/* What came meanwhile would get the numbers that the worker gave this task: it must be able to forget them. */
static bool may_discard(const Ws__Run *s, const Tp__RespondWorkflowTaskCompletedRequest *q)
{
    bool forgets = q->capabilities && q->capabilities->discard_speculative_workflow_task_with_events;
    return s->task->speculative && s->n_buffered <= (forgets ? DISCARD_EVENTS_MAX : 0);
}

int run_task_complete(struct run *r, struct durable_turn *t, const struct run_token *token,
                      const Tp__RespondWorkflowTaskCompletedRequest *q, struct run_completed *ret,
                      struct refusal *no)
{
    Ws__Run *s = r->s;
    *ret = (struct run_completed){ 0 };
    int k = token_check(r, token, no);
    if (k == 0)
        k = run_command_check(q, no);
    if (k < 0)
        return k;
    if (beats_too_long(r, t, q)) {
        run_task_time_out(r, t, TIMEOUT(START_TO_CLOSE));
        run_end(r, t);
        return refuse(no, CODE_NOT_FOUND, "workflow task heartbeat timeout");
    }
    struct run_commanding c = { .r = r, .t = t, .q = q, .unseen = s->n_buffered + run_update_waiting(r) };
    if (may_discard(s, q) && run_update_discards(r, t, q)) {
        set_sticky(s, q->sticky_attributes);
        s->task_attempt = 1;
        run_task_drop(r);
        ret->reset_history_event_id = s->last_started_id;
        if (s->n_buffered || q->force_create_new_workflow_task)
            run_wake(r, t);
        else
            run_update_wake(r, t);
        run_end(r, t);
        completed_fill(r, &c, ret);
        return 0;
    }

    AUTO(buf) struct buf before;
    buf_init(&before, 2 * RUN_STATE_BYTES_MAX);
    proto_encode(s, &before);
    bool beat = q->force_create_new_workflow_task && !q->n_commands && !q->n_messages;
    int64_t original_ns = s->task->original_scheduled_ns;
    c.completed_id = task_completed(r, t, q);
    if (run_command_apply(&c) < 0 || run_update_on_completed(&c) < 0)
        return task_bad(r, t, &c, &before, no);
    if (run_open(r) && (s->n_buffered || c.wake || q->force_create_new_workflow_task)) {
        run_task_schedule(r, t, false);
        if (beat)
            s->task->original_scheduled_ns = original_ns;
    }
    run_end(r, t);
    completed_fill(r, &c, ret);
    return 0;
}
