#include "instance/fleet_impl.h"

#include <stdio.h>
#include <stdlib.h>

void fleet_rev_check(const struct rev *v)
{
    ASSERT(v->ready + v->starting <= v->instances.count);
    if (v->queue.count > 0)
        ASSERT(v->queue.count <= v->spec->queue_depth);
}

static const struct instance *oldest_start(const struct rev *v)
{
    const struct instance *oldest = NULL;
    LIST_EACH(&v->instances, n, tmp) {
        const struct instance *i = CONTAINER_OF(n, struct instance, node);
        if (i->state <= INSTANCE_STARTING && (!oldest || i->start.begin_us < oldest->start.begin_us))
            oldest = i;
    }
    return oldest;
}

/* A deadline shorter than that is not to pass before it was said why it will. */
static uint64_t slow_us(const struct rev *v)
{
    return MIN(v->target->fleet->env.limits->start_slow_ms * 1000, v->spec->progress_deadline_us / 2);
}

/* Only a revision that nobody is told of any other cause. */
static bool may_hang(const struct rev *v) { return !v->ready_once && !v->failing; }

uint64_t fleet_hangs_us(const struct rev *v)
{
    const struct limits *l = v->target->fleet->env.limits;
    const struct instance *oldest = may_hang(v) ? oldest_start(v) : NULL;
    if (!oldest)
        return UINT64_MAX;
    uint64_t now_us = fleet_now(v->target->fleet), late_us = v->created_us + v->spec->progress_deadline_us;
    uint64_t next_us = oldest->start.begin_us + slow_us(v);
    if (next_us <= now_us)
        next_us = v->hangs_us + l->start_slow_again_ms * 1000;
    return MAX(late_us >= now_us ? MIN(next_us, late_us + 1) : next_us, now_us + 1);
}

/* The text is kept between two looks, so that its seconds alone change no status; and it stays what it was when
 * the revision is late, or dropped, and its start was stopped for that: it is the reason. */
static void hangs_look(struct rev *v)
{
    const struct fleet *f = v->target->fleet;
    const struct instance *oldest = may_hang(v) ? oldest_start(v) : NULL;
    uint64_t now_us = fleet_now(f);
    bool late = fleet_is_late(v);
    if (!may_hang(v) || (!oldest && !late && !v->reserve))
        v->hangs[0] = '\0';
    if (!oldest || now_us < oldest->start.begin_us + slow_us(v)) /* it may have begun after this turn */
        return;
    if (*v->hangs && late == v->hangs_late && now_us - v->hangs_us < f->env.limits->start_slow_again_ms * 1000)
        return;
    v->hangs_us = now_us;
    v->hangs_late = late;
    instance_hangs(oldest, v->hangs, sizeof v->hangs);
}

void fleet_tell(struct rev *v)
{
    struct fleet *f = v->target->fleet;
    const struct kpa_decision *d = kpa_last(v->kpa);
    struct fleet_facts facts = {
        .ready_once = v->ready_once,
        .actual = v->ready,
        .starting = v->starting,
        .desired = d->wanted >= 0 ? (uint32_t)d->wanted : d->apply,
        .active = d->activity != KPA_INACTIVE,
        .activating = d->activity == KPA_ACTIVATING,
        .timed_out = d->timed_out,
        .failing = v->failing,
        .failed_phase = v->failed_phase,
        .retryable = v->fail_retryable,
        .exit_status = v->exit_status,
        .config_reason = v->failing ? v->config_reason : NULL,
        .resolved = &v->resolved,
    };
    if (v->reserve && v->instances.count + v->running + v->queue.count == 0) {
        facts.active = facts.activating = false; /* its last word: nothing will wake it */
        facts.desired = 0;
    }
    hangs_look(v);
    snprintf(facts.message, sizeof facts.message, "%s", v->failing ? v->message : v->hangs);
    v->told = fleet_decision_mark(v);
    if (!v->target->removed)
        f->observer->on_facts(f->ctx, v->spec, &facts);
}

static void on_rev_timer(struct loop_timer *t)
{
    fleet_evaluate(CONTAINER_OF(t, struct rev, timer));
}
static void on_evaluate(struct loop_task *t)
{
    fleet_evaluate(CONTAINER_OF(t, struct rev, evaluate));
}

/* ---- revisions and services ------------------------------------------------------------------------ */

static void resolved_done(struct instance_resolved *d)
{
    for (uint32_t k = 0; k < d->other_count; k++)
        resolved_done(&d->others[k]);
    free(d->others);
    free(d->models);
}

/* Any of them may be called next, and all at once. */
static void revisions_count(struct fleet *f, int change)
{
    struct sandbox_tier *t = f->env.tier;
    f->revisions += (uint32_t)change;
    if (t->ops->pool_expect)
        t->ops->pool_expect(t, f->revisions);
}

static void rev_free(struct rev *v)
{
    struct fleet *f = v->target->fleet;
    ASSERT(v->queue.count == 0);
    loop_cancel(f->env.loop, &v->timer);
    loop_undefer(f->env.loop, &v->evaluate);
    LIST_EACH(&v->instances, n, tmp) {
        struct instance *i = CONTAINER_OF(n, struct instance, node);
        fleet_uncount(i);
        fleet_work_gone(i);
        doubt_end(i);
        list_remove(&v->instances, n);
        f->live--;
        instance_free(i);
    }
    list_remove(&v->target->revs, &v->node);
    fleet_route_forget(v);
    revisions_count(f, -1);
    revision_free(v->spec);
    kpa_free(v->kpa);
    resolved_done(&v->resolved);
    free(v);
}

static void target_free(struct target *t)
{
    LIST_EACH(&t->revs, n, tmp) {
        struct rev *v = CONTAINER_OF(n, struct rev, node);
        rev_free(v);
    }
    if (t->removed)
        list_remove(&t->fleet->removed, &t->removed_node);
    fnlog_done(&t->log);
    fleet_route_clear(t);
    free(t->key);
    free(t);
}

void fleet_gone_if_empty(struct rev *v)
{
    struct target *t = v->target;
    if (v->instances.count > 0 || v->running + v->refusing + v->queue.count > 0)
        return;
    if (t->removed) {
        rev_free(v);
        if (t->revs.count == 0)
            target_free(t);
    } else if (v->reserve) {
        fleet_tell(v);
        rev_free(v);
    }
}

struct target *fleet_target(const struct fleet *f, const char *ns, const char *service)
{
    char key[160];
    int size = snprintf(key, sizeof key, "%s/%s", ns, service);
    return (size_t)size < sizeof key ? map_find(&f->by_key, (struct str){ key, (size_t)size })
                                     : NULL;
}

static struct target *target_new(struct fleet *f, const char *key)
{
    struct target *t = xcalloc(1, sizeof *t);
    t->fleet = f;
    t->key = xstrdup(key);
    list_init(&t->revs);
    fnlog_init(&t->log, f->env.limits->log_ring_bytes);
    map_put(&f->by_key, str_of(t->key), t);
    return t;
}

struct target *fleet_target_make(struct fleet *f, const char *ns, const char *service)
{
    AUTO_FREE char *key = xasprintf("%s/%s", ns, service);
    struct target *t = map_find(&f->by_key, str_of(key));
    return t ? t : target_new(f, key);
}

void fleet_target_gone_if_empty(struct target *t)
{
    if (t->revs.count > 0 || t->removed)
        return;
    (void)map_remove(&t->fleet->by_key, str_of(t->key));
    target_free(t);
}

static void copy_digest(char into[DIGEST_TEXT], const char *from)
{
    snprintf(into, DIGEST_TEXT, "%s", from ? from : "");
}

/* What an earlier boot, or the reference itself, says. */
static void resolved_setup(struct instance_resolved *d, const struct revision *r)
{
    uint32_t count = 0;
    for (size_t k = 0; k < r->mount_count; k++)
        count += r->mounts[k].is_model;
    d->model_count = MIN(count, (uint32_t)INSTANCE_MODELS_MAX);
    d->models = d->model_count ? xcalloc(d->model_count, sizeof *d->models) : NULL;
    copy_digest(d->image, r->image_digest);
    for (size_t k = 0, at = 0; k < r->mount_count && at < d->model_count; k++)
        if (r->mounts[k].is_model)
            copy_digest(d->models[at++], r->mounts[k].digest);
    d->other_count = r->other_count;
    d->others = r->other_count ? xcalloc(r->other_count, sizeof *d->others) : NULL;
    for (uint32_t k = 0; k < r->other_count; k++)
        resolved_setup(&d->others[k], r->others[k]);
}

struct rev *fleet_rev(const struct target *t, const char *name)
{
    LIST_EACH(&t->revs, n, tmp) {
        struct rev *v = CONTAINER_OF(n, struct rev, node);
        if (strcmp(v->spec->name, name) == 0)
            return v;
    }
    return NULL;
}

/* One that was dropped and still drains is wanted again. */
static bool taken_back(struct target *t, struct revision *take_r)
{
    struct rev *v = fleet_rev(t, take_r->name);
    if (!v)
        return false;
    ASSERT(v->reserve);
    revision_free(take_r);
    v->reserve = false;
    fleet_tell(v);
    fleet_evaluate_soon(v);
    return true;
}

void fleet_add(struct fleet *f, struct revision *take_r, bool was_ready)
{
    struct target *t = fleet_target_make(f, take_r->ns, take_r->service);
    if (taken_back(t, take_r))
        return;
    struct rev *v = xcalloc(1, sizeof *v);
    v->target = t;
    v->spec = take_r;
    v->exit_status = -1;
    v->created_us = fleet_now(f);
    v->hangs_due_us = UINT64_MAX;
    retry_budget_init(&v->retries);
    v->timer.on_due = on_rev_timer;
    v->evaluate.run = on_evaluate;
    list_init(&v->instances);
    list_init(&v->queue);
    list_push(&t->revs, &v->node);
    revisions_count(f, 1);
    fleet_scale_open(v, was_ready);
    v->ready_once = kpa_config(v->kpa)->initial == 0;
    resolved_setup(&v->resolved, take_r);
    if (!t->serving)
        t->serving = v;
    fleet_tell(v);
    fleet_evaluate_soon(v);
}

void fleet_drop(struct fleet *f, const char *ns, const char *service, const char *revision)
{
    struct target *t = fleet_target(f, ns, service);
    struct rev *v = t ? fleet_rev(t, revision) : NULL;
    if (!v)
        return;
    v->reserve = true;
    fleet_evaluate_soon(v);
}

void fleet_remove_service(struct fleet *f, const char *ns, const char *service)
{
    char key[160];
    int size = snprintf(key, sizeof key, "%s/%s", ns, service);
    struct target *t = map_remove(&f->by_key, (struct str){ key, (size_t)size });
    struct err e;
    if (!t)
        return;
    fleet_route_clear(t);
    fleet_route_regain(f);
    if (t->revs.count == 0) {
        target_free(t);
        return;
    }
    t->removed = true;
    list_push(&f->removed, &t->removed_node);
    err_set(&e, CODE_NOT_FOUND, "service %s was deleted", key);
    LIST_EACH(&t->revs, n, tmp) {
        struct rev *v = CONTAINER_OF(n, struct rev, node);
        dispatch_refuse_all(v, &e);
        fleet_evaluate_soon(v);
    }
}

void fleet_drain(struct fleet *f)
{
    const struct map_slot *s;
    f->draining = true;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        struct target *t = s->value;
        LIST_EACH(&t->revs, n, tmp) {
            struct rev *v = CONTAINER_OF(n, struct rev, node);
            fleet_evaluate_soon(v);
        }
    }
}

/* ---- life and looking ------------------------------------------------------------------------------ */

int fleet_open(const struct instance_env *env, const struct fleet_observer *observer, void *ctx,
               uint64_t seed, struct fleet **ret, struct err *e)
{
    (void)e;
    struct fleet *f = xcalloc(1, sizeof *f);
    f->env = *env;
    f->observer = observer;
    f->ctx = ctx;
    f->rng.state = seed;
    dispatch_open(f);
    map_init(&f->by_host, rng_next(&f->rng));
    map_init(&f->by_key, rng_next(&f->rng));
    map_init(&f->by_domain, rng_next(&f->rng));
    list_init(&f->start_queue);
    list_init(&f->removed);
    *ret = f;
    return 0;
}

void fleet_free(struct fleet *f)
{
    if (!f)
        return;
    ASSERT(f->due.count == 0);
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;)
        fleet_route_clear(s->value); /* before any: they name each other's revisions */
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;)
        target_free(s->value);
    LIST_EACH(&f->removed, n, tmp)
        target_free(CONTAINER_OF(n, struct target, removed_node));
    map_done(&f->by_key);
    map_done(&f->by_host);
    fleet_domains_done(f);
    loop_undefer(f->env.loop, &f->due_task);
    free(f);
}

uint32_t fleet_live(const struct fleet *f) { return f->live; }
struct backend *fleet_backend(struct fleet *f) { return &f->backend; }

struct instance *fleet_instance(const struct fleet *f, const char *id)
{
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        const struct target *t = s->value;
        LIST_EACH(&t->revs, vn, vtmp) {
            const struct rev *v = CONTAINER_OF(vn, struct rev, node);
            LIST_EACH(&v->instances, n, tmp) {
                struct instance *i = CONTAINER_OF(n, struct instance, node);
                if (strcmp(i->id, id) == 0)
                    return i;
            }
        }
    }
    return NULL;
}

void fleet_each_instance(struct fleet *f, void (*on_instance)(void *ctx, const struct instance *i),
                         void *ctx)
{
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        const struct target *t = s->value;
        LIST_EACH(&t->revs, vn, vtmp) {
            const struct rev *v = CONTAINER_OF(vn, struct rev, node);
            LIST_EACH(&v->instances, n, tmp)
                on_instance(ctx, CONTAINER_OF(n, struct instance, node));
        }
    }
}

static void totals_add(struct fleet_totals *sum, const struct target *t)
{
    LIST_EACH(&t->revs, n, tmp) {
        const struct rev *v = CONTAINER_OF(n, struct rev, node);
        sum->revisions++;
        sum->instances += v->instances.count;
        sum->ready += v->ready;
        sum->starting += v->starting;
        sum->queued += v->queue.count;
        sum->running += v->running;
    }
}

struct fleet_totals fleet_totals(const struct fleet *f)
{
    struct fleet_totals sum = { 0 };
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;)
        totals_add(&sum, s->value);
    return sum;
}

bool fleet_service_totals(const struct fleet *f, const char *ns, const char *service,
                          struct fleet_totals *ret)
{
    const struct target *t = fleet_target(f, ns, service);
    *ret = (struct fleet_totals){ 0 };
    if (t)
        totals_add(ret, t);
    return t != NULL;
}

const struct revision *fleet_serving(const struct fleet *f, const char *ns, const char *service)
{
    const struct target *t = fleet_target(f, ns, service);
    return t && t->serving ? t->serving->spec : NULL;
}

const struct kpa *fleet_autoscaler(const struct fleet *f, const char *ns, const char *service)
{
    const struct target *t = fleet_target(f, ns, service);
    return t && t->serving ? t->serving->kpa : NULL;
}

void fleet_each_service(const struct fleet *f,
                        void (*on_service)(void *ctx, const struct revision *serving,
                                           const struct fleet_totals *t),
                        void *ctx)
{
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        const struct target *t = s->value;
        struct fleet_totals sum = { 0 };
        totals_add(&sum, t);
        if (t->serving)
            on_service(ctx, t->serving->spec, &sum);
    }
}

struct fnlog *fleet_log(struct fleet *f, const char *ns, const char *service)
{
    struct target *t = fleet_target(f, ns, service);
    return t ? &t->log : NULL;
}

static void rev_check_deep(const struct rev *v, uint32_t *live)
{
    uint32_t ready = 0, starting = 0, in_flight = 0, room = v->spec->container_concurrency;
    LIST_EACH(&v->instances, n, tmp) {
        const struct instance *i = CONTAINER_OF(n, struct instance, node);
        ready += i->counted == COUNTED_READY;
        starting += i->counted == COUNTED_WAITING || i->counted == COUNTED_LAUNCHING ||
                    i->counted == COUNTED_UNREADY;
        in_flight += i->in_flight;
        ASSERT(i->counted < COUNTED_READY || i->state >= INSTANCE_READY);
        ASSERT(i->counted == COUNTED_NOT || i->state != INSTANCE_DRAINING);
        ASSERT(i->state != INSTANCE_READY || i->counted == COUNTED_READY ||
               i->counted == COUNTED_UNREADY);
        ASSERT(i->tasks <= i->in_flight && (room == 0 || i->in_flight - i->tasks <= room));
        (*live)++;
    }
    ASSERT(ready == v->ready && starting == v->starting && in_flight == v->running);
    ASSERT(v->ready + v->starting <= kpa_config(v->kpa)->max);
    if (v->queue.count > 0)
        ASSERT(dispatch_pick(v) == NULL); /* nobody waits while there is room */
    fleet_rev_check(v);
}

void fleet_check(const struct fleet *f)
{
    uint32_t live = 0;
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        const struct target *t = s->value;
        ASSERT((t->revs.count > 0) == (t->serving != NULL));
        fleet_route_check(t);
        LIST_EACH(&t->revs, n, tmp)
            rev_check_deep(CONTAINER_OF(n, struct rev, node), &live);
    }
    LIST_EACH(&f->removed, tn, ttmp)
        LIST_EACH(&CONTAINER_OF(tn, struct target, removed_node)->revs, n, tmp)
            rev_check_deep(CONTAINER_OF(n, struct rev, node), &live);
    ASSERT(live == f->live && f->live <= f->env.limits->instances_max);
    ASSERT(f->launching <= f->env.limits->starts_max);
}
