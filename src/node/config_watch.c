#include "node/config_watch.h"

#include <stdlib.h>

static const char *const kinds[] = { "configmaps", "secrets" };

struct config_watch {
    struct loop *loop;
    struct watchlog *log;
    struct watch_listener listener;
    struct loop_task task;
    struct watch_cursor at[COUNT_OF(kinds)];
    void (*on_changed)(void *ctx, const char *ns);
    void *ctx;
};

static void seek_end(struct config_watch *w, struct watch_cursor *c)
{
    enum watch_verdict v = watchlog_seek(w->log, watchlog_version(w->log), c);
    ASSERT(v == WATCH_NONE); /* nothing follows the last */
}

static void on_task(struct loop_task *t)
{
    struct config_watch *w = CONTAINER_OF(t, struct config_watch, task);
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        const struct watch_filter filter = { .kind = kinds[i] };
        struct watch_event event;
        enum watch_verdict v;
        while ((v = watchlog_next(w->log, &w->at[i], &filter, &event)) == WATCH_EVENT)
            w->on_changed(w->ctx, event.ns);
        if (v == WATCH_TOO_OLD) {
            seek_end(w, &w->at[i]);
            w->on_changed(w->ctx, NULL);
        }
    }
}

static void on_change(struct watch_listener *l)
{
    struct config_watch *w = CONTAINER_OF(l, struct config_watch, listener);
    loop_defer(w->loop, &w->task);
}

struct config_watch *config_watch_new(struct loop *l, struct watchlog *log,
                                      void (*on_changed)(void *ctx, const char *ns), void *ctx)
{
    struct config_watch *w = xcalloc(1, sizeof *w);
    w->loop = l;
    w->log = log;
    w->listener.on_change = on_change;
    w->task.run = on_task;
    w->on_changed = on_changed;
    w->ctx = ctx;
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        seek_end(w, &w->at[i]);
    watchlog_listen(log, &w->listener);
    return w;
}

void config_watch_free(struct config_watch *w)
{
    if (!w)
        return;
    watchlog_unlisten(w->log, &w->listener);
    loop_undefer(w->loop, &w->task);
    free(w);
}
