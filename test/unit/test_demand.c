#include "tap.h"

#include "sandbox/demand.h"

enum { SECOND = 1000000 };

static uint64_t burst(struct demand *d, uint64_t at_us, int count)
{
    for (int i = 0; i < count; i++, at_us += 1000)
        demand_start(d, at_us);
    return at_us;
}

TEST(as_many_are_wanted_as_came_at_once)
{
    struct demand d;
    demand_init(&d, 4, 64, 0, 300 * (uint64_t)SECOND);
    CHECK_EQ(demand_wanted(&d, 1), 4);
    uint64_t now = burst(&d, SECOND, 3);
    CHECK_EQ(demand_wanted(&d, now), 4);
    now = burst(&d, now + DEMAND_GAP_US, 25);
    CHECK_EQ(demand_wanted(&d, now), 25);
    now = burst(&d, now + DEMAND_GAP_US, 7); /* a smaller one changes nothing */
    CHECK_EQ(demand_wanted(&d, now), 25);
}

TEST(no_more_than_most_and_never_any_where_none_is_wanted)
{
    struct demand d;
    demand_init(&d, 4, 64, 0, SECOND);
    CHECK_EQ(demand_wanted(&d, burst(&d, SECOND, 500)), 64);
    demand_init(&d, 4, 0, 16, SECOND); /* a bound below the base is the base */
    CHECK_EQ(demand_wanted(&d, burst(&d, SECOND, 500)), 4);
    CHECK_EQ(demand_due_us(&d), UINT64_MAX);
    demand_init(&d, 0, 64, 16, SECOND);
    CHECK_EQ(demand_wanted(&d, burst(&d, SECOND, 500)), 0);
}

TEST(starts_with_room_between_them_are_no_burst)
{
    struct demand d;
    demand_init(&d, 4, 64, 0, 300 * (uint64_t)SECOND);
    uint64_t now = SECOND;
    for (int i = 0; i < 100; i++, now += DEMAND_GAP_US)
        demand_start(&d, now);
    CHECK_EQ(demand_wanted(&d, now), 4);
    for (int i = 0; i < 1000; i++, now += DEMAND_GAP_US / 2) /* a stream counts for one second of it */
        demand_start(&d, now);
    CHECK_EQ(demand_wanted(&d, now), DEMAND_BURST_US / (DEMAND_GAP_US / 2));
}

TEST(a_burst_is_remembered_for_one_to_two_periods)
{
    struct demand d;
    const uint64_t keep = 300 * (uint64_t)SECOND;
    demand_init(&d, 4, 64, 0, keep);
    burst(&d, SECOND, 25);
    CHECK_EQ(demand_due_us(&d) / SECOND, 301);
    CHECK_EQ(demand_wanted(&d, demand_due_us(&d)), 25);
    uint64_t due = demand_due_us(&d);
    CHECK_EQ(demand_wanted(&d, due - 1), 25);
    CHECK_EQ(demand_wanted(&d, due), 4);
    CHECK_EQ(demand_due_us(&d), UINT64_MAX); /* quiet: nothing wakes anybody */

    burst(&d, due + SECOND, 25);
    uint64_t second = demand_due_us(&d);
    CHECK_EQ(demand_wanted(&d, second), 25);
    burst(&d, second + SECOND, 10); /* what comes now is kept when the old one goes */
    CHECK_EQ(demand_wanted(&d, second + SECOND), 25);
    CHECK_EQ(demand_wanted(&d, demand_due_us(&d)), 10);
    CHECK_EQ(demand_wanted(&d, second + 10 * keep), 4); /* nobody asked for long */
    CHECK_EQ(demand_due_us(&d), UINT64_MAX);
}

TEST(as_many_are_wanted_as_there_are_functions_that_may_be_called_at_once)
{
    struct demand d;
    demand_init(&d, 4, 64, 16, 300 * (uint64_t)SECOND);
    demand_functions(&d, 3);
    CHECK_EQ(demand_wanted(&d, 1), 4);
    demand_functions(&d, 9);
    CHECK_EQ(demand_wanted(&d, 1), 9);
    demand_functions(&d, 1000);
    CHECK_EQ(demand_wanted(&d, 1), 16);
    uint64_t now = burst(&d, SECOND, 25);
    CHECK_EQ(demand_wanted(&d, now), 25);
    CHECK_EQ(demand_wanted(&d, demand_due_us(&d)), 25);
    CHECK_EQ(demand_wanted(&d, demand_due_us(&d)), 16); /* the burst is forgotten, the functions are not */
    demand_functions(&d, 0);
    CHECK_EQ(demand_wanted(&d, now), 4);

    demand_init(&d, 4, 10, 16, SECOND); /* no more than the pool may be */
    demand_functions(&d, 1000);
    CHECK_EQ(demand_wanted(&d, 1), 10);
    demand_init(&d, 0, 64, 16, SECOND);
    demand_functions(&d, 1000);
    CHECK_EQ(demand_wanted(&d, 1), 0);
}

TEST_MAIN()
