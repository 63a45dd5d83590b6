/* Durable invocations as a machine: docs/decisions/0011, row by row. */
#include "invocation/invocation.h"
#include "tap.h"

struct story {
    struct invocation *v;
    struct durable_turn turn;
    struct rng random;
    uint32_t refused; /* words that were */
};

/* The host's part, without a host. */
void durable_turn_row(struct durable_turn *t, uint64_t first, uint32_t count, char *take_bytes, size_t size)
{
    t->rows = xrealloc(t->rows, t->row_count + 1, sizeof *t->rows);
    t->rows[t->row_count++] = (struct durable_row){ first, count, take_bytes, size };
    t->changed = true;
}

static void turn_begin(struct story *s, int64_t pass_ms)
{
    for (size_t i = 0; i < s->turn.row_count; i++)
        free(s->turn.rows[i].bytes);
    free(s->turn.rows);
    int64_t now = s->turn.now_ns + pass_ms * 1000000;
    s->turn = (struct durable_turn){ .now_ns = now, .random = &s->random };
    list_init(&s->turn.afters);
}

/* After every turn: what is written down reads back as the same. */
static bool same_after_a_restart(const struct story *s)
{
    struct buf once, twice;
    struct err e;
    struct invocation *again;
    buf_init(&once, 65536);
    buf_init(&twice, 65536);
    invocation_pack(s->v, &once);
    bool same = invocation_unpack(buf_str(&once), &again, &e) == 0;
    if (same) {
        invocation_pack(again, &twice);
        same = str_eq(buf_str(&once), buf_str(&twice));
        invocation_free(again);
    }
    buf_done(&once);
    buf_done(&twice);
    return same;
}

static struct invocation_spec spec_of(bool safe, uint32_t attempts, int64_t deadline_ms)
{
    return (struct invocation_spec){
        .ns = STR("default"), .service = STR("greeter"), .host = STR("greeter.default.localhost"),
        .method = STR("POST"), .path = STR("/"), .safe = safe, .attempts_max = attempts,
        .backoff_ms = 100, .backoff_max_ms = 1000, .deadline_ms = deadline_ms, .retention_ms = 60000,
        .request = STR("POST / HTTP/1.1\r\n\r\nhello"),
    };
}

static void story_begin(struct story *s, const struct invocation_spec *q, uint64_t seed)
{
    *s = (struct story){ .random = { seed } };
    s->turn.now_ns = INT64_C(1790000000000000000);
    turn_begin(s, 0);
    s->v = invocation_new(q, s->turn.now_ns);
    invocation_accept(s->v, &s->turn, q->request);
}

static void story_done(struct story *s)
{
    turn_begin(s, 0);
    invocation_free(s->v);
}

static enum invoked_status status(const struct story *s)
{
    struct invocation_facts f;
    invocation_facts(s->v, &f);
    return f.status;
}

static int attempt_of(const struct story *s)
{
    struct invocation_facts f;
    invocation_facts(s->v, &f);
    return (int)f.attempt;
}

static int over(struct story *s, enum invocation_came came, uint32_t answer, uint32_t attempt)
{
    struct err e;
    struct invocation_end o = { .came = came, .attempt = attempt, .answer_status = answer, .why = "so it came" };
    if (came == INVOCATION_CAME_ANSWER) {
        o.take_answer = strdup("answer");
        o.answer_size = 6;
    }
    turn_begin(s, 1);
    return invocation_over(s->v, &s->turn, &o, &e);
}

/* b: an attempt begins (when it may) · 2: answered 200 · 5: 500 · 4: 404 · 9: 429 · x: breaks · r: refused before it
 * was seen · l: hob died and came back · c: cancel · d: redrive · w: time passes · W: much time passes · t: the due time is told */
static void tell(struct story *s, char what)
{
    struct err e;
    uint32_t attempt = (uint32_t)attempt_of(s);
    switch (what) {
    case 'b':
        turn_begin(s, 2000);
        if (invocation_wants(s->v, s->turn.now_ns) == INVOCATION_WANTS_ATTEMPT)
            s->refused += invocation_begin(s->v, &s->turn, &e) < 0;
        break;
    case '2': (void)over(s, INVOCATION_CAME_ANSWER, 200, attempt); break;
    case '4': (void)over(s, INVOCATION_CAME_ANSWER, 404, attempt); break;
    case '5': (void)over(s, INVOCATION_CAME_ANSWER, 500, attempt); break;
    case '9': (void)over(s, INVOCATION_CAME_ANSWER, 429, attempt); break;
    case 'x': (void)over(s, INVOCATION_CAME_BROKEN, 0, attempt); break;
    case 'r': (void)over(s, INVOCATION_CAME_REFUSED, 0, attempt); break;
    case 'l':
        turn_begin(s, 1);
        invocation_lost(s->v, &s->turn);
        break;
    case 'c':
        turn_begin(s, 1);
        s->refused += invocation_cancel(s->v, &s->turn, &e) < 0;
        break;
    case 'd':
        turn_begin(s, 1);
        s->refused += invocation_redrive(s->v, &s->turn, 0, &e) < 0;
        break;
    case 'w':
    case 'W':
        turn_begin(s, what == 'w' ? 100 : 100000);
        break;
    case 't':
        turn_begin(s, 0);
        invocation_due(s->v, &s->turn);
        break;
    default: UNREACHABLE("no such word");
    }
    invocation_check(s->v);
}

TEST(what_comes_of_an_attempt_decides)
{
    static const struct {
        bool safe;
        uint32_t attempts;
        const char *story, *end;
        int attempt;
    } rows[] = {
        { false, 3, "b2", "done", 1 },
        { false, 3, "b4", "done", 1 },
        { false, 3, "b5", "failed", 1 },
        { false, 3, "b9", "failed", 1 },
        { false, 3, "bx", "ambiguous", 1 },
        { false, 3, "bl", "ambiguous", 1 },
        { false, 3, "brbrb2", "done", 3 },
        { false, 3, "brbrbrbrbrbx", "ambiguous", 6 },
        { true, 3, "b5b2", "done", 2 },
        { true, 3, "b5b5b5", "dead", 3 },
        { true, 3, "b9b9b9", "dead", 3 },
        { true, 3, "bxb2", "done", 2 },
        { true, 3, "blb2", "done", 2 },
        { true, 3, "bxbxbx", "dead", 3 },
        { true, 3, "brb5brb5brb5", "dead", 6 }, /* what no function saw does not count */
        { true, 1, "b5", "dead", 1 },
        { false, 3, "c", "cancelled", 0 },
        { false, 3, "bcx", "ambiguous", 1 },
        { true, 3, "bcx", "cancelled", 1 },
        { false, 3, "bcr", "cancelled", 1 },
        { false, 3, "bc2", "done", 1 },
        { false, 3, "bxc", "cancelled", 1 },
        { false, 3, "bxd", "accepted", 1 },
        { false, 3, "bxdb2", "done", 2 },
        { true, 2, "b5b5db5b5", "dead", 4 }, /* a redrive has all its attempts */
        { true, 2, "b5b5db5b2", "done", 4 },
        { false, 3, "cdb2", "done", 1 },
        { false, 3, "b2d", "done", 1 }, /* what is done is not driven again */
        { false, 3, "b2c", "done", 1 },
        { false, 3, "b2x", "done", 1 },
        { false, 3, "l", "accepted", 0 },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct story s;
        struct invocation_spec q = spec_of(rows[i].safe, rows[i].attempts, 0);
        story_begin(&s, &q, i + 1);
        for (const char *at = rows[i].story; *at; at++)
            tell(&s, *at);
        bool as_said = strcmp(invoked_status_name(status(&s)), rows[i].end) == 0 &&
                       attempt_of(&s) == rows[i].attempt && same_after_a_restart(&s);
        if (!as_said)
            printf("# \"%s\": %s after %d\n", rows[i].story, invoked_status_name(status(&s)), attempt_of(&s));
        story_done(&s);
        CHECK(as_said);
    }
}

TEST(an_unsafe_one_that_was_cancelled_while_it_ran_is_not_said_to_have_done_nothing)
{
    struct story s;
    struct invocation_spec q = spec_of(false, 3, 0);
    story_begin(&s, &q, 1);
    tell(&s, 'b');
    tell(&s, 'c');
    CHECK_EQ(status(&s), INVOKED_RUNNING);
    tell(&s, 'x');
    enum invoked_status end = status(&s);
    story_done(&s);
    CHECK_EQ(end, INVOKED_AMBIGUOUS);
}

TEST(what_an_older_attempt_says_is_refused_and_changes_nothing)
{
    struct story s;
    struct err e;
    struct invocation_spec q = spec_of(true, 3, 0);
    story_begin(&s, &q, 1);
    tell(&s, 'b');
    tell(&s, 'x');
    tell(&s, 'b');
    int late = over(&s, INVOCATION_CAME_ANSWER, 200, 1);
    bool untouched = !s.turn.changed && s.turn.row_count == 0 && status(&s) == INVOKED_RUNNING;
    turn_begin(&s, 1);
    int old = invocation_checkpoint(s.v, &s.turn, 1, STR("old"), &e);
    int now = invocation_checkpoint(s.v, &s.turn, 2, STR("now"), &e);
    bool kept = s.turn.row_count == 1 && s.turn.rows[0].first == 2;
    story_done(&s);
    CHECK_EQ(late, -CODE_ABORTED);
    CHECK(untouched);
    CHECK_EQ(old, -CODE_ABORTED);
    CHECK_EQ(now, 0);
    CHECK(kept);
}

TEST(what_cannot_begin_before_its_deadline_is_dead_at_once)
{
    struct story s;
    struct invocation_spec q = spec_of(true, 100, INT64_C(1790000000000) + 3000);
    story_begin(&s, &q, 1);
    CHECK_EQ(invocation_standing(s.v).due_ms, q.deadline_ms);
    CHECK(invocation_standing(s.v).ready);
    tell(&s, 'b'); /* two seconds later */
    for (int i = 0; i < 20 && status(&s) != INVOKED_DEAD; i++) {
        tell(&s, 'x');
        tell(&s, 'w');
        turn_begin(&s, 200);
        struct err e;
        invocation_due(s.v, &s.turn);
        if (invocation_wants(s.v, s.turn.now_ns) == INVOCATION_WANTS_ATTEMPT)
            s.refused += invocation_begin(s.v, &s.turn, &e) < 0;
    }
    enum invoked_status end = status(&s);
    bool early = s.turn.now_ns / 1000000 < INT64_C(1790000000000) + 60000;
    story_done(&s);
    CHECK_EQ(end, INVOKED_DEAD);
    CHECK(early);
}

TEST(one_that_waits_past_its_deadline_dies_when_told_and_one_past_its_retention_is_forgotten)
{
    struct story s;
    struct invocation_spec q = spec_of(true, 100, INT64_C(1790000000000) + 3000);
    story_begin(&s, &q, 1);
    tell(&s, 'W');
    CHECK_EQ(invocation_wants(s.v, s.turn.now_ns), INVOCATION_WANTS_NOTHING);
    tell(&s, 't');
    CHECK_EQ(status(&s), INVOKED_DEAD);
    tell(&s, 't');
    CHECK(!s.turn.forget);
    tell(&s, 'W');
    tell(&s, 't');
    bool forgotten = s.turn.forget;
    story_done(&s);
    CHECK(forgotten);
}

TEST(one_whose_time_has_come_is_called_once_and_then_waits_for_its_deadline_only)
{
    struct story s;
    struct invocation_spec q = spec_of(true, 8, INT64_C(1790000000000) + 60000);
    story_begin(&s, &q, 3);
    tell(&s, 'b');
    tell(&s, 'x');
    struct durable_standing waits = invocation_standing(s.v);
    CHECK(!waits.ready && waits.due_ms <= s.turn.now_ns / 1000000 + 100);
    turn_begin(&s, 100);
    tell(&s, 't');
    struct durable_standing told = invocation_standing(s.v);
    enum invocation_want wants = invocation_wants(s.v, s.turn.now_ns);
    story_done(&s);
    CHECK(told.ready && told.due_ms == q.deadline_ms);
    CHECK_EQ(wants, INVOCATION_WANTS_ATTEMPT);
}

TEST(backoff_is_doubled_jittered_and_bounded)
{
    int64_t longest = 0;
    for (uint64_t seed = 1; seed < 300; seed++) {
        struct story s;
        struct invocation_spec q = spec_of(true, 8, 0);
        story_begin(&s, &q, seed);
        for (int i = 0; i < 7; i++) {
            tell(&s, 'b');
            tell(&s, 'x');
            int64_t delay = invocation_standing(s.v).due_ms - s.turn.now_ns / 1000000;
            int64_t most = MIN(INT64_C(100) << i, INT64_C(1000));
            longest = MAX(longest, delay);
            if (delay < 0 || delay > most) {
                story_done(&s);
                FAIL("after attempt %d: %" PRId64 " ms", i + 1, delay);
            }
        }
        story_done(&s);
    }
    CHECK(longest > 800); /* it is not always short either */
}

static void called(struct story *s, struct invocation_called c)
{
    turn_begin(s, 1);
    c.tries_max = 10;
    invocation_callback_over(s->v, &s->turn, &c);
    invocation_check(s->v);
}

static struct invocation_facts facts(const struct story *s)
{
    struct invocation_facts f;
    invocation_facts(s->v, &f);
    return f;
}

static void story_to_callback(struct story *s)
{
    struct invocation_spec q = spec_of(true, 8, 0);
    q.callback = STR("https://example.org/done");
    story_begin(s, &q, 1);
    tell(s, 'b');
    tell(s, '2');
}

TEST(a_callback_is_tried_until_it_is_taken_or_often_enough)
{
    struct story s;
    story_to_callback(&s);
    bool at_once = invocation_wants(s.v, s.turn.now_ns) == INVOCATION_WANTS_CALLBACK;
    int tries = 0;
    bool waits = true;
    while (tries < 100 && invocation_wants(s.v, s.turn.now_ns) == INVOCATION_WANTS_CALLBACK) {
        tries++;
        called(&s, (struct invocation_called){ .why = "connection refused" });
        waits = waits && invocation_wants(s.v, s.turn.now_ns) == INVOCATION_WANTS_NOTHING;
        turn_begin(&s, 1000000);
    }
    struct invocation_facts f = facts(&s);
    bool said = f.callback_done && f.callback_given_up && strcmp(f.callback_why, "connection refused") == 0;
    enum invoked_status end = f.status;
    story_done(&s);
    CHECK(at_once && waits && said);
    CHECK_EQ(tries, 10);
    CHECK_EQ(end, INVOKED_DONE);
}

TEST(a_callback_that_was_taken_is_over_and_one_that_nobody_will_ever_take_too)
{
    for (int never = 0; never < 2; never++) {
        struct story s;
        story_to_callback(&s);
        called(&s, (struct invocation_called){ .taken = !never, .never = never, .why = "gone" });
        struct invocation_facts f = facts(&s);
        bool as_said = f.callback_done && f.callback_given_up == (never == 1) && f.callback_tries == 1 &&
                       strcmp(f.callback_why, never ? "gone" : "") == 0 && same_after_a_restart(&s);
        story_done(&s);
        CHECK(as_said);
    }
}

TEST(a_callback_is_ready_at_once_then_due_and_keeps_what_it_tells_of)
{
    struct story s;
    story_to_callback(&s);
    struct durable_standing first = invocation_standing(s.v);
    called(&s, (struct invocation_called){ .why = "no", .retry_after_ms = 5000 });
    struct durable_standing waits = invocation_standing(s.v);
    int64_t told_ms = s.turn.now_ns / 1000000;
    turn_begin(&s, 5000);
    invocation_due(s.v, &s.turn);
    struct durable_standing again = invocation_standing(s.v);
    turn_begin(&s, 100000); /* past its retention */
    invocation_due(s.v, &s.turn);
    bool kept = !s.turn.forget;
    called(&s, (struct invocation_called){ .taken = true });
    turn_begin(&s, 100000);
    invocation_due(s.v, &s.turn);
    bool forgotten = s.turn.forget;
    story_done(&s);
    CHECK(first.ready && !first.open && first.due_ms == JOURNAL_NEVER);
    CHECK(!waits.ready && waits.due_ms == told_ms + 5000);
    CHECK(again.ready && again.due_ms == JOURNAL_NEVER);
    CHECK(kept && forgotten);
}

TEST(what_came_of_telling_an_end_before_a_redrive_says_nothing_about_the_next_end)
{
    struct story s;
    struct invocation_spec q = spec_of(false, 8, 0);
    q.callback = STR("https://example.org/done");
    story_begin(&s, &q, 1);
    tell(&s, 'b');
    tell(&s, '5');
    tell(&s, 'd');
    tell(&s, 'b');
    tell(&s, '5');
    called(&s, (struct invocation_called){ .taken = true, .redrives = 0 });
    bool still = invocation_wants(s.v, s.turn.now_ns) == INVOCATION_WANTS_CALLBACK;
    called(&s, (struct invocation_called){ .taken = true, .redrives = 1 });
    bool over_now = invocation_wants(s.v, s.turn.now_ns) == INVOCATION_WANTS_NOTHING;
    story_done(&s);
    CHECK(still && over_now);
}

/* Whatever comes in whatever order: an unsafe one is never begun again after a function had it, unless a
 * person said so. */
TEST(no_story_repeats_what_is_not_safe)
{
    static const char words[] = "bbbbb2459xrlcdwWt";
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct story s;
        struct invocation_spec q = spec_of(seed % 2, 3, 0);
        struct rng choose = { seed * 7919 };
        bool had = false, wrong = false;
        story_begin(&s, &q, seed);
        for (int i = 0; i < 40 && !s.turn.forget; i++) {
            char word = words[rng_below(&choose, sizeof words - 1)];
            enum invoked_status before = status(&s);
            int attempt = attempt_of(&s);
            tell(&s, word);
            if (attempt_of(&s) > attempt && had && !(seed % 2))
                wrong = true;
            if (before == INVOKED_RUNNING && status(&s) != INVOKED_RUNNING && word != 'r')
                had = true;
            if (word == 'd')
                had = false;
            wrong = wrong || !same_after_a_restart(&s);
        }
        story_done(&s);
        if (wrong)
            FAIL("seed %" PRIu64, seed);
    }
}

TEST(bytes_that_are_no_state_are_refused)
{
    struct invocation *v;
    struct err e;
    CHECK_EQ(invocation_unpack(STR("\x08\x01"), &v, &e), -CODE_DATA_LOSS);
    CHECK_EQ(invocation_unpack(STR(""), &v, &e), -CODE_DATA_LOSS);
    CHECK_EQ(invocation_unpack(STR("\xff\xff\xff"), &v, &e), -CODE_DATA_LOSS);
}
TEST_MAIN()
