/* The one call against a server made of the session's other side, over a socket pair. */
#include "net/grpc_call.h"
#include "net/http1_body.h"
#include "net/http2.h"
#include "tap.h"

#include <sys/socket.h>
#include <unistd.h>

struct world {
    struct limits limits;
    struct loop *loop;
    struct http2 *server;
    int fd; /* the server's end */
    struct grpc_call *call;
    int done, status;
    struct err why;
    struct buf message, request;
    struct http2_stream *s;
};

static void on_done(void *ctx, int status, struct str message, const struct err *e)
{
    struct world *w = ctx;
    w->done++;
    w->status = status;
    buf_str_append(&w->message, message);
    if (e)
        w->why = *e;
}

static bool world_open(struct world *w, size_t answer_bytes_max, uint64_t patience_us)
{
    int ends[2];
    struct err e;
    *w = (struct world){ .status = -2 };
    limits_default(&w->limits);
    buf_init(&w->message, 4096);
    buf_init(&w->request, 4096);
    if (loop_open(&w->loop, &e) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    w->fd = ends[1];
    w->server = http2_new(HTTP2_SERVER, &w->limits);
    const struct grpc_call_request q = { .loop = w->loop,
                                         .limits = &w->limits,
                                         .authority = "127.0.0.1:8080",
                                         .path = "/grpc.health.v1.Health/Check",
                                         .message = STR("\x0a\x01x"),
                                         .answer_bytes_max = answer_bytes_max,
                                         .give_up_us = loop_clock_us(w->loop) + patience_us,
                                         .on_done = on_done,
                                         .ctx = w };
    return grpc_call_start(&q, ends[0], &w->call, &e) == 0;
}

static void world_end(struct world *w)
{
    if (!w->done)
        grpc_call_cancel(w->call);
    if (w->s)
        http2_stream_drop(w->s, HTTP2_DROP_CUT);
    http2_free(w->server);
    loop_free(w->loop);
    buf_done(&w->message);
    buf_done(&w->request);
    if (w->fd >= 0)
        close(w->fd);
}

static void exchange(struct world *w)
{
    char bytes[65536];
    struct err e;
    struct buf out;
    ASSERT(loop_turn(w->loop, false, &e) >= 0);
    ssize_t n = w->fd >= 0 ? recv(w->fd, bytes, sizeof bytes, MSG_DONTWAIT) : -1;
    if (n > 0)
        ASSERT(http2_feed(w->server, bytes, (size_t)n, 1000, &e) == 0);
    for (struct http2_stream *s; (s = http2_changed(w->server)) != NULL; w->s = s) {
        struct str data = http2_stream_content(s);
        buf_str_append(&w->request, data);
        http2_stream_take(s, data.size);
    }
    buf_init(&out, MIB(1));
    http2_write(w->server, &out, 65536, 1000);
    if (out.size > 0 && w->fd >= 0)
        ASSERT(send(w->fd, buf_at(&out), out.size, MSG_NOSIGNAL) == (ssize_t)out.size || w->done);
    buf_done(&out);
}

static void answer(struct world *w, const char *head, struct str body, struct str trailers)
{
    struct http1_head h;
    http1_head_init(&h, HTTP1_RESPONSE, &w->limits);
    ASSERT(http1_head_feed(&h, head, strlen(head)) == HTTP1_DONE);
    http2_answer(w->s, &h, body.size + trailers.size == 0);
    if (body.size + trailers.size > 0) {
        http2_stream_put(w->s, body);
        http2_stream_finish(w->s, trailers);
    }
    http1_head_done(&h);
}

#define GRPC_HEAD "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\n\r\n"

/* Serves one call; false: it did not end. */
static bool serve(struct world *w, const char *head, struct str body, struct str trailers)
{
    for (int i = 0; i < 1000 && !(w->s && http2_stream_end(w->s) == HTTP2_ENDED); i++)
        exchange(w);
    if (!w->s)
        return false;
    answer(w, head, body, trailers);
    for (int i = 0; i < 1000 && !w->done; i++)
        exchange(w);
    return w->done == 1;
}

TEST(a_call_carries_its_message_and_gets_the_answers)
{
    struct world w;
    CHECK(world_open(&w, 100, 60000000));
    CHECK(serve(&w, GRPC_HEAD, STR("\0\0\0\0\x02\x08\x01"), STR("grpc-status: 0\r\n")));
    CHECK_EQ(w.status, 0);
    CHECK(str_eq(buf_str(&w.message), STR("\x08\x01")));
    CHECK(str_eq(buf_str(&w.request), STR("\0\0\0\0\x03\x0a\x01x")));
    struct str head = buf_str(http2_stream_heads(w.s));
    CHECK(str_starts(head, STR("POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: 127.0.0.1:8080")));
    world_end(&w);
}

TEST(every_answer_that_is_no_success_is_told_apart)
{
    static const struct {
        const char *head;
        struct str body, trailers;
        int status;
        const char *why;
    } rows[] = {
        { GRPC_HEAD, { "", 0 }, STR("grpc-status: 12\r\ngrpc-message: no\r\n"), 12, "grpc-status 12" },
        { "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 5\r\n\r\n", { "", 0 },
          { "", 0 }, 5, "grpc-status 5" },
        { "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\n\r\n", STR("no"), { "", 0 }, -1,
          "not gRPC" },
        { GRPC_HEAD, STR("\0\0\0\0\x02\x08\x01"), STR("x: y\r\n"), -1, "no grpc-status" },
        { GRPC_HEAD, STR("\0\0\0\0\x09\x08\x01"), STR("grpc-status: 0\r\n"), -1, "whole message" },
        { GRPC_HEAD, STR("\1\0\0\0\x02\x08\x01"), STR("grpc-status: 0\r\n"), -1, "compressed" },
        { GRPC_HEAD, STR("\0\0\0\0\x14" "01234567890123456789"), STR("grpc-status: 0\r\n"), -1,
          "larger" },
        { GRPC_HEAD, { "", 0 }, STR("grpc-status: 0\r\n"), -1, "without a message" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct world w;
        CHECK(world_open(&w, 10, 60000000));
        CHECK(serve(&w, rows[i].head, rows[i].body, rows[i].trailers));
        CHECK_EQ(w.status, rows[i].status);
        if (!strstr(w.why.text, rows[i].why))
            FAIL("\"%s\" does not say \"%s\"", w.why.text, rows[i].why);
        CHECK_EQ(w.message.size, 0);
        world_end(&w);
    }
}

TEST(a_server_that_is_silent_or_ends_is_given_up)
{
    struct world w;
    CHECK(world_open(&w, 10, 1000));
    for (int i = 0; i < 100000 && !w.done; i++)
        exchange(&w);
    CHECK_EQ(w.done, 1);
    CHECK_EQ(w.why.code, CODE_DEADLINE);
    world_end(&w);

    CHECK(world_open(&w, 10, 60000000));
    for (int i = 0; i < 1000 && !w.s; i++)
        exchange(&w);
    close(w.fd);
    w.fd = -1;
    for (int i = 0; i < 1000 && !w.done; i++)
        exchange(&w);
    CHECK_EQ(w.done, 1);
    CHECK_EQ(w.status, -1);
    world_end(&w);
}

TEST(a_cancelled_call_says_nothing_any_more)
{
    struct world w;
    CHECK(world_open(&w, 10, 60000000));
    for (int i = 0; i < 1000 && !w.s; i++)
        exchange(&w);
    grpc_call_cancel(TAKE(w.call));
    for (int i = 0; i < 10; i++)
        exchange(&w);
    CHECK_EQ(w.done, 0);
    world_end(&w);
}

TEST_MAIN()
