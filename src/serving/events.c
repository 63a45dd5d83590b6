#include "serving/events.h"

#include "base/map.h"
#include "serving/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BEHIND_US = 300000, /* several changes make one turn of this */
    PER_TURN = 64,      /* events written before the loop goes on */
    SWEEP_US = 30 * 1000000,
    KEY_BYTES = OBJECT_NS_MAX + OBJECT_NAME_MAX + 16,
};

struct known { /* what was last seen of a Revision */
    char ready[8], reason[64];
    bool unlimited; /* its limits hold nobody */
    int64_t actual;
    char last_event[OBJECT_NAME_MAX]; /* name of the newest Event about it, and what it said */
    uint64_t last_hash;
};

struct events {
    struct loop *loop;
    struct catalog *catalog;
    struct registry *registry;
    const struct limits *limits;
    struct watch_listener listener;
    struct loop_timer timer, sweep;
    struct watch_cursor revisions, services;
    struct map known; /* "ns/name" of a Revision: struct known */
    uint64_t serial;  /* makes names unique within a version */
};

/* ---- what a Revision was ---- */

static struct str key_of(char into[KEY_BYTES], const char *ns, const char *name)
{
    int size = snprintf(into, KEY_BYTES, "%s/%s", ns, name);
    return (struct str){ into, (size_t)size };
}

static const json_t *condition_of(const json_t *object, const char *wanted)
{
    size_t i;
    json_t *condition;
    json_array_foreach(json_at(object, "status.conditions"), i, condition) {
        const char *type = json_text_at(condition, "type");
        if (type && strcmp(type, wanted) == 0)
            return condition;
    }
    return NULL;
}

static const char *text_or(const json_t *j, const char *path, const char *otherwise)
{
    const char *text = json_text_at(j, path);
    return text ? text : otherwise;
}

static void remember(struct known *k, const json_t *object)
{
    const json_t *ready = condition_of(object, "Ready");
    (void)snprintf(k->ready, sizeof k->ready, "%s", text_or(ready, "status", "Unknown"));
    (void)snprintf(k->reason, sizeof k->reason, "%s", text_or(ready, "reason", ""));
    k->unlimited = condition_of(object, STATUS_LIMITS_ENFORCED) != NULL;
    k->actual = json_int_at(object, "status.actualReplicas", 0);
}

static struct known *known_of(struct events *v, const char *ns, const char *name, bool make)
{
    char key[KEY_BYTES];
    struct str at = key_of(key, ns, name);
    struct known *k = map_find(&v->known, at);
    if (!k && make) {
        k = xcalloc(1, sizeof *k);
        map_put(&v->known, at, k);
    }
    return k;
}

static void forget(struct events *v, const char *ns, const char *name)
{
    char key[KEY_BYTES];
    free(map_remove(&v->known, key_of(key, ns, name)));
}

/* ---- writing ---- */

static uint64_t hash_of(const char *reason, const char *message)
{
    uint64_t h = 0xcbf29ce484222325;
    for (const char *at = reason; *at; at++)
        h = (h ^ (unsigned char)*at) * 0x100000001b3;
    for (const char *at = message; *at; at++)
        h = (h ^ (unsigned char)*at) * 0x100000001b3;
    return h;
}

/* The Event that says so already, told once more. False: there is none. */
static bool again(struct events *v, const struct known *k, const char *ns, uint64_t hash, const char *now)
{
    struct catalog_item item;
    if (!k || k->last_hash != hash || !registry_find(v->registry, REGISTRY_EVENTS, ns, k->last_event, &item))
        return false;
    AUTO_JSON json_t *event = json_loads(item.plain, 0, NULL);
    (void)json_object_set_new(event, "count", json_integer(json_int_at(event, "count", 1) + 1));
    (void)json_object_set_new(event, "lastTimestamp", json_string(now));
    (void)registry_put(v->registry, REGISTRY_EVENTS, ns, k->last_event, event);
    return true;
}

PRINTF_LIKE(6, 7)
static void say(struct events *v, struct known *k, const json_t *object, bool warning, const char *reason,
                const char *fmt, ...)
{
    char message[1024], name[OBJECT_NAME_MAX], now[STATUS_TIME];
    const char *ns = json_text_at(object, "metadata.namespace");
    const char *about = json_text_at(object, "metadata.name");
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    status_time(loop_wall_ms(), now);
    uint64_t hash = hash_of(reason, message);
    if (again(v, k, ns, hash, now))
        return;
    (void)snprintf(name, sizeof name, "%.200s.%llx%02llx", about, (unsigned long long)loop_wall_ms(),
                   (unsigned long long)(v->serial++ & 0xff));
    AUTO_JSON json_t *event = json_pack(
        "{s:{s:s,s:s},s:{s:s,s:s,s:s,s:s,s:s,s:s},s:s,s:s,s:s,s:{s:s},s:s,s:s,s:i,s:s}", "metadata", "name", name,
        "namespace", ns, "involvedObject", "apiVersion", json_text_at(object, "apiVersion"), "kind",
        json_text_at(object, "kind"), "name", about, "namespace", ns, "uid", text_or(object, "metadata.uid", ""),
        "resourceVersion", text_or(object, "metadata.resourceVersion", ""), "reason", reason, "message", message,
        "type", warning ? "Warning" : "Normal", "source", "component", "hob", "firstTimestamp", now,
        "lastTimestamp", now, "count", 1, "reportingComponent", "hob");
    if (event && registry_put(v->registry, REGISTRY_EVENTS, ns, name, event) && k) {
        (void)snprintf(k->last_event, sizeof k->last_event, "%s", name);
        k->last_hash = hash;
    }
}

/* ---- what happened ---- */

static void revision_changed(struct events *v, const json_t *object)
{
    const char *ns = json_text_at(object, "metadata.namespace"), *name = json_text_at(object, "metadata.name");
    struct known *k = known_of(v, ns, name, true);
    struct known was = *k;
    const json_t *ready = condition_of(object, "Ready");
    remember(k, object);
    bool changed = strcmp(k->ready, was.ready) != 0 || strcmp(k->reason, was.reason) != 0;
    if (changed && strcmp(k->ready, "True") == 0)
        say(v, k, object, false, "RevisionReady", "Revision becomes ready upon all resources being ready");
    else if (changed && strcmp(k->ready, "False") == 0)
        say(v, k, object, true, *k->reason ? k->reason : "RevisionFailed", "%s",
            text_or(ready, "message", "the Revision is not ready"));
    const json_t *limits = condition_of(object, STATUS_LIMITS_ENFORCED);
    if (limits && !was.unlimited)
        say(v, k, object, true, text_or(limits, "reason", "LimitsNotEnforced"), "%s", text_or(limits, "message", ""));
    if (k->actual != was.actual)
        say(v, k, object, false, "Scaled", "Scaled from %lld to %lld instance%s", (long long)was.actual,
            (long long)k->actual, k->actual == 1 ? "" : "s");
}

static void on_event(struct events *v, const struct watch_event *event)
{
    bool revision = strcmp(event->kind, "revisions") == 0;
    if (event->type == WATCH_DELETED) {
        if (revision)
            forget(v, event->ns, event->name);
        return;
    }
    AUTO_JSON json_t *object = json_loads(event->text, 0, NULL);
    if (event->type == WATCH_ADDED)
        say(v, revision ? known_of(v, event->ns, event->name, true) : NULL, object, false, "Created",
            "Created %s \"%s\"", revision ? "Revision" : "Service", event->name);
    if (revision)
        revision_changed(v, object);
}

static bool on_present(void *ctx, const struct catalog_item *i)
{
    AUTO_JSON json_t *object = json_loads(catalog_item_text(i), 0, NULL);
    remember(known_of(ctx, i->ns, i->name, true), object);
    return true;
}

/* What is there now is known, and only what changes from here on is news. */
static void begin(struct events *v)
{
    struct watchlog *log = catalog_log(v->catalog);
    catalog_each(v->catalog, CATALOG_REVISIONS, NULL, on_present, v);
    (void)watchlog_seek(log, watchlog_version(log), &v->revisions);
    v->services = v->revisions;
}

/* True: all of it was read. */
static bool follow(struct events *v, const char *kind, struct watch_cursor *cursor)
{
    struct watch_event event;
    const struct watch_filter filter = { .kind = kind };
    for (int left = PER_TURN; left > 0; left--) {
        enum watch_verdict verdict = watchlog_next(catalog_log(v->catalog), cursor, &filter, &event);
        if (verdict == WATCH_TOO_OLD)
            begin(v);
        if (verdict != WATCH_EVENT)
            return true;
        /* what is written by this comes later, so the log does not move under `event` */
        on_event(v, &event);
    }
    return false;
}

/* ---- the old ones ---- */

/* The PER_TURN that were written longest ago, oldest first. An Event that is told again is written again. */
struct sweep {
    struct {
        int64_t version;
        char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX];
    } old[PER_TURN];
    size_t count;
};

static bool on_old(void *ctx, const struct catalog_item *i)
{
    struct sweep *s = ctx;
    size_t at = s->count;
    while (at > 0 && s->old[at - 1].version > i->version)
        at--;
    if (at == PER_TURN)
        return true;
    size_t moved = MIN(s->count, (size_t)PER_TURN - 1) - at;
    memmove(&s->old[at + 1], &s->old[at], moved * sizeof s->old[0]);
    s->count = MIN(s->count + 1, (size_t)PER_TURN);
    s->old[at].version = i->version;
    (void)snprintf(s->old[at].ns, sizeof s->old[at].ns, "%s", i->ns);
    (void)snprintf(s->old[at].name, sizeof s->old[at].name, "%s", i->name);
    return true;
}

static bool is_aged(const struct events *v, const char *ns, const char *name, const char *oldest)
{
    struct catalog_item item;
    if (!registry_find(v->registry, REGISTRY_EVENTS, ns, name, &item))
        return false;
    AUTO_JSON json_t *event = json_loads(item.plain, 0, NULL);
    const char *seen = text_or(event, "lastTimestamp", text_or(event, "metadata.creationTimestamp", ""));
    return strcmp(seen, oldest) < 0;
}

static void on_sweep(struct loop_timer *t)
{
    struct events *v = CONTAINER_OF(t, struct events, sweep);
    uint32_t count = registry_count(v->registry, REGISTRY_EVENTS);
    size_t surplus = count > v->limits->events_max ? (size_t)(count - v->limits->events_max) : 0, gone = 0;
    char oldest[STATUS_TIME];
    struct sweep s = { .count = 0 };
    status_time(loop_wall_ms() - (int64_t)v->limits->events_age_s * 1000, oldest);
    registry_each(v->registry, REGISTRY_EVENTS, NULL, on_old, &s);
    while (gone < s.count && (gone < surplus || is_aged(v, s.old[gone].ns, s.old[gone].name, oldest))) {
        (void)registry_put(v->registry, REGISTRY_EVENTS, s.old[gone].ns, s.old[gone].name, NULL);
        gone++;
    }
    loop_after(v->loop, t, gone == PER_TURN ? BEHIND_US : SWEEP_US);
}

/* The bound holds when an Event comes, not only when the next sweep is due. */
static void bound_keep(struct events *v)
{
    if (registry_count(v->registry, REGISTRY_EVENTS) > v->limits->events_max)
        loop_after(v->loop, &v->sweep, 0);
}

/* ---- its turns ---- */

static void on_timer(struct loop_timer *t)
{
    struct events *v = CONTAINER_OF(t, struct events, timer);
    bool services = follow(v, "services", &v->services), revisions = follow(v, "revisions", &v->revisions);
    bound_keep(v);
    if (!services || !revisions)
        loop_after(v->loop, t, 0);
}

static void on_change(struct watch_listener *l)
{
    struct events *v = CONTAINER_OF(l, struct events, listener);
    if (!heap_node_linked(&v->timer.node))
        loop_after(v->loop, &v->timer, BEHIND_US);
}

struct events *events_new(struct loop *l, struct catalog *c, struct registry *g, const struct limits *limits)
{
    struct events *v = xcalloc(1, sizeof *v);
    v->loop = l;
    v->catalog = c;
    v->registry = g;
    v->limits = limits;
    v->listener.on_change = on_change;
    v->timer.on_due = on_timer;
    v->sweep.on_due = on_sweep;
    map_init(&v->known, (uint64_t)(uintptr_t)v);
    begin(v);
    watchlog_listen(catalog_log(c), &v->listener);
    loop_after(l, &v->sweep, SWEEP_US);
    return v;
}

void events_free(struct events *v)
{
    const struct map_slot *slot;
    if (!v)
        return;
    watchlog_unlisten(catalog_log(v->catalog), &v->listener);
    loop_cancel(v->loop, &v->timer);
    loop_cancel(v->loop, &v->sweep);
    for (uint32_t i = 0; (slot = map_next(&v->known, &i)) != NULL;)
        free(slot->value);
    map_done(&v->known);
    free(v);
}
