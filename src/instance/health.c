#include "instance/health.h"

#define SECOND_US UINT64_C(1000000)

enum {
    AGGRESSIVE_TIMEOUT_US = 100000, /* Knative's */
    PAUSE_FIRST_US = 200,
    PAUSE_LAST_US = 50000, /* Knative's pace, reached only by slow starters */
    COMMAND_PAUSE_FIRST_US = 10000, /* each try of a command is a process */
    COMMAND_PAUSE_LAST_US = 500000,
};

const char *health_kind_name(enum health_kind k)
{
    static const char *const names[HEALTH_KINDS] = { "Startup", "Liveness", "Readiness" };
    ASSERT(k < HEALTH_KINDS);
    return names[k];
}

static bool is_aggressive(const struct health *h, enum health_kind k)
{
    return k == HEALTH_READINESS && h->checks[k].probe->period_s == 0;
}

static uint64_t period_us(const struct probe *p) { return MAX(p->period_s, 1u) * SECOND_US; }

void health_init(struct health *h, const struct probe *startup, const struct probe *liveness,
                 const struct probe *readiness, uint64_t now_us)
{
    const struct probe *const probes[HEALTH_KINDS] = { startup, liveness, readiness };
    *h = (struct health){ .since_us = now_us, .started = !startup };
    h->ready = h->ready_once = !readiness && !startup;
    for (enum health_kind k = 0; k < HEALTH_KINDS; k++) {
        struct health_check *c = &h->checks[k];
        c->probe = probes[k];
        if (!c->probe)
            continue;
        c->next_us = now_us + c->probe->initial_delay_s * SECOND_US;
        c->pause_us = c->probe->kind == PROBE_EXEC ? COMMAND_PAUSE_FIRST_US : PAUSE_FIRST_US;
    }
}

uint64_t health_next_us(const struct health *h, enum health_kind k)
{
    const struct health_check *c = &h->checks[k];
    if (!c->probe || c->trying || h->dead)
        return UINT64_MAX;
    if (k == HEALTH_STARTUP ? h->started : !h->started)
        return UINT64_MAX;
    if (k == HEALTH_READINESS && h->ready_once && is_aggressive(h, k))
        return UINT64_MAX;
    return c->next_us;
}

struct health_try health_begin(struct health *h, enum health_kind k, uint64_t now_us)
{
    struct health_check *c = &h->checks[k];
    ASSERT(health_next_us(h, k) <= now_us);
    c->trying = true;
    c->begun_us = now_us;
    struct health_try t = { .timeout_us = MAX(c->probe->timeout_s, 1u) * SECOND_US };
    if (is_aggressive(h, k) && c->probe->kind != PROBE_EXEC)
        t.timeout_us = AGGRESSIVE_TIMEOUT_US;
    if (is_aggressive(h, k))
        t.port_us = UINT64_MAX; /* the start's own bound ends it */
    else if (!h->ready_once)
        t.port_us = period_us(c->probe);
    return t;
}

static void schedule(struct health *h, enum health_kind k, uint64_t now_us)
{
    struct health_check *c = &h->checks[k];
    bool command = c->probe->kind == PROBE_EXEC;
    if (is_aggressive(h, k)) {
        c->pause_us = MIN(c->pause_us * 3 / 2,
                          (uint64_t)(command ? COMMAND_PAUSE_LAST_US : PAUSE_LAST_US));
        c->next_us = now_us + c->pause_us;
    } else {
        c->next_us = MAX(now_us, c->begun_us + period_us(c->probe));
    }
}

static enum health_verdict passed_enough(struct health *h, enum health_kind k, uint64_t now_us)
{
    if (k == HEALTH_STARTUP && !h->started) {
        h->started = true;
        for (enum health_kind other = 0; other < HEALTH_KINDS; other++)
            h->checks[other].next_us = MAX(h->checks[other].next_us, now_us);
        h->ready = h->ready_once = !h->checks[HEALTH_READINESS].probe;
        return h->ready ? HEALTH_READY : HEALTH_STARTED;
    }
    if (k == HEALTH_READINESS && !h->ready) {
        h->ready = h->ready_once = true;
        return HEALTH_READY;
    }
    return HEALTH_SAME;
}

static enum health_verdict failed_enough(struct health *h, enum health_kind k)
{
    if (k == HEALTH_READINESS) {
        bool was = h->ready;
        h->ready = false;
        return was ? HEALTH_UNREADY : HEALTH_SAME;
    }
    h->dead = true;
    return HEALTH_DEAD;
}

enum health_verdict health_result(struct health *h, enum health_kind k, bool passed, uint64_t now_us)
{
    struct health_check *c = &h->checks[k];
    ASSERT(c->trying);
    c->trying = false;
    c->run = passed == c->last_passed ? c->run + 1 : 1;
    c->last_passed = passed;
    schedule(h, k, now_us);
    if (h->dead)
        return HEALTH_SAME;
    if (passed && c->run >= MAX(c->probe->success_threshold, 1u))
        return passed_enough(h, k, now_us);
    if (!passed && c->run >= MAX(c->probe->failure_threshold, 1u))
        return failed_enough(h, k);
    return HEALTH_SAME;
}

uint64_t health_patience_us(const struct probe *startup, uint64_t usual_us)
{
    if (!startup)
        return usual_us;
    uint64_t own_us = startup->initial_delay_s * SECOND_US +
                      MAX(startup->failure_threshold, 1u) *
                          MAX(period_us(startup), MAX(startup->timeout_s, 1u) * SECOND_US);
    return MAX(usual_us, own_us + usual_us);
}
