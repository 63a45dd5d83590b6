#include "instance/instance_spec.h"
#include "instance/crew.h"
#include "serving/worker.h"

#include <stdlib.h>
#include <string.h>

static void strings_add(struct instance_spec_strings *s, char *take)
{
    s->at = xrealloc(s->at, s->count + 2, sizeof *s->at);
    s->at[s->count++] = take;
    s->at[s->count] = NULL;
}
static void strings_done(struct instance_spec_strings *s)
{
    for (size_t k = 0; k < s->count; k++) {
        explicit_bzero(s->at[k], strlen(s->at[k])); /* it may be of a Secret */
        free(s->at[k]);
    }
    free(s->at);
}

static bool leaves_checkpoints(const struct revision *r) { return r->invoke.checkpoints && r->part == CONTAINER_SERVES; }
static bool is_worker(const struct revision *r) { return r->task_queue && r->part == CONTAINER_SERVES; }

/* The runtime contract's variables first, the user's after them: PORT and K_* cannot be overridden,
 * because deploy refuses them by name. */
static void environment(const struct instance *i, const char *const *own, struct instance_spec_strings *env)
{
    const struct revision *r = i->revision;
    if (r->part == CONTAINER_SERVES)
        strings_add(env, xasprintf("PORT=%u", r->port));
    strings_add(env, xasprintf("K_SERVICE=%s", r->service));
    strings_add(env, xasprintf("K_CONFIGURATION=%s", r->service));
    strings_add(env, xasprintf("K_REVISION=%s", r->name));
    strings_add(env, xasprintf("HOSTNAME=%s", i->id));
    strings_add(env, xstrdup("HOB_PHASES_FD=3"));
    bool path = false, home = false, invocations = false, address = false, ns = false, queue = false;
    for (size_t k = 0; own && own[k]; k++) {
        address = address || strncmp(own[k], "TEMPORAL_ADDRESS=", 17) == 0;
        ns = ns || strncmp(own[k], "TEMPORAL_NAMESPACE=", 19) == 0;
        queue = queue || strncmp(own[k], "TEMPORAL_TASK_QUEUE=", 20) == 0;
        invocations = invocations || strncmp(own[k], "HOB_INVOCATIONS=", 16) == 0;
        path = path || strncmp(own[k], "PATH=", 5) == 0;
        home = home || strncmp(own[k], "HOME=", 5) == 0;
        strings_add(env, xstrdup(own[k]));
    }
    if (!path)
        strings_add(env,
                    xstrdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    if (!home)
        strings_add(env, xstrdup("HOME=/tmp"));
    if (leaves_checkpoints(r) && !invocations)
        strings_add(env, xasprintf("HOB_INVOCATIONS=http://127.0.0.1:%d/v1/invocations", INVOKE_PORT));
    if (!is_worker(r))
        return;
    if (!address)
        strings_add(env, xasprintf("TEMPORAL_ADDRESS=127.0.0.1:%d", WORKER_PORT));
    if (!ns)
        strings_add(env, xasprintf("TEMPORAL_NAMESPACE=%s", r->task_namespace));
    if (!queue)
        strings_add(env, xasprintf("TEMPORAL_TASK_QUEUE=%s", r->task_queue));
}

static void arguments(const char *const *command, const char *const *args, struct instance_spec_strings *argv)
{
    if (!command || !command[0])
        strings_add(argv, xstrdup("/app/run")); /* a bundle's own entry point */
    for (size_t k = 0; command && command[k]; k++)
        strings_add(argv, xstrdup(command[k]));
    for (size_t k = 0; args && args[k]; k++)
        strings_add(argv, xstrdup(args[k]));
}

static bool runs_commands(const struct revision *r)
{
    return r->readiness.kind == PROBE_EXEC || (r->liveness && r->liveness->kind == PROBE_EXEC) ||
           (r->startup && r->startup->kind == PROBE_EXEC);
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

void instance_spec_init(struct instance_spec *s, const struct instance *i, const struct config *config)
{
    const struct instance_internals *in = i->in;
    const struct revision *r = i->revision;
    const struct limits *l = i->env->limits;
    size_t mount_count = 0, scratch_count = 0;
    *s = (struct instance_spec){ 0 };
    arguments(config ? config->command : r->command, config ? config->args : r->args, &s->argv);
    environment(i, config ? config->env : r->env, &s->env);
    s->mounts[mount_count++] = (struct sandbox_mount){ in->image.path, "/app" };
    for (uint32_t k = 0; k < in->model_count; k++)
        s->mounts[mount_count++] = (struct sandbox_mount){ in->models[k].path, in->models[k].target };
    for (size_t k = 0; k < r->mount_count && scratch_count < COUNT_OF(s->scratches); k++)
        if (!r->mounts[k].is_model)
            s->scratches[scratch_count++] = scratch_of(i, k);

    s->spec = (struct sandbox_spec){
        .id = i->id,
        .argv = (const char *const *)s->argv.at,
        .env = (const char *const *)s->env.at,
        .workdir = r->workdir ? r->workdir : "/app",
        .uid = r->uid,
        .gid = r->gid,
        .memory_bytes = or_default(r->memory_bytes, l->sandbox_memory_bytes),
        .ephemeral_bytes = or_default(r->ephemeral_bytes, l->sandbox_scratch_bytes),
        .cpu_milli = (uint32_t)or_default(r->cpu_milli, l->sandbox_cpu_milli),
        .pids_max = (uint32_t)l->sandbox_pids,
        .fds_max = (uint32_t)l->sandbox_fds,
        .mounts = s->mounts,
        .mount_count = mount_count,
        .scratches = s->scratches,
        .scratch_count = scratch_count,
        .folders = config ? config->folders : NULL,
        .folder_count = config ? config->folder_count : 0,
        .commands = runs_commands(r),
        .pod = i->crew ? crew_pod(i->crew) : NULL,
        .leads = instance_leads(i),
        .served_port = is_worker(r) ? WORKER_PORT : leaves_checkpoints(r) ? INVOKE_PORT : 0,
    };
}

void instance_spec_done(struct instance_spec *s)
{
    strings_done(&s->argv);
    strings_done(&s->env);
}

uint64_t instance_spec_patience_us(const struct instance *i)
{
    const struct revision *r = i->revision;
    uint64_t usual_us = i->env->limits->start_ms * 1000;
    return r->part == CONTAINER_INIT ? MAX(usual_us, r->progress_deadline_us) : health_patience_us(r->startup, usual_us);
}
