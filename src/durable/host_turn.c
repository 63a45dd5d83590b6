/* host_turn.c -- one turn of an id: what is due, then the inputs that wait, are applied; then all of it settles. */
#include "durable/host_impl.h"

#include <stdlib.h>

enum { ENTERED_MAX = JOURNAL_WRITES_MAX - 2 - DURABLE_RUNS_MAX }; /* then no input may come that adds to it */

/* ---- what machines say -------------------------------------------------------------------- */

void durable_turn_row(struct durable_turn *t, uint64_t first, uint32_t count, char *take_bytes,
                      size_t size)
{
    ASSERT(first > 0 && count > 0 && (!t->slot || t != &t->slot->fresh)); /* no slot: of a machine that is being made */
    ASSERT(t->row_count == 0 || first >= t->rows[t->row_count - 1].first + t->rows[t->row_count - 1].count);
    if (t->row_count == t->row_capacity) {
        t->row_capacity = t->row_capacity ? t->row_capacity * 2 : 4;
        t->rows = xrealloc(t->rows, t->row_capacity, sizeof *t->rows);
    }
    t->rows[t->row_count++] = (struct durable_row){ first, count, take_bytes, size };
    t->changed = true;
}

void durable_turn_after(struct durable_turn *t, struct durable_after *a)
{
    ASSERT(a->run);
    list_push(&t->afters, &a->node);
}

static void turn_begin(struct durable_slot *s, struct durable_turn *t)
{
    *t = (struct durable_turn){ .now_ns = s->now_ns, .random = &s->host->rng, .slot = s };
    list_init(&t->afters);
}

static struct durable_turn *entity_enter(struct entity *n)
{
    if (n->in_turn)
        return &n->turn;
    turn_begin(n->slot, &n->turn);
    n->in_turn = true;
    list_push(&n->slot->turn, &n->turn_node);
    return &n->turn;
}

struct durable_turn *durable_turn_create(struct durable_turn *t, const struct uuid *run,
                                         void *take_machine)
{
    struct durable_slot *s = t->slot;
    ASSERT(s->created < DURABLE_RUNS_MAX && take_machine);
    struct entity *n = entity_add(s, run);
    n->machine = take_machine;
    s->host->counts.machines++;
    s->created++;
    return entity_enter(n);
}

/* ---- the turn ----------------------------------------------------------------------------- */

bool entity_due_now(const struct entity *n, int64_t now_ns)
{
    return n->machine && n->due_ms <= now_ns / 1000000 && n->quiet_ms <= now_ns / 1000000;
}

int64_t slot_now_ns(const struct durable_slot *s)
{
    int64_t now_ns = host_wall_ns(s->host);
    LIST_EACH(&s->entities, node, tmp) {
        const struct entity *n = CONTAINER_OF(node, struct entity, node);
        now_ns = MAX(now_ns, n->now_ns);
    }
    return now_ns;
}

static void run_dues(struct durable_slot *s)
{
    const struct durable_kind *kind = s->kind;
    LIST_EACH(&s->entities, node, tmp) {
        struct entity *n = CONTAINER_OF(node, struct entity, node);
        if (n->machine && n->due_came && !entity_due_now(n, s->now_ns)) {
            n->due_came = false; /* it named another time since */
            due_set(n, n->due_ms);
        }
        if (s->created > 0 || s->turn.count >= ENTERED_MAX || !entity_due_now(n, s->now_ns))
            continue;
        n->quiet_ms = s->now_ns / 1000000 + 1;
        kind->due(kind->ctx, n->machine, entity_enter(n));
        n->due_came = false;
    }
}

static void run_input(struct durable_slot *s, struct durable_input *in)
{
    struct durable_view v = { .run = in->key.run };
    if (!s->current_known) {
        s->guessed = true;
    } else if (!run_none(&s->current)) {
        struct entity *n = entity_find(s, &s->current);
        v.current = n->machine;
        v.current_run = s->current;
        v.current_turn = entity_enter(n);
    }
    if (run_none(&v.run) || run_same(&v.run, &v.current_run)) {
        v.run = v.current_run;
        v.machine = v.current;
        v.turn = v.current_turn;
    } else {
        struct entity *n = entity_find(s, &v.run);
        v.machine = n ? n->machine : NULL;
        v.turn = v.machine ? entity_enter(n) : NULL;
    }
    v.fresh = v.current ? NULL : &s->fresh;
    in->apply(in, &v);
}

static void run_inputs(struct durable_slot *s)
{
    struct uuid run;
    /* Behind a run that was just made the next input waits for the next turn: what it may do then is what it
     * would see after a crash. */
    while (s->waiting.count > 0 && s->created == 0 && !s->guessed && s->turn.count < ENTERED_MAX) {
        struct durable_input *in = CONTAINER_OF(list_first(&s->waiting), struct durable_input, node);
        if (!slot_knows(s, in, &run))
            return;
        list_remove(&s->waiting, &in->node);
        s->host->counts.waiting--;
        s->host->counts.inputs++;
        in->applied = true;
        list_push(&s->applied, &in->node);
        run_input(s, in);
    }
}

void turn_run(struct durable_slot *s)
{
    const struct durable_kind *kind = s->kind;
    s->state = SLOT_COMMITTING;
    s->host->counts.turns++;
    s->created = 0;
    s->guessed = false;
    s->now_ns = slot_now_ns(s);
    turn_begin(s, &s->fresh);
    run_dues(s);
    run_inputs(s);
    LIST_EACH(&s->turn, node, tmp) {
        struct entity *n = CONTAINER_OF(node, struct entity, turn_node);
        if (kind->settle && !n->turn.forget)
            kind->settle(kind->ctx, n->machine, &n->turn);
    }
    turn_commit(s);
}
