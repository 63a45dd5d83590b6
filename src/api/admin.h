/* admin.h -- hob's own part of the API: invocations, instances, models, limits, percentiles, logs,
 * metrics, health.
 *
 * Receives requests that api/kube did not claim. Owns the open log streams. Emits JSON lists
 * ({"items": […]}), Prometheus text, plain log lines. Refuses unknown paths (404 problem+json),
 * wrong methods (405 with Allow), parameters out of range (400), more than api_watchers_max
 * streams (429). Loop thread only.
 *
 *   GET /healthz /livez /readyz       GET /metrics
 *   GET /v1/invocations[?namespace=&service=&cold=true&limit=]   GET /v1/invocations/{id}
 *   GET /v1/invocations?durable=true…   GET …?key=…   DELETE …/{id}   GET …/{id}/result   POST …/{id}/redrive
 *   PUT …/{id}/checkpoint: durable ones (docket.h)
 *   GET /v1/instances                 DELETE /v1/instances/{id}      GET /v1/limits      GET /v1/host
 *   POST, GET, DELETE /v1/backup
 *   GET /v1/models                    DELETE /v1/models/{digest}     POST /v1/resolve?reference=
 *   GET /v1/services/{ns}/{name}/stats   GET /v1/token
 *   GET /v1/services/{ns}/{name}/logs[?tail=&follow=true&instance=&revision=]
 */
#pragma once

#include "codec/json.h"
#include "instance/fleet.h"
#include "invocation/desk.h"
#include "net/http_server.h"
#include "store/store.h"
#include "telemetry/metrics.h"

struct admin;

enum admin_backup { ADMIN_BACKUP_BEGIN, ADMIN_BACKUP_LOOK, ADMIN_BACKUP_REMOVE };

struct admin_sources { /* outlive the admin */
    struct loop *loop;
    const struct limits *limits;
    struct fleet *fleet;
    struct artifact_store *artifacts;
    struct store *store;
    struct desk *desk;       /* these two may be gone when the admin is freed */
    struct journal *journal;
    struct metrics *metrics;
    const struct starts *starts;
    /* Values of the node for /metrics, written into `into`; how many. */
    size_t (*values)(void *ctx, struct metrics_value *into, size_t max);
    int (*ready)(void *ctx, struct err *e); /* 0: serves; else why not */
    /* A backup beside the data: begins one, says how it is, takes it away. NULL with e set: refused. */
    json_t *(*backup)(void *ctx, enum admin_backup what, struct err *e);
    json_t *(*host)(void *ctx); /* what sandboxes have here; NULL: not known yet */
    void *ctx;
    const char *token; /* of the API; told to who got in, where it is needed */
    bool token_needed;
};

struct admin *admin_new(const struct admin_sources *s);
void admin_free(struct admin *a); /* open streams are ended */
DEFINE_AUTO(admin, struct admin *, admin_free)
void admin_stop(struct admin *a);       /* who waits for the end of an invocation is told how it stands */
bool admin_idle(const struct admin *a); /* no query is under way */
void admin_handle(struct admin *a, struct http_call *c); /* answers everything, 404 included */
void admin_refuse(struct http_call *c, const struct err *e); /* as a problem, or 401 as a Status */
