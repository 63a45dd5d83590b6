/* guard.h -- whether a request to the API may come from a web page that is none of our business. Pure.
 *
 * The API has no token: who may connect may deploy. A browser on this machine may connect, for any page
 * it shows. Two marks give such a page away: Origin, when it asks across sites, and a Host that is a name
 * of its own, when it let that name point at 127.0.0.1 (DNS rebinding) to look like one site.
 * Receives the two header values and the address that the API listens on. Refuses a foreign Origin
 * always; a Host that is neither a numeric address nor localhost only where the API listens on loopback:
 * elsewhere (--insecure) it has whatever names people gave it.
 */
#pragma once

#include "base/str.h"

#include "base/err.h"

/* host.at, origin.at NULL: the header is absent (programs leave out Origin; HTTP/1.0 may leave out Host). */
int guard_check(struct str host, struct str origin, const char *listen, struct err *e) MUST_USE;
