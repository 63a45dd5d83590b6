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

/* Started minus ended, by their events alone. */
static void pending(const struct world *w, size_t count, size_t *ret_activities, size_t *ret_timers)
{
    *ret_activities = *ret_timers = 0;
    for (size_t i = 0; i < count; i++)
        switch (w->events[i]->event_type) {
        case EVENT(ACTIVITY_TASK_SCHEDULED):
            ++*ret_activities;
            break;
        case EVENT(ACTIVITY_TASK_COMPLETED):
        case EVENT(ACTIVITY_TASK_FAILED):
        case EVENT(ACTIVITY_TASK_CANCELED):
        case EVENT(ACTIVITY_TASK_TIMED_OUT):
            --*ret_activities;
            break;
        case EVENT(TIMER_STARTED):
            ++*ret_timers;
            break;
        case EVENT(TIMER_FIRED):
        case EVENT(TIMER_CANCELED):
            --*ret_timers;
            break;
        default:
            break;
        }
}

/* To the task that ends at events[i]; the run that comes of it has its next task, and waits for what was pending. */
static bool resets(struct world *w, size_t i)
{
    Tp__ResetWorkflowExecutionRequest q;
    struct uuid run = { { 3 } };
    size_t activities, timers;
    tp__reset_workflow_execution_request__init(&q);
    q.workflow_task_finish_event_id = (int64_t)i + 1;
    if (run_reset(w->r, &w->t, w->events, i, w->events + i, w->event_count - i, &q, &run, &w->t, &w->no) < 0)
        return false;
    pending(w, i, &activities, &timers);
    struct run_task task;
    bool good = run_wants_task(w->next, 0, &task) && task.type == RUN_WORKFLOW_TASK &&
                w->next->s->n_activities == activities && w->next->s->n_timers == timers;
    run_check(w->next);
    run_free(w->next);
    w->next = NULL;
    rows_done(&w->next_turn);
    return good;
}

TEST(whatever_came_a_run_can_be_reset_to_each_of_its_tasks)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct walk k = { 0 };
        world_start(&k.w, NULL);
        k.w.random.state = seed;
        for (int i = 0; i < 120 && run_open(k.w.r); i++)
            step(&k);
        bool good = true;
        size_t at = 0;
        for (size_t i = 1; i < k.w.event_count && good; i++) {
            Tp__EventType type = k.w.events[at = i]->event_type;
            if (type == EVENT(WORKFLOW_TASK_COMPLETED) || type == EVENT(WORKFLOW_TASK_FAILED) ||
                type == EVENT(WORKFLOW_TASK_TIMED_OUT) || type == EVENT(WORKFLOW_TASK_STARTED))
                good = resets(&k.w, i);
        }
        char why[sizeof k.w.no.text];
        (void)snprintf(why, sizeof why, "%s", k.w.no.text);
        world_auto(&k.w);
        if (!good)
            FAIL("seed %" PRIu64 ", event %zu: %s", seed, at + 1, why);
    }
}

TEST_MAIN()
