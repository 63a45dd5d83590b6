/* grpc_server_impl.h -- what grpc_server.c (sockets, connections) and grpc_server_call.c (calls) share. */
#pragma once

#include "codec/gzip.h"
#include "net/grpc_server.h"
#include "net/grpc_wire.h"

#include "base/list.h"

struct grpc_server {
    struct loop *loop;
    struct limits limits; /* the h2_* rows are the grpc_* ones here */
    struct grpc_server_ops ops;
    void *ctx;
    struct list conns, listeners;
    struct http2_budget budget;
    uint64_t streams_refused, bytes_refused; /* of the budget's, told to on_limit */
    struct gzip *gzip;
    struct buf unpacked;                 /* the message that is being given to on_call */
    struct http1_head plain, packed;     /* heads of answers */
    struct grpc_server_counts counts;
    struct loop_task quiet;
    bool shut, told_quiet;
};

struct grpc_listener {
    struct list_node node;
    struct grpc_server *server;
    struct loop_io io;
    struct loop_timer timer; /* accept() failed: again later */
    int fd;
    void *tag;
};

struct grpc_conn {
    struct list_node node;
    struct grpc_server *server;
    struct http2 *h;
    struct loop_io io;
    struct loop_timer timer;
    struct loop_task task;
    struct buf out;
    void *tag;
    uint64_t heard_us, idle_us, waiting_us, blocked_us, pinged_us, linger_us; /* UINT64_MAX: not so */
    uint32_t lingered;
    int fd; /* -1: the socket is gone, and the session knows */
    bool far, shut, counted;
};

enum call_state {
    CALL_READING, /* its request is coming */
    CALL_HANDED,  /* its owner's turn */
    CALL_SENDING, /* its answer is on the way */
};

struct grpc_server_call {
    struct grpc_conn *conn;
    struct http2_stream *s;
    void *owner;
    struct loop_timer timer;
    uint64_t deadline_us;
    enum call_state state;
    struct http1_head head; /* until on_call has returned */
    struct str message;     /* in on_call */
    struct buf in;          /* of a request that came in pieces */
    struct buf rest;        /* of an answer that does not fit into the stream yet */
    size_t unsent;          /* of it and the stream, when last looked: to see it move */
    bool *gone;             /* told when the call is freed */
    bool told; /* its owner: that it is over */
    bool has_head, gzip_in, gzip_out, finished;
};

/* A stream that is nobody's yet. */
void grpc_call_open(struct grpc_conn *c, struct http2_stream *s);
/* Its stream has news. */
void grpc_call_news(struct grpc_server_call *call);
/* The connection has something to send. */
void grpc_conn_touch(struct grpc_conn *c);
void grpc_limit_reached(struct grpc_server *s, const char *limit);
