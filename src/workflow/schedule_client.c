#include "workflow/schedule_impl.h"

#include <stdlib.h>

/* ---- taking a definition in ---- */

static int definition_check(const Tp__Schedule *q, struct refusal *no)
{
    if (!q)
        return refuse(no, CODE_INVALID, "Schedule is not set on request.");
    if (!q->action || q->action->action_case != TP__SCHEDULE_ACTION__ACTION_START_WORKFLOW || !q->action->start_workflow)
        return refuse(no, CODE_INVALID, "Schedule action is not set on request.");
    if (!q->action->start_workflow->workflow_type || !*q->action->start_workflow->workflow_type->name)
        return refuse(no, CODE_INVALID, "WorkflowType is not set on request.");
    if (*q->action->start_workflow->cron_schedule)
        return refuse(no, CODE_INVALID, "CronSchedule is not allowed on a scheduled workflow.");
    if (q->action->start_workflow->workflow_id_reuse_policy !=
            TP__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_UNSPECIFIED &&
        q->action->start_workflow->workflow_id_reuse_policy !=
            TP__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE)
        return refuse(no, CODE_INVALID, "WorkflowIdReusePolicy of a scheduled workflow can only be unset or AllowDuplicate.");
    if (q->policies && temporal_duration_ns(q->policies->catchup_window) < 0)
        return refuse(no, CODE_INVALID, "Schedule catchup window cannot be negative.");
    if (q->policies && ((int)q->policies->overlap_policy < 0 || (int)q->policies->overlap_policy > OVERLAP_ALLOW_ALL))
        return refuse(no, CODE_INVALID, "Schedule overlap policy is none that there is.");
    if (q->state && q->state->remaining_actions < 0)
        return refuse(no, CODE_INVALID, "Schedule remaining actions cannot be negative.");
    return 0;
}

struct definition { /* checked, the machine's to take */
    Tp__Schedule *q;
    struct zone *zone;
    struct calendar *calendar;
};

static int definition_make(const Tp__Schedule *from, const struct schedule_zones *zones, struct definition *d,
                           struct refusal *no)
{
    struct err e;
    int r = definition_check(from, no);
    if (r < 0)
        return r;
    *d = (struct definition){ .q = proto_dup(from) };
    r = d->q->spec ? schedule_spec_structure(d->q->spec, &e) : 0;
    if (r == 0)
        r = schedule_spec_open(d->q->spec, zones, &d->zone, &d->calendar, &e);
    if (r < 0) {
        proto_free(d->q);
        return refuse(no, -(enum code)r, "Invalid schedule spec: %s", e.text);
    }
    if (!d->q->state)
        d->q->state = proto_new(&tp__schedule_state__descriptor);
    return 0;
}

static void definition_take(struct schedule *s, struct definition *d, int64_t now_ns)
{
    proto_free(s->s->schedule);
    calendar_free(s->calendar);
    zone_free(s->zone);
    s->s->schedule = d->q;
    s->calendar = d->calendar;
    s->zone = d->zone;
    overlap_changed(&s->overlap, now_ns / 1000000);
    overlap_allow(&s->overlap, s->calendar, schedule_seed(s), now_ns / 1000000, d->q->state->paused,
                  d->q->state->limited_actions, (uint64_t)d->q->state->remaining_actions);
}

/* ---- patches ---- */

static enum overlap_policy policy_of(Tp__ScheduleOverlapPolicy p)
{
    return (int)p < 0 || (int)p > OVERLAP_ALLOW_ALL ? OVERLAP_UNSPECIFIED : (enum overlap_policy)p;
}

static int patch_check(const struct schedule *s, const Tp__SchedulePatch *p, struct refusal *no)
{
    size_t room = OVERLAP_BACKFILLS_MAX - (s ? s->overlap.backfill_count : 0);
    if (*p->pause && *p->unpause)
        return refuse(no, CODE_INVALID, "Pause and Unpause cannot be set together.");
    if (p->n_backfill_request > room)
        return refuse(no, CODE_EXHAUSTED, "Too many backfills are under way: at most %d", OVERLAP_BACKFILLS_MAX);
    for (size_t i = 0; i < p->n_backfill_request; i++) {
        const Tp__BackfillRequest *b = p->backfill_request[i];
        if (!b->start_time || !b->end_time || temporal_time_ns(b->start_time) > temporal_time_ns(b->end_time))
            return refuse(no, CODE_INVALID, "Backfill: it needs a start time, and an end time that is not before it.");
    }
    return 0;
}

static void paused_set(struct schedule *s, bool paused, const char *notes, int64_t now_ms)
{
    overlap_allow(&s->overlap, s->calendar, schedule_seed(s), now_ms, paused, s->overlap.limited, s->overlap.remaining);
    proto_set_text(&s->s->schedule->state->notes, notes);
}

static void patch(struct schedule *s, const Tp__SchedulePatch *p, int64_t now_ns)
{
    struct err e;
    int64_t now_ms = now_ns / 1000000;
    for (size_t i = 0; i < p->n_backfill_request; i++) {
        const Tp__BackfillRequest *b = p->backfill_request[i];
        int r = overlap_backfill(&s->overlap, temporal_time_ns(b->start_time) / 1000000,
                                 temporal_time_ns(b->end_time) / 1000000, policy_of(b->overlap_policy), &e);
        ASSERT(r == 0); /* patch_check() */
    }
    if (p->trigger_immediately) {
        const Tp__TriggerImmediatelyRequest *g = p->trigger_immediately;
        int64_t at_ns = g->scheduled_time ? temporal_time_ns(g->scheduled_time) : now_ns;
        overlap_trigger(&s->overlap, policy_of(g->overlap_policy), at_ns / 1000000);
    }
    if (*p->pause)
        paused_set(s, true, p->pause, now_ms);
    if (*p->unpause)
        paused_set(s, false, p->unpause, now_ms);
}

/* ---- life ---- */

static struct schedule *machine_new(Wc__Schedule *take_state)
{
    struct schedule *s = xcalloc(1, sizeof *s);
    s->s = take_state;
    s->shown = xcalloc(1, sizeof *s->shown);
    buf_init(&s->shown->extra, MIB(4));
    return s;
}

int schedule_new(const Tp__CreateScheduleRequest *q, const struct uuid *run, int64_t now_ns,
                 const struct schedule_zones *zones, struct schedule **ret, struct refusal *no)
{
    struct definition d;
    char text[UUID_TEXT];
    int r = q->initial_patch ? patch_check(NULL, q->initial_patch, no) : 0;
    if (r == 0)
        r = definition_make(q->schedule, zones, &d, no);
    if (r < 0)
        return r;
    struct schedule *s = machine_new(proto_new(&wc__schedule__descriptor));
    uuid_format(run, text);
    proto_set_text(&s->s->ns, q->namespace_);
    proto_set_text(&s->s->id, q->schedule_id);
    proto_set_text(&s->s->run_id, text);
    proto_set_text(&s->s->request_id, q->request_id);
    s->s->memo = proto_dup(q->memo);
    s->s->search_attributes = proto_dup(q->search_attributes);
    s->s->created_ns = now_ns;
    s->s->version = 1;
    s->s->next_number = 1;
    overlap_init(&s->overlap, now_ns / 1000000);
    definition_take(s, &d, now_ns);
    if (q->initial_patch)
        patch(s, q->initial_patch, now_ns);
    schedule_advance(s, now_ns);
    *ret = s;
    return 0;
}

void schedule_free(struct schedule *s)
{
    if (!s)
        return;
    overlap_done(&s->overlap);
    calendar_free(s->calendar);
    zone_free(s->zone);
    buf_done(&s->shown->extra);
    free(s->shown);
    proto_free(s->s);
    free(s);
}

int schedule_unpack(struct str state, const struct schedule_zones *zones, struct schedule **ret, struct err *e)
{
    ProtobufCMessage *m;
    int r = proto_decode_new(&wc__schedule__descriptor, state, MIB(64), &m, e);
    if (r < 0) {
        (void)err_wrap(e, "the state of a schedule");
        e->code = CODE_DATA_LOSS;
        return -CODE_DATA_LOSS;
    }
    AUTO(schedule) struct schedule *s = machine_new((Wc__Schedule *)(void *)m);
    struct refusal no = { 0 };
    bool whole = definition_check(s->s->schedule, &no) == 0 && s->s->schedule->state && schedule_state_read(s) == 0;
    refusal_done(&no);
    if (!whole)
        return err_set(e, CODE_DATA_LOSS, "the state of a schedule says nothing");
    r = schedule_spec_open(s->s->schedule->spec, zones, &s->zone, &s->calendar, e);
    if (r < 0)
        return err_wrap(e, "schedule %s", s->s->id);
    *ret = TAKE(s);
    return 0;
}

/* ---- updates ---- */


static void changed(struct schedule *s, struct durable_turn *t)
{
    s->s->version++;
    s->s->updated_ns = t->now_ns;
    schedule_advance(s, t->now_ns);
    t->changed = t->indexed = true;
}

int schedule_update(struct schedule *s, struct durable_turn *t, const Tp__UpdateScheduleRequest *q,
                    const struct schedule_zones *zones, struct refusal *no)
{
    struct definition d;
    ProtobufCBinaryData token = { 0 };
    if (*q->request_id && strcmp(q->request_id, s->s->last_update) == 0)
        return 0;
    schedule_token(s, &token);
    bool fits = q->conflict_token.len == 0 || str_eq(proto_bytes(&q->conflict_token), proto_bytes(&token));
    free(token.data);
    if (!fits)
        return refuse(no, CODE_PRECONDITION, "mismatched conflict token");
    int r = definition_make(q->schedule, zones, &d, no);
    if (r < 0)
        return r;
    proto_set_text(&s->s->last_update, q->request_id);
    definition_take(s, &d, t->now_ns);
    if (q->search_attributes)
        proto_set_message(&s->s->search_attributes, proto_dup(q->search_attributes));
    if (q->memo)
        proto_set_message(&s->s->memo, proto_dup(q->memo));
    changed(s, t);
    return 0;
}

int schedule_patch(struct schedule *s, struct durable_turn *t, const Tp__PatchScheduleRequest *q, struct refusal *no)
{
    if (!q->patch)
        return refuse(no, CODE_INVALID, "Patch is not set on request.");
    if (*q->request_id && strcmp(q->request_id, s->s->last_update) == 0)
        return 0;
    int r = patch_check(s, q->patch, no);
    if (r < 0)
        return r;
    proto_set_text(&s->s->last_update, q->request_id);
    patch(s, q->patch, t->now_ns);
    changed(s, t);
    return 0;
}
