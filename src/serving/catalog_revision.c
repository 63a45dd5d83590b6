#include "serving/catalog_impl.h"

#include "serving/annotations.h"
#include "serving/gc.h"

#include <string.h>

static int rev_decode(struct catalog *c, const struct rev *v, const json_t *object,
                      struct revision **ret, struct err *e)
{
    const struct revision_source s = {
        .ns = v->ns,
        .service = v->owner->name,
        .name = v->name,
        .generation = (uint64_t)v->number,
        .annotations = json_at(object, "metadata.annotations"),
        .pod = json_object_get(object, "spec"),
        .image_digest = *v->facts.digest ? v->facts.digest : NULL,
        .pins = v->facts.pins,
    };
    return revision_decode(&s, c->limits, ret, e);
}

/* The observer is called last: it may tell facts at once. */
void catalog_rev_emit(struct catalog *c, struct rev *v, bool was_ready)
{
    struct revision *r = NULL;
    struct err e;
    AUTO_JSON json_t *object = catalog_stored(v->text);
    if (rev_decode(c, v, object, &r, &e) < 0) {
        /* stored by an older hob that allowed more: said on the object, never run */
        const struct catalog_facts f = { .failing = true, .failed_phase = PHASE_SCHEDULE,
                                         .exit_status = -1, .message = e.text };
        catalog_revision_facts(c, v->ns, v->name, &f);
        return;
    }
    if (!was_ready)
        loop_after(c->loop, &v->deadline, r->progress_deadline_us);
    c->observer->on_revision(c->ctx, r, was_ready);
}

void catalog_delete(struct catalog *c, const char *kind, const char *ns, const char *name,
                    struct packed *take_text)
{
    struct err ignored; /* left over, it is removed at the next opening */
    struct write *w = catalog_write_new(WRITE_DELETE, NULL, NULL, NULL, NULL);
    w->before = take_text;
    (void)catalog_write(c, w, kind, ns, name, STORE_ANY_VERSION, &ignored);
}

/* While its first commit is on its way, that is what it will have been. */
struct packed *catalog_rev_last(const struct rev *v)
{
    return v->text ? packed_share(v->text) : v->busy ? catalog_pack(v->catalog, "revisions", v->pending, 0) : NULL;
}

void catalog_rev_ages(struct rev *v, const json_t *object)
{
    const char *kept = json_text_key(object, "metadata.annotations", SERVING_GROUP "/no-gc");
    v->kept = kept && strcmp(kept, "true") == 0;
    const json_t *annotations = json_at(object, "metadata.annotations");
    v->min_scale = annotation_text(annotations, ANNOTATION_MIN_SCALE)
                       ? (uint32_t)MAX(0, annotation_number(annotations, ANNOTATION_MIN_SCALE))
                       : (uint32_t)v->catalog->limits->scale_min_default;
    v->created_ms = status_time_read(json_text_at(object, "metadata.creationTimestamp"));
    v->routing_ms =
        status_time_read(json_text_key(object, "metadata.annotations", SERVING_GROUP "/routingStateModified"));
}

void catalog_rescale(struct catalog *c,
                     void (*on_running)(void *ctx, const char *ns, const char *service, const char *revision,
                                        const json_t *annotations),
                     void *ctx)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct service *s = c->sorted[i];
        LIST_EACH(&s->revisions, n, tmp) {
            struct rev *v = CONTAINER_OF(n, struct rev, node);
            AUTO_JSON json_t *object = v->text ? catalog_stored(v->text) : NULL;
            if (!object)
                continue;
            catalog_rev_ages(v, object);
            if (v->running)
                on_running(ctx, v->ns, s->name, v->name, json_at(object, "metadata.annotations"));
        }
    }
}

uint64_t catalog_min_scales(const struct catalog *c, const char *ns, const char *name)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct service *s = c->sorted[i];
        if (strcmp(s->ns, ns) == 0 && strcmp(s->name, name) == 0)
            continue;
        LIST_EACH(&s->revisions, n, tmp) {
            const struct rev *v = CONTAINER_OF(n, struct rev, node);
            if (v->running || strcmp(v->name, s->latest_created) == 0)
                sum += v->min_scale;
        }
    }
    return sum;
}

static bool may_go(const struct rev *v)
{
    const struct service *s = v->owner;
    return v->text && !v->kept && strcmp(v->name, s->latest_ready) != 0 && strcmp(v->name, s->latest_created) != 0 &&
           !catalog_routed(v);
}

static void collect(struct catalog *c, struct rev *v)
{
    if (v->running) /* it never proved itself, and many have come after it */
        c->observer->on_revision_idle(c->ctx, v->ns, v->owner->name, v->name);
    catalog_delete(c, "revisions", v->ns, v->name, catalog_rev_last(v));
    catalog_rev_drop(v);
}

void catalog_revisions_trim(struct catalog *c, struct service *s)
{
    struct candidate {
        struct gc_revision age;
        struct rev *v;
    };
    size_t count = 0;
    if (s->revisions.count <= MIN(c->limits->gc_min, c->limits->gc_max))
        return;
    AUTO_FREE struct candidate *all = xcalloc(s->revisions.count, sizeof *all);
    AUTO_FREE struct gc_revision **rows = xcalloc(s->revisions.count, sizeof *rows);
    LIST_EACH(&s->revisions, n, tmp) {
        struct rev *v = CONTAINER_OF(n, struct rev, node);
        if (!may_go(v))
            continue;
        all[count] = (struct candidate){ { v->created_ms, MAX(v->routing_ms, v->created_ms), false }, v };
        rows[count] = &all[count].age;
        count++;
    }
    if (gc_decide(rows, count, c->limits, loop_wall_ms()) == 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (all[i].age.goes)
            collect(c, all[i].v);
}

void catalog_on_gc(struct loop_timer *t)
{
    struct catalog *c = CONTAINER_OF(t, struct catalog, gc_timer);
    for (uint32_t i = 0; i < c->count; i++)
        catalog_revisions_trim(c, c->sorted[i]);
    loop_after(c->loop, t, GC_LOOK_US);
}

bool catalog_ready_look(struct catalog *c, struct rev *v)
{
    struct service *s = v->owner;
    const struct rev *serving = *s->latest_ready ? catalog_rev(c, s->ns, s->latest_ready) : NULL;
    AUTO_JSON json_t *status = catalog_status(v);
    v->ready = status_ready(status);
    if (v->ready != STATUS_TRUE || (serving && v->number <= serving->number))
        return false;
    copy_name(s->latest_ready, sizeof s->latest_ready, v->name);
    return true;
}
