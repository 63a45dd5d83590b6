/* host_due.c -- whose time comes: the heap of the next minute, filled from the journal; and what the start loads.
 *
 * Due times are wall time, which may jump; the loop's timer is not. So the clock is looked at again at least once
 * in limits.durable_clock_ms while anything is waited for. */
#include "durable/host_impl.h"
#include "os/fault.h"

#include <stdlib.h>

enum { PAGE_MAX = 10000, DUES_PER_TURN = 1000 };

static uint64_t due_key(const struct entity *n)
{
    int64_t ms = MAX(n->due_ms, n->quiet_ms);
    return ms > 0 ? (uint64_t)ms : 0;
}

static void clock_arm(struct durable_host *h)
{
    uint64_t delay_us = h->world.limits->durable_clock_ms * 1000;
    const struct heap_node *first = heap_first(&h->dues);
    if (!h->started)
        return;
    if (first) {
        int64_t wall_ns = host_wall_ns(h), due_ns = (int64_t)MIN(first->key, (uint64_t)INT64_MAX / 1000000) * 1000000;
        uint64_t left_us = due_ns > wall_ns ? ((uint64_t)(due_ns - wall_ns) + 999) / 1000 : 0;
        delay_us = MIN(delay_us, left_us);
    }
    loop_after(h->world.loop, &h->clock, delay_us);
}

void due_set(struct entity *n, int64_t due_ms)
{
    struct durable_host *h = n->slot->host;
    n->due_ms = due_ms;
    if (heap_node_linked(&n->due))
        heap_remove(&h->dues, &n->due);
    if (n->due_came || due_ms >= n->slot->scan->horizon_ms)
        return;
    heap_add(&h->dues, &n->due, due_key(n));
    if (heap_first(&h->dues) == &n->due)
        clock_arm(h);
}

void due_forget(struct entity *n)
{
    if (heap_node_linked(&n->due))
        heap_remove(&n->slot->host->dues, &n->due);
    n->due_came = false;
}

/* ---- the window --------------------------------------------------------------------------- */

static void scan_ask(struct due_scan *w);

static void due_found(struct durable_host *h, const struct journal_key *key, int64_t due_ms)
{
    struct durable_slot *s = slot_get(h, key);
    struct entity *n = entity_find(s, &key->run);
    if (n && (n->machine || n->reload || n->due_came)) {
        if (n->machine && !n->in_turn)
            due_set(n, n->due_ms); /* memory knows better; but the horizon is another */
        return;
    }
    due_set(n ? n : entity_add(s, &key->run), due_ms);
}

static void on_dues(struct journal_scan *q, int r, const struct journal_key *keys, const int64_t *dues,
                    size_t count, uint64_t next, const struct err *e)
{
    struct due_scan *w = CONTAINER_OF(q, struct due_scan, due);
    (void)e; /* the next look at the clock asks again */
    w->asked = false;
    if (r < 0) {
        w->horizon_ms = w->from_ms + (w->after > 0);
        return;
    }
    for (size_t i = 0; i < count; i++)
        due_found(w->host, &keys[i], dues[i]);
    w->after = count > 0 ? next : 0;
    if (w->after > 0) {
        w->from_ms = dues[count - 1];
        w->horizon_ms = w->from_ms + 1; /* behind that somebody may be whom nobody knows */
    } else {
        w->from_ms = w->horizon_ms = w->before_ms;
    }
    scan_ask(w);
}

static void scan_ask(struct due_scan *w)
{
    struct durable_host *h = w->host;
    const struct limits *limits = h->world.limits;
    int64_t window_ms = (int64_t)limits->durable_due_window_ms, now_ms = host_wall_ns(h) / 1000000;
    struct err e;

    if (w->asked || h->closing || h->dues.count >= limits->durable_dues_max)
        return;
    if (w->after == 0 && w->horizon_ms - now_ms > window_ms / 2)
        return;
    w->before_ms = MAX(now_ms + window_ms, w->from_ms + 1);
    w->due = (struct journal_scan){
        .kind = w->kind->kind,
        .from_ms = w->from_ms,
        .before_ms = w->before_ms,
        .limit = (uint32_t)MIN(limits->durable_dues_max - h->dues.count, (uint64_t)PAGE_MAX),
        .after = w->after,
        .on_done = on_dues,
    };
    /* What is committed from now on, and is due in the window, may be unknown to this scan. */
    w->horizon_ms = w->before_ms;
    w->asked = true;
    if (journal_due(h->world.journal, &w->due, &e) < 0) {
        w->asked = false;
        w->horizon_ms = w->from_ms + (w->after > 0);
    }
}

void due_on_clock(struct loop_timer *t)
{
    struct durable_host *h = CONTAINER_OF(t, struct durable_host, clock);
    int64_t now_ms = host_wall_ns(h) / 1000000;
    for (int left = DUES_PER_TURN; left > 0; left--) {
        struct heap_node *first = heap_first(&h->dues);
        if (!first || (now_ms < 0 || first->key > (uint64_t)now_ms))
            break;
        struct entity *n = CONTAINER_OF(first, struct entity, due);
        heap_remove(&h->dues, first);
        n->due_came = true;
        slot_soon(n->slot);
    }
    for (size_t i = 0; i < h->kind_count; i++)
        scan_ask(&h->scans[i]);
    clock_arm(h);
}

void due_start(struct durable_host *h)
{
    for (size_t i = 0; i < h->kind_count; i++)
        scan_ask(&h->scans[i]);
    clock_arm(h);
}

/* ---- the start: what is ready ------------------------------------------------------------- */

static void start_next(struct durable_host *h) { loop_defer(h->world.loop, &h->start_task); }

void start_loaded(struct entity *n)
{
    struct durable_host *h = n->slot->host;
    n->of_start = false;
    ASSERT(h->start_left > 0);
    if (--h->start_left == 0 && !h->closing)
        start_next(h);
}

static void start_over(struct durable_host *h, int r, const struct err *e)
{
    h->start_failed = r < 0 && !h->again;
    if (r == 0 || h->again)
        h->start_kind = h->kind_count + 1; /* once */
    if (h->on_ready)
        h->on_ready(h->on_ready_ctx, r, e);
}

/* Of one in a turn it follows by itself. */
static void known_again(struct entity *n)
{
    struct durable_slot *s = n->slot;
    struct journal_key key = entity_key(n);
    enum slot_state was = s->state;
    if (!n->ready)
        return;
    s->state = was == SLOT_IDLE ? SLOT_EMITTING : was;
    s->kind->committed(s->kind->ctx, &key, n->machine);
    s->state = was;
    slot_soon(s);
}

static void on_ready_page(struct journal_scan *q, int r, const struct journal_key *keys,
                          const int64_t *dues, size_t count, uint64_t next, const struct err *e)
{
    struct due_scan *w = CONTAINER_OF(q, struct due_scan, ready);
    struct durable_host *h = w->host;
    (void)dues;
    if (r < 0) {
        start_over(h, r, e);
        return;
    }
    h->start_after = next;
    if (next == 0)
        h->start_kind++;
    h->start_left = 1; /* this page itself, so that it does not end before it was read */
    for (size_t i = 0; i < count; i++) {
        struct durable_slot *s = slot_get(h, &keys[i]);
        struct entity *n = entity_find(s, &keys[i].run);
        if (n && n->machine) { /* an input came first, and with it all was made known */
            if (h->again && !n->in_turn)
                known_again(n);
            continue;
        }
        if (!n)
            n = entity_add(s, &keys[i].run);
        n->reload = n->of_start = true;
        h->start_left++;
        slot_soon(s);
    }
    if (--h->start_left == 0)
        start_next(h);
}

bool durable_ready_again(struct durable_host *h, void (*on_done)(void *ctx, int r, const struct err *e), void *ctx)
{
    if (!h->started || h->closing || h->start_kind <= h->kind_count)
        return false;
    h->again = true;
    h->on_ready = on_done;
    h->on_ready_ctx = ctx;
    h->start_kind = 0;
    h->start_after = 0;
    start_next(h);
    return true;
}

void start_on_task(struct loop_task *t)
{
    struct durable_host *h = CONTAINER_OF(t, struct durable_host, start_task);
    struct err e;
    if (h->start_kind > h->kind_count)
        return;
    if (h->start_kind == h->kind_count) {
        start_over(h, 0, NULL);
        return;
    }
    struct due_scan *w = &h->scans[h->start_kind];
    w->ready = (struct journal_scan){
        .kind = w->kind->kind, .limit = PAGE_MAX / 10, .after = h->start_after, .on_done = on_ready_page
    };
    int r = fault_hit("durable load") ? err_sys(&e, "durable host: load") : journal_ready(h->world.journal, &w->ready, &e);
    if (r < 0)
        start_over(h, r, &e);
}
