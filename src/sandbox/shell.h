/* shell.h -- the launcher's side of one sandbox: made, parked, used, ended, removed.
 *
 *     MAKING --ready--> IDLE --took--> USED        (state keeps the last of these, for the books)
 *        \________________|______________|____ its init ends ____> on_ended
 *
 * Receives a slot (which uid range) and an id. Owns the init's pidfd, the cgroup and the gate.
 * Emits on_ready once, when the stem is parked (or not at all), and on_ended once and last, when no process
 * and no cgroup of it is left. Refuses nothing: what fails to become ready ends.
 * Loop thread; its making enters other namespaces for moments, so the process must be single-threaded. */
#pragma once

#include "os/cgroup.h"
#include "os/loop.h"
#include "os/ns.h"
#include "os/sysfilter.h"
#include "sandbox/join.h"
#include "sandbox/protocol.h"

struct shell;
enum shell_state { SHELL_MAKING, SHELL_IDLE, SHELL_USED };

/* What all shells are made with. */
struct shell_maker {
    struct loop *loop;
    struct cgroup_tree *cgroups;
    const struct sysfilter *filter;
    uint64_t key;
    int stage_fd;                     /* rootfs_stage_open() */
    int home_mnt_fd, home_net_fd, home_dir_fd; /* our own, to come back to */
    bool full_map;
    void (*on_ready)(void *ctx, struct shell *s);
    /* `why` only if it never became ready. May free. */
    void (*on_ended)(void *ctx, struct shell *s, const struct notice_exit *x, const struct err *why);
    void *ctx;
};
/* Opens home_*; the rest is the caller's. */
int shell_maker_home(struct shell_maker *m, struct err *e) MUST_USE;
void shell_maker_done(struct shell_maker *m); /* closes stage_fd and home_* */

struct shell {
    const struct shell_maker *maker;
    struct list_node node; /* the launcher's */
    uint64_t id;
    uint32_t slot;
    uint32_t life; /* the owner's: which node it was made for */
    enum shell_state state;
    bool ended; /* no process is left; the control group may still be */
    uint64_t begun_us;
    int control_fd; /* node's end; taken by whoever hands it over */
    int netns_fd;
    int ipcns_fd, utsns_fd; /* without root, for who joins; else -1 */
    uint64_t beside; /* the shell whose pod it joined; 0: it is its own */
    int pod_fd;      /* (owner) the mount namespace with its pod's volumes; -1: none */
    uint32_t volume_count;
    int volume_fds[JOIN_VOLUMES_MAX]; /* of a joined one, as control_fd */
    /* private */
    int pidfd, stem_pidfd, gate_fd, oom_fd;
    struct cgroup *cgroup;
    struct loop_io init_io, gate_io, oom_io;
    struct loop_timer retry, oom_check;
    uint32_t retries, oom_checks;
    struct notice_exit exit;
    struct err why;
};

int shell_open(const struct shell_maker *m, uint64_t id, uint32_t slot, struct shell **ret,
               struct err *e) MUST_USE;
/* One that joins the pod of `leader`, which must be ready: its network, ipc and uts namespaces, its user ids (the slot is
 * the leader's), its volumes. */
int shell_join(const struct shell_maker *m, uint64_t id, const struct shell *leader, const char *host_name,
               struct shell **ret, struct err *e) MUST_USE;
/* Kills and forgets without a word; for when all goes down. Waits for the kernel to finish. */
void shell_free(struct shell *s);
DEFINE_AUTO(shell, struct shell *, shell_free)

void shell_kill(struct shell *s);              /* on_ended follows */
void shell_signal(struct shell *s, int signo); /* to the function */
uint32_t shell_owner(const struct shell *s); /* user id here of root inside */
void shell_usage_open(const struct shell *s, int *ret_cpu_fd, int *ret_memory_fd); /* -1: none */
