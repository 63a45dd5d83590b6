#include "os/loop.h"
#include "tap.h"

#include <unistd.h>

/* A world with no kernel in it: time moves only when the loop waits. */
struct fake_world {
    struct loop_world world;
    uint64_t now_us;
};
static uint64_t fake_now(struct loop_world *w)
{
    return CONTAINER_OF(w, struct fake_world, world)->now_us;
}
static int fake_control(struct loop_world *w, int op, int fd, uint32_t events, uint32_t slot,
                        struct err *e)
{
    (void)w, (void)op, (void)fd, (void)events, (void)slot, (void)e;
    return 0;
}
static int fake_wait(struct loop_world *w, uint64_t due_us, struct loop_event *into, int max,
                     struct err *e)
{
    struct fake_world *f = CONTAINER_OF(w, struct fake_world, world);
    (void)into, (void)max, (void)e;
    if (due_us != UINT64_MAX && due_us > f->now_us)
        f->now_us = due_us;
    return 0;
}
static void fake_free(struct loop_world *w) { (void)w; }

struct probe {
    struct loop *loop;
    struct loop_timer timer;
    struct loop_task task;
    struct loop_io io;
    uint64_t fired_us;
    int fired;
    struct probe *victim;
};

static void on_due(struct loop_timer *t)
{
    struct probe *p = CONTAINER_OF(t, struct probe, timer);
    p->fired++;
    p->fired_us = loop_now_us(p->loop);
    if (p->victim)
        loop_cancel(p->loop, &p->victim->timer);
    if (p->fired < 3 && !p->victim)
        loop_after(p->loop, t, 0);
}

TEST(a_simulated_world_moves_time_and_never_fires_early)
{
    struct fake_world f = { { fake_now, fake_control, fake_wait, fake_free }, 1000 };
    struct loop *l = NULL;
    struct err e;
    CHECK_EQ(loop_open_in(&f.world, &l, &e), 0);
    struct probe late = { .loop = l, .timer.on_due = on_due };
    struct probe killer = { .loop = l, .timer.on_due = on_due, .victim = &late };
    loop_at(l, &late.timer, 6000);
    loop_at(l, &killer.timer, 6000);
    loop_at(l, &late.timer, 5000); /* moved */
    CHECK_EQ(loop_turn(l, true, &e), 0);
    CHECK_EQ(late.fired, 1); /* set again with delay 0: that is the next turn */
    CHECK_EQ(late.fired_us, 5000);
    CHECK_EQ(killer.fired, 0);
    CHECK_EQ(loop_turn(l, true, &e), 0);
    CHECK_EQ(late.fired, 2);
    CHECK_EQ(loop_turn(l, true, &e), 0);
    CHECK_EQ(late.fired, 3);
    loop_at(l, &late.timer, 6001);
    CHECK_EQ(loop_turn(l, true, &e), 0);
    CHECK_EQ(killer.fired, 1);
    f.now_us = 9000;
    CHECK_EQ(loop_turn(l, false, &e), 0);
    CHECK_EQ(late.fired, 3); /* cancelled by the other */
    loop_free(l);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
    struct probe *p = CONTAINER_OF(io, struct probe, io);
    (void)events;
    p->fired++;
    if (p->victim)
        loop_unwatch(p->loop, &p->victim->io);
}

TEST(an_unwatched_descriptor_is_silent_even_within_the_turn)
{
    struct loop *l = NULL;
    struct err e;
    int a[2], b[2];
    CHECK(pipe(a) == 0 && pipe(b) == 0);
    CHECK_EQ(loop_open(&l, &e), 0);
    struct probe one = { .loop = l, .io.on_ready = on_ready };
    struct probe two = { .loop = l, .io.on_ready = on_ready, .victim = &one };
    one.victim = &two; /* both are ready; whichever comes first silences the other */
    CHECK_EQ(loop_watch(l, &one.io, a[0], EPOLLIN, &e), 0);
    CHECK_EQ(loop_watch(l, &two.io, b[0], EPOLLIN, &e), 0);
    CHECK(write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1);
    CHECK_EQ(loop_turn(l, true, &e), 2);
    CHECK_EQ(one.fired + two.fired, 1);
    loop_unwatch(l, &one.io);
    loop_unwatch(l, &two.io);
    loop_free(l);
    for (int i = 0; i < 2; i++)
        close(a[i]), close(b[i]);
}

TEST(a_closed_descriptor_is_forgotten_and_its_number_watched_anew)
{
    struct loop *l = NULL;
    struct err e;
    int a[2], b[2];
    CHECK(pipe(a) == 0);
    CHECK_EQ(loop_open(&l, &e), 0);
    struct probe p = { .loop = l, .io.on_ready = on_ready };
    CHECK_EQ(loop_watch(l, &p.io, a[0], EPOLLIN, &e), 0);
    close(a[0]), close(a[1]);
    loop_forget(l, &p.io);
    CHECK(!loop_watched(&p.io));
    CHECK(pipe(b) == 0); /* gets the same numbers */
    CHECK_EQ(loop_watch(l, &p.io, b[0], EPOLLIN, &e), 0);
    CHECK(write(b[1], "x", 1) == 1);
    CHECK_EQ(loop_turn(l, true, &e), 1);
    CHECK_EQ(p.fired, 1);
    loop_unwatch(l, &p.io);
    loop_free(l);
    close(b[0]), close(b[1]);
}

static void task_run(struct loop_task *t)
{
    struct probe *p = CONTAINER_OF(t, struct probe, task);
    if (++p->fired < 2)
        loop_defer(p->loop, t);
}

TEST(a_task_deferred_by_a_task_waits_for_the_next_turn)
{
    struct loop *l = NULL;
    struct err e;
    CHECK_EQ(loop_open(&l, &e), 0);
    struct probe p = { .loop = l, .task.run = task_run };
    loop_defer(l, &p.task);
    loop_defer(l, &p.task); /* twice is once */
    CHECK(loop_turn(l, true, &e) >= 0);
    CHECK_EQ(p.fired, 1);
    CHECK(loop_turn(l, true, &e) >= 0); /* does not sleep: a task waits */
    CHECK_EQ(p.fired, 2);
    loop_free(l);
}

TEST_MAIN()
