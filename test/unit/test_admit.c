/* One function under load, played through: arrivals in an open loop, a number of slots, callers that wait for one
 * second and do not say so (or do). What is counted is what came in time for its caller. */
#include "scale/admit.h"
#include "tap.h"

#include "base/rng.h"

enum { SLOTS = 40, SERVICE_US = 100000, PATIENCE_US = 1000000, DEPTH = 1000, STEP_US = 250 };
#define SECOND UINT64_C(1000000)

static const struct admit_rules rules = { 500000, 1000000, 60 * SECOND }, fifo = { 0, 1000000, 60 * SECOND };

struct queued {
    uint64_t came_us, deadline_us;
};
static struct play {
    struct admit a;
    const struct admit_rules *rules;
    struct rng rng;
    uint64_t now_us, seconds_us; /* arrivals owed, in parts of one */
    struct queued queue[DEPTH];
    uint32_t waiting, slots, most, running;
    uint64_t ends_us[SLOTS * 4], came_us[SLOTS * 4], began_us[SLOTS * 4];
    uint64_t service_us;
    bool told, grows; /* told: callers say what their deadline is */
    uint32_t offered, in_time, late, full, no_time, overloaded, shed, hopeless;
} p;

static struct admit_view view(uint32_t waiting)
{
    return (struct admit_view){ p.now_us, waiting, p.slots, p.most, p.grows };
}

static void play_new(const struct admit_rules *r)
{
    memset(&p, 0, sizeof p);
    p.rules = r;
    p.rng.state = 7;
    p.slots = p.most = SLOTS;
    p.service_us = SERVICE_US;
    p.now_us = SECOND;
}

static void run(uint64_t came_us)
{
    uint32_t at = 0;
    while (p.ends_us[at])
        at++;
    p.came_us[at] = came_us;
    p.began_us[at] = p.now_us;
    p.ends_us[at] = p.now_us + p.service_us * 4 / 5 + rng_below(&p.rng, p.service_us * 2 / 5);
    p.running++;
    struct admit_view v = view(p.waiting);
    admit_granted(&p.a, p.rules, &v);
}

static struct queued take_oldest(void)
{
    struct queued q = p.queue[0];
    memmove(p.queue, p.queue + 1, --p.waiting * sizeof q);
    return q;
}

static void fill(void)
{
    while (p.waiting > 0 && p.running < p.slots) {
        struct queued q = take_oldest();
        struct admit_view v = view(p.waiting);
        if (admit_hopeless(&p.a, &v, q.deadline_us))
            p.hopeless++;
        else
            run(q.came_us);
    }
}

static void arrive(void)
{
    struct admit_view v = view(p.waiting);
    uint64_t deadline_us = p.now_us + (p.told ? PATIENCE_US : 300 * SECOND);
    p.offered++;
    admit_arrived(&p.a, p.rules, &v);
    for (uint64_t n = admit_surplus(&p.a, p.rules, &v); n > 0; n--, p.shed++)
        (void)take_oldest();
    v = view(p.waiting);
    if (p.waiting == 0 && p.running < p.slots) {
        run(p.now_us);
        return;
    }
    switch (admit_ask(&p.a, p.rules, &v, deadline_us)) {
    case ADMIT_NO_TIME: p.no_time++; return;
    case ADMIT_OVERLOADED: p.overloaded++; return;
    case ADMIT_TAKE: break;
    }
    if (p.waiting == DEPTH) {
        p.full++;
        return;
    }
    p.queue[p.waiting++] = (struct queued){ p.now_us, deadline_us };
}

/* Ends at now + seconds; what is counted is of this time only. */
static void play(uint32_t per_second, uint32_t seconds)
{
    p.offered = p.in_time = p.late = p.full = p.no_time = p.overloaded = p.shed = p.hopeless = 0;
    for (uint64_t end_us = p.now_us + seconds * SECOND; p.now_us < end_us; p.now_us += STEP_US) {
        for (uint32_t k = 0; k < COUNT_OF(p.ends_us); k++)
            if (p.ends_us[k] && p.ends_us[k] <= p.now_us) {
                bool in_time = p.now_us - p.came_us[k] <= PATIENCE_US;
                p.in_time += in_time;
                p.late += !in_time;
                p.ends_us[k] = 0;
                p.running--;
                admit_released(&p.a, p.now_us - p.began_us[k]);
            }
        fill();
        for (p.seconds_us += per_second * (uint64_t)STEP_US; p.seconds_us >= SECOND; p.seconds_us -= SECOND)
            arrive();
        ASSERT(p.waiting == 0 || p.running >= p.slots);
    }
}

static uint32_t peak(const struct admit_rules *r)
{
    play_new(r);
    play(400, 10);
    return p.in_time;
}

TEST(ten_times_too_much_is_answered_in_time_though_nobody_tells_a_deadline)
{
    uint32_t best = peak(&rules);
    play_new(&rules);
    play(200, 3);
    CHECK_EQ(p.in_time + p.running, 600);
    play(4000, 3); /* it takes the interval and what waited by then to see it */
    play(4000, 10);
    CHECK(p.in_time >= best * 9 / 10);
    CHECK_EQ(p.late, 0);
    CHECK_EQ(p.full, 0); /* who is refused is refused on arrival */
    CHECK(p.shed <= p.offered / 1000);
    play(200, 2);
    play(200, 5); /* all is as before */
    CHECK_EQ(p.overloaded + p.no_time + p.late + p.full, 0);
    CHECK(!p.a.overloaded);
}

TEST(first_come_first_served_serves_those_who_have_left)
{
    uint32_t best = peak(&fifo); /* what the above is to be worth: without it, it fails */
    play_new(&fifo);
    play(4000, 3);
    play(4000, 10);
    CHECK(p.in_time < best / 10);
    CHECK(p.late > best * 9 / 10);
}

TEST(a_little_too_much_is_an_overload_too_only_later)
{
    uint32_t best = peak(&rules);
    play_new(&rules);
    play(440, 20);
    play(440, 10);
    CHECK(p.in_time >= best * 9 / 10);
    CHECK(p.overloaded > 0);
}

TEST(who_tells_a_deadline_is_refused_at_once_or_answered_before_it)
{
    uint32_t best = peak(&fifo);
    play_new(&fifo);
    p.told = true;
    play(200, 1);
    play(4000, 1);
    CHECK(p.no_time > 1000);
    play(4000, 10);
    CHECK(p.in_time >= best * 9 / 10);
    CHECK(p.late <= best / 100);
    CHECK(p.hopeless <= best / 100); /* these would have waited for nothing */
    CHECK_EQ(p.full, 0);
}

TEST(a_burst_is_no_overload_however_long_it_takes)
{
    play_new(&rules);
    play(200, 1);
    for (int k = 0; k < 900; k++) /* two seconds and a quarter */
        arrive();
    play(0, 1);
    play(20, 1); /* few come, and they wait behind it */
    CHECK_EQ(p.overloaded + p.shed + p.no_time + p.full, 0);
    uint32_t served = p.in_time + p.late;
    play(0, 3);
    CHECK(served + p.in_time + p.late >= 500);
    CHECK_EQ(p.overloaded + p.shed + p.no_time + p.full, 0);
}

TEST(callers_who_wait_for_their_answer_before_they_ask_again_are_no_overload)
{
    play_new(&rules);
    for (int k = 0; k < 600; k++)
        arrive();
    for (int k = 0; k < 40000; k++) { /* 10 s, one step each */
        uint32_t before = p.running + p.waiting;
        uint64_t end_us = p.now_us + STEP_US;
        for (uint32_t n = 0; n < COUNT_OF(p.ends_us); n++)
            if (p.ends_us[n] && p.ends_us[n] <= p.now_us) {
                p.ends_us[n] = 0;
                p.running--;
                admit_released(&p.a, p.now_us - p.began_us[n]);
            }
        uint32_t gone = before - p.running - p.waiting;
        fill();
        for (; gone > 0; gone--)
            arrive();
        p.now_us = end_us;
    }
    CHECK_EQ(p.overloaded + p.shed + p.no_time + p.full, 0);
    CHECK_EQ(p.waiting + p.running, 600);
}

TEST(while_instances_may_come_nobody_is_refused_whom_they_could_serve)
{
    play_new(&rules);
    play(200, 1);
    p.grows = true;
    p.most = 4000; /* SLOTS now */
    play(4000, 3);
    CHECK_EQ(p.overloaded + p.shed + p.no_time, 0);
    struct admit_view v = view(1000);
    CHECK_EQ(admit_ask(&p.a, &rules, &v, p.now_us + 50000), ADMIT_NO_TIME); /* not even they */
    CHECK_EQ(admit_ask(&p.a, &rules, &v, p.now_us + 300000), ADMIT_TAKE);
    v.slots_most = v.slots;
    CHECK_EQ(admit_ask(&p.a, &rules, &v, p.now_us + 300000), ADMIT_NO_TIME);
}

TEST(what_is_not_known_refuses_nobody_and_a_free_slot_finds_out)
{
    struct admit a = { 0 };
    struct admit_view v = { SECOND, 1000, 1, 1, false };
    for (int k = 0; k < ADMIT_SAMPLES_MIN - 1; k++)
        admit_released(&a, 10 * SECOND);
    CHECK_EQ(admit_ask(&a, &rules, &v, 2 * SECOND), ADMIT_TAKE);
    CHECK(!admit_hopeless(&a, &v, SECOND + 1));
    admit_released(&a, 10 * SECOND);
    CHECK_EQ(admit_ask(&a, &rules, &v, 2 * SECOND), ADMIT_NO_TIME);
    CHECK(admit_hopeless(&a, &v, SECOND + 1));
    v.waiting = 0; /* nobody else wants it */
    CHECK(!admit_hopeless(&a, &v, SECOND + 1));
    v.slots_most = v.slots = 0; /* as many as come */
    v.waiting = 1000;
    CHECK_EQ(admit_ask(&a, &rules, &v, 2 * SECOND), ADMIT_TAKE);
}

TEST(one_that_holds_its_slot_for_an_hour_does_not_make_the_others_slow)
{
    struct admit a = { 0 };
    for (int k = 0; k < 100; k++)
        admit_released(&a, 100000);
    admit_released(&a, 3600 * SECOND);
    CHECK(a.mean_us < 200000);
    for (int k = 0; k < 100; k++)
        admit_released(&a, 2 * SECOND); /* and a real change is learned */
    CHECK(a.mean_us > 1900000 && a.mean_us <= 2 * SECOND);
}

TEST(a_slow_function_has_a_queue_of_two_of_its_turns)
{
    struct admit a = { .overloaded = true };
    for (int k = 0; k < 20; k++)
        admit_released(&a, 10 * SECOND);
    struct admit_view v = { SECOND, 3, 2, 2, false }; /* 17.5 s */
    CHECK_EQ(admit_ask(&a, &rules, &v, 600 * SECOND), ADMIT_TAKE);
    v.waiting = 4;
    CHECK_EQ(admit_ask(&a, &rules, &v, 600 * SECOND), ADMIT_OVERLOADED);
    v.waiting = 5;
    CHECK_EQ(admit_surplus(&a, &rules, &v), 0); /* one too many, but it was let in */
    v.waiting = 9;
    CHECK_EQ(admit_surplus(&a, &rules, &v), 5);
    CHECK_EQ(admit_retry_after_s(&a, &rules, &v), 28); /* 47.5 s, and 20 are bearable */
    v.waiting = 20;
    CHECK_EQ(admit_ask(&a, &rules, &v, UINT64_MAX), ADMIT_NO_TIME); /* queue_us */
    CHECK_EQ(admit_retry_after_s(&a, &rules, &v), 60);
}

TEST_MAIN()
