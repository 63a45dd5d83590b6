/* temporal.h -- Temporal's gRPC face: calls come in, workflow/service.h answers them.
 *
 * Receives listening sockets (their owner keeps them). Owns the gRPC server and the calls that wait.
 * Emits every answer and refusal of the service as gRPC says it (status, details), and the health of both services.
 * Refuses methods that nobody knows by name (UNIMPLEMENTED), calls without the token where one is asked for (UNAUTHENTICATED;
 * health tells nothing, and is answered), and what net/grpc_server.h refuses.
 *
 * A client that goes away takes its call along: a poll without a client gets no task. Loop thread only. */
#pragma once

#include "api/access.h"
#include "net/grpc_server.h"
#include "workflow/service.h"

struct temporal;

struct temporal_world {
    struct loop *loop;
    const struct limits *limits; /* copied */
    struct service *service;     /* outlives it */
    const struct access *access; /* outlives it; NULL: no token is asked for. Workers that hob runs itself need none. */
    void (*on_limit)(void *ctx, const char *limit); /* may be NULL */
    void *ctx;
};
struct temporal *temporal_new(const struct temporal_world *w);
int temporal_listen(struct temporal *t, int listen_fd, struct err *e) MUST_USE;
/* The same for a worker that hob runs itself: calls that come this way are its (service_worker_id()). */
int temporal_listen_worker(struct temporal *t, int listen_fd, uint64_t worker, struct grpc_listener **ret,
                           struct err *e) MUST_USE;
/* No new calls; those that wait are the service's to end (service_drain()). */
void temporal_shut(struct temporal *t);
bool temporal_idle(const struct temporal *t); /* no call waits */
void temporal_free(struct temporal *t);
DEFINE_AUTO(temporal, struct temporal *, temporal_free)
struct grpc_server_counts temporal_counts(const struct temporal *t);
