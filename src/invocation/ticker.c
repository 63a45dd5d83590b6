#include "invocation/ticker.h"
#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>

#define SPACE STR("schedules") /* all of one kind are in one: uids are unique */
enum { UID_MAX = 64, NAME_MAX_BYTES = UID_MAX + 24, REQUEST_MAX = 1 << 20 };

enum chore_state {
    CHORE_ASKING,     /* the desk has been asked to accept, to look, to cancel */
    CHORE_WAITING,    /* for its end */
    CHORE_RETRYING,   /* the desk or the disk refused: again after a while */
    CHORE_TELLING,    /* what came of it is being written down */
};
struct chore { /* of one tick */
    struct ticker *ticker;
    char uid[UID_MAX], name[NAME_MAX_BYTES];
    uint64_t number;
    enum chore_state state;
    bool cancel, cancelled; /* wanted; and asked for, by this process */
    bool accepted;          /* TELLING: that; else its end */
    enum invoked_status status;
    struct desk_ask ask;
    struct desk_waiter waiter;
    struct durable_input in;
    struct loop_timer again;
    struct buf request;
    char *texts[8]; /* of ask.spec */
};
struct errand { /* what an object says, on its way */
    struct ticker *ticker;
    struct list_node node;
    struct durable_input in;
    struct loop_timer again;
    struct timetable_object object; /* its texts are its own */
    struct uuid run;
    bool drop;
};
struct ticker {
    struct ticker_world world;
    struct desk *desk;
    struct durable_host *host;
    struct map chores;
    struct list errands;
    struct ticker_counts counts;
};

static struct journal_key key_of(const char *uid)
{
    return (struct journal_key){ .kind = JOURNAL_TIMETABLE, .ns = SPACE, .id = str_of(uid) };
}

static void retry_soon(struct ticker *k, struct loop_timer *t)
{
    loop_after(k->world.loop, t, k->world.limits->durable_retry_ms * 1000);
}

/* ---- chores ------------------------------------------------------------------------------------ */

static void texts_drop(struct chore *c)
{
    for (size_t i = 0; i < COUNT_OF(c->texts); i++)
        free(TAKE(c->texts[i]));
    buf_done(&c->request);
}

static void chore_free(struct chore *c)
{
    desk_wait_stop(&c->waiter);
    loop_cancel(c->ticker->world.loop, &c->again);
    texts_drop(c);
    free(c);
}

static void chore_over(struct chore *c)
{
    (void)map_remove(&c->ticker->chores, str_of(c->name));
    c->ticker->counts.waiting--;
    chore_free(c);
}

static void told_apply(struct durable_input *in, const struct durable_view *v)
{
    struct chore *c = CONTAINER_OF(in, struct chore, in);
    if (!v->machine)
        return;
    if (c->accepted)
        timetable_accepted(v->machine, v->turn, c->number);
    else
        timetable_ended(v->machine, v->turn, c->number, c->status);
}

static void told_done(struct durable_input *in, int r, const struct err *e)
{
    struct chore *c = CONTAINER_OF(in, struct chore, in);
    (void)e;
    if (r == 0) {
        chore_over(c); /* its `committed` comes next, and says what is to be done */
        return;
    }
    retry_soon(c->ticker, &c->again);
}

static void tell(struct chore *c)
{
    c->state = CHORE_TELLING;
    c->in = (struct durable_input){ .key = key_of(c->uid), .apply = told_apply, .done = told_done };
    durable_send(c->ticker->host, &c->in);
}

static void look(struct chore *c);
static void on_looked(struct desk_ask *q, int r, const struct desk_told *told, const struct err *e);

static void on_end(struct desk_waiter *w) { look(CONTAINER_OF(w, struct chore, waiter)); }

static void ask(struct chore *c, enum desk_verb verb)
{
    struct uuid id = c->ask.id;
    c->state = CHORE_ASKING;
    c->ask = (struct desk_ask){ .verb = verb, .id = id, .on_done = on_looked };
    desk_ask(c->ticker->desk, &c->ask);
}

static void look(struct chore *c)
{
    bool cancel = c->cancel && !c->cancelled;
    c->cancelled = c->cancelled || cancel;
    ask(c, cancel ? DESK_CANCEL : DESK_LOOK);
}

/* Of a look or a cancel: one that cannot be cancelled has ended, and the next look says how. */
static void on_looked(struct desk_ask *q, int r, const struct desk_told *told, const struct err *e)
{
    struct chore *c = CONTAINER_OF(q, struct chore, ask);
    (void)e;
    if (r == -CODE_NOT_FOUND) {
        c->status = INVOKED_DONE; /* its retention is over */
        tell(c);
    } else if (r == -CODE_PRECONDITION && q->verb == DESK_CANCEL) {
        look(c);
    } else if (r < 0) {
        c->state = CHORE_RETRYING;
        retry_soon(c->ticker, &c->again);
    } else if (invoked_status_ended(told->facts.status)) {
        c->status = told->facts.status;
        tell(c);
    } else if (c->cancel && !c->cancelled) {
        look(c);
    } else {
        c->state = CHORE_WAITING;
        desk_wait(c->ticker->desk, &c->ask.id, &c->waiter);
    }
}

static void on_accepted(struct desk_ask *q, int r, const struct desk_told *told, const struct err *e)
{
    struct chore *c = CONTAINER_OF(q, struct chore, ask);
    struct ticker *k = c->ticker;
    (void)e;
    texts_drop(c);
    if (r < 0) { /* no room, or the disk: the tick stands in the state until it is taken */
        k->counts.refused++;
        c->state = CHORE_RETRYING;
        retry_soon(k, &c->again);
        return;
    }
    k->counts.accepted += told->fresh;
    k->counts.repeated += !told->fresh;
    c->accepted = true;
    tell(c);
}

static struct str keep(struct chore *c, size_t at, struct str text)
{
    c->texts[at] = xcalloc(1, text.size + 1);
    if (text.size > 0)
        memcpy(c->texts[at], text.at, text.size);
    return (struct str){ c->texts[at], text.size };
}

static void accept(struct chore *c, const struct timetable *t)
{
    struct ticker *k = c->ticker;
    struct timetable_facts f;
    struct timetable_call call;
    struct invocation_spec spec = { 0 };
    timetable_facts(t, &f);
    buf_init(&c->request, REQUEST_MAX);
    timetable_call(t, c->number, "", &c->request, &call); /* whose it is; the host comes next */
    AUTO_FREE char *method = xstrndup(call.method.at, call.method.size);
    k->world.ops->service(k->world.ctx, call.ns, call.service, method, &spec);
    spec.host = keep(c, 0, spec.host);
    spec.callback = keep(c, 1, spec.callback);
    spec.callback_secret = keep(c, 2, spec.callback_secret);
    buf_clear(&c->request);
    timetable_call(t, c->number, spec.host.at, &c->request, &call);
    spec.ns = keep(c, 3, str_of(call.ns));
    spec.service = keep(c, 4, str_of(call.service));
    spec.key = keep(c, 5, str_of(call.key));
    spec.method = keep(c, 6, call.method);
    spec.path = keep(c, 7, call.path);
    spec.request = buf_str(&c->request);
    spec.deadline_ms = k->world.wall_ns(k->world.ctx) / 1000000 + call.deadline_ms;
    memcpy(spec.fingerprint, call.fingerprint, sizeof spec.fingerprint);
    ASSERT(!c->request.overflow);
    c->state = CHORE_ASKING;
    c->ask = (struct desk_ask){ .verb = DESK_ACCEPT, .id = call.id, .spec = spec, .on_done = on_accepted };
    desk_ask(k->desk, &c->ask);
}

/* Nothing is done: what comes is its `committed`, which sees it as it is. */
static void see_apply(struct durable_input *in, const struct durable_view *v)
{
    (void)in;
    (void)v;
}

static void see_done(struct durable_input *in, int r, const struct err *e)
{
    struct chore *c = CONTAINER_OF(in, struct chore, in);
    (void)e;
    if (r < 0)
        retry_soon(c->ticker, &c->again);
    else
        chore_over(c);
}

static void on_again(struct loop_timer *t)
{
    struct chore *c = CONTAINER_OF(t, struct chore, again);
    if (c->state == CHORE_TELLING) {
        tell(c);
        return;
    }
    c->in = (struct durable_input){ .key = key_of(c->uid), .apply = see_apply, .done = see_done };
    durable_send(c->ticker->host, &c->in);
}

static struct chore *chore_new(struct ticker *k, const char *uid, const char *name, uint64_t number)
{
    struct chore *c = xcalloc(1, sizeof *c);
    c->ticker = k;
    c->number = number;
    snprintf(c->uid, sizeof c->uid, "%.*s", UID_MAX - 1, uid);
    snprintf(c->name, sizeof c->name, "%.*s", NAME_MAX_BYTES - 1, name);
    c->waiter.on_end = on_end;
    c->again.on_due = on_again;
    buf_init(&c->request, REQUEST_MAX);
    map_put(&k->chores, str_of(c->name), c);
    k->counts.waiting++;
    return c;
}

/* ---- what objects say ---------------------------------------------------------------------------- */

static void errand_free(struct errand *n)
{
    list_remove(&n->ticker->errands, &n->node);
    loop_cancel(n->ticker->world.loop, &n->again);
    struct str *texts[] = { &n->object.ns, &n->object.name, &n->object.uid, &n->object.spec, &n->object.trigger };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        free((void *)(uintptr_t)texts[i]->at);
    free(n);
}

static void errand_apply(struct durable_input *in, const struct durable_view *v)
{
    struct errand *n = CONTAINER_OF(in, struct errand, in);
    const struct timetable_zones *zones = n->ticker->world.zones;
    struct timetable *made = NULL;
    struct err e; /* what is refused was let in by an older hob: it stays as it was */
    if (n->drop && v->machine)
        v->turn->changed = v->turn->forget = true;
    else if (!n->drop && v->machine)
        (void)!timetable_configure(v->machine, v->turn, &n->object, zones, &e);
    else if (!n->drop && timetable_new(&n->object, v->fresh->now_ns, zones, &made, &e) == 0) {
        struct durable_turn *t = durable_turn_create(v->fresh, &n->run, made);
        t->changed = t->indexed = true;
    }
}

static void errand_done(struct durable_input *in, int r, const struct err *e)
{
    struct errand *n = CONTAINER_OF(in, struct errand, in);
    (void)e;
    if (r < 0)
        retry_soon(n->ticker, &n->again);
    else
        errand_free(n);
}

static void errand_send(struct errand *n)
{
    n->in = (struct durable_input){ .key = { .kind = JOURNAL_TIMETABLE, .ns = SPACE, .id = n->object.uid },
                                    .creates = false, .apply = errand_apply, .done = errand_done };
    durable_send(n->ticker->host, &n->in);
}

static void on_errand_again(struct loop_timer *t) { errand_send(CONTAINER_OF(t, struct errand, again)); }

static struct str copy(struct str s)
{
    char *text = xcalloc(1, s.size + 1);
    if (s.size > 0)
        memcpy(text, s.at, s.size);
    return (struct str){ text, s.size };
}

static void errand_new(struct ticker *k, const struct timetable_object *o, bool drop)
{
    if (o->uid.size == 0 || o->uid.size >= UID_MAX)
        return;
    struct errand *n = xcalloc(1, sizeof *n);
    n->ticker = k;
    n->drop = drop;
    n->again.on_due = on_errand_again;
    n->object = (struct timetable_object){ copy(o->ns), copy(o->name), copy(o->uid), copy(o->spec), copy(o->trigger), o->generation };
    if (!uuid_parse(o->uid, &n->run))
        n->run.at[0] = 1; /* not of ours, but as good: an id of this kind has one run */
    list_push(&k->errands, &n->node);
    errand_send(n);
}

void ticker_put(struct ticker *k, const struct timetable_object *o) { errand_new(k, o, false); }

void ticker_drop(struct ticker *k, struct str uid) { errand_new(k, &(struct timetable_object){ .uid = uid }, true); }

/* ---- the kind -------------------------------------------------------------------------------------- */

static int kind_open(void *ctx, const struct journal_key *key, struct str state, void **ret, struct err *e)
{
    struct ticker *k = ctx;
    struct timetable *t = NULL;
    (void)key;
    int r = timetable_unpack(state, k->world.zones, &t, e);
    *ret = t;
    return r;
}
static void kind_free(void *ctx, void *machine)
{
    (void)ctx;
    timetable_free(machine);
}
static void kind_pack(const void *machine, struct buf *into) { timetable_pack(machine, into); }
static struct durable_standing kind_standing(const void *machine) { return timetable_standing(machine); }
static void kind_index(void *ctx, const void *machine, struct journal_index *into)
{
    (void)ctx;
    timetable_index(machine, into);
}
static size_t kind_bytes(const void *machine) { return timetable_bytes(machine); }
static void kind_due(void *ctx, void *machine, struct durable_turn *t)
{
    (void)ctx;
    timetable_due(machine, t);
}

static void see(struct chore *c, const struct timetable_want *w)
{
    c->cancel = w->cancel;
    if (c->state == CHORE_WAITING && c->cancel && !c->cancelled) {
        desk_wait_stop(&c->waiter);
        look(c);
    }
}

static void kind_committed(void *ctx, const struct journal_key *key, void *machine)
{
    struct ticker *k = ctx;
    struct timetable_facts f;
    struct timetable_want w;
    (void)key;
    timetable_facts(machine, &f);
    for (size_t n = 0; timetable_wants(machine, n, &w); n++) {
        char name[NAME_MAX_BYTES];
        snprintf(name, sizeof name, "%.63s/%llu", f.uid, (unsigned long long)w.number);
        struct chore *c = map_find(&k->chores, str_of(name));
        if (c) {
            see(c, &w);
            continue;
        }
        if (w.wish == TIMETABLE_ACCEPT && !k->world.ops->exists(k->world.ctx, f.ns, f.name, f.uid)) {
            ticker_drop(k, str_of(f.uid));
            return;
        }
        c = chore_new(k, f.uid, name, w.number);
        c->cancel = w.cancel;
        c->ask.id = timetable_id(machine, w.number);
        if (w.wish == TIMETABLE_ACCEPT)
            accept(c, machine);
        else
            look(c);
    }
    k->world.ops->on_change(k->world.ctx, &f);
}

struct durable_kind ticker_kind(struct ticker *k)
{
    return (struct durable_kind){
        .kind = JOURNAL_TIMETABLE, .ctx = k, .open = kind_open, .free = kind_free, .pack = kind_pack,
        .standing = kind_standing, .index = kind_index, .bytes = kind_bytes, .due = kind_due, .committed = kind_committed,
    };
}

/* ---- life ------------------------------------------------------------------------------------------ */

struct ticker *ticker_new(const struct ticker_world *w)
{
    struct ticker *k = xcalloc(1, sizeof *k);
    k->world = *w;
    map_init(&k->chores, w->seed);
    list_init(&k->errands);
    return k;
}

void ticker_attach(struct ticker *k, struct desk *d, struct durable_host *h)
{
    k->desk = d;
    k->host = h;
}

void ticker_free(struct ticker *k)
{
    if (!k)
        return;
    const struct map_slot *s;
    for (uint32_t i = 0; (s = map_next(&k->chores, &i)) != NULL;)
        chore_free(s->value);
    map_done(&k->chores);
    LIST_EACH(&k->errands, n, tmp)
        errand_free(CONTAINER_OF(n, struct errand, node));
    free(k);
}

struct ticker_counts ticker_counts(const struct ticker *k) { return k->counts; }
