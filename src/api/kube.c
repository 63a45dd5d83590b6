#include "api/kube.h"

#include "codec/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_JSON  "application/json"
#define GROUP_PATH "/apis/" SERVING_GROUP "/v1"
#define USER       "hob" /* until there are tokens, everybody who reaches the API is this */
#define WEBHOOK \
    "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: validation failed: "

enum { ANSWER_MAX = 64 * 1024 * 1024, LIST_MAX = 500, DOCUMENTS_MAX = 2 };

struct kube {
    struct catalog *catalog;
    const struct limits *limits;
    const char *ingress, *api;
};

struct change { /* a request that waits for its commit */
    struct catalog_request q;
    struct http_call *call;
    int status; /* when it goes well */
};

static const struct resource {
    const char *plural, *singular, *kind, *short_names;
    enum catalog_kind of;
    const char *verbs;
} resources[] = {
    { "services", "service", "Service", "[\"kservice\",\"ksvc\"]", CATALOG_SERVICES,
      "[\"create\",\"delete\",\"get\",\"list\",\"patch\",\"update\"]" },
    { "revisions", "revision", "Revision", "[\"rev\"]", CATALOG_REVISIONS,
      "[\"delete\",\"get\",\"list\"]" },
};

/* ---- answers ------------------------------------------------------------------------------- */

static void answer_text(struct http_call *c, int status, const char *headers, const char *text)
{
    http_answer(c, status, TYPE_JSON, headers, str_of(text));
}

static void answer_tree(struct http_call *c, int status, const char *headers, json_t *take_j)
{
    struct buf b;
    buf_init(&b, ANSWER_MAX);
    json_write(take_j, &b);
    buf_text(&b, "\n");
    json_decref(take_j);
    http_answer(c, status, TYPE_JSON, headers, buf_str(&b));
    buf_done(&b);
}

/* metav1.Status */
static void answer_status(struct http_call *c, int code, const char *reason, const char *message,
                          const char *kind, const char *name)
{
    json_t *j = json_pack("{s:s, s:s, s:{}, s:s, s:s, s:s, s:i}", "kind", "Status", "apiVersion", "v1",
                          "metadata", "status", "Failure", "message", message, "reason", reason,
                          "code", code);
    if (name)
        json_object_set_new(j, "details", json_pack("{s:s, s:s, s:s}", "name", name, "group",
                                                    SERVING_GROUP, "kind", kind));
    answer_tree(c, code, NULL, j);
}

static void answer_not_found(struct http_call *c, const char *plural, const char *name)
{
    char text[512];
    snprintf(text, sizeof text, "%s.%s \"%s\" not found", plural, SERVING_GROUP, name);
    answer_status(c, 404, "NotFound", text, plural, name);
}

/* RFC 7234 warn-code 299, one header per warning; quotes and control characters become spaces. */
static void warnings_add(struct buf *headers, const struct refusals *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        char text[512];
        const struct refusal *r = &w->rows[i];
        snprintf(text, sizeof text, "%s%s%s", r->message, r->path && r->path[0] ? ": " : "",
                 r->path ? r->path : "");
        for (char *at = text; *at; at++)
            if (*at == '"' || *at == '\\' || (unsigned char)*at < 0x20)
                *at = *at == '\n' ? ' ' : '\'';
        buf_printf(headers, "Warning: 299 - \"%s\"\r\n", text);
    }
}

static char *headers_of(const struct refusals *w)
{
    struct buf b;
    buf_init(&b, KIB(8));
    warnings_add(&b, w);
    return buf_take_text(&b);
}

/* The gate that said no decides the form (service.h). */
static void answer_refused(struct http_call *c, struct service_draft *d, const char *name)
{
    struct buf why, text;
    buf_init(&why, KIB(64));
    buf_init(&text, KIB(72));
    refusals_text(&d->refused, &why);
    switch (d->refusal) {
    case SERVICE_UNKNOWN_FIELDS: {
        buf_text(&text, "strict decoding error: ");
        for (uint32_t i = 0; i < d->refused.count; i++)
            buf_printf(&text, "%s%s", i ? ", " : "", d->refused.rows[i].message);
        break;
    }
    case SERVICE_WRONG_TYPES:
    case SERVICE_WRONG_METADATA:
        buf_printf(&text, "Service.%s \"%s\" is invalid: ", SERVING_GROUP, name);
        buf_str_append(&text, buf_str(&why));
        break;
    default:
        buf_text(&text, WEBHOOK);
        buf_str_append(&text, buf_str(&why));
        break;
    }
    AUTO_FREE char *message = buf_take_text(&text);
    bool invalid = d->refusal == SERVICE_WRONG_TYPES || d->refusal == SERVICE_WRONG_METADATA;
    answer_status(c, invalid ? 422 : 400, invalid ? "Invalid" : "BadRequest", message, "Service",
                  name[0] ? name : NULL);
    buf_done(&why);
}

static void answer_err(struct http_call *c, const char *plural, const char *name,
                       const struct err *e)
{
    char text[768];
    switch (e->code) {
    case CODE_EXISTS:
        snprintf(text, sizeof text, "%s.%s \"%s\" already exists", plural, SERVING_GROUP, name);
        answer_status(c, 409, "AlreadyExists", text, plural, name);
        break;
    case CODE_NOT_FOUND: answer_not_found(c, plural, name); break;
    case CODE_ABORTED:
        snprintf(text, sizeof text, "Operation cannot be fulfilled on %s.%s \"%s\": %s", plural,
                 SERVING_GROUP, name, e->text);
        answer_status(c, 409, "Conflict", text, plural, name);
        break;
    case CODE_INVALID: answer_status(c, 400, "BadRequest", e->text, plural, name); break;
    case CODE_EXHAUSTED: answer_status(c, 429, "TooManyRequests", e->text, plural, name); break;
    case CODE_UNAVAILABLE:
    case CODE_CANCELLED: answer_status(c, 503, "ServiceUnavailable", e->text, plural, name); break;
    default: answer_status(c, 500, "InternalError", e->text, plural, name);
    }
}

/* ---- changes ------------------------------------------------------------------------------- */

static void on_changed(struct catalog_request *q, int r, const struct catalog_item *item,
                       const struct err *e)
{
    struct change *g = CONTAINER_OF(q, struct change, q);
    const char *plural = q->verb == CATALOG_DELETE_REVISION ? "revisions" : "services";
    if (r < 0 && q->draft.refusal != SERVICE_ACCEPTED) {
        answer_refused(g->call, &q->draft, q->name);
    } else if (r < 0) {
        answer_err(g->call, plural, q->name, e);
    } else if (q->verb == CATALOG_DELETE || q->verb == CATALOG_DELETE_REVISION) {
        answer_tree(g->call, 200, NULL,
                    json_pack("{s:s, s:s, s:{}, s:s, s:{s:s, s:s, s:s, s:s}}", "kind", "Status",
                              "apiVersion", "v1", "metadata", "status", "Success", "details", "name",
                              q->name, "group", SERVING_GROUP, "kind", plural, "uid", item->uid));
    } else {
        AUTO_FREE char *headers = headers_of(&q->draft.warnings);
        answer_text(g->call, g->status, headers[0] ? headers : NULL, item->text);
    }
    free(g);
}

static bool is_type(struct str header, const char *type)
{
    struct str rest = header;
    return str_eq_nocase(str_trim(str_cut(&rest, ';')), str_of(type));
}

static int body_read(struct kube *k, struct http_call *c, json_t **ret, struct err *e)
{
    struct str type = http_call_header(c, "Content-Type"), body = http_call_body(c);
    json_t *docs[DOCUMENTS_MAX] = { NULL };
    size_t count = 0;
    if (!is_type(type, "application/yaml") && !is_type(type, "application/x-yaml"))
        return json_read(body, k->limits, ret, e);
    int r = yaml_read(body, k->limits, docs, DOCUMENTS_MAX, &count, e);
    if (r < 0)
        return r;
    if (count != 1) {
        for (size_t i = 0; i < count; i++)
            json_decref(docs[i]);
        return err_set(e, CODE_INVALID, "YAML: want one document, found %zu", count);
    }
    *ret = docs[0];
    return 0;
}

static bool type_known(struct http_call *c, const char *const *types)
{
    struct str type = http_call_header(c, "Content-Type");
    if (!type.at)
        return true;
    for (; *types; types++)
        if (is_type(type, *types))
            return true;
    return false;
}

static enum service_unknown unknown_of(struct http_call *c)
{
    struct str v = http_call_param(c, "fieldValidation");
    return !v.at || str_is(v, "Strict") ? SERVICE_UNKNOWN_REFUSE
           : str_is(v, "Warn")          ? SERVICE_UNKNOWN_WARN
                                        : SERVICE_UNKNOWN_DROP;
}

static void change_begin(struct kube *k, struct http_call *c, enum catalog_verb verb, const char *ns,
                         const char *name, json_t *take_body, int status)
{
    struct change *g = xcalloc(1, sizeof *g);
    struct str dry = http_call_param(c, "dryRun");
    g->call = c;
    g->status = status;
    g->q = (struct catalog_request){ .verb = verb, .take_body = take_body, .user = USER,
                                     .unknown = unknown_of(c), .dry_run = dry.at && str_is(dry, "All"),
                                     .on_done = on_changed };
    snprintf(g->q.ns, sizeof g->q.ns, "%s", ns);
    snprintf(g->q.name, sizeof g->q.name, "%s", name);
    catalog_submit(k->catalog, &g->q);
}

static void change(struct kube *k, struct http_call *c, enum catalog_verb verb, const char *ns,
                   const char *name)
{
    static const char *const whole[] = { TYPE_JSON, "application/yaml", "application/x-yaml", NULL };
    static const char *const merge[] = { "application/merge-patch+json", NULL };
    json_t *body = NULL;
    struct err e;
    if (!type_known(c, verb == CATALOG_MERGE ? merge : whole)) {
        answer_status(c, 415, "UnsupportedMediaType",
                      verb == CATALOG_MERGE
                          ? "the body of the request was in an unknown format - accepted media types "
                            "include: application/merge-patch+json"
                          : "the body of the request was in an unknown format - accepted media types "
                            "include: application/json, application/yaml",
                      "services", NULL);
        return;
    }
    if (body_read(k, c, &body, &e) < 0) {
        answer_status(c, 400, "BadRequest", e.text, "services", NULL);
        return;
    }
    change_begin(k, c, verb, ns, name, body, verb == CATALOG_CREATE ? 201 : 200);
}

/* ---- reading -------------------------------------------------------------------------------- */

struct listing {
    struct buf *b;
    uint32_t count;
    const char *field_name; /* fieldSelector metadata.name, or NULL */
    struct str service;     /* labelSelector serving.knative.dev/service=…, or at NULL */
};

static bool list_add(void *ctx, const struct catalog_item *i)
{
    struct listing *l = ctx;
    if (l->field_name && strcmp(l->field_name, i->name) != 0)
        return true;
    buf_printf(l->b, "%s", l->count++ ? "," : "");
    buf_text(l->b, i->text);
    return !l->b->overflow;
}

static void list(struct kube *k, struct http_call *c, const struct resource *r, const char *ns)
{
    struct buf b;
    char name[OBJECT_NAME_MAX];
    struct str field = http_call_param(c, "fieldSelector");
    struct listing l = { .b = &b };
    if (str_starts(field, STR("metadata.name=")) && field.size - 14 < sizeof name) {
        snprintf(name, sizeof name, STR_FMT, STR_ARG(str_from(field, 14)));
        l.field_name = name;
    }
    buf_init(&b, ANSWER_MAX);
    buf_printf(&b, "{\"apiVersion\":\"%s\",\"kind\":\"%sList\",\"metadata\":{\"resourceVersion\":\"%lld\"},"
                   "\"items\":[", SERVING_API_VERSION, r->kind, (long long)catalog_version(k->catalog));
    catalog_each(k->catalog, r->of, ns, list_add, &l);
    buf_text(&b, "]}\n");
    http_answer(c, b.overflow ? 507 : 200, TYPE_JSON, NULL, b.overflow ? STR("{}") : buf_str(&b));
    buf_done(&b);
}

static void get(struct kube *k, struct http_call *c, const struct resource *r, const char *ns,
                const char *name)
{
    struct catalog_item i;
    if (catalog_find(k->catalog, r->of, ns, name, &i))
        answer_text(c, 200, NULL, i.text);
    else
        answer_not_found(c, r->plural, name);
}

/* ---- routing --------------------------------------------------------------------------------- */

static void not_allowed(struct http_call *c, const char *allow)
{
    char headers[64];
    snprintf(headers, sizeof headers, "Allow: %s\r\n", allow);
    answer_text(c, 405, headers,
                "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":"
                "\"the server does not allow this method on the requested resource\",\"reason\":"
                "\"MethodNotAllowed\",\"details\":{},\"code\":405}\n");
}

static void collection(struct kube *k, struct http_call *c, const struct resource *r, const char *ns)
{
    struct str m = http_call_method(c);
    if (str_is(m, "GET") || str_is(m, "HEAD"))
        list(k, c, r, ns);
    else if (str_is(m, "POST") && r->of == CATALOG_SERVICES && ns)
        change(k, c, CATALOG_CREATE, ns, "");
    else
        not_allowed(c, r->of == CATALOG_SERVICES && ns ? "GET, POST" : "GET");
}

static void object(struct kube *k, struct http_call *c, const struct resource *r, const char *ns,
                   const char *name)
{
    struct str m = http_call_method(c);
    bool service = r->of == CATALOG_SERVICES;
    if (str_is(m, "GET") || str_is(m, "HEAD"))
        get(k, c, r, ns, name);
    else if (str_is(m, "DELETE"))
        change_begin(k, c, service ? CATALOG_DELETE : CATALOG_DELETE_REVISION, ns, name, NULL, 200);
    else if (str_is(m, "PUT") && service)
        change(k, c, CATALOG_REPLACE, ns, name);
    else if (str_is(m, "PATCH") && service)
        change(k, c, CATALOG_MERGE, ns, name);
    else
        not_allowed(c, service ? "GET, PUT, PATCH, DELETE" : "GET, DELETE");
}

static const struct resource *resource_find(const char *plural)
{
    for (size_t i = 0; i < COUNT_OF(resources); i++)
        if (strcmp(resources[i].plural, plural) == 0)
            return &resources[i];
    return NULL;
}

static void resource_list(struct http_call *c)
{
    struct buf b;
    buf_init(&b, KIB(16));
    buf_printf(&b, "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"%s\",\"resources\":[",
               SERVING_API_VERSION);
    for (size_t i = 0; i < COUNT_OF(resources); i++) {
        const struct resource *r = &resources[i];
        buf_printf(&b, "%s{\"name\":\"%s\",\"singularName\":\"%s\",\"namespaced\":true,\"kind\":\"%s\","
                       "\"verbs\":%s,\"shortNames\":%s,\"categories\":[\"all\",\"knative\",\"serving\"]}",
                   i ? "," : "", r->plural, r->singular, r->kind, r->verbs, r->short_names);
    }
    buf_text(&b, "]}\n");
    http_answer(c, 200, TYPE_JSON, NULL, buf_str(&b));
    buf_done(&b);
}

#define GROUP_JSON                                                                                   \
    "{\"name\":\"" SERVING_GROUP "\",\"versions\":[{\"groupVersion\":\"" SERVING_API_VERSION             \
    "\",\"version\":\"v1\"}],\"preferredVersion\":{\"groupVersion\":\"" SERVING_API_VERSION              \
    "\",\"version\":\"v1\"}}"

/* gnostic's OpenAPI v2 document with nothing in it but what is required: {swagger: "2.0", info:
 * {title: "hob", version: "v1"}}; kubectl before 1.28 wants it as protobuf before it applies. */
static const char openapi_v2[] = "\x0a\x03" "2.0" "\x12\x09" "\x0a\x03" "hob" "\x12\x02" "v1";

static bool discovery(struct kube *k, struct http_call *c)
{
    static const struct {
        const char *path, *text;
    } fixed[] = {
        { "/api", "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":[]}\n" },
        { "/api/v1", "{\"kind\":\"APIResourceList\",\"groupVersion\":\"v1\",\"resources\":[]}\n" },
        { "/apis", "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[" GROUP_JSON "]}\n" },
        { "/apis/" SERVING_GROUP, GROUP_JSON "\n" },
    };
    struct str path = http_call_path(c);
    for (size_t i = 0; i < COUNT_OF(fixed); i++) {
        if (str_is(path, fixed[i].path)) {
            answer_text(c, 200, NULL, fixed[i].text);
            return true;
        }
    }
    if (str_is(path, GROUP_PATH)) {
        resource_list(c);
    } else if (str_is(path, "/openapi/v2")) {
        http_answer(c, 200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", NULL,
                    (struct str){ openapi_v2, sizeof openapi_v2 - 1 });
    } else if (str_is(path, "/version")) {
        answer_tree(c, 200, NULL,
                    json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "major", "1", "minor", "27",
                              "gitVersion", "v1.27.0-hob", "version", HOB_VERSION, "ingress",
                              k->ingress, "api", k->api));
    } else {
        return false;
    }
    return true;
}

bool kube_handle(struct kube *k, struct http_call *c)
{
    char segment[32], ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX];
    if (!str_starts(http_call_path(c), STR(GROUP_PATH "/")))
        return discovery(k, c);
    uint32_t count = http_call_segments(c);
    const struct resource *r = NULL;
    bool in_ns = http_call_segment(c, 3, segment, sizeof segment) && strcmp(segment, "namespaces") == 0;
    if (!in_ns && count == 4 && (r = resource_find(segment)) != NULL) {
        collection(k, c, r, NULL);
        return true;
    }
    if (in_ns && http_call_segment(c, 4, ns, sizeof ns) &&
        http_call_segment(c, 5, segment, sizeof segment))
        r = resource_find(segment);
    if (r && count == 6)
        collection(k, c, r, ns);
    else if (r && count == 7 && http_call_segment(c, 6, name, sizeof name))
        object(k, c, r, ns, name);
    else
        answer_status(c, 404, "NotFound", "the server could not find the requested resource", "", NULL);
    return true;
}

struct kube *kube_new(struct catalog *c, const struct limits *limits, const char *ingress,
                      const char *api)
{
    struct kube *k = xcalloc(1, sizeof *k);
    *k = (struct kube){ c, limits, ingress, api };
    return k;
}

void kube_free(struct kube *k) { free(k); }
