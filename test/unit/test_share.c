#include "scale/share.h"
#include "tap.h"

#include "base/rng.h"

static const struct share_node node = { .max = 10, .first = 2, .held = 0 };

static struct share_node held(uint32_t count)
{
    struct share_node n = node;
    n.held = count;
    return n;
}

TEST(a_burst_leaves_the_part_for_first_ones_and_a_first_one_gets_it)
{
    const struct share_claim c[] = { { .live = 3 }, { .live = 0, .waits = true }, { .live = 0 } };
    struct share_node n = held(3);
    CHECK_EQ(share_grant(&n, c, 3, 0, 100), 5); /* 10 - 3 - 2 */
    CHECK_EQ(share_grant(&n, c, 3, 0, 2), 2);
    n = held(8);
    CHECK_EQ(share_grant(&n, c, 3, 0, 1), 0);
    CHECK_EQ(share_grant(&n, c, 3, 1, 5), 1); /* its first, not its second */
    CHECK_EQ(share_grant(&n, c, 3, 2, 5), 1); /* deployed just now: nobody waits for it yet */
    n = held(10);
    CHECK_EQ(share_grant(&n, c, 3, 1, 1), 0);
    n = held(11); /* a limit that was lowered */
    CHECK_EQ(share_grant(&n, c, 3, 1, 1), 0);
}

TEST(who_waits_with_nothing_comes_before_everybodys_next)
{
    struct share_claim c[6] = { { .live = 4 } };
    for (int i = 1; i < 6; i++)
        c[i] = (struct share_claim){ .waits = true };
    struct share_node n = held(4); /* 6 places, five wait */
    CHECK_EQ(share_grant(&n, c, 6, 0, 3), 1);
    CHECK_EQ(share_grant(&n, c, 6, 3, 3), 2); /* its first, and the one place that nobody else needs */
    n = held(5);
    CHECK_EQ(share_grant(&n, c, 6, 0, 3), 0);
    CHECK_EQ(share_grant(&n, c, 6, 3, 3), 1);
}

TEST(the_longest_idle_above_its_min_goes_first)
{
    const struct share_claim c[] = { { .live = 1 },
                                     { .live = 3, .min = 3, .idle = true, .idle_since_us = 1 },
                                     { .live = 2, .idle = true, .idle_since_us = 9 },
                                     { .live = 1, .idle = true, .idle_since_us = 5 },
                                     { .live = 3 } };
    struct share_node n = held(10);
    uint32_t who = 99;
    CHECK_EQ(share_victim(&n, c, 5, 0, &who), SHARE_IDLE);
    CHECK_EQ(who, 3);
    CHECK_EQ(share_victim(&n, c, 5, 3, &who), SHARE_IDLE); /* not its own */
    CHECK_EQ(who, 2);
}

TEST(for_a_first_instance_the_largest_gives_one_min_or_not_but_not_its_last)
{
    struct share_claim c[] = { { .live = 0, .waits = true }, { .live = 6, .min = 6 }, { .live = 3, .min = 1 }, { .live = 1 } };
    struct share_node n = held(10);
    uint32_t who = 99;
    CHECK_EQ(share_victim(&n, c, 4, 0, &who), SHARE_BUSY);
    CHECK_EQ(who, 2); /* the only one above its min */
    c[2].min = 3;
    CHECK_EQ(share_victim(&n, c, 4, 0, &who), SHARE_BUSY);
    CHECK_EQ(who, 1);
    c[0].live = 1; /* a second one has no such claim */
    c[0].waits = false;
    CHECK_EQ(share_victim(&n, c, 4, 0, &who), SHARE_NOBODY);
    const struct share_claim all_one[] = { { .live = 0, .waits = true }, { .live = 1 }, { .live = 1 } };
    n = held(2);
    CHECK_EQ(share_victim(&n, all_one, 3, 0, &who), SHARE_NOBODY);
}

TEST(one_that_leaves_is_enough_for_one_that_waits)
{
    struct share_claim c[] = { { .live = 0, .waits = true }, { .live = 9 }, { .live = 0 } };
    struct share_node n = held(10);
    uint32_t who = 99;
    CHECK_EQ(share_victim(&n, c, 3, 0, &who), SHARE_NOBODY);
    c[2].waits = true;
    CHECK_EQ(share_victim(&n, c, 3, 0, &who), SHARE_BUSY);
    CHECK_EQ(who, 1);
}

/* Whatever the claims: the node never gets too full, and as long as somebody may give, every revision that waits comes
 * to its first instance, whoever else asks for how much in between. */
TEST(random_nodes_serve_everybody_once_before_anybody_twice)
{
    struct rng r = { 7 };
    for (int round = 0; round < 2000; round++) {
        struct share_claim c[8] = { 0 };
        uint32_t count = 2 + (uint32_t)rng_below(&r, 7), leaving = 0;
        struct share_node n = { .max = count + (uint32_t)rng_below(&r, 12) };
        n.first = (uint32_t)rng_below(&r, n.max / 2 + 1);
        for (uint32_t i = 0; i < count; i++)
            c[i].min = (uint32_t)rng_below(&r, 2 * n.max), c[i].waits = rng_below(&r, 2) == 0;
        for (int turn = 0; turn < 200; turn++) {
            uint32_t i = (uint32_t)rng_below(&r, count), who, greed = 1 + (uint32_t)rng_below(&r, 20);
            uint32_t got = share_grant(&n, c, count, i, greed);
            CHECK(got <= greed && n.held + got <= n.max);
            c[i].live += got;
            n.held += got;
            c[i].waits = c[i].waits && c[i].live == 0;
            if (got == 0 && share_victim(&n, c, count, i, &who) != SHARE_NOBODY) {
                CHECK(who != i && c[who].live > 1);
                c[who].live--;
                leaving++;
            }
            if (leaving > 0 && rng_below(&r, 3) == 0)
                leaving--, n.held--;
        }
        for (uint32_t i = 0; i < count; i++)
            if (c[i].waits)
                FAIL("round %d: %u of %u waits for ever, max %u", round, i, count, n.max);
    }
}

TEST_MAIN()
