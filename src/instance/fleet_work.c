#include "instance/fleet_impl.h"

#include <unistd.h>

void fleet_serve(struct fleet *f, const struct fleet_servers *servers, void *ctx)
{
    ASSERT(!f->of_queues.ops);
    f->of_queues = (struct fleet_serving){ servers, ctx };
}

void fleet_serve_attempts(struct fleet *f, const struct fleet_servers *servers, void *ctx)
{
    ASSERT(!f->of_attempts.ops);
    f->of_attempts = (struct fleet_serving){ servers, ctx };
}

static const struct fleet_serving *serving_of(const struct instance *i)
{
    const struct rev *v = i->owner;
    const struct fleet *f = v->target->fleet;
    return i->revision->task_queue ? &f->of_queues : &f->of_attempts;
}

void fleet_work_served(struct instance *i, int take_fd)
{
    const struct fleet_serving *s = serving_of(i);
    if (s->ops)
        i->served = s->ops->on_served(s->ctx, i, take_fd);
    else
        (void)close(take_fd);
}

void fleet_work(struct fleet *f, const char *ns, const char *service, const char *revision, const struct fleet_work *w)
{
    struct target *t = fleet_target(f, ns, service);
    struct rev *v = t ? fleet_rev(t, revision) : NULL;
    if (!v)
        return;
    if (w->waiting > 0 && v->work.waiting == 0)
        v->yielded = false;
    v->work = *w;
    v->work_us = fleet_now(f);
    dispatch_note_load(v);
    fleet_evaluate_soon(v);
}

void fleet_work_cause(const struct rev *v, struct instance *i)
{
    if (fleet_tasks_waiting(v) == 0 || !v->work.unattended)
        return;
    uint64_t now_us = fleet_now(v->target->fleet);
    i->start.task = v->work.first;
    i->start.task.waited_us += now_us - MIN(v->work_us, now_us);
    phase_begin(&i->start, PHASE_QUEUE, i->start.begin_us - MIN(i->start.task.waited_us, i->start.begin_us));
}

void fleet_task_begin(struct fleet *f, struct instance *i)
{
    struct rev *v = i->owner;
    i->in_flight++;
    i->tasks++;
    i->requests++;
    v->running++;
    if (i->start.phases[PHASE_READY].outcome == PHASE_OPEN) /* the first it is given ends its start */
        phase_end(&i->start, PHASE_READY, loop_clock_us(f->env.loop), PHASE_DONE);
    if (i->start.phases[PHASE_QUEUE].outcome == PHASE_OPEN)
        phase_end(&i->start, PHASE_QUEUE, loop_clock_us(f->env.loop), PHASE_DONE);
    dispatch_note_load(v);
}

void fleet_task_end(struct fleet *f, struct instance *i)
{
    struct rev *v = i->owner;
    (void)f;
    ASSERT(i->tasks > 0);
    i->tasks--;
    dispatch_let_go(v, i);
    fleet_evaluate_soon(v);
}

void fleet_cached(struct fleet *f, struct instance *i, uint32_t count)
{
    (void)f;
    i->cached = count;
}

void fleet_work_drain(struct instance *i)
{
    const struct fleet_serving *s = serving_of(i);
    if (i->served)
        s->ops->on_draining(s->ctx, i->served);
}

void fleet_work_gone(struct instance *i)
{
    struct rev *v = i->owner;
    const struct fleet_serving *s = serving_of(i);
    void *served = i->served;
    i->served = NULL;
    i->cached = 0;
    if (served)
        s->ops->on_gone(s->ctx, served);
    ASSERT(i->in_flight >= i->tasks && v->running >= i->tasks);
    i->in_flight -= i->tasks;
    v->running -= i->tasks;
    i->tasks = 0;
    dispatch_note_load(v);
}

/* A workflow that goes on within another window finds its worker with its history at hand; more than that is paid for
 * with an instance that does nothing. */
bool fleet_work_holds(const struct rev *v, uint64_t now_us)
{
    if (v->reserve || now_us - v->busy_us >= 2 * v->spec->window_us)
        return false;
    LIST_EACH(&v->instances, n, tmp) {
        const struct instance *i = CONTAINER_OF(n, struct instance, node);
        if (i->counted == COUNTED_READY && i->cached > 0)
            return true;
    }
    return false;
}
