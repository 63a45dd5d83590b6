/* Callbacks over a journal that fails and crashes, to receivers that are away, refuse, or take. */
#include "invocation/courier.h"
#include "sim/sim_journal.h"
#include "sim/sim_world.h"
#include "tap.h"

enum { TOLD = 12, UNDER_WAY_MAX = 64 };

struct world;
struct under_way {
    struct world *world;
    struct courier_try *y;
    struct loop_timer timer;
    size_t of;
};
struct told {
    struct desk_ask ask;
    struct world *world;
    bool asked;
    int r;
    struct invocation_facts facts; /* without texts */
    uint32_t tries, taken;
    char webhook_id[64], why[128];
    bool id_changed;
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
    struct courier *courier;
    struct told all[TOLD];
    struct under_way outs[UNDER_WAY_MAX];
    struct loop_timer attempt[TOLD];
    uint32_t running, running_most;
    int statuses[4]; /* what a receiver answers, by try; 0: none came */
    bool away, no_secret, broken, silent, disk_fails_then;
};

#define EXPECT(w, cond)                                                      \
    do {                                                                     \
        if (!(cond)) {                                                       \
            if (!(w)->broken)                                                \
                printf("# %s:%d: expected %s\n", __FILE__, __LINE__, #cond); \
            (w)->broken = true;                                              \
        }                                                                    \
    } while (0)

/* ---- the function answers at once ---- */

static void on_start(void *ctx, const struct desk_attempt *a)
{
    struct world *w = ctx;
    struct invocation_end end = { .came = INVOCATION_CAME_ANSWER, .attempt = a->attempt, .answer_status = 200 };
    end.take_answer = xstrdup("yes");
    end.answer_size = 3;
    desk_over(w->desk, &a->id, &end);
}
static void on_drop(void *ctx, const struct uuid *id, uint32_t attempt)
{
    (void)ctx;
    (void)id;
    (void)attempt;
}
static const struct desk_ops desk_ops_here = { on_start, on_drop };

/* ---- the receiver ---- */

static void on_answer(struct loop_timer *t)
{
    struct under_way *o = CONTAINER_OF(t, struct under_way, timer);
    struct world *w = o->world;
    struct told *c = &w->all[o->of];
    int status = w->statuses[MIN(c->tries - 1, 3U)];
    struct courier_try *y = o->y;
    o->y = NULL;
    w->running--;
    if (w->disk_fails_then)
        w->faults = (struct sim_faults){ .commit_us = 1000, .read_us = 1000, .outage_permille = 1000, .outage_us = 1000 };
    c->taken += status >= 200 && status < 300;
    courier_answered(y, &(struct courier_answer){ .status = status, .why = "connection refused" });
}

static size_t told_of(struct world *w, struct str body)
{
    for (size_t i = 0; i < TOLD; i++) {
        char id[UUID_TEXT];
        uuid_format(&w->all[i].ask.id, id);
        if (memmem(body.at, body.size, id, UUID_TEXT - 1))
            return i;
    }
    UNREACHABLE("a callback of nobody's");
}

static int on_post(void *ctx, struct courier_try *y, const char *url, struct str headers, struct str body, struct err *e)
{
    struct world *w = ctx;
    struct under_way *o = NULL;
    if (w->away)
        return err_set(e, CODE_UNAVAILABLE, "no fetcher runs at the moment");
    for (size_t i = 0; i < UNDER_WAY_MAX && !o; i++)
        o = w->outs[i].y ? NULL : &w->outs[i];
    ASSERT(o);
    size_t of = told_of(w, body);
    struct told *c = &w->all[of];
    *o = (struct under_way){ .world = w, .y = y, .timer = { .on_due = on_answer }, .of = of };
    c->tries++;
    w->running++;
    w->running_most = MAX(w->running_most, w->running);
    EXPECT(w, strcmp(url, "http://receiver/") == 0 && memmem(headers.at, headers.size, "webhook-signature: v1,", 22));
    const char *at = memmem(headers.at, headers.size, "webhook-id: ", 12);
    char id[64] = "";
    ASSERT(at);
    ASSERT(sscanf(at, "webhook-id: %63[^\n]", id) == 1);
    c->id_changed = c->id_changed || (c->webhook_id[0] && strcmp(c->webhook_id, id) != 0);
    snprintf(c->webhook_id, sizeof c->webhook_id, "%s", id);
    if (!w->silent)
        loop_after(w->loop, &o->timer, 1000 + rng_below(&w->rng, 50000));
    return 0;
}

static int on_secret(void *ctx, const char *ns, const char *name, struct buf *into, struct err *e)
{
    struct world *w = ctx;
    EXPECT(w, strcmp(ns, "default") == 0 && strcmp(name, "hooks/key") == 0);
    if (w->no_secret)
        return err_set(e, CODE_NOT_FOUND, "there is no Secret hooks");
    buf_text(into, "plain secret");
    return 0;
}
static int64_t wall_here(void *ctx) { return sim_wall_ns(&((struct world *)ctx)->clock); }
static const struct courier_ops courier_ops_here = { on_secret, on_post };

/* ---- the world ---- */

static void on_ready(void *ctx, int r, const struct err *e)
{
    (void)ctx;
    (void)r;
    (void)e;
}

static void world_up(struct world *w)
{
    struct err e;
    static _Thread_local struct durable_kind kind;
    ASSERT(sim_loop_open(&w->clock, &w->loop, &e) == 0);
    w->journal = sim_journal_new(&w->disk, w->loop, &w->rng, &w->faults);
    w->desk = desk_new(&(struct desk_world){ .loop = w->loop, .limits = &w->limits, .ops = &desk_ops_here, .ctx = w, .seed = 1 });
    w->courier = courier_new(&(struct courier_world){ .loop = w->loop, .limits = &w->limits, .ops = &courier_ops_here, .ctx = w,
                                                      .wall_ns = wall_here, .seed = 2 });
    kind = desk_kind(w->desk);
    struct durable_world d = { .loop = w->loop, .journal = w->journal, .limits = &w->limits,
                               .wall_ns = sim_wall_ns, .ctx = &w->clock, .seed = rng_next(&w->rng) };
    ASSERT(durable_host_open(&d, &kind, 1, &w->host, &e) == 0);
    desk_attach(w->desk, w->host);
    courier_attach(w->courier, w->desk, w->host);
    ASSERT(durable_host_start(w->host, on_ready, w, &e) == 0);
}

static void world_down(struct world *w, bool crash)
{
    for (size_t i = 0; i < UNDER_WAY_MAX; i++) {
        if (w->outs[i].y)
            loop_cancel(w->loop, &w->outs[i].timer);
        w->outs[i].y = NULL;
    }
    w->running = 0;
    if (crash)
        sim_journal_crash(w->journal);
    else
        journal_free(w->journal);
    durable_host_free(w->host);
    courier_free(w->courier);
    desk_free(w->desk);
    loop_free(w->loop);
}

static void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){ .rng = { seed }, .statuses = { 200, 200, 200, 200 } };
    limits_default(&w->limits);
    w->clock = (struct sim_clock){ .now_us = 1000000, .wall_offset_ns = INT64_C(1700000000000000000), .rng = &w->rng };
    w->faults = (struct sim_faults){ .commit_us = 1000, .read_us = 1000 };
    for (uint32_t i = 0; i < TOLD; i++) {
        char key[16];
        snprintf(key, sizeof key, "key-%u", i);
        w->all[i].world = w;
        w->all[i].ask.id = desk_id_of(STR("default"), STR("s"), str_of(key));
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
        courier_check(w->courier);
        desk_check(w->desk);
    }
}

static void on_asked(struct desk_ask *q, int r, const struct desk_told *told, const struct err *e)
{
    struct told *c = CONTAINER_OF(q, struct told, ask);
    (void)e;
    c->asked = false;
    c->r = r;
    if (!told)
        return;
    c->facts = told->facts;
    snprintf(c->why, sizeof c->why, "%s", told->facts.callback_why);
}

static void ask(struct told *c, enum desk_verb verb)
{
    struct uuid id = c->ask.id;
    c->asked = true;
    c->ask = (struct desk_ask){
        .verb = verb, .id = id, .on_done = on_asked,
        .spec = { .ns = STR("default"), .service = STR("s"), .host = STR("h"), .method = STR("POST"), .path = STR("/"), .safe = true,
                  .attempts_max = 3, .backoff_ms = 100, .backoff_max_ms = 1000, .retention_ms = 1000000000,
                  .callback = STR("http://receiver/"), .callback_secret = STR("hooks/key"),
                  .request = STR("POST / HTTP/1.1\r\n\r\n") },
    };
    desk_ask(c->world->desk, &c->ask);
}

static const struct invocation_facts *look(struct told *c)
{
    ask(c, DESK_LOOK);
    world_run(c->world, 50);
    return &c->facts;
}

TEST(an_end_is_told_once_it_is_on_disk_and_again_until_it_is_taken)
{
    struct world w;
    world_init(&w, 1);
    w.statuses[0] = 500;
    w.statuses[1] = 0;
    struct told *c = &w.all[0];
    ask(c, DESK_ACCEPT);
    world_run(&w, 600);
    const struct invocation_facts *f = look(c);
    bool waits = f->status == INVOKED_DONE && c->tries == 1 && !f->callback_done && f->callback_tries == 1 &&
                 strcmp(c->why, "the receiver answered 500") == 0;
    world_run(&w, 30000);
    f = look(c);
    bool taken = f->callback_done && !f->callback_given_up && f->callback_tries == 3;
    struct courier_counts n = courier_counts(w.courier);
    world_run(&w, 3600000);
    world_end(&w);
    CHECK(!w.broken && waits && taken && !c->id_changed);
    CHECK_EQ(c->tries, 3);
    CHECK_EQ(n.taken, 1);
    CHECK_EQ(n.tries, 3);
}

TEST(one_that_nobody_takes_is_given_up_and_says_so)
{
    struct world w;
    world_init(&w, 2);
    for (size_t i = 0; i < 4; i++)
        w.statuses[i] = 503;
    ask(&w.all[0], DESK_ACCEPT);
    world_run(&w, 7200000);
    const struct invocation_facts *f = look(&w.all[0]);
    bool said = f->callback_done && f->callback_given_up && f->callback_tries == 10 && f->status == INVOKED_DONE;
    struct courier_counts n = courier_counts(w.courier);
    world_end(&w);
    CHECK(!w.broken && said);
    CHECK_EQ(w.all[0].tries, 10);
    CHECK_EQ(n.given_up, 1);
}

TEST(a_receiver_that_is_gone_is_asked_once)
{
    struct world w;
    world_init(&w, 3);
    w.statuses[0] = 410;
    ask(&w.all[0], DESK_ACCEPT);
    world_run(&w, 7200000);
    bool said = look(&w.all[0])->callback_given_up;
    world_end(&w);
    CHECK(said);
    CHECK_EQ(w.all[0].tries, 1);
}

TEST(while_nothing_can_be_sent_it_is_put_off_and_that_is_no_try)
{
    struct world w;
    world_init(&w, 4);
    w.away = true;
    ask(&w.all[0], DESK_ACCEPT);
    world_run(&w, 3600000);
    bool untried = look(&w.all[0])->callback_tries == 0;
    w.away = false;
    world_run(&w, 5000);
    bool done = look(&w.all[0])->callback_done;
    world_end(&w);
    CHECK(untried && done);
    CHECK_EQ(w.all[0].tries, 1);
}

TEST(a_secret_that_is_missing_is_said_and_nothing_is_sent_unsigned)
{
    struct world w;
    world_init(&w, 5);
    w.no_secret = true;
    ask(&w.all[0], DESK_ACCEPT);
    world_run(&w, 3000);
    const struct invocation_facts *f = look(&w.all[0]);
    bool said = f->callback_tries > 0 && !f->callback_done && strcmp(w.all[0].why, "there is no Secret hooks") == 0;
    uint32_t sent = w.all[0].tries;
    w.no_secret = false;
    world_run(&w, 60000);
    bool done = look(&w.all[0])->callback_done;
    world_end(&w);
    CHECK(said && done);
    CHECK_EQ(sent, 0);
}

TEST(no_more_are_under_way_than_may_be)
{
    struct world w;
    world_init(&w, 6);
    w.limits.invoke_callbacks_max = 3;
    w.limits.invoke_waiting_max = 4; /* those beyond are put off */
    for (size_t i = 0; i < TOLD; i++)
        ask(&w.all[i], DESK_ACCEPT);
    world_run(&w, 60000);
    uint32_t done = 0;
    for (size_t i = 0; i < TOLD; i++)
        done += w.all[i].r == 0 && look(&w.all[i])->callback_done;
    uint32_t accepted = 0;
    for (size_t i = 0; i < TOLD; i++)
        accepted += w.all[i].r == 0;
    uint32_t most = w.running_most;
    world_end(&w);
    CHECK(!w.broken);
    CHECK_EQ(done, accepted);
    CHECK(accepted > 3);
    CHECK_EQ(most, 3);
}

TEST(what_was_under_way_when_hob_died_is_told_again_under_the_same_id)
{
    struct world w;
    world_init(&w, 7);
    w.silent = true;
    ask(&w.all[0], DESK_ACCEPT);
    world_run(&w, 500);
    uint32_t before = w.all[0].tries;
    world_down(&w, true);
    w.silent = false;
    world_up(&w);
    world_run(&w, 10000);
    bool done = look(&w.all[0])->callback_done;
    world_end(&w);
    CHECK_EQ(before, 1);
    CHECK_EQ(w.all[0].tries, 2);
    CHECK(done && !w.all[0].id_changed);
}

TEST(what_came_of_a_try_is_told_until_the_disk_takes_it)
{
    struct world w;
    world_init(&w, 8);
    w.disk_fails_then = true;
    ask(&w.all[0], DESK_ACCEPT);
    world_run(&w, 3000);
    w.faults = (struct sim_faults){ .commit_us = 1000, .read_us = 1000 };
    world_run(&w, 10000);
    bool done = look(&w.all[0])->callback_done;
    world_end(&w);
    CHECK(done);
    CHECK_EQ(w.all[0].tries, 1);
}

/* Commits fail, hob dies, receivers fail: whatever ended is told at least once, and its state says so. */
TEST(every_end_is_told_at_least_once_through_crashes_and_failures)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world w;
        world_init(&w, seed * 31);
        w.faults.outage_permille = 100;
        w.faults.outage_us = 500000;
        w.faults.refuse_permille = 50;
        w.statuses[0] = seed % 3 ? 500 : 200;
        for (size_t i = 0; i < TOLD; i++)
            ask(&w.all[i], DESK_ACCEPT);
        for (int i = 0; i < 4; i++) {
            world_run(&w, rng_below(&w.rng, 3000));
            world_down(&w, true);
            for (size_t k = 0; k < TOLD; k++)
                w.all[k].asked = false;
            world_up(&w);
        }
        w.faults = (struct sim_faults){ .commit_us = 1000, .read_us = 1000 };
        world_run(&w, 3600000);
        for (size_t i = 0; i < TOLD; i++) {
            const struct invocation_facts *f = look(&w.all[i]);
            if (w.all[i].r < 0)
                continue; /* it was never accepted */
            EXPECT(&w, f->status == INVOKED_DONE && f->callback_done && !f->callback_given_up && w.all[i].taken >= 1);
            EXPECT(&w, !w.all[i].id_changed);
        }
        bool broken = w.broken;
        world_end(&w);
        if (broken)
            FAIL("seed %" PRIu64, seed);
    }
}
TEST_MAIN()
