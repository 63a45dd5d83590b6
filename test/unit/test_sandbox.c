#include "tap.h"

#include "os/fault.h"
#include "os/ns.h"
#include "os/sysfilter.h"
#include "sandbox_world.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/un.h>

/* What runs inside lies in the store, as a bundle would. */
#define PROBE "/app/sandbox_probe"
static const struct sandbox_mount app_mount[] = { { "bundles/probe", "/app" } };

static bool bundle_make(struct world *w)
{
    char command[1536];
    snprintf(command, sizeof command,
             "mkdir -p %s/bundles/probe %s/blobs && cp %s %s/bundles/probe/ && cp %s "
             "%s/bundles/probe/suid_probe && chmod 4755 %s/bundles/probe/suid_probe && echo weights > "
             "%s/blobs/model && chmod 444 %s/blobs/model",
             w->store, w->store, SANDBOX_PROBE, w->store, SANDBOX_PROBE, w->store, w->store, w->store,
             w->store);
    return system(command) == 0;
}

static bool world_ready(struct world *w, uint32_t pool)
{
    if (!world_open(w) || !bundle_make(w))
        return false;
    w->limits.sandbox_pool = pool;
    if (!world_launch(w, false))
        return false;
    WORLD_UNTIL(w, w->tier->ops->pool_ready(w->tier) >= pool || w->lost);
    return !w->lost;
}

static struct sandbox_spec probe_spec(const char *const *argv)
{
    struct sandbox_spec s = run_spec(argv);
    s.mounts = app_mount;
    s.mount_count = 1;
    return s;
}

static bool probe_spec_run(struct world *w, struct run *x, const struct sandbox_spec *s)
{
    bool begun = run_begin(w, x, s);
    if (begun)
        run_end(x);
    buf_append(&x->out, "", 1); /* so that it can be read as text */
    return begun;
}

#define ARGV(...) ((const char *const[]){ PROBE, __VA_ARGS__, NULL })
static bool probe_run(struct world *w, struct run *x, const char *const *argv)
{
    struct sandbox_spec s = probe_spec(argv);
    return probe_spec_run(w, x, &s);
}

static bool says(const struct run *x, const char *line)
{
    for (struct str rest = { buf_at(&x->out), x->out.size - 1 }; rest.size > 0;)
        if (str_is(str_cut(&rest, '\n'), line))
            return true;
    return false;
}
static int count_of(const struct run *x, const char *head)
{
    int count = 0;
    for (struct str rest = { buf_at(&x->out), x->out.size - 1 }; rest.size > 0;)
        count += str_starts(str_cut(&rest, '\n'), str_of(head));
    return count;
}
static long long number(const struct run *x, const char *head)
{
    const char *at = strstr(buf_at(&x->out), head);
    return at ? strtoll(at + strlen(head), NULL, 10) : -1;
}

#define NEEDS_ROOT                                                                         \
    if (geteuid() != 0)                                                                    \
    SKIP("needs root")

/* The same deed outside, by root with everything, in throw-away namespaces so that it harms nobody.
 * Its exit status. */
static int deed_outside(const char *const *argv, bool as_user)
{
    const char *copy[8] = { SANDBOX_PROBE };
    int status = -1, pidfd = -1;
    struct err e = { 0 };
    for (int i = 1; argv[i] && i < 7; i++)
        copy[i] = argv[i];
    fflush(stdout);
    int pid = ns_clone(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC, &pidfd, &e);
    if (pid == 0) {
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || !freopen("/dev/null", "w", stdout))
            _exit(98);
        if (as_user && (setgid(65534) < 0 || setuid(65534) < 0))
            _exit(98);
        execv(copy[0], (char *const *)(uintptr_t)copy);
        _exit(97);
    }
    close(pidfd);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Orphans come to us (world_open() saw to it): one that has ended is not alive. */
static bool is_alive(pid_t pid)
{
    (void)!waitpid(pid, NULL, WNOHANG);
    return kill(pid, 0) == 0;
}

static int fd_count(pid_t pid)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

/* Control groups of this data folder, wherever they are. */
static int groups_left(const struct world *w)
{
    char command[512], text[32] = "";
    snprintf(command, sizeof command, "find /sys/fs/cgroup -type d -path '*/%s*' 2>/dev/null | wc -l",
             w->group);
    FILE *f = popen(command, "r");
    if (f && fgets(text, sizeof text, f) == NULL)
        text[0] = '\0';
    if (f)
        pclose(f);
    return atoi(text);
}

/* ---- the way of one sandbox ------------------------------------------------------------- */

TEST(the_exit_code_comes_back)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    CHECK(world_ready(&w, 1));
    CHECK(probe_run(&w, &x, ARGV("exit", "42")));
    CHECK(x.started && x.ended && !x.never_ran);
    CHECK_EQ(x.exit.status, 42);
    CHECK(!x.exit.oom_killed);
    CHECK(x.exit.cpu_us > 0 && x.exit.memory_peak_bytes > 0);
    CHECK(x.exec_us >= x.sent_us && x.ended_us >= x.exec_us);
    buf_done(&x.out);
    CHECK(probe_run(&w, &x, ARGV("die", "11")));
    CHECK_EQ(x.exit.status, 128 + SIGSEGV);
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    CHECK_EQ(groups_left(&w), 0);
    world_close(&w);
}

TEST(a_shell_from_the_pool_is_a_hit_and_without_one_a_miss)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    CHECK(world_ready(&w, 1));
    CHECK(probe_run(&w, &x, ARGV("exit", "0")));
    CHECK(x.pool_hit);
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
    CHECK(world_ready(&w, 0));
    CHECK(probe_run(&w, &x, ARGV("exit", "3")));
    CHECK(!x.pool_hit);
    CHECK_EQ(x.exit.status, 3);
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

enum { BURST = 6, POOL_AFTER = 5 };

TEST(a_burst_makes_the_pool_larger_and_quiet_makes_it_small_again)
{
    NEEDS_ROOT;
    struct world w;
    struct run runs[BURST];
    struct sandbox_spec s = probe_spec(ARGV("exit", "0"));
    CHECK(world_open(&w) && bundle_make(&w));
    w.limits.sandbox_pool = 2;
    w.limits.sandbox_pool_max = POOL_AFTER;
    w.limits.sandbox_pool_keep_s = 1;
    CHECK(world_launch(&w, false));
    WORLD_UNTIL(&w, w.tier->ops->pool_ready(w.tier) == 2);
    CHECK_EQ(w.tier->ops->pool_wanted(w.tier), 2);
    const int groups = groups_left(&w);
    for (int i = 0; i < BURST; i++)
        CHECK(run_begin(&w, &runs[i], &s));
    for (int i = 0; i < BURST; i++) {
        run_end(&runs[i]);
        CHECK_EQ(runs[i].exit.status, 0);
        buf_done(&runs[i].out);
    }
    WORLD_UNTIL(&w, w.tier->ops->pool_ready(w.tier) == POOL_AFTER);
    CHECK_EQ(w.tier->ops->pool_ready(w.tier), POOL_AFTER);
    WORLD_UNTIL(&w, w.tier->ops->pool_wanted(w.tier) == 2);
    WORLD_UNTIL(&w, groups_left(&w) == groups);
    CHECK_EQ(w.tier->ops->pool_ready(w.tier), 2);
    CHECK_EQ(groups_left(&w), groups); /* the others are gone from the host, too */
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(the_pool_follows_how_many_functions_there_are)
{
    NEEDS_ROOT;
    struct world w;
    CHECK(world_open(&w) && bundle_make(&w));
    w.limits.sandbox_pool = 1;
    w.limits.sandbox_pool_max = 8;
    w.limits.sandbox_pool_ahead = 5;
    CHECK(world_launch(&w, false));
    WORLD_UNTIL(&w, w.tier->ops->pool_ready(w.tier) == 1);
    const int groups = groups_left(&w);
    w.tier->ops->pool_expect(w.tier, 100);
    WORLD_UNTIL(&w, w.tier->ops->pool_ready(w.tier) == 5);
    CHECK_EQ(w.tier->ops->pool_ready(w.tier), 5);
    w.tier->ops->pool_expect(w.tier, 0);
    WORLD_UNTIL(&w, groups_left(&w) == groups);
    CHECK_EQ(w.tier->ops->pool_ready(w.tier), 1);
    CHECK_EQ(groups_left(&w), groups);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(what_cannot_start_says_why)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    CHECK(world_ready(&w, 2));
    CHECK(probe_run(&w, &x, (const char *const[]){ "/app/nothing", NULL }));
    CHECK(!x.started && x.never_ran);
    CHECK_EQ(x.why.code, CODE_NOT_FOUND);
    CHECK_STR(x.why.text, "sandbox: command /app/nothing: No such file or directory");
    buf_done(&x.out);

    CHECK(probe_run(&w, &x, (const char *const[]){ "no-such-word", NULL }));
    CHECK(strstr(x.why.text, "no-such-word (looked for in /usr/bin:/bin)"));
    buf_done(&x.out);

    /* one program each that is there and does not run: which of the two is missing is told apart */
    char make[1200];
    snprintf(make, sizeof make,
             "cd %s/bundles/probe && mkdir -p bad/folder && printf '#!/bin/sh\\n' > bad/plain && "
             "printf '#! /app/no/such -e\\n' > bad/script && printf '#!/bin/sh\\r\\n' > bad/dos && "
             "printf '#!/app/bad/plain\\n' > bad/by && printf 'junk' > bad/junk && chmod 644 bad/plain && "
             "chmod 755 bad/script bad/dos bad/by bad/junk", w.store);
    CHECK(system(make) == 0);
    static const struct { const char *command, *why; } bad[] = {
        { "/app/bad/plain", "sandbox: /app/bad/plain is not executable: chmod +x it and deploy again" },
        { "/app/bad/folder", "sandbox: /app/bad/folder is a folder, not a program: name a file in it and deploy again" },
        { "/app/bad/script", "sandbox: /app/bad/script is there, but its interpreter /app/no/such is missing in the "
                             "sandbox: name one of /usr, or bring it in the folder" },
        { "/app/bad/dos", "sandbox: /app/bad/dos is there, but its interpreter /bin/sh is missing: its first line ends "
                          "with a carriage return; save it with Unix line ends" },
        { "/app/bad/by", "sandbox: the interpreter of /app/bad/by, /app/bad/plain, is not executable" },
        { "/app/bad/junk", "sandbox: /app/bad/junk is no program for this machine (exec format error), nor does it "
                           "begin with #! and an interpreter" },
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK(probe_run(&w, &x, (const char *const[]){ bad[i].command, NULL }));
        CHECK(!x.started && x.never_ran);
        CHECK_STR(x.why.text, bad[i].why);
        CHECK_EQ(x.why.code, CODE_INVALID); /* no other try mends it */
        buf_done(&x.out);
    }

    const struct sandbox_mount gone[] = { { "bundles/gone", "/app" } };
    struct sandbox_spec s = probe_spec(ARGV("look"));
    s.mounts = gone;
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK_STR(x.why.text, "sandbox: artifact bundles/gone: No such file or directory");
    buf_done(&x.out);

    /* no way through links, neither in the store nor, for the place, in a bundle that is mounted already */
    char link[256];
    snprintf(link, sizeof link, "%s/bundles/out", w.store);
    CHECK(symlink("../blobs", link) == 0);
    const struct sandbox_mount out[] = { { "bundles/out", "/app" } };
    s.mounts = out;
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK_STR(x.why.text, "sandbox: artifact bundles/out: Too many levels of symbolic links");
    buf_done(&x.out);
    snprintf(link, sizeof link, "%s/bundles/probe/in", w.store);
    CHECK(symlink("/etc", link) == 0);
    const struct sandbox_mount in[] = { { "bundles/probe", "/app" }, { "blobs/model", "/app/in/model" } };
    s.mounts = in;
    s.mount_count = 2;
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK_STR(x.why.text, "sandbox: mount /app/in/model: make /app/in: Too many levels of symbolic links");
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(signals_reach_the_function_and_kill_ends_all_of_it)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    CHECK(world_ready(&w, 2));
    struct sandbox_spec s = probe_spec(ARGV("wait"));
    CHECK(run_begin(&w, &x, &s));
    WORLD_UNTIL(&w, x.out.size >= 8);
    w.tier->ops->signal(x.sb, SIGTERM);
    run_end(&x);
    CHECK_EQ(x.exit.status, 5);
    CHECK(strncmp(buf_at(&x.out), "waiting\ncaught\n", 15) == 0);
    buf_done(&x.out);

    CHECK(run_begin(&w, &x, &s));
    WORLD_UNTIL(&w, x.out.size >= 8);
    w.tier->ops->kill(x.sb);
    run_end(&x);
    CHECK_EQ(x.exit.status, 128 + SIGKILL);
    buf_done(&x.out);

    /* freed while it runs: killed, and not a word more */
    CHECK(run_begin(&w, &x, &s));
    WORLD_UNTIL(&w, x.out.size >= 8);
    w.tier->ops->free(x.sb);
    WORLD_UNTIL(&w, !loop_watched(&x.out_io)); /* its last writer is gone */
    CHECK(!x.ended && !loop_watched(&x.out_io));
    close(x.pipes.out_fd);
    close(x.pipes.phases_fd);
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    CHECK_EQ(groups_left(&w), 0);
    world_close(&w);
}

/* A function of 200 KB of environment travels as a memory file. */
TEST(a_long_environment_arrives_whole)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    static char big[100000];
    CHECK(world_ready(&w, 1));
    memset(big, 'v', sizeof big - 1);
    memcpy(big, "BIG=", 4);
    const char *const env[] = { "PATH=/usr/bin", big, "LAST=1", NULL };
    struct sandbox_spec s = probe_spec(ARGV("look"));
    s.env = env;
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK_EQ(x.exit.status, 0);
    CHECK(says(&x, "env=LAST=1"));
    const char *at = strstr(buf_at(&x.out), "env=BIG=");
    CHECK(at && strcspn(at, "\n") == 4 + sizeof big - 1);
    buf_done(&x.out);

    static char huge[200000];
    memset(huge, 'v', sizeof huge - 1);
    memcpy(huge, "BIG=", 4);
    const char *const more[] = { huge, NULL };
    s.env = more;
    CHECK(!run_begin(&w, &x, &s));
    CHECK_EQ(x.why.code, CODE_EXHAUSTED);
    CHECK(strstr(x.why.text, "sandbox_args_bytes_max"));
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

/* ---- the runtime contract, from inside -------------------------------------------------- */

/* As posix_spawn() leaves it to whoever make starts; the C library's sigaction() refuses to. */
static void library_signal_ignore(void)
{
    const unsigned long ignore[4] = { (unsigned long)SIG_IGN };
    CHECK_EQ(syscall(SYS_rt_sigaction, 32, ignore, NULL, sizeof(uint64_t)), 0);
}

TEST(the_function_finds_what_the_runtime_contract_promises)
{
    NEEDS_ROOT;
    library_signal_ignore();
    struct world w;
    struct run x;
    CHECK(world_ready(&w, 1));
    const struct sandbox_mount mounts[] = { { "bundles/probe", "/app" },
                                            { "blobs/model", "/models/a/weights" } };
    const struct sandbox_scratch scratch[] = { { "/cache", 0 }, { "/var/lib/own", MIB(1) } };
    const struct sandbox_file files[] = { { "key", "value\n", 6, 0644 }, { "in/own", "own\n", 4, 0400 } };
    const struct sandbox_folder folders[] = { { "/etc/config", files, 2, false }, { "/etc/one.conf", files, 1, true } };
    struct sandbox_spec s = probe_spec(ARGV("look"));
    s.id = "hello-00001-x7";
    s.workdir = "/app";
    s.mounts = mounts;
    s.mount_count = 2;
    s.scratches = scratch;
    s.scratch_count = 2;
    s.folders = folders;
    s.folder_count = 2;
    s.cpu_milli = 250;
    s.gid = 65533;
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK(x.started);
    static const char *const lines[] = {
        "pid=2", "ppid=1", "sid=2", "uid=65532", "euid=65532", "gid=65533", "groups=0",
        "host=hello-00001-x7", "hostname=hello-00001-x7", "cwd=/app", "stdin=0", "tty=0",
        "console=No such file or directory", "fd=0", "fd=1", "fd=2", "fd=3", "tmp=1777", "resolv=1 644",
        "nofile=256 256", "core=0", "dumpable=1", "dev.null=rw", "dev.zero=rw", "dev.full=rw",
        "dev.random=rw", "dev.urandom=rw", "dev.tty=rw", "dev.ptmx=rw", "dev.stdin=rw",
        "dev.stdout=rw", "dev.stderr=rw", "status.Umask=0022", "status.SigBlk=0000000000000000",
        "status.SigIgn=0000000000000000", "status.CapInh=0000000000000000",
        "status.CapPrm=0000000000000000", "status.CapEff=0000000000000000",
        "status.CapBnd=0000000000000000", "status.CapAmb=0000000000000000", "status.NoNewPrivs=1",
        "status.Seccomp=2", "procsys=proc proc ro", "interface=lo", "loopback80=works",
        "env=PATH=/usr/bin:/bin", "env=PORT=8080", "oom=500",
        "writable=/tmp", "writable=/dev/shm", "writable=/cache", "writable=/var/lib/own",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        if (!says(&x, lines[i]))
            FAIL("inside: no line \"%s\" in:\n%s", lines[i], buf_at(&x.out));
    CHECK_EQ(count_of(&x, "fd="), 4);
    CHECK_EQ(count_of(&x, "env="), 2);
    CHECK_EQ(count_of(&x, "interface="), 1);
    CHECK_EQ(count_of(&x, "suid="), 0);
    /* /tmp, /dev/shm, two scratches, /proc and /dev/pts, whose contents are the kernel's */
    CHECK_EQ(count_of(&x, "writable="), 6);
    if (access("/sys/fs/cgroup/memory/memory.limit_in_bytes", F_OK) == 0) {
        CHECK(says(&x, "cgroupfs=tmpfs ro"));
        CHECK(says(&x, "memory=134217728"));
        CHECK(says(&x, "shares=256"));
        CHECK(says(&x, "quota=25000"));
        CHECK(says(&x, "pids=33"));
    }
    buf_done(&x.out);

    s = run_spec((const char *const[]){ "sh", "-c",
                                        "cat /etc/config/key /models/a/weights /etc/config/in/own /etc/one.conf; touch /app/x "
                                        "/usr/x /etc/x /models/a/weights /etc/config/key /etc/one.conf /etc/config/x "
                                        "2>&1 | wc -l; stat -c '%u %a' /etc/config/key /etc/config/in/own; "
                                        "chmod 0777 /etc/config/key 2>/dev/null || echo not mine; "
                                        "touch /cache/x /tmp/x /dev/shm/x /var/lib/own/x && echo made",
                                        NULL });
    s.mounts = mounts;
    s.mount_count = 2;
    s.scratches = scratch;
    s.scratch_count = 2;
    s.folders = folders;
    s.folder_count = 2;
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK_STR(buf_at(&x.out), "value\nweights\nown\nvalue\n7\n65532 644\n65532 400\nnot mine\nmade\n");
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(landlock_is_on)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    struct notice_facts facts = { 0 };
    CHECK(world_ready(&w, 1));
    CHECK(native_facts(w.tier, &facts));
    if (!facts.landlock) {
        CHECK_EQ(world_stop(&w), 0);
        world_close(&w);
        SKIP("no Landlock in this kernel");
    }
    CHECK(probe_run(&w, &x, ARGV("layers")));
    CHECK_EQ(number(&x, "layers="), 15); /* of sixteen: one is ours */
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

/* init and stem are forks that never exec'd: what the launcher had open must not lie in them. */
TEST(an_idle_shell_holds_none_of_the_launchers_descriptors)
{
    NEEDS_ROOT;
    struct world w;
    char path[400];
    int pid, processes = 0;
    CHECK(world_ready(&w, 2));
    snprintf(path, sizeof path, "cat $(find /sys/fs/cgroup -path '*/%s/*' -name cgroup.procs) 2>/dev/null",
             w.group);
    FILE *f = popen(path, "r");
    CHECK(f);
    while (fscanf(f, "%d", &pid) == 1) {
        int held = fd_count(pid) - 2 /* . and .. */;
        processes++;
        /* init: one pipe; stem: 4 of /dev/null, the control socket, the rule set, limits, one pipe */
        if (held > 14)
            FAIL("process %d holds %d descriptors", pid, held);
    }
    pclose(f);
    CHECK(processes >= 4);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

/* The real user id of the function in the sandbox that runs now; 0: not found. Shells have ids too, so
 * the program's name decides. */
static unsigned host_uid(const struct world *w, unsigned not_this)
{
    char path[400], line[256];
    int pid;
    unsigned found = 0;
    snprintf(path, sizeof path, "cat $(find /sys/fs/cgroup -path '*/%s/*' -name cgroup.procs) 2>/dev/null",
             w->group);
    FILE *f = popen(path, "r");
    while (f && fscanf(f, "%d", &pid) == 1) {
        bool is_probe = false;
        unsigned uid = 0;
        snprintf(path, sizeof path, "/proc/%d/status", pid);
        FILE *status = fopen(path, "r");
        while (status && fgets(line, sizeof line, status)) {
            is_probe |= strcmp(line, "Name:\tsandbox_probe\n") == 0;
            (void)!sscanf(line, "Uid: %u", &uid);
        }
        if (status)
            fclose(status);
        if (is_probe && uid != not_this)
            found = uid;
    }
    if (f)
        pclose(f);
    return found;
}

TEST(no_two_sandboxes_share_a_user_id_on_the_host)
{
    NEEDS_ROOT;
    struct world w;
    struct run a, b;
    CHECK(world_ready(&w, 2));
    struct sandbox_spec s = probe_spec(ARGV("wait"));
    s.uid = s.gid = 0; /* even root of a sandbox is nobody outside */
    CHECK(run_begin(&w, &a, &s));
    WORLD_UNTIL(&w, a.out.size >= 8);
    unsigned first = host_uid(&w, 0);
    CHECK(run_begin(&w, &b, &s));
    WORLD_UNTIL(&w, b.out.size >= 8);
    unsigned second = host_uid(&w, first);
    CHECK(first >= 0x10000000 && second >= 0x10000000);
    CHECK(first / 65536 != second / 65536);
    w.tier->ops->kill(a.sb);
    w.tier->ops->kill(b.sb);
    run_end(&a);
    run_end(&b);
    buf_done(&a.out);
    buf_done(&b.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

/* The n-th process in the groups of this hob, as the kernel lists them; 0: there are fewer. */
static int process_in_groups(const struct world *w, int n)
{
    char path[400];
    int pid = 0;
    snprintf(path, sizeof path,
             "cat $(find /sys/fs/cgroup -path '*/%s/*' -name cgroup.procs 2>/dev/null) /dev/null 2>/dev/null "
             "| sort -nu",
             w->group);
    FILE *f = popen(path, "r");
    for (int i = 0; f && i <= n; i++)
        if (fscanf(f, "%d", &pid) != 1)
            pid = 0;
    if (f)
        pclose(f);
    return pid;
}

TEST(a_shell_that_died_idle_is_not_used)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    CHECK(world_ready(&w, 2));
    int pid = process_in_groups(&w, 0); /* the oldest: the init of the shell that would be next */
    CHECK(pid > 0);
    CHECK(kill(pid, SIGKILL) == 0);
    /* Our loop does not turn meanwhile: we have not heard of it. */
    uint64_t until_us = loop_clock_us(w.loop) + 10000000;
    while (kill(pid, 0) == 0 && loop_clock_us(w.loop) < until_us)
        sched_yield();
    CHECK(probe_run(&w, &x, ARGV("exit", "9")));
    if (!x.started || x.exit.status != 9)
        FAIL("status %d, %s", x.exit.status, x.why.text);
    CHECK(x.pool_hit);
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

static bool all_reaped(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return true;
}

/* Killed while shells are being made, parked, filled, run and removed: after every kill, and with
 * nobody's help, no process is left; and the next start removes the groups. */
TEST(a_launcher_killed_at_any_moment_leaves_nothing)
{
    NEEDS_ROOT;
    struct world w;
    CHECK(world_open(&w) && bundle_make(&w));
    w.limits.sandbox_pool = 3;
    for (int moment = 0; moment < 24; moment++) {
        struct run a, b;
        struct sandbox_spec s = probe_spec(moment % 2 ? ARGV("wait") : ARGV("exit", "0"));
        CHECK(world_launch(&w, false)); /* sweeps what the last life left */
        for (int i = 0; i < moment / 2; i++)
            world_turn(&w, 5);
        CHECK(run_begin(&w, &a, &s) && run_begin(&w, &b, &s));
        for (int i = 0; i < moment; i++)
            world_turn(&w, 5);
        kill(w.launcher, SIGKILL);
        waitpid(w.launcher, NULL, 0);
        w.launcher = 0;
        WORLD_UNTIL(&w, all_reaped() && process_in_groups(&w, 0) == 0 && !is_alive(w.node));
        if (process_in_groups(&w, 0) != 0 || is_alive(w.node))
            FAIL("moment %d: process %d is left", moment, process_in_groups(&w, 0));
        struct run *const runs[] = { &a, &b };
        for (int i = 0; i < 2; i++) {
            loop_unwatch(w.loop, &runs[i]->out_io);
            w.tier->ops->free(runs[i]->sb);
            close(runs[i]->pipes.out_fd);
            close(runs[i]->pipes.phases_fd);
            buf_done(&runs[i]->out);
        }
        world_tier_free(&w);
        close(w.nodes_fd);
        w.nodes_fd = -1;
    }
    CHECK(world_launch(&w, false));
    CHECK_EQ(world_stop(&w), 0);
    CHECK_EQ(groups_left(&w), 0);
    world_close(&w);
}

/* Lets the traced init run until it returns from the call; false: it never made it. */
static bool traced_until(pid_t init, uint64_t call)
{
    struct __ptrace_syscall_info at;
    int status;
    bool inside = false;
    while (waitpid(init, &status, __WALL) == init && WIFSTOPPED(status)) {
        bool of_call = WSTOPSIG(status) == (SIGTRAP | 0x80) &&
                       ptrace(PTRACE_GET_SYSCALL_INFO, init, sizeof at, &at) > 0;
        if (of_call && inside && at.op == PTRACE_SYSCALL_INFO_EXIT)
            return true;
        inside = of_call && at.op == PTRACE_SYSCALL_INFO_ENTRY && at.entry.nr == call;
        bool of_signal = !of_call && status >> 16 == 0 && WSTOPSIG(status) != SIGTRAP;
        if (ptrace(PTRACE_SYSCALL, init, 0, of_signal ? WSTOPSIG(status) : 0) < 0)
            return false;
    }
    return false;
}

/* Who changes its user is no longer told of its parent's death by the kernel, and an init does so after every
 * start: the launcher dies just then. */
TEST(an_init_that_became_nobody_as_its_launcher_died_goes_too)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    CHECK(world_ready(&w, 1));
    pid_t init = process_in_groups(&w, 0);
    CHECK(init > 0);
    if (ptrace(PTRACE_SEIZE, init, 0, PTRACE_O_TRACESYSGOOD) < 0 || ptrace(PTRACE_INTERRUPT, init, 0, 0) < 0) {
        CHECK_EQ(world_stop(&w), 0);
        world_close(&w);
        SKIP("tracing is not allowed here");
    }
    struct sandbox_spec s = probe_spec(ARGV("wait"));
    CHECK(run_begin(&w, &x, &s));
    CHECK(traced_until(init, SYS_setresuid));
    kill(w.launcher, SIGKILL);
    waitpid(w.launcher, NULL, 0);
    w.launcher = 0;
    CHECK(ptrace(PTRACE_DETACH, init, 0, 0) == 0);
    WORLD_UNTIL(&w, all_reaped() && process_in_groups(&w, 0) == 0);
    int left = process_in_groups(&w, 0);
    if (left != 0) {
        kill(left, SIGKILL);
        FAIL("process %d is left", left);
    }
    loop_unwatch(w.loop, &x.out_io);
    w.tier->ops->free(x.sb);
    close(x.pipes.out_fd);
    close(x.pipes.phases_fd);
    buf_done(&x.out);
    world_tier_free(&w);
    close(w.nodes_fd);
    w.nodes_fd = -1;
    CHECK(world_launch(&w, false)); /* sweeps the group */
    CHECK_EQ(world_stop(&w), 0);
    CHECK_EQ(groups_left(&w), 0);
    world_close(&w);
}

TEST(any_user_id_is_honoured)
{
    NEEDS_ROOT;
    static const struct {
        uint32_t uid, gid;
        const char *lines[3];
    } cases[] = { { 0, 0, { "uid=0", "euid=0", "gid=0" } },
                  { 1000, 2000, { "uid=1000", "euid=1000", "gid=2000" } },
                  { 65535, 65535, { "uid=65535", "euid=65535", "gid=65535" } },
                  { 65536, 7, { "uid=65536", "euid=65536", "gid=7" } },
                  { 4000000000u, 4000000000u, { "uid=4000000000", "euid=4000000000", "gid=4000000000" } } };
    struct world w;
    struct run x;
    CHECK(world_ready(&w, 1));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sandbox_spec s = probe_spec(ARGV("look"));
        s.uid = cases[i].uid;
        s.gid = cases[i].gid;
        CHECK(probe_spec_run(&w, &x, &s));
        if (!x.started)
            FAIL("uid %u: %s", s.uid, x.why.text);
        for (int k = 0; k < 3; k++)
            if (!says(&x, cases[i].lines[k]))
                FAIL("uid %u: no line \"%s\"", s.uid, cases[i].lines[k]);
        CHECK(says(&x, "status.CapEff=0000000000000000"));
        CHECK(says(&x, "status.CapBnd=0000000000000000"));
        CHECK(says(&x, "groups=0"));
        buf_done(&x.out);
    }
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(output_and_phases_arrive_and_a_flood_waits_for_its_reader)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    char room[64] = "";
    CHECK(world_ready(&w, 1));
    struct sandbox_spec s = probe_spec(ARGV("phases"));
    CHECK(run_begin(&w, &x, &s));
    WORLD_UNTIL(&w, x.ended);
    CHECK_EQ(read(x.pipes.phases_fd, room, sizeof room - 1), 17);
    CHECK_STR(room, "model_load begin\n");
    CHECK_EQ(read(x.pipes.phases_fd, room, sizeof room), 0);
    run_end(&x);
    buf_done(&x.out);

    s = probe_spec(ARGV("flood", "4"));
    CHECK(run_begin(&w, &x, &s));
    loop_unwatch(w.loop, &x.out_io); /* nobody reads */
    WORLD_UNTIL(&w, x.started);
    uint64_t until_us = loop_clock_us(w.loop) + 200000;
    while (loop_clock_us(w.loop) < until_us)
        world_turn(&w, 50);
    CHECK(!x.ended); /* it is held up, not dropped and not killed */
    buf_done(&x.out);
    buf_init(&x.out, MIB(8));
    CHECK_EQ(loop_watch(w.loop, &x.out_io, x.pipes.out_fd, EPOLLIN, &x.why), 0);
    run_end(&x);
    CHECK_EQ(x.exit.status, 0);
    CHECK_EQ(x.out.size, MIB(4));
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

/* ---- limits ----------------------------------------------------------------------------- */

TEST(processes_and_descriptors_have_hard_limits)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    CHECK(world_ready(&w, 1));
    struct sandbox_spec s = probe_spec(ARGV("forks"));
    s.pids_max = 20;
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK_EQ(number(&x, "forks="), 19); /* and the function itself */
    buf_done(&x.out);
    s.pids_max = 120; /* the control: the limit is what holds it */
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK_EQ(number(&x, "forks="), 119);
    buf_done(&x.out);

    s = probe_spec(ARGV("descriptors"));
    s.fds_max = 64;
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK_EQ(number(&x, "descriptors="), 60); /* 0 to 3 are taken */
    buf_done(&x.out);
    s.fds_max = 640;
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK_EQ(number(&x, "descriptors="), 636);
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(too_much_memory_ends_the_whole_function_and_says_so)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    struct notice_facts facts = { 0 };
    CHECK(world_ready(&w, 1));
    CHECK(native_facts(w.tier, &facts));
    if (!facts.memory)
        SKIP("no memory control group here");
    struct sandbox_spec s = probe_spec(ARGV("hog", "64"));
    s.memory_bytes = MIB(32);
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK(x.exit.oom_killed);
    CHECK_EQ(x.exit.status, 128 + SIGKILL);
    CHECK(x.exit.memory_peak_bytes <= MIB(32));
    buf_done(&x.out);
    s.memory_bytes = MIB(256);
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK(!x.exit.oom_killed);
    CHECK_EQ(x.exit.status, 0);
    CHECK(x.exit.memory_peak_bytes >= MIB(64));
    buf_done(&x.out);

    s = probe_spec(ARGV("hog-child", "64"));
    s.memory_bytes = MIB(32);
    CHECK(probe_spec_run(&w, &x, &s)); /* its first process would sleep for long */
    CHECK(x.exit.oom_killed);
    CHECK_EQ(x.exit.status, 128 + SIGKILL);
    CHECK(x.ended_us - x.sent_us < 10000000);
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(scratch_space_is_hard_across_all_of_it)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    CHECK(world_ready(&w, 1));
    const struct sandbox_scratch scratch[] = { { "/cache", 0 }, { "/own", MIB(1) } };
    struct sandbox_spec s = probe_spec(ARGV("fill", "/tmp", "/cache", "/dev/shm", "/own", "/"));
    s.scratches = scratch;
    s.scratch_count = 2;
    s.ephemeral_bytes = MIB(4);
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK(number(&x, "total=") <= (long long)MIB(4) && number(&x, "total=") > (long long)MIB(3));
    CHECK(number(&x, "filled /tmp=") > 0);
    CHECK_EQ(number(&x, "filled /cache="), 0); /* /tmp took all that they share */
    CHECK(number(&x, "filled /own=") > 0 && number(&x, "filled /own=") <= (long long)MIB(1));
    CHECK(strstr(buf_at(&x.out), "No space left on device"));
    CHECK(strstr(buf_at(&x.out), "/: ")); /* nothing at all on the root */
    buf_done(&x.out);
    s.ephemeral_bytes = MIB(8);
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK(number(&x, "total=") > (long long)MIB(7) && number(&x, "total=") <= (long long)MIB(8));
    buf_done(&x.out);

    s = probe_spec(ARGV("inodes"));
    s.ephemeral_bytes = MIB(4);
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK(number(&x, "inodes=") > 900 && number(&x, "inodes=") <= 1024);
    buf_done(&x.out);

    s = probe_spec(ARGV("look"));
    s.scratches = scratch;
    s.scratch_count = 2;
    s.ephemeral_bytes = MIB(1);
    CHECK(!run_begin(&w, &x, &s));
    CHECK(strstr(x.why.text, "ephemeral storage"));
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

/* ---- hostile functions ------------------------------------------------------------------ */

struct hostile {
    const char *argv[5];
    bool only_inside; /* there is no harmless way to do it outside */
};

static bool hostile_check(struct world *w, const struct hostile *h)
{
    const char *argv[7] = { PROBE };
    struct run x;
    memcpy(argv + 1, h->argv, sizeof h->argv);
    if (!probe_run(w, &x, argv) || !x.started || x.exit.status != 1) {
        printf("# inside: %s %s: status %d, %s%s\n", argv[1], argv[2] ? argv[2] : "", x.exit.status,
               buf_at(&x.out), x.why.text);
        return false;
    }
    buf_done(&x.out);
    int outside = h->only_inside ? 0 : deed_outside(argv, false);
    if (outside != 0)
        printf("# the probe \"%s %s\" itself does not work here: %d\n", argv[1],
               argv[2] ? argv[2] : "", outside);
    return outside == 0;
}

static int listener(int family, const struct sockaddr *a, socklen_t size)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (bind(fd, a, size) < 0 || listen(fd, 16) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

TEST(hostile_deeds_work_outside_and_not_inside)
{
    NEEDS_ROOT;
    struct world w;
    char port[16], name[64], secret[160], victim[16], environ_of[40];
    struct sockaddr_in in = { .sin_family = AF_INET };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    socklen_t size = sizeof in;
    CHECK(world_ready(&w, 4));
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int tcp = listener(AF_INET, (struct sockaddr *)&in, sizeof in);
    CHECK(tcp >= 0 && getsockname(tcp, (struct sockaddr *)&in, &size) == 0);
    snprintf(port, sizeof port, "%u", ntohs(in.sin_port));
    snprintf(name, sizeof name, "hob-test-%d", (int)getpid());
    snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "%s", name);
    int abstract = listener(AF_UNIX, (struct sockaddr *)&un,
                            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)));
    CHECK(abstract >= 0);
    snprintf(secret, sizeof secret, "%s/secret", w.dir);
    int secret_fd = open(secret, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    CHECK(secret_fd >= 0);
    pid_t sleeper = fork();
    if (sleeper == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    snprintf(victim, sizeof victim, "%d", (int)sleeper);
    snprintf(environ_of, sizeof environ_of, "/proc/%d/environ", (int)sleeper);

    const struct hostile deeds[] = {
        { { "mount" }, false },
        { { "setuid" }, false },
        { { "trace" }, false },
        { { "unshare" }, false },
        { { "clone" }, false },
        { { "chroot" }, false },
        { { "mknod" }, false },
        { { "nice" }, false },
        { { "hostname" }, false },
        { { "socket", "2", "3", "1" }, false },  /* AF_INET, SOCK_RAW, ICMP */
        { { "socket", "17", "3", "0" }, false }, /* AF_PACKET */
        { { "socket", "16", "3", "9" }, false }, /* netlink, audit */
        { { "dial", port }, false },
        { { "abstract", name }, false },
        { { "open", secret }, false },
        { { "open", "/etc/shadow" }, false },
        { { "open", environ_of }, false },
        { { "open", "/proc/1/environ" }, true },
        { { "open", "/proc/1/root" }, true },
        { { "open", "/dev/kmsg" }, false },
        { { "put", secret, "x" }, false },
        { { "put", "/proc/sys/kernel/hostname", "evil" }, false },
        { { "put", "/proc/sys/kernel/domainname", "evil" }, false },
        { { "kill", victim, "0" }, false },
        { { "kill", victim, "9" }, false },
        { { "kill", "1", "9" }, true },
        { { "open", "/store/blobs/model" }, true },
        { { "open", "../store/blobs/model" }, true },
        { { "open", "/proc/self/root/../store/blobs/model" }, true },
        { { "open", "/app/../../store/blobs/model" }, true },
        { { "stat", "/store" }, true }, /* Landlock does not hinder this: the root does */
        { { "stat", "/app/../../store" }, true },
        { { "stat", "/proc/1/root/store" }, true },
        { { "stat", "/proc/self/cwd/../store" }, true },
        { { "put", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "-1" }, true },
        { { "put", "/sys/fs/cgroup/pids/pids.max", "max" }, true },
        { { "put", "/sys/fs/cgroup/memory/cgroup.procs", "2" }, true },
    };
    for (size_t i = 0; i < COUNT_OF(deeds); i++)
        if (!hostile_check(&w, &deeds[i]))
            FAIL("deed %zu: %s %s", i, deeds[i].argv[0], deeds[i].argv[1] ? deeds[i].argv[1] : "");
    int status = 0;
    CHECK_EQ(waitpid(sleeper, &status, 0), sleeper); /* the control's doing */
    CHECK(WIFSIGNALED(status));
    close(tcp);
    close(abstract);
    close(secret_fd);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

/* Each with arguments that no call accepts: outside, the kernel says what is wrong with them;
 * inside, there is no such call. */
TEST(kernel_machinery_is_out_of_reach)
{
    NEEDS_ROOT;
    static const struct {
        const char *name;
        long number;
    } calls[] = {
        { "mount", SYS_mount }, { "umount2", SYS_umount2 }, { "open_tree", SYS_open_tree },
        { "move_mount", SYS_move_mount }, { "mount_setattr", SYS_mount_setattr },
        { "fsopen", SYS_fsopen }, { "fsmount", SYS_fsmount }, { "fspick", SYS_fspick },
        { "pivot_root", SYS_pivot_root }, { "setns", SYS_setns }, { "clone3", SYS_clone3 },
        { "ptrace", SYS_ptrace }, { "process_vm_readv", SYS_process_vm_readv },
        { "pidfd_getfd", SYS_pidfd_getfd }, { "keyctl", SYS_keyctl }, { "add_key", SYS_add_key },
        { "request_key", SYS_request_key }, { "bpf", SYS_bpf },
        { "perf_event_open", SYS_perf_event_open }, { "userfaultfd", SYS_userfaultfd },
        { "io_uring_setup", SYS_io_uring_setup }, { "finit_module", SYS_finit_module },
        { "init_module", SYS_init_module }, { "delete_module", SYS_delete_module },
        { "kexec_load", SYS_kexec_load }, { "swapon", SYS_swapon },
        { "open_by_handle_at", SYS_open_by_handle_at }, { "fanotify_init", SYS_fanotify_init },
        { "clock_settime", SYS_clock_settime }, { "settimeofday", SYS_settimeofday },
        { "quotactl", SYS_quotactl }, { "syslog", SYS_syslog }, { "acct", SYS_acct },
        { "kcmp", SYS_kcmp }, { "move_pages", SYS_move_pages },
    };
    struct world w;
    char number[16];
    int known = 0;
    CHECK(world_ready(&w, 4));
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        struct run x;
        snprintf(number, sizeof number, "%ld", calls[i].number);
        int outside = deed_outside(ARGV("call", number), false);
        CHECK(probe_run(&w, &x, ARGV("call", number)));
        if (x.exit.status != 1)
            FAIL("%s: reached the kernel: %s", calls[i].name, buf_at(&x.out));
        buf_done(&x.out);
        if (outside == 0)
            known++;
        else
            printf("# this kernel was built without %s\n", calls[i].name);
    }
    CHECK(known >= (int)COUNT_OF(calls) - 6); /* the controls really controlled */
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(a_set_uid_program_gives_nothing)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    char path[200];
    CHECK(world_ready(&w, 1));
    CHECK(probe_run(&w, &x, (const char *const[]){ "/app/suid_probe", "euid", NULL }));
    CHECK_STR(buf_at(&x.out), "euid=65532\n");
    buf_done(&x.out);
    /* the control: outside, an ordinary user gets root from it */
    snprintf(path, sizeof path, "%s/bundles/probe/suid_probe euid", w.store);
    char command[400], text[64] = "";
    snprintf(command, sizeof command, "setpriv --reuid 65534 --regid 65534 --clear-groups %s", path);
    FILE *f = popen(command, "r");
    CHECK(f && fgets(text, sizeof text, f));
    pclose(f);
    CHECK_STR(text, "euid=0\n");
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(kill_minus_one_ends_nobody_else)
{
    NEEDS_ROOT;
    struct world w;
    struct run a, b;
    CHECK(world_ready(&w, 2));
    struct sandbox_spec s = probe_spec(ARGV("wait"));
    CHECK(run_begin(&w, &a, &s));
    WORLD_UNTIL(&w, a.out.size >= 8);
    CHECK(probe_run(&w, &b, (const char *const[]){ "/bin/sh", "-c", "sleep 100 & kill -9 -1; exit 6", NULL }));
    CHECK_EQ(b.exit.status, 6);
    CHECK(!a.ended && !w.lost && kill(w.launcher, 0) == 0 && kill(w.node, 0) == 0);
    buf_done(&b.out);
    CHECK(probe_run(&w, &b, ARGV("orphans")));
    CHECK_EQ(b.exit.status, 0);
    buf_done(&b.out);
    w.tier->ops->kill(a.sb);
    run_end(&a);
    buf_done(&a.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

/* ---- sockets into the sandbox ----------------------------------------------------------- */

struct socket_got {
    int count, fds[64];
};
static void on_socket(void *ctx, int take_fd)
{
    struct socket_got *g = ctx;
    if (take_fd >= 0)
        g->fds[g->count++] = take_fd;
    else
        g->count += 1000;
}

static bool http_get(int fd, uint16_t port)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    char answer[256] = "";
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int flags = fcntl(fd, F_GETFL);
    bool ok = (flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0 &&
              connect(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
              write(fd, request, sizeof request - 1) > 0 && read(fd, answer, sizeof answer - 1) > 0;
    close(fd);
    return ok && strstr(answer, "200 OK");
}

TEST(the_node_reaches_the_function_through_sockets_made_inside)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    struct err e = { 0 };
    struct socket_got got = { 0 };
    CHECK(world_ready(&w, 1));
    struct sandbox_spec s = probe_spec(ARGV("serve", "8080"));
    CHECK(run_begin(&w, &x, &s));
    WORLD_UNTIL(&w, x.out.size >= 8);
    /* outside nothing listens there for us; the sockets are what leads in */
    int at_once = 0;
    for (int fd; (fd = w.tier->ops->socket(x.sb, &e)) >= 0 && at_once < 40; at_once++)
        CHECK(http_get(fd, 8080));
    CHECK(at_once >= 4);
    CHECK_EQ(e.code, CODE_UNAVAILABLE);
    for (int i = 0; i < 40; i++)
        w.tier->ops->want_socket(x.sb, on_socket, &got);
    CHECK_EQ(got.count, 0); /* never before the call returned */
    WORLD_UNTIL(&w, got.count == 40);
    CHECK_EQ(got.count, 40);
    for (int i = 0; i < 40; i++)
        CHECK(http_get(got.fds[i], 8080));
    uint64_t cpu_us = 0, memory = 0;
    if (w.tier->ops->usage(x.sb, &cpu_us, &memory) == 0)
        CHECK(cpu_us > 0 && memory > 4096 && memory < MIB(32));
    w.tier->ops->kill(x.sb);
    got.count = 0;
    w.tier->ops->want_socket(x.sb, on_socket, &got);
    run_end(&x);
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

/* What the port's owner inside sends, once. */
static bool served_once(int listen_fd, const char *say, char *heard, size_t size)
{
    struct pollfd p = { listen_fd, POLLIN, 0 };
    if (poll(&p, 1, 30000) != 1)
        return false;
    AUTO_CLOSE int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, heard, size - 1);
    if (n <= 0)
        return false;
    heard[n] = '\0';
    return write(fd, say, strlen(say)) == (ssize_t)strlen(say);
}

TEST(a_port_of_the_loopback_inside_is_the_nodes_before_the_function_runs)
{
    NEEDS_ROOT;
    struct world w;
    struct run x[2];
    char heard[64] = "";
    CHECK(world_ready(&w, 2));
    /* bash alone can connect; the second of two at once shows that each has a port of its own */
    static const char script[] = "exec 9<>/dev/tcp/127.0.0.1/7233 && echo from-$HOSTNAME >&9 && read -r a <&9 && echo got $a";
    for (int i = 0; i < 2; i++) {
        struct sandbox_spec s = run_spec((const char *const[]){ "bash", "-c", script, NULL });
        s.id = i ? "second" : "first";
        s.served_port = 7233;
        CHECK(run_begin(&w, &x[i], &s));
        CHECK_EQ(x[i].served_fd, -1); /* never before the call returned */
    }
    for (int i = 0; i < 2; i++) {
        WORLD_UNTIL(&w, x[i].started || x[i].ended);
        CHECK(x[i].served_fd >= 0 && !x[i].served_late);
        CHECK(served_once(x[i].served_fd, i ? "two\n" : "one\n", heard, sizeof heard));
        CHECK_STR(heard, i ? "from-second\n" : "from-first\n");
    }
    for (int i = 0; i < 2; i++) {
        run_end(&x[i]);
        CHECK_EQ(x[i].exit.status, 0);
        CHECK(str_is((struct str){ buf_at(&x[i].out), x[i].out.size }, i ? "got two\n" : "got one\n"));
        close(x[i].served_fd);
        buf_done(&x[i].out);
    }
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

/* ---- the launcher's other duties -------------------------------------------------------- */

struct opened {
    int fd, count;
    struct err e;
};
static void on_open(void *ctx, int take_fd, const struct err *e)
{
    struct opened *o = ctx;
    o->fd = take_fd;
    o->count++;
    if (e)
        o->e = *e;
}

static bool open_local(struct world *w, const char *path, struct opened *o)
{
    struct err e = { 0 };
    *o = (struct opened){ .fd = -1 };
    if (native_open_local(w->tier, path, on_open, o, &e) < 0 || o->count != 0)
        return false;
    WORLD_UNTIL(w, o->count == 1);
    return o->count == 1;
}

TEST(local_files_open_beneath_the_roots_only)
{
    NEEDS_ROOT;
    struct world w;
    struct opened o;
    char path[300], text[16] = "";
    CHECK(world_ready(&w, 0));
    snprintf(path, sizeof path,
             "cd %s && mkdir -p f/sub && echo hi > f/a && ln -s ../../data f/out && ln -s a f/in && mkfifo "
             "f/pipe && echo no > %s/beside",
             w.root, w.dir);
    CHECK(system(path) == 0);
    snprintf(path, sizeof path, "%s/f/a", w.root);
    CHECK(open_local(&w, path, &o) && o.fd >= 0);
    CHECK_EQ(read(o.fd, text, sizeof text), 3);
    CHECK(write(o.fd, "x", 1) < 0);
    close(o.fd);
    snprintf(path, sizeof path, "%s/f/in", w.root);
    CHECK(open_local(&w, path, &o) && o.fd >= 0);
    close(o.fd);

    snprintf(path, sizeof path, "%s/f", w.root);
    CHECK(open_local(&w, path, &o) && o.fd >= 0);
    CHECK(faccessat(o.fd, "a", R_OK, 0) == 0 && faccessat(o.fd, "sub", R_OK, 0) == 0);
    /* ".." of the folder is itself: there is no way up to what is not beneath */
    struct stat here, up;
    CHECK(fstat(o.fd, &here) == 0 && fstatat(o.fd, "..", &up, 0) == 0);
    CHECK_EQ(here.st_ino, up.st_ino);
    CHECK(faccessat(o.fd, "../../beside", R_OK, 0) < 0);
    CHECK(openat(o.fd, "new", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
    close(o.fd);

    static const char *const refused[] = { "/f/out", "/../beside", "/f/../../beside", "/f/pipe",
                                           "/f/none", "x" };
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        snprintf(path, sizeof path, "%s%s", w.root, refused[i]);
        CHECK(open_local(&w, path, &o));
        if (o.fd >= 0 || o.e.code == CODE_OK)
            FAIL("%s was opened", path);
    }
    CHECK(open_local(&w, "/etc/shadow", &o) && o.fd < 0);
    CHECK_EQ(o.e.code, CODE_DENIED);
    snprintf(path, sizeof path,
             "/etc/shadow: not beneath a --file-root; move it there, or start hob serve with one more: there is %s", w.root);
    CHECK_STR(o.e.text, path);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

static void gone_wait(struct world *w, pid_t pid) { WORLD_UNTIL(w, !is_alive(pid)); }

TEST(a_dead_node_takes_its_sandboxes_with_it_and_a_new_one_starts)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    CHECK(world_ready(&w, 2));
    struct sandbox_spec s = probe_spec(ARGV("wait"));
    CHECK(run_begin(&w, &x, &s));
    WORLD_UNTIL(&w, x.out.size >= 8);
    pid_t first = w.node;
    kill(w.node, SIGKILL);
    WORLD_UNTIL(&w, w.lost && !loop_watched(&x.out_io)); /* end of file: nobody holds its stdout */
    CHECK(w.lost && !loop_watched(&x.out_io));
    w.tier->ops->free(x.sb);
    close(x.pipes.out_fd);
    close(x.pipes.phases_fd);
    buf_done(&x.out);
    world_tier_free(&w);
    CHECK(world_node_take(&w));
    CHECK(w.node != first);
    CHECK(probe_run(&w, &x, ARGV("exit", "8"))); /* and it works as the first did */
    CHECK_EQ(x.exit.status, 8);
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    CHECK_EQ(groups_left(&w), 0);
    world_close(&w);
}

TEST(a_dead_fetcher_is_started_again_and_its_socket_comes)
{
    NEEDS_ROOT;
    struct world w;
    CHECK(world_open(&w) && bundle_make(&w));
    w.limits.sandbox_pool = 0;
    CHECK(world_launch(&w, true));
    WORLD_UNTIL(&w, w.fetchers == 1);
    CHECK_EQ(w.fetchers, 1);
    char byte = 'a';
    CHECK(write(w.fetcher_fd, &byte, 1) == 1 && read(w.fetcher_fd, &byte, 1) == 1);
    close(w.fetcher_fd); /* the echo ends with its socket */
    w.fetcher_fd = -1;
    WORLD_UNTIL(&w, w.fetchers == 2);
    CHECK_EQ(w.fetchers, 2);
    CHECK(write(w.fetcher_fd, &byte, 1) == 1 && read(w.fetcher_fd, &byte, 1) == 1);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(a_killed_launcher_leaves_no_process_and_the_next_one_no_group)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    CHECK(world_ready(&w, 3));
    struct sandbox_spec s = probe_spec(ARGV("wait"));
    CHECK(run_begin(&w, &x, &s));
    WORLD_UNTIL(&w, x.out.size >= 8);
    int before = groups_left(&w);
    pid_t node = w.node;
    kill(w.launcher, SIGKILL);
    waitpid(w.launcher, NULL, 0);
    WORLD_UNTIL(&w, w.lost && !loop_watched(&x.out_io));
    CHECK(w.lost && !loop_watched(&x.out_io));
    gone_wait(&w, node);
    CHECK(!is_alive(node));
    struct notice_facts facts = { 0 };
    CHECK(native_facts(w.tier, &facts));
    CHECK(!facts.memory || before > 0);               /* the control: there was something */
    CHECK(!facts.memory || groups_left(&w) > 0); /* and nobody was left to remove it */
    w.tier->ops->free(x.sb);
    close(x.pipes.out_fd);
    close(x.pipes.phases_fd);
    buf_done(&x.out);
    world_tier_free(&w);
    close(w.nodes_fd);

    w.limits.sandbox_pool = 0;
    CHECK(world_launch(&w, false));
    CHECK_EQ(world_stop(&w), 0);
    CHECK_EQ(groups_left(&w), 0);
    world_close(&w);
}

TEST(a_second_launcher_on_the_same_folder_is_refused)
{
    NEEDS_ROOT;
    struct world w;
    CHECK(world_ready(&w, 0));
    const struct launcher_config c = { .data_dir = w.data,
                                       .store_dir = w.store,
                                       .limits = &w.limits,
                                       .children = { .run_node = world_run_node } };
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct err e = { 0 };
        int r = launcher_run(&c, &e);
        _exit(r == -CODE_PRECONDITION && strstr(e.text, "another hob runs on it") ? 0 : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK_EQ(status, 0);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

/* What is not exactly a request costs the node its life, and only that. */
TEST(a_node_that_misspeaks_is_replaced)
{
    NEEDS_ROOT;
    struct world w;
    CHECK(world_ready(&w, 1));
    world_tier_free(&w);
    struct request bad[] = {
        { .type = REQUEST_TYPES },
        { .type = REQUEST_SIGNAL, .number = 65 },
        { .type = REQUEST_POOL, .number = -1 },
        { .type = REQUEST_POOL, .number = 2 }, /* more than its pool may be */
        { .type = REQUEST_HELLO, .number = PROTOCOL_VERSION }, /* a second one */
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct world_node_word word;
        struct fd_packet p = { .at = &word, .size = sizeof word };
        struct err e = { 0 };
        CHECK_EQ(fd_packet_recv(w.nodes_fd, &p, &e), 1);
        struct request hello = { .type = REQUEST_HELLO, .number = PROTOCOL_VERSION };
        struct fd_packet out = { .at = &hello, .size = request_size(REQUEST_HELLO) };
        CHECK_EQ(fd_packet_send(p.fds[0], &out, &e), 0);
        out.at = &bad[i];
        (void)!fd_packet_send(p.fds[0], &out, &e);
        gone_wait(&w, word.pid);
        CHECK(!is_alive(word.pid));
        close(p.fds[0]);
    }
    CHECK(world_node_take(&w));
    struct run x;
    CHECK(probe_run(&w, &x, ARGV("exit", "4")));
    CHECK_EQ(x.exit.status, 4);
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(two_hundred_starts_leak_nothing)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    CHECK(world_ready(&w, 4));
    for (int i = 0; i < 8; i++) { /* warm */
        CHECK(probe_run(&w, &x, ARGV("exit", "0")));
        buf_done(&x.out);
    }
    WORLD_UNTIL(&w, w.tier->ops->pool_ready(w.tier) >= 4);
    int here = fd_count(getpid()), there = fd_count(w.launcher);
    int groups = groups_left(&w);
    for (int i = 0; i < 200; i++) {
        CHECK(probe_run(&w, &x, ARGV("exit", "0")));
        if (!x.started || x.exit.status != 0)
            FAIL("start %d: status %d, %s%s", i, x.exit.status, buf_at(&x.out), x.why.text);
        buf_done(&x.out);
    }
    /* Shells made for a wait that a pool shell ended may lie idle beyond the pool's size. */
    WORLD_UNTIL(&w, w.tier->ops->pool_ready(w.tier) >= 4);
    int extra = (int)w.tier->ops->pool_ready(w.tier) - 4;
    CHECK(extra >= 0 && extra <= 4);
    WORLD_UNTIL(&w, fd_count(w.launcher) <= there + extra * 8);
    CHECK(fd_count(getpid()) <= here + extra * 7);
    CHECK(fd_count(w.launcher) <= there + extra * 8);
    CHECK(groups_left(&w) <= groups + extra * 4);
    CHECK_EQ(world_stop(&w), 0);
    CHECK_EQ(groups_left(&w), 0);
    world_close(&w);
}

/* ---- an ordinary user ------------------------------------------------------------------- */

TEST(an_ordinary_user_gets_the_same_without_hard_memory)
{
    struct world w;
    struct run x;
    CHECK(world_open(&w) && bundle_make(&w));
    if (geteuid() == 0)
        CHECK(chown(w.data, 65534, 65534) == 0);
    w.as_user = geteuid() == 0;
    w.limits.sandbox_pool = 1;
    if (!world_launch(&w, false)) {
        world_close(&w);
        SKIP("no user namespaces for ordinary users here");
    }
    struct notice_facts facts = { 0 };
    CHECK(probe_run(&w, &x, ARGV("look")));
    CHECK(native_facts(w.tier, &facts));
    CHECK(!facts.own_uids);
    if (!x.started)
        FAIL("%s", x.why.text);
    static const char *const lines[] = { "pid=2", "uid=65532", "euid=65532", "gid=65532",
                                         "status.CapEff=0000000000000000",
                                         "status.CapBnd=0000000000000000", "status.NoNewPrivs=1",
                                         "status.Seccomp=2", "loopback80=works", "interface=lo",
                                         "console=No such file or directory", "tmp=1777", "fd=3" };
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        if (!says(&x, lines[i]))
            FAIL("inside: no line \"%s\" in:\n%s", lines[i], buf_at(&x.out));
    CHECK_EQ(count_of(&x, "fd="), 4);
    buf_done(&x.out);
    struct sandbox_spec s = probe_spec(ARGV("forks"));
    s.pids_max = 20;
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK(number(&x, "forks=") >= 17 && number(&x, "forks=") <= 20);
    buf_done(&x.out);
    s = probe_spec(ARGV("fill", "/tmp"));
    CHECK(probe_spec_run(&w, &x, &s));
    CHECK(number(&x, "total=") <= (long long)MIB(4) && number(&x, "total=") > (long long)MIB(3));
    buf_done(&x.out);
    static const struct hostile deeds[] = { { { "mount" }, true },   { { "setuid" }, true },
                                            { { "trace" }, true },   { { "unshare" }, true },
                                            { { "chroot" }, true },  { { "kill", "1", "9" }, true },
                                            { { "open", "/proc/1/environ" }, true } };
    for (size_t i = 0; i < COUNT_OF(deeds); i++)
        CHECK(hostile_check(&w, &deeds[i]));
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST_MAIN()
