/* The gateway's pure parts: deadlines, the meter of slow peers, problem texts, timings, heads. */
#include "gateway/deadline.h"
#include "gateway/forward.h"
#include "gateway/meter.h"
#include "gateway/problem.h"
#include "tap.h"

struct deadline_case {
    const char *text;
    int64_t left_ms; /* -1: refused */
};
/* Against 2026-03-01T12:00:00Z. */
static const int64_t now_ms = INT64_C(1772366400000);
static const struct deadline_case deadlines[] = {
    { "1500", 1500 },
    { "0", 0 },
    { "18446744073709551616", -1 },
    { "-5", -1 },
    { "", -1 },
    { "soon", -1 },
    { "1.5", -1 },
    { "2026-03-01T12:00:01Z", 1000 },
    { "2026-03-01t12:00:01z", 1000 },
    { "2026-03-01 12:00:01Z", 1000 },
    { "2026-03-01T12:00:00.25Z", 250 },
    { "2026-03-01T12:00:00.2509999999Z", 250 },
    { "2026-03-01T14:00:01+02:00", 1000 },
    { "2026-03-01T06:30:01-05:30", 1000 },
    { "2026-03-01T11:59:59Z", 0 },
    { "1969-12-31T23:59:59Z", 0 },
    { "2028-02-29T12:00:00Z", INT64_C(730) * 86400000 },
    { "2100-03-01T12:00:00Z", INT64_C(27028) * 86400000 },
    { "2026-03-01T12:00:60Z", 60000 },
    { "2027-02-29T12:00:00Z", -1 },
    { "2100-02-29T12:00:00Z", -1 },
    { "2026-13-01T12:00:00Z", -1 },
    { "2026-04-31T12:00:00Z", -1 },
    { "2026-03-01T24:00:00Z", -1 },
    { "2026-03-01T12:00:00", -1 },
    { "2026-03-01T12:00:00.Z", -1 },
    { "2026-03-01T12:00:00+2:00", -1 },
    { "2026-03-01T12:00:00Zx", -1 },
    { "26-03-01T12:00:00Z", -1 },
};

TEST(a_deadline_is_milliseconds_left_or_a_moment_and_nothing_else)
{
    for (size_t i = 0; i < COUNT_OF(deadlines); i++) {
        struct err e = { 0 };
        uint64_t left_ms = 77;
        int r = deadline_parse(str_of(deadlines[i].text), now_ms, &left_ms, &e);
        bool right = deadlines[i].left_ms < 0 ? r == -CODE_INVALID && e.text[0]
                                              : r == 0 && left_ms == (uint64_t)deadlines[i].left_ms;
        if (!right)
            FAIL("\"%s\": r %d, %llu ms left", deadlines[i].text, r, (unsigned long long)left_ms);
    }
}

TEST(a_meter_counts_waiting_against_bytes_and_nothing_else)
{
    struct meter m;
    const uint64_t s = 1000000;
    meter_init(&m, 100, 60 * s);
    CHECK(meter_due_us(&m) == UINT64_MAX); /* not waiting */
    meter_wait(&m, 10 * s);
    meter_wait(&m, 12 * s); /* still the same wait */
    CHECK_EQ(meter_due_us(&m), 15 * s);
    meter_moved(&m, 200, 14 * s); /* 1 s left, 2 s earned */
    CHECK(meter_due_us(&m) == UINT64_MAX);
    meter_wait(&m, 100 * s); /* in between we were the slow side */
    CHECK_EQ(meter_due_us(&m), 103 * s);
    meter_moved(&m, 1, 103 * s); /* a byte of 100 a second buys 10 ms */
    meter_wait(&m, 103 * s);
    CHECK_EQ(meter_due_us(&m), 103 * s + 10000);
    meter_moved(&m, 1000000000, 103 * s); /* much does not buy for ever */
    meter_wait(&m, 104 * s);
    CHECK_EQ(meter_due_us(&m), 164 * s);
    meter_init(&m, 0, 60 * s); /* no limit */
    meter_wait(&m, 1);
    CHECK(meter_due_us(&m) == UINT64_MAX);
}

TEST(a_problem_is_json_whatever_its_text_is_made_of)
{
    struct buf b;
    buf_init(&b, 4096);
    const struct problem p = { .kind = PROBLEM_QUEUE_FULL,
                               .phase = "queue",
                               .retry_after_s = 3,
                               .detail = "a\"b\\c\n\x01\x7f\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"
                                         "\xff\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\xc3",
                               .invocation_id = "id" };
    problem_write(&b, &p);
    AUTO_FREE char *text = buf_take_text(&b);
    CHECK_STR(text,
              "{\"type\":\"urn:hob:problem:queue-full\",\"status\":503,"
              "\"title\":\"The function's queue is full\","
              "\"detail\":\"a\\\"b\\\\c\\u000a\\u0001\\u007f\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"
              "\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\","
              "\"invocation_id\":\"id\",\"phase\":\"queue\",\"retryable\":true,"
              "\"retry_after_s\":3}\n");
}

TEST(problem_names_are_unique_and_their_statuses_are_errors)
{
    for (unsigned i = 0; i < PROBLEM_KINDS; i++) {
        enum problem_kind k = (enum problem_kind)i;
        CHECK(problem_status(k) >= 400 && problem_status(k) < 600);
        for (unsigned j = 0; j < i; j++)
            CHECK(strcmp(problem_name(k), problem_name((enum problem_kind)j)) != 0);
    }
    CHECK_EQ(problem_of_status(431), PROBLEM_HEAD_TOO_LARGE);
    CHECK_EQ(problem_of_status(400), PROBLEM_BAD_REQUEST);
    CHECK_EQ(problem_of_status(599), PROBLEM_BAD_REQUEST);
}

TEST(coverage_falls_when_nobody_accounts_for_a_stretch)
{
    struct start_record s = { .begin_us = 1100 };
    struct timing t = {
        .arrival_us = 1000, .dispatch_us = 1600, .now_us = 2000, .ready_us = 1500, .start = &s
    };
    phase_begin(&s, PHASE_SANDBOX, 1100), phase_end(&s, PHASE_SANDBOX, 1300, PHASE_DONE);
    CHECK_EQ(timing_coverage_permille(&t), 800); /* 1300..1500 is nobody's */
    phase_begin(&s, PHASE_RUNTIME_INIT, 1200), phase_end(&s, PHASE_RUNTIME_INIT, 1500, PHASE_DONE);
    CHECK_EQ(timing_coverage_permille(&t), 1000); /* overlaps count once */
    s.begin_us = 500; /* it came while the start was under way: no queue */
    CHECK_EQ(timing_coverage_permille(&t), 900);
    t.start = NULL;
    CHECK_EQ(timing_coverage_permille(&t), 1000);
}

TEST(a_trace_is_written_and_an_ipv6_client_is_quoted)
{
    static const char request[] = "GET /x HTTP/1.1\r\nHost: [::1]:8080\r\nforwarded: for=a\r\n"
                                  "Forwarded: for=b\r\nX-Forwarded-Proto: https\r\n\r\n";
    struct limits limits;
    struct http1_head h;
    struct buf b;
    struct uuid id;
    limits_default(&limits);
    http1_head_init(&h, HTTP1_REQUEST, &limits);
    buf_init(&b, 4096);
    CHECK(uuid_parse(STR("0190a8c0-1234-7abc-8def-0123456789ab"), &id));
    CHECK_EQ(http1_head_feed(&h, request, sizeof request - 1), HTTP1_DONE);
    struct trace_context trace = { .span = UINT64_C(0x0100000000000000), .sampled = true };
    memcpy(trace.trace_id, id.at, sizeof trace.trace_id);
    forward_request(
        &b, &(struct forward_request){
                .head = &h, .client = STR("2001:db8::7"), .id = &id, .trace = &trace, .hops = 12 });
    forward_request_end(&b, UINT64_MAX, false);
    AUTO_FREE char *text = buf_take_text(&b);
    CHECK_STR(text,
              "GET /x HTTP/1.1\r\nHost: [::1]:8080\r\nX-Forwarded-Proto: https\r\n"
              "Forwarded: for=a, for=b, for=\"[2001:db8::7]\";host=\"[::1]:8080\";proto=http\r\n"
              "X-Forwarded-For: 2001:db8::7\r\nX-Forwarded-Host: [::1]:8080\r\n"
              "traceparent: 00-0190a8c012347abc8def0123456789ab-0100000000000000-01\r\n"
              "Hob-Invocation-Id: 0190a8c0-1234-7abc-8def-0123456789ab\r\nHob-Hops: 12\r\n\r\n");
    http1_head_done(&h);
}

/* The fields as they reach the client, of an answer with these. */
static char *answered(const char *fields)
{
    struct limits limits;
    struct http1_head h;
    struct buf in, out;
    limits_default(&limits);
    http1_head_init(&h, HTTP1_RESPONSE, &limits);
    buf_init(&in, 4096);
    buf_init(&out, 4096);
    buf_printf(&in, "HTTP/1.1 200 OK\r\n%s\r\n", fields);
    ASSERT(http1_head_feed(&h, buf_at(&in), in.size) == HTTP1_DONE);
    forward_answer_fields(&out, &h);
    http1_head_done(&h);
    buf_done(&in);
    return out.size ? buf_take_text(&out) : xstrdup("");
}

struct answer_case {
    const char *from, *to;
};
static const struct answer_case answers[] = {
    { "X-A: 1\r\nContent-Length: 3\r\n", "X-A: 1\r\n" },
    { "hob-invocation-id: forged\r\nX-A: 1\r\n", "X-A: 1\r\n" },
    { "Hob-Problem: start-failed\r\nhOB_Problem: x\r\nHobby: sailing\r\n", "Hobby: sailing\r\n" },
    { "Keep-Alive: 5\r\nContent-Length: 3\r\nHob-X: 1\r\n", "" },
    { "Server-Timing: db;dur=5, queue;dur=0, Handler ;dur=1, model_load;dur=9, cpu\r\n",
      "Server-Timing: db;dur=5, cpu\r\n" },
    { "Server-Timing: queue;dur=0\r\nServer-Timing: x;desc=\"a, queue;dur=1\"\r\n",
      "Server-Timing: x;desc=\"a, queue;dur=1\"\r\n" },
    { "Server-Timing: a, x;desc=\"open\r\n", "Server-Timing: a\r\n" },
    { "Server-Timing: a;desc=\"x\\\"\r\n", "" },
    { "Server-Timing: \"queue\";dur=1\r\n", "" },
    { "Cache-Status: mine; hit, hob-instance; hit, HOB-model;hit, Hobcache; hit\r\n",
      "Cache-Status: mine; hit, Hobcache; hit\r\n" },
    { "cache-status: \"hob-instance\"; hit\r\n", "" },
};

TEST(a_function_cannot_speak_in_hobs_name)
{
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        AUTO_FREE char *text = answered(answers[i].from);
        CHECK_STR(text, answers[i].to);
    }
    struct buf b;
    buf_init(&b, 4096);
    forward_answer_last_chunk(&b, STR("X-Sum: 1\r\nHob-Problem: y\r\nServer-Timing: handler;dur=0, late;dur=2\r\n"));
    forward_answer_last_chunk(&b, STR(""));
    AUTO_FREE char *text = buf_take_text(&b);
    CHECK_STR(text, "0\r\nX-Sum: 1\r\nServer-Timing: late;dur=2\r\n\r\n0\r\n\r\n");
}

TEST_MAIN()
