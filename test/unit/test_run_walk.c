#include "run_world.h"

/* Random inputs in random states. world_commit() checks after each that the history has no gap, that the invariants hold, and that the
 * machine survives a restart. Here: that every started thing ends at most once, and that time never goes back. */

struct walk {
    struct world w;
    struct run_token activity; /* the last one that was taken: often an old one */
    unsigned ids, refused;
};

static uint64_t pick(struct walk *k, uint64_t n) { return rng_below(&k->w.random, n); }

static void commands_add(struct walk *k)
{
    struct world *w = &k->w;
    const Ws__Run *s = w->r->s;
    char id[16];
    for (uint64_t n = pick(k, 4); n; n--) {
        (void)snprintf(id, sizeof id, "%u", k->ids++ % 7);
        switch (pick(k, 6)) {
        case 0:
            (void)world_timer(w, id, (int64_t)(1 + pick(k, 30)) * SECOND);
            break;
        case 1:
            world_cancel_timer(w, s->n_timers ? s->timers[pick(k, s->n_timers)]->id : id);
            break;
        case 2:
            world_activity(w, id)->heartbeat_timeout = temporal_duration_new((int64_t)pick(k, 3) * SECOND);
            break;
        case 3:
            world_cancel_activity(w, s->n_activities ? s->activities[pick(k, s->n_activities)]->scheduled_id : 5);
            break;
        default:
            break;
        }
    }
    if (pick(k, 40) == 0)
        world_complete_command(w);
}

static void activity_ends(struct walk *k)
{
    struct world *w = &k->w;
    bool cancel;
    Tp__Failure f;
    tp__failure__init(&f);
    uint64_t way = pick(k, 4);
    int r = way == 0   ? run_activity_complete(w->r, &w->t, &k->activity, NULL, "", &w->no)
            : way == 1 ? run_activity_fail(w->r, &w->t, &k->activity, &f, NULL, "", &w->no)
            : way == 2 ? run_activity_cancel(w->r, &w->t, &k->activity, NULL, "", &w->no)
                       : run_activity_beat(w->r, &w->t, &k->activity, NULL, &cancel, &w->no);
    k->refused += r < 0;
    world_commit(w);
}

static void step(struct walk *k)
{
    struct world *w = &k->w;
    char id[16];
    switch (pick(k, 10)) {
    case 0:
    case 1:
        (void)world_poll(w, pick(k, 2));
        break;
    case 2:
    case 3:
        commands_add(k);
        w->q.force_create_new_workflow_task = pick(k, 4) == 0;
        (void)world_answer(w);
        break;
    case 4:
        if (pick(k, 3) == 0)
            (void)world_fail_task(w);
        break;
    case 5:
        (void)snprintf(id, sizeof id, "%u", (unsigned)pick(k, 1000));
        (void)world_signal(w, "s", id);
        break;
    case 6:
        (void)world_take_activity(w, &k->activity, NULL);
        break;
    case 7:
        activity_ends(k);
        break;
    case 8:
        world_pass(w, (int64_t)pick(k, 12) * SECOND);
        break;
    default:
        if (pick(k, 30) == 0)
            (void)world_cancel(w);
        else if (pick(k, 10) == 0) {
            run_sticky_lost(w->r, &w->t);
            world_commit(w);
        }
    }
}

static bool ends_once(const struct world *w)
{
    static uint8_t ended[4097];
    memset(ended, 0, sizeof ended);
    int64_t last = 0;
    for (size_t i = 0; i < w->event_count; i++) {
        const Tp__HistoryEvent *e = w->events[i];
        int64_t at = temporal_time_ns(e->event_time), id = 0;
        if (at < last)
            return false;
        last = at;
        if (e->event_type == EVENT(ACTIVITY_TASK_COMPLETED))
            id = e->activity_task_completed_event_attributes->scheduled_event_id;
        else if (e->event_type == EVENT(ACTIVITY_TASK_FAILED))
            id = e->activity_task_failed_event_attributes->scheduled_event_id;
        else if (e->event_type == EVENT(ACTIVITY_TASK_CANCELED))
            id = e->activity_task_canceled_event_attributes->scheduled_event_id;
        else if (e->event_type == EVENT(ACTIVITY_TASK_TIMED_OUT))
            id = e->activity_task_timed_out_event_attributes->scheduled_event_id;
        else if (e->event_type == EVENT(TIMER_FIRED))
            id = e->timer_fired_event_attributes->started_event_id;
        else if (e->event_type == EVENT(TIMER_CANCELED))
            id = e->timer_canceled_event_attributes->started_event_id;
        else if (e->event_type == EVENT(WORKFLOW_TASK_STARTED))
            id = e->workflow_task_started_event_attributes->scheduled_event_id;
        if (id && ((size_t)id > i || ended[id]++))
            return false;
    }
    return true;
}

TEST(whatever_comes_in_whatever_order_the_history_has_no_gap_and_nothing_ends_twice)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct walk k = { 0 };
        world_start(&k.w, NULL);
        k.w.random.state = seed;
        for (int i = 0; i < 200 && run_open(k.w.r); i++)
            step(&k);
        bool good = ends_once(&k.w);
        world_auto(&k.w);
        if (!good)
            FAIL("seed %" PRIu64, seed);
    }
}

TEST_MAIN()
