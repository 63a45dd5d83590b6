#include "serving/annotations.h"

#include "base/suggest.h"
#include "codec/callback_target.h"
#include "codec/duration.h"
#include "serving/invoke.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#define SECOND INT64_C(1000000000)
#define HOUR   (3600 * SECOND)

enum kind {
    KIND_CHOICE,   /* one of `choices` */
    KIND_COUNT,    /* whole number from min to max */
    KIND_NUMBER,   /* from min to max */
    KIND_DURATION, /* nanoseconds from min to max */
    KIND_SECONDS,  /* the same, in whole seconds */
    KIND_FLAG,     /* "true" or "false" */
    KIND_METHODS,  /* the same, or a list of HTTP's methods */
    KIND_TARGET,   /* where callbacks go */
    KIND_HOSTS,    /* where clients may have them go */
    KIND_SECRET,   /* one key of a Secret */
    KIND_TEXT,     /* any */
};

static const struct row {
    const char *key, *alias;
    enum kind kind;
    double min, max, initial; /* initial -1: none */
    const char *choices;      /* between spaces */
    const char *meaning;
} rows[ANNOTATIONS] = {
#define A(name) AUTOSCALING_GROUP "/" name
    [ANNOTATION_CLASS] = { A("class"), NULL, KIND_CHOICE, .initial = -1,
        .meaning = "kpa.autoscaling.knative.dev, or one of another domain, which nobody acts on" },
    [ANNOTATION_METRIC] = { A("metric"), NULL, KIND_CHOICE, .initial = -1,
        .choices = " concurrency rps ",
        .meaning = "what is scaled on: requests at once, or per second; default concurrency" },
    [ANNOTATION_TARGET] = { A("target"), NULL, KIND_NUMBER, 0.01, 1e9, -1,
        .meaning = "of the metric, per instance; default containerConcurrency, or 100; of rps 200" },
    [ANNOTATION_UTILIZATION] = { A("target-utilization-percentage"), A("targetUtilizationPercentage"),
        KIND_NUMBER, 1, 100, 70, .meaning = "of the target, wanted" },
    [ANNOTATION_WINDOW] = { A("window"), NULL, KIND_SECONDS, 6e9, 3600e9, 60e9,
        .meaning = "averaged over; nothing in it: zero instances" },
    [ANNOTATION_PANIC_WINDOW] = { A("panic-window-percentage"), A("panicWindowPercentage"),
        KIND_NUMBER, 1, 100, 10, .meaning = "of the window, for bursts" },
    [ANNOTATION_PANIC_THRESHOLD] = { A("panic-threshold-percentage"), A("panicThresholdPercentage"),
        KIND_NUMBER, 110, 1000, 200,
        .meaning = "of what is ready, needed: that is a burst" },
    [ANNOTATION_BURST_CAPACITY] = { A("target-burst-capacity"), A("targetBurstCapacity"), KIND_NUMBER,
        -1, 1e9, 211,
        .meaning = "at least 0, or -1; shown as excess burst capacity, hob is in the path always" },
    [ANNOTATION_MIN_SCALE] = { A("min-scale"), A("minScale"), KIND_COUNT, 0, INT32_MAX, 0,
        .meaning = "instances kept even without requests" },
    [ANNOTATION_MAX_SCALE] = { A("max-scale"), A("maxScale"), KIND_COUNT, 0, INT32_MAX, 0,
        .meaning = "most instances; 0: the limit scale_max" },
    [ANNOTATION_INITIAL_SCALE] = { A("initial-scale"), A("initialScale"), KIND_COUNT, 0, INT32_MAX, 1,
        .meaning = "instances that must have been ready once; 0: none" },
    [ANNOTATION_ACTIVATION_SCALE] = { A("activation-scale"), A("activationScale"), KIND_COUNT, 2,
        INT32_MAX, -1, .meaning = "instances at least, when not zero" },
    [ANNOTATION_SCALE_DOWN_DELAY] = { A("scale-down-delay"), A("scaleDownDelay"), KIND_SECONDS, 0,
        3600e9, 0, .meaning = "before fewer are wanted" },
    [ANNOTATION_RETENTION] = { A("scale-to-zero-pod-retention-period"),
        A("scaleToZeroPodRetentionPeriod"), KIND_DURATION, 0, 3600e9, 0,
        .meaning = "the last instance stays that much longer" },
    [ANNOTATION_AGGREGATION] = { A("metric-aggregation-algorithm"), A("metricAggregationAlgorithm"),
        KIND_CHOICE, .initial = -1, .choices = " linear weighted-exponential weightedExponential ",
        .meaning = "linear or weighted-exponential" },
    [ANNOTATION_PROGRESS_DEADLINE] = { "serving.knative.dev/progress-deadline",
        "serving.knative.dev/progressDeadline", KIND_SECONDS, 1e9, 86400e9 * 30, 600e9,
        .meaning = "for a Revision to become ready" },
    [ANNOTATION_QUEUE_DEPTH] = { "hob.dev/queue-depth", NULL, KIND_COUNT, 0, 1000000, -1,
        .meaning = "requests that may wait; default: the limit queue_depth_max" },
    [ANNOTATION_START_BUDGET] = { "hob.dev/start-budget", NULL, KIND_DURATION, 1e6, 3600e9, -1,
        .meaning = "longest cold start wanted, from 1ms to 1h" },
    [ANNOTATION_START_BUDGET_PERCENTILE] = { "hob.dev/start-budget-percentile", NULL, KIND_NUMBER, 1,
        100, 99, .meaning = "of the cold starts that must stay in it" },
    [ANNOTATION_TASK_QUEUE] = { "hob.dev/task-queue", NULL, KIND_TEXT, .initial = -1,
        .meaning = "of Temporal: instances start when it has a task and nobody polls, find Temporal on 127.0.0.1:7233, and "
                   "are scaled on the tasks that wait or are worked on" },
    [ANNOTATION_TASK_QUEUE_NAMESPACE] = { "hob.dev/task-queue-namespace", NULL, KIND_TEXT, .initial = -1,
        .meaning = "Temporal's namespace of that queue; default: `default`" },
    [ANNOTATION_IMAGE_DIGEST] = { "hob.dev/image-digest", NULL, KIND_TEXT, .initial = -1,
        .meaning = "written by `hob apply` when a file:// folder changed: a new Revision; changes nothing else" },
    [ANNOTATION_IDEMPOTENT] = { "hob.dev/idempotent", NULL, KIND_METHODS, .initial = -1,
        .meaning = "`true`, or the methods (`GET, PUT`) of which a durable invocation may be attempted again when nobody knows what "
                   "the last attempt did; default `false`" },
    [ANNOTATION_DURABLE_EVENTS] = { "hob.dev/durable-events", NULL, KIND_FLAG, .initial = -1,
        .meaning = "`true`: a CloudEvent is a durable invocation, its source and id are the key; default `false`" },
    [ANNOTATION_CHECKPOINTS] = { "hob.dev/checkpoints", NULL, KIND_FLAG, .initial = -1,
        .meaning = "`true`: each instance finds a page at 127.0.0.1:7234 (`HOB_INVOCATIONS`) where the attempt of a durable invocation "
                   "that it has leaves its checkpoint; default `false`" },
    [ANNOTATION_ATTEMPTS_MAX] = { "hob.dev/attempts-max", NULL, KIND_COUNT, 1, 1000, 5,
        .meaning = "attempts that the function saw, of one durable invocation that may be repeated" },
    [ANNOTATION_BACKOFF] = { "hob.dev/backoff", NULL, KIND_DURATION, 1e6, 86400e9, 1e9,
        .meaning = "before the second attempt, at most; doubled for each further one" },
    [ANNOTATION_BACKOFF_MAX] = { "hob.dev/backoff-max", NULL, KIND_DURATION, 1e6, 86400e9, 300e9,
        .meaning = "and not more than that" },
    [ANNOTATION_RESULT_RETENTION] = { "hob.dev/result-retention", NULL, KIND_DURATION, 1e9, 86400e9 * 365, 86400e9,
        .meaning = "how long the end of a durable invocation is kept, and its key with it" },
    [ANNOTATION_CALLBACK] = { "hob.dev/callback", NULL, KIND_TARGET, .initial = -1,
        .meaning = "URL that is told of the end of each durable invocation, unless its client names another" },
    [ANNOTATION_CALLBACK_HOSTS] = { "hob.dev/callback-hosts", NULL, KIND_HOSTS, .initial = -1,
        .meaning = "hosts that clients may name in `Hob-Callback`: `hooks.example.org, *.example.net:8443`, or `*`; default none" },
    [ANNOTATION_CALLBACK_SECRET] = { "hob.dev/callback-secret", NULL, KIND_SECRET, .initial = -1,
        .meaning = "`name/key` of a Secret of the same namespace: callbacks are signed with it" },
#undef A
};

/* The value and the key it was found under; the newer spelling goes first. */
static const char *find(const json_t *annotations, enum annotation a, const char **ret_key)
{
    const char *value = json_string_value(json_object_get(annotations, rows[a].key));
    *ret_key = rows[a].key;
    if (!value && rows[a].alias) {
        value = json_string_value(json_object_get(annotations, rows[a].alias));
        if (value)
            *ret_key = rows[a].alias;
    }
    return value;
}

enum parsed { PARSED_NOT, PARSED_TOO_LARGE, PARSED_IS };

/* strconv.ParseInt, base 10, 32 bits. */
static enum parsed count_parse(const char *text, double *ret)
{
    const char *digits = text + (*text == '-' || *text == '+');
    size_t size = strspn(digits, "0123456789");
    if (size == 0 || digits[size])
        return PARSED_NOT;
    double n = strtod(text, NULL);
    if (n > INT32_MAX || n < INT32_MIN)
        return PARSED_TOO_LARGE;
    *ret = n;
    return PARSED_IS;
}

/* strconv.ParseFloat, decimal only; no infinities, which no range here would hold. */
static enum parsed number_parse(const char *text, double *ret)
{
    char *end;
    if (!*text || strspn(text, "+-.0123456789eE") != strlen(text))
        return PARSED_NOT;
    *ret = strtod(text, &end);
    return *end || !isfinite(*ret) ? PARSED_NOT : PARSED_IS;
}

struct check {
    const json_t *annotations;
    const char *at;
    const struct limits *limits;
    struct refusals *refused, *warnings;
};

PRINTF_LIKE(3, 4)
static void wrong(const struct check *c, const char *key, const char *fmt, ...)
{
    char message[512], path[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    (void)snprintf(path, sizeof path, "%s.%s", c->at, key);
    refusals_add(c->refused, path, NULL, "%s", message);
}

static void count_check(const struct check *c, enum annotation a, const char *key, const char *v)
{
    double n;
    enum parsed parsed = count_parse(v, &n);
    if (parsed == PARSED_NOT)
        wrong(c, key, "invalid value: %s", v);
    else if (a == ANNOTATION_INITIAL_SCALE && parsed == PARSED_IS && n == 0 && !c->limits->scale_initial_zero)
        wrong(c, key, "invalid value: %s", v); /* Knative: allow-zero-initial-scale is false */
    else if (a == ANNOTATION_ACTIVATION_SCALE && parsed == PARSED_IS && n < 2)
        wrong(c, key, "activation-scale=%.0f must be greater than 1", n);
    else if (parsed == PARSED_TOO_LARGE || n < rows[a].min || n > rows[a].max)
        wrong(c, key, "expected %.0f <= %s <= %.0f", rows[a].min, v, rows[a].max);
}

static void number_check(const struct check *c, enum annotation a, const char *key, const char *v)
{
    double n;
    if (number_parse(v, &n) != PARSED_IS)
        wrong(c, key, "invalid value: %s", v);
    else if (a == ANNOTATION_TARGET && n < rows[a].min)
        wrong(c, key, "target %s should be at least %g", v, rows[a].min);
    else if (a == ANNOTATION_BURST_CAPACITY && n < 0 && n != -1)
        wrong(c, key, "invalid value: %s", v);
    else if (n < rows[a].min || n > rows[a].max)
        wrong(c, key, "expected %g <= %s <= %g", rows[a].min, v, rows[a].max);
}

static void duration_check(const struct check *c, enum annotation a, const char *key, const char *v)
{
    char low[DURATION_TEXT], high[DURATION_TEXT];
    int64_t ns;
    struct err e;
    bool deadline = a == ANNOTATION_PROGRESS_DEADLINE;
    if (duration_parse(str_of(v), &ns, &e) < 0) {
        wrong(c, key, "invalid value: %s", v);
    } else if (deadline && ns % SECOND != 0) {
        wrong(c, key, "progress-deadline=%s is not at second precision", v);
    } else if (deadline && ns <= 0) {
        wrong(c, key, "progress-deadline=%s must be positive", v);
    } else if ((double)ns < rows[a].min || (double)ns > rows[a].max) {
        duration_format((int64_t)rows[a].min, low);
        duration_format((int64_t)rows[a].max, high);
        wrong(c, key, "expected %s <= %s <= %s", low, v, high);
    } else if (rows[a].kind == KIND_SECONDS && ns % SECOND != 0) {
        wrong(c, key, "must be specified with at most second precision");
    }
}

static bool is_choice(const char *choices, const char *v)
{
    size_t size = strlen(v);
    for (const char *at = choices; size > 0 && (at = strstr(at, v)) != NULL; at++)
        if (at[-1] == ' ' && at[size] == ' ')
            return true;
    return false;
}

static void flag_check(const struct check *c, const char *key, const char *v)
{
    if (strcmp(v, "true") != 0 && strcmp(v, "false") != 0)
        wrong(c, key, "invalid value: %s: want \"true\" or \"false\"", v);
}

static void methods_check(const struct check *c, const char *key, const char *v)
{
    uint32_t methods;
    if (!invoke_methods_parse(str_of(v), &methods))
        wrong(c, key, "invalid value: %s: want \"true\", \"false\" or a list of methods like \"GET, PUT\"", v);
}

/* A name and a key, as Kubernetes has them. */
static bool is_secret_key(struct str v)
{
    struct str key = v, name = str_cut(&key, '/');
    bool good = name.size > 0 && name.size <= 253 && key.size > 0 && key.size <= 253;
    for (size_t i = 0; i < v.size; i++)
        good = good && (isalnum((unsigned char)v.at[i]) || strchr("-._", v.at[i]) || v.at + i == name.at + name.size);
    return good;
}

static void callback_check(const struct check *c, enum kind kind, const char *key, const char *v)
{
    struct err e;
    if (kind == KIND_SECRET && !is_secret_key(str_of(v)))
        wrong(c, key, "invalid value: %s: want the name of a Secret and its key, as in webhooks/signing", v);
    else if (kind != KIND_SECRET && (kind == KIND_TARGET ? callback_target_check(str_of(v), &e)
                                                         : callback_target_hosts(str_of(v), &e)) < 0)
        wrong(c, key, "%s", e.text);
}

#define KPA "kpa." AUTOSCALING_GROUP
#define HPA "hpa." AUTOSCALING_GROUP

#define RESERVED ".knative.dev"

/* A class of another domain belongs to somebody else, and so do its metric and algorithm. */
static void choice_check(const struct check *c, enum annotation a, const char *key, const char *v)
{
    const char *class = annotation_text(c->annotations, ANNOTATION_CLASS);
    bool kpa = !class || strcmp(class, KPA) == 0, hpa = class && strcmp(class, HPA) == 0;
    if (a == ANNOTATION_CLASS) {
        if (str_ends(str_of(v), STR(RESERVED)) && !kpa && !hpa)
            wrong(c, key, "invalid value: %s", v);
    } else if (kpa ? !is_choice(rows[a].choices, v) : hpa && a == ANNOTATION_METRIC && !*v) {
        wrong(c, key, "invalid value: %s", v);
    }
}

/* As Knative: 0 is no bound, and a cluster that has one does not allow that. */
static void limit_check(const struct check *c, double max)
{
    const char *key, *v = find(c->annotations, ANNOTATION_MAX_SCALE, &key);
    unsigned long long limit = c->limits->scale_limit;
    if (!v || limit == 0)
        return;
    if (max == 0)
        wrong(c, key, "max-scale=0 (unlimited), must be less than %llu", limit);
    else if (max > (double)limit)
        wrong(c, key, "expected 1 <= %.0f <= %llu", max, limit);
}

static void pairs_check(const struct check *c)
{
    const json_t *j = c->annotations;
    const char *key;
    double min = annotation_number(j, ANNOTATION_MIN_SCALE);
    double max = annotation_number(j, ANNOTATION_MAX_SCALE);
    double activation = annotation_number(j, ANNOTATION_ACTIVATION_SCALE);
    if (max > 0 && max < min) {
        wrong(c, rows[ANNOTATION_MAX_SCALE].key, "max-scale=%.0f is less than min-scale=%.0f", max, min);
        wrong(c, rows[ANNOTATION_MIN_SCALE].key, "max-scale=%.0f is less than min-scale=%.0f", max, min);
    }
    const struct limits *l = c->limits;
    limit_check(c, max);
    uint64_t first = l->instances_max * l->instances_first_percent / 100, most = l->instances_max - first;
    if (min > (double)most && find(j, ANNOTATION_MIN_SCALE, &key))
        wrong(c, key, "min-scale=%.0f can never be reached: this node has room for %llu instances, %llu of them for the "
                      "first ones of other services", min, (unsigned long long)l->instances_max,
              (unsigned long long)first);
    if (activation < 2)
        return;
    (void)find(j, ANNOTATION_ACTIVATION_SCALE, &key);
    if (min > activation)
        wrong(c, key, "min-scale=%.0f is greater than activation-scale=%.0f", min, activation);
    else if (max > 0 && max < activation)
        wrong(c, key, "max-scale=%.0f is less than activation-scale=%.0f", max, activation);
}

static struct str name_of(const char *key)
{
    const char *slash = strrchr(key, '/');
    return str_of(slash ? slash + 1 : key);
}

/* Names are compared without their groups: the wrong one of them is a slip too. */
static const char *near_clause(const char *key, char into[SUGGEST_TEXT])
{
    struct suggest near = suggest_begin(name_of(key));
    const char *whole = NULL;
    for (size_t i = 0; i < ANNOTATIONS; i++) {
        uint32_t before = near.distance;
        suggest_offer(&near, name_of(rows[i].key));
        if (near.distance < before)
            whole = rows[i].key;
    }
    if (whole)
        near.best = str_of(whole);
    return suggest_clause(&near, into);
}

/* Keys in a group that is ours or Knative's, and that nobody reads: most often a misspelling. */
static void unknown_check(const struct check *c)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)(uintptr_t)c->annotations, key, value) {
        char path[512];
        bool known = false;
        for (size_t i = 0; i < ANNOTATIONS; i++)
            known |= strcmp(key, rows[i].key) == 0 || (rows[i].alias && strcmp(key, rows[i].alias) == 0);
        if (known)
            continue;
        (void)snprintf(path, sizeof path, "%s.%s", c->at, key);
        bool ours = str_starts(str_of(key), STR("hob.dev/"));
        if (!ours && !str_starts(str_of(key), STR(AUTOSCALING_GROUP "/")))
            continue;
        struct refusals *list = ours ? c->refused : c->warnings;
        if (list->count >= REFUSALS_MAX) /* comparing costs, and it will not be shown */
            continue;
        const char *near = near_clause(key, (char[SUGGEST_TEXT]){ 0 });
        if (ours)
            refusals_add(c->refused, path, NULL, "invalid key name \"%s\"%s", key, near);
        else
            refusals_add(c->warnings, path, NULL, "no annotation has this name%s", near);
    }
}

void annotations_check(const json_t *annotations, const char *at, const struct limits *l,
                       struct refusals *refused, struct refusals *warnings)
{
    struct check c = { annotations, at, l, refused, warnings };
    uint32_t before = refused->count;
    for (enum annotation a = 0; a < ANNOTATIONS; a++) {
        const char *key, *v = find(annotations, a, &key);
        char path[512];
        if (!v)
            continue;
        switch (rows[a].kind) {
        case KIND_CHOICE: choice_check(&c, a, key, v); break;
        case KIND_COUNT: count_check(&c, a, key, v); break;
        case KIND_NUMBER: number_check(&c, a, key, v); break;
        case KIND_DURATION:
        case KIND_SECONDS: duration_check(&c, a, key, v); break;
        case KIND_FLAG: flag_check(&c, key, v); break;
        case KIND_METHODS: methods_check(&c, key, v); break;
        case KIND_TARGET:
        case KIND_HOSTS:
        case KIND_SECRET: callback_check(&c, rows[a].kind, key, v); break;
        case KIND_TEXT: break;
        }
        (void)snprintf(path, sizeof path, "%s.%s", at, key);
        if (a == ANNOTATION_CLASS && strcmp(v, KPA) != 0)
            refusals_add(warnings, path, NULL, "hob scales as " KPA " does, not as %s", v);
        else if (a == ANNOTATION_METRIC && !is_choice(rows[a].choices, v))
            refusals_add(warnings, path, NULL, "hob scales on concurrency, not on %s", v);
    }
    if (refused->count == before)
        pairs_check(&c);
    unknown_check(&c);
}

double annotation_number(const json_t *annotations, enum annotation a)
{
    const char *key, *v = find(annotations, a, &key);
    double n;
    ASSERT(rows[a].kind == KIND_COUNT || rows[a].kind == KIND_NUMBER);
    if (!v || (rows[a].kind == KIND_COUNT ? count_parse(v, &n) : number_parse(v, &n)) != PARSED_IS)
        return rows[a].initial;
    return n;
}

int64_t annotation_ns(const json_t *annotations, enum annotation a)
{
    const char *key, *v = find(annotations, a, &key);
    int64_t ns;
    struct err e;
    ASSERT(rows[a].kind == KIND_DURATION || rows[a].kind == KIND_SECONDS);
    return v && duration_parse(str_of(v), &ns, &e) == 0 ? ns : (int64_t)rows[a].initial;
}

const char *annotation_text(const json_t *annotations, enum annotation a)
{
    const char *key;
    return find(annotations, a, &key);
}

const char *annotation_key(enum annotation a) { return rows[a].key; }

/* ---- the reference page ---- */

static void value_document(FILE *out, const struct row *row, double value)
{
    char text[DURATION_TEXT];
    if (row->kind == KIND_DURATION || row->kind == KIND_SECONDS) {
        duration_format((int64_t)value, text);
        fprintf(out, "%s", text);
    } else {
        fprintf(out, "%.10g", value);
    }
}

void annotations_document(FILE *out)
{
    fprintf(out, "\n## Annotations of `spec.template.metadata`\n\n"
                 "| annotation | default | range | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < ANNOTATIONS; i++) {
        const struct row *row = &rows[i];
        fprintf(out, "| `%s` | ", row->key);
        if (row->initial != -1)
            value_document(out, row, row->initial);
        fprintf(out, " | ");
        if (row->kind == KIND_CHOICE) {
            fprintf(out, "%s", row->choices ? row->choices + 1 : "");
        } else if (row->kind < KIND_FLAG) {
            value_document(out, row, row->min);
            fprintf(out, "..");
            value_document(out, row, row->max);
        }
        fprintf(out, " | %s |\n", row->meaning);
    }
}
