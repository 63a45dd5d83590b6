#include "serving/routes.h"

#include <stdio.h>
#include <stdlib.h>

enum { AGAIN_US = 200000 /* until what was refused is tried again */ };

static const char *const followed[] = { "routes", "services", "configurations", "revisions" };

struct told { /* a Route that the catalog knows of */
    struct list_node node;
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX];
    bool seen;
};

struct routes {
    struct loop *loop;
    struct catalog *catalog;
    struct registry *registry;
    struct watch_listener listener;
    struct watch_cursor cursors[COUNT_OF(followed)];
    struct loop_task task;
    struct loop_timer timer; /* the next step of a rollout, or another try */
    struct list told;
};

/* ---- one look at all of them ---- */

struct asked { /* taken while walking: the walk must not change what it walks over */
    struct list_node node;
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX];
    json_t *object;
};

static bool on_route(void *ctx, const struct catalog_item *i)
{
    struct list *all = ctx;
    struct asked *a = xcalloc(1, sizeof *a);
    (void)snprintf(a->ns, sizeof a->ns, "%s", i->ns);
    (void)snprintf(a->name, sizeof a->name, "%s", i->name);
    a->object = json_loads(catalog_item_text(i), 0, NULL);
    list_push(all, &a->node);
    return true;
}

static void mark_told(struct routes *r, const struct asked *a)
{
    LIST_EACH(&r->told, n, tmp) {
        struct told *t = CONTAINER_OF(n, struct told, node);
        if (strcmp(t->ns, a->ns) == 0 && strcmp(t->name, a->name) == 0) {
            t->seen = true;
            return;
        }
    }
    struct told *t = xcalloc(1, sizeof *t);
    (void)snprintf(t->ns, sizeof t->ns, "%s", a->ns);
    (void)snprintf(t->name, sizeof t->name, "%s", a->name);
    t->seen = true;
    list_push(&r->told, &t->node);
}

static void forget_gone(struct routes *r)
{
    int64_t ignored;
    LIST_EACH(&r->told, n, tmp) {
        struct told *t = CONTAINER_OF(n, struct told, node);
        if (!t->seen) {
            list_remove(&r->told, n);
            (void)catalog_outside_set(r->catalog, t->ns, t->name, NULL, &ignored);
            free(t);
        } else {
            t->seen = false;
        }
    }
}

/* The moment to look again; 0: when something changes. */
static int64_t tell(struct routes *r, const struct asked *a)
{
    int64_t next_ms;
    AUTO_JSON json_t *status = catalog_outside_set(r->catalog, a->ns, a->name, a->object, &next_ms);
    if (json_equal(status, json_object_get(a->object, "status")) ||
        registry_status_put(r->registry, REGISTRY_ROUTES, a->ns, a->name, TAKE(status)))
        return next_ms;
    int64_t again_ms = loop_wall_ms() + AGAIN_US / 1000;
    return next_ms ? MIN(next_ms, again_ms) : again_ms;
}

static void look(struct routes *r)
{
    struct list all;
    int64_t first_ms = INT64_MAX;
    list_init(&all);
    registry_each(r->registry, REGISTRY_ROUTES, NULL, on_route, &all);
    LIST_EACH(&all, n, tmp) {
        struct asked *a = CONTAINER_OF(n, struct asked, node);
        int64_t next_ms = tell(r, a);
        mark_told(r, a);
        first_ms = next_ms ? MIN(first_ms, next_ms) : first_ms;
        list_remove(&all, n);
        json_decref(a->object);
        free(a);
    }
    forget_gone(r);
    loop_cancel(r->loop, &r->timer);
    if (first_ms < INT64_MAX)
        loop_after(r->loop, &r->timer, (uint64_t)MAX(INT64_C(1), first_ms - loop_wall_ms()) * 1000);
}

/* ---- its turns ---- */

/* Whether anything happened that matters here; the cursors go on. */
static bool anything_new(struct routes *r)
{
    bool any = false;
    struct watchlog *log = catalog_log(r->catalog);
    for (size_t k = 0; k < COUNT_OF(followed); k++) {
        const struct watch_filter filter = { .kind = followed[k] };
        struct watch_event event;
        enum watch_verdict v;
        while ((v = watchlog_next(log, &r->cursors[k], &filter, &event)) == WATCH_EVENT)
            any = true;
        if (v == WATCH_TOO_OLD) {
            (void)watchlog_seek(log, watchlog_version(log), &r->cursors[k]);
            any = true;
        }
    }
    return any;
}

static void on_task(struct loop_task *t)
{
    struct routes *r = CONTAINER_OF(t, struct routes, task);
    bool idle = registry_count(r->registry, REGISTRY_ROUTES) == 0 && r->told.count == 0;
    if (anything_new(r) && !idle)
        look(r);
}

static void on_timer(struct loop_timer *t) { look(CONTAINER_OF(t, struct routes, timer)); }

static void on_change(struct watch_listener *l)
{
    struct routes *r = CONTAINER_OF(l, struct routes, listener);
    if (registry_count(r->registry, REGISTRY_ROUTES) > 0 || r->told.count > 0)
        loop_defer(r->loop, &r->task);
}

struct routes *routes_new(struct loop *l, struct catalog *c, struct registry *g)
{
    struct routes *r = xcalloc(1, sizeof *r);
    *r = (struct routes){ .loop = l, .catalog = c, .registry = g };
    r->listener.on_change = on_change;
    r->task.run = on_task;
    r->timer.on_due = on_timer;
    list_init(&r->told);
    for (size_t k = 0; k < COUNT_OF(followed); k++)
        (void)watchlog_seek(catalog_log(c), watchlog_version(catalog_log(c)), &r->cursors[k]);
    watchlog_listen(catalog_log(c), &r->listener);
    look(r);
    return r;
}

void routes_free(struct routes *r)
{
    if (!r)
        return;
    watchlog_unlisten(catalog_log(r->catalog), &r->listener);
    loop_undefer(r->loop, &r->task);
    loop_cancel(r->loop, &r->timer);
    LIST_EACH(&r->told, n, tmp) {
        list_remove(&r->told, n);
        free(CONTAINER_OF(n, struct told, node));
    }
    free(r);
}
