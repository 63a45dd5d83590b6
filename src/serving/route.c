#include "serving/route.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { PERCENT_ALL = 100, WEIGHT_OF_PERCENT = ROUTE_WEIGHT_ALL / PERCENT_ALL };

/* ---- the table ---- */

void route_table_free(struct route_table *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; i < t->count; i++)
        free(t->hosts[i].shares);
    free(t->hosts);
    free(t);
}

static bool host_equal(const struct route_host *a, const struct route_host *b)
{
    if (strcmp(a->tag, b->tag) != 0 || a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (a->shares[i].weight != b->shares[i].weight ||
            strcmp(a->shares[i].revision, b->shares[i].revision) != 0)
            return false;
    return true;
}

bool route_table_equal(const struct route_table *a, const struct route_table *b)
{
    if (!a || !b)
        return a == b;
    if (a->count != b->count || a->cluster_local != b->cluster_local)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!host_equal(&a->hosts[i], &b->hosts[i]))
            return false;
    return true;
}

bool route_table_names(const struct route_table *t, const char *revision)
{
    for (uint32_t i = 0; t && i < t->count; i++)
        for (uint32_t k = 0; k < t->hosts[i].count; k++)
            if (strcmp(t->hosts[i].shares[k].revision, revision) == 0)
                return true;
    return false;
}

void route_table_check(const struct route_table *t)
{
    ASSERT(t->count > 0 && !t->hosts[0].tag[0]);
    for (uint32_t i = 0; i < t->count; i++) {
        const struct route_host *h = &t->hosts[i];
        uint32_t sum = 0;
        ASSERT(i == 0 || h->tag[0]);
        for (uint32_t k = 0; k < h->count; k++) {
            sum += h->shares[k].weight;
            ASSERT(h->shares[k].weight > 0);
            for (uint32_t j = 0; j < k; j++)
                ASSERT(strcmp(h->shares[j].revision, h->shares[k].revision) != 0);
        }
        ASSERT(sum == ROUTE_WEIGHT_ALL);
    }
}

static struct route_host *host_add(struct route_table *t, const char *tag)
{
    t->hosts = xrealloc(t->hosts, t->count + 1, sizeof *t->hosts);
    struct route_host *h = &t->hosts[t->count++];
    *h = (struct route_host){ .shares = NULL };
    (void)snprintf(h->tag, sizeof h->tag, "%s", tag);
    return h;
}

static void share_add(struct route_host *h, const char *revision, uint32_t weight)
{
    if (weight == 0)
        return;
    for (uint32_t i = 0; i < h->count; i++)
        if (strcmp(h->shares[i].revision, revision) == 0) {
            h->shares[i].weight += weight;
            return;
        }
    h->shares = xrealloc(h->shares, h->count + 1, sizeof *h->shares);
    struct route_share *s = &h->shares[h->count++];
    s->weight = weight;
    (void)snprintf(s->revision, sizeof s->revision, "%s", revision);
}

/* What was lost with a Revision goes to the others as they stand to each other. */
static void host_fill(struct route_host *h)
{
    uint64_t sum = 0, given = 0;
    for (uint32_t i = 0; i < h->count; i++)
        sum += h->shares[i].weight;
    if (sum == 0 || sum == ROUTE_WEIGHT_ALL)
        return;
    for (uint32_t i = 0; i < h->count; i++) {
        uint64_t share = MAX(UINT64_C(1), h->shares[i].weight * (uint64_t)ROUTE_WEIGHT_ALL / sum);
        h->shares[i].weight = (uint32_t)share;
        given += share;
    }
    ASSERT(given <= ROUTE_WEIGHT_ALL + h->count);
    struct route_share *most = &h->shares[0];
    for (uint32_t i = 1; i < h->count; i++)
        if (h->shares[i].weight > most->weight)
            most = &h->shares[i];
    most->weight = (uint32_t)(most->weight + ROUTE_WEIGHT_ALL - given);
}

/* ---- a gradual rollout ---- */

enum { STEP_MS_MIN = 1000 }; /* Knative: at least a second, or the time the ingress needs; ours needs none */

static void rolling_remove(struct route_rolling *r, uint32_t at)
{
    ASSERT(at < r->count);
    r->count--;
    memmove(&r->shares[at], &r->shares[at + 1], (r->count - at) * sizeof r->shares[0]);
}

static void rolling_only(struct route_rolling *r, const char *latest, uint32_t percent)
{
    *r = (struct route_rolling){ .count = 1 };
    (void)snprintf(r->shares[0].revision, sizeof r->shares[0].revision, "%s", latest);
    r->shares[0].percent = percent;
}

/* The oldest give first; who has nothing left goes, but never the newest. */
static void rolling_take(struct route_rolling *r, uint32_t percent)
{
    while (percent > 0 && r->count > 0) {
        uint32_t part = MIN(percent, r->shares[0].percent);
        r->shares[0].percent -= part;
        percent -= part;
        if (r->shares[0].percent > 0 || r->count == 1)
            break;
        rolling_remove(r, 0);
    }
}

static void rolling_adjust(struct route_rolling *r, uint32_t percent)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < r->count; i++)
        sum += r->shares[i].percent;
    if (sum < percent)
        r->shares[r->count - 1].percent += percent - sum;
    else
        rolling_take(r, sum - percent);
}

static void rolling_begin(struct route_rolling *r, const char *latest, uint32_t percent,
                          int64_t duration_ms, int64_t now_ms)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (strcmp(r->shares[i].revision, latest) == 0) { /* back to one that still has a share */
            uint32_t had = r->shares[i].percent;
            rolling_remove(r, i);
            r->shares[r->count - 1].percent += had;
            break;
        }
    if (r->count == ROUTE_ROLLING_MAX) {
        r->shares[1].percent += r->shares[0].percent;
        rolling_remove(r, 0);
    }
    if (--r->shares[r->count - 1].percent == 0)
        r->count--;
    r->shares[r->count].percent = 1;
    (void)snprintf(r->shares[r->count].revision, sizeof r->shares[0].revision, "%s", latest);
    r->count++;
    int64_t steps = MIN((int64_t)percent - 1, MAX(INT64_C(1), (duration_ms - STEP_MS_MIN) / STEP_MS_MIN));
    r->step_percent = (uint32_t)((2 * ((int64_t)percent - 1) + steps) / (2 * steps)); /* rounded */
    r->step_ms = MAX(INT64_C(1), duration_ms / steps);
    r->next_ms = now_ms + r->step_ms;
}

static void rolling_step(struct route_rolling *r, uint32_t percent)
{
    uint32_t last = r->count - 1;
    uint32_t part = MIN(r->step_percent, percent - r->shares[last].percent);
    r->shares[last].percent += part;
    rolling_take(r, part);
    if (r->count == 1)
        r->next_ms = 0;
    else
        r->next_ms += r->step_ms;
}

void route_roll(struct route_rolling *r, const char *latest, uint32_t percent, int64_t duration_ms,
                int64_t now_ms)
{
    if (r->count == 0 || percent <= 1 || duration_ms <= 0) {
        rolling_only(r, latest, percent);
        return;
    }
    rolling_adjust(r, percent);
    if (strcmp(r->shares[r->count - 1].revision, latest) != 0) {
        if (r->shares[r->count - 1].percent == 0)
            rolling_only(r, latest, percent);
        else
            rolling_begin(r, latest, percent, duration_ms, now_ms);
        return;
    }
    if (r->count == 1)
        r->next_ms = 0;
    for (int steps = 0; r->next_ms && now_ms >= r->next_ms && steps < PERCENT_ALL; steps++)
        rolling_step(r, percent);
}

char *route_rolling_format(const struct route_rolling *r)
{
    struct buf b;
    buf_init(&b, ROUTE_ROLLING_MAX * (OBJECT_NAME_MAX + 8) + 128);
    buf_printf(&b, "%lld %lld %u", (long long)r->next_ms, (long long)r->step_ms, r->step_percent);
    for (uint32_t i = 0; i < r->count; i++)
        buf_printf(&b, " %s=%u", r->shares[i].revision, r->shares[i].percent);
    return buf_take_text(&b);
}

bool route_rolling_parse(const char *text, struct route_rolling *ret)
{
    struct route_rolling r = { .count = 0 };
    struct str rest = str_of(text);
    uint64_t next, step, percent;
    if (!str_u64(str_cut(&rest, ' '), &next) || !str_u64(str_cut(&rest, ' '), &step) ||
        !str_u64(str_cut(&rest, ' '), &percent) || next > INT64_MAX / 2 || step > INT64_MAX / 2 ||
        percent > PERCENT_ALL || (next && (step == 0 || percent == 0)))
        return false;
    r.next_ms = (int64_t)next;
    r.step_ms = (int64_t)step;
    r.step_percent = (uint32_t)percent;
    for (uint64_t sum = 0; rest.size > 0;) {
        struct str part = str_cut(&rest, ' '), name = str_cut(&part, '=');
        if (r.count == ROUTE_ROLLING_MAX || name.size == 0 || name.size >= OBJECT_NAME_MAX ||
            !str_u64(part, &percent) || percent > PERCENT_ALL || (sum += percent) > PERCENT_ALL)
            return false;
        memcpy(r.shares[r.count].revision, name.at, name.size);
        r.shares[r.count++].percent = (uint32_t)percent;
    }
    if (r.count == 0 || (r.next_ms && r.count == 1))
        return false;
    *ret = r;
    return true;
}

/* ---- from spec to table ---- */

char *route_url(const struct route_ask *ask, const char *tag)
{
    const char *dash = *tag ? "-" : "";
    return ask->cluster_local
               ? xasprintf("http://%s%s%s.%s.svc.cluster.local", tag, dash, ask->name, ask->ns)
               : xasprintf("http://%s%s%s.%s.localhost%s", tag, dash, ask->name, ask->ns, ask->port);
}

static const struct route_revision *revision_find(const struct route_ask *ask, const char *name)
{
    for (size_t i = 0; name && i < ask->revision_count; i++)
        if (strcmp(ask->revisions[i].name, name) == 0)
            return &ask->revisions[i];
    return NULL;
}

PRINTF_LIKE(4, 5)
static void refuse(struct route *ret, enum status_ready assigned, const char *reason, const char *fmt, ...)
{
    va_list ap;
    if (ret->assigned == STATUS_FALSE) /* the first that is wrong; before what is only not there yet */
        return;
    va_start(ap, fmt);
    (void)vsnprintf(ret->message, sizeof ret->message, fmt, ap);
    va_end(ap);
    ret->assigned = assigned;
    ret->reason = reason;
}

static bool configuration_find(const struct route_ask *ask, const char *name, struct route_configuration *ret)
{
    *ret = (struct route_configuration){ ask->configuration, ask->latest_ready, ask->created };
    if (*ask->configuration && strcmp(name, ask->configuration) == 0)
        return true;
    for (size_t i = 0; i < ask->other_count; i++)
        if (strcmp(name, ask->others[i].name) == 0) {
            *ret = ask->others[i];
            return true;
        }
    return false;
}

/* The Revision that a target means now; NULL: refused. */
static const char *latest_resolve(const struct route_ask *ask, const json_t *target, struct route *ret)
{
    const char *name = json_text_at(target, "configurationName");
    struct route_configuration c;
    if (!configuration_find(ask, name ? name : ask->configuration, &c)) {
        refuse(ret, STATUS_FALSE, "ConfigurationMissing",
               "Configuration \"%.200s\" referenced in traffic not found.", name);
        return NULL;
    }
    if (*c.latest_ready)
        return c.latest_ready;
    if (c.created == STATUS_FALSE)
        refuse(ret, STATUS_FALSE, "RevisionMissing", "Configuration \"%s\" does not have any ready Revision.", c.name);
    else
        refuse(ret, STATUS_UNKNOWN, "RevisionMissing",
               "Configuration \"%s\" is waiting for a Revision to become ready.", c.name);
    return NULL;
}

static const char *named_resolve(const struct route_ask *ask, const char *name, struct route *ret)
{
    const struct route_revision *v = revision_find(ask, name);
    if (!v)
        refuse(ret, STATUS_FALSE, "RevisionMissing", "Revision \"%.200s\" referenced in traffic not found.",
               name);
    else if (v->foreign)
        refuse(ret, STATUS_FALSE, "RevisionNotOwned",
               "Revision \"%.150s\" referenced in traffic is not owned by Service \"%.80s\".", name,
               ask->name);
    else if (v->ready == STATUS_FALSE)
        refuse(ret, STATUS_FALSE, "RevisionMissing", "Revision \"%.200s\" failed to become ready.", name);
    else if (v->ready == STATUS_UNKNOWN)
        refuse(ret, STATUS_UNKNOWN, "RevisionMissing", "Revision \"%.200s\" is not yet ready.", name);
    else
        return name;
    return NULL;
}

static json_t *target_json(const struct route_ask *ask, const json_t *target, const char *revision,
                           bool latest)
{
    const json_t *percent = json_object_get(target, "percent");
    const char *tag = json_text_at(target, "tag");
    json_t *j = json_object();
    (void)json_object_set_new(j, "latestRevision", json_boolean(latest));
    if (percent)
        (void)json_object_set(j, "percent", (json_t *)(uintptr_t)percent);
    (void)json_object_set_new(j, "revisionName", json_string(revision));
    if (tag && *tag) {
        AUTO_FREE char *url = route_url(ask, tag);
        (void)json_object_set_new(j, "tag", json_string(tag));
        (void)json_object_set_new(j, "url", json_string(url));
    }
    return j;
}

/* spec.traffic with a Revision in every target, or NULL and ret says why. */
static json_t *traffic_resolve(const struct route_ask *ask, struct route *ret)
{
    AUTO_JSON json_t *all = json_pack("[{s:b,s:i}]", "latestRevision", 1, "percent", PERCENT_ALL);
    const json_t *traffic = json_array_size(ask->traffic) > 0 ? ask->traffic : all;
    AUTO_JSON json_t *resolved = json_array();
    for (size_t i = 0; i < json_array_size(traffic); i++) {
        const json_t *target = json_array_get(traffic, i);
        const char *name = json_text_at(target, "revisionName");
        bool latest = !name || !*name;
        const char *revision =
            latest ? latest_resolve(ask, target, ret) : named_resolve(ask, name, ret);
        if (revision)
            (void)json_array_append_new(resolved, target_json(ask, target, revision, latest));
    }
    return ret->assigned == STATUS_TRUE ? TAKE(resolved) : NULL;
}

static void rolling_forget_gone(struct route_rolling *r, const struct route_ask *ask)
{
    for (uint32_t i = r->count; i-- > 0;) {
        const struct route_revision *v = revision_find(ask, r->shares[i].revision);
        if (v && !v->foreign)
            continue;
        uint32_t had = r->shares[i].percent;
        rolling_remove(r, i);
        if (r->count > 0)
            r->shares[r->count - 1].percent += had;
    }
}

/* The latestRevision part of the Route's own host, as far as it has rolled. */
static void latest_share(const struct route_ask *ask, const char *latest, uint32_t percent,
                         struct route_rolling *rolling, struct route_host *own)
{
    rolling_forget_gone(rolling, ask);
    route_roll(rolling, latest, percent, ask->rollout_ms, ask->now_ms);
    for (uint32_t i = 0; i < rolling->count; i++)
        share_add(own, rolling->shares[i].revision, rolling->shares[i].percent * WEIGHT_OF_PERCENT);
}

static struct route_table *table_new(const struct route_ask *ask)
{
    struct route_table *t = xcalloc(1, sizeof *t);
    (void)snprintf(t->ns, sizeof t->ns, "%s", ask->ns);
    (void)snprintf(t->name, sizeof t->name, "%s", ask->name);
    t->cluster_local = ask->cluster_local;
    (void)host_add(t, "");
    return t;
}

static void tags_add(struct route_table *t, const struct route_ask *ask, const json_t *traffic)
{
    for (size_t i = 0; i < json_array_size(traffic); i++) {
        const json_t *target = json_array_get(traffic, i);
        const char *tag = json_text_at(target, "tag"), *name = json_text_at(target, "revisionName");
        if (tag && *tag && strlen(tag) < ROUTE_TAG_MAX && revision_find(ask, name))
            share_add(host_add(t, tag), name, ROUTE_WEIGHT_ALL);
    }
}

static bool rolling_has(const struct route_rolling *r, const char *revision)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (strcmp(r->shares[i].revision, revision) == 0)
            return true;
    return false;
}

/* The parts of latestRevision, one for each Configuration; the last is that of `rolling`. */
struct latest_part {
    const char *latest; /* NULL: it has no part */
    uint32_t percent;
    struct route_rolling *rolling;
};

/* Whose newest Revision this is, or was when it was assigned. NULL: of one that rolls at once. */
static struct latest_part *part_of(const struct route_ask *ask, struct latest_part *parts, const char *revision)
{
    struct latest_part *first = &parts[ask->other_count];
    for (size_t i = 0; ask->other_rolling && i < ask->other_count; i++)
        if (strcmp(ask->others[i].latest_ready, revision) == 0)
            return &parts[i];
    if (strcmp(ask->latest_ready, revision) == 0)
        return first;
    for (size_t i = 0; ask->other_rolling && i < ask->other_count; i++)
        if (rolling_has(parts[i].rolling, revision))
            return &parts[i];
    return ask->other_count == 0 || rolling_has(first->rolling, revision) ? first : NULL;
}

static struct latest_part *parts_new(const struct route_ask *ask, struct route_rolling *rolling)
{
    struct latest_part *parts = xcalloc(ask->other_count + 1, sizeof *parts);
    for (size_t i = 0; ask->other_rolling && i < ask->other_count; i++)
        parts[i].rolling = &ask->other_rolling[i];
    parts[ask->other_count].rolling = rolling;
    return parts;
}

/* `traffic` is resolved; what it names may be gone by now, where it is what was before. */
static void own_fill(struct route_table *t, const struct route_ask *ask, const json_t *traffic,
                     struct route_rolling *rolling)
{
    AUTO_FREE struct latest_part *parts = parts_new(ask, rolling);
    for (size_t i = 0; i < json_array_size(traffic); i++) {
        const json_t *target = json_array_get(traffic, i);
        const char *name = json_text_at(target, "revisionName");
        uint32_t percent = (uint32_t)MIN(MAX(json_int_at(target, "percent", 0), 0), PERCENT_ALL);
        if (!revision_find(ask, name) || revision_find(ask, name)->foreign)
            continue;
        struct latest_part *part =
            json_is_true(json_object_get(target, "latestRevision")) ? part_of(ask, parts, name) : NULL;
        if (part && (!part->latest || strcmp(part->latest, name) == 0)) {
            part->latest = name;
            part->percent += percent;
        } else {
            share_add(&t->hosts[0], name, percent * WEIGHT_OF_PERCENT);
        }
    }
    for (size_t i = 0; i <= ask->other_count; i++)
        if (parts[i].latest)
            latest_share(ask, parts[i].latest, parts[i].percent, parts[i].rolling, &t->hosts[0]);
        else if (parts[i].rolling)
            *parts[i].rolling = (struct route_rolling){ .count = 0 };
    host_fill(&t->hosts[0]);
}

void route_make(const struct route_ask *ask, struct route_rolling *rolling, struct route *ret)
{
    *ret = (struct route){ .assigned = STATUS_TRUE };
    ret->traffic = traffic_resolve(ask, ret);
    if (!ret->traffic && json_array_size(ask->before) > 0)
        ret->traffic = json_incref((json_t *)(uintptr_t)ask->before);
    const char *only = *ask->latest_ready ? ask->latest_ready : ask->latest_created;
    if (!*only && !ret->traffic)
        return;
    struct route_table *t = table_new(ask);
    own_fill(t, ask, ret->traffic, rolling);
    if (t->hosts[0].count == 0 && !*only) {
        route_table_free(t);
        return;
    }
    if (t->hosts[0].count == 0) /* nothing is ready: who is all there is holds the requests */
        share_add(&t->hosts[0], only, ROUTE_WEIGHT_ALL);
    tags_add(t, ask, ret->traffic);
    route_table_check(t);
    ret->table = t;
}

void route_done(struct route *r)
{
    route_table_free(r->table);
    json_decref(r->traffic);
    *r = (struct route){ .table = NULL };
}
