/* redeploy.h -- a manifest that is the same, while what its file:// image names is not.
 *
 * A Revision pins the digest that its image had at its first start, so an unchanged manifest deploys nothing, whatever
 * lies in the folder now. Receives the Service as it is and as it shall be. Asks the server what the folders' digests
 * are now (resolve.h of the API); where one differs from what the newest Revision pinned, or from what one pinned that
 * never came up, it writes the digest into an annotation of the template, which makes a new Revision. Where nothing
 * differs it takes over the marks that are there, so that the same again is "unchanged".
 * Owns nothing. Emits a remark for each folder that changed, or that could not be looked at: that does not stop an
 * apply. Models are left as they are pinned, unless forced: they may be large.
 */
#pragma once

#include "cli/cli.h"
#include "codec/json.h"

#define REDEPLOY_DIGEST "hob.dev/image-digest"
#define REDEPLOY_TIME   "client.knative.dev/updateTimestamp" /* kn's own */

/* force: a new Revision in any case. `service` gets the annotations. */
void redeploy_mark(struct cli *c, const json_t *old, json_t *service, bool force);

/* Pure, for tests: what the annotation is to be; NULL: leave it out. `pinned`, `was` (the annotation there is) and `now`
 * may be "". `failed`: the newest Revision never came up. */
const char *redeploy_digest(const char *pinned, const char *was, const char *now, bool failed);
