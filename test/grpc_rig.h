/* grpc_rig.h -- a gRPC server and a client over a pair of sockets, with a clock that only the test moves. The
 * server's handler does what the path says: /echo, /hold (kept for the test), /refuse. */
#pragma once

#include "codec/gzip.h"
#include "net/grpc_server.h"
#include "net/grpc_wire.h"
#include "os/fault.h"
#include "tap.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct rig_world {
    struct loop_world w;
    int fd;
    uint64_t now_us;
};

static uint64_t rig_now_us(struct loop_world *w) { return CONTAINER_OF(w, struct rig_world, w)->now_us; }
static int rig_control(struct loop_world *w, int op, int fd, uint32_t events, uint32_t slot, struct err *e)
{
    struct epoll_event ev = { .events = events, .data.u32 = slot };
    bool fault = op == EPOLL_CTL_ADD && fault_hit("epoll_ctl");
    if (fault || epoll_ctl(CONTAINER_OF(w, struct rig_world, w)->fd, op, fd, &ev) < 0)
        return err_sys(e, "watch");
    return 0;
}
static int rig_wait(struct loop_world *w, uint64_t due_us, struct loop_event *into, int max, struct err *e)
{
    struct epoll_event events[64];
    (void)due_us, (void)e;
    int n = epoll_wait(CONTAINER_OF(w, struct rig_world, w)->fd, events, MIN(max, 64), 0);
    for (int i = 0; i < n; i++)
        into[i] = (struct loop_event){ events[i].data.u32, events[i].events };
    return MAX(n, 0);
}
static void rig_free(struct loop_world *w) { (void)close(CONTAINER_OF(w, struct rig_world, w)->fd); }

enum { HELD_MAX = 1100, SAID_MAX = 6 << 20 };

struct rig_answer { /* of one call, as the client saw it */
    struct http2_stream *s;
    int http, status; /* -1: none yet */
    bool over, reset, packed;
    char text[8192], details[20000];
    struct buf said;
};
struct rig {
    struct rig_world world;
    struct loop *loop;
    struct limits limits;
    struct grpc_server *server;
    struct grpc_server_call *held[HELD_MAX];
    uint64_t deadline_us;
    int held_count, calls, cancelled, quiet, client_fd;
    char limit[64], field[64];
    int limits_reached;
    struct http2 *h; /* the client's */
    struct buf out;
    bool gone, deaf;      /* client: the connection ended; it does not read */
    size_t client_read;
    int tag;
};

static void rig_on_call(void *ctx, struct grpc_server_call *c)
{
    struct rig *g = ctx;
    struct str path = grpc_server_call_path(c), field = grpc_server_call_field(c, "temporal-namespace");
    g->calls++;
    g->deadline_us = grpc_server_call_deadline_us(c);
    ASSERT(grpc_server_call_tag(c) == &g->tag);
    (void)snprintf(g->field, sizeof g->field, STR_FMT, STR_ARG(field.at ? field : STR("none")));
    if (str_starts(path, STR("/hold"))) {
        ASSERT(g->held_count < HELD_MAX);
        grpc_server_call_own(c, &g->held[g->held_count]);
        g->held[g->held_count++] = c;
    } else if (str_starts(path, STR("/refuse"))) {
        grpc_server_refuse(c, CODE_NOT_FOUND, "100% gr\xc3\xbc\n", STR("\x08\x05"));
    } else {
        grpc_server_reply(c, grpc_server_call_message(c));
    }
}

static void rig_on_cancel(void *ctx, struct grpc_server_call *c)
{
    struct rig *g = ctx;
    struct grpc_server_call **mine = grpc_server_call_owner(c);
    ASSERT(*mine == c);
    *mine = NULL;
    g->cancelled++;
}
static void rig_on_limit(void *ctx, const char *limit)
{
    struct rig *g = ctx;
    g->limits_reached++;
    (void)snprintf(g->limit, sizeof g->limit, "%s", limit);
}
static void rig_on_quiet(void *ctx) { ((struct rig *)ctx)->quiet++; }

static inline bool rig_connect(struct rig *g, bool far)
{
    int ends[2];
    struct err e = { 0 };
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    g->client_fd = ends[0];
    g->h = http2_new(HTTP2_CLIENT, &g->limits);
    return grpc_server_adopt(g->server, ends[1], far, &g->tag, &e) == 0;
}

static inline bool rig_open(struct rig *g, void (*change)(struct limits *l))
{
    static const struct grpc_server_ops ops = { rig_on_call, rig_on_cancel, rig_on_limit, rig_on_quiet };
    struct err e = { 0 };
    memset(g, 0, sizeof *g);
    limits_default(&g->limits);
    g->limits.h2_streams_max = 2000;
    struct limits theirs = g->limits;
    if (change)
        change(&theirs);
    g->world = (struct rig_world){ { rig_now_us, rig_control, rig_wait, rig_free }, epoll_create1(EPOLL_CLOEXEC), 1000000 };
    g->client_fd = -1;
    buf_init(&g->out, 1 << 20);
    if (loop_open_in(&g->world.w, &g->loop, &e) < 0)
        return false;
    g->server = grpc_server_new(g->loop, &theirs, &ops, g);
    return true;
}

static inline void rig_auto(struct rig *g)
{
    grpc_server_free(g->server);
    loop_free(g->loop);
    http2_free(g->h);
    buf_done(&g->out);
    fd_auto(&g->client_fd);
}

/* ---- the client --------------------------------------------------------------------------- */

static inline void answer_done(struct rig_answer *a)
{
    if (a->s)
        http2_stream_drop(a->s, HTTP2_DROP_CUT);
    a->s = NULL;
    buf_done(&a->said);
}
static inline void status_note(struct rig_answer *a, struct str name, struct str value)
{
    uint64_t n;
    if (str_is(name, "grpc-status") && str_u64(value, &n))
        a->status = (int)n;
    else if (str_is(name, "grpc-message"))
        (void)snprintf(a->text, sizeof a->text, STR_FMT, STR_ARG(value));
    else if (str_is(name, "grpc-status-details-bin"))
        (void)snprintf(a->details, sizeof a->details, STR_FMT, STR_ARG(value));
    else if (str_is(name, "grpc-encoding"))
        a->packed = str_is(value, "gzip");
}
static inline void client_heads(struct rig *g, struct rig_answer *a)
{
    struct buf *text = http2_stream_heads(a->s);
    if (text->size == 0)
        return;
    struct http1_head h;
    http1_head_init(&h, HTTP1_RESPONSE, &g->limits);
    struct limits wide = g->limits;
    wide.http_line_bytes_max = wide.http_head_bytes_max = 1 << 18;
    h.limits = &wide;
    ASSERT(http1_head_feed(&h, buf_at(text), text->size) == HTTP1_DONE);
    a->http = h.status;
    for (uint32_t i = 0; i < h.field_count; i++)
        status_note(a, h.fields[i].name, h.fields[i].value);
    buf_consume(text, text->size);
    http1_head_done(&h);
}
static inline void client_news(struct rig *g, struct http2_stream *s)
{
    struct rig_answer *a = http2_stream_owner(s);
    if (!a)
        return;
    client_heads(g, a);
    struct str data = http2_stream_content(s);
    if (!g->deaf) {
        buf_str_append(&a->said, data);
        http2_stream_take(s, data.size);
    }
    enum http2_end end = http2_stream_end(s);
    if (end == HTTP2_OPEN || (g->deaf && data.size > 0))
        return;
    a->over = true;
    a->reset = end != HTTP2_ENDED;
    struct str rest = http2_stream_trailers(s);
    while (rest.size > 0) {
        struct str line = str_cut(&rest, '\n'), name = str_cut(&line, ':');
        status_note(a, name, str_trim(str_head(line, line.size - 1)));
    }
    http2_stream_drop(s, HTTP2_DROP_DONE);
    a->s = NULL;
}
static inline bool client_turn(struct rig *g)
{
    char bytes[65536];
    struct err e;
    bool moved = false;
    if (g->gone || g->client_fd < 0)
        return false;
    ssize_t n = recv(g->client_fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        g->gone = true;
        http2_lost(g->h);
    } else if (n > 0) {
        moved = true;
        g->client_read += (size_t)n;
        ASSERT(http2_feed(g->h, bytes, (size_t)n, 1000, &e) == 0);
    }
    for (struct http2_stream *s; (s = http2_changed(g->h)) != NULL;)
        client_news(g, s);
    http2_write(g->h, &g->out, 1 << 16, 1000);
    n = g->out.size > 0 ? send(g->client_fd, buf_at(&g->out), g->out.size, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (n > 0)
        buf_consume(&g->out, (size_t)n);
    return moved || n > 0;
}
/* Until neither side has anything to say. */
static inline void rig_run(struct rig *g)
{
    struct err e;
    for (int quiet = 0; quiet < 4; quiet++) {
        ASSERT(loop_turn(g->loop, false, &e) >= 0);
        if (client_turn(g))
            quiet = 0;
        grpc_server_check(g->server);
    }
}
static inline void rig_pass(struct rig *g, uint64_t ms) /* time */
{
    g->world.now_us += ms * 1000;
    rig_run(g);
}

/* fields: more lines of the head. body: with its prefix. end: all of it is here. */
static inline void client_begin(struct rig *g, struct rig_answer *a, const char *path, const char *fields)
{
    char text[4096];
    struct http1_head h;
    *a = (struct rig_answer){ .status = -1, .http = -1 };
    buf_init(&a->said, SAID_MAX);
    int size = snprintf(text, sizeof text,
                        "POST %s HTTP/1.1\r\nHost: t\r\n%s%sTransfer-Encoding: chunked\r\n\r\n", path,
                        strstr(fields, "Content-Type") ? "" : "Content-Type: application/grpc\r\n", fields);
    http1_head_init(&h, HTTP1_REQUEST, &g->limits);
    ASSERT(http1_head_feed(&h, text, (size_t)size) == HTTP1_DONE);
    a->s = http2_request(g->h, &h, false);
    ASSERT(a->s);
    http2_stream_own(a->s, a);
    http1_head_done(&h);
}
static inline void client_put(struct rig *g, struct rig_answer *a, struct str data, bool end)
{
    while (data.size > 0 && a->s) {
        size_t size = MIN(http2_stream_room(a->s), data.size);
        http2_stream_put(a->s, str_head(data, size));
        data = str_from(data, size);
        if (data.size > 0) {
            size_t before = g->world.now_us;
            rig_run(g);
            ASSERT(size > 0 || !a->s || before == g->world.now_us);
            if (size == 0 && a->s && http2_stream_room(a->s) == 0)
                return; /* the server takes no more */
        }
    }
    if (end && a->s)
        http2_stream_finish(a->s, STR(""));
}
static inline void client_message(struct rig *g, struct rig_answer *a, bool packed, struct str message, bool end)
{
    char prefix[GRPC_PREFIX_BYTES];
    grpc_wire_prefix((struct grpc_prefix){ packed, (uint32_t)message.size }, prefix);
    client_put(g, a, (struct str){ prefix, sizeof prefix }, false);
    client_put(g, a, message, end);
}
static inline void client_call(struct rig *g, struct rig_answer *a, const char *path, const char *fields,
                               struct str message)
{
    client_begin(g, a, path, fields);
    client_message(g, a, false, message, true);
    rig_run(g);
}
/* The one message of the answer. */
static inline bool answer_says(const struct rig_answer *a, struct str message)
{
    struct grpc_prefix p;
    return a->over && !a->reset && a->http == 200 && a->status == 0 && grpc_wire_prefix_read(buf_str(&a->said), &p) &&
           !p.packed && str_eq(str_from(buf_str(&a->said), GRPC_PREFIX_BYTES), message) && p.size == message.size;
}
static inline bool answer_refused(const struct rig_answer *a, int http, int status, const char *text)
{
    return a->over && !a->reset && a->http == http && a->status == status && a->said.size == 0 && strstr(a->text, text);
}
