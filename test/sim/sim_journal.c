#include "sim/sim_journal.h"

#include <stdlib.h>

/* ---- the disk ----------------------------------------------------------------------------- */

static bool key_same(const struct journal_key *a, const struct journal_key *b)
{
    return a->kind == b->kind && str_eq(a->id, b->id) && str_eq(a->ns, b->ns);
}

static bool uuid_none(const struct uuid *u)
{
    static const struct uuid none;
    return memcmp(u, &none, sizeof none) == 0;
}

struct sim_row *sim_disk_find(const struct sim_disk *d, const struct journal_key *key)
{
    struct sim_row *found = NULL;
    for (size_t i = 0; i < d->count; i++) {
        struct sim_row *row = d->rows[i];
        if (!key_same(&row->key, key))
            continue;
        if (uuid_none(&key->run) ? !found || row->age > found->age
                                 : memcmp(&row->key.run, &key->run, sizeof key->run) == 0)
            found = row;
    }
    return found;
}

static void row_free(struct sim_row *row)
{
    for (size_t i = 0; i < row->piece_count; i++)
        free(row->pieces[i].bytes);
    free(row->pieces);
    free(row->state);
    free(row->text);
    free(row);
}

void sim_disk_done(struct sim_disk *d)
{
    for (size_t i = 0; i < d->count; i++)
        row_free(d->rows[i]);
    free(d->rows);
    *d = (struct sim_disk){ 0 };
}

static char *copy(struct str s)
{
    char *at = xcalloc(1, s.size + 1);
    if (s.size)
        memcpy(at, s.at, s.size);
    return at;
}

static struct journal_key key_copy(const struct journal_key *key, char **ret_text)
{
    char *text = xcalloc(1, key->ns.size + key->id.size + 1);
    if (key->ns.size)
        memcpy(text, key->ns.at, key->ns.size);
    if (key->id.size)
        memcpy(text + key->ns.size, key->id.at, key->id.size);
    *ret_text = text;
    return (struct journal_key){ key->kind, { text, key->ns.size }, { text + key->ns.size, key->id.size }, key->run };
}

static struct sim_row *disk_add(struct sim_disk *d, const struct journal_key *key)
{
    struct sim_row *row = xcalloc(1, sizeof *row);
    row->key = key_copy(key, &row->text);
    row->age = ++d->age_next;
    if (d->count == d->capacity) {
        d->capacity = d->capacity ? d->capacity * 2 : 16;
        d->rows = xrealloc(d->rows, d->capacity, sizeof(struct sim_row *));
    }
    d->rows[d->count++] = row;
    return row;
}

static void disk_remove(struct sim_disk *d, struct sim_row *row)
{
    for (size_t i = 0; i < d->count; i++) {
        if (d->rows[i] == row) {
            d->rows[i] = d->rows[--d->count];
            row_free(row);
            return;
        }
    }
}

/* ---- the journal -------------------------------------------------------------------------- */

struct sim_journal {
    struct journal journal;
    struct sim_disk *disk;
    struct loop *loop;
    struct rng *rng;
    const struct sim_faults *faults;
    struct list queued, durable; /* struct commit */
    struct list queries;
    struct loop_timer apply, ack;
    uint64_t outage_until_us;
    bool closing;
};

struct commit { /* a copy of what was submitted */
    struct list_node node;
    struct journal_commit *of;
    struct journal_write writes[JOURNAL_WRITES_MAX];
    char *texts[JOURNAL_WRITES_MAX];
    size_t count;
    int r;
    struct err e;
};

enum query_type { QUERY_LOAD, QUERY_READ, QUERY_DUE, QUERY_READY };
struct query {
    struct list_node node;
    struct loop_timer timer;
    struct sim_journal *journal;
    enum query_type type;
    union {
        struct journal_load *load;
        struct journal_read *read;
        struct journal_scan *scan;
    };
};

static struct sim_journal *own(struct journal *j) { return CONTAINER_OF(j, struct sim_journal, journal); }

static uint64_t delay(struct sim_journal *j, uint32_t below) { return below ? rng_below(j->rng, below) : 0; }

static bool permille(struct sim_journal *j, uint32_t n) { return n && rng_below(j->rng, 1000) < n; }

/* ---- commits ------------------------------------------------------------------------------ */

static void commit_free(struct commit *c)
{
    for (size_t i = 0; i < c->count; i++) {
        struct journal_write *w = &c->writes[i];
        for (size_t k = 0; k < w->row_count; k++) {
            char *bytes = (char *)(uintptr_t)w->rows[k].bytes.at;
            free(bytes);
        }
        free((void *)(uintptr_t)w->rows);
        free((void *)(uintptr_t)w->index);
        free((void *)(uintptr_t)w->state.at);
        free(c->texts[i]);
    }
    free(c);
}

static struct commit *commit_copy(struct journal_commit *of)
{
    struct commit *c = xcalloc(1, sizeof *c);
    c->of = of;
    c->count = of->count;
    for (size_t i = 0; i < of->count; i++) {
        const struct journal_write *from = &of->writes[i];
        struct journal_write *to = &c->writes[i];
        *to = *from;
        to->key = key_copy(&from->key, &c->texts[i]);
        to->state.at = copy(from->state);
        struct journal_row *rows = xcalloc(from->row_count + 1, sizeof *rows);
        for (size_t k = 0; k < from->row_count; k++) {
            rows[k] = from->rows[k];
            rows[k].bytes.at = copy(from->rows[k].bytes);
        }
        to->rows = rows;
        if (from->index) {
            struct journal_index *index = xcalloc(1, sizeof *index);
            *index = (struct journal_index){ .status = from->index->status };
            to->index = index;
        }
    }
    return c;
}

/* What must hold before anything of it is done. `over`: the run that is current once the writes before it are. */
static int write_check(const struct sim_disk *d, const struct journal_write *w, struct uuid *over, struct err *e)
{
    const struct sim_row *row = sim_disk_find(d, &w->key);
    if (w->op == JOURNAL_CREATE) {
        if (memcmp(over, &w->over, sizeof *over) != 0)
            return err_set(e, CODE_EXISTS, STR_FMT ": another run is current", STR_ARG(w->key.id));
        if (row)
            return err_set(e, CODE_EXISTS, STR_FMT ": this run exists", STR_ARG(w->key.id));
        ASSERT(w->index && !uuid_none(&w->key.run));
        *over = w->key.run;
        return 0;
    }
    if (!row || row->version != w->expect)
        return err_set(e, CODE_ABORTED, STR_FMT ": version %llu, expected %llu", STR_ARG(w->key.id),
                       (unsigned long long)(row ? row->version : 0), (unsigned long long)w->expect);
    return 0;
}

static void piece_add(struct sim_row *row, const struct journal_row *from)
{
    struct sim_piece *last = row->piece_count ? &row->pieces[row->piece_count - 1] : NULL;
    if (last && last->first == from->first) {
        free(last->bytes);
        row->piece_count--;
    } else {
        ASSERT(from->first == (last ? last->first + last->count : 1)); /* a gap, or twice */
    }
    row->pieces = xrealloc(row->pieces, row->piece_count + 1, sizeof *row->pieces);
    row->pieces[row->piece_count++] =
        (struct sim_piece){ from->first, from->count, copy(from->bytes), from->bytes.size };
}

static void write_apply(struct sim_disk *d, const struct journal_write *w)
{
    struct sim_row *row = w->op == JOURNAL_CREATE ? disk_add(d, &w->key) : sim_disk_find(d, &w->key);
    if (w->op == JOURNAL_DELETE) {
        disk_remove(d, row);
        return;
    }
    row->version++;
    free(row->state);
    row->state = copy(w->state);
    row->state_size = w->state.size;
    row->open = w->open;
    row->ready = w->ready;
    row->due_ms = w->due_ms;
    if (w->index)
        row->status = w->index->status;
    for (size_t k = 0; k < w->row_count; k++)
        piece_add(row, &w->rows[k]);
}

static void commit_apply(struct sim_journal *j, struct commit *c)
{
    struct uuid over = { 0 };
    struct journal_key current = { 0 };
    if (loop_clock_us(j->loop) < j->outage_until_us && !j->closing) {
        c->r = err_set(&c->e, CODE_UNAVAILABLE, "disk: not now");
        return;
    }
    c->r = 0;
    for (size_t i = 0; i < c->count && c->r == 0; i++) {
        struct journal_key id = c->writes[i].key;
        if (i == 0 || !key_same(&current, &id)) {
            id.run = (struct uuid){ 0 };
            const struct sim_row *row = sim_disk_find(j->disk, &id);
            over = row ? row->key.run : (struct uuid){ 0 };
            current = id;
        }
        c->r = write_check(j->disk, &c->writes[i], &over, &c->e);
    }
    for (size_t i = 0; i < c->count && c->r == 0; i++)
        write_apply(j->disk, &c->writes[i]);
    j->disk->commits += c->r == 0;
}

static void on_apply(struct loop_timer *t)
{
    struct sim_journal *j = CONTAINER_OF(t, struct sim_journal, apply);
    if (permille(j, j->faults->outage_permille) && j->faults->outage_us)
        j->outage_until_us = loop_clock_us(j->loop) + rng_below(j->rng, j->faults->outage_us);
    uint64_t batch = 1 + rng_below(j->rng, 16);
    while (j->queued.count > 0 && batch-- > 0) {
        struct commit *c = CONTAINER_OF(list_first(&j->queued), struct commit, node);
        list_remove(&j->queued, &c->node);
        commit_apply(j, c);
        list_push(&j->durable, &c->node);
    }
    if (j->queued.count > 0)
        loop_after(j->loop, &j->apply, delay(j, j->faults->commit_us));
    if (!heap_node_linked(&j->ack.node))
        loop_after(j->loop, &j->ack, delay(j, j->faults->commit_us));
}

static void ack_one(struct sim_journal *j)
{
    struct commit *c = CONTAINER_OF(list_first(&j->durable), struct commit, node);
    struct journal_commit *of = c->of;
    struct err e = c->e;
    int r = c->r;
    list_remove(&j->durable, &c->node);
    commit_free(c);
    of->on_done(of, r, r < 0 ? &e : NULL);
}

static void on_ack(struct loop_timer *t)
{
    struct sim_journal *j = CONTAINER_OF(t, struct sim_journal, ack);
    for (uint32_t left = j->durable.count; left > 0; left--)
        ack_one(j);
}

static int refused(struct sim_journal *j, struct err *e)
{
    if (j->closing)
        return err_set(e, CODE_CANCELLED, "journal: it closes");
    if (permille(j, j->faults->refuse_permille))
        return err_set(e, CODE_EXHAUSTED, "journal: too much waits");
    return 0;
}

static int op_submit(struct journal *base, struct journal_commit *c, struct err *e)
{
    struct sim_journal *j = own(base);
    ASSERT(c->count > 0 && c->count <= JOURNAL_WRITES_MAX);
    int r = refused(j, e);
    if (r < 0)
        return r;
    list_push(&j->queued, &commit_copy(c)->node);
    if (!heap_node_linked(&j->apply.node))
        loop_after(j->loop, &j->apply, delay(j, j->faults->commit_us));
    return 0;
}

/* ---- questions ---------------------------------------------------------------------------- */

static void answer_load(struct sim_journal *j, struct journal_load *q)
{
    struct journal_key id = q->key;
    id.run = (struct uuid){ 0 };
    const struct sim_row *row = sim_disk_find(j->disk, &q->key), *current = sim_disk_find(j->disk, &id);
    struct err e;
    if (!row) {
        int r = err_set(&e, CODE_NOT_FOUND, STR_FMT ": not there", STR_ARG(q->key.id));
        q->on_done(q, r, NULL, NULL, &e);
        return;
    }
    struct journal_write now = {
        .key = row->key,
        .expect = row->version,
        .state = { row->state, row->state_size },
        .open = row->open,
        .ready = row->ready,
        .due_ms = row->due_ms,
    };
    struct uuid run = current->key.run;
    q->on_done(q, 0, &now, &run, NULL);
}

static void answer_read(struct sim_journal *j, struct journal_read *q)
{
    const struct sim_row *row = sim_disk_find(j->disk, &q->key);
    struct err e;
    if (!row) {
        int r = err_set(&e, CODE_NOT_FOUND, STR_FMT ": not there", STR_ARG(q->key.id));
        q->on_done(q, r, NULL, 0, &e);
        return;
    }
    struct journal_row *rows = xcalloc(row->piece_count + 1, sizeof *rows);
    size_t count = 0, bytes = 0;
    for (size_t i = 0; i < row->piece_count && bytes <= q->bytes_max; i++) {
        const struct sim_piece *p = &row->pieces[q->backwards ? row->piece_count - 1 - i : i];
        if (p->first >= q->to || p->first + p->count <= q->from)
            continue;
        rows[count++] = (struct journal_row){ p->first, p->count, { copy((struct str){ p->bytes, p->size }), p->size } };
        bytes += p->size;
    }
    q->on_done(q, 0, rows, count, NULL);
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)rows[i].bytes.at);
    free(rows);
}

static bool sorted_by_due;
static int row_order(const void *a, const void *b)
{
    const struct sim_row *x = *(struct sim_row *const *)a, *y = *(struct sim_row *const *)b;
    if (sorted_by_due && x->due_ms != y->due_ms)
        return x->due_ms < y->due_ms ? -1 : 1;
    return x->age < y->age ? -1 : x->age > y->age;
}

static bool scan_takes(const struct journal_scan *q, const struct sim_row *row, bool due)
{
    if (row->key.kind != q->kind)
        return false;
    if (!due)
        return row->ready && row->age > q->after;
    return row->due_ms >= q->from_ms && row->due_ms < q->before_ms &&
           (row->due_ms > q->from_ms || row->age > q->after);
}

static void answer_scan(struct sim_journal *j, struct journal_scan *q, bool due)
{
    struct sim_row **found = xcalloc(j->disk->count + 1, sizeof(struct sim_row *));
    struct journal_key *keys = xcalloc(q->limit + 1, sizeof *keys);
    int64_t *dues = xcalloc(q->limit + 1, sizeof *dues);
    char **texts = xcalloc(q->limit + 1, sizeof(char *));
    size_t count = 0, all = 0;
    for (size_t i = 0; i < j->disk->count; i++)
        if (scan_takes(q, j->disk->rows[i], due))
            found[all++] = j->disk->rows[i];
    sorted_by_due = due;
    qsort(found, all, sizeof(struct sim_row *), row_order);
    for (; count < all && count < q->limit; count++) {
        keys[count] = key_copy(&found[count]->key, &texts[count]);
        dues[count] = found[count]->due_ms;
    }
    uint64_t next = count < all ? found[count - 1]->age : 0;
    free(found);
    q->on_done(q, 0, keys, dues, count, next, NULL);
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
    free(dues);
    free(keys);
}

static void query_refuse(struct query *q, int r, const struct err *e)
{
    switch (q->type) {
    case QUERY_LOAD: q->load->on_done(q->load, r, NULL, NULL, e); return;
    case QUERY_READ: q->read->on_done(q->read, r, NULL, 0, e); return;
    case QUERY_DUE:
    case QUERY_READY: q->scan->on_done(q->scan, r, NULL, NULL, 0, 0, e); return;
    }
}

static void on_query(struct loop_timer *t)
{
    struct query *q = CONTAINER_OF(t, struct query, timer);
    struct sim_journal *j = q->journal;
    struct err e;
    list_remove(&j->queries, &q->node);
    if (permille(j, j->faults->read_fail_permille)) {
        query_refuse(q, err_set(&e, CODE_UNAVAILABLE, "disk: not now"), &e);
    } else if (q->type == QUERY_LOAD) {
        answer_load(j, q->load);
    } else if (q->type == QUERY_READ) {
        answer_read(j, q->read);
    } else {
        answer_scan(j, q->scan, q->type == QUERY_DUE);
    }
    free(q);
}

static int query_add(struct sim_journal *j, struct query like, struct err *e)
{
    int r = refused(j, e);
    if (r < 0)
        return r;
    struct query *q = xcalloc(1, sizeof *q);
    *q = like;
    q->journal = j;
    q->timer.on_due = on_query;
    list_push(&j->queries, &q->node);
    loop_after(j->loop, &q->timer, delay(j, j->faults->read_us));
    return 0;
}

static int op_load(struct journal *j, struct journal_load *q, struct err *e)
{
    return query_add(own(j), (struct query){ .type = QUERY_LOAD, .load = q }, e);
}
static int op_read(struct journal *j, struct journal_read *q, struct err *e)
{
    return query_add(own(j), (struct query){ .type = QUERY_READ, .read = q }, e);
}
static int op_due(struct journal *j, struct journal_scan *q, struct err *e)
{
    return query_add(own(j), (struct query){ .type = QUERY_DUE, .scan = q }, e);
}
static int op_ready(struct journal *j, struct journal_scan *q, struct err *e)
{
    return query_add(own(j), (struct query){ .type = QUERY_READY, .scan = q }, e);
}
static int op_list(struct journal *j, struct journal_list *q, struct err *e)
{
    (void)j;
    (void)q;
    return err_set(e, CODE_UNIMPLEMENTED, "journal: this one has no lists");
}
static int op_count(struct journal *j, struct journal_count *q, struct err *e)
{
    (void)j;
    (void)q;
    return err_set(e, CODE_UNIMPLEMENTED, "journal: this one has no lists");
}

/* ---- life --------------------------------------------------------------------------------- */

static void close_all(struct sim_journal *j, bool crash)
{
    struct err e;
    int r = err_set(&e, CODE_CANCELLED, "journal: it closes");
    j->closing = true;
    loop_cancel(j->loop, &j->apply);
    loop_cancel(j->loop, &j->ack);
    for (struct list_node *node; (node = list_first(&j->queued)) != NULL;) {
        struct commit *c = CONTAINER_OF(node, struct commit, node);
        list_remove(&j->queued, node);
        list_push(&j->durable, node);
        if (!crash)
            commit_apply(j, c);
    }
    if (crash)
        LIST_EACH(&j->durable, node, tmp) {
            struct commit *c = CONTAINER_OF(node, struct commit, node);
            c->r = r;
            c->e = e;
        }
    while (j->durable.count > 0)
        ack_one(j);
    for (struct list_node *node; (node = list_first(&j->queries)) != NULL;) {
        struct query *q = CONTAINER_OF(node, struct query, node);
        list_remove(&j->queries, node);
        loop_cancel(j->loop, &q->timer);
        query_refuse(q, r, &e);
        free(q);
    }
    free(j);
}

static void op_free(struct journal *j) { close_all(own(j), false); }

void sim_journal_crash(struct journal *j) { close_all(own(j), true); }

struct journal *sim_journal_new(struct sim_disk *d, struct loop *l, struct rng *rng,
                                const struct sim_faults *faults)
{
    static const struct journal_ops ops = { op_submit, op_load, op_read, op_due, op_ready, op_list, op_count, op_free };
    struct sim_journal *j = xcalloc(1, sizeof *j);
    j->journal.ops = &ops;
    j->disk = d;
    j->loop = l;
    j->rng = rng;
    j->faults = faults;
    list_init(&j->queued);
    list_init(&j->durable);
    list_init(&j->queries);
    j->apply.on_due = on_apply;
    j->ack.on_due = on_ack;
    return &j->journal;
}
