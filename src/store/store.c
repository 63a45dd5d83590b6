/* The queues, the two threads and the acknowledgements; the databases are behind engine.h.
 *
 *   loop thread                      writer thread                  reader thread (os/work)
 *   submit ──► changes ─────────────► apply: one transaction
 *   record ──► page ──(full, 200 ms)► records_write: one transaction
 *   records ─► query (a barrier) ───► passes when what came before is written, or cannot be
 *   on_done ◄─ done ◄──────────────── in the order of submission
 *              query ──────────────────────────────────────────────► records_read ──► on_done
 *
 * A query passes through the writer so that a person who just invoked finds the record.
 */
#include "store/store.h"
#include "os/fault.h"
#include "os/work.h"
#include "store/engine.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    FLUSH_US = 200 * 1000,       /* how long a record may wait in a page that is not full */
    TEND_US = 60 * 1000 * 1000,  /* retention and checkpoints while nothing is written */
    RETRY_MS = 1000,             /* between tries while the disk refuses */
    BATCH_PAGES = 16,            /* about 4,000 records: a commit of some 20 ms */
    QUERIES_MAX = 64,            /* record queries waiting for the reader */
    OBJECT_NAME_BYTES_MAX = 512, /* kind, namespace and name, each */
};

enum item_kind { ITEM_CHANGE, ITEM_PAGE, ITEM_QUERY };
struct item {
    struct list_node node;
    enum item_kind kind;
};
struct change_item {
    struct item item;
    struct engine_change change;
    struct store_change *owner;
    size_t bytes;
    char text[];
};
struct page_item {
    struct item item;
    struct record_page page;
};
struct query_item {
    struct item item;
    struct work work;
    struct store *store;
    struct record_query *owner;
    struct record_query spec; /* a copy: the reader does not touch the caller's memory */
    struct invocation_record *rows;
    uint32_t count;
    int r;
    struct err e;
};

/* What is wrong now; code 0: nothing. */
struct health {
    struct err objects, records;
};

struct store {
    struct loop *loop;
    struct limits limits;
    struct engine *engine;
    struct work_pool *readers, *copies;
    struct loop_io io;
    struct loop_timer flush, tend;
    int event_fd;
    pthread_t writer;
    bool writer_runs;

    /* loop thread */
    int64_t version;
    uint64_t changes_waiting, change_bytes_waiting, records_waiting, records_dropped;
    uint32_t queries_waiting;
    struct page_item *page; /* being filled; may be NULL */
    struct health health;
    _Atomic bool closing;

    /* writer thread: pages that could not be written yet, oldest first, and when to try again */
    struct list retry;
    uint64_t retry_ms;

    pthread_mutex_t engine_lock; /* held around engine calls but records_read */
    pthread_mutex_t lock;        /* guards what follows */
    pthread_cond_t wake;
    struct list changes, jobs /* pages and queries */, done;
    struct health health_now;
    int64_t wall_ms; /* the loop's, as of the last hand-over */
    bool tend_due, stopping;
};

/* ---- writer thread ---- */

struct turn { /* what one turn of the writer works on */
    struct list changes, jobs;
    int64_t wall_ms;
    bool tend, stopping, probe;
};

static void list_move(struct list *from, struct list *to, uint32_t max)
{
    for (struct list_node *n; max-- > 0 && (n = list_first(from)) != NULL;) {
        list_remove(from, n);
        list_push(to, n);
    }
}

static bool work_waits(const struct store *s)
{
    return s->changes.count > 0 || s->jobs.count > 0 || s->tend_due || s->stopping;
}

static uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* False: RETRY_MS have passed without news; only while something is wrong. */
static bool turn_wait(struct store *s, bool unwell)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += RETRY_MS / 1000;
    int r = 0;
    while (!work_waits(s) && r == 0)
        r = unwell ? pthread_cond_timedwait(&s->wake, &s->lock, &until)
                   : pthread_cond_wait(&s->wake, &s->lock);
    return work_waits(s);
}

static void turn_begin(struct store *s, struct turn *t)
{
    list_init(&t->changes);
    list_init(&t->jobs);
    pthread_mutex_lock(&s->lock);
    bool objects_unwell = s->health_now.objects.code != CODE_OK;
    bool records_unwell = s->health_now.records.code != CODE_OK;
    bool backlog = s->retry.count > 0 && !records_unwell;
    t->probe = !backlog && !turn_wait(s, objects_unwell || records_unwell) && objects_unwell;
    list_move(&s->changes, &t->changes, UINT32_MAX);
    list_move(&s->jobs, &t->jobs, BATCH_PAGES);
    t->wall_ms = s->wall_ms;
    t->tend = s->tend_due;
    t->stopping = s->stopping;
    s->tend_due = false;
    pthread_mutex_unlock(&s->lock);
}

/* Hands items back and says how it went; `health` points into s->health_now. */
static void turn_report(struct store *s, struct list *items, struct err *health,
                        const struct err *now)
{
    const uint64_t one = 1;
    pthread_mutex_lock(&s->lock);
    list_move(items, &s->done, UINT32_MAX);
    *health = *now;
    pthread_mutex_unlock(&s->lock);
    (void)!write(s->event_fd, &one, sizeof one);
}

static void changes_write(struct store *s, struct turn *t)
{
    struct list batch;
    struct err e = { 0 };
    list_init(&batch);
    LIST_EACH(&t->changes, n, tmp) {
        struct change_item *c = CONTAINER_OF(n, struct change_item, item.node);
        list_push(&batch, &c->change.node);
    }
    pthread_mutex_lock(&s->engine_lock);
    int r = t->probe && batch.count == 0 ? s->engine->ops->probe(s->engine, &e)
                                         : s->engine->ops->apply(s->engine, &batch, &e);
    pthread_mutex_unlock(&s->engine_lock);
    LIST_EACH(&batch, n, tmp) {
        struct engine_change *c = CONTAINER_OF(n, struct engine_change, node);
        list_remove(&batch, n);
        if (r < 0) {
            c->r = r;
            c->e = e;
        }
    }
    turn_report(s, &t->changes, &s->health_now.objects, r < 0 ? &e : &(struct err){ 0 });
}

static bool is_page(struct list_node *n)
{
    return CONTAINER_OF(n, struct item, node)->kind == ITEM_PAGE;
}

static int pages_write(struct store *s, const struct turn *t, struct list *pages, struct err *e)
{
    struct list batch;
    list_init(&batch);
    LIST_EACH(pages, n, tmp) {
        struct page_item *p = CONTAINER_OF(n, struct page_item, item.node);
        list_push(&batch, &p->page.node);
    }
    pthread_mutex_lock(&s->engine_lock);
    int r = s->engine->ops->records_write(s->engine, &batch, t->wall_ms, e);
    pthread_mutex_unlock(&s->engine_lock);
    LIST_EACH(&batch, n, tmp)
        list_remove(&batch, n);
    return r;
}

/* Pages that fail stay in s->retry; queries pass either way, so that a full disk can be asked about. */
static void jobs_write(struct store *s, struct turn *t)
{
    struct list pages, finished;
    struct err e = { 0 };
    list_init(&pages);
    list_init(&finished);
    LIST_EACH(&t->jobs, n, tmp) {
        list_remove(&t->jobs, n);
        list_push(is_page(n) ? &s->retry : &finished, n);
    }
    bool unwell = s->health_now.records.code != CODE_OK;
    if (unwell && clock_ms() < s->retry_ms && !t->stopping) {
        e = s->health_now.records;
        turn_report(s, &finished, &s->health_now.records, &e);
        return;
    }
    list_move(&s->retry, &pages, BATCH_PAGES);
    int r = pages.count > 0 ? pages_write(s, t, &pages, &e) : 0;
    if (r == 0) {
        list_move(&pages, &finished, UINT32_MAX);
    } else {
        list_move(&pages, &s->retry, UINT32_MAX);
        s->retry_ms = clock_ms() + RETRY_MS;
    }
    turn_report(s, &finished, &s->health_now.records, r < 0 ? &e : &(struct err){ 0 });
}

static void *writer_main(void *arg)
{
    struct store *s = arg;
    struct turn t;
    (void)pthread_setname_np(pthread_self(), "store-write");
    for (;;) {
        turn_begin(s, &t);
        bool idle = t.changes.count == 0 && t.jobs.count == 0;
        if (t.changes.count > 0 || t.probe)
            changes_write(s, &t);
        if (t.jobs.count > 0 || s->retry.count > 0)
            jobs_write(s, &t);
        pthread_mutex_lock(&s->engine_lock);
        s->engine->ops->tend(s->engine, idle && t.tend, t.wall_ms);
        pthread_mutex_unlock(&s->engine_lock);
        bool stuck = s->health_now.records.code != CODE_OK;
        if (t.stopping && idle && (s->retry.count == 0 || stuck))
            break;
    }
    pthread_mutex_lock(&s->lock);
    list_move(&s->retry, &s->done, UINT32_MAX); /* lost: after a last try the disk still refuses */
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- loop thread: what comes back ---- */

static void change_done(struct store *s, struct change_item *c)
{
    ASSERT(s->changes_waiting > 0 && s->change_bytes_waiting >= c->bytes);
    s->changes_waiting--;
    s->change_bytes_waiting -= c->bytes;
    if (c->change.r == 0) {
        ASSERT(c->change.version > s->version);
        s->version = c->change.version;
    }
    c->owner->on_done(c->owner, c->change.r, c->change.version, &c->change.e);
    free(c);
}

static void page_done(struct store *s, struct page_item *p)
{
    ASSERT(s->records_waiting >= p->page.count);
    s->records_waiting -= p->page.count;
    free(p);
}

static void query_done(struct query_item *q)
{
    struct store *s = q->store;
    ASSERT(s->queries_waiting > 0);
    s->queries_waiting--;
    q->owner->on_done(q->owner, q->r, q->rows, q->r == 0 ? q->count : 0, &q->e);
    free(q->rows);
    free(q);
}

static void query_run(struct work *w)
{
    struct query_item *q = CONTAINER_OF(w, struct query_item, work);
    struct engine *en = q->store->engine;
    q->r = en->ops->records_read(en, &q->spec, &q->rows, &q->count, &q->e);
}

static void query_read(struct work *w)
{
    struct query_item *q = CONTAINER_OF(w, struct query_item, work);
    if (w->submitted)
        q->r = err_set(&q->e, CODE_CANCELLED, "records: the store closes");
    query_done(q);
}

static void query_passed(struct store *s, struct query_item *q)
{
    q->work.run = query_run;
    q->work.on_done = query_read;
    struct err e;
    int r = work_submit(s->readers, &q->work, &e); /* from here on q is the reader's */
    if (r == 0)
        return;
    q->r = r;
    q->e = e;
    query_done(q);
}

static void item_done(struct store *s, struct item *i)
{
    switch (i->kind) {
    case ITEM_CHANGE: change_done(s, CONTAINER_OF(i, struct change_item, item)); return;
    case ITEM_PAGE: page_done(s, CONTAINER_OF(i, struct page_item, item)); return;
    case ITEM_QUERY: query_passed(s, CONTAINER_OF(i, struct query_item, item)); return;
    }
    UNREACHABLE("every kind returns");
}

static void done_drain(struct store *s)
{
    struct list done;
    list_init(&done);
    pthread_mutex_lock(&s->lock);
    list_move(&s->done, &done, UINT32_MAX);
    s->health = s->health_now;
    pthread_mutex_unlock(&s->lock);
    for (struct list_node *n; (n = list_first(&done)) != NULL;) {
        list_remove(&done, n);
        item_done(s, CONTAINER_OF(n, struct item, node));
    }
}

static void on_event(struct loop_io *io, uint32_t events)
{
    struct store *s = CONTAINER_OF(io, struct store, io);
    uint64_t count;
    (void)events;
    (void)!read(s->event_fd, &count, sizeof count);
    done_drain(s);
}

/* ---- loop thread: what goes in ---- */

static void hand_over(struct store *s, struct list *queue, struct item *i)
{
    pthread_mutex_lock(&s->lock);
    if (i)
        list_push(queue, &i->node);
    else
        s->tend_due = true;
    s->wall_ms = loop_wall_ms();
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

/* Cut to what it holds: asked often while the disk refuses, there would be many with one record. */
static void page_hand_over(struct store *s)
{
    loop_cancel(s->loop, &s->flush);
    if (!s->page)
        return;
    struct page_item *p = TAKE(s->page);
    p->page.capacity = p->page.used;
    p = xrealloc(p, 1, sizeof *p + p->page.capacity);
    hand_over(s, &s->jobs, &p->item);
}

static void on_flush(struct loop_timer *t) { page_hand_over(CONTAINER_OF(t, struct store, flush)); }

static void on_tend(struct loop_timer *t)
{
    struct store *s = CONTAINER_OF(t, struct store, tend);
    hand_over(s, NULL, NULL);
    loop_after(s->loop, &s->tend, TEND_US);
}

static int change_check(const struct store *s, const struct store_change *c, size_t json_size,
                        struct err *e)
{
    const char *const names[] = { c->kind, c->ns, c->name };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (!names[i] || strlen(names[i]) > OBJECT_NAME_BYTES_MAX)
            return err_set(e, CODE_INVALID, "store: kind, namespace and name have at most %d bytes",
                           OBJECT_NAME_BYTES_MAX);
    if (json_size > s->limits.object_bytes_max)
        return err_set(e, CODE_INVALID, "%s %s/%s: %zu bytes are more than object_bytes_max (%llu)",
                       c->kind, c->ns, c->name, json_size,
                       (unsigned long long)s->limits.object_bytes_max);
    if (s->closing)
        return err_set(e, CODE_CANCELLED, "store: it closes");
    if (fault_hit("submit"))
        return err_sys(e, "store");
    if (s->changes_waiting >= s->limits.store_waiting_max)
        return err_set(e, CODE_EXHAUSTED, "store: %llu changes wait already (store_waiting_max)",
                       (unsigned long long)s->changes_waiting);
    if (s->change_bytes_waiting + json_size > s->limits.store_waiting_bytes_max)
        return err_set(e, CODE_EXHAUSTED,
                       "store: %llu bytes wait already (store_waiting_bytes_max)",
                       (unsigned long long)s->change_bytes_waiting);
    return 0;
}

static const char *text_copy(char **to, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*to, text, size);
    *to += size;
    return copy;
}

int store_submit(struct store *s, struct store_change *c, struct err *e)
{
    ASSERT(c->on_done && c->expect_version >= STORE_ANY_VERSION);
    size_t json_size = c->json ? strlen(c->json) : 0;
    int r = change_check(s, c, json_size, e);
    if (r < 0)
        return r;
    size_t size = strlen(c->kind) + strlen(c->ns) + strlen(c->name) + json_size + 4;
    struct change_item *item = xcalloc(1, sizeof *item + size);
    char *to = item->text;
    item->item.kind = ITEM_CHANGE;
    item->owner = c;
    item->bytes = json_size;
    item->change.kind = text_copy(&to, c->kind);
    item->change.ns = text_copy(&to, c->ns);
    item->change.name = text_copy(&to, c->name);
    item->change.json = c->json ? text_copy(&to, c->json) : NULL;
    item->change.expect_version = c->expect_version;
    s->changes_waiting++;
    s->change_bytes_waiting += json_size;
    hand_over(s, &s->changes, &item->item);
    return 0;
}

static bool page_ready(struct store *s, const struct invocation_record *r)
{
    if (s->page && record_page_add(&s->page->page, r))
        return true;
    page_hand_over(s);
    s->page = malloc(sizeof *s->page + RECORD_PAGE_BYTES);
    if (!s->page)
        return false;
    *s->page = (struct page_item){ .item.kind = ITEM_PAGE, .page.capacity = RECORD_PAGE_BYTES };
    loop_after(s->loop, &s->flush, FLUSH_US);
    return record_page_add(&s->page->page, r);
}

void store_record(struct store *s, const struct invocation_record *r)
{
    if (s->closing || s->records_waiting >= s->limits.records_waiting_max || !page_ready(s, r))
        s->records_dropped++;
    else
        s->records_waiting++;
}

int store_records(struct store *s, struct record_query *q, struct err *e)
{
    ASSERT(q->on_done);
    if (q->limit < 1 || q->limit > 1000)
        return err_set(e, CODE_INVALID, "records: limit %u is not from 1 to 1000", q->limit);
    if (s->closing)
        return err_set(e, CODE_CANCELLED, "store: it closes");
    if (s->queries_waiting >= QUERIES_MAX)
        return err_set(e, CODE_EXHAUSTED, "records: %u queries wait already", s->queries_waiting);
    struct query_item *item = xcalloc(1, sizeof *item);
    item->item.kind = ITEM_QUERY;
    item->store = s;
    item->owner = q;
    item->spec = *q;
    s->queries_waiting++;
    page_hand_over(s);
    hand_over(s, &s->jobs, &item->item);
    return 0;
}

uint64_t store_records_dropped(const struct store *s) { return s->records_dropped; }

int64_t store_version(const struct store *s) { return s->version; }

int store_health(const struct store *s, struct err *e)
{
    if (s->health.objects.code != CODE_OK) {
        *e = s->health.objects;
        return -(int)e->code;
    }
    if (s->health.records.code == CODE_OK)
        return 0;
    *e = s->health.records;
    return 1;
}

int store_each(struct store *s, const char *kind,
               int (*on_object)(void *ctx, const struct store_object *o, struct err *e), void *ctx,
               struct err *e)
{
    pthread_mutex_lock(&s->engine_lock);
    int r = s->engine->ops->each(s->engine, kind, on_object, ctx, e);
    pthread_mutex_unlock(&s->engine_lock);
    return r;
}

/* ---- backups ---- */

struct copy {
    struct work work;
    struct store *store;
    struct store_backup *owner;
    char *path;
    uint64_t bytes;
    int r;
    struct err e;
};

static void copy_run(struct work *w)
{
    struct copy *c = CONTAINER_OF(w, struct copy, work);
    struct store *s = c->store;
    pthread_mutex_lock(&s->engine_lock);
    c->r = s->engine->ops->copy(s->engine, c->path, &s->closing, &c->bytes, &c->e);
    pthread_mutex_unlock(&s->engine_lock);
}

static void copy_done(struct work *w)
{
    struct copy *c = CONTAINER_OF(w, struct copy, work);
    if (w->submitted)
        c->r = err_set(&c->e, CODE_CANCELLED, "store: it closes");
    c->owner->on_done(c->owner, c->r, c->bytes, &c->e);
    free(c->path);
    free(c);
}

int store_backup(struct store *s, struct store_backup *b, struct err *e)
{
    if (s->closing)
        return err_set(e, CODE_CANCELLED, "store: it closes");
    if (!s->engine->ops->copy)
        return err_set(e, CODE_UNIMPLEMENTED, "store: this one is copied with its own tools");
    if (work_waiting(s->copies) > 0)
        return err_set(e, CODE_EXHAUSTED, "store: a backup is being made: wait until it is done");
    struct copy *c = xcalloc(1, sizeof *c);
    c->work.run = copy_run;
    c->work.on_done = copy_done;
    c->store = s;
    c->owner = b;
    c->path = xstrdup(b->path);
    int r = work_submit(s->copies, &c->work, e);
    if (r < 0) {
        free(c->path);
        free(c);
    }
    return r;
}

/* ---- life ---- */

static int writer_start(struct store *s, struct err *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals belong to the loop thread */
    int failed = fault_hit("thread") ? EAGAIN : pthread_create(&s->writer, NULL, writer_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failed;
    if (failed)
        return err_sys(e, "start store-write thread");
    s->writer_runs = true;
    return 0;
}

static struct store *store_new(struct loop *l, struct engine *engine, const struct limits *limits)
{
    pthread_condattr_t monotonic;
    struct store *s = xcalloc(1, sizeof *s);
    s->loop = l;
    s->limits = *limits;
    s->engine = engine;
    s->event_fd = -1;
    s->io.on_ready = on_event;
    s->flush.on_due = on_flush;
    s->tend.on_due = on_tend;
    s->version = engine->ops->version(engine);
    list_init(&s->retry);
    list_init(&s->changes);
    list_init(&s->jobs);
    list_init(&s->done);
    pthread_mutex_init(&s->engine_lock, NULL);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return s;
}

int store_open_on(struct loop *l, struct engine *take_engine, const struct limits *limits,
                  struct store **ret, struct err *e)
{
    AUTO(store) struct store *s = store_new(l, take_engine, limits);
    s->event_fd = fault_hit("eventfd") ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->event_fd < 0)
        return err_sys(e, "store: eventfd");
    int r = loop_watch(l, &s->io, s->event_fd, EPOLLIN, e);
    if (r == 0)
        r = work_pool_open(l, "store-read", 1, QUERIES_MAX, &s->readers, e);
    if (r == 0)
        r = work_pool_open(l, "store-copy", 1, 1, &s->copies, e);
    if (r == 0)
        r = writer_start(s, e);
    if (r < 0)
        return err_wrap(e, "store");
    loop_after(l, &s->tend, TEND_US);
    *ret = TAKE(s);
    return 0;
}

int store_open(struct loop *l, const char *dir, const struct limits *limits, struct store **ret,
               struct err *e)
{
    struct engine *engine = NULL;
    int r = sqlite_engine_open(dir, limits, &engine, e);
    return r < 0 ? r : store_open_on(l, engine, limits, ret, e);
}

static void writer_stop(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->writer, NULL);
}

void store_free(struct store *s)
{
    if (!s)
        return;
    s->closing = true;
    page_hand_over(s);
    if (s->writer_runs)
        writer_stop(s);
    done_drain(s);
    work_pool_free(s->copies);
    work_pool_free(s->readers); /* answers the queries that were not read as cancelled */
    ASSERT(s->changes_waiting == 0 && s->records_waiting == 0 && s->queries_waiting == 0);
    ASSERT(s->retry.count == 0 && s->jobs.count == 0 && s->done.count == 0);
    loop_cancel(s->loop, &s->tend);
    loop_unwatch(s->loop, &s->io);
    if (s->event_fd >= 0)
        (void)close(s->event_fd);
    s->engine->ops->close(s->engine);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->engine_lock);
    free(s);
}
