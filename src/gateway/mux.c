#include "gateway/mux.h"
#include "gateway/pipe.h"
#include "net/http_guess.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    READS_PER_STEP = 16,
    OUT_HOLD = 65536, /* written to the socket at a time; and how much may wait before we stop to read */
    LINGER_US = 500000, /* for the peer to read our GOAWAY: closing before it has would reset it away */
    LINGER_READS_MAX = 64,
};
/* Servers of gRPC take more frequent ones in a silence for an attack. */
#define PING_AGAIN_US UINT64_C(310000000)

struct mux {
    struct ingress *ingress;
    struct list_node node;
    struct http2 *h;
    struct channel net;
    struct loop_io io;
    struct loop_timer timer;
    struct loop_task again;
    struct meter write_meter;
    enum http2_side side;
    uint64_t idle_us;    /* without a stream since; UINT64_MAX: it has some */
    uint64_t waiting_us; /* in the middle of a head since; UINT64_MAX: it is not */
    uint64_t stuck_us;   /* a function that takes no streams has kept requests waiting since; UINT64_MAX: no */
    uint64_t heard_us;   /* a function: its last bytes, or the first request after none */
    uint64_t pinged_us;  /* it was asked, and has said nothing since; UINT64_MAX: no */
    uint64_t next_ping_us; /* not before */
    uint64_t linger_us;  /* all is said, and it is closed then; UINT64_MAX: not yet */
    uint32_t lingered;   /* reads since */
    bool counted;        /* the limit that ended it */
    bool greeted;        /* HTTP/2 came from the function */
    char address[48];    /* a client's */
    char instance[64];
};

struct http2 *mux_session(struct mux *m) { return m->h; }
const struct limits *mux_head_limits(const struct mux *m) { return &m->ingress->head_limits; }
void mux_touch(struct mux *m) { loop_defer(m->ingress->loop, &m->again); }

static struct list *list_of(struct mux *m)
{
    return m->side == HTTP2_SERVER ? &m->ingress->client_muxes : &m->ingress->function_muxes;
}

struct mux *mux_of(struct list_node *n) { return CONTAINER_OF(n, struct mux, node); }

static uint64_t now_of(const struct mux *m) { return loop_now_us(m->ingress->loop); }

/* ---- the end ------------------------------------------------------------------------------ */

static void net_close(struct mux *m)
{
    struct ingress *in = m->ingress;
    if (!channel_attached(&m->net))
        return;
    loop_unwatch(in->loop, &m->io);
    loop_cancel(in->loop, &m->timer);
    channel_close(&m->net, false);
    if (m->side == HTTP2_SERVER)
        in->counters.connections_open--;
    http2_lost(m->h);
}

void mux_free(struct mux *m)
{
    net_close(m);
    loop_undefer(m->ingress->loop, &m->again);
    list_remove(list_of(m), &m->node);
    http2_free(m->h);
    channel_done(&m->net);
    free(m);
}

static void count_limit(struct mux *m)
{
    enum http2_limit l = http2_reached(m->h);
    uint64_t *limits = m->ingress->counters.limits;
    limits[INGRESS_LIMIT_h2_streams_all_max] = m->ingress->h2.streams_refused;
    limits[INGRESS_LIMIT_h2_held_bytes_max] = m->ingress->h2.bytes_refused;
    if (l == HTTP2_LIMIT_NONE || m->counted)
        return;
    m->counted = true;
    ingress_count_limit(m->ingress, http2_limit_name(l));
}

/* ---- bytes -------------------------------------------------------------------------------- */

static void on_client_news(struct channel *ch) { client_step(CONTAINER_OF(ch, struct client, net)); }

static void deliver(struct mux *m)
{
    for (struct http2_stream *s; (s = http2_changed(m->h)) != NULL;) {
        struct pipe *p = http2_stream_owner(s);
        if (p)
            pipe_tell(p);
        else
            client_open_stream(m->ingress, m, s, m->address, on_client_news);
    }
}

/* False: there is nothing more to read now. */
static bool receive(struct mux *m)
{
    struct err e;
    if (channel_pending(&m->net) >= OUT_HOLD)
        return false; /* it does not read what we answer */
    switch (channel_fill(&m->net, m->ingress->room)) {
    case CHANNEL_MOVED: break;
    case CHANNEL_AGAIN: return false;
    case CHANNEL_FULL:
    case CHANNEL_END:
    case CHANNEL_BROKEN: net_close(m); return false;
    }
    m->heard_us = now_of(m);
    m->pinged_us = UINT64_MAX;
    if (m->linger_us != UINT64_MAX) {
        buf_clear(&m->net.in);
        if (++m->lingered > LINGER_READS_MAX)
            net_close(m);
        return channel_attached(&m->net);
    }
    m->greeted |= http_guess_is_h2(buf_str(&m->net.in));
    int r = http2_feed(m->h, buf_at(&m->net.in), m->net.in.size, now_of(m) / 1000, &e);
    buf_clear(&m->net.in);
    return r >= 0;
}

static void transmit(struct mux *m)
{
    enum channel_result r = CHANNEL_MOVED;
    while (r == CHANNEL_MOVED) {
        http2_write(m->h, &m->net.out, OUT_HOLD, now_of(m) / 1000);
        size_t before = channel_pending(&m->net);
        if (before == 0)
            break;
        r = channel_flush(&m->net);
        meter_moved(&m->write_meter, before - channel_pending(&m->net), now_of(m));
    }
    if (r == CHANNEL_AGAIN)
        meter_wait(&m->write_meter, now_of(m));
    if (r == CHANNEL_BROKEN)
        net_close(m);
}

/* ---- time --------------------------------------------------------------------------------- */

/* An idle connection would keep a function that has been told to stop from stopping. */
static uint64_t idle_most_us(const struct mux *m)
{
    const struct limits *l = m->ingress->limits;
    return (m->side == HTTP2_SERVER ? l->http_idle_ms : l->h2_function_idle_ms) * 1000;
}

/* When a function that runs requests in silence is asked, or given up. */
static uint64_t ping_due_us(const struct mux *m)
{
    const struct limits *l = m->ingress->limits;
    if (m->side != HTTP2_CLIENT || m->linger_us != UINT64_MAX || http2_streams(m->h) == 0)
        return UINT64_MAX;
    if (m->pinged_us != UINT64_MAX)
        return m->pinged_us + l->h2_function_pong_ms * 1000;
    return MAX(m->heard_us + l->h2_function_ping_ms * 1000, m->next_ping_us);
}

static void ping_due(struct mux *m)
{
    struct ingress *in = m->ingress;
    if (m->pinged_us == UINT64_MAX) {
        http2_ping(m->h);
        m->pinged_us = now_of(m);
        m->next_ping_us = m->pinged_us + PING_AGAIN_US;
        return;
    }
    in->counters.limits[INGRESS_LIMIT_h2_function_pong_ms]++;
    in->backend->ops->mute(in->backend, m->instance);
    net_close(m);
}

static uint64_t due_us(const struct mux *m)
{
    const struct limits *l = m->ingress->limits;
    uint64_t due = meter_due_us(&m->write_meter);
    if (m->idle_us != UINT64_MAX)
        due = MIN(due, m->idle_us + idle_most_us(m));
    if (m->waiting_us != UINT64_MAX)
        due = MIN(due, m->waiting_us + l->http_head_ms * 1000);
    if (m->stuck_us != UINT64_MAX)
        due = MIN(due, m->stuck_us + l->h2_function_wait_ms * 1000);
    due = MIN(due, ping_due_us(m));
    return MIN(due, m->linger_us);
}

/* What it is waiting for may have begun, or ended, since. */
static void note_time(struct mux *m)
{
    uint64_t now_us = now_of(m);
    bool lingers = m->linger_us != UINT64_MAX;
    if (m->idle_us != UINT64_MAX && http2_streams(m->h) > 0)
        m->heard_us = now_us;
    m->idle_us = lingers || http2_streams(m->h) > 0 ? UINT64_MAX : MIN(m->idle_us, now_us);
    /* A function may be busy for as long as its requests' deadlines let it. */
    bool hurried = m->side == HTTP2_SERVER && !lingers;
    m->waiting_us = hurried && http2_waiting(m->h) ? MIN(m->waiting_us, now_us) : UINT64_MAX;
    m->stuck_us = !lingers && http2_stuck(m->h) ? MIN(m->stuck_us, now_us) : UINT64_MAX;
    uint64_t due = due_us(m);
    if (due == UINT64_MAX)
        loop_cancel(m->ingress->loop, &m->timer);
    else
        loop_at(m->ingress->loop, &m->timer, due);
}

static void say_goodbye(struct mux *m)
{
    (void)shutdown(m->net.fd, SHUT_WR);
    m->linger_us = now_of(m) + LINGER_US;
    m->idle_us = m->waiting_us = UINT64_MAX;
    http2_lost(m->h);
}

static void on_due(struct loop_timer *t)
{
    struct mux *m = CONTAINER_OF(t, struct mux, timer);
    const struct limits *l = m->ingress->limits;
    uint64_t now_us = now_of(m), *limits = m->ingress->counters.limits;
    if (m->linger_us <= now_us) {
        net_close(m);
    } else if (meter_due_us(&m->write_meter) <= now_us) {
        limits[INGRESS_LIMIT_http_body_rate_bytes_s]++;
        net_close(m);
    } else if (m->waiting_us != UINT64_MAX && m->waiting_us + l->http_head_ms * 1000 <= now_us) {
        limits[INGRESS_LIMIT_http_head_ms]++;
        net_close(m);
    } else if (m->stuck_us != UINT64_MAX && m->stuck_us + l->h2_function_wait_ms * 1000 <= now_us) {
        limits[INGRESS_LIMIT_h2_function_wait_ms]++;
        net_close(m); /* its requests were never sent: each is tried on one more connection */
    } else if (ping_due_us(m) <= now_us) {
        ping_due(m);
    } else if (m->idle_us != UINT64_MAX && m->idle_us + idle_most_us(m) <= now_us) {
        limits[INGRESS_LIMIT_http_idle_ms] += m->side == HTTP2_SERVER;
        http2_shut(m->h);
        transmit(m);
        if (channel_attached(&m->net))
            say_goodbye(m);
    }
    mux_touch(m);
}

/* ---- the one place where something happens ------------------------------------------------ */

static bool is_over(const struct mux *m)
{
    return http2_over(m->h) || (m->ingress->stopping && http2_streams(m->h) == 0);
}

static void mux_step(struct mux *m)
{
    int reads = READS_PER_STEP;
    while (channel_attached(&m->net) && reads-- > 0 && receive(m))
        deliver(m);
    if (reads < 0)
        mux_touch(m);
    deliver(m);
    if (channel_attached(&m->net))
        transmit(m);
    count_limit(m);
    if (channel_attached(&m->net) && m->linger_us == UINT64_MAX && is_over(m) &&
        channel_pending(&m->net) == 0)
        say_goodbye(m);
    deliver(m); /* those that were lost, and those that may go on */
    if (channel_attached(&m->net))
        note_time(m);
    else if (http2_streams(m->h) == 0)
        mux_free(m);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
    struct mux *m = CONTAINER_OF(io, struct mux, io);
    channel_note(&m->net, events);
    mux_step(m);
}

static void on_again(struct loop_task *t) { mux_step(CONTAINER_OF(t, struct mux, again)); }

/* ---- the beginning ------------------------------------------------------------------------ */

static struct mux *mux_open(struct ingress *in, enum http2_side side, int take_fd, struct err *e)
{
    struct mux *m = xcalloc(1, sizeof *m);
    m->ingress = in;
    m->side = side;
    m->h = http2_new(side, in->limits);
    channel_init(&m->net, in->room, 2 * OUT_HOLD);
    channel_attach(&m->net, take_fd);
    m->io.on_ready = on_ready;
    m->timer.on_due = on_due;
    m->again.run = on_again;
    m->idle_us = now_of(m);
    m->waiting_us = m->linger_us = m->stuck_us = m->pinged_us = UINT64_MAX;
    m->heard_us = m->idle_us;
    if (side == HTTP2_SERVER)
        http2_share(m->h, &in->h2);
    meter_init(&m->write_meter, side == HTTP2_SERVER ? in->limits->http_body_rate_bytes_s : 0,
               in->limits->http_idle_ms * 1000);
    list_push(list_of(m), &m->node);
    if (side == HTTP2_SERVER)
        in->counters.connections_open++;
    if (loop_watch(in->loop, &m->io, take_fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, e) < 0) {
        mux_free(m);
        return NULL;
    }
    return m;
}

void mux_open_client(struct ingress *in, int take_fd, const char *address, struct str read)
{
    struct err e;
    struct mux *m = mux_open(in, HTTP2_SERVER, take_fd, &e);
    if (!m)
        return;
    snprintf(m->address, sizeof m->address, "%s", address);
    (void)!http2_feed(m->h, read.at, read.size, now_of(m) / 1000, &e); /* it says so itself */
    m->net.readable = true;
    mux_touch(m);
}

struct mux *mux_open_function(struct ingress *in, int take_fd, const char *instance, struct err *e)
{
    struct mux *m = mux_open(in, HTTP2_CLIENT, take_fd, e);
    if (m)
        snprintf(m->instance, sizeof m->instance, "%s", instance);
    return m;
}

struct mux *mux_find(struct ingress *in, const char *instance)
{
    LIST_EACH(&in->function_muxes, n, tmp) {
        struct mux *m = mux_of(n);
        if (channel_attached(&m->net) &&
            strcmp(m->instance, instance) == 0 && http2_takes_requests(m->h))
            return m;
    }
    return NULL;
}

void mux_stop(struct mux *m)
{
    if (m->side == HTTP2_SERVER)
        http2_shut(m->h);
    mux_touch(m);
}

bool mux_is_foreign(const struct mux *m)
{
    return m->side == HTTP2_CLIENT && !m->greeted && (http2_over(m->h) || !channel_attached(&m->net));
}

bool mux_idle(const struct mux *m)
{
    return http2_streams(m->h) == 0 && channel_pending(&m->net) == 0;
}
