#include "api/kube_impl.h"

#include <stdio.h>
#include <stdlib.h>

/* A watch is a cursor in the change log. What it may hold in memory is one piece of PIECE_BYTES (or one event)
 * on its way to the client, and at its beginning the list it asked for; the next piece is made when that one is
 * with the system, however long it takes. */
enum {
    PIECE_BYTES = 16 * 1024,
    BOOKMARK_US = 30 * 1000000, /* between two, as far as anything happened */
};

struct watch {
    struct list_node node;
    struct kube *kube;
    struct http_call *call;
    struct kube_place place;
    struct kube_selection which;
    struct watch_cursor cursor;
    bool table, partial, bookmarks;
    enum kube_include include;
    bool waiting;  /* for room: on_room comes */
    bool ending;   /* when what is written is out */
    int64_t marked; /* the version the client knows */
    struct buf initial; /* the list it asked for, before any event */
    struct loop_timer end, bookmark;
};

static void watch_free(struct watch *w)
{
    struct kube *k = w->kube;
    loop_cancel(k->s.loop, &w->end);
    loop_cancel(k->s.loop, &w->bookmark);
    list_remove(&k->watches, &w->node);
    buf_done(&w->initial);
    free(w);
}

/* ---- what an event looks like ---- */

static void event_line(struct buf *into, const char *type, struct str object)
{
    buf_printf(into, "{\"type\":\"%s\",\"object\":", type);
    buf_str_append(into, object);
    buf_text(into, "}\n");
}

static void event_tree(struct buf *into, const char *type, const json_t *object)
{
    struct buf text;
    buf_init(&text, into->max);
    json_write(object, &text);
    event_line(into, type, buf_str(&text));
    buf_done(&text);
}

static void event_table(const struct watch *w, struct buf *into, const char *type, const char *text,
                        int64_t version)
{
    char number[24];
    AUTO_JSON json_t *objects = json_array();
    if (text)
        (void)json_array_append_new(objects, json_loads(text, 0, NULL));
    (void)snprintf(number, sizeof number, "%lld", (long long)version);
    AUTO_JSON json_t *table =
        kube_table(w->place.resource, objects, number, "", w->include, loop_wall_ms());
    event_tree(into, type, table);
}

static void event_partial(struct buf *into, const char *type, const char *text)
{
    AUTO_JSON json_t *whole = json_loads(text, 0, NULL);
    AUTO_JSON json_t *partial = kube_partial(whole);
    event_tree(into, type, partial);
}

static void event_write(const struct watch *w, struct buf *into, const char *type, const char *text,
                        int64_t version)
{
    if (w->table)
        event_table(w, into, type, text, version);
    else if (w->partial)
        event_partial(into, type, text);
    else
        event_line(into, type, str_of(text));
}

/* initial_end: the list that was asked for is complete with it. */
static void bookmark_write(struct watch *w, struct buf *into, bool initial_end)
{
    const struct kube_resource *r = w->place.resource;
    char number[24];
    w->marked = w->cursor.version;
    if (w->table && !initial_end) {
        event_table(w, into, "BOOKMARK", NULL, w->marked);
        return;
    }
    (void)snprintf(number, sizeof number, "%lld", (long long)w->marked);
    AUTO_JSON json_t *object =
        json_pack("{s:s,s:s,s:{s:s,s:n}}", "kind", w->partial ? "PartialObjectMetadata" : r->name, "apiVersion",
                  w->partial ? "meta.k8s.io/v1" : r->api_version, "metadata", "resourceVersion", number,
                  "creationTimestamp");
    if (initial_end)
        (void)json_object_set_new(json_object_get(object, "metadata"), "annotations",
                                  json_pack("{s:s}", "k8s.io/initial-events-end", "true"));
    event_tree(into, "BOOKMARK", object);
}

static void gone_write(const struct watch *w, struct buf *into)
{
    char message[120];
    (void)snprintf(message, sizeof message, "too old resource version: %lld (%lld)",
                   (long long)w->cursor.version, (long long)catalog_version(w->kube->s.catalog));
    AUTO_JSON json_t *status = kube_status(&(struct kube_refusal){ .code = 410, .reason = "Expired", .message = message });
    event_tree(into, "ERROR", status);
}

/* ---- the stream ---- */

static bool labels_match(void *ctx, const struct watch_event *event, const json_t *labels)
{
    const struct watch *w = ctx;
    AUTO_JSON json_t *object =
        selector_fields_simple(&w->which.fields) ? NULL : json_loads(event->text, 0, NULL);
    return kube_selection_match(&w->which, event->ns, event->name, object, labels);
}

/* Into `piece`: what comes next. */
static void piece_make(struct watch *w, struct buf *piece)
{
    static const char *const types[] = { "ADDED", "MODIFIED", "DELETED" };
    const struct watch_filter filter = { .kind = w->place.resource->log_kind,
                                         .ns = *w->place.ns ? w->place.ns : NULL,
                                         .name = *w->place.name ? w->place.name : NULL,
                                         .matches = w->which.labels.count + w->which.fields.count > 0
                                                        ? labels_match
                                                        : NULL,
                                         .ctx = w };
    struct watch_event event;
    if (w->initial.size > 0) {
        size_t size = MIN(w->initial.size, (size_t)PIECE_BYTES);
        buf_append(piece, buf_at(&w->initial), size);
        buf_consume(&w->initial, size);
        (void)http_call_hold(w->call, w->initial.size); /* less never fails */
        return;
    }
    while (piece->size < PIECE_BYTES) {
        enum watch_verdict v = watchlog_next(catalog_log(w->kube->s.catalog), &w->cursor, &filter, &event);
        if (v == WATCH_TOO_OLD) {
            gone_write(w, piece);
            w->ending = true;
        }
        if (v != WATCH_EVENT)
            return;
        event_write(w, piece, types[event.type], event.text, event.version);
        w->marked = event.version;
    }
}

static void on_room(void *ctx);

static void watch_write(struct watch *w, struct str text)
{
    http_stream_write(w->call, text);
    w->waiting = true;
    http_stream_await(w->call, on_room);
}

/* May end w. */
static void watch_pump(struct watch *w)
{
    struct buf piece;
    if (w->waiting)
        return;
    if (w->ending) {
        http_stream_end(w->call);
        watch_free(w);
        return;
    }
    buf_init(&piece, w->kube->s.limits->api_answer_bytes_max);
    piece_make(w, &piece);
    if (piece.size > 0)
        watch_write(w, buf_str(&piece));
    buf_done(&piece);
}

static void on_room(void *ctx)
{
    struct watch *w = ctx;
    w->waiting = false;
    watch_pump(w);
}

static void on_gone(void *ctx) { watch_free(ctx); }

static void on_bookmark(struct loop_timer *t)
{
    struct watch *w = CONTAINER_OF(t, struct watch, bookmark);
    struct buf piece;
    loop_after(w->kube->s.loop, t, BOOKMARK_US);
    if (w->waiting || w->ending || w->cursor.version == w->marked)
        return;
    buf_init(&piece, PIECE_BYTES);
    bookmark_write(w, &piece, false);
    watch_write(w, buf_str(&piece));
    buf_done(&piece);
}

/* Its time is over: with a last bookmark, so that the client goes on from there. */
static void on_end(struct loop_timer *t)
{
    struct watch *w = CONTAINER_OF(t, struct watch, end);
    if (w->bookmarks && w->cursor.version != w->marked)
        on_bookmark(&w->bookmark);
    w->ending = true;
    watch_pump(w);
}

static void on_pump(struct loop_task *t)
{
    struct kube *k = CONTAINER_OF(t, struct kube, pump);
    LIST_EACH(&k->watches, n, tmp)
        watch_pump(CONTAINER_OF(n, struct watch, node));
}

static void on_change(struct watch_listener *l)
{
    struct kube *k = CONTAINER_OF(l, struct kube, listener);
    if (k->watches.count > 0)
        loop_defer(k->s.loop, &k->pump);
}

/* ---- beginning ---- */

/* As Kubernetes reads a query: whatever is there and is not "false" or "0". */
static bool truth(struct str text) { return text.at && !str_is(text, "0") && !str_eq_nocase(text, STR("false")); }

bool kube_watch_wanted(struct http_call *c) { return truth(http_call_param(c, "watch")); }

static bool initial_item(void *ctx, const struct catalog_item *i)
{
    struct watch *w = ctx;
    if (*w->place.name && strcmp(w->place.name, i->name) != 0)
        return true;
    AUTO_JSON json_t *object = kube_selection_deep(&w->which) ? json_loads(catalog_item_text(i), 0, NULL) : NULL;
    if (kube_selection_match(&w->which, i->ns, i->name, object, json_at(object, "metadata.labels")))
        event_write(w, &w->initial, "ADDED", catalog_item_text(i), i->version);
    return !w->initial.overflow;
}

static void refuse_busy(struct http_call *c, const char *message)
{
    kube_refuse(c, &(struct kube_refusal){ .code = 429,
                                           .reason = "TooManyRequests",
                                           .message = message,
                                           .retry_after_s = 1 });
}

/* Where it begins; false: refused, and answered. No version, or 0, means: what there is, then what changes. */
static bool watch_place(struct watch *w, struct http_call *c)
{
    struct str version = http_call_param(c, "resourceVersion"), send = http_call_param(c, "sendInitialEvents");
    struct watchlog *log = catalog_log(w->kube->s.catalog);
    bool unset = version.size == 0 || str_is(version, "0");
    bool list = send.size > 0 ? truth(send) : unset;
    uint64_t n = (uint64_t)watchlog_version(log);
    if (send.size > 0 && !str_is(http_call_param(c, "resourceVersionMatch"), "NotOlderThan"))
        return kube_bad_request(c, "resourceVersionMatch: Forbidden: sendInitialEvents requires setting "
                                   "resourceVersionMatch to NotOlderThan");
    if (!unset && (!str_u64(version, &n) || n > INT64_MAX))
        return kube_bad_request(c, "resourceVersion: Invalid value: not a version that this server gave");
    if (list)
        n = (uint64_t)watchlog_version(log);
    /* One from the future is of a life of this server that a backup ended: the client lists again. */
    bool ahead = n > (uint64_t)watchlog_version(log);
    if (ahead || watchlog_seek(log, (int64_t)n, &w->cursor) == WATCH_TOO_OLD) {
        AUTO_FREE char *message = xasprintf("too %s resource version: %llu (%lld)", ahead ? "large" : "old",
                                            (unsigned long long)n, (long long)watchlog_version(log));
        kube_refuse_with(c, 410, "Expired", message);
        return false;
    }
    w->marked = w->cursor.version;
    if (!list)
        return true;
    kube_each(w->kube, w->place.resource, *w->place.ns ? w->place.ns : NULL, initial_item, w);
    if (send.size > 0 && w->bookmarks)
        bookmark_write(w, &w->initial, true);
    if (w->initial.overflow)
        kube_refuse_with(c, 413, "RequestEntityTooLarge", "the list is too large to begin a watch with");
    else if (!http_call_hold(c, w->initial.size))
        refuse_busy(c, "the lists that watches begin with are more than api_answers_bytes_max together");
    else
        return true;
    return false;
}

static bool watch_read(struct watch *w, struct http_call *c)
{
    struct str timeout = http_call_param(c, "timeoutSeconds");
    uint64_t seconds = 0, max_ms = w->kube->s.limits->watch_ms;
    w->table = kube_form(c) == KUBE_TABLE;
    w->partial = kube_form(c) == KUBE_PARTIAL;
    w->bookmarks = truth(http_call_param(c, "allowWatchBookmarks"));
    if (timeout.size > 0 && !str_u64(timeout, &seconds))
        return kube_bad_request(c, "timeoutSeconds: not a whole number");
    if (!kube_include_parse(http_call_param(c, "includeObject"), &w->include))
        return kube_bad_request(c, "includeObject: Unsupported value");
    if (!kube_selection_read(c, w->place.resource, &w->which))
        return false;
    const struct str *name = selector_fields_name(&w->which.fields);
    if (name && !*w->place.name && name->size < sizeof w->place.name)
        memcpy(w->place.name, name->at, name->size);
    if (!watch_place(w, c))
        return false;
    uint64_t wait_ms = seconds > 0 && seconds < max_ms / 1000 ? seconds * 1000 : max_ms;
    loop_after(w->kube->s.loop, &w->end, wait_ms * 1000);
    return true;
}

static void refuse_more(struct kube *k, struct http_call *c)
{
    if (k->s.on_limit)
        k->s.on_limit(k->s.ctx, "api_watchers_max");
    refuse_busy(c, "api_watchers_max watches are open already");
}

void kube_watch_handle(struct kube *k, struct http_call *c, const struct kube_place *place)
{
    if (k->watches.count >= k->s.limits->api_watchers_max) {
        refuse_more(k, c);
        return;
    }
    struct watch *w = xcalloc(1, sizeof *w);
    w->kube = k;
    w->call = c;
    w->place = *place;
    w->end.on_due = on_end;
    w->bookmark.on_due = on_bookmark;
    buf_init(&w->initial, k->s.limits->api_answer_bytes_max);
    list_push(&k->watches, &w->node);
    if (!watch_read(w, c)) {
        watch_free(w);
        return;
    }
    if (w->bookmarks)
        loop_after(k->s.loop, &w->bookmark, BOOKMARK_US);
    http_stream_begin(c, 200, "application/json", on_gone, w);
    watch_pump(w);
}

uint32_t kube_watches(const struct kube *k) { return k->watches.count; }

void kube_watch_begin(struct kube *k)
{
    list_init(&k->watches);
    k->pump.run = on_pump;
    k->listener.on_change = on_change;
    watchlog_listen(catalog_log(k->s.catalog), &k->listener);
}

/* The catalog may be gone, and then its log, which forgot us. */
void kube_watch_done(struct kube *k)
{
    LIST_EACH(&k->watches, n, tmp) {
        struct watch *w = CONTAINER_OF(n, struct watch, node);
        http_stream_end(w->call);
        watch_free(w);
    }
    if (list_node_linked(&k->listener.node))
        watchlog_unlisten(catalog_log(k->s.catalog), &k->listener);
    loop_undefer(k->s.loop, &k->pump);
}
