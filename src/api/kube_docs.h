/* kube_docs.h -- the pages by which Kubernetes clients find out what there is: discovery, versions, and
 * as much OpenAPI as kubectl needs to apply. Receives a path; emits a fixed document or nothing. */
#pragma once

#include "net/http_server.h"

struct kube_docs {
    const char *ingress, *api; /* as people were given them; `hob invoke` finds the ingress in /version */
    int64_t begin_wall_ms;     /* when this node began */
};
bool kube_docs_has(struct str path); /* there is such a page */
/* False: not such a path. */
bool kube_docs_handle(struct http_call *c, const struct kube_docs *d, int64_t now_wall_ms);
