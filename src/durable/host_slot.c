#include "base/log.h"
#include "durable/host_impl.h"

#include <endian.h>
#include <stdlib.h>

/* ---- slots and entities ------------------------------------------------------------------- */

enum { TEXT_HEAD = 1 + sizeof(uint32_t) }; /* of a slot's text: its kind, and how long the namespace is */

static struct str slot_text(const struct journal_key *key)
{
    uint32_t ns_size = (uint32_t)key->ns.size;
    size_t size = TEXT_HEAD + key->ns.size + key->id.size;
    char *text = xcalloc(1, size + 1);
    text[0] = (char)key->kind;
    memcpy(text + 1, &ns_size, sizeof ns_size);
    if (key->ns.size)
        memcpy(text + TEXT_HEAD, key->ns.at, key->ns.size);
    if (key->id.size)
        memcpy(text + TEXT_HEAD + key->ns.size, key->id.at, key->id.size);
    return (struct str){ text, size };
}

static void text_free(struct str text)
{
    char *at = (char *)(uintptr_t)text.at;
    free(at);
}

struct durable_slot *slot_find(const struct durable_host *h, const struct journal_key *key)
{
    struct str text = slot_text(key);
    struct durable_slot *s = map_find(&h->slots, text);
    text_free(text);
    return s;
}

static void on_again(struct loop_timer *t)
{
    slot_soon(CONTAINER_OF(t, struct durable_slot, again));
}

struct durable_slot *slot_get(struct durable_host *h, const struct journal_key *key)
{
    struct str text = slot_text(key);
    struct durable_slot *s = map_find(&h->slots, text);
    if (s) {
        text_free(text);
        return s;
    }
    s = xcalloc(1, sizeof *s);
    s->host = h;
    for (size_t i = 0; i < h->kind_count; i++)
        if (h->scans[i].kind->kind == key->kind)
            s->scan = &h->scans[i];
    ASSERT(s->scan);
    s->kind = s->scan->kind;
    s->text = text;
    s->ns = (struct str){ text.at + TEXT_HEAD, key->ns.size };
    s->id = (struct str){ s->ns.at + key->ns.size, key->id.size };
    list_init(&s->waiting);
    list_init(&s->applied);
    list_init(&s->entities);
    list_init(&s->turn);
    s->again.on_due = on_again;
    map_put(&h->slots, text, s);
    return s;
}

void slot_free(struct durable_slot *s)
{
    struct durable_host *h = s->host;
    ASSERT(s->state == SLOT_IDLE && s->waiting.count == 0 && s->applied.count == 0);
    while (s->entities.count > 0)
        entity_remove(CONTAINER_OF(list_first(&s->entities), struct entity, node));
    if (list_node_linked(&s->soon))
        list_remove(&h->soon, &s->soon);
    if (list_node_linked(&s->idle))
        list_remove(&h->idle, &s->idle);
    loop_cancel(h->world.loop, &s->again);
    map_remove(&h->slots, s->text);
    text_free(s->text);
    free(s);
}

struct entity *entity_find(const struct durable_slot *s, const struct uuid *run)
{
    LIST_EACH(&s->entities, node, tmp) {
        struct entity *n = CONTAINER_OF(node, struct entity, node);
        if (run_same(&n->run, run))
            return n;
    }
    return NULL;
}

struct entity *entity_add(struct durable_slot *s, const struct uuid *run)
{
    ASSERT(!entity_find(s, run) && !run_none(run));
    struct entity *n = xcalloc(1, sizeof *n);
    n->slot = s;
    n->run = *run;
    n->due_ms = JOURNAL_NEVER;
    list_init(&n->rows);
    list_push(&s->entities, &n->node);
    return n;
}

void entity_weigh(struct entity *n)
{
    struct durable_counts *c = &n->slot->host->counts;
    size_t bytes = n->machine ? sizeof *n + sizeof *n->slot + n->slot->text.size + n->slot->kind->bytes(n->machine) : 0;
    c->machine_bytes += bytes - n->bytes; /* unsigned: wraps there and back */
    n->bytes = bytes;
}

static void machine_free(struct entity *n)
{
    const struct durable_kind *kind = n->slot->kind;
    ASSERT(!n->in_turn);
    if (!n->machine)
        return;
    kind->free(kind->ctx, TAKE(n->machine));
    n->slot->host->counts.machines--;
    entity_weigh(n);
    cache_drop(n);
}

void entity_remove(struct entity *n)
{
    machine_free(n);
    due_forget(n);
    if (n->of_start)
        start_loaded(n);
    list_remove(&n->slot->entities, &n->node);
    free(n);
}

void entity_unload(struct entity *n)
{
    machine_free(n);
    if (!n->reload && !n->due_came && !heap_node_linked(&n->due))
        entity_remove(n);
}

/* ---- what a slot does next ---------------------------------------------------------------- */

void slot_soon(struct durable_slot *s)
{
    if (list_node_linked(&s->idle))
        list_remove(&s->host->idle, &s->idle);
    if (s->state != SLOT_IDLE || list_node_linked(&s->soon))
        return; /* it looks again by itself when it is done */
    list_push(&s->host->soon, &s->soon);
    host_soon(s->host);
}

void slot_again(struct durable_slot *s)
{
    loop_after(s->host->world.loop, &s->again, s->host->world.limits->durable_retry_ms * 1000);
}

static bool loaded(const struct durable_slot *s, const struct uuid *run)
{
    const struct entity *n = entity_find(s, run);
    return n && n->machine;
}

bool slot_knows(const struct durable_slot *s, const struct durable_input *in, struct uuid *ret_run)
{
    const struct uuid *run = &in->key.run;
    if (in->creates && run_none(run) && !s->current_known && !s->no_guess && s->entities.count == 0)
        return true;
    if (!run_none(run) && !loaded(s, run) && !run_same(run, &s->missing)) {
        *ret_run = *run;
        return false;
    }
    if (!s->current_known) {
        *ret_run = (struct uuid){ 0 };
        return false;
    }
    if (!run_none(&s->current) && !loaded(s, &s->current)) {
        *ret_run = s->current;
        return false;
    }
    return true;
}

enum slot_need { NEED_NOTHING, NEED_LOAD, NEED_TURN };

/* What is due, or is to be made known, is loaded before inputs are looked at, which could come without end. */
static enum slot_need slot_need(const struct durable_slot *s, struct uuid *ret_run)
{
    bool may_try = !heap_node_linked(&s->again.node), due = false;
    LIST_EACH(&s->entities, node, tmp) {
        const struct entity *n = CONTAINER_OF(node, struct entity, node);
        if (!n->machine && (n->reload || n->due_came) && may_try) {
            *ret_run = n->run;
            return NEED_LOAD;
        }
        due |= n->machine && n->due_came;
    }
    if (s->waiting.count > 0) {
        const struct durable_input *in = CONTAINER_OF(list_first(&s->waiting), struct durable_input, node);
        return slot_knows(s, in, ret_run) ? NEED_TURN : NEED_LOAD;
    }
    return due ? NEED_TURN : NEED_NOTHING;
}

static void slot_rest(struct durable_slot *s)
{
    bool machines = false;
    s->missing = (struct uuid){ 0 };
    LIST_EACH(&s->entities, node, tmp)
        machines |= CONTAINER_OF(node, struct entity, node)->machine != NULL;
    if (machines && !list_node_linked(&s->idle))
        list_push(&s->host->idle, &s->idle);
    if (s->entities.count == 0)
        slot_free(s);
}

void slots_evict(struct durable_host *h)
{
    while (h->counts.machine_bytes > h->world.limits->durable_memory_bytes && h->idle.count > 0) {
        struct durable_slot *s = CONTAINER_OF(list_first(&h->idle), struct durable_slot, idle);
        list_remove(&h->idle, &s->idle);
        LIST_EACH(&s->entities, node, tmp) {
            struct entity *n = CONTAINER_OF(node, struct entity, node);
            h->counts.evictions += n->machine != NULL;
            entity_unload(n);
        }
        if (s->entities.count == 0)
            slot_free(s);
    }
}

/* ---- loading ------------------------------------------------------------------------------ */

/* The machine of a row. What its state has to make known is made known, before anything is applied to it. */
static int entity_load(struct durable_slot *s, const struct journal_write *now, struct err *e)
{
    const struct durable_kind *kind = s->kind;
    uint64_t now_ns;
    void *machine = NULL;
    struct entity *n = entity_find(s, &now->key.run);
    if (n && n->machine)
        return 0;
    if (now->state.size < 1 + sizeof now_ns || now->state.at[0] != 1)
        return err_set(e, CODE_DATA_LOSS, "state of %zu bytes: not one that this hob writes", now->state.size);
    memcpy(&now_ns, now->state.at + 1, sizeof now_ns);
    struct journal_key key = { kind->kind, s->ns, s->id, now->key.run };
    int r = kind->open(kind->ctx, &key, str_from(now->state, 1 + sizeof now_ns), &machine, e);
    if (r < 0)
        return r;
    if (!n)
        n = entity_add(s, &now->key.run);
    struct durable_standing standing = kind->standing(machine);
    n->machine = machine;
    n->version = now->expect;
    n->now_ns = (int64_t)le64toh(now_ns);
    n->ready = standing.ready;
    n->reload = false;
    s->host->counts.machines++;
    entity_weigh(n);
    due_set(n, standing.due_ms);
    if (standing.ready) {
        s->state = SLOT_EMITTING;
        kind->committed(kind->ctx, &key, machine);
        s->state = SLOT_IDLE;
    }
    if (n->of_start)
        start_loaded(n);
    return 0;
}

static void unreadable(const struct entity *n, const struct err *e)
{
    char run[UUID_TEXT], *id = xstrndup(n->slot->id.at, n->slot->id.size);
    uuid_format(&n->run, run);
    log_event(LOG_ERROR, "durable.unreadable", "id=\"%s\" run=%s error=\"%s\"", LOG_QUOTED(id), run,
              LOG_QUOTED(e->text));
    free(id);
}

/* `run` could not be loaded: who asked for it is told, and what the host wanted of it itself is tried again
 * later, unless it is damaged. `all`: nothing of this id can be done without it. */
static void load_fail(struct durable_slot *s, const struct uuid *run, bool all, int r, const struct err *e)
{
    struct list over;
    list_init(&over);
    LIST_EACH(&s->waiting, node, tmp) {
        struct durable_input *in = CONTAINER_OF(node, struct durable_input, node);
        if (!all && !run_same(&in->key.run, run))
            continue;
        list_remove(&s->waiting, node);
        s->host->counts.waiting--;
        in->applied = true; /* not to be taken back any more */
        list_push(&over, node);
    }
    struct entity *n = run_none(run) ? NULL : entity_find(s, run);
    if (n && !n->machine && (r == -CODE_DATA_LOSS || r == -CODE_NOT_FOUND)) {
        if (r == -CODE_DATA_LOSS)
            unreadable(n, e);
        entity_remove(n);
    } else if (n && !n->machine) {
        slot_again(s);
    }
    s->state = SLOT_EMITTING;
    for (struct list_node *node; (node = list_first(&over)) != NULL;) {
        struct durable_input *in = CONTAINER_OF(node, struct durable_input, node);
        list_remove(&over, node);
        in->done(in, r, e);
    }
    s->state = SLOT_IDLE;
}

static void on_load(struct journal_load *q, int r, const struct journal_write *now,
                    const struct uuid *current, const struct err *cause)
{
    struct durable_slot *s = CONTAINER_OF(q, struct durable_slot, load);
    struct uuid run = q->key.run;
    struct err e = { 0 };

    ASSERT(s->state == SLOT_LOADING);
    s->state = SLOT_IDLE;
    s->host->counts.loads++;
    if (cause)
        e = *cause;
    if (r == 0)
        r = entity_load(s, now, &e);
    if (r == 0 || (r == -CODE_NOT_FOUND && run_none(&run))) {
        s->current = r == 0 ? *current : (struct uuid){ 0 };
        s->current_known = true;
        s->no_guess = false;
    } else if (r == -CODE_NOT_FOUND) {
        /* Of the current run that cannot be: it was removed by somebody else. */
        if (s->current_known && run_same(&run, &s->current))
            s->current_known = false;
        struct entity *n = entity_find(s, &run);
        if (n && !n->machine)
            entity_remove(n);
        s->missing = run;
    } else {
        load_fail(s, &run, run_none(&run) || (s->current_known && run_same(&run, &s->current)), r, &e);
    }
    slot_soon(s);
}

static void slot_load(struct durable_slot *s, const struct uuid *run)
{
    struct err e = { 0 };
    s->state = SLOT_LOADING;
    s->load = (struct journal_load){ .key = { s->kind->kind, s->ns, s->id, *run }, .on_done = on_load };
    int r = journal_load(s->host->world.journal, &s->load, &e);
    if (r < 0)
        on_load(&s->load, r, NULL, NULL, &e);
}

void slot_step(struct durable_slot *s)
{
    struct uuid run;
    if (s->state != SLOT_IDLE)
        return;
    switch (slot_need(s, &run)) {
    case NEED_LOAD: slot_load(s, &run); return;
    case NEED_TURN: turn_run(s); return;
    case NEED_NOTHING: slot_rest(s); return;
    }
}
