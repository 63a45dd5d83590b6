#include "fds.h"
#include "store/store.h"
#include "base/buf.h"
#include "disk.h"
#include "os/fault.h"
#include "store/record_page.h"
#include "tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- a world: a loop, a folder, a store in it ---- */

struct world {
    struct limits limits;
    struct loop *loop;
    struct store *store;
    struct err e;
    char dir[64];
};

static void folder_remove(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;)
        (void)unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        closedir(d);
    (void)rmdir(dir);
}

static void world_free(struct world *w)
{
    store_free(w->store);
    loop_free(w->loop);
    folder_remove(w->dir);
    disk_reset();
}
static void world_auto(struct world *w) { world_free(w); }

static bool world_open(struct world *w)
{
    return store_open(w->loop, w->dir, &w->limits, &w->store, &w->e) == 0;
}
static void world_close(struct world *w)
{
    store_free(w->store);
    w->store = NULL;
}
static bool world_reopen(struct world *w)
{
    world_close(w);
    return world_open(w);
}

/* Not yet opened, so that a test can lay something into the folder first. */
static bool world_make(struct world *w)
{
    disk_install();
    disk_reset();
    limits_default(&w->limits);
    snprintf(w->dir, sizeof w->dir, "/tmp/hob-test-XXXXXX");
    return mkdtemp(w->dir) && loop_open(&w->loop, &w->e) == 0;
}
#define WORLD(w) \
    __attribute__((cleanup(world_auto))) struct world w = { 0 }; \
    CHECK(world_make(&w)); \
    if (!world_open(&w)) \
    FAIL("open: %s", w.e.text)

/* ---- changes ---- */

struct change {
    struct store_change change;
    bool done;
    int r;
    int64_t version;
    uint32_t order;
    struct err e;
};
static uint32_t order_next; /* counts completions, over all changes */

static void on_change(struct store_change *c, int r, int64_t version, const struct err *e)
{
    struct change *change = CONTAINER_OF(c, struct change, change);
    if (change->done)
        abort(); /* exactly once */
    change->done = true;
    change->r = r;
    change->version = version;
    change->order = order_next++;
    change->e = *e;
}

static int submit(struct world *w, struct change *c, const char *name, const char *json,
                  int64_t expect)
{
    *c = (struct change){ .change = { .kind = "services",
                                      .ns = "default",
                                      .name = name,
                                      .json = json,
                                      .expect_version = expect,
                                      .on_done = on_change } };
    return store_submit(w->store, &c->change, &w->e);
}

/* Submits, waits; the result. */
static int change(struct world *w, const char *name, const char *json, int64_t expect,
                  int64_t *ret_version)
{
    struct change c;
    int r = submit(w, &c, name, json, expect);
    if (r < 0)
        return r;
    while (!c.done)
        if (loop_turn(w->loop, true, &w->e) < 0)
            abort();
    w->e = c.e;
    if (ret_version)
        *ret_version = c.version;
    return c.r;
}

static int each_into(void *ctx, const struct store_object *o, struct err *e)
{
    (void)e;
    buf_printf(ctx, "%s/%s/%s@%lld=%s;", o->kind, o->ns, o->name, (long long)o->version, o->json);
    return 0;
}

/* All objects of a kind as one text; valid until the next call. */
static const char *objects(struct world *w, const char *kind)
{
    static char text[1 << 20];
    struct buf b;
    buf_init(&b, sizeof text - 1);
    if (store_each(w->store, kind, each_into, &b, &w->e) < 0)
        return w->e.text;
    snprintf(text, sizeof text, STR_FMT, STR_ARG(buf_str(&b)));
    buf_done(&b);
    return text;
}

TEST(objects_are_made_changed_and_deleted_and_survive_a_restart)
{
    WORLD(w);
    int64_t v1 = 0, v2 = 0, v3 = 0, v4 = 0;
    CHECK_EQ(store_version(w.store), 0);
    CHECK_EQ(change(&w, "b", "{\"n\":1}", STORE_ABSENT, &v1), 0);
    CHECK_EQ(change(&w, "a", "{\"n\":2}", STORE_ANY_VERSION, &v2), 0);
    CHECK_EQ(change(&w, "b", "{\"n\":3}", v1, &v3), 0);
    CHECK(v1 == 1 && v2 == 2 && v3 == 3);
    CHECK_EQ(store_version(w.store), v3);
    CHECK_STR(objects(&w, "services"),
              "services/default/a@2={\"n\":2};services/default/b@3={\"n\":3};");
    CHECK_STR(objects(&w, "revisions"), "");
    if (!world_reopen(&w))
        FAIL("%s", w.e.text);
    CHECK_STR(objects(&w, "services"),
              "services/default/a@2={\"n\":2};services/default/b@3={\"n\":3};");
    CHECK_EQ(store_version(w.store), v3);
    CHECK_EQ(change(&w, "b", NULL, v3, &v4), 0);
    CHECK_EQ(v4, 4);
    CHECK_STR(objects(&w, "services"), "services/default/a@2={\"n\":2};");
}

TEST(a_version_is_never_given_out_twice)
{
    WORLD(w);
    int64_t v = 0, before;
    CHECK_EQ(change(&w, "a", "{}", STORE_ABSENT, NULL), 0);
    CHECK_EQ(change(&w, "a", NULL, STORE_ANY_VERSION, &before), 0); /* nothing is left */
    CHECK(world_reopen(&w));
    CHECK_EQ(store_version(w.store), before);
    CHECK_EQ(change(&w, "a", "{}", STORE_ABSENT, &v), 0);
    CHECK_EQ(v, before + 1);

    disk_break(1, DISK_FULL, false); /* the batch fails after its version was chosen */
    CHECK_EQ(change(&w, "c", "{}", STORE_ABSENT, NULL), -CODE_UNAVAILABLE);
    before = v;
    CHECK_EQ(change(&w, "d", "{}", STORE_ABSENT, &v), 0);
    CHECK(v > before + 1);
}

TEST(a_change_that_expects_another_version_is_refused_with_the_reason)
{
    WORLD(w);
    int64_t v = 0;
    CHECK_EQ(change(&w, "a", "{}", 7, NULL), -CODE_ABORTED);
    CHECK(strstr(w.e.text, "there is none") && strstr(w.e.text, "services default/a"));
    CHECK_EQ(change(&w, "a", NULL, STORE_ANY_VERSION, NULL), -CODE_NOT_FOUND);
    CHECK_EQ(change(&w, "a", NULL, 3, NULL), -CODE_ABORTED);
    CHECK_EQ(change(&w, "a", "{}", STORE_ABSENT, &v), 0);
    CHECK_EQ(change(&w, "a", "{\"x\":1}", STORE_ABSENT, NULL), -CODE_ABORTED);
    CHECK(strstr(w.e.text, "exists already"));
    CHECK_EQ(change(&w, "a", "{\"x\":1}", v + 1, NULL), -CODE_ABORTED);
    CHECK_EQ(change(&w, "a", NULL, v + 1, NULL), -CODE_ABORTED);
    CHECK_STR(objects(&w, "services"), "services/default/a@1={};");
    CHECK_EQ(store_version(w.store), v); /* refusals use no version */
    CHECK_EQ(change(&w, "a", NULL, v, NULL), 0);
}

TEST(acknowledgements_come_in_the_order_of_submission_and_few_syncs_carry_many)
{
    enum { CHANGES = 1000 };
    WORLD(w);
    static struct change changes[CHANGES];
    char names[CHANGES][16];
    int syncs = disk.syncs, previous = 0;
    order_next = 0;
    for (int i = 0; i < CHANGES; i++) {
        snprintf(names[i], sizeof names[i], "f%d", i % 37);
        /* about half of them are refused: results of both kinds keep their places */
        CHECK_EQ(submit(&w, &changes[i], names[i], "{}", i % 2 ? STORE_ABSENT : STORE_ANY_VERSION),
                 0);
        CHECK(!changes[i].done); /* never before submit has returned */
    }
    while (!changes[CHANGES - 1].done)
        CHECK(loop_turn(w.loop, true, &w.e) >= 0);
    for (int i = 0; i < CHANGES; i++) {
        CHECK(changes[i].done && changes[i].order == (uint32_t)i);
        CHECK_EQ(changes[i].r, i % 2 && i >= 37 ? -CODE_ABORTED : 0);
        if (changes[i].r == 0) {
            CHECK_EQ(changes[i].version, previous + 1);
            previous++;
        }
    }
    if (disk.syncs - syncs > 100)
        FAIL("%d syncs for %d changes", disk.syncs - syncs, CHANGES);
}

TEST(what_was_submitted_is_committed_and_answered_before_the_store_is_gone)
{
    enum { CHANGES = 50 };
    WORLD(w);
    static struct change changes[CHANGES];
    char names[CHANGES][16];
    for (int i = 0; i < CHANGES; i++) {
        snprintf(names[i], sizeof names[i], "f%02d", i);
        CHECK_EQ(submit(&w, &changes[i], names[i], "{}", STORE_ABSENT), 0);
    }
    world_close(&w);
    for (int i = 0; i < CHANGES; i++)
        CHECK(changes[i].done && changes[i].r == 0);
    CHECK(world_open(&w));
    CHECK_EQ(store_version(w.store), CHANGES);
    CHECK(strstr(objects(&w, "services"), "f49@50={}"));
}

TEST(limits_refuse_at_once_and_say_their_name)
{
    __attribute__((cleanup(world_auto))) struct world w = { 0 };
    CHECK(world_make(&w));
    w.limits.store_waiting_max = 3;
    w.limits.store_waiting_bytes_max = 100;
    w.limits.object_bytes_max = 60;
    CHECK(world_open(&w));
    struct change c[5];
    char long_json[62], name[600];
    memset(long_json, ' ', sizeof long_json);
    long_json[61] = '\0';
    CHECK_EQ(submit(&w, &c[0], "a", long_json, STORE_ABSENT), -CODE_INVALID);
    CHECK(strstr(w.e.text, "object_bytes_max"));
    long_json[60] = '\0';
    CHECK_EQ(submit(&w, &c[0], "a", long_json, STORE_ABSENT), 0);
    CHECK_EQ(submit(&w, &c[1], "b", long_json, STORE_ABSENT), -CODE_EXHAUSTED);
    CHECK(strstr(w.e.text, "store_waiting_bytes_max"));
    CHECK_EQ(submit(&w, &c[1], "b", "{}", STORE_ABSENT), 0);
    CHECK_EQ(submit(&w, &c[2], "c", "{}", STORE_ABSENT), 0);
    CHECK_EQ(submit(&w, &c[3], "d", "{}", STORE_ABSENT), -CODE_EXHAUSTED);
    CHECK(strstr(w.e.text, "store_waiting_max"));
    while (!c[2].done)
        CHECK(loop_turn(w.loop, true, &w.e) >= 0);
    CHECK_EQ(submit(&w, &c[3], "d", long_json, STORE_ABSENT), 0); /* there is room again */
    memset(name, 'n', sizeof name);
    name[599] = '\0';
    CHECK_EQ(submit(&w, &c[4], name, "{}", STORE_ABSENT), -CODE_INVALID);
    while (!c[3].done)
        CHECK(loop_turn(w.loop, true, &w.e) >= 0);
}

/* ---- what a machine leaves behind ---- */

enum { STEPS = 24, NAMES = 5 };
struct model { /* what must be there: by name, the last acknowledged change and those after it */
    int64_t acked_version[NAMES];
    int acked_step[NAMES]; /* -1: absent */
    bool uncertain[NAMES]; /* a later change was not acknowledged: either is right */
    int64_t version;
};

/* Runs a fixed history of puts and deletes, in batches; notes what was acknowledged. */
static void history_run(struct world *w, struct model *m)
{
    static struct change changes[STEPS];
    char names[STEPS][8], jsons[STEPS][400];
    for (int i = 0; i < NAMES; i++)
        m->acked_step[i] = -1;
    for (int from = 0; from < STEPS;) {
        int to = from + 1 + from % 4;
        to = to > STEPS ? STEPS : to;
        for (int i = from; i < to; i++) {
            snprintf(names[i], sizeof names[i], "f%d", i % NAMES);
            snprintf(jsons[i], sizeof jsons[i], "{\"step\":%d,\"pad\":\"%0300d\"}", i, i);
            if (submit(w, &changes[i], names[i], i % 7 == 6 ? NULL : jsons[i], STORE_ANY_VERSION) <
                0)
                abort();
        }
        while (!changes[to - 1].done)
            if (loop_turn(w->loop, true, &w->e) < 0)
                abort();
        for (int i = from; i < to; i++) {
            if (changes[i].r == -CODE_NOT_FOUND)
                continue;
            m->uncertain[i % NAMES] = changes[i].r != 0;
            if (changes[i].r != 0)
                continue;
            m->acked_version[i % NAMES] = changes[i].version;
            m->acked_step[i % NAMES] = i % 7 == 6 ? -1 : i;
            m->version = changes[i].version;
        }
        from = to;
    }
}

/* NULL, or what is wrong. exact: what was not acknowledged must not be there. */
static const char *history_check(struct world *w, const struct model *m, bool exact)
{
    static char wrong[300];
    const char *all = objects(w, "services");
    if (store_version(w->store) < m->version)
        return "the version went back";
    for (int i = 0; i < NAMES; i++) {
        char expected[80], any[40];
        snprintf(any, sizeof any, "/f%d@", i);
        snprintf(expected, sizeof expected, "/f%d@%lld={\"step\":%d,", i,
                 (long long)m->acked_version[i], m->acked_step[i]);
        bool there = strstr(all, any) != NULL;
        bool right = m->acked_step[i] < 0 ? !there : strstr(all, expected) != NULL;
        if (!right && (exact || !m->uncertain[i])) {
            snprintf(wrong, sizeof wrong, "expected %s (%s) in %.180s", expected,
                     m->acked_step[i] < 0 ? "absent" : "there", all);
            return wrong;
        }
    }
    return NULL;
}

TEST(after_a_power_cut_at_any_moment_everything_acknowledged_is_there)
{
    int cuts = 0;
    for (int nth = 1;; nth++) {
        WORLD(w);
        struct model m = { 0 };
        struct rng rng = { (uint64_t)nth };
        disk_break(nth, DISK_POWER, false);
        history_run(&w, &m);
        bool fired = disk.fired;
        world_close(&w);
        disk_power_cut(&rng);
        if (!world_open(&w))
            FAIL("cut %d: %s", nth, w.e.text);
        const char *wrong = history_check(&w, &m, false);
        if (wrong)
            FAIL("cut %d: %s", nth, wrong);
        int64_t v = 0;
        CHECK_EQ(change(&w, "after", "{}", STORE_ABSENT, &v), 0);
        CHECK(v > m.version);
        if (!fired)
            break;
        cuts++;
    }
    if (cuts < 30)
        FAIL("only %d moments to cut at", cuts);
}

TEST(any_one_failing_operation_refuses_its_batch_and_nothing_else)
{
    static const enum disk_fault faults[] = { DISK_EIO, DISK_FULL, DISK_SHORT };
    for (size_t f = 0; f < COUNT_OF(faults); f++) {
        int refused = 0;
        for (int nth = 1;; nth++) {
            WORLD(w);
            struct model m = { 0 };
            disk_break(nth, faults[f], false);
            history_run(&w, &m);
            bool fired = disk.fired;
            const char *wrong = history_check(&w, &m, true);
            if (wrong)
                FAIL("fault %zu at %d: %s", f, nth, wrong);
            for (int i = 0; i < NAMES; i++)
                refused += m.uncertain[i];
            int64_t v = 0;
            disk_break(0, DISK_EIO, false);
            CHECK_EQ(change(&w, "after", "{}", STORE_ABSENT, &v), 0);
            CHECK(v > m.version);
            CHECK_EQ(store_health(w.store, &w.e), 0);
            if (!world_reopen(&w))
                FAIL("fault %zu at %d: %s", f, nth, w.e.text);
            wrong = history_check(&w, &m, true);
            if (wrong)
                FAIL("fault %zu at %d, opened again: %s", f, nth, wrong);
            if (!fired)
                break;
        }
        if (refused < 10)
            FAIL("fault %zu: hardly anything was refused (%d)", f, refused);
    }
}

TEST(while_the_disk_refuses_nothing_is_acknowledged_and_later_it_is)
{
    WORLD(w);
    CHECK_EQ(change(&w, "a", "{}", STORE_ABSENT, NULL), 0);
    CHECK_EQ(store_health(w.store, &w.e), 0);
    disk_break(1, DISK_FULL, true);
    CHECK_EQ(change(&w, "b", "{}", STORE_ABSENT, NULL), -CODE_UNAVAILABLE);
    if (!strstr(w.e.text, "hob.db") || !strstr(w.e.text, "disk is full"))
        FAIL("%s", w.e.text);
    CHECK_EQ(store_health(w.store, &w.e), -CODE_UNAVAILABLE);
    CHECK(strstr(w.e.text, "disk is full"));
    disk_break(1, DISK_EIO, true);
    CHECK_EQ(change(&w, "b", "{}", STORE_ABSENT, NULL), -CODE_UNAVAILABLE);
    CHECK(strstr(w.e.text, "hob.db") && strstr(w.e.text, "I/O error"));
    CHECK_STR(objects(&w, "services"), "services/default/a@1={};");

    disk_break(0, DISK_EIO, false); /* healthy again, and found so without a change */
    while (store_health(w.store, &w.e) != 0)
        CHECK(loop_turn(w.loop, true, &w.e) >= 0);
    CHECK_EQ(change(&w, "b", "{}", STORE_ABSENT, NULL), 0);
}

TEST(pages_that_come_back_damaged_are_refused_and_read_again_later)
{
    enum { COUNT = 1000, BYTES = 20000 }; /* more than the connection caches */
    WORLD(w);
    static char json[BYTES];
    char name[16];
    memset(json, 'x', sizeof json - 1);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "f%d", i);
        CHECK_EQ(change(&w, name, json, STORE_ABSENT, NULL), 0);
    }
    CHECK(world_reopen(&w));
    disk.corrupt_reads = true;
    int r = change(&w, "f7", "{}", STORE_ANY_VERSION, NULL);
    if (r != -CODE_UNAVAILABLE || !strstr(w.e.text, "hob.db") || !strstr(w.e.text, "corrupt"))
        FAIL("r=%d %s", r, w.e.text);
    disk.corrupt_reads = false;
    int64_t v = 0;
    CHECK_EQ(change(&w, "f7", "{}", STORE_ANY_VERSION, &v), 0);
    CHECK(v > COUNT);
}

/* ---- opening ---- */

TEST(a_store_that_cannot_be_opened_leaves_nothing_behind)
{
    __attribute__((cleanup(world_auto))) struct world w = { 0 };
    CHECK(world_make(&w));
    int fds = fds_open(), nth = 0;
    for (bool fired = true; fired;) {
        CHECK(++nth < 50);
        fault_arm(nth);
        int r = store_open(w.loop, w.dir, &w.limits, &w.store, &w.e);
        fired = fault_fired();
        fault_arm(0);
        CHECK((r < 0) == fired && (w.store == NULL) == fired);
        if (!fired)
            world_close(&w);
        CHECK_EQ(fds_open(), fds);
    }
    CHECK(nth > 3);

    static const enum disk_fault faults[] = { DISK_EIO, DISK_FULL, DISK_SHORT, DISK_POWER };
    for (size_t f = 0; f < COUNT_OF(faults); f++) {
        nth = 0;
        for (bool fired = true; fired;) {
            struct rng rng = { (uint64_t)nth };
            char dir[64];
            world_free(&w);
            memset(&w, 0, sizeof w);
            CHECK(world_make(&w));
            snprintf(dir, sizeof dir, "%s", w.dir);
            CHECK(++nth < 200);
            disk_break(nth, faults[f], false);
            int r = store_open(w.loop, w.dir, &w.limits, &w.store, &w.e);
            if (r < 0 && (r != -CODE_UNAVAILABLE || !strstr(w.e.text, dir)))
                FAIL("fault %zu at %d: r=%d %s", f, nth, r, w.e.text);
            world_close(&w);
            fired = disk.fired;
            CHECK_EQ(fds_open(), fds);
            if (faults[f] == DISK_POWER)
                disk_power_cut(&rng);
            disk_break(0, DISK_EIO, false);
            if (!world_open(&w)) /* half-made tables are not in the way */
                FAIL("fault %zu at %d, again: %s", f, nth, w.e.text);
            CHECK_EQ(change(&w, "a", "{}", STORE_ABSENT, NULL), 0);
        }
        CHECK(nth > 10);
    }
}

static bool file_write(const struct world *w, const char *name, const void *bytes, size_t size,
                       off_t at)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && pwrite(fd, bytes, size, at) == (ssize_t)size;
    if (fd >= 0)
        close(fd);
    return ok;
}
static size_t file_read(const struct world *w, const char *name, char *into, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    FILE *f = fopen(path, "rbe");
    size_t n = f ? fread(into, 1, size, f) : 0;
    if (f)
        fclose(f);
    return n;
}
static bool sql(const struct world *w, const char *name, const char *text)
{
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    bool ok = sqlite3_open(path, &db) == SQLITE_OK &&
              sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK;
    sqlite3_close(db);
    return ok;
}

TEST(a_damaged_or_foreign_file_is_named_and_left_alone)
{
    static const struct {
        const char *file, *sql; /* sql NULL: bytes are damaged */
        off_t damage_at;
        int code;
        const char *says;
        bool log; /* of pages that are whole: one that is damaged would be healed by it */
    } cases[] = {
        { "hob.db", NULL, 0, CODE_DATA_LOSS, "corrupt" },
        { "telemetry.db", NULL, 0, CODE_DATA_LOSS, "corrupt" },
        { "hob.db", NULL, 4096, CODE_DATA_LOSS, "left as it is" },
        { "hob.db", NULL, 3 * 4096 + 2, CODE_DATA_LOSS, "left as it is" },
        { "hob.db", NULL, 12 * 4096, CODE_DATA_LOSS, "left as it is", true },
        { "hob.db", "PRAGMA user_version = 99", 0, CODE_PRECONDITION, "newer hob" },
        { "telemetry.db", "PRAGMA user_version = 99", 0, CODE_PRECONDITION, "newer hob" },
        { "hob.db", "PRAGMA application_id = 12345", 0, CODE_PRECONDITION, "something else" },
    };
    static char before[1 << 20], after[1 << 20];
    char json[3000], name[16], junk[64];
    memset(json, 'x', sizeof json);
    json[sizeof json - 1] = '\0';
    memset(junk, 0xa5, sizeof junk);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        WORLD(w);
        for (int n = 0; n < 20; n++) {
            snprintf(name, sizeof name, "f%d", n);
            CHECK_EQ(change(&w, name, json, STORE_ABSENT, NULL), 0);
        }
        CHECK(world_reopen(&w));
        if (cases[i].log)
            CHECK_EQ(change(&w, "f19", json, STORE_ANY_VERSION, NULL), 0);
        disk.dead = cases[i].log; /* the log remains; an ordinary close would write it back */
        world_close(&w);
        disk.dead = false;
        CHECK(cases[i].sql ? sql(&w, cases[i].file, cases[i].sql)
                           : file_write(&w, cases[i].file, junk, sizeof junk, cases[i].damage_at));
        size_t size = file_read(&w, cases[i].file, before, sizeof before);
        int r = store_open(w.loop, w.dir, &w.limits, &w.store, &w.e);
        if (r != -cases[i].code || !strstr(w.e.text, cases[i].file) ||
            !strstr(w.e.text, cases[i].says))
            FAIL("case %zu: r=%d %s", i, r, w.e.text);
        CHECK(w.store == NULL);
        CHECK_EQ(file_read(&w, cases[i].file, after, sizeof after), size);
        CHECK(size > 4096 && memcmp(before, after, size) == 0);
    }
}

TEST(a_second_hob_on_the_same_folder_is_refused)
{
    WORLD(w);
    CHECK_EQ(change(&w, "a", "{}", STORE_ABSENT, NULL), 0);
    struct store *second = NULL;
    CHECK_EQ(store_open(w.loop, w.dir, &w.limits, &second, &w.e), -CODE_UNAVAILABLE);
    CHECK(!second && strstr(w.e.text, "another process uses it"));
    CHECK_EQ(change(&w, "b", "{}", STORE_ABSENT, NULL), 0);
}

/* A disk that is really full, not one that says so: a tmpfs of its own, in its own mount namespace. */
TEST(a_full_disk_refuses_and_recovers)
{
    disk_install();
    __attribute__((cleanup(world_auto))) struct world w = { 0 };
    CHECK(world_make(&w));
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", w.dir, "tmpfs", 0, "size=1m") != 0)
        SKIP("mounting needs root");
    char dir[64], filler[128], json[30000];
    snprintf(dir, sizeof dir, "%s", w.dir);
    snprintf(filler, sizeof filler, "%s/filler", w.dir);
    memset(json, 'x', sizeof json);
    json[sizeof json - 1] = '\0';
    bool opened = world_open(&w);
    int r = 0, acked = 0;
    for (int i = 0; opened && r == 0 && i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        r = change(&w, name, json, STORE_ABSENT, NULL);
        acked += r == 0;
    }
    bool full = strstr(w.e.text, "the disk is full") != NULL;
    int count = 0;
    const char *all = objects(&w, "services");
    for (const char *p = all; (p = strstr(p, "services/")) != NULL; p++)
        count++;
    world_close(&w);
    opened = opened && world_open(&w);
    bool survived = opened && store_version(w.store) == acked;
    struct stat st;
    (void)stat(dir, &st);
    int made_room = opened ? mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=8m") : -1;
    int later = opened ? change(&w, "later", json, STORE_ABSENT, NULL) : -1;
    world_close(&w);
    (void)umount2(dir, MNT_DETACH);
    CHECK_EQ(r, -CODE_UNAVAILABLE);
    CHECK(full && acked > 5 && count == acked);
    CHECK(survived && made_room == 0);
    CHECK_EQ(later, 0);
}

/* ---- records ---- */

/* Recent, so that age does not take them; the same for the whole run, so that ids repeat. */
static int64_t records_begin_ms(void)
{
    static int64_t begin_ms;
    if (!begin_ms)
        begin_ms = loop_wall_ms() - 60000;
    return begin_ms;
}

static struct invocation_record record(uint64_t n, const char *ns, const char *service, bool cold)
{
    struct invocation_record r = { .wall_ms = records_begin_ms() + (int64_t)n,
                                   .arrival_us = n * 1000,
                                   .status = 200,
                                   .outcome = INVOCATION_OK,
                                   .total_us = (uint32_t)n,
                                   .dispatch_us = 1,
                                   .first_byte_us = 2,
                                   .request_bytes = n,
                                   .response_bytes = UINT64_MAX,
                                   .cold = cold };
    uint8_t random[10] = { (uint8_t)(n >> 8), (uint8_t)n };
    r.id = uuid_v7(r.wall_ms, random);
    memcpy(r.trace.trace_id, r.id.at, sizeof r.trace.trace_id);
    snprintf(r.ns, sizeof r.ns, "%s", ns);
    snprintf(r.service, sizeof r.service, "%s", service);
    snprintf(r.revision, sizeof r.revision, "%s-00001", service);
    snprintf(r.method, sizeof r.method, "GET");
    snprintf(r.path, sizeof r.path, "/n/%d", (int)n);
    if (cold) {
        r.has_start = true;
        r.queue_us = 17;
        r.coverage_permille = 995;
        snprintf(r.start.id, sizeof r.start.id, "%s-i%d", service, (int)n);
        r.start.phases[PHASE_SANDBOX] = (struct phase_mark){ 3, 4, 5, PHASE_DONE };
        r.start.caches[CACHE_ZYGOTE] = CACHE_MISS;
    }
    return r;
}

struct query {
    struct record_query query;
    bool done;
    int r;
    uint32_t count;
    struct invocation_record rows[1000];
    struct err e;
};
static void on_query(struct record_query *q, int r, const struct invocation_record *rows,
                     uint32_t count, const struct err *e)
{
    struct query *query = CONTAINER_OF(q, struct query, query);
    if (query->done)
        abort();
    query->done = true;
    query->r = r;
    query->count = count;
    if (count)
        memcpy(query->rows, rows, count * sizeof *rows);
    query->e = *e;
}
static int ask(struct world *w, struct query *q)
{
    q->done = false;
    q->query.on_done = on_query;
    int r = store_records(w->store, &q->query, &w->e);
    while (r == 0 && !q->done)
        if (loop_turn(w->loop, true, &w->e) < 0)
            abort();
    return r < 0 ? r : q->r;
}

TEST(a_packed_page_gives_back_what_was_put_in)
{
    struct record_page *page = calloc(1, sizeof *page + RECORD_PAGE_BYTES);
    struct invocation_record r, back;
    uint32_t count = 0, at = 0;
    page->capacity = RECORD_PAGE_BYTES;
    for (;;) {
        r = record(count, "default", "f", count % 3 == 0);
        memset(r.error, 'e', count % 160);
        memset(r.path, 'p', sizeof r.path - 1);
        if (!record_page_add(page, &r))
            break;
        count++;
    }
    CHECK(count > 60 && page->count == count);
    for (uint32_t i = 0; i < count; i++) {
        r = record(i, "default", "f", i % 3 == 0);
        memset(r.error, 'e', i % 160);
        memset(r.path, 'p', sizeof r.path - 1);
        CHECK(record_page_next(page, &at, &back));
        CHECK(memcmp(&r, &back, sizeof r) == 0);
    }
    CHECK(!record_page_next(page, &at, &back));
    free(page);
}

TEST(a_record_is_found_at_once_and_after_a_restart_as_it_was)
{
    WORLD(w);
    static struct query q;
    struct invocation_record cold = record(1, "default", "f", true),
                             warm = record(2, "default", "f", false);
    cold.response_bytes = warm.response_bytes = INT64_MAX; /* what SQL can hold */
    snprintf(warm.error, sizeof warm.error, "the instance died");
    warm.outcome = INVOCATION_FAILED;
    store_record(w.store, &cold);
    store_record(w.store, &warm);
    for (int restart = 0; restart < 2; restart++) {
        q.query = (struct record_query){ .by_id = true, .id = cold.id, .limit = 1 };
        CHECK_EQ(ask(&w, &q), 0);
        CHECK(q.count == 1 && memcmp(&q.rows[0], &cold, sizeof cold) == 0);
        q.query = (struct record_query){ .by_id = true, .id = warm.id, .limit = 10 };
        CHECK_EQ(ask(&w, &q), 0);
        CHECK(q.count == 1 && memcmp(&q.rows[0], &warm, sizeof warm) == 0);
        q.query.id.at[15] ^= 1;
        CHECK_EQ(ask(&w, &q), 0);
        CHECK_EQ(q.count, 0);
        CHECK(world_reopen(&w));
    }
    store_record(w.store, &warm); /* twice: the first stays */
    q.query = (struct record_query){ .limit = 10 };
    CHECK_EQ(ask(&w, &q), 0);
    CHECK_EQ(q.count, 2);
    CHECK_EQ(store_records_dropped(w.store), 0);
}

TEST(a_trace_finds_what_it_went_through_oldest_first_and_no_other)
{
    WORLD(w);
    static struct query q;
    struct invocation_record first = record(1, "default", "f", true), other = record(2, "default", "g", false),
                             second = record(3, "default", "g", false), alone = record(4, "default", "g", false);
    memset(first.trace.trace_id, 0xab, sizeof first.trace.trace_id);
    second.trace = first.trace; /* f called g; `other` and `alone` began traces of their own */
    memcpy(other.trace.trace_id, alone.id.at, sizeof alone.id.at); /* alone's caller went on to g by itself */
    const struct invocation_record *const all[] = { &second, &first, &other, &alone };
    first.response_bytes = second.response_bytes = other.response_bytes = alone.response_bytes = 1;
    for (size_t i = 0; i < COUNT_OF(all); i++)
        store_record(w.store, all[i]);
    for (int restart = 0; restart < 2; restart++) {
        q.query = (struct record_query){ .by_trace = true, .limit = 10 };
        memcpy(q.query.id.at, first.trace.trace_id, sizeof q.query.id.at);
        CHECK_EQ(ask(&w, &q), 0);
        CHECK(q.count == 2 && memcmp(&q.rows[0], &first, sizeof first) == 0 &&
              memcmp(&q.rows[1], &second, sizeof second) == 0);
        q.query.id = alone.id; /* began with it: its record has no id of a trace beside its own */
        CHECK_EQ(ask(&w, &q), 0);
        CHECK(q.count == 2 && memcmp(&q.rows[0], &other, sizeof other) == 0 &&
              memcmp(&q.rows[1], &alone, sizeof alone) == 0);
        q.query.id = first.id;
        CHECK_EQ(ask(&w, &q), 0);
        CHECK_EQ(q.count, 0); /* an invocation is not the trace that another began */
        CHECK(world_reopen(&w));
    }
}

TEST(queries_choose_by_function_and_cold_newest_first)
{
    WORLD(w);
    static struct query q;
    static const struct {
        const char *ns, *service;
        bool cold;
        uint32_t limit, expected;
        uint64_t first; /* request_bytes of the newest */
    } cases[] = {
        { "", "", false, 1000, 600, 599 },     { "", "", false, 7, 7, 599 },
        { "one", "a", false, 1000, 200, 597 }, { "one", "a", false, 3, 3, 597 },
        { "one", "", false, 1000, 400, 598 },  { "", "a", false, 1000, 400, 599 },
        { "two", "a", true, 1000, 20, 599 },   { "", "", true, 1000, 60, 599 },
        { "", "", true, 5, 5, 599 },           { "nobody", "a", false, 10, 0, 0 },
        { "two", "b", true, 10, 0, 0 },
    };
    for (uint64_t n = 0; n < 600;
         n++) { /* one/a, one/b, two/a in turn; every tenth of each is cold */
        struct invocation_record r =
            record(n, n % 3 == 2 ? "two" : "one", n % 3 == 1 ? "b" : "a", n / 3 % 10 == 9);
        store_record(w.store, &r);
    }
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        q.query = (struct record_query){ .cold_only = cases[i].cold, .limit = cases[i].limit };
        snprintf(q.query.ns, sizeof q.query.ns, "%s", cases[i].ns);
        snprintf(q.query.service, sizeof q.query.service, "%s", cases[i].service);
        CHECK_EQ(ask(&w, &q), 0);
        if (q.count != cases[i].expected || (q.count && q.rows[0].request_bytes != cases[i].first))
            FAIL("case %zu: %u rows, newest %" PRIu64, i, q.count,
                 q.count ? q.rows[0].request_bytes : 0);
        for (uint32_t k = 0; k < q.count; k++) {
            CHECK(k == 0 || q.rows[k].request_bytes < q.rows[k - 1].request_bytes);
            CHECK(!cases[i].ns[0] || strcmp(q.rows[k].ns, cases[i].ns) == 0);
            CHECK(!cases[i].service[0] || strcmp(q.rows[k].service, cases[i].service) == 0);
            CHECK(!cases[i].cold || (q.rows[k].cold && q.rows[k].has_start));
        }
    }
    q.query.limit = 0;
    CHECK_EQ(ask(&w, &q), -CODE_INVALID);
    q.query.limit = 1001;
    CHECK_EQ(ask(&w, &q), -CODE_INVALID);
}

static uint32_t records_count(struct world *w)
{
    static struct query q;
    q.query = (struct record_query){ .limit = 1000 };
    return ask(w, &q) == 0 ? q.count : UINT32_MAX;
}

TEST(old_records_go_by_number)
{
    __attribute__((cleanup(world_auto))) struct world w = { 0 };
    CHECK(world_make(&w));
    w.limits.records_max = 150;
    w.limits.records_age_s = 315360000;
    CHECK(world_open(&w));
    static struct query q;
    for (uint64_t n = 0; n < 1000; n++) {
        struct invocation_record r = record(n, "default", "f", false);
        store_record(w.store, &r);
        if (n == 500)
            CHECK(world_reopen(&w)); /* the count is kept, not begun anew */
    }
    CHECK_EQ(records_count(&w), 150);
    q.query = (struct record_query){ .limit = 1000 };
    CHECK_EQ(ask(&w, &q), 0);
    CHECK(q.rows[0].request_bytes == 999 && q.rows[149].request_bytes == 850);
}

TEST(old_records_go_by_age)
{
    __attribute__((cleanup(world_auto))) struct world w = { 0 };
    CHECK(world_make(&w));
    w.limits.records_age_s = 3600;
    CHECK(world_open(&w));
    static struct query q;
    int64_t now_ms = loop_wall_ms();
    for (uint64_t n = 0; n < 100; n++) {
        struct invocation_record r = record(n, "default", "f", false);
        r.wall_ms = now_ms - (n < 50 ? 3600 * 1000 + 60000 : 3600 * 1000 - 60000);
        r.id = uuid_v7(r.wall_ms, (uint8_t[10]){ [5] = (uint8_t)n });
        store_record(w.store, &r);
    }
    q.query = (struct record_query){ .limit = 1000 };
    CHECK_EQ(ask(&w, &q), 0);
    CHECK_EQ(q.count, 50);
    CHECK_EQ(q.rows[49].request_bytes, 50);
}

TEST(records_beyond_the_limit_are_dropped_and_counted_and_the_others_wait_for_the_disk)
{
    __attribute__((cleanup(world_auto))) struct world w = { 0 };
    CHECK(world_make(&w));
    w.limits.records_waiting_max = 300;
    w.limits.records_max = 301; /* failed batches must not count */
    CHECK(world_open(&w));
    static struct query q;
    disk.only = "telemetry";
    disk_break(1, DISK_FULL, true);
    for (uint64_t n = 0; n < 1000; n++) {
        struct invocation_record r = record(n, "default", "f", false);
        store_record(w.store, &r);
    }
    CHECK_EQ(store_records_dropped(w.store), 700);
    q.query = (struct record_query){ .limit = 1000 };
    CHECK_EQ(ask(&w, &q), 0); /* a query is answered all the same */
    CHECK_EQ(q.count, 0);
    CHECK_EQ(store_health(w.store, &w.e), 1);
    CHECK(strstr(w.e.text, "telemetry.db") && strstr(w.e.text, "disk is full"));
    CHECK_EQ(change(&w, "a", "{}", STORE_ABSENT, NULL), 0); /* objects are not affected */

    disk_break(0, DISK_EIO, false);
    while (store_health(w.store, &w.e) != 0)
        CHECK(loop_turn(w.loop, true, &w.e) >= 0);
    CHECK_EQ(records_count(&w), 300);
    CHECK_EQ(store_records_dropped(w.store), 700);
    struct invocation_record r = record(5000, "default", "f", false);
    store_record(w.store, &r);
    CHECK_EQ(records_count(&w), 301);
}

TEST(a_backlog_is_written_before_the_store_is_gone)
{
    WORLD(w);
    static struct query q;
    struct invocation_record r = { 0 };
    disk.only = "telemetry";
    disk_break(1, DISK_FULL, true);
    for (uint64_t n = 0; n < 10000; n++) {
        r = record(n, "default", "f", false);
        store_record(w.store, &r);
    }
    while (store_health(w.store, &w.e) == 0)
        CHECK(loop_turn(w.loop, true, &w.e) >= 0);
    disk_break(0, DISK_EIO, false);
    CHECK(world_reopen(&w));
    r.response_bytes = INT64_MAX;
    q.query = (struct record_query){ .by_id = true, .id = r.id, .limit = 1 };
    CHECK_EQ(ask(&w, &q), 0);
    CHECK(q.count == 1 && memcmp(&q.rows[0], &r, sizeof r) == 0);
    CHECK_EQ(records_count(&w), 1000);
}

TEST(closing_with_records_that_cannot_be_written_ends_and_answers_the_queries)
{
    WORLD(w);
    static struct query q[20];
    disk.only = "telemetry";
    disk_break(1, DISK_EIO, true);
    for (int i = 0; i < 20; i++) {
        struct invocation_record r = record((uint64_t)i, "default", "f", false);
        store_record(w.store, &r);
        q[i].done = false;
        q[i].query = (struct record_query){ .limit = 1, .on_done = on_query };
        CHECK_EQ(store_records(w.store, &q[i].query, &w.e), 0);
    }
    world_close(&w);
    for (int i = 0; i < 20; i++)
        CHECK(q[i].done && (q[i].r == 0 || q[i].r == -CODE_CANCELLED));
}

TEST_MAIN()
