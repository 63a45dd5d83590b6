/* periodic.h -- what a Schedule of hob.dev/v1 says: when a Service is called, and with what. Pure, but for the look whether a time
 * zone is there.
 *
 * Receives an object's spec as JSON. Emits values whose texts are the JSON's own. Owns nothing.
 * Refuses, naming the field: a schedule that cron.h refuses, two time zones, a path that is none, header names and values that HTTP
 * refuses or that are hob's or the connection's, more than PERIODIC_BODY_MAX bytes of body. */
#pragma once

#include "codec/cron.h"
#include "codec/json.h"
#include "serving/refusals.h"

enum { PERIODIC_BODY_MAX = 262144, PERIODIC_PATH_MAX = 2048, PERIODIC_HEADERS_MAX = 32 };

enum periodic_overlap { PERIODIC_SKIP, PERIODIC_BUFFER_ONE, PERIODIC_ALLOW_ALL, PERIODIC_CANCEL_OTHER };

struct periodic {
    struct cron cron; /* its zone: also that of timeZone */
    enum periodic_overlap overlap;
    int64_t catchup_ms, deadline_ms; /* deadline_ms: of each invocation, from its acceptance */
    bool suspend;
    const char *service, *method, *path, *body;
    const json_t *headers; /* NULL: none */
};
/* *ret_field, when it is refused: "spec.schedule" and so on. */
int periodic_read(const json_t *spec, struct periodic *ret, const char **ret_field, struct err *e) MUST_USE;
void periodic_check(const json_t *object, struct refusals *refused);

#define PERIODIC_GROUP       "hob.dev"
#define PERIODIC_API_VERSION PERIODIC_GROUP "/v1"
/* A Schedule whose annotation of this name gets another value is run once more, now. */
#define PERIODIC_TRIGGER "hob.dev/trigger"
