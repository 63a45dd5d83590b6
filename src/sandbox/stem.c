#include "sandbox/stem.h"
#include "os/fd.h"
#include "os/landlock.h"
#include "os/ns.h"
#include "sandbox/command.h"
#include "sandbox/order.h"
#include "sandbox/protocol.h"
#include "sandbox/rootfs.h"
#include "sandbox/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <link.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    KEPT_FDS_FROM = 10,   /* ours are above, so that 0 to 3 are free for the function's */
    ABOVE_KEPT = 200,     /* and below this */
    INIT_UID = 65535,     /* of init once it only reaps: nobody's, inside and outside */
    NESTED_OWNER = 65533, /* who owns the inner namespace of a uid above 65535 */
    FAILED_STATUS = 127,
    CLEAR_AFTER_MS = 20, /* how long the start is left alone: most have their first request by then */
    WARM_SEGMENT_MAX = 4 * 1024 * 1024, /* a sanitizer's tables are not worth it */
    WARM_STACK = 32 * 1024,
};
#define MAPPED_IDS 65536u

struct stem {
    const struct stem_config *config;
    struct cgroup_files files;
    int gate_fd, control_fd, ruleset_fd;
    int runs_fd; /* init reads it, the stem only holds it: its end of file is the exec */
    uint64_t at_ns[STEM_STEPS];
};

static uint64_t clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static _Noreturn void fail(int fd, const struct err *e)
{
    struct stem_word w = { .type = STEM_FAILED, .code = e->code, .sys_errno = e->sys_errno };
    snprintf(w.text, sizeof w.text, "%s", e->text);
    ssize_t n = write(fd, &w, sizeof w); /* nobody there: then nobody asks */
    (void)n;
    _exit(FAILED_STATUS);
}

/* ---- init: before the stem exists ------------------------------------------------------- */

/* A fork without exec has every descriptor of the launcher: other sandboxes' sockets, the node's
 * link, the listening sockets. All go but `kept`. */
static int descriptors_keep(int *const *kept, size_t count, struct err *e)
{
    unsigned next = KEPT_FDS_FROM;
    /* Out of the way first, so that none lands on another that is still to be moved. */
    for (size_t i = 0; i < count; i++) {
        if (*kept[i] < 0)
            continue;
        int fd = fcntl(*kept[i], F_DUPFD_CLOEXEC, ABOVE_KEPT);
        if (fd < 0)
            return err_sys(e, "descriptors");
        *kept[i] = fd;
    }
    if (syscall(SYS_close_range, 0, ABOVE_KEPT - 1, 0) < 0)
        return err_sys(e, "descriptors");
    for (size_t i = 0; i < count; i++) {
        if (*kept[i] < 0)
            continue;
        if (dup3(*kept[i], (int)next, O_CLOEXEC) < 0)
            return err_sys(e, "descriptors");
        *kept[i] = (int)next++;
    }
    if (syscall(SYS_close_range, next, ~0u, 0) < 0)
        return err_sys(e, "descriptors");
    return 0;
}

/* So that no descriptor of ours ever has one of the function's numbers. */
static int descriptors_stop(struct err *e)
{
    int null = open("/fn/dev/null", O_RDWR | O_CLOEXEC);
    if (null != 0 || dup(null) != 1 || dup(null) != 2 || dup(null) != 3)
        return err_sys(e, "/dev/null");
    return 0;
}

static int go_wait(int gate_fd)
{
    char go;
    ssize_t n;
    do
        n = read(gate_fd, &go, 1);
    while (n < 0 && errno == EINTR);
    return n == 1 ? 0 : -1; /* the launcher is gone or changed its mind */
}

/* Programs expect to serve port 80 in a container, whoever they run as. */
static void ports_open(void)
{
    fd_path_try(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
}

static int confine_early(struct stem *s, struct err *e)
{
    /* uid 0 means nothing here: neither set-uid programs nor exec as 0 bring capabilities */
    const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                               SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0)
        return err_sys(e, "secure bits");
    int r = ns_bounding_drop(e);
    if (r < 0)
        return r;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_sys(e, "no new privileges");
    s->ruleset_fd = landlock_open(e);
    if (s->ruleset_fd == -CODE_UNIMPLEMENTED)
        s->ruleset_fd = -1; /* doctor says so */
    else if (s->ruleset_fd < 0 || (r = rootfs_grant(s->ruleset_fd, e)) < 0)
        return r < 0 ? r : s->ruleset_fd;
    ns_signals_reset();
    umask(022);
    return sysfilter_install(s->config->filter, e);
}

static int inside_make(struct stem *s, struct err *e)
{
    const struct stem_config *c = s->config;
    if (!c->full_map) {
        prctl(PR_SET_DUMPABLE, 1); /* or our own /proc files are not ours to write */
        const struct ns_map self = { 0, 0, 1 };
        int r = ns_map_write(0, &self, &self, true, e);
        if (r < 0)
            return r;
    }
    if (go_wait(s->gate_fd) < 0)
        _exit(FAILED_STATUS);
    int r = cgroup_enter(c->cgroup, e);
    if (r < 0)
        return r;
    /* Only now, so that the namespace's root is our own group */
    if (unshare(CLONE_NEWCGROUP) < 0)
        return err_sys(e, "cgroup namespace");
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return err_sys(e, "become root of the user namespace");
    r = c->joined ? 0 : ns_loopback_up(e);
    if (r < 0)
        return r;
    if (!c->joined)
        ports_open();
    r = rootfs_enter(c->cgroups, c->cgroup_id, c->full_map, e);
    if (r < 0)
        return r;
    int *const kept[] = { &s->gate_fd,         &s->control_fd,       &s->files.memory,
                          &s->files.swap,      &s->files.oom_group,  &s->files.cpu_quota,
                          &s->files.cpu_period, &s->files.cpu_shares, &s->files.pids };
    r = descriptors_keep(kept, COUNT_OF(kept), e);
    if (r == 0)
        r = descriptors_stop(e);
    return r < 0 ? r : confine_early(s, e);
}

/* ---- stem: from the order to exec -------------------------------------------------------- */

/* Reads the order into memory of its own: a memory file could be changed while it is checked. */
static char *order_fetch(const struct fd_packet *p, size_t *ret_size, struct err *e)
{
    struct order_elsewhere where;
    if (p->size != sizeof where) {
        *ret_size = p->size;
        return p->at;
    }
    memcpy(&where, p->at, sizeof where);
    if (where.magic != ORDER_ELSEWHERE_MAGIC || where.size > ORDER_BYTES_MAX ||
        p->fd_count <= ORDER_FD_RUNNER) {
        err_set(e, CODE_INVALID, "order: not one");
        return NULL;
    }
    char *bytes = mmap(NULL, where.size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED ||
        pread(p->fds[p->fd_count - 1], bytes, where.size, 0) != (ssize_t)where.size) {
        err_set(e, CODE_INVALID, "order: cannot be read");
        return NULL;
    }
    *ret_size = where.size;
    return bytes;
}

/* The function's own, and ours: init, and what runs its exec probes. */
static uint32_t processes_max(const struct order_head *h)
{
    return h->pids_max + 1 + (h->flags & ORDER_RUNNER ? RUNNER_PIDS : 0);
}

static int limits_apply(struct stem *s, const struct order_head *h, struct err *e)
{
    const struct cgroup_limits limits = { .memory_bytes = h->memory_bytes,
                                          .cpu_milli = h->cpu_milli,
                                          .pids_max = processes_max(h) };
    int r = cgroup_limits_write(&s->files, &limits, e);
    if (r < 0)
        return r;
    /* Counted per user namespace: the poor man's pids.max */
    if (s->files.pids < 0)
        r = ns_limit_set(RLIMIT_NPROC, processes_max(h), e);
    if (r == 0)
        r = ns_limit_set(RLIMIT_NOFILE, h->fds_max, e);
    return r < 0 ? r : ns_limit_set(RLIMIT_CORE, 0, e);
}

static int descriptors_place(const struct fd_packet *p, struct err *e)
{
    /* 0 is /dev/null already; dup2 clears close-on-exec */
    if (fcntl(0, F_SETFD, 0) < 0 || dup2(p->fds[ORDER_FD_OUT], 1) < 0 ||
        dup2(p->fds[ORDER_FD_OUT], 2) < 0 || dup2(p->fds[ORDER_FD_PHASES], 3) < 0)
        return err_sys(e, "standard descriptors");
    return 0;
}

/* A uid that the shell's map does not have gets a user namespace within, of that one id. Its maker may
 * map itself without privilege. */
static int nested_enter(const struct stem_config *c, const struct order_head *h, struct err *e)
{
    const uint32_t owner = c->full_map ? NESTED_OWNER : 0;
    const struct ns_map uid = { h->uid, owner, 1 }, gid = { h->gid, owner, 1 };
    if (setresgid(owner, owner, owner) < 0 || setresuid(owner, owner, owner) < 0)
        return err_sys(e, "user %u", h->uid);
    prctl(PR_SET_DUMPABLE, 1); /* our /proc files, to write the maps; nothing else lives here but init */
    if (syscall(SYS_unshare, CLONE_NEWUSER, 0, 0, 0, 0, c->key) < 0)
        return err_sys(e, "user namespace for user %u", h->uid);
    int r = ns_map_write(0, &uid, &gid, true, e);
    if (r < 0)
        return r;
    prctl(PR_SET_DUMPABLE, 0);
    if (setresgid(h->gid, h->gid, h->gid) < 0 || setresuid(h->uid, h->uid, h->uid) < 0)
        return err_sys(e, "become user %u", h->uid);
    return ns_bounding_drop(e); /* a new user namespace came with a full set */
}

static bool is_mapped(const struct stem_config *c, const struct order_head *h)
{
    return c->full_map ? h->uid < MAPPED_IDS && h->gid < MAPPED_IDS : h->uid == 0 && h->gid == 0;
}

static int user_become(const struct stem_config *c, const struct order_head *h, struct err *e)
{
    if (c->full_map && setgroups(0, NULL) < 0)
        return err_sys(e, "drop groups");
    if (!is_mapped(c, h)) {
        int r = nested_enter(c, h, e);
        if (r < 0)
            return r;
    } else if (setresgid(h->gid, h->gid, h->gid) < 0 || setresuid(h->uid, h->uid, h->uid) < 0) {
        return err_sys(e, "become user %u, group %u", h->uid, h->gid);
    }
    return ns_capabilities_drop(e);
}

static int stamps_send(struct stem *s, struct err *e)
{
    struct stem_word w = { .type = STEM_STAMPS };
    memcpy(w.at_ns, s->at_ns, sizeof w.at_ns);
    return write(s->control_fd, &w, sizeof w) < 0 ? err_sys(e, "control socket") : 0;
}

/* What the function's user, or group, is here, where nested_enter() has not been yet. */
static uint32_t owner_of(const struct stem_config *c, const struct order_head *h, uint32_t id)
{
    return is_mapped(c, h) ? id : c->full_map ? (uint32_t)NESTED_OWNER : 0;
}

/* In this order because each step needs what a later one gives up. Returns only on failure. */
static int order_run(struct stem *s, const struct fd_packet *packet, const struct order *p,
                    struct err *e)
{
    uint64_t key = s->config->key;
    const size_t own_fds = ORDER_FD_RUNNER + (p->head->flags & ORDER_RUNNER ? 1 : 0);
    const struct rootfs_pod pod = { s->config->joined, packet->fds + own_fds, p->volume_count };
    const struct folders_owner owner = { owner_of(s->config, p->head, p->head->uid),
                                         owner_of(s->config, p->head, p->head->gid) };
    int r = limits_apply(s, p->head, e);
    s->at_ns[STEM_LIMITED] = clock_ns();
    if (r >= 0)
        r = rootfs_fill(p, s->ruleset_fd, &owner, &pod, key, e);
    if (r >= 0)
        r = rootfs_seal(!is_mapped(s->config, p->head), key, e);
    s->at_ns[STEM_MOUNTED] = clock_ns();
    if (r >= 0)
        r = descriptors_place(packet, e);
    if (r >= 0 && s->ruleset_fd >= 0)
        r = landlock_restrict(s->ruleset_fd, e);
    if (r >= 0)
        r = user_become(s->config, p->head, e);
    if (r >= 0 && chdir(p->workdir) < 0)
        r = err_sys(e, "working directory %s", p->workdir);
    s->at_ns[STEM_CONFINED] = clock_ns();
    if (r >= 0 && (p->head->flags & ORDER_STAMPS))
        r = stamps_send(s, e);
    if (r >= 0 && (p->head->flags & ORDER_RUNNER))
        r = runner_start(packet->fds[ORDER_FD_RUNNER], p->env, e);
    return r < 0 ? r : command_exec(p->argv, p->env, e);
}

/* ---- what waits, warm ---- */

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

/* The segments of the object that holds `data` (an address of code in it). */
static int segments_warm(struct dl_phdr_info *o, size_t size, void *data)
{
    const uintptr_t wanted = (uintptr_t)data, page = 4096;
    bool is_it = false;
    (void)size;
    for (int i = 0; i < o->dlpi_phnum; i++)
        is_it |= o->dlpi_phdr[i].p_type == PT_LOAD &&
                 wanted - (o->dlpi_addr + o->dlpi_phdr[i].p_vaddr) < o->dlpi_phdr[i].p_memsz;
    for (int i = 0; is_it && i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &o->dlpi_phdr[i];
        uintptr_t from = (o->dlpi_addr + h->p_vaddr) & ~(page - 1);
        uintptr_t to = (o->dlpi_addr + h->p_vaddr + h->p_memsz + page - 1) & ~(page - 1);
        if (h->p_type == PT_LOAD && to - from <= WARM_SEGMENT_MAX)
            (void)madvise((void *)from, to - from,
                          h->p_flags & PF_W ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
    }
    return is_it;
}

/* After a fork every page is one fault away: those of code are not mapped yet, those of data are
 * shared with the parent. Taken now, they do not cost the start forty microseconds. */
static void memory_warm(void)
{
    char *here = __builtin_frame_address(0);
    uintptr_t top = (uintptr_t)here & ~(uintptr_t)4095;
    (void)dl_iterate_phdr(segments_warm, (void *)(uintptr_t)memory_warm);
    (void)dl_iterate_phdr(segments_warm, (void *)(uintptr_t)snprintf);
    (void)madvise((void *)(top - WARM_STACK), WARM_STACK + 4096, MADV_POPULATE_WRITE);
    free(malloc(1)); /* the heap's first page */
}

static _Noreturn void stem_main(struct stem *s)
{
    static _Alignas(struct order_head) char room[ORDER_INLINE_MAX];
    struct fd_packet packet = { .at = room, .size = sizeof room };
    struct order order;
    struct err e = { 0 };
    size_t size;

    (void)setsid();
    prctl(PR_SET_DUMPABLE, 0); /* until exec nobody looks into this memory: it holds the key */
    if (write(s->gate_fd, "r", 1) != 1)
        _exit(FAILED_STATUS);
    close(s->gate_fd);
    memory_warm();
    int r = fd_packet_recv(s->control_fd, &packet, &e);
    s->at_ns[STEM_RECEIVED] = clock_ns();
    if (r == 0)
        _exit(0); /* never needed */
    if (r > 0 && packet.fd_count < ORDER_FD_RUNNER)
        r = err_set(&e, CODE_INVALID, "order: came without its descriptors");
    char *bytes = r > 0 ? order_fetch(&packet, &size, &e) : NULL;
    if (!bytes || order_parse(bytes, size, &order, &e) < 0)
        fail(s->control_fd, &e);
    size_t told = ORDER_FD_RUNNER + (bytes != room);
    told += order.head->flags & ORDER_RUNNER ? 1 : 0;
    if (packet.fd_count != told + order.volume_count) {
        err_set(&e, CODE_INVALID, "order: came without its runner's socket, or its volumes");
        fail(s->control_fd, &e);
    }
    (void)order_run(s, &packet, &order, &e);
    fail(s->control_fd, &e);
}

/* ---- init: once the stem runs ----------------------------------------------------------- */

/* From here on the launcher's end of the gate is watched whenever there is something to wait for: it goes with
 * the launcher. That the kernel tells of a parent's death (PR_SET_PDEATHSIG) is forgotten with every change of
 * user, and asking once afterwards whether it lives is not enough: a shell that was being made when the launcher
 * died has a copy of that end for a moment. */
static void die_with_gate(const struct pollfd *gate)
{
    if (gate->revents & (POLLHUP | POLLERR | POLLNVAL))
        _exit(FAILED_STATUS); /* and with us all processes of the namespace */
}

/* The store is out of the function's sight already. That it goes altogether can wait until the
 * start is over and the CPUs are free; unless the function is over first, then all goes with it. */
static void behind_the_start(int runs_fd, int gate_fd, pid_t stem, uint64_t key)
{
    struct pollfd wait[] = { { .fd = gate_fd }, { .fd = runs_fd, .events = POLLIN } };
    siginfo_t info = { 0 };
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &child, NULL);
    while (wait[1].revents == 0) {
        (void)poll(wait, COUNT_OF(wait), -1);
        die_with_gate(&wait[0]);
    }
    const uint64_t until_ns = clock_ns() + CLEAR_AFTER_MS * UINT64_C(1000000);
    for (uint64_t now_ns; (now_ns = clock_ns()) < until_ns;) {
        const struct timespec left = { .tv_nsec = (long)(until_ns - now_ns) };
        if (waitid(P_PID, (id_t)stem, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0)
            return;
        (void)sigtimedwait(&child, NULL, &left); /* it, or an orphan of its */
    }
    rootfs_clear(key);
}

static void on_child(int signo) { (void)signo; } /* that there is one ends the wait */

/* SIGCHLD is blocked but while we wait, so that none comes in between. */
static _Noreturn void reap_for_ever(pid_t stem, int gate_fd)
{
    const struct sigaction wake = { .sa_handler = on_child };
    struct pollfd gate = { .fd = gate_fd };
    sigset_t none;
    sigemptyset(&none);
    (void)sigaction(SIGCHLD, &wake, NULL);
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == ECHILD)
            _exit(FAILED_STATUS);
        if (pid == stem)
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        if (pid > 0)
            continue;
        gate.revents = 0;
        (void)ppoll(&gate, 1, NULL, &none);
        die_with_gate(&gate);
    }
}

static _Noreturn void init_main(const struct stem_config *c, int runs_fd, int gate_fd, pid_t stem)
{
    struct err e = { 0 };
    int *const kept[] = { &gate_fd, &runs_fd };
    prctl(PR_SET_DUMPABLE, 0);
    if (descriptors_keep(kept, COUNT_OF(kept), &e) < 0)
        _exit(FAILED_STATUS);
    behind_the_start(runs_fd, gate_fd, stem, c->key);
    if ((c->full_map && setresuid(INIT_UID, INIT_UID, INIT_UID) < 0) || ns_capabilities_drop(&e) < 0)
        _exit(FAILED_STATUS);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(runs_fd);
    reap_for_ever(stem, gate_fd);
}

_Noreturn void stem_init_main(const struct stem_config *c)
{
    struct stem s = { .config = c,
                      .files = c->files,
                      .gate_fd = c->gate_fd,
                      .control_fd = c->control_fd,
                      .ruleset_fd = -1 };
    struct err e = { 0 };
    int runs_fd = -1;
    if (!ns_die_with_parent(s.gate_fd))
        _exit(FAILED_STATUS);
    (void)setsid();
    if (inside_make(&s, &e) < 0 || fd_pipe(&runs_fd, &s.runs_fd, &e) < 0)
        fail(s.gate_fd, &e);
    pid_t stem = fork();
    if (stem == 0)
        stem_main(&s);
    if (stem < 0) {
        err_sys(&e, "stem: fork");
        fail(s.gate_fd, &e);
    }
    (void)ns_die_with_parent(-1); /* credentials changed since */
    init_main(c, runs_fd, s.gate_fd, stem);
}
