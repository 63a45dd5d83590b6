#include "api/kube_docs.h"

#include "api/kube_reply.h"

#define GROUP_VERSION SERVING_GROUP "/v1"
#define GROUP_TEXT                                                                                 \
    "\"name\":\"" SERVING_GROUP "\",\"versions\":[{\"groupVersion\":\"" GROUP_VERSION                       \
    "\",\"version\":\"v1\"}],\"preferredVersion\":{\"groupVersion\":\"" GROUP_VERSION                       \
    "\",\"version\":\"v1\"}"

static const char groups[] = "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[{" GROUP_TEXT "}]}";
static const char group[] = "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\"," GROUP_TEXT "}";
static const char core[] =
    "{\"kind\":\"APIResourceList\",\"groupVersion\":\"v1\",\"resources\":[{\"name\":\"namespaces\","
    "\"singularName\":\"namespace\",\"namespaced\":false,\"kind\":\"Namespace\",\"verbs\":[\"get\","
    "\"list\"],\"shortNames\":[\"ns\"]}]}";
static const char resources[] =
    "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"" GROUP_VERSION
    "\",\"resources\":[{\"name\":\"services\",\"singularName\":\"service\",\"namespaced\":true,\"kind\":"
    "\"Service\",\"verbs\":[\"create\",\"delete\",\"get\",\"list\",\"patch\",\"update\"],\"shortNames\":["
    "\"kservice\",\"ksvc\"],\"categories\":[\"all\",\"knative\",\"serving\"]},{\"name\":\"revisions\","
    "\"singularName\":\"revision\",\"namespaced\":true,\"kind\":\"Revision\",\"verbs\":[\"delete\",\"get\","
    "\"list\"],\"shortNames\":[\"rev\"],\"categories\":[\"all\",\"knative\",\"serving\"]},"
    "{\"name\":\"configurations\",\"singularName\":\"configuration\",\"namespaced\":true,\"kind\":\"Configuration\","
    "\"verbs\":[\"get\",\"list\",\"watch\"],\"shortNames\":[\"config\",\"cfg\"],"
    "\"categories\":[\"all\",\"knative\",\"serving\"]},"
    "{\"name\":\"routes\",\"singularName\":\"route\",\"namespaced\":true,\"kind\":\"Route\","
    "\"verbs\":[\"get\",\"list\",\"watch\"],\"shortNames\":[\"rt\"],"
    "\"categories\":[\"all\",\"knative\",\"serving\"]}]}";
/* kubectl looks for these to learn whether it may ask for a dry run and for field validation. */
#define QUERY(name)                                                                                \
    "{\"name\":\"" name "\",\"in\":\"query\",\"schema\":{\"type\":\"string\",\"uniqueItems\":true}}"
#define OPERATION(verb)                                                                            \
    "\"" verb "\":{\"parameters\":[" QUERY("dryRun") "," QUERY("fieldValidation") ","               \
    QUERY("fieldManager") "],\"responses\":{\"200\":{\"description\":\"OK\"}},"                          \
    "\"x-kubernetes-group-version-kind\":{\"group\":\"" SERVING_GROUP                                 \
    "\",\"kind\":\"Service\",\"version\":\"v1\"}}"
static const char openapi3_index[] =
    "{\"paths\":{\"apis/" GROUP_VERSION "\":{\"serverRelativeURL\":\"/openapi/v3/apis/" GROUP_VERSION
    "?hash=" HOB_VERSION "\"}}}";
static const char openapi3[] =
    "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"hob\",\"version\":\"" HOB_VERSION
    "\"},\"paths\":{\"/apis/" GROUP_VERSION "/namespaces/{namespace}/services\":{" OPERATION("post")
    "},\"/apis/" GROUP_VERSION "/namespaces/{namespace}/services/{name}\":{" OPERATION("put") ","
    OPERATION("patch") "," OPERATION("delete") "}},\"components\":{\"schemas\":{}}}";
static const char openapi2[] = "{\"swagger\":\"2.0\",\"info\":{\"title\":\"hob\",\"version\":\"1\"},\"paths\":{}}";

/* The same as a gnostic openapi_v2.Document in protobuf: swagger "2.0", info { title "hob", version "1" }.
 * Older kubectl reads nothing else. */
static const char openapi2_protobuf[] = "\x0a\x03" "2.0" "\x12\x08\x0a\x03" "hob" "\x12\x01" "1";
#define PROTOBUF_TYPE "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

static void answer_openapi2(struct http_call *c)
{
    struct str accept = http_call_header(c, "Accept");
    if (accept.at && memmem(accept.at, accept.size, "protobuf", 8))
        http_answer(c, 200, PROTOBUF_TYPE, NULL,
                    (struct str){ openapi2_protobuf, sizeof openapi2_protobuf - 1 });
    else
        http_answer(c, 200, "application/json", NULL, str_of(openapi2));
}

static void answer_tree(struct http_call *c, json_t *take_j)
{
    struct buf b;
    buf_init(&b, 4096);
    json_write(take_j, &b);
    json_decref(take_j);
    kube_answer(c, 200, buf_str(&b), NULL);
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

bool kube_docs_handle(struct http_call *c, const struct kube_docs *d, int64_t now_wall_ms)
{
    static const struct {
        const char *path, *text;
    } pages[] = {
        { "/apis", groups },
        { "/apis/" SERVING_GROUP, group },
        { "/apis/" GROUP_VERSION, resources },
        { "/api/v1", core },
        { "/openapi/v3", openapi3_index },
        { "/openapi/v3/apis/" GROUP_VERSION, openapi3 },
    };
    struct str path = http_call_path(c);
    if (path.size > 1 && path.at[path.size - 1] == '/')
        path.size--;
    for (size_t i = 0; i < COUNT_OF(pages); i++) {
        if (!str_is(path, pages[i].path))
            continue;
        http_answer(c, 200, "application/json", NULL, str_of(pages[i].text));
        return true;
    }
    if (str_is(path, "/api"))
        answer_tree(c, versions_make(d->api));
    else if (str_is(path, "/version"))
        answer_tree(c, version_make(d, now_wall_ms));
    else if (str_is(path, "/openapi/v2"))
        answer_openapi2(c);
    else
        return false;
    return true;
}
