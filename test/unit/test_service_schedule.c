/* Schedules over the host, with a journal and a time that the test owns: power cuts lose no tick and double none. */
#include "workflow/service.h"
#include "tap.h"

#include "codec/civil.h"
#include "codec/proto.h"
#include "codec/temporal.h"
#include "sim/sim_journal.h"
#include "sim/sim_world.h"

struct world {
    struct rng rng;
    struct sim_clock clock;
    struct sim_disk disk;
    struct sim_faults faults;
    struct limits limits;
    struct loop *loop;
    struct journal *journal;
    struct service *service;
    struct durable_kind kinds[2]; /* borrowed by the host */
    struct durable_host *host;
};

static void on_ready(void *ctx, int r, const struct err *e)
{
    (void)e;
    *(bool *)ctx = r == 0;
}

static bool turn(struct world *w)
{
    struct err e;
    return loop_turn(w->loop, true, &e) >= 0;
}

static bool world_open(struct world *w)
{
    struct err e;
    bool ready = false;
    ASSERT(sim_loop_open(&w->clock, &w->loop, &e) == 0);
    w->journal = sim_journal_new(&w->disk, w->loop, &w->rng, &w->faults);
    const struct service_world sw = { .loop = w->loop, .journal = w->journal, .limits = &w->limits, .wall_ns = sim_wall_ns,
                                      .ctx = &w->clock, .seed = rng_next(&w->rng), .version = "1" };
    ASSERT(service_open(&sw, &w->service, &e) == 0);
    const struct durable_world dw = { .loop = w->loop, .journal = w->journal, .limits = &w->limits, .wall_ns = sim_wall_ns,
                                      .ctx = &w->clock, .seed = rng_next(&w->rng) };
    w->kinds[0] = service_kind(w->service);
    w->kinds[1] = service_schedule_kind(w->service);
    ASSERT(durable_host_open(&dw, w->kinds, 2, &w->host, &e) == 0);
    service_attach(w->service, w->host);
    if (durable_host_start(w->host, on_ready, &ready, &e) < 0)
        return false;
    for (int i = 0; i < 10000 && !ready; i++)
        if (!turn(w))
            return false;
    return ready;
}

static bool world_begin(struct world *w, uint64_t seed)
{
    *w = (struct world){ .rng = { seed }, .clock = { .now_us = 1000000 }, .faults = { .commit_us = 20000, .read_us = 5000 } };
    w->clock.rng = &w->rng;
    w->clock.wall_offset_ns = INT64_C(1700000000) * 1000000000;
    limits_default(&w->limits);
    return world_open(w);
}

static void world_close(struct world *w, bool crash)
{
    if (crash)
        sim_journal_crash(TAKE(w->journal));
    else
        journal_free(TAKE(w->journal));
    durable_host_free(TAKE(w->host));
    service_free(TAKE(w->service));
    loop_free(TAKE(w->loop));
}

static void world_done(struct world *w)
{
    world_close(w, false);
    sim_disk_done(&w->disk);
}

/* ---- calls ---- */

struct call {
    struct service_call *at;
    bool done;
    enum code code;
    const ProtobufCMessageDescriptor *type;
    ProtobufCMessage *answer;
};

static void on_done(void *owner, const struct service_reply *reply)
{
    struct call *c = owner;
    struct err e;
    c->done = true;
    c->code = reply->no ? reply->no->code : CODE_OK;
    if (!reply->no && proto_decode_new(c->type, reply->answer, MIB(8), &c->answer, &e) < 0)
        c->code = CODE_INTERNAL;
}

static bool ask(struct world *w, struct call *c, const char *method, const void *q, const ProtobufCMessageDescriptor *type)
{
    struct buf b;
    struct refusal no = { 0 };
    buf_init(&b, MIB(8));
    proto_encode(q, &b);
    *c = (struct call){ .type = type };
    const struct service_ask a = { .method = str_of(method), .message = buf_str(&b), .timeout_ns = INT64_MAX, .done = on_done,
                                   .owner = c };
    bool taken = service_ask(w->service, &a, &c->at, &no) == 0;
    refusal_done(&no);
    buf_done(&b);
    for (int i = 0; taken && i < 100000 && !c->done; i++)
        taken = turn(w);
    return taken && c->done;
}

static Tp__CreateScheduleRequest *definition(Tp__ScheduleOverlapPolicy policy)
{
    Tp__CreateScheduleRequest *q = proto_new(&tp__create_schedule_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->schedule_id, "s");
    proto_set_text(&q->request_id, "r1");
    q->schedule = proto_new(&tp__schedule__descriptor);
    q->schedule->spec = proto_new(&tp__schedule_spec__descriptor);
    Tp__IntervalSpec *every = proto_new(&tp__interval_spec__descriptor);
    temporal_set_duration(&every->interval, INT64_C(1000000000));
    proto_push(&q->schedule->spec->n_interval, &q->schedule->spec->interval, every);
    q->schedule->policies = proto_new(&tp__schedule_policies__descriptor);
    q->schedule->policies->overlap_policy = policy;
    q->schedule->action = proto_new(&tp__schedule_action__descriptor);
    q->schedule->action->action_case = TP__SCHEDULE_ACTION__ACTION_START_WORKFLOW;
    Tp__NewWorkflowExecutionInfo *a = proto_new(&tp__new_workflow_execution_info__descriptor);
    q->schedule->action->start_workflow = a;
    proto_set_text(&a->workflow_id, "w");
    a->workflow_type = proto_new(&tp__workflow_type__descriptor);
    proto_set_text(&a->workflow_type->name, "hello");
    a->task_queue = proto_new(&tp__task_queue__descriptor);
    proto_set_text(&a->task_queue->name, "q");
    return q;
}

static bool create(struct world *w, Tp__ScheduleOverlapPolicy policy, struct call *c)
{
    Tp__CreateScheduleRequest *q = definition(policy);
    bool fine = ask(w, c, "CreateSchedule", q, &tp__create_schedule_response__descriptor) && c->answer;
    proto_free(q);
    return fine;
}

static Tp__DescribeScheduleResponse *describe(struct world *w)
{
    struct call c;
    Tp__DescribeScheduleRequest q;
    tp__describe_schedule_request__init(&q);
    char ns[] = "default", id[] = "s";
    q.namespace_ = ns;
    q.schedule_id = id;
    return ask(w, &c, "DescribeSchedule", &q, &tp__describe_schedule_response__descriptor) ? (void *)c.answer : NULL;
}

/* Until so much time has passed; with power cuts, `cuts` in 1000 turns. */
static bool live(struct world *w, int64_t seconds, uint32_t cuts)
{
    int64_t until = sim_wall_ns(&w->clock) + seconds * 1000000000;
    while (sim_wall_ns(&w->clock) < until) {
        if (!turn(w))
            return false;
        if (rng_next(&w->rng) % 1000 >= cuts)
            continue;
        world_close(w, true);
        if (!world_open(w))
            return false;
    }
    return true;
}

struct ticks {
    int64_t first_s, last_s;
    size_t runs, ids;
};

static struct ticks ticks_of(const struct world *w)
{
    struct ticks t = { .first_s = INT64_MAX };
    for (size_t i = 0; i < w->disk.count; i++) {
        const struct sim_row *row = w->disk.rows[i];
        struct str at = row->key.id;
        struct err e;
        int64_t s;
        int32_t ns;
        if (row->key.kind != JOURNAL_WORKFLOW || !str_starts(at, STR("w-")))
            continue;
        t.runs++;
        bool again = false;
        for (size_t k = 0; k < i; k++)
            again |= w->disk.rows[k]->key.kind == JOURNAL_WORKFLOW && str_eq(w->disk.rows[k]->key.id, at);
        t.ids += !again;
        if (civil_rfc3339_parse(str_from(at, 2), &s, &ns, &e) < 0)
            continue;
        t.first_s = MIN(t.first_s, s);
        t.last_s = MAX(t.last_s, s);
    }
    return t;
}

TEST(each_second_of_a_schedule_is_started_once)
{
    struct world w;
    struct call c = { 0 };
    bool fine = world_begin(&w, 1) && create(&w, TP__SCHEDULE_OVERLAP_POLICY__SCHEDULE_OVERLAP_POLICY_ALLOW_ALL, &c) &&
                live(&w, 20, 0);
    struct ticks t = ticks_of(&w);
    proto_free(c.answer);
    world_done(&w);
    CHECK(fine);
    CHECK(t.runs >= 19);
    CHECK_EQ(t.runs, t.ids);
    CHECK_EQ(t.runs, (size_t)(t.last_s - t.first_s + 1));
}

TEST(power_cuts_lose_no_tick_and_double_none)
{
    size_t seeds = 0, runs = 0;
    bool fine = true;
    for (uint64_t seed = 1; fine && seed <= 30; seed++, seeds++) {
        struct world w;
        struct call c = { 0 };
        fine = world_begin(&w, seed) && create(&w, TP__SCHEDULE_OVERLAP_POLICY__SCHEDULE_OVERLAP_POLICY_ALLOW_ALL, &c);
        int64_t made_s = sim_wall_ns(&w.clock) / 1000000000;
        fine = fine && live(&w, 20, 60) && live(&w, 5, 0);
        struct ticks t = ticks_of(&w);
        runs += t.runs;
        fine = fine && t.runs == t.ids && t.runs == (size_t)(t.last_s - t.first_s + 1) && t.first_s <= made_s + 1 &&
               t.last_s >= made_s + 24;
        if (!fine)
            printf("# seed %llu: %zu runs of %zu ids, %lld to %lld, made %lld\n", (unsigned long long)seed, t.runs, t.ids,
                   (long long)t.first_s, (long long)t.last_s, (long long)made_s);
        proto_free(c.answer);
        world_done(&w);
    }
    CHECK(fine);
    CHECK_EQ(seeds, 30);
    CHECK(runs > 30 * 20);
}

TEST(what_runs_is_not_started_again_also_after_power_cuts)
{
    bool fine = true;
    size_t seeds = 0;
    for (uint64_t seed = 1; fine && seed <= 30; seed++, seeds++) {
        struct world w;
        struct call c = { 0 };
        fine = world_begin(&w, seed) && create(&w, TP__SCHEDULE_OVERLAP_POLICY__SCHEDULE_OVERLAP_POLICY_SKIP, &c) &&
               live(&w, 20, 60) && live(&w, 3, 0);
        Tp__DescribeScheduleResponse *d = fine ? describe(&w) : NULL;
        fine = d && d->info->action_count == 1 && d->info->n_running_workflows == 1 && d->info->overlap_skipped >= 15 &&
               d->info->n_recent_actions == 1 && d->info->n_future_action_times == 10 && ticks_of(&w).runs == 1;
        proto_free(d);
        proto_free(c.answer);
        world_done(&w);
    }
    CHECK(fine);
    CHECK_EQ(seeds, 30);
}

TEST(what_was_triggered_is_started_after_a_power_cut_though_nobody_asks)
{
    struct world w;
    struct call a = { 0 }, b = { 0 };
    bool fine = world_begin(&w, 11);
    Tp__CreateScheduleRequest *q = definition(TP__SCHEDULE_OVERLAP_POLICY__SCHEDULE_OVERLAP_POLICY_SKIP);
    q->schedule->state = proto_new(&tp__schedule_state__descriptor);
    q->schedule->state->paused = true;
    fine = fine && ask(&w, &a, "CreateSchedule", q, &tp__create_schedule_response__descriptor) && a.answer;
    proto_free(q);
    Tp__PatchScheduleRequest p;
    Tp__SchedulePatch patch;
    Tp__TriggerImmediatelyRequest now;
    tp__patch_schedule_request__init(&p);
    tp__schedule_patch__init(&patch);
    tp__trigger_immediately_request__init(&now);
    char ns[] = "default", id[] = "s";
    p.namespace_ = ns;
    p.schedule_id = id;
    p.patch = &patch;
    patch.trigger_immediately = &now;
    fine = fine && ask(&w, &b, "PatchSchedule", &p, &tp__patch_schedule_response__descriptor) && b.answer;
    size_t before = ticks_of(&w).runs;
    world_close(&w, true);
    fine = world_open(&w) && fine;
    struct err e;
    for (int i = 0; fine && i < 100 && ticks_of(&w).runs == 0; i++)
        fine = loop_turn(w.loop, true, &e) >= 0;
    size_t after = ticks_of(&w).runs;
    proto_free(a.answer);
    proto_free(b.answer);
    world_done(&w);
    CHECK(fine);
    CHECK_EQ(before, 0);
    CHECK_EQ(after, 1);
}

TEST(a_run_that_ends_lets_the_next_tick_start_one)
{
    struct world w;
    struct call c = { 0 }, k = { 0 };
    bool fine = world_begin(&w, 5) && create(&w, TP__SCHEDULE_OVERLAP_POLICY__SCHEDULE_OVERLAP_POLICY_SKIP, &c) && live(&w, 4, 0);
    Tp__DescribeScheduleResponse *d = fine ? describe(&w) : NULL;
    fine = d && d->info->n_running_workflows == 1;
    if (fine) {
        Tp__TerminateWorkflowExecutionRequest q;
        tp__terminate_workflow_execution_request__init(&q);
        char ns[] = "default";
        q.namespace_ = ns;
        q.workflow_execution = d->info->running_workflows[0];
        fine = ask(&w, &k, "TerminateWorkflowExecution", &q, &tp__terminate_workflow_execution_response__descriptor) &&
               k.code == CODE_OK && live(&w, 4, 0);
    }
    proto_free(d);
    d = fine ? describe(&w) : NULL;
    fine = d && d->info->action_count == 2 && d->info->n_recent_actions == 2 &&
           d->info->recent_actions[0]->start_workflow_status ==
               TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_TERMINATED;
    proto_free(d);
    proto_free(c.answer);
    proto_free(k.answer);
    world_done(&w);
    CHECK(fine);
}

TEST(a_second_schedule_of_an_id_is_refused_a_repeated_request_is_not)
{
    struct world w;
    struct call a = { 0 }, b = { 0 }, c = { 0 };
    bool fine = world_begin(&w, 7) && create(&w, TP__SCHEDULE_OVERLAP_POLICY__SCHEDULE_OVERLAP_POLICY_SKIP, &a) &&
                create(&w, TP__SCHEDULE_OVERLAP_POLICY__SCHEDULE_OVERLAP_POLICY_SKIP, &b);
    Tp__CreateScheduleRequest *q = definition(TP__SCHEDULE_OVERLAP_POLICY__SCHEDULE_OVERLAP_POLICY_SKIP);
    proto_set_text(&q->request_id, "r2");
    fine = fine && ask(&w, &c, "CreateSchedule", q, &tp__create_schedule_response__descriptor) && c.code == CODE_EXISTS;
    proto_free(q);
    proto_free(a.answer);
    proto_free(b.answer);
    world_done(&w);
    CHECK(fine);
}

TEST_MAIN()
