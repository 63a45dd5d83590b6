#include "instance/fleet_impl.h"

#include "base/log.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LOOK_US = 2000, /* an end is often known by then, and needs no look */
    /* A process that ends closes its newest descriptor first: its port may still take a connection after it has broken
     * one, which then breaks too. How much later is up to the scheduler, so for all of doubt_ms others go before it. */
    HOLD_US = 100000,
};
#define MUTE_FORGOTTEN_US UINT64_C(600000000)

void doubt_end(struct instance *i)
{
    struct instance_doubt *d = &i->doubt;
    if (!d->on)
        return;
    loop_cancel(i->env->loop, &d->timer);
    if (d->connecting)
        connect_cancel(TAKE(d->connecting));
    if (d->fd >= 0)
        (void)close(TAKE_FD(d->fd));
    d->on = false;
}

static void trusted(struct instance *i)
{
    doubt_end(i);
    dispatch_queue(i->owner);
}

static void look_at(struct instance *i, uint64_t us, void (*on_due)(struct loop_timer *timer))
{
    i->doubt.timer = (struct loop_timer){ .on_due = on_due };
    loop_at(i->env->loop, &i->doubt.timer, us);
}

static void on_due(struct loop_timer *timer);
static void on_over(struct loop_timer *timer) { trusted(CONTAINER_OF(timer, struct instance, doubt.timer)); }

static void on_held(struct loop_timer *timer)
{
    struct instance *i = CONTAINER_OF(timer, struct instance, doubt.timer);
    uint64_t now_us = loop_now_us(i->env->loop);
    char byte;
    ssize_t n = recv(i->doubt.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    bool open = n > 0 || (n < 0 && errno == EAGAIN);
    (void)close(TAKE_FD(i->doubt.fd));
    if (now_us >= i->doubt.until_us) {
        trusted(i);
        return;
    }
    i->doubt.holds = open;
    look_at(i, open ? i->doubt.until_us : now_us + LOOK_US, open ? on_over : on_due);
    if (open)
        dispatch_queue(i->owner);
}

static void on_looked(void *ctx, int take_fd, const struct err *e)
{
    struct instance *i = ctx;
    struct rev *v = i->owner;
    i->doubt.connecting = NULL;
    if (take_fd >= 0) {
        i->doubt.fd = take_fd;
        look_at(i, MIN(loop_now_us(i->env->loop) + HOLD_US, i->doubt.until_us), on_held);
    } else if (e->code == CODE_DEADLINE) { /* a port that is busy is somebody's */
        trusted(i);
    } else {
        doubt_end(i);
        if (i->state != INSTANCE_READY) /* it was told meanwhile */
            return;
        log_event(LOG_WARN, "connect.failed", "instance=%s error=\"%s\"", i->id, LOG_QUOTED(e->text));
        fleet_give_up(i);
        fleet_evaluate_soon(v);
    }
}

static void on_due(struct loop_timer *timer)
{
    struct instance *i = CONTAINER_OF(timer, struct instance, doubt.timer);
    if (i->state != INSTANCE_READY) {
        doubt_end(i);
        return;
    }
    struct connecting *c = instance_connect(i, i->doubt.until_us, on_looked, i);
    if (c) /* else on_looked() has been called, and may have begun something else */
        i->doubt.connecting = c;
}

void doubt_begin(struct instance *i)
{
    struct rev *v = i->owner;
    const struct fleet *f = v->target->fleet;
    if (i->state != INSTANCE_READY || i->doubt.on || f->env.limits->doubt_ms == 0)
        return;
    i->doubt = (struct instance_doubt){
        .on = true, .fd = -1, .until_us = fleet_now(f) + f->env.limits->doubt_ms * 1000
    };
    look_at(i, fleet_now(f) + LOOK_US, on_due);
}

/* The kernel takes connections for a process that does nothing any more, so a look cannot tell. */
void doubt_mute(struct instance *i)
{
    struct rev *v = i->owner;
    uint64_t now_us = fleet_now(v->target->fleet);
    if (i->state != INSTANCE_READY)
        return;
    bool again = i->mute_us != 0 && now_us - i->mute_us < MUTE_FORGOTTEN_US;
    i->mute_us = now_us;
    if (!again) {
        doubt_begin(i);
        return;
    }
    doubt_end(i);
    log_event(LOG_WARN, "instance.given_up", "instance=%s in_flight=%u cause=\"%s\"", i->id, i->in_flight,
              "HTTP/2 PING was not answered, twice");
    fleet_give_up(i);
    fleet_evaluate_soon(v);
}
