/* client.h -- one client connection and the request that is being answered on it. Private to the
 * gateway room: client.c owns the connection's life, exchange.c a request's, stream.c
 * moves its bytes, tunnel.c those of an upgrade, link.c the way to the function. One stream of an HTTP/2
 * connection is such a client too, for one request: the seam is the channel (channel.h), and behind it
 * pipe.h and mux.h. Towards the function it is the same.
 *
 *   HEAD -> QUEUED -> EXCHANGE -> FINISH -> HEAD ...        keep-alive, pipelining
 *     |       |  ^       |  |        |
 *     |       |  +-------+  |        +----> LINGER -> DEAD   the last answer is out
 *     |       |  reconnect  +----> TUNNEL -> DEAD            101
 *     +-------+----> FINISH                                  refused: our own answer
 *     +-> COLLECT -> KEPT -> REPLAY -> FINISH                a durable invocation (accept.h)
 *   any -> DEAD                                              gone, reset
 *
 * Everything happens in client_step(), which is called after something changed (an edge, a timer, a
 * turn in the queue) and runs the state's step until it waits. So there is one place that decides what is
 * next, and the steps need not care what woke them.
 *
 * Invariants (client_check): leased only in EXCHANGE and TUNNEL; DEAD clients have nothing attached
 * and are in the pool, or freed: after client_step() and client_go_on() a client is not touched.
 */
#pragma once

#include "gateway/channel.h"
#include "gateway/forward.h"
#include "gateway/grpc.h"
#include "gateway/ingress.h"
#include "gateway/meter.h"
#include "gateway/problem.h"
#include "net/http1_body.h"
#include "net/http2.h"

enum client_state {
    CLIENT_HEAD,     /* between requests, or in the middle of a request's head */
    CLIENT_QUEUED,   /* asked the backend */
    CLIENT_EXCHANGE, /* on an instance */
    CLIENT_TUNNEL,
    CLIENT_COLLECT, /* these three: accept.h */
    CLIENT_KEPT,
    CLIENT_REPLAY,
    CLIENT_FINISH, /* the answer is complete, not all of it written */
    CLIENT_LINGER, /* all written and said so; waits for the client to close */
    CLIENT_DEAD,
};

enum step {
    STEP_WAIT, /* nothing to do until something changes */
    STEP_ON,   /* the state changed: run its step */
};

struct link;
struct mux;
struct accepted;
struct desk;

struct exchange {
    struct ticket ticket;
    struct lease lease;
    struct link *link; /* NULL while leased: a stream */
    struct accepted *accepted; /* NULL: an ordinary request */
    const char *probe;         /* content of the answer to a question about the way (netprobe.h); NULL: it is none */
    struct target_policy policy;
    struct http1_head answer;
    struct http1_body request_body, answer_body;
    struct meter read_meter, write_meter;
    struct invocation_record record;
    struct request_note *note; /* the record's, until it is handed over; NULL: none */
    uint64_t arrival_us, deadline_us, dispatch_us, first_byte_us;
    uint64_t active_us; /* last byte from the function, or dispatch */
    uint64_t heard_us;  /* last byte from the client; gRPC only */
    uint64_t stalled_us; /* FINISH of a stream: nothing of it has gone since; 0: it is not waiting */
    size_t stalled_bytes; /* that wait since then */
    uint32_t interims, links; /* links: how often a connection to the function was taken */
    struct uuid attempt_of; /* which attempt of a durable invocation it is; attempt 0: none */
    uint32_t attempt;
    uint8_t method_id, minor;
    bool leased, routed, bodies; /* bodies: request_body is initialised */
    bool client_keep;            /* the client wants to, and so far may, keep the connection */
    bool upgrade, expect_continue, request_chunked;
    bool request_done;   /* all of it taken from the client */
    bool function_deaf;  /* takes no more of the request; may still answer */
    bool answering;      /* the final head is in out */
    bool answer_chunked; /* towards the client */
    bool answer_begun;   /* a byte of the function's came */
    bool answer_done;
    bool grpc;   /* a call: refusals are in its words, and it may be silent */
    bool resent; /* to the function, once more */
    enum invocation_outcome outcome; /* FINISH */
};

struct client {
    struct ingress *ingress;
    struct list_node node, inner_node; /* inner_node: in attempts */
    struct loop_io io;
    struct loop_timer timer;
    struct loop_task again; /* continues a step that had its share of the turn */
    uint64_t armed_us;      /* of timer; UINT64_MAX: not set */
    enum client_state state;
    struct channel net; /* the client's own connection */
    struct channel up;  /* to the instance; `out` is filled while still queued */
    struct http1_head head;
    struct exchange x;
    size_t head_fed;   /* HEAD: bytes of net.in that the parser has had */
    uint64_t since_us; /* HEAD: idle since, or first byte; LINGER: began; TUNNEL: last byte */
    uint32_t budget;   /* reads left in this step */
    uint32_t lingered_bytes;
    bool half_closed[2]; /* TUNNEL: [0] towards the client, [1] towards the function */
    bool inner;          /* the node's own: its word is believed */
    bool surplus;        /* over connections_max: only there to be told so */
    bool fresh;          /* its first bytes may yet be HTTP/2's */
    bool stepping;
    char address[48];
};

struct ingress {
    struct loop *loop;
    const struct limits *limits;
    struct backend *backend;
    struct desk *desk; /* NULL: nothing is durable */
    int listen_fd;
    struct loop_io io;
    struct loop_timer retry; /* accepting again after descriptors ran out */
    struct list clients, pool;
    struct list attempts; /* the inner ones of them */
    struct list client_muxes, function_muxes;
    struct http2_budget h2; /* of client_muxes */
    struct link **links; /* by descriptor */
    uint32_t link_count;
    struct limits head_limits; /* of heads that we wrote ourselves, which are larger than what came */
    uint32_t surplus_open;
    bool stopping;
    enum ingress_notes notes;
    struct ingress_counters counters;
    size_t room; /* half of http_stream_buffer_bytes: one for what was read, one to be written */
    uint8_t entropy[2048];
    size_t entropy_used;
    struct uuid_clock id_clock;
    int64_t date_s;
    char date[32];
};

/* ---- ingress.c: what requests share ---- */
struct uuid ingress_new_id(struct ingress *in, int64_t wall_ms);
uint64_t ingress_random(struct ingress *in);
struct str ingress_date(struct ingress *in, int64_t wall_ms); /* "Sun, 06 Nov 1994 08:49:37 GMT" */
void ingress_count_limit(struct ingress *in,
                         const char *text); /* text: names it, or nothing happens */
/* ---- link.c: the way to the function ---- */
enum link_taken {
    LINK_READY,  /* c->up is attached; `out` may have been sent before, and is sent from its start */
    LINK_STALE,  /* none that could be used: ask for another */
    LINK_FAILED, /* cannot be watched, e has why */
};
enum link_taken link_take(struct client *c, const struct lease *lease, struct err *e);
/* Whether what was sent may be sent again elsewhere, now that the connection failed (ingress.h). */
bool link_may_resend(const struct client *c);
/* Ends c's use of it. Returns the descriptor if it is to be kept by the backend, else -1. */
int link_drop(struct client *c, bool keep);
void links_free(struct ingress *in);

/* ---- client.c ---- */
void client_open(struct ingress *in, int take_fd, const char *address, bool surplus);
void client_adopt(struct ingress *in, int take_fd); /* the node's own */
/* One stream of a client's connection, which has a request's head. */
void client_open_stream(struct ingress *in, struct mux *m, struct http2_stream *s,
                        const char *address, void (*on_news)(struct channel *ch));
size_t client_out_bytes_max(const struct ingress *in); /* head and stream's share, of either side */
void client_step(struct client *c);
void client_go_on(struct client *c, enum step s); /* after s was decided outside of a step */
void client_check(const struct client *c);
enum step client_dead(struct client *c);    /* closes; c goes to the pool when the step ends */
enum step client_reset(struct client *c);   /* the same, and the client sees an error */
enum step client_lets_go(struct client *c); /* the request is over: next one, or linger */
/* Takes one read, or request, of this step's share; false: the rest comes in a later turn. */
bool client_may_read(struct client *c);
void client_free(struct client *c); /* in the pool, or at the very end */

/* ---- exchange.c ---- */
enum step exchange_begin(struct client *c);  /* a head is complete */
enum step exchange_step(struct client *c);   /* QUEUED, EXCHANGE */
enum step exchange_finish(struct client *c); /* FINISH */
enum step exchange_gone(struct client *c);   /* the client left */
uint64_t exchange_due_us(const struct client *c);
enum step exchange_expire(struct client *c); /* that time has come */
/* Answers with a problem, where an answer is still possible; else resets. */
enum step exchange_refuse(struct client *c, const struct problem *p, enum invocation_outcome o);
/* A refusal of bytes that are no request. */
enum step exchange_refuse_bytes(struct client *c, enum problem_kind kind, const char *why);
void exchange_release(struct client *c, bool keep, bool healthy);
/* False: nothing is served there (any more). */
bool exchange_route(struct client *c, struct str host, struct str tag);
enum step exchange_ask(struct client *c); /* for an instance: of a request that was taken */
void exchange_skim(struct client *c); /* before an answer that comes before the request's end */
/* Whether it may be sent to a function that may have begun with it. */
bool exchange_may_repeat(const struct client *c);
enum step exchange_reconnect(struct client *c); /* to the same instance */
enum step exchange_retry(struct client *c);     /* on any */
enum forward_connection exchange_connection(const struct client *c);
/* What all final answers end with; the moment counts as the answer's first byte. */
void exchange_answer_end(struct client *c, enum forward_connection connection, bool dated);

/* ---- stream.c: the two directions of an exchange ---- */
/* STEP_WAIT with the state unchanged: as far as it goes for now. */
enum step stream_request(struct client *c);
enum step stream_answer(struct client *c);
enum channel_result stream_flush(struct client *c);              /* towards the client */
void exchange_over(struct client *c, enum invocation_outcome o); /* once, at the end */

/* ---- tunnel.c ---- */
enum step tunnel_begin(struct client *c);
enum step tunnel_step(struct client *c);
uint64_t tunnel_due_us(const struct client *c);
