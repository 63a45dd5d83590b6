/* domains.h -- DomainMappings: which other host names lead to which Route.
 *
 * Receives nothing: it follows the change log (DomainMappings, ClusterDomainClaims, Services, Routes, and the
 * ConfigMap config-network in namespace knative-serving). Emits, for each domain, the Route that it leads to or that
 * it leads nowhere any more, and the status of its DomainMapping with Knative's conditions. A domain is used only by
 * the namespace that its ClusterDomainClaim names; claims are made when autocreate-cluster-domain-claims is "true",
 * and go with the mapping. Two mappings of one name: the claim decides. A private Service gets no public name.
 * What the store or a busy object refuses is tried again. Loop thread only.
 */
#pragma once

#include "serving/registry.h"

struct domains;

struct domains_observer {
    /* route NULL: it leads nowhere any more */
    void (*on_domain)(void *ctx, const char *domain, const char *ns, const char *route);
};

/* ingress: as for catalog_open(); in the URLs of the mappings. */
struct domains *domains_new(struct loop *l, struct catalog *c, struct registry *g, const char *ingress,
                            const struct domains_observer *observer, void *ctx);
void domains_free(struct domains *d); /* before catalog and registry */
DEFINE_AUTO(domains, struct domains *, domains_free)
