/* status.h -- the status of each serving object, from a few facts. Pure: the time comes in.
 *
 * Receives facts and the status that was there before. Emits a status in Knative's shape: conditions
 * sorted by type, Ready as their conjunction (False beats Unknown beats True), reasons and messages in
 * Knative's words. lastTransitionTime moves only when the status of a condition changes.
 */
#pragma once

#include "codec/json.h"
#include "telemetry/phase.h"

/* What runs a revision says of it. */
struct catalog_facts {
    bool ready_once;  /* the initial scale was reached once, or none is asked for */
    bool active;      /* has load, or had some a window ago */
    bool activating;  /* active, and too few are ready for it */
    bool timed_out;   /* not active, because none became ready in time */
    uint32_t actual, desired;
    bool failing;     /* the last start failed and none succeeded since */
    enum phase failed_phase;
    bool retryable;   /* trying again may help */
    int exit_status;  /* of the failed start; -1: it did not exit by itself */
    const char *config_reason; /* a ConfigMap or Secret lacks what it needs: CONFIG_ENV or CONFIG_FILES; NULL: no */
    const char *image_digest; /* "" or NULL until resolved */
    const json_t *pins;       /* of models and other containers' images, as pins.h has them; NULL: none resolved */
    const char *message;      /* why it fails, or where its first start hangs; NULL: nothing known */
    const char *unenforced;   /* which of its limits nothing holds it to here; lasts as long as the process; NULL: none */
    const char *late_starts;  /* how its start-up budget was missed; NULL or "": it was not */
};

struct status_revision {
    const char *image; /* of the container that serves */
    const json_t *pod; /* the Revision's spec */
    struct catalog_facts facts;
    bool late; /* the progress deadline has passed */
};
json_t *status_of_revision(const struct status_revision *s, const json_t *before, int64_t now_ms);

/* hob's own, beside Ready, which says that it can run; there while they are False, with a reason and a message. */
#define STATUS_BUDGET_MET      "StartBudgetMet"
#define STATUS_LIMITS_ENFORCED "LimitsEnforced"

enum status_ready { STATUS_UNKNOWN, STATUS_TRUE, STATUS_FALSE };
enum status_ready status_ready(const json_t *status); /* the Ready condition */

struct status_configuration {
    const char *name;
    int64_t generation;
    const char *latest_created;
    const char *latest_ready;      /* NULL: none yet */
    const json_t *created_status;  /* of the latest created Revision; NULL: not made yet */
};
json_t *status_of_configuration(const struct status_configuration *s, const json_t *before,
                                int64_t now_ms);

struct status_route {
    const char *url, *cluster_url;
    int64_t generation;
    enum status_ready assigned;
    const char *reason, *message; /* NULL: it is assigned */
    const json_t *traffic;        /* NULL: never assigned */
    const char *rolling;          /* how far a gradual rollout is, for the annotation; NULL: none under way */
    const char *taken;            /* another has this name, which is a tag's host; NULL: none has */
};
json_t *status_of_route(const struct status_route *s, const json_t *before, int64_t now_ms);
#define STATUS_ROLLING "hob.dev/rollout" /* in status.annotations of a Route */

struct status_service {
    int64_t generation;
    const json_t *configuration, *route; /* their status */
    const json_t *serving_status;        /* of the latest ready Revision, or else the latest created one; or NULL */
};
json_t *status_of_service(const struct status_service *s, const json_t *before, int64_t now_ms);

struct status_domain {
    const char *url;
    int64_t generation;
    enum status_ready claimed, resolved;
    const char *claim_reason, *claim_message;     /* NULL: it is claimed */
    const char *resolve_reason, *resolve_message; /* NULL: it is resolved */
};
json_t *status_of_domain(const struct status_domain *s, const json_t *before, int64_t now_ms);

enum { STATUS_TIME = 24 };
void status_time(int64_t wall_ms, char into[STATUS_TIME]); /* "2026-11-23T10:00:00Z" */
int64_t status_time_read(const char *text); /* one of these as wall_ms; 0: none of them, or NULL */
