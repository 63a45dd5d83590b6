#include "workflow/schedule_impl.h"

#include <stdlib.h>

enum { FUTURE_LOOKS_MAX = 20 }; /* where nearly everything is excluded a search gives up */

/* ---- the state's other form ---- */

void schedule_state_write(const struct schedule *s, Wc__Schedule *into)
{
    const struct overlap *o = &s->overlap;
    into->decided_ms = o->decided_ms;
    into->actions = o->actions;
    into->missed_catchup = o->missed_catchup;
    into->overlap_skipped = o->overlap_skipped;
    into->buffer_dropped = o->buffer_dropped;
    for (size_t i = 0; i < o->buffered; i++) {
        Wc__Start *w = proto_new(&wc__start__descriptor);
        w->nominal_ms = o->buffer[i].nominal_ms;
        w->actual_ms = o->buffer[i].actual_ms;
        w->policy = (int32_t)o->buffer[i].policy;
        w->manual = o->buffer[i].manual;
        proto_push(&into->n_buffer, &into->buffer, w);
    }
    for (size_t i = 0; i < o->backfill_count; i++) {
        Wc__Backfill *w = proto_new(&wc__backfill__descriptor);
        w->after_ms = o->backfills[i].after_ms;
        w->until_ms = o->backfills[i].until_ms;
        w->policy = (int32_t)o->backfills[i].policy;
        proto_push(&into->n_backfills, &into->backfills, w);
    }
    schedule_limits_show(s, into->schedule);
}

static bool policy_known(int32_t p) { return p >= 0 && p <= OVERLAP_ALLOW_ALL; }

int schedule_state_read(struct schedule *s)
{
    const Wc__Schedule *w = s->s;
    struct overlap *o = &s->overlap;
    const Tp__ScheduleState *state = w->schedule->state;
    *o = (struct overlap){ .decided_ms = w->decided_ms, .paused = state->paused, .limited = state->limited_actions,
                           .remaining = state->limited_actions ? (uint64_t)state->remaining_actions : 0,
                           .actions = w->actions, .missed_catchup = w->missed_catchup,
                           .overlap_skipped = w->overlap_skipped, .buffer_dropped = w->buffer_dropped };
    bool good = w->n_recent <= SCHEDULE_RECENT_MAX;
    for (size_t i = 0; i < w->n_buffer; i++) {
        const Wc__Start *b = w->buffer[i];
        good = good && policy_known(b->policy) &&
               overlap_hold(o, (struct overlap_start){ b->nominal_ms, b->actual_ms, (enum overlap_policy)b->policy, b->manual });
    }
    for (size_t i = 0; i < w->n_backfills; i++) {
        const Wc__Backfill *b = w->backfills[i];
        good = good && policy_known(b->policy) &&
               overlap_hold_backfill(o, (struct overlap_backfill){ b->after_ms, b->until_ms, (enum overlap_policy)b->policy });
    }
    for (size_t i = 0; i < w->n_running; i++)
        good = good && w->running[i]->number < w->next_number && (i == 0 || w->running[i - 1]->number < w->running[i]->number);
    for (size_t i = 0; i < w->n_recent; i++)
        good = good && w->recent[i]->start_workflow_result;
    return good ? 0 : -CODE_DATA_LOSS;
}

void schedule_pack(const struct schedule *s, struct buf *into)
{
    Wc__Schedule w = *s->s; /* the overlap's fields are not in it: written beside, freed again */
    w.buffer = NULL;
    w.backfills = NULL;
    w.n_buffer = w.n_backfills = 0;
    schedule_state_write(s, &w);
    proto_encode(&w, into);
    for (size_t i = 0; i < w.n_buffer; i++)
        proto_free(w.buffer[i]);
    for (size_t i = 0; i < w.n_backfills; i++)
        proto_free(w.backfills[i]);
    free(w.buffer);
    free(w.backfills);
}

size_t schedule_bytes(const struct schedule *s)
{
    return sizeof *s + 3 * proto_size(s->s) + s->overlap.buffer_room * sizeof s->overlap.buffer[0] + s->shown->extra.capacity;
}

/* ---- what clients see ---- */

void schedule_limits_show(const struct schedule *s, Tp__Schedule *into)
{
    into->state->paused = s->overlap.paused;
    into->state->remaining_actions = s->overlap.limited ? (int64_t)s->overlap.remaining : into->state->remaining_actions;
}

static void times_push(size_t *count, Tp__Timestamp ***into, const struct schedule *s, int64_t after_ms, int64_t until_ms,
                       size_t max)
{
    struct calendar_time t;
    int later = 0;
    while (*count < max && later < FUTURE_LOOKS_MAX) {
        enum calendar_found found = calendar_next(s->calendar, schedule_seed(s), after_ms, &t);
        if (found == CALENDAR_NONE || t.nominal_ms > until_ms)
            break;
        after_ms = t.nominal_ms;
        later += found == CALENDAR_LATER;
        if (found == CALENDAR_FOUND)
            proto_push(count, into, temporal_time_new(t.actual_ms * 1000000));
    }
}

Tp__ScheduleInfo *schedule_info(const struct schedule *s, int64_t now_ns, size_t recent_max, size_t future_max)
{
    const struct overlap *o = &s->overlap;
    Tp__ScheduleInfo *w = proto_new(&tp__schedule_info__descriptor);
    w->action_count = (int64_t)o->actions;
    w->missed_catchup_window = (int64_t)o->missed_catchup;
    w->overlap_skipped = (int64_t)o->overlap_skipped;
    w->buffer_dropped = (int64_t)o->buffer_dropped;
    w->buffer_size = (int64_t)o->buffered;
    for (size_t i = 0; i < s->s->n_running; i++) {
        const Wc__Action *a = s->s->running[i];
        if (a->forgets || !*a->run_id)
            continue;
        Tp__WorkflowExecution *x = proto_new(&tp__workflow_execution__descriptor);
        proto_set_text(&x->workflow_id, a->workflow_id);
        proto_set_text(&x->run_id, a->first_run_id);
        proto_push(&w->n_running_workflows, &w->running_workflows, x);
    }
    for (size_t i = s->s->n_recent - MIN(s->s->n_recent, recent_max); i < s->s->n_recent; i++)
        proto_push(&w->n_recent_actions, &w->recent_actions, proto_dup(s->s->recent[i]));
    if (o->limited)
        future_max = (size_t)MIN(o->remaining, (uint64_t)future_max);
    times_push(&w->n_future_action_times, &w->future_action_times, s, MAX(o->decided_ms, now_ns / 1000000), INT64_MAX,
               future_max);
    temporal_set_time(&w->create_time, s->s->created_ns);
    if (s->s->updated_ns)
        temporal_set_time(&w->update_time, s->s->updated_ns);
    w->state_size_bytes = (int64_t)proto_size(s->s);
    return w;
}

Tp__DescribeScheduleResponse *schedule_describe(const struct schedule *s, int64_t now_ns)
{
    Tp__DescribeScheduleResponse *w = proto_new(&tp__describe_schedule_response__descriptor);
    w->schedule = proto_dup(s->s->schedule);
    schedule_limits_show(s, w->schedule);
    w->info = schedule_info(s, now_ns, SCHEDULE_RECENT_MAX, SCHEDULE_FUTURE_MAX);
    w->memo = proto_dup(s->s->memo);
    w->search_attributes = proto_dup(s->s->search_attributes);
    schedule_token(s, &w->conflict_token);
    return w;
}

Tp__ListScheduleMatchingTimesResponse *schedule_matching(const struct schedule *s, int64_t from_ns, int64_t until_ns)
{
    Tp__ListScheduleMatchingTimesResponse *w = proto_new(&tp__list_schedule_matching_times_response__descriptor);
    times_push(&w->n_start_time, &w->start_time, s, from_ns / 1000000, until_ns / 1000000, SCHEDULE_MATCHING_MAX);
    return w;
}

void schedule_token(const struct schedule *s, ProtobufCBinaryData *into)
{
    char text[8];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(s->s->version >> (8 * i));
    proto_set_bytes(into, (struct str){ text, sizeof text });
}

bool schedule_made_by(const struct schedule *s, const char *request_id)
{
    return *request_id && strcmp(s->s->request_id, request_id) == 0;
}

struct journal_key schedule_key(const struct schedule *s)
{
    struct journal_key k = { JOURNAL_SCHEDULE, str_of(s->s->ns), str_of(s->s->id), { { 0 } } };
    bool is = uuid_parse(str_of(s->s->run_id), &k.run);
    ASSERT(is);
    return k;
}

/* ---- what it is listed by ---- */

static Tp__ScheduleListEntry *entry_of(const struct schedule *s)
{
    Tp__ScheduleListEntry *w = proto_new(&tp__schedule_list_entry__descriptor);
    proto_set_text(&w->schedule_id, s->s->id);
    w->memo = proto_dup(s->s->memo);
    w->search_attributes = proto_dup(s->s->search_attributes);
    w->info = proto_new(&tp__schedule_list_info__descriptor);
    Tp__ScheduleInfo *i = schedule_info(s, s->overlap.decided_ms * 1000000, SCHEDULE_LISTED_MAX, SCHEDULE_LISTED_MAX);
    w->info->spec = proto_dup(s->s->schedule->spec);
    w->info->workflow_type = proto_dup(s->s->schedule->action->start_workflow->workflow_type);
    proto_set_text(&w->info->notes, s->s->schedule->state->notes);
    w->info->paused = s->overlap.paused;
    w->info->recent_actions = TAKE(i->recent_actions);
    w->info->n_recent_actions = i->n_recent_actions;
    w->info->future_action_times = TAKE(i->future_action_times);
    w->info->n_future_action_times = i->n_future_action_times;
    i->n_recent_actions = i->n_future_action_times = 0;
    proto_free(i);
    return w;
}

void schedule_index(const struct schedule *s, struct journal_index *into)
{
    Tp__ScheduleListEntry *entry = entry_of(s);
    buf_clear(&s->shown->extra);
    proto_encode(entry, &s->shown->extra);
    proto_free(entry);
    s->shown->paused = (struct journal_attribute){ .name = STR("TemporalSchedulePaused"), .type = JOURNAL_BOOL,
                                            .integer = s->overlap.paused };
    *into = (struct journal_index){
        .status = TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_RUNNING,
        .type = str_of(s->s->schedule->action->start_workflow->workflow_type->name),
        .start_ns = s->s->created_ns,
        .execution_ns = s->s->created_ns,
        .close_ns = JOURNAL_NEVER,
        .extra = s->shown->extra.overflow ? (struct str){ 0 } : buf_str(&s->shown->extra),
        .attributes = &s->shown->paused,
        .attribute_count = 1,
    };
}
