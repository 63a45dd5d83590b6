/* bench_sandbox.c -- where the time of a sandbox's start goes, from the node's side.
 *
 *   bench_sandbox STARTS
 *
 * Interleaved: a plain fork and exec of the probe, a start in a shell from the pool, and one without a
 * pool. Prints min, p50 and p99 in microseconds of: fork+exec to exit, start to exec seen, start to
 * ended, and the steps inside the stem. Run as root. */
#include "sandbox_world.h"

#include <spawn.h>

enum { STARTS_MAX = 10000 };
struct series {
    const char *name;
    uint64_t us[STARTS_MAX];
    size_t count;
};

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void add(struct series *s, uint64_t us)
{
    if (s->count < STARTS_MAX)
        s->us[s->count++] = us;
}

static void print(struct series *s)
{
    if (s->count == 0)
        return;
    qsort(s->us, s->count, sizeof *s->us, by_size);
    printf("%-34s %7llu %7llu %7llu  (%zu)\n", s->name, (unsigned long long)s->us[0],
           (unsigned long long)s->us[s->count / 2], (unsigned long long)s->us[s->count * 99 / 100],
           s->count);
}

static struct series plain = { .name = "fork+exec to exit" };
static struct series hit = { .name = "pool hit: start to exec seen" };
static struct series hit_end = { .name = "pool hit: start to ended" };
static struct series miss = { .name = "pool miss: start to exec seen" };
static struct series miss_end = { .name = "pool miss: start to ended" };
static struct series call = { .name = "  start() itself" };
static struct series wake = { .name = "  sent to received by stem" };
static struct series limited = { .name = "  limits" };
static struct series mounted = { .name = "  mounts, sealed" };
static struct series confined = { .name = "  confined" };
static struct series exec = { .name = "  exec, until seen" };
static uint64_t last_ns[STEM_STEPS];

static void on_stamps(void *ctx, const uint64_t at_ns[STEM_STEPS])
{
    (void)ctx;
    memcpy(last_ns, at_ns, sizeof last_ns);
}

static void plain_once(void)
{
    uint64_t begin = now_ns();
    pid_t pid = fork();
    if (pid == 0) {
        execl(SANDBOX_PROBE, SANDBOX_PROBE, "exit", "0", (char *)NULL);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
    add(&plain, (now_ns() - begin) / 1000);
}

static bool start_once(struct world *w, bool stamps)
{
    static const struct sandbox_mount mount[] = { { "bundles/probe", "/app" } };
    const char *const argv[] = { "/app/sandbox_probe", "exit", "0", NULL };
    struct sandbox_spec s = run_spec(argv);
    struct run x;
    s.mounts = mount;
    s.mount_count = 1;
    native_stamps(w->tier, stamps ? on_stamps : NULL, NULL);
    uint64_t begin = now_ns();
    if (!run_begin(w, &x, &s))
        return false;
    uint64_t called = now_ns();
    run_end(&x);
    if (!x.started || x.exit.status != 0)
        return false;
    if (stamps) {
        add(&call, (called - begin) / 1000);
        add(&wake, last_ns[STEM_RECEIVED] > called ? (last_ns[STEM_RECEIVED] - called) / 1000 : 0);
        add(&limited, (last_ns[STEM_LIMITED] - last_ns[STEM_RECEIVED]) / 1000);
        add(&mounted, (last_ns[STEM_MOUNTED] - last_ns[STEM_LIMITED]) / 1000);
        add(&confined, (last_ns[STEM_CONFINED] - last_ns[STEM_MOUNTED]) / 1000);
        add(&exec, x.exec_us - last_ns[STEM_CONFINED] / 1000);
    } else {
        add(x.pool_hit ? &hit : &miss, x.exec_us - begin / 1000);
        add(x.pool_hit ? &hit_end : &miss_end, x.ended_us - begin / 1000);
    }
    buf_done(&x.out);
    return true;
}

static bool one_world(struct world *w, uint32_t pool)
{
    char command[512];
    if (!world_open(w))
        return false;
    w->limits.sandbox_pool = pool;
    snprintf(command, sizeof command, "mkdir -p %s/bundles/probe && cp %s %s/bundles/probe/", w->store,
             SANDBOX_PROBE, w->store);
    return system(command) == 0 && world_launch(w, false);
}

int main(int argc, char **argv)
{
    struct world pooled, bare;
    long starts = argc > 1 ? strtol(argv[1], NULL, 10) : 200;
    if (!one_world(&pooled, 4) || !one_world(&bare, 0))
        return 1;
    struct series *const all[] = { &plain,  &hit,     &hit_end, &miss,     &miss_end, &call,
                                   &wake,   &limited, &mounted, &confined, &exec };
    for (long i = 0; i < starts && i < STARTS_MAX; i++) {
        WORLD_UNTIL(&pooled, pooled.tier->ops->pool_ready(pooled.tier) >= 4);
        plain_once();
        if (!start_once(&pooled, false) || !start_once(&pooled, true) || !start_once(&bare, false))
            return 1;
    }
    printf("%-34s %7s %7s %7s\n", "microseconds", "min", "p50", "p99");
    for (size_t i = 0; i < COUNT_OF(all); i++)
        print(all[i]);
    int r = world_stop(&pooled) | world_stop(&bare);
    world_close(&pooled);
    world_close(&bare);
    return r;
}
