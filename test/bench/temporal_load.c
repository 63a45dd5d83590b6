/* temporal_load MODE [NAME=VALUE]… -- client and worker of Temporal's protocol in one process, on 127.0.0.1.
 *
 * run  port= count= flight=       workflows of one activity each, so many in flight: a client starts one and waits for its
 *                                 result by a long poll; workers poll a sticky and a plain queue, as the SDKs do
 * rate port= per_s= seconds=      the same, started on a schedule: latency counts from when a start was due
 * open port= count= flight=       started, and their first task answered with a timer of an hour
 * probe port= id=                 asks for workflow `id` until there is an answer: how long that took
 *
 * More: polls= (of each kind) connections= max_s= eager=1 (activities come with the answer) id= (how ids begin)
 * wait_s= (for a port that does not listen yet).
 * One JSON object on standard output. Exit 1: not all of it was done in max_s, or a call failed. */
#include "codec/temporal.h"
#include "load_grpc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERVICE "/temporal.api.workflowservice.v1.WorkflowService/"
enum { COUNT_MAX = 2000000, FLIGHT_MAX = 4096, POLLS_MAX = 2000, CONNECTIONS_MAX = 128, ID_BYTES = 64, FAILS_MAX = 100 };
enum { CALL_S = 60, POLL_S = 70, TIMER_S = 3600, RETRY_US = 20000, MEMORY_MAX = 64 << 20 };

enum mode { MODE_RUN, MODE_RATE, MODE_OPEN, MODE_PROBE };
static const char *const modes[] = { "run", "rate", "open", "probe" };

static struct {
    uint32_t port, count, flight, per_s, seconds, polls, connections, max_s, wait_s, eager;
    char id[ID_BYTES / 2];
} opt = { .count = 1000, .flight = 100, .per_s = 300, .seconds = 10, .polls = 50, .max_s = 600 };

static enum mode mode;
static struct loop *loop;
static struct load_grpc *grpc;
static struct limits limits;
static char ns[] = "default", queue[ID_BYTES], sticky[ID_BYTES], identity[] = "temporal_load", type_name[] = "step";

struct workflow {
    uint64_t due_us;
    uint32_t start_us, whole_us; /* since it was due; 0: not yet */
    char *run;
};
static struct workflow *all;
static uint32_t started, answered, finished, failed, tasks, timers;
static uint64_t begin_us, end_us;
static bool stopping;

static void die(const char *what, struct str why)
{
    fprintf(stderr, "temporal_load: %s: %.*s\n", what, (int)why.size, why.at ? why.at : "");
    exit(1);
}

static void call(const char *method, unsigned timeout_s, const void *message, load_grpc_done *on_done, void *ctx)
{
    char path[128];
    snprintf(path, sizeof path, SERVICE "%s", method);
    load_grpc_call(grpc, path, timeout_s, message, on_done, ctx);
}

static void failure(const char *what, int status, struct str why)
{
    if (stopping)
        return;
    if (failed++ < 5)
        fprintf(stderr, "temporal_load: %s: status %d %.*s\n", what, status, (int)why.size, why.at);
    if (failed > FAILS_MAX)
        die(what, STR("too many calls failed"));
}

/* NULL: it is none, and was counted. Free with proto_arena_done(). */
static const void *decoded(const ProtobufCMessageDescriptor *d, struct str bytes, struct proto_arena *a)
{
    ProtobufCMessage *m = NULL;
    struct err e;
    if (proto_decode(d, bytes, MEMORY_MAX, a, &m, &e) < 0) {
        failure("decode", -1, str_of(e.text));
        return NULL;
    }
    return m;
}

static uint32_t since(uint64_t us)
{
    uint64_t now = loop_clock_us(loop);
    return now > us ? (uint32_t)MAX(MIN(now - us, UINT32_MAX), 1) : 1;
}

/* ---- the client ---- */

static void next_start(void);

static void workflow_end(struct workflow *w)
{
    w->whole_us = since(w->due_us);
    free(w->run);
    w->run = NULL;
    finished++;
    end_us = loop_clock_us(loop);
    if (mode == MODE_RUN || mode == MODE_OPEN) /* the latter ends here only if it was refused */
        next_start();
}

static void wait_close(struct workflow *w, struct str token);

static void on_history(void *ctx, int status, struct str answer, struct str why)
{
    struct workflow *w = ctx;
    AUTO(proto_arena) struct proto_arena a = { 0 };
    const Tp__GetWorkflowExecutionHistoryResponse *r = NULL;
    if (status == 0)
        r = decoded(&tp__get_workflow_execution_history_response__descriptor, answer, &a);
    else
        failure("GetWorkflowExecutionHistory", status, why);
    if (!r && !stopping)
        workflow_end(w);
    else if (r && r->history && r->history->n_events > 0) {
        Tp__EventType got = r->history->events[r->history->n_events - 1]->event_type;
        if (got != TP__EVENT_TYPE__EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)
            failure("a workflow ended otherwise than completed; event type", (int)got, STR(""));
        workflow_end(w);
    } else if (r && !stopping)
        wait_close(w, proto_bytes(&r->next_page_token));
}

static void id_of(const struct workflow *w, char into[ID_BYTES])
{
    snprintf(into, ID_BYTES, "%s-%u", opt.id, (unsigned)(w - all));
}

static void wait_close(struct workflow *w, struct str token)
{
    char id[ID_BYTES];
    Tp__WorkflowExecution x = TP__WORKFLOW_EXECUTION__INIT;
    Tp__GetWorkflowExecutionHistoryRequest q = TP__GET_WORKFLOW_EXECUTION_HISTORY_REQUEST__INIT;
    id_of(w, id);
    x.workflow_id = id;
    x.run_id = w->run;
    q.namespace_ = ns;
    q.execution = &x;
    q.wait_new_event = true;
    q.history_event_filter_type = TP__HISTORY_EVENT_FILTER_TYPE__HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT;
    struct buf copy;
    buf_init(&copy, 65536);
    buf_str_append(&copy, token);
    q.next_page_token = (ProtobufCBinaryData){ copy.size, (uint8_t *)buf_at(&copy) };
    call("GetWorkflowExecutionHistory", POLL_S, &q, on_history, w);
    buf_done(&copy);
}

static void on_started(void *ctx, int status, struct str answer, struct str why)
{
    struct workflow *w = ctx;
    AUTO(proto_arena) struct proto_arena a = { 0 };
    const Tp__StartWorkflowExecutionResponse *r = NULL;
    if (status == 0)
        r = decoded(&tp__start_workflow_execution_response__descriptor, answer, &a);
    else
        failure("StartWorkflowExecution", status, why);
    w->start_us = since(w->due_us);
    answered++;
    if (!r || stopping) {
        workflow_end(w);
        return;
    }
    if (mode == MODE_OPEN) {
        next_start();
        return;
    }
    w->run = xcalloc(1, strlen(r->run_id) + 1);
    memcpy(w->run, r->run_id, strlen(r->run_id));
    wait_close(w, STR(""));
}

static void start(uint64_t due_us)
{
    struct workflow *w = &all[started++];
    char id[ID_BYTES], request[ID_BYTES + 4];
    Tp__WorkflowType type = TP__WORKFLOW_TYPE__INIT;
    Tp__TaskQueue on = TP__TASK_QUEUE__INIT;
    Tp__StartWorkflowExecutionRequest q = TP__START_WORKFLOW_EXECUTION_REQUEST__INIT;
    w->due_us = due_us;
    id_of(w, id);
    snprintf(request, sizeof request, "%s-r", id);
    type.name = type_name;
    on.name = queue;
    q.namespace_ = ns;
    q.workflow_id = id;
    q.workflow_type = &type;
    q.task_queue = &on;
    q.identity = identity;
    q.request_id = request;
    q.input = temporal_payloads_new(STR("{\"name\":\"hob\"}"));
    call("StartWorkflowExecution", CALL_S, &q, on_started, w);
    proto_free(q.input);
}

static void next_start(void)
{
    if (started < opt.count && !stopping)
        start(loop_clock_us(loop));
}

static void on_tick(struct loop_timer *t)
{
    uint64_t now = loop_clock_us(loop);
    while (started < opt.count && begin_us + (uint64_t)started * 1000000 / opt.per_s <= now)
        start(begin_us + (uint64_t)started * 1000000 / opt.per_s);
    if (started < opt.count)
        loop_at(loop, t, begin_us + (uint64_t)started * 1000000 / opt.per_s);
}

/* ---- the worker ---- */

enum poll_kind { POLL_PLAIN, POLL_STICKY, POLL_ACTIVITY, POLL_KINDS };
struct poll {
    enum poll_kind kind;
    struct loop_timer retry;
};
static struct poll polls[POLL_KINDS][POLLS_MAX];

static void poll_again(struct poll *p);
static void activity_do(const Tp__PollActivityTaskQueueResponse *t);

static void on_responded(void *ctx, int status, struct str answer, struct str why)
{
    (void)ctx, (void)answer;
    if (status != 0)
        failure("RespondActivityTaskCompleted", status, why);
}

static void task_do(const Tp__PollWorkflowTaskQueueResponse *t);

static void on_task_responded(void *ctx, int status, struct str answer, struct str why)
{
    (void)ctx;
    AUTO(proto_arena) struct proto_arena a = { 0 };
    const Tp__RespondWorkflowTaskCompletedResponse *r = NULL;
    if (status != 0) {
        failure("RespondWorkflowTaskCompleted", status, why);
        return;
    }
    tasks++;
    if (mode == MODE_OPEN) {
        timers++;
        end_us = loop_clock_us(loop);
    }
    r = decoded(&tp__respond_workflow_task_completed_response__descriptor, answer, &a);
    if (r && r->workflow_task && r->workflow_task->task_token.len > 0)
        task_do(r->workflow_task);
    for (size_t i = 0; r && i < r->n_activity_tasks; i++)
        activity_do(r->activity_tasks[i]);
}

static bool has_event(const Tp__PollWorkflowTaskQueueResponse *t, Tp__EventType type)
{
    for (size_t i = 0; t->history && i < t->history->n_events; i++)
        if (t->history->events[i]->event_type == type)
            return true;
    return false;
}

static void respond(const Tp__PollWorkflowTaskQueueResponse *t, Tp__Command *command)
{
    Tp__RespondWorkflowTaskCompletedRequest q = TP__RESPOND_WORKFLOW_TASK_COMPLETED_REQUEST__INIT;
    Tp__StickyExecutionAttributes stays = TP__STICKY_EXECUTION_ATTRIBUTES__INIT;
    Tp__TaskQueue mine = TP__TASK_QUEUE__INIT;
    Tp__Duration wait = TP__DURATION__INIT;
    mine.name = sticky;
    mine.kind = TP__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY;
    mine.normal_name = queue;
    wait.seconds = 10;
    stays.worker_task_queue = &mine;
    stays.schedule_to_start_timeout = &wait;
    q.task_token = t->task_token;
    q.n_commands = 1;
    q.commands = &command;
    q.identity = identity;
    q.namespace_ = ns;
    q.sticky_attributes = &stays;
    q.return_new_workflow_task = true;
    call("RespondWorkflowTaskCompleted", CALL_S, &q, on_task_responded, NULL);
}

/* What the workflow's code would say: schedules a step at first, completes when it has come back. */
static void task_do(const Tp__PollWorkflowTaskQueueResponse *t)
{
    Tp__Command c = TP__COMMAND__INIT;
    Tp__Duration d = TP__DURATION__INIT;
    Tp__ScheduleActivityTaskCommandAttributes schedule = TP__SCHEDULE_ACTIVITY_TASK_COMMAND_ATTRIBUTES__INIT;
    Tp__StartTimerCommandAttributes timer = TP__START_TIMER_COMMAND_ATTRIBUTES__INIT;
    Tp__CompleteWorkflowExecutionCommandAttributes complete = TP__COMPLETE_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES__INIT;
    Tp__ActivityType type = TP__ACTIVITY_TYPE__INIT;
    Tp__TaskQueue on = TP__TASK_QUEUE__INIT;
    char first[] = "1";
    Tp__Payloads *data = temporal_payloads_new(STR("\"hello, hob\""));
    if (mode == MODE_OPEN) {
        d.seconds = TIMER_S;
        timer.timer_id = first;
        timer.start_to_fire_timeout = &d;
        c.command_type = TP__COMMAND_TYPE__COMMAND_TYPE_START_TIMER;
        c.attributes_case = TP__COMMAND__ATTRIBUTES_START_TIMER_COMMAND_ATTRIBUTES;
        c.start_timer_command_attributes = &timer;
    } else if (has_event(t, TP__EVENT_TYPE__EVENT_TYPE_ACTIVITY_TASK_COMPLETED)) {
        complete.result = data;
        c.command_type = TP__COMMAND_TYPE__COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION;
        c.attributes_case = TP__COMMAND__ATTRIBUTES_COMPLETE_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
        c.complete_workflow_execution_command_attributes = &complete;
    } else {
        d.seconds = 60;
        type.name = type_name;
        on.name = queue;
        schedule.activity_id = first;
        schedule.activity_type = &type;
        schedule.task_queue = &on;
        schedule.input = data;
        schedule.start_to_close_timeout = &d;
        schedule.request_eager_execution = opt.eager != 0;
        c.command_type = TP__COMMAND_TYPE__COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK;
        c.attributes_case = TP__COMMAND__ATTRIBUTES_SCHEDULE_ACTIVITY_TASK_COMMAND_ATTRIBUTES;
        c.schedule_activity_task_command_attributes = &schedule;
    }
    respond(t, &c);
    proto_free(data);
}

static void activity_do(const Tp__PollActivityTaskQueueResponse *t)
{
    Tp__RespondActivityTaskCompletedRequest q = TP__RESPOND_ACTIVITY_TASK_COMPLETED_REQUEST__INIT;
    q.task_token = t->task_token;
    q.result = temporal_payloads_new(STR("\"hello, hob\""));
    q.identity = identity;
    q.namespace_ = ns;
    call("RespondActivityTaskCompleted", CALL_S, &q, on_responded, NULL);
    proto_free(q.result);
}

static void on_poll(void *ctx, int status, struct str answer, struct str why)
{
    struct poll *p = ctx;
    AUTO(proto_arena) struct proto_arena a = { 0 };
    if (stopping)
        return;
    if (status != 0) { /* 4: the deadline, and nothing came */
        if (status != 4)
            failure(p->kind == POLL_ACTIVITY ? "PollActivityTaskQueue" : "PollWorkflowTaskQueue", status, why);
        loop_after(loop, &p->retry, RETRY_US);
        return;
    }
    if (p->kind == POLL_ACTIVITY) {
        const Tp__PollActivityTaskQueueResponse *t = decoded(&tp__poll_activity_task_queue_response__descriptor, answer, &a);
        if (t && t->task_token.len > 0)
            activity_do(t);
    } else {
        const Tp__PollWorkflowTaskQueueResponse *t = decoded(&tp__poll_workflow_task_queue_response__descriptor, answer, &a);
        if (t && t->task_token.len > 0)
            task_do(t);
    }
    poll_again(p);
}

static void poll_again(struct poll *p)
{
    Tp__TaskQueue on = TP__TASK_QUEUE__INIT;
    on.name = p->kind == POLL_STICKY ? sticky : queue;
    on.kind = p->kind == POLL_STICKY ? TP__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY
                                     : TP__TASK_QUEUE_KIND__TASK_QUEUE_KIND_NORMAL;
    if (p->kind == POLL_STICKY)
        on.normal_name = queue;
    if (p->kind == POLL_ACTIVITY) {
        Tp__PollActivityTaskQueueRequest q = TP__POLL_ACTIVITY_TASK_QUEUE_REQUEST__INIT;
        q.namespace_ = ns;
        q.task_queue = &on;
        q.identity = identity;
        call("PollActivityTaskQueue", POLL_S, &q, on_poll, p);
    } else {
        Tp__PollWorkflowTaskQueueRequest q = TP__POLL_WORKFLOW_TASK_QUEUE_REQUEST__INIT;
        q.namespace_ = ns;
        q.task_queue = &on;
        q.identity = identity;
        call("PollWorkflowTaskQueue", POLL_S, &q, on_poll, p);
    }
}

static void on_retry(struct loop_timer *t) { poll_again(CONTAINER_OF(t, struct poll, retry)); }

static void polls_open(void)
{
    for (unsigned k = 0; k < POLL_KINDS; k++) {
        if (mode == MODE_OPEN && k != POLL_PLAIN)
            continue;
        for (unsigned i = 0; i < opt.polls; i++) {
            polls[k][i] = (struct poll){ .kind = (enum poll_kind)k, .retry = { .on_due = on_retry } };
            poll_again(&polls[k][i]);
        }
    }
}

/* ---- the report ---- */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void report_times(const char *name, const uint32_t *from)
{
    uint32_t *v = xcalloc(started ? started : 1, sizeof *v), n = 0;
    for (uint32_t i = 0; i < started; i++) {
        uint32_t us = from[(size_t)i * (sizeof *all / sizeof *from)];
        if (us > 0)
            v[n++] = us;
    }
    qsort(v, n, sizeof *v, by_value);
    if (n > 0)
        printf(",\"%s\":{\"count\":%u,\"p50\":%u,\"p99\":%u,\"max\":%u}", name, n, v[n / 2], v[MIN(n - 1, n * 99ULL / 100)],
               v[n - 1]);
    free(v);
}

static bool over(void)
{
    if (mode == MODE_OPEN)
        return answered >= opt.count && timers + failed >= opt.count;
    return finished >= opt.count;
}

static bool report(void)
{
    struct load_grpc_stats s = load_grpc_stats(grpc);
    double took = end_us > begin_us ? (double)(end_us - begin_us) / 1e6 : 0;
    uint32_t did = mode == MODE_OPEN ? timers : finished;
    printf("{\"mode\":\"%s\",\"count\":%u,\"done\":%u,\"failed\":%u,\"seconds\":%.3f,\"per_s\":%.1f", modes[mode], opt.count, did,
           failed, took, took > 0 ? did / took : 0.0);
    report_times("start_us", &all->start_us);
    report_times("whole_us", &all->whole_us);
    printf(",\"calls\":%llu,\"tasks\":%u,\"sends\":%llu,\"reads\":%llu,\"bytes_out\":%llu,\"bytes_in\":%llu}\n",
           (unsigned long long)s.calls, tasks, (unsigned long long)s.sends, (unsigned long long)s.reads,
           (unsigned long long)s.bytes_out, (unsigned long long)s.bytes_in);
    return over() && failed == 0;
}

/* ---- how long until it answers ---- */

static bool probe_answered, probe_waits;
static void on_described(void *ctx, int status, struct str answer, struct str why)
{
    (void)ctx, (void)answer;
    probe_waits = false;
    probe_answered = status == 0;
    if (status > 0 && status != 14) /* unavailable: it is not ready yet */
        die("DescribeWorkflowExecution", why);
}

static void probe_once(uint64_t end)
{
    struct err e;
    Tp__WorkflowExecution x = TP__WORKFLOW_EXECUTION__INIT;
    Tp__DescribeWorkflowExecutionRequest q = TP__DESCRIBE_WORKFLOW_EXECUTION_REQUEST__INIT;
    x.workflow_id = opt.id;
    q.namespace_ = ns;
    q.execution = &x;
    if (load_grpc_open(loop, &limits, (uint16_t)opt.port, 1, &grpc, &e) == 0) {
        probe_waits = true;
        call("DescribeWorkflowExecution", CALL_S, &q, on_described, NULL);
        while (probe_waits && loop_clock_us(loop) < end)
            if (loop_turn(loop, true, &e) < 0)
                die("loop", str_of(e.text));
    }
    load_grpc_free(grpc);
    grpc = NULL;
}

static int probe(void)
{
    uint64_t end = begin_us + opt.max_s * 1000000ULL;
    while (!probe_answered && loop_clock_us(loop) < end) {
        probe_once(end);
        if (!probe_answered)
            (void)usleep(2000); /* between two attempts; nothing tells when a port begins to listen */
    }
    printf("{\"mode\":\"probe\",\"answered\":%s,\"ms\":%.1f}\n", probe_answered ? "true" : "false",
           (double)(loop_clock_us(loop) - begin_us) / 1e3);
    return probe_answered ? 0 : 1;
}

/* ---- the rest ---- */

static void option(const char *text)
{
    const struct {
        const char *name;
        uint32_t *at, max;
    } known[] = { { "port", &opt.port, 65535 }, { "count", &opt.count, COUNT_MAX }, { "flight", &opt.flight, FLIGHT_MAX },
                  { "per_s", &opt.per_s, 100000 }, { "seconds", &opt.seconds, 3600 }, { "polls", &opt.polls, POLLS_MAX },
                  { "connections", &opt.connections, CONNECTIONS_MAX }, { "max_s", &opt.max_s, 36000 }, { "wait_s", &opt.wait_s, 600 },
                  { "eager", &opt.eager, 1 } };
    struct str value = str_of(text), name = str_cut(&value, '=');
    uint64_t n;
    if (str_is(name, "id") && value.size > 0 && value.size < sizeof opt.id) {
        snprintf(opt.id, sizeof opt.id, "%.*s", (int)value.size, value.at);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (str_is(name, known[i].name) && str_u64(value, &n) && n <= known[i].max) {
            *known[i].at = (uint32_t)n;
            return;
        }
    die("no such option, or too much of it", str_of(text));
}

static void on_max(struct loop_timer *t)
{
    (void)t;
    stopping = true;
}

static void drive(void)
{
    struct err e;
    struct loop_timer tick = { .on_due = on_tick }, max = { .on_due = on_max };
    loop_after(loop, &max, opt.max_s * 1000000ULL);
    polls_open();
    if (mode == MODE_RATE)
        loop_at(loop, &tick, begin_us);
    for (uint32_t i = 0; mode != MODE_RATE && i < opt.flight; i++)
        next_start();
    while (!over() && !stopping && load_grpc_living(grpc) > 0)
        if (loop_turn(loop, true, &e) < 0)
            die("loop", str_of(e.text));
    stopping = true;
    loop_cancel(loop, &tick);
    loop_cancel(loop, &max);
}

int main(int argc, char **argv)
{
    struct err e;
    if (argc < 2)
        die("usage", STR("temporal_load run|rate|open|probe port=N …"));
    for (mode = MODE_RUN; (size_t)mode < COUNT_OF(modes) && strcmp(modes[mode], argv[1]) != 0;)
        mode = (enum mode)(mode + 1);
    if ((size_t)mode >= COUNT_OF(modes))
        die("no such mode", str_of(argv[1]));
    snprintf(opt.id, sizeof opt.id, "load-%d", (int)getpid());
    for (int i = 2; i < argc; i++)
        option(argv[i]);
    if (mode == MODE_RATE)
        opt.count = opt.per_s * opt.seconds;
    if (opt.port == 0 || opt.count == 0 || opt.count > COUNT_MAX || opt.per_s == 0)
        die("usage", STR("port=, count= and per_s= are more than 0"));
    if (opt.connections == 0) /* 100 calls on each at most, and room for what is not polls */
        opt.connections = 2 + (POLL_KINDS * opt.polls + 2 * opt.flight) / 80;
    snprintf(queue, sizeof queue, "%s-queue", opt.id);
    snprintf(sticky, sizeof sticky, "%s-sticky", opt.id);
    limits_default(&limits);
    if (loop_open(&loop, &e) < 0)
        die("loop", str_of(e.text));
    begin_us = loop_clock_us(loop);
    if (mode == MODE_PROBE) {
        int r = probe();
        loop_free(loop);
        return r;
    }
    all = xcalloc(opt.count, sizeof *all);
    while (load_grpc_open(loop, &limits, (uint16_t)opt.port, opt.connections, &grpc, &e) < 0) {
        if (loop_clock_us(loop) - begin_us >= opt.wait_s * 1000000ULL)
            die("connect", str_of(e.text));
        (void)usleep(10000); /* nothing tells when a port begins to listen */
    }
    begin_us = end_us = loop_clock_us(loop);
    drive();
    bool fine = report();
    load_grpc_free(grpc);
    for (uint32_t i = 0; i < started; i++)
        free(all[i].run);
    free(all);
    loop_free(loop);
    return fine ? 0 : 1;
}
