/* The walls of the native tier one by one. test_sandbox.c asks whether a deed fails; where two walls stop it,
 * this looks at each, so that none can be missing behind the other. */
#include "tap.h"

#include "sandbox_world.h"

#include <sched.h>
#include <sys/sysmacros.h>

static const struct sandbox_mount mounts[] = { { "bundles/app", "/app" }, { "blobs/model", "/models/a/weights" } };
static const struct sandbox_scratch scratch[] = { { "/cache", 0 } };

#define NEEDS_ROOT                                                                         \
    if (geteuid() != 0)                                                                    \
    SKIP("needs root")
#define SHELL(script) ((const char *const[]){ "/bin/sh", "-c", script, NULL })

static bool world_ready(struct world *w)
{
    char command[800];
    if (!world_open(w))
        return false;
    snprintf(command, sizeof command,
             "cd %s && mkdir -p bundles/app/below blobs && ln -s ../etc bundles/app/link && echo weights > blobs/model && "
             "chmod 444 blobs/model && chmod 777 bundles/app bundles/app/below",
             w->store);
    w->limits.sandbox_pool = 1;
    if (system(command) != 0 || !world_launch(w, false))
        return false;
    WORLD_UNTIL(w, w->tier->ops->pool_ready(w->tier) >= 1 || w->lost);
    return !w->lost;
}

static struct sandbox_spec spec_of(const char *const *argv)
{
    struct sandbox_spec s = run_spec(argv);
    s.mounts = mounts;
    s.mount_count = COUNT_OF(mounts);
    s.scratches = scratch;
    s.scratch_count = COUNT_OF(scratch);
    return s;
}

static bool spec_run(struct world *w, struct run *x, const struct sandbox_spec *s)
{
    bool begun = run_begin(w, x, s);
    if (begun)
        run_end(x);
    buf_append(&x->out, "", 1); /* so that it can be read as text */
    return begun;
}

static void leave(struct world *w)
{
    CHECK_EQ(world_stop(w), 0);
    world_close(w);
}

TEST(standard_output_and_standard_error_are_the_functions_log)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    CHECK(world_ready(&w));
    struct sandbox_spec s = spec_of(SHELL("echo one; echo two >&2; echo three"));
    CHECK(spec_run(&w, &x, &s));
    CHECK_STR(buf_at(&x.out), "one\ntwo\nthree\n");
    buf_done(&x.out);
    leave(&w);
}

/* ---- namespaces ------------------------------------------------------------------------- */

static const char *const namespaces[] = { "cgroup", "ipc", "mnt", "net", "pid", "user", "uts" };
#define LOOK "cd /proc/self/ns && readlink cgroup ipc mnt net pid user uts"

/* The k-th line of text, or "". */
static struct str line_of(const struct run *x, size_t k)
{
    struct str rest = buf_str(&x->out), line = { "", 0 };
    for (size_t i = 0; i <= k; i++)
        line = str_cut(&rest, '\n');
    return line;
}

TEST(every_namespace_is_another_than_the_hosts_and_than_a_neighbours)
{
    NEEDS_ROOT;
    struct world w;
    struct run a, b;
    CHECK(world_ready(&w));
    struct sandbox_spec s = spec_of(SHELL(LOOK "; sleep 1000"));
    CHECK(run_begin(&w, &a, &s));
    WORLD_UNTIL(&w, line_of(&a, COUNT_OF(namespaces) - 1).size > 0);
    s = spec_of(SHELL(LOOK));
    CHECK(spec_run(&w, &b, &s));
    for (size_t i = 0; i < COUNT_OF(namespaces); i++) {
        char path[64], host[64] = "";
        snprintf(path, sizeof path, "/proc/self/ns/%s", namespaces[i]);
        CHECK(readlink(path, host, sizeof host - 1) > 0);
        struct str one = line_of(&a, i), other = line_of(&b, i);
        CHECK(str_starts(one, str_of(namespaces[i])) && str_starts(other, str_of(namespaces[i])));
        if (str_is(one, host) || str_eq(one, other))
            FAIL("%s: the function's is %.*s, its neighbour's %.*s, the host's %s", namespaces[i],
                 (int)one.size, one.at, (int)other.size, other.at, host);
    }
    w.tier->ops->kill(a.sb);
    run_end(&a);
    buf_done(&a.out);
    buf_done(&b.out);
    leave(&w);
}

/* ---- mounts ----------------------------------------------------------------------------- */

struct mount_line {
    char root[256], at[256], options[256];
    unsigned major, minor;
};

static bool mount_read(struct str line, struct mount_line *ret)
{
    char text[1024];
    snprintf(text, sizeof text, "%.*s", (int)line.size, line.at);
    return sscanf(text, "%*u %*u %u:%u %255s %255s %255s", &ret->major, &ret->minor, ret->root, ret->at,
                  ret->options) == 5;
}

static bool option_has(const struct mount_line *m, const char *option)
{
    struct str rest = str_of(m->options);
    while (rest.size > 0)
        if (str_is(str_cut(&rest, ','), option))
            return true;
    return false;
}

static bool is_one_of(const char *path, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(path, *list) == 0)
            return true;
    return false;
}

TEST(every_mount_but_the_scratches_is_read_only_and_none_honours_set_uid_or_devices)
{
    NEEDS_ROOT;
    static const char *const writable[] = { "/tmp", "/dev/shm", "/cache", "/proc", "/dev/pts", NULL };
    static const char *const devices[] = { "/dev/null", "/dev/zero",    "/dev/full", "/dev/random",
                                           "/dev/urandom", "/dev/tty", "/dev/pts",  "/proc/kcore",
                                           "/proc/keys", "/proc/key-users", "/proc/timer_list",
                                           "/proc/sched_debug", "/proc/sysrq-trigger", "/proc/latency_stats",
                                           "/proc/kallsyms", "/proc/kpagecount", "/proc/kpageflags",
                                           "/proc/kpagecgroup", "/proc/vmallocinfo", "/proc/slabinfo", NULL };
    static const char *const expected[] = { "/", "/usr", "/app", "/models/a/weights", "/tmp", "/dev/shm",
                                            "/cache", "/proc", "/dev/null", "/proc/sys" };
    struct world w;
    struct run x;
    CHECK(world_ready(&w));
    struct sandbox_spec s = spec_of(SHELL("cat /proc/self/mountinfo"));
    CHECK(spec_run(&w, &x, &s));
    bool seen[COUNT_OF(expected)] = { false };
    for (struct str rest = { buf_at(&x.out), x.out.size - 1 }; rest.size > 0;) {
        struct mount_line m;
        CHECK(mount_read(str_cut(&rest, '\n'), &m));
        for (size_t i = 0; i < COUNT_OF(expected); i++)
            seen[i] |= strcmp(m.at, expected[i]) == 0;
        if (!option_has(&m, "ro") != is_one_of(m.at, writable))
            FAIL("%s is mounted %s", m.at, m.options);
        if (!option_has(&m, "nosuid"))
            FAIL("%s honours set-user-ID: %s", m.at, m.options);
        if (!option_has(&m, "nodev") && !is_one_of(m.at, devices))
            FAIL("%s honours device nodes: %s", m.at, m.options);
    }
    for (size_t i = 0; i < COUNT_OF(expected); i++)
        if (!seen[i])
            FAIL("%s is not mounted in:\n%s", expected[i], buf_at(&x.out));
    buf_done(&x.out);
    leave(&w);
}

/* Landlock refuses the same, with another word: this asks for the mount's own. */
TEST(the_root_is_read_only_to_its_owner)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    CHECK(world_ready(&w));
    struct sandbox_spec s =
        spec_of(SHELL("for d in / /etc /dev /var /run /home /usr /bin /app /app/below /models/a; do "
                      "touch $d/x 2>&1 | grep -q 'Read-only file system' || echo $d; done; "
                      "touch /tmp/x /cache/x /dev/shm/x && echo end"));
    s.uid = s.gid = 0;
    CHECK(spec_run(&w, &x, &s));
    CHECK_STR(buf_at(&x.out), "end\n");
    buf_done(&x.out);
    leave(&w);
}

/* The process of this world's sandboxes with `word` in its command line, as the host numbers it; 0: none. */
static int process_of(const struct world *w, const char *word)
{
    char command[400];
    int pid = 0;
    snprintf(command, sizeof command,
             "for p in $(cat $(find /sys/fs/cgroup -path '*/%s/*' -name cgroup.procs)); do "
             "grep -q %s /proc/$p/cmdline && echo $p; done 2>/dev/null",
             w->group, word);
    FILE *f = popen(command, "r");
    if (f && fscanf(f, "%d", &pid) != 1)
        pid = 0;
    if (f)
        pclose(f);
    return pid;
}

/* What is mounted in the namespace of `pid`, seen from that namespace's root and not from the process's. */
static bool mounts_of_namespace(int pid, struct buf *ret)
{
    char path[64], room[4096], byte;
    int ready[2], done[2];
    size_t n;
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", pid);
    AUTO_CLOSE int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || pipe2(ready, O_CLOEXEC) < 0 || pipe2(done, O_CLOEXEC) < 0)
        return false;
    fflush(stdout);
    pid_t visitor = fork();
    if (visitor == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(done[1]);
        bool in = setns(ns, CLONE_NEWNS) == 0 && write(ready[1], "r", 1) == 1;
        _exit(in && read(done[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(ready[1]);
    close(done[0]);
    bool in = read(ready[0], &byte, 1) == 1;
    snprintf(path, sizeof path, "/proc/%d/mountinfo", (int)visitor);
    FILE *f = in ? fopen(path, "re") : NULL;
    while (f && (n = fread(room, 1, sizeof room, f)) > 0)
        buf_append(ret, room, n);
    if (f)
        fclose(f);
    close(done[1]);
    close(ready[0]);
    waitpid(visitor, NULL, 0);
    return f != NULL;
}

/* The mount that is not the function's business, or "". */
static struct str foreign_mount(const struct buf *text)
{
    struct stat host;
    if (stat("/", &host) < 0)
        return STR("stat");
    for (struct str rest = buf_str(text); rest.size > 0;) {
        struct str line = str_cut(&rest, '\n');
        struct mount_line m;
        if (!mount_read(line, &m))
            return line;
        bool is_host_root = makedev(m.major, m.minor) == host.st_dev && strcmp(m.root, "/") == 0;
        if (is_host_root || strstr(m.at, "/.store") || strstr(m.at, "/.new") || strstr(m.at, "/.cgroup") ||
            strcmp(m.at, "/store") == 0 || strcmp(m.at, "/scratch") == 0)
            return line;
    }
    return STR("");
}

TEST(neither_the_host_nor_the_store_is_left_among_a_running_functions_mounts)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    struct buf text;
    struct str left = { "", 1 };
    CHECK(world_ready(&w));
    buf_init(&text, MIB(1));
    struct sandbox_spec s = spec_of(SHELL("echo here; sleep 1000"));
    CHECK(run_begin(&w, &x, &s));
    WORLD_UNTIL(&w, x.out.size > 0);
    /* The store goes a moment after the start (stem.c), so that it does not cost the start. */
    for (int turn = 0; turn < 200 && left.size > 0; turn++) {
        int pid = process_of(&w, "sleep");
        buf_clear(&text);
        CHECK(pid > 0 && mounts_of_namespace(pid, &text) && text.size > 0);
        left = foreign_mount(&text);
        if (left.size > 0)
            world_turn(&w, 20);
    }
    if (left.size > 0)
        FAIL("left: %.*s", (int)left.size, left.at);
    w.tier->ops->kill(x.sb);
    run_end(&x);
    buf_done(&x.out);
    buf_done(&text);
    leave(&w);
}

/* The mount is made with privilege: a link in a foreign bundle must not choose its place. */
TEST(a_bundles_link_does_not_lead_a_mount_elsewhere)
{
    NEEDS_ROOT;
    struct world w;
    struct run x;
    const struct sandbox_mount led[] = { { "bundles/app", "/app" }, { "blobs/model", "/app/link/hosts" } };
    CHECK(world_ready(&w));
    struct sandbox_spec s = spec_of(SHELL("cat /etc/hosts"));
    s.mounts = led;
    CHECK(spec_run(&w, &x, &s));
    CHECK(x.never_ran && strstr(x.why.text, "/app/link"));
    CHECK(!strstr(buf_at(&x.out), "weights"));
    buf_done(&x.out);
    s.mounts = mounts; /* the control */
    CHECK(spec_run(&w, &x, &s));
    CHECK(!x.never_ran && strstr(buf_at(&x.out), "localhost"));
    buf_done(&x.out);
    leave(&w);
}

TEST_MAIN()
