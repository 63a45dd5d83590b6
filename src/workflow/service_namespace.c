#include "workflow/service_impl.h"

#include "codec/base64.h"
#include "codec/json.h"

#include <stdlib.h>

#define KIND "temporal-namespaces"
#define RETENTION_DEFAULT_NS (72 * 3600 * SERVICE_SECOND)
#define RETENTION_MIN_NS     (3600 * SERVICE_SECOND)
#define RETENTION_MAX_NS     (3650 * 24 * 3600 * SERVICE_SECOND)
enum { NAMESPACE_PAGE = 100 };

struct service_namespace *service_namespace_any(struct service *s, const char *name)
{
    return map_find(&s->namespaces, str_of(name));
}

static bool namespace_deleted(const struct service_namespace *n)
{
    return n->stored->info->state == TP__NAMESPACE_STATE__NAMESPACE_STATE_DELETED;
}

struct service_namespace *service_namespace_find(struct service *s, const char *name)
{
    struct service_namespace *n = service_namespace_any(s, name);
    return n && !namespace_deleted(n) ? n : NULL;
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

void service_attribute_set(Wt__Namespace *w, const char *name, Tp__IndexedValueType type)
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
    bool asked;             /* by a call: what is in force does not show it yet */
    bool removes;           /* it goes, instead */
    service_stored_fn *then;
};

static bool being_changed(struct service *s, const char *name)
{
    LIST_EACH(&s->storings, node, tmp) {
        const struct storing *x = CONTAINER_OF(node, struct storing, node);
        if ((x->asked || x->removes) && !strcmp(x->made->info->name, name))
            return true;
    }
    return false;
}

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
    struct service_namespace *n = NULL;
    if (r >= 0 && x->s && !x->removes) {
        n = xcalloc(1, sizeof(*n));
        n->stored = TAKE(x->made);
        namespace_put(x->s, n);
    }
    if (n && x->then)
        x->then(x->s, c, n);
    else if (n && c)
        service_reply(c, NULL); /* a message without fields */
    else if (c)
        service_fail(c, -(enum code)r, "%s", e->text);
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

static void storing_submit(struct storing *x)
{
    struct err e;
    list_push(&x->s->storings, &x->node);
    if (!x->s->w.store) {
        storing_done(x, 0, NULL);
        return;
    }
    AUTO_FREE char *json = x->removes ? NULL : stored_json(x->made);
    x->change = (struct store_change){ .kind = KIND, .ns = "", .name = x->made->info->name, .json = json,
                                       .expect_version = STORE_ANY_VERSION, .on_done = on_stored };
    int r = store_submit(x->s->w.store, &x->change, &e);
    if (r < 0)
        storing_done(x, r, &e);
}

void service_namespace_store(struct service *s, struct service_call *c, Wt__Namespace *take_made,
                             service_stored_fn *then)
{
    if (c && being_changed(s, take_made->info->name)) { /* it would undo the other change */
        service_fail(c, CODE_UNAVAILABLE, "namespace %s is being changed: try again", take_made->info->name);
        proto_free(take_made);
        return;
    }
    struct storing *x = xcalloc(1, sizeof(*x));
    *x = (struct storing){ .s = s, .c = c, .made = take_made, .then = then, .asked = c != NULL };
    if (c) {
        c->work = x;
        c->on_gone = storing_gone;
    }
    storing_submit(x);
}

/* From now on there is none of that name; its record goes behind that. A start of hob finds one that stayed, and sweeps
 * once more. */
void service_namespace_forget(struct service *s, const char *name)
{
    struct service_namespace *n = map_remove(&s->namespaces, str_of(name));
    const bool wanted = n->wanted;
    struct storing *x = xcalloc(1, sizeof(*x));
    *x = (struct storing){ .s = s, .made = TAKE(n->stored), .removes = true };
    AUTO_FREE char *own = xstrdup(name);
    namespace_free(n);
    storing_submit(x);
    struct err e;
    if (wanted && service_namespace_make(s, own, &e) < 0)
        UNREACHABLE("it had that name before");
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
    struct service_namespace *there = service_namespace_any(s, name);
    if (there) {
        there->wanted = namespace_deleted(there); /* then it is made anew when that is over */
        return 0;
    }
    if (!*name || strlen(name) > 255)
        return err_set(e, CODE_INVALID, "namespace \"%s\": a name has 1 to 255 characters", name);
    Wt__Namespace *w = stored_new(s, name);
    struct service_namespace *n = xcalloc(1, sizeof(*n));
    n->stored = proto_dup(w);
    namespace_put(s, n); /* known at once: it is not waited for */
    service_namespace_store(s, NULL, w, NULL);
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
    struct service_namespace *n = service_namespace_any(s, ns);
    if (!n)
        return err_set(e, CODE_NOT_FOUND, "there is no namespace \"%s\"", ns);
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (!strcmp(types[i].name, type)) {
            service_attribute_set(n->stored, name, types[i].type);
            service_namespace_store(s, NULL, proto_dup(n->stored), NULL);
            return 0;
        }
    return err_set(e, CODE_INVALID,
                   "search attribute %s: \"%s\" is no type: Text, Keyword, Int, Double, Bool, Datetime, KeywordList", name,
                   type);
}

/* ---- namespaces ---- */

static void data_set(Tp__NamespaceInfo *info, const char *key, const char *value)
{
    for (size_t i = 0; i < info->n_data; i++)
        if (!strcmp(info->data[i]->key, key)) {
            proto_set_text(&info->data[i]->value, value);
            return;
        }
    Tp__NamespaceInfo__DataEntry *entry = proto_new(&tp__namespace_info__data_entry__descriptor);
    proto_set_text(&entry->key, key);
    proto_set_text(&entry->value, value);
    proto_push(&info->n_data, &info->data, entry);
}

static Tp__NamespaceReplicationConfig *replication(void)
{
    Tp__NamespaceReplicationConfig *w = proto_new(&tp__namespace_replication_config__descriptor);
    Tp__ClusterReplicationConfig *here = proto_new(&tp__cluster_replication_config__descriptor);
    proto_set_text(&w->active_cluster_name, "active");
    proto_set_text(&here->cluster_name, "active");
    proto_push(&w->n_clusters, &w->clusters, here);
    w->state = TP__REPLICATION_STATE__REPLICATION_STATE_NORMAL;
    return w;
}

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
    w->namespace_info->supports_schedules = true;
    w->replication_config = replication();
    return w;
}

int service_namespace_missing(const char *name, struct refusal *no)
{
    Tp__NamespaceNotFoundFailure *detail = proto_new(&tp__namespace_not_found_failure__descriptor);
    proto_set_text(&detail->namespace_, name);
    return refuse_with(no, CODE_NOT_FOUND, "temporal.api.errordetails.v1.NamespaceNotFoundFailure", detail,
                       "Namespace %s is not found.", name);
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
        struct refusal no = { 0 };
        (void)service_namespace_missing(*q->namespace_ ? q->namespace_ : q->id, &no);
        service_refuse(c, &no);
        return;
    }
    Tp__DescribeNamespaceResponse *w = described(n);
    service_reply(c, w);
    proto_free(w);
}

static int by_name(const void *a, const void *b)
{
    const struct service_namespace *const *x = a, *const *y = b;
    return strcmp((*x)->stored->info->name, (*y)->stored->info->name);
}

/* In order of their names; the token is the last one's. */
void service_namespace_list(struct service *s, struct service_call *c)
{
    const Tp__ListNamespacesRequest *q = c->q;
    const size_t page = q->page_size > 0 ? (size_t)MIN(q->page_size, NAMESPACE_PAGE) : NAMESPACE_PAGE;
    const bool deleted = q->namespace_filter && q->namespace_filter->include_deleted;
    AUTO_FREE const struct service_namespace **all = xcalloc(s->namespaces.count + 1, sizeof *all);
    const struct str token = proto_bytes(&q->next_page_token);
    AUTO_FREE char *after = xstrndup(token.size ? token.at : "", token.size);
    const struct map_slot *slot;
    size_t count = 0;
    for (uint32_t i = 0; (slot = map_next(&s->namespaces, &i));) {
        const struct service_namespace *n = slot->value;
        if ((deleted || !namespace_deleted(n)) && strcmp(n->stored->info->name, after) > 0)
            all[count++] = n;
    }
    qsort(all, count, sizeof *all, by_name);
    Tp__ListNamespacesResponse *w = proto_new(&tp__list_namespaces_response__descriptor);
    for (size_t i = 0; i < count && i < page; i++)
        proto_push(&w->n_namespaces, &w->namespaces, described(all[i]));
    if (count > page)
        proto_set_bytes(&w->next_page_token, str_of(all[page - 1]->stored->info->name));
    service_reply(c, w);
    proto_free(w);
}

/* 0: unset, and fine where one is changed. */
static int retention_check(const Tp__Duration *d, struct refusal *no)
{
    int64_t ns = temporal_duration_ns(d);
    if (ns >= RETENTION_MIN_NS && ns <= RETENTION_MAX_NS)
        return 0;
    return refuse(no, CODE_INVALID, "A valid retention period is not set on request. It is 1 hour to 10 years.");
}

void service_namespace_register(struct service *s, struct service_call *c)
{
    const Tp__RegisterNamespaceRequest *q = c->q;
    if (!*q->namespace_ || strlen(q->namespace_) > 255) {
        service_fail(c, CODE_INVALID, *q->namespace_ ? "Namespace length exceeds limit." : "Namespace not set on request.");
        return;
    }
    struct refusal no = { 0 };
    if (retention_check(q->workflow_execution_retention_period, &no) < 0) {
        service_refuse(c, &no);
        return;
    }
    struct service_namespace *there = service_namespace_any(s, q->namespace_);
    if (there && namespace_deleted(there)) { /* its clients try again until it is gone */
        service_fail(c, CODE_UNAVAILABLE, "Namespace %s is being deleted: try again when it is gone.", q->namespace_);
        return;
    }
    if (there) {
        refuse_with(&no, CODE_EXISTS, "temporal.api.errordetails.v1.NamespaceAlreadyExistsFailure",
                    proto_new(&tp__namespace_already_exists_failure__descriptor), "Namespace already exists.");
        service_refuse(c, &no);
        return;
    }
    if (s->namespaces.count >= s->w.limits->namespaces_max) {
        service_fail(c, CODE_EXHAUSTED, "there are %llu namespaces already (namespaces_max)",
                     (unsigned long long)s->w.limits->namespaces_max);
        return;
    }
    Wt__Namespace *w = stored_new(s, q->namespace_);
    proto_set_text(&w->info->description, q->description);
    proto_set_text(&w->info->owner_email, q->owner_email);
    for (size_t i = 0; i < q->n_data; i++)
        data_set(w->info, q->data[i]->key, q->data[i]->value);
    temporal_set_duration(&w->config->workflow_execution_retention_ttl,
                          temporal_duration_ns(q->workflow_execution_retention_period));
    service_namespace_store(s, c, w, NULL);
}

static void updated(struct service *s, struct service_call *c, const struct service_namespace *n)
{
    (void)s;
    if (!c)
        return;
    Tp__UpdateNamespaceResponse w;
    tp__update_namespace_response__init(&w);
    w.namespace_info = n->stored->info;
    w.config = n->stored->config;
    w.replication_config = replication();
    service_reply(c, &w);
    proto_free(w.replication_config);
}

void service_namespace_update(struct service *s, struct service_call *c)
{
    const Tp__UpdateNamespaceRequest *q = c->q;
    const Tp__Duration *retention = q->config ? q->config->workflow_execution_retention_ttl : NULL;
    struct refusal no = { 0 };
    if (retention && retention_check(retention, &no) < 0) {
        service_refuse(c, &no);
        return;
    }
    if (q->update_info && q->update_info->state == TP__NAMESPACE_STATE__NAMESPACE_STATE_DELETED) {
        service_fail(c, CODE_INVALID, "A namespace is deleted with DeleteNamespace.");
        return;
    }
    Wt__Namespace *w = proto_dup(service_namespace_find(s, q->namespace_)->stored);
    if (q->update_info) {
        if (*q->update_info->description)
            proto_set_text(&w->info->description, q->update_info->description);
        if (*q->update_info->owner_email)
            proto_set_text(&w->info->owner_email, q->update_info->owner_email);
        if (q->update_info->state)
            w->info->state = q->update_info->state;
        for (size_t i = 0; i < q->update_info->n_data; i++)
            data_set(w->info, q->update_info->data[i]->key, q->update_info->data[i]->value);
    }
    if (retention)
        temporal_set_duration(&w->config->workflow_execution_retention_ttl, temporal_duration_ns(retention));
    service_namespace_store(s, c, w, updated);
}

void service_namespace_deprecate(struct service *s, struct service_call *c)
{
    const Tp__DeprecateNamespaceRequest *q = c->q;
    Wt__Namespace *w = proto_dup(service_namespace_find(s, q->namespace_)->stored);
    w->info->state = TP__NAMESPACE_STATE__NAMESPACE_STATE_DEPRECATED;
    service_namespace_store(s, c, w, NULL);
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
    can.count_group_by_execution_status = can.supports_schedules = true;
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
