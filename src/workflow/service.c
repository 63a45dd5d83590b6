#include "workflow/service_impl.h"

#include <stdlib.h>

enum { MISSED_US = 200000 }; /* from the room to the question who needs it */

/* ---- the kind that the host turns ---- */

static int kind_open(void *ctx, const struct journal_key *key, struct str state, void **ret, struct err *e)
{
    (void)ctx;
    struct run *r = NULL;
    int c = run_unpack(state, &r, e);
    if (c < 0)
        return err_wrap(e, "workflow " STR_FMT, STR_ARG(key->id));
    *ret = r;
    return 0;
}

static void kind_free(void *ctx, void *machine)
{
    (void)ctx;
    run_free(machine);
}

static void kind_pack(const void *machine, struct buf *into) { run_pack(machine, into); }

static struct durable_standing kind_standing(const void *machine) { return run_standing(machine); }

static void kind_index(void *ctx, const void *machine, struct journal_index *into)
{
    (void)ctx;
    run_index(machine, into);
}

static size_t kind_bytes(const void *machine) { return run_bytes(machine); }

static void kind_due(void *ctx, void *machine, struct durable_turn *t)
{
    (void)ctx;
    run_due(machine, t);
}

static void kind_settle(void *ctx, void *machine, struct durable_turn *t)
{
    struct journal_key key = run_key(machine);
    const struct service_namespace *n = run_open(machine) || !t->changed ? NULL : map_find(&((struct service *)ctx)->namespaces, key.ns);
    if (n)
        run_retain(machine, t, temporal_duration_ms(n->stored->config->workflow_execution_retention_ttl));
    struct matching_run run = { key.ns, key.id, key.run };
    service_settle(ctx, machine, t, &run);
}

static void kind_committed(void *ctx, const struct journal_key *key, void *machine)
{
    struct service *s = ctx;
    service_offer(s, key, machine);
    service_errands_run(s, key, machine);
    service_waits_look(s, &key->run, machine);
    service_workers_look(s, key, machine);
}

static void kind_dropped(void *ctx, const struct journal_key *key)
{
    struct service *s = ctx;
    service_offer(s, key, NULL);
    service_workers_look(s, key, NULL);
}

struct durable_kind service_kind(struct service *s)
{
    return (struct durable_kind){
        .kind = JOURNAL_WORKFLOW,
        .ctx = s,
        .open = kind_open,
        .free = kind_free,
        .pack = kind_pack,
        .standing = kind_standing,
        .index = kind_index,
        .bytes = kind_bytes,
        .due = kind_due,
        .settle = kind_settle,
        .committed = kind_committed,
        .dropped = kind_dropped,
    };
}

void service_attach(struct service *s, struct durable_host *h)
{
    s->host = h;
    service_sweeps_begin(s);
}

/* ---- what happens later ---- */

static void timer_set(struct service *s)
{
    int64_t now = service_now(s), due = matching_due(s->matching, now);
    struct heap_node *first = heap_first(&s->waits);
    if (first && (int64_t)first->key < due)
        due = (int64_t)first->key;
    if (due == INT64_MAX)
        loop_cancel(s->w.loop, &s->timer);
    else
        loop_after(s->w.loop, &s->timer, due > now ? (uint64_t)((due - now + 999) / 1000) : 0);
}

/* ---- tasks that matching had no room for ---- */

static void missed_later(struct service *s) { loop_after(s->w.loop, &s->missed, MISSED_US); }

static void on_missed_known(void *ctx, int r, const struct err *e)
{
    (void)e;
    if (r < 0)
        missed_later(ctx);
}

static void on_missed(struct loop_timer *t)
{
    struct service *s = CONTAINER_OF(t, struct service, missed);
    if (!s->draining && !durable_ready_again(s->host, on_missed_known, s))
        missed_later(s);
}

static void look(struct service *s)
{
    if (matching_missed(s->matching) && !heap_node_linked(&s->missed.node))
        missed_later(s);
    service_match(s);
    service_waits_expire(s);
    service_watches_tell(s);
    timer_set(s);
}

static void on_look(struct loop_task *t) { look(CONTAINER_OF(t, struct service, look)); }
static void on_timer(struct loop_timer *t) { look(CONTAINER_OF(t, struct service, timer)); }

void service_look_soon(struct service *s) { loop_defer(s->w.loop, &s->look); }

/* ---- life ---- */

int service_open(const struct service_world *w, struct service **ret, struct err *e)
{
    struct service *s = xcalloc(1, sizeof(*s));
    s->w = *w;
    s->rng.state = w->seed;
    s->life = rng_next(&s->rng);
    s->matching = matching_new(w->limits, rng_next(&s->rng));
    list_init(&s->calls);
    list_init(&s->storings);
    map_init(&s->watched, rng_next(&s->rng));
    map_init(&s->errands, rng_next(&s->rng));
    map_init(&s->queries, rng_next(&s->rng));
    map_init(&s->namespaces, rng_next(&s->rng));
    map_init(&s->tended, rng_next(&s->rng));
    map_init(&s->sweeps, rng_next(&s->rng));
    map_init(&s->batches, s->life); /* no draw of its own: seeds of simulated runs keep their meaning */
    heap_init(&s->waits);
    service_workers_open(s);
    s->timer.on_due = on_timer;
    s->missed.on_due = on_missed;
    s->look.run = on_look;
    int r = service_namespaces_open(s, e);
    if (r < 0) {
        service_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void service_drain(struct service *s)
{
    s->draining = true;
    LIST_EACH(&s->calls, n, tmp) {
        struct service_call *c = CONTAINER_OF(n, struct service_call, node);
        if (c->on_drain && !c->gone)
            c->on_drain(c);
    }
}

void service_free(struct service *s)
{
    if (!s)
        return;
    while (s->calls.count) { /* whoever asked has gone by now: what still waits is forgotten */
        struct service_call *c = CONTAINER_OF(list_first(&s->calls), struct service_call, node);
        uint32_t before = s->calls.count;
        service_gone(c);
        ASSERT(s->calls.count < before);
    }
    loop_cancel(s->w.loop, &s->timer);
    loop_cancel(s->w.loop, &s->missed);
    loop_undefer(s->w.loop, &s->look);
    service_tended_close(s);
    service_sweeps_close(s);
    service_batches_close(s);
    ASSERT(!s->waits.count && !s->queries.count);
    service_errands_close(s);
    service_workers_close(s);
    service_namespaces_close(s);
    map_done(&s->watched);
    map_done(&s->errands);
    map_done(&s->queries);
    map_done(&s->namespaces);
    map_done(&s->tended);
    map_done(&s->sweeps);
    map_done(&s->batches);
    heap_done(&s->waits);
    matching_free(s->matching);
    free(s);
}

void service_counts(const struct service *s, struct service_counts *ret)
{
    *ret = s->counts;
    ret->waiting_calls = s->calls.count;
}

const struct matching *service_matching(const struct service *s) { return s->matching; }
