/* schedules.h -- hob's Schedules (hob.dev/v1) in the node: what the objects say goes to the ticker, what became of them into their
 * status.
 *
 * Receives nothing by call: it follows the change log. Owns the statuses that could not be written yet (the object was busy, or the disk
 * full), the newest of each. Emits ticker_put() and ticker_drop(), and answers the ticker's questions (schedules_ops). Of an object that
 * went while nobody looked the ticker hears when it asks. Refuses nothing. Loop thread only. */
#pragma once

#include "instance/backend.h"
#include "invocation/ticker.h"
#include "serving/registry.h"

struct schedules;

extern const struct ticker_ops schedules_ops; /* ctx: struct schedules */

struct schedules *schedules_new(struct loop *l, struct registry *g, struct watchlog *log, struct backend *functions,
                                uint64_t seed);
/* The durable core is ready: it is told of all there are, and from now on of what changes. */
void schedules_begin(struct schedules *s, struct ticker *k);
void schedules_free(struct schedules *s); /* after the durable core, before registry and log; NULL is fine */
