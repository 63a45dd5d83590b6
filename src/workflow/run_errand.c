/* What a run wants of others, read off its state: children to start and to let begin, signals and
 * cancellations on their way, what follows from its end. Each stands there until it is done; who gets one twice knows it
 * by this run's id and the number of the event. */
#include "workflow/run_child.h"
#include "workflow/run_external.h"

#include <string.h>

static bool child_errand(const Ws__Run *s, const Ws__Child *child, struct run_errand *ret)
{
    enum run_errand_type type = RUN_ERRAND_START_CHILD;
    if (child->started_id != 0) {
        if (!child->schedule_pending && !child->ask)
            return false;
        type = child->schedule_pending ? RUN_ERRAND_CHILD_SCHEDULE : RUN_ERRAND_ASK_CHILD;
    }
    *ret = (struct run_errand){
        .type = type,
        .id = child->initiated_id,
        .ns = child->initiated->namespace_,
        .target = child->execution,
        .child_only = true,
        .attributes = child->initiated,
        .root = s->started->root_workflow_execution,
        .requested_by = run_empty(child->requested_by) ? NULL : child->requested_by,
        .first_run_id = type == RUN_ERRAND_ASK_CHILD ? child->execution->run_id : NULL,
    };
    return true;
}

static void outbound_errand(const Ws__Outbound *o, struct run_errand *ret)
{
    *ret = (struct run_errand){ .id = o->initiated_id };
    if (o->signal) {
        ret->type = RUN_ERRAND_SIGNAL;
        ret->ns = o->signal->namespace_;
        ret->target = o->signal->workflow_execution;
        ret->child_only = o->signal->child_workflow_only;
        ret->attributes = o->signal;
    } else {
        ret->type = RUN_ERRAND_CANCEL;
        ret->ns = o->cancel->namespace_;
        ret->target = o->cancel->workflow_execution;
        ret->child_only = o->cancel->child_workflow_only;
        ret->attributes = o->cancel;
    }
}

static void close_errand(const Ws__Errand *errand, struct run_errand *ret)
{
    *ret = (struct run_errand){
        .type = (enum run_errand_type)errand->type,
        .id = errand->id,
        .ns = errand->ns,
        .target = errand->target,
        .first_run_id = run_empty(errand->first_run_id) ? NULL : errand->first_run_id,
        .requested_by = run_empty(errand->requested_by) ? NULL : errand->requested_by,
        .child_only = true,
    };
}

static bool parent_errand(const struct run *r, struct run_errand *ret)
{
    const Ws__Run *s = r->s;
    if (run_open(r) || !s->close || !s->close->parent_pending)
        return false;
    *ret = (struct run_errand){
        .type = RUN_ERRAND_TELL_PARENT,
        .id = s->started->parent_initiated_event_id,
        .ns = s->started->parent_workflow_namespace,
        .target = s->started->parent_workflow_execution,
        .own_chain = s->first_run_id,
        .close = { .status = s->status,
                   .result = s->close->result,
                   .failure = s->close->failure,
                   .retry_state = s->close->retry_state },
    };
    return true;
}

bool run_wants_errand(const struct run *r, size_t n, struct run_errand *ret)
{
    const Ws__Run *s = r->s;
    struct run_errand errand;
    for (size_t i = 0; i < s->n_children; i++)
        if (child_errand(s, s->children[i], &errand) && n-- == 0) {
            *ret = errand;
            return true;
        }
    if (n < s->n_outbound) {
        outbound_errand(s->outbound[n], ret);
        return true;
    }
    n -= s->n_outbound;
    if (n < s->n_errands) {
        close_errand(s->errands[n], ret);
        return true;
    }
    n -= s->n_errands;
    return n == 0 && parent_errand(r, ret);
}

/* It may be done another time: nothing to write down. */
static bool passes(enum code code)
{
    switch (code) {
    case CODE_CANCELLED:
    case CODE_DEADLINE:
    case CODE_EXHAUSTED:
    case CODE_ABORTED:
    case CODE_UNAVAILABLE:
    case CODE_DATA_LOSS:
        return true;
    default:
        return false;
    }
}

static bool child_answered(struct run *r, struct durable_turn *t, int64_t id, const struct uuid *run,
                           const struct refusal *no)
{
    Ws__Child *child = run_child_find(r, id);
    if (!child || child->started_id != 0)
        return false;
    char run_id[UUID_TEXT] = "";
    if (run)
        uuid_format(run, run_id);
    if (!run_open(r)) { /* it was abandoned, and is on its own now */
        if (no)
            run_child_remove(r, id);
        else
            run_child_started(child, RUN_BUFFERED, run_id);
        return true;
    }
    if (no)
        run_child_record_refusal(r, t, child, no->code);
    else
        run_child_record_start(r, t, child, run_id);
    run_wake(r, t);
    return true;
}

static bool child_told(struct run *r, int64_t id)
{
    Ws__Child *child = run_child_find(r, id);
    if (!child || !child->schedule_pending)
        return false;
    child->schedule_pending = false;
    if (!run_open(r))
        run_child_remove(r, id);
    return true;
}

/* It goes on, or it cannot be asked any more: all that is known of its end is that it is over. */
static bool child_asked(struct run *r, struct durable_turn *t, int64_t id, const struct refusal *no)
{
    Ws__Child *child = run_child_find(r, id);
    if (!child || !child->ask)
        return false;
    child->ask = false;
    struct uuid run;
    if (no && run_open(r) && uuid_parse(str_of(child->execution->run_id), &run))
        run_child_closed(r, t, id, &run, &(struct run_close){ .status = STATUS(TERMINATED) });
    return true;
}

static bool outbound_answered(struct run *r, struct durable_turn *t, int64_t id, const struct refusal *no)
{
    Ws__Outbound *o = run_external_find(r, id);
    if (!o)
        return false;
    if (!run_open(r)) {
        run_external_remove(r, id);
        return true;
    }
    run_external_record(r, t, o, no);
    run_wake(r, t);
    return true;
}

static bool close_errand_done(struct run *r, enum run_errand_type type, int64_t id)
{
    for (size_t i = 0; i < r->s->n_errands; i++)
        if (r->s->errands[i]->id == id && r->s->errands[i]->type == (uint32_t)type) {
            run_remove(&r->s->n_errands, &r->s->errands, i);
            return true;
        }
    return false;
}

static bool parent_told(struct run *r)
{
    if (!r->s->close || !r->s->close->parent_pending)
        return false;
    proto_set_message(&r->s->close, NULL);
    return true;
}

void run_errand_done(struct run *r, struct durable_turn *t, enum run_errand_type type, int64_t id,
                     const struct uuid *child, const struct refusal *no)
{
    bool changed = false;
    if (no && passes(no->code))
        return;
    switch (type) {
    case RUN_ERRAND_START_CHILD:
        ASSERT(no || child);
        changed = child_answered(r, t, id, child, no);
        break;
    case RUN_ERRAND_SIGNAL:
    case RUN_ERRAND_CANCEL:
        changed = outbound_answered(r, t, id, no);
        break;
    case RUN_ERRAND_TELL_PARENT:
        changed = parent_told(r);
        break;
    case RUN_ERRAND_CHILD_SCHEDULE:
        changed = child_told(r, id);
        break;
    case RUN_ERRAND_CLOSE_TERMINATE:
    case RUN_ERRAND_CLOSE_CANCEL:
        changed = close_errand_done(r, type, id);
        break;
    case RUN_ERRAND_ASK_CHILD:
        changed = child_asked(r, t, id, no);
        break;
    }
    if (changed)
        run_end(r, t);
}
