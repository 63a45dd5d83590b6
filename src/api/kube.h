/* kube.h -- the Kubernetes-shaped API over the catalog, for kubectl, kn and hob's own command line.
 *
 * Receives HTTP requests under /api, /apis, /openapi and /version. Owns the requests it has not yet
 * answered, and the open watches. Emits objects, lists, Tables, events and Status errors exactly as an API
 * server with Knative words them. Refuses what is not JSON or YAML (415), not acceptable (406), not there
 * (404), not allowed (405), not the latest (409), gone by (410), not valid (400 or 422), more than the catalog
 * can queue and more than api_watchers_max watches (429).
 *
 * What kinds there are, and which verbs each has, is one table: kube_kinds.c.
 */
#pragma once

#include "net/http_server.h"
#include "serving/registry.h"

struct kube;

struct kube_sources { /* all outlive it, but for the catalog, which may be freed before, and the texts */
    struct loop *loop;
    struct catalog *catalog;
    struct registry *registry;
    const struct limits *limits;
    const char *ingress, *api; /* the addresses that people were given */
    void (*on_limit)(void *ctx, const char *limit); /* reached: to be counted by name */
    void *ctx;
};
struct kube *kube_new(const struct kube_sources *s);
/* Open watches end; other calls still open are not answered any more. */
void kube_free(struct kube *k);
DEFINE_AUTO(kube, struct kube *, kube_free)
bool kube_handle(struct kube *k, struct http_call *c); /* false: not its path, and untouched */
uint32_t kube_watches(const struct kube *k); /* open now */
