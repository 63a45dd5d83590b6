#include "serving/registry_kinds.h"

#include "codec/base64.h"
#include "codec/names.h"
#include "serving/cluster.h"
#include "serving/periodic.h"
#include "serving/registry_knative.h"

#include <stdio.h>
#include <stdlib.h>

// clang-format off
#define TEXT_ROW(path_, meaning_)   { path_, MANIFEST_TEXT, MANIFEST_MAY, .meaning = meaning_ }
#define ANY_ROW(path_, meaning_)    { path_, MANIFEST_ANY, MANIFEST_MAY, .meaning = meaning_ }
#define SERVER_ROW(path_)           { path_, MANIFEST_ANY, MANIFEST_SERVER, .meaning = "written by hob" }
#define METADATA_ROWS \
    { "metadata", MANIFEST_OBJECT, MANIFEST_MAY, .meaning = "name, labels and annotations" }, \
    { "metadata.annotations", MANIFEST_TEXT_MAP, MANIFEST_MAY, .meaning = "anything" }, \
    SERVER_ROW("metadata.creationTimestamp"), \
    SERVER_ROW("metadata.deletionGracePeriodSeconds"), \
    SERVER_ROW("metadata.deletionTimestamp"), \
    SERVER_ROW("metadata.finalizers"), \
    TEXT_ROW("metadata.generateName", "a prefix; hob appends five characters"), \
    SERVER_ROW("metadata.generation"), \
    { "metadata.labels", MANIFEST_TEXT_MAP, MANIFEST_MAY, .meaning = "found by labelSelector" }, \
    SERVER_ROW("metadata.managedFields"), \
    TEXT_ROW("metadata.name", "unique in its namespace"), \
    TEXT_ROW("metadata.namespace", "must be that of the address it is sent to"), \
    SERVER_ROW("metadata.ownerReferences"), \
    TEXT_ROW("metadata.resourceVersion", "on replace: the version that is replaced, else 409"), \
    SERVER_ROW("metadata.selfLink"), \
    SERVER_ROW("metadata.uid")

static const struct manifest_row namespace_rows[] = {
    TEXT_ROW("apiVersion", "v1"), TEXT_ROW("kind", "Namespace"), METADATA_ROWS,
    { "spec", MANIFEST_OBJECT, MANIFEST_MAY, .meaning = "nothing to set" },
    { "spec.finalizers", MANIFEST_TEXTS, MANIFEST_MAY, .meaning = "ignored" },
    SERVER_ROW("status"),
};
static const struct manifest_row configmap_rows[] = {
    TEXT_ROW("apiVersion", "v1"),
    { "binaryData", MANIFEST_TEXT_MAP, MANIFEST_MAY, .meaning = "values in base64" },
    { "data", MANIFEST_TEXT_MAP, MANIFEST_MAY, .meaning = "values as text" },
    { "immutable", MANIFEST_BOOL, MANIFEST_MAY, .meaning = "once true, data and this stay as they are" },
    TEXT_ROW("kind", "ConfigMap"), METADATA_ROWS,
};
static const struct manifest_row secret_rows[] = {
    TEXT_ROW("apiVersion", "v1"),
    { "data", MANIFEST_TEXT_MAP, MANIFEST_MAY, .meaning = "values in base64" },
    { "immutable", MANIFEST_BOOL, MANIFEST_MAY, .meaning = "once true, data and this stay as they are" },
    TEXT_ROW("kind", "Secret"), METADATA_ROWS,
    { "stringData", MANIFEST_TEXT_MAP, MANIFEST_MAY, .meaning = "values as text; written into data, never read back" },
    TEXT_ROW("type", "Opaque, or one that Kubernetes knows, whose keys must be there"),
};
static const struct manifest_row event_rows[] = {
    TEXT_ROW("action", "what was done"), TEXT_ROW("apiVersion", "v1"),
    ANY_ROW("count", "how often"), ANY_ROW("eventTime", "when it was first seen"),
    TEXT_ROW("firstTimestamp", "when it was first seen"),
    { "involvedObject", MANIFEST_OBJECT, MANIFEST_MAY, .meaning = "what it is about" },
    TEXT_ROW("involvedObject.apiVersion", "of the object"), TEXT_ROW("involvedObject.fieldPath", "of the object"),
    TEXT_ROW("involvedObject.kind", "of the object"), TEXT_ROW("involvedObject.name", "of the object"),
    TEXT_ROW("involvedObject.namespace", "of the object"), TEXT_ROW("involvedObject.resourceVersion", "of the object"),
    TEXT_ROW("involvedObject.uid", "of the object"),
    TEXT_ROW("kind", "Event"), TEXT_ROW("lastTimestamp", "when it was last seen"),
    TEXT_ROW("message", "for people"), METADATA_ROWS, TEXT_ROW("reason", "for programs"),
    ANY_ROW("related", "another object"), TEXT_ROW("reportingComponent", "who says so"),
    TEXT_ROW("reportingInstance", "who says so"), ANY_ROW("series", "as in Kubernetes"),
    { "source", MANIFEST_OBJECT, MANIFEST_MAY, .meaning = "who says so" },
    TEXT_ROW("source.component", "who says so"), TEXT_ROW("source.host", "where"),
    TEXT_ROW("type", "Normal or Warning"),
};
static const struct manifest_row domainmapping_rows[] = {
    TEXT_ROW("apiVersion", "serving.knative.dev/v1beta1"), TEXT_ROW("kind", "DomainMapping"), METADATA_ROWS,
    { "spec", MANIFEST_OBJECT, MANIFEST_MAY, .meaning = "what the name leads to" },
    { "spec.ref", MANIFEST_OBJECT, MANIFEST_MAY, .meaning = "a Service or Route of the same namespace" },
    TEXT_ROW("spec.ref.apiVersion", "serving.knative.dev/v1"), TEXT_ROW("spec.ref.group", "instead of apiVersion"),
    TEXT_ROW("spec.ref.kind", "Service or Route"), TEXT_ROW("spec.ref.name", "of the Service or Route"),
    TEXT_ROW("spec.ref.namespace", "that of the DomainMapping"),
    { "spec.tls", MANIFEST_OBJECT, MANIFEST_MAY, .meaning = "TLS is not terminated here" },
    TEXT_ROW("spec.tls.secretName", "of a certificate"),
    SERVER_ROW("status"),
};
static const struct manifest_row domainclaim_rows[] = {
    TEXT_ROW("apiVersion", DOMAINCLAIM_API_VERSION), TEXT_ROW("kind", "ClusterDomainClaim"), METADATA_ROWS,
    { "spec", MANIFEST_OBJECT, MANIFEST_MAY, .meaning = "who may use the domain that is its name" },
    TEXT_ROW("spec.namespace", "whose DomainMapping may"),
    SERVER_ROW("status"),
};
static const struct manifest_row route_rows[] = {
    TEXT_ROW("apiVersion", "serving.knative.dev/v1"), TEXT_ROW("kind", "Route"), METADATA_ROWS,
    { "spec", MANIFEST_OBJECT, MANIFEST_MAY, .meaning = "who gets the requests" },
    { "spec.traffic", MANIFEST_LIST, MANIFEST_MAY, .meaning = "percents that sum to 100" },
    { "spec.traffic[]", MANIFEST_OBJECT, MANIFEST_MAY },
    TEXT_ROW("spec.traffic[].configurationName", "its newest ready Revision"),
    { "spec.traffic[].latestRevision", MANIFEST_BOOL, MANIFEST_MAY, .meaning = "true with a configurationName" },
    { "spec.traffic[].percent", MANIFEST_INT, MANIFEST_MAY, .min = 0, .max = 100 },
    TEXT_ROW("spec.traffic[].revisionName", "a Revision of the namespace"),
    TEXT_ROW("spec.traffic[].tag", "a name of its own: tag-route.namespace"),
    ANY_ROW("spec.traffic[].url", "not to be set"),
    SERVER_ROW("status"),
};
static const struct manifest_row schedule_rows[] = {
    TEXT_ROW("apiVersion", PERIODIC_API_VERSION), TEXT_ROW("kind", "Schedule"), METADATA_ROWS,
    { "spec", MANIFEST_OBJECT, MANIFEST_MAY, .meaning = "when a Service is called, and with what" },
    TEXT_ROW("spec.body", "of each request; its Content-Type is application/json unless headers say otherwise"),
    TEXT_ROW("spec.catchUpWindow", "what came longer ago while hob was away is missed, and counted (1h)"),
    TEXT_ROW("spec.deadline", "of each invocation, from its acceptance (24h)"),
    { "spec.headers", MANIFEST_TEXT_MAP, MANIFEST_MAY, .meaning = "of each request" },
    TEXT_ROW("spec.method", "of each request (POST)"),
    TEXT_ROW("spec.overlap", "when the one before still runs: Skip (as without it), BufferOne, AllowAll, CancelOther"),
    TEXT_ROW("spec.path", "of each request, with its query (/)"),
    TEXT_ROW("spec.schedule", "a cron line, @hourly and its like, or \"@every 10m\""),
    TEXT_ROW("spec.service", "a Service of the same namespace"),
    { "spec.suspend", MANIFEST_BOOL, MANIFEST_MAY, .meaning = "true: what comes meanwhile is passed over" },
    TEXT_ROW("spec.timeZone", "as Europe/Paris (UTC)"),
    SERVER_ROW("status"),
};
#define TABLE(rows) { rows, COUNT_OF(rows) }
const struct registry_kind_row registry_kind_rows[REGISTRY_KINDS] = {
    [REGISTRY_NAMESPACES] = { "Namespace", "v1", "namespaces", false, false, TABLE(namespace_rows) },
    [REGISTRY_CONFIGMAPS] = { "ConfigMap", "v1", "configmaps", true, false, TABLE(configmap_rows) },
    [REGISTRY_SECRETS] = { "Secret", "v1", "secrets", true, false, TABLE(secret_rows) },
    [REGISTRY_EVENTS] = { "Event", "v1", "events", true, false, TABLE(event_rows) },
    [REGISTRY_DOMAINMAPPINGS] = { "DomainMapping", "serving.knative.dev/v1beta1", "domainmappings", true, true,
                                  TABLE(domainmapping_rows) },
    [REGISTRY_ROUTES] = { "Route", SERVING_API_VERSION, "routes", true, true, TABLE(route_rows), "own-routes" },
    [REGISTRY_DOMAINCLAIMS] = { "ClusterDomainClaim", DOMAINCLAIM_API_VERSION, "clusterdomainclaims", false, true,
                                TABLE(domainclaim_rows) },
    [REGISTRY_SCHEDULES] = { "Schedule", PERIODIC_API_VERSION, "schedules", true, true, TABLE(schedule_rows) },
};
// clang-format on

enum { DATA_BYTES_MAX = 1024 * 1024 }; /* Kubernetes' own number */

static void add(struct refusals *into, const char *path, const char *what)
{
    refusals_add(into, path, NULL, "%s: %s", path, what);
}

static void keys_check(const json_t *object, const char *path, bool labels, struct refusals *refused)
{
    const char *key;
    const json_t *value;
    struct err e;
    json_object_foreach(json_at(object, path), key, value) {
        if (!names_qualified(str_of(key), &e))
            refusals_add(refused, path, NULL, "%s: Invalid value: \"%s\": %s", path, key, e.text);
        else if (labels && !names_label_value(str_of(json_string_value(value)), &e))
            refusals_add(refused, path, NULL, "%s: Invalid value: \"%s\": %s", path, json_string_value(value),
                         e.text);
    }
}

static void metadata_check(enum registry_kind kind, const json_t *object, struct refusals *refused)
{
    const char *name = json_text_at(object, "metadata.name");
    struct err e;
    if (!name)
        add(refused, "metadata.name", "Required value: name or generateName is required");
    else if (!(kind == REGISTRY_NAMESPACES ? names_label : names_subdomain)(str_of(name), &e))
        refusals_add(refused, "metadata.name", NULL, "metadata.name: Invalid value: \"%s\": %s", name, e.text);
    keys_check(object, "metadata.labels", true, refused);
    keys_check(object, "metadata.annotations", false, refused);
}

/* ---- data ---- */

static const char base64_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Where it stops being base64, or SIZE_MAX: it is all base64. Line ends are let through, as in Go. */
static size_t base64_wrong_at(const char *text, size_t *ret_bytes)
{
    size_t letters = 0, pads = 0, i;
    for (i = 0; text[i]; i++) {
        if (text[i] == '\n' || text[i] == '\r')
            continue;
        if (text[i] == '=')
            pads++;
        else if (pads > 0 || !strchr(base64_letters, text[i]))
            return i;
        letters++;
    }
    if (letters % 4 != 0 || pads > 2)
        return i;
    *ret_bytes = letters / 4 * 3 - pads;
    return SIZE_MAX;
}

static json_t *base64_of(struct str bytes)
{
    struct buf b;
    buf_init(&b, SIZE_MAX / 4);
    base64_write(bytes, &b);
    AUTO_FREE char *all = buf_take_text(&b);
    return json_string(all);
}

static bool key_fits(const char *key)
{
    size_t size = strlen(key);
    return size > 0 && size <= 253 && strcmp(key, ".") != 0 && strncmp(key, "..", 2) != 0 &&
           strspn(key, "-._abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == size;
}

static size_t data_check(const json_t *object, const char *field, bool base64, struct refusals *refused)
{
    const char *key;
    const json_t *value;
    size_t total = 0;
    json_object_foreach(json_object_get(object, field), key, value) {
        size_t bytes = json_string_length(value);
        size_t wrong = base64 ? base64_wrong_at(json_string_value(value), &bytes) : SIZE_MAX;
        if (!key_fits(key))
            refusals_add(refused, REFUSAL_AT("%s[%.200s]", field, key), NULL,
                         "%s[%s]: Invalid value: \"%s\": a valid config key must consist of alphanumeric "
                         "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex "
                         "used for validation is '[-._a-zA-Z0-9]+')",
                         field, key, key);
        if (wrong != SIZE_MAX)
            refusals_add(refused, REFUSAL_AT("%s[%.200s]", field, key), NULL,
                         "%s[%s]: Invalid value: illegal base64 data at input byte %zu", field, key, wrong);
        total += bytes;
    }
    return total;
}

static void size_check(size_t total, struct refusals *refused)
{
    if (total > DATA_BYTES_MAX)
        add(refused, "data", "Too long: may not be more than 1048576 bytes");
}

static void immutable_check(const json_t *before, const json_t *object, const char *const *fields, size_t count,
                            struct refusals *refused)
{
    if (!json_is_true(json_object_get(before, "immutable")))
        return;
    if (!json_is_true(json_object_get(object, "immutable")))
        add(refused, "immutable", "Forbidden: field is immutable when `immutable` is set");
    for (size_t i = 0; i < count; i++) {
        const json_t *old = json_object_get(before, fields[i]), *new = json_object_get(object, fields[i]);
        if (json_object_size(old) + json_object_size(new) > 0 && !json_equal(old, new))
            add(refused, fields[i], "Forbidden: field is immutable when `immutable` is set");
    }
}

static void configmap_check(const json_t *object, const json_t *before, struct refusals *refused)
{
    static const char *const fields[] = { "data", "binaryData" };
    const char *key;
    const json_t *value, *binary = json_object_get(object, "binaryData");
    size_t total = data_check(object, "data", false, refused) + data_check(object, "binaryData", true, refused);
    json_object_foreach(json_object_get(object, "data"), key, value)
        if (json_object_get(binary, key))
            refusals_add(refused, REFUSAL_AT("data[%.200s]", key), NULL,
                         "data[%s]: Invalid value: \"%s\": duplicate of key present in binaryData", key, key);
    size_check(total, refused);
    immutable_check(before, object, fields, COUNT_OF(fields), refused);
}

static void secret_complete(json_t *object)
{
    const char *key;
    const json_t *value;
    json_t *text = json_object_get(object, "stringData"), *data = json_object_get(object, "data");
    if (!data && json_object_size(text) > 0) {
        (void)json_object_set_new(object, "data", json_object());
        data = json_object_get(object, "data");
    }
    json_object_foreach(text, key, value)
        (void)json_object_set_new(data, key, base64_of((struct str){ json_string_value(value), json_string_length(value) }));
    (void)json_object_del(object, "stringData");
    if (!json_object_get(object, "type"))
        (void)json_object_set_new(object, "type", json_string("Opaque"));
}

static void secret_check(const json_t *object, const json_t *before, struct refusals *refused)
{
    static const char *const fields[] = { "data" };
    static const struct {
        const char *type, *key;
    } wanted[] = {
        { "kubernetes.io/tls", "tls.crt" },
        { "kubernetes.io/tls", "tls.key" },
        { "kubernetes.io/ssh-auth", "ssh-privatekey" },
        { "kubernetes.io/dockerconfigjson", ".dockerconfigjson" },
        { "kubernetes.io/dockercfg", ".dockercfg" },
    };
    const char *type = json_text_at(object, "type"), *was = json_text_at(before, "type");
    size_check(data_check(object, "data", true, refused), refused);
    for (size_t i = 0; i < COUNT_OF(wanted); i++)
        if (strcmp(type, wanted[i].type) == 0 && !json_object_get(json_object_get(object, "data"), wanted[i].key))
            refusals_add(refused, REFUSAL_AT("data[%s]", wanted[i].key), NULL, "data[%s]: Required value",
                         wanted[i].key);
    if (was && strcmp(was, type) != 0)
        refusals_add(refused, "type", NULL, "type: Invalid value: \"%s\": field is immutable", type);
    immutable_check(before, object, fields, COUNT_OF(fields), refused);
}

/* ---- the others ---- */

static void namespace_complete(json_t *object, const json_t *before)
{
    json_t *metadata = json_object_get(object, "metadata"), *labels = json_object_get(metadata, "labels");
    const char *phase = json_text_at(before, "status.phase");
    if (!labels) {
        labels = json_object();
        (void)json_object_set_new(metadata, "labels", labels);
    }
    (void)json_object_set(labels, "kubernetes.io/metadata.name", json_object_get(metadata, "name"));
    (void)json_object_set_new(object, "status", json_pack("{s:s}", "phase", phase ? phase : "Active"));
    (void)json_object_set_new(object, "spec", json_pack("{s:[s]}", "finalizers", "kubernetes"));
}

static void event_check(const json_t *object, struct refusals *refused)
{
    const char *about = json_text_at(object, "involvedObject.namespace");
    const char *ns = json_text_at(object, "metadata.namespace");
    const char *type = json_text_at(object, "type");
    if (!json_object_get(object, "involvedObject"))
        add(refused, "involvedObject", "Required value");
    if (about && ns && strcmp(about, ns) != 0)
        add(refused, "involvedObject.namespace", "Invalid value: does not match event.namespace");
    if (type && strcmp(type, "Normal") != 0 && strcmp(type, "Warning") != 0)
        add(refused, "type", "Unsupported value: supported values: \"Normal\", \"Warning\"");
}

static void complete(enum registry_kind kind, json_t *object, const json_t *before, const struct service_terms *t)
{
    json_t *metadata = json_object_get(object, "metadata");
    const struct registry_kind_row *row = &registry_kind_rows[kind];
    if (!metadata) {
        metadata = json_object();
        (void)json_object_set_new(object, "metadata", metadata);
    }
    const char *start = json_text_at(metadata, "generateName");
    if (start && !json_text_at(metadata, "name") && t->name_end) {
        AUTO_FREE char *name = xasprintf("%.240s%.5s", start, t->name_end);
        (void)json_object_set_new(metadata, "name", json_string(name));
    }
    (void)json_object_set_new(object, "apiVersion", json_string(row->api_version));
    (void)json_object_set_new(object, "kind", json_string(row->kind));
    if (row->namespaced)
        (void)json_object_set_new(metadata, "namespace", json_string(t->ns));
    else
        (void)json_object_del(metadata, "namespace");
    if (kind == REGISTRY_SECRETS)
        secret_complete(object);
    else if (kind == REGISTRY_NAMESPACES)
        namespace_complete(object, before);
    else if (kind == REGISTRY_DOMAINMAPPINGS)
        registry_domainmapping_complete(object, before);
    else if (kind == REGISTRY_ROUTES)
        registry_route_complete(object, before);
    else if (kind == REGISTRY_SCHEDULES && json_at(before, "status"))
        (void)json_object_set(object, "status", json_at(before, "status")); /* what was last found out */
}

static void check(enum registry_kind kind, const json_t *object, const json_t *before, struct refusals *refused)
{
    switch (kind) {
    case REGISTRY_CONFIGMAPS: configmap_check(object, before, refused); return;
    case REGISTRY_SECRETS: secret_check(object, before, refused); return;
    case REGISTRY_EVENTS: event_check(object, refused); return;
    case REGISTRY_SCHEDULES: periodic_check(object, refused); return;
    case REGISTRY_DOMAINMAPPINGS:
    case REGISTRY_DOMAINCLAIMS:
    case REGISTRY_ROUTES:
    case REGISTRY_NAMESPACES:
    case REGISTRY_KINDS: return;
    }
}

static enum service_refusal refuse(struct service_draft *d, enum service_refusal which, struct refusals *why)
{
    d->refused = *why;
    *why = (struct refusals){ 0 };
    json_decref(TAKE(d->object));
    return which;
}

static enum service_refusal prepare(enum registry_kind kind, const json_t *before,
                                    const struct service_terms *terms, struct manifest_findings *f,
                                    struct service_draft *d)
{
    struct refusals wrong = { 0 }, knative = { 0 };
    manifest_apply_table(&registry_kind_rows[kind].table, d->object, terms->limits, f);
    if (refusals_any(&f->unknown) && terms->unknown == SERVICE_UNKNOWN_REFUSE)
        return refuse(d, SERVICE_UNKNOWN_FIELDS, &f->unknown);
    if (refusals_any(&f->types))
        return refuse(d, SERVICE_WRONG_TYPES, &f->types);
    complete(kind, d->object, before, terms);
    metadata_check(kind, d->object, &wrong);
    check(kind, d->object, before, &wrong);
    if (refusals_any(&wrong))
        return refuse(d, SERVICE_WRONG_METADATA, &wrong);
    registry_knative_check(kind, d->object, before, terms->limits, &knative);
    return refusals_any(&knative) ? refuse(d, SERVICE_NOT_VALID, &knative) : SERVICE_ACCEPTED;
}

void registry_prepare(enum registry_kind kind, const json_t *in, const json_t *before,
                      const struct service_terms *terms, struct service_draft *ret)
{
    struct manifest_findings f = { 0 };
    struct service_draft d = { .object = json_deep_copy(in) };
    d.refusal = prepare(kind, before, terms, &f, &d);
    if (d.refusal == SERVICE_ACCEPTED)
        service_ignored_warn(in, &d.warnings);
    if (d.refusal == SERVICE_ACCEPTED && kind == REGISTRY_CONFIGMAPS)
        cluster_warn(json_text_at(d.object, "metadata.namespace"), json_text_at(d.object, "metadata.name"),
                     json_object_get(d.object, "data"), &d.warnings);
    if (terms->unknown == SERVICE_UNKNOWN_WARN)
        for (uint32_t i = 0; i < f.unknown.count; i++)
            refusals_add(&d.warnings, "", NULL, "%s", f.unknown.rows[i].message);
    manifest_findings_done(&f);
    ASSERT((d.object != NULL) == (d.refusal == SERVICE_ACCEPTED));
    *ret = d;
}
