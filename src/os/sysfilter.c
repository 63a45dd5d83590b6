#include "os/sysfilter.h"
#include "os/fault.h"
#include "os/fd.h"

#include <errno.h>
#include <linux/filter.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct sysfilter {
    struct sock_filter *code;
    uint16_t count;
};

/* Every name that this machine's libseccomp does not know is skipped: it is a call of another
 * architecture, or newer than the library, and stays refused. Grouped as the kernel's own
 * documentation does, so that what is missing stands out: everything that mounts, traces, loads
 * code into the kernel, changes clocks, or reaches kernel machinery with a record of escapes (bpf,
 * io_uring, userfaultfd, perf, keyrings). */
static const char *const allowed[] = {
    /* files */
    "access", "chdir", "chmod", "chown", "close", "close_range", "copy_file_range", "creat", "dup",
    "dup2", "dup3", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fchmod",
    "fchmodat", "fchmodat2", "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr", "flistxattr",
    "flock", "fremovexattr", "fsetxattr", "fstat", "fstatfs", "fsync", "ftruncate", "futimesat",
    "getcwd", "getdents", "getdents64", "getxattr", "inotify_add_watch", "inotify_init",
    "inotify_init1", "inotify_rm_watch", "lchown", "lgetxattr", "link", "linkat", "listxattr",
    "llistxattr", "lremovexattr", "lseek", "lsetxattr", "lstat", "mkdir", "mkdirat", "newfstatat",
    "open", "openat", "openat2", "pipe", "pipe2", "pread64", "preadv", "preadv2", "pwrite64",
    "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "removexattr",
    "rename", "renameat", "renameat2", "rmdir", "sendfile", "setxattr", "splice", "stat", "statfs",
    "statx", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs", "tee", "truncate", "umask",
    "unlink", "unlinkat", "utime", "utimensat", "utimes", "vmsplice", "write", "writev", "cachestat",
    /* memory */
    "brk", "get_mempolicy", "madvise", "mbind", "membarrier", "memfd_create", "mincore", "mlock",
    "mlock2", "mlockall", "mmap", "mprotect", "mremap", "msync", "munlock", "munlockall", "munmap",
    "pkey_alloc", "pkey_free", "pkey_mprotect", "process_madvise", "set_mempolicy", "map_shadow_stack",
    /* processes and threads; clone, unshare and personality have rules of their own below */
    "arch_prctl", "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork",
    "futex", "futex_waitv", "futex_wait", "futex_wake", "futex_requeue", "get_robust_list",
    "get_thread_area", "getcpu", "getegid", "geteuid", "getgid", "getgroups", "getpgid", "getpgrp",
    "getpid", "getppid", "getpriority", "getresgid", "getresuid", "getrlimit", "getrusage", "getsid",
    "gettid", "getuid", "ioprio_get", "ioprio_set", "kill", "landlock_add_rule",
    "landlock_create_ruleset", "landlock_restrict_self", "nanosleep", "pause", "pidfd_open",
    "pidfd_send_signal", "prctl", "prlimit64", "restart_syscall", "rseq", "sched_get_priority_max",
    "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam",
    "sched_getscheduler", "sched_rr_get_interval", "sched_setaffinity", "sched_setattr",
    "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp", "set_robust_list",
    "set_thread_area", "set_tid_address", "setfsgid", "setfsuid", "setgid", "setgroups",
    "setpgid", "setpriority", "setregid", "setresgid", "setresuid", "setreuid", "setrlimit",
    "setsid", "setuid", "sysinfo", "tgkill", "time", "times", "tkill", "uname", "vfork", "wait4",
    "waitid", "waitpid",
    /* signals, timers, clocks (reading) */
    "alarm", "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "gettimeofday",
    "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn",
    "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "setitimer", "sigaltstack", "signalfd",
    "signalfd4", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
    "timer_settime", "timerfd_create", "timerfd_gettime", "timerfd_settime",
    /* devices. No terminal of the host is ever inside, so there is none to push input into; and an
     * allow-list by number would have to be as long as what runtimes ask their own pipes and
     * sockets. */
    "ioctl",
    /* waiting */
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait",
    "eventfd", "eventfd2", "poll", "ppoll", "pselect6", "select",
    /* sockets; socket itself below */
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen",
    "recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
    "socketpair",
    /* System V and POSIX IPC, in an IPC namespace of the sandbox's own */
    "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink", "msgctl",
    "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl",
    "shmdt", "shmget",
    /* kernel asynchronous I/O of the old kind (databases); not io_uring */
    "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit",
    /* randomness */
    "getrandom",
};

/* Only with the key: what a stem does between its birth and exec. */
static const char *const keyed[] = { "mount", "umount2", "open_tree", "move_mount", "mount_setattr",
                                     "sethostname", "unshare", "pivot_root", "chroot" };

#define NEW_NAMESPACES                                                                     \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |         \
     CLONE_NEWPID | CLONE_NEWNET)
#define NEW_TIME_NAMESPACE 0x80u /* for unshare; to clone this bit is part of a signal number */

struct rule {
    const char *name;
    struct scmp_arg_cmp compare[2];
    unsigned count;
};

static int rule_add(scmp_filter_ctx ctx, const char *name, unsigned count,
                    const struct scmp_arg_cmp *compare, struct err *e)
{
    int nr = seccomp_syscall_resolve_name(name);
    if (nr == __NR_SCMP_ERROR || nr < 0)
        return 0;
    int r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, count, compare);
    if (r < 0) {
        errno = -r;
        return err_sys(e, "system call filter: %s", name);
    }
    return 0;
}

/* Socket families that a network namespace contains. AF_VSOCK, AF_ALG and their kind are refused:
 * the first is in no namespace and would reach the host. */
static int sockets_add(scmp_filter_ctx ctx, struct err *e)
{
    static const unsigned families[] = { AF_UNIX, AF_INET, AF_INET6 };
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        struct scmp_arg_cmp family = SCMP_A0(SCMP_CMP_EQ, families[i]);
        int r = rule_add(ctx, "socket", 1, &family, e);
        if (r < 0)
            return r;
    }
    /* getifaddrs() and friends: NETLINK_ROUTE only, and only of this namespace */
    struct scmp_arg_cmp netlink[] = { SCMP_A0(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2(SCMP_CMP_EQ, 0) };
    return rule_add(ctx, "socket", 2, netlink, e);
}

static int arguments_add(scmp_filter_ctx ctx, struct err *e)
{
    static const uint64_t personalities[] = { 0x0, 0x8, 0x20000, 0x20008, 0xffffffff };
    const struct rule rules[] = {
        /* clone3 passes its flags by pointer, where no filter can look: it stays ENOSYS and the C
         * library falls back to clone. */
        { "clone", { SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACES | CLONE_PTRACE, 0) }, 1 },
        { "unshare", { SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACES | NEW_TIME_NAMESPACE, 0) }, 1 },
        { "mknod", { SCMP_A1(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFIFO) }, 1 },
        { "mknodat", { SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFIFO) }, 1 },
        { "mknod", { SCMP_A1(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFSOCK) }, 1 },
        { "mknodat", { SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFSOCK) }, 1 },
    };
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        int r = rule_add(ctx, rules[i].name, rules[i].count, rules[i].compare, e);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < COUNT_OF(personalities); i++) {
        struct scmp_arg_cmp persona = SCMP_A0(SCMP_CMP_EQ, personalities[i]);
        int r = rule_add(ctx, "personality", 1, &persona, e);
        if (r < 0)
            return r;
    }
    return sockets_add(ctx, e);
}

#if defined(__SANITIZE_ADDRESS__)
#define LEAKS_ARE_SOUGHT 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEAKS_ARE_SOUGHT 1
#endif
#endif

/* The leak sanitizer looks at its own process through ptrace. */
static int sanitizer_add(scmp_filter_ctx ctx, struct err *e)
{
#ifdef LEAKS_ARE_SOUGHT
    return rule_add(ctx, "ptrace", 0, NULL, e);
#else
    (void)ctx, (void)e;
    return 0;
#endif
}

static int rules_add(scmp_filter_ctx ctx, const uint64_t *key, struct err *e)
{
    for (size_t i = 0; i < COUNT_OF(allowed); i++) {
        int r = rule_add(ctx, allowed[i], 0, NULL, e);
        if (r < 0)
            return r;
    }
    if (!key) {
        int r = sanitizer_add(ctx, e);
        return r < 0 ? r : arguments_add(ctx, e);
    }
    for (size_t i = 0; i < COUNT_OF(keyed); i++) {
        struct scmp_arg_cmp with_key = SCMP_A5(SCMP_CMP_EQ, *key);
        int r = rule_add(ctx, keyed[i], 1, &with_key, e);
        if (r < 0)
            return r;
    }
    return arguments_add(ctx, e);
}

/* libseccomp writes the program to a descriptor; we keep it in memory. */
static int program_take(scmp_filter_ctx ctx, struct sysfilter *f, struct err *e)
{
    AUTO_CLOSE int fd = fault_hit("memfd") ? -1 : memfd_create("sysfilter", MFD_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "system call filter: memory file");
    int r = seccomp_export_bpf(ctx, fd);
    if (r < 0) {
        errno = -r;
        return err_sys(e, "system call filter: export");
    }
    off_t size = lseek(fd, 0, SEEK_END);
    size_t count = (size_t)size / sizeof *f->code;
    ASSERT(size > 0 && count <= BPF_MAXINSNS);
    f->code = xcalloc(count, sizeof *f->code);
    f->count = (uint16_t)count;
    if (pread(fd, f->code, (size_t)size, 0) != size)
        return err_sys(e, "system call filter: read back");
    return 0;
}

static int filter_open(const uint64_t *key, struct sysfilter **ret, struct err *e)
{
    AUTO(sysfilter) struct sysfilter *f = xcalloc(1, sizeof *f);
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (!ctx || fault_hit("seccomp_init")) {
        seccomp_release(ctx);
        return err_set(e, CODE_INTERNAL, "system call filter: libseccomp does not start");
    }
    /* A search tree instead of a list, and no wrong-architecture calls (a 32-bit program would see
     * other numbers): those end the process. */
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    int r = rules_add(ctx, key, e);
    if (r == 0)
        r = program_take(ctx, f, e);
    seccomp_release(ctx);
    if (r == 0)
        *ret = TAKE(f);
    return r;
}

int sysfilter_open(uint64_t key, struct sysfilter **ret, struct err *e)
{
    return filter_open(&key, ret, e);
}

int sysfilter_role_open(struct sysfilter **ret, struct err *e) { return filter_open(NULL, ret, e); }

void sysfilter_free(struct sysfilter *f)
{
    if (!f)
        return;
    free(f->code);
    free(f);
}

int sysfilter_install(const struct sysfilter *f, struct err *e)
{
    struct sock_fprog program = { .len = f->count, .filter = f->code };
    if (prctl(PR_SET_SECCOMP, 2 /* SECCOMP_MODE_FILTER */, &program, 0, 0) < 0)
        return err_sys(e, "system call filter: install");
    return 0;
}

size_t sysfilter_size(const struct sysfilter *f) { return f->count; }
