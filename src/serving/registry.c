#include "serving/registry.h"

#include "serving/asked.h"
#include "serving/lent.h"
#include "serving/registry_kinds.h"

#include <stdio.h>
#include <stdlib.h>

struct entry {
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX], uid[UUID_TEXT];
    struct packed *text; /* NULL: not yet committed, so nobody sees it */
    int64_t version;
    bool busy;           /* one change of it is with the store */
    bool terminating;    /* a Namespace, as it was committed */
    struct list waiting; /* requests, while busy */
};

struct shelf { /* the objects of one kind, by namespace and name */
    struct entry **rows;
    uint32_t count, capacity;
};

struct registry {
    struct loop *loop;
    struct store *store;
    struct watchlog *log;
    const struct limits *limits;
    struct shelf shelves[REGISTRY_KINDS];
    struct list writes, requests; /* with the store; not yet answered */
    struct lent lent;             /* what registry_find() gave away */
};

struct write {
    struct store_change change;
    struct list_node node;
    struct registry *registry; /* NULL: it was freed meanwhile */
    enum registry_kind kind;
    struct entry *entry;
    struct catalog_request *q; /* NULL: nobody waits */
    json_t *object;            /* NULL: a deletion */
};

const char *registry_kind_name(enum registry_kind kind) { return registry_kind_rows[kind].log_kind; }

static const char *store_kind(enum registry_kind kind)
{
    const struct registry_kind_row *row = &registry_kind_rows[kind];
    return row->store_kind ? row->store_kind : row->log_kind;
}

/* ---- entries ---- */

static uint32_t place(const struct shelf *s, const char *ns, const char *name)
{
    uint32_t low = 0, high = s->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strcmp(s->rows[middle]->ns, ns);
        if (order == 0)
            order = strcmp(s->rows[middle]->name, name);
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct entry *entry_find(const struct registry *g, enum registry_kind kind, const char *ns,
                                const char *name)
{
    const struct shelf *s = &g->shelves[kind];
    uint32_t at = place(s, ns, name);
    bool here = at < s->count && strcmp(s->rows[at]->ns, ns) == 0 && strcmp(s->rows[at]->name, name) == 0;
    return here ? s->rows[at] : NULL;
}

static struct entry *entry_new(struct registry *g, enum registry_kind kind, const char *ns, const char *name)
{
    struct shelf *s = &g->shelves[kind];
    uint32_t at = place(s, ns, name);
    struct entry *t = xcalloc(1, sizeof *t);
    (void)snprintf(t->ns, sizeof t->ns, "%s", ns);
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    list_init(&t->waiting);
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 16;
        s->rows = xrealloc(s->rows, s->capacity, sizeof *s->rows);
    }
    memmove(s->rows + at + 1, s->rows + at, (s->count - at) * sizeof *s->rows);
    s->rows[at] = t;
    s->count++;
    return t;
}

static void entry_free(struct registry *g, enum registry_kind kind, struct entry *t)
{
    struct shelf *s = &g->shelves[kind];
    uint32_t at = place(s, t->ns, t->name);
    ASSERT(at < s->count && s->rows[at] == t && t->waiting.count == 0);
    s->count--;
    memmove(s->rows + at, s->rows + at + 1, (s->count - at) * sizeof *s->rows);
    packed_free(t->text);
    free(t);
}

/* unpacked: as in struct catalog_item, for whoever holds it to free. */
static struct catalog_item item_of(const struct entry *t, char **unpacked)
{
    return (struct catalog_item){ t->ns, t->name, t->uid, NULL, t->version, t->text, unpacked };
}

/* NULL: nothing is committed, or there is no entry. */
static json_t *stored(const struct entry *t)
{
    AUTO_FREE char *text = t ? packed_text(t->text) : NULL;
    return text ? json_loads(text, 0, NULL) : NULL;
}

static bool phase_is_terminating(const json_t *object)
{
    const char *phase = json_text_at(object, "status.phase");
    return phase && strcmp(phase, "Terminating") == 0;
}

static char *text_of(const json_t *object)
{
    struct buf b;
    buf_init(&b, SIZE_MAX / 4);
    json_write(object, &b);
    return buf_take_text(&b);
}

/* ---- writing ---- */

static void write_free(struct write *w)
{
    json_decref(w->object);
    free(w);
}

/* What was committed is what readers, watchers and whoever asked are told, in this order. */
static void write_done(struct registry *g, struct write *w, int64_t version)
{
    struct entry *t = w->entry;
    AUTO_FREE char *before = packed_text(t->text), *after = NULL;
    if (w->object) {
        object_version_set(w->object, version);
        after = text_of(w->object);
        t->terminating = phase_is_terminating(w->object);
        t->version = version;
        (void)snprintf(t->uid, sizeof t->uid, "%s", json_text_at(w->object, "metadata.uid"));
    }
    struct packed *held =
        watchlog_append(g->log, version, registry_kind_name(w->kind), t->ns, t->name, before, after);
    packed_free(t->text);
    t->text = packed_share(held);
    const struct entry was = *t;
    const struct catalog_item told = { .ns = was.ns, .name = was.name, .uid = was.uid,
                                       .plain = after ? after : before, .version = was.version };
    t->busy = false;
    asked_again(g->loop, &t->waiting);
    if (!w->object)
        entry_free(g, w->kind, t);
    if (w->q)
        asked_answer(&g->requests, w->q, 0, &told, NULL);
}

static void on_written(struct store_change *change, int r, int64_t version, const struct err *e)
{
    struct write *w = CONTAINER_OF(change, struct write, change);
    struct registry *g = w->registry;
    if (g) {
        list_remove(&g->writes, &w->node);
        if (r == 0) {
            write_done(g, w, version);
        } else {
            w->entry->busy = false;
            asked_again(g->loop, &w->entry->waiting);
            if (!w->entry->text)
                entry_free(g, w->kind, w->entry);
            if (w->q)
                asked_answer(&g->requests, w->q, r, NULL, e);
        }
    }
    write_free(w);
}

/* Takes w, also where it fails; a new entry goes with it then. */
static int write_submit(struct registry *g, struct write *w, struct err *e)
{
    struct entry *t = w->entry;
    AUTO_FREE char *text = w->object ? text_of(w->object) : NULL;
    w->registry = g;
    w->change = (struct store_change){ .kind = store_kind(w->kind),
                                       .ns = t->ns,
                                       .name = t->name,
                                       .json = text,
                                       .expect_version = t->text ? t->version : STORE_ABSENT,
                                       .on_done = on_written };
    t->busy = true;
    list_push(&g->writes, &w->node);
    int r = store_submit(g->store, &w->change, e);
    if (r == 0)
        return 0;
    list_remove(&g->writes, &w->node);
    t->busy = false;
    if (!t->text)
        entry_free(g, w->kind, t);
    write_free(w);
    return r;
}

static int change_submit(struct registry *g, enum registry_kind kind, struct entry *t, json_t *take_object,
                         struct catalog_request *q, struct err *e)
{
    struct write *w = xcalloc(1, sizeof *w);
    *w = (struct write){ .kind = kind, .entry = t, .q = q, .object = take_object };
    return write_submit(g, w, e);
}

/* ---- namespaces ---- */

int registry_namespace_use(struct registry *g, const char *ns, struct err *e)
{
    const struct entry *t = entry_find(g, REGISTRY_NAMESPACES, "", ns);
    if (t && t->terminating)
        return err_set(e, CODE_DENIED,
                       "unable to create new content in namespace %s because it is being terminated", ns);
    if (t)
        return 0;
    AUTO_JSON json_t *object = json_pack("{s:{s:s}}", "metadata", "name", ns);
    (void)registry_put(g, REGISTRY_NAMESPACES, "", ns, object); /* refused: made by the next that comes */
    return 0;
}

static void namespace_end(struct registry *g, struct catalog_request *q, struct entry *t)
{
    struct err e;
    char now[STATUS_TIME];
    AUTO_JSON json_t *object = stored(t);
    if (strcmp(t->name, "default") == 0) {
        asked_refuse(&g->requests, q, CODE_DENIED, "this namespace may not be deleted");
        return;
    }
    if (t->terminating) {
        AUTO_FREE char *text = NULL;
        const struct catalog_item item = item_of(t, &text);
        asked_answer(&g->requests, q, 0, &item, NULL);
        return;
    }
    status_time(loop_wall_ms(), now);
    (void)json_object_set_new(json_object_get(object, "metadata"), "deletionTimestamp", json_string(now));
    (void)json_object_set_new(object, "status", json_pack("{s:s}", "phase", "Terminating"));
    int r = change_submit(g, REGISTRY_NAMESPACES, t, TAKE(object), q, &e);
    if (r < 0)
        asked_answer(&g->requests, q, r, NULL, &e);
}

/* ---- requests ---- */

static void stamp_changed(enum registry_kind kind, json_t *object, const json_t *before)
{
    static const char *const carried[] = { "uid", "creationTimestamp", "deletionTimestamp", "generateName" };
    json_t *metadata = json_object_get(object, "metadata");
    for (size_t i = 0; i < COUNT_OF(carried); i++) {
        json_t *value = json_object_get(json_object_get(before, "metadata"), carried[i]);
        if (value)
            (void)json_object_set(metadata, carried[i], value);
    }
    if (!registry_kind_rows[kind].generations)
        return;
    bool same = json_equal(json_object_get(before, "spec"), json_object_get(object, "spec"));
    (void)json_object_set_new(metadata, "generation",
                              json_integer(json_int_at(before, "metadata.generation", 0) + !same));
}

static void stamp_new(enum registry_kind kind, json_t *object, const char *user)
{
    struct object_stamp stamp;
    char now[STATUS_TIME];
    json_t *metadata = json_object_get(object, "metadata");
    asked_stamp(&stamp, user);
    status_time(stamp.now_ms, now);
    (void)json_object_set_new(metadata, "uid", json_string(stamp.uid));
    (void)json_object_set_new(metadata, "creationTimestamp", json_string(now));
    if (registry_kind_rows[kind].generations)
        (void)json_object_set_new(metadata, "generation", json_integer(1));
}

/* q->draft.object is complete: answered now, or once it is committed. */
static void write_draft(struct registry *g, enum registry_kind kind, struct catalog_request *q, struct entry *t,
                        const json_t *before)
{
    struct err e;
    json_t *object = q->draft.object;
    const char *name = json_text_at(object, "metadata.name");
    int r = q->finish ? q->finish(q, before, object, &e) : 0;
    if (r == 0 && t)
        object_version_set(object, t->version);
    if (r == 0 && (q->dry_run || (before && json_equal(before, object)))) {
        AUTO_FREE char *text = text_of(object);
        const struct catalog_item item = { q->ns, name, json_text_at(object, "metadata.uid"), text,
                                           t ? t->version : 0 };
        asked_answer(&g->requests, q, 0, &item, NULL);
        return;
    }
    if (r == 0)
        r = change_submit(g, kind, t ? t : entry_new(g, kind, q->ns, name), json_incref(object), q, &e);
    if (r < 0)
        asked_answer(&g->requests, q, r, NULL, &e);
}

static bool prepare(struct registry *g, enum registry_kind kind, struct catalog_request *q, const json_t *in,
                    const json_t *before)
{
    char end[ASKED_NAME_END];
    const struct service_terms terms = { g->limits, q->ns, q->unknown, end };
    asked_name_end(end);
    registry_prepare(kind, in, before, &terms, &q->draft);
    if (q->draft.object)
        return true;
    asked_refuse(&g->requests, q, CODE_INVALID, "%s/%s: refused", q->ns, q->name); /* may free q */
    return false;
}

static void create(struct registry *g, enum registry_kind kind, struct catalog_request *q)
{
    struct err e;
    if (json_text_at(q->take_body, "metadata.resourceVersion")) {
        asked_refuse(&g->requests, q, CODE_INVALID, "resourceVersion should not be set on objects to be created");
        return;
    }
    if (!prepare(g, kind, q, q->take_body, NULL))
        return;
    const char *name = json_text_at(q->draft.object, "metadata.name");
    (void)snprintf(q->name, sizeof q->name, "%s", name);
    if (entry_find(g, kind, q->ns, name)) {
        asked_refuse(&g->requests, q, CODE_EXISTS, "%s/%s: there is one", q->ns, name);
        return;
    }
    if (g->shelves[kind].count >= g->limits->registry_objects_max) {
        asked_refuse(&g->requests, q, CODE_EXHAUSTED, "%llu objects of a kind are all that the limit registry_objects_max allows",
               (unsigned long long)g->limits->registry_objects_max);
        return;
    }
    int r = *q->ns && !q->dry_run ? registry_namespace_use(g, q->ns, &e) : 0;
    if (r < 0) {
        asked_answer(&g->requests, q, r, NULL, &e);
        return;
    }
    stamp_new(kind, q->draft.object, q->user);
    q->created = true;
    write_draft(g, kind, q, NULL, NULL);
}

static void patch(struct registry *g, enum registry_kind kind, struct catalog_request *q, struct entry *t)
{
    struct err e;
    json_t *made = NULL;
    AUTO_JSON json_t *before = stored(t);
    int r = q->patch(q, before, &made, &e);
    AUTO_JSON json_t *becomes = made;
    if (r == 0 && t)
        r = asked_check_change(becomes, t->uid, t->version, &e);
    if (r < 0) {
        asked_answer(&g->requests, q, r, NULL, &e);
        return;
    }
    if (!t) {
        json_decref(q->take_body);
        q->take_body = TAKE(becomes);
        create(g, kind, q);
        return;
    }
    if (!prepare(g, kind, q, becomes, before))
        return;
    stamp_changed(kind, q->draft.object, before);
    write_draft(g, kind, q, t, before);
}

static void delete(struct registry *g, enum registry_kind kind, struct catalog_request *q, struct entry *t)
{
    struct err e;
    int r = asked_check_delete(q, t->uid, t->version, &e);
    if (r < 0) {
        asked_answer(&g->requests, q, r, NULL, &e);
        return;
    }
    if (q->dry_run) {
        AUTO_FREE char *text = NULL;
        const struct catalog_item item = item_of(t, &text);
        asked_answer(&g->requests, q, 0, &item, NULL);
        return;
    }
    if (kind == REGISTRY_NAMESPACES) {
        namespace_end(g, q, t);
        return;
    }
    r = change_submit(g, kind, t, NULL, q, &e);
    if (r < 0)
        asked_answer(&g->requests, q, r, NULL, &e);
}

static struct entry *request_entry(const struct registry *g, const struct catalog_request *q)
{
    const char *name = q->verb == CATALOG_CREATE ? json_text_at(q->take_body, "metadata.name") : q->name;
    return name && strlen(name) < OBJECT_NAME_MAX ? entry_find(g, q->registry_kind, q->ns, name) : NULL;
}

static void on_request(struct loop_task *task)
{
    struct catalog_request *q = CONTAINER_OF(task, struct catalog_request, task);
    struct registry *g = q->registry;
    enum registry_kind kind = q->registry_kind;
    struct entry *t = request_entry(g, q);
    if (t && t->busy && t->waiting.count < CATALOG_WAITING_MAX)
        list_push(&t->waiting, &q->node);
    else if (t && t->busy)
        asked_refuse(&g->requests, q, CODE_EXHAUSTED, "%s/%s: %d requests wait already", q->ns, t->name, (int)CATALOG_WAITING_MAX);
    else if (q->verb == CATALOG_CREATE)
        create(g, kind, q);
    else if (q->verb == CATALOG_PATCH)
        patch(g, kind, q, t);
    else if (!t)
        asked_refuse(&g->requests, q, CODE_NOT_FOUND, "%s/%s: there is none", q->ns, q->name);
    else
        delete (g, kind, q, t);
}

void registry_submit(struct registry *g, enum registry_kind kind, struct catalog_request *q)
{
    ASSERT(q->on_done && q->user &&
           (q->verb == CATALOG_CREATE || q->verb == CATALOG_PATCH || q->verb == CATALOG_DELETE));
    q->registry = g;
    q->registry_kind = kind;
    q->task.run = on_request;
    list_push(&g->requests, &q->open_node);
    loop_defer(g->loop, &q->task);
}

bool registry_put(struct registry *g, enum registry_kind kind, const char *ns, const char *name,
                  const json_t *object)
{
    struct err e;
    struct entry *t = entry_find(g, kind, ns, name);
    if ((t && t->busy) || (!t && !object))
        return !t; /* what is not there is deleted */
    if (!object)
        return change_submit(g, kind, t, NULL, NULL, &e) == 0;
    if (!t && g->shelves[kind].count >= g->limits->registry_objects_max)
        return false;
    AUTO_JSON json_t *before = stored(t);
    const struct service_terms terms = { g->limits, ns, SERVICE_UNKNOWN_DROP, NULL };
    struct service_draft draft = { 0 };
    registry_prepare(kind, object, before, &terms, &draft);
    json_t *made = TAKE(draft.object);
    service_draft_done(&draft);
    if (!made)
        return false;
    if (before)
        stamp_changed(kind, made, before);
    else
        stamp_new(kind, made, "system:hob");
    return change_submit(g, kind, t ? t : entry_new(g, kind, ns, name), made, NULL, &e) == 0;
}

bool registry_status_put(struct registry *g, enum registry_kind kind, const char *ns, const char *name,
                         json_t *take_status)
{
    struct err e;
    struct entry *t = entry_find(g, kind, ns, name);
    json_t *object = t && !t->busy ? stored(t) : NULL;
    if (!object) {
        json_decref(take_status);
        return false;
    }
    (void)json_object_set_new(object, "status", take_status);
    return change_submit(g, kind, t, object, NULL, &e) == 0;
}

/* ---- reading ---- */

bool registry_find(struct registry *g, enum registry_kind kind, const char *ns, const char *name,
                   struct catalog_item *ret)
{
    const struct entry *t =
        strlen(ns) < OBJECT_NS_MAX && strlen(name) < OBJECT_NAME_MAX ? entry_find(g, kind, ns, name) : NULL;
    if (!t || !t->text)
        return false;
    *ret = item_of(t, NULL);
    ret->plain = lent_text(&g->lent, t->text);
    return true;
}

void registry_each(const struct registry *g, enum registry_kind kind, const char *ns,
                   bool (*on_item)(void *ctx, const struct catalog_item *i), void *ctx)
{
    const struct shelf *s = &g->shelves[kind];
    for (uint32_t i = ns ? place(s, ns, "") : 0; i < s->count; i++) {
        AUTO_FREE char *text = NULL;
        const struct catalog_item item = item_of(s->rows[i], &text);
        if (ns && strcmp(s->rows[i]->ns, ns) != 0)
            return;
        if (s->rows[i]->text && !on_item(ctx, &item))
            return;
    }
}

void registry_terminating_each(const struct registry *g, bool (*on_name)(void *ctx, const char *name), void *ctx)
{
    const struct shelf *s = &g->shelves[REGISTRY_NAMESPACES];
    for (uint32_t i = 0; i < s->count; i++)
        if (s->rows[i]->terminating && !on_name(ctx, s->rows[i]->name))
            return;
}

uint32_t registry_count(const struct registry *g, enum registry_kind kind) { return g->shelves[kind].count; }

/* ---- opening ---- */

struct loading {
    struct registry *g;
    enum registry_kind kind;
};

static int on_object(void *ctx, const struct store_object *o, struct err *e)
{
    struct loading *l = ctx;
    AUTO_JSON json_t *object = json_loads(o->json, 0, NULL);
    if (!json_is_object(object))
        return err_set(e, CODE_DATA_LOSS, "%s %s/%s: what is stored is not JSON", o->kind, o->ns, o->name);
    struct entry *t = entry_new(l->g, l->kind, o->ns, o->name);
    const char *uid = json_text_at(object, "metadata.uid");
    object_version_set(object, o->version);
    AUTO_FREE char *text = text_of(object);
    t->text = packed_new(watchlog_packer(l->g->log), registry_kind_name(l->kind), str_of(text));
    t->version = o->version;
    t->terminating = phase_is_terminating(object);
    (void)snprintf(t->uid, sizeof t->uid, "%s", uid ? uid : "");
    return 0;
}

int registry_open(struct loop *l, struct store *s, struct watchlog *log, const struct limits *limits,
                  struct registry **ret, struct err *e)
{
    AUTO(registry) struct registry *g = xcalloc(1, sizeof *g);
    g->loop = l;
    g->store = s;
    g->log = log;
    g->limits = limits;
    list_init(&g->writes);
    list_init(&g->requests);
    lent_init(&g->lent, l);
    for (uint32_t kind = 0; kind < REGISTRY_KINDS; kind++) {
        struct loading loading = { g, kind };
        int r = store_each(s, store_kind(kind), on_object, &loading, e);
        if (r < 0)
            return r;
    }
    int r = registry_namespace_use(g, "default", e);
    if (r < 0)
        return r;
    *ret = TAKE(g);
    return 0;
}

static void requests_cancel(struct registry *g)
{
    LIST_EACH(&g->requests, n, tmp) {
        struct catalog_request *q = CONTAINER_OF(n, struct catalog_request, open_node);
        struct entry *t = list_node_linked(&q->node) ? request_entry(g, q) : NULL;
        if (t)
            list_remove(&t->waiting, &q->node);
        loop_undefer(g->loop, &q->task);
        asked_refuse(&g->requests, q, CODE_CANCELLED, "hob is stopping");
    }
}

void registry_free(struct registry *g)
{
    if (!g)
        return;
    requests_cancel(g);
    lent_done(&g->lent);
    LIST_EACH(&g->writes, n, tmp) {
        struct write *w = CONTAINER_OF(n, struct write, node);
        list_remove(&g->writes, n);
        w->registry = NULL;
    }
    for (uint32_t kind = 0; kind < REGISTRY_KINDS; kind++) {
        while (g->shelves[kind].count > 0)
            entry_free(g, kind, g->shelves[kind].rows[0]);
        free(g->shelves[kind].rows);
    }
    free(g);
}
