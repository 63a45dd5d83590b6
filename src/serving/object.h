/* object.h -- what the server writes into an object: identity, generation, who and when; and
 * the Revision, the Configuration and the Route that follow from a Service. Pure: ids, time and user come in.
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
/* configuration_uid: of the Configuration that owns it. `service` may be that Configuration itself. */
json_t *object_revision(const json_t *service, const char *name, int64_t template_generation,
                        const char *configuration_uid, const struct object_stamp *stamp);
/* The Configuration and the Route that follow from a Service, as they should be now, but for their status:
 * its labels and annotations (and no others), owned by it. before NULL: it is new, the stamp is its own. */
json_t *object_configuration(const json_t *service, int64_t generation, const json_t *before,
                             const struct object_stamp *stamp);
json_t *object_route(const json_t *service, const json_t *before, const struct object_stamp *stamp);

enum object_routing { OBJECT_PENDING, OBJECT_ACTIVE, OBJECT_RESERVE };
/* What a Revision says of who sends to it; routes: their names, NULL: none. False: it is as it should be. */
bool object_routing_set(json_t *revision, enum object_routing state, const char *routes, int64_t now_ms);
void object_version_set(json_t *object, int64_t version);
