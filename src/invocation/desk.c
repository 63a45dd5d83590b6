#include "invocation/account.h"
#include "invocation/desk_impl.h"
#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>

#define SPACE STR(DESK_SPACE)
enum { LANE_TEXT = 600 };

enum case_state {
    CASE_QUIET,     /* nothing is under way here */
    CASE_QUEUED,    /* in its lane */
    CASE_BEGINNING, /* the attempt is being written down */
    CASE_READING,   /* its request is being read */
    CASE_OUT,       /* the function has it, or will */
    CASE_TELLING,   /* how it ended is being written down */
    CASE_LOOKING,   /* whether it began is to be seen: writing it down failed */
    CASE_LOSING,    /* that nobody knows how it ended is */
};
struct lane { /* of one service */
    struct list queue;
    struct list_node turn; /* of desk->turns, while it may begin one */
    uint32_t running;
    char name[LANE_TEXT];
};
struct dossier { /* of one invocation with something under way, or somebody waiting */
    struct desk *desk;
    struct uuid id;
    char text[UUID_TEXT];
    enum case_state state;
    struct lane *lane;
    struct list_node node; /* of lane->queue */
    bool drop_told;
    uint32_t attempt;
    char *ns, *service, *host; /* of the attempt */
    char *request; /* while its checkpoint is read */
    size_t request_size;
    uint64_t checkpoint_row;
    bool cancel_asked;
    int64_t deadline_ms;
    struct durable_input in;
    int begun; /* what the machine said to BEGINNING */
    struct durable_history read;
    struct invocation_end end;
    char why[512];
    struct loop_timer again;
    struct list waiters;
};
struct desk {
    struct desk_world world;
    struct durable_host *host;
    struct map cases, lanes;
    struct list turns;
    struct loop_task pump;
    struct buf account; /* of the last that was indexed */
    bool stopped;
    struct desk_counts counts;
    void (*on_owed)(void *ctx, const struct uuid *id); /* may be NULL */
    void *owed_ctx;
};

static void on_again(struct loop_timer *t);

static void pump_soon(struct desk *d) { loop_defer(d->world.loop, &d->pump); }

void desk_ended_count(struct desk *d, enum invoked_status before, const struct invocation *v)
{
    struct invocation_facts f;
    invocation_facts(v, &f);
    if (!invoked_status_ended(before) && invoked_status_ended(f.status))
        d->counts.ended[f.status]++;
}

static enum invoked_status status_of(const struct invocation *v)
{
    struct invocation_facts f;
    invocation_facts(v, &f);
    return f.status;
}

/* ---- lanes and dossiers --------------------------------------------------------------------- */

static struct lane *lane_of(struct desk *d, const struct invocation_facts *f)
{
    char name[LANE_TEXT];
    snprintf(name, sizeof name, "%.255s/%.255s", f->ns, f->service);
    struct lane *l = map_find(&d->lanes, str_of(name));
    if (l)
        return l;
    l = xcalloc(1, sizeof *l);
    memcpy(l->name, name, sizeof name);
    list_init(&l->queue);
    map_put(&d->lanes, str_of(name), l);
    return l;
}

/* After anything changed in it: in the round while it may begin one, away when it has nothing. */
static void lane_settle(struct desk *d, struct lane *l)
{
    bool may = l->queue.count > 0 && l->running < d->world.limits->invoke_attempts_service_max;
    if (may && !list_node_linked(&l->turn))
        list_push(&d->turns, &l->turn);
    if (!may && list_node_linked(&l->turn))
        list_remove(&d->turns, &l->turn);
    if (may)
        pump_soon(d);
    if (l->queue.count > 0 || l->running > 0)
        return;
    (void)map_remove(&d->lanes, str_of(l->name));
    free(l);
}

static struct dossier *dossier_of(struct desk *d, const struct uuid *id)
{
    char text[UUID_TEXT];
    uuid_format(id, text);
    struct dossier *c = map_find(&d->cases, str_of(text));
    if (c)
        return c;
    c = xcalloc(1, sizeof *c);
    c->desk = d;
    c->id = *id;
    memcpy(c->text, text, sizeof text);
    c->again.on_due = on_again;
    list_init(&c->waiters);
    map_put(&d->cases, str_of(text), c);
    return c;
}

static void facts_drop(struct dossier *c)
{
    free(TAKE(c->ns));
    free(TAKE(c->service));
    free(TAKE(c->host));
    free(TAKE(c->request));
    free(TAKE(c->end.take_answer));
}

static void dossier_free(struct dossier *c)
{
    facts_drop(c);
    free(c);
}

static void dossier_settle(struct dossier *c)
{
    if (c->state != CASE_QUIET || c->waiters.count > 0)
        return;
    (void)map_remove(&c->desk->cases, str_of(c->text));
    dossier_free(c);
}

static void quiet(struct dossier *c)
{
    c->state = CASE_QUIET; /* its `committed` comes next, and says what is to be done */
    dossier_settle(c);
}

static void wake(struct dossier *c)
{
    for (struct list_node *n; (n = list_first(&c->waiters)) != NULL;) {
        struct desk_waiter *w = CONTAINER_OF(n, struct desk_waiter, node);
        list_remove(&c->waiters, n);
        w->dossier = NULL;
        c->desk->counts.waiters--;
        w->on_end(w);
    }
}

static void unqueue(struct dossier *c)
{
    struct lane *l = TAKE(c->lane);
    list_remove(&l->queue, &c->node);
    c->desk->counts.queued--;
    c->state = CASE_QUIET;
    lane_settle(c->desk, l);
}

static void enqueue(struct dossier *c, const struct invocation_facts *f)
{
    c->lane = lane_of(c->desk, f);
    list_push(&c->lane->queue, &c->node);
    c->desk->counts.queued++;
    c->state = CASE_QUEUED;
    lane_settle(c->desk, c->lane);
}

/* Its place among those that run is free again. */
static void slot_free(struct dossier *c)
{
    struct lane *l = TAKE(c->lane);
    ASSERT(l->running > 0 && c->desk->counts.running > 0);
    l->running--;
    c->desk->counts.running--;
    lane_settle(c->desk, l);
    pump_soon(c->desk);
}

/* ---- inputs of the desk's own --------------------------------------------------------------- */

struct journal_key desk_key(const char *text)
{
    return (struct journal_key){ .kind = JOURNAL_INVOCATION, .ns = SPACE, .id = str_of(text) };
}

static void send(struct dossier *c, enum case_state state, void (*apply)(struct durable_input *, const struct durable_view *),
                 void (*done)(struct durable_input *, int, const struct err *))
{
    c->state = state;
    c->in = (struct durable_input){ .key = desk_key(c->text), .apply = apply, .done = done };
    durable_send(c->desk->host, &c->in);
}

static void retry_later(struct dossier *c)
{
    loop_after(c->desk->world.loop, &c->again, c->desk->world.limits->durable_retry_ms * 1000);
}

static void over_apply(struct durable_input *in, const struct durable_view *v)
{
    struct dossier *c = CONTAINER_OF(in, struct dossier, in);
    struct err e;
    if (!v->machine)
        return;
    struct invocation_end end = c->end;
    if (end.take_answer) { /* a turn may fail, and then there is another */
        end.take_answer = xcalloc(1, end.answer_size + 1);
        memcpy(end.take_answer, c->end.take_answer, end.answer_size);
    }
    enum invoked_status before = status_of(v->machine);
    int r = invocation_over(v->machine, v->turn, &end, &e);
    if (r == 0)
        desk_ended_count(c->desk, before, v->machine);
}

static void over_done(struct durable_input *in, int r, const struct err *e)
{
    struct dossier *c = CONTAINER_OF(in, struct dossier, in);
    (void)e;
    if (r < 0) {
        retry_later(c);
        return;
    }
    slot_free(c);
    facts_drop(c);
    quiet(c);
}

static void over(struct dossier *c, const struct invocation_end *end)
{
    ASSERT(c->state == CASE_READING || c->state == CASE_OUT);
    c->end = *end;
    snprintf(c->why, sizeof c->why, "%s", end->why ? end->why : "");
    c->end.why = c->why;
    send(c, CASE_TELLING, over_apply, over_done);
}

static void unseen(struct dossier *c, const char *why)
{
    over(c, &(struct invocation_end){ .came = INVOCATION_CAME_REFUSED, .attempt = c->attempt, .why = why });
}

static void start(struct dossier *c, struct str checkpoint)
{
    const struct desk_attempt a = { .id = c->id, .attempt = c->attempt, .ns = c->ns, .service = c->service, .host = c->host,
                                    .deadline_ms = c->deadline_ms, .request = { c->request, c->request_size },
                                    .checkpoint = checkpoint };
    if (c->cancel_asked) {
        unseen(c, "cancelled before the function had it");
        return;
    }
    c->state = CASE_OUT;
    c->desk->world.ops->start(c->desk->world.ctx, &a);
    free(TAKE(c->request));
}

static void row_read(struct dossier *c, uint64_t number,
                     void (*on_done)(struct journal_read *, int, const struct journal_row *, size_t, const struct err *))
{
    struct err e;
    c->read = (struct durable_history){
        .read = { .key = desk_key(c->text), .from = number, .to = number + 1, .bytes_max = 1, .on_done = on_done }
    };
    c->read.read.key.run = c->id;
    if (durable_read(c->desk->host, &c->read, &e) < 0)
        unseen(c, e.text);
}

static void on_checkpoint(struct journal_read *q, int r, const struct journal_row *rows, size_t count, const struct err *e)
{
    struct dossier *c = CONTAINER_OF(q, struct dossier, read.read);
    if (r == 0 && count > 0)
        start(c, rows[0].bytes);
    else
        unseen(c, r < 0 ? e->text : "its checkpoint is not there");
}

static void on_request(struct journal_read *q, int r, const struct journal_row *rows, size_t count, const struct err *e)
{
    struct dossier *c = CONTAINER_OF(q, struct dossier, read.read);
    if (r < 0 || count == 0) {
        unseen(c, r < 0 ? e->text : "its request is not there");
        return;
    }
    c->request_size = rows[0].bytes.size;
    c->request = xcalloc(1, c->request_size + 1);
    memcpy(c->request, rows[0].bytes.at, c->request_size);
    if (c->checkpoint_row > 0)
        row_read(c, c->checkpoint_row, on_checkpoint);
    else
        start(c, (struct str){ NULL, 0 });
}

static void begin_apply(struct durable_input *in, const struct durable_view *v)
{
    struct dossier *c = CONTAINER_OF(in, struct dossier, in);
    struct err e;
    struct invocation_facts f;
    c->begun = -CODE_NOT_FOUND;
    if (!v->machine)
        return;
    c->begun = invocation_begin(v->machine, v->turn, &e);
    invocation_facts(v->machine, &f);
    facts_drop(c);
    c->ns = xstrdup(f.ns);
    c->service = xstrdup(f.service);
    c->host = xstrdup(f.host);
    c->deadline_ms = f.deadline_ms;
    c->checkpoint_row = f.checkpoint_row;
    c->cancel_asked = false;
}

static void begin_done(struct durable_input *in, int r, const struct err *e)
{
    struct dossier *c = CONTAINER_OF(in, struct dossier, in);
    (void)e;
    if (r < 0 || c->begun < 0) {
        slot_free(c);
        c->state = CASE_LOOKING;
        if (r < 0)
            retry_later(c);
        else
            quiet(c);
        return;
    }
    c->attempt = (uint32_t)c->begun;
    c->drop_told = false;
    c->state = CASE_READING;
    c->desk->counts.attempts++;
    row_read(c, INVOCATION_ROW_REQUEST, on_request);
}

static void lost_apply(struct durable_input *in, const struct durable_view *v)
{
    struct dossier *c = CONTAINER_OF(in, struct dossier, in);
    if (!v->machine || status_of(v->machine) != INVOKED_RUNNING)
        return;
    c->desk->counts.lost++;
    invocation_lost(v->machine, v->turn);
    desk_ended_count(c->desk, INVOKED_RUNNING, v->machine);
}

static void lost_done(struct durable_input *in, int r, const struct err *e)
{
    struct dossier *c = CONTAINER_OF(in, struct dossier, in);
    (void)e;
    if (r < 0)
        retry_later(c);
    else
        quiet(c);
}

/* Nothing is done: what comes is its `committed`, which sees it as it is. */
static void look_apply(struct durable_input *in, const struct durable_view *v)
{
    (void)in;
    (void)v;
}

static void look_done(struct durable_input *in, int r, const struct err *e)
{
    struct dossier *c = CONTAINER_OF(in, struct dossier, in);
    (void)e;
    if (r < 0)
        retry_later(c);
    else
        quiet(c);
}

static void on_again(struct loop_timer *t)
{
    struct dossier *c = CONTAINER_OF(t, struct dossier, again);
    switch (c->state) {
    case CASE_LOOKING: send(c, CASE_LOOKING, look_apply, look_done); break;
    case CASE_TELLING: send(c, CASE_TELLING, over_apply, over_done); break;
    case CASE_LOSING: send(c, CASE_LOSING, lost_apply, lost_done); break;
    case CASE_QUIET:
    case CASE_QUEUED:
    case CASE_BEGINNING:
    case CASE_READING:
    case CASE_OUT: UNREACHABLE("nothing of it failed");
    }
}

/* ---- turns of services ---------------------------------------------------------------------- */

static void begin(struct dossier *c)
{
    struct desk *d = c->desk;
    list_remove(&c->lane->queue, &c->node);
    d->counts.queued--;
    c->lane->running++;
    d->counts.running++;
    send(c, CASE_BEGINNING, begin_apply, begin_done);
}

static void on_pump(struct loop_task *t)
{
    struct desk *d = CONTAINER_OF(t, struct desk, pump);
    struct list_node *n;
    while (!d->stopped && d->counts.running < d->world.limits->invoke_attempts_max && (n = list_first(&d->turns)) != NULL) {
        struct lane *l = CONTAINER_OF(n, struct lane, turn);
        list_remove(&d->turns, n); /* behind the others, if it has more */
        begin(CONTAINER_OF(list_first(&l->queue), struct dossier, node));
        lane_settle(d, l);
    }
}

/* ---- the kind ------------------------------------------------------------------------------- */

static int kind_open(void *ctx, const struct journal_key *key, struct str state, void **ret, struct err *e)
{
    struct invocation *v = NULL;
    (void)ctx;
    (void)key;
    int r = invocation_unpack(state, &v, e);
    *ret = v;
    return r;
}
static void kind_free(void *ctx, void *machine)
{
    (void)ctx;
    invocation_free(machine);
}
static void kind_pack(const void *machine, struct buf *into) { invocation_pack(machine, into); }
static struct durable_standing kind_standing(const void *machine) { return invocation_standing(machine); }
static void kind_index(void *ctx, const void *machine, struct journal_index *into)
{
    struct desk *d = ctx;
    struct invocation_facts f;
    invocation_facts(machine, &f);
    invocation_index(machine, into);
    buf_clear(&d->account);
    account_write(NULL, &f, &d->account);
    if (!d->account.overflow)
        into->extra = buf_str(&d->account);
}
static size_t kind_bytes(const void *machine) { return invocation_bytes(machine); }
static void kind_due(void *ctx, void *machine, struct durable_turn *t)
{
    enum invoked_status before = status_of(machine);
    invocation_due(machine, t);
    desk_ended_count(ctx, before, machine);
}

static void running(struct desk *d, struct dossier *c, const struct uuid *id, const struct invocation_facts *f)
{
    if (!c)
        c = dossier_of(d, id);
    if (c->state == CASE_QUEUED)
        unqueue(c);
    if (c->state == CASE_QUIET)
        send(c, CASE_LOSING, lost_apply, lost_done); /* no attempt of this process */
    c->cancel_asked = c->cancel_asked || f->cancel_asked;
    if (c->state != CASE_OUT || !f->cancel_asked || c->drop_told)
        return;
    c->drop_told = true;
    d->world.ops->drop(d->world.ctx, &c->id, c->attempt);
}

static void kind_committed(void *ctx, const struct journal_key *key, void *machine)
{
    struct desk *d = ctx;
    struct dossier *c = map_find(&d->cases, key->id);
    struct invocation_facts f;
    struct uuid id;
    invocation_facts(machine, &f);
    ASSERT(uuid_parse(key->id, &id));
    if (f.status == INVOKED_RUNNING) {
        running(d, c, &id, &f);
    } else if (f.status == INVOKED_WAITING && invocation_standing(machine).ready) {
        c = dossier_of(d, &id);
        if (c->state == CASE_QUIET)
            enqueue(c, &f);
    } else if (invoked_status_ended(f.status) && c) {
        if (c->state == CASE_QUEUED)
            unqueue(c);
        wake(c);
        dossier_settle(c);
    }
    if (invoked_status_ended(f.status) && d->on_owed && invocation_standing(machine).ready)
        d->on_owed(d->owed_ctx, &id);
}

static void kind_dropped(void *ctx, const struct journal_key *key)
{
    struct desk *d = ctx;
    struct dossier *c = map_find(&d->cases, key->id);
    if (!c)
        return;
    if (c->state == CASE_QUEUED)
        unqueue(c);
    wake(c);
    dossier_settle(c);
}

struct durable_kind desk_kind(struct desk *d)
{
    return (struct durable_kind){
        .kind = JOURNAL_INVOCATION, .ctx = d, .open = kind_open, .free = kind_free, .pack = kind_pack,
        .standing = kind_standing, .index = kind_index, .bytes = kind_bytes, .due = kind_due,
        .committed = kind_committed, .dropped = kind_dropped,
    };
}

/* ---- attempts that end, clients that wait --------------------------------------------------- */

void desk_over(struct desk *d, const struct uuid *id, const struct invocation_end *end)
{
    char text[UUID_TEXT];
    uuid_format(id, text);
    struct dossier *c = map_find(&d->cases, str_of(text));
    if (c && c->state == CASE_OUT && c->attempt == end->attempt)
        over(c, end);
    else
        free(end->take_answer);
}

void desk_wait(struct desk *d, const struct uuid *id, struct desk_waiter *w)
{
    struct dossier *c = dossier_of(d, id);
    w->dossier = c;
    list_push(&c->waiters, &w->node);
    d->counts.waiters++;
}

void desk_wait_stop(struct desk_waiter *w)
{
    struct dossier *c = TAKE(w->dossier);
    if (!c)
        return;
    list_remove(&c->waiters, &w->node);
    c->desk->counts.waiters--;
    dossier_settle(c);
}

/* ---- life ----------------------------------------------------------------------------------- */

struct desk *desk_new(const struct desk_world *w)
{
    struct desk *d = xcalloc(1, sizeof *d);
    d->world = *w;
    map_init(&d->cases, w->seed);
    map_init(&d->lanes, w->seed);
    list_init(&d->turns);
    d->pump.run = on_pump;
    buf_init(&d->account, ACCOUNT_BYTES_MAX);
    return d;
}

void desk_attach(struct desk *d, struct durable_host *h) { d->host = h; }

void desk_on_owed(struct desk *d, void (*on_owed)(void *ctx, const struct uuid *id), void *ctx)
{
    d->on_owed = on_owed;
    d->owed_ctx = ctx;
}

void desk_stop(struct desk *d) { d->stopped = true; }
bool desk_idle(const struct desk *d) { return d->counts.running == 0; }
struct durable_host *desk_host(const struct desk *d) { return d->host; }
const struct limits *desk_limits(const struct desk *d) { return d->world.limits; }
struct desk_counts *desk_tally(struct desk *d) { return &d->counts; }

void desk_free(struct desk *d)
{
    if (!d)
        return;
    loop_undefer(d->world.loop, &d->pump);
    const struct map_slot *s;
    for (uint32_t i = 0; (s = map_next(&d->cases, &i)) != NULL;) {
        struct dossier *c = s->value;
        loop_cancel(d->world.loop, &c->again);
        LIST_EACH(&c->waiters, n, tmp)
            CONTAINER_OF(n, struct desk_waiter, node)->dossier = NULL;
        dossier_free(c);
    }
    for (uint32_t i = 0; (s = map_next(&d->lanes, &i)) != NULL;)
        free(s->value);
    map_done(&d->cases);
    map_done(&d->lanes);
    buf_done(&d->account);
    free(d);
}

void desk_counts(const struct desk *d, struct desk_counts *ret) { *ret = d->counts; }

void desk_check(const struct desk *d)
{
    uint32_t queued = 0, running_now = 0;
    const struct map_slot *s;
    for (uint32_t i = 0; (s = map_next(&d->cases, &i)) != NULL;) {
        const struct dossier *c = s->value;
        bool runs = c->state == CASE_BEGINNING || c->state == CASE_READING || c->state == CASE_OUT ||
                    c->state == CASE_TELLING;
        queued += c->state == CASE_QUEUED;
        running_now += runs;
        ASSERT((c->lane != NULL) == (runs || c->state == CASE_QUEUED));
        ASSERT(c->state != CASE_QUIET || c->waiters.count > 0);
    }
    for (uint32_t i = 0; (s = map_next(&d->lanes, &i)) != NULL;) {
        const struct lane *l = s->value;
        ASSERT(l->running <= d->world.limits->invoke_attempts_service_max);
        ASSERT(l->running + l->queue.count > 0);
    }
    ASSERT(queued == d->counts.queued && running_now == d->counts.running);
    ASSERT(running_now <= d->world.limits->invoke_attempts_max);
}
