#include "instance/instance.h"
#include "instance/arrival.h"
#include "instance/checks.h"
#include "instance/crew.h"
#include "instance/idle.h"
#include "instance/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct instance_internals {
    struct arrival image, models[INSTANCE_MODELS_MAX];
    uint32_t model_count;
    uint64_t launched_us; /* the artifacts were asked for */
    struct config *config; /* as it was then; NULL: it takes nothing, or not known yet */
    struct sandbox *sandbox;
    bool exec_seen, sandbox_over, told_to_end;
    struct idle idle;
    struct loop_timer bound; /* start deadline, later the drain's */
    struct checks checks;
    uint64_t patience_us; /* from the sandbox's order to ready */
    struct output output;
    struct loop_task end_task;
};

const char *instance_state_name(enum instance_state s)
{
    static const char *const names[] = { "waiting", "starting", "ready", "draining", "ended" };
    ASSERT(s < COUNT_OF(names));
    return names[s];
}

static uint64_t now_of(const struct instance *i) { return loop_clock_us(i->env->loop); }

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

/* The one of several containers that the fleet knows. */
static bool leads(const struct instance *i) { return i->crew && i->revision->part == CONTAINER_SERVES; }

static void end(struct instance *i)
{
    if (i->state == INSTANCE_ENDED)
        return;
    quiet(i);
    if (leads(i) && !crew_over(i->crew)) { /* on_crew_over() comes back */
        i->state = INSTANCE_DRAINING;
        crew_kill(i->crew);
        return;
    }
    i->state = INSTANCE_ENDED;
    loop_defer(i->env->loop, &i->in->end_task);
}

static void fail(struct instance *i, enum phase at, bool retryable, const char *why)
{
    if (i->state >= INSTANCE_DRAINING || i->failed)
        return;
    ASSERT(!i->was_ready);
    i->failed = true;
    phase_fail(&i->start, at, now_of(i), why);
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

static uint64_t last_present_us(const struct instance_internals *in)
{
    uint64_t last = in->image.present_us;
    for (uint32_t k = 0; k < in->model_count; k++)
        last = MAX(last, in->models[k].present_us);
    return last;
}

static bool all_verified(const struct instance_internals *in)
{
    for (uint32_t k = 0; k < in->model_count; k++)
        if (!in->models[k].verified)
            return false;
    return in->image.verified;
}

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

static void ready_if_all(struct instance *i)
{
    struct instance_internals *in = i->in;
    if (i->state != INSTANCE_STARTING || !in->checks.health.ready || !all_verified(in) ||
        (leads(i) && !crew_ready(i->crew)))
        return;
    i->ready_us = i->idle_since_us = now_of(i);
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
    i->ops->on_line(i, leads(i) ? i->revision->container : NULL, line);
}

static void on_phase(struct output *o, enum phase p, bool begins, uint64_t bytes)
{
    struct instance *i = CONTAINER_OF(o, struct instance_internals, output)->image.instance;
    enum phase_outcome had = i->start.phases[p].outcome;
    if (i->was_ready)
        return;
    if (begins && had == PHASE_ABSENT) {
        phase_begin(&i->start, p, now_of(i));
    } else if (!begins && had == PHASE_OPEN) {
        phase_end(&i->start, p, now_of(i), PHASE_DONE);
        phase_bytes(&i->start, p, bytes);
    }
}

/* ---- the sandbox ---------------------------------------------------------------------------- */

static void tell_to_end(struct instance *i)
{
    struct instance_internals *in = i->in;
    in->told_to_end = true;
    if (leads(i))
        crew_tell_end(i->crew);
    i->env->tier->ops->signal(in->sandbox, 15);
    loop_after(i->env->loop, &in->bound, i->env->limits->drain_ms * 1000);
}

/* What it waits for, in words. */
static void not_ready_why(const struct instance *i, char *into, size_t size)
{
    const struct instance_internals *in = i->in;
    enum health_kind kind = HEALTH_READINESS;
    const char *why = in->exec_seen ? checks_why(&in->checks, &kind) : "";
    uint16_t port = in->exec_seen ? checks_refused_port(&in->checks) : 0;
    if (leads(i) && !crew_may_go(i->crew))
        crew_why(i->crew, into, size);
    else if (!in->exec_seen)
        snprintf(into, size, "the sandbox did not start");
    else if (i->revision->part == CONTAINER_INIT)
        snprintf(into, size, "it has not ended");
    else if (in->checks.health.ready && leads(i) && !crew_ready(i->crew))
        crew_why(i->crew, into, size);
    else if (in->checks.health.ready)
        snprintf(into, size, "its model is still being verified");
    else if (why[0])
        snprintf(into, size, "%s probe failed: %.200s", health_kind_name(kind), why);
    else if (port)
        snprintf(into, size, "nothing accepts connections on port %u", port);
    else
        snprintf(into, size, "%s probe has not passed", health_kind_name(kind));
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
    not_ready_why(i, what, sizeof what);
    snprintf(why, sizeof why, "not ready within %llu ms: %s",
             (unsigned long long)(in->patience_us / 1000), what);
    fail(i, in->exec_seen ? PHASE_RUNTIME_INIT : PHASE_SANDBOX, true, why);
}

/* ---- probes -------------------------------------------------------------------------------- */

/* For whoever reads the function's log: what hob itself has to say about this instance. */
static void say(struct instance *i, const char *what, const char *then)
{
    char line[PROBER_WHY + 128];
    int size = snprintf(line, sizeof line, "hob: %s; %s", what, then);
    i->ops->on_line(i, leads(i) ? i->revision->container : NULL, (struct str){ line, MIN((size_t)size, sizeof line - 1) });
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
            ready_if_all(i);
        } else if (i->state == INSTANCE_READY && leads(i) && !crew_ready(i->crew)) {
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
            fail(i, PHASE_RUNTIME_INIT, true, text);
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
    ready_if_all(i); /* without a probe it is */
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
        fail(i, in->exec_seen ? PHASE_RUNTIME_INIT : PHASE_SANDBOX, retryable, text);
    }
    end(i);
}

static const struct sandbox_events sandbox_events = { on_started, on_over };

struct strings { /* a growing NULL-terminated array of owned strings */
    char **at;
    size_t count;
};
static void strings_add(struct strings *s, char *take)
{
    s->at = xrealloc(s->at, s->count + 2, sizeof *s->at);
    s->at[s->count++] = take;
    s->at[s->count] = NULL;
}
static void strings_done(struct strings *s)
{
    for (size_t k = 0; k < s->count; k++) {
        explicit_bzero(s->at[k], strlen(s->at[k])); /* it may be of a Secret */
        free(s->at[k]);
    }
    free(s->at);
}

/* The runtime contract's variables first, the user's after them: PORT and K_* cannot be overridden,
 * because deploy refuses them by name. */
static void environment(const struct instance *i, const char *const *own, struct strings *env)
{
    const struct revision *r = i->revision;
    if (r->part == CONTAINER_SERVES)
        strings_add(env, xasprintf("PORT=%u", r->port));
    strings_add(env, xasprintf("K_SERVICE=%s", r->service));
    strings_add(env, xasprintf("K_CONFIGURATION=%s", r->service));
    strings_add(env, xasprintf("K_REVISION=%s", r->name));
    strings_add(env, xasprintf("HOSTNAME=%s", i->id));
    strings_add(env, xstrdup("HOB_PHASES_FD=3"));
    bool path = false, home = false;
    for (size_t k = 0; own && own[k]; k++) {
        path = path || strncmp(own[k], "PATH=", 5) == 0;
        home = home || strncmp(own[k], "HOME=", 5) == 0;
        strings_add(env, xstrdup(own[k]));
    }
    if (!path)
        strings_add(env,
                    xstrdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    if (!home)
        strings_add(env, xstrdup("HOME=/tmp"));
}

static void arguments(const char *const *command, const char *const *args, struct strings *argv)
{
    if (!command || !command[0])
        strings_add(argv, xstrdup("/app/run")); /* a bundle's own entry point */
    for (size_t k = 0; command && command[k]; k++)
        strings_add(argv, xstrdup(command[k]));
    for (size_t k = 0; args && args[k]; k++)
        strings_add(argv, xstrdup(args[k]));
}

/* What the ConfigMaps and Secrets of a container say now. False: the start failed. *ret_config NULL: it takes
 * nothing from any. */
static bool config_read(struct instance *i, const struct revision *container, struct config **ret_config)
{
    const char *reason;
    struct err e;
    *ret_config = NULL;
    if (!container->config)
        return true;
    if (config_resolve(container, &i->env->config, i->env->limits, ret_config, &reason, &e) == 0)
        return true;
    i->config_reason = reason;
    fail(i, PHASE_SANDBOX, true, e.text);
    return false;
}

/* Asked before the gigabytes of a model come. False: the start failed. */
static bool configs_are_there(struct instance *i)
{
    const struct revision *r = i->revision;
    struct config *config;
    bool there = config_read(i, r, &i->in->config);
    for (uint32_t k = 0; there && k < r->other_count; k++) {
        there = config_read(i, r->others[k], &config);
        config_free(config);
    }
    return there;
}

/* A start that had everything takes what it just saw; one that waited for a fetch looks again. */
static bool config_refresh(struct instance *i)
{
    enum { FRESH_US = 500000 };
    struct instance_internals *in = i->in;
    if (now_of(i) - in->launched_us <= FRESH_US)
        return true;
    config_free(TAKE(in->config));
    return config_read(i, i->revision, &in->config);
}

static bool runs_commands(const struct revision *r)
{
    return r->readiness.kind == PROBE_EXEC || (r->liveness && r->liveness->kind == PROBE_EXEC) ||
           (r->startup && r->startup->kind == PROBE_EXEC);
}

/* How long from its order to ready; of an init container, to its end. */
static uint64_t patience_us(const struct instance *i)
{
    const struct revision *r = i->revision;
    uint64_t usual_us = i->env->limits->start_ms * 1000;
    return r->part == CONTAINER_INIT ? MAX(usual_us, r->progress_deadline_us) : health_patience_us(r->startup, usual_us);
}

static uint64_t or_default(uint64_t value, uint64_t otherwise) { return value ? value : otherwise; }

/* An emptyDir that is mounted before, elsewhere, is the same one. */
static struct sandbox_scratch scratch_of(const struct instance *i, size_t index)
{
    const struct revision *r = i->revision;
    const struct revision_mount *m = &r->mounts[index];
    struct sandbox_scratch s = { .target = m->path, .size_bytes = m->size_bytes, .read_only = m->read_only };
    uint32_t number = 0;
    s.volume = i->crew ? crew_volume(i->crew, m->volume) : 0;
    for (size_t k = 0; k < index && !s.same && !s.volume; k++) {
        number += !r->mounts[k].is_model;
        if (!r->mounts[k].is_model && strcmp(r->mounts[k].volume, m->volume) == 0)
            s.same = number;
    }
    return s;
}

static void sandbox_begin(struct instance *i)
{
    struct instance_internals *in = i->in;
    const struct revision *r = i->revision;
    const struct limits *l = i->env->limits;
    struct strings argv = { 0 }, env = { 0 };
    struct sandbox_mount mounts[INSTANCE_MODELS_MAX + 1];
    struct sandbox_scratch scratches[INSTANCE_MODELS_MAX];
    size_t mount_count = 0, scratch_count = 0;
    uint64_t ephemeral = or_default(r->ephemeral_bytes, l->sandbox_scratch_bytes);
    phase_begin(&i->start, PHASE_SANDBOX, last_present_us(in));
    if (!config_refresh(i))
        return;
    AUTO(config) struct config *config = TAKE(in->config);
    if (config && config->skipped)
        say(i, config->skipped, "the others are set");

    arguments(config ? config->command : r->command, config ? config->args : r->args, &argv);
    environment(i, config ? config->env : r->env, &env);
    mounts[mount_count++] = (struct sandbox_mount){ in->image.path, "/app" };
    for (uint32_t k = 0; k < in->model_count; k++)
        mounts[mount_count++] = (struct sandbox_mount){ in->models[k].path, in->models[k].target };
    for (size_t k = 0; k < r->mount_count && scratch_count < COUNT_OF(scratches); k++)
        if (!r->mounts[k].is_model)
            scratches[scratch_count++] = scratch_of(i, k);

    const struct sandbox_spec spec = {
        .id = i->id,
        .argv = (const char *const *)argv.at,
        .env = (const char *const *)env.at,
        .workdir = r->workdir ? r->workdir : "/app",
        .uid = r->uid,
        .gid = r->gid,
        .memory_bytes = or_default(r->memory_bytes, l->sandbox_memory_bytes),
        .ephemeral_bytes = ephemeral,
        .cpu_milli = (uint32_t)or_default(r->cpu_milli, l->sandbox_cpu_milli),
        .pids_max = (uint32_t)l->sandbox_pids,
        .fds_max = (uint32_t)l->sandbox_fds,
        .mounts = mounts,
        .mount_count = mount_count,
        .scratches = scratches,
        .scratch_count = scratch_count,
        .folders = config ? config->folders : NULL,
        .folder_count = config ? config->folder_count : 0,
        .commands = runs_commands(r),
        .pod = i->crew ? crew_pod(i->crew) : NULL,
        .leads = leads(i),
    };
    struct sandbox_pipes pipes = { -1, -1 };
    struct err e;
    int got =
        i->env->tier->ops->start(i->env->tier, &spec, &sandbox_events, i, &in->sandbox, &pipes, &e);
    strings_done(&argv);
    strings_done(&env);
    if (got < 0) {
        fail(i, PHASE_SANDBOX, e.code != CODE_INVALID, e.text);
        return;
    }
    if (output_open(&in->output, i->env->loop, l, pipes.out_fd, pipes.phases_fd, &e) < 0) {
        fail(i, PHASE_SANDBOX, true, e.text);
        return;
    }
    in->patience_us = patience_us(i);
    in->bound.on_due = on_bound;
    loop_after(i->env->loop, &in->bound, in->patience_us);
}

/* ---- artifacts ------------------------------------------------------------------------------ */

static bool all_present(const struct instance_internals *in)
{
    for (uint32_t k = 0; k < in->model_count; k++)
        if (!in->models[k].present)
            return false;
    return in->image.present;
}

static void begin_if_all(struct instance *i)
{
    if (i->state == INSTANCE_STARTING && !i->in->sandbox && all_present(i->in) && (!leads(i) || crew_may_go(i->crew)))
        sandbox_begin(i);
}

/* ---- the containers beside it ---- */

static void on_crew_go(struct instance *i) { begin_if_all(i); }

static void on_crew_turned(struct instance *i)
{
    char why[320], text[360];
    bool ready = crew_ready(i->crew);
    if (i->state == INSTANCE_STARTING) {
        ready_if_all(i);
        return;
    }
    if (i->state != INSTANCE_READY || !i->in->checks.health.ready)
        return;
    crew_why(i->crew, why, sizeof why);
    snprintf(text, sizeof text, "%s", ready ? "all of its containers are ready" : why);
    i->ops->on_turned(i, ready, text);
}

static void on_crew_failed(struct instance *i, bool retryable, const char *why)
{
    if (i->state == INSTANCE_STARTING)
        fail(i, PHASE_SANDBOX, retryable, why);
    else if (i->state == INSTANCE_READY)
        give_up(i, why);
}

static void on_crew_over(struct instance *i)
{
    if (!i->in->sandbox || i->in->sandbox_over)
        end(i);
}

static const struct crew_events crew_events = { on_crew_go, on_crew_turned, on_crew_failed, on_crew_over };

static void on_present(struct artifact_use *u, const char *path, const char *digest)
{
    struct arrival *w = artifact_use_ctx(u);
    struct instance *i = w->instance;
    bool image = w == &i->in->image;
    char *resolved = image ? i->resolved->image : i->resolved->models[w - i->in->models];
    if (*resolved && strcmp(resolved, digest) != 0) { /* two first readers, and a change between them */
        fail(i, image ? PHASE_IMAGE_UNPACK : PHASE_MODEL_FETCH, true,
             "the origin changed while this revision was first read; it is started again from what was "
             "read first");
        return;
    }
    w->present = true;
    w->present_us = now_of(w->instance);
    snprintf(w->path, sizeof w->path, "%s", path);
    if (!*resolved) {
        snprintf(resolved, DIGEST_TEXT, "%s", digest);
        i->ops->on_resolved(i);
    }
    begin_if_all(i);
}

static void on_verified(struct artifact_use *u)
{
    struct arrival *w = artifact_use_ctx(u);
    w->verified = true;
    w->verified_us = now_of(w->instance);
    ready_if_all(w->instance);
}

static void on_artifact_failed(struct artifact_use *u, enum phase at, bool retryable,
                               const struct err *e)
{
    struct arrival *w = artifact_use_ctx(u);
    fail(w->instance, at, retryable, e->text);
}

static int artifact_begin(struct instance *i, struct arrival *w, enum artifact_kind kind,
                          const char *reference, const char *resolved, struct err *e)
{
    const struct artifact_request q = {
        .kind = kind,
        .reference = reference,
        .digest = resolved,
        .on_present = on_present,
        .on_verified = on_verified,
        .on_failed = on_artifact_failed,
        .ctx = w,
    };
    w->instance = i;
    return artifact_use_start(i->env->artifacts, &q, &w->use, e);
}

/* An image volume is a folder: a single-file model appears in it under the file's own name. */
static void model_target(const struct revision_mount *m, char *into, size_t size)
{
    struct str ref = str_of(m->reference), path = str_cut(&ref, '@');
    size_t at = path.size;
    while (at > 0 && path.at[at - 1] != '/')
        at--;
    struct str base = str_from(path, at), query = base;
    base = str_cut(&query, '?');
    if (base.size == 0)
        base = STR("model");
    snprintf(into, size, "%s/" STR_FMT, m->path, STR_ARG(base));
}

void instance_launch(struct instance *i)
{
    struct instance_internals *in = i->in;
    const struct revision *r = i->revision;
    struct err e;
    ASSERT(i->state == INSTANCE_WAITING);
    uint64_t now_us = now_of(i);
    i->state = INSTANCE_STARTING;
    phase_end(&i->start, PHASE_SCHEDULE, now_us, PHASE_DONE);
    in->launched_us = now_us;

    if (!configs_are_there(i))
        return;
    if (r->other_count > 0 && crew_open(i, &crew_events, &i->crew, &e) < 0) {
        fail(i, PHASE_SANDBOX, e.code != CODE_INVALID, e.text);
        return;
    }
    /* What was resolved once stays what runs, whatever its origin says now. */
    int got = artifact_begin(i, &in->image, ARTIFACT_BUNDLE, r->image, i->resolved->image, &e);
    if (got < 0) {
        fail(i, PHASE_IMAGE_PULL, false, e.text);
        return;
    }
    for (size_t k = 0; k < r->mount_count; k++) {
        if (!r->mounts[k].is_model)
            continue;
        if (in->model_count == i->resolved->model_count) {
            fail(i, PHASE_MODEL_FETCH, false, "more models than one instance may mount");
            return;
        }
        struct arrival *w = &in->models[in->model_count];
        model_target(&r->mounts[k], w->target, sizeof w->target);
        got = artifact_begin(i, w, ARTIFACT_MODEL, r->mounts[k].reference,
                             i->resolved->models[in->model_count], &e);
        if (got < 0) {
            fail(i, PHASE_MODEL_FETCH, e.code == CODE_EXHAUSTED, e.text);
            return;
        }
        in->model_count++;
    }
}

enum phase instance_phase(const struct instance *i)
{
    static const enum phase own[] = { PHASE_WARMUP, PHASE_ALLOCATE, PHASE_MODEL_LOAD };
    const struct instance_internals *in = i->in;
    if (i->state == INSTANCE_WAITING)
        return PHASE_SCHEDULE;
    if (!all_present(in))
        return in->image.present ? PHASE_MODEL_FETCH : PHASE_IMAGE_PULL;
    if (!in->exec_seen)
        return PHASE_SANDBOX;
    if (in->checks.health.ready)
        return PHASE_MODEL_VERIFY;
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
    uint64_t ms = (now_of(i) - MIN(since_us, now_of(i))) / 1000;
    char why[200];
    switch (p) {
    case PHASE_SCHEDULE: snprintf(why, sizeof why, "it waits for its turn: starts_max others start"); break;
    case PHASE_IMAGE_PULL: snprintf(why, sizeof why, "its image is not here yet"); break;
    case PHASE_MODEL_FETCH: snprintf(why, sizeof why, "its model is not here yet"); break;
    case PHASE_SANDBOX: snprintf(why, sizeof why, "its sandbox is not filled yet"); break;
    default: not_ready_why(i, why, sizeof why); break;
    }
    const char *yet = strstr(why, "nothing accepts") == why ? " yet" : "";
    if (ms < 1000)
        snprintf(into, size, "instance %s: %s for %llu ms: %s%s", i->id, phase_name(p), (unsigned long long)ms, why, yet);
    else
        snprintf(into, size, "instance %s: %s for %llu s: %s%s", i->id, phase_name(p), (unsigned long long)(ms / 1000),
                 why, yet);
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
    i->start.begin_us = now_of(i);
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
    if (leads(i))
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
    if (leads(i))
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
