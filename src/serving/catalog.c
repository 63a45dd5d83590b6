#include "serving/catalog_impl.h"

#include "serving/asked.h"
#include "serving/pins.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- reading ---- */

static enum part_kind part_of(enum catalog_kind kind)
{
    return kind == CATALOG_ROUTES ? PART_ROUTE : PART_CONFIGURATION;
}

static bool part_item(const struct service *s, enum part_kind kind, char **unpacked, struct catalog_item *ret)
{
    const struct part *p = s ? &s->parts[kind] : NULL;
    if (s && s->bare && s->text && kind == PART_CONFIGURATION) {
        *ret = catalog_service_item(s, unpacked);
        return true;
    }
    if (!p || !p->text)
        return false;
    *ret = (struct catalog_item){ s->ns, s->name, p->uid, NULL, p->version, p->text, unpacked };
    return true;
}

bool catalog_find(struct catalog *c, enum catalog_kind kind, const char *ns, const char *name,
                  struct catalog_item *ret)
{
    if (strlen(ns) >= OBJECT_NS_MAX || strlen(name) >= OBJECT_NAME_MAX)
        return false;
    const struct service *s = kind == CATALOG_SERVICES ? catalog_service(c, ns, name) : NULL;
    const struct rev *v = kind == CATALOG_REVISIONS ? catalog_rev(c, ns, name) : NULL;
    if (kind == CATALOG_CONFIGURATIONS || kind == CATALOG_ROUTES) {
        if (!part_item(catalog_service(c, ns, name), part_of(kind), NULL, ret))
            return false;
    } else if (s && s->text && !s->bare) {
        *ret = catalog_service_item(s, NULL);
    } else if (v && v->text) {
        *ret = catalog_rev_item(v, NULL);
    } else {
        return false;
    }
    ret->plain = lent_text(&c->lent, ret->packed); /* now: it may be another one when it is asked for */
    return true;
}

struct walk {
    enum catalog_kind kind;
    bool (*on_item)(void *ctx, const struct catalog_item *i);
    void *ctx;
};

/* Its text lives as long as the call. */
static bool walk_item(const struct walk *w, struct catalog_item item)
{
    AUTO_FREE char *unpacked = NULL;
    item.unpacked = &unpacked;
    return !item.packed || w->on_item(w->ctx, &item);
}

static bool walk_service(const struct walk *w, const struct service *s)
{
    struct catalog_item item;
    switch (w->kind) {
    case CATALOG_SERVICES: return s->bare || walk_item(w, catalog_service_item(s, NULL));
    case CATALOG_REVISIONS:
        LIST_EACH(&s->revisions, n, tmp)
            if (!walk_item(w, catalog_rev_item(CONTAINER_OF(n, struct rev, node), NULL)))
                return false;
        return true;
    case CATALOG_CONFIGURATIONS:
    case CATALOG_ROUTES: return !part_item(s, part_of(w->kind), NULL, &item) || walk_item(w, item);
    }
    UNREACHABLE("a kind of its own");
}

void catalog_each(const struct catalog *c, enum catalog_kind kind, const char *ns,
                  bool (*on_item)(void *ctx, const struct catalog_item *i), void *ctx)
{
    const struct walk w = { kind, on_item, ctx };
    for (uint32_t i = ns ? catalog_place(c, ns, "") : 0; i < c->count; i++) {
        const struct service *s = c->sorted[i];
        if (ns && strcmp(s->ns, ns) != 0)
            return;
        if (!walk_service(&w, s))
            return;
    }
}

int64_t catalog_version(const struct catalog *c) { return watchlog_version(c->log); }

struct watchlog *catalog_log(const struct catalog *c) { return c->log; }

uint32_t catalog_services(const struct catalog *c) { return c->count - c->bare; }

/* ---- opening ---- */

static void head_load(struct catalog *c, const struct store_object *o, json_t *object, bool bare)
{
    struct service *s = catalog_service_new(c, o->ns, o->name);
    s->bare = bare;
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
    catalog_route_load(s, json_object_get(object, "status"));
    catalog_text_set(c, s, catalog_pack(c, catalog_store_kind(s), object, o->version), o->version);
}

static int service_load(void *ctx, const struct store_object *o, struct err *e)
{
    AUTO_JSON json_t *object = catalog_tree(o->json);
    if (!json_is_object(object))
        return err_set(e, CODE_DATA_LOSS, "service %s/%s: what is stored is not JSON", o->ns, o->name);
    head_load(ctx, o, object, false);
    return 0;
}

struct orphan {
    struct list_node node;
    const char *kind;
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX];
};

struct loading {
    struct catalog *c;
    struct list orphans; /* without their Service; removed after the walk */
};

static int orphan_note(struct loading *l, const char *kind, const struct store_object *o)
{
    struct orphan *lost = xcalloc(1, sizeof *lost);
    lost->kind = kind;
    copy_name(lost->ns, sizeof lost->ns, o->ns);
    copy_name(lost->name, sizeof lost->name, o->name);
    list_push(&l->orphans, &lost->node);
    return 0;
}

static int part_load(struct loading *l, enum part_kind kind, const struct store_object *o, struct err *e)
{
    AUTO_JSON json_t *object = catalog_tree(o->json);
    if (!json_is_object(object))
        return err_set(e, CODE_DATA_LOSS, "%s %s/%s: what is stored is not JSON", catalog_part_kinds[kind],
                       o->ns, o->name);
    const char *uid = json_text_at(object, "metadata.ownerReferences.0.uid");
    struct service *s = catalog_service(l->c, o->ns, o->name);
    if (kind == PART_CONFIGURATION && !uid && !s) {
        head_load(l->c, o, object, true);
        return 0;
    }
    if (!s || !uid || strcmp(uid, s->uid) != 0)
        return orphan_note(l, catalog_part_kinds[kind], o);
    struct part *p = &s->parts[kind];
    copy_name(p->uid, sizeof p->uid, json_text_at(object, "metadata.uid"));
    if (kind == PART_ROUTE)
        catalog_route_load(s, json_object_get(object, "status"));
    p->text = catalog_pack(l->c, catalog_part_kinds[kind], object, o->version);
    p->version = o->version;
    return 0;
}

static int configuration_load(void *ctx, const struct store_object *o, struct err *e)
{
    return part_load(ctx, PART_CONFIGURATION, o, e);
}

static int route_load(void *ctx, const struct store_object *o, struct err *e)
{
    return part_load(ctx, PART_ROUTE, o, e);
}

static enum object_routing routing_of(const json_t *revision)
{
    const char *state = json_text_key(revision, "metadata.labels", SERVING_GROUP "/routingState");
    return state && strcmp(state, "active") == 0    ? OBJECT_ACTIVE
           : state && strcmp(state, "reserve") == 0 ? OBJECT_RESERVE
                                                    : OBJECT_PENDING;
}

static int revision_load(void *ctx, const struct store_object *o, struct err *e)
{
    struct loading *l = ctx;
    AUTO_JSON json_t *object = catalog_tree(o->json);
    if (!json_is_object(object))
        return err_set(e, CODE_DATA_LOSS, "revision %s/%s: what is stored is not JSON", o->ns, o->name);
    const char *owner = json_text_key(object, "metadata.labels", SERVING_GROUP "/configuration");
    const char *of = json_text_key(object, "metadata.labels", SERVING_GROUP "/service");
    const char *uid = json_text_key(object, "metadata.labels",
                                    of ? SERVING_GROUP "/serviceUID" : SERVING_GROUP "/configurationUID");
    const char *number =
        json_text_key(object, "metadata.labels", SERVING_GROUP "/configurationGeneration");
    struct service *s = owner ? catalog_service(l->c, o->ns, owner) : NULL;
    uint64_t n = 0;
    if (!s || !uid || strcmp(uid, s->uid) != 0)
        return orphan_note(l, "revisions", o);
    (void)(number && str_u64(str_of(number), &n));
    struct rev *v = catalog_rev_new(l->c, s, o->name, (int64_t)n);
    copy_name(v->uid, sizeof v->uid, json_text_at(object, "metadata.uid"));
    copy_name(v->facts.digest, sizeof v->facts.digest,
              pins_image(json_object_get(object, "status"), json_object_get(object, "spec")));
    v->facts.pins = pins_read(json_object_get(object, "status"), json_object_get(object, "spec"));
    v->facts.f.ready_once = status_ready(json_object_get(object, "status")) == STATUS_TRUE;
    catalog_needs(v, object);
    v->routing = routing_of(object);
    catalog_rev_ages(v, object);
    v->text = catalog_pack(l->c, "revisions", object, o->version);
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
    revisions_sort(s);
    for (enum part_kind k = 0; !s->bare && k < PARTS; k++)
        if (!*s->parts[k].uid)
            catalog_part_init(s, k);
    if (!catalog_rev(c, s->ns, s->latest_ready))
        s->latest_ready[0] = '\0';
    LIST_EACH(&s->revisions, n, tmp)
        (void)catalog_ready_look(c, CONTAINER_OF(n, struct rev, node));
    s->dirty = true; /* the address may have changed, too */
    catalog_flush_soon(c, s);
    if (catalog_rev(c, s->ns, s->latest_created))
        return;
    struct object_stamp stamp;
    AUTO_JSON json_t *object = catalog_stored(s->text);
    if (!*s->latest_created)
        object_revision_name(object, s->template_generation, s->latest_created);
    asked_stamp(&stamp, "system:hob");
    struct rev *v = catalog_rev_new(c, s, s->latest_created, s->template_generation);
    copy_name(v->uid, sizeof v->uid, stamp.uid);
    v->pending = object_revision(object, v->name, v->number, catalog_configuration_uid(s), &stamp);
    (void)catalog_status_put(v->pending, catalog_rev_status(v, v->pending));
    catalog_rev_ages(v, v->pending);
    v->dirty = true;
}

static int load(struct catalog *c, struct err *e)
{
    struct loading l = { c, { { NULL, NULL }, 0 } };
    list_init(&l.orphans);
    int r = store_each(c->store, "services", service_load, c, e);
    if (r == 0)
        r = store_each(c->store, "configurations", configuration_load, &l, e);
    if (r == 0)
        r = store_each(c->store, "routes", route_load, &l, e);
    if (r == 0)
        r = store_each(c->store, "revisions", revision_load, &l, e);
    LIST_EACH(&l.orphans, n, tmp) {
        struct orphan *lost = CONTAINER_OF(n, struct orphan, node);
        if (r == 0)
            catalog_delete(c, lost->kind, lost->ns, lost->name, NULL);
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
    asked_random((uint8_t *)&seed, sizeof seed);
    c->loop = l;
    c->store = s;
    c->limits = limits;
    c->observer = observer;
    c->ctx = ctx;
    c->flush_task.run = catalog_on_flush_task;
    c->flush_timer.on_due = catalog_on_flush_timer;
    c->gc_timer.on_due = catalog_on_gc;
    copy_name(c->port, sizeof c->port, port && strcmp(port, ":80") != 0 ? port : "");
    map_init(&c->services, seed);
    map_init(&c->revisions, seed ^ 1);
    map_init(&c->outside, seed ^ 2);
    list_init(&c->writes);
    list_init(&c->requests);
    list_init(&c->dirty);
    lent_init(&c->lent, l);
    c->log = watchlog_new(limits, store_version(s));
    int r = load(c, e);
    if (r < 0)
        return r;
    struct catalog *made = *ret = TAKE(c);
    loop_after(l, &made->gc_timer, GC_LOOK_US);
    for (uint32_t i = 0; i < made->count; i++)
        catalog_route_look(made, made->sorted[i]);
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
        packed_free(TAKE(w->before)); /* the write outlives what packed it */
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
    catalog_outside_done(c);
    loop_undefer(c->loop, &c->flush_task);
    loop_cancel(c->loop, &c->flush_timer);
    loop_cancel(c->loop, &c->gc_timer);
    lent_done(&c->lent);
    watchlog_free(c->log);
    free(c->sorted);
    free(c);
}
