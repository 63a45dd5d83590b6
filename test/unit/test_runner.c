/* Commands beside a function: what they may do, how they end, and that nothing is left of them. */
#include "tap.h"

#include "fds.h"
#include "os/fault.h"
#include "sandbox/runner.h"
#include "sandbox_world.h"

#define NEEDS_ROOT                                                                         \
    if (geteuid() != 0)                                                                    \
    SKIP("needs root")

struct stage { /* a sandbox whose function waits, and can run commands */
    struct world w;
    struct run x;
};

struct deed { /* one command */
    struct sandbox_run r;
    bool done, ran, late;
    int status;
    char text[RUNNER_OUTPUT_MAX + 1];
    size_t size;
};

static void on_done(struct sandbox_run *r, bool ran, bool late, int status, struct str text)
{
    struct deed *d = CONTAINER_OF(r, struct deed, r);
    ASSERT(!d->done && text.size <= RUNNER_OUTPUT_MAX);
    d->done = true;
    d->ran = ran;
    d->late = late;
    d->status = status;
    d->size = text.size;
    memcpy(d->text, text.at, text.size);
    d->text[text.size] = '\0';
}

static bool stage_open_as(struct stage *s, uint32_t uid, const char *const *argv)
{
    if (!world_open(&s->w))
        return false;
    s->w.limits.sandbox_pool = 1;
    if (!world_launch(&s->w, false))
        return false;
    struct sandbox_spec spec = run_spec(argv);
    spec.uid = spec.gid = uid;
    spec.commands = true;
    spec.workdir = "/tmp";
    if (!run_begin(&s->w, &s->x, &spec))
        return false;
    WORLD_UNTIL(&s->w, s->x.started || s->x.ended);
    return s->x.started && !s->x.ended;
}

static const char *const waits[] = { "sleep", "1000", NULL };
static bool stage_open(struct stage *s) { return stage_open_as(s, 65532, waits); }

/* False: something of it stays. */
static bool stage_close(struct stage *s)
{
    s->w.tier->ops->kill(s->x.sb);
    run_end(&s->x);
    buf_done(&s->x.out);
    bool clean = world_stop(&s->w) == 0;
    world_close(&s->w);
    return clean;
}

static int begin(struct stage *s, struct deed *d, const char *script, uint64_t timeout_ms)
{
    const char *const argv[] = { "sh", "-c", script, NULL };
    struct err e = { 0 };
    *d = (struct deed){ .r.on_done = on_done };
    return s->w.tier->ops->run(s->x.sb, argv, timeout_ms * 1000, &d->r, &e);
}

static bool end(struct stage *s, struct deed *d)
{
    WORLD_UNTIL(&s->w, d->done);
    return d->done;
}

static bool deed(struct stage *s, struct deed *d, const char *script, uint64_t timeout_ms)
{
    return begin(s, d, script, timeout_ms) == 0 && !d->done && end(s, d);
}

/* Only builtins of the shell, so that the count is not of its own doing. */
#define COUNT_SLEEPS                                                                       \
    "n=0; for f in /proc/[0-9]*/comm; do { read c < $f; } 2>/dev/null; [ \"$c\" = sleep ] && n=$((n+1)); done; echo $n"

TEST(a_command_has_what_the_function_has_and_nothing_more)
{
    NEEDS_ROOT;
    static const char *const both = "cat /proc/self/status | grep -E '^(Uid|Gid|Groups|Cap.*|NoNewPrivs|Seccomp):'; "
                                    "cat /proc/self/cgroup; for n in cgroup ipc mnt net pid user uts; do "
                                    "readlink /proc/self/ns/$n; done; ls /; pwd; echo $PORT; "
                                    "mkdir /x 2>&1; echo x 2>&1 > /usr/x";
    char script[1024], told[2][RUNNER_OUTPUT_MAX + 1];
    struct stage s;
    struct deed d;
    snprintf(script, sizeof script, "(%s) > /tmp/mine 2>&1; exec sleep 1000", both);
    CHECK(stage_open_as(&s, 65532, (const char *const[]){ "sh", "-c", script, NULL }));
    do {
        CHECK(deed(&s, &d, "[ \"$(tail -1 /tmp/mine 2>/dev/null | cut -c1-3)\" = 'sh:' ] && cat /tmp/mine", 20000));
    } while (d.status != 0);
    strcpy(told[0], d.text);
    CHECK(deed(&s, &d, both, 20000));
    strcpy(told[1], d.text);
    printf("# %zu bytes of facts\n", strlen(told[0]));
    CHECK(strstr(told[0], "Uid:\t65532\t65532\t65532\t65532"));
    CHECK(strstr(told[0], "CapEff:\t0000000000000000"));
    CHECK(strstr(told[0], "NoNewPrivs:\t1") && strstr(told[0], "Seccomp:\t2"));
    CHECK(strstr(told[0], "Read-only") || strstr(told[0], "denied"));
    CHECK_STR(told[1], told[0]);
    /* Landlock names no right to this, whatever mounts say; the function's descriptors are not its own. */
    CHECK(deed(&s, &d, "ls /proc/self/fd | tr '\\n' ' '; echo $HOB_PHASES_FD; cat; ls /store 2>&1", 20000));
    CHECK(strstr(d.text, "0 1 2 3 \nls: ")); /* 3: the folder that ls reads */
    CHECK(stage_close(&s));
}

TEST(every_way_to_end_is_told)
{
    NEEDS_ROOT;
    struct stage s;
    struct deed d;
    struct err e = { 0 };
    CHECK(stage_open(&s));
    CHECK(deed(&s, &d, "echo all well; exit 0", 20000));
    CHECK(d.ran && !d.late && d.status == 0);
    CHECK_STR(d.text, "all well\n");
    CHECK(deed(&s, &d, "echo so and; echo so >&2; exit 3", 20000));
    CHECK_EQ(d.status, 3);
    CHECK_STR(d.text, "so and\nso\n");
    CHECK(deed(&s, &d, "kill -11 $$", 20000));
    CHECK_EQ(d.status, 128 + 11);
    const char *const none[] = { "no-such-word", "x", NULL };
    d = (struct deed){ .r.on_done = on_done };
    CHECK_EQ(s.w.tier->ops->run(s.x.sb, none, 1000000, &d.r, &e), 0);
    CHECK(end(&s, &d));
    CHECK_EQ(d.status, 127);
    CHECK(strstr(d.text, "command no-such-word (looked for in /usr/bin:/bin): No such file"));
    CHECK(stage_close(&s));
}

TEST(a_late_command_is_killed_with_all_it_started)
{
    NEEDS_ROOT;
    struct stage s;
    struct deed d;
    CHECK(stage_open(&s));
    CHECK(deed(&s, &d, "trap '' TERM; echo begun; sleep 900 & (setsid sleep 900 & setsid sleep 900 &) ; sleep 900", 300));
    CHECK(d.ran && d.late);
    CHECK_STR(d.text, "begun\n");
    CHECK(deed(&s, &d, COUNT_SLEEPS, 20000));
    CHECK_STR(d.text, "1\n"); /* the function itself */
    CHECK(stage_close(&s));
}

TEST(a_command_that_ends_leaves_nobody_behind)
{
    NEEDS_ROOT;
    struct stage s;
    struct deed d;
    CHECK(stage_open(&s));
    for (int i = 0; i < 20; i++) {
        CHECK(deed(&s, &d, "sleep 900 & setsid sleep 900 & (setsid sh -c 'sleep 900 & sleep 900' &); exit 5", 20000));
        CHECK(!d.late);
        CHECK_EQ(d.status, 5);
    }
    CHECK(deed(&s, &d, COUNT_SLEEPS, 20000));
    CHECK_STR(d.text, "1\n");
    CHECK(stage_close(&s));
}

TEST(output_is_cut_and_a_flood_does_not_stop_the_command)
{
    NEEDS_ROOT;
    struct stage s;
    struct deed d;
    CHECK(stage_open(&s));
    CHECK(deed(&s, &d, "yes | head -c 5000000; exit 4", 20000));
    CHECK(!d.late);
    CHECK_EQ(d.status, 4);
    CHECK_EQ(d.size, RUNNER_OUTPUT_MAX);
    CHECK(deed(&s, &d, "yes", 300)); /* for ever: its time still ends */
    CHECK(d.late);
    CHECK(stage_close(&s));
}

TEST(commands_run_side_by_side)
{
    NEEDS_ROOT;
    struct stage s;
    struct deed a, b;
    CHECK(stage_open(&s));
    CHECK_EQ(begin(&s, &a, "while [ ! -e /tmp/other ]; do sleep 0.01; done; echo a", 20000), 0);
    CHECK_EQ(begin(&s, &b, "touch /tmp/other; echo b", 20000), 0);
    CHECK(end(&s, &a) && end(&s, &b));
    CHECK_STR(a.text, "a\n");
    CHECK_STR(b.text, "b\n");
    CHECK(!a.late && !b.late);
    CHECK(stage_close(&s));
}

TEST(a_function_that_ends_the_runner_has_no_commands_and_no_other_harm)
{
    NEEDS_ROOT;
    struct stage s;
    struct deed d, waits_too;
    CHECK(stage_open(&s));
    CHECK_EQ(begin(&s, &waits_too, "sleep 900", 60000), 0);
    /* Every process of ours but the function and itself. */
    CHECK(deed(&s, &d, "p=3; while [ $p -lt 99 ]; do [ $p != $$ ] && kill -9 $p; p=$((p+1)); done", 5000));
    CHECK(!d.ran);
    CHECK(end(&s, &waits_too));
    CHECK(!waits_too.ran && strstr(waits_too.text, "has gone"));
    CHECK_EQ(begin(&s, &d, "true", 1000), -CODE_UNAVAILABLE);
    CHECK(!s.x.ended);
    CHECK(stage_close(&s));
}

TEST(it_works_for_a_user_outside_the_map_and_for_root_inside)
{
    NEEDS_ROOT;
    static const uint32_t uids[] = { 0, 1000000 };
    for (size_t i = 0; i < COUNT_OF(uids); i++) {
        struct stage s;
        struct deed d;
        char want[16];
        snprintf(want, sizeof want, "%u\n", uids[i]);
        CHECK(stage_open_as(&s, uids[i], waits));
        CHECK(deed(&s, &d, "id -u", 20000));
        CHECK_STR(d.text, want);
        CHECK(deed(&s, &d, "setsid sleep 900 & sleep 900", 200));
        CHECK(d.late);
        CHECK(deed(&s, &d, COUNT_SLEEPS, 20000));
        CHECK_STR(d.text, "1\n");
        CHECK(stage_close(&s));
    }
}

/* It is a fork that never execs: the launcher's memory, with the key of the stem's calls, is still in it. */
TEST(the_function_cannot_look_into_the_runner)
{
    NEEDS_ROOT;
    struct stage s;
    struct deed d;
    CHECK(stage_open(&s));
    /* 1 init, 2 the function, 3 came between, 4 the runner; a job and its command follow. */
    CHECK(deed(&s, &d, "for p in 4 $PPID; do for f in mem environ fd/3 maps; do "
                       "head -c1 /proc/$p/$f >/dev/null 2>&1 && echo $p $f is open; done; done; "
                       "kill -0 4 && head -c1 /proc/2/environ >/dev/null && echo the control works",
               20000));
    CHECK_STR(d.text, "the control works\n");
    CHECK(stage_close(&s));
}

TEST(an_ordinary_users_sandbox_runs_commands_too)
{
    struct stage s;
    struct deed d;
    CHECK(world_open(&s.w));
    if (geteuid() == 0)
        CHECK(chown(s.w.data, 65534, 65534) == 0);
    s.w.as_user = geteuid() == 0;
    s.w.limits.sandbox_pool = 1;
    if (!world_launch(&s.w, false)) {
        world_close(&s.w);
        SKIP("no user namespaces for ordinary users here");
    }
    struct sandbox_spec spec = run_spec(waits);
    spec.commands = true;
    CHECK(run_begin(&s.w, &s.x, &spec));
    WORLD_UNTIL(&s.w, s.x.started || s.x.ended);
    CHECK(s.x.started);
    CHECK(deed(&s, &d, "id -u; setsid sleep 900 & exit 6", 20000));
    CHECK_STR(d.text, "65532\n");
    CHECK_EQ(d.status, 6);
    CHECK(deed(&s, &d, "setsid sleep 900 & sleep 900", 200));
    CHECK(d.late);
    CHECK(deed(&s, &d, COUNT_SLEEPS, 20000));
    CHECK_STR(d.text, "1\n");
    CHECK(stage_close(&s));
}

TEST(a_sandbox_that_goes_takes_its_commands_along)
{
    NEEDS_ROOT;
    struct stage s;
    struct deed d, forgotten;
    CHECK(stage_open(&s));
    CHECK_EQ(begin(&s, &d, "sleep 900", 60000), 0);
    CHECK_EQ(begin(&s, &forgotten, "echo x", 60000), 0);
    s.w.tier->ops->run_forget(s.x.sb, &forgotten.r);
    s.w.tier->ops->run_forget(s.x.sb, &forgotten.r);
    CHECK(stage_close(&s));
    CHECK(d.done && !d.ran);
    CHECK(!forgotten.done);
}

TEST(a_sandbox_without_commands_runs_none)
{
    NEEDS_ROOT;
    struct stage s;
    struct deed d;
    CHECK(world_open(&s.w));
    CHECK(world_launch(&s.w, false));
    struct sandbox_spec spec = run_spec(waits);
    CHECK(run_begin(&s.w, &s.x, &spec));
    CHECK_EQ(begin(&s, &d, "true", 1000), -CODE_UNAVAILABLE);
    WORLD_UNTIL(&s.w, s.x.started);
    CHECK_EQ(begin(&s, &d, "true", 1000), -CODE_UNAVAILABLE);
    CHECK(stage_close(&s));
}

/* Fails the 1st operation of a start, then the 2nd, … until one gets through. */
TEST(a_start_that_fails_midway_leaves_neither_descriptor_nor_sandbox)
{
    NEEDS_ROOT;
    struct world w;
    struct sandbox_spec spec = run_spec(waits);
    int refused = 0;
    spec.commands = true;
    CHECK(world_open(&w));
    w.limits.sandbox_pool = 1;
    CHECK(world_launch(&w, false));
    WORLD_UNTIL(&w, w.tier->ops->pool_ready(w.tier) == 1);
    for (int nth = 1;; nth++) {
        struct run x = { .w = &w, .pipes = { -1, -1 } };
        struct err e = { 0 };
        int before = fds_open();
        CHECK(nth < 40);
        fault_arm(nth);
        int r = w.tier->ops->start(w.tier, &spec, &run_events, &x, &x.sb, &x.pipes, &e);
        bool fired = fault_fired();
        fault_arm(0);
        CHECK((x.sb != NULL) == (r == 0));
        if (r < 0) {
            CHECK(fired && e.text[0]);
            CHECK_EQ(fds_open(), before);
            refused++;
            continue;
        }
        w.tier->ops->free(x.sb);
        close(x.pipes.out_fd);
        close(x.pipes.phases_fd);
        if (!fired)
            break;
        WORLD_UNTIL(&w, w.tier->ops->pool_ready(w.tier) == 1);
    }
    CHECK(refused >= 4); /* the runner's pair, its watch, the two pipes */
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(what_cannot_be_sent_is_refused)
{
    static char huge[RUNNER_ORDER_MAX];
    const char *const too_long[] = { "x", huge, NULL }, *const empty[] = { NULL };
    struct err e = { 0 };
    struct buf b;
    memset(huge, 'x', sizeof huge - 1);
    buf_init(&b, RUNNER_ORDER_MAX);
    CHECK_EQ(runner_order_write(1, too_long, 1, &b, &e), -CODE_EXHAUSTED);
    buf_clear(&b);
    CHECK_EQ(runner_order_write(1, empty, 1, &b, &e), -CODE_INVALID);
    buf_done(&b);
}

TEST_MAIN()
