/* fetcher_call.h -- POSTs of the node's to addresses that others named: callbacks.
 *
 * Receives a URL, and a memfd with header lines and behind them the body. Owns the calls under way, at most
 * invoke_callbacks_max. Emits HEAD (status, Retry-After) when the answer came, and END, as for downloads.
 * Refuses addresses that origin.h refuses, looking at what is really connected to; redirects, credentials in URLs, other protocols
 * than http and https; answers later than invoke_callback_ms. Reads no more of an answer's content than tells that it ended, and
 * keeps none. Part of the fetcher process. */
#pragma once

#include "artifact/fetcher_curl.h"
#include "artifact/fetcher_wire.h"
#include "artifact/origin.h"
#include "base/limits.h"
#include "base/list.h"

struct caller_env {
    const struct curl_calls *curl;
    CURLM *multi;
    const struct limits *limits;
    const struct origin_policy *origins;
    void (*say)(void *ctx, struct wire_message *m);
    void *ctx;
};
struct caller {
    struct caller_env env;
    struct list calls;
};
struct call; /* opaque */

void caller_init(struct caller *c, const struct caller_env *env);
/* m: a WIRE_CALL that wire_check() let through. */
void caller_start(struct caller *c, const struct wire_message *m, int take_fd);
struct call *caller_find(const struct caller *c, const CURL *easy); /* NULL: none of these */
void caller_over(struct caller *c, struct call *l, CURLcode r);     /* curl is done with it */
void caller_done(struct caller *c);                                 /* nothing more is said */
