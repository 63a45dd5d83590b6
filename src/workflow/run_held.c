#include "workflow/run_impl.h"

bool run_holds(const struct run *r, const struct run_token *token)
{
    const Ws__Run *s = r->s;
    if (token->type == RUN_WORKFLOW_TASK)
        return run_task_held(r) && s->task->started_ns == token->started_ns;
    for (size_t i = 0; i < s->n_activities; i++)
        if (s->activities[i]->scheduled_id == token->scheduled_id)
            return s->activities[i]->started_ns && s->activities[i]->started_ns == token->started_ns;
    return false;
}
