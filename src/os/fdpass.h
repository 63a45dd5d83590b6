/* fdpass.h -- messages with descriptors over a SOCK_SEQPACKET unix socket.
 *
 * Receives whole messages of fixed structures, with up to FDPASS_MAX descriptors each.
 * Owns nothing: sent descriptors stay the sender's (the other side gets duplicates), received ones
 * are the caller's, close-on-exec.
 * Refuses a message that does not fit the reader's structure, or that carries more descriptors than
 * it expects: both ends are hob, so either is a broken or captured peer.
 */
#pragma once

#include "base/err.h"

enum { FDPASS_MAX = 8 };
enum { FDPASS_AGAIN = 0, FDPASS_MESSAGE = 1, FDPASS_CLOSED = 2 };

/* A connected pair, both ends close-on-exec and blocking. */
int fdpass_pair(int ret_fds[2], struct err *e) MUST_USE;

/* FDPASS_MESSAGE: sent. FDPASS_AGAIN: would block (`wait` false, or the socket is non-blocking). The
 * other end gone: -CODE_UNAVAILABLE. */
int fdpass_send(int socket_fd, const void *data, size_t size, const int *fds, size_t fd_count,
                bool wait, struct err *e) MUST_USE;

/* One message into `into`; FDPASS_AGAIN, FDPASS_MESSAGE or FDPASS_CLOSED. On anything but
 * FDPASS_MESSAGE the outputs are untouched and no descriptor is left open. */
int fdpass_receive(int socket_fd, void *into, size_t room, size_t *ret_size, int *ret_fds,
                   size_t fd_room, size_t *ret_fd_count, struct err *e) MUST_USE;
