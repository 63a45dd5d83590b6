/* A run that goes on in another one of the same id: as its workflow asked, because it failed, or by the clock. The new run
 * is made in the turn in which the old one ends, so that they are one commit. */
#include "workflow/run_chain.h"
#include "workflow/run_cron.h"
#include "workflow/run_retry.h"

#include <stdlib.h>
#include <string.h>

#define INITIATOR(name) TP__CONTINUE_AS_NEW_INITIATOR__CONTINUE_AS_NEW_INITIATOR_##name

/* ---- the new run ---- */

/* A machine needs a turn to write its first events to, and a turn a machine: they meet here. */
void run_chain_spawn(struct durable_turn *t, const struct run_start *s)
{
    struct durable_turn first = { .now_ns = t->now_ns, .random = t->random };
    list_init(&first.afters);
    struct run *next = run_new(s, &first);
    struct durable_turn *own = durable_turn_create(t, &s->run, next);
    ASSERT(first.afters.count == 0 && !first.forget);
    for (size_t i = 0; i < first.row_count; i++)
        durable_turn_row(own, first.rows[i].first, first.rows[i].count, first.rows[i].bytes,
                         first.rows[i].size);
    free(first.rows);
    own->changed = own->indexed = true;
}

struct link { /* what the new run says of the old one */
    Tp__ContinueAsNewInitiator initiator;
    int32_t attempt;
    int64_t delay_ns;
};

/* `q` is all but who it is. Borrowed for the call. */
static struct uuid link_spawn(struct run *r, struct durable_turn *t, Tp__StartWorkflowExecutionRequest *q,
                              const struct link *link)
{
    Ws__Run *s = r->s;
    char run_id[UUID_TEXT], request_id[UUID_TEXT];
    struct run_start start = { .q = q, .retention_ms = s->retention_ns / 1000000 };
    Tp__WorkflowExecutionStartedEventAttributes chain;
    Tp__Timestamp expiry = TP__TIMESTAMP__INIT;

    run_new_id(t, run_id);
    run_new_id(t, request_id);
    if (!uuid_parse(str_of(run_id), &start.run) || !uuid_parse(str_of(s->first_run_id), &start.first_run))
        UNREACHABLE("ids are made here");
    q->namespace_ = s->ns;
    q->workflow_id = s->workflow_id;
    q->request_id = request_id;
    q->workflow_execution_timeout = s->started->workflow_execution_timeout;
    q->priority = s->priority;
    q->versioning_override = s->versioning_override;
    q->user_metadata = s->metadata;

    tp__workflow_execution_started_event_attributes__init(&chain);
    chain.continued_execution_run_id = s->run_id;
    chain.initiator = link->initiator;
    chain.attempt = link->attempt;
    if (s->execution_deadline_ns) {
        expiry.seconds = s->execution_deadline_ns / RUN_SECOND;
        expiry.nanos = (int32_t)(s->execution_deadline_ns % RUN_SECOND);
        chain.workflow_execution_expiration_time = &expiry;
    }
    start.chain = &chain;
    if (s->started->parent_workflow_execution) {
        start.parent_ns = s->started->parent_workflow_namespace;
        start.parent = s->started->parent_workflow_execution;
        start.parent_initiated_id = s->started->parent_initiated_event_id;
    }
    start.cron_zone = run_cron_zone(s);
    start.root = s->started->root_workflow_execution;
    start.first_task_delay_ms = link->delay_ns / 1000000 + (link->delay_ns % 1000000 != 0);
    run_chain_spawn(t, &start);
    proto_set_text(&s->next_run_id, run_id);
    return start.run;
}

/* As it was started itself. */
static struct uuid again(struct run *r, struct durable_turn *t, const struct link *link,
                         const Tp__Failure *failure, const Tp__Payloads *result)
{
    Ws__Run *s = r->s;
    Tp__StartWorkflowExecutionRequest q;
    tp__start_workflow_execution_request__init(&q);
    q.workflow_type = s->started->workflow_type;
    q.task_queue = s->started->task_queue;
    q.input = s->started->input;
    q.header = s->started->header;
    q.workflow_run_timeout = s->started->workflow_run_timeout;
    q.workflow_task_timeout = s->started->workflow_task_timeout;
    q.retry_policy = s->started->retry_policy;
    q.cron_schedule = s->started->cron_schedule;
    q.memo = s->memo;
    q.search_attributes = s->search_attributes;
    Tp__Failure *failure_copy = run_failure_dup(failure);
    Tp__Payloads *result_copy = proto_dup(result ? result : s->started->last_completion_result);
    q.continued_failure = failure_copy;
    q.last_completion_result = result_copy;
    struct uuid next = link_spawn(r, t, &q, link);
    proto_free(failure_copy);
    proto_free(result_copy);
    return next;
}

/* ---- after the end: retry, then cron ---- */

static Tp__Failure *timeout_failure(void)
{
    Tp__Failure *f = proto_new(&tp__failure__descriptor);
    proto_set_text(&f->message, "workflow timeout");
    proto_set_text(&f->source, "Server");
    f->failure_info_case = TP__FAILURE__FAILURE_INFO_TIMEOUT_FAILURE_INFO;
    f->timeout_failure_info = proto_new(&tp__timeout_failure_info__descriptor);
    f->timeout_failure_info->timeout_type = TIMEOUT(START_TO_CLOSE);
    return f;
}

static bool expired(const Ws__Run *s, int64_t now_ns)
{
    return s->execution_deadline_ns != 0 && s->execution_deadline_ns <= now_ns;
}

static bool retries(const Ws__Run *s, int64_t now_ns, const Tp__Failure *failure, struct link *ret,
                    Tp__RetryState *ret_state)
{
    struct run_retry retry = run_retry_decide(&(struct run_retry_ask){
        .policy = s->started->retry_policy,
        .failure = failure,
        .attempt = MAX(s->started->attempt, 1),
        .now_ns = now_ns,
        .expiry_ns = s->execution_deadline_ns,
    });
    *ret_state = retry.state;
    if (retry.state != RETRY(IN_PROGRESS))
        return false;
    *ret = (struct link){ INITIATOR(RETRY), MAX(s->started->attempt, 1) + 1, retry.delay_ns };
    return true;
}

static bool recurs(const Ws__Run *s, int64_t now_ns, struct link *ret)
{
    int64_t delay_ns;
    if (run_empty(s->started->cron_schedule) ||
        !run_cron_delay(s->started->cron_schedule, run_cron_zone(s), s->execution_ns, now_ns, &delay_ns))
        return false;
    if (s->execution_deadline_ns != 0 && now_ns + delay_ns > s->execution_deadline_ns)
        return false;
    *ret = (struct link){ INITIATOR(CRON_SCHEDULE), 1, delay_ns };
    return true;
}

bool run_chain_after(struct run *r, struct durable_turn *t, Tp__WorkflowExecutionStatus status,
                     const Tp__Failure *failure, const Tp__Payloads *result, struct uuid *ret_next,
                     Tp__RetryState *ret_state)
{
    struct link link;
    bool goes_on = false;
    *ret_state = RETRY(UNSPECIFIED);
    if (status != STATUS(COMPLETED) && status != STATUS(FAILED) && status != STATUS(TIMED_OUT))
        return false;
    if (status == STATUS(TIMED_OUT) && expired(r->s, t->now_ns)) {
        *ret_state = RETRY(TIMEOUT);
        return false;
    }
    Tp__Failure *timeout = status == STATUS(TIMED_OUT) ? timeout_failure() : NULL;
    if (timeout)
        failure = timeout;
    if (status != STATUS(COMPLETED))
        goes_on = retries(r->s, t->now_ns, failure, &link, ret_state);
    if (!goes_on)
        goes_on = recurs(r->s, t->now_ns, &link);
    if (goes_on)
        *ret_next = again(r, t, &link, status == STATUS(COMPLETED) ? NULL : failure,
                          status == STATUS(COMPLETED) ? result : NULL);
    proto_free(timeout);
    return goes_on;
}

/* ---- as the workflow asks ---- */

static int continue_check(struct run_commanding *c,
                          const Tp__ContinueAsNewWorkflowExecutionCommandAttributes *a)
{
    const Tp__WorkflowTaskFailedCause bad = CAUSE(BAD_CONTINUE_AS_NEW_ATTRIBUTES);
    struct err e;
    if (c->unseen)
        return run_command_bad(c, CAUSE(UNHANDLED_COMMAND), "UnhandledCommand");
    if (a->workflow_type && strlen(a->workflow_type->name) > RUN_ID_BYTES_MAX)
        return run_command_bad(c, bad, "WorkflowType on ContinueAsNewWorkflowExecutionCommand exceeds length limit.");
    if (a->task_queue && strlen(a->task_queue->name) > RUN_ID_BYTES_MAX)
        return run_command_bad(c, bad, "TaskQueue on ContinueAsNewWorkflowExecutionCommand exceeds length limit.");
    if (run_duration_ns(a->workflow_run_timeout) < 0 || run_duration_ns(a->workflow_task_timeout) < 0 ||
        run_duration_ns(a->backoff_start_interval) < 0)
        return run_command_bad(c, bad, "Invalid timeout on ContinueAsNewWorkflowExecutionCommand: negative.");
    if (run_retry_check(a->retry_policy, &e) < 0)
        return run_command_bad(c, bad, "Invalid retry policy on ContinueAsNewWorkflowExecutionCommand: %s", e.text);
    if (!run_empty(a->cron_schedule) && run_cron_check(a->cron_schedule, &e) < 0)
        return run_command_bad(c, bad, "Invalid cron schedule on ContinueAsNewWorkflowExecutionCommand: %s",
                               e.text);
    if (!run_empty(a->cron_schedule) && !run_cron_same_zone(a->cron_schedule, c->r->s->started->cron_schedule))
        return run_command_bad(c, bad, "a cron schedule of another time zone cannot be continued with: start a workflow of its own "
                                       "with ContinueAsNewWorkflowExecutionCommand's cron schedule");
    if (a->input && proto_size(a->input) > RUN_BLOB_BYTES_MAX)
        return run_command_fatal(c, bad,
                                 "ContinueAsNewWorkflowExecutionCommandAttributes.Input exceeds size limit.");
    if (a->memo && proto_size(a->memo) > RUN_BLOB_BYTES_MAX)
        return run_command_fatal(c, bad,
                                 "ContinueAsNewWorkflowExecutionCommandAttributes.Memo exceeds size limit.");
    return 0;
}

/* What the command leaves out is as it was. Borrowed from the state and the command. */
static void continue_fill(const Ws__Run *s, const Tp__ContinueAsNewWorkflowExecutionCommandAttributes *a,
                          Tp__StartWorkflowExecutionRequest *q)
{
    tp__start_workflow_execution_request__init(q);
    q->workflow_type =
        a->workflow_type && !run_empty(a->workflow_type->name) ? a->workflow_type : s->started->workflow_type;
    q->task_queue = a->task_queue && !run_empty(a->task_queue->name) ? a->task_queue : s->started->task_queue;
    q->input = a->input;
    q->header = a->header;
    q->workflow_run_timeout = temporal_duration_ns(a->workflow_run_timeout) > 0
                                  ? a->workflow_run_timeout
                                  : s->started->workflow_run_timeout;
    q->workflow_task_timeout = temporal_duration_ns(a->workflow_task_timeout) > 0
                                   ? a->workflow_task_timeout
                                   : s->started->workflow_task_timeout;
    q->retry_policy = a->retry_policy;
    q->cron_schedule = a->cron_schedule;
    q->memo = a->memo ? a->memo : s->memo;
    q->search_attributes = a->search_attributes ? a->search_attributes : s->search_attributes;
    q->continued_failure = a->failure;
    q->last_completion_result = a->last_completion_result;
}

static Tp__HistoryEvent *continued_event(const struct run_commanding *c,
                                         const Tp__ContinueAsNewWorkflowExecutionCommandAttributes *a,
                                         const Tp__StartWorkflowExecutionRequest *q)
{
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionContinuedAsNewEventAttributes *n =
        run_event_new(EVENT(WORKFLOW_EXECUTION_CONTINUED_AS_NEW), &event);
    proto_set_text(&n->new_execution_run_id, c->r->s->next_run_id);
    n->workflow_type = proto_dup(q->workflow_type);
    n->task_queue = run_task_queue(q->task_queue->name, NULL);
    n->input = proto_dup(q->input);
    n->workflow_run_timeout = proto_dup(q->workflow_run_timeout);
    n->workflow_task_timeout = proto_dup(q->workflow_task_timeout);
    n->workflow_task_completed_event_id = c->completed_id;
    n->backoff_start_interval = proto_dup(a->backoff_start_interval);
    n->initiator = a->initiator == INITIATOR(UNSPECIFIED) ? INITIATOR(WORKFLOW) : a->initiator;
    n->failure = proto_dup(q->continued_failure);
    n->last_completion_result = proto_dup(q->last_completion_result);
    n->header = proto_dup(q->header);
    n->memo = proto_dup(q->memo);
    n->search_attributes = proto_dup(q->search_attributes);
    n->inherit_build_id = a->inherit_build_id;
    n->initial_versioning_behavior = a->initial_versioning_behavior;
    return event;
}

int run_chain_command_continue(struct run_commanding *c)
{
    const Tp__ContinueAsNewWorkflowExecutionCommandAttributes *a =
        c->command->continue_as_new_workflow_execution_command_attributes;
    Tp__StartWorkflowExecutionRequest q;
    if (continue_check(c, a) < 0)
        return -1;
    continue_fill(c->r->s, a, &q);
    if (q.retry_policy)
        run_retry_fill(q.retry_policy = proto_dup(q.retry_policy));
    struct link link = {
        .initiator = a->initiator == INITIATOR(UNSPECIFIED) ? INITIATOR(WORKFLOW) : a->initiator,
        .attempt = 1,
        .delay_ns = temporal_duration_ns(a->backoff_start_interval),
    };
    c->next_run = link_spawn(c->r, c->t, &q, &link);
    run_close(c->r, c->t, STATUS(CONTINUED_AS_NEW), continued_event(c, a, &q), NULL, c->command);
    c->closed = true;
    proto_free(q.retry_policy);
    return 0;
}
