#include "api/kube.h"

#include "api/kube_docs.h"
#include "api/kube_reply.h"
#include "api/selector.h"
#include "codec/names.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Nobody signs in yet; this is who everything is done as. */
#define KUBE_USER "system:admin"

enum { LIST_BYTES_MAX = 256 * 1024 * 1024 };

struct kube {
    struct catalog *catalog;
    const struct limits *limits;
    char *ingress, *api;
    int64_t begin_wall_ms;
    struct list calls; /* with the catalog */
};

/* A request that the catalog answers. */
struct pending {
    struct catalog_request q;
    struct list_node node;
    struct kube *kube;    /* NULL: kube is gone, and so is the call */
    struct http_call *call;
    const struct kube_resource *resource;
    char uid[80];
};

/* Where a path points: [/namespaces/{ns}]/{plural}[/{name}] */
struct place {
    const struct kube_resource *resource;
    char ns[OBJECT_NS_MAX], name[OBJECT_NAME_MAX]; /* empty: all */
};

/* ---- refusals ---- */

static void refuse(struct http_call *c, int code, const char *reason, const char *message)
{
    kube_refuse(c, &(struct kube_refusal){ .code = code, .reason = reason, .message = message });
}

static void refuse_not_found(struct http_call *c, const struct kube_resource *r, const char *name)
{
    AUTO_FREE char *message = xasprintf("%s." SERVING_GROUP " \"%s\" not found", r->plural, name);
    kube_refuse(c, &(struct kube_refusal){ .code = 404,
                                           .reason = "NotFound",
                                           .message = message,
                                           .resource = r,
                                           .name = name });
}

static void refuse_method(struct http_call *c, const char *allow)
{
    kube_refuse(c, &(struct kube_refusal){ .code = 405,
                                           .reason = "MethodNotAllowed",
                                           .message = "the server does not allow this method on the "
                                                      "requested resource",
                                           .allow = allow });
}

/* 422 with one cause per field; `rows` hold whole sentences "path: what". */
static void refuse_invalid(struct http_call *c, const struct kube_resource *r, const char *name,
                           struct refusals *why, const char *cause)
{
    struct buf text;
    json_t *causes = json_array();
    buf_init(&text, 1 << 20);
    buf_printf(&text, "%s." SERVING_GROUP " \"%s\" is invalid: %s", r->name, name,
               why->count > 1 ? "[" : "");
    for (uint32_t i = 0; i < why->count; i++) {
        const struct refusal *row = &why->rows[i];
        size_t skip = strlen(row->path) + 2;
        const char *message = strlen(row->message) > skip ? row->message + skip : row->message;
        buf_printf(&text, "%s%s", i ? ", " : "", row->message);
        (void)json_array_append_new(causes, json_pack("{s:s,s:s,s:s}", "reason", cause, "message", message,
                                                      "field", row->path));
    }
    if (why->count > 1)
        buf_text(&text, "]");
    AUTO_FREE char *message = buf_take_text(&text);
    kube_refuse(c, &(struct kube_refusal){ .code = 422,
                                           .reason = "Invalid",
                                           .message = message,
                                           .resource = r,
                                           .name = name,
                                           .take_causes = causes });
}

static void refuse_unknown(struct http_call *c, struct refusals *why)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_text(&text, "Service in version \"v1\" cannot be handled as a Service: strict decoding error: ");
    for (uint32_t i = 0; i < why->count; i++)
        buf_printf(&text, "%s%s", i ? ", " : "", why->rows[i].message);
    AUTO_FREE char *message = buf_take_text(&text);
    refuse(c, 400, "BadRequest", message);
}

static void refuse_draft(struct http_call *c, const struct kube_resource *r, const char *name,
                         struct service_draft *d, const struct err *e)
{
    struct buf text;
    switch (d->refusal) {
    case SERVICE_ACCEPTED: refuse(c, 400, "BadRequest", e->text); return;
    case SERVICE_UNKNOWN_FIELDS: refuse_unknown(c, &d->refused); return;
    case SERVICE_WRONG_TYPES: refuse_invalid(c, r, name, &d->refused, "FieldValueTypeInvalid"); return;
    case SERVICE_WRONG_METADATA: refuse_invalid(c, r, name, &d->refused, "FieldValueInvalid"); return;
    case SERVICE_NOT_VALID: break;
    }
    buf_init(&text, 1 << 20);
    buf_text(&text, "admission webhook \"validation.webhook." SERVING_GROUP
                    "\" denied the request: validation failed: ");
    refusals_text(&d->refused, &text);
    AUTO_FREE char *message = buf_take_text(&text);
    refuse(c, 400, "BadRequest", message);
}

static void refuse_conflict(struct http_call *c, const struct kube_resource *r, const char *name,
                            const char *why)
{
    AUTO_FREE char *message = xasprintf(
        "Operation cannot be fulfilled on %s." SERVING_GROUP " \"%s\": %s", r->plural, name, why);
    kube_refuse(c, &(struct kube_refusal){ .code = 409,
                                           .reason = "Conflict",
                                           .message = message,
                                           .resource = r,
                                           .name = name });
}

static void refuse_err(struct pending *p, int r, const struct err *e)
{
    struct http_call *c = p->call;
    const char *name = p->q.name;
    struct kube_refusal why = { .message = e->text, .resource = p->resource, .name = name };
    AUTO_FREE char *exists = NULL;
    switch (-r) {
    case CODE_INVALID: refuse_draft(c, p->resource, name, &p->q.draft, e); return;
    case CODE_NOT_FOUND: refuse_not_found(c, p->resource, name); return;
    case CODE_PRECONDITION:
    case CODE_ABORTED: refuse_conflict(c, p->resource, name, e->text); return;
    case CODE_EXISTS:
        exists = xasprintf("%s." SERVING_GROUP " \"%s\" already exists", p->resource->plural, name);
        why.code = 409;
        why.reason = "AlreadyExists";
        why.message = exists;
        break;
    case CODE_EXHAUSTED:
        why.code = 429;
        why.reason = "TooManyRequests";
        why.retry_after_s = 1;
        break;
    case CODE_CANCELLED:
    case CODE_UNAVAILABLE:
        why.code = 503;
        why.reason = "ServiceUnavailable";
        why.retry_after_s = 1;
        break;
    default:
        why.code = 500;
        why.reason = "InternalError";
        break;
    }
    kube_refuse(c, &why);
}

/* ---- what a request says ---- */

static bool body_is_yaml(const struct http_call *c, bool *ret_known)
{
    struct str type = http_call_header(c, "Content-Type");
    static const char *const yaml[] = { "application/yaml", "application/x-yaml", "text/yaml" };
    struct str media = str_trim(str_cut(&type, ';'));
    *ret_known = media.size == 0 || str_is(media, "application/json");
    for (size_t i = 0; i < COUNT_OF(yaml); i++)
        if (str_eq_nocase(media, str_of(yaml[i])))
            return *ret_known = true;
    return false;
}

static void refuse_media(struct http_call *c, const char *accepted)
{
    AUTO_FREE char *message = xasprintf(
        "the body of the request was in an unknown format - accepted media types include: %s", accepted);
    refuse(c, 415, "UnsupportedMediaType", message);
}

/* NULL: refused, and answered. */
static json_t *body_read(struct kube *k, struct http_call *c)
{
    struct err e;
    json_t *j = NULL;
    size_t count = 1;
    bool known, yaml = body_is_yaml(c, &known);
    if (!known) {
        refuse_media(c, "application/json, application/yaml");
        return NULL;
    }
    int r = yaml ? yaml_read(http_call_body(c), k->limits, &j, 1, &count, &e)
                 : json_read(http_call_body(c), k->limits, &j, &e);
    if (r == 0 && count == 1 && json_is_object(j))
        return j;
    if (r == 0)
        (void)err_set(&e, CODE_INVALID, "the body is not an object");
    json_decref(r == 0 && count == 1 ? j : NULL);
    AUTO_FREE char *message = xasprintf("error decoding the body: %s", e.text);
    refuse(c, 400, "BadRequest", message);
    return NULL;
}

/* Always false, for `return bad_request(…)`. */
PRINTF_LIKE(2, 3)
static bool bad_request(struct http_call *c, const char *fmt, ...)
{
    char message[800];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    refuse(c, 400, "BadRequest", message);
    return false;
}

/* What the body says of itself fits the address it was sent to. A patch need not say anything. */
static bool body_fits(struct http_call *c, const struct place *p, const json_t *body, bool patch)
{
    const char *version = json_text_at(body, "apiVersion"), *kind = json_text_at(body, "kind");
    const char *ns = json_text_at(body, "metadata.namespace");
    const char *name = json_text_at(body, "metadata.name");
    if (!patch && !kind)
        return bad_request(c, "Object 'Kind' is missing in the body");
    if (kind && strcmp(kind, "Service") != 0)
        return bad_request(c, "the kind in the data (%.100s) does not match the expected kind (Service)",
                           kind);
    if (!patch && !version)
        return bad_request(c, "Object 'apiVersion' is missing in the body");
    if (version && strcmp(version, SERVING_API_VERSION) != 0)
        return bad_request(c,
                           "the API version in the data (%.100s) does not match the expected API version "
                           "(" SERVING_API_VERSION ")",
                           version);
    if (ns && *ns && strcmp(ns, p->ns) != 0)
        return bad_request(c,
                           "the namespace of the provided object does not match the namespace sent on the "
                           "request (%.100s, %.100s)",
                           ns, p->ns);
    if (*p->name && name && *name && strcmp(name, p->name) != 0)
        return bad_request(c,
                           "the name of the object (%.200s) does not match the name on the URL (%.200s)",
                           name, p->name);
    return true;
}

/* dryRun and fieldValidation; false: refused. */
static bool parameters_read(struct http_call *c, struct pending *p)
{
    struct str dry = http_call_param(c, "dryRun");
    struct str fields = http_call_param(c, "fieldValidation");
    if (dry.at && dry.size > 0 && !str_is(dry, "All"))
        return bad_request(c, "dryRun: Unsupported value: supported values: \"All\"");
    p->q.dry_run = p->q.dry_run || str_is(dry, "All");
    if (!fields.at || fields.size == 0 || str_is(fields, "Strict"))
        p->q.unknown = SERVICE_UNKNOWN_REFUSE;
    else if (str_is(fields, "Warn"))
        p->q.unknown = SERVICE_UNKNOWN_WARN;
    else if (str_is(fields, "Ignore"))
        p->q.unknown = SERVICE_UNKNOWN_DROP;
    else
        return bad_request(c,
                           "fieldValidation: Unsupported value: supported values: \"Ignore\", \"Warn\", "
                           "\"Strict\"");
    return true;
}

/* ---- changing ---- */

static void pending_free(struct pending *p)
{
    if (p->kube)
        list_remove(&p->kube->calls, &p->node);
    free(p);
}

static void answer_deleted(struct pending *p, const struct catalog_item *item)
{
    AUTO_JSON json_t *j = json_pack(
        "{s:s,s:s,s:{},s:s,s:{s:s,s:s,s:s,s:s}}", "kind", "Status", "apiVersion", "v1", "metadata",
        "status", "Success", "details", "name", item->name, "group", SERVING_GROUP, "kind",
        p->resource->plural, "uid", item->uid);
    struct buf b;
    buf_init(&b, 4096);
    json_write(j, &b);
    kube_answer(p->call, 200, buf_str(&b), NULL);
    buf_done(&b);
}

static void on_done(struct catalog_request *q, int r, const struct catalog_item *item,
                    const struct err *e)
{
    struct pending *p = CONTAINER_OF(q, struct pending, q);
    if (!p->kube)
        ; /* nobody is there any more to be answered */
    else if (r < 0)
        refuse_err(p, r, e);
    else if (q->verb == CATALOG_DELETE || q->verb == CATALOG_DELETE_REVISION)
        answer_deleted(p, item);
    else
        kube_answer(p->call, q->verb == CATALOG_CREATE ? 201 : 200, str_of(item->text),
                    &q->draft.warnings);
    pending_free(p);
}

static struct pending *pending_new(struct kube *k, struct http_call *c, const struct place *place,
                                   enum catalog_verb verb)
{
    struct pending *p = xcalloc(1, sizeof *p);
    p->kube = k;
    p->call = c;
    p->resource = place->resource;
    p->q.verb = verb;
    p->q.user = KUBE_USER;
    p->q.on_done = on_done;
    memcpy(p->q.ns, place->ns, sizeof p->q.ns);
    memcpy(p->q.name, place->name, sizeof p->q.name);
    list_push(&k->calls, &p->node);
    return p;
}

/* Takes the body. */
static void submit(struct kube *k, struct http_call *c, const struct place *place,
                   enum catalog_verb verb, json_t *take_body)
{
    struct pending *p = pending_new(k, c, place, verb);
    if (!parameters_read(c, p)) {
        json_decref(take_body);
        pending_free(p);
        return;
    }
    const char *name = json_text_at(take_body, "metadata.name");
    if (verb == CATALOG_CREATE && name) /* for the messages; the catalog takes it from the body */
        (void)snprintf(p->q.name, sizeof p->q.name, "%s", name);
    p->q.take_body = take_body;
    catalog_submit(k->catalog, &p->q);
}

static void write_handle(struct kube *k, struct http_call *c, const struct place *place,
                         enum catalog_verb verb)
{
    json_t *body = body_read(k, c);
    if (!body)
        return;
    if (!body_fits(c, place, body, verb == CATALOG_MERGE)) {
        json_decref(body);
        return;
    }
    submit(k, c, place, verb, body);
}

static void patch_handle(struct kube *k, struct http_call *c, const struct place *place)
{
    struct str type = http_call_header(c, "Content-Type");
    struct err e;
    json_t *body = NULL;
    if (!str_is(str_trim(str_cut(&type, ';')), "application/merge-patch+json")) {
        refuse_media(c, "application/merge-patch+json");
        return;
    }
    int r = json_read(http_call_body(c), k->limits, &body, &e);
    if (r < 0 || !json_is_object(body)) {
        json_decref(body);
        refuse(c, 400, "BadRequest", r < 0 ? e.text : "the patch is not an object");
        return;
    }
    if (!body_fits(c, place, body, true)) {
        json_decref(body);
        return;
    }
    submit(k, c, place, CATALOG_MERGE, body);
}

/* The body may be DeleteOptions: a precondition and a dry run are acted on. Owned objects always go
 * with their owner, at once, so every propagationPolicy is satisfied. */
static void delete_handle(struct kube *k, struct http_call *c, const struct place *place)
{
    AUTO_JSON json_t *options = NULL;
    if (http_call_body(c).size > 0) {
        options = body_read(k, c);
        if (!options)
            return;
    }
    struct pending *p = pending_new(k, c, place,
                                    place->resource->kind == CATALOG_SERVICES ? CATALOG_DELETE
                                                                              : CATALOG_DELETE_REVISION);
    const char *uid = json_text_at(options, "preconditions.uid");
    const char *dry = json_text_at(options, "dryRun.0");
    if (uid) {
        (void)snprintf(p->uid, sizeof p->uid, "%s", uid);
        p->q.uid = p->uid;
    }
    p->q.dry_run = dry && strcmp(dry, "All") == 0;
    if (!parameters_read(c, p)) {
        pending_free(p);
        return;
    }
    catalog_submit(k->catalog, &p->q);
}

/* ---- reading ---- */

struct listing {
    struct selector labels, fields;
    char after[OBJECT_NS_MAX + OBJECT_NAME_MAX + 2]; /* "ns/name" of the last item before; "": from the start */
    bool found_after;
    uint64_t limit, count, left; /* limit 0: none */
    char last[OBJECT_NS_MAX + OBJECT_NAME_MAX + 2];
    struct buf text;   /* the items, joined by commas */
    json_t *objects;   /* for a Table; else NULL */
};

static bool listing_item(void *ctx, const struct catalog_item *i)
{
    struct listing *l = ctx;
    char key[sizeof l->last];
    (void)snprintf(key, sizeof key, "%s/%s", i->ns, i->name);
    if (*l->after && !l->found_after) {
        l->found_after = strcmp(key, l->after) == 0;
        return true;
    }
    if (!selector_fields_match(&l->fields, i->ns, i->name))
        return true;
    AUTO_JSON json_t *object = l->objects || l->labels.count ? json_loads(i->text, 0, NULL) : NULL;
    if (l->labels.count && !selector_labels_match(&l->labels, json_at(object, "metadata.labels")))
        return true;
    if (l->limit && l->count == l->limit) {
        l->left++;
        return true;
    }
    if (l->objects) {
        (void)json_array_append(l->objects, object);
    } else {
        buf_text(&l->text, l->count ? "," : "");
        buf_text(&l->text, i->text);
    }
    l->count++;
    memcpy(l->last, key, sizeof l->last);
    return true;
}

/* A token is the last key in hex: nothing in it to be escaped, and nothing to be understood. */
static void token_write(const char *key, char into[2 * sizeof((struct listing *)0)->last])
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;
    for (; *key; key++) {
        into[at++] = hex[(unsigned char)*key >> 4];
        into[at++] = hex[(unsigned char)*key & 15];
    }
    into[at] = '\0';
}

static bool token_read(struct str token, char *into, size_t size)
{
    if (token.size % 2 != 0 || token.size / 2 >= size)
        return false;
    for (size_t i = 0; i < token.size / 2; i++) {
        unsigned value = 0;
        for (size_t k = 0; k < 2; k++) {
            char c = token.at[2 * i + k];
            bool digit = c >= '0' && c <= '9';
            if (!digit && (c < 'a' || c > 'f'))
                return false;
            value = value << 4 | (unsigned)(digit ? c - '0' : c - 'a' + 10);
        }
        into[i] = (char)value;
    }
    into[token.size / 2] = '\0';
    return token.size > 0;
}

static bool listing_read(struct http_call *c, struct listing *l)
{
    struct str limit = http_call_param(c, "limit"), token = http_call_param(c, "continue");
    struct str labels = http_call_param(c, "labelSelector"), fields = http_call_param(c, "fieldSelector");
    struct err e;
    if (selector_parse_labels(labels, &l->labels, &e) < 0 ||
        selector_parse_fields(fields, &l->fields, &e) < 0) {
        refuse(c, 400, "BadRequest", e.text);
        return false;
    }
    if (limit.size > 0 && !str_u64(limit, &l->limit))
        return bad_request(c, "limit: not a whole number");
    if (token.size > 0 && !token_read(token, l->after, sizeof l->after))
        return bad_request(c, "continue key is not valid");
    return true;
}

static void listing_answer(struct http_call *c, const struct kube_resource *r, const struct listing *l,
                           int64_t version)
{
    char number[24], token[2 * sizeof l->last] = "";
    struct buf b;
    (void)snprintf(number, sizeof number, "%lld", (long long)version);
    if (l->left)
        token_write(l->last, token);
    if (l->objects) {
        kube_answer_table(c, r, l->objects, number, token);
        return;
    }
    buf_init(&b, LIST_BYTES_MAX);
    buf_printf(&b, "{\"apiVersion\":\"" SERVING_API_VERSION "\",\"items\":[");
    buf_str_append(&b, buf_str(&l->text));
    buf_printf(&b, "],\"kind\":\"%sList\",\"metadata\":{\"continue\":\"%s\",", r->name, token);
    if (l->left)
        buf_printf(&b, "\"remainingItemCount\":%llu,", (unsigned long long)l->left);
    buf_printf(&b, "\"resourceVersion\":\"%s\"}}", number);
    if (b.overflow || l->text.overflow)
        refuse(c, 413, "RequestEntityTooLarge", "the list is too large; ask for less with limit=");
    else
        kube_answer(c, 200, buf_str(&b), NULL);
    buf_done(&b);
}

static void list_handle(struct kube *k, struct http_call *c, const struct place *place)
{
    struct listing l = { 0 };
    struct str watch = http_call_param(c, "watch");
    if (str_is(watch, "true") || str_is(watch, "1")) {
        kube_refuse(c, &(struct kube_refusal){ .code = 405,
                                               .reason = "MethodNotAllowed",
                                               .message = "watch is not supported yet; ask again instead",
                                               .allow = "GET, HEAD" });
        return;
    }
    if (!listing_read(c, &l))
        return;
    buf_init(&l.text, LIST_BYTES_MAX);
    l.objects = kube_form(c) == KUBE_TABLE ? json_array() : NULL;
    catalog_each(k->catalog, place->resource->kind, *place->ns ? place->ns : NULL, listing_item, &l);
    if (*l.after && !l.found_after)
        refuse(c, 410, "Expired", "The provided continue parameter is too old: what it names is gone");
    else
        listing_answer(c, place->resource, &l, catalog_version(k->catalog));
    buf_done(&l.text);
    json_decref(l.objects);
}

static void get_handle(struct kube *k, struct http_call *c, const struct place *place)
{
    struct catalog_item item;
    if (!catalog_find(k->catalog, place->resource->kind, place->ns, place->name, &item)) {
        refuse_not_found(c, place->resource, place->name);
        return;
    }
    if (kube_form(c) != KUBE_TABLE) {
        kube_answer(c, 200, str_of(item.text), NULL);
        return;
    }
    AUTO_JSON json_t *one = json_array();
    char version[24];
    (void)json_array_append_new(one, json_loads(item.text, 0, NULL));
    (void)snprintf(version, sizeof version, "%lld", (long long)item.version);
    kube_answer_table(c, place->resource, one, version, "");
}

/* ---- namespaces: not kept, only told; one is there as soon as it is used, and "default" always ---- */

struct naming {
    json_t *items;
    const char *last; /* of the last Service; they come in order */
};

static void namespace_add(json_t *items, const char *name)
{
    (void)json_array_append_new(items, json_pack("{s:s,s:s,s:{s:s},s:{s:s}}", "apiVersion", "v1", "kind",
                                                 "Namespace", "metadata", "name", name, "status",
                                                 "phase", "Active"));
}

static bool naming_item(void *ctx, const struct catalog_item *i)
{
    struct naming *n = ctx;
    if ((!n->last || strcmp(n->last, i->ns) != 0) && strcmp(i->ns, "default") != 0)
        namespace_add(n->items, i->ns);
    n->last = i->ns;
    return true;
}

/* /api/v1/namespaces[/{name}]; false: not such a path. */
static bool namespaces_handle(struct kube *k, struct http_call *c)
{
    char text[OBJECT_NS_MAX];
    uint32_t count = http_call_segments(c);
    if (count < 3 || count > 4 || !http_call_segment(c, 0, text, sizeof text) ||
        strcmp(text, "api") != 0 || !http_call_segment(c, 1, text, sizeof text) ||
        strcmp(text, "v1") != 0 || !http_call_segment(c, 2, text, sizeof text) ||
        strcmp(text, "namespaces") != 0)
        return false;
    AUTO_JSON json_t *items = json_array();
    struct naming n = { items, NULL };
    namespace_add(items, "default");
    catalog_each(k->catalog, CATALOG_SERVICES, NULL, naming_item, &n);
    AUTO_JSON json_t *all = json_pack("{s:s,s:s,s:{s:s},s:O}", "apiVersion", "v1", "kind", "NamespaceList",
                                      "metadata", "resourceVersion", "", "items", items);
    const json_t *answer = count == 3 ? all : NULL;
    bool named = count == 4 && http_call_segment(c, 3, text, sizeof text);
    for (size_t i = 0; named && i < json_array_size(items); i++)
        if (strcmp(json_text_at(json_array_get(items, i), "metadata.name"), text) == 0)
            answer = json_array_get(items, i);
    if (!answer) {
        AUTO_FREE char *message = xasprintf("namespaces \"%s\" not found", named ? text : "");
        refuse(c, 404, "NotFound", message);
        return true;
    }
    struct buf b;
    buf_init(&b, LIST_BYTES_MAX);
    json_write(answer, &b);
    kube_answer(c, 200, buf_str(&b), NULL);
    buf_done(&b);
    return true;
}

/* ---- where to ---- */

static const struct kube_resource *resource_find(const char *plural)
{
    if (strcmp(plural, kube_services.plural) == 0)
        return &kube_services;
    return strcmp(plural, kube_revisions.plural) == 0 ? &kube_revisions : NULL;
}

/* /apis/serving.knative.dev/v1/{plural} or …/namespaces/{ns}/{plural}[/{name}] */
static bool place_find(const struct http_call *c, struct place *ret)
{
    char text[64];
    uint32_t count = http_call_segments(c), at = 3;
    *ret = (struct place){ 0 };
    if (count < 4 || !http_call_segment(c, 1, text, sizeof text) || strcmp(text, SERVING_GROUP) != 0 ||
        !http_call_segment(c, 2, text, sizeof text) || strcmp(text, "v1") != 0 ||
        !http_call_segment(c, at, text, sizeof text))
        return false;
    if (strcmp(text, "namespaces") == 0) {
        if (count < 6 || !http_call_segment(c, 4, ret->ns, sizeof ret->ns) ||
            !http_call_segment(c, 5, text, sizeof text))
            return false;
        at = 5;
    }
    ret->resource = resource_find(text);
    if (!ret->resource || count > at + 2 || (count == at + 2 && !*ret->ns))
        return false;
    return count == at + 1 || (http_call_segment(c, at + 1, ret->name, sizeof ret->name) && *ret->name);
}

static bool is(struct http_call *c, const char *method) { return str_is(http_call_method(c), method); }

static void resource_handle(struct kube *k, struct http_call *c, const struct place *place)
{
    bool reading = is(c, "GET") || is(c, "HEAD"), services = place->resource == &kube_services;
    struct err e;
    if (kube_form(c) == KUBE_NOT_ACCEPTABLE)
        refuse(c, 406, "NotAcceptable",
               "only the following media types are accepted: application/json, application/yaml, "
               "application/json;as=Table;v=v1;g=meta.k8s.io");
    else if (*place->ns && !names_label(str_of(place->ns), &e))
        (void)bad_request(c, "namespace \"%.63s\": %.400s", place->ns, e.text);
    else if (reading)
        (*place->name ? get_handle : list_handle)(k, c, place);
    else if (is(c, "POST") && services && *place->ns && !*place->name)
        write_handle(k, c, place, CATALOG_CREATE);
    else if (is(c, "PUT") && services && *place->name)
        write_handle(k, c, place, CATALOG_REPLACE);
    else if (is(c, "PATCH") && services && *place->name)
        patch_handle(k, c, place);
    else if (is(c, "DELETE") && *place->name)
        delete_handle(k, c, place);
    else
        refuse_method(c, !services       ? (*place->name ? "GET, HEAD, DELETE" : "GET, HEAD")
                         : *place->name  ? "GET, HEAD, PUT, PATCH, DELETE"
                         : *place->ns    ? "GET, HEAD, POST"
                                         : "GET, HEAD");
}

static bool ours(struct str path)
{
    static const char *const roots[] = { "/api", "/apis", "/openapi", "/version" };
    for (size_t i = 0; i < COUNT_OF(roots); i++) {
        struct str root = str_of(roots[i]);
        if (str_starts(path, root) && (path.size == root.size || path.at[root.size] == '/'))
            return true;
    }
    return false;
}

bool kube_handle(struct kube *k, struct http_call *c)
{
    struct place place;
    const struct kube_docs docs = { k->ingress, k->api, k->begin_wall_ms };
    if (!ours(http_call_path(c)))
        return false;
    if (place_find(c, &place))
        resource_handle(k, c, &place);
    else if (!is(c, "GET") && !is(c, "HEAD"))
        refuse_method(c, "GET, HEAD");
    else if (!namespaces_handle(k, c) && !kube_docs_handle(c, &docs, loop_wall_ms()))
        refuse(c, 404, "NotFound", "the server could not find the requested resource");
    return true;
}

struct kube *kube_new(struct catalog *c, const struct limits *limits, const char *ingress,
                      const char *api)
{
    struct kube *k = xcalloc(1, sizeof *k);
    k->catalog = c;
    k->limits = limits;
    k->begin_wall_ms = loop_wall_ms();
    k->ingress = xstrdup(ingress);
    k->api = xstrdup(api);
    list_init(&k->calls);
    return k;
}

void kube_free(struct kube *k)
{
    if (!k)
        return;
    LIST_EACH(&k->calls, n, tmp) {
        list_remove(&k->calls, n);
        CONTAINER_OF(n, struct pending, node)->kube = NULL;
    }
    free(k->ingress);
    free(k->api);
    free(k);
}
