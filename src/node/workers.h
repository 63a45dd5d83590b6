/* workers.h -- workers are functions: instances that are started for the tasks of a task queue (docs/decisions/0012).
 *
 * Receives revisions that are bound to a queue, the sockets inside their instances, and of the durable core what waits, what
 * was handed out and what is over.
 * Owns for each instance its listener of Temporal's API and what the service knows of it; for each queue its watch.
 * Emits demand and tasks to the fleet; the fleet decides.
 * Refuses nothing. Loop thread only. */
#pragma once

#include "api/temporal.h"
#include "instance/fleet.h"

struct workers;

struct workers *workers_new(struct loop *loop, struct fleet *f, uint64_t seed);
/* A revision runs, or does not any more; nothing happens unless it is bound to a queue. */
void workers_bind(struct workers *w, const struct revision *r);
void workers_unbind(struct workers *w, const char *ns, const char *revision);
void workers_unbind_service(struct workers *w, const char *ns, const char *service);
/* From now on there is somebody to work for: what every run wants is known. */
void workers_serve(struct workers *w, struct service *s, struct temporal *t);
/* hob stops: no instance gets another task. */
void workers_drain(struct workers *w);
bool workers_idle(const struct workers *w); /* none of them has a task */
/* Before the service and Temporal's face end; the rest goes with free, after the fleet. NULL is fine. */
void workers_close(struct workers *w);
void workers_free(struct workers *w);
