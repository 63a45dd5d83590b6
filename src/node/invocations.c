#include "node/invocations.h"
#include "os/fault.h"
#include "workflow/zones.h"

#include <stdlib.h>
#include <sys/socket.h>

struct invocations {
    struct invocations_world world;
    struct runner *runner;
    struct desk *desk;
    struct ticker *ticker;
    bool stopped;
};

/* An attempt's own connection to the gateway. */
static int on_connect(void *ctx, struct err *e)
{
    struct invocations *i = ctx;
    int ends[2];
    if (i->stopped)
        return err_set(e, CODE_UNAVAILABLE, "hob is stopping");
    if (fault_hit("socketpair") || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        return err_sys(e, "a connection for the attempt");
    ingress_adopt(i->world.ingress, ends[1]);
    return ends[0];
}

static int zone_load(void *ctx, struct str name, struct zone **ret, struct err *e)
{
    (void)ctx;
    return zones_load(NULL, name, (struct str){ NULL, 0 }, ret, e);
}
static const struct timetable_zones zones = { zone_load, NULL };

struct invocations *invocations_new(const struct invocations_world *w)
{
    struct invocations *i = xcalloc(1, sizeof *i);
    i->world = *w;
    i->runner = runner_new(&(struct runner_world){ .loop = w->loop, .limits = w->limits, .connect = on_connect,
                                                   .ctx = i, .wall_ns = w->wall_ns });
    i->desk = desk_new(&(struct desk_world){ .loop = w->loop, .limits = w->limits, .ops = &runner_ops,
                                             .ctx = i->runner, .seed = w->seed });
    runner_attach(i->runner, i->desk);
    i->ticker = ticker_new(&(struct ticker_world){ .loop = w->loop, .limits = w->limits, .ops = w->schedules, .ctx = w->schedules_ctx,
                                                   .zones = &zones, .wall_ns = w->wall_ns, .seed = w->seed });
    return i;
}

struct desk *invocations_desk(const struct invocations *i) { return i->desk; }
struct ticker *invocations_ticker(const struct invocations *i) { return i->ticker; }

void invocations_stop(struct invocations *i)
{
    i->stopped = true;
    desk_stop(i->desk);
}

bool invocations_idle(const struct invocations *i) { return runner_idle(i->runner) && desk_idle(i->desk); }

void invocations_free(struct invocations *i)
{
    if (!i)
        return;
    runner_free(i->runner);
    ticker_free(i->ticker);
    desk_free(i->desk);
    free(i);
}

size_t invocations_values(const struct invocations *i, struct metrics_value *into, size_t max)
{
    size_t count = 0;
    struct desk_counts d;
    desk_counts(i->desk, &d);
#define VALUE(text, why, is_counter, number)                                                        \
    do {                                                                                             \
        if (count < max)                                                                             \
            into[count++] = (struct metrics_value){ text, why, is_counter, (double)(number) };       \
    } while (0)
    VALUE("durable_invocations_accepted_total", "Durable invocations accepted.", true, d.accepted);
    VALUE("durable_invocations_repeated_total", "Requests that were one accepted before, by their key.", true, d.repeated);
    VALUE("durable_invocations_conflicts_total", "Requests with the key of another request.", true, d.conflicts);
    VALUE("durable_invocations_refused_total", "Requests that could not become durable invocations.", true, d.refused);
    VALUE("durable_invocations_attempts_total", "Attempts of durable invocations.", true, d.attempts);
    VALUE("durable_invocations_attempts_lost_total", "Attempts that ended with the process that had begun them.", true, d.lost);
    VALUE("durable_invocations_done_total", "Durable invocations that the function answered.", true, d.ended[INVOKED_DONE]);
    VALUE("durable_invocations_failed_total", "Those it answered that it could not, and that are not to be repeated.", true,
          d.ended[INVOKED_FAILED]);
    VALUE("durable_invocations_dead_total", "Those repeated as often as allowed, or out of time.", true, d.ended[INVOKED_DEAD]);
    VALUE("durable_invocations_cancelled_total", "Those cancelled.", true, d.ended[INVOKED_CANCELLED]);
    VALUE("durable_invocations_ambiguous_total", "Those of which nobody knows what the function did.", true,
          d.ended[INVOKED_AMBIGUOUS]);
    VALUE("durable_invocations_redrives_total", "Those driven again.", true, d.redrives);
    VALUE("durable_invocations_queued", "Durable invocations that wait for their attempt.", false, d.queued);
    VALUE("durable_invocations_running", "Attempts under way.", false, d.running);
    struct ticker_counts t = ticker_counts(i->ticker);
    VALUE("schedules_accepted_total", "Invocations that Schedules accepted.", true, t.accepted);
    VALUE("schedules_refused_total", "Those that found no room, or no disk; each is tried again.", true, t.refused);
    VALUE("schedules_waiting", "Invocations of Schedules that have not ended.", false, t.waiting);
    VALUE("durable_invocations_waiters", "Clients that wait for the end of one.", false, d.waiters);
#undef VALUE
    return count;
}
