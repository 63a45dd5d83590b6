#include "serving/catalog.h"

#include "base/map.h"
#include "serving/pod.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    REVISIONS_KEPT = 20,        /* per Service, as Knative's min-non-active-revisions */
    FLUSH_LAZY_US = 250000,     /* replica counts are not worth a commit each */
    FLUSH_RETRY_US = 1000000,   /* after the store refused */
    FLUSH_PER_TURN = 100,       /* Services whose status is looked at before the loop goes on */
    KEY_SIZE = OBJECT_NS_MAX + OBJECT_NAME_MAX + 1,
};

struct facts { /* catalog_facts with its own texts */
    struct catalog_facts f;
    char digest[80], message[256];
};

struct service {
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX], uid[UUID_TEXT];
    char *text; /* NULL: not yet committed, so nobody sees it */
    int64_t version, generation, template_generation;
    char latest_created[OBJECT_NAME_MAX], latest_ready[OBJECT_NAME_MAX]; /* empty: none */
    struct list revisions; /* oldest first */
    struct list waiting;   /* requests, while busy */
    bool busy;             /* one change of it is with the store */
    bool dirty;            /* its status may not be what the facts say */
    struct list_node dirty_node; /* in the catalog's, when it or a Revision of it is dirty */
};

struct rev {
    struct list_node node; /* in its Service's */
    struct service *owner; /* NULL: deleted, and only waits for the store */
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX], uid[UUID_TEXT];
    char *text;       /* NULL: not yet committed */
    json_t *pending;  /* the object to commit first; NULL once it was */
    int64_t version, number;
    struct facts facts;
    bool late, busy, dirty;
    struct catalog *catalog;
    struct loop_timer deadline;
};

struct catalog {
    struct loop *loop;
    struct store *store;
    const struct limits *limits;
    const struct catalog_observer *observer;
    void *ctx;
    char port[16]; /* ":8080" or "" */
    struct service **sorted; /* those with a text, by namespace and name */
    uint32_t count, capacity;
    struct map services, revisions; /* "ns/name" */
    struct list writes, requests;   /* with the store; not yet answered */
    struct list dirty;              /* Services */
    struct loop_task flush_task;
    struct loop_timer flush_timer;
};

enum write_kind { WRITE_SERVICE, WRITE_STATUS, WRITE_SERVICE_DELETE, WRITE_REVISION, WRITE_REVISION_DELETE };
struct write { /* one change on its way */
    struct store_change change;
    struct list_node node;
    struct catalog *catalog; /* NULL: it was freed meanwhile */
    enum write_kind kind;
    struct service *service;
    struct rev *rev;
    struct catalog_request *q;
    json_t *object;
    /* WRITE_SERVICE: what the Service will say once this is committed */
    int64_t generation, template_generation;
    char latest_created[OBJECT_NAME_MAX];
    bool new_template;
};

/* ---- small things ---- */

static struct str key_of(char into[KEY_SIZE], const char *ns, const char *name)
{
    int size = snprintf(into, KEY_SIZE, "%s/%s", ns, name);
    ASSERT(size > 0 && size < KEY_SIZE);
    return (struct str){ into, (size_t)size };
}

static struct service *service_find(const struct catalog *c, const char *ns, const char *name)
{
    char key[KEY_SIZE];
    return map_find(&c->services, key_of(key, ns, name));
}

static struct rev *rev_find(const struct catalog *c, const char *ns, const char *name)
{
    char key[KEY_SIZE];
    return map_find(&c->revisions, key_of(key, ns, name));
}

static char *text_of(const json_t *object)
{
    struct buf b;
    buf_init(&b, SIZE_MAX / 4);
    json_write(object, &b);
    return buf_take_text(&b);
}

/* What we wrote ourselves; a row somebody else changed is the store's CODE_DATA_LOSS, not ours. */
static json_t *tree_of(const char *text)
{
    return text ? json_loads(text, 0, NULL) : NULL;
}

static void random_fill(uint8_t *into, size_t size)
{
    ssize_t n = getrandom(into, size, 0); /* up to 256 bytes never come in part, nor fail */
    ASSERT(n == (ssize_t)size);
}

static void stamp_make(struct object_stamp *s, const char *user)
{
    uint8_t random[10];
    struct uuid id;
    random_fill(random, sizeof random);
    s->now_ms = loop_wall_ms();
    s->user = user;
    id = uuid_v7(s->now_ms, random);
    uuid_format(&id, s->uid);
}

static void copy_name(char *into, size_t size, const char *from)
{
    (void)snprintf(into, size, "%s", from ? from : "");
}

/* ---- the sorted index ---- */

static int service_order(const struct service *a, const char *ns, const char *name)
{
    int order = strcmp(a->ns, ns);
    return order ? order : strcmp(a->name, name);
}

static uint32_t sorted_place(const struct catalog *c, const char *ns, const char *name)
{
    uint32_t low = 0, high = c->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (service_order(c->sorted[middle], ns, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void sorted_add(struct catalog *c, struct service *s)
{
    uint32_t at = sorted_place(c, s->ns, s->name);
    if (c->count == c->capacity) {
        c->capacity = c->capacity ? c->capacity * 2 : 16;
        c->sorted = xrealloc(c->sorted, c->capacity, sizeof *c->sorted);
    }
    memmove(c->sorted + at + 1, c->sorted + at, (c->count - at) * sizeof *c->sorted);
    c->sorted[at] = s;
    c->count++;
}

static void sorted_remove(struct catalog *c, const struct service *s)
{
    uint32_t at = sorted_place(c, s->ns, s->name);
    ASSERT(at < c->count && c->sorted[at] == s);
    c->count--;
    memmove(c->sorted + at, c->sorted + at + 1, (c->count - at) * sizeof *c->sorted);
}

/* ---- life of the entries ---- */

static struct service *service_new(struct catalog *c, const char *ns, const char *name)
{
    char key[KEY_SIZE];
    struct service *s = xcalloc(1, sizeof *s);
    copy_name(s->ns, sizeof s->ns, ns);
    copy_name(s->name, sizeof s->name, name);
    list_init(&s->revisions);
    list_init(&s->waiting);
    map_put(&c->services, key_of(key, ns, name), s);
    return s;
}

static void on_deadline(struct loop_timer *t);

static struct rev *rev_new(struct catalog *c, struct service *owner, const char *name, int64_t number)
{
    char key[KEY_SIZE];
    struct rev *v = xcalloc(1, sizeof *v);
    v->catalog = c;
    v->owner = owner;
    v->number = number;
    v->facts.f.exit_status = -1;
    v->deadline.on_due = on_deadline;
    copy_name(v->ns, sizeof v->ns, owner->ns);
    copy_name(v->name, sizeof v->name, name);
    list_push(&owner->revisions, &v->node);
    map_put(&c->revisions, key_of(key, owner->ns, name), v);
    return v;
}

/* Out of sight at once; the memory stays as long as a change of it is with the store. */
static void rev_drop(struct rev *v)
{
    char key[KEY_SIZE];
    if (v->owner) {
        list_remove(&v->owner->revisions, &v->node);
        (void)map_remove(&v->catalog->revisions, key_of(key, v->ns, v->name));
        loop_cancel(v->catalog->loop, &v->deadline);
        v->owner = NULL;
    }
    if (v->busy)
        return;
    json_decref(v->pending);
    free(v->text);
    free(v);
}

static void service_free(struct catalog *c, struct service *s)
{
    char key[KEY_SIZE];
    ASSERT(s->waiting.count == 0);
    LIST_EACH(&s->revisions, n, tmp)
        rev_drop(CONTAINER_OF(n, struct rev, node));
    if (s->text)
        sorted_remove(c, s);
    if (list_node_linked(&s->dirty_node))
        list_remove(&c->dirty, &s->dirty_node);
    (void)map_remove(&c->services, key_of(key, s->ns, s->name));
    free(s->text);
    free(s);
}

/* ---- answering ---- */

static void answer(struct catalog *c, struct catalog_request *q, int r, const struct catalog_item *item,
                   const struct err *e)
{
    struct service_draft draft;
    list_remove(&c->requests, &q->open_node);
    json_decref(TAKE(q->take_body));
    draft = q->draft;
    q->on_done(q, r, item, e); /* may free q */
    service_draft_done(&draft);
}

static void answer_err(struct catalog *c, struct catalog_request *q, enum code code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void answer_err(struct catalog *c, struct catalog_request *q, enum code code, const char *fmt, ...)
{
    struct err e;
    char text[sizeof e.text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    answer(c, q, err_set(&e, code, "%s", text), NULL, &e);
}

static struct catalog_item service_item(const struct service *s)
{
    return (struct catalog_item){ s->ns, s->name, s->uid, s->text, s->version };
}

static void flush_soon(struct catalog *c, struct service *s);

/* They look again, in their order; the first that writes makes the others wait again. */
static void requests_again(struct catalog *c, struct service *s)
{
    LIST_EACH(&s->waiting, n, tmp) {
        struct catalog_request *q = CONTAINER_OF(n, struct catalog_request, node);
        list_remove(&s->waiting, n);
        loop_defer(c->loop, &q->task);
    }
}

static void service_release(struct catalog *c, struct service *s)
{
    s->busy = false;
    requests_again(c, s);
    if (s->dirty)
        flush_soon(c, s);
}

/* ---- writing ---- */

static void on_written(struct store_change *change, int r, int64_t version, const struct err *e);

/* Takes w and its object, also where it fails. */
static int write_submit(struct catalog *c, struct write *w, const char *kind, const char *ns,
                        const char *name, int64_t expect, struct err *e)
{
    AUTO_FREE char *text = w->object ? text_of(w->object) : NULL;
    w->catalog = c;
    w->change = (struct store_change){ .kind = kind,
                                       .ns = ns,
                                       .name = name,
                                       .json = text,
                                       .expect_version = expect,
                                       .on_done = on_written };
    if (w->service)
        w->service->busy = true;
    if (w->rev)
        w->rev->busy = true;
    list_push(&c->writes, &w->node);
    int r = store_submit(c->store, &w->change, e);
    if (r == 0)
        return 0;
    list_remove(&c->writes, &w->node);
    if (w->service)
        w->service->busy = false;
    if (w->rev)
        w->rev->busy = false;
    json_decref(w->object);
    free(w);
    return r;
}

static struct write *write_new(enum write_kind kind, struct service *s, struct rev *v,
                               struct catalog_request *q, json_t *take_object)
{
    struct write *w = xcalloc(1, sizeof *w);
    *w = (struct write){ .kind = kind, .service = s, .rev = v, .q = q, .object = take_object };
    return w;
}

/* ---- status ---- */

static void mark(struct catalog *c, struct service *s)
{
    if (!list_node_linked(&s->dirty_node))
        list_push(&c->dirty, &s->dirty_node);
}

static void flush_soon(struct catalog *c, struct service *s)
{
    mark(c, s);
    loop_defer(c->loop, &c->flush_task);
}

static void flush_later(struct catalog *c, struct service *s, uint64_t delay_us)
{
    mark(c, s);
    if (!heap_node_linked(&c->flush_timer.node))
        loop_after(c->loop, &c->flush_timer, delay_us);
}

static json_t *status_of(const struct rev *v)
{
    AUTO_JSON json_t *object = v ? tree_of(v->text) : NULL;
    return json_incref(json_object_get(object, "status"));
}

static json_t *rev_status(const struct rev *v, const json_t *object)
{
    const char *image = json_text_at(object, "spec.containers.0.image");
    const char *container = json_text_at(object, "spec.containers.0.name");
    struct status_revision s = { image ? image : "", container ? container : "", v->facts.f, v->late };
    s.facts.image_digest = v->facts.digest;
    s.facts.message = v->facts.message;
    return status_of_revision(&s, json_object_get(object, "status"), loop_wall_ms());
}

/* For the names and generations in `s`; `object` is the Service it is put into. */
static json_t *service_status(const struct catalog *c, const struct service *s, const json_t *object)
{
    const struct rev *created = rev_find(c, s->ns, s->latest_created);
    const struct rev *ready = *s->latest_ready ? rev_find(c, s->ns, s->latest_ready) : NULL;
    AUTO_JSON json_t *created_status = status_of(created);
    AUTO_JSON json_t *ready_status = status_of(ready);
    AUTO_FREE char *url = xasprintf("http://%s.%s.localhost%s", s->name, s->ns, c->port);
    AUTO_FREE char *cluster = xasprintf("http://%s.%s.svc.cluster.local", s->name, s->ns);
    const struct status_service facts = {
        .name = s->name,
        .url = url,
        .cluster_url = cluster,
        .generation = s->generation,
        .template_generation = s->template_generation,
        .latest_created = s->latest_created,
        .latest_ready = *s->latest_ready ? s->latest_ready : NULL,
        .created_status = created_status,
        .serving_status = ready_status,
    };
    return status_of_service(&facts, json_object_get(object, "status"), loop_wall_ms());
}

/* False: it is as it should be. */
static bool status_put(json_t *object, json_t *take_status)
{
    bool changed = !json_equal(json_object_get(object, "status"), take_status);
    (void)json_object_set_new(object, "status", take_status);
    return changed;
}

static void rev_flush(struct catalog *c, struct rev *v)
{
    struct err e;
    AUTO_JSON json_t *object = tree_of(v->text);
    v->dirty = false;
    if (!status_put(object, rev_status(v, object)))
        return;
    struct write *w = write_new(WRITE_REVISION, NULL, v, NULL, TAKE(object));
    if (write_submit(c, w, "revisions", v->ns, v->name, v->version, &e) < 0) {
        v->dirty = true;
        flush_later(c, v->owner, FLUSH_RETRY_US);
    }
}

static void service_flush(struct catalog *c, struct service *s)
{
    struct err e;
    AUTO_JSON json_t *object = tree_of(s->text);
    s->dirty = false;
    if (!status_put(object, service_status(c, s, object)))
        return;
    struct write *w = write_new(WRITE_STATUS, s, NULL, NULL, TAKE(object));
    if (write_submit(c, w, "services", s->ns, s->name, s->version, &e) < 0) {
        s->dirty = true;
        flush_later(c, s, FLUSH_RETRY_US);
    }
}

/* The first commit of a Revision; until then nobody sees it and nothing runs. */
static void revision_write(struct catalog *c, struct rev *v)
{
    struct err e;
    v->dirty = false;
    struct write *w = write_new(WRITE_REVISION, NULL, v, NULL, json_deep_copy(v->pending));
    if (write_submit(c, w, "revisions", v->ns, v->name, STORE_ANY_VERSION, &e) < 0) {
        v->dirty = true;
        flush_later(c, v->owner, FLUSH_RETRY_US);
    }
}

static void service_look(struct catalog *c, struct service *s)
{
    LIST_EACH(&s->revisions, n, tmp) {
        struct rev *v = CONTAINER_OF(n, struct rev, node);
        if (v->busy || !v->dirty)
            continue;
        if (v->text)
            rev_flush(c, v);
        else
            revision_write(c, v);
    }
    if (s->dirty && !s->busy && s->text)
        service_flush(c, s);
}

/* What is busy now comes back into the list when its change is done. What the store refuses comes back
 * with the timer, and is behind everything that was here before. */
static void flush(struct catalog *c)
{
    for (uint32_t left = MIN(c->dirty.count, FLUSH_PER_TURN); left > 0; left--) {
        struct list_node *n = list_first(&c->dirty);
        list_remove(&c->dirty, n);
        service_look(c, CONTAINER_OF(n, struct service, dirty_node));
    }
}

static void on_flush_task(struct loop_task *t)
{
    struct catalog *c = CONTAINER_OF(t, struct catalog, flush_task);
    bool more = c->dirty.count > FLUSH_PER_TURN;
    flush(c);
    if (more)
        loop_defer(c->loop, t);
}

static void on_flush_timer(struct loop_timer *t)
{
    on_flush_task(&CONTAINER_OF(t, struct catalog, flush_timer)->flush_task);
}

static void on_deadline(struct loop_timer *t)
{
    struct rev *v = CONTAINER_OF(t, struct rev, deadline);
    v->late = true;
    v->dirty = true;
    flush_soon(v->catalog, v->owner);
}

void catalog_revision_facts(struct catalog *c, const char *ns, const char *name,
                            const struct catalog_facts *f)
{
    struct rev *v = c ? rev_find(c, ns, name) : NULL;
    if (!v || !v->text)
        return;
    struct facts next = { .f = *f };
    copy_name(next.digest, sizeof next.digest, f->image_digest);
    copy_name(next.message, sizeof next.message, f->message);
    next.f.image_digest = next.f.message = NULL; /* they live beside, so that structs compare */
    const struct facts *old = &v->facts;
    bool same_texts = strcmp(next.digest, old->digest) == 0 && strcmp(next.message, old->message) == 0;
    bool same = same_texts && next.f.ready_once == old->f.ready_once &&
                next.f.active == old->f.active && next.f.failing == old->f.failing &&
                next.f.failed_phase == old->f.failed_phase && next.f.retryable == old->f.retryable &&
                next.f.exit_status == old->f.exit_status;
    bool same_counts = next.f.actual == old->f.actual && next.f.desired == old->f.desired;
    v->facts = next;
    if (next.f.ready_once)
        loop_cancel(c->loop, &v->deadline);
    if (same && same_counts)
        return;
    v->dirty = true;
    if (same)
        flush_later(c, v->owner, FLUSH_LAZY_US);
    else
        flush_soon(c, v->owner);
}

/* ---- Revisions ---- */

static int rev_decode(struct catalog *c, const struct rev *v, const json_t *object,
                      struct revision **ret, struct err *e)
{
    const struct revision_source s = {
        .ns = v->ns,
        .service = v->owner->name,
        .name = v->name,
        .generation = (uint64_t)v->number,
        .annotations = json_at(object, "metadata.annotations"),
        .pod = json_object_get(object, "spec"),
        .image_digest = *v->facts.digest ? v->facts.digest : NULL,
    };
    return revision_decode(&s, c->limits, ret, e);
}

/* The observer is called last: it may tell facts at once. */
static void rev_emit(struct catalog *c, struct rev *v, bool was_ready)
{
    struct revision *r = NULL;
    struct err e;
    AUTO_JSON json_t *object = tree_of(v->text);
    if (rev_decode(c, v, object, &r, &e) < 0) {
        /* stored by an older hob that allowed more: said on the object, never run */
        const struct catalog_facts f = { .failing = true, .failed_phase = PHASE_SCHEDULE,
                                         .exit_status = -1, .message = e.text };
        catalog_revision_facts(c, v->ns, v->name, &f);
        return;
    }
    if (!was_ready)
        loop_after(c->loop, &v->deadline, r->progress_deadline_us);
    c->observer->on_revision(c->ctx, r, was_ready);
}

static void revision_delete(struct catalog *c, const char *ns, const char *name)
{
    struct err ignored; /* left over, it is removed at the next opening */
    struct write *w = write_new(WRITE_REVISION_DELETE, NULL, NULL, NULL, NULL);
    (void)write_submit(c, w, "revisions", ns, name, STORE_ANY_VERSION, &ignored);
}

/* Keeps the newest; never touches the one that has the traffic. */
static void revisions_trim(struct catalog *c, struct service *s)
{
    LIST_EACH(&s->revisions, n, tmp) {
        struct rev *v = CONTAINER_OF(n, struct rev, node);
        if (s->revisions.count <= REVISIONS_KEPT)
            return;
        if (strcmp(v->name, s->latest_ready) == 0 || !v->text)
            continue;
        revision_delete(c, v->ns, v->name);
        rev_drop(v);
    }
}

static void rev_ready_look(struct catalog *c, struct rev *v)
{
    struct service *s = v->owner;
    const struct rev *serving = *s->latest_ready ? rev_find(c, s->ns, s->latest_ready) : NULL;
    AUTO_JSON json_t *status = status_of(v);
    if (status_ready(status) == STATUS_TRUE && (!serving || v->number > serving->number)) {
        copy_name(s->latest_ready, sizeof s->latest_ready, v->name);
        revisions_trim(c, s);
    }
}

/* ---- when the store has answered ---- */

static char *committed_text(json_t *object, int64_t version)
{
    object_version_set(object, version);
    return text_of(object);
}

static void service_text_set(struct catalog *c, struct service *s, json_t *object, int64_t version)
{
    bool first = !s->text;
    free(s->text);
    s->text = committed_text(object, version);
    s->version = version;
    if (first)
        sorted_add(c, s);
}

static void service_written(struct catalog *c, struct write *w, int r, int64_t version,
                            const struct err *e)
{
    struct service *s = w->service;
    if (r < 0) {
        if (s->text) {
            service_release(c, s);
        } else {
            requests_again(c, s);
            service_free(c, s);
        }
        answer(c, w->q, r, NULL, e);
        return;
    }
    s->generation = w->generation;
    s->template_generation = w->template_generation;
    copy_name(s->latest_created, sizeof s->latest_created, w->latest_created);
    copy_name(s->uid, sizeof s->uid, json_text_at(w->object, "metadata.uid"));
    service_text_set(c, s, w->object, version);
    if (w->new_template) {
        struct object_stamp stamp;
        stamp_make(&stamp, w->q->user);
        struct rev *v = rev_new(c, s, s->latest_created, s->template_generation);
        copy_name(v->uid, sizeof v->uid, stamp.uid);
        v->pending = object_revision(w->object, v->name, v->number, &stamp);
        (void)status_put(v->pending, rev_status(v, v->pending));
        revision_write(c, v);
    }
    struct catalog_item item = service_item(s);
    AUTO_FREE char *text = xstrdup(s->text);
    item.text = text;
    service_release(c, s);
    answer(c, w->q, 0, &item, NULL);
}

static void status_written(struct catalog *c, struct write *w, int r, int64_t version)
{
    struct service *s = w->service;
    if (r < 0) {
        s->dirty = true;
        flush_later(c, s, FLUSH_RETRY_US);
        service_release(c, s);
        return;
    }
    service_text_set(c, s, w->object, version);
    service_release(c, s);
}

static void service_deleted(struct catalog *c, struct write *w, int r, const struct err *e)
{
    struct service *s = w->service;
    if (r < 0) {
        service_release(c, s);
        answer(c, w->q, r, NULL, e);
        return;
    }
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX], uid[UUID_TEXT];
    AUTO_FREE char *text = TAKE(s->text);
    memcpy(ns, s->ns, sizeof ns);
    memcpy(name, s->name, sizeof name);
    memcpy(uid, s->uid, sizeof uid);
    const struct catalog_item item = { ns, name, uid, text, s->version };
    LIST_EACH(&s->revisions, n, tmp) {
        const struct rev *v = CONTAINER_OF(n, struct rev, node);
        revision_delete(c, v->ns, v->name);
    }
    sorted_remove(c, s);
    requests_again(c, s);
    service_free(c, s);
    c->observer->on_service_gone(c->ctx, ns, name);
    answer(c, w->q, 0, &item, NULL);
}

static void revision_written(struct catalog *c, struct write *w, int r, int64_t version)
{
    struct rev *v = w->rev;
    v->busy = false;
    if (!v->owner) {
        rev_drop(v);
        return;
    }
    if (r < 0) {
        v->dirty = true;
        flush_later(c, v->owner, FLUSH_RETRY_US);
        return;
    }
    bool first = !v->text;
    free(v->text);
    v->text = committed_text(w->object, version);
    v->version = version;
    json_decref(TAKE(v->pending));
    rev_ready_look(c, v);
    v->owner->dirty = true;
    flush_soon(c, v->owner);
    if (first)
        rev_emit(c, v, false);
}

static void on_written(struct store_change *change, int r, int64_t version, const struct err *e)
{
    struct write *w = CONTAINER_OF(change, struct write, change);
    struct catalog *c = w->catalog;
    if (c) {
        list_remove(&c->writes, &w->node);
        switch (w->kind) {
        case WRITE_SERVICE: service_written(c, w, r, version, e); break;
        case WRITE_STATUS: status_written(c, w, r, version); break;
        case WRITE_SERVICE_DELETE: service_deleted(c, w, r, e); break;
        case WRITE_REVISION: revision_written(c, w, r, version); break;
        case WRITE_REVISION_DELETE: break;
        }
    }
    json_decref(w->object);
    free(w);
}

/* ---- requests ---- */

static void name_end_make(char into[6])
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789"; /* as Kubernetes: no words by accident */
    uint8_t random[5];
    random_fill(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        into[i] = letters[random[i] % (sizeof letters - 1)];
    into[5] = '\0';
}

/* Into q->draft: completed and checked, or refused. */
static void prepare(struct catalog *c, struct catalog_request *q, const json_t *in, const json_t *before)
{
    char end[6];
    const struct service_terms terms = { c->limits, q->ns, q->unknown, end };
    name_end_make(end);
    service_prepare(in, before, &terms, &q->draft);
    if (!q->draft.object)
        return;
    struct revision *r = NULL;
    struct err e;
    const struct revision_source s = {
        .ns = q->ns,
        .service = json_text_at(q->draft.object, "metadata.name"),
        .name = "to-be",
        .annotations = json_at(q->draft.object, "spec.template.metadata.annotations"),
        .pod = json_at(q->draft.object, POD_PATH),
    };
    if (revision_decode(&s, c->limits, &r, &e) < 0) {
        refusals_add(&q->draft.refused, POD_PATH, NULL, "%s", e.text);
        q->draft.refusal = SERVICE_NOT_VALID;
        json_decref(TAKE(q->draft.object));
    }
    revision_free(r);
}

static void answer_refused(struct catalog *c, struct catalog_request *q)
{
    answer_err(c, q, CODE_INVALID, "service %s/%s: refused", q->ns, q->name);
}

/* The next name that no Revision has; a name that the template brings must be free. */
static bool revision_name_pick(const struct catalog *c, const json_t *object, int64_t *number,
                               char into[OBJECT_NAME_MAX])
{
    const char *ns = json_text_at(object, "metadata.namespace");
    const bool own = json_text_at(object, "spec.template.metadata.name") != NULL;
    for (;; ++*number) {
        object_revision_name(object, *number, into);
        if (!rev_find(c, ns, into))
            return true;
        if (own)
            return false;
    }
}

/* What `s` will say once q->draft.object is committed; false: refused, and the draft says why. */
static bool plan_make(const struct catalog *c, struct catalog_request *q, const struct service *s,
                      const json_t *before, struct write *w)
{
    json_t *object = q->draft.object;
    const json_t *old = json_at(before, "spec.template"), *new = json_at(object, "spec.template");
    struct service plan = *s;
    w->new_template = !before || !service_template_same(old, new);
    w->generation = json_int_at(object, "metadata.generation", 1);
    w->template_generation = s->template_generation + w->new_template;
    copy_name(w->latest_created, sizeof w->latest_created, s->latest_created);
    if (w->new_template &&
        !revision_name_pick(c, object, &w->template_generation, w->latest_created)) {
        refusals_add(&q->draft.refused, "spec.template.metadata.name", NULL,
                     "The revision name \"%s\" is taken by a conflicting Revision, so traffic will not be "
                     "migrated",
                     w->latest_created);
        q->draft.refusal = SERVICE_NOT_VALID;
        json_decref(TAKE(q->draft.object));
        return false;
    }
    plan.generation = w->generation;
    plan.template_generation = w->template_generation;
    copy_name(plan.latest_created, sizeof plan.latest_created, w->latest_created);
    if (before)
        (void)json_object_set(object, "status", json_object_get(before, "status"));
    (void)status_put(object, service_status(c, &plan, object));
    return true;
}

/* q->draft.object is complete but for its status. `s`: the Service as it is; where it is new, a
 * blank that only lives for this call. The answer comes last. */
static void service_write(struct catalog *c, struct catalog_request *q, struct service *s,
                          const json_t *before)
{
    struct err e;
    struct write *w = write_new(WRITE_SERVICE, s, NULL, q, NULL);
    if (!plan_make(c, q, s, before, w)) {
        free(w);
        answer_refused(c, q);
        return;
    }
    json_t *object = q->draft.object;
    if (before)
        object_version_set(object, s->version);
    if (q->dry_run || (before && json_equal(before, object))) {
        AUTO_FREE char *text = text_of(object);
        const struct catalog_item item = { s->ns, s->name, json_text_at(object, "metadata.uid"), text,
                                           s->version };
        free(w);
        answer(c, q, 0, &item, NULL);
        return;
    }
    if (!before)
        w->service = s = service_new(c, s->ns, s->name);
    w->object = json_incref(object);
    int r = write_submit(c, w, "services", s->ns, s->name, before ? s->version : STORE_ABSENT, &e);
    if (r == 0)
        return;
    if (!before)
        service_free(c, s);
    answer(c, q, r, NULL, &e);
}

static void create(struct catalog *c, struct catalog_request *q)
{
    struct object_stamp stamp;
    struct service blank = { 0 };
    if (json_text_at(q->take_body, "metadata.resourceVersion")) {
        answer_err(c, q, CODE_INVALID, "resourceVersion should not be set on objects to be created");
        return;
    }
    prepare(c, q, q->take_body, NULL);
    if (!q->draft.object) {
        answer_refused(c, q);
        return;
    }
    const char *name = json_text_at(q->draft.object, "metadata.name");
    copy_name(q->name, sizeof q->name, name);
    if (service_find(c, q->ns, name)) {
        answer_err(c, q, CODE_EXISTS, "service %s/%s: there is one", q->ns, name);
        return;
    }
    if (c->services.count >= c->limits->objects_max) {
        answer_err(c, q, CODE_EXHAUSTED, "%llu services are all that the limit objects_max allows",
                   (unsigned long long)c->limits->objects_max);
        return;
    }
    stamp_make(&stamp, q->user);
    object_stamp_new(q->draft.object, &stamp);
    copy_name(blank.ns, sizeof blank.ns, q->ns);
    copy_name(blank.name, sizeof blank.name, name);
    service_write(c, q, &blank, NULL);
}

/* 0: they match, or nothing was asked. */
static int version_check(const struct service *s, const json_t *body, struct err *e)
{
    const char *want = json_text_at(body, "metadata.resourceVersion");
    const char *uid = json_text_at(body, "metadata.uid");
    uint64_t n;
    if (want && *want && (!str_u64(str_of(want), &n) || (int64_t)n != s->version))
        return err_set(e, CODE_ABORTED,
                       "the object has been modified; please apply your changes to the latest version "
                       "and try again");
    if (uid && *uid && strcmp(uid, s->uid) != 0)
        return err_set(e, CODE_ABORTED, "Precondition failed: UID in precondition: %.64s, UID in object "
                                        "meta: %s",
                       uid, s->uid);
    return 0;
}

static void change(struct catalog *c, struct catalog_request *q, struct service *s)
{
    struct object_stamp stamp;
    struct err e;
    AUTO_JSON json_t *before = tree_of(s->text);
    AUTO_JSON json_t *merged = NULL;
    int r = version_check(s, q->take_body, &e);
    if (r < 0) {
        answer(c, q, r, NULL, &e);
        return;
    }
    if (q->verb == CATALOG_MERGE)
        merged = json_merge_patch(before, q->take_body);
    prepare(c, q, merged ? merged : q->take_body, before);
    if (!q->draft.object) {
        answer_refused(c, q);
        return;
    }
    stamp_make(&stamp, q->user);
    object_stamp_changed(q->draft.object, before, &stamp);
    service_write(c, q, s, before);
}

static void delete(struct catalog *c, struct catalog_request *q, struct service *s)
{
    struct err e;
    if (q->uid && *q->uid && strcmp(q->uid, s->uid) != 0) {
        answer_err(c, q, CODE_ABORTED,
                   "Precondition failed: UID in precondition: %.64s, UID in object meta: %s", q->uid,
                   s->uid);
        return;
    }
    if (q->dry_run) {
        const struct catalog_item item = service_item(s);
        answer(c, q, 0, &item, NULL);
        return;
    }
    struct write *w = write_new(WRITE_SERVICE_DELETE, s, NULL, q, NULL);
    int r = write_submit(c, w, "services", s->ns, s->name, s->version, &e);
    if (r < 0)
        answer(c, q, r, NULL, &e);
}

static void revision_remove(struct catalog *c, struct catalog_request *q)
{
    struct rev *v = rev_find(c, q->ns, q->name);
    if (!v || !v->text) {
        answer_err(c, q, CODE_NOT_FOUND, "revision %s/%s: there is none", q->ns, q->name);
        return;
    }
    if (strcmp(v->name, v->owner->latest_ready) == 0 || strcmp(v->name, v->owner->latest_created) == 0) {
        answer_err(c, q, CODE_PRECONDITION,
                   "service %s needs this revision; delete the service, or deploy another template first",
                   v->owner->name);
        return;
    }
    AUTO_FREE char *text = xstrdup(v->text);
    char uid[UUID_TEXT];
    memcpy(uid, v->uid, sizeof uid);
    const struct catalog_item item = { q->ns, q->name, uid, text, v->version };
    if (!q->dry_run) {
        revision_delete(c, v->ns, v->name);
        rev_drop(v);
    }
    answer(c, q, 0, &item, NULL);
}

/* The Service a request is about, as far as its name can be known before it is checked. */
static struct service *request_service(const struct catalog *c, const struct catalog_request *q)
{
    const char *name = q->verb == CATALOG_CREATE ? json_text_at(q->take_body, "metadata.name") : q->name;
    return name && strlen(name) < OBJECT_NAME_MAX ? service_find(c, q->ns, name) : NULL;
}

static void on_request(struct loop_task *t)
{
    struct catalog_request *q = CONTAINER_OF(t, struct catalog_request, task);
    struct catalog *c = q->catalog;
    if (q->verb == CATALOG_DELETE_REVISION) {
        revision_remove(c, q);
        return;
    }
    struct service *s = request_service(c, q);
    if (s && s->busy) {
        if (s->waiting.count < CATALOG_WAITING_MAX)
            list_push(&s->waiting, &q->node);
        else
            answer_err(c, q, CODE_EXHAUSTED, "service %s/%s: %d requests wait already", q->ns, s->name,
                       (int)CATALOG_WAITING_MAX);
        return;
    }
    if (q->verb != CATALOG_CREATE && !(s && s->text)) {
        answer_err(c, q, CODE_NOT_FOUND, "service %s/%s: there is none", q->ns, q->name);
        return;
    }
    switch (q->verb) {
    case CATALOG_CREATE: create(c, q); break;
    case CATALOG_REPLACE:
    case CATALOG_MERGE: change(c, q, s); break;
    case CATALOG_DELETE: delete (c, q, s); break;
    case CATALOG_DELETE_REVISION: UNREACHABLE("answered above");
    }
}

void catalog_submit(struct catalog *c, struct catalog_request *q)
{
    ASSERT(q->on_done && *q->ns && q->user);
    q->catalog = c;
    q->task.run = on_request;
    list_push(&c->requests, &q->open_node);
    loop_defer(c->loop, &q->task);
}

/* ---- reading ---- */

static struct catalog_item rev_item(const struct rev *v)
{
    return (struct catalog_item){ v->ns, v->name, v->uid, v->text, v->version };
}

bool catalog_find(const struct catalog *c, enum catalog_kind kind, const char *ns, const char *name,
                  struct catalog_item *ret)
{
    if (strlen(ns) >= OBJECT_NS_MAX || strlen(name) >= OBJECT_NAME_MAX)
        return false;
    const struct service *s = kind == CATALOG_SERVICES ? service_find(c, ns, name) : NULL;
    const struct rev *v = kind == CATALOG_REVISIONS ? rev_find(c, ns, name) : NULL;
    if (s && s->text)
        *ret = service_item(s);
    else if (v && v->text)
        *ret = rev_item(v);
    else
        return false;
    return true;
}

static bool each_revision(const struct service *s, bool (*on_item)(void *, const struct catalog_item *),
                          void *ctx)
{
    LIST_EACH(&s->revisions, n, tmp) {
        const struct rev *v = CONTAINER_OF(n, struct rev, node);
        const struct catalog_item item = rev_item(v);
        if (v->text && !on_item(ctx, &item))
            return false;
    }
    return true;
}

void catalog_each(const struct catalog *c, enum catalog_kind kind, const char *ns,
                  bool (*on_item)(void *ctx, const struct catalog_item *i), void *ctx)
{
    for (uint32_t i = ns ? sorted_place(c, ns, "") : 0; i < c->count; i++) {
        const struct service *s = c->sorted[i];
        const struct catalog_item item = service_item(s);
        if (ns && strcmp(s->ns, ns) != 0)
            return;
        if (kind == CATALOG_SERVICES ? !on_item(ctx, &item) : !each_revision(s, on_item, ctx))
            return;
    }
}

int64_t catalog_version(const struct catalog *c) { return store_version(c->store); }

uint32_t catalog_services(const struct catalog *c) { return c->count; }

/* ---- opening ---- */

static int service_load(void *ctx, const struct store_object *o, struct err *e)
{
    struct catalog *c = ctx;
    AUTO_JSON json_t *object = tree_of(o->json);
    if (!json_is_object(object))
        return err_set(e, CODE_DATA_LOSS, "service %s/%s: what is stored is not JSON", o->ns, o->name);
    struct service *s = service_new(c, o->ns, o->name);
    const char *number =
        json_text_key(object, "status.annotations", "hob.dev/configuration-generation");
    uint64_t n = 0;
    s->generation = json_int_at(object, "metadata.generation", 1);
    s->template_generation = number && str_u64(str_of(number), &n) ? (int64_t)n : s->generation;
    copy_name(s->uid, sizeof s->uid, json_text_at(object, "metadata.uid"));
    copy_name(s->latest_created, sizeof s->latest_created,
              json_text_at(object, "status.latestCreatedRevisionName"));
    copy_name(s->latest_ready, sizeof s->latest_ready,
              json_text_at(object, "status.latestReadyRevisionName"));
    service_text_set(c, s, object, o->version);
    return 0;
}

struct orphan {
    struct list_node node;
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX];
};

struct loading {
    struct catalog *c;
    struct list orphans; /* Revisions without their Service; removed after the walk */
};

static int revision_load(void *ctx, const struct store_object *o, struct err *e)
{
    struct loading *l = ctx;
    AUTO_JSON json_t *object = tree_of(o->json);
    if (!json_is_object(object))
        return err_set(e, CODE_DATA_LOSS, "revision %s/%s: what is stored is not JSON", o->ns, o->name);
    const char *owner = json_text_key(object, "metadata.labels", SERVING_GROUP "/service");
    const char *uid = json_text_key(object, "metadata.labels", SERVING_GROUP "/serviceUID");
    const char *number =
        json_text_key(object, "metadata.labels", SERVING_GROUP "/configurationGeneration");
    struct service *s = owner ? service_find(l->c, o->ns, owner) : NULL;
    uint64_t n = 0;
    if (!s || !uid || strcmp(uid, s->uid) != 0) {
        struct orphan *lost = xcalloc(1, sizeof *lost);
        copy_name(lost->ns, sizeof lost->ns, o->ns);
        copy_name(lost->name, sizeof lost->name, o->name);
        list_push(&l->orphans, &lost->node);
        return 0;
    }
    (void)(number && str_u64(str_of(number), &n));
    struct rev *v = rev_new(l->c, s, o->name, (int64_t)n);
    copy_name(v->uid, sizeof v->uid, json_text_at(object, "metadata.uid"));
    copy_name(v->facts.digest, sizeof v->facts.digest,
              json_text_at(object, "status.containerStatuses.0.imageDigest"));
    v->facts.f.ready_once = status_ready(json_object_get(object, "status")) == STATUS_TRUE;
    v->text = committed_text(object, o->version);
    v->version = o->version;
    return 0;
}

/* By age; the store gives them by name. */
static void revisions_sort(struct service *s)
{
    struct list sorted;
    list_init(&sorted);
    LIST_EACH(&s->revisions, n, tmp) {
        const struct rev *v = CONTAINER_OF(n, struct rev, node);
        struct list_node *at = sorted.root.prev;
        while (at != &sorted.root && CONTAINER_OF(at, struct rev, node)->number > v->number)
            at = at->prev;
        list_remove(&s->revisions, n);
        list_insert_before(&sorted, at->next, n);
    }
    LIST_EACH(&sorted, n, tmp) {
        list_remove(&sorted, n);
        list_push(&s->revisions, n);
    }
}

/* Makes good what a crash left undone between the Service, its Revision and their status. */
static void service_reconcile(struct catalog *c, struct service *s)
{
    char before[OBJECT_NAME_MAX];
    revisions_sort(s);
    copy_name(before, sizeof before, s->latest_ready);
    if (!rev_find(c, s->ns, s->latest_ready))
        s->latest_ready[0] = '\0';
    LIST_EACH(&s->revisions, n, tmp)
        rev_ready_look(c, CONTAINER_OF(n, struct rev, node));
    s->dirty = true; /* the address may have changed, too */
    flush_soon(c, s);
    if (rev_find(c, s->ns, s->latest_created))
        return;
    struct object_stamp stamp;
    AUTO_JSON json_t *object = tree_of(s->text);
    if (!*s->latest_created)
        object_revision_name(object, s->template_generation, s->latest_created);
    stamp_make(&stamp, "system:hob");
    struct rev *v = rev_new(c, s, s->latest_created, s->template_generation);
    copy_name(v->uid, sizeof v->uid, stamp.uid);
    v->pending = object_revision(object, v->name, v->number, &stamp);
    (void)status_put(v->pending, rev_status(v, v->pending));
    v->dirty = true;
}

static void service_emit(struct catalog *c, struct service *s)
{
    struct rev *ready = *s->latest_ready ? rev_find(c, s->ns, s->latest_ready) : NULL;
    struct rev *created = rev_find(c, s->ns, s->latest_created);
    if (ready && ready->text)
        rev_emit(c, ready, true);
    if (created && created != ready && created->text)
        rev_emit(c, created, false);
}

static int load(struct catalog *c, struct err *e)
{
    struct loading l = { c, { { NULL, NULL }, 0 } };
    list_init(&l.orphans);
    int r = store_each(c->store, "services", service_load, c, e);
    if (r == 0)
        r = store_each(c->store, "revisions", revision_load, &l, e);
    LIST_EACH(&l.orphans, n, tmp) {
        struct orphan *lost = CONTAINER_OF(n, struct orphan, node);
        if (r == 0)
            revision_delete(c, lost->ns, lost->name);
        list_remove(&l.orphans, n);
        free(lost);
    }
    for (uint32_t i = 0; r == 0 && i < c->count; i++)
        service_reconcile(c, c->sorted[i]);
    return r;
}

int catalog_open(struct loop *l, struct store *s, const struct limits *limits, const char *ingress,
                 const struct catalog_observer *observer, void *ctx, struct catalog **ret,
                 struct err *e)
{
    uint64_t seed;
    const char *port = strrchr(ingress, ':');
    AUTO(catalog) struct catalog *c = xcalloc(1, sizeof *c);
    random_fill((uint8_t *)&seed, sizeof seed);
    c->loop = l;
    c->store = s;
    c->limits = limits;
    c->observer = observer;
    c->ctx = ctx;
    c->flush_task.run = on_flush_task;
    c->flush_timer.on_due = on_flush_timer;
    copy_name(c->port, sizeof c->port, port && strcmp(port, ":80") != 0 ? port : "");
    map_init(&c->services, seed);
    map_init(&c->revisions, seed ^ 1);
    list_init(&c->writes);
    list_init(&c->requests);
    list_init(&c->dirty);
    int r = load(c, e);
    if (r < 0)
        return r;
    struct catalog *made = *ret = TAKE(c);
    for (uint32_t i = 0; i < made->count; i++)
        service_emit(made, made->sorted[i]);
    return 0;
}

static void requests_cancel(struct catalog *c)
{
    LIST_EACH(&c->requests, n, tmp) {
        struct catalog_request *q = CONTAINER_OF(n, struct catalog_request, open_node);
        struct service *s = list_node_linked(&q->node) ? request_service(c, q) : NULL;
        if (s)
            list_remove(&s->waiting, &q->node);
        loop_undefer(c->loop, &q->task);
        answer_err(c, q, CODE_CANCELLED, "hob is stopping");
    }
}

void catalog_free(struct catalog *c)
{
    if (!c)
        return;
    requests_cancel(c);
    LIST_EACH(&c->writes, n, tmp) {
        struct write *w = CONTAINER_OF(n, struct write, node);
        list_remove(&c->writes, n);
        w->catalog = NULL;
        if (w->rev) {
            w->rev->busy = false;
            if (!w->rev->owner)
                rev_drop(w->rev);
        }
    }
    while (c->count > 0)
        service_free(c, c->sorted[c->count - 1]);
    const struct map_slot *slot; /* what is left was never committed */
    for (uint32_t i = 0; (slot = map_next(&c->services, &i)) != NULL; i = 0)
        service_free(c, slot->value);
    map_done(&c->services);
    map_done(&c->revisions);
    loop_undefer(c->loop, &c->flush_task);
    loop_cancel(c->loop, &c->flush_timer);
    free(c->sorted);
    free(c);
}
