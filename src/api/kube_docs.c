#include "api/kube_docs.h"

#include "api/kube_openapi2.h"
#include "api/kube_reply.h"
#include "api/kube_schema.h"
#include "serving/periodic.h"
#include "serving/registry_knative.h"

#include <stdio.h>
#include <stdlib.h>

/* The groups and versions there are; the rest follows from kube_resources. The first version of a group is preferred. */
static const struct group_version {
    const char *group, *version, *name, *path; /* name: "serving.knative.dev/v1" */
} versions[] = {
    { "", "v1", "v1", "api/v1" },
    { SERVING_GROUP, "v1", SERVING_GROUP "/v1", "apis/" SERVING_GROUP "/v1" },
    { SERVING_GROUP, "v1beta1", SERVING_GROUP "/v1beta1", "apis/" SERVING_GROUP "/v1beta1" },
    { DOMAINCLAIM_GROUP, "v1alpha1", DOMAINCLAIM_API_VERSION, "apis/" DOMAINCLAIM_API_VERSION },
    { PERIODIC_GROUP, "v1", PERIODIC_API_VERSION, "apis/" PERIODIC_API_VERSION },
};
static const char *const groups[] = { SERVING_GROUP, DOMAINCLAIM_GROUP, PERIODIC_GROUP };

static bool of(const struct kube_resource *r, const struct group_version *v)
{
    return strcmp(r->group, v->group) == 0 && strcmp(r->version, v->version) == 0;
}

static json_t *words(const char *joined)
{
    struct str rest = str_of(joined);
    json_t *list = json_array();
    while (rest.size > 0) {
        struct str word = str_cut(&rest, ',');
        (void)json_array_append_new(list, json_stringn(word.at, word.size));
    }
    return list;
}

static json_t *verbs_of(const struct kube_resource *r)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < KUBE_VERBS; i++)
        if (r->verbs & 1u << i)
            (void)json_array_append_new(list, json_string(kube_verb_name(1u << i)));
    return list;
}

static void words_set(json_t *into, const char *key, const char *joined)
{
    if (*joined)
        (void)json_object_set_new(into, key, words(joined));
}

/* ---- discovery, as it always was ---- */

static json_t *status_make(const struct kube_resource *r)
{
    AUTO_FREE char *name = xasprintf("%s/status", r->plural);
    return json_pack("{s:s,s:s,s:b,s:s,s:[s]}", "name", name, "singularName", "", "namespaced", r->namespaced, "kind",
                     r->name, "verbs", "get");
}

static json_t *resources_make(const struct group_version *v)
{
    json_t *list = json_array();
    for (size_t i = 0; i < kube_resource_count; i++) {
        const struct kube_resource *r = &kube_resources[i];
        if (!of(r, v))
            continue;
        json_t *row = json_pack("{s:s,s:s,s:b,s:s,s:o}", "name", r->plural, "singularName", r->singular,
                                "namespaced", r->namespaced, "kind", r->name, "verbs", verbs_of(r));
        words_set(row, "shortNames", r->short_names);
        words_set(row, "categories", r->categories);
        (void)json_array_append_new(list, row);
        if (kube_resource_has_status(r))
            (void)json_array_append_new(list, status_make(r));
    }
    return json_pack("{s:s,s:s,s:s,s:o}", "kind", "APIResourceList", "apiVersion", "v1", "groupVersion", v->name,
                     "resources", list);
}

static json_t *group_fields(const char *name)
{
    json_t *list = json_array();
    const struct group_version *preferred = NULL;
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        if (strcmp(versions[i].group, name) != 0)
            continue;
        preferred = preferred ? preferred : &versions[i];
        (void)json_array_append_new(list, json_pack("{s:s,s:s}", "groupVersion", versions[i].name, "version",
                                                    versions[i].version));
    }
    return json_pack("{s:s,s:o,s:{s:s,s:s}}", "name", name, "versions", list, "preferredVersion",
                     "groupVersion", preferred->name, "version", preferred->version);
}

static json_t *group_make(const char *name)
{
    json_t *group = group_fields(name);
    (void)json_object_set_new(group, "kind", json_string("APIGroup"));
    (void)json_object_set_new(group, "apiVersion", json_string("v1"));
    return group;
}

static json_t *groups_make(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < COUNT_OF(groups); i++)
        (void)json_array_append_new(list, group_fields(groups[i]));
    return json_pack("{s:s,s:s,s:o}", "kind", "APIGroupList", "apiVersion", "v1", "groups", list);
}

/* ---- discovery in one answer (apidiscovery.k8s.io) ---- */

static json_t *aggregated_resource(const struct kube_resource *r)
{
    json_t *row = json_pack("{s:s,s:s,s:o,s:{s:s,s:s,s:s},s:s}", "resource", r->plural, "singularResource",
                            r->singular, "verbs", verbs_of(r), "responseKind", "group", r->group, "version",
                            r->version, "kind", r->name, "scope", r->namespaced ? "Namespaced" : "Cluster");
    words_set(row, "shortNames", r->short_names);
    words_set(row, "categories", r->categories);
    if (kube_resource_has_status(r))
        (void)json_object_set_new(row, "subresources",
                                  json_pack("[{s:s,s:[s],s:{s:s,s:s,s:s}}]", "subresource", "status", "verbs", "get",
                                            "responseKind", "group", r->group, "version", r->version, "kind",
                                            r->name));
    return row;
}

/* Of one group; "" is the core. */
static json_t *aggregated_group(const char *name)
{
    json_t *list = json_array();
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        if (strcmp(versions[i].group, name) != 0)
            continue;
        json_t *resources = json_array();
        for (size_t k = 0; k < kube_resource_count; k++)
            if (of(&kube_resources[k], &versions[i]))
                (void)json_array_append_new(resources, aggregated_resource(&kube_resources[k]));
        (void)json_array_append_new(list, json_pack("{s:s,s:s,s:o}", "version", versions[i].version, "freshness",
                                                    "Current", "resources", resources));
    }
    json_t *metadata = *name ? json_pack("{s:s}", "name", name) : json_object();
    return json_pack("{s:o,s:o}", "metadata", metadata, "versions", list);
}

static json_t *aggregated_make(bool core, const char *version)
{
    json_t *items = json_array();
    AUTO_FREE char *api_version = xasprintf("apidiscovery.k8s.io/%s", version);
    if (core)
        (void)json_array_append_new(items, aggregated_group(""));
    for (size_t i = 0; !core && i < COUNT_OF(groups); i++)
        (void)json_array_append_new(items, aggregated_group(groups[i]));
    return json_pack("{s:s,s:s,s:{},s:o}", "kind", "APIGroupDiscoveryList", "apiVersion", api_version, "metadata",
                     "items", items);
}

/* "v2", "v2beta1", or NULL: the client wants the old form. The first that it names and we have. */
static const char *aggregated_version(const struct http_call *c)
{
    struct str rest = http_call_header(c, "Accept");
    while (rest.at && rest.size > 0) {
        struct str range = str_cut(&rest, ',');
        bool list = memmem(range.at, range.size, "as=APIGroupDiscoveryList", 24) != NULL;
        if (!list)
            return NULL;
        while (range.size > 0) {
            struct str parameter = str_trim(str_cut(&range, ';'));
            if (str_is(parameter, "v=v2"))
                return "v2";
            if (str_is(parameter, "v=v2beta1"))
                return "v2beta1";
        }
    }
    return NULL;
}

static void answer_tree(struct http_call *c, json_t *take_j)
{
    kube_answer_tree(c, 200, take_j);
    json_decref(take_j);
}

static void answer_discovery(struct http_call *c, bool core, json_t *take_plain)
{
    const char *version = aggregated_version(c);
    AUTO_JSON json_t *plain = take_plain;
    if (!version) {
        kube_answer_tree(c, 200, plain);
        return;
    }
    AUTO_FREE char *type = xasprintf("application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList", version);
    AUTO_JSON json_t *j = aggregated_make(core, version);
    struct buf b;
    buf_init(&b, 1 << 20);
    json_write(j, &b);
    http_answer(c, 200, type, NULL, buf_str(&b));
    buf_done(&b);
}

/* ---- OpenAPI ---- */

enum { OPENAPI2_MAX = 16 << 20 }; /* of a document that is as large as our tables */

/* kubectl looks for the parameters to learn whether it may ask for a dry run and for field validation. */
static json_t *operation(const struct kube_resource *r, bool changes, bool v2)
{
    static const char *const names[] = { "dryRun", "fieldManager", "fieldValidation" };
    json_t *parameters = json_array();
    for (size_t i = 0; changes && i < COUNT_OF(names); i++)
        (void)json_array_append_new(
            parameters, v2 ? json_pack("{s:s,s:s,s:s,s:b}", "name", names[i], "in", "query", "type", "string", "uniqueItems", 1)
                           : json_pack("{s:s,s:s,s:{s:s,s:b}}", "name", names[i], "in", "query", "schema", "type",
                                       "string", "uniqueItems", 1));
    return json_pack("{s:o,s:{s:{s:s}},s:{s:s,s:s,s:s}}", "parameters", parameters, "responses", "200",
                     "description", "OK", "x-kubernetes-group-version-kind", "group", r->group, "kind", r->name,
                     "version", r->version);
}

static void operations_add(json_t *paths, const struct kube_resource *r, const struct group_version *v, bool v2)
{
    AUTO_FREE char *all = xasprintf("/%s%s/%s", v->path, r->namespaced ? "/namespaces/{namespace}" : "", r->plural);
    AUTO_FREE char *one = xasprintf("%s/{name}", all);
    AUTO_JSON json_t *on_all = json_pack("{s:o}", "get", operation(r, false, v2));
    AUTO_JSON json_t *on_one = json_pack("{s:o}", "get", operation(r, false, v2));
    if (r->verbs & KUBE_CREATE)
        (void)json_object_set_new(on_all, "post", operation(r, true, v2));
    if (r->verbs & KUBE_UPDATE)
        (void)json_object_set_new(on_one, "put", operation(r, true, v2));
    if (r->verbs & KUBE_PATCH)
        (void)json_object_set_new(on_one, "patch", operation(r, true, v2));
    if (r->verbs & KUBE_DELETE)
        (void)json_object_set_new(on_one, "delete", operation(r, true, v2));
    (void)json_object_set(paths, all, on_all);
    (void)json_object_set(paths, one, on_one);
}

/* NULL for v: all of them, in the words of OpenAPI v2. */
static void described(const struct group_version *v, json_t *paths, json_t *schemas)
{
    for (size_t k = 0; k < COUNT_OF(versions); k++)
        for (size_t i = 0; i < kube_resource_count && (!v || v == &versions[k]); i++) {
            const struct kube_resource *r = &kube_resources[i];
            if (!of(r, &versions[k]))
                continue;
            AUTO_FREE char *name = kube_schema_name(r);
            (void)json_object_set_new(schemas, name, kube_schema(r));
            operations_add(paths, r, &versions[k], !v);
        }
}

static json_t *openapi3_make(const struct group_version *v)
{
    json_t *paths = json_object(), *schemas = json_object();
    described(v, paths, schemas);
    return json_pack("{s:s,s:{s:s,s:s},s:o,s:{s:o}}", "openapi", "3.0.0", "info", "title", "hob", "version",
                     HOB_VERSION, "paths", paths, "components", "schemas", schemas);
}

static json_t *openapi2_make(void)
{
    json_t *paths = json_object(), *schemas = json_object();
    described(NULL, paths, schemas);
    return json_pack("{s:s,s:{s:s,s:s},s:o,s:o}", "swagger", "2.0", "info", "title", "hob", "version", HOB_VERSION,
                     "paths", paths, "definitions", schemas);
}

static json_t *openapi3_index(void)
{
    json_t *paths = json_object();
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        AUTO_FREE char *url = xasprintf("/openapi/v3/%s?hash=%s", versions[i].path, HOB_VERSION);
        (void)json_object_set_new(paths, versions[i].path, json_pack("{s:s}", "serverRelativeURL", url));
    }
    return json_pack("{s:o}", "paths", paths);
}

/* Older kubectl reads it in protocol buffers only. */
static void answer_openapi2(struct http_call *c)
{
    struct str accept = http_call_header(c, "Accept");
    struct buf b;
    if (!accept.at || !memmem(accept.at, accept.size, "protobuf", 8)) {
        answer_tree(c, openapi2_make());
        return;
    }
    AUTO_JSON json_t *tree = openapi2_make();
    buf_init(&b, OPENAPI2_MAX);
    kube_openapi2_write(tree, &b);
    http_answer(c, 200, KUBE_OPENAPI2_TYPE, NULL, buf_str(&b));
    buf_done(&b);
}

/* The Kubernetes whose manners hob has, which clients compare with their own; then what is hob's. */
static json_t *version_make(const struct kube_docs *d, int64_t now_wall_ms)
{
    json_int_t uptime_s = MAX(0, now_wall_ms - d->begin_wall_ms) / 1000;
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:{s:I}}", "major", "1", "minor",
                     "32", "gitVersion", "v1.32.0+hob." HOB_VERSION, "gitCommit", "", "gitTreeState", "",
                     "buildDate", "", "goVersion", "", "compiler", "", "platform", "linux", "version",
                     HOB_VERSION, "ingress", d->ingress, "api", d->api, "node", "uptime_s", uptime_s);
}

static json_t *versions_make(const char *api)
{
    return json_pack("{s:s,s:[s],s:[{s:s,s:s}]}", "kind", "APIVersions", "versions", "v1",
                     "serverAddressByClientCIDRs", "clientCIDR", "0.0.0.0/0", "serverAddress", api);
}

/* A page of one version: its resources, or its schemas. NULL: there is none. */
static const struct group_version *version_of(struct str path, bool *ret_schemas)
{
    static const struct str v3 = { "/openapi/v3/", 12 };
    *ret_schemas = str_starts(path, v3);
    struct str rest = *ret_schemas ? str_from(path, v3.size) : str_from(path, 1);
    for (size_t i = 0; i < COUNT_OF(versions); i++)
        if (str_is(rest, versions[i].path))
            return &versions[i];
    return NULL;
}

static const char *group_of(struct str path)
{
    static const struct str root = { "/apis/", 6 };
    for (size_t i = 0; str_starts(path, root) && i < COUNT_OF(groups); i++)
        if (str_is(str_from(path, root.size), groups[i]))
            return groups[i];
    return NULL;
}

static struct str path_bare(struct str path)
{
    if (path.size > 1 && path.at[path.size - 1] == '/')
        path.size--;
    return path;
}

bool kube_docs_has(struct str path)
{
    static const char *const fixed[] = { "/api", "/apis", "/version", "/openapi/v2", "/openapi/v3" };
    struct str bare = path_bare(path);
    bool ignored;
    for (size_t i = 0; i < COUNT_OF(fixed); i++)
        if (str_is(bare, fixed[i]))
            return true;
    return bare.size > 1 && (group_of(bare) || version_of(bare, &ignored));
}

bool kube_docs_handle(struct http_call *c, const struct kube_docs *d, int64_t now_wall_ms)
{
    struct str path = path_bare(http_call_path(c));
    bool schemas;
    if (!kube_docs_has(path))
        return false;
    const char *group = group_of(path);
    const struct group_version *version = version_of(path, &schemas);
    if (str_is(path, "/api"))
        answer_discovery(c, true, versions_make(d->api));
    else if (str_is(path, "/apis"))
        answer_discovery(c, false, groups_make());
    else if (str_is(path, "/version"))
        answer_tree(c, version_make(d, now_wall_ms));
    else if (str_is(path, "/openapi/v2"))
        answer_openapi2(c);
    else if (str_is(path, "/openapi/v3"))
        answer_tree(c, openapi3_index());
    else if (group)
        answer_tree(c, group_make(group));
    else
        answer_tree(c, schemas ? openapi3_make(version) : resources_make(version));
    return true;
}
