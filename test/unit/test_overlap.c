/* What a schedule does: each policy by hand, a year of minutes under a restless clock, and random lives whose every moment is
 * accounted for, beside a model that takes one moment at a time. */
#include "tap.h"

#include "base/rng.h"
#include "workflow/calendar_text.h"
#include "workflow/overlap.h"
#include "zone_files.h"

#define SEED STR("schedule")
enum { MINUTE = 60000 };
#define T0 INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */

static struct calendar *of_cron(const char *cron, const struct zone *z, int64_t jitter_ms)
{
    struct calendar_text t = { 0 };
    struct err e = { 0 };
    struct calendar *c = NULL;
    if (calendar_text_cron(str_of(cron), &t, &e) < 0)
        return NULL;
    struct calendar_spec s = { .calendars = &t.ranges, .calendar_count = !t.is_interval, .intervals = &t.interval,
                               .interval_count = t.is_interval, .start_ms = INT64_MIN, .end_ms = INT64_MAX,
                               .jitter_ms = jitter_ms };
    if (calendar_open(&s, z, &c, &e) < 0)
        c = NULL;
    calendar_text_done(&t);
    return c;
}

static void overlap_auto(struct overlap *o) { overlap_done(o); }
static void overlap_decision_auto(struct overlap_decision *d) { overlap_decision_done(d); }
#define MINUTES AUTO(calendar) struct calendar *c = of_cron("* * * * *", NULL, 0)

/* Looks at `now` and decides; returns how many start. */
static size_t turn(struct overlap *o, const struct overlap_rules *rules, const struct calendar *c, int64_t now,
                   uint64_t running, struct overlap_decision *d)
{
    overlap_decision_done(d);
    bool more = overlap_look(o, rules, c, SEED, now);
    overlap_decide(o, rules, running, d);
    return more ? SIZE_MAX : d->count;
}

TEST(each_policy_does_what_its_name_says)
{
    static const struct {
        enum overlap_policy policy;
        size_t at_first, while_running, when_ended; /* starts: of three moments; of two more; then */
        bool cancel, terminate;
        uint64_t skipped;
    } cases[] = {
        { OVERLAP_UNSPECIFIED, 1, 0, 0, false, false, 4 },
        { OVERLAP_SKIP, 1, 0, 0, false, false, 4 },
        { OVERLAP_BUFFER_ONE, 1, 0, 1, false, false, 3 },
        { OVERLAP_BUFFER_ALL, 1, 0, 1, false, false, 0 },
        { OVERLAP_CANCEL_OTHER, 1, 0, 1, true, false, 3 },
        { OVERLAP_TERMINATE_OTHER, 1, 0, 1, false, true, 3 },
        { OVERLAP_ALLOW_ALL, 3, 2, 0, false, false, 0 },
    };
    MINUTES;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct overlap_rules rules = { .policy = cases[i].policy };
        AUTO(overlap) struct overlap o;
        AUTO(overlap_decision) struct overlap_decision d = { 0 };
        overlap_init(&o, T0);
        CHECK_EQ(turn(&o, &rules, c, T0 + 3 * MINUTE, 0, &d), cases[i].at_first);
        bool last = cases[i].policy == OVERLAP_CANCEL_OTHER || cases[i].policy == OVERLAP_TERMINATE_OTHER;
        CHECK_EQ(d.starts[0].nominal_ms, T0 + (last ? 3 : 1) * MINUTE);
        CHECK(!d.cancel && !d.terminate);
        CHECK_EQ(turn(&o, &rules, c, T0 + 5 * MINUTE, 1, &d), cases[i].while_running);
        CHECK(d.cancel == cases[i].cancel && d.terminate == cases[i].terminate);
        CHECK_EQ(turn(&o, &rules, c, T0 + 5 * MINUTE, 0, &d), cases[i].when_ended);
        CHECK_EQ(o.overlap_skipped, cases[i].skipped);
    }
}

TEST(a_pause_and_a_limit_pass_over_what_comes_meanwhile)
{
    struct overlap_rules rules = { .policy = OVERLAP_ALLOW_ALL };
    AUTO(overlap) struct overlap o;
    AUTO(overlap_decision) struct overlap_decision d = { 0 };
    MINUTES;
    overlap_init(&o, T0);
    overlap_allow(&o, c, SEED, T0, true, false, 0);
    CHECK_EQ(turn(&o, &rules, c, T0 + 3 * MINUTE, 0, &d), 0);
    CHECK_EQ(overlap_wake_ms(&o, c, SEED), INT64_MAX);
    overlap_trigger(&o, OVERLAP_UNSPECIFIED, T0 + 3 * MINUTE + 7); /* people's wishes go before */
    CHECK_EQ(turn(&o, &rules, c, T0 + 4 * MINUTE, 0, &d), 1);
    CHECK(d.starts[0].manual && d.starts[0].nominal_ms == T0 + 3 * MINUTE + 7);
    overlap_allow(&o, c, SEED, T0 + 10 * MINUTE, false, true, 2);
    CHECK_EQ(overlap_wake_ms(&o, c, SEED), T0 + 11 * MINUTE);
    overlap_trigger(&o, OVERLAP_UNSPECIFIED, T0);
    CHECK_EQ(turn(&o, &rules, c, T0 + 14 * MINUTE, 0, &d), 3); /* one is not counted off */
    CHECK(d.starts[1].nominal_ms == T0 + 11 * MINUTE && d.starts[2].nominal_ms == T0 + 12 * MINUTE);
    CHECK(o.remaining == 0 && o.actions == 4 && overlap_over(&o, c, SEED, 0) && !overlap_over(&o, c, SEED, 1));
    overlap_allow(&o, c, SEED, T0 + 20 * MINUTE, false, false, 0);
    CHECK_EQ(turn(&o, &rules, c, T0 + 21 * MINUTE, 0, &d), 1);
    CHECK_EQ(d.starts[0].nominal_ms, T0 + 21 * MINUTE);
}

TEST(a_pause_of_years_is_passed_over_at_once_but_for_jitter_that_is_left)
{
    struct overlap_rules rules = { .policy = OVERLAP_ALLOW_ALL };
    AUTO(calendar) struct calendar *c = of_cron("@every 1s", NULL, 0), *j = of_cron("*/10 * * * *", NULL, 86400000);
    AUTO(overlap_decision) struct overlap_decision d = { 0 };
    struct calendar_time t;
    const int64_t years = INT64_C(100000000000);
    struct overlap o;
    overlap_init(&o, T0);
    overlap_allow(&o, c, SEED, T0, true, false, 0);
    overlap_allow(&o, c, SEED, T0 + years, false, false, 0);
    CHECK_EQ(turn(&o, &rules, c, T0 + years, 0, &d), 0);
    CHECK_EQ(turn(&o, &rules, c, T0 + years + 2000, 0, &d), 2);
    overlap_done(&o);
    for (int i = 0; i < 300; i++) { /* before or behind the jitter of the moment that just was */
        int64_t now = T0 + years + i * INT64_C(61007);
        overlap_init(&o, T0);
        overlap_allow(&o, j, SEED, T0, true, false, 0);
        overlap_allow(&o, j, SEED, now, false, false, 0);
        CHECK_EQ(calendar_next(j, SEED, now - now % 600000 - 1, &t), CALENDAR_FOUND);
        CHECK_EQ(turn(&o, &rules, j, t.actual_ms, 0, &d), t.actual_ms > now);
        overlap_done(&o);
    }
}

TEST(what_comes_too_late_is_counted_as_missed)
{
    struct overlap_rules rules = { .policy = OVERLAP_BUFFER_ALL, .catchup_ms = 1 };
    AUTO(overlap) struct overlap o;
    AUTO(overlap_decision) struct overlap_decision d = { 0 };
    MINUTES;
    overlap_init(&o, T0);
    CHECK_EQ(turn(&o, &rules, c, T0 + 3 * MINUTE + 10000, 1, &d), 0); /* ten seconds are the least */
    CHECK(o.missed_catchup == 2 && o.buffered == 1);
    CHECK_EQ(turn(&o, &rules, c, T0 + 4 * MINUTE + 10001, 1, &d), 0);
    CHECK(o.missed_catchup == 3 && o.buffered == 1);
    rules.catchup_ms = 0;
    CHECK_EQ(turn(&o, &rules, c, T0 + 900 * (int64_t)MINUTE, 1, &d), 0);
    CHECK(o.missed_catchup == 3 && o.buffered == 897);
    CHECK_EQ(turn(&o, &rules, c, T0 + 1100 * (int64_t)MINUTE, 1, &d), SIZE_MAX); /* full; a decision might help */
    CHECK(o.buffered == OVERLAP_BUFFER_MAX && o.buffer_dropped == 0);
    CHECK_EQ(turn(&o, &rules, c, T0 + 1100 * (int64_t)MINUTE, 1, &d), 0);
    CHECK(o.buffered == OVERLAP_BUFFER_MAX && o.buffer_dropped == 97);
}

TEST(a_failure_pauses_where_it_should)
{
    struct overlap o = { 0 };
    struct overlap_rules rules = { .pause_on_failure = true };
    CHECK(!overlap_ended(&o, &rules, false) && !o.paused);
    CHECK(overlap_ended(&o, &rules, true) && o.paused);
    CHECK(!overlap_ended(&o, &rules, true) && o.paused);
    rules.pause_on_failure = false;
    o.paused = false;
    CHECK(!overlap_ended(&o, &rules, true) && !o.paused);
}

TEST(a_backfill_is_worked_off_as_there_is_room)
{
    struct overlap_rules rules = { .policy = OVERLAP_SKIP };
    AUTO(overlap) struct overlap o;
    AUTO(overlap_decision) struct overlap_decision d = { 0 };
    struct err e = { 0 };
    int64_t expected = T0 - 2000 * (int64_t)MINUTE, now = T0;
    uint64_t running = 0;
    MINUTES;
    overlap_init(&o, T0);
    CHECK_EQ(overlap_backfill(&o, T0, T0 - 1, OVERLAP_BUFFER_ALL, &e), -CODE_INVALID);
    CHECK_EQ(overlap_backfill(&o, expected, T0 - MINUTE, OVERLAP_BUFFER_ALL, &e), 0);
    CHECK_EQ(overlap_wake_ms(&o, c, SEED), INT64_MIN);
    for (int i = 0; i < 2000; i++) {
        CHECK_EQ(turn(&o, &rules, c, now, running, &d), 1);
        CHECK(d.starts[0].nominal_ms == expected && d.starts[0].manual);
        expected += MINUTE;
    }
    CHECK(o.buffered == 0 && o.backfill_count == 0 && o.buffer_dropped == 0);
    CHECK_EQ(turn(&o, &rules, c, now, running, &d), 0);
    for (int i = 0; i < OVERLAP_BACKFILLS_MAX; i++)
        CHECK_EQ(overlap_backfill(&o, T0, T0 + 1, OVERLAP_ALLOW_ALL, &e), 0);
    CHECK_EQ(overlap_backfill(&o, T0, T0 + 1, OVERLAP_ALLOW_ALL, &e), -CODE_EXHAUSTED);
    CHECK_EQ(turn(&o, &rules, c, now, running, &d), OVERLAP_BACKFILLS_MAX);
}

/* ---- a year of minutes ---- */

TEST(of_a_year_of_minutes_none_is_missed_and_none_is_doubled)
{
    enum { YEAR_MINUTES = 525600 };
    struct rng r = { 6 };
    struct overlap_rules rules = { .policy = OVERLAP_ALLOW_ALL };
    AUTO(overlap) struct overlap o;
    AUTO(overlap_decision) struct overlap_decision d = { 0 };
    AUTO(zone) struct zone *z = zone_of_rule("EST5EDT,M3.2.0,M11.1.0"); /* its clocks are set twice */
    AUTO(calendar) struct calendar *c = of_cron("* * * * *", z, 30000);
    AUTO_FREE uint8_t *seen = xcalloc(YEAR_MINUTES + 1, 1);
    int64_t now = T0, end = T0 + (int64_t)YEAR_MINUTES * MINUTE;
    CHECK(z && c);
    overlap_init(&o, T0);
    for (bool more = false, last = false; !last || more;) {
        last = now >= end + MINUTE;
        more = turn(&o, &rules, c, now, 0, &d) == SIZE_MAX;
        for (size_t i = 0; i < d.count; i++) {
            int64_t n = (d.starts[i].nominal_ms - T0) / MINUTE;
            CHECK(d.starts[i].nominal_ms % MINUTE == 0 && n >= 1 && d.starts[i].actual_ms <= now);
            if (n <= YEAR_MINUTES && seen[n]++)
                FAIL("minute %" PRId64 " came twice", n);
        }
        now += (int64_t)rng_below(&r, 90000);
        if (rng_chance(&r, 1)) /* the clock jumps: back by up to two hours, forward by up to a day */
            now += (int64_t)rng_below(&r, 93600000 / (1 + 12 * rng_below(&r, 2))) - 7200000;
        now = MAX(now, T0);
    }
    for (int64_t n = 1; n <= YEAR_MINUTES; n++)
        if (!seen[n])
            FAIL("minute %" PRId64 " never came", n);
    CHECK(o.actions >= YEAR_MINUTES && o.missed_catchup == 0 && o.buffer_dropped == 0);
}

TEST(a_nightly_schedule_has_the_nights_that_there_are)
{
    struct overlap_rules rules = { .policy = OVERLAP_ALLOW_ALL };
    AUTO(overlap) struct overlap o;
    AUTO(overlap_decision) struct overlap_decision d = { 0 };
    AUTO(zone) struct zone *z = zone_of_rule("CET-1CEST,M3.5.0,M10.5.0/3");
    AUTO(calendar) struct calendar *c = of_cron("30 2 * * *", z, 0);
    size_t count = 0;
    overlap_init(&o, T0);
    for (int day = 0; day <= 365; day++) { /* 365 nights; one has no 2:30, and one has two */
        size_t starts = turn(&o, &rules, c, T0 + day * INT64_C(86400000), 0, &d);
        CHECK(starts == (size_t)(day > 0 && day != 88) + (day == 298));
        count += starts;
    }
    CHECK_EQ(count, 365);
}

/* ---- random lives beside a model that takes one moment at a time ---- */

struct model {
    enum overlap_policy policy;
    uint64_t skipped, dropped, queue_first, queue_last; /* minutes waiting, in order */
    int64_t queue[4000];
    bool running;
};

static void model_moment(struct model *m, int64_t minute, int64_t *started, size_t *count)
{
    bool waits = m->policy == OVERLAP_BUFFER_ALL ||
                 (m->policy == OVERLAP_BUFFER_ONE && m->queue_first == m->queue_last);
    if (m->policy == OVERLAP_ALLOW_ALL || !m->running) {
        started[(*count)++] = minute;
        m->running = m->policy != OVERLAP_ALLOW_ALL;
    } else if (waits) {
        m->queue[m->queue_last++] = minute;
    } else {
        m->skipped++;
    }
}

TEST(random_lives_agree_with_one_moment_at_a_time)
{
    static const enum overlap_policy policies[] = { OVERLAP_SKIP, OVERLAP_BUFFER_ONE, OVERLAP_BUFFER_ALL,
                                                    OVERLAP_ALLOW_ALL };
    struct rng r = { 9 };
    MINUTES;
    for (int life = 0; life < 400; life++) {
        AUTO(overlap) struct overlap o;
        AUTO(overlap_decision) struct overlap_decision d = { 0 };
        struct model m = { .policy = policies[rng_below(&r, COUNT_OF(policies))] };
        struct overlap_rules rules = { .policy = m.policy };
        int64_t minute = 0, started[200];
        overlap_init(&o, T0);
        for (int step = 0; step < 60; step++) {
            size_t count = 0;
            if (rng_chance(&r, 50)) { /* the one that ran has ended */
                m.running = false;
                if (m.queue_first < m.queue_last) {
                    started[count++] = m.queue[m.queue_first++];
                    m.running = true;
                }
            }
            bool was_running = m.running && count == 0;
            for (int64_t to = minute + (int64_t)rng_below(&r, 5); minute < to;)
                model_moment(&m, ++minute, started, &count);
            CHECK_EQ(turn(&o, &rules, c, T0 + minute * MINUTE + (int64_t)rng_below(&r, MINUTE), was_running, &d), count);
            for (size_t i = 0; i < count; i++)
                CHECK_EQ(d.starts[i].nominal_ms, T0 + started[i] * MINUTE);
            CHECK(o.overlap_skipped == m.skipped && o.buffered == m.queue_last - m.queue_first);
        }
    }
}

TEST(every_moment_is_accounted_for_whatever_is_mixed)
{
    struct rng r = { 10 };
    uint64_t cancels = 0, pauses = 0;
    MINUTES;
    for (int life = 0; life < 300; life++) {
        AUTO(overlap) struct overlap o;
        AUTO(overlap_decision) struct overlap_decision d = { 0 };
        struct err e = { 0 };
        uint64_t running = 0, came = 0, passed = 0;
        int64_t now = T0;
        overlap_init(&o, T0);
        for (int step = 0; step < 80; step++) {
            struct overlap_rules rules = { .policy = (enum overlap_policy)rng_below(&r, 7), .catchup_ms = 3600000 };
            enum overlap_policy policy = (enum overlap_policy)rng_below(&r, 7);
            bool could = !o.paused && (!o.limited || o.remaining > 0);
            int64_t later = now + (int64_t)rng_below(&r, rng_chance(&r, 3) ? 9000 * MINUTE : 4 * MINUTE);
            came += (uint64_t)((later - T0) / MINUTE - (now - T0) / MINUTE) * could;
            now = later;
            if (rng_chance(&r, 20)) {
                came++;
                overlap_trigger(&o, policy, now);
            }
            if (rng_chance(&r, 5)) {
                uint64_t span = rng_below(&r, 40);
                came += span + 1;
                CHECK_EQ(overlap_backfill(&o, T0, T0 + (int64_t)span * MINUTE, policy, &e), 0);
            }
            while (overlap_look(&o, &rules, c, SEED, now)) {
            }
            uint64_t before = o.actions + o.overlap_skipped + o.buffered, left = o.remaining;
            overlap_decision_done(&d);
            overlap_decide(&o, &rules, running, &d);
            passed += before - (o.actions + o.overlap_skipped + o.buffered); /* only what may not act is let go */
            CHECK(passed == 0 || o.paused || o.limited || pauses > 0);
            CHECK(!o.limited || left - o.remaining <= d.count);
            CHECK(!(d.cancel || d.terminate) || running > 0);
            cancels += d.cancel;
            running += d.count;
            running = d.terminate || rng_chance(&r, 40) ? 0 : running;
            if (rng_chance(&r, 8)) {
                pauses++;
                overlap_allow(&o, c, SEED, now, rng_chance(&r, 40), rng_chance(&r, 30), rng_below(&r, 20));
            }
            uint64_t waiting = o.buffered;
            for (size_t i = 0; i < o.backfill_count; i++)
                waiting += (uint64_t)((o.backfills[i].until_ms - T0) / MINUTE - (o.backfills[i].after_ms + MINUTE - T0) / MINUTE + 1);
            CHECK_EQ(came, o.actions + o.overlap_skipped + o.missed_catchup + o.buffer_dropped + waiting + passed);
        }
    }
    CHECK(cancels > 100 && pauses > 100);
}

TEST_MAIN()
