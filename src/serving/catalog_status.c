#include "serving/catalog_impl.h"

#include <stdlib.h>

static void mark(struct catalog *c, struct service *s)
{
    if (!list_node_linked(&s->dirty_node))
        list_push(&c->dirty, &s->dirty_node);
}

void catalog_flush_soon(struct catalog *c, struct service *s)
{
    mark(c, s);
    loop_defer(c->loop, &c->flush_task);
}

void catalog_flush_later(struct catalog *c, struct service *s, uint64_t delay_us)
{
    mark(c, s);
    if (!heap_node_linked(&c->flush_timer.node))
        loop_after(c->loop, &c->flush_timer, delay_us);
}

void catalog_flush_retry(struct catalog *c, struct service *s)
{
    catalog_flush_later(c, s, FLUSH_RETRY_US);
}

json_t *catalog_status(const struct rev *v)
{
    AUTO_JSON json_t *object = v ? catalog_stored(v->text) : NULL;
    return json_incref(json_object_get(object, "status"));
}

static const char *said(const char *text) { return text ? text : ""; }

/* Most revisions have nothing to say. */
static char *note(const char *text) { return text && *text ? xstrndup(text, FACTS_TEXT_MAX) : NULL; }

void catalog_facts_done(struct facts *f)
{
    json_decref(f->pins);
    free(f->message);
    free(f->late_starts);
}

json_t *catalog_rev_status(const struct rev *v, const json_t *object)
{
    size_t serving;
    const json_t *pod = json_object_get(object, "spec");
    const char *image = json_text_at(containers_serving(pod, &serving), "image");
    struct status_revision s = { image ? image : "", pod, v->facts.f, v->late };
    s.facts.image_digest = v->facts.digest;
    s.facts.pins = v->facts.pins;
    s.facts.message = said(v->facts.message);
    s.facts.late_starts = said(v->facts.late_starts);
    return status_of_revision(&s, json_object_get(object, "status"), loop_wall_ms());
}

/* False: it is as it should be. */
bool catalog_status_put(json_t *object, json_t *take_status)
{
    bool changed = !json_equal(json_object_get(object, "status"), take_status);
    (void)json_object_set_new(object, "status", take_status);
    return changed;
}

static void rev_flush(struct catalog *c, struct rev *v)
{
    struct err e;
    AUTO_JSON json_t *object = catalog_stored(v->text);
    v->dirty = false;
    AUTO_FREE char *routes = catalog_routes(v);
    bool routing = object_routing_set(object, catalog_routing(v), routes, loop_wall_ms());
    if (!catalog_status_put(object, catalog_rev_status(v, object)) && !routing)
        return;
    struct write *w = catalog_write_new(WRITE_REVISION, NULL, v, NULL, TAKE(object));
    if (catalog_write(c, w, "revisions", v->ns, v->name, v->version, &e) < 0) {
        v->dirty = true;
        catalog_flush_later(c, v->owner, FLUSH_RETRY_US);
    }
}

static void service_flush(struct catalog *c, struct service *s)
{
    struct err e;
    AUTO_JSON json_t *object = catalog_stored(s->text);
    s->dirty = false;
    if (!catalog_status_put(object, catalog_service_status(c, s, object)))
        return;
    struct write *w = catalog_write_new(WRITE_STATUS, s, NULL, NULL, TAKE(object));
    if (catalog_write(c, w, catalog_store_kind(s), s->ns, s->name, s->version, &e) < 0) {
        s->dirty = true;
        catalog_flush_later(c, s, FLUSH_RETRY_US);
    }
}

/* The first commit of a Revision; until then nobody sees it and nothing runs. */
void catalog_revision_write(struct catalog *c, struct rev *v)
{
    struct err e;
    v->dirty = false;
    struct write *w = catalog_write_new(WRITE_REVISION, NULL, v, NULL, json_deep_copy(v->pending));
    if (catalog_write(c, w, "revisions", v->ns, v->name, STORE_ANY_VERSION, &e) < 0) {
        v->dirty = true;
        catalog_flush_later(c, v->owner, FLUSH_RETRY_US);
    }
}

static void service_look(struct catalog *c, struct service *s)
{
    LIST_EACH(&s->revisions, n, tmp) {
        struct rev *v = CONTAINER_OF(n, struct rev, node);
        if (v->busy || !v->dirty)
            continue;
        if (v->text)
            rev_flush(c, v);
        else
            catalog_revision_write(c, v);
    }
    if (s->text)
        catalog_parts_flush(c, s);
    if (s->dirty && !s->busy && s->text)
        service_flush(c, s);
}

/* What is busy now comes back into the list when its change is done. What the store refuses comes back
 * with the timer, and is behind everything that was here before. */
static void flush(struct catalog *c)
{
    for (uint32_t left = MIN(c->dirty.count, FLUSH_PER_TURN); left > 0; left--) {
        struct list_node *n = list_first(&c->dirty);
        list_remove(&c->dirty, n);
        service_look(c, CONTAINER_OF(n, struct service, dirty_node));
    }
}

void catalog_on_flush_task(struct loop_task *t)
{
    struct catalog *c = CONTAINER_OF(t, struct catalog, flush_task);
    bool more = c->dirty.count > FLUSH_PER_TURN;
    flush(c);
    if (more)
        loop_defer(c->loop, t);
}

void catalog_on_flush_timer(struct loop_timer *t)
{
    catalog_on_flush_task(&CONTAINER_OF(t, struct catalog, flush_timer)->flush_task);
}

void catalog_on_deadline(struct loop_timer *t)
{
    struct rev *v = CONTAINER_OF(t, struct rev, deadline);
    v->late = true;
    v->dirty = true;
    catalog_flush_soon(v->catalog, v->owner);
}

/* What was once resolved stays so, though whoever runs it should know no more than that it cannot. */
static void resolved_keep(struct facts *next, const struct catalog_facts *f, const struct facts *old)
{
    if (!*next->digest)
        copy_name(next->digest, sizeof next->digest, old->digest);
    bool known = json_object_size(f->pins) > 0;
    next->pins = known ? json_deep_copy(f->pins) : json_incref(old->pins);
}

void catalog_revision_facts(struct catalog *c, const char *ns, const char *name,
                            const struct catalog_facts *f)
{
    struct rev *v = c ? catalog_rev(c, ns, name) : NULL;
    if (!v || !v->text)
        return;
    struct facts next = { .f = *f };
    copy_name(next.digest, sizeof next.digest, f->image_digest);
    next.message = note(f->message);
    next.late_starts = note(f->late_starts);
    next.f.image_digest = next.f.message = next.f.late_starts = NULL; /* they live beside, so that structs compare */
    next.f.pins = NULL;
    const struct facts *old = &v->facts;
    resolved_keep(&next, f, old);
    bool same_texts = strcmp(next.digest, old->digest) == 0 && strcmp(said(next.message), said(old->message)) == 0 &&
                      strcmp(said(next.late_starts), said(old->late_starts)) == 0 &&
                      (next.pins == old->pins || json_equal(next.pins, old->pins));
    bool same = same_texts && next.f.ready_once == old->f.ready_once &&
                next.f.timed_out == old->f.timed_out && next.f.failing == old->f.failing &&
                next.f.failed_phase == old->f.failed_phase && next.f.retryable == old->f.retryable &&
                next.f.exit_status == old->f.exit_status && next.f.config_reason == old->f.config_reason &&
                next.f.unenforced == old->f.unenforced;
    bool same_activity = next.f.active == old->f.active && next.f.activating == old->f.activating;
    bool same_counts = next.f.actual == old->f.actual && next.f.desired == old->f.desired;
    /* Back from zero is daily life once it was ready: told when the start is over, not while that needs the CPU. */
    bool wait = same && (same_activity || (next.f.ready_once && next.f.active));
    catalog_facts_done(&v->facts);
    v->facts = next;
    catalog_needs_resolved(v);
    if (next.f.ready_once)
        loop_cancel(c->loop, &v->deadline);
    if (same && same_activity && same_counts)
        return;
    v->dirty = true;
    if (wait)
        catalog_flush_later(c, v->owner, FLUSH_LAZY_US);
    else
        catalog_flush_soon(c, v->owner);
}
