#include "os/mnt.h"
#include "os/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

int mnt_clone(int dir_fd, const char *path, bool recursive, uint64_t key, struct err *e)
{
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? (unsigned)AT_RECURSIVE : 0) |
                     (path[0] ? 0u : (unsigned)AT_EMPTY_PATH);
    long fd = fault_hit("open_tree") ? -1 : syscall(SYS_open_tree, dir_fd, path, flags, 0, 0, key);
    return fd < 0 ? err_sys(e, "copy mount %s", path) : (int)fd;
}

int mnt_attrs(int dir_fd, const char *path, uint64_t attrs, bool recursive, uint64_t key,
              struct err *e)
{
    struct mount_attr a = { .attr_set = attrs };
    unsigned flags = (recursive ? (unsigned)AT_RECURSIVE : 0) | (path[0] ? 0u : (unsigned)AT_EMPTY_PATH);
    if (fault_hit("mount_setattr") ||
        syscall(SYS_mount_setattr, dir_fd, path, flags, &a, sizeof a, key) < 0)
        return err_sys(e, "mount attributes of %s", path);
    return 0;
}

int mnt_place(int tree_fd, int dir_fd, const char *path, uint64_t key, struct err *e)
{
    unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | (path[0] ? 0u : (unsigned)MOVE_MOUNT_T_EMPTY_PATH);
    if (fault_hit("move_mount") ||
        syscall(SYS_move_mount, tree_fd, "", dir_fd, path, flags, key) < 0)
        return err_sys(e, "mount at %s", path);
    return 0;
}

int mnt_bind(int from_fd, const char *from, int to_fd, const char *to, uint64_t attrs, bool recursive,
             struct err *e)
{
    AUTO_CLOSE int tree = mnt_clone(from_fd, from, recursive, 0, e);
    if (tree < 0)
        return tree;
    if (attrs) {
        int r = mnt_attrs(tree, "", attrs, recursive, 0, e);
        if (r < 0)
            return err_wrap(e, "%s", from);
    }
    return mnt_place(tree, to_fd, to, 0, e);
}

int mnt_new(const char *type, const char *at, unsigned long flags, const char *options, uint64_t key,
            struct err *e)
{
    if (fault_hit("mount") || syscall(SYS_mount, type, at, type, flags, options, key) < 0)
        return err_sys(e, "mount %s at %s", type ? type : "nothing", at);
    return 0;
}

int mnt_private(struct err *e)
{
    if (!fault_hit("mount") && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        return 0;
    if (errno == EINVAL)
        return err_set(e, CODE_PRECONDITION,
                       "/ is no mount: this is a chroot, and no sandbox can be made in one; run hob outside of it, or enter the folder "
                       "as a container does (systemd-nspawn -D FOLDER)");
    return err_sys(e, "keep mounts to ourselves");
}

int mnt_detach(const char *at, uint64_t key, struct err *e)
{
    if (syscall(SYS_umount2, at, MNT_DETACH | UMOUNT_NOFOLLOW, 0, 0, 0, key) < 0)
        return err_sys(e, "detach %s", at);
    return 0;
}

int mnt_pivot_here(uint64_t key, struct err *e)
{
    /* Both names are the new root: the old one is stacked on it, and taken off again by its
     * position, so no directory for it is needed. */
    if (syscall(SYS_pivot_root, ".", ".", 0, 0, 0, key) < 0)
        return err_sys(e, "pivot root");
    if (syscall(SYS_umount2, ".", MNT_DETACH, 0, 0, 0, key) < 0 || chdir("/") < 0)
        return err_sys(e, "detach old root");
    return 0;
}

int mnt_pivot(int fd, struct err *e)
{
    return fchdir(fd) < 0 ? err_sys(e, "new root") : mnt_pivot_here(0, e);
}
