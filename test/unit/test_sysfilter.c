/* The filter by itself: test_sandbox.c looks at the sandbox, where other walls refuse the same. */
#include "tap.h"

#include "os/sysfilter.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY UINT64_C(0x1234567890abcdef)

struct attempt {
    const char *what;
    long number;
    uint64_t args[6];
    bool refused; /* ENOSYS, which the filter says and these calls themselves never do */
};

/* errno of the call behind the filter; 0: it worked. In a child, which the filter never leaves again. */
static int behind(const struct sysfilter *f, const struct attempt *a)
{
    int status = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct err e;
        const uint64_t *x = a->args;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || sysfilter_install(f, &e) < 0)
            _exit(254);
        long r = syscall(a->number, x[0], x[1], x[2], x[3], x[4], x[5]);
        if (r == 0 && a->number == SYS_clone)
            _exit(0); /* its child */
        _exit(r < 0 ? errno : 0);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status);
}

static void attempts_check(const struct sysfilter *f, const struct attempt *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int got = behind(f, &list[i]);
        if ((got == ENOSYS) != list[i].refused || got >= 200)
            FAIL("%s: errno %d", list[i].what, got);
    }
}

TEST(what_makes_namespaces_is_refused_by_its_arguments)
{
    static const struct attempt list[] = {
        { "unshare nothing", SYS_unshare, { 0 }, false },
        { "unshare files", SYS_unshare, { CLONE_FILES }, false },
        { "unshare mount", SYS_unshare, { CLONE_NEWNS }, true },
        { "unshare user", SYS_unshare, { CLONE_NEWUSER }, true },
        { "unshare pid", SYS_unshare, { CLONE_NEWPID }, true },
        { "unshare net", SYS_unshare, { CLONE_NEWNET }, true },
        { "unshare ipc", SYS_unshare, { CLONE_NEWIPC }, true },
        { "unshare uts", SYS_unshare, { CLONE_NEWUTS }, true },
        { "unshare cgroup", SYS_unshare, { CLONE_NEWCGROUP }, true },
        { "unshare time", SYS_unshare, { 0x80 }, true },
        { "clone process", SYS_clone, { SIGCHLD }, false },
        { "clone mount", SYS_clone, { SIGCHLD | CLONE_NEWNS }, true },
        { "clone user", SYS_clone, { SIGCHLD | CLONE_NEWUSER }, true },
        { "clone pid", SYS_clone, { SIGCHLD | CLONE_NEWPID }, true },
        { "clone net", SYS_clone, { SIGCHLD | CLONE_NEWNET }, true },
        { "clone ipc", SYS_clone, { SIGCHLD | CLONE_NEWIPC }, true },
        { "clone uts", SYS_clone, { SIGCHLD | CLONE_NEWUTS }, true },
        { "clone cgroup", SYS_clone, { SIGCHLD | CLONE_NEWCGROUP }, true },
        { "clone traced", SYS_clone, { SIGCHLD | CLONE_PTRACE }, true },
        { "clone3", SYS_clone3, { 0 }, true },
        { "setns", SYS_setns, { 0 }, true },
    };
    struct err e;
    AUTO(sysfilter) struct sysfilter *f = NULL;
    CHECK_EQ(sysfilter_open(KEY, &f, &e), 0);
    attempts_check(f, list, COUNT_OF(list));
}

TEST(devices_personalities_and_odd_sockets_are_refused_by_their_arguments)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/hob-test-node-%d", (int)getpid());
    const uint64_t at = (uint64_t)(uintptr_t)path;
    const struct attempt list[] = {
        { "mknod fifo", SYS_mknod, { at, S_IFIFO | 0600 }, false },
        { "mknod null", SYS_mknod, { at, S_IFCHR | 0600, makedev(1, 3) }, true },
        { "mknod block", SYS_mknod, { at, S_IFBLK | 0600, makedev(7, 0) }, true },
        { "mknodat null", SYS_mknodat, { 0, at, S_IFCHR | 0600, makedev(1, 3) }, true },
        { "personality linux", SYS_personality, { 0 }, false },
        { "personality asked", SYS_personality, { 0xffffffff }, false },
        { "personality without randomness", SYS_personality, { ADDR_NO_RANDOMIZE }, true },
        { "personality readable means executable", SYS_personality, { READ_IMPLIES_EXEC }, true },
        { "socket unix", SYS_socket, { AF_UNIX, SOCK_STREAM }, false },
        { "socket inet", SYS_socket, { AF_INET, SOCK_STREAM }, false },
        { "socket inet6", SYS_socket, { AF_INET6, SOCK_DGRAM }, false },
        { "socket route", SYS_socket, { AF_NETLINK, SOCK_RAW, 0 }, false },
        { "socket audit", SYS_socket, { AF_NETLINK, SOCK_RAW, 9 }, true },
        { "socket packet", SYS_socket, { AF_PACKET, SOCK_RAW }, true },
        { "socket vsock", SYS_socket, { 40, SOCK_STREAM }, true },
        { "socket alg", SYS_socket, { 38, SOCK_SEQPACKET }, true },
    };
    struct err e;
    AUTO(sysfilter) struct sysfilter *f = NULL;
    CHECK_EQ(sysfilter_open(KEY, &f, &e), 0);
    attempts_check(f, list, COUNT_OF(list));
    unlink(path);
}

/* With arguments that no call accepts: what the kernel itself says of them is not ENOSYS. */
TEST(the_stems_calls_need_the_key_and_a_role_has_them_not_at_all)
{
    static const long keyed[] = { SYS_mount, SYS_umount2, SYS_open_tree, SYS_move_mount, SYS_mount_setattr,
                                  SYS_sethostname, SYS_pivot_root, SYS_chroot };
    struct err e;
    AUTO(sysfilter) struct sysfilter *f = NULL;
    AUTO(sysfilter) struct sysfilter *role = NULL;
    CHECK_EQ(sysfilter_open(KEY, &f, &e), 0);
    CHECK_EQ(sysfilter_role_open(&role, &e), 0);
    for (size_t i = 0; i < COUNT_OF(keyed); i++) {
        char what[32];
        struct attempt a = { what, keyed[i], { 1, 1 << 20, 1, 1, 1, 0 }, true };
        snprintf(what, sizeof what, "call %ld", keyed[i]);
        attempts_check(f, &a, 1);
        a.args[5] = KEY ^ 1;
        attempts_check(f, &a, 1);
        a.args[5] = KEY;
        attempts_check(role, &a, 1);
        a.refused = false;
        attempts_check(f, &a, 1);
    }
}

TEST_MAIN()
