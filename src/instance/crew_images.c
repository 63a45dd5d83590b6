#include "instance/crew_images.h"

#include <stdio.h>
#include <stdlib.h>

struct image {
    struct instance *leader;
    struct instance_resolved *resolved;
    struct artifact_use *use; /* NULL: nobody asks */
};

struct crew_images {
    uint32_t count;
    struct image all[];
};

static void on_present(struct artifact_use *u, const char *path, const char *digest)
{
    struct image *m = artifact_use_ctx(u);
    (void)path;
    if (m->resolved->image[0]) /* the container itself, or another instance, was first */
        return;
    (void)snprintf(m->resolved->image, sizeof m->resolved->image, "%s", digest);
    m->leader->ops->on_resolved(m->leader);
}

static void on_verified(struct artifact_use *u) { (void)u; }

static void on_failed(struct artifact_use *u, enum phase at, bool retryable, const struct err *e)
{
    (void)u;
    (void)at;
    (void)retryable;
    (void)e;
}

struct crew_images *crew_images_ask(struct instance *leader)
{
    const struct revision *r = leader->revision;
    struct crew_images *all = xcalloc(1, sizeof *all + r->other_count * sizeof all->all[0]);
    all->count = r->other_count;
    for (uint32_t k = 0; k < all->count; k++) {
        struct image *m = &all->all[k];
        struct err ignored;
        m->leader = leader;
        m->resolved = &leader->resolved->others[k];
        const struct artifact_request q = { .kind = ARTIFACT_BUNDLE,
                                            .reference = r->others[k]->image,
                                            .digest = m->resolved->image,
                                            .on_present = on_present,
                                            .on_verified = on_verified,
                                            .on_failed = on_failed,
                                            .ctx = m };
        if (artifact_use_start(leader->env->artifacts, &q, &m->use, &ignored) < 0)
            m->use = NULL;
    }
    return all;
}

void crew_images_free(struct crew_images *m)
{
    if (!m)
        return;
    for (uint32_t k = 0; k < m->count; k++)
        artifact_use_free(m->all[k].use);
    free(m);
}
