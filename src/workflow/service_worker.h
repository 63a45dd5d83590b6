/* service_worker.h -- workers that hob runs itself: which calls are theirs, what they hold, and what waits for one.
 *
 * Receives each worker as its instance begins to be served, drains and ends; calls name theirs (service_ask.worker). Queues
 * that somebody starts workers for are watched.
 * Owns who holds which task (handed out to it, and by its run's last commit neither answered nor timed out), and of which open
 * runs a worker has the history at hand (their sticky queue is its), worker_cached_runs_max of them.
 * Emits the first poll of a worker's queue, tasks that it took and let go, and that the demand of a watched queue has
 * changed: never inside a function below, but what a worker held when it is freed is its owner's to forget.
 * Refuses (CODE_DENIED) calls of a worker that speak of another namespace than its own, or of namespaces as such.
 *
 * Nothing here is durable: a worker does not outlive its hob. Loop thread only. */
#pragma once

#include "workflow/service.h"

struct service_worker; /* opaque */

struct service_worker_ops {
    void (*on_polled)(void *owner);          /* once: it polled its queue */
    void (*on_task)(void *owner, int change); /* +1: it has another task; -1: one fewer */
};
struct service_worker *service_worker_new(struct service *s, const char *ns, const char *queue,
                                          const struct service_worker_ops *ops, void *owner);
uint64_t service_worker_id(const struct service_worker *w); /* for service_ask.worker; of no worker before or after */
/* Its polls are answered empty, and those that come wait without ever getting a task. The rest goes on. */
void service_worker_drain(struct service_worker *w);
uint32_t service_worker_cached(const struct service_worker *w); /* open runs that it has at hand */
/* Its instance has ended: calls of it are refused, its sticky queues count as left. NULL is fine. */
void service_worker_free(struct service_worker *w);

struct service_demand { /* of both kinds of tasks together, and of queries */
    uint32_t waiting;
    bool unattended;    /* something waits, and nobody polls who could take it */
    int64_t due_ns;     /* when it will be, if nothing happens; INT64_MAX: not by itself */
    struct service_waiting { /* the oldest task that nobody attends to; id "": none */
        char id[128], run[40]; /* cut */
        bool activity;
        int64_t scheduled_ns;
    } first;
};
void service_demand(const struct service *s, const char *ns, const char *queue, struct service_demand *ret);
struct service_watch; /* opaque */
/* Each (namespace, queue) once. on_change: something came or left; ask service_demand(). */
struct service_watch *service_watch_new(struct service *s, const char *ns, const char *queue, void (*on_change)(void *owner),
                                        void *owner);
void service_watch_free(struct service_watch *w); /* NULL is fine */
