/* Every fallible step of making a sandbox fails once, in us and in the child; nothing may remain. */
#include "tap.h"

#include "fds.h"
#include "os/fault.h"
#include "os/fd.h"
#include "sandbox/join.h"
#include "sandbox/native.h"
#include "sandbox/rootfs.h"
#include "sandbox/shell.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define GROUP "hob-test-shell-%d"
enum {
    STEPS_MAX = 400,
    IN_A_ROW = 4, /* some steps may fail without harm: only several quiet runs are the end */
};

static bool no_children(void) { return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD; }

struct seen {
    bool ready, ended;
    struct err why;
};
static void on_ready(void *ctx, struct shell *s)
{
    (void)s;
    ((struct seen *)ctx)->ready = true;
}
static void on_ended(void *ctx, struct shell *s, const struct notice_exit *x, const struct err *why)
{
    struct seen *seen = ctx;
    (void)s;
    (void)x;
    seen->ended = true;
    if (why)
        seen->why = *why;
}

struct fixture {
    char store[64], group[48];
    struct shell_maker maker;
    struct sysfilter *filter;
    struct seen seen;
};

static bool fixture_open(struct fixture *f)
{
    struct err e = { 0 };
    *f = (struct fixture){ .maker = { .stage_fd = -1, .home_mnt_fd = -1, .home_net_fd = -1, .home_dir_fd = -1 } };
    snprintf(f->store, sizeof f->store, "/tmp/hob-test-XXXXXX");
    snprintf(f->group, sizeof f->group, GROUP, (int)getpid());
    f->maker.full_map = true;
    f->maker.on_ready = on_ready;
    f->maker.on_ended = on_ended;
    f->maker.ctx = &f->seen;
    f->maker.key = 1;
    if (!mkdtemp(f->store) || loop_open(&f->maker.loop, &e) < 0 ||
        cgroup_tree_open(f->group, &f->maker.cgroups, &e) < 0 || sysfilter_open(1, &f->filter, &e) < 0)
        return false;
    f->maker.filter = f->filter;
    const struct rootfs_stage stage = { f->store, f->maker.cgroups };
    return shell_maker_home(&f->maker, &e) == 0 && rootfs_stage_open(&stage, &f->maker.stage_fd, &e) == 0;
}

static void fixture_close(struct fixture *f)
{
    shell_maker_done(&f->maker);
    cgroup_tree_free(f->maker.cgroups);
    sysfilter_free(f->filter);
    loop_free(f->maker.loop);
    rmdir(f->store);
}

static bool group_is_empty(const struct fixture *f)
{
    for (int k = 0; k < CGROUP_KINDS; k++) {
        const char *path = cgroup_tree_path(f->maker.cgroups, (enum cgroup_kind)k);
        DIR *dir = path ? opendir(path) : NULL;
        bool found = false;
        for (struct dirent *d; dir && (d = readdir(dir)) != NULL;)
            found |= d->d_type == DT_DIR && d->d_name[0] != '.';
        if (dir)
            closedir(dir);
        if (found)
            return false;
    }
    return true;
}

static void on_late(struct loop_timer *t) { (void)t; }
static void until_settled(struct fixture *f)
{
    struct err e = { 0 };
    uint64_t until_us = loop_clock_us(f->maker.loop) + 10000000;
    while (!f->seen.ready && !f->seen.ended && loop_clock_us(f->maker.loop) < until_us) {
        struct loop_timer t = { .on_due = on_late };
        loop_after(f->maker.loop, &t, 100000);
        if (loop_turn(f->maker.loop, true, &e) < 0)
            abort();
        loop_cancel(f->maker.loop, &t);
    }
}

/* The counter is copied by the fork: what does not fail here fails in the child, and comes back as
 * words. The sweep is over when the shell gets ready with the fault still unused on both sides. */
TEST(a_shell_that_fails_anywhere_leaves_nothing)
{
    if (geteuid() != 0)
        SKIP("needs root");
    struct fixture f;
    CHECK(fixture_open(&f));
    int fds = fds_open(), nth = 0, in_child = 0, here = 0, borne = 0;
    for (int whole = 0; whole < IN_A_ROW;) {
        struct shell *s = NULL;
        struct err e = { 0 };
        CHECK(++nth < STEPS_MAX);
        f.seen = (struct seen){ 0 };
        fault_arm(nth);
        int r = shell_open(&f.maker, (uint64_t)nth, 7, &s, &e);
        bool fired = fault_fired();
        fault_arm(0);
        CHECK(r == 0 || (fired && r == -CODE_EXHAUSTED));
        CHECK((s == NULL) == (r < 0));
        here += r < 0;
        borne += r == 0 && fired; /* the out-of-memory score may fail */
        if (s) {
            until_settled(&f);
            CHECK(f.seen.ready != f.seen.ended); /* one of them, and soon */
            whole = f.seen.ready && !fired ? whole + 1 : 0;
            if (f.seen.ended) {
                if (f.seen.why.code == CODE_OK || !strstr(f.seen.why.text, "sandbox: "))
                    FAIL("step %d in the child: \"%s\"", nth, f.seen.why.text);
                in_child++;
            }
        }
        shell_free(s);
        CHECK_EQ(fds_open(), fds);
        CHECK(no_children());
        CHECK(group_is_empty(&f));
    }
    printf("# %d failures here, %d in the child, %d borne\n", here, in_child, borne);
    CHECK(borne <= 4);
    CHECK(here >= 15 && in_child >= 60); /* the sweep really reached the last steps */
    fixture_close(&f);
}

TEST(a_stage_that_fails_anywhere_leaves_nothing)
{
    if (geteuid() != 0)
        SKIP("needs root");
    struct fixture f;
    CHECK(fixture_open(&f));
    const struct rootfs_stage stage = { f.store, f.maker.cgroups };
    int fds = fds_open(), nth = 0, failures = 0;
    for (int quiet = 0; quiet < IN_A_ROW;) {
        int fd = -1;
        struct err e = { 0 };
        CHECK(++nth < STEPS_MAX);
        fault_arm(nth);
        int r = rootfs_stage_open(&stage, &fd, &e);
        fault_arm(0);
        CHECK((fd >= 0) == (r == 0));
        CHECK(r == 0 || e.text[0]);
        failures += r < 0;
        quiet = r == 0 ? quiet + 1 : 0;
        if (fd >= 0)
            close(fd);
        CHECK_EQ(fds_open(), fds);
        CHECK(no_children());
    }
    CHECK(failures >= 40);
    fixture_close(&f);
}

/* Living and dead ones that nobody reaped. */
static int children_count(void)
{
    char path[64], text[4096] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "re");
    size_t size = f ? fread(text, 1, sizeof text - 1, f) : 0;
    int count = f ? 0 : -1;
    if (f)
        fclose(f);
    for (size_t i = 0; i < size; i++)
        count += text[i] == ' ';
    return count;
}

/* One turn of the sweep: what was made is taken away again. */
static void volumes_turn(const struct join_volumes *v, bool *ret_made)
{
    int mnt = -1, fds[JOIN_VOLUMES_MAX];
    struct err e = { 0 };
    int r = join_volumes_make(v, &mnt, fds, &e);
    *ret_made = r == 0;
    CHECK((mnt >= 0) == (r == 0) && (r == 0 || e.text[0]));
    for (uint32_t i = 0; r == 0 && i < v->count; i++)
        CHECK_EQ(close(fds[i]), 0);
    if (r == 0)
        CHECK_EQ(close(mnt), 0);
}

static void clone_turn(const struct join_place *j, bool *ret_made)
{
    int pidfd = -1, fds[JOIN_VOLUMES_MAX];
    struct ns_exit gone;
    struct err e = { 0 };
    int pid = join_clone(j, &pidfd, fds, &e);
    if (pid == 0) {
        if (ns_die_with_parent(-1))
            pause(); /* lives until somebody ends it: who forgets it is seen */
        _exit(0);
    }
    *ret_made = pid > 0;
    CHECK((pidfd >= 0) == (pid > 0) && (pid > 0 || e.text[0]));
    if (pid < 0)
        return;
    for (uint32_t i = 0; i < j->volume_count; i++)
        CHECK_EQ(close(fds[i]), 0);
    CHECK_EQ(ns_signal(pidfd, SIGKILL, &e), 0);
    CHECK_EQ(ns_reap(pidfd, true, &gone, &e), 0);
    CHECK_EQ(close(pidfd), 0);
}

TEST(who_cannot_join_a_pod_leaves_nothing)
{
    if (geteuid() != 0)
        SKIP("needs root");
    struct fixture f;
    struct shell *leader = NULL;
    struct err e = { 0 };
    const uint64_t bytes[] = { 65536, 65536 };
    int fds[JOIN_VOLUMES_MAX], volumes_failed = 0, clones_failed = 0;
    CHECK(fixture_open(&f));
    CHECK_EQ(shell_open(&f.maker, 1, 7, &leader, &e), 0);
    until_settled(&f);
    CHECK(f.seen.ready && !f.seen.ended);
    const struct join_volumes v = { .stage_fd = f.maker.stage_fd, .bytes = bytes, .count = 2, .owner = shell_owner(leader) };
    int open_before = fds_open(), children = children_count();
    CHECK(children >= 1);
    for (int nth = 1, quiet = 0; quiet < IN_A_ROW; nth++) {
        CHECK(nth < STEPS_MAX);
        fault_arm(nth);
        bool made = false;
        volumes_turn(&v, &made);
        fault_arm(0);
        quiet = made ? quiet + 1 : 0;
        volumes_failed += !made;
        CHECK_EQ(fds_open(), open_before);
        CHECK_EQ(children_count(), children);
    }
    CHECK_EQ(join_volumes_make(&v, &leader->pod_fd, fds, &e), 0);
    const struct join_place at = { .stage_fd = f.maker.stage_fd, .leader_pidfd = leader->pidfd, .net_fd = -1, .ipc_fd = -1,
                                   .uts_fd = -1, .name = "joins", .volumes_fd = leader->pod_fd, .volume_count = 2 };
    open_before = fds_open();
    for (int nth = 1, quiet = 0; quiet < IN_A_ROW; nth++) {
        CHECK(nth < STEPS_MAX);
        fault_arm(nth);
        bool made = false;
        clone_turn(&at, &made);
        fault_arm(0);
        quiet = made ? quiet + 1 : 0;
        clones_failed += !made;
        CHECK_EQ(fds_open(), open_before);
        CHECK_EQ(children_count(), children);
    }
    printf("# %d failures of volumes, %d of who joins\n", volumes_failed, clones_failed);
    CHECK(volumes_failed >= 12 && clones_failed >= 10); /* the sweep really reached the last steps */
    close(fds[0]);
    close(fds[1]);
    shell_free(leader);
    CHECK(no_children());
    fixture_close(&f);
}

TEST(sockets_that_cannot_be_made_leave_nothing)
{
    if (geteuid() != 0)
        SKIP("needs root");
    struct fixture f;
    struct err e = { 0 };
    int got[8], failures = 0;
    CHECK(fixture_open(&f));
    for (int home = 0; home < 2; home++) {
        int fds = fds_open(), nth = 0;
        for (int r = -1; r < 0;) {
            CHECK(++nth < 60);
            fault_arm(nth);
            r = ns_sockets_make(f.maker.home_net_fd, home ? f.maker.home_net_fd : -1, got, 8, &e);
            fault_arm(0);
            failures += r < 0;
            for (int i = 0; r == 0 && i < 8; i++)
                CHECK_EQ(close(got[i]), 0);
            CHECK_EQ(fds_open(), fds);
            CHECK(no_children());
        }
    }
    CHECK(failures >= 18);
    fixture_close(&f);
}

/* The node's side of a start: the order, two pipes, and a launcher that never answers. */
static const struct native_events no_events;
static const struct sandbox_events no_sandbox_events;

TEST(a_start_that_fails_anywhere_in_the_node_leaves_nothing)
{
    int pair[2], nth = 0;
    struct loop *l = NULL;
    struct sandbox_tier *t = NULL;
    struct limits limits;
    struct err e = { 0 };
    const char *const argv[] = { "/app/x", NULL }, *const env[] = { NULL };
    const struct sandbox_spec s = { .id = "x",
                                    .argv = argv,
                                    .env = env,
                                    .workdir = "/",
                                    .uid = 1,
                                    .gid = 1,
                                    .memory_bytes = MIB(8),
                                    .ephemeral_bytes = MIB(1),
                                    .cpu_milli = 100,
                                    .pids_max = 4,
                                    .fds_max = 16 };
    limits_default(&limits);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK_EQ(loop_open(&l, &e), 0);
    CHECK_EQ(native_tier_open(l, pair[0], &limits, &no_events, NULL, &t, &e), 0);
    int fds = fds_open(), failures = 0;
    for (bool fired = true; fired;) {
        struct sandbox *sb = NULL;
        struct sandbox_pipes pipes = { -1, -1 };
        CHECK(++nth < 50);
        fault_arm(nth);
        int r = t->ops->start(t, &s, &no_sandbox_events, NULL, &sb, &pipes, &e);
        fired = fault_fired();
        fault_arm(0);
        CHECK_EQ(r, fired ? -CODE_EXHAUSTED : 0);
        CHECK((sb == NULL) == fired && (pipes.out_fd < 0) == fired && (pipes.phases_fd < 0) == fired);
        failures += fired;
        t->ops->free(sb);
        if (pipes.out_fd >= 0) {
            close(pipes.out_fd);
            close(pipes.phases_fd);
        }
        CHECK_EQ(fds_open(), fds);
        if (fired && r == -CODE_EXHAUSTED && strstr(e.text, "send packet"))
            break; /* the link itself is gone then, and says so elsewhere */
    }
    CHECK(failures >= 5);
    t->ops->tier_free(t);
    loop_free(l);
    close(pair[1]);
}

TEST_MAIN()
