/* temporal_sim.c -- Temporal's whole service in a world of its own: the real service, matching, host and machine over a journal
 * that fails, delays and crashes, with clients that repeat themselves and workers that are slow, die, and answer twice.
 *
 *     temporal_sim [--seed N] [--count M] [--trace]
 *
 * One seed is one life; each draws its own rates of faults and its own limits. After every step: histories are well formed and
 * only grow, one run per id is open, what was acknowledged is on the disk, what was given out is what the disk has, a task and a
 * token are good once, every event has the command it came from. At the end, when faults are over: everything
 * ends, and parents and children say the same. The first seed is lived twice, and leaves the same trace. */
#include "sim/temporal_world.h"

#include <stdio.h>
#include <stdlib.h>

enum { HOURS = 3, TURNS_END_MAX = 400000 };

static void on_ready(void *ctx, int r, const struct err *e)
{
    struct tw *w = ctx;
    tw_note(w, "ready: %d", r);
    (void)e;
    w->ready = true;
    w->restart = r < 0; /* its disk refused to be read: it ends, and begins again */
}

static void on_tick(struct loop_timer *t)
{
    struct tw *w = CONTAINER_OF(t, struct tw, tick);
    calls_tick(w);
    workers_tick(w);
    clients_tick(w);
    if (w->faults_on && tw_permille(w, w->rate.jump)) {
        int64_t by = (int64_t)rng_below(&w->rng, UINT64_C(120000000000)) - INT64_C(60000000000);
        w->clock.wall_offset_ns += by;
        tw_note(w, "the clock jumps by %" PRId64 " s", by / 1000000000);
    }
    if (!w->faults_on && rng_chance(&w->rng, 5))
        clients_end(w);
    loop_after(w->loop, &w->tick, 1000 + rng_below(&w->rng, w->faults_on ? 200000 : 500000));
}

static void world_up(struct tw *w)
{
    struct err e;
    ASSERT(sim_loop_open(&w->clock, &w->loop, &e) == 0);
    w->journal = sim_journal_new(&w->disk, w->loop, &w->rng, &w->faults);
    const struct service_world sw = { .loop = w->loop, .journal = w->journal, .limits = &w->limits, .wall_ns = sim_wall_ns,
                                      .ctx = &w->clock, .seed = rng_next(&w->rng), .version = "1" };
    ASSERT(service_open(&sw, &w->service, &e) == 0);
    const struct durable_world dw = { .loop = w->loop, .journal = w->journal, .limits = &w->limits, .wall_ns = sim_wall_ns,
                                      .ctx = &w->clock, .seed = rng_next(&w->rng) };
    w->kind = service_kind(w->service);
    ASSERT(durable_host_open(&dw, &w->kind, 1, &w->host, &e) == 0);
    service_attach(w->service, w->host);
    w->restart = w->ready = false;
    if (durable_host_start(w->host, on_ready, w, &e) < 0)
        w->restart = true;
    w->tick = (struct loop_timer){ .on_due = on_tick };
    loop_after(w->loop, &w->tick, 0);
}

static void world_down(struct tw *w, bool crash)
{
    struct err e;
    tw_note(w, crash ? "the node crashes" : "the node stops");
    if (!crash) {
        service_drain(w->service);
        for (int i = 0; i < 5; i++)
            ASSERT(loop_turn(w->loop, false, &e) >= 0);
        loop_cancel(w->loop, &w->tick);
    }
    LIST_EACH(&w->calls, node, tmp) { /* connections end; who asked hears that, and nothing else */
        struct tw_call *c = CONTAINER_OF(node, struct tw_call, node);
        struct service_call *at = TAKE(c->at);
        if (at && !c->over)
            c->code = CODE_UNAVAILABLE;
        c->over = true;
        if (at)
            service_gone(at);
    }
    if (crash)
        sim_journal_crash(TAKE(w->journal));
    else
        journal_free(TAKE(w->journal));
    durable_host_free(TAKE(w->host));
    service_free(TAKE(w->service));
    loop_free(TAKE(w->loop));
}

static void world_turn(struct tw *w)
{
    struct err e;
    ASSERT(loop_turn(w->loop, true, &e) >= 0);
    durable_check(w->host);
    matching_check(service_matching(w->service));
    books_look(w);
}

static uint32_t drawn(struct tw *w, uint32_t below) { return rng_chance(&w->rng, 40) ? 0 : (uint32_t)rng_below(&w->rng, below); }

static void draw_limits(struct tw *w)
{
    limits_default(&w->limits);
    w->limits.durable_clock_ms = 10000;
    w->limits.durable_memory_bytes = rng_chance(&w->rng, 50) ? rng_below(&w->rng, 20000) : MIB(100);
    w->limits.durable_history_bytes = rng_chance(&w->rng, 50) ? rng_below(&w->rng, 5000) : MIB(100);
    w->limits.durable_due_window_ms = rng_chance(&w->rng, 50) ? 1000 : 60000;
    w->limits.durable_dues_max = rng_chance(&w->rng, 30) ? 1 : 1000;
    w->limits.durable_waiting_max = rng_chance(&w->rng, 20) ? 2 : 1000;
    w->limits.matching_tasks_max = rng_chance(&w->rng, 40) ? 1 + rng_below(&w->rng, 3) : 1000;
    w->limits.matching_polls_max = rng_chance(&w->rng, 20) ? 6 : 1000;
    w->limits.matching_queues_max = rng_chance(&w->rng, 20) ? 6 : 1000;
    w->limits.matching_queries_max = rng_chance(&w->rng, 20) ? 1 : 1000;
}

static void draw_rates(struct tw *w)
{
    w->faults = (struct sim_faults){
        .commit_us = (uint32_t)rng_below(&w->rng, 100000), .read_us = (uint32_t)rng_below(&w->rng, 100000),
        .outage_permille = drawn(w, 20), .outage_us = rng_below(&w->rng, 5000000),
        .refuse_permille = drawn(w, 20), .read_fail_permille = drawn(w, 20),
    };
    w->rate.crash = drawn(w, 8);
    w->rate.die = drawn(w, 20);
    w->rate.slow = drawn(w, 100);
    w->rate.fail = drawn(w, 200);
    w->rate.twice = drawn(w, 200);
    w->rate.deaf = drawn(w, 60);
    w->rate.lost = drawn(w, 60);
    w->rate.jump = drawn(w, 10);
    w->rate.evict = drawn(w, 300);
    w->rate.bad = drawn(w, 100);
    w->rate.wish = 1 + (uint32_t)rng_below(&w->rng, 30);
    static const uint32_t usual[] = { [WISH_START] = 30, [WISH_SIGNAL] = 30, [WISH_SIGNAL_START] = 5, [WISH_CANCEL] = 3,
                                      [WISH_TERMINATE] = 2, [WISH_QUERY] = 10, [WISH_UPDATE] = 10, [WISH_RESET] = 3,
                                      [WISH_DESCRIBE] = 5, [WISH_END] = 5 };
    for (size_t i = 1; i <= WISH_END; i++)
        w->rate.feature[i] = rng_chance(&w->rng, 25) ? 0 : usual[i];
    w->rate.feature[WISH_START] = 30;
}

static void world_init(struct tw *w, uint64_t seed, bool trace)
{
    struct tw_done *dones = w->dones ? w->dones : xcalloc(TW_DONES, sizeof *dones);
    *w = (struct tw){ .seed = seed, .rng = { seed }, .trace = trace, .faults_on = true, .dones = dones };
    (void)rng_next(&w->rng);
    list_init(&w->calls);
    draw_limits(w);
    draw_rates(w);
    w->clock = (struct sim_clock){ .now_us = 1000000, .wall_offset_ns = INT64_C(1700000000000000000), .rng = &w->rng,
                                   .late_us = (uint32_t)rng_below(&w->rng, 5000) };
    for (uint32_t i = 0; i < TW_FLOWS; i++)
        snprintf(w->flows[i].id, sizeof w->flows[i].id, "w%u", (unsigned)i % 100);
    workers_open(w);
}

static bool all_ended(const struct tw *w)
{
    for (size_t i = 0; i < w->disk.count; i++)
        if (w->disk.rows[i]->open)
            return false;
    for (size_t i = 0; i < TW_WISHES; i++)
        if (w->wishes[i].type != WISH_NONE)
            return false;
    return true;
}

static void faults_end(struct tw *w)
{
    uint32_t evict = w->rate.evict;
    tw_note(w, "faults end");
    w->faults_on = false;
    w->faults.outage_permille = w->faults.refuse_permille = w->faults.read_fail_permille = 0;
    memset(&w->rate, 0, sizeof w->rate);
    w->rate.evict = evict / 4;
    w->end_us = w->clock.now_us;
}

static void stuck_say(struct tw *w)
{
    for (size_t i = 0; i < w->book_count; i++)
        for (size_t k = 0; !w->books[i]->life.closed && k < TW_SLOTS; k++) {
            const struct tw_slot *s = &w->books[i]->life.slots[k];
            if (s->thing && !s->over)
                printf("# %s: slot %zu, of kind %d, from event %" PRId64 "%s\n", w->books[i]->life.workflow, k, (int)s->thing,
                       s->event, s->began ? ", began" : "");
        }
    for (size_t i = 0; i < w->book_count; i++)
        if (!w->books[i]->life.closed)
            tw_wrong(w, __FILE__, __LINE__, "everything ends, but %s %s of type %s (event %zu) does not", w->books[i]->life.workflow,
                     w->books[i]->life.run, w->books[i]->life.type, w->books[i]->count);
    for (size_t i = 0; i < TW_WISHES; i++)
        if (w->wishes[i].type != WISH_NONE)
            tw_wrong(w, __FILE__, __LINE__, "every wish is answered, but one of kind %d for %s %s is not", (int)w->wishes[i].type,
                     w->wishes[i].id, w->wishes[i].run);
}

/* Until everything has ended. What was on its way from one run to another may come to something in the very moment of a
 * stop (a child's start): then the node that follows goes on with it. */
static void until_rest(struct tw *w)
{
    uint64_t until_us = w->clock.now_us + HOURS * 3600 * TW_SECOND;
    for (int turns = 0; !w->broken; turns++) {
        while (!w->broken && w->clock.now_us < until_us && turns < TURNS_END_MAX && !all_ended(w)) {
            world_turn(w);
            turns++;
        }
        if (w->broken || !all_ended(w))
            break;
        world_down(w, false);
        books_look(w);
        bool over = all_ended(w);
        world_up(w);
        if (over)
            return;
    }
    if (!w->broken)
        stuck_say(w);
}

bool tw_run(uint64_t seed, bool trace, uint64_t *ret_hash)
{
    static struct tw world;
    struct tw *w = &world;
    world_init(w, seed, trace);
    world_up(w);
    for (uint64_t turns = 1000 + rng_below(&w->rng, 3000); turns > 0 && !w->broken; turns--) {
        world_turn(w);
        if (w->restart || rng_below(&w->rng, 1000) < w->rate.crash) {
            world_down(w, !w->restart);
            world_up(w);
        }
    }
    faults_end(w);
    if (w->restart) {
        world_down(w, false);
        world_up(w);
    }
    until_rest(w);
    world_down(w, false);
    clients_done(w);
    workers_done(w);
    while (w->calls.count > 0)
        call_drop(CONTAINER_OF(list_first(&w->calls), struct tw_call, node));
    if (!w->broken)
        books_judge(w);
    books_done(w);
    sim_disk_done(&w->disk);
    *ret_hash = w->hash;
    return !w->broken;
}

static bool seeds(uint64_t seed, uint64_t count, bool trace)
{
    uint64_t first, again;
    for (uint64_t n = 0; n < count; n++) {
        bool fine = tw_run(seed + n, trace, &first);
        if (fine && n == 0) {
            fine = tw_run(seed, false, &again) && first == again;
            if (!fine)
                printf("# seed %" PRIu64 ": lived again, it is another life\n", seed);
        }
        if (!fine) {
            printf("not ok 1 - seed %" PRIu64 "; again: temporal_sim --seed %" PRIu64 " --trace\n1..1\n", seed + n, seed + n);
            return false;
        }
    }
    printf("ok 1 - %" PRIu64 " lives of Temporal's service\n1..1\n", count);
    return true;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, count = 1;
    bool trace = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0)
            trace = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--count") == 0 && i + 1 < argc)
            count = strtoull(argv[++i], NULL, 10);
        else
            return fprintf(stderr, "usage: temporal_sim [--seed N] [--count M] [--trace]\n"), 2;
    }
    return seeds(seed, count, trace) ? 0 : 1;
}
