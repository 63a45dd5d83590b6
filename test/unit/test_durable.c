/* The host over a journal that fails, delays and crashes, with machines so small that what must hold can be said:
 * a run is the list of the operations applied to it, one row of its history each. */
#include "durable/host.h"
#include "os/fault.h"
#include "sim/sim_journal.h"
#include "sim/sim_world.h"
#include "tap.h"

enum { IDS = 4, OPS_MAX = 400, ROW = 8 };

struct toy {
    uint64_t rows;  /* of its history */
    int64_t due_ms; /* JOURNAL_NEVER, or a timer */
    uint32_t ready; /* errands that are not done */
    uint32_t closed, forget_at_due;
    int64_t last_ns;
};

enum op_type { OP_ADD, OP_CHAIN, OP_TIMER, OP_READY, OP_CLEAR, OP_LOOK, OP_NAMED };
enum op_end { OP_OPEN, OP_DONE, OP_REFUSED, OP_UNKNOWN };

struct world;
struct op {
    struct durable_input in;
    struct durable_after after;
    struct world *world;
    enum op_type type;
    enum op_end end;
    uint32_t id, number;
    uint32_t applied;        /* times */
    bool there, there_on_disk, after_came;
    int64_t due_ms;
    struct uuid run; /* of the run it made, or names */
    uint32_t row_at; /* so many rows the run had */
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
    struct loop_timer tick, errands;
    struct op *ops[OPS_MAX];
    uint32_t op_count, ops_max, errand_at;
    bool errand[IDS]; /* made known by `committed`, void when dropped */
    bool ready, broken, order_broken;
    uint32_t dues, in_turn;
    char ids[IDS][8];
};

#define EXPECT(w, cond)                                                     \
    do {                                                                    \
        if (!(cond)) {                                                      \
            if (!(w)->broken)                                               \
                printf("# %s:%d: expected %s\n", __FILE__, __LINE__, #cond); \
            (w)->broken = true;                                             \
        }                                                                   \
    } while (0)

/* ---- the machine -------------------------------------------------------------------------- */

static int toy_open(void *ctx, const struct journal_key *key, struct str state, void **ret, struct err *e)
{
    struct toy *t;
    (void)ctx;
    (void)key;
    if (state.size != sizeof *t)
        return err_set(e, CODE_DATA_LOSS, "toy: %zu bytes", state.size);
    t = xcalloc(1, sizeof *t);
    memcpy(t, state.at, sizeof *t);
    *ret = t;
    return 0;
}
static void toy_free(void *ctx, void *machine)
{
    (void)ctx;
    free(machine);
}
static void toy_pack(const void *machine, struct buf *into) { buf_append(into, machine, sizeof(struct toy)); }
static struct durable_standing toy_standing(const void *machine)
{
    const struct toy *t = machine;
    return (struct durable_standing){ !t->closed, t->ready > 0, t->due_ms };
}
static void toy_index(void *ctx, const void *machine, struct journal_index *into)
{
    (void)ctx;
    *into = (struct journal_index){ .status = ((const struct toy *)machine)->closed, .type = STR("toy") };
}
static size_t toy_bytes(const void *machine)
{
    (void)machine;
    return sizeof(struct toy);
}

static void toy_row(struct toy *t, struct durable_turn *turn, uint32_t what)
{
    char *row = xcalloc(1, ROW);
    memcpy(row, &what, sizeof what);
    durable_turn_row(turn, ++t->rows, 1, row, ROW);
    turn->changed = true;
}

static void toy_see(struct world *w, struct toy *t, const struct durable_turn *turn)
{
    EXPECT(w, turn->now_ns >= t->last_ns);
    t->last_ns = turn->now_ns;
}

static void toy_due(void *ctx, void *machine, struct durable_turn *turn)
{
    struct world *w = ctx;
    struct toy *t = machine;
    toy_see(w, t, turn);
    EXPECT(w, t->due_ms != JOURNAL_NEVER && t->due_ms <= turn->now_ns / 1000000); /* never early, never without cause */
    w->dues++;
    t->due_ms = JOURNAL_NEVER;
    if (t->forget_at_due)
        turn->forget = true;
    else
        toy_row(t, turn, UINT32_MAX);
}

static void toy_settle(void *ctx, void *machine, struct durable_turn *turn)
{
    toy_see(ctx, machine, turn);
}

static uint32_t id_of(const struct journal_key *key) { return (uint32_t)(key->id.at[1] - '0'); }

static void toy_committed(void *ctx, const struct journal_key *key, void *machine)
{
    struct world *w = ctx;
    const struct toy *t = machine;
    const struct sim_row *row = sim_disk_find(&w->disk, key);
    EXPECT(w, row != NULL);
    struct toy on_disk;
    if (row) /* what is in memory is what is on disk (but when it was looked at last) */
        memcpy(&on_disk, row->state + row->state_size - sizeof on_disk, sizeof on_disk);
    EXPECT(w, row && on_disk.rows == t->rows && on_disk.due_ms == t->due_ms && on_disk.ready == t->ready);
    if (t->ready)
        w->errand[id_of(key)] = true;
}
static void toy_dropped(void *ctx, const struct journal_key *key) { ((struct world *)ctx)->errand[id_of(key)] = false; }

static struct durable_kind toy_kind(struct world *w)
{
    return (struct durable_kind){
        .kind = JOURNAL_WORKFLOW, .ctx = w, .open = toy_open, .free = toy_free, .pack = toy_pack,
        .standing = toy_standing, .index = toy_index, .bytes = toy_bytes, .due = toy_due, .settle = toy_settle,
        .committed = toy_committed, .dropped = toy_dropped,
    };
}

/* ---- inputs ------------------------------------------------------------------------------- */

static void op_after(struct durable_after *a, int r, const struct err *e)
{
    struct op *op = CONTAINER_OF(a, struct op, after);
    (void)e;
    if (r < 0 && op->end == OP_OPEN)
        return; /* void: it is applied again */
    EXPECT(op->world, (r == 0) == (op->end == OP_DONE)); /* and it comes behind `done` */
    op->after_came = true;
}

static void op_create(struct op *op, struct durable_turn *turn, uint32_t ready)
{
    struct world *w = op->world;
    struct toy *t = xcalloc(1, sizeof *t);
    t->due_ms = JOURNAL_NEVER;
    t->ready = ready;
    uint64_t a = rng_next(&w->rng), b = rng_next(&w->rng) | 1;
    memcpy(op->run.at, &a, sizeof a);
    memcpy(op->run.at + sizeof a, &b, sizeof b);
    struct durable_turn *own = durable_turn_create(turn, &op->run, t);
    toy_see(w, t, own);
    toy_row(t, own, op->number);
    op->row_at = 1;
}

static void op_apply(struct durable_input *in, const struct durable_view *v)
{
    struct op *op = CONTAINER_OF(in, struct op, in);
    struct world *w = op->world;
    struct toy *t = v->machine;
    op->applied++;
    op->there = t != NULL;
    op->there_on_disk = sim_disk_find(&w->disk, &in->key) != NULL;
    EXPECT(w, !t == !v->turn && !v->current == !v->current_turn && !v->current == !!v->fresh);
    EXPECT(w, !v->current || v->current_turn->now_ns / 1000000 >= 0);
    if (t)
        toy_see(w, t, v->turn);
    if (op->type == OP_LOOK || op->type == OP_NAMED)
        return;
    struct durable_turn *turn = t ? v->turn : v->fresh;
    op->after = (struct durable_after){ .run = op_after };
    durable_turn_after(turn, &op->after);
    if (op->type == OP_CLEAR) {
        if (t && t->ready) {
            t->ready = 0;
            toy_row(t, turn, op->number);
        }
        return;
    }
    if (!t || op->type == OP_CHAIN) {
        uint32_t ready = t ? t->ready : 0;
        if (t) {
            t->closed = 1;
            t->ready = 0;
            turn->changed = turn->indexed = true;
        }
        op_create(op, turn, ready);
        return;
    }
    if (op->type == OP_TIMER)
        t->due_ms = op->due_ms = turn->now_ns / 1000000 + (int64_t)rng_below(&w->rng, 5000);
    if (op->type == OP_READY)
        t->ready++;
    toy_row(t, turn, op->number);
    op->run = v->run;
    op->row_at = (uint32_t)t->rows;
}

static bool disk_has(const struct world *w, const struct op *op)
{
    for (size_t i = 0; i < w->disk.count; i++)
        for (size_t k = 0; k < w->disk.rows[i]->piece_count; k++)
            if (memcmp(w->disk.rows[i]->pieces[k].bytes, &op->number, sizeof op->number) == 0)
                return true;
    return false;
}

static void op_done(struct durable_input *in, int r, const struct err *e)
{
    struct op *op = CONTAINER_OF(in, struct op, in);
    struct world *w = op->world;
    EXPECT(w, op->end == OP_OPEN);
    EXPECT(w, w->in_turn == 0 || !e || e->text[0]);
    op->end = r == 0 ? OP_DONE : r == -CODE_CANCELLED ? OP_UNKNOWN : OP_REFUSED;
    if (r == 0 && op->row_at > 0)
        EXPECT(w, disk_has(w, op)); /* told outside only what is on disk */
    if (r < 0 && op->type == OP_CLEAR)
        w->errand[op->id] = true; /* an errand is tried until it is done */
    EXPECT(w, r != 0 || op->there == op->there_on_disk);
}

static struct op *op_new(struct world *w, enum op_type type, uint32_t id)
{
    struct op *op = xcalloc(1, sizeof *op);
    op->world = w;
    op->type = type;
    op->id = id;
    op->number = w->op_count + 1;
    op->in = (struct durable_input){
        .key = { JOURNAL_WORKFLOW, STR("ns"), str_of(w->ids[id]), { { 0 } } }, .apply = op_apply, .done = op_done
    };
    w->ops[w->op_count++] = op;
    return op;
}

/* ---- the world ---------------------------------------------------------------------------- */

static void on_ready(void *ctx, int r, const struct err *e)
{
    struct world *w = ctx;
    (void)e;
    EXPECT(w, !w->ready);
    w->ready = r == 0;
}

static void world_up(struct world *w)
{
    struct err e;
    struct durable_kind kind = toy_kind(w);
    static _Thread_local struct durable_kind kept;
    kept = kind;
    ASSERT(sim_loop_open(&w->clock, &w->loop, &e) == 0);
    w->journal = sim_journal_new(&w->disk, w->loop, &w->rng, &w->faults);
    struct durable_world d = { .loop = w->loop, .journal = w->journal, .limits = &w->limits,
                               .wall_ns = sim_wall_ns, .ctx = &w->clock, .seed = rng_next(&w->rng) };
    ASSERT(durable_host_open(&d, &kept, 1, &w->host, &e) == 0);
    memset(w->errand, 0, sizeof w->errand);
    w->ready = false;
    w->tick.node = w->errands.node = (struct heap_node){ 0 };
}

static void world_down(struct world *w, bool crash)
{
    if (crash)
        sim_journal_crash(w->journal);
    else
        journal_free(w->journal);
    durable_host_free(w->host);
    loop_free(w->loop);
}

static void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){ .rng = { seed } };
    limits_default(&w->limits);
    w->clock = (struct sim_clock){ .now_us = 1000000, .wall_offset_ns = INT64_C(1700000000000000000), .rng = &w->rng };
    w->faults = (struct sim_faults){ .commit_us = 1000, .read_us = 1000 };
    for (uint32_t i = 0; i < IDS; i++)
        snprintf(w->ids[i], sizeof w->ids[i], "i%u", i);
}

static void world_done(struct world *w)
{
    for (uint32_t i = 0; i < w->op_count; i++)
        free(w->ops[i]);
    sim_disk_done(&w->disk);
}

/* Until nothing is left to do but to look at the clock, or `ms` passed. */
static void world_run(struct world *w, uint64_t ms)
{
    struct err e;
    uint64_t end_us = w->clock.now_us + ms * 1000;
    w->clock.stuck = false;
    while (w->clock.now_us < end_us && !w->clock.stuck && !w->broken) {
        w->in_turn++;
        ASSERT(loop_turn(w->loop, true, &e) >= 0);
        w->in_turn--;
        durable_check(w->host);
    }
}

static struct op *world_do(struct world *w, enum op_type type, uint32_t id, bool creates)
{
    struct op *op = op_new(w, type, id);
    op->in.creates = creates;
    durable_send(w->host, &op->in);
    return op;
}

#define WORLD(w)          \
    struct world w;       \
    world_init(&w, 1);    \
    world_up(&w)

static void world_end(struct world *w)
{
    world_down(w, false);
    world_done(w);
}

/* ---- rules -------------------------------------------------------------------------------- */

TEST(a_start_needs_no_read_and_is_one_commit)
{
    WORLD(w);
    struct op *op = world_do(&w, OP_ADD, 0, true);
    CHECK_EQ(op->end, OP_OPEN);
    world_run(&w, 100);
    struct durable_counts c;
    durable_counts(w.host, &c);
    CHECK(!w.broken && op->end == OP_DONE && op->after_came);
    CHECK_EQ(c.loads, 0);
    CHECK_EQ(w.disk.commits, 1);
    CHECK_EQ(op->applied, 1);
    world_end(&w);
}

TEST(a_start_over_an_id_that_exists_is_applied_again_to_what_is_there)
{
    WORLD(w);
    world_do(&w, OP_ADD, 0, true);
    world_run(&w, 100);
    world_down(&w, true);
    world_up(&w);
    struct op *op = world_do(&w, OP_ADD, 0, true), *look = world_do(&w, OP_LOOK, 0, false);
    world_run(&w, 100);
    struct durable_counts c;
    durable_counts(w.host, &c);
    CHECK(!w.broken && op->end == OP_DONE && op->there && look->there);
    CHECK_EQ(op->applied, 2);
    CHECK_EQ(op->row_at, 2);
    CHECK_EQ(c.creates_retried, 1);
    CHECK_EQ(w.disk.count, 1);
    world_end(&w);
}

TEST(what_a_guess_refused_is_looked_at_again_before_it_is_told)
{
    WORLD(w);
    world_do(&w, OP_ADD, 0, true);
    world_run(&w, 100);
    world_down(&w, true);
    world_up(&w);
    struct op *op = world_do(&w, OP_LOOK, 0, true);
    world_run(&w, 100);
    CHECK(!w.broken && op->end == OP_DONE && op->there);
    world_end(&w);
}

TEST(what_comes_during_a_commit_is_one_turn_after_it)
{
    WORLD(w);
    world_do(&w, OP_ADD, 0, true);
    world_run(&w, 100);
    world_do(&w, OP_ADD, 0, false);
    world_run(&w, 0); /* nothing passes */
    struct err e;
    CHECK(loop_turn(w.loop, false, &e) >= 0); /* its commit is under way */
    for (int i = 0; i < 10; i++)
        world_do(&w, OP_ADD, 0, false);
    world_run(&w, 100);
    CHECK(!w.broken);
    CHECK_EQ(w.disk.commits, 3);
    CHECK_EQ(w.disk.rows[0]->piece_count, 12);
    world_end(&w);
}

TEST(an_input_may_name_any_run_and_sees_the_current_one_beside_it)
{
    WORLD(w);
    struct op *first = world_do(&w, OP_ADD, 0, true);
    world_do(&w, OP_CHAIN, 0, false);
    world_run(&w, 100);
    world_down(&w, true);
    world_up(&w);
    struct op *named = op_new(&w, OP_NAMED, 0), *unknown = op_new(&w, OP_NAMED, 0);
    named->in.key.run = first->run;
    unknown->in.key.run.at[0] = 7;
    durable_send(w.host, &named->in);
    durable_send(w.host, &unknown->in);
    world_run(&w, 100);
    CHECK(!w.broken && named->end == OP_DONE && named->there && unknown->end == OP_DONE && !unknown->there);
    CHECK_EQ(w.disk.count, 2);
    world_end(&w);
}

TEST(too_many_inputs_of_one_id_are_refused_and_others_go_on)
{
    WORLD(w);
    w.limits.durable_waiting_max = 16;
    for (int i = 0; i < 20; i++)
        world_do(&w, OP_ADD, 0, true);
    struct op *other = world_do(&w, OP_ADD, 1, true);
    world_run(&w, 100);
    int done = 0, refused = 0;
    for (uint32_t i = 0; i < 20; i++) {
        done += w.ops[i]->end == OP_DONE;
        refused += w.ops[i]->end == OP_REFUSED;
    }
    CHECK(!w.broken && other->end == OP_DONE);
    CHECK_EQ(done, 16);
    CHECK_EQ(refused, 4);
    world_end(&w);
}

TEST(an_input_that_waits_can_be_taken_back_and_one_under_way_cannot)
{
    WORLD(w);
    struct err e;
    world_do(&w, OP_ADD, 0, true);
    CHECK(loop_turn(w.loop, false, &e) >= 0);
    struct op *waits = world_do(&w, OP_ADD, 0, false);
    CHECK(!durable_take_back(w.host, &w.ops[0]->in));
    CHECK(durable_take_back(w.host, &waits->in));
    world_run(&w, 100);
    CHECK(!w.broken && w.ops[0]->end == OP_DONE && waits->end == OP_OPEN);
    CHECK_EQ(w.disk.rows[0]->piece_count, 1);
    world_end(&w);
}

TEST(a_failed_commit_refuses_its_inputs_and_the_next_sees_the_disk)
{
    WORLD(w);
    world_do(&w, OP_ADD, 0, true);
    world_run(&w, 100);
    w.faults.outage_permille = 1000;
    w.faults.outage_us = 1000000;
    struct op *lost = world_do(&w, OP_ADD, 0, false);
    struct err e;
    for (int i = 0; i < 1000 && lost->end == OP_OPEN; i++)
        CHECK(loop_turn(w.loop, true, &e) >= 0);
    bool was_lost = lost->end == OP_REFUSED;
    w.faults.outage_permille = 0;
    world_do(&w, OP_LOOK, 1, false); /* something to pass the time with */
    w.clock.now_us += 1000000;
    struct op *next = world_do(&w, OP_ADD, 0, false);
    world_run(&w, 100);
    CHECK(!w.broken && was_lost && next->end == OP_DONE);
    CHECK_EQ(next->row_at, 2);
    CHECK(!disk_has(&w, lost));
    world_end(&w);
}

static uint32_t read_count, read_first;
static int read_r;
static void on_read(struct journal_read *q, int r, const struct journal_row *rows, size_t count, const struct err *e)
{
    (void)q;
    (void)e;
    read_r = r;
    read_count = (uint32_t)count;
    read_first = count ? (uint32_t)rows[0].first : 0;
}

TEST(a_history_is_read_from_memory_while_it_is_there)
{
    WORLD(w);
    struct err e;
    for (int i = 0; i < 5; i++)
        world_do(&w, OP_ADD, 0, true);
    world_run(&w, 100);
    struct durable_history q = { .read = { .key = w.ops[0]->in.key, .from = 2, .to = 5, .bytes_max = 1000, .on_done = on_read } };
    q.read.key.run = w.ops[0]->run;
    struct durable_counts c;
    for (int life = 0; life < 2; life++) {
        read_count = 0;
        CHECK_EQ(durable_read(w.host, &q, &e), 0);
        CHECK_EQ(read_count, 0);
        world_run(&w, 100);
        CHECK_EQ(read_r, 0);
        CHECK_EQ(read_count, 3);
        CHECK_EQ(read_first, 2);
        durable_counts(w.host, &c);
        CHECK_EQ(c.reads_cached, life == 0);
        world_down(&w, true);
        world_up(&w);
    }
    q.read.backwards = true;
    q.read.bytes_max = ROW; /* the one that goes past it is the last */
    CHECK_EQ(durable_read(w.host, &q, &e), 0);
    world_run(&w, 100);
    CHECK_EQ(read_count, 2);
    CHECK_EQ(read_first, 4);
    CHECK_EQ(durable_read(w.host, &q, &e), 0);
    world_end(&w);
    CHECK_EQ(read_r, -CODE_CANCELLED);
}

TEST(more_machines_than_fit_leave_memory_and_come_back)
{
    WORLD(w);
    w.limits.durable_memory_bytes = 1;
    for (int i = 0; i < 20; i++) {
        world_do(&w, OP_ADD, (uint32_t)i % IDS, true);
        world_run(&w, 5);
    }
    struct durable_counts c;
    world_run(&w, 100);
    durable_counts(w.host, &c);
    CHECK(!w.broken && c.evictions > 0);
    CHECK_EQ(c.machines, 0);
    CHECK_EQ(w.disk.count, IDS);
    for (uint32_t i = 0; i < w.disk.count; i++)
        CHECK_EQ(w.disk.rows[i]->piece_count, 5);
    world_end(&w);
}

TEST(a_run_that_is_forgotten_leaves_nothing)
{
    WORLD(w);
    struct err e;
    world_do(&w, OP_ADD, 0, true);
    world_do(&w, OP_TIMER, 0, false);
    world_run(&w, 100);
    struct toy t;
    char *on_disk = w.disk.rows[0]->state + w.disk.rows[0]->state_size - sizeof t;
    memcpy(&t, on_disk, sizeof t);
    t.forget_at_due = 1;
    memcpy(on_disk, &t, sizeof t);
    world_down(&w, true);
    world_up(&w);
    CHECK_EQ(durable_host_start(w.host, on_ready, &w, &e), 0);
    world_run(&w, 20000);
    CHECK(!w.broken && w.ready);
    CHECK_EQ(w.dues, 1);
    CHECK_EQ(w.disk.count, 0);
    struct op *look = world_do(&w, OP_LOOK, 0, false);
    world_run(&w, 100);
    CHECK(look->end == OP_DONE && !look->there);
    world_end(&w);
}

TEST(what_fails_while_it_opens_or_starts_leaves_nothing)
{
    WORLD(w);
    struct err e;
    struct durable_host *h = NULL;
    struct durable_world d = { .loop = w.loop, .journal = w.journal, .limits = &w.limits,
                               .wall_ns = sim_wall_ns, .ctx = &w.clock };
    struct durable_kind kind = toy_kind(&w);
    fault_arm(1);
    CHECK(durable_host_open(&d, &kind, 1, &h, &e) < 0);
    CHECK(!h && fault_fired());
    fault_arm(1);
    CHECK(durable_host_start(w.host, on_ready, &w, &e) < 0);
    fault_arm(0);
    CHECK_EQ(durable_host_start(w.host, on_ready, &w, &e), 0); /* it may be tried again */
    world_run(&w, 100);
    CHECK(w.ready);
    world_end(&w);
}

TEST(a_damaged_state_is_refused_and_told_and_others_go_on)
{
    WORLD(w);
    struct err e;
    world_do(&w, OP_READY, 0, true);
    world_do(&w, OP_READY, 0, false);
    world_do(&w, OP_ADD, 1, true);
    world_run(&w, 100);
    world_down(&w, true);
    sim_disk_find(&w.disk, &w.ops[0]->in.key)->state_size -= 3;
    world_up(&w);
    CHECK_EQ(durable_host_start(w.host, on_ready, &w, &e), 0);
    struct op *bad = world_do(&w, OP_ADD, 0, false), *good = world_do(&w, OP_ADD, 1, false);
    world_run(&w, 100);
    CHECK(w.ready && bad->end == OP_REFUSED && good->end == OP_DONE);
    world_end(&w);
}

/* ---- any life ----------------------------------------------------------------------------- */

static void on_errands(struct loop_timer *t)
{
    struct world *w = CONTAINER_OF(t, struct world, errands);
    for (uint32_t i = 0; i < IDS; i++) {
        if (w->errand[i] && w->op_count < OPS_MAX) {
            w->errand[i] = false;
            world_do(w, OP_CLEAR, i, false);
        }
    }
    loop_after(w->loop, &w->errands, 1 + rng_below(&w->rng, 100000));
}

static void on_tick(struct loop_timer *t)
{
    static const enum op_type types[] = { OP_ADD, OP_ADD, OP_ADD, OP_CHAIN, OP_TIMER, OP_TIMER, OP_READY, OP_LOOK, OP_NAMED };
    struct world *w = CONTAINER_OF(t, struct world, tick);
    for (uint64_t n = rng_below(&w->rng, 4); n > 0 && w->op_count < w->ops_max; n--) {
        struct op *op = op_new(w, types[rng_below(&w->rng, COUNT_OF(types))], (uint32_t)rng_below(&w->rng, IDS));
        op->in.creates = rng_chance(&w->rng, 30);
        if (op->type == OP_NAMED && w->disk.count > 0) {
            const struct sim_row *row = w->disk.rows[rng_below(&w->rng, w->disk.count)];
            op->in.key.id = str_of(w->ids[id_of(&row->key)]);
            op->in.key.run = row->key.run;
        }
        durable_send(w->host, &op->in);
        if (rng_chance(&w->rng, 3) && durable_take_back(w->host, &op->in))
            op->end = OP_REFUSED;
    }
    if (w->ops_max > 0 && rng_chance(&w->rng, 2))
        w->clock.wall_offset_ns += (int64_t)rng_below(&w->rng, 20000000000) - 10000000000;
    loop_after(w->loop, &w->tick, rng_below(&w->rng, 3000));
}

static void life(struct world *w)
{
    struct err e;
    world_up(w);
    w->tick.on_due = on_tick;
    w->errands.on_due = on_errands;
    loop_after(w->loop, &w->tick, 0);
    loop_after(w->loop, &w->errands, 0);
    ASSERT(durable_host_start(w->host, on_ready, w, &e) == 0);
}

/* Of each id the rows of all its runs, oldest first: every operation that was acknowledged once, in their order. */
static void world_judge(struct world *w)
{
    uint32_t last[IDS] = { 0 }, *seen = xcalloc(OPS_MAX + 2, sizeof *seen);
    for (uint64_t age = 1; age <= w->disk.age_next; age++) {
        const struct sim_row *row = NULL;
        for (size_t i = 0; i < w->disk.count; i++)
            if (w->disk.rows[i]->age == age)
                row = w->disk.rows[i];
        for (size_t k = 0; row && k < row->piece_count; k++) {
            uint32_t number;
            memcpy(&number, row->pieces[k].bytes, sizeof number);
            if (number == UINT32_MAX)
                continue;
            EXPECT(w, number >= 1 && number <= w->op_count && w->ops[number - 1]->id == id_of(&row->key));
            EXPECT(w, number > last[id_of(&row->key)]);
            last[id_of(&row->key)] = number;
            seen[number]++;
        }
        EXPECT(w, !row || (row->due_ms == JOURNAL_NEVER && !row->ready)); /* always eventually */
    }
    for (uint32_t i = 0; i < w->op_count; i++) {
        const struct op *op = w->ops[i];
        EXPECT(w, op->end != OP_OPEN);
        if (op->type == OP_LOOK || op->type == OP_NAMED || op->type == OP_CLEAR)
            continue;
        EXPECT(w, op->end != OP_DONE || (seen[op->number] == 1 && op->after_came));
        EXPECT(w, op->end != OP_REFUSED || seen[op->number] == 0);
    }
    free(seen);
}

static bool simulate(uint64_t seed)
{
    struct world w;
    struct err e;
    world_init(&w, seed);
    w.ops_max = 20 + (uint32_t)rng_below(&w.rng, 200);
    w.limits.durable_memory_bytes = rng_chance(&w.rng, 50) ? rng_below(&w.rng, 2000) : 1000000;
    w.limits.durable_history_bytes = rng_below(&w.rng, 2000);
    w.limits.durable_due_window_ms = 1000;
    w.limits.durable_dues_max = rng_chance(&w.rng, 50) ? 2 : 1000;
    w.limits.durable_waiting_max = rng_chance(&w.rng, 20) ? 3 : 1000;
    w.clock.late_us = (uint32_t)rng_below(&w.rng, 1000);
    uint32_t crash = (uint32_t)rng_below(&w.rng, 4);
    w.faults = (struct sim_faults){
        .commit_us = (uint32_t)rng_below(&w.rng, 20000), .read_us = (uint32_t)rng_below(&w.rng, 20000),
        .outage_permille = (uint32_t)rng_below(&w.rng, 30), .outage_us = rng_below(&w.rng, 100000),
        .refuse_permille = (uint32_t)rng_below(&w.rng, 50), .read_fail_permille = (uint32_t)rng_below(&w.rng, 50),
    };
    life(&w);
    for (uint32_t i = 0; i < 2000 && w.op_count < w.ops_max && !w.broken; i++) {
        ASSERT(loop_turn(w.loop, true, &e) >= 0);
        durable_check(w.host);
        if (rng_below(&w.rng, 400) < crash) {
            world_down(&w, true);
            life(&w);
        }
    }
    w.ops_max = 0;
    w.faults.outage_permille = w.faults.refuse_permille = w.faults.read_fail_permille = 0;
    if (rng_chance(&w.rng, 50)) { /* a start whose reads fail gives up, and is for its owner to repeat */
        world_down(&w, true);
        life(&w);
    } else if (!w.ready) {
        world_down(&w, false);
        life(&w);
    }
    w.clock.wall_offset_ns = INT64_C(1700002000000000000); /* set right again: no timer is later */
    world_run(&w, 60000);
    EXPECT(&w, w.ready);
    for (uint32_t i = 0; i < IDS; i++)
        EXPECT(&w, !w.errand[i] || w.op_count >= OPS_MAX);
    world_down(&w, false);
    world_judge(&w);
    world_done(&w);
    return !w.broken;
}

TEST(any_life_has_every_acknowledged_input_once_in_order_and_every_timer)
{
    const char *one = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1, count = one ? 1 : many ? strtoull(many, NULL, 10) : 300;
    for (uint64_t seed = first; seed < first + count; seed++)
        if (!simulate(seed))
            FAIL("seed %" PRIu64 "; again with SEED=%" PRIu64, seed, seed);
}

TEST_MAIN()
