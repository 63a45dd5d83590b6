/* run_world.h -- one workflow run with a worker and a client in C, and its history as text. Plays the host: takes what
 * the turns hold, and after each step packs and unpacks the machine, which must be the same. */
#pragma once

#include "tap.h"

#include "workflow/run_chain.h"
#include "workflow/run_impl.h"

#define SECOND RUN_SECOND

struct world {
    struct run *r, *next; /* next: made in the turn of the first */
    struct durable_turn t, next_turn;
    struct rng random;
    struct refusal no;
    int64_t now_ns;
    uint64_t next_event; /* the number the next row must begin with */
    Tp__HistoryEvent *events[4096];
    size_t event_count, seen;
    struct run_task_given given;
    struct run_completed completed;
    Tp__RespondWorkflowTaskCompletedRequest q; /* the completion that is made up */
    Tp__Command *commands[256];
    char text[65536];
};
static struct world *the_world; /* to which the host's functions belong */

void durable_turn_row(struct durable_turn *t, uint64_t first, uint32_t count, char *take_bytes, size_t size)
{
    t->rows = xrealloc(t->rows, t->row_count + 1, sizeof *t->rows);
    t->rows[t->row_count++] = (struct durable_row){ first, count, take_bytes, size };
}
void durable_turn_after(struct durable_turn *t, struct durable_after *a)
{
    list_push(&t->afters, &a->node);
}
struct durable_turn *durable_turn_create(struct durable_turn *t, const struct uuid *run, void *take_machine)
{
    (void)run;
    struct world *w = the_world;
    ASSERT(t == &w->t && !w->next);
    w->next = take_machine;
    w->next_turn = (struct durable_turn){ .now_ns = t->now_ns, .random = t->random };
    return &w->next_turn;
}

static inline void rows_done(struct durable_turn *t)
{
    for (size_t i = 0; i < t->row_count; i++)
        free(t->rows[i].bytes);
    free(t->rows);
    t->rows = NULL;
    t->row_count = 0;
}

/* A turn ends: its rows follow those before without a gap, and the machine survives a restart. */
static inline void world_commit(struct world *w)
{
    struct err e;
    for (size_t i = 0; i < w->t.row_count; i++) {
        const struct durable_row *row = &w->t.rows[i];
        ProtobufCMessage *m;
        ASSERT(proto_decode_new(&tp__history__descriptor, (struct str){ row->bytes, row->size }, MIB(256), &m, &e) == 0);
        Tp__History *h = (Tp__History *)m;
        ASSERT(row->first == w->next_event && row->count == h->n_events && row->count > 0);
        for (size_t j = 0; j < h->n_events; j++) {
            ASSERT((uint64_t)h->events[j]->event_id == w->next_event++ && w->event_count < COUNT_OF(w->events));
            w->events[w->event_count++] = proto_dup(h->events[j]);
        }
        proto_free(h);
    }
    rows_done(&w->t);
    w->t.changed = w->t.indexed = false;
    ASSERT((int64_t)w->next_event == run_next_event(w->r));
    run_check(w->r);
    struct buf before, after;
    buf_init(&before, MIB(64));
    buf_init(&after, MIB(64));
    run_pack(w->r, &before);
    struct run *again;
    ASSERT(run_unpack(buf_str(&before), &again, &e) == 0);
    run_pack(again, &after);
    ASSERT(str_eq(buf_str(&before), buf_str(&after)));
    run_free(w->r);
    w->r = again;
    buf_done(&before);
    buf_done(&after);
}

static inline void world_auto(struct world *w)
{
    run_free(w->r);
    run_free(w->next);
    rows_done(&w->t);
    rows_done(&w->next_turn);
    refusal_done(&w->no);
    for (size_t i = 0; i < w->event_count; i++)
        proto_free(w->events[i]);
    run_task_given_done(&w->given);
    free(w->completed.eager);
    for (size_t i = 0; i < w->q.n_commands; i++)
        proto_free(w->commands[i]);
}

static inline void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    the_world = w;
    w->now_ns = 1000 * SECOND;
    w->random.state = 1;
    w->next_event = 1;
    w->t = (struct durable_turn){ .now_ns = w->now_ns, .random = &w->random };
    list_init(&w->t.afters);
    tp__respond_workflow_task_completed_request__init(&w->q);
    w->q.commands = w->commands;
}

/* "wf" of type "T" on the queue "q", as `alter` changes the request. */
static inline void world_start(struct world *w, void (*alter)(Tp__StartWorkflowExecutionRequest *q, struct run_start *st))
{
    world_init(w);
    Tp__StartWorkflowExecutionRequest *q = proto_new(&tp__start_workflow_execution_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->workflow_id, "wf");
    q->workflow_type = proto_new(&tp__workflow_type__descriptor);
    proto_set_text(&q->workflow_type->name, "T");
    q->task_queue = run_task_queue("q", NULL);
    proto_set_text(&q->request_id, "start-1");
    struct run_start st = { .q = q, .run = { { 1 } } };
    if (alter)
        alter(q, &st);
    w->r = run_new(&st, &w->t);
    proto_free(q);
    world_commit(w);
}

static inline void world_pass(struct world *w, int64_t ns)
{
    w->t.now_ns = w->now_ns += ns;
    run_due(w->r, &w->t);
    world_commit(w);
}

/* The worker takes the workflow task there is; 0: it has it. */
static inline int world_poll(struct world *w, bool sticky)
{
    struct run_task task;
    struct run_poller p = { .identity = "w", .queue = sticky ? "sticky" : "q", .sticky = sticky, .request_id = "poll" };
    run_task_given_done(&w->given);
    if (!run_wants_task(w->r, 0, &task) || task.type != RUN_WORKFLOW_TASK)
        return -CODE_NOT_FOUND;
    int r = run_task_start(w->r, &w->t, &task, &p, &w->given, &w->no);
    world_commit(w);
    return r;
}

static inline Tp__Command *world_command(struct world *w, Tp__CommandType type, unsigned field)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(&tp__command__descriptor, field);
    Tp__Command *c = proto_new(&tp__command__descriptor);
    void *attributes = proto_new(f->descriptor);
    c->command_type = type;
    c->attributes_case = (Tp__Command__AttributesCase)field;
    memcpy((char *)c + f->offset, &attributes, sizeof attributes);
    w->commands[w->q.n_commands++] = c;
    return c;
}
static inline Tp__StartTimerCommandAttributes *world_timer(struct world *w, const char *id, int64_t ns)
{
    Tp__StartTimerCommandAttributes *a = world_command(w, COMMAND(START_TIMER), 3)->start_timer_command_attributes;
    proto_set_text(&a->timer_id, id);
    a->start_to_fire_timeout = temporal_duration_new(ns);
    return a;
}
static inline void world_cancel_timer(struct world *w, const char *id)
{
    proto_set_text(&world_command(w, COMMAND(CANCEL_TIMER), 7)->cancel_timer_command_attributes->timer_id, id);
}
static inline Tp__ScheduleActivityTaskCommandAttributes *world_activity(struct world *w, const char *id)
{
    Tp__ScheduleActivityTaskCommandAttributes *a =
        world_command(w, COMMAND(SCHEDULE_ACTIVITY_TASK), 2)->schedule_activity_task_command_attributes;
    proto_set_text(&a->activity_id, id);
    a->activity_type = proto_new(&tp__activity_type__descriptor);
    proto_set_text(&a->activity_type->name, "act");
    a->start_to_close_timeout = temporal_duration_new(60 * SECOND);
    return a;
}
static inline void world_cancel_activity(struct world *w, int64_t id)
{
    world_command(w, COMMAND(REQUEST_CANCEL_ACTIVITY_TASK), 6)
        ->request_cancel_activity_task_command_attributes->scheduled_event_id = id;
}
static inline void world_complete_command(struct world *w)
{
    (void)world_command(w, COMMAND(COMPLETE_WORKFLOW_EXECUTION), 4);
}
static inline void world_fail_command(struct world *w, const char *message)
{
    Tp__FailWorkflowExecutionCommandAttributes *a =
        world_command(w, COMMAND(FAIL_WORKFLOW_EXECUTION), 5)->fail_workflow_execution_command_attributes;
    a->failure = proto_new(&tp__failure__descriptor);
    proto_set_text(&a->failure->message, message);
}

/* Answers the task with the commands that were added. */
static inline int world_answer(struct world *w)
{
    free(w->completed.eager);
    int r = run_task_complete(w->r, &w->t, &w->given.token, &w->q, &w->completed, &w->no);
    world_commit(w);
    for (size_t i = 0; i < w->q.n_commands; i++)
        proto_free(w->commands[i]);
    w->q.n_commands = 0;
    return r;
}

static inline int world_signal(struct world *w, const char *name, const char *request_id)
{
    Tp__SignalWorkflowExecutionRequest *q = proto_new(&tp__signal_workflow_execution_request__descriptor);
    proto_set_text(&q->signal_name, name);
    proto_set_text(&q->request_id, request_id);
    int r = run_signal(w->r, &w->t, q, NULL, &w->no);
    proto_free(q);
    world_commit(w);
    return r;
}
static inline int world_cancel(struct world *w)
{
    Tp__RequestCancelWorkflowExecutionRequest q;
    tp__request_cancel_workflow_execution_request__init(&q);
    int r = run_request_cancel(w->r, &w->t, &q, NULL, &w->no);
    world_commit(w);
    return r;
}
static inline int world_fail_task(struct world *w)
{
    Tp__RespondWorkflowTaskFailedRequest q;
    tp__respond_workflow_task_failed_request__init(&q);
    q.cause = CAUSE(NON_DETERMINISTIC_ERROR);
    int r = run_task_fail(w->r, &w->t, &w->given.token, &q, &w->no);
    world_commit(w);
    return r;
}
/* Takes the first activity task. */
static inline int world_take_activity(struct world *w, struct run_token *ret, Tp__PollActivityTaskQueueResponse **ret_answer)
{
    struct run_task task;
    struct run_poller p = { .identity = "aw", .queue = "q", .request_id = "apoll" };
    Tp__PollActivityTaskQueueResponse *a = NULL;
    for (size_t n = 0; run_wants_task(w->r, n, &task); n++) {
        if (task.type != RUN_ACTIVITY_TASK)
            continue;
        int r = run_activity_start(w->r, &w->t, &task, &p, &a, ret, &w->no);
        world_commit(w);
        if (ret_answer && r == 0)
            *ret_answer = a;
        else
            proto_free(a);
        return r;
    }
    return -CODE_NOT_FOUND;
}

/* "1 WorkflowExecutionStarted / 2 WorkflowTaskScheduled …" of what was not told yet. */
static inline const char *world_history(struct world *w)
{
    size_t at = 0;
    w->text[0] = 0;
    for (; w->seen < w->event_count; w->seen++) {
        const Tp__HistoryEvent *e = w->events[w->seen];
        const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(&tp__event_type__descriptor, (int)e->event_type);
        at += (size_t)snprintf(w->text + at, sizeof w->text - at, "%s%lld ", at ? " / " : "", (long long)e->event_id);
        bool upper = true;
        for (const char *c = v->name + strlen("EVENT_TYPE_"); *c && at + 2 < sizeof w->text; c++) {
            if (*c != '_')
                w->text[at++] = upper ? *c : (char)(*c | 0x20);
            upper = *c == '_';
        }
        w->text[at] = 0;
    }
    return w->text;
}
static inline const Tp__HistoryEvent *world_event(const struct world *w, int64_t id)
{
    ASSERT(id >= 1 && (size_t)id <= w->event_count);
    return w->events[id - 1];
}
#define AUTO_WORLD __attribute__((cleanup(world_auto))) struct world
