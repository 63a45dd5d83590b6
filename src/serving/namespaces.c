#include "serving/namespaces.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    AGAIN_US = 200000, /* until what was refused is tried again */
    AT_ONCE = 32,      /* deletions of Services under way */
};

struct namespaces {
    struct loop *loop;
    struct catalog *catalog;
    struct registry *registry;
    struct watch_listener listener;
    struct loop_task task;
    struct loop_timer again;
    struct list deletions; /* of Services, with the catalog */
};

struct deletion {
    struct catalog_request q;
    struct list_node node;
    struct namespaces *owner; /* NULL: it is gone */
};

static void on_deleted(struct catalog_request *q, int r, const struct catalog_item *item, const struct err *e)
{
    struct deletion *d = CONTAINER_OF(q, struct deletion, q);
    (void)r, (void)item, (void)e; /* what is still there is seen the next time */
    if (d->owner) {
        list_remove(&d->owner->deletions, &d->node);
        loop_after(d->owner->loop, &d->owner->again, r < 0 ? AGAIN_US : 0);
    }
    free(d);
}

static bool under_way(const struct namespaces *n, const struct catalog_item *i)
{
    LIST_EACH(&n->deletions, at, tmp) {
        const struct deletion *d = CONTAINER_OF(at, struct deletion, node);
        if (strcmp(d->q.ns, i->ns) == 0 && strcmp(d->q.name, i->name) == 0)
            return true;
    }
    return false;
}

struct names { /* taken while walking, as the walk must not change what it walks over */
    struct namespaces *owner;
    char (*rows)[OBJECT_NAME_MAX];
    size_t count, max;
    bool any;
};

static bool on_service(void *ctx, const struct catalog_item *i)
{
    struct names *x = ctx;
    x->any = true;
    if (!under_way(x->owner, i) && x->count < x->max)
        (void)snprintf(x->rows[x->count++], OBJECT_NAME_MAX, "%s", i->name);
    return x->count < x->max;
}

static bool on_object(void *ctx, const struct catalog_item *i)
{
    struct names *x = ctx;
    x->any = true;
    (void)snprintf(x->rows[x->count++], OBJECT_NAME_MAX, "%s", i->name);
    return x->count < x->max;
}

static void service_delete(struct namespaces *n, enum catalog_kind kind, const char *ns, const char *name)
{
    struct deletion *d = xcalloc(1, sizeof *d);
    d->owner = n;
    d->q.verb = CATALOG_DELETE;
    d->q.kind = kind;
    d->q.user = "system:namespace-controller";
    d->q.on_done = on_deleted;
    (void)snprintf(d->q.ns, sizeof d->q.ns, "%s", ns);
    (void)snprintf(d->q.name, sizeof d->q.name, "%.*s", (int)sizeof d->q.name - 1, name);
    list_push(&n->deletions, &d->node);
    catalog_submit(n->catalog, &d->q);
}

/* False: none is left. Configurations that are a Service's go with it. */
static bool deployed_delete(struct namespaces *n, enum catalog_kind kind, const char *ns)
{
    char rows[AT_ONCE][OBJECT_NAME_MAX];
    struct names names = { n, rows, 0, AT_ONCE - MIN(n->deletions.count, (uint32_t)AT_ONCE), false };
    if (names.max == 0)
        return true;
    catalog_each(n->catalog, kind, ns, on_service, &names);
    for (size_t i = 0; i < names.count; i++)
        service_delete(n, kind, ns, rows[i]);
    return names.any;
}

/* True: nothing is in it any more. */
static bool empty_out(struct namespaces *n, const char *ns)
{
    char rows[AT_ONCE][OBJECT_NAME_MAX];
    bool left = deployed_delete(n, CATALOG_SERVICES, ns) || deployed_delete(n, CATALOG_CONFIGURATIONS, ns);
    for (uint32_t kind = 0; kind < REGISTRY_KINDS; kind++) {
        struct names names = { n, rows, 0, AT_ONCE, false };
        if (kind == REGISTRY_NAMESPACES)
            continue;
        registry_each(n->registry, kind, ns, on_object, &names);
        for (size_t i = 0; i < names.count; i++)
            (void)registry_put(n->registry, kind, ns, rows[i], NULL);
        left |= names.any;
    }
    return !left;
}

struct ending {
    char rows[AT_ONCE][OBJECT_NAME_MAX];
    size_t count;
};

static bool on_namespace(void *ctx, const char *name)
{
    struct ending *x = ctx;
    (void)snprintf(x->rows[x->count++], OBJECT_NAME_MAX, "%s", name);
    return x->count < AT_ONCE;
}

static void look(struct namespaces *n)
{
    struct ending x = { .count = 0 };
    registry_terminating_each(n->registry, on_namespace, &x);
    for (size_t i = 0; i < x.count; i++)
        if (!empty_out(n, x.rows[i]) || !registry_put(n->registry, REGISTRY_NAMESPACES, "", x.rows[i], NULL))
            loop_after(n->loop, &n->again, AGAIN_US);
}

static void on_task(struct loop_task *t) { look(CONTAINER_OF(t, struct namespaces, task)); }
static void on_again(struct loop_timer *t) { look(CONTAINER_OF(t, struct namespaces, again)); }

static void on_change(struct watch_listener *l)
{
    struct namespaces *n = CONTAINER_OF(l, struct namespaces, listener);
    loop_defer(n->loop, &n->task);
}

struct namespaces *namespaces_new(struct loop *l, struct catalog *c, struct registry *g)
{
    struct namespaces *n = xcalloc(1, sizeof *n);
    n->loop = l;
    n->catalog = c;
    n->registry = g;
    n->listener.on_change = on_change;
    n->task.run = on_task;
    n->again.on_due = on_again;
    list_init(&n->deletions);
    watchlog_listen(catalog_log(c), &n->listener);
    loop_defer(l, &n->task);
    return n;
}

void namespaces_free(struct namespaces *n)
{
    if (!n)
        return;
    LIST_EACH(&n->deletions, at, tmp) {
        list_remove(&n->deletions, at);
        CONTAINER_OF(at, struct deletion, node)->owner = NULL;
    }
    watchlog_unlisten(catalog_log(n->catalog), &n->listener);
    loop_undefer(n->loop, &n->task);
    loop_cancel(n->loop, &n->again);
    free(n);
}
