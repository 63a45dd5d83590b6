/* grpc_echo -- net/grpc_server by itself, for test_grpc_server.py. Listens on a port of its own and says which ("port 40000");
 * /t.T/Echo answers the same, /t.T/Large a message of as many bytes as the request says, /t.T/Hold waits, /t.T/Refuse
 * refuses; each event is a line. SIGTERM: stops when all is answered; those that wait get "shut". */
#include "net/grpc_server.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HELD_MAX = 2000 };

struct echo {
    struct loop *loop;
    struct grpc_server *server;
    struct loop_io signals;
    struct grpc_server_call *held[HELD_MAX];
    size_t held_count;
};

static void on_call(void *ctx, struct grpc_server_call *c)
{
    struct echo *x = ctx;
    struct str path = grpc_server_call_path(c), message = grpc_server_call_message(c);
    struct str who = grpc_server_call_field(c, "client-name");
    uint64_t size = 0;
    if (str_is(path, "/t.T/Hold")) {
        ASSERT(x->held_count < HELD_MAX);
        bool timed = grpc_server_call_deadline_us(c) != UINT64_MAX;
        x->held[x->held_count++] = c;
        printf("held %zu %s " STR_FMT "\n", x->held_count, timed ? "timed" : "untimed", STR_ARG(who.at ? who : STR("-")));
    } else if (str_is(path, "/t.T/Refuse")) {
        grpc_server_refuse(c, CODE_NOT_FOUND, "no such thing: 100% gr\xc3\xbc\xc3\x9f", message);
    } else if (str_is(path, "/t.T/Large") && str_u64(message, &size) && size <= 64 << 20) {
        AUTO_FREE char *text = xcalloc(1, size + 1);
        memset(text, 'x', size);
        grpc_server_reply(c, (struct str){ text, size });
    } else if (str_is(path, "/t.T/Echo")) {
        grpc_server_reply(c, message);
    } else {
        grpc_server_refuse(c, CODE_UNIMPLEMENTED, "unknown method", STR(""));
    }
}

static void on_cancel(void *ctx, struct grpc_server_call *c)
{
    struct echo *x = ctx;
    size_t i = 0;
    while (x->held[i] != c)
        i++;
    x->held[i] = x->held[--x->held_count];
    printf("cancelled, %zu left\n", x->held_count);
}

static void on_limit(void *ctx, const char *limit)
{
    (void)ctx;
    printf("limit %s\n", limit);
}

static void on_quiet(void *ctx)
{
    struct echo *x = ctx;
    loop_stop(x->loop);
}

static void on_signal(struct loop_io *io, uint32_t events)
{
    struct echo *x = CONTAINER_OF(io, struct echo, signals);
    (void)events;
    loop_unwatch(x->loop, io);
    grpc_server_shut(x->server);
    while (x->held_count > 0)
        grpc_server_reply(x->held[--x->held_count], STR("shut"));
}

static int listen_local(uint16_t *ret_port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr *at = (struct sockaddr *)(void *)&a;
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(fd >= 0 && bind(fd, at, size) == 0 && listen(fd, 128) == 0 && getsockname(fd, at, &size) == 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

int main(void)
{
    static const struct grpc_server_ops ops = { on_call, on_cancel, on_limit, on_quiet };
    struct echo x = { 0 };
    struct grpc_listener *l;
    struct limits limits;
    struct err e;
    uint16_t port;
    sigset_t mask;
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    limits_default(&limits);
    int fd = listen_local(&port), signals = -1;
    if (sigprocmask(SIG_BLOCK, &mask, NULL) == 0)
        signals = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    x.signals.on_ready = on_signal;
    ASSERT(signals >= 0 && loop_open(&x.loop, &e) == 0);
    x.server = grpc_server_new(x.loop, &limits, &ops, &x);
    if (grpc_server_listen(x.server, fd, NULL, &l, &e) < 0 || loop_watch(x.loop, &x.signals, signals, EPOLLIN, &e) < 0)
        return 1;
    printf("port %u\n", port);
    int r = loop_run(x.loop, &e);
    grpc_server_free(x.server);
    loop_free(x.loop);
    close(fd);
    close(signals);
    printf("stopped\n");
    return r < 0;
}
