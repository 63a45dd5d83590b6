#include "serving/status.h"
#include "serving/route.h"
#include "tap.h"

static const struct {
    int64_t ms;
    const char *text;
} times[] = {
    { 0, "1970-01-01T00:00:00Z" },
    { 951782399999, "2000-02-28T23:59:59Z" },
    { 951782400000, "2000-02-29T00:00:00Z" },
    { 951868800000, "2000-03-01T00:00:00Z" },
    { 1795428000000, "2026-11-23T10:00:00Z" },
    { 4107542400000, "2100-03-01T00:00:00Z" },
    { 4107456000000, "2100-02-28T00:00:00Z" }, /* 2100 is no leap year */
    { 253402300799000, "9999-12-31T23:59:59Z" },
    { INT64_MAX, "9999-12-31T23:59:59Z" },
    { -1, "1970-01-01T00:00:00Z" },
};

TEST(times_are_written_in_utc)
{
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        char text[STATUS_TIME];
        status_time(times[i].ms, text);
        CHECK_STR(text, times[i].text);
    }
}

static const json_t *condition(const json_t *status, const char *type)
{
    const json_t *list = json_object_get(status, "conditions");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_text_at(json_array_get(list, i), "type"), type) == 0)
            return json_array_get(list, i);
    return NULL;
}

/* "True", "False Reason: message" */
static const char *said(const json_t *status, const char *type, char into[400])
{
    const json_t *c = condition(status, type);
    const char *reason = json_text_at(c, "reason"), *message = json_text_at(c, "message");
    if (!c)
        return "absent";
    snprintf(into, 400, "%s%s%s%s%s", json_text_at(c, "status"), reason ? " " : "", reason ? reason : "",
             message ? ": " : "", message ? message : "");
    return into;
}

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
static const struct {
    const char *why;
    struct catalog_facts f;
    bool late;
    const char *ready, *container, *resources, *active, *activation;
} revisions[] = {
    { "just made", { .exit_status = -1 }, false, "Unknown ResolvingDigests", "Unknown ResolvingDigests",
      "Unknown ResolvingDigests", "Unknown Deploying", "absent" },
    { "being deployed", { .image_digest = DIGEST, .active = true, .desired = 1 }, false,
      "Unknown Deploying", "Unknown Deploying", "Unknown Deploying", "Unknown Deploying", "absent" },
    { "running", { .ready_once = true, .active = true, .actual = 1, .desired = 1 }, false, "True", "True",
      "True", "True", "absent" },
    { "at zero", { .ready_once = true }, true, "True", "True", "True",
      "False NoTraffic: The target is not receiving traffic.", "absent" },
    { "coming from zero", { .ready_once = true, .active = true, .desired = 1 }, false, "True", "True",
      "True",
      "Unknown Queued: Requests to the target are being buffered as resources are provisioned.",
      "absent" },
    { "the last instance, retained", { .ready_once = true, .actual = 1 }, false, "True", "True", "True",
      "False NoTraffic: The target is not receiving traffic.", "absent" },
    { "too few for min-scale", { .ready_once = true, .active = true, .activating = true, .actual = 1, .desired = 2 },
      false, "True", "True", "True",
      "Unknown Queued: Requests to the target are being buffered as resources are provisioned.", "absent" },
    { "not activated in time", { .ready_once = true, .timed_out = true }, false, "True", "True", "True",
      "False TimedOut: The target could not be activated.", "absent" },
    { "no such folder",
      { .failing = true, .failed_phase = PHASE_IMAGE_PULL, .exit_status = -1, .message = "not there" },
      false, "False ContainerMissing: Unable to fetch image \"file:///f\": not there",
      "False ContainerMissing: Unable to fetch image \"file:///f\": not there",
      "Unknown ResolvingDigests", "Unknown Deploying", "absent" },
    { "model with a wrong hash",
      { .failing = true, .failed_phase = PHASE_MODEL_VERIFY, .exit_status = -1, .message = "wrong" },
      false, "False ModelMissing: Unable to fetch model: wrong", "Unknown ResolvingDigests",
      "False ModelMissing: Unable to fetch model: wrong", "Unknown Deploying", "absent" },
    { "dead origin, tried again",
      { .failing = true, .failed_phase = PHASE_MODEL_FETCH, .retryable = true, .message = "dead" },
      false, "Unknown ModelMissing: Unable to fetch model: dead", "Unknown ResolvingDigests",
      "Unknown ModelMissing: Unable to fetch model: dead", "Unknown Deploying", "absent" },
    { "dead origin, until it is too late",
      { .failing = true, .failed_phase = PHASE_MODEL_FETCH, .retryable = true, .message = "dead" },
      true, "False ModelMissing: Unable to fetch model: dead", "Unknown ResolvingDigests",
      "False ModelMissing: Unable to fetch model: dead", "Unknown Deploying", "absent" },
    { "ended by itself",
      { .image_digest = DIGEST, .failing = true, .failed_phase = PHASE_RUNTIME_INIT, .exit_status = 3,
        .message = "boom" },
      false, "False ExitCode3: Container failed with: boom", "False ExitCode3: Container failed with: boom",
      "Unknown Deploying", "Unknown Deploying", "absent" },
    { "ended by itself, tried again",
      { .image_digest = DIGEST, .failing = true, .failed_phase = PHASE_RUNTIME_INIT, .exit_status = 0,
        .retryable = true, .message = "boom" },
      false, "False ExitCode0: Container failed with: boom", "False ExitCode0: Container failed with: boom",
      "Unknown Deploying", "Unknown Deploying", "absent" },
    { "never accepted, tried again",
      { .image_digest = DIGEST, .failing = true, .failed_phase = PHASE_RUNTIME_INIT, .exit_status = -1,
        .retryable = true, .message = "deaf" },
      false, "Unknown NotReady: deaf", "Unknown NotReady: deaf", "Unknown Deploying", "Unknown Deploying",
      "absent" },
    { "never accepted",
      { .image_digest = DIGEST, .failing = true, .failed_phase = PHASE_RUNTIME_INIT, .exit_status = -1 },
      false, "False NotReady: no cause was given", "False NotReady: no cause was given",
      "Unknown Deploying", "Unknown Deploying", "absent" },
    { "no sandbox",
      { .image_digest = DIGEST, .failing = true, .failed_phase = PHASE_SANDBOX, .exit_status = -1,
        .retryable = true, .message = "no cgroup" },
      true, "False Unschedulable: no cgroup", "Unknown Deploying", "False Unschedulable: no cgroup",
      "Unknown Deploying", "absent" },
    { "its program is not one",
      { .image_digest = DIGEST, .failing = true, .failed_phase = PHASE_SANDBOX, .exit_status = -1,
        .message = "run is not executable" },
      false, "False ContainerCannotRun: run is not executable", "False ContainerCannotRun: run is not executable",
      "Unknown Deploying", "Unknown Deploying", "absent" },
    { "too late", { .image_digest = DIGEST }, true,
      "False ProgressDeadlineExceeded: Initial scale was never achieved", "Unknown Deploying",
      "False ProgressDeadlineExceeded: Initial scale was never achieved", "Unknown Deploying", "absent" },
    { "was ready, cannot start now",
      { .ready_once = true, .failing = true, .failed_phase = PHASE_RUNTIME_INIT, .exit_status = 1,
        .message = "boom" },
      false, "True", "True", "True", "False NoTraffic: The target is not receiving traffic.",
      "False ExitCode1: Container failed with: boom" },
};

TEST(a_revision_says_what_is_so_in_knatives_words)
{
    for (size_t i = 0; i < COUNT_OF(revisions); i++) {
        struct status_revision s = { "file:///f", NULL, revisions[i].f, revisions[i].late };
        AUTO_JSON json_t *status = status_of_revision(&s, NULL, 0);
        char text[5][400];
        const char *is[5] = {
            said(status, "Ready", text[0]), said(status, "ContainerHealthy", text[1]),
            said(status, "ResourcesAvailable", text[2]), said(status, "Active", text[3]),
            said(status, "ActivationHealthy", text[4]) };
        const char *want[5] = { revisions[i].ready, revisions[i].container, revisions[i].resources,
                                revisions[i].active, revisions[i].activation };
        for (size_t k = 0; k < 5; k++)
            if (strcmp(is[k], want[k]) != 0)
                FAIL("%s, condition %zu: '%s', expected '%s'", revisions[i].why, k, is[k], want[k]);
    }
}

TEST(conditions_are_sorted_and_a_transition_is_a_change_of_status)
{
    AUTO_JSON json_t *pod = json_pack("{s:[{s:s}]}", "containers", "name", "c");
    struct status_revision s = { "i", pod, { .exit_status = -1 }, false };
    AUTO_JSON json_t *made = status_of_revision(&s, NULL, 1000);
    s.facts.image_digest = DIGEST;
    AUTO_JSON json_t *resolved = status_of_revision(&s, made, 2000);
    s.facts.ready_once = true;
    s.facts.actual = 1;
    AUTO_JSON json_t *ready = status_of_revision(&s, resolved, 3000);
    AUTO_JSON json_t *still = status_of_revision(&s, ready, 4000);
    CHECK_STR(json_text_at(condition(resolved, "Ready"), "lastTransitionTime"), "1970-01-01T00:00:01Z");
    CHECK_STR(json_text_at(condition(resolved, "Ready"), "reason"), "Deploying");
    CHECK_STR(json_text_at(condition(ready, "Ready"), "lastTransitionTime"), "1970-01-01T00:00:03Z");
    CHECK(json_equal(ready, still));
    const json_t *list = json_object_get(ready, "conditions");
    CHECK_EQ(json_array_size(list), 4);
    for (size_t i = 1; i < json_array_size(list); i++)
        CHECK(strcmp(json_text_at(json_array_get(list, i - 1), "type"),
                     json_text_at(json_array_get(list, i), "type")) < 0);
    CHECK_STR(json_text_at(ready, "containerStatuses.0.imageDigest"), DIGEST);
    CHECK_STR(json_text_at(ready, "containerStatuses.0.name"), "c");
    CHECK_EQ(json_int_at(ready, "actualReplicas", -1), 1);
    CHECK(!json_object_get(made, "containerStatuses") && !json_object_get(made, "modelStatuses"));
    AUTO_JSON json_t *models = json_pack("{s:s}", "weights", DIGEST);
    s.facts.pins = models;
    AUTO_JSON json_t *with = status_of_revision(&s, still, 5000);
    CHECK_STR(json_text_at(with, "modelStatuses.0.name"), "weights");
    CHECK_STR(json_text_at(with, "modelStatuses.0.imageDigest"), DIGEST);
}

static json_t *revision_status(bool ready, bool failing)
{
    struct status_revision s = { "file:///f", NULL,
                                 { .ready_once = ready, .failing = failing, .exit_status = 1,
                                   .failed_phase = PHASE_RUNTIME_INIT, .message = failing ? "boom" : NULL },
                                 false };
    return status_of_revision(&s, NULL, 0);
}

/* As the catalog puts it together: Configuration and Route first, then the Service. */
static json_t *service_of(const char *created, const char *ready, const json_t *created_status,
                          const json_t *serving)
{
    const struct status_configuration c = { "f", 2, created, ready, created_status };
    AUTO_JSON json_t *configuration = status_of_configuration(&c, NULL, 0);
    const struct route_revision known = { ready ? ready : "", STATUS_TRUE, false };
    const struct route_ask ask = { .ns = "ns", .name = "f", .port = ":8080", .configuration = "f",
                                   .revisions = &known, .revision_count = ready != NULL,
                                   .latest_ready = ready ? ready : "", .latest_created = created,
                                   .created = status_ready(created_status) };
    struct route_rolling rolling = { .count = 0 };
    struct route made;
    route_make(&ask, &rolling, &made);
    const struct status_route r = { "http://f.ns.localhost:8080", "http://f.ns.svc.cluster.local", 1,
                                    made.assigned, made.reason, made.reason ? made.message : NULL,
                                    made.traffic, NULL };
    AUTO_JSON json_t *route = status_of_route(&r, NULL, 0);
    const struct status_service s = { 5, configuration, route, serving };
    route_done(&made);
    return status_of_service(&s, NULL, 0);
}

TEST(a_route_says_that_a_rollout_is_under_way_and_what_its_traffic_lacks)
{
    struct status_route r = { "u", "c", 3, STATUS_TRUE, NULL, NULL, NULL, "1 2 3 f-1=99 f-2=1" };
    char text[400];
    AUTO_JSON json_t *rolling = status_of_route(&r, NULL, 0);
    CHECK_STR(said(rolling, "Ready", text),
              "Unknown RolloutInProgress: A gradual rollout of the latest revision(s) is in progress.");
    CHECK_STR(said(rolling, "AllTrafficAssigned", text), "True");
    CHECK_STR(json_text_key(rolling, "annotations", STATUS_ROLLING), "1 2 3 f-1=99 f-2=1");
    r.taken = "blue-f";
    AUTO_JSON json_t *taken = status_of_route(&r, rolling, 0);
    CHECK_STR(said(taken, "Ready", text), "False NotOwned: There is an existing placeholder Service \"blue-f\" that we do not own.");
    r.taken = NULL;
    r.rolling = NULL;
    AUTO_JSON json_t *done = status_of_route(&r, rolling, 0);
    CHECK_STR(said(done, "Ready", text), "True");
    CHECK_STR(said(done, "CertificateProvisioned", text),
              "True TLSNotEnabled: external-domain-tls is not enabled");
    CHECK(!json_object_get(done, "annotations"));
    r.assigned = STATUS_FALSE;
    r.reason = "RevisionMissing";
    r.message = "Revision \"f-9\" referenced in traffic not found.";
    AUTO_JSON json_t *missing = status_of_route(&r, done, 0);
    CHECK_STR(said(missing, "Ready", text),
              "False RevisionMissing: Revision \"f-9\" referenced in traffic not found.");
    CHECK_STR(said(missing, "IngressReady", text), "Unknown");
    CHECK_EQ(json_int_at(missing, "observedGeneration", 0), 3);
}

TEST(a_service_is_ready_when_its_newest_revision_is_and_serves_the_older_until_then)
{
    static const struct {
        bool exists, ready, failing;
        const char *latest_ready, *all, *configurations, *routes;
    } cases[] = {
        { false, false, false, NULL,
          "Unknown RevisionMissing: Configuration \"f\" is waiting for a Revision to become ready.",
          "Unknown",
          "Unknown RevisionMissing: Configuration \"f\" is waiting for a Revision to become ready." },
        { true, true, false, "f-00002", "True", "True", "True" },
        { true, false, false, "f-00001", "Unknown", "Unknown", "True" },
        { true, false, true, "f-00001",
          "False RevisionFailed: Revision \"f-00002\" failed with message: Container failed with: boom.",
          "False RevisionFailed: Revision \"f-00002\" failed with message: Container failed with: boom.",
          "True" },
        { true, false, true, NULL,
          "False RevisionFailed: Revision \"f-00002\" failed with message: Container failed with: boom.",
          "False RevisionFailed: Revision \"f-00002\" failed with message: Container failed with: boom.",
          "False RevisionMissing: Configuration \"f\" does not have any ready Revision." },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO_JSON json_t *created =
            cases[i].exists ? revision_status(cases[i].ready, cases[i].failing) : NULL;
        AUTO_JSON json_t *status = service_of("f-00002", cases[i].latest_ready, created, NULL);
        char text[400];
        CHECK_STR(said(status, "Ready", text), cases[i].all);
        CHECK_STR(said(status, "ConfigurationsReady", text), cases[i].configurations);
        CHECK_STR(said(status, "RoutesReady", text), cases[i].routes);
        CHECK_EQ(json_array_size(json_object_get(status, "conditions")), 3);
        CHECK_EQ(json_int_at(status, "observedGeneration", 0), 5);
        CHECK_STR(json_text_at(status, "url"), "http://f.ns.localhost:8080");
        CHECK_STR(json_text_at(status, "address.url"), "http://f.ns.svc.cluster.local");
        CHECK_STR(json_text_at(status, "latestCreatedRevisionName"), "f-00002");
        CHECK((json_text_at(status, "latestReadyRevisionName") != NULL) == (cases[i].latest_ready != NULL));
        CHECK((json_text_at(status, "traffic.0.revisionName") != NULL) == (cases[i].latest_ready != NULL));
    }
}

TEST(a_service_says_why_its_first_revision_keeps_failing_before_that_is_final)
{
    struct status_revision r = { "file:///f", NULL,
                                 { .failing = true, .retryable = true, .exit_status = -1,
                                   .failed_phase = PHASE_RUNTIME_INIT, .message = "boom" },
                                 false };
    AUTO_JSON json_t *created = status_of_revision(&r, NULL, 0);
    AUTO_JSON json_t *status = service_of("f-00001", NULL, created, NULL);
    char text[400];
    CHECK_STR(said(status, "Ready", text), "Unknown NotReady: Revision \"f-00001\" is tried again, so "
                                           "far: boom.");
    CHECK_STR(said(status, "RoutesReady", text),
              "Unknown RevisionMissing: Configuration \"f\" is waiting for a Revision to become ready.");
}

TEST(a_service_shows_that_its_revision_cannot_start_any_more)
{
    AUTO_JSON json_t *serving = revision_status(true, true);
    AUTO_JSON json_t *status = service_of("f-00001", "f-00001", serving, serving);
    char text[400];
    CHECK_STR(said(status, "Ready", text), "True");
    CHECK_STR(said(status, "ActivationHealthy", text), "False ExitCode1: Container failed with: boom");
}

TEST(a_missed_start_up_budget_is_said_beside_ready_and_goes_when_it_is_kept)
{
    struct status_revision r = { "img", NULL,
                                 { .ready_once = true, .active = true, .actual = 1, .desired = 1, .exit_status = -1,
                                   .late_starts = "too slow" },
                                 false };
    AUTO_JSON json_t *late = status_of_revision(&r, NULL, 0);
    AUTO_JSON json_t *status = service_of("f-00001", "f-00001", late, late);
    char text[400];
    CHECK_STR(said(late, "StartBudgetMet", text), "False StartBudgetMissed: too slow");
    CHECK_STR(said(late, "Ready", text), "True");
    CHECK_STR(said(status, "StartBudgetMet", text), "False StartBudgetMissed: too slow");
    CHECK_STR(said(status, "Ready", text), "True");
    r.facts.late_starts = "";
    AUTO_JSON json_t *kept = status_of_revision(&r, late, 0);
    CHECK_STR(said(kept, "StartBudgetMet", text), "absent");
}

TEST(a_limit_that_nothing_keeps_is_said_beside_ready)
{
    struct status_revision r = { "img", NULL,
                                 { .ready_once = true, .active = true, .actual = 1, .desired = 1, .exit_status = -1,
                                   .late_starts = "too slow", .unenforced = "nothing holds it" },
                                 false };
    AUTO_JSON json_t *made = status_of_revision(&r, NULL, 0);
    AUTO_JSON json_t *status = service_of("f-00001", "f-00001", made, made);
    char text[400];
    CHECK_STR(said(made, "LimitsEnforced", text), "False NoControlGroup: nothing holds it");
    CHECK_STR(said(status, "LimitsEnforced", text), "False NoControlGroup: nothing holds it");
    CHECK_STR(said(status, "StartBudgetMet", text), "False StartBudgetMissed: too slow");
    CHECK_STR(said(status, "Ready", text), "True");
    r.facts.unenforced = NULL;
    AUTO_JSON json_t *kept = status_of_revision(&r, made, 0);
    CHECK_STR(said(kept, "LimitsEnforced", text), "absent");
}

TEST(a_first_start_that_hangs_is_explained_up_to_the_service)
{
    struct status_revision r = { "img", NULL,
                                 { .exit_status = -1, .image_digest = DIGEST, .message = "instance f-1: deaf" }, false };
    AUTO_JSON json_t *created = status_of_revision(&r, NULL, 0);
    AUTO_JSON json_t *status = service_of("f-00001", NULL, created, NULL);
    char text[400];
    CHECK_STR(said(created, "Ready", text), "Unknown Deploying: instance f-1: deaf");
    CHECK_STR(said(created, "ContainerHealthy", text), "Unknown Deploying: instance f-1: deaf");
    CHECK_STR(said(created, "ResourcesAvailable", text), "Unknown Deploying");
    CHECK_STR(said(status, "Ready", text), "Unknown Deploying: Revision \"f-00001\" is not ready yet: instance f-1: deaf.");
}

TEST(a_passed_progress_deadline_says_where_the_start_hangs)
{
    struct status_revision r = { "img", NULL,
                                 { .exit_status = -1, .message = "instance f-1 is still in model_fetch" }, true };
    AUTO_JSON json_t *late = status_of_revision(&r, NULL, 0);
    char text[400];
    CHECK_STR(said(late, "Ready", text), "False ProgressDeadlineExceeded: Initial scale was never achieved: "
                                         "instance f-1 is still in model_fetch");
}

TEST_MAIN()
