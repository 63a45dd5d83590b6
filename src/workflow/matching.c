#include "workflow/matching.h"

#include "base/map.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define SECOND INT64_C(1000000000)
static const int64_t SEEN_NS = 10 * SECOND;        /* as Temporal: then a sticky queue's worker counts as gone */
static const int64_t QUEUE_KEPT_NS = 300 * SECOND; /* a queue without anything, for who asks about its pollers */
static const double RATE_TAU_S = 30;               /* weight of the past in the two rates */

struct rate {
    double value;
    int64_t at_ns;
};
struct poller {
    char *identity;
    int64_t last_ns;
};
struct matching_queue {
    char *key; /* kind, namespace, NUL, name */
    size_t key_size;
    const char *name; /* in key */
    struct list polls, queries;
    struct heap backlog;
    size_t held;       /* tasks that name this queue, offered or taken */
    int64_t polled_ns; /* 0: never, or its worker is gone */
    int64_t others_ns; /* the same, of workers that are not our own */
    void *watcher;     /* NULL: none */
    struct list_node changed;
    double tasks_per_second, tokens;
    int64_t tokens_ns;
    struct rate added, dispatched;
    struct poller *pollers;
    size_t poller_count;
    struct list_node ready;       /* may have a match */
    struct heap_node later, idle; /* until its rate allows more; until it is forgotten */
};
struct offered {
    struct list_node of_run;
    struct heap_node place; /* in the backlog; not linked: taken */
    struct run_entry *run;
    struct matching_queue *queue;
    struct matching_task task;
    bool seen;
};
struct run_entry {
    struct matching_run key; /* the texts are its own */
    struct list tasks;
};
struct matching {
    const struct limits *limits;
    struct map queues, runs;
    struct list ready, changed;
    struct heap expiries, throttled, idles;
    bool missed;
    struct matching_counts counts;
};

/* ---- rates ---- */

static double rate_at(const struct rate *r, int64_t now_ns)
{
    return r->value * exp(-(double)(now_ns - r->at_ns) / (double)SECOND / RATE_TAU_S);
}

static void rate_count(struct rate *r, int64_t now_ns)
{
    r->value = rate_at(r, now_ns) + 1 / RATE_TAU_S;
    r->at_ns = now_ns;
}

/* A bucket that holds one second's worth, at least one task. */
static void tokens_refill(struct matching_queue *q, int64_t now_ns)
{
    double more = q->tasks_per_second * (double)(now_ns - q->tokens_ns) / (double)SECOND;
    q->tokens = fmin(q->tokens + more, fmax(q->tasks_per_second, 1));
    q->tokens_ns = now_ns;
}

static bool rate_allows(struct matching_queue *q, int64_t now_ns)
{
    if (!(q->tasks_per_second > 0))
        return true;
    tokens_refill(q, now_ns);
    return q->tokens >= 1;
}

static void rate_set(struct matching_queue *q, double per_second, int64_t now_ns)
{
    if (!(per_second > 0) || per_second == q->tasks_per_second)
        return;
    if (q->tasks_per_second > 0)
        tokens_refill(q, now_ns);
    else
        q->tokens = fmax(per_second, 1);
    q->tokens_ns = now_ns;
    q->tasks_per_second = per_second;
    q->tokens = fmin(q->tokens, fmax(per_second, 1));
}

static void dispatched(struct matching_queue *q, int64_t now_ns)
{
    rate_count(&q->dispatched, now_ns);
    if (q->tasks_per_second > 0)
        q->tokens -= 1;
}

/* ---- queues ---- */

static size_t queue_key(struct str ns, const char *name, enum matching_kind kind, char **ret)
{
    size_t name_size = strlen(name), size = 1 + ns.size + 1 + name_size;
    char *key = xcalloc(1, size + 1);
    key[0] = kind == MATCHING_WORKFLOW ? 'w' : 'a';
    if (ns.size)
        memcpy(key + 1, ns.at, ns.size);
    memcpy(key + 2 + ns.size, name, name_size);
    *ret = key;
    return size;
}

static struct matching_queue *queue_find(const struct matching *m, struct str ns, const char *name,
                                         enum matching_kind kind)
{
    AUTO_FREE char *key = NULL;
    size_t size = queue_key(ns, name, kind, &key);
    return map_find(&m->queues, (struct str){ key, size });
}

static bool queue_empty(const struct matching_queue *q)
{
    return !q->polls.count && !q->queries.count && !q->held && !q->watcher;
}

static void queue_free(struct matching *m, struct matching_queue *q)
{
    ASSERT(queue_empty(q));
    if (heap_node_linked(&q->idle))
        heap_remove(&m->idles, &q->idle);
    if (heap_node_linked(&q->later))
        heap_remove(&m->throttled, &q->later);
    if (list_node_linked(&q->ready))
        list_remove(&m->ready, &q->ready);
    if (list_node_linked(&q->changed))
        list_remove(&m->changed, &q->changed);
    map_remove(&m->queues, (struct str){ q->key, q->key_size });
    heap_done(&q->backlog);
    for (size_t i = 0; i < q->poller_count; i++)
        free(q->pollers[i].identity);
    free(q->pollers);
    free(q->key);
    free(q);
}

/* Files the queue where it belongs now. */
static void queue_look(struct matching *m, struct matching_queue *q, int64_t now_ns)
{
    bool may = q->polls.count && (q->backlog.count || q->queries.count);
    bool waits = heap_node_linked(&q->later) && !q->queries.count;
    if (!may && heap_node_linked(&q->later))
        heap_remove(&m->throttled, &q->later);
    if (may && !waits && !list_node_linked(&q->ready))
        list_push(&m->ready, &q->ready);
    if (!may && list_node_linked(&q->ready))
        list_remove(&m->ready, &q->ready);
    if (heap_node_linked(&q->idle))
        heap_remove(&m->idles, &q->idle);
    if (queue_empty(q))
        heap_add(&m->idles, &q->idle, (uint64_t)(now_ns + QUEUE_KEPT_NS));
    if (q->watcher && !list_node_linked(&q->changed))
        list_push(&m->changed, &q->changed);
}

static void queues_forget(struct matching *m, int64_t now_ns)
{
    struct heap_node *n;
    while ((n = heap_first(&m->idles)) && n->key <= (uint64_t)now_ns)
        queue_free(m, CONTAINER_OF(n, struct matching_queue, idle));
}

/* NULL: there are too many. */
static struct matching_queue *queue_get(struct matching *m, struct str ns, const char *name,
                                        enum matching_kind kind, bool beyond_the_limit)
{
    AUTO_FREE char *key = NULL;
    size_t size = queue_key(ns, name, kind, &key);
    struct matching_queue *q = map_find(&m->queues, (struct str){ key, size });
    if (q)
        return q;
    if (m->queues.count >= m->limits->matching_queues_max) { /* an idle one makes room */
        struct heap_node *n = heap_first(&m->idles);
        if (n)
            queue_free(m, CONTAINER_OF(n, struct matching_queue, idle));
        else if (!beyond_the_limit)
            return NULL;
    }
    q = xcalloc(1, sizeof(*q));
    q->key = TAKE(key);
    q->key_size = size;
    q->name = q->key + 2 + ns.size;
    list_init(&q->polls);
    list_init(&q->queries);
    heap_init(&q->backlog);
    map_put(&m->queues, (struct str){ q->key, q->key_size }, q);
    return q;
}

/* That poll was there until now. */
static void attended_by(struct matching_queue *q, const struct matching_poll *p, int64_t now_ns)
{
    q->polled_ns = now_ns;
    if (!p->own)
        q->others_ns = now_ns;
}

static void poller_seen(struct matching_queue *q, const char *identity, int64_t now_ns)
{
    if (!identity || !*identity)
        return;
    size_t oldest = 0;
    for (size_t i = 0; i < q->poller_count; i++) {
        if (!strcmp(q->pollers[i].identity, identity)) {
            q->pollers[i].last_ns = now_ns;
            return;
        }
        if (q->pollers[i].last_ns < q->pollers[oldest].last_ns)
            oldest = i;
    }
    if (q->poller_count < MATCHING_POLLERS_MAX) {
        q->pollers = xrealloc(q->pollers, q->poller_count + 1, sizeof(*q->pollers));
        oldest = q->poller_count++;
    } else {
        free(q->pollers[oldest].identity);
    }
    q->pollers[oldest] = (struct poller){ xstrdup(identity), now_ns };
}

/* ---- polls ---- */

static void poll_link(struct matching *m, struct matching_queue *q, struct matching_poll *p, bool front,
                      int64_t now_ns)
{
    ASSERT(!p->in);
    p->in = q;
    if (front)
        list_push_front(&q->polls, &p->node);
    else
        list_push(&q->polls, &p->node);
    heap_add(&m->expiries, &p->expiry, (uint64_t)p->expires_ns);
    m->counts.polls++;
    queue_look(m, q, now_ns);
}

static void poll_unlink(struct matching *m, struct matching_poll *p)
{
    list_remove(&p->in->polls, &p->node);
    heap_remove(&m->expiries, &p->expiry);
    p->in = NULL;
    m->counts.polls--;
}

int matching_poll_add(struct matching *m, struct matching_poll *p, int64_t now_ns, struct err *e)
{
    queues_forget(m, now_ns);
    if (m->counts.polls >= m->limits->matching_polls_max)
        return err_set(e, CODE_EXHAUSTED, "%zu polls wait already (matching_polls_max)", m->counts.polls);
    struct matching_queue *q = queue_get(m, str_of(p->ns), p->queue, p->kind, false);
    if (!q)
        return err_set(e, CODE_EXHAUSTED, "%" PRIu32 " task queues are in use already (matching_queues_max)",
                       m->queues.count);
    p->since_ns = now_ns;
    rate_set(q, p->tasks_per_second, now_ns);
    attended_by(q, p, now_ns);
    poller_seen(q, p->identity, now_ns);
    poll_link(m, q, p, false, now_ns);
    return 0;
}

void matching_poll_return(struct matching *m, struct matching_poll *p, int64_t now_ns)
{
    /* as many as there are polls in flight, at most */
    struct matching_queue *q = queue_get(m, str_of(p->ns), p->queue, p->kind, true);
    poll_link(m, q, p, true, now_ns);
}

void matching_poll_remove(struct matching *m, struct matching_poll *p)
{
    struct matching_queue *q = p->in;
    if (!q)
        return;
    poll_unlink(m, p);
    queue_look(m, q, q->polled_ns);
}

struct matching_poll *matching_expired(struct matching *m, int64_t now_ns)
{
    queues_forget(m, now_ns);
    struct heap_node *n = heap_first(&m->expiries);
    if (!n || n->key > (uint64_t)now_ns)
        return NULL;
    struct matching_poll *p = CONTAINER_OF(n, struct matching_poll, expiry);
    struct matching_queue *q = p->in;
    poll_unlink(m, p);
    attended_by(q, p, now_ns);
    queue_look(m, q, now_ns);
    return p;
}

struct matching_poll *matching_worker_gone(struct matching *m, const char *ns, const char *worker_key,
                                           const char *sticky_queue)
{
    struct matching_queue *sticky =
        sticky_queue && *sticky_queue ? queue_find(m, str_of(ns), sticky_queue, MATCHING_WORKFLOW) : NULL;
    for (uint32_t i = 0; i < m->expiries.count; i++) {
        struct matching_poll *p = CONTAINER_OF(m->expiries.nodes[i], struct matching_poll, expiry);
        bool its = worker_key && *worker_key && p->worker_key && !strcmp(p->worker_key, worker_key);
        if (strcmp(p->ns, ns) || (!its && p->in != sticky))
            continue;
        matching_poll_remove(m, p);
        return p;
    }
    if (sticky)
        sticky->polled_ns = 0;
    return NULL;
}

void matching_left(struct matching *m, struct str ns, const char *queue, enum matching_kind kind)
{
    struct matching_queue *q = queue_find(m, ns, queue, kind);
    if (q && !q->polls.count)
        q->polled_ns = 0;
}

/* ---- tasks ---- */

static uint64_t place_key(const struct matching_task *t)
{
    uint64_t urgency = t->priority >= 1 && t->priority <= 5 ? (uint64_t)t->priority : 3;
    return urgency << 61 | (uint64_t)t->scheduled_ns;
}

static struct run_entry *run_find(const struct matching *m, const struct uuid *run)
{
    return map_find(&m->runs, (struct str){ (const char *)run->at, sizeof(run->at) });
}

static void offered_free(struct matching *m, struct offered *o, int64_t now_ns)
{
    struct matching_queue *q = o->queue;
    if (heap_node_linked(&o->place))
        heap_remove(&q->backlog, &o->place);
    else
        m->counts.taken--;
    list_remove(&o->run->tasks, &o->of_run);
    q->held--;
    m->counts.tasks--;
    free(o);
    queue_look(m, q, now_ns);
}

static void run_forget(struct matching *m, struct run_entry *r)
{
    ASSERT(!r->tasks.count);
    map_remove(&m->runs, (struct str){ (const char *)r->key.run.at, sizeof(r->key.run.at) });
    m->counts.runs--;
    free((char *)(uintptr_t)r->key.ns.at);
    free((char *)(uintptr_t)r->key.id.at);
    free(r);
}

static struct run_entry *run_get(struct matching *m, const struct matching_run *run)
{
    struct run_entry *r = run_find(m, &run->run);
    if (r)
        return r;
    r = xcalloc(1, sizeof(*r));
    r->key = (struct matching_run){ { xstrndup(run->ns.at, run->ns.size), run->ns.size },
                                    { xstrndup(run->id.at, run->id.size), run->id.size },
                                    run->run };
    list_init(&r->tasks);
    map_put(&m->runs, (struct str){ (const char *)r->key.run.at, sizeof(r->key.run.at) }, r);
    m->counts.runs++;
    return r;
}

/* Same task, same life: it stays as it is, offered or taken. */
static bool same_life(const struct offered *o, const struct matching_task *t)
{
    return o->task.attempt == t->attempt && o->task.stamp == t->stamp && !strcmp(o->queue->name, t->queue);
}

static void offer_one(struct matching *m, struct run_entry *r, const struct matching_task *t, int64_t now_ns)
{
    struct matching_queue *q =
        m->counts.tasks < m->limits->matching_tasks_max ? queue_get(m, r->key.ns, t->queue, t->kind, false)
                                                       : NULL;
    if (!q) {
        m->missed = true;
        m->counts.missed++;
        return;
    }
    struct offered *o = xcalloc(1, sizeof(*o));
    *o = (struct offered){ .run = r, .queue = q, .task = *t, .seen = true };
    o->task.queue = q->name;
    list_push(&r->tasks, &o->of_run);
    heap_add(&q->backlog, &o->place, place_key(t));
    q->held++;
    m->counts.tasks++;
    rate_count(&q->added, now_ns);
    queue_look(m, q, now_ns);
}

/* Tasks come in the same order each time, so the one after the last found is nearly always it. */
static struct offered *offered_find(const struct run_entry *r, struct list_node *from, enum matching_kind kind,
                                    int64_t scheduled_id)
{
    struct list_node *n = from;
    for (uint32_t i = 0; i <= r->tasks.count; i++, n = n->next) {
        if (n == &r->tasks.root)
            continue;
        struct offered *o = CONTAINER_OF(n, struct offered, of_run);
        if (o->task.kind == kind && o->task.scheduled_id == scheduled_id)
            return o;
    }
    return NULL;
}

void matching_offer(struct matching *m, const struct matching_run *run, const struct matching_task *tasks,
                    size_t count, int64_t now_ns)
{
    if (!count && !run_find(m, &run->run))
        return;
    struct run_entry *r = run_get(m, run);
    LIST_EACH(&r->tasks, n, tmp)
        CONTAINER_OF(n, struct offered, of_run)->seen = false;
    struct list_node *from = r->tasks.root.next;
    for (size_t i = 0; i < count; i++) {
        struct offered *o = offered_find(r, from, tasks[i].kind, tasks[i].scheduled_id);
        if (o && same_life(o, &tasks[i])) {
            o->seen = true;
            from = o->of_run.next;
            continue;
        }
        if (o) {
            from = &r->tasks.root;
            offered_free(m, o, now_ns);
        }
        offer_one(m, r, &tasks[i], now_ns);
    }
    LIST_EACH(&r->tasks, n, tmp) {
        struct offered *o = CONTAINER_OF(n, struct offered, of_run);
        if (!o->seen)
            offered_free(m, o, now_ns);
    }
    if (!r->tasks.count)
        run_forget(m, r);
}

struct matching_poll *matching_claim(struct matching *m, const struct matching_run *run,
                                     const struct matching_task *task, int64_t now_ns)
{
    struct matching_queue *q = queue_find(m, run->ns, task->queue, task->kind);
    if (!q || !q->polls.count || !rate_allows(q, now_ns))
        return NULL;
    struct heap_node *first = heap_first(&q->backlog);
    if (first && first->key < place_key(task))
        return NULL;
    struct run_entry *r = run_find(m, &run->run);
    struct offered *o = r ? offered_find(r, r->tasks.root.next, task->kind, task->scheduled_id) : NULL;
    if (o && !heap_node_linked(&o->place) && same_life(o, task))
        return NULL;
    struct matching_poll *p = CONTAINER_OF(list_first(&q->polls), struct matching_poll, node);
    poll_unlink(m, p);
    attended_by(q, p, now_ns);
    rate_count(&q->added, now_ns);
    dispatched(q, now_ns);
    m->counts.claims++;
    queue_look(m, q, now_ns);
    return p;
}

void matching_give_back(struct matching *m, const struct uuid *run, const struct matching_task *task,
                        int64_t now_ns)
{
    struct run_entry *r = run_find(m, run);
    struct offered *o = r ? offered_find(r, r->tasks.root.next, task->kind, task->scheduled_id) : NULL;
    if (!o || heap_node_linked(&o->place) || o->task.stamp != task->stamp || o->task.attempt != task->attempt)
        return;
    heap_add(&o->queue->backlog, &o->place, place_key(&o->task));
    m->counts.taken--;
    queue_look(m, o->queue, now_ns);
}

bool matching_missed(struct matching *m)
{
    if (!m->missed || m->counts.tasks > m->limits->matching_tasks_max / 2)
        return false;
    m->missed = false;
    return true;
}

/* ---- queries ---- */

int matching_query_add(struct matching *m, struct matching_query *query, int64_t now_ns, struct err *e)
{
    ASSERT(!query->in);
    if (m->counts.queries >= m->limits->matching_queries_max)
        return err_set(e, CODE_EXHAUSTED, "%zu queries wait for a worker already (matching_queries_max)",
                       m->counts.queries);
    struct matching_queue *q = queue_get(m, str_of(query->ns), query->queue, MATCHING_WORKFLOW, false);
    if (!q)
        return err_set(e, CODE_EXHAUSTED, "%" PRIu32 " task queues are in use already (matching_queues_max)",
                       m->queues.count);
    query->in = q;
    list_push(&q->queries, &query->node);
    m->counts.queries++;
    queue_look(m, q, now_ns);
    return 0;
}

void matching_query_remove(struct matching *m, struct matching_query *query)
{
    struct matching_queue *q = query->in;
    if (!q)
        return;
    list_remove(&q->queries, &query->node);
    query->in = NULL;
    m->counts.queries--;
    queue_look(m, q, q->polled_ns);
}

/* ---- matches ---- */

static void match_query(struct matching *m, struct matching_queue *q, int64_t now_ns, struct matching_match *ret)
{
    struct matching_query *query = CONTAINER_OF(list_first(&q->queries), struct matching_query, node);
    list_remove(&q->queries, &query->node);
    query->in = NULL;
    m->counts.queries--;
    ret->query = query;
    rate_count(&q->dispatched, now_ns);
}

static void match_task(struct matching *m, struct matching_queue *q, int64_t now_ns, struct matching_match *ret)
{
    struct offered *o = CONTAINER_OF(heap_first(&q->backlog), struct offered, place);
    heap_remove(&q->backlog, &o->place);
    m->counts.taken++;
    ret->run = o->run->key;
    ret->task = o->task;
    dispatched(q, now_ns);
}

static void throttle(struct matching *m, struct matching_queue *q, int64_t now_ns)
{
    list_remove(&m->ready, &q->ready);
    int64_t wait = (int64_t)ceil((1 - q->tokens) / q->tasks_per_second * (double)SECOND);
    if (heap_node_linked(&q->later))
        heap_remove(&m->throttled, &q->later);
    heap_add(&m->throttled, &q->later, (uint64_t)(now_ns + MAX(wait, INT64_C(1000))));
}

bool matching_next(struct matching *m, int64_t now_ns, struct matching_match *ret)
{
    struct heap_node *n;
    while ((n = heap_first(&m->throttled)) && n->key <= (uint64_t)now_ns) {
        heap_remove(&m->throttled, n);
        queue_look(m, CONTAINER_OF(n, struct matching_queue, later), now_ns);
    }
    struct list_node *first;
    while ((first = list_first(&m->ready))) {
        struct matching_queue *q = CONTAINER_OF(first, struct matching_queue, ready);
        ASSERT(q->polls.count && (q->queries.count || q->backlog.count));
        if (!q->queries.count && !rate_allows(q, now_ns)) {
            throttle(m, q, now_ns);
            continue;
        }
        *ret = (struct matching_match){ 0 };
        if (q->queries.count)
            match_query(m, q, now_ns, ret);
        else
            match_task(m, q, now_ns, ret);
        ret->poll = CONTAINER_OF(list_first(&q->polls), struct matching_poll, node);
        poll_unlink(m, ret->poll);
        attended_by(q, ret->poll, now_ns);
        m->counts.matches++;
        queue_look(m, q, now_ns);
        return true;
    }
    return false;
}

int64_t matching_due(const struct matching *m, int64_t now_ns)
{
    if (m->ready.count)
        return now_ns;
    const struct heap_node *expiry = heap_first(&m->expiries), *later = heap_first(&m->throttled);
    uint64_t due = expiry ? expiry->key : INT64_MAX;
    if (later && later->key < due)
        due = later->key;
    return (int64_t)due;
}

/* ---- what is known of a queue ---- */

static bool attended(const struct matching_queue *q, int64_t now_ns)
{
    return q->polls.count || (q->polled_ns && now_ns - q->polled_ns < SEEN_NS);
}

bool matching_polled(const struct matching *m, struct str ns, const char *queue, enum matching_kind kind,
                     int64_t now_ns)
{
    const struct matching_queue *q = queue_find(m, ns, queue, kind);
    return q && attended(q, now_ns);
}

/* When it is, or was, unattended; INT64_MAX: not as it is now. */
static int64_t left_alone_ns(const struct matching_queue *q)
{
    if (q->polls.count || q->backlog.count + q->queries.count == 0)
        return INT64_MAX;
    return q->others_ns ? q->others_ns + SEEN_NS : 0;
}

bool matching_unattended(const struct matching *m, struct str ns, const char *queue, enum matching_kind kind,
                         int64_t now_ns, int64_t *ret_since_ns)
{
    const struct matching_queue *q = queue_find(m, ns, queue, kind);
    if (!q || left_alone_ns(q) > now_ns)
        return false;
    int64_t since_ns = now_ns;
    for (uint32_t i = 0; i < q->backlog.count; i++)
        since_ns = MIN(since_ns, CONTAINER_OF(q->backlog.nodes[i], struct offered, place)->task.scheduled_ns);
    *ret_since_ns = since_ns;
    return true;
}

void matching_demand(const struct matching *m, struct str ns, const char *queue, enum matching_kind kind, int64_t now_ns,
                     struct matching_demand *ret)
{
    const struct matching_queue *q = queue_find(m, ns, queue, kind);
    *ret = (struct matching_demand){ .due_ns = INT64_MAX };
    if (!q)
        return;
    int64_t alone_ns = left_alone_ns(q);
    ret->waiting = q->backlog.count + q->queries.count;
    ret->unattended = alone_ns <= now_ns;
    ret->due_ns = ret->unattended ? INT64_MAX : alone_ns;
    struct heap_node *first = heap_first(&q->backlog);
    ret->has_first = first != NULL;
    if (first) {
        const struct offered *o = CONTAINER_OF(first, struct offered, place);
        ret->run = o->run->key;
        ret->task = o->task;
    }
}

void matching_watch(struct matching *m, const char *ns, const char *queue, enum matching_kind kind, void *watcher,
                    int64_t now_ns)
{
    struct matching_queue *q = queue_get(m, str_of(ns), queue, kind, true);
    ASSERT(!q->watcher && watcher);
    q->watcher = watcher;
    queue_look(m, q, now_ns);
}

void matching_unwatch(struct matching *m, const char *ns, const char *queue, enum matching_kind kind, int64_t now_ns)
{
    struct matching_queue *q = queue_find(m, str_of(ns), queue, kind);
    ASSERT(q && q->watcher);
    q->watcher = NULL;
    if (list_node_linked(&q->changed))
        list_remove(&m->changed, &q->changed);
    queue_look(m, q, now_ns);
}

void *matching_changed(struct matching *m)
{
    struct list_node *n = list_first(&m->changed);
    if (!n)
        return NULL;
    list_remove(&m->changed, n);
    return CONTAINER_OF(n, struct matching_queue, changed)->watcher;
}

void matching_describe(struct matching *m, const char *ns, const char *queue, enum matching_kind kind,
                       int64_t now_ns, struct matching_figures *ret)
{
    *ret = (struct matching_figures){ 0 };
    struct matching_queue *q = queue_find(m, str_of(ns), queue, kind);
    if (!q)
        return;
    ret->backlog = q->backlog.count;
    ret->waiting_polls = q->polls.count;
    for (uint32_t i = 0; i < q->backlog.count; i++) {
        const struct offered *o = CONTAINER_OF(q->backlog.nodes[i], struct offered, place);
        ret->backlog_age_ns = MAX(ret->backlog_age_ns, now_ns - o->task.scheduled_ns);
    }
    ret->added_per_second = rate_at(&q->added, now_ns);
    ret->dispatched_per_second = rate_at(&q->dispatched, now_ns);
    ret->tasks_per_second = q->tasks_per_second;
    LIST_EACH(&q->polls, n, tmp) { /* who waits is there now */
        struct matching_poll *p = CONTAINER_OF(n, struct matching_poll, node);
        attended_by(q, p, now_ns);
        poller_seen(q, p->identity, now_ns);
    }
    for (size_t i = 0; i < q->poller_count; i++)
        if (now_ns - q->pollers[i].last_ns < QUEUE_KEPT_NS)
            ret->pollers[ret->poller_count++] =
                (struct matching_poller){ q->pollers[i].identity, q->pollers[i].last_ns };
}

void matching_counts(const struct matching *m, struct matching_counts *ret)
{
    *ret = m->counts;
    ret->queues = m->queues.count;
}

/* ---- life ---- */

struct matching *matching_new(const struct limits *limits, uint64_t seed)
{
    struct matching *m = xcalloc(1, sizeof(*m));
    m->limits = limits;
    map_init(&m->queues, seed);
    map_init(&m->runs, seed + 1);
    list_init(&m->ready);
    list_init(&m->changed);
    heap_init(&m->expiries);
    heap_init(&m->throttled);
    heap_init(&m->idles);
    return m;
}

void matching_free(struct matching *m)
{
    if (!m)
        return;
    ASSERT(!m->counts.polls && !m->counts.queries);
    const struct map_slot *s;
    for (uint32_t i = 0; (s = map_next(&m->runs, &i)); i = 0) {
        struct run_entry *r = s->value;
        LIST_EACH(&r->tasks, n, tmp)
            offered_free(m, CONTAINER_OF(n, struct offered, of_run), 0);
        run_forget(m, r);
    }
    for (uint32_t i = 0; (s = map_next(&m->queues, &i)); i = 0) {
        ((struct matching_queue *)s->value)->watcher = NULL;
        queue_free(m, s->value);
    }
    map_done(&m->queues);
    map_done(&m->runs);
    heap_done(&m->expiries);
    heap_done(&m->throttled);
    heap_done(&m->idles);
    free(m);
}

void matching_check(const struct matching *m)
{
    const struct map_slot *s;
    size_t polls = 0, queries = 0, held = 0, tasks = 0, taken = 0, backlog = 0;
    for (uint32_t i = 0; (s = map_next(&m->queues, &i));) {
        const struct matching_queue *q = s->value;
        bool may = q->polls.count && (q->backlog.count || q->queries.count);
        ASSERT(may == (list_node_linked(&q->ready) || heap_node_linked(&q->later)));
        ASSERT(queue_empty(q) == heap_node_linked(&q->idle));
        polls += q->polls.count;
        queries += q->queries.count;
        held += q->held;
        backlog += q->backlog.count;
    }
    for (uint32_t i = 0; (s = map_next(&m->runs, &i));) {
        const struct run_entry *r = s->value;
        ASSERT(r->tasks.count > 0);
        tasks += r->tasks.count;
        LIST_EACH(&r->tasks, n, tmp)
            taken += !heap_node_linked(&CONTAINER_OF(n, struct offered, of_run)->place);
    }
    ASSERT(polls == m->counts.polls && queries == m->counts.queries && polls == m->expiries.count);
    ASSERT(tasks == m->counts.tasks && held == tasks && taken == m->counts.taken && backlog == tasks - taken);
    ASSERT(m->runs.count == m->counts.runs);
}
