#include "load_grpc.h"

#include "codec/proto.h"
#include "net/grpc_wire.h"
#include "net/http2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 65536, OUT_HOLD = 65536, ANSWER_MAX = 4 << 20, HEAD_MAX = 512, WHY_MAX = 200 };

struct connection;
struct call {
    struct list_node node;
    struct list *in; /* its connection's, or of those that never had one */
    struct connection *c;
    struct http2_stream *s;
    struct buf rest, answer; /* rest: of the message, for which there was no room */
    load_grpc_done *on_done;
    void *ctx;
    int status;
    bool grpc;
    char why[WHY_MAX];
};
struct connection {
    struct load_grpc *g;
    struct http2 *h;
    struct loop_io io;
    struct loop_task task;
    struct list calls;
    struct buf out;
    int fd;
    bool over;
};
struct load_grpc {
    struct loop *loop;
    const struct limits *limits;
    struct connection *at;
    unsigned count, next;
    struct list lost; /* calls that found no connection: told at the end of the turn */
    struct loop_task task;
    struct load_grpc_stats stats;
    uint16_t port;
    char bytes[READ_BYTES];
};

static void call_free(struct call *k)
{
    list_remove(k->in, &k->node);
    if (k->s)
        http2_stream_drop(k->s, HTTP2_DROP_DONE);
    buf_done(&k->rest);
    buf_done(&k->answer);
    free(k);
}

static void done(struct call *k, int status, const char *why)
{
    struct str body = { NULL, 0 };
    struct grpc_prefix p;
    struct str whole = buf_str(&k->answer);
    if (status == 0 && (!grpc_wire_prefix_read(whole, &p) || p.packed || p.size != whole.size - GRPC_PREFIX_BYTES)) {
        status = -1;
        why = "the answer is not one plain message";
    } else if (status == 0)
        body = str_from(whole, GRPC_PREFIX_BYTES);
    k->on_done(k->ctx, status, body, str_of(why));
    call_free(k);
}

static void status_note(struct call *k, struct str name, struct str value)
{
    uint64_t n;
    if (str_eq_nocase(name, STR("grpc-status")) && str_u64(value, &n) && n <= 16)
        k->status = (int)n;
    else if (str_eq_nocase(name, STR("grpc-message")))
        snprintf(k->why, sizeof k->why, "%.*s", (int)MIN(value.size, sizeof k->why - 1), value.at);
}

static bool heads_read(struct call *k)
{
    struct buf *text = http2_stream_heads(k->s);
    bool fine = true;
    while (text->size > 0 && fine) {
        struct http1_head h;
        http1_head_init(&h, HTTP1_RESPONSE, k->c->g->limits);
        fine = http1_head_feed(&h, buf_at(text), text->size) == HTTP1_DONE;
        if (fine && !h.interim) {
            k->grpc = h.status == 200 && str_starts(http1_field(&h, HTTP_FIELD_CONTENT_TYPE), STR("application/grpc"));
            status_note(k, STR("grpc-status"), http1_field_named(&h, STR("grpc-status")));
            status_note(k, STR("grpc-message"), http1_field_named(&h, STR("grpc-message")));
        }
        buf_consume(text, fine ? h.size : text->size);
        http1_head_done(&h);
    }
    return fine;
}

static void trailers_read(struct call *k)
{
    struct str rest = http2_stream_trailers(k->s);
    while (rest.size > 0) {
        struct str line = str_cut(&rest, '\r'), name = str_cut(&line, ':');
        rest = rest.size > 0 ? str_from(rest, 1) : rest;
        status_note(k, name, str_trim(line));
    }
}

static void put(struct call *k)
{
    size_t n = MIN(http2_stream_room(k->s), k->rest.size);
    if (n == 0)
        return;
    http2_stream_put(k->s, str_head(buf_str(&k->rest), n));
    buf_consume(&k->rest, n);
    if (k->rest.size == 0)
        http2_stream_finish(k->s, STR(""));
}

static void stream_read(struct call *k)
{
    struct str data = http2_stream_content(k->s);
    if (!heads_read(k)) {
        done(k, -1, "the answer is not valid HTTP");
        return;
    }
    buf_str_append(&k->answer, data);
    http2_stream_take(k->s, data.size);
    switch (http2_stream_end(k->s)) {
    case HTTP2_OPEN: put(k); return;
    case HTTP2_ENDED:
        trailers_read(k);
        done(k, k->grpc ? k->status : -1, k->grpc ? k->why : "the answer is not gRPC");
        return;
    case HTTP2_RESET: done(k, -1, "the server reset the call"); return;
    case HTTP2_REFUSED: done(k, -1, "the server refused the stream"); return;
    }
}

static void connection_end(struct connection *c)
{
    if (c->over)
        return;
    c->over = true;
    loop_unwatch(c->g->loop, &c->io);
    struct list_node *n;
    while ((n = list_first(&c->calls)))
        done(CONTAINER_OF(n, struct call, node), -1, "the connection ended");
}

/* False: the connection is over. */
static bool send_out(struct connection *c)
{
    for (;;) {
        http2_write(c->h, &c->out, OUT_HOLD, loop_now_us(c->g->loop) / 1000);
        if (c->out.size == 0)
            return true;
        ssize_t n = send(c->fd, buf_at(&c->out), c->out.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        c->g->stats.sends++;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        c->g->stats.bytes_out += (uint64_t)n;
        buf_consume(&c->out, (size_t)n);
    }
}

/* False: no more will come. */
static bool receive(struct connection *c)
{
    struct err e;
    for (;;) {
        ssize_t n = recv(c->fd, c->g->bytes, sizeof c->g->bytes, MSG_DONTWAIT);
        c->g->stats.reads++;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (n <= 0 || http2_feed(c->h, c->g->bytes, (size_t)n, loop_now_us(c->g->loop) / 1000, &e) < 0) {
            http2_lost(c->h);
            return false;
        }
        c->g->stats.bytes_in += (uint64_t)n;
        if ((size_t)n < sizeof c->g->bytes)
            return true; /* the watch is edge-triggered: what comes later is told */
    }
}

static void turn(struct connection *c, bool read)
{
    struct http2_stream *s;
    bool goes_on = !c->over && (!read || receive(c));
    while ((s = http2_changed(c->h)))
        stream_read(http2_stream_owner(s));
    if (!goes_on || !send_out(c) || http2_over(c->h))
        connection_end(c);
}
static void on_ready(struct loop_io *io, uint32_t events)
{
    (void)events;
    turn(CONTAINER_OF(io, struct connection, io), true);
}
static void on_task(struct loop_task *t) { turn(CONTAINER_OF(t, struct connection, task), false); }

static void on_lost(struct loop_task *t)
{
    struct load_grpc *g = CONTAINER_OF(t, struct load_grpc, task);
    struct list_node *n;
    while ((n = list_first(&g->lost)))
        done(CONTAINER_OF(n, struct call, node), -1, "no connection is left");
}

static int connection_open(struct load_grpc *g, struct connection *c, struct err *e)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(g->port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int one = 1;
    c->g = g;
    c->io.on_ready = on_ready;
    c->task.run = on_task;
    list_init(&c->calls);
    buf_init(&c->out, OUT_HOLD + HTTP2_FRAME_BYTES_MAX);
    c->h = http2_new(HTTP2_CLIENT, g->limits);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&to, sizeof to) < 0)
        return err_set(e, CODE_UNAVAILABLE, "127.0.0.1:%u takes no connection (errno %d)", g->port, errno);
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return loop_watch(g->loop, &c->io, c->fd, EPOLLIN | EPOLLOUT | EPOLLET, e);
}

int load_grpc_open(struct loop *l, const struct limits *limits, uint16_t port, unsigned connections,
                   struct load_grpc **ret, struct err *e)
{
    AUTO(load_grpc) struct load_grpc *g = xcalloc(1, sizeof *g);
    g->loop = l;
    g->limits = limits;
    g->port = port;
    g->at = xcalloc(connections, sizeof *g->at);
    g->task.run = on_lost;
    list_init(&g->lost);
    while (g->count < connections) {
        int r = connection_open(g, &g->at[g->count++], e);
        if (r < 0)
            return r;
    }
    *ret = TAKE(g);
    return 0;
}

static void calls_free(struct list *l)
{
    struct list_node *n;
    while ((n = list_first(l)))
        call_free(CONTAINER_OF(n, struct call, node));
}

void load_grpc_free(struct load_grpc *g)
{
    if (!g)
        return;
    for (unsigned i = 0; i < g->count; i++) {
        struct connection *c = &g->at[i];
        calls_free(&c->calls);
        loop_unwatch(g->loop, &c->io);
        loop_undefer(g->loop, &c->task);
        http2_free(c->h);
        buf_done(&c->out);
        if (c->fd >= 0)
            (void)close(c->fd);
    }
    calls_free(&g->lost);
    loop_undefer(g->loop, &g->task);
    free(g->at);
    free(g);
}

static struct http2_stream *request(struct connection *c, const char *path, unsigned timeout_s)
{
    char text[HEAD_MAX];
    struct http1_head h;
    struct http2_stream *s = NULL;
    int size = snprintf(text, sizeof text,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: application/grpc\r\nTE: trailers\r\n"
                        "Grpc-Timeout: %uS\r\nTransfer-Encoding: chunked\r\n\r\n",
                        path, c->g->port, timeout_s);
    http1_head_init(&h, HTTP1_REQUEST, c->g->limits);
    if (size > 0 && (size_t)size < sizeof text && http1_head_feed(&h, text, (size_t)size) == HTTP1_DONE)
        s = http2_request(c->h, &h, false);
    http1_head_done(&h);
    return s;
}

void load_grpc_call(struct load_grpc *g, const char *path, unsigned timeout_s, const void *message, load_grpc_done *on_done,
                    void *ctx)
{
    struct call *k = xcalloc(1, sizeof *k);
    char prefix[GRPC_PREFIX_BYTES];
    k->on_done = on_done;
    k->ctx = ctx;
    k->status = -1;
    buf_init(&k->answer, ANSWER_MAX);
    buf_init(&k->rest, ANSWER_MAX);
    g->stats.calls++;
    for (unsigned i = 0; i < g->count && !k->s; i++) {
        k->c = &g->at[g->next++ % g->count];
        if (!k->c->over && http2_takes_requests(k->c->h))
            k->s = request(k->c, path, timeout_s);
    }
    if (!k->s) {
        list_push(k->in = &g->lost, &k->node);
        loop_defer(g->loop, &g->task);
        return;
    }
    list_push(k->in = &k->c->calls, &k->node);
    http2_stream_own(k->s, k);
    grpc_wire_prefix((struct grpc_prefix){ .size = (uint32_t)proto_size(message) }, prefix);
    buf_append(&k->rest, prefix, sizeof prefix);
    proto_encode(message, &k->rest);
    put(k);
    loop_defer(g->loop, &k->c->task);
}

unsigned load_grpc_living(const struct load_grpc *g)
{
    unsigned n = 0;
    for (unsigned i = 0; i < g->count; i++)
        n += !g->at[i].over;
    return n;
}

struct load_grpc_stats load_grpc_stats(const struct load_grpc *g) { return g->stats; }
