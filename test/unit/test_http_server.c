#include "fds.h"
#include "net/http_server.h"
#include "os/fault.h"
#include "tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- a loop whose clock only the test moves ----------------------------------------------- */

struct world {
    struct loop_world w;
    int fd;
    uint64_t now_us;
};

static uint64_t world_now_us(struct loop_world *w)
{
    return CONTAINER_OF(w, struct world, w)->now_us;
}

static int world_control(struct loop_world *w, int op, int fd, uint32_t events, uint32_t slot,
                         struct err *e)
{
    struct epoll_event ev = { .events = events, .data.u32 = slot };
    bool fault = op == EPOLL_CTL_ADD && fault_hit("epoll_ctl");
    if (fault || epoll_ctl(CONTAINER_OF(w, struct world, w)->fd, op, fd, &ev) < 0)
        return err_sys(e, "watch");
    return 0;
}

static int world_wait(struct loop_world *w, uint64_t due_us, struct loop_event *into, int max,
                      struct err *e)
{
    struct epoll_event events[64];
    (void)due_us;
    (void)e;
    int n = epoll_wait(CONTAINER_OF(w, struct world, w)->fd, events, MIN(max, 64), 0);
    for (int i = 0; i < n; i++)
        into[i] = (struct loop_event){ events[i].data.u32, events[i].events };
    return MAX(n, 0);
}

static void world_free(struct loop_world *w) { (void)close(CONTAINER_OF(w, struct world, w)->fd); }

/* ---- the rig ------------------------------------------------------------------------------ */

enum { HELD_MAX = 8 };

struct rig {
    struct world world;
    struct loop *loop;
    struct limits limits;
    struct http_server *server;
    int listen_fd;
    struct sockaddr_storage address;
    socklen_t address_size;
    struct http_call *held[HELD_MAX]; /* paths under /hold are answered by the test */
    int held_count, gone_count, request_count, limit_count, head_count;
    struct http_budget budget;
};

static void on_gone(void *ctx)
{
    struct rig *g = ctx;
    g->gone_count++;
}

/* /hold: kept for the test. /echo: method, path, body. /stream: begun, and kept. */
static void on_request(void *ctx, struct http_call *c)
{
    struct rig *g = ctx;
    char text[512];
    struct str path = http_call_path(c), body = http_call_body(c), method = http_call_method(c);
    g->request_count++;
    if (str_starts(path, STR("/hold")) || str_starts(path, STR("/stream"))) {
        if (str_starts(path, STR("/stream")))
            http_stream_begin(c, 200, "text/plain", on_gone, g);
        g->held[g->held_count++ % HELD_MAX] = c;
        return;
    }
    int size = snprintf(text, sizeof text, STR_FMT " " STR_FMT " [" STR_FMT "]\n", STR_ARG(method),
                        STR_ARG(path), STR_ARG(body));
    http_answer(c, 200, "text/plain", "X-Test: yes\r\n", (struct str){ text, (size_t)size });
}

/* Paths under /closed are for nobody. */
static bool on_head(void *ctx, struct http_call *c)
{
    struct rig *g = ctx;
    g->head_count++;
    ASSERT(http_call_body(c).size == 0);
    if (!str_starts(http_call_path(c), STR("/closed")))
        return true;
    http_answer(c, 401, "text/plain", "WWW-Authenticate: Bearer\r\n", STR("closed\n"));
    return false;
}

static void on_limit(void *ctx, const char *limit)
{
    struct rig *g = ctx;
    ASSERT(strcmp(limit, "api_bodies_bytes_max") == 0 || strcmp(limit, "api_answers_bytes_max") == 0 ||
           strcmp(limit, "connections_max") == 0);
    g->limit_count++;
}

static int listen_on(struct rig *g, int family)
{
    struct sockaddr_in inet = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    memcpy(&g->address, &inet, sizeof inet);
    g->address.ss_family = (sa_family_t)family;
    /* AF_UNIX: no name, so that the kernel finds an abstract one. */
    g->address_size = family == AF_INET ? sizeof inet : sizeof(sa_family_t);
    struct sockaddr *address = (struct sockaddr *)(void *)&g->address;
    AUTO_CLOSE int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, address, g->address_size) < 0 || listen(fd, 64) < 0)
        return -1;
    g->address_size = sizeof g->address;
    return getsockname(fd, address, &g->address_size) < 0 ? -1 : TAKE_FD(fd);
}

static bool rig_open(struct rig *g, int family)
{
    const struct http_server_ops ops = {
        .on_request = on_request, .on_head = on_head, .on_limit = on_limit, .budget = &g->budget
    };
    struct err e = { 0 };

    memset(g, 0, sizeof *g);
    limits_default(&g->limits);
    g->world = (struct world){ { world_now_us, world_control, world_wait, world_free },
                               epoll_create1(EPOLL_CLOEXEC),
                               1000000 };
    g->listen_fd = listen_on(g, family);
    return g->world.fd >= 0 && g->listen_fd >= 0 && loop_open_in(&g->world.w, &g->loop, &e) == 0 &&
           http_server_open(g->loop, &g->limits, g->listen_fd, &ops, g, &g->server, &e) == 0;
}

static void rig_auto(struct rig *g)
{
    http_server_free(g->server);
    loop_free(g->loop);
    fd_auto(&g->listen_fd);
    ASSERT(g->budget.bodies == 0 && g->budget.answers == 0); /* whatever a test did, nothing stays reserved */
}

static void turns(struct rig *g, int count)
{
    struct err e;
    for (int i = 0; i < count; i++)
        ASSERT(loop_turn(g->loop, false, &e) >= 0);
}

static void pass_ms(struct rig *g, uint64_t ms)
{
    turns(g, 4);
    g->world.now_us += ms * 1000;
    turns(g, 4);
}

static int client(struct rig *g)
{
    int on = 1, fd = socket(g->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)(void *)&g->address, g->address_size) < 0) {
        (void)close(fd);
        return -1;
    }
    /* Or a second small piece waits for the first one's acknowledgement. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static bool say(int fd, const char *text)
{
    return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

/* Turns the loop until the bytes that came end with `until` (or the connection ended: "EOF" is
 * appended), for at most five seconds of real time. The result is for comparing and looking. */
static char heard[1 << 20];
static const char *hear(struct rig *g, int fd, const char *until)
{
    size_t used = 0;
    heard[0] = '\0';
    for (int tries = 0; tries < 5000; tries++) {
        turns(g, 3);
        ssize_t n = recv(fd, heard + used, sizeof heard - used - 8, MSG_DONTWAIT);
        if (n > 0) {
            used += (size_t)n;
            heard[used] = '\0';
        } else if (n == 0 || errno != EAGAIN) {
            strcpy(heard + used, "EOF");
            return heard;
        } else if (strlen(until) <= used &&
                   memcmp(heard + used - strlen(until), until, strlen(until)) == 0) {
            return heard;
        } else {
            (void)poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 1);
        }
    }
    return heard;
}

static bool wait_held(struct rig *g, int count)
{
    for (int tries = 0; tries < 5000 && g->held_count < count; tries++) {
        turns(g, 3);
        if (g->held_count < count)
            (void)poll(NULL, 0, 1);
    }
    return g->held_count >= count;
}

#define RIG_ON(family) \
    __attribute__((cleanup(rig_auto))) struct rig g; \
    CHECK(rig_open(&g, family))
#define RIG() RIG_ON(AF_INET)
#define CLIENT(name) \
    AUTO_CLOSE int name = client(&g); \
    CHECK(name >= 0)
#define HEARD(what) \
    do { \
        if (!strstr(heard, what)) \
            FAIL("expected %s in: %s", #what, heard); \
    } while (0)

/* ---- requests and answers ----------------------------------------------------------------- */

TEST(a_request_is_answered_and_the_connection_serves_another)
{
    RIG();
    CLIENT(fd);
    CHECK(say(fd, "GET /echo?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"));
    hear(&g, fd, "]\n");
    HEARD("HTTP/1.1 200 OK\r\nDate: ");
    HEARD("\r\nX-Test: yes\r\nContent-Length: 13\r\n\r\nGET /echo []\n");
    CHECK(!strstr(heard, "Connection:"));
    CHECK(say(fd, "DELETE /two HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    hear(&g, fd, "EOF");
    HEARD("Connection: close\r\n");
    HEARD("DELETE /two []\nEOF");
    CHECK_EQ(g.request_count, 2);
}

TEST(what_is_pipelined_is_answered_in_order_and_one_at_a_time)
{
    RIG();
    CLIENT(fd);
    CHECK(say(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"
                  "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy"
                  "GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    CHECK(wait_held(&g, 1));
    turns(&g, 20);
    CHECK_EQ(g.request_count, 1); /* the others wait, unparsed */
    http_answer(g.held[0], 202, NULL, NULL, STR("first\n"));
    hear(&g, fd, "EOF");
    const char *first = strstr(heard, "first\n"), *second = strstr(heard, "POST /b [xy]\n");
    CHECK(first && second && first < second);
    HEARD("GET /c []\nEOF");
}

TEST(a_hundred_pipelined_requests_do_not_nest)
{
    RIG();
    CLIENT(fd);
    for (int i = 0; i < 100; i++)
        CHECK(say(fd, "GET /n HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(say(fd, "GET /last HTTP/1.1\r\nHost: h\r\n\r\n"));
    hear(&g, fd, "/last []\n");
    HEARD("/last []\n");
    CHECK_EQ(g.request_count, 101);
}

TEST(head_gets_the_length_and_no_body)
{
    RIG();
    CLIENT(fd);
    CHECK(say(fd, "HEAD /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    hear(&g, fd, "EOF");
    HEARD("Content-Length: 14\r\n");
    HEARD("\r\n\r\nEOF");
}

TEST(an_answer_without_content_announces_none)
{
    RIG();
    CLIENT(fd);
    CHECK(say(fd, "GET /hold HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    CHECK(wait_held(&g, 1));
    http_answer(g.held[0], 204, NULL, NULL, STR(""));
    hear(&g, fd, "EOF");
    HEARD("HTTP/1.1 204 No Content\r\n");
    CHECK(!strstr(heard, "Content-Length"));
}

TEST(http_1_0_closes_unless_it_asked_to_keep_alive)
{
    RIG();
    CLIENT(fd);
    CHECK(say(fd, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    hear(&g, fd, "]\n");
    HEARD("Connection: keep-alive\r\n");
    CHECK(say(fd, "GET /b HTTP/1.0\r\n\r\n"));
    hear(&g, fd, "EOF");
    HEARD("GET /b []\nEOF");
}

TEST(bodies_arrive_whole_however_they_are_framed_and_cut)
{
    RIG();
    static const char *const requests[] = {
        "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n",
    };
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        CLIENT(fd);
        for (const char *p = requests[i]; *p; p++) {
            CHECK(send(fd, p, 1, MSG_NOSIGNAL) == 1);
            turns(&g, 2);
        }
        hear(&g, fd, "]\n");
        HEARD("POST /p [hello]\n");
    }
}

TEST(a_client_that_expects_100_continue_gets_it_before_its_body)
{
    RIG();
    CLIENT(fd);
    CHECK(say(fd,
              "POST /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
    CHECK_STR(hear(&g, fd, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    CHECK(say(fd, "ok"));
    hear(&g, fd, "]\n");
    HEARD("POST /p [ok]\n");
}

/* ---- refusals ----------------------------------------------------------------------------- */

TEST(what_is_refused_is_said_and_the_connection_closed)
{
    static char fields[20000];
    memset(fields, 'x', sizeof fields - 1);
    static const struct {
        const char *head;
        bool with_fields;
        const char *status;
        const char *why;
    } cases[] = {
        { "GET / HTTP/1.1\r\n\r\n", false, "400 Bad Request", "Host is missing" },
        { "GET / HTTP/2.0\r\nHost: h\r\n\r\n", false, "505 ", "HTTP version" },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
          false, "400 ", "Content-Length beside Transfer-Encoding" },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3145729\r\n\r\n", false, "413 ",
          "api_body_bytes_max" },
        { "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n",
          false, "413 ", "api_body_bytes_max" },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, "400 ",
          "chunk size" },
        { "GET / HTTP/1.1\r\nHost: h\r\nX: ", true, "431 ", "http_line_bytes_max" },
        { "GET /", true, "414 ", "http_line_bytes_max" },
        { "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nX: y\r\nauthorization: a\r\n\r\n", false, "400 ",
          "more than one Authorization" },
        { "GET / HTTP/1.1\r\nHost: h\r\nOrigin: http://h\r\nORIGIN: http://x\r\n\r\n", false, "400 ",
          "more than one Origin" },
    };
    RIG();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CLIENT(fd);
        CHECK(say(fd, cases[i].head));
        if (cases[i].with_fields)
            CHECK(say(fd, fields));
        hear(&g, fd, "EOF");
        if (!strstr(heard, cases[i].status) || !strstr(heard, cases[i].why) ||
            !strstr(heard, "application/problem+json") || !strstr(heard, "Connection: close"))
            FAIL("%s: %s", cases[i].head, heard);
    }
    CHECK_EQ(g.request_count, 0);
    CHECK_EQ(g.head_count, 1); /* the chunk size is no part of a head */
}

TEST(a_chunked_body_is_refused_where_it_passes_the_limit)
{
    RIG();
    g.limits.api_body_bytes_max = 1024;
    CLIENT(fd);
    CHECK(say(fd, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for (int i = 0; i < 70; i++)
        CHECK(say(fd, "10\r\n0123456789abcdef\r\n"));
    hear(&g, fd, "EOF");
    HEARD("413 Content Too Large");
    CHECK_EQ(g.request_count, 0);
}

TEST(bodies_are_bounded_together_and_room_comes_back)
{
    RIG();
    g.limits.api_bodies_bytes_max = 1000;
    static char body[1101];
    memset(body, 'x', 900);
    CLIENT(announced);
    CLIENT(first);
    CLIENT(second);
    CLIENT(chunked);
    /* What is announced takes no room: only what has come does. */
    CHECK(say(announced, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"));
    turns(&g, 8);
    CHECK_EQ(g.head_count, 1);
    CHECK_EQ(g.budget.bodies, 0);
    CHECK(say(first, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 901\r\n\r\n"));
    CHECK(say(first, body));
    turns(&g, 8);
    CHECK_EQ(g.budget.bodies, 900);
    body[101] = '\0';
    CHECK(say(second, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 102\r\n\r\n"));
    CHECK(say(second, body));
    hear(&g, second, "EOF");
    HEARD("503 Service Unavailable");
    HEARD("Retry-After: 1\r\n");
    HEARD("api_bodies_bytes_max");
    CHECK_EQ(g.limit_count, 1);
    CHECK_EQ(g.budget.bodies, 900);
    CHECK(say(chunked, "POST /hold HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for (int i = 0; i < 6; i++)
        CHECK(say(chunked, "10\r\n0123456789abcdef\r\n"));
    turns(&g, 8);
    CHECK_EQ(g.budget.bodies, 996);
    CHECK(say(chunked, "10\r\n0123456789abcdef\r\n"));
    hear(&g, chunked, "EOF");
    HEARD("503 Service Unavailable");
    CHECK_EQ(g.limit_count, 2);
    CHECK_EQ(g.budget.bodies, 900);
    /* Held while the handler has it, given back with the answer. */
    CHECK(say(first, "x"));
    CHECK(wait_held(&g, 1));
    CHECK_EQ(g.budget.bodies, 901);
    http_answer(g.held[0], 200, NULL, NULL, STR("ok"));
    CHECK(strstr(hear(&g, first, "ok"), "200 OK"));
    turns(&g, 8);
    CHECK_EQ(g.budget.bodies, 0);
    CLIENT(third); /* alone, and more than all may have */
    memset(body, 'x', 1100);
    CHECK(say(third, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1100\r\n\r\n"));
    CHECK(say(third, body));
    hear(&g, third, "EOF");
    HEARD("503 ");
    CLIENT(gone); /* leaves in the middle */
    CHECK(say(gone, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\nab"));
    turns(&g, 8);
    CHECK_EQ(g.budget.bodies, 2);
    close(gone);
    turns(&g, 8);
    CHECK_EQ(g.budget.bodies, 0);
    CLIENT(fourth);
    CHECK(say(fourth, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"));
    CHECK(strstr(hear(&g, fourth, "[abc]"), "200 OK"));
}

/* Reads on until nothing is kept for anybody. */
static bool taken(struct rig *g, int fd)
{
    char sink[65536];
    for (int tries = 0; tries < 5000 && g->budget.answers > 0; tries++) {
        while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
            turns(g, 1);
        turns(g, 3);
    }
    return g->budget.answers == 0;
}

TEST(answers_that_nobody_takes_are_bounded_together_and_room_comes_back)
{
    enum { BIG = 24 << 20 }; /* more than sockets hold */
    RIG();
    g.limits.api_answers_bytes_max = 32 << 20;
    AUTO_FREE char *text = xcalloc(1, BIG);
    memset(text, 'x', BIG);
    CLIENT(slow);
    CLIENT(other);
    CHECK(say(slow, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(wait_held(&g, 1));
    http_answer(g.held[0], 200, NULL, NULL, (struct str){ text, BIG });
    turns(&g, 8);
    CHECK(g.budget.answers > 4 << 20 && g.budget.answers < BIG);
    CHECK(say(other, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(wait_held(&g, 2));
    CHECK(!http_call_hold(g.held[1], BIG));
    CHECK_EQ(g.limit_count, 1);
    http_answer(g.held[1], 200, NULL, NULL, (struct str){ text, BIG });
    CHECK_EQ(g.limit_count, 2);
    hear(&g, other, "together\"}\n");
    HEARD("503 Service Unavailable");
    HEARD("Retry-After: 1\r\n");
    HEARD("api_answers_bytes_max");
    /* A small answer always goes out, on the same connection. */
    CHECK(say(other, "GET /small HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(strstr(hear(&g, other, "]\n"), "200 OK"));
    CHECK(taken(&g, slow));
    CHECK(say(other, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(wait_held(&g, 3));
    CHECK(http_call_hold(g.held[2], BIG));
    CHECK_EQ(g.budget.answers, BIG);
    CHECK(http_call_hold(g.held[2], 0));
    CHECK_EQ(g.budget.answers, 0);
    http_answer(g.held[2], 200, NULL, NULL, (struct str){ text, BIG });
    CHECK_EQ(g.limit_count, 2);
    CHECK(taken(&g, other));
}

TEST(a_head_that_is_refused_is_answered_before_its_body_and_takes_no_room)
{
    RIG();
    CLIENT(fd); /* no byte of the body ever comes, and nobody asks for it */
    CHECK(say(fd, "POST /closed HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3000000\r\n\r\n"));
    hear(&g, fd, "EOF");
    HEARD("HTTP/1.1 401 ");
    HEARD("WWW-Authenticate: Bearer\r\n");
    HEARD("Connection: close\r\n");
    HEARD("closed\nEOF");
    CHECK(!strstr(heard, "100 Continue"));
    CHECK_EQ(g.budget.bodies, 0);
    /* A body on its heels is no request. */
    CLIENT(smuggler);
    CHECK(say(smuggler, "POST /closed HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\n"
                        "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"));
    hear(&g, smuggler, "EOF");
    HEARD("closed\nEOF");
    CHECK_EQ(g.head_count, 2);
    /* Without a body the connection stays good, and the next head is asked about again. */
    CLIENT(again);
    CHECK(say(again, "GET /closed HTTP/1.1\r\nHost: h\r\n\r\n"));
    hear(&g, again, "closed\n");
    HEARD("401 ");
    CHECK_EQ(g.request_count, 0);
    CHECK(say(again, "POST /open HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy"));
    hear(&g, again, "[xy]\n");
    HEARD("200 OK");
    CHECK(!strstr(heard, "Connection:"));
    CHECK_EQ(g.head_count, 4);
    CHECK_EQ(g.request_count, 1);
}

TEST(an_answer_that_is_too_large_becomes_a_500_and_not_a_cut_one)
{
    RIG();
    g.limits.api_answer_bytes_max = 65536;
    static char large[65537];
    CLIENT(fd);
    CHECK(say(fd, "GET /hold HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    CHECK(wait_held(&g, 1));
    http_answer(g.held[0], 200, NULL, NULL, (struct str){ large, sizeof large });
    hear(&g, fd, "EOF");
    CHECK(strncmp(heard, "HTTP/1.1 500 ", 13) == 0);
    HEARD("api_answer_bytes_max\nEOF");
}

TEST(a_slow_head_is_answered_with_408_and_an_idle_connection_closed_silently)
{
    RIG();
    CLIENT(slow);
    CLIENT(silent);
    CHECK(say(slow, "GET / HTTP/1.1\r\n"));
    pass_ms(&g, g.limits.http_head_ms - 1);
    CHECK(say(slow, "Host: h\r\n")); /* a byte now and then does not buy time */
    CHECK_STR(hear(&g, slow, ""), "");
    pass_ms(&g, 1);
    hear(&g, slow, "EOF");
    HEARD("HTTP/1.1 408 Request Timeout\r\n");
    CHECK_STR(hear(&g, silent, "EOF"), "EOF");
}

TEST(neither_waiting_before_the_head_nor_an_earlier_request_buys_time)
{
    RIG();
    CLIENT(late);
    pass_ms(&g, g.limits.http_head_ms - 1);
    CHECK(say(late, "GET / HTTP/1.1\r\n"));
    pass_ms(&g, 1);
    hear(&g, late, "EOF");
    HEARD("HTTP/1.1 408 ");

    CLIENT(kept);
    CHECK(say(kept, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"));
    hear(&g, kept, "]\n");
    pass_ms(&g, g.limits.http_head_ms + 1);
    CHECK(say(kept, "GET /b HTTP/1.1\r\n"));
    pass_ms(&g, g.limits.http_head_ms - 1);
    CHECK(say(kept, "Host: h\r\n"));
    pass_ms(&g, 1);
    hear(&g, kept, "EOF");
    HEARD("HTTP/1.1 408 ");
    CHECK_EQ(g.request_count, 1);
}

/* On a local socket an answer of this size is taken whole or not at all: the one that is stuck made
 * no progress that would have set its timer. */
TEST(a_client_that_asks_and_never_reads_is_closed)
{
    RIG_ON(AF_UNIX);
    CLIENT(fd);
    static const char request[] = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    int asked = 0;
    while (asked < 100000 && send(fd, request, sizeof request - 1, MSG_DONTWAIT) > 0) {
        turns(&g, 4);
        asked++;
    }
    turns(&g, 4000);
    CHECK(g.request_count > 10 && g.request_count < asked); /* no faster than they are read */
    pass_ms(&g, g.limits.http_idle_ms + 1);
    hear(&g, fd, "EOF");
    HEARD("]\nEOF");
}

TEST(a_kept_connection_has_http_idle_ms_for_the_next_request)
{
    RIG();
    CLIENT(fd);
    CHECK(say(fd, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"));
    hear(&g, fd, "]\n");
    pass_ms(&g, g.limits.http_idle_ms - 1);
    CHECK(say(fd, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"));
    hear(&g, fd, "]\n");
    HEARD("GET /b []\n");
    pass_ms(&g, g.limits.http_idle_ms);
    CHECK_STR(hear(&g, fd, "EOF"), "EOF");
}

TEST(a_body_that_drips_is_answered_with_408)
{
    RIG();
    CLIENT(fd);
    CHECK(say(fd, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"));
    int seconds = 0;
    for (; seconds < 30 && poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) == 0;
         seconds++) {
        CHECK(say(fd, "0123456789"));
        pass_ms(&g, 1000);
    }
    CHECK(seconds > 5 && seconds < 10);
    hear(&g, fd, "EOF");
    HEARD("HTTP/1.1 408 ");
    CHECK_EQ(g.request_count, 0);
}

TEST(a_body_at_the_allowed_rate_is_not_cut)
{
    RIG();
    static char piece[1025];
    memset(piece, 'x', 1024);
    CLIENT(fd);
    CHECK(say(fd, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 30720\r\n\r\n"));
    for (int second = 0; second < 30; second++) {
        CHECK(say(fd, piece));
        pass_ms(&g, 1000);
    }
    CHECK(wait_held(&g, 1));
    CHECK_EQ(http_call_body(g.held[0]).size, 30720);
    http_answer(g.held[0], 200, NULL, NULL, STR("ok"));
    hear(&g, fd, "ok");
    HEARD("200 OK");
}

TEST(connections_over_the_limit_are_turned_away_with_503)
{
    RIG();
    g.limits.connections_max = 1;
    CLIENT(first);
    CHECK(say(first, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"));
    hear(&g, first, "]\n");
    CLIENT(second);
    CHECK(say(second, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"));
    hear(&g, second, "EOF");
    HEARD("503 Service Unavailable");
    CHECK_EQ(g.limit_count, 1);
    CHECK(say(first, "GET /c HTTP/1.1\r\nHost: h\r\n\r\n"));
    hear(&g, first, "]\n");
    HEARD("GET /c []\n");
}

/* ---- streams ------------------------------------------------------------------------------ */

TEST(a_stream_is_chunked_and_the_connection_goes_on_after_it)
{
    RIG();
    CLIENT(fd);
    CHECK(say(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(wait_held(&g, 1));
    hear(&g, fd, "\r\n\r\n");
    HEARD("Transfer-Encoding: chunked\r\n");
    http_stream_write(g.held[0], STR("hello"));
    CHECK_STR(hear(&g, fd, "\r\n"), "5\r\nhello\r\n");
    http_stream_end(g.held[0]);
    CHECK_STR(hear(&g, fd, "\r\n\r\n"), "0\r\n\r\n");
    CHECK(say(fd, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"));
    hear(&g, fd, "]\n");
    HEARD("GET /b []\n");
    CHECK_EQ(g.gone_count, 0);
}

TEST(a_stream_to_http_1_0_ends_with_the_connection)
{
    RIG();
    CLIENT(fd);
    CHECK(say(fd, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    CHECK(wait_held(&g, 1));
    http_stream_write(g.held[0], STR("hello"));
    http_stream_end(g.held[0]);
    hear(&g, fd, "EOF");
    HEARD("\r\n\r\nhelloEOF");
    CHECK(!strstr(heard, "chunked"));
    HEARD("Connection: close");
}

TEST(a_stream_lasts_longer_than_every_timer_while_it_is_silent)
{
    RIG();
    CLIENT(fd);
    CHECK(say(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(wait_held(&g, 1));
    hear(&g, fd, "\r\n\r\n");
    for (int i = 0; i < 10; i++)
        pass_ms(&g, g.limits.http_idle_ms);
    http_stream_write(g.held[0], STR("x"));
    CHECK_STR(hear(&g, fd, "\r\n"), "1\r\nx\r\n");
    CHECK_EQ(g.gone_count, 0);
}

TEST(a_stream_hears_once_that_its_client_left)
{
    RIG();
    AUTO_CLOSE int fd = client(&g);
    CHECK(say(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(wait_held(&g, 1));
    hear(&g, fd, "\r\n\r\n"); /* all read: closing sends FIN, not a reset */
    fd_auto(&fd);
    fd = -1;
    for (int tries = 0; tries < 5000 && g.gone_count == 0; tries++)
        turns(&g, 2);
    turns(&g, 20);
    CHECK_EQ(g.gone_count, 1);
}

TEST(a_stream_whose_client_does_not_read_is_ended_not_buffered)
{
    RIG();
    static char piece[8192];
    CLIENT(fd);
    CHECK(say(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(wait_held(&g, 1));
    int writes = 0;
    for (; g.gone_count == 0 && writes < 4000; writes++) { /* 32 MB: more than a socket holds */
        http_stream_write(g.held[0], (struct str){ piece, sizeof piece });
        CHECK_EQ(g.gone_count, 0); /* never from inside */
        turns(&g, 1);
    }
    CHECK_EQ(g.gone_count, 1);
}

TEST(a_stream_that_is_stuck_below_the_limit_ends_after_the_idle_time)
{
    RIG();
    static char piece[8192];
    g.limits.http_stream_buffer_bytes = 16777216;
    CLIENT(fd);
    CHECK(say(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(wait_held(&g, 1));
    for (int writes = 0; writes < 1500; writes++) {
        http_stream_write(g.held[0], (struct str){ piece, sizeof piece });
        turns(&g, 1);
    }
    CHECK_EQ(g.gone_count, 0);
    pass_ms(&g, g.limits.http_idle_ms + 1);
    CHECK_EQ(g.gone_count, 1);
}

/* A local socket takes such small pieces whole or not at all, and nothing frees its buffer but the
 * reader: so there is no last bit of progress that would have set the timer. */
TEST(a_stream_that_is_stuck_from_its_first_byte_ends_too)
{
    RIG_ON(AF_UNIX);
    g.limits.http_stream_buffer_bytes = 16777216;
    CLIENT(fd);
    CHECK(say(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(wait_held(&g, 1));
    for (int writes = 0; writes < 5000; writes++) {
        http_stream_write(g.held[0], STR("x"));
        turns(&g, 1);
    }
    CHECK_EQ(g.gone_count, 0);
    pass_ms(&g, g.limits.http_idle_ms + 1);
    CHECK_EQ(g.gone_count, 1);
}

TEST(a_handler_may_answer_a_client_that_has_left)
{
    RIG();
    for (int streamed = 0; streamed < 2; streamed++) {
        AUTO_CLOSE int fd = client(&g);
        struct linger reset = { .l_onoff = 1 };
        CHECK(say(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
        CHECK(wait_held(&g, streamed + 1));
        CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
        fd_auto(&fd);
        fd = -1;
        turns(&g, 20);
        if (streamed) {
            http_stream_begin(g.held[1], 200, NULL, on_gone, &g);
            CHECK_EQ(g.gone_count, 0);
            http_stream_write(g.held[1], STR("x"));
            turns(&g, 4);
            CHECK_EQ(g.gone_count, 1);
        } else {
            http_answer(g.held[0], 200, NULL, NULL, STR("nobody reads this"));
        }
    }
}

/* ---- looking at the request --------------------------------------------------------------- */

TEST(parameters_and_segments_are_decoded_and_bad_ones_absent)
{
    RIG();
    CLIENT(fd);
    CHECK(say(fd, "GET /hold/a%20b/x%2Fy/c%00d/%zz/?n=1&e=&q=a%26b+c&bad=%4&n=2&=v&bare&%6b=k "
                  "HTTP/1.1\r\nHost: h\r\nX-One: 1\r\n\r\n"));
    hear(&g, fd, "EOF"); /* %00 and %zz in a path are refused by the parser itself */
    HEARD("400 Bad Request");

    CLIENT(again);
    CHECK(say(again, "GET /hold/a%20b/x%2Fy/?n=1&e=&q=a%26b+c&bad=%4&n=2&=v&bare&%6b=k&z=%00 "
                     "HTTP/1.1\r\nHost: h\r\nX-One: 1\r\n\r\n"));
    CHECK(wait_held(&g, 1));
    struct http_call *c = g.held[0];
    CHECK(str_is(http_call_param(c, "n"), "1"));
    CHECK(http_call_param(c, "e").at && http_call_param(c, "e").size == 0);
    CHECK(str_is(http_call_param(c, "q"), "a&b c"));
    CHECK(!http_call_param(c, "bad").at && !http_call_param(c, "z").at);
    CHECK(!http_call_param(c, "absent").at && !http_call_param(c, "").at);
    CHECK(http_call_param(c, "bare").at && str_is(http_call_param(c, "k"), "k"));
    CHECK(str_is(http_call_header(c, "x-one"), "1") && !http_call_header(c, "x-two").at);

    char text[8];
    CHECK_EQ(http_call_segments(c), 4);
    CHECK(http_call_segment(c, 0, text, sizeof text));
    CHECK_STR(text, "hold");
    CHECK(http_call_segment(c, 1, text, sizeof text));
    CHECK_STR(text, "a b");
    CHECK(!http_call_segment(c, 2, text, sizeof text)); /* an encoded slash */
    CHECK(http_call_segment(c, 3, text, sizeof text));
    CHECK_STR(text, "");
    CHECK(!http_call_segment(c, 4, text, sizeof text)); /* no such segment */
    CHECK(!http_call_segment(c, 0, text, 4));           /* too long by its NUL */
    http_answer(c, 200, NULL, NULL, STR("ok"));
    hear(&g, again, "ok");

    CHECK(say(again, "GET /hold?n=3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    CHECK(wait_held(&g, 2));
    CHECK(str_is(http_call_param(g.held[1], "n"), "3") && !http_call_param(g.held[1], "q").at);
    http_answer(g.held[1], 200, NULL, NULL, STR("ok"));
    hear(&g, again, "EOF");
}

/* ---- ends --------------------------------------------------------------------------------- */

TEST(a_stopped_server_finishes_what_is_open_and_takes_nothing_new)
{
    RIG();
    CLIENT(idle);
    CLIENT(busy);
    CHECK(say(busy, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(wait_held(&g, 1));
    http_server_stop(g.server);
    CHECK_STR(hear(&g, idle, "EOF"), "EOF");
    http_answer(g.held[0], 200, NULL, NULL, STR("done"));
    hear(&g, busy, "EOF");
    HEARD("Connection: close");
    HEARD("doneEOF");
    CLIENT(late);
    CHECK(say(late, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    turns(&g, 20);
    CHECK_EQ(g.request_count, 1);
}

TEST(a_freed_server_tells_its_streams_and_frees_everything)
{
    RIG();
    CLIENT(a);
    CLIENT(b);
    CLIENT(c);
    CHECK(say(a, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(say(b, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK(say(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf"));
    CHECK(wait_held(&g, 2));
    turns(&g, 10);
    http_server_free(g.server);
    g.server = NULL;
    CHECK_EQ(g.gone_count, 1);
}

#ifdef HOB_FAULTS
/* Each operation of an exchange fails in turn: the exchange may be lost, the server may not, and the
 * next client is served. */
TEST(whatever_fails_the_server_serves_the_next_and_leaks_nothing)
{
    int fds_before = fds_open(), nth = 0;
    for (bool fired = true; fired;) {
        CHECK(++nth < 60);
        {
            RIG();
            fault_arm(nth);
            {
                CLIENT(fd);
                (void)say(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok");
                (void)say(fd, "GET /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
                for (int i = 0; i < 20; i++) {
                    turns(&g, 2);
                    if (i == 10 && g.held_count == 1 && g.gone_count == 0)
                        http_stream_write(g.held[0], STR("x"));
                }
                if (g.held_count == 1 && g.gone_count == 0)
                    http_stream_end(g.held[0]);
            }
            pass_ms(&g, 200); /* accepting goes on after its pause */
            fired = fault_fired();
            fault_arm(0);
            CLIENT(next);
            CHECK(say(next, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n"));
            hear(&g, next, "]\n");
            HEARD("GET /next []\n");
        }
        CHECK_EQ(fds_open(), fds_before);
    }
    CHECK(nth > 5);
}

TEST(a_server_that_cannot_open_leaves_nothing)
{
    static const struct http_server_ops ops = { on_request };
    int nth = 0;
    for (bool fired = true; fired;) {
        CHECK(++nth < 10);
        RIG();
        struct http_server *s = NULL;
        struct err e = { 0 };
        AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(listen(fd, 1) == 0);
        fault_arm(nth);
        int r = http_server_open(g.loop, &g.limits, fd, &ops, &g, &s, &e);
        fired = fault_fired();
        fault_arm(0);
        CHECK((r == 0) == !fired && (s == NULL) == fired);
        CHECK(!fired || strstr(e.text, "http server"));
        http_server_free(s);
    }
    CHECK(nth > 2);
}
#endif

TEST_MAIN()
