/* temporal_program.c -- what a workflow does next: the commands of its first steps that are not over. */
#include "sim/temporal_world.h"

#include <stdio.h>
#include <stdlib.h>

enum step { STEP_ACTIVITY, STEP_TIMER, STEP_SIGNAL, STEP_BOTH, STEP_CHILD, STEP_LOOSE_CHILD, STEP_SIGNAL_OUT, STEP_CANCEL_OUT,
            STEP_MARKER, STEP_GIVE_UP, STEP_NO_TIMER, STEP_FOREVER, STEP_END };
enum ending { END_COMPLETE, END_FAIL, END_AGAIN };
struct program {
    enum step steps[TW_STEPS + 1];
    enum ending ending;
    bool stubborn; /* a cancel request does not end it */
    uint32_t number, more;
    bool child;
};

/* "P12.1" is a client's; "C12.0" a child, whose children end at once; "F0.0" waits for ever. */
static struct program program_of(const char *type)
{
    struct program p = { .number = (uint32_t)strtoul(type + 1, NULL, 10), .child = *type != 'P' };
    const char *dot = strchr(type, '.');
    p.more = dot ? (uint32_t)strtoul(dot + 1, NULL, 10) : 0;
    struct rng rng = { p.number * UINT64_C(7919) + 13 };
    uint32_t count = 1 + (uint32_t)rng_below(&rng, TW_STEPS);
    if (p.child)
        count = MIN(count, 2);
    for (uint32_t i = 0; i < count; i++)
        p.steps[i] = (enum step)rng_below(&rng, STEP_FOREVER);
    p.steps[count] = STEP_END;
    p.ending = (enum ending)rng_below(&rng, 3);
    p.stubborn = rng_chance(&rng, 25);
    if (*type == 'F')
        p.steps[0] = STEP_FOREVER;
    if (p.ending == END_AGAIN && p.more == 0)
        p.ending = END_COMPLETE;
    return p;
}

void *command_new(struct tw_commands *c, Tp__CommandType type, Tp__Command__AttributesCase field, const char *sign)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(&tp__command__descriptor, (unsigned)field);
    Tp__Command *command = proto_new(&tp__command__descriptor);
    void *attributes = proto_new(f->descriptor);
    command->command_type = type;
    command->attributes_case = field;
    memcpy((char *)command + f->offset, &attributes, sizeof attributes);
    ASSERT(c->count < TW_COMMANDS && c->sign_count < TW_COMMANDS);
    c->at[c->count++] = command;
    if (sign)
        snprintf(c->signs[c->sign_count++], sizeof c->signs[0], "%s", sign);
    return attributes;
}

void commands_done(struct tw_commands *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        proto_free(c->at[i]);
    for (uint32_t i = 0; i < c->message_count; i++)
        proto_free(c->messages[i]);
    *c = (struct tw_commands){ 0 };
}

bool life_sign(const struct tw_life *l, const Tp__HistoryEvent *v, char into[24])
{
    const char *text = "";
    char kind;
    switch (v->event_type) {
    case EV(ACTIVITY_TASK_SCHEDULED): kind = 'a'; text = v->activity_task_scheduled_event_attributes->activity_id; break;
    case EV(TIMER_STARTED): kind = 't'; text = v->timer_started_event_attributes->timer_id; break;
    case EV(TIMER_CANCELED): kind = 'T'; text = v->timer_canceled_event_attributes->timer_id; break;
    case EV(MARKER_RECORDED): kind = 'm'; text = v->marker_recorded_event_attributes->marker_name; break;
    case EV(START_CHILD_WORKFLOW_EXECUTION_INITIATED):
        kind = 'c';
        text = v->start_child_workflow_execution_initiated_event_attributes->control;
        break;
    case EV(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED):
        kind = 's';
        text = v->signal_external_workflow_execution_initiated_event_attributes->control;
        break;
    case EV(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED):
        kind = 'r';
        text = v->request_cancel_external_workflow_execution_initiated_event_attributes->control;
        break;
    case EV(ACTIVITY_TASK_CANCEL_REQUESTED): {
        for (size_t i = 0; i < TW_SLOTS; i++)
            if (l->slots[i].thing == T_ACTIVITY &&
                l->slots[i].event == v->activity_task_cancel_requested_event_attributes->scheduled_event_id)
                snprintf(into, 24, "A%zu", i);
        return true;
    }
    case EV(WORKFLOW_EXECUTION_UPDATE_ACCEPTED):
        kind = 'u';
        text = v->workflow_execution_update_accepted_event_attributes->protocol_instance_id;
        break;
    case EV(WORKFLOW_EXECUTION_UPDATE_COMPLETED):
        kind = 'U';
        text = v->workflow_execution_update_completed_event_attributes->meta->update_id;
        break;
    case EV(WORKFLOW_EXECUTION_COMPLETED): kind = 'E'; break;
    case EV(WORKFLOW_EXECUTION_FAILED): kind = 'F'; break;
    case EV(WORKFLOW_EXECUTION_CANCELED): kind = 'X'; break;
    case EV(WORKFLOW_EXECUTION_CONTINUED_AS_NEW): kind = 'N'; break;
    default: return false;
    }
    snprintf(into, 24, "%c%s", kind, text);
    return true;
}

/* ---- single commands ------------------------------------------------------------------------ */

static Tp__WorkflowType *type_new(const char *name)
{
    Tp__WorkflowType *t = proto_new(&tp__workflow_type__descriptor);
    proto_set_text(&t->name, name);
    return t;
}

static void signs(char sign[24], char id[12], char kind, size_t slot)
{
    snprintf(id, 12, "%u", (unsigned)slot % 1000);
    snprintf(sign, 24, "%c%s", kind, id);
}

/* Timeouts and retries differ by program and slot; half are limited. */
static void add_activity(struct tw_commands *c, const struct program *p, size_t slot)
{
    char sign[24], id[12];
    struct rng rng = { p->number * UINT64_C(31) + slot };
    signs(sign, id, 'a', slot);
    Tp__ScheduleActivityTaskCommandAttributes *a = COMMAND_NEW(c, SCHEDULE_ACTIVITY_TASK, sign);
    proto_set_text(&a->activity_id, id);
    a->activity_type = proto_new(&tp__activity_type__descriptor);
    proto_set_text(&a->activity_type->name, "act");
    a->input = tw_number(slot + 1);
    a->start_to_close_timeout = temporal_duration_new((int64_t)(5 + rng_below(&rng, 30)) * 1000000000);
    if (rng_chance(&rng, 30))
        a->schedule_to_close_timeout = temporal_duration_new((int64_t)(60 + rng_below(&rng, 300)) * 1000000000);
    if (rng_chance(&rng, 30))
        a->heartbeat_timeout = temporal_duration_new(INT64_C(3000000000));
    if (rng_chance(&rng, 20))
        a->schedule_to_start_timeout = temporal_duration_new(INT64_C(40000000000));
    if (rng_chance(&rng, 50)) {
        a->retry_policy = proto_new(&tp__retry_policy__descriptor);
        a->retry_policy->initial_interval = temporal_duration_new(INT64_C(1000000000));
        a->retry_policy->maximum_interval = temporal_duration_new(INT64_C(10000000000));
        a->retry_policy->backoff_coefficient = 2;
        a->retry_policy->maximum_attempts = (int32_t)rng_below(&rng, 6);
    }
}

static void add_timer(struct tw_commands *c, size_t slot, int64_t seconds)
{
    char sign[24], id[12];
    signs(sign, id, 't', slot);
    Tp__StartTimerCommandAttributes *a = COMMAND_NEW(c, START_TIMER, sign);
    proto_set_text(&a->timer_id, id);
    a->start_to_fire_timeout = temporal_duration_new(seconds * 1000000000);
}

static void add_child(struct tw_commands *c, const struct program *p, const struct tw_life *l, size_t slot, bool loose)
{
    char sign[24], id[12], text[80];
    struct rng rng = { p->number * UINT64_C(37) + slot };
    signs(sign, id, 'c', slot);
    Tp__StartChildWorkflowExecutionCommandAttributes *a = COMMAND_NEW(c, START_CHILD_WORKFLOW_EXECUTION, sign);
    snprintf(text, sizeof text, "%.40s-%s", l->workflow, id);
    proto_set_text(&a->workflow_id, text);
    proto_set_text(&a->control, id);
    uint64_t policy = 1 + rng_below(&rng, 3); /* terminate, abandon, request cancel */
    a->parent_close_policy = (Tp__ParentClosePolicy)policy;
    bool forever = loose && policy != TP__PARENT_CLOSE_POLICY__PARENT_CLOSE_POLICY_ABANDON;
    snprintf(text, sizeof text, "%s%u.%u", forever ? "F" : "C", (unsigned)rng_below(&rng, 1000), (unsigned)rng_below(&rng, 2));
    a->workflow_type = type_new(text);
    a->task_queue = proto_new(&tp__task_queue__descriptor);
    proto_set_text(&a->task_queue->name, "q");
    if (!forever && rng_chance(&rng, 20))
        a->workflow_run_timeout = temporal_duration_new(INT64_C(40000000000));
    if (rng_chance(&rng, 30)) {
        a->retry_policy = proto_new(&tp__retry_policy__descriptor);
        a->retry_policy->initial_interval = temporal_duration_new(INT64_C(1000000000));
        a->retry_policy->backoff_coefficient = 1;
        a->retry_policy->maximum_attempts = 3;
    }
}

static void add_signal_out(struct tw_commands *c, const struct program *p, size_t slot)
{
    char sign[24], id[12], to[12];
    signs(sign, id, 's', slot);
    Tp__SignalExternalWorkflowExecutionCommandAttributes *a = COMMAND_NEW(c, SIGNAL_EXTERNAL_WORKFLOW_EXECUTION, sign);
    snprintf(to, sizeof to, "w%u", (unsigned)((p->number + slot) % (TW_FLOWS + 1)));
    a->execution = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&a->execution->workflow_id, to);
    proto_set_text(&a->signal_name, "x");
    proto_set_text(&a->control, id);
}

static void add_cancel_out(struct tw_commands *c, const struct program *p, size_t slot)
{
    char sign[24], id[12], to[12];
    signs(sign, id, 'r', slot);
    Tp__RequestCancelExternalWorkflowExecutionCommandAttributes *a =
        COMMAND_NEW(c, REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION, sign);
    snprintf(to, sizeof to, "w%u", (unsigned)((p->number + slot) % (TW_FLOWS + 1)));
    proto_set_text(&a->workflow_id, to);
    proto_set_text(&a->control, id);
}

static void add_marker(struct tw_commands *c, size_t slot)
{
    char sign[24], id[12];
    signs(sign, id, 'm', slot);
    Tp__RecordMarkerCommandAttributes *a = COMMAND_NEW(c, RECORD_MARKER, sign);
    proto_set_text(&a->marker_name, id);
}

static void cancel_activity(struct tw_commands *c, const struct tw_life *l, size_t slot)
{
    char sign[24], id[12];
    signs(sign, id, 'A', slot);
    Tp__RequestCancelActivityTaskCommandAttributes *a = COMMAND_NEW(c, REQUEST_CANCEL_ACTIVITY_TASK, sign);
    a->scheduled_event_id = l->slots[slot].event;
}

static void cancel_timer(struct tw_commands *c, size_t slot)
{
    char sign[24], id[12];
    signs(sign, id, 'T', slot);
    Tp__CancelTimerCommandAttributes *a = COMMAND_NEW(c, CANCEL_TIMER, sign);
    proto_set_text(&a->timer_id, id);
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* True: it is over, and the next one's turn has come. */
static bool step_go(struct tw_commands *c, const struct program *p, const struct tw_life *l, size_t step, uint32_t *signals)
{
    size_t one = 2 * step, two = one + 1;
    const struct tw_slot *a = &l->slots[one], *b = &l->slots[two];
    switch (p->steps[step]) {
    case STEP_ACTIVITY:
        if (!a->thing)
            add_activity(c, p, one);
        return a->over;
    case STEP_TIMER:
        if (!a->thing)
            add_timer(c, one, (int64_t)(1 + (p->number + step * 17) % 60));
        return a->over;
    case STEP_SIGNAL: return l->goes >= ++*signals;
    case STEP_BOTH:
        if (!a->thing)
            add_activity(c, p, one);
        if (!b->thing)
            add_timer(c, two, 7);
        return a->over && b->over;
    case STEP_CHILD:
    case STEP_LOOSE_CHILD:
        if (p->child) { /* one generation is enough */
            if (!a->thing)
                add_marker(c, one);
            return true;
        }
        if (!a->thing)
            add_child(c, p, l, one, p->steps[step] == STEP_LOOSE_CHILD);
        return a->over || (a->began && p->steps[step] == STEP_LOOSE_CHILD) || (a->thing && p->number % 4 == 0);
    case STEP_SIGNAL_OUT:
        if (!a->thing)
            add_signal_out(c, p, one);
        return a->over;
    case STEP_CANCEL_OUT:
        if (!a->thing && p->number % 3 == 0)
            add_cancel_out(c, p, one);
        else if (!a->thing)
            add_signal_out(c, p, one);
        return a->over;
    case STEP_MARKER:
        if (!a->thing)
            add_marker(c, one);
        return true;
    case STEP_GIVE_UP: /* an activity that has not ended when a timer fires is cancelled */
        if (!a->thing)
            add_activity(c, p, one);
        if (!b->thing)
            add_timer(c, two, 3);
        if (b->over && a->thing && !a->over && !a->cancel)
            cancel_activity(c, l, one);
        return a->over && b->over;
    case STEP_NO_TIMER: /* a timer that has not fired when an activity ends is cancelled */
        if (!a->thing)
            add_activity(c, p, one);
        if (!b->thing)
            add_timer(c, two, 20);
        if (a->over && b->thing && !b->over)
            cancel_timer(c, two);
        return a->over && b->thing;
    default: return false; /* for ever */
    }
}

static void add_end(struct tw_commands *c, const struct program *p, const struct tw_life *l)
{
    char text[32];
    if (p->ending == END_FAIL) {
        Tp__FailWorkflowExecutionCommandAttributes *a = COMMAND_NEW(c, FAIL_WORKFLOW_EXECUTION, "F");
        a->failure = proto_new(&tp__failure__descriptor);
        proto_set_text(&a->failure->message, "as it is written");
    } else if (p->ending == END_AGAIN) {
        Tp__ContinueAsNewWorkflowExecutionCommandAttributes *a = COMMAND_NEW(c, CONTINUE_AS_NEW_WORKFLOW_EXECUTION, "N");
        snprintf(text, sizeof text, "%c%u.%u", l->type[0], p->number + 1, p->more - 1);
        a->workflow_type = type_new(text);
    } else {
        (void)COMMAND_NEW(c, COMPLETE_WORKFLOW_EXECUTION, "E");
    }
}

void life_decide(const struct tw_life *l, struct tw_commands *into)
{
    struct program p = program_of(l->type);
    uint32_t signals = 0;
    if (l->cancel && (!p.stubborn || p.steps[0] == STEP_FOREVER)) {
        (void)COMMAND_NEW(into, CANCEL_WORKFLOW_EXECUTION, "X");
        return;
    }
    for (size_t i = 0; into->sign_count + 4 < TW_COMMANDS; i++) {
        if (p.steps[i] == STEP_END) {
            for (uint32_t u = 0; u < l->update_count; u++)
                if (!l->updates[u].completed) { /* they are answered first */
                    into->again |= into->message_count > 0;
                    return;
                }
            if (!into->again) /* one of them waits for the next task */
                add_end(into, &p, l);
            return;
        }
        if (!step_go(into, &p, l, i, &signals))
            return;
    }
    into->again = true;
}
