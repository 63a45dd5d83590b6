/* The catalog over a store that a test commits by hand: between submit and commit a test can look,
 * refuse, or pull the plug. */
#include "serving/catalog.h"
#include "base/rng.h"
#include "os/fault.h"
#include "tap.h"

/* ---- a loop whose time moves only when it waits ---- */

struct fake_world {
    struct loop_world world;
    uint64_t now_us;
};
static uint64_t fake_now(struct loop_world *w) { return CONTAINER_OF(w, struct fake_world, world)->now_us; }
static int fake_control(struct loop_world *w, int op, int fd, uint32_t events, uint32_t slot,
                        struct err *e)
{
    (void)w, (void)op, (void)fd, (void)events, (void)slot, (void)e;
    return 0;
}
static int fake_wait(struct loop_world *w, uint64_t due_us, struct loop_event *into, int max,
                     struct err *e)
{
    struct fake_world *f = CONTAINER_OF(w, struct fake_world, world);
    (void)into, (void)max, (void)e;
    if (due_us != UINT64_MAX && due_us > f->now_us)
        f->now_us = due_us;
    return 0;
}
static void fake_free(struct loop_world *w) { (void)w; }

/* ---- a store ---- */

enum { ROWS = 200 };
struct row {
    char kind[20], ns[64], name[254];
    char *json;
    int64_t version;
};
struct store {
    struct row rows[ROWS];
    size_t count;
    int64_t version;
    struct store_change *waiting[ROWS];
    char *texts[ROWS]; /* copies, as the contract says */
    size_t waiting_count;
    bool refuse_submit, refuse_commit;
    uint32_t commits;
};

static struct row *row_find(struct store *s, const char *kind, const char *ns, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (!strcmp(s->rows[i].kind, kind) && !strcmp(s->rows[i].ns, ns) && !strcmp(s->rows[i].name, name))
            return &s->rows[i];
    return NULL;
}

int store_each(struct store *s, const char *kind,
               int (*on_object)(void *ctx, const struct store_object *o, struct err *e), void *ctx,
               struct err *e)
{
    for (size_t i = s->count; i-- > 0;) { /* not the order of age, on purpose */
        const struct row *r = &s->rows[i];
        struct store_object o = { r->kind, r->ns, r->name, r->version, r->json };
        if (strcmp(r->kind, kind) == 0) {
            int result = on_object(ctx, &o, e);
            if (result < 0)
                return result;
        }
    }
    return 0;
}

int64_t store_version(const struct store *s) { return s->version; }

int store_submit(struct store *s, struct store_change *c, struct err *e)
{
    if (s->refuse_submit || s->waiting_count == ROWS || fault_hit("submit"))
        return err_set(e, CODE_UNAVAILABLE, "the disk refuses");
    s->texts[s->waiting_count] = c->json ? xstrdup(c->json) : NULL;
    struct row *copy = xcalloc(1, sizeof *copy); /* the names must outlive the caller's */
    snprintf(copy->kind, sizeof copy->kind, "%s", c->kind);
    snprintf(copy->ns, sizeof copy->ns, "%s", c->ns);
    snprintf(copy->name, sizeof copy->name, "%s", c->name);
    c->internal = copy;
    c->json = NULL;
    s->waiting[s->waiting_count++] = c;
    return 0;
}

static int apply(struct store *s, const struct row *to, char *json, int64_t expect, struct err *e)
{
    struct row *r = row_find(s, to->kind, to->ns, to->name);
    if (s->refuse_commit || fault_hit("commit"))
        return err_set(e, CODE_UNAVAILABLE, "the disk refuses");
    if (expect != STORE_ANY_VERSION && expect != (r ? r->version : STORE_ABSENT))
        return err_set(e, CODE_ABORTED, "version");
    if (!json) {
        if (r) {
            free(r->json);
            *r = s->rows[--s->count];
        }
    } else {
        if (!r) {
            r = &s->rows[s->count++];
            *r = *to;
        }
        free(r->json);
        r->json = xstrdup(json);
        r->version = s->version + 1;
    }
    s->version++;
    s->commits++;
    return 0;
}

/* Commits the oldest change that waits. */
static void commit_one(struct store *s)
{
    struct err e;
    struct store_change *c = s->waiting[0];
    AUTO_FREE char *text = s->texts[0];
    AUTO_FREE struct row *to = c->internal;
    s->waiting_count--;
    memmove(s->waiting, s->waiting + 1, s->waiting_count * sizeof *s->waiting);
    memmove(s->texts, s->texts + 1, s->waiting_count * sizeof *s->texts);
    int r = apply(s, to, text, c->expect_version, &e);
    c->on_done(c, r, r == 0 ? s->version : 0, &e);
}

static void store_close(struct store *s) /* commits what waits, as store_free() does */
{
    while (s->waiting_count)
        commit_one(s);
}

/* ---- all of it ---- */

struct world {
    struct fake_world fake;
    struct loop *loop;
    struct limits limits;
    struct store store;
    struct catalog *catalog;
    struct err e;
    /* what the observer heard */
    char emitted[1000];
    uint32_t gone, routes;
    char route[1000]; /* the last table: "f-00001=10000 tag:f-00002=10000" */
    struct { char digest[72]; int count; } needed[8]; /* by how many Revisions */
    bool tell_at_once; /* facts from inside on_revision, as the fleet does */
};

static void on_revision(void *ctx, struct revision *take_r, bool was_ready)
{
    struct world *w = ctx;
    AUTO(revision) struct revision *r = take_r;
    size_t used = strlen(w->emitted);
    snprintf(w->emitted + used, sizeof w->emitted - used, "%s%s ", r->name, was_ready ? "+" : "");
    if (w->tell_at_once) {
        struct catalog_facts f = { .active = true, .desired = 1, .exit_status = -1, .ready_once = was_ready };
        catalog_revision_facts(w->catalog, r->ns, r->name, &f);
    }
}
static void on_gone(void *ctx, const char *ns, const char *service)
{
    struct world *w = ctx;
    (void)ns, (void)service;
    w->gone++;
}
static int *needed(struct world *w, const char *digest)
{
    for (size_t i = 0; i < COUNT_OF(w->needed); i++) {
        if (!w->needed[i].digest[0])
            snprintf(w->needed[i].digest, sizeof w->needed[i].digest, "%s", digest);
        if (strcmp(w->needed[i].digest, digest) == 0)
            return &w->needed[i].count;
    }
    abort();
}
static void on_needed(void *ctx, const char *digest, bool is)
{
    int *count = needed(ctx, digest);
    *count += is ? 1 : -1;
    ASSERT(*count >= 0);
}
static void on_route(void *ctx, const struct route_table *t)
{
    struct world *w = ctx;
    size_t used = 0;
    route_table_check(t);
    w->route[0] = '\0';
    w->routes++;
    for (uint32_t i = 0; i < t->count; i++)
        for (uint32_t k = 0; k < t->hosts[i].count; k++)
            used += (size_t)snprintf(w->route + used, sizeof w->route - used, "%s%s%s%s=%u", used ? " " : "",
                                     t->hosts[i].tag, *t->hosts[i].tag ? ":" : "",
                                     t->hosts[i].shares[k].revision, t->hosts[i].shares[k].weight);
    snprintf(w->route + used, sizeof w->route - used, "%s", t->cluster_local ? " private" : "");
}
static void on_idle(void *ctx, const char *ns, const char *service, const char *revision)
{
    struct world *w = ctx;
    size_t used = strlen(w->emitted);
    (void)ns, (void)service;
    snprintf(w->emitted + used, sizeof w->emitted - used, "-%s ", revision);
}
static const struct catalog_observer observer = { on_revision, on_route, on_idle, on_gone,
                                                 on_needed };

static int world_boot(struct world *w)
{
    return catalog_open(w->loop, &w->store, &w->limits, "127.0.0.1:8080", &observer, w, &w->catalog,
                        &w->e);
}

static bool world_open(struct world *w)
{
    *w = (struct world){ .fake = { { fake_now, fake_control, fake_wait, fake_free }, 1000000 },
                         .tell_at_once = true };
    limits_default(&w->limits);
    return loop_open_in(&w->fake.world, &w->loop, &w->e) == 0 && world_boot(w) == 0;
}

static void world_free(struct world *w)
{
    catalog_free(w->catalog);
    for (size_t i = 0; i < COUNT_OF(w->needed); i++)
        ASSERT(w->needed[i].count == 0); /* who said so takes it back */
    store_close(&w->store);
    for (size_t i = 0; i < w->store.count; i++)
        free(w->store.rows[i].json);
    loop_free(w->loop);
}
static void world_auto(struct world *w) { world_free(w); }

static void turn(struct world *w)
{
    if (loop_turn(w->loop, false, &w->e) < 0)
        abort();
}

/* Until nothing is left to do without time passing. */
static void settle(struct world *w)
{
    for (int i = 0; i < 50; i++) {
        turn(w);
        while (w->store.waiting_count)
            commit_one(&w->store);
    }
}

static void pass_time(struct world *w, uint64_t us)
{
    uint64_t until = w->fake.now_us + us;
    settle(w);
    for (int i = 0; i < 1000 && w->fake.now_us < until; i++) {
        w->fake.now_us += us / 20 + 1;
        settle(w);
    }
}

/* A crash: what is not committed is lost, and so is all memory. */
static bool world_crash(struct world *w, bool commit_waiting)
{
    catalog_free(w->catalog);
    w->catalog = NULL;
    w->store.refuse_commit = !commit_waiting;
    store_close(&w->store);
    w->store.refuse_commit = false;
    w->emitted[0] = '\0';
    return world_boot(w) == 0;
}

/* ---- one request ---- */

struct call {
    struct catalog_request q;
    int answers, r;
    char *text, *refused;
    struct err e;
};

static void call_free(struct call *c)
{
    free(c->text);
    free(c->refused);
    c->text = c->refused = NULL;
}
static void call_auto(struct call *c) { call_free(c); }

static void on_done(struct catalog_request *q, int r, const struct catalog_item *item, const struct err *e)
{
    struct call *c = q->ctx;
    struct buf b;
    c->answers++;
    c->r = r;
    c->e = e ? *e : (struct err){ 0 };
    c->text = item ? xstrdup(catalog_item_text(item)) : NULL;
    buf_init(&b, 1 << 16);
    refusals_text(&q->draft.refused, &b);
    c->refused = buf_take_text(&b);
}

static void submit(struct world *w, struct call *c, enum catalog_verb verb, const char *name,
                   const char *body)
{
    struct err e;
    call_free(c);
    *c = (struct call){ 0 };
    c->q.verb = verb;
    c->q.on_done = on_done;
    c->q.ctx = c;
    c->q.user = "someone";
    snprintf(c->q.ns, sizeof c->q.ns, "default");
    snprintf(c->q.name, sizeof c->q.name, "%s", name);
    if (body && json_read(str_of(body), &w->limits, &c->q.take_body, &e) < 0) {
        printf("# %s\n", e.text);
        abort();
    }
    catalog_submit(w->catalog, &c->q);
}

#define SERVICE(name, image)                                                                       \
    "{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"" name         \
    "\"},\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"file:///" image "\"}]}}}}"
#define IMAGE_PATCH(image)                                                                         \
    "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"file:///" image "\"}]}}}}"

static json_t *read_item(struct world *w, enum catalog_kind kind, const char *name)
{
    struct catalog_item item;
    json_t *j = NULL;
    struct err e;
    if (!catalog_find(w->catalog, kind, "default", name, &item))
        return NULL;
    if (json_read(str_of(item.plain), &w->limits, &j, &e) < 0)
        abort();
    return j;
}

/* "Ready" of an object: "True", "False", "Unknown", or "none". */
static const char *ready_of(struct world *w, enum catalog_kind kind, const char *name)
{
    static const char *const names[] = { "Unknown", "True", "False" };
    AUTO_JSON json_t *j = read_item(w, kind, name);
    return j ? names[status_ready(json_object_get(j, "status"))] : "none";
}

static void tell(struct world *w, const char *revision, const struct catalog_facts *f)
{
    catalog_revision_facts(w->catalog, "default", revision, f);
    settle(w);
}

static const struct catalog_facts ready_facts = { .ready_once = true, .active = true, .actual = 1,
                                                  .desired = 1, .exit_status = -1 };
static const struct catalog_facts failed_facts = { .failing = true, .failed_phase = PHASE_RUNTIME_INIT,
                                                   .exit_status = 2, .message = "boom" };

/* ---- deploying ---- */

TEST(a_service_is_answered_after_its_commit_and_its_revision_follows)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    struct catalog_item item;
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    CHECK_EQ(w.store.waiting_count, 0); /* nothing happens inside the submit */
    turn(&w);
    CHECK(w.store.waiting_count == 1 && c.answers == 0);
    CHECK(!catalog_find(w.catalog, CATALOG_SERVICES, "default", "f", &item)); /* not yet true */
    commit_one(&w.store);
    CHECK(c.answers == 1 && c.r == 0);
    CHECK_STR(w.emitted, ""); /* the revision runs only once it is durable, too */
    CHECK_EQ(w.store.waiting_count, 3);
    commit_one(&w.store); /* its Configuration and its Route: who owns a Revision is there first */
    commit_one(&w.store);
    CHECK_STR(w.emitted, "");
    CHECK_STR(w.route, "");
    commit_one(&w.store);
    CHECK_STR(w.emitted, "f-00001 ");
    CHECK_STR(w.route, "f-00001=10000"); /* nobody else is there to hold the requests */
    settle(&w);

    AUTO_JSON json_t *j = read_item(&w, CATALOG_SERVICES, "f");
    CHECK_EQ(json_int_at(j, "metadata.generation", 0), 1);
    CHECK(strlen(json_text_at(j, "metadata.uid")) == 36);
    CHECK(json_text_at(j, "metadata.creationTimestamp"));
    CHECK_STR(json_text_key(j, "metadata.annotations", ANNOTATION_CREATOR), "someone");
    CHECK_STR(json_text_at(j, "status.url"), "http://f.default.localhost:8080");
    CHECK_STR(json_text_at(j, "status.latestCreatedRevisionName"), "f-00001");
    CHECK_EQ(json_int_at(j, "status.observedGeneration", 0), 1);
    CHECK(!json_text_at(j, "status.latestReadyRevisionName"));

    AUTO_JSON json_t *v = read_item(&w, CATALOG_REVISIONS, "f-00001");
    CHECK_STR(json_text_at(v, "kind"), "Revision");
    CHECK_STR(json_text_key(v, "metadata.labels", "serving.knative.dev/service"), "f");
    CHECK_STR(json_text_key(v, "metadata.labels", "serving.knative.dev/configurationGeneration"), "1");
    CHECK_STR(json_text_key(v, "metadata.labels", "serving.knative.dev/serviceUID"),
              json_text_at(j, "metadata.uid"));
    CHECK_STR(json_text_at(v, "spec.containers.0.image"), "file:///a");
    CHECK_EQ(catalog_services(w.catalog), 1);
}

TEST(facts_become_status_and_the_traffic_waits_for_ready)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "Unknown");
    tell(&w, "f-00001", &ready_facts);
    CHECK_STR(ready_of(&w, CATALOG_REVISIONS, "f-00001"), "True");
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "True");

    submit(&w, &c, CATALOG_MERGE, "f", IMAGE_PATCH("b"));
    settle(&w);
    CHECK_EQ(c.r, 0);
    CHECK_STR(w.emitted, "f-00001 f-00002 ");
    AUTO_JSON json_t *waiting = read_item(&w, CATALOG_SERVICES, "f");
    CHECK_EQ(json_int_at(waiting, "metadata.generation", 0), 2);
    CHECK_STR(json_text_at(waiting, "status.latestCreatedRevisionName"), "f-00002");
    CHECK_STR(json_text_at(waiting, "status.latestReadyRevisionName"), "f-00001");
    CHECK_STR(json_text_at(waiting, "status.traffic.0.revisionName"), "f-00001");
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "Unknown");

    tell(&w, "f-00002", &failed_facts);
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "False");
    AUTO_JSON json_t *failed = read_item(&w, CATALOG_SERVICES, "f");
    CHECK_STR(json_text_at(failed, "status.traffic.0.revisionName"), "f-00001");

    tell(&w, "f-00002", &ready_facts);
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "True");
    AUTO_JSON json_t *now = read_item(&w, CATALOG_SERVICES, "f");
    CHECK_STR(json_text_at(now, "status.traffic.0.revisionName"), "f-00002");
    struct catalog_facts late = ready_facts; /* the old one's late news change nothing */
    late.actual = 7;
    tell(&w, "f-00001", &late);
    pass_time(&w, 1000000);
    tell(&w, "f-00001", &failed_facts);
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "True");
    AUTO_JSON json_t *still = read_item(&w, CATALOG_SERVICES, "f");
    CHECK_STR(json_text_at(still, "status.traffic.0.revisionName"), "f-00002");
}

TEST(only_a_new_template_makes_a_revision_and_only_a_new_spec_a_generation)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    uint32_t commits = w.store.commits;
    submit(&w, &c, CATALOG_MERGE, "f", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
    settle(&w);
    CHECK_EQ(c.r, 0);
    AUTO_JSON json_t *labelled = read_item(&w, CATALOG_SERVICES, "f");
    CHECK_EQ(json_int_at(labelled, "metadata.generation", 0), 1);
    CHECK_STR(json_text_at(labelled, "metadata.labels.a"), "b");
    CHECK_STR(w.emitted, "f-00001 ");
    CHECK_EQ(w.store.commits, commits + 3); /* Configuration and Route have its labels */

    submit(&w, &c, CATALOG_MERGE, "f", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
    settle(&w);
    CHECK_EQ(c.r, 0);
    CHECK_EQ(w.store.commits, commits + 3); /* what changes nothing is not written */

    submit(&w, &c, CATALOG_MERGE, "f",
           "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"x/y\":\"1\"}}}}}");
    settle(&w);
    CHECK_EQ(c.r, 0);
    CHECK_STR(w.emitted, "f-00001 f-00002 ");
    AUTO_JSON json_t *v = read_item(&w, CATALOG_REVISIONS, "f-00002");
    CHECK_STR(json_text_key(v, "metadata.annotations", "x/y"), "1");
}

TEST(what_is_replaced_keeps_its_identity)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    AUTO_JSON json_t *before = read_item(&w, CATALOG_SERVICES, "f");
    submit(&w, &c, CATALOG_REPLACE, "f", SERVICE("f", "b"));
    settle(&w);
    CHECK_EQ(c.r, 0);
    AUTO_JSON json_t *after = read_item(&w, CATALOG_SERVICES, "f");
    CHECK_STR(json_text_at(after, "metadata.uid"), json_text_at(before, "metadata.uid"));
    CHECK_STR(json_text_at(after, "metadata.creationTimestamp"),
              json_text_at(before, "metadata.creationTimestamp"));
    CHECK(strcmp(json_text_at(after, "metadata.resourceVersion"),
                 json_text_at(before, "metadata.resourceVersion")) != 0);
    CHECK_STR(json_text_key(after, "metadata.annotations", ANNOTATION_CREATOR), "someone");
}

/* ---- refusing ---- */

TEST(versions_names_and_absences_are_checked)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_REPLACE, "f", SERVICE("f", "a"));
    settle(&w);
    CHECK_EQ(c.r, -CODE_NOT_FOUND);
    submit(&w, &c, CATALOG_DELETE, "f", NULL);
    settle(&w);
    CHECK_EQ(c.r, -CODE_NOT_FOUND);
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    CHECK_EQ(c.r, 0);
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    CHECK_EQ(c.r, -CODE_EXISTS);
    submit(&w, &c, CATALOG_MERGE, "f", "{\"metadata\":{\"resourceVersion\":\"99\",\"labels\":{\"a\":\"b\"}}}");
    settle(&w);
    CHECK_EQ(c.r, -CODE_ABORTED);
    submit(&w, &c, CATALOG_MERGE, "f", "{\"metadata\":{\"uid\":\"x\"}}");
    settle(&w);
    CHECK_EQ(c.r, -CODE_ABORTED);
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("G", "a"));
    settle(&w);
    CHECK_EQ(c.r, -CODE_INVALID);
    CHECK(strstr(c.refused, "RFC 1123 subdomain"));
    submit(&w, &c, CATALOG_CREATE, "", "{\"metadata\":{\"name\":\"g\",\"resourceVersion\":\"1\"}}");
    settle(&w);
    CHECK_EQ(c.r, -CODE_INVALID);
    CHECK_STR(c.e.text, "resourceVersion should not be set on objects to be created");
    CHECK_EQ(catalog_services(w.catalog), 1);
}

TEST(a_current_version_is_accepted)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    AUTO_JSON json_t *j = read_item(&w, CATALOG_SERVICES, "f");
    AUTO_FREE char *patch = xasprintf("{\"metadata\":{\"resourceVersion\":\"%s\",\"labels\":{\"a\":\"b\"}}}",
                                      json_text_at(j, "metadata.resourceVersion"));
    submit(&w, &c, CATALOG_MERGE, "f", patch);
    settle(&w);
    CHECK_EQ(c.r, 0);
    submit(&w, &c, CATALOG_MERGE, "f", patch);
    settle(&w);
    CHECK_EQ(c.r, -CODE_ABORTED); /* it was current only once */
}

TEST(a_dry_run_says_what_would_be_and_leaves_nothing)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    struct catalog_item item;
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    c.q.dry_run = true;
    settle(&w);
    CHECK(c.r == 0 && strstr(c.text, "\"name\":\"f\""));
    CHECK(w.store.commits == 0 && !catalog_find(w.catalog, CATALOG_SERVICES, "default", "f", &item));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    CHECK_EQ(c.r, 0);
    uint32_t commits = w.store.commits;
    submit(&w, &c, CATALOG_MERGE, "f", IMAGE_PATCH("b"));
    c.q.dry_run = true;
    settle(&w);
    CHECK(c.r == 0 && strstr(c.text, "file:///b") && strstr(c.text, "f-00002"));
    submit(&w, &c, CATALOG_DELETE, "f", NULL);
    c.q.dry_run = true;
    settle(&w);
    CHECK_EQ(c.r, 0);
    CHECK_EQ(w.store.commits, commits);
    CHECK(catalog_find(w.catalog, CATALOG_SERVICES, "default", "f", &item));
}

TEST(more_services_than_the_limit_are_refused)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    w.limits.objects_max = 1;
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    CHECK_EQ(c.r, 0);
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("g", "a"));
    settle(&w);
    CHECK_EQ(c.r, -CODE_EXHAUSTED);
}

TEST(a_revision_name_of_ones_own_must_be_free)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    const char *one = "{\"spec\":{\"template\":{\"metadata\":{\"name\":\"f-one\"}}}}";
    const char *two = "{\"spec\":{\"template\":{\"metadata\":{\"name\":\"f-00003\"}}}}";
    const char *none = "{\"spec\":{\"template\":{\"metadata\":{\"name\":null,\"labels\":{\"a\":\"b\"}}}}}";
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    submit(&w, &c, CATALOG_MERGE, "f", two);
    settle(&w);
    submit(&w, &c, CATALOG_MERGE, "f", one);
    settle(&w);
    CHECK_STR(w.emitted, "f-00001 f-00003 f-one ");
    submit(&w, &c, CATALOG_MERGE, "f", two);
    settle(&w);
    CHECK_EQ(c.r, -CODE_INVALID);
    CHECK_STR(c.refused, "The revision name \"f-00003\" is taken by a conflicting Revision, so traffic will "
                         "not be migrated: spec.template.metadata.name");
    submit(&w, &c, CATALOG_MERGE, "f", none);
    settle(&w);
    CHECK_STR(w.emitted, "f-00001 f-00003 f-one f-00004 ");
}

/* ---- deleting ---- */

TEST(a_deleted_service_takes_its_revisions_along_and_its_name_is_free)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    submit(&w, &c, CATALOG_DELETE, "f", NULL);
    c.q.uid = "other";
    settle(&w);
    CHECK_EQ(c.r, -CODE_ABORTED);
    submit(&w, &c, CATALOG_DELETE, "f", NULL);
    settle(&w);
    CHECK(c.r == 0 && strstr(c.text, "\"name\":\"f\""));
    CHECK(w.gone == 1 && w.store.count == 0 && catalog_services(w.catalog) == 0);
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "b"));
    settle(&w);
    CHECK_EQ(c.r, 0);
    CHECK_STR(w.emitted, "f-00001 f-00001 ");
    CHECK_EQ(w.store.count, 4);
}

TEST(a_service_can_be_deleted_while_its_revision_is_being_written)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    __attribute__((cleanup(call_auto))) struct call d = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    turn(&w);
    commit_one(&w.store); /* the service; its revision waits */
    submit(&w, &d, CATALOG_DELETE, "f", NULL);
    turn(&w);
    CHECK_EQ(w.store.waiting_count, 4);
    settle(&w);
    CHECK(d.r == 0 && w.store.count == 0);
}

TEST(old_revisions_are_kept_within_a_bound_and_never_the_one_in_use)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    struct catalog_item item;
    CHECK(world_open(&w));
    w.limits.gc_create_s = w.limits.gc_active_s = 0;
    w.limits.gc_min = 19; /* and the latest */
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    tell(&w, "f-00001", &ready_facts);
    submit(&w, &c, CATALOG_DELETE_REVISION, "f-00001", NULL);
    settle(&w);
    CHECK_EQ(c.r, -CODE_PRECONDITION);
    for (int i = 2; i < 30; i++) {
        AUTO_FREE char *patch = xasprintf(
            "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"x/n\":\"%d\"}}}}}", i);
        submit(&w, &c, CATALOG_MERGE, "f", patch);
        settle(&w);
        CHECK_EQ(c.r, 0);
    }
    CHECK(catalog_find(w.catalog, CATALOG_REVISIONS, "default", "f-00001", &item));
    tell(&w, "f-00029", &ready_facts);
    CHECK_EQ(w.store.count, 23); /* the service, what follows from it, and 20 of them */
    CHECK(!catalog_find(w.catalog, CATALOG_REVISIONS, "default", "f-00001", &item));
    CHECK(catalog_find(w.catalog, CATALOG_REVISIONS, "default", "f-00010", &item));
    submit(&w, &c, CATALOG_DELETE_REVISION, "f-00010", NULL);
    settle(&w);
    CHECK_EQ(c.r, 0);
    CHECK_EQ(w.store.count, 22);
}

TEST(a_revision_that_serves_is_kept_behind_many_newer_that_do_not_start)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    struct catalog_item item;
    CHECK(world_open(&w));
    w.limits.gc_create_s = w.limits.gc_active_s = 0;
    w.limits.gc_min = 18; /* and the latest, of either kind */
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    for (int i = 2; i < 30; i++) {
        AUTO_FREE char *patch = xasprintf(
            "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"x/n\":\"%d\"}}}}}", i);
        submit(&w, &c, CATALOG_MERGE, "f", patch);
        settle(&w);
        CHECK_EQ(c.r, 0);
    }
    tell(&w, "f-00002", &ready_facts); /* late; what came after it has not started yet */
    CHECK_EQ(w.store.count, 23);
    CHECK(catalog_find(w.catalog, CATALOG_REVISIONS, "default", "f-00002", &item));
    AUTO_JSON json_t *j = read_item(&w, CATALOG_SERVICES, "f");
    CHECK_STR(json_text_at(j, "status.latestReadyRevisionName"), "f-00002");
}

/* ---- Configuration, Route, traffic ---- */

#define TRAFFIC(targets) "{\"spec\":{\"traffic\":[" targets "]}}"

static const char *routing_of(struct world *w, const char *revision, char into[80])
{
    AUTO_JSON json_t *v = read_item(w, CATALOG_REVISIONS, revision);
    const char *route = json_text_key(v, "metadata.annotations", "serving.knative.dev/routes");
    snprintf(into, 80, "%s %s", json_text_key(v, "metadata.labels", "serving.knative.dev/routingState"),
             route ? route : "-");
    return into;
}

TEST(configuration_and_route_follow_the_service_and_go_with_it)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    submit(&w, &c, CATALOG_MERGE, "f", "{\"metadata\":{\"labels\":{\"a\":\"b\"},\"annotations\":{"
                                       "\"kubectl.kubernetes.io/last-applied-configuration\":\"{}\","
                                       "\"x/y\":\"z\"}}}");
    settle(&w);
    tell(&w, "f-00001", &ready_facts);
    AUTO_JSON json_t *s = read_item(&w, CATALOG_SERVICES, "f");
    AUTO_JSON json_t *k = read_item(&w, CATALOG_CONFIGURATIONS, "f");
    AUTO_JSON json_t *r = read_item(&w, CATALOG_ROUTES, "f");
    AUTO_JSON json_t *v = read_item(&w, CATALOG_REVISIONS, "f-00001");
    CHECK_STR(json_text_at(k, "metadata.labels.a"), "b");
    CHECK_STR(json_text_at(r, "metadata.annotations.x/y"), "z");
    CHECK(!json_text_key(r, "metadata.annotations", "kubectl.kubernetes.io/last-applied-configuration"));
    CHECK_STR(json_text_at(k, "metadata.ownerReferences.0.kind"), "Service");
    CHECK_STR(json_text_at(r, "metadata.ownerReferences.0.uid"), json_text_at(s, "metadata.uid"));
    CHECK_STR(json_text_at(v, "metadata.ownerReferences.0.kind"), "Configuration");
    CHECK_STR(json_text_at(v, "metadata.ownerReferences.0.uid"), json_text_at(k, "metadata.uid"));
    CHECK(json_equal(json_at(k, "spec.template"), json_at(s, "spec.template")));
    CHECK_STR(json_text_at(r, "spec.traffic.0.configurationName"), "f");
    CHECK_STR(json_text_at(r, "status.traffic.0.revisionName"), "f-00001");
    CHECK_STR(ready_of(&w, CATALOG_CONFIGURATIONS, "f"), "True");
    CHECK_STR(ready_of(&w, CATALOG_ROUTES, "f"), "True");
    CHECK(json_int_at(k, "metadata.generation", 0) == 1 && json_int_at(r, "metadata.generation", 0) == 1);

    submit(&w, &c, CATALOG_MERGE, "f", TRAFFIC("{\"revisionName\":\"f-00001\",\"percent\":100}"));
    settle(&w);
    submit(&w, &c, CATALOG_MERGE, "f", IMAGE_PATCH("b"));
    settle(&w);
    AUTO_JSON json_t *k2 = read_item(&w, CATALOG_CONFIGURATIONS, "f");
    AUTO_JSON json_t *r2 = read_item(&w, CATALOG_ROUTES, "f");
    CHECK_STR(json_text_at(k2, "metadata.uid"), json_text_at(k, "metadata.uid"));
    CHECK(json_int_at(k2, "metadata.generation", 0) == 2 && json_int_at(r2, "metadata.generation", 0) == 2);
    CHECK_EQ(json_int_at(k2, "status.observedGeneration", 0), 2);
    submit(&w, &c, CATALOG_DELETE, "f", NULL);
    settle(&w);
    CHECK_EQ(w.store.count, 0);
    CHECK(!read_item(&w, CATALOG_ROUTES, "f"));
}

TEST(traffic_moves_when_it_can_and_only_who_is_needed_runs)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    char text[80];
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    CHECK_STR(routing_of(&w, "f-00001", text), "pending -");
    tell(&w, "f-00001", &ready_facts);
    CHECK_STR(routing_of(&w, "f-00001", text), "active f");
    submit(&w, &c, CATALOG_MERGE, "f", IMAGE_PATCH("b"));
    settle(&w);
    CHECK_STR(w.route, "f-00001=10000");
    tell(&w, "f-00002", &ready_facts);
    CHECK_STR(w.route, "f-00002=10000");
    CHECK_STR(w.emitted, "f-00001 f-00002 -f-00001 ");
    CHECK_STR(routing_of(&w, "f-00001", text), "reserve -");
    CHECK_STR(routing_of(&w, "f-00002", text), "active f");

    uint32_t routes = w.routes;
    submit(&w, &c, CATALOG_MERGE, "f",
           TRAFFIC("{\"revisionName\":\"f-00001\",\"percent\":30,\"tag\":\"old\"},"
                   "{\"latestRevision\":true,\"percent\":70}"));
    settle(&w);
    CHECK_STR(w.route, "f-00001=3000 f-00002=7000 old:f-00001=10000");
    CHECK_EQ(w.routes, routes + 1);
    CHECK_STR(w.emitted, "f-00001 f-00002 -f-00001 f-00001+ "); /* it was ready before */
    submit(&w, &c, CATALOG_DELETE_REVISION, "f-00001", NULL);
    settle(&w);
    CHECK_EQ(c.r, -CODE_PRECONDITION);

    submit(&w, &c, CATALOG_MERGE, "f", TRAFFIC("{\"revisionName\":\"f-00007\",\"percent\":100}"));
    settle(&w);
    CHECK_EQ(c.r, 0);
    CHECK_EQ(w.routes, routes + 1); /* a wrong target moves nothing */
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "False");
    CHECK(world_crash(&w, true)); /* nor does a restart */
    settle(&w);
    CHECK_STR(w.route, "f-00001=3000 f-00002=7000 old:f-00001=10000");
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "False");
}

TEST(a_gradual_rollout_goes_on_by_itself_and_over_a_restart)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    tell(&w, "f-00001", &ready_facts);
    submit(&w, &c, CATALOG_MERGE, "f",
           "{\"metadata\":{\"annotations\":{\"serving.knative.dev/rollout-duration\":\"3600s\"}}}");
    settle(&w);
    submit(&w, &c, CATALOG_MERGE, "f", IMAGE_PATCH("b"));
    settle(&w);
    tell(&w, "f-00002", &ready_facts);
    CHECK_STR(w.route, "f-00001=9900 f-00002=100");
    CHECK_STR(w.emitted, "f-00001 f-00002 "); /* both are needed */
    CHECK_STR(ready_of(&w, CATALOG_ROUTES, "f"), "Unknown");
    CHECK(world_crash(&w, true));
    settle(&w);
    CHECK_STR(w.route, "f-00001=9900 f-00002=100");
    CHECK_STR(w.emitted, "f-00001+ f-00002+ ");
    submit(&w, &c, CATALOG_MERGE, "f",
           "{\"metadata\":{\"annotations\":{\"serving.knative.dev/rollout-duration\":null}}}");
    settle(&w);
    CHECK_STR(w.route, "f-00002=10000");
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "True");
}

/* ---- together ---- */

TEST(requests_for_one_service_wait_for_each_other_and_none_is_lost)
{
    __attribute__((cleanup(world_auto))) struct world w;
    struct call calls[CATALOG_WAITING_MAX + 3] = { 0 };
    CHECK(world_open(&w));
    submit(&w, &calls[0], CATALOG_CREATE, "", SERVICE("f", "a"));
    turn(&w);
    for (int i = 1; i < CATALOG_WAITING_MAX + 3; i++) {
        AUTO_FREE char *patch = xasprintf("{\"metadata\":{\"labels\":{\"l%d\":\"x\"}}}", i);
        submit(&w, &calls[i], CATALOG_MERGE, "f", patch);
    }
    turn(&w);
    int refused = 0;
    for (int i = 0; i < CATALOG_WAITING_MAX + 3; i++)
        refused += calls[i].answers == 1 && calls[i].r == -CODE_EXHAUSTED;
    int waited = w.store.waiting_count == 1;
    settle(&w);
    settle(&w);
    int done = 0;
    for (int i = 0; i < CATALOG_WAITING_MAX + 3; i++) {
        done += calls[i].answers == 1 && calls[i].r == 0;
        call_free(&calls[i]);
    }
    CHECK(waited);
    CHECK_EQ(refused, 2);
    CHECK_EQ(done, CATALOG_WAITING_MAX + 1);
    AUTO_JSON json_t *j = read_item(&w, CATALOG_SERVICES, "f");
    CHECK_EQ(json_object_size(json_at(j, "metadata.labels")), CATALOG_WAITING_MAX);
}

TEST(replica_counts_are_written_together_and_late)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    tell(&w, "f-00001", &ready_facts);
    uint32_t commits = w.store.commits;
    for (uint32_t i = 2; i < 20; i++) {
        struct catalog_facts f = ready_facts;
        f.actual = f.desired = i;
        tell(&w, "f-00001", &f);
    }
    CHECK_EQ(w.store.commits, commits);
    pass_time(&w, 1000000);
    CHECK_EQ(w.store.commits, commits + 1);
    AUTO_JSON json_t *v = read_item(&w, CATALOG_REVISIONS, "f-00001");
    CHECK_EQ(json_int_at(v, "status.actualReplicas", 0), 19);
}

/* A start that is under way needs the CPU more than its Revision's conditions do. */
TEST(back_from_zero_is_told_once_the_start_is_over)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    struct catalog_facts f = ready_facts;
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    tell(&w, "f-00001", &f);
    pass_time(&w, 1000000);
    f.active = false;
    f.actual = f.desired = 0;
    tell(&w, "f-00001", &f);
    uint32_t commits = w.store.commits;
    f.active = f.activating = true;
    f.desired = 1;
    tell(&w, "f-00001", &f);
    CHECK_EQ(w.store.commits, commits);
    pass_time(&w, 1000000);
    AUTO_JSON json_t *unknown = read_item(&w, CATALOG_REVISIONS, "f-00001");
    CHECK_STR(json_text_at(unknown, "status.conditions.0.type"), "Active");
    CHECK_STR(json_text_at(unknown, "status.conditions.0.status"), "Unknown");
    commits = w.store.commits;
    tell(&w, "f-00001", &failed_facts); /* what somebody has to look at waits for nothing */
    CHECK(w.store.commits > commits);
}

TEST(a_revision_that_never_becomes_ready_is_late_after_its_deadline)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "",
           "{\"metadata\":{\"name\":\"f\"},\"spec\":{\"template\":{\"metadata\":{\"annotations\":{"
           "\"serving.knative.dev/progress-deadline\":\"10s\"}},\"spec\":{\"containers\":[{\"image\":"
           "\"file:///a\"}]}}}}");
    pass_time(&w, 9000000);
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "Unknown");
    pass_time(&w, 2000000);
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "False");
    tell(&w, "f-00001", &ready_facts);
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "True");
}

/* ---- the store fails, the machine fails ---- */

TEST(what_the_store_refuses_is_not_there)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    struct catalog_item item;
    CHECK(world_open(&w));
    w.store.refuse_commit = true;
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    CHECK_EQ(c.r, -CODE_UNAVAILABLE);
    CHECK(!catalog_find(w.catalog, CATALOG_SERVICES, "default", "f", &item));
    w.store.refuse_submit = true;
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    CHECK_EQ(c.r, -CODE_UNAVAILABLE);
    w.store.refuse_commit = w.store.refuse_submit = false;
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    CHECK_EQ(c.r, 0);
    w.store.refuse_commit = true;
    submit(&w, &c, CATALOG_MERGE, "f", IMAGE_PATCH("b"));
    settle(&w);
    CHECK_EQ(c.r, -CODE_UNAVAILABLE);
    submit(&w, &c, CATALOG_DELETE, "f", NULL);
    settle(&w);
    CHECK_EQ(c.r, -CODE_UNAVAILABLE);
    AUTO_JSON json_t *j = read_item(&w, CATALOG_SERVICES, "f");
    CHECK_STR(json_text_at(j, "spec.template.spec.containers.0.image"), "file:///a");
    CHECK_STR(w.emitted, "f-00001 ");
}

TEST(status_and_revisions_are_written_when_the_store_is_well_again)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    turn(&w);
    commit_one(&w.store);
    CHECK_EQ(c.r, 0);
    w.store.refuse_commit = true; /* the revision */
    settle(&w);
    CHECK_STR(w.emitted, "");
    w.store.refuse_submit = true;
    pass_time(&w, 3000000);
    w.store.refuse_commit = w.store.refuse_submit = false;
    pass_time(&w, 3000000);
    CHECK_STR(w.emitted, "f-00001 ");
    w.store.refuse_commit = true;
    tell(&w, "f-00001", &ready_facts);
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "Unknown");
    w.store.refuse_commit = false;
    pass_time(&w, 3000000);
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "True");

    catalog_revision_facts(w.catalog, "default", "f-00001", &failed_facts);
    turn(&w);
    commit_one(&w.store); /* the revision's status */
    w.store.refuse_commit = true;
    settle(&w); /* the service's is refused */
    CHECK_STR(ready_of(&w, CATALOG_REVISIONS, "f-00001"), "False");
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "True");
    w.store.refuse_commit = false;
    pass_time(&w, 3000000);
    CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "False");
}

/* What the answers so far promise: the image of each Service, or NULL. */
struct promise {
    const char *name, *image;
};

static bool promise_holds(struct world *w, const struct promise *p)
{
    AUTO_JSON json_t *j = read_item(w, CATALOG_SERVICES, p->name);
    const char *image = j ? json_text_at(j, "spec.template.spec.containers.0.image") : NULL;
    return p->image ? image && strcmp(image, p->image) == 0 : !j;
}

/* One request: its answer came once and is the truth. Refused, it is asked again, and then it is done. */
static bool ask_until_done(struct world *w, enum catalog_verb verb, const char *name, const char *body,
                           struct promise *p, const char *becomes)
{
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    for (int again = 0; again < 2; again++) {
        submit(w, &c, verb, name, body);
        settle(w);
        if (c.answers != 1)
            return false;
        if (c.r == 0)
            p->image = becomes;
        if (!promise_holds(w, p) || (c.r != 0 && (c.r != -CODE_UNAVAILABLE || !strstr(c.e.text, "the disk refuses"))))
            return false;
        if (c.r == 0)
            return true;
    }
    return false;
}

/* Each step at which the store can refuse does so once: what was answered is so, at once and after a crash; what was
 * refused can be asked again; and in the end the status is that of the facts. */
TEST(any_one_refusal_of_the_store_loses_nothing_that_was_answered)
{
    int nth = 0;
    for (bool fired = true; fired;) {
        __attribute__((cleanup(world_auto))) struct world w;
        struct promise f = { "f", NULL }, g = { "g", NULL };
        CHECK(++nth < 100);
        CHECK(world_open(&w));
        fault_arm(nth);
        CHECK(ask_until_done(&w, CATALOG_CREATE, "", SERVICE("f", "a"), &f, "file:///a"));
        tell(&w, "f-00001", &ready_facts);
        CHECK(ask_until_done(&w, CATALOG_CREATE, "", SERVICE("g", "b"), &g, "file:///b"));
        CHECK(ask_until_done(&w, CATALOG_MERGE, "f", IMAGE_PATCH("c"), &f, "file:///c"));
        CHECK(ask_until_done(&w, CATALOG_DELETE, "g", NULL, &g, NULL));
        pass_time(&w, 3000000);
        tell(&w, "f-00002", &ready_facts);
        pass_time(&w, 3000000);
        fired = fault_fired();
        fault_arm(0);
        pass_time(&w, 3000000);
        CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "True");
        CHECK(strstr(w.emitted, "f-00001 ") && strstr(w.emitted, "f-00002 "));
        CHECK(world_crash(&w, false));
        settle(&w);
        CHECK(promise_holds(&w, &f) && promise_holds(&w, &g));
        CHECK_STR(ready_of(&w, CATALOG_SERVICES, "f"), "True");
        CHECK_STR(ready_of(&w, CATALOG_REVISIONS, "f-00002"), "True");
        CHECK_EQ(w.store.count, 5); /* the service, what follows from it, its two revisions; nothing of g */
    }
    CHECK(nth > 20);
}

TEST(what_somebody_else_changed_in_the_store_is_not_overwritten)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    row_find(&w.store, "services", "default", "f")->version = ++w.store.version;
    submit(&w, &c, CATALOG_MERGE, "f", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
    settle(&w);
    CHECK_EQ(c.r, -CODE_ABORTED);
}

TEST(requests_that_wait_when_hob_stops_are_answered)
{
    __attribute__((cleanup(world_auto))) struct world w;
    struct call calls[4] = { 0 };
    CHECK(world_open(&w));
    submit(&w, &calls[0], CATALOG_CREATE, "", SERVICE("f", "a"));
    turn(&w);
    submit(&w, &calls[1], CATALOG_MERGE, "f", IMAGE_PATCH("b"));
    turn(&w);
    submit(&w, &calls[2], CATALOG_MERGE, "f", IMAGE_PATCH("c"));
    catalog_free(w.catalog);
    w.catalog = NULL;
    int cancelled = 0;
    for (int i = 0; i < 3; i++) {
        cancelled += calls[i].answers == 1 && calls[i].r == -CODE_CANCELLED;
        call_free(&calls[i]);
    }
    CHECK_EQ(cancelled, 3);
}

TEST(everything_is_there_after_a_restart)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    tell(&w, "f-00001", &ready_facts);
    submit(&w, &c, CATALOG_MERGE, "f", IMAGE_PATCH("b"));
    settle(&w);
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("e", "a"));
    settle(&w);
    tell(&w, "e-00001", &ready_facts);
    AUTO_JSON json_t *before = read_item(&w, CATALOG_SERVICES, "f");
    CHECK(world_crash(&w, true));
    /* the one with the traffic, then the one that is not ready yet */
    CHECK_STR(w.emitted, "e-00001+ f-00001+ f-00002 ");
    settle(&w);
    AUTO_JSON json_t *after = read_item(&w, CATALOG_SERVICES, "f");
    CHECK(json_equal(before, after));
    CHECK_EQ(catalog_services(w.catalog), 2);
    submit(&w, &c, CATALOG_MERGE, "f", IMAGE_PATCH("c"));
    settle(&w);
    CHECK(c.r == 0 && strstr(w.emitted, "f-00003"));
}

TEST(a_crash_between_any_two_commits_is_made_good)
{
    /* Deploys, becomes ready, changes, is deleted; the plug is pulled after the nth commit. */
    for (uint32_t nth = 0; nth < 14; nth++) {
        __attribute__((cleanup(world_auto))) struct world w;
        __attribute__((cleanup(call_auto))) struct call c = { 0 };
        CHECK(world_open(&w));
        static const struct {
            enum catalog_verb verb;
            const char *body;
        } steps[] = { { CATALOG_CREATE, SERVICE("f", "a") },
                      { CATALOG_MERGE, IMAGE_PATCH("b") },
                      { CATALOG_DELETE, NULL } };
        bool stopped = false, deleted = false, created = false;
        for (size_t s = 0; s < COUNT_OF(steps) && !stopped; s++) {
            submit(&w, &c, steps[s].verb, s ? "f" : "", steps[s].body);
            for (int i = 0; i < 30 && !stopped; i++) {
                turn(&w);
                while (w.store.waiting_count && !stopped) {
                    stopped = w.store.commits >= nth;
                    if (!stopped)
                        commit_one(&w.store);
                }
                if (!stopped && i == 10)
                    catalog_revision_facts(w.catalog, "default", s ? "f-00002" : "f-00001", &ready_facts);
            }
            created |= s == 0 && c.answers && c.r == 0;
            deleted |= s == 2 && c.answers && c.r == 0;
        }
        CHECK(world_crash(&w, false));
        settle(&w);
        AUTO_JSON json_t *j = read_item(&w, CATALOG_SERVICES, "f");
        if (created && !deleted && !j)
            FAIL("crash after commit %u: an acknowledged service is lost", nth);
        if (deleted && (j || w.store.count))
            FAIL("crash after commit %u: something is left of a deleted service", nth);
        if (!j)
            continue;
        const char *latest = json_text_at(j, "status.latestCreatedRevisionName");
        if (strcmp(ready_of(&w, CATALOG_REVISIONS, latest), "none") == 0)
            FAIL("crash after commit %u: revision %s is missing", nth, latest);
        AUTO_JSON json_t *v = read_item(&w, CATALOG_REVISIONS, latest);
        CHECK(json_equal(json_at(v, "spec"), json_at(j, "spec.template.spec")));
        if (!strstr(w.emitted, latest))
            FAIL("crash after commit %u: %s does not run", nth, latest);
    }
}

static bool collect(void *ctx, const struct catalog_item *i)
{
    char *into = ctx;
    snprintf(into + strlen(into), 200 - strlen(into), "%s/%s ", i->ns, i->name);
    return strcmp(i->name, "b-00001") != 0;
}

TEST(a_revision_of_an_earlier_service_with_the_same_name_is_not_taken_over)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    AUTO_JSON json_t *j = read_item(&w, CATALOG_SERVICES, "f");
    struct row *r = row_find(&w.store, "services", "default", "f");
    char *uid = strstr(r->json, json_text_at(j, "metadata.uid"));
    CHECK(uid);
    uid[35] = uid[35] == 'a' ? 'b' : 'a';
    CHECK(world_crash(&w, true));
    settle(&w);
    AUTO_JSON json_t *v = read_item(&w, CATALOG_REVISIONS, "f-00001");
    CHECK(v);
    CHECK(strcmp(json_text_key(v, "metadata.labels", "serving.knative.dev/serviceUID"),
                 json_text_at(j, "metadata.uid")) != 0);
    CHECK_EQ(w.store.count, 4);
}

#define SHA(c) "sha256:" c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c
#define WITH_MODELS(name, image)                                                                     \
    "{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"" name        \
    "\"},\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"file:///" image                     \
    "\",\"volumeMounts\":[{\"name\":\"w\",\"mountPath\":\"/w\"},{\"name\":\"x\",\"mountPath\":\"/x\"}]}],"    \
    "\"volumes\":[{\"name\":\"w\",\"image\":{\"reference\":\"http://o/w@" SHA("0a") "\"}},"                \
    "{\"name\":\"x\",\"image\":{\"reference\":\"file:///x\"}}]}}}}"

TEST(what_a_revision_needs_is_told_once_kept_over_a_restart_and_taken_back)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    AUTO_JSON json_t *models = json_pack("{s:s, s:s}", "w", SHA("0a"), "x", SHA("0b"));
    struct catalog_facts f = ready_facts;
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", WITH_MODELS("f", "a"));
    settle(&w);
    CHECK_EQ(*needed(&w, SHA("0a")), 1); /* the reference names it: before anything ran */
    f.image_digest = SHA("0c");
    f.pins = models;
    tell(&w, "f-00001", &f);
    tell(&w, "f-00001", &f);
    CHECK_EQ(*needed(&w, SHA("0a")), 1);
    CHECK_EQ(*needed(&w, SHA("0b")), 1);
    CHECK_EQ(*needed(&w, SHA("0c")), 1);
    f.image_digest = "";
    f.pins = NULL;
    f.actual = 0;
    tell(&w, "f-00001", &f); /* who runs it knows less now; the Revision does not */
    pass_time(&w, 1000000);
    AUTO_JSON json_t *v = read_item(&w, CATALOG_REVISIONS, "f-00001");
    CHECK_STR(json_text_at(v, "status.containerStatuses.0.imageDigest"), SHA("0c"));
    CHECK_STR(json_text_at(v, "status.modelStatuses.1.name"), "x");
    CHECK_STR(json_text_at(v, "status.modelStatuses.1.imageDigest"), SHA("0b"));

    submit(&w, &c, CATALOG_REPLACE, "f", WITH_MODELS("f", "b"));
    settle(&w);
    f = ready_facts;
    f.image_digest = SHA("0d");
    tell(&w, "f-00002", &f);

    CHECK(world_crash(&w, true));
    CHECK_STR(w.emitted, "f-00002+ "); /* the older one is kept, and may get traffic again */
    CHECK(*needed(&w, SHA("0a")) == 2 && *needed(&w, SHA("0b")) == 1);
    CHECK(*needed(&w, SHA("0c")) == 1 && *needed(&w, SHA("0d")) == 1);
    submit(&w, &c, CATALOG_CREATE, "", WITH_MODELS("g", "c"));
    settle(&w);
    CHECK(*needed(&w, SHA("0a")) == 3 && *needed(&w, SHA("0b")) == 1);
    submit(&w, &c, CATALOG_DELETE, "f", NULL);
    settle(&w);
    CHECK(*needed(&w, SHA("0a")) == 1 && *needed(&w, SHA("0b")) == 0 && *needed(&w, SHA("0c")) == 0);
}

TEST(revisions_are_listed_by_age_also_after_a_restart)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    char all[200] = "";
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    submit(&w, &c, CATALOG_MERGE, "f", "{\"spec\":{\"template\":{\"metadata\":{\"name\":\"f-zzz\"}}}}");
    settle(&w);
    submit(&w, &c, CATALOG_MERGE, "f", "{\"spec\":{\"template\":{\"metadata\":{\"name\":\"f-aaa\"}}}}");
    settle(&w);
    CHECK(world_crash(&w, true));
    catalog_each(w.catalog, CATALOG_REVISIONS, NULL, collect, all);
    CHECK_STR(all, "default/f-00001 default/f-zzz default/f-aaa ");
}

TEST(lists_are_in_order_and_per_namespace)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    static const char *const names[] = { SERVICE("m", "a"), SERVICE("b", "a"), SERVICE("z", "a") };
    struct catalog_item item;
    CHECK(world_open(&w));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        submit(&w, &c, CATALOG_CREATE, "", names[i]);
        if (i == 2)
            snprintf(c.q.ns, sizeof c.q.ns, "another");
        settle(&w);
        CHECK_EQ(c.r, 0);
    }
    CHECK(catalog_find(w.catalog, CATALOG_SERVICES, "another", "z", &item));
    CHECK(!catalog_find(w.catalog, CATALOG_SERVICES, "default", "z", &item));
    CHECK_STR(item.name, "z");
    char all[200] = "", some[200] = "", revisions[200] = "";
    catalog_each(w.catalog, CATALOG_SERVICES, NULL, collect, all);
    catalog_each(w.catalog, CATALOG_SERVICES, "default", collect, some);
    catalog_each(w.catalog, CATALOG_REVISIONS, "default", collect, revisions);
    CHECK_STR(all, "another/z default/b default/m ");
    CHECK_STR(some, "default/b default/m ");
    CHECK_STR(revisions, "default/b-00001 "); /* the callback ended it */
    CHECK_EQ(catalog_version(w.catalog), w.store.version);
}

/* ---- who watches ---- */

enum { MIRRORED = 64 };
struct mirror { /* what a client knows who only ever reads the log */
    struct watch_cursor cursor;
    char keys[MIRRORED][300];
    char *texts[MIRRORED];
    size_t count;
    const char *wrong; /* an event that cannot follow what came before */
};

static void mirror_free(struct mirror *m)
{
    while (m->count)
        free(m->texts[--m->count]);
}

static void mirror_event(struct mirror *m, const struct watch_event *event)
{
    char key[300];
    size_t at = 0;
    snprintf(key, sizeof key, "%s/%s/%s", event->kind, event->ns, event->name);
    while (at < m->count && strcmp(m->keys[at], key) != 0)
        at++;
    bool known = at < m->count;
    if (known != (event->type != WATCH_ADDED))
        m->wrong = "added twice, or changed before it was added";
    if (at == MIRRORED)
        abort();
    if (known)
        free(m->texts[at]);
    if (event->type == WATCH_DELETED && known) {
        m->texts[at] = m->texts[--m->count];
        memcpy(m->keys[at], m->keys[m->count], sizeof key);
    } else if (event->type != WATCH_DELETED) {
        m->count += !known;
        memcpy(m->keys[at], key, sizeof key);
        m->texts[at] = xstrdup(event->text);
    }
}

static void mirror_read(struct world *w, struct mirror *m)
{
    static const char *const kinds[] = { "services", "revisions" };
    struct watch_cursor from = m->cursor;
    struct watch_event event;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        m->cursor = from;
        while (watchlog_next(catalog_log(w->catalog), &m->cursor, &(struct watch_filter){ .kind = kinds[i] },
                             &event) == WATCH_EVENT)
            mirror_event(m, &event);
    }
}

struct comparing {
    struct mirror *m;
    const char *kind;
    size_t seen;
};
static bool compare(void *ctx, const struct catalog_item *i)
{
    struct comparing *c = ctx;
    char key[300];
    snprintf(key, sizeof key, "%s/%s/%s", c->kind, i->ns, i->name);
    for (size_t at = 0; at < c->m->count; at++)
        c->seen += strcmp(c->m->keys[at], key) == 0 && strcmp(c->m->texts[at], catalog_item_text(i)) == 0;
    return true;
}

/* How many objects there are, each the same in the mirror and in the catalog; -1: they differ. */
static int mirrored(struct world *w, struct mirror *m)
{
    struct comparing services = { m, "services", 0 }, revisions = { m, "revisions", 0 };
    mirror_read(w, m);
    catalog_each(w->catalog, CATALOG_SERVICES, NULL, compare, &services);
    catalog_each(w->catalog, CATALOG_REVISIONS, NULL, compare, &revisions);
    return !m->wrong && services.seen + revisions.seen == m->count ? (int)m->count : -1;
}

TEST(who_reads_the_log_knows_what_the_catalog_knows)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    __attribute__((cleanup(mirror_free))) struct mirror m = { 0 };
    CHECK(world_open(&w));
    CHECK_EQ(watchlog_seek(catalog_log(w.catalog), catalog_version(w.catalog), &m.cursor), WATCH_NONE);
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    CHECK_EQ(mirrored(&w, &m), 2);
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("g", "a"));
    settle(&w);
    tell(&w, "f-00001", &ready_facts);
    CHECK_EQ(mirrored(&w, &m), 4);
    submit(&w, &c, CATALOG_MERGE, "f", IMAGE_PATCH("b"));
    settle(&w);
    tell(&w, "f-00002", &ready_facts);
    CHECK_EQ(mirrored(&w, &m), 5);
    submit(&w, &c, CATALOG_DELETE_REVISION, "f-00001", NULL);
    settle(&w);
    CHECK_EQ(mirrored(&w, &m), 4);
    submit(&w, &c, CATALOG_DELETE, "f", NULL);
    settle(&w);
    CHECK_EQ(mirrored(&w, &m), 2);
    CHECK_EQ(catalog_version(w.catalog), w.store.version);
}

/* Service, Configuration, Route and Revision together, as whoever asks gets them: some 4 kB. */
TEST(a_function_that_was_deployed_holds_less_than_a_kilobyte_of_text)
{
    enum { SERVICES = 40 };
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    CHECK(world_open(&w));
    w.limits.watch_log_bytes = 1; /* what the log shares with nobody is not the function's */
    struct packer *p = watchlog_packer(catalog_log(w.catalog));
    for (int i = 0; i < SERVICES; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d-00001", i);
        AUTO_FREE char *body = xasprintf(SERVICE("f%d", "a"), i);
        submit(&w, &c, CATALOG_CREATE, "", body);
        settle(&w);
        CHECK_EQ(c.r, 0);
        tell(&w, name, &ready_facts);
    }
    struct packer_totals t = packer_totals(p);
    CHECK(t.texts == 4 * SERVICES || t.texts == 4 * SERVICES + 1); /* the last change, where it was shared with nobody */
    CHECK(t.size > 4000 * SERVICES);
    CHECK(t.held < 1000 * SERVICES);
    for (int i = 0; i < SERVICES; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d", i);
        submit(&w, &c, CATALOG_DELETE, name, NULL);
        settle(&w);
    }
    CHECK(packer_totals(p).texts <= 1);
}

/* Two texts at once, then others: each stays what it was until the loop goes on. */
TEST(texts_that_were_found_stay_until_the_loop_goes_on)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    struct catalog_item service, revision;
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    settle(&w);
    CHECK(catalog_find(w.catalog, CATALOG_SERVICES, "default", "f", &service));
    CHECK(catalog_find(w.catalog, CATALOG_REVISIONS, "default", "f-00001", &revision));
    AUTO_FREE char *then = xstrdup(catalog_item_text(&service));
    CHECK(strstr(catalog_item_text(&revision), "\"kind\":\"Revision\""));
    for (int i = 0; i < 10; i++) {
        struct catalog_item other;
        CHECK(catalog_find(w.catalog, CATALOG_ROUTES, "default", "f", &other));
        CHECK(strstr(catalog_item_text(&other), "\"kind\":\"Route\""));
    }
    CHECK_STR(catalog_item_text(&service), then);
    CHECK(strstr(then, "\"kind\":\"Service\""));
}

TEST(a_revision_that_is_committed_behind_its_service_s_end_is_heard_coming_and_going)
{
    __attribute__((cleanup(world_auto))) struct world w;
    __attribute__((cleanup(call_auto))) struct call c = { 0 };
    __attribute__((cleanup(mirror_free))) struct mirror m = { 0 };
    CHECK(world_open(&w));
    submit(&w, &c, CATALOG_CREATE, "", SERVICE("f", "a"));
    turn(&w);
    commit_one(&w.store);
    commit_one(&w.store);
    commit_one(&w.store);
    w.store.refuse_commit = true; /* the Revision's first try */
    commit_one(&w.store);
    w.store.refuse_commit = false;
    while (w.store.waiting_count)
        commit_one(&w.store);
    submit(&w, &c, CATALOG_DELETE, "f", NULL);
    turn(&w);
    for (int i = 0; i < 100 && w.store.waiting_count < 2; i++) {
        w.fake.now_us += 100000; /* until it is tried again */
        turn(&w);
    }
    CHECK_EQ(w.store.waiting_count, 2);
    settle(&w);
    CHECK(w.store.count == 0 && c.r == 0);
    CHECK_EQ(mirrored(&w, &m), 0);
    CHECK_EQ(m.cursor.version, w.store.version);
    CHECK_EQ(catalog_version(w.catalog), w.store.version);
}

struct finishing {
    struct call call;
    int patched, finished;
    bool absent_is_fine;
};
static int on_patch(struct catalog_request *q, const json_t *before, json_t **ret_body, struct err *e)
{
    struct finishing *f = CONTAINER_OF(q->ctx, struct finishing, call);
    f->patched++;
    if (!before && !f->absent_is_fine)
        return err_set(e, CODE_NOT_FOUND, "there is none");
    *ret_body = before ? json_deep_copy(before) : json_loads(SERVICE("f", "a"), 0, NULL);
    if (before)
        (void)json_object_set_new(json_at(*ret_body, "metadata"), "labels", json_pack("{s:s}", "x", "y"));
    return 0;
}
static int on_finish(struct catalog_request *q, const json_t *before, json_t *object, struct err *e)
{
    struct finishing *f = CONTAINER_OF(q->ctx, struct finishing, call);
    (void)before, (void)e;
    f->finished++;
    (void)json_object_set_new(json_at(object, "metadata"), "managedFields", json_array());
    return 0;
}
static void patch(struct world *w, struct finishing *f)
{
    submit(w, &f->call, CATALOG_PATCH, "f", NULL);
    f->call.q.patch = on_patch;
    f->call.q.finish = on_finish;
    settle(w);
}

TEST(a_patch_sees_what_is_there_and_may_create_what_is_not)
{
    __attribute__((cleanup(world_auto))) struct world w;
    struct finishing f = { 0 };
    CHECK(world_open(&w));
    patch(&w, &f);
    CHECK(f.call.r == -CODE_NOT_FOUND && f.patched == 1 && f.finished == 0);
    f.absent_is_fine = true;
    patch(&w, &f);
    CHECK(f.call.r == 0 && f.call.q.created && f.finished == 1);
    CHECK(strstr(f.call.text, "managedFields"));
    patch(&w, &f);
    CHECK(f.call.r == 0 && !f.call.q.created && f.patched == 3);
    CHECK(strstr(f.call.text, "\"x\":\"y\""));
    call_free(&f.call);
}

TEST_MAIN()
