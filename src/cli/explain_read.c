/* A service's percentiles as GET /v1/services/{ns}/{name}/stats writes them; see explain.h. */
#include "cli/explain.h"

#include <stdio.h>

enum { US_MAX = INT32_MAX }; /* 35 minutes; what takes longer is shown as that */

static uint32_t span(const json_t *j, const char *path)
{
    return (uint32_t)MIN(MAX(json_int_at(j, path, 0), 0), US_MAX);
}
static uint64_t amount(const json_t *j, const char *path)
{
    return (uint64_t)MAX(json_int_at(j, path, 0), 0);
}

static struct explain_percentiles percentiles(const json_t *j)
{
    return (struct explain_percentiles){
        .count = span(j, "count"),
        .p50_us = span(j, "p50Us"),
        .p99_us = span(j, "p99Us"),
    };
}

static void read_stats_phase(const char *name, const json_t *j, struct explain_stats *s)
{
    for (unsigned what = 0; name && what < EXPLAIN_KINDS; what++)
        if (strcmp(name, explain_what_name(what)) == 0) {
            s->phases[what] = percentiles(j);
            s->failures[what] = amount(j, "failures");
        }
}

void explain_stats_read(const json_t *j, struct explain_stats *ret)
{
    struct explain_stats s = { .invocations = amount(j, "invocations"),
                               .cold = amount(j, "cold"),
                               .starts = amount(j, "starts"),
                               .starts_failed = amount(j, "startsFailed") };
    json_t *one;
    size_t i;
    json_array_foreach(json_at(j, "phases"), i, one)
        read_stats_phase(json_text_at(one, "name"), one, &s);
    s.phases[EXPLAIN_HANDLER] = percentiles(json_at(j, "handler"));
    s.ready = percentiles(json_at(j, "ready"));
    const char *verdict = json_text_at(j, "budget.verdict");
    snprintf(s.budget, sizeof s.budget, "%s", verdict ? verdict : "");
    const char *decision = json_text_at(j, "autoscaler.decision");
    snprintf(s.autoscaler, sizeof s.autoscaler, "%s", decision ? decision : "");
    s.budget_ms = span(j, "budget.budgetMs");
    s.budget_measured_us = span(j, "budget.measuredUs");
    s.budget_percentile = json_number_value(json_at(j, "budget.percentile"));
    *ret = s;
}
