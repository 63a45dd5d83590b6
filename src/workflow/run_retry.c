#include "workflow/run_retry.h"

#include <math.h>
#include <string.h>

enum { INITIAL_S = 1, MAXIMUM_TIMES = 100 };
#define COEFFICIENT    2.0
#define TIMEOUT_PREFIX "TemporalTimeout:"
static const int64_t second_ns = 1000000000;

int64_t run_duration_ns(const Tp__Duration *d)
{
    int64_t ns;
    if (!d)
        return 0;
    if (__builtin_mul_overflow(d->seconds, second_ns, &ns) ||
        __builtin_add_overflow(ns, (int64_t)d->nanos, &ns))
        ns = d->seconds < 0 ? INT64_MIN : INT64_MAX;
    return MIN(MAX(ns, -RUN_LONGEST_NS), RUN_LONGEST_NS);
}

static bool type_listed(const Tp__RetryPolicy *p, const char *prefix, const char *type)
{
    size_t size = strlen(prefix);
    for (size_t i = 0; i < p->n_non_retryable_error_types; i++) {
        const char *listed = p->non_retryable_error_types[i];
        if (strncmp(listed, prefix, size) == 0 && strcmp(listed + size, type) == 0)
            return true;
    }
    return false;
}

/* As SDKs write them in a policy after TIMEOUT_PREFIX. */
static const char *timeout_name(Tp__TimeoutType type)
{
    switch (type) {
    case TP__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE:
        return "StartToClose";
    case TP__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_START:
        return "ScheduleToStart";
    case TP__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_CLOSE:
        return "ScheduleToClose";
    case TP__TIMEOUT_TYPE__TIMEOUT_TYPE_HEARTBEAT:
        return "Heartbeat";
    default:
        return NULL;
    }
}

static bool timeout_retryable(const Tp__RetryPolicy *p, Tp__TimeoutType type)
{
    if (type != TP__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE &&
        type != TP__TIMEOUT_TYPE__TIMEOUT_TYPE_HEARTBEAT)
        return false; /* another attempt would be as late */
    return !type_listed(p, TIMEOUT_PREFIX, timeout_name(type));
}

static bool retryable(const Tp__RetryPolicy *p, const Tp__Failure *f)
{
    if (!f)
        return true;
    switch (f->failure_info_case) {
    case TP__FAILURE__FAILURE_INFO_TERMINATED_FAILURE_INFO:
    case TP__FAILURE__FAILURE_INFO_CANCELED_FAILURE_INFO:
        return false;
    case TP__FAILURE__FAILURE_INFO_TIMEOUT_FAILURE_INFO:
        return timeout_retryable(p, f->timeout_failure_info->timeout_type);
    case TP__FAILURE__FAILURE_INFO_SERVER_FAILURE_INFO:
        return !f->server_failure_info->non_retryable;
    case TP__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO:
        return !f->application_failure_info->non_retryable &&
               !type_listed(p, "", f->application_failure_info->type);
    default:
        return true;
    }
}

static int64_t initial_ns(const Tp__RetryPolicy *p)
{
    int64_t ns = run_duration_ns(p->initial_interval);
    return ns > 0 ? ns : INITIAL_S * second_ns;
}

static int64_t maximum_ns(const Tp__RetryPolicy *p)
{
    int64_t ns = run_duration_ns(p->maximum_interval);
    if (ns <= 0 && __builtin_mul_overflow(initial_ns(p), (int64_t)MAXIMUM_TIMES, &ns))
        ns = INT64_MAX;
    return ns;
}

static int64_t backoff_ns(const Tp__RetryPolicy *p, int32_t attempt)
{
    double coefficient = p->backoff_coefficient > 0 ? p->backoff_coefficient : COEFFICIENT;
    double ns = (double)initial_ns(p) * pow(coefficient, attempt - 1);
    int64_t max = maximum_ns(p);
    /* Not a number and infinity, which are no int64_t, fall to the maximum too. */
    return ns < (double)max ? (int64_t)ns : max;
}

struct run_retry run_retry_decide(const struct run_retry_ask *a)
{
    ASSERT(a->attempt >= 1);
    const Tp__RetryPolicy *p = a->policy;
    if (!p)
        return (struct run_retry){ TP__RETRY_STATE__RETRY_STATE_RETRY_POLICY_NOT_SET, 0 };
    if (a->cancel_requested)
        return (struct run_retry){ TP__RETRY_STATE__RETRY_STATE_CANCEL_REQUESTED, 0 };
    if (!retryable(p, a->failure))
        return (struct run_retry){ TP__RETRY_STATE__RETRY_STATE_NON_RETRYABLE_FAILURE, 0 };
    if (p->maximum_attempts > 0 && a->attempt >= p->maximum_attempts)
        return (struct run_retry){ TP__RETRY_STATE__RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED, 0 };

    int64_t delay_ns = backoff_ns(p, a->attempt), next_ns;
    const Tp__Failure *f = a->failure;
    if (f && f->failure_info_case == TP__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO &&
        f->application_failure_info->next_retry_delay)
        delay_ns = MAX(run_duration_ns(f->application_failure_info->next_retry_delay), 0);
    if (__builtin_add_overflow(a->now_ns, delay_ns, &next_ns))
        next_ns = INT64_MAX;
    if (a->expiry_ns != 0 && next_ns > a->expiry_ns)
        return (struct run_retry){ TP__RETRY_STATE__RETRY_STATE_TIMEOUT, 0 };
    return (struct run_retry){ TP__RETRY_STATE__RETRY_STATE_IN_PROGRESS, delay_ns };
}

static bool timeout_known(const char *listed)
{
    const char *name = listed + strlen(TIMEOUT_PREFIX);
    for (Tp__TimeoutType t = TP__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE;
         t <= TP__TIMEOUT_TYPE__TIMEOUT_TYPE_HEARTBEAT; t++)
        if (strcmp(name, timeout_name(t)) == 0)
            return true;
    return false;
}

int run_retry_check(const Tp__RetryPolicy *p, struct err *e)
{
    if (!p || p->maximum_attempts == 1)
        return 0; /* one attempt: nothing else of it means anything */
    int64_t initial = run_duration_ns(p->initial_interval), maximum = run_duration_ns(p->maximum_interval);
    if (initial < 0)
        return err_set(e, CODE_INVALID, "InitialInterval cannot be negative on retry policy.");
    if (p->backoff_coefficient != 0 && !(p->backoff_coefficient >= 1 && isfinite(p->backoff_coefficient)))
        return err_set(e, CODE_INVALID, "BackoffCoefficient cannot be less than 1 on retry policy.");
    if (maximum < 0)
        return err_set(e, CODE_INVALID, "MaximumInterval cannot be negative on retry policy.");
    if (maximum > 0 && maximum < initial)
        return err_set(e, CODE_INVALID,
                       "MaximumInterval cannot be less than InitialInterval on retry policy.");
    if (p->maximum_attempts < 0)
        return err_set(e, CODE_INVALID, "MaximumAttempts cannot be negative on retry policy.");
    for (size_t i = 0; i < p->n_non_retryable_error_types; i++) {
        const char *listed = p->non_retryable_error_types[i];
        if (strncmp(listed, TIMEOUT_PREFIX, strlen(TIMEOUT_PREFIX)) == 0 && !timeout_known(listed))
            return err_set(e, CODE_INVALID,
                           "Invalid timeout type in NonRetryableErrorTypes of retry policy: %.200s. "
                           "Known: StartToClose, ScheduleToStart, ScheduleToClose, Heartbeat.",
                           listed);
    }
    return 0;
}

static void duration_set(Tp__Duration **field, int64_t ns)
{
    if (!*field) {
        *field = xcalloc(1, sizeof(**field));
        tp__duration__init(*field);
    }
    (*field)->seconds = ns / second_ns;
    (*field)->nanos = (int32_t)(ns % second_ns);
}

void run_retry_fill(Tp__RetryPolicy *p)
{
    int64_t initial = initial_ns(p), maximum = maximum_ns(p);
    duration_set(&p->initial_interval, initial);
    duration_set(&p->maximum_interval, maximum);
    if (p->backoff_coefficient == 0)
        p->backoff_coefficient = COEFFICIENT;
}
