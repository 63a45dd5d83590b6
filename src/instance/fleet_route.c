#include "instance/fleet_impl.h"

#include <stdlib.h>

enum { NAME_OWN, NAME_CLUSTER, NAMES };
_Static_assert(NAMES == COUNT_OF(((struct fleet_host *)0)->names), "one name of each kind");

/* ---- names ---- */

static void name_release(struct fleet_host *h, size_t k)
{
    if (!h->names[k])
        return;
    (void)map_remove(&h->target->fleet->by_host, str_of(h->names[k]));
    free(TAKE(h->names[k]));
}

/* A service's own name goes before a tag of another one; of two tags the first stays. Who lost gets it back from
 * fleet_route_regain(). */
static void name_claim(struct fleet_host *h, size_t k, char *take_name)
{
    struct fleet *f = h->target->fleet;
    struct fleet_host *other = map_find(&f->by_host, str_of(take_name));
    f->names_lost |= other != NULL;
    if (other && h->tag[0]) {
        free(take_name);
        return;
    }
    if (other) {
        ASSERT(other->tag[0]); /* own names are as different as the services are */
        name_release(other, k);
    }
    h->names[k] = take_name;
    map_put(&f->by_host, str_of(take_name), h);
}

static void host_name(struct fleet_host *h)
{
    const struct target *t = h->target;
    const char *name = strchr(t->key, '/') + 1, *dash = h->tag[0] ? "-" : "";
    int ns_size = (int)(name - 1 - t->key);
    if (!t->cluster_local && !h->names[NAME_OWN])
        name_claim(h, NAME_OWN, xasprintf("%s%s%s.%.*s.localhost", h->tag, dash, name, ns_size, t->key));
    if (!h->names[NAME_CLUSTER])
        name_claim(h, NAME_CLUSTER, xasprintf("%s%s%s.%.*s.svc.cluster.local", h->tag, dash, name, ns_size, t->key));
}

void fleet_route_clear(struct target *t)
{
    for (uint32_t i = 0; i < t->host_count; i++) {
        struct fleet_host *h = &t->hosts[i];
        for (size_t k = 0; k < NAMES; k++)
            name_release(h, k);
        for (uint32_t k = 0; k < h->count; k++)
            h->picks[k].rev->picks--;
        free(h->picks);
    }
    free(TAKE(t->hosts));
    t->host_count = 0;
}

void fleet_route_regain(struct fleet *f)
{
    const struct map_slot *s;
    if (!f->names_lost)
        return;
    f->names_lost = false;
    for (uint32_t at = 0; (s = map_next(&f->by_key, &at)) != NULL;) {
        const struct target *t = s->value;
        for (uint32_t i = 1; i < t->host_count; i++)
            host_name(&t->hosts[i]);
    }
}

/* ---- weights ---- */

/* Nearly always the target's own; a Route that is nobody's may name those of any Configuration. */
static struct rev *rev_named(const struct target *t, const char *ns, const char *name)
{
    struct rev *v = fleet_rev(t, name);
    const struct map_slot *s;
    for (uint32_t at = 0; !v && (s = map_next(&t->fleet->by_key, &at)) != NULL;) {
        struct rev *other = fleet_rev(s->value, name);
        v = other && strcmp(other->spec->ns, ns) == 0 ? other : NULL;
    }
    return v;
}

static void host_set(struct fleet_host *h, struct target *t, const char *ns, const struct route_host *from)
{
    *h = (struct fleet_host){ .target = t };
    memcpy(h->tag, from->tag, sizeof h->tag);
    h->picks = xcalloc(MAX(1, from->count), sizeof *h->picks);
    for (uint32_t i = 0; i < from->count; i++) {
        struct rev *v = rev_named(t, ns, from->shares[i].revision);
        if (!v)
            continue;
        v->picks++;
        h->picks[h->count++] = (struct fleet_pick){ v, from->shares[i].weight };
    }
}

/* Whoever has most; of equals the newest. */
static void serving_set(struct target *t)
{
    const struct fleet_host *own = &t->hosts[0];
    const struct fleet_pick *most = NULL;
    for (uint32_t i = 0; i < own->count; i++) {
        const struct fleet_pick *p = &own->picks[i];
        if (p->rev->target != t)
            continue;
        if (!most || p->weight > most->weight ||
            (p->weight == most->weight && p->rev->spec->generation > most->rev->spec->generation))
            most = p;
    }
    if (most)
        t->serving = most->rev;
}

void fleet_route_set(struct fleet *f, const struct route_table *table)
{
    route_table_check(table);
    struct target *t = fleet_target_make(f, table->ns, table->name);
    fleet_route_clear(t);
    t->cluster_local = table->cluster_local;
    t->hosts = xcalloc(table->count, sizeof *t->hosts);
    t->host_count = table->count;
    for (uint32_t i = 0; i < table->count; i++) {
        host_set(&t->hosts[i], t, table->ns, &table->hosts[i]);
        host_name(&t->hosts[i]);
    }
    fleet_route_regain(f);
    struct rev *before = t->serving;
    serving_set(t);
    if (before && before != t->serving) { /* the tasks that wait are another's now */
        fleet_evaluate_soon(before);
        fleet_evaluate_soon(t->serving);
    }
    fleet_route_check(t);
}

void fleet_route_remove(struct fleet *f, const char *ns, const char *service)
{
    struct target *t = fleet_target(f, ns, service);
    if (!t)
        return;
    fleet_route_clear(t);
    fleet_route_regain(f);
    fleet_target_gone_if_empty(t);
}

static void target_forget(struct target *t, const struct rev *v)
{
    for (uint32_t i = 0; i < t->host_count; i++) {
        struct fleet_host *h = &t->hosts[i];
        for (uint32_t k = h->count; k-- > 0;)
            if (h->picks[k].rev == v) {
                h->picks[k].rev->picks--;
                h->picks[k] = h->picks[--h->count];
            }
    }
}

void fleet_route_forget(const struct rev *v)
{
    struct target *t = v->target;
    const struct map_slot *s;
    target_forget(t, v);
    for (uint32_t at = 0; v->picks > 0 && (s = map_next(&t->fleet->by_key, &at)) != NULL;)
        target_forget(s->value, v);
    ASSERT(v->picks == 0);
    if (t->serving == v)
        t->serving = t->revs.count ? CONTAINER_OF(t->revs.root.prev, struct rev, node) : NULL;
}

/* ---- domains ---- */

void fleet_domain_set(struct fleet *f, const char *domain, const char *ns, const char *route)
{
    fleet_domain_remove(f, domain);
    map_put(&f->by_domain, str_of(domain), xasprintf("%s.%s.svc.cluster.local", route, ns));
}

void fleet_domain_remove(struct fleet *f, const char *domain)
{
    free(map_remove(&f->by_domain, str_of(domain)));
}

void fleet_domains_done(struct fleet *f)
{
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&f->by_domain, &at)) != NULL;)
        free(s->value);
    map_done(&f->by_domain);
}

void fleet_route_check(const struct target *t)
{
    for (uint32_t i = 0; i < t->host_count; i++) {
        const struct fleet_host *h = &t->hosts[i];
        ASSERT(h->target == t && (i == 0) == !h->tag[0]);
        for (uint32_t k = 0; k < h->count; k++)
            ASSERT(h->picks[k].rev->picks > 0 && h->picks[k].weight > 0);
    }
}

/* ---- one request ---- */

static const struct fleet_host *tag_find(const struct target *t, struct str tag)
{
    for (uint32_t i = 1; tag.size > 0 && i < t->host_count; i++)
        if (str_is(tag, t->hosts[i].tag))
            return &t->hosts[i];
    return &t->hosts[0];
}

/* A domain leads where its Service's own name does. */
static const struct fleet_host *host_find(const struct fleet *f, struct str name)
{
    const struct fleet_host *h = map_find(&f->by_host, name);
    const char *leads_to = h ? NULL : map_find(&f->by_domain, name);
    return leads_to ? map_find(&f->by_host, str_of(leads_to)) : h;
}

struct rev *fleet_route_pick(struct fleet *f, const struct backend_ask *ask, struct backend_way *ret)
{
    const bool by_header = f->env.limits->feature_tag_header != 0;
    const struct fleet_host *h = host_find(f, ask->host);
    if (!h || (h->target->cluster_local && !ask->from_here))
        return NULL;
    if (!h->tag[0] && by_header)
        h = tag_find(h->target, ask->tag);
    *ret = (struct backend_way){ .tag = by_header ? str_of(h->tag) : STR(""), .default_route = by_header && !h->tag[0] };
    uint64_t total = 0;
    for (uint32_t i = 0; i < h->count; i++)
        total += h->picks[i].weight;
    if (h->count <= 1)
        return h->count ? h->picks[0].rev : NULL;
    uint64_t at = rng_below(&f->rng, total);
    uint32_t i = 0;
    while (at >= h->picks[i].weight)
        at -= h->picks[i++].weight;
    ASSERT(i < h->count);
    return h->picks[i].rev;
}
