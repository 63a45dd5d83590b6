#include "workflow/run_impl.h"

#include <stdlib.h>
#include <string.h>

/* In the enum's order would be sparse: official numbers of types and of the attributes' fields. */
static const struct {
    uint16_t type, field;
    bool buffers; /* comes from outside a workflow task, and may come while a worker has one */
    bool ends;    /* of what the workflow waits for: numbered behind all others that came meanwhile */
} kinds[] = {
    { EVENT(WORKFLOW_EXECUTION_STARTED), 6 },
    { EVENT(WORKFLOW_EXECUTION_COMPLETED), 7 },
    { EVENT(WORKFLOW_EXECUTION_FAILED), 8 },
    { EVENT(WORKFLOW_EXECUTION_TIMED_OUT), 9 },
    { EVENT(WORKFLOW_TASK_SCHEDULED), 10 },
    { EVENT(WORKFLOW_TASK_STARTED), 11 },
    { EVENT(WORKFLOW_TASK_COMPLETED), 12 },
    { EVENT(WORKFLOW_TASK_TIMED_OUT), 13 },
    { EVENT(WORKFLOW_TASK_FAILED), 14 },
    { EVENT(ACTIVITY_TASK_SCHEDULED), 15 },
    { EVENT(ACTIVITY_TASK_STARTED), 16, .buffers = true },
    { EVENT(ACTIVITY_TASK_COMPLETED), 17, .buffers = true, .ends = true },
    { EVENT(ACTIVITY_TASK_FAILED), 18, .buffers = true, .ends = true },
    { EVENT(ACTIVITY_TASK_TIMED_OUT), 19, .buffers = true, .ends = true },
    { EVENT(TIMER_STARTED), 20 },
    { EVENT(TIMER_FIRED), 21, .buffers = true },
    { EVENT(ACTIVITY_TASK_CANCEL_REQUESTED), 22 },
    { EVENT(ACTIVITY_TASK_CANCELED), 23, .buffers = true, .ends = true },
    { EVENT(TIMER_CANCELED), 24 },
    { EVENT(MARKER_RECORDED), 25 },
    { EVENT(WORKFLOW_EXECUTION_SIGNALED), 26, .buffers = true },
    { EVENT(WORKFLOW_EXECUTION_TERMINATED), 27 },
    { EVENT(WORKFLOW_EXECUTION_CANCEL_REQUESTED), 28, .buffers = true },
    { EVENT(WORKFLOW_EXECUTION_CANCELED), 29 },
    { EVENT(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED), 30 },
    { EVENT(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED), 31, .buffers = true },
    { EVENT(EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED), 32, .buffers = true },
    { EVENT(WORKFLOW_EXECUTION_CONTINUED_AS_NEW), 33 },
    { EVENT(START_CHILD_WORKFLOW_EXECUTION_INITIATED), 34 },
    { EVENT(START_CHILD_WORKFLOW_EXECUTION_FAILED), 35, .buffers = true },
    { EVENT(CHILD_WORKFLOW_EXECUTION_STARTED), 36, .buffers = true },
    { EVENT(CHILD_WORKFLOW_EXECUTION_COMPLETED), 37, .buffers = true, .ends = true },
    { EVENT(CHILD_WORKFLOW_EXECUTION_FAILED), 38, .buffers = true, .ends = true },
    { EVENT(CHILD_WORKFLOW_EXECUTION_CANCELED), 39, .buffers = true, .ends = true },
    { EVENT(CHILD_WORKFLOW_EXECUTION_TIMED_OUT), 40, .buffers = true, .ends = true },
    { EVENT(CHILD_WORKFLOW_EXECUTION_TERMINATED), 41, .buffers = true, .ends = true },
    { EVENT(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED), 42 },
    { EVENT(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED), 43, .buffers = true },
    { EVENT(EXTERNAL_WORKFLOW_EXECUTION_SIGNALED), 44, .buffers = true },
    { EVENT(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES), 45 },
    { EVENT(WORKFLOW_EXECUTION_UPDATE_ACCEPTED), 46 },
    { EVENT(WORKFLOW_EXECUTION_UPDATE_COMPLETED), 48 },
    { EVENT(WORKFLOW_PROPERTIES_MODIFIED), 51 },
    { EVENT(WORKFLOW_EXECUTION_UPDATE_ADMITTED), 52, .buffers = true },
    { EVENT(WORKFLOW_EXECUTION_OPTIONS_UPDATED), 60, .buffers = true },
};

static size_t kind_of(Tp__EventType type)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (kinds[i].type == type)
            return i;
    UNREACHABLE("an event that nobody writes");
}

void *run_event_new(Tp__EventType type, Tp__HistoryEvent **ret)
{
    unsigned field = kinds[kind_of(type)].field;
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field(&tp__history_event__descriptor, field);
    ASSERT(f && f->type == PROTOBUF_C_TYPE_MESSAGE);
    Tp__HistoryEvent *event = proto_new(&tp__history_event__descriptor);
    void *attributes = proto_new(f->descriptor);
    event->event_type = type;
    event->attributes_case = (Tp__HistoryEvent__AttributesCase)field;
    memcpy((char *)event + f->offset, &attributes, sizeof attributes);
    *ret = event;
    return attributes;
}

static void number(struct run *r, Tp__HistoryEvent *take_event)
{
    Ws__Run *s = r->s;
    take_event->event_id = s->next_event_id++;
    if (r->batch_count == r->batch_capacity) {
        r->batch_capacity = r->batch_capacity ? r->batch_capacity * 2 : 8;
        r->batch = xrealloc(r->batch, r->batch_capacity, sizeof *r->batch);
    }
    r->batch[r->batch_count++] = take_event;
    s->history_bytes += (int64_t)proto_size(take_event);
}

int64_t run_event_add_at(struct run *r, int64_t ns, Tp__HistoryEvent *take_event)
{
    ASSERT(!kinds[kind_of(take_event->event_type)].buffers);
    r->s->last_event_ns = MAX(r->s->last_event_ns, ns); /* times of a history never go back */
    temporal_set_time(&take_event->event_time, r->s->last_event_ns);
    number(r, take_event);
    return take_event->event_id;
}

int64_t run_event_add(struct run *r, struct durable_turn *t, Tp__HistoryEvent *take_event)
{
    Ws__Run *s = r->s;
    if (!kinds[kind_of(take_event->event_type)].buffers)
        return run_event_add_at(r, t->now_ns, take_event);
    temporal_set_time(&take_event->event_time, t->now_ns);
    s->buffered_bytes += (int64_t)proto_size(take_event);
    proto_push(&s->n_buffered, &s->buffered, take_event);
    return RUN_BUFFERED;
}

/* ---- numbers for those that wait ---- */

static int64_t *scheduled_of(Tp__HistoryEvent *e, int64_t **ret_started)
{
    switch (e->event_type) {
    case EVENT(ACTIVITY_TASK_COMPLETED):
        *ret_started = &e->activity_task_completed_event_attributes->started_event_id;
        return &e->activity_task_completed_event_attributes->scheduled_event_id;
    case EVENT(ACTIVITY_TASK_FAILED):
        *ret_started = &e->activity_task_failed_event_attributes->started_event_id;
        return &e->activity_task_failed_event_attributes->scheduled_event_id;
    case EVENT(ACTIVITY_TASK_TIMED_OUT):
        *ret_started = &e->activity_task_timed_out_event_attributes->started_event_id;
        return &e->activity_task_timed_out_event_attributes->scheduled_event_id;
    case EVENT(ACTIVITY_TASK_CANCELED):
        *ret_started = &e->activity_task_canceled_event_attributes->started_event_id;
        return &e->activity_task_canceled_event_attributes->scheduled_event_id;
    case EVENT(CHILD_WORKFLOW_EXECUTION_COMPLETED):
        *ret_started = &e->child_workflow_execution_completed_event_attributes->started_event_id;
        return &e->child_workflow_execution_completed_event_attributes->initiated_event_id;
    case EVENT(CHILD_WORKFLOW_EXECUTION_FAILED):
        *ret_started = &e->child_workflow_execution_failed_event_attributes->started_event_id;
        return &e->child_workflow_execution_failed_event_attributes->initiated_event_id;
    case EVENT(CHILD_WORKFLOW_EXECUTION_CANCELED):
        *ret_started = &e->child_workflow_execution_canceled_event_attributes->started_event_id;
        return &e->child_workflow_execution_canceled_event_attributes->initiated_event_id;
    case EVENT(CHILD_WORKFLOW_EXECUTION_TIMED_OUT):
        *ret_started = &e->child_workflow_execution_timed_out_event_attributes->started_event_id;
        return &e->child_workflow_execution_timed_out_event_attributes->initiated_event_id;
    case EVENT(CHILD_WORKFLOW_EXECUTION_TERMINATED):
        *ret_started = &e->child_workflow_execution_terminated_event_attributes->started_event_id;
        return &e->child_workflow_execution_terminated_event_attributes->initiated_event_id;
    default:
        return NULL;
    }
}

/* What begins an activity or a child among the events that got their number just now. */
static int64_t begun(const struct run *r, size_t from, int64_t scheduled)
{
    for (size_t i = from; i < r->batch_count; i++) {
        const Tp__HistoryEvent *e = r->batch[i];
        if (e->event_type == EVENT(ACTIVITY_TASK_STARTED) &&
            e->activity_task_started_event_attributes->scheduled_event_id == scheduled)
            return e->event_id;
        if (e->event_type == EVENT(CHILD_WORKFLOW_EXECUTION_STARTED) &&
            e->child_workflow_execution_started_event_attributes->initiated_event_id == scheduled)
            return e->event_id;
    }
    UNREACHABLE("an end whose begin is not there");
}

static void number_buffered(struct run *r, size_t from, Tp__HistoryEvent *e)
{
    Ws__Run *s = r->s;
    int64_t *started = NULL, *scheduled = scheduled_of(e, &started);
    if (scheduled && *started == RUN_BUFFERED)
        *started = begun(r, from, *scheduled);
    int64_t ns = MAX(s->last_event_ns, temporal_time_ns(e->event_time));
    s->last_event_ns = ns;
    temporal_set_time(&e->event_time, ns);
    number(r, e);
    if (e->event_type != EVENT(CHILD_WORKFLOW_EXECUTION_STARTED))
        return;
    int64_t id = e->child_workflow_execution_started_event_attributes->initiated_event_id;
    for (size_t i = 0; i < s->n_children; i++)
        if (s->children[i]->initiated_id == id)
            s->children[i]->started_id = e->event_id;
}

void run_event_flush(struct run *r)
{
    Ws__Run *s = r->s;
    Tp__HistoryEvent **waiting = s->buffered;
    size_t count = s->n_buffered, from = r->batch_count;
    s->buffered = NULL;
    s->n_buffered = 0;
    s->buffered_bytes = 0;
    for (int ends = 0; ends < 2; ends++)
        for (size_t i = 0; i < count; i++)
            if (kinds[kind_of(waiting[i]->event_type)].ends == ends)
                number_buffered(r, from, waiting[i]);
    free(waiting);
}

int64_t run_event_unbuffer_timer(struct run *r, const char *timer_id)
{
    Ws__Run *s = r->s;
    for (size_t i = 0; i < s->n_buffered; i++) {
        const Tp__HistoryEvent *e = s->buffered[i];
        if (e->event_type != EVENT(TIMER_FIRED) ||
            strcmp(e->timer_fired_event_attributes->timer_id, timer_id) != 0)
            continue;
        s->buffered_bytes -= (int64_t)proto_size(e);
        int64_t started = e->timer_fired_event_attributes->started_event_id;
        run_remove(&s->n_buffered, &s->buffered, i);
        return started;
    }
    return 0;
}

/* ---- the end of a transition ---- */

static void give(struct run *r, struct durable_turn *t)
{
    if (!r->batch_count)
        return;
    struct buf row;
    buf_init(&row, SIZE_MAX / 2);
    Tp__History history = TP__HISTORY__INIT;
    history.n_events = r->batch_count;
    history.events = r->batch;
    proto_encode(&history, &row);
    ASSERT(!row.overflow && row.size);
    struct durable_row *last = t->row_count ? &t->rows[t->row_count - 1] : NULL;
    if (last && last->first + last->count == (uint64_t)r->batch[0]->event_id) {
        /* Two histories, one behind the other, are one: a turn writes one row. */
        last->bytes = xrealloc(last->bytes, last->size + row.size, 1);
        memcpy(last->bytes + last->size, row.base, row.size);
        last->size += row.size;
        last->count += (uint32_t)r->batch_count;
        buf_done(&row);
    } else
        durable_turn_row(t, (uint64_t)r->batch[0]->event_id, (uint32_t)r->batch_count, row.base,
                         row.size);
    run_batch_drop(r);
}

void run_batch_drop(struct run *r)
{
    for (size_t i = 0; i < r->batch_count; i++)
        proto_free(r->batch[i]);
    r->batch_count = 0;
}

static bool buffer_full(const Ws__Run *s)
{
    return s->n_buffered > RUN_BUFFERED_MAX || s->buffered_bytes > RUN_BUFFERED_BYTES_MAX;
}

static bool history_full(const Ws__Run *s)
{
    return s->next_event_id > RUN_EVENTS_MAX || s->history_bytes > RUN_BYTES_MAX;
}

void run_end(struct run *r, struct durable_turn *t)
{
    Ws__Run *s = r->s;
    if (run_task_held(r) && buffer_full(s))
        run_task_lose(r, t, CAUSE(FORCE_CLOSE_COMMAND), NULL, "history-service");
    if (!run_task_held(r))
        run_event_flush(r);
    if (run_open(r) && history_full(s))
        run_close_terminate(r, t, "Workflow history size / count exceeds limit.", NULL, "history-service");
    s->transitions++;
    t->changed = true;
    give(r, t);
    run_check(r);
}
