/* cluster.h -- what holds for the whole cluster, as Knative's ConfigMaps say it: config-autoscaler, config-defaults,
 * config-features, config-gc and config-network in namespace knative-serving. Pure.
 *
 * Receives the data of one of them and the limits that hob was started with. Emits the limits with what the map says
 * instead, so that everything which is decided by a limit follows it. Refuses values that are none, out of range, or
 * that contradict each other, in Knative's words; keys that hob does not know are kept, as in Knative, and warned of.
 */
#pragma once

#include "base/limits.h"
#include "codec/json.h"
#include "serving/refusals.h"

#define CLUSTER_NAMESPACE "knative-serving"

extern const char *const cluster_maps[]; /* NULL-terminated */
bool cluster_is(const char *ns, const char *name); /* one of these maps */

/* Of what Knative reads and hob does not: a whole map, or a key of one of these. Nothing that was not Knative's. */
void cluster_warn(const char *ns, const char *name, const json_t *data, struct refusals *warnings);
/* Into `into`, key by key; a value that is refused changes nothing. data NULL: nothing is said. */
void cluster_read(const char *name, const json_t *data, struct limits *into, struct refusals *refused);
