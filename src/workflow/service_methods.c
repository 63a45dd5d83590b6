#include "workflow/service_impl.h"

/* By name; what is not here is answered UNIMPLEMENTED. */
static const struct service_method methods[] = {
    { "CountSchedules", service_schedule_count, false },
    { "CountWorkflowExecutions", service_count, false },
    { "CreateSchedule", service_schedule_create, false },
    { "DeleteSchedule", service_schedule_delete, false },
    { "DeleteWorkflowExecution", service_remove, false },
    { "DeprecateNamespace", service_namespace_deprecate, false },
    { "DescribeNamespace", service_namespace_describe, true },
    { "DescribeSchedule", service_schedule_describe, false },
    { "DescribeTaskQueue", service_queue_describe, false },
    { "DescribeWorkflowExecution", service_describe, false },
    { "ExecuteMultiOperation", service_multi, false },
    { "GetClusterInfo", service_cluster_info, true },
    { "GetSearchAttributes", service_attributes_get, true },
    { "GetSystemInfo", service_system_info, true },
    { "GetWorkflowExecutionHistory", service_history, false },
    { "GetWorkflowExecutionHistoryReverse", service_history_reverse, false },
    { "ListClosedWorkflowExecutions", service_list_closed, false },
    { "ListNamespaces", service_namespace_list, true },
    { "ListOpenWorkflowExecutions", service_list_open, false },
    { "ListScheduleMatchingTimes", service_schedule_matching, false },
    { "ListSchedules", service_schedule_list, false },
    { "ListTaskQueuePartitions", service_queue_partitions, false },
    { "ListWorkflowExecutions", service_list, false },
    { "PatchSchedule", service_schedule_patch, false },
    { "PollActivityTaskQueue", service_poll_activity, false },
    { "PollWorkflowExecutionUpdate", service_update_poll, false },
    { "PollWorkflowTaskQueue", service_poll_workflow, false },
    { "QueryWorkflow", service_query, false },
    { "RecordActivityTaskHeartbeat", service_activity_beat, false },
    { "RecordActivityTaskHeartbeatById", service_activity_beat_by_id, false },
    { "RecordWorkerHeartbeat", service_worker_heartbeat, false },
    { "RegisterNamespace", service_namespace_register, true },
    { "RequestCancelWorkflowExecution", service_cancel, false },
    { "ResetStickyTaskQueue", service_sticky_reset, false },
    { "ResetWorkflowExecution", service_reset, false },
    { "RespondActivityTaskCanceled", service_activity_canceled, false },
    { "RespondActivityTaskCanceledById", service_activity_canceled_by_id, false },
    { "RespondActivityTaskCompleted", service_activity_completed, false },
    { "RespondActivityTaskCompletedById", service_activity_completed_by_id, false },
    { "RespondActivityTaskFailed", service_activity_failed, false },
    { "RespondActivityTaskFailedById", service_activity_failed_by_id, false },
    { "RespondQueryTaskCompleted", service_query_completed, false },
    { "RespondWorkflowTaskCompleted", service_task_completed, false },
    { "RespondWorkflowTaskFailed", service_task_failed, false },
    { "ScanWorkflowExecutions", service_list, false },
    { "ShutdownWorker", service_worker_gone, false },
    { "SignalWithStartWorkflowExecution", service_signal_with_start, false },
    { "SignalWorkflowExecution", service_signal, false },
    { "StartWorkflowExecution", service_start, false },
    { "TerminateWorkflowExecution", service_terminate, false },
    { "UpdateNamespace", service_namespace_update, false },
    { "UpdateSchedule", service_schedule_update, false },
    { "UpdateWorkflowExecution", service_update, false },
    { "UpdateWorkflowExecutionOptions", service_options, false },
    /* OperatorService */
    { "AddSearchAttributes", service_attributes_add, false },
    { "DeleteNamespace", service_namespace_delete, true },
    { "ListSearchAttributes", service_attributes_list, false },
    { "RemoveSearchAttributes", service_attributes_remove, false },
};

const struct service_method *service_method_find(struct str name)
{
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        if (str_is(name, methods[i].name))
            return &methods[i];
    return NULL;
}
