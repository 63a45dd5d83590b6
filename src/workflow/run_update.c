/* Updates: requests that the workflow answers. Each goes admitted -> (sent with a task) -> accepted -> completed, or is rejected,
 * which the history does not know. An admitted one is on disk before its caller hears of it.
 *
 * An outcome stays in the state while callers are likely to ask: of the last few. Of older ones the number of their event
 * stays, where the outcome is to be read. */
#include "workflow/run_update.h"

#include <string.h>

enum {
    IN_FLIGHT_MAX = 10,  /* Temporal's figures */
    TOTAL_MAX = 2000,
    TASK_FAILS = 3,      /* attempts of a task, from which on a worker is not believed to answer */
    REJECTED_KEPT = 10,  /* at least IN_FLIGHT_MAX: those of one turn are all there when it is committed */
    OUTCOMES_KEPT = 16,
    ID_BYTES_MAX = RUN_ID_BYTES_MAX,
};
#define STAGE(name) \
    TP__UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE__UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_##name
#define BAD CAUSE(BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE)

Ws__Update *run_update_find(const struct run *r, const char *id)
{
    for (size_t i = 0; i < r->s->n_updates; i++)
        if (strcmp(r->s->updates[i]->id, id) == 0)
            return r->s->updates[i];
    return NULL;
}

static bool rejected(const Ws__Update *u) { return u->stage == STAGE(COMPLETED) && u->completed_id == 0; }

static size_t in_flight(const Ws__Run *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_updates; i++)
        n += s->updates[i]->stage != STAGE(COMPLETED);
    return n;
}

/* ---- admission ---- */

static int refuse_full(struct refusal *no, size_t flying)
{
    Tp__ResourceExhaustedFailure *detail = proto_new(&tp__resource_exhausted_failure__descriptor);
    detail->cause = TP__RESOURCE_EXHAUSTED_CAUSE__RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT;
    detail->scope = TP__RESOURCE_EXHAUSTED_SCOPE__RESOURCE_EXHAUSTED_SCOPE_NAMESPACE;
    return refuse_with(no, CODE_EXHAUSTED, "temporal.api.errordetails.v1.ResourceExhaustedFailure", detail,
                       "limit on number of concurrent in-flight updates has been reached (%zu)", flying);
}

static int update_check(const struct run *r, const Tp__UpdateRequest *q, struct refusal *no)
{
    const Ws__Run *s = r->s;
    int32_t attempt = s->task ? s->task->attempt : s->task_attempt;
    if (!run_open(r))
        return refuse(no, CODE_NOT_FOUND, "workflow execution already completed");
    if (strlen(q->meta->update_id) > ID_BYTES_MAX)
        return refuse(no, CODE_INVALID, "UpdateId length exceeds limit: %zu bytes, at most %d.",
                      strlen(q->meta->update_id), ID_BYTES_MAX);
    if (in_flight(s) >= IN_FLIGHT_MAX)
        return refuse_full(no, in_flight(s));
    if (s->update_count >= TOTAL_MAX)
        return refuse(no, CODE_PRECONDITION,
                      "limit on the total number of distinct updates in this workflow has been reached (%d). "
                      "Make sure any duplicate updates share an Update ID so the server can deduplicate them, and "
                      "consider rejecting updates that you aren't going to process",
                      TOTAL_MAX);
    if (attempt >= TASK_FAILS)
        return refuse_with(no, CODE_PRECONDITION, "temporal.api.errordetails.v1.WorkflowNotReadyFailure",
                           proto_new(&tp__workflow_not_ready_failure__descriptor),
                           "Unable to perform workflow execution update due to Workflow Task in failed state.");
    return 0;
}

Ws__Update *run_update_admit(struct run *r, const Tp__UpdateRequest *q, int64_t now_ns)
{
    Ws__Update *u = proto_new(&ws__update__descriptor);
    AUTO_FREE char *message_id = xasprintf("%s/request", q->meta->update_id);
    proto_set_text(&u->id, q->meta->update_id);
    proto_set_text(&u->message_id, message_id);
    u->stage = STAGE(ADMITTED);
    u->request = proto_dup(q);
    u->admitted_ns = now_ns;
    proto_push(&r->s->n_updates, &r->s->updates, u);
    r->s->update_count++;
    return u;
}

void run_update_wake(struct run *r, struct durable_turn *t)
{
    const Ws__Run *s = r->s;
    if (run_open(r) && !s->task && !s->waits_for_parent && !s->backing_off && run_update_waiting(r))
        run_task_schedule(r, t, true);
}

int run_update(struct run *r, struct durable_turn *t, const Tp__UpdateRequest *q, struct refusal *no)
{
    ASSERT(q->meta && !run_empty(q->meta->update_id));
    if (run_update_find(r, q->meta->update_id))
        return 0;
    int k = update_check(r, q, no);
    if (k < 0)
        return k;
    run_update_admit(r, q, t->now_ns);
    run_update_wake(r, t);
    run_end(r, t);
    return 0;
}

int run_update_stage(const struct run *r, const char *update_id,
                     Tp__UpdateWorkflowExecutionLifecycleStage *ret, const Tp__UpdateOutcome **ret_outcome,
                     struct refusal *no)
{
    const Ws__Update *u = run_update_find(r, update_id);
    if (!u && run_open(r))
        return refuse(no, CODE_NOT_FOUND, "update \"%.200s\" not found", update_id);
    if (!run_open(r) && (!u || u->stage == STAGE(ADMITTED))) {
        if (u && (!run_empty(r->s->next_run_id) || !run_empty(r->s->reset_run_id))) /* the next run takes it, if it is sent again */
            return refuse(no, CODE_ABORTED, "workflow operation can not be applied because workflow is closing");
        return refuse(no, CODE_NOT_FOUND, "workflow execution already completed");
    }
    *ret = u->stage;
    *ret_outcome = u->stage == STAGE(COMPLETED) ? u->outcome : NULL;
    return 0;
}

int64_t run_update_completed_event(const struct run *r, const char *update_id)
{
    const Ws__Update *u = run_update_find(r, update_id);
    return u ? u->completed_id : 0;
}

/* ---- with a task ---- */

bool run_update_waiting(const struct run *r)
{
    for (size_t i = 0; i < r->s->n_updates; i++)
        if (r->s->updates[i]->stage == STAGE(ADMITTED) && !r->s->updates[i]->sent)
            return true;
    return false;
}

void run_update_on_start(struct run *r, Tp__PollWorkflowTaskQueueResponse *answer)
{
    for (size_t i = 0; i < r->s->n_updates; i++) {
        Ws__Update *u = r->s->updates[i];
        if (u->stage != STAGE(ADMITTED))
            continue;
        u->sent = true;
        u->sequencing_id = answer->started_event_id - 1;
        Tp__ProtocolMessage *m = proto_new(&tp__protocol_message__descriptor);
        proto_set_text(&m->id, u->message_id);
        proto_set_text(&m->protocol_instance_id, u->id);
        m->sequencing_id_case = TP__PROTOCOL_MESSAGE__SEQUENCING_ID_EVENT_ID;
        m->event_id = u->sequencing_id;
        m->body = temporal_any_new(u->request);
        proto_push(&answer->n_messages, &answer->messages, m);
    }
}

void run_update_on_lost(struct run *r)
{
    for (size_t i = 0; i < r->s->n_updates; i++)
        r->s->updates[i]->sent = false;
}

/* ---- what the worker says ---- */

void run_update_accepted(Ws__Update *u, int64_t event_id)
{
    u->stage = STAGE(ACCEPTED);
    u->sent = false;
    u->accepted_id = event_id;
    proto_set_message(&u->request, NULL);
}

void run_update_completed(Ws__Update *u, int64_t event_id, const Tp__UpdateOutcome *outcome)
{
    u->stage = STAGE(COMPLETED);
    u->sent = false;
    u->completed_id = event_id;
    proto_set_message(&u->request, NULL);
    proto_set_message(&u->outcome, proto_dup(outcome));
}

static void reject(Ws__Update *u, const Tp__Failure *failure)
{
    Tp__UpdateOutcome outcome = TP__UPDATE_OUTCOME__INIT;
    Tp__Failure *copy = run_failure_dup(failure);
    if (copy) {
        outcome.value_case = TP__UPDATE_OUTCOME__VALUE_FAILURE;
        outcome.failure = copy;
    }
    run_update_completed(u, 0, &outcome);
    proto_free(copy);
}

static Tp__Failure *failure_of(const char *type, const char *text)
{
    Tp__Failure *f = proto_new(&tp__failure__descriptor);
    proto_set_text(&f->message, text);
    proto_set_text(&f->source, "Server");
    f->failure_info_case = TP__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO;
    f->application_failure_info = proto_new(&tp__application_failure_info__descriptor);
    proto_set_text(&f->application_failure_info->type, type);
    f->application_failure_info->non_retryable = true;
    return f;
}

/* The worker had it and did not speak of it. */
static void reject_unanswered(struct run *r)
{
    Tp__Failure *f = failure_of("UnprocessedUpdate",
                                "Workflow Update is rejected because it wasn't processed by worker. Probably, "
                                "Workflow Update is not supported by the worker.");
    for (size_t i = 0; i < r->s->n_updates; i++)
        if (r->s->updates[i]->stage == STAGE(ADMITTED) && r->s->updates[i]->sent)
            reject(r->s->updates[i], f);
    proto_free(f);
}

/* Rejected ones were never there, outcomes are in the history: only the last ones of both are kept. */
static void forget_old(struct run *r, int64_t older_than)
{
    Ws__Run *s = r->s;
    size_t refused = 0, outcomes = 0;
    for (size_t i = s->n_updates; i-- > 0;) {
        Ws__Update *u = s->updates[i];
        if (rejected(u) && refused++ >= REJECTED_KEPT)
            run_remove(&s->n_updates, &s->updates, i);
        else if (u->completed_id && u->outcome && outcomes++ >= OUTCOMES_KEPT && u->completed_id < older_than)
            proto_set_message(&u->outcome, NULL);
    }
}

static void *body_decode(const Tp__ProtocolMessage *m, const ProtobufCMessageDescriptor *d,
                         struct proto_arena *a)
{
    ProtobufCMessage *body;
    struct err e;
    /* It came within a request, whose size is bounded; decoded it may take eight times as much. */
    if (proto_decode(d, proto_bytes(&m->body->value), 64 * RUN_BLOB_BYTES_MAX, a, &body, &e) < 0)
        return NULL;
    return body;
}

/* Of a message that no command named: an event without metadata. */
static int64_t event_add(struct run_commanding *c, Tp__HistoryEvent *take_event)
{
    return c->command ? run_command_event(c, take_event) : run_event_add(c->r, c->t, take_event);
}

static int accept(struct run_commanding *c, Ws__Update *u, const Tp__UpdateAcceptance *said)
{
    if (u->stage != STAGE(ADMITTED) || !u->sent)
        return run_command_bad(c, BAD, "Update %.200s was accepted, but is not waiting for that.", u->id);
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionUpdateAcceptedEventAttributes *a =
        run_event_new(EVENT(WORKFLOW_EXECUTION_UPDATE_ACCEPTED), &event);
    proto_set_text(&a->protocol_instance_id, u->id);
    proto_set_text(&a->accepted_request_message_id, u->message_id);
    a->accepted_request_sequencing_event_id = said->accepted_request_sequencing_event_id;
    a->accepted_request = proto_dup(u->request);
    run_update_accepted(u, event_add(c, event));
    return 0;
}

static int respond(struct run_commanding *c, Ws__Update *u, const Tp__UpdateResponse *said)
{
    if (u->stage != STAGE(ACCEPTED))
        return run_command_bad(c, BAD, "Update %.200s was completed, but is not accepted.", u->id);
    if (!said->outcome || said->outcome->value_case == TP__UPDATE_OUTCOME__VALUE__NOT_SET)
        return run_command_bad(c, BAD, "Update %.200s was completed without an outcome.", u->id);
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionUpdateCompletedEventAttributes *a =
        run_event_new(EVENT(WORKFLOW_EXECUTION_UPDATE_COMPLETED), &event);
    a->meta = said->meta ? proto_dup(said->meta) : proto_new(&tp__update_meta__descriptor);
    proto_set_text(&a->meta->update_id, u->id);
    a->accepted_event_id = u->accepted_id;
    a->outcome = proto_dup(said->outcome);
    run_update_completed(u, event_add(c, event), a->outcome);
    return 0;
}

static int refuse_update(struct run_commanding *c, Ws__Update *u, const Tp__UpdateRejection *said)
{
    if (u->stage != STAGE(ADMITTED) || !u->sent)
        return run_command_bad(c, BAD, "Update %.200s was rejected, but is not waiting for that.", u->id);
    reject(u, said->failure);
    return 0;
}

static int message_apply(struct run_commanding *c, const Tp__ProtocolMessage *m)
{
    __attribute__((cleanup(proto_arena_auto))) struct proto_arena arena = { 0 };
    Ws__Update *u = run_update_find(c->r, m->protocol_instance_id);
    void *body = NULL;
    if (!u)
        return run_command_bad(c, BAD,
                               "update %.200s wasn't found on the server. This is most likely a transient error which "
                               "will be resolved automatically by retries",
                               m->protocol_instance_id);
    if (m->body && temporal_any_is(m->body, &tp__update_acceptance__descriptor)) {
        if ((body = body_decode(m, &tp__update_acceptance__descriptor, &arena)))
            return accept(c, u, body);
    } else if (m->body && temporal_any_is(m->body, &tp__update_response__descriptor)) {
        if ((body = body_decode(m, &tp__update_response__descriptor, &arena)))
            return respond(c, u, body);
    } else if (m->body && temporal_any_is(m->body, &tp__update_rejection__descriptor)) {
        if ((body = body_decode(m, &tp__update_rejection__descriptor, &arena)))
            return refuse_update(c, u, body);
    }
    return run_command_bad(c, BAD, "A message about update %.200s is none of Acceptance, Rejection, Response.",
                           u->id);
}

int run_update_command_message(struct run_commanding *c)
{
    const char *id = c->command->protocol_message_command_attributes->message_id;
    if (run_empty(id))
        return run_command_bad(c, BAD, "ProtocolMessageCommand is missing message ID.");
    for (size_t i = 0; i < c->q->n_messages; i++)
        if (strcmp(c->q->messages[i]->id, id) == 0)
            return message_apply(c, c->q->messages[i]);
    return run_command_bad(c, BAD, "ProtocolMessageCommand referenced absent message ID %.200s", id);
}

/* A command said when it counts, and it was applied there. */
static bool commanded(const Tp__RespondWorkflowTaskCompletedRequest *q, const Tp__ProtocolMessage *m)
{
    for (size_t i = 0; i < q->n_commands; i++)
        if (q->commands[i]->command_type == COMMAND(PROTOCOL_MESSAGE) &&
            q->commands[i]->protocol_message_command_attributes &&
            strcmp(q->commands[i]->protocol_message_command_attributes->message_id, m->id) == 0)
            return true;
    return false;
}

int run_update_on_completed(struct run_commanding *c)
{
    struct run *r = c->r;
    c->command = NULL;
    for (size_t i = 0; i < c->q->n_messages; i++) {
        const Tp__ProtocolMessage *m = c->q->messages[i];
        bool no = m->body && temporal_any_is(m->body, &tp__update_rejection__descriptor);
        /* Nothing is written behind the end of a run; that somebody was rejected can still be told. */
        if (commanded(c->q, m) || (!run_open(r) && !no))
            continue;
        if (message_apply(c, m) < 0)
            return -1;
    }
    reject_unanswered(r);
    if (run_open(r))
        forget_old(r, c->completed_id);
    if (!r->s->n_buffered && !c->wake && !c->q->force_create_new_workflow_task)
        run_update_wake(r, c->t); /* those that came meanwhile: nothing needs to be written for them */
    return 0;
}

bool run_update_discards(struct run *r, struct durable_turn *t, const Tp__RespondWorkflowTaskCompletedRequest *q)
{
    struct run_commanding c = { .r = r, .t = t, .q = q };
    if (q->n_commands || q->force_create_new_workflow_task)
        return false;
    for (size_t i = 0; i < q->n_messages; i++) {
        const Tp__ProtocolMessage *m = q->messages[i];
        if (!m->body || !temporal_any_is(m->body, &tp__update_rejection__descriptor))
            return false;
    }
    for (size_t i = 0; i < q->n_messages; i++)
        (void)message_apply(&c, q->messages[i]); /* of one that nobody waits for: nothing to say */
    reject_unanswered(r);
    forget_old(r, r->s->next_event_id);
    return true;
}

void run_update_on_close(struct run *r)
{
    Tp__Failure *f = failure_of("AcceptedUpdateCompletedWorkflow",
                                "Workflow Update failed because the Workflow completed before the Update completed.");
    Tp__UpdateOutcome outcome = TP__UPDATE_OUTCOME__INIT;
    outcome.value_case = TP__UPDATE_OUTCOME__VALUE_FAILURE;
    outcome.failure = f;
    for (size_t i = 0; i < r->s->n_updates; i++) {
        Ws__Update *u = r->s->updates[i];
        if (u->stage == STAGE(ACCEPTED))
            run_update_completed(u, 0, &outcome);
        else if (u->stage == STAGE(ADMITTED))
            proto_set_message(&u->request, NULL);
    }
    proto_free(f);
}
