/* rootfs.h -- what a sandbox sees as "/".
 *
 * Three steps, by three processes of falling privilege:
 *   stage  (launcher, once): a mount namespace that holds only what sandboxes are made of: the host's
 *          /usr, a few files of /etc, six devices, the artifact store, the control groups. A shell's own
 *          namespace is a copy of this one, not of the host's, however many mounts that has.
 *   enter  (init, per shell, ahead of time): the namespace's root holds three mounts: fn/, the
 *          function's root with all that bound in and /proc, /dev, /tmp; store/, the artifacts; scratch/.
 *   fill, seal (stem, per start): the sizes, the artifacts, the files; fn/ becomes read-only and the
 *          stem's root, so that no path leads to the other two any more.
 *   clear  (init, once the function runs): the other two go. They would have cost the start 60 to 130
 *          us (an unmount waits for all CPUs), so it happens behind its back.
 *
 * Owns nothing beyond the namespaces' lives: mounts end with their last process. */
#pragma once

#include "os/cgroup.h"
#include "sandbox/folders.h"

struct rootfs_stage {
    const char *store_dir;
    const struct cgroup_tree *cgroups;
};
/* A descriptor of the stage's mount namespace. */
int rootfs_stage_open(const struct rootfs_stage *s, int *ret_mntns_fd, struct err *e) MUST_USE;

/* In a fresh user and mount namespace copied from the stage. cgroup_id: the group's name, as given
 * to cgroup_open(). full_map: the ids 0..65535 exist inside. */
int rootfs_enter(const struct cgroup_tree *cgroups, const char *cgroup_id, bool full_map,
                 struct err *e) MUST_USE;
/* The static part of the Landlock rules; see landlock.h. */
int rootfs_grant(int ruleset_fd, struct err *e) MUST_USE;

/* ruleset_fd: -1 without Landlock. key: see sysfilter.h. */
struct rootfs_pod {
    bool joined;        /* the host name is another's to set */
    const int *volumes; /* detached mounts, each to be placed once */
    size_t volume_count;
};
int rootfs_fill(const struct order *p, int ruleset_fd, const struct folders_owner *owner,
                const struct rootfs_pod *pod, uint64_t key, struct err *e) MUST_USE;
/* pivot: really change the namespace's root and clear at once, instead of chroot. For who must make
 * a user namespace yet: the kernel lets nobody do so whose root is not the namespace's. */
int rootfs_seal(bool pivot, uint64_t key, struct err *e) MUST_USE;
void rootfs_clear(uint64_t key);
