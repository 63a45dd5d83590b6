/* service_tend.c -- what schedules want of workflows: each wish stands in the schedule's state until it was done, and is
 * read off again after a restart. A start that was committed and not yet told to its schedule is found again by its
 * request id. */
#include "workflow/service_start.h"

#include <stdio.h>
#include <stdlib.h>

enum { AGAIN_US = 1000000 };
#define LOOK_AGAIN_NS (60 * SERVICE_SECOND) /* a run that was deleted tells nobody */

struct tending_key {
    struct uuid run; /* of the schedule */
    uint64_t number, wish;
};

struct tending {
    struct service *s;
    struct tending_key key;
    char *ns, *schedule_id, *workflow_id, *first_run_id;
    struct uuid run; /* of the workflow */
    Tp__StartWorkflowExecutionRequest *start;
    struct loop_timer again;
    struct wait wait;
    bool in_flight; /* an op has it */
    /* what came of it: */
    bool started, refused;
    Tp__WorkflowExecutionStatus status;
    struct uuid next_run;
};

struct tend_op {
    struct op op;
    struct tending *d;
    struct starting x;
};

static struct str key_text(const struct tending_key *k) { return (struct str){ (const char *)k, sizeof(*k) }; }

static void tending_free(struct tending *d)
{
    map_remove(&d->s->tended, key_text(&d->key));
    wait_remove(&d->wait);
    loop_cancel(d->s->w.loop, &d->again);
    proto_free(d->start);
    free(d->ns);
    free(d->schedule_id);
    free(d->workflow_id);
    free(d->first_run_id);
    free(d);
}

static bool passes(enum code c)
{
    return c == CODE_UNAVAILABLE || c == CODE_EXHAUSTED || c == CODE_ABORTED || c == CODE_CANCELLED || c == CODE_DEADLINE ||
           c == CODE_DATA_LOSS;
}

static struct tending *of(struct op *op) { return CONTAINER_OF(op, struct tend_op, op)->d; }

static struct tend_op *tend_op(struct tending *d, const char *id, const struct uuid *run,
                               void (*act)(struct op *op, const struct durable_view *v), void (*then)(struct op *op),
                               void (*failed)(struct op *op))
{
    char text[UUID_TEXT] = "";
    if (!uuid_none(run))
        uuid_format(run, text);
    struct tend_op *o = op_new(d->s, NULL, sizeof(*o), d->ns, id, text, act);
    if (!o)
        return NULL;
    o->d = d;
    o->op.then = then;
    o->op.failed = failed;
    d->in_flight = true;
    return o;
}

/* ---- back to the schedule ---- */

static void back_act(struct op *op, const struct durable_view *v)
{
    struct tending *d = of(op);
    if (!v->machine)
        return; /* deleted */
    switch ((enum schedule_wish)d->key.wish) {
    case SCHEDULE_START:
        schedule_started(v->machine, v->turn, d->key.number, d->refused ? NULL : &d->run);
        break;
    case SCHEDULE_WATCH:
        if (uuid_none(&d->next_run))
            schedule_ended(v->machine, v->turn, d->key.number, d->status);
        else
            schedule_went_on(v->machine, v->turn, d->key.number, &d->next_run);
        break;
    case SCHEDULE_CANCEL:
    case SCHEDULE_TERMINATE:
        schedule_told(v->machine, v->turn, d->key.number, (enum schedule_wish)d->key.wish);
        break;
    }
}

/* The schedule's commit comes with a look at what it wants: this one is gone by then. */
static void back_over(struct op *op)
{
    struct tending *d = of(op);
    enum code code = op->no.code;
    d->in_flight = false;
    op_free(op);
    if (passes(code))
        loop_after(d->s->w.loop, &d->again, AGAIN_US); /* all of it again: every step may be repeated */
    else
        tending_free(d);
}

static void back(struct tending *d)
{
    struct tend_op *o = tend_op(d, d->schedule_id, &d->key.run, back_act, back_over, back_over);
    ASSERT(o);
    o->op.in.key.kind = JOURNAL_SCHEDULE;
    op_send(&o->op);
}

/* ---- to the workflow ---- */

static void there_failed(struct op *op)
{
    struct tending *d = of(op);
    enum code code = op->no.code;
    d->in_flight = false;
    op_free(op);
    if (passes(code)) {
        loop_after(d->s->w.loop, &d->again, AGAIN_US);
        return;
    }
    d->refused = true;
    d->status = TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_UNSPECIFIED;
    back(d);
}

static void there_then(struct op *op)
{
    struct tending *d = of(op);
    d->in_flight = false;
    op_free(op);
    back(d);
}

static void start_act(struct op *op, const struct durable_view *v)
{
    struct tend_op *o = CONTAINER_OF(op, struct tend_op, op);
    o->x = (struct starting){ .q = o->d->start };
    if (starting_apply(op->s, &o->x, v, &op->no) == 0)
        o->d->run = o->x.run;
}

static void run_look(struct tending *d, const struct run *r)
{
    d->status = run_status(r);
    d->next_run = run_open(r) ? (struct uuid){ 0 } : run_next_run(r);
}

static void watch_act(struct op *op, const struct durable_view *v)
{
    if (v->machine)
        run_look(of(op), v->machine);
    else
        op_missing(op);
}

static void watch_then(struct op *op)
{
    struct tending *d = of(op);
    d->in_flight = false;
    op_free(op);
    if (d->status == TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_RUNNING ||
        d->status == TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_PAUSED)
        wait_add(&d->wait, service_now(d->s) + LOOK_AGAIN_NS);
    else
        back(d);
}

static void cancel_act(struct op *op, const struct durable_view *v)
{
    struct tending *d = of(op);
    char id[64];
    if (!v->machine || strcmp(run_first_id(v->machine), d->first_run_id) != 0) { /* the id is another's by now */
        op_missing(op);
        return;
    }
    if (d->key.wish == SCHEDULE_TERMINATE) {
        op->no.code = (enum code)-run_terminate(v->machine, v->turn, "terminated by schedule overlap policy", NULL,
                                                "temporal-scheduler", &op->no);
        return;
    }
    Tp__RequestCancelWorkflowExecutionRequest q;
    tp__request_cancel_workflow_execution_request__init(&q);
    AUTO_FREE char *identity = xstrdup("temporal-scheduler");
    AUTO_FREE char *reason = xstrdup("cancelled by schedule overlap policy");
    snprintf(id, sizeof(id), "schedule-cancel:%llu", (unsigned long long)d->key.number);
    q.request_id = id;
    q.identity = identity;
    q.reason = reason;
    op->no.code = (enum code)-run_request_cancel(v->machine, v->turn, &q, NULL, &op->no);
}

static void tend_go(struct tending *d)
{
    struct tend_op *o;
    static const struct uuid current;
    d->refused = false;
    d->next_run = (struct uuid){ 0 };
    if (d->key.wish == SCHEDULE_START) {
        o = tend_op(d, d->workflow_id, &current, start_act, there_then, there_failed);
        if (o)
            o->op.in.creates = true;
    } else if (d->key.wish == SCHEDULE_WATCH) {
        o = tend_op(d, d->workflow_id, &d->run, watch_act, watch_then, there_failed);
    } else {
        o = tend_op(d, d->workflow_id, &current, cancel_act, there_then, there_failed);
    }
    if (o) {
        op_send(&o->op);
        return;
    }
    d->refused = true; /* its id with the time is too long */
    back(d);
}

static void on_again(struct loop_timer *t) { tend_go(CONTAINER_OF(t, struct tending, again)); }

static void on_look(struct wait *w, struct run *r)
{
    struct tending *d = CONTAINER_OF(w, struct tending, wait);
    if (run_open(r))
        return;
    run_look(d, r);
    wait_remove(w);
    back(d);
}

static void on_expired(struct wait *w) { tend_go(CONTAINER_OF(w, struct tending, wait)); }

static void tend_begin(struct service *s, const struct tending_key *k, const struct journal_key *key,
                       const struct schedule *m, const struct schedule_want *want)
{
    struct tending *d = xcalloc(1, sizeof(*d));
    *d = (struct tending){ .s = s, .key = *k, .ns = xstrndup(key->ns.at, key->ns.size),
                           .schedule_id = xstrndup(key->id.at, key->id.size), .workflow_id = xstrdup(want->workflow_id),
                           .first_run_id = xstrdup(want->first_run_id), .again = { .on_due = on_again } };
    bool is = service_run_parse(want->run_id, &d->run);
    ASSERT(is);
    d->wait = (struct wait){ .s = s, .run = d->run, .look = on_look, .expired = on_expired };
    if (want->wish == SCHEDULE_START)
        d->start = schedule_start(m, want->number);
    map_put(&s->tended, key_text(&d->key), d);
    tend_go(d);
}

void service_schedule_tend(struct service *s, const struct journal_key *key, const struct schedule *m)
{
    struct schedule_want want;
    for (size_t n = 0; schedule_wants(m, n, &want); n++) {
        struct tending_key k = { .run = key->run, .number = want.number, .wish = want.wish };
        if (!map_find(&s->tended, key_text(&k)))
            tend_begin(s, &k, key, m, &want);
    }
}

void service_tended_close(struct service *s)
{
    const struct map_slot *slot;
    for (uint32_t i = 0; (slot = map_next(&s->tended, &i)); i = 0)
        tending_free(slot->value);
}
