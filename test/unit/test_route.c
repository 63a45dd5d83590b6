/* Traffic becomes a table: what Knative says of each case, and what must hold of every one. */
#include "serving/route.h"
#include "base/rng.h"
#include "tap.h"

static const struct route_revision three[] = {
    { "f-1", STATUS_TRUE, false },    { "f-2", STATUS_TRUE, false }, { "f-3", STATUS_UNKNOWN, false },
    { "f-4", STATUS_FALSE, false }, { "g-1", STATUS_TRUE, true },
};

static json_t *tree(const char *text)
{
    json_t *j = text ? json_loads(text, 0, NULL) : NULL;
    ASSERT(!text || j);
    return j;
}

static struct route_ask ask_of(const json_t *traffic, const json_t *before)
{
    return (struct route_ask){ .ns = "default", .name = "f", .port = ":8080", .configuration = "f",
                               .traffic = traffic, .revisions = three, .revision_count = COUNT_OF(three),
                               .latest_ready = "f-2", .latest_created = "f-3", .created = STATUS_UNKNOWN,
                               .before = before, .now_ms = 1000000 };
}

/* "f-1=5000 f-2=5000; v1: f-1=10000" */
static const char *table_text(const struct route_table *t, char into[600])
{
    size_t used = 0;
    into[0] = '\0';
    for (uint32_t i = 0; t && i < t->count; i++) {
        used += (size_t)snprintf(into + used, 600 - used, "%s%s%s", i ? "; " : "", t->hosts[i].tag,
                                 i ? ":" : "");
        for (uint32_t k = 0; k < t->hosts[i].count; k++)
            used += (size_t)snprintf(into + used, 600 - used, "%s%s=%u", k || i ? " " : "",
                                     t->hosts[i].shares[k].revision, t->hosts[i].shares[k].weight);
    }
    return t ? into : "none";
}

static const struct {
    const char *why, *traffic, *before, *table;
    enum status_ready assigned;
    const char *reason, *message;
} cases[] = {
    { "nothing said: all to the latest", NULL, NULL, "f-2=10000", STATUS_TRUE, NULL, "" },
    { "a split", "[{\"revisionName\":\"f-1\",\"percent\":90},{\"latestRevision\":true,\"percent\":10}]", NULL,
      "f-1=9000 f-2=1000", STATUS_TRUE, NULL, "" },
    { "the latest, named as well", "[{\"revisionName\":\"f-2\",\"percent\":30},{\"latestRevision\":true,\"percent\":70}]",
      NULL, "f-2=10000", STATUS_TRUE, NULL, "" },
    { "tags", "[{\"revisionName\":\"f-1\",\"percent\":100,\"tag\":\"old\"},{\"latestRevision\":true,\"tag\":\"new\"}]",
      NULL, "f-1=10000; old: f-1=10000; new: f-2=10000", STATUS_TRUE, NULL, "" },
    { "one that is not there moves nothing", "[{\"revisionName\":\"f-9\",\"percent\":100}]",
      "[{\"revisionName\":\"f-1\",\"percent\":100,\"latestRevision\":false}]", "f-1=10000", STATUS_FALSE,
      "RevisionMissing", "Revision \"f-9\" referenced in traffic not found." },
    { "one that is not ready moves nothing", "[{\"revisionName\":\"f-3\",\"percent\":100}]",
      "[{\"revisionName\":\"f-1\",\"percent\":100,\"latestRevision\":false}]", "f-1=10000", STATUS_UNKNOWN,
      "RevisionMissing", "Revision \"f-3\" is not yet ready." },
    { "one that failed", "[{\"revisionName\":\"f-4\",\"percent\":100}]", NULL, "f-2=10000", STATUS_FALSE,
      "RevisionMissing", "Revision \"f-4\" failed to become ready." },
    { "somebody else's", "[{\"revisionName\":\"g-1\",\"percent\":100}]", NULL, "f-2=10000", STATUS_FALSE,
      "RevisionNotOwned", "Revision \"g-1\" referenced in traffic is not owned by Service \"f\"." },
    { "another configuration", "[{\"configurationName\":\"g\",\"percent\":100}]", NULL, "f-2=10000",
      STATUS_FALSE, "ConfigurationMissing", "Configuration \"g\" referenced in traffic not found." },
    { "its own configuration", "[{\"configurationName\":\"f\",\"percent\":100}]", NULL, "f-2=10000",
      STATUS_TRUE, NULL, "" },
    { "wrong goes before not yet", "[{\"revisionName\":\"f-3\",\"percent\":50},{\"revisionName\":\"f-9\",\"percent\":50}]",
      NULL, "f-2=10000", STATUS_FALSE, "RevisionMissing", "Revision \"f-9\" referenced in traffic not found." },
    { "what was is gone in part", "[{\"revisionName\":\"f-9\",\"percent\":100}]",
      "[{\"revisionName\":\"f-1\",\"percent\":30},{\"revisionName\":\"f-8\",\"percent\":70}]", "f-1=10000",
      STATUS_FALSE, "RevisionMissing", "Revision \"f-9\" referenced in traffic not found." },
    { "what was is gone entirely", "[{\"revisionName\":\"f-9\",\"percent\":100}]",
      "[{\"revisionName\":\"f-8\",\"percent\":100,\"tag\":\"x\"}]", "f-2=10000", STATUS_FALSE,
      "RevisionMissing", "Revision \"f-9\" referenced in traffic not found." },
};

TEST(traffic_becomes_a_table_and_a_condition)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO_JSON json_t *traffic = tree(cases[i].traffic), *before = tree(cases[i].before);
        const struct route_ask ask = ask_of(traffic, before);
        struct route_rolling rolling = { .count = 0 };
        struct route r;
        char text[600];
        route_make(&ask, &rolling, &r);
        if (strcmp(table_text(r.table, text), cases[i].table) != 0 || r.assigned != cases[i].assigned ||
            strcmp(r.message, cases[i].message) != 0 ||
            strcmp(r.reason ? r.reason : "", cases[i].reason ? cases[i].reason : "") != 0)
            FAIL("%s: %s %d %s %s", cases[i].why, table_text(r.table, text), (int)r.assigned,
                 r.reason ? r.reason : "", r.message);
        CHECK(r.assigned == STATUS_TRUE || r.traffic == before);
        route_done(&r);
    }
}

TEST(each_configuration_of_a_route_rolls_out_within_its_own_part)
{
    static const struct route_revision revisions[] = { { "a-1", STATUS_TRUE, false }, { "a-2", STATUS_TRUE, false },
                                                       { "b-1", STATUS_TRUE, false }, { "b-2", STATUS_TRUE, false } };
    AUTO_JSON json_t *traffic = tree("[{\"configurationName\":\"a\",\"percent\":60},{\"configurationName\":\"b\",\"percent\":40}]");
    struct route_configuration b = { "b", "b-1", STATUS_TRUE };
    struct route_rolling first = { .count = 0 }, other = { .count = 0 };
    struct route_ask ask = ask_of(traffic, NULL);
    struct route r;
    char text[600];
    ask.configuration = "a";
    ask.latest_ready = "a-1";
    ask.revisions = revisions;
    ask.revision_count = COUNT_OF(revisions);
    ask.others = &b;
    ask.other_count = 1;
    ask.other_rolling = &other;
    ask.rollout_ms = 10000;
    ask.now_ms = 1000;
    const struct {
        const char *a, *b, *table;
        int64_t now_ms;
    } steps[] = {
        { "a-1", "b-1", "b-1=4000 a-1=6000", 1000 },
        { "a-1", "b-2", "b-1=3900 b-2=100 a-1=6000", 2000 },
        { "a-2", "b-2", "b-1=3500 b-2=500 a-1=5900 a-2=100", 3200 },
        { "a-2", "b-2", "b-2=4000 a-2=6000", 20000 },
    };
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        ask.latest_ready = steps[i].a;
        b.latest_ready = steps[i].b;
        ask.now_ms = steps[i].now_ms;
        route_make(&ask, &first, &r);
        if (strcmp(table_text(r.table, text), steps[i].table) != 0)
            FAIL("step %zu: %s", i, text);
        route_done(&r);
    }
    CHECK(first.next_ms == 0 && other.next_ms == 0);
}

TEST(status_names_the_revision_and_each_tag_its_url)
{
    AUTO_JSON json_t *traffic = tree("[{\"latestRevision\":true,\"percent\":100,\"tag\":\"now\"},"
                                     "{\"revisionName\":\"f-1\",\"tag\":\"old\"}]");
    struct route_ask ask = ask_of(traffic, NULL);
    struct route_rolling rolling = { .count = 0 };
    struct route r;
    route_make(&ask, &rolling, &r);
    AUTO_JSON json_t *want = tree(
        "[{\"latestRevision\":true,\"percent\":100,\"revisionName\":\"f-2\",\"tag\":\"now\","
        "\"url\":\"http://now-f.default.localhost:8080\"},"
        "{\"latestRevision\":false,\"revisionName\":\"f-1\",\"tag\":\"old\","
        "\"url\":\"http://old-f.default.localhost:8080\"}]");
    CHECK(json_equal(r.traffic, want));
    route_done(&r);
    ask.cluster_local = true;
    AUTO_FREE char *url = route_url(&ask, "");
    CHECK_STR(url, "http://f.default.svc.cluster.local");
}

TEST(the_first_revision_holds_requests_before_it_is_ready)
{
    struct route_ask ask = ask_of(NULL, NULL);
    struct route_rolling rolling = { .count = 0 };
    struct route r;
    char text[600];
    ask.latest_ready = "";
    route_make(&ask, &rolling, &r);
    CHECK_STR(table_text(r.table, text), "f-3=10000");
    CHECK(r.assigned == STATUS_UNKNOWN && !r.traffic);
    CHECK_STR(r.message, "Configuration \"f\" is waiting for a Revision to become ready.");
    route_done(&r);
    ask.created = STATUS_FALSE;
    route_make(&ask, &rolling, &r);
    CHECK(r.assigned == STATUS_FALSE);
    CHECK_STR(r.message, "Configuration \"f\" does not have any ready Revision.");
    route_done(&r);
    ask.latest_created = "";
    route_make(&ask, &rolling, &r);
    CHECK(!r.table);
    route_done(&r);
}

/* ---- rollouts ---- */

static const char *rolling_text(const struct route_rolling *r, char into[300])
{
    size_t used = 0;
    into[0] = '\0';
    for (uint32_t i = 0; i < r->count; i++)
        used += (size_t)snprintf(into + used, 300 - used, "%s%s=%u", i ? " " : "", r->shares[i].revision,
                                 r->shares[i].percent);
    return into;
}

TEST(a_rollout_begins_with_one_percent_and_steps_to_all)
{
    struct route_rolling r = { .count = 0 };
    char text[300];
    int64_t now_ms = 5000;
    route_roll(&r, "a", 100, 10000, now_ms);
    CHECK_STR(rolling_text(&r, text), "a=100"); /* the first has nobody to take from */
    CHECK_EQ(r.next_ms, 0);
    route_roll(&r, "b", 100, 10000, now_ms);
    CHECK_STR(rolling_text(&r, text), "a=99 b=1");
    CHECK_EQ(r.step_percent, 11); /* 9 steps for 99 percent */
    CHECK_EQ(r.next_ms, 5000 + 10000 / 9);
    route_roll(&r, "b", 100, 10000, now_ms + 1000); /* not yet */
    CHECK_STR(rolling_text(&r, text), "a=99 b=1");
    for (int steps = 0; steps < 9; steps++) {
        CHECK(r.next_ms > 0);
        now_ms = r.next_ms;
        route_roll(&r, "b", 100, 10000, now_ms);
    }
    CHECK_STR(rolling_text(&r, text), "b=100");
    CHECK_EQ(r.next_ms, 0);
    CHECK(now_ms <= 15000);
}

TEST(rollouts_stack_and_the_oldest_is_drained_first)
{
    struct route_rolling r = { .count = 0 };
    char text[300];
    route_roll(&r, "a", 100, 10000, 0);
    route_roll(&r, "b", 100, 10000, 0);
    route_roll(&r, "b", 100, 10000, r.next_ms);
    CHECK_STR(rolling_text(&r, text), "a=88 b=12");
    route_roll(&r, "c", 100, 10000, r.next_ms);
    CHECK_STR(rolling_text(&r, text), "a=88 b=11 c=1");
    route_roll(&r, "c", 100, 10000, r.next_ms);
    CHECK_STR(rolling_text(&r, text), "a=77 b=11 c=12");
    route_roll(&r, "c", 50, 10000, r.next_ms - 1); /* less to share: the oldest give */
    CHECK_STR(rolling_text(&r, text), "a=27 b=11 c=12");
    route_roll(&r, "c", 50, 0, r.next_ms - 1); /* no duration any more */
    CHECK_STR(rolling_text(&r, text), "c=50");
}

TEST(a_rollout_survives_a_restart_and_strange_text_does_not)
{
    struct route_rolling r = { .count = 0 }, back;
    char one[300], two[300];
    route_roll(&r, "a", 100, 60000, 7000);
    route_roll(&r, "b", 100, 60000, 7000);
    AUTO_FREE char *text = route_rolling_format(&r);
    CHECK(route_rolling_parse(text, &back));
    CHECK_STR(rolling_text(&back, two), rolling_text(&r, one));
    CHECK(back.next_ms == r.next_ms && back.step_ms == r.step_ms && back.step_percent == r.step_percent);
    static const char *const strange[] = { "", "1 2", "1 2 3", "1 2 3 a", "1 2 3 =5", "1 2 3 a=101",
                                           "1 2 3 a=60 b=60", "5 0 3 a=1 b=2", "5 1 0 a=1 b=2",
                                           "5 1 1 a=1", "-1 2 3 a=5", "99999999999999999999 1 1 a=1" };
    for (size_t i = 0; i < COUNT_OF(strange); i++)
        if (route_rolling_parse(strange[i], &back))
            FAIL("\"%s\" was taken", strange[i]);
}

TEST(whatever_happens_the_percents_of_a_rollout_add_up)
{
    static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l" };
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct rng rng = { seed };
        struct route_rolling r = { .count = 0 };
        int64_t now_ms = 1;
        size_t latest = 0;
        for (int step = 0; step < 300; step++) {
            uint32_t percent = rng_chance(&rng, 80) ? 100 : (uint32_t)rng_below(&rng, 101);
            if (rng_chance(&rng, 10))
                latest = rng_below(&rng, COUNT_OF(names));
            now_ms += (int64_t)rng_below(&rng, 3000);
            route_roll(&r, names[latest], percent,
                       rng_chance(&rng, 95) ? 1 + (int64_t)rng_below(&rng, 60000) : 0, now_ms);
            uint32_t sum = 0;
            for (uint32_t i = 0; i < r.count; i++)
                sum += r.shares[i].percent;
            if (sum != percent || strcmp(r.shares[r.count - 1].revision, names[latest]) != 0 ||
                r.count > ROUTE_ROLLING_MAX || (r.next_ms && r.next_ms <= now_ms))
                FAIL("seed %" PRIu64 " step %d: %u of %u, %u shares, next %lld at %lld", seed, step, sum,
                     percent, r.count, (long long)r.next_ms, (long long)now_ms);
        }
    }
}

/* ---- properties ---- */

static json_t *random_traffic(struct rng *r, const char *const *names, size_t count)
{
    static const char *const tags[] = { "a", "b", "c", "d" };
    json_t *traffic = json_array();
    size_t targets = 1 + rng_below(r, 4);
    int64_t left = 100;
    for (size_t i = 0; i < targets; i++) {
        int64_t percent = i + 1 == targets ? left : (int64_t)rng_below(r, (uint64_t)left + 1);
        left -= percent;
        json_t *t = json_pack("{s:I}", "percent", (json_int_t)percent);
        if (rng_chance(r, 40))
            (void)json_object_set_new(t, "latestRevision", json_true());
        else
            (void)json_object_set_new(t, "revisionName", json_string(names[rng_below(r, count)]));
        if (rng_chance(r, 50))
            (void)json_object_set_new(t, "tag", json_string(tags[i]));
        (void)json_array_append_new(traffic, t);
    }
    return traffic;
}

static enum status_ready ready_of(const struct route_revision *all, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].ready;
    return STATUS_FALSE;
}

static bool unready_is_new(const struct route_table *t, const struct route_table *old,
                           const struct route_revision *all, size_t count)
{
    for (uint32_t i = 0; i < t->count; i++)
        for (uint32_t k = 0; k < t->hosts[i].count; k++) {
            const char *name = t->hosts[i].shares[k].revision;
            if (ready_of(all, count, name) != STATUS_TRUE && !route_table_names(old, name))
                return true;
        }
    return false;
}

/* A life of one Route: Revisions come, become ready or fail, go; the traffic changes; time passes. */
TEST(weights_sum_tags_resolve_and_nothing_new_goes_to_what_is_not_ready)
{
    static const char *const names[] = { "f-1", "f-2", "f-3", "f-4", "f-5", "f-6", "f-7", "f-8" };
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct rng rng = { seed };
        struct route_revision all[COUNT_OF(names)];
        struct route_rolling rolling = { .count = 0 };
        AUTO(route_table) struct route_table *old = NULL;
        AUTO_JSON json_t *before = NULL;
        size_t count = 0;
        const char *latest_ready = "";
        int64_t now_ms = 1000;
        for (int step = 0; step < 60; step++) {
            if (count < COUNT_OF(names) && rng_chance(&rng, 20)) {
                all[count] = (struct route_revision){ names[count], STATUS_UNKNOWN, false };
                count++;
            }
            for (size_t i = 0; i < count; i++)
                if (all[i].ready == STATUS_UNKNOWN && rng_chance(&rng, 30)) {
                    all[i].ready = rng_chance(&rng, 80) ? STATUS_TRUE : STATUS_FALSE;
                    if (all[i].ready == STATUS_TRUE && strcmp(all[i].name, latest_ready) > 0)
                        latest_ready = all[i].name;
                }
            AUTO_JSON json_t *traffic = random_traffic(&rng, names, COUNT_OF(names));
            struct route_ask ask = ask_of(traffic, before);
            ask.revisions = all;
            ask.revision_count = count;
            ask.latest_ready = latest_ready;
            ask.latest_created = count ? names[count - 1] : "";
            ask.created = count ? all[count - 1].ready : STATUS_UNKNOWN;
            ask.now_ms = now_ms += (int64_t)rng_below(&rng, 4000);
            ask.rollout_ms = rng_chance(&rng, 50) ? 0 : 20000;
            struct route r;
            route_make(&ask, &rolling, &r);
            if ((r.table == NULL) != (count == 0))
                FAIL("seed %" PRIu64 ": no table", seed);
            if (r.table) {
                route_table_check(r.table); /* sums, and nobody twice */
                if (*latest_ready && unready_is_new(r.table, old, all, count))
                    FAIL("seed %" PRIu64 " step %d: what is not ready gets requests", seed, step);
            }
            size_t tags = 0;
            for (size_t i = 0; r.assigned == STATUS_TRUE && i < json_array_size(traffic); i++)
                tags += json_object_get(json_array_get(traffic, i), "tag") != NULL;
            if (r.assigned == STATUS_TRUE && r.table->count != tags + 1)
                FAIL("seed %" PRIu64 ": %zu tags, %u hosts", seed, tags, r.table->count);
            route_table_free(old);
            old = TAKE(r.table);
            json_decref(before);
            before = json_incref(r.traffic);
            route_done(&r);
        }
    }
}

TEST_MAIN()
