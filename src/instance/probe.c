#include "instance/probe.h"
#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

void prober_stop(struct prober *p)
{
    if (!p->active)
        return;
    p->active = false;
    connect_cancel(TAKE(p->connecting));
    loop_unwatch(p->loop, &p->io);
    loop_cancel(p->loop, &p->timer);
    if (p->fd >= 0)
        (void)close(TAKE_FD(p->fd));
}

static void result(struct prober *p, bool passed, int take_fd, const char *why)
{
    prober_stop(p);
    p->on_result(p, passed, take_fd, why);
}

static void on_timeout(struct loop_timer *t)
{
    result(CONTAINER_OF(t, struct prober, timer), false, -1,
           "no answer within the probe's timeout");
}

/* Only "HTTP/1.x NNN" is looked at: the kubelet does not care for the rest either. */
static void on_answer(struct loop_io *io, uint32_t events)
{
    struct prober *p = CONTAINER_OF(io, struct prober, io);
    (void)events;
    ssize_t n = recv(p->fd, p->answer + p->answer_size, 12 - p->answer_size, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        result(p, false, -1, "the connection closed without an answer");
        return;
    }
    p->answer_size += (size_t)n;
    if (p->answer_size < 12)
        return;
    uint64_t status = 0;
    if (memcmp(p->answer, "HTTP/1.", 7) != 0 ||
        !str_u64((struct str){ p->answer + 9, 3 }, &status)) {
        result(p, false, -1, "the answer is not HTTP");
        return;
    }
    bool passed = status >= 200 && status < 400;
    char why[48];
    snprintf(why, sizeof why, "the probe was answered with status %u", (unsigned)status);
    result(p, passed, -1, why);
}

static void send_request(struct prober *p)
{
    struct buf b;
    struct err e;
    const struct probe *probe = p->probe;
    buf_init(&b, KIB(16));
    buf_printf(&b,
               "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: kube-probe/hob\r\n"
               "Accept: */*\r\nConnection: close\r\n",
               probe->path ? probe->path : "/", probe->host ? probe->host : p->host);
    for (size_t i = 0; probe->headers && probe->headers[i]; i++)
        buf_printf(&b, "%s\r\n", probe->headers[i]);
    buf_text(&b, "\r\n");
    ssize_t sent = b.overflow ? -1 : send(p->fd, buf_at(&b), b.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    bool whole = sent >= 0 && (size_t)sent == b.size;
    buf_done(&b);
    p->answer_size = 0;
    p->io = (struct loop_io){ .on_ready = on_answer };
    if (!whole || loop_watch(p->loop, &p->io, p->fd, EPOLLIN, &e) < 0) {
        result(p, false, -1, "the probe's request could not be sent");
        return;
    }
    p->timer.on_due = on_timeout;
    loop_after(p->loop, &p->timer, (uint64_t)MAX(probe->timeout_s, 1u) * 1000000);
}

static void on_connected(void *ctx, int take_fd, const struct err *e)
{
    struct prober *p = ctx;
    p->connecting = NULL;
    if (take_fd < 0) {
        result(p, false, -1, e->text);
        return;
    }
    if (p->probe->kind == PROBE_TCP) {
        result(p, true, take_fd, NULL);
        return;
    }
    p->fd = take_fd;
    send_request(p);
}

void prober_try(struct prober *p, const struct probe *probe, const char *host,
                const struct connect_request *q)
{
    ASSERT(!p->active && p->on_result);
    ASSERT(probe->kind == PROBE_TCP || probe->kind == PROBE_HTTP);
    p->loop = q->loop;
    p->probe = probe;
    p->host = host;
    p->fd = -1;
    p->active = true;
    struct connect_request own = *q;
    own.on_done = on_connected;
    own.ctx = p;
    struct connecting *c = connect_start(&own);
    if (c)
        p->connecting = c;
}
