#include "sandbox/shell.h"
#include "os/fault.h"
#include "os/fd.h"
#include "sandbox/stem.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RETRY_US = 2000, /* a control group stays busy for moments after its last process was reaped */
    RETRIES_MAX = 2000,
    OOM_CHECK_US = 2000, /* the notice comes before the kill that it is about */
    OOM_CHECKS_MAX = 100,
};
/* When the whole host is short of memory, functions go before hob. Written from outside, where
 * CAP_SYS_RESOURCE makes it the floor as well: the function cannot lower it. */
#define OOM_SCORE "500"
#define UID_BASE  UINT32_C(0x10000000) /* above every range that useradd hands out */
#define UID_RANGE UINT32_C(65536)
#define NAMESPACES                                                                         \
    (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)

int shell_maker_home(struct shell_maker *m, struct err *e)
{
    m->home_mnt_fd = fault_hit("open") ? -1 : open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    m->home_dir_fd = fault_hit("open") ? -1 : open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (m->home_mnt_fd < 0 || m->home_dir_fd < 0)
        return err_sys(e, "own namespaces");
    if (!m->full_map) /* not ours: an ordinary user could leave it but not return */
        return 0;
    m->home_net_fd = fault_hit("open") ? -1 : open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    return m->home_net_fd < 0 ? err_sys(e, "own network namespace") : 0;
}

void shell_maker_done(struct shell_maker *m)
{
    fd_auto(&m->stage_fd);
    fd_auto(&m->home_mnt_fd);
    fd_auto(&m->home_net_fd);
    fd_auto(&m->home_dir_fd);
}

/* ---- the end ---------------------------------------------------------------------------- */

static void watches_end(struct shell *s)
{
    loop_unwatch(s->maker->loop, &s->init_io);
    loop_unwatch(s->maker->loop, &s->gate_io);
    loop_unwatch(s->maker->loop, &s->oom_io);
    loop_cancel(s->maker->loop, &s->retry);
    loop_cancel(s->maker->loop, &s->oom_check);
}

static void finish(struct shell *s)
{
    const struct shell_maker *m = s->maker;
    watches_end(s);
    if (s->cgroup) { /* it would not go for four seconds: leave it to the next start's sweep */
        cgroup_free(s->cgroup);
        s->cgroup = NULL;
    }
    m->on_ended(m->ctx, s, &s->exit, s->why.code ? &s->why : NULL);
}

static void group_remove(struct shell *s)
{
    struct err e = { 0 };
    int r = s->cgroup ? cgroup_close(s->cgroup, &e) : 0;
    if (r == 0)
        s->cgroup = NULL;
    if (r == 1 && s->retries++ < RETRIES_MAX)
        loop_after(s->maker->loop, &s->retry, RETRY_US);
    else
        finish(s);
}

static void on_retry(struct loop_timer *t) { group_remove(CONTAINER_OF(t, struct shell, retry)); }

/* The init is gone, and with it, by the kernel's word, every process of its namespace. */
static void on_init_end(struct loop_io *io, uint32_t events)
{
    struct shell *s = CONTAINER_OF(io, struct shell, init_io);
    struct cgroup_usage usage = { 0 };
    struct ns_exit gone;
    struct err e = { 0 };
    (void)events;
    int r = ns_reap(s->pidfd, false, &gone, &e);
    if (r == 1)
        return;
    ASSERT(r == 0);
    watches_end(s);
    close(TAKE_FD(s->pidfd));
    cgroup_usage(s->cgroup, &usage);
    s->exit = (struct notice_exit){ .status = gone.status,
                                    .oom_killed = usage.oom_kills > 0,
                                    .cpu_us = usage.cpu_us ? usage.cpu_us : gone.cpu_us,
                                    .memory_peak_bytes = usage.memory_peak_bytes };
    if (s->state == SHELL_MAKING && s->why.code == CODE_OK)
        err_set(&s->why, CODE_INTERNAL, "sandbox: its init ended early, with status %d", gone.status);
    s->ended = true;
    group_remove(s);
}

void shell_kill(struct shell *s)
{
    struct err e = { 0 };
    if (s->pidfd >= 0 && ns_signal(s->pidfd, SIGKILL, &e) < 0)
        UNREACHABLE("we may always kill our own child");
}

void shell_signal(struct shell *s, int signo)
{
    struct err e = { 0 };
    if (s->stem_pidfd >= 0 && ns_signal(s->stem_pidfd, signo, &e) < 0)
        s->exit.status = 0; /* not there any more, or not to be had: the exit tells */
}

uint32_t shell_owner(const struct shell *s)
{
    return s->maker->full_map ? UID_BASE + s->slot * UID_RANGE : 0;
}

void shell_usage_open(const struct shell *s, int *ret_cpu_fd, int *ret_memory_fd)
{
    cgroup_usage_open(s->cgroup, ret_cpu_fd, ret_memory_fd);
}

void shell_free(struct shell *s)
{
    struct ns_exit gone;
    struct err e = { 0 };
    if (!s)
        return;
    watches_end(s);
    if (s->pidfd >= 0) {
        shell_kill(s);
        ASSERT(ns_reap(s->pidfd, true, &gone, &e) == 0);
    }
    fd_auto(&s->pidfd);
    fd_auto(&s->stem_pidfd);
    fd_auto(&s->gate_fd);
    fd_auto(&s->control_fd);
    fd_auto(&s->netns_fd);
    fd_auto(&s->ipcns_fd);
    fd_auto(&s->utsns_fd);
    fd_auto(&s->oom_fd);
    fd_auto(&s->pod_fd);
    for (uint32_t i = 0; s->beside && i < s->volume_count; i++)
        fd_auto(&s->volume_fds[i]);
    cgroup_free(s->cgroup);
    free(s);
}

/* ---- while it lives --------------------------------------------------------------------- */

/* Version 1 kills one process of the group; half a function is no function. Version 2 does this by
 * itself (memory.oom.group). */
static void on_oom_check(struct loop_timer *t)
{
    struct shell *s = CONTAINER_OF(t, struct shell, oom_check);
    struct cgroup_usage usage;
    cgroup_usage(s->cgroup, &usage);
    if (usage.oom_kills > 0)
        shell_kill(s);
    else if (s->oom_checks++ < OOM_CHECKS_MAX)
        loop_after(s->maker->loop, &s->oom_check, OOM_CHECK_US);
}

static void on_oom(struct loop_io *io, uint32_t events)
{
    struct shell *s = CONTAINER_OF(io, struct shell, oom_io);
    uint64_t count;
    (void)events;
    if (read(s->oom_fd, &count, sizeof count) < 0)
        return;
    s->oom_checks = 0;
    on_oom_check(&s->oom_check);
}

static int ready_take(struct shell *s, const struct fd_packet *p, struct err *e)
{
    const char *byte = p->at;
    if (p->size != 1 || *byte != 'r' || p->pid <= 0)
        return err_set(e, CODE_INTERNAL, "sandbox: its stem speaks in tongues");
    s->stem_pidfd = ns_pidfd_open(p->pid, e);
    return s->stem_pidfd < 0 ? s->stem_pidfd : 0;
}

static void on_gate(struct loop_io *io, uint32_t events)
{
    struct shell *s = CONTAINER_OF(io, struct shell, gate_io);
    struct stem_word word;
    struct fd_packet p = { .at = &word, .size = sizeof word };
    (void)events;
    int r = fd_packet_recv(s->gate_fd, &p, &s->why);
    if (r == 2)
        return;
    loop_unwatch(s->maker->loop, &s->gate_io);
    fd_packet_close(&p);
    if (r <= 0)
        return; /* the init's end tells the rest */
    if (p.size == sizeof word && word.type == STEM_FAILED) {
        word.text[sizeof word.text - 1] = '\0';
        err_set(&s->why, word.code ? word.code : CODE_INTERNAL, "sandbox: %s", word.text);
        return;
    }
    if (ready_take(s, &p, &s->why) < 0) {
        shell_kill(s);
        return;
    }
    s->state = SHELL_IDLE; /* before the callback, which may already find it used */
    s->maker->on_ready(s->maker->ctx, s);
}

/* ---- making ----------------------------------------------------------------------------- */

struct ends {
    int gate, control; /* the child's */
    struct cgroup_files files;
};

/* Into the stage for the moment of the clone: the child's mount namespace is a copy of it. */
static int clone_in_stage(const struct shell_maker *m, int *ret_pidfd, struct err *e)
{
    if (fault_hit("setns") || setns(m->stage_fd, CLONE_NEWNS) < 0)
        return err_sys(e, "enter stage");
    int pid = ns_clone(NAMESPACES, ret_pidfd, e);
    if (pid == 0)
        return 0;
    ASSERT(setns(m->home_mnt_fd, CLONE_NEWNS) == 0 && fchdir(m->home_dir_fd) == 0);
    return pid;
}

static int namespace_open(pid_t pid, const char *kind, struct err *e)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, kind);
    int fd = fault_hit("open") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_sys(e, "%s namespace", kind) : fd;
}

static int child_admit(struct shell *s, pid_t pid, struct err *e)
{
    char path[64];
    s->netns_fd = namespace_open(pid, "net", e);
    if (s->netns_fd < 0)
        return s->netns_fd;
    if (!s->maker->full_map && !s->beside &&
        ((s->ipcns_fd = namespace_open(pid, "ipc", e)) < 0 || (s->utsns_fd = namespace_open(pid, "uts", e)) < 0))
        return -(int)e->code;
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)pid);
    fd_path_try(AT_FDCWD, path, OOM_SCORE);
    int r = 0;
    if (s->maker->full_map) {
        const struct ns_map map = { 0, UID_BASE + s->slot * UID_RANGE, UID_RANGE };
        r = ns_map_write(pid, &map, &map, false, e);
    }
    if (r == 0 && (fault_hit("write") || write(s->gate_fd, "g", 1) != 1))
        r = err_sys(e, "let it go");
    return r;
}

static int sockets_open(struct shell *s, struct ends *ends, struct err *e)
{
    const int on = 1, room = 1024 * 1024;
    int r = fd_pair(&s->gate_fd, &ends->gate, e);
    if (r == 0)
        r = fd_pair(&s->control_fd, &ends->control, e);
    if (r < 0)
        return r;
    if (setsockopt(s->gate_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
        return err_sys(e, "gate");
    /* Best effort: longer orders travel as memory files anyway. */
    (void)setsockopt(s->control_fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    r = fd_nonblock(s->control_fd, e);
    return r < 0 ? r : cgroup_files_open(s->cgroup, &ends->files, e);
}

static int watch(struct shell *s, struct err *e)
{
    struct loop *l = s->maker->loop;
    int r = loop_watch(l, &s->init_io, s->pidfd, EPOLLIN, e);
    if (r == 0)
        r = loop_watch(l, &s->gate_io, s->gate_fd, EPOLLIN, e);
    s->oom_fd = r == 0 ? cgroup_oom_notice(s->cgroup) : -1;
    if (s->oom_fd >= 0)
        r = loop_watch(l, &s->oom_io, s->oom_fd, EPOLLIN, e);
    return r;
}

/* Like clone_in_stage(), but born in the leader's pod. */
static int clone_in_pod(struct shell *s, const struct shell *leader, const char *host_name, struct err *e)
{
    const struct join_place place = { .stage_fd = s->maker->stage_fd,
                                      .leader_pidfd = s->maker->full_map ? leader->pidfd : -1,
                                      .net_fd = leader->netns_fd, .ipc_fd = leader->ipcns_fd,
                                      .uts_fd = leader->utsns_fd, .name = host_name,
                                      .volumes_fd = leader->pod_fd, .volume_count = leader->volume_count };
    s->volume_count = leader->volume_count;
    return join_clone(&place, &s->pidfd, s->volume_fds, e);
}

static int make(struct shell *s, const struct shell *leader, const char *host_name, struct ends *ends, struct err *e)
{
    const struct shell_maker *m = s->maker;
    char id[32];
    snprintf(id, sizeof id, "%llu", (unsigned long long)s->id);
    int r = cgroup_open(m->cgroups, id, &s->cgroup, e);
    if (r == 0)
        r = sockets_open(s, ends, e);
    if (r < 0)
        return r;
    int pid = leader ? clone_in_pod(s, leader, host_name, e) : clone_in_stage(m, &s->pidfd, e);
    if (pid == 0) {
        /* Our own ends must not stay open in here: end of file is what tells that we are gone. */
        close(s->gate_fd);
        const struct stem_config c = { .filter = m->filter,
                                       .key = m->key,
                                       .cgroups = m->cgroups,
                                       .cgroup_id = id,
                                       .cgroup = s->cgroup,
                                       .files = ends->files,
                                       .gate_fd = ends->gate,
                                       .control_fd = ends->control,
                                       .full_map = m->full_map,
                                       .joined = leader != NULL };
        stem_init_main(&c);
    }
    if (pid < 0)
        return pid;
    r = child_admit(s, pid, e);
    return r < 0 ? r : watch(s, e);
}

static int open_with(const struct shell_maker *m, uint64_t id, uint32_t slot, const struct shell *leader,
                     const char *host_name, struct shell **ret, struct err *e)
{
    AUTO(shell) struct shell *s = xcalloc(1, sizeof *s);
    struct ends ends = { -1, -1, { -1, -1, -1, -1, -1, -1, -1, false, false } };
    s->maker = m;
    s->id = id;
    s->slot = slot;
    s->begun_us = loop_clock_us(m->loop);
    s->control_fd = s->netns_fd = s->ipcns_fd = s->utsns_fd = s->pidfd = s->stem_pidfd = s->gate_fd = s->oom_fd = s->pod_fd = -1;
    memset(s->volume_fds, -1, sizeof s->volume_fds);
    s->beside = leader ? leader->id : 0;
    s->init_io.on_ready = on_init_end;
    s->gate_io.on_ready = on_gate;
    s->oom_io.on_ready = on_oom;
    s->retry.on_due = on_retry;
    s->oom_check.on_due = on_oom_check;
    int r = make(s, leader, host_name, &ends, e);
    fd_auto(&ends.gate);
    fd_auto(&ends.control);
    cgroup_files_close(&ends.files);
    if (r < 0)
        return err_wrap(e, "sandbox");
    *ret = TAKE(s);
    return 0;
}

int shell_open(const struct shell_maker *m, uint64_t id, uint32_t slot, struct shell **ret, struct err *e)
{
    return open_with(m, id, slot, NULL, NULL, ret, e);
}

int shell_join(const struct shell_maker *m, uint64_t id, const struct shell *leader, const char *host_name,
               struct shell **ret, struct err *e)
{
    return open_with(m, id, leader->slot, leader, host_name, ret, e);
}
