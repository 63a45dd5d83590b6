/* One request: from its head to the last byte of its answer. The rules are in ingress.h and client.h. */
#include "gateway/accept.h"
#include "gateway/deadline.h"
#include "gateway/netprobe.h"
#include "gateway/pipe.h"
#include "invocation/account.h"
#include "net/grpc_wire.h"
#include "net/http1_write.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    HOST_BYTES_MAX = 255,       /* of a DNS name: nothing longer is served */
    DEADLINE_MS_MAX = 86400000, /* what a caller may ask for; more means none */
    LINKS_MAX = 8,              /* connections tried for one request, all but one gone by then */
};

static const struct backend_ops *ops_of(const struct client *c) { return c->ingress->backend->ops; }

static uint64_t now_of(const struct client *c) { return loop_now_us(c->ingress->loop); }

/* A cold start is accounted for to the microsecond, and others' clocks are in the account; then the
 * turn's own time is not good enough. */
static uint64_t moment_of(const struct client *c)
{
    return c->x.lease.cold ? loop_clock_us(c->ingress->loop) : now_of(c);
}

/* ---- the end ------------------------------------------------------------------------------ */

static uint32_t since_arrival(const struct exchange *x, uint64_t us)
{
    return us > x->arrival_us ? (uint32_t)MIN(us - x->arrival_us, UINT32_MAX) : 0;
}

void exchange_release(struct client *c, bool keep, bool healthy)
{
    struct exchange *x = &c->x;
    if (!x->leased)
        return;
    int fd = link_drop(c, keep);
    x->leased = false;
    ops_of(c)->release(c->ingress->backend, &x->lease, fd, healthy);
}

static void record_finish(struct exchange *x, enum invocation_outcome o, uint64_t now_us)
{
    struct invocation_record *r = &x->record;
    r->outcome = o;
    r->dispatch_us = since_arrival(x, x->dispatch_us);
    r->first_byte_us = x->dispatch_us ? since_arrival(x, x->first_byte_us) : 0;
    r->total_us = since_arrival(x, now_us);
}

void exchange_over(struct client *c, enum invocation_outcome o)
{
    struct exchange *x = &c->x;
    struct ingress_counters *n = &c->ingress->counters;
    n->requests[x->record.status / 100]++;
    n->request_bytes += x->record.request_bytes;
    n->response_bytes += x->record.response_bytes;
    n->client_gone += o == INVOCATION_CLIENT_GONE;
    n->tunnels_open -= c->state == CLIENT_TUNNEL;
    if (x->bodies) {
        http1_body_done(&x->request_body);
        http1_body_done(&x->answer_body);
        x->bodies = false;
    }
    accept_leave(c);
    if (!x->routed)
        return;
    n->in_flight--;
    x->routed = false;
    record_finish(x, o, moment_of(c));
    x->record.note = x->note;
    ops_of(c)->record(c->ingress->backend, &x->record);
    free(TAKE(x->note));
}

enum step exchange_gone(struct client *c)
{
    if (c->state == CLIENT_QUEUED)
        ops_of(c)->cancel(c->ingress->backend, &c->x.ticket);
    exchange_release(c, false, true);
    exchange_over(c, INVOCATION_CLIENT_GONE);
    return client_dead(c);
}

/* The answer has begun and cannot be completed. What came of it goes out before the reset, as far as
 * the client takes it at once: its own bytes may say what went wrong. */
static enum step cut(struct client *c, enum invocation_outcome o, bool healthy, const char *why)
{
    enum channel_result flushed = stream_flush(c);
    (void)flushed; /* a client that is gone is reset all the same */
    snprintf(c->x.record.error, sizeof c->x.record.error, "%s", why);
    exchange_release(c, false, healthy);
    exchange_over(c, o);
    return client_reset(c);
}

/* ---- our own answers ---------------------------------------------------------------------- */

/* Takes what of the body has arrived already, so that a small request refused early need not cost
 * its connection. */
static void body_skim(struct client *c)
{
    struct exchange *x = &c->x;
    while (x->bodies && !x->request_done && !x->request_body.refusal.text) {
        size_t used;
        struct str data;
        enum http1_result r =
            http1_body_feed(&x->request_body, buf_at(&c->net.in), c->net.in.size, &used, &data);
        buf_consume(&c->net.in, used);
        x->record.request_bytes += data.size;
        x->request_done = r == HTTP1_DONE;
        if (r == HTTP1_MORE)
            return;
    }
}

void exchange_skim(struct client *c)
{
    body_skim(c);
    if (!c->x.request_done)
        c->x.client_keep = false;
}

enum forward_connection exchange_connection(const struct client *c)
{
    if (!c->x.client_keep || c->ingress->stopping)
        return FORWARD_CLOSE;
    return c->x.minor == 1 ? FORWARD_KEEP : FORWARD_KEEP_1_0;
}

static void timing_of(const struct exchange *x, uint64_t now_us, struct timing *ret)
{
    *ret = (struct timing){ .arrival_us = x->arrival_us,
                            .dispatch_us = x->dispatch_us,
                            .now_us = now_us };
    if (x->record.has_start) {
        ret->start = &x->record.start;
        ret->ready_us = x->lease.ready_us;
    }
}

void exchange_answer_end(struct client *c, enum forward_connection connection, bool dated)
{
    struct exchange *x = &c->x;
    struct timing t;
    struct forward_answer f = { .id = x->probe ? NULL : &x->record.id, .timing = &t, .connection = connection };
    x->first_byte_us = moment_of(c);
    timing_of(x, x->first_byte_us, &t);
    if (!dated)
        f.date = ingress_date(c->ingress, loop_wall_ms());
    x->record.coverage_permille = timing_coverage_permille(&t);
    forward_answer_end(&c->net.out, &f);
    ASSERT(!c->net.out.overflow); /* its maximum is made of the maxima of its parts */
}

static void problem_answer(struct client *c, const struct problem *p)
{
    struct exchange *x = &c->x;
    struct buf body, *out = &c->net.out;
    char id[UUID_TEXT];
    struct problem full = *p;
    if (x->grpc) {
        grpc_refusal_write(out, p);
        exchange_answer_end(c, exchange_connection(c), false);
        return;
    }

    uuid_format(&x->record.id, id);
    full.invocation_id = id;
    buf_init(&body, 8192);
    problem_write(&body, &full);
    ASSERT(!body.overflow);
    http1_write_status(out, problem_status(p->kind), (struct str){ NULL, 0 });
    buf_str_append(out, STR("Content-Type: application/problem+json\r\n"));
    buf_printf(out, "Hob-Problem: %s\r\n", problem_name(p->kind)); /* a function cannot say this */
    http1_write_framing(out, HTTP1_BODY_LENGTH, body.size);
    if (p->retry_after_s > 0)
        buf_printf(out, "Retry-After: %u\r\n", p->retry_after_s);
    if (x->accepted && p->kind != PROBLEM_NOT_KEPT)
        buf_printf(out, "Location: /v1/invocations/%s\r\n", id);
    exchange_answer_end(c, exchange_connection(c), false);
    if (x->method_id != HTTP_HEAD)
        buf_append(out, buf_at(&body), body.size);
    ASSERT(!out->overflow);
    buf_done(&body);
}

enum step exchange_refuse(struct client *c, const struct problem *p, enum invocation_outcome o)
{
    struct exchange *x = &c->x;
    bool healthy = p->kind != PROBLEM_INSTANCE_DIED && p->kind != PROBLEM_BAD_ANSWER;
    c->ingress->counters.refused[p->kind]++;
    if (x->answering)
        return cut(c, o, healthy, p->detail);
    snprintf(x->record.error, sizeof x->record.error, "%s", p->detail);
    exchange_release(c, false, healthy);
    exchange_skim(c);
    x->record.status = (uint16_t)problem_status(p->kind);
    x->answering = x->answer_done = true;
    x->outcome = o;
    problem_answer(c, p);
    c->state = CLIENT_FINISH;
    return STEP_ON;
}

/* ---- the beginning ------------------------------------------------------------------------ */

static void text_keep(char *into, size_t size, struct str s)
{
    size_t take = MIN(s.size, size - 1);
    if (take > 0)
        memcpy(into, s.at, take);
    into[take] = '\0';
}

/* Everything of the last request is over; the parser's memory stays. */
static void exchange_reset(struct client *c)
{
    struct ingress *in = c->ingress;
    struct exchange *x = &c->x;
    uint64_t credit_us = in->limits->http_idle_ms * 1000;
    int64_t wall_ms = loop_wall_ms();
    struct http1_head answer = x->answer;

    ASSERT(!x->leased && !x->routed && !x->bodies && !x->note && !x->accepted);
    *x = (struct exchange){ .answer = answer, .minor = 1 };
    x->arrival_us = loop_now_us(in->loop);
    x->record.id = ingress_new_id(in, wall_ms);
    x->record.wall_ms = wall_ms;
    x->record.arrival_us = x->arrival_us;
    meter_init(&x->read_meter, in->limits->http_body_rate_bytes_s, credit_us);
    meter_init(&x->write_meter, in->limits->http_body_rate_bytes_s, credit_us);
    channel_clear(&c->up);
}

enum step exchange_refuse_bytes(struct client *c, enum problem_kind kind, const char *why)
{
    exchange_reset(c); /* request_done stays false: nobody knows where these bytes end */
    return exchange_refuse(c, &(struct problem){ .kind = kind, .detail = why }, INVOCATION_REFUSED);
}

/* Lower case, without the root's dot. Empty: not a name that could be served. */
static struct str host_key(struct str host, char into[HOST_BYTES_MAX])
{
    if (host.size > HOST_BYTES_MAX)
        return STR("");
    for (size_t i = 0; i < host.size; i++)
        into[i] = host.at[i] >= 'A' && host.at[i] <= 'Z' ? (char)(host.at[i] | 0x20) : host.at[i];
    if (host.size > 1 && into[host.size - 1] == '.')
        host.size--;
    return (struct str){ into, host.size };
}

struct refusal { /* of a request whose head is fine */
    struct problem problem;
    struct err why;
};

static bool refuse(struct refusal *r, enum problem_kind kind, enum code code, const char *phase)
{
    r->why.code = code;
    r->problem = (struct problem){ .kind = kind, .detail = r->why.text, .phase = phase };
    return false;
}

static bool deadline_passed(struct refusal *r, const char *field)
{
    err_set(&r->why, CODE_DEADLINE, "%s had passed when the request came", field);
    return refuse(r, PROBLEM_DEADLINE, CODE_DEADLINE, "queue");
}

/* The earliest of what the service and the caller say. */
static bool deadline_find(struct exchange *x, const struct http1_head *h, struct refusal *r)
{
    uint64_t own_ms = UINT64_MAX, call_ms = UINT64_MAX;
    bool timed = x->grpc && http1_has(h, HTTP_FIELD_GRPC_TIMEOUT);
    x->deadline_us =
        x->policy.timeout_ms ? x->arrival_us + x->policy.timeout_ms * UINT64_C(1000) : UINT64_MAX;
    if ((http1_has(h, HTTP_FIELD_HOB_DEADLINE) &&
         deadline_parse(http1_field(h, HTTP_FIELD_HOB_DEADLINE), x->record.wall_ms, &own_ms,
                        &r->why) < 0) ||
        (timed &&
         grpc_wire_timeout(http1_field(h, HTTP_FIELD_GRPC_TIMEOUT), &call_ms, &r->why) < 0))
        return refuse(r, PROBLEM_BAD_HEADER, CODE_INVALID, NULL);
    uint64_t left_ms = MIN(own_ms, call_ms);
    if (left_ms <= DEADLINE_MS_MAX)
        x->deadline_us = MIN(x->deadline_us, x->arrival_us + left_ms * 1000);
    return left_ms > 0 || deadline_passed(r, own_ms == 0 ? "Hob-Deadline" : "grpc-timeout");
}

static bool hops_find(struct client *c, uint64_t *ret_hops, struct refusal *r)
{
    struct ingress *in = c->ingress;
    uint64_t before = 0;
    struct str text = http1_field(&c->head, HTTP_FIELD_HOB_HOPS);
    if (text.at && !str_u64(text, &before)) {
        err_set(&r->why, CODE_INVALID, "Hob-Hops \"" STR_FMT "\": a number expected",
                (int)MIN(text.size, 40), text.at);
        return refuse(r, PROBLEM_BAD_HEADER, CODE_INVALID, NULL);
    }
    *ret_hops = before + 1;
    if (before < in->limits->hops_max)
        return true;
    in->counters.limits[INGRESS_LIMIT_hops_max]++;
    err_set(&r->why, CODE_EXHAUSTED,
            "this request came through %llu functions, hops_max is %llu: they call in a circle, or "
            "the limit is too low",
            (unsigned long long)before, (unsigned long long)in->limits->hops_max);
    return refuse(r, PROBLEM_HOPS, CODE_EXHAUSTED, NULL);
}

/* Cluster-local names are for who is on this machine. */
static bool client_is_local(const struct client *c)
{
    struct str address = str_of(c->address);
    return c->inner || str_starts(address, STR("127.")) || str_starts(address, STR("::ffff:127.")) ||
           str_is(address, "::1");
}

static struct rev *route(struct client *c, struct str host, struct str tag, struct backend_way *ret)
{
    char key[HOST_BYTES_MAX];
    const struct backend_ask ask = { host_key(host, key), tag, client_is_local(c) };
    return ask.host.size > 0 ? ops_of(c)->route(c->ingress->backend, &ask, ret) : NULL;
}

bool exchange_route(struct client *c, struct str host, struct str tag)
{
    struct backend_way way;
    struct exchange *x = &c->x;
    x->ticket.revision = route(c, host, tag, &way);
    if (x->ticket.revision)
        ops_of(c)->policy(x->ticket.revision, &x->policy);
    return x->ticket.revision != NULL;
}

static bool target_find(struct client *c, struct backend_way *ret, struct refusal *r)
{
    struct exchange *x = &c->x;
    x->ticket.revision = route(c, c->head.host, http1_field(&c->head, HTTP_FIELD_KNATIVE_SERVING_TAG), ret);
    if (!x->ticket.revision) {
        err_set(
            &r->why, CODE_NOT_FOUND,
            "no function is served under the host \"" STR_FMT "\": the Host header must be "
            "<name>.<namespace>.<domain> of a service; `hob get services` lists them with their URLs",
            (int)MIN(c->head.host.size, HOST_BYTES_MAX), c->head.host.at ? c->head.host.at : "");
        return refuse(r, PROBLEM_UNKNOWN_HOST, CODE_NOT_FOUND, NULL);
    }
    ops_of(c)->policy(x->ticket.revision, &x->policy);
    x->routed = true;
    c->ingress->counters.in_flight++;
    text_keep(x->record.ns, sizeof x->record.ns, str_of(x->policy.ns));
    text_keep(x->record.service, sizeof x->record.service, str_of(x->policy.service));
    text_keep(x->record.revision, sizeof x->record.revision, str_of(x->policy.revision));
    return true;
}

/* Without its query: that is the other page's secret. */
static void referer_keep(const struct http1_head *h, struct request_note *n)
{
    for (uint32_t i = 0; i < h->field_count; i++) {
        struct str value = h->fields[i].value;
        if (h->fields[i].id == HTTP_FIELD_OTHER && str_eq_nocase(h->fields[i].name, STR("referer")))
            text_keep(n->referer, sizeof n->referer, str_cut(&value, '?'));
    }
}

static void note_take(struct client *c)
{
    const struct http1_head *h = &c->head;
    struct request_note *n = xcalloc(1, sizeof *n);
    text_keep(n->host, sizeof n->host, http1_field(h, HTTP_FIELD_HOST));
    text_keep(n->user_agent, sizeof n->user_agent, http1_field(h, HTTP_FIELD_USER_AGENT));
    referer_keep(h, n);
    text_keep(n->remote, sizeof n->remote, str_of(c->address));
    n->http2 = channel_is_stream(&c->net);
    c->x.note = n;
}

static void trace_begin(struct client *c)
{
    struct exchange *x = &c->x;
    const struct tracing_new trace = { &x->record.id, ingress_random(c->ingress),
                                       (uint32_t)c->ingress->limits->trace_sample_ppm };
    tracing_begin(&c->head, &trace, &x->record.trace);
    if (c->ingress->notes == INGRESS_NOTES_ALL ||
        (c->ingress->notes == INGRESS_NOTES_SAMPLED && x->record.trace.sampled))
        note_take(c);
}

static void on_turn(struct ticket *t, enum ticket_result r, const struct lease *lease,
                    uint32_t retry_after_s, const struct err *e);

/* Its record's id says whose attempt it is. */
static void attempt_take(struct client *c)
{
    struct uuid id;
    uint64_t number;
    if (uuid_parse(http1_field(&c->head, HTTP_FIELD_HOB_INVOCATION_ID), &id) &&
        str_u64(http1_field(&c->head, HTTP_FIELD_HOB_ATTEMPT), &number)) {
        c->x.attempt_of = id;
        c->x.attempt = (uint32_t)number;
        c->x.record.id = account_record_of(&id, (uint32_t)number);
    }
}

bool exchange_may_repeat(const struct client *c)
{
    return !c->inner && http_method_is_idempotent((enum http_method)c->x.method_id);
}

/* Whether it may go on: also as a question to the gateway itself, of which no record is made. */
static bool probe_find(struct client *c, struct refusal *r)
{
    struct exchange *x = &c->x;
    int probe = c->inner ? 0 : netprobe_read(&c->head, &x->probe, &r->why);
    if (probe < 0)
        return refuse(r, PROBLEM_BAD_HEADER, CODE_INVALID, NULL);
    if (probe == 0)
        return true;
    x->routed = false;
    c->ingress->counters.in_flight--;
    netprobe_write(&c->net.out, &c->head, x->probe);
    return true;
}

static enum step probe_answer(struct client *c)
{
    struct exchange *x = &c->x;
    exchange_skim(c);
    x->record.status = 200;
    x->answering = x->answer_done = true;
    x->outcome = INVOCATION_OK;
    exchange_answer_end(c, exchange_connection(c), false);
    if (x->method_id != HTTP_HEAD)
        buf_text(&c->net.out, x->probe);
    ASSERT(!c->net.out.overflow);
    c->state = CLIENT_FINISH;
    return STEP_ON;
}

/* From the parsed head: everything that is needed later, because its bytes go now. */
static bool request_take(struct client *c, struct refusal *r)
{
    struct exchange *x = &c->x;
    const struct http1_head *h = &c->head;
    struct backend_way way = { 0 };
    uint64_t hops = 0;

    x->method_id = h->method_id;
    x->minor = h->minor;
    x->client_keep = h->keep_alive;
    x->expect_continue = h->expect_continue;
    x->request_chunked = h->framing == HTTP1_BODY_CHUNKED;
    /* h2c would carry requests past this gateway's eyes. */
    x->upgrade = h->upgrade && !http1_field_lists(h, HTTP_FIELD_UPGRADE, STR("h2c"));
    x->grpc = channel_is_stream(&c->net) && grpc_is_call(h);
    text_keep(x->record.method, sizeof x->record.method, h->method);
    text_keep(x->record.path, sizeof x->record.path, h->path);
    http1_body_init(&x->request_body, h);
    x->bodies = true;
    x->request_done = h->framing == HTTP1_BODY_NONE;
    if (c->inner)
        attempt_take(c);
    if (!target_find(c, &way, r) || !probe_find(c, r))
        return false;
    if (x->probe)
        return true;
    trace_begin(c);
    if (!hops_find(c, &hops, r) || !deadline_find(x, h, r))
        return false;
    if (x->grpc && x->policy.h2c) /* between its messages it may be silent */
        meter_init(&x->read_meter, 0, 0);
    x->upgrade = x->upgrade && !x->policy.h2c; /* there is no such thing in HTTP/2 */
    if (accept_begin(c, &r->problem, &r->why) < 0)
        return false;
    struct buf *kept = accept_head(c);
    forward_request(kept ? kept : &c->up.out, &(struct forward_request){ .head = h,
                                                           .client = str_of(c->address),
                                                           .id = &x->record.id,
                                                           .trace = &x->record.trace,
                                                           .tag = way.tag,
                                                           .default_route = way.default_route,
                                                           .hops = (uint32_t)MIN(hops, UINT32_MAX),
                                                           .attempt = c->inner,
                                                           .kept = kept != NULL,
                                                           .upgrade = x->upgrade,
                                                           .grpc = x->grpc });
    ASSERT(!c->up.out.overflow); /* the host is short, and the rest has the head's own limit */
    return true;
}

enum step exchange_begin(struct client *c)
{
    struct exchange *x = &c->x;
    struct refusal refusal = { 0 };
    exchange_reset(c);
    bool taken = request_take(c, &refusal);
    buf_consume(&c->net.in, c->head.size);
    if (taken && x->probe)
        return probe_answer(c);
    if (taken && x->accepted) {
        c->state = accept_head(c) ? CLIENT_COLLECT : CLIENT_KEPT;
        return STEP_ON;
    }
    if (!taken)
        return exchange_refuse(c, &refusal.problem,
                               refusal.problem.kind == PROBLEM_DEADLINE ? INVOCATION_TIMEOUT
                                                                        : INVOCATION_REFUSED);
    return exchange_ask(c);
}

enum step exchange_ask(struct client *c)
{
    struct exchange *x = &c->x;
    x->ticket.arrival_us = x->arrival_us;
    x->ticket.deadline_us = x->deadline_us;
    x->ticket.on_turn = on_turn;
    c->state = CLIENT_QUEUED;
    ops_of(c)->ask(c->ingress->backend, &x->ticket);
    return STEP_ON; /* it may have hung up already */
}

/* ---- its turn ----------------------------------------------------------------------------- */

static enum step ask_again(struct client *c)
{
    c->state = CLIENT_QUEUED;
    ops_of(c)->reconnect(c->ingress->backend, &c->x.ticket, &c->x.lease);
    return STEP_ON;
}

enum step exchange_reconnect(struct client *c)
{
    (void)link_drop(c, false);
    c->x.leased = false;
    c->x.resent = true;
    c->ingress->counters.resent++;
    return ask_again(c);
}

enum step exchange_retry(struct client *c)
{
    struct exchange *x = &c->x;
    (void)link_drop(c, false);
    x->leased = false;
    x->resent = true;
    c->ingress->counters.resent++;
    c->state = CLIENT_QUEUED;
    ops_of(c)->retry(c->ingress->backend, &x->ticket, &x->lease);
    return STEP_ON;
}

/* What the lease says is valid only as long as the lease. */
static void lease_note(struct exchange *x)
{
    struct invocation_record *r = &x->record;
    const struct start_record *start = x->lease.start;
    text_keep(r->instance, sizeof r->instance, str_of(x->lease.instance_id));
    r->cold = x->lease.cold;
    r->has_start = x->lease.cold && start;
    if (!r->has_start)
        return;
    r->start = *start;
    r->queue_us = since_arrival(x, start->begin_us);
}

static void dispatch(struct client *c)
{
    struct exchange *x = &c->x;
    uint64_t now_us = moment_of(c), left_ms = UINT64_MAX;
    if (x->deadline_us != UINT64_MAX)
        left_ms = x->deadline_us > now_us ? (x->deadline_us - now_us) / 1000 : 0;
    x->dispatch_us = x->active_us = now_us;
    lease_note(x);
    forward_request_end(&c->up.out, left_ms, x->grpc);
    ASSERT(!c->up.out.overflow);
    if (x->expect_continue && c->net.in.size == 0)
        buf_str_append(&c->net.out, STR("HTTP/1.1 100 Continue\r\n\r\n"));
    http1_head_reset(&x->answer);
    http1_head_answers(&x->answer, (enum http_method)x->method_id);
}

/* Another instance has it now; what it waited since is not that one's time. */
static void moved(struct exchange *x, uint64_t now_us)
{
    x->dispatch_us = x->active_us = now_us;
    text_keep(x->record.instance, sizeof x->record.instance, str_of(x->lease.instance_id));
}

static enum step granted(struct client *c, const struct lease *lease)
{
    struct exchange *x = &c->x;
    struct err e;
    x->lease = *lease;
    enum link_taken taken = link_take(c, lease, &e);
    if (taken == LINK_STALE && x->links < LINKS_MAX)
        return ask_again(c);
    if (taken == LINK_STALE)
        err_set(&e, CODE_UNAVAILABLE, "%s ends every connection at once", lease->instance_id);
    if (taken != LINK_READY) {
        ops_of(c)->release(c->ingress->backend, &x->lease, -1, true);
        enum problem_kind kind = taken == LINK_STALE ? PROBLEM_INSTANCE_DIED : PROBLEM_INTERNAL;
        return exchange_refuse(c, &(struct problem){ .kind = kind, .detail = e.text },
                               INVOCATION_FAILED);
    }
    x->leased = true;
    c->state = CLIENT_EXCHANGE;
    x->function_deaf = false;
    if (x->dispatch_us == 0)
        dispatch(c);
    else if (strcmp(x->record.instance, lease->instance_id) != 0)
        moved(x, moment_of(c));
    return STEP_ON;
}

static enum step denied(struct client *c, enum ticket_result r, uint32_t retry_after_s,
                        const struct err *e)
{
    static const enum problem_kind kinds[] = {
        [TICKET_FULL] = PROBLEM_QUEUE_FULL,
        [TICKET_LATE] = PROBLEM_QUEUE_TIMEOUT,
        [TICKET_OVERLOAD] = PROBLEM_OVERLOADED,
        [TICKET_NO_TIME] = PROBLEM_NO_TIME,
        [TICKET_FAILED] = PROBLEM_START_FAILED,
    };
    static const enum invocation_outcome outcomes[] = {
        [TICKET_FULL] = INVOCATION_REFUSED,
        [TICKET_LATE] = INVOCATION_TIMEOUT,
        [TICKET_OVERLOAD] = INVOCATION_REFUSED,
        [TICKET_NO_TIME] = INVOCATION_REFUSED,
        [TICKET_FAILED] = INVOCATION_FAILED,
    };
    /* Once dispatched, only the connection to the instance can have failed. */
    bool died = r == TICKET_FAILED && c->x.dispatch_us != 0;
    if (r == TICKET_FAILED && !died && c->x.ticket.cold) {
        c->x.record.cold = true;
        c->x.record.queue_us = since_arrival(&c->x, moment_of(c));
    }
    struct problem p = { .kind = died ? PROBLEM_INSTANCE_DIED : kinds[r],
                         .detail = e ? e->text : problem_name(kinds[r]),
                         .phase = died ? "handler" : "queue",
                         .retry_after_s = r == TICKET_LATE ? 0 : MAX(retry_after_s, 1) };
    return exchange_refuse(c, &p, outcomes[r]);
}

static void on_turn(struct ticket *t, enum ticket_result r, const struct lease *lease,
                    uint32_t retry_after_s, const struct err *e)
{
    struct client *c = CONTAINER_OF(t, struct client, x.ticket);
    ASSERT(c->state == CLIENT_QUEUED);
    client_go_on(c, r == TICKET_GRANTED ? granted(c, lease) : denied(c, r, retry_after_s, e));
}

/* ---- the steps ---------------------------------------------------------------------------- */

enum step exchange_step(struct client *c)
{
    if (c->net.hangup)
        return exchange_gone(c);
    if (c->state == CLIENT_QUEUED)
        return STEP_WAIT;
    enum step s = stream_request(c);
    if (c->state != CLIENT_EXCHANGE)
        return s;
    s = stream_answer(c);
    if (c->state != CLIENT_EXCHANGE)
        return s;
    if (channel_pending(&c->net) > 0 && stream_flush(c) == CHANNEL_BROKEN)
        return exchange_gone(c);
    return s;
}

/* A slow reader's time is the meter's; this is of one that opens no window at all. */
static void note_stall(struct client *c)
{
    struct exchange *x = &c->x;
    if (!channel_is_stream(&c->net))
        return;
    size_t left = channel_pending(&c->net) + pipe_unsent(c->net.pipe);
    if (x->stalled_us != 0 && left == x->stalled_bytes)
        return;
    x->stalled_us = now_of(c);
    x->stalled_bytes = left;
}

static uint64_t stall_due_us(const struct client *c)
{
    const struct exchange *x = &c->x;
    return x->stalled_us == 0 ? UINT64_MAX
                              : x->stalled_us + c->ingress->limits->h2_stall_ms * 1000;
}

enum step exchange_finish(struct client *c)
{
    switch (stream_flush(c)) {
    case CHANNEL_MOVED: break;
    case CHANNEL_AGAIN:
        if (c->net.hangup)
            return exchange_gone(c);
        note_stall(c);
        return STEP_WAIT;
    case CHANNEL_BROKEN:
    case CHANNEL_END:
    case CHANNEL_FULL: return exchange_gone(c);
    }
    exchange_over(c, c->x.outcome);
    return client_lets_go(c);
}

/* ---- time --------------------------------------------------------------------------------- */

static uint64_t response_start_due_us(const struct exchange *x)
{
    return x->policy.response_start_ms == 0 || x->answering
               ? UINT64_MAX
               : x->dispatch_us + x->policy.response_start_ms * UINT64_C(1000);
}

/* While the client is behind, the function may well be silent. */
static uint64_t idle_due_us(const struct client *c)
{
    return c->x.policy.idle_ms == 0 || channel_pending(&c->net) >= c->ingress->room
               ? UINT64_MAX
               : c->x.active_us + c->x.policy.idle_ms * UINT64_C(1000);
}

/* A call in silence, either way: its deadline may be days away, or none. */
static uint64_t silent_due_us(const struct client *c)
{
    const struct exchange *x = &c->x;
    return x->grpc ? MAX(x->active_us, x->heard_us) + c->ingress->limits->h2_stream_idle_ms * 1000
                   : UINT64_MAX;
}

uint64_t exchange_due_us(const struct client *c)
{
    const struct exchange *x = &c->x;
    uint64_t due_us = meter_due_us(&x->write_meter);
    if (c->state == CLIENT_QUEUED)
        return UINT64_MAX; /* the backend keeps the ticket's deadline */
    if (c->state == CLIENT_FINISH)
        return MIN(due_us, stall_due_us(c));
    due_us = MIN(due_us, meter_due_us(&x->read_meter));
    due_us = MIN(due_us, x->deadline_us);
    due_us = MIN(due_us, response_start_due_us(x));
    due_us = MIN(due_us, silent_due_us(c));
    return MIN(due_us, idle_due_us(c));
}

static enum step timeout(struct client *c, enum problem_kind kind, const char *what, uint64_t ms)
{
    char detail[160];
    snprintf(detail, sizeof detail, "%s (%llu ms)", what, (unsigned long long)ms);
    return exchange_refuse(c,
                           &(struct problem){ .kind = kind, .detail = detail, .phase = "handler" },
                           INVOCATION_TIMEOUT);
}

enum step exchange_expire(struct client *c)
{
    struct exchange *x = &c->x;
    uint64_t now_us = now_of(c);
    uint64_t *rate_limit = &c->ingress->counters.limits[INGRESS_LIMIT_http_body_rate_bytes_s];
    if (meter_due_us(&x->write_meter) <= now_us) {
        ++*rate_limit;
        return cut(c, INVOCATION_CLIENT_GONE, true, "the client read too slowly");
    }
    if (stall_due_us(c) <= now_us) {
        c->ingress->counters.limits[INGRESS_LIMIT_h2_stall_ms]++;
        return cut(c, INVOCATION_CLIENT_GONE, true, "the client opened no window for its answer");
    }
    if (meter_due_us(&x->read_meter) <= now_us) {
        ++*rate_limit;
        return exchange_refuse(
            c,
            &(struct problem){ .kind = PROBLEM_SLOW_REQUEST,
                               .detail =
                                   "the request body came slower than http_body_rate_bytes_s" },
            INVOCATION_REFUSED);
    }
    if (x->deadline_us <= now_us)
        return timeout(c, PROBLEM_DEADLINE, "the function was not done by its deadline",
                       (x->deadline_us - x->arrival_us) / 1000);
    if (response_start_due_us(x) <= now_us)
        return timeout(c, PROBLEM_RESPONSE_START,
                       "the function did not begin to answer within responseStartTimeoutSeconds",
                       x->policy.response_start_ms);
    if (silent_due_us(c) <= now_us) {
        c->ingress->counters.limits[INGRESS_LIMIT_h2_stream_idle_ms]++;
        return timeout(c, PROBLEM_IDLE, "neither side of the call said anything for h2_stream_idle_ms",
                       c->ingress->limits->h2_stream_idle_ms);
    }
    return timeout(c, PROBLEM_IDLE, "the function sent nothing for idleTimeoutSeconds",
                   x->policy.idle_ms);
}
