/* ingress.h -- the data plane: HTTP/1.1, and HTTP/2 with prior knowledge, from clients on one listening
 * socket, forwarded to functions in whichever of the two they speak.
 *
 * Receives a listening socket (its owner keeps it) and a backend, which says who serves what.
 * Owns the client connections, their buffers, the requests in flight, and, while a lease is held, the
 * connection to the function. Emits one invocation record per request that has a target, whatever its
 * end; counters for everything.
 * Refuses what net/http1 refuses (answered and closed), unknown hosts (404), deadlines that passed
 * (504), over hops_max (508), and connections over connections_max (the newest, 503).
 *
 * A stream of HTTP/2 is a request like any other: one ticket, one record, the same refusals. A call of
 * gRPC gets them as grpc-status, and its grpc-timeout is a deadline.
 *
 * Bodies are streamed both ways at once; per direction at most http_stream_buffer_bytes are held
 * before the source is left alone. Requests of one connection are answered one after the other.
 *
 * A client that ends its connection, or only its sending side, before the answer is complete has
 * gone: its place in the queue, or its connection to the function, is dropped at once.
 *
 * Nothing is sent to a function twice, with one exception: its connection ends before the first byte of the
 * answer. Then the request is sent once more, if either no byte of it was accepted by the
 * socket, or its method is idempotent (RFC 9110, 9.2.2) and all of it so far is still here: on a new connection to
 * the same instance if the old one was kept alive from an earlier request (the function closed it while idle), else by
 * another instance, as long as that is no more than one in ten of the function's requests (scale/retry.h) and it was not
 * hob that ended the instance. On a connection of HTTP/2 the function itself says (GOAWAY, REFUSED_STREAM) what it has
 * not begun. Anything else is answered 502 and left to the caller, who alone knows whether it may be repeated.
 *
 * Loop thread only.
 */
#pragma once

#include "base/limits.h"
#include "instance/backend.h"

struct ingress;
struct desk;

/* The limits of base/limits.h that the gateway enforces, in the order of ingress_counters.limits. */
// clang-format off
#define INGRESS_LIMITS(X)                                                                        \
    X(connections_max) X(http_head_bytes_max) X(http_line_bytes_max) X(http_fields_max)           \
    X(http_head_ms) X(http_idle_ms) X(http_body_rate_bytes_s) X(http_chunk_line_bytes_max)        \
    X(http_trailer_bytes_max) X(upgrade_idle_ms) X(hops_max) X(h2_head_list_bytes_max)           \
    X(h2_continuations_max) X(h2_resets_max) X(h2_controls_max) X(h2_light_frames_max)            \
    X(h2_stream_idle_ms) X(h2_streams_all_max) X(h2_held_bytes_max) X(h2_stall_ms)               \
    X(h2_function_wait_ms) X(h2_function_pong_ms) X(invoke_request_bytes_max) X(invoke_bodies_bytes_max)
// clang-format on
enum ingress_limit {
#define X(name) INGRESS_LIMIT_##name,
    INGRESS_LIMITS(X)
#undef X
        INGRESS_LIMIT_COUNT
};
const char *ingress_limit_name(enum ingress_limit l);

enum { INGRESS_REFUSALS_MAX = 32 };
struct ingress_counters {
    uint64_t connections; /* accepted, ever */
    uint32_t connections_open, in_flight, tunnels_open;
    uint64_t requests[6];                   /* by first digit of the status; [0]: no answer */
    uint64_t refused[INGRESS_REFUSALS_MAX]; /* by ingress_refusal_name() */
    uint64_t request_bytes, response_bytes; /* content, and what tunnels carried */
    uint64_t client_gone, resent;
    uint64_t limits[INGRESS_LIMIT_COUNT];
};
/* Names of the gateway's own answers ("queue-full"); NULL at the end. */
const char *ingress_refusal_name(size_t index);

int ingress_open(struct loop *l, const struct limits *limits, int listen_fd, struct backend *b,
                 struct ingress **ret, struct err *e) MUST_USE;
/* Whose records get a note of what else is in the head; it costs an allocation. At first: none's. */
enum ingress_notes { INGRESS_NOTES_NONE, INGRESS_NOTES_SAMPLED, INGRESS_NOTES_ALL };
void ingress_notes_set(struct ingress *in, enum ingress_notes which);
/* A connection of the node's own: on it requests are attempts of durable invocations, and what they say of that is believed. It
 * counts as one from this machine. */
void ingress_adopt(struct ingress *in, int take_fd);
/* That attempt is under way, on that instance. */
bool ingress_has_attempt(const struct ingress *in, const char *instance, const struct uuid *id, uint32_t attempt);
/* From then on requests that ask for it become durable invocations (docs/decisions/0011, accept.h). The desk outlives the ingress. */
void ingress_desk_set(struct ingress *in, struct desk *d);
/* No new connections; kept-alive ones end as soon as no request is in flight on them. */
void ingress_stop(struct ingress *in);
bool ingress_idle(const struct ingress *in); /* stopped or not: nothing in flight, nothing unsent */
/* Drops what is in flight. Connections it gave back to the backend are the backend's to close. */
void ingress_free(struct ingress *in);
DEFINE_AUTO(ingress, struct ingress *, ingress_free)

const struct ingress_counters *ingress_counters(const struct ingress *in);
