#include "artifact/fetcher_box.h"

#include "os/landlock.h"
#include "os/ns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* ---- limits and privileges ---------------------------------------------------------------- */

static int limits_set(struct err *e)
{
    int r = ns_limit_set(RLIMIT_CORE, 0, e);
    if (r == 0)
        r = ns_limit_set(RLIMIT_NOFILE, 1024, e);
#ifndef SANITIZED /* sanitizers map terabytes */
    if (r == 0)
        r = ns_limit_set(RLIMIT_AS, GIB(4), e); /* the stacks of resolver threads count */
#endif
    return r;
}

static int privileges_drop(struct err *e)
{
    int r = ns_has_capability(CAP_SETPCAP) ? ns_bounding_drop(e) : 0;
    if (r == 0)
        r = ns_capabilities_drop(e);
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = err_sys(e, "no_new_privs");
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    return r;
}

/* ---- files -------------------------------------------------------------------------------- */

/* A path that is not there needs no rule. */
static int path_allow(int ruleset_fd, const char *path, struct err *e)
{
    return access(path, F_OK) < 0 ? 0 : landlock_grant(ruleset_fd, path, LANDLOCK_GRANT_READ, e);
}

static int files_close(struct err *e)
{
    char resolv[PATH_MAX]; /* often a link to a file that a resolver writes under /run */
    if (landlock_version() == 0)
        return 0;
    AUTO_CLOSE int fd = landlock_open(e);
    if (fd < 0)
        return fd;
    int r = path_allow(fd, "/usr", e);
    if (r == 0)
        r = path_allow(fd, "/etc", e);
    if (r == 0 && realpath("/etc/resolv.conf", resolv))
        r = path_allow(fd, resolv, e);
    return r < 0 ? r : landlock_restrict(fd, e);
}

/* ---- system calls ------------------------------------------------------------------------- */

static const int plain_calls[] = {
    /* bytes and descriptors */
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(close),
    SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(stat), SCMP_SYS(lstat),
    SCMP_SYS(lseek), SCMP_SYS(pread64), SCMP_SYS(fcntl), SCMP_SYS(dup), SCMP_SYS(pipe2),
    SCMP_SYS(eventfd2), SCMP_SYS(access), SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents64),
    SCMP_SYS(getcwd),
    /* waiting */
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2), SCMP_SYS(epoll_ctl), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(restart_syscall),
    /* the network, as a client */
    SCMP_SYS(connect), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg), SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg), SCMP_SYS(recvmmsg), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(shutdown), SCMP_SYS(socketpair),
    /* bind: the resolver's netlink socket; there is no listen */
    SCMP_SYS(bind),
    /* memory, threads, the end */
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
    SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(exit), SCMP_SYS(exit_group),
    SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(tgkill), SCMP_SYS(getuid), SCMP_SYS(geteuid),
    SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getrandom), SCMP_SYS(uname), SCMP_SYS(sysinfo),
};

static int calls_allow(scmp_filter_ctx c)
{
    static const unsigned long requests[] = { FIONREAD, FIONBIO };
    static const int families[] = { AF_INET, AF_INET6, AF_NETLINK };
    int r = 0;
    for (size_t i = 0; r == 0 && i < COUNT_OF(plain_calls); i++)
        r = seccomp_rule_add(c, SCMP_ACT_ALLOW, plain_calls[i], 0);
    for (size_t i = 0; r == 0 && i < COUNT_OF(requests); i++)
        r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, requests[i]));
    for (size_t i = 0; r == 0 && i < COUNT_OF(families); i++)
        r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
    /* reading only: holds where the kernel has no Landlock, too. (RLIMIT_FSIZE would also forbid a log
     * that goes to a file.) */
    if (r == 0)
        r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
    if (r == 0)
        r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
    /* memory, but never code */
    if (r == 0)
        r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (r == 0)
        r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* threads, but no processes; clone3 hides its flags, so libc is told that there is none */
    if (r == 0)
        r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (r == 0)
        r = seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    /* limits may be asked for, not changed */
    if (r == 0)
        r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0));
    return r;
}

static int calls_close(struct err *e)
{
    scmp_filter_ctx c = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!c)
        return err_set(e, CODE_EXHAUSTED, "seccomp: no memory");
    int r = calls_allow(c);
    if (r == 0)
        r = seccomp_load(c);
    seccomp_release(c);
    return r == 0 ? 0 : err_set(e, CODE_INTERNAL, "seccomp: %s", strerror(-r));
}

int fetcher_box(struct err *e)
{
    int r = limits_set(e);
    if (r == 0)
        r = privileges_drop(e);
    if (r == 0)
        r = files_close(e);
    return r < 0 ? r : calls_close(e);
}
