#include "gateway/channel.h"
#include "os/fault.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CHUNK_FIRST = 4096,   /* a request or answer of usual size comes in one read */
    CAPACITY_KEPT = 8192, /* per buffer, from one request to the next */
};

void channel_init(struct channel *ch, size_t in_max, size_t out_max)
{
    *ch = (struct channel){ .fd = -1, .chunk = CHUNK_FIRST };
    buf_init(&ch->in, in_max);
    buf_init(&ch->out, out_max);
}

void channel_done(struct channel *ch)
{
    buf_done(&ch->in);
    buf_done(&ch->out);
}

void channel_clear(struct channel *ch)
{
    struct buf *both[] = { &ch->in, &ch->out };
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        if (both[i]->capacity > CAPACITY_KEPT)
            buf_done(both[i]);
        else
            buf_clear(both[i]);
    }
    ch->sent = 0;
    ch->chunk = CHUNK_FIRST;
}

void channel_attach_ops(struct channel *ch, const struct channel_ops *ops)
{
    ASSERT(!channel_attached(ch));
    ch->ops = ops;
    ch->readable = ch->hangup = ch->ended = ch->broken = false;
    ch->writable = true;
}

void channel_rewind(struct channel *ch)
{
    ASSERT(ch->keep || ch->sent == 0);
    ch->sent = 0;
    ch->keep = false;
    buf_clear(&ch->in);
}

void channel_close(struct channel *ch, bool cut)
{
    ch->ops->close(ch, cut);
    ch->ops = NULL;
}

int channel_give(struct channel *ch)
{
    ch->ops = NULL;
    return TAKE_FD(ch->fd);
}

void channel_acknowledge(struct channel *ch)
{
    const int on = 1;
    if (ch->fd < 0)
        return;
    (void)setsockopt(ch->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on); /* a hint; not for AF_UNIX */
}

void channel_forget_sent(struct channel *ch)
{
    buf_consume(&ch->out, ch->sent);
    ch->sent = 0;
    ch->keep = false;
}

void channel_note(struct channel *ch, uint32_t events)
{
    const uint32_t over = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
    if (events & (EPOLLIN | over))
        ch->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        ch->writable = true;
    if ((events & over) && !ch->hangup) {
        struct pollfd p = { .fd = ch->fd, .events = POLLRDHUP };
        ch->hangup = poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
    }
}

static enum channel_result broken(struct channel *ch)
{
    ch->broken = ch->hangup = true;
    ch->readable = ch->writable = false;
    return CHANNEL_BROKEN;
}

/* ---- a socket ----------------------------------------------------------------------------- */

static enum channel_result socket_fill(struct channel *ch, size_t hold)
{
    size_t room;
    if (ch->broken || ch->ended)
        return ch->broken ? CHANNEL_BROKEN : CHANNEL_END;
    if (ch->in.size >= MIN(hold, ch->in.max))
        return CHANNEL_FULL;
    if (!ch->readable)
        return CHANNEL_AGAIN;

    char *at = buf_reserve(&ch->in, MIN(ch->chunk, hold - ch->in.size), &room);
    room = MIN(room, hold - ch->in.size);
    ASSERT(at && room > 0);
    ssize_t n = -1;
    if (!fault_hit("recv"))
        do
            n = recv(ch->fd, at, room, MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        ch->readable = false;
        return CHANNEL_AGAIN;
    }
    if (n < 0)
        return broken(ch);
    if (n == 0) {
        ch->ended = ch->hangup = true;
        return CHANNEL_END;
    }
    buf_commit(&ch->in, (size_t)n);
    /* Less than asked for means empty: the next edge comes with the next byte. Only the end of the
     * stream, when it has been announced already, is not announced again. */
    if ((size_t)n < room)
        ch->readable = ch->hangup;
    else
        ch->chunk = MIN(ch->chunk * 2, ch->in.max);
    return CHANNEL_MOVED;
}

void channel_sent(struct channel *ch, size_t size)
{
    if (ch->keep)
        ch->sent += size;
    else
        buf_consume(&ch->out, size);
}

static enum channel_result socket_flush(struct channel *ch)
{
    if (ch->broken)
        return CHANNEL_BROKEN;
    while (channel_pending(ch) > 0) {
        if (!ch->writable)
            return CHANNEL_AGAIN;
        ssize_t n = fault_hit("send") ? -1
                                      : send(ch->fd, buf_at(&ch->out) + ch->sent,
                                             channel_pending(ch), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            ch->writable = false;
            return CHANNEL_AGAIN;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return CHANNEL_BROKEN; /* what it sent before may still be read */
        channel_sent(ch, (size_t)n);
    }
    return CHANNEL_MOVED;
}

static void socket_close(struct channel *ch, bool cut)
{
    /* With a mere close, an answer that ends with its connection would look complete. */
    const struct linger now = { .l_onoff = 1, .l_linger = 0 };
    if (cut)
        (void)setsockopt(ch->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(TAKE_FD(ch->fd));
}

void channel_attach(struct channel *ch, int fd)
{
    static const struct channel_ops socket_ops = { socket_fill, socket_flush, socket_close };
    channel_attach_ops(ch, &socket_ops);
    ch->fd = fd;
}
