#include "serving/cluster.h"

#include "codec/duration.h"
#include "codec/quantity.h"
#include "serving/cluster_features.h"

#include <math.h>
#include <stdlib.h>

#define AUTOSCALER "config-autoscaler"
#define DEFAULTS   "config-defaults"
#define GC         "config-gc"
#define NETWORK    "config-network"

const char *const cluster_maps[] = { AUTOSCALER, DEFAULTS, FEATURES_MAP, GC, NETWORK, NULL };

enum kind {
    KIND_WHOLE,    /* a whole number */
    KIND_NUMBER,   /* times `factor` */
    KIND_FRACTION, /* 70, or 0.7 */
    KIND_BOOL,
    KIND_SECONDS,  /* a duration, in whole seconds */
    KIND_MS,       /* a duration */
    KIND_AGE,      /* a duration or "disabled" */
    KIND_COUNT,    /* a whole number or "disabled" */
    KIND_QUANTITY, /* as Kubernetes has them; in units */
};

static const struct row {
    const char *map, *key;
    enum kind kind;
    size_t limit;
    double min, max;           /* of the value as it is written; durations in seconds */
    const char *before, *after; /* of a value out of range */
    double factor;             /* 0: checked, and kept elsewhere or nowhere */
} rows[] = {
#define L(name) offsetof(struct limits, name)
    { AUTOSCALER, "allow-zero-initial-scale", KIND_BOOL, L(scale_initial_zero), 0, 1, "", "", 1 },
    { AUTOSCALER, "container-concurrency-target-default", KIND_NUMBER, L(scale_target), 1, 1e6,
      "container-concurrency-target-default = ", ", must be in [1, 1000000] range", 1 },
    { AUTOSCALER, "container-concurrency-target-percentage", KIND_FRACTION, L(scale_target_percent), 1, 100,
      "container-concurrency-target-percentage = ", " is outside of valid range of (0, 100]", 1 },
    { AUTOSCALER, "enable-scale-to-zero", KIND_BOOL, L(scale_to_zero), 0, 1, "", "", 1 },
    { AUTOSCALER, "initial-scale", KIND_WHOLE, L(scale_initial), 0, 10000,
      "initial-scale = ", ", must be at least 0 (or at least 1 when allow-zero-initial-scale is false)", 1 },
    { AUTOSCALER, "max-scale", KIND_WHOLE, L(scale_max_default), 0, 10000, "max-scale = ", ", must be in [0, 10000] range", 1 },
    { AUTOSCALER, "max-scale-down-rate", KIND_NUMBER, L(scale_down_percent), 1.01, 1000,
      "max-scale-down-rate = ", ", must be greater than 1.0", 100 },
    { AUTOSCALER, "max-scale-limit", KIND_WHOLE, L(scale_limit), 0, 10000, "max-scale-limit = ", ", must be at least 0", 1 },
    { AUTOSCALER, "max-scale-up-rate", KIND_NUMBER, L(scale_up_percent), 1.01, 100000,
      "max-scale-up-rate = ", ", must be greater than 1.0", 100 },
    { AUTOSCALER, "min-scale", KIND_WHOLE, L(scale_min_default), 0, 10000, "min-scale cannot be negative, was: ", "", 1 },
    { AUTOSCALER, "panic-threshold-percentage", KIND_NUMBER, L(scale_panic_percent), 110, 1000,
      "panic-threshold-percentage = ", ", must be in [110.0; 1000.0] interval", 1 },
    { AUTOSCALER, "panic-window-percentage", KIND_NUMBER, L(scale_panic_window_percent), 1, 100,
      "panic-window-percentage = ", ", must be in [1.0; 100.0] interval", 1 },
    { AUTOSCALER, "requests-per-second-target-default", KIND_NUMBER, L(scale_rps_target), 1, 1e6,
      "requests-per-second-target-default must be at least 1, was: ", "", 1 },
    { AUTOSCALER, "scale-down-delay", KIND_SECONDS, L(scale_down_delay_ms), 0, 3600,
      "scale-down-delay cannot be negative or longer than 1h0m0s, was: ", "", 1000 },
    { AUTOSCALER, "scale-to-zero-grace-period", KIND_MS, 0, 6, 1e9, "scale-to-zero-grace-period must be at least 6s, was: ",
      "", 0 },
    { AUTOSCALER, "scale-to-zero-pod-retention-period", KIND_MS, L(scale_retention_ms), 0, 3600,
      "scale-to-zero-pod-retention-period cannot be negative or longer than 1h0m0s, was: ", "", 1000 },
    { AUTOSCALER, "stable-window", KIND_SECONDS, L(scale_window_s), 6, 3600, "stable-window = ",
      ", must be in [6s; 1h0m0s] range", 1 },
    { AUTOSCALER, "target-burst-capacity", KIND_NUMBER, L(scale_burst), -1, 1e6,
      "target-burst-capacity must be either non-negative or -1 (for unlimited), was: ", "", 1 },
    { DEFAULTS, "allow-container-concurrency-zero", KIND_BOOL, L(container_concurrency_zero), 0, 1, "", "", 1 },
    { DEFAULTS, "container-concurrency", KIND_WHOLE, L(container_concurrency), 0, 100000,
      "container-concurrency = ", ", must be in [0, container-concurrency-max-limit] range", 1 },
    { DEFAULTS, "container-concurrency-max-limit", KIND_WHOLE, L(container_concurrency_max), 1, 100000,
      "container-concurrency-max-limit = ", ", must be in [1, 100000] range", 1 },
    { DEFAULTS, "max-revision-timeout-seconds", KIND_WHOLE, L(request_timeout_s_max), 1, 86400,
      "max-revision-timeout-seconds = ", ", must be in [1, 86400] range", 1 },
#define RESOURCE(name, max) "revision-" name " = ", ", must be more than 0 and at most " max
    { DEFAULTS, "revision-cpu-limit", KIND_QUANTITY, L(container_cpu_limit_milli), 0.001, 1024, RESOURCE("cpu-limit", "1024"), 1000 },
    { DEFAULTS, "revision-cpu-request", KIND_QUANTITY, L(container_cpu_request_milli), 0.001, 1024, RESOURCE("cpu-request", "1024"), 1000 },
    { DEFAULTS, "revision-ephemeral-storage-limit", KIND_QUANTITY, L(container_storage_limit_bytes), 1, 1099511627776,
      RESOURCE("ephemeral-storage-limit", "1Ti"), 1 },
    { DEFAULTS, "revision-ephemeral-storage-request", KIND_QUANTITY, L(container_storage_request_bytes), 1, 1099511627776,
      RESOURCE("ephemeral-storage-request", "1Ti"), 1 },
    { DEFAULTS, "revision-memory-limit", KIND_QUANTITY, L(container_memory_limit_bytes), 1, 1099511627776,
      RESOURCE("memory-limit", "1Ti"), 1 },
    { DEFAULTS, "revision-memory-request", KIND_QUANTITY, L(container_memory_request_bytes), 1, 1099511627776,
      RESOURCE("memory-request", "1Ti"), 1 },
#undef RESOURCE
    { DEFAULTS, "revision-idle-timeout-seconds", KIND_WHOLE, L(idle_timeout_s), 0, 86400,
      "revision-idle-timeout-seconds = ", ", must be in [0, 86400] range", 1 },
    { DEFAULTS, "revision-timeout-seconds", KIND_WHOLE, L(request_timeout_s), 1, 86400,
      "revision-timeout-seconds = ", ", must be in [1, 86400] range", 1 },
    { GC, "max-non-active-revisions", KIND_COUNT, L(gc_max), 0, 1e9, "max-non-active-revisions must be non-negative, was: ", "", 1 },
    { GC, "min-non-active-revisions", KIND_WHOLE, L(gc_min), 0, 1e9, "min-non-active-revisions must be non-negative, was: ", "", 1 },
    { GC, "retain-since-create-time", KIND_AGE, L(gc_create_s), 0, 1e9, "retain-since-create-time must be non-negative, was: ", "", 1 },
    { GC, "retain-since-last-active-time", KIND_AGE, L(gc_active_s), 0, 1e9,
      "retain-since-last-active-time must be non-negative, was: ", "", 1 },
    { NETWORK, "autocreate-cluster-domain-claims", KIND_BOOL, 0, 0, 1, "", "", 0 }, /* domains.c reads it */
#undef L
};

bool cluster_is(const char *ns, const char *name)
{
    bool any = false;
    for (size_t i = 0; cluster_maps[i]; i++)
        any |= strcmp(name, cluster_maps[i]) == 0;
    return any && ns && strcmp(ns, CLUSTER_NAMESPACE) == 0;
}

static uint64_t *field_of(struct limits *l, size_t offset) { return (uint64_t *)(void *)((char *)l + offset); }

static bool is_known(const char *map, const char *key)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (strcmp(rows[i].map, map) == 0 && strcmp(rows[i].key, key) == 0)
            return true;
    return strcmp(map, FEATURES_MAP) == 0 && cluster_features_known(key);
}

void cluster_warn(const char *ns, const char *name, const json_t *data, struct refusals *warnings)
{
    static const char *const others[] = { "config-certmanager", "config-deployment", "config-domain", "config-istio",
                                          "config-kourier", "config-leader-election", "config-logging",
                                          "config-observability", "config-tracing" };
    const char *key;
    const json_t *value;
    if (!ns || strcmp(ns, CLUSTER_NAMESPACE) != 0)
        return;
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (strcmp(name, others[i]) == 0)
            refusals_add(warnings, "", NULL, "hob does not read %s: it is kept, and has no effect", name);
    if (!cluster_is(ns, name))
        return;
    json_object_foreach((json_t *)(uintptr_t)data, key, value)
        if (key[0] != '_' && !is_known(name, key)) /* "_example" is Knative's own way to document */
            refusals_add(warnings, REFUSAL_AT("data.%s", key), NULL, "hob does not read this key: it has no effect");
}

/* ---- one value ---- */

enum verdict { VALUE_FITS, VALUE_IS_NONE, VALUE_OUT_OF_RANGE, VALUE_TOO_FINE };

static bool number_parse(const char *text, bool whole, double *ret)
{
    char *end;
    const char *letters = whole ? "-0123456789" : "+-.0123456789eE";
    if (!*text || strspn(text, letters) != strlen(text))
        return false;
    *ret = strtod(text, &end);
    return !*end && isfinite(*ret);
}

static enum verdict duration_value(const struct row *row, const char *text, double *ret)
{
    int64_t ns;
    struct err ignored;
    if (duration_parse(str_of(text), &ns, &ignored) < 0)
        return VALUE_IS_NONE;
    *ret = (double)ns / 1e9;
    return row->kind == KIND_SECONDS && ns % 1000000000 != 0 ? VALUE_TOO_FINE : VALUE_FITS;
}

static enum verdict quantity_value(const char *text, double *ret)
{
    struct quantity q;
    struct err ignored;
    if (quantity_parse(str_of(text), &q, &ignored) < 0)
        return VALUE_IS_NONE;
    *ret = (double)quantity_milli(&q) / 1000;
    return q.negative ? VALUE_OUT_OF_RANGE : VALUE_FITS;
}

/* *ret: as it is written, in seconds where it is a duration. */
static enum verdict value_parse(const struct row *row, const char *text, double *ret)
{
    switch (row->kind) {
    case KIND_BOOL:
        *ret = strcmp(text, "true") == 0;
        return *ret == 1 || strcmp(text, "false") == 0 ? VALUE_FITS : VALUE_IS_NONE;
    case KIND_SECONDS:
    case KIND_MS:
    case KIND_AGE: return duration_value(row, text, ret);
    case KIND_WHOLE:
    case KIND_COUNT: return number_parse(text, true, ret) ? VALUE_FITS : VALUE_IS_NONE;
    case KIND_QUANTITY: return quantity_value(text, ret);
    case KIND_NUMBER: return number_parse(text, false, ret) ? VALUE_FITS : VALUE_IS_NONE;
    case KIND_FRACTION:
        if (!number_parse(text, false, ret))
            return VALUE_IS_NONE;
        *ret = *ret > 0 && *ret <= 1 ? *ret * 100 : *ret;
        return VALUE_FITS;
    }
    UNREACHABLE("a kind of its own");
}

static void value_read(const struct row *row, const char *text, struct limits *into, struct refusals *refused)
{
    AUTO_FREE char *path = xasprintf("data.%s", row->key);
    double n = 0;
    if ((row->kind == KIND_AGE || row->kind == KIND_COUNT) && strcmp(text, "disabled") == 0) {
        *field_of(into, row->limit) = LIMIT_DISABLED;
        return;
    }
    enum verdict v = value_parse(row, text, &n);
    bool burst_unlimited = row->min == -1 && n == -1;
    if (v == VALUE_FITS && (n < row->min || n > row->max || (row->min == -1 && n < 0 && !burst_unlimited)))
        v = VALUE_OUT_OF_RANGE;
    if (v == VALUE_IS_NONE)
        refusals_add(refused, path, NULL, "failed to parse \"%s\": \"%.64s\" is none of its values", row->key, text);
    else if (v == VALUE_OUT_OF_RANGE)
        refusals_add(refused, path, NULL, "%s%.64s%s", row->before, text, row->after);
    else if (v == VALUE_TOO_FINE)
        refusals_add(refused, path, NULL, "%s = %.64s, must be specified with at most second precision", row->key, text);
    else if (row->factor > 0)
        *field_of(into, row->limit) = burst_unlimited ? (uint64_t)row->max : (uint64_t)(n * row->factor + 0.5);
}

/* ---- what they say together ---- */

static void autoscaler_check(const struct limits *l, struct refusals *refused)
{
    if (l->scale_limit > 0 && l->scale_max_default > l->scale_limit)
        refusals_add(refused, "data.max-scale", NULL, "max-scale = %llu, must be in [0, max-scale-limit(%llu)] range",
                     (unsigned long long)l->scale_max_default, (unsigned long long)l->scale_limit);
    if (l->scale_max_default > 0 && l->scale_min_default > l->scale_max_default)
        refusals_add(refused, "data.min-scale", NULL, "min-scale(%llu) exceeds max-scale(%llu)",
                     (unsigned long long)l->scale_min_default, (unsigned long long)l->scale_max_default);
    if (l->scale_initial == 0 && !l->scale_initial_zero)
        refusals_add(refused, "data.initial-scale", NULL,
                     "initial-scale = 0, must be at least 0 (or at least 1 when allow-zero-initial-scale is false)");
}

static void resource_pair_check(const char *what, uint64_t request, uint64_t limit, struct refusals *refused)
{
    if (limit > 0 && request > limit)
        refusals_add(refused, REFUSAL_AT("data.revision-%s-request", what), NULL,
                     "revision-%s-request cannot be greater than revision-%s-limit", what, what);
}

static void defaults_check(const struct limits *l, struct refusals *refused)
{
    if (l->request_timeout_s > l->request_timeout_s_max)
        refusals_add(refused, "data.revision-timeout-seconds", NULL,
                     "revision-timeout-seconds (%llu) cannot be greater than max-revision-timeout-seconds (%llu)",
                     (unsigned long long)l->request_timeout_s, (unsigned long long)l->request_timeout_s_max);
    if (l->idle_timeout_s > l->request_timeout_s)
        refusals_add(refused, "data.revision-idle-timeout-seconds", NULL,
                     "revision-idle-timeout-seconds (%llu) cannot be greater than revision-timeout-seconds (%llu)",
                     (unsigned long long)l->idle_timeout_s, (unsigned long long)l->request_timeout_s);
    resource_pair_check("cpu", l->container_cpu_request_milli, l->container_cpu_limit_milli, refused);
    resource_pair_check("memory", l->container_memory_request_bytes, l->container_memory_limit_bytes, refused);
    resource_pair_check("ephemeral-storage", l->container_storage_request_bytes, l->container_storage_limit_bytes, refused);
    uint64_t least = l->container_concurrency_zero ? 0 : 1;
    if (l->container_concurrency < least || l->container_concurrency > l->container_concurrency_max)
        refusals_add(refused, "data.container-concurrency", NULL, "expected %llu <= %llu <= %llu",
                     (unsigned long long)least, (unsigned long long)l->container_concurrency,
                     (unsigned long long)l->container_concurrency_max);
}

static void gc_check(const struct limits *l, struct refusals *refused)
{
    if (l->gc_max != LIMIT_DISABLED && l->gc_min > l->gc_max)
        refusals_add(refused, "data.min-non-active-revisions", NULL,
                     "min-non-active-revisions(%llu) exceeds max-non-active-revisions(%llu)",
                     (unsigned long long)l->gc_min, (unsigned long long)l->gc_max);
}

void cluster_read(const char *name, const json_t *data, struct limits *into, struct refusals *refused)
{
    struct limits said = *into;
    uint32_t before = refused->count;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *text =
            strcmp(rows[i].map, name) == 0 ? json_string_value(json_object_get(data, rows[i].key)) : NULL;
        if (text)
            value_read(&rows[i], text, &said, refused);
    }
    if (strcmp(name, FEATURES_MAP) == 0)
        cluster_features_read(data, &said, refused);
    if (refused->count == before && strcmp(name, AUTOSCALER) == 0)
        autoscaler_check(&said, refused);
    if (refused->count == before && strcmp(name, DEFAULTS) == 0)
        defaults_check(&said, refused);
    if (refused->count == before && strcmp(name, GC) == 0)
        gc_check(&said, refused);
    if (refused->count == before)
        *into = said;
}
