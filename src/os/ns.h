/* ns.h -- processes in namespaces of their own, and what is given up before foreign code runs.
 *
 * Receives the namespaces wanted (CLONE_NEW… bits) and id maps. Owns nothing.
 * Emits a child with a pidfd. Refuses nothing itself: the kernel does.
 * For single-threaded processes: clone, setns and credentials act on the calling thread. */
#pragma once

#include "base/err.h"

#include <sys/types.h>

/* fork() into new namespaces; with CLONE_PARENT as a sibling. 0: this is the child; positive: the child's pid, *ret_pidfd is set. */
int ns_clone(uint64_t flags, int *ret_pidfd, struct err *e) MUST_USE;
int ns_pidfd_open(pid_t pid, struct err *e) MUST_USE; /* the descriptor */
int ns_signal(int pidfd, int signo, struct err *e) MUST_USE; /* 1: it is gone already */

struct ns_exit {
    int status; /* exit code, or 128 + the signal that killed it */
    uint64_t cpu_us, rss_max_bytes; /* it and what it reaped */
};
/* 0: ended, reaped and *ret set; 1: still running (only if !may_wait). */
int ns_reap(int pidfd, bool may_wait, struct ns_exit *ret, struct err *e) MUST_USE;

/* Ends this process when its parent does. Returns false if the parent is gone already (it reads
 * `alive_fd`, whose other end only the parent holds; -1: no check). Credentials changed later clear it. */
bool ns_die_with_parent(int alive_fd);

struct ns_map {
    uint32_t inside, outside, count;
};
/* Writes uid_map and gid_map of `pid` (0: this process, which then maps only itself). */
int ns_map_write(pid_t pid, const struct ns_map *uid, const struct ns_map *gid, bool deny_setgroups,
                 struct err *e) MUST_USE;
/* An ordinary user becomes root of a user namespace of its own, with its own mount namespace. */
int ns_become_root(struct err *e) MUST_USE;
/* 1: CAP_SYS_ADMIN over the initial user namespace's ids; 0: not. */
int ns_privileged(struct err *e) MUST_USE;
bool ns_has_capability(int capability);

int ns_loopback_up(struct err *e) MUST_USE; /* of the network namespace we are in */
/* `count` unconnected TCP sockets (IPv4, non-blocking) made inside netns_fd. We go there and come back
 * to home_netns_fd, or, where we may not come back (-1), send a child. Single-threaded callers. */
int ns_sockets_make(int netns_fd, int home_netns_fd, int *ret_fds, size_t count, struct err *e) MUST_USE;

int ns_bounding_drop(struct err *e) MUST_USE;     /* the whole bounding set; needs CAP_SETPCAP */
int ns_capabilities_drop(struct err *e) MUST_USE; /* permitted, effective, inheritable, ambient */
int ns_limit_set(int resource, uint64_t want, struct err *e) MUST_USE; /* soft and hard, never raised */
void ns_signals_reset(void); /* default action for every signal, none blocked */
