#pragma once

/* The inside of http_server.h, shared by http_server.c (connections and requests), http_answer.c (what goes out) and
 * http_call.c (what a handler asks). A connection is its current call. */

#include "net/http1_body.h"
#include "net/http1_write.h"
#include "net/http_server.h"

/* HEAD -> BODY -> CALL -> FLUSH -> HEAD …   one request after the other; what is pipelined waits in `in`
 *  |       |      |\
 *  |       |      | `-> STREAM -> FLUSH     `out` may hold bytes in any state but HEAD's first
 *  `-------+------|--> FLUSH -> LINGER      refused, or the last answer
 *                 `--> GONE                 the client left, the handler does not know yet
 */
enum conn_state {
    CONN_HEAD,
    CONN_BODY,
    CONN_CALL,   /* the handler has it */
    CONN_STREAM, /* the handler writes on */
    CONN_FLUSH,  /* the answer is complete, and on its way */
    CONN_LINGER, /* our side is closed; waiting for the client's */
    CONN_GONE,   /* descriptor closed; freed when the handler answers */
};

struct param {
    struct str name, value;
};

struct http_call { /* a connection is its current call: there is one at a time */
    struct http_server *server;
    struct list_node node;
    struct loop_io io;
    struct loop_timer timer;
    struct loop_task task; /* flushes and goes on, outside of the handler's stack */
    enum conn_state state;
    bool fresh;       /* no request on this connection yet */
    bool head_begun;  /* its first byte is here */
    bool last;        /* close after this answer */
    bool stream_over; /* STREAM: the client left or is too slow; on_gone is due */
    bool chunked;     /* STREAM: to HTTP/1.1 */
    struct buf in, out, head_text, content;
    struct http1_head head;
    struct http1_body body;
    uint64_t body_start_us, linger_bytes;
    uint64_t reserved; /* of the budget: what `content` holds, until the answer is out */
    uint64_t held, counted; /* what a handler holds for the answer; that and `out`, as last counted */
    char *query; /* decoded in place; NULL until asked for */
    struct param *params;
    size_t param_count;
    void (*on_gone)(void *ctx);
    void (*on_room)(void *ctx); /* NULL: nobody waits */
    void *on_gone_ctx;          /* for both */
};

struct http_server {
    struct loop *loop;
    const struct limits *limits;
    struct http_server_ops ops;
    void *ctx;
    struct loop_io listen_io;
    struct loop_timer accept_timer;
    int listen_fd;
    bool stopped;
    struct http_budget own, *budget;
    struct list calls;
    int64_t date_s; /* the second that date[] is of */
    char date[32];
};

/* http_server.c */
void http_call_free(struct http_call *c);
/* The connection is of no more use. Whoever still holds the call hears of it once, or finds out when it
 * answers; otherwise c is freed. */
void http_call_lost(struct http_call *c);
void http_call_await(struct http_call *c); /* for what its state waits for */
void http_call_due(struct http_call *c, uint64_t ms);
void http_call_drop(struct http_call *c);  /* its body, and the room that it had */
void http_call_next(struct http_call *c);  /* the answer is out: the connection's next request */

/* http_answer.c */
/* The client is at fault (but for a 503), and where its message ends is not known any more. The texts are our own and
 * hold nothing that JSON would escape. */
void http_call_refuse(struct http_call *c, struct http1_refusal why);
void http_call_flush(struct http_call *c); /* may free c, or go on to the next request */
void http_call_forget(struct http_call *c); /* what was to go out */
