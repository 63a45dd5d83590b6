/* object.h -- what the server writes into an object: identity, generation, who and when; and the Revision
 * that follows from a Service. Pure: ids, time and user come in.
 */
#pragma once

#include "base/uuid.h"
#include "codec/json.h"

enum { OBJECT_NAME_MAX = 254, OBJECT_NS_MAX = 64 };

struct object_stamp {
    char uid[UUID_TEXT];
    int64_t now_ms;
    const char *user;
};

/* A Service that is new. */
void object_stamp_new(json_t *service, const struct object_stamp *stamp);
/* A Service that replaces `before`: identity is carried over; the generation counts changes of the spec. */
void object_stamp_changed(json_t *service, const json_t *before, const struct object_stamp *stamp);

/* Name of the Revision for this template: the template's own, or "<service>-00007". */
void object_revision_name(const json_t *service, int64_t template_generation,
                          char into[OBJECT_NAME_MAX]);
json_t *object_revision(const json_t *service, const char *name, int64_t template_generation,
                        const struct object_stamp *stamp);
void object_version_set(json_t *object, int64_t version);
