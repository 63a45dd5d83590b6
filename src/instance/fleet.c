#include "instance/fleet.h"

#include "base/hist.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    BACKOFF_DOUBLINGS = 6,
    HOST_MAX = 256,
    CONNECT_GIVE_UP_US = 10000000, /* an accept queue full for 10 s is a failed instance */
    REFUSED_RETRY_AFTER_S = 1,
    EVALUATE_QUIET_US = 1000,
};

struct target { /* one service: what a host name leads to */
    struct fleet *fleet;
    char *key;                  /* "ns/service" */
    char *hosts[2];
    struct rev *serving;        /* gets new requests; may not be ready yet */
    struct list revs;           /* struct rev, oldest first */
    struct fnlog log;
    struct hist warm_handler_us; /* for first_request_delta */
    bool removed;
};

struct rev {
    struct list_node node; /* in target->revs */
    struct target *target;
    struct revision *spec;
    struct scaler scaler;
    struct list instances; /* struct instance */
    struct list queue;     /* struct ticket, arrival order */
    uint32_t running;      /* granted and not released */
    uint32_t refusing;     /* tickets about to be told no; they hold the revision */
    uint32_t ready, starting; /* live instances by state; draining ones are neither */
    bool ready_once, reserve; /* reserve: a newer one took over; goes to zero and then away */
    bool yielded; /* gave an idle instance to another; wants none back until it is asked */
    bool failing, fail_retryable;
    uint32_t failures;     /* starts failed in a row */
    uint64_t retry_us;     /* no start before */
    enum phase failed_phase;
    int exit_status;
    char message[256];
    char image_digest[80];
    struct loop_timer timer;
    struct loop_task evaluate;
    uint64_t created_us;
};

enum ticket_state {
    TICKET_IDLE,
    TICKET_QUEUED,
    TICKET_CONNECTING,
    TICKET_DUE,
    TICKET_LEASED,
    TICKET_REFUSING, /* decided inside ask(); told from a timer that is due at once */
};

struct fleet {
    struct backend backend;
    struct instance_env env;
    const struct fleet_observer *observer;
    void *ctx;
    struct rng rng;
    struct map by_host, by_key; /* struct target */
    struct list start_queue;    /* struct instance.wait_node: wait for a start slot */
    struct list due;            /* granted tickets whose on_turn comes at the end of the turn */
    struct loop_task due_task;
    uint32_t live, launching;   /* all instances not ended; those between launch and ready/failed */
    uint32_t revisions;
    bool draining;
};

static const struct instance_ops instance_ops;
static void rev_evaluate(struct rev *v);
static void rev_dispatch(struct rev *v);

static uint64_t now_of(const struct fleet *f) { return loop_now_us(f->env.loop); }

static void rev_check(const struct rev *v)
{
    ASSERT(v->ready + v->starting <= v->instances.count);
    if (v->queue.count > 0)
        ASSERT(v->queue.count <= v->spec->queue_depth);
}

/* ---- facts ----------------------------------------------------------------------------------- */

static void tell_facts(struct rev *v)
{
    struct fleet *f = v->target->fleet;
    struct fleet_facts facts = {
        .ready_once = v->ready_once, .actual = v->ready, .starting = v->starting,
        .desired = v->ready + v->starting, .active = v->ready + v->starting > 0,
        .failing = v->failing, .failed_phase = v->failed_phase, .retryable = v->fail_retryable,
        .exit_status = v->exit_status,
    };
    snprintf(facts.image_digest, sizeof facts.image_digest, "%s", v->image_digest);
    snprintf(facts.message, sizeof facts.message, "%s", v->message);
    if (!v->target->removed)
        f->observer->on_facts(f->ctx, v->spec, &facts);
}

static void note_load(struct rev *v)
{
    scaler_note(&v->scaler, v->running + v->queue.count, now_of(v->target->fleet));
}

/* Once per turn, however many requests came in it: a burst is one decision. */
static void evaluate_soon(struct rev *v)
{
    loop_defer(v->target->fleet->env.loop, &v->evaluate);
}

/* A revision that found the node full may find room now. */
static void room_again(struct fleet *f)
{
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        struct target *t = s->value;
        if (t->serving->queue.count > 0)
            evaluate_soon(t->serving);
    }
}

/* ---- tickets --------------------------------------------------------------------------------- */

static void ticket_due(struct fleet *f, struct ticket *t)
{
    t->state = TICKET_DUE;
    list_push(&f->due, &t->node);
    loop_defer(f->env.loop, &f->due_task);
}

static void lease_fill(const struct ticket *t, struct lease *l)
{
    struct instance *i = t->instance;
    *l = (struct lease){ .instance = i, .fd = t->fd, .fd_reused = t->fd_reused,
                         .instance_id = i->id, .cold = t->cold, .start = &i->start,
                         .ready_us = i->ready_us };
}

/* The first dispatch ends the phase `ready`. */
static void mark_dispatched(struct instance *i, uint64_t now_us)
{
    if (i->start.phases[PHASE_READY].outcome == PHASE_OPEN)
        phase_end(&i->start, PHASE_READY, now_us, PHASE_DONE);
}

static void due_run(struct loop_task *task)
{
    struct fleet *f = CONTAINER_OF(task, struct fleet, due_task);
    for (struct list_node *n; (n = list_first(&f->due)) != NULL;) {
        struct ticket *t = CONTAINER_OF(n, struct ticket, node);
        struct lease lease;
        list_remove(&f->due, n);
        mark_dispatched(t->instance, loop_clock_us(f->env.loop));
        lease_fill(t, &lease);
        t->state = TICKET_LEASED;
        t->waiting = false;
        t->on_turn(t, TICKET_GRANTED, &lease, 0, NULL);
    }
}

static void ticket_refuse(struct ticket *t, enum ticket_result r, uint32_t retry_after_s,
                          const struct err *e)
{
    struct rev *v = t->revision;
    loop_cancel(v->target->fleet->env.loop, &t->timer);
    if (t->state == TICKET_REFUSING)
        v->refusing--;
    t->state = TICKET_IDLE;
    t->waiting = false;
    evaluate_soon(v); /* it may have been the last thing that held a removed revision */
    t->on_turn(t, r, NULL, retry_after_s, e);
}

static void launch_next(struct fleet *f);

static void uncount(struct instance *i)
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
    }
    i->counted = COUNTED_NOT;
}

/* Its sandbox is over and nobody holds a connection to it. */
static void instance_reap(struct instance *i)
{
    struct rev *v = i->owner;
    struct fleet *f = v->target->fleet;
    ASSERT(i->in_flight == 0 && i->counted == COUNTED_NOT);
    list_remove(&v->instances, &i->node);
    if (f->live-- == f->env.limits->instances_max)
        room_again(f);
    instance_free(i);
    evaluate_soon(v);
    launch_next(f);
}

static void instance_let_go(struct rev *v, struct instance *i)
{
    ASSERT(i->in_flight > 0 && v->running > 0);
    i->in_flight--;
    v->running--;
    if (i->in_flight == 0)
        i->idle_since_us = now_of(v->target->fleet);
    note_load(v);
    if (i->in_flight == 0 && i->state == INSTANCE_ENDED)
        instance_reap(i);
}

/* Callbacks never come inside ask(): a refusal decided there is told from a timer due at once. */
static void refuse_soon(struct ticket *t, void (*on_due)(struct loop_timer *t))
{
    struct rev *v = t->revision;
    loop_cancel(v->target->fleet->env.loop, &t->timer);
    t->state = TICKET_REFUSING;
    t->timer = (struct loop_timer){ .on_due = on_due };
    v->refusing++;
    loop_at(v->target->fleet->env.loop, &t->timer, 0);
}

static void on_connect_refused(struct loop_timer *timer)
{
    struct ticket *t = CONTAINER_OF(timer, struct ticket, timer);
    struct err e;
    const struct rev *v = t->revision;
    err_set(&e, CODE_UNAVAILABLE, "an instance of %s did not accept a connection on port %u",
            v->spec->name, v->spec->port);
    ticket_refuse(t, TICKET_FAILED, REFUSED_RETRY_AFTER_S, &e);
}

static void on_connected(void *ctx, int take_fd, const struct err *e)
{
    struct ticket *t = ctx;
    struct rev *v = t->revision;
    t->connecting = NULL;
    if (take_fd < 0) {
        log_event(LOG_WARN, "connect.failed", "instance=%s error=\"%s\"",
                  ((struct instance *)t->instance)->id, LOG_QUOTED(e->text));
        refuse_soon(t, on_connect_refused);
        instance_let_go(v, t->instance);
        rev_dispatch(v);
        evaluate_soon(v);
        return;
    }
    t->fd = take_fd;
    t->fd_reused = false;
    ticket_due(v->target->fleet, t);
}

static void ticket_connect(struct ticket *t)
{
    struct rev *v = t->revision;
    struct instance *i = t->instance;
    uint64_t give_up_us = MIN(t->deadline_us, now_of(v->target->fleet) + CONNECT_GIVE_UP_US);
    t->state = TICKET_CONNECTING;
    struct connecting *c = instance_connect(i, give_up_us, on_connected, t);
    if (c)
        t->connecting = c;
}

/* Takes a slot on the instance for the ticket, and a connection. */
static void ticket_grant(struct ticket *t, struct instance *i, bool cold)
{
    struct rev *v = t->revision;
    struct fleet *f = v->target->fleet;
    ASSERT(i->state == INSTANCE_READY);
    loop_cancel(f->env.loop, &t->timer);
    i->in_flight++;
    i->requests++;
    v->running++;
    t->instance = i;
    t->cold = cold;
    t->fd = instance_idle_take(i, &t->fd_reused);
    if (t->fd >= 0)
        ticket_due(f, t);
    else
        ticket_connect(t);
}

static struct instance *pick(const struct rev *v)
{
    struct instance *best = NULL;
    uint32_t room = v->spec->container_concurrency ? v->spec->container_concurrency : UINT32_MAX;
    LIST_EACH(&v->instances, n, tmp) {
        struct instance *i = CONTAINER_OF(n, struct instance, node);
        if (i->state == INSTANCE_READY && i->in_flight < room &&
            (!best || i->in_flight < best->in_flight))
            best = i;
    }
    return best;
}

static void rev_dispatch(struct rev *v)
{
    struct instance *i;
    while (v->queue.count > 0 && (i = pick(v)) != NULL) {
        struct ticket *t = CONTAINER_OF(list_first(&v->queue), struct ticket, node);
        list_remove(&v->queue, &t->node);
        /* Cold: it came before the instance that serves it was ready. */
        ticket_grant(t, i, t->arrival_us <= i->ready_us);
    }
    rev_check(v);
}

static uint32_t retry_after_s(const struct rev *v)
{
    uint64_t now_us = now_of(v->target->fleet);
    return v->retry_us > now_us ? (uint32_t)((v->retry_us - now_us + 999999) / 1000000)
                                : REFUSED_RETRY_AFTER_S;
}

static void failing_text(const struct rev *v, struct err *e)
{
    err_set(e, CODE_UNAVAILABLE, "revision %s does not start: %s: %s", v->spec->name,
            phase_name(v->failed_phase), v->message);
}

static void queue_fail(struct rev *v)
{
    struct err e;
    failing_text(v, &e);
    for (struct list_node *n; (n = list_first(&v->queue)) != NULL;) {
        list_remove(&v->queue, n);
        ticket_refuse(CONTAINER_OF(n, struct ticket, node), TICKET_FAILED, retry_after_s(v), &e);
    }
    note_load(v);
}

static void on_ticket_late(struct loop_timer *timer)
{
    struct ticket *t = CONTAINER_OF(timer, struct ticket, timer);
    struct rev *v = t->revision;
    struct err e;
    ASSERT(t->state == TICKET_QUEUED);
    list_remove(&v->queue, &t->node);
    note_load(v);
    err_set(&e, CODE_DEADLINE, "no instance of %s became free in time (%u ready, %u starting)",
            v->spec->name, v->ready, v->starting);
    ticket_refuse(t, TICKET_LATE, REFUSED_RETRY_AFTER_S, &e);
}

/* ---- backend.h --------------------------------------------------------------------------------- */

static struct target *op_route(struct backend *b, struct str host)
{
    struct fleet *f = CONTAINER_OF(b, struct fleet, backend);
    return map_find(&f->by_host, host);
}

static void op_policy(struct target *t, struct target_policy *ret)
{
    const struct revision *r = t->serving->spec;
    *ret = (struct target_policy){
        .ns = r->ns, .service = r->service, .revision = r->name, .port = r->port,
        .timeout_ms = r->timeout_s * 1000, .response_start_ms = r->response_start_timeout_s * 1000,
        .idle_ms = r->idle_timeout_s * 1000,
    };
}

static void on_ask_refused(struct loop_timer *timer)
{
    struct ticket *t = CONTAINER_OF(timer, struct ticket, timer);
    struct rev *v = t->revision;
    struct fleet *f = v->target->fleet;
    struct err e;
    if (f->draining) {
        err_set(&e, CODE_UNAVAILABLE, "hob is stopping");
        ticket_refuse(t, TICKET_FAILED, REFUSED_RETRY_AFTER_S, &e);
    } else if (v->failing && v->ready + v->starting == 0) {
        failing_text(v, &e);
        ticket_refuse(t, TICKET_FAILED, retry_after_s(v), &e);
    } else {
        err_set(&e, CODE_EXHAUSTED, "the queue of %s is full: %u requests wait", v->spec->name,
                v->queue.count);
        ticket_refuse(t, TICKET_FULL, REFUSED_RETRY_AFTER_S, &e);
    }
}

static void op_ask(struct backend *b, struct ticket *t)
{
    struct fleet *f = CONTAINER_OF(b, struct fleet, backend);
    struct rev *v = t->target->serving;
    ASSERT(t->state == TICKET_IDLE);
    t->revision = v;
    t->waiting = true;
    t->fd = -1;
    t->connecting = NULL;
    v->yielded = false;

    struct instance *i = v->queue.count == 0 ? pick(v) : NULL;
    if (i) {
        ticket_grant(t, i, false);
        note_load(v);
        if (v->ready < v->spec->max_scale || v->spec->max_scale == 0)
            evaluate_soon(v);
        return;
    }
    bool pausing = v->failing && v->ready + v->starting == 0 && now_of(f) < v->retry_us;
    if (pausing || f->draining) {
        refuse_soon(t, on_ask_refused);
        return;
    }
    if (v->queue.count >= v->spec->queue_depth) {
        f->observer->on_limit(f->ctx, "queue_depth_max");
        refuse_soon(t, on_ask_refused);
        return;
    }
    t->state = TICKET_QUEUED;
    list_push(&v->queue, &t->node);
    t->timer = (struct loop_timer){ .on_due = on_ticket_late };
    loop_at(f->env.loop, &t->timer,
            MIN(t->deadline_us, t->arrival_us + f->env.limits->queue_wait_ms * 1000));
    note_load(v);
    evaluate_soon(v);
}

static void op_cancel(struct backend *b, struct ticket *t)
{
    struct fleet *f = CONTAINER_OF(b, struct fleet, backend);
    struct rev *v = t->revision;
    enum ticket_state state = t->state;
    loop_cancel(f->env.loop, &t->timer);
    t->state = TICKET_IDLE;
    t->waiting = false;
    switch (state) {
    case TICKET_QUEUED:
        list_remove(&v->queue, &t->node);
        note_load(v);
        return;
    case TICKET_CONNECTING:
        connect_cancel(TAKE(t->connecting));
        break;
    case TICKET_DUE:
        list_remove(&f->due, &t->node);
        if (t->fd_reused) /* only what the gateway had before may come to it as reused */
            instance_idle_give(t->instance, TAKE_FD(t->fd));
        else
            (void)close(TAKE_FD(t->fd));
        break;
    case TICKET_REFUSING:
        v->refusing--;
        evaluate_soon(v);
        return;
    case TICKET_IDLE:
    case TICKET_LEASED: return;
    }
    instance_let_go(v, t->instance);
    rev_dispatch(v);
    evaluate_soon(v);
}

static void op_reconnect(struct backend *b, struct ticket *t, struct lease *lease)
{
    struct instance *i = lease->instance;
    (void)b;
    ASSERT(t->state == TICKET_LEASED && t->instance == i);
    t->waiting = true;
    t->fd = -1;
    ticket_connect(t);
}

static void op_release(struct backend *b, struct lease *lease, int take_fd, bool healthy)
{
    struct instance *i = lease->instance;
    struct rev *v = i->owner;
    (void)b;
    (void)healthy; /* a dead instance says so itself: its sandbox ends */
    if (take_fd >= 0)
        instance_idle_give(i, take_fd);
    bool leaving = i->state >= INSTANCE_DRAINING;
    instance_let_go(v, i); /* may free i */
    rev_dispatch(v);
    if (leaving || v->running + v->queue.count == 0)
        evaluate_soon(v);
}

static void op_record(struct backend *b, const struct invocation_record *r)
{
    struct fleet *f = CONTAINER_OF(b, struct fleet, backend);
    char key[160];
    int size = snprintf(key, sizeof key, "%s/%s", r->ns, r->service);
    struct target *t = map_find(&f->by_key, (struct str){ key, (size_t)size });
    struct invocation_record copy = *r;
    if (t && r->first_byte_us > r->dispatch_us && r->outcome == INVOCATION_OK) {
        uint32_t handler_us = r->first_byte_us - r->dispatch_us;
        struct phase_mark *delta = &copy.start.phases[PHASE_FIRST_REQUEST_DELTA];
        if (!r->cold)
            hist_add(&t->warm_handler_us, handler_us);
        else if (r->has_start && t->warm_handler_us.count > 0)
            *delta = (struct phase_mark){
                .start_us = r->arrival_us + r->dispatch_us, .outcome = PHASE_DONE,
                .duration_us = (int64_t)handler_us -
                               (int64_t)hist_percentile(&t->warm_handler_us, 50) };
    }
    f->observer->on_record(f->ctx, &copy);
}

static const struct backend_ops backend_ops = {
    op_route, op_policy, op_ask, op_cancel, op_reconnect, op_release, op_record,
};

/* ---- scaling ------------------------------------------------------------------------------------ */

static void launch_next(struct fleet *f)
{
    while (f->start_queue.count > 0 && f->launching < f->env.limits->starts_max) {
        struct instance *i =
            CONTAINER_OF(list_first(&f->start_queue), struct instance, wait_node);
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
    uncount(i);
    instance_stop(i);
    launch_next(v->target->fleet);
}

static void start_one(struct rev *v)
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    struct fleet *f = v->target->fleet;
    char suffix[6] = { 0 };
    for (int k = 0; k < 5; k++)
        suffix[k] = letters[rng_below(&f->rng, sizeof letters - 1)];
    struct instance *i = instance_new(&f->env, &instance_ops, v->spec, suffix, v);
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
    if (f->draining || now_of(f) < v->retry_us)
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

static void rev_gone_if_empty(struct rev *v);

static void rev_evaluate(struct rev *v)
{
    struct fleet *f = v->target->fleet;
    uint64_t now_us = now_of(f);
    if (v->target->removed || f->draining) {
        scale_down(v, 0);
        rev_gone_if_empty(v);
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
        tell_facts(v);

    uint64_t next_us = scaler_next_us(&v->scaler, now_us);
    if (desired > v->ready + v->starting)
        next_us = MIN(next_us, MAX(v->retry_us, now_us + EVALUATE_QUIET_US));
    if (v->ready + v->starting == 0 && v->queue.count == 0 && desired == 0)
        next_us = UINT64_MAX; /* at zero: no timer, no CPU */
    if (next_us == UINT64_MAX)
        loop_cancel(f->env.loop, &v->timer);
    else
        loop_at(f->env.loop, &v->timer, next_us);
    rev_check(v);
    rev_gone_if_empty(v);
}

static void on_rev_timer(struct loop_timer *t) { rev_evaluate(CONTAINER_OF(t, struct rev, timer)); }
static void on_evaluate(struct loop_task *t) { rev_evaluate(CONTAINER_OF(t, struct rev, evaluate)); }

/* ---- what instances report ------------------------------------------------------------------------ */

static void take_over(struct rev *v)
{
    struct target *t = v->target;
    if (t->serving != v && !t->serving->reserve && t->serving->spec->generation < v->spec->generation)
        t->serving = v;
    LIST_EACH(&t->revs, n, tmp) {
        struct rev *old = CONTAINER_OF(n, struct rev, node);
        if (old != t->serving && old->spec->generation < t->serving->spec->generation &&
            !old->reserve) {
            old->reserve = true;
            evaluate_soon(old);
        }
    }
}

static void on_ready(struct instance *i)
{
    struct rev *v = i->owner;
    struct fleet *f = v->target->fleet;
    ASSERT(i->counted == COUNTED_LAUNCHING);
    uncount(i);
    v->ready++;
    i->counted = COUNTED_READY;
    v->failing = false;
    v->failures = 0;
    v->retry_us = 0;
    v->message[0] = '\0';
    snprintf(v->image_digest, sizeof v->image_digest, "%s", i->image_digest);
    if (!v->ready_once) {
        v->ready_once = true;
        take_over(v);
    }
    f->observer->on_start(f->ctx, v->spec, &i->start);
    tell_facts(v);
    rev_dispatch(v);
    launch_next(f);
    evaluate_soon(v);
}

static void on_failed(struct instance *i, bool retryable)
{
    struct rev *v = i->owner;
    struct fleet *f = v->target->fleet;
    uint64_t pause_us = f->env.limits->start_backoff_ms * 1000;
    ASSERT(i->counted == COUNTED_LAUNCHING);
    uncount(i);
    v->failing = true;
    v->fail_retryable = retryable;
    v->failed_phase = i->start.failed_phase;
    v->exit_status = -1;
    snprintf(v->message, sizeof v->message, "%s", i->start.error);
    if (i->image_digest[0])
        snprintf(v->image_digest, sizeof v->image_digest, "%s", i->image_digest);
    pause_us <<= MIN(v->failures, (uint32_t)BACKOFF_DOUBLINGS);
    v->failures++;
    v->retry_us = now_of(f) + pause_us / 2 + rng_below(&f->rng, pause_us / 2 + 1);
    log_event(LOG_WARN, "start.failed", "revision=%s instance=%s phase=%s retry_in_ms=%llu error=\"%s\"",
              v->spec->name, i->id, phase_name(v->failed_phase),
              (unsigned long long)((v->retry_us - now_of(f)) / 1000), LOG_QUOTED(v->message));
    f->observer->on_start(f->ctx, v->spec, &i->start);
    if (v->ready + v->starting == 0)
        queue_fail(v);
    launch_next(f);
    evaluate_soon(v);
}

static void on_ended(struct instance *i)
{
    struct rev *v = i->owner;
    bool died = i->counted == COUNTED_READY; /* nobody asked it to */
    uncount(i);
    if (died)
        log_event(LOG_WARN, "instance.died", "instance=%s status=%d oom=%s in_flight=%u", i->id,
                  i->exit.status, i->exit.oom_killed ? "yes" : "no", i->in_flight);
    if (i->failed && v->failing)
        v->exit_status = i->exit.status;
    if (died || i->failed)
        tell_facts(v);
    evaluate_soon(v);
    /* Requests still on it hold its address: they see their connection break and let go first. */
    if (i->in_flight == 0)
        instance_reap(i);
}

static void on_line(struct instance *i, struct str line)
{
    struct rev *v = i->owner;
    fnlog_line(&v->target->log, loop_wall_ms(), i->id, line);
}

static const struct instance_ops instance_ops = { on_ready, on_failed, on_ended, on_line };

/* ---- revisions and services ------------------------------------------------------------------------ */

static void rev_free(struct rev *v)
{
    struct fleet *f = v->target->fleet;
    ASSERT(v->queue.count == 0);
    loop_cancel(f->env.loop, &v->timer);
    loop_undefer(f->env.loop, &v->evaluate);
    LIST_EACH(&v->instances, n, tmp) {
        struct instance *i = CONTAINER_OF(n, struct instance, node);
        uncount(i);
        list_remove(&v->instances, n);
        f->live--;
        instance_free(i);
    }
    list_remove(&v->target->revs, &v->node);
    f->revisions--;
    revision_free(v->spec);
    free(v);
}

static void target_free(struct target *t)
{
    LIST_EACH(&t->revs, n, tmp) {
        struct rev *v = CONTAINER_OF(n, struct rev, node);
        rev_free(v);
    }
    fnlog_done(&t->log);
    hist_done(&t->warm_handler_us);
    for (size_t k = 0; k < COUNT_OF(t->hosts); k++)
        free(t->hosts[k]);
    free(t->key);
    free(t);
}

static void rev_gone_if_empty(struct rev *v)
{
    struct target *t = v->target;
    if (v->instances.count > 0 || v->running + v->refusing + v->queue.count > 0)
        return;
    if (t->removed) {
        rev_free(v);
        if (t->revs.count == 0)
            target_free(t);
    } else if (v->reserve && v != t->serving) {
        rev_free(v);
    }
}

static struct target *target_new(struct fleet *f, const struct revision *r)
{
    struct target *t = xcalloc(1, sizeof *t);
    t->fleet = f;
    t->key = xasprintf("%s/%s", r->ns, r->service);
    t->hosts[0] = xasprintf("%s.%s.localhost", r->service, r->ns);
    t->hosts[1] = xasprintf("%s.%s.svc.cluster.local", r->service, r->ns);
    list_init(&t->revs);
    fnlog_init(&t->log, f->env.limits->log_ring_bytes);
    map_put(&f->by_key, str_of(t->key), t);
    for (size_t k = 0; k < COUNT_OF(t->hosts); k++)
        map_put(&f->by_host, str_of(t->hosts[k]), t);
    return t;
}

static void scaler_setup(struct fleet *f, struct rev *v, bool was_ready)
{
    const struct revision *r = v->spec;
    const struct scaler_config c = {
        .min = r->min_scale,
        .max = MAX(r->max_scale ? r->max_scale : (uint32_t)f->env.limits->scale_max, r->min_scale),
        .initial = was_ready ? 0 : r->initial_scale,
        .target = r->target, .window_us = r->window_us, .retention_us = r->retention_us,
        .scale_down_delay_us = r->scale_down_delay_us,
    };
    scaler_init(&v->scaler, &c, now_of(f));
}

void fleet_add(struct fleet *f, struct revision *take_r, bool was_ready)
{
    char key[160];
    int size = snprintf(key, sizeof key, "%s/%s", take_r->ns, take_r->service);
    struct target *t = map_find(&f->by_key, (struct str){ key, (size_t)size });
    if (!t)
        t = target_new(f, take_r);
    struct rev *v = xcalloc(1, sizeof *v);
    v->target = t;
    v->spec = take_r;
    v->exit_status = -1;
    v->created_us = now_of(f);
    v->timer.on_due = on_rev_timer;
    v->evaluate.run = on_evaluate;
    list_init(&v->instances);
    list_init(&v->queue);
    list_push(&t->revs, &v->node);
    f->revisions++;
    scaler_setup(f, v, was_ready);
    v->ready_once = was_ready || take_r->initial_scale == 0;
    if (take_r->image_digest)
        snprintf(v->image_digest, sizeof v->image_digest, "%s", take_r->image_digest);
    /* Until it is ready the older one serves; a first revision holds its requests itself. */
    if (!t->serving || (!t->serving->ready_once && t->serving->ready == 0))
        t->serving = v;
    if (v->ready_once)
        take_over(v);
    tell_facts(v);
    evaluate_soon(v);
}

void fleet_remove_service(struct fleet *f, const char *ns, const char *service)
{
    char key[160];
    int size = snprintf(key, sizeof key, "%s/%s", ns, service);
    struct target *t = map_remove(&f->by_key, (struct str){ key, (size_t)size });
    struct err e;
    if (!t)
        return;
    for (size_t k = 0; k < COUNT_OF(t->hosts); k++)
        (void)map_remove(&f->by_host, str_of(t->hosts[k]));
    t->removed = true;
    err_set(&e, CODE_NOT_FOUND, "service %s was deleted", key);
    LIST_EACH(&t->revs, n, tmp) {
        struct rev *v = CONTAINER_OF(n, struct rev, node);
        for (struct list_node *q; (q = list_first(&v->queue)) != NULL;) {
            list_remove(&v->queue, q);
            ticket_refuse(CONTAINER_OF(q, struct ticket, node), TICKET_FAILED, 0, &e);
        }
        evaluate_soon(v);
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
            evaluate_soon(v);
        }
    }
}

/* ---- life and looking ------------------------------------------------------------------------------ */

int fleet_open(const struct instance_env *env, const struct fleet_observer *observer, void *ctx,
               uint64_t seed, struct fleet **ret, struct err *e)
{
    (void)e;
    struct fleet *f = xcalloc(1, sizeof *f);
    f->backend.ops = &backend_ops;
    f->env = *env;
    f->observer = observer;
    f->ctx = ctx;
    f->rng.state = seed;
    f->due_task.run = due_run;
    map_init(&f->by_host, rng_next(&f->rng));
    map_init(&f->by_key, rng_next(&f->rng));
    list_init(&f->start_queue);
    list_init(&f->due);
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
        target_free(s->value);
    map_done(&f->by_key);
    map_done(&f->by_host);
    loop_undefer(f->env.loop, &f->due_task);
    free(f);
}

uint32_t fleet_live(const struct fleet *f) { return f->live; }
struct backend *fleet_backend(struct fleet *f) { return &f->backend; }

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

static struct target *target_of(const struct fleet *f, const char *ns, const char *service)
{
    char key[160];
    int size = snprintf(key, sizeof key, "%s/%s", ns, service);
    return (size_t)size < sizeof key ? map_find(&f->by_key, (struct str){ key, (size_t)size }) : NULL;
}

bool fleet_service_totals(const struct fleet *f, const char *ns, const char *service,
                          struct fleet_totals *ret)
{
    const struct target *t = target_of(f, ns, service);
    *ret = (struct fleet_totals){ 0 };
    if (t)
        totals_add(ret, t);
    return t != NULL;
}

struct fnlog *fleet_log(struct fleet *f, const char *ns, const char *service)
{
    struct target *t = target_of(f, ns, service);
    return t ? &t->log : NULL;
}

static void rev_check_deep(const struct rev *v, uint32_t *live)
{
    uint32_t ready = 0, starting = 0, in_flight = 0, room = v->spec->container_concurrency;
    LIST_EACH(&v->instances, n, tmp) {
        const struct instance *i = CONTAINER_OF(n, struct instance, node);
        ready += i->counted == COUNTED_READY;
        starting += i->counted == COUNTED_WAITING || i->counted == COUNTED_LAUNCHING;
        in_flight += i->in_flight;
        ASSERT(i->counted != COUNTED_READY || i->state >= INSTANCE_READY);
        ASSERT(i->state != INSTANCE_READY || i->counted == COUNTED_READY);
        ASSERT(room == 0 || i->in_flight <= room);
        (*live)++;
    }
    ASSERT(ready == v->ready && starting == v->starting && in_flight == v->running);
    ASSERT(v->ready + v->starting <= v->scaler.config.max);
    if (v->queue.count > 0)
        ASSERT(pick(v) == NULL); /* nobody waits while there is room */
    rev_check(v);
}

void fleet_check(const struct fleet *f)
{
    uint32_t live = 0;
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        const struct target *t = s->value;
        ASSERT(t->revs.count > 0 && t->serving);
        LIST_EACH(&t->revs, n, tmp)
            rev_check_deep(CONTAINER_OF(n, struct rev, node), &live);
    }
    ASSERT(live <= f->live && f->live <= f->env.limits->instances_max);
    ASSERT(f->launching <= f->env.limits->starts_max);
}
