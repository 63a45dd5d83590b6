/* registry.h -- the plain objects beside the Services: Namespace, ConfigMap, Secret, Event, DomainMapping,
 * ClusterDomainClaim, Schedule, and Routes that are no Service's.
 *
 * Receives the same requests as the catalog, for one of its kinds. Owns these objects (as the JSON text that was
 * last committed, packed). Emits answers only after the commit, each exactly once; every change into the change log.
 * Refuses what registry_kinds.c finds wrong, in Kubernetes' words; names that exist or do not; versions that are
 * not the last; new content in a namespace that is being terminated (CODE_DENIED); more than registry_objects_max
 * objects of a kind, and more than CATALOG_WAITING_MAX requests for one (CODE_EXHAUSTED).
 *
 * Namespaces: "default" is always there, others are there as soon as they are used. One that is deleted is
 * Terminating until namespaces.c has emptied it. Loop thread only; the log outlives it, or is freed before the
 * store has answered what is open.
 */
#pragma once

#include "serving/catalog.h"

struct registry;

enum registry_kind {
    REGISTRY_NAMESPACES,
    REGISTRY_CONFIGMAPS,
    REGISTRY_SECRETS,
    REGISTRY_EVENTS,
    REGISTRY_DOMAINMAPPINGS,
    REGISTRY_DOMAINCLAIMS,
    REGISTRY_ROUTES, /* those that are no Service's */
    REGISTRY_SCHEDULES,
    REGISTRY_KINDS,
};

int registry_open(struct loop *l, struct store *s, struct watchlog *log, const struct limits *limits,
                  struct registry **ret, struct err *e) MUST_USE;
/* Requests not yet answered are, with CODE_CANCELLED. To be freed before the catalog, whose log it writes. */
void registry_free(struct registry *g);
DEFINE_AUTO(registry, struct registry *, registry_free)

bool registry_find(struct registry *g, enum registry_kind kind, const char *ns, const char *name,
                   struct catalog_item *ret);
/* Ordered by namespace and name; ns NULL: all. Not to be changed meanwhile. */
void registry_each(const struct registry *g, enum registry_kind kind, const char *ns,
                   bool (*on_item)(void *ctx, const struct catalog_item *i), void *ctx);
/* The namespaces that are being emptied. Not to be changed meanwhile. */
void registry_terminating_each(const struct registry *g, bool (*on_name)(void *ctx, const char *name), void *ctx);
uint32_t registry_count(const struct registry *g, enum registry_kind kind);
const char *registry_kind_name(enum registry_kind kind); /* in the log: "configmaps" */

/* CREATE, PATCH (and finish) as in catalog.h, DELETE. A Namespace is only marked by its deletion. */
void registry_submit(struct registry *g, enum registry_kind kind, struct catalog_request *q);
/* Before content is made in a namespace by others: makes it where it is not there. < 0: it is being terminated. */
int registry_namespace_use(struct registry *g, const char *ns, struct err *e) MUST_USE;
/* hob's own doing, nobody waits for it: create or replace; or delete (object NULL). Namespaces really go. False:
 * refused for now (busy, full, or the disk), try again. */
bool registry_put(struct registry *g, enum registry_kind kind, const char *ns, const char *name,
                  const json_t *object);
/* What hob found out about an object that is there; nothing but its status changes. False: as above, or it is gone. */
bool registry_status_put(struct registry *g, enum registry_kind kind, const char *ns, const char *name,
                         json_t *take_status);
