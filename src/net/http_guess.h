/* http_guess.h -- whether a server speaks the other HTTP, from the first bytes that it sends.
 *
 * Receives what came first on a connection. Pure. An HTTP/2 server's first frame is SETTINGS, whatever it
 * was sent (RFC 9113 3.4), unless it refuses with GOAWAY; an HTTP/1.1 server's first bytes never look so. Both were
 * seen to be what people run into: a gRPC server behind a port without a name, and a web server behind one that is
 * named h2c.
 */
#pragma once

#include "base/str.h"

/* At least the first bytes of a frame that an HTTP/2 server may begin with; what is shorter than a frame's head
 * may still be something else. "" is not. */
bool http_guess_is_h2(struct str first);

#define HTTP_GUESS_IS_H2  "it answered in HTTP/2: name the container's port h2c"
#define HTTP_GUESS_NOT_H2 \
    "the container's port is named h2c, and the server there does not speak HTTP/2 without TLS: name the port http1, or " \
    "not at all"
