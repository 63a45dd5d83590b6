/* access.h -- whether who asks may use the API (docs/decisions/0006). Pure.
 *
 * Receives the token, how the request came, its path and its Authorization header. Owns nothing.
 * Refuses with CODE_UNAUTHENTICATED what came over the network without the token, unless the operator
 * said that none is needed or the path is one that tells nothing but whether hob is well.
 * The comparison takes the same time wherever the first wrong byte is.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { ACCESS_TOKEN_MIN = 32, ACCESS_TOKEN_MAX = 128, ACCESS_BASIC_TEXT = 192 };

struct access {
    char token[ACCESS_TOKEN_MAX + 1];
    char basic[ACCESS_BASIC_TEXT]; /* base64 of "hob:" and the token */
    bool open;                     /* no token is asked for */
};
/* Refuses a token that is not ACCESS_TOKEN_MIN to _MAX letters, digits and "-._~+/=". */
int access_init(struct access *a, struct str token, bool open, struct err *e) MUST_USE;

/* local: it came through the unix socket, whose mode has decided already. */
int access_check(const struct access *a, bool local, struct str path, struct str authorization,
                 struct err *e) MUST_USE;
