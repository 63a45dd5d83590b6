#include "telemetry/otlp.h"
#include "tap.h"

#include <jansson.h>

static const struct otlp_resource resource = { "shop", "1.2.3", NULL };
static const struct request_note note = { .host = "greeter.default.localhost:8080", .user_agent = "curl/8",
                                          .remote = "127.0.0.1" };

static struct invocation_record record(bool cold)
{
    struct invocation_record r = { .ns = "default", .service = "greeter", .revision = "greeter-00001", .instance = "i-1",
                                   .method = "POST", .path = "/a b", .status = 200, .outcome = INVOCATION_OK,
                                   .wall_ms = 1700000000000, .arrival_us = 5000000, .dispatch_us = 900,
                                   .first_byte_us = 1400, .total_us = 1500, .request_bytes = 3, .response_bytes = 5,
                                   .cold = cold, .has_start = cold, .note = &note };
    memset(r.id.at, 0x11, sizeof r.id.at);
    memset(r.trace.trace_id, 0xab, sizeof r.trace.trace_id);
    r.trace.parent_span = 0x0102, r.trace.span = 0xfffefdfc, r.trace.sampled = true;
    if (cold) {
        r.start.begin_us = 5000100; /* 100 us after the arrival */
        snprintf(r.start.id, sizeof r.start.id, "i-1");
        r.start.phases[PHASE_QUEUE] = (struct phase_mark){ 0, 100, 0, PHASE_DONE };
        r.start.phases[PHASE_MODEL_FETCH] = (struct phase_mark){ 10, 0, 0, PHASE_WARM };
        r.start.phases[PHASE_SANDBOX] = (struct phase_mark){ 20, 300, 0, PHASE_DONE };
        r.start.phases[PHASE_RUNTIME_INIT] = (struct phase_mark){ 320, 400, 77, PHASE_DONE };
        r.start.phases[PHASE_READY] = (struct phase_mark){ 720, 0, 0, PHASE_OPEN };
        r.start.phases[PHASE_FIRST_REQUEST_DELTA] = (struct phase_mark){ 0, -5, 0, PHASE_DONE };
    }
    return r;
}

/* The spans as a tree; NULL: it is no JSON. *ret_all holds them. */
static json_t *spans_of(const struct invocation_record *r, size_t count, json_t **ret_all, uint32_t *ret_written)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    otlp_begin(&b, &resource);
    *ret_written = 0;
    for (size_t i = 0; i < count; i++)
        *ret_written += otlp_spans(&b, &r[i], i == 0);
    otlp_end(&b);
    AUTO_FREE char *text = buf_take_text(&b);
    *ret_all = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    json_t *scope = json_array_get(
        json_object_get(json_array_get(json_object_get(*ret_all, "resourceSpans"), 0), "scopeSpans"), 0);
    return json_object_get(scope, "spans");
}

static json_t *span(json_t *spans, const char *name)
{
    size_t i;
    json_t *s;
    json_array_foreach(spans, i, s)
        if (strcmp(json_string_value(json_object_get(s, "name")), name) == 0)
            return s;
    return NULL;
}

static const char *text(json_t *s, const char *field)
{
    const char *t = json_string_value(json_object_get(s, field));
    return t ? t : "";
}

/* The value of an attribute as text, whatever its type. */
static const char *attribute(json_t *s, const char *key)
{
    size_t i;
    json_t *a;
    json_array_foreach(json_object_get(s, "attributes"), i, a) {
        json_t *v = json_object_get(a, "value");
        if (strcmp(text(a, "key"), key) != 0)
            continue;
        if (json_object_size(v) != 1)
            return "more than one value";
        if (json_object_get(v, "boolValue"))
            return json_is_true(json_object_get(v, "boolValue")) ? "true" : "false";
        return json_object_get(v, "intValue") ? text(v, "intValue") : text(v, "stringValue");
    }
    return "";
}

TEST(a_cold_invocation_is_a_server_span_with_its_wait_its_phases_and_the_call)
{
    const struct invocation_record r = record(true);
    json_t *all, *spans;
    uint32_t written;
    spans = spans_of(&r, 1, &all, &written);
    CHECK(json_is_array(spans));
    CHECK_EQ(json_array_size(spans), 6);
    CHECK_EQ(written, 6);
    json_t *server = span(spans, "POST default/greeter"), *wait = span(spans, "hob.queue"), *call = span(spans, "POST");
    json_t *init = span(spans, "hob.start.runtime_init");
    CHECK(server && wait && call && init && span(spans, "hob.start.sandbox") && span(spans, "hob.start.model_fetch"));
    size_t i;
    json_t *s;
    json_array_foreach(spans, i, s) {
        CHECK_STR(text(s, "traceId"), "abababababababababababababababab");
        CHECK_EQ(strlen(text(s, "spanId")), 16);
        CHECK_STR(text(s, "parentSpanId"), s == server ? "0000000000000102" : text(server, "spanId"));
        CHECK_EQ(json_integer_value(json_object_get(s, "kind")), s == server ? 2 : s == call ? 3 : 1);
        CHECK_EQ(json_integer_value(json_object_get(s, "flags")), s == server ? 0x301 : 0x101);
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(text(json_array_get(spans, j), "spanId"), text(s, "spanId")) != 0);
    }
    CHECK_STR(text(call, "spanId"), "00000000fffefdfc"); /* what traceparent told the function */
    CHECK_STR(text(server, "startTimeUnixNano"), "1700000000000000000");
    CHECK_STR(text(server, "endTimeUnixNano"), "1700000000001500000");
    CHECK_STR(text(wait, "endTimeUnixNano"), "1700000000000900000");
    CHECK_STR(text(call, "startTimeUnixNano"), "1700000000000900000");
    CHECK_STR(text(init, "startTimeUnixNano"), "1700000000000420000");
    CHECK_STR(text(init, "endTimeUnixNano"), "1700000000000820000");
    CHECK_STR(attribute(init, "hob.phase.bytes"), "77");
    CHECK_STR(attribute(span(spans, "hob.start.model_fetch"), "hob.phase.outcome"), "warm");
    json_decref(all);
}

TEST(a_server_span_says_what_the_conventions_ask)
{
    const struct invocation_record r = record(false);
    static const char *const wanted[][2] = {
        { "http.request.method", "POST" }, { "url.path", "/a b" }, { "url.scheme", "http" },
        { "http.response.status_code", "200" }, { "server.address", "greeter.default.localhost" },
        { "server.port", "8080" }, { "client.address", "127.0.0.1" }, { "user_agent.original", "curl/8" },
        { "network.protocol.version", "1.1" }, { "faas.name", "greeter" }, { "faas.version", "greeter-00001" },
        { "faas.instance", "i-1" }, { "faas.coldstart", "false" }, { "faas.trigger", "http" },
        { "faas.invocation_id", "11111111-1111-1111-1111-111111111111" }, { "k8s.namespace.name", "default" },
        { "error.type", "" },
    };
    json_t *all, *spans;
    uint32_t written;
    spans = spans_of(&r, 1, &all, &written);
    CHECK_EQ(written, 3);
    for (size_t i = 0; i < COUNT_OF(wanted); i++)
        CHECK_STR(attribute(span(spans, "POST default/greeter"), wanted[i][0]), wanted[i][1]);
    CHECK(!json_object_get(span(spans, "POST default/greeter"), "status"));
    json_t *of = json_object_get(json_array_get(json_object_get(all, "resourceSpans"), 0), "resource");
    CHECK_STR(attribute(of, "service.name"), "shop");
    json_decref(all);
}

static const struct {
    const char *why;
    enum invocation_outcome outcome;
    uint16_t status;
    const char *type;
    bool error, given;
} ends[] = {
    { "the function's 404 is the caller's business", INVOCATION_OK, 404, "", false, true },
    { "its 500 is an error", INVOCATION_FUNCTION_ERROR, 500, "500", true, true },
    { "an instance that died", INVOCATION_FAILED, 502, "502", true, true },
    { "a queue that is full", INVOCATION_REFUSED, 429, "", false, false },
    { "a queue that is too slow", INVOCATION_TIMEOUT, 504, "504", true, false },
    { "a stream cut at its deadline", INVOCATION_TIMEOUT, 200, "timeout", true, true },
    { "a caller that left", INVOCATION_CLIENT_GONE, 0, "client_gone", false, false },
};

TEST(how_it_ended_is_said_as_the_conventions_ask)
{
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        struct invocation_record r = record(false);
        json_t *all, *spans;
        uint32_t written;
        r.outcome = ends[i].outcome, r.status = ends[i].status;
        snprintf(r.error, sizeof r.error, "the \"reason\"");
        if (!ends[i].given)
            r.instance[0] = '\0', r.dispatch_us = r.first_byte_us = 0;
        spans = spans_of(&r, 1, &all, &written);
        json_t *server = span(spans, "POST default/greeter"), *status = json_object_get(server, "status");
        if (strcmp(attribute(server, "error.type"), ends[i].type) != 0 || (status != NULL) != ends[i].error ||
            (status && (json_integer_value(json_object_get(status, "code")) != 2 ||
                        strcmp(text(status, "message"), "the \"reason\"") != 0)) ||
            (span(spans, "POST") != NULL) != ends[i].given || written != (ends[i].given ? 3 : 2))
            FAIL("%s: error.type '%s'", ends[i].why, attribute(server, "error.type"));
        json_decref(all);
    }
}

TEST(several_records_are_one_request_and_a_root_has_no_parent)
{
    struct invocation_record r[3] = { record(false), record(true), record(false) };
    json_t *all, *spans;
    uint32_t written;
    r[0].trace.parent_span = 0;
    r[0].note = NULL; /* nobody kept one */
    spans = spans_of(r, COUNT_OF(r), &all, &written);
    CHECK_EQ(written, 12);
    CHECK_EQ(json_array_size(spans), 12);
    json_t *root = json_array_get(spans, 0);
    CHECK(!json_object_get(root, "parentSpanId"));
    CHECK_EQ(json_integer_value(json_object_get(root, "flags")), 0x101);
    json_decref(all);
}

TEST(whatever_a_caller_sends_it_stays_json_and_within_its_bound)
{
    struct invocation_record r = record(true);
    struct request_note bad;
    json_t *all, *spans;
    uint32_t written;
    memset(&bad, 1, sizeof bad); /* the byte that takes most room */
    bad.host[255] = bad.user_agent[255] = bad.referer[255] = bad.remote[47] = '\0';
    r.note = &bad;
    memset(r.method, 'M', sizeof r.method - 1), memset(r.path, 1, sizeof r.path - 1);
    memset(r.error, 1, sizeof r.error - 1), memset(r.start.error, 1, sizeof r.start.error - 1);
    memset(r.start.id, 1, sizeof r.start.id - 1), memset(r.instance, 1, sizeof r.instance - 1);
    memset(r.revision, 1, sizeof r.revision - 1), memset(r.ns, 1, sizeof r.ns - 1);
    memset(r.service, 1, sizeof r.service - 1);
    r.outcome = INVOCATION_FAILED, r.status = 502;
    for (unsigned p = 0; p < PHASES; p++)
        r.start.phases[p] = (struct phase_mark){ 1, INT64_MAX / 4096, UINT64_MAX, PHASE_FAILED };
    struct buf b;
    buf_init(&b, 1 << 20);
    (void)otlp_spans(&b, &r, false);
    otlp_end(&b);
    CHECK(b.size < OTLP_RECORD_BYTES_MAX);
    buf_done(&b);
    spans = spans_of(&r, 1, &all, &written);
    CHECK_EQ(json_array_size(spans), 3 + PHASES - 2);
    CHECK_STR(attribute(json_array_get(spans, 0), "http.request.method"), "_OTHER");
    json_decref(all);
    snprintf(r.path, sizeof r.path, "/\xc3\xa9\xff\xed\xa0\x80\xe2\x82");
    spans = spans_of(&r, 1, &all, &written);
    CHECK_STR(attribute(json_array_get(spans, 0), "url.path"), "/\xc3\xa9??????");
    json_decref(all);
}
TEST_MAIN()
