#include "os/ns.h"
#include "os/fault.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

int ns_clone(uint64_t flags, int *ret_pidfd, struct err *e)
{
    int pidfd = -1;
    struct clone_args args = { .flags = flags | CLONE_PIDFD,
                               .pidfd = (uint64_t)(uintptr_t)&pidfd,
                               .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD };
    if (fault_hit("clone3"))
        return err_sys(e, "clone");
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0)
        return err_sys(e, "clone");
    if (pid > 0)
        *ret_pidfd = pidfd;
    return (int)pid;
}

int ns_pidfd_open(pid_t pid, struct err *e)
{
    long fd = fault_hit("pidfd_open") ? -1 : syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? err_sys(e, "process %d: pidfd", (int)pid) : (int)fd;
}

int ns_signal(int pidfd, int signo, struct err *e)
{
    if (syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) == 0)
        return 0;
    return errno == ESRCH ? 1 : err_sys(e, "signal %d", signo);
}

int ns_reap(int pidfd, bool may_wait, struct ns_exit *ret, struct err *e)
{
    siginfo_t info = { 0 };
    struct rusage usage;
    long r;
    do /* the library's waitid() does not give the usage */
        r = syscall(SYS_waitid, P_PIDFD, pidfd, &info, WEXITED | (may_wait ? 0 : WNOHANG), &usage);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return err_sys(e, "wait for child");
    if (info.si_pid == 0)
        return 1;
    ret->status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    ret->cpu_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                  (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    ret->rss_max_bytes = (uint64_t)usage.ru_maxrss * 1024;
    return 0;
}

bool ns_die_with_parent(int alive_fd)
{
    struct pollfd p = { .fd = alive_fd, .events = 0 };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return alive_fd < 0 || poll(&p, 1, 0) <= 0 || !(p.revents & POLLHUP);
}

int ns_map_write(pid_t pid, const struct ns_map *uid, const struct ns_map *gid, bool deny_setgroups,
                 struct err *e)
{
    char dir[32], text[64];
    if (pid == 0)
        snprintf(dir, sizeof dir, "/proc/self");
    else
        snprintf(dir, sizeof dir, "/proc/%d", (int)pid);
    AUTO_CLOSE int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "%s", dir);
    if (deny_setgroups && fd_path_write(fd, "setgroups", "deny", e) < 0)
        return err_wrap(e, "id maps");
    snprintf(text, sizeof text, "%u %u %u\n", uid->inside, uid->outside, uid->count);
    if (fd_path_write(fd, "uid_map", text, e) < 0)
        return err_wrap(e, "id maps");
    snprintf(text, sizeof text, "%u %u %u\n", gid->inside, gid->outside, gid->count);
    if (fd_path_write(fd, "gid_map", text, e) < 0)
        return err_wrap(e, "id maps");
    return 0;
}

int ns_become_root(struct err *e)
{
    const struct ns_map uid = { 0, geteuid(), 1 }, gid = { 0, getegid(), 1 };
    /* Its /proc files must be its own to be written; a program started by a setuid one is not so. */
    prctl(PR_SET_DUMPABLE, 1);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return err_sys(e, "user namespace");
    return ns_map_write(0, &uid, &gid, true, e);
}

bool ns_has_capability(int capability)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct sets[2];
    if (syscall(SYS_capget, &head, sets) < 0)
        return false;
    return sets[capability / 32].effective & (1u << (capability % 32));
}

int ns_privileged(struct err *e)
{
    /* A user namespace whose map is not the whole range is somebody's sandbox: the ids that the
     * slots want are not in it. */
    char map[256];
    unsigned inside = 1, outside = 1, count = 0;
    if (!ns_has_capability(CAP_SYS_ADMIN) || !ns_has_capability(CAP_SETUID))
        return 0;
    int r = fd_path_read(AT_FDCWD, "/proc/self/uid_map", map, sizeof map, e);
    if (r < 0)
        return r;
    return sscanf(map, "%u %u %u", &inside, &outside, &count) == 3 && inside == 0 &&
           count >= 0x7fffffffu;
}

int ns_loopback_up(struct err *e)
{
    struct ifreq q = { .ifr_name = "lo" };
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &q) < 0)
        return err_sys(e, "loopback");
    q.ifr_flags = (short)(q.ifr_flags | IFF_UP | IFF_RUNNING);
    return ioctl(fd, SIOCSIFFLAGS, &q) < 0 ? err_sys(e, "loopback up") : 0;
}

static int sockets_make(int *ret_fds, size_t count, struct err *e)
{
    for (size_t made = 0; made < count; made++) {
        int fd = fault_hit("socket")
                     ? -1
                     : socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            int r = err_sys(e, "socket");
            while (made > 0)
                close(ret_fds[--made]);
            return r;
        }
        ret_fds[made] = fd;
    }
    return 0;
}

static _Noreturn void sockets_child(int netns_fd, int out_fd, size_t count)
{
    struct err e = { 0 };
    struct fd_packet p = { .at = &e, .size = sizeof e, .fd_count = count };
    if (setns(netns_fd, CLONE_NEWNET) < 0)
        err_sys(&e, "enter network namespace");
    else
        (void)!sockets_make(p.fds, count, &e);
    if (e.code)
        p.fd_count = 0;
    struct err ignored = { 0 };
    _exit(fd_packet_send(out_fd, &p, &ignored) == 0 ? 0 : 1);
}

static int sockets_fetch(int netns_fd, int *ret_fds, size_t count, struct err *e)
{
    AUTO_CLOSE int ours = -1, theirs = -1, pidfd = -1;
    struct err word;
    struct ns_exit gone;
    struct fd_packet p = { .at = &word, .size = sizeof word };
    int r = fd_pair(&ours, &theirs, e);
    if (r < 0)
        return r;
    int pid = ns_clone(0, &pidfd, e);
    if (pid == 0)
        sockets_child(netns_fd, theirs, count);
    if (pid < 0)
        return pid;
    close(TAKE_FD(theirs));
    r = fd_packet_recv(ours, &p, e);
    struct err ignored = { 0 };
    ASSERT(ns_reap(pidfd, true, &gone, &ignored) == 0);
    if (r == 1 && p.size == sizeof word && p.fd_count == count) {
        memcpy(ret_fds, p.fds, count * sizeof *ret_fds);
        return 0;
    }
    fd_packet_close(&p);
    if (r == 1 && p.size == sizeof word && word.code) {
        *e = word;
        return -(int)word.code;
    }
    return r < 0 ? r : err_set(e, CODE_INTERNAL, "sockets: their maker ended without a word");
}

int ns_sockets_make(int netns_fd, int home_netns_fd, int *ret_fds, size_t count, struct err *e)
{
    ASSERT(count <= FD_PACKET_MAX);
    if (home_netns_fd < 0)
        return sockets_fetch(netns_fd, ret_fds, count, e);
    if (fault_hit("setns") || setns(netns_fd, CLONE_NEWNET) < 0)
        return err_sys(e, "enter network namespace");
    int r = sockets_make(ret_fds, count, e);
    /* Staying behind would make every later socket of this process the sandbox's. */
    ASSERT(setns(home_netns_fd, CLONE_NEWNET) == 0);
    return r;
}

int ns_bounding_drop(struct err *e)
{
    for (int c = 0; c < 64; c++) {
        if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) == 0)
            continue;
        if (errno == EINVAL) /* past the last one this kernel knows */
            return 0;
        return err_sys(e, "drop capability %d", c);
    }
    return 0;
}

int ns_capabilities_drop(struct err *e)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { { 0 }, { 0 } };
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
        syscall(SYS_capset, &head, none) < 0)
        return err_sys(e, "drop capabilities");
    return 0;
}

int ns_limit_set(int resource, uint64_t want, struct err *e)
{
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
        return err_sys(e, "resource limit %d", resource);
    now.rlim_max = MIN(now.rlim_max, (rlim_t)want);
    now.rlim_cur = now.rlim_max;
    if (setrlimit((__rlimit_resource_t)resource, &now) < 0)
        return err_sys(e, "resource limit %d", resource);
    return 0;
}

void ns_signals_reset(void)
{
    /* The kernel's own structure, all zero: default action. By the system call, because the C library
     * refuses its two signals (32, 33), and posix_spawn(), say of make, leaves them ignored. */
    static const unsigned long plain[4];
    sigset_t none;
    for (int s = 1; s < NSIG; s++)
        (void)syscall(SYS_rt_sigaction, s, plain, NULL, sizeof(uint64_t)); /* not KILL and STOP */
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}
