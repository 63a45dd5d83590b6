#include "fds.h"
#include "grpc_rig.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>

#define RIG(change)                                                                        \
    __attribute__((cleanup(rig_auto))) struct rig g;                                       \
    CHECK(rig_open(&g, change) && rig_connect(&g, false))
#define ANSWER(name) __attribute__((cleanup(answer_done))) struct rig_answer name = { 0 }

TEST(a_call_is_answered)
{
    RIG(NULL);
    ANSWER(a);
    client_call(&g, &a, "/echo", "temporal-namespace: default\r\n", STR("hello"));
    CHECK(answer_says(&a, STR("hello")));
    CHECK_STR(g.field, "default");
    CHECK(g.deadline_us == UINT64_MAX && g.calls == 1 && g.cancelled == 0);
    ANSWER(b);
    client_call(&g, &b, "/echo", "", STR(""));
    CHECK(answer_says(&b, STR("")));
    CHECK_STR(g.field, "none");
    struct grpc_server_counts n = grpc_server_counts(g.server);
    CHECK(n.called == 2 && n.calls == 0 && n.ended[0] == 2 && n.message_bytes_in == 5 && n.message_bytes_out == 5);
}

TEST(a_request_in_pieces_is_one_message)
{
    RIG(NULL);
    ANSWER(a);
    static const char whole[] = "\0\0\0\0\5hello";
    client_begin(&g, &a, "/echo", "");
    for (size_t i = 0; i < 10; i++) {
        rig_run(&g);
        CHECK(!a.over);
        client_put(&g, &a, (struct str){ &whole[i], 1 }, false);
    }
    rig_run(&g);
    CHECK_EQ(g.calls, 0);
    http2_stream_finish(a.s, STR(""));
    rig_run(&g);
    CHECK(answer_says(&a, STR("hello")));
}

TEST(messages_of_megabytes_come_and_go)
{
    RIG(NULL);
    ANSWER(a);
    size_t size = 4194304;
    AUTO_FREE char *text = xcalloc(1, size);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)(i * 31 >> 3);
    client_call(&g, &a, "/echo", "", (struct str){ text, size });
    CHECK(answer_says(&a, (struct str){ text, size }));
    CHECK(grpc_server_counts(g.server).held_bytes < 200000);
}

TEST(what_is_no_call_or_no_message_is_refused_in_grpcs_words)
{
    static const struct {
        const char *fields;
        struct str body;
        int http, status;
        const char *text;
    } rows[] = {
        { "Content-Type: application/json\r\n", STR("{}"), 415, 2, "content type" },
        { "grpc-encoding: zstd\r\n", STR("\0\0\0\0\0"), 200, 12, "grpc-encoding" },
        { "grpc-timeout: soon\r\n", STR("\0\0\0\0\0"), 200, 3, "grpc-timeout" },
        { "", STR(""), 200, 12, "no message" },
        { "", STR("\0\0\0\0\0\0\0\0\0\0"), 200, 12, "stream" },
        { "", STR("\0\0\0\0\2a"), 200, 13, "ended within" },
        { "", STR("\0\0\0"), 200, 13, "ended within" },
        { "", STR("\2\0\0\0\0"), 200, 13, "neither 0 nor 1" },
        { "", STR("\1\0\0\0\1a"), 200, 13, "does not say how" },
        { "grpc-encoding: gzip\r\n", STR("\1\0\0\0\5plain"), 200, 13, "gzip" },
        { "", STR("\0\0\x40\0\1"), 200, 8, "grpc: received message larger than max (4194305 vs. 4194304)" },
    };
    RIG(NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ANSWER(a);
        client_begin(&g, &a, "/echo", rows[i].fields);
        client_put(&g, &a, rows[i].body, true);
        rig_run(&g);
        CHECK(answer_refused(&a, rows[i].http, rows[i].status, rows[i].text));
    }
    CHECK_EQ(g.calls, 0);
    CHECK_STR(g.limit, "grpc_message_bytes_max");
    ANSWER(a);
    client_call(&g, &a, "/echo", "", STR("x")); /* and the connection is as good as before */
    CHECK(answer_says(&a, STR("x")));
}

TEST(a_message_that_is_too_large_is_refused_before_it_came)
{
    RIG(NULL);
    ANSWER(a);
    client_begin(&g, &a, "/echo", "");
    client_put(&g, &a, STR("\0\x7f\0\0\0"), false);
    rig_run(&g);
    CHECK(a.http == 200 && a.status == 8 && strstr(a.text, "grpc: received message larger than max (2130706432 vs. 4194304)"));
}

TEST(packed_messages_are_unpacked_and_bombs_are_not)
{
    RIG(NULL);
    AUTO(gzip) struct gzip *z = gzip_new();
    AUTO_FREE char *zeros = xcalloc(1, 64 << 20);
    struct buf b;
    buf_init(&b, 1 << 20);
    for (size_t size = 0; size <= 4194304; size = size * 8 + 1) {
        ANSWER(a);
        buf_clear(&b);
        gzip_write(z, (struct str){ zeros, size }, &b);
        client_begin(&g, &a, "/echo", "grpc-encoding: gzip\r\n");
        client_message(&g, &a, true, buf_str(&b), true);
        rig_run(&g);
        CHECK(answer_says(&a, (struct str){ zeros, size }));
    }
    ANSWER(plain); /* each message says for itself whether it is packed */
    client_call(&g, &plain, "/echo", "grpc-encoding: gzip\r\n", STR("hello"));
    CHECK(answer_says(&plain, STR("hello")));
    ANSWER(bomb);
    int calls = g.calls;
    buf_clear(&b);
    gzip_write(z, (struct str){ zeros, 64 << 20 }, &b);
    client_begin(&g, &bomb, "/echo", "grpc-encoding: gzip\r\n");
    client_message(&g, &bomb, true, buf_str(&b), true);
    rig_run(&g);
    CHECK(answer_refused(&bomb, 200, 8, "grpc: received message larger than max"));
    CHECK_EQ(g.calls, calls);
    buf_done(&b);
}

TEST(large_answers_are_packed_for_far_clients_that_take_it)
{
    static const struct {
        bool far;
        const char *accept;
        size_t size;
        bool packed;
    } rows[] = { { true, "grpc-accept-encoding: identity, gzip\r\n", 20000, true },
                 { true, "grpc-accept-encoding: identity, gzip\r\n", 16383, false },
                 { true, "grpc-accept-encoding: identity,xgzip\r\n", 20000, false },
                 { true, "", 20000, false },
                 { false, "grpc-accept-encoding: gzip\r\n", 20000, false } };
    static char text[20000];
    AUTO(gzip) struct gzip *z = gzip_new();
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        __attribute__((cleanup(rig_auto))) struct rig g;
        ANSWER(a);
        struct buf b;
        struct err e = { 0 };
        CHECK(rig_open(&g, NULL) && rig_connect(&g, rows[i].far));
        client_call(&g, &a, "/echo", rows[i].accept, (struct str){ text, rows[i].size });
        CHECK(a.packed == rows[i].packed && a.status == 0);
        buf_init(&b, sizeof text);
        if (a.packed) {
            CHECK(a.said.size < 1000 && buf_at(&a.said)[0] == 1);
            CHECK_EQ(gzip_read(z, str_from(buf_str(&a.said), GRPC_PREFIX_BYTES), &b, &e), 0);
            CHECK(b.size == rows[i].size && memcmp(buf_at(&b), text, b.size) == 0);
        } else {
            CHECK(answer_says(&a, (struct str){ text, rows[i].size }));
        }
        buf_done(&b);
    }
}

TEST(a_refusal_carries_text_and_details)
{
    RIG(NULL);
    ANSWER(a);
    client_call(&g, &a, "/refuse", "", STR(""));
    CHECK(answer_refused(&a, 200, 5, ""));
    CHECK_STR(a.text, "100%25 gr%C3%BC%0A");
    CHECK_STR(a.details, "CAU=");
    CHECK_EQ(grpc_server_counts(g.server).ended[CODE_NOT_FOUND], 1);
}

static char many[20000];

TEST(a_refusal_stays_within_what_clients_take)
{
    RIG(NULL);
    ANSWER(a);
    ANSWER(b);
    memset(many, '\n', sizeof many - 1);
    client_call(&g, &a, "/hold", "", STR(""));
    grpc_server_refuse(g.held[0], CODE_INVALID, many, (struct str){ many, 8192 });
    rig_run(&g);
    CHECK(a.over && strlen(a.text) > 4000 && strlen(a.text) <= 4096 && strlen(a.details) == 10924);
    CHECK_EQ(g.limits_reached, 0);
    client_call(&g, &b, "/hold", "", STR(""));
    grpc_server_refuse(g.held[1], CODE_INVALID, "large", (struct str){ many, 8193 });
    rig_run(&g);
    CHECK(answer_refused(&b, 200, 3, "large") && b.details[0] == 0);
    CHECK_STR(g.limit, "grpc_details_bytes_max");
}

TEST(a_deadline_ends_a_call_and_its_owner_is_told_first)
{
    RIG(NULL);
    ANSWER(a);
    ANSWER(b);
    client_call(&g, &a, "/hold", "grpc-timeout: 30000000u\r\n", STR("x"));
    CHECK_EQ(g.deadline_us, 1000000 + 30000000);
    rig_pass(&g, 29999);
    CHECK(!a.over && g.cancelled == 0);
    rig_pass(&g, 1);
    CHECK(answer_refused(&a, 200, 4, "deadline") && g.cancelled == 1 && !g.held[0]);
    client_call(&g, &b, "/hold", "grpc-timeout: 0m\r\n", STR("x"));
    CHECK(answer_refused(&b, 200, 4, "deadline") && g.calls == 1);
}

TEST(who_gives_up_a_call_ends_it_at_once)
{
    RIG(NULL);
    ANSWER(a);
    ANSWER(b);
    client_call(&g, &a, "/hold", "", STR("x"));
    client_call(&g, &b, "/hold", "", STR("x"));
    http2_stream_drop(TAKE(a.s), HTTP2_DROP_CUT);
    rig_run(&g);
    CHECK(g.cancelled == 1 && !g.held[0] && g.held[1]);
    CHECK_EQ(grpc_server_counts(g.server).calls, 1);
    grpc_server_reply(g.held[1], STR("y"));
    rig_run(&g);
    CHECK(answer_says(&b, STR("y")));
}

TEST(a_connection_that_ends_ends_its_calls)
{
    RIG(NULL);
    ANSWER(a);
    ANSWER(b);
    client_call(&g, &a, "/hold", "", STR("x"));
    client_begin(&g, &b, "/hold", ""); /* not whole: its owner never heard of it */
    rig_run(&g);
    fd_auto(&g.client_fd);
    rig_run(&g);
    CHECK(g.cancelled == 1 && !g.held[0]);
    CHECK_EQ(grpc_server_counts(g.server).connections, 0);
}

TEST(a_server_that_is_freed_ends_its_calls)
{
    RIG(NULL);
    ANSWER(a);
    client_call(&g, &a, "/hold", "", STR("x"));
    grpc_server_free(TAKE(g.server));
    CHECK(g.cancelled == 1 && !g.held[0]);
}

TEST(a_thousand_polls_wait_on_one_connection_and_take_little)
{
    enum { POLLS = 1000 };
    RIG(NULL);
    struct rig_answer *all = xcalloc(POLLS + 1, sizeof *all);
    static const char message[3000];
    char fields[2000] = "grpc-timeout: 70S\r\nauthorization: ";
    memset(fields + strlen(fields), 'x', 1500);
    strncat(fields, "\r\n", 3);
    for (int i = 0; i <= POLLS; i++) {
        client_begin(&g, &all[i], "/hold", fields);
        client_message(&g, &all[i], false, (struct str){ message, sizeof message }, true);
        rig_run(&g);
    }
    CHECK_EQ(g.held_count, POLLS); /* and one that the client keeps, since it was told */
    CHECK(grpc_server_counts(g.server).held_bytes / POLLS < 2000);
    rig_pass(&g, 30000);
    for (int i = POLLS - 1; i >= 0; i--)
        grpc_server_reply(g.held[i], STR("task"));
    rig_run(&g);
    CHECK(g.held_count == POLLS + 1 && g.cancelled == 0);
    for (int i = 0; i < POLLS; i++)
        CHECK(answer_says(&all[i], STR("task")));
    for (int i = 0; i <= POLLS; i++)
        answer_done(&all[i]);
    free(all);
}

static void few_calls(struct limits *l) { l->grpc_calls_max = 2; }

TEST(calls_beyond_the_bound_of_all_are_refused)
{
    RIG(few_calls);
    ANSWER(a);
    ANSWER(b);
    ANSWER(c);
    client_call(&g, &a, "/hold", "", STR(""));
    client_call(&g, &b, "/hold", "", STR(""));
    client_call(&g, &c, "/hold", "", STR(""));
    CHECK(c.over && c.reset && g.calls == 2);
    CHECK_STR(g.limit, "grpc_calls_max");
}

static void little_room(struct limits *l) { l->grpc_held_bytes_max = 1 << 20; }

TEST(bytes_beyond_the_bound_of_all_are_refused)
{
    RIG(little_room);
    ANSWER(a);
    ANSWER(b);
    ANSWER(c);
    AUTO_FREE char *text = xcalloc(1, 2 << 20);
    client_call(&g, &a, "/echo", "", (struct str){ text, 2 << 20 });
    CHECK(a.status == 8 && strstr(a.text, "grpc_held_bytes_max") && g.calls == 0);
    client_call(&g, &b, "/hold", "", STR("small"));
    grpc_server_reply(g.held[0], (struct str){ text, 2 << 20 });
    rig_run(&g);
    CHECK(answer_refused(&b, 200, 8, "grpc_held_bytes_max"));
    CHECK_STR(g.limit, "grpc_held_bytes_max");
    client_call(&g, &c, "/echo", "", STR("small"));
    CHECK(answer_says(&c, STR("small")));
}

static void small_answers(struct limits *l) { l->grpc_answer_bytes_max = 1024; }

TEST(an_answer_beyond_the_bound_becomes_a_refusal)
{
    RIG(small_answers);
    ANSWER(a);
    static const char text[1025];
    client_call(&g, &a, "/echo", "", (struct str){ text, sizeof text });
    CHECK(answer_refused(&a, 200, 8, "grpc: trying to send message larger than max (1025 vs. 1024)"));
    CHECK_STR(g.limit, "grpc_answer_bytes_max");
}

TEST(a_client_that_takes_nothing_of_its_answer_loses_it)
{
    RIG(NULL);
    ANSWER(a);
    AUTO_FREE char *text = xcalloc(1, 1 << 20);
    client_call(&g, &a, "/hold", "", STR(""));
    g.deaf = true;
    grpc_server_reply(g.held[0], (struct str){ text, 1 << 20 });
    rig_run(&g);
    rig_pass(&g, 59999);
    CHECK(!a.over && g.limits_reached == 0);
    rig_pass(&g, 1);
    CHECK_STR(g.limit, "grpc_stall_ms");
    CHECK(grpc_server_counts(g.server).held_bytes < 100000);
    g.deaf = false;
    ANSWER(b);
    client_call(&g, &b, "/echo", "", STR("x")); /* the others on its connection go on */
    CHECK(answer_says(&b, STR("x")));
}

TEST(a_request_that_stops_coming_is_refused)
{
    RIG(NULL);
    ANSWER(a);
    ANSWER(b);
    client_begin(&g, &a, "/echo", "");
    rig_run(&g);
    rig_pass(&g, 59999);
    client_put(&g, &a, STR("\0\0\0\0\1"), false);
    rig_run(&g);
    rig_pass(&g, 59999);
    CHECK(!a.over && a.http < 0);
    rig_pass(&g, 1);
    CHECK(a.http == 200 && a.status == 4 && strstr(a.text, "grpc_read_ms"));
    CHECK_STR(g.limit, "grpc_read_ms");
    client_begin(&g, &b, "/echo", "grpc-timeout: 5S\r\n");
    rig_run(&g);
    rig_pass(&g, 5000);
    CHECK(b.http == 200 && b.status == 4 && strstr(b.text, "deadline"));
}

TEST(a_client_that_is_not_there_any_more_is_noticed)
{
    RIG(NULL);
    ANSWER(a);
    struct err e;
    client_call(&g, &a, "/hold", "", STR(""));
    for (int i = 0; i < 10; i++)
        rig_pass(&g, 60000); /* it answers each PING */
    CHECK(g.cancelled == 0 && !a.over && g.limits_reached == 0);
    for (int ms = 0; ms < 80000; ms += 20000) { /* it does not read any more */
        CHECK_EQ(g.cancelled, 0);
        g.world.now_us += 20000 * 1000;
        for (int i = 0; i < 4; i++)
            CHECK(loop_turn(g.loop, false, &e) >= 0);
    }
    CHECK_EQ(g.cancelled, 1);
    CHECK_STR(g.limit, "grpc_pong_ms");
}

TEST(pings_of_clients_are_answered_and_do_not_end_anything)
{
    RIG(NULL);
    ANSWER(a);
    client_call(&g, &a, "/hold", "", STR(""));
    for (int i = 0; i < 100; i++) {
        size_t before = g.client_read;
        http2_ping(g.h);
        rig_pass(&g, 10000);
        CHECK(g.client_read > before && !g.gone);
    }
    CHECK_EQ(g.cancelled, 0);
}

TEST(a_connection_without_calls_ends_in_good_time)
{
    RIG(NULL);
    ANSWER(a);
    client_call(&g, &a, "/echo", "", STR(""));
    rig_pass(&g, 599999);
    CHECK(!g.gone && http2_takes_requests(g.h));
    rig_pass(&g, 1);
    CHECK(g.gone);
    CHECK_STR(g.limit, "grpc_idle_ms");
}

TEST(a_server_that_shuts_answers_what_it_has)
{
    RIG(NULL);
    ANSWER(a);
    client_call(&g, &a, "/hold", "", STR(""));
    grpc_server_shut(g.server);
    rig_run(&g);
    CHECK(!http2_takes_requests(g.h) && !g.gone && g.quiet == 0);
    grpc_server_reply(g.held[0], STR("last"));
    rig_run(&g);
    CHECK(answer_says(&a, STR("last")) && g.gone);
    fd_auto(&g.client_fd);
    rig_run(&g);
    CHECK_EQ(g.quiet, 1);
}

static void one_connection(struct limits *l) { l->grpc_connections_max = 1; }

TEST(connections_beyond_the_bound_are_closed)
{
    RIG(one_connection);
    int ends[2];
    char byte;
    struct err e = { 0 };
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK_EQ(grpc_server_adopt(g.server, ends[1], false, &g.tag, &e), -CODE_EXHAUSTED);
    CHECK_EQ(recv(ends[0], &byte, 1, MSG_DONTWAIT), 0);
    CHECK_STR(g.limit, "grpc_connections_max");
    close(ends[0]);
}

TEST(what_is_no_http2_is_told_so_and_let_go)
{
    RIG(NULL);
    char bytes[1024];
    struct err e;
    CHECK(send(g.client_fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) == 18);
    for (int i = 0; i < 8; i++)
        CHECK(loop_turn(g.loop, false, &e) >= 0);
    ssize_t n = 0, all = 0;
    while ((n = recv(g.client_fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        all += n;
    CHECK(n == 0 && all > 0); /* SETTINGS, GOAWAY, end */
    g.gone = true;
    http2_lost(g.h);
    g.world.now_us += 1000000;
    CHECK(loop_turn(g.loop, false, &e) >= 0 && loop_turn(g.loop, false, &e) >= 0);
    CHECK_EQ(grpc_server_counts(g.server).connections, 0);
}

static void few_resets(struct limits *l) { l->grpc_resets_max = 50; }

TEST(a_client_may_give_up_many_calls_but_not_without_end)
{
    RIG(few_resets);
    for (int i = 0; i < 50; i++) {
        ANSWER(a);
        client_call(&g, &a, "/hold", "", STR(""));
        http2_stream_drop(TAKE(a.s), HTTP2_DROP_CUT);
        rig_run(&g);
        CHECK(!g.gone && g.cancelled == i + 1);
    }
    ANSWER(a);
    client_call(&g, &a, "/hold", "", STR(""));
    http2_stream_drop(TAKE(a.s), HTTP2_DROP_CUT);
    rig_run(&g);
    CHECK(g.gone && g.cancelled == 51);
    CHECK_STR(g.limit, "grpc_resets_max");
}

/* An address of this machine that is not the loopback's; false: it has none. */
static bool own_address(struct sockaddr_in *ret)
{
    struct ifaddrs *all = NULL;
    bool found = false;
    if (getifaddrs(&all) < 0)
        return false;
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next)
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !(i->ifa_flags & IFF_LOOPBACK) && (i->ifa_flags & IFF_UP)) {
            memcpy(ret, i->ifa_addr, sizeof *ret);
            found = true;
        }
    freeifaddrs(all);
    return found;
}

/* -1: it could not be tried; else whether a large answer came packed. */
static int packed_at(struct sockaddr_in at)
{
    static const char text[20000];
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    __attribute__((cleanup(rig_auto))) struct rig g;
    ANSWER(a);
    struct grpc_listener *l = NULL;
    struct err e = { 0 };
    struct sockaddr *address = (struct sockaddr *)(void *)&at;
    socklen_t size = sizeof at;
    at.sin_port = 0;
    if (!rig_open(&g, NULL) || bind(fd, address, size) < 0 || listen(fd, 8) < 0 || getsockname(fd, address, &size) < 0)
        return -1;
    g.client_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g.h = http2_new(HTTP2_CLIENT, &g.limits);
    if (grpc_server_listen(g.server, fd, &g.tag, &l, &e) < 0 || connect(g.client_fd, address, size) < 0)
        return -1;
    client_begin(&g, &a, "/echo", "grpc-accept-encoding: gzip\r\n");
    client_message(&g, &a, false, (struct str){ text, sizeof text }, true);
    for (int i = 0; i < 30000 && !a.over; i++) { /* over TCP, bytes are on their way for a moment */
        rig_run(&g);
        if (!a.over)
            (void)usleep(1000);
    }
    return a.over && a.status == 0 ? a.packed : -1;
}

TEST(a_client_on_this_machine_is_near_and_others_are_far)
{
    struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, own;
    CHECK_EQ(packed_at(loopback), 0);
    if (!own_address(&own))
        SKIP("this machine has no address but the loopback's");
    CHECK_EQ(packed_at(own), 1);
}

static int fault_life(int n, bool *ret_fired)
{
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    __attribute__((cleanup(rig_auto))) struct rig g;
    ANSWER(a);
    struct grpc_listener *l = NULL;
    struct err e = { 0 };
    struct sockaddr_storage at = { .ss_family = AF_UNIX };
    socklen_t size = sizeof(sa_family_t);
    struct sockaddr *address = (struct sockaddr *)(void *)&at;
    if (!rig_open(&g, NULL) || bind(fd, address, size) < 0 || listen(fd, 8) < 0)
        return -1;
    size = sizeof at;
    g.client_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g.h = http2_new(HTTP2_CLIENT, &g.limits);
    if (getsockname(fd, address, &size) < 0 || connect(g.client_fd, address, size) < 0)
        return -1;
    fault_arm(n);
    int r = grpc_server_listen(g.server, fd, &g.tag, &l, &e);
    if (r == 0) {
        rig_run(&g);
        rig_pass(&g, 200); /* if accept() was what failed */
        if (!g.gone)
            client_call(&g, &a, "/hold", "", STR("x"));
        if (g.held_count > 0 && g.held[0])
            grpc_server_reply(g.held[0], STR("y"));
        rig_run(&g);
    }
    *ret_fired = fault_fired();
    fault_arm(0);
    bool fine = answer_says(&a, STR("y"));
    if (r < 0 && !e.text[0])
        return -1;
    return *ret_fired ? 0 : fine ? 0 : -1;
}

TEST(each_failing_operation_leaves_nothing)
{
    int before = fds_open(), n = 1;
    for (bool fired = true; fired && n < 100; n++) {
        CHECK_EQ(fault_life(n, &fired), 0);
        CHECK_EQ(fds_open(), before);
    }
    CHECK(n > 8);
}

TEST_MAIN()
