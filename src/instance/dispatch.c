#include "instance/fleet_impl.h"

#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

enum { REFUSED_RETRY_AFTER_S = 1 };

enum ticket_state {
    TICKET_IDLE,
    TICKET_QUEUED,
    TICKET_CONNECTING,
    TICKET_DUE,
    TICKET_LEASED,
    TICKET_REFUSING, /* decided inside ask(); told from a timer that is due at once */
};

void dispatch_note_load(struct rev *v)
{
    uint32_t level = v->running + v->queue.count;
    if (v->ready + v->starting > 0 || v->work.unattended) /* else others take them, and nothing is to be started for that */
        level += fleet_tasks_waiting(v);
    if (level > 0)
        v->busy_us = fleet_now(v->target->fleet);
    kpa_level(v->kpa, level, fleet_now(v->target->fleet));
}

static void note_load(struct rev *v) { dispatch_note_load(v); }

/* h2c: all requests on an instance go over one connection. The first ticket gets it, the others, behind
 * it, a lease without. */
static bool is_shared(const struct ticket *t)
{
    const struct rev *v = t->revision;
    return v->spec->protocol == PORT_H2C;
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
    *l = (struct lease){ .instance = i,
                         .fd = t->fd,
                         .fd_reused = t->fd_reused,
                         .instance_id = i->id,
                         .cold = t->cold,
                         .start = &i->start,
                         .ready_us = i->ready_us,
                         .granted_us = t->granted_us };
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
        if (is_shared(t) && t->fd >= 0)
            ((struct instance *)t->instance)->shared = SHARED_OPEN;
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
    fleet_evaluate_soon(v); /* it may have been the last thing that held a removed revision */
    t->on_turn(t, r, NULL, retry_after_s, e);
}

void dispatch_let_go(struct rev *v, struct instance *i)
{
    ASSERT(i->in_flight > 0 && v->running > 0);
    v->busy_us = fleet_now(v->target->fleet);
    i->in_flight--;
    v->running--;
    if (i->in_flight == 0)
        i->idle_since_us = fleet_now(v->target->fleet);
    note_load(v);
    if (i->in_flight == 0 && i->gone)
        fleet_reap(i);
    else if (i->in_flight == 0)
        instance_drained(i);
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

/* A request that waits in front of a full accept queue waits for an instance, as one in our own does. */
static uint64_t wait_until_us(const struct ticket *t)
{
    const struct rev *v = t->revision;
    return MIN(t->deadline_us, t->arrival_us + v->target->fleet->env.limits->queue_wait_ms * 1000);
}

static void on_connect_late(struct loop_timer *timer)
{
    struct ticket *t = CONTAINER_OF(timer, struct ticket, timer);
    struct err e;
    const struct rev *v = t->revision;
    err_set(&e, CODE_DEADLINE, "no instance of %s took another connection in time", v->spec->name);
    ticket_refuse(t, TICKET_LATE, REFUSED_RETRY_AFTER_S, &e);
}

/* As `hob ps` counts them: one that was ready and is not now does not start. */
static void late_text(const struct rev *v, struct err *e)
{
    uint32_t not_ready = 0;
    LIST_EACH(&v->instances, n, tmp)
        not_ready += CONTAINER_OF(n, struct instance, node)->counted == COUNTED_UNREADY;
    if (not_ready > 0)
        err_set(e, CODE_DEADLINE, "no instance of %s became free in time (%u ready, %u not ready, %u starting)",
                v->spec->name, v->ready, not_ready, v->starting - not_ready);
    else
        err_set(e, CODE_DEADLINE, "no instance of %s became free in time (%u ready, %u starting)", v->spec->name,
                v->ready, v->starting);
}

static void on_ticket_late(struct loop_timer *timer)
{
    struct ticket *t = CONTAINER_OF(timer, struct ticket, timer);
    struct rev *v = t->revision;
    struct err e;
    ASSERT(t->state == TICKET_QUEUED);
    list_remove(&v->queue, &t->node);
    note_load(v);
    late_text(v, &e);
    ticket_refuse(t, TICKET_LATE, REFUSED_RETRY_AFTER_S, &e);
}

/* Its end comes on_ticket_late(), however often it is queued. */
static void ticket_queue(struct ticket *t, bool front)
{
    struct rev *v = t->revision;
    t->state = TICKET_QUEUED;
    (front ? list_push_front : list_push)(&v->queue, &t->node);
    t->timer = (struct loop_timer){ .on_due = on_ticket_late };
    loop_at(v->target->fleet->env.loop, &t->timer, wait_until_us(t));
}

/* Nothing of the request was sent: another instance may have it. Once, so that a function that is ready
 * and then never accepts does not keep it until its deadline. */
static bool ticket_may_move(const struct ticket *t)
{
    const struct rev *v = t->revision;
    return !t->moved && !v->target->removed && !v->target->fleet->draining &&
           v->queue.count < v->spec->queue_depth;
}

static void connect_failed(struct ticket *t, bool late)
{
    struct rev *v = t->revision;
    struct instance *i = t->instance;
    if (!late && ticket_may_move(t)) {
        t->moved = true;
        ticket_queue(t, true);
    } else {
        refuse_soon(t, late ? on_connect_late : on_connect_refused);
    }
    dispatch_let_go(v, i); /* may free i */
    dispatch_queue(v);
    fleet_evaluate_soon(v);
}

/* The connection that they were waiting for, in one hand or another, is there (or not). */
static void shared_settle(struct instance *i, bool connected, bool late)
{
    struct list waiting;
    list_init(&waiting);
    i->shared = connected ? SHARED_DUE : SHARED_NONE;
    LIST_EACH(&i->connecting, n, tmp) {
        list_remove(&i->connecting, n);
        list_push(&waiting, n);
    }
    for (struct list_node *n; (n = list_first(&waiting)) != NULL;) {
        struct ticket *t = CONTAINER_OF(n, struct ticket, node);
        struct rev *v = t->revision;
        list_remove(&waiting, n);
        if (connected)
            ticket_due(v->target->fleet, t);
        else
            connect_failed(t, late);
    }
}

static void on_connected(void *ctx, int take_fd, const struct err *e)
{
    struct ticket *t = ctx;
    struct rev *v = t->revision;
    struct instance *i = t->instance;
    bool shared = is_shared(t);
    if (t->connecting)
        list_remove(&i->connecting, &t->node);
    t->connecting = NULL;
    if (take_fd < 0) {
        bool late = e->code == CODE_DEADLINE; /* it listens, and is busy */
        log_event(LOG_WARN, "connect.failed", "instance=%s error=\"%s\"", i->id, LOG_QUOTED(e->text));
        /* It has ended and its end is not told yet, or it is not going to serve anybody. */
        if (!late && i->state == INSTANCE_READY)
            fleet_give_up(i);
        if (shared)
            shared_settle(i, false, late);
        connect_failed(t, late);
        return;
    }
    t->fd = take_fd;
    t->fd_reused = false;
    ticket_due(v->target->fleet, t); /* before those who get a lease without */
    if (shared)
        shared_settle(i, true, false);
}

static void ticket_connect(struct ticket *t)
{
    struct instance *i = t->instance;
    t->state = TICKET_CONNECTING;
    struct connecting *c = instance_connect(i, t->fd_fresh ? t->deadline_us : wait_until_us(t), on_connected, t);
    if (c) {
        t->connecting = c;
        list_push(&i->connecting, &t->node);
    }
}

/* fresh: the one that was handed out is of no use any more. */
static void ticket_share(struct ticket *t, bool fresh)
{
    struct instance *i = t->instance;
    struct rev *v = t->revision;
    t->fd = -1;
    t->fd_reused = false;
    if (i->shared == SHARED_CONNECTING) {
        t->state = TICKET_CONNECTING;
        list_push(&i->connecting, &t->node);
    } else if (i->shared == SHARED_NONE || (fresh && i->shared == SHARED_OPEN)) {
        i->shared = SHARED_CONNECTING;
        ticket_connect(t);
    } else {
        ticket_due(v->target->fleet, t);
    }
}

/* Who was to bring the connection is gone: somebody else does. */
static void shared_abandoned(struct instance *i)
{
    struct list_node *n = list_first(&i->connecting);
    i->shared = SHARED_NONE;
    if (!n)
        return;
    list_remove(&i->connecting, n);
    ticket_share(CONTAINER_OF(n, struct ticket, node), true);
}

/* To the first request that still waits for one. False: none does. */
static bool connection_pass_on(struct instance *i, int fd)
{
    LIST_EACH(&i->connecting, n, tmp) {
        struct ticket *t = CONTAINER_OF(n, struct ticket, node);
        struct rev *v = t->revision;
        if (t->fd_fresh)
            continue;
        list_remove(&i->connecting, n);
        connect_cancel(TAKE(t->connecting));
        t->fd = fd;
        t->fd_reused = true;
        ticket_due(v->target->fleet, t);
        return true;
    }
    return false;
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
    dispatch_admit_granted(v);
    t->instance = i;
    t->granted_us = fleet_now(f);
    t->cold = cold;
    t->fd_fresh = false;
    if (is_shared(t)) {
        ticket_share(t, false);
        return;
    }
    t->fd = instance_idle_take(i, &t->fd_reused);
    if (t->fd >= 0)
        ticket_due(f, t);
    else
        ticket_connect(t);
}

static void on_turned_away(struct loop_timer *timer)
{
    struct ticket *t = CONTAINER_OF(timer, struct ticket, timer);
    struct err e;
    uint32_t again_s = dispatch_admit_text(t->revision, (enum admit_verdict)t->verdict, &e);
    ticket_refuse(t, t->verdict == ADMIT_NO_TIME ? TICKET_NO_TIME : TICKET_OVERLOAD, again_s, &e);
}

/* It is in no list. */
static void ticket_turn_away(struct ticket *t, enum admit_verdict why)
{
    struct rev *v = t->revision;
    struct fleet *f = v->target->fleet;
    t->verdict = (uint8_t)why;
    if (why == ADMIT_OVERLOADED)
        f->observer->on_limit(f->ctx, "overload_wait_ms");
    refuse_soon(t, on_turned_away);
}

static void queue_shed(struct rev *v)
{
    uint64_t surplus = dispatch_admit_surplus(v);
    if (surplus == 0)
        return;
    for (; surplus > 0; surplus--) {
        struct list_node *n = list_first(&v->queue);
        list_remove(&v->queue, n);
        ticket_turn_away(CONTAINER_OF(n, struct ticket, node), ADMIT_OVERLOADED);
    }
    note_load(v);
}

static bool goes_before(const struct instance *a, const struct instance *b)
{
    return a->doubt.on != b->doubt.on ? b->doubt.on : a->in_flight < b->in_flight;
}

struct instance *dispatch_pick(const struct rev *v)
{
    struct instance *best = NULL;
    uint32_t room = v->spec->container_concurrency ? v->spec->container_concurrency : UINT32_MAX;
    LIST_EACH(&v->instances, n, tmp) {
        struct instance *i = CONTAINER_OF(n, struct instance, node);
        bool may = i->state == INSTANCE_READY && i->counted == COUNTED_READY && i->in_flight - i->tasks < room &&
                   (!i->doubt.on || i->doubt.holds);
        if (may && (!best || goes_before(i, best)))
            best = i;
    }
    return best;
}

void dispatch_queue(struct rev *v)
{
    struct instance *i;
    while (v->queue.count > 0 && (i = dispatch_pick(v)) != NULL) {
        struct ticket *t = CONTAINER_OF(list_first(&v->queue), struct ticket, node);
        list_remove(&v->queue, &t->node);
        if (dispatch_admit_hopeless(v, t)) {
            ticket_turn_away(t, ADMIT_NO_TIME);
            continue;
        }
        /* Cold: it came before the instance that serves it was ready. */
        ticket_grant(t, i, t->arrival_us <= i->ready_us);
    }
    fleet_rev_check(v);
}

static uint32_t retry_after_s(const struct rev *v)
{
    uint64_t now_us = fleet_now(v->target->fleet);
    return v->retry_us > now_us ? (uint32_t)((v->retry_us - now_us + 999999) / 1000000)
                                : REFUSED_RETRY_AFTER_S;
}

static void failing_text(const struct rev *v, struct err *e)
{
    err_set(e, CODE_UNAVAILABLE, "revision %s does not start: %s: %s", v->spec->name,
            phase_name(v->failed_phase), v->message);
}

void dispatch_refuse_all(struct rev *v, const struct err *e)
{
    for (struct list_node *n; (n = list_first(&v->queue)) != NULL;) {
        list_remove(&v->queue, n);
        ticket_refuse(CONTAINER_OF(n, struct ticket, node), TICKET_FAILED, retry_after_s(v), e);
    }
    note_load(v);
}

void dispatch_fail_all(struct rev *v)
{
    struct err e;
    failing_text(v, &e);
    LIST_EACH(&v->queue, n, tmp)
        CONTAINER_OF(n, struct ticket, node)->cold = true; /* it was this start that they waited for */
    dispatch_refuse_all(v, &e);
}

/* ---- backend.h --------------------------------------------------------------------------------- */

static struct rev *op_route(struct backend *b, const struct backend_ask *ask, struct backend_way *ret)
{
    return fleet_route_pick(CONTAINER_OF(b, struct fleet, backend), ask, ret);
}

static void op_policy(const struct rev *v, struct target_policy *ret)
{
    const struct revision *r = v->spec;
    *ret = (struct target_policy){
        .ns = r->ns,
        .service = r->service,
        .revision = r->name,
        .port = r->port,
        .h2c = r->protocol == PORT_H2C,
        .timeout_ms = r->timeout_s * 1000,
        .response_start_ms = r->response_start_timeout_s * 1000,
        .idle_ms = r->idle_timeout_s * 1000,
        .invoke = &r->invoke,
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
    } else if (v->spec->ready_on_poll) {
        err_set(&e, CODE_PRECONDITION, "%s works on task queue %.200s and has no port: it takes no requests",
                v->spec->name, v->spec->task_queue);
        ticket_refuse(t, TICKET_FAILED, REFUSED_RETRY_AFTER_S, &e);
    } else if (v->failing && v->ready + v->starting == 0) {
        failing_text(v, &e);
        ticket_refuse(t, TICKET_FAILED, retry_after_s(v), &e);
    } else {
        err_set(&e, CODE_EXHAUSTED, "the queue of %s is full: %u requests wait", v->spec->name,
                v->queue.count);
        ticket_refuse(t, TICKET_FULL, dispatch_admit_again_s(v), &e);
    }
}

static void op_ask(struct backend *b, struct ticket *t)
{
    struct fleet *f = CONTAINER_OF(b, struct fleet, backend);
    struct rev *v = t->revision;
    ASSERT(t->state == TICKET_IDLE);
    t->waiting = true;
    t->moved = false;
    t->fd = -1;
    t->connecting = NULL;
    if (v->spec->ready_on_poll) { /* no port: nobody would ever answer */
        refuse_soon(t, on_ask_refused);
        return;
    }
    v->yielded = false;
    kpa_arrived(v->kpa, fleet_now(f));
    dispatch_admit_arrived(v);
    retry_budget_earn(&v->retries);
    queue_shed(v);

    struct instance *i = v->queue.count == 0 ? dispatch_pick(v) : NULL;
    if (i) {
        ticket_grant(t, i, false);
        note_load(v);
        return; /* more instances are the next tick's decision */
    }
    bool pausing = v->failing && v->ready + v->starting == 0 && fleet_now(f) < v->retry_us;
    if (pausing || f->draining) {
        refuse_soon(t, on_ask_refused);
        return;
    }
    if (v->queue.count >= v->spec->queue_depth) {
        f->observer->on_limit(f->ctx, "queue_depth_max");
        refuse_soon(t, on_ask_refused);
        return;
    }
    enum admit_verdict verdict = dispatch_admit_ask(v, t);
    if (verdict == ADMIT_TAKE) {
        ticket_queue(t, false);
        note_load(v);
    } else {
        ticket_turn_away(t, verdict);
    }
    fleet_evaluate_soon(v);
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
        list_remove(&((struct instance *)t->instance)->connecting, &t->node);
        if (is_shared(t) && t->connecting) {
            connect_cancel(TAKE(t->connecting));
            shared_abandoned(t->instance);
            break;
        }
        connect_cancel(TAKE(t->connecting));
        break;
    case TICKET_DUE:
        list_remove(&f->due, &t->node);
        if (is_shared(t) && t->fd >= 0)
            ((struct instance *)t->instance)->shared = SHARED_NONE;
        if (t->fd < 0)
            break;
        if (t->fd_reused) /* only what the gateway had before may come to it as reused */
            instance_idle_give(t->instance, TAKE_FD(t->fd));
        else
            (void)close(TAKE_FD(t->fd));
        break;
    case TICKET_REFUSING:
        v->refusing--;
        fleet_evaluate_soon(v);
        return;
    case TICKET_IDLE:
    case TICKET_LEASED: return;
    }
    dispatch_let_go(v, t->instance);
    dispatch_queue(v);
    fleet_evaluate_soon(v);
}

static void op_reconnect(struct backend *b, struct ticket *t, struct lease *lease)
{
    struct instance *i = lease->instance;
    (void)b;
    ASSERT(t->state == TICKET_LEASED && t->instance == i);
    t->waiting = true;
    t->fd = -1;
    t->fd_fresh = true;
    if (is_shared(t))
        ticket_share(t, true);
    else
        ticket_connect(t);
}

static void on_retry_refused(struct loop_timer *timer)
{
    struct ticket *t = CONTAINER_OF(timer, struct ticket, timer);
    const struct rev *v = t->revision;
    struct err e;
    err_set(&e, CODE_UNAVAILABLE, "an instance of %s ended the connection without an answer%s", v->spec->name,
            v->target->removed || v->target->fleet->draining ? "" : ", as too many did to try another");
    ticket_refuse(t, TICKET_FAILED, REFUSED_RETRY_AFTER_S, &e);
}

static void op_retry(struct backend *b, struct ticket *t, struct lease *lease)
{
    struct instance *i = lease->instance;
    struct rev *v = i->owner;
    (void)b;
    ASSERT(t->state == TICKET_LEASED && t->instance == i);
    t->waiting = true;
    t->moved = false;
    dispatch_admit_released(v, lease);
    doubt_begin(i);
    if (ticket_may_move(t) && retry_budget_spend(&v->retries)) {
        t->moved = true;
        ticket_queue(t, true);
    } else {
        refuse_soon(t, on_retry_refused);
    }
    dispatch_let_go(v, i); /* may free i */
    dispatch_queue(v);
    fleet_evaluate_soon(v);
}

static void op_release(struct backend *b, struct lease *lease, int take_fd, bool healthy)
{
    struct instance *i = lease->instance;
    struct rev *v = i->owner;
    (void)b;
    if (!healthy)
        doubt_begin(i);
    dispatch_admit_released(v, lease);
    if (take_fd >= 0 && !(i->state == INSTANCE_READY && connection_pass_on(i, take_fd)))
        instance_idle_give(i, take_fd);
    bool leaving = i->state >= INSTANCE_DRAINING;
    dispatch_let_go(v, i); /* may free i */
    dispatch_queue(v);
    if (leaving || v->running + v->queue.count == 0 || v->ready + v->starting > kpa_last(v->kpa)->apply)
        fleet_evaluate_soon(v);
}

static void op_mute(struct backend *b, const char *instance_id)
{
    struct instance *i = fleet_instance(CONTAINER_OF(b, struct fleet, backend), instance_id);
    if (i)
        doubt_mute(i);
}

static void op_record(struct backend *b, const struct invocation_record *r)
{
    struct fleet *f = CONTAINER_OF(b, struct fleet, backend);
    f->observer->on_record(f->ctx, r);
}

static const struct backend_ops backend_ops = {
    op_route, op_policy, op_ask, op_cancel, op_reconnect, op_retry, op_release, op_mute, op_record,
};

void dispatch_open(struct fleet *f)
{
    f->backend.ops = &backend_ops;
    f->due_task.run = due_run;
    list_init(&f->due);
}
