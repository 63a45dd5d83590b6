/* temporal_book.c -- everything the disk showed, and what must be true of it. */
#include "sim/temporal_world.h"

#include <stdio.h>
#include <stdlib.h>

#define AT(w, b, cond)                                                                              \
    do {                                                                                            \
        if (!(cond))                                                                                \
            tw_wrong(w, __FILE__, __LINE__, "%s, in %s %s at event %zu", #cond, (b)->life.workflow, \
                     (b)->life.run, (b)->count);                                                    \
    } while (0)

struct tw_book *book_find(struct tw *w, const char *run)
{
    for (size_t i = 0; i < w->book_count; i++)
        if (strcmp(w->books[i]->life.run, run) == 0)
            return w->books[i];
    return NULL;
}

uint64_t fact_new(struct tw *w, enum tw_fact_type type)
{
    ASSERT(w->fact_count + 1 < TW_FACTS);
    w->facts[++w->fact_count] = (struct tw_fact){ .type = type };
    return w->fact_count;
}

static void set_run(char to[40], const char *from) { snprintf(to, 40, "%s", from); }

static uint64_t event_hash(const Tp__HistoryEvent *v)
{
    struct buf b;
    buf_init(&b, MIB(16));
    proto_encode(v, &b);
    struct str bytes = buf_str(&b);
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < bytes.size; i++)
        h = (h ^ (uint8_t)bytes.at[i]) * UINT64_C(1099511628211);
    buf_done(&b);
    return h;
}

/* ---- facts that are found ------------------------------------------------------------------- */

static struct tw_fact *fact_at(struct tw *w, struct tw_book *b, uint64_t n, enum tw_fact_type type)
{
    AT(w, b, n <= w->fact_count && w->facts[n].type == type);
    return &w->facts[n <= w->fact_count ? n : 0];
}

static void see_signal(struct tw *w, struct tw_book *b, uint64_t n)
{
    if (n == 0)
        return; /* of a workflow, or at the end */
    fact_at(w, b, n, F_SIGNAL)->seen++;
    for (uint32_t i = 0; i < b->signal_count; i++)
        AT(w, b, b->signals[i] != n); /* repeated with its request id: once in a run */
    if (b->signal_count < COUNT_OF(b->signals))
        b->signals[b->signal_count++] = n;
}

/* It is not what its id means any more: it went on, or was reset, or somebody else's start came behind it. */
bool book_continued(struct tw *w, const char *run)
{
    const struct tw_book *b = book_find(w, run);
    bool behind = false;
    for (size_t i = 0; b && i < w->book_count; i++) {
        const struct tw_book *other = w->books[i];
        if (strcmp(other->life.workflow, b->life.workflow) != 0)
            continue;
        if (other->reset || (behind && other->started_by && other->started_by != b->started_by))
            return true;
        behind |= other == b;
    }
    return b && *b->next_run;
}

static void see_started(struct tw *w, struct tw_book *b, const Tp__WorkflowExecutionStartedEventAttributes *a)
{
    b->reset = strcmp(a->original_execution_run_id, b->life.run) != 0;
    b->copied = b->reset;
    b->cron = *a->cron_schedule != '\0';
    if (a->parent_workflow_execution) {
        set_run(b->parent_run, a->parent_workflow_execution->run_id);
        b->parent_initiated = a->parent_initiated_event_id;
    }
    if (b->reset || a->parent_workflow_execution || *a->continued_execution_run_id)
        return;
    b->started_by = tw_number_of(a->input);
    struct tw_fact *f = fact_at(w, b, b->started_by, F_START);
    f->seen++;
    /* A start that is repeated with its request id makes one run, unless that went on in another meanwhile. */
    AT(w, b, f->seen == 1 || book_continued(w, f->run));
    if (f->seen == 1)
        set_run(f->run, b->life.run);
}

static void see_event(struct tw *w, struct tw_book *b, const Tp__HistoryEvent *v)
{
    struct tw_fact *f;
    switch (v->event_type) {
    case EV(WORKFLOW_EXECUTION_STARTED): see_started(w, b, v->workflow_execution_started_event_attributes); return;
    case EV(WORKFLOW_EXECUTION_SIGNALED):
        see_signal(w, b, tw_number_of(v->workflow_execution_signaled_event_attributes->input));
        return;
    case EV(ACTIVITY_TASK_COMPLETED):
        if (b->copied)
            return;
        f = fact_at(w, b, tw_number_of(v->activity_task_completed_event_attributes->result), F_RESULT);
        AT(w, b, f->seen++ == 0); /* one answer, one event */
        return;
    case EV(WORKFLOW_EXECUTION_UPDATE_COMPLETED):
        fact_at(w, b, tw_number_of(v->workflow_execution_update_completed_event_attributes->outcome->success), F_UPDATE)->seen++;
        return;
    case EV(WORKFLOW_EXECUTION_TERMINATED): {
        const char *reason = v->workflow_execution_terminated_event_attributes->reason;
        if (strcmp(reason, "by parent close policy") == 0) {
            const struct tw_book *parent = book_find(w, b->parent_run);
            AT(w, b, parent && parent->life.closed); /* its own parent's */
        }
        if (*reason == '#')
            fact_at(w, b, strtoul(reason + 1, NULL, 10), F_TERMINATE)->seen++;
        return;
    }
    case EV(WORKFLOW_TASK_FAILED):
        if (b->copied && strcmp(v->workflow_task_failed_event_attributes->new_run_id, b->life.run) == 0) {
            b->copied = false;
            set_run(b->base, v->workflow_task_failed_event_attributes->base_run_id);
            b->reset_at = b->count;
        }
        return;
    default: return;
    }
}

static void see_next(struct tw_book *b, const Tp__HistoryEvent *v)
{
    switch (v->event_type) {
    case EV(WORKFLOW_EXECUTION_COMPLETED):
        set_run(b->next_run, v->workflow_execution_completed_event_attributes->new_execution_run_id);
        return;
    case EV(WORKFLOW_EXECUTION_FAILED):
        set_run(b->next_run, v->workflow_execution_failed_event_attributes->new_execution_run_id);
        return;
    case EV(WORKFLOW_EXECUTION_TIMED_OUT):
        set_run(b->next_run, v->workflow_execution_timed_out_event_attributes->new_execution_run_id);
        return;
    case EV(WORKFLOW_EXECUTION_CONTINUED_AS_NEW):
        set_run(b->next_run, v->workflow_execution_continued_as_new_event_attributes->new_execution_run_id);
        return;
    default: return;
    }
}

/* ---- commands and their events -------------------------------------------------------------- */

/* Of all that workers sent for this task one is wholly there. */
static void commands_over(struct tw *w, struct tw_book *b)
{
    bool whole = b->maybe_count == 0;
    for (uint32_t i = 0; i < b->maybe_count; i++)
        whole |= b->maybe_at[i] == w->dones[b->maybe[i]].count;
    AT(w, b, whole);
    b->maybe_count = 0;
}

static void commands_begin(struct tw *w, struct tw_book *b, int64_t started)
{
    commands_over(w, b);
    if (b->copied)
        return;
    for (uint32_t i = 0; i < w->done_count; i++) {
        const struct tw_done *d = &w->dones[i];
        if (d->started == started && strcmp(d->run, b->life.run) == 0 && b->maybe_count < COUNT_OF(b->maybe)) {
            b->maybe_at[b->maybe_count] = 0;
            b->maybe[b->maybe_count++] = i;
        }
    }
    AT(w, b, b->maybe_count > 0); /* somebody completed it */
}

static void commands_see(struct tw *w, struct tw_book *b, const Tp__HistoryEvent *v)
{
    char sign[24] = "";
    if (b->copied || !life_sign(&b->life, v, sign))
        return;
    uint32_t left = 0;
    for (uint32_t i = 0; i < b->maybe_count; i++) {
        const struct tw_done *d = &w->dones[b->maybe[i]];
        if (b->maybe_at[i] >= d->count || strcmp(d->signs[b->maybe_at[i]], sign) != 0)
            continue;
        b->maybe[left] = b->maybe[i];
        b->maybe_at[left++] = b->maybe_at[i] + 1;
    }
    b->maybe_count = left;
    AT(w, b, left > 0); /* an event without its command */
}

/* ---- one run's row -------------------------------------------------------------------------- */

static void book_event(struct tw *w, struct tw_book *b, const Tp__HistoryEvent *v)
{
    if (b->count == b->capacity) {
        b->capacity = b->capacity ? b->capacity * 2 : 32;
        b->hashes = xrealloc(b->hashes, b->capacity, sizeof *b->hashes);
        b->types = xrealloc(b->types, b->capacity, sizeof *b->types);
    }
    b->hashes[b->count] = event_hash(v);
    b->types[b->count++] = (uint8_t)v->event_type;
    tw_note(w, "%s %.8s %zu: event %d", b->life.workflow, b->life.run + 28, b->count, (int)v->event_type);
    commands_see(w, b, v); /* before: a slot is known by then only to its own kind */
    const char *why = life_feed(&b->life, v);
    if (why)
        tw_wrong(w, __FILE__, __LINE__, "%s, in %s %s at event %zu (%d)", why, b->life.workflow, b->life.run, b->count,
                 (int)v->event_type);
    see_event(w, b, v);
    see_next(b, v);
    if (v->event_type == EV(WORKFLOW_TASK_COMPLETED))
        commands_begin(w, b, v->workflow_task_completed_event_attributes->started_event_id);
}

static void book_grow(struct tw *w, struct tw_book *b, const struct sim_row *row)
{
    size_t size = 0;
    for (size_t i = 0; i < row->piece_count; i++)
        size += row->pieces[i].size;
    char *all = xcalloc(1, size + 1);
    size = 0;
    for (size_t i = 0; i < row->piece_count; i++) {
        memcpy(all + size, row->pieces[i].bytes, row->pieces[i].size);
        size += row->pieces[i].size;
    }
    bool grown = size >= b->size && (b->size == 0 || memcmp(all, b->bytes, b->size) == 0);
    AT(w, b, grown); /* what was written stays as it is */
    if (grown && size > b->size) {
        ProtobufCMessage *m;
        struct err e;
        int r = proto_decode_new(&tp__history__descriptor, (struct str){ all + b->size, size - b->size }, MIB(64), &m, &e);
        AT(w, b, r == 0);
        const Tp__History *h = r == 0 ? (const Tp__History *)m : NULL;
        for (size_t i = 0; h && i < h->n_events && !w->broken; i++)
            book_event(w, b, h->events[i]);
        if (h)
            proto_free(m);
    }
    free(b->bytes);
    b->bytes = all;
    b->size = size;
    b->version = row->version;
    AT(w, b, row->open == !b->life.closed); /* the index says what the history says */
}

static void book_free(struct tw_book *b)
{
    free(b->bytes);
    free(b->hashes);
    free(b->types);
    free(b);
}

static struct tw_book *book_add(struct tw *w, const struct sim_row *row, const char *run)
{
    struct tw_book *b = xcalloc(1, sizeof *b);
    b->life.next = 1;
    set_run(b->life.run, run);
    snprintf(b->life.workflow, sizeof b->life.workflow, STR_FMT, STR_ARG(row->key.id));
    w->books = xrealloc(w->books, w->book_count + 1, sizeof(struct tw_book *));
    w->books[w->book_count++] = b;
    return b;
}

/* What a reset repeats is what there was; looked at when its whole prefix is there. */
static void reset_check(struct tw *w, struct tw_book *b)
{
    const struct tw_book *base = *b->base ? book_find(w, b->base) : NULL;
    if (!base)
        return;
    size_t n = 0;
    while (n < b->count && n < base->count && b->hashes[n] == base->hashes[n])
        n++;
    AT(w, b, n + 4 >= b->reset_at); /* but for the task that failed */
    *b->base = '\0';
}

void books_look(struct tw *w)
{
    if (w->looked == w->disk.commits)
        return;
    w->looked = w->disk.commits;
    for (size_t i = 0; i < w->disk.count && !w->broken; i++) {
        const struct sim_row *row = w->disk.rows[i];
        char run[UUID_TEXT];
        uuid_format(&row->key.run, run);
        struct tw_book *b = book_find(w, run);
        if (!b)
            b = book_add(w, row, run);
        if (b->version != row->version)
            book_grow(w, b, row);
        reset_check(w, b);
        for (size_t k = 0; k < i; k++) {
            const struct sim_row *other = w->disk.rows[k];
            AT(w, b, !(row->open && other->open && str_eq(row->key.id, other->key.id))); /* one open run per id */
        }
    }
}

void book_compare(struct tw *w, const char *run, const Tp__History *h, bool task)
{
    books_look(w);
    struct tw_book *b = book_find(w, run);
    EXPECT(w, b || !h || h->n_events == 0);
    for (size_t i = 0; b && h && i < h->n_events && !w->broken; i++) {
        const Tp__HistoryEvent *v = h->events[i];
        AT(w, b, v->event_id > 0);
        if (v->event_id <= (int64_t)b->count && event_hash(v) == b->hashes[v->event_id - 1])
            continue;
        AT(w, b, task && i + 2 >= h->n_events); /* what was told is on the disk */
        AT(w, b, v->event_type == EV(WORKFLOW_TASK_SCHEDULED) || v->event_type == EV(WORKFLOW_TASK_STARTED));
    }
}

/* ---- the end -------------------------------------------------------------------------------- */

static struct tw_book *chain_last(struct tw *w, struct tw_book *b)
{
    for (int left = 100; *b->next_run && left > 0; left--) {
        struct tw_book *next = book_find(w, b->next_run);
        AT(w, b, next); /* it goes on where it says */
        if (!next)
            break;
        b = next;
    }
    return b;
}

static int32_t end_told(Tp__EventType child)
{
    switch (child) {
    case EV(CHILD_WORKFLOW_EXECUTION_COMPLETED): return EV(WORKFLOW_EXECUTION_COMPLETED);
    case EV(CHILD_WORKFLOW_EXECUTION_FAILED): return EV(WORKFLOW_EXECUTION_FAILED);
    case EV(CHILD_WORKFLOW_EXECUTION_CANCELED): return EV(WORKFLOW_EXECUTION_CANCELED);
    case EV(CHILD_WORKFLOW_EXECUTION_TIMED_OUT): return EV(WORKFLOW_EXECUTION_TIMED_OUT);
    case EV(CHILD_WORKFLOW_EXECUTION_TERMINATED): return EV(WORKFLOW_EXECUTION_TERMINATED);
    default: return 0;
    }
}

static const Tp__WorkflowExecution *child_of(const Tp__HistoryEvent *v, int64_t *initiated)
{
#define CHILD(field)                                       \
    do {                                                   \
        *initiated = v->field->initiated_event_id;         \
        return v->field->workflow_execution;               \
    } while (0)
    switch (v->event_type) {
    case EV(CHILD_WORKFLOW_EXECUTION_STARTED): CHILD(child_workflow_execution_started_event_attributes);
    case EV(CHILD_WORKFLOW_EXECUTION_COMPLETED): CHILD(child_workflow_execution_completed_event_attributes);
    case EV(CHILD_WORKFLOW_EXECUTION_FAILED): CHILD(child_workflow_execution_failed_event_attributes);
    case EV(CHILD_WORKFLOW_EXECUTION_CANCELED): CHILD(child_workflow_execution_canceled_event_attributes);
    case EV(CHILD_WORKFLOW_EXECUTION_TIMED_OUT): CHILD(child_workflow_execution_timed_out_event_attributes);
    case EV(CHILD_WORKFLOW_EXECUTION_TERMINATED): CHILD(child_workflow_execution_terminated_event_attributes);
    default: return NULL;
    }
#undef CHILD
}

/* What a parent was told of its children is true of them. */
static void judge_children(struct tw *w, struct tw_book *b)
{
    ProtobufCMessage *m;
    struct err e;
    if (proto_decode_new(&tp__history__descriptor, (struct str){ b->bytes, b->size }, MIB(64), &m, &e) < 0)
        return;
    const Tp__History *h = (const Tp__History *)m;
    for (size_t i = 0; i < h->n_events && !w->broken; i++) {
        int64_t initiated = 0;
        const Tp__WorkflowExecution *x = child_of(h->events[i], &initiated);
        struct tw_book *child = x ? book_find(w, x->run_id) : NULL;
        if (x)
            AT(w, b, child);
        if (child && !b->reset && !child->reset && *child->parent_run)
            AT(w, b, strcmp(child->parent_run, b->life.run) == 0 && child->parent_initiated == initiated);
        int32_t end = end_told(h->events[i]->event_type);
        if (child && end)
            AT(w, b, child->life.end == end && !*child->next_run);
    }
    proto_free(m);
}

static void judge_book(struct tw *w, struct tw_book *b)
{
    commands_over(w, b);
    AT(w, b, b->life.closed); /* everything ends */
    (void)chain_last(w, b);
    judge_children(w, b);
    if (*b->parent_run && !b->reset && !book_find(w, b->parent_run))
        AT(w, b, false);
    for (uint32_t u = 0; u < b->life.update_count && b->life.end == EV(WORKFLOW_EXECUTION_COMPLETED); u++)
        AT(w, b, b->life.updates[u].completed); /* programs see to it */
}

void books_judge(struct tw *w)
{
    books_look(w);
    for (size_t i = 0; i < w->book_count && !w->broken; i++)
        judge_book(w, w->books[i]);
    for (uint64_t n = 1; n <= w->fact_count && !w->broken; n++)
        if (w->facts[n].acked && w->facts[n].seen == 0)
            tw_wrong(w, __FILE__, __LINE__, "number %" PRIu64 " (of kind %d) was acknowledged: it is in a history", n,
                     (int)w->facts[n].type);
}

void books_done(struct tw *w)
{
    for (size_t i = 0; i < w->book_count; i++)
        book_free(w->books[i]);
    free(w->books);
    w->books = NULL;
    w->book_count = 0;
}
