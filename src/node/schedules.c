#include "node/schedules.h"
#include "base/map.h"
#include "codec/civil.h"

#include <stdio.h>
#include <stdlib.h>

enum { AGAIN_US = 200000, SPEC_BYTES_MAX = 1 << 20 };

struct found { /* a status that is not written yet */
    struct list_node node;
    char *key, *ns, *name; /* key: both */
    json_t *status;
};
struct schedules {
    struct loop *loop;
    struct registry *registry;
    struct watchlog *log;
    struct backend *functions;
    struct ticker *ticker; /* NULL: not begun */
    struct watch_listener listener;
    struct watch_cursor at;
    struct loop_task look, write;
    struct loop_timer again;
    struct list found; /* in order, and by their keys */
    struct map by_key;
    char host[300];
};

/* ---- what objects say ------------------------------------------------------------------------------------ */

static void put(struct schedules *s, const char *text, const char *ns, const char *name)
{
    AUTO_JSON json_t *object = json_loads(text, 0, NULL);
    const json_t *meta = json_at(object, "metadata");
    const char *uid = json_text_at(meta, "uid"), *trigger = json_text_key(meta, "annotations", PERIODIC_TRIGGER);
    struct buf spec;
    if (!uid || !json_at(object, "spec"))
        return;
    buf_init(&spec, SPEC_BYTES_MAX);
    json_write(json_at(object, "spec"), &spec);
    ticker_put(s->ticker, &(struct timetable_object){ .ns = str_of(ns), .name = str_of(name), .uid = str_of(uid),
                                                      .spec = buf_str(&spec), .trigger = str_of(trigger ? trigger : ""),
                                                      .generation = json_int_at(meta, "generation", 1) });
    buf_done(&spec);
}

static bool on_item(void *ctx, const struct catalog_item *i)
{
    put(ctx, catalog_item_text(i), i->ns, i->name);
    return true;
}

static void list_all(struct schedules *s)
{
    enum watch_verdict v = watchlog_seek(s->log, watchlog_version(s->log), &s->at);
    ASSERT(v == WATCH_NONE); /* nothing follows the last */
    registry_each(s->registry, REGISTRY_SCHEDULES, NULL, on_item, s);
}

static void drop(struct schedules *s, const char *text)
{
    AUTO_JSON json_t *object = json_loads(text, 0, NULL);
    const char *uid = json_text_at(json_at(object, "metadata"), "uid");
    if (uid)
        ticker_drop(s->ticker, str_of(uid));
}

static void on_look(struct loop_task *t)
{
    struct schedules *s = CONTAINER_OF(t, struct schedules, look);
    const struct watch_filter filter = { .kind = registry_kind_name(REGISTRY_SCHEDULES) };
    struct watch_event event;
    enum watch_verdict v;
    while ((v = watchlog_next(s->log, &s->at, &filter, &event)) == WATCH_EVENT) {
        if (event.type == WATCH_DELETED)
            drop(s, event.text);
        else
            put(s, event.text, event.ns, event.name);
    }
    if (v == WATCH_TOO_OLD)
        list_all(s);
}

static void on_change_logged(struct watch_listener *l)
{
    struct schedules *s = CONTAINER_OF(l, struct schedules, listener);
    if (s->ticker)
        loop_defer(s->loop, &s->look);
}

void schedules_begin(struct schedules *s, struct ticker *k)
{
    s->ticker = k;
    list_all(s);
}

/* ---- what the ticker asks -------------------------------------------------------------------------------------- */

/* By its name inside the cluster: a function that is not shown to the outside has a Schedule too. */
static void op_service(void *ctx, const char *ns, const char *service, const char *method, struct invocation_spec *into)
{
    struct schedules *s = ctx;
    struct target_policy policy = { 0 };
    struct backend_way way;
    struct invoke_policy p;
    invoke_read(NULL, &p); /* one that is not there (yet): the attempt says so */
    snprintf(s->host, sizeof s->host, "%.63s.%.63s.svc.cluster.local", service, ns);
    const struct backend_ask ask = { .host = str_of(s->host), .tag = STR(""), .from_here = true };
    const struct rev *v = s->functions->ops->route(s->functions, &ask, &way);
    if (v)
        s->functions->ops->policy(v, &policy);
    if (policy.invoke)
        p = *policy.invoke;
    into->host = str_of(s->host);
    into->safe = invoke_is_safe(&p, http_method_find(str_of(method)));
    into->attempts_max = p.attempts_max;
    into->backoff_ms = p.backoff_ms;
    into->backoff_max_ms = p.backoff_max_ms;
    into->retention_ms = p.retention_ms;
}

static bool op_exists(void *ctx, const char *ns, const char *name, const char *uid)
{
    struct schedules *s = ctx;
    struct catalog_item item;
    return registry_find(s->registry, REGISTRY_SCHEDULES, ns, name, &item) && strcmp(item.uid, uid) == 0;
}

/* ---- their status ------------------------------------------------------------------------------------------------- */

static void time_set(json_t *status, const char *member, int64_t ms)
{
    char text[CIVIL_TEXT];
    if (ms <= 0 || ms == INT64_MAX)
        return;
    civil_rfc3339_format(ms / 1000, 0, text);
    (void)json_object_set_new(status, member, json_string(text));
}

static json_t *status_of(const struct timetable_facts *f)
{
    char id[UUID_TEXT];
    json_t *status = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "observedGeneration", (json_int_t)f->generation, "active",
                               (json_int_t)f->active, "actions", (json_int_t)f->actions, "missed", (json_int_t)f->missed,
                               "skipped", (json_int_t)f->skipped, "dropped", (json_int_t)f->dropped);
    time_set(status, "lastScheduleTime", f->last_ms);
    time_set(status, "nextScheduleTime", f->next_ms);
    if (f->last_ms > 0) {
        uuid_format(&f->last_id, id);
        (void)json_object_set_new(status, "lastInvocation", json_string(id));
    }
    if (f->last_status > 0)
        (void)json_object_set_new(status, "lastStatus", json_string(invoked_status_name(f->last_status)));
    return status;
}

static void found_free(struct schedules *s, struct found *f)
{
    list_remove(&s->found, &f->node);
    (void)map_remove(&s->by_key, str_of(f->key));
    json_decref(f->status);
    free(f->key);
    free(f->ns);
    free(f->name);
    free(f);
}

static bool is_new(struct schedules *s, const struct found *f, bool *ret_there)
{
    struct catalog_item item;
    *ret_there = registry_find(s->registry, REGISTRY_SCHEDULES, f->ns, f->name, &item);
    AUTO_JSON json_t *object = *ret_there ? json_loads(catalog_item_text(&item), 0, NULL) : NULL;
    return object && !json_equal(json_at(object, "status"), f->status);
}

static void on_write(struct loop_task *t)
{
    struct schedules *s = CONTAINER_OF(t, struct schedules, write);
    bool left = false;
    LIST_EACH(&s->found, n, tmp) {
        struct found *f = CONTAINER_OF(n, struct found, node);
        bool there;
        if (is_new(s, f, &there) &&
            !registry_status_put(s->registry, REGISTRY_SCHEDULES, f->ns, f->name, json_incref(f->status)))
            left = true;
        else
            found_free(s, f);
    }
    if (left)
        loop_after(s->loop, &s->again, AGAIN_US);
}

static void on_again(struct loop_timer *t)
{
    struct schedules *s = CONTAINER_OF(t, struct schedules, again);
    loop_defer(s->loop, &s->write);
}

static struct found *found_of(struct schedules *s, const char *ns, const char *name)
{
    AUTO_FREE char *key = xasprintf("%s/%s", ns, name);
    struct found *f = map_find(&s->by_key, str_of(key));
    if (f)
        return f;
    f = xcalloc(1, sizeof *f);
    f->key = TAKE(key);
    f->ns = xstrdup(ns);
    f->name = xstrdup(name);
    list_push(&s->found, &f->node);
    map_put(&s->by_key, str_of(f->key), f);
    return f;
}

static void op_on_change(void *ctx, const struct timetable_facts *facts)
{
    struct schedules *s = ctx;
    if (!op_exists(s, facts->ns, facts->name, facts->uid))
        return;
    struct found *f = found_of(s, facts->ns, facts->name);
    json_decref(f->status);
    f->status = status_of(facts);
    loop_defer(s->loop, &s->write);
}

const struct ticker_ops schedules_ops = { op_service, op_exists, op_on_change };

/* ---- life ------------------------------------------------------------------------------------------------------------- */

struct schedules *schedules_new(struct loop *l, struct registry *g, struct watchlog *log, struct backend *functions,
                                uint64_t seed)
{
    struct schedules *s = xcalloc(1, sizeof *s);
    s->loop = l;
    s->registry = g;
    s->log = log;
    s->functions = functions;
    s->look.run = on_look;
    s->write.run = on_write;
    s->again.on_due = on_again;
    s->listener.on_change = on_change_logged;
    list_init(&s->found);
    map_init(&s->by_key, seed);
    watchlog_listen(log, &s->listener);
    return s;
}

void schedules_free(struct schedules *s)
{
    if (!s)
        return;
    watchlog_unlisten(s->log, &s->listener);
    loop_undefer(s->loop, &s->look);
    loop_undefer(s->loop, &s->write);
    loop_cancel(s->loop, &s->again);
    LIST_EACH(&s->found, n, tmp)
        found_free(s, CONTAINER_OF(n, struct found, node));
    map_done(&s->by_key);
    free(s);
}
