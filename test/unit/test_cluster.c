/* What Knative's ConfigMaps may say of the whole cluster, and what becomes of it. */
#include "serving/cluster.h"
#include "tap.h"

/* "" it was accepted, else what was said of it. */
static const char *read_into(const char *name, const char *data, struct limits *l)
{
    static char text[1024];
    struct refusals refused = { 0 };
    struct buf b;
    AUTO_JSON json_t *tree = json_loads(data, 0, NULL);
    buf_init(&b, sizeof text - 1);
    cluster_read(name, tree, l, &refused);
    refusals_text(&refused, &b);
    snprintf(text, sizeof text, STR_FMT, STR_ARG(buf_str(&b)));
    buf_done(&b);
    refusals_done(&refused);
    return text;
}

TEST(values_become_limits)
{
    struct limits l;
    limits_default(&l);
    CHECK_STR(read_into("config-autoscaler",
                        "{\"stable-window\":\"40s\",\"container-concurrency-target-percentage\":\"0.5\",\"max-scale-limit\":\"5\","
                        "\"max-scale\":\"3\",\"min-scale\":\"2\",\"enable-scale-to-zero\":\"false\",\"max-scale-up-rate\":\"2.5\","
                        "\"scale-down-delay\":\"1m\",\"scale-to-zero-pod-retention-period\":\"1500ms\",\"_example\":\"x\","
                        "\"target-burst-capacity\":\"-1\",\"scale-to-zero-grace-period\":\"30s\",\"initial-scale\":\"0\"}", &l), "");
    CHECK_EQ(l.scale_window_s, 40);
    CHECK_EQ(l.scale_target_percent, 50);
    CHECK_EQ(l.scale_limit, 5);
    CHECK_EQ(l.scale_max_default, 3);
    CHECK_EQ(l.scale_min_default, 2);
    CHECK_EQ(l.scale_to_zero, 0);
    CHECK_EQ(l.scale_up_percent, 250);
    CHECK_EQ(l.scale_down_delay_ms, 60000);
    CHECK_EQ(l.scale_retention_ms, 1500);
    CHECK_EQ(l.scale_burst, 1000000);
    CHECK_EQ(l.scale_initial, 0);
    CHECK_STR(read_into("config-defaults", "{\"revision-timeout-seconds\":\"60\",\"max-revision-timeout-seconds\":\"3600\","
                        "\"container-concurrency\":\"7\",\"allow-container-concurrency-zero\":\"false\"}", &l), "");
    CHECK_EQ(l.request_timeout_s, 60);
    CHECK_EQ(l.request_timeout_s_max, 3600);
    CHECK_EQ(l.container_concurrency, 7);
    CHECK_EQ(l.container_concurrency_zero, 0);
    CHECK_STR(read_into("config-gc", "{\"retain-since-create-time\":\"disabled\",\"retain-since-last-active-time\":\"2h\","
                        "\"min-non-active-revisions\":\"1\",\"max-non-active-revisions\":\"disabled\"}", &l), "");
    CHECK_EQ(l.gc_create_s, LIMIT_DISABLED);
    CHECK_EQ(l.gc_active_s, 7200);
    CHECK_EQ(l.gc_min, 1);
    CHECK_EQ(l.gc_max, LIMIT_DISABLED);
    CHECK_STR(read_into("config-defaults", "{\"revision-cpu-request\":\"400m\",\"revision-cpu-limit\":\"1\",\"revision-memory-request\":\"100M\","
                        "\"revision-memory-limit\":\"200Mi\",\"revision-ephemeral-storage-limit\":\"1Gi\"}", &l), "");
    CHECK_EQ(l.container_cpu_request_milli, 400);
    CHECK_EQ(l.container_cpu_limit_milli, 1000);
    CHECK_EQ(l.container_memory_request_bytes, 100000000);
    CHECK_EQ(l.container_memory_limit_bytes, 200 << 20);
    CHECK_EQ(l.container_storage_request_bytes, 0);
    CHECK_EQ(l.container_storage_limit_bytes, 1 << 30);
    CHECK_STR(read_into("config-features", "{\"multi-container\":\"disabled\",\"kubernetes.podspec-init-containers\":\"Disabled\","
                        "\"kubernetes.podspec-affinity\":\"disabled\",\"secure-pod-defaults\":\"Disabled\",\"_example\":\"x\","
                        "\"kubernetes.podspec-volumes-image\":\"Allowed\",\"tag-header-based-routing\":\"Disabled\"}", &l), "");
    CHECK(!l.feature_multi_container && !l.feature_init_containers && !l.feature_tag_header);
    CHECK(l.feature_multi_container_probing && l.feature_empty_dir);
    CHECK_STR(read_into("config-features", "{\"multi-container\":\"Allowed\"}", &l), "");
    CHECK(l.feature_multi_container);
    struct limits before = l;
    CHECK_STR(read_into("config-network", "{\"autocreate-cluster-domain-claims\":\"true\"}", &l), "");
    CHECK(memcmp(&l, &before, sizeof l) == 0); /* no limit is behind it */
}

TEST(what_is_wrong_is_refused_in_knatives_words_and_changes_nothing)
{
    static const struct {
        const char *map, *data, *why;
    } rows[] = {
        { "config-autoscaler", "{\"stable-window\":\"5s\"}",
          "stable-window = 5s, must be in [6s; 1h0m0s] range: data.stable-window" },
        { "config-autoscaler", "{\"stable-window\":\"6500ms\"}",
          "stable-window = 6500ms, must be specified with at most second precision: data.stable-window" },
        { "config-autoscaler", "{\"stable-window\":\"soon\"}",
          "failed to parse \"stable-window\": \"soon\" is none of its values: data.stable-window" },
        { "config-autoscaler", "{\"max-scale-up-rate\":\"1\"}", "max-scale-up-rate = 1, must be greater than 1.0: data.max-scale-up-rate" },
        { "config-autoscaler", "{\"target-burst-capacity\":\"-0.5\"}",
          "target-burst-capacity must be either non-negative or -1 (for unlimited), was: -0.5: data.target-burst-capacity" },
        { "config-autoscaler", "{\"container-concurrency-target-percentage\":\"101\"}",
          "container-concurrency-target-percentage = 101 is outside of valid range of (0, 100]: data.container-concurrency-target-percentage" },
        { "config-autoscaler", "{\"max-scale\":\"6\",\"max-scale-limit\":\"5\"}",
          "max-scale = 6, must be in [0, max-scale-limit(5)] range: data.max-scale" },
        { "config-autoscaler", "{\"initial-scale\":\"0\",\"allow-zero-initial-scale\":\"false\"}",
          "initial-scale = 0, must be at least 0 (or at least 1 when allow-zero-initial-scale is false): data.initial-scale" },
        { "config-autoscaler", "{\"enable-scale-to-zero\":\"yes\"}",
          "failed to parse \"enable-scale-to-zero\": \"yes\" is none of its values: data.enable-scale-to-zero" },
        { "config-autoscaler", "{\"scale-to-zero-grace-period\":\"1s\"}",
          "scale-to-zero-grace-period must be at least 6s, was: 1s: data.scale-to-zero-grace-period" },
        { "config-defaults", "{\"revision-timeout-seconds\":\"700\"}",
          "revision-timeout-seconds (700) cannot be greater than max-revision-timeout-seconds (600): data.revision-timeout-seconds" },
        { "config-defaults", "{\"container-concurrency\":\"1001\"}", "expected 0 <= 1001 <= 1000: data.container-concurrency" },
        { "config-defaults", "{\"allow-container-concurrency-zero\":\"false\"}", "expected 1 <= 0 <= 1000: data.container-concurrency" },
        { "config-defaults", "{\"revision-cpu-limit\":\"much\"}",
          "failed to parse \"revision-cpu-limit\": \"much\" is none of its values: data.revision-cpu-limit" },
        { "config-defaults", "{\"revision-memory-limit\":\"-1\"}",
          "revision-memory-limit = -1, must be more than 0 and at most 1Ti: data.revision-memory-limit" },
        { "config-defaults", "{\"revision-cpu-limit\":\"1\",\"revision-cpu-request\":\"1001m\"}",
          "revision-cpu-request cannot be greater than revision-cpu-limit: data.revision-cpu-request" },
        { "config-features", "{\"multi-container\":\"yes\"}", "invalid value: yes: data.multi-container\none of Enabled, Allowed, Disabled" },
        { "config-features", "{\"kubernetes.podspec-affinity\":\"enabled\"}",
          "invalid value: enabled: data.kubernetes.podspec-affinity\nhob cannot do this, and refuses what asks for it" },
        { "config-features", "{\"secure-pod-defaults\":\"AllowRootBounded\"}",
          "invalid value: AllowRootBounded: data.secure-pod-defaults\nhob cannot do this, and refuses what asks for it" },
        { "config-features", "{\"kubernetes.podspec-volumes-image\":\"Disabled\"}",
          "invalid value: Disabled: data.kubernetes.podspec-volumes-image\nhob always does this" },
        { "config-gc", "{\"min-non-active-revisions\":\"9\",\"max-non-active-revisions\":\"8\"}",
          "min-non-active-revisions(9) exceeds max-non-active-revisions(8): data.min-non-active-revisions" },
        { "config-gc", "{\"retain-since-create-time\":\"-1s\"}",
          "retain-since-create-time must be non-negative, was: -1s: data.retain-since-create-time" },
        { "config-network", "{\"autocreate-cluster-domain-claims\":\"maybe\"}",
          "failed to parse \"autocreate-cluster-domain-claims\": \"maybe\" is none of its values: data.autocreate-cluster-domain-claims" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct limits l, before;
        limits_default(&l);
        before = l;
        CHECK_STR(read_into(rows[i].map, rows[i].data, &l), rows[i].why);
        CHECK(memcmp(&l, &before, sizeof l) == 0);
    }
}

TEST(only_knatives_own_maps_are_meant)
{
    CHECK(cluster_is("knative-serving", "config-gc"));
    CHECK(cluster_is("knative-serving", "config-network"));
    CHECK(!cluster_is("default", "config-gc"));
    CHECK(!cluster_is("knative-serving", "config-x"));
    CHECK(!cluster_is(NULL, "config-gc"));
}

TEST(what_has_no_effect_is_warned_of)
{
    static const struct {
        const char *ns, *name, *data, *says;
    } cases[] = {
        { "knative-serving", "config-domain", "{\"example.com\":\"\"}", "hob does not read config-domain: it is kept, and has no effect: " },
        { "knative-serving", "config-gc", "{\"_example\":\"x\",\"retain-since-create-time\":\"1h\",\"retain-for-ever\":\"1\"}",
          "hob does not read this key: it has no effect: data.retain-for-ever" },
        { "knative-serving", "config-features", "{\"multi-container\":\"Enabled\",\"stable-window\":\"6s\"}",
          "hob does not read this key: it has no effect: data.stable-window" },
        { "knative-serving", "mine", "{\"a\":\"b\"}", "" },
        { "default", "config-domain", "{}", "" },
        { NULL, "config-domain", NULL, "" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO_JSON json_t *data = cases[i].data ? json_loads(cases[i].data, 0, NULL) : NULL;
        struct refusals said = { 0 };
        struct buf text;
        buf_init(&text, 4096);
        cluster_warn(cases[i].ns, cases[i].name, data, &said);
        refusals_text(&said, &text);
        AUTO_FREE char *all = buf_take_text(&text);
        CHECK_STR(all, cases[i].says);
        refusals_done(&said);
    }
}

TEST_MAIN()
