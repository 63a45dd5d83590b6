#include "api/kube_impl.h"
#include "api/list_version.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- selections ---- */

bool kube_selection_read(struct http_call *c, const struct kube_resource *r, struct kube_selection *ret)
{
    struct err e;
    if (selector_parse_labels(http_call_param(c, "labelSelector"), &ret->labels, &e) == 0 &&
        selector_parse_fields(http_call_param(c, "fieldSelector"), r->fields, &ret->fields, &e) == 0)
        return true;
    kube_refuse_with(c, 400, "BadRequest", e.text);
    return false;
}

bool kube_selection_deep(const struct kube_selection *s)
{
    return s->labels.count > 0 || !selector_fields_simple(&s->fields);
}

bool kube_selection_match(const struct kube_selection *s, const char *ns, const char *name,
                          const json_t *object, const json_t *labels)
{
    return selector_fields_match(&s->fields, ns, name, object) &&
           (s->labels.count == 0 || selector_labels_match(&s->labels, labels));
}

/* ---- lists ---- */

struct listing {
    struct kube_selection which;
    /* From a token: the last item before, and the version of the first page, which all of them say: a watch from
     * there hears of everything that happened while the pages were read. */
    char after_ns[OBJECT_NS_MAX], after_name[OBJECT_NAME_MAX];
    int64_t version;
    uint64_t limit, count, left; /* limit 0: none */
    char last_ns[OBJECT_NS_MAX], last_name[OBJECT_NAME_MAX];
    struct buf text;   /* the items, joined by commas */
    json_t *objects;   /* for a Table; else NULL */
    bool partial;      /* of each its metadata */
};

static bool listing_item(void *ctx, const struct catalog_item *i)
{
    struct listing *l = ctx;
    int order = strcmp(i->ns, l->after_ns);
    if (*l->after_name && (order < 0 || (order == 0 && strcmp(i->name, l->after_name) <= 0)))
        return true;
    AUTO_JSON json_t *object =
        l->objects || l->partial || kube_selection_deep(&l->which) ? json_loads(catalog_item_text(i), 0, NULL) : NULL;
    if (!kube_selection_match(&l->which, i->ns, i->name, object, json_at(object, "metadata.labels")))
        return true;
    if (l->limit && l->count == l->limit) {
        l->left++;
        return true;
    }
    if (l->objects) {
        (void)json_array_append(l->objects, object);
    } else {
        AUTO_JSON json_t *partial = l->partial ? kube_partial(object) : NULL;
        buf_text(&l->text, l->count ? "," : "");
        if (partial)
            json_write(partial, &l->text);
        else
            buf_text(&l->text, catalog_item_text(i));
    }
    l->count++;
    (void)snprintf(l->last_ns, sizeof l->last_ns, "%s", i->ns);
    (void)snprintf(l->last_name, sizeof l->last_name, "%s", i->name);
    return true;
}

/* A token is "version/ns/name" in hex: nothing in it to be escaped, and nothing to be understood. */
static void token_write(const char *key, char into[2 * KUBE_TOKEN_MAX])
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;
    for (; *key; key++) {
        into[at++] = hex[(unsigned char)*key >> 4];
        into[at++] = hex[(unsigned char)*key & 15];
    }
    into[at] = '\0';
}

static bool unhex(struct str token, char *into, size_t size)
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
    return true;
}

static bool token_read(struct str token, struct listing *l)
{
    char text[KUBE_TOKEN_MAX];
    uint64_t version;
    if (!unhex(token, text, sizeof text))
        return false;
    struct str name = str_of(text);
    struct str number = str_cut(&name, '/'), ns = str_cut(&name, '/');
    if (!str_u64(number, &version) || version > INT64_MAX || ns.size >= sizeof l->after_ns || name.size == 0 ||
        name.size >= sizeof l->after_name)
        return false;
    l->version = (int64_t)version;
    memcpy(l->after_ns, ns.at, ns.size);
    memcpy(l->after_name, name.at, name.size);
    return true;
}

static void refuse_expired(struct http_call *c)
{
    kube_refuse_with(c, 410, "Expired",
                     "The provided continue parameter is too old to display a consistent list result. You can "
                     "start a new list without the continue parameter.");
}

static bool listing_read(struct http_call *c, const struct kube_resource *r, struct listing *l)
{
    struct str limit = http_call_param(c, "limit"), token = http_call_param(c, "continue");
    if (!kube_selection_read(c, r, &l->which))
        return false;
    if (limit.size > 0 && !str_u64(limit, &l->limit))
        return kube_bad_request(c, "limit: not a whole number");
    if (token.size > 0 && !token_read(token, l))
        return kube_bad_request(c, "continue key is not valid");
    return true;
}

/* Nothing of this kind changed since: what there is now is what there was then. */
static bool unchanged_since(struct kube *k, const struct kube_place *place, int64_t version)
{
    const struct watch_filter filter = { .kind = place->resource->log_kind };
    struct watchlog *log = catalog_log(k->s.catalog);
    struct watch_cursor cursor;
    struct watch_event ignored;
    return watchlog_seek(log, version, &cursor) != WATCH_TOO_OLD &&
           watchlog_next(log, &cursor, &filter, &ignored) == WATCH_NONE;
}

/* False: refused, and answered. */
static bool version_fits(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    const struct list_version asked = { .version = http_call_param(c, "resourceVersion"),
                                        .match = http_call_param(c, "resourceVersionMatch"),
                                        .token = http_call_param(c, "continue"),
                                        .now = catalog_version(k->s.catalog) };
    struct err e;
    int64_t version;
    switch (list_version_read(&asked, &version, &e)) {
    case LIST_VERSION_NOW: return true;
    case LIST_VERSION_THEN:
        if (unchanged_since(k, place, version))
            return true;
        kube_refuse_with(c, 410, "Expired", "The resourceVersion for the provided list is too old.");
        return false;
    case LIST_VERSION_AHEAD:
        kube_refuse(c, &(struct kube_refusal){ .code = 504, .reason = "Timeout", .message = e.text, .retry_after_s = 1,
                                               .take_causes = json_pack("[{s:s,s:s}]", "reason",
                                                                        "ResourceVersionTooLarge", "message",
                                                                        "Too large resource version") });
        return false;
    case LIST_VERSION_WRONG: kube_refuse_with(c, 422, "Invalid", e.text); return false;
    case LIST_VERSION_NONE: break;
    }
    return kube_bad_request(c, "%s", e.text);
}

static void table_answer(struct http_call *c, const struct kube_resource *r, const json_t *objects,
                         const char *version, const char *next)
{
    enum kube_include include;
    if (!kube_include_parse(http_call_param(c, "includeObject"), &include)) {
        (void)kube_bad_request(c, "includeObject: Unsupported value: supported values: \"Metadata\", "
                                  "\"None\", \"Object\"");
        return;
    }
    AUTO_JSON json_t *table = kube_table(r, objects, version, next, include, loop_wall_ms());
    kube_answer_tree(c, 200, table);
}

static void listing_answer(struct kube *k, struct http_call *c, const struct kube_resource *r,
                           const struct listing *l)
{
    char number[24], key[KUBE_TOKEN_MAX], token[2 * KUBE_TOKEN_MAX] = "";
    struct buf b;
    (void)snprintf(number, sizeof number, "%lld", (long long)l->version);
    (void)snprintf(key, sizeof key, "%s/%s/%s", number, l->last_ns, l->last_name);
    if (l->left)
        token_write(key, token);
    if (l->objects) {
        table_answer(c, r, l->objects, number, token);
        return;
    }
    buf_init(&b, k->s.limits->api_answer_bytes_max);
    buf_printf(&b, "{\"apiVersion\":\"%s\",\"items\":[", l->partial ? "meta.k8s.io/v1" : r->api_version);
    buf_str_append(&b, buf_str(&l->text));
    buf_printf(&b, "],\"kind\":\"%sList\",\"metadata\":{\"continue\":\"%s\",", l->partial ? "PartialObjectMetadata" : r->name,
               token);
    if (l->left)
        buf_printf(&b, "\"remainingItemCount\":%llu,", (unsigned long long)l->left);
    buf_printf(&b, "\"resourceVersion\":\"%s\"}}", number);
    if (b.overflow || l->text.overflow)
        kube_refuse_with(c, 413, "RequestEntityTooLarge", "the list is too large; ask for less with limit=");
    else
        kube_answer(c, 200, buf_str(&b), NULL);
    buf_done(&b);
}

void kube_list_handle(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    struct listing l = { .version = catalog_version(k->s.catalog) };
    struct watch_cursor cursor;
    if (!listing_read(c, place->resource, &l) || !version_fits(k, c, place))
        return;
    if (watchlog_seek(catalog_log(k->s.catalog), l.version, &cursor) == WATCH_TOO_OLD) {
        refuse_expired(c);
        return;
    }
    buf_init(&l.text, k->s.limits->api_answer_bytes_max);
    l.objects = kube_form(c) == KUBE_TABLE ? json_array() : NULL;
    l.partial = kube_form(c) == KUBE_PARTIAL;
    kube_each(k, place->resource, *place->ns ? place->ns : NULL, listing_item, &l);
    listing_answer(k, c, place->resource, &l);
    buf_done(&l.text);
    json_decref(l.objects);
}

struct getting {
    struct http_call *call;
    const struct kube_resource *resource;
};

static bool get_item(void *ctx, const struct catalog_item *item)
{
    struct getting *g = ctx;
    enum kube_form form = kube_form(g->call);
    if (form != KUBE_TABLE && form != KUBE_PARTIAL) {
        kube_answer(g->call, 200, str_of(catalog_item_text(item)), NULL);
        return false;
    }
    if (form == KUBE_PARTIAL) {
        AUTO_JSON json_t *whole = json_loads(catalog_item_text(item), 0, NULL);
        AUTO_JSON json_t *partial = kube_partial(whole);
        kube_answer_tree(g->call, 200, partial);
        return false;
    }
    AUTO_JSON json_t *one = json_array();
    char version[24];
    (void)json_array_append_new(one, json_loads(catalog_item_text(item), 0, NULL));
    (void)snprintf(version, sizeof version, "%lld", (long long)item->version);
    table_answer(g->call, g->resource, one, version, "");
    return false;
}

void kube_get_handle(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    struct getting g = { c, place->resource };
    if (!kube_find(k, place->resource, place->ns, place->name, get_item, &g))
        kube_refuse_not_found(c, place->resource, place->name);
}
