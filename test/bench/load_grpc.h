/* load_grpc.h -- unary gRPC calls by the hundred, on a few connections, for load drivers.
 *
 * Receives a loop, a port on 127.0.0.1, and messages. Owns the connections and the calls that are open. Emits the status
 * and the answer of each call, once. Refuses nothing: a connection that ends, or an answer that is no gRPC, ends the
 * calls on it with status -1, and what is called after it goes to the others. Loop thread only. */
#pragma once

#include "base/limits.h"
#include "os/loop.h"

struct load_grpc; /* opaque */

/* `answer` is valid during the call, and empty unless status is 0; why: grpc-message, or what went wrong. */
typedef void load_grpc_done(void *ctx, int status, struct str answer, struct str why);

struct load_grpc_stats {
    uint64_t calls, sends, reads, bytes_out, bytes_in;
};

int load_grpc_open(struct loop *l, const struct limits *limits, uint16_t port, unsigned connections,
                   struct load_grpc **ret, struct err *e) MUST_USE;
void load_grpc_free(struct load_grpc *g); /* no on_done any more; NULL is fine */
DEFINE_AUTO(load_grpc, struct load_grpc *, load_grpc_free)

/* `message` is any generated struct of codec/temporal.h. on_done never comes inside this call. */
void load_grpc_call(struct load_grpc *g, const char *path, unsigned timeout_s, const void *message, load_grpc_done *on_done,
                    void *ctx);
unsigned load_grpc_living(const struct load_grpc *g); /* connections */
struct load_grpc_stats load_grpc_stats(const struct load_grpc *g);
