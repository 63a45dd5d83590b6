#include "serving/domains.h"

#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BEHIND_US = 5000,  /* several changes make one look */
    AGAIN_US = 200000, /* until what was refused is tried again */
};

static const char *const followed[] = { "domainmappings", "clusterdomainclaims", "services", "routes", "configmaps" };

struct known { /* a domain that leads somewhere */
    char ns[OBJECT_NS_MAX], route[OBJECT_NAME_MAX];
    uint64_t seen; /* the look that found it last */
};

struct domains {
    struct loop *loop;
    struct catalog *catalog;
    struct registry *registry;
    const struct domains_observer *observer;
    void *ctx;
    char port[16]; /* ":8080" or "" */
    struct watch_listener listener;
    struct watch_cursor cursors[COUNT_OF(followed)];
    struct loop_timer timer;
    struct map known; /* by domain: struct known */
    uint64_t look;
    bool autocreate, again;
};

/* ---- what a mapping finds ---- */

static json_t *tree_of(bool found, const struct catalog_item *i)
{
    return found ? json_loads(catalog_item_text(i), 0, NULL) : NULL;
}

static bool autocreate_of(const struct domains *d)
{
    struct catalog_item item;
    bool found = registry_find(d->registry, REGISTRY_CONFIGMAPS, "knative-serving", "config-network", &item);
    AUTO_JSON json_t *map = tree_of(found, &item);
    const char *text = json_text_key(map, "data", "autocreate-cluster-domain-claims");
    return text && strcmp(text, "true") == 0;
}

struct finding {
    struct status_domain status;
    char claim_text[OBJECT_NAME_MAX + 128], resolve_text[2 * OBJECT_NAME_MAX + 160];
};

static void claim_make(struct domains *d, const struct catalog_item *mapping)
{
    AUTO_JSON json_t *claim = json_pack("{s:{s:s},s:{s:s}}", "metadata", "name", mapping->name, "spec", "namespace",
                                        mapping->ns);
    d->again |= !registry_put(d->registry, REGISTRY_DOMAINCLAIMS, "", mapping->name, claim);
}

static void claim_look(struct domains *d, const struct catalog_item *mapping, struct finding *f)
{
    struct catalog_item item;
    bool found = registry_find(d->registry, REGISTRY_DOMAINCLAIMS, "", mapping->name, &item);
    AUTO_JSON json_t *claim = tree_of(found, &item);
    const char *ns = json_text_at(claim, "spec.namespace");
    if (ns && strcmp(ns, mapping->ns) == 0) {
        f->status.claimed = STATUS_TRUE;
        return;
    }
    f->status.claim_message = f->claim_text;
    if (ns) {
        f->status.claimed = STATUS_FALSE;
        f->status.claim_reason = "DomainAlreadyClaimed";
        (void)snprintf(f->claim_text, sizeof f->claim_text,
                       "The domain name is already in use by another DomainMapping");
    } else if (d->autocreate) {
        f->status.claimed = STATUS_UNKNOWN;
        f->status.claim_reason = "DomainClaimPending";
        (void)snprintf(f->claim_text, sizeof f->claim_text, "a ClusterDomainClaim is being made");
        claim_make(d, mapping);
    } else {
        f->status.claimed = STATUS_FALSE;
        f->status.claim_reason = "DomainClaimFailed";
        (void)snprintf(f->claim_text, sizeof f->claim_text, "no ClusterDomainClaim found for domain \"%s\"",
                       mapping->name);
    }
}

/* The Route is there as soon as its Service is. */
static void resolve_look(const struct domains *d, const json_t *object, const char *ns, struct finding *f)
{
    const char *kind = json_text_at(object, "spec.ref.kind"), *name = json_text_at(object, "spec.ref.name");
    struct catalog_item item;
    bool service = strcmp(kind, "Service") == 0;
    bool found = catalog_find(d->catalog, service ? CATALOG_SERVICES : CATALOG_ROUTES, ns, name, &item) ||
                 (!service && registry_find(d->registry, REGISTRY_ROUTES, ns, name, &item));
    AUTO_JSON json_t *target = tree_of(found, &item);
    f->status.resolved = found && !service_cluster_local(target) ? STATUS_TRUE : STATUS_FALSE;
    if (f->status.resolved == STATUS_TRUE)
        return;
    f->status.resolve_reason = "ResolveFailed";
    f->status.resolve_message = f->resolve_text;
    const char *plural = service ? "services" : "routes";
    if (!found)
        (void)snprintf(f->resolve_text, sizeof f->resolve_text,
                       "failed to get object %s/%.250s: %s." SERVING_GROUP " \"%.250s\" not found", ns, name, plural,
                       name);
    else
        (void)snprintf(f->resolve_text, sizeof f->resolve_text,
                       "%s \"%.250s\" is cluster-local: a domain would make it public; take away its label "
                       SERVICE_VISIBILITY " first",
                       kind, name);
}

/* ---- one look at all of them ---- */

static void leads_to(struct domains *d, const struct catalog_item *mapping, const char *route)
{
    struct known *k = map_find(&d->known, str_of(mapping->name));
    bool same = k && strcmp(k->ns, mapping->ns) == 0 && strcmp(k->route, route) == 0;
    if (!k) {
        k = xcalloc(1, sizeof *k);
        map_put(&d->known, str_of(mapping->name), k);
    }
    k->seen = d->look;
    if (same)
        return;
    (void)snprintf(k->ns, sizeof k->ns, "%s", mapping->ns);
    (void)snprintf(k->route, sizeof k->route, "%s", route);
    d->observer->on_domain(d->ctx, mapping->name, mapping->ns, route);
}

static json_t *status_of(const struct domains *d, const struct catalog_item *mapping, const json_t *object,
                         struct finding *f)
{
    AUTO_FREE char *url = xasprintf("http://%s%s", mapping->name, d->port);
    f->status.url = url;
    f->status.generation = json_int_at(object, "metadata.generation", 1);
    return status_of_domain(&f->status, json_object_get(object, "status"), loop_wall_ms());
}

struct change { /* taken while walking: the walk must not change what it walks over */
    struct list_node node;
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX];
    json_t *status;
};
struct walk {
    struct domains *d;
    struct list changes;
};

static bool on_mapping(void *ctx, const struct catalog_item *i)
{
    struct walk *w = ctx;
    struct domains *d = w->d;
    struct finding f = { .status = { .url = NULL } };
    AUTO_JSON json_t *object = json_loads(catalog_item_text(i), 0, NULL);
    claim_look(d, i, &f);
    resolve_look(d, object, i->ns, &f);
    if (f.status.claimed == STATUS_TRUE && f.status.resolved == STATUS_TRUE)
        leads_to(d, i, json_text_at(object, "spec.ref.name"));
    AUTO_JSON json_t *status = status_of(d, i, object, &f);
    if (json_equal(status, json_object_get(object, "status")))
        return true;
    struct change *c = xcalloc(1, sizeof *c);
    (void)snprintf(c->ns, sizeof c->ns, "%s", i->ns);
    (void)snprintf(c->name, sizeof c->name, "%s", i->name);
    c->status = TAKE(status);
    list_push(&w->changes, &c->node);
    return true;
}

static void changes_write(struct domains *d, struct list *changes)
{
    LIST_EACH(changes, n, tmp) {
        struct change *c = CONTAINER_OF(n, struct change, node);
        d->again |= !registry_status_put(d->registry, REGISTRY_DOMAINMAPPINGS, c->ns, c->name, TAKE(c->status));
        list_remove(changes, n);
        free(c);
    }
}

/* A claim that may have been made for it goes with it, as long as they are made. */
static void claim_drop(struct domains *d, const char *domain, const char *ns)
{
    struct catalog_item item;
    if (!d->autocreate || registry_find(d->registry, REGISTRY_DOMAINMAPPINGS, ns, domain, &item))
        return;
    bool found = registry_find(d->registry, REGISTRY_DOMAINCLAIMS, "", domain, &item);
    AUTO_JSON json_t *claim = tree_of(found, &item);
    const char *whose = json_text_at(claim, "spec.namespace");
    if (whose && strcmp(whose, ns) == 0)
        d->again |= !registry_put(d->registry, REGISTRY_DOMAINCLAIMS, "", domain, NULL);
}

static void forget_unseen(struct domains *d)
{
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&d->known, &at)) != NULL;) {
        struct known *k = s->value;
        if (k->seen == d->look)
            continue;
        AUTO_FREE char *domain = xstrndup(s->key, s->key_size);
        (void)map_remove(&d->known, str_of(domain));
        d->observer->on_domain(d->ctx, domain, k->ns, NULL);
        claim_drop(d, domain, k->ns);
        free(k);
        at = 0; /* what was removed may have moved others */
    }
}

static void look(struct domains *d)
{
    struct walk w = { .d = d };
    list_init(&w.changes);
    d->look++;
    d->again = false;
    d->autocreate = autocreate_of(d);
    registry_each(d->registry, REGISTRY_DOMAINMAPPINGS, NULL, on_mapping, &w);
    changes_write(d, &w.changes);
    forget_unseen(d);
    if (d->again)
        loop_after(d->loop, &d->timer, AGAIN_US);
}

/* ---- its turns ---- */

/* Whether anything happened that matters here; the cursors go on. */
static bool anything_new(struct domains *d)
{
    bool any = false;
    struct watchlog *log = catalog_log(d->catalog);
    for (size_t k = 0; k < COUNT_OF(followed); k++) {
        const struct watch_filter filter = { .kind = followed[k] };
        struct watch_event event;
        enum watch_verdict v;
        while ((v = watchlog_next(log, &d->cursors[k], &filter, &event)) == WATCH_EVENT)
            any = true;
        if (v == WATCH_TOO_OLD) {
            (void)watchlog_seek(log, watchlog_version(log), &d->cursors[k]);
            any = true;
        }
    }
    return any;
}

static void on_timer(struct loop_timer *t)
{
    struct domains *d = CONTAINER_OF(t, struct domains, timer);
    bool idle = registry_count(d->registry, REGISTRY_DOMAINMAPPINGS) == 0 && d->known.count == 0;
    if ((anything_new(d) || d->again) && !idle)
        look(d);
}

static void on_change(struct watch_listener *l)
{
    struct domains *d = CONTAINER_OF(l, struct domains, listener);
    if (!heap_node_linked(&d->timer.node))
        loop_after(d->loop, &d->timer, BEHIND_US);
}

struct domains *domains_new(struct loop *l, struct catalog *c, struct registry *g, const char *ingress,
                            const struct domains_observer *observer, void *ctx)
{
    const char *port = strrchr(ingress, ':');
    struct domains *d = xcalloc(1, sizeof *d);
    *d = (struct domains){ .loop = l, .catalog = c, .registry = g, .observer = observer, .ctx = ctx };
    (void)snprintf(d->port, sizeof d->port, "%s", port && strcmp(port, ":80") != 0 ? port : "");
    d->listener.on_change = on_change;
    d->timer.on_due = on_timer;
    map_init(&d->known, (uint64_t)(uintptr_t)d);
    for (size_t k = 0; k < COUNT_OF(followed); k++)
        (void)watchlog_seek(catalog_log(c), watchlog_version(catalog_log(c)), &d->cursors[k]);
    watchlog_listen(catalog_log(c), &d->listener);
    look(d);
    return d;
}

void domains_free(struct domains *d)
{
    const struct map_slot *s;
    if (!d)
        return;
    watchlog_unlisten(catalog_log(d->catalog), &d->listener);
    loop_cancel(d->loop, &d->timer);
    for (uint32_t at = 0; (s = map_next(&d->known, &at)) != NULL;)
        free(s->value);
    map_done(&d->known);
    free(d);
}
