/* Retry: the table of Temporal's rules (what is tried again, how long after, and the reason when not). */
#include "workflow/run_retry.h"
#include "tap.h"

#define S INT64_C(1000000000)

enum kind { NONE, APP, APP_FINAL, CANCELED, TERMINATED, SERVER, SERVER_FINAL, TIMED_OUT, CHILD };
static const struct {
    const char *why;
    int32_t attempt;
    double coefficient;
    int64_t initial_s, maximum_s;
    int32_t attempts_max;
    const char *listed;
    enum kind kind;
    const char *type; /* of an application failure */
    Tp__TimeoutType timeout;
    int64_t expiry_s; /* from now; 0: none */
    int64_t next_delay_ms; /* the failure says; -1: does not */
    bool cancel;
    Tp__RetryState state;
    int64_t delay_ns;
} rows[] = {
#define GO   TP__RETRY_STATE__RETRY_STATE_IN_PROGRESS
#define BAD  TP__RETRY_STATE__RETRY_STATE_NON_RETRYABLE_FAILURE
#define LATE TP__RETRY_STATE__RETRY_STATE_TIMEOUT
#define OUT  TP__RETRY_STATE__RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED
#define STOP TP__RETRY_STATE__RETRY_STATE_CANCEL_REQUESTED
#define S2C  TP__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE
#define S2S  TP__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_START
#define C2C  TP__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_CLOSE
#define BEAT TP__TIMEOUT_TYPE__TIMEOUT_TYPE_HEARTBEAT
    { "defaults: 1 s", 1, 0, 0, 0, 0, 0, APP, "E", 0, 0, -1, false, GO, S },
    { "defaults: doubles", 4, 0, 0, 0, 0, 0, APP, "E", 0, 0, -1, false, GO, 8 * S },
    { "defaults: 100 times the first", 9, 0, 0, 0, 0, 0, APP, "E", 0, 0, -1, false, GO, 100 * S },
    { "never a number out of range", INT32_MAX, 0, 0, 0, 0, 0, APP, "E", 0, 0, -1, false, GO, 100 * S },
    { "own figures", 3, 1.5, 2, 60, 0, 0, APP, "E", 0, 0, -1, false, GO, 9 * S / 2 },
    { "coefficient one", 50, 1, 2, 60, 0, 0, APP, "E", 0, 0, -1, false, GO, 2 * S },
    { "own maximum", 4, 3, 2, 5, 0, 0, APP, "E", 0, 0, -1, false, GO, 5 * S },
    { "the last but one", 2, 0, 0, 0, 3, 0, APP, "E", 0, 0, -1, false, GO, 2 * S },
    { "the last", 3, 0, 0, 0, 3, 0, APP, "E", 0, 0, -1, false, OUT, 0 },
    { "says it is final", 1, 0, 0, 0, 0, 0, APP_FINAL, "E", 0, 0, -1, false, BAD, 0 },
    { "final before last", 3, 0, 0, 0, 3, 0, APP_FINAL, "E", 0, 0, -1, false, BAD, 0 },
    { "type listed", 1, 0, 0, 0, 0, "E", APP, "E", 0, 0, -1, false, BAD, 0 },
    { "other type listed", 1, 0, 0, 0, 0, "Ex", APP, "E", 0, 0, -1, false, GO, S },
    { "canceled", 1, 0, 0, 0, 0, 0, CANCELED, "", 0, 0, -1, false, BAD, 0 },
    { "terminated", 1, 0, 0, 0, 0, 0, TERMINATED, "", 0, 0, -1, false, BAD, 0 },
    { "server", 1, 0, 0, 0, 0, 0, SERVER, "", 0, 0, -1, false, GO, S },
    { "server, final", 1, 0, 0, 0, 0, 0, SERVER_FINAL, "", 0, 0, -1, false, BAD, 0 },
    { "a child's failure", 1, 0, 0, 0, 0, 0, CHILD, "", 0, 0, -1, false, GO, S },
    { "no failure: a run's timeout", 1, 0, 0, 0, 0, 0, NONE, "", 0, 0, -1, false, GO, S },
    { "start to close", 1, 0, 0, 0, 0, 0, TIMED_OUT, "", S2C, 0, -1, false, GO, S },
    { "heartbeat", 1, 0, 0, 0, 0, 0, TIMED_OUT, "", BEAT, 0, -1, false, GO, S },
    { "schedule to start", 1, 0, 0, 0, 0, 0, TIMED_OUT, "", S2S, 0, -1, false, BAD, 0 },
    { "schedule to close", 1, 0, 0, 0, 0, 0, TIMED_OUT, "", C2C, 0, -1, false, BAD, 0 },
    { "start to close, listed", 1, 0, 0, 0, 0, "TemporalTimeout:StartToClose", TIMED_OUT, "", S2C, 0, -1,
      false, BAD, 0 },
    { "heartbeat, listed", 1, 0, 0, 0, 0, "TemporalTimeout:Heartbeat", TIMED_OUT, "", BEAT, 0, -1, false,
      BAD, 0 },
    { "the other timeout listed", 1, 0, 0, 0, 0, "TemporalTimeout:Heartbeat", TIMED_OUT, "", S2C, 0, -1,
      false, GO, S },
    { "a timeout's name as a type", 1, 0, 0, 0, 0, "StartToClose", TIMED_OUT, "", S2C, 0, -1, false, GO, S },
    { "expires just then", 1, 0, 0, 0, 0, 0, APP, "E", 0, 1, -1, false, GO, S },
    { "expires before", 2, 0, 0, 0, 0, 0, APP, "E", 0, 1, -1, false, LATE, 0 },
    { "out of attempts before late", 2, 0, 0, 0, 2, 0, APP, "E", 0, 1, -1, false, OUT, 0 },
    { "its own delay", 4, 0, 0, 3, 0, 0, APP, "E", 0, 0, 1500, false, GO, 3 * S / 2 },
    { "its own delay, beyond the maximum", 1, 0, 0, 3, 0, 0, APP, "E", 0, 0, 9000, false, GO, 9 * S },
    { "its own delay, none", 4, 0, 0, 3, 0, 0, APP, "E", 0, 0, 0, false, GO, 0 },
    { "its own delay, too late", 1, 0, 0, 0, 0, 0, APP, "E", 0, 1, 1001, false, LATE, 0 },
    { "cancel requested", 1, 0, 0, 0, 0, 0, APP, "E", 0, 0, -1, true, STOP, 0 },
};

static Tp__Duration seconds(int64_t s)
{
    Tp__Duration d = TP__DURATION__INIT;
    d.seconds = s;
    return d;
}

TEST(a_failure_is_tried_again_as_its_policy_says)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Tp__RetryPolicy p = TP__RETRY_POLICY__INIT;
        Tp__Duration initial = seconds(rows[i].initial_s), maximum = seconds(rows[i].maximum_s), next;
        char listed[64];
        char *list[] = { listed };
        Tp__Failure f;
        tp__failure__init(&f);
        Tp__ApplicationFailureInfo app;
        tp__application_failure_info__init(&app);
        Tp__ServerFailureInfo server;
        tp__server_failure_info__init(&server);
        Tp__TimeoutFailureInfo timeout;
        tp__timeout_failure_info__init(&timeout);
        Tp__CanceledFailureInfo canceled;
        tp__canceled_failure_info__init(&canceled);
        Tp__TerminatedFailureInfo terminated;
        tp__terminated_failure_info__init(&terminated);
        Tp__ChildWorkflowExecutionFailureInfo child;
        tp__child_workflow_execution_failure_info__init(&child);
        char type[8];
        snprintf(type, sizeof(type), "%s", rows[i].type ? rows[i].type : "");
        p.backoff_coefficient = rows[i].coefficient;
        p.maximum_attempts = rows[i].attempts_max;
        if (rows[i].initial_s)
            p.initial_interval = &initial;
        if (rows[i].maximum_s)
            p.maximum_interval = &maximum;
        if (rows[i].listed) {
            snprintf(listed, sizeof(listed), "%s", rows[i].listed);
            p.non_retryable_error_types = list;
            p.n_non_retryable_error_types = 1;
        }
        switch (rows[i].kind) {
        case NONE:
            break;
        case APP:
        case APP_FINAL:
            app.type = type;
            app.non_retryable = rows[i].kind == APP_FINAL;
            next = seconds(rows[i].next_delay_ms / 1000);
            next.nanos = (int32_t)(rows[i].next_delay_ms % 1000 * 1000000);
            app.next_retry_delay = rows[i].next_delay_ms >= 0 ? &next : NULL;
            f.failure_info_case = TP__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO;
            f.application_failure_info = &app;
            break;
        case CANCELED:
            f.failure_info_case = TP__FAILURE__FAILURE_INFO_CANCELED_FAILURE_INFO;
            f.canceled_failure_info = &canceled;
            break;
        case TERMINATED:
            f.failure_info_case = TP__FAILURE__FAILURE_INFO_TERMINATED_FAILURE_INFO;
            f.terminated_failure_info = &terminated;
            break;
        case SERVER:
        case SERVER_FINAL:
            server.non_retryable = rows[i].kind == SERVER_FINAL;
            f.failure_info_case = TP__FAILURE__FAILURE_INFO_SERVER_FAILURE_INFO;
            f.server_failure_info = &server;
            break;
        case TIMED_OUT:
            timeout.timeout_type = rows[i].timeout;
            f.failure_info_case = TP__FAILURE__FAILURE_INFO_TIMEOUT_FAILURE_INFO;
            f.timeout_failure_info = &timeout;
            break;
        case CHILD:
            f.failure_info_case = TP__FAILURE__FAILURE_INFO_CHILD_WORKFLOW_EXECUTION_FAILURE_INFO;
            f.child_workflow_execution_failure_info = &child;
            break;
        }
        const int64_t now = INT64_C(1800000000) * S;
        struct run_retry_ask a = { .policy = &p, .failure = rows[i].kind == NONE ? NULL : &f,
                                   .attempt = rows[i].attempt, .now_ns = now,
                                   .expiry_ns = rows[i].expiry_s ? now + rows[i].expiry_s * S : 0,
                                   .cancel_requested = rows[i].cancel };
        struct run_retry r = run_retry_decide(&a);
        if (r.state != rows[i].state || r.delay_ns != rows[i].delay_ns)
            FAIL("%s: state %d after %" PRId64 " ns, expected %d after %" PRId64, rows[i].why,
                 (int)r.state, r.delay_ns, (int)rows[i].state, rows[i].delay_ns);
    }
}

TEST(without_a_policy_nothing_is_tried_again)
{
    struct run_retry_ask a = { .attempt = 1, .cancel_requested = true };
    CHECK_EQ(run_retry_decide(&a).state, TP__RETRY_STATE__RETRY_STATE_RETRY_POLICY_NOT_SET);
}

TEST(a_duration_that_no_number_holds_is_the_longest)
{
    Tp__Duration d = seconds(INT64_MAX);
    CHECK_EQ(run_duration_ns(NULL), 0);
    CHECK_EQ(run_duration_ns(&d), RUN_LONGEST_NS);
    d.seconds = -d.seconds;
    CHECK_EQ(run_duration_ns(&d), -RUN_LONGEST_NS);
    d.seconds = 2;
    d.nanos = 7;
    CHECK_EQ(run_duration_ns(&d), 2 * S + 7);
}

TEST(what_a_policy_leaves_out_is_filled_in)
{
    Tp__RetryPolicy *p = xcalloc(1, sizeof(*p));
    tp__retry_policy__init(p);
    p->initial_interval = xcalloc(1, sizeof(*p->initial_interval));
    *p->initial_interval = seconds(3);
    p->maximum_attempts = 5;
    run_retry_fill(p);
    int64_t initial = run_duration_ns(p->initial_interval), maximum = run_duration_ns(p->maximum_interval);
    double coefficient = p->backoff_coefficient;
    int32_t attempts = p->maximum_attempts;
    protobuf_c_message_free_unpacked(&p->base, NULL);
    CHECK_EQ(initial, 3 * S);
    CHECK_EQ(maximum, 300 * S);
    CHECK(coefficient > 1.99 && coefficient < 2.01);
    CHECK_EQ(attempts, 5);
}

static const struct {
    int64_t initial_s, maximum_s;
    double coefficient;
    int32_t attempts;
    const char *listed, *error; /* error: NULL: fine */
} policies[] = {
    { 0, 0, 0, 0, "E", NULL },
    { 1, 1, 1, 7, "TemporalTimeout:Heartbeat", NULL },
    { -1, 0, 0, 0, "E", "InitialInterval" },
    { -1, 0, 0, 1, "E", NULL },
    { 0, 0, 0.5, 0, "E", "BackoffCoefficient" },
    { 0, 0, -2, 0, "E", "BackoffCoefficient" },
    { 0, -1, 0, 0, "E", "MaximumInterval cannot be negative" },
    { 5, 4, 0, 0, "E", "MaximumInterval cannot be less" },
    { 0, 0, 0, -1, "E", "MaximumAttempts" },
    { 0, 0, 0, 0, "TemporalTimeout:Never", "TemporalTimeout:Never" },
};

TEST(a_policy_that_cannot_be_is_refused_with_what_is_wrong)
{
    for (size_t i = 0; i < COUNT_OF(policies); i++) {
        Tp__RetryPolicy p = TP__RETRY_POLICY__INIT;
        Tp__Duration initial = seconds(policies[i].initial_s), maximum = seconds(policies[i].maximum_s);
        char listed[64];
        char *list[] = { listed };
        struct err e = { 0 };
        snprintf(listed, sizeof(listed), "%s", policies[i].listed);
        p.initial_interval = &initial;
        p.maximum_interval = &maximum;
        p.backoff_coefficient = policies[i].coefficient;
        p.maximum_attempts = policies[i].attempts;
        p.non_retryable_error_types = list;
        p.n_non_retryable_error_types = 1;
        int r = run_retry_check(&p, &e);
        if (!policies[i].error ? r != 0 : r != -CODE_INVALID || !strstr(e.text, policies[i].error))
            FAIL("policy %zu: %d, '%s'", i, r, e.text);
    }
    struct err e = { 0 };
    CHECK_EQ(run_retry_check(NULL, &e), 0);
}

TEST_MAIN()
