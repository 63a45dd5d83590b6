/* put.h -- brings one object to the server and waits until it is ready; what apply and deploy share.
 *
 * Receives a Service as a tree. Emits on stdout `service.serving.knative.dev/NAME created`
 * (configured, unchanged), progress on stderr of a terminal. Replaces the whole spec: what the
 * manifest does not say is as if it had never been said. Refuses (CODE_ABORTED) when somebody else
 * changed the object between the look and the change.
 */
#pragma once

#include "cli/cli.h"
#include "codec/json.h"

struct put_options {
    bool wait, redeploy; /* redeploy: a new Revision in any case */
    uint32_t timeout_ms;
    const char *output; /* "name", "json", "yaml" or NULL */
};
/* CODE_DEADLINE: it is there, and not ready in time. */
int put_service(struct cli *c, json_t *service, const struct put_options *o, struct err *e)
    MUST_USE;
