#include "api/kube_impl.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the core Service that Knative makes beside each Route ---- */

static char *view_text(const struct catalog_item *i)
{
    AUTO_JSON json_t *from = json_loads(catalog_item_text(i), 0, NULL);
    const char *url = json_text_at(from, "status.url");
    const char *host = url ? strstr(url, "://") : NULL;
    struct str rest = str_of(host ? host + 3 : "");
    struct str name = str_cut(&rest, ':');
    AUTO_FREE char *target = xstrndup(name.at, name.size);
    AUTO_JSON json_t *view = json_pack(
        "{s:s,s:s,s:{s:s,s:s,s:s?,s:s?,s:s?,s:{s:s,s:s*},s:O?,s:[{s:s,s:s,s:s,s:s?,s:b,s:b}]},s:{s:s,s:s,s:s,"
        "s:[{s:s,s:i,s:i,s:s}]},s:{s:{}}}",
        "apiVersion", "v1", "kind", "Service", "metadata", "name", i->name, "namespace", i->ns, "uid",
        json_text_at(from, "metadata.uid"), "creationTimestamp", json_text_at(from, "metadata.creationTimestamp"),
        "resourceVersion", json_text_at(from, "metadata.resourceVersion"), "labels", SERVING_GROUP "/route",
        i->name, SERVING_GROUP "/service", json_text_key(from, "metadata.labels", SERVING_GROUP "/service"), "annotations", json_at(from, "metadata.annotations"),
        "ownerReferences", "apiVersion", SERVING_API_VERSION, "kind", "Route", "name", i->name, "uid",
        json_text_at(from, "metadata.uid"), "controller", 1, "blockOwnerDeletion", 1, "spec", "type",
        "ExternalName", "externalName", target, "sessionAffinity", "None", "ports", "name", "http", "port", 80,
        "targetPort", 80, "protocol", "TCP", "status", "loadBalancer");
    struct buf b;
    buf_init(&b, SIZE_MAX / 4);
    json_write(view, &b);
    return buf_take_text(&b);
}

struct viewing {
    bool (*on_item)(void *ctx, const struct catalog_item *i);
    void *ctx;
};

static bool view_item(void *ctx, const struct catalog_item *i)
{
    const struct viewing *v = ctx;
    struct catalog_item item = *i;
    AUTO_FREE char *text = view_text(i);
    item.plain = text;
    return v->on_item(v->ctx, &item);
}

/* ---- Routes: a Service's are the catalog's, others the registry's ---- */

static bool is_route(const struct kube_resource *r) { return r->source == KUBE_FROM_CATALOG && r->kind == CATALOG_ROUTES; }

struct merging { /* both are in order; of the registry's only the names are kept meanwhile */
    const struct kube *k;
    struct viewing to;
    char (*rows)[OBJECT_NS_MAX + OBJECT_NAME_MAX];
    size_t count, next;
    bool over;
};

static bool on_own_name(void *ctx, const struct catalog_item *i)
{
    struct merging *m = ctx;
    m->rows = xrealloc(m->rows, m->count + 1, sizeof *m->rows);
    (void)snprintf(m->rows[m->count++], sizeof *m->rows, "%s/%s", i->ns, i->name);
    return true;
}

/* Those that come before ns and name; NULL: all that are left. */
static bool own_until(struct merging *m, const char *ns, const char *name)
{
    struct catalog_item item;
    while (!m->over && m->next < m->count) {
        char *own = m->rows[m->next], *slash = strchr(own, '/');
        *slash = '\0';
        int order = ns ? strcmp(own, ns) : -1;
        if (order == 0)
            order = strcmp(slash + 1, name);
        if (order < 0 && registry_find(m->k->s.registry, REGISTRY_ROUTES, own, slash + 1, &item))
            m->over = !m->to.on_item(m->to.ctx, &item);
        *slash = '/';
        if (order >= 0)
            break;
        m->next++;
    }
    return !m->over;
}

static bool on_catalog_route(void *ctx, const struct catalog_item *i)
{
    struct merging *m = ctx;
    if (own_until(m, i->ns, i->name))
        m->over = !m->to.on_item(m->to.ctx, i);
    return !m->over;
}

static void routes_each(const struct kube *k, const char *ns, bool (*on_item)(void *ctx, const struct catalog_item *i),
                        void *ctx)
{
    struct merging m = { .k = k, .to = { on_item, ctx } };
    registry_each(k->s.registry, REGISTRY_ROUTES, ns, on_own_name, &m);
    catalog_each(k->s.catalog, CATALOG_ROUTES, ns, on_catalog_route, &m);
    (void)own_until(&m, NULL, NULL);
    free(m.rows);
}

/* < 0: it is a Service's. */
static int route_submit(struct kube *k, struct catalog_request *q, struct err *e)
{
    struct catalog_item item;
    const char *name = q->verb == CATALOG_CREATE ? json_text_at(q->take_body, "metadata.name") : q->name;
    if (name && catalog_find(k->s.catalog, CATALOG_ROUTES, q->ns, name, &item))
        return q->verb == CATALOG_CREATE
                   ? err_set(e, CODE_EXISTS, "%s/%.200s: there is one", q->ns, name)
                   : err_set(e, CODE_DENIED,
                             "it belongs to Service \"%.200s\" and follows it: change or delete the Service", name);
    registry_submit(k->s.registry, REGISTRY_ROUTES, q);
    return 0;
}

/* ---- whose objects they are ---- */

bool kube_find(const struct kube *k, const struct kube_resource *r, const char *ns, const char *name,
               bool (*on_item)(void *ctx, const struct catalog_item *i), void *ctx)
{
    struct catalog_item item;
    struct viewing v = { on_item, ctx };
    bool view = r->source == KUBE_FROM_VIEW;
    enum catalog_kind kind = view ? CATALOG_ROUTES : (enum catalog_kind)r->kind;
    if (r->source == KUBE_FROM_REGISTRY ? !registry_find(k->s.registry, r->kind, ns, name, &item)
                                        : !catalog_find(k->s.catalog, kind, ns, name, &item)) {
        if (!(is_route(r) || view) || !registry_find(k->s.registry, REGISTRY_ROUTES, ns, name, &item))
            return false;
    }
    (void)(view ? view_item(&v, &item) : on_item(ctx, &item));
    return true;
}

void kube_each(const struct kube *k, const struct kube_resource *r, const char *ns,
               bool (*on_item)(void *ctx, const struct catalog_item *i), void *ctx)
{
    struct viewing v = { on_item, ctx };
    if (r->source == KUBE_FROM_REGISTRY)
        registry_each(k->s.registry, r->kind, ns, on_item, ctx);
    else if (r->source == KUBE_FROM_VIEW)
        routes_each(k, ns, view_item, &v);
    else if (is_route(r))
        routes_each(k, ns, on_item, ctx);
    else
        catalog_each(k->s.catalog, r->kind, ns, on_item, ctx);
}

int kube_submit(struct kube *k, const struct kube_resource *r, struct catalog_request *q, bool makes,
                struct err *e)
{
    ASSERT(r->source != KUBE_FROM_VIEW); /* it has no such verbs */
    if (r->source == KUBE_FROM_REGISTRY) {
        registry_submit(k->s.registry, r->kind, q);
        return 0;
    }
    if (is_route(r))
        return route_submit(k, q, e);
    q->kind = r->kind;
    int result = makes && !q->dry_run ? registry_namespace_use(k->s.registry, q->ns, e) : 0;
    if (result == 0)
        catalog_submit(k->s.catalog, q);
    return result;
}
