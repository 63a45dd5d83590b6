#include "instance/fleet_impl.h"

#include "base/log.h"

static struct admit_rules rules_of(const struct rev *v)
{
    const struct limits *l = v->target->fleet->env.limits;
    return (struct admit_rules){ .wait_us = l->overload_wait_ms * 1000,
                                 .interval_us = l->overload_ms * 1000,
                                 .queue_us = l->queue_wait_ms * 1000 };
}

/* Another instance could be started, if the autoscaler says so. */
static bool may_start(const struct rev *v)
{
    const struct fleet *f = v->target->fleet;
    return v->ready + v->starting < kpa_config(v->kpa)->max && !v->held && !v->reserve &&
           f->live < f->env.limits->instances_max && fleet_now(f) >= v->retry_us;
}

static struct admit_view view_of(const struct rev *v)
{
    uint64_t room = v->spec->container_concurrency, live = v->ready + v->starting;
    bool may = may_start(v);
    return (struct admit_view){ .now_us = fleet_now(v->target->fleet),
                                .waiting = v->queue.count,
                                .slots = v->ready * room,
                                .slots_most = (may ? kpa_config(v->kpa)->max : live) * room,
                                .grows = v->starting > 0 || (may && kpa_last(v->kpa)->apply > live) };
}

static void tell(const struct rev *v, bool before)
{
    if (before == v->admit.overloaded)
        return;
    unsigned long long service_ms = v->admit.mean_us / 1000;
    if (before)
        log_event(LOG_INFO, "overload.ends", "revision=%s waiting=%u ready=%u service_ms=%llu", v->spec->name,
                  v->queue.count, v->ready, service_ms);
    else
        log_event(LOG_WARN, "overload.begins", "revision=%s waiting=%u ready=%u service_ms=%llu", v->spec->name,
                  v->queue.count, v->ready, service_ms);
}

void dispatch_admit_arrived(struct rev *v)
{
    const struct admit_rules r = rules_of(v);
    const struct admit_view view = view_of(v);
    bool before = v->admit.overloaded;
    admit_arrived(&v->admit, &r, &view);
    tell(v, before);
}

enum admit_verdict dispatch_admit_ask(struct rev *v, const struct ticket *t)
{
    const struct admit_rules r = rules_of(v);
    const struct admit_view view = view_of(v);
    return admit_ask(&v->admit, &r, &view, t->deadline_us);
}

void dispatch_admit_granted(struct rev *v)
{
    const struct admit_rules r = rules_of(v);
    const struct admit_view view = view_of(v);
    bool before = v->admit.overloaded;
    admit_granted(&v->admit, &r, &view);
    tell(v, before);
}

void dispatch_admit_released(struct rev *v, const struct lease *l)
{
    uint64_t now_us = fleet_now(v->target->fleet);
    admit_released(&v->admit, now_us > l->granted_us ? now_us - l->granted_us : 0);
}

bool dispatch_admit_hopeless(const struct rev *v, const struct ticket *t)
{
    const struct admit_view view = view_of(v);
    return admit_hopeless(&v->admit, &view, t->deadline_us);
}

uint64_t dispatch_admit_surplus(const struct rev *v)
{
    const struct admit_rules r = rules_of(v);
    const struct admit_view view = view_of(v);
    return admit_surplus(&v->admit, &r, &view);
}

uint32_t dispatch_admit_again_s(const struct rev *v)
{
    const struct admit_rules r = rules_of(v);
    const struct admit_view view = view_of(v);
    return admit_retry_after_s(&v->admit, &r, &view);
}

uint32_t dispatch_admit_text(const struct rev *v, enum admit_verdict verdict, struct err *e)
{
    const struct admit_view view = view_of(v);
    unsigned long long wait_ms = admit_wait_us(&v->admit, view.waiting, view.slots) / 1000;
    unsigned long long service_ms = v->admit.mean_us / 1000;
    if (verdict == ADMIT_NO_TIME)
        err_set(e, CODE_EXHAUSTED,
                "%s would answer after the deadline: %u requests wait, which takes about %llu ms, and one takes %llu ms",
                v->spec->name, v->queue.count, wait_ms, service_ms);
    else
        err_set(e, CODE_EXHAUSTED,
                "%s gets more requests than its %u instances answer: %u wait, which takes about %llu ms; "
                "raise max-scale or containerConcurrency, or ask less often",
                v->spec->name, v->ready, v->queue.count, wait_ms);
    return dispatch_admit_again_s(v);
}
