/* namespaces.h -- a Namespace that is deleted takes with it what is in it.
 *
 * Receives nothing: it follows the change log. For each Namespace that is Terminating it deletes the Services and
 * every other object in it, and when nothing is left the Namespace. What the store or a busy object refuses is
 * tried again. After a restart it goes on. Loop thread only.
 */
#pragma once

#include "serving/registry.h"

struct namespaces;

struct namespaces *namespaces_new(struct loop *l, struct catalog *c, struct registry *g);
void namespaces_free(struct namespaces *n); /* before catalog and registry, or after their requests were answered */
DEFINE_AUTO(namespaces, struct namespaces *, namespaces_free)
