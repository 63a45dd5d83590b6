/* redirect.h -- where an answer's Location leads, as the kubelet's probes take it.
 *
 * Receives where the request went and the Location's text. Emits the next port and target, or that it is not
 * followed: a probe never leaves its instance, so another host, a scheme that is not HTTP's or nothing at all is none.
 * Pure.
 */
#pragma once

#include "base/str.h"

enum { REDIRECT_TARGET_MAX = 2048 };

struct redirect {
    uint16_t port;
    char target[REDIRECT_TARGET_MAX]; /* "/path?query" */
    bool tls; /* https */
};
/* host: of the request (a port after it is ignored); at: port and target of the request. False: not followed. */
bool redirect_follow(const char *host, const struct redirect *at, struct str location,
                     struct redirect *ret);
