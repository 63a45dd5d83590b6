/* grpc_wire.h -- the small forms of gRPC over HTTP/2: content types, timeouts, texts in trailers, a message's prefix.
 *
 * Receives and emits text and bytes. Owns nothing. Refuses a grpc-timeout that is none. Pure. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

enum { GRPC_PREFIX_BYTES = 5 }; /* before each message: packed or not, and its size */

bool grpc_wire_is_type(struct str content_type); /* "application/grpc", also with a format behind it */
/* "100m", "5S": milliseconds, rounded up. */
int grpc_wire_timeout(struct str text, uint64_t *ret_ms, struct err *e) MUST_USE;
/* For grpc-message: percent-encoded, cut where more than `max` bytes would be written. */
void grpc_wire_text(struct buf *b, struct str text, size_t max);

struct grpc_prefix {
    bool packed;
    uint32_t size;
};
void grpc_wire_prefix(struct grpc_prefix p, char into[GRPC_PREFIX_BYTES]);
bool grpc_wire_prefix_read(struct str bytes, struct grpc_prefix *ret); /* false: too few bytes, or none */
