#include "instance/checks.h"

#include <stdio.h>
#include <unistd.h>

static void plan(struct checks *c)
{
    for (enum health_kind k = 0; c->running && k < HEALTH_KINDS; k++) {
        uint64_t next_us = health_next_us(&c->health, k);
        if (next_us == UINT64_MAX)
            loop_cancel(c->with.loop, &c->all[k].timer);
        else
            loop_at(c->with.loop, &c->all[k].timer, next_us);
    }
}

static void try_now(struct check *one)
{
    struct checks *c = one->owner;
    uint64_t now_us = loop_clock_us(c->with.loop);
    const struct probe *p = c->health.checks[one->kind].probe;
    struct health_try t = health_begin(&c->health, one->kind, now_us);
    struct prober_request q = c->with;
    q.probe = p;
    q.port = p->port ? p->port : c->revision->port;
    q.timeout_us = t.timeout_us;
    q.port_us = t.port_us == UINT64_MAX ? c->with.limits->start_ms * 1000 : t.port_us;
    prober_try(&one->prober, &q);
}

static void on_timer(struct loop_timer *t) { try_now(CONTAINER_OF(t, struct check, timer)); }

static void on_result(struct prober *prober, bool passed, int take_fd, const char *why)
{
    struct check *one = CONTAINER_OF(prober, struct check, prober);
    struct checks *c = one->owner;
    bool first = !c->health.ready_once;
    enum health_verdict v =
        health_result(&c->health, one->kind, passed, loop_clock_us(c->with.loop));
    snprintf(one->why, sizeof one->why, "%s", passed ? "" : why);
    if (take_fd >= 0 && first && prober->q.port == c->revision->port)
        c->events->on_connection(c, take_fd);
    else if (take_fd >= 0)
        (void)close(take_fd);
    plan(c);
    if (v != HEALTH_SAME)
        c->events->on_verdict(c, one->kind, v, one->why);
}

void checks_start(struct checks *c, const struct revision *r, const char *id, struct loop *l,
                  const struct limits *limits, struct sandbox_tier *tier, struct sandbox *sb,
                  const struct checks_events *events)
{
    ASSERT(!c->running);
    c->events = events;
    c->revision = r;
    c->with = (struct prober_request){
        .loop = l, .limits = limits, .tier = tier, .sandbox = sb, .host = id
    };
    c->running = true;
    for (enum health_kind k = 0; k < HEALTH_KINDS; k++) {
        c->all[k].owner = c;
        c->all[k].kind = k;
        c->all[k].timer.on_due = on_timer;
        c->all[k].prober.on_result = on_result;
    }
    uint64_t now_us = loop_clock_us(l);
    health_init(&c->health, r->startup, r->liveness, r->unprobed ? NULL : &r->readiness, now_us);
    /* What the start waits for, at once: a timer would cost it a turn of the loop. */
    enum health_kind first = r->startup ? HEALTH_STARTUP : HEALTH_READINESS;
    if (health_next_us(&c->health, first) <= now_us)
        try_now(&c->all[first]);
    plan(c);
}

void checks_stop(struct checks *c)
{
    if (!c->running)
        return;
    c->running = false;
    for (enum health_kind k = 0; k < HEALTH_KINDS; k++) {
        prober_stop(&c->all[k].prober);
        loop_cancel(c->with.loop, &c->all[k].timer);
    }
}

uint16_t checks_refused_port(const struct checks *c)
{
    const struct check *one = &c->all[c->health.started ? HEALTH_READINESS : HEALTH_STARTUP];
    return c->running && one->prober.active && one->prober.connecting ? one->prober.q.port : 0;
}

const char *checks_why(const struct checks *c, enum health_kind *ret_kind)
{
    *ret_kind = c->health.started ? HEALTH_READINESS : HEALTH_STARTUP;
    return c->all[*ret_kind].why;
}
