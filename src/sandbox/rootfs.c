#include "sandbox/rootfs.h"
#include "os/fault.h"
#include "os/fd.h"
#include "os/landlock.h"
#include "os/mnt.h"
#include "os/ns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME_BEFORE "shell\n" /* in /etc/hostname until the order comes */

/* In the namespace's root, once it is one. */
#define FN      "/fn"
#define STORE   "/store"
#define SCRATCH "/scratch"
#define FOLDERS SCRATCH "/folders"

enum {
    ROOT_BYTES = 8 * 1024 * 1024, /* the root itself: /etc, and mount points */
    ROOT_INODES = 4096,
    SCRATCH_INODES_MIN = 1024,
    SCRATCH_INODES_MAX = 1 << 20, /* an inode costs a kilobyte of kernel memory */
};

/* What of the host goes into the stage, under the same name. */
static const struct part {
    const char *path;
    bool required;
    uint64_t attrs;
} parts[] = {
    { "/usr", true, MNT_RO_SAFE },
    { "/bin", true, MNT_RO_SAFE },
    { "/sbin", true, MNT_RO_SAFE },
    { "/lib", true, MNT_RO_SAFE },
    { "/lib32", false, MNT_RO_SAFE },
    { "/lib64", false, MNT_RO_SAFE },
    { "/etc/alternatives", false, MNT_RO_SAFE | MOUNT_ATTR_NOEXEC },
    { "/etc/ld.so.cache", false, MNT_RO_SAFE | MOUNT_ATTR_NOEXEC },
    { "/etc/ssl/certs", false, MNT_RO_SAFE | MOUNT_ATTR_NOEXEC },
    { "/etc/ssl/openssl.cnf", false, MNT_RO_SAFE | MOUNT_ATTR_NOEXEC },
    /* A device node stays writable on a read-only mount; its mode and owner do not. */
    { "/dev/null", true, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC },
    { "/dev/zero", true, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC },
    { "/dev/full", true, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC },
    { "/dev/random", true, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC },
    { "/dev/urandom", true, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC },
    { "/dev/tty", true, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC },
};

static const char *const kind_dirs[CGROUP_KINDS] = { "cpu", "cpuacct", "memory", "pids" };

/* ---- small steps, relative to a directory ----------------------------------------------- */

static int dir_add(int root, const char *path, mode_t mode, struct err *e)
{
    if (fault_hit("mkdir") || (mkdirat(root, path, mode) < 0 && errno != EEXIST))
        return err_sys(e, "make /%s", path);
    return 0;
}

static int file_add(int root, const char *path, const char *text, struct err *e)
{
    AUTO_CLOSE int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || fault_hit("open"))
        return err_sys(e, "make /%s", path);
    return text[0] && fd_text_write(fd, text, e) < 0 ? err_wrap(e, "/%s", path) : 0;
}

static int link_add(int root, const char *path, const char *to, struct err *e)
{
    if (symlinkat(to, root, path) < 0 && errno != EEXIST)
        return err_sys(e, "make /%s", path);
    return 0;
}

/* Every directory above path. */
static int parents_add(int root, const char *path, struct err *e)
{
    char part[PATH_MAX];
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, STR_FMT, (int)(slash - path), path);
        int r = dir_add(root, part, 0755, e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* An empty file or directory to mount `like` (a descriptor) on. */
static int mountpoint_add(int root, const char *path, int like, struct err *e)
{
    struct stat st;
    if (fstat(like, &st) < 0)
        return err_sys(e, "/%s", path);
    if (S_ISDIR(st.st_mode) && mkdirat(root, path, 0755) == 0)
        return 0; /* most have their parents already */
    int r = parents_add(root, path, e);
    if (r < 0)
        return r;
    return S_ISDIR(st.st_mode) ? dir_add(root, path, 0755, e) : file_add(root, path, "", e);
}

/* ---- the stage -------------------------------------------------------------------------- */

/* A part is a link on hosts with a merged /usr, otherwise a mount. It is taken while the host's tree
 * is still in sight, and placed when the stage's root exists. */
struct taken {
    int tree; /* -1: not there, or a link */
    char link[128];
};

static int part_take(const struct part *p, struct taken *ret, struct err *e)
{
    struct stat st;
    *ret = (struct taken){ .tree = -1 };
    if (lstat(p->path, &st) < 0) {
        if (errno == ENOENT && !p->required)
            return 0;
        return err_sys(e, "%s", p->path);
    }
    if (S_ISLNK(st.st_mode) && strchr(p->path + 1, '/') == NULL) {
        ssize_t n = readlink(p->path, ret->link, sizeof ret->link - 1);
        if (n < 0)
            return err_sys(e, "%s", p->path);
        return 0;
    }
    ret->tree = mnt_clone(AT_FDCWD, p->path, true, 0, e);
    if (ret->tree < 0)
        return ret->tree;
    return mnt_attrs(ret->tree, "", p->attrs, true, 0, e);
}

static int part_place(int root, const struct part *p, const struct taken *t, struct err *e)
{
    if (t->link[0])
        return link_add(root, p->path + 1, t->link, e);
    if (t->tree < 0)
        return 0;
    int r = mountpoint_add(root, p->path + 1, t->tree, e);
    return r < 0 ? r : mnt_place(t->tree, root, p->path + 1, 0, e);
}

static int tree_place(int root, const char *path, int tree, struct err *e)
{
    int r = mountpoint_add(root, path, tree, e);
    return r < 0 ? r : mnt_place(tree, root, path, 0, e);
}

static int groups_place(int root, const struct cgroup_tree *t, struct err *e)
{
    char path[64];
    for (int k = 0; k < CGROUP_KINDS; k++) {
        const char *dir = cgroup_tree_path(t, (enum cgroup_kind)k);
        if (!dir)
            continue;
        snprintf(path, sizeof path, ".cgroup/%s", kind_dirs[k]);
        AUTO_CLOSE int tree = mnt_clone(AT_FDCWD, dir, false, 0, e);
        int r = tree < 0 ? tree : mnt_attrs(tree, "", MNT_RO_SAFE | MOUNT_ATTR_NOEXEC, false, 0, e);
        if (r >= 0)
            r = tree_place(root, path, tree, e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The kernel lets a user namespace mount /proc only if a whole one is in sight already. */
static int proc_take(struct err *e)
{
    struct err plain = { 0 };
    int tree = mnt_clone(AT_FDCWD, "/proc", false, 0, &plain); /* refused if what covers it is locked */
    return tree >= 0 ? tree : mnt_clone(AT_FDCWD, "/proc", true, 0, e);
}

static int stage_build(const struct rootfs_stage *s, struct err *e)
{
    struct taken taken[COUNT_OF(parts)];
    if (unshare(CLONE_NEWNS) < 0)
        return err_sys(e, "mount namespace");
    int r = mnt_private(e);
    for (size_t i = 0; r >= 0 && i < COUNT_OF(parts); i++)
        r = part_take(&parts[i], &taken[i], e);
    if (r < 0)
        return r;
    int proc = proc_take(e);
    if (proc < 0)
        return proc;
    int store = mnt_clone(AT_FDCWD, s->store_dir, false, 0, e);
    if (store < 0 || (r = mnt_attrs(store, "", MNT_RO_SAFE, false, 0, e)) < 0)
        return err_wrap(e, "artifact store");

    r = mnt_new("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=4096,mode=0755", 0, e);
    if (r < 0)
        return r;
    int root = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return err_sys(e, "stage");
    for (size_t i = 0; r >= 0 && i < COUNT_OF(parts); i++)
        r = part_place(root, &parts[i], &taken[i], e);
    if (r >= 0)
        r = tree_place(root, "proc", proc, e);
    if (r >= 0)
        r = tree_place(root, ".store", store, e);
    if (r >= 0)
        r = groups_place(root, s->cgroups, e);
    if (r >= 0)
        r = dir_add(root, ".new", 0755, e);
    return r < 0 ? r : mnt_pivot(root, e);
}

/* The builder reports, then holds the namespace until we have opened it. Its descriptors end with it. */
static _Noreturn void builder_main(const struct rootfs_stage *s, int report_fd, pid_t parent)
{
    struct err e = { 0 };
    if (!ns_die_with_parent(-1) || getppid() != parent)
        _exit(0); /* it died before the kernel knew that we want to hear of it: nobody will end us */
    int r = stage_build(s, &e);
    ASSERT((r < 0) == (e.code != CODE_OK));
    if (write(report_fd, &e, sizeof e) == (ssize_t)sizeof e)
        (void)pause();
    _exit(0);
}

int rootfs_stage_open(const struct rootfs_stage *s, int *ret_mntns_fd, struct err *e)
{
    AUTO_CLOSE int reading = -1, writing = -1, pidfd = -1;
    struct err report;
    struct ns_exit gone;
    char path[64];
    int r = fd_pipe(&reading, &writing, e);
    if (r < 0)
        return r;
    const pid_t self = getpid();
    int pid = ns_clone(0, &pidfd, e);
    if (pid == 0)
        builder_main(s, writing, self);
    if (pid < 0)
        return err_wrap(e, "stage");
    close(TAKE_FD(writing));

    if (read(reading, &report, sizeof report) != (ssize_t)sizeof report) {
        r = err_set(e, CODE_INTERNAL, "stage: its builder ended without a word");
    } else if (report.code != CODE_OK) {
        *e = report;
        r = err_wrap(e, "stage");
    } else {
        snprintf(path, sizeof path, "/proc/%d/ns/mnt", pid);
        int fd = fault_hit("open") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        r = fd < 0 ? err_sys(e, "stage: %s", path) : 0;
        if (fd >= 0)
            *ret_mntns_fd = fd;
    }
    struct err ignored = { 0 };
    if (ns_signal(pidfd, SIGKILL, &ignored) == 0)
        ASSERT(ns_reap(pidfd, true, &gone, &ignored) == 0);
    return r;
}

/* ---- a shell's root --------------------------------------------------------------------- */

static int etc_add(int root, struct err *e)
{
    static const struct {
        const char *path, *text;
    } files[] = {
        { "etc/passwd", "root:x:0:0:root:/:/usr/sbin/nologin\n"
                        "nonroot:x:65532:65532:nonroot:/tmp:/usr/sbin/nologin\n"
                        "nobody:x:65534:65534:nobody:/tmp:/usr/sbin/nologin\n" },
        { "etc/group", "root:x:0:\ntty:x:5:\nnonroot:x:65532:\nnogroup:x:65534:\n" },
        { "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n" },
        { "etc/resolv.conf", "# no name service: this network namespace has loopback only\n" },
        { "etc/hosts", "127.0.0.1 localhost\n::1 localhost\n" },
        { "etc/hostname", NAME_BEFORE }, /* has its page already when the real name comes */
    };
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        int r = file_add(root, files[i].path, files[i].text, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int skeleton_add(int root, struct err *e)
{
    static const char *const dirs[] = {
        "etc", "etc/ssl", "proc", "dev",    "dev/pts", "dev/shm", "sys",   "sys/fs", "tmp", "var",
        "run", "home",    "mnt",  "opt",    "srv",     "root",  "var/empty", "var/lib",
    };
    static const struct {
        const char *path, *to;
    } links[] = {
        { "dev/fd", "/proc/self/fd" },         { "dev/stdin", "/proc/self/fd/0" },
        { "dev/stdout", "/proc/self/fd/1" },   { "dev/stderr", "/proc/self/fd/2" },
        { "dev/ptmx", "pts/ptmx" },            { "etc/mtab", "/proc/mounts" },
        { "var/tmp", "/tmp" },                 { "var/run", "/run" },
    };
    int r = 0;
    for (size_t i = 0; r >= 0 && i < COUNT_OF(dirs); i++)
        r = dir_add(root, dirs[i], 0755, e);
    for (size_t i = 0; r >= 0 && i < COUNT_OF(links); i++)
        r = link_add(root, links[i].path, links[i].to, e);
    return r < 0 ? r : etc_add(root, e);
}

static int parts_bind(int root, struct err *e)
{
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        const char *path = parts[i].path;
        struct stat st;
        struct taken t = { .tree = -1 };
        int r;
        if (lstat(path, &st) < 0)
            continue; /* the stage has what there is */
        if (S_ISLNK(st.st_mode)) {
            if (readlink(path, t.link, sizeof t.link - 1) < 0)
                return err_sys(e, "%s", path);
            r = part_place(root, &parts[i], &t, e);
        } else {
            t.tree = mnt_clone(AT_FDCWD, path, true, 0, e);
            r = t.tree < 0 ? t.tree : part_place(root, &parts[i], &t, e);
            fd_auto(&t.tree);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

/* What of /proc tells about, or acts on, the host beyond this process tree. The kernel refuses most of
 * it to an unmapped root anyway; this is the second lock. */
static int proc_mask(int proc, struct err *e)
{
    static const char *const hidden_files[] = { "kcore", "keys", "key-users", "timer_list",
                                                "sched_debug", "sysrq-trigger", "latency_stats",
                                                "kallsyms", "kpagecount", "kpageflags",
                                                "kpagecgroup", "vmallocinfo", "slabinfo" };
    static const char *const hidden_dirs[] = { "acpi", "scsi", "asound" };
    static const char *const read_only[] = { "sys", "irq", "bus", "fs" };
    int r = 0;
    for (size_t i = 0; r >= 0 && i < COUNT_OF(hidden_files); i++)
        if (faccessat(proc, hidden_files[i], F_OK, 0) == 0)
            r = mnt_bind(AT_FDCWD, "/dev/null", proc, hidden_files[i], 0, false, e);
    for (size_t i = 0; r >= 0 && i < COUNT_OF(hidden_dirs); i++)
        if (faccessat(proc, hidden_dirs[i], F_OK, 0) == 0)
            r = mnt_bind(AT_FDCWD, "/.new" FN "/var/empty", proc, hidden_dirs[i],
                         MNT_RO_SAFE | MOUNT_ATTR_NOEXEC, false, e);
    for (size_t i = 0; r >= 0 && i < COUNT_OF(read_only); i++)
        if (faccessat(proc, read_only[i], F_OK, 0) == 0)
            r = mnt_bind(proc, read_only[i], proc, read_only[i], MNT_RO_SAFE | MOUNT_ATTR_NOEXEC,
                         true, e);
    return r;
}

static int proc_add(struct err *e)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    /* hidepid: the function sees itself, not the init beside it */
    int r = mnt_new("proc", "/.new" FN "/proc", flags, "hidepid=invisible", 0, e);
    if (r < 0)
        return r;
    AUTO_CLOSE int proc = open("/.new" FN "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return proc < 0 ? err_sys(e, "/proc") : proc_mask(proc, e);
}

/* /sys/fs/cgroup as programs know it: version 2, one directory; version 1, one per controller on a tmpfs. */
static int groups_add(int root, const struct cgroup_tree *t, const char *id, struct err *e)
{
    char from[160], to[64];
    bool any = false;
    for (int k = 0; k < CGROUP_KINDS; k++)
        any |= cgroup_tree_has(t, (enum cgroup_kind)k);
    int r = dir_add(root, "sys/fs/cgroup", 0755, e);
    if (r < 0 || !any)
        return r;
    if (cgroup_tree_is_unified(t)) {
        int kind = cgroup_tree_has(t, CGROUP_MEMORY) ? CGROUP_MEMORY : CGROUP_PIDS;
        snprintf(from, sizeof from, "/.cgroup/%s/%s", kind_dirs[kind], id);
        return mnt_bind(AT_FDCWD, from, root, "sys/fs/cgroup", 0, false, e);
    }
    r = mnt_new("tmpfs", "/.new" FN "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                "size=64k,nr_inodes=64,mode=0755", 0, e);
    for (int k = 0; r >= 0 && k < CGROUP_KINDS; k++) {
        if (!cgroup_tree_has(t, (enum cgroup_kind)k))
            continue;
        snprintf(from, sizeof from, "/.cgroup/%s/%s", kind_dirs[k], id);
        snprintf(to, sizeof to, "sys/fs/cgroup/%s", kind_dirs[k]);
        r = dir_add(root, to, 0755, e);
        if (r >= 0)
            r = mnt_bind(AT_FDCWD, from, root, to, 0, false, e);
    }
    if (r >= 0)
        r = mnt_attrs(root, "sys/fs/cgroup", MOUNT_ATTR_RDONLY, false, 0, e);
    return r;
}

/* One tmpfs behind /tmp, /dev/shm and every scratch without a size of its own, so that their sum is
 * hard. Its real size comes with the order. */
static int scratch_add(int top, int root, struct err *e)
{
    static const struct {
        const char *dir, *at;
    } shared[] = { { "scratch/tmp", "tmp" }, { "scratch/shm", "dev/shm" } };
    int r = mnt_new("tmpfs", "/.new" SCRATCH, MS_NOSUID | MS_NODEV, "size=64k,mode=0755", 0, e);
    for (size_t i = 0; r >= 0 && i < COUNT_OF(shared); i++) {
        r = dir_add(top, shared[i].dir, 0755, e);
        if (r >= 0 && fchmodat(top, shared[i].dir, 01777, 0) < 0)
            r = err_sys(e, "/%s", shared[i].at);
        if (r >= 0)
            r = mnt_bind(top, shared[i].dir, root, shared[i].at, 0, false, e);
    }
    return r;
}

/* The namespace's root: three empty places. */
static int top_open(struct err *e)
{
    int r = mnt_new("tmpfs", "/.new", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,nr_inodes=16,mode=0755",
                    0, e);
    if (r < 0)
        return r;
    AUTO_CLOSE int top = open("/.new", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return err_sys(e, "root");
    r = dir_add(top, "fn", 0755, e);
    if (r >= 0)
        r = dir_add(top, "store", 0755, e);
    if (r >= 0)
        r = dir_add(top, "scratch", 0755, e);
    return r < 0 ? r : TAKE_FD(top);
}

int rootfs_enter(const struct cgroup_tree *cgroups, const char *cgroup_id, bool full_map,
                 struct err *e)
{
    char options[64];
    AUTO_CLOSE int top = top_open(e);
    if (top < 0)
        return top;
    snprintf(options, sizeof options, "size=%d,nr_inodes=%d,mode=0755", ROOT_BYTES, ROOT_INODES);
    int r = mnt_new("tmpfs", "/.new" FN, MS_NOSUID | MS_NODEV, options, 0, e);
    if (r < 0)
        return r;
    AUTO_CLOSE int root = open("/.new" FN, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return err_sys(e, "root");
    r = skeleton_add(root, e);
    if (r >= 0)
        r = parts_bind(root, e);
    if (r >= 0)
        r = proc_add(e);
    if (r >= 0)
        r = mnt_new("devpts", "/.new" FN "/dev/pts", MS_NOSUID | MS_NOEXEC,
                    full_map ? "newinstance,ptmxmode=0666,mode=0620,gid=5"
                             : "newinstance,ptmxmode=0666,mode=0620",
                    0, e);
    if (r >= 0)
        r = groups_add(root, cgroups, cgroup_id, e);
    if (r >= 0)
        r = scratch_add(top, root, e);
    if (r >= 0)
        r = mnt_bind(AT_FDCWD, "/.store", top, "store", 0, false, e);
    return r < 0 ? r : mnt_pivot(top, e);
}

int rootfs_grant(int ruleset_fd, struct err *e)
{
    static const struct {
        const char *path;
        enum landlock_grant grant;
    } rules[] = {
        { FN, LANDLOCK_GRANT_READ },           { FN "/tmp", LANDLOCK_GRANT_ALL },
        { FN "/dev/shm", LANDLOCK_GRANT_ALL }, { FN "/dev", LANDLOCK_GRANT_DEVICE },
        { FN "/proc", LANDLOCK_GRANT_DEVICE },
    };
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        int r = landlock_grant(ruleset_fd, rules[i].path, rules[i].grant, e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- filling it, per start -------------------------------------------------------------- */

/* Never through a symbolic link: a bundle's content is foreign, and we still have privilege here. */
static int open_beneath(int dir, const char *path, uint64_t flags)
{
    struct open_how how = { .flags = flags | O_CLOEXEC,
                            .mode = flags & O_CREAT ? 0444 : 0,
                            .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
                                       RESOLVE_BENEATH };
    return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

/* The place at `path` inside: found, or made (a directory, or an empty file) with its parents. */
static int place_open(int root, const char *path, bool as_dir, struct err *e)
{
    char part[PATH_MAX];
    path++; /* order_parse() saw to the slash */
    int fd = open_beneath(root, path[0] ? path : ".", O_PATH);
    if (fd >= 0)
        return fd;
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, STR_FMT, (int)(slash - path), path);
        AUTO_CLOSE int known = open_beneath(root, part, O_PATH | O_DIRECTORY);
        if (known < 0 && (errno != ENOENT || mkdirat(root, part, 0755) < 0))
            return err_sys(e, "make /%s", part);
    }
    if (as_dir && mkdirat(root, path, 0755) < 0)
        return err_sys(e, "make /%s", path);
    fd = open_beneath(root, path, as_dir ? O_PATH | O_DIRECTORY : O_WRONLY | O_CREAT | O_EXCL);
    return fd < 0 ? err_sys(e, "make /%s", path) : fd;
}

static int artifact_mount(int store, int root, const struct sandbox_mount *m, uint64_t key,
                          struct err *e)
{
    struct stat st;
    AUTO_CLOSE int from = open_beneath(store, m->source, O_PATH);
    if (from < 0 || fstat(from, &st) < 0)
        return err_sys(e, "artifact %s", m->source);
    AUTO_CLOSE int to = place_open(root, m->target, S_ISDIR(st.st_mode), e);
    if (to < 0)
        return err_wrap(e, "mount %s", m->target);
    AUTO_CLOSE int tree = mnt_clone(from, "", false, key, e); /* read-only as the store's mount is */
    int r = tree < 0 ? tree : mnt_place(tree, to, "", key, e);
    return r < 0 ? err_wrap(e, "mount %s", m->target) : 0;
}

static void scratch_options(uint64_t bytes, char *into, size_t size)
{
    uint64_t inodes = MIN(MAX(bytes / 4096, (uint64_t)SCRATCH_INODES_MIN), (uint64_t)SCRATCH_INODES_MAX);
    snprintf(into, size, "size=%llu,nr_inodes=%llu,mode=0755", (unsigned long long)bytes,
             (unsigned long long)inodes);
}

static int scratch_mount(int root, const struct sandbox_scratch *s, uint32_t index, uint64_t key,
                         struct err *e)
{
    char own[64], options[96];
    AUTO_CLOSE int to = place_open(root, s->target, true, e);
    if (to < 0)
        return err_wrap(e, "scratch");
    snprintf(own, sizeof own, SCRATCH "/%u", s->same ? s->same - 1 : index);
    if (s->same) { /* it was made for the other */
        AUTO_CLOSE int again = mnt_clone(AT_FDCWD, own, false, key, e);
        return again < 0 ? again : mnt_place(again, to, "", key, e);
    }
    if (mkdir(own, 0755) < 0)
        return err_sys(e, "scratch %s", s->target);
    if (s->size_bytes > 0) {
        scratch_options(s->size_bytes, options, sizeof options);
        int r = mnt_new("tmpfs", own, MS_NOSUID | MS_NODEV, options, key, e);
        if (r < 0)
            return r;
    }
    if (chmod(own, 01777) < 0)
        return err_sys(e, "scratch %s", s->target);
    AUTO_CLOSE int tree = mnt_clone(AT_FDCWD, own, false, key, e);
    return tree < 0 ? tree : mnt_place(tree, to, "", key, e);
}

/* The first mount of a volume is the one that came; another of the same is a copy of that. */
static int volume_mount(int root, const struct order *p, uint32_t index, const struct rootfs_pod *pod, uint64_t key,
                        struct err *e)
{
    const struct sandbox_scratch *s = &p->scratches[index];
    AUTO_CLOSE int to = place_open(root, s->target, true, e);
    if (to < 0)
        return err_wrap(e, "volume");
    for (uint32_t k = 0; k < index; k++) {
        if (p->scratches[k].volume != s->volume)
            continue;
        AUTO_CLOSE int first = place_open(root, p->scratches[k].target, true, e);
        AUTO_CLOSE int tree = first < 0 ? -1 : mnt_clone(first, "", false, key, e);
        return tree < 0 ? -(int)e->code : mnt_place(tree, to, "", key, e);
    }
    ASSERT(s->volume <= pod->volume_count);
    return mnt_place(pod->volumes[s->volume - 1], to, "", key, e);
}

/* When all are there: a copy of one that is read-only would be so, too. */
static int scratches_lock(int root, const struct order *p, uint64_t key, struct err *e)
{
    for (uint32_t i = 0; i < p->head->scratch_count; i++) {
        if (!p->scratches[i].read_only)
            continue;
        AUTO_CLOSE int at = place_open(root, p->scratches[i].target, true, e);
        int r = at < 0 ? at : mnt_attrs(at, "", MNT_RO_SAFE, false, key, e);
        if (r < 0)
            return err_wrap(e, "scratch %s", p->scratches[i].target);
    }
    return 0;
}

static int scratches_mount(int root, const struct order *p, int ruleset_fd, const struct rootfs_pod *pod, uint64_t key,
                           struct err *e)
{
    char path[PATH_MAX + 8];
    for (uint32_t i = 0; i < p->head->scratch_count; i++) {
        int r = p->scratches[i].volume ? volume_mount(root, p, i, pod, key, e)
                                       : scratch_mount(root, &p->scratches[i], i, key, e);
        snprintf(path, sizeof path, FN "%s", p->scratches[i].target);
        if (r >= 0 && ruleset_fd >= 0)
            r = landlock_grant(ruleset_fd, path, LANDLOCK_GRANT_ALL, e);
        if (r < 0)
            return r;
    }
    return scratches_lock(root, p, key, e);
}

static int folders_mount(int root, const struct order *p, const struct folders_owner *owner, uint64_t key,
                         struct err *e)
{
    AUTO_CLOSE int top = -1;
    int r = p->head->folder_count ? folders_make(p, FOLDERS, owner, key, &top, e) : 0;
    for (uint32_t i = 0; r >= 0 && i < p->head->folder_count; i++) {
        const struct sandbox_folder *f = &p->folders[i];
        AUTO_CLOSE int to = place_open(root, f->target, !f->alone, e);
        AUTO_CLOSE int tree = to < 0 ? -1 : folders_take(top, p, i, key, e);
        r = to < 0 ? to : tree < 0 ? tree : mnt_place(tree, to, "", key, e);
        if (r < 0)
            return err_wrap(e, "files at %s", f->target);
    }
    return r;
}

static int name_set(int root, const char *id, bool joined, uint64_t key, struct err *e)
{
    char line[128];
    if (!joined && syscall(SYS_sethostname, id, strlen(id), 0, 0, 0, key) < 0)
        return err_sys(e, "host name");
    snprintf(line, sizeof line, "%s\n", id);
    AUTO_CLOSE int name = openat(root, "etc/hostname", O_WRONLY | O_CLOEXEC);
    if (name < 0)
        return err_sys(e, "/etc/hostname");
    int r = fd_text_write(name, line, e);
    if (r < 0)
        return r;
    if (strlen(line) < strlen(NAME_BEFORE) && ftruncate(name, (off_t)strlen(line)) < 0)
        return err_sys(e, "/etc/hostname");
    AUTO_CLOSE int hosts = openat(root, "etc/hosts", O_WRONLY | O_APPEND | O_CLOEXEC);
    snprintf(line, sizeof line, "127.0.0.1 %s\n", id);
    return hosts < 0 ? err_sys(e, "/etc/hosts") : fd_text_write(hosts, line, e);
}

int rootfs_fill(const struct order *p, int ruleset_fd, const struct folders_owner *owner, const struct rootfs_pod *pod, uint64_t key,
                struct err *e)
{
    char options[96];
    scratch_options(p->shared_bytes, options, sizeof options);
    int r = mnt_new(NULL, SCRATCH, MS_REMOUNT | MS_NOSUID | MS_NODEV, options, key, e);
    if (r < 0)
        return r;
    AUTO_CLOSE int store = open(STORE, O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO_CLOSE int root = open(FN, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (store < 0 || root < 0)
        return err_sys(e, "root");
    r = name_set(root, p->id, pod->joined, key, e);
    for (uint32_t i = 0; r >= 0 && i < p->head->mount_count; i++)
        r = artifact_mount(store, root, &p->mounts[i], key, e);
    if (r >= 0)
        r = scratches_mount(root, p, ruleset_fd, pod, key, e);
    if (r >= 0)
        r = folders_mount(root, p, owner, key, e);
    if (r >= 0) { /* if it can be made; entering it tells whether it is one */
        struct err ignored = { 0 };
        AUTO_CLOSE int dir = place_open(root, p->workdir, true, &ignored);
        (void)dir;
    }
    return r;
}

int rootfs_seal(bool pivot, uint64_t key, struct err *e)
{
    int r = mnt_attrs(AT_FDCWD, FN, MOUNT_ATTR_RDONLY, false, key, e);
    if (r < 0)
        return r;
    if (chdir(FN) < 0)
        return err_sys(e, "enter root");
    if (pivot)
        return mnt_pivot_here(key, e);
    /* Out of here leads only a descriptor from outside, and none is left; or a second chroot, for
     * which neither the capability nor the system call is left. */
    if (syscall(SYS_chroot, ".", 0, 0, 0, 0, key) < 0)
        return err_sys(e, "change root");
    return 0;
}

void rootfs_clear(uint64_t key)
{
    struct err e = { 0 };
    if (mnt_detach(STORE, key, &e) < 0 || mnt_detach(SCRATCH, key, &e) < 0)
        return; /* pivoted: they went with the old root */
}
