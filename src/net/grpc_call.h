/* grpc_call.h -- one unary gRPC call over HTTP/2 with prior knowledge, on a connection of its own.
 *
 * Receives a connected non-blocking socket, the method's path, the encoded message and a deadline on the
 * loop's clock. Owns the socket and the session. Emits the gRPC status and the answer's message, once.
 * Refuses an answer over answer_bytes_max, one that is compressed, not gRPC, or without a status.
 *
 * Loop thread only. For checks of our own (health probes): the gateway forwards calls, it makes none.
 */
#pragma once

#include "base/limits.h"
#include "os/loop.h"

struct grpc_call;

struct grpc_call_request {
    struct loop *loop;
    const struct limits *limits; /* outlives the call */
    const char *authority;       /* "127.0.0.1:8080" */
    const char *path;            /* "/grpc.health.v1.Health/Check" */
    struct str message;          /* protobuf; needed only during grpc_call_start() */
    size_t answer_bytes_max;
    uint64_t give_up_us;
    /* Exactly once, never inside grpc_call_start(). status: grpc-status, or -1: there was none, e
     * says why. The message is valid during the call, and empty unless status is 0. */
    void (*on_done)(void *ctx, int status, struct str message, const struct err *e);
    void *ctx;
};

/* take_fd is taken over even on failure; then on_done does not come. */
int grpc_call_start(const struct grpc_call_request *q, int take_fd, struct grpc_call **ret,
                    struct err *e) MUST_USE;
void grpc_call_cancel(struct grpc_call *c); /* no on_done any more; NULL is fine */
