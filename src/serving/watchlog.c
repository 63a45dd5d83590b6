#include "serving/watchlog.h"

#include "serving/object.h"

#include <stdlib.h>

struct entry {
    struct watch_event event; /* its texts are owned */
    json_t *before, *after;   /* labels; NULL: none, or no object on that side */
    bool was, is;             /* there was an object before, there is one after */
    size_t bytes;
};

struct watchlog {
    const struct limits *limits;
    struct entry **ring; /* position % capacity */
    uint64_t first, end; /* positions of the oldest, and behind the newest */
    int64_t floor, version;
    uint64_t bytes, capacity;
    struct list listeners;
};

static void watchlog_check(const struct watchlog *w)
{
    ASSERT(w->first <= w->end && w->end - w->first <= w->capacity);
    ASSERT(w->floor <= w->version);
}

static void entry_free(struct entry *t)
{
    free((char *)(uintptr_t)t->event.kind);
    free((char *)(uintptr_t)t->event.ns);
    free((char *)(uintptr_t)t->event.name);
    free((char *)(uintptr_t)t->event.text);
    json_decref(t->before);
    json_decref(t->after);
    free(t);
}

struct watchlog *watchlog_new(const struct limits *limits, int64_t version)
{
    struct watchlog *w = xcalloc(1, sizeof *w);
    w->limits = limits;
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
    w->floor = t->event.version;
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
    free(w->ring);
    free(w);
}

static json_t *labels_of(const char *text, char **ret_deleted_text, int64_t version)
{
    AUTO_JSON json_t *object = text ? json_loads(text, 0, NULL) : NULL;
    if (object && ret_deleted_text) {
        struct buf b;
        buf_init(&b, SIZE_MAX / 4);
        object_version_set(object, version);
        json_write(object, &b);
        *ret_deleted_text = buf_take_text(&b);
    }
    return json_incref(json_at(object, "metadata.labels"));
}

static struct entry *entry_new(int64_t version, const char *kind, const char *ns, const char *name,
                               const char *before, const char *after)
{
    struct entry *t = xcalloc(1, sizeof *t);
    char *deleted = NULL;
    t->was = before != NULL;
    t->is = after != NULL;
    t->before = labels_of(before, after ? NULL : &deleted, version);
    t->after = labels_of(after, NULL, version);
    t->event = (struct watch_event){ !before  ? WATCH_ADDED
                                     : !after ? WATCH_DELETED
                                              : WATCH_MODIFIED,
                                     version, xstrdup(kind), xstrdup(ns), xstrdup(name),
                                     after ? xstrdup(after) : deleted };
    t->bytes = sizeof *t + strlen(t->event.text);
    return t;
}

void watchlog_append(struct watchlog *w, int64_t version, const char *kind, const char *ns,
                     const char *name, const char *before, const char *after)
{
    ASSERT(version > w->version && (before || after));
    struct entry *t = entry_new(version, kind, ns, name, before, after);
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
}

int64_t watchlog_version(const struct watchlog *w) { return w->version; }

uint64_t watchlog_forgotten(const struct watchlog *w) { return w->first; }

enum watch_verdict watchlog_seek(const struct watchlog *w, int64_t version, struct watch_cursor *ret)
{
    uint64_t low = w->first, high = w->end;
    if (version < w->floor)
        return WATCH_TOO_OLD;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (at(w, middle)->event.version <= version)
            low = middle + 1;
        else
            high = middle;
    }
    *ret = (struct watch_cursor){ low, version };
    return WATCH_NONE;
}

static bool concerns(const struct entry *t, const struct watch_filter *f)
{
    return strcmp(t->event.kind, f->kind) == 0 && (!f->ns || strcmp(t->event.ns, f->ns) == 0) &&
           (!f->name || strcmp(t->event.name, f->name) == 0);
}

/* As the client sees it, who only knows what matches. False: nothing happened, for it. */
static bool seen_as(const struct entry *t, const struct watch_filter *f, struct watch_event *ret)
{
    bool was = t->was && (!f->matches || f->matches(f->ctx, &t->event, t->before));
    bool is = t->is && (!f->matches || f->matches(f->ctx, &t->event, t->after));
    if (!was && !is)
        return false;
    *ret = t->event;
    ret->type = !was ? WATCH_ADDED : !is ? WATCH_DELETED : WATCH_MODIFIED;
    return true;
}

enum watch_verdict watchlog_next(const struct watchlog *w, struct watch_cursor *c,
                                 const struct watch_filter *f, struct watch_event *ret)
{
    if (c->next < w->first)
        return WATCH_TOO_OLD;
    while (c->next < w->end) {
        const struct entry *t = at(w, c->next++);
        c->version = MAX(c->version, t->event.version);
        if (concerns(t, f) && seen_as(t, f, ret))
            return WATCH_EVENT;
    }
    return WATCH_NONE;
}

void watchlog_listen(struct watchlog *w, struct watch_listener *l) { list_push(&w->listeners, &l->node); }

void watchlog_unlisten(struct watchlog *w, struct watch_listener *l)
{
    if (list_node_linked(&l->node))
        list_remove(&w->listeners, &l->node);
}
