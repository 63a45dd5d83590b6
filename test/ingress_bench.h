/* ingress_bench.h -- for tests of the gateway: clients over loopback, functions at the other end of
 * socket pairs that a fake backend hands out. Time moves only when a test says so. */
#pragma once

#include "fake_backend.h"
#include "gateway/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- the bench ---------------------------------------------------------------------------- */

struct bench {
    struct world world;
    struct loop *loop;
    struct limits limits;
    struct fake fake;
    struct ingress *ingress;
    int listen_fd;
    struct sockaddr_in address;
    struct buf heard; /* by the client, of the last hear() */
    size_t held_max;  /* most bytes a stream held in either direction */
};

static inline bool bench_listen(struct bench *b)
{
    socklen_t size = sizeof b->address;
    b->address =
        (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    b->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return b->listen_fd >= 0 &&
           bind(b->listen_fd, (struct sockaddr *)&b->address, sizeof b->address) == 0 &&
           listen(b->listen_fd, 64) == 0 &&
           getsockname(b->listen_fd, (struct sockaddr *)&b->address, &size) == 0;
}

/* limits may be changed between this and bench_start(). */
static inline bool bench_prepare(struct bench *b)
{
    struct err e;
    *b = (struct bench){ .world = { { world_now, world_control, world_wait, world_free },
                                    epoll_create1(EPOLL_CLOEXEC),
                                    1000000 } };
    limits_default(&b->limits);
    b->fake.policy = (struct target_policy){ .ns = "default",
                                             .service = "echo",
                                             .revision = "echo-00001",
                                             .timeout_ms = 300000,
                                             .port = 8080 };
    b->fake.backend.ops = &fake_ops;
    b->fake.host = "echo.default.localhost";
    b->fake.task.run = fake_run;
    list_init(&b->fake.waiting);
    the_fake = &b->fake;
    buf_init(&b->heard, MIB(1));
    if (!bench_listen(b) || loop_open_in(&b->world.world, &b->loop, &e) < 0)
        return false;
    b->fake.loop = b->loop;
    return true;
}

static inline bool bench_start(struct bench *b)
{
    struct err e;
    return ingress_open(b->loop, &b->limits, b->listen_fd, &b->fake.backend, &b->ingress, &e) == 0;
}

static inline void bench_end(struct bench *b)
{
    ingress_free(b->ingress);
    ASSERT(b->fake.granted == b->fake.released); /* every lease came back */
    loop_undefer(b->loop, &b->fake.task);
    for (int i = 0; i < b->fake.idle_count; i++)
        close(b->fake.idle[i]);
    for (int i = 0; i < b->fake.connected; i++)
        if (b->fake.functions[i] >= 0)
            close(b->fake.functions[i]);
    loop_free(b->loop);
    close(b->listen_fd);
    buf_done(&b->heard);
}

static inline void turn(struct bench *b)
{
    struct err e;
    ASSERT(loop_turn(b->loop, false, &e) >= 0);
    LIST_EACH(&b->ingress->clients, n, tmp) {
        const struct client *c = CONTAINER_OF(n, struct client, node);
        b->held_max = MAX(b->held_max, c->net.in.size + c->up.out.size);
        b->held_max = MAX(b->held_max, c->up.in.size + c->net.out.size);
    }
}
static inline void advance(struct bench *b, uint64_t ms)
{
    b->world.now_us += ms * 1000;
    turn(b);
    turn(b);
}

/* Real time, only to end a test that would hang. */
static inline uint64_t patience_end(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec + 10;
}
#define UNTIL(b, cond) \
    ({ \
        uint64_t end_ = patience_end(); \
        bool met_; \
        while (!(met_ = (cond)) && patience_end() - 10 < end_) \
            turn(b); \
        met_; \
    })

static inline int client_connect(struct bench *b)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(connect(fd, (struct sockaddr *)&b->address, sizeof b->address) == 0);
    ASSERT(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    return fd;
}
static inline void say(int fd, const char *text)
{
    size_t size = strlen(text);
    ASSERT(send(fd, text, size, MSG_NOSIGNAL) == (ssize_t)size);
}
static inline struct str heard(struct bench *b) { return buf_str(&b->heard); }
static inline bool holds(struct str s, const char *text)
{
    return s.size > 0 && memmem(s.at, s.size, text, strlen(text)) != NULL;
}
static inline bool has(struct bench *b, const char *text) { return holds(heard(b), text); }

/* Whatever is there is added to b->heard: 1 something, 0 nothing, -1 end, -2 reset. */
static inline int listen_once(struct bench *b, int fd)
{
    size_t room;
    char *at = buf_reserve(&b->heard, 65536, &room);
    ASSERT(room > 0);
    ssize_t n = recv(fd, at, room, MSG_DONTWAIT);
    if (n > 0)
        buf_commit(&b->heard, (size_t)n);
    return n > 0 ? 1 : n == 0 ? -1 : errno == EAGAIN ? 0 : -2;
}
/* Until `text` has come (in all that was heard since the last forget()). */
static inline bool hear(struct bench *b, int fd, const char *text)
{
    return UNTIL(b, listen_once(b, fd) < 0 || has(b, text)) && has(b, text);
}
static inline void forget(struct bench *b) { buf_clear(&b->heard); }
/* -1 end, -2 reset, 0 neither. */
static inline int hear_end(struct bench *b, int fd)
{
    int r = 0;
    (void)UNTIL(b, (r = listen_once(b, fd)) < 0);
    return MIN(r, 0);
}
/* The kernel has handed over all that fd sent. */
static inline bool delivered(int fd)
{
    int unacknowledged = 1;
    for (uint64_t end = patience_end(); unacknowledged > 0 && patience_end() - 10 < end;)
        ASSERT(ioctl(fd, SIOCOUTQ, &unacknowledged) == 0);
    return unacknowledged == 0;
}
static inline int function(struct bench *b, int index)
{
    return UNTIL(b, b->fake.connected > index) ? b->fake.functions[index] : -1;
}
static inline void hang_up(struct bench *b, int index)
{
    close(b->fake.functions[index]);
    b->fake.functions[index] = -1;
}

#define BENCH(name) \
    struct bench name; \
    CHECK(bench_prepare(&name) && bench_start(&name))
#define HOST "Host: echo.default.localhost\r\n"
#define GET  "GET / HTTP/1.1\r\n" HOST "\r\n"
#define OK   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
