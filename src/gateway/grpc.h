/* grpc.h -- what the gateway has to know of gRPC: which requests are calls, how long they may take,
 * and hob's own refusals in gRPC's words. Pure.
 *
 * Receives heads and problems. Emits text, in the forms of net/grpc_wire.h.
 * A refused call is answered 200 with grpc-status in the head ("Trailers-Only"): a client that gets a
 * 503 instead knows only UNKNOWN or UNAVAILABLE, never that a deadline passed.
 */
#pragma once

#include "gateway/problem.h"
#include "net/http1.h"

bool grpc_is_call(const struct http1_head *h); /* by its content type */
void grpc_timeout_write(struct buf *b, uint64_t ms); /* a whole field line */
enum code grpc_status(enum problem_kind k);
/* Status line and fields, but for those that every answer has, and the empty line. */
void grpc_refusal_write(struct buf *b, const struct problem *p);
