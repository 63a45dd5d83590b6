#include "serving/catalog_impl.h"

#include "serving/asked.h"

#include <stdlib.h>

/* ---- writing ---- */

static void on_written(struct store_change *change, int r, int64_t version, const struct err *e);

void catalog_write_free(struct write *w)
{
    json_decref(w->object);
    packed_free(w->before);
    packed_free(w->after);
    free(w);
}

/* Takes w and its object, also where it fails. */
int catalog_write(struct catalog *c, struct write *w, const char *kind, const char *ns,
                        const char *name, int64_t expect, struct err *e)
{
    AUTO_FREE char *text = w->object ? catalog_text(w->object) : NULL;
    w->catalog = c;
    w->kind_name = kind;
    copy_name(w->ns, sizeof w->ns, ns);
    copy_name(w->name, sizeof w->name, name);
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
    if (w->part)
        w->part->busy = true;
    list_push(&c->writes, &w->node);
    int r = store_submit(c->store, &w->change, e);
    if (r == 0)
        return 0;
    list_remove(&c->writes, &w->node);
    if (w->service)
        w->service->busy = false;
    if (w->rev)
        w->rev->busy = false;
    if (w->part)
        w->part->busy = false;
    catalog_write_free(w);
    return r;
}

struct write *catalog_write_new(enum write_kind kind, struct service *s, struct rev *v,
                               struct catalog_request *q, json_t *take_object)
{
    struct write *w = xcalloc(1, sizeof *w);
    *w = (struct write){ .kind = kind, .service = s, .rev = v, .q = q, .object = take_object };
    return w;
}

/* ---- when the store has answered ---- */

void catalog_text_set(struct catalog *c, struct service *s, struct packed *take_text, int64_t version)
{
    bool first = !s->text;
    packed_free(s->text);
    s->text = take_text;
    s->version = version;
    if (first)
        catalog_sorted_add(c, s);
}

static void service_written(struct catalog *c, struct write *w, int r, int64_t version,
                            const struct err *e)
{
    struct service *s = w->service;
    if (r < 0) {
        if (s->text) {
            catalog_release(c, s);
        } else {
            asked_again(c->loop, &s->waiting);
            catalog_service_free(c, s);
        }
        asked_answer(&c->requests, w->q, r, NULL, e);
        return;
    }
    s->generation = w->generation;
    s->template_generation = w->template_generation;
    copy_name(s->latest_created, sizeof s->latest_created, w->latest_created);
    copy_name(s->uid, sizeof s->uid, json_text_at(w->object, "metadata.uid"));
    bool first = !s->text;
    catalog_text_set(c, s, TAKE(w->after), version);
    if (first)
        catalog_name_changed(c, s->ns, s->name);
    for (enum part_kind k = 0; !s->bare && k < PARTS; k++)
        if (!*s->parts[k].uid)
            catalog_part_init(s, k);
    catalog_route_look(c, s);
    catalog_parts_flush(c, s); /* in front of the Revision: who owns it is durable no later than it */
    if (w->new_template) {
        struct object_stamp stamp;
        asked_stamp(&stamp, w->q->user);
        struct rev *v = catalog_rev_new(c, s, s->latest_created, s->template_generation);
        copy_name(v->uid, sizeof v->uid, stamp.uid);
        v->pending = object_revision(w->object, v->name, v->number, catalog_configuration_uid(s), &stamp);
        (void)catalog_status_put(v->pending, catalog_rev_status(v, v->pending));
        catalog_rev_ages(v, v->pending);
        catalog_revision_write(c, v);
    }
    AUTO_FREE char *text = packed_text(s->text);
    struct catalog_item item = catalog_service_item(s, NULL);
    item.plain = text;
    catalog_release(c, s);
    asked_answer(&c->requests, w->q, 0, &item, NULL);
}

static void status_written(struct catalog *c, struct write *w, int r, int64_t version)
{
    struct service *s = w->service;
    if (r < 0) {
        s->dirty = true;
        catalog_flush_later(c, s, FLUSH_RETRY_US);
        catalog_release(c, s);
        return;
    }
    catalog_text_set(c, s, TAKE(w->after), version);
    catalog_release(c, s);
}

static void service_deleted(struct catalog *c, struct write *w, int r, const struct err *e)
{
    struct service *s = w->service;
    if (r < 0) {
        catalog_release(c, s);
        asked_answer(&c->requests, w->q, r, NULL, e);
        return;
    }
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX], uid[UUID_TEXT];
    AUTO_FREE char *text = packed_text(s->text);
    packed_free(TAKE(s->text));
    memcpy(ns, s->ns, sizeof ns);
    memcpy(name, s->name, sizeof name);
    memcpy(uid, s->uid, sizeof uid);
    const struct catalog_item item = { .ns = ns, .name = name, .uid = uid, .plain = text, .version = s->version };
    LIST_EACH(&s->revisions, n, tmp) {
        const struct rev *v = CONTAINER_OF(n, struct rev, node);
        catalog_delete(c, "revisions", v->ns, v->name, catalog_rev_last(v));
    }
    catalog_parts_delete(c, s);
    catalog_sorted_remove(c, s);
    asked_again(c->loop, &s->waiting);
    catalog_service_free(c, s);
    c->observer->on_service_gone(c->ctx, ns, name);
    catalog_outside_forgotten(c, ns, name);
    catalog_name_changed(c, ns, name);
    asked_answer(&c->requests, w->q, 0, &item, NULL);
}

static void revision_written(struct catalog *c, struct write *w, int r, int64_t version)
{
    struct rev *v = w->rev;
    v->busy = false;
    if (!v->owner) {
        catalog_rev_drop(v);
        return;
    }
    if (r < 0) {
        v->dirty = true;
        catalog_flush_later(c, v->owner, FLUSH_RETRY_US);
        return;
    }
    bool first = !v->text;
    packed_free(v->text);
    v->text = TAKE(w->after);
    v->version = version;
    json_decref(TAKE(v->pending));
    enum status_ready was = v->ready;
    bool took_over = catalog_ready_look(c, v);
    v->owner->dirty = true;
    catalog_parts_mark(v->owner);
    catalog_flush_soon(c, v->owner);
    if (first)
        catalog_needs(v, w->object);
    if (first || v->ready != was)
        catalog_route_look(c, v->owner);
    if (took_over)
        catalog_revisions_trim(c, v->owner);
}

/* Whoever watches hears of a change before whoever asked for it. */
static void log_change(struct catalog *c, struct write *w, int64_t version)
{
    AUTO_FREE char *before = packed_text(w->before    ? w->before
                                         : w->service ? w->service->text
                                         : w->rev     ? w->rev->text
                                                      : NULL);
    AUTO_FREE char *after = NULL;
    if (w->object) {
        object_version_set(w->object, version);
        after = catalog_text(w->object);
    }
    if (before || after)
        w->after = packed_share(watchlog_append(c->log, version, w->kind_name, w->ns, w->name, before, after));
}

static void on_written(struct store_change *change, int r, int64_t version, const struct err *e)
{
    struct write *w = CONTAINER_OF(change, struct write, change);
    struct catalog *c = w->catalog;
    if (c) {
        list_remove(&c->writes, &w->node);
        if (r == 0)
            log_change(c, w, version);
        switch (w->kind) {
        case WRITE_SERVICE: service_written(c, w, r, version, e); break;
        case WRITE_STATUS: status_written(c, w, r, version); break;
        case WRITE_SERVICE_DELETE: service_deleted(c, w, r, e); break;
        case WRITE_REVISION: revision_written(c, w, r, version); break;
        case WRITE_PART: catalog_part_written(c, w, r, version); break;
        case WRITE_DELETE: break;
        }
    }
    catalog_write_free(w);
}
