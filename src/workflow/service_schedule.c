#include "workflow/service_start.h"
#include "workflow/zones.h"

#include <stdlib.h>

static int zone_load(void *ctx, struct str name, struct str data, struct zone **ret, struct err *e)
{
    (void)ctx;
    return zones_load(NULL, name, data, ret, e);
}

const struct schedule_zones service_zones = { .load = zone_load };

/* ---- the kind that the host turns ---- */

static int kind_open(void *ctx, const struct journal_key *key, struct str state, void **ret, struct err *e)
{
    (void)ctx;
    struct schedule *m = NULL;
    int r = schedule_unpack(state, &service_zones, &m, e);
    if (r < 0)
        return err_wrap(e, "schedule " STR_FMT, STR_ARG(key->id));
    *ret = m;
    return 0;
}

static void kind_free(void *ctx, void *machine)
{
    (void)ctx;
    schedule_free(machine);
}

static void kind_pack(const void *machine, struct buf *into) { schedule_pack(machine, into); }

static struct durable_standing kind_standing(const void *machine) { return schedule_standing(machine); }

static void kind_index(void *ctx, const void *machine, struct journal_index *into)
{
    (void)ctx;
    schedule_index(machine, into);
}

static size_t kind_bytes(const void *machine) { return schedule_bytes(machine); }

static void kind_due(void *ctx, void *machine, struct durable_turn *t)
{
    (void)ctx;
    schedule_due(machine, t);
}

static void kind_committed(void *ctx, const struct journal_key *key, void *machine)
{
    service_schedule_tend(ctx, key, machine);
}

struct durable_kind service_schedule_kind(struct service *s)
{
    return (struct durable_kind){
        .kind = JOURNAL_SCHEDULE,
        .ctx = s,
        .open = kind_open,
        .free = kind_free,
        .pack = kind_pack,
        .standing = kind_standing,
        .index = kind_index,
        .bytes = kind_bytes,
        .due = kind_due,
        .committed = kind_committed,
    };
}

/* ---- one input to a schedule ---- */

static int missing(struct op *op)
{
    refusal_done(&op->no);
    return refuse_with(&op->no, CODE_NOT_FOUND, "temporal.api.errordetails.v1.NotFoundFailure",
                       proto_new(&tp__not_found_failure__descriptor), "schedule not found: %s", op->id);
}

static void ask_failed(struct op *op)
{
    if (op->no.code == CODE_NOT_FOUND)
        missing(op);
    service_refuse(op->c, &op->no);
    op_free(op);
}

static struct op *ask_new(struct service *s, struct service_call *c, const char *id,
                          void (*act)(struct op *op, const struct durable_view *v))
{
    if (!*id) {
        service_fail(c, CODE_INVALID, "ScheduleId is not set on request.");
        return NULL;
    }
    if (strlen(id) > SERVICE_ID_BYTES_MAX) {
        service_fail(c, CODE_INVALID, "ScheduleId length exceeds limit.");
        return NULL;
    }
    struct op *op = op_new(s, c, sizeof *op, c->ns, id, NULL, act);
    ASSERT(op);
    op->in.key.kind = JOURNAL_SCHEDULE;
    op->failed = ask_failed;
    return op;
}

static void ask(struct service *s, struct service_call *c, const char *id,
                void (*act)(struct op *op, const struct durable_view *v))
{
    struct op *op = ask_new(s, c, id, act);
    if (op)
        op_send(op);
}

/* ---- CreateSchedule ---- */

static int workflow_check(const char *ns, const Tp__Schedule *q, struct refusal *no)
{
    Tp__StartWorkflowExecutionRequest *w = schedule_compose(ns, q);
    int r = starting_check(w, no);
    proto_free(w);
    return r;
}

static struct uuid run_id_new(struct durable_turn *t)
{
    uint8_t random[10];
    uint64_t a = rng_next(t->random), b = rng_next(t->random);
    memcpy(random, &a, 8);
    memcpy(random + 8, &b, 2);
    return uuid_v7(t->now_ns / 1000000, random);
}

static int already(struct op *op, const struct schedule *m)
{
    char run[UUID_TEXT];
    struct journal_key key = schedule_key(m);
    uuid_format(&key.run, run);
    Tp__WorkflowExecutionAlreadyStartedFailure *d = proto_new(&tp__workflow_execution_already_started_failure__descriptor);
    proto_set_text(&d->run_id, run);
    return refuse_with(&op->no, CODE_EXISTS, "temporal.api.errordetails.v1.WorkflowExecutionAlreadyStartedFailure", d,
                       "schedule with this ID is already registered: %s", op->id);
}

static void create_act(struct op *op, const struct durable_view *v)
{
    const Tp__CreateScheduleRequest *q = op->c->q;
    struct schedule *m = v->current;
    if (m && !schedule_made_by(m, q->request_id)) {
        already(op, m);
        return;
    }
    if (!m) {
        struct uuid run = run_id_new(v->fresh);
        if (schedule_new(q, &run, v->fresh->now_ns, &service_zones, &m, &op->no) < 0)
            return;
        if (workflow_check(op->ns, q->schedule, &op->no) < 0) {
            schedule_free(m);
            return;
        }
        struct durable_turn *t = durable_turn_create(v->fresh, &run, m);
        t->changed = t->indexed = true;
    }
    Tp__CreateScheduleResponse *w = proto_new(&tp__create_schedule_response__descriptor);
    schedule_token(m, &w->conflict_token);
    op->answer = w;
}

void service_schedule_create(struct service *s, struct service_call *c)
{
    const Tp__CreateScheduleRequest *q = c->q;
    struct op *op = ask_new(s, c, q->schedule_id, create_act);
    if (!op)
        return;
    op->in.creates = true;
    op_send(op);
}

/* ---- the others ---- */

static void describe_act(struct op *op, const struct durable_view *v)
{
    if (v->machine)
        op->answer = schedule_describe(v->machine, v->turn->now_ns);
    else
        missing(op);
}

void service_schedule_describe(struct service *s, struct service_call *c)
{
    const Tp__DescribeScheduleRequest *q = c->q;
    ask(s, c, q->schedule_id, describe_act);
}

static void update_act(struct op *op, const struct durable_view *v)
{
    const Tp__UpdateScheduleRequest *q = op->c->q;
    if (!v->machine) {
        missing(op);
        return;
    }
    if (q->schedule && q->schedule->action && q->schedule->action->start_workflow &&
        q->schedule->action->action_case == TP__SCHEDULE_ACTION__ACTION_START_WORKFLOW &&
        workflow_check(op->ns, q->schedule, &op->no) < 0)
        return;
    if (schedule_update(v->machine, v->turn, q, &service_zones, &op->no) == 0)
        op->answer = proto_new(&tp__update_schedule_response__descriptor);
}

void service_schedule_update(struct service *s, struct service_call *c)
{
    const Tp__UpdateScheduleRequest *q = c->q;
    ask(s, c, q->schedule_id, update_act);
}

static void patch_act(struct op *op, const struct durable_view *v)
{
    if (!v->machine)
        missing(op);
    else if (schedule_patch(v->machine, v->turn, op->c->q, &op->no) == 0)
        op->answer = proto_new(&tp__patch_schedule_response__descriptor);
}

void service_schedule_patch(struct service *s, struct service_call *c)
{
    const Tp__PatchScheduleRequest *q = c->q;
    ask(s, c, q->schedule_id, patch_act);
}

static void delete_act(struct op *op, const struct durable_view *v)
{
    if (!v->machine) {
        missing(op);
        return;
    }
    v->turn->forget = true;
    op->answer = proto_new(&tp__delete_schedule_response__descriptor);
}

void service_schedule_delete(struct service *s, struct service_call *c)
{
    const Tp__DeleteScheduleRequest *q = c->q;
    ask(s, c, q->schedule_id, delete_act);
}

static void matching_act(struct op *op, const struct durable_view *v)
{
    const Tp__ListScheduleMatchingTimesRequest *q = op->c->q;
    if (!v->machine)
        missing(op);
    else
        op->answer = schedule_matching(v->machine, temporal_time_ns(q->start_time), temporal_time_ns(q->end_time));
}

void service_schedule_matching(struct service *s, struct service_call *c)
{
    const Tp__ListScheduleMatchingTimesRequest *q = c->q;
    if (!q->start_time || !q->end_time)
        service_fail(c, CODE_INVALID, "missing start or end time");
    else
        ask(s, c, q->schedule_id, matching_act);
}
