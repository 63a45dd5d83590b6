/* durable.h -- the durable core of the node, put together: journal, host, Temporal's service and its gRPC face, and durable
 * invocations (invocations.h).
 *
 * Receives the data folder, a listening socket for Temporal (-1: nobody listens), and what is to be there from the start
 * (namespaces, search attributes). Owns them. Emits counters for /metrics, and limits reached, by name.
 * Refuses to start on a journal that it cannot read. Loop thread only. */
#pragma once

#include "api/temporal.h"
#include "artifact/fetcher_link.h"
#include "gateway/ingress.h"
#include "invocation/ticker.h"
#include "serving/config.h"
#include "store/journal.h"
#include "store/store.h"
#include "telemetry/metrics.h"

struct durable;

struct durable_config {
    struct loop *loop;
    struct store *store;
    struct fetcher_link *fetcher; /* callbacks go through it; freed after this */
    struct config_source secrets; /* they are signed with */
    struct ingress *ingress; /* attempts of durable invocations go there; freed before this */
    const struct limits *limits;
    const char *data_dir;
    int temporal_fd;
    const struct access *access; /* who may come by temporal_fd; NULL: whoever reaches it */
    const char *const *namespaces, *const *attributes; /* made unless they are there; "Name=Type", in each of those */
    size_t namespace_count, attribute_count;
    uint64_t seed;
    const struct ticker_ops *schedules; /* hob's own, of functions */
    void *schedules_ctx;
    void (*on_limit)(void *ctx, const char *limit);
    void (*on_ready)(void *ctx, struct service *s, struct temporal *t); /* what every run wants is known; both outlive stop */
    void *ctx;
};
int durable_open(const struct durable_config *c, struct durable **ret, struct err *e) MUST_USE;
/* What waits is ended, and no new calls come. */
void durable_stop(struct durable *d);
bool durable_idle(const struct durable *d);
void durable_free(struct durable *d);
DEFINE_AUTO(durable, struct durable *, durable_free)
struct desk *durable_desk(const struct durable *d);
struct ticker *durable_ticker(const struct durable *d);
struct journal *durable_journal(const struct durable *d); /* for lists and copies */
size_t durable_values(const struct durable *d, struct metrics_value *into, size_t max);
int durable_health(const struct durable *d, struct err *e); /* 0; < 0: nothing durable can be written now */
