/* kube_table.h -- objects as the meta.k8s.io/v1 Table that kubectl prints. Pure: the time comes in.
 *
 * Receives a resource's row (its columns) and objects. Emits a Table, or the objects' metadata alone; each row carries the object's metadata, all
 * of it, or nothing, as includeObject asks.
 */
#pragma once

#include "api/kube_kinds.h"

enum kube_include { KUBE_INCLUDE_METADATA, KUBE_INCLUDE_OBJECT, KUBE_INCLUDE_NONE };
bool kube_include_parse(struct str text, enum kube_include *ret); /* false: none of them; at NULL: the default */

json_t *kube_partial(const json_t *object); /* PartialObjectMetadata: its metadata alone */
/* version, next: for the list's metadata. */
json_t *kube_table(const struct kube_resource *r, const json_t *objects, const char *version, const char *next,
                   enum kube_include include, int64_t now_ms);
