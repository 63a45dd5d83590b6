#include "server.h"

#include "request.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 65536, EVENTS_PER_TURN = 64, TAG_LISTENER = -1, TAG_SIGNALS = -2 };

struct connection {
    int fd; /* -1: free */
    int64_t since_ms;
    struct bytes in, out;
    struct request request;
    bool used; /* has answered something */
    bool last; /* ends after the answer in `out` */
    bool over; /* the end was said; what still comes is thrown away */
};

struct server {
    const struct model *model;
    int epoll_fd, listen_fd, signal_fd;
    int count;
    bool full;
    int64_t draining_since_ms; /* 0: not */
    struct connection connections[SERVER_CONNECTIONS_MAX];
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- answers -------------------------------------------------------------------------------- */

static const char *reason(int status)
{
    switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    default: return "HTTP Version Not Supported";
    }
}

static void respond(struct connection *c, int status, const char *type, const struct bytes *body,
                    const char *extra)
{
    bytes_format(&c->out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", status,
                 reason(status), type, bytes_size(body));
    bytes_text(&c->out, extra);
    bytes_text(&c->out, c->last ? "Connection: close\r\n\r\n" : "\r\n");
    bytes_add(&c->out, bytes_at(body), bytes_size(body));
}

static void respond_problem(struct connection *c, const struct refusal *r)
{
    struct bytes body = { 0 };
    bytes_format(&body, "{\"title\":\"%s\",\"status\":%d,\"detail\":", reason(r->status), r->status);
    events_quote(&body, r->why, strlen(r->why));
    bytes_text(&body, "}");
    respond(c, r->status, "application/problem+json", &body,
            r->status == 405 ? "Allow: POST\r\n" : "");
    bytes_free(&body);
}

static void respond_health(struct connection *c)
{
    char ok[] = "ok\n";
    struct bytes body = { .data = ok, .to = 3 };
    respond(c, 200, "text/plain", &body, "");
    if (c->request.method == METHOD_HEAD)
        c->out.to -= 3;
}

/* Which kind of event the head announces; -1 when it is none. */
static int event_kind(const struct request *q, struct refusal *r)
{
    switch (q->content) {
    case CONTENT_CLOUD: return EVENT_CLOUD;
    case CONTENT_CLOUD_BATCH: return EVENT_CLOUD_BATCH;
    case CONTENT_OTHER:
        *r = (struct refusal){ 415, "content type is none of application/json, "
                                    "application/cloudevents+json, "
                                    "application/cloudevents-batch+json" };
        return -1;
    case CONTENT_JSON: break;
    }
    if (!q->has_ce_version)
        return EVENT_PLAIN;
    if (q->ce_version_is_1_0 && q->ce_id_fits)
        return EVENT_BINARY;
    *r = (struct refusal){ 400, "event: ce-specversion is not 1.0, or ce-id is missing or too long" };
    return -1;
}

static void respond_events(struct connection *c, const struct model *m)
{
    static const char *const types[] = {
        [EVENT_PLAIN] = "application/json",
        [EVENT_BINARY] = "application/json",
        [EVENT_CLOUD] = "application/cloudevents+json",
        [EVENT_CLOUD_BATCH] = "application/cloudevents-batch+json",
    };
    const struct request *q = &c->request;
    struct refusal r;
    struct bytes body = { 0 }, extra = { 0 };
    int kind = event_kind(q, &r);
    if (kind < 0 || events_answer(m, (enum event_kind)kind, q->ce_id, bytes_at(&q->body),
                                  bytes_size(&q->body), &body, &r) < 0) {
        respond_problem(c, &r);
    } else {
        if (kind == EVENT_BINARY)
            bytes_format(&extra,
                         "ce-specversion: 1.0\r\nce-id: %s\r\nce-source: /event-classifier\r\n"
                         "ce-type: dev.hob.example.classified\r\n", q->ce_id);
        bytes_add(&extra, "", 1);
        respond(c, 200, types[kind], &body, bytes_at(&extra));
    }
    bytes_free(&extra);
    bytes_free(&body);
}

static void respond_whole(struct connection *c, const struct model *m)
{
    const struct request *q = &c->request;
    if (q->path == PATH_HEALTHZ && (q->method == METHOD_GET || q->method == METHOD_HEAD))
        respond_health(c);
    else if (q->path != PATH_ROOT)
        respond_problem(c, &(struct refusal){ 404, "there is only / and /healthz" });
    else if (q->method != METHOD_POST)
        respond_problem(c, &(struct refusal){ 405, "events come by POST" });
    else
        respond_events(c, m);
}

/* ---- connections ---------------------------------------------------------------------------- */

static void watch(struct server *s, int fd, int tag, uint32_t events, int operation)
{
    struct epoll_event event = { .events = events, .data.u64 = (uint64_t)(int64_t)tag };
    if (epoll_ctl(s->epoll_fd, operation, fd, &event) != 0)
        abort(); /* our own descriptors, registered once: it can only be out of memory */
}

static int tag_of(const struct server *s, const struct connection *c)
{
    return (int)(c - s->connections);
}

static void connection_close(struct server *s, struct connection *c)
{
    close(c->fd);
    bytes_free(&c->in);
    bytes_free(&c->out);
    request_done(&c->request);
    *c = (struct connection){ .fd = -1 };
    s->count--;
    if (s->full && s->listen_fd >= 0)
        watch(s, s->listen_fd, TAG_LISTENER, EPOLLIN, EPOLL_CTL_MOD);
    s->full = false;
}

static void accept_all(struct server *s)
{
    for (int i = 0; i < SERVER_CONNECTIONS_MAX; i++) {
        struct connection *c = &s->connections[i];
        if (c->fd >= 0)
            continue;
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        *c = (struct connection){ .fd = fd, .since_ms = now_ms() };
        s->count++;
        watch(s, fd, i, EPOLLIN, EPOLL_CTL_ADD);
    }
    s->full = true;
    watch(s, s->listen_fd, TAG_LISTENER, 0, EPOLL_CTL_MOD);
}

/* Closing with unread bytes would reset the connection and could destroy the answer: the end is said
 * first, and what still comes is read until the client closes too, or the sweep does it. */
static void connection_end(struct server *s, struct connection *c)
{
    shutdown(c->fd, SHUT_WR);
    c->over = true;
    bytes_clear(&c->in);
    watch(s, c->fd, tag_of(s, c), EPOLLIN, EPOLL_CTL_MOD);
}

/* Reads once. False when the connection is gone (and freed). */
static bool fill(struct server *s, struct connection *c)
{
    ssize_t got = read(c->fd, bytes_reserve(&c->in, READ_BYTES), READ_BYTES);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0) {
        connection_close(s, c);
        return false;
    }
    c->in.to += (size_t)got;
    c->since_ms = now_ms();
    if (c->over)
        bytes_clear(&c->in);
    return true;
}

/* One request, if it is all there: its answer is in `out` then. */
static bool turn(struct server *s, struct connection *c)
{
    struct refusal r;
    bool at_head = c->request.stage == STAGE_HEAD;
    if (c->over)
        return false;
    int got = request_take(&c->request, &c->in, &r);
    if (got == 0) {
        /* Only once, and only while the client may be waiting for it. Not read: its loss. */
        if (at_head && c->request.wants_continue && bytes_size(&c->in) == 0)
            (void)!write(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        return false;
    }
    c->last = got < 0 || !c->request.keep_alive || s->draining_since_ms > 0;
    if (got < 0)
        respond_problem(c, &r);
    else
        respond_whole(c, s->model);
    c->used = true;
    request_init(&c->request);
    return true;
}

static void pump(struct server *s, struct connection *c, bool readable)
{
    if (readable && !fill(s, c))
        return;
    while (bytes_size(&c->out) > 0 || turn(s, c)) {
        ssize_t sent = send(c->fd, bytes_at(&c->out), bytes_size(&c->out), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return connection_close(s, c);
        bytes_drop(&c->out, sent > 0 ? (size_t)sent : 0);
        if (bytes_size(&c->out) > 0)
            return watch(s, c->fd, tag_of(s, c), EPOLLOUT, EPOLL_CTL_MOD);
        if (c->last)
            return connection_end(s, c);
    }
    watch(s, c->fd, tag_of(s, c), EPOLLIN, EPOLL_CTL_MOD);
}

/* ---- the end -------------------------------------------------------------------------------- */

/* What has been sent by now is answered. Idle connections are read once more before they are closed,
 * since a request may be waiting in them. */
static void drain(struct server *s)
{
    accept_all(s);
    close(s->listen_fd);
    s->listen_fd = -1;
    s->draining_since_ms = now_ms();
    for (int i = 0; i < SERVER_CONNECTIONS_MAX; i++) {
        struct connection *c = &s->connections[i];
        if (c->fd < 0)
            continue;
        pump(s, c, bytes_size(&c->out) == 0);
        if (c->fd >= 0 && c->used && !c->over && bytes_size(&c->out) == 0 &&
            !request_begun(&c->request, &c->in))
            connection_close(s, c);
    }
}

/* Closes what has been silent too long. True when draining is over. */
static bool sweep(struct server *s)
{
    int64_t now = now_ms(), draining_ms = s->draining_since_ms > 0 ? now - s->draining_since_ms : 0;
    for (int i = 0; i < SERVER_CONNECTIONS_MAX; i++) {
        struct connection *c = &s->connections[i];
        if (c->fd < 0)
            continue;
        bool begun = request_begun(&c->request, &c->in) || bytes_size(&c->out) > 0;
        if (now - c->since_ms > SERVER_IDLE_MS || (!begun && draining_ms > SERVER_DRAIN_SILENT_MS))
            connection_close(s, c);
    }
    return s->draining_since_ms > 0 && (s->count == 0 || draining_ms > SERVER_DRAIN_MS);
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes); /* what accept() returns inherits it */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        listen(fd, SERVER_CONNECTIONS_MAX) == 0)
        return fd;
    close(fd);
    return -1;
}

static int server_start(struct server *s, uint16_t port, const char **ret_why)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    for (int i = 0; i < SERVER_CONNECTIONS_MAX; i++)
        s->connections[i].fd = -1;
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->signal_fd = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);
    s->listen_fd = listen_on(port);
    if (s->epoll_fd < 0 || s->signal_fd < 0 || s->listen_fd < 0) {
        *ret_why = strerror(errno);
        return -1;
    }
    watch(s, s->signal_fd, TAG_SIGNALS, EPOLLIN, EPOLL_CTL_ADD);
    watch(s, s->listen_fd, TAG_LISTENER, EPOLLIN, EPOLL_CTL_ADD);
    return 0;
}

static bool on_signal(struct server *s)
{
    struct signalfd_siginfo info;
    bool again = s->draining_since_ms > 0;
    (void)!read(s->signal_fd, &info, sizeof info);
    if (!again)
        drain(s);
    return again; /* a second signal means now */
}

static bool on_event(struct server *s, const struct epoll_event *event)
{
    int tag = (int)(int64_t)event->data.u64;
    if (tag == TAG_SIGNALS)
        return on_signal(s);
    if (tag == TAG_LISTENER) {
        if (s->listen_fd >= 0)
            accept_all(s);
    } else if (s->connections[tag].fd >= 0) {
        pump(s, &s->connections[tag], (event->events & ~(uint32_t)EPOLLOUT) != 0);
    }
    return false;
}

int server_run(const struct model *m, uint16_t port, const char **ret_why)
{
    static struct server s;
    s = (struct server){ .model = m };
    if (server_start(&s, port, ret_why) < 0)
        return -1;
    for (;;) {
        struct epoll_event events[EVENTS_PER_TURN];
        bool draining = s.draining_since_ms > 0;
        int count = epoll_wait(s.epoll_fd, events, EVENTS_PER_TURN,
                               draining ? 100 : s.count > 0 ? 5000 : -1);
        for (int i = 0; i < count; i++) {
            if (on_event(&s, &events[i]))
                return 0;
        }
        if ((s.draining_since_ms > 0 || count == 0) && sweep(&s))
            return 0;
    }
}
