#include "serving/containers.h"

#include "codec/names.h"
#include "codec/quantity.h"
#include "serving/pod.h"

#include <stdio.h>
#include <string.h>

static const char *const lists[] = { "initContainers", "containers" };

const char *container_part_name(enum container_part p)
{
    static const char *const names[] = { "container", "sidecar", "init container" };
    ASSERT(p < COUNT_OF(names));
    return names[p];
}

static const char *name_of(const json_t *container)
{
    const char *name = json_string_value(json_object_get(container, "name"));
    return name ? name : "";
}

const json_t *containers_serving(const json_t *pod, size_t *ret_index)
{
    const json_t *all = json_object_get(pod, "containers");
    *ret_index = 0;
    for (size_t i = 0; i < json_array_size(all); i++)
        if (json_array_size(json_object_get(json_array_get(all, i), "ports")) > 0) {
            *ret_index = i;
            break;
        }
    return json_array_get(all, *ret_index);
}

bool containers_mount(const json_t *pod, const char *volume)
{
    for (size_t l = 0; l < COUNT_OF(lists); l++) {
        const json_t *all = json_object_get(pod, lists[l]);
        for (size_t i = 0; i < json_array_size(all); i++) {
            const json_t *mounts = json_object_get(json_array_get(all, i), "volumeMounts");
            for (size_t k = 0; k < json_array_size(mounts); k++)
                if (strcmp(name_of(json_array_get(mounts, k)), volume) == 0)
                    return true;
        }
    }
    return false;
}

void containers_each(const json_t *pod,
                     void (*on_container)(void *ctx, const json_t *container, enum container_part part,
                                          const char *at),
                     void *ctx)
{
    size_t serving;
    (void)containers_serving(pod, &serving);
    for (size_t l = 0; l < COUNT_OF(lists); l++) {
        const json_t *all = json_object_get(pod, lists[l]);
        for (size_t i = 0; i < json_array_size(all); i++) {
            enum container_part part = l == 0           ? CONTAINER_INIT
                                       : i == serving ? CONTAINER_SERVES
                                                      : CONTAINER_SIDECAR;
            on_container(ctx, json_array_get(all, i), part, REFUSAL_AT(POD_PATH ".%s[%zu]", lists[l], i));
        }
    }
}

/* ---- names --------------------------------------------------------------------------------------- */

static bool is_taken(const json_t *pod, const char *name)
{
    for (size_t l = 0; l < COUNT_OF(lists); l++) {
        const json_t *all = json_object_get(pod, lists[l]);
        for (size_t i = 0; i < json_array_size(all); i++)
            if (strcmp(name_of(json_array_get(all, i)), name) == 0)
                return true;
    }
    return false;
}

/* One alone has the plain name; several are counted, past the names that people gave. */
static void names_default(const json_t *pod, const char *list, const char *base)
{
    const json_t *all = json_object_get(pod, list);
    size_t count = json_array_size(all), suffix = 0;
    for (size_t i = 0; i < count; i++) {
        json_t *container = json_array_get(all, i);
        char name[64];
        if (!json_is_object(container) || *name_of(container))
            continue;
        (void)snprintf(name, sizeof name, "%s", base);
        if (count > 1 || is_taken(pod, name))
            do
                (void)snprintf(name, sizeof name, "%s-%zu", base, suffix++);
            while (is_taken(pod, name));
        (void)json_object_set_new(container, "name", json_string(name));
    }
}

void containers_default(json_t *pod)
{
    names_default(pod, "containers", "user-container");
    names_default(pod, "initContainers", "init-container");
}

/* ---- resources ----------------------------------------------------------------------------------- */

struct resource {
    const char *name;
    uint64_t request, limit; /* 0: the cluster says nothing */
    enum quantity_form form;
    uint64_t per_unit;
};

static void amount_default(json_t *resources, const char *list, const struct resource *r, uint64_t amount)
{
    enum { NANO = 1000000000 };
    char text[QUANTITY_TEXT];
    json_t *amounts = json_object_get(resources, list);
    if (amount == 0 || json_object_get(amounts, r->name))
        return;
    const struct quantity q = { .nano = (unsigned __int128)amount * (NANO / r->per_unit), .form = r->form };
    quantity_format(&q, text);
    if (!amounts) {
        amounts = json_object();
        (void)json_object_set_new(resources, list, amounts);
    }
    (void)json_object_set_new(amounts, r->name, json_string(text));
}

static void resources_default(json_t *container, const struct resource *all, size_t count)
{
    json_t *resources = json_object_get(container, "resources");
    if (!resources) {
        resources = json_object();
        (void)json_object_set_new(container, "resources", resources);
    }
    for (size_t i = 0; i < count; i++) {
        amount_default(resources, "requests", &all[i], all[i].request);
        amount_default(resources, "limits", &all[i], all[i].limit);
    }
}

void containers_resources_default(json_t *pod, const struct limits *l)
{
    const struct resource all[] = {
        { "cpu", l->container_cpu_request_milli, l->container_cpu_limit_milli, QUANTITY_DECIMAL, 1000 },
        { "memory", l->container_memory_request_bytes, l->container_memory_limit_bytes, QUANTITY_BINARY, 1 },
        { "ephemeral-storage", l->container_storage_request_bytes, l->container_storage_limit_bytes, QUANTITY_BINARY, 1 },
    };
    uint64_t said = 0;
    for (size_t i = 0; i < COUNT_OF(all); i++)
        said |= all[i].request | all[i].limit;
    for (size_t k = 0; said && k < COUNT_OF(lists); k++) {
        const json_t *containers = json_object_get(pod, lists[k]);
        for (size_t i = 0; i < json_array_size(containers); i++)
            resources_default(json_array_get(containers, i), all, COUNT_OF(all));
    }
}

/* ---- checks -------------------------------------------------------------------------------------- */

static void ports_check(const json_t *pod, struct refusals *refused)
{
    const json_t *all = json_object_get(pod, "containers");
    size_t ports = 0;
    for (size_t i = 0; i < json_array_size(all); i++)
        ports += json_array_size(json_object_get(json_array_get(all, i), "ports"));
    if (ports > 1)
        refusals_add(refused, POD_PATH ".containers[*].ports",
                     "Only a single port is allowed across all containers",
                     "more than one container port is set");
    if (ports == 0 && json_array_size(all) > 1)
        refusals_add(refused, POD_PATH ".containers.ports",
                     "the container with a port is the one that gets the requests", "missing field(s)");
}

struct names {
    struct refusals *refused;
    json_t *seen;
};

static void name_check(void *ctx, const json_t *container, enum container_part part, const char *at)
{
    struct names *n = ctx;
    const char *name = name_of(container);
    struct err e;
    (void)part;
    if (*name && !names_label(str_of(name), &e))
        refusals_add(n->refused, REFUSAL_AT("%s.name", at), e.text, "invalid value: %s", name);
    if (*name && json_object_get(n->seen, name))
        refusals_add(n->refused, REFUSAL_AT("%s.name", at), NULL, "duplicate container name \"%s\"", name);
    (void)json_object_set_new(n->seen, name, json_true());
}

static void init_check(void *ctx, const json_t *container, enum container_part part, const char *at)
{
    static const char *const probes[] = { "livenessProbe", "readinessProbe", "startupProbe" };
    struct refusals *refused = ctx;
    if (part != CONTAINER_INIT)
        return;
    for (size_t i = 0; i < COUNT_OF(probes); i++)
        if (json_object_get(container, probes[i]))
            refusals_add(refused, REFUSAL_AT("%s.%s", at, probes[i]), NULL,
                         "field not allowed in an init container");
    if (json_array_size(json_object_get(container, "ports")) > 0)
        refusals_add(refused, REFUSAL_AT("%s.ports", at), NULL, "must not set the field(s)");
}

/* A probe of a container without ports has no port to fall back on. */
static void sidecar_unprobed(void *ctx, const json_t *container, enum container_part part, const char *at)
{
    static const char *const probes[] = { "livenessProbe", "readinessProbe", "startupProbe" };
    struct refusals *refused = ctx;
    for (size_t i = 0; part == CONTAINER_SIDECAR && i < COUNT_OF(probes); i++)
        if (json_object_get(container, probes[i]))
            refusals_add(refused, REFUSAL_AT("%s.%s", at, probes[i]), "multi-container-probing is off",
                         "must not set the field(s)");
}

static void sidecar_check(void *ctx, const json_t *container, enum container_part part, const char *at)
{
    static const char *const probes[] = { "livenessProbe", "readinessProbe", "startupProbe" };
    static const char *const handlers[] = { "grpc", "httpGet", "tcpSocket" };
    struct refusals *refused = ctx;
    if (part != CONTAINER_SIDECAR)
        return;
    for (size_t i = 0; i < COUNT_OF(probes); i++)
        for (size_t k = 0; k < COUNT_OF(handlers); k++) {
            const json_t *handler = json_object_get(json_object_get(container, probes[i]), handlers[k]);
            const json_t *port = json_object_get(handler, "port");
            if (handler && json_integer_value(port) == 0) /* nor can a text be the name of one */
                refusals_add(refused, REFUSAL_AT("%s.%s.%s.port", at, probes[i], handlers[k]),
                             "a container without ports has no port of its own to try", "missing field(s)");
        }
}

void containers_check(const json_t *pod, const struct limits *l, struct refusals *refused)
{
    size_t inits = json_array_size(json_object_get(pod, "initContainers"));
    size_t all = json_array_size(json_object_get(pod, "containers")) + inits;
    const char *few = l->pod_containers_max == 1 ? "limit pod_containers_max is 1" : NULL;
    if (inits > 0 && (few || !l->feature_init_containers))
        refusals_add(refused, "", few, "pod spec support for init-containers is off, but found %zu init containers", inits);
    if (all > inits + 1 && (few || !l->feature_multi_container))
        refusals_add(refused, "", few, "multi-container is off, but found %zu containers", all - inits);
    if (few && all > 1)
        return;
    struct names names = { refused, json_object() };
    if (all > l->pod_containers_max)
        refusals_add(refused, POD_PATH ".containers", "with the init containers (limit pod_containers_max)",
                     "expected 1 <= %zu <= %llu", all, (unsigned long long)l->pod_containers_max);
    ports_check(pod, refused);
    containers_each(pod, name_check, &names);
    containers_each(pod, init_check, refused);
    containers_each(pod, sidecar_check, refused);
    if (!l->feature_multi_container_probing)
        containers_each(pod, sidecar_unprobed, refused);
    json_decref(names.seen);
}
