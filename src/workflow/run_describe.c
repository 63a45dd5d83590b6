/* What a run says of itself, to people. */
#include "workflow/run_impl.h"
#include "workflow/run_retry.h"

#include <string.h>

static Tp__WorkflowExecution *execution(const char *workflow_id, const char *run_id)
{
    Tp__WorkflowExecution *x = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&x->workflow_id, workflow_id);
    proto_set_text(&x->run_id, run_id);
    return x;
}

Tp__WorkflowExecutionInfo *run_info(const struct run *r)
{
    const Ws__Run *s = r->s;
    Tp__WorkflowExecutionInfo *i = proto_new(&tp__workflow_execution_info__descriptor);
    i->execution = execution(s->workflow_id, s->run_id);
    i->type = proto_dup(s->started->workflow_type);
    i->start_time = temporal_time_new(s->start_ns);
    i->execution_time = temporal_time_new(s->execution_ns ? s->execution_ns : s->start_ns);
    i->status = s->status;
    i->history_length = s->next_event_id - 1;
    i->history_size_bytes = s->history_bytes;
    i->state_transition_count = s->transitions;
    i->memo = proto_dup(s->memo);
    i->search_attributes = proto_dup(s->search_attributes);
    proto_set_text(&i->task_queue, run_queue(r));
    proto_set_text(&i->first_run_id, s->first_run_id);
    i->priority = proto_dup(s->priority);
    i->most_recent_worker_version_stamp = proto_dup(s->worker_version);
    i->parent_execution = proto_dup(s->started->parent_workflow_execution);
    i->root_execution = s->started->root_workflow_execution ? proto_dup(s->started->root_workflow_execution)
                                                            : execution(s->workflow_id, s->run_id);
    if (s->close_ns) {
        i->close_time = temporal_time_new(s->close_ns);
        i->execution_duration =
            temporal_duration_new(s->close_ns - (s->execution_ns ? s->execution_ns : s->start_ns));
    }
    if (s->versioning_override) {
        i->versioning_info = proto_new(&tp__workflow_execution_versioning_info__descriptor);
        i->versioning_info->versioning_override = proto_dup(s->versioning_override);
    }
    return i;
}

static Tp__WorkflowExecutionConfig *config(const struct run *r)
{
    const Ws__Run *s = r->s;
    Tp__WorkflowExecutionConfig *c = proto_new(&tp__workflow_execution_config__descriptor);
    c->task_queue = run_task_queue(run_queue(r), NULL);
    c->workflow_execution_timeout = proto_dup(s->started->workflow_execution_timeout);
    c->workflow_run_timeout = proto_dup(s->started->workflow_run_timeout);
    c->default_workflow_task_timeout = proto_dup(s->started->workflow_task_timeout);
    c->user_metadata = proto_dup(s->metadata);
    return c;
}

/* ---- what it waits for ---- */

#define ACTIVITY(name) TP__PENDING_ACTIVITY_STATE__PENDING_ACTIVITY_STATE_##name

static Tp__PendingActivityState activity_state(const Ws__Activity *a)
{
    if (a->started_ns)
        return a->cancel_requested ? ACTIVITY(CANCEL_REQUESTED)
               : a->paused         ? ACTIVITY(PAUSE_REQUESTED)
                                   : ACTIVITY(STARTED);
    return a->paused ? ACTIVITY(PAUSED) : ACTIVITY(SCHEDULED);
}

static Tp__ActivityOptions *activity_options(const Ws__Activity *a)
{
    Tp__ActivityOptions *o = proto_new(&tp__activity_options__descriptor);
    o->task_queue = run_task_queue(a->queue, NULL);
    o->schedule_to_close_timeout = temporal_duration_new(a->schedule_to_close_ns);
    o->schedule_to_start_timeout = temporal_duration_new(a->schedule_to_start_ns);
    o->start_to_close_timeout = temporal_duration_new(a->start_to_close_ns);
    o->heartbeat_timeout = temporal_duration_new(a->heartbeat_ns);
    o->retry_policy = proto_dup(a->retry);
    o->priority = proto_dup(a->priority);
    return o;
}

static Tp__PendingActivityInfo *activity(const Ws__Activity *a)
{
    Tp__PendingActivityInfo *i = proto_new(&tp__pending_activity_info__descriptor);
    proto_set_text(&i->activity_id, a->id);
    i->activity_type = proto_new(&tp__activity_type__descriptor);
    proto_set_text(&i->activity_type->name, a->type);
    i->state = activity_state(a);
    i->heartbeat_details = proto_dup(a->heartbeat_details);
    i->last_heartbeat_time = a->heartbeat_at_ns ? temporal_time_new(a->heartbeat_at_ns) : NULL;
    i->last_started_time = a->last_started_ns ? temporal_time_new(a->last_started_ns) : NULL;
    i->attempt = a->attempt;
    i->maximum_attempts = a->retry ? a->retry->maximum_attempts : 0;
    i->scheduled_time = temporal_time_new(a->scheduled_ns);
    if (a->schedule_to_close_ns)
        i->expiration_time = temporal_time_new(run_deadline(a->first_scheduled_ns, a->schedule_to_close_ns));
    i->last_failure = proto_dup(a->last_failure);
    proto_set_text(&i->last_worker_identity, a->identity);
    i->last_worker_version_stamp = proto_dup(a->worker_version);
    if (a->retry_delay_ns)
        i->current_retry_interval = temporal_duration_new(a->retry_delay_ns);
    if (a->last_completed_ns)
        i->last_attempt_complete_time = temporal_time_new(a->last_completed_ns);
    if (!a->started_ns && a->attempt > 1)
        i->next_attempt_schedule_time = temporal_time_new(a->scheduled_ns);
    i->paused = a->paused;
    i->priority = proto_dup(a->priority);
    i->activity_options = activity_options(a);
    if (a->paused) {
        i->pause_info = proto_new(&tp__pending_activity_info__pause_info__descriptor);
        i->pause_info->pause_time = temporal_time_new(a->paused_ns);
        i->pause_info->paused_by_case = TP__PENDING_ACTIVITY_INFO__PAUSE_INFO__PAUSED_BY_MANUAL;
        i->pause_info->manual = proto_new(&tp__pending_activity_info__pause_info__manual__descriptor);
        proto_set_text(&i->pause_info->manual->identity, a->paused_by);
        proto_set_text(&i->pause_info->manual->reason, a->paused_why);
    }
    return i;
}

static Tp__PendingChildExecutionInfo *child(const Ws__Child *c)
{
    Tp__PendingChildExecutionInfo *i = proto_new(&tp__pending_child_execution_info__descriptor);
    proto_set_text(&i->workflow_id, c->execution->workflow_id);
    proto_set_text(&i->run_id, c->execution->run_id);
    proto_set_text(&i->workflow_type_name, c->initiated->workflow_type->name);
    i->initiated_id = c->initiated_id;
    i->parent_close_policy = c->initiated->parent_close_policy;
    return i;
}

static Tp__PendingWorkflowTaskInfo *task(const Ws__WorkflowTask *k)
{
    Tp__PendingWorkflowTaskInfo *i = proto_new(&tp__pending_workflow_task_info__descriptor);
    i->state = k->started_id ? TP__PENDING_WORKFLOW_TASK_STATE__PENDING_WORKFLOW_TASK_STATE_STARTED
                             : TP__PENDING_WORKFLOW_TASK_STATE__PENDING_WORKFLOW_TASK_STATE_SCHEDULED;
    i->scheduled_time = temporal_time_new(k->scheduled_ns);
    i->original_scheduled_time = temporal_time_new(k->original_scheduled_ns);
    i->started_time = k->started_ns ? temporal_time_new(k->started_ns) : NULL;
    i->attempt = k->attempt;
    return i;
}

static void request_add(Tp__WorkflowExecutionExtendedInfo *x, const char *id, Tp__EventType type,
                        int64_t event_id)
{
    if (run_empty(id))
        return;
    Tp__WorkflowExecutionExtendedInfo__RequestIdInfosEntry *entry =
        proto_new(&tp__workflow_execution_extended_info__request_id_infos_entry__descriptor);
    proto_set_text(&entry->key, id);
    entry->value = proto_new(&tp__request_id_info__descriptor);
    entry->value->event_type = type;
    entry->value->event_id = event_id;
    proto_push(&x->n_request_id_infos, &x->request_id_infos, entry);
}

static Tp__WorkflowExecutionExtendedInfo *extended(const Ws__Run *s)
{
    Tp__WorkflowExecutionExtendedInfo *x = proto_new(&tp__workflow_execution_extended_info__descriptor);
    if (s->execution_deadline_ns)
        x->execution_expiration_time = temporal_time_new(s->execution_deadline_ns);
    if (s->run_deadline_ns)
        x->run_expiration_time = temporal_time_new(s->run_deadline_ns);
    x->cancel_requested = s->cancel_requested;
    if (s->last_reset_ns)
        x->last_reset_time = temporal_time_new(s->last_reset_ns);
    x->original_start_time = temporal_time_new(s->original_start_ns ? s->original_start_ns : s->start_ns);
    proto_set_text(&x->reset_run_id, s->reset_run_id);
    request_add(x, s->start_request_id, EVENT(WORKFLOW_EXECUTION_STARTED), 1);
    for (size_t i = 0; i < s->n_attached; i++)
        request_add(x, s->attached[i]->id, EVENT(WORKFLOW_EXECUTION_OPTIONS_UPDATED), s->attached[i]->event_id);
    return x;
}

Tp__DescribeWorkflowExecutionResponse *run_describe(const struct run *r)
{
    const Ws__Run *s = r->s;
    Tp__DescribeWorkflowExecutionResponse *d = proto_new(&tp__describe_workflow_execution_response__descriptor);
    d->execution_config = config(r);
    d->workflow_execution_info = run_info(r);
    d->workflow_extended_info = extended(s);
    for (size_t i = 0; i < s->n_activities; i++)
        proto_push(&d->n_pending_activities, &d->pending_activities, activity(s->activities[i]));
    if (!run_open(r))
        return d; /* children that are left were abandoned */
    for (size_t i = 0; i < s->n_children; i++)
        proto_push(&d->n_pending_children, &d->pending_children, child(s->children[i]));
    if (s->task)
        d->pending_workflow_task = task(s->task);
    return d;
}

/* ---- options ---- */

static bool masked(const Tp__FieldMask *mask, const char *field, const char *camel)
{
    for (size_t i = 0; mask && i < mask->n_paths; i++) {
        size_t size = strcspn(mask->paths[i], ".");
        if ((size == strlen(field) && strncmp(mask->paths[i], field, size) == 0) ||
            (size == strlen(camel) && strncmp(mask->paths[i], camel, size) == 0))
            return true;
    }
    return false;
}

static int mask_check(const Tp__FieldMask *mask, struct refusal *no)
{
    for (size_t i = 0; mask && i < mask->n_paths; i++) {
        const char *path = mask->paths[i];
        if (strcmp(path, "versioning_override") != 0 && strcmp(path, "versioningOverride") != 0 &&
            strncmp(path, "priority", strlen("priority")) != 0)
            return refuse(no, CODE_INVALID,
                          "update_mask names \"%.100s\", which cannot be changed. Known: versioning_override, priority",
                          path);
    }
    return mask && mask->n_paths ? 0 : refuse(no, CODE_INVALID, "update_mask names nothing to change");
}

int run_options_apply(struct run *r, struct durable_turn *t, const Tp__WorkflowExecutionOptions *o,
                      const Tp__FieldMask *mask, const char *identity, struct refusal *no)
{
    Ws__Run *s = r->s;
    if (!o)
        return refuse(no, CODE_INVALID, "workflow_execution_options is not set");
    int k = mask_check(mask, no);
    if (k < 0)
        return k;
    bool versioning = masked(mask, "versioning_override", "versioningOverride");
    bool priority = masked(mask, "priority", "priority");
    if ((!versioning || proto_equal(s->versioning_override, o->versioning_override)) &&
        (!priority || proto_equal(s->priority, o->priority)))
        return 0;
    Tp__HistoryEvent *event;
    Tp__WorkflowExecutionOptionsUpdatedEventAttributes *a =
        run_event_new(EVENT(WORKFLOW_EXECUTION_OPTIONS_UPDATED), &event);
    if (versioning) {
        proto_set_message(&s->versioning_override, proto_dup(o->versioning_override));
        a->versioning_override = proto_dup(o->versioning_override);
        a->unset_versioning_override = !o->versioning_override;
    }
    if (priority) {
        proto_set_message(&s->priority, proto_dup(o->priority));
        a->priority = proto_dup(o->priority);
    }
    proto_set_text(&a->identity, identity);
    (void)run_event_add(r, t, event);
    t->indexed = true;
    return 1;
}

int run_set_options(struct run *r, struct durable_turn *t, const Tp__UpdateWorkflowExecutionOptionsRequest *q,
                    Tp__WorkflowExecutionOptions **ret, struct refusal *no)
{
    const Ws__Run *s = r->s;
    if (!run_open(r))
        return refuse(no, CODE_NOT_FOUND, "workflow execution already completed");
    int k = run_options_apply(r, t, q->workflow_execution_options, q->update_mask, q->identity, no);
    if (k < 0)
        return k;
    if (k > 0)
        run_end(r, t);
    *ret = proto_new(&tp__workflow_execution_options__descriptor);
    (*ret)->versioning_override = proto_dup(s->versioning_override);
    (*ret)->priority = proto_dup(s->priority);
    return 0;
}
