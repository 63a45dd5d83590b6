#include "instance/fleet_impl.h"

#include "base/log.h"

#include <stdio.h>

enum {
    BACKOFF_DOUBLINGS = 6,
    EVALUATE_QUIET_US = 1000,
    /* The node is full. Somebody waits: what is idle elsewhere may be had. Nobody does: min-scale only. */
    FULL_WAITED_FOR_US = 10000,
    FULL_US = 1000000,
};

static void launch_next(struct fleet *f);

/* ---- counting --------------------------------------------------------------------------------- */

/* A revision that found the node full may find room now. */
static void room_again(struct fleet *f)
{
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        struct target *t = s->value;
        if (t->serving->queue.count > 0)
            fleet_evaluate_soon(t->serving);
    }
}
void fleet_uncount(struct instance *i)
{
    struct rev *v = i->owner;
    struct fleet *f = v->target->fleet;
    switch (i->counted) {
    case COUNTED_NOT: break;
    case COUNTED_WAITING:
        v->starting--;
        list_remove(&f->start_queue, &i->wait_node);
        break;
    case COUNTED_LAUNCHING:
        v->starting--;
        f->launching--;
        break;
    case COUNTED_READY: v->ready--; break;
    case COUNTED_UNREADY: v->starting--; break;
    }
    i->counted = COUNTED_NOT;
}

/* Its sandbox is over and nobody holds a connection to it. */
void fleet_reap(struct instance *i)
{
    struct rev *v = i->owner;
    struct fleet *f = v->target->fleet;
    ASSERT(i->in_flight == 0 && i->gone && i->counted == COUNTED_NOT);
    list_remove(&v->instances, &i->node);
    if (f->live-- == f->env.limits->instances_max)
        room_again(f);
    instance_free(i);
    fleet_evaluate_soon(v);
    launch_next(f);
}

/* ---- scaling ------------------------------------------------------------------------------------ */

static void launch_next(struct fleet *f)
{
    while (f->start_queue.count > 0 && f->launching < f->env.limits->starts_max) {
        struct instance *i = CONTAINER_OF(list_first(&f->start_queue), struct instance, wait_node);
        list_remove(&f->start_queue, &i->wait_node);
        f->launching++;
        i->counted = COUNTED_LAUNCHING;
        instance_launch(i);
    }
}

/* The instance that has been idle longest, of any other revision that can spare it. */
static struct instance *idle_elsewhere(struct fleet *f, const struct rev *but)
{
    struct instance *best = NULL;
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        const struct target *t = s->value;
        LIST_EACH(&t->revs, vn, vtmp) {
            const struct rev *v = CONTAINER_OF(vn, struct rev, node);
            if (v == but || v->ready <= v->spec->min_scale)
                continue;
            LIST_EACH(&v->instances, n, tmp) {
                struct instance *i = CONTAINER_OF(n, struct instance, node);
                if (i->state == INSTANCE_READY && i->in_flight == 0 &&
                    (!best || i->idle_since_us < best->idle_since_us))
                    best = i;
            }
        }
    }
    return best;
}

static void stop_instance(struct instance *i)
{
    struct rev *v = i->owner;
    fleet_uncount(i);
    instance_stop(i);
    launch_next(v->target->fleet);
}

void fleet_give_up(struct instance *i)
{
    ASSERT(i->state == INSTANCE_READY);
    i->given_up = true;
    stop_instance(i);
}

static void start_one(struct rev *v)
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    struct fleet *f = v->target->fleet;
    char suffix[6] = { 0 };
    for (int k = 0; k < 5; k++)
        suffix[k] = letters[rng_below(&f->rng, sizeof letters - 1)];
    struct instance *i = instance_new(&f->env, &fleet_instance_ops, v->spec, &v->resolved, suffix, v);
    list_push(&v->instances, &i->node);
    v->starting++;
    f->live++;
    i->counted = COUNTED_WAITING;
    list_push(&f->start_queue, &i->wait_node);
    if (f->launching >= f->env.limits->starts_max)
        f->observer->on_limit(f->ctx, "starts_max");
    launch_next(f);
}

static void scale_up(struct rev *v, uint32_t desired)
{
    struct fleet *f = v->target->fleet;
    if (f->draining || fleet_now(f) < v->retry_us)
        return;
    while (v->ready + v->starting < desired) {
        if (f->live >= f->env.limits->instances_max) {
            f->observer->on_limit(f->ctx, "instances_max");
            struct instance *idle = v->queue.count > 0 ? idle_elsewhere(f, v) : NULL;
            if (idle) {
                ((struct rev *)idle->owner)->yielded = true;
                stop_instance(idle); /* its end brings this revision back here */
            }
            return;
        }
        uint32_t failures = v->failures;
        start_one(v);
        if (v->failures != failures)
            return; /* it failed on the spot: the pause has begun */
    }
}

/* Idle ones go, longest idle first; busy ones are left until they are idle. */
static void scale_down(struct rev *v, uint32_t desired)
{
    while (v->ready + v->starting > desired) {
        struct instance *victim = NULL;
        LIST_EACH(&v->instances, n, tmp) {
            struct instance *i = CONTAINER_OF(n, struct instance, node);
            bool idle = i->state == INSTANCE_READY && i->in_flight == 0;
            bool unneeded = i->state <= INSTANCE_STARTING && v->queue.count == 0;
            if ((idle || unneeded) && (!victim || i->idle_since_us < victim->idle_since_us))
                victim = i;
        }
        if (!victim)
            return;
        stop_instance(victim);
    }
}

/* How long a revision that has too few instances waits before it looks again. */
static uint64_t retry_pause_us(const struct rev *v)
{
    const struct fleet *f = v->target->fleet;
    if (f->live < f->env.limits->instances_max)
        return EVALUATE_QUIET_US;
    return v->queue.count > 0 ? FULL_WAITED_FOR_US : FULL_US;
}

void fleet_evaluate(struct rev *v)
{
    struct fleet *f = v->target->fleet;
    uint64_t now_us = fleet_now(f);
    if (v->target->removed || f->draining) {
        scale_down(v, 0);
        fleet_gone_if_empty(v);
        return;
    }
    uint32_t desired = scaler_desired(&v->scaler, v->ready, now_us);
    if (v->reserve && v->running + v->queue.count == 0)
        desired = 0; /* unreachable: min-scale does not hold any more */
    /* Trying again by itself is for what may pass; a wrong digest waits for somebody to ask. */
    bool late = !v->ready_once && now_us - v->created_us > v->spec->progress_deadline_us;
    if (v->failing && (!v->fail_retryable || late) && v->queue.count == 0)
        desired = v->ready;
    uint32_t live = v->ready + v->starting;
    if (v->yielded && v->running + v->queue.count == 0)
        desired = MIN(desired, MAX(live, v->spec->min_scale));
    if (desired > live)
        scale_up(v, desired);
    else if (desired < live)
        scale_down(v, desired);
    if (live != v->ready + v->starting)
        fleet_tell(v);

    uint64_t next_us = scaler_next_us(&v->scaler, now_us);
    if (desired > v->ready + v->starting)
        next_us = MIN(next_us, MAX(v->retry_us, now_us + retry_pause_us(v)));
    if (v->ready + v->starting == 0 && v->queue.count == 0 && desired == 0)
        next_us = UINT64_MAX; /* at zero: no timer, no CPU */
    if (next_us == UINT64_MAX)
        loop_cancel(f->env.loop, &v->timer);
    else
        loop_at(f->env.loop, &v->timer, next_us);
    fleet_rev_check(v);
    fleet_gone_if_empty(v);
}

bool fleet_stop_instance(struct fleet *f, const char *id)
{
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        const struct target *t = s->value;
        LIST_EACH(&t->revs, vn, vtmp) {
            struct rev *v = CONTAINER_OF(vn, struct rev, node);
            LIST_EACH(&v->instances, n, tmp) {
                struct instance *i = CONTAINER_OF(n, struct instance, node);
                if (strcmp(i->id, id) != 0)
                    continue;
                v->yielded = true;
                stop_instance(i);
                fleet_tell(v);
                return true;
            }
        }
    }
    return false;
}

/* ---- what instances report ------------------------------------------------------------------------ */

void fleet_take_over(struct rev *v)
{
    struct target *t = v->target;
    if (t->serving != v && !t->serving->reserve &&
        t->serving->spec->generation < v->spec->generation)
        t->serving = v;
    LIST_EACH(&t->revs, n, tmp) {
        struct rev *old = CONTAINER_OF(n, struct rev, node);
        if (old != t->serving && old->spec->generation < t->serving->spec->generation &&
            !old->reserve) {
            old->reserve = true;
            fleet_evaluate_soon(old);
        }
    }
}

/* Known is known, whether the start comes to anything or not. */
static void on_resolved(struct instance *i) { fleet_tell(i->owner); }

static void on_ready(struct instance *i)
{
    struct rev *v = i->owner;
    struct fleet *f = v->target->fleet;
    ASSERT(i->counted == COUNTED_LAUNCHING);
    fleet_uncount(i);
    v->ready++;
    i->counted = COUNTED_READY;
    v->failing = false;
    v->failures = 0;
    v->retry_us = 0;
    v->message[0] = '\0';
    if (!v->ready_once && v->ready >= v->scaler.config.initial) {
        v->ready_once = true;
        fleet_take_over(v);
    }
    f->observer->on_start(f->ctx, v->spec, &i->start);
    fleet_tell(v);
    dispatch_queue(v);
    launch_next(f);
    fleet_evaluate_soon(v);
}

static void on_failed(struct instance *i, bool retryable)
{
    struct rev *v = i->owner;
    struct fleet *f = v->target->fleet;
    uint64_t pause_us = f->env.limits->start_backoff_ms * 1000;
    ASSERT(i->counted == COUNTED_LAUNCHING);
    fleet_uncount(i);
    v->failing = true;
    v->fail_retryable = retryable;
    v->failed_phase = i->start.failed_phase;
    v->exit_status = i->exit.status; /* -1: it was still running, or never ran */
    snprintf(v->message, sizeof v->message, "%s", i->start.error);
    pause_us <<= MIN(v->failures, (uint32_t)BACKOFF_DOUBLINGS);
    v->failures++;
    v->retry_us = fleet_now(f) + pause_us / 2 + rng_below(&f->rng, pause_us / 2 + 1);
    log_event(LOG_WARN, "start.failed",
              "revision=%s instance=%s phase=%s retry_in_ms=%llu error=\"%s\"", v->spec->name,
              i->id, phase_name(v->failed_phase),
              (unsigned long long)((v->retry_us - fleet_now(f)) / 1000), LOG_QUOTED(v->message));
    f->observer->on_start(f->ctx, v->spec, &i->start);
    if (v->ready + v->starting == 0)
        dispatch_fail_all(v);
    launch_next(f);
    fleet_evaluate_soon(v);
}

/* Its requests go on; it gets no new ones until it is ready again. */
static void on_turned(struct instance *i, bool ready, const char *why)
{
    struct rev *v = i->owner;
    ASSERT(i->counted == (ready ? COUNTED_UNREADY : COUNTED_READY));
    if (ready)
        log_event(LOG_INFO, "instance.ready_again", "instance=%s in_flight=%u", i->id, i->in_flight);
    else
        log_event(LOG_WARN, "instance.not_ready", "instance=%s in_flight=%u cause=\"%s\"", i->id,
                  i->in_flight, LOG_QUOTED(why));
    fleet_uncount(i);
    i->counted = ready ? COUNTED_READY : COUNTED_UNREADY;
    v->ready += ready;
    v->starting += !ready;
    fleet_tell(v);
    if (ready)
        dispatch_queue(v);
    fleet_evaluate_soon(v);
}

static void on_given_up(struct instance *i, const char *why)
{
    struct rev *v = i->owner;
    log_event(LOG_WARN, "instance.given_up", "instance=%s in_flight=%u cause=\"%s\"", i->id, i->in_flight,
              LOG_QUOTED(why));
    i->given_up = true;
    fleet_uncount(i);
    fleet_tell(v);
    fleet_evaluate_soon(v);
}

static void on_ended(struct instance *i)
{
    struct rev *v = i->owner;
    /* nobody asked it to */
    bool died = i->counted == COUNTED_READY || i->counted == COUNTED_UNREADY || i->given_up;
    fleet_uncount(i);
    i->gone = true;
    if (died)
        log_event(LOG_WARN, "instance.died", "instance=%s status=%d oom=%s in_flight=%u", i->id,
                  i->exit.status, i->exit.oom_killed ? "yes" : "no", i->in_flight);
    if (died || i->failed)
        fleet_tell(v);
    fleet_evaluate_soon(v);
    /* Requests still on it hold its address: they see their connection break and let go first. */
    if (i->in_flight == 0)
        fleet_reap(i);
}

static void on_line(struct instance *i, struct str line)
{
    struct rev *v = i->owner;
    fnlog_line(&v->target->log, loop_wall_ms(), i->id, line);
}

const struct instance_ops fleet_instance_ops = { on_resolved, on_ready,    on_failed, on_turned,
                                                 on_given_up, on_ended,    on_line };
