#include "instance/instance_hangs.h"
#include "instance/crew.h"
#include "instance/instance_needs.h"

#include <stdio.h>
#include <string.h>

void instance_hangs_why(const struct instance *i, char *into, size_t size)
{
    const struct instance_internals *in = i->in;
    enum health_kind kind = HEALTH_READINESS;
    const char *why = in->exec_seen ? checks_why(&in->checks, &kind) : "";
    uint16_t port = in->exec_seen ? checks_refused_port(&in->checks) : 0;
    if (instance_leads(i) && !crew_may_go(i->crew))
        crew_why(i->crew, into, size);
    else if (!in->exec_seen)
        snprintf(into, size, "the sandbox did not start");
    else if (i->revision->part == CONTAINER_INIT)
        snprintf(into, size, "it has not ended");
    else if (in->checks.health.ready && instance_leads(i) && !crew_ready(i->crew))
        crew_why(i->crew, into, size);
    else if (in->checks.health.ready && i->revision->ready_on_poll && !in->polled)
        snprintf(into, size, "it has not polled task queue %.200s", i->revision->task_queue);
    else if (in->checks.health.ready)
        snprintf(into, size, "its model is still being verified");
    else if (why[0])
        snprintf(into, size, "%s probe failed: %.200s", health_kind_name(kind), why);
    else if (port)
        snprintf(into, size, "nothing accepts connections on port %u", port);
    else
        snprintf(into, size, "%s probe has not passed", health_kind_name(kind));
}

enum phase instance_phase(const struct instance *i)
{
    static const enum phase own[] = { PHASE_WARMUP, PHASE_ALLOCATE, PHASE_MODEL_LOAD };
    const struct instance_internals *in = i->in;
    if (i->state == INSTANCE_WAITING)
        return PHASE_SCHEDULE;
    if (!instance_needs_present(in))
        return in->image.present ? PHASE_MODEL_FETCH : PHASE_IMAGE_PULL;
    if (!in->exec_seen)
        return PHASE_SANDBOX;
    if (in->checks.health.ready && !instance_needs_verified(in))
        return PHASE_MODEL_VERIFY; /* else it waits for those beside it, which begin to run as it did */
    for (size_t k = 0; k < COUNT_OF(own); k++)
        if (i->start.phases[own[k]].outcome == PHASE_OPEN)
            return own[k];
    return PHASE_RUNTIME_INIT;
}

void instance_hangs(const struct instance *i, char *into, size_t size)
{
    enum phase p = instance_phase(i);
    const struct phase_mark *m = &i->start.phases[p];
    uint64_t since_us = m->outcome == PHASE_OPEN                             ? m->start_us
                        : i->in->launched_us && p != PHASE_SCHEDULE ? i->in->launched_us
                                                                             : i->start.begin_us;
    uint64_t ms = (instance_now_us(i) - MIN(since_us, instance_now_us(i))) / 1000;
    char why[200];
    switch (p) {
    case PHASE_SCHEDULE: snprintf(why, sizeof why, "it waits for its turn: starts_max others start"); break;
    case PHASE_IMAGE_PULL: snprintf(why, sizeof why, "its image is not here yet"); break;
    case PHASE_MODEL_FETCH: snprintf(why, sizeof why, "its model is not here yet"); break;
    case PHASE_SANDBOX: snprintf(why, sizeof why, "its sandbox is not filled yet"); break;
    default: instance_hangs_why(i, why, sizeof why); break;
    }
    const char *yet = strstr(why, "nothing accepts") == why ? " yet" : "";
    if (ms < 1000)
        snprintf(into, size, "instance %s: %s for %llu ms: %s%s", i->id, phase_name(p), (unsigned long long)ms, why, yet);
    else
        snprintf(into, size, "instance %s: %s for %llu s: %s%s", i->id, phase_name(p), (unsigned long long)(ms / 1000),
                 why, yet);
}
