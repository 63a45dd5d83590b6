#include "tap.h"

#include "instance/backoff.h"

TEST(a_sidecar_is_started_again_at_once_and_then_after_a_pause_that_doubles)
{
    CHECK_EQ(backoff_pause_us(0, 10, 300), 0);
    CHECK_EQ(backoff_pause_us(1, 10, 300), 10);
    CHECK_EQ(backoff_pause_us(2, 10, 300), 20);
    CHECK_EQ(backoff_pause_us(5, 10, 300), 160);
    CHECK_EQ(backoff_pause_us(6, 10, 300), 300);
    CHECK_EQ(backoff_pause_us(UINT32_MAX, 10, 300), 300);
    CHECK_EQ(backoff_pause_us(1, 400, 300), 300);
}

TEST_MAIN()
