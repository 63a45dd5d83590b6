/* fieldset.h -- sets of fields of an object, in the form of Kubernetes' FieldsV1: {"f:spec":{"f:image":{}}}. Pure.
 *
 * A set is a JSON object. Its members: "f:name" a field, "k:{…}" the element of a list with these keys, "." the
 * node itself; a node without members is in the set itself. Lists whose manifest row has `keys` are told apart by
 * element; all other lists are one value. Receives objects and sets. Emits new sets (never NULL, maybe empty).
 */
#pragma once

#include "codec/json.h"

json_t *fieldset_of(const json_t *object);
/* What is different or new in `after`; and, where ret_removed is not NULL, what of `before` is gone. */
json_t *fieldset_changed(const json_t *before, const json_t *after, json_t **ret_removed);

json_t *fieldset_union(const json_t *a, const json_t *b);
json_t *fieldset_minus(const json_t *a, const json_t *b);
json_t *fieldset_common(const json_t *a, const json_t *b);
bool fieldset_empty(const json_t *set);

/* config laid over `live`: maps join, elements with the same keys join, everything else is config's. */
json_t *fieldset_merge(const json_t *live, const json_t *config);
void fieldset_remove(json_t *object, const json_t *set); /* these fields go; elements where the set has them whole */
/* Each member as people read it: ".spec.template.spec.containers[name=\"a\"].image". */
void fieldset_each(const json_t *set, void (*on_path)(void *ctx, const char *path), void *ctx);
