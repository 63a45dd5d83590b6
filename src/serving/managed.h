/* managed.h -- who set which field of an object: metadata.managedFields, and server-side apply. Pure.
 *
 * Receives an object before and after a change, who made it and how. Emits its next managedFields: an updater owns
 * what it changed, an applier all that it applied and nothing it applied before and no longer does. Refuses
 * (CODE_ABORTED, with a cause per field) an apply that would change what somebody else owns, unless forced.
 * At most MANAGED_UPDATERS updaters are told apart; the oldest are one, "ancient-changes".
 */
#pragma once

#include "codec/json.h"

enum { MANAGED_UPDATERS = 10, MANAGED_NAME_MAX = 128 };

struct managed_change {
    const char *manager, *api_version;
    bool apply, force;
    int64_t now_ms;
    const json_t *base;   /* managedFields to go on from; NULL: before's */
    const json_t *config; /* apply: what was applied */
};

/* apply: what the object is to become, before it is checked and completed. before NULL: there is none. */
json_t *managed_apply(const json_t *before, const struct managed_change *c);
/* Into after's metadata.managedFields. *ret_causes: with CODE_ABORTED, an array for Status.details.causes. */
int managed_update(const json_t *before, json_t *after, const struct managed_change *c, json_t **ret_causes,
                   struct err *e) MUST_USE;
/* Whether a client may set it so: an array of entries with a manager and a FieldsV1 set. */
bool managed_valid(const json_t *fields);
