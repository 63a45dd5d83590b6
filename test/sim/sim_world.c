#include "sim/sim_world.h"

#include <stdlib.h>

struct sim_world {
    struct loop_world world;
    struct sim_clock *clock;
};

static struct sim_clock *clock_of(struct loop_world *w) { return CONTAINER_OF(w, struct sim_world, world)->clock; }

static uint64_t sim_now_us(struct loop_world *w) { return clock_of(w)->now_us; }

static int sim_control(struct loop_world *w, int op, int fd, uint32_t events, uint32_t slot, struct err *e)
{
    (void)w;
    (void)op;
    (void)events;
    (void)slot;
    return err_set(e, CODE_UNIMPLEMENTED, "watch descriptor %d: there are none here", fd);
}

static int sim_wait(struct loop_world *w, uint64_t due_us, struct loop_event *into, int max, struct err *e)
{
    struct sim_clock *c = clock_of(w);
    (void)into;
    (void)max;
    (void)e;
    if (due_us == UINT64_MAX)
        c->stuck = true;
    else if (due_us > c->now_us)
        c->now_us = due_us + (c->late_us ? rng_below(c->rng, c->late_us) : 0);
    return 0;
}

static void sim_free(struct loop_world *w) { free(CONTAINER_OF(w, struct sim_world, world)); }

int sim_loop_open(struct sim_clock *c, struct loop **ret, struct err *e)
{
    struct sim_world *w = xcalloc(1, sizeof *w);
    *w = (struct sim_world){ { sim_now_us, sim_control, sim_wait, sim_free }, c };
    return loop_open_in(&w->world, ret, e);
}

int64_t sim_wall_ns(void *clock)
{
    const struct sim_clock *c = clock;
    return (int64_t)c->now_us * 1000 + c->wall_offset_ns;
}
