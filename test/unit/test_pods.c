#include "tap.h"

#include "os/fault.h"
#include "sandbox_world.h"

/* Several sandboxes of one pod: what they share, what they do not, and who goes with whom. */

struct pod {
    struct world *w;
    struct sandbox_pod *at;
    bool open, failed;
    struct err why;
};

static void pod_on_open(void *ctx) { ((struct pod *)ctx)->open = true; }
static void pod_on_failed(void *ctx, const struct err *why)
{
    struct pod *p = ctx;
    p->failed = true;
    p->why = *why;
}
static const struct sandbox_pod_events pod_events = { pod_on_open, pod_on_failed };

static const uint64_t volume_sizes[] = { 256 * 1024, 64 * 1024 };

static bool pod_begin(struct world *w, struct pod *p, size_t volumes)
{
    const struct sandbox_pod_spec spec = { .id = "pod-1", .volume_bytes = volume_sizes, .volume_count = volumes };
    *p = (struct pod){ .w = w };
    if (w->tier->ops->pod_open(w->tier, &spec, &pod_events, p, &p->at, &p->why) < 0)
        return false;
    WORLD_UNTIL(w, p->open || p->failed);
    if (!p->open)
        printf("# pod: %s\n", p->why.text);
    return p->open;
}

static bool world_with_pool(struct world *w, uint32_t pool, bool as_user)
{
    if (!world_open(w) || (as_user && chown(w->data, 65534, 65534) < 0))
        return false;
    w->limits.sandbox_pool = pool;
    w->as_user = as_user;
    if (!world_launch(w, false))
        return false;
    WORLD_UNTIL(w, w->tier->ops->pool_ready(w->tier) >= pool || w->lost);
    return !w->lost;
}

static const struct sandbox_scratch at_v[] = { { .target = "/v", .volume = 1 } };
static const struct sandbox_scratch twice[] = { { .target = "/v", .volume = 1 },
                                                { .target = "/again", .volume = 1 },
                                                { .target = "/small", .volume = 2 } };

static struct sandbox_spec script_spec(struct pod *p, bool leads, const char *script, const char **argv)
{
    argv[0] = "/bin/sh";
    argv[1] = "-c";
    argv[2] = script;
    argv[3] = NULL;
    struct sandbox_spec s = run_spec(argv);
    s.id = "pod-1";
    s.pod = p->at;
    s.leads = leads;
    s.uid = s.gid = p->w->as_user ? 0 : 65532;
    s.scratches = at_v;
    s.scratch_count = 1;
    return s;
}

static bool script_begin(struct pod *p, struct run *x, bool leads, const char *script)
{
    const char *argv[4];
    struct sandbox_spec s = script_spec(p, leads, script, argv);
    return run_begin(p->w, x, &s);
}

static const char *script_end(struct run *x)
{
    run_end(x);
    buf_append(&x->out, "", 1);
    if (x->exit.status != 0 || x->never_ran)
        printf("# status %d: %s%s\n", x->exit.status, x->why.text, buf_at(&x->out));
    return buf_at(&x->out);
}

#define SHARED "for n in net ipc uts pid mnt; do readlink /proc/self/ns/$n; done; uname -n; "
#define WAIT_FOR(file) "until [ -e " file " ]; do sleep 0.02; done; "

static void shares(bool as_user)
{
    struct world w;
    struct pod p;
    struct run first, lead, side;
    char *of_lead[6] = { 0 }, *of_side[6] = { 0 };
    CHECK(world_with_pool(&w, 1, as_user));
    CHECK(pod_begin(&w, &p, 1));
    /* Before the one that leads: an init container. What it leaves is whose all are. */
    CHECK(script_begin(&p, &first, false, "umask 077; echo left >/v/left; uname -n"));
    CHECK_STR(script_end(&first), "pod-1\n");
    CHECK_EQ(first.exit.status, 0);
    CHECK(script_begin(&p, &lead, true, SHARED "cat /v/left; " WAIT_FOR("/v/done")));
    CHECK(script_begin(&p, &side, false, SHARED "cat /v/left; echo x >/v/done"));
    (void)script_end(&side);
    (void)script_end(&lead);
    CHECK(lead.exit.status == 0 && side.exit.status == 0);
    CHECK(!side.pool_hit && lead.pool_hit);
    struct str a = str_of(buf_at(&lead.out)), b = str_of(buf_at(&side.out));
    for (int i = 0; i < 5; i++) {
        struct str one = str_cut(&a, '\n'), other = str_cut(&b, '\n');
        of_lead[i] = xasprintf(STR_FMT, STR_ARG(one));
        of_side[i] = xasprintf(STR_FMT, STR_ARG(other));
    }
    for (int i = 0; i < 5; i++) {
        bool same = strcmp(of_lead[i], of_side[i]) == 0;
        CHECK(*of_lead[i] && same == (i < 3)); /* net, ipc, uts; not pid and mnt */
        free(of_lead[i]);
        free(of_side[i]);
    }
    AUTO_FREE char *rest = xasprintf(STR_FMT, STR_ARG(a));
    CHECK_STR(rest, "pod-1\nleft\n");
    w.tier->ops->pod_free(p.at);
    buf_done(&first.out);
    buf_done(&lead.out);
    buf_done(&side.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(a_pod_shares_network_ipc_host_name_and_volumes_and_nothing_else)
{
    if (geteuid() != 0)
        SKIP("needs root");
    shares(false);
}

TEST(an_ordinary_users_pod_shares_the_same)
{
    if (geteuid() != 0)
        SKIP("needs root to become somebody else");
    shares(true);
}

TEST(a_volume_is_of_hard_size_and_may_be_mounted_twice)
{
    struct world w;
    struct pod p;
    struct run x;
    const char *argv[4];
    if (geteuid() != 0)
        SKIP("needs root");
    CHECK(world_with_pool(&w, 1, false));
    CHECK(pod_begin(&w, &p, 2));
    struct sandbox_spec s = script_spec(&p, false,
                                        "echo one >/v/f; cat /again/f; head -c 1000000 /dev/zero >/small/f 2>/dev/null; "
                                        "stat -c %s /small/f; ls /v",
                                        argv);
    s.scratches = twice;
    s.scratch_count = 3;
    CHECK(run_begin(&w, &x, &s));
    CHECK_STR(script_end(&x), "one\n65536\nf\n");
    w.tier->ops->pod_free(p.at);
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(who_joined_goes_with_the_one_that_leads_and_not_the_other_way)
{
    struct world w;
    struct pod p;
    struct run lead, side, other;
    if (geteuid() != 0)
        SKIP("needs root");
    CHECK(world_with_pool(&w, 0, false)); /* none is ready: the pod waits for its shell */
    CHECK(pod_begin(&w, &p, 1));
    CHECK(script_begin(&p, &lead, true, "sleep 1000"));
    CHECK(script_begin(&p, &side, false, "sleep 1000"));
    CHECK(script_begin(&p, &other, false, "exit 3"));
    run_end(&other);
    CHECK_EQ(other.exit.status, 3);
    WORLD_UNTIL(&w, lead.started && side.started);
    CHECK(!lead.ended && !side.ended);
    w.tier->ops->kill(side.sb);
    run_end(&side);
    CHECK_EQ(side.exit.status, 137);
    CHECK(!lead.ended);
    buf_done(&side.out);
    CHECK(script_begin(&p, &side, false, "sleep 1000")); /* again, into the same pod */
    WORLD_UNTIL(&w, side.started);
    w.tier->ops->kill(lead.sb);
    run_end(&lead);
    run_end(&side);
    CHECK_EQ(side.exit.status, 137);
    CHECK(!script_begin(&p, &other, false, "true")); /* there is nothing left to join */
    w.tier->ops->pod_free(p.at);
    buf_done(&lead.out);
    buf_done(&side.out);
    buf_done(&other.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST(a_pod_that_nothing_was_started_in_leaves_nothing)
{
    struct world w;
    struct pod p;
    struct run x;
    if (geteuid() != 0)
        SKIP("needs root");
    CHECK(world_with_pool(&w, 1, false));
    CHECK(pod_begin(&w, &p, 2));
    CHECK(script_begin(&p, &x, false, "sleep 1000"));
    WORLD_UNTIL(&w, x.started);
    w.tier->ops->free(x.sb);
    loop_unwatch(w.loop, &x.out_io);
    close(x.pipes.out_fd);
    close(x.pipes.phases_fd);
    w.tier->ops->pod_free(p.at);
    buf_done(&x.out);
    CHECK_EQ(world_stop(&w), 0);
    world_close(&w);
}

TEST_MAIN()
