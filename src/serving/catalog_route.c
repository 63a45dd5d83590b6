#include "serving/catalog_impl.h"

#include <stdlib.h>

enum { ROLL_RETRY_MS = 1 };

/* ---- what the Route of a Service is now ---- */

struct known { /* the Revisions that a Route may mean */
    struct route_revision *rows;
    size_t count;
};
static void known_free(struct known k) { free(k.rows); }
DEFINE_AUTO(known, struct known, known_free)

static void known_add(struct known *k, const char *name, enum status_ready ready, bool foreign)
{
    for (size_t i = 0; i < k->count; i++)
        if (strcmp(k->rows[i].name, name) == 0)
            return;
    k->rows = xrealloc(k->rows, k->count + 1, sizeof *k->rows);
    k->rows[k->count++] = (struct route_revision){ name, ready, foreign };
}

/* `s` may be a plan, whose Revisions are those of the Service that there is. */
static struct known known_make(const struct catalog *c, const struct service *s, const json_t *traffic)
{
    const struct service *real = catalog_service(c, s->ns, s->name);
    struct known k = { NULL, 0 };
    if (real)
        LIST_EACH(&real->revisions, n, tmp) {
            const struct rev *v = CONTAINER_OF(n, struct rev, node);
            known_add(&k, v->name, v->ready, false);
        }
    if (*s->latest_created)
        known_add(&k, s->latest_created, STATUS_UNKNOWN, false);
    for (size_t i = 0; i < json_array_size(traffic); i++) {
        const char *name = json_text_at(json_array_get(traffic, i), "revisionName");
        const struct rev *v =
            name && strlen(name) < OBJECT_NAME_MAX ? catalog_rev(c, s->ns, name) : NULL;
        if (v)
            known_add(&k, name, v->ready, true);
    }
    return k;
}

static void rolling_read(const struct service *s, struct route_rolling *ret)
{
    *ret = (struct route_rolling){ .count = 0 };
    if (s->rolling)
        (void)route_rolling_parse(s->rolling, ret);
}

struct made { /* a Route that was computed, with its addresses */
    struct route route;
    struct route_rolling rolling;
    char *url;
};
static void made_done(struct made *m)
{
    route_done(&m->route);
    free(m->url);
}

static void make(const struct catalog *c, const struct service *s, const json_t *object, struct made *ret)
{
    const json_t *traffic = json_at(object, "spec.traffic");
    AUTO(known) struct known k = known_make(c, s, traffic);
    const struct rev *created = *s->latest_created ? catalog_rev(c, s->ns, s->latest_created) : NULL;
    const struct route_ask ask = {
        .ns = s->ns,
        .name = s->name,
        .port = c->port,
        .configuration = s->name,
        .traffic = traffic,
        .revisions = k.rows,
        .revision_count = k.count,
        .latest_ready = s->latest_ready,
        .latest_created = created && created->text ? s->latest_created : "",
        .created = created ? created->ready : STATUS_UNKNOWN,
        .before = s->traffic,
        .rollout_ms = service_rollout_ms(object),
        .now_ms = loop_wall_ms(),
        .cluster_local = service_cluster_local(object),
    };
    rolling_read(s, &ret->rolling);
    route_make(&ask, &ret->rolling, &ret->route);
    ret->url = route_url(&ask, "");
}

/* ---- status of the parts ---- */

static json_t *configuration_status(const struct catalog *c, const struct service *s, const json_t *before)
{
    AUTO_JSON json_t *created = catalog_status(catalog_rev(c, s->ns, s->latest_created));
    const struct status_configuration facts = {
        .name = s->name,
        .generation = s->template_generation,
        .latest_created = s->latest_created,
        .latest_ready = *s->latest_ready ? s->latest_ready : NULL,
        .created_status = created,
    };
    return status_of_configuration(&facts, before, loop_wall_ms());
}

static json_t *route_status(const struct catalog *c, const struct service *s, const struct made *m, int64_t generation,
                            const json_t *before)
{
    AUTO_FREE char *taken = catalog_tag_taken(c, m->route.table);
    AUTO_FREE char *cluster = xasprintf("http://%s.%s.svc.cluster.local", s->name, s->ns);
    AUTO_FREE char *rolling = m->rolling.next_ms ? route_rolling_format(&m->rolling) : NULL;
    const struct status_route facts = {
        .url = m->url,
        .cluster_url = cluster,
        .generation = generation,
        .assigned = m->route.assigned,
        .reason = m->route.reason,
        .message = m->route.reason ? m->route.message : NULL,
        .traffic = m->route.traffic,
        .rolling = rolling,
        .taken = taken,
    };
    return status_of_route(&facts, before, loop_wall_ms());
}

json_t *catalog_service_status(const struct catalog *c, const struct service *s, const json_t *object)
{
    struct made m;
    if (s->bare)
        return configuration_status(c, s, json_object_get(object, "status"));
    make(c, s, object, &m);
    AUTO_JSON json_t *serving =
        catalog_status(catalog_rev(c, s->ns, *s->latest_ready ? s->latest_ready : s->latest_created));
    AUTO_JSON json_t *configuration = configuration_status(c, s, NULL);
    AUTO_JSON json_t *route = route_status(c, s, &m, s->generation, NULL);
    const struct status_service facts = { s->generation, configuration, route, serving };
    json_t *status = status_of_service(&facts, json_object_get(object, "status"), loop_wall_ms());
    made_done(&m);
    return status;
}

/* ---- the parts as objects ---- */

const char *const catalog_part_kinds[] = { [PART_CONFIGURATION] = "configurations",
                                           [PART_ROUTE] = "routes" };

static json_t *part_make(const struct catalog *c, const struct service *s, enum part_kind kind,
                         const json_t *before)
{
    AUTO_JSON json_t *service = catalog_stored(s->text);
    const json_t *status = json_object_get(before, "status");
    struct object_stamp stamp = { .now_ms = loop_wall_ms(), .user = "system:hob" };
    memcpy(stamp.uid, s->parts[kind].uid, sizeof stamp.uid);
    json_t *object;
    if (kind == PART_CONFIGURATION) {
        object = object_configuration(service, s->template_generation, before, &stamp);
        (void)json_object_set_new(object, "status", configuration_status(c, s, status));
        return object;
    }
    struct made m;
    make(c, s, service, &m);
    object = object_route(service, before, &stamp);
    (void)json_object_set_new(object, "status",
                              route_status(c, s, &m, json_int_at(object, "metadata.generation", 1), status));
    made_done(&m);
    return object;
}

static void part_flush(struct catalog *c, struct service *s, enum part_kind kind)
{
    struct part *p = &s->parts[kind];
    struct err e;
    if (p->busy)
        return;
    AUTO_JSON json_t *before = catalog_stored(p->text);
    AUTO_JSON json_t *object = part_make(c, s, kind, before);
    p->dirty = false;
    if (before) {
        object_version_set(object, p->version);
        if (json_equal(before, object))
            return;
    }
    struct write *w = catalog_write_new(WRITE_PART, NULL, NULL, NULL, TAKE(object));
    w->part = p;
    w->before = packed_share(p->text);
    if (catalog_write(c, w, catalog_part_kinds[kind], s->ns, s->name,
                      before ? p->version : STORE_ANY_VERSION, &e) < 0) {
        p->dirty = true;
        catalog_flush_retry(c, s);
    }
}

void catalog_parts_flush(struct catalog *c, struct service *s)
{
    for (enum part_kind k = 0; !s->bare && k < PARTS; k++)
        if (s->parts[k].dirty)
            part_flush(c, s, k);
}

void catalog_parts_mark(struct service *s)
{
    for (enum part_kind k = 0; k < PARTS; k++)
        s->parts[k].dirty = true;
}

void catalog_part_written(struct catalog *c, struct write *w, int r, int64_t version)
{
    struct part *p = w->part;
    if (!p)
        return; /* its Service went meanwhile */
    p->busy = false;
    if (r < 0) {
        p->dirty = true;
        catalog_flush_retry(c, p->owner);
        return;
    }
    packed_free(p->text);
    p->text = TAKE(w->after);
    p->version = version;
    if (p->dirty)
        catalog_flush_soon(c, p->owner);
}

/* As it will have been last: what is on its way commits before its removal does. */
static struct packed *part_last(const struct catalog *c, const struct part *p, enum part_kind kind)
{
    LIST_EACH(&c->writes, n, tmp) {
        const struct write *w = CONTAINER_OF(n, struct write, node);
        if (w->part == p)
            return catalog_pack(c, catalog_part_kinds[kind], w->object, 0);
    }
    return packed_share(p->text);
}

void catalog_parts_delete(struct catalog *c, struct service *s)
{
    for (enum part_kind k = 0; k < PARTS; k++)
        if (s->parts[k].text || s->parts[k].busy)
            catalog_delete(c, catalog_part_kinds[k], s->ns, s->name, part_last(c, &s->parts[k], k));
}

void catalog_parts_free(struct catalog *c, struct service *s)
{
    LIST_EACH(&c->writes, n, tmp) {
        struct write *w = CONTAINER_OF(n, struct write, node);
        if (w->part && w->part->owner == s)
            w->part = NULL;
    }
    for (enum part_kind k = 0; k < PARTS; k++)
        packed_free(s->parts[k].text);
    loop_cancel(c->loop, &s->roll);
    route_table_free(s->table);
    json_decref(s->traffic);
    free(s->rolling);
}

/* ---- what follows ---- */

/* Newer than what is ready: it still proves itself, and may take over. */
static bool proving(const struct service *s, const struct rev *v)
{
    const struct rev *ready = *s->latest_ready ? catalog_rev(v->catalog, s->ns, s->latest_ready) : NULL;
    return !ready || v->number > ready->number;
}

static bool in_traffic(const json_t *traffic, const char *name)
{
    for (size_t i = 0; i < json_array_size(traffic); i++) {
        const char *revision = json_text_at(json_array_get(traffic, i), "revisionName");
        if (revision && strcmp(revision, name) == 0)
            return true;
    }
    return false;
}

static bool from_outside(const struct rev *v)
{
    AUTO_FREE char *routes = catalog_outside_routes(v);
    return routes != NULL;
}

bool catalog_routed(const struct rev *v)
{
    return in_traffic(v->owner->traffic, v->name) || route_table_names(v->owner->table, v->name) || from_outside(v);
}

static bool by_own(const struct rev *v)
{
    bool shares = v->ready == STATUS_TRUE && route_table_names(v->owner->table, v->name);
    return shares || in_traffic(v->owner->traffic, v->name);
}

char *catalog_routes(const struct rev *v)
{
    AUTO_FREE char *outside = catalog_outside_routes(v);
    if (!outside)
        return by_own(v) ? xstrdup(v->owner->name) : NULL;
    return by_own(v) ? xasprintf("%s,%s", v->owner->name, outside) : TAKE(outside);
}

enum object_routing catalog_routing(const struct rev *v)
{
    return by_own(v) || from_outside(v) ? OBJECT_ACTIVE
           : proving(v->owner, v)       ? OBJECT_PENDING
                                        : OBJECT_RESERVE;
}

/* False: none was started. */
static bool revisions_start(struct catalog *c, struct service *s, const struct route_table *table)
{
    bool any = false;
    LIST_EACH(&s->revisions, n, tmp) {
        struct rev *v = CONTAINER_OF(n, struct rev, node);
        if (v->running || !v->text || !(route_table_names(table, v->name) || proving(s, v) || from_outside(v)))
            continue;
        v->running = any = true;
        catalog_rev_emit(c, v, v->ready == STATUS_TRUE);
    }
    return any;
}

static void revisions_stop(struct catalog *c, struct service *s)
{
    LIST_EACH(&s->revisions, n, tmp) {
        struct rev *v = CONTAINER_OF(n, struct rev, node);
        if (!v->running || route_table_names(s->table, v->name) || proving(s, v) || from_outside(v))
            continue;
        v->running = false;
        loop_cancel(c->loop, &v->deadline);
        c->observer->on_revision_idle(c->ctx, s->ns, s->name, v->name);
    }
}

static void routing_note(struct service *s)
{
    LIST_EACH(&s->revisions, n, tmp) {
        struct rev *v = CONTAINER_OF(n, struct rev, node);
        enum object_routing now = catalog_routing(v);
        v->dirty |= v->text && now != v->routing;
        if (now != v->routing)
            v->routing_ms = loop_wall_ms();
        v->routing = now;
    }
}

static void roll_later(struct catalog *c, struct service *s, const struct route_rolling *r)
{
    if (r->next_ms == 0) {
        loop_cancel(c->loop, &s->roll);
        return;
    }
    int64_t wait_ms = MAX((int64_t)ROLL_RETRY_MS, r->next_ms - loop_wall_ms());
    loop_after(c->loop, &s->roll, (uint64_t)wait_ms * 1000);
}

/* Nobody but Routes from outside can send to the Revisions of a Configuration of its own; the newest ready one
 * is kept as it is for whoever comes to. */
static void bare_look(struct catalog *c, struct service *s)
{
    (void)revisions_start(c, s, NULL);
    revisions_stop(c, s);
    routing_note(s);
    s->dirty = true;
    catalog_flush_soon(c, s);
}

void catalog_route_look(struct catalog *c, struct service *s)
{
    if (s->bare && s->text)
        bare_look(c, s);
    AUTO_JSON json_t *object = s->bare ? NULL : catalog_stored(s->text);
    if (!object)
        return;
    struct made m;
    make(c, s, object, &m);
    struct route_table *table = TAKE(m.route.table);
    bool started = revisions_start(c, s, table);
    bool changed = started || !route_table_equal(s->table, table);
    route_table_free(s->table);
    s->table = table;
    json_decref(s->traffic);
    s->traffic = TAKE(m.route.traffic);
    free(s->rolling);
    s->rolling = m.rolling.count ? route_rolling_format(&m.rolling) : NULL;
    if (table && changed)
        c->observer->on_route(c->ctx, table);
    revisions_stop(c, s);
    routing_note(s);
    roll_later(c, s, &m.rolling);
    made_done(&m);
    s->dirty = true;
    catalog_parts_mark(s);
    catalog_flush_soon(c, s);
}

void catalog_on_roll(struct loop_timer *t)
{
    struct service *s = CONTAINER_OF(t, struct service, roll);
    catalog_route_look(s->catalog, s);
}

void catalog_route_load(struct service *s, const json_t *status)
{
    const char *rolling = json_text_key(status, "annotations", STATUS_ROLLING);
    struct route_rolling r;
    json_t *traffic = json_object_get(status, "traffic");
    if (json_is_array(traffic)) {
        json_decref(s->traffic);
        s->traffic = json_incref(traffic);
    }
    if (rolling && route_rolling_parse(rolling, &r)) {
        free(s->rolling);
        s->rolling = xstrdup(rolling);
    }
}
