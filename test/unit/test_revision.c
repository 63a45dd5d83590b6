#include "serving/pod.h"
#include "serving/revision.h"
#include "serving/service.h"
#include "tap.h"

static struct limits limits;

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void (*change_limits)(struct limits *l); /* NULL: as they come */
static const json_t *resolved_models; /* what an earlier boot left in the status */

/* Decodes what service_prepare() makes of a pod and annotations, as the catalog does. */
static int decode(const char *pod, const char *annotations, struct revision **ret, struct err *e)
{
    AUTO_JSON json_t *p = NULL;
    AUTO_JSON json_t *a = NULL;
    struct service_draft d;
    struct service_terms t = { &limits, "ns", SERVICE_UNKNOWN_REFUSE, "abcde" };
    limits_default(&limits);
    if (change_limits)
        change_limits(&limits);
    int r = json_read(str_of(pod), &limits, &p, e);
    ASSERT(r == 0);
    r = json_read(str_of(annotations), &limits, &a, e);
    ASSERT(r == 0);
    AUTO_JSON json_t *in =
        json_pack("{s:{s:s},s:{s:{s:{s:O},s:O}}}", "metadata", "name", "f", "spec", "template",
                  "metadata", "annotations", a, "spec", p);
    service_prepare(in, NULL, &t, &d);
    if (d.refusal != SERVICE_ACCEPTED) {
        struct buf b;
        buf_init(&b, 4096);
        refusals_text(&d.refused, &b);
        printf("# " STR_FMT "\n", STR_ARG(buf_str(&b)));
        buf_done(&b);
    }
    ASSERT(d.refusal == SERVICE_ACCEPTED);
    struct revision_source s = {
        .ns = "ns",
        .service = "f",
        .name = "f-00007",
        .generation = 7,
        .annotations = json_at(d.object, "spec.template.metadata.annotations"),
        .pod = json_at(d.object, POD_PATH),
        .pins = resolved_models,
    };
    r = revision_decode(&s, &limits, ret, e);
    service_draft_done(&d);
    return r;
}

static void other_limits(struct limits *l)
{
    l->scale_target = 50;
    l->scale_target_percent = 80;
    l->scale_rps_target = 20;
    l->scale_burst = 0;
    l->scale_window_s = 30;
    l->scale_panic_window_percent = 5; /* 1.5 s: rounded */
    l->scale_panic_percent = 300;
    l->scale_initial = 3;
    l->scale_retention_ms = 5000;
    l->scale_down_delay_ms = 7000;
}

TEST(what_no_annotation_says_the_limits_say_as_config_autoscaler_does)
{
    AUTO(revision) struct revision *r = NULL, *rps = NULL;
    struct err e;
    change_limits = other_limits;
    int one = decode("{\"containers\":[{\"image\":\"file:///f\"}]}", "{}", &r, &e);
    int two = decode("{\"containers\":[{\"image\":\"file:///f\"}],\"containerConcurrency\":4}",
                     "{\"autoscaling.knative.dev/metric\":\"rps\",\"autoscaling.knative.dev/initial-scale\":\"0\","
                     "\"autoscaling.knative.dev/scale-to-zero-pod-retention-period\":\"0s\","
                     "\"autoscaling.knative.dev/window\":\"10s\"}", &rps, &e);
    change_limits = NULL;
    CHECK(one == 0 && two == 0);
    CHECK(r->total == 50 && r->target == 40 && r->burst_capacity == 0 && !r->by_rps);
    CHECK(r->window_us == 30000000 && r->panic_window_s == 2 && r->panic_threshold == 3);
    CHECK(r->initial_scale == 3 && r->retention_us == 5000000 && r->scale_down_delay_us == 7000000);
    CHECK(rps->by_rps && rps->total == 20 && rps->target == 16); /* containerConcurrency is not a rate */
    CHECK(rps->initial_scale == 0 && rps->retention_us == 0 && rps->window_us == 10000000);
    CHECK_EQ(rps->panic_window_s, 1);
}

TEST(a_minimal_revision_has_knatives_defaults)
{
    AUTO(revision) struct revision *r = NULL;
    struct err e = { 0 };
    CHECK_EQ(decode("{\"containers\":[{\"image\":\"file:///f\"}]}", "{}", &r, &e), 0);
    CHECK_STR(r->ns, "ns");
    CHECK_STR(r->service, "f");
    CHECK_STR(r->name, "f-00007");
    CHECK_EQ(r->generation, 7);
    CHECK_STR(r->image, "file:///f");
    CHECK_STR(r->image_digest, "");
    CHECK(!r->liveness && !r->startup);
    CHECK(!r->command[0] && !r->args[0] && !r->env[0] && !r->workdir);
    CHECK_EQ(r->port, 8080);
    CHECK_EQ(r->protocol, PORT_HTTP1);
    CHECK_EQ(r->timeout_s, 300);
    CHECK(!r->container_concurrency && !r->response_start_timeout_s && !r->idle_timeout_s);
    CHECK(r->uid == 65532 && r->gid == 65532);
    CHECK(!r->memory_bytes && !r->ephemeral_bytes && !r->cpu_milli && !r->mount_count);
    CHECK_EQ(r->readiness.kind, PROBE_TCP);
    CHECK_EQ(r->readiness.port, 8080);
    CHECK(r->readiness.period_s == 0 && r->readiness.success_threshold == 1);
    CHECK(r->min_scale == 0 && r->max_scale == 0 && r->initial_scale == 1);
    CHECK_EQ(r->target * 1000, 70000);
    CHECK(r->total == 100 && r->panic_window_s == 6 && r->panic_threshold == 2 && r->burst_capacity == 211);
    CHECK(r->activation_scale == 0 && !r->weighted && !r->by_rps);
    CHECK_EQ(r->window_us, 60000000);
    CHECK(r->retention_us == 0 && r->scale_down_delay_us == 0);
    CHECK_EQ(r->progress_deadline_us, 600000000);
    CHECK_EQ(r->queue_depth, limits.queue_depth_max);
    CHECK(r->start_budget_ms == 0);
    CHECK_EQ(r->start_budget_percentile, 99);
}

TEST(everything_that_was_said_is_in_the_revision)
{
    AUTO(revision) struct revision *r = NULL;
    struct err e = { 0 };
    const char *pod =
        "{\"containerConcurrency\":10,\"timeoutSeconds\":20,\"responseStartTimeoutSeconds\":5,"
        "\"idleTimeoutSeconds\":3,\"containers\":[{\"image\":\"file:///f@sha256:" HEX64 "\","
        "\"command\":[\"/bin/f\"],\"args\":[\"-x\",\"y z\"],\"workingDir\":\"/w\",\"env\":[{\"name\":"
        "\"A\",\"value\":\"1\"},{\"name\":\"B\"}],\"ports\":[{\"name\":\"h2c\",\"containerPort\":81}],"
        "\"resources\":{\"limits\":{\"memory\":\"1.5Gi\",\"cpu\":\"250m\"},\"requests\":{"
        "\"ephemeral-storage\":\"1Gi\"}},\"securityContext\":{\"runAsUser\":5,\"runAsGroup\":6},"
        "\"readinessProbe\":{\"httpGet\":{\"path\":\"/h\",\"host\":\"x\",\"httpHeaders\":[{\"name\":"
        "\"K\",\"value\":\"v\"}]},\"periodSeconds\":4,\"initialDelaySeconds\":2},\"livenessProbe\":{\"httpGet\":{\"path\":\"live\","
        "\"port\":9000}},\"startupProbe\":{\"tcpSocket\":{\"port\":\"h2c\"},\"periodSeconds\":1,"
        "\"failureThreshold\":60},\"volumeMounts\":[{"
        "\"name\":\"m\",\"mountPath\":\"/m\"},{\"name\":\"s\",\"mountPath\":\"/s\"}]}],\"volumes\":[{"
        "\"name\":\"s\",\"emptyDir\":{\"sizeLimit\":\"1Mi\"}},{\"name\":\"m\",\"image\":{\"reference\":"
        "\"http://h/m@sha256:" HEX64 "\"}}]}";
    const char *annotations =
        "{\"autoscaling.knative.dev/min-scale\":\"1\",\"autoscaling.knative.dev/maxScale\":\"9\","
        "\"autoscaling.knative.dev/initial-scale\":\"2\",\"autoscaling.knative.dev/target\":\"20\","
        "\"autoscaling.knative.dev/target-utilization-percentage\":\"50\","
        "\"autoscaling.knative.dev/window\":\"2m\","
        "\"autoscaling.knative.dev/panic-window-percentage\":\"12.5\","
        "\"autoscaling.knative.dev/panicThresholdPercentage\":\"150\","
        "\"autoscaling.knative.dev/target-burst-capacity\":\"-1\","
        "\"autoscaling.knative.dev/activation-scale\":\"4\","
        "\"autoscaling.knative.dev/metric-aggregation-algorithm\":\"weighted-exponential\","
        "\"autoscaling.knative.dev/scale-down-delay\":\"15s\","
        "\"autoscaling.knative.dev/scale-to-zero-pod-retention-period\":\"1m5s\","
        "\"serving.knative.dev/progress-deadline\":\"30s\",\"hob.dev/queue-depth\":\"0\","
        "\"hob.dev/start-budget\":\"1.5s\",\"hob.dev/start-budget-percentile\":\"99.5\"}";
    if (decode(pod, annotations, &r, &e) != 0)
        FAIL("%s", e.text);
    CHECK_STR(r->command[0], "/bin/f");
    CHECK_STR(r->args[1], "y z");
    CHECK(!r->command[1] && !r->args[2]);
    CHECK_STR(r->env[0], "A=1");
    CHECK_STR(r->env[1], "B=");
    CHECK(!r->env[2]);
    CHECK_STR(r->workdir, "/w");
    CHECK(r->port == 81 && r->protocol == PORT_H2C);
    CHECK(r->container_concurrency == 10 && r->timeout_s == 20);
    CHECK(r->response_start_timeout_s == 5 && r->idle_timeout_s == 3);
    CHECK(r->uid == 5 && r->gid == 6);
    CHECK_EQ(r->memory_bytes, INT64_C(1610612736));
    CHECK_EQ(r->cpu_milli, 250);
    CHECK_EQ(r->ephemeral_bytes, INT64_C(1) << 30); /* a request above the default */
    CHECK(r->readiness.kind == PROBE_HTTP && r->readiness.port == 81);
    CHECK_STR(r->readiness.path, "/h");
    CHECK_STR(r->readiness.host, "x");
    CHECK_STR(r->readiness.headers[0], "K: v");
    CHECK(!r->readiness.headers[1]);
    CHECK(r->readiness.period_s == 4 && r->readiness.initial_delay_s == 2);
    CHECK(r->readiness.timeout_s == 1 && r->readiness.failure_threshold == 3);
    CHECK(r->liveness && r->liveness->kind == PROBE_HTTP && r->liveness->port == 9000);
    CHECK_STR(r->liveness->path, "/live");
    CHECK(r->liveness->period_s == 10 && r->liveness->timeout_s == 1);
    CHECK(r->liveness->failure_threshold == 3 && r->liveness->success_threshold == 1);
    CHECK(r->startup && r->startup->kind == PROBE_TCP && r->startup->port == 81); /* by its name */
    CHECK(r->startup->period_s == 1 && r->startup->failure_threshold == 60);
    CHECK_EQ(r->mount_count, 2);
    CHECK(r->mounts[0].is_model && !r->mounts[1].is_model);
    CHECK_STR(r->mounts[0].path, "/m");
    CHECK_STR(r->mounts[0].reference, "http://h/m@sha256:" HEX64);
    CHECK_STR(r->mounts[0].digest, "sha256:" HEX64);
    CHECK_STR(r->mounts[1].volume, "s");
    CHECK_EQ(r->mounts[1].size_bytes, 1 << 20);
    CHECK(r->min_scale == 1 && r->max_scale == 9 && r->initial_scale == 2);
    CHECK_EQ(r->target * 1000, 5000); /* min(20, containerConcurrency 10), half of it */
    CHECK_EQ(r->window_us, 120000000);
    CHECK(r->panic_window_s == 15 && r->panic_threshold == 1.5 && r->burst_capacity == -1);
    CHECK(r->activation_scale == 4 && r->weighted && !r->by_rps && r->total == 10);
    CHECK_EQ(r->scale_down_delay_us, 15000000);
    CHECK_EQ(r->retention_us, 65000000);
    CHECK_EQ(r->progress_deadline_us, 30000000);
    CHECK_EQ(r->queue_depth, 0);
    CHECK_EQ(r->start_budget_ms, 1500);
    CHECK_EQ(r->start_budget_percentile * 10, 995);
}

TEST(a_small_request_does_not_lower_what_an_instance_gets)
{
    AUTO(revision) struct revision *r = NULL;
    struct err e = { 0 };
    CHECK_EQ(decode("{\"containers\":[{\"image\":\"file:///f\",\"resources\":{\"requests\":{\"memory\":"
                    "\"64Mi\",\"cpu\":\"100m\"}}}]}",
                    "{}", &r, &e),
             0);
    CHECK(r->memory_bytes == 0 && r->cpu_milli == 0);
}

static const struct {
    const char *env, *arg, *expected_last, *expected_arg;
} expansions[] = {
    { "{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":\"$(A)$(A)\"}", "$(B)", "B=11", "11" },
    { "{\"name\":\"B\",\"value\":\"$(A)\"}", "$(A)", "B=$(A)", "$(A)" },
    { "{\"name\":\"B\",\"value\":\"$$(A)$\"}", "$$(B)", "B=$(A)$", "$(B)" },
    { "{\"name\":\"B\",\"value\":\"$x$(\"}", "$(B", "B=$x$(", "$(B" },
    { "{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"A\",\"value\":\"$(A)2\"}", "$(A)", "A=12", "12" },
    { "{\"name\":\"B\",\"value\":\"$(PORT)\"}", "$(PORT) $(K_SERVICE) $(K_REVISION)", "B=$(PORT)",
      "8080 f f-00007" },
};

TEST(references_to_variables_are_expanded_as_in_kubernetes)
{
    for (size_t i = 0; i < COUNT_OF(expansions); i++) {
        AUTO(revision) struct revision *r = NULL;
        struct err e = { 0 };
        AUTO_FREE char *pod =
            xasprintf("{\"containers\":[{\"image\":\"file:///f\",\"env\":[%s],\"args\":[\"%s\"]}]}",
                      expansions[i].env, expansions[i].arg);
        CHECK_EQ(decode(pod, "{}", &r, &e), 0);
        size_t last = 0;
        while (r->env[last + 1])
            last++;
        CHECK_STR(r->env[last], expansions[i].expected_last);
        CHECK_STR(r->args[0], expansions[i].expected_arg);
    }
}

TEST(an_environment_that_doubles_itself_is_refused)
{
    struct buf pod;
    struct revision *r = NULL;
    struct err e = { 0 };
    buf_init(&pod, 1 << 20);
    buf_text(&pod, "{\"containers\":[{\"image\":\"file:///f\",\"env\":[{\"name\":\"A\",\"value\":\"xxxx\"}");
    for (int i = 0; i < 60; i++)
        buf_text(&pod, ",{\"name\":\"A\",\"value\":\"$(A)$(A)\"}");
    buf_text(&pod, "]}]}");
    AUTO_FREE char *text = buf_take_text(&pod);
    CHECK_EQ(decode(text, "{}", &r, &e), -CODE_INVALID);
    CHECK_STR(e.text, "revision f-00007: arguments and environment: more than 131072 bytes (limit "
                      "sandbox_args_bytes_max)");
    CHECK(!r);
}

TEST(many_small_parts_have_their_room_and_together_a_bound)
{
    AUTO(revision) struct revision *r = NULL;
    struct revision *none = NULL;
    struct err e = { 0 };
    for (int count = 3000; count <= 50000; count += 47000) {
        struct buf pod;
        buf_init(&pod, 1 << 22);
        buf_text(&pod, "{\"volumes\":[{\"name\":\"s\",\"emptyDir\":{}}],\"containers\":[{\"image\":"
                       "\"file:///f\",\"volumeMounts\":[{\"name\":\"s\",\"mountPath\":\"/a\"}");
        for (int i = 0; i < 15; i++)
            buf_printf(&pod, ",{\"name\":\"s\",\"mountPath\":\"/%c\"}", 'b' + i);
        buf_text(&pod, "],\"args\":[\"\"");
        for (int i = 0; i < count; i++)
            buf_text(&pod, ",\"ab\"");
        buf_text(&pod, "]}]}");
        AUTO_FREE char *text = buf_take_text(&pod);
        if (count == 3000)
            CHECK_EQ(decode(text, "{}", &r, &e), 0);
        else
            CHECK_EQ(decode(text, "{}", &none, &e), -CODE_INVALID);
    }
    CHECK(r->mount_count == 16 && !strcmp(r->mounts[15].path, "/p") && !none);
    CHECK(!strcmp(r->args[3000], "ab") && !r->args[3001]);
}

TEST(an_object_that_was_never_checked_is_refused_not_trusted)
{
    static const char *const pods[] = {
        "{}", "[]", "null", "{\"containers\":[]}", "{\"containers\":[{\"image\":7}]}",
        "{\"containers\":[{\"image\":\"x\",\"args\":[1]}]}",
        "{\"containers\":[{\"image\":\"x\",\"env\":[{}]}]}",
        "{\"containers\":[{\"image\":\"x\",\"volumeMounts\":[{\"name\":\"a\"}]}]}",
    };
    limits_default(&limits);
    for (size_t i = 0; i < COUNT_OF(pods); i++) {
        struct revision *r = NULL;
        struct err e = { 0 };
        AUTO_JSON json_t *pod = NULL;
        CHECK_EQ(json_read(str_of(pods[i]), &limits, &pod, &e), 0);
        struct revision_source s = { "ns", "f", "f-1", 1, NULL, pod, NULL };
        CHECK_EQ(revision_decode(&s, &limits, &r, &e), -CODE_INVALID);
        CHECK(!r);
    }
}

TEST(a_model_keeps_the_digest_it_was_resolved_to_and_a_pin_stands_above_it)
{
    static const char pod[] =
        "{\"containers\":[{\"image\":\"file:///f\",\"volumeMounts\":[{\"name\":\"a\",\"mountPath\":\"/a\"},"
        "{\"name\":\"b\",\"mountPath\":\"/b\"},{\"name\":\"c\",\"mountPath\":\"/c\"}]}],\"volumes\":["
        "{\"name\":\"a\",\"image\":{\"reference\":\"file:///a\"}},"
        "{\"name\":\"b\",\"image\":{\"reference\":\"file:///b@sha256:" HEX64 "\"}},"
        "{\"name\":\"c\",\"image\":{\"reference\":\"file:///c\"}}]}";
    AUTO(revision) struct revision *r = NULL;
    struct err e = { 0 };
    AUTO_JSON json_t *known = json_pack("{s:s, s:s}", "a", "sha256:known", "b", "sha256:ignored");
    resolved_models = known;
    int result = decode(pod, "{}", &r, &e);
    resolved_models = NULL;
    CHECK_EQ(result, 0);
    CHECK_STR(r->mounts[0].digest, "sha256:known");
    CHECK_STR(r->mounts[1].digest, "sha256:" HEX64);
    CHECK_STR(r->mounts[2].digest, "");
}

static void several_containers(struct limits *l) { l->pod_containers_max = 4; }

TEST(each_container_of_a_pod_is_decoded_by_itself_and_in_its_place)
{
    static const char pod[] =
        "{\"containers\":[{\"name\":\"side\",\"image\":\"file:///s@sha256:" HEX64 "\",\"env\":[{\"name\":\"PORT\",\"value\":"
        "\"9\"}],\"command\":[\"s\",\"$(PORT)\",\"$(K_SERVICE)\"],\"resources\":{\"limits\":{\"memory\":\"64Mi\"}}},"
        "{\"name\":\"own\",\"image\":\"file:///o\",\"ports\":[{\"containerPort\":81}],\"volumeMounts\":[{\"name\":\"v\","
        "\"mountPath\":\"/v\"}]}],\"initContainers\":[{\"name\":\"one\",\"image\":\"file:///1\",\"command\":[\"i\","
        "\"$(PORT)\"]},{\"name\":\"two\",\"image\":\"file:///2\",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/w\"}]}],"
        "\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}";
    AUTO(revision) struct revision *r = NULL;
    struct err e = { 0 };
    AUTO_JSON json_t *known = json_pack("{s:s, s:s}", "container/two", "sha256:known", "container/side", "sha256:other");
    resolved_models = known;
    change_limits = several_containers;
    int result = decode(pod, "{}", &r, &e);
    change_limits = NULL;
    resolved_models = NULL;
    CHECK_EQ(result, 0);
    CHECK_STR(r->container, "own");
    CHECK(r->part == CONTAINER_SERVES && !r->unprobed && r->port == 81 && r->mount_count == 1);
    CHECK(r->other_count == 3 && r->init_count == 2);
    CHECK_STR(r->others[0]->container, "one");
    CHECK_STR(r->others[1]->container, "two");
    CHECK_STR(r->others[2]->container, "side");
    CHECK(r->others[1]->part == CONTAINER_INIT && r->others[2]->part == CONTAINER_SIDECAR);
    CHECK(r->others[1]->mount_count == 1 && r->others[0]->mount_count == 0);
    CHECK_STR(r->others[1]->image_digest, "sha256:known");
    CHECK_STR(r->others[2]->image_digest, "sha256:" HEX64); /* as it stands, whatever was read once */
    CHECK_STR(r->others[0]->command[1], "$(PORT)");          /* only who serves has a port */
    CHECK_STR(r->others[2]->command[1], "9");
    CHECK_STR(r->others[2]->command[2], "f");
    CHECK(r->others[2]->unprobed && r->others[2]->memory_bytes == MIB(64) && r->memory_bytes == 0);
}

TEST(a_worker_is_bound_to_its_queue_and_ready_at_its_first_poll_unless_it_has_a_port_or_probe)
{
    static const struct {
        const char *container;
        bool on_poll;
    } rows[] = { { "\"image\":\"file:///f\"", true },
                 { "\"image\":\"file:///f\",\"ports\":[{\"containerPort\":9000}]", false },
                 { "\"image\":\"file:///f\",\"readinessProbe\":{\"exec\":{\"command\":[\"/bin/true\"]}}", false } };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(revision) struct revision *r = NULL;
        struct err e = { 0 };
        AUTO_FREE char *pod = xasprintf("{\"containers\":[{%s}]}", rows[i].container);
        CHECK_EQ(decode(pod, "{\"hob.dev/task-queue\":\"orders\",\"hob.dev/task-queue-namespace\":\"eu\"}", &r, &e), 0);
        CHECK_STR(r->task_queue, "orders");
        CHECK_STR(r->task_namespace, "eu");
        CHECK(r->ready_on_poll == rows[i].on_poll && r->unprobed == rows[i].on_poll);
    }
    AUTO(revision) struct revision *r = NULL;
    struct err e = { 0 };
    AUTO_FREE char *queue = xcalloc(1, 1001);
    memset(queue, 'q', 1000); /* the longest */
    AUTO_FREE char *annotations = xasprintf("{\"hob.dev/task-queue\":\"%s\"}", queue);
    CHECK_EQ(decode("{\"containers\":[{\"image\":\"file:///f\"}]}", annotations, &r, &e), 0);
    CHECK_STR(r->task_queue, queue);
    CHECK_STR(r->task_namespace, "default");
    AUTO(revision) struct revision *none = NULL;
    CHECK_EQ(decode("{\"containers\":[{\"image\":\"file:///f\"}]}", "{}", &none, &e), 0);
    CHECK(!none->task_queue && !none->ready_on_poll && !none->unprobed);
}

TEST_MAIN()
