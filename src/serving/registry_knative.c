#include "serving/registry_knative.h"

#include "codec/names.h"
#include "serving/cluster.h"

/* ---- DomainMapping ---- */

void registry_domainmapping_complete(json_t *object, const json_t *before)
{
    json_t *ref = json_at(object, "spec.ref"), *status = json_object_get(before, "status");
    if (ref && !json_object_get(ref, "namespace"))
        (void)json_object_set(ref, "namespace", json_at(object, "metadata.namespace"));
    if (ref && !json_object_get(ref, "apiVersion") && !json_object_get(ref, "group"))
        (void)json_object_set_new(ref, "apiVersion", json_string(SERVING_API_VERSION));
    if (status)
        (void)json_object_set(object, "status", status);
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), tail = strlen(end);
    return size >= tail && strcmp(text + size - tail, end) == 0;
}

/* As a browser reads it: a name whose last part is a number is an address. */
static bool is_address(const char *name)
{
    const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;
    return *last && strspn(last, "0123456789") == strlen(last);
}

static void domain_check(const char *name, struct refusals *refused)
{
    static const struct {
        const char *domain, *what;
    } taken[] = { { "cluster.local", "cluster local domain" }, { "localhost", "default domain" } };
    if (!strchr(name, '.'))
        refusals_add(refused, "metadata.name", NULL,
                     "invalid name \"%s\": name: Invalid value: \"%s\": should be a domain with at least two "
                     "segments separated by dots",
                     name, name);
    else if (is_address(name))
        refusals_add(refused, "metadata.name", NULL,
                     "invalid name \"%s\": name: Invalid value: \"%s\": must be a domain, not an IP address", name, name);
    for (size_t i = 0; i < COUNT_OF(taken); i++) {
        AUTO_FREE char *end = xasprintf(".%s", taken[i].domain);
        if (ends_with(name, end))
            refusals_add(refused, "metadata.name", NULL,
                         "invalid name \"%s\": must not be a subdomain of %s \"%s\"", name, taken[i].what,
                         taken[i].domain);
    }
}

static void ref_check(const json_t *object, struct refusals *refused)
{
    static const char *const needed[] = { "spec.ref.kind", "spec.ref.name" };
    const char *ns = json_text_at(object, "metadata.namespace");
    const char *other = json_text_at(object, "spec.ref.namespace"), *kind = json_text_at(object, "spec.ref.kind");
    if (!json_at(object, "spec.ref")) {
        refusals_add(refused, "spec.ref", NULL, "missing field(s)");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(needed); i++)
        if (!json_text_at(object, needed[i]))
            refusals_add(refused, needed[i], NULL, "missing field(s)");
    const char *name = json_text_at(object, "spec.ref.name");
    struct err why = { 0 };
    if (name && !names_subdomain(str_of(name), &why))
        refusals_add(refused, "spec.ref.name", why.text, "invalid value: %s", name);
    if (kind && strcmp(kind, "Service") != 0 && strcmp(kind, "Route") != 0)
        refusals_add(refused, "spec.ref.kind", "a domain leads to a Service or a Route", "invalid value: %s", kind);
    if (other && strcmp(other, ns) != 0)
        refusals_add(refused, "spec.ref.namespace", "parent namespace does not match", "invalid value: %s", other);
}

/* ---- ClusterDomainClaim ---- */

static void domainclaim_check(const json_t *object, struct refusals *refused)
{
    const char *ns = json_text_at(object, "spec.namespace");
    if (!ns || !*ns)
        refusals_add(refused, "spec.namespace", NULL, "missing field(s)");
}

/* ---- Route ---- */

void registry_route_complete(json_t *object, const json_t *before)
{
    json_t *status = json_object_get(before, "status");
    service_traffic_default(json_object_get(object, "spec"));
    if (status)
        (void)json_object_set(object, "status", status);
}

void registry_knative_check(enum registry_kind kind, const json_t *object, const json_t *before,
                            const struct limits *l, struct refusals *refused)
{
    if (kind == REGISTRY_CONFIGMAPS &&
        cluster_is(json_text_at(object, "metadata.namespace"), json_text_at(object, "metadata.name"))) {
        struct limits ignored = *l;
        cluster_read(json_text_at(object, "metadata.name"), json_object_get(object, "data"), &ignored, refused);
    }
    if (kind == REGISTRY_ROUTES) {
        service_metadata_check(object, refused);
        service_traffic_check(object, false, l, refused);
    }
    if (kind == REGISTRY_DOMAINCLAIMS)
        domainclaim_check(object, refused);
    if (kind != REGISTRY_DOMAINMAPPINGS)
        return;
    if (!before)
        domain_check(json_text_at(object, "metadata.name"), refused);
    ref_check(object, refused);
}
