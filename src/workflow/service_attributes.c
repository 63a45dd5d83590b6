#include "workflow/attributes.h"
#include "workflow/service_impl.h"

/* Custom search attributes of requests: checked, and given their types, before anything else reads the request. */

static Tp__IndexedValueType find(void *ctx, const char *name)
{
    const struct service_namespace *n = ctx;
    for (size_t i = 0; i < n->stored->n_attributes; i++)
        if (!strcmp(n->stored->attributes[i]->key, name))
            return n->stored->attributes[i]->value;
    return TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_UNSPECIFIED;
}

static Tp__SearchAttributes *of_command(const Tp__Command *c)
{
    switch (c->attributes_case) {
    case TP__COMMAND__ATTRIBUTES_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES_COMMAND_ATTRIBUTES:
        return c->upsert_workflow_search_attributes_command_attributes->search_attributes;
    case TP__COMMAND__ATTRIBUTES_CONTINUE_AS_NEW_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES:
        return c->continue_as_new_workflow_execution_command_attributes->search_attributes;
    case TP__COMMAND__ATTRIBUTES_START_CHILD_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES:
        return c->start_child_workflow_execution_command_attributes->search_attributes;
    default: return NULL;
    }
}

static Tp__SearchAttributes *of_action(const Tp__Schedule *x)
{
    return x && x->action && x->action->action_case == TP__SCHEDULE_ACTION__ACTION_START_WORKFLOW
               ? x->action->start_workflow->search_attributes : NULL;
}

/* The n-th of a request; false: there are no more. NULL in `ret`: nothing in this place. */
static bool nth(const ProtobufCMessage *q, size_t n, Tp__SearchAttributes **ret)
{
    const void *any = q;
    *ret = NULL;
    if (q->descriptor == &tp__start_workflow_execution_request__descriptor) {
        *ret = ((const Tp__StartWorkflowExecutionRequest *)any)->search_attributes;
        return n < 1;
    }
    if (q->descriptor == &tp__signal_with_start_workflow_execution_request__descriptor) {
        *ret = ((const Tp__SignalWithStartWorkflowExecutionRequest *)any)->search_attributes;
        return n < 1;
    }
    if (q->descriptor == &tp__execute_multi_operation_request__descriptor) {
        const Tp__ExecuteMultiOperationRequest *m = any;
        if (n >= m->n_operations)
            return false;
        if (m->operations[n]->operation_case == TP__EXECUTE_MULTI_OPERATION_REQUEST__OPERATION__OPERATION_START_WORKFLOW)
            *ret = m->operations[n]->start_workflow->search_attributes;
        return true;
    }
    if (q->descriptor == &tp__create_schedule_request__descriptor) {
        const Tp__CreateScheduleRequest *m = any;
        *ret = n ? of_action(m->schedule) : m->search_attributes;
        return n < 2;
    }
    if (q->descriptor == &tp__update_schedule_request__descriptor) {
        const Tp__UpdateScheduleRequest *m = any;
        *ret = n ? of_action(m->schedule) : m->search_attributes;
        return n < 2;
    }
    if (q->descriptor == &tp__respond_workflow_task_completed_request__descriptor) {
        const Tp__RespondWorkflowTaskCompletedRequest *m = any;
        if (n < m->n_commands)
            *ret = of_command(m->commands[n]);
        return n < m->n_commands;
    }
    return false;
}

static const char *namespace_of(const struct service_call *c, size_t n)
{
    const ProtobufCMessage *q = c->q;
    if (q->descriptor != &tp__respond_workflow_task_completed_request__descriptor)
        return c->ns;
    const Tp__Command *k = ((const Tp__RespondWorkflowTaskCompletedRequest *)(const void *)q)->commands[n];
    if (k->attributes_case != TP__COMMAND__ATTRIBUTES_START_CHILD_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES ||
        !*k->start_child_workflow_execution_command_attributes->namespace_)
        return c->ns;
    return k->start_child_workflow_execution_command_attributes->namespace_;
}

static bool brings_any(const ProtobufCMessage *q)
{
    Tp__SearchAttributes *a;
    for (size_t n = 0; nth(q, n, &a); n++)
        if (a && a->n_indexed_fields)
            return true;
    return false;
}

int service_attributes_apply(struct service *s, struct service_call *c, struct refusal *no)
{
    if (!brings_any(c->q))
        return 0;
    c->q = c->own = proto_dup(c->q);
    Tp__SearchAttributes *a;
    for (size_t n = 0; nth(c->q, n, &a); n++) {
        const char *ns = namespace_of(c, n);
        struct attributes_rules rules = { .ns = ns, .find = find, .ctx = service_namespace_find(s, ns) };
        int r = rules.ctx ? attributes_apply(a, &rules, no) : 0; /* a child's that is not there: its start says so */
        if (r < 0)
            return r;
    }
    return 0;
}
