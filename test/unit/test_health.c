/* What probes mean: time and results in, the moments of the tries and the verdicts out, against tables. */
#include "instance/health.h"
#include "tap.h"

#define SECOND UINT64_C(1000000)

/* One story: which results come at which times, and what has to be told. A try takes `takes_us`. */
struct story {
    const char *name;
    struct probe startup, liveness, readiness;
    bool has_startup, has_liveness;
    /* Per kind, one letter per try: '+' passes, '-' fails; the last one goes on for ever. */
    const char *results[HEALTH_KINDS];
    uint64_t takes_us;
    uint32_t until_s;
    const char *told; /* "s:K" at second s, K: s(tarted) r(eady) u(nready) D/d: dead by startup/liveness */
    uint32_t tries[HEALTH_KINDS];
};

#define PERIOD(n) .period_s = (n), .timeout_s = 1, .success_threshold = 1, .failure_threshold = 3

static const struct story stories[] = {
    { .name = "readiness passes at once and is tried every period",
      .readiness = { PERIOD(5) },
      .results = { "", "", "+" },
      .until_s = 21,
      .told = "0:r",
      .tries = { 0, 0, 5 } },
    { .name = "the initial delay counts from the start",
      .readiness = { PERIOD(5), .initial_delay_s = 3 },
      .results = { "", "", "+" },
      .until_s = 9,
      .told = "3:r",
      .tries = { 0, 0, 2 } },
    { .name = "three failures in a row turn it, one success turns it back",
      .readiness = { PERIOD(2) },
      .results = { "", "", "+--+---+" },
      .until_s = 15,
      .told = "0:r 12:u 14:r",
      .tries = { 0, 0, 8 } },
    { .name = "successThreshold holds for the first time and for every return",
      .readiness = { .period_s = 1, .timeout_s = 1, .success_threshold = 3, .failure_threshold = 1 },
      .results = { "", "", "++-+++-++-+++" },
      .until_s = 13,
      .told = "5:r 6:u 12:r",
      .tries = { 0, 0, 14 } },
    { .name = "a readiness that never passes is no verdict",
      .readiness = { PERIOD(1) },
      .results = { "", "", "-" },
      .until_s = 9,
      .told = "",
      .tries = { 0, 0, 10 } },
    { .name = "liveness starts healthy and kills at its threshold, once",
      .liveness = { PERIOD(10) },
      .readiness = { PERIOD(5) },
      .has_liveness = true,
      .results = { "", "++-+---", "+" },
      .until_s = 200,
      .told = "0:r 60:d",
      .tries = { 0, 7, 12 } },
    { .name = "liveness counts before the instance was ever ready",
      .liveness = { PERIOD(2) },
      .readiness = { PERIOD(1) },
      .has_liveness = true,
      .results = { "", "-", "-" },
      .until_s = 60,
      .told = "4:d",
      .tries = { 0, 3, 4 } },
    { .name = "the startup probe holds the others back and is not tried again",
      .startup = { PERIOD(3) },
      .liveness = { PERIOD(10) },
      .readiness = { PERIOD(5) },
      .has_startup = true,
      .has_liveness = true,
      .results = { "--+", "+", "+" },
      .until_s = 16,
      .told = "6:s 6:r",
      .tries = { 3, 2, 3 } },
    { .name = "an initial delay that is not over yet goes on after the startup probe",
      .startup = { PERIOD(1) },
      .readiness = { PERIOD(5), .initial_delay_s = 4 },
      .has_startup = true,
      .results = { "+", "", "+" },
      .until_s = 6,
      .told = "0:s 4:r",
      .tries = { 1, 0, 1 } },
    { .name = "the startup probe gives the start up after its own failures",
      .startup = { .period_s = 2, .timeout_s = 1, .failure_threshold = 5 },
      .liveness = { PERIOD(1) },
      .readiness = { PERIOD(1) },
      .has_startup = true,
      .has_liveness = true,
      .results = { "-", "-", "-" },
      .until_s = 60,
      .told = "8:D",
      .tries = { 5, 0, 0 } },
    { .name = "a slow try delays the next, and does not make up for it",
      .readiness = { PERIOD(1) },
      .results = { "", "", "+" },
      .takes_us = 1500000,
      .until_s = 6,
      .told = "1:r",
      .tries = { 0, 0, 4 } },
    { .name = "aggressive readiness is over once it passed",
      .readiness = { .success_threshold = 1 },
      .results = { "", "", "----+" },
      .until_s = 5,
      .told = "0:r",
      .tries = { 0, 0, 5 } },
    { .name = "aggressive readiness wants successThreshold in a row too",
      .readiness = { .success_threshold = 3 },
      .results = { "", "", "++-+++" },
      .until_s = 5,
      .told = "0:r",
      .tries = { 0, 0, 6 } },
};

static char letter(enum health_kind k, enum health_verdict v)
{
    switch (v) {
    case HEALTH_STARTED: return 's';
    case HEALTH_READY: return 'r';
    case HEALTH_UNREADY: return 'u';
    case HEALTH_DEAD: return k == HEALTH_STARTUP ? 'D' : 'd';
    case HEALTH_SAME: break;
    }
    return '?';
}

/* Runs the tries in the order of time; equal times in the order of kinds, as the loop would. */
static void run(const struct story *s, char *told, size_t size, uint32_t tries[HEALTH_KINDS])
{
    struct health h;
    size_t used = 0;
    uint64_t ends_us[HEALTH_KINDS] = { UINT64_MAX, UINT64_MAX, UINT64_MAX }, begin_us = 77 * SECOND;
    health_init(&h, s->has_startup ? &s->startup : NULL, s->has_liveness ? &s->liveness : NULL,
                &s->readiness, begin_us);
    told[0] = '\0';
    for (;;) {
        enum health_kind best = HEALTH_KINDS;
        uint64_t at_us = UINT64_MAX;
        for (enum health_kind k = 0; k < HEALTH_KINDS; k++) {
            uint64_t us = MIN(ends_us[k], health_next_us(&h, k));
            if (us < at_us) {
                at_us = us;
                best = k;
            }
        }
        if (best == HEALTH_KINDS || at_us > begin_us + s->until_s * SECOND)
            return;
        if (ends_us[best] == UINT64_MAX) {
            (void)health_begin(&h, best, at_us);
            ends_us[best] = at_us + s->takes_us;
            continue;
        }
        const char *script = s->results[best];
        size_t last = strlen(script) - 1;
        bool passed = script[MIN((size_t)tries[best], last)] == '+';
        tries[best]++;
        ends_us[best] = UINT64_MAX;
        enum health_verdict v = health_result(&h, best, passed, at_us);
        if (v != HEALTH_SAME)
            used += (size_t)snprintf(told + used, size - used, "%s%u:%c", used ? " " : "",
                                     (unsigned)((at_us - begin_us) / SECOND), letter(best, v));
    }
}

TEST(every_story_is_told_as_kubernetes_would)
{
    for (size_t i = 0; i < COUNT_OF(stories); i++) {
        char told[256];
        uint32_t tries[HEALTH_KINDS] = { 0 };
        run(&stories[i], told, sizeof told, tries);
        printf("# %s: %s (%u %u %u tries)\n", stories[i].name, told, tries[0], tries[1], tries[2]);
        CHECK_STR(told, stories[i].told);
        for (size_t k = 0; k < HEALTH_KINDS; k++)
            CHECK_EQ(tries[k], stories[i].tries[k]);
    }
}

static uint64_t pause_after(struct health *h, uint64_t *now_us)
{
    uint64_t before_us = *now_us;
    (void)health_begin(h, HEALTH_READINESS, *now_us);
    (void)health_result(h, HEALTH_READINESS, false, *now_us);
    *now_us = health_next_us(h, HEALTH_READINESS);
    return *now_us - before_us;
}

TEST(aggressive_tries_slow_down_to_knatives_pace_and_no_further)
{
    const struct probe http = { .kind = PROBE_HTTP }, command = { .kind = PROBE_EXEC };
    struct health h;
    uint64_t now_us = 0, pause_us = 0;
    health_init(&h, NULL, NULL, &http, 0);
    CHECK(pause_after(&h, &now_us) < 1000);
    for (int i = 0; i < 50; i++)
        pause_us = pause_after(&h, &now_us);
    CHECK_EQ(pause_us, 50000);
    now_us = 0;
    health_init(&h, NULL, NULL, &command, 0);
    CHECK(pause_after(&h, &now_us) >= 10000);
    for (int i = 0; i < 50; i++)
        pause_us = pause_after(&h, &now_us);
    CHECK_EQ(pause_us, 500000);
}

TEST(a_try_is_bounded_by_its_timeout_and_waits_for_the_port_only_while_starting)
{
    const struct probe slow = { .kind = PROBE_HTTP, .period_s = 7, .timeout_s = 4 };
    const struct probe hasty = { .kind = PROBE_HTTP }, hasty_command = { .kind = PROBE_EXEC };
    struct health h;
    health_init(&h, NULL, &slow, &slow, 0);
    struct health_try t = health_begin(&h, HEALTH_READINESS, 0);
    CHECK_EQ(t.timeout_us, 4 * SECOND);
    CHECK_EQ(t.port_us, 7 * SECOND);
    CHECK_EQ(health_result(&h, HEALTH_READINESS, true, 0), HEALTH_READY);
    t = health_begin(&h, HEALTH_LIVENESS, 0);
    CHECK_EQ(t.timeout_us, 4 * SECOND);
    CHECK_EQ(t.port_us, 0);
    health_init(&h, NULL, NULL, &hasty, 0);
    t = health_begin(&h, HEALTH_READINESS, 0);
    CHECK_EQ(t.timeout_us, 100000);
    CHECK(t.port_us > 3600 * SECOND);
    health_init(&h, NULL, NULL, &hasty_command, 0);
    CHECK_EQ(health_begin(&h, HEALTH_READINESS, 0).timeout_us, SECOND);
}

TEST(a_startup_probe_lengthens_the_starts_patience_by_its_own)
{
    const struct probe p = { .period_s = 10, .timeout_s = 1, .failure_threshold = 30, .initial_delay_s = 5 };
    CHECK_EQ(health_patience_us(NULL, 120 * SECOND), 120 * SECOND);
    CHECK_EQ(health_patience_us(&p, 120 * SECOND), (120 + 305) * SECOND);
}

TEST(without_a_readiness_probe_it_is_ready_once_started)
{
    const struct probe startup = { .kind = PROBE_TCP, .period_s = 1, .failure_threshold = 3 };
    struct health h;
    health_init(&h, NULL, NULL, NULL, 0);
    CHECK(h.ready && h.started);
    for (enum health_kind k = 0; k < HEALTH_KINDS; k++)
        CHECK_EQ(health_next_us(&h, k), UINT64_MAX);
    health_init(&h, &startup, NULL, NULL, 0);
    CHECK(!h.ready);
    (void)health_begin(&h, HEALTH_STARTUP, 0);
    CHECK_EQ(health_result(&h, HEALTH_STARTUP, true, 1), HEALTH_READY);
    CHECK(h.ready && h.started);
}

TEST_MAIN()
