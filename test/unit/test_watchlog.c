/* The change log as a watch reads it: replay, filters, and what happens where the log has moved on. */
#include "serving/watchlog.h"
#include "base/rng.h"
#include "tap.h"

static void limits_small(struct limits *l, uint64_t events, uint64_t bytes)
{
    limits_default(l);
    l->watch_events_max = events;
    l->watch_log_bytes = bytes;
}

#define OBJECT(labels) "{\"metadata\":{\"labels\":" labels "}}"

static void add(struct watchlog *w, int64_t version, const char *kind, const char *ns, const char *name)
{
    watchlog_append(w, version, kind, ns, name, NULL, OBJECT("{\"a\":\"b\"}"));
}

static bool label_is_b(void *ctx, const struct watch_event *event, const json_t *labels)
{
    const char *value = labels ? json_string_value(json_object_get(labels, "a")) : NULL;
    (void)event;
    ++*(int *)ctx;
    return value && strcmp(value, "b") == 0;
}

/* "A5 M6 D9 |9": the types and versions that come, and where the cursor ends; "gone" for too old. */
static void read_all(struct watchlog *w, int64_t from, const struct watch_filter *f, char into[256])
{
    struct watch_cursor c;
    struct watch_event event;
    size_t used = 0;
    *into = '\0';
    if (watchlog_seek(w, from, &c) == WATCH_TOO_OLD) {
        snprintf(into, 256, "gone");
        return;
    }
    for (;;) {
        enum watch_verdict v = watchlog_next(w, &c, f, &event);
        if (v == WATCH_EVENT)
            used += (size_t)snprintf(into + used, 256 - used, "%c%lld ", "AMD"[event.type],
                                     (long long)event.version);
        else
            used += (size_t)snprintf(into + used, 256 - used, v == WATCH_NONE ? "|%lld" : "gone",
                                     (long long)c.version);
        if (v != WATCH_EVENT)
            return;
    }
}

TEST(a_watch_hears_everything_after_its_version_and_nothing_before)
{
    struct limits limits;
    char seen[256];
    limits_default(&limits);
    AUTO(watchlog) struct watchlog *w = watchlog_new(&limits, 10);
    const struct watch_filter all = { .kind = "services" };
    add(w, 12, "services", "d", "a");
    watchlog_append(w, 15, "services", "d", "a", OBJECT("{}"), OBJECT("{}"));
    watchlog_append(w, 16, "services", "d", "a", OBJECT("{}"), NULL);
    read_all(w, 10, &all, seen);
    CHECK_STR(seen, "A12 M15 D16 |16");
    read_all(w, 12, &all, seen);
    CHECK_STR(seen, "M15 D16 |16");
    read_all(w, 13, &all, seen); /* between two changes */
    CHECK_STR(seen, "M15 D16 |16");
    read_all(w, 16, &all, seen);
    CHECK_STR(seen, "|16");
    read_all(w, 9, &all, seen); /* before this log began */
    CHECK_STR(seen, "gone");
    CHECK_EQ(watchlog_version(w), 16);
}

TEST(the_object_of_a_deletion_says_the_version_of_the_deletion)
{
    struct limits limits;
    struct watch_cursor c;
    struct watch_event event;
    limits_default(&limits);
    AUTO(watchlog) struct watchlog *w = watchlog_new(&limits, 0);
    watchlog_append(w, 7, "services", "d", "a", "{\"metadata\":{\"resourceVersion\":\"3\"}}", NULL);
    CHECK_EQ(watchlog_seek(w, 0, &c), WATCH_NONE);
    CHECK_EQ(watchlog_next(w, &c, &(struct watch_filter){ .kind = "services" }, &event), WATCH_EVENT);
    CHECK_STR(event.text, "{\"metadata\":{\"resourceVersion\":\"7\"}}");
}

TEST(kind_namespace_and_name_are_told_apart_and_the_rest_moves_the_bookmark)
{
    struct limits limits;
    char seen[256];
    limits_default(&limits);
    AUTO(watchlog) struct watchlog *w = watchlog_new(&limits, 0);
    add(w, 1, "services", "d", "a");
    add(w, 2, "revisions", "d", "a");
    add(w, 3, "services", "e", "a");
    add(w, 4, "services", "d", "b");
    add(w, 5, "revisions", "x", "y");
    read_all(w, 0, &(struct watch_filter){ .kind = "services" }, seen);
    CHECK_STR(seen, "A1 A3 A4 |5");
    read_all(w, 0, &(struct watch_filter){ .kind = "services", .ns = "d" }, seen);
    CHECK_STR(seen, "A1 A4 |5");
    read_all(w, 0, &(struct watch_filter){ .kind = "services", .ns = "d", .name = "b" }, seen);
    CHECK_STR(seen, "A4 |5");
}

TEST(an_object_enters_and_leaves_a_selection_by_its_labels)
{
    struct limits limits;
    char seen[256];
    int asked = 0;
    limits_default(&limits);
    AUTO(watchlog) struct watchlog *w = watchlog_new(&limits, 0);
    const struct watch_filter f = { .kind = "services", .matches = label_is_b, .ctx = &asked };
    watchlog_append(w, 1, "services", "d", "a", NULL, OBJECT("{\"a\":\"c\"}"));
    watchlog_append(w, 2, "services", "d", "a", OBJECT("{\"a\":\"c\"}"), OBJECT("{\"a\":\"b\"}"));
    watchlog_append(w, 3, "services", "d", "a", OBJECT("{\"a\":\"b\"}"), OBJECT("{\"a\":\"b\",\"x\":\"y\"}"));
    watchlog_append(w, 4, "services", "d", "a", OBJECT("{\"a\":\"b\"}"), "{\"metadata\":{}}");
    watchlog_append(w, 5, "services", "d", "a", "{\"metadata\":{}}", NULL);
    read_all(w, 0, &f, seen);
    CHECK_STR(seen, "A2 M3 D4 |5");
    CHECK(asked > 0);
}

TEST(what_fell_out_of_the_log_is_gone_for_those_who_had_not_read_it)
{
    struct limits limits;
    struct watch_cursor slow, quick;
    struct watch_event event;
    const struct watch_filter all = { .kind = "services" };
    char seen[256];
    limits_small(&limits, 3, 1 << 20);
    AUTO(watchlog) struct watchlog *w = watchlog_new(&limits, 0);
    CHECK_EQ(watchlog_seek(w, 0, &slow), WATCH_NONE);
    CHECK_EQ(watchlog_seek(w, 0, &quick), WATCH_NONE);
    for (int64_t version = 1; version <= 3; version++)
        add(w, version, "services", "d", "a");
    CHECK_EQ(watchlog_next(w, &quick, &all, &event), WATCH_EVENT);
    add(w, 4, "services", "d", "a"); /* the first makes room */
    CHECK_EQ(watchlog_next(w, &slow, &all, &event), WATCH_TOO_OLD);
    CHECK_EQ(watchlog_next(w, &quick, &all, &event), WATCH_EVENT);
    CHECK_EQ(event.version, 2);
    CHECK_EQ(watchlog_forgotten(w), 1);
    read_all(w, 0, &all, seen);
    CHECK_STR(seen, "gone");
    read_all(w, 1, &all, seen); /* it knows 1, so nothing is missing */
    CHECK_STR(seen, "A2 A3 A4 |4");
}

TEST(text_counts_and_one_event_always_fits)
{
    struct limits limits;
    char seen[256];
    struct rng rng = { 5 };
    AUTO_FREE char *big = xcalloc(1, 140001); /* of what does not get smaller */
    snprintf(big, 140001, "{\"fill\":\"");
    for (size_t i = strlen(big); i < 139998; i++)
        big[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-"[rng_next(&rng) % 64];
    memcpy(big + 139998, "\"}", 2);
    limits_small(&limits, 1000, 65536);
    AUTO(watchlog) struct watchlog *w = watchlog_new(&limits, 0);
    add(w, 1, "services", "d", "a");
    watchlog_append(w, 2, "services", "d", "a", "{}", big);
    read_all(w, 1, &(struct watch_filter){ .kind = "services" }, seen);
    CHECK_STR(seen, "M2 |2");
    read_all(w, 0, &(struct watch_filter){ .kind = "services" }, seen);
    CHECK_STR(seen, "gone");
}

/* A service of which only the name changes, the version and a time. */
static char *alike(int64_t version)
{
    return xasprintf("{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"metadata\":{\"labels\":{\"app\":"
                     "\"shop\",\"team\":\"checkout\"},\"name\":\"f\",\"namespace\":\"default\",\"resourceVersion\":\"%lld\"},"
                     "\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"file:///srv/images/shop\",\"name\":"
                     "\"user-container\",\"readinessProbe\":{\"tcpSocket\":{\"port\":0},\"successThreshold\":1}}],"
                     "\"containerConcurrency\":0,\"timeoutSeconds\":300}}},\"status\":{\"conditions\":[{\"status\":\"True\","
                     "\"type\":\"Ready\",\"lastTransitionTime\":\"2026-11-23T17:%02d:%02dZ\"}]}}",
                     (long long)version, (int)version / 60 % 60, (int)version % 60);
}

TEST(a_thousand_changes_of_objects_that_are_alike_take_a_third_of_their_text)
{
    struct limits limits;
    size_t size = 0;
    limits_default(&limits);
    AUTO(watchlog) struct watchlog *w = watchlog_new(&limits, 0);
    for (int64_t version = 1; version <= 1000; version++) {
        AUTO_FREE char *before = alike(version - 1), *after = alike(version);
        watchlog_append(w, version, "services", "default", "f", version > 1 ? before : NULL, after);
        size += strlen(after);
    }
    CHECK(watchlog_bytes(w) < size / 3);
    struct packer_totals t = packer_totals(watchlog_packer(w));
    CHECK(t.texts == 1000 && t.size == size && t.held < size / 3);
}

/* Two who read by turns, one of them far behind: each gets its own events' texts. */
TEST(every_reader_gets_the_text_of_its_own_event)
{
    struct limits limits;
    struct watch_cursor ahead, behind;
    struct watch_event event;
    const struct watch_filter all = { .kind = "services" };
    limits_default(&limits);
    AUTO(watchlog) struct watchlog *w = watchlog_new(&limits, 0);
    CHECK_EQ(watchlog_seek(w, 0, &ahead), WATCH_NONE);
    behind = ahead;
    for (int64_t version = 1; version <= 20; version++) {
        AUTO_FREE char *text = alike(version);
        struct packed *shared = packed_share(watchlog_append(w, version, "services", "default", "f", text, text));
        AUTO_FREE char *again = packed_text(shared);
        CHECK_STR(again, text);
        packed_free(shared);
    }
    for (int64_t version = 1; version <= 20; version++) {
        for (int i = 0; i < 2 && ahead.version < 20; i++) {
            CHECK_EQ(watchlog_next(w, &ahead, &all, &event), WATCH_EVENT);
            AUTO_FREE char *text = alike(event.version);
            CHECK_STR(event.text, text);
        }
        CHECK_EQ(watchlog_next(w, &behind, &all, &event), WATCH_EVENT);
        AUTO_FREE char *text = alike(version);
        CHECK_STR(event.text, text);
    }
}

struct heard {
    struct watch_listener listener;
    int count;
};
static void on_change(struct watch_listener *l) { CONTAINER_OF(l, struct heard, listener)->count++; }

TEST(listeners_hear_of_each_change_until_they_leave)
{
    struct limits limits;
    struct heard a = { .listener.on_change = on_change }, b = a;
    limits_default(&limits);
    AUTO(watchlog) struct watchlog *w = watchlog_new(&limits, 0);
    watchlog_listen(w, &a.listener);
    watchlog_listen(w, &b.listener);
    add(w, 1, "services", "d", "a");
    watchlog_unlisten(w, &a.listener);
    watchlog_unlisten(w, &a.listener);
    add(w, 2, "services", "d", "a");
    CHECK_EQ(a.count, 1);
    CHECK_EQ(b.count, 2);
}

/* Whatever was appended and forgotten: a cursor hears all since its version, in order, or that it cannot. */
TEST(random_logs_are_complete_or_gone)
{
    struct rng rng = { 7 };
    for (int round = 0; round < 50; round++) {
        struct limits limits;
        limits_small(&limits, 1 + rng_next(&rng) % 8, 65536);
        int64_t start = (int64_t)(rng_next(&rng) % 5), version = start, versions[40];
        AUTO(watchlog) struct watchlog *w = watchlog_new(&limits, start);
        int count = (int)(rng_next(&rng) % 40);
        for (int i = 0; i < count; i++) {
            version += 1 + (int64_t)(rng_next(&rng) % 3);
            versions[i] = version;
            add(w, version, "services", "d", "a");
        }
        for (int64_t from = 0; from <= version + 1; from++) {
            struct watch_cursor c;
            struct watch_event event;
            int at = 0;
            while (at < count && versions[at] <= from)
                at++;
            bool all_here = from >= start && count - at <= (int)limits.watch_events_max;
            CHECK_EQ(watchlog_seek(w, from, &c) == WATCH_NONE, all_here);
            for (; all_here && at < count; at++) {
                CHECK_EQ(watchlog_next(w, &c, &(struct watch_filter){ .kind = "services" }, &event), WATCH_EVENT);
                CHECK_EQ(event.version, versions[at]);
            }
        }
    }
}

TEST_MAIN()
