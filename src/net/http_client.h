/* http_client.h -- a small blocking HTTP/1.1 client, for the command line only.
 *
 * Receives an address and one request; owns the connection for its duration.
 * Emits status, headers of interest and the body, whole or piece by piece.
 * Refuses malformed answers and bodies over body_bytes_max (unless streamed). No TLS, no redirects.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct http_client_call {
    const char *address;         /* "127.0.0.1:8081", "[::1]:80", or "unix:/path" */
    const char *method, *target; /* "/path?query" */
    const char *host;            /* Host header; NULL: the address */
    const char *headers;         /* more "Name: value\r\n" lines, or NULL */
    const char *token;           /* sent as Authorization: Bearer; NULL: none */
    struct str body;             /* at NULL: none */
    uint32_t timeout_ms;         /* for connecting and between bytes; 0: none between bytes */
    size_t body_bytes_max;
    /* Not NULL: gets the body as it comes; return < 0 to stop (the call then returns that). The
     * answer's status and head are there when it is first called. */
    int (*on_body)(void *ctx, struct str piece);
    /* With on_body: the bodies of refusals (400 and above) are collected like without it. */
    bool collect_refusals;
    void *ctx;
};
struct http_client_answer {
    int status;
    struct buf head; /* the raw head, for http_client_header() */
    struct buf body; /* empty when streamed */
};
/* 0: an answer came, whatever its status. CODE_UNAVAILABLE: nobody listens there (the text says how
 * to start hob); CODE_DEADLINE; CODE_INTERNAL: not HTTP. */
int http_client_do(const struct http_client_call *c, struct http_client_answer *ret, struct err *e)
    MUST_USE;
void http_client_answer_done(struct http_client_answer *a);
struct str http_client_header(const struct http_client_answer *a, const char *name);
