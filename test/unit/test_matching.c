#include "workflow/matching.h"
#include "tap.h"

#include "base/rng.h"

#define SECOND INT64_C(1000000000)
static const int64_t T0 = INT64_C(1700000000) * SECOND;

struct world {
    struct limits limits;
    struct matching *m;
    int64_t now;
};

static void world_open(struct world *w)
{
    limits_default(&w->limits);
    w->m = matching_new(&w->limits, 1);
    w->now = T0;
}

static struct matching_run run_of(uint8_t n)
{
    struct matching_run r = { STR("ns"), STR("wf"), { { 0 } } };
    r.run.at[0] = n;
    r.run.at[15] = 1;
    return r;
}

static struct matching_task task_of(int64_t id, const char *queue)
{
    return (struct matching_task){ .kind = MATCHING_ACTIVITY, .scheduled_id = id, .attempt = 1, .queue = queue, .scheduled_ns = T0 + id };
}

static void offer(struct world *w, uint8_t run, const struct matching_task *tasks, size_t count)
{
    struct matching_run r = run_of(run);
    matching_offer(w->m, &r, tasks, count, w->now);
    matching_check(w->m);
}

static bool poll_wait(struct world *w, struct matching_poll *p, const char *queue)
{
    struct err e;
    *p = (struct matching_poll){ .ns = "ns", .queue = queue, .kind = MATCHING_ACTIVITY, .identity = "me",
                                 .worker_key = "key", .expires_ns = w->now + 60 * SECOND,
                                 .tasks_per_second = p->tasks_per_second };
    bool fine = matching_poll_add(w->m, p, w->now, &e) == 0;
    matching_check(w->m);
    return fine;
}

static bool next(struct world *w, struct matching_match *ret)
{
    bool got = matching_next(w->m, w->now, ret);
    matching_check(w->m);
    return got;
}

TEST(a_waiting_poll_gets_the_task_that_comes_and_the_first_poll_the_first)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct matching_poll a = { 0 }, b = { 0 };
    struct matching_match got;
    CHECK(poll_wait(&w, &a, "q") && poll_wait(&w, &b, "q"));
    CHECK(!next(&w, &got));
    struct matching_task t = task_of(5, "q");
    offer(&w, 1, &t, 1);
    CHECK(next(&w, &got));
    CHECK(got.poll == &a && !got.query);
    CHECK_EQ(got.task.scheduled_id, 5);
    CHECK_STR(got.task.queue, "q");
    CHECK_EQ(got.run.run.at[0], 1);
    CHECK(!next(&w, &got)); /* the same task is not given twice */
    offer(&w, 1, &t, 1);    /* nor when its run, which has not started it yet, offers it again */
    CHECK(!next(&w, &got));
    matching_poll_remove(m, &b);
}

TEST(namespace_name_and_kind_make_a_queue)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct err e;
    struct matching_match got;
    struct matching_poll p[3] = {
        { .ns = "other", .queue = "q", .kind = MATCHING_ACTIVITY, .expires_ns = T0 + SECOND },
        { .ns = "ns", .queue = "q2", .kind = MATCHING_ACTIVITY, .expires_ns = T0 + SECOND },
        { .ns = "ns", .queue = "q", .kind = MATCHING_WORKFLOW, .expires_ns = T0 + SECOND } };
    for (int i = 0; i < 3; i++)
        CHECK_EQ(matching_poll_add(m, &p[i], T0, &e), 0);
    struct matching_task t = task_of(5, "q");
    offer(&w, 1, &t, 1);
    bool any = next(&w, &got);
    for (int i = 0; i < 3; i++)
        matching_poll_remove(m, &p[i]);
    CHECK(!any);
}

TEST(the_urgent_come_first_then_the_older)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    CHECK(m != NULL);
    struct matching_task t[] = { task_of(9, "q"), task_of(3, "q"), task_of(20, "q"), task_of(1, "q") };
    t[2].priority = 1;
    t[3].priority = 5;
    offer(&w, 1, t, 4);
    static const int64_t order[] = { 20, 3, 9, 1 };
    for (int i = 0; i < 4; i++) {
        struct matching_poll p = { 0 };
        struct matching_match got;
        CHECK(poll_wait(&w, &p, "q"));
        CHECK(next(&w, &got));
        CHECK_EQ(got.task.scheduled_id, order[i]);
    }
}

TEST(what_a_run_does_not_want_any_more_is_given_to_nobody)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct matching_task t[] = { task_of(5, "q"), task_of(6, "q"), task_of(7, "q") };
    struct matching_counts c;
    struct matching_poll p = { 0 };
    struct matching_match got;
    offer(&w, 1, t, 3);
    offer(&w, 1, t + 1, 1);
    CHECK(poll_wait(&w, &p, "q"));
    CHECK(next(&w, &got));
    CHECK_EQ(got.task.scheduled_id, 6);
    offer(&w, 1, NULL, 0);
    matching_counts(m, &c);
    CHECK_EQ(c.tasks + c.taken + c.runs, 0);
}

TEST(a_task_of_a_new_life_is_offered_anew_where_it_belongs_now)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct matching_task t = task_of(5, "sticky");
    struct matching_poll p = { 0 };
    struct matching_match got;
    offer(&w, 1, &t, 1);
    CHECK(poll_wait(&w, &p, "sticky"));
    CHECK(next(&w, &got));
    t.queue = "normal";
    t.stamp = 1;
    offer(&w, 1, &t, 1);
    struct matching_task old = task_of(5, "sticky");
    struct matching_run r = run_of(1);
    matching_give_back(m, &r.run, &old, w.now); /* of the life that is over: nothing */
    matching_check(m);
    CHECK(poll_wait(&w, &p, "normal"));
    CHECK(next(&w, &got));
    CHECK_EQ(got.task.stamp, 1);
    matching_give_back(m, &r.run, &t, w.now);
    matching_check(m);
    CHECK(poll_wait(&w, &p, "normal"));
    CHECK(next(&w, &got));
}

TEST(a_poll_that_came_to_nothing_is_first_again)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct matching_task t = task_of(5, "q"), u = task_of(6, "q");
    struct matching_poll a = { 0 }, b = { 0 };
    struct matching_match got;
    CHECK(poll_wait(&w, &a, "q") && poll_wait(&w, &b, "q"));
    offer(&w, 1, &t, 1);
    CHECK(next(&w, &got) && got.poll == &a);
    matching_poll_return(m, &a, w.now);
    offer(&w, 2, &u, 1);
    CHECK(next(&w, &got));
    matching_poll_remove(m, &b);
    CHECK(got.poll == &a);
}

TEST(a_claim_takes_a_poll_unless_others_are_before_it_or_the_task_is_taken)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct matching_poll p = { 0 };
    struct matching_task t = task_of(5, "q"), older = task_of(4, "q");
    struct matching_run r1 = run_of(1), r2 = run_of(2);
    struct matching_match got;
    CHECK(!matching_claim(m, &r1, &t, w.now));
    CHECK(poll_wait(&w, &p, "q"));
    offer(&w, 2, &older, 1);
    CHECK(!matching_claim(m, &r1, &t, w.now));
    CHECK(matching_claim(m, &r2, &older, w.now) == &p); /* itself is not before it */
    CHECK(poll_wait(&w, &p, "q"));
    CHECK(next(&w, &got));
    CHECK(poll_wait(&w, &p, "q"));
    bool twice = matching_claim(m, &r2, &older, w.now) != NULL;
    bool free_one = twice || matching_claim(m, &r1, &t, w.now) == &p;
    CHECK(!twice && free_one);
}

TEST(polls_expire_and_their_worker_may_take_them_all_back)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct matching_poll a = { 0 }, b = { 0 }, c = { 0 };
    CHECK(poll_wait(&w, &a, "q"));
    w.now += SECOND;
    CHECK(poll_wait(&w, &b, "q") && poll_wait(&w, &c, "q2"));
    CHECK_EQ(matching_due(m, w.now), T0 + 60 * SECOND);
    CHECK(!matching_expired(m, T0 + 60 * SECOND - 1));
    CHECK(matching_expired(m, T0 + 60 * SECOND) == &a);
    CHECK(!matching_expired(m, T0 + 60 * SECOND));
    CHECK(!matching_worker_gone(m, "ns", "another", ""));
    CHECK(!matching_worker_gone(m, "elsewhere", "key", ""));
    int gone = 0;
    while (matching_worker_gone(m, "ns", "key", ""))
        gone++;
    CHECK_EQ(gone, 2);
    CHECK_EQ(matching_due(m, w.now), INT64_MAX);
}

TEST(a_sticky_queue_counts_as_polled_for_ten_seconds_or_until_its_worker_goes)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct err e;
    struct matching_poll p = { .ns = "ns", .queue = "s", .kind = MATCHING_WORKFLOW, .expires_ns = T0 + 30 * SECOND };
    CHECK(!matching_polled(m, STR("ns"), "s", MATCHING_WORKFLOW, T0));
    CHECK_EQ(matching_poll_add(m, &p, T0, &e), 0);
    CHECK(matching_polled(m, STR("ns"), "s", MATCHING_WORKFLOW, T0 + 29 * SECOND));
    CHECK(matching_expired(m, T0 + 30 * SECOND) == &p);
    CHECK(matching_polled(m, STR("ns"), "s", MATCHING_WORKFLOW, T0 + 39 * SECOND));
    CHECK(!matching_polled(m, STR("ns"), "s", MATCHING_WORKFLOW, T0 + 40 * SECOND));
    p.expires_ns = T0 + 90 * SECOND;
    CHECK_EQ(matching_poll_add(m, &p, T0 + 41 * SECOND, &e), 0);
    CHECK(matching_worker_gone(m, "ns", "", "s") == &p);
    CHECK(!matching_worker_gone(m, "ns", "", "s"));
    CHECK(!matching_polled(m, STR("ns"), "s", MATCHING_WORKFLOW, T0 + 42 * SECOND));
}

TEST(a_rate_holds_back_and_says_when_to_come_again)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct matching_task t[20];
    for (int i = 0; i < 20; i++)
        t[i] = task_of(5 + i, "q");
    offer(&w, 1, t, 20);
    int got_in[5] = { 0 };
    for (int second = 0; second < 5; second++) {
        struct matching_poll p[10] = { { 0 } };
        struct matching_match got;
        for (int i = 0; i < 10; i++) {
            p[i].tasks_per_second = 4;
            CHECK(poll_wait(&w, &p[i], "q"));
        }
        int64_t until = w.now + SECOND;
        while (w.now < until) {
            while (next(&w, &got))
                got_in[second]++;
            int64_t due = matching_due(m, w.now);
            w.now = due < until && due > w.now ? due : until;
        }
        for (int i = 0; i < 10; i++)
            matching_poll_remove(m, &p[i]);
    }
    CHECK_EQ(got_in[0], 7); /* a second's worth at once, and what comes within the second */
    for (int i = 1; i < 4; i++)
        CHECK(got_in[i] >= 3 && got_in[i] <= 5);
}

TEST(a_query_goes_before_tasks_and_is_not_held_back_by_a_rate)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct err e;
    struct matching_run r = run_of(1);
    struct matching_task t = task_of(1, "q");
    t.kind = MATCHING_WORKFLOW;
    matching_offer(m, &r, &t, 1, w.now);
    struct matching_query q = { .ns = "ns", .queue = "q" }, gone = { .ns = "ns", .queue = "q" };
    CHECK_EQ(matching_query_add(m, &gone, w.now, &e), 0);
    CHECK_EQ(matching_query_add(m, &q, w.now, &e), 0);
    matching_query_remove(m, &gone);
    matching_query_remove(m, &gone);
    struct matching_poll p = { .ns = "ns", .queue = "q", .kind = MATCHING_WORKFLOW, .expires_ns = T0 + SECOND };
    CHECK_EQ(matching_poll_add(m, &p, w.now, &e), 0);
    struct matching_match got;
    CHECK(next(&w, &got));
    CHECK(got.query == &q && got.poll == &p);
}

TEST(beyond_their_limits_polls_are_refused_and_tasks_asked_for_again)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    w.limits.matching_polls_max = 1;
    w.limits.matching_tasks_max = 4;
    w.limits.matching_queues_max = 1;
    struct matching_poll a = { 0 }, b = { 0 };
    CHECK(poll_wait(&w, &a, "q"));
    CHECK(!poll_wait(&w, &b, "q"));
    matching_poll_remove(m, &a);
    CHECK(poll_wait(&w, &b, "q2")); /* the idle queue made room */
    CHECK(!poll_wait(&w, &a, "q"));
    matching_poll_remove(m, &b);
    struct matching_task t[6];
    for (int i = 0; i < 6; i++)
        t[i] = task_of(5 + i, "q2");
    offer(&w, 1, t, 6);
    struct matching_counts c;
    matching_counts(m, &c);
    CHECK_EQ(c.tasks, 4);
    CHECK_EQ(c.missed, 2);
    CHECK(!matching_missed(m));
    struct matching_task left[] = { t[4], t[5] };
    offer(&w, 1, left, 2);
    CHECK(matching_missed(m));
    CHECK(!matching_missed(m));
}

TEST(a_queue_tells_its_figures)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct matching_task t[] = { task_of(5, "q"), task_of(6, "q") };
    struct matching_poll p = { 0 };
    struct matching_match got;
    struct matching_figures f;
    w.now = T0 + 3 * SECOND;
    offer(&w, 1, t, 2);
    CHECK(poll_wait(&w, &p, "q"));
    CHECK(next(&w, &got));
    matching_describe(m, "ns", "q", MATCHING_ACTIVITY, w.now, &f);
    CHECK_EQ(f.backlog, 1);
    CHECK_EQ(f.backlog_age_ns, 3 * SECOND - 6);
    CHECK_EQ(f.poller_count, 1);
    CHECK_STR(f.pollers[0].identity, "me");
    CHECK(f.added_per_second > f.dispatched_per_second && f.dispatched_per_second > 0);
    matching_describe(m, "ns", "none", MATCHING_ACTIVITY, w.now, &f);
    CHECK_EQ(f.backlog + f.poller_count, 0);
}

static bool unattended(const struct world *w, const char *queue, int64_t *ret_since_ns)
{
    return matching_unattended(w->m, STR("ns"), queue, MATCHING_ACTIVITY, w->now, ret_since_ns);
}

TEST(a_queue_is_unattended_while_something_waits_and_no_worker_was_there_lately)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct matching_task t[] = { task_of(6, "q"), task_of(5, "q") };
    struct matching_poll p = { 0 };
    struct matching_match got;
    int64_t since = 0;
    w.now = T0 + SECOND;
    t[0].priority = 1; /* first in the backlog, not the oldest */
    CHECK(!unattended(&w, "q", &since));
    offer(&w, 1, t, 2);
    CHECK(unattended(&w, "q", &since));
    CHECK_EQ(since, T0 + 5);
    CHECK(!unattended(&w, "other", &since));
    CHECK(!matching_unattended(m, STR("ns"), "q", MATCHING_WORKFLOW, w.now, &since));

    CHECK(poll_wait(&w, &p, "q"));
    CHECK(next(&w, &got)); /* its worker is at work, and one task still waits */
    CHECK(!unattended(&w, "q", &since));
    w.now += 9 * SECOND;
    CHECK(!unattended(&w, "q", &since));
    w.now += SECOND;
    CHECK(unattended(&w, "q", &since)); /* it did not come back */
    CHECK_EQ(since, T0 + 5);            /* task 6 was taken */
    offer(&w, 1, t, 1);                 /* task 5 is not wanted any more, task 6 is still taken */
    CHECK(!unattended(&w, "q", &since));
}

TEST(a_worker_of_our_own_attends_while_it_waits_and_no_longer)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct matching_task t[] = { task_of(5, "q"), task_of(6, "q") };
    struct matching_poll own = { .ns = "ns", .queue = "q", .kind = MATCHING_ACTIVITY, .expires_ns = w.now + 60 * SECOND,
                                 .own = true };
    struct matching_match got;
    struct matching_demand d;
    struct err e;
    int watcher;
    matching_watch(m, "ns", "q", MATCHING_ACTIVITY, &watcher, w.now);
    matching_check(m);
    while (matching_changed(m))
        ;
    CHECK_EQ(matching_poll_add(m, &own, w.now, &e), 0);
    offer(&w, 1, t, 2);
    CHECK(matching_changed(m) == &watcher && !matching_changed(m));
    matching_demand(m, STR("ns"), "q", MATCHING_ACTIVITY, w.now, &d);
    CHECK(d.waiting == 2 && !d.unattended && d.due_ns == INT64_MAX);
    CHECK(next(&w, &got));
    matching_demand(m, STR("ns"), "q", MATCHING_ACTIVITY, w.now, &d);
    CHECK(d.waiting == 1 && d.unattended && d.has_first && d.task.scheduled_id == 6);
    CHECK(matching_polled(m, STR("ns"), "q", MATCHING_ACTIVITY, w.now)); /* what a sticky queue goes by */
    matching_left(m, STR("ns"), "q", MATCHING_ACTIVITY);
    CHECK(!matching_polled(m, STR("ns"), "q", MATCHING_ACTIVITY, w.now));
    offer(&w, 1, NULL, 0);
    w.now += 1000 * SECOND;
    matching_demand(m, STR("ns"), "q", MATCHING_ACTIVITY, w.now, &d);
    CHECK(d.waiting == 0 && !d.unattended);
    while (matching_changed(m))
        ;
    struct matching_task later = task_of(9, "q");
    offer(&w, 2, &later, 1);
    CHECK(matching_changed(m) == &watcher); /* it is not forgotten for being idle */
    matching_unwatch(m, "ns", "q", MATCHING_ACTIVITY, w.now);
    offer(&w, 2, NULL, 0);
    CHECK(!matching_changed(m));
}

TEST(a_query_without_a_worker_makes_its_queue_unattended)
{
    struct world w;
    world_open(&w);
    AUTO(matching) struct matching *m = w.m;
    struct matching_query query = { .ns = "ns", .queue = "q" };
    struct err e;
    int64_t since = 0;
    CHECK_EQ(matching_query_add(m, &query, w.now, &e), 0);
    CHECK(matching_unattended(m, STR("ns"), "q", MATCHING_WORKFLOW, w.now, &since));
    CHECK_EQ(since, w.now);
    matching_query_remove(m, &query);
    CHECK(!matching_unattended(m, STR("ns"), "q", MATCHING_WORKFLOW, w.now, &since));
}

/* ---- against a naive model, over random lives ---- */

enum { RUNS = 4, TASKS = 4, POLLS = 12, QUEUES = 2, STEPS = 4000 };
static const char *const names[QUEUES] = { "q0", "q1" };
struct model_task {
    bool wanted, taken;
    struct matching_task task;
};

static size_t model_first(struct model_task all[RUNS][TASKS], const char *queue, int *ret_run)
{
    size_t best = TASKS;
    for (int r = 0; r < RUNS; r++)
        for (size_t i = 0; i < TASKS; i++) {
            struct model_task *t = &all[r][i];
            if (!t->wanted || t->taken || strcmp(t->task.queue, queue))
                continue;
            if (best < TASKS && all[*ret_run][best].task.scheduled_ns < t->task.scheduled_ns)
                continue;
            best = i;
            *ret_run = r;
        }
    return best;
}

static void model_offer(struct world *w, struct model_task all[RUNS][TASKS], int r)
{
    struct matching_task wanted[TASKS];
    size_t count = 0;
    for (size_t i = 0; i < TASKS; i++)
        if (all[r][i].wanted)
            wanted[count++] = all[r][i].task;
    offer(w, (uint8_t)r, wanted, count);
}

static bool life(uint64_t seed)
{
    struct world w;
    world_open(&w);
    struct rng rng = { seed };
    struct model_task all[RUNS][TASKS] = { 0 };
    struct matching_poll polls[POLLS] = { { 0 } };
    bool fine = true;
    int64_t made = 0;
    for (int step = 0; step < STEPS && fine; step++) {
        w.now += (int64_t)rng_below(&rng, 3) * SECOND;
        int r = (int)rng_below(&rng, RUNS);
        struct model_task *t = &all[r][rng_below(&rng, TASKS)];
        struct matching_poll *p = &polls[rng_below(&rng, POLLS)];
        struct matching_run key = run_of((uint8_t)r);
        switch (rng_below(&rng, 5)) {
        case 0: /* a task appears, or begins another life */
            *t = (struct model_task){ true, false, task_of(t - all[r], names[rng_below(&rng, QUEUES)]) };
            t->task.stamp = (uint32_t)++made;
            t->task.scheduled_ns = T0 + made;
            model_offer(&w, all, r);
            break;
        case 1: /* it was started, or is not wanted */
            t->wanted = false;
            model_offer(&w, all, r);
            break;
        case 2:
            if (t->wanted && t->taken) {
                t->taken = false;
                matching_give_back(w.m, &key.run, &t->task, w.now);
            }
            break;
        case 3:
            if (!matching_poll_waits(p))
                fine = poll_wait(&w, p, names[rng_below(&rng, QUEUES)]);
            break;
        default: matching_poll_remove(w.m, p);
        }
        struct matching_match got;
        while (fine && next(&w, &got)) { /* each match is the first of its queue in the model */
            int from = 0;
            size_t i = model_first(all, got.poll->queue, &from);
            fine = i < TASKS && got.task.stamp == all[from][i].task.stamp && got.run.run.at[0] == from;
            if (fine)
                all[from][i].taken = true;
        }
        while (matching_expired(w.m, w.now))
            ;
        for (int i = 0; i < POLLS && fine; i++) /* and nobody waits beside a task */
            fine = !matching_poll_waits(&polls[i]) || model_first(all, polls[i].queue, &r) == TASKS;
    }
    for (int i = 0; i < POLLS; i++)
        matching_poll_remove(w.m, &polls[i]);
    matching_free(w.m);
    return fine;
}

TEST(random_lives_match_as_a_naive_model_does)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        if (!life(seed))
            FAIL("seed %" PRIu64, seed);
}

TEST_MAIN()
