#include "instance/instance_needs.h"

#include <stdio.h>
#include <string.h>

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
    instance_fail(i, PHASE_SANDBOX, true, e.text);
    return false;
}

bool instance_needs_configs(struct instance *i)
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

bool instance_needs_refresh(struct instance *i)
{
    enum { FRESH_US = 500000 };
    struct instance_internals *in = i->in;
    if (instance_now_us(i) - in->launched_us <= FRESH_US)
        return true;
    config_free(TAKE(in->config));
    return config_read(i, i->revision, &in->config);
}

uint64_t instance_needs_present_us(const struct instance_internals *in)
{
    uint64_t last = in->image.present_us;
    for (uint32_t k = 0; k < in->model_count; k++)
        last = MAX(last, in->models[k].present_us);
    return last;
}

bool instance_needs_verified(const struct instance_internals *in)
{
    for (uint32_t k = 0; k < in->model_count; k++)
        if (!in->models[k].verified)
            return false;
    return in->image.verified;
}

bool instance_needs_present(const struct instance_internals *in)
{
    for (uint32_t k = 0; k < in->model_count; k++)
        if (!in->models[k].present)
            return false;
    return in->image.present;
}

static void on_present(struct artifact_use *u, const char *path, const char *digest)
{
    struct arrival *w = artifact_use_ctx(u);
    struct instance *i = w->instance;
    bool image = w == &i->in->image;
    char *resolved = image ? i->resolved->image : i->resolved->models[w - i->in->models];
    if (*resolved && strcmp(resolved, digest) != 0) { /* two first readers, and a change between them */
        instance_fail(i, image ? PHASE_IMAGE_UNPACK : PHASE_MODEL_FETCH, true,
             "the origin changed while this revision was first read; it is started again from what was "
             "read first");
        return;
    }
    w->present = true;
    w->present_us = instance_now_us(w->instance);
    snprintf(w->path, sizeof w->path, "%s", path);
    if (!*resolved) {
        snprintf(resolved, DIGEST_TEXT, "%s", digest);
        i->ops->on_resolved(i);
    }
    instance_begin_if_all(i);
}

static void on_verified(struct artifact_use *u)
{
    struct arrival *w = artifact_use_ctx(u);
    w->verified = true;
    w->verified_us = instance_now_us(w->instance);
    instance_ready_if_all(w->instance);
}

static void on_artifact_failed(struct artifact_use *u, enum phase at, bool retryable,
                               const struct err *e)
{
    struct arrival *w = artifact_use_ctx(u);
    instance_fail(w->instance, at, retryable, e->text);
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

void instance_needs_artifacts(struct instance *i)
{
    struct instance_internals *in = i->in;
    const struct revision *r = i->revision;
    struct err e;
    int got = artifact_begin(i, &in->image, ARTIFACT_BUNDLE, r->image, i->resolved->image, &e);
    if (got < 0) {
        instance_fail(i, PHASE_IMAGE_PULL, false, e.text);
        return;
    }
    for (size_t k = 0; k < r->mount_count; k++) {
        if (!r->mounts[k].is_model)
            continue;
        if (in->model_count == i->resolved->model_count) {
            instance_fail(i, PHASE_MODEL_FETCH, false, "more models than one instance may mount");
            return;
        }
        struct arrival *w = &in->models[in->model_count];
        model_target(&r->mounts[k], w->target, sizeof w->target);
        got = artifact_begin(i, w, ARTIFACT_MODEL, r->mounts[k].reference,
                             i->resolved->models[in->model_count], &e);
        if (got < 0) {
            instance_fail(i, PHASE_MODEL_FETCH, e.code == CODE_EXHAUSTED, e.text);
            return;
        }
        in->model_count++;
    }
}
