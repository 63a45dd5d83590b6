#include "telemetry/record.h"
#include "tap.h"

TEST(outcomes_have_their_names)
{
    static const char *const names[] = { "ok",      "function_error", "refused",
                                         "timeout", "client_gone",    "failed" };
    CHECK_EQ(COUNT_OF(names), INVOCATION_OUTCOMES);
    for (unsigned i = 0; i < INVOCATION_OUTCOMES; i++)
        CHECK_STR(invocation_outcome_name((enum invocation_outcome)i), names[i]);
}

/* Arrives at 10,000; the start is decided 100 later; phases without a hole until ready at +900;
 * dispatched at +950; first byte at +1,000. */
static struct invocation_record whole_cold_start(void)
{
    struct invocation_record r = { .arrival_us = 10000,
                                   .dispatch_us = 950,
                                   .first_byte_us = 1000,
                                   .total_us = 1200,
                                   .cold = true,
                                   .queue_us = 100,
                                   .has_start = true };
    r.start.begin_us = 10100;
    r.start.phases[PHASE_SCHEDULE] = (struct phase_mark){ 0, 10, 0, PHASE_DONE };
    r.start.phases[PHASE_MODEL_FETCH] = (struct phase_mark){ 10, 400, 0, PHASE_DONE };
    r.start.phases[PHASE_SANDBOX] = (struct phase_mark){ 10, 100, 0, PHASE_DONE };
    r.start.phases[PHASE_RUNTIME_INIT] = (struct phase_mark){ 110, 690, 0, PHASE_DONE };
    r.start.phases[PHASE_READY] = (struct phase_mark){ 800, 50, 0, PHASE_DONE };
    return r;
}

TEST(coverage_is_whole_when_nothing_is_missing_and_falls_by_every_hole)
{
    struct invocation_record r = whole_cold_start();
    CHECK_EQ(record_coverage_permille(&r), 1000);

    r.queue_us = 40; /* 60 of the queue unaccounted */
    CHECK_EQ(record_coverage_permille(&r), 940);

    r = whole_cold_start();
    r.start.phases[PHASE_RUNTIME_INIT].start_us = 460; /* 410..460 belongs to nobody now */
    r.start.phases[PHASE_RUNTIME_INIT].duration_us = 340;
    CHECK_EQ(record_coverage_permille(&r), 950);

    r = whole_cold_start();
    r.start.phases[PHASE_READY].outcome = PHASE_ABSENT;
    CHECK_EQ(record_coverage_permille(&r), 950);

    r = whole_cold_start();
    r.has_start = false; /* queue and handler alone */
    CHECK_EQ(record_coverage_permille(&r), 150);
}

TEST(a_difference_and_an_open_phase_cover_nothing)
{
    struct invocation_record r = whole_cold_start();
    r.start.phases[PHASE_READY].outcome = PHASE_ABSENT;
    r.start.phases[PHASE_FIRST_REQUEST_DELTA] = (struct phase_mark){ 0, 5000, 0, PHASE_DONE };
    r.start.phases[PHASE_WARMUP] = (struct phase_mark){ 0, 5000, 0, PHASE_OPEN };
    CHECK_EQ(record_coverage_permille(&r), 950);
}

TEST(what_a_later_request_did_not_wait_for_does_not_count)
{
    struct invocation_record r = whole_cold_start();
    r.arrival_us = 10500; /* joined the start half way: the phases before do not help */
    r.queue_us = 0;
    r.dispatch_us = 450;
    r.first_byte_us = 500;
    CHECK_EQ(record_coverage_permille(&r), 1000);
    r.start.phases[PHASE_RUNTIME_INIT].duration_us = 590; /* to 10,800 instead of 10,900 */
    CHECK_EQ(record_coverage_permille(&r), 800);
    r.first_byte_us = 0;
    CHECK_EQ(record_coverage_permille(&r), 0);
}

TEST_MAIN()
