/* sandbox_world.h -- for tests and benches: a real launcher in a child process, and we play the node.
 *
 * The node that the launcher starts only hands its socket to us and waits to be killed. */
#pragma once

#include "base/buf.h"
#include "os/fd.h"
#include "sandbox/launcher.h"
#include "sandbox/native.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct world {
    char dir[64], store[96], data[96], root[96];
    char group[32]; /* the name of the launcher's control groups */
    struct limits limits;
    pid_t launcher, node; /* node: the stand-in process */
    int nodes_fd;         /* a packet with a socket arrives here for every node started */
    struct loop *loop;
    struct sandbox_tier *tier;
    bool lost, draining, as_user;
    int fetcher_fd;
    uint32_t fetchers;
};

struct world_node_word {
    pid_t pid;
};

static int world_child_fd = -1; /* in the launcher process only */

__attribute__((unused)) static void world_run_node(void *ctx, int link_fd, bool privileged)
{
    struct world_node_word w = { getpid() };
    struct fd_packet p = { .at = &w, .size = sizeof w, .fds = { link_fd }, .fd_count = 1 };
    struct err e = { 0 };
    (void)ctx;
    (void)privileged;
    if (fd_packet_send(world_child_fd, &p, &e) != 0)
        _exit(9);
    close(link_fd);
    for (;;) { /* SIGUSR1: exit as an orderly node does */
        sigset_t set;
        int signo;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        sigprocmask(SIG_BLOCK, &set, NULL);
        if (sigwait(&set, &signo) == 0)
            _exit(0);
    }
}

__attribute__((unused)) static void world_run_fetcher(void *ctx, int link_fd, bool privileged)
{
    char byte;
    (void)ctx;
    (void)privileged;
    while (read(link_fd, &byte, 1) == 1)
        if (write(link_fd, &byte, 1) != 1) /* an echo is enough to tell that it is the right one */
            break;
    _exit(0);
}

static void world_on_fetcher(void *ctx, int take_fd)
{
    struct world *w = ctx;
    if (w->fetcher_fd >= 0)
        close(w->fetcher_fd);
    w->fetcher_fd = take_fd;
    w->fetchers++;
}
static void world_on_drain(void *ctx) { ((struct world *)ctx)->draining = true; }
static void world_on_lost(void *ctx, const struct err *why)
{
    (void)why;
    ((struct world *)ctx)->lost = true;
}
static const struct native_events world_events = { world_on_fetcher, world_on_drain, world_on_lost };

/* One turn of the loop, at most `ms`; so that a broken launcher fails a test instead of hanging it. */
static void world_alarm(struct loop_timer *t) { (void)t; }
static void world_turn(struct world *w, uint32_t ms)
{
    struct err e = { 0 };
    struct loop_timer limit = { .on_due = world_alarm };
    loop_after(w->loop, &limit, (uint64_t)ms * 1000);
    if (loop_turn(w->loop, true, &e) < 0)
        abort();
    loop_cancel(w->loop, &limit);
}
#define WORLD_UNTIL(w, cond)                                                               \
    do {                                                                                   \
        uint64_t until_us = loop_clock_us((w)->loop) + 20000000;                           \
        while (!(cond) && loop_clock_us((w)->loop) < until_us)                             \
            world_turn(w, 100);                                                            \
    } while (0)

/* Takes over the socket of the node that the launcher started (again). */
__attribute__((unused)) static bool world_node_take(struct world *w)
{
    struct world_node_word word;
    struct fd_packet p = { .at = &word, .size = sizeof word };
    struct err e = { 0 };
    if (fd_packet_recv(w->nodes_fd, &p, &e) != 1 || p.fd_count != 1)
        return false;
    w->node = word.pid;
    w->lost = w->draining = false;
    return native_tier_open(w->loop, p.fds[0], &w->limits, &world_events, w, &w->tier, &e) == 0 &&
           native_serving(w->tier, &e) == 0;
}

static _Noreturn void world_launcher_main(struct world *w, bool with_fetcher)
{
    const char *const roots[] = { w->root };
    const struct launcher_config c = { .data_dir = w->data,
                                       .store_dir = w->store,
                                       .limits = &w->limits,
                                       .file_roots = roots,
                                       .file_root_count = 1,
                                       .children = { .run_node = world_run_node,
                                                     .run_fetcher = with_fetcher ? world_run_fetcher
                                                                                 : NULL } };
    struct err e = { 0 };
    if (w->as_user && (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
        _exit(3);
    int r = launcher_run(&c, &e);
    if (r < 0)
        fprintf(stderr, "# launcher: %s\n", e.text);
    close(world_child_fd);
    exit(r < 0 ? 1 : 0); /* not _exit: the leak check runs here too */
}

__attribute__((unused)) static bool world_launch(struct world *w, bool with_fetcher)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    fflush(stdout);
    w->launcher = fork();
    if (w->launcher == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        world_child_fd = pair[1];
        world_launcher_main(w, with_fetcher);
    }
    close(pair[1]);
    w->nodes_fd = pair[0];
    return w->launcher > 0 && world_node_take(w);
}

__attribute__((unused)) static bool world_open(struct world *w)
{
    struct err e = { 0 };
    *w = (struct world){ .nodes_fd = -1, .fetcher_fd = -1 };
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* what a killed launcher leaves is ours to reap */
    snprintf(w->dir, sizeof w->dir, "/tmp/hob-test-XXXXXX");
    if (!mkdtemp(w->dir) || chmod(w->dir, 0755) < 0)
        return false;
    snprintf(w->store, sizeof w->store, "%s/store", w->dir);
    snprintf(w->data, sizeof w->data, "%s/data", w->dir);
    snprintf(w->root, sizeof w->root, "%s/root", w->dir);
    limits_default(&w->limits);
    w->limits.sandbox_pool_max = 0; /* it grows only where a test is about that */
    launcher_group_name(w->data, w->group, sizeof w->group);
    return mkdir(w->store, 0755) == 0 && mkdir(w->data, 0755) == 0 && mkdir(w->root, 0755) == 0 &&
           loop_open(&w->loop, &e) == 0;
}

__attribute__((unused)) static void world_tier_free(struct world *w)
{
    if (w->tier)
        w->tier->ops->tier_free(w->tier);
    w->tier = NULL;
}

/* SIGTERM, the node's orderly exit, and the launcher's. Its exit status. */
__attribute__((unused)) static int world_stop(struct world *w)
{
    int status = -1;
    kill(w->launcher, SIGTERM);
    WORLD_UNTIL(w, w->draining || w->lost);
    kill(w->node, SIGUSR1);
    waitpid(w->launcher, &status, 0);
    world_tier_free(w);
    close(w->nodes_fd);
    w->nodes_fd = -1;
    w->launcher = 0;
    return status;
}

__attribute__((unused)) static void world_close(struct world *w)
{
    char command[128];
    if (w->launcher > 0) {
        kill(w->launcher, SIGKILL);
        waitpid(w->launcher, NULL, 0);
    }
    world_tier_free(w);
    loop_free(w->loop);
    if (w->nodes_fd >= 0)
        close(w->nodes_fd);
    if (w->fetcher_fd >= 0)
        close(w->fetcher_fd);
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    if (strncmp(w->dir, "/tmp/hob-test-", 14) == 0 && system(command) != 0)
        printf("# %s stays\n", w->dir);
}

/* ---- one run of a program ---------------------------------------------------------------- */

struct run {
    struct world *w;
    struct sandbox *sb;
    struct sandbox_pipes pipes;
    bool started, ended, pool_hit, never_ran;
    struct sandbox_exit exit;
    struct err why;
    struct buf out;
    struct loop_io out_io;
    uint64_t sent_us, exec_us, ended_us;
    int served_fd; /* taken; -1: none came */
    bool served_late;
};

static void run_on_started(void *ctx, uint64_t exec_us, bool pool_hit)
{
    struct run *x = ctx;
    x->started = true;
    x->exec_us = exec_us;
    x->pool_hit = pool_hit;
}
static void run_on_ended(void *ctx, const struct sandbox_exit *exit, const struct err *why)
{
    struct run *x = ctx;
    x->ended = true;
    x->ended_us = loop_clock_us(x->w->loop);
    x->exit = *exit;
    if (why) {
        x->never_ran = true;
        x->why = *why;
    }
}
static void run_on_served(void *ctx, int take_fd)
{
    struct run *x = ctx;
    x->served_late = x->started || x->served_fd >= 0;
    x->served_fd = take_fd;
}
static const struct sandbox_events run_events = { run_on_started, run_on_ended, run_on_served };

static void run_on_out(struct loop_io *io, uint32_t events)
{
    struct run *x = CONTAINER_OF(io, struct run, out_io);
    char room[4096];
    (void)events;
    ssize_t n = read(x->pipes.out_fd, room, sizeof room);
    if (n > 0)
        buf_append(&x->out, room, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        loop_unwatch(x->w->loop, &x->out_io);
}

__attribute__((unused)) static bool run_begin(struct world *w, struct run *x,
                                              const struct sandbox_spec *spec)
{
    *x = (struct run){ .w = w, .pipes = { -1, -1 }, .served_fd = -1 };
    buf_init(&x->out, 1024 * 1024);
    x->out_io.on_ready = run_on_out;
    x->sent_us = loop_clock_us(w->loop);
    if (w->tier->ops->start(w->tier, spec, &run_events, x, &x->sb, &x->pipes, &x->why) < 0)
        return false;
    return loop_watch(w->loop, &x->out_io, x->pipes.out_fd, EPOLLIN, &x->why) == 0;
}

__attribute__((unused)) static void run_end(struct run *x)
{
    WORLD_UNTIL(x->w, x->ended && !loop_watched(&x->out_io));
    loop_unwatch(x->w->loop, &x->out_io);
    x->w->tier->ops->free(x->sb);
    x->sb = NULL;
    if (x->pipes.out_fd >= 0)
        close(x->pipes.out_fd);
    if (x->pipes.phases_fd >= 0)
        close(x->pipes.phases_fd);
}

static const char *const run_env[] = { "PATH=/usr/bin:/bin", "PORT=8080", NULL };

/* A spec with what every test wants; the caller changes what it is about. */
__attribute__((unused)) static struct sandbox_spec run_spec(const char *const *argv)
{
    return (struct sandbox_spec){ .id = "t-1",
                                  .argv = argv,
                                  .env = run_env,
                                  .workdir = "/",
                                  .uid = 65532,
                                  .gid = 65532,
                                  .memory_bytes = MIB(128),
                                  .ephemeral_bytes = MIB(4),
                                  .cpu_milli = 1000,
                                  .pids_max = 32,
                                  .fds_max = 256 };
}
