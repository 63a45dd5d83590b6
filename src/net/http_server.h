/* http_server.h -- HTTP/1.1 server for the API: whole requests in, whole or streamed answers out.
 *
 * Receives a listening socket (its owner keeps it) and bytes from clients.
 * Owns the connections and their buffers. Emits one call per request to `on_request`.
 * Refuses what net/http1 refuses (400 and close), bodies over api_body_bytes_max (413), heads over
 * their limits (431), slow heads (408), connections over connections_max (503), bodies that are together
 * more than api_bodies_bytes_max or answers that are more than api_answers_bytes_max (503), an Origin or Authorization that is there twice (400). A body is
 * counted as it comes: an announced length alone, or a head that on_head refuses, takes no room from anyone.
 * The gateway does not use this: it streams; see gateway/. Loop thread only.
 */
#pragma once

#include "base/buf.h"
#include "base/limits.h"
#include "os/loop.h"

struct http_server;
struct http_call; /* one request being answered; freed by the server after the answer is out */

/* Room in memory for all connections together; several servers may share one. */
struct http_budget {
    uint64_t bodies;  /* of requests; at most api_bodies_bytes_max */
    uint64_t answers; /* not yet taken by their clients; at most api_answers_bytes_max, and small ones besides */
};

struct http_server_ops {
    /* Answer now or later, but exactly once: http_answer(), or http_stream_begin() … _end(). */
    void (*on_request)(void *ctx, struct http_call *c);
    /* Before the body is read: true goes on; false after http_answer(), made at once, and then the
     * connection closes if a body was to come. NULL: all go on. Never both this and on_request for a
     * request that was refused. */
    bool (*on_head)(void *ctx, struct http_call *c);
    void (*on_limit)(void *ctx, const char *limit); /* reached: to be counted by name; may be NULL */
    struct http_budget *budget;                     /* outlives the server; NULL: it has its own */
};
int http_server_open(struct loop *l, const struct limits *limits, int listen_fd,
                     const struct http_server_ops *ops, void *ctx, struct http_server **ret,
                     struct err *e) MUST_USE;
void http_server_stop(struct http_server *s); /* accepts no more; open calls go on */
/* Closes everything: open streams hear on_gone, other open calls must not be answered any more. */
void http_server_free(struct http_server *s);
DEFINE_AUTO(http_server, struct http_server *, http_server_free)

/* The request; text is valid until the answer is complete. */
struct str http_call_method(const struct http_call *c);
struct str http_call_path(const struct http_call *c); /* as sent, without the query */
/* Query parameter or header by name; at NULL: absent. A parameter is percent-decoded. */
struct str http_call_param(struct http_call *c, const char *name);
struct str http_call_header(const struct http_call *c, const char *name);
struct str http_call_body(const struct http_call *c);
/* Who connected to a unix socket, as the kernel says; false: not one. */
bool http_call_user(const struct http_call *c, uint32_t *ret_uid);
/* Percent-decodes path segment `index` (0-based) into `into`; false: no such segment, bad encoding,
 * an encoded slash or NUL, or too long. */
bool http_call_segment(const struct http_call *c, uint32_t index, char *into, size_t size);
uint32_t http_call_segments(const struct http_call *c);

/* headers: "Name: value\r\n" lines or NULL, checked by ASSERT for CR/LF inside values. Content-Length,
 * Date and Connection are added. Body is copied. HEAD gets no body. */
void http_answer(struct http_call *c, int status, const char *content_type, const char *headers,
                 struct str body);

/* What a handler keeps in memory for an answer it has not handed over yet: `bytes` in all, less as it goes. False: no
 * room, and it counts what it did before. */
bool http_call_hold(struct http_call *c, uint64_t bytes);

/* Streamed (watch, logs -f): chunked to 1.1, close-delimited to 1.0. on_gone: the client left or is
 * too slow (a write found more than http_stream_buffer_bytes of earlier ones still pending, or
 * http_idle_ms passed without a byte taken): the call is over, do not touch it. Never called from inside
 * these functions. */
void http_stream_begin(struct http_call *c, int status, const char *content_type,
                       void (*on_gone)(void *ctx), void *ctx);
void http_stream_write(struct http_call *c, struct str data);
void http_stream_end(struct http_call *c);
/* Once, from the loop: all that was written so far is with the system. For sources that would rather wait
 * than be cut off for a slow client (who is still cut off when it takes nothing for http_idle_ms). */
void http_stream_await(struct http_call *c, void (*on_room)(void *ctx));
