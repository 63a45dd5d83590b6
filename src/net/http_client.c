#include "net/http_client.h"
#include "net/http1_body.h"
#include "net/http1_write.h"
#include "os/fault.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    READ_BYTES = 16384,
    HOST_TEXT_MAX = 256,
    INTERIM_MAX = 8, /* 1xx heads before the answer */
};

/* ---- connecting --------------------------------------------------------------------------- */

/* "host:port" or "[v6]:port"; the brackets go. */
static int address_split(const char *address, char *host, char *port, struct err *e)
{
    const char *colon = strrchr(address, ':');
    size_t size = colon ? (size_t)(colon - address) : 0;
    if (size == 0 || colon[1] == '\0' || strlen(colon + 1) > 5 || size >= HOST_TEXT_MAX)
        return err_set(e, CODE_INVALID, "address '%s': not host:port or unix:/path", address);
    bool literal = address[0] == '[' && address[size - 1] == ']';
    (void)snprintf(host, HOST_TEXT_MAX, "%.*s", (int)(literal ? size - 2 : size),
                   literal ? address + 1 : address);
    (void)snprintf(port, 6, "%s", colon + 1);
    return 0;
}

static int wait_for(int fd, short events, uint32_t timeout_ms, const char *what, struct err *e)
{
    struct pollfd p = { .fd = fd, .events = events };
    int n;
    do
        n = fault_hit("poll") ? -1 : poll(&p, 1, timeout_ms == 0 ? -1 : (int)timeout_ms);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_sys(e, "%s", what);
    return n > 0 ? 0 : err_set(e, CODE_DEADLINE, "%s: nothing for %u ms", what, timeout_ms);
}

static int connect_one(int family, const struct sockaddr *to, socklen_t size, uint32_t timeout_ms,
                       int *ret_fd, struct err *e)
{
    AUTO_CLOSE int fd =
        fault_hit("socket") ? -1 : socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(e, "socket");
    if (connect(fd, to, size) < 0) {
        int failed = errno;
        socklen_t failed_size = sizeof failed;
        if (failed == EINPROGRESS || failed == EAGAIN) {
            int r = wait_for(fd, POLLOUT, timeout_ms, "connect", e);
            if (r < 0)
                return r;
            if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &failed_size) < 0)
                failed = errno;
        }
        errno = failed;
        if (failed != 0)
            return err_sys(e, "connect");
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int connect_unix(const char *path, uint32_t timeout_ms, int *ret_fd, struct err *e)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof to.sun_path)
        return err_set(e, CODE_INVALID, "path is longer than a socket's may be");
    memcpy(to.sun_path, path, strlen(path) + 1);
    return connect_one(AF_UNIX, (const struct sockaddr *)(const void *)&to, sizeof to, timeout_ms,
                       ret_fd, e);
}

static int connect_tcp(const char *address, uint32_t timeout_ms, int *ret_fd, struct err *e)
{
    char host[HOST_TEXT_MAX], port[6];
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *all = NULL;
    int r = address_split(address, host, port, e);
    if (r < 0)
        return r;
    int failed = getaddrinfo(host, port, &hints, &all);
    if (failed != 0)
        return err_set(e, CODE_UNAVAILABLE, "%s", gai_strerror(failed));
    r = err_set(e, CODE_UNAVAILABLE, "no address");
    for (const struct addrinfo *a = all; a && r < 0; a = a->ai_next)
        r = connect_one(a->ai_family, a->ai_addr, a->ai_addrlen, timeout_ms, ret_fd, e);
    freeaddrinfo(all);
    return r;
}

static int connect_to(const struct http_client_call *c, int *ret_fd, struct err *e)
{
    bool local = strncmp(c->address, "unix:", 5) == 0;
    int r = local ? connect_unix(c->address + 5, c->timeout_ms, ret_fd, e)
                  : connect_tcp(c->address, c->timeout_ms, ret_fd, e);
    if (r == 0)
        return 0;
    if (e->sys_errno == ECONNREFUSED || e->sys_errno == ENOENT) {
        e->code = CODE_UNAVAILABLE;
        return err_wrap(e, "%s: no hob answers there (start one with 'hob serve')", c->address);
    }
    return err_wrap(e, "%s", c->address);
}

/* ---- one exchange ------------------------------------------------------------------------- */

struct exchange {
    const struct http_client_call *call;
    struct http_client_answer *answer;
    int fd;
    bool ended; /* the server closed its side */
    struct limits limits;
    struct http1_head head;
    struct http1_body body;
    struct buf in;
};

static void exchange_auto(struct exchange *x)
{
    fd_auto(&x->fd);
    http1_head_done(&x->head);
    http1_body_done(&x->body);
    buf_done(&x->in);
}

static int not_http(struct err *e, const struct http_client_call *c, const char *why)
{
    return err_set(e, CODE_INTERNAL, "%s: answer is not HTTP: %s", c->address, why);
}

static int request_send(struct exchange *x, struct err *e)
{
    const struct http_client_call *c = x->call;
    struct buf out;
    buf_init(&out, c->body.size + KIB(256));
    http1_write_request(&out, str_of(c->method), str_of(c->target));
    http1_write_field(&out, STR("Host"),
                      str_of(c->host                                ? c->host
                             : strncmp(c->address, "unix:", 5) == 0 ? "localhost"
                                                                    : c->address));
    http1_write_field(&out, STR("Connection"), STR("close"));
    if (c->headers)
        buf_text(&out, c->headers);
    if (c->token)
        buf_printf(&out, "Authorization: Bearer %s\r\n", c->token);
    if (c->body.at)
        http1_write_framing(&out, HTTP1_BODY_LENGTH, c->body.size);
    http1_write_end(&out);
    buf_str_append(&out, c->body);

    int r = out.overflow ? err_set(e, CODE_INVALID, "request head is too large") : 0;
    while (r == 0 && out.size > 0) {
        ssize_t n = fault_hit("send") ? -1 : send(x->fd, buf_at(&out), out.size, MSG_NOSIGNAL);
        if (n >= 0)
            buf_consume(&out, (size_t)n);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            r = wait_for(x->fd, POLLOUT, c->timeout_ms, "send", e);
        else if (errno == EPIPE || errno == ECONNRESET)
            break; /* it may have answered before it took all: 413, for instance */
        else if (errno != EINTR)
            r = err_sys(e, "send");
    }
    buf_done(&out);
    return r < 0 ? err_wrap(e, "%s", c->address) : 0;
}

static int more(struct exchange *x, struct err *e)
{
    for (;;) {
        size_t room;
        char *at = buf_reserve(&x->in, READ_BYTES, &room);
        ASSERT(room > 0);
        ssize_t n = fault_hit("recv") ? -1 : recv(x->fd, at, room, 0);
        if (n > 0)
            buf_commit(&x->in, (size_t)n);
        x->ended = n == 0;
        if (n >= 0)
            return 0;
        int r = 0;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            r = wait_for(x->fd, POLLIN, x->call->timeout_ms, "waiting for the answer", e);
        else if (errno != EINTR)
            r = err_sys(e, "receive");
        if (r < 0)
            return err_wrap(e, "%s", x->call->address);
    }
}

/* Reads heads up to the final one. */
static int head_receive(struct exchange *x, struct err *e)
{
    int interims = 0;
    for (;;) {
        enum http1_result r = http1_head_feed(&x->head, buf_at(&x->in), x->in.size);
        if (r == HTTP1_BAD)
            return not_http(e, x->call, x->head.refusal.text);
        if (r == HTTP1_DONE && !x->head.interim)
            return 0;
        if (r == HTTP1_DONE) {
            if (++interims > INTERIM_MAX)
                return not_http(e, x->call, "too many interim answers");
            buf_consume(&x->in, x->head.size);
            http1_head_reset(&x->head);
            http1_head_answers(&x->head, http_method_find(str_of(x->call->method)));
            if (x->in.size > 0)
                continue;
        }
        if (x->ended)
            return not_http(e, x->call, "the connection ended inside the head");
        int failed = more(x, e);
        if (failed < 0)
            return failed;
    }
}

static int give(struct exchange *x, struct str data, struct err *e)
{
    if (data.size == 0)
        return 0;
    bool collected = x->call->collect_refusals && x->answer->status >= 400;
    if (x->call->on_body && !collected) {
        int r = x->call->on_body(x->call->ctx, data);
        return r < 0 ? err_set(e, (enum code) - r, "stopped by the reader of the answer") : 0;
    }
    buf_str_append(&x->answer->body, data);
    return x->answer->body.overflow
               ? err_set(e, CODE_EXHAUSTED, "%s: answer is larger than %zu bytes", x->call->address,
                         x->call->body_bytes_max)
               : 0;
}

static int body_receive(struct exchange *x, struct err *e)
{
    http1_body_init(&x->body, &x->head);
    for (;;) {
        struct str data;
        size_t used;
        enum http1_result result =
            http1_body_feed(&x->body, buf_at(&x->in), x->in.size, &used, &data);
        int r = give(x, data, e);
        buf_consume(&x->in, used);
        if (r < 0 || result == HTTP1_DONE)
            return r;
        if (result == HTTP1_MORE && x->ended)
            result = http1_body_ended(&x->body);
        if (result == HTTP1_BAD)
            return not_http(e, x->call, x->body.refusal.text);
        if (result == HTTP1_DONE)
            return 0;
        if (x->in.size == 0 && (r = more(x, e)) < 0)
            return r;
    }
}

int http_client_do(const struct http_client_call *c, struct http_client_answer *ret, struct err *e)
{
    AUTO(exchange) struct exchange x = { .call = c, .answer = ret, .fd = -1 };

    *ret = (struct http_client_answer){ 0 };
    limits_default(&x.limits);
    buf_init(&x.in, x.limits.http_head_bytes_max + READ_BYTES);
    buf_init(&ret->head, x.limits.http_head_bytes_max);
    buf_init(&ret->body, c->body_bytes_max > 0 ? c->body_bytes_max : 1);
    http1_head_init(&x.head, HTTP1_RESPONSE, &x.limits);
    http1_head_answers(&x.head, http_method_find(str_of(c->method)));
    http1_body_init(&x.body, &x.head);

    int r = connect_to(c, &x.fd, e);
    if (r == 0)
        r = request_send(&x, e);
    if (r == 0)
        r = head_receive(&x, e);
    if (r == 0) {
        ret->status = x.head.status;
        buf_append(&ret->head, buf_at(&x.in), x.head.size);
        buf_consume(&x.in, x.head.size);
        r = body_receive(&x, e);
    }
    if (r < 0)
        http_client_answer_done(ret);
    return r;
}

void http_client_answer_done(struct http_client_answer *a)
{
    buf_done(&a->head);
    buf_done(&a->body);
}

struct str http_client_header(const struct http_client_answer *a, const char *name)
{
    struct str rest = buf_str(&a->head);
    (void)str_cut(&rest, '\n'); /* the status line */
    while (rest.size > 0) {
        struct str line = str_cut(&rest, '\n');
        struct http_field f;
        const char *why;
        if (line.size > 1 && http1_field_line(str_head(line, line.size - 1), &f, &why) &&
            str_eq_nocase(f.name, str_of(name)))
            return f.value;
    }
    return (struct str){ NULL, 0 };
}
