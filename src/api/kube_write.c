#include "api/kube_impl.h"

#include <stdio.h>
#include <stdlib.h>

/* A request that the catalog answers. */
struct pending {
    struct catalog_request q;
    struct list_node node;
    struct kube *kube;    /* NULL: kube is gone, and so is the call */
    struct http_call *call;
    const struct kube_resource *resource;
    struct sweep *sweep; /* the deletecollection it is a part of; NULL: it is a request of its own */
    char uid[80];
};

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

/* NULL: refused, and answered. */
static json_t *body_read(struct kube *k, struct http_call *c)
{
    struct err e;
    json_t *j = NULL;
    size_t count = 1;
    bool known, yaml = body_is_yaml(c, &known);
    if (!known) {
        kube_refuse_media(c, "application/json, application/yaml");
        return NULL;
    }
    int r = yaml ? yaml_read(http_call_body(c), k->s.limits, &j, 1, &count, &e)
                 : json_read(http_call_body(c), k->s.limits, &j, &e);
    if (r == 0 && count == 1 && json_is_object(j))
        return j;
    if (r == 0)
        (void)err_set(&e, CODE_INVALID, "the body is not an object");
    json_decref(r == 0 && count == 1 ? j : NULL);
    AUTO_FREE char *message = xasprintf("error decoding the body: %s", e.text);
    kube_refuse_with(c, 400, "BadRequest", message);
    return NULL;
}

/* What the body says of itself fits the address it was sent to. A patch need not say anything. */
static bool body_fits(struct http_call *c, const struct kube_place *p, const json_t *body, bool patch)
{
    const char *version = json_text_at(body, "apiVersion"), *kind = json_text_at(body, "kind");
    const char *ns = json_text_at(body, "metadata.namespace");
    const char *name = json_text_at(body, "metadata.name");
    if (!patch && !kind)
        return kube_bad_request(c, "Object 'Kind' is missing in the body");
    if (kind && strcmp(kind, p->resource->name) != 0)
        return kube_bad_request(c, "the kind in the data (%.100s) does not match the expected kind (%s)", kind,
                                p->resource->name);
    if (!patch && !version)
        return kube_bad_request(c, "Object 'apiVersion' is missing in the body");
    if (version && strcmp(version, p->resource->api_version) != 0)
        return kube_bad_request(c,
                                "the API version in the data (%.100s) does not match the expected API version "
                                "(%s)",
                                version, p->resource->api_version);
    if (ns && *ns && strcmp(ns, p->ns) != 0)
        return kube_bad_request(c,
                           "the namespace of the provided object does not match the namespace sent on the "
                           "request (%.100s, %.100s)",
                           ns, p->ns);
    if (*p->name && name && *name && strcmp(name, p->name) != 0)
        return kube_bad_request(c,
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

static void sweep_on_done(struct pending *p, int r, const struct catalog_item *item, const struct err *e);

static void on_done(struct catalog_request *q, int r, const struct catalog_item *item,
                    const struct err *e)
{
    struct pending *p = CONTAINER_OF(q, struct pending, q);
    if (p->sweep)
        sweep_on_done(p, r, item, e);
    else if (!p->kube)
        ; /* nobody is there any more to be answered */
    else if (r < 0)
        kube_refuse_err(p->call, p->resource, q, r, e);
    else if (q->verb == CATALOG_DELETE || q->verb == CATALOG_DELETE_REVISION)
        answer_deleted(p, item);
    else
        kube_answer(p->call, q->created ? 201 : 200, str_of(item->text),
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

/* Takes the body. */
static void submit(struct kube *k, struct http_call *c, const struct kube_place *place,
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
    kube_submit(k, p->resource, &p->q);
}

static void write_handle(struct kube *k, struct http_call *c, const struct kube_place *place,
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

void kube_create_handle(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    write_handle(k, c, place, CATALOG_CREATE);
}

void kube_replace_handle(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    write_handle(k, c, place, CATALOG_REPLACE);
}

void kube_patch_handle(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    struct str type = http_call_header(c, "Content-Type");
    struct err e;
    json_t *body = NULL;
    if (!str_is(str_trim(str_cut(&type, ';')), "application/merge-patch+json")) {
        kube_refuse_media(c, "application/merge-patch+json");
        return;
    }
    int r = json_read(http_call_body(c), k->s.limits, &body, &e);
    if (r < 0 || !json_is_object(body)) {
        json_decref(body);
        kube_refuse_with(c, 400, "BadRequest", r < 0 ? e.text : "the patch is not an object");
        return;
    }
    if (!body_fits(c, place, body, true)) {
        json_decref(body);
        return;
    }
    submit(k, c, place, CATALOG_MERGE, body);
}

static enum catalog_verb delete_verb(const struct kube_resource *r)
{
    return r->kind == CATALOG_REVISIONS ? CATALOG_DELETE_REVISION : CATALOG_DELETE;
}

/* The body may be DeleteOptions: preconditions and a dry run are acted on. Owned objects always go
 * with their owner, at once, so every propagationPolicy is satisfied. */
static bool delete_options_read(struct kube *k, struct http_call *c, json_t **ret)
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
    if (known && json_int_at(*ret, "gracePeriodSeconds", 0) >= 0)
        return true;
    json_decref(TAKE(*ret));
    if (!known)
        return kube_bad_request(c, "propagationPolicy: Unsupported value: supported values: \"Background\", "
                                   "\"Foreground\", \"Orphan\"");
    return kube_bad_request(c, "gracePeriodSeconds: must be 0 or more");
}

void kube_delete_handle(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    AUTO_JSON json_t *options = NULL;
    uint64_t version;
    if (!delete_options_read(k, c, &options))
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
    kube_submit(k, p->resource, &p->q);
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
        kube_submit(s->kube, place.resource, &p->q);
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
        (void)json_array_append_new(s->gone, json_loads(item->text, 0, NULL));
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
    AUTO_JSON json_t *object = kube_selection_deep(&s->which) ? json_loads(i->text, 0, NULL) : NULL;
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
    if (!delete_options_read(k, c, &options) || !parameters_read(c, &asked) ||
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
