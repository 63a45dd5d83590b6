#include "os/work.h"
#include "tap.h"

#include <semaphore.h>

struct job {
    struct work work;
    sem_t *gate;
    int ran, done;
};
static void job_run(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    if (j->gate)
        sem_wait(j->gate);
    j->ran++;
}
static void job_done(struct work *w) { CONTAINER_OF(w, struct job, work)->done++; }

TEST(each_job_runs_once_and_is_reported_once)
{
    struct loop *l = NULL;
    struct work_pool *p = NULL;
    struct err e;
    static struct job jobs[200];
    CHECK_EQ(loop_open(&l, &e), 0);
    CHECK_EQ(work_pool_open(l, "test", 3, 200, &p, &e), 0);
    for (size_t i = 0; i < COUNT_OF(jobs); i++) {
        jobs[i].work = (struct work){ .run = job_run, .on_done = job_done };
        CHECK_EQ(work_submit(p, &jobs[i].work, &e), 0);
        CHECK_EQ(jobs[i].done, 0); /* never before submit returned */
    }
    while (work_waiting(p) > 0)
        CHECK(loop_turn(l, true, &e) >= 0);
    for (size_t i = 0; i < COUNT_OF(jobs); i++)
        CHECK(jobs[i].ran == 1 && jobs[i].done == 1);
    work_pool_free(p);
    loop_free(l);
}

TEST(a_full_pool_refuses_and_a_closing_one_hands_back_what_never_ran)
{
    struct loop *l = NULL;
    struct work_pool *p = NULL;
    struct err e;
    sem_t gate;
    sem_init(&gate, 0, 0);
    CHECK_EQ(loop_open(&l, &e), 0);
    CHECK_EQ(work_pool_open(l, "test", 1, 2, &p, &e), 0);
    struct job a = { .work = { .run = job_run, .on_done = job_done }, .gate = &gate };
    struct job b = { .work = { .run = job_run, .on_done = job_done }, .gate = &gate };
    struct job c = { .work = { .run = job_run, .on_done = job_done } };
    CHECK_EQ(work_submit(p, &a.work, &e), 0);
    CHECK_EQ(work_submit(p, &b.work, &e), 0);
    CHECK_EQ(work_submit(p, &c.work, &e), -CODE_EXHAUSTED);
    sem_post(&gate);
    sem_post(&gate);
    work_pool_free(p);
    CHECK(a.done == 1 && b.done == 1 && c.done == 0);
    loop_free(l);
    sem_destroy(&gate);
}

struct chain {
    struct work work;
    struct work_pool *pool;
    sem_t ran;
    int next;
};
static void chain_done(struct work *w)
{
    struct chain *c = CONTAINER_OF(w, struct chain, work);
    struct err e = { 0 };
    c->next = work_submit(c->pool, &c->work, &e);
}
static void chain_run(struct work *w) { sem_post(&CONTAINER_OF(w, struct chain, work)->ran); }

TEST(a_closing_pool_takes_no_next_step)
{
    struct loop *l = NULL;
    struct err e;
    CHECK_EQ(loop_open(&l, &e), 0);
    struct chain c = { .work = { .run = chain_run, .on_done = chain_done } };
    sem_init(&c.ran, 0, 0);
    CHECK_EQ(work_pool_open(l, "test", 1, 2, &c.pool, &e), 0);
    CHECK_EQ(work_submit(c.pool, &c.work, &e), 0);
    sem_wait(&c.ran);
    work_pool_free(c.pool); /* the job ends here; its next step would never have been reported */
    CHECK_EQ(c.next, -CODE_CANCELLED);
    sem_destroy(&c.ran);
    loop_free(l);
}

TEST_MAIN()
