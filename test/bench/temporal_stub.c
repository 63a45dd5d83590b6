/* temporal_stub -- the least that an SDK takes for Temporal, with nothing behind it: no disk, no checks, no timeouts. What hob costs beside
 * it is what remembering costs.
 *
 * Plays the frontend for workflows that run activities one after another and complete. It hands out tasks as hob does: the first on the
 * plain queue, those after it on the worker's sticky one with what it lacks, activities with the answer where the SDK asks for it.
 * Listens on a port of its own and says which ("port 40000"); SIGTERM ends it. Anything but one client's honest calls is not answered well. */
#include "codec/temporal.h"
#include "net/grpc_server.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SERVICE "/temporal.api.workflowservice.v1.WorkflowService/"
#define EVENT(name) TP__EVENT_TYPE__EVENT_TYPE_##name
#define ATTRIBUTES(field) TP__HISTORY_EVENT__ATTRIBUTES_##field
enum { WORKFLOWS_MAX = 100000, HELD_MAX = 1024, MEMORY_MAX = 16 << 20, RUN_BYTES = 40 };

struct workflow {
    char run[RUN_BYTES], *id, *queue, *sticky;
    Tp__WorkflowType *type;
    Tp__History history;
    size_t known;                               /* events that its worker has */
    bool task, activity, closed;                /* what waits for a poll */
    int64_t scheduled, activity_scheduled, last_started;
};

enum held_kind { HELD_WORKFLOW, HELD_ACTIVITY, HELD_CLOSE };
struct held { /* a call that waits */
    enum held_kind kind;
    struct grpc_server_call *call;
    char *queue, *identity;
    struct workflow *of;
};

static struct grpc_server *server;
static struct loop *loop;
static struct workflow *all;
static uint32_t count;
static struct held held[HELD_MAX];
static size_t held_count;

/* ---- messages ---- */

static void reply(struct grpc_server_call *c, const void *message)
{
    struct buf b;
    buf_init(&b, MEMORY_MAX);
    proto_encode(message, &b);
    grpc_server_reply(c, buf_str(&b));
    buf_done(&b);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static Tp__WorkflowExecution *execution(const struct workflow *w)
{
    Tp__WorkflowExecution *x = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&x->workflow_id, w->id);
    proto_set_text(&x->run_id, w->run);
    return x;
}

static Tp__TaskQueue *queue_new(const char *name, const char *normal)
{
    Tp__TaskQueue *q = proto_new(&tp__task_queue__descriptor);
    proto_set_text(&q->name, name);
    q->kind = normal ? TP__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY : TP__TASK_QUEUE_KIND__TASK_QUEUE_KIND_NORMAL;
    proto_set_text(&q->normal_name, normal);
    return q;
}

/* Its caller puts the attributes in. */
static Tp__HistoryEvent *event_add(struct workflow *w, Tp__EventType type, Tp__HistoryEvent__AttributesCase which)
{
    Tp__HistoryEvent *e = proto_new(&tp__history_event__descriptor);
    e->event_type = type;
    e->attributes_case = which;
    proto_push(&w->history.n_events, &w->history.events, e);
    e->event_id = (int64_t)w->history.n_events;
    e->task_id = e->event_id;
    e->event_time = temporal_time_new(now_ns());
    return e;
}

/* ---- events ---- */

static void task_schedule(struct workflow *w)
{
    Tp__HistoryEvent *e = event_add(w, EVENT(WORKFLOW_TASK_SCHEDULED), ATTRIBUTES(WORKFLOW_TASK_SCHEDULED_EVENT_ATTRIBUTES));
    Tp__WorkflowTaskScheduledEventAttributes *a = proto_new(&tp__workflow_task_scheduled_event_attributes__descriptor);
    a->task_queue = queue_new(w->sticky ? w->sticky : w->queue, w->sticky ? w->queue : NULL);
    a->start_to_close_timeout = temporal_duration_new(10000000000);
    a->attempt = 1;
    e->workflow_task_scheduled_event_attributes = a;
    w->scheduled = e->event_id;
    w->task = true;
}

static int64_t task_start(struct workflow *w, const char *identity)
{
    Tp__HistoryEvent *e = event_add(w, EVENT(WORKFLOW_TASK_STARTED), ATTRIBUTES(WORKFLOW_TASK_STARTED_EVENT_ATTRIBUTES));
    Tp__WorkflowTaskStartedEventAttributes *a = proto_new(&tp__workflow_task_started_event_attributes__descriptor);
    a->scheduled_event_id = w->scheduled;
    proto_set_text(&a->identity, identity);
    proto_set_text(&a->request_id, w->run);
    a->history_size_bytes = (int64_t)w->history.n_events * 200;
    e->workflow_task_started_event_attributes = a;
    w->task = false;
    return e->event_id;
}

static int64_t task_complete(struct workflow *w, const Tp__RespondWorkflowTaskCompletedRequest *q)
{
    Tp__HistoryEvent *e = event_add(w, EVENT(WORKFLOW_TASK_COMPLETED), ATTRIBUTES(WORKFLOW_TASK_COMPLETED_EVENT_ATTRIBUTES));
    Tp__WorkflowTaskCompletedEventAttributes *a = proto_new(&tp__workflow_task_completed_event_attributes__descriptor);
    a->scheduled_event_id = w->scheduled;
    a->started_event_id = w->last_started = e->event_id - 1;
    proto_set_text(&a->identity, q->identity);
    a->sdk_metadata = proto_dup(q->sdk_metadata);
    a->metering_metadata = proto_dup(q->metering_metadata);
    e->workflow_task_completed_event_attributes = a;
    return e->event_id;
}

static void activity_schedule(struct workflow *w, int64_t completed, const Tp__ScheduleActivityTaskCommandAttributes *c)
{
    Tp__HistoryEvent *e = event_add(w, EVENT(ACTIVITY_TASK_SCHEDULED), ATTRIBUTES(ACTIVITY_TASK_SCHEDULED_EVENT_ATTRIBUTES));
    Tp__ActivityTaskScheduledEventAttributes *a = proto_new(&tp__activity_task_scheduled_event_attributes__descriptor);
    proto_set_text(&a->activity_id, c->activity_id);
    a->activity_type = proto_dup(c->activity_type);
    a->task_queue = queue_new(c->task_queue ? c->task_queue->name : w->queue, NULL);
    a->header = proto_dup(c->header);
    a->input = proto_dup(c->input);
    a->schedule_to_close_timeout = proto_dup(c->schedule_to_close_timeout);
    a->schedule_to_start_timeout = proto_dup(c->schedule_to_start_timeout);
    a->start_to_close_timeout = proto_dup(c->start_to_close_timeout);
    a->heartbeat_timeout = proto_dup(c->heartbeat_timeout);
    a->retry_policy = proto_dup(c->retry_policy);
    a->workflow_task_completed_event_id = completed;
    e->activity_task_scheduled_event_attributes = a;
    w->activity_scheduled = e->event_id;
    w->activity = true;
}

static void activity_complete(struct workflow *w, const Tp__RespondActivityTaskCompletedRequest *q)
{
    Tp__HistoryEvent *e = event_add(w, EVENT(ACTIVITY_TASK_STARTED), ATTRIBUTES(ACTIVITY_TASK_STARTED_EVENT_ATTRIBUTES));
    Tp__ActivityTaskStartedEventAttributes *s = proto_new(&tp__activity_task_started_event_attributes__descriptor);
    s->scheduled_event_id = w->activity_scheduled;
    proto_set_text(&s->identity, q->identity);
    s->attempt = 1;
    e->activity_task_started_event_attributes = s;
    e = event_add(w, EVENT(ACTIVITY_TASK_COMPLETED), ATTRIBUTES(ACTIVITY_TASK_COMPLETED_EVENT_ATTRIBUTES));
    Tp__ActivityTaskCompletedEventAttributes *a = proto_new(&tp__activity_task_completed_event_attributes__descriptor);
    a->result = proto_dup(q->result);
    a->scheduled_event_id = w->activity_scheduled;
    a->started_event_id = e->event_id - 1;
    proto_set_text(&a->identity, q->identity);
    e->activity_task_completed_event_attributes = a;
}

static void close_with(struct workflow *w, int64_t completed, const Tp__Payloads *result)
{
    Tp__HistoryEvent *e =
        event_add(w, EVENT(WORKFLOW_EXECUTION_COMPLETED), ATTRIBUTES(WORKFLOW_EXECUTION_COMPLETED_EVENT_ATTRIBUTES));
    Tp__WorkflowExecutionCompletedEventAttributes *a = proto_new(&tp__workflow_execution_completed_event_attributes__descriptor);
    a->result = proto_dup(result);
    a->workflow_task_completed_event_id = completed;
    e->workflow_execution_completed_event_attributes = a;
    w->closed = true;
}

static void start(struct workflow *w, const Tp__StartWorkflowExecutionRequest *q)
{
    Tp__HistoryEvent *e =
        event_add(w, EVENT(WORKFLOW_EXECUTION_STARTED), ATTRIBUTES(WORKFLOW_EXECUTION_STARTED_EVENT_ATTRIBUTES));
    Tp__WorkflowExecutionStartedEventAttributes *a = proto_new(&tp__workflow_execution_started_event_attributes__descriptor);
    a->workflow_type = proto_dup(q->workflow_type);
    a->task_queue = queue_new(w->queue, NULL);
    a->input = proto_dup(q->input);
    a->header = proto_dup(q->header);
    a->workflow_task_timeout = temporal_duration_new(10000000000);
    proto_set_text(&a->original_execution_run_id, w->run);
    proto_set_text(&a->first_execution_run_id, w->run);
    proto_set_text(&a->identity, q->identity);
    proto_set_text(&a->workflow_id, w->id);
    a->attempt = 1;
    e->workflow_execution_started_event_attributes = a;
    task_schedule(w);
}

/* ---- answers ---- */

static void token_set(ProtobufCBinaryData *into, const struct workflow *w)
{
    proto_set_bytes(into, str_of(w->run));
}

static void task_answer(struct workflow *w, const struct held *h)
{
    Tp__PollWorkflowTaskQueueResponse p = TP__POLL_WORKFLOW_TASK_QUEUE_RESPONSE__INIT;
    bool sticky = w->sticky && strcmp(h->queue, w->sticky) == 0;
    int64_t started = task_start(w, h->identity);
    Tp__History news = TP__HISTORY__INIT;
    size_t from = sticky ? w->known : 0;
    news.n_events = w->history.n_events - from;
    news.events = w->history.events + from;
    w->known = w->history.n_events;
    token_set(&p.task_token, w);
    p.workflow_execution = execution(w);
    p.workflow_type = w->type;
    p.previous_started_event_id = w->last_started;
    p.started_event_id = started;
    p.attempt = 1;
    p.history = &news;
    p.workflow_execution_task_queue = queue_new(w->queue, NULL);
    p.scheduled_time = temporal_time_new(now_ns());
    p.started_time = temporal_time_new(now_ns());
    reply(h->call, &p);
    proto_free(p.workflow_execution);
    proto_free(p.workflow_execution_task_queue);
    proto_free(p.scheduled_time);
    proto_free(p.started_time);
    free(p.task_token.data);
}

static Tp__PollActivityTaskQueueResponse *activity_new(struct workflow *w)
{
    const Tp__HistoryEvent *e = w->history.events[w->activity_scheduled - 1];
    const Tp__ActivityTaskScheduledEventAttributes *a = e->activity_task_scheduled_event_attributes;
    Tp__PollActivityTaskQueueResponse *p = proto_new(&tp__poll_activity_task_queue_response__descriptor);
    w->activity = false;
    token_set(&p->task_token, w);
    proto_set_text(&p->workflow_namespace, "default");
    p->workflow_type = proto_dup(w->type);
    p->workflow_execution = execution(w);
    p->activity_type = proto_dup(a->activity_type);
    proto_set_text(&p->activity_id, a->activity_id);
    p->header = proto_dup(a->header);
    p->input = proto_dup(a->input);
    p->scheduled_time = proto_dup(e->event_time);
    p->current_attempt_scheduled_time = proto_dup(e->event_time);
    p->started_time = temporal_time_new(now_ns());
    p->attempt = 1;
    p->schedule_to_close_timeout = temporal_duration_new(temporal_duration_ns(a->schedule_to_close_timeout));
    p->start_to_close_timeout = temporal_duration_new(temporal_duration_ns(a->start_to_close_timeout));
    p->heartbeat_timeout = temporal_duration_new(temporal_duration_ns(a->heartbeat_timeout));
    return p;
}

static void close_answer(const struct workflow *w, struct grpc_server_call *c)
{
    Tp__GetWorkflowExecutionHistoryResponse r = TP__GET_WORKFLOW_EXECUTION_HISTORY_RESPONSE__INIT;
    Tp__History last = TP__HISTORY__INIT;
    last.n_events = 1;
    last.events = w->history.events + w->history.n_events - 1;
    r.history = &last;
    reply(c, &r);
}

/* ---- calls that wait ---- */

static void held_remove(size_t i)
{
    free(held[i].queue);
    free(held[i].identity);
    held[i] = held[--held_count];
    if (i < held_count)
        grpc_server_call_own(held[i].call, &held[i]);
}

static void hold(struct grpc_server_call *c, enum held_kind kind, const char *queue, const char *identity, struct workflow *of)
{
    ASSERT(held_count < HELD_MAX);
    held[held_count] = (struct held){ kind, c, xstrdup(queue), xstrdup(identity), of };
    grpc_server_call_own(c, &held[held_count++]);
}

static bool held_serve(const struct held *h, struct workflow *w)
{
    const char *queue = w->sticky ? w->sticky : w->queue;
    if (h->kind == HELD_CLOSE && h->of == w && w->closed)
        close_answer(w, h->call);
    else if (h->kind == HELD_WORKFLOW && w->task && strcmp(h->queue, queue) == 0)
        task_answer(w, h);
    else if (h->kind == HELD_ACTIVITY && w->activity && strcmp(h->queue, w->queue) == 0) {
        Tp__PollActivityTaskQueueResponse *p = activity_new(w);
        reply(h->call, p);
        proto_free(p);
    } else
        return false;
    return true;
}

/* What may be given to whom now. A workflow is looked at when it changed; calls that come, with all that are open. */
static void match(struct workflow *w)
{
    for (size_t i = 0; i < held_count;)
        if (held_serve(&held[i], w))
            held_remove(i);
        else
            i++;
}

static uint32_t first_open;
static void match_all(void)
{
    while (first_open < count && all[first_open].closed)
        first_open++;
    for (uint32_t i = first_open; i < count; i++)
        if (all[i].task || all[i].activity)
            match(&all[i]);
}

static void on_cancel(void *ctx, struct grpc_server_call *c)
{
    (void)ctx;
    struct held *h = grpc_server_call_owner(c);
    if (h)
        held_remove((size_t)(h - held));
}

/* ---- methods ---- */

static struct workflow *workflow_of(struct str run)
{
    uint64_t n;
    return run.size == 36 && str_u64(str_from(run, 24), &n) && n < count ? &all[n] : NULL;
}

static void do_start(struct grpc_server_call *c, const void *m)
{
    const Tp__StartWorkflowExecutionRequest *q = m;
    Tp__StartWorkflowExecutionResponse r = TP__START_WORKFLOW_EXECUTION_RESPONSE__INIT;
    if (count == WORKFLOWS_MAX) {
        grpc_server_refuse(c, CODE_EXHAUSTED, "the stub has had enough", STR(""));
        return;
    }
    struct workflow *w = &all[count];
    snprintf(w->run, sizeof w->run, "00000000-0000-4000-8000-%012u", count);
    count++;
    w->id = xstrdup(q->workflow_id);
    w->queue = xstrdup(q->task_queue->name);
    w->type = proto_dup(q->workflow_type);
    tp__history__init(&w->history);
    start(w, q);
    r.run_id = w->run;
    r.first_execution_run_id = w->run;
    r.started = true;
    r.status = TP__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_RUNNING;
    reply(c, &r);
    match(w);
}

static void do_poll_workflow(struct grpc_server_call *c, const void *m)
{
    const Tp__PollWorkflowTaskQueueRequest *q = m;
    hold(c, HELD_WORKFLOW, q->task_queue->name, q->identity, NULL);
    match_all();
}

static void do_poll_activity(struct grpc_server_call *c, const void *m)
{
    const Tp__PollActivityTaskQueueRequest *q = m;
    hold(c, HELD_ACTIVITY, q->task_queue->name, q->identity, NULL);
    match_all();
}

static void do_task_completed(struct grpc_server_call *c, const void *m)
{
    const Tp__RespondWorkflowTaskCompletedRequest *q = m;
    Tp__RespondWorkflowTaskCompletedResponse *r = proto_new(&tp__respond_workflow_task_completed_response__descriptor);
    struct workflow *w = workflow_of(proto_bytes(&q->task_token));
    int64_t completed = w ? task_complete(w, q) : 0;
    if (w && q->sticky_attributes && q->sticky_attributes->worker_task_queue && !w->sticky)
        w->sticky = xstrdup(q->sticky_attributes->worker_task_queue->name);
    for (size_t i = 0; w && i < q->n_commands; i++) {
        const Tp__Command *command = q->commands[i];
        if (command->attributes_case == TP__COMMAND__ATTRIBUTES_SCHEDULE_ACTIVITY_TASK_COMMAND_ATTRIBUTES) {
            const Tp__ScheduleActivityTaskCommandAttributes *a = command->schedule_activity_task_command_attributes;
            activity_schedule(w, completed, a);
            if (a->request_eager_execution)
                proto_push(&r->n_activity_tasks, &r->activity_tasks, activity_new(w));
        } else if (command->attributes_case == TP__COMMAND__ATTRIBUTES_COMPLETE_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES) {
            close_with(w, completed, command->complete_workflow_execution_command_attributes->result);
        }
    }
    reply(c, r);
    proto_free(r);
    if (w)
        match(w);
}

static void do_activity_completed(struct grpc_server_call *c, const void *m)
{
    const Tp__RespondActivityTaskCompletedRequest *q = m;
    Tp__RespondActivityTaskCompletedResponse r = TP__RESPOND_ACTIVITY_TASK_COMPLETED_RESPONSE__INIT;
    struct workflow *w = workflow_of(proto_bytes(&q->task_token));
    if (w) {
        activity_complete(w, q);
        task_schedule(w);
    }
    reply(c, &r);
    if (w)
        match(w);
}

static void do_history(struct grpc_server_call *c, const void *m)
{
    const Tp__GetWorkflowExecutionHistoryRequest *q = m;
    struct workflow *w = workflow_of(str_of(q->execution->run_id));
    for (uint32_t i = count; !w && i > 0; i--) /* of an id: the last */
        if (strcmp(all[i - 1].id, q->execution->workflow_id) == 0)
            w = &all[i - 1];
    if (!w)
        grpc_server_refuse(c, CODE_NOT_FOUND, "no such run", STR(""));
    else if (w->closed)
        close_answer(w, c);
    else
        hold(c, HELD_CLOSE, "", "", w);
}

static void do_system_info(struct grpc_server_call *c, const void *m)
{
    (void)m;
    Tp__GetSystemInfoResponse w = TP__GET_SYSTEM_INFO_RESPONSE__INIT;
    Tp__GetSystemInfoResponse__Capabilities can = TP__GET_SYSTEM_INFO_RESPONSE__CAPABILITIES__INIT;
    char version[] = "1.29.0";
    can.signal_and_query_header = can.internal_error_differentiation = can.activity_failure_include_heartbeat = true;
    can.encoded_failure_attributes = can.upsert_memo = can.eager_workflow_start = can.sdk_metadata = true;
    can.count_group_by_execution_status = can.build_id_based_versioning = true;
    w.server_version = version;
    w.capabilities = &can;
    reply(c, &w);
}

static void do_namespace(struct grpc_server_call *c, const void *m)
{
    (void)m;
    Tp__DescribeNamespaceResponse w = TP__DESCRIBE_NAMESPACE_RESPONSE__INIT;
    Tp__NamespaceInfo info = TP__NAMESPACE_INFO__INIT;
    Tp__NamespaceInfo__Capabilities can = TP__NAMESPACE_INFO__CAPABILITIES__INIT;
    char name[] = "default";
    can.eager_workflow_start = can.sync_update = can.async_update = true;
    can.worker_poll_complete_on_shutdown = can.poller_autoscaling = true;
    info.name = name;
    info.state = TP__NAMESPACE_STATE__NAMESPACE_STATE_REGISTERED;
    info.capabilities = &can;
    w.namespace_info = &info;
    reply(c, &w);
}

/* Its polls end, as it was told that they would. */
static void do_shutdown(struct grpc_server_call *c, const void *m)
{
    (void)m;
    Tp__ShutdownWorkerResponse r = TP__SHUTDOWN_WORKER_RESPONSE__INIT;
    for (size_t i = 0; i < held_count;) {
        if (held[i].kind == HELD_CLOSE) {
            i++;
            continue;
        }
        grpc_server_reply(held[i].call, STR(""));
        held_remove(i);
    }
    reply(c, &r);
}

static const struct {
    const char *name;
    void (*run)(struct grpc_server_call *c, const void *m);
} methods[] = {
    { "DescribeNamespace", do_namespace },
    { "GetSystemInfo", do_system_info },
    { "GetWorkflowExecutionHistory", do_history },
    { "PollActivityTaskQueue", do_poll_activity },
    { "PollWorkflowTaskQueue", do_poll_workflow },
    { "RespondActivityTaskCompleted", do_activity_completed },
    { "RespondWorkflowTaskCompleted", do_task_completed },
    { "ShutdownWorker", do_shutdown },
    { "StartWorkflowExecution", do_start },
};

static void on_call(void *ctx, struct grpc_server_call *c)
{
    struct str path = grpc_server_call_path(c), prefix = STR(SERVICE);
    struct temporal_method method;
    ProtobufCMessage *m;
    struct err e;
    (void)ctx;
    if (!temporal_method_find(path, &method)) {
        grpc_server_refuse(c, CODE_UNIMPLEMENTED, "the stub does not do that", STR(""));
        return;
    }
    AUTO(proto_arena) struct proto_arena a = { 0 };
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        if (!str_is(str_from(path, prefix.size), methods[i].name))
            continue;
        if (proto_decode(method.input, grpc_server_call_message(c), MEMORY_MAX, &a, &m, &e) < 0)
            grpc_server_refuse(c, CODE_INVALID, e.text, STR(""));
        else
            methods[i].run(c, m);
        return;
    }
    grpc_server_refuse(c, CODE_UNIMPLEMENTED, "the stub does not do that", STR(""));
}

/* ---- the rest ---- */

static void on_signal(struct loop_io *io, uint32_t events)
{
    (void)io, (void)events;
    loop_stop(loop);
}

static void workflows_free(void)
{
    for (uint32_t i = 0; i < count; i++) {
        struct workflow *w = &all[i];
        for (size_t k = 0; k < w->history.n_events; k++)
            proto_free(w->history.events[k]);
        free(w->history.events);
        proto_free(w->type);
        free(w->id);
        free(w->queue);
        free(w->sticky);
    }
    free(all);
}

static int listen_local(uint16_t *ret_port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr *at = (struct sockaddr *)(void *)&a;
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, at, size) < 0 || listen(fd, 128) < 0 || getsockname(fd, at, &size) < 0)
        return -1;
    *ret_port = ntohs(a.sin_port);
    return fd;
}

int main(void)
{
    static const struct grpc_server_ops ops = { on_call, on_cancel, NULL, NULL };
    struct grpc_listener *l;
    struct limits limits;
    struct err e;
    uint16_t port = 0;
    sigset_t mask;
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    limits_default(&limits);
    int fd = listen_local(&port), signals = -1;
    if (sigprocmask(SIG_BLOCK, &mask, NULL) == 0)
        signals = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    struct loop_io io = { .on_ready = on_signal };
    if (fd < 0 || signals < 0 || loop_open(&loop, &e) < 0)
        return 1;
    all = xcalloc(WORKFLOWS_MAX, sizeof *all);
    server = grpc_server_new(loop, &limits, &ops, NULL);
    if (grpc_server_listen(server, fd, NULL, &l, &e) < 0 || loop_watch(loop, &io, signals, EPOLLIN, &e) < 0)
        return 1;
    printf("port %u\n", port);
    int r = loop_run(loop, &e);
    loop_unwatch(loop, &io);
    grpc_server_free(server);
    loop_free(loop);
    workflows_free();
    close(fd);
    close(signals);
    return r < 0;
}
