/* Queries: how one may be answered now. Nothing of them is ever written. */
#include "workflow/run_impl.h"

#include <stdio.h>
#include <string.h>

enum { TASK_FAILS = 3 }; /* attempts of a task, from which on a worker is not believed to answer */

#define REJECT(name) TP__QUERY_REJECT_CONDITION__QUERY_REJECT_CONDITION_##name

static bool query_rejected(const struct run *r, Tp__QueryRejectCondition reject)
{
    Tp__WorkflowExecutionStatus status = run_status(r);
    switch (reject) {
    case REJECT(NOT_OPEN):
        return status != STATUS(RUNNING);
    case REJECT(NOT_COMPLETED_CLEANLY):
        return status != STATUS(RUNNING) && status != STATUS(COMPLETED);
    default:
        return false;
    }
}

static void not_ready(struct refusal *no, const char *text)
{
    (void)refuse_with(no, CODE_PRECONDITION, "temporal.api.errordetails.v1.WorkflowNotReadyFailure",
                      proto_new(&tp__workflow_not_ready_failure__descriptor), "%s", text);
}

enum run_query_way run_query_way(const struct run *r, Tp__QueryRejectCondition reject, struct refusal *no)
{
    const Ws__Run *s = r->s;
    if (query_rejected(r, reject))
        return RUN_QUERY_REJECTED;
    if (!run_open(r)) {
        if (s->last_started_id)
            return RUN_QUERY_DIRECT;
        not_ready(no, "workflow was closed before its first workflow task was completed: there is nothing to ask");
        return RUN_QUERY_NOT_READY;
    }
    if ((s->task ? s->task->attempt : s->task_attempt) >= TASK_FAILS) {
        not_ready(no, "Unable to query workflow due to Workflow Task in failed state.");
        return RUN_QUERY_NOT_READY;
    }
    if (!s->first_completed_id && s->backing_off) {
        not_ready(no, "workflow task is not scheduled yet: the workflow begins later, by its start delay, back-off or cron schedule");
        return RUN_QUERY_NOT_READY;
    }
    if (!s->first_completed_id)
        return RUN_QUERY_EARLY;
    return s->task ? RUN_QUERY_WITH_TASK : RUN_QUERY_DIRECT;
}

void run_query_given(const struct run *r, bool sticky, struct run_task_given *ret)
{
    const Ws__Run *s = r->s;
    *ret = (struct run_task_given){ .from = sticky ? s->next_event_id : 1, .to = s->next_event_id };
    Tp__PollWorkflowTaskQueueResponse *a = ret->answer =
        proto_new(&tp__poll_workflow_task_queue_response__descriptor);
    a->workflow_execution = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&a->workflow_execution->workflow_id, s->workflow_id);
    proto_set_text(&a->workflow_execution->run_id, s->run_id);
    a->workflow_type = proto_dup(s->started->workflow_type);
    a->previous_started_event_id = s->last_started_id;
    a->attempt = 1;
    a->workflow_execution_task_queue = run_task_queue(run_queue(r), NULL);
    ret->token.type = RUN_WORKFLOW_TASK;
    (void)snprintf(ret->token.ns, sizeof(ret->token.ns), "%s", s->ns);
    (void)snprintf(ret->token.workflow_id, sizeof(ret->token.workflow_id), "%s", s->workflow_id);
    if (!uuid_parse(str_of(s->run_id), &ret->token.run))
        UNREACHABLE("a run id is made here");
}
