/* What a head asks for: preferences, keys, events; read from heads as clients send them. */
#include "gateway/prefer.h"
#include "tap.h"

static const struct limits *limits(void)
{
    static struct limits l;
    limits_default(&l);
    return &l;
}

/* < 0: refused. `fields` with CRLF each. */
static int ask(const char *fields, bool events, struct prefer *ret)
{
    struct http1_head h;
    struct err e;
    char text[8192];
    *ret = (struct prefer){ 0 };
    int size = snprintf(text, sizeof text, "POST /x HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
    http1_head_init(&h, HTTP1_REQUEST, limits());
    int r = http1_head_feed(&h, text, (size_t)size) == HTTP1_DONE ? prefer_read(&h, events, ret, &e) : -1000;
    http1_head_done(&h);
    return r;
}

TEST(preferences_are_read)
{
    static const struct { const char *fields; int r; bool async, waits; uint64_t wait_ms; } cases[] = {
        { "", 0, false, false, 0 },
        { "Prefer: respond-async\r\n", 0, true, false, 0 },
        { "Prefer: Respond-Async, wait=10\r\n", 0, true, true, 10000 },
        { "Prefer: respond-async\r\nPrefer: wait=\"2.5\"\r\n", 0, true, true, 2500 },
        { "Prefer: handling=lenient, wait=1;x=y\r\n", 0, false, true, 1000 },
        { "Prefer: wait=1, wait=2\r\n", 0, false, true, 1000 },
        { "Prefer: return=\"respond-async, wait=3\"\r\n", 0, false, false, 0 },
        { "Prefer: wait\r\n", -CODE_INVALID, false, false, 0 },
        { "Prefer: wait=-1\r\n", -CODE_INVALID, false, false, 0 },
        { "Prefer: wait=1.\r\n", -CODE_INVALID, false, false, 0 },
        { "Prefer: wait=1.2.3\r\n", -CODE_INVALID, false, false, 0 },
        { "Prefer: wait=99999999999999999999\r\n", -CODE_INVALID, false, false, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct prefer d;
        int r = ask(cases[i].fields, false, &d);
        if (r != cases[i].r || d.async != cases[i].async || d.waits != cases[i].waits || d.wait_ms != cases[i].wait_ms) {
            printf("# %s: %d %d %d %llu\n", cases[i].fields, r, d.async, d.waits, (unsigned long long)d.wait_ms);
            CHECK(false);
        }
    }
}

TEST(a_key_can_be_read_in_one_way)
{
    static const struct { const char *fields, *key; /* NULL: refused */ } cases[] = {
        { "Idempotency-Key: abc\r\n", "abc" },
        { "Idempotency-Key: \"abc\"\r\n", "abc" },
        { "Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324\r\n", "8e03978e-40d5-43dd-bc93-6894a57f9324" },
        { "Idempotency-Key:\r\n", NULL },
        { "Idempotency-Key: \"\"\r\n", NULL },
        { "Idempotency-Key: a b\r\n", NULL },
        { "Idempotency-Key: \"a\r\n", NULL },
        { "Idempotency-Key: a\"b\r\n", NULL },
        { "Idempotency-Key: a\r\nIdempotency-Key: a\r\n", NULL },
        { "Idempotency-Key: a\r\nIdempotency-Key: b\r\n", NULL },
        { "Idempotency-Key: \xc3\xa9\r\n", NULL },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct prefer d;
        int r = ask(cases[i].fields, false, &d);
        bool right = cases[i].key ? r == 0 && strcmp(d.key, cases[i].key) == 0 : r == -CODE_INVALID;
        if (!right) {
            printf("# %s: %d \"%s\"\n", cases[i].fields, r, d.key);
            CHECK(false);
        }
    }
}

TEST(the_longest_key_is_255_bytes)
{
    char fields[600];
    struct prefer d;
    for (int size = 255; size <= 256; size++) {
        snprintf(fields, sizeof fields, "Idempotency-Key: %0*d\r\n", size, 7);
        if ((ask(fields, false, &d) == 0) != (size == 255))
            CHECK(false);
    }
}

#define EVENT "ce-specversion: 1.0\r\nce-source: /s\r\nce-id: 1 2\r\nce-type: t\r\n"

TEST(an_event_is_its_source_and_id_where_that_is_wanted)
{
    struct prefer d;
    bool ok = ask(EVENT, false, &d) == 0 && !d.key[0] && !prefer_is_durable(&d);
    ok = ok && ask(EVENT, true, &d) == 0 && strcmp(d.key, "/s 1 2") == 0 && prefer_is_durable(&d);
    ok = ok && ask(EVENT "Idempotency-Key: mine\r\n", true, &d) == 0 && strcmp(d.key, "mine") == 0;
    ok = ok && ask("ce-specversion: 1.0\r\nce-source: /s\r\n", true, &d) == -CODE_INVALID;
    ok = ok && ask("ce-specversion: 1.0\r\nce-source: /s /t\r\nce-id: 1\r\n", true, &d) == -CODE_INVALID;
    CHECK(ok && ask("ce-id: 1\r\n", true, &d) == 0 && !prefer_is_durable(&d)); /* no event */
}

TEST(a_structured_event_has_its_key_inside)
{
    struct prefer d;
    struct err e;
    bool ok = ask("Content-Type: application/CloudEvents+json; charset=utf-8\r\n", true, &d) == 0 && d.structured;
    ok = ok && prefer_structured(&d, STR("{\"source\":\"/s\",\"id\":\"9\"}"), limits(), &e) == 0 && strcmp(d.key, "/s 9") == 0;
    ok = ok && prefer_structured(&d, STR("{\"source\":\"/s\"}"), limits(), &e) == -CODE_INVALID;
    ok = ok && prefer_structured(&d, STR("{\"source\":1,\"id\":\"9\"}"), limits(), &e) == -CODE_INVALID;
    ok = ok && prefer_structured(&d, STR("[]"), limits(), &e) < 0 && prefer_structured(&d, STR("{"), limits(), &e) < 0;
    CHECK(ok && ask("Content-Type: application/cloudevents-batch+json\r\n", true, &d) == 0 && !d.structured);
}

TEST(a_look_is_a_page_of_one_id)
{
#define ID "0197f000-0000-7000-8000-000000000001"
    struct uuid id;
    bool result = false;
    bool ok = prefer_is_look(STR("/v1/invocations/" ID), &id, &result) && !result && id.at[15] == 1;
    ok = ok && prefer_is_look(STR("/v1/invocations/" ID "/result"), &id, &result) && result;
    static const char *const others[] = { "/v1/invocations/", "/v1/invocations", "/v1/invocations/x", ("/v1/invocations/" ID "/"),
                                          "/v1/invocations/result", ("/v1/invocations/" ID "/results"),
                                          ("/x/v1/invocations/" ID) };
    for (size_t i = 0; i < COUNT_OF(others); i++)
        ok = ok && !prefer_is_look(str_of(others[i]), &id, &result);
    CHECK(ok);
}

TEST_MAIN()
