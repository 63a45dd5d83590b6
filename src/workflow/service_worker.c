#include "workflow/service_worker.h"
#include "workflow/service_impl.h"

#include <stdio.h>
#include <stdlib.h>

/* Tasks of one run that workers of ours have; in service->held by run. */
struct holding {
    struct uuid run;
    struct list tasks; /* struct held.of_run */
};
struct held {
    struct list_node of_run, of_worker;
    struct holding *in;
    struct service_worker *worker;
    struct run_token token;
};
/* An open run whose history a worker has at hand; in service->cached by run. */
struct cached {
    struct list_node of_worker; /* oldest first */
    struct service_worker *worker;
    struct uuid run;
};
struct sticky { /* a sticky queue that it polled */
    struct sticky *next;
    char *key; /* namespace, NUL, name */
    size_t key_size;
};
struct service_worker {
    struct service *s;
    uint64_t id;
    char *ns, *queue;
    const struct service_worker_ops *ops;
    void *owner;
    bool polled, draining;
    struct list held, cached;
    struct sticky *sticky;
    uint32_t sticky_count;
};

enum { STICKY_KEY_MAX = 255 + 1 + SERVICE_ID_BYTES_MAX };

static struct str run_str(const struct uuid *run) { return (struct str){ (const char *)run->at, sizeof(run->at) }; }

static struct str id_str(const uint64_t *id) { return (struct str){ (const char *)id, sizeof(*id) }; }

/* false: longer than a name may be. */
static bool sticky_key(const char *ns, const char *queue, char into[STICKY_KEY_MAX], size_t *ret_size)
{
    size_t ns_size = strlen(ns), queue_size = strlen(queue);
    if (ns_size + 1 + queue_size > STICKY_KEY_MAX)
        return false;
    memcpy(into, ns, ns_size + 1);
    memcpy(into + ns_size + 1, queue, queue_size);
    *ret_size = ns_size + 1 + queue_size;
    return true;
}

/* ---- life ---- */

struct service_worker *service_worker_new(struct service *s, const char *ns, const char *queue,
                                          const struct service_worker_ops *ops, void *owner)
{
    struct service_worker *w = xcalloc(1, sizeof(*w));
    *w = (struct service_worker){ .s = s, .id = ++s->worker_last, .ns = xstrdup(ns), .queue = xstrdup(queue), .ops = ops,
                                  .owner = owner };
    list_init(&w->held);
    list_init(&w->cached);
    map_put(&s->workers, id_str(&w->id), w);
    return w;
}

uint64_t service_worker_id(const struct service_worker *w) { return w->id; }

uint32_t service_worker_cached(const struct service_worker *w) { return w->cached.count; }

void service_worker_drain(struct service_worker *w)
{
    w->draining = true;
    LIST_EACH(&w->s->calls, n, tmp) {
        struct service_call *c = CONTAINER_OF(n, struct service_call, node);
        if (c->worker == w && c->on_drain && !c->gone)
            c->on_drain(c);
    }
}

static void held_free(struct held *h)
{
    struct service *s = h->worker->s;
    list_remove(&h->worker->held, &h->of_worker);
    list_remove(&h->in->tasks, &h->of_run);
    if (!h->in->tasks.count) {
        map_remove(&s->held, run_str(&h->in->run));
        free(h->in);
    }
    free(h);
}

static void cached_free(struct cached *x)
{
    map_remove(&x->worker->s->cached, run_str(&x->run));
    list_remove(&x->worker->cached, &x->of_worker);
    free(x);
}

void service_worker_free(struct service_worker *w)
{
    if (!w)
        return;
    struct service *s = w->s;
    service_worker_drain(w);
    LIST_EACH(&s->calls, n, tmp) {
        struct service_call *c = CONTAINER_OF(n, struct service_call, node);
        if (c->worker == w)
            c->worker = NULL;
    }
    LIST_EACH(&w->held, n, tmp)
        held_free(CONTAINER_OF(n, struct held, of_worker));
    LIST_EACH(&w->cached, n, tmp)
        cached_free(CONTAINER_OF(n, struct cached, of_worker));
    for (struct sticky *k; (k = w->sticky) != NULL;) {
        w->sticky = k->next;
        map_remove(&s->sticky_of, (struct str){ k->key, k->key_size });
        matching_left(s->matching, str_of(k->key), k->key + strlen(k->key) + 1, MATCHING_WORKFLOW);
        free(k->key);
        free(k);
    }
    map_remove(&s->workers, id_str(&w->id));
    free(w->ns);
    free(w->queue);
    free(w);
}

struct service_worker *service_worker_find(const struct service *s, uint64_t id) { return map_find(&s->workers, id_str(&id)); }

bool service_worker_drains(const struct service_worker *w) { return w->draining; }

void service_worker_left(struct service_worker *w)
{
    if (w->draining)
        service_worker_drain(w);
}

/* ---- what it may ask ---- */

/* What a worker asks of no namespace, and every SDK does. */
static bool is_harmless(const char *method)
{
    static const char *const names[] = { "GetSystemInfo", "GetClusterInfo" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (!strcmp(method, names[i]))
            return true;
    return false;
}

int service_worker_check(const struct service_worker *w, const char *method, const char *ns, struct refusal *no)
{
    if (*ns ? !strcmp(ns, w->ns) : is_harmless(method))
        return 0;
    return refuse(no, CODE_DENIED, *ns ? "this instance works for namespace %s: it may not speak of another"
                                       : "this instance works for namespace %s: it may not speak of namespaces as such",
                  w->ns);
}

/* ---- polls ---- */

static void sticky_known(struct service_worker *w, const char *queue)
{
    char key[STICKY_KEY_MAX];
    size_t size;
    if (!sticky_key(w->ns, queue, key, &size) || map_find(&w->s->sticky_of, (struct str){ key, size }))
        return;
    if (w->sticky_count >= w->s->w.limits->worker_stickies_max) {
        if (w->s->w.on_limit)
            w->s->w.on_limit(w->s->w.ctx, "worker_stickies_max");
        return;
    }
    w->sticky_count++;
    struct sticky *k = xcalloc(1, sizeof(*k));
    *k = (struct sticky){ .next = w->sticky, .key = xcalloc(1, size + 1), .key_size = size };
    memcpy(k->key, key, size);
    w->sticky = k;
    map_put(&w->s->sticky_of, (struct str){ key, size }, w);
}

bool service_worker_polls(struct service_worker *w, const char *queue, bool sticky)
{
    if (w->draining)
        return false;
    if (sticky) {
        sticky_known(w, queue);
    } else if (!w->polled && !strcmp(queue, w->queue)) {
        w->polled = true;
        w->ops->on_polled(w->owner);
    }
    return true;
}

/* ---- what it holds ---- */

void service_worker_took(struct service_worker *w, const struct run_token *token)
{
    struct service *s = w->s;
    struct holding *in = map_find(&s->held, run_str(&token->run));
    if (!in) {
        in = xcalloc(1, sizeof(*in));
        in->run = token->run;
        list_init(&in->tasks);
        map_put(&s->held, run_str(&in->run), in);
    }
    struct held *h = xcalloc(1, sizeof(*h));
    *h = (struct held){ .in = in, .worker = w, .token = *token };
    list_push(&in->tasks, &h->of_run);
    list_push(&w->held, &h->of_worker);
    w->ops->on_task(w->owner, 1);
}

static void held_look(struct service *s, const struct uuid *run, const struct run *r)
{
    struct holding *in = map_find(&s->held, run_str(run));
    for (struct list_node *n = in ? list_first(&in->tasks) : NULL, *next; n; n = next) {
        struct held *h = CONTAINER_OF(n, struct held, of_run);
        next = n->next == &in->tasks.root ? NULL : n->next; /* the last one takes `in` along */
        struct service_worker *w = h->worker;
        if (r && run_open(r) && run_holds(r, &h->token))
            continue;
        held_free(h);
        w->ops->on_task(w->owner, -1);
    }
}

static struct service_worker *sticky_worker(const struct service *s, const struct journal_key *key, const struct run *r)
{
    char text[STICKY_KEY_MAX];
    const char *queue = r && run_open(r) ? run_sticky_queue(r) : NULL;
    size_t size, ns_size = key->ns.size, queue_size = queue ? strlen(queue) : 0;
    if (!queue || ns_size + 1 + queue_size > STICKY_KEY_MAX)
        return NULL;
    memcpy(text, key->ns.at, ns_size);
    text[ns_size] = '\0';
    memcpy(text + ns_size + 1, queue, queue_size);
    size = ns_size + 1 + queue_size;
    return map_find(&s->sticky_of, (struct str){ text, size });
}

static void cached_look(struct service *s, const struct journal_key *key, const struct run *r)
{
    struct service_worker *w = sticky_worker(s, key, r);
    struct cached *x = map_find(&s->cached, run_str(&key->run));
    if (x && x->worker == w)
        return;
    if (x)
        cached_free(x);
    if (!w)
        return;
    if (w->cached.count >= s->w.limits->worker_cached_runs_max) {
        if (s->w.on_limit)
            s->w.on_limit(s->w.ctx, "worker_cached_runs_max");
        cached_free(CONTAINER_OF(list_first(&w->cached), struct cached, of_worker));
    }
    x = xcalloc(1, sizeof(*x));
    *x = (struct cached){ .worker = w, .run = key->run };
    list_push(&w->cached, &x->of_worker);
    map_put(&s->cached, run_str(&x->run), x);
}

void service_workers_look(struct service *s, const struct journal_key *key, const struct run *r)
{
    if (!s->workers.count)
        return;
    if (s->held.count)
        held_look(s, &key->run, r);
    if (s->sticky_of.count)
        cached_look(s, key, r);
}

/* ---- demand ---- */

struct service_watch {
    struct service *s;
    char *ns, *queue;
    void (*on_change)(void *owner);
    void *owner;
};

struct service_watch *service_watch_new(struct service *s, const char *ns, const char *queue, void (*on_change)(void *owner),
                                        void *owner)
{
    struct service_watch *w = xcalloc(1, sizeof(*w));
    *w = (struct service_watch){ s, xstrdup(ns), xstrdup(queue), on_change, owner };
    matching_watch(s->matching, ns, queue, MATCHING_WORKFLOW, w, service_now(s));
    matching_watch(s->matching, ns, queue, MATCHING_ACTIVITY, w, service_now(s));
    service_look_soon(s);
    return w;
}

void service_watch_free(struct service_watch *w)
{
    if (!w)
        return;
    matching_unwatch(w->s->matching, w->ns, w->queue, MATCHING_WORKFLOW, service_now(w->s));
    matching_unwatch(w->s->matching, w->ns, w->queue, MATCHING_ACTIVITY, service_now(w->s));
    free(w->ns);
    free(w->queue);
    free(w);
}

void service_watches_tell(struct service *s)
{
    struct service_watch *w;
    while ((w = matching_changed(s->matching)))
        w->on_change(w->owner);
}

static void first_fill(const struct matching_demand *d, struct service_waiting *ret)
{
    *ret = (struct service_waiting){ .activity = d->task.kind == MATCHING_ACTIVITY, .scheduled_ns = d->task.scheduled_ns };
    snprintf(ret->id, sizeof(ret->id), STR_FMT, STR_ARG(d->run.id));
    uuid_format(&d->run.run, ret->run);
}

void service_demand(const struct service *s, const char *ns, const char *queue, struct service_demand *ret)
{
    *ret = (struct service_demand){ .due_ns = INT64_MAX };
    for (enum matching_kind k = 0; k < MATCHING_KINDS; k++) {
        struct matching_demand d;
        matching_demand(s->matching, str_of(ns), queue, k, service_now(s), &d);
        ret->waiting += (uint32_t)MIN(d.waiting, (size_t)UINT32_MAX / 4);
        ret->due_ns = MIN(ret->due_ns, d.due_ns);
        if (d.unattended && d.has_first && (!ret->first.id[0] || d.task.scheduled_ns < ret->first.scheduled_ns))
            first_fill(&d, &ret->first);
        ret->unattended |= d.unattended;
    }
}

void service_workers_close(struct service *s)
{
    ASSERT(!s->workers.count && !s->held.count && !s->cached.count && !s->sticky_of.count);
    map_done(&s->workers);
    map_done(&s->held);
    map_done(&s->cached);
    map_done(&s->sticky_of);
}

void service_workers_open(struct service *s)
{
    map_init(&s->workers, rng_next(&s->rng));
    map_init(&s->held, rng_next(&s->rng));
    map_init(&s->cached, rng_next(&s->rng));
    map_init(&s->sticky_of, rng_next(&s->rng));
}
