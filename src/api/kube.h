/* kube.h -- the Kubernetes-shaped API over the catalog, for kubectl, kn and hob's own command line.
 *
 * Receives HTTP requests under /api, /apis, /openapi and /version. Owns the requests it has not yet
 * answered. Emits objects, lists, Tables and Status errors exactly as an API server with Knative words
 * them. Refuses what is not JSON or YAML (415), not acceptable (406), not there (404), not allowed (405),
 * not the latest (409), not valid (400 or 422), and more than the catalog can queue (429).
 *
 *   services:   list (all namespaces too), get, create, replace, merge-patch, delete
 *   revisions:  list (all namespaces too), get, delete
 *   namespaces: list, get; one is there as soon as it is used
 *
 * Watches come later: a watch is refused with 405, and clients fall back to polling.
 */
#pragma once

#include "net/http_server.h"
#include "serving/catalog.h"

struct kube;

/* ingress and api are the addresses people were given; the catalog outlives this, or is freed after. */
struct kube *kube_new(struct catalog *c, const struct limits *limits, const char *ingress,
                      const char *api);
/* Calls still open are not answered any more. */
void kube_free(struct kube *k);
DEFINE_AUTO(kube, struct kube *, kube_free)
bool kube_handle(struct kube *k, struct http_call *c); /* false: not its path, and untouched */
