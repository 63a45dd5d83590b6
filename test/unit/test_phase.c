#include "telemetry/phase.h"
#include "base/rng.h"
#include "tap.h"

#include <sys/wait.h>
#include <unistd.h>

TEST(every_phase_is_found_by_its_name_and_by_nothing_else)
{
    for (unsigned p = 0; p < PHASES; p++) {
        const char *name = phase_name((enum phase)p);
        enum phase found = PHASES;
        CHECK(phase_find(name, strlen(name), &found));
        CHECK_EQ(found, p);
        found = PHASES;
        CHECK(!phase_find(name, strlen(name) - 1, &found));
        CHECK_EQ(found, PHASES); /* outputs only on success */
    }
    enum phase found;
    CHECK(!phase_find("", 0, &found));
    CHECK(!phase_find("QUEUE", 5, &found));
    CHECK(!phase_find("queue ", 6, &found));
    CHECK_STR(phase_name(PHASE_FIRST_REQUEST_DELTA), "first_request_delta");
    CHECK_STR(phase_outcome_name(PHASE_WARM), "warm");
    CHECK_STR(cache_name(CACHE_PAGE_CACHE), "page_cache");
    CHECK_STR(cache_state_name(CACHE_PARTIAL), "partial");
}

TEST(phases_may_overlap_and_keep_their_own_times)
{
    struct start_record r = { .begin_us = 1000 };
    phase_begin(&r, PHASE_MODEL_FETCH, 1000);
    phase_begin(&r, PHASE_SANDBOX, 1010);
    phase_bytes(&r, PHASE_MODEL_FETCH, 40);
    phase_end(&r, PHASE_SANDBOX, 1200, PHASE_DONE);
    phase_bytes(&r, PHASE_MODEL_FETCH, 2);
    phase_end(&r, PHASE_MODEL_FETCH, 5000, PHASE_DONE);
    CHECK(r.phases[PHASE_SANDBOX].start_us == 1010 && r.phases[PHASE_SANDBOX].duration_us == 190);
    CHECK(r.phases[PHASE_MODEL_FETCH].start_us == 1000 &&
          r.phases[PHASE_MODEL_FETCH].duration_us == 4000);
    CHECK_EQ(r.phases[PHASE_MODEL_FETCH].bytes, 42);
    CHECK_EQ(r.phases[PHASE_MODEL_COMPILE].outcome, PHASE_ABSENT);
}

TEST(a_phase_that_begins_again_is_one_interval)
{
    struct start_record r = { 0 };
    phase_begin(&r, PHASE_MODEL_FETCH, 10);
    phase_begin(&r, PHASE_MODEL_FETCH, 15);
    phase_end(&r, PHASE_MODEL_FETCH, 20, PHASE_WARM);
    phase_begin(&r, PHASE_MODEL_FETCH, 30);
    CHECK_EQ(r.phases[PHASE_MODEL_FETCH].outcome, PHASE_OPEN);
    phase_end(&r, PHASE_MODEL_FETCH, 50, PHASE_DONE);
    CHECK(r.phases[PHASE_MODEL_FETCH].start_us == 10 &&
          r.phases[PHASE_MODEL_FETCH].duration_us == 40);
    CHECK_EQ(r.phases[PHASE_MODEL_FETCH].outcome, PHASE_DONE);
}

TEST(a_failure_closes_what_is_open_and_the_first_culprit_stays)
{
    struct start_record r = { 0 };
    phase_begin(&r, PHASE_SCHEDULE, 1);
    phase_end(&r, PHASE_SCHEDULE, 2, PHASE_DONE);
    phase_begin(&r, PHASE_SANDBOX, 2);
    phase_begin(&r, PHASE_MODEL_VERIFY, 3);
    phase_fail(&r, PHASE_MODEL_VERIFY, 9, "the hash is another");
    phase_end(&r, PHASE_SANDBOX, 11, PHASE_DONE); /* ran beside it, and reports late */
    phase_begin(&r, PHASE_WARMUP, 11);
    phase_fail(&r, PHASE_SANDBOX, 12, "killed");
    CHECK_EQ(r.phases[PHASE_WARMUP].outcome, PHASE_ABSENT);
    CHECK(r.failed && r.finished);
    CHECK_EQ(r.failed_phase, PHASE_MODEL_VERIFY);
    CHECK_STR(r.error, "the hash is another");
    CHECK_EQ(r.phases[PHASE_SCHEDULE].outcome, PHASE_DONE);
    CHECK(r.phases[PHASE_SANDBOX].outcome == PHASE_FAILED &&
          r.phases[PHASE_SANDBOX].duration_us == 7);
    CHECK_EQ(r.phases[PHASE_MODEL_VERIFY].duration_us, 6);

    struct start_record unbegun = { 0 };
    phase_fail(&unbegun, PHASE_IMAGE_PULL, 44, "no such folder");
    CHECK(unbegun.phases[PHASE_IMAGE_PULL].outcome == PHASE_FAILED &&
          unbegun.phases[PHASE_IMAGE_PULL].start_us == 44 &&
          unbegun.phases[PHASE_IMAGE_PULL].duration_us == 0);
}

TEST(a_record_is_relative_to_the_decision_to_start)
{
    struct start_record r = { .begin_us = 1000 }, relative;
    phase_begin(&r, PHASE_IMAGE_PULL, 990); /* began ahead of the decision */
    phase_end(&r, PHASE_IMAGE_PULL, 1300, PHASE_DONE);
    phase_begin(&r, PHASE_SANDBOX, 1040);
    phase_end(&r, PHASE_SANDBOX, 1050, PHASE_DONE);
    r.phases[PHASE_FIRST_REQUEST_DELTA] = (struct phase_mark){ 0, -70, 0, PHASE_DONE };
    phase_relative(&r, &relative);
    CHECK_EQ(relative.begin_us, 1000);
    CHECK_EQ(relative.phases[PHASE_IMAGE_PULL].start_us, 0);
    CHECK_EQ(relative.phases[PHASE_IMAGE_PULL].duration_us, 300);
    CHECK_EQ(relative.phases[PHASE_SANDBOX].start_us, 40);
    CHECK_EQ(relative.phases[PHASE_SANDBOX].duration_us, 10);
    CHECK_EQ(relative.phases[PHASE_FIRST_REQUEST_DELTA].duration_us, -70);
    CHECK_EQ(relative.phases[PHASE_WARMUP].start_us, 0);
    CHECK_EQ(r.phases[PHASE_SANDBOX].start_us, 1040);
}

/* True: `misuse` ended the process by an assertion. */
static bool dies(void (*misuse)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        fclose(stderr);
        misuse();
        _exit(0);
    }
    int status = 0;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}
static void end_without_begin(void)
{
    struct start_record r = { 0 };
    phase_end(&r, PHASE_SANDBOX, 1, PHASE_DONE);
}
static void end_twice(void)
{
    struct start_record r = { 0 };
    phase_begin(&r, PHASE_SANDBOX, 1);
    phase_end(&r, PHASE_SANDBOX, 2, PHASE_DONE);
    phase_end(&r, PHASE_SANDBOX, 3, PHASE_DONE);
}
static void end_in_the_past(void)
{
    struct start_record r = { 0 };
    phase_begin(&r, PHASE_SANDBOX, 5);
    phase_end(&r, PHASE_SANDBOX, 4, PHASE_DONE);
}
static void begin_a_difference(void)
{
    struct start_record r = { 0 };
    phase_begin(&r, PHASE_FIRST_REQUEST_DELTA, 5);
}
static void no_misuse(void)
{
    struct start_record r = { 0 };
    phase_begin(&r, PHASE_SANDBOX, 5);
    phase_end(&r, PHASE_SANDBOX, 5, PHASE_DONE);
}

TEST(a_mark_that_makes_no_sense_stops_the_process)
{
    CHECK(!dies(no_misuse)); /* the control: the probe does not always say yes */
    CHECK(dies(end_without_begin));
    CHECK(dies(end_twice));
    CHECK(dies(end_in_the_past));
    CHECK(dies(begin_a_difference));
}

/* The model: one bool per microsecond. */
TEST(the_union_of_intervals_agrees_with_counting_microseconds)
{
    enum { WORLD = 200 };
    struct rng rng = { 11 };
    for (int round = 0; round < 20000; round++) {
        struct interval in[32];
        bool covered[WORLD] = { false };
        size_t n = (size_t)rng_below(&rng, 33);
        uint64_t span = 1 + rng_below(&rng, WORLD);
        for (size_t i = 0; i < n; i++) {
            in[i].start_us = rng_below(&rng, span);
            in[i].end_us = rng_below(&rng, span); /* empty and reversed ones too */
            for (uint64_t t = in[i].start_us; t < in[i].end_us; t++)
                covered[t] = true;
        }
        uint64_t from = rng_below(&rng, WORLD), to = rng_below(&rng, WORLD), expected = 0;
        for (uint64_t t = from; t < to; t++)
            expected += covered[t];
        uint64_t got = interval_union(in, n, from, to);
        if (got != expected)
            FAIL("round %d: %" PRIu64 " instead of %" PRIu64, round, got, expected);
    }
}

TEST(the_union_of_intervals_at_the_edges)
{
    CHECK_EQ(interval_union(NULL, 0, 0, 100), 0);
    CHECK_EQ(interval_union(&(struct interval){ 0, UINT64_MAX }, 1, 5, 5), 0);
    CHECK_EQ(interval_union(&(struct interval){ 0, UINT64_MAX }, 1, 7, 5), 0);
    CHECK_EQ(interval_union(&(struct interval){ 0, UINT64_MAX }, 1, 0, UINT64_MAX), INT64_C(-1));
    struct interval touching[] = { { 5, 10 }, { 0, 5 } };
    CHECK_EQ(interval_union(touching, 2, 0, 20), 10);
}

TEST_MAIN()
