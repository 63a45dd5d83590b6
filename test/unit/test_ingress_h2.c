/* The gateway with HTTP/2 on either side: peers are the session's other side over real sockets. */
#include "../ingress_bench.h"
#include "fds.h"
#include "gateway/mux.h"
#include "net/http2.h"
#include "tap.h"


/* ---- peers -------------------------------------------------------------------------------- */

struct peer {
    int fd;
    struct http2 *h;
    struct buf unsent;
    bool ended;
};

enum { PEERS = 8, BYTES = 65536 };
static struct peer peers[PEERS];
static int peer_count;

static struct peer *peer_new(struct bench *b, enum http2_side side, int fd)
{
    struct peer *p = &peers[peer_count++];
    ASSERT(peer_count <= PEERS);
    *p = (struct peer){ .fd = fd, .h = http2_new(side, &b->limits) };
    buf_init(&p->unsent, MIB(1));
    return p;
}

static void peers_end(void)
{
    while (peer_count > 0) {
        struct peer *p = &peers[--peer_count];
        http2_lost(p->h);
        for (struct http2_stream *s; (s = http2_changed(p->h)) != NULL;)
            http2_stream_drop(s, HTTP2_DROP_CUT);
        http2_free(p->h);
        buf_done(&p->unsent);
    }
}

static void peer_pump(struct bench *b, struct peer *p)
{
    static char bytes[BYTES];
    struct err e;
    if (p->ended)
        return; /* its descriptor may be somebody else's by now */
    for (ssize_t n; !p->ended && (n = recv(p->fd, bytes, sizeof bytes, MSG_DONTWAIT)) != -1;) {
        p->ended = n == 0;
        (void)!http2_feed(p->h, bytes, (size_t)n, b->world.now_us / 1000, &e);
    }
    p->ended |= errno == ECONNRESET;
    http2_write(p->h, &p->unsent, BYTES, b->world.now_us / 1000);
    if (p->unsent.size > 0) {
        ssize_t n = send(p->fd, buf_at(&p->unsent), p->unsent.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        buf_consume(&p->unsent, n > 0 ? (size_t)n : 0);
    }
}

static void pump(struct bench *b)
{
    for (int i = 0; i < peer_count; i++)
        peer_pump(b, &peers[i]);
    turn(b);
}

#define PUMP_UNTIL(b, cond) \
    ({ \
        uint64_t end_ = patience_end(); \
        bool met_; \
        while (!(met_ = (cond)) && patience_end() - 10 < end_) \
            pump(b); \
        met_; \
    })
static void settle(struct bench *b)
{
    for (int i = 0; i < 30; i++)
        pump(b);
}
/* Peers go on while time passes. */
static void wait_ms(struct bench *b, uint64_t ms)
{
    b->world.now_us += ms * 1000;
    settle(b);
}

static struct http2_stream *ask(struct bench *b, struct peer *p, const char *text, bool end)
{
    struct http1_head h;
    http1_head_init(&h, HTTP1_REQUEST, &b->limits);
    ASSERT(http1_head_feed(&h, text, strlen(text)) == HTTP1_DONE);
    struct http2_stream *s = http2_request(p->h, &h, end);
    http1_head_done(&h);
    return s;
}
static void reply(struct bench *b, struct http2_stream *s, const char *text, bool end)
{
    struct http1_head h;
    http1_head_init(&h, HTTP1_RESPONSE, &b->limits);
    ASSERT(http1_head_feed(&h, text, strlen(text)) == HTTP1_DONE);
    http2_answer(s, &h, end);
    http1_head_done(&h);
}
/* The next request at a function's end. */
static struct http2_stream *served(struct bench *b, struct peer *p)
{
    struct http2_stream *s = NULL;
    (void)PUMP_UNTIL(b, (s = http2_changed(p->h)) != NULL && http2_stream_heads(s)->size > 0);
    return s;
}
static bool says(struct http2_stream *s, const char *text)
{
    return holds(buf_str(http2_stream_heads(s)), text);
}
static bool ended(struct http2_stream *s) { return http2_stream_end(s) != HTTP2_OPEN; }

#define POST      "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
#define STREAMED  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define CALL      "POST /t.Echo/One HTTP/1.1\r\n" HOST "Content-Type: application/grpc\r\n" \
                  "Transfer-Encoding: chunked\r\n"
#define CLIENT(b) peer_new(&(b), HTTP2_CLIENT, client_connect(&(b)))
#define FUNCTION(b, i) peer_new(&(b), HTTP2_SERVER, function(&(b), (i)))

static void h2_end(struct bench *b)
{
    for (int i = 0; i < peer_count; i++)
        http2_check(peers[i].h);
    peers_end();
    bench_end(b);
}

/* ---- clients ------------------------------------------------------------------------------ */

TEST(a_stream_reaches_a_function_of_http_1_as_a_request_of_its_version)
{
    BENCH(b);
    struct peer *c = CLIENT(b);
    struct http2_stream *s = ask(&b, c, "GET /a?b HTTP/1.1\r\n" HOST "Cookie: x=1\r\n\r\n", true);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    int fn = b.fake.functions[0];
    CHECK(PUMP_UNTIL(&b, listen_once(&b, fn) < 0 || has(&b, "\r\n\r\n")));
    CHECK(str_starts(heard(&b), STR("GET /a?b HTTP/1.1\r\n" HOST)));
    CHECK(has(&b, "cookie: x=1\r\n") && has(&b, "Forwarded: for=127.0.0.1"));
    CHECK(!has(&b, "chunked") && !has(&b, "te: ") && !has(&b, ":method"));
    say(fn, "HTTP/1.1 200 OK\r\nX-A: b\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n"
            "\r\n2\r\nhi\r\n0\r\nX-Last: z\r\n\r\n");
    CHECK(PUMP_UNTIL(&b, ended(s)));
    CHECK_EQ(http2_stream_end(s), HTTP2_ENDED);
    CHECK(says(s, "x-a: b\r\n") && says(s, "server-timing: queue") && !says(s, "keep-alive"));
    CHECK(str_is(http2_stream_content(s), "hi"));
    CHECK(str_is(http2_stream_trailers(s), "x-last: z\r\n"));
    CHECK_EQ(b.fake.recorded, 1);
    CHECK_EQ(b.fake.idle_count, 1); /* the function's connection is kept */
    http2_stream_drop(s, HTTP2_DROP_DONE);
    close(c->fd);
    h2_end(&b);
}

TEST(streams_of_one_connection_do_not_wait_for_each_other)
{
    BENCH(b);
    struct peer *c = CLIENT(b);
    struct http2_stream *slow = ask(&b, c, GET, true), *quick = ask(&b, c, GET, true);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 2));
    say(b.fake.functions[1], OK);
    CHECK(PUMP_UNTIL(&b, ended(quick) || ended(slow)));
    CHECK(ended(quick) != ended(slow));
    say(b.fake.functions[0], OK);
    CHECK(PUMP_UNTIL(&b, ended(quick) && ended(slow)));
    CHECK_EQ(b.ingress->counters.connections_open, 1);
    http2_stream_drop(slow, HTTP2_DROP_DONE);
    http2_stream_drop(quick, HTTP2_DROP_DONE);
    close(c->fd);
    h2_end(&b);
}

TEST(a_reset_stream_gives_its_lease_or_its_place_back_and_the_connection_goes_on)
{
    BENCH(b);
    struct peer *c = CLIENT(b);
    struct http2_stream *leased = ask(&b, c, GET, true);
    CHECK(PUMP_UNTIL(&b, b.fake.granted == 1));
    http2_stream_drop(leased, HTTP2_DROP_CUT);
    CHECK(PUMP_UNTIL(&b, b.fake.released == 1));
    b.fake.hold = true;
    struct http2_stream *queued = ask(&b, c, GET, true);
    CHECK(PUMP_UNTIL(&b, b.fake.asked == 2));
    http2_stream_drop(queued, HTTP2_DROP_CUT);
    CHECK(PUMP_UNTIL(&b, b.fake.cancelled == 1));
    CHECK_EQ(b.fake.records[0].outcome, INVOCATION_CLIENT_GONE);
    CHECK_EQ(b.fake.records[1].outcome, INVOCATION_CLIENT_GONE);
    b.fake.hold = false;
    struct http2_stream *s = ask(&b, c, GET, true);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 2));
    say(b.fake.functions[1], OK);
    CHECK(PUMP_UNTIL(&b, ended(s)));
    http2_stream_drop(s, HTTP2_DROP_DONE);
    close(c->fd);
    CHECK(PUMP_UNTIL(&b, b.ingress->counters.connections_open == 0));
    h2_end(&b);
}

TEST(an_answer_that_nobody_reads_holds_a_bounded_number_of_bytes)
{
    BENCH(b);
    static char block[4096];
    struct peer *c = CLIENT(b);
    struct http2_stream *s = ask(&b, c, GET, true);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    int fn = b.fake.functions[0], small = 8192;
    size_t sent = 0;
    ASSERT(setsockopt(fn, SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
    say(fn, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    for (int quiet = 0; quiet < 50; quiet++) {
        ssize_t n = send(fn, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        quiet = n > 0 ? 0 : quiet;
        pump(&b);
    }
    /* The peer's window and ours, both buffers, and what the sockets hold. */
    size_t most = 2 * b.limits.h2_window_bytes + 2 * b.limits.http_stream_buffer_bytes;
    CHECK(sent > b.limits.h2_window_bytes);
    CHECK(sent < most + 300000);
    http2_stream_drop(s, HTTP2_DROP_CUT);
    CHECK(PUMP_UNTIL(&b, b.fake.released == 1));
    close(c->fd);
    h2_end(&b);
}

/* More than the stream may take, and so much that only the peer's window is in the way of the end. */
TEST(a_client_that_does_not_open_its_window_is_cut_off)
{
    static const size_t sizes[] = { 60000, 20000 };
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct bench b;
        char head[100];
        CHECK(bench_prepare(&b));
        b.limits.h2_window_bytes = 16384;
        CHECK(bench_start(&b));
        static char block[60000];
        struct peer *c = CLIENT(b);
        struct http2_stream *s = ask(&b, c, GET, true);
        CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", sizes[i]);
        say(b.fake.functions[0], head);
        ASSERT(send(b.fake.functions[0], block, sizes[i], 0) == (ssize_t)sizes[i]);
        settle(&b);
        for (int k = 0; k < 300 && !ended(s); k++)
            wait_ms(&b, 1000);
        CHECK_EQ(http2_stream_end(s), HTTP2_RESET);
        CHECK_EQ(b.ingress->counters.limits[INGRESS_LIMIT_h2_stall_ms], 1);
        CHECK_EQ(b.fake.records[0].outcome, INVOCATION_CLIENT_GONE);
        http2_stream_drop(s, HTTP2_DROP_CUT);
        close(c->fd);
        h2_end(&b);
    }
}

/* A client whose window lets one byte through. */
static struct peer *blind_client(struct bench *b)
{
    uint64_t window = b->limits.h2_window_bytes;
    b->limits.h2_window_bytes = 1;
    struct peer *c = CLIENT(*b);
    b->limits.h2_window_bytes = window;
    return c;
}
/* A head of some 27 kB, of which all but the first cost the client a few bytes. */
static const char *large_head(void)
{
    static char text[32000];
    size_t size = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: nobody\r\n");
    for (int i = 0; i < 7; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "X-%d: %0*d\r\n", i, 3900, 0);
    snprintf(text + size, sizeof text - size, "\r\n");
    return text;
}

TEST(streams_that_wait_hold_little_and_all_together_have_a_limit_and_not_for_long)
{
    enum { EACH = 100, ROOM = 150 };
    struct http2_stream *s[2 * EACH];
    struct bench b;
    CHECK(bench_prepare(&b));
    b.limits.h2_streams_all_max = ROOM;
    b.limits.http_body_rate_bytes_s = 0;
    CHECK(bench_start(&b));
    int refused = 0, reset = 0;
    struct peer *c[2];
    for (int i = 0; i < 2; i++) {
        c[i] = blind_client(&b);
        for (int k = 0; k < EACH; k++)
            s[i * EACH + k] = ask(&b, c[i], large_head(), true);
        settle(&b);
        CHECK_EQ(b.ingress->h2.streams, i == 0 ? EACH : ROOM);
        CHECK(b.ingress->h2.bytes > 0 && b.ingress->h2.bytes / b.ingress->h2.streams < 12000);
    }
    for (int i = 0; i < 2 * EACH; i++)
        refused += http2_stream_end(s[i]) == HTTP2_REFUSED;
    CHECK_EQ(refused, 2 * EACH - ROOM);
    CHECK_EQ(b.ingress->counters.limits[INGRESS_LIMIT_h2_streams_all_max], 2 * EACH - ROOM);
    CHECK(!c[1]->ended);
    for (int i = 0; i < 12; i++)
        wait_ms(&b, 1000);
    for (int i = 0; i < 2 * EACH; i++)
        reset += http2_stream_end(s[i]) == HTTP2_RESET;
    CHECK_EQ(reset, ROOM);
    CHECK_EQ(b.ingress->counters.limits[INGRESS_LIMIT_h2_stall_ms], ROOM);
    CHECK_EQ(b.ingress->h2.streams, 0);
    CHECK(b.ingress->h2.bytes > 0 && b.ingress->h2.bytes < 100000); /* the two connections' own */
    for (int i = 0; i < 2 * EACH; i++)
        http2_stream_drop(s[i], HTTP2_DROP_CUT);
    for (int i = 0; i < 2; i++) {
        close(c[i]->fd);
        c[i]->ended = true;
    }
    CHECK(PUMP_UNTIL(&b, b.ingress->h2.bytes == 0));
    h2_end(&b);
}

TEST(what_streams_hold_together_has_a_limit_in_bytes_and_there_is_room_again)
{
    BENCH(b);
    struct peer *c = CLIENT(b);
    settle(&b);
    CHECK(b.ingress->h2.bytes > 1000); /* HPACK's tables and the like, before any stream */
    b.limits.h2_held_bytes_max = b.ingress->h2.bytes + 2048;
    struct http2_stream *first = ask(&b, c, GET, true);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    struct http2_stream *second = ask(&b, c, GET, true);
    CHECK(PUMP_UNTIL(&b, ended(second)));
    CHECK_EQ(http2_stream_end(second), HTTP2_REFUSED);
    CHECK_EQ(b.ingress->counters.limits[INGRESS_LIMIT_h2_held_bytes_max], 1);
    say(b.fake.functions[0], OK);
    CHECK(PUMP_UNTIL(&b, ended(first)));
    CHECK(says(first, "HTTP/1.1 200 "));
    struct http2_stream *third = ask(&b, c, "GET / HTTP/1.1\r\nHost: nobody\r\n\r\n", true);
    CHECK(PUMP_UNTIL(&b, ended(third)));
    CHECK(says(third, "HTTP/1.1 404 "));
    http2_stream_drop(first, HTTP2_DROP_DONE);
    http2_stream_drop(second, HTTP2_DROP_DONE);
    http2_stream_drop(third, HTTP2_DROP_DONE);
    close(c->fd);
    h2_end(&b);
}

TEST(time_ends_a_connection_in_the_middle_of_a_head_and_one_without_a_stream)
{
    BENCH(b);
    int half = client_connect(&b);
    say(half, HTTP2_PREFACE);
    ASSERT(send(half, "\0\0\0\4\0\0\0\0\0\0\0\1\1\0\0\0\0\1\x82", 19, 0) == 19);
    struct peer *idle = CLIENT(b);
    settle(&b);
    CHECK_EQ(b.ingress->counters.connections_open, 2);
    wait_ms(&b, b.limits.http_head_ms - 1);
    CHECK_EQ(b.ingress->counters.connections_open, 2);
    wait_ms(&b, 2);
    CHECK_EQ(b.ingress->counters.connections_open, 1);
    CHECK_EQ(b.ingress->counters.limits[INGRESS_LIMIT_http_head_ms], 1);
    wait_ms(&b, b.limits.http_idle_ms);
    CHECK(PUMP_UNTIL(&b, idle->ended));
    CHECK_EQ(b.ingress->counters.limits[INGRESS_LIMIT_http_idle_ms], 1);
    wait_ms(&b, 1000);
    CHECK_EQ(b.ingress->counters.connections_open, 0);
    close(half);
    close(idle->fd);
    h2_end(&b);
}

TEST(stopping_says_goaway_and_lets_what_is_open_end)
{
    BENCH(b);
    struct peer *c = CLIENT(b);
    struct http2_stream *s = ask(&b, c, GET, true);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    ingress_stop(b.ingress);
    settle(&b);
    CHECK(!http2_takes_requests(c->h) && !ended(s));
    CHECK(!ingress_idle(b.ingress));
    say(b.fake.functions[0], OK);
    CHECK(PUMP_UNTIL(&b, ended(s)));
    CHECK_EQ(http2_stream_end(s), HTTP2_ENDED);
    CHECK(PUMP_UNTIL(&b, ingress_idle(b.ingress) && c->ended));
    http2_stream_drop(s, HTTP2_DROP_DONE);
    close(c->fd);
    h2_end(&b);
}

TEST(freeing_the_ingress_drops_streams_on_both_sides)
{
    BENCH(b);
    b.fake.policy.h2c = true;
    struct peer *c = CLIENT(b);
    struct http2_stream *one = ask(&b, c, GET, true), *two = ask(&b, c, POST, false);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    struct peer *f = FUNCTION(b, 0);
    CHECK(served(&b, f) && served(&b, f));
    ingress_free(b.ingress);
    b.ingress = NULL;
    CHECK_EQ(b.fake.released, 2);
    CHECK_EQ(b.fake.recorded, 2);
    http2_lost(c->h);
    http2_stream_drop(one, HTTP2_DROP_CUT);
    http2_stream_drop(two, HTTP2_DROP_CUT);
    close(c->fd);
    h2_end(&b);
}

/* ---- functions ---------------------------------------------------------------------------- */

TEST(requests_of_either_version_share_one_connection_to_a_function_that_speaks_http_2)
{
    BENCH(b);
    b.fake.policy.h2c = true;
    struct peer *c = CLIENT(b);
    int old = client_connect(&b);
    struct http2_stream *s = ask(&b, c, POST, false);
    http2_stream_put(s, STR("abc"));
    http2_stream_finish(s, STR("x-sent: 1\r\n"));
    say(old, "GET /old HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    struct peer *f = FUNCTION(b, 0);
    struct http2_stream *at[2] = { served(&b, f), served(&b, f) };
    CHECK(at[0] && at[1]);
    CHECK_EQ(b.fake.connected, 1);
    int post = says(at[0], "POST ") ? 0 : 1;
    CHECK(says(at[post], "POST /x HTTP/1.1\r\n") && says(at[1 - post], "GET /old HTTP/1.1\r\n"));
    CHECK(!says(at[1 - post], "upgrade") && says(at[1 - post], "hob-invocation-id: "));
    CHECK(PUMP_UNTIL(&b, ended(at[post])));
    CHECK(str_is(http2_stream_content(at[post]), "abc"));
    CHECK(str_is(http2_stream_trailers(at[post]), "x-sent: 1\r\n"));
    for (int i = 0; i < 2; i++) {
        reply(&b, at[i], STREAMED, false);
        http2_stream_put(at[i], i == post ? STR("new") : STR("old"));
        http2_stream_finish(at[i], STR("x-last: 1\r\n"));
        http2_stream_drop(at[i], HTTP2_DROP_DONE);
    }
    CHECK(PUMP_UNTIL(&b, ended(s)));
    CHECK(str_is(http2_stream_content(s), "new"));
    CHECK(str_is(http2_stream_trailers(s), "x-last: 1\r\n"));
    CHECK(PUMP_UNTIL(&b, listen_once(&b, old) < 0 || has(&b, "x-last: 1\r\n\r\n")));
    CHECK(has(&b, "HTTP/1.1 200 OK\r\n") && has(&b, "3\r\nold\r\n0\r\n"));
    CHECK(PUMP_UNTIL(&b, b.fake.released == 2));
    http2_stream_drop(s, HTTP2_DROP_DONE);
    close(old), close(c->fd);
    h2_end(&b);
}

TEST(a_second_connection_that_comes_too_late_is_closed)
{
    BENCH(b);
    b.fake.policy.h2c = true;
    struct peer *c = CLIENT(b);
    struct http2_stream *one = ask(&b, c, GET, true);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    struct peer *f = FUNCTION(b, 0);
    CHECK(served(&b, f));
    b.fake.shared = false; /* it made another, all the same */
    struct http2_stream *two = ask(&b, c, GET, true);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 2));
    CHECK(served(&b, f));
    CHECK_EQ(hear_end(&b, b.fake.functions[1]), -1);
    http2_stream_drop(one, HTTP2_DROP_CUT);
    http2_stream_drop(two, HTTP2_DROP_CUT);
    settle(&b);
    close(c->fd);
    h2_end(&b);
}

TEST(what_the_function_refused_is_sent_once_more_and_not_twice)
{
    BENCH(b);
    b.fake.policy.h2c = true;
    struct peer *c = CLIENT(b);
    struct http2_stream *s = ask(&b, c, POST, false);
    http2_stream_put(s, STR("body"));
    http2_stream_finish(s, STR(""));
    for (int round = 0; round < 2; round++) {
        CHECK(PUMP_UNTIL(&b, b.fake.connected == round + 1));
        struct peer *f = FUNCTION(b, round);
        settle(&b);
        CHECK(http2_streams(f->h) == 1);
        /* It ends as one that has not looked at the request: GOAWAY with 0 as the last one. */
        char goaway[] = "\0\0\0\4\0\0\0\0\0\0\0\x08\7\0\0\0\0\0\0\0\0\0\0\0\0\0";
        ASSERT(send(f->fd, goaway, sizeof goaway - 1, MSG_NOSIGNAL) > 0);
        settle(&b);
    }
    CHECK(PUMP_UNTIL(&b, ended(s)));
    CHECK(says(s, "HTTP/1.1 502 ") && says(s, "hob-problem: instance-died"));
    CHECK_EQ(b.fake.reconnects, 1);
    http2_stream_drop(s, HTTP2_DROP_DONE);
    close(c->fd);
    h2_end(&b);
}

TEST(what_the_function_may_have_begun_is_sent_again_only_if_that_is_harmless)
{
    static const struct {
        const char *head;
        int reconnects;
    } rows[] = { { "POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 0 },
                 { "PUT / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 1 } };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        BENCH(b);
        b.fake.policy.h2c = true;
        struct peer *c = CLIENT(b);
        struct http2_stream *s = ask(&b, c, rows[i].head, true);
        CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
        CHECK(served(&b, FUNCTION(b, 0)));
        hang_up(&b, 0);
        peers[1].ended = true;
        settle(&b);
        CHECK_EQ(b.fake.reconnects, rows[i].reconnects);
        CHECK(rows[i].reconnects ? !ended(s) : ended(s) && says(s, "HTTP/1.1 502 "));
        http2_stream_drop(s, HTTP2_DROP_CUT);
        settle(&b);
        close(c->fd);
        h2_end(&b);
    }
}

TEST(a_lease_without_a_connection_gets_one_when_the_old_one_is_gone)
{
    BENCH(b);
    b.fake.policy.h2c = true;
    struct peer *c = CLIENT(b);
    struct http2_stream *s = ask(&b, c, GET, true);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    struct http2_stream *at = served(&b, FUNCTION(b, 0));
    CHECK(at);
    reply(&b, at, "HTTP/1.1 204 No Content\r\n\r\n", true);
    http2_stream_drop(at, HTTP2_DROP_DONE);
    CHECK(PUMP_UNTIL(&b, ended(s)));
    http2_stream_drop(s, HTTP2_DROP_DONE);
    hang_up(&b, 0); /* idle */
    peers[1].ended = true;
    settle(&b);
    s = ask(&b, c, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", true);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 2));
    at = served(&b, FUNCTION(b, 1));
    CHECK(at);
    reply(&b, at, "HTTP/1.1 204 No Content\r\n\r\n", true);
    http2_stream_drop(at, HTTP2_DROP_DONE);
    CHECK(PUMP_UNTIL(&b, ended(s)));
    CHECK(says(s, "HTTP/1.1 204 "));
    CHECK_EQ(b.ingress->counters.resent, 0);
    http2_stream_drop(s, HTTP2_DROP_DONE);
    close(c->fd);
    h2_end(&b);
}

TEST(an_idle_connection_to_a_function_is_closed_and_a_busy_one_that_is_slow_is_not)
{
    BENCH(b);
    b.fake.policy.h2c = true;
    struct peer *c = CLIENT(b);
    struct http2_stream *s = ask(&b, c, GET, true);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    struct peer *f = FUNCTION(b, 0);
    struct http2_stream *at = served(&b, f);
    CHECK(at);
    ASSERT(send(f->fd, "\0\0\x08\6", 4, MSG_NOSIGNAL) == 4); /* half a frame's head, and then it thinks */
    for (int i = 0; i < 25; i++) /* less than h2_function_ping_ms */
        wait_ms(&b, 1000);
    CHECK(!ended(s) && !f->ended);
    http2_stream_drop(at, HTTP2_DROP_CUT);
    hang_up(&b, 0);
    f->ended = true;
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 2)); /* a GET may be sent again */
    f = FUNCTION(b, 1);
    CHECK((at = served(&b, f)) != NULL);
    reply(&b, at, "HTTP/1.1 204 No Content\r\n\r\n", true);
    http2_stream_drop(at, HTTP2_DROP_DONE);
    CHECK(PUMP_UNTIL(&b, ended(s)));
    settle(&b);
    wait_ms(&b, b.limits.h2_function_idle_ms - 1);
    CHECK(!f->ended);
    wait_ms(&b, 1);
    CHECK(PUMP_UNTIL(&b, f->ended));
    http2_stream_drop(s, HTTP2_DROP_DONE);
    close(c->fd);
    h2_end(&b);
}

TEST(a_function_that_ends_every_connection_at_once_is_not_asked_for_ever)
{
    BENCH(b);
    b.fake.policy.h2c = true;
    struct peer *c = CLIENT(b);
    struct http2_stream *s = ask(&b, c, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", true);
    for (int i = 0; i < 20 && !ended(s); i++) {
        (void)PUMP_UNTIL(&b, b.fake.connected > i || ended(s));
        if (b.fake.connected > i)
            hang_up(&b, i);
        settle(&b);
    }
    CHECK(ended(s) && says(s, "HTTP/1.1 502 "));
    CHECK(b.fake.connected <= 3);
    http2_stream_drop(s, HTTP2_DROP_DONE);
    close(c->fd);
    h2_end(&b);
}

TEST(a_function_that_takes_no_streams_is_waited_for_only_so_long)
{
    BENCH(b);
    b.fake.policy.h2c = true;
    struct peer *c = CLIENT(b);
    struct http2_stream *s = ask(&b, c, GET, true);
    uint64_t streams = b.limits.h2_streams_max;
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    b.limits.h2_streams_max = 0;
    struct peer *f = FUNCTION(b, 0);
    b.limits.h2_streams_max = streams;
    settle(&b);
    wait_ms(&b, b.limits.h2_function_wait_ms - 1000);
    CHECK(!ended(s) && !f->ended && b.fake.connected == 1);
    wait_ms(&b, 1100);
    CHECK(PUMP_UNTIL(&b, f->ended && b.fake.connected == 2));
    CHECK_EQ(b.ingress->counters.limits[INGRESS_LIMIT_h2_function_wait_ms], 1);
    struct http2_stream *at = served(&b, FUNCTION(b, 1)); /* on a new connection, once more */
    CHECK(at);
    reply(&b, at, "HTTP/1.1 200 OK\r\n\r\n", true);
    CHECK(PUMP_UNTIL(&b, ended(s)));
    CHECK(says(s, "HTTP/1.1 200 "));
    http2_stream_drop(at, HTTP2_DROP_DONE);
    http2_stream_drop(s, HTTP2_DROP_DONE);
    close(c->fd);
    h2_end(&b);
}

static void pass_alone(struct bench *b, uint64_t ms) /* nobody else says anything */
{
    b->world.now_us += ms * 1000;
    for (int k = 0; k < 4; k++)
        turn(b);
}

TEST(a_silent_function_is_asked_whether_it_is_there_and_only_if_it_is_not_its_connection_ends)
{
    BENCH(b);
    b.fake.policy.h2c = true;
    b.fake.policy.timeout_ms = 0;
    struct peer *c = CLIENT(b);
    struct http2_stream *s = ask(&b, c, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", true);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    struct peer *f = FUNCTION(b, 0);
    struct http2_stream *at = served(&b, f);
    CHECK(at);
    settle(&b);
    for (int k = 0; k < 2; k++) { /* it answers, and is asked again much later */
        wait_ms(&b, k == 0 ? b.limits.h2_function_ping_ms : 310000);
        settle(&b);
        wait_ms(&b, b.limits.h2_function_pong_ms + 1);
        settle(&b);
        CHECK(!ended(s) && b.fake.mute == 0);
    }
    pass_alone(&b, b.limits.h2_function_ping_ms); /* from now on it does not; but it is too soon to ask */
    pass_alone(&b, b.limits.h2_function_pong_ms);
    CHECK_EQ(b.fake.mute, 0);
    pass_alone(&b, 310000);
    pass_alone(&b, b.limits.h2_function_pong_ms - 1);
    CHECK_EQ(b.fake.mute, 0);
    pass_alone(&b, 1);
    CHECK_EQ(b.fake.mute, 1);
    CHECK_EQ(b.ingress->counters.limits[INGRESS_LIMIT_h2_function_pong_ms], 1);
    CHECK(PUMP_UNTIL(&b, ended(s)));
    CHECK(says(s, "HTTP/1.1 502 "));
    http2_stream_drop(at, HTTP2_DROP_CUT);
    http2_stream_drop(s, HTTP2_DROP_DONE);
    close(c->fd);
    h2_end(&b);
}

/* ---- gRPC --------------------------------------------------------------------------------- */

TEST(a_call_is_refused_in_grpcs_words_and_anything_else_is_not)
{
    BENCH(b);
    struct peer *c = CLIENT(b);
    b.fake.next = TICKET_FULL;
    err_set(&b.fake.why, CODE_EXHAUSTED, "the queue is 100%% full");
    struct http2_stream *call = ask(&b, c, CALL "\r\n", false), *get = ask(&b, c, GET, true);
    CHECK(PUMP_UNTIL(&b, ended(call) && ended(get)));
    CHECK(says(call, "HTTP/1.1 200 ") && says(call, "content-type: application/grpc\r\n"));
    CHECK(says(call, "grpc-status: 14\r\n") && says(call, "hob-problem: queue-full\r\n"));
    CHECK(says(call, "grpc-message: the queue is 100%25 full\r\n"));
    CHECK(says(get, "HTTP/1.1 503 ") && !says(get, "grpc"));
    CHECK_EQ(b.fake.records[0].status, 503);
    http2_stream_drop(call, HTTP2_DROP_DONE);
    http2_stream_drop(get, HTTP2_DROP_DONE);
    close(c->fd);
    h2_end(&b);
}

TEST(a_calls_timeout_is_a_deadline_and_the_function_gets_what_is_left)
{
    BENCH(b);
    b.fake.policy.h2c = b.fake.hold = true;
    struct peer *c = CLIENT(b);
    struct http2_stream *call = ask(&b, c, CALL "grpc-timeout: 2S\r\n\r\n", false);
    struct http2_stream *over = ask(&b, c, CALL "grpc-timeout: 0m\r\n\r\n", false);
    struct http2_stream *bad = ask(&b, c, CALL "grpc-timeout: 2 S\r\n\r\n", false);
    CHECK(PUMP_UNTIL(&b, b.fake.asked == 1 && ended(over) && ended(bad)));
    CHECK(says(over, "grpc-status: 4\r\n") && says(bad, "grpc-status: 3\r\n"));
    wait_ms(&b, 500);
    loop_defer(b.loop, &b.fake.task);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    struct http2_stream *at = served(&b, FUNCTION(b, 0));
    CHECK(at && says(at, "grpc-timeout: 1500m\r\n") && says(at, "hob-deadline: 1500\r\n"));
    CHECK(!says(at, "2S"));
    wait_ms(&b, 1501);
    CHECK(ended(call) && says(call, "grpc-status: 4\r\n"));
    CHECK(PUMP_UNTIL(&b, http2_stream_end(at) == HTTP2_RESET)); /* and it was told to stop */
    http2_stream_drop(call, HTTP2_DROP_DONE);
    http2_stream_drop(over, HTTP2_DROP_DONE);
    http2_stream_drop(bad, HTTP2_DROP_DONE);
    http2_stream_drop(at, HTTP2_DROP_CUT);
    close(c->fd);
    h2_end(&b);
}

TEST(a_call_may_be_silent_and_a_request_may_not)
{
    struct bench b;
    CHECK(bench_prepare(&b));
    b.limits.h2_stream_idle_ms = 100000;
    CHECK(bench_start(&b));
    b.fake.policy.h2c = true;
    b.fake.policy.timeout_ms = 0;
    struct peer *c = CLIENT(b);
    struct http2_stream *call = ask(&b, c, CALL "\r\n", false), *post = ask(&b, c, POST, false);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    struct peer *f = FUNCTION(b, 0);
    struct http2_stream *at = served(&b, f), *other = served(&b, f);
    CHECK(at && other);
    for (int i = 0; i < 20; i++)
        wait_ms(&b, 1000);
    CHECK(ended(post) && says(post, "HTTP/1.1 408 "));
    CHECK(!ended(call));
    http2_stream_put(call, STR("awake"));
    for (int i = 0; i < 99; i++)
        wait_ms(&b, 1000);
    CHECK(!ended(call)); /* counted from its last byte */
    wait_ms(&b, 2000);
    CHECK(ended(call) && says(call, "grpc-status: 4\r\n"));
    CHECK_EQ(b.ingress->counters.limits[INGRESS_LIMIT_h2_stream_idle_ms], 1);
    http2_stream_drop(call, HTTP2_DROP_DONE);
    http2_stream_drop(post, HTTP2_DROP_DONE);
    http2_stream_drop(at, HTTP2_DROP_CUT);
    http2_stream_drop(other, HTTP2_DROP_CUT);
    close(c->fd);
    h2_end(&b);
}

TEST(to_a_function_of_http_1_a_call_may_not_be_silent_either)
{
    BENCH(b);
    struct peer *c = CLIENT(b);
    struct http2_stream *call = ask(&b, c, CALL "\r\n", false);
    CHECK(PUMP_UNTIL(&b, b.fake.connected == 1));
    for (int i = 0; i < 20; i++)
        wait_ms(&b, 1000);
    CHECK(ended(call) && says(call, "hob-problem: slow-request\r\n"));
    CHECK_EQ(b.ingress->counters.limits[INGRESS_LIMIT_http_body_rate_bytes_s], 1);
    http2_stream_drop(call, HTTP2_DROP_DONE);
    close(c->fd);
    h2_end(&b);
}

/* ---- what fails --------------------------------------------------------------------------- */

/* One request from end to end; time runs, so that nothing waits for ever. True: answered, or ended. */
static bool survives(struct bench *b, bool *ret_answered)
{
    struct peer *c = CLIENT(*b), *f = NULL;
    struct http2_stream *s = ask(b, c, GET, true), *at = NULL;
    int functions = b->fake.connected;
    for (int i = 0; i < 400 && !ended(s) && !c->ended; i++) {
        if (b->fake.connected > functions)
            f = FUNCTION(*b, functions++);
        if (f && (at = http2_changed(f->h)) != NULL) {
            reply(b, at, "HTTP/1.1 200 OK\r\n\r\n", true);
            http2_stream_drop(at, HTTP2_DROP_DONE);
        }
        b->world.now_us += i > 100 ? 1000000 : 0;
        pump(b);
    }
    bool over = ended(s) || c->ended;
    *ret_answered = http2_stream_end(s) == HTTP2_ENDED && says(s, "HTTP/1.1 200 ");
    http2_stream_drop(s, HTTP2_DROP_CUT);
    close(c->fd);
    c->ended = true;
    settle(b);
    return over;
}

TEST(whatever_fails_nothing_is_left_behind_and_the_next_stream_works)
{
    int fds_before = fds_open(), nth = 0;
    for (bool fired = true; fired;) {
        CHECK(++nth < 60);
        bool answered = false, again = false;
        BENCH(b);
        b.fake.policy.h2c = true;
        fault_arm(nth);
        bool over = survives(&b, &answered);
        fired = fault_fired();
        fault_arm(0);
        if (!over || !(fired || answered))
            FAIL("failure %d: over %d, answered %d", nth, over, answered);
        CHECK_EQ(b.fake.granted, b.fake.released);
        CHECK_EQ(b.fake.recorded, b.fake.asked);
        CHECK_EQ(b.ingress->clients.count, 0);
        for (int i = 0; i < b.fake.connected; i++) /* the next one has its own */
            if (b.fake.functions[i] >= 0)
                hang_up(&b, i);
        for (int i = 0; i < peer_count; i++)
            peers[i].ended = true;
        settle(&b);
        if (!survives(&b, &again) || !again)
            FAIL("after failure %d: not served", nth);
        h2_end(&b);
        CHECK_EQ(fds_open(), fds_before);
    }
    CHECK(nth > 7);
}

TEST_MAIN()
