/* host_read.c -- histories: the last rows of what was written lately are in memory, so that the answer to
 * a worker's poll needs no read. A row is here only once it is on disk. */
#include "durable/host_impl.h"

#include <stdlib.h>

static void row_drop(struct entity *n, struct cached_row *c)
{
    struct durable_host *h = n->slot->host;
    h->counts.history_bytes -= sizeof *c + c->row.size;
    list_remove(&n->rows, &c->node);
    free(c->row.bytes);
    free(c);
    if (n->rows.count == 0)
        list_remove(&h->cached, &n->cached);
}

void cache_drop(struct entity *n)
{
    while (n->rows.count > 0)
        row_drop(n, CONTAINER_OF(list_first(&n->rows), struct cached_row, node));
}

static void cache_used(struct entity *n)
{
    struct list *cached = &n->slot->host->cached;
    if (list_node_linked(&n->cached))
        list_remove(cached, &n->cached);
    list_push(cached, &n->cached);
}

void cache_add(struct entity *n, struct durable_turn *t)
{
    struct durable_host *h = n->slot->host;
    for (size_t i = 0; i < t->row_count; i++) {
        if (n->rows.count > 0) {
            struct cached_row *last = CONTAINER_OF(n->rows.root.prev, struct cached_row, node);
            if (last->row.first == t->rows[i].first)
                row_drop(n, last);
            else
                ASSERT(last->row.first + last->row.count == t->rows[i].first);
        }
        struct cached_row *c = xcalloc(1, sizeof *c);
        c->row = t->rows[i];
        t->rows[i].bytes = NULL;
        h->counts.history_bytes += sizeof *c + c->row.size;
        list_push(&n->rows, &c->node);
        cache_used(n);
    }
    while (h->counts.history_bytes > h->world.limits->durable_history_bytes && h->cached.count > 0) {
        struct entity *oldest = CONTAINER_OF(list_first(&h->cached), struct entity, cached);
        row_drop(oldest, CONTAINER_OF(list_first(&oldest->rows), struct cached_row, node));
    }
}

static struct entity *cache_find(struct durable_host *h, const struct journal_read *q)
{
    struct durable_slot *s = slot_find(h, &q->key);
    struct entity *n = s ? entity_find(s, &q->key.run) : NULL;
    if (!n || n->rows.count == 0)
        return NULL;
    const struct durable_row *first = &CONTAINER_OF(list_first(&n->rows), struct cached_row, node)->row;
    return q->from >= first->first || first->first == 1 ? n : NULL;
}

static void cache_serve(struct entity *n, struct journal_read *q)
{
    struct journal_row *rows = xcalloc(n->rows.count, sizeof *rows);
    size_t count = 0, bytes = 0;
    struct list_node *end = &n->rows.root;
    for (struct list_node *node = q->backwards ? end->prev : end->next; node != end && bytes <= q->bytes_max;
         node = q->backwards ? node->prev : node->next) {
        const struct durable_row *row = &CONTAINER_OF(node, struct cached_row, node)->row;
        if (row->first >= q->to || row->first + row->count <= q->from)
            continue;
        rows[count++] = (struct journal_row){ row->first, row->count, { row->bytes, row->size } };
        bytes += row->size;
    }
    n->slot->host->counts.reads_cached++;
    cache_used(n);
    /* The rows are the reader's for the call: while it runs nothing of this loop can drop them but a commit's
     * end, and none comes within a call. */
    q->on_done(q, 0, rows, count, NULL);
    free(rows);
}

static void on_read(struct loop_task *t)
{
    struct durable_history *q = CONTAINER_OF(t, struct durable_history, task);
    struct durable_host *h = q->host;
    struct err e = { 0 };
    list_remove(&h->reads, &q->node);
    struct entity *n = cache_find(h, &q->read);
    if (n) {
        cache_serve(n, &q->read);
        return;
    }
    int r = journal_read(h->world.journal, &q->read, &e);
    if (r < 0)
        q->read.on_done(&q->read, r, NULL, 0, &e);
}

int durable_read(struct durable_host *h, struct durable_history *q, struct err *e)
{
    if (h->closing)
        return err_set(e, CODE_CANCELLED, STR_FMT ": hob is stopping; ask again", STR_ARG(q->read.key.id));
    q->host = h;
    q->task = (struct loop_task){ .run = on_read };
    q->node = (struct list_node){ 0 };
    list_push(&h->reads, &q->node);
    loop_defer(h->world.loop, &q->task);
    return 0;
}

void reads_cancel(struct durable_host *h)
{
    for (struct list_node *node; (node = list_first(&h->reads)) != NULL;) {
        struct durable_history *q = CONTAINER_OF(node, struct durable_history, node);
        struct err e;
        list_remove(&h->reads, node);
        loop_undefer(h->world.loop, &q->task);
        int r = err_set(&e, CODE_CANCELLED, STR_FMT ": hob is stopping; ask again", STR_ARG(q->read.key.id));
        q->read.on_done(&q->read, r, NULL, 0, &e);
    }
}
