/* What a receiver of callbacks gets. The signatures here were computed by another program (Python's hmac). */
#include "invocation/callback.h"
#include "codec/callback_target.h"
#include "codec/json.h"
#include "tap.h"

static struct uuid id_of(const char *text)
{
    struct uuid id;
    ASSERT(uuid_parse(str_of(text), &id));
    return id;
}
#define ID "01890a5d-ac96-774b-bcce-b302099a8057"

static bool headers_end_with(const char *secret, const char *signature)
{
    struct buf key, out;
    struct err e;
    struct uuid id = id_of(ID);
    buf_init(&key, 4096);
    buf_init(&out, 4096);
    bool good = callback_key_read(str_of(secret), &key, &e) == 0;
    struct str bytes = buf_str(&key);
    if (good)
        callback_headers(&id, 2, 1700000000, &bytes, STR("{\"a\":1}"), &out);
    char *want = xasprintf("Content-Type: application/cloudevents+json; charset=utf-8\nwebhook-id: " ID ".2\n"
                           "webhook-timestamp: 1700000000\nwebhook-signature: v1,%s\n", signature);
    good = good && str_is(buf_str(&out), want);
    free(want);
    buf_done(&key);
    buf_done(&out);
    return good;
}

TEST(signatures_are_those_that_other_programs_compute)
{
    CHECK(headers_end_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "8drMnmudXrQ8nZc4Pqiw9xXYLP20UZsnOpGr5UweBzo="));
    CHECK(headers_end_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "8drMnmudXrQ8nZc4Pqiw9xXYLP20UZsnOpGr5UweBzo="));
    CHECK(headers_end_with("plain secret", "ECjE+8bqFV+zo+mBc+uQM0M56hc4Bo1L9+fnhqqZkJE="));
}

TEST(without_a_secret_nothing_pretends_to_be_signed)
{
    struct buf out;
    struct uuid id = id_of(ID);
    buf_init(&out, 4096);
    callback_headers(&id, 0, 1, NULL, STR("x"), &out);
    bool unsigned_ = str_is(buf_str(&out), "Content-Type: application/cloudevents+json; charset=utf-8\nwebhook-id: " ID
                                           ".0\nwebhook-timestamp: 1\n");
    buf_done(&out);
    CHECK(unsigned_);
}

TEST(secrets_that_cannot_sign_are_refused)
{
    static const char *const rows[] = { "", "\n", "whsec_", "whsec_*", "whsec_QQ" };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf key;
        struct err e;
        buf_init(&key, 4096);
        int r = callback_key_read(str_of(rows[i]), &key, &e);
        buf_done(&key);
        if (r != -CODE_INVALID)
            FAIL("row %zu", i);
    }
}

TEST(a_target_is_a_plain_url_without_credentials)
{
    static const struct {
        const char *url;
        bool good;
    } rows[] = {
        { "http://a/", true }, { "https://hooks.example.org/x?y=1", true }, { "HTTP://a", true }, { "http://[::1]:80/", true },
        { "http://a:8080", true }, { "", false }, { "a/b", false }, { "ftp://a/", false }, { "http://", false },
        { "http:///x", false }, { "http://:80/", false }, { "http://u:p@a/", false }, { "http://a/#x", false },
        { "http://a/ b", false }, { "http://a/\r\nX: y", false }, { "http://a:0/", false }, { "http://a:65536/", false },
        { "http://a:x/", false }, { "http://\xc3\xa4/", false },
    };
    struct err e;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if ((callback_target_check(str_of(rows[i].url), &e) == 0) != rows[i].good)
            FAIL("row %zu: %s", i, rows[i].url);
    char longer[CALLBACK_TARGET_MAX + 2];
    memset(longer, 'a', sizeof longer);
    memcpy(longer, "http://", 7);
    CHECK_EQ(callback_target_check((struct str){ longer, CALLBACK_TARGET_MAX }, &e), 0);
    CHECK_EQ(callback_target_check((struct str){ longer, CALLBACK_TARGET_MAX + 1 }, &e), -CODE_INVALID);
}

TEST(a_client_may_name_only_hosts_that_the_service_lists)
{
    static const struct {
        const char *hosts, *url;
        bool may;
    } rows[] = {
        { "a.org", "http://a.org/", true }, { "a.org", "https://A.ORG:9/x", true }, { "a.org", "http://b.a.org/", false },
        { "a.org", "http://a.org.evil/", false }, { "x, a.org", "http://a.org?b", true }, { "*.a.org", "http://b.a.org/", true },
        { "*.a.org", "http://a.org/", false }, { "*.a.org", "http://ba.org/", false }, { "a.org:80", "http://a.org:80/", true },
        { "a.org:80", "http://a.org:81/", false }, { "a.org:80", "http://a.org/", false }, { "*", "http://any:1/", true },
        { "", "http://a.org/", false }, { "*:80", "http://b:80/", true }, { "*:80", "http://b:81/", false },
        { "[::1]", "http://[::1]:80/", true },
    };
    struct err e;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if ((callback_target_allowed(str_of(rows[i].url), str_of(rows[i].hosts), &e) == 0) != rows[i].may)
            FAIL("row %zu: %s at %s", i, rows[i].url, rows[i].hosts);
    CHECK_EQ(callback_target_hosts(STR("a.org, *.b.org:8443,*"), &e), 0);
    static const char *const wrong[] = { "", " , ", "http://a", "a b", "*a.org", "a*", "a@b", "a:x" };
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        if (callback_target_hosts(str_of(wrong[i]), &e) != -CODE_INVALID)
            FAIL("hosts %zu", i);
}

TEST(the_event_says_how_it_ended_and_where_the_answer_is)
{
    struct buf out;
    struct err e;
    struct uuid id = id_of(ID);
    struct invocation_facts f = { .ns = "team", .service = "greeter", .key = "k\"1", .why = "", .callback = "", .status = INVOKED_FAILED,
                                  .attempt = 3, .redrives = 1, .answer_status = 500, .answer_row = 2, .answer_bytes = 7,
                                  .accepted_ns = INT64_C(1700000000500000000), .ended_ns = INT64_C(1700000001000000000) };
    buf_init(&out, CALLBACK_EVENT_MAX);
    callback_event(&f, &id, &out);
    const struct { const char *path, *want; } texts[] = {
        { "specversion", "1.0" }, { "id", ID ".1" }, { "source", "/namespaces/team/services/greeter" },
        { "type", "dev.hob.invocation.failed" }, { "subject", ID }, { "time", "2023-11-14T22:13:21Z" },
        { "datacontenttype", "application/json" }, { "data.id", ID }, { "data.status", "failed" }, { "data.key", "k\"1" },
        { "data.accepted_at", "2023-11-14T22:13:20.5Z" }, { "data.result", "/v1/invocations/" ID "/result" },
    };
    json_t *j = NULL;
    struct limits limits;
    limits_default(&limits);
    int r = json_read(buf_str(&out), &limits, &j, &e);
    size_t wrong = r < 0;
    for (size_t i = 0; r == 0 && i < COUNT_OF(texts); i++) {
        const char *got = json_text_at(j, texts[i].path);
        wrong += !got || strcmp(got, texts[i].want) != 0;
    }
    json_decref(j);
    buf_done(&out);
    CHECK_EQ(wrong, 0);
}
TEST_MAIN()
