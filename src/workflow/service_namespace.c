#include "workflow/service_impl.h"

#include "codec/base64.h"
#include "codec/json.h"

#include <stdlib.h>

#define KIND "temporal-namespaces"
#define RETENTION_DEFAULT_NS (72 * 3600 * SERVICE_SECOND)
enum { NAMESPACES_MAX = 1000, ATTRIBUTES_MAX = 100 };

struct service_namespace *service_namespace_find(struct service *s, const char *name)
{
    return map_find(&s->namespaces, str_of(name));
}

static void namespace_free(struct service_namespace *n)
{
    proto_free(n->stored);
    free(n);
}

static void namespace_put(struct service *s, struct service_namespace *take_n)
{
    struct service_namespace *old = map_remove(&s->namespaces, str_of(take_n->stored->info->name));
    if (old)
        namespace_free(old);
    map_put(&s->namespaces, str_of(take_n->stored->info->name), take_n);
}

static void pairs_set_type(Wt__Namespace *w, const char *name, Tp__IndexedValueType type)
{
    for (size_t i = 0; i < w->n_attributes; i++)
        if (!strcmp(w->attributes[i]->key, name)) {
            w->attributes[i]->value = type;
            return;
        }
    Wt__Namespace__AttributesEntry *entry = proto_new(&wt__namespace__attributes_entry__descriptor);
    proto_set_text(&entry->key, name);
    entry->value = type;
    proto_push(&w->n_attributes, &w->attributes, entry);
}

static Wt__Namespace *stored_new(struct service *s, const char *name)
{
    Wt__Namespace *w = proto_new(&wt__namespace__descriptor);
    w->info = proto_new(&tp__namespace_info__descriptor);
    w->config = proto_new(&tp__namespace_config__descriptor);
    proto_set_text(&w->info->name, name);
    w->info->state = TP__NAMESPACE_STATE__NAMESPACE_STATE_REGISTERED;
    uint8_t random[10];
    for (size_t i = 0; i < sizeof(random); i++)
        random[i] = (uint8_t)rng_next(&s->rng);
    struct uuid id = uuid_v7(service_now(s) / 1000000, random);
    char text[UUID_TEXT];
    uuid_format(&id, text);
    proto_set_text(&w->info->id, text);
    w->config->workflow_execution_retention_ttl = temporal_duration_new(RETENTION_DEFAULT_NS);
    w->config->history_archival_state = w->config->visibility_archival_state =
        TP__ARCHIVAL_STATE__ARCHIVAL_STATE_DISABLED;
    return w;
}

/* ---- on disk: one object each, its message in base64 ---- */

struct storing {
    struct store_change change;
    struct list_node node;
    struct service *s;      /* NULL: it went first; the store tells what it committed until its own end */
    struct service_call *c; /* NULL: nobody is answered */
    Wt__Namespace *made;    /* replaces what is there */
    const ProtobufCMessageDescriptor *answer;
};

static void storing_gone(struct service_call *c)
{
    struct storing *x = c->work;
    x->c = NULL;
    service_end(c);
}

static void storing_done(struct storing *x, int r, const struct err *e)
{
    struct service_call *c = x->c;
    if (x->s)
        list_remove(&x->s->storings, &x->node);
    if (r >= 0 && x->s) {
        struct service_namespace *n = xcalloc(1, sizeof(*n));
        n->stored = TAKE(x->made);
        namespace_put(x->s, n);
    }
    const ProtobufCMessageDescriptor *answer = x->answer;
    struct service_namespace *n = NULL;
    if (r >= 0 && c && answer == &tp__update_namespace_response__descriptor) {
        n = service_namespace_find(x->s, ((const Tp__UpdateNamespaceRequest *)c->q)->namespace_);
        Tp__UpdateNamespaceResponse w;
        tp__update_namespace_response__init(&w);
        w.namespace_info = n->stored->info;
        w.config = n->stored->config;
        service_reply(c, &w);
    } else if (r >= 0 && c) {
        service_reply(c, NULL); /* a message without fields */
    } else if (c) {
        service_fail(c, -(enum code)r, "%s", e->text);
    }
    proto_free(x->made);
    free(x);
}

static void on_stored(struct store_change *change, int r, int64_t version, const struct err *e)
{
    (void)version;
    storing_done(CONTAINER_OF(change, struct storing, change), r, e);
}

static char *stored_json(const Wt__Namespace *w)
{
    struct buf bytes, text;
    buf_init(&bytes, MIB(1));
    buf_init(&text, MIB(2));
    proto_encode(w, &bytes);
    buf_text(&text, "{\"proto\":\"");
    base64_write(buf_str(&bytes), &text);
    buf_text(&text, "\"}");
    buf_done(&bytes);
    return buf_take_text(&text);
}

static void store(struct service *s, struct service_call *c, Wt__Namespace *take_made,
                  const ProtobufCMessageDescriptor *answer)
{
    struct storing *x = xcalloc(1, sizeof(*x));
    *x = (struct storing){ .s = s, .c = c, .made = take_made, .answer = answer };
    list_push(&s->storings, &x->node);
    if (c) {
        c->work = x;
        c->on_gone = storing_gone;
    }
    struct err e;
    if (!s->w.store) {
        storing_done(x, 0, NULL);
        return;
    }
    AUTO_FREE char *json = stored_json(take_made);
    x->change = (struct store_change){ .kind = KIND, .ns = "", .name = take_made->info->name, .json = json,
                                       .expect_version = STORE_ANY_VERSION, .on_done = on_stored };
    int r = store_submit(s->w.store, &x->change, &e);
    if (r < 0)
        storing_done(x, r, &e);
}

static int on_each(void *ctx, const struct store_object *o, struct err *e)
{
    struct service *s = ctx;
    AUTO(json_unref) json_t *j = NULL;
    int r = json_read(str_of(o->json), s->w.limits, &j, e);
    const char *text = r < 0 ? NULL : json_string_value(json_object_get(j, "proto"));
    if (!text)
        return err_set(e, CODE_DATA_LOSS, "namespace %s: what is stored of it cannot be read", o->name);
    struct buf bytes;
    buf_init(&bytes, MIB(2));
    ProtobufCMessage *m = NULL;
    r = base64_read(str_of(text), &bytes) ? proto_decode_new(&wt__namespace__descriptor, buf_str(&bytes), MIB(4), &m, e)
                                            : err_set(e, CODE_DATA_LOSS, "no base64");
    buf_done(&bytes);
    if (r < 0)
        return err_wrap(e, "namespace %s", o->name);
    struct service_namespace *n = xcalloc(1, sizeof(*n));
    n->stored = (Wt__Namespace *)(void *)m;
    namespace_put(s, n);
    return 0;
}

int service_namespaces_open(struct service *s, struct err *e)
{
    int r = s->w.store ? store_each(s->w.store, KIND, on_each, s, e) : 0;
    return r < 0 ? r : service_namespace_make(s, "default", e);
}

void service_namespaces_close(struct service *s)
{
    LIST_EACH(&s->storings, node, tmp) {
        struct storing *x = CONTAINER_OF(node, struct storing, node);
        list_remove(&s->storings, node);
        x->s = NULL;
        ASSERT(!x->c); /* the calls went first */
    }
    const struct map_slot *slot;
    for (uint32_t i = 0; (slot = map_next(&s->namespaces, &i));)
        namespace_free(slot->value);
}

int service_namespace_make(struct service *s, const char *name, struct err *e)
{
    if (service_namespace_find(s, name))
        return 0;
    if (!*name || strlen(name) > 255)
        return err_set(e, CODE_INVALID, "namespace \"%s\": a name has 1 to 255 characters", name);
    Wt__Namespace *w = stored_new(s, name);
    struct service_namespace *n = xcalloc(1, sizeof(*n));
    n->stored = proto_dup(w);
    namespace_put(s, n); /* known at once: it is not waited for */
    store(s, NULL, w, NULL);
    return 0;
}

/* ---- attributes ---- */

static const struct {
    const char *name;
    Tp__IndexedValueType type;
} types[] = {
    { "Text", TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_TEXT },
    { "Keyword", TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_KEYWORD },
    { "Int", TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_INT },
    { "Double", TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_DOUBLE },
    { "Bool", TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_BOOL },
    { "Datetime", TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_DATETIME },
    { "KeywordList", TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_KEYWORD_LIST },
};

int service_attribute_make(struct service *s, const char *ns, const char *name, const char *type, struct err *e)
{
    struct service_namespace *n = service_namespace_find(s, ns);
    if (!n)
        return err_set(e, CODE_NOT_FOUND, "there is no namespace \"%s\"", ns);
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (!strcmp(types[i].name, type)) {
            pairs_set_type(n->stored, name, types[i].type);
            store(s, NULL, proto_dup(n->stored), NULL);
            return 0;
        }
    return err_set(e, CODE_INVALID,
                   "search attribute %s: \"%s\" is no type: Text, Keyword, Int, Double, Bool, Datetime, KeywordList", name,
                   type);
}

static void attributes_list(struct service *s, const struct service_call *c, size_t *count, void *into)
{
    struct service_namespace *n = service_namespace_find(s, *c->ns ? c->ns : "default");
    for (size_t i = 0; n && i < n->stored->n_attributes; i++) {
        Tp__ListSearchAttributesResponse__CustomAttributesEntry *entry =
            proto_new(&tp__list_search_attributes_response__custom_attributes_entry__descriptor);
        proto_set_text(&entry->key, n->stored->attributes[i]->key);
        entry->value = n->stored->attributes[i]->value;
        proto_push(count, into, entry);
    }
}

void service_attributes_list(struct service *s, struct service_call *c)
{
    Tp__ListSearchAttributesResponse *w = proto_new(&tp__list_search_attributes_response__descriptor);
    attributes_list(s, c, &w->n_custom_attributes, &w->custom_attributes);
    service_reply(c, w);
    proto_free(w);
}

void service_attributes_get(struct service *s, struct service_call *c)
{
    Tp__GetSearchAttributesResponse *w = proto_new(&tp__get_search_attributes_response__descriptor);
    struct service_namespace *n = service_namespace_find(s, "default");
    for (size_t i = 0; n && i < n->stored->n_attributes; i++) {
        Tp__GetSearchAttributesResponse__KeysEntry *entry =
            proto_new(&tp__get_search_attributes_response__keys_entry__descriptor);
        proto_set_text(&entry->key, n->stored->attributes[i]->key);
        entry->value = n->stored->attributes[i]->value;
        proto_push(&w->n_keys, &w->keys, entry);
    }
    service_reply(c, w);
    proto_free(w);
}

void service_attributes_add(struct service *s, struct service_call *c)
{
    const Tp__AddSearchAttributesRequest *q = c->q;
    struct service_namespace *n = service_namespace_find(s, q->namespace_);
    if (!q->n_search_attributes || n->stored->n_attributes + q->n_search_attributes > ATTRIBUTES_MAX) {
        service_fail(c, CODE_INVALID, q->n_search_attributes ? "A namespace has at most 100 custom search attributes."
                                                             : "SearchAttributes are not set on request.");
        return;
    }
    Wt__Namespace *w = proto_dup(n->stored);
    for (size_t i = 0; i < q->n_search_attributes; i++)
        pairs_set_type(w, q->search_attributes[i]->key, q->search_attributes[i]->value);
    store(s, c, w, &tp__add_search_attributes_response__descriptor);
}

void service_attributes_remove(struct service *s, struct service_call *c)
{
    const Tp__RemoveSearchAttributesRequest *q = c->q;
    Wt__Namespace *w = proto_dup(service_namespace_find(s, q->namespace_)->stored);
    for (size_t k = 0; k < q->n_search_attributes; k++)
        for (size_t i = 0; i < w->n_attributes; i++)
            if (!strcmp(w->attributes[i]->key, q->search_attributes[k])) {
                proto_free(w->attributes[i]);
                w->attributes[i] = w->attributes[--w->n_attributes];
                break;
            }
    store(s, c, w, &tp__remove_search_attributes_response__descriptor);
}

/* ---- namespaces ---- */

static Tp__DescribeNamespaceResponse *described(const struct service_namespace *n)
{
    Tp__DescribeNamespaceResponse *w = proto_new(&tp__describe_namespace_response__descriptor);
    w->namespace_info = proto_dup(n->stored->info);
    w->config = proto_dup(n->stored->config);
    Tp__NamespaceInfo__Capabilities *can = proto_new(&tp__namespace_info__capabilities__descriptor);
    can->eager_workflow_start = can->sync_update = can->async_update = true;
    can->worker_poll_complete_on_shutdown = true;
    can->poller_autoscaling = true;
    w->namespace_info->capabilities = can;
    Tp__NamespaceInfo__Limits *limits = proto_new(&tp__namespace_info__limits__descriptor);
    limits->blob_size_limit_error = limits->memo_size_limit_error = (int64_t)SERVICE_BLOB_BYTES;
    w->namespace_info->limits = limits;
    w->namespace_info->supports_schedules = false;
    w->replication_config = proto_new(&tp__namespace_replication_config__descriptor);
    proto_set_text(&w->replication_config->active_cluster_name, "active");
    return w;
}

static void not_found(struct service_call *c, const char *name)
{
    struct refusal no = { 0 };
    Tp__NamespaceNotFoundFailure *detail = proto_new(&tp__namespace_not_found_failure__descriptor);
    proto_set_text(&detail->namespace_, name);
    refuse_with(&no, CODE_NOT_FOUND, "temporal.api.errordetails.v1.NamespaceNotFoundFailure", detail,
                "Namespace %s is not found.", name);
    service_refuse(c, &no);
}

void service_namespace_describe(struct service *s, struct service_call *c)
{
    const Tp__DescribeNamespaceRequest *q = c->q;
    struct service_namespace *n = service_namespace_find(s, q->namespace_);
    const struct map_slot *slot;
    for (uint32_t i = 0; !n && *q->id && (slot = map_next(&s->namespaces, &i));)
        if (!strcmp(((struct service_namespace *)slot->value)->stored->info->id, q->id))
            n = slot->value;
    if (!n) {
        not_found(c, *q->namespace_ ? q->namespace_ : q->id);
        return;
    }
    Tp__DescribeNamespaceResponse *w = described(n);
    service_reply(c, w);
    proto_free(w);
}

void service_namespace_list(struct service *s, struct service_call *c)
{
    Tp__ListNamespacesResponse *w = proto_new(&tp__list_namespaces_response__descriptor);
    const struct map_slot *slot;
    for (uint32_t i = 0; (slot = map_next(&s->namespaces, &i));)
        proto_push(&w->n_namespaces, &w->namespaces, described(slot->value));
    service_reply(c, w);
    proto_free(w);
}

void service_namespace_register(struct service *s, struct service_call *c)
{
    const Tp__RegisterNamespaceRequest *q = c->q;
    if (!*q->namespace_ || strlen(q->namespace_) > 255) {
        service_fail(c, CODE_INVALID, "Namespace not set on request.");
        return;
    }
    if (temporal_duration_ns(q->workflow_execution_retention_period) < 3600 * SERVICE_SECOND) {
        service_fail(c, CODE_INVALID, "A valid retention period is not set on request.");
        return;
    }
    if (service_namespace_find(s, q->namespace_)) {
        struct refusal no = { 0 };
        refuse_with(&no, CODE_EXISTS, "temporal.api.errordetails.v1.NamespaceAlreadyExistsFailure",
                    proto_new(&tp__namespace_already_exists_failure__descriptor), "Namespace already exists.");
        service_refuse(c, &no);
        return;
    }
    if (s->namespaces.count >= NAMESPACES_MAX) {
        service_fail(c, CODE_EXHAUSTED, "there are %d namespaces already", NAMESPACES_MAX);
        return;
    }
    Wt__Namespace *w = stored_new(s, q->namespace_);
    proto_set_text(&w->info->description, q->description);
    proto_set_text(&w->info->owner_email, q->owner_email);
    temporal_set_duration(&w->config->workflow_execution_retention_ttl,
                          temporal_duration_ns(q->workflow_execution_retention_period));
    store(s, c, w, &tp__register_namespace_response__descriptor);
}

void service_namespace_update(struct service *s, struct service_call *c)
{
    const Tp__UpdateNamespaceRequest *q = c->q;
    Wt__Namespace *w = proto_dup(service_namespace_find(s, q->namespace_)->stored);
    if (q->update_info) {
        if (*q->update_info->description)
            proto_set_text(&w->info->description, q->update_info->description);
        if (*q->update_info->owner_email)
            proto_set_text(&w->info->owner_email, q->update_info->owner_email);
        if (q->update_info->state)
            w->info->state = q->update_info->state;
    }
    if (q->config && q->config->workflow_execution_retention_ttl)
        temporal_set_duration(&w->config->workflow_execution_retention_ttl,
                              temporal_duration_ns(q->config->workflow_execution_retention_ttl));
    store(s, c, w, &tp__update_namespace_response__descriptor);
}

void service_namespace_deprecate(struct service *s, struct service_call *c)
{
    const Tp__DeprecateNamespaceRequest *q = c->q;
    Wt__Namespace *w = proto_dup(service_namespace_find(s, q->namespace_)->stored);
    w->info->state = TP__NAMESPACE_STATE__NAMESPACE_STATE_DEPRECATED;
    store(s, c, w, &tp__deprecate_namespace_response__descriptor);
}

/* ---- the server ---- */

void service_system_info(struct service *s, struct service_call *c)
{
    Tp__GetSystemInfoResponse w;
    tp__get_system_info_response__init(&w);
    Tp__GetSystemInfoResponse__Capabilities can;
    tp__get_system_info_response__capabilities__init(&can);
    can.signal_and_query_header = can.internal_error_differentiation = can.activity_failure_include_heartbeat = true;
    can.encoded_failure_attributes = can.upsert_memo = can.eager_workflow_start = can.sdk_metadata = true;
    can.count_group_by_execution_status = true;
    can.build_id_based_versioning = true;
    w.server_version = (char *)(uintptr_t)s->w.version;
    w.capabilities = &can;
    service_reply(c, &w);
}

void service_cluster_info(struct service *s, struct service_call *c)
{
    Tp__GetClusterInfoResponse w;
    tp__get_cluster_info_response__init(&w);
    w.server_version = (char *)(uintptr_t)s->w.version;
    w.cluster_id = w.cluster_name = (char *)(uintptr_t) "active";
    w.history_shard_count = 1;
    w.persistence_store = w.visibility_store = (char *)(uintptr_t) "sqlite";
    w.initial_failover_version = w.failover_version_increment = 1;
    service_reply(c, &w);
}
