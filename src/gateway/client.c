#include "gateway/accept.h"
#include "gateway/mux.h"
#include "gateway/pipe.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READS_PER_STEP = 32,        /* and requests: then others get their turn */
    POOL_MAX = 256,             /* clients kept for the next connections */
    LINGER_US = 2000000,        /* for the client to read our last answer and close */
    LINGER_BYTES_MAX = 1048576, /* of what it sends meanwhile */
    EMPTY_KEPT = 1024, /* memory of a waiting stream's empty buffer */
    HEAD_EXTRA = 1, /* one byte more than the limit, so that the parser sees it passed */
};

/* ---- the end of a connection -------------------------------------------------------------- */

/* The connection, or stream, is not the client's any more. */
static enum step leave(struct client *c)
{
    struct ingress *in = c->ingress;
    ASSERT(c->state != CLIENT_DEAD && !c->x.leased && !c->x.routed);
    loop_cancel(in->loop, &c->timer);
    loop_undefer(in->loop, &c->again);
    c->armed_us = UINT64_MAX;
    list_remove(&in->clients, &c->node);
    if (c->inner)
        list_remove(&in->attempts, &c->inner_node);
    c->state = CLIENT_DEAD;
    return STEP_WAIT;
}

static enum step end(struct client *c, bool cut)
{
    struct ingress *in = c->ingress;
    if (channel_is_stream(&c->net)) {
        channel_close(&c->net, cut);
        return leave(c);
    }
    loop_unwatch(in->loop, &c->io);
    channel_close(&c->net, cut);
    if (c->surplus)
        in->surplus_open--;
    else
        in->counters.connections_open--;
    return leave(c);
}

enum step client_dead(struct client *c) { return end(c, false); }
enum step client_reset(struct client *c) { return end(c, true); }

void client_free(struct client *c)
{
    channel_done(&c->net);
    channel_done(&c->up);
    http1_head_done(&c->head);
    http1_head_done(&c->x.answer);
    free(c->x.note);
    free(c);
}

/* ---- between requests --------------------------------------------------------------------- */

static enum step head_wait(struct client *c)
{
    struct ingress *in = c->ingress;
    c->state = CLIENT_HEAD;
    c->since_us = loop_now_us(in->loop);
    c->head_fed = 0;
    http1_head_reset(&c->head);
    return STEP_ON;
}

enum step client_lets_go(struct client *c)
{
    struct ingress *in = c->ingress;
    bool more = c->net.in.size > 0 || c->net.readable;
    if (channel_is_stream(&c->net))
        return client_dead(c); /* one request each */
    if (c->x.client_keep && !in->stopping && !c->net.hangup)
        return head_wait(c);
    if (c->x.request_done && !more)
        return client_dead(c); /* nothing unread, so closing will not reset what we just wrote */
    (void)shutdown(c->net.fd, SHUT_WR);
    c->state = CLIENT_LINGER;
    c->since_us = loop_now_us(in->loop);
    c->lingered_bytes = 0;
    return STEP_ON;
}

static enum step linger_step(struct client *c)
{
    for (;;) {
        c->lingered_bytes += (uint32_t)c->net.in.size;
        buf_clear(&c->net.in);
        if (c->lingered_bytes > LINGER_BYTES_MAX)
            return client_dead(c);
        if (!client_may_read(c))
            return STEP_WAIT;
        switch (channel_fill(&c->net, c->ingress->room)) {
        case CHANNEL_MOVED: break;
        case CHANNEL_AGAIN: return STEP_WAIT;
        case CHANNEL_FULL:
        case CHANNEL_END:
        case CHANNEL_BROKEN: return client_dead(c);
        }
    }
}

/* HTTP/2 with prior knowledge: the connection goes on in a mux. */
static enum step hand_over(struct client *c)
{
    struct ingress *in = c->ingress;
    loop_unwatch(in->loop, &c->io);
    in->counters.connections_open--;
    mux_open_client(in, channel_give(&c->net), c->address, buf_str(&c->net.in));
    return leave(c);
}

/* Whether the first bytes may be the greeting, or are it. */
static bool greets(struct client *c, bool *ret_whole)
{
    size_t size = MIN(c->net.in.size, (size_t)HTTP2_PREFACE_BYTES);
    c->fresh = size == 0 || memcmp(buf_at(&c->net.in), HTTP2_PREFACE, size) == 0;
    *ret_whole = c->fresh && size == HTTP2_PREFACE_BYTES;
    return c->fresh;
}

static enum step head_fill(struct client *c)
{
    struct ingress *in = c->ingress;
    bool first = c->net.in.size == 0;
    if (!client_may_read(c))
        return STEP_WAIT;
    switch (channel_fill(&c->net, in->limits->http_head_bytes_max + HEAD_EXTRA)) {
    case CHANNEL_MOVED:
        if (first)
            c->since_us = loop_now_us(in->loop);
        return STEP_ON;
    case CHANNEL_AGAIN: return STEP_WAIT;
    case CHANNEL_FULL: /* the parser refuses a head of this size */
    case CHANNEL_END:
    case CHANNEL_BROKEN: break;
    }
    return client_dead(c);
}

static enum step head_step(struct client *c)
{
    for (;;) {
        enum http1_result r = HTTP1_MORE;
        bool greeted = false, greeting = c->fresh && greets(c, &greeted);
        if (greeted)
            return hand_over(c);
        if (c->head_fed == 0 && c->net.in.size > 0 && !client_may_read(c))
            return STEP_WAIT; /* a thousand pipelined requests fit into one buffer */
        if (!greeting && c->net.in.size > c->head_fed) {
            c->head_fed = c->net.in.size;
            r = http1_head_feed(&c->head, buf_at(&c->net.in), c->net.in.size);
        }
        if (r == HTTP1_DONE)
            return exchange_begin(c);
        if (r == HTTP1_BAD) {
            ingress_count_limit(c->ingress, c->head.refusal.text);
            return exchange_refuse_bytes(c, problem_of_status(c->head.refusal.status),
                                         c->head.refusal.text);
        }
        if (c->net.in.size == 0 && c->ingress->stopping && !c->inner)
            return client_dead(c); /* an attempt that was begun is on its way here */
        enum step s = head_fill(c);
        if (s == STEP_WAIT)
            return s;
    }
}

/* ---- time --------------------------------------------------------------------------------- */

static uint64_t client_due_us(const struct client *c)
{
    const struct limits *l = c->ingress->limits;
    switch (c->state) {
    case CLIENT_HEAD:
        return c->since_us + (c->net.in.size > 0 ? l->http_head_ms : l->http_idle_ms) * 1000;
    case CLIENT_QUEUED:
    case CLIENT_EXCHANGE:
    case CLIENT_FINISH: return exchange_due_us(c);
    case CLIENT_TUNNEL: return tunnel_due_us(c);
    case CLIENT_COLLECT:
    case CLIENT_KEPT:
    case CLIENT_REPLAY: return accept_due_us(c);
    case CLIENT_LINGER: return c->since_us + LINGER_US;
    case CLIENT_DEAD: break;
    }
    return UINT64_MAX;
}

/* Mostly a new due time is later than what is armed: then the timer stays, finds at its time that
 * nothing is due, and is set anew. So a request in its usual course touches no timer. */
static void client_arm(struct client *c)
{
    uint64_t due_us = client_due_us(c);
    if (due_us >= c->armed_us)
        return;
    c->armed_us = due_us;
    loop_at(c->ingress->loop, &c->timer, due_us);
}

static enum step client_expire(struct client *c)
{
    struct ingress *in = c->ingress;
    switch (c->state) {
    case CLIENT_HEAD:
        if (c->net.in.size == 0) {
            in->counters.limits[INGRESS_LIMIT_http_idle_ms]++;
            return client_dead(c);
        }
        in->counters.limits[INGRESS_LIMIT_http_head_ms]++;
        return exchange_refuse_bytes(c, PROBLEM_SLOW_REQUEST,
                                     "the request head did not arrive within http_head_ms");
    case CLIENT_QUEUED:
    case CLIENT_EXCHANGE:
    case CLIENT_FINISH: return exchange_expire(c);
    case CLIENT_TUNNEL:
        in->counters.limits[INGRESS_LIMIT_upgrade_idle_ms]++;
        exchange_release(c, false, true);
        exchange_over(c, INVOCATION_TIMEOUT);
        return client_reset(c);
    case CLIENT_COLLECT:
    case CLIENT_KEPT:
    case CLIENT_REPLAY: return accept_expire(c);
    case CLIENT_LINGER: return client_dead(c);
    case CLIENT_DEAD: break;
    }
    UNREACHABLE("a dead client's timer");
}

/* ---- the one place that decides what is next ---------------------------------------------- */

void client_check(const struct client *c)
{
    ASSERT(!c->x.leased || c->state == CLIENT_EXCHANGE || c->state == CLIENT_TUNNEL);
    ASSERT(channel_attached(&c->net) == (c->state != CLIENT_DEAD));
    ASSERT(channel_attached(&c->up) == c->x.leased);
    ASSERT(!c->x.accepted || c->state == CLIENT_COLLECT || c->state == CLIENT_KEPT || c->state == CLIENT_REPLAY ||
           c->state == CLIENT_FINISH);
}

static enum step state_step(struct client *c)
{
    switch (c->state) {
    case CLIENT_HEAD: return head_step(c);
    case CLIENT_QUEUED:
    case CLIENT_EXCHANGE: return exchange_step(c);
    case CLIENT_TUNNEL: return tunnel_step(c);
    case CLIENT_COLLECT:
    case CLIENT_KEPT:
    case CLIENT_REPLAY: return accept_step(c);
    case CLIENT_FINISH: return exchange_finish(c);
    case CLIENT_LINGER: return linger_step(c);
    case CLIENT_DEAD: return STEP_WAIT;
    }
    UNREACHABLE("client state");
}

bool client_may_read(struct client *c)
{
    if (c->budget > 0) {
        c->budget--;
        return true;
    }
    loop_defer(c->ingress->loop, &c->again);
    return false;
}

/* A stream costs its client nothing, and may wait for long: while it does, it holds what it needs. */
static void slim(struct client *c)
{
    struct buf *bufs[] = { &c->net.in, &c->net.out, &c->up.in, &c->up.out };
    size_t held = sizeof *c;
    if (c->state == CLIENT_FINISH)
        channel_clear(&c->up); /* kept for a second try, which will not be */
    for (size_t i = 0; i < COUNT_OF(bufs); i++) {
        buf_relax(bufs[i], EMPTY_KEPT);
        held += bufs[i]->capacity;
    }
    pipe_hold(c->net.pipe, held);
}

void client_go_on(struct client *c, enum step s)
{
    ASSERT(!c->stepping);
    c->stepping = true;
    c->budget = READS_PER_STEP;
    while (s == STEP_ON)
        s = state_step(c);
    c->stepping = false;
    client_check(c);
    if (channel_is_stream(&c->net))
        slim(c);
    if (c->state != CLIENT_DEAD)
        client_arm(c);
    else if (c->ingress->pool.count < POOL_MAX)
        list_push_front(&c->ingress->pool, &c->node);
    else
        client_free(c);
}

void client_step(struct client *c) { client_go_on(c, STEP_ON); }

static void on_ready(struct loop_io *io, uint32_t events)
{
    struct client *c = CONTAINER_OF(io, struct client, io);
    channel_note(&c->net, events);
    client_step(c);
}

static void on_due(struct loop_timer *t)
{
    struct client *c = CONTAINER_OF(t, struct client, timer);
    c->armed_us = UINT64_MAX;
    client_go_on(c,
                 client_due_us(c) <= loop_now_us(c->ingress->loop) ? client_expire(c) : STEP_WAIT);
}

static void on_again(struct loop_task *t) { client_step(CONTAINER_OF(t, struct client, again)); }

/* ---- the beginning ------------------------------------------------------------------------ */

/* A head as it came, once more for the lists that are written anew, our own fields, and a
 * stream's share with one piece's framing. */
size_t client_out_bytes_max(const struct ingress *in)
{
    const struct limits *l = in->limits;
    return 2 * l->http_head_bytes_max + 8192 + in->room + 64 + 2 * l->http_trailer_bytes_max;
}

static struct client *client_new(struct ingress *in)
{
    const struct limits *l = in->limits;
    struct client *c = xcalloc(1, sizeof *c);
    size_t in_max = MAX(l->http_head_bytes_max + HEAD_EXTRA, in->room);
    size_t out_max = client_out_bytes_max(in);
    c->ingress = in;
    c->state = CLIENT_DEAD;
    channel_init(&c->net, in_max, out_max);
    channel_init(&c->up, in_max, out_max);
    http1_head_init(&c->head, HTTP1_REQUEST, l);
    http1_head_init(&c->x.answer, HTTP1_RESPONSE, l);
    c->io.on_ready = on_ready;
    c->timer.on_due = on_due;
    c->again.run = on_again;
    c->armed_us = UINT64_MAX;
    return c;
}

static struct client *client_take(struct ingress *in)
{
    struct list_node *n = list_first(&in->pool);
    if (!n)
        return client_new(in);
    list_remove(&in->pool, n);
    return CONTAINER_OF(n, struct client, node);
}

static void begin(struct client *c, const char *address)
{
    channel_clear(&c->net);
    channel_clear(&c->up);
    memcpy(c->address, address, MIN(strlen(address) + 1, sizeof c->address));
    c->address[sizeof c->address - 1] = '\0';
    c->surplus = c->fresh = c->inner = false;
    list_push(&c->ingress->clients, &c->node);
}

void client_open_stream(struct ingress *in, struct mux *m, struct http2_stream *s,
                        const char *address, void (*on_news)(struct channel *ch))
{
    struct client *c = client_take(in);
    pipe_attach_server(&c->net, m, s, on_news);
    begin(c, address);
    (void)head_wait(c);
    client_step(c);
}

static void open_as(struct ingress *in, int take_fd, const char *address, bool surplus, bool inner)
{
    struct client *c = client_take(in);
    struct err e;
    if (loop_watch(in->loop, &c->io, take_fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &e) < 0) {
        (void)close(take_fd);
        list_push_front(&in->pool, &c->node);
        return;
    }
    channel_attach(&c->net, take_fd);
    begin(c, address);
    c->surplus = surplus;
    c->inner = inner;
    if (inner)
        list_push(&in->attempts, &c->inner_node);
    c->fresh = !surplus && !inner;
    if (surplus)
        in->surplus_open++;
    else
        in->counters.connections_open++;
    (void)head_wait(c);
    client_go_on(c, surplus ? exchange_refuse_bytes(c, PROBLEM_CONNECTIONS,
                                                    "connections_max client connections are open")
                            : STEP_ON);
}

void client_open(struct ingress *in, int take_fd, const char *address, bool surplus)
{
    open_as(in, take_fd, address, surplus, false);
}

void client_adopt(struct ingress *in, int take_fd) { open_as(in, take_fd, "127.0.0.1", false, true); }
