/* fd.h -- descriptors: pairs of packet sockets, passing descriptors over them, small files.
 *
 * Receives descriptors that its callers own. Owns nothing between calls.
 * Emits descriptors that are close-on-exec, always.
 * Refuses more than FD_PACKET_MAX descriptors in one packet, and every packet that was cut. */
#pragma once

#include "base/err.h"

#include <sys/types.h>

enum {
    FD_PACKET_MAX = 80, /* descriptors in one packet; the kernel's own bound is 253 */
};

/* A connected pair of SOCK_SEQPACKET sockets, blocking. */
int fd_pair(int *ret_a, int *ret_b, struct err *e) MUST_USE;
int fd_pipe(int *ret_read, int *ret_write, struct err *e) MUST_USE;
int fd_nonblock(int fd, struct err *e) MUST_USE;
/* Memory with these bytes, as a file that nobody can change or cut any more. Returns its descriptor. */
int fd_memory(const char *name, const void *at, size_t size, struct err *e) MUST_USE;

struct fd_packet {
    void *at; /* room for, or bytes of, the payload */
    size_t size;
    int fds[FD_PACKET_MAX];
    size_t fd_count;
    pid_t pid; /* received: the sender's, in our pid namespace, if SO_PASSCRED is on; else 0 */
};

/* 0: sent (the descriptors stay the caller's), 1: would block, negative: error. */
int fd_packet_send(int sock, const struct fd_packet *p, struct err *e) MUST_USE;
/* Receives into p->at (p->size is the room). 0: end of file, 1: a packet (size, fds, pid are set and
 * the descriptors are the caller's), 2: would block, negative: error; so is one that does not fit. */
int fd_packet_recv(int sock, struct fd_packet *p, struct err *e) MUST_USE;
void fd_packet_close(struct fd_packet *p); /* every descriptor in it that is still >= 0 */

/* One write of a short text, as control files under /proc and /sys want it. */
int fd_text_write(int fd, const char *text, struct err *e) MUST_USE;
int fd_path_write(int dir_fd, const char *path, const char *text, struct err *e) MUST_USE;
void fd_path_try(int dir_fd, const char *path, const char *text); /* where failing is fine */
/* Reads at most size - 1 bytes from the start and ends them with NUL; returns how many. */
int fd_path_read(int dir_fd, const char *path, char *into, size_t size, struct err *e) MUST_USE;
int fd_text_read(int fd, char *into, size_t size, struct err *e) MUST_USE;
