/* grpc_server.h -- a gRPC server: unary calls over HTTP/2 with prior knowledge, thousands of them open at once.
 *
 * Receives listening sockets (their owners keep them) or connected ones, and bytes from clients.
 * Owns connections, sessions and calls. Emits one on_call per whole request, its message unpacked; after it exactly one of: the
 * owner answers (grpc_server_reply, grpc_server_refuse), or on_cancel, when the client resets the call, its connection
 * ends or goes silent, its deadline passes, or the server is freed.
 * Refuses by itself, in gRPC's words: what is not a call (HTTP 415, 405), streams of messages (UNIMPLEMENTED), messages
 * over grpc_message_bytes_max, also once unpacked (RESOURCE_EXHAUSTED), other packings than gzip (UNIMPLEMENTED), what is cut or
 * damaged (INTERNAL), requests that stop coming (grpc_read_ms, DEADLINE_EXCEEDED), calls beyond
 * grpc_calls_max or grpc_held_bytes_max (REFUSED_STREAM, RESOURCE_EXHAUSTED), connections beyond
 * grpc_connections_max (closed), floods (net/http2_guard.h). Each is counted under the limit's name.
 *
 * A call that waits costs its stream and a timer: the request's texts and bytes are gone when on_call returns.
 * Small requests are not copied on their way; an answer is copied once, into what is sent.
 * No callback comes from inside a function below, but on_cancel from grpc_server_free(). Loop thread only. */
#pragma once

#include "base/limits.h"
#include "net/http2.h"
#include "os/loop.h"

struct grpc_server;
struct grpc_server_call;
struct grpc_listener;

struct grpc_server_ops {
    void (*on_call)(void *ctx, struct grpc_server_call *c);   /* may answer at once */
    void (*on_cancel)(void *ctx, struct grpc_server_call *c); /* the call is gone when this returns */
    void (*on_limit)(void *ctx, const char *limit);           /* reached; may be NULL */
    void (*on_quiet)(void *ctx); /* after grpc_server_shut(), once: no connection is left. May be NULL */
};

/* limits: copied. */
struct grpc_server *grpc_server_new(struct loop *l, const struct limits *limits, const struct grpc_server_ops *ops,
                                    void *ctx);
void grpc_server_free(struct grpc_server *s); /* not from within its callbacks */
DEFINE_AUTO(grpc_server, struct grpc_server *, grpc_server_free)

/* Any number of them. tag: what each call that comes this way says of it. The descriptor is open until the listener is closed. */
int grpc_server_listen(struct grpc_server *s, int listen_fd, void *tag, struct grpc_listener **ret,
                       struct err *e) MUST_USE;
/* Its connections go on. Those that are left go with the server. NULL is fine. */
void grpc_listener_close(struct grpc_listener *l);
/* A connected, non-blocking stream socket; taken over even on failure. far: worth packing for. */
int grpc_server_adopt(struct grpc_server *s, int take_fd, bool far, void *tag, struct err *e) MUST_USE;
/* No new connections, no new calls (GOAWAY); those that are open go on, and each connection ends with its last. Who
 * holds polls answers them. */
void grpc_server_shut(struct grpc_server *s);

/* ---- a call: texts and bytes are valid in on_call, and only until it is answered ---- */
struct str grpc_server_call_path(const struct grpc_server_call *c);                    /* "/package.Service/Method" */
struct str grpc_server_call_field(const struct grpc_server_call *c, const char *name); /* at NULL: absent */
struct str grpc_server_call_message(const struct grpc_server_call *c);
/* As long as the call: */
uint64_t grpc_server_call_deadline_us(const struct grpc_server_call *c); /* the loop's clock; UINT64_MAX: none */
void *grpc_server_call_tag(const struct grpc_server_call *c);
void grpc_server_call_own(struct grpc_server_call *c, void *owner);
void *grpc_server_call_owner(const struct grpc_server_call *c);

/* Both end the call: it is not touched any more. An answer over grpc_answer_bytes_max becomes a refusal. */
void grpc_server_reply(struct grpc_server_call *c, struct str message);
/* details: bytes of a google.rpc.Status, or empty; more than grpc_details_bytes_max are left out. */
void grpc_server_refuse(struct grpc_server_call *c, enum code code, const char *text, struct str details);

struct grpc_server_counts {
    uint64_t connections, calls; /* open now; calls: given to on_call and not yet answered */
    uint64_t held_bytes;
    uint64_t accepted, called, cancelled;
    uint64_t ended[CODE_UNAUTHENTICATED + 1]; /* by status, those that the server refused by itself too */
    uint64_t message_bytes_in, message_bytes_out;
};
struct grpc_server_counts grpc_server_counts(const struct grpc_server *s);
void grpc_server_check(const struct grpc_server *s); /* asserts the invariants */
