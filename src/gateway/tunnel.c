/* An upgraded connection: bytes both ways, as they come, until both sides have ended. */
#include "gateway/client.h"

#include <sys/socket.h>

/* When one side has ended, the other is expected to follow; that is not worth an hour. */
static uint64_t patience_us(const struct client *c)
{
    const struct limits *l = c->ingress->limits;
    bool half = c->half_closed[0] || c->half_closed[1];
    return (half ? MIN(l->http_idle_ms, l->upgrade_idle_ms) : l->upgrade_idle_ms) * 1000;
}

uint64_t tunnel_due_us(const struct client *c) { return c->since_us + patience_us(c); }

enum step tunnel_begin(struct client *c)
{
    struct ingress *in = c->ingress;
    c->state = CLIENT_TUNNEL;
    c->since_us = loop_now_us(in->loop);
    c->half_closed[0] = c->half_closed[1] = false;
    channel_forget_sent(&c->up);
    in->counters.tunnels_open++;
    return STEP_ON;
}

/* From one side to the other as far as it goes. False: a side is broken. */
static bool carry(struct client *c, struct channel *from, struct channel *to, bool *half_closed,
                  uint64_t *bytes)
{
    size_t room = c->ingress->room;
    for (;;) {
        size_t take = MIN(from->in.size, room - MIN(room, channel_pending(to)));
        if (take > 0) {
            buf_append(&to->out, buf_at(&from->in), take);
            ASSERT(!to->out.overflow);
            buf_consume(&from->in, take);
            *bytes += take;
            c->since_us = loop_now_us(c->ingress->loop);
        }
        enum channel_result r = channel_flush(to);
        if (r == CHANNEL_BROKEN)
            return false;
        if (r == CHANNEL_AGAIN && channel_pending(to) >= room)
            return true;
        if (from->in.size > 0)
            continue;
        if (!client_may_read(c))
            return true;
        r = channel_fill(from, room);
        if (r == CHANNEL_MOVED)
            continue;
        if (r == CHANNEL_END && channel_pending(to) == 0 && !*half_closed) {
            *half_closed = true;
            (void)shutdown(to->fd, SHUT_WR);
        }
        return r != CHANNEL_BROKEN;
    }
}

enum step tunnel_step(struct client *c)
{
    struct exchange *x = &c->x;
    bool whole = carry(c, &c->net, &c->up, &c->half_closed[1], &x->record.request_bytes) &&
                 carry(c, &c->up, &c->net, &c->half_closed[0], &x->record.response_bytes);
    if (whole && !(c->half_closed[0] && c->half_closed[1]))
        return STEP_WAIT;
    exchange_release(c, false, true);
    exchange_over(c, whole || c->half_closed[0] ? INVOCATION_OK : INVOCATION_CLIENT_GONE);
    return whole ? client_dead(c) : client_reset(c);
}
