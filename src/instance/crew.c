#include "instance/crew.h"
#include "instance/backoff.h"
#include "instance/crew_images.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAID = 160 /* of its last words, for a condition */ };

struct member {
    struct crew *crew;
    const struct revision *revision;
    struct instance_resolved *resolved;
    struct instance *at; /* NULL: it is not there (any more, or for now) */
    struct loop_timer again;
    struct loop_task reap; /* frees what ended, outside of its own callback */
    uint64_t begun_us;
    uint32_t restarts, tries; /* tries: since it last ran for long */
    bool pausing, ready, done; /* done: an init container that ran to its end */
    char why[256], said[SAID];
};

struct crew {
    struct instance *leader;
    const struct crew_events *events;
    struct sandbox_pod *pod;
    struct crew_images *images;
    const char *volumes[SANDBOX_POD_VOLUMES_MAX]; /* names */
    uint32_t volume_count;
    bool open, gone, failed, ending, was_ready;
    uint64_t turn_us; /* when the next init container, or the one that serves, could start */
    struct loop_task over_task;
    bool over_told;
    struct member *members;
    uint32_t count;
};

static const struct instance_env *env_of(const struct crew *c) { return c->leader->env; }

static void member_start(struct member *m);

/* What the start's record says of it. */
static void member_begun(struct member *m)
{
    struct crew *c = m->crew;
    bool is_init = m->revision->part == CONTAINER_INIT;
    beside_begin(&c->leader->start, (uint32_t)(m - c->members), m->revision->container, is_init,
                 is_init ? c->turn_us : m->begun_us);
}

static void member_over(struct member *m, enum phase_outcome o)
{
    struct crew *c = m->crew;
    uint64_t now_us = loop_clock_us(env_of(c)->loop);
    if (m->revision->part == CONTAINER_INIT)
        c->turn_us = now_us;
    beside_end(&c->leader->start, (uint32_t)(m - c->members), now_us, o);
}

uint64_t crew_turn_us(const struct crew *c) { return c->leader->revision->init_count > 0 ? c->turn_us : 0; }

/* ---- looking -------------------------------------------------------------------------------------- */

static uint32_t inits_of(const struct crew *c) { return c->leader->revision->init_count; }

bool crew_may_go(const struct crew *c)
{
    for (uint32_t k = 0; k < inits_of(c); k++)
        if (!c->members[k].done)
            return false;
    return c->open;
}

bool crew_ready(const struct crew *c)
{
    for (uint32_t k = inits_of(c); k < c->count; k++)
        if (!c->members[k].ready)
            return false;
    return crew_may_go(c);
}

bool crew_over(const struct crew *c)
{
    for (uint32_t k = 0; k < c->count; k++)
        if (c->members[k].at)
            return false;
    return true;
}

static const char *state_of(const struct member *m)
{
    if (m->done)
        return "completed";
    if (m->ready)
        return "ready";
    if (m->at)
        return instance_state_name(m->at->state);
    return m->pausing ? "CrashLoopBackOff" : m->why[0] ? "ended" : "waiting";
}

void crew_why(const struct crew *c, char *into, size_t size)
{
    (void)snprintf(into, size, "its pod is not there yet");
    for (uint32_t k = 0; k < c->count; k++) {
        const struct member *m = &c->members[k];
        const char *part = container_part_name(m->revision->part);
        if (m->done || m->ready)
            continue;
        if (m->why[0])
            (void)snprintf(into, size, "%s %s: %s", part, m->revision->container, m->why);
        else
            (void)snprintf(into, size, "%s %s %s", part, m->revision->container,
                           m->revision->part == CONTAINER_INIT ? "has not ended" : "is not ready");
        return;
    }
}

void crew_each(const struct crew *c, void (*on_member)(void *ctx, const struct crew_look *l), void *ctx)
{
    for (uint32_t k = 0; k < c->count; k++) {
        const struct member *m = &c->members[k];
        const struct crew_look l = { m->revision->container, container_part_name(m->revision->part), state_of(m),
                                     m->why, m->restarts };
        on_member(ctx, &l);
    }
}

struct sandbox_pod *crew_pod(const struct crew *c) { return c->pod; }

uint32_t crew_volume(const struct crew *c, const char *name)
{
    for (uint32_t k = 0; k < c->volume_count; k++)
        if (strcmp(c->volumes[k], name) == 0)
            return k + 1;
    return 0;
}

/* ---- what becomes of them -------------------------------------------------------------------------- */

static void turned(struct crew *c)
{
    bool ready = crew_ready(c);
    if (ready == c->was_ready || c->ending)
        return;
    c->was_ready = ready;
    c->events->on_turned(c->leader);
}

static void on_over_task(struct loop_task *t)
{
    struct crew *c = CONTAINER_OF(t, struct crew, over_task);
    if (c->over_told || !crew_over(c))
        return;
    c->over_told = true;
    c->events->on_over(c->leader);
}

/* Where it failed, for the record and the conditions of the leader. Its image is none of the leader's. */
static enum phase failed_phase(const struct member *m)
{
    enum phase at = m && m->at && m->at->failed ? m->at->start.failed_phase : PHASE_SANDBOX;
    return at == PHASE_IMAGE_PULL || at == PHASE_IMAGE_UNPACK ? PHASE_SANDBOX : at;
}

static void failed(struct crew *c, bool retryable, const struct member *m, const char *why)
{
    char text[480];
    if (c->failed || c->ending)
        return;
    c->failed = true;
    if (m && m->at && !c->leader->was_ready) {
        c->leader->config_reason = m->at->config_reason;
        c->leader->exit = m->at->exit;
    }
    if (m)
        (void)snprintf(text, sizeof text, "%s %s: %s%s%s", container_part_name(m->revision->part), m->revision->container,
                       why, m->said[0] ? "; it said: " : "", m->said);
    else
        (void)snprintf(text, sizeof text, "%s", why);
    c->events->on_failed(c->leader, failed_phase(m), retryable, text);
}

static void next_init(struct crew *c)
{
    for (uint32_t k = 0; k < inits_of(c); k++)
        if (!c->members[k].done) {
            member_start(&c->members[k]);
            return;
        }
    for (uint32_t k = inits_of(c); k < c->count; k++)
        member_start(&c->members[k]);
    c->events->on_go(c->leader);
    turned(c);
}

static void say(struct member *m, const char *text)
{
    char line[512];
    int size = snprintf(line, sizeof line, "hob: %s", text);
    struct instance *leader = m->crew->leader;
    leader->ops->on_line(leader, m->revision->container, (struct str){ line, MIN((size_t)size, sizeof line - 1) });
}

/* Kubernetes' words, since people search for them. */
static void restart_later(struct member *m)
{
    struct crew *c = m->crew;
    const struct limits *l = env_of(c)->limits;
    char text[400];
    uint64_t now_us = loop_clock_us(env_of(c)->loop), longest_us = l->container_backoff_ms_max * 1000;
    if (now_us - m->begun_us > 2 * longest_us)
        m->tries = 0;
    uint64_t pause_us = backoff_pause_us(m->tries, l->container_backoff_ms * 1000, longest_us);
    m->tries++;
    if (pause_us == 0)
        (void)snprintf(text, sizeof text, "%s; it is started again", m->why);
    else
        (void)snprintf(text, sizeof text, "%s; back-off %llu ms restarting failed container", m->why,
                       (unsigned long long)(pause_us / 1000));
    say(m, text);
    m->pausing = true;
    loop_after(env_of(c)->loop, &m->again, pause_us);
}

static void on_again(struct loop_timer *t)
{
    struct member *m = CONTAINER_OF(t, struct member, again);
    m->restarts++;
    m->pausing = false;
    member_start(m);
}

/* ---- what a member reports ------------------------------------------------------------------------- */

static struct member *member_of(struct instance *i) { return i->owner; }

static void on_member_resolved(struct instance *i)
{
    struct instance *leader = member_of(i)->crew->leader;
    leader->ops->on_resolved(leader);
}

static void on_member_ready(struct instance *i)
{
    struct member *m = member_of(i);
    m->ready = true;
    m->why[0] = '\0';
    member_over(m, PHASE_DONE);
    turned(m->crew);
}

static void on_member_failed(struct instance *i, bool retryable)
{
    struct member *m = member_of(i);
    (void)snprintf(m->why, sizeof m->why, "%s", i->start.error);
    if (m->revision->part == CONTAINER_INIT || !retryable)
        failed(m->crew, retryable, m, m->why);
}

static void on_member_turned(struct instance *i, bool ready, const char *why)
{
    struct member *m = member_of(i);
    m->ready = ready;
    (void)snprintf(m->why, sizeof m->why, "%s", ready ? "" : why);
    turned(m->crew);
}

static void on_member_given_up(struct instance *i, const char *why)
{
    struct member *m = member_of(i);
    m->ready = false;
    (void)snprintf(m->why, sizeof m->why, "%s", why);
    turned(m->crew);
}

static void on_member_ended(struct instance *i)
{
    struct member *m = member_of(i);
    struct crew *c = m->crew;
    bool ran = i->was_ready && !m->why[0];
    m->ready = false;
    m->done = i->completed;
    if (m->done)
        member_over(m, PHASE_DONE);
    if (ran && i->exit.oom_killed)
        (void)snprintf(m->why, sizeof m->why, "killed: over its memory limit");
    else if (ran && i->exit.status > 128)
        (void)snprintf(m->why, sizeof m->why, "killed by signal %d", i->exit.status - 128);
    else if (ran)
        (void)snprintf(m->why, sizeof m->why, "exited with status %d", i->exit.status);
    loop_defer(env_of(c)->loop, &m->reap);
}

static void on_reap(struct loop_task *t)
{
    struct member *m = CONTAINER_OF(t, struct member, reap);
    struct crew *c = m->crew;
    instance_free(TAKE(m->at));
    if (c->ending || c->gone || c->failed) {
        loop_defer(env_of(c)->loop, &c->over_task);
        return;
    }
    if (m->done) {
        next_init(c);
        return;
    }
    turned(c);
    if (m->revision->part == CONTAINER_SIDECAR)
        restart_later(m);
}

static void on_member_line(struct instance *i, const char *container, struct str line)
{
    struct member *m = member_of(i);
    struct instance *leader = m->crew->leader;
    (void)container;
    (void)snprintf(m->said, sizeof m->said, STR_FMT, STR_ARG(line));
    leader->ops->on_line(leader, m->revision->container, line);
}

static const struct instance_ops member_ops = { on_member_resolved, on_member_ready,    on_member_failed, on_member_turned,
                                                on_member_given_up, on_member_ended, on_member_line };

static void member_start(struct member *m)
{
    struct crew *c = m->crew;
    if (c->ending || c->gone || c->failed)
        return;
    m->begun_us = loop_clock_us(env_of(c)->loop);
    member_begun(m);
    m->at = instance_new(env_of(c), &member_ops, m->revision, m->resolved, "", m);
    m->at->crew = c;
    (void)snprintf(m->at->id, sizeof m->at->id, "%s", c->leader->id);
    instance_launch(m->at);
}

/* ---- the pod ----------------------------------------------------------------------------------------- */

static void on_pod_open(void *ctx)
{
    struct crew *c = ctx;
    c->open = true;
    if (!c->ending)
        next_init(c);
}

static void on_pod_failed(void *ctx, const struct err *why)
{
    struct crew *c = ctx;
    c->gone = true;
    failed(c, true, NULL, why->text);
}

static const struct sandbox_pod_events pod_events = { on_pod_open, on_pod_failed };

static int volumes_collect(struct crew *c, const struct revision *r, uint64_t usual, uint64_t *bytes, struct err *e)
{
    for (size_t k = 0; k < r->mount_count; k++) {
        const struct revision_mount *m = &r->mounts[k];
        if (m->is_model || crew_volume(c, m->volume) > 0)
            continue;
        if (c->volume_count == SANDBOX_POD_VOLUMES_MAX)
            return err_set(e, CODE_INVALID, "more than %d emptyDir volumes in one pod", SANDBOX_POD_VOLUMES_MAX);
        bytes[c->volume_count] = m->size_bytes ? m->size_bytes : usual;
        c->volumes[c->volume_count++] = m->volume;
    }
    return 0;
}

static int pod_open(struct crew *c, struct err *e)
{
    const struct revision *r = c->leader->revision;
    const struct sandbox_tier *t = env_of(c)->tier;
    uint64_t bytes[SANDBOX_POD_VOLUMES_MAX];
    uint64_t usual = r->ephemeral_bytes ? r->ephemeral_bytes : env_of(c)->limits->sandbox_scratch_bytes;
    int result = volumes_collect(c, r, usual, bytes, e);
    for (uint32_t k = 0; result == 0 && k < r->other_count; k++)
        result = volumes_collect(c, r->others[k], usual, bytes, e);
    if (result < 0)
        return result;
    if (!t->ops->pod_open)
        return err_set(e, CODE_UNIMPLEMENTED, "several containers: the %s tier has none", t->ops->name);
    const struct sandbox_pod_spec spec = { c->leader->id, bytes, c->volume_count };
    return t->ops->pod_open(env_of(c)->tier, &spec, &pod_events, c, &c->pod, e);
}

DEFINE_AUTO(crew, struct crew *, crew_free)

int crew_open(struct instance *leader, const struct crew_events *events, struct crew **ret, struct err *e)
{
    const struct revision *r = leader->revision;
    AUTO(crew) struct crew *c = xcalloc(1, sizeof *c);
    c->leader = leader;
    c->events = events;
    c->over_task.run = on_over_task;
    c->turn_us = loop_clock_us(leader->env->loop);
    c->members = xcalloc(r->other_count, sizeof *c->members);
    c->count = r->other_count;
    ASSERT(leader->resolved->other_count == r->other_count);
    for (uint32_t k = 0; k < c->count; k++)
        c->members[k] = (struct member){ .crew = c, .revision = r->others[k], .resolved = &leader->resolved->others[k],
                                         .again.on_due = on_again, .reap.run = on_reap };
    int result = pod_open(c, e);
    if (result < 0)
        return result;
    c->images = crew_images_ask(leader);
    *ret = TAKE(c);
    return 0;
}

void crew_free(struct crew *c)
{
    if (!c)
        return;
    for (uint32_t k = 0; k < c->count; k++) {
        loop_cancel(env_of(c)->loop, &c->members[k].again);
        loop_undefer(env_of(c)->loop, &c->members[k].reap);
        instance_free(c->members[k].at);
    }
    loop_undefer(env_of(c)->loop, &c->over_task);
    if (c->pod)
        env_of(c)->tier->ops->pod_free(c->pod);
    crew_images_free(c->images);
    free(c->members);
    free(c);
}

static void stop_with(struct crew *c, void (*how)(struct instance *i))
{
    c->ending = true;
    for (uint32_t k = 0; k < c->count; k++) {
        loop_cancel(env_of(c)->loop, &c->members[k].again);
        if (c->members[k].at)
            how(c->members[k].at);
    }
    loop_defer(env_of(c)->loop, &c->over_task);
}

void crew_tell_end(struct crew *c) { stop_with(c, instance_stop); }
void crew_kill(struct crew *c) { stop_with(c, instance_kill); }
