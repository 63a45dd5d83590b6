#include "node/workers.h"

#include "base/log.h"
#include "base/map.h"
#include "workflow/service_worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct bound { /* a revision */
    struct list_node node;
    char *ns, *service, *revision;
};
struct queue {
    struct workers *w;
    char *key; /* namespace, NUL, name */
    size_t key_size;
    struct list bound;
    struct service_watch *watch; /* NULL: nobody to work for yet */
    struct loop_task look;
    struct loop_timer due;
};
struct served { /* an instance */
    struct list_node node;
    struct workers *w;
    struct instance *instance;
    int fd; /* until it is listened on, and then as long as that */
    struct grpc_listener *listener;
    struct service_worker *worker;
    struct loop_task polled;
    uint32_t tasks;
    bool draining;
};
struct workers {
    struct loop *loop;
    struct fleet *fleet;
    struct service *service;
    struct temporal *temporal;
    struct map queues; /* by their key */
    struct list served;
    bool draining, closed;
};

static const char *ns_of(const struct queue *q) { return q->key; }
static const char *name_of(const struct queue *q) { return q->key + strlen(q->key) + 1; }

/* ---- demand ---- */

static int64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void first_fill(const struct queue *q, const struct service_waiting *from, int64_t now_ns, struct start_task *into)
{
    snprintf(into->queue, sizeof into->queue, "%.63s", name_of(q));
    snprintf(into->workflow, sizeof into->workflow, "%.95s", from->id);
    snprintf(into->run, sizeof into->run, "%.36s", from->run);
    into->activity = from->activity;
    into->waited_us = now_ns > from->scheduled_ns ? (uint64_t)(now_ns - from->scheduled_ns) / 1000 : 0;
}

/* Each of those who are bound to it may be given any task of it: all of them are told of all. */
static void queue_look(struct queue *q)
{
    struct workers *w = q->w;
    struct service_demand d;
    struct fleet_work work = { 0 };
    if (!w->service || w->closed)
        return;
    service_demand(w->service, ns_of(q), name_of(q), &d);
    if (!w->draining) {
        work.waiting = d.waiting;
        work.unattended = d.unattended;
        if (d.first.id[0])
            first_fill(q, &d.first, wall_ns(), &work.first);
    }
    LIST_EACH(&q->bound, n, tmp) {
        const struct bound *b = CONTAINER_OF(n, struct bound, node);
        fleet_work(w->fleet, b->ns, b->service, b->revision, &work);
    }
    int64_t now_ns = wall_ns();
    if (d.due_ns == INT64_MAX)
        loop_cancel(w->loop, &q->due);
    else
        loop_after(w->loop, &q->due, d.due_ns > now_ns ? (uint64_t)(d.due_ns - now_ns) / 1000 + 1 : 1);
}

static void on_look(struct loop_task *t) { queue_look(CONTAINER_OF(t, struct queue, look)); }
static void on_due(struct loop_timer *t) { queue_look(CONTAINER_OF(t, struct queue, due)); }

static void on_change(void *owner)
{
    struct queue *q = owner;
    loop_defer(q->w->loop, &q->look);
}

/* ---- revisions ---- */

static void queue_watch(struct queue *q)
{
    struct workers *w = q->w;
    if (w->service && !q->watch)
        q->watch = service_watch_new(w->service, ns_of(q), name_of(q), on_change, q);
    loop_defer(w->loop, &q->look);
}

static struct queue *queue_make(struct workers *w, const char *ns, const char *name)
{
    size_t ns_size = strlen(ns), size = ns_size + 1 + strlen(name);
    AUTO_FREE char *key = xcalloc(1, size + 1);
    memcpy(key, ns, ns_size);
    memcpy(key + ns_size + 1, name, strlen(name));
    struct queue *q = map_find(&w->queues, (struct str){ key, size });
    if (q)
        return q;
    q = xcalloc(1, sizeof *q);
    *q = (struct queue){ .w = w, .key = TAKE(key), .key_size = size, .look = { .run = on_look }, .due = { .on_due = on_due } };
    list_init(&q->bound);
    map_put(&w->queues, (struct str){ q->key, size }, q);
    return q;
}

static void bound_free(struct queue *q, struct bound *b)
{
    list_remove(&q->bound, &b->node);
    free(b->ns);
    free(b->service);
    free(b->revision);
    free(b);
}

static void queue_free(struct queue *q)
{
    struct workers *w = q->w;
    LIST_EACH(&q->bound, n, tmp)
        bound_free(q, CONTAINER_OF(n, struct bound, node));
    service_watch_free(q->watch);
    loop_undefer(w->loop, &q->look);
    loop_cancel(w->loop, &q->due);
    map_remove(&w->queues, (struct str){ q->key, q->key_size });
    free(q->key);
    free(q);
}

static bool is_of(const struct bound *b, const char *ns, const char *service, const char *revision)
{
    return strcmp(b->ns, ns) == 0 && (!service || strcmp(b->service, service) == 0) &&
           (!revision || strcmp(b->revision, revision) == 0);
}

static void unbind(struct workers *w, const char *ns, const char *service, const char *revision)
{
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&w->queues, &at)) != NULL;) {
        struct queue *q = s->value;
        LIST_EACH(&q->bound, n, tmp) {
            struct bound *b = CONTAINER_OF(n, struct bound, node);
            if (is_of(b, ns, service, revision))
                bound_free(q, b);
        }
        if (q->bound.count == 0) {
            queue_free(q);
            at = 0; /* the map has changed */
        }
    }
}

void workers_bind(struct workers *w, const struct revision *r)
{
    if (!r->task_queue)
        return;
    unbind(w, r->ns, r->service, r->name); /* it may have been dropped and come back */
    struct queue *q = queue_make(w, r->task_namespace, r->task_queue);
    struct bound *b = xcalloc(1, sizeof *b);
    *b = (struct bound){ .ns = xstrdup(r->ns), .service = xstrdup(r->service), .revision = xstrdup(r->name) };
    list_push(&q->bound, &b->node);
    queue_watch(q);
}

void workers_unbind(struct workers *w, const char *ns, const char *revision) { unbind(w, ns, NULL, revision); }

void workers_unbind_service(struct workers *w, const char *ns, const char *service) { unbind(w, ns, service, NULL); }

/* ---- instances ---- */

static void on_task(void *owner, int change)
{
    struct served *v = owner;
    v->tasks = change > 0 ? v->tasks + 1 : v->tasks - 1;
    fleet_cached(v->w->fleet, v->instance, service_worker_cached(v->worker));
    if (change > 0)
        fleet_task_begin(v->w->fleet, v->instance);
    else
        fleet_task_end(v->w->fleet, v->instance);
}

/* Not from inside its poll: ready, it may be given requests, and be stopped. */
static void on_polled_task(struct loop_task *t) { instance_polled(CONTAINER_OF(t, struct served, polled)->instance); }

static void on_polled(void *owner)
{
    struct served *v = owner;
    loop_defer(v->w->loop, &v->polled);
}

static const struct service_worker_ops worker_ops = { on_polled, on_task };

static void served_listen(struct served *v)
{
    struct workers *w = v->w;
    const struct revision *r = v->instance->revision;
    struct err e;
    if (!w->service || w->closed || v->worker)
        return;
    v->worker = service_worker_new(w->service, r->task_namespace, r->task_queue, &worker_ops, v);
    if (w->draining || v->draining)
        service_worker_drain(v->worker);
    if (temporal_listen_worker(w->temporal, v->fd, service_worker_id(v->worker), &v->listener, &e) < 0)
        log_event(LOG_ERROR, "worker.unserved", "instance=%s error=\"%s\"", v->instance->id, LOG_QUOTED(e.text));
}

static void *on_served(void *ctx, struct instance *i, int take_fd)
{
    struct workers *w = ctx;
    struct served *v = xcalloc(1, sizeof *v);
    *v = (struct served){ .w = w, .instance = i, .fd = take_fd, .polled = { .run = on_polled_task } };
    list_push(&w->served, &v->node);
    served_listen(v);
    return v;
}

static void on_draining(void *ctx, void *served)
{
    struct served *v = served;
    (void)ctx;
    if (v->draining)
        return;
    v->draining = true;
    if (v->worker)
        service_worker_drain(v->worker);
}

static void served_quiet(struct served *v)
{
    loop_undefer(v->w->loop, &v->polled);
    grpc_listener_close(TAKE(v->listener));
    service_worker_free(TAKE(v->worker));
}

static void on_gone(void *ctx, void *served)
{
    struct served *v = served;
    (void)ctx;
    served_quiet(v);
    list_remove(&v->w->served, &v->node);
    (void)close(v->fd);
    free(v);
}

static const struct fleet_servers servers = { on_served, on_draining, on_gone };

/* ---- life ---- */

struct workers *workers_new(struct loop *loop, struct fleet *f, uint64_t seed)
{
    struct workers *w = xcalloc(1, sizeof *w);
    *w = (struct workers){ .loop = loop, .fleet = f };
    map_init(&w->queues, seed);
    list_init(&w->served);
    fleet_serve(f, &servers, w);
    return w;
}

void workers_serve(struct workers *w, struct service *s, struct temporal *t)
{
    w->service = s;
    w->temporal = t;
    const struct map_slot *slot;
    for (uint32_t at = 0; (slot = map_next(&w->queues, &at)) != NULL;)
        queue_watch(slot->value);
    LIST_EACH(&w->served, n, tmp)
        served_listen(CONTAINER_OF(n, struct served, node));
}

void workers_drain(struct workers *w)
{
    w->draining = true;
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&w->queues, &at)) != NULL;)
        loop_defer(w->loop, &((struct queue *)s->value)->look); /* what waits is for the next hob */
    LIST_EACH(&w->served, n, tmp) {
        struct served *v = CONTAINER_OF(n, struct served, node);
        if (v->worker)
            service_worker_drain(v->worker);
    }
}

bool workers_idle(const struct workers *w)
{
    LIST_EACH(&w->served, n, tmp)
        if (CONTAINER_OF(n, struct served, node)->tasks > 0)
            return false;
    return true;
}

void workers_close(struct workers *w)
{
    if (!w)
        return;
    w->closed = true;
    LIST_EACH(&w->served, n, tmp)
        served_quiet(CONTAINER_OF(n, struct served, node));
    const struct map_slot *s;
    for (uint32_t at = 0; (s = map_next(&w->queues, &at)) != NULL; at = 0)
        queue_free(s->value);
}

void workers_free(struct workers *w)
{
    if (!w)
        return;
    workers_close(w);
    ASSERT(w->served.count == 0);
    map_done(&w->queues);
    free(w);
}
