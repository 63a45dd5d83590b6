/* service.h -- a serving.knative.dev/v1 Service as it came in becomes one that may be stored.
 *
 * Receives a JSON tree from outside. Emits the same object normalised and defaulted as Knative stores
 * it, and warnings. Refuses, in Knative's own words and with the path of the field: unknown fields, wrong
 * types, values out of range, forbidden combinations, and features that hob does not have yet.
 * Pure: the generated part of a name and the user come in.
 */
#pragma once

#include "codec/json.h"
#include "serving/refusals.h"

#define SERVING_GROUP       "serving.knative.dev"
#define SERVING_API_VERSION SERVING_GROUP "/v1"
#define SERVICE_VISIBILITY  "networking.knative.dev/visibility"
#define SERVICE_ROLLOUT     SERVING_GROUP "/rollout-duration"
#define ANNOTATION_CREATOR  SERVING_GROUP "/creator"
#define ANNOTATION_MODIFIER SERVING_GROUP "/lastModifier"

enum service_unknown { /* ?fieldValidation= */
    SERVICE_UNKNOWN_REFUSE, /* Strict; the default here */
    SERVICE_UNKNOWN_WARN,
    SERVICE_UNKNOWN_DROP, /* Ignore */
};
enum service_refusal { /* which gate of an API server said no; each has its own form of answer */
    SERVICE_ACCEPTED,
    SERVICE_UNKNOWN_FIELDS, /* 400 BadRequest: strict decoding error */
    SERVICE_WRONG_TYPES,    /* 422 Invalid */
    SERVICE_WRONG_METADATA, /* 422 Invalid */
    SERVICE_NOT_VALID,      /* 400 BadRequest: the admission webhook */
};

struct service_terms {
    const struct limits *limits;
    const char *ns;
    enum service_unknown unknown;
    const char *name_end; /* five characters for metadata.generateName */
    bool configuration;   /* it is a Configuration: a Service without traffic */
};
struct service_draft {
    json_t *object; /* NULL: refused */
    enum service_refusal refusal;
    struct refusals refused;
    struct refusals warnings;
};
void service_draft_done(struct service_draft *d);

/* Creation: `before` is NULL. Replacement: `before` is the stored object; what only the server may say
 * is carried over by the catalog, not here. */
void service_prepare(const json_t *in, const json_t *before, const struct service_terms *terms,
                     struct service_draft *ret);

/* spec.traffic of a Route of its own: completed, and checked; of a Service likewise, where it means only itself. */
void service_traffic_default(json_t *spec);
void service_traffic_check(const json_t *object, bool of_service, const struct limits *l, struct refusals *refused);
/* What Knative asks of the name, labels and annotations of each of its kinds. */
/* Of an object as it came: what a client may believe to be kept and is not. */
void service_ignored_warn(const json_t *in, struct refusals *warnings);
void service_metadata_check(const json_t *object, struct refusals *refused);
/* Whether two templates make the same Revision. */
/* Of a Service or a Route that was accepted: how long a rollout takes, 0: at once; whether it has no public name. */
int64_t service_rollout_ms(const json_t *object);
bool service_cluster_local(const json_t *object);
bool service_template_same(const json_t *a, const json_t *b);
void service_document(FILE *out); /* docs/reference/manifest.md */
