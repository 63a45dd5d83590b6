/* channel.h -- one stream of HTTP/1.1 text in each direction, with what was read and not used, and
 * what is to be written. Behind it is a non-blocking socket, or one stream of an HTTP/2 connection
 * (pipe.h): whoever reads and writes here does not know which.
 *
 * Receives readiness (edge-triggered: each edge is told once, so the channel remembers it). Owns the
 * two buffers, and from attach to close or give the socket or stream. Emits bytes and how the peer
 * ended. Refuses to hold more than the caller's bound per read.
 *
 * Readiness is a hint. That the peer hung up is confirmed before it is believed: an event may be left
 * over from another descriptor that had the same slot in the loop.
 */
#pragma once

#include "base/buf.h"

enum channel_result {
    CHANNEL_MOVED, /* bytes came, or all bytes went */
    CHANNEL_AGAIN, /* an edge will tell when to go on */
    CHANNEL_FULL,  /* holds as much as it may */
    CHANNEL_END,   /* the peer sends no more */
    CHANNEL_BROKEN,
};

struct channel;
struct channel_ops { /* as the functions below */
    enum channel_result (*fill)(struct channel *ch, size_t hold);
    enum channel_result (*flush)(struct channel *ch);
    void (*close)(struct channel *ch, bool cut);
};

struct channel {
    const struct channel_ops *ops; /* NULL: nothing is attached */
    int fd;                        /* a socket's; else -1 */
    struct pipe *pipe;             /* a stream's; else NULL */
    bool readable, writable;
    bool hangup; /* the peer will send no more, or nothing works; unread bytes may remain */
    bool ended;  /* all it sent has been read */
    bool broken;
    bool keep;    /* written bytes stay in `out`, to be written again elsewhere */
    size_t sent;  /* of out, already written; 0 unless keep */
    size_t chunk; /* next read */
    struct buf in, out;
};

void channel_init(struct channel *ch, size_t in_max, size_t out_max); /* makes no allocation */
void channel_done(struct channel *ch);
void channel_attach(struct channel *ch, int fd); /* a socket; what is in the buffers stays */
void channel_clear(struct channel *ch); /* empties the buffers; gives large ones back */
/* Makes the channel one of `ops`, all ready; what is in the buffers stays. For pipe.c. */
void channel_attach_ops(struct channel *ch, const struct channel_ops *ops);
/* cut: so that the peer does not take what it got for the whole. */
void channel_close(struct channel *ch, bool cut);
int channel_give(struct channel *ch); /* a socket: it is the caller's now */
static inline bool channel_attached(const struct channel *ch) { return ch->ops != NULL; }
static inline bool channel_is_stream(const struct channel *ch) { return ch->pipe != NULL; }

/* Bits of epoll. */
void channel_note(struct channel *ch, uint32_t events);
/* At most one read, up to `hold` bytes held. */
static inline enum channel_result channel_fill(struct channel *ch, size_t hold)
{
    return ch->ops->fill(ch, hold);
}
static inline enum channel_result channel_flush(struct channel *ch)
{
    return ch->ops->flush(ch);
}
/* Bytes that were written are gone from `out`, or stay and count as sent. For the ops. */
void channel_sent(struct channel *ch, size_t size);
static inline size_t channel_pending(const struct channel *ch) { return ch->out.size - ch->sent; }
/* Tells the peer now that its bytes came. One that writes its head and its body apart waits for that
 * (Nagle's rule), and the kernel would keep it waiting for 40 ms, in case we had something to send. */
void channel_acknowledge(struct channel *ch);
/* What was written cannot be repeated any more, and takes no room. */
void channel_forget_sent(struct channel *ch);
/* Begins to write `out` from its start, as after an attach. */
void channel_rewind(struct channel *ch);
