#include "instance/instance.h"
#include "instance/crew.h"
#include "instance/instance_hangs.h"
#include "instance/instance_impl.h"
#include "instance/instance_needs.h"
#include "instance/instance_spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *instance_state_name(enum instance_state s)
{
    static const char *const names[] = { "waiting", "starting", "ready", "draining", "ended" };
    ASSERT(s < COUNT_OF(names));
    return names[s];
}

/* ---- the end ------------------------------------------------------------------------------- */

static void on_end_task(struct loop_task *t)
{
    struct instance_internals *in = CONTAINER_OF(t, struct instance_internals, end_task);
    struct instance *i = in->image.instance;
    ASSERT(i->state == INSTANCE_ENDED);
    i->ops->on_ended(i); /* may free i */
}

static void quiet(struct instance *i)
{
    struct instance_internals *in = i->in;
    loop_cancel(i->env->loop, &in->bound);
    idle_rest(&in->idle);
    checks_stop(&in->checks);
}

static void end(struct instance *i)
{
    if (i->state == INSTANCE_ENDED)
        return;
    quiet(i);
    if (instance_leads(i) && !crew_over(i->crew)) { /* on_crew_over() comes back */
        i->state = INSTANCE_DRAINING;
        crew_kill(i->crew);
        return;
    }
    i->state = INSTANCE_ENDED;
    loop_defer(i->env->loop, &i->in->end_task);
}

void instance_fail(struct instance *i, enum phase at, bool retryable, const char *why)
{
    if (i->state >= INSTANCE_DRAINING || i->failed)
        return;
    ASSERT(!i->was_ready);
    i->failed = true;
    phase_fail(&i->start, at, instance_now_us(i), why);
    quiet(i);
    i->state = INSTANCE_DRAINING;
    bool running = i->in->sandbox && !i->in->sandbox_over;
    if (running)
        i->env->tier->ops->kill(i->in->sandbox);
    i->ops->on_failed(i, retryable);
    if (!running)
        end(i);
}

/* ---- ready --------------------------------------------------------------------------------- */

/* The function may have reported its own phases; what it left open ends where it became ready. They
 * lie inside runtime_init, which goes on to bind, listen and the probe. */
static void close_own_phases(struct instance *i, uint64_t now_us)
{
    static const enum phase own[] = { PHASE_MODEL_LOAD, PHASE_ALLOCATE, PHASE_WARMUP };
    for (size_t k = 0; k < COUNT_OF(own); k++)
        if (i->start.phases[own[k]].outcome == PHASE_OPEN)
            phase_end(&i->start, own[k], now_us, PHASE_DONE);
    phase_end(&i->start, PHASE_RUNTIME_INIT, now_us, PHASE_DONE);
}

void instance_ready_if_all(struct instance *i)
{
    struct instance_internals *in = i->in;
    if (i->state != INSTANCE_STARTING || !in->checks.health.ready || !instance_needs_verified(in) ||
        (i->revision->ready_on_poll && !in->polled) ||
        (instance_leads(i) && !crew_ready(i->crew)))
        return;
    i->ready_us = i->idle_since_us = instance_now_us(i);
    close_own_phases(i, i->ready_us);
    arrival_record(&i->start, in->launched_us, &in->image, in->models, in->model_count);
    phase_begin(&i->start, PHASE_READY, i->ready_us);
    i->start.finished = true;
    i->was_ready = true;
    i->state = INSTANCE_READY;
    loop_cancel(i->env->loop, &in->bound);
    i->ops->on_ready(i);
}

/* ---- what the function says ---------------------------------------------------------------- */

static void on_line(struct output *o, struct str line)
{
    struct instance *i = CONTAINER_OF(o, struct instance_internals, output)->image.instance;
    i->ops->on_line(i, instance_leads(i) ? i->revision->container : NULL, line);
}

static void on_phase(struct output *o, enum phase p, bool begins, uint64_t bytes)
{
    struct instance *i = CONTAINER_OF(o, struct instance_internals, output)->image.instance;
    enum phase_outcome had = i->start.phases[p].outcome;
    if (i->was_ready)
        return;
    if (begins && had == PHASE_ABSENT) {
        phase_begin(&i->start, p, instance_now_us(i));
    } else if (!begins && had == PHASE_OPEN) {
        phase_end(&i->start, p, instance_now_us(i), PHASE_DONE);
        phase_bytes(&i->start, p, bytes);
    }
}

/* ---- the sandbox ---------------------------------------------------------------------------- */

static void tell_to_end(struct instance *i)
{
    struct instance_internals *in = i->in;
    in->told_to_end = true;
    if (instance_leads(i))
        crew_tell_end(i->crew);
    i->env->tier->ops->signal(in->sandbox, 15);
    loop_after(i->env->loop, &in->bound, i->env->limits->drain_ms * 1000);
}

static void on_bound(struct loop_timer *t)
{
    struct instance_internals *in = CONTAINER_OF(t, struct instance_internals, bound);
    struct instance *i = in->image.instance;
    char why[320], what[240];
    if (i->state == INSTANCE_DRAINING) {
        if (in->told_to_end)
            instance_kill(i);
        else
            tell_to_end(i); /* what is still on it, a tunnel for instance, sees it go */
        return;
    }
    ASSERT(i->state == INSTANCE_STARTING);
    instance_hangs_why(i, what, sizeof what);
    snprintf(why, sizeof why, "not ready within %llu ms: %s",
             (unsigned long long)(in->patience_us / 1000), what);
    instance_fail(i, in->exec_seen ? PHASE_RUNTIME_INIT : PHASE_SANDBOX, true, why);
}

/* ---- probes -------------------------------------------------------------------------------- */

/* For whoever reads the function's log: what hob itself has to say about this instance. */
static void say(struct instance *i, const char *what, const char *then)
{
    char line[PROBER_WHY + 128];
    int size = snprintf(line, sizeof line, "hob: %s; %s", what, then);
    i->ops->on_line(i, instance_leads(i) ? i->revision->container : NULL,
                    (struct str){ line, MIN((size_t)size, sizeof line - 1) });
}

/* Not asked whether its requests are over: it does not answer any more. SIGTERM, and SIGKILL after drain_ms. */
static void give_up(struct instance *i, const char *why)
{
    struct instance_internals *in = i->in;
    ASSERT(i->state == INSTANCE_READY);
    snprintf(i->start.error, sizeof i->start.error, "%s", why);
    quiet(i);
    i->state = INSTANCE_DRAINING;
    idle_clear(&in->idle);
    tell_to_end(i);
    i->ops->on_given_up(i, why);
}

static void on_verdict(struct checks *c, enum health_kind k, enum health_verdict v, const char *why)
{
    struct instance *i = CONTAINER_OF(c, struct instance_internals, checks)->image.instance;
    char text[240];
    snprintf(text, sizeof text, "%s probe failed: %.200s", health_kind_name(k), why);
    switch (v) {
    case HEALTH_SAME:
    case HEALTH_STARTED: return;
    case HEALTH_READY:
    case HEALTH_UNREADY:
        if (i->state == INSTANCE_STARTING) {
            instance_ready_if_all(i);
        } else if (i->state == INSTANCE_READY && instance_leads(i) && !crew_ready(i->crew)) {
            return; /* it is not ready anyway */
        } else if (i->state == INSTANCE_READY) {
            say(i, v == HEALTH_READY ? "Readiness probe passed" : text,
                v == HEALTH_READY ? "it gets requests again" : "it gets no new requests until it passes");
            i->ops->on_turned(i, v == HEALTH_READY, text);
        }
        return;
    case HEALTH_DEAD:
        say(i, text, "the instance is replaced");
        if (i->state == INSTANCE_STARTING)
            instance_fail(i, PHASE_RUNTIME_INIT, true, text);
        else if (i->state == INSTANCE_READY)
            give_up(i, text);
        return;
    }
}

static void on_connection(struct checks *c, int take_fd)
{
    struct instance_internals *in = CONTAINER_OF(c, struct instance_internals, checks);
    if (in->image.instance->state == INSTANCE_STARTING)
        idle_fresh(&in->idle, take_fd);
    else
        (void)close(take_fd);
}

static const struct checks_events checks_events = { on_verdict, on_connection };

/* ---- the sandbox's life ---------------------------------------------------------------------- */

static void on_started(void *ctx, uint64_t exec_us, bool pool_hit)
{
    struct instance *i = ctx;
    struct instance_internals *in = i->in;
    in->exec_seen = true;
    if (i->state != INSTANCE_STARTING)
        return;
    phase_end(&i->start, PHASE_SANDBOX, exec_us, PHASE_DONE);
    phase_begin(&i->start, PHASE_RUNTIME_INIT, exec_us);
    i->start.caches[CACHE_SANDBOX_POOL] = pool_hit ? CACHE_HIT : CACHE_MISS;
    if (i->revision->part == CONTAINER_INIT)
        return;
    checks_start(&in->checks, i->revision, i->id, i->env->loop, i->env->limits, i->env->tier, in->sandbox,
                 &checks_events);
    instance_ready_if_all(i); /* without a probe it is */
}

static const char *before_what(const struct instance *i)
{
    return i->revision->part == CONTAINER_INIT ? "" : " before it was ready";
}

static void on_over(void *ctx, const struct sandbox_exit *x, const struct err *why)
{
    struct instance *i = ctx;
    struct instance_internals *in = i->in;
    char text[512];
    in->sandbox_over = true;
    i->exit = *x;
    output_close(&in->output);
    i->completed = i->revision->part == CONTAINER_INIT && in->exec_seen && x->status == 0 && !x->oom_killed;
    if (i->state == INSTANCE_STARTING && !i->completed) {
        if (!in->exec_seen)
            snprintf(text, sizeof text, "%s", why ? why->text : "the sandbox ended before it ran");
        else if (x->oom_killed)
            snprintf(text, sizeof text, "killed: over its memory limit of %llu MiB while starting",
                     (unsigned long long)(i->revision->memory_bytes >> 20));
        else if (x->status > 128)
            snprintf(text, sizeof text, "killed by signal %d%s", x->status - 128, before_what(i));
        else
            snprintf(text, sizeof text, "exited with status %d%s", x->status, before_what(i));
        bool retryable = !(why && (why->code == CODE_NOT_FOUND || why->code == CODE_INVALID));
        instance_fail(i, in->exec_seen ? PHASE_RUNTIME_INIT : PHASE_SANDBOX, retryable, text);
    }
    end(i);
}

static void on_served(void *ctx, int take_fd)
{
    struct instance *i = ctx;
    i->ops->on_served(i, take_fd);
}

static const struct sandbox_events sandbox_events = { on_started, on_over, on_served };


static void sandbox_begin(struct instance *i)
{
    struct instance_internals *in = i->in;
    const struct limits *l = i->env->limits;
    uint64_t present_us = instance_needs_present_us(in), turn_us = instance_leads(i) ? crew_turn_us(i->crew) : 0;
    phase_begin(&i->start, PHASE_SANDBOX, MAX(present_us, turn_us));
    if (!instance_needs_refresh(i))
        return;
    AUTO(config) struct config *config = TAKE(in->config);
    if (config && config->skipped)
        say(i, config->skipped, "the others are set");

    struct instance_spec spec;
    struct sandbox_pipes pipes = { -1, -1 };
    struct err e;
    instance_spec_init(&spec, i, config);
    int got = i->env->tier->ops->start(i->env->tier, &spec.spec, &sandbox_events, i, &in->sandbox, &pipes, &e);
    instance_spec_done(&spec);
    if (got < 0) {
        instance_fail(i, PHASE_SANDBOX, e.code != CODE_INVALID, e.text);
        return;
    }
    if (output_open(&in->output, i->env->loop, l, pipes.out_fd, pipes.phases_fd, &e) < 0) {
        instance_fail(i, PHASE_SANDBOX, true, e.text);
        return;
    }
    in->patience_us = instance_spec_patience_us(i);
    in->bound.on_due = on_bound;
    loop_after(i->env->loop, &in->bound, in->patience_us);
}

void instance_begin_if_all(struct instance *i)
{
    if (i->state == INSTANCE_STARTING && !i->in->sandbox && instance_needs_present(i->in) &&
        (!instance_leads(i) || crew_may_go(i->crew)))
        sandbox_begin(i);
}

/* ---- the containers beside it ---- */

static void on_crew_go(struct instance *i) { instance_begin_if_all(i); }

static void on_crew_turned(struct instance *i)
{
    char why[320], text[360];
    bool ready = crew_ready(i->crew);
    if (i->state == INSTANCE_STARTING) {
        instance_ready_if_all(i);
        return;
    }
    if (i->state != INSTANCE_READY || !i->in->checks.health.ready)
        return;
    crew_why(i->crew, why, sizeof why);
    snprintf(text, sizeof text, "%s", ready ? "all of its containers are ready" : why);
    i->ops->on_turned(i, ready, text);
}

static void on_crew_failed(struct instance *i, enum phase at, bool retryable, const char *why)
{
    if (i->state == INSTANCE_STARTING)
        instance_fail(i, at, retryable, why);
    else if (i->state == INSTANCE_READY)
        give_up(i, why);
}

static void on_crew_over(struct instance *i)
{
    if (!i->in->sandbox || i->in->sandbox_over)
        end(i);
}

static const struct crew_events crew_events = { on_crew_go, on_crew_turned, on_crew_failed, on_crew_over };

void instance_launch(struct instance *i)
{
    struct instance_internals *in = i->in;
    const struct revision *r = i->revision;
    struct err e;
    ASSERT(i->state == INSTANCE_WAITING);
    uint64_t now_us = instance_now_us(i);
    i->state = INSTANCE_STARTING;
    phase_end(&i->start, PHASE_SCHEDULE, now_us, PHASE_DONE);
    in->launched_us = now_us;

    if (!instance_needs_configs(i))
        return;
    if (r->other_count > 0 && crew_open(i, &crew_events, &i->crew, &e) < 0) {
        instance_fail(i, PHASE_SANDBOX, e.code != CODE_INVALID, e.text);
        return;
    }
    instance_needs_artifacts(i);
}

/* ---- life ----------------------------------------------------------------------------------- */

struct instance *instance_new(const struct instance_env *env, const struct instance_ops *ops,
                              const struct revision *r, struct instance_resolved *resolved,
                              const char *suffix, void *owner)
{
    struct instance *i = xcalloc(1, sizeof *i);
    i->in = xcalloc(1, sizeof *i->in);
    i->env = env;
    i->ops = ops;
    i->revision = r;
    i->owner = owner;
    snprintf(i->id, sizeof i->id, "%.57s-%.5s", r->name, suffix); /* a DNS label: 63 at most */
    i->resolved = resolved;
    i->exit.status = -1;
    i->start.begin_us = instance_now_us(i);
    i->start.begin_wall_ms = loop_wall_ms();
    snprintf(i->start.id, sizeof i->start.id, "%.39s", i->id);
    phase_begin(&i->start, PHASE_SCHEDULE, i->start.begin_us);
    i->in->image.instance = i;
    idle_init(&i->in->idle, env->loop, &i->in_flight);
    i->in->end_task.run = on_end_task;
    list_init(&i->connecting);
    i->in->output.on_line = on_line;
    i->in->output.on_phase = on_phase;
    return i;
}

void instance_free(struct instance *i)
{
    if (!i)
        return;
    struct instance_internals *in = i->in;
    quiet(i);
    loop_undefer(i->env->loop, &in->end_task);
    output_close(&in->output);
    if (in->sandbox)
        i->env->tier->ops->free(in->sandbox);
    if (instance_leads(i))
        crew_free(i->crew);
    artifact_use_free(in->image.use);
    for (uint32_t k = 0; k < COUNT_OF(in->models); k++)
        artifact_use_free(in->models[k].use);
    idle_done(&in->idle);
    config_free(in->config);
    free(in);
    free(i);
}

void instance_stop(struct instance *i)
{
    struct instance_internals *in = i->in;
    if (i->state >= INSTANCE_DRAINING)
        return;
    quiet(i);
    i->state = INSTANCE_DRAINING;
    if (!in->sandbox || in->sandbox_over) {
        end(i);
        return;
    }
    idle_clear(&in->idle);
    in->bound.on_due = on_bound;
    loop_after(i->env->loop, &in->bound,
               MAX(i->env->limits->drain_ms, i->revision->timeout_s * UINT64_C(1000)) * 1000);
    if (i->in_flight == 0)
        instance_drained(i);
}

void instance_polled(struct instance *i)
{
    i->in->polled = true;
    instance_ready_if_all(i);
}

void instance_drained(struct instance *i)
{
    struct instance_internals *in = i->in;
    if (i->state == INSTANCE_DRAINING && !i->failed && in->sandbox && !in->sandbox_over && !in->told_to_end)
        tell_to_end(i);
}

void instance_kill(struct instance *i)
{
    struct instance_internals *in = i->in;
    if (i->state == INSTANCE_ENDED)
        return;
    quiet(i);
    i->state = INSTANCE_DRAINING;
    if (instance_leads(i))
        crew_kill(i->crew);
    if (in->sandbox && !in->sandbox_over)
        i->env->tier->ops->kill(in->sandbox);
    else
        end(i);
}

/* ---- connections ----------------------------------------------------------------------------- */

int instance_idle_take(struct instance *i, bool *ret_reused) { return idle_take(&i->in->idle, ret_reused); }

void instance_idle_give(struct instance *i, int take_fd)
{
    if (i->state == INSTANCE_READY)
        idle_give(&i->in->idle, take_fd);
    else
        (void)close(take_fd);
}

struct connecting *instance_connect(struct instance *i, uint64_t give_up_us,
                                    void (*on_done)(void *ctx, int take_fd, const struct err *e),
                                    void *ctx)
{
    const struct connect_request q = {
        .loop = i->env->loop,
        .tier = i->env->tier,
        .sandbox = i->in->sandbox,
        .port = i->revision->port,
        .give_up_us = give_up_us,
        .crowded = &i->in->idle.crowded,
        .on_done = on_done,
        .ctx = ctx,
    };
    return connect_start(&q);
}

bool instance_usage(const struct instance *i, uint64_t *ret_cpu_us, uint64_t *ret_memory_bytes)
{
    return i->in->sandbox && !i->in->sandbox_over &&
           i->env->tier->ops->usage(i->in->sandbox, ret_cpu_us, ret_memory_bytes) == 0;
}
