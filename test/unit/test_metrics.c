#include "telemetry/metrics.h"
#include "base/rng.h"
#include "telemetry/dist.h"
#include "telemetry/exposition.h"
#include "tap.h"

#include <malloc.h>

/* ---- dist ---- */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

TEST(a_distribution_is_exact_while_small_and_close_when_large)
{
    static const double percents[] = { 0, 50, 90, 99, 100 };
    struct rng rng = { 5 };
    for (size_t n = 1; n < 400; n += n < 2 * DIST_FEW ? 1 : 61) {
        struct dist d = { 0 };
        uint64_t all[400];
        for (size_t i = 0; i < n; i++)
            dist_add(&d, all[i] = rng_below(&rng, 1000000));
        qsort(all, n, sizeof all[0], by_value);
        CHECK_EQ(dist_count(&d), n);
        CHECK_EQ(dist_max(&d), all[n - 1]);
        for (size_t i = 0; i < COUNT_OF(percents); i++) {
            uint64_t exact = all[n - 1]; /* the smallest that enough samples do not exceed */
            for (size_t k = n; k-- > 0;)
                if ((double)(k + 1) * 100 >= percents[i] * (double)n)
                    exact = all[k];
            uint64_t got = dist_percentile(&d, percents[i]);
            if (n <= DIST_FEW ? got != exact : got < exact || got > exact + exact / 8 + 1)
                FAIL("n %zu p%.0f: %" PRIu64 ", exactly %" PRIu64, n, percents[i], got, exact);
        }
        dist_done(&d);
        CHECK_EQ(dist_count(&d), 0);
    }
}

/* ---- a page, read back ---- */

/* The value of the sample that this line starts with; -1: there is none. */
static double sample(const struct buf *b, const char *series)
{
    const char *page = buf_at(b), *end = page + b->size;
    size_t size = strlen(series);
    for (const char *line = page; line && line < end;
         line = memchr(line, '\n', (size_t)(end - line)), line += line != NULL)
        if ((size_t)(end - line) > size && memcmp(line, series, size) == 0 && line[size] == ' ')
            return strtod(line + size + 1, NULL);
    return -1;
}

static bool family_starts(const char *line, const char *family, size_t size)
{
    return strncmp(line, family, size) == 0 &&
           (line[size] == '{' || line[size] == ' ' || line[size] == '_');
}

/* Every sample stands under its own family's header, and no family comes twice. */
static const char *page_fault(const struct buf *b)
{
    static char seen[100][64], message[300];
    size_t count = 0;
    char *text = strndup(buf_at(b), b->size), *rest = text;
    const char *fault = b->size && text[b->size - 1] == '\n' ? NULL : "no newline at the end";
    for (char *line; !fault && (line = strsep(&rest, "\n")) && *line;) {
        char family[64] = "";
        if (sscanf(line, "# HELP %63s", family) == 1) {
            for (size_t i = 0; i < count; i++)
                if (strcmp(seen[i], family) == 0)
                    fault = "a family twice";
            snprintf(seen[count++], 64, "%s", family);
        } else if (sscanf(line, "# TYPE %63s", family) == 1) {
            if (count == 0 || strcmp(seen[count - 1], family) != 0)
                fault = "TYPE without HELP";
        } else if (count == 0 || !family_starts(line, seen[count - 1], strlen(seen[count - 1]))) {
            snprintf(message, sizeof message, "a sample outside its family: %.200s", line);
            fault = message;
        }
    }
    free(text);
    return fault;
}

static struct metrics *new_metrics(void)
{
    struct limits limits;
    limits_default(&limits);
    return metrics_new(&limits, 1);
}

static struct invocation_record call(const char *service, enum invocation_outcome o,
                                     uint16_t status)
{
    struct invocation_record r = { .outcome = o,
                                   .status = status,
                                   .dispatch_us = 1000,
                                   .first_byte_us = 21000,
                                   .total_us = 31000 };
    snprintf(r.ns, sizeof r.ns, "default");
    snprintf(r.service, sizeof r.service, "%s", service);
    return r;
}

static struct start_record started(uint64_t ready_us)
{
    struct start_record s = { .finished = true };
    s.phases[PHASE_SANDBOX] = (struct phase_mark){ 0, 900, 0, PHASE_DONE };
    s.phases[PHASE_MODEL_FETCH] = (struct phase_mark){ 0, 0, 0, PHASE_WARM };
    s.phases[PHASE_READY] = (struct phase_mark){ ready_us, 77, 0, PHASE_DONE };
    s.caches[CACHE_MODEL] = CACHE_HIT;
    return s;
}

TEST(invocations_are_counted_by_outcome_status_and_function)
{
    AUTO(metrics) struct metrics *m = new_metrics();
    struct invocation_record r = call("a", INVOCATION_OK, 200);
    r.request_bytes = 10;
    r.response_bytes = 7;
    metrics_record(m, &r);
    metrics_record(m, &r);
    r = call("a", INVOCATION_FUNCTION_ERROR, 500);
    r.cold = true;
    r.queue_us = 400;
    metrics_record(m, &r);
    r = call("b", INVOCATION_TIMEOUT, 504);
    metrics_record(m, &r);
    r = call("b", INVOCATION_REFUSED, 429);
    r.dispatch_us = r.first_byte_us = 0;
    metrics_record(m, &r);
    r = call("b", INVOCATION_CLIENT_GONE, 0);
    metrics_record(m, &r);

    struct buf b;
    buf_init(&b, MIB(1));
    metrics_write(m, &(struct metrics_source){ 0 }, &b);
    const char *fault = page_fault(&b);
    if (fault || b.overflow)
        FAIL("%s", fault ? fault : "overflow");
#define A "faas_name=\"default/a\""
#define B "faas_name=\"default/b\""
    static const struct {
        const char *series;
        double value;
    } rows[] = {
        { "faas_invocations_total{" A "}", 3 },
        { "faas_invocations_total{" B "}", 3 },
        { "faas_errors_total{" A "}", 1 },
        { "faas_errors_total{" B "}", 0 },
        { "faas_timeouts_total{" B "}", 1 },
        { "faas_coldstarts_total{" A "}", 1 },
        { "hob_invocations_total{" A ",outcome=\"ok\"}", 2 },
        { "hob_invocations_total{" B ",outcome=\"refused\"}", 1 },
        { "hob_invocations_total{" B ",outcome=\"ok\"}", -1 },
        { "hob_responses_total{" A ",code=\"2xx\"}", 2 },
        { "hob_responses_total{" B ",code=\"4xx\"}", 1 },
        { "hob_responses_total{" B ",code=\"none\"}", 1 },
        { "faas_invoke_duration_seconds_count{" A "}", 3 },
        { "faas_invoke_duration_seconds_bucket{" A ",le=\"0.025\"}", 0 },
        { "faas_invoke_duration_seconds_bucket{" A ",le=\"0.05\"}", 3 }, /* 30 ms */
        { "faas_invoke_duration_seconds_bucket{" A ",le=\"+Inf\"}", 3 },
        { "faas_invoke_duration_seconds_sum{" A "}", 0.09 },
        { "faas_invoke_duration_seconds_count{" B "}", 2 }, /* the refused one never ran */
        { "hob_request_duration_seconds_count{" B "}", 3 },
        { "hob_dispatch_wait_seconds_count", 5 },
        { "hob_start_phase_seconds_bucket{phase=\"queue\",le=\"0.0005\"}", 1 },
        { "hob_request_bytes_total", 20 },
        { "hob_response_bytes_total", 14 },
        { "hob_build_info{version=\"" HOB_VERSION "\"}", 1 },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (sample(&b, rows[i].series) != rows[i].value)
            FAIL("%s is %g, expected %g", rows[i].series, sample(&b, rows[i].series),
                 rows[i].value);
    buf_done(&b);
}

TEST(the_buckets_are_the_ones_of_opentelemetry_and_exact_at_their_bounds)
{
    static const double bounds[] = { 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25,
                                     0.5,   0.75, 1,     2.5,  5,     7.5, 10 };
    CHECK_EQ(COUNT_OF(bounds), BUCKETS);
    struct buckets h = { 0 };
    for (int i = 0; i < BUCKETS; i++) {
        CHECK_EQ(buckets_invoke_us[i], bounds[i] * 1e6 + 0.5);
        buckets_add(&h, buckets_invoke_us, buckets_invoke_us[i]);
        buckets_add(&h, buckets_invoke_us, buckets_invoke_us[i] + 1);
    }
    CHECK_EQ(h.at[0], 1);
    for (int i = 1; i < BUCKETS; i++)
        CHECK_EQ(h.at[i], 2);
    CHECK_EQ(h.count, 2 * BUCKETS);

    struct buf b;
    buf_init(&b, 4096);
    exposition_buckets(&b, "h", (struct exposition_labels){ 0 }, &h, buckets_invoke_us);
    CHECK_EQ(sample(&b, "h_bucket{le=\"0.01\"}"), 3); /* cumulative */
    CHECK_EQ(sample(&b, "h_bucket{le=\"10\"}"), 2 * BUCKETS - 1);
    CHECK_EQ(sample(&b, "h_bucket{le=\"+Inf\"}"), 2 * BUCKETS);
    buf_done(&b);
}

TEST(labels_are_escaped_and_numbers_come_back)
{
    struct buf b;
    buf_init(&b, 4096);
    exposition_family(&b, "x", "gauge", "a \"quoted\" back\\slash\nand line");
    exposition_sample(&b, "x", "", (struct exposition_labels){ { { "l", "a\"b\\c\nd" } } }, 0.1);
    exposition_sample(&b, "x", "", (struct exposition_labels){ 0 }, 9007199254740993.0);
    exposition_sample(&b, "x", "_y", (struct exposition_labels){ 0 }, 1.0 / 0.0);
    buf_append(&b, "", 1);
    CHECK_STR(buf_at(&b), "# HELP x a \"quoted\" back\\\\slash\\nand line\n"
                          "# TYPE x gauge\n"
                          "x{l=\"a\\\"b\\\\c\\nd\"} 0.1\n"
                          "x 9007199254740992\n"
                          "x_y +Inf\n");
    buf_done(&b);
}

TEST(a_start_is_counted_by_phase_and_a_failed_one_by_its_culprit)
{
    AUTO(metrics) struct metrics *m = new_metrics();
    struct start_record good = started(5000), bad = started(0);
    phase_fail(&bad, PHASE_MODEL_VERIFY, 700, "the hash is another");
    for (int i = 0; i < 3; i++)
        metrics_start(m, "default", "a", &good);
    metrics_start(m, "default", "a", &bad);
    metrics_first_request(m, "default", "a", 300, -40);

    struct metrics_report report;
    metrics_report(m, "default", "a", 0, 99, &report);
    CHECK(report.starts == 4 && report.starts_failed == 1);
    CHECK(report.phases[PHASE_SANDBOX].time.count == 4 &&
          report.phases[PHASE_SANDBOX].time.p50_us == 900);
    CHECK_EQ(report.phases[PHASE_MODEL_VERIFY].failures, 1);
    CHECK_EQ(report.phases[PHASE_MODEL_VERIFY].time.count, 0);
    CHECK(report.phases[PHASE_READY].time.count == 1 &&
          report.phases[PHASE_READY].time.max_us == 300);
    CHECK_EQ(report.phases[PHASE_FIRST_REQUEST_DELTA].time.max_us, 0);
    CHECK(report.ready.count == 3 && report.ready.p99_us == 5000);
    CHECK_EQ(report.budget, METRICS_BUDGET_NONE);

    struct buf b;
    buf_init(&b, MIB(1));
    metrics_write(m, &(struct metrics_source){ 0 }, &b);
    CHECK(!page_fault(&b));
    CHECK_EQ(sample(&b, "hob_start_failures_total{" A ",phase=\"model_verify\"}"), 1);
    CHECK_EQ(sample(&b, "faas_init_duration_seconds_count{" A "}"), 3);
    CHECK_EQ(sample(&b, "hob_starts_total{" A "}"), 4);
    CHECK_EQ(sample(&b, "hob_start_caches_total{cache=\"model\",state=\"hit\"}"), 4);
    CHECK_EQ(sample(&b, "hob_start_phase_seconds_count{phase=\"sandbox\"}"), 4);
    buf_done(&b);
}

TEST(a_budget_is_missed_by_slow_and_by_failed_starts_and_recovers)
{
    AUTO(metrics) struct metrics *m = new_metrics();
    struct metrics_report report;
    metrics_report(m, "default", "a", 10, 90, &report);
    CHECK_EQ(report.budget, METRICS_BUDGET_UNKNOWN);

    struct start_record fast = started(5000), slow = started(10001), bad = started(0);
    phase_fail(&bad, PHASE_SANDBOX, 1, "no");
    for (int i = 0; i < 9; i++)
        metrics_start(m, "default", "a", &fast);
    metrics_start(m, "default", "a", &slow);
    metrics_report(m, "default", "a", 10, 90, &report);
    CHECK(report.budget == METRICS_BUDGET_KEPT && report.budget_measured_us == 5000);
    metrics_report(m, "default", "a", 10, 90.1, &report);
    CHECK(report.budget == METRICS_BUDGET_MISSED && report.budget_measured_us == 10001);
    metrics_report(m, "default", "a", 11, 90.1, &report);
    CHECK_EQ(report.budget, METRICS_BUDGET_KEPT);

    metrics_start(m, "default", "a", &bad);
    metrics_report(m, "default", "a", 3600000, 100, &report);
    CHECK(report.budget == METRICS_BUDGET_MISSED && report.budget_measured_us == UINT64_MAX);

    for (int i = 0; i < METRICS_RECENT; i++)
        metrics_start(m, "default", "a", &fast);
    metrics_report(m, "default", "a", 5, 100, &report);
    CHECK(report.budget == METRICS_BUDGET_KEPT && report.budget_measured_us == 5000);
}

/* Of the start that is judged, not of the average; and the function's own phases before runtime_init, which they
 * lie in. */
TEST(a_missed_budget_names_the_phase_where_the_time_went)
{
    AUTO(metrics) struct metrics *m = new_metrics();
    struct metrics_report report;
    char text[256];
    struct start_record fast = started(5000), slow = started(900000), bad = started(0);
    fast.phases[PHASE_SANDBOX] = (struct phase_mark){ .duration_us = 4000, .outcome = PHASE_DONE };
    slow.phases[PHASE_RUNTIME_INIT] = (struct phase_mark){ .duration_us = 800000, .outcome = PHASE_DONE };
    slow.phases[PHASE_MODEL_LOAD] = (struct phase_mark){ .duration_us = 500000, .outcome = PHASE_DONE };
    for (int i = 0; i < 9; i++)
        metrics_start(m, "default", "a", &fast);
    metrics_start(m, "default", "a", &slow);
    metrics_report(m, "default", "a", 100, 99, &report);
    CHECK_EQ(report.budget, METRICS_BUDGET_MISSED);
    CHECK_EQ(report.budget_phase, PHASE_MODEL_LOAD);
    metrics_budget_text(&report, text, sizeof text);
    CHECK_STR(text, "the 99th percentile of the recent starts is 900 ms, the budget 100 ms; most of it, 500 ms, "
                    "went into model_load");
    slow.phases[PHASE_MODEL_LOAD].duration_us = 300000;
    metrics_start(m, "default", "b", &slow);
    metrics_report(m, "default", "b", 100, 99, &report);
    CHECK(report.budget_phase == PHASE_RUNTIME_INIT && report.budget_phase_us == 500000);
    metrics_report(m, "default", "a", 3, 50, &report);
    CHECK(report.budget == METRICS_BUDGET_MISSED && report.budget_phase == PHASE_SANDBOX);

    phase_fail(&bad, PHASE_IMAGE_PULL, 1, "no");
    for (int i = 0; i < 9; i++)
        metrics_start(m, "default", "a", &bad);
    metrics_report(m, "default", "a", 100, 99, &report);
    metrics_budget_text(&report, text, sizeof text);
    CHECK_STR(text, "too many of the recent starts failed for a budget of 100 ms at the 99th percentile; the time "
                    "went into image_pull");
}

TEST(cold_frequency_and_the_warm_median_leave_the_other_kind_out)
{
    AUTO(metrics) struct metrics *m = new_metrics();
    uint64_t median = 7;
    CHECK(!metrics_warm_median(m, "default", "a", &median));
    struct invocation_record r = call("a", INVOCATION_OK, 200);
    r.cold = true;
    r.first_byte_us = r.total_us = 901000;
    metrics_record(m, &r);
    CHECK(!metrics_warm_median(m, "default", "a", &median) && median == 7);
    r = call("a", INVOCATION_OK, 200);
    for (int i = 0; i < 3; i++)
        metrics_record(m, &r);
    CHECK(metrics_warm_median(m, "default", "a", &median) && median == 20000);

    struct metrics_report report;
    metrics_report(m, "default", "a", 0, 99, &report);
    CHECK(report.invocations == 4 && report.cold == 1 && report.cold_frequency == 0.25);
    CHECK_EQ(report.handler.max_us, 900000);
    metrics_report(m, "default", "unknown", 0, 99, &report);
    CHECK(report.invocations == 0 && report.cold_frequency == 0);
}

static const char *refusal_name(size_t i)
{
    static const char *const names[] = { "queue-full", "overloaded", "no-time-left", NULL };
    return names[i];
}

TEST(what_the_gateway_refused_is_told_by_its_name)
{
    struct limits limits;
    const uint64_t counts[] = { 0, 7, 2 };
    limits_default(&limits);
    AUTO(metrics) struct metrics *m = metrics_new(&limits, 1);
    struct buf b;
    buf_init(&b, MIB(1));
    metrics_refusals(m, refusal_name, counts);
    metrics_write(m, &(struct metrics_source){ 0 }, &b);
    CHECK_EQ(sample(&b, "hob_refusals_total{problem=\"overloaded\"}"), 7);
    CHECK_EQ(sample(&b, "hob_refusals_total{problem=\"no-time-left\"}"), 2);
    buf_done(&b);
}

TEST(limits_are_counted_by_name_and_functions_are_bounded)
{
    struct limits limits;
    limits_default(&limits);
    limits.objects_max = 2;
    AUTO(metrics) struct metrics *m = metrics_new(&limits, 1);
    metrics_limit(m, "queue_depth_max");
    metrics_limit(m, "queue_depth_max");
    static const char *const services[] = { "a", "b", "c", "d", "a" };
    for (size_t i = 0; i < COUNT_OF(services); i++) {
        struct invocation_record r = call(services[i], INVOCATION_OK, 200);
        metrics_record(m, &r);
    }
    struct buf b;
    buf_init(&b, MIB(1));
    metrics_write(m, &(struct metrics_source){ 0 }, &b);
    CHECK_EQ(sample(&b, "hob_limit_reached_total{limit=\"queue_depth_max\"}"), 2);
    CHECK_EQ(sample(&b, "hob_limit_reached_total{limit=\"objects_max\"}"), 2);
    CHECK_EQ(sample(&b, "faas_invocations_total{" A "}"), 2);
    CHECK_EQ(sample(&b, "faas_invocations_total{faas_name=\"other\"}"), 2);

    metrics_forget(m, "default", "a"); /* makes room again */
    struct invocation_record r = call("d", INVOCATION_OK, 200);
    metrics_record(m, &r);
    buf_clear(&b);
    metrics_write(m, &(struct metrics_source){ 0 }, &b);
    CHECK_EQ(sample(&b, "faas_invocations_total{" A "}"), -1);
    CHECK_EQ(sample(&b, "faas_invocations_total{faas_name=\"default/d\"}"), 1);

    struct buf small;
    buf_init(&small, 500);
    metrics_write(m, &(struct metrics_source){ 0 }, &small);
    CHECK(small.overflow);
    buf_done(&small);
    buf_done(&b);
}

static void two_functions(void *ctx, void (*emit)(void *, const struct metrics_function *),
                          void *emit_ctx)
{
    (void)ctx;
    emit(emit_ctx, &(struct metrics_function){ "default", "a", 1, 2, 3, 4, 5 });
    emit(emit_ctx, &(struct metrics_function){ "default", "b", .queued = 9 });
}

TEST(gauges_come_from_their_owner_when_the_page_is_written)
{
    AUTO(metrics) struct metrics *m = new_metrics();
    const struct metrics_value values[] = {
        { "records_dropped_total", "Records not stored.", true, 12 },
        { "disk_free_bytes", "Free space.", false, 1e12 },
    };
    struct buf b;
    buf_init(&b, MIB(1));
    metrics_write(m, &(struct metrics_source){ NULL, two_functions, values, 2 }, &b);
    CHECK(!page_fault(&b));
    CHECK_EQ(sample(&b, "hob_in_flight{" A "}"), 1);
    CHECK_EQ(sample(&b, "hob_queued{" B "}"), 9);
    CHECK_EQ(sample(&b, "hob_instances{" A ",state=\"ready\"}"), 3);
    CHECK_EQ(sample(&b, "hob_instances{" A ",state=\"starting\"}"), 4);
    CHECK_EQ(sample(&b, "hob_instances{" A ",state=\"wanted\"}"), 5);
    CHECK_EQ(sample(&b, "kn_revision_pods_count{k8s_namespace_name=\"default\",kn_service_name=\"a\"}"), 3);
    CHECK_EQ(sample(&b, "hob_records_dropped_total"), 12);
    CHECK_EQ(sample(&b, "hob_disk_free_bytes"), 1000000000000);
    buf_done(&b);
}

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));
static size_t allocated(void)
{
    return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes()
                                                   : mallinfo2().uordblks;
}

/* Knative's initial scale is 1, so each of them has started once and answered a probe's request. */
TEST(a_thousand_functions_that_ran_once_stay_small)
{
    AUTO(metrics) struct metrics *m = new_metrics();
    size_t before = allocated();
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        struct start_record s = started(5000);
        for (unsigned p = PHASE_SCHEDULE; p <= PHASE_WARMUP; p++)
            s.phases[p] = (struct phase_mark){ 0, 100, 0, PHASE_DONE };
        struct invocation_record r = call(name, INVOCATION_OK, 200);
        r.cold = true;
        metrics_start(m, "default", name, &s);
        metrics_first_request(m, "default", name, 1, 1);
        metrics_record(m, &r);
    }
    size_t each = (allocated() - before) / 1000;
    if (each > 4096)
        FAIL("%zu bytes for each function", each);
}

TEST_MAIN()
