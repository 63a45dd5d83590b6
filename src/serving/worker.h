/* worker.h -- a template that is bound to a task queue: hob.dev/task-queue (docs/decisions/0012).
 *
 * Receives a template's annotations and pod. Owns nothing. Emits the queue, and whether its first poll is what makes an
 * instance ready. Refuses names that no queue or namespace can have, a namespace without a queue, the port that hob
 * serves inside (WORKER_PORT), and a metric that no task changes. Pure. */
#pragma once

#include "codec/json.h"
#include "serving/refusals.h"

enum {
    WORKER_PORT = 7233,          /* of 127.0.0.1 inside an instance: Temporal's API, served by hob */
    WORKER_QUEUE_BYTES = 1000,   /* Temporal's limits of names */
    WORKER_NAMESPACE_BYTES = 255,
};

struct worker_binding { /* the texts are the annotations' */
    const char *queue, *ns;
};
bool worker_bound(const json_t *annotations, struct worker_binding *ret);
/* Bound, and the container that serves says neither ports nor a readiness probe: ready when it first polls its queue. */
bool worker_ready_on_poll(const json_t *annotations, const json_t *pod);
/* `at`: the path of the template. */
void worker_check(const json_t *annotations, const json_t *pod, const char *at, struct refusals *refused);
