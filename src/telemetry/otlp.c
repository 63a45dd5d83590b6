#include "telemetry/otlp.h"

#include "base/rng.h"
#include "telemetry/json_text.h"

#include <inttypes.h>
#include <stdio.h>

/* OTLP's numbers. */
enum { KIND_INTERNAL = 1, KIND_SERVER = 2, KIND_CLIENT = 3, STATUS_ERROR = 2 };
enum { FLAG_SAMPLED = 1, FLAG_REMOTE_KNOWN = 0x100, FLAG_REMOTE = 0x200 };

/* Which of a request's spans; the call's own id is in the record. */
enum { SPAN_SERVER = 1, SPAN_WAIT, SPAN_PHASES };

struct span {
    const char *name;
    int kind;
    uint64_t id, parent; /* parent 0: the trace begins here */
    bool remote;         /* the parent is another process's */
    int64_t begin_us, end_us; /* since arrival */
};
struct writer {
    struct buf *out;
    const struct invocation_record *r;
    bool attributes; /* one was written */
    bool spans;
    uint32_t count;
};

/* splitmix64 is a bijection: ids of one trace differ as their origins do. */
static uint64_t span_id(const struct invocation_record *r, uint64_t which)
{
    struct rng mix = { r->trace.span + which * UINT64_C(0x632be59bd9b4e019) };
    uint64_t id = rng_next(&mix);
    return id ? id : which;
}

/* ---- attributes ---- */

static void attribute_open(struct writer *w, const char *key)
{
    buf_printf(w->out, "%s{\"key\":\"%s\",\"value\":{", w->attributes ? "," : "", key);
    w->attributes = true;
}

static void attribute_text(struct writer *w, const char *key, const char *value)
{
    if (!value[0])
        return;
    attribute_open(w, key);
    buf_str_append(w->out, STR("\"stringValue\":"));
    json_text_put(w->out, value);
    buf_str_append(w->out, STR("}}"));
}

static void attribute_number(struct writer *w, const char *key, uint64_t value)
{
    attribute_open(w, key);
    buf_printf(w->out, "\"intValue\":\"%" PRIu64 "\"}}", value);
}

static void attribute_bool(struct writer *w, const char *key, bool value)
{
    attribute_open(w, key);
    buf_printf(w->out, "\"boolValue\":%s}}", value ? "true" : "false");
}

/* ---- one span ---- */

static uint64_t wall_ns(const struct writer *w, int64_t since_us)
{
    int64_t ns = w->r->wall_ms * 1000000 + since_us * 1000;
    return ns > 0 ? (uint64_t)ns : 0;
}

static void span_open(struct writer *w, const struct span *s)
{
    char trace[TRACE_ID_TEXT], id[SPAN_ID_TEXT];
    int flags = (w->r->trace.sampled ? FLAG_SAMPLED : 0) | FLAG_REMOTE_KNOWN | (s->remote ? FLAG_REMOTE : 0);
    trace_id_format(w->r->trace.trace_id, trace);
    span_id_format(s->id, id);
    buf_printf(w->out, "%s{\"traceId\":\"%s\",\"spanId\":\"%s\",", w->spans ? "," : "", trace, id);
    if (s->parent != 0) {
        span_id_format(s->parent, id);
        buf_printf(w->out, "\"parentSpanId\":\"%s\",", id);
    }
    buf_printf(w->out, "\"flags\":%d,\"name\":", flags);
    json_text_put(w->out, s->name);
    buf_printf(w->out,
               ",\"kind\":%d,\"startTimeUnixNano\":\"%" PRIu64 "\",\"endTimeUnixNano\":\"%" PRIu64
               "\",\"attributes\":[",
               s->kind, wall_ns(w, s->begin_us), wall_ns(w, MAX(s->end_us, s->begin_us)));
    w->spans = true;
    w->attributes = false;
    w->count++;
}

/* error NULL: as it should be. */
static void span_close(struct writer *w, const char *error)
{
    buf_str_append(w->out, STR("]"));
    if (error) {
        buf_printf(w->out, ",\"status\":{\"code\":%d,\"message\":", STATUS_ERROR);
        json_text_put(w->out, error);
        buf_str_append(w->out, STR("}"));
    }
    buf_str_append(w->out, STR("}"));
}

/* ---- the spans of an invocation ---- */

static bool method_known(const char *method)
{
    static const char *const known[] = { "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH" };
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (strcmp(method, known[i]) == 0)
            return true;
    return false;
}

/* What is not a known method would make a name and a value of every caller's invention. */
static void method_put(struct writer *w)
{
    bool known = method_known(w->r->method);
    attribute_text(w, "http.request.method", known ? w->r->method : "_OTHER");
    if (!known)
        attribute_text(w, "http.request.method_original", w->r->method);
}

static bool failed(const struct invocation_record *r)
{
    return r->status >= 500 || r->outcome == INVOCATION_FUNCTION_ERROR || r->outcome == INVOCATION_TIMEOUT ||
           r->outcome == INVOCATION_FAILED;
}

static void status_put(struct writer *w)
{
    const struct invocation_record *r = w->r;
    char code[16];
    snprintf(code, sizeof code, "%u", r->status);
    if (r->status != 0)
        attribute_number(w, "http.response.status_code", r->status);
    if (failed(r) || r->outcome == INVOCATION_CLIENT_GONE)
        attribute_text(w, "error.type", r->status >= 500 ? code : invocation_outcome_name(r->outcome));
}

/* "host:80", "[::1]:80": the name, and the port if there is one. */
static void address_put(struct writer *w, const char *host)
{
    char name[256];
    struct str rest = str_of(host);
    const char *colon = strrchr(host, ':');
    uint64_t port;
    bool with_port = colon && !strchr(colon, ']') && str_u64(str_of(colon + 1), &port) && port <= UINT16_MAX;
    if (with_port)
        rest.size = (size_t)(colon - host);
    if (rest.size > 2 && rest.at[0] == '[' && rest.at[rest.size - 1] == ']')
        rest = (struct str){ rest.at + 1, rest.size - 2 };
    snprintf(name, sizeof name, STR_FMT, STR_ARG(rest));
    attribute_text(w, "server.address", name);
    if (with_port)
        attribute_number(w, "server.port", port);
}

static void function_put(struct writer *w)
{
    const struct invocation_record *r = w->r;
    char id[UUID_TEXT];
    uuid_format(&r->id, id);
    attribute_text(w, "faas.trigger", "http");
    attribute_text(w, "faas.name", r->service);
    attribute_text(w, "faas.version", r->revision);
    attribute_text(w, "faas.instance", r->instance);
    attribute_text(w, "faas.invocation_id", id);
    attribute_bool(w, "faas.coldstart", r->cold);
    attribute_text(w, "k8s.namespace.name", r->ns);
    attribute_text(w, "hob.outcome", invocation_outcome_name(r->outcome));
}

static void server_span(struct writer *w)
{
    const struct invocation_record *r = w->r;
    char name[sizeof r->method + sizeof r->ns + sizeof r->service + 8];
    snprintf(name, sizeof name, "%s %s/%s", method_known(r->method) ? r->method : "HTTP", r->ns, r->service);
    span_open(w, &(struct span){ name, KIND_SERVER, span_id(r, SPAN_SERVER), r->trace.parent_span,
                                 r->trace.parent_span != 0, 0, r->total_us });
    method_put(w);
    attribute_text(w, "url.scheme", "http");
    attribute_text(w, "url.path", r->path);
    status_put(w);
    attribute_number(w, "http.request.body.size", r->request_bytes);
    attribute_number(w, "http.response.body.size", r->response_bytes);
    if (r->note) {
        address_put(w, r->note->host);
        attribute_text(w, "client.address", r->note->remote);
        attribute_text(w, "user_agent.original", r->note->user_agent);
        attribute_text(w, "network.protocol.name", "http");
        attribute_text(w, "network.protocol.version", r->note->http2 ? "2" : "1.1");
    }
    function_put(w);
    span_close(w, failed(r) ? r->error : NULL);
}

static bool dispatched(const struct invocation_record *r)
{
    return r->dispatch_us > 0 || r->first_byte_us > 0 || r->instance[0];
}

static void wait_span(struct writer *w)
{
    const struct invocation_record *r = w->r;
    bool given = dispatched(r);
    span_open(w, &(struct span){ "hob.queue", KIND_INTERNAL, span_id(r, SPAN_WAIT), span_id(r, SPAN_SERVER), false, 0,
                                 given ? r->dispatch_us : r->total_us });
    attribute_bool(w, "faas.coldstart", r->cold);
    span_close(w, given || !failed(r) ? NULL : r->error);
}

/* The request's own wait is above; the difference is no interval. What never ended has no end. */
static bool phase_shown(enum phase p, const struct phase_mark *m)
{
    return p != PHASE_QUEUE && p != PHASE_FIRST_REQUEST_DELTA && m->outcome != PHASE_ABSENT &&
           m->outcome != PHASE_OPEN;
}

static void phase_span(struct writer *w, enum phase p)
{
    const struct start_record *s = &w->r->start;
    const struct phase_mark *m = &s->phases[p];
    char name[48];
    int64_t begin_us = (int64_t)(s->begin_us - w->r->arrival_us) + (int64_t)m->start_us;
    snprintf(name, sizeof name, "hob.start.%s", phase_name(p));
    span_open(w, &(struct span){ name, KIND_INTERNAL, span_id(w->r, SPAN_PHASES + (uint64_t)p),
                                 span_id(w->r, SPAN_SERVER), false, begin_us, begin_us + m->duration_us });
    attribute_text(w, "hob.start.id", s->id);
    attribute_text(w, "hob.phase.outcome", phase_outcome_name(m->outcome));
    if (m->bytes > 0)
        attribute_number(w, "hob.phase.bytes", m->bytes);
    span_close(w, m->outcome == PHASE_FAILED ? s->error : NULL);
}

static void call_span(struct writer *w)
{
    const struct invocation_record *r = w->r;
    const char *name = method_known(r->method) ? r->method : "HTTP";
    span_open(w, &(struct span){ name, KIND_CLIENT, r->trace.span, span_id(r, SPAN_SERVER), false, r->dispatch_us,
                                 r->total_us });
    method_put(w);
    attribute_text(w, "server.address", r->instance);
    attribute_text(w, "faas.invoked_name", r->service);
    status_put(w);
    if (r->first_byte_us >= r->dispatch_us && r->first_byte_us > 0)
        attribute_number(w, "hob.first_byte_us", r->first_byte_us - r->dispatch_us);
    span_close(w, failed(r) ? r->error : NULL);
}

uint32_t otlp_spans(struct buf *b, const struct invocation_record *r, bool first)
{
    struct writer w = { .out = b, .r = r, .spans = !first };
    ASSERT(!trace_id_none(&r->trace) && r->trace.span != 0);
    server_span(&w);
    wait_span(&w);
    for (unsigned p = 0; r->has_start && p < PHASES; p++)
        if (phase_shown((enum phase)p, &r->start.phases[p]))
            phase_span(&w, (enum phase)p);
    if (dispatched(r))
        call_span(&w);
    return w.count;
}

/* ---- the request around them ---- */

void otlp_begin(struct buf *b, const struct otlp_resource *resource)
{
    struct writer w = { .out = b };
    buf_str_append(b, STR("{\"resourceSpans\":[{\"resource\":{\"attributes\":["));
    attribute_text(&w, "service.name", resource->service);
    attribute_text(&w, "service.version", resource->version);
    attribute_text(&w, "host.name", resource->host ? resource->host : "");
    attribute_text(&w, "telemetry.sdk.name", "hob");
    attribute_text(&w, "telemetry.sdk.language", "c");
    buf_str_append(b, STR("]},\"scopeSpans\":[{\"scope\":{\"name\":\"hob\",\"version\":"));
    json_text_put(b, resource->version);
    buf_str_append(b, STR("},\"spans\":["));
}

void otlp_end(struct buf *b) { buf_str_append(b, STR("]}]}]}")); }
