/* kube_schema.h -- OpenAPI schemas of the kinds, made from the tables of fields that decode them. Pure.
 *
 * Receives a kind's row. Emits the schema of its objects (`kubectl explain`, editors, client-side checks). What a
 * table refuses is not in it.
 */
#pragma once

#include "api/kube_kinds.h"

json_t *kube_schema(const struct kube_resource *r);
char *kube_schema_name(const struct kube_resource *r); /* "dev.knative.serving.v1.Service"; to be freed */
