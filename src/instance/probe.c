#include "instance/probe.h"
#include "base/buf.h"
#include "instance/grpc_health.h"
#include "net/http_guess.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    REDIRECTS_MAX = 10, /* the kubelet's */
    REQUEST_BYTES_MAX = 64 * 1024,
    RECEIVE_BYTES = 4096,
    TLS_RECORD_BYTES = 17 * 1024, /* what one may bring at once, beyond a head */
    GRPC_ANSWER_BYTES_MAX = 4096, /* a status takes two */
    COMMAND_GRACE_US = 2000000, /* for the sandbox to end a late command, before it is not waited for any more */
};

static void connect_now(struct prober *p);

static void connection_end(struct prober *p)
{
    connect_cancel(TAKE(p->connecting));
    grpc_call_cancel(TAKE(p->call));
    tls_client_free(TAKE(p->tls));
    loop_unwatch(p->q.loop, &p->io);
    if (p->fd >= 0)
        (void)close(TAKE_FD(p->fd));
}

void prober_stop(struct prober *p)
{
    if (!p->active)
        return;
    p->active = false;
    if (p->q.probe->kind == PROBE_EXEC)
        p->q.tier->ops->run_forget(p->q.sandbox, &p->run);
    connection_end(p);
    loop_cancel(p->q.loop, &p->timer);
    buf_done(&p->answer);
    http1_head_done(&p->head);
}

static void result(struct prober *p, bool passed, int take_fd, const char *why)
{
    prober_stop(p);
    p->on_result(p, passed, take_fd, why);
}

static void on_timeout(struct loop_timer *t)
{
    struct prober *p = CONTAINER_OF(t, struct prober, timer);
    char why[96];
    snprintf(why, sizeof why, "no answer within %llu ms (the probe's timeout)",
             (unsigned long long)(p->q.timeout_us / 1000));
    result(p, false, -1, why);
}

/* ---- HTTP ---------------------------------------------------------------------------------- */

static const char *host_of(const struct prober *p)
{
    return p->q.probe->host && *p->q.probe->host ? p->q.probe->host : p->q.host;
}

/* A field that the probe names itself replaces ours. */
static bool names_field(const struct probe *probe, struct str name)
{
    for (size_t i = 0; probe->headers && probe->headers[i]; i++) {
        struct str rest = str_of(probe->headers[i]);
        if (str_eq_nocase(str_cut(&rest, ':'), name))
            return true;
    }
    return false;
}

static void request_write(const struct prober *p, struct buf *b)
{
    const struct probe *probe = p->q.probe;
    buf_printf(b, "GET %s HTTP/1.1\r\n", p->at.target);
    if (!names_field(probe, STR("Host")))
        buf_printf(b, "Host: %s\r\n", host_of(p));
    if (!names_field(probe, STR("User-Agent")))
        buf_text(b, "User-Agent: kube-probe/hob\r\n");
    if (!names_field(probe, STR("Accept")))
        buf_text(b, "Accept: */*\r\n");
    for (size_t i = 0; probe->headers && probe->headers[i]; i++)
        buf_printf(b, "%s\r\n", probe->headers[i]);
    buf_text(b, "Connection: close\r\n\r\n");
}

static void redirected(struct prober *p)
{
    if (p->redirects++ == REDIRECTS_MAX) {
        result(p, false, -1, "stopped after 10 redirects");
        return;
    }
    connection_end(p);
    connect_now(p);
}

static void on_head(struct prober *p)
{
    const unsigned status = p->head.status;
    char why[64];
    if (status >= 300 && status < 400 &&
        redirect_follow(host_of(p), &p->at, http1_field(&p->head, HTTP_FIELD_LOCATION), &p->at)) {
        redirected(p);
        return;
    }
    snprintf(why, sizeof why, "HTTP probe failed with statuscode: %u", status);
    result(p, status >= 200 && status < 400, -1, why);
}

/* It is little, on a connection that has sent next to nothing: what does not fit at once never will. */
static bool send_whole(const struct prober *p, const struct buf *b)
{
    ssize_t sent = b->overflow ? -1 : send(p->fd, buf_at(b), b->size, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent >= 0 && (size_t)sent == b->size;
}

/* False: refused, and told. `in`: from the wire. */
static bool tls_turn(struct prober *p, struct str in)
{
    struct buf out;
    struct err e;
    buf_init(&out, REQUEST_BYTES_MAX + TLS_RECORD_BYTES);
    int r = tls_client_turn(p->tls, in, &out, &p->answer, &e);
    bool sent = out.size == 0 || send_whole(p, &out);
    buf_done(&out);
    if (r == 1 && p->answer.size == 0)
        result(p, false, -1, "the connection closed without an answer");
    else if (r < 0)
        result(p, false, -1, e.text);
    else if (!sent)
        result(p, false, -1, "the probe's request could not be sent");
    else
        return true;
    return false;
}

static void head_read(struct prober *p)
{
    for (;;) {
        switch (http1_head_feed(&p->head, buf_at(&p->answer), p->answer.size)) {
        case HTTP1_MORE:
        case HTTP1_DATA: return;
        case HTTP1_BAD:
            result(p, false, -1, http_guess_is_h2(buf_str(&p->answer)) ? HTTP_GUESS_IS_H2 : p->head.refusal.text);
            return;
        case HTTP1_DONE: break;
        }
        if (!p->head.interim)
            break;
        buf_consume(&p->answer, p->head.size);
        http1_head_reset(&p->head);
        http1_head_answers(&p->head, HTTP_GET);
        if (p->answer.size == 0)
            return;
    }
    on_head(p);
}

static void on_answer(struct loop_io *io, uint32_t events)
{
    struct prober *p = CONTAINER_OF(io, struct prober, io);
    char wire[RECEIVE_BYTES];
    size_t room = sizeof wire;
    (void)events;
    char *into = p->tls ? wire : buf_reserve(&p->answer, RECEIVE_BYTES, &room);
    if (room == 0) {
        result(p, false, -1, "the head of the answer is too long");
        return;
    }
    ssize_t n = recv(p->fd, into, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        result(p, false, -1, n < 0 ? "the connection broke before an answer"
                                   : "the connection closed without an answer");
        return;
    }
    if (!p->tls)
        buf_commit(&p->answer, (size_t)n);
    else if (!tls_turn(p, (struct str){ wire, (size_t)n }) || p->answer.size == 0)
        return;
    head_read(p);
}

/* NULL, or why not. */
static const char *request_begin(struct prober *p)
{
    static const char *const not_sent = "the probe's request could not be sent";
    struct buf b;
    struct err e;
    bool sent = true;
    if (p->at.tls && tls_client_new(&p->tls, &e) < 0)
        return not_sent;
    buf_init(&b, REQUEST_BYTES_MAX);
    request_write(p, &b);
    if (p->tls)
        tls_client_say(p->tls, buf_str(&b));
    else
        sent = send_whole(p, &b);
    sent &= !b.overflow;
    buf_done(&b);
    return sent && loop_watch(p->q.loop, &p->io, p->fd, EPOLLIN, &e) == 0 ? NULL : not_sent;
}

static void send_request(struct prober *p)
{
    buf_clear(&p->answer);
    http1_head_reset(&p->head);
    http1_head_answers(&p->head, HTTP_GET);
    p->io = (struct loop_io){ .on_ready = on_answer };
    const char *why = request_begin(p);
    if (why)
        result(p, false, -1, why);
    else if (p->tls)
        (void)tls_turn(p, STR("")); /* the greeting */
}

/* ---- gRPC ------------------------------------------------------------------------------------ */

/* In the words of the kubelet. */
static void on_call_done(void *ctx, int status, struct str message, const struct err *e)
{
    enum { UNIMPLEMENTED = 12 };
    struct prober *p = ctx;
    uint64_t health = GRPC_HEALTH_UNKNOWN;
    char why[PROBER_WHY];
    p->call = NULL;
    if (status < 0 && e->code == CODE_DEADLINE)
        snprintf(why, sizeof why, "timeout: health rpc did not complete within %llu ms",
                 (unsigned long long)(p->q.timeout_us / 1000));
    else if (status < 0)
        snprintf(why, sizeof why, "health rpc probe failed: %.190s", e->text);
    else if (status == UNIMPLEMENTED)
        snprintf(why, sizeof why, "server doesn't implement the grpc health protocol (grpc.health.v1.Health)");
    else if (status > 0)
        snprintf(why, sizeof why, "health rpc probe failed: gRPC status %d", status);
    else if (!grpc_health_parse(message, &health))
        snprintf(why, sizeof why, "health rpc probe failed: its answer is no HealthCheckResponse");
    else
        snprintf(why, sizeof why, "service unhealthy (responded with \"%s\")", grpc_health_name(health));
    result(p, health == GRPC_HEALTH_SERVING, -1, why);
}

static void call_begin(struct prober *p, int take_fd)
{
    char authority[32];
    struct buf ask;
    struct err e;
    buf_init(&ask, GRPC_HEALTH_SERVICE_MAX + 16);
    grpc_health_ask(p->q.probe->service, &ask);
    snprintf(authority, sizeof authority, "127.0.0.1:%u", p->q.port);
    const struct grpc_call_request q = { .loop = p->q.loop,
                                         .limits = p->q.limits,
                                         .authority = authority,
                                         .path = GRPC_HEALTH_PATH,
                                         .message = buf_str(&ask),
                                         .answer_bytes_max = GRPC_ANSWER_BYTES_MAX,
                                         .give_up_us = loop_clock_us(p->q.loop) + p->q.timeout_us,
                                         .on_done = on_call_done,
                                         .ctx = p };
    int r = grpc_call_start(&q, take_fd, &p->call, &e);
    buf_done(&ask);
    if (r < 0)
        result(p, false, -1, e.text);
}

/* ---- exec ------------------------------------------------------------------------------------ */

/* On one line, in characters that every reader of a message takes. */
static void text_clean(struct str text, char *into, size_t size)
{
    size_t used = 0;
    text = str_trim(text);
    for (size_t i = 0; i < text.size && used + 1 < size; i++) {
        unsigned char c = (unsigned char)text.at[i];
        into[used++] = c < ' ' ? ' ' : c >= 0x7f ? '?' : (char)c;
    }
    while (used > 0 && into[used - 1] == ' ')
        used--;
    into[used] = '\0';
}

static void on_command_done(struct sandbox_run *r, bool ran, bool late, int status, struct str text)
{
    struct prober *p = CONTAINER_OF(r, struct prober, run);
    char said[PROBER_WHY - 64], why[PROBER_WHY];
    text_clean(text, said, sizeof said);
    const char *between = said[0] ? ": " : "";
    if (!ran)
        snprintf(why, sizeof why, "%s", said);
    else if (late)
        snprintf(why, sizeof why, "command timed out after %llu ms%s%s",
                 (unsigned long long)(p->q.timeout_us / 1000), between, said);
    else if (status > 128)
        snprintf(why, sizeof why, "command was killed by signal %d%s%s", status - 128, between, said);
    else
        snprintf(why, sizeof why, "command exited with status %d%s%s", status, between, said);
    result(p, ran && !late && status == 0, -1, why);
}

static void on_command_lost(struct loop_timer *t)
{
    result(CONTAINER_OF(t, struct prober, timer), false, -1, "no word of the command came back");
}

static void command_begin(struct prober *p)
{
    struct err e;
    p->run = (struct sandbox_run){ .on_done = on_command_done };
    p->timer.on_due = on_command_lost;
    if (p->q.tier->ops->run(p->q.sandbox, p->q.probe->command, p->q.timeout_us, &p->run, &e) < 0) {
        result(p, false, -1, e.text);
        return;
    }
    loop_after(p->q.loop, &p->timer, p->q.timeout_us + COMMAND_GRACE_US);
}

/* ---- all kinds ------------------------------------------------------------------------------- */

static void on_connected(void *ctx, int take_fd, const struct err *e)
{
    struct prober *p = ctx;
    p->connecting = NULL;
    if (take_fd < 0) {
        result(p, false, -1, e->text);
        return;
    }
    if (p->q.probe->kind == PROBE_TCP) {
        result(p, true, take_fd, NULL);
        return;
    }
    if (p->q.probe->kind == PROBE_GRPC) {
        call_begin(p, take_fd);
        return;
    }
    p->fd = take_fd;
    if (p->redirects == 0) /* one bound for all of them, and the answer */
        loop_after(p->q.loop, &p->timer, p->q.timeout_us);
    send_request(p);
}

static void connect_now(struct prober *p)
{
    const struct connect_request q = {
        .loop = p->q.loop,
        .tier = p->q.tier,
        .sandbox = p->q.sandbox,
        .port = p->at.port,
        .retry_refused = p->q.port_us > 0,
        .give_up_us = loop_clock_us(p->q.loop) + MAX(p->q.port_us, p->q.timeout_us),
        .on_done = on_connected,
        .ctx = p,
    };
    /* It may have been done before this returns, and the next try begun. */
    struct connecting *c = connect_start(&q);
    if (c)
        p->connecting = c;
}

void prober_try(struct prober *p, const struct prober_request *q)
{
    ASSERT(!p->active && p->on_result);
    p->q = *q;
    p->fd = -1;
    p->active = true;
    p->redirects = 0;
    p->timer.on_due = on_timeout;
    p->at.port = q->port;
    p->at.tls = q->probe->kind == PROBE_HTTP && q->probe->tls;
    snprintf(p->at.target, sizeof p->at.target, "%s", q->probe->path ? q->probe->path : "/");
    buf_init(&p->answer, q->limits->http_head_bytes_max + (size_t)TLS_RECORD_BYTES);
    http1_head_init(&p->head, HTTP1_RESPONSE, q->limits);
    if (q->probe->kind == PROBE_EXEC)
        command_begin(p);
    else
        connect_now(p);
}
