#include "invocation/courier.h"
#include "base/map.h"
#include "invocation/desk_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum { PUT_OFF_MS = 2000, WHY_MAX = 256 };

enum try_state {
    TRY_WAITING, /* in the queue */
    TRY_READING, /* what is to be told is read off its state */
    TRY_OUT,     /* the receiver has it, or will */
    TRY_TELLING, /* what came of it is being written down */
};
struct courier_try {
    struct courier *courier;
    struct list_node node; /* waiting */
    struct durable_input in;
    struct loop_timer again;
    struct uuid id;
    char text[UUID_TEXT];
    enum try_state state;
    bool owed;    /* as its state said */
    bool put_off; /* nothing was sent */
    bool given_up;
    uint32_t redrives;
    char *ns, *url, *secret; /* as its state said */
    struct buf body;
    struct invocation_called came;
    char why[WHY_MAX];
};
struct courier {
    struct courier_world world;
    struct durable_host *host;
    struct map tries;
    struct list queue;
    struct loop_task pump;
    struct courier_counts counts;
    bool stopped;
};

void courier_means(const struct courier_answer *a, struct invocation_called *ret, char why[128])
{
    *ret = (struct invocation_called){ .taken = a->status >= 200 && a->status <= 299, .never = a->status == 410,
                                       .retry_after_ms = a->retry_after_ms, .why = why };
    if (a->status == 0)
        snprintf(why, 128, "%.120s", a->why ? a->why : "no answer came");
    else
        snprintf(why, 128, "the receiver answered %d%s", a->status, ret->never ? ": it wants none any more" : "");
}

/* ---- records ----------------------------------------------------------------------------------- */

static void content_drop(struct courier_try *y)
{
    free(TAKE(y->ns));
    free(TAKE(y->url));
    free(TAKE(y->secret));
    buf_done(&y->body);
    buf_init(&y->body, CALLBACK_EVENT_MAX);
}

static void try_free(struct courier_try *y)
{
    content_drop(y);
    buf_done(&y->body);
    free(y);
}

static void pump_soon(struct courier *c)
{
    if (!c->stopped)
        loop_defer(c->world.loop, &c->pump);
}

static void over(struct courier_try *y)
{
    struct courier *c = y->courier;
    ASSERT(c->counts.running > 0);
    c->counts.running--;
    (void)map_remove(&c->tries, str_of(y->text));
    try_free(y);
    pump_soon(c);
}

static void send(struct courier_try *y, enum try_state s, void (*apply)(struct durable_input *, const struct durable_view *),
                 void (*done)(struct durable_input *, int, const struct err *))
{
    y->state = s;
    y->in = (struct durable_input){ .key = desk_key(y->text), .apply = apply, .done = done };
    durable_send(y->courier->host, &y->in);
}

/* ---- what came of it ------------------------------------------------------------------------------ */

static void told_apply(struct durable_input *in, const struct durable_view *v)
{
    struct courier_try *y = CONTAINER_OF(in, struct courier_try, in);
    if (!v->machine)
        return;
    struct invocation_facts f;
    if (y->put_off)
        invocation_callback_later(v->machine, v->turn, PUT_OFF_MS);
    else
        invocation_callback_over(v->machine, v->turn, &y->came);
    invocation_facts(v->machine, &f);
    y->given_up = !y->put_off && f.callback_given_up;
}

static void told_done(struct durable_input *in, int r, const struct err *e)
{
    struct courier_try *y = CONTAINER_OF(in, struct courier_try, in);
    struct courier *c = y->courier;
    (void)e;
    if (r < 0) {
        loop_after(c->world.loop, &y->again, c->world.limits->durable_retry_ms * 1000);
        return;
    }
    c->counts.put_off += y->put_off;
    c->counts.taken += !y->put_off && y->came.taken;
    c->counts.given_up += y->given_up;
    over(y);
}

static void on_again(struct loop_timer *t)
{
    send(CONTAINER_OF(t, struct courier_try, again), TRY_TELLING, told_apply, told_done);
}

static void tell(struct courier_try *y)
{
    y->came.redrives = y->redrives;
    y->came.tries_max = (uint32_t)y->courier->world.limits->invoke_callback_tries_max;
    send(y, TRY_TELLING, told_apply, told_done);
}

void courier_answered(struct courier_try *y, const struct courier_answer *a)
{
    ASSERT(y->state == TRY_OUT);
    courier_means(a, &y->came, y->why);
    tell(y);
}

static void failed(struct courier_try *y, const struct err *e)
{
    snprintf(y->why, sizeof y->why, "%.200s", e->text);
    y->came = (struct invocation_called){ .why = y->why };
    tell(y);
}

static void put_off(struct courier_try *y)
{
    y->put_off = true;
    tell(y);
}

/* ---- one try -------------------------------------------------------------------------------------- */

static void wipe(struct buf *b)
{
    if (b->size > 0)
        explicit_bzero(buf_at(b), b->size);
    buf_done(b);
}

static int headers_write(struct courier_try *y, struct buf *into, struct err *e)
{
    const struct courier_world *w = &y->courier->world;
    struct buf secret, key;
    int r = 0;
    buf_init(&secret, CALLBACK_KEY_MAX * 2);
    buf_init(&key, CALLBACK_KEY_MAX * 2);
    if (y->secret[0])
        r = w->ops->secret(w->ctx, y->ns, y->secret, &secret, e);
    if (r == 0 && y->secret[0])
        r = callback_key_read(buf_str(&secret), &key, e);
    struct str bytes = buf_str(&key);
    if (r == 0)
        callback_headers(&y->id, y->redrives, w->wall_ns(w->ctx) / 1000000000, y->secret[0] ? &bytes : NULL,
                         buf_str(&y->body), into);
    wipe(&secret);
    wipe(&key);
    return r;
}

static void out(struct courier_try *y)
{
    struct courier *c = y->courier;
    struct buf headers;
    struct err e;
    buf_init(&headers, KIB(4));
    int r = y->body.overflow ? err_set(&e, CODE_EXHAUSTED, "the event is larger than 16384 bytes")
                             : headers_write(y, &headers, &e);
    if (r < 0) {
        failed(y, &e);
    } else {
        y->state = TRY_OUT;
        r = c->world.ops->post(c->world.ctx, y, y->url, buf_str(&headers), buf_str(&y->body), &e);
        c->counts.tries += r >= 0;
        if (r < 0)
            put_off(y);
    }
    buf_done(&headers);
}

static void read_apply(struct durable_input *in, const struct durable_view *v)
{
    struct courier_try *y = CONTAINER_OF(in, struct courier_try, in);
    struct invocation_facts f;
    content_drop(y);
    y->owed = v->machine && invocation_wants(v->machine, v->turn->now_ns) == INVOCATION_WANTS_CALLBACK;
    if (!y->owed)
        return;
    invocation_facts(v->machine, &f);
    y->redrives = f.redrives;
    y->ns = xstrdup(f.ns);
    y->url = xstrdup(f.callback);
    y->secret = xstrdup(f.callback_secret);
    callback_event(&f, &y->id, &y->body);
}

static void read_done(struct durable_input *in, int r, const struct err *e)
{
    struct courier_try *y = CONTAINER_OF(in, struct courier_try, in);
    (void)e;
    if (y->courier->stopped)
        over(y); /* its state says what is owed: the next process sees to it */
    else if (r < 0)
        put_off(y);
    else if (y->owed)
        out(y);
    else
        over(y);
}

static void on_pump(struct loop_task *t)
{
    struct courier *c = CONTAINER_OF(t, struct courier, pump);
    struct list_node *n;
    while (!c->stopped && c->counts.running < c->world.limits->invoke_callbacks_max && (n = list_first(&c->queue)) != NULL) {
        struct courier_try *y = CONTAINER_OF(n, struct courier_try, node);
        list_remove(&c->queue, n);
        c->counts.waiting--;
        c->counts.running++;
        send(y, TRY_READING, read_apply, read_done);
    }
}

/* ---- from the desk -------------------------------------------------------------------------------- */

static void on_owed(void *ctx, const struct uuid *id)
{
    struct courier *c = ctx;
    char text[UUID_TEXT];
    uuid_format(id, text);
    if (map_find(&c->tries, str_of(text)))
        return; /* it is on its way */
    struct courier_try *y = xcalloc(1, sizeof *y);
    y->courier = c;
    y->id = *id;
    memcpy(y->text, text, sizeof text);
    y->again.on_due = on_again;
    buf_init(&y->body, CALLBACK_EVENT_MAX);
    map_put(&c->tries, str_of(y->text), y);
    if (c->counts.waiting >= c->world.limits->invoke_waiting_max) {
        c->counts.running++;
        put_off(y);
        return;
    }
    list_push(&c->queue, &y->node);
    c->counts.waiting++;
    pump_soon(c);
}

/* ---- life ----------------------------------------------------------------------------------------- */

struct courier *courier_new(const struct courier_world *w)
{
    struct courier *c = xcalloc(1, sizeof *c);
    c->world = *w;
    map_init(&c->tries, w->seed);
    list_init(&c->queue);
    c->pump.run = on_pump;
    return c;
}

void courier_attach(struct courier *c, struct desk *d, struct durable_host *h)
{
    c->host = h;
    desk_on_owed(d, on_owed, c);
}

void courier_stop(struct courier *c) { c->stopped = true; }

bool courier_idle(const struct courier *c) { return c->counts.running == 0; }

void courier_free(struct courier *c)
{
    if (!c)
        return;
    loop_undefer(c->world.loop, &c->pump);
    const struct map_slot *s;
    for (uint32_t i = 0; (s = map_next(&c->tries, &i)) != NULL;) {
        struct courier_try *y = s->value;
        loop_cancel(c->world.loop, &y->again);
        try_free(y);
    }
    map_done(&c->tries);
    free(c);
}

struct courier_counts courier_counts(const struct courier *c) { return c->counts; }

void courier_check(const struct courier *c)
{
    uint32_t waiting = 0, running = 0;
    const struct map_slot *s;
    for (uint32_t i = 0; (s = map_next(&c->tries, &i)) != NULL;) {
        const struct courier_try *y = s->value;
        waiting += y->state == TRY_WAITING && list_node_linked(&y->node);
        running += !list_node_linked(&y->node);
        ASSERT(list_node_linked(&y->node) == (y->state == TRY_WAITING));
    }
    ASSERT(waiting == c->counts.waiting && running == c->counts.running && waiting == c->queue.count);
}
