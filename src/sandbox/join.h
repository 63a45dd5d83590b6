/* join.h -- the launcher's helper for pods: processes born inside another shell's namespaces, volumes for several.
 *
 * Receives a shell's init and what its pod shares. Owns nothing between calls: a helper process enters those namespaces
 * (the launcher itself may not be able to come back from them), does one thing there and ends.
 * Emits a child of the caller, or mounts as descriptors. Refuses nothing itself: the kernel does.
 * For the single-threaded launcher, which waits for the helper: about a millisecond. */
#pragma once

#include "base/err.h"

#include <sys/types.h>

enum { JOIN_VOLUMES_MAX = 16 };

struct join_place {
    int stage_fd;       /* mount namespace that the child's is a copy of */
    int leader_pidfd;   /* the init whose network, ipc and uts namespaces it shares; -1: they are given */
    int net_fd, ipc_fd, uts_fd; /* an ordinary user may not ask for them by the process */
    const char *name;   /* the host name that they shall have */
    int volumes_fd;     /* mount namespace from join_volumes_make(); -1: none */
    uint32_t volume_count;
};
/* As ns_clone() into new user, pid and mount namespaces, but born in the place. 0: this is the child; positive: its pid,
 * *ret_pidfd is set, and one detached mount for each volume. */
int join_clone(const struct join_place *p, int *ret_pidfd, int *ret_volumes, struct err *e) MUST_USE;

struct join_volumes {
    int stage_fd;
    const uint64_t *bytes; /* of each; hard */
    uint32_t count, owner; /* owner: user and group of their roots, as seen here */
};
/* Memory-backed volumes in a mount namespace of their own, which lives as long as the descriptor; and one detached mount
 * of each. */
int join_volumes_make(const struct join_volumes *v, int *ret_mntns_fd, int *ret_volumes, struct err *e) MUST_USE;
