#include "api/kube_impl.h"

bool kube_find(const struct kube *k, const struct kube_resource *r, const char *ns, const char *name,
               struct catalog_item *ret)
{
    return catalog_find(k->s.catalog, r->kind, ns, name, ret);
}

void kube_each(const struct kube *k, const struct kube_resource *r, const char *ns,
               bool (*on_item)(void *ctx, const struct catalog_item *i), void *ctx)
{
    catalog_each(k->s.catalog, r->kind, ns, on_item, ctx);
}

void kube_submit(struct kube *k, const struct kube_resource *r, struct catalog_request *q)
{
    (void)r;
    catalog_submit(k->s.catalog, q);
}
