/* routes.h -- Routes that are no Service's: the traffic of Configurations that were deployed by themselves.
 *
 * Receives nothing: it follows the change log (Routes, Services, Configurations, Revisions). Tells the catalog what
 * each such Route asks for (catalog_outside_set), which makes its table and runs its Revisions, and writes the status
 * that comes of it. A gradual rollout goes on by a timer. What the store or a busy object refuses is tried again.
 * Loop thread only.
 */
#pragma once

#include "serving/registry.h"

struct routes;

struct routes *routes_new(struct loop *l, struct catalog *c, struct registry *g);
void routes_free(struct routes *r); /* before catalog and registry */
DEFINE_AUTO(routes, struct routes *, routes_free)
