#include "api/kube_impl.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the core Service that Knative makes beside each of its own ---- */

static char *view_text(const struct catalog_item *i)
{
    AUTO_JSON json_t *from = json_loads(catalog_item_text(i), 0, NULL);
    const char *url = json_text_at(from, "status.url");
    const char *host = url ? strstr(url, "://") : NULL;
    struct str rest = str_of(host ? host + 3 : "");
    struct str name = str_cut(&rest, ':');
    AUTO_FREE char *target = xstrndup(name.at, name.size);
    AUTO_JSON json_t *view = json_pack(
        "{s:s,s:s,s:{s:s,s:s,s:s?,s:s?,s:s?,s:{s:s,s:s},s:O?,s:[{s:s,s:s,s:s,s:s?,s:b,s:b}]},s:{s:s,s:s,s:s,"
        "s:[{s:s,s:i,s:i,s:s}]},s:{s:{}}}",
        "apiVersion", "v1", "kind", "Service", "metadata", "name", i->name, "namespace", i->ns, "uid",
        json_text_at(from, "metadata.uid"), "creationTimestamp", json_text_at(from, "metadata.creationTimestamp"),
        "resourceVersion", json_text_at(from, "metadata.resourceVersion"), "labels", SERVING_GROUP "/service",
        i->name, SERVING_GROUP "/route", i->name, "annotations", json_at(from, "metadata.annotations"),
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

/* ---- whose objects they are ---- */

bool kube_find(const struct kube *k, const struct kube_resource *r, const char *ns, const char *name,
               bool (*on_item)(void *ctx, const struct catalog_item *i), void *ctx)
{
    struct catalog_item item;
    struct viewing v = { on_item, ctx };
    if (r->source == KUBE_FROM_REGISTRY ? !registry_find(k->s.registry, r->kind, ns, name, &item)
                                        : !catalog_find(k->s.catalog, r->kind, ns, name, &item))
        return false;
    (void)(r->source == KUBE_FROM_VIEW ? view_item(&v, &item) : on_item(ctx, &item));
    return true;
}

void kube_each(const struct kube *k, const struct kube_resource *r, const char *ns,
               bool (*on_item)(void *ctx, const struct catalog_item *i), void *ctx)
{
    struct viewing v = { on_item, ctx };
    if (r->source == KUBE_FROM_REGISTRY)
        registry_each(k->s.registry, r->kind, ns, on_item, ctx);
    else if (r->source == KUBE_FROM_VIEW)
        catalog_each(k->s.catalog, r->kind, ns, view_item, &v);
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
    int result = makes && !q->dry_run ? registry_namespace_use(k->s.registry, q->ns, e) : 0;
    if (result == 0)
        catalog_submit(k->s.catalog, q);
    return result;
}
