/* put.h -- brings one object to the server and waits until it is ready; what apply and deploy share.
 *
 * Receives an object of any kind that the API serves (kinds.h), as a tree. Emits on stdout `service.serving.knative.dev/NAME created`
 * (configured, unchanged), progress on stderr of a
 * terminal. Replaces the whole spec: what the
 * manifest does not say is as if it had never been said. When it was changed between
 * the look and the change it looks again, a few times; then, or when the tree names a resourceVersion that
 * is not the latest, it refuses (CODE_ABORTED).
 */
#pragma once

#include "cli/cli.h"
#include "codec/json.h"

struct put_options {
    bool wait, redeploy; /* redeploy: a new Revision in any case */
    bool dry_run;        /* the server checks and answers, and keeps nothing */
    uint32_t timeout_ms;
    const char *output; /* "name", "json", "yaml" or NULL */
};
/* CODE_DEADLINE: it is there, and not ready in time. */
int put_object(struct cli *c, json_t *object, const struct put_options *o, struct err *e) MUST_USE;
