/* The queues, the threads and the answers; durable.db is behind journal_sqlite.h and journal_reader.h.
 *
 *   loop thread              journal-write                       journal-read (several)
 *   submit ──► committer ──► journal_sqlite_write: one transaction
 *   load, read, due, ready ────────────────────────────────────► journal_reader_…, one connection each
 *   list, count ───────────────────────────────────────────────► journal-list: journal_lister_…
 *   on_done ◄────────────────┴───────────────────────────────────┘
 *
 * Questions go past the queue of commits: they see what was acknowledged, and need not wait for what was not. */
#include "store/journal.h"
#include "os/fault.h"
#include "os/work.h"
#include "store/committer.h"
#include "store/journal_copy.h"
#include "store/journal_lister.h"
#include "store/journal_reader.h"
#include "store/journal_schema.h"
#include "store/journal_sum.h"

#include <pthread.h>
#include <stdlib.h>

enum { READERS = 2, NAME_BYTES_MAX = 65536 /* of a namespace, an id, a type, …, each */ };

struct real {
    struct journal journal;
    struct loop *loop;
    struct limits limits;
    struct journal_stats stats;
    struct journal_sqlite *sqlite;
    struct committer *committer;
    struct work_pool *readers, *lists, *copies;
    char *dir;
    struct journal_lister *lister;
    uint64_t waiting, waiting_bytes; /* commits */
    _Atomic bool closing;
    pthread_mutex_t lock; /* guards what follows: connections that are not at work */
    struct journal_reader *idle[READERS];
    unsigned idle_count;
};

enum question_kind { Q_LOAD, Q_READ, Q_DUE, Q_READY, Q_LIST, Q_COUNT };
struct question {
    struct work work;
    struct real *j;
    enum question_kind kind;
    void *owner;
    struct journal_scan scan; /* a copy */
    struct keep keep;
    struct journal_loaded loaded;
    struct journal_rows rows;
    struct journal_keys keys;
    struct journal_list list; /* a copy */
    struct journal_listed listed;
    struct journal_count count; /* a copy */
    struct journal_counted counted;
    int r;
    struct err e;
};

static struct real *real_of(struct journal *j) { return CONTAINER_OF(j, struct real, journal); }

/* ---- commits: what goes in ---- */

static size_t index_bytes(const struct journal_index *x)
{
    size_t bytes = sizeof *x + x->attribute_count * sizeof *x->attributes;
    const struct str texts[] = { x->type, x->queue, x->parent_id, x->root_id, x->division, x->extra };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        bytes += texts[i].size;
    for (size_t i = 0; i < x->attribute_count; i++)
        bytes += x->attributes[i].name.size + x->attributes[i].text.size;
    return bytes;
}

static size_t write_bytes(const struct journal_write *w)
{
    size_t bytes = w->key.ns.size + w->key.id.size + w->state.size + w->row_count * sizeof *w->rows;
    for (size_t i = 0; i < w->row_count; i++)
        bytes += w->rows[i].bytes.size;
    return bytes + (w->index ? index_bytes(w->index) : 0) + 64 /* so that pieces can be aligned */;
}

static void *take(char **at, const void *from, size_t size)
{
    char *to = *at + (16 - (uintptr_t)*at % 16) % 16;
    *at = to + size;
    return size > 0 ? memcpy(to, from, size) : to;
}
static struct str text(char **at, struct str s)
{
    char *to = *at;
    *at += s.size;
    return (struct str){ s.size > 0 ? memcpy(to, s.at, s.size) : to, s.size };
}

static const struct journal_index *index_copy(char **at, const struct journal_index *from)
{
    struct journal_index *x = take(at, from, sizeof *x);
    struct journal_attribute *a = take(at, x->attributes, x->attribute_count * sizeof *a);
    for (size_t i = 0; i < x->attribute_count; i++) {
        bool texts = a[i].type == JOURNAL_KEYWORD || a[i].type == JOURNAL_TEXT || a[i].type == JOURNAL_KEYWORDS;
        a[i].name = text(at, a[i].name);
        a[i].text = texts ? text(at, a[i].text) : (struct str){ 0 };
    }
    x->attributes = a;
    x->type = text(at, x->type);
    x->queue = text(at, x->queue);
    x->parent_id = text(at, x->parent_id);
    x->root_id = text(at, x->root_id);
    x->division = text(at, x->division);
    x->extra = text(at, x->extra);
    return x;
}

static void write_copy(char **at, struct journal_write *to, const struct journal_write *from)
{
    *to = *from;
    to->index = from->index ? index_copy(at, from->index) : NULL;
    struct journal_row *rows = take(at, from->rows, from->row_count * sizeof *rows);
    for (size_t i = 0; i < from->row_count; i++)
        rows[i].bytes = text(at, rows[i].bytes);
    to->rows = rows;
    to->key.ns = text(at, from->key.ns);
    to->key.id = text(at, from->key.id);
    to->state = text(at, from->state);
}

/* Fields are never refused silently cut: what does not fit says so before anything is copied. */
static int write_check(const struct real *j, const struct journal_write *w, struct err *e)
{
    char name[JOURNAL_KEY_TEXT];
    const unsigned long long value_max = j->limits.journal_value_bytes_max;
    static const struct uuid none;
    ASSERT(memcmp(&w->key.run, &none, sizeof none) != 0);
    ASSERT(w->op != JOURNAL_CREATE || w->index);
    if (w->key.ns.size > NAME_BYTES_MAX || w->key.id.size > NAME_BYTES_MAX)
        return err_set(e, CODE_INVALID, "journal: a namespace and an id have at most %d bytes", NAME_BYTES_MAX);
    if (w->state.size > value_max)
        return err_set(e, CODE_INVALID, "%s: its state has %zu bytes; journal_value_bytes_max is %llu",
                       journal_key_text(&w->key, name), w->state.size, value_max);
    for (size_t i = 0; i < w->row_count; i++) {
        const struct journal_row *row = &w->rows[i];
        ASSERT(row->first > 0 && row->count > 0);
        if (row->bytes.size > value_max)
            return err_set(e, CODE_INVALID, "%s: a piece of its history has %zu bytes; journal_value_bytes_max is %llu",
                           journal_key_text(&w->key, name), row->bytes.size, value_max);
        if (row->first >= BIT(JOURNAL_NUMBER_BITS) - row->count)
            return err_set(e, CODE_EXHAUSTED, "%s: a history ends at %llu", journal_key_text(&w->key, name),
                           (unsigned long long)BIT(JOURNAL_NUMBER_BITS) - 1);
    }
    if (w->index && index_bytes(w->index) > value_max)
        return err_set(e, CODE_INVALID, "%s: what it is found by is more than journal_value_bytes_max (%llu)",
                       journal_key_text(&w->key, name), value_max);
    return 0;
}

static int commit_check(const struct real *j, const struct journal_commit *c, size_t *ret_bytes, struct err *e)
{
    size_t bytes = 0;
    ASSERT(c->on_done && c->count > 0 && c->count <= JOURNAL_WRITES_MAX);
    if (j->closing)
        return err_set(e, CODE_CANCELLED, "journal: it closes");
    if (fault_hit("journal_submit"))
        return err_sys(e, "journal");
    for (size_t i = 0; i < c->count; i++) {
        int r = write_check(j, &c->writes[i], e);
        if (r < 0)
            return r;
        bytes += write_bytes(&c->writes[i]);
    }
    if (j->waiting >= j->limits.journal_waiting_max)
        return err_set(e, CODE_EXHAUSTED, "journal: %llu commits wait already (journal_waiting_max)",
                       (unsigned long long)j->waiting);
    if (j->waiting > 0 && j->waiting_bytes + bytes > j->limits.journal_waiting_bytes_max)
        return err_set(e, CODE_EXHAUSTED, "journal: %llu bytes wait already (journal_waiting_bytes_max)",
                       (unsigned long long)j->waiting_bytes);
    *ret_bytes = bytes;
    return 0;
}

static int real_submit(struct journal *journal, struct journal_commit *c, struct err *e)
{
    struct real *j = real_of(journal);
    size_t bytes = 0;
    int r = commit_check(j, c, &bytes, e);
    if (r < 0)
        return r;
    struct journal_item *item = xcalloc(1, sizeof *item + bytes);
    char *at = (char *)(item + 1);
    item->owner = c;
    item->bytes = bytes;
    item->count = c->count;
    for (size_t i = 0; i < c->count; i++)
        write_copy(&at, &item->writes[i], &c->writes[i]);
    ASSERT(at <= (char *)(item + 1) + bytes);
    j->waiting++;
    j->waiting_bytes += bytes;
    committer_push(j->committer, &item->node);
    return 0;
}

/* ---- commits: what comes back ---- */

static int commits_write(void *ctx, struct list *items, struct err *e)
{
    return journal_sqlite_write(((struct real *)ctx)->sqlite, items, e);
}

static void commits_tend(void *ctx, bool idle) { journal_sqlite_tend(((struct real *)ctx)->sqlite, idle); }

static void commit_done(void *ctx, struct list_node *n)
{
    struct real *j = ctx;
    struct journal_item *item = CONTAINER_OF(n, struct journal_item, node);
    ASSERT(j->waiting > 0 && j->waiting_bytes >= item->bytes);
    j->waiting--;
    j->waiting_bytes -= item->bytes;
    item->owner->on_done(item->owner, item->r, &item->e);
    free(item);
}

/* ---- questions ---- */

static struct journal_reader *reader_take(struct real *j)
{
    pthread_mutex_lock(&j->lock);
    ASSERT(j->idle_count > 0); /* as many as there are threads */
    struct journal_reader *r = j->idle[--j->idle_count];
    pthread_mutex_unlock(&j->lock);
    return r;
}
static void reader_put(struct real *j, struct journal_reader *r)
{
    pthread_mutex_lock(&j->lock);
    j->idle[j->idle_count++] = r;
    pthread_mutex_unlock(&j->lock);
}

/* On the thread of the lists, which has their only connection. */
static void list_run(struct work *w)
{
    struct question *q = CONTAINER_OF(w, struct question, work);
    struct journal_lister *l = q->j->lister;
    q->r = q->kind == Q_LIST ? journal_lister_list(l, &q->list, q->list.after, &q->keep, &q->listed, &q->e)
                             : journal_lister_count(l, &q->count, &q->keep, &q->counted, &q->e);
}

static void question_run(struct work *w)
{
    struct question *q = CONTAINER_OF(w, struct question, work);
    struct journal_reader *r = reader_take(q->j);
    switch (q->kind) {
    case Q_LOAD:
        q->r = journal_reader_load(r, &((struct journal_load *)q->owner)->key, &q->keep, &q->loaded, &q->e);
        break;
    case Q_READ: q->r = journal_reader_read(r, q->owner, &q->keep, &q->rows, &q->e); break;
    case Q_DUE:
    case Q_READY: q->r = journal_reader_scan(r, &q->scan, q->kind == Q_DUE, &q->keep, &q->keys, &q->e); break;
    case Q_LIST:
    case Q_COUNT: UNREACHABLE("they are run by list_run()");
    }
    reader_put(q->j, r);
}

static void load_answer(struct journal_load *owner, const struct question *q)
{
    static const struct uuid none;
    owner->on_done(owner, q->r, q->r == 0 ? &q->loaded.now : NULL, q->r == 0 ? &q->loaded.current : &none, &q->e);
}
static void read_answer(struct journal_read *owner, const struct question *q)
{
    owner->on_done(owner, q->r, q->rows.rows, q->r == 0 ? q->rows.count : 0, &q->e);
}
static void scan_answer(struct journal_scan *owner, const struct question *q)
{
    bool good = q->r == 0;
    owner->on_done(owner, q->r, q->keys.keys, q->keys.dues, good ? q->keys.count : 0, good ? q->keys.next : 0, &q->e);
}

static void list_answer(struct journal_list *owner, const struct question *q)
{
    bool good = q->r == 0;
    owner->on_done(owner, q->r, q->listed.rows, good ? q->listed.count : 0, good ? q->listed.next : (struct str){ 0 },
                   &q->e);
}
static void count_answer(struct journal_count *owner, const struct question *q)
{
    bool good = q->r == 0;
    owner->on_done(owner, q->r, good ? q->counted.count : 0, q->counted.groups, good ? q->counted.group_count : 0,
                   &q->e);
}

static void question_done(struct work *w)
{
    struct question *q = CONTAINER_OF(w, struct question, work);
    if (w->submitted)
        q->r = err_set(&q->e, CODE_CANCELLED, "journal: it closes");
    switch (q->kind) {
    case Q_LOAD: load_answer(q->owner, q); break;
    case Q_READ: read_answer(q->owner, q); break;
    case Q_DUE:
    case Q_READY: scan_answer(q->owner, q); break;
    case Q_LIST: list_answer(q->owner, q); break;
    case Q_COUNT: count_answer(q->owner, q); break;
    }
    keep_done(&q->keep);
    free(q);
}

static int question_new(struct real *j, struct work_pool *pool, enum question_kind kind, void *owner,
                        struct question **ret, struct err *e)
{
    if (j->closing)
        return err_set(e, CODE_CANCELLED, "journal: it closes");
    if (work_waiting(pool) >= j->limits.journal_reads_max)
        return err_set(e, CODE_EXHAUSTED, "journal: %u questions wait already (journal_reads_max)", work_waiting(pool));
    struct question *q = xcalloc(1, sizeof *q);
    q->work.run = pool == j->lists ? list_run : question_run;
    q->work.on_done = question_done;
    q->j = j;
    q->kind = kind;
    q->owner = owner;
    *ret = q;
    return 0;
}

static int question_ask(struct work_pool *pool, struct question *take_q, struct err *e)
{
    int r = work_submit(pool, &take_q->work, e);
    if (r < 0) {
        keep_done(&take_q->keep);
        free(take_q);
    }
    return r;
}

static int point_ask(struct journal *journal, enum question_kind kind, void *owner, struct err *e)
{
    struct real *j = real_of(journal);
    struct question *q = NULL;
    int r = question_new(j, j->readers, kind, owner, &q, e);
    return r < 0 ? r : question_ask(j->readers, q, e);
}
static int real_load(struct journal *j, struct journal_load *q, struct err *e) { return point_ask(j, Q_LOAD, q, e); }
static int real_read(struct journal *j, struct journal_read *q, struct err *e) { return point_ask(j, Q_READ, q, e); }

static int limit_check(uint32_t limit, struct err *e)
{
    return limit >= 1 && limit <= 10000 ? 0 : err_set(e, CODE_INVALID, "journal: limit %u is not from 1 to 10000", limit);
}

static int scan_ask(struct journal *journal, enum question_kind kind, struct journal_scan *owner, struct err *e)
{
    struct real *j = real_of(journal);
    struct question *q = NULL;
    int r = limit_check(owner->limit, e);
    if (r == 0)
        r = question_new(j, j->readers, kind, owner, &q, e);
    if (r < 0)
        return r;
    q->scan = *owner;
    return question_ask(j->readers, q, e);
}
static int real_due(struct journal *j, struct journal_scan *q, struct err *e) { return scan_ask(j, Q_DUE, q, e); }
static int real_ready(struct journal *j, struct journal_scan *q, struct err *e) { return scan_ask(j, Q_READY, q, e); }

static int real_list(struct journal *journal, struct journal_list *owner, struct err *e)
{
    struct real *j = real_of(journal);
    struct question *q = NULL;
    int r = limit_check(owner->limit, e);
    if (r == 0)
        r = question_new(j, j->lists, Q_LIST, owner, &q, e);
    if (r < 0)
        return r;
    q->list = *owner;
    q->list.ns = keep_str(&q->keep, owner->ns.at, owner->ns.size);
    q->list.after = keep_str(&q->keep, owner->after.at, owner->after.size);
    return question_ask(j->lists, q, e);
}

static int real_count(struct journal *journal, struct journal_count *owner, struct err *e)
{
    struct real *j = real_of(journal);
    struct question *q = NULL;
    int r = question_new(j, j->lists, Q_COUNT, owner, &q, e);
    if (r < 0)
        return r;
    q->count = *owner;
    q->count.ns = keep_str(&q->keep, owner->ns.at, owner->ns.size);
    return question_ask(j->lists, q, e);
}

/* ---- backups ---- */

struct copy {
    struct work work;
    struct real *j;
    struct journal_backup *owner;
    char *path;
    uint64_t bytes;
    int r;
    struct err e;
};

static void copy_run(struct work *w)
{
    struct copy *c = CONTAINER_OF(w, struct copy, work);
    c->r = journal_copy_make(c->j->dir, &c->j->limits, c->path, &c->j->closing, &c->bytes, &c->e);
}

static void copy_done(struct work *w)
{
    struct copy *c = CONTAINER_OF(w, struct copy, work);
    if (w->submitted)
        c->r = err_set(&c->e, CODE_CANCELLED, "journal: it closes");
    c->owner->on_done(c->owner, c->r, c->bytes, &c->e);
    free(c->path);
    free(c);
}

int journal_backup(struct journal *journal, struct journal_backup *b, struct err *e)
{
    struct real *j = real_of(journal);
    if (j->closing)
        return err_set(e, CODE_CANCELLED, "journal: it closes");
    if (work_waiting(j->copies) > 0)
        return err_set(e, CODE_EXHAUSTED, "journal: a backup is being made: wait until it is done");
    struct copy *c = xcalloc(1, sizeof *c);
    c->work.run = copy_run;
    c->work.on_done = copy_done;
    c->j = j;
    c->owner = b;
    c->path = xstrdup(b->path);
    int r = work_submit(j->copies, &c->work, e);
    if (r < 0) {
        free(c->path);
        free(c);
    }
    return r;
}

/* ---- what else it says ---- */

int journal_health(const struct journal *journal, struct err *e)
{
    const struct real *j = (const struct real *)(const void *)journal;
    return committer_health(j->committer, e);
}

void journal_counts(const struct journal *journal, struct journal_counts *ret)
{
    const struct real *j = (const struct real *)(const void *)journal;
    const struct journal_stats *s = &j->stats;
    *ret = (struct journal_counts){ .commits = atomic_load(&s->commits),
                                    .transactions = atomic_load(&s->transactions),
                                    .rows_written = atomic_load(&s->rows_written),
                                    .fsyncs = atomic_load(&s->fsyncs),
                                    .bytes_written = atomic_load(&s->bytes_written),
                                    .waiting = j->waiting,
                                    .waiting_bytes = j->waiting_bytes,
                                    .checksum_failures = atomic_load(&s->checksum_failures),
                                    .fenced = atomic_load(&s->fenced) };
}

/* ---- life ---- */

static void real_free(struct journal *journal)
{
    struct real *j = real_of(journal);
    j->closing = true;
    committer_free(j->committer); /* commits what waits */
    work_pool_free(j->readers);   /* answers what was not read as cancelled */
    work_pool_free(j->lists);
    work_pool_free(j->copies);
    ASSERT(j->waiting == 0 && j->waiting_bytes == 0);
    while (j->idle_count > 0)
        journal_reader_close(j->idle[--j->idle_count]);
    journal_lister_close(j->lister);
    journal_sqlite_close(j->sqlite);
    pthread_mutex_destroy(&j->lock);
    free(j->dir);
    free(j);
}

static const struct journal_ops real_ops = {
    .submit = real_submit,
    .load = real_load,
    .read = real_read,
    .due = real_due,
    .ready = real_ready,
    .list = real_list,
    .count = real_count,
    .free = real_free,
};
_Static_assert(offsetof(struct real, journal) == 0, "journal_health() and journal_counts() build on it");

static int readers_open(struct real *j, const char *dir, struct err *e)
{
    int r = 0;
    for (; r == 0 && j->idle_count < READERS; j->idle_count += r == 0)
        r = journal_reader_open(dir, &j->limits, &j->stats, &j->idle[j->idle_count], e);
    if (r == 0)
        r = work_pool_open(j->loop, "journal-read", READERS, UINT32_MAX, &j->readers, e);
    if (r == 0)
        r = journal_lister_open(dir, &j->limits, &j->stats, &j->closing, &j->lister, e);
    if (r == 0)
        r = work_pool_open(j->loop, "journal-list", 1, UINT32_MAX, &j->lists, e);
    if (r == 0)
        r = work_pool_open(j->loop, "journal-copy", 1, 1, &j->copies, e);
    return r;
}

int journal_open(struct loop *l, const char *dir, const struct limits *limits, struct journal **ret, struct err *e)
{
    struct real *j = xcalloc(1, sizeof *j);
    AUTO(journal) struct journal *journal = &j->journal;
    const struct committer_spec spec = {
        .name = "journal-write", .ctx = j, .write = commits_write, .tend = commits_tend, .on_done = commit_done
    };
    j->journal.ops = &real_ops;
    j->loop = l;
    j->dir = xstrdup(dir);
    j->limits = *limits;
    pthread_mutex_init(&j->lock, NULL);
    int r = journal_sqlite_open(dir, limits, &j->stats, &j->sqlite, e);
    if (r == 0)
        r = readers_open(j, dir, e);
    if (r == 0)
        r = committer_open(l, &spec, &j->committer, e);
    if (r < 0)
        return r;
    *ret = TAKE(journal);
    return 0;
}
