/* hob's Schedules as a machine: which ticks, and what is done about those that come too soon. */
#include "invocation/timetable.h"
#include "tap.h"
#include "workflow/zones.h"

struct story {
    struct timetable *t;
    struct durable_turn turn;
    struct rng random;
};

static int zone_load(void *ctx, struct str name, struct zone **ret, struct err *e)
{
    (void)ctx;
    return zones_load(NULL, name, (struct str){ NULL, 0 }, ret, e);
}
static const struct timetable_zones zones = { zone_load, NULL };

#define BEGIN_MS INT64_C(1790000000000) /* 2026-09-21 14:13:20, a Monday */

static int begin(struct story *s, const char *spec, const char *trigger)
{
    struct err e;
    *s = (struct story){ .random = { 1 } };
    s->turn = (struct durable_turn){ .now_ns = BEGIN_MS * 1000000, .random = &s->random };
    const struct timetable_object o = { STR("default"), STR("nightly"), STR("01890a5d-ac96-774b-bcce-b302099a8057"), str_of(spec),
                                        str_of(trigger), 1 };
    return timetable_new(&o, s->turn.now_ns, &zones, &s->t, &e);
}

static void turn(struct story *s, int64_t at_ms)
{
    s->turn = (struct durable_turn){ .now_ns = (BEGIN_MS + at_ms) * 1000000, .random = &s->random };
    timetable_due(s->t, &s->turn);
}

static uint32_t wanted(const struct story *s)
{
    struct timetable_want w;
    uint32_t n = 0;
    while (timetable_wants(s->t, n, &w))
        n++;
    return n;
}

static struct timetable_want want(const struct story *s, size_t n)
{
    struct timetable_want w = { 0 };
    ASSERT(timetable_wants(s->t, n, &w));
    return w;
}

static void end(struct story *s, size_t n, bool only_accept)
{
    uint64_t number = want(s, n).number;
    timetable_accepted(s->t, &s->turn, number);
    if (!only_accept)
        timetable_ended(s->t, &s->turn, number, INVOKED_DONE);
}

static struct timetable_facts facts(const struct story *s)
{
    struct timetable_facts f;
    timetable_facts(s->t, &f);
    return f;
}

static bool same_after_a_restart(struct story *s)
{
    struct buf once, twice;
    struct err e;
    struct timetable *again = NULL;
    buf_init(&once, 1 << 20);
    buf_init(&twice, 1 << 20);
    timetable_pack(s->t, &once);
    bool same = timetable_unpack(buf_str(&once), &zones, &again, &e) == 0;
    if (same) {
        timetable_pack(again, &twice);
        same = str_eq(buf_str(&once), buf_str(&twice)) &&
               timetable_standing(again).due_ms == timetable_standing(s->t).due_ms;
        timetable_free(s->t);
        s->t = again;
    }
    buf_done(&once);
    buf_done(&twice);
    return same;
}

#define EVERY(rest) "{\"schedule\":\"@every 10s\",\"service\":\"greeter\"" rest "}"

TEST(each_nominal_time_is_one_tick_with_an_id_of_its_own_also_after_a_restart)
{
    struct story s;
    CHECK_EQ(begin(&s, EVERY(), ""), 0);
    struct uuid last = { 0 };
    bool good = wanted(&s) == 0 && timetable_standing(s.t).due_ms == BEGIN_MS + 10000;
    for (int i = 1; i <= 5 && good; i++) {
        turn(&s, i * 10000);
        good = wanted(&s) == 1 && same_after_a_restart(&s) && wanted(&s) == 1;
        struct uuid id = timetable_id(s.t, want(&s, 0).number);
        good = good && memcmp(&id, &last, sizeof id) != 0 && timetable_standing(s.t).ready;
        last = id;
        end(&s, 0, false);
        good = good && wanted(&s) == 0 && facts(&s).last_ms == BEGIN_MS + i * 10000;
    }
    timetable_free(s.t);
    CHECK(good);
}

TEST(two_machines_of_one_object_compute_the_same_id)
{
    struct story a, b;
    CHECK_EQ(begin(&a, EVERY(), ""), 0);
    CHECK_EQ(begin(&b, EVERY(), ""), 0);
    turn(&a, 10000);
    turn(&b, 15000);
    struct uuid of_a = timetable_id(a.t, want(&a, 0).number), of_b = timetable_id(b.t, want(&b, 0).number);
    timetable_free(a.t);
    timetable_free(b.t);
    CHECK(memcmp(&of_a, &of_b, sizeof of_a) == 0);
}

TEST(overlap_decides_about_what_comes_while_one_runs)
{
    static const struct {
        const char *spec;
        uint32_t wanted, skipped;
        bool cancels;
    } rows[] = {
        { EVERY(), 1, 2, false },
        { EVERY(",\"overlap\":\"Skip\""), 1, 2, false },
        { EVERY(",\"overlap\":\"BufferOne\""), 1, 1, false },
        { EVERY(",\"overlap\":\"AllowAll\""), 2, 0, false },
        { EVERY(",\"overlap\":\"CancelOther\""), 1, 0, true },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct story s;
        CHECK_EQ(begin(&s, rows[i].spec, ""), 0);
        turn(&s, 10000);
        end(&s, 0, true);
        turn(&s, 20000);
        turn(&s, 30000);
        uint32_t n = wanted(&s), skipped = (uint32_t)facts(&s).skipped;
        bool cancels = n > 0 && want(&s, 0).cancel, same = same_after_a_restart(&s);
        timetable_free(s.t);
        if (n != rows[i].wanted || cancels != rows[i].cancels || skipped != rows[i].skipped || !same)
            FAIL("%s: %u wanted, %u skipped, cancels %d, same %d", rows[i].spec, n, skipped, cancels, same);
    }
}

TEST(what_waited_begins_when_the_one_before_has_ended)
{
    struct story s;
    CHECK_EQ(begin(&s, EVERY(",\"overlap\":\"BufferOne\""), ""), 0);
    turn(&s, 10000);
    end(&s, 0, true);
    turn(&s, 25000);
    uint64_t first = want(&s, 0).number;
    timetable_ended(s.t, &s.turn, first, INVOKED_AMBIGUOUS);
    bool next = wanted(&s) == 1 && want(&s, 0).wish == TIMETABLE_ACCEPT && want(&s, 0).number > first;
    timetable_free(s.t);
    CHECK(next);
}

TEST(what_came_while_hob_was_away_is_caught_up_within_its_window_and_missed_beyond)
{
    struct story s;
    CHECK_EQ(begin(&s, EVERY(",\"overlap\":\"AllowAll\",\"catchUpWindow\":\"30s\""), ""), 0);
    turn(&s, 95000);
    uint32_t caught = wanted(&s);
    uint64_t missed = facts(&s).missed;
    timetable_free(s.t);
    CHECK_EQ(caught, 3);
    CHECK_EQ(missed, 6);
}

TEST(suspended_nothing_comes_and_what_came_meanwhile_never_does_but_a_trigger_works)
{
    struct story s;
    struct err e;
    CHECK_EQ(begin(&s, EVERY(",\"suspend\":true"), ""), 0);
    turn(&s, 35000);
    bool none = wanted(&s) == 0 && facts(&s).next_ms == INT64_MAX && facts(&s).paused;
    struct timetable_object o = { STR("default"), STR("nightly"), STR("01890a5d-ac96-774b-bcce-b302099a8057"),
                                  STR(EVERY(",\"suspend\":true")), STR("once"), 1 };
    int r = timetable_configure(s.t, &s.turn, &o, &zones, &e);
    bool triggered = r == 0 && wanted(&s) == 1;
    r = timetable_configure(s.t, &s.turn, &o, &zones, &e);
    bool once = r == 0 && wanted(&s) == 1 && same_after_a_restart(&s);
    end(&s, 0, false);
    o.spec = STR(EVERY());
    o.generation = 2;
    r = timetable_configure(s.t, &s.turn, &o, &zones, &e);
    bool passed_over = r == 0 && wanted(&s) == 0 && facts(&s).generation == 2;
    turn(&s, 40000);
    bool goes_on = wanted(&s) == 1;
    timetable_free(s.t);
    CHECK(none && triggered && once && passed_over && goes_on);
}

TEST(an_older_generation_and_a_spec_that_is_refused_change_nothing)
{
    struct story s;
    struct err e;
    CHECK_EQ(begin(&s, EVERY(), ""), 0);
    struct timetable_object o = { STR("default"), STR("nightly"), STR("01890a5d-ac96-774b-bcce-b302099a8057"),
                                  STR(EVERY(",\"suspend\":true")), STR(""), 1 };
    s.turn.changed = false;
    bool old = timetable_configure(s.t, &s.turn, &o, &zones, &e) == 0 && !s.turn.changed && !facts(&s).paused;
    o.generation = 2;
    o.spec = STR("{\"schedule\":\"x\",\"service\":\"s\"}");
    bool refused = timetable_configure(s.t, &s.turn, &o, &zones, &e) == -CODE_INVALID && !s.turn.changed;
    timetable_free(s.t);
    CHECK(old && refused);
}

/* As cron does: the 13th, and every Friday. */
TEST(where_both_day_fields_are_restricted_either_is_enough)
{
    struct story s;
    CHECK_EQ(begin(&s, "{\"schedule\":\"0 12 13 * 5\",\"service\":\"s\",\"overlap\":\"AllowAll\",\"catchUpWindow\":\"8000h\"}", ""), 0);
    turn(&s, INT64_C(31) * 86400000); /* to 2026-10-22 */
    uint32_t n = wanted(&s);          /* Fridays 25.9. 2.10. 9.10. 16.10., and 13.10. */
    timetable_free(s.t);
    CHECK_EQ(n, 5);
}

TEST(the_zone_is_that_of_the_spec)
{
    struct story s;
    CHECK_EQ(begin(&s, "{\"schedule\":\"0 9 * * *\",\"timeZone\":\"Asia/Tokyo\",\"service\":\"s\"}", ""), 0);
    int64_t due = timetable_standing(s.t).due_ms;
    timetable_free(s.t);
    CHECK_EQ(due, INT64_C(1790035200000)); /* 00:00 UTC */
}

TEST(what_is_sent_is_what_the_spec_says)
{
    struct story s;
    struct buf request;
    struct timetable_call call;
    CHECK_EQ(begin(&s, EVERY(",\"method\":\"PUT\",\"path\":\"/a?b=c\",\"headers\":{\"X-A\":\"b\"},\"body\":\"{}\""), ""), 0);
    turn(&s, 10000);
    buf_init(&request, 65536);
    timetable_call(s.t, want(&s, 0).number, "greeter.default.localhost", &request, &call);
    bool good = str_is(buf_str(&request), "PUT /a?b=c HTTP/1.1\r\nHost: greeter.default.localhost\r\nHob-Schedule: nightly\r\n"
                                          "Hob-Scheduled-Time: 2026-09-21T14:13:30Z\r\nX-A: b\r\nContent-Type: application/json\r\n"
                                          "Content-Length: 2\r\n\r\n{}") &&
                str_is(call.method, "PUT") && str_is(call.path, "/a") && call.deadline_ms == 86400000 &&
                strcmp(call.key, "schedule/01890a5d-ac96-774b-bcce-b302099a8057/2026-09-21T14:13:30Z") == 0;
    buf_done(&request);
    timetable_free(s.t);
    CHECK(good);
}

TEST(bytes_that_are_no_state_are_refused)
{
    struct timetable *t;
    struct err e;
    CHECK_EQ(timetable_unpack(STR(""), &zones, &t, &e), -CODE_DATA_LOSS);
    CHECK_EQ(timetable_unpack(STR("\xff\xff"), &zones, &t, &e), -CODE_DATA_LOSS);
}
TEST_MAIN()
