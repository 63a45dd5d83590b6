/* fetcher_post.h -- sends what the node gives to one address, which the node neither knows nor chooses.
 *
 * Receives a body as a descriptor, and the address and headers of the command line and the environment. Owns the
 * one transfer under way. Emits HEAD (status, Retry-After) when the answer came, and END, as for downloads.
 * Refuses a second transfer at a time, redirects, and answers later than trace_post_ms; reads no more of an
 * answer's content than tells that it ended, and keeps none. Part of the fetcher process.
 */
#pragma once

#include "artifact/fetcher_curl.h"
#include "artifact/fetcher_wire.h"
#include "base/limits.h"

struct fetcher_export {
    const char *url;     /* NULL: nothing is sent anywhere */
    const char *headers; /* "Name: value\n"…; may hold credentials */
};

struct poster_env {
    const struct curl_calls *curl;
    CURLM *multi;
    const struct limits *limits;
    const struct fetcher_export *export; /* may be NULL */
    void (*say)(void *ctx, struct wire_message *m);
    void *ctx;
};
struct poster {
    struct poster_env env;
    CURL *easy; /* NULL: nothing is under way */
    struct curl_slist *headers;
    uint64_t id;
    int body_fd;
    int64_t at, size; /* of the body: next byte, all */
    uint64_t answered_bytes;
    char why[CURL_ERROR_SIZE];
};

void poster_init(struct poster *p, const struct poster_env *env);
void poster_start(struct poster *p, uint64_t id, int take_body_fd);
bool poster_has(const struct poster *p, const CURL *easy);
void poster_over(struct poster *p, CURLcode c); /* curl is done with it */
void poster_done(struct poster *p);             /* nothing more is said */
