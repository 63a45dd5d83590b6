/* channel.h -- one non-blocking stream socket with what was read and not used, and what is to be
 * written.
 *
 * Receives readiness (edge-triggered: each edge is told once, so the channel remembers it). Owns the
 * two buffers, not the descriptor. Emits bytes and how the peer ended. Refuses to hold more than
 * the caller's bound per read.
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

struct channel {
    int fd; /* -1: none */
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
/* Another descriptor; the buffers are emptied but kept, large ones are given back. */
void channel_attach(struct channel *ch, int fd);
void channel_clear(struct channel *ch);

/* Bits of epoll. */
void channel_note(struct channel *ch, uint32_t events);
/* At most one read, up to `hold` bytes held. */
enum channel_result channel_fill(struct channel *ch, size_t hold) MUST_USE;
enum channel_result channel_flush(struct channel *ch) MUST_USE;
static inline size_t channel_pending(const struct channel *ch) { return ch->out.size - ch->sent; }
/* Tells the peer now that its bytes came. One that writes its head and its body apart waits for that
 * (Nagle's rule), and the kernel would keep it waiting for 40 ms, in case we had something to send. */
void channel_acknowledge(struct channel *ch);
/* What was written cannot be repeated any more, and takes no room. */
void channel_forget_sent(struct channel *ch);
/* Begins to write `out` from its start, on the descriptor attached since. */
void channel_resend(struct channel *ch, int fd);
