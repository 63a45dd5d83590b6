#include "gateway/grpc.h"
#include "net/grpc_wire.h"
#include "net/http1_write.h"

enum { MESSAGE_BYTES_MAX = 3 * 2048 };

bool grpc_is_call(const struct http1_head *h) { return grpc_wire_is_type(http1_field(h, HTTP_FIELD_CONTENT_TYPE)); }

void grpc_timeout_write(struct buf *b, uint64_t ms)
{
    buf_printf(b, "grpc-timeout: %llum\r\n", (unsigned long long)MIN(ms, 99999999));
}

enum code grpc_status(enum problem_kind k)
{
    switch (problem_status(k)) {
    case 400:
    case 417: return CODE_INVALID;
    case 404:
    case 501:
    case 505: return CODE_UNIMPLEMENTED;
    case 408:
    case 504: return CODE_DEADLINE;
    case 413:
    case 414:
    case 431:
    case 508: return CODE_EXHAUSTED;
    case 429:
    case 503: return CODE_UNAVAILABLE;
    case 502: return k == PROBLEM_BAD_ANSWER ? CODE_INTERNAL : CODE_UNAVAILABLE;
    default: return CODE_INTERNAL;
    }
}

void grpc_refusal_write(struct buf *b, const struct problem *p)
{
    http1_write_status(b, 200, (struct str){ NULL, 0 });
    buf_printf(b, "Content-Type: application/grpc\r\ngrpc-status: %d\r\ngrpc-message: ",
               (int)grpc_status(p->kind));
    grpc_wire_text(b, str_of(p->detail), MESSAGE_BYTES_MAX);
    buf_printf(b, "\r\nHob-Problem: %s\r\n", problem_name(p->kind));
    http1_write_framing(b, HTTP1_BODY_LENGTH, 0);
}
