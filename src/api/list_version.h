/* list_version.h -- of which version a list is to be: resourceVersion and resourceVersionMatch. Pure.
 *
 * Receives the parameters as they came and the version there is now. Emits what the list has to be. hob keeps one
 * version of each object, the newest: "not older than" is met by it always, "exactly" only where nothing changed since.
 * Refuses, in Kubernetes' words, what is no version and parameters that contradict each other.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct list_version {
    struct str version, match, token; /* resourceVersion, resourceVersionMatch, continue; at NULL: absent */
    int64_t now;
};

enum list_version_verdict {
    LIST_VERSION_NOW,   /* as it is now */
    LIST_VERSION_THEN,  /* as it was at *ret_version, or not at all */
    LIST_VERSION_AHEAD, /* of a version that is not yet; *e says so */
    LIST_VERSION_NONE,  /* that is no version (400) */
    LIST_VERSION_WRONG, /* the parameters contradict each other (422) */
};
enum list_version_verdict list_version_read(const struct list_version *l, int64_t *ret_version, struct err *e) MUST_USE;
