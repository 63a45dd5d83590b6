/* journal_world.h -- what the tests of the journal share: a loop, a folder, a journal in it, and calls that wait. */
#pragma once

#include "disk.h"
#include "store/journal.h"
#include "tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

struct world {
    struct limits limits;
    struct loop *loop;
    struct journal *journal;
    struct err e;
    char dir[64];
};

static inline void folder_remove(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;)
        (void)unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        closedir(d);
    (void)rmdir(dir);
}
static inline void world_auto(struct world *w)
{
    journal_free(w->journal);
    loop_free(w->loop);
    folder_remove(w->dir);
    disk_reset();
}
static inline bool world_open(struct world *w)
{
    return journal_open(w->loop, w->dir, &w->limits, &w->journal, &w->e) == 0;
}
static inline void world_close(struct world *w)
{
    journal_free(w->journal);
    w->journal = NULL;
}
static inline bool world_reopen(struct world *w)
{
    world_close(w);
    return world_open(w);
}
static inline bool world_make(struct world *w)
{
    disk_install();
    disk_reset();
    limits_default(&w->limits);
    snprintf(w->dir, sizeof w->dir, "/tmp/hob-test-XXXXXX");
    return mkdtemp(w->dir) && loop_open(&w->loop, &w->e) == 0;
}
#define WORLD(w)                                                  \
    __attribute__((cleanup(world_auto))) struct world w = { 0 }; \
    CHECK(world_make(&w));                                        \
    if (!world_open(&w))                                          \
    FAIL("open: %s", w.e.text)

static inline void turn(struct world *w)
{
    if (loop_turn(w->loop, true, &w->e) < 0)
        abort();
}

/* ---- keys, writes ---- */

static inline struct uuid run_of(uint64_t n)
{
    struct uuid u = { { 0 } };
    for (unsigned i = 0; i < 8; i++)
        u.at[15 - i] = (unsigned char)(n >> 8 * i);
    return u;
}
static inline struct journal_key key_of(const char *id, uint64_t run)
{
    return (struct journal_key){ JOURNAL_WORKFLOW, STR("default"), str_of(id), run_of(run) };
}
static const struct journal_index index_plain = { .status = 1, .type = { "greet", 5 }, .close_ns = JOURNAL_NEVER };

static inline struct journal_write write_of(enum journal_op op, const char *id, uint64_t run, uint64_t expect)
{
    return (struct journal_write){ .op = op, .key = key_of(id, run), .expect = expect, .state = STR("state"),
                                   .open = true, .due_ms = JOURNAL_NEVER,
                                   .index = op == JOURNAL_CREATE ? &index_plain : NULL };
}

/* ---- calls that wait ---- */

struct commit {
    struct journal_commit commit;
    bool done;
    int r;
    uint32_t order;
    struct err e;
};
static uint32_t order_next; /* counts completions, over all commits */

static inline void on_commit(struct journal_commit *c, int r, const struct err *e)
{
    struct commit *commit = CONTAINER_OF(c, struct commit, commit);
    if (commit->done)
        abort(); /* exactly once */
    commit->done = true;
    commit->r = r;
    commit->order = order_next++;
    commit->e = *e;
}
static inline int submit(struct world *w, struct commit *c, const struct journal_write *writes, size_t count)
{
    *c = (struct commit){ .commit = { .writes = writes, .count = count, .on_done = on_commit } };
    return journal_submit(w->journal, &c->commit, &w->e);
}
static inline int commit_wait(struct world *w, struct commit *c)
{
    while (!c->done)
        turn(w);
    w->e = c->e;
    return c->r;
}
static inline int commit(struct world *w, const struct journal_write *writes, size_t count)
{
    struct commit c;
    int r = submit(w, &c, writes, count);
    return r < 0 ? r : commit_wait(w, &c);
}
static inline int commit_one(struct world *w, struct journal_write write) { return commit(w, &write, 1); }

struct loaded {
    struct journal_load load;
    bool done;
    int r;
    struct journal_write now; /* its state points into `state` */
    struct uuid current;
    char state[4096];
    struct err e;
};
static inline void on_load(struct journal_load *q, int r, const struct journal_write *now, const struct uuid *current,
                           const struct err *e)
{
    struct loaded *l = CONTAINER_OF(q, struct loaded, load);
    l->done = true;
    l->r = r;
    l->e = *e;
    l->current = *current;
    if (r < 0)
        return;
    l->now = *now;
    memcpy(l->state, now->state.at, MIN(now->state.size, sizeof l->state));
    l->now.state.at = l->state;
}
static inline int load(struct world *w, struct loaded *l, struct journal_key key)
{
    *l = (struct loaded){ .load = { .key = key, .on_done = on_load } };
    int r = journal_load(w->journal, &l->load, &w->e);
    while (r == 0 && !l->done)
        turn(w);
    if (r == 0)
        w->e = l->e;
    return r < 0 ? r : l->r;
}

/* Rows as one text: "1+2=abc;3+1=d;" */
struct read_rows {
    struct journal_read read;
    bool done;
    int r;
    char text[4096];
    struct err e;
};
static inline void on_read(struct journal_read *q, int r, const struct journal_row *rows, size_t count,
                           const struct err *e)
{
    struct read_rows *x = CONTAINER_OF(q, struct read_rows, read);
    size_t at = 0;
    x->done = true;
    x->r = r;
    x->e = *e;
    for (size_t i = 0; i < count && at < sizeof x->text; i++)
        at += (size_t)snprintf(x->text + at, sizeof x->text - at, "%llu+%u=%.*s;", (unsigned long long)rows[i].first,
                               rows[i].count, STR_ARG(rows[i].bytes));
}
static inline int read_rows(struct world *w, struct read_rows *x, struct journal_read q)
{
    *x = (struct read_rows){ .read = q };
    x->read.on_done = on_read;
    int r = journal_read(w->journal, &x->read, &w->e);
    while (r == 0 && !x->done)
        turn(w);
    if (r == 0)
        w->e = x->e;
    return r < 0 ? r : x->r;
}

/* Keys as one text: "a@5;b@7;" with their due times. */
struct scanned {
    struct journal_scan scan;
    bool done;
    int r;
    size_t count;
    uint64_t next;
    int64_t last_due;
    char text[4096];
    struct err e;
};
static inline void on_scan(struct journal_scan *q, int r, const struct journal_key *keys, const int64_t *dues,
                           size_t count, uint64_t next, const struct err *e)
{
    struct scanned *x = CONTAINER_OF(q, struct scanned, scan);
    size_t at = 0;
    x->done = true;
    x->r = r;
    x->e = *e;
    x->count = count;
    x->next = next;
    for (size_t i = 0; i < count && at < sizeof x->text; i++)
        at += (size_t)snprintf(x->text + at, sizeof x->text - at, "%.*s@%lld;", STR_ARG(keys[i].id),
                               dues[i] == JOURNAL_NEVER ? -1 : (long long)dues[i]);
    if (count > 0)
        x->last_due = dues[count - 1];
}
static inline int scan(struct world *w, struct scanned *x, bool due, struct journal_scan q)
{
    *x = (struct scanned){ .scan = q };
    x->scan.on_done = on_scan;
    int r = due ? journal_due(w->journal, &x->scan, &w->e) : journal_ready(w->journal, &x->scan, &w->e);
    while (r == 0 && !x->done)
        turn(w);
    if (r == 0)
        w->e = x->e;
    return r < 0 ? r : x->r;
}
