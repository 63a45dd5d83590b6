#include "workflow/run_impl.h"

#include <stdarg.h>
#include <stdio.h>

/* Type, the field its attributes are in, who applies it, the cause when they are missing; the last ones end a run. */
static const struct command {
    uint16_t type, field, cause;
    bool closes;
    run_command_fn *apply;
    const char *name;
} commands[] = {
    { COMMAND(SCHEDULE_ACTIVITY_TASK), 2, CAUSE(BAD_SCHEDULE_ACTIVITY_ATTRIBUTES), false,
      run_activity_command_schedule, "ScheduleActivityTask" },
    { COMMAND(REQUEST_CANCEL_ACTIVITY_TASK), 6, CAUSE(BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES), false,
      run_activity_command_cancel, "RequestCancelActivityTask" },
    { COMMAND(START_TIMER), 3, CAUSE(BAD_START_TIMER_ATTRIBUTES), false, run_timer_command_start,
      "StartTimer" },
    { COMMAND(CANCEL_TIMER), 7, CAUSE(BAD_CANCEL_TIMER_ATTRIBUTES), false, run_timer_command_cancel,
      "CancelTimer" },
    { COMMAND(RECORD_MARKER), 10, CAUSE(BAD_RECORD_MARKER_ATTRIBUTES), false, run_record_command_marker,
      "RecordMarker" },
    { COMMAND(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES), 14, CAUSE(BAD_SEARCH_ATTRIBUTES), false,
      run_record_command_search, "UpsertWorkflowSearchAttributes" },
    { COMMAND(MODIFY_WORKFLOW_PROPERTIES), 17, CAUSE(BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES), false,
      run_record_command_memo, "ModifyWorkflowProperties" },
    { COMMAND(START_CHILD_WORKFLOW_EXECUTION), 12, CAUSE(BAD_START_CHILD_EXECUTION_ATTRIBUTES), false,
      run_child_command_start, "StartChildWorkflowExecution" },
    { COMMAND(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION), 13, CAUSE(BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES),
      false, run_external_command_signal, "SignalExternalWorkflowExecution" },
    { COMMAND(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION), 9,
      CAUSE(BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES), false,
      run_external_command_cancel, "RequestCancelExternalWorkflowExecution" },
    { COMMAND(PROTOCOL_MESSAGE), 15, CAUSE(BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE), false,
      run_update_command_message, "ProtocolMessage" },
    { COMMAND(COMPLETE_WORKFLOW_EXECUTION), 4, CAUSE(BAD_COMPLETE_WORKFLOW_EXECUTION_ATTRIBUTES), true,
      run_close_command_complete, "CompleteWorkflowExecution" },
    { COMMAND(FAIL_WORKFLOW_EXECUTION), 5, CAUSE(BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES), true,
      run_close_command_fail, "FailWorkflowExecution" },
    { COMMAND(CANCEL_WORKFLOW_EXECUTION), 8, CAUSE(BAD_CANCEL_WORKFLOW_EXECUTION_ATTRIBUTES), true,
      run_close_command_cancel, "CancelWorkflowExecution" },
    { COMMAND(CONTINUE_AS_NEW_WORKFLOW_EXECUTION), 11, CAUSE(BAD_CONTINUE_AS_NEW_ATTRIBUTES), true,
      run_chain_command_continue, "ContinueAsNewWorkflowExecution" },
};

static const struct command *command_find(Tp__CommandType type)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (commands[i].type == type)
            return &commands[i];
    return NULL;
}

static int PRINTF_LIKE(3, 0) bad(struct run_commanding *c, Tp__WorkflowTaskFailedCause cause, const char *fmt, va_list args)
{
    c->cause = cause;
    (void)vsnprintf(c->text, sizeof c->text, fmt, args);
    return -1;
}

int run_command_bad(struct run_commanding *c, Tp__WorkflowTaskFailedCause cause, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int r = bad(c, cause, fmt, args);
    va_end(args);
    return r;
}

int run_command_fatal(struct run_commanding *c, Tp__WorkflowTaskFailedCause cause, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int r = bad(c, cause, fmt, args);
    va_end(args);
    c->terminate = true;
    return r;
}

int64_t run_command_event(struct run_commanding *c, Tp__HistoryEvent *take_event)
{
    take_event->user_metadata = proto_dup(c->command->user_metadata);
    for (size_t i = 0; i < c->command->n_event_group_markers; i++)
        proto_push(&take_event->n_event_group_markers, &take_event->event_group_markers,
                   proto_dup(c->command->event_group_markers[i]));
    return run_event_add(c->r, c->t, take_event);
}

int run_command_check(const Tp__RespondWorkflowTaskCompletedRequest *q, struct refusal *no)
{
    for (size_t i = 0; i < q->n_commands; i++) {
        const struct command *k = command_find(q->commands[i]->command_type);
        if (!k)
            return refuse(no, CODE_INVALID, "Unknown command type: %d", (int)q->commands[i]->command_type);
        if (k->closes && i + 1 < q->n_commands)
            return refuse(no, CODE_INVALID,
                          "invalid command sequence: [%s] command %s must be the last command.", k->name,
                          k->name);
    }
    return 0;
}

int run_command_apply(struct run_commanding *c)
{
    for (size_t i = 0; i < c->q->n_commands; i++) {
        c->command = c->q->commands[i];
        const struct command *k = command_find(c->command->command_type);
        ASSERT(k);
        if (c->command->attributes_case != (Tp__Command__AttributesCase)k->field)
            return run_command_bad(c, (Tp__WorkflowTaskFailedCause)k->cause,
                                   "%sCommandAttributes is not set on %sCommand.", k->name, k->name);
        if (k->closes && c->unseen)
            return run_command_bad(c, CAUSE(UNHANDLED_COMMAND), "UnhandledCommand");
        if (k->apply(c) < 0)
            return -1;
        c->closed = k->closes;
    }
    c->command = NULL;
    return 0;
}
