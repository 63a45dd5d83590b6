#include "serving/catalog_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROLLOUTS_MAX = 16 }; /* Configurations of one Route that roll out gradually; those after them do at once */

/* How far each Configuration's newest Revision has rolled. Its name goes with it: their order follows the traffic. */
struct rollouts {
    struct {
        char configuration[OBJECT_NAME_MAX];
        struct route_rolling rolling;
    } at[ROLLOUTS_MAX];
    uint32_t count;
};

struct outside { /* a Route that is no Service's */
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX];
    struct route_table *table; /* as the observer has it; NULL: nothing can be reached */
    json_t *traffic;           /* status.traffic; NULL: never assigned */
    struct rollouts rollouts;
};

static struct str key_of(char into[KEY_SIZE], const char *ns, const char *name)
{
    int size = snprintf(into, KEY_SIZE, "%s/%s", ns, name);
    ASSERT(size > 0 && size < KEY_SIZE);
    return (struct str){ into, (size_t)size };
}

static struct outside *outside_find(const struct catalog *c, const char *ns, const char *name)
{
    char key[KEY_SIZE];
    return map_find(&c->outside, key_of(key, ns, name));
}

static void outside_free(struct outside *o)
{
    route_table_free(o->table);
    json_decref(o->traffic);
    free(o);
}

void catalog_outside_done(struct catalog *c)
{
    const struct map_slot *slot;
    for (uint32_t i = 0; (slot = map_next(&c->outside, &i)) != NULL;)
        outside_free(slot->value);
    map_done(&c->outside);
}

void catalog_outside_forgotten(struct catalog *c, const char *ns, const char *name)
{
    struct outside *o = outside_find(c, ns, name);
    if (o)
        route_table_free(TAKE(o->table));
}

bool catalog_outside_any(const struct catalog *c, const char *ns, const char *name)
{
    return outside_find(c, ns, name) != NULL;
}

static bool sends_to(const struct outside *o, const struct rev *v)
{
    if (strcmp(o->ns, v->ns) != 0)
        return false;
    for (size_t i = 0; i < json_array_size(o->traffic); i++) {
        const char *name = json_text_at(json_array_get(o->traffic, i), "revisionName");
        if (name && strcmp(name, v->name) == 0)
            return true;
    }
    return route_table_names(o->table, v->name);
}

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

char *catalog_outside_routes(const struct rev *v)
{
    const struct map_slot *slot;
    const char *names[32];
    size_t count = 0;
    for (uint32_t i = 0; count < COUNT_OF(names) && (slot = map_next(&v->catalog->outside, &i)) != NULL;) {
        const struct outside *o = slot->value;
        if (sends_to(o, v))
            names[count++] = o->name;
    }
    if (count == 0)
        return NULL;
    struct buf b;
    buf_init(&b, COUNT_OF(names) * OBJECT_NAME_MAX);
    qsort(names, count, sizeof names[0], by_name);
    for (size_t i = 0; i < count; i++)
        buf_printf(&b, "%s%s", i ? "," : "", names[i]);
    return buf_take_text(&b);
}

/* ---- what a Route may mean ---- */

struct meant {
    struct route_configuration *configurations;
    struct route_revision *revisions;
    size_t configuration_count, revision_count;
};
static void meant_free(struct meant m)
{
    free(m.configurations);
    free(m.revisions);
}
DEFINE_AUTO(meant, struct meant, meant_free)

static void revision_add(struct meant *m, const struct rev *v)
{
    for (size_t i = 0; v && i < m->revision_count; i++)
        if (m->revisions[i].name == v->name)
            return;
    if (!v || !v->text)
        return;
    m->revisions = xrealloc(m->revisions, m->revision_count + 1, sizeof *m->revisions);
    m->revisions[m->revision_count++] = (struct route_revision){ v->name, v->ready, false };
}

static void configuration_add(const struct catalog *c, struct meant *m, const char *ns, const char *name)
{
    const struct service *s = strlen(name) < OBJECT_NAME_MAX ? catalog_service(c, ns, name) : NULL;
    for (size_t i = 0; i < m->configuration_count; i++)
        if (strcmp(m->configurations[i].name, name) == 0)
            return;
    if (!s || !s->text)
        return;
    const struct rev *created = *s->latest_created ? catalog_rev(c, ns, s->latest_created) : NULL;
    m->configurations = xrealloc(m->configurations, m->configuration_count + 1, sizeof *m->configurations);
    m->configurations[m->configuration_count++] =
        (struct route_configuration){ s->name, s->latest_ready, created ? created->ready : STATUS_UNKNOWN };
    revision_add(m, *s->latest_ready ? catalog_rev(c, ns, s->latest_ready) : NULL);
    revision_add(m, created);
}

static const struct rev *rev_named(const struct catalog *c, const char *ns, const char *name)
{
    return name && strlen(name) < OBJECT_NAME_MAX ? catalog_rev(c, ns, name) : NULL;
}

static struct meant meant_make(const struct catalog *c, const struct outside *o, const json_t *traffic)
{
    struct meant m = { .configurations = NULL };
    for (size_t i = 0; i < json_array_size(traffic); i++) {
        const json_t *target = json_array_get(traffic, i);
        const char *configuration = json_text_at(target, "configurationName");
        if (configuration)
            configuration_add(c, &m, o->ns, configuration);
        revision_add(&m, rev_named(c, o->ns, json_text_at(target, "revisionName")));
    }
    for (size_t i = 0; i < json_array_size(o->traffic); i++)
        revision_add(&m, rev_named(c, o->ns, json_text_at(json_array_get(o->traffic, i), "revisionName")));
    for (uint32_t k = 0; k < o->rollouts.count; k++) {
        const struct route_rolling *r = &o->rollouts.at[k].rolling;
        for (uint32_t i = 0; i < r->count; i++)
            revision_add(&m, rev_named(c, o->ns, r->shares[i].revision));
    }
    return m;
}

/* ---- gradual rollouts ---- */

static int64_t rollouts_next_ms(const struct rollouts *all)
{
    int64_t next_ms = 0;
    for (uint32_t i = 0; i < all->count; i++) {
        int64_t step_ms = all->at[i].rolling.next_ms;
        next_ms = step_ms && (!next_ms || step_ms < next_ms) ? step_ms : next_ms;
    }
    return next_ms;
}

/* "configuration: …; configuration: …", with what route_rolling_format() writes. */
static char *rollouts_format(const struct rollouts *all)
{
    struct buf b;
    buf_init(&b, ROLLOUTS_MAX * (ROUTE_ROLLING_MAX + 1) * (OBJECT_NAME_MAX + 16) + 128);
    for (uint32_t i = 0; i < all->count; i++) {
        AUTO_FREE char *one = route_rolling_format(&all->at[i].rolling);
        if (all->at[i].rolling.count > 0)
            buf_printf(&b, "%s%s: %s", buf_str(&b).size ? "; " : "", all->at[i].configuration, one);
    }
    return buf_take_text(&b);
}

static void rollouts_parse(const char *text, struct rollouts *ret)
{
    *ret = (struct rollouts){ .count = 0 };
    for (struct str rest = str_of(text); rest.size > 0 && ret->count < ROLLOUTS_MAX;) {
        struct str one = str_trim(str_cut(&rest, ';'));
        struct str name = str_cut(&one, ':');
        AUTO_FREE char *rolling = xasprintf(STR_FMT, STR_ARG(str_trim(one)));
        if (name.size == 0 || name.size >= OBJECT_NAME_MAX || !route_rolling_parse(rolling, &ret->at[ret->count].rolling))
            continue;
        memcpy(ret->at[ret->count].configuration, name.at, name.size);
        ret->at[ret->count++].configuration[name.size] = '\0';
    }
}

/* In the order of `m`'s Configurations, as far as each has rolled; one entry at least. */
static struct route_rolling *rollings_make(const struct rollouts *all, const struct meant *m)
{
    struct route_rolling *rollings = xcalloc(m->configuration_count + 1, sizeof *rollings);
    for (size_t i = 0; i < m->configuration_count; i++)
        for (uint32_t k = 0; k < all->count; k++)
            if (strcmp(all->at[k].configuration, m->configurations[i].name) == 0)
                rollings[i] = all->at[k].rolling;
    return rollings;
}

static void rollings_keep(struct rollouts *all, const struct meant *m, const struct route_rolling *rollings)
{
    *all = (struct rollouts){ .count = (uint32_t)MIN(m->configuration_count, (size_t)ROLLOUTS_MAX) };
    for (uint32_t i = 0; i < all->count; i++) {
        copy_name(all->at[i].configuration, sizeof all->at[i].configuration, m->configurations[i].name);
        all->at[i].rolling = rollings[i];
    }
}

/* ---- the Route as it is now ---- */

static json_t *status_make(const struct catalog *c, const struct outside *o, const struct route_ask *ask, const struct route *r,
                           const json_t *object)
{
    AUTO_FREE char *url = route_url(ask, "");
    AUTO_FREE char *taken = catalog_tag_taken(c, r->table);
    AUTO_FREE char *cluster = xasprintf("http://%s.%s.svc.cluster.local", o->name, o->ns);
    AUTO_FREE char *rolling = rollouts_next_ms(&o->rollouts) ? rollouts_format(&o->rollouts) : NULL;
    const struct status_route facts = {
        .url = url,
        .cluster_url = cluster,
        .generation = json_int_at(object, "metadata.generation", 1),
        .assigned = r->assigned,
        .reason = r->reason,
        .message = r->reason ? r->message : NULL,
        .traffic = o->traffic,
        .rolling = rolling,
        .taken = taken,
    };
    return status_of_route(&facts, json_object_get(object, "status"), ask->now_ms);
}

/* Revisions that it names from now on, or did until now, start and stop with it. */
static void services_look(struct catalog *c, const struct route_table *t, const char *ns)
{
    for (uint32_t i = 0; t && i < t->count; i++)
        for (uint32_t k = 0; k < t->hosts[i].count; k++) {
            const struct rev *v = catalog_rev(c, ns, t->hosts[i].shares[k].revision);
            if (v)
                catalog_route_look(c, v->owner);
        }
}

static void table_set(struct catalog *c, struct outside *o, struct route_table *take_table)
{
    struct route_table *old = o->table;
    if (route_table_equal(old, take_table)) {
        o->table = take_table;
        services_look(c, take_table, o->ns); /* they may have come back */
        route_table_free(old);
        return;
    }
    o->table = take_table;
    services_look(c, take_table, o->ns);
    if (take_table)
        c->observer->on_route(c->ctx, take_table);
    else
        c->observer->on_route_gone(c->ctx, o->ns, o->name);
    services_look(c, old, o->ns);
    route_table_free(old);
}

static struct outside *outside_make(struct catalog *c, const char *ns, const char *name, const json_t *object)
{
    char key[KEY_SIZE];
    struct outside *o = xcalloc(1, sizeof *o);
    const char *rolling = json_text_key(object, "status.annotations", STATUS_ROLLING);
    copy_name(o->ns, sizeof o->ns, ns);
    copy_name(o->name, sizeof o->name, name);
    o->traffic = json_incref(json_at(object, "status.traffic")); /* as it was before this boot */
    if (rolling)
        rollouts_parse(rolling, &o->rollouts);
    map_put(&c->outside, key_of(key, ns, name), o);
    catalog_name_changed(c, ns, name);
    return o;
}

static void outside_drop(struct catalog *c, const char *ns, const char *name)
{
    char key[KEY_SIZE];
    struct outside *o = map_remove(&c->outside, key_of(key, ns, name));
    if (!o)
        return;
    if (o->table)
        c->observer->on_route_gone(c->ctx, ns, name);
    services_look(c, o->table, ns);
    outside_free(o);
    catalog_name_changed(c, ns, name);
}

json_t *catalog_outside_set(struct catalog *c, const char *ns, const char *name, const json_t *object,
                            int64_t *ret_next_ms)
{
    *ret_next_ms = 0;
    if (!object) {
        outside_drop(c, ns, name);
        return NULL;
    }
    struct outside *o = outside_find(c, ns, name);
    if (!o)
        o = outside_make(c, ns, name, object);
    const json_t *traffic = json_at(object, "spec.traffic");
    AUTO(meant) struct meant m = meant_make(c, o, traffic);
    AUTO_FREE struct route_rolling *rollings = rollings_make(&o->rollouts, &m);
    const struct route_configuration none = { "", "", STATUS_UNKNOWN };
    const struct route_configuration *first = m.configuration_count ? &m.configurations[0] : &none;
    const struct route_ask ask = {
        .ns = ns,
        .name = name,
        .port = c->port,
        .configuration = first->name,
        .traffic = traffic,
        .revisions = m.revisions,
        .revision_count = m.revision_count,
        .latest_ready = first->latest_ready,
        .latest_created = "",
        .created = first->created,
        .others = m.configurations + (m.configuration_count > 0),
        .other_count = m.configuration_count - (m.configuration_count > 0),
        .other_rolling = rollings + 1,
        .before = o->traffic,
        .rollout_ms = service_rollout_ms(object),
        .now_ms = loop_wall_ms(),
        .cluster_local = service_cluster_local(object),
    };
    struct route r;
    route_make(&ask, &rollings[0], &r);
    rollings_keep(&o->rollouts, &m, rollings);
    json_decref(o->traffic);
    o->traffic = json_incref(r.traffic);
    json_t *status = status_make(c, o, &ask, &r, object);
    table_set(c, o, TAKE(r.table));
    *ret_next_ms = rollouts_next_ms(&o->rollouts);
    route_done(&r);
    return status;
}
