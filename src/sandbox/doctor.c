#include "sandbox/doctor.h"
#include "base/str.h"
#include "os/cgroup.h"
#include "os/fd.h"
#include "os/landlock.h"
#include "os/mnt.h"
#include "os/ns.h"
#include "os/sysfilter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

enum {
    FDS_PER_SANDBOX = 16, /* launcher and node together, with two connections open */
    FDS_WANTED = 256 * FDS_PER_SANDBOX, /* for instances_max sandboxes */
};

struct doctor {
    void (*on_finding)(void *ctx, const struct doctor_finding *f);
    void *ctx;
    bool privileged;
};

static void say(const struct doctor *d, const char *name, enum doctor_state state, const char *detail,
                const char *cost, const char *fix)
{
    const struct doctor_finding f = { name, state, detail, cost, fix };
    d->on_finding(d->ctx, &f);
}

/* ---- trying ----------------------------------------------------------------------------- */

/* Runs `attempt` in a child; 0, or the error it reported. */
static int try_out(int (*attempt)(struct err *e), struct err *e)
{
    AUTO_CLOSE int reading = -1, writing = -1, pidfd = -1;
    struct ns_exit gone;
    struct err word;
    int r = fd_pipe(&reading, &writing, e);
    if (r < 0)
        return r;
    int pid = ns_clone(0, &pidfd, e);
    if (pid < 0)
        return pid;
    if (pid == 0) {
        struct err why = { 0 };
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        r = attempt(&why);
        _exit(write(writing, &why, sizeof why) == (ssize_t)sizeof why && r >= 0 ? 0 : 1);
    }
    close(TAKE_FD(writing));
    ssize_t n = read(reading, &word, sizeof word);
    struct err ignored = { 0 };
    ASSERT(ns_reap(pidfd, true, &gone, &ignored) == 0);
    if (n == (ssize_t)sizeof word && word.code == CODE_OK && gone.status == 0)
        return 0;
    if (n == (ssize_t)sizeof word && word.code != CODE_OK)
        *e = word;
    else
        err_set(e, CODE_INTERNAL, "ended with status %d", gone.status);
    return -(int)e->code;
}

static int root_somewhere(struct err *e)
{
    struct err unknown = { 0 };
    if (ns_privileged(&unknown) == 1)
        return unshare(CLONE_NEWNS) < 0 ? err_sys(e, "mount namespace") : 0;
    return ns_become_root(e);
}

static int attempt_user_namespace(struct err *e)
{
    return unshare(CLONE_NEWUSER) < 0 ? err_sys(e, "user namespace") : 0;
}

static int attempt_network(struct err *e)
{
    int r = root_somewhere(e);
    if (r < 0)
        return r;
    return unshare(CLONE_NEWNET) < 0 ? err_sys(e, "network namespace") : ns_loopback_up(e);
}

static int attempt_mounts(struct err *e)
{
    int r = root_somewhere(e);
    if (r == 0)
        r = mnt_private(e);
    if (r == 0)
        r = mnt_new("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "size=64k", 0, e);
    if (r == 0)
        r = mnt_bind(AT_FDCWD, "/usr", AT_FDCWD, "/tmp", MNT_RO_SAFE, true, e);
    return r;
}

/* A user namespace may mount /proc only where a whole one is in sight; containers often hide parts. */
static int attempt_proc(struct err *e)
{
    struct ns_exit gone;
    int pidfd = -1, r = root_somewhere(e);
    if (r == 0)
        r = mnt_private(e);
    if (r < 0)
        return r;
    int pid = ns_clone(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID, &pidfd, e);
    if (pid == 0) {
        struct err why = { 0 };
        _exit(mnt_new("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, 0, &why) < 0);
    }
    if (pid < 0)
        return pid;
    r = ns_reap(pidfd, true, &gone, e);
    close(pidfd);
    if (r == 0 && gone.status != 0)
        r = err_set(e, CODE_DENIED, "mount /proc in a user namespace: refused");
    return r;
}

static int attempt_filter(struct err *e)
{
    AUTO(sysfilter) struct sysfilter *f = NULL;
    int r = sysfilter_open(1, &f, e);
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = err_sys(e, "no new privileges");
    return r < 0 ? r : sysfilter_install(f, e);
}

static void check(const struct doctor *d, const char *name, int (*attempt)(struct err *e),
                  const char *good, const char *cost, const char *fix)
{
    struct err e = { 0 };
    if (try_out(attempt, &e) == 0)
        say(d, name, DOCTOR_OK, good, "", "");
    else
        say(d, name, DOCTOR_FAIL, e.text, cost, fix);
}

/* ---- what must be there ----------------------------------------------------------------- */

static void kernel_check(const struct doctor *d)
{
    struct utsname u;
    unsigned major = 0, minor = 0;
    char text[160];
    (void)uname(&u);
    if (sscanf(u.release, "%u.%u", &major, &minor) != 2)
        major = 0;
    snprintf(text, sizeof text, "Linux %.64s, %.32s", u.release, u.machine);
    bool enough = major > 5 || (major == 5 && minor >= 14);
    say(d, "kernel", enough ? DOCTOR_OK : DOCTOR_FAIL, text,
        enough ? "" : "mount_setattr and pidfds are missing: no sandbox can be made",
        enough ? "" : "use Linux 5.14 or newer");
}

static void privilege_check(const struct doctor *d)
{
    if (d->privileged)
        say(d, "privilege", DOCTOR_OK, "root: every sandbox gets user ids of its own", "", "");
    else
        say(d, "privilege", DOCTOR_WARN, "an ordinary user, or root of somebody's container",
            "all sandboxes share one user id on the host; what separates them is their namespaces, "
            "Landlock and the system call filter. Sockets into a sandbox take 0.2 ms longer",
            "run hob serve as root");
}

static void landlock_check(const struct doctor *d)
{
    int version = landlock_version();
    char text[64];
    snprintf(text, sizeof text, "version %d", version);
    if (version == 0)
        say(d, "landlock", DOCTOR_WARN, "not in this kernel, or not switched on",
            "the mount namespace alone decides what files a function sees",
            "add landlock to the kernel's lsm= list");
    else if (version < 6)
        say(d, "landlock", DOCTOR_WARN, text,
            "device ioctls (5) or signals and abstract sockets (6) are left to the namespaces", "");
    else
        say(d, "landlock", DOCTOR_OK, text, "", "");
}

/* ---- limits ----------------------------------------------------------------------------- */

static void group_check(const struct doctor *d, const struct cgroup_tree *t, enum cgroup_kind kind,
                        const char *name, const char *cost)
{
    char text[64];
    if (cgroup_tree_has(t, kind)) {
        snprintf(text, sizeof text, "control group version %d", cgroup_tree_version(t, kind));
        say(d, name, DOCTOR_OK, text, "", "");
        return;
    }
    say(d, name, DOCTOR_WARN, "no control group that we may use", cost,
        d->privileged ? "switch the controller on (cgroup_enable=, or systemd's defaults)"
                      : "run as root, or in a unit with Delegate=yes");
}

static void groups_check(const struct doctor *d)
{
    AUTO(cgroup_tree) struct cgroup_tree *t = NULL;
    struct err e = { 0 };
    char name[48];
    snprintf(name, sizeof name, "hob-doctor-%d", (int)getpid());
    if (cgroup_tree_open(name, &t, &e) < 0) {
        say(d, "control-groups", DOCTOR_WARN, e.text, "no limit on memory, CPU or processes is hard", "");
        return;
    }
    group_check(d, t, CGROUP_MEMORY, "memory-limit",
                "a function can use all memory of the host, and out-of-memory kills are not told apart");
    group_check(d, t, CGROUP_CPU, "cpu-limit", "a busy function takes CPU time from the others");
    group_check(d, t, CGROUP_PIDS, "process-limit",
                "processes are counted by RLIMIT_NPROC per user namespace instead");
}

static void descriptors_check(const struct doctor *d)
{
    struct rlimit l;
    char text[64];
    (void)getrlimit(RLIMIT_NOFILE, &l);
    snprintf(text, sizeof text, "%llu at most", (unsigned long long)l.rlim_max);
    if (l.rlim_max >= FDS_WANTED)
        say(d, "descriptors", DOCTOR_OK, text, "", "");
    else
        say(d, "descriptors", DOCTOR_WARN, text, "fewer than 256 sandboxes at once",
            "raise the hard limit: ulimit -Hn, LimitNOFILE=");
}

/* ---- what makes isolation weaker or figures worse --------------------------------------- */

static bool file_says(const char *path, const char *word)
{
    char text[64];
    struct err e = { 0 };
    return fd_path_read(AT_FDCWD, path, text, sizeof text, &e) > 0 &&
           str_is(str_head(str_of(text), strcspn(text, "\n")), word);
}

static void neighbours_check(const struct doctor *d)
{
    char text[4096];
    struct err e = { 0 };
    if (file_says("/sys/devices/system/cpu/smt/active", "1"))
        say(d, "smt", DOCTOR_WARN, "two threads share each core",
            "functions of different tenants can measure each other's work", "boot with nosmt");
    else
        say(d, "smt", DOCTOR_OK, "no two threads share a core", "", "");
    if (file_says("/sys/kernel/mm/ksm/run", "1"))
        say(d, "ksm", DOCTOR_WARN, "equal pages of processes are merged",
            "a function can find out what others have in memory", "echo 2 >/sys/kernel/mm/ksm/run");
    else
        say(d, "ksm", DOCTOR_OK, "pages are not merged", "", "");
    int n = fd_path_read(AT_FDCWD, "/proc/swaps", text, sizeof text, &e);
    if (n > 0 && strchr(text, '\n') != strrchr(text, '\n'))
        say(d, "swap", DOCTOR_WARN, "in use", "functions' memory can reach the disk, and starts can stall",
            "swapoff -a, or encrypt it");
    else
        say(d, "swap", DOCTOR_OK, "none", "", "");
}

static void kvm_check(const struct doctor *d)
{
    AUTO_CLOSE int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, KVM_GET_API_VERSION, 0) == KVM_API_VERSION)
        say(d, "kvm", DOCTOR_OK,
            "there (the native tier does not use it; whether it is fast is not measured here)", "", "");
    else
        say(d, "kvm", DOCTOR_WARN, fd < 0 ? strerror(errno) : "speaks another version",
            "none for the native tier; microVMs would be emulated", "");
}

void doctor_run(void (*on_finding)(void *ctx, const struct doctor_finding *f), void *ctx)
{
    struct err unknown = { 0 };
    const struct doctor d = { on_finding, ctx, ns_privileged(&unknown) == 1 };
    kernel_check(&d);
    privilege_check(&d);
    check(&d, "user-namespaces", attempt_user_namespace, "can be made", "no sandbox can be made",
          "sysctl user.max_user_namespaces; kernel.apparmor_restrict_unprivileged_userns=0");
    check(&d, "network-namespaces", attempt_network, "can be made, with loopback", "no sandbox can be made",
          "sysctl user.max_net_namespaces");
    check(&d, "mounts", attempt_mounts, "tmpfs and read-only binds work", "no sandbox can be made",
          "allow mounts here (a container's seccomp profile may forbid them)");
    check(&d, "proc", attempt_proc, "a fresh /proc can be mounted", "no sandbox can be made",
          "do not mask parts of /proc where hob runs (systempaths=unconfined)");
    check(&d, "system-call-filter", attempt_filter, "seccomp filters work", "no sandbox can be made",
          "use a kernel with CONFIG_SECCOMP_FILTER");
    landlock_check(&d);
    groups_check(&d);
    descriptors_check(&d);
    neighbours_check(&d);
    kvm_check(&d);
}
