#include "serving/service.h"

#include "codec/duration.h"
#include "codec/names.h"
#include "serving/annotations.h"
#include "serving/containers.h"
#include "serving/hints.h"
#include "serving/invoke.h"
#include "serving/manifest.h"
#include "serving/pod.h"
#include "serving/worker.h"

#include <stdio.h>
#include <stdlib.h>

#define TEMPLATE_ANNOTATIONS "spec.template.metadata.annotations"

/* ---- metadata: what an API server checks of every object ---- */

static void keys_check(const json_t *object, const char *path, bool labels, struct refusals *refused)
{
    const json_t *map = json_at(object, path);
    const char *key;
    const json_t *value;
    struct err e;
    json_object_foreach((json_t *)(uintptr_t)map, key, value) {
        if (!names_qualified(str_of(key), &e))
            refusals_add(refused, path, NULL, "%s: Invalid value: \"%s\": %s", path, key, e.text);
        else if (labels && !names_label_value(str_of(json_string_value(value)), &e))
            refusals_add(refused, path, NULL, "%s: Invalid value: \"%s\": %s", path,
                         json_string_value(value), e.text);
    }
}

static void annotations_size_check(const json_t *object, struct refusals *refused)
{
    enum { ANNOTATIONS_BYTES_MAX = 256 * 1024 }; /* Kubernetes' own number */
    size_t size = 0;
    const char *key;
    const json_t *value;
    json_object_foreach(json_at(object, "metadata.annotations"), key, value)
        size += strlen(key) + json_string_length(value);
    if (size > ANNOTATIONS_BYTES_MAX)
        refusals_add(refused, "metadata.annotations", NULL,
                     "metadata.annotations: Too long: may not be more than %d bytes",
                     (int)ANNOTATIONS_BYTES_MAX);
}

static void metadata_check(const json_t *object, struct refusals *refused)
{
    const char *name = json_text_at(object, "metadata.name");
    struct err e;
    if (!name)
        refusals_add(refused, "metadata.name", NULL,
                     "metadata.name: Required value: name or generateName is required");
    else if (!names_subdomain(str_of(name), &e))
        refusals_add(refused, "metadata.name", NULL, "metadata.name: Invalid value: \"%s\": %s", name,
                     e.text);
    keys_check(object, "metadata.labels", true, refused);
    keys_check(object, "metadata.annotations", false, refused);
    keys_check(object, "spec.template.metadata.labels", true, refused);
    keys_check(object, TEMPLATE_ANNOTATIONS, false, refused);
    annotations_size_check(object, refused);
}

/* ---- Knative's rules for the Service itself ---- */

static void own_metadata_check(const json_t *object, struct refusals *refused)
{
    const char *name = json_text_at(object, "metadata.name"), *key;
    const json_t *value;
    struct err e;
    if (!names_dns1035(str_of(name), &e))
        refusals_add(refused, "metadata.name", NULL, "not a DNS 1035 label: [%s]", e.text);
    json_object_foreach(json_at(object, "metadata.annotations"), key, value)
        if (str_starts(str_of(key), STR(AUTOSCALING_GROUP)))
            refusals_add(refused, "metadata.annotations",
                         "autoscaling annotations must be put under "
                         "\"spec.template.metadata.annotations\" to work",
                         "invalid key name \"%s\"", key);
    json_object_foreach(json_at(object, "metadata.labels"), key, value) {
        if (strcmp(key, SERVICE_VISIBILITY) == 0 && strcmp(json_string_value(value), "cluster-local") != 0)
            refusals_add(refused, "metadata.labels." SERVICE_VISIBILITY, NULL, "invalid value: %s",
                         json_string_value(value));
        else if (str_starts(str_of(key), STR(SERVING_GROUP "/")))
            refusals_add(refused, "metadata.labels", NULL, "invalid key name \"%s\"", key);
    }
}

/* The newer spelling goes first. */
static const char *rollout_text(const json_t *object, const char **ret_key)
{
    static const char *const keys[] = { SERVICE_ROLLOUT, SERVING_GROUP "/rolloutDuration" };
    const char *text = NULL;
    for (size_t i = 0; i < COUNT_OF(keys) && !text; i++) {
        text = json_text_key(object, "metadata.annotations", keys[i]);
        *ret_key = keys[i];
    }
    return text;
}

/* Knative's own sentences; in whole seconds because its steps are. */
static void rollout_check(const json_t *object, struct refusals *refused)
{
    enum { NS_PER_S = 1000000000 };
    const char *key, *text = rollout_text(object, &key);
    struct err e;
    int64_t ns;
    if (!text)
        return;
    struct refusal_path at = refusal_path("metadata.annotations.%s", key);
    if (duration_parse(str_of(text), &ns, &e) < 0)
        refusals_add(refused, at.text, e.text, "invalid value: %s", text);
    else if (ns % NS_PER_S != 0)
        refusals_add(refused, at.text, NULL, "rollout-duration=%s is not at second precision", text);
    else if (ns < 0)
        refusals_add(refused, at.text, NULL, "rollout-duration=%s must be positive", text);
}

void service_ignored_warn(const json_t *in, struct refusals *warnings)
{
    if (json_array_size(json_at(in, "metadata.finalizers")) > 0)
        refusals_add(warnings, "metadata.finalizers", NULL, "hob runs no finalizers: they are left out, and hold up no deletion");
}

void service_metadata_check(const json_t *object, struct refusals *refused)
{
    own_metadata_check(object, refused);
    rollout_check(object, refused);
}

static void revision_name_check(const json_t *object, struct refusals *refused)
{
    const char *own = json_text_at(object, "metadata.name");
    const char *name = json_text_at(object, "spec.template.metadata.name");
    struct err e;
    AUTO_FREE char *prefix = xasprintf("%s-", own);
    if (!name)
        return;
    if (!names_dns1035(str_of(name), &e))
        refusals_add(refused, "spec.template.metadata.name", NULL,
                     "invalid value: not a DNS 1035 label: [%s]", e.text);
    else if (!str_starts(str_of(name), str_of(prefix)))
        refusals_add(refused, "spec.template.metadata.name", NULL,
                     "invalid value: \"%s\" must have prefix \"%s\"", name, prefix);
}

/* ---- traffic ---- */

void service_traffic_default(json_t *spec)
{
    json_t *traffic = json_object_get(spec, "traffic");
    for (size_t i = 0; i < json_array_size(traffic); i++) {
        json_t *target = json_array_get(traffic, i);
        if (!json_object_get(target, "latestRevision"))
            (void)json_object_set_new(target, "latestRevision",
                                      json_boolean(!json_object_get(target, "revisionName")));
    }
}

/* name: of the Service or Route, whose host has the tag in front. */
static void tag_check(const json_t *traffic, size_t index, const char *name, struct refusals *refused)
{
    enum { LABEL_MAX = 63 };
    const char *tag = json_text_at(json_array_get(traffic, index), "tag");
    struct err e;
    if (!tag)
        return;
    if (!names_dns1035(str_of(tag), &e))
        refusals_add(refused, REFUSAL_AT("spec.traffic[%zu].tag", index), NULL,
                     "invalid value: not a DNS 1035 label: [%s]", e.text);
    else if (name && strlen(tag) + 1 + strlen(name) > LABEL_MAX)
        refusals_add(refused, REFUSAL_AT("spec.traffic[%zu].tag", index), NULL,
                     "invalid value: its host would begin with %s-%s, and no part of a host name is longer than %d bytes",
                     tag, name, LABEL_MAX);
    for (size_t i = 0; i < index; i++) {
        const char *other = json_text_at(json_array_get(traffic, i), "tag");
        if (!other || strcmp(tag, other) != 0)
            continue;
        refusals_add(refused, REFUSAL_AT("spec.traffic[%zu].tag", index), NULL,
                     "Multiple definitions for \"%s\"", tag);
        refusals_add(refused, REFUSAL_AT("spec.traffic[%zu].tag", i), NULL,
                     "Multiple definitions for \"%s\"", tag);
        return;
    }
}

/* A Service's means its own Configuration; another has to say whose. */
static void target_name_check(const json_t *target, size_t index, bool of_service, struct refusals *refused)
{
    const char *revision = json_text_at(target, "revisionName"), *name = json_text_at(target, "configurationName");
    struct err e;
    if (of_service && name)
        refusals_add(refused, REFUSAL_AT("spec.traffic[%zu].configurationName", index), NULL,
                     "must not set the field(s)");
    else if (!of_service && !name == !revision)
        for (int k = 0; k < 2; k++)
            refusals_add(refused,
                         REFUSAL_AT("spec.traffic[%zu].%s", index, k ? "revisionName" : "configurationName"), NULL,
                         "expected exactly one, got %s", name ? "both" : "neither");
    else if (revision && !names_qualified(str_of(revision), &e))
        refusals_add(refused, REFUSAL_AT("spec.traffic[%zu].revisionName", index), e.text,
                     "invalid key name \"%s\"", revision);
    else if (name && !names_qualified(str_of(name), &e))
        refusals_add(refused, REFUSAL_AT("spec.traffic[%zu].configurationName", index), e.text,
                     "invalid key name \"%s\"", name);
}

static void target_check(const json_t *traffic, size_t index, const char *name, bool of_service, struct refusals *refused)
{
    const json_t *target = json_array_get(traffic, index);
    const json_t *latest = json_object_get(target, "latestRevision");
    const char *revision = json_text_at(target, "revisionName");
    if (latest && json_is_true(latest) == (revision != NULL))
        refusals_add(refused, REFUSAL_AT("spec.traffic[%zu].latestRevision", index), NULL,
                     "may not set revisionName \"%s\" when latestRevision is %s",
                     revision ? revision : "", json_is_true(latest) ? "true" : "false");
    target_name_check(target, index, of_service, refused);
    if (json_object_get(target, "url"))
        refusals_add(refused, REFUSAL_AT("spec.traffic[%zu].url", index), NULL,
                     "must not set the field(s)");
    tag_check(traffic, index, name, refused);
}

void service_traffic_check(const json_t *object, bool of_service, const struct limits *l, struct refusals *refused)
{
    const json_t *traffic = json_at(object, "spec.traffic");
    size_t count = json_array_size(traffic);
    int64_t sum = 0;
    if (count > l->traffic_targets_max) {
        refusals_add(refused, "spec.traffic", NULL, "expected 0 <= %zu <= %llu", count,
                     (unsigned long long)l->traffic_targets_max);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        int64_t percent = json_int_at(json_array_get(traffic, i), "percent", 0);
        target_check(traffic, i, json_text_at(object, "metadata.name"), of_service, refused);
        if (__builtin_add_overflow(sum, percent, &sum))
            sum = -1;
    }
    if (sum != 100)
        refusals_add(refused, "spec.traffic", NULL, "Traffic targets sum to %lld, want 100",
                     (long long)sum);
}

/* ---- changes ---- */

/* Where two trees differ, a line each; stops where `into` is full. */
static void diff(const json_t *old, const json_t *new, const char *path, struct buf *into)
{
    const char *key;
    const json_t *value;
    if (json_equal(old, new))
        return;
    if (json_is_object(old) && json_is_object(new)) {
        json_object_foreach((json_t *)(uintptr_t)old, key, value)
            diff(value, json_object_get(new, key), REFUSAL_AT("%s.%s", path, key), into);
        json_object_foreach((json_t *)(uintptr_t)new, key, value)
            if (!json_object_get(old, key))
                diff(NULL, value, REFUSAL_AT("%s.%s", path, key), into);
        return;
    }
    if (json_is_array(old) && json_array_size(old) == json_array_size(new)) {
        for (size_t i = 0; i < json_array_size(old); i++)
            diff(json_array_get(old, i), json_array_get(new, i), REFUSAL_AT("%s[%zu]", path, i), into);
        return;
    }
    buf_printf(into, "%s%s:", into->size ? "\n" : "", path);
    if (old) {
        buf_text(into, "\n\t-: ");
        json_write(old, into);
    }
    if (new) {
        buf_text(into, "\n\t+: ");
        json_write(new, into);
    }
}

static void change_check(const json_t *before, const json_t *object, struct refusals *refused)
{
    const char *old_name = json_text_at(before, "spec.template.metadata.name");
    const char *new_name = json_text_at(object, "spec.template.metadata.name");
    const json_t *old = json_at(before, "spec.template"), *new = json_at(object, "spec.template");
    static const char *const users[] = { ANNOTATION_CREATOR, ANNOTATION_MODIFIER };
    bool same_spec = json_equal(json_at(before, "spec"), json_at(object, "spec"));
    for (size_t i = 0; i < COUNT_OF(users); i++) {
        const char *was = json_text_key(before, "metadata.annotations", users[i]);
        const char *is = json_text_key(object, "metadata.annotations", users[i]);
        if (was && is && strcmp(was, is) != 0 && (i == 0 || same_spec))
            refusals_add(refused, REFUSAL_AT("metadata.annotations.%s", users[i]), NULL,
                         "annotation value is immutable");
    }
    if (old_name && new_name && strcmp(old_name, new_name) == 0 && !service_template_same(old, new)) {
        enum { DIFF_BYTES_MAX = 2048 };
        struct buf text;
        buf_init(&text, DIFF_BYTES_MAX);
        diff(old, new, "template", &text);
        AUTO_FREE char *details = buf_take_text(&text);
        refusals_add(refused, "spec.template.metadata.name", details,
                     "Saw the following changes without a name change (-old +new)");
    }
}

int64_t service_rollout_ms(const json_t *object)
{
    enum { NS_PER_MS = 1000000 };
    const char *key, *text = rollout_text(object, &key);
    int64_t ns;
    struct err ignored; /* refused when it came in */
    return text && duration_parse(str_of(text), &ns, &ignored) == 0 ? ns / NS_PER_MS : 0;
}

bool service_cluster_local(const json_t *object)
{
    const char *label = json_text_key(object, "metadata.labels", SERVICE_VISIBILITY);
    return label && strcmp(label, "cluster-local") == 0;
}

bool service_template_same(const json_t *a, const json_t *b) { return json_equal(a, b); }

/* ---- all of it ---- */

static json_t *child(json_t *object, const char *key)
{
    json_t *at = json_object_get(object, key);
    if (at)
        return at;
    (void)json_object_set_new(object, key, json_object());
    return json_object_get(object, key);
}

/* Its fields are those of a Service but for the traffic, which somebody else decides. */
static void configuration_strip(json_t *object, struct manifest_findings *f)
{
    json_t *spec = json_object_get(object, "spec");
    if (!json_object_get(spec, "traffic"))
        return;
    refusals_add(&f->unknown, "spec.traffic", NULL, "unknown field \"spec.traffic\"");
    (void)json_object_del(spec, "traffic");
}

/* What the cluster says for those who do not; the table's own numbers are for a cluster that does not, either. */
static void cluster_default(json_t *spec, const struct limits *l)
{
    enum { TABLE_TIMEOUT_S = 300 };
    json_t *idle = json_object_get(spec, "idleTimeoutSeconds");
    if (l->request_timeout_s != TABLE_TIMEOUT_S && json_int_at(spec, "timeoutSeconds", 0) == 0)
        (void)json_object_set_new(spec, "timeoutSeconds", json_integer((json_int_t)l->request_timeout_s));
    if (!idle && l->idle_timeout_s > 0)
        (void)json_object_set_new(spec, "idleTimeoutSeconds", json_integer((json_int_t)l->idle_timeout_s));
    if (l->container_concurrency > 0 && !json_object_get(spec, "containerConcurrency"))
        (void)json_object_set_new(spec, "containerConcurrency", json_integer((json_int_t)l->container_concurrency));
}

static void concurrency_check(const json_t *object, const struct limits *l, struct refusals *refused)
{
    if (!l->container_concurrency_zero && json_int_at(object, POD_PATH ".containerConcurrency", 0) == 0)
        refusals_add(refused, POD_PATH ".containerConcurrency", NULL, "expected 1 <= 0 <= %llu",
                     (unsigned long long)l->container_concurrency_max);
}

static void complete(json_t *object, const struct service_terms *terms)
{
    json_t *metadata = child(object, "metadata");
    json_t *spec = child(object, "spec");
    json_t *template = child(spec, "template");
    const char *start = json_text_at(metadata, "generateName");
    if (start && !json_text_at(metadata, "name") && terms->name_end) {
        AUTO_FREE char *name = xasprintf("%.58s%.5s", start, terms->name_end);
        (void)json_object_set_new(metadata, "name", json_string(name));
    }
    (void)json_object_set_new(metadata, "namespace", json_string(terms->ns));
    (void)child(template, "metadata");
    pod_default(child(template, "spec"),
                !worker_ready_on_poll(json_at(template, "metadata.annotations"), child(template, "spec")));
    containers_resources_default(child(template, "spec"), terms->limits);
    if (!terms->configuration && json_array_size(json_object_get(spec, "traffic")) == 0)
        (void)json_object_set_new(spec, "traffic",
                                  json_pack("[{s:b,s:i}]", "latestRevision", 1, "percent", 100));
    service_traffic_default(spec);
}

static void move(struct refusals *from, struct refusals *to)
{
    refusals_done(to);
    *to = *from;
    *from = (struct refusals){ 0 };
}

static enum service_refusal refuse(struct service_draft *d, enum service_refusal which,
                                   struct refusals *why)
{
    move(why, &d->refused);
    json_decref(TAKE(d->object));
    return which;
}

static enum service_refusal prepare(const json_t *before, const struct service_terms *terms,
                                    struct manifest_findings *f, struct service_draft *d)
{
    json_t *object = d->object;
    struct refusals metadata = { 0 };
    /* table defaults need their parents there, so those come first, as empty objects */
    if (json_is_object(object)) {
        json_t *spec = child(object, "spec");
        json_t *template = json_is_object(spec) ? child(spec, "template") : NULL;
        json_t *pod = json_is_object(template) ? child(template, "spec") : NULL;
        json_t *timeout = json_object_get(pod, "timeoutSeconds");
        if (json_is_object(pod) && (!timeout || json_is_integer(timeout) || json_is_null(timeout)))
            cluster_default(pod, terms->limits);
    }
    if (terms->configuration)
        configuration_strip(object, f);
    manifest_apply(object, terms->limits, f);
    if (refusals_any(&f->unknown) && terms->unknown == SERVICE_UNKNOWN_REFUSE)
        return refuse(d, SERVICE_UNKNOWN_FIELDS, &f->unknown);
    if (refusals_any(&f->types))
        return refuse(d, SERVICE_WRONG_TYPES, &f->types);
    complete(object, terms);
    metadata_check(object, &metadata);
    if (refusals_any(&metadata))
        return refuse(d, SERVICE_WRONG_METADATA, &metadata);
    service_metadata_check(object, &f->refused);
    revision_name_check(object, &f->refused);
    concurrency_check(object, terms->limits, &f->refused);
    pod_check(json_at(object, POD_PATH), terms->limits, &f->refused, &f->warnings);
    annotations_check(json_at(object, TEMPLATE_ANNOTATIONS), TEMPLATE_ANNOTATIONS, terms->limits,
                      &f->refused, &f->warnings);
    worker_check(json_at(object, TEMPLATE_ANNOTATIONS), json_at(object, POD_PATH), "spec.template", &f->refused);
    invoke_check(json_at(object, TEMPLATE_ANNOTATIONS), json_at(object, POD_PATH), "spec.template", &f->refused);
    if (!terms->configuration)
        service_traffic_check(object, true, terms->limits, &f->refused);
    if (before)
        change_check(before, object, &f->refused);
    if (refusals_any(&f->refused))
        return refuse(d, SERVICE_NOT_VALID, &f->refused);
    hints_check(object, terms->limits, &f->warnings);
    return SERVICE_ACCEPTED;
}

void service_prepare(const json_t *in, const json_t *before, const struct service_terms *terms,
                     struct service_draft *ret)
{
    struct manifest_findings f = { 0 };
    struct service_draft d = { .object = json_deep_copy(in) };
    d.refusal = prepare(before, terms, &f, &d);
    move(&f.warnings, &d.warnings);
    if (d.refusal == SERVICE_ACCEPTED)
        service_ignored_warn(in, &d.warnings);
    if (terms->unknown == SERVICE_UNKNOWN_WARN)
        for (uint32_t i = 0; i < f.unknown.count; i++)
            refusals_add(&d.warnings, "", NULL, "%s", f.unknown.rows[i].message);
    manifest_findings_done(&f);
    ASSERT((d.object != NULL) == (d.refusal == SERVICE_ACCEPTED));
    *ret = d;
}

void service_draft_done(struct service_draft *d)
{
    json_decref(d->object);
    refusals_done(&d->refused);
    refusals_done(&d->warnings);
    *d = (struct service_draft){ 0 };
}

void service_document(FILE *out)
{
    manifest_document(out);
    annotations_document(out);
}
