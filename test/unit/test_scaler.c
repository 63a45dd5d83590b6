#include "base/rng.h"
#include "scale/scaler.h"
#include "tap.h"

#define S(n) ((uint64_t)(n) * 1000000)

static const struct scaler_config usual = {
    .max = 10, .initial = 1, .target = 2, .window_us = S(60),
};

TEST(a_burst_from_zero_gets_what_it_needs_at_once_and_no_more_than_max)
{
    struct scaler s;
    scaler_init(&s, &usual, S(100));
    s.initial_reached = true;
    CHECK_EQ(scaler_desired(&s, 0, S(200)), 0);
    scaler_note(&s, 1, S(200));
    CHECK_EQ(scaler_desired(&s, 0, S(200)), 1);
    scaler_note(&s, 5, S(200));
    CHECK_EQ(scaler_desired(&s, 0, S(200)), 3);
    scaler_note(&s, 200, S(200));
    CHECK_EQ(scaler_desired(&s, 0, S(200)), 10);
}

TEST(zero_comes_a_whole_window_after_the_last_request_and_not_before)
{
    struct scaler s;
    scaler_init(&s, &usual, 0);
    s.initial_reached = true;
    scaler_note(&s, 1, S(10));
    scaler_note(&s, 0, S(11));
    CHECK_EQ(scaler_desired(&s, 1, S(11)), 1);
    CHECK_EQ(scaler_desired(&s, 1, S(71) - 1), 1);
    CHECK_EQ(scaler_desired(&s, 1, S(71)), 0);
    CHECK_EQ(scaler_next_us(&s, S(71)), UINT64_MAX); /* nothing to wake up for */
}

TEST(the_retention_keeps_the_last_instance_longer)
{
    struct scaler_config c = usual;
    struct scaler s;
    c.retention_us = S(30);
    scaler_init(&s, &c, 0);
    s.initial_reached = true;
    scaler_note(&s, 1, S(1));
    scaler_note(&s, 0, S(2));
    CHECK_EQ(scaler_desired(&s, 1, S(91)), 1);
    CHECK_EQ(scaler_desired(&s, 1, S(92)), 0);
}

TEST(the_window_remembers_a_load_that_just_ended)
{
    struct scaler s;
    scaler_init(&s, &usual, 0);
    scaler_note(&s, 16, S(100));
    (void)scaler_desired(&s, 8, S(160));
    scaler_note(&s, 0, S(160));
    CHECK_EQ(scaler_desired(&s, 8, S(160)), 8);
    CHECK_EQ(scaler_desired(&s, 8, S(190)), 4); /* half the window is silence */
    CHECK_EQ(scaler_desired(&s, 8, S(219)), 1);
}

TEST(min_initial_and_delay_bound_the_answer)
{
    struct scaler_config c = usual;
    struct scaler s;
    c.min = 2;
    c.initial = 3;
    scaler_init(&s, &c, 0);
    CHECK_EQ(scaler_desired(&s, 0, S(1)), 3);
    CHECK_EQ(scaler_desired(&s, 3, S(2)), 2); /* reached once: min from now on */
    CHECK_EQ(scaler_desired(&s, 0, S(3)), 2);
    c.min = 0;
    scaler_init(&s, &c, S(100));
    CHECK_EQ(scaler_desired(&s, 2, S(100)), 3);
    CHECK_EQ(scaler_desired(&s, 3, S(110)), 1);
    CHECK_EQ(scaler_desired(&s, 3, S(169)), 1); /* a window after the deploy, not at once */
    CHECK_EQ(scaler_desired(&s, 3, S(170)), 0);
    c = usual;
    c.scale_down_delay_us = S(20);
    c.window_us = S(6);
    scaler_init(&s, &c, 0);
    scaler_note(&s, 8, S(100));
    CHECK_EQ(scaler_desired(&s, 4, S(100)), 4);
    scaler_note(&s, 0, S(101));
    CHECK_EQ(scaler_desired(&s, 4, S(119)), 4);
    CHECK_EQ(scaler_desired(&s, 4, S(121)), 0);
}

/* The ring against a list of every change, averaged by brute force. */
TEST(the_average_agrees_with_brute_force)
{
    enum { N = 4000 };
    static uint64_t at[N];
    static uint32_t level[N];
    struct rng r = { 11 };
    struct scaler s;
    scaler_init(&s, &usual, 0);
    uint64_t now = S(1000);
    for (int n = 0; n < N; n++) {
        now += rng_below(&r, n % 100 == 0 ? S(90) : S(2));
        at[n] = now;
        level[n] = (uint32_t)rng_below(&r, 20);
        scaler_note(&s, level[n], now);
        uint64_t probe = now + rng_below(&r, S(1)) % 1000, from = probe - S(60);
        double area = 0;
        for (int k = n; k >= 0; k--) {
            uint64_t end = k == n ? probe : at[k + 1], start = at[k];
            if (end <= from)
                break;
            area += (double)(end - MAX(start, from)) * level[k];
        }
        double truth = area / 60e6, got = scaler_average(&s, probe);
        now = probe;
        /* the oldest bucket (1 s of 60) may be cut short: up to its own share of error */
        if (got > truth + 1e-6 || got < truth - 20.0 / 60 - 1e-6)
            FAIL("step %d: average %.6f, truth %.6f", n, got, truth);
    }
}

TEST_MAIN()
