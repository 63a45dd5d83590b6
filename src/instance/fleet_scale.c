#include "instance/fleet_impl.h"

#include "base/log.h"
#include "scale/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    BACKOFF_DOUBLINGS = 6,
    EVALUATE_QUIET_US = 1000,
    /* The node is full. Somebody waits: what is idle elsewhere may be had. Nobody does: min-scale only. */
    FULL_WAITED_FOR_US = 10000,
    FULL_US = 1000000,
};

static void launch_next(struct fleet *f);

/* ---- counting --------------------------------------------------------------------------------- */

static struct share_node node_of(const struct fleet *f)
{
    const struct limits *l = f->env.limits;
    uint32_t max = (uint32_t)l->instances_max;
    return (struct share_node){ max, share_first(max, (uint32_t)l->instances_first_percent), f->live };
}

/* A revision that found the node full may find room now. */
static void room_again(struct fleet *f)
{
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        struct target *t = s->value;
        LIST_EACH(&t->revs, n, tmp) {
            struct rev *v = CONTAINER_OF(n, struct rev, node);
            if (fleet_wanted(v))
                fleet_evaluate_soon(v);
        }
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
    doubt_end(i);
    list_remove(&v->instances, &i->node);
    uint32_t first = node_of(f).first;
    if (f->live-- + first >= f->env.limits->instances_max)
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

static void stop_instance(struct instance *i)
{
    struct rev *v = i->owner;
    fleet_uncount(i);
    fleet_work_drain(i);
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
    fleet_work_cause(v, i);
    list_push(&v->instances, &i->node);
    v->starting++;
    f->live++;
    i->counted = COUNTED_WAITING;
    list_push(&f->start_queue, &i->wait_node);
    if (f->launching >= f->env.limits->starts_max)
        f->observer->on_limit(f->ctx, "starts_max");
    launch_next(f);
}

/* Every revision of this node, and what it holds and wants; to be freed. */
struct claims {
    struct share_claim *at;
    struct rev **of;
    uint32_t count, asker;
};

static struct instance *idle_longest(const struct rev *v)
{
    struct instance *best = NULL;
    LIST_EACH(&v->instances, n, tmp) {
        struct instance *i = CONTAINER_OF(n, struct instance, node);
        if (i->state == INSTANCE_READY && i->in_flight == 0 && (!best || i->idle_since_us < best->idle_since_us))
            best = i;
    }
    return best;
}

static struct share_claim claim_of(const struct rev *v, uint64_t now_us)
{
    const struct instance *idle = idle_longest(v);
    uint32_t live = v->ready + v->starting;
    return (struct share_claim){ .live = live, .min = v->spec->min_scale,
                                 .waits = live == 0 && fleet_wanted(v) && now_us >= v->retry_us,
                                 .idle = idle != NULL, .idle_since_us = idle ? idle->idle_since_us : 0 };
}

static struct claims claims_make(struct fleet *f, const struct rev *asker)
{
    struct claims c = { .at = xcalloc(f->revisions, sizeof *c.at), .of = xcalloc(f->revisions, sizeof(struct rev *)) };
    uint64_t now_us = fleet_now(f);
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        const struct target *t = s->value;
        LIST_EACH(&t->revs, n, tmp) {
            ASSERT(c.count < f->revisions);
            c.of[c.count] = CONTAINER_OF(n, struct rev, node);
            if (c.of[c.count] == asker)
                c.asker = c.count;
            c.at[c.count] = claim_of(c.of[c.count], now_us);
            c.count++;
        }
    }
    return c;
}

static void claims_free(struct claims *c)
{
    free(c->at);
    free(c->of);
}

static bool goes_first(const struct instance *a, const struct instance *b);

static struct instance *least_busy(const struct rev *v)
{
    struct instance *best = NULL;
    LIST_EACH(&v->instances, n, tmp) {
        struct instance *i = CONTAINER_OF(n, struct instance, node);
        if (i->state <= INSTANCE_READY && i->counted != COUNTED_NOT && (!best || goes_first(i, best)))
            best = i;
    }
    return best;
}

/* The node has no room for v: somebody gives one up, if anybody has to. Its end brings v back here. */
static void make_room(struct rev *v, const struct claims *c)
{
    struct fleet *f = v->target->fleet;
    struct share_node n = node_of(f);
    uint32_t who;
    bool wanted = fleet_wanted(v) || (v->ready + v->starting == 0 && !v->ready_once);
    enum share_from from = wanted ? share_victim(&n, c->at, c->count, c->asker, &who) : SHARE_NOBODY;
    struct instance *victim = from == SHARE_NOBODY ? NULL
                              : from == SHARE_IDLE ? idle_longest(c->of[who])
                                                   : least_busy(c->of[who]);
    if (!victim)
        return;
    c->of[who]->yielded |= from == SHARE_IDLE;
    if (from == SHARE_BUSY)
        log_event(LOG_INFO, "instance.yields", "instance=%s to=%s in_flight=%u", victim->id, v->spec->name,
                  victim->in_flight);
    stop_instance(victim);
}

static void scale_up(struct rev *v, uint32_t desired)
{
    struct fleet *f = v->target->fleet;
    v->held = false;
    if (f->draining || fleet_now(f) < v->retry_us)
        return;
    struct share_node n = node_of(f);
    struct claims c = claims_make(f, v);
    uint32_t want = desired - (v->ready + v->starting);
    uint32_t granted = share_grant(&n, c.at, c.count, c.asker, want);
    v->held = granted < want;
    if (v->held)
        f->observer->on_limit(f->ctx, "instances_max");
    if (granted == 0)
        make_room(v, &c);
    claims_free(&c);
    for (uint32_t failures = v->failures; granted > 0 && v->failures == failures; granted--)
        start_one(v); /* one that failed on the spot began a pause */
}

/* Before b, if a goes: what is not ready yet, then the longest idle, then the least busy. */
static bool goes_first(const struct instance *a, const struct instance *b)
{
    bool a_ready = a->counted == COUNTED_READY, b_ready = b->counted == COUNTED_READY;
    if (a_ready != b_ready)
        return b_ready;
    if (a->in_flight != b->in_flight)
        return a->in_flight < b->in_flight;
    return a->idle_since_us < b->idle_since_us;
}

/* Idle ones go first. A busy one gets no new request and goes when its last one is over: nothing in flight is cut.
 * A queue means that all of them are full, and what starts is for those who wait. */
static void scale_down(struct rev *v, uint32_t desired, bool busy_too)
{
    bool waited_for = fleet_wanted(v);
    while (v->ready + v->starting > desired) {
        struct instance *victim = NULL;
        LIST_EACH(&v->instances, n, tmp) {
            struct instance *i = CONTAINER_OF(n, struct instance, node);
            bool may = i->state == INSTANCE_READY ? i->in_flight == 0 || (busy_too && !waited_for)
                                                  : i->state <= INSTANCE_STARTING && !waited_for;
            if (may && (!victim || goes_first(i, victim)))
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
    if (!v->held && f->live < f->env.limits->instances_max)
        return EVALUATE_QUIET_US;
    return fleet_wanted(v) ? FULL_WAITED_FOR_US : FULL_US;
}

static uint64_t micro(double n) { return (uint64_t)(n * (double)KPA_MICRO + 0.5); }

static struct kpa_config config_of(const struct rev *v, bool was_ready)
{
    const struct revision *r = v->spec;
    const struct limits *l = v->target->fleet->env.limits;
    uint32_t max = MAX(r->max_scale ? r->max_scale : (uint32_t)l->scale_max, r->min_scale);
    return (struct kpa_config){
        .metric = r->by_rps ? KPA_RPS : KPA_CONCURRENCY,
        .aggregation = r->weighted ? WINDOW_EXPONENTIAL : WINDOW_LINEAR,
        .total_micro = MIN(MAX(micro(r->total), UINT64_C(1)), KPA_TOTAL_MAX),
        .target_micro = MAX(micro(r->target), KPA_TARGET_MIN),
        .burst_micro = r->burst_capacity < 0 ? KPA_BURST_ALWAYS : (int64_t)micro(r->burst_capacity),
        .window_s = (uint32_t)(r->window_us / 1000000),
        .panic_window_s = r->panic_window_s,
        .panic_threshold_micro = micro(r->panic_threshold),
        .up_rate_micro = l->scale_up_percent * (KPA_MICRO / 100),
        .down_rate_micro = l->scale_down_percent * (KPA_MICRO / 100),
        .min = r->min_scale,
        .max = max,
        .initial = was_ready ? 0 : MIN(MAX(r->initial_scale, r->min_scale), max),
        .activation = MIN(r->activation_scale, max),
        .room = r->container_concurrency,
        .delay_us = r->scale_down_delay_us,
        .retention_us = r->retention_us,
        .activation_deadline_us = r->progress_deadline_us + KPA_ACTIVATION_BUFFER_US,
        .to_zero = l->scale_to_zero,
        .queued_always = true, /* the queue is in this process, in front of every request */
    };
}

void fleet_scale_open(struct rev *v, bool was_ready)
{
    const struct kpa_config c = config_of(v, was_ready);
    v->kpa = kpa_new(&c, 0, fleet_now(v->target->fleet));
}

void fleet_rescale(struct fleet *f, const char *ns, const char *service, const char *revision, const json_t *annotations)
{
    struct target *t = fleet_target(f, ns, service);
    struct rev *v = t ? fleet_rev(t, revision) : NULL;
    if (!v)
        return;
    revision_rescale(v->spec, annotations, f->env.limits);
    const struct kpa_config c = config_of(v, v->ready_once);
    v->kpa = kpa_changed(v->kpa, &c, fleet_now(f));
    fleet_evaluate_soon(v);
}

/* Changes with what fleet_tell() says of the autoscaler's decision. */
int64_t fleet_decision_mark(const struct rev *v)
{
    const struct kpa_decision *d = kpa_last(v->kpa);
    return (int64_t)d->wanted * 32 + (int64_t)d->activity * 4 + d->timed_out * 2 + fleet_is_late(v);
}

bool fleet_is_late(const struct rev *v)
{
    uint64_t now_us = fleet_now(v->target->fleet);
    return !v->ready_once && now_us - v->created_us > v->spec->progress_deadline_us;
}

/* The tick is every two seconds while there is anything to decide; at zero there is no timer. */
static uint32_t ask_scaler(struct rev *v, uint64_t now_us)
{
    const struct kpa_input in = { now_us, v->ready, !v->reserve };
    const struct kpa_decision *d = kpa_last(v->kpa);
    kpa_measure(v->kpa, v->ready + v->starting + d->apply > 0, now_us);
    bool due = v->tick_us && now_us >= v->tick_us;
    (void)(due ? kpa_tick(v->kpa, &in) : kpa_reconcile(v->kpa, &in));
    /* Tasks that are too many for those who poll are the next tick's decision: they wait in no line of ours. */
    if (v->queue.count > 0 || (v->ready + v->starting == 0 && fleet_wanted(v)))
        (void)kpa_urgent(v->kpa, &in);
    bool rests = v->ready + v->starting == 0 && kpa_at_rest(v->kpa);
    v->tick_us = rests ? 0 : due || !v->tick_us ? now_us + KPA_TICK_US : v->tick_us;
    return d->apply;
}

void fleet_evaluate(struct rev *v)
{
    struct fleet *f = v->target->fleet;
    uint64_t now_us = fleet_now(f);
    if (v->target->removed || f->draining) {
        scale_down(v, 0, false);
        fleet_gone_if_empty(v);
        return;
    }
    dispatch_note_load(v); /* whose tasks they are may have changed */
    uint32_t desired = ask_scaler(v, now_us);
    if (desired == 0 && v->ready > 0 && fleet_work_holds(v, now_us))
        desired = 1;
    if (v->reserve && v->running + v->queue.count == 0)
        desired = 0; /* nothing leads to it and nobody is on it: what it holds is for the one that took over */
    /* Trying again by itself is for what may pass; a wrong digest waits for somebody to ask. */
    if (v->failing && (!v->fail_retryable || fleet_is_late(v)) && !fleet_wanted(v) && !v->config_came)
        desired = v->ready;
    uint32_t live = v->ready + v->starting;
    if (v->yielded && v->running == 0 && !fleet_wanted(v))
        desired = MIN(desired, MAX(live, v->spec->min_scale));
    if (desired > live)
        scale_up(v, desired);
    else if (desired < live)
        scale_down(v, desired, true);
    if (live != v->ready + v->starting || v->told != fleet_decision_mark(v) || now_us >= v->hangs_due_us)
        fleet_tell(v);

    v->hangs_due_us = fleet_hangs_us(v);
    uint64_t next_us = MIN(v->tick_us ? v->tick_us : UINT64_MAX, v->hangs_due_us);
    if (desired > v->ready + v->starting)
        next_us = MIN(next_us, MAX(v->retry_us, now_us + retry_pause_us(v)));
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

void fleet_config_changed(struct fleet *f, const char *ns)
{
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        struct target *t = s->value;
        LIST_EACH(&t->revs, n, tmp) {
            struct rev *v = CONTAINER_OF(n, struct rev, node);
            if (!v->failing || !v->config_reason || (ns && strcmp(v->spec->ns, ns) != 0))
                continue;
            v->config_came = true;
            v->failures = 0;
            v->retry_us = 0;
            fleet_evaluate_soon(v);
        }
    }
}

/* ---- what instances report ------------------------------------------------------------------------ */

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
    v->failing = v->config_came = false;
    v->failures = 0;
    v->retry_us = 0;
    v->message[0] = '\0';
    if (!v->ready_once && v->ready >= kpa_config(v->kpa)->initial)
        v->ready_once = true;
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
    fleet_work_drain(i);
    v->failing = true;
    v->config_came = false;
    v->config_reason = i->config_reason;
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
    fleet_work_drain(i);
    fleet_tell(v);
    fleet_evaluate_soon(v);
}

static void on_ended(struct instance *i)
{
    struct rev *v = i->owner;
    /* nobody asked it to */
    bool died = i->counted == COUNTED_READY || i->counted == COUNTED_UNREADY || i->given_up;
    fleet_uncount(i);
    doubt_end(i);
    i->gone = true;
    if (died)
        log_event(LOG_WARN, "instance.died", "instance=%s status=%d oom=%s in_flight=%u", i->id,
                  i->exit.status, i->exit.oom_killed ? "yes" : "no", i->in_flight);
    fleet_work_gone(i);
    if (died || i->failed)
        fleet_tell(v);
    fleet_evaluate_soon(v);
    /* Requests still on it hold its address: they see their connection break and let go first. */
    if (i->in_flight == 0)
        fleet_reap(i);
}

static void on_line(struct instance *i, const char *container, struct str line)
{
    struct rev *v = i->owner;
    char label[INSTANCE_ID + 68];
    (void)snprintf(label, sizeof label, "%s%s%s", i->id, container ? "/" : "", container ? container : "");
    fnlog_line(&v->target->log, loop_wall_ms(), label, line);
}

const struct instance_ops fleet_instance_ops = { on_resolved, on_ready, on_failed, on_turned,
                                                 on_given_up, on_ended, on_line,   fleet_work_served };
