/* peer.h -- one end of a packet socket on the loop: sends in order, never blocks, is bounded.
 *
 * Receives packets and descriptors to pass on. Owns its socket and what waits to be sent.
 * Emits on_packet for each packet that came (the receiver takes the descriptors it wants by setting
 * them to -1; the rest are closed), on_gone once, when the other end is gone or not to be trusted.
 * Refuses more than `waiting_max` packets that the other end does not read. */
#pragma once

#include "os/fd.h"
#include "os/loop.h"

struct peer;

struct peer_events {
    /* A negative result ends it: `why` is passed on to on_gone. */
    int (*on_packet)(void *ctx, struct fd_packet *p, struct err *e);
    void (*on_gone)(void *ctx, const struct err *why); /* why->code is 0 on a plain end of file */
};

/* Takes the socket even on failure. Packets are at most `packet_max` bytes. */
int peer_open(struct loop *l, int take_sock, size_t packet_max, size_t waiting_max,
              const struct peer_events *events, void *ctx, struct peer **ret, struct err *e) MUST_USE;
void peer_free(struct peer *k);
DEFINE_AUTO(peer, struct peer *, peer_free)

/* Sends now or queues. The descriptors are taken, also on failure. */
int peer_send(struct peer *k, const void *data, size_t size, int *take_fds, size_t fd_count,
              struct err *e) MUST_USE;
