/* registry_knative.h -- what Knative's own kinds among the plain objects may say: DomainMapping, ClusterDomainClaim,
 * Route.
 *
 * Receives an object that is well-formed and its predecessor. Emits its defaults, or refusals in Knative's words,
 * as its admission webhook gives them. Pure; a part of registry_kinds.c.
 */
#pragma once

#include "serving/registry.h"
#include "serving/service.h"

#define DOMAINCLAIM_GROUP       "networking.internal.knative.dev"
#define DOMAINCLAIM_API_VERSION DOMAINCLAIM_GROUP "/v1alpha1"

/* Its status is what was last found out (domains.h); a new one has none yet. */
void registry_domainmapping_complete(json_t *object, const json_t *before);
void registry_route_complete(json_t *object, const json_t *before);
void registry_knative_check(enum registry_kind kind, const json_t *object, const json_t *before,
                            const struct limits *l, struct refusals *refused);
