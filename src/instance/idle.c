#include "instance/idle.h"
#include "os/fd.h"

#include <string.h>
#include <unistd.h>

/* The oldest `count`. */
static void oldest_close(struct idle *k, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        (void)close(k->fds[i]);
    k->count -= count;
    memmove(k->fds, k->fds + count, k->count * sizeof *k->fds);
}

static void look_soon(struct idle *k)
{
    if (k->looking)
        return;
    k->looking = true;
    k->untouched = k->count;
    loop_after(k->loop, &k->look, INSTANCE_IDLE_BUSY_US);
}

static void on_look(struct loop_timer *t)
{
    struct idle *k = CONTAINER_OF(t, struct idle, look);
    k->looking = false;
    if (*k->in_flight == 0)
        return;
    oldest_close(k, k->untouched);
    if (k->count > 0)
        look_soon(k);
}

void idle_init(struct idle *k, struct loop *l, const uint32_t *in_flight)
{
    *k = (struct idle){ .loop = l, .in_flight = in_flight, .fresh_fd = -1, .look.on_due = on_look };
}

void idle_rest(struct idle *k) { loop_cancel(k->loop, &k->look); }

void idle_clear(struct idle *k) { oldest_close(k, k->count); }

void idle_done(struct idle *k)
{
    idle_rest(k);
    idle_clear(k);
    fd_auto(&k->fresh_fd);
}

void idle_fresh(struct idle *k, int take_fd)
{
    if (k->fresh_fd < 0)
        k->fresh_fd = take_fd;
    else
        (void)close(take_fd);
}

void idle_give(struct idle *k, int take_fd)
{
    bool others = *k->in_flight > 1; /* the one that gives it is still counted */
    if (k->count == INSTANCE_IDLE_MAX || (k->crowded && others)) {
        (void)close(take_fd);
        return;
    }
    k->fds[k->count++] = take_fd;
    if (others)
        look_soon(k);
}

int idle_take(struct idle *k, bool *ret_reused)
{
    if (k->fresh_fd >= 0) {
        *ret_reused = false;
        return TAKE_FD(k->fresh_fd);
    }
    if (k->count == 0)
        return -1;
    *ret_reused = true;
    k->count--; /* the last used is the least likely to be closed */
    k->untouched = MIN(k->untouched, k->count);
    if (k->count > 0)
        look_soon(k);
    return k->fds[k->count];
}
