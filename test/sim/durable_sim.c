/* durable_sim.c -- the durable core in a world of its own: the host and the workflow machine, unchanged, over a journal that fails,
 * delays and crashes, with clients that repeat themselves and workers that are slow, die, and answer twice.
 *
 *     durable_sim [--seed N] [--count M] [--trace]
 *
 * One seed is one run; each draws its own rates of faults. Workers know programs of a few steps and derive where a workflow is from its
 * history alone. Checked all along: events without a gap, what a program asked is what its history says. At the
 * end, when faults are over: every workflow ends, with one terminal event, and it has every acknowledged signal and result
 * once. */
#include "codec/temporal.h"
#include "durable/host.h"
#include "sim/sim_journal.h"
#include "sim/sim_world.h"
#include "workflow/run.h"
#include "workflow/run_chain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLOWS = 6, WORKERS = 5, OFFERS_MAX = 256, ACKS_MAX = 4096, STEPS_MAX = 6, COMMANDS_MAX = 2, HOURS = 6 };

enum step { S_END, S_ACTIVITY, S_TIMER, S_SIGNAL, S_BOTH, S_AGAIN, S_FAIL };
static const enum step programs[][STEPS_MAX] = {
    { S_ACTIVITY, S_END },
    { S_ACTIVITY, S_TIMER, S_ACTIVITY, S_END },
    { S_SIGNAL, S_ACTIVITY, S_SIGNAL, S_END },
    { S_TIMER, S_BOTH, S_AGAIN },
    { S_BOTH, S_ACTIVITY, S_FAIL },
    { S_TIMER, S_TIMER, S_SIGNAL, S_BOTH, S_END },
};

struct sim;
struct flow {
    char id[8];
    bool asked; /* a start of it was acknowledged */
};
struct offer {
    uint32_t flow;
    struct uuid run;
    struct run_task task;
};
struct ack { /* what the outside was told, and must find in the history */
    uint32_t flow;
    struct uuid run;
    int64_t scheduled_id; /* of an activity whose result was taken; 0: a signal */
    uint32_t signal;
};
enum work { W_FREE, W_TAKING, W_READING, W_BUSY, W_ANSWERING };
struct worker {
    struct sim *sim;
    enum work state;
    uint64_t wake_us;
    struct offer offer;
    struct run_token token;
    struct durable_history history;
    Tp__Command *commands[COMMANDS_MAX];
    size_t command_count;
};
enum ask_type { A_START, A_SIGNAL, A_CANCEL, A_TERMINATE, A_TAKE, A_COMPLETE, A_FAIL, A_ACT_TAKE, A_ACT_COMPLETE, A_ACT_FAIL, A_ACT_BEAT };
static const char *const ask_names[] = { "start", "signal", "cancel", "terminate", "take", "complete", "fail",
                                         "take-activity", "complete-activity", "fail-activity", "beat" };
struct ask {
    struct durable_input in;
    struct sim *sim;
    enum ask_type type;
    uint32_t flow, signal;
    struct worker *worker; /* NULL: a client */
    struct refusal no;
    bool there;
    int refused; /* by the machine */
    struct run_task_given given;
    struct uuid run;
};

struct sim {
    uint64_t seed;
    bool trace, broken, faults_on, restart;
    struct rng rng;
    struct limits limits;
    struct sim_clock clock;
    struct sim_disk disk;
    struct sim_faults faults;
    struct loop *loop;
    struct journal *journal;
    struct durable_host *host;
    struct durable_kind kind;
    struct loop_timer tick;
    struct flow flows[FLOWS];
    struct worker workers[WORKERS];
    struct offer offers[OFFERS_MAX];
    uint32_t offer_count;
    struct ack acks[ACKS_MAX];
    uint32_t ack_count, signals, in_flight;
    uint32_t crash_permille, die_percent, slow_percent, fail_percent, twice_percent, jump_permille;
};

#define EXPECT(s, cond)                                                                                     \
    do {                                                                                                    \
        if (!(cond)) {                                                                                      \
            if (!(s)->broken)                                                                               \
                printf("# %s:%d: seed %" PRIu64 ": expected %s\n", __FILE__, __LINE__, (s)->seed, #cond);   \
            (s)->broken = true;                                                                             \
        }                                                                                                   \
    } while (0)
#define TRACE(s, ...)                                                    \
    do {                                                                 \
        if ((s)->trace) {                                                \
            printf("%12.3f ", (double)(s)->clock.now_us / 1e6);          \
            printf(__VA_ARGS__);                                         \
            printf("\n");                                                \
        }                                                                \
    } while (0)

/* ---- the machine, and what it makes known -------------------------------------------------- */

static int kind_open(void *ctx, const struct journal_key *key, struct str state, void **ret, struct err *e)
{
    struct run *r = NULL;
    (void)ctx;
    (void)key;
    int n = run_unpack(state, &r, e);
    if (n == 0)
        *ret = r;
    return n;
}
static void kind_free(void *ctx, void *machine)
{
    (void)ctx;
    run_free(machine);
}
static void kind_pack(const void *machine, struct buf *into)
{
    run_check(machine);
    run_pack(machine, into);
}
static struct durable_standing kind_standing(const void *machine) { return run_standing(machine); }
static void kind_index(void *ctx, const void *machine, struct journal_index *into)
{
    (void)ctx;
    struct run *r = (struct run *)(uintptr_t)machine;
    run_index(r, into);
}
static size_t kind_bytes(const void *machine) { return run_bytes(machine); }
static void kind_due(void *ctx, void *machine, struct durable_turn *t)
{
    (void)ctx;
    run_due(machine, t);
}

static uint32_t flow_of(const struct journal_key *key) { return (uint32_t)(key->id.at[1] - '0'); }

static void offers_drop(struct sim *s, uint32_t flow, const struct uuid *run)
{
    for (uint32_t i = s->offer_count; i-- > 0;)
        if (s->offers[i].flow == flow && memcmp(&s->offers[i].run, run, sizeof *run) == 0)
            s->offers[i] = s->offers[--s->offer_count];
}
static void offer_add(struct sim *s, const struct offer *o)
{
    if (s->offer_count < OFFERS_MAX)
        s->offers[s->offer_count++] = *o;
}
static void kind_dropped(void *ctx, const struct journal_key *key) { offers_drop(ctx, flow_of(key), &key->run); }
static void kind_committed(void *ctx, const struct journal_key *key, void *machine)
{
    struct sim *s = ctx;
    struct offer o = { .flow = flow_of(key), .run = key->run };
    struct run_errand errand;
    const struct sim_row *row = sim_disk_find(&s->disk, key);
    EXPECT(s, row && row->open == run_open(machine));
    EXPECT(s, !run_wants_errand(machine, 0, &errand)); /* no program has a child */
    offers_drop(s, o.flow, &o.run);
    for (size_t n = 0; run_wants_task(machine, n, &o.task); n++) {
        EXPECT(s, run_standing(machine).ready); /* or a restart would not find it */
        o.task.queue = "q";
        o.task.normal_queue = NULL;
        offer_add(s, &o);
    }
}

/* ---- what clients and workers ask ---------------------------------------------------------- */

static void start_apply(struct ask *a, const struct durable_view *v)
{
    if (v->current)
        return; /* repeated, or it is over */
    char request[16], type[4];
    Tp__StartWorkflowExecutionRequest *q = proto_new(&tp__start_workflow_execution_request__descriptor);
    snprintf(request, sizeof request, "start-%u", a->flow);
    snprintf(type, sizeof type, "P%u", (unsigned)((a->sim->seed + a->flow) % COUNT_OF(programs)));
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->workflow_id, a->sim->flows[a->flow].id);
    q->workflow_type = proto_new(&tp__workflow_type__descriptor);
    proto_set_text(&q->workflow_type->name, type);
    q->task_queue = proto_new(&tp__task_queue__descriptor);
    proto_set_text(&q->task_queue->name, "q");
    proto_set_text(&q->request_id, request);
    struct run_start st = { .q = q };
    for (size_t i = 0; i < sizeof st.run.at; i++)
        st.run.at[i] = (uint8_t)rng_next(v->fresh->random);
    run_chain_spawn(v->fresh, &st);
    proto_free(q);
}

static void client_apply(struct ask *a, struct run *m, struct durable_turn *t)
{
    char name[16];
    if (a->type == A_SIGNAL) {
        Tp__SignalWorkflowExecutionRequest *q = proto_new(&tp__signal_workflow_execution_request__descriptor);
        snprintf(name, sizeof name, "s%u", a->signal);
        proto_set_text(&q->signal_name, name);
        proto_set_text(&q->request_id, name);
        a->refused = run_signal(m, t, q, NULL, &a->no);
        proto_free(q);
    } else if (a->type == A_CANCEL) {
        Tp__RequestCancelWorkflowExecutionRequest q;
        tp__request_cancel_workflow_execution_request__init(&q);
        a->refused = run_request_cancel(m, t, &q, NULL, &a->no);
    } else {
        a->refused = run_terminate(m, t, "enough", NULL, "client", &a->no);
    }
}

static void worker_apply(struct ask *a, struct run *m, struct durable_turn *t)
{
    struct worker *w = a->worker;
    struct run_poller poller = { .identity = "w", .queue = "q", .request_id = "poll" };
    Tp__PollActivityTaskQueueResponse *answer = NULL;
    bool cancel;
    switch (a->type) {
    case A_TAKE:
        a->refused = run_task_start(m, t, &w->offer.task, &poller, &a->given, &a->no);
        return;
    case A_COMPLETE: {
        Tp__RespondWorkflowTaskCompletedRequest q;
        struct run_completed done = { 0 };
        tp__respond_workflow_task_completed_request__init(&q);
        q.commands = w->commands;
        q.n_commands = w->command_count;
        a->refused = run_task_complete(m, t, &w->token, &q, &done, &a->no);
        free(done.eager);
        return;
    }
    case A_FAIL: {
        Tp__RespondWorkflowTaskFailedRequest q;
        tp__respond_workflow_task_failed_request__init(&q);
        a->refused = run_task_fail(m, t, &w->token, &q, &a->no);
        return;
    }
    case A_ACT_TAKE:
        a->refused = run_activity_start(m, t, &w->offer.task, &poller, &answer, &a->given.token, &a->no);
        proto_free(answer);
        return;
    case A_ACT_COMPLETE: a->refused = run_activity_complete(m, t, &w->token, NULL, "w", &a->no); return;
    case A_ACT_FAIL: {
        Tp__Failure f;
        tp__failure__init(&f);
        a->refused = run_activity_fail(m, t, &w->token, &f, NULL, "w", &a->no);
        return;
    }
    default: a->refused = run_activity_beat(m, t, &w->token, NULL, &cancel, &a->no); return;
    }
}

static void ask_apply(struct durable_input *in, const struct durable_view *v)
{
    struct ask *a = CONTAINER_OF(in, struct ask, in);
    refusal_done(&a->no); /* it may come again */
    a->no = (struct refusal){ 0 };
    run_task_given_done(&a->given);
    a->given = (struct run_task_given){ 0 };
    a->there = v->machine != NULL;
    a->refused = 0;
    a->run = v->run;
    if (a->type == A_START)
        start_apply(a, v);
    else if (v->machine && a->worker)
        worker_apply(a, v->machine, v->turn);
    else if (v->machine)
        client_apply(a, v->machine, v->turn);
}

static void worker_over(struct worker *w)
{
    for (size_t i = 0; i < w->command_count; i++)
        proto_free(w->commands[i]);
    w->command_count = 0;
    w->state = W_FREE;
}

static void worker_read(struct worker *w, int64_t to);
static void ask_send(struct sim *s, enum ask_type type, uint32_t flow, struct worker *w, uint32_t signal);

static void worker_told(struct ask *a, bool good, int r)
{
    struct sim *s = a->sim;
    struct worker *w = a->worker;
    if (a->type == A_TAKE || a->type == A_ACT_TAKE) {
        if (!good) {
            if (r < 0 && r != -CODE_CANCELLED)
                offer_add(s, &w->offer); /* refused, not gone: it is offered until it is taken */
            worker_over(w);
            return;
        }
        w->token = a->given.token;
        w->state = W_BUSY;
        w->wake_us = s->clock.now_us + rng_below(&s->rng, 200000);
        if (rng_chance(&s->rng, s->slow_percent))
            w->wake_us += rng_below(&s->rng, 90000000); /* beyond its timeout */
        if (a->type == A_TAKE)
            worker_read(w, a->given.to);
        return;
    }
    if (a->type == A_ACT_COMPLETE && good && s->ack_count < ACKS_MAX)
        s->acks[s->ack_count++] = (struct ack){ a->flow, w->offer.run, w->token.scheduled_id, 0 };
    if (a->type == A_ACT_BEAT || rng_chance(&s->rng, s->twice_percent)) {
        w->state = W_BUSY; /* says it again */
        w->wake_us = s->clock.now_us + rng_below(&s->rng, 100000);
        return;
    }
    worker_over(w);
}

static void ask_done(struct durable_input *in, int r, const struct err *e)
{
    struct ask *a = CONTAINER_OF(in, struct ask, in);
    struct sim *s = a->sim;
    bool good = r == 0 && a->refused == 0 && (a->there || a->type == A_START);
    TRACE(s, "%s %s: %s %s", s->flows[a->flow].id, ask_names[a->type], r < 0 ? code_name((enum code)-r) : code_name(a->no.code),
          r < 0 ? e->text : a->no.text);
    s->in_flight--;
    if (a->type == A_START && good)
        s->flows[a->flow].asked = true;
    if (a->type == A_SIGNAL && good && s->ack_count < ACKS_MAX)
        s->acks[s->ack_count++] = (struct ack){ a->flow, a->run, 0, a->signal };
    if (a->worker)
        worker_told(a, good, r);
    refusal_done(&a->no);
    run_task_given_done(&a->given);
    free(a);
}

static void ask_send(struct sim *s, enum ask_type type, uint32_t flow, struct worker *w, uint32_t signal)
{
    struct ask *a = xcalloc(1, sizeof *a);
    *a = (struct ask){ .sim = s, .type = type, .flow = flow, .worker = w, .signal = signal };
    a->in = (struct durable_input){ .key = { JOURNAL_WORKFLOW, STR("default"), str_of(s->flows[flow].id), { { 0 } } },
                                    .creates = type == A_START && rng_chance(&s->rng, 80),
                                    .apply = ask_apply,
                                    .done = ask_done };
    if (w)
        a->in.key.run = w->offer.run;
    s->in_flight++;
    durable_send(s->host, &a->in);
}

/* ---- workers: what comes next is read off the history -------------------------------------- */

struct replay { /* of one run */
    uint32_t program;
    bool issued[2 * STEPS_MAX], over[2 * STEPS_MAX]; /* a step's first and second command */
    int64_t scheduled[2 * STEPS_MAX];                /* an activity's event */
    uint32_t signals;
    bool cancel, closed, failed;
    int64_t next; /* event */
    uint32_t ends;
};

static void replay_ended(struct sim *s, struct replay *p, int64_t scheduled_id)
{
    for (size_t i = 0; i < 2 * STEPS_MAX; i++) {
        if (p->issued[i] && p->scheduled[i] == scheduled_id) {
            EXPECT(s, !p->over[i]); /* a result comes once */
            p->over[i] = true;
            return;
        }
    }
    bool scheduled = false; /* whose result is this? */
    EXPECT(s, scheduled);
}

static size_t command_at(struct sim *s, const char *id)
{
    size_t at = (size_t)strtoul(id, NULL, 10);
    EXPECT(s, at < 2 * STEPS_MAX);
    return at % (2 * STEPS_MAX);
}

static void replay_event(struct sim *s, struct replay *p, const Tp__HistoryEvent *v)
{
    size_t at;
    EXPECT(s, v->event_id == p->next);
    EXPECT(s, !p->closed); /* nothing after the end */
    p->next++;
    switch (v->event_type) {
    case TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
        EXPECT(s, v->event_id == 1);
        p->program = (uint32_t)(v->workflow_execution_started_event_attributes->workflow_type->name[1] - '0');
        return;
    case TP__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
        at = command_at(s, v->activity_task_scheduled_event_attributes->activity_id);
        EXPECT(s, !p->issued[at]);
        p->issued[at] = true;
        p->scheduled[at] = v->event_id;
        return;
    case TP__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
        replay_ended(s, p, v->activity_task_completed_event_attributes->scheduled_event_id);
        return;
    case TP__EVENT_TYPE__EVENT_TYPE_TIMER_STARTED:
        at = command_at(s, v->timer_started_event_attributes->timer_id);
        EXPECT(s, !p->issued[at]);
        p->issued[at] = true;
        return;
    case TP__EVENT_TYPE__EVENT_TYPE_TIMER_FIRED:
        at = command_at(s, v->timer_fired_event_attributes->timer_id);
        EXPECT(s, p->issued[at] && !p->over[at]);
        p->over[at] = true;
        return;
    case TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: p->signals++; return;
    case TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED: p->cancel = true; return;
    case TP__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_FAILED:
    case TP__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
        p->failed = true; /* without a limit of attempts it is tried until it succeeds */
        EXPECT(s, !p->failed);
        return;
    case TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
    case TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
    case TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
    case TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
    case TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
    case TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
        p->closed = true;
        p->ends++;
        return;
    default: return;
    }
}

static void replay_row(struct sim *s, struct replay *p, struct str bytes)
{
    ProtobufCMessage *m;
    struct err e;
    ASSERT(proto_decode_new(&tp__history__descriptor, bytes, MIB(64), &m, &e) == 0);
    const Tp__History *h = (const Tp__History *)m;
    for (size_t i = 0; i < h->n_events; i++)
        replay_event(s, p, h->events[i]);
    proto_free(m);
}

static void *command_add(struct worker *w, Tp__CommandType type, Tp__Command__AttributesCase field)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(&tp__command__descriptor, (unsigned)field);
    Tp__Command *c = proto_new(&tp__command__descriptor);
    void *attributes = proto_new(f->descriptor);
    c->command_type = type;
    c->attributes_case = field;
    memcpy((char *)c + f->offset, &attributes, sizeof attributes);
    ASSERT(w->command_count < COMMANDS_MAX);
    w->commands[w->command_count++] = c;
    return attributes;
}
#define COMMAND_ADD(w, NAME) \
    command_add(w, TP__COMMAND_TYPE__COMMAND_TYPE_##NAME, TP__COMMAND__ATTRIBUTES_##NAME##_COMMAND_ATTRIBUTES)

static void add_activity(struct worker *w, size_t at)
{
    Tp__ScheduleActivityTaskCommandAttributes *a = COMMAND_ADD(w, SCHEDULE_ACTIVITY_TASK);
    char id[8];
    snprintf(id, sizeof id, "%zu", at);
    proto_set_text(&a->activity_id, id);
    a->activity_type = proto_new(&tp__activity_type__descriptor);
    proto_set_text(&a->activity_type->name, "act");
    a->start_to_close_timeout = temporal_duration_new(INT64_C(30000000000));
}
static void add_timer(struct worker *w, size_t at)
{
    Tp__StartTimerCommandAttributes *a = COMMAND_ADD(w, START_TIMER);
    char id[8];
    snprintf(id, sizeof id, "%zu", at);
    proto_set_text(&a->timer_id, id);
    a->start_to_fire_timeout = temporal_duration_new((int64_t)(1 + at) * 7000000000);
}
static void add_again(struct worker *w)
{
    Tp__ContinueAsNewWorkflowExecutionCommandAttributes *a = COMMAND_ADD(w, CONTINUE_AS_NEW_WORKFLOW_EXECUTION);
    a->workflow_type = proto_new(&tp__workflow_type__descriptor);
    proto_set_text(&a->workflow_type->name, "P1");
}

/* The commands of the first step that is not over. */
static void decide(struct sim *s, struct worker *w, const struct replay *p)
{
    uint32_t signals = 0;
    if (p->cancel) {
        (void)COMMAND_ADD(w, CANCEL_WORKFLOW_EXECUTION);
        return;
    }
    EXPECT(s, p->program < COUNT_OF(programs));
    for (size_t i = 0; i < STEPS_MAX && !s->broken; i++) {
        enum step step = programs[p->program][i];
        bool activity = step == S_ACTIVITY || step == S_BOTH, timer = step == S_TIMER || step == S_BOTH;
        if (activity && !p->issued[2 * i])
            add_activity(w, 2 * i);
        if (timer && !p->issued[2 * i + 1])
            add_timer(w, 2 * i + 1);
        if (step == S_SIGNAL && p->signals <= signals++)
            return;
        if ((activity && !p->over[2 * i]) || (timer && !p->over[2 * i + 1]))
            return;
        if (step == S_AGAIN)
            add_again(w);
        if (step == S_FAIL) {
            Tp__FailWorkflowExecutionCommandAttributes *a = COMMAND_ADD(w, FAIL_WORKFLOW_EXECUTION);
            a->failure = proto_new(&tp__failure__descriptor);
        }
        if (step == S_END)
            (void)COMMAND_ADD(w, COMPLETE_WORKFLOW_EXECUTION);
        if (step == S_AGAIN || step == S_FAIL || step == S_END)
            return;
    }
}

static void on_history(struct journal_read *q, int r, const struct journal_row *rows, size_t count, const struct err *e)
{
    struct worker *w = CONTAINER_OF(CONTAINER_OF(q, struct durable_history, read), struct worker, history);
    struct sim *s = w->sim;
    struct replay p = { .next = 1 };
    (void)e;
    if (r < 0) {
        worker_over(w); /* its task times out */
        return;
    }
    for (size_t i = 0; i < count; i++)
        replay_row(s, &p, rows[i].bytes);
    EXPECT(s, p.next >= (int64_t)q->to); /* all that it was promised */
    decide(s, w, &p);
    w->state = W_BUSY;
}

static void worker_read(struct worker *w, int64_t to)
{
    struct err e;
    w->state = W_READING;
    w->history.read = (struct journal_read){
        .key = { JOURNAL_WORKFLOW, STR("default"), str_of(w->sim->flows[w->offer.flow].id), w->offer.run },
        .from = 1, .to = (uint64_t)to, .bytes_max = MIB(64), .on_done = on_history,
    };
    if (durable_read(w->sim->host, &w->history, &e) < 0)
        worker_over(w);
}

static void worker_step(struct sim *s, struct worker *w)
{
    bool workflow = w->offer.task.type == RUN_WORKFLOW_TASK;
    if (w->state == W_FREE && s->offer_count > 0) {
        uint32_t i = (uint32_t)rng_below(&s->rng, s->offer_count);
        w->offer = s->offers[i];
        s->offers[i] = s->offers[--s->offer_count];
        w->state = W_TAKING;
        ask_send(s, w->offer.task.type == RUN_WORKFLOW_TASK ? A_TAKE : A_ACT_TAKE, w->offer.flow, w, 0);
    } else if (w->state == W_BUSY && w->wake_us <= s->clock.now_us) {
        if (rng_chance(&s->rng, s->die_percent)) {
            TRACE(s, "%s: its worker dies", s->flows[w->offer.flow].id);
            worker_over(w);
            return;
        }
        bool fails = rng_chance(&s->rng, s->fail_percent), beats = rng_chance(&s->rng, 10);
        w->state = W_ANSWERING;
        ask_send(s, workflow ? (fails ? A_FAIL : A_COMPLETE) : beats ? A_ACT_BEAT : fails ? A_ACT_FAIL : A_ACT_COMPLETE,
                 w->offer.flow, w, 0);
    }
}

/* ---- the world ----------------------------------------------------------------------------- */

static void clients_step(struct sim *s)
{
    uint32_t flow = (uint32_t)rng_below(&s->rng, FLOWS);
    uint64_t what = rng_below(&s->rng, 100);
    if (!s->flows[flow].asked || what < 10)
        ask_send(s, A_START, flow, NULL, 0);
    else if (what < 30)
        ask_send(s, A_SIGNAL, flow, NULL, rng_chance(&s->rng, 20) && s->signals ? s->signals : ++s->signals);
    else if (what < 31 && s->faults_on)
        ask_send(s, rng_chance(&s->rng, 50) ? A_CANCEL : A_TERMINATE, flow, NULL, 0);
}

static void on_tick(struct loop_timer *t)
{
    struct sim *s = CONTAINER_OF(t, struct sim, tick);
    if (s->in_flight < 50 && rng_chance(&s->rng, s->faults_on ? 30 : 5))
        clients_step(s);
    for (size_t i = 0; i < WORKERS; i++)
        if (rng_chance(&s->rng, 50))
            worker_step(s, &s->workers[i]);
    if (s->faults_on && rng_below(&s->rng, 1000) < s->jump_permille) {
        s->clock.wall_offset_ns += (int64_t)rng_below(&s->rng, 60000000000) - 30000000000;
        TRACE(s, "the wall clock jumps");
    }
    loop_after(s->loop, &s->tick, 1 + rng_below(&s->rng, s->faults_on ? 200000 : 1000000));
}

static void on_ready(void *ctx, int r, const struct err *e)
{
    struct sim *s = ctx;
    (void)e;
    EXPECT(s, r == 0 || r == -CODE_CANCELLED || s->faults_on);
    s->restart = r < 0 && r != -CODE_CANCELLED; /* a start that fails is its owner's to repeat */
}

static void sim_up(struct sim *s)
{
    struct err e;
    ASSERT(sim_loop_open(&s->clock, &s->loop, &e) == 0);
    s->journal = sim_journal_new(&s->disk, s->loop, &s->rng, &s->faults);
    struct durable_world d = { .loop = s->loop, .journal = s->journal, .limits = &s->limits,
                               .wall_ns = sim_wall_ns, .ctx = &s->clock, .seed = rng_next(&s->rng) };
    ASSERT(durable_host_open(&d, &s->kind, 1, &s->host, &e) == 0);
    s->restart = false;
    ASSERT(durable_host_start(s->host, on_ready, s, &e) == 0);
    s->tick = (struct loop_timer){ .on_due = on_tick };
    loop_after(s->loop, &s->tick, 0);
}

static void sim_down(struct sim *s, bool crash)
{
    TRACE(s, crash ? "the node crashes" : "the node stops");
    if (crash)
        sim_journal_crash(s->journal);
    else
        journal_free(s->journal);
    durable_host_free(s->host);
    loop_free(s->loop);
    s->offer_count = 0;
}

static void judge_acks(struct sim *s, uint32_t flow, const struct uuid *run, const Tp__HistoryEvent *v, uint32_t *found)
{
    for (uint32_t i = 0; i < s->ack_count; i++) {
        const struct ack *a = &s->acks[i];
        char name[16];
        snprintf(name, sizeof name, "s%u", a->signal);
        if (a->flow != flow || memcmp(&a->run, run, sizeof *run) != 0)
            continue;
        if (v->event_type == TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED && a->signal)
            found[i] += strcmp(v->workflow_execution_signaled_event_attributes->signal_name, name) == 0;
        if (v->event_type == TP__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_COMPLETED && a->scheduled_id)
            found[i] += v->activity_task_completed_event_attributes->scheduled_event_id == a->scheduled_id;
    }
}

/* Every run, read from the disk. */
static void judge(struct sim *s)
{
    uint32_t *found = xcalloc(ACKS_MAX, sizeof *found);
    for (size_t i = 0; i < s->disk.count; i++) {
        const struct sim_row *row = s->disk.rows[i];
        struct replay p = { .next = 1 };
        for (size_t k = 0; k < row->piece_count; k++) {
            ProtobufCMessage *m;
            struct err e;
            struct str bytes = { row->pieces[k].bytes, row->pieces[k].size };
            replay_row(s, &p, bytes);
            ASSERT(proto_decode_new(&tp__history__descriptor, bytes, MIB(64), &m, &e) == 0);
            for (size_t n = 0; n < ((Tp__History *)m)->n_events; n++)
                judge_acks(s, flow_of(&row->key), &row->key.run, ((Tp__History *)m)->events[n], found);
            proto_free(m);
        }
        EXPECT(s, p.ends == !row->open);
        EXPECT(s, !row->open); /* everything ends */
    }
    for (uint32_t i = 0; i < s->ack_count; i++)
        EXPECT(s, found[i] == 1);
    for (uint32_t i = 0; i < FLOWS; i++) {
        struct journal_key key = { JOURNAL_WORKFLOW, STR("default"), str_of(s->flows[i].id), { { 0 } } };
        EXPECT(s, sim_disk_find(&s->disk, &key));
    }
    free(found);
}

static bool all_ended(const struct sim *s)
{
    for (size_t i = 0; i < s->disk.count; i++)
        if (s->disk.rows[i]->open)
            return false;
    for (uint32_t i = 0; i < FLOWS; i++)
        if (!s->flows[i].asked)
            return false;
    return true;
}

static void sim_init(struct sim *s, uint64_t seed, bool trace)
{
    *s = (struct sim){ .seed = seed, .rng = { seed }, .trace = trace, .faults_on = true };
    limits_default(&s->limits);
    s->limits.durable_clock_ms = 10000;
    s->limits.durable_memory_bytes = rng_chance(&s->rng, 50) ? rng_below(&s->rng, 10000) : MIB(100);
    s->limits.durable_history_bytes = rng_chance(&s->rng, 50) ? rng_below(&s->rng, 5000) : MIB(100);
    s->limits.durable_due_window_ms = rng_chance(&s->rng, 50) ? 1000 : 60000;
    s->limits.durable_dues_max = rng_chance(&s->rng, 30) ? 1 : 1000;
    s->clock = (struct sim_clock){ .now_us = 1000000, .wall_offset_ns = INT64_C(1700000000000000000), .rng = &s->rng,
                                   .late_us = (uint32_t)rng_below(&s->rng, 5000) };
    s->faults = (struct sim_faults){
        .commit_us = (uint32_t)rng_below(&s->rng, 100000), .read_us = (uint32_t)rng_below(&s->rng, 100000),
        .outage_permille = (uint32_t)rng_below(&s->rng, 20), .outage_us = rng_below(&s->rng, 5000000),
        .refuse_permille = (uint32_t)rng_below(&s->rng, 20),
    };
    s->crash_permille = (uint32_t)rng_below(&s->rng, 6);
    s->die_percent = (uint32_t)rng_below(&s->rng, 20);
    s->slow_percent = (uint32_t)rng_below(&s->rng, 10);
    s->fail_percent = (uint32_t)rng_below(&s->rng, 20);
    s->twice_percent = (uint32_t)rng_below(&s->rng, 30);
    s->jump_permille = (uint32_t)rng_below(&s->rng, 10);
    s->kind = (struct durable_kind){
        .kind = JOURNAL_WORKFLOW, .ctx = s, .open = kind_open, .free = kind_free, .pack = kind_pack,
        .standing = kind_standing, .index = kind_index, .bytes = kind_bytes, .due = kind_due,
        .committed = kind_committed, .dropped = kind_dropped,
    };
    for (uint32_t i = 0; i < FLOWS; i++)
        snprintf(s->flows[i].id, sizeof s->flows[i].id, "w%u", i);
    for (size_t i = 0; i < WORKERS; i++)
        s->workers[i].sim = s;
}

static bool simulate(uint64_t seed, bool trace)
{
    static struct sim s;
    struct err e;
    sim_init(&s, seed, trace);
    sim_up(&s);
    for (uint64_t turns = 200 + rng_below(&s.rng, 600); turns > 0 && !s.broken; turns--) {
        ASSERT(loop_turn(s.loop, true, &e) >= 0);
        durable_check(s.host);
        if (s.restart || rng_below(&s.rng, 1000) < s.crash_permille) {
            sim_down(&s, !s.restart);
            sim_up(&s);
        }
    }
    TRACE(&s, "faults end");
    s.faults_on = false;
    s.faults.outage_permille = s.faults.refuse_permille = 0;
    s.die_percent = s.slow_percent = s.fail_percent = 0;
    if (s.restart) {
        sim_down(&s, false);
        sim_up(&s);
    }
    uint64_t end_us = s.clock.now_us + HOURS * UINT64_C(3600000000);
    while (!s.broken && s.clock.now_us < end_us && (!all_ended(&s) || s.in_flight > 0)) {
        ASSERT(loop_turn(s.loop, true, &e) >= 0);
        durable_check(s.host);
    }
    sim_down(&s, false);
    for (size_t i = 0; i < WORKERS; i++)
        worker_over(&s.workers[i]);
    if (!s.broken)
        judge(&s);
    sim_disk_done(&s.disk);
    return !s.broken;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, count = 1;
    bool trace = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0)
            trace = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--count") == 0 && i + 1 < argc)
            count = strtoull(argv[++i], NULL, 10);
        else
            return fprintf(stderr, "usage: durable_sim [--seed N] [--count M] [--trace]\n"), 2;
    }
    for (uint64_t n = 0; n < count; n++) {
        if (!simulate(seed + n, trace)) {
            printf("not ok 1 - seed %" PRIu64 "; again: durable_sim --seed %" PRIu64 " --trace\n1..1\n", seed + n, seed + n);
            return 1;
        }
    }
    printf("ok 1 - %" PRIu64 " lives of the durable core\n1..1\n", count);
    return 0;
}
