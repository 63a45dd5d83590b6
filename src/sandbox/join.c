#include "sandbox/join.h"
#include "os/fault.h"
#include "os/fd.h"
#include "os/mnt.h"
#include "os/ns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACE "/.new" /* an empty folder of the stage */

enum { INODES_MIN = 1024, INODES_MAX = 1 << 20 };

struct word { /* from the helper: then its descriptors are the child's pidfd, or none, and the volumes */
    struct err error;
    pid_t pid;
};

static void volume_path(uint32_t index, char *into, size_t size) { snprintf(into, size, PLACE "/%u", index); }

/* In the helper: copies of the mounts that lie in the namespace we are in. */
static int volumes_copy(uint32_t count, struct fd_packet *p, struct err *e)
{
    char path[32];
    for (uint32_t i = 0; i < count; i++) {
        volume_path(i, path, sizeof path);
        int tree = mnt_clone(AT_FDCWD, path, false, 0, e);
        if (tree < 0)
            return tree;
        p->fds[p->fd_count++] = tree;
    }
    return 0;
}

static _Noreturn void say(int out_fd, struct word *w, struct fd_packet *p)
{
    struct err ignored = { 0 };
    p->at = w;
    p->size = sizeof *w;
    if (w->error.code)
        p->fd_count = 0;
    _exit(fd_packet_send(out_fd, p, &ignored) == 0 ? 0 : 1);
}

/* What the helper said: descriptors in *p, ours. The helper is gone afterwards. */
static int hear(int in_fd, int pidfd, struct word *w, struct fd_packet *p, struct err *e)
{
    struct ns_exit gone;
    struct err ignored = { 0 };
    p->at = w;
    p->size = sizeof *w;
    int r = fd_packet_recv(in_fd, p, e);
    ASSERT(ns_reap(pidfd, true, &gone, &ignored) == 0);
    if (r == 1 && p->size == sizeof *w && w->error.code == CODE_OK)
        return 0;
    if (r == 1)
        fd_packet_close(p);
    if (r == 1 && p->size == sizeof *w) {
        *e = w->error;
        return -(int)e->code;
    }
    return r < 0 ? r : err_set(e, CODE_INTERNAL, "pod: the helper ended without a word");
}

/* ---- a child inside --------------------------------------------------------------------------- */

static bool entered(int fd, int kinds) { return !fault_hit("setns") && setns(fd, kinds) == 0; }

static int pod_enter(const struct join_place *j, struct err *e)
{
    bool in = j->leader_pidfd >= 0 ? entered(j->leader_pidfd, CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
                                   : entered(j->net_fd, CLONE_NEWNET) && entered(j->ipc_fd, CLONE_NEWIPC) &&
                                         entered(j->uts_fd, CLONE_NEWUTS);
    return in ? 0 : err_sys(e, "enter the pod");
}

static int place_enter(const struct join_place *j, struct fd_packet *p, struct err *e)
{
    if (j->volumes_fd >= 0 && !entered(j->volumes_fd, CLONE_NEWNS))
        return err_sys(e, "enter the pod's volumes");
    int r = volumes_copy(j->volumes_fd >= 0 ? j->volume_count : 0, p, e);
    if (r < 0)
        return r;
    r = pod_enter(j, e);
    if (r < 0)
        return r;
    if (fault_hit("sethostname") || sethostname(j->name, strlen(j->name)) < 0)
        return err_sys(e, "pod: host name");
    return entered(j->stage_fd, CLONE_NEWNS) ? 0 : err_sys(e, "enter stage");
}

/* True: this is the child. */
static bool helper_main(const struct join_place *j, int out_fd, pid_t *born)
{
    struct word w = { .pid = 0 };
    struct fd_packet p = { .fd_count = 1 };
    int pid = -1;
    p.fds[0] = -1;
    if (place_enter(j, &p, &w.error) == 0)
        pid = ns_clone(CLONE_PARENT | CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID, &p.fds[0], &w.error);
    if (pid == 0) {
        for (size_t i = 1; i < p.fd_count; i++)
            close(p.fds[i]);
        close(out_fd);
        return true;
    }
    *born = w.pid = pid;
    say(out_fd, &w, &p);
}

static int helper_run(const struct join_place *j, pid_t *born, int *ret_pidfd, int *ret_volumes, struct err *e)
{
    AUTO_CLOSE int ours = -1, theirs = -1, helper = -1;
    struct word w;
    struct fd_packet p = { 0 };
    int r = fd_pair(&ours, &theirs, e);
    if (r < 0)
        return r;
    int pid = ns_clone(0, &helper, e);
    if (pid == 0 && helper_main(j, theirs, born)) {
        close(TAKE_FD(ours));
        (void)TAKE_FD(theirs); /* closed */
        return 0;
    }
    if (pid < 0)
        return pid;
    close(TAKE_FD(theirs));
    r = hear(ours, helper, &w, &p, e);
    if (r < 0)
        return r;
    ASSERT(p.fd_count == 1 + (j->volumes_fd >= 0 ? j->volume_count : 0));
    *ret_pidfd = p.fds[0];
    memcpy(ret_volumes, p.fds + 1, (p.fd_count - 1) * sizeof *ret_volumes);
    return w.pid;
}

/* Born as our child, and we were not told: nobody else can end or reap it. */
static void born_end(pid_t pid)
{
    ASSERT(kill(pid, SIGKILL) == 0);
    while (waitpid(pid, NULL, __WALL) < 0)
        ASSERT(errno == EINTR);
}

int join_clone(const struct join_place *j, int *ret_pidfd, int *ret_volumes, struct err *e)
{
    ASSERT(j->volume_count <= JOIN_VOLUMES_MAX);
    /* Shared with the helper: its word may be lost (we have no descriptor left for what it passes), its child must not. */
    pid_t *born = fault_hit("mmap") ? MAP_FAILED
                                    : mmap(NULL, sizeof *born, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (born == MAP_FAILED)
        return err_sys(e, "pod: shared word");
    int r = helper_run(j, born, ret_pidfd, ret_volumes, e);
    if (r < 0 && *born > 0)
        born_end(*born);
    ASSERT(munmap(born, sizeof *born) == 0);
    return r;
}

/* ---- volumes ---------------------------------------------------------------------------------- */

static int volume_make(uint32_t index, uint64_t bytes, uint32_t owner, struct err *e)
{
    char path[32], options[160];
    uint64_t inodes = MIN(MAX(bytes / 4096, (uint64_t)INODES_MIN), (uint64_t)INODES_MAX);
    volume_path(index, path, sizeof path);
    if (fault_hit("mkdir") || mkdir(path, 0700) < 0)
        return err_sys(e, "volume %u", index);
    snprintf(options, sizeof options, "size=%llu,nr_inodes=%llu,mode=1777,uid=%u,gid=%u", (unsigned long long)bytes,
             (unsigned long long)inodes, owner, owner);
    return mnt_new("tmpfs", path, MS_NOSUID | MS_NODEV, options, 0, e);
}

static int volumes_make(const struct join_volumes *v, struct fd_packet *p, struct err *e)
{
    if (!entered(v->stage_fd, CLONE_NEWNS) || fault_hit("unshare") || unshare(CLONE_NEWNS) < 0)
        return err_sys(e, "mount namespace for volumes");
    if (fault_hit("mount") || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_sys(e, "mount namespace for volumes");
    int r = mnt_new("tmpfs", PLACE, MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,nr_inodes=64,mode=0700", 0, e);
    for (uint32_t i = 0; r >= 0 && i < v->count; i++)
        r = volume_make(i, v->bytes[i], v->owner, e);
    return r < 0 ? r : volumes_copy(v->count, p, e);
}

static _Noreturn void volumes_main(const struct join_volumes *v, int out_fd)
{
    struct word w = { .pid = 0 };
    struct fd_packet p = { 0 };
    char go;
    if (volumes_make(v, &p, &w.error) < 0)
        say(out_fd, &w, &p);
    struct err ignored = { 0 };
    p.at = &w;
    p.size = sizeof w;
    if (fd_packet_send(out_fd, &p, &ignored) == 0)
        (void)!read(out_fd, &go, 1); /* until our namespace was opened */
    _exit(0);
}

static int namespace_open(pid_t pid, struct err *e)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    int fd = fault_hit("open") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_sys(e, "volumes: %s", path) : fd;
}

int join_volumes_make(const struct join_volumes *v, int *ret_mntns_fd, int *ret_volumes, struct err *e)
{
    AUTO_CLOSE int ours = -1, theirs = -1, helper = -1;
    struct word w;
    struct fd_packet p = { .at = &w, .size = sizeof w };
    struct ns_exit gone;
    struct err ignored = { 0 };
    ASSERT(v->count <= JOIN_VOLUMES_MAX);
    int r = fd_pair(&ours, &theirs, e);
    if (r < 0)
        return r;
    int pid = ns_clone(0, &helper, e);
    if (pid == 0) {
        close(ours);
        volumes_main(v, theirs);
    }
    if (pid < 0)
        return pid;
    close(TAKE_FD(theirs));
    r = fd_packet_recv(ours, &p, e);
    int fd = -1;
    if (r == 1 && p.size == sizeof w && w.error.code == CODE_OK && p.fd_count == v->count)
        fd = namespace_open(pid, e);
    else if (r == 1 && p.size == sizeof w && w.error.code)
        *e = w.error;
    else if (r >= 0)
        err_set(e, CODE_INTERNAL, "volumes: the helper ended without a word");
    close(TAKE_FD(ours));
    ASSERT(ns_reap(helper, true, &gone, &ignored) == 0);
    if (fd < 0) {
        if (r == 1)
            fd_packet_close(&p);
        return -(int)e->code;
    }
    memcpy(ret_volumes, p.fds, v->count * sizeof *ret_volumes);
    *ret_mntns_fd = fd;
    return 0;
}
