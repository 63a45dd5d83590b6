#include "api/kube_impl.h"

#include "api/kube_docs.h"
#include "codec/names.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- where to ---- */

/* /api/v1/… or /apis/{group}/{version}/…, then {plural} or namespaces/{ns}/{plural}, then [/{name}[/status]] */
static bool place_find(const struct http_call *c, struct kube_place *ret)
{
    char root[8], group[64] = "", version[16], text[64];
    uint32_t count = http_call_segments(c), at = 1;
    *ret = (struct kube_place){ 0 };
    if (count < 3 || !http_call_segment(c, 0, root, sizeof root))
        return false;
    if (strcmp(root, "apis") == 0 && !http_call_segment(c, at++, group, sizeof group))
        return false;
    if (!http_call_segment(c, at++, version, sizeof version) || !http_call_segment(c, at, text, sizeof text))
        return false;
    if (strcmp(text, "namespaces") == 0 && count > at + 2) {
        if (!http_call_segment(c, at + 1, ret->ns, sizeof ret->ns) ||
            !http_call_segment(c, at + 2, text, sizeof text) || !*ret->ns)
            return false;
        at += 2;
    }
    ret->resource = kube_resource_find(str_of(group), str_of(version), str_of(text));
    if (!ret->resource || (*ret->ns && !ret->resource->namespaced))
        return false;
    if (count == at + 3 && kube_resource_has_status(ret->resource) && http_call_segment(c, at + 2, text, sizeof text)) {
        ret->status = strcmp(text, "status") == 0;
        count -= ret->status;
    }
    if (count > at + 2 || (count == at + 2 && ret->resource->namespaced && !*ret->ns))
        return false;
    return count == at + 1 || (http_call_segment(c, at + 1, ret->name, sizeof ret->name) && *ret->name);
}

static bool is(struct http_call *c, const char *method) { return str_is(http_call_method(c), method); }

static const struct {
    const char *method;
    uint32_t one, all; /* the verb it is on one object, and on the collection; 0: none */
    void (*handle)(struct kube *k, struct http_call *c, const struct kube_place *place);
} methods[] = {
    { "GET", KUBE_GET, 0, kube_get_handle },
    { "GET", 0, KUBE_LIST, kube_list_handle },
    { "HEAD", KUBE_GET, 0, kube_get_handle },
    { "HEAD", 0, KUBE_LIST, kube_list_handle },
    { "POST", 0, KUBE_CREATE, kube_create_handle },
    { "PUT", KUBE_UPDATE, 0, kube_replace_handle },
    { "PATCH", KUBE_PATCH, 0, kube_patch_handle },
    { "DELETE", KUBE_DELETE, 0, kube_delete_handle },
    { "DELETE", 0, KUBE_DELETE_COLLECTION, kube_delete_all_handle },
};

/* What the place allows: all namespaces at once can only be read, and so can a status. */
static uint32_t verbs_at(const struct kube_place *place)
{
    bool across = place->resource->namespaced && !*place->ns;
    if (place->status)
        return KUBE_GET;
    return place->resource->verbs & (across ? (uint32_t)KUBE_READ : (uint32_t)KUBE_ALL);
}

static void refuse_method(struct http_call *c, const struct kube_place *place)
{
    struct buf allow;
    buf_init(&allow, 256);
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        if (verbs_at(place) & (*place->name ? methods[i].one : methods[i].all))
            buf_printf(&allow, "%s%s", allow.size ? ", " : "", methods[i].method);
    AUTO_FREE char *text = buf_take_text(&allow);
    kube_refuse_method(c, text);
}

static void resource_handle(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    struct err e;
    if (kube_form(c) == KUBE_NOT_ACCEPTABLE) {
        kube_refuse_with(c, 406, "NotAcceptable",
                         "only the following media types are accepted: application/json, application/yaml, "
                         "application/json;as=Table;v=v1;g=meta.k8s.io, "
                         "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io");
        return;
    }
    if (*place->ns && !names_label(str_of(place->ns), &e)) {
        (void)kube_bad_request(c, "namespace \"%.63s\": %.400s", place->ns, e.text);
        return;
    }
    if (is(c, "GET") && !place->status && kube_watch_wanted(c)) {
        kube_watch_handle(k, c, place);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        uint32_t verb = *place->name ? methods[i].one : methods[i].all;
        if (is(c, methods[i].method) && (verb & verbs_at(place))) {
            methods[i].handle(k, c, place);
            return;
        }
    }
    refuse_method(c, place);
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
    struct kube_place place;
    const struct kube_docs docs = { k->ingress, k->api, k->begin_wall_ms };
    if (!ours(http_call_path(c)))
        return false;
    if (place_find(c, &place))
        resource_handle(k, c, &place);
    else if (!is(c, "GET") && !is(c, "HEAD") && kube_docs_has(http_call_path(c)))
        kube_refuse_method(c, "GET, HEAD");
    else if (!kube_docs_handle(c, &docs, loop_wall_ms()))
        kube_refuse_with(c, 404, "NotFound", "the server could not find the requested resource");
    return true;
}

struct kube *kube_new(const struct kube_sources *s)
{
    struct kube *k = xcalloc(1, sizeof *k);
    k->s = *s;
    k->begin_wall_ms = loop_wall_ms();
    k->s.ingress = k->ingress = xstrdup(s->ingress);
    k->s.api = k->api = xstrdup(s->api);
    list_init(&k->calls);
    kube_watch_begin(k);
    return k;
}

void kube_free(struct kube *k)
{
    if (!k)
        return;
    kube_write_done(k);
    kube_watch_done(k);
    free(k->ingress);
    free(k->api);
    free(k);
}
