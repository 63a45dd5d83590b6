/* The gateway between real sockets: clients over loopback, functions at the other end of socket
 * pairs that a fake backend hands out. Time moves only when a test says so. */
#include "../ingress_bench.h"
#include "fds.h"
#include "tap.h"


/* ---- one request -------------------------------------------------------------------------- */

TEST(a_request_goes_out_with_its_fields_and_ours_and_the_answer_comes_back_with_evidence)
{
    BENCH(b);
    int c = client_connect(&b);
    say(c, "GET /a/b?c=d HTTP/1.1\r\nHost: Echo.default.localhost:8080\r\nX-First: 1\r\n"
           "Connection: keep-alive, X-Hop\r\nX-Hop: gone\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
           "X-Forwarded-For: 10.1.1.1\r\nForwarded: for=10.1.1.1\r\nHob-Deadline: 5000\r\n"
           "Hob-Invocation-Id: forged\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n"
           "tracestate: v=1\r\nb3: 1-2-3\r\nX-Last: 2\r\n\r\n");
    int f = function(&b, 0);
    CHECK(f >= 0 && hear(&b, f, "\r\n\r\n"));
    CHECK(str_starts(heard(&b), STR("GET /a/b?c=d HTTP/1.1\r\n"
                                    "Host: Echo.default.localhost:8080\r\nX-First: 1\r\n")));
    CHECK(has(&b, "\r\nb3: 1-2-3\r\nX-Last: 2\r\n"));
    CHECK(has(&b, "\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-") && has(&b, "-00\r\ntracestate: v=1\r\n"));
    CHECK(!has(&b, "b7ad6b7169203331")); /* the function's parent is hob's span, whose parent that is */
    CHECK(!has(&b, "X-Hop") && !has(&b, "Keep-Alive") && !has(&b, "TE:") && !has(&b, "forged"));
    CHECK(has(&b, "\r\nX-Forwarded-For: 10.1.1.1, 127.0.0.1\r\n"));
    CHECK(has(&b, "\r\nForwarded: for=10.1.1.1, for=127.0.0.1;"
                  "host=\"Echo.default.localhost:8080\";proto=http\r\n"));
    CHECK(has(&b, "\r\nX-Forwarded-Proto: http\r\n"));
    CHECK(has(&b, "\r\nX-Forwarded-Host: Echo.default.localhost:8080\r\n"));
    CHECK(has(&b, "\r\nHob-Hops: 1\r\n") && has(&b, "\r\nHob-Deadline: 5000\r\n"));
    CHECK(has(&b, "\r\nHob-Invocation-Id: "));
    forget(&b);
    b.world.now_us += 1500; /* the function thinks */
    say(f, "HTTP/1.1 201 Made it\r\nX-Mine: yes\r\nConnection: X-Inner\r\nX-Inner: no\r\n"
           "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 5\r\n\r\nhello");
    CHECK(hear(&b, c, "hello"));
    CHECK(str_starts(heard(&b), STR("HTTP/1.1 201 Made it\r\nX-Mine: yes\r\nSet-Cookie: a=1\r\n"
                                    "Set-Cookie: b=2\r\nContent-Length: 5\r\n")));
    CHECK(has(&b, "\r\nDate: ") && has(&b, "\r\nHob-Invocation-Id: ") && !has(&b, "X-Inner"));
    CHECK(has(&b, "\r\nServer-Timing: queue;dur=0.000, handler;dur=1.500\r\n"));
    CHECK(has(&b, "\r\nCache-Status: hob-instance; hit\r\n") && !has(&b, "Connection"));

    CHECK_EQ(b.fake.recorded, 1);
    const struct invocation_record *r = &b.fake.records[0];
    CHECK_EQ(r->status, 201);
    CHECK_EQ(r->outcome, INVOCATION_OK);
    CHECK_EQ(r->first_byte_us - r->dispatch_us, 1500);
    CHECK_EQ(r->response_bytes, 5);
    CHECK_STR(r->method, "GET");
    CHECK_STR(r->path, "/a/b");
    CHECK(r->trace.parent_span == UINT64_C(0xb7ad6b7169203331) && !r->trace.sampled && r->trace.trace_id[0] == 0x0a);
    CHECK_STR(r->service, "echo");
    CHECK_STR(r->instance, "echo-1");
    CHECK(!r->cold && !r->has_start && r->coverage_permille == 1000);
    CHECK_EQ(ingress_counters(b.ingress)->requests[2], 1);
    CHECK_EQ(ingress_counters(b.ingress)->in_flight, 0);
    CHECK(ingress_idle(b.ingress));
    close(c);
    bench_end(&b);
}

struct exchange_case {
    const char *name, *request, *expect /* by the function */, *not_expect, *answer;
    bool function_ends; /* closes after the answer */
    const char *client_gets, *client_gets_not;
    bool stays_open;
    int outcome;
};
static const struct exchange_case exchanges[] = {
    { "HEAD keeps the length and has no body", "HEAD / HTTP/1.1\r\n" HOST "\r\n", "HEAD / ", NULL,
      "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", false, "Content-Length: 1234\r\n", NULL,
      true, INVOCATION_OK },
    { "204 gets no length", GET, "GET", NULL, "HTTP/1.1 204 No Content\r\n\r\n", false,
      "HTTP/1.1 204 No Content\r\n", "Content-Length", true, INVOCATION_OK },
    { "304 keeps its length", GET, "GET", NULL,
      "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", false, "Content-Length: 99\r\n",
      NULL, true, INVOCATION_OK },
    { "an empty answer says so", GET, "GET", NULL, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
      false, "Content-Length: 0\r\n", NULL, true, INVOCATION_OK },
    { "an empty POST says so", "POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
      "Content-Length: 0\r\n", NULL, OK, false, "hi", NULL, true, INVOCATION_OK },
    { "a body with a length", "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
      "\r\n\r\nhello", "Transfer-Encoding", OK, false, "hi", NULL, true, INVOCATION_OK },
    { "a chunked body is chunked anew, extensions gone, trailers kept",
      "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n"
      "0\r\nX-Sum: 7\r\n\r\n",
      "\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\nX-Sum: 7\r\n\r\n", ";x=y", OK, false, "hi", NULL, true,
      INVOCATION_OK },
    { "a chunked answer with trailers", GET, "GET", NULL,
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 9\r\n\r\n",
      false, "Transfer-Encoding: chunked\r\n", NULL, true, INVOCATION_OK },
    { "an answer does not speak in hob's name", GET, "GET", NULL,
      "HTTP/1.1 200 OK\r\nHob-Problem: forged\r\nServer-Timing: ready;dur=777\r\nX-A: 1\r\n"
      "Content-Length: 2\r\n\r\nhi", false, "200 OK\r\nX-A: 1\r\nContent-Length: 2\r\n", "dur=777", true, INVOCATION_OK },
    { "nor does its trailer", GET, "GET", NULL,
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nHob-X: forged\r\nX-Sum: 9\r\n\r\n",
      false, "0\r\nX-Sum: 9\r\n\r\n", "forged", true, INVOCATION_OK },
    { "an answer that ends with its connection is chunked", GET, "GET", NULL,
      "HTTP/1.1 200 OK\r\n\r\nall of it", true, "9\r\nall of it\r\n0\r\n\r\n", "Content-Length",
      true, INVOCATION_OK },
    { "HTTP/1.0 gets a chunked answer plain, and its end", "GET / HTTP/1.0\r\n" HOST "\r\n",
      "HTTP/1.1", NULL, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
      false, "\r\n\r\nhi", "chunked", false, INVOCATION_OK },
    { "HTTP/1.0 may keep its connection",
      "GET / HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n", "HTTP/1.1", NULL, OK, false,
      "Connection: keep-alive\r\n", NULL, true, INVOCATION_OK },
    { "not even HTTP/1.0 that would keep its connection gets a chunk",
      "GET / HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n", "HTTP/1.1", NULL,
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", false,
      "Connection: close\r\n", "chunked", false, INVOCATION_OK },
    { "the client's close is honoured", "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
      "GET", "Connection", OK, false, "Connection: close\r\n", NULL, false, INVOCATION_OK },
    { "the function's close is its own affair", GET, "GET", NULL,
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", true, "hi", "close",
      true, INVOCATION_OK },
    { "1xx is relayed", GET, "GET", NULL, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" OK,
      false, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200", NULL, true,
      INVOCATION_OK },
    { "1xx is not for HTTP/1.0", "GET / HTTP/1.0\r\n" HOST "\r\n", "GET", NULL,
      "HTTP/1.1 103 Early Hints\r\n\r\n" OK, false, "HTTP/1.1 200 OK", " 103 ", false,
      INVOCATION_OK },
    { "5xx is the function's", GET, "GET", NULL, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
      false, "HTTP/1.1 500 Oops\r\n", "urn:hob", true, INVOCATION_FUNCTION_ERROR },
    { "an answer that is not HTTP", GET, "GET", NULL, "SSH-2.0-x\r\n\r\n", false,
      "HTTP/1.1 502 Bad Gateway\r\n", NULL, true, INVOCATION_FAILED },
    { "an answer with two lengths", GET, "GET", NULL,
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", false,
      "urn:hob:problem:bad-answer", NULL, true, INVOCATION_FAILED },
    { "101 that nobody asked for", GET, "GET", NULL,
      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", false,
      "urn:hob:problem:bad-answer", "HTTP/1.1 101", true, INVOCATION_FAILED },
    { "death before the answer", "POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", "POST", NULL, "", true, "urn:hob:problem:instance-died", NULL,
      true, INVOCATION_FAILED },
    { "death in the head", GET, "GET", NULL, "HTTP/1.1 200 O", true,
      "urn:hob:problem:instance-died", NULL, true, INVOCATION_FAILED },
    { "h2c is not asked for",
      "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
      "HTTP2-Settings: AAA\r\n\r\n",
      "GET", "pgrade", OK, false, "hi", NULL, true, INVOCATION_OK },
};

static void exchange_run(const struct exchange_case *x)
{
    BENCH(b);
    int c = client_connect(&b);
    say(c, x->request);
    int f = function(&b, 0);
    CHECK(f >= 0 && hear(&b, f, x->expect) && hear(&b, f, "\r\n\r\n"));
    CHECK(!x->not_expect || !has(&b, x->not_expect));
    forget(&b);
    if (*x->answer)
        say(f, x->answer);
    if (x->function_ends)
        hang_up(&b, 0);
    CHECK(hear(&b, c, x->client_gets) && hear(&b, c, "\r\n\r\n"));
    CHECK(has(&b, "Hob-Invocation-Id: ") && has(&b, "Server-Timing: queue;dur="));
    CHECK(UNTIL(&b, b.fake.recorded == 1));
    CHECK_EQ(b.fake.records[0].outcome, x->outcome);
    if (x->stays_open) {
        say(c, "GET /again HTTP/1.1\r\n" HOST "\r\n");
        CHECK(UNTIL(&b, b.fake.asked == 2));
    } else {
        CHECK_EQ(hear_end(&b, c), -1);
    }
    (void)listen_once(&b, c);
    CHECK(!x->client_gets_not || !has(&b, x->client_gets_not));
    close(c);
    bench_end(&b);
}

TEST(whoever_routes_hears_the_tag_and_that_the_client_is_near)
{
    BENCH(b);
    int c = client_connect(&b);
    say(c, "GET / HTTP/1.1\r\n" HOST "knative-serving-tag: next\r\nKnative-Serving-Revision: mine\r\n"
           "knative-serving-namespace: mine\r\n\r\n");
    int f = function(&b, 0);
    CHECK(f >= 0 && hear(&b, f, "\r\n\r\n"));
    CHECK_STR(b.fake.tag, "next");
    CHECK(b.fake.from_here);
    CHECK(has(&b, "\r\nknative-serving-tag: next\r\n")); /* the function may look, too */
    CHECK(!has(&b, "mine")); /* but not at what Knative's parts tell each other */
    forget(&b);
    say(f, OK);
    CHECK(hear(&b, c, "hi"));
    forget(&b);
    say(c, GET);
    CHECK(hear(&b, f, "\r\n\r\n"));
    CHECK_STR(b.fake.tag, "");
    forget(&b);
    say(f, OK);
    CHECK(hear(&b, c, "hi"));
    close(c);
    bench_end(&b);
}

TEST(only_on_the_nodes_own_connection_is_a_request_believed_to_be_an_attempt)
{
    static const char request[] = "GET / HTTP/1.1\r\n" HOST "Hob-Invocation-Id: 0190a8c0-1234-7abc-8def-0123456789ab\r\n"
                                  "Hob-Attempt: 3\r\nHob-Checkpoint: aGk=\r\n\r\n";
    for (int own = 0; own < 2; own++) {
        BENCH(b);
        int ends[2] = { -1, -1 };
        if (own) {
            CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
            ingress_adopt(b.ingress, ends[1]);
        }
        int c = own ? ends[0] : client_connect(&b);
        say(c, request);
        int f = function(&b, 0);
        CHECK(f >= 0 && hear(&b, f, "\r\n\r\n"));
        CHECK_EQ(has(&b, "\r\nHob-Invocation-Id: 0190a8c0-1234-7abc-8def-0123456789ab\r\n"), own == 1);
        CHECK_EQ(has(&b, "\r\nHob-Attempt: 3\r\n"), own == 1);
        CHECK_EQ(has(&b, "\r\nHob-Checkpoint: aGk=\r\n"), own == 1);
        const char *end = buf_at(&b.heard) + b.heard.size, *first = memmem(buf_at(&b.heard), b.heard.size, "Hob-Inv", 7);
        CHECK(first && !memmem(first + 1, (size_t)(end - first - 1), "Hob-Inv", 7)); /* once, whoever says it */
        CHECK(b.fake.from_here);
        forget(&b);
        say(f, OK);
        CHECK(hear(&b, c, "hi"));
        close(c);
        bench_end(&b);
    }
}

TEST(the_function_is_told_by_which_target_it_has_the_request)
{
    static const struct {
        const char *tag, *sent, *has, *has_not;
        bool default_route;
    } rows[] = {
        { "next", "Knative-Serving-Tag: next\r\n", "\r\nKnative-Serving-Tag: next\r\n", "Default-Route", false },
        { "next", "knative-serving-tag: forged\r\n", "\r\nKnative-Serving-Tag: next\r\n", "forged", false },
        { "", "", "\r\nKnative-Serving-Default-Route: true\r\n", "Knative-Serving-Tag", true },
        { "", "Knative-Serving-Tag: gone\r\n", "\r\nKnative-Serving-Tag: gone\r\n", "Default-Route: forged", true },
        { "", "Knative-Serving-Default-Route: forged\r\n", "\r\nKnative-Serving-Default-Route: true\r\n", "forged", true },
        { "", "knative-serving-default-route: forged\r\n", "\r\n\r\n", "efault-", false },
    };
    BENCH(b);
    int c = client_connect(&b), f = -1;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        b.fake.way = (struct backend_way){ str_of(rows[i].tag), rows[i].default_route };
        say(c, "GET / HTTP/1.1\r\n" HOST);
        say(c, rows[i].sent);
        say(c, "\r\n");
        f = i == 0 ? function(&b, 0) : f;
        CHECK(f >= 0 && hear(&b, f, "\r\n\r\n"));
        if (!has(&b, rows[i].has) || has(&b, rows[i].has_not))
            FAIL("row %zu", i);
        forget(&b);
        say(f, OK);
        CHECK(hear(&b, c, "hi"));
        forget(&b);
    }
    close(c);
    bench_end(&b);
}

TEST(a_question_about_the_way_is_answered_here_and_wakes_and_costs_nobody)
{
    static const struct {
        const char *fields, *answer, *end;
    } rows[] = {
        { "K-Network-Probe: probe\r\nK-Network-Hash: 0a1b\r\n", "K-Network-Hash: 0a1b\r\nContent-Length: 0\r\n", "\r\n\r\n" },
        { "k-network-probe: queue\r\n", "Content-Length: 5\r\n", "\r\n\r\nqueue" },
        { "K-Network-Probe: activator\r\nContent-Length: 3\r\n", "Content-Length: 9\r\n", "\r\n\r\nactivator" },
        { "K-Network-Probe: probe\r\n", "HTTP/1.1 400 ", "non-empty \\\"K-Network-Hash\\\"" },
        { "K-Network-Probe:\r\n", "HTTP/1.1 400 ", "unexpected probe header value" },
        { "K-Network-Probe: webhook\r\n", "HTTP/1.1 400 ", "unexpected probe header value" },
    };
    BENCH(b);
    int c = client_connect(&b);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bool refused = str_starts(str_of(rows[i].answer), STR("HTTP/1.1 400"));
        int recorded = b.fake.recorded;
        say(c, "POST / HTTP/1.1\r\n" HOST);
        say(c, rows[i].fields);
        say(c, i == 2 ? "\r\nabc" : "\r\n");
        if (!hear(&b, c, rows[i].end) || !has(&b, rows[i].answer) || (!refused && !has(&b, "HTTP/1.1 200 OK\r\n")))
            FAIL("row %zu", i);
        CHECK_EQ(b.fake.recorded, recorded + (refused ? 1 : 0));
        CHECK_EQ(ingress_counters(b.ingress)->in_flight, 0);
        if (refused)
            (void)hear(&b, c, "}\n");
        forget(&b);
    }
    CHECK_EQ(b.fake.asked, 0);
    say(c, GET); /* the connection goes on, and what is no such question goes to the function */
    CHECK(UNTIL(&b, b.fake.asked == 1));
    close(c);
    bench_end(&b);
}

TEST(every_form_of_exchange_is_forwarded_as_http_says)
{
    for (size_t i = 0; i < COUNT_OF(exchanges); i++) {
        exchange_run(&exchanges[i]);
        if (tap_failed)
            FAIL("case: %s", exchanges[i].name);
    }
}

/* ---- refusals ----------------------------------------------------------------------------- */

struct refusal_case {
    const char *name, *request, *answer, *detail;
    bool stays_open;
};
static const struct refusal_case refusals[] = {
    { "unknown host", "GET / HTTP/1.1\r\nHost: nobody.here\r\n\r\n", "HTTP/1.1 404 Not Found\r\n",
      "nobody.here", true },
    { "unknown host, small body",
      "POST / HTTP/1.1\r\nHost: nobody.here\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 404 ",
      "unknown-host", true },
    { "unknown host, body to come",
      "POST / HTTP/1.1\r\nHost: nobody.here\r\nContent-Length: 20\r\n\r\nhi", "HTTP/1.1 404 ",
      "unknown-host", false },
    { "unknown host, waiting for 100",
      "POST / HTTP/1.1\r\nHost: nobody.here\r\nContent-Length: 20\r\nExpect: 100-continue\r\n\r\n",
      "HTTP/1.1 404 ", "unknown-host", false },
    { "no host", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 404 ", "unknown-host", false },
    { "hops", "GET / HTTP/1.1\r\n" HOST "Hob-Hops: 16\r\n\r\n", "HTTP/1.1 508 ", "hops_max is 16",
      true },
    { "hops that are no number", "GET / HTTP/1.1\r\n" HOST "Hob-Hops: -1\r\n\r\n", "HTTP/1.1 400 ",
      "Hob-Hops", true },
    { "deadline passed", "GET / HTTP/1.1\r\n" HOST "Hob-Deadline: 0\r\n\r\n", "HTTP/1.1 504 ",
      "\"phase\":\"queue\"", true },
    { "deadline long ago", "GET / HTTP/1.1\r\n" HOST "Hob-Deadline: 1994-11-06T08:49:37Z\r\n\r\n",
      "HTTP/1.1 504 ", "urn:hob:problem:deadline", true },
    { "deadline that is none", "GET / HTTP/1.1\r\n" HOST "Hob-Deadline: soon\r\n\r\n",
      "HTTP/1.1 400 ", "RFC 3339", true },
    /* Smuggling: whatever two readers could understand differently. */
    { "CL.TE",
      "POST / HTTP/1.1\r\n" HOST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "HTTP/1.1 400 ", "bad-request", false },
    { "two lengths",
      "POST / HTTP/1.1\r\n" HOST "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
      "HTTP/1.1 400 ", "bad-request", false },
    { "TE.TE", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
      "HTTP/1.1 ", "bad-request\"", false },
    { "obs-fold", "GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", "HTTP/1.1 400 ", "bad-request",
      false },
    { "bare LF", "GET / HTTP/1.1\n" HOST "\n", "HTTP/1.1 400 ", "bad-request", false },
    { "space before colon", "POST / HTTP/1.1\r\n" HOST "Content-Length : 3\r\n\r\nabc",
      "HTTP/1.1 400 ", "bad-request", false },
    { "two hosts", "GET / HTTP/1.1\r\n" HOST "Host: other\r\n\r\n", "HTTP/1.1 400 ", "bad-request",
      false },
    { "another host in the target", "GET http://other/ HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 ",
      "bad-request", false },
    { "Content_Length", "POST / HTTP/1.1\r\n" HOST "Content_Length: 3\r\n\r\n", "HTTP/1.1 400 ",
      "bad-request", false },
    { "stripping Host", "GET / HTTP/1.1\r\n" HOST "Connection: host\r\n\r\n", "HTTP/1.1 400 ",
      "bad-request", false },
    { "CONNECT", "CONNECT echo:80 HTTP/1.1\r\nHost: echo:80\r\n\r\n", "HTTP/1.1 ",
      "\"status\":", false },
    { "HTTP/2 preface, almost", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", "HTTP/1.1 505 ",
      "http-version", false },
};

static void refusal_run(const struct refusal_case *x)
{
    BENCH(b);
    int c = client_connect(&b);
    say(c, x->request);
    CHECK(hear(&b, c, "}\n"));
    CHECK(str_starts(heard(&b), str_of(x->answer)));
    CHECK(has(&b, x->detail) && has(&b, "Content-Type: application/problem+json\r\nHob-Problem: "));
    CHECK(has(&b, "\r\nHob-Invocation-Id: ") && has(&b, "\r\nServer-Timing: queue;dur="));
    CHECK(has(&b, "\"invocation_id\":\"") && !has(&b, "100 Continue"));
    forget(&b);
    if (x->stays_open) {
        say(c, GET);
        CHECK(UNTIL(&b, b.fake.asked == 1));
    } else {
        CHECK_EQ(hear_end(&b, c), -1); /* an end, not a reset: the answer must arrive */
        CHECK_EQ(b.fake.asked, 0);
    }
    close(c);
    bench_end(&b);
}

TEST(what_is_refused_never_reaches_a_function_and_is_told_why)
{
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        refusal_run(&refusals[i]);
        if (tap_failed)
            FAIL("case: %s", refusals[i].name);
    }
}

TEST(a_body_that_turns_out_to_be_malformed_drops_the_function_and_all_that_follows)
{
    BENCH(b);
    int c = client_connect(&b);
    say(c, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
    int f = function(&b, 0);
    CHECK(hear(&b, f, "2\r\nhi\r\n"));
    say(c, "0x5\r\nGET /smuggled HTTP/1.1\r\n" HOST "\r\n");
    CHECK_EQ(hear_end(&b, f), -1);
    CHECK(!has(&b, "smuggled") && !has(&b, "\r\n0\r\n\r\n"));
    forget(&b);
    CHECK(hear(&b, c, "bad-request"));
    CHECK_EQ(hear_end(&b, c), -1);
    CHECK_EQ(b.fake.asked, 1);
    CHECK_EQ(b.fake.recorded, 1);
    CHECK_EQ(b.fake.records[0].status, 400);
    close(c);
    bench_end(&b);
}

struct denial_case {
    enum ticket_result result;
    const char *status, *type;
    bool retry_after;
    int outcome;
};
static const struct denial_case denials[] = {
    { TICKET_FULL, "HTTP/1.1 503 ", "queue-full", true, INVOCATION_REFUSED },
    { TICKET_OVERLOAD, "HTTP/1.1 429 ", "overloaded", true, INVOCATION_REFUSED },
    { TICKET_LATE, "HTTP/1.1 504 ", "queue-timeout", false, INVOCATION_TIMEOUT },
    { TICKET_FAILED, "HTTP/1.1 503 ", "start-failed", true, INVOCATION_FAILED },
};

TEST(what_the_backend_denies_is_said_with_its_reason_and_when_to_come_again)
{
    BENCH(b);
    int c = client_connect(&b);
    err_set(&b.fake.why, CODE_UNAVAILABLE, "model \"%s\" is\nnot there", "m\x80");
    for (size_t i = 0; i < COUNT_OF(denials); i++) {
        const struct denial_case *d = &denials[i];
        b.fake.next = d->result;
        forget(&b);
        say(c, GET);
        CHECK(hear(&b, c, "}\n"));
        CHECK(has(&b, d->status) && has(&b, d->type) && has(&b, "\"phase\":\"queue\""));
        CHECK(has(&b, "model \\\"m\\ufffd\\\" is\\u000anot there"));
        CHECK_EQ(has(&b, "\r\nRetry-After: 7\r\n"), d->retry_after);
        CHECK_EQ(has(&b, "\"retry_after_s\":7"), d->retry_after);
        CHECK_EQ(b.fake.recorded, (int)i + 1);
        CHECK_EQ(b.fake.records[i].outcome, d->outcome);
        CHECK_EQ(b.fake.records[i].dispatch_us, 0);
    }
    CHECK_EQ(ingress_counters(b.ingress)->refused[PROBLEM_QUEUE_FULL], 1);
    close(c);
    bench_end(&b);
}

/* ---- connections -------------------------------------------------------------------------- */

TEST(pipelined_requests_are_answered_in_order_over_one_connection_each_way)
{
    BENCH(b);
    int c = client_connect(&b);
    say(c, "GET /1 HTTP/1.1\r\n" HOST "\r\nPOST /2 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
           "GET /3 HTTP/1.1\r\n" HOST "\r\n");
    int f = function(&b, 0);
    for (int i = 1; i <= 3; i++) {
        char path[16], answer[96];
        snprintf(path, sizeof path, " /%d ", i);
        CHECK(hear(&b, f, path) && hear(&b, f, i == 2 ? "\r\n\r\nabc" : "\r\n\r\n"));
        CHECK_EQ(b.fake.asked, i); /* not before the one before is answered */
        forget(&b);
        snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nX-Nr: %d\r\nContent-Length: 0\r\n\r\n",
                 i);
        say(f, answer);
        snprintf(answer, sizeof answer, "X-Nr: %d\r\n", i);
        CHECK(hear(&b, c, answer) && hear(&b, c, "\r\n\r\n"));
        forget(&b);
    }
    CHECK_EQ(b.fake.connected, 1);
    CHECK_EQ(ingress_counters(b.ingress)->connections, 1);
    close(c);
    bench_end(&b);
}

TEST(a_flood_of_pipelined_requests_takes_turns_with_others)
{
    BENCH(b);
    int c = client_connect(&b);
    char flood[500 * 27 + 1];
    for (int i = 0; i < 500; i++)
        memcpy(flood + (size_t)i * 27, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 28);
    say(c, flood); /* at once: the gateway reads many in one go */
    const uint64_t *answered = &ingress_counters(b.ingress)->requests[4];
    CHECK(UNTIL(&b, *answered > 0));
    CHECK(*answered <= 64);
    CHECK(UNTIL(&b, (listen_once(&b, c), *answered == 500)));
    close(c);
    bench_end(&b);
}

/* The loop hands out a slot again in the turn in which it became free; the old owner's hang-up may
 * then be told to the new one. */
TEST(an_event_left_over_from_another_connection_ends_nobody)
{
    BENCH(b);
    int old = client_connect(&b);
    say(old, GET);
    int f = function(&b, 0);
    CHECK(hear(&b, f, "\r\n\r\n"));
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    forget(&b);
    CHECK(hear(&b, old, "half"));
    hang_up(&b, 0); /* in this order they are seen, in one turn: the old one is reset, */
    int new = client_connect(&b); /* the new one takes its slot, */
    close(old);                   /* and this is told to it */
    say(new, GET);
    f = function(&b, 1);
    CHECK(f >= 0 && hear(&b, f, "\r\n\r\n"));
    forget(&b);
    say(f, OK);
    CHECK(hear(&b, new, "\r\n\r\nhi"));
    close(new);
    bench_end(&b);
}

TEST(a_head_may_come_byte_by_byte)
{
    BENCH(b);
    int c = client_connect(&b);
    for (const char *at = GET; *at; at++) {
        char one[2] = { *at, '\0' };
        say(c, one);
        turn(&b);
    }
    int f = function(&b, 0);
    CHECK(hear(&b, f, "\r\n\r\n"));
    forget(&b);
    for (const char *at = OK; *at; at++) {
        char one[2] = { *at, '\0' };
        say(f, one);
        turn(&b);
    }
    CHECK(hear(&b, c, "\r\n\r\nhi"));
    close(c);
    bench_end(&b);
}

TEST(expect_continue_is_answered_when_an_instance_is_granted_and_not_before)
{
    BENCH(b);
    int c = client_connect(&b);
    b.fake.hold = true;
    say(c, "POST / HTTP/1.1\r\n" HOST "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    CHECK(UNTIL(&b, b.fake.asked == 1));
    CHECK_EQ(listen_once(&b, c), 0);
    loop_defer(b.loop, &b.fake.task);
    CHECK(hear(&b, c, "HTTP/1.1 100 Continue\r\n\r\n"));
    CHECK_EQ(heard(&b).size, 25);
    say(c, "hi");
    int f = function(&b, 0);
    forget(&b);
    CHECK(hear(&b, f, "\r\n\r\nhi") && !has(&b, "Expect"));
    forget(&b);
    say(f, "HTTP/1.1 100 Continue\r\n\r\n" OK); /* the function's own is one too many */
    CHECK(hear(&b, c, "\r\n\r\nhi") && !has(&b, "HTTP/1.1 100"));
    close(c);
    bench_end(&b);
}

TEST(both_directions_stream_at_once)
{
    BENCH(b);
    int c = client_connect(&b);
    say(c, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    int f = function(&b, 0);
    CHECK(hear(&b, f, "\r\n\r\n"));
    say(f, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    forget(&b);
    CHECK(hear(&b, c, "\r\n\r\n"));
    for (int i = 0; i < 5; i++) {
        char piece[32];
        snprintf(piece, sizeof piece, "5\r\nping%d\r\n", i);
        say(c, piece);
        CHECK(hear(&b, f, piece));
        piece[4] = 'o';
        say(f, piece);
        CHECK(hear(&b, c, piece));
    }
    say(c, "0\r\n\r\n");
    CHECK(hear(&b, f, "0\r\n\r\n"));
    forget(&b);
    say(f, "0\r\n\r\n");
    CHECK(hear(&b, c, "0\r\n\r\n"));
    CHECK_EQ(b.fake.records[0].request_bytes, 25);
    CHECK_EQ(b.fake.records[0].response_bytes, 25);
    CHECK_EQ(b.fake.idle_count, 1);
    close(c);
    bench_end(&b);
}

/* `from` sends `total` patterned bytes, `to` takes them; the gateway may hold only its share. */
static bool carries(struct bench *b, int from, int to, uint64_t total, bool to_rests)
{
    static char block[65536], got[65536];
    uint64_t sent = 0, taken = 0, stuck = 0, end = patience_end() + 50;
    while (taken < total && patience_end() - 10 < end) {
        size_t size = (size_t)MIN(sizeof block, total - sent);
        for (size_t i = 0; i < size; i++)
            block[i] = (char)((sent + i) * 31 >> 3);
        ssize_t n = size ? send(from, block, size, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        sent += n > 0 ? (uint64_t)n : 0;
        turn(b);
        stuck = n <= 0 ? stuck + 1 : 0;
        to_rests = to_rests && stuck < 200;
        if (to_rests)
            continue; /* until everything is full and nothing moves any more */
        n = recv(to, got, sizeof got, MSG_DONTWAIT);
        for (ssize_t i = 0; i < n; i++)
            if (got[i] != (char)((taken + (uint64_t)i) * 31 >> 3))
                return false;
        taken += n > 0 ? (uint64_t)n : 0;
    }
    return taken == total;
}

TEST(64_mb_go_through_each_way_while_only_a_buffer_of_them_is_held)
{
    BENCH(b);
    int c = client_connect(&b);
    const size_t bound = b.limits.http_stream_buffer_bytes + 64;
    say(c, "POST / HTTP/1.1\r\n" HOST "Content-Length: 67108864\r\n\r\n");
    int f = function(&b, 0);
    CHECK(hear(&b, f, "\r\n\r\n"));
    CHECK(carries(&b, c, f, MIB(64), true));
    CHECK(b.held_max > 4096 && b.held_max <= bound);
    b.held_max = 0;
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n");
    forget(&b);
    CHECK(UNTIL(&b, recv(c, (char[1]){ 0 }, 1, MSG_PEEK) == 1));
    size_t size = 0;
    char head[4096];
    for (char *end = NULL; !end; size++) { /* byte by byte, not to take any of the body */
        CHECK(size < sizeof head - 1 && UNTIL(&b, recv(c, head + size, 1, 0) == 1));
        head[size + 1] = '\0';
        end = strstr(head, "\r\n\r\n");
    }
    CHECK(carries(&b, f, c, MIB(64), true));
    CHECK(b.held_max > 4096 && b.held_max <= bound);
    CHECK(UNTIL(&b, b.fake.recorded == 1));
    CHECK_EQ(b.fake.records[0].request_bytes, MIB(64));
    CHECK_EQ(b.fake.records[0].response_bytes, MIB(64));
    CHECK_EQ(b.fake.idle_count, 1);
    close(c);
    bench_end(&b);
}

/* ---- the client goes ---------------------------------------------------------------------- */

TEST(a_client_that_leaves_the_queue_takes_its_ticket_along)
{
    BENCH(b);
    int c = client_connect(&b);
    b.fake.hold = true;
    say(c, GET);
    CHECK(UNTIL(&b, b.fake.asked == 1));
    close(c);
    CHECK(UNTIL(&b, b.fake.cancelled == 1));
    CHECK_EQ(b.fake.recorded, 1);
    CHECK_EQ(b.fake.records[0].outcome, INVOCATION_CLIENT_GONE);
    CHECK_EQ(b.fake.records[0].status, 0);
    CHECK_EQ(b.fake.waiting.count, 0);
    CHECK(ingress_idle(b.ingress));
    bench_end(&b);
}

TEST(a_client_that_leaves_takes_the_functions_connection_along_at_once)
{
    static const char *const before[] = { "", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf" };
    for (int i = 0; i < 2; i++) {
        BENCH(b);
        int c = client_connect(&b);
        say(c, GET);
        int f = function(&b, 0);
        CHECK(hear(&b, f, "\r\n\r\n"));
        say(f, before[i]);
        forget(&b);
        CHECK(!*before[i] || hear(&b, c, "half"));
        close(c);
        CHECK_EQ(hear_end(&b, f), -1);
        CHECK_EQ(b.fake.recorded, 1);
        CHECK_EQ(b.fake.records[0].outcome, INVOCATION_CLIENT_GONE);
        CHECK_EQ(b.fake.records[0].status, i == 0 ? 0 : 200);
        CHECK_EQ(b.fake.unhealthy, 0);
        CHECK_EQ(ingress_counters(b.ingress)->client_gone, 1);
        bench_end(&b);
    }
}

/* ---- the function goes -------------------------------------------------------------------- */

TEST(an_answer_cut_short_resets_the_client_and_adds_nothing)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    };
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        BENCH(b);
        int c = client_connect(&b);
        say(c, GET);
        int f = function(&b, 0);
        CHECK(hear(&b, f, "\r\n\r\n"));
        forget(&b);
        say(f, answers[i]);
        CHECK(hear(&b, c, "half"));
        hang_up(&b, 0);
        CHECK_EQ(hear_end(&b, c), -2);
        CHECK(!has(&b, "problem") && !has(&b, "\r\n0\r\n"));
        CHECK_EQ(b.fake.records[0].outcome, INVOCATION_FAILED);
        CHECK_EQ(b.fake.records[0].status, 200);
        CHECK_EQ(b.fake.unhealthy, 1);
        close(c);
        bench_end(&b);
    }
}

TEST(what_came_before_the_cut_arrives_before_the_reset)
{
    BENCH(b);
    int c = client_connect(&b);
    say(c, GET);
    int f = function(&b, 0);
    CHECK(hear(&b, f, "\r\n\r\n"));
    forget(&b);
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"); /* and gone in the same turn */
    hang_up(&b, 0);
    CHECK(hear(&b, c, "half"));
    CHECK_EQ(hear_end(&b, c), -2);
    close(c);
    bench_end(&b);
}

/* A kept-alive connection that the function closes at the worst moment: when the request is already
 * written. `more` of its body is seen before that, and cannot be written any more. */
static void stale(struct bench *b, int c, const char *request, const char *more)
{
    forget(b);
    say(c, GET);
    int f = function(b, 0);
    CHECK(hear(b, f, "\r\n\r\n"));
    say(f, OK);
    CHECK(hear(b, c, "\r\n\r\nhi"));
    CHECK_EQ(b->fake.idle_count, 1);
    forget(b);
    say(c, request);
    CHECK(hear(b, f, "/second") && hear(b, f, "\r\n\r\nabc"));
    forget(b);
    turn(b); /* nothing older is left to be seen, so that this is seen first: */
    say(c, more);
    CHECK(delivered(c));
    hang_up(b, 0);
}

TEST(an_idempotent_request_on_a_stale_connection_is_sent_once_more)
{
    BENCH(b);
    int c = client_connect(&b);
    stale(&b, c, "PUT /second HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", "");
    CHECK(!tap_failed);
    int f = function(&b, 1);
    CHECK(hear(&b, f, "PUT /second") && hear(&b, f, "\r\n\r\nabc"));
    CHECK_EQ(b.fake.reconnects, 1);
    forget(&b);
    hang_up(&b, 1); /* and only once */
    CHECK(hear(&b, c, "instance-died"));
    CHECK_EQ(b.fake.reconnects, 1);
    CHECK_EQ(b.fake.recorded, 2);
    close(c);
    bench_end(&b);
}

TEST(an_idempotent_request_that_one_instance_dropped_goes_to_another_once)
{
    BENCH(b);
    int c = client_connect(&b);
    say(c, "PUT /second HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
    int f = function(&b, 0);
    CHECK(hear(&b, f, "\r\n\r\nabc"));
    forget(&b);
    hang_up(&b, 0);
    f = function(&b, 1);
    CHECK(hear(&b, f, "PUT /second") && hear(&b, f, "\r\n\r\nabc"));
    CHECK(b.fake.retries == 1 && b.fake.reconnects == 0 && b.fake.unhealthy == 1);
    forget(&b);
    hang_up(&b, 1);
    CHECK(hear(&b, c, "instance-died"));
    CHECK_EQ(b.fake.retries, 1);
    CHECK_EQ(b.fake.unhealthy, 2);
    CHECK_EQ(b.fake.recorded, 1);
    close(c);
    bench_end(&b);
}

TEST(what_has_begun_to_answer_or_is_not_idempotent_is_not_tried_elsewhere)
{
    static const struct {
        const char *request, *answer;
    } cases[] = { { GET, "HTTP/1.1 200 O" },
                  { GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi" },
                  { "POST / HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab", "" } };
    for (size_t k = 0; k < COUNT_OF(cases); k++) {
        BENCH(b);
        int c = client_connect(&b);
        say(c, cases[k].request);
        int f = function(&b, 0);
        CHECK(hear(&b, f, "\r\n\r\n"));
        if (*cases[k].answer)
            say(f, cases[k].answer);
        hang_up(&b, 0);
        CHECK(UNTIL(&b, b.fake.recorded == 1));
        CHECK(b.fake.retries == 0 && b.fake.connected == 1);
        CHECK_EQ(b.fake.records[0].outcome, INVOCATION_FAILED);
        close(c);
        bench_end(&b);
    }
}

TEST(a_body_still_coming_in_when_the_stale_connection_breaks_goes_to_the_new_one_whole)
{
    BENCH(b);
    int c = client_connect(&b);
    stale(&b, c, "PUT /second HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nabc", "def");
    CHECK(!tap_failed);
    int f = function(&b, 1);
    CHECK(hear(&b, f, "\r\n\r\nabcdef"));
    say(c, "ghi");
    CHECK(hear(&b, f, "\r\n\r\nabcdefghi"));
    forget(&b);
    say(f, OK);
    CHECK(hear(&b, c, "\r\n\r\nhi"));
    close(c);
    bench_end(&b);
}

TEST(what_is_not_idempotent_is_never_sent_twice)
{
    BENCH(b);
    int c = client_connect(&b);
    stale(&b, c, "POST /second HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", "");
    CHECK(!tap_failed);
    CHECK(hear(&b, c, "HTTP/1.1 502 ") && hear(&b, c, "instance-died"));
    CHECK_EQ(b.fake.connected, 1);
    CHECK_EQ(b.fake.reconnects, 0);
    close(c);
    bench_end(&b);
}

TEST(an_idle_connection_that_ended_or_spoke_is_not_used_again)
{
    for (int spoke = 0; spoke < 2; spoke++) {
        BENCH(b);
        int c = client_connect(&b);
        say(c, GET);
        int f = function(&b, 0);
        CHECK(hear(&b, f, "\r\n\r\n"));
        forget(&b);
        say(f, OK);
        CHECK(hear(&b, c, "\r\n\r\nhi"));
        CHECK_EQ(b.fake.idle_count, 1);
        if (spoke)
            say(f, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned");
        else
            hang_up(&b, 0);
        turn(&b);
        forget(&b);
        say(c, "POST /x HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab");
        int g = function(&b, 1); /* nothing was written, so even a POST may go elsewhere */
        CHECK(g >= 0 && hear(&b, g, "\r\n\r\nab"));
        forget(&b);
        say(g, OK);
        CHECK(hear(&b, c, "\r\n\r\nhi") && !has(&b, "poisoned"));
        CHECK_EQ(b.fake.reconnects, 1);
        close(c);
        bench_end(&b);
    }
}

TEST(surplus_bytes_after_an_answer_cost_the_function_its_connection)
{
    BENCH(b);
    int c = client_connect(&b);
    say(c, GET);
    int f = function(&b, 0);
    CHECK(hear(&b, f, "\r\n\r\n"));
    forget(&b);
    say(f, OK OK);
    CHECK(hear(&b, c, "\r\n\r\nhi"));
    CHECK_EQ(hear_end(&b, f), -1);
    CHECK_EQ(b.fake.idle_count, 0);
    close(c);
    bench_end(&b);
}

TEST(a_backend_may_close_idle_connections_and_their_numbers_may_return)
{
    BENCH(b);
    int c = client_connect(&b);
    for (int i = 0; i < 3; i++) {
        say(c, GET);
        int f = function(&b, i);
        CHECK(f >= 0 && hear(&b, f, "\r\n\r\n"));
        forget(&b);
        say(f, OK);
        CHECK(hear(&b, c, "\r\n\r\nhi"));
        forget(&b);
        CHECK_EQ(b.fake.idle_count, 1);
        close(b.fake.idle[--b.fake.idle_count]);
        CHECK(i == 0 || b.fake.gates[i] == b.fake.gates[0]);
    }
    close(c);
    bench_end(&b);
}

TEST(an_early_answer_to_a_large_request_arrives_whole)
{
    BENCH(b);
    int c = client_connect(&b);
    say(c, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\nbegin");
    int f = function(&b, 0);
    CHECK(hear(&b, f, "begin"));
    forget(&b);
    say(f, "HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nnever");
    hang_up(&b, 0);
    CHECK(hear(&b, c, "never"));
    static char more[100000];
    CHECK(send(c, more, sizeof more, MSG_NOSIGNAL) > 0); /* still sending */
    CHECK_EQ(hear_end(&b, c), -1);
    CHECK_EQ(b.fake.records[0].status, 403);
    close(c);
    bench_end(&b);
}

/* ---- upgrades ----------------------------------------------------------------------------- */

#define UPGRADE \
    "GET /ws HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n" \
    "Sec-WebSocket-Key: x\r\n\r\n"
#define SWITCH \
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
    "Sec-WebSocket-Accept: y\r\n\r\n"

static int tunnel_open(struct bench *b, int c)
{
    say(c, UPGRADE "early");
    int f = function(b, 0);
    if (f < 0 || !hear(b, f, "\r\n\r\n") || has(b, "early") ||
        !has(b, "Connection: Upgrade\r\nUpgrade: websocket\r\n"))
        return -1;
    forget(b);
    say(f, SWITCH "first");
    if (!hear(b, c, "\r\n\r\nfirst") || !has(b, "HTTP/1.1 101 Switching Protocols\r\n") ||
        !has(b, "Upgrade: websocket\r\n") || !has(b, "Hob-Invocation-Id: "))
        return -1;
    forget(b);
    if (!hear(b, f, "early")) /* sent ahead: the function's only once it agreed */
        return -1;
    forget(b);
    return f;
}

TEST(an_upgrade_becomes_a_tunnel_both_ways_without_the_requests_timers)
{
    BENCH(b);
    b.fake.policy.timeout_ms = 1000;
    b.fake.policy.response_start_ms = 500;
    b.fake.policy.idle_ms = 500;
    int c = client_connect(&b);
    int f = tunnel_open(&b, c);
    CHECK(f >= 0);
    advance(&b, 100000);
    say(c, "\x81\x02hi"), say(f, "\x81\x02ho");
    CHECK(hear(&b, f, "\x81\x02hi") && hear(&b, c, "\x81\x02ho"));
    CHECK(carries(&b, c, f, MIB(16), true) && carries(&b, f, c, MIB(16), true));
    CHECK(b.held_max <= b.limits.http_stream_buffer_bytes + 64);
    CHECK_EQ(ingress_counters(b.ingress)->tunnels_open, 1);
    CHECK(!ingress_idle(b.ingress));
    shutdown(c, SHUT_WR); /* half-closed: the function may still say goodbye */
    CHECK_EQ(hear_end(&b, f), -1);
    forget(&b);
    say(f, "bye");
    hang_up(&b, 0);
    CHECK(hear(&b, c, "bye"));
    CHECK_EQ(hear_end(&b, c), -1);
    CHECK_EQ(b.fake.recorded, 1);
    CHECK_EQ(b.fake.records[0].status, 101);
    CHECK_EQ(b.fake.records[0].outcome, INVOCATION_OK);
    CHECK_EQ(b.fake.records[0].request_bytes, 5 + 4 + MIB(16));
    CHECK_EQ(b.fake.records[0].response_bytes, 5 + 4 + MIB(16) + 3);
    CHECK_EQ(ingress_counters(b.ingress)->tunnels_open, 0);
    CHECK_EQ(b.fake.idle_count, 0);
    close(c);
    bench_end(&b);
}

TEST(a_silent_tunnel_ends_at_its_limit)
{
    BENCH(b);
    int c = client_connect(&b);
    int f = tunnel_open(&b, c);
    CHECK(f >= 0);
    advance(&b, b.limits.upgrade_idle_ms - 1);
    say(f, "x");
    CHECK(hear(&b, c, "x"));
    advance(&b, b.limits.upgrade_idle_ms - 1);
    CHECK_EQ(b.fake.recorded, 0);
    advance(&b, 1);
    CHECK_EQ(b.fake.recorded, 1);
    CHECK_EQ(hear_end(&b, c), -2);
    CHECK_EQ(hear_end(&b, f), -1);
    CHECK_EQ(ingress_counters(b.ingress)->limits[INGRESS_LIMIT_upgrade_idle_ms], 1);
    close(c);
    bench_end(&b);
}

TEST(an_upgrade_that_the_function_declines_is_an_ordinary_answer)
{
    BENCH(b);
    int c = client_connect(&b);
    say(c, UPGRADE);
    int f = function(&b, 0);
    CHECK(hear(&b, f, "\r\n\r\n"));
    forget(&b);
    say(f, OK);
    CHECK(hear(&b, c, "\r\n\r\nhi") && !has(&b, "Upgrade"));
    say(c, GET);
    CHECK(UNTIL(&b, b.fake.asked == 2));
    close(c);
    bench_end(&b);
}

/* ---- time --------------------------------------------------------------------------------- */

struct timeout_case {
    const char *request, *answer, *type;
    uint32_t timeout_ms, start_ms, idle_ms;
    uint64_t due_ms;
};
static const struct timeout_case timeouts[] = {
    { GET, NULL, "problem:deadline", 1000, 0, 0, 1000 },
    { "GET / HTTP/1.1\r\n" HOST "Hob-Deadline: 700\r\n\r\n", NULL, "problem:deadline", 1000, 0, 0,
      700 },
    { "GET / HTTP/1.1\r\n" HOST "Hob-Deadline: 70000\r\n\r\n", NULL, "problem:deadline", 1000, 0, 0,
      1000 },
    { GET, NULL, "response-start-timeout", 1000, 300, 0, 300 },
    { GET, NULL, "idle-timeout", 1000, 0, 200, 200 },
    { GET, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", NULL, 1000, 300, 0, 1000 },
    { GET, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", NULL, 1000, 300, 200, 200 },
};

TEST(every_timeout_comes_at_its_time_as_504_or_after_the_head_as_a_reset)
{
    for (size_t i = 0; i < COUNT_OF(timeouts); i++) {
        const struct timeout_case *x = &timeouts[i];
        BENCH(b);
        b.fake.policy.timeout_ms = x->timeout_ms;
        b.fake.policy.response_start_ms = x->start_ms;
        b.fake.policy.idle_ms = x->idle_ms;
        int c = client_connect(&b);
        say(c, x->request);
        int f = function(&b, 0);
        CHECK(hear(&b, f, "\r\n\r\n"));
        forget(&b);
        if (x->answer) {
            say(f, x->answer);
            CHECK(hear(&b, c, "half"));
        }
        advance(&b, x->due_ms - 1);
        CHECK_EQ(b.fake.recorded, 0);
        advance(&b, 1);
        CHECK_EQ(b.fake.recorded, 1);
        CHECK_EQ(b.fake.records[0].outcome, INVOCATION_TIMEOUT);
        CHECK_EQ(hear_end(&b, f), -1); /* the function's work is dropped */
        if (x->type) {
            CHECK(hear(&b, c, x->type) && has(&b, "HTTP/1.1 504 ") && has(&b, "\"handler\""));
        } else {
            CHECK_EQ(hear_end(&b, c), -2);
            CHECK(!has(&b, "problem"));
        }
        close(c);
        bench_end(&b);
    }
}

TEST(the_deadline_shrinks_by_what_the_queue_took)
{
    BENCH(b);
    int c = client_connect(&b);
    b.fake.hold = true;
    say(c, "GET / HTTP/1.1\r\n" HOST "Hob-Deadline: 900\r\nHob-Hops: 4\r\n\r\n");
    CHECK(UNTIL(&b, b.fake.asked == 1));
    const struct ticket *t = CONTAINER_OF(list_first(&b.fake.waiting), struct ticket, node);
    CHECK_EQ(t->deadline_us - t->arrival_us, 900000);
    b.world.now_us += 250000;
    loop_defer(b.loop, &b.fake.task);
    int f = function(&b, 0);
    CHECK(hear(&b, f, "\r\n\r\n"));
    CHECK(has(&b, "\r\nHob-Deadline: 650\r\n") && has(&b, "\r\nHob-Hops: 5\r\n"));
    forget(&b);
    say(f, OK);
    CHECK(hear(&b, c, "Server-Timing: queue;dur=250.000, handler;dur=0.000\r\n"));
    close(c);
    bench_end(&b);
}

TEST(slow_heads_idle_connections_and_slow_bodies_are_ended)
{
    BENCH(b);
    int idle = client_connect(&b), head = client_connect(&b), body = client_connect(&b);
    const struct ingress_counters *n = ingress_counters(b.ingress);
    say(head, "GET / HT");
    say(body, "POST / HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n\r\n");
    int f = function(&b, 0);
    CHECK(hear(&b, f, "\r\n\r\n"));
    CHECK(UNTIL(&b, n->connections == 3));
    turn(&b);
    advance(&b, 4900);
    static char some[512];
    CHECK(send(body, some, sizeof some, 0) == sizeof some); /* one more second at 512 bytes/s */
    turn(&b);
    advance(&b, 900);
    CHECK_EQ(n->limits[INGRESS_LIMIT_http_body_rate_bytes_s], 0);
    advance(&b, 300);
    CHECK_EQ(n->limits[INGRESS_LIMIT_http_body_rate_bytes_s], 1);
    forget(&b);
    CHECK(hear(&b, body, "HTTP/1.1 408 ") && hear(&b, body, "slow-request"));
    CHECK_EQ(hear_end(&b, f), -1);
    advance(&b, b.limits.http_head_ms - 6101);
    CHECK_EQ(n->limits[INGRESS_LIMIT_http_head_ms], 0);
    advance(&b, 2);
    CHECK_EQ(n->limits[INGRESS_LIMIT_http_head_ms], 1);
    forget(&b);
    CHECK(hear(&b, head, "HTTP/1.1 408 "));
    advance(&b, b.limits.http_idle_ms - 10000);
    CHECK_EQ(hear_end(&b, idle), -1);
    CHECK_EQ(n->limits[INGRESS_LIMIT_http_idle_ms], 1);
    close(idle), close(head), close(body);
    bench_end(&b);
}

TEST(a_head_has_one_time_to_arrive_in_however_it_drips)
{
    BENCH(b);
    int head = client_connect(&b);
    const struct ingress_counters *n = ingress_counters(b.ingress);
    const uint64_t step_ms = b.limits.http_head_ms / 4;
    CHECK(UNTIL(&b, n->connections == 1));
    say(head, "GET /");
    CHECK(delivered(head));
    turn(&b), turn(&b);
    for (int i = 0; i < 3; i++) {
        advance(&b, step_ms);
        say(head, "T");
        turn(&b);
    }
    CHECK_EQ(n->limits[INGRESS_LIMIT_http_head_ms], 0);
    advance(&b, step_ms + 1);
    CHECK_EQ(n->limits[INGRESS_LIMIT_http_head_ms], 1);
    close(head);
    bench_end(&b);
}

TEST(a_body_held_up_by_the_function_is_not_a_slow_body)
{
    BENCH(b);
    static char block[65536];
    int c = client_connect(&b);
    say(c, "POST / HTTP/1.1\r\n" HOST "Content-Length: 10000000\r\n\r\n");
    int f = function(&b, 0);
    CHECK(f >= 0);
    for (int still = 0; still < 200; turn(&b)) /* until everything is full */
        still = send(c, block, sizeof block, MSG_DONTWAIT) < 0 ? still + 1 : 0;
    advance(&b, 60000);
    CHECK_EQ(ingress_counters(b.ingress)->limits[INGRESS_LIMIT_http_body_rate_bytes_s], 0);
    CHECK_EQ(b.fake.recorded, 0);
    close(c);
    bench_end(&b);
}

TEST(a_client_that_does_not_read_is_cut_off_and_holds_no_instance)
{
    BENCH(b);
    static char block[65536];
    int c = client_connect(&b);
    say(c, GET);
    int f = function(&b, 0);
    CHECK(hear(&b, f, "\r\n\r\n"));
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    for (int still = 0; still < 200; turn(&b))
        still = send(f, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? still + 1 : 0;
    /* What it took while it read earned it at most http_idle_ms of patience. */
    advance(&b, b.limits.http_idle_ms + 1000);
    CHECK_EQ(ingress_counters(b.ingress)->limits[INGRESS_LIMIT_http_body_rate_bytes_s], 1);
    CHECK_EQ(b.fake.released, 1);
    CHECK_EQ(b.fake.records[0].outcome, INVOCATION_CLIENT_GONE);
    close(c);
    bench_end(&b);
}

/* ---- cold starts -------------------------------------------------------------------------- */

TEST(a_cold_answer_lists_the_phases_and_caches_and_its_record_adds_up)
{
    BENCH(b);
    int c = client_connect(&b);
    b.fake.hold = true;
    say(c, GET);
    CHECK(UNTIL(&b, b.fake.asked == 1));
    uint64_t at = b.world.now_us;
    struct start_record *s = &b.fake.start;
    s->begin_us = at + 1000;
    phase_begin(s, PHASE_SCHEDULE, at + 1000), phase_end(s, PHASE_SCHEDULE, at + 2000, PHASE_DONE);
    phase_begin(s, PHASE_IMAGE_PULL, at + 2000),
        phase_end(s, PHASE_IMAGE_PULL, at + 2000, PHASE_WARM);
    phase_begin(s, PHASE_MODEL_FETCH, at + 2000),
        phase_end(s, PHASE_MODEL_FETCH, at + 9000, PHASE_DONE);
    phase_begin(s, PHASE_SANDBOX, at + 2000), phase_end(s, PHASE_SANDBOX, at + 4000, PHASE_DONE);
    s->caches[CACHE_IMAGE] = CACHE_HIT;
    s->caches[CACHE_MODEL] = CACHE_MISS;
    s->caches[CACHE_ZYGOTE] = CACHE_NONE;
    b.fake.cold = true;
    b.fake.ready_us = at + 10000; /* 1 ms between fetch and ready that nobody accounts for */
    b.world.now_us = at + 10500;
    loop_defer(b.loop, &b.fake.task);
    int f = function(&b, 0);
    CHECK(hear(&b, f, "\r\n\r\n"));
    forget(&b);
    b.world.now_us = at + 20000;
    say(f, OK);
    CHECK(hear(&b, c, "\r\n\r\nhi"));
    CHECK(has(&b, "\r\nServer-Timing: queue;dur=1.000, schedule;dur=1.000, "
                  "image_pull;dur=0.000;desc=\"warm\", model_fetch;dur=7.000, sandbox;dur=2.000, "
                  "ready;dur=0.500, handler;dur=9.500\r\n"));
    CHECK(has(&b, "\r\nCache-Status: hob-instance; fwd=miss, hob-image; hit, hob-model; fwd=miss\r\n"));
    const struct invocation_record *r = &b.fake.records[0];
    CHECK(r->cold && r->has_start);
    CHECK_EQ(r->coverage_permille, 950);
    CHECK_EQ(r->queue_us, 1000);
    CHECK_EQ(r->dispatch_us, 10500);
    CHECK_EQ(r->first_byte_us, 20000);
    CHECK_EQ(r->start.phases[PHASE_MODEL_FETCH].duration_us, 7000);
    close(c);
    bench_end(&b);
}

/* ---- limits and life ---------------------------------------------------------------------- */

TEST(the_newest_connection_over_the_limit_is_told_and_the_others_stay)
{
    struct bench b;
    CHECK(bench_prepare(&b));
    b.limits.connections_max = 2;
    CHECK(bench_start(&b));
    int one = client_connect(&b), two = client_connect(&b), three = client_connect(&b);
    say(three, GET);
    CHECK(hear(&b, three, "too-many-connections") && has(&b, "HTTP/1.1 503 "));
    CHECK_EQ(hear_end(&b, three), -1);
    say(one, GET), say(two, GET);
    CHECK(UNTIL(&b, b.fake.asked == 2));
    CHECK_EQ(ingress_counters(b.ingress)->limits[INGRESS_LIMIT_connections_max], 1);
    CHECK_EQ(ingress_counters(b.ingress)->connections_open, 2);
    close(one);
    CHECK(UNTIL(&b, ingress_counters(b.ingress)->connections_open == 1));
    int four = client_connect(&b);
    say(four, GET);
    CHECK(UNTIL(&b, b.fake.asked == 3));
    close(two), close(three), close(four);
    bench_end(&b);
}

TEST(reached_limits_of_a_head_are_counted_by_name)
{
    BENCH(b);
    static char large[50000];
    memset(large, 'a', sizeof large - 1);
    int c = client_connect(&b);
    say(c, "GET / HTTP/1.1\r\n" HOST "X: ");
    (void)!send(c, large, sizeof large - 1, MSG_NOSIGNAL);
    CHECK(hear(&b, c, "head-too-large") && has(&b, "HTTP/1.1 431 "));
    CHECK_EQ(hear_end(&b, c), -1);
    const struct ingress_counters *n = ingress_counters(b.ingress);
    CHECK_EQ(n->limits[INGRESS_LIMIT_http_line_bytes_max] +
                 n->limits[INGRESS_LIMIT_http_head_bytes_max],
             1);
    CHECK_EQ(n->requests[4], 1);
    close(c);
    bench_end(&b);
}

TEST(a_stopping_gateway_ends_idle_connections_and_finishes_what_is_in_flight)
{
    BENCH(b);
    int busy = client_connect(&b), idle = client_connect(&b);
    say(busy, GET);
    int f = function(&b, 0);
    CHECK(hear(&b, f, "\r\n\r\n"));
    CHECK(UNTIL(&b, ingress_counters(b.ingress)->connections == 2));
    ingress_stop(b.ingress);
    CHECK_EQ(hear_end(&b, idle), -1);
    CHECK(!ingress_idle(b.ingress));
    int late = client_connect(&b);
    say(late, GET);
    forget(&b);
    say(f, OK);
    CHECK(hear(&b, busy, "\r\n\r\nhi") && has(&b, "Connection: close\r\n"));
    CHECK_EQ(hear_end(&b, busy), -1);
    CHECK(ingress_idle(b.ingress));
    CHECK_EQ(b.fake.asked, 1);
    close(busy), close(idle), close(late);
    bench_end(&b);
}

TEST(a_gateway_freed_in_mid_request_gives_everything_back)
{
    BENCH(b);
    int queued = client_connect(&b), served = client_connect(&b), tunnel = client_connect(&b);
    CHECK(tunnel_open(&b, tunnel) >= 0);
    say(served, GET);
    CHECK(hear(&b, function(&b, 1), "\r\n\r\n"));
    b.fake.hold = true;
    say(queued, GET);
    CHECK(UNTIL(&b, b.fake.asked == 3));
    ingress_free(b.ingress);
    b.ingress = NULL;
    CHECK_EQ(b.fake.cancelled, 1);
    CHECK_EQ(b.fake.released, 2);
    CHECK_EQ(b.fake.recorded, 3);
    close(queued), close(served), close(tunnel);
    bench_end(&b);
}

/* The client's view of one request while something fails: an answer, or an end. Time runs, so that
 * nothing waits for ever. */
static bool survives(struct bench *b, const char *request)
{
    int c = client_connect(b);
    int answered = 0, r = 0;
    bool over = false;
    say(c, request);
    forget(b);
    for (int i = 0; i < 400 && !over; i++) {
        advance(b, i > 50 ? 1000 : 0);
        for (; answered < b->fake.connected; answered++)
            (void)!send(b->fake.functions[answered], OK, strlen(OK), MSG_NOSIGNAL);
        r = listen_once(b, c);
        over = r < 0 || has(b, "\r\n\r\nhi") || has(b, "}\n");
    }
    close(c);
    for (int i = 0; i < 50; i++)
        turn(b);
    return over;
}

TEST(whatever_fails_nothing_is_left_behind_and_the_next_request_works)
{
    int fds_before = fds_open(), nth = 0;
    for (bool fired = true; fired;) {
        CHECK(++nth < 60);
        struct bench b;
        struct err e;
        CHECK(bench_prepare(&b));
        fault_arm(nth);
        int r = ingress_open(b.loop, &b.limits, b.listen_fd, &b.fake.backend, &b.ingress, &e);
        bool over = r < 0 || survives(&b, "POST / HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab");
        fired = fault_fired();
        fault_arm(0);
        CHECK(over);
        CHECK(fired || has(&b, "\r\n\r\nhi"));
        if (r == 0) {
            CHECK_EQ(b.fake.granted, b.fake.released);
            CHECK_EQ(b.fake.recorded, b.fake.asked);
            CHECK_EQ(b.ingress->clients.count, 0);
            CHECK(survives(&b, GET) && has(&b, "\r\n\r\nhi"));
        }
        bench_end(&b);
        CHECK_EQ(fds_open(), fds_before);
    }
    CHECK(nth > 7);
}

TEST_MAIN()
