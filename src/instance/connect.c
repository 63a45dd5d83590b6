#include "instance/connect.h"
#include "os/fault.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RETRY_FIRST_US = 50,  /* an exec'd static program listens within half a millisecond */
    RETRY_LAST_US = 5000, /* what a slow starter waits at most beyond its own readiness */
    CROWDED_US = 2000,    /* accept queue full: the function is busy accepting */
};

struct connecting {
    struct connect_request q;
    struct loop_io io;
    struct loop_timer timer;
    int fd;
    uint64_t pause_us;
    bool refused; /* the last time */
    bool wants_socket, cancelled; /* a socket on its way finds a cancelled one and is closed */
};

static void attempt(struct connecting *c);

static void c_free(struct connecting *c)
{
    loop_unwatch(c->q.loop, &c->io);
    loop_cancel(c->q.loop, &c->timer);
    if (c->fd >= 0)
        (void)close(c->fd);
    free(c);
}

void connect_cancel(struct connecting *c)
{
    if (!c)
        return;
    if (!c->wants_socket) {
        c_free(c);
        return;
    }
    loop_cancel(c->q.loop, &c->timer);
    c->cancelled = true;
}

static void finish(struct connecting *c, const struct err *e)
{
    struct connect_request q = c->q;
    int fd = e ? -1 : TAKE_FD(c->fd);
    connect_cancel(c);
    q.on_done(q.ctx, fd, e);
}

static void on_timer(struct loop_timer *t)
{
    struct connecting *c = CONTAINER_OF(t, struct connecting, timer);
    struct err e;
    if (loop_clock_us(c->q.loop) >= c->q.give_up_us) {
        if (c->refused)
            err_set(&e, CODE_DEADLINE, "nothing accepts connections on port %u", c->q.port);
        else
            err_set(&e, CODE_DEADLINE, "port %u: no connection in time", c->q.port);
        finish(c, &e);
        return;
    }
    attempt(c);
}

static void retry_after(struct connecting *c, uint64_t pause_us)
{
    uint64_t now_us = loop_clock_us(c->q.loop);
    loop_at(c->q.loop, &c->timer, MIN(now_us + pause_us, MAX(c->q.give_up_us, now_us + 1)));
}

static void on_socket(void *ctx, int take_fd)
{
    struct connecting *c = ctx;
    c->wants_socket = false;
    if (c->cancelled) {
        if (take_fd >= 0)
            (void)close(take_fd);
        free(c);
        return;
    }
    if (take_fd < 0) {
        struct err e;
        err_set(&e, CODE_UNAVAILABLE, "port %u: the sandbox is gone", c->q.port);
        finish(c, &e);
        return;
    }
    c->fd = take_fd;
    attempt(c);
}

/* Loopback answers inside connect(), so a second look tells the result without a wait: connected,
 * refused, or (EALREADY) nothing at all, which means that the accept queue is full. */
static int connect_now(int fd, uint16_t port)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    for (int look = 0; look < 2; look++) {
        if (fault_hit("connect"))
            break;
        if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EISCONN)
            return 0;
        if (errno != EINPROGRESS)
            break;
    }
    return errno;
}

static void disconnect(int fd)
{
    struct sockaddr none = { .sa_family = AF_UNSPEC };
    (void)connect(fd, &none, sizeof none);
}

static void attempt(struct connecting *c)
{
    struct err e;
    if (c->fd < 0) {
        c->fd = c->q.tier->ops->socket(c->q.sandbox, &e);
        if (c->fd < 0) {
            c->wants_socket = true;
            loop_at(c->q.loop, &c->timer, c->q.give_up_us);
            c->q.tier->ops->want_socket(c->q.sandbox, on_socket, c);
            return;
        }
    }
    int sys = connect_now(c->fd, c->q.port);
    c->refused = sys == ECONNREFUSED;
    if (sys == 0) {
        const int one = 1;
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        finish(c, NULL);
    } else if (sys == EALREADY || sys == EINPROGRESS) {
        if (c->q.crowded)
            *c->q.crowded = true;
        disconnect(c->fd);
        retry_after(c, CROWDED_US);
    } else if (sys == ECONNREFUSED && c->q.retry_refused) {
        retry_after(c, c->pause_us);
        c->pause_us = MIN(c->pause_us + c->pause_us / 4, (uint64_t)RETRY_LAST_US);
    } else {
        errno = sys;
        err_sys(&e, "connect to port %u", c->q.port);
        finish(c, &e);
    }
}

struct connecting *connect_start(const struct connect_request *q)
{
    struct err e;
    /* The usual case without an allocation: a socket is at hand and the function listens. */
    int fd = q->tier->ops->socket(q->sandbox, &e);
    if (fd >= 0 && connect_now(fd, q->port) == 0) {
        const int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        q->on_done(q->ctx, fd, NULL);
        return NULL;
    }
    struct connecting *c = xcalloc(1, sizeof *c);
    c->q = *q;
    c->fd = fd;
    c->pause_us = RETRY_FIRST_US;
    c->timer.on_due = on_timer;
    if (fd >= 0)
        disconnect(fd);
    loop_at(q->loop, &c->timer, loop_clock_us(q->loop) + (fd >= 0 ? RETRY_FIRST_US : 0));
    return c;
}
