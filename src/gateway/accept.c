#include "gateway/accept.h"
#include "artifact/hasher.h"
#include "codec/callback_target.h"
#include "gateway/deadline.h"
#include "gateway/prefer.h"
#include "invocation/account.h"
#include "net/http1_write.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    LOOK_US = 250000, /* while hob stops: whether what is awaited can still end in this process */
    DEADLINE_DAYS_MAX = 36500,
};

struct accepted {
    struct client *client; /* NULL: it left, and the desk has not answered yet */
    struct desk *desk;
    struct desk_ask ask;
    struct desk_waiter waiter;
    struct prefer prefer;
    struct uuid id;
    struct invoke_policy policy;
    bool asking;
    bool look, result; /* asks about one; for its answer */
    bool told, fresh;  /* it was accepted; by this request */
    uint64_t until_us; /* waits so long for the end; 0: not at all */
    uint64_t look_us;  /* next look at it while hob stops */
    int64_t deadline_ms;
    char *host, *tag; /* as it was routed by */
    char *ns, *service, *method, *target, *path, *type, *callback, *secret; /* of an accept */
    struct buf head, content, request, answer;
    uint64_t held; /* of the desk's */
    bool bodied;
};

static void on_end(struct desk_waiter *w);

/* ---- memory --------------------------------------------------------------------------------- */

static uint64_t now_of(const struct client *c) { return loop_now_us(c->ingress->loop); }

static char *copy(struct str s)
{
    char *text = xcalloc(1, s.size + 1);
    if (s.size > 0)
        memcpy(text, s.at, s.size);
    return text;
}

static void accepted_free(struct accepted *a)
{
    char *texts[] = { a->host, a->tag, a->ns, a->service, a->method, a->target, a->path, a->type, a->callback, a->secret };
    struct buf *bufs[] = { &a->head, &a->content, &a->request, &a->answer };
    ASSERT(!a->asking && !a->waiter.dossier);
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        free(texts[i]);
    for (size_t i = 0; i < COUNT_OF(bufs); i++)
        buf_done(bufs[i]);
    desk_hold(a->desk, &a->held, 0);
    free(a);
}

void accept_leave(struct client *c)
{
    struct accepted *a = TAKE(c->x.accepted);
    if (!a)
        return;
    a->client = NULL;
    desk_wait_stop(&a->waiter);
    if (!a->asking)
        accepted_free(a);
}

static struct accepted *accepted_new(struct client *c, const struct uuid *id)
{
    struct accepted *a = xcalloc(1, sizeof *a);
    const struct limits *l = c->ingress->limits;
    a->client = c;
    a->desk = c->ingress->desk;
    a->id = *id;
    a->waiter.on_end = on_end;
    a->host = copy(c->head.host);
    a->tag = copy(http1_field(&c->head, HTTP_FIELD_KNATIVE_SERVING_TAG));
    buf_init(&a->head, client_out_bytes_max(c->ingress));
    buf_init(&a->content, l->invoke_request_bytes_max);
    buf_init(&a->request, client_out_bytes_max(c->ingress) + l->invoke_request_bytes_max);
    buf_init(&a->answer, MAX(l->journal_value_bytes_max, (uint64_t)ACCOUNT_BYTES_MAX));
    c->x.accepted = a;
    return a;
}

/* No record is made of it: its attempts have theirs. */
static void unroute(struct client *c)
{
    struct exchange *x = &c->x;
    if (!x->routed)
        return;
    x->routed = false;
    c->ingress->counters.in_flight--;
    free(TAKE(x->note));
}

/* ---- the beginning -------------------------------------------------------------------------- */

static int refused(struct problem *ret, enum problem_kind kind, const struct err *e)
{
    *ret = (struct problem){ .kind = kind, .detail = e->text, .retry_after_s = kind == PROBLEM_NOT_KEPT ? 1 : 0 };
    return -1;
}

static uint64_t wait_until(const struct client *c, uint64_t wait_ms)
{
    return now_of(c) + MIN(wait_ms, c->ingress->limits->invoke_wait_ms_max) * 1000;
}

/* "…&wait=5": of a look. */
static bool wait_param(struct str query, uint64_t *ret_ms)
{
    while (query.size > 0) {
        struct str pair = str_cut(&query, '&'), name = str_cut(&pair, '=');
        if (str_is(name, "wait"))
            return prefer_seconds(pair, ret_ms);
    }
    return true;
}

static int look_begin(struct client *c, const struct uuid *id, bool result, struct problem *ret, struct err *e)
{
    uint64_t wait_ms = 0;
    if (!wait_param(c->head.query, &wait_ms)) {
        err_set(e, CODE_INVALID, "wait: seconds expected, as in ?wait=10");
        return refused(ret, PROBLEM_BAD_HEADER, e);
    }
    struct accepted *a = accepted_new(c, id);
    a->look = true;
    a->result = result;
    a->until_us = wait_ms > 0 ? wait_until(c, wait_ms) : 0;
    return 1;
}

/* Of the invocation, from the caller's word alone: how long one attempt may take is the function's affair. */
static void deadline_take(struct accepted *a, const struct http1_head *h, int64_t wall_ms)
{
    uint64_t left_ms;
    struct err e;
    if (http1_has(h, HTTP_FIELD_HOB_DEADLINE) &&
        deadline_parse(http1_field(h, HTTP_FIELD_HOB_DEADLINE), wall_ms, &left_ms, &e) == 0 &&
        left_ms < DEADLINE_DAYS_MAX * UINT64_C(86400000))
        a->deadline_ms = wall_ms + (int64_t)left_ms;
}

/* Who is told of the end: whom the client names, if it may, else whom the Service does. Empty: nobody. */
static int callback_read(const struct client *c, bool durable, struct str *ret, struct err *e)
{
    const struct invoke_policy *p = c->x.policy.invoke;
    struct str named = http1_field(&c->head, HTTP_FIELD_HOB_CALLBACK);
    *ret = str_of(p->callback ? p->callback : "");
    if (!named.at)
        return 0;
    if (!durable)
        return err_set(e, CODE_INVALID, "Hob-Callback: only the end of a durable invocation is told: add Prefer: respond-async or "
                                        "an Idempotency-Key");
    *ret = named;
    int r = callback_target_check(named, e);
    return r < 0 ? r : callback_target_allowed(named, str_of(p->callback_hosts ? p->callback_hosts : ""), e);
}

static void request_note(struct accepted *a, const struct client *c, const struct prefer *d, struct str callback)
{
    const struct http1_head *h = &c->head;
    const struct exchange *x = &c->x;
    a->prefer = *d;
    a->policy = *x->policy.invoke;
    a->callback = copy(callback);
    a->secret = xstrdup(callback.size > 0 && a->policy.callback_secret ? a->policy.callback_secret : "");
    a->policy.callback = a->policy.callback_hosts = a->policy.callback_secret = NULL; /* the Revision may go before this does */
    a->ns = xstrdup(x->policy.ns);
    a->service = xstrdup(x->policy.service);
    a->method = copy(h->method);
    a->target = copy(h->target);
    a->path = copy(h->path);
    a->type = copy(http1_field(h, HTTP_FIELD_CONTENT_TYPE));
    a->bodied = h->framing != HTTP1_BODY_NONE || h->content_length == 0;
    deadline_take(a, h, x->record.wall_ms);
    if (d->waits || !d->async)
        a->until_us = d->waits ? wait_until(c, d->wait_ms) : x->deadline_us;
    a->until_us = MIN(a->until_us, x->deadline_us);
}

int accept_begin(struct client *c, struct problem *ret, struct err *e)
{
    struct exchange *x = &c->x;
    const struct http1_head *h = &c->head;
    struct ingress *in = c->ingress;
    struct prefer d;
    struct str callback;
    struct uuid id;
    bool result;
    if (!in->desk || c->inner || x->grpc || x->upgrade || !x->policy.invoke)
        return 0;
    if ((x->method_id == HTTP_GET || x->method_id == HTTP_HEAD) && prefer_is_look(h->path, &id, &result))
        return look_begin(c, &id, result, ret, e);
    if (prefer_read(h, x->policy.invoke->durable_events, &d, e) < 0)
        return refused(ret, PROBLEM_BAD_HEADER, e);
    if (callback_read(c, prefer_is_durable(&d), &callback, e) < 0)
        return refused(ret, PROBLEM_BAD_HEADER, e);
    if (!prefer_is_durable(&d))
        return 0;
    if (h->framing == HTTP1_BODY_LENGTH && h->body_bytes > in->limits->invoke_request_bytes_max) {
        in->counters.limits[INGRESS_LIMIT_invoke_request_bytes_max]++;
        err_set(e, CODE_EXHAUSTED, "the content is over invoke_request_bytes_max (%llu bytes): a durable invocation keeps all of it",
                (unsigned long long)in->limits->invoke_request_bytes_max);
        return refused(ret, PROBLEM_TOO_LARGE, e);
    }
    request_note(accepted_new(c, &x->record.id), c, &d, callback);
    unroute(c);
    return 1;
}

struct buf *accept_head(struct client *c)
{
    struct accepted *a = c->x.accepted;
    return a && !a->look ? &a->head : NULL;
}

/* ---- the content ---------------------------------------------------------------------------- */

static void on_told(struct desk_ask *q, int r, const struct desk_told *told, const struct err *e);

static enum step ask(struct client *c, enum desk_verb verb)
{
    struct accepted *a = c->x.accepted;
    a->ask = (struct desk_ask){ .verb = verb, .id = a->id, .with_answer = true, .on_done = on_told };
    if (verb == DESK_ACCEPT) {
        const struct invoke_policy *p = &a->policy;
        a->ask.spec = (struct invocation_spec){
            .ns = str_of(a->ns), .service = str_of(a->service), .host = str_of(a->host), .method = str_of(a->method),
            .path = str_of(a->path), .key = str_of(a->prefer.key),
            .safe = invoke_is_safe(p, http_method_find(str_of(a->method))), .attempts_max = p->attempts_max,
            .backoff_ms = p->backoff_ms, .backoff_max_ms = p->backoff_max_ms, .deadline_ms = a->deadline_ms,
            .retention_ms = p->retention_ms, .callback = str_of(a->callback), .callback_secret = str_of(a->secret),
            .request = buf_str(&a->request),
        };
        struct digest content = hasher_of(buf_at(&a->content), a->content.size);
        char hex[DIGEST_HEX];
        digest_hex(&content, hex);
        AUTO_FREE char *all = xasprintf("%s\n%s\n%s\n%s", a->method, a->target, a->type, hex);
        content = hasher_of(all, strlen(all));
        memcpy(a->ask.spec.fingerprint, content.at, sizeof a->ask.spec.fingerprint);
        buf_done(&a->content);
    }
    c->state = CLIENT_KEPT;
    a->asking = true;
    desk_ask(a->desk, &a->ask);
    return STEP_WAIT;
}

static enum step collected(struct client *c)
{
    struct accepted *a = c->x.accepted;
    struct err e;
    if (a->prefer.structured && prefer_structured(&a->prefer, buf_str(&a->content), c->ingress->limits, &e) < 0)
        return exchange_refuse(c, &(struct problem){ .kind = PROBLEM_BAD_HEADER, .detail = e.text }, INVOCATION_REFUSED);
    if (a->prefer.key[0])
        c->x.record.id = a->id = desk_id_of(str_of(a->ns), str_of(a->service), str_of(a->prefer.key));
    buf_str_append(&a->request, buf_str(&a->head));
    if (a->bodied)
        http1_write_framing(&a->request, HTTP1_BODY_LENGTH, a->content.size);
    http1_write_end(&a->request);
    buf_str_append(&a->request, buf_str(&a->content));
    ASSERT(!a->request.overflow);
    return ask(c, DESK_ACCEPT);
}

static enum step content_refused(struct client *c, bool mine)
{
    char why[200];
    struct ingress *in = c->ingress;
    unsigned long long max = mine ? in->limits->invoke_request_bytes_max : in->limits->invoke_bodies_bytes_max;
    in->counters.limits[mine ? INGRESS_LIMIT_invoke_request_bytes_max : INGRESS_LIMIT_invoke_bodies_bytes_max]++;
    snprintf(why, sizeof why, "%s (%llu bytes)",
             mine ? "the content is over invoke_request_bytes_max" : "requests to be written down are over invoke_bodies_bytes_max", max);
    return exchange_refuse(c, &(struct problem){ .kind = mine ? PROBLEM_TOO_LARGE : PROBLEM_NOT_KEPT, .detail = why,
                                                 .retry_after_s = mine ? 0 : 1 },
                           INVOCATION_REFUSED);
}

static enum step content_bad(struct client *c)
{
    const char *why = c->x.request_body.refusal.text;
    ingress_count_limit(c->ingress, why);
    return exchange_refuse(
        c, &(struct problem){ .kind = problem_of_status(c->x.request_body.refusal.status), .detail = why }, INVOCATION_REFUSED);
}

static enum step collect(struct client *c)
{
    struct exchange *x = &c->x;
    struct accepted *a = x->accepted;
    for (;;) {
        size_t used;
        struct str data;
        enum http1_result r = http1_body_feed(&x->request_body, buf_at(&c->net.in), c->net.in.size, &used, &data);
        if (r == HTTP1_BAD)
            return content_bad(c);
        if (a->content.size + data.size > a->content.max)
            return content_refused(c, true);
        buf_str_append(&a->content, data);
        x->record.request_bytes += data.size;
        buf_consume(&c->net.in, used);
        if (!desk_hold(a->desk, &a->held, 2 * (a->content.size + a->head.size)))
            return content_refused(c, false);
        x->request_done = r == HTTP1_DONE;
        if (x->request_done)
            return collected(c);
        if (r == HTTP1_DATA || c->net.in.size > 0)
            continue;
        if (!client_may_read(c))
            return STEP_WAIT;
        enum channel_result filled = channel_fill(&c->net, c->ingress->room);
        if (filled == CHANNEL_AGAIN) {
            meter_wait(&x->read_meter, now_of(c));
            break;
        }
        if (filled != CHANNEL_MOVED)
            return exchange_gone(c);
        meter_moved(&x->read_meter, c->net.in.size, now_of(c));
    }
    if (x->expect_continue && a->content.size == 0) { /* who waits for that sends nothing before */
        x->expect_continue = false;
        buf_str_append(&c->net.out, STR("HTTP/1.1 100 Continue\r\n\r\n"));
    }
    return channel_pending(&c->net) > 0 && stream_flush(c) == CHANNEL_BROKEN ? exchange_gone(c) : STEP_WAIT;
}

/* ---- answers -------------------------------------------------------------------------------- */

static void applied_write(const struct accepted *a, struct buf *out)
{
    const struct prefer *d = &a->prefer;
    if (!a->look && !a->fresh)
        buf_text(out, "Idempotency-Replayed: true\r\n");
    if (!a->look && (d->async || d->waits)) {
        buf_printf(out, "Preference-Applied: %s%s", d->async ? "respond-async" : "", d->async && d->waits ? ", " : "");
        if (d->waits)
            buf_printf(out, "wait=%llu.%03u", (unsigned long long)(d->wait_ms / 1000), (unsigned)(d->wait_ms % 1000));
        buf_text(out, "\r\n");
    }
}

/* The head is in `out` but for what all end with; `content` follows. */
static enum step reply(struct client *c, uint16_t status, struct str content, bool bodied, bool dated)
{
    struct exchange *x = &c->x;
    struct accepted *a = x->accepted;
    struct buf *out = &c->net.out;
    uint64_t all = a->held + content.size;
    exchange_skim(c);
    applied_write(a, out);
    if (bodied)
        http1_write_framing(out, HTTP1_BODY_LENGTH, content.size);
    exchange_answer_end(c, exchange_connection(c), dated);
    x->record.status = status;
    x->answering = x->answer_done = true;
    x->outcome = INVOCATION_OK;
    buf_done(&a->request);
    (void)desk_hold(a->desk, &a->held, all); /* it is here already: refused is what comes after it */
    if (x->method_id != HTTP_HEAD)
        buf_str_append(&a->answer, content);
    ASSERT(!a->answer.overflow);
    c->state = CLIENT_REPLAY;
    return STEP_ON;
}

static enum step account_give(struct client *c, uint16_t status, const struct invocation_facts *f)
{
    struct accepted *a = c->x.accepted;
    struct buf text, *out = &c->net.out;
    char id[UUID_TEXT];
    buf_init(&text, ACCOUNT_BYTES_MAX);
    account_write(&a->id, f, &text);
    buf_text(&text, "\n");
    ASSERT(!text.overflow);
    uuid_format(&a->id, id);
    http1_write_status(out, status, (struct str){ NULL, 0 });
    buf_text(out, "Content-Type: application/json\r\nCache-Control: no-store\r\n");
    if (status == 202)
        buf_printf(out, "Location: /v1/invocations/%s\r\n", id);
    if (!invoked_status_ended(f->status))
        buf_text(out, "Retry-After: 1\r\n");
    enum step s = reply(c, status, buf_str(&text), true, false);
    buf_done(&text);
    return s;
}

static enum step problem_give(struct client *c, enum problem_kind kind, const char *detail)
{
    bool later = kind == PROBLEM_IN_FLIGHT || kind == PROBLEM_NOT_KEPT;
    return exchange_refuse(c, &(struct problem){ .kind = kind, .detail = detail, .retry_after_s = later ? 1 : 0 },
                           INVOCATION_REFUSED);
}

/* The function's answer as it was kept, byte for byte but for what belongs to a connection. */
static enum step answer_give(struct client *c, struct str answer)
{
    struct http1_head h;
    struct buf *out = &c->net.out;
    http1_head_init(&h, HTTP1_RESPONSE, &c->ingress->head_limits);
    http1_head_answers(&h, (enum http_method)c->x.method_id);
    enum step s;
    if (http1_head_feed(&h, answer.at, answer.size) != HTTP1_DONE) {
        s = problem_give(c, PROBLEM_INTERNAL, "the answer that is kept cannot be read");
    } else {
        bool none = h.status == 204 || h.status == 304 || c->x.method_id == HTTP_HEAD;
        http1_write_status(out, h.status, h.reason.at ? h.reason : STR(""));
        http1_write_fields(out, &h, 0);
        s = reply(c, h.status, str_from(answer, h.size), !none, http1_has(&h, HTTP_FIELD_DATE));
    }
    http1_head_done(&h);
    return s;
}

static enum step end_give(struct client *c, const struct desk_told *told)
{
    const struct invocation_facts *f = &told->facts;
    const char *why = f->why && f->why[0] ? f->why : invoked_status_name(f->status);
    if (told->answer.at && f->status != INVOKED_CANCELLED && f->status != INVOKED_AMBIGUOUS)
        return answer_give(c, told->answer);
    switch (f->status) {
    case INVOKED_AMBIGUOUS: return problem_give(c, PROBLEM_AMBIGUOUS, why);
    case INVOKED_CANCELLED: return problem_give(c, PROBLEM_CANCELLED, why);
    case INVOKED_DEAD: return problem_give(c, PROBLEM_DEAD, why);
    case INVOKED_DONE:
    case INVOKED_FAILED: return problem_give(c, PROBLEM_INTERNAL, "the answer is not there any more");
    case INVOKED_WAITING:
    case INVOKED_RUNNING: break;
    }
    UNREACHABLE("it has not ended");
}

/* It has not ended, and nobody waits (any longer). */
static enum step unended_give(struct client *c, const struct desk_told *told)
{
    struct accepted *a = c->x.accepted;
    char why[200];
    if (a->look && !a->result)
        return account_give(c, 200, &told->facts);
    if (a->prefer.async)
        return account_give(c, 202, &told->facts);
    if (a->look || !a->fresh)
        return problem_give(c, PROBLEM_IN_FLIGHT, "its end can be waited for: Prefer: wait=10, or ask again later");
    snprintf(why, sizeof why, "the invocation has not ended: %s; it goes on, and the same key gives its answer",
             c->ingress->stopping ? "hob is stopping" : "the time to wait for it is over");
    return problem_give(c, c->ingress->stopping ? PROBLEM_NOT_KEPT : PROBLEM_DEADLINE, why);
}

/* Whether its end may be awaited: as long as it may come in this process. */
static bool may_wait(const struct client *c, const struct invocation_facts *f)
{
    const struct accepted *a = c->x.accepted;
    bool waits = a->until_us > now_of(c) && (a->look || a->prefer.async || a->fresh || a->prefer.waits);
    return waits && (!c->ingress->stopping || f->status == INVOKED_RUNNING);
}

static enum step told_step(struct client *c, const struct desk_told *told)
{
    struct accepted *a = c->x.accepted;
    bool ended = invoked_status_ended(told->facts.status);
    if (told->other)
        return problem_give(c, PROBLEM_KEY_REUSED,
                            "this key was used for a request with another method, target, content type or content");
    if (!a->told)
        a->fresh = told->fresh;
    a->told = true;
    if (ended && a->look && !a->result)
        return account_give(c, 200, &told->facts);
    if (ended)
        return end_give(c, told);
    if (!may_wait(c, &told->facts))
        return unended_give(c, told);
    desk_wait(a->desk, &a->id, &a->waiter);
    a->look_us = c->ingress->stopping ? now_of(c) + LOOK_US : UINT64_MAX;
    return STEP_WAIT;
}

static enum step unknown(struct client *c, int r, const struct err *e)
{
    struct accepted *a = c->x.accepted;
    if (r == -CODE_NOT_FOUND && a->look && !a->told) {
        bool there = exchange_route(c, str_of(a->host), str_of(a->tag)); /* what it was routed to may be gone */
        accept_leave(c);
        return there ? exchange_ask(c) /* the function may have such a page of its own */
                     : exchange_refuse(c, &(struct problem){ .kind = PROBLEM_UNKNOWN_HOST, .detail = "it was deleted just now" },
                                       INVOCATION_REFUSED);
    }
    return problem_give(c, r == -CODE_NOT_FOUND ? PROBLEM_DEAD : PROBLEM_NOT_KEPT, e->text);
}

static bool is_of(const struct client *c, const struct invocation_facts *f)
{
    return strcmp(f->ns, c->x.record.ns) == 0 && strcmp(f->service, c->x.record.service) == 0;
}

static void on_told(struct desk_ask *q, int r, const struct desk_told *told, const struct err *e)
{
    struct accepted *a = CONTAINER_OF(q, struct accepted, ask);
    struct client *c = a->client;
    struct err other;
    a->asking = false;
    if (!c) {
        accepted_free(a);
        return;
    }
    if (r >= 0 && a->look && !a->told && !is_of(c, &told->facts))
        r = err_set(&other, CODE_NOT_FOUND, "another function's"), e = &other;
    if (r >= 0 && a->look) {
        unroute(c);
        c->x.record.id = a->id;
    }
    client_go_on(c, r < 0 ? unknown(c, r, e) : told_step(c, told));
}

static void on_end(struct desk_waiter *w)
{
    struct accepted *a = CONTAINER_OF(w, struct accepted, waiter);
    struct client *c = a->client;
    ASSERT(c && c->state == CLIENT_KEPT && !a->asking);
    (void)ask(c, DESK_LOOK);
}

/* ---- steps, time ---------------------------------------------------------------------------- */

static enum step replay(struct client *c)
{
    struct buf *answer = &c->x.accepted->answer;
    while (answer->size > 0) {
        size_t pending = channel_pending(&c->net), room = c->ingress->room;
        if (pending >= room) {
            enum channel_result flushed = stream_flush(c);
            if (flushed == CHANNEL_BROKEN || c->net.hangup)
                return exchange_gone(c);
            if (channel_pending(&c->net) >= room)
                return STEP_WAIT;
            continue;
        }
        size_t piece = MIN(room - pending, answer->size);
        buf_append(&c->net.out, buf_at(answer), piece);
        c->x.record.response_bytes += piece;
        buf_consume(answer, piece);
        ASSERT(!c->net.out.overflow);
    }
    c->state = CLIENT_FINISH;
    return STEP_ON;
}

enum step accept_step(struct client *c)
{
    struct accepted *a = c->x.accepted;
    switch (c->state) {
    case CLIENT_COLLECT: return c->net.hangup && c->net.in.size == 0 && !c->net.readable ? exchange_gone(c) : collect(c);
    case CLIENT_REPLAY: return replay(c);
    case CLIENT_KEPT: break;
    default: UNREACHABLE("not a step of an accept");
    }
    if (c->net.hangup)
        return exchange_gone(c);
    if (!a->look || a->asking || a->waiter.dossier)
        return STEP_WAIT;
    return ask(c, DESK_LOOK);
}

uint64_t accept_due_us(const struct client *c)
{
    const struct accepted *a = c->x.accepted;
    const struct exchange *x = &c->x;
    switch (c->state) {
    case CLIENT_COLLECT: return MIN(meter_due_us(&x->read_meter), x->deadline_us);
    case CLIENT_REPLAY: return meter_due_us(&x->write_meter);
    default: return a->waiter.dossier ? MIN(a->until_us, a->look_us) : UINT64_MAX; /* the desk always answers */
    }
}

enum step accept_expire(struct client *c)
{
    if (c->state != CLIENT_KEPT)
        return exchange_expire(c);
    desk_wait_stop(&c->x.accepted->waiter);
    return ask(c, DESK_LOOK);
}

void accept_stop(struct client *c)
{
    struct accepted *a = c->x.accepted;
    if (!a->waiter.dossier)
        return;
    desk_wait_stop(&a->waiter);
    (void)ask(c, DESK_LOOK);
}
