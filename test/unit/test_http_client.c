#include "fds.h"
#include "net/http_client.h"
#include "os/fault.h"
#include "tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a server in a process of its own, that says what it is told ----------------------------- */

struct canned {
    pid_t pid;
    int report; /* what it received, and then its end */
    char address[128];
    char dir[32]; /* of a unix socket; empty: TCP */
};

struct script {
    struct str answer;
    size_t request_bytes; /* read at least this much first */
    int connections;      /* before it ends; 0: one */
    bool silent;          /* keeps the connection open after the answer, and says no more */
};

static void serve_one(int fd, const struct script *s, int report)
{
    char text[65536];
    size_t used = 0;
    while (used < s->request_bytes && used < sizeof text) {
        ssize_t n = recv(fd, text + used, sizeof text - used, 0);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    (void)!write(report, text, used);
    for (size_t sent = 0; sent < s->answer.size;) {
        ssize_t n = send(fd, s->answer.at + sent, s->answer.size - sent, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    if (!s->silent)
        (void)shutdown(fd, SHUT_WR);
    while (recv(fd, text, sizeof text, 0) > 0) /* until the client is done with it */
        ;
}

static _Noreturn void serve(int listen_fd, const struct script *s, int report)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < MAX(s->connections, 1); i++) {
        int fd = accept(listen_fd, NULL, NULL);
        if (fd < 0)
            _exit(1);
        serve_one(fd, s, report);
        (void)close(fd);
    }
    _exit(0);
}

static int listen_tcp(struct canned *c)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)(void *)&at, size) < 0 || listen(fd, 8) < 0 ||
        getsockname(fd, (struct sockaddr *)(void *)&at, &size) < 0)
        return -1;
    (void)snprintf(c->address, sizeof c->address, "127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}

static int listen_unix(struct canned *c)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    strcpy(c->dir, "/tmp/hob-test-XXXXXX");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!mkdtemp(c->dir))
        return -1;
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s/s", c->dir);
    (void)snprintf(c->address, sizeof c->address, "unix:%s", at.sun_path);
    if (bind(fd, (struct sockaddr *)(void *)&at, sizeof at) < 0 || listen(fd, 8) < 0)
        return -1;
    return fd;
}

static bool canned_start(struct canned *c, const struct script *s, bool local)
{
    int report[2];
    memset(c, 0, sizeof *c);
    int fd = local ? listen_unix(c) : listen_tcp(c);
    if (fd < 0 || pipe(report) < 0)
        return false;
    c->pid = fork();
    if (c->pid == 0)
        serve(fd, s, report[1]);
    (void)close(fd);
    (void)close(report[1]);
    c->report = report[0];
    return c->pid > 0;
}

static void canned_auto(struct canned *c)
{
    if (c->pid > 0) {
        (void)kill(c->pid, SIGKILL);
        (void)waitpid(c->pid, NULL, 0);
        (void)close(c->report);
    }
    if (c->dir[0]) {
        (void)unlink(c->address + 5);
        (void)rmdir(c->dir);
    }
}

#define CANNED(name, local, ...) \
    __attribute__((cleanup(canned_auto))) struct canned name = { 0 }; \
    CHECK(canned_start(&name, &(struct script){ __VA_ARGS__ }, local))

static struct http_client_call call_of(const struct canned *c)
{
    return (struct http_client_call){ .address = c->address,
                                      .method = "GET",
                                      .target = "/x?y",
                                      .timeout_ms = 5000,
                                      .body_bytes_max = 100 };
}

/* ---- what is sent, what is understood --------------------------------------------------------- */

TEST(a_request_goes_out_as_told_and_the_answer_comes_back)
{
    for (int local = 0; local < 2; local++) {
        static const char expected[] =
            "POST /x?y HTTP/1.1\r\nHost: fn.default\r\nConnection: close\r\nX-A: b\r\n"
            "Content-Length: 4\r\n\r\nbody";
        CANNED(c, local,
               STR("HTTP/1.1 201 Created\r\nX-Found: yes\r\nContent-Length: 5\r\n\r\nhello"),
               .request_bytes = sizeof expected - 1);
        struct http_client_call call = call_of(&c);
        struct http_client_answer a;
        struct err e = { 0 };
        char got[512] = { 0 };
        call.method = "POST";
        call.host = "fn.default";
        call.headers = "X-A: b\r\n";
        call.body = STR("body");
        int r = http_client_do(&call, &a, &e);
        if (r != 0)
            FAIL("%s", e.text);
        CHECK(a.status == 201 && str_is(buf_str(&a.body), "hello"));
        CHECK(str_is(http_client_header(&a, "x-found"), "yes"));
        CHECK(!http_client_header(&a, "absent").at);
        http_client_answer_done(&a);
        CHECK(read(c.report, got, sizeof got - 1) > 0);
        CHECK_STR(got, expected);
    }
}

static const struct {
    struct str answer;
    const char *method;
    int status; /* 0: refused */
    const char *body;
    const char *why;
} answers[] = {
    { STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
      "GET", 200, "hello", "chunked" },
    { STR("HTTP/1.1 200 OK\r\n\r\nhello"), "GET", 200, "hello", "until the end of the connection" },
    { STR("HTTP/1.0 404 No\r\n\r\nhello"), "GET", 404, "hello",
      "HTTP/1.0; any status is an answer" },
    { STR("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"), "POST",
      200, "a", "an interim answer is passed over" },
    { STR("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), "HEAD", 200, "", "HEAD has no body" },
    { STR("HTTP/1.1 204 No Content\r\n\r\n"), "DELETE", 204, "", "no content" },
    { STR("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"), "GET", 0, "cut short", "cut body" },
    { STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n"), "GET", 0,
      "cut short", "cut chunks" },
    { STR("HTTP/1.1 200 OK\r\nContent-"), "GET", 0, "inside the head", "cut head" },
    { STR(""), "GET", 0, "inside the head", "nothing at all" },
    { STR("SSH-2.0-OpenSSH\r\n"), "GET", 0, "not HTTP", "another protocol" },
    { STR("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), "GET", 0, "not HTTP", "bare LF" },
    { STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "GET", 0, "chunk size",
      "bad chunk" },
    { STR("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\n"
          "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\n"
          "HTTP/1.1 100 C\r\n\r\n"),
      "POST", 0, "interim", "interim answers without end" },
};

TEST(answers_are_understood_or_refused_with_the_address)
{
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        CANNED(c, false, answers[i].answer, .request_bytes = 1);
        struct http_client_call call = call_of(&c);
        struct http_client_answer a;
        struct err e = { 0 };
        call.method = answers[i].method;
        int r = http_client_do(&call, &a, &e);
        if (answers[i].status == 0) {
            if (r != -CODE_INTERNAL || !strstr(e.text, answers[i].body) ||
                !strstr(e.text, c.address))
                FAIL("%s: r=%d %s", answers[i].why, r, e.text);
            continue;
        }
        if (r != 0)
            FAIL("%s: %s", answers[i].why, e.text);
        bool same = a.status == answers[i].status && str_is(buf_str(&a.body), answers[i].body);
        http_client_answer_done(&a);
        if (!same)
            FAIL("%s: wrong answer", answers[i].why);
    }
}

TEST(a_body_over_its_maximum_is_refused)
{
    CANNED(c, false, STR("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), .request_bytes = 1);
    struct http_client_call call = call_of(&c);
    struct http_client_answer a;
    struct err e = { 0 };
    call.body_bytes_max = 4;
    CHECK_EQ(http_client_do(&call, &a, &e), -CODE_EXHAUSTED);
}

struct collected {
    size_t bytes;
    int pieces, stop_after;
};

static int collect(void *ctx, struct str piece)
{
    struct collected *c = ctx;
    c->bytes += piece.size;
    return ++c->pieces == c->stop_after ? -CODE_CANCELLED : 0;
}

TEST(a_streamed_body_is_given_piece_by_piece_until_its_reader_stops)
{
    static char large[200000];
    const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 199000\r\n\r\n";
    memset(large, 'x', sizeof large);
    memcpy(large, head, sizeof head - 1);
    for (int stop = 0; stop < 2; stop++) {
        CANNED(c, false, { large, sizeof head - 1 + 199000 }, .request_bytes = 1);
        struct collected got = { .stop_after = stop };
        struct http_client_call call = call_of(&c);
        struct http_client_answer a;
        struct err e = { 0 };
        call.on_body = collect;
        call.ctx = &got;
        int r = http_client_do(&call, &a, &e);
        CHECK_EQ(r, stop ? -CODE_CANCELLED : 0);
        if (r == 0)
            http_client_answer_done(&a);
        CHECK(stop ? got.pieces == 1 : got.bytes == 199000);
    }
}

struct seen {
    const struct http_client_answer *answer;
    int status;
    bool has_head;
};

static int look(void *ctx, struct str piece)
{
    struct seen *s = ctx;
    (void)piece;
    s->status = s->answer->status;
    s->has_head = str_is(http_client_header(s->answer, "x-found"), "yes");
    return 0;
}

TEST(a_streamed_answer_shows_its_head_first_and_a_refusal_is_collected)
{
    static const struct {
        struct str answer;
        const char *collected; /* NULL: streamed */
    } cases[] = {
        { STR("HTTP/1.1 399 X\r\nX-Found: yes\r\nContent-Length: 2\r\n\r\nok"), NULL },
        { STR("HTTP/1.1 400 X\r\nX-Found: yes\r\nContent-Length: 2\r\n\r\nno"), "no" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CANNED(c, false, cases[i].answer, .request_bytes = 1);
        struct http_client_call call = call_of(&c);
        struct http_client_answer a;
        struct seen seen = { .answer = &a };
        struct err e = { 0 };
        call.on_body = look;
        call.ctx = &seen;
        call.collect_refusals = true;
        CHECK_EQ(http_client_do(&call, &a, &e), 0);
        bool collected = cases[i].collected && str_is(buf_str(&a.body), cases[i].collected);
        http_client_answer_done(&a);
        CHECK(collected ? seen.status == 0 : seen.status == 399 && seen.has_head);
        CHECK(collected == (cases[i].collected != NULL));
    }
}

/* ---- nobody there, nothing said ----------------------------------------------------------------- */

TEST(nobody_listening_is_said_with_what_to_do)
{
    struct canned c = { 0 };
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (struct sockaddr *)(void *)&at, size) == 0); /* ours, and not listening */
    CHECK(getsockname(fd, (struct sockaddr *)(void *)&at, &size) == 0);
    (void)snprintf(c.address, sizeof c.address, "127.0.0.1:%d", ntohs(at.sin_port));
    const char *const addresses[] = { c.address, "unix:/tmp/hob-test-none/s" };
    for (size_t i = 0; i < COUNT_OF(addresses); i++) {
        struct http_client_call call = call_of(&c);
        struct http_client_answer a;
        struct err e = { 0 };
        call.address = addresses[i];
        CHECK_EQ(http_client_do(&call, &a, &e), -CODE_UNAVAILABLE);
        CHECK(strstr(e.text, "hob serve") && strstr(e.text, addresses[i]));
    }
}

TEST(a_malformed_address_is_refused)
{
    static const char *const addresses[] = { "", "localhost", ":80", "h:", "h:123456" };
    for (size_t i = 0; i < COUNT_OF(addresses); i++) {
        struct http_client_call call = { addresses[i], "GET", "/", .body_bytes_max = 1 };
        struct http_client_answer a;
        struct err e = { 0 };
        int r = http_client_do(&call, &a, &e);
        if (r != -CODE_INVALID)
            FAIL("'%s': %d %s", addresses[i], r, e.text);
    }
}

TEST(silence_ends_at_the_timeout)
{
    CANNED(c, false, STR("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"), .request_bytes = 1,
           .silent = true);
    struct http_client_call call = call_of(&c);
    struct http_client_answer a;
    struct err e = { 0 };
    call.timeout_ms = 50;
    CHECK_EQ(http_client_do(&call, &a, &e), -CODE_DEADLINE);
}

#ifdef HOB_FAULTS
TEST(whatever_fails_nothing_is_left_open)
{
    int nth = 0;
    CANNED(c, false, STR("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), .request_bytes = 1,
           .connections = 50);
    int fds_before = fds_open();
    for (bool fired = true; fired;) {
        CHECK(++nth < 50);
        struct http_client_call call = call_of(&c);
        struct http_client_answer a;
        struct err e = { 0 };
        fault_arm(nth);
        int r = http_client_do(&call, &a, &e);
        fired = fault_fired();
        fault_arm(0);
        if (r == 0)
            http_client_answer_done(&a);
        CHECK((r == 0) == !fired);
        CHECK(r == 0 || strstr(e.text, c.address));
        CHECK_EQ(fds_open(), fds_before);
    }
    CHECK(nth > 3);
}
#endif

TEST_MAIN()
