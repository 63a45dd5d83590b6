/* Both sides of a connection against each other, and either against frames written by hand. */
#include "../http2_frames.h"
#include "net/http1_write.h"
#include "net/http2_head.h"
#include "tap.h"

/* ---- two sessions and the bytes between them ---------------------------------------------- */

struct pair {
    struct limits limits;
    struct http2 *client, *server;
    uint64_t now_ms;
    size_t step; /* bytes per feed; 0: all at once */
    struct err e;
    int client_result, server_result; /* of the last feed that failed */
};

static void pair_open(struct pair *p)
{
    *p = (struct pair){ .now_ms = 1000 };
    limits_default(&p->limits);
}
static void pair_start(struct pair *p)
{
    p->client = http2_new(HTTP2_CLIENT, &p->limits);
    p->server = http2_new(HTTP2_SERVER, &p->limits);
}
static void pair_end(struct pair *p)
{
    http2_free(p->client);
    http2_free(p->server);
}

static bool carry(struct pair *p, struct http2 *from, struct http2 *to, int *ret_result)
{
    struct buf b;
    buf_init(&b, MIB(1));
    http2_write(from, &b, 16384, p->now_ms);
    bool any = b.size > 0;
    while (b.size > 0) {
        size_t n = p->step > 0 ? MIN(p->step, b.size) : b.size;
        int r = http2_feed(to, buf_at(&b), n, p->now_ms, &p->e);
        if (r < 0)
            *ret_result = r;
        buf_consume(&b, n);
    }
    buf_done(&b);
    http2_check(to);
    return any;
}
static void settle(struct pair *p)
{
    bool moved = true;
    while (moved) {
        moved = carry(p, p->client, p->server, &p->server_result);
        moved |= carry(p, p->server, p->client, &p->client_result);
    }
}

/* A head from its HTTP/1.1 text, as the gateway has it. */
struct head {
    struct http1_head h;
    char text[4096];
};
static const struct http1_head *parse(struct head *x, enum http1_kind kind, const struct limits *l,
                                      const char *text)
{
    snprintf(x->text, sizeof x->text, "%s", text);
    http1_head_init(&x->h, kind, l);
    ASSERT(http1_head_feed(&x->h, x->text, strlen(x->text)) == HTTP1_DONE);
    return &x->h;
}
static struct http2_stream *ask(struct pair *p, const char *text, bool end)
{
    struct head x;
    struct http2_stream *s = http2_request(p->client, parse(&x, HTTP1_REQUEST, &p->limits, text), end);
    http1_head_done(&x.h);
    return s;
}
static void answer(struct pair *p, struct http2_stream *s, const char *text, bool end)
{
    struct head x;
    http2_answer(s, parse(&x, HTTP1_RESPONSE, &p->limits, text), end);
    http1_head_done(&x.h);
}
static bool has(struct str s, const char *text)
{
    return s.size > 0 && memmem(s.at, s.size, text, strlen(text)) != NULL;
}

/* The next stream that is new; others may have news too. */
static struct http2_stream *fresh(struct http2 *h)
{
    struct http2_stream *s = http2_changed(h);
    while (s && http2_stream_heads(s)->size == 0)
        s = http2_changed(h);
    return s;
}

#define GET_HEAD  "GET /a?b=c HTTP/1.1\r\nHost: f.n.localhost:8080\r\nX-One: 1\r\nConnection: x-hop\r\nX-Hop: no\r\n\r\n"
#define POST_HEAD "POST / HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n"
#define OK_HEAD   "HTTP/1.1 200 OK\r\nX-Two: 2\r\nTransfer-Encoding: chunked\r\n\r\n"

TEST(a_request_and_its_answer_arrive_whole_however_the_bytes_are_cut)
{
    for (size_t step = 0; step < 20; step += 1 + step * 3) {
        struct pair p;
        pair_open(&p);
        p.step = step;
        pair_start(&p);
        struct http2_stream *c = ask(&p, GET_HEAD, true);
        settle(&p);
        struct http2_stream *s = http2_changed(p.server);
        CHECK(c && s && http2_stream_has_head(s) && !http2_stream_chunked(s));
        struct str head = buf_str(http2_stream_heads(s));
        CHECK(str_starts(head, STR("GET /a?b=c HTTP/1.1\r\nHost: f.n.localhost:8080\r\n")));
        CHECK(has(head, "x-one: 1\r\n") && has(head, "te: trailers\r\n") && !has(head, "hop"));
        CHECK(str_ends(head, STR("\r\n\r\n")));
        CHECK_EQ(http2_stream_end(s), HTTP2_ENDED);

        answer(&p, s, OK_HEAD, false);
        http2_stream_put(s, STR("hello"));
        http2_stream_finish(s, STR("grpc-status: 0\r\nx-last: z\r\n"));
        settle(&p);
        CHECK(http2_changed(p.client) == c);
        CHECK(has(buf_str(http2_stream_heads(c)), "HTTP/1.1 200 OK\r\nx-two: 2\r\n"));
        CHECK(http2_stream_chunked(c));
        CHECK(str_is(http2_stream_content(c), "hello"));
        CHECK(str_is(http2_stream_trailers(c), "grpc-status: 0\r\nx-last: z\r\n"));
        CHECK_EQ(http2_stream_end(c), HTTP2_ENDED);
        http2_stream_drop(s, HTTP2_DROP_DONE);
        http2_stream_drop(c, HTTP2_DROP_DONE);
        CHECK_EQ(http2_streams(p.client) + http2_streams(p.server), 0);
        pair_end(&p);
    }
}

TEST(content_waits_with_its_sender_until_the_receiver_takes_what_it_has)
{
    struct pair p;
    pair_open(&p);
    p.limits.h2_window_bytes = 16384;
    pair_start(&p);
    struct http2_stream *c = ask(&p, POST_HEAD, false);
    static char block[16384];
    settle(&p);
    struct http2_stream *s = http2_changed(p.server);
    CHECK(s);
    http2_stream_put(c, (struct str){ block, sizeof block });
    settle(&p);
    CHECK_EQ(http2_stream_content(s).size, 16384);
    CHECK_EQ(http2_stream_room(c), 16384);
    http2_stream_put(c, (struct str){ block, sizeof block }); /* no window for it */
    settle(&p);
    CHECK_EQ(http2_stream_room(c), 0);
    CHECK(!http2_stream_flows(c));
    CHECK_EQ(http2_stream_content(s).size, 16384);
    http2_stream_take(s, 16384);
    settle(&p);
    CHECK_EQ(http2_stream_content(s).size, 16384);
    CHECK_EQ(http2_stream_room(c), 16384);
    CHECK(http2_stream_flows(c));
    http2_stream_drop(c, HTTP2_DROP_CUT);
    http2_stream_drop(s, HTTP2_DROP_CUT);
    pair_end(&p);
}

TEST(streams_that_nobody_reads_do_not_hold_up_a_functions_other_answers)
{
    struct pair p;
    pair_open(&p);
    p.limits.h2_window_bytes = 16384;
    p.limits.h2_connection_window_bytes = 65535;
    pair_start(&p);
    static char block[16384];
    struct http2_stream *c[8], *s[8];
    for (int i = 0; i < 8; i++) {
        c[i] = ask(&p, GET_HEAD, true);
        settle(&p);
        s[i] = fresh(p.server);
        CHECK(c[i] && s[i]);
        buf_clear(http2_stream_heads(s[i]));
        answer(&p, s[i], OK_HEAD, false);
        http2_stream_put(s[i], (struct str){ block, sizeof block });
        settle(&p);
        CHECK_EQ(http2_stream_content(c[i]).size, 16384); /* the eighth is beyond 65535 together */
    }
    for (int i = 0; i < 8; i++) {
        http2_stream_drop(c[i], HTTP2_DROP_CUT);
        http2_stream_drop(s[i], HTTP2_DROP_CUT);
    }
    settle(&p);
    CHECK_EQ(http2_streams(p.client) + http2_streams(p.server), 0);
    pair_end(&p);
}

TEST(an_early_answer_is_sent_whole_and_the_rest_of_the_request_is_refused_without_an_error)
{
    struct pair p;
    pair_open(&p);
    pair_start(&p);
    struct http2_stream *c = ask(&p, POST_HEAD, false);
    settle(&p);
    struct http2_stream *s = http2_changed(p.server);
    CHECK(s);
    answer(&p, s, OK_HEAD, false);
    http2_stream_put(s, STR("no"));
    http2_stream_finish(s, STR(""));
    http2_stream_drop(s, HTTP2_DROP_DONE);
    settle(&p);
    CHECK(str_is(http2_stream_content(c), "no"));
    CHECK_EQ(http2_stream_end(c), HTTP2_ENDED);
    CHECK(http2_stream_deaf(c));
    http2_stream_drop(c, HTTP2_DROP_DONE);
    CHECK_EQ(http2_streams(p.client) + http2_streams(p.server), 0);
    pair_end(&p);
}

TEST(a_cut_answer_is_a_reset_and_never_looks_complete)
{
    struct pair p;
    pair_open(&p);
    pair_start(&p);
    struct http2_stream *c = ask(&p, GET_HEAD, true);
    settle(&p);
    struct http2_stream *s = http2_changed(p.server);
    CHECK(s);
    answer(&p, s, OK_HEAD, false);
    http2_stream_put(s, STR("half"));
    settle(&p);
    http2_stream_drop(s, HTTP2_DROP_CUT);
    settle(&p);
    CHECK(http2_changed(p.client) == c);
    CHECK_EQ(http2_stream_end(c), HTTP2_RESET);
    http2_stream_drop(c, HTTP2_DROP_CUT);
    pair_end(&p);
}

TEST(a_request_the_server_has_not_begun_says_so_when_the_server_goes_away)
{
    struct pair p;
    pair_open(&p);
    pair_start(&p);
    struct http2_stream *one = ask(&p, GET_HEAD, true);
    settle(&p);
    struct http2_stream *s = http2_changed(p.server);
    CHECK(s);
    http2_shut(p.server);
    (void)carry(&p, p.server, p.client, &p.client_result);
    CHECK(!http2_takes_requests(p.client));
    CHECK(!ask(&p, GET_HEAD, true));
    CHECK_EQ(http2_stream_end(one), HTTP2_OPEN); /* below the last one that the server will answer */
    answer(&p, s, OK_HEAD, false);
    http2_stream_finish(s, STR(""));
    settle(&p);
    CHECK_EQ(http2_stream_end(one), HTTP2_ENDED);
    http2_stream_drop(s, HTTP2_DROP_DONE);
    http2_stream_drop(one, HTTP2_DROP_DONE);
    pair_end(&p);
}

TEST(a_lost_connection_tells_what_was_sent_from_what_never_was)
{
    struct pair p;
    pair_open(&p);
    pair_start(&p);
    struct http2_stream *sent = ask(&p, GET_HEAD, true);
    settle(&p);
    struct http2_stream *waits = ask(&p, GET_HEAD, true); /* not written yet */
    http2_lost(p.client);
    CHECK_EQ(http2_stream_end(sent), HTTP2_RESET);
    CHECK_EQ(http2_stream_end(waits), HTTP2_REFUSED);
    http2_stream_drop(sent, HTTP2_DROP_CUT);
    http2_stream_drop(waits, HTTP2_DROP_CUT);
    struct http2_stream *s = http2_changed(p.server);
    CHECK(s);
    http2_lost(p.server);
    CHECK_EQ(http2_stream_end(s), HTTP2_RESET);
    http2_stream_drop(s, HTTP2_DROP_CUT);
    pair_end(&p);
}

TEST(requests_beyond_what_the_function_takes_at_once_wait_and_are_all_answered)
{
    struct pair p;
    pair_open(&p);
    p.limits.h2_streams_max = 2;
    pair_start(&p);
    settle(&p); /* its settings are known */
    struct http2_stream *c[5];
    for (int i = 0; i < 5; i++)
        c[i] = ask(&p, GET_HEAD, true);
    for (int answered = 0; answered < 5;) {
        settle(&p);
        struct http2_stream *s[3];
        int n = 0;
        while (n < 3 && (s[n] = fresh(p.server)) != NULL)
            n++;
        CHECK(n >= 1 && n <= 2);
        for (int i = 0; i < n; i++, answered++) {
            answer(&p, s[i], OK_HEAD, false);
            http2_stream_finish(s[i], STR(""));
            http2_stream_drop(s[i], HTTP2_DROP_DONE);
        }
    }
    settle(&p);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(http2_stream_end(c[i]), HTTP2_ENDED);
        http2_stream_drop(c[i], HTTP2_DROP_DONE);
    }
    pair_end(&p);
}

/* ---- a server and frames written by hand -------------------------------------------------- */

struct hand {
    struct limits limits;
    struct http2 *h;
    struct buf in, block, out;
    uint64_t now_ms;
    struct err e;
};
static void hand_open(struct hand *d)
{
    *d = (struct hand){ .now_ms = 5000 };
    limits_default(&d->limits);
    buf_init(&d->in, MIB(4));
    buf_init(&d->block, MIB(4));
    buf_init(&d->out, MIB(4));
    preface(&d->in);
}
static int hand_feed(struct hand *d)
{
    if (!d->h)
        d->h = http2_new(HTTP2_SERVER, &d->limits);
    int r = http2_feed(d->h, buf_at(&d->in), d->in.size, d->now_ms, &d->e);
    buf_clear(&d->in);
    http2_write(d->h, &d->out, MIB(1), d->now_ms);
    http2_check(d->h);
    return r;
}
static void hand_request(struct hand *d, uint32_t id, int flags)
{
    frame(&d->in, HTTP2_HEADERS, flags, id, buf_str(&d->block));
    buf_clear(&d->block);
}
static void hand_end(struct hand *d)
{
    for (struct http2_stream *s; (s = http2_changed(d->h)) != NULL;)
        http2_stream_drop(s, HTTP2_DROP_CUT);
    http2_free(d->h);
    buf_done(&d->in);
    buf_done(&d->block);
    buf_done(&d->out);
}
/* The first frame of this type that was sent, its payload; at NULL: none. */
static struct str sent(const struct hand *d, uint8_t type)
{
    struct str rest = buf_str(&d->out);
    while (rest.size >= 9) {
        const uint8_t *h = (const uint8_t *)rest.at;
        size_t size = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];
        if (h[3] == type)
            return (struct str){ rest.at + 9, size };
        rest = str_from(rest, 9 + size);
    }
    return (struct str){ NULL, 0 };
}
static bool calmed(const struct hand *d, const char *limit)
{
    struct str goaway = sent(d, HTTP2_GOAWAY);
    return goaway.size > 8 && goaway.at[7] == 11 /* ENHANCE_YOUR_CALM */ &&
           str_is(str_from(goaway, 8), limit);
}

#define FLOOD(name, count, step_ms, ...)                                                      \
    ({                                                                                        \
        int r_ = 0;                                                                           \
        for (uint32_t n_ = 0; n_ < (uint32_t)(count) && r_ == 0; n_++) {                      \
            uint32_t id_ = 2 * n_ + 1;                                                        \
            (void)id_;                                                                        \
            __VA_ARGS__;                                                                      \
            r_ = hand_feed(&name);                                                            \
            name.now_ms += (step_ms);                                                         \
        }                                                                                     \
        r_;                                                                                   \
    })
#define QUICK_REQUEST(d, id)                                                                  \
    do {                                                                                      \
        request_fields(&(d).block, "GET", "/", "f");                                          \
        hand_request(&(d), id, F_END_HEADERS | F_END_STREAM);                                 \
    } while (0)

TEST(the_reset_after_an_early_answer_says_no_error)
{
    struct hand d;
    hand_open(&d);
    request_fields(&d.block, "POST", "/", "f");
    hand_request(&d, 1, F_END_HEADERS);
    CHECK_EQ(hand_feed(&d), 0);
    struct http2_stream *s = http2_changed(d.h);
    struct head x;
    CHECK(s);
    http2_answer(s, parse(&x, HTTP1_RESPONSE, &d.limits, OK_HEAD), false);
    http1_head_done(&x.h);
    http2_stream_finish(s, STR(""));
    http2_stream_drop(s, HTTP2_DROP_DONE);
    CHECK_EQ(hand_feed(&d), 0);
    CHECK(str_eq(sent(&d, HTTP2_RST_STREAM), STR("\0\0\0\0")));
    CHECK_EQ(http2_streams(d.h), 0);
    hand_end(&d);
}

TEST(rapid_reset_ends_the_connection_and_names_its_limit_while_a_patient_client_goes_on)
{
    struct hand d, slow;
    hand_open(&d);
    CHECK_EQ(FLOOD(d, 300, 1, QUICK_REQUEST(d, id_); frame_u32(&d.in, HTTP2_RST_STREAM, 0, id_, 8)),
             -CODE_EXHAUSTED);
    CHECK(calmed(&d, "h2_resets_max"));
    CHECK_EQ(http2_reached(d.h), HTTP2_LIMIT_h2_resets_max);
    CHECK(http2_over(d.h));
    hand_end(&d);
    hand_open(&slow); /* 6 a second: just below */
    CHECK_EQ(FLOOD(slow, 1000, 155, QUICK_REQUEST(slow, id_);
                   frame_u32(&slow.in, HTTP2_RST_STREAM, 0, id_, 8)),
             0);
    hand_end(&slow);
}

TEST(streams_that_we_had_to_reset_for_the_peers_fault_cost_it_the_same)
{
    struct hand d;
    hand_open(&d);
    CHECK_EQ(FLOOD(d, 300, 1, request_fields(&d.block, "GET", "/", "f");
                   field(&d.block, "connection", "close");
                   hand_request(&d, id_, F_END_HEADERS | F_END_STREAM)),
             -CODE_EXHAUSTED);
    CHECK_EQ(http2_reached(d.h), HTTP2_LIMIT_h2_resets_max);
    hand_end(&d);
}

TEST(pings_and_settings_without_data_are_counted_together)
{
    struct hand d;
    hand_open(&d);
    CHECK_EQ(FLOOD(d, 40, 1, frame(&d.in, HTTP2_PING, 0, 0, STR("12345678"))), -CODE_EXHAUSTED);
    CHECK(calmed(&d, "h2_controls_max"));
    hand_end(&d);
    hand_open(&d);
    CHECK_EQ(FLOOD(d, 40, 1, frame(&d.in, HTTP2_SETTINGS, 0, 0, STR(""))), -CODE_EXHAUSTED);
    CHECK(calmed(&d, "h2_controls_max"));
    hand_end(&d);
}

TEST(pings_that_measure_bandwidth_are_as_welcome_as_the_data_they_measure)
{
    struct hand d;
    hand_open(&d);
    request_fields(&d.block, "POST", "/", "f");
    hand_request(&d, 1, F_END_HEADERS);
    CHECK_EQ(FLOOD(d, 500, 0, frame(&d.in, HTTP2_DATA, 0, 1, STR("data"));
                   frame(&d.in, HTTP2_PING, 0, 0, STR("12345678"))),
             0);
    CHECK_EQ(FLOOD(d, 40, 0, frame(&d.in, HTTP2_PING, 0, 0, STR("12345678"))), -CODE_EXHAUSTED);
    hand_end(&d);
}

TEST(a_header_block_without_end_is_refused_after_eight_pieces)
{
    for (int pieces = 8; pieces <= 9; pieces++) {
        struct hand d;
        hand_open(&d);
        request_fields(&d.block, "GET", "/", "f");
        hand_request(&d, 1, F_END_STREAM);
        for (int i = 1; i <= pieces; i++) {
            field(&d.block, "x", "y");
            frame(&d.in, HTTP2_CONTINUATION, i == pieces ? F_END_HEADERS : 0, 1, buf_str(&d.block));
            buf_clear(&d.block);
        }
        int r = hand_feed(&d);
        CHECK_EQ(r, pieces > 8 ? -CODE_EXHAUSTED : 0);
        CHECK(pieces == 8 || calmed(&d, "h2_continuations_max"));
        hand_end(&d);
    }
}

TEST(a_few_bytes_that_unpack_into_a_large_head_are_refused)
{
    struct hand d;
    char value[120];
    hand_open(&d);
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    request_fields(&d.block, "GET", "/", "f");
    buf_append(&d.block, "\x40\x01x", 3); /* literal with indexing: entry 62 from now on */
    buf_append(&d.block, &(char){ sizeof value - 1 }, 1);
    buf_text(&d.block, value);
    for (int i = 0; i < 1000; i++)
        buf_append(&d.block, "\xbe", 1); /* entry 62 once more: 152 bytes of list for one */
    hand_request(&d, 1, F_END_HEADERS | F_END_STREAM);
    CHECK_EQ(hand_feed(&d), -CODE_EXHAUSTED);
    CHECK(calmed(&d, "h2_head_list_bytes_max"));
    hand_end(&d);
}

TEST(frames_that_carry_nothing_are_refused_when_there_are_too_many)
{
    struct hand d;
    hand_open(&d);
    request_fields(&d.block, "POST", "/", "f");
    hand_request(&d, 1, F_END_HEADERS);
    CHECK_EQ(FLOOD(d, 1100, 0, frame(&d.in, HTTP2_DATA, 0, 1, STR(""))), -CODE_EXHAUSTED);
    CHECK(calmed(&d, "h2_light_frames_max"));
    hand_end(&d);
    hand_open(&d);
    CHECK_EQ(FLOOD(d, 1100, 0, frame(&d.in, HTTP2_PRIORITY, 0, 1, STR("\0\0\0\0\x10"))),
             -CODE_EXHAUSTED);
    hand_end(&d);
    hand_open(&d);
    CHECK_EQ(FLOOD(d, 1100, 0, frame_u32(&d.in, HTTP2_WINDOW_UPDATE, 0, 0, 1)), -CODE_EXHAUSTED);
    hand_end(&d);
}

TEST(no_more_streams_are_open_at_once_than_the_limit)
{
    struct hand d;
    hand_open(&d);
    d.limits.h2_streams_max = 3;
    CHECK_EQ(hand_feed(&d), 0);
    frame(&d.in, HTTP2_SETTINGS, F_ACK, 0, STR("")); /* from here on it knows */
    for (uint32_t i = 0; i < 4; i++)
        QUICK_REQUEST(d, 2 * i + 1);
    (void)hand_feed(&d);
    CHECK(http2_streams(d.h) <= 3);
    CHECK(sent(&d, HTTP2_GOAWAY).at || sent(&d, HTTP2_RST_STREAM).at);
    hand_end(&d);
}

/* What http1 refuses and what nghttp2 refuses, and what only we do. */
TEST(a_malformed_head_resets_its_stream_and_never_comes_out)
{
    static const char *const bad[][2] = {
        { "connection", "close" },        { "transfer-encoding", "chunked" },
        { "te", "gzip" },                 { "Upper", "case" },
        { "host", "other" },              { "x", "a\nb" },
        { "x", "a\rInjected: 1" },        { "content-length", "1,2" },
        { ":path", "/twice" },            { "upgrade", "h2c" },
        { "x y", "z" },                   { "", "empty" },
        { "content-length", "5" }, /* and the stream ends here */
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct hand d;
        hand_open(&d);
        request_fields(&d.block, "GET", "/", "f");
        field(&d.block, bad[i][0], bad[i][1]);
        hand_request(&d, 1, F_END_HEADERS | F_END_STREAM);
        CHECK_EQ(hand_feed(&d), 0);
        struct http2_stream *s = http2_changed(d.h);
        if (s)
            FAIL("\"%s: %s\" came through", bad[i][0], bad[i][1]);
        CHECK(sent(&d, HTTP2_RST_STREAM).size == 4);
        hand_end(&d);
    }
}

TEST(a_start_line_cannot_be_smuggled_through_a_pseudo_header)
{
    static const char *const bad[][3] = {
        { "GET / HTTP/1.1", "/", "f" }, { "GET", "/ HTTP/1.1", "f" },  { "GET", "/a b", "f" },
        { "GET", "/", "f x" },          { "GET", "/", "f\r\nX-Y: z" }, { "GET", "/\r\nHost: x", "f" },
        { "G\nT", "/", "f" },           { "", "/", "f" },
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct hand d;
        hand_open(&d);
        request_fields(&d.block, bad[i][0], bad[i][1], bad[i][2]);
        hand_request(&d, 1, F_END_HEADERS | F_END_STREAM);
        (void)hand_feed(&d);
        if (http2_changed(d.h))
            FAIL("method \"%s\" path \"%s\" authority \"%s\" came through", bad[i][0], bad[i][1],
                 bad[i][2]);
        hand_end(&d);
    }
}

TEST(host_may_repeat_the_authority_and_cookies_are_one_again)
{
    struct hand d;
    hand_open(&d);
    request_fields(&d.block, "GET", "/", "F.local");
    field(&d.block, "cookie", "a=1");
    field(&d.block, "host", "f.local");
    field(&d.block, "cookie", "b=2");
    hand_request(&d, 1, F_END_HEADERS | F_END_STREAM);
    CHECK_EQ(hand_feed(&d), 0);
    struct http2_stream *s = http2_changed(d.h);
    CHECK(s);
    CHECK(str_is(buf_str(http2_stream_heads(s)),
                 "GET / HTTP/1.1\r\nHost: F.local\r\ncookie: a=1; b=2\r\n\r\n"));
    http2_stream_drop(s, HTTP2_DROP_CUT);
    hand_end(&d);
}

TEST(a_peer_in_the_middle_of_a_head_is_waited_for_and_one_in_its_data_is_not)
{
    struct hand d;
    hand_open(&d);
    CHECK_EQ(hand_feed(&d), 0);
    CHECK(!http2_waiting(d.h));
    request_fields(&d.block, "POST", "/", "f");
    hand_request(&d, 1, 0); /* no END_HEADERS */
    CHECK_EQ(hand_feed(&d), 0);
    CHECK(http2_waiting(d.h));
    frame(&d.in, HTTP2_CONTINUATION, F_END_HEADERS, 1, STR(""));
    CHECK_EQ(hand_feed(&d), 0);
    CHECK(!http2_waiting(d.h));
    frame_open(&d.in, 100, HTTP2_DATA, 0, 1);
    CHECK_EQ(hand_feed(&d), 0);
    CHECK(!http2_waiting(d.h));
    hand_end(&d);
}

TEST(what_is_not_http_2_ends_the_connection_with_a_reason)
{
    struct hand d;
    hand_open(&d);
    buf_clear(&d.in);
    buf_text(&d.in, "GET / HTTP/1.1\r\nHost: f\r\n\r\n");
    CHECK_EQ(hand_feed(&d), -CODE_INVALID);
    CHECK(http2_over(d.h));
    hand_end(&d);
    hand_open(&d);
    frame(&d.in, HTTP2_DATA, 0, 7, STR("no such stream"));
    (void)hand_feed(&d);
    CHECK(sent(&d, HTTP2_GOAWAY).size >= 8);
    CHECK(http2_over(d.h));
    hand_end(&d);
}

TEST_MAIN()
