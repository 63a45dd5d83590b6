/* mnt.h -- mounts, by descriptor where the kernel lets us.
 *
 * Owns nothing. The functions take an optional `key`: the sixth argument of the system call, which
 * the kernel ignores and which a stem's own system call filter asks for (docs/decisions/0002). */
#pragma once

#include "base/err.h"

#define MNT_RO_SAFE (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

/* A detached copy of the tree at dir_fd/path ("" for dir_fd itself); its descriptor. */
int mnt_clone(int dir_fd, const char *path, bool recursive, uint64_t key, struct err *e) MUST_USE;
/* attrs: MOUNT_ATTR_… to set. */
int mnt_attrs(int dir_fd, const char *path, uint64_t attrs, bool recursive, uint64_t key,
              struct err *e) MUST_USE;
int mnt_place(int tree_fd, int dir_fd, const char *path, uint64_t key, struct err *e) MUST_USE;
/* Clone, set attributes, place. */
int mnt_bind(int from_fd, const char *from, int to_fd, const char *to, uint64_t attrs, bool recursive,
             struct err *e) MUST_USE;
int mnt_new(const char *type, const char *at, unsigned long flags, const char *options, uint64_t key,
            struct err *e) MUST_USE;
/* What is mounted here from now on stays here. Refused in a chroot, whose root the kernel takes for no mount: -CODE_PRECONDITION. */
int mnt_private(struct err *e) MUST_USE;
int mnt_detach(const char *at, uint64_t key, struct err *e) MUST_USE;
/* The calling process's root becomes `fd`, and nothing of the old one stays mounted in the namespace. */
int mnt_pivot(int fd, struct err *e) MUST_USE;
int mnt_pivot_here(uint64_t key, struct err *e) MUST_USE; /* the working directory, a mount's root */
