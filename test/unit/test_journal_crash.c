/* A process that commits, killed at random moments; what it said it had committed must be there, and whole. The real
 * disk and real signals: what a power cut does is in test_journal_disk.c. */
#include "journal_mover.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { ROUNDS = 60, SLOTS = 4 };

struct ack { /* what the child reports, in one write */
    uint64_t version[2];
    uint32_t run[2];
};

static void child_main(const char *dir, int pipe, uint64_t seed)
{
    static struct mover m;
    struct world w = { 0 };
    limits_default(&w.limits);
    snprintf(w.dir, sizeof w.dir, "%s", dir);
    m = (struct mover){ .rng = { seed }, .step = seed * 100000 };
    if (loop_open(&w.loop, &w.e) < 0 || !world_open(&w)) {
        fprintf(stderr, "%s\n", w.e.text);
        _exit(6);
    }
    if (seed == 0 ? !mover_begin(&w, &m) : !mover_reload(&w, &m))
        _exit(7);
    for (size_t slot = 0; slot < SLOTS; slot++)
        if (!mover_move(&w, &m, slot))
            _exit(8);
    for (;;) {
        turn(&w);
        for (size_t slot = 0; slot < SLOTS; slot++) {
            if (!m.commits[slot].done)
                continue;
            struct ack a = { { m.made[slot][0], m.made[slot][1] },
                             { (uint32_t)m.moved[slot][0], (uint32_t)m.moved[slot][1] } };
            if (m.commits[slot].r < 0 || write(pipe, &a, sizeof a) != sizeof a || !mover_move(&w, &m, slot))
                _exit(9);
        }
    }
}

static struct mover seen; /* what was acknowledged */

static uint32_t acks_read(int pipe, uint32_t max)
{
    struct ack a;
    uint32_t count = 0;
    for (; count < max && read(pipe, &a, sizeof a) == sizeof a; count++)
        for (int side = 0; side < 2; side++)
            seen.acked[a.run[side]] = MAX(seen.acked[a.run[side]], a.version[side]);
    return count;
}

TEST(a_killed_process_has_committed_all_that_it_acknowledged)
{
    struct rng rng = { 17 };
    struct world w = { .dir = "/tmp/hob-test-XXXXXX" };
    uint32_t total = 0;
    CHECK(mkdtemp(w.dir));
    limits_default(&w.limits);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        int ends[2];
        CHECK(pipe2(ends, O_CLOEXEC) == 0);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            child_main(w.dir, ends[1], round);
        close(ends[1]);
        /* The first makes the runs; a tenth of the others are killed while they still open. */
        uint32_t count = round && rng_chance(&rng, 10) ? 0 : acks_read(ends[0], 1 + (uint32_t)rng_below(&rng, 60));
        nanosleep(&(struct timespec){ .tv_nsec = (long)rng_below(&rng, 10000) * 1000 }, NULL);
        kill(pid, SIGKILL);
        int status = 0;
        CHECK(waitpid(pid, &status, 0) == pid);
        total += count + acks_read(ends[0], UINT32_MAX);
        close(ends[0]);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            FAIL("round %d: it ended by itself: %x", (int)round, (unsigned)status);
        /* Looked at by a process of its own: none that has SQLite open may fork. */
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
            const char *wrong = "open";
            if (loop_open(&w.loop, &w.e) == 0 && world_open(&w))
                wrong = mover_check(&w, &seen, false);
            if (wrong)
                fprintf(stderr, "round %d: %s: %s\n", (int)round, wrong, w.e.text);
            journal_free(w.journal);
            _exit(wrong != NULL);
        }
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    if (total < 500)
        FAIL("the test hardly tested: %u acknowledgements", total);
    folder_remove(w.dir);
}

TEST_MAIN()
