#include "serving/catalog_impl.h"

#include "serving/asked.h"
#include "serving/pod.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- requests ---- */

void catalog_release(struct catalog *c, struct service *s)
{
    s->busy = false;
    asked_again(c->loop, &s->waiting);
    if (s->dirty)
        catalog_flush_soon(c, s);
}

/* What is to be there without requests has to fit beside what others are promised; a change that leaves the template
 * as it is promises nothing new. */
static void room_check(const struct catalog *c, struct catalog_request *q, const struct revision *r, const json_t *before)
{
    const json_t *object = q->draft.object;
    const struct limits *l = c->limits;
    uint64_t room = l->instances_max - l->instances_max * l->instances_first_percent / 100;
    if (r->min_scale == 0 || (before && service_template_same(json_at(before, "spec.template"), json_at(object, "spec.template"))))
        return;
    uint64_t others = catalog_min_scales(c, q->ns, json_text_at(object, "metadata.name"));
    if (others + r->min_scale <= room)
        return;
    refusals_add(&q->draft.refused, "spec.template.metadata.annotations.autoscaling.knative.dev/min-scale",
                 "lower it or theirs, or start hob with a larger instances_max",
                 "min-scale=%u does not fit: the min-scale of other services takes %llu of the %llu instances that this "
                 "node has room for",
                 r->min_scale, (unsigned long long)others, (unsigned long long)room);
    q->draft.refusal = SERVICE_NOT_VALID;
    json_decref(TAKE(q->draft.object));
}

/* Into q->draft: completed and checked, or refused. */
static void prepare(struct catalog *c, struct catalog_request *q, const json_t *in, const json_t *before)
{
    char end[ASKED_NAME_END];
    const struct service_terms terms = { c->limits, q->ns, q->unknown, end, q->kind == CATALOG_CONFIGURATIONS };
    asked_name_end(end);
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
    } else {
        room_check(c, q, r, before);
    }
    revision_free(r);
}

static void answer_refused(struct catalog *c, struct catalog_request *q)
{
    asked_refuse(&c->requests, q, CODE_INVALID, "service %s/%s: refused", q->ns, q->name);
}

/* The next name that no Revision has; a name that the template brings must be free. */
static bool revision_name_pick(const struct catalog *c, const json_t *object, int64_t *number,
                               char into[OBJECT_NAME_MAX])
{
    const char *ns = json_text_at(object, "metadata.namespace");
    const bool own = json_text_at(object, "spec.template.metadata.name") != NULL;
    for (;; ++*number) {
        object_revision_name(object, *number, into);
        if (!catalog_rev(c, ns, into))
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
    (void)catalog_status_put(object, catalog_service_status(c, &plan, object));
    return true;
}

/* q->draft.object is complete but for its status. `s`: the Service as it is; where it is new, a
 * blank that only lives for this call. The answer comes last. */
static void service_write(struct catalog *c, struct catalog_request *q, struct service *s,
                          const json_t *before)
{
    struct err e;
    struct write *w = catalog_write_new(WRITE_SERVICE, s, NULL, q, NULL);
    if (!plan_make(c, q, s, before, w)) {
        free(w);
        answer_refused(c, q);
        return;
    }
    json_t *object = q->draft.object;
    if (before)
        object_version_set(object, s->version);
    if (q->dry_run || (before && json_equal(before, object))) {
        AUTO_FREE char *text = catalog_text(object);
        const struct catalog_item item = { s->ns, s->name, json_text_at(object, "metadata.uid"), text,
                                           s->version };
        free(w);
        asked_answer(&c->requests, q, 0, &item, NULL);
        return;
    }
    if (!before) {
        w->service = s = catalog_service_new(c, s->ns, s->name);
        s->bare = q->kind == CATALOG_CONFIGURATIONS;
    }
    w->object = json_incref(object);
    int r = catalog_write(c, w, catalog_store_kind(s), s->ns, s->name, before ? s->version : STORE_ABSENT, &e);
    if (r == 0)
        return;
    if (!before)
        catalog_service_free(c, s);
    asked_answer(&c->requests, q, r, NULL, &e);
}

/* False: refused, and answered. */
static bool finish(struct catalog *c, struct catalog_request *q, const json_t *before)
{
    struct err e;
    int r = q->finish ? q->finish(q, before, q->draft.object, &e) : 0;
    if (r < 0)
        asked_answer(&c->requests, q, r, NULL, &e);
    return r == 0;
}

static void create(struct catalog *c, struct catalog_request *q)
{
    struct object_stamp stamp;
    struct service blank = { 0 };
    if (json_text_at(q->take_body, "metadata.resourceVersion")) {
        asked_refuse(&c->requests, q, CODE_INVALID, "resourceVersion should not be set on objects to be created");
        return;
    }
    prepare(c, q, q->take_body, NULL);
    if (!q->draft.object) {
        answer_refused(c, q);
        return;
    }
    const char *name = json_text_at(q->draft.object, "metadata.name");
    copy_name(q->name, sizeof q->name, name);
    const struct service *other = catalog_service(c, q->ns, name);
    const char *foreign = q->kind == CATALOG_CONFIGURATIONS          ? NULL
                          : other && other->bare                    ? "Configuration"
                          : catalog_outside_any(c, q->ns, name) ? "Route"
                                                                    : NULL;
    if (foreign) {
        refusals_add(&q->draft.refused, "metadata.name", NULL, "There is an existing %s \"%s\" that we do not own.",
                     foreign, name);
        q->draft.refusal = SERVICE_NOT_VALID;
        json_decref(TAKE(q->draft.object));
        answer_refused(c, q);
        return;
    }
    if (other) {
        asked_refuse(&c->requests, q, CODE_EXISTS, "service %s/%s: there is one", q->ns, name);
        return;
    }
    if (c->services.count >= c->limits->objects_max) {
        asked_refuse(&c->requests, q, CODE_EXHAUSTED, "%llu services are all that the limit objects_max allows",
                   (unsigned long long)c->limits->objects_max);
        return;
    }
    asked_stamp(&stamp, q->user);
    object_stamp_new(q->draft.object, &stamp);
    q->created = true;
    if (!finish(c, q, NULL))
        return;
    blank.bare = q->kind == CATALOG_CONFIGURATIONS;
    copy_name(blank.ns, sizeof blank.ns, q->ns);
    copy_name(blank.name, sizeof blank.name, name);
    service_write(c, q, &blank, NULL);
}

/* What the request makes of what is there; not yet checked. */
static int becoming(struct catalog_request *q, const json_t *before, json_t **ret, struct err *e)
{
    if (q->verb == CATALOG_PATCH)
        return q->patch(q, before, ret, e);
    *ret = q->verb == CATALOG_MERGE ? json_merge_patch(before, q->take_body) : json_incref(q->take_body);
    return 0;
}

static void change(struct catalog *c, struct catalog_request *q, struct service *s)
{
    struct object_stamp stamp;
    struct err e;
    AUTO_JSON json_t *before = catalog_stored(s->text);
    AUTO_JSON json_t *becomes = NULL;
    int r = becoming(q, before, &becomes, &e);
    if (r == 0)
        r = asked_check_change(becomes, s->uid, s->version, &e);
    if (r < 0) {
        asked_answer(&c->requests, q, r, NULL, &e);
        return;
    }
    prepare(c, q, becomes, before);
    if (!q->draft.object) {
        answer_refused(c, q);
        return;
    }
    asked_stamp(&stamp, q->user);
    object_stamp_changed(q->draft.object, before, &stamp);
    if (!finish(c, q, before))
        return;
    service_write(c, q, s, before);
}

static void delete(struct catalog *c, struct catalog_request *q, struct service *s)
{
    struct err e;
    int r = asked_check_delete(q, s->uid, s->version, &e);
    if (r < 0) {
        asked_answer(&c->requests, q, r, NULL, &e);
        return;
    }
    if (q->dry_run) {
        AUTO_FREE char *text = NULL;
        const struct catalog_item item = catalog_service_item(s, &text);
        asked_answer(&c->requests, q, 0, &item, NULL);
        return;
    }
    struct write *w = catalog_write_new(WRITE_SERVICE_DELETE, s, NULL, q, NULL);
    r = catalog_write(c, w, catalog_store_kind(s), s->ns, s->name, s->version, &e);
    if (r < 0)
        asked_answer(&c->requests, q, r, NULL, &e);
}

static void revision_remove(struct catalog *c, struct catalog_request *q)
{
    struct rev *v = catalog_rev(c, q->ns, q->name);
    if (!v || !v->text) {
        asked_refuse(&c->requests, q, CODE_NOT_FOUND, "revision %s/%s: there is none", q->ns, q->name);
        return;
    }
    if (strcmp(v->name, v->owner->latest_ready) == 0 ||
        strcmp(v->name, v->owner->latest_created) == 0 || catalog_routed(v)) {
        asked_refuse(&c->requests, q, CODE_PRECONDITION,
                   "service %s needs this revision; delete the service, or deploy another template, or send the "
               "traffic to others first",
                   v->owner->name);
        return;
    }
    AUTO_FREE char *text = packed_text(v->text);
    char uid[UUID_TEXT];
    memcpy(uid, v->uid, sizeof uid);
    const struct catalog_item item = { .ns = q->ns, .name = q->name, .uid = uid, .plain = text, .version = v->version };
    if (!q->dry_run) {
        catalog_delete(c, "revisions", v->ns, v->name, catalog_rev_last(v));
        if (v->running)
            c->observer->on_revision_idle(c->ctx, v->ns, v->owner->name, v->name);
        catalog_rev_drop(v);
    }
    asked_answer(&c->requests, q, 0, &item, NULL);
}

/* The Service a request is about, as far as its name can be known before it is checked. */
static struct service *request_service(const struct catalog *c, const struct catalog_request *q)
{
    const char *name = q->verb == CATALOG_CREATE ? json_text_at(q->take_body, "metadata.name") : q->name;
    return name && strlen(name) < OBJECT_NAME_MAX ? catalog_service(c, q->ns, name) : NULL;
}

/* Server-side apply creates what is not there; other patches refuse. */
static void patch_absent(struct catalog *c, struct catalog_request *q)
{
    struct err e;
    json_t *body = NULL;
    int r = q->patch(q, NULL, &body, &e);
    if (r < 0) {
        asked_answer(&c->requests, q, r, NULL, &e);
        return;
    }
    json_decref(q->take_body);
    q->take_body = body;
    create(c, q);
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
            asked_refuse(&c->requests, q, CODE_EXHAUSTED, "service %s/%s: %d requests wait already", q->ns, s->name,
                       (int)CATALOG_WAITING_MAX);
        return;
    }
    if (q->verb != CATALOG_CREATE && s && s->text && s->bare != (q->kind == CATALOG_CONFIGURATIONS)) {
        if (s->bare && q->verb != CATALOG_PATCH)
            asked_refuse(&c->requests, q, CODE_NOT_FOUND, "service %s/%s: there is none", q->ns, q->name);
        else if (s->bare)
            patch_absent(c, q); /* which refuses it, or says whose the name is */
        else
            asked_refuse(&c->requests, q, CODE_DENIED,
                         "it belongs to Service \"%s\" and follows it: change or delete the Service", s->name);
        return;
    }
    if (q->verb == CATALOG_PATCH && !(s && s->text)) {
        patch_absent(c, q);
        return;
    }
    if (q->verb != CATALOG_CREATE && !(s && s->text)) {
        asked_refuse(&c->requests, q, CODE_NOT_FOUND, "service %s/%s: there is none", q->ns, q->name);
        return;
    }
    switch (q->verb) {
    case CATALOG_CREATE: create(c, q); break;
    case CATALOG_REPLACE:
    case CATALOG_PATCH:
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

void catalog_requests_cancel(struct catalog *c)
{
    LIST_EACH(&c->requests, n, tmp) {
        struct catalog_request *q = CONTAINER_OF(n, struct catalog_request, open_node);
        struct service *s = list_node_linked(&q->node) ? request_service(c, q) : NULL;
        if (s)
            list_remove(&s->waiting, &q->node);
        loop_undefer(c->loop, &q->task);
        asked_refuse(&c->requests, q, CODE_CANCELLED, "hob is stopping");
    }
}
