#include "api/kube_impl.h"

#include "api/kube_protobuf.h"
#include "codec/json_patch.h"
#include "serving/managed.h"

#include <stdio.h>
#include <stdlib.h>

enum kube_patch { KUBE_PUT, KUBE_MERGE, KUBE_JSON_PATCH, KUBE_APPLY };

/* A request that the catalog answers. */
struct pending {
    struct catalog_request q;
    struct list_node node;
    struct kube *kube;    /* NULL: kube is gone, and so is the call */
    struct http_call *call;
    const struct kube_resource *resource;
    enum kube_patch kind;
    json_t *patch;     /* PATCH: as it came; APPLY: the configuration. Also what a PUT brought */
    json_t *base;      /* managedFields that the client set; NULL: none */
    char manager[MANAGED_NAME_MAX + 1];
    bool force;
    struct kube_refusal why; /* code 0: the catalog's error says enough */
    struct err why_text;
    struct sweep *sweep; /* the deletecollection it is a part of; NULL: it is a request of its own */
    char uid[80];
};

/* ---- what a request says ---- */

enum body_form { BODY_JSON, BODY_YAML, BODY_PROTOBUF, BODY_UNKNOWN };

static enum body_form body_form(const struct http_call *c)
{
    struct str type = http_call_header(c, "Content-Type");
    static const char *const yaml[] = { "application/yaml", "application/x-yaml", "text/yaml" };
    struct str media = str_trim(str_cut(&type, ';'));
    for (size_t i = 0; i < COUNT_OF(yaml); i++)
        if (str_eq_nocase(media, str_of(yaml[i])))
            return BODY_YAML;
    if (str_is(media, KUBE_PROTOBUF_TYPE))
        return BODY_PROTOBUF;
    return media.size == 0 || str_is(media, "application/json") ? BODY_JSON : BODY_UNKNOWN;
}

static int body_parse(struct kube *k, struct http_call *c, enum body_form form, json_t **ret, size_t *ret_count,
                      struct err *e)
{
    *ret_count = 1;
    switch (form) {
    case BODY_YAML: return yaml_read(http_call_body(c), k->s.limits, ret, 1, ret_count, e);
    case BODY_PROTOBUF: return kube_protobuf_read(http_call_body(c), k->s.limits, ret, e);
    case BODY_JSON:
    case BODY_UNKNOWN: break;
    }
    return json_read(http_call_body(c), k->s.limits, ret, e);
}

/* NULL: refused, and answered. */
static json_t *body_read(struct kube *k, struct http_call *c)
{
    struct err e;
    json_t *j = NULL;
    size_t count;
    enum body_form form = body_form(c);
    if (form == BODY_UNKNOWN) {
        kube_refuse_media(c, "application/json, application/yaml, " KUBE_PROTOBUF_TYPE);
        return NULL;
    }
    int r = body_parse(k, c, form, &j, &count, &e);
    if (r == 0 && count == 1 && json_is_object(j))
        return j;
    if (r == 0)
        (void)err_set(&e, CODE_INVALID, "the body is not an object");
    json_decref(r == 0 && count == 1 ? j : NULL);
    AUTO_FREE char *message = xasprintf("error decoding the body: %s", e.text);
    kube_refuse_with(c, 400, "BadRequest", message);
    return NULL;
}

struct address { /* what a request is about */
    const struct kube_resource *resource;
    const char *ns, *name; /* "": none */
};

/* What an object says of itself fits the address it was sent to. A patch need not say anything. */
static int object_fits(const struct address *a, const json_t *object, bool patch, struct err *e)
{
    const char *version = json_text_at(object, "apiVersion"), *kind = json_text_at(object, "kind");
    const char *ns = json_text_at(object, "metadata.namespace");
    const char *name = json_text_at(object, "metadata.name");
    if (!patch && !kind)
        return err_set(e, CODE_INVALID, "Object 'Kind' is missing in the body");
    if (kind && strcmp(kind, a->resource->name) != 0)
        return err_set(e, CODE_INVALID, "the kind in the data (%.100s) does not match the expected kind (%s)", kind,
                       a->resource->name);
    if (!patch && !version)
        return err_set(e, CODE_INVALID, "Object 'apiVersion' is missing in the body");
    if (version && strcmp(version, a->resource->api_version) != 0)
        return err_set(e, CODE_INVALID,
                       "the API version in the data (%.100s) does not match the expected API version (%s)", version,
                       a->resource->api_version);
    if (ns && *ns && strcmp(ns, a->ns) != 0)
        return err_set(e, CODE_INVALID,
                       "the namespace of the provided object does not match the namespace sent on the request "
                       "(%.100s, %.100s)",
                       ns, a->ns);
    if (*a->name && name && *name && strcmp(name, a->name) != 0)
        return err_set(e, CODE_INVALID,
                       "the name of the object (%.200s) does not match the name on the URL (%.200s)", name, a->name);
    return 0;
}

/* False: refused, and answered. */
static bool body_fits(struct http_call *c, const struct kube_place *p, const json_t *body, bool patch)
{
    struct err e;
    const struct address a = { p->resource, p->ns, p->name };
    return object_fits(&a, body, patch, &e) == 0 || kube_bad_request(c, "%s", e.text);
}

/* fieldManager, or what the client calls itself; false: refused. */
static bool manager_read(struct http_call *c, struct pending *p)
{
    struct str manager = http_call_param(c, "fieldManager");
    bool given = manager.size > 0;
    if (!given) {
        struct str agent = http_call_header(c, "User-Agent");
        manager = str_cut(&agent, '/');
    }
    if (!given && p->kind == KUBE_APPLY)
        return kube_bad_request(c, "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is "
                                   "required for apply patch");
    if (manager.size > MANAGED_NAME_MAX && given)
        return kube_bad_request(c, "fieldManager: Too long: may not be more than %d bytes", (int)MANAGED_NAME_MAX);
    manager.size = MIN(manager.size, (size_t)MANAGED_NAME_MAX);
    for (size_t i = 0; i < manager.size; i++)
        if (manager.at[i] < 0x20 || manager.at[i] > 0x7e)
            return kube_bad_request(c, "fieldManager: Invalid value: should only contain printable characters");
    (void)snprintf(p->manager, sizeof p->manager, STR_FMT, STR_ARG(manager));
    if (manager.size == 0)
        (void)snprintf(p->manager, sizeof p->manager, "unknown");
    return true;
}

static bool force_read(struct http_call *c, struct pending *p)
{
    struct str force = http_call_param(c, "force");
    p->force = str_is(force, "true") || str_is(force, "1");
    if (force.size > 0 && p->kind != KUBE_APPLY)
        return kube_bad_request(c, "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be "
                                   "specified for non-apply patch");
    return true;
}

/* dryRun and fieldValidation; false: refused. */
static bool parameters_read(struct http_call *c, struct pending *p)
{
    struct str dry = http_call_param(c, "dryRun");
    struct str fields = http_call_param(c, "fieldValidation");
    if (dry.at && dry.size > 0 && !str_is(dry, "All"))
        return kube_bad_request(c, "dryRun: Unsupported value: supported values: \"All\"");
    p->q.dry_run = p->q.dry_run || str_is(dry, "All");
    if (!fields.at || fields.size == 0 || str_is(fields, "Strict"))
        p->q.unknown = SERVICE_UNKNOWN_REFUSE;
    else if (str_is(fields, "Warn"))
        p->q.unknown = SERVICE_UNKNOWN_WARN;
    else if (str_is(fields, "Ignore"))
        p->q.unknown = SERVICE_UNKNOWN_DROP;
    else
        return kube_bad_request(c,
                           "fieldValidation: Unsupported value: supported values: \"Ignore\", \"Warn\", "
                           "\"Strict\"");
    return true;
}

/* ---- changing ---- */

static void pending_free(struct pending *p)
{
    if (p->kube)
        list_remove(&p->kube->calls, &p->node);
    json_decref(p->patch);
    json_decref(p->base);
    json_decref(p->why.take_causes);
    free(p);
}

static void answer_deleted(struct pending *p, const struct catalog_item *item)
{
    AUTO_JSON json_t *j = json_pack(
        "{s:s,s:s,s:{},s:s,s:{s:s,s:s,s:s,s:s}}", "kind", "Status", "apiVersion", "v1", "metadata",
        "status", "Success", "details", "name", item->name, "group", p->resource->group, "kind",
        p->resource->plural, "uid", item->uid);
    kube_answer_tree(p->call, 200, j);
}

static void refuse_why(struct pending *p)
{
    struct kube_refusal why = p->why;
    p->why.take_causes = NULL;
    why.message = p->why_text.text;
    why.resource = why.code == 409 ? p->resource : NULL; /* of an invalid object kubectl would say only which */
    why.name = why.code == 409 ? p->q.name : NULL;
    kube_refuse(p->call, &why);
}

static void sweep_on_done(struct pending *p, int r, const struct catalog_item *item, const struct err *e);

static void on_done(struct catalog_request *q, int r, const struct catalog_item *item,
                    const struct err *e)
{
    struct pending *p = CONTAINER_OF(q, struct pending, q);
    if (p->sweep)
        sweep_on_done(p, r, item, e);
    else if (!p->kube)
        ; /* nobody is there any more to be answered */
    else if (r < 0 && p->why.code)
        refuse_why(p);
    else if (r < 0)
        kube_refuse_err(p->call, p->resource, q, r, e);
    else if (p->resource->kind == REGISTRY_NAMESPACES && p->resource->source == KUBE_FROM_REGISTRY &&
             q->verb == CATALOG_DELETE)
        kube_answer(p->call, 200, str_of(catalog_item_text(item)), NULL); /* it is only marked so far */
    else if (q->verb == CATALOG_DELETE || q->verb == CATALOG_DELETE_REVISION)
        answer_deleted(p, item);
    else
        kube_answer(p->call, q->created ? 201 : 200, str_of(catalog_item_text(item)),
                    &q->draft.warnings);
    pending_free(p);
}

static struct pending *pending_new(struct kube *k, struct http_call *c, const struct kube_place *place,
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

static void pending_submit(struct pending *p, bool makes)
{
    struct err e;
    int r = kube_submit(p->kube, p->resource, &p->q, makes, &e);
    if (r == 0)
        return;
    json_decref(TAKE(p->q.take_body));
    kube_refuse_err(p->call, p->resource, &p->q, r, &e);
    pending_free(p);
}

/* ---- what becomes of an object, and whose its fields are ---- */

static struct managed_change change_of(const struct pending *p)
{
    return (struct managed_change){ .manager = p->manager, .api_version = p->resource->api_version,
                                    .apply = p->kind == KUBE_APPLY, .force = p->force,
                                    .now_ms = loop_wall_ms(), .base = p->base,
                                    .config = p->kind == KUBE_APPLY ? p->patch : NULL };
}

static int json_patched(struct pending *p, const json_t *before, json_t **ret, struct err *e)
{
    int r = json_patch_apply(before, p->patch, p->kube->s.limits, ret, e);
    if (r == -CODE_PRECONDITION || r == -CODE_EXHAUSTED) {
        p->why = (struct kube_refusal){ .code = 422, .reason = "Invalid" };
        (void)err_set(&p->why_text, CODE_INVALID,
                      "the server rejected our request due to an error in our request: %.180s", e->text);
    }
    return r;
}

/* managedFields that the client changed are gone on from, as far as they are such. */
static void base_take(struct pending *p, const json_t *before, const json_t *becomes)
{
    json_t *fields = json_at(becomes, "metadata.managedFields");
    if (p->kind != KUBE_APPLY && fields && !json_equal(fields, json_at(before, "metadata.managedFields")) &&
        managed_valid(fields))
        p->base = json_incref(fields);
}

/* The address says it where the configuration does not. */
static void named(json_t *object, const char *name)
{
    if (!json_is_object(json_object_get(object, "metadata")))
        (void)json_object_set_new(object, "metadata", json_object());
    if (!json_text_at(object, "metadata.name"))
        (void)json_object_set_new(json_object_get(object, "metadata"), "name", json_string(name));
}

/* Refused with a code of its own, not with the one that goes with the catalog's. */
static int refused_as(struct pending *p, int code, const char *reason, const struct err *why)
{
    p->why = (struct kube_refusal){ .code = code, .reason = reason };
    p->why_text = *why;
    return -(int)why->code;
}

/* Whatever a change does, it leaves an object that is the one at this address. */
static int identity_check(struct pending *p, const json_t *before, const json_t *object, struct err *e)
{
    const struct address a = { p->resource, p->q.ns, p->q.name };
    const char *name = json_text_at(object, "metadata.name"), *uid = json_text_at(object, "metadata.uid");
    const char *own = json_text_at(before, "metadata.uid");
    int r = object_fits(&a, object, false, e);
    if (r == 0 && (!name || !*name))
        r = err_set(e, CODE_INVALID,
                    "the name of the object (%.200s based on URL) was undeterminable: name must be provided", a.name);
    if (r < 0)
        return refused_as(p, 400, "BadRequest", e);
    if (!own || !uid || !*uid || strcmp(uid, own) == 0)
        return 0;
    if (p->kind == KUBE_PUT)
        return err_set(e, CODE_ABORTED, "Precondition failed: UID in precondition: %.64s, UID in object meta: %s",
                       uid, own);
    (void)err_set(e, CODE_INVALID, "%s \"%.200s\" is invalid: metadata.uid: Invalid value: \"%.64s\": field is immutable",
                  a.resource->name, a.name, uid);
    return refused_as(p, 422, "Invalid", e);
}

/* What the client's change makes of `before`: anything at all, or NULL. */
static int patched(struct pending *p, const json_t *before, json_t **ret, struct err *e)
{
    const struct managed_change change = change_of(p);
    switch (p->kind) {
    case KUBE_PUT: *ret = json_incref(p->patch); break;
    case KUBE_MERGE: *ret = json_merge_patch(before, p->patch); break;
    case KUBE_APPLY:
        *ret = managed_apply(before, &change);
        named(*ret, p->q.name);
        break;
    case KUBE_JSON_PATCH: return json_patched(p, before, ret, e);
    }
    return 0;
}

/* *ret is only set where it returns 0. */
static int on_patch(struct catalog_request *q, const json_t *before, json_t **ret, struct err *e)
{
    struct pending *p = CONTAINER_OF(q, struct pending, q);
    AUTO_JSON json_t *made = NULL;
    if (!p->kube)
        return err_set(e, CODE_CANCELLED, "the API is gone");
    if (!before && p->kind != KUBE_APPLY)
        return err_set(e, CODE_NOT_FOUND, "there is none");
    int r = patched(p, before, &made, e);
    if (r == 0 && !json_is_object(made))
        r = err_set(e, CODE_INVALID, "what the patch leaves is not an object");
    if (r == 0)
        r = identity_check(p, before, made, e);
    if (r < 0)
        return r;
    base_take(p, before, made);
    *ret = TAKE(made);
    return 0;
}

static int on_finish(struct catalog_request *q, const json_t *before, json_t *object, struct err *e)
{
    struct pending *p = CONTAINER_OF(q, struct pending, q);
    const struct managed_change change = change_of(p);
    int r = managed_update(before, object, &change, &p->why.take_causes, e);
    if (r == -CODE_ABORTED) {
        p->why.code = 409;
        p->why.reason = "Conflict";
        p->why_text = *e;
    }
    return r;
}

/* ---- create, replace, patch ---- */

/* False: refused, and answered. */
static bool change_read(struct http_call *c, struct pending *p, const json_t *body)
{
    const char *name = json_text_at(body, "metadata.name");
    if (!*p->q.name && name) /* for the messages; the catalog takes it from the body */
        (void)snprintf(p->q.name, sizeof p->q.name, "%s", name);
    p->q.patch = on_patch;
    p->q.finish = on_finish;
    return parameters_read(c, p) && manager_read(c, p) && force_read(c, p);
}

void kube_create_handle(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    json_t *body = body_read(k, c);
    if (!body)
        return;
    struct pending *p = pending_new(k, c, place, CATALOG_CREATE);
    p->q.take_body = body;
    if (body_fits(c, place, body, false) && change_read(c, p, body)) {
        pending_submit(p, true);
        return;
    }
    json_decref(body);
    pending_free(p);
}

/* Takes the body. */
static void patch_submit(struct kube *k, struct http_call *c, const struct kube_place *place,
                         enum kube_patch kind, json_t *take_body)
{
    struct pending *p = pending_new(k, c, place, CATALOG_PATCH);
    bool partial = kind == KUBE_MERGE || kind == KUBE_JSON_PATCH;
    p->kind = kind;
    p->patch = take_body;
    if (body_fits(c, place, take_body, partial) && change_read(c, p, take_body))
        pending_submit(p, kind == KUBE_APPLY);
    else
        pending_free(p);
}

void kube_replace_handle(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    json_t *body = body_read(k, c);
    if (body)
        patch_submit(k, c, place, KUBE_PUT, body);
}

static const struct {
    const char *type;
    enum kube_patch kind;
    bool yaml, core; /* core: of the core group's kinds only */
} patch_types[] = {
    /* There are no lists in them that it would merge by a key, so it is the same. */
    { "application/strategic-merge-patch+json", KUBE_MERGE, false, true },
    { "application/merge-patch+json", KUBE_MERGE, false, false },
    { "application/json-patch+json", KUBE_JSON_PATCH, false, false },
    { "application/apply-patch+yaml", KUBE_APPLY, true, false }, /* JSON is YAML, too */
};

static json_t *patch_read(struct kube *k, struct http_call *c, size_t row)
{
    struct err e;
    json_t *body = NULL;
    size_t count = 1;
    bool json = !patch_types[row].yaml || str_starts(str_trim(http_call_body(c)), STR("{"));
    int r = json ? json_read(http_call_body(c), k->s.limits, &body, &e)
                 : yaml_read(http_call_body(c), k->s.limits, &body, 1, &count, &e);
    bool list = patch_types[row].kind == KUBE_JSON_PATCH;
    if (r == 0 && count == 1 && (list ? json_is_array(body) : json_is_object(body)))
        return body;
    json_decref(r == 0 && count == 1 ? body : NULL);
    (void)kube_bad_request(c, "error decoding patch: %s",
                           r < 0  ? e.text
                           : list ? "the patch is not an array of operations"
                                  : "the patch is not an object");
    return NULL;
}

void kube_patch_handle(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    struct str header = http_call_header(c, "Content-Type");
    struct str type = str_trim(str_cut(&header, ';'));
    for (size_t i = 0; i < COUNT_OF(patch_types); i++) {
        if (!str_is(type, patch_types[i].type) || (patch_types[i].core && *place->resource->group))
            continue;
        json_t *body = patch_read(k, c, i);
        if (!body)
            return;
        if (patch_types[i].kind == KUBE_APPLY && json_array_size(json_at(body, "metadata.managedFields")) > 0) {
            (void)kube_bad_request(c, "metadata.managedFields must be nil");
            json_decref(body);
            return;
        }
        patch_submit(k, c, place, patch_types[i].kind, body);
        return;
    }
    kube_refuse_media(c, "application/json-patch+json, application/merge-patch+json, "
                         "application/apply-patch+yaml");
}

/* ---- delete ---- */

static enum catalog_verb delete_verb(const struct kube_resource *r)
{
    return r->source == KUBE_FROM_CATALOG && r->kind == CATALOG_REVISIONS ? CATALOG_DELETE_REVISION
                                                                         : CATALOG_DELETE;
}

static bool owns(const struct kube_resource *r)
{
    return r->source == KUBE_FROM_CATALOG && (r->kind == CATALOG_SERVICES || r->kind == CATALOG_CONFIGURATIONS);
}

/* The body may be DeleteOptions: preconditions and a dry run are acted on. Owned objects always go
 * with their owner, at once: who wants to keep them is told so before they are gone. */
static bool delete_options_read(struct kube *k, struct http_call *c, const struct kube_resource *r, json_t **ret)
{
    static const char *const policies[] = { "Orphan", "Background", "Foreground" };
    *ret = NULL;
    if (http_call_body(c).size > 0 && !(*ret = body_read(k, c)))
        return false;
    const char *policy = json_text_at(*ret, "propagationPolicy");
    struct str asked = policy ? str_of(policy) : http_call_param(c, "propagationPolicy");
    bool known = asked.size == 0;
    for (size_t i = 0; i < COUNT_OF(policies); i++)
        known |= str_is(asked, policies[i]);
    bool orphans = str_is(asked, "Orphan") || (asked.size == 0 && json_is_true(json_object_get(*ret, "orphanDependents")));
    bool keeps = orphans && owns(r);
    if (known && !keeps && json_int_at(*ret, "gracePeriodSeconds", 0) >= 0)
        return true;
    json_decref(TAKE(*ret));
    if (keeps)
        return kube_bad_request(c, "propagationPolicy: Orphan is not supported: what belongs to a %s goes with it; delete "
                                   "with Background or Foreground", r->name);
    if (!known)
        return kube_bad_request(c, "propagationPolicy: Unsupported value: supported values: \"Background\", "
                                   "\"Foreground\", \"Orphan\"");
    return kube_bad_request(c, "gracePeriodSeconds: must be 0 or more");
}

void kube_delete_handle(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    AUTO_JSON json_t *options = NULL;
    uint64_t version;
    if (!delete_options_read(k, c, place->resource, &options))
        return;
    struct pending *p = pending_new(k, c, place, delete_verb(place->resource));
    const char *uid = json_text_at(options, "preconditions.uid");
    const char *want = json_text_at(options, "preconditions.resourceVersion");
    const char *dry = json_text_at(options, "dryRun.0");
    if (uid) {
        (void)snprintf(p->uid, sizeof p->uid, "%s", uid);
        p->q.uid = p->uid;
    }
    if (want && *want) /* what is no number was never a version */
        p->q.version = str_u64(str_of(want), &version) && version <= INT64_MAX && version > 0
                           ? (int64_t)version
                           : INT64_MAX;
    p->q.dry_run = dry && strcmp(dry, "All") == 0;
    if (!parameters_read(c, p)) {
        pending_free(p);
        return;
    }
    pending_submit(p, false);
}

/* ---- deletecollection: many deletions, a few at a time, one answer ---- */

enum { SWEEP_WINDOW = 16 };

struct sweep {
    struct kube *kube; /* NULL: gone */
    struct http_call *call;
    struct kube_place place;
    struct kube_selection which;
    bool dry_run;
    char **keys; /* "ns/name" of what is to go */
    size_t count, capacity, next;
    uint32_t open;
    json_t *gone;
    int r; /* the first that failed, but for those that were gone already */
    struct err e;
    char failed[OBJECT_NAME_MAX];
};

static void sweep_free(struct sweep *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->keys[i]);
    free(s->keys);
    json_decref(s->gone);
    free(s);
}

static void sweep_answer(struct sweep *s)
{
    const struct kube_resource *r = s->place.resource;
    if (s->r < 0) {
        struct catalog_request q = { 0 };
        memcpy(q.name, s->failed, sizeof q.name);
        kube_refuse_err(s->call, r, &q, s->r, &s->e);
        return;
    }
    AUTO_FREE char *kind = xasprintf("%sList", r->name);
    AUTO_JSON json_t *j = json_pack("{s:s,s:s,s:{s:s},s:O}", "kind", kind, "apiVersion", r->api_version,
                                    "metadata", "resourceVersion", "", "items", s->gone);
    kube_answer_tree(s->call, 200, j);
}

/* May end s. */
static void sweep_go_on(struct sweep *s)
{
    while (s->kube && s->r == 0 && s->next < s->count && s->open < SWEEP_WINDOW) {
        struct kube_place place = s->place;
        const char *key = s->keys[s->next++], *slash = strchr(key, '/');
        (void)snprintf(place.ns, sizeof place.ns, "%.*s", (int)(slash - key), key);
        (void)snprintf(place.name, sizeof place.name, "%s", slash + 1);
        struct pending *p = pending_new(s->kube, s->call, &place, delete_verb(place.resource));
        p->sweep = s;
        p->q.dry_run = s->dry_run;
        s->open++;
        pending_submit(p, false);
    }
    if (s->open > 0)
        return;
    if (s->kube)
        sweep_answer(s);
    sweep_free(s);
}

static void sweep_on_done(struct pending *p, int r, const struct catalog_item *item, const struct err *e)
{
    struct sweep *s = p->sweep;
    s->open--;
    if (r == 0)
        (void)json_array_append_new(s->gone, json_loads(catalog_item_text(item), 0, NULL));
    else if (r != -CODE_NOT_FOUND && s->r == 0) {
        s->r = r;
        s->e = *e;
        memcpy(s->failed, p->q.name, sizeof s->failed);
    }
    sweep_go_on(s);
}

static bool sweep_item(void *ctx, const struct catalog_item *i)
{
    struct sweep *s = ctx;
    AUTO_JSON json_t *object = kube_selection_deep(&s->which) ? json_loads(catalog_item_text(i), 0, NULL) : NULL;
    if (!kube_selection_match(&s->which, i->ns, i->name, object, json_at(object, "metadata.labels")))
        return true;
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 16;
        s->keys = xrealloc(s->keys, s->capacity, sizeof *s->keys);
    }
    s->keys[s->count++] = xasprintf("%s/%s", i->ns, i->name);
    return true;
}

void kube_delete_all_handle(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    AUTO_JSON json_t *options = NULL;
    struct pending asked = { 0 };
    struct sweep *s = xcalloc(1, sizeof *s);
    *s = (struct sweep){ .kube = k, .call = c, .place = *place, .gone = json_array() };
    if (!delete_options_read(k, c, place->resource, &options) || !parameters_read(c, &asked) ||
        !kube_selection_read(c, place->resource, &s->which)) {
        sweep_free(s);
        return;
    }
    const char *dry = json_text_at(options, "dryRun.0");
    s->dry_run = asked.q.dry_run || (dry && strcmp(dry, "All") == 0);
    kube_each(k, place->resource, *place->ns ? place->ns : NULL, sweep_item, s);
    sweep_go_on(s);
}

void kube_write_done(struct kube *k)
{
    LIST_EACH(&k->calls, n, tmp) {
        struct pending *p = CONTAINER_OF(n, struct pending, node);
        list_remove(&k->calls, n);
        p->kube = NULL;
        if (p->sweep)
            p->sweep->kube = NULL;
    }
}
