/* kube.h -- the Kubernetes-shaped face: Services and Revisions of serving.knative.dev/v1, discovery.
 *
 * Receives HTTP requests with JSON or YAML bodies. Owns the requests that wait for their commit.
 * Emits objects, lists, Tables of lists, Status errors in Kubernetes' and Knative's own words.
 * Refuses: unknown resources (404), verbs they do not have (405), media types it cannot read (415) or
 * write (406), and what the catalog refuses. Loop thread only.
 */
#pragma once

#include "net/http_server.h"
#include "serving/catalog.h"

struct kube;

/* ingress, api: addresses for /version; must outlive it. */
struct kube *kube_new(struct catalog *c, const struct limits *limits, const char *ingress,
                      const char *api);
void kube_free(struct kube *k);
DEFINE_AUTO(kube, struct kube *, kube_free)

/* False: the path is nobody's here; nothing was answered. */
bool kube_handle(struct kube *k, struct http_call *c);
