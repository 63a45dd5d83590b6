#include "serving/catalog_impl.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- reading ---- */

bool catalog_find(const struct catalog *c, enum catalog_kind kind, const char *ns, const char *name,
                  struct catalog_item *ret)
{
    if (strlen(ns) >= OBJECT_NS_MAX || strlen(name) >= OBJECT_NAME_MAX)
        return false;
    const struct service *s = kind == CATALOG_SERVICES ? catalog_service(c, ns, name) : NULL;
    const struct rev *v = kind == CATALOG_REVISIONS ? catalog_rev(c, ns, name) : NULL;
    if (s && s->text)
        *ret = catalog_service_item(s);
    else if (v && v->text)
        *ret = catalog_rev_item(v);
    else
        return false;
    return true;
}

static bool each_revision(const struct service *s, bool (*on_item)(void *, const struct catalog_item *),
                          void *ctx)
{
    LIST_EACH(&s->revisions, n, tmp) {
        const struct rev *v = CONTAINER_OF(n, struct rev, node);
        const struct catalog_item item = catalog_rev_item(v);
        if (v->text && !on_item(ctx, &item))
            return false;
    }
    return true;
}

void catalog_each(const struct catalog *c, enum catalog_kind kind, const char *ns,
                  bool (*on_item)(void *ctx, const struct catalog_item *i), void *ctx)
{
    for (uint32_t i = ns ? catalog_place(c, ns, "") : 0; i < c->count; i++) {
        const struct service *s = c->sorted[i];
        const struct catalog_item item = catalog_service_item(s);
        if (ns && strcmp(s->ns, ns) != 0)
            return;
        if (kind == CATALOG_SERVICES ? !on_item(ctx, &item) : !each_revision(s, on_item, ctx))
            return;
    }
}

int64_t catalog_version(const struct catalog *c) { return watchlog_version(c->log); }

struct watchlog *catalog_log(const struct catalog *c) { return c->log; }

uint32_t catalog_services(const struct catalog *c) { return c->count; }

/* ---- opening ---- */

static int service_load(void *ctx, const struct store_object *o, struct err *e)
{
    struct catalog *c = ctx;
    AUTO_JSON json_t *object = catalog_tree(o->json);
    if (!json_is_object(object))
        return err_set(e, CODE_DATA_LOSS, "service %s/%s: what is stored is not JSON", o->ns, o->name);
    struct service *s = catalog_service_new(c, o->ns, o->name);
    const char *number =
        json_text_key(object, "status.annotations", "hob.dev/configuration-generation");
    uint64_t n = 0;
    s->generation = json_int_at(object, "metadata.generation", 1);
    s->template_generation = number && str_u64(str_of(number), &n) ? (int64_t)n : s->generation;
    copy_name(s->uid, sizeof s->uid, json_text_at(object, "metadata.uid"));
    copy_name(s->latest_created, sizeof s->latest_created,
              json_text_at(object, "status.latestCreatedRevisionName"));
    copy_name(s->latest_ready, sizeof s->latest_ready,
              json_text_at(object, "status.latestReadyRevisionName"));
    catalog_text_set(c, s, object, o->version);
    return 0;
}

struct orphan {
    struct list_node node;
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX];
};

struct loading {
    struct catalog *c;
    struct list orphans; /* Revisions without their Service; removed after the walk */
};

static int revision_load(void *ctx, const struct store_object *o, struct err *e)
{
    struct loading *l = ctx;
    AUTO_JSON json_t *object = catalog_tree(o->json);
    if (!json_is_object(object))
        return err_set(e, CODE_DATA_LOSS, "revision %s/%s: what is stored is not JSON", o->ns, o->name);
    const char *owner = json_text_key(object, "metadata.labels", SERVING_GROUP "/service");
    const char *uid = json_text_key(object, "metadata.labels", SERVING_GROUP "/serviceUID");
    const char *number =
        json_text_key(object, "metadata.labels", SERVING_GROUP "/configurationGeneration");
    struct service *s = owner ? catalog_service(l->c, o->ns, owner) : NULL;
    uint64_t n = 0;
    if (!s || !uid || strcmp(uid, s->uid) != 0) {
        struct orphan *lost = xcalloc(1, sizeof *lost);
        copy_name(lost->ns, sizeof lost->ns, o->ns);
        copy_name(lost->name, sizeof lost->name, o->name);
        list_push(&l->orphans, &lost->node);
        return 0;
    }
    (void)(number && str_u64(str_of(number), &n));
    struct rev *v = catalog_rev_new(l->c, s, o->name, (int64_t)n);
    copy_name(v->uid, sizeof v->uid, json_text_at(object, "metadata.uid"));
    copy_name(v->facts.digest, sizeof v->facts.digest,
              json_text_at(object, "status.containerStatuses.0.imageDigest"));
    v->facts.models = catalog_models_of(json_object_get(object, "status"));
    v->facts.f.ready_once = status_ready(json_object_get(object, "status")) == STATUS_TRUE;
    catalog_needs(v, object);
    v->text = catalog_committed(object, o->version);
    v->version = o->version;
    return 0;
}

/* By age; the store gives them by name. */
static void revisions_sort(struct service *s)
{
    struct list sorted;
    list_init(&sorted);
    LIST_EACH(&s->revisions, n, tmp) {
        const struct rev *v = CONTAINER_OF(n, struct rev, node);
        struct list_node *at = sorted.root.prev;
        while (at != &sorted.root && CONTAINER_OF(at, struct rev, node)->number > v->number)
            at = at->prev;
        list_remove(&s->revisions, n);
        list_insert_before(&sorted, at->next, n);
    }
    LIST_EACH(&sorted, n, tmp) {
        list_remove(&sorted, n);
        list_push(&s->revisions, n);
    }
}

/* Makes good what a crash left undone between the Service, its Revision and their status. */
static void service_reconcile(struct catalog *c, struct service *s)
{
    char before[OBJECT_NAME_MAX];
    revisions_sort(s);
    copy_name(before, sizeof before, s->latest_ready);
    if (!catalog_rev(c, s->ns, s->latest_ready))
        s->latest_ready[0] = '\0';
    LIST_EACH(&s->revisions, n, tmp)
        catalog_ready_look(c, CONTAINER_OF(n, struct rev, node));
    s->dirty = true; /* the address may have changed, too */
    catalog_flush_soon(c, s);
    if (catalog_rev(c, s->ns, s->latest_created))
        return;
    struct object_stamp stamp;
    AUTO_JSON json_t *object = catalog_tree(s->text);
    if (!*s->latest_created)
        object_revision_name(object, s->template_generation, s->latest_created);
    catalog_stamp(&stamp, "system:hob");
    struct rev *v = catalog_rev_new(c, s, s->latest_created, s->template_generation);
    copy_name(v->uid, sizeof v->uid, stamp.uid);
    v->pending = object_revision(object, v->name, v->number, &stamp);
    (void)catalog_status_put(v->pending, catalog_rev_status(v, v->pending));
    v->dirty = true;
}

static void service_emit(struct catalog *c, struct service *s)
{
    struct rev *ready = *s->latest_ready ? catalog_rev(c, s->ns, s->latest_ready) : NULL;
    struct rev *created = catalog_rev(c, s->ns, s->latest_created);
    if (ready && ready->text)
        catalog_rev_emit(c, ready, true);
    if (created && created != ready && created->text)
        catalog_rev_emit(c, created, false);
}

static int load(struct catalog *c, struct err *e)
{
    struct loading l = { c, { { NULL, NULL }, 0 } };
    list_init(&l.orphans);
    int r = store_each(c->store, "services", service_load, c, e);
    if (r == 0)
        r = store_each(c->store, "revisions", revision_load, &l, e);
    LIST_EACH(&l.orphans, n, tmp) {
        struct orphan *lost = CONTAINER_OF(n, struct orphan, node);
        if (r == 0)
            catalog_revision_delete(c, lost->ns, lost->name, NULL);
        list_remove(&l.orphans, n);
        free(lost);
    }
    for (uint32_t i = 0; r == 0 && i < c->count; i++)
        service_reconcile(c, c->sorted[i]);
    return r;
}

int catalog_open(struct loop *l, struct store *s, const struct limits *limits, const char *ingress,
                 const struct catalog_observer *observer, void *ctx, struct catalog **ret,
                 struct err *e)
{
    uint64_t seed;
    const char *port = strrchr(ingress, ':');
    AUTO(catalog) struct catalog *c = xcalloc(1, sizeof *c);
    catalog_random((uint8_t *)&seed, sizeof seed);
    c->loop = l;
    c->store = s;
    c->limits = limits;
    c->observer = observer;
    c->ctx = ctx;
    c->flush_task.run = catalog_on_flush_task;
    c->flush_timer.on_due = catalog_on_flush_timer;
    copy_name(c->port, sizeof c->port, port && strcmp(port, ":80") != 0 ? port : "");
    map_init(&c->services, seed);
    map_init(&c->revisions, seed ^ 1);
    list_init(&c->writes);
    list_init(&c->requests);
    list_init(&c->dirty);
    c->log = watchlog_new(limits, store_version(s));
    int r = load(c, e);
    if (r < 0)
        return r;
    struct catalog *made = *ret = TAKE(c);
    for (uint32_t i = 0; i < made->count; i++)
        service_emit(made, made->sorted[i]);
    return 0;
}

void catalog_free(struct catalog *c)
{
    if (!c)
        return;
    catalog_requests_cancel(c);
    LIST_EACH(&c->writes, n, tmp) {
        struct write *w = CONTAINER_OF(n, struct write, node);
        list_remove(&c->writes, n);
        w->catalog = NULL;
        if (w->rev) {
            w->rev->busy = false;
            if (!w->rev->owner)
                catalog_rev_drop(w->rev);
        }
    }
    while (c->count > 0)
        catalog_service_free(c, c->sorted[c->count - 1]);
    const struct map_slot *slot; /* what is left was never committed */
    for (uint32_t i = 0; (slot = map_next(&c->services, &i)) != NULL; i = 0)
        catalog_service_free(c, slot->value);
    map_done(&c->services);
    map_done(&c->revisions);
    loop_undefer(c->loop, &c->flush_task);
    loop_cancel(c->loop, &c->flush_timer);
    watchlog_free(c->log);
    free(c->sorted);
    free(c);
}
