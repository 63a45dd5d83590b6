#include "serving/watchlog.h"

#include "serving/object.h"

#include <stdlib.h>

struct entry {
    int64_t version;
    struct packed *text;
    /* Of the object before, as JSON, where they are not those of the text; NULL: they are. */
    struct packed *labels_before;
    const char *kind, *ns, *name; /* in texts[] */
    uint32_t bytes;
    bool was, is;                 /* there was an object before, there is one after */
    char texts[];
};

struct watchlog {
    const struct limits *limits;
    struct packer *packer;
    struct entry **ring; /* position % capacity */
    uint64_t first, end; /* positions of the oldest, and behind the newest */
    int64_t floor, version;
    uint64_t bytes, capacity;
    struct list listeners;
    char *shown; /* the text that was read last: those who watch read the same one after the other */
    int64_t shown_version;
};

static void watchlog_check(const struct watchlog *w)
{
    ASSERT(w->first <= w->end && w->end - w->first <= w->capacity);
    ASSERT(w->floor <= w->version);
}

static void entry_free(struct entry *t)
{
    packed_free(t->text);
    packed_free(t->labels_before);
    free(t);
}

struct watchlog *watchlog_new(const struct limits *limits, int64_t version)
{
    struct watchlog *w = xcalloc(1, sizeof *w);
    w->limits = limits;
    w->packer = packer_new();
    w->capacity = limits->watch_events_max;
    w->ring = xcalloc(w->capacity, sizeof *w->ring);
    w->floor = w->version = version;
    list_init(&w->listeners);
    watchlog_check(w);
    return w;
}

static struct entry *at(const struct watchlog *w, uint64_t position)
{
    return w->ring[position % w->capacity];
}

static void forget_oldest(struct watchlog *w)
{
    struct entry *t = at(w, w->first);
    w->floor = t->version;
    w->bytes -= t->bytes;
    w->ring[w->first % w->capacity] = NULL;
    w->first++;
    entry_free(t);
}

void watchlog_free(struct watchlog *w)
{
    if (!w)
        return;
    LIST_EACH(&w->listeners, n, tmp)
        list_remove(&w->listeners, n);
    while (w->first < w->end)
        forget_oldest(w);
    free(w->shown);
    free(w->ring);
    packer_free(w->packer);
    free(w);
}

static char *text_of(const json_t *tree)
{
    struct buf b;
    buf_init(&b, SIZE_MAX / 4);
    json_write(tree, &b);
    return buf_take_text(&b);
}

static const char *copy_into(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

static struct entry *entry_new(struct packer *p, int64_t version, const char *kind, const char *ns,
                               const char *name, const char *before, const char *after)
{
    AUTO_JSON json_t *was = before ? json_loads(before, 0, NULL) : NULL;
    AUTO_JSON json_t *is = after ? json_loads(after, 0, NULL) : NULL;
    const json_t *labels_was = json_at(was, "metadata.labels"), *labels_is = json_at(is, "metadata.labels");
    bool differ = was && is && labels_was != labels_is && !json_equal(labels_was, labels_is);
    if (was && !is)
        object_version_set(was, version);
    AUTO_FREE char *deleted = after ? NULL : text_of(was);
    const char *text = after ? after : deleted;
    struct entry *t = xcalloc(1, sizeof *t + strlen(kind) + strlen(ns) + strlen(name) + 3);
    char *at = t->texts;
    t->version = version;
    t->kind = copy_into(&at, kind);
    t->ns = copy_into(&at, ns);
    t->name = copy_into(&at, name);
    t->was = before != NULL;
    t->is = after != NULL;
    t->text = packed_new(p, kind, str_of(text));
    AUTO_FREE char *labels = !differ ? NULL : labels_was ? text_of(labels_was) : xstrdup("null");
    t->labels_before = labels ? packed_new(p, "labels", str_of(labels)) : NULL;
    t->bytes = (uint32_t)(sizeof *t + (size_t)(at - t->texts) + packed_bytes(t->text) +
                          (t->labels_before ? packed_bytes(t->labels_before) : 0));
    return t;
}

struct packer *watchlog_packer(const struct watchlog *w) { return w->packer; }

struct packed *watchlog_append(struct watchlog *w, int64_t version, const char *kind, const char *ns,
                               const char *name, const char *before, const char *after)
{
    ASSERT(version > w->version && (before || after));
    struct entry *t = entry_new(w->packer, version, kind, ns, name, before, after);
    while (w->first < w->end && (w->end - w->first == w->capacity ||
                                 w->bytes + t->bytes > w->limits->watch_log_bytes))
        forget_oldest(w);
    w->ring[w->end % w->capacity] = t;
    w->end++;
    w->bytes += t->bytes;
    w->version = version;
    watchlog_check(w);
    LIST_EACH(&w->listeners, n, tmp) {
        struct watch_listener *l = CONTAINER_OF(n, struct watch_listener, node);
        l->on_change(l);
    }
    return t->is ? t->text : NULL;
}

int64_t watchlog_version(const struct watchlog *w) { return w->version; }

uint64_t watchlog_forgotten(const struct watchlog *w) { return w->first; }

uint64_t watchlog_bytes(const struct watchlog *w) { return w->bytes; }

enum watch_verdict watchlog_seek(const struct watchlog *w, int64_t version, struct watch_cursor *ret)
{
    uint64_t low = w->first, high = w->end;
    if (version < w->floor)
        return WATCH_TOO_OLD;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (at(w, middle)->version <= version)
            low = middle + 1;
        else
            high = middle;
    }
    *ret = (struct watch_cursor){ low, version };
    return WATCH_NONE;
}

static bool concerns(const struct entry *t, const struct watch_filter *f)
{
    return strcmp(t->kind, f->kind) == 0 && (!f->ns || strcmp(t->ns, f->ns) == 0) &&
           (!f->name || strcmp(t->name, f->name) == 0);
}

static const char *text_show(struct watchlog *w, const struct entry *t)
{
    if (w->shown && w->shown_version == t->version)
        return w->shown;
    free(w->shown);
    w->shown = packed_text(t->text);
    w->shown_version = t->version;
    return w->shown;
}

/* As the client sees it, who only knows what matches. False: nothing happened, for it. */
static bool seen_as(const struct entry *t, const struct watch_filter *f, struct watch_event *event)
{
    bool was = t->was, is = t->is;
    if (f->matches) {
        AUTO_JSON json_t *object = json_loads(event->text, 0, NULL);
        const json_t *labels = json_at(object, "metadata.labels");
        AUTO_FREE char *was_labels = packed_text(t->labels_before);
        AUTO_JSON json_t *before = was_labels ? json_loads(was_labels, JSON_DECODE_ANY, NULL) : NULL;
        was = was && f->matches(f->ctx, event, !t->labels_before ? labels : json_is_object(before) ? before : NULL);
        is = is && f->matches(f->ctx, event, labels);
    }
    event->type = !was ? WATCH_ADDED : !is ? WATCH_DELETED : WATCH_MODIFIED;
    return was || is;
}

enum watch_verdict watchlog_next(struct watchlog *w, struct watch_cursor *c,
                                 const struct watch_filter *f, struct watch_event *ret)
{
    if (c->next < w->first)
        return WATCH_TOO_OLD;
    while (c->next < w->end) {
        const struct entry *t = at(w, c->next++);
        c->version = MAX(c->version, t->version);
        if (!concerns(t, f))
            continue;
        struct watch_event event = { WATCH_MODIFIED, t->version, t->kind, t->ns, t->name, text_show(w, t) };
        if (seen_as(t, f, &event)) {
            *ret = event;
            return WATCH_EVENT;
        }
    }
    return WATCH_NONE;
}

void watchlog_listen(struct watchlog *w, struct watch_listener *l) { list_push(&w->listeners, &l->node); }

void watchlog_unlisten(struct watchlog *w, struct watch_listener *l)
{
    if (list_node_linked(&l->node))
        list_remove(&w->listeners, &l->node);
}
