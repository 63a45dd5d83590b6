#include "workflow/service_impl.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- pages ---- */

static bool page_wants(const struct page *p, const Tp__HistoryEvent *event)
{
    return event->event_id >= p->from && event->event_id < p->to;
}

/* Moves what the page wants out of one row. false: the page is full. */
static bool page_take(struct page *p, Tp__History *row)
{
    for (size_t k = 0; k < row->n_events; k++) {
        size_t i = p->backwards ? row->n_events - 1 - k : k;
        Tp__HistoryEvent *event = row->events[i];
        if (!page_wants(p, event))
            continue;
        if (p->events->n_events == p->events_max)
            return false;
        proto_push(&p->events->n_events, &p->events->events, event);
        row->events[i] = NULL;
        if (p->backwards)
            p->to = event->event_id;
        else
            p->from = event->event_id + 1;
    }
    return true;
}

static int page_row(struct page *p, const struct journal_row *row, bool *ret_full, struct err *e)
{
    ProtobufCMessage *m = NULL;
    int r = proto_decode_new(&tp__history__descriptor, row->bytes, SIZE_MAX / 4, &m, e);
    if (r < 0)
        return err_wrap(e, "history of %s: row %" PRIu64, p->id, row->first);
    Tp__History *h = (Tp__History *)(void *)m;
    *ret_full = !page_take(p, h);
    size_t kept = 0;
    for (size_t i = 0; i < h->n_events; i++)
        if (h->events[i])
            h->events[kept++] = h->events[i];
    h->n_events = kept;
    proto_free(m);
    return 0;
}

static void on_read(struct journal_read *q, int r, const struct journal_row *rows, size_t count, const struct err *e)
{
    struct page *p = CONTAINER_OF(q, struct page, history.read);
    struct err own;
    bool full = false;
    int64_t end = p->backwards ? p->from : p->to;
    for (size_t i = 0; r >= 0 && i < count && !full; i++)
        if ((r = page_row(p, &rows[i], &full, &own)) < 0)
            e = &own;
    /* what lies between the last event and the end was not read: a following page has it */
    int64_t at = p->backwards ? p->to : p->from;
    bool any = p->backwards ? p->to > p->from : p->from < p->to;
    p->next = any && at != end && count ? at : 0;
    free(TAKE(p->ns));
    free(TAKE(p->id));
    p->ready(p, r, e);
}

void page_read(struct page *p)
{
    struct err e;
    p->events = proto_new(&tp__history__descriptor);
    p->next = 0;
    p->history = (struct durable_history){ 0 };
    p->history.read = (struct journal_read){ .key = service_key(p->ns, p->id, &p->run), .from = (uint64_t)p->from,
                                             .to = (uint64_t)p->to, .bytes_max = SERVICE_PAGE_BYTES,
                                             .backwards = p->backwards, .on_done = on_read };
    int r = durable_read(p->s->host, &p->history, &e);
    if (r < 0)
        on_read(&p->history.read, r, NULL, 0, &e);
}

/* ---- tokens ---- */

void service_history_token(ProtobufCBinaryData *into, const struct uuid *run, int64_t next, int64_t end, bool backwards)
{
    Wt__HistoryToken t;
    wt__history_token__init(&t);
    t.run_id = (ProtobufCBinaryData){ sizeof(run->at), (uint8_t *)(uintptr_t)run->at };
    t.next = next;
    t.end = end;
    t.backwards = backwards;
    struct buf b;
    buf_init(&b, KIB(1));
    proto_encode(&t, &b);
    proto_set_bytes(into, buf_str(&b));
    buf_done(&b);
}

struct asked {
    struct op op; /* first: its own memory */
    struct wait wait;
    struct page page;
    const ProtobufCBinaryData *token;
    int64_t from, end; /* end 0: whatever there is */
    int64_t next_event, close_event;
    int32_t page_size;
    bool waits, close_only, backwards, started;
    struct uuid pinned;
};

static int token_read(struct asked *a, struct refusal *no)
{
    __attribute__((cleanup(proto_arena_auto))) struct proto_arena arena = { 0 };
    ProtobufCMessage *m = NULL;
    struct err e;
    if (proto_decode(&wt__history_token__descriptor, proto_bytes(a->token), KIB(16), &arena, &m, &e) < 0)
        return refuse(no, CODE_INVALID, "Invalid NextPageToken.");
    const Wt__HistoryToken *t = (const Wt__HistoryToken *)(const void *)m;
    if (t->run_id.len != sizeof(a->pinned.at) || t->next < 1 || t->backwards != a->backwards)
        return refuse(no, CODE_INVALID, "Invalid NextPageToken.");
    memcpy(a->pinned.at, t->run_id.data, sizeof(a->pinned.at));
    if (!uuid_none(&a->op.in.key.run) && memcmp(&a->op.in.key.run, &a->pinned, sizeof(a->pinned)))
        return refuse(no, CODE_INVALID, "RunId does not match the one of the NextPageToken.");
    a->from = t->next;
    a->end = t->end;
    a->started = true;
    return 0;
}

static void history_act(struct op *op, const struct durable_view *v)
{
    struct asked *a = CONTAINER_OF(op, struct asked, op);
    if (!v->machine) {
        op_missing(op);
        return;
    }
    a->next_event = run_next_event(v->machine);
    a->close_event = run_open(v->machine) ? 0 : run_close_event(v->machine);
}

/* ---- answers ---- */

static void answer(struct asked *a, Tp__History *take_events, int64_t next)
{
    struct service_call *c = TAKE(a->op.c);
    struct uuid run = a->op.run;
    if (a->backwards) {
        Tp__GetWorkflowExecutionHistoryReverseResponse w;
        tp__get_workflow_execution_history_reverse_response__init(&w);
        w.history = take_events;
        if (next)
            service_history_token(&w.next_page_token, &run, next, 0, true);
        service_reply(c, &w);
        free(w.next_page_token.data);
    } else {
        Tp__GetWorkflowExecutionHistoryResponse w;
        tp__get_workflow_execution_history_response__init(&w);
        w.history = take_events;
        if (next)
            service_history_token(&w.next_page_token, &run, next, a->end, false);
        service_reply(c, &w);
        free(w.next_page_token.data);
    }
    proto_free(take_events);
    op_free(&a->op);
}

/* Nothing new: the client asks again with the token. */
static void answer_empty(struct asked *a)
{
    answer(a, proto_new(&tp__history__descriptor), a->close_only ? MAX(a->from, INT64_C(1)) : a->from);
}

static void on_page(struct page *p, int r, const struct err *e)
{
    struct asked *a = CONTAINER_OF(p, struct asked, page);
    Tp__History *events = TAKE(p->events);
    if (r < 0) {
        proto_free(events);
        service_fail(TAKE(a->op.c), -(enum code)r, "%s", e->text);
        op_free(&a->op);
        return;
    }
    int64_t next = p->next;
    if (a->close_only)
        next = 0;
    else if (!next && a->waits && !a->close_event && !a->end)
        next = a->next_event; /* the run is open: there will be more */
    answer(a, events, next);
}

static void read_now(struct asked *a)
{
    struct op *op = &a->op;
    int64_t size = a->page_size > 0 ? MIN(a->page_size, SERVICE_PAGE_EVENTS_MAX) : SERVICE_PAGE_EVENTS;
    a->page = (struct page){ .s = op->s, .ns = xstrdup(op->ns), .id = xstrdup(op->id), .run = op->run,
                             .from = a->from, .to = a->end ? a->end : a->next_event,
                             .events_max = (size_t)size, .ready = on_page };
    if (a->backwards) {
        a->page.backwards = true;
        a->page.from = 1;
        a->page.to = a->started ? a->from : a->next_event;
    } else if (a->close_only) {
        a->page.from = a->close_event ? a->close_event : a->next_event - 1;
        a->page.to = a->page.from + 1;
    }
    page_read(&a->page);
}

static bool has_something(const struct asked *a)
{
    return a->close_event || (!a->close_only && a->from < a->next_event);
}

static void on_look(struct wait *w, struct run *r)
{
    struct asked *a = CONTAINER_OF(w, struct asked, wait);
    if (!r)
        return;
    a->next_event = run_next_event(r);
    a->close_event = run_open(r) ? 0 : run_close_event(r);
    if (!has_something(a))
        return;
    wait_remove(w);
    a->op.c->on_gone = NULL;
    read_now(a);
}

static void on_expired(struct wait *w) { answer_empty(CONTAINER_OF(w, struct asked, wait)); }

static void on_gone(struct service_call *c)
{
    struct asked *a = c->work;
    wait_remove(&a->wait);
    a->op.c = NULL;
    service_end(c);
    op_free(&a->op);
}

static void on_drain(struct service_call *c)
{
    struct asked *a = c->work;
    wait_remove(&a->wait);
    answer_empty(a);
}

static void history_then(struct op *op)
{
    struct asked *a = CONTAINER_OF(op, struct asked, op);
    if (!a->waits || a->end || has_something(a)) {
        read_now(a);
        return;
    }
    if (op->c->gone || op->s->draining) {
        answer_empty(a);
        return;
    }
    a->wait = (struct wait){ .s = op->s, .run = op->run, .look = on_look, .expired = on_expired };
    op->c->work = a;
    op->c->on_gone = on_gone;
    op->c->on_drain = on_drain;
    wait_add(&a->wait, service_until(op->c, SERVICE_WAIT_NS));
}

static void ask(struct service *s, struct service_call *c, const Tp__WorkflowExecution *x, struct asked *proto)
{
    struct asked *a = op_new(s, c, sizeof(*a), c->ns, x ? x->workflow_id : NULL, x ? x->run_id : NULL, history_act);
    if (!a)
        return;
    struct refusal no = { 0 };
    a->token = proto->token;
    a->backwards = proto->backwards;
    a->waits = proto->waits;
    a->close_only = proto->close_only;
    a->page_size = proto->page_size;
    a->from = 1;
    a->op.then = history_then;
    if (a->token->len && token_read(a, &no) < 0) {
        service_refuse(c, &no);
        op_free(&a->op);
        return;
    }
    if (a->started)
        a->op.in.key.run = a->pinned;
    op_send(&a->op);
}

void service_history(struct service *s, struct service_call *c)
{
    const Tp__GetWorkflowExecutionHistoryRequest *q = c->q;
    struct asked a = { .token = &q->next_page_token, .waits = q->wait_new_event, .page_size = q->maximum_page_size,
                       .close_only = q->history_event_filter_type ==
                                     TP__HISTORY_EVENT_FILTER_TYPE__HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT };
    ask(s, c, q->execution, &a);
}

void service_history_reverse(struct service *s, struct service_call *c)
{
    const Tp__GetWorkflowExecutionHistoryReverseRequest *q = c->q;
    struct asked a = { .token = &q->next_page_token, .page_size = q->maximum_page_size, .backwards = true };
    ask(s, c, q->execution, &a);
}
