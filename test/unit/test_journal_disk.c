/* What a disk does to the journal: it is full, fails, forgets, loses its power, flips bits; and what the journal then
 * answers. */
#include "journal_mover.h"

TEST(after_a_power_cut_at_any_moment_everything_acknowledged_is_there)
{
    static struct mover m;
    int cuts = 0;
    for (int nth = 1;; nth++) {
        WORLD(w);
        m = (struct mover){ .rng = { 3 } };
        CHECK(mover_begin(&w, &m));
        struct rng rng = { (uint64_t)nth };
        disk_break(nth, DISK_POWER, false);
        mover_run(&w, &m, 6);
        bool fired = disk.fired;
        world_close(&w);
        fired = fired || disk.fired;
        disk_power_cut(&rng);
        if (!world_open(&w))
            FAIL("cut %d: %s", nth, w.e.text);
        const char *wrong = mover_check(&w, &m, false);
        if (wrong)
            FAIL("cut %d: %s", nth, wrong);
        CHECK_EQ(mover_run(&w, &m, 2), 0);
        if (!fired)
            break;
        cuts++;
    }
    if (cuts < 60)
        FAIL("only %d moments to cut at", cuts);
}

TEST(any_one_failing_operation_refuses_its_batch_and_nothing_else)
{
    static const enum disk_fault faults[] = { DISK_EIO, DISK_FULL, DISK_SHORT, DISK_LOST };
    static struct mover m;
    for (size_t f = 0; f < COUNT_OF(faults); f++) {
        int refused = 0;
        for (int nth = 1;; nth++) {
            WORLD(w);
            m = (struct mover){ .rng = { 4 } };
            CHECK(mover_begin(&w, &m));
            disk_break(nth, faults[f], false);
            refused += mover_run(&w, &m, 6);
            bool fired = disk.fired;
            disk_break(0, DISK_EIO, false);
            const char *wrong = mover_check(&w, &m, true);
            if (wrong)
                FAIL("fault %zu at %d: %s", f, nth, wrong);
            CHECK_EQ(mover_run(&w, &m, 1), 0);
            CHECK_EQ(journal_health(w.journal, &w.e), 0);
            if (!world_reopen(&w))
                FAIL("fault %zu at %d: %s", f, nth, w.e.text);
            wrong = mover_check(&w, &m, true);
            if (wrong)
                FAIL("fault %zu at %d, opened again: %s", f, nth, wrong);
            if (!fired)
                break;
        }
        if (refused < 10)
            FAIL("fault %zu: hardly anything was refused (%d)", f, refused);
    }
}

/* A sync fails, and the kernel takes what it could not write for written. Later commits are acknowledged, by this
 * process or by the next one; then the power goes. */
TEST(a_sync_that_failed_once_is_never_trusted)
{
    static struct mover m;
    int tried = 0;
    for (int restart = 0; restart < 2; restart++)
        for (int nth = 1;; nth++) {
            WORLD(w);
            m = (struct mover){ .rng = { 6 } };
            CHECK(mover_begin(&w, &m));
            disk_break(nth, DISK_LOST, false);
            int refused = mover_run(&w, &m, restart ? 1 : 3);
            bool fired = disk.fired;
            if (restart) {
                disk_kill();
                world_close(&w);
                disk_again();
                if (!world_open(&w))
                    FAIL("lost %d: %s", nth, w.e.text);
                CHECK(mover_reload(&w, &m));
                CHECK_EQ(mover_run(&w, &m, 2), 0);
            }
            struct rng rng = { (uint64_t)nth };
            disk_kill();
            world_close(&w);
            disk_power_cut(&rng);
            if (!world_open(&w))
                FAIL("lost %d (restart %d): %s", nth, restart, w.e.text);
            const char *wrong = mover_check(&w, &m, false);
            if (wrong)
                FAIL("lost %d (restart %d): %s", nth, restart, wrong);
            tried += refused;
            if (!fired)
                break;
        }
    CHECK(tried >= 8);
}

TEST(while_the_disk_refuses_nothing_is_acknowledged_and_later_it_is_unasked)
{
    WORLD(w);
    struct loaded l;
    CHECK_EQ(commit_one(&w, write_of(JOURNAL_CREATE, "a", 1, 0)), 0);
    disk_break(1, DISK_FULL, true);
    CHECK_EQ(commit_one(&w, write_of(JOURNAL_CREATE, "b", 1, 0)), -CODE_UNAVAILABLE);
    if (!strstr(w.e.text, "durable.db") || !strstr(w.e.text, "disk is full"))
        FAIL("%s", w.e.text);
    CHECK_EQ(journal_health(w.journal, &w.e), -CODE_UNAVAILABLE);
    CHECK_EQ(load(&w, &l, key_of("b", 1)), -CODE_NOT_FOUND);
    CHECK_EQ(load(&w, &l, key_of("a", 1)), 0); /* reading goes on */
    disk_break(0, DISK_EIO, false);
    while (journal_health(w.journal, &w.e) < 0) /* nobody asked */
        turn(&w);
    CHECK_EQ(commit_one(&w, write_of(JOURNAL_CREATE, "b", 1, 0)), 0);
}

TEST(a_journal_that_fails_to_open_opens_once_the_fault_is_gone)
{
    static const enum disk_fault faults[] = { DISK_EIO, DISK_FULL };
    int failures = 0;
    for (size_t f = 0; f < COUNT_OF(faults); f++)
        for (int nth = 1;; nth++) {
            __attribute__((cleanup(world_auto))) struct world w = { 0 };
            CHECK(world_make(&w));
            disk_break(nth, faults[f], false);
            bool opened = world_open(&w), fired = disk.fired;
            disk_break(0, DISK_EIO, false);
            if (!opened) {
                CHECK(fired && w.e.code == CODE_UNAVAILABLE);
                failures++;
                if (!world_open(&w))
                    FAIL("at %d: %s", nth, w.e.text);
            }
            CHECK_EQ(commit_one(&w, write_of(JOURNAL_CREATE, "a", 1, 0)), 0);
            if (!fired)
                break;
        }
    CHECK(failures >= 10);
}

/* ---- damage ---- */

static bool sql_run(struct world *w, const char *sql)
{
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/durable.db", w->dir);
    bool good = sqlite3_open(path, &db) == SQLITE_OK && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
    if (!good)
        printf("# %s: %s\n", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
    return good;
}

static const struct {
    const char *sql, *says;
    bool loads, reads, lists, deletes; /* what goes on all the same */
} damages[] = {
    { "UPDATE entity SET state = x'7374617466' WHERE name = 'a'", "the row", false, true, true, false },
    { "UPDATE entity SET version = 3 WHERE name = 'a'", "the row", false, true, false, false },
    { "UPDATE entity SET open = 0 WHERE name = 'a'", "the row", false, true, false, false },
    { "UPDATE entity SET ready = NULL WHERE name = 'a'", "the row", false, true, false, false },
    { "UPDATE entity SET due = 6 WHERE name = 'a'", "the row", false, true, false, false },
    { "UPDATE entity SET current = 7 WHERE name = 'a'", "the row", false, true, true, false },
    { "UPDATE entity SET status = 2 WHERE name = 'a'", NULL, true, true, false, true },
    { "UPDATE entity SET type = NULL WHERE name = 'a'", NULL, true, true, false, true },
    { "UPDATE history SET bytes = x'6576656e7a73' WHERE key & 15 = 1", "its history at 1", true, false, true, true },
    { "UPDATE history SET count = 2 WHERE key & 15 = 1", "its history at 1", true, false, true, true },
};

struct listed {
    struct journal_list list;
    bool done;
    int r;
    size_t count;
};
static void on_list(struct journal_list *q, int r, const struct journal_found *rows, size_t count, struct str next,
                    const struct err *e)
{
    struct listed *x = CONTAINER_OF(q, struct listed, list);
    (void)rows, (void)next, (void)e;
    x->done = true;
    x->r = r;
    x->count = count;
}

TEST(a_row_that_was_changed_behind_its_back_is_refused_with_its_key_and_stays)
{
    for (size_t i = 0; i < COUNT_OF(damages); i++) {
        WORLD(w);
        struct loaded l;
        struct read_rows x;
        struct scanned s;
        struct journal_counts counts;
        struct journal_row row = { 1, 3, STR("events") };
        struct journal_write make = write_of(JOURNAL_CREATE, "a", 1, 0);
        make.rows = &row;
        make.row_count = 1;
        make.ready = true;
        make.due_ms = 5;
        CHECK_EQ(commit_one(&w, make), 0);
        make.key = key_of("b", 1);
        make.row_count = 0;
        CHECK_EQ(commit_one(&w, make), 0);
        world_close(&w);
        CHECK(sql_run(&w, damages[i].sql));
        if (!world_open(&w))
            FAIL("%s", w.e.text);
        bool loads = load(&w, &l, key_of("a", 1)) == 0;
        if (loads != damages[i].loads)
            FAIL("%s: load: %s", damages[i].sql, w.e.text);
        if (!loads)
            CHECK(w.e.code == CODE_DATA_LOSS && strstr(w.e.text, "workflow default/a (run ") &&
                  strstr(w.e.text, damages[i].says));
        struct journal_read q = { .key = key_of("a", 1), .to = 100, .bytes_max = 100 };
        bool reads = read_rows(&w, &x, q) == 0;
        if (reads != damages[i].reads)
            FAIL("%s: read: %s", damages[i].sql, w.e.text);
        if (!reads)
            CHECK(w.e.code == CODE_DATA_LOSS && strstr(w.e.text, damages[i].says));
        struct listed list = { .list = { .kind = JOURNAL_WORKFLOW, .ns = STR("default"), .limit = 10,
                                         .on_done = on_list } };
        CHECK_EQ(journal_list(w.journal, &list.list, &w.e), 0);
        while (!list.done)
            turn(&w);
        if (list.r != 0 || list.count != (damages[i].lists ? 2 : 1))
            FAIL("%s: %zu listed", damages[i].sql, list.count);
        CHECK_EQ(scan(&w, &s, true, (struct journal_scan){ .kind = JOURNAL_WORKFLOW, .before_ms = 10, .limit = 1 }), 0);
        CHECK(s.count == 1); /* the other one, if need be: what is damaged holds nobody up */
        journal_counts(w.journal, &counts);
        CHECK(counts.checksum_failures > 0);
        int must = damages[i].deletes ? 0 : -CODE_DATA_LOSS;
        struct commit bad, good;
        struct journal_write drop = write_of(JOURNAL_DELETE, "a", 1, 1), other = write_of(JOURNAL_UPDATE, "b", 1, 1);
        CHECK_EQ(submit(&w, &bad, &drop, 1), 0);
        CHECK_EQ(submit(&w, &good, &other, 1), 0);
        CHECK_EQ(commit_wait(&w, &good), 0);
        if (commit_wait(&w, &bad) != must)
            FAIL("%s: deleted: %s", damages[i].sql, w.e.text);
    }
}

TEST(what_is_newer_or_something_elses_or_corrupt_is_refused_and_left_alone)
{
    static const struct {
        const char *sql;
        enum code code;
        const char *says;
    } cases[] = {
        { "PRAGMA user_version = 99", CODE_PRECONDITION, "newer hob" },
        { "PRAGMA application_id = 17", CODE_PRECONDITION, "something else" },
        { "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 3 WHERE name = 'entity_due'", CODE_DATA_LOSS,
          "left as it is" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        WORLD(w);
        CHECK_EQ(commit_one(&w, write_of(JOURNAL_CREATE, "a", 1, 0)), 0);
        world_close(&w);
        CHECK(sql_run(&w, cases[i].sql));
        CHECK(!world_open(&w));
        if (w.e.code != cases[i].code || !strstr(w.e.text, cases[i].says) || !strstr(w.e.text, "durable.db"))
            FAIL("case %zu: %s", i, w.e.text);
    }
}

TEST_MAIN()
