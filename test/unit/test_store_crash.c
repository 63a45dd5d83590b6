/* A process that stores, killed at random moments; what it said it had stored must be there. The real
 * disk and real signals: what a power cut does is in test_store.c. */
#include "base/rng.h"
#include "store/store.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 100, NAMES = 7, WINDOW = 8 };

struct ack { /* what the child reports, in one write */
    uint32_t step;
    int64_t version; /* 0: there was nothing to delete */
};
struct change {
    struct store_change change;
    uint32_t step;
    char name[16], json[200];
};
static struct {
    struct store *store;
    int pipe;
    uint32_t next, waiting;
} child;

static bool is_delete(uint32_t step) { return step % 5 == 4; }

static void on_done(struct store_change *c, int r, int64_t version, const struct err *e)
{
    struct change *change = CONTAINER_OF(c, struct change, change);
    struct ack ack = { change->step, version };
    child.waiting--;
    if (write(child.pipe, &ack, sizeof ack) != sizeof ack)
        _exit(3);
    if (r < 0 && r != -CODE_NOT_FOUND) {
        fprintf(stderr, "step %u: %s\n", change->step, e->text);
        _exit(4);
    }
    free(change);
}

static void submit_next(void)
{
    struct err e;
    struct change *c = calloc(1, sizeof *c);
    c->step = child.next++;
    snprintf(c->name, sizeof c->name, "f%u", c->step % NAMES);
    snprintf(c->json, sizeof c->json, "{\"step\":%u,\"pad\":\"%0100u\"}", c->step, c->step);
    c->change = (struct store_change){ .kind = "services",
                                       .ns = "default",
                                       .name = c->name,
                                       .json = is_delete(c->step) ? NULL : c->json,
                                       .expect_version = STORE_ANY_VERSION,
                                       .on_done = on_done };
    if (store_submit(child.store, &c->change, &e) < 0)
        _exit(5);
    child.waiting++;
}

static void child_main(const char *dir, int pipe, uint32_t step)
{
    struct limits limits;
    struct loop *l = NULL;
    struct err e;
    limits_default(&limits);
    child.pipe = pipe;
    child.next = step + 1;
    if (loop_open(&l, &e) < 0 || store_open(l, dir, &limits, &child.store, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        _exit(6);
    }
    for (;;) {
        while (child.waiting < WINDOW)
            submit_next();
        struct invocation_record r = { .wall_ms = loop_wall_ms() };
        r.id = uuid_v7(r.wall_ms, (uint8_t[10]){ [5] = (uint8_t)child.next });
        store_record(child.store, &r);
        if (loop_turn(l, true, &e) < 0)
            _exit(7);
    }
}

/* What must be there: as acknowledged, or as it was found after the last kill. */
static struct state {
    bool there;
    uint32_t step;
    int64_t version;
} expected[NAMES];
static int64_t version_seen;
static uint32_t step_seen; /* the last one heard of: at most WINDOW more can have happened */

/* Until the child's end is closed, or `max` were heard. */
static uint32_t acks_read(int pipe, uint32_t max)
{
    struct ack a;
    uint32_t count = 0;
    for (; count < max && read(pipe, &a, sizeof a) == sizeof a; count++) {
        expected[a.step % NAMES] =
            (struct state){ a.version > 0 && !is_delete(a.step), a.step, a.version };
        version_seen = a.version > version_seen ? a.version : version_seen;
        step_seen = a.step;
    }
    return count;
}

/* Did a step happen, unheard, that puts or deletes this name? */
static bool may_have(uint32_t name, bool deleted)
{
    for (uint32_t step = step_seen + 1; step <= step_seen + WINDOW; step++)
        if (step % NAMES == name && is_delete(step) == deleted)
            return true;
    return false;
}

struct found {
    struct state at[NAMES];
    char wrong[200];
};
static int on_object(void *ctx, const struct store_object *o, struct err *e)
{
    struct found *found = ctx;
    uint32_t name = (uint32_t)atoi(o->name + 1), step = 0;
    const struct state *must = &expected[name];
    (void)e;
    char whole[200];
    int scanned = sscanf(o->json, "{\"step\":%u", &step);
    snprintf(whole, sizeof whole, "{\"step\":%u,\"pad\":\"%0100u\"}", step, step);
    found->at[name] = (struct state){ true, step, o->version };
    bool same = must->there && must->step == step && must->version == o->version;
    bool unheard = may_have(name, false) && step > step_seen && o->version > version_seen;
    if (scanned != 1 || strcmp(o->json, whole) != 0 || step % NAMES != name || is_delete(step) ||
        !(same || unheard))
        snprintf(found->wrong, sizeof found->wrong,
                 "%s: version %lld of step %u, expected %lld of step %u%s", o->name,
                 (long long)o->version, step, (long long)must->version, must->step,
                 must->there ? "" : ", deleted");
    return 0;
}

static const char *check(const char *dir)
{
    static char wrong[700];
    struct limits limits;
    struct loop *l = NULL;
    struct store *s = NULL;
    struct err e;
    struct found found = { 0 };
    limits_default(&limits);
    wrong[0] = '\0';
    if (loop_open(&l, &e) < 0 || store_open(l, dir, &limits, &s, &e) < 0 ||
        store_each(s, "services", on_object, &found, &e) < 0)
        snprintf(wrong, sizeof wrong, "%s", e.text);
    else if (store_version(s) < version_seen)
        snprintf(wrong, sizeof wrong, "the version went back");
    for (uint32_t i = 0; i < NAMES && !wrong[0]; i++)
        if (!found.at[i].there && expected[i].there && !may_have(i, true))
            snprintf(wrong, sizeof wrong, "f%u of step %u is lost", i, expected[i].step);
    if (!wrong[0])
        snprintf(wrong, sizeof wrong, "%s", found.wrong);
    memcpy(expected, found.at, sizeof expected);
    store_free(s);
    loop_free(l);
    return wrong[0] ? wrong : NULL;
}

TEST(a_killed_process_has_stored_all_that_it_acknowledged)
{
    char dir[] = "/tmp/hob-test-XXXXXX";
    struct rng rng = { 17 };
    uint32_t step = 0, total = 0;
    CHECK(mkdtemp(dir));
    for (int round = 0; round < ROUNDS; round++) {
        int ends[2];
        CHECK(pipe2(ends, O_CLOEXEC) == 0);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            child_main(dir, ends[1], step);
        close(ends[1]);
        /* A tenth while it still opens; the others after some acknowledgements and a moment more. */
        uint32_t count =
            rng_chance(&rng, 10) ? 0 : acks_read(ends[0], 1 + (uint32_t)rng_below(&rng, 60));
        uint64_t wait_us = rng_below(&rng, 10000);
        nanosleep(&(struct timespec){ .tv_nsec = (long)wait_us * 1000 }, NULL);
        kill(pid, SIGKILL);
        int status = 0;
        CHECK(waitpid(pid, &status, 0) == pid);
        count += acks_read(ends[0], UINT32_MAX);
        close(ends[0]);
        CHECK(WIFSIGNALED(status) &&
              WTERMSIG(status) == SIGKILL); /* it ended by us, not by itself */
        const char *wrong = check(dir);
        if (wrong)
            FAIL("round %d: %s", round, wrong);
        total += count;
        step_seen = step += 1000000; /* the next child's steps are later than any of this one */
    }
    if (total < 1000)
        FAIL("the test hardly tested: %u acknowledgements", total);
    char command[64];
    static const char *const files[] = { "hob.db", "hob.db-wal", "telemetry.db", "telemetry.db-wal",
                                         "telemetry.db-shm" };
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        snprintf(command, sizeof command, "%s/%s", dir, files[i]);
        (void)unlink(command);
    }
    CHECK(rmdir(dir) == 0);
}

TEST_MAIN()
