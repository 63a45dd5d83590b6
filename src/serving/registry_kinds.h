/* registry_kinds.h -- what a Namespace, ConfigMap, Secret, Event, DomainMapping or Schedule may say. Pure.
 *
 * Receives a tree from outside. Emits it normalised and completed, or refusals in Kubernetes' words (DomainMapping:
 * Knative's). One table of fields per kind, as for the Service.
 */
#pragma once

#include "serving/manifest.h"
#include "serving/registry.h"
#include "serving/service.h"

struct registry_kind_row {
    const char *kind, *api_version, *log_kind;
    bool namespaced, generations; /* generations: metadata.generation counts changes of spec */
    struct manifest_table table;
    const char *store_kind; /* NULL: the log's */
};
extern const struct registry_kind_row registry_kind_rows[REGISTRY_KINDS];

/* As service_prepare(): ret->object NULL where it is refused. */
void registry_prepare(enum registry_kind kind, const json_t *in, const json_t *before,
                      const struct service_terms *terms, struct service_draft *ret);
