/* service_world.h -- the service over the host, with a journal and a time that the test owns: a client and a worker in C. */
#pragma once

#include "workflow/service.h"
#include "tap.h"

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
    struct durable_kind kind; /* borrowed by the host */
    struct durable_host *host;
    uint64_t worker; /* whose calls ask() makes; 0: nobody's of hob's own */
};

static inline void world_open(struct world *w)
{
    struct err e;
    limits_default(&w->limits);
    w->faults = (struct sim_faults){ .commit_us = 200, .read_us = 100 };
    ASSERT(sim_loop_open(&w->clock, &w->loop, &e) == 0);
    w->journal = sim_journal_new(&w->disk, w->loop, &w->rng, &w->faults);
    const struct service_world sw = { .loop = w->loop, .journal = w->journal, .limits = &w->limits,
                                      .wall_ns = sim_wall_ns, .ctx = &w->clock, .seed = 7, .version = "1" };
    ASSERT(service_open(&sw, &w->service, &e) == 0);
    const struct durable_world dw = { .loop = w->loop, .journal = w->journal, .limits = &w->limits,
                                      .wall_ns = sim_wall_ns, .ctx = &w->clock, .seed = 8 };
    w->kind = service_kind(w->service);
    ASSERT(durable_host_open(&dw, &w->kind, 1, &w->host, &e) == 0);
    service_attach(w->service, w->host);
}

static inline void on_ready(void *ctx, int r, const struct err *e)
{
    (void)r;
    (void)e;
    *(bool *)ctx = true;
}

static inline void world_begin(struct world *w)
{
    *w = (struct world){ .rng = { 1 }, .clock = { .now_us = 1000000 } };
    w->clock.rng = &w->rng;
    w->clock.wall_offset_ns = INT64_C(1700000000) * 1000000000;
    world_open(w);
}

static inline bool world_start(struct world *w)
{
    struct err e;
    bool ready = false;
    if (durable_host_start(w->host, on_ready, &ready, &e) < 0)
        return false;
    for (int i = 0; i < 10000 && !ready; i++)
        if (loop_turn(w->loop, true, &e) < 0)
            return false;
    return ready;
}

static inline void world_close(struct world *w)
{
    service_drain(w->service);
    struct err e;
    for (int i = 0; i < 10; i++)
        (void)(loop_turn(w->loop, false, &e) < 0);
    journal_free(TAKE(w->journal));
    durable_host_free(TAKE(w->host));
    service_free(TAKE(w->service));
    loop_free(TAKE(w->loop));
}

static inline void world_done(struct world *w)
{
    world_close(w);
    sim_disk_done(&w->disk);
}

/* ---- one call ---- */

struct call {
    struct service_call *at;
    bool done;
    struct refusal no; /* code and text only */
    const ProtobufCMessageDescriptor *type;
    ProtobufCMessage *answer;
};

static inline void on_done(void *owner, const struct service_reply *reply)
{
    struct call *c = owner;
    struct err e;
    c->done = true;
    if (reply->no) {
        c->no.code = reply->no->code;
        memcpy(c->no.text, reply->no->text, sizeof(c->no.text));
    } else if (proto_decode_new(c->type, reply->answer, MIB(8), &c->answer, &e) < 0) {
        c->no.code = CODE_INTERNAL;
    }
}

static inline void ask(struct world *w, struct call *c, const char *method, const void *q, const ProtobufCMessageDescriptor *type,
                int64_t timeout_s)
{
    struct buf b;
    buf_init(&b, MIB(8));
    proto_encode(q, &b);
    *c = (struct call){ .type = type };
    const struct service_ask a = { .method = str_of(method), .message = buf_str(&b),
                                   .timeout_ns = timeout_s * 1000000000, .done = on_done, .owner = c,
                                   .worker = w->worker };
    struct refusal no = { 0 };
    if (service_ask(w->service, &a, &c->at, &no) < 0) {
        c->done = true;
        c->no.code = no.code;
        memcpy(c->no.text, no.text, sizeof(no.text));
        refusal_done(&no);
    }
    buf_done(&b);
}

static inline bool wait_for(struct world *w, struct call *c)
{
    struct err e;
    for (int i = 0; i < 100000 && !c->done; i++)
        if (loop_turn(w->loop, true, &e) < 0)
            return false;
    return c->done;
}

static inline void call_done(struct call *c) { proto_free(TAKE(c->answer)); }

static inline void start(struct world *w, struct call *c, const char *id, const char *request)
{
    Tp__StartWorkflowExecutionRequest q;
    tp__start_workflow_execution_request__init(&q);
    Tp__WorkflowType type;
    tp__workflow_type__init(&type);
    Tp__TaskQueue queue;
    tp__task_queue__init(&queue);
    char ns[] = "default", name[] = "hello", tq[] = "q";
    type.name = name;
    queue.name = tq;
    q.namespace_ = ns;
    AUTO_FREE char *own_id = xstrdup(id);
    AUTO_FREE char *own_request = xstrdup(request);
    q.workflow_id = own_id;
    q.request_id = own_request;
    q.workflow_type = &type;
    q.task_queue = &queue;
    ask(w, c, "StartWorkflowExecution", &q, &tp__start_workflow_execution_response__descriptor, 10);
}

static inline void poll_task(struct world *w, struct call *c)
{
    Tp__PollWorkflowTaskQueueRequest q;
    tp__poll_workflow_task_queue_request__init(&q);
    Tp__TaskQueue queue;
    tp__task_queue__init(&queue);
    char ns[] = "default", tq[] = "q", me[] = "worker";
    queue.name = tq;
    q.namespace_ = ns;
    q.task_queue = &queue;
    q.identity = me;
    ask(w, c, "PollWorkflowTaskQueue", &q, &tp__poll_workflow_task_queue_response__descriptor, 70);
}

static inline void complete(struct world *w, struct call *c, const Tp__PollWorkflowTaskQueueResponse *task)
{
    Tp__RespondWorkflowTaskCompletedRequest q;
    tp__respond_workflow_task_completed_request__init(&q);
    Tp__Command command, *commands[] = { &command };
    tp__command__init(&command);
    Tp__CompleteWorkflowExecutionCommandAttributes a;
    tp__complete_workflow_execution_command_attributes__init(&a);
    command.command_type = TP__COMMAND_TYPE__COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION;
    command.attributes_case = TP__COMMAND__ATTRIBUTES_COMPLETE_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
    command.complete_workflow_execution_command_attributes = &a;
    char ns[] = "default", me[] = "worker";
    q.namespace_ = ns;
    q.identity = me;
    q.task_token = task->task_token;
    q.n_commands = 1;
    q.commands = commands;
    ask(w, c, "RespondWorkflowTaskCompleted", &q, &tp__respond_workflow_task_completed_response__descriptor, 10);
}

static inline void closing(struct world *w, struct call *c, const char *id, const ProtobufCBinaryData *token)
{
    Tp__GetWorkflowExecutionHistoryRequest q;
    tp__get_workflow_execution_history_request__init(&q);
    Tp__WorkflowExecution x;
    tp__workflow_execution__init(&x);
    char ns[] = "default";
    AUTO_FREE char *own = xstrdup(id);
    x.workflow_id = own;
    q.namespace_ = ns;
    q.execution = &x;
    q.wait_new_event = true;
    q.history_event_filter_type = TP__HISTORY_EVENT_FILTER_TYPE__HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT;
    if (token)
        q.next_page_token = *token;
    ask(w, c, "GetWorkflowExecutionHistory", &q, &tp__get_workflow_execution_history_response__descriptor, 30);
}

static inline Tp__Payloads *payload(const char *text) { return temporal_payloads_new(str_of(text)); }

static inline Tp__Command *activity_command(const char *id, const char *input, bool eager)
{
    Tp__Command *c = proto_new(&tp__command__descriptor);
    c->command_type = TP__COMMAND_TYPE__COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK;
    c->attributes_case = TP__COMMAND__ATTRIBUTES_SCHEDULE_ACTIVITY_TASK_COMMAND_ATTRIBUTES;
    Tp__ScheduleActivityTaskCommandAttributes *a = c->schedule_activity_task_command_attributes =
        proto_new(&tp__schedule_activity_task_command_attributes__descriptor);
    proto_set_text(&a->activity_id, id);
    a->activity_type = proto_new(&tp__activity_type__descriptor);
    proto_set_text(&a->activity_type->name, "step");
    a->input = payload(input);
    a->start_to_close_timeout = temporal_duration_new(INT64_C(10000000000));
    a->request_eager_execution = eager;
    return c;
}

/* One task of a fresh workflow, answered with these commands. */
static inline const Tp__RespondWorkflowTaskCompletedResponse *answered(struct world *w, struct call *r, Tp__Command **take, size_t count)
{
    struct call s, p;
    start(w, &s, "one", "r1");
    poll_task(w, &p);
    bool fine = wait_for(w, &s) && wait_for(w, &p) && p.answer;
    Tp__RespondWorkflowTaskCompletedRequest *q = proto_new(&tp__respond_workflow_task_completed_request__descriptor);
    proto_set_text(&q->namespace_, "default");
    proto_set_text(&q->identity, "worker");
    for (size_t i = 0; i < count; i++)
        proto_push(&q->n_commands, &q->commands, take[i]);
    if (fine) {
        proto_set_bytes(&q->task_token, proto_bytes(&((const Tp__PollWorkflowTaskQueueResponse *)(const void *)p.answer)->task_token));
        ask(w, r, "RespondWorkflowTaskCompleted", q, &tp__respond_workflow_task_completed_response__descriptor, 10);
        fine = wait_for(w, r);
    }
    proto_free(q);
    call_done(&s);
    call_done(&p);
    return fine && r->answer ? (const void *)r->answer : NULL;
}
