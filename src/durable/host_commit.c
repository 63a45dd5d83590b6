/* host_commit.c -- a turn becomes one commit, and after it everything is let out, or nothing. */
#include "base/buf.h"
#include "durable/host_impl.h"

#include <endian.h>
#include <stdlib.h>

/* ---- what is written ---------------------------------------------------------------------- */

struct draft { /* of one commit; all of it is copied by the journal */
    struct journal_write writes[JOURNAL_WRITES_MAX];
    struct journal_row *rows[JOURNAL_WRITES_MAX];
    struct buf states[JOURNAL_WRITES_MAX];
    struct journal_index indexes[JOURNAL_WRITES_MAX];
    char *texts[JOURNAL_WRITES_MAX]; /* behind `indexes` */
    size_t count;
};

static void draft_done(struct draft *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->rows[i]);
        buf_done(&d->states[i]);
        free(d->texts[i]);
    }
}
static inline void draft_auto(struct draft *d) { draft_done(d); }

static void keep(char **at, struct str *s)
{
    if (s->size)
        memcpy(*at, s->at, s->size);
    s->at = *at;
    *at += s->size;
}

/* What a kind's `index` points at lives until its next call, and a turn may have two runs. */
static char *index_keep(struct journal_index *x)
{
    struct str *const texts[] = { &x->type, &x->queue, &x->parent_id, &x->root_id, &x->division, &x->extra };
    size_t size = x->attribute_count * sizeof *x->attributes;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        size += texts[i]->size;
    for (size_t i = 0; i < x->attribute_count; i++)
        size += x->attributes[i].name.size + x->attributes[i].text.size;
    char *block = xcalloc(1, size + 1), *at = block;
    struct journal_attribute *attributes = (void *)block;
    for (size_t i = 0; i < x->attribute_count; i++)
        attributes[i] = x->attributes[i];
    at += x->attribute_count * sizeof *attributes;
    for (size_t i = 0; i < x->attribute_count; i++) {
        keep(&at, &attributes[i].name);
        keep(&at, &attributes[i].text);
    }
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        keep(&at, texts[i]);
    x->attributes = attributes;
    return block;
}

static int draft_state(struct draft *d, size_t i, const struct entity *n, struct err *e)
{
    uint64_t max = n->slot->host->world.limits->durable_state_bytes_max;
    uint64_t now_ns = htole64((uint64_t)n->turn.now_ns);
    struct buf *b = &d->states[i];
    buf_init(b, (size_t)max);
    buf_append(b, "\1", 1);
    buf_append(b, &now_ns, sizeof now_ns);
    n->slot->kind->pack(n->machine, b);
    if (b->overflow)
        return err_set(e, CODE_EXHAUSTED,
                       STR_FMT ": its state is larger than %llu bytes; a state holds what is open, so end some of it "
                               "(limit durable_state_bytes_max)",
                       STR_ARG(n->slot->id), (unsigned long long)max);
    return 0;
}

/* One entity of the turn; nothing when it is as it was. */
static int draft_add(struct draft *d, const struct entity *n, struct uuid *over, struct err *e)
{
    const struct durable_kind *kind = n->slot->kind;
    const struct durable_turn *t = &n->turn;
    size_t i = d->count;
    struct journal_write *w = &d->writes[i];

    ASSERT(i < JOURNAL_WRITES_MAX);
    if (n->version > 0 ? !t->changed && !t->indexed && !t->forget : t->forget)
        return 0;
    d->count++;
    *w = (struct journal_write){ .op = t->forget         ? JOURNAL_DELETE
                                       : n->version == 0 ? JOURNAL_CREATE
                                                         : JOURNAL_UPDATE,
                                 .key = entity_key(n),
                                 .expect = n->version };
    if (t->forget)
        return 0;
    if (n->version == 0) {
        w->over = *over;
        *over = n->run;
    }
    int r = draft_state(d, i, n, e);
    if (r < 0)
        return r;
    w->state = buf_str(&d->states[i]);
    struct durable_standing standing = kind->standing(n->machine);
    w->open = standing.open;
    w->ready = standing.ready;
    w->due_ms = standing.due_ms;
    d->rows[i] = xcalloc(t->row_count + 1, sizeof *d->rows[i]);
    for (size_t k = 0; k < t->row_count; k++)
        d->rows[i][k] = (struct journal_row){ t->rows[k].first, t->rows[k].count,
                                              { t->rows[k].bytes, t->rows[k].size } };
    w->rows = d->rows[i];
    w->row_count = t->row_count;
    if (n->version == 0 || t->indexed) {
        kind->index(kind->ctx, n->machine, &d->indexes[i]);
        d->texts[i] = index_keep(&d->indexes[i]);
        w->index = &d->indexes[i];
    }
    return 0;
}

/* ---- after it ----------------------------------------------------------------------------- */

static void turn_end(struct entity *n, struct list *afters)
{
    struct durable_turn *t = &n->turn;
    for (struct list_node *node; (node = list_first(&t->afters)) != NULL;) {
        list_remove(&t->afters, node);
        list_push(afters, node);
    }
    for (size_t i = 0; i < t->row_count; i++)
        free(t->rows[i].bytes);
    free(TAKE(t->rows));
    t->row_count = t->row_capacity = 0;
}

static void afters_run(struct list *afters, int r, const struct err *e)
{
    for (struct list_node *node; (node = list_first(afters)) != NULL;) {
        struct durable_after *a = CONTAINER_OF(node, struct durable_after, node);
        list_remove(afters, node);
        a->run(a, r, e);
    }
}

static void fresh_end(struct durable_slot *s, struct list *afters)
{
    list_init(afters);
    ASSERT(s->fresh.row_count == 0);
    for (struct list_node *node; (node = list_first(&s->fresh.afters)) != NULL;) {
        list_remove(&s->fresh.afters, node);
        list_push(afters, node);
    }
}

static void entity_leave(struct entity *n)
{
    list_remove(&n->slot->turn, &n->turn_node);
    n->in_turn = false;
}

/* In memory is on disk. */
static void entity_keep(struct entity *n)
{
    struct durable_slot *s = n->slot;
    struct durable_turn *t = &n->turn;
    n->now_ns = t->now_ns;
    n->gone = t->forget;
    if (t->forget) {
        if (s->current_known && run_same(&s->current, &n->run))
            s->current_known = false; /* the journal knows which is now */
        return;
    }
    if (n->version == 0) {
        s->current = n->run;
        s->current_known = true;
    }
    if (n->version == 0 || t->changed || t->indexed) {
        struct durable_standing standing = s->kind->standing(n->machine);
        n->version++;
        n->ready = standing.ready;
        cache_add(n, t);
        n->due_ms = standing.due_ms;
    }
    n->due_came = false;
    due_set(n, n->due_ms);
    entity_weigh(n);
}

static void turn_let_out(struct durable_slot *s)
{
    const struct durable_kind *kind = s->kind;
    struct list afters;

    s->state = SLOT_EMITTING;
    fresh_end(s, &afters);
    LIST_EACH(&s->turn, node, tmp) {
        struct entity *n = CONTAINER_OF(node, struct entity, turn_node);
        entity_keep(n);
        turn_end(n, &afters);
    }
    for (struct list_node *node; (node = list_first(&s->applied)) != NULL;) {
        list_remove(&s->applied, node);
        struct durable_input *in = CONTAINER_OF(node, struct durable_input, node);
        in->done(in, 0, NULL);
    }
    afters_run(&afters, 0, NULL);
    while (s->turn.count > 0) {
        struct entity *n = CONTAINER_OF(list_first(&s->turn), struct entity, turn_node);
        struct journal_key key = entity_key(n);
        if (!n->gone)
            kind->committed(kind->ctx, &key, n->machine);
        else if (kind->dropped)
            kind->dropped(kind->ctx, &key);
        entity_leave(n);
        if (n->gone)
            entity_remove(n);
    }
    s->state = SLOT_IDLE;
    slot_soon(s);
}

static void entity_drop(struct entity *n, struct list *afters)
{
    struct durable_slot *s = n->slot;
    struct journal_key key = entity_key(n);
    if (n->in_turn) {
        turn_end(n, afters);
        entity_leave(n);
    }
    if (!n->machine)
        return;
    s->host->counts.drops++;
    if (s->kind->dropped)
        s->kind->dropped(s->kind->ctx, &key);
    n->reload = n->version > 0 && n->ready;
    if (n->version > 0)
        due_set(n, n->due_ms);
    entity_unload(n);
}

void turn_fail(struct durable_slot *s, int r, const struct err *e, bool void_only)
{
    struct list afters;

    s->state = SLOT_EMITTING;
    fresh_end(s, &afters);
    LIST_EACH(&s->entities, node, tmp)
        entity_drop(CONTAINER_OF(node, struct entity, node), &afters);
    ASSERT(s->turn.count == 0);
    s->current_known = false;
    s->no_guess = true;
    s->missing = (struct uuid){ 0 };
    if (void_only) {
        while (s->applied.count > 0) { /* from the end, so that they stand in their order again */
            struct list_node *node = s->applied.root.prev;
            list_remove(&s->applied, node);
            CONTAINER_OF(node, struct durable_input, node)->applied = false;
            list_push_front(&s->waiting, node);
            s->host->counts.waiting++;
        }
    } else {
        slot_again(s); /* what the host itself wants is tried after a while */
    }
    for (struct list_node *node; (node = list_first(&s->applied)) != NULL;) {
        list_remove(&s->applied, node);
        struct durable_input *in = CONTAINER_OF(node, struct durable_input, node);
        in->done(in, r, e);
    }
    afters_run(&afters, r, e);
    s->state = SLOT_IDLE;
    slot_soon(s);
}

/* ---- the commit --------------------------------------------------------------------------- */

static void on_commit(struct journal_commit *c, int r, const struct err *e)
{
    struct durable_slot *s = CONTAINER_OF(c, struct durable_slot, commit);
    ASSERT(s->state == SLOT_COMMITTING);
    if (r == 0) {
        turn_let_out(s);
    } else {
        bool void_only = s->guessed && r == -CODE_EXISTS;
        s->host->counts.creates_retried += void_only;
        turn_fail(s, r, e, void_only);
    }
}

void turn_commit(struct durable_slot *s)
{
    AUTO(draft) struct draft d = { 0 };
    struct err e = { 0 };
    struct uuid over = s->current_known ? s->current : (struct uuid){ 0 };
    int r = 0;

    LIST_EACH(&s->turn, node, tmp)
        if (r == 0)
            r = draft_add(&d, CONTAINER_OF(node, struct entity, turn_node), &over, &e);
    if (r == 0 && d.count == 0 && s->guessed) {
        /* It made nothing, so nothing proves that the id is free, and what it answers may be wrong. */
        s->host->counts.creates_retried++;
        r = err_set(&e, CODE_EXISTS, STR_FMT ": not known yet", STR_ARG(s->id));
        turn_fail(s, r, &e, true);
        return;
    }
    if (r == 0 && d.count == 0) {
        turn_let_out(s);
        return;
    }
    if (r == 0) {
        s->commit = (struct journal_commit){ .writes = d.writes, .count = d.count, .on_done = on_commit };
        s->host->counts.commits++;
        r = journal_submit(s->host->world.journal, &s->commit, &e);
    }
    if (r < 0)
        turn_fail(s, r, &e, false);
}
