/* The desk over a journal that fails, delays and crashes, with functions that answer, break, are busy, or never end. */
#include "invocation/desk.h"
#include "sim/sim_journal.h"
#include "sim/sim_world.h"
#include "tap.h"

enum { INVOCATIONS = 24, OUT_MAX = 64 };

struct world;
struct out { /* an attempt that a function has */
    struct world *world;
    struct loop_timer timer;
    struct uuid id;
    uint32_t attempt;
    bool busy, dropped;
};
struct client {
    struct desk_ask ask;
    struct desk_waiter waiter;
    struct world *world;
    bool asked, acknowledged, safe, woken;
    uint32_t seen;   /* attempts that its function had */
    uint32_t number, lost; /* of those: not ended when hob died */
    char service[16];
    int r;
    bool fresh, other;
    struct invocation_facts facts; /* without texts */
    char answer[64], key[16];
};
struct world {
    struct rng rng;
    struct limits limits;
    struct sim_clock clock;
    struct sim_disk disk;
    struct sim_faults faults;
    struct loop *loop;
    struct journal *journal;
    struct durable_host *host;
    struct desk *desk;
    struct out outs[OUT_MAX];
    struct client clients[INVOCATIONS];
    uint32_t running, running_most, drops;
    bool ready, broken, silent; /* silent: functions never end by themselves */
    char mood; /* of all functions: 2 answers, 5 fails, x breaks, r refuses; 0: anything */
    char last_checkpoint[32], order[256];
};

#define EXPECT(w, cond)                                                     \
    do {                                                                    \
        if (!(cond)) {                                                      \
            if (!(w)->broken)                                               \
                printf("# %s:%d: expected %s\n", __FILE__, __LINE__, #cond); \
            (w)->broken = true;                                             \
        }                                                                   \
    } while (0)

static struct client *client_of(struct world *w, const struct uuid *id)
{
    for (size_t i = 0; i < INVOCATIONS; i++)
        if (memcmp(&w->clients[i].ask.id, id, sizeof *id) == 0)
            return &w->clients[i];
    UNREACHABLE("an attempt of nobody's");
}

/* ---- functions ---------------------------------------------------------------------------- */

static void out_end(struct out *o, char how)
{
    struct world *w = o->world;
    struct invocation_end end = { .attempt = o->attempt, .why = "as it came" };
    o->busy = false;
    w->running--;
    loop_cancel(w->loop, &o->timer);
    if (how == '2' || how == '5') {
        end.came = INVOCATION_CAME_ANSWER;
        end.answer_status = how == '2' ? 200 : 500;
        end.take_answer = xasprintf("answer of %u", o->attempt);
        end.answer_size = strlen(end.take_answer);
    } else {
        end.came = how == 'r' ? INVOCATION_CAME_REFUSED : INVOCATION_CAME_BROKEN;
    }
    if (how == 'r')
        client_of(w, &o->id)->seen--; /* it never had it */
    desk_over(w->desk, &o->id, &end);
}

static void on_out(struct loop_timer *t)
{
    struct out *o = CONTAINER_OF(t, struct out, timer);
    static const char moods[] = "2225xr";
    out_end(o, o->world->mood ? o->world->mood : moods[rng_below(&o->world->rng, sizeof moods - 1)]);
}

static void on_start(void *ctx, const struct desk_attempt *a)
{
    struct world *w = ctx;
    struct client *c = client_of(w, &a->id);
    struct out *o = NULL;
    for (size_t i = 0; i < OUT_MAX && !o; i++)
        o = w->outs[i].busy ? NULL : &w->outs[i];
    ASSERT(o);
    *o = (struct out){ .world = w, .timer = { .on_due = on_out }, .id = a->id, .attempt = a->attempt, .busy = true };
    c->seen++;
    w->running++;
    w->running_most = MAX(w->running_most, w->running);
    snprintf(w->last_checkpoint, sizeof w->last_checkpoint, STR_FMT, (int)a->checkpoint.size,
             a->checkpoint.at ? a->checkpoint.at : "");
    size_t at = strlen(w->order);
    if (at + 1 < sizeof w->order)
        w->order[at] = a->service[1];
    EXPECT(w, str_starts(a->request, STR("POST / HTTP/1.1\r\n")));
    EXPECT(w, strcmp(a->service, c->service) == 0);
    /* What the function sees now, is on the disk: with this attempt under way. */
    char text[UUID_TEXT];
    uuid_format(&a->id, text);
    const struct sim_row *row = sim_disk_find(
        &w->disk, &(struct journal_key){ .kind = JOURNAL_INVOCATION, .ns = STR("invocations"), .id = str_of(text) });
    EXPECT(w, row && row->status == INVOKED_RUNNING);
    if (!w->silent)
        loop_after(w->loop, &o->timer, rng_below(&w->rng, 200000));
}

static void on_drop(void *ctx, const struct uuid *id, uint32_t attempt)
{
    struct world *w = ctx;
    w->drops++;
    for (size_t i = 0; i < OUT_MAX; i++)
        if (w->outs[i].busy && w->outs[i].attempt == attempt && memcmp(&w->outs[i].id, id, sizeof *id) == 0) {
            w->outs[i].dropped = true;
            w->outs[i].timer.on_due = on_out;
            w->mood = 'x';
            loop_after(w->loop, &w->outs[i].timer, 1000);
        }
}

/* ---- the world ---------------------------------------------------------------------------- */

static const struct desk_ops ops = { on_start, on_drop };

static void on_ready(void *ctx, int r, const struct err *e)
{
    struct world *w = ctx;
    (void)e;
    w->ready = r == 0;
}

static void world_up(struct world *w)
{
    struct err e;
    static _Thread_local struct durable_kind kind;
    ASSERT(sim_loop_open(&w->clock, &w->loop, &e) == 0);
    w->journal = sim_journal_new(&w->disk, w->loop, &w->rng, &w->faults);
    w->desk = desk_new(&(struct desk_world){ .loop = w->loop, .limits = &w->limits, .ops = &ops, .ctx = w, .seed = 1 });
    kind = desk_kind(w->desk);
    struct durable_world d = { .loop = w->loop, .journal = w->journal, .limits = &w->limits,
                               .wall_ns = sim_wall_ns, .ctx = &w->clock, .seed = rng_next(&w->rng) };
    ASSERT(durable_host_open(&d, &kind, 1, &w->host, &e) == 0);
    desk_attach(w->desk, w->host);
    ASSERT(durable_host_start(w->host, on_ready, w, &e) == 0);
}

static void world_down(struct world *w, bool crash)
{
    for (size_t i = 0; i < OUT_MAX; i++) {
        if (w->outs[i].busy)
            loop_cancel(w->loop, &w->outs[i].timer);
        w->outs[i].busy = false;
    }
    w->running = 0;
    if (crash)
        sim_journal_crash(w->journal);
    else
        journal_free(w->journal);
    durable_host_free(w->host);
    desk_free(w->desk);
    loop_free(w->loop);
}

static void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){ .rng = { seed } };
    limits_default(&w->limits);
    w->clock = (struct sim_clock){ .now_us = 1000000, .wall_offset_ns = INT64_C(1700000000000000000), .rng = &w->rng };
    w->faults = (struct sim_faults){ .commit_us = 1000, .read_us = 1000 };
    for (uint32_t i = 0; i < INVOCATIONS; i++) {
        struct client *c = &w->clients[i];
        c->world = w;
        c->number = i;
        c->safe = i % 2 == 0;
        snprintf(c->key, sizeof c->key, "key-%u", i);
        snprintf(c->service, sizeof c->service, "s%u", i % 3);
        c->ask.id = desk_id_of(STR("default"), str_of(c->service), str_of(c->key));
    }
    world_up(w);
}

static void world_end(struct world *w)
{
    world_down(w, false);
    sim_disk_done(&w->disk);
}

static void world_run(struct world *w, uint64_t ms)
{
    struct err e;
    uint64_t end_us = w->clock.now_us + ms * 1000;
    w->clock.stuck = false;
    while (w->clock.now_us < end_us && !w->clock.stuck && !w->broken) {
        ASSERT(loop_turn(w->loop, true, &e) >= 0);
        desk_check(w->desk);
        durable_check(w->host);
    }
}

static void on_asked(struct desk_ask *q, int r, const struct desk_told *told, const struct err *e)
{
    struct client *c = CONTAINER_OF(q, struct client, ask);
    EXPECT(c->world, (r < 0) == (told == NULL) && (r == 0 || r == 1 || e->text[0]));
    c->asked = false;
    c->r = r;
    if (!told)
        return;
    c->acknowledged = true;
    c->fresh = told->fresh;
    c->other = told->other;
    c->facts = told->facts;
    EXPECT(c->world, strcmp(told->facts.service, c->service) == 0);
    snprintf(c->answer, sizeof c->answer, STR_FMT, (int)told->answer.size, told->answer.at ? told->answer.at : "");
}

static void ask(struct client *c, enum desk_verb verb)
{
    struct uuid id = c->ask.id;
    c->asked = true;
    c->ask = (struct desk_ask){
        .verb = verb, .id = id, .with_answer = true, .on_done = on_asked, .attempt = c->facts.attempt,
        .checkpoint = STR("half way"),
        .spec = { .ns = STR("default"), .service = str_of(c->service), .host = STR("h"), .method = STR("POST"),
                  .path = STR("/"), .key = str_of(c->key), .safe = c->safe, .attempts_max = 3, .backoff_ms = 100,
                  .backoff_max_ms = 1000, .retention_ms = 1000000000, .request = STR("POST / HTTP/1.1\r\n\r\n") },
    };
    desk_ask(c->world->desk, &c->ask);
}

static void do_it(struct client *c, enum desk_verb verb)
{
    ask(c, verb);
    world_run(c->world, 50);
}

/* ---- rules -------------------------------------------------------------------------------- */

TEST(an_accepted_one_is_attempted_and_its_answer_is_kept)
{
    struct world w;
    world_init(&w, 1);
    struct client *c = &w.clients[0];
    w.mood = '2';
    do_it(c, DESK_ACCEPT);
    bool fresh = c->r == 0 && c->fresh && c->facts.status == INVOKED_WAITING;
    world_run(&w, 1000);
    do_it(c, DESK_LOOK);
    bool done = c->r == 0 && c->facts.status == INVOKED_DONE && strcmp(c->answer, "answer of 1") == 0;
    do_it(c, DESK_ACCEPT);
    bool replayed = c->r == 0 && !c->fresh && !c->other && strcmp(c->answer, "answer of 1") == 0;
    uint32_t seen = c->seen;
    struct desk_counts n;
    desk_counts(w.desk, &n);
    world_end(&w);
    CHECK(!w.broken);
    CHECK(fresh);
    CHECK(done);
    CHECK(replayed);
    CHECK_EQ(seen, 1);
    CHECK_EQ(n.accepted, 1);
    CHECK_EQ(n.repeated, 1);
    CHECK_EQ(n.ended[INVOKED_DONE], 1);
}

TEST(the_same_key_with_another_request_is_told_and_changes_nothing)
{
    struct world w;
    world_init(&w, 1);
    struct client *c = &w.clients[0];
    w.mood = '2';
    do_it(c, DESK_ACCEPT);
    ask(c, DESK_ACCEPT);
    c->ask.spec.fingerprint[0] = 1;
    world_run(&w, 2000);
    bool other = c->r == 0 && c->other && !c->fresh;
    uint32_t seen = c->seen;
    world_end(&w);
    CHECK(!w.broken && other);
    CHECK_EQ(seen, 1);
}

TEST(when_hob_dies_during_an_attempt_only_what_is_safe_is_attempted_again)
{
    struct world w;
    world_init(&w, 1);
    struct client *safe = &w.clients[0], *unsafe = &w.clients[1];
    w.silent = true;
    do_it(safe, DESK_ACCEPT);
    do_it(unsafe, DESK_ACCEPT);
    world_run(&w, 100);
    uint32_t seen_before = safe->seen + unsafe->seen;
    world_down(&w, true);
    w.silent = false;
    w.mood = '2';
    world_up(&w);
    world_run(&w, 3000);
    do_it(safe, DESK_LOOK);
    do_it(unsafe, DESK_LOOK);
    struct desk_counts n;
    desk_counts(w.desk, &n);
    world_end(&w);
    CHECK(!w.broken);
    CHECK_EQ(seen_before, 2);
    CHECK_EQ(safe->facts.status, INVOKED_DONE);
    CHECK_EQ(safe->seen, 2);
    CHECK_EQ(unsafe->facts.status, INVOKED_AMBIGUOUS);
    CHECK_EQ(unsafe->seen, 1);
    CHECK_EQ(n.lost, 2);
    CHECK_EQ(n.ended[INVOKED_AMBIGUOUS], 1);
}

TEST(an_ambiguous_one_is_driven_again_by_who_asks_for_it)
{
    struct world w;
    world_init(&w, 1);
    struct client *c = &w.clients[1];
    w.mood = 'x';
    do_it(c, DESK_ACCEPT);
    world_run(&w, 1000);
    do_it(c, DESK_LOOK);
    enum invoked_status before = c->facts.status;
    w.mood = '2';
    do_it(c, DESK_REDRIVE);
    world_run(&w, 1000);
    do_it(c, DESK_LOOK);
    enum invoked_status after = c->facts.status;
    do_it(c, DESK_REDRIVE);
    int again = c->r;
    world_end(&w);
    CHECK_EQ(before, INVOKED_AMBIGUOUS);
    CHECK_EQ(after, INVOKED_DONE);
    CHECK_EQ(again, -CODE_PRECONDITION);
}

TEST(a_cancelled_one_is_given_up_once_and_a_checkpoint_is_given_to_the_next_attempt)
{
    struct world w;
    world_init(&w, 1);
    struct client *c = &w.clients[0];
    w.silent = true;
    do_it(c, DESK_ACCEPT);
    world_run(&w, 100);
    do_it(c, DESK_LOOK);
    do_it(c, DESK_CHECKPOINT);
    int kept = c->r;
    ask(c, DESK_CHECKPOINT);
    c->ask.attempt = 7;
    world_run(&w, 50);
    int stale = c->r;
    for (size_t i = 0; i < OUT_MAX; i++)
        if (w.outs[i].busy)
            out_end(&w.outs[i], 'x');
    world_run(&w, 3000);
    bool handed = strcmp(w.last_checkpoint, "half way") == 0;
    do_it(c, DESK_CANCEL);
    int asked = c->r;
    do_it(c, DESK_CANCEL);
    world_run(&w, 1000);
    do_it(c, DESK_LOOK);
    world_end(&w);
    CHECK(!w.broken);
    CHECK_EQ(kept, 0);
    CHECK_EQ(stale, -CODE_ABORTED);
    CHECK(handed);
    CHECK_EQ(asked, 1);
    CHECK_EQ(w.drops, 1);
    CHECK_EQ(c->facts.status, INVOKED_CANCELLED);
}

static void on_woken(struct desk_waiter *waiter) { CONTAINER_OF(waiter, struct client, waiter)->woken = true; }

TEST(who_waits_is_woken_at_the_end_and_may_leave_before)
{
    struct world w;
    world_init(&w, 1);
    struct client *c = &w.clients[0], *other = &w.clients[1];
    w.mood = '2';
    ask(c, DESK_ACCEPT);
    ask(other, DESK_ACCEPT);
    world_run(&w, 1);
    c->waiter.on_end = other->waiter.on_end = on_woken;
    desk_wait(w.desk, &c->ask.id, &c->waiter);
    desk_wait(w.desk, &other->ask.id, &other->waiter);
    desk_wait_stop(&other->waiter);
    desk_wait_stop(&other->waiter);
    world_run(&w, 1000);
    struct desk_counts n;
    desk_counts(w.desk, &n);
    bool right = c->woken && !other->woken;
    do_it(c, DESK_LOOK);
    world_end(&w);
    CHECK(!w.broken && right);
    CHECK_EQ(n.waiters, 0);
    CHECK_EQ(c->facts.status, INVOKED_DONE);
}

TEST(attempts_at_once_are_bounded_and_services_take_turns)
{
    struct world w;
    world_init(&w, 1);
    w.limits.invoke_attempts_max = 3;
    w.mood = '2';
    for (uint32_t pass = 0; pass < 3; pass++) /* all of one service come before the next one's */
        for (uint32_t i = pass; i < INVOCATIONS; i += 3)
            ask(&w.clients[i], DESK_ACCEPT);
    world_run(&w, 20000);
    uint32_t done = 0;
    for (uint32_t i = 0; i < INVOCATIONS; i++) {
        do_it(&w.clients[i], DESK_LOOK);
        done += w.clients[i].facts.status == INVOKED_DONE && w.clients[i].seen == 1;
    }
    world_end(&w);
    CHECK(!w.broken);
    CHECK_EQ(done, INVOCATIONS);
    CHECK_EQ(w.running_most, 3);
    w.order[8] = '\0'; /* as many as the first service has */
    CHECK(strchr(w.order, '0') && strchr(w.order, '1') && strchr(w.order, '2'));
}

TEST(one_service_has_no_more_attempts_at_once_than_one_may_have)
{
    struct world w;
    world_init(&w, 1);
    w.limits.invoke_attempts_service_max = 2;
    w.silent = true;
    for (uint32_t i = 0; i < INVOCATIONS; i += 3)
        do_it(&w.clients[i], DESK_ACCEPT);
    uint32_t one = w.running;
    do_it(&w.clients[1], DESK_ACCEPT);
    uint32_t two = w.running;
    world_end(&w);
    CHECK_EQ(one, 2);
    CHECK_EQ(two, 3);
}

TEST(how_an_attempt_ended_is_told_until_the_disk_takes_it)
{
    struct world w;
    world_init(&w, 1);
    struct client *c = &w.clients[1];
    w.silent = true;
    do_it(c, DESK_ACCEPT);
    world_run(&w, 100);
    w.faults.refuse_permille = 1000;
    for (size_t i = 0; i < OUT_MAX; i++)
        if (w.outs[i].busy)
            out_end(&w.outs[i], '2');
    world_run(&w, 5000);
    w.faults.refuse_permille = 0;
    world_run(&w, 5000);
    do_it(c, DESK_LOOK);
    world_end(&w);
    CHECK(!w.broken);
    CHECK_EQ(c->facts.status, INVOKED_DONE);
    CHECK_EQ(c->seen, 1);
    CHECK(strcmp(c->answer, "answer of 1") == 0);
}

TEST(new_ones_are_refused_while_too_many_wait_and_known_ones_are_not)
{
    struct world w;
    world_init(&w, 1);
    w.silent = true;
    w.limits.invoke_attempts_max = 1;
    w.limits.invoke_waiting_max = 2;
    for (uint32_t i = 0; i < 3; i++)
        do_it(&w.clients[i], DESK_ACCEPT);
    do_it(&w.clients[3], DESK_ACCEPT);
    do_it(&w.clients[1], DESK_ACCEPT);
    world_end(&w);
    CHECK_EQ(w.clients[2].r, 0);
    CHECK_EQ(w.clients[3].r, -CODE_EXHAUSTED);
    CHECK_EQ(w.clients[1].r, 0);
    CHECK(!w.clients[1].fresh);
}

/* One life: crashes, outages, refusals; then peace, and every promise is looked at. */
static bool life(uint64_t seed)
{
    struct world w;
    world_init(&w, seed);
    w.limits.invoke_attempts_max = 1 + rng_below(&w.rng, 8);
    for (int step = 0; step < 60 && !w.broken; step++) {
        struct client *c = &w.clients[rng_below(&w.rng, INVOCATIONS)];
        w.faults.outage_permille = rng_chance(&w.rng, 20) ? 100 : 0;
        w.faults.outage_us = 300000;
        w.faults.refuse_permille = rng_chance(&w.rng, 20) ? 50 : 0;
        w.faults.read_fail_permille = rng_chance(&w.rng, 20) ? 100 : 0;
        if (!c->asked)
            ask(c, DESK_ACCEPT);
        world_run(&w, rng_below(&w.rng, 300));
        if (!rng_chance(&w.rng, 15))
            continue;
        world_down(&w, true);
        world_up(&w);
    }
    w.faults = (struct sim_faults){ .commit_us = 1000, .read_us = 1000 };
    world_down(&w, true);
    world_up(&w);
    world_run(&w, 60000);
    for (uint32_t i = 0; i < INVOCATIONS && !w.broken; i++) {
        struct client *c = &w.clients[i];
        bool was = c->acknowledged;
        EXPECT(&w, !c->asked);
        do_it(c, DESK_LOOK);
        EXPECT(&w, !was || c->r == 0);                   /* what was acknowledged is there */
        EXPECT(&w, c->r < 0 || invoked_status_ended(c->facts.status));
        EXPECT(&w, c->safe || c->seen <= 1);             /* never twice */
        EXPECT(&w, c->r == 0 || c->seen == 0);           /* nothing happens of what is not there */
        EXPECT(&w, c->facts.status != INVOKED_DONE || c->answer[0]);
        EXPECT(&w, c->facts.status != INVOKED_AMBIGUOUS || !c->safe);
    }
    struct desk_counts n;
    desk_counts(w.desk, &n);
    EXPECT(&w, n.queued == 0 && n.running == 0);
    bool fine = !w.broken;
    world_end(&w);
    return fine;
}

TEST(every_acknowledged_one_has_one_end_and_none_that_is_not_safe_runs_twice)
{
    for (uint64_t seed = 1; seed <= 300; seed++)
        if (!life(seed))
            FAIL("seed %" PRIu64, seed);
}

TEST_MAIN()
