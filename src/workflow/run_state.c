#include "workflow/run_impl.h"

#include <stdlib.h>
#include <string.h>

void run_free(struct run *r)
{
    if (!r)
        return;
    run_batch_drop(r);
    free(r->batch);
    buf_done(&r->index_text);
    buf_done(&r->index_extra);
    free(r->index_attributes);
    proto_free(r->s);
    free(r);
}

int run_unpack(struct str state, struct run **ret, struct err *e)
{
    ProtobufCMessage *m;
    int k = proto_decode_new(&ws__run__descriptor, state, 8 * RUN_STATE_BYTES_MAX, &m, e);
    if (k < 0) {
        (void)err_wrap(e, "the state of a workflow run");
        e->code = CODE_DATA_LOSS;
        return -CODE_DATA_LOSS;
    }
    struct run *r = run_alloc();
    proto_free(r->s);
    r->s = (Ws__Run *)m;
    if (r->s->next_event_id < 2 || !r->s->started || !r->s->started->task_queue || !r->s->started->workflow_type) {
        run_free(r);
        return err_set(e, CODE_DATA_LOSS, "the state of a workflow run says nothing");
    }
    *ret = r;
    return 0;
}

void run_pack(const struct run *r, struct buf *into)
{
    ASSERT(!r->batch_count);
    proto_encode(r->s, into);
}

size_t run_bytes(const struct run *r)
{
    /* A decoded message takes about thrice its bytes. */
    return sizeof *r + sizeof *r->s + 3 * proto_size(r->s);
}

/* ---- when and whether there is something to do ---- */

static int64_t due_ns(const struct run *r)
{
    int64_t ns = run_close_due(r);
    if (!run_open(r))
        return ns;
    ns = MIN(ns, run_task_due(r));
    ns = MIN(ns, run_activity_due(r));
    return MIN(ns, run_timer_due(r));
}

struct durable_standing run_standing(const struct run *r)
{
    struct run_task task;
    struct run_errand errand;
    int64_t ns = due_ns(r);
    return (struct durable_standing){
        .open = run_open(r),
        .ready = run_wants_task(r, 0, &task) || run_wants_errand(r, 0, &errand),
        /* Up, so that it is past when it is told. */
        .due_ms = ns == JOURNAL_NEVER ? JOURNAL_NEVER : ns / 1000000 + (ns % 1000000 != 0),
    };
}

void run_due(struct run *r, struct durable_turn *t)
{
    if (due_ns(r) > t->now_ns)
        return;
    run_close_on_due(r, t);
    if (t->forget)
        return;
    if (run_open(r)) {
        run_task_on_due(r, t);
        run_timer_on_due(r, t);
        run_activity_on_due(r, t);
    }
    run_end(r, t);
}

static bool workflow_task_wanted(const struct run *r, struct run_task *ret)
{
    const Ws__Run *s = r->s;
    const Ws__WorkflowTask *k = s->task;
    if (!k || k->started_id)
        return false;
    *ret = (struct run_task){
        .type = RUN_WORKFLOW_TASK,
        .scheduled_id = k->scheduled_id,
        .attempt = k->attempt,
        .stamp = k->stamp,
        .queue = k->sticky ? s->sticky_queue : run_queue(r),
        .normal_queue = k->sticky ? run_queue(r) : NULL,
        .scheduled_ns = k->scheduled_ns,
        .priority = s->priority ? s->priority->priority_key : 0,
    };
    return true;
}

bool run_wants_task(const struct run *r, size_t n, struct run_task *ret)
{
    if (!run_open(r))
        return false;
    if (workflow_task_wanted(r, ret) && n-- == 0)
        return true;
    const Ws__Run *s = r->s;
    for (size_t i = 0; i < s->n_activities; i++) {
        const Ws__Activity *a = s->activities[i];
        if (a->started_ns || a->paused || a->backing_off || n-- != 0)
            continue;
        *ret = (struct run_task){
            .type = RUN_ACTIVITY_TASK,
            .scheduled_id = a->scheduled_id,
            .attempt = a->attempt,
            .stamp = a->stamp,
            .queue = a->queue,
            .scheduled_ns = a->scheduled_ns,
            .priority = a->priority ? a->priority->priority_key : 0,
        };
        return true;
    }
    return false;
}

/* ---- what is known of it ---- */

bool run_open(const struct run *r) { return r->s->status == STATUS(RUNNING); }
Tp__WorkflowExecutionStatus run_status(const struct run *r) { return r->s->status; }
int64_t run_next_event(const struct run *r) { return r->s->next_event_id; }
int64_t run_close_event(const struct run *r) { return r->s->close_event_id; }
int64_t run_last_task_done(const struct run *r) { return r->s->last_completed_id; }
int64_t run_first_task_done(const struct run *r) { return r->s->first_completed_id; }
const char *run_first_id(const struct run *r) { return r->s->first_run_id; }
const char *run_queue(const struct run *r) { return r->s->started->task_queue->name; }

const char *run_sticky_queue(const struct run *r)
{
    return run_empty(r->s->sticky_queue) ? NULL : r->s->sticky_queue;
}

struct uuid run_next_run(const struct run *r)
{
    struct uuid next = { 0 };
    if (!uuid_parse(str_of(r->s->next_run_id), &next))
        memset(&next, 0, sizeof next);
    return next;
}

bool run_started_by(const struct run *r, const char *request_id)
{
    const Ws__Run *s = r->s;
    if (run_empty(request_id))
        return false;
    if (strcmp(s->start_request_id, request_id) == 0)
        return true;
    for (size_t i = 0; i < s->n_attached; i++)
        if (strcmp(s->attached[i]->id, request_id) == 0)
            return true;
    return false;
}

/* ---- small things ---- */

bool run_empty(const char *text) { return !text || !*text; }

int64_t run_deadline(int64_t now_ns, int64_t duration_ns)
{
    int64_t at;
    if (duration_ns <= 0)
        return 0;
    return __builtin_add_overflow(now_ns, duration_ns, &at) ? INT64_MAX - 1 : at;
}

Tp__Failure *run_failure_dup(const Tp__Failure *f)
{
    if (!f)
        return NULL;
    Tp__Failure *copy = proto_dup(f), *at = copy;
    for (int depth = 1; at->cause; depth++) {
        if (depth == RUN_FAILURE_DEPTH_MAX) {
            proto_free(at->cause);
            at->cause = NULL;
            break;
        }
        at = at->cause;
    }
    return copy;
}

Tp__Failure *run_failure_server(const char *text)
{
    Tp__Failure *f = proto_new(&tp__failure__descriptor);
    proto_set_text(&f->message, text);
    proto_set_text(&f->source, "Server");
    f->failure_info_case = TP__FAILURE__FAILURE_INFO_SERVER_FAILURE_INFO;
    f->server_failure_info = proto_new(&tp__server_failure_info__descriptor);
    f->server_failure_info->non_retryable = true;
    return f;
}

Tp__TaskQueue *run_task_queue(const char *name, const char *sticky_of)
{
    Tp__TaskQueue *q = proto_new(&tp__task_queue__descriptor);
    proto_set_text(&q->name, name);
    q->kind = sticky_of ? TP__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY
                        : TP__TASK_QUEUE_KIND__TASK_QUEUE_KIND_NORMAL;
    if (sticky_of)
        proto_set_text(&q->normal_name, sticky_of);
    return q;
}

void run_new_id(struct durable_turn *t, char into[UUID_TEXT])
{
    uint64_t random[2] = { rng_next(t->random), rng_next(t->random) };
    uint8_t bytes[10];
    memcpy(bytes, random, sizeof bytes);
    struct uuid u = uuid_v7(t->now_ns / 1000000, bytes);
    uuid_format(&u, into);
}

void run_remove(size_t *count, void *items, size_t i)
{
    void **at;
    memcpy(&at, items, sizeof at);
    ASSERT(i < *count);
    proto_free(at[i]);
    memmove(&at[i], &at[i + 1], (*count - i - 1) * sizeof *at);
    (*count)--;
}

/* ---- invariants ---- */

static void check_task(const Ws__Run *s)
{
    const Ws__WorkflowTask *k = s->task;
    if (!k)
        return;
    ASSERT(k->attempt >= 1 && k->stamp && k->scheduled_id);
    ASSERT(!k->started_id || k->started_id > k->scheduled_id);
    ASSERT(!k->written || k->scheduled_id < s->next_event_id);
    ASSERT(!k->sticky || !run_empty(s->sticky_queue));
    ASSERT(k->written || k->speculative || k->attempt > 1);
}

void run_check(const struct run *r)
{
    const Ws__Run *s = r->s;
    ASSERT(s->next_event_id >= 2 && s->started && s->started->task_queue);
    ASSERT(s->status != STATUS(UNSPECIFIED));
    ASSERT(!r->batch_count);
    check_task(s);
    ASSERT(!s->n_buffered || run_task_held(r));
    ASSERT(run_open(r) == (s->close_event_id == 0));
    ASSERT(run_open(r) || (!s->task && !s->n_activities && !s->n_timers));
    ASSERT(!s->backing_off || !s->task || s->cancel_requested);
    ASSERT(s->last_started_id <= s->last_completed_id);
    for (size_t i = 0; i < s->n_activities; i++) {
        const Ws__Activity *a = s->activities[i];
        ASSERT(a->scheduled_id < s->next_event_id && a->attempt >= 1);
        ASSERT(i == 0 || s->activities[i - 1]->scheduled_id < a->scheduled_id);
        ASSERT(!a->cancel_requested || a->cancel_id > a->scheduled_id);
    }
    for (size_t i = 0; i < s->n_timers; i++)
        ASSERT(s->timers[i]->started_id < s->next_event_id && s->timers[i]->fire_ns);
}
