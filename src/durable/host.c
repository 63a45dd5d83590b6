#include "durable/host.h"
#include "durable/host_impl.h"
#include "os/fault.h"

#include <stdlib.h>

enum { SLOTS_PER_TURN = 256 }; /* of the loop: what is left is done in the next, so that others come to theirs */

int64_t host_wall_ns(const struct durable_host *h) { return h->world.wall_ns(h->world.ctx); }

void host_soon(struct durable_host *h) { loop_defer(h->world.loop, &h->task); }

/* ---- inputs ------------------------------------------------------------------------------- */

static void refuse_later(struct durable_host *h, struct durable_input *in, enum code code)
{
    in->refused = code;
    list_push(&h->refused, &in->node);
    host_soon(h);
}

static void input_refuse(struct durable_host *h, struct durable_input *in)
{
    struct err e;
    int r;
    if (in->refused == CODE_CANCELLED)
        r = err_set(&e, CODE_CANCELLED, STR_FMT ": hob is stopping; ask again", STR_ARG(in->key.id));
    else
        r = err_set(&e, CODE_EXHAUSTED,
                    STR_FMT ": too much waits for its turn already (%llu inputs of all, at most %llu; of one id "
                            "at most %llu); try again later",
                    STR_ARG(in->key.id), (unsigned long long)h->counts.waiting,
                    (unsigned long long)h->world.limits->durable_waiting_all_max,
                    (unsigned long long)h->world.limits->durable_waiting_max);
    in->done(in, r, &e);
}

void durable_send(struct durable_host *h, struct durable_input *in)
{
    const struct limits *limits = h->world.limits;
    ASSERT(!list_node_linked(&in->node) && in->apply && in->done);
    in->applied = false;
    in->refused = CODE_OK;
    if (h->closing) {
        refuse_later(h, in, CODE_CANCELLED);
        return;
    }
    struct durable_slot *s = slot_get(h, &in->key);
    if (s->waiting.count >= limits->durable_waiting_max ||
        h->counts.waiting >= limits->durable_waiting_all_max) {
        h->counts.refused++;
        slot_soon(s); /* it may have been made for this alone */
        refuse_later(h, in, CODE_EXHAUSTED);
        return;
    }
    list_push(&s->waiting, &in->node);
    h->counts.waiting++;
    slot_soon(s);
}

bool durable_take_back(struct durable_host *h, struct durable_input *in)
{
    if (in->applied || in->refused || !list_node_linked(&in->node))
        return false;
    struct durable_slot *s = slot_find(h, &in->key);
    ASSERT(s && s->waiting.count > 0);
    list_remove(&s->waiting, &in->node);
    h->counts.waiting--;
    slot_soon(s);
    return true;
}

static void on_task(struct loop_task *t)
{
    struct durable_host *h = CONTAINER_OF(t, struct durable_host, task);
    for (uint32_t left = h->refused.count; left > 0; left--) {
        struct durable_input *in = CONTAINER_OF(list_first(&h->refused), struct durable_input, node);
        list_remove(&h->refused, &in->node);
        input_refuse(h, in);
    }
    for (uint32_t left = MIN(h->soon.count, (uint32_t)SLOTS_PER_TURN); left > 0; left--) {
        struct durable_slot *s = CONTAINER_OF(list_first(&h->soon), struct durable_slot, soon);
        list_remove(&h->soon, &s->soon);
        slot_step(s);
    }
    slots_evict(h);
    if (h->soon.count > 0 || h->refused.count > 0)
        host_soon(h);
}

/* ---- life --------------------------------------------------------------------------------- */

int durable_host_open(const struct durable_world *w, const struct durable_kind *kinds,
                      size_t kind_count, struct durable_host **ret, struct err *e)
{
    if (fault_hit("durable host"))
        return err_sys(e, "durable host");
    struct durable_host *h = xcalloc(1, sizeof *h);
    h->world = *w;
    h->rng = (struct rng){ w->seed };
    map_init(&h->slots, rng_next(&h->rng));
    list_init(&h->soon);
    list_init(&h->idle);
    list_init(&h->refused);
    list_init(&h->cached);
    list_init(&h->reads);
    heap_init(&h->dues);
    h->task.run = on_task;
    h->clock.on_due = due_on_clock;
    h->start_task.run = start_on_task;
    h->kind_count = kind_count;
    h->scans = xcalloc(kind_count + 1, sizeof *h->scans);
    for (size_t i = 0; i < kind_count; i++)
        h->scans[i] = (struct due_scan){ .host = h, .kind = &kinds[i] };
    *ret = h;
    return 0;
}

int durable_host_start(struct durable_host *h, void (*on_ready)(void *ctx, int r, const struct err *e),
                       void *ctx, struct err *e)
{
    ASSERT(!h->started || h->start_failed);
    if (fault_hit("durable start"))
        return err_sys(e, "durable host: start");
    h->started = true;
    h->start_failed = false;
    h->on_ready = on_ready;
    h->on_ready_ctx = ctx;
    loop_defer(h->world.loop, &h->start_task);
    due_start(h);
    return 0;
}

void durable_host_free(struct durable_host *h)
{
    if (!h)
        return;
    h->closing = true;
    uint32_t at = 0;
    for (const struct map_slot *m; (m = map_next(&h->slots, &at)) != NULL;) {
        struct durable_slot *s = m->value;
        ASSERT(s->state == SLOT_IDLE); /* the journal is free: nothing is under way */
        for (struct list_node *n; (n = list_first(&s->waiting)) != NULL;) {
            list_remove(&s->waiting, n);
            h->counts.waiting--;
            refuse_later(h, CONTAINER_OF(n, struct durable_input, node), CODE_CANCELLED);
        }
    }
    /* `done` may send again: that is refused at once, and ends when nobody does. */
    for (struct list_node *n; (n = list_first(&h->refused)) != NULL;) {
        list_remove(&h->refused, n);
        input_refuse(h, CONTAINER_OF(n, struct durable_input, node));
    }
    reads_cancel(h);
    for (const struct map_slot *m; at = 0, (m = map_next(&h->slots, &at)) != NULL;)
        slot_free(m->value);
    loop_undefer(h->world.loop, &h->task);
    loop_undefer(h->world.loop, &h->start_task);
    loop_cancel(h->world.loop, &h->clock);
    heap_done(&h->dues);
    map_done(&h->slots);
    free(h->scans);
    free(h);
}

void durable_counts(const struct durable_host *h, struct durable_counts *ret)
{
    *ret = h->counts;
    ret->dues = h->dues.count;
}

/* ---- invariants --------------------------------------------------------------------------- */

static void entity_check(const struct entity *n, struct durable_counts *sums)
{
    const struct durable_slot *s = n->slot;
    bool turning = s->state == SLOT_COMMITTING || s->state == SLOT_EMITTING;
    ASSERT(!n->in_turn || (turning && n->machine));
    ASSERT(n->in_turn == list_node_linked(&n->turn_node));
    ASSERT(n->version > 0 || n->in_turn || !n->machine);
    ASSERT(!n->machine || !n->reload);
    ASSERT(n->machine || n->reload || n->due_came || heap_node_linked(&n->due) || n->of_start ||
           s->state != SLOT_IDLE);
    ASSERT(n->machine || n->rows.count == 0);
    if (n->machine && n->version > 0 && !n->in_turn && !n->due_came && n->due_ms < s->scan->from_ms)
        ASSERT(heap_node_linked(&n->due));
    ASSERT((n->rows.count > 0) == list_node_linked(&n->cached));
    sums->machines += n->machine != NULL;
    sums->machine_bytes += n->bytes;
    sums->dues += heap_node_linked(&n->due);
    uint64_t end = 0;
    LIST_EACH(&n->rows, node, tmp) {
        const struct durable_row *row = &CONTAINER_OF(node, struct cached_row, node)->row;
        ASSERT(end == 0 || row->first == end);
        end = row->first + row->count;
        sums->history_bytes += sizeof(struct cached_row) + row->size;
    }
}

void durable_check(const struct durable_host *h)
{
    struct durable_counts sums = { 0 };
    uint32_t at = 0, soon = 0, idle = 0, cached = 0;
    for (const struct map_slot *m; (m = map_next(&h->slots, &at)) != NULL;) {
        const struct durable_slot *s = m->value;
        bool machines = false;
        LIST_EACH(&s->entities, node, tmp) {
            const struct entity *n = CONTAINER_OF(node, struct entity, node);
            entity_check(n, &sums);
            machines |= n->machine != NULL;
            cached += n->rows.count > 0;
        }
        ASSERT(s->applied.count == 0 || s->state == SLOT_COMMITTING || s->state == SLOT_EMITTING);
        ASSERT(s->turn.count == 0 || s->state == SLOT_COMMITTING || s->state == SLOT_EMITTING);
        if (list_node_linked(&s->idle))
            ASSERT(s->state == SLOT_IDLE && s->waiting.count == 0 && machines);
        /* Nothing waits that nobody will look at. */
        ASSERT(s->waiting.count == 0 || s->state != SLOT_IDLE || list_node_linked(&s->soon));
        ASSERT(machines || s->state != SLOT_IDLE || s->entities.count > 0 || list_node_linked(&s->soon));
        sums.waiting += s->waiting.count;
        soon += list_node_linked(&s->soon);
        idle += list_node_linked(&s->idle);
    }
    ASSERT(soon == h->soon.count && idle == h->idle.count && cached == h->cached.count);
    ASSERT(sums.waiting == h->counts.waiting && sums.machines == h->counts.machines);
    ASSERT(sums.machine_bytes == h->counts.machine_bytes && sums.dues == h->dues.count);
    ASSERT(sums.history_bytes == h->counts.history_bytes);
}
