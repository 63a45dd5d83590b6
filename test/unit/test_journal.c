/* What one journal answers, table by table; its threads, limits and refusals. What a disk does to it is in
 * test_journal_disk.c. */
#include "fds.h"
#include "journal_mover.h"
#include "os/fault.h"

#include <sys/wait.h>

TEST(a_run_is_made_changed_and_deleted_and_survives_a_restart)
{
    WORLD(w);
    struct loaded l;
    struct journal_write make = write_of(JOURNAL_CREATE, "a", 1, 0);
    make.due_ms = 77;
    make.ready = true;
    CHECK_EQ(load(&w, &l, key_of("a", 1)), -CODE_NOT_FOUND);
    CHECK_EQ(commit_one(&w, make), 0);
    for (int restart = 0; restart < 2; restart++) {
        CHECK_EQ(load(&w, &l, key_of("a", restart ? 1 : 0)), 0);
        CHECK(l.now.expect == 1 && l.now.open && l.now.ready && l.now.due_ms == 77);
        CHECK(str_is(l.now.state, "state") && memcmp(&l.current, &make.key.run, 16) == 0);
        CHECK(memcmp(&l.now.key.run, &make.key.run, 16) == 0);
        CHECK(world_reopen(&w));
    }
    struct journal_write change = write_of(JOURNAL_UPDATE, "a", 1, 1);
    change.state = STR("");
    change.open = false;
    CHECK_EQ(commit_one(&w, change), 0);
    CHECK_EQ(load(&w, &l, key_of("a", 0)), 0);
    CHECK(l.now.expect == 2 && !l.now.open && !l.now.ready && l.now.due_ms == JOURNAL_NEVER && l.now.state.size == 0);
    CHECK_EQ(commit_one(&w, write_of(JOURNAL_DELETE, "a", 1, 2)), 0);
    CHECK_EQ(load(&w, &l, key_of("a", 1)), -CODE_NOT_FOUND);
    CHECK(strstr(w.e.text, "workflow default/a (run "));
}

TEST(of_all_runs_of_an_id_the_one_made_last_is_current)
{
    WORLD(w);
    struct loaded l;
    struct journal_write next = write_of(JOURNAL_CREATE, "a", 2, 0);
    next.over = run_of(1);
    CHECK_EQ(commit_one(&w, write_of(JOURNAL_CREATE, "a", 1, 0)), 0);
    CHECK_EQ(commit_one(&w, next), 0);
    CHECK_EQ(load(&w, &l, key_of("a", 0)), 0);
    CHECK_EQ(l.now.key.run.at[15], 2);
    CHECK_EQ(load(&w, &l, key_of("a", 1)), 0);
    CHECK(l.now.key.run.at[15] == 1 && l.current.at[15] == 2);
    CHECK_EQ(commit_one(&w, write_of(JOURNAL_DELETE, "a", 2, 1)), 0);
    CHECK_EQ(load(&w, &l, key_of("a", 0)), -CODE_NOT_FOUND);
    CHECK_EQ(load(&w, &l, key_of("a", 1)), 0);
    CHECK_EQ(l.current.at[15], 0); /* none is */
}

TEST(namespaces_kinds_and_ids_are_apart)
{
    WORLD(w);
    struct loaded l;
    struct journal_write writes[4];
    for (unsigned i = 0; i < 4; i++)
        writes[i] = write_of(JOURNAL_CREATE, "a", 1, 0);
    writes[1].key.ns = STR("other");
    writes[2].key.kind = JOURNAL_SCHEDULE;
    writes[3].key.id = (struct str){ "a\0b", 3 };
    for (unsigned i = 0; i < 4; i++)
        writes[i].state = (struct str){ &"0123"[i], 1 };
    CHECK_EQ(commit(&w, writes, 4), 0);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_EQ(load(&w, &l, writes[i].key), 0);
        CHECK(str_eq(l.now.state, writes[i].state));
    }
}

static const struct {
    const char *what;
    struct journal_write writes[2];
    size_t count;
    int r;
    const char *says;
} refusals[] = {
    /* there are: a, runs 1 and 2, the second current, both at version 1 */
    { "made over none", { { .op = JOURNAL_CREATE } }, 1, -CODE_EXISTS, "another run is the current one" },
    { "made over another", { { .op = JOURNAL_CREATE, .over = { { [15] = 1 } } } }, 1, -CODE_EXISTS, "another run" },
    { "made again",
      { { .op = JOURNAL_CREATE, .over = { { [15] = 2 } }, .key.run = { { [15] = 1 } } } },
      1, -CODE_EXISTS, "this run exists" },
    { "made over what is not there",
      { { .op = JOURNAL_CREATE, .key.id = { "b", 1 }, .over = { { [15] = 1 } } } },
      1, -CODE_ABORTED, "there is none" },
    { "changed, another version", { { .op = JOURNAL_UPDATE, .expect = 7, .key.run = { { [15] = 2 } } } }, 1,
      -CODE_ABORTED, "its version is 1; 7 was expected" },
    { "changed, not there", { { .op = JOURNAL_UPDATE, .expect = 1 } }, 1, -CODE_ABORTED, "there is no such run" },
    { "deleted, another version", { { .op = JOURNAL_DELETE, .expect = 7, .key.run = { { [15] = 2 } } } }, 1,
      -CODE_ABORTED, "its version is 1" },
    { "deleted, not there", { { .op = JOURNAL_DELETE, .expect = 1 } }, 1, -CODE_ABORTED, "there is no such run" },
    { "deleted, unknown namespace", { { .op = JOURNAL_DELETE, .key.ns = { "x", 1 }, .expect = 1 } }, 1, -CODE_ABORTED,
      "workflow x/a" },
    { "a good one and a bad one",
      { { .op = JOURNAL_CREATE, .key.id = { "c", 1 } },
        { .op = JOURNAL_UPDATE, .expect = 7, .key.run = { { [15] = 2 } } } },
      2, -CODE_ABORTED, "7 was expected" },
};

TEST(a_commit_whose_expectation_fails_says_why_and_leaves_nothing_and_the_others_go_on)
{
    WORLD(w);
    struct journal_write first = write_of(JOURNAL_CREATE, "a", 1, 0), second = write_of(JOURNAL_CREATE, "a", 2, 0);
    struct loaded l;
    second.over = run_of(1);
    CHECK_EQ(commit_one(&w, first), 0);
    CHECK_EQ(commit_one(&w, second), 0);
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        struct journal_write writes[2], before, after;
        char ids[2][16];
        for (size_t k = 0; k < refusals[i].count; k++) {
            const struct journal_write *x = &refusals[i].writes[k];
            writes[k] = write_of(x->op, "a", x->key.run.at[15] ? x->key.run.at[15] : 9, x->expect);
            writes[k].over = x->over;
            if (x->key.id.size)
                writes[k].key.id = x->key.id;
            if (x->key.ns.size)
                writes[k].key.ns = x->key.ns;
        }
        snprintf(ids[0], sizeof ids[0], "before-%zu", i);
        snprintf(ids[1], sizeof ids[1], "after-%zu", i);
        before = write_of(JOURNAL_CREATE, ids[0], 1, 0);
        after = write_of(JOURNAL_CREATE, ids[1], 1, 0);
        struct commit commits[3];
        CHECK_EQ(submit(&w, &commits[0], &before, 1), 0);
        CHECK_EQ(submit(&w, &commits[1], writes, refusals[i].count), 0);
        CHECK_EQ(submit(&w, &commits[2], &after, 1), 0);
        CHECK_EQ(commit_wait(&w, &commits[2]), 0);
        CHECK_EQ(commit_wait(&w, &commits[0]), 0);
        if (commit_wait(&w, &commits[1]) != refusals[i].r || !strstr(w.e.text, refusals[i].says))
            FAIL("%s: %d: %s", refusals[i].what, commits[1].r, w.e.text);
        CHECK_EQ(load(&w, &l, before.key), 0);
        CHECK_EQ(load(&w, &l, after.key), 0);
        CHECK_EQ(load(&w, &l, key_of("c", 9)), -CODE_NOT_FOUND);
        CHECK_EQ(load(&w, &l, key_of("a", 9)), -CODE_NOT_FOUND);
        CHECK_EQ(load(&w, &l, key_of("a", 0)), 0);
        CHECK(l.now.key.run.at[15] == 2 && l.now.expect == 1);
    }
}

TEST(commits_are_answered_in_their_order_and_few_transactions_carry_many)
{
    enum { COMMITS = 500 };
    WORLD(w);
    static struct commit commits[COMMITS];
    static char ids[COMMITS][16];
    struct journal_counts counts;
    order_next = 0;
    for (unsigned i = 0; i < COMMITS; i++) {
        snprintf(ids[i], sizeof ids[i], "id-%u", i % 100); /* from the hundredth on they are refused */
        struct journal_write make = write_of(JOURNAL_CREATE, ids[i], 1 + i, 0);
        CHECK_EQ(submit(&w, &commits[i], &make, 1), 0);
        CHECK(!commits[i].done);
    }
    journal_counts(w.journal, &counts);
    CHECK(counts.waiting == COMMITS && counts.waiting_bytes > 0);
    CHECK_EQ(commit_wait(&w, &commits[COMMITS - 1]), -CODE_EXISTS);
    for (unsigned i = 0; i < COMMITS; i++)
        CHECK(commits[i].order == i && commits[i].r == (i < 100 ? 0 : -CODE_EXISTS));
    journal_counts(w.journal, &counts);
    CHECK(counts.waiting == 0 && counts.waiting_bytes == 0 && counts.commits == 100);
    if (counts.transactions > 60)
        FAIL("%d transactions", (int)counts.transactions);
}

TEST(a_transition_writes_at_most_three_rows)
{
    WORLD(w);
    struct journal_counts before, after;
    struct journal_attribute attributes[] = { { STR("Customer"), JOURNAL_KEYWORD, STR("c-1"), 0, 0 },
                                              { STR("Amount"), JOURNAL_INT, STR(""), 17, 0 } };
    struct journal_index index = index_plain;
    const struct journal_row rows[] = { { 1, 3, STR("events") } }, more[] = { { 4, 2, STR("more") } };
    struct journal_write make = write_of(JOURNAL_CREATE, "a", 1, 0), change = write_of(JOURNAL_UPDATE, "a", 1, 1),
                         next = write_of(JOURNAL_CREATE, "a", 2, 0);
    index.attributes = attributes;
    index.attribute_count = 2;
    CHECK_EQ(commit_one(&w, write_of(JOURNAL_CREATE, "first", 1, 0)), 0); /* makes the namespace, too */
    journal_counts(w.journal, &before);
    make.index = &index;
    make.rows = rows;
    make.row_count = 1;
    CHECK_EQ(commit_one(&w, make), 0);
    journal_counts(w.journal, &after);
    CHECK_EQ(after.rows_written - before.rows_written, 2 + 2); /* and one for each attribute, once */
    change.rows = more;
    change.row_count = 1;
    change.due_ms = 5;
    CHECK_EQ(commit_one(&w, change), 0);
    journal_counts(w.journal, &before);
    CHECK_EQ(before.rows_written - after.rows_written, 2);
    index.history_length = 6; /* the same attributes are not written again */
    change.index = &index;
    change.expect = 2;
    CHECK_EQ(commit_one(&w, change), 0);
    journal_counts(w.journal, &after);
    CHECK_EQ(after.rows_written - before.rows_written, 2);
    next.over = run_of(1);
    next.rows = rows;
    next.row_count = 1;
    CHECK_EQ(commit_one(&w, next), 0);
    journal_counts(w.journal, &before);
    CHECK_EQ(before.rows_written - after.rows_written, 3);
}

TEST(histories_are_read_by_number_in_both_directions_and_by_size)
{
    WORLD(w);
    static const struct journal_row first[] = { { 1, 3, STR("aaa") }, { 4, 2, STR("bb") } },
                                    then[] = { { 6, 1, STR("c") }, { 7, 10, STR("dddd") } },
                                    instead[] = { { 6, 2, STR("C") } };
    static const struct {
        uint64_t from, to;
        size_t bytes_max;
        bool backwards;
        const char *rows;
    } cases[] = {
        { 1, 100, 1000, false, "1+3=aaa;4+2=bb;6+1=c;7+10=dddd;" },
        { 0, UINT64_MAX, 1000, false, "1+3=aaa;4+2=bb;6+1=c;7+10=dddd;" },
        { 1, 100, 1000, true, "7+10=dddd;6+1=c;4+2=bb;1+3=aaa;" },
        { 3, 4, 1000, false, "1+3=aaa;" },
        { 2, 5, 1000, false, "1+3=aaa;4+2=bb;" },
        { 4, 6, 1000, false, "4+2=bb;" },
        { 16, 17, 1000, true, "7+10=dddd;" },
        { 17, 100, 1000, false, "" },
        { 5, 5, 1000, false, "" },
        { 1, 100, 0, false, "1+3=aaa;" },
        { 1, 100, 3, false, "1+3=aaa;4+2=bb;" },
        { 1, 100, 2, false, "1+3=aaa;" },
        { 5, 100, 4, true, "7+10=dddd;6+1=c;" },
        { 9, 100, 1000, true, "7+10=dddd;" },
    };
    struct read_rows x;
    struct journal_write make = write_of(JOURNAL_CREATE, "a", 1, 0), more = write_of(JOURNAL_UPDATE, "a", 1, 1);
    make.rows = first;
    make.row_count = 2;
    more.rows = then;
    more.row_count = 2;
    CHECK_EQ(commit_one(&w, make), 0);
    CHECK_EQ(commit_one(&w, more), 0);
    CHECK_EQ(commit_one(&w, write_of(JOURNAL_CREATE, "b", 1, 0)), 0); /* a neighbour without any */
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct journal_read q = { .key = key_of("a", 1), .from = cases[i].from, .to = cases[i].to,
                                  .bytes_max = cases[i].bytes_max, .backwards = cases[i].backwards };
        CHECK_EQ(read_rows(&w, &x, q), 0);
        if (strcmp(x.text, cases[i].rows) != 0)
            FAIL("case %zu: %s", i, x.text);
    }
    struct journal_read all = { .key = key_of("a", 1), .to = 100, .bytes_max = 100 };
    more = write_of(JOURNAL_UPDATE, "a", 1, 2);
    more.rows = instead;
    more.row_count = 1;
    CHECK_EQ(commit_one(&w, more), 0);
    CHECK_EQ(read_rows(&w, &x, all), 0);
    CHECK_STR(x.text, "1+3=aaa;4+2=bb;6+2=C;7+10=dddd;");
    all.key = key_of("b", 1);
    CHECK_EQ(read_rows(&w, &x, all), 0);
    CHECK_STR(x.text, "");
    all.key = key_of("c", 1);
    CHECK_EQ(read_rows(&w, &x, all), -CODE_NOT_FOUND);
    CHECK_EQ(commit_one(&w, write_of(JOURNAL_DELETE, "a", 1, 3)), 0);
    make.state = STR("new"); /* what was deleted does not come back with a run of the same name */
    make.row_count = 0;
    CHECK_EQ(commit_one(&w, make), 0);
    all.key = key_of("a", 1);
    CHECK_EQ(read_rows(&w, &x, all), 0);
    CHECK_STR(x.text, "");
}

TEST(what_is_due_comes_by_its_time_and_what_is_ready_by_age_in_pages)
{
    enum { ALL = 40 };
    WORLD(w);
    struct scanned x;
    char ids[ALL][8], all[sizeof x.text] = "", pages[sizeof x.text] = "";
    for (unsigned i = 0; i < ALL; i++) { /* each due time twice; a third is ready */
        snprintf(ids[i], sizeof ids[i], "r%02u", i);
        struct journal_write make = write_of(JOURNAL_CREATE, ids[i], 1, 0);
        make.due_ms = i % 5 == 4 ? JOURNAL_NEVER : (int64_t)(100 - i / 2);
        make.ready = i % 3 == 0;
        make.key.kind = i == 39 ? JOURNAL_INVOCATION : JOURNAL_WORKFLOW;
        CHECK_EQ(commit_one(&w, make), 0);
    }
    struct journal_scan due = { .kind = JOURNAL_WORKFLOW, .before_ms = 85, .limit = 1000 };
    CHECK_EQ(scan(&w, &x, true, due), 0);
    CHECK_STR(x.text, "r38@81;r36@82;r37@82;r35@83;r32@84;r33@84;");
    CHECK_EQ(x.next, 0);
    due.before_ms = 101;
    CHECK_EQ(scan(&w, &x, true, due), 0);
    snprintf(all, sizeof all, "%s", x.text);
    due.limit = 3;
    do {
        CHECK_EQ(scan(&w, &x, true, due), 0);
        CHECK(x.count > 0);
        strcat(pages, x.text);
        due.after = x.next;
        due.from_ms = x.last_due;
    } while (x.next != 0);
    CHECK_STR(pages, all);
    due = (struct journal_scan){ .kind = JOURNAL_WORKFLOW, .from_ms = 84, .before_ms = 85, .limit = 10 };
    CHECK_EQ(scan(&w, &x, true, due), 0);
    CHECK_STR(x.text, "r32@84;r33@84;");

    struct journal_scan ready = { .kind = JOURNAL_WORKFLOW, .limit = 1000 };
    CHECK_EQ(scan(&w, &x, false, ready), 0);
    snprintf(all, sizeof all, "%s", x.text);
    CHECK_STR(all, "r00@100;r03@99;r06@97;r09@-1;r12@94;r15@93;r18@91;r21@90;r24@-1;r27@87;r30@85;r33@84;r36@82;");
    pages[0] = '\0';
    ready.limit = 4;
    do {
        CHECK_EQ(scan(&w, &x, false, ready), 0);
        strcat(pages, x.text);
        ready.after = x.next;
    } while (x.next != 0);
    CHECK_STR(pages, all);
    ready.kind = JOURNAL_INVOCATION;
    ready.after = 0;
    CHECK_EQ(scan(&w, &x, false, ready), 0);
    CHECK_STR(x.text, "r39@-1;");
    struct journal_write change = write_of(JOURNAL_UPDATE, "r00", 1, 1);
    CHECK_EQ(commit_one(&w, change), 0); /* neither due nor ready any more */
    ready.kind = JOURNAL_WORKFLOW;
    CHECK_EQ(scan(&w, &x, false, ready), 0);
    CHECK(strncmp(x.text, "r03@", 4) == 0);
    due.from_ms = 0;
    due.before_ms = JOURNAL_NEVER;
    due.limit = 1000;
    CHECK_EQ(scan(&w, &x, true, due), 0);
    CHECK(!strstr(x.text, "r00@"));
}

TEST(limits_refuse_at_once_and_say_their_name)
{
    __attribute__((cleanup(world_auto))) struct world w = { 0 };
    CHECK(world_make(&w));
    w.limits.journal_waiting_max = 2;
    w.limits.journal_waiting_bytes_max = 1 << 20;
    w.limits.journal_value_bytes_max = 1 << 20;
    CHECK(world_open(&w));
    static char big[(1 << 20) + 1];
    struct commit c[4];
    struct scanned x;
    struct journal_row row = { 1, 1, { big, sizeof big } };
    struct journal_write make = write_of(JOURNAL_CREATE, "a", 1, 0);
    make.state = (struct str){ big, sizeof big };
    CHECK_EQ(submit(&w, &c[0], &make, 1), -CODE_INVALID);
    CHECK(strstr(w.e.text, "journal_value_bytes_max"));
    make.state.size = 5;
    make.rows = &row;
    make.row_count = 1;
    CHECK_EQ(submit(&w, &c[0], &make, 1), -CODE_INVALID);
    CHECK(strstr(w.e.text, "a piece of its history"));
    row = (struct journal_row){ 1 << 24, 1, STR("x") };
    CHECK_EQ(submit(&w, &c[0], &make, 1), -CODE_EXHAUSTED);
    make.row_count = 0;
    make.state.size = 900000;
    CHECK_EQ(submit(&w, &c[0], &make, 1), 0);
    CHECK_EQ(submit(&w, &c[1], &make, 1), -CODE_EXHAUSTED);
    CHECK(strstr(w.e.text, "journal_waiting_bytes_max"));
    make.state.size = 5;
    CHECK_EQ(submit(&w, &c[1], &make, 1), 0);
    CHECK_EQ(submit(&w, &c[2], &make, 1), -CODE_EXHAUSTED);
    CHECK(strstr(w.e.text, "journal_waiting_max"));
    CHECK_EQ(commit_wait(&w, &c[1]), -CODE_EXISTS);
    CHECK_EQ(submit(&w, &c[2], &make, 1), 0); /* there is room again */
    CHECK_EQ(commit_wait(&w, &c[2]), -CODE_EXISTS);
    CHECK_EQ(scan(&w, &x, true, (struct journal_scan){ .kind = JOURNAL_WORKFLOW }), -CODE_INVALID);
    CHECK_EQ(scan(&w, &x, true, (struct journal_scan){ .kind = JOURNAL_WORKFLOW, .limit = 10001 }), -CODE_INVALID);
}

TEST(what_was_submitted_is_committed_and_answered_before_the_journal_is_gone)
{
    enum { COMMITS = 50 };
    WORLD(w);
    static struct commit commits[COMMITS];
    static struct loaded loads[COMMITS];
    static char ids[COMMITS][16];
    for (unsigned i = 0; i < COMMITS; i++) {
        snprintf(ids[i], sizeof ids[i], "id-%u", i);
        struct journal_write make = write_of(JOURNAL_CREATE, ids[i], 1, 0);
        CHECK_EQ(submit(&w, &commits[i], &make, 1), 0);
        loads[i] = (struct loaded){ .load = { .key = key_of(ids[i], 1), .on_done = on_load } };
        CHECK_EQ(journal_load(w.journal, &loads[i].load, &w.e), 0);
    }
    world_close(&w);
    for (unsigned i = 0; i < COMMITS; i++) {
        CHECK(commits[i].done && commits[i].r == 0 && loads[i].done);
        CHECK(loads[i].r == 0 || loads[i].r == -CODE_NOT_FOUND || loads[i].r == -CODE_CANCELLED);
    }
    CHECK(world_open(&w));
    struct loaded l;
    for (unsigned i = 0; i < COMMITS; i++)
        CHECK_EQ(load(&w, &l, key_of(ids[i], 1)), 0);
}

TEST(once_another_has_taken_the_journal_over_nothing_is_committed)
{
    WORLD(w);
    struct journal *other = NULL;
    struct journal_counts counts;
    struct loaded l;
    CHECK_EQ(commit_one(&w, write_of(JOURNAL_CREATE, "a", 1, 0)), 0);
    CHECK_EQ(journal_open(w.loop, w.dir, &w.limits, &other, &w.e), 0); /* the same process: the lock lets it in */
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(commit_one(&w, write_of(JOURNAL_CREATE, "b", 1, 0)), -CODE_ABORTED);
        CHECK(strstr(w.e.text, "fenced"));
        CHECK_EQ(journal_health(w.journal, &w.e), -CODE_ABORTED);
    }
    journal_counts(w.journal, &counts);
    CHECK(counts.fenced >= 2 && counts.commits == 1);
    struct journal *first = w.journal;
    w.journal = other;
    CHECK_EQ(load(&w, &l, key_of("b", 1)), -CODE_NOT_FOUND);
    CHECK_EQ(commit_one(&w, write_of(JOURNAL_CREATE, "b", 1, 0)), 0);
    CHECK_EQ(journal_health(w.journal, &w.e), 0);
    journal_free(first);
}

TEST(a_second_process_is_refused_until_the_first_is_gone)
{
    WORLD(w);
    CHECK_EQ(commit_one(&w, write_of(JOURNAL_CREATE, "a", 1, 0)), 0);
    for (int gone = 0; gone < 2; gone++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            execl("/proc/self/exe", "test_journal", "--open", w.dir, (char *)NULL);
            _exit(99);
        }
        int status = 0;
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        CHECK_EQ(WEXITSTATUS(status), gone ? 0 : CODE_UNAVAILABLE);
        world_close(&w);
    }
}

/* ---- backups ---- */

struct backup {
    struct journal_backup backup;
    bool done;
    int r;
    uint64_t bytes;
    struct err e;
};
static void on_backup(struct journal_backup *b, int r, uint64_t bytes, const struct err *e)
{
    struct backup *x = CONTAINER_OF(b, struct backup, backup);
    x->done = true;
    x->r = r;
    x->bytes = bytes;
    x->e = *e;
}

static void copy_auto(struct world *w)
{
    journal_free(w->journal);
    loop_free(w->loop);
    folder_remove(w->dir);
}

TEST(a_backup_under_load_is_one_moment_and_opens_as_a_journal)
{
    enum { BACKUPS = 12 };
    static struct mover m;
    WORLD(w);
    m = (struct mover){ .rng = { 5 } };
    CHECK(mover_begin(&w, &m));
    for (size_t slot = 0; slot < 4; slot++)
        CHECK(mover_move(&w, &m, slot));
    for (int n = 0; n < BACKUPS; n++) {
        char path[128], part[160];
        struct backup b = { .backup = { .path = path, .on_done = on_backup } };
        __attribute__((cleanup(copy_auto))) struct world copy = { .limits = w.limits };
        snprintf(copy.dir, sizeof copy.dir, "%.40s-copy", w.dir); /* always the same: the disk knows few names */
        CHECK(mkdir(copy.dir, 0700) == 0 && loop_open(&copy.loop, &copy.e) == 0);
        snprintf(path, sizeof path, "%s/durable.db", copy.dir);
        snprintf(part, sizeof part, "%s.part", path);
        uint64_t before = m.answered, moves = 0, step;
        CHECK_EQ(journal_backup(w.journal, &b.backup, &w.e), 0);
        CHECK_EQ(journal_backup(w.journal, &b.backup, &w.e), -CODE_EXHAUSTED);
        while (!b.done || moves < 50) { /* commits go on all the while */
            for (size_t slot = 0; slot < 4; slot++)
                if (m.commits[slot].done) {
                    CHECK_EQ(m.commits[slot].r, 0);
                    m.answered++;
                    moves++;
                    CHECK(mover_move(&w, &m, slot));
                }
            turn(&w);
        }
        if (b.r != 0)
            FAIL("%s", b.e.text);
        struct stat st;
        CHECK(stat(path, &st) == 0 && (uint64_t)st.st_size == b.bytes && (st.st_mode & 0777) == 0600);
        CHECK(access(part, F_OK) != 0);
        if (!world_open(&copy))
            FAIL("%s", copy.e.text);
        CHECK_EQ(mover_sum(&copy, &step), 2 * RUNS);
        CHECK(step >= before && step <= m.step);
        CHECK_EQ(commit_one(&copy, write_of(JOURNAL_CREATE, "goes on", 1, 0)), 0);
        b.done = false;
        CHECK_EQ(journal_backup(w.journal, &b.backup, &w.e), 0); /* not over what is there */
        while (!b.done)
            turn(&w);
        CHECK_EQ(b.r, -CODE_EXISTS);
    }
    for (size_t slot = 0; slot < 4; slot++)
        CHECK_EQ(commit_wait(&w, &m.commits[slot]), 0);
}

TEST(a_backup_that_fails_leaves_nothing)
{
    int failures = 0;
    WORLD(w);
    CHECK_EQ(commit_one(&w, write_of(JOURNAL_CREATE, "a", 1, 0)), 0);
    for (int nth = 1;; nth++) {
        char path[128], part[160];
        struct backup b = { .backup = { .path = path, .on_done = on_backup } };
        snprintf(path, sizeof path, "%s/copy", w.dir);
        snprintf(part, sizeof part, "%s.part", path);
        fault_arm(nth);
        CHECK_EQ(journal_backup(w.journal, &b.backup, &w.e), 0);
        while (!b.done)
            turn(&w);
        bool fired = fault_fired();
        fault_arm(0);
        if (!fired) {
            CHECK(b.r == 0 && access(path, F_OK) == 0);
            break;
        }
        failures++;
        CHECK(b.r < 0 && access(path, F_OK) != 0 && access(part, F_OK) != 0);
    }
    CHECK(failures >= 5);
}

TEST(a_journal_that_cannot_be_opened_leaves_nothing_open)
{
    int failures = 0;
    __attribute__((cleanup(world_auto))) struct world w = { 0 };
    CHECK(world_make(&w));
    for (int nth = 1;; nth++) {
        int before = fds_open();
        fault_arm(nth);
        bool opened = world_open(&w);
        bool fired = fault_fired();
        fault_arm(0);
        if (opened && !fired)
            break;
        CHECK(!opened);
        CHECK_EQ(fds_open(), before);
        failures++;
    }
    CHECK(failures >= 6);
}

static int open_in_child(const char *dir)
{
    struct limits limits;
    struct loop *l = NULL;
    struct journal *j = NULL;
    struct err e = { 0 };
    limits_default(&limits);
    if (loop_open(&l, &e) < 0)
        return 98;
    int r = journal_open(l, dir, &limits, &j, &e);
    if (r < 0 && !strstr(e.text, "another process uses it"))
        r = -97;
    journal_free(j);
    loop_free(l);
    return -r;
}

int test_main(int argc, char **argv);
#define main test_main
TEST_MAIN()
#undef main

int main(int argc, char **argv)
{
    return argc == 3 && strcmp(argv[1], "--open") == 0 ? open_in_child(argv[2]) : test_main(argc, argv);
}
