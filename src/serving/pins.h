/* pins.h -- what the references of a Revision were resolved to, between those who run it and its status.
 *
 * Receives a pod, and digests in one flat form: {volume: digest} of its models, and of the images of the containers beside the
 * one that serves, each under pins_image_key() (no volume has such a name). The digest of the one that serves goes by
 * itself. Emits containerStatuses and initContainerStatuses as Knative has them, in the pod's order and only what is resolved,
 * and modelStatuses, hob's own; and reads the same from a status of an earlier boot. Owns and refuses nothing. Pure.
 */
#pragma once

#include "codec/json.h"

char *pins_image_key(const char *container); /* to be freed */

/* image_digest: "" or NULL until resolved. pins NULL: none. */
void pins_write(json_t *status, const json_t *pod, const char *image_digest, const json_t *pins);
const char *pins_image(const json_t *status, const json_t *pod); /* of the container that serves; NULL: not resolved */
json_t *pins_read(const json_t *status, const json_t *pod);      /* all others, or NULL */
