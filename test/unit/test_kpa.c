/* Stories of the autoscaler with the numbers that Knative's documentation gives; what random lives do is compared
 * with a model in test/model. */
#include "base/rng.h"
#include "scale/kpa_text.h"
#include "scale/load.h"
#include "scale/maxima.h"
#include "tap.h"

#define S(n) ((uint64_t)(n) * 1000000)

static struct kpa_config usual(void)
{
    return (struct kpa_config){
        .total_micro = 100 * KPA_MICRO, .target_micro = 70 * KPA_MICRO, .burst_micro = 211 * (int64_t)KPA_MICRO,
        .window_s = 60, .panic_window_s = 6, .panic_threshold_micro = 2 * KPA_MICRO,
        .up_rate_micro = 1000 * KPA_MICRO, .down_rate_micro = 2 * KPA_MICRO, .max = 1000, .initial = 1,
        .grace_us = S(30), .activation_deadline_us = S(630), .to_zero = true, .queued_always = true,
    };
}

struct world { /* an autoscaler whose wishes come true at once */
    struct kpa *k;
    uint64_t now;
    uint32_t ready;
    bool reachable;
};
static struct world begin(const struct kpa_config *c, uint32_t ready)
{
    struct world w = { kpa_new(c, 0, S(1000)), S(1000), ready, true };
    kpa_measure(w.k, ready > 0, w.now);
    (void)kpa_reconcile(w.k, &(struct kpa_input){ w.now, ready, true });
    return w;
}
static const struct kpa_decision *tick(struct world *w)
{
    w->now += KPA_TICK_US;
    return kpa_tick(w->k, &(struct kpa_input){ w->now, w->ready, w->reachable });
}
static void follow(struct world *w)
{
    w->ready = kpa_last(w->k)->apply;
    kpa_measure(w->k, w->ready > 0, w->now);
    (void)kpa_reconcile(w->k, &(struct kpa_input){ w->now, w->ready, w->reachable });
}
static const struct kpa_decision *pass(struct world *w, uint64_t seconds)
{
    for (uint64_t end = w->now + S(seconds); w->now < end;) {
        (void)tick(w);
        follow(w);
    }
    return kpa_last(w->k);
}

TEST(seventy_percent_of_a_hundred_is_aimed_at)
{
    struct kpa_config c = usual();
    struct world w = begin(&c, 1);
    kpa_level(w.k, 70, w.now);
    CHECK_EQ(pass(&w, 70)->apply, 1);
    kpa_level(w.k, 71, w.now);
    CHECK_EQ(pass(&w, 70)->apply, 2);
    CHECK(!kpa_last(w.k)->panicking);
    kpa_free(w.k);
}

TEST(twice_what_is_ready_is_a_panic_which_never_shrinks_and_ends_a_window_later)
{
    struct kpa_config c = usual();
    struct world w = begin(&c, 1);
    kpa_level(w.k, 10, w.now);
    CHECK(!pass(&w, 60)->panicking);
    kpa_level(w.k, 700, w.now);
    const struct kpa_decision *d = pass(&w, 6);
    CHECK(d->panicking);
    CHECK_EQ(d->apply, 10);
    CHECK_EQ(d->panic_micro, 700 * KPA_MICRO);
    CHECK_EQ(d->stable_micro, (54 * 10 + 6 * 700) * KPA_MICRO / 60); /* which alone would want 2 */
    kpa_level(w.k, 10, w.now);
    for (int s = 0; s < 56; s += 2) {
        d = pass(&w, 2);
        CHECK(d->panicking && d->apply == 10);
    }
    CHECK_EQ(d->reason, KPA_PANIC_HELD);
    d = pass(&w, 12);
    CHECK(!d->panicking);
    d = pass(&w, 10);
    CHECK_EQ(d->apply, 1);
    kpa_free(w.k);
}

TEST(one_tick_multiplies_by_1000_and_halves_at_most)
{
    struct kpa_config c = usual();
    struct world w = begin(&c, 1);
    c.up_rate_micro = 2 * KPA_MICRO;
    kpa_free(w.k);
    w = begin(&c, 1);
    kpa_level(w.k, 7000, w.now);
    CHECK_EQ(tick(&w)->apply, 2);
    CHECK_EQ(kpa_last(w.k)->reason, KPA_RATE_UP);
    kpa_level(w.k, 0, w.now);
    w.ready = 100;
    pass(&w, 2);
    w.ready = 9;
    w.now += S(200);
    (void)tick(&w); /* the panic is over */
    CHECK_EQ(kpa_last(w.k)->desired, 4);
    w.reachable = false;
    CHECK_EQ(tick(&w)->desired, 0);
    kpa_free(w.k);
}

TEST(zero_comes_a_window_after_the_last_request_and_a_retention)
{
    struct kpa_config c = usual();
    c.retention_us = S(40);
    struct world w = begin(&c, 1);
    kpa_level(w.k, 1, w.now);
    (void)pass(&w, 100);
    kpa_level(w.k, 0, w.now);
    uint64_t last = w.now;
    while (kpa_last(w.k)->wanted != 0 && w.now < last + S(200))
        (void)pass(&w, 2);
    CHECK_EQ(w.now - last, S(60));
    CHECK(kpa_last(w.k)->apply == 1 && kpa_last(w.k)->activity == KPA_INACTIVE);
    while (kpa_last(w.k)->apply != 0 && w.now < last + S(200))
        (void)pass(&w, 2);
    CHECK_EQ(w.now - last, S(100));
    CHECK(kpa_at_rest(w.k));
    kpa_free(w.k);
}

TEST(an_instance_without_a_single_request_stays_a_window)
{
    struct kpa_config c = usual();
    struct world w = begin(&c, 1);
    CHECK_EQ(kpa_last(w.k)->activity, KPA_ACTIVE);
    CHECK_EQ(pass(&w, 58)->apply, 1);
    CHECK_EQ(kpa_last(w.k)->reason, KPA_LAST);
    CHECK_EQ(pass(&w, 2)->apply, 0);
    kpa_free(w.k);
}

TEST(a_burst_that_waits_is_wanted_at_once_and_zero_is_left_for_it)
{
    struct kpa_config c = usual();
    c.initial = 0;
    struct world w = begin(&c, 0);
    CHECK(kpa_at_rest(w.k) && kpa_last(w.k)->activity == KPA_INACTIVE);
    kpa_level(w.k, 200, w.now + 1);
    const struct kpa_decision *d = kpa_urgent(w.k, &(struct kpa_input){ w.now + 1, 0, true });
    CHECK_EQ(d->apply, 3);
    CHECK_EQ(d->activity, KPA_ACTIVATING);
    CHECK(!kpa_at_rest(w.k));
    d = tick(&w);
    CHECK_EQ(d->apply, 3); /* and the first tick agrees: a window that is young is not watered down */
    kpa_free(w.k);
}

TEST(a_long_request_is_not_scaled_away_by_requests_per_second)
{
    struct kpa_config c = usual();
    c.metric = KPA_RPS;
    struct world w = begin(&c, 1);
    kpa_level(w.k, 1, w.now);
    kpa_arrived(w.k, w.now);
    const struct kpa_decision *d = pass(&w, 300);
    CHECK_EQ(d->stable_micro, 0);
    CHECK_EQ(d->apply, 1);
    CHECK_EQ(d->reason, KPA_IN_FLIGHT);
    kpa_level(w.k, 0, w.now);
    CHECK_EQ(pass(&w, 4)->apply, 0);
    kpa_free(w.k);
}

TEST(the_delay_keeps_the_largest_of_its_time)
{
    struct kpa_config c = usual();
    c.delay_us = S(20);
    struct world w = begin(&c, 1);
    kpa_level(w.k, 210, w.now);
    (void)pass(&w, 4);
    CHECK_EQ(kpa_last(w.k)->apply, 3);
    kpa_level(w.k, 60, w.now);
    uint64_t least = w.now + S(60); /* the panic */
    while (kpa_last(w.k)->reason != KPA_DELAYED && w.now < least + S(100))
        (void)pass(&w, 2);
    uint64_t since = w.now;
    CHECK_EQ(kpa_last(w.k)->apply, 3);
    while (kpa_last(w.k)->apply == 3)
        (void)pass(&w, 2);
    CHECK_EQ(w.now - since, S(18)); /* ten slots of two seconds, this one among them */
    kpa_free(w.k);
}

TEST(burst_capacity_is_what_is_left_of_the_ready_ones)
{
    struct kpa_config c = usual();
    struct world w = begin(&c, 1);
    kpa_level(w.k, 10, w.now);
    w.ready = 3;
    (void)tick(&w);
    CHECK_EQ(kpa_last(w.k)->excess_burst, 3 * 100 - 211 - 10);
    CHECK_EQ(kpa_last(w.k)->queues, 6);
    w.ready = 1;
    (void)tick(&w);
    CHECK_EQ(kpa_last(w.k)->excess_burst, 100 - 211 - 10);
    kpa_free(w.k);
}

TEST(a_window_that_is_young_is_averaged_over_its_age)
{
    uint64_t buckets[60], micro;
    struct window w;
    window_init(&w, WINDOW_LINEAR, 60, buckets);
    CHECK(!window_average(&w, 5, &micro));
    window_record(&w, 10, 30);
    window_record(&w, 11, 10);
    CHECK(window_average(&w, 11, &micro) && micro == 20);
    CHECK(window_average(&w, 69, &micro) && micro == 20); /* two buckets left, both of them */
    CHECK(window_average(&w, 70, &micro) && micro == 10);
    CHECK(window_average(&w, 71, &micro) && micro == 0);
    CHECK(!window_average(&w, 72, &micro));
    window_record(&w, 80, 7);
    CHECK(window_average(&w, 80, &micro) && micro == 7); /* young again */
}

TEST(a_decision_says_its_numbers)
{
    struct kpa_config c = usual();
    struct kpa_decision d = { .apply = 3, .desired = 3, .reason = KPA_STABLE, .stable_micro = 160500000 };
    char text[KPA_TEXT];
    kpa_explain(&c, &d, text);
    CHECK_STR(text, "3 instances wanted: 160.5 requests at once over 60 s, 70 aimed at per instance");
    d.panicking = true;
    d.reason = KPA_PANIC_HELD;
    d.panic_micro = 7000000;
    c.metric = KPA_RPS;
    kpa_explain(&c, &d, text);
    CHECK_STR(text, "3 instances wanted: 7 requests per second over 6 s, 70 aimed at per instance; in a panic, where "
                    "none are taken away");
    d = (struct kpa_decision){ .apply = 1, .reason = KPA_LAST };
    kpa_explain(&c, &d, text);
    CHECK_STR(text, "1 instance wanted: no load, but active for less than the window of 60 s");
    for (int r = 0; r < KPA_REASONS; r++) { /* none is without one, and none is cut */
        c.total_micro = c.target_micro = KPA_TOTAL_MAX;
        d = (struct kpa_decision){ .apply = 1000, .desired = 1000000, .reason = (enum kpa_reason)r,
                                   .stable_micro = UINT64_MAX, .panicking = true, .panic_micro = UINT64_MAX };
        kpa_explain(&c, &d, text);
        CHECK(strlen(text) > 30 && strlen(text) < KPA_TEXT - 1);
        CHECK(strlen(kpa_reason_name(d.reason)) > 0);
    }
}

/* Against a list of every change, averaged by brute force. */
TEST(settings_change_under_it_and_what_it_knows_stays)
{
    struct kpa_config c = usual();
    struct world w = begin(&c, 1);
    kpa_level(w.k, 350, w.now);
    CHECK_EQ(pass(&w, 70)->apply, 5);
    kpa_level(w.k, 0, w.now); /* what is decided next is decided by what was */
    c.target_micro = 35 * KPA_MICRO;
    w.k = kpa_changed(w.k, &c, w.now);
    CHECK_EQ(kpa_last(w.k)->apply, 5);
    CHECK_EQ(tick(&w)->apply, 10);
    CHECK_EQ(kpa_last(w.k)->stable_micro, (350 * KPA_MICRO * 58 + 30) / 60);
    c.max = 4;
    w.k = kpa_changed(w.k, &c, w.now);
    CHECK_EQ(kpa_last(w.k)->apply, 4);
    c.max = 1000;
    c.window_s = 6;
    c.panic_window_s = 1;
    w.k = kpa_changed(w.k, &c, w.now);
    follow(&w);
    CHECK_EQ(tick(&w)->stable_micro, (350 * KPA_MICRO * 2 + 3) / 6); /* of six seconds, the last four without any */
    CHECK_EQ(pass(&w, 24)->apply, 0); /* and not a minute later */
    c.min = 2;
    c.delay_us = S(10);
    w.k = kpa_changed(w.k, &c, w.now);
    (void)kpa_reconcile(w.k, &(struct kpa_input){ w.now, w.ready, true });
    CHECK_EQ(kpa_last(w.k)->apply, 2);
    kpa_free(w.k);
}

TEST(the_load_of_a_second_is_its_integral)
{
    struct rng r = { 11 };
    struct load l;
    struct load_second s;
    uint64_t now = S(5), area = 0, told = 0;
    load_init(&l, now);
    load_wake(&l, now);
    for (int n = 0; n < 20000; n++) {
        uint32_t level = (uint32_t)rng_below(&r, 50);
        load_level(&l, level, now);
        uint64_t step = rng_below(&r, S(2));
        now += step;
        area += step * level;
        while (load_next(&l, now, &s))
            told += s.concurrency_micro;
    }
    CHECK(told <= area && area - told <= 50 * S(1)); /* but for the second that is not over */
}

TEST(the_maximum_of_some_slots_agrees_with_looking_at_all_of_them)
{
    enum { N = 5000, ROOM = 7 };
    static uint32_t said[N];
    struct maxima_entry room[ROOM];
    struct maxima m;
    struct rng r = { 3 };
    maxima_init(&m, room, ROOM);
    for (uint64_t n = 0, slot = 0; n < N; n++) {
        slot += rng_below(&r, 3);
        if (slot >= N)
            break;
        uint32_t value = 1 + (uint32_t)rng_below(&r, 9), truth = 0;
        said[slot] = MAX(said[slot], value);
        for (uint64_t s = slot + 1 > ROOM ? slot + 1 - ROOM : 0; s <= slot; s++)
            truth = MAX(truth, said[s]);
        CHECK_EQ(maxima_record(&m, slot, value), truth);
    }
}

TEST_MAIN()
