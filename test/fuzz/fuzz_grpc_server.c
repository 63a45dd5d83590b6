/* A client that says anything, in pieces, over a real pair of sockets. Whatever it says: calls that are given out are answered or
 * cancelled, each once; no more is held than the bounds allow; and nothing is left over.
 *
 * Input: one byte of options (1: calls are kept and answered later; 2: refused; 4: time passes between pieces), one of
 * how finely the bytes are cut, then the client's bytes, behind a greeting. */
#include "net/grpc_server.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

enum { INPUT_MAX = 8192, OPTION_KEEP = 1, OPTION_REFUSE = 2, OPTION_TIME = 4, KEPT_MAX = 64, HELD_BYTES_MAX = 1 << 20 };

struct world {
    struct loop_world w;
    uint64_t now_us;
    uint32_t slots[64];
    struct grpc_server_call *kept[KEPT_MAX];
    size_t kept_count;
    uint64_t called, ended;
    uint8_t options;
};

static uint64_t now_us(struct loop_world *w) { return CONTAINER_OF(w, struct world, w)->now_us; }

static int control(struct loop_world *w, int op, int fd, uint32_t events, uint32_t slot, struct err *e)
{
    struct world *x = CONTAINER_OF(w, struct world, w);
    (void)events, (void)e;
    ASSERT(fd >= 0 && fd < (int)COUNT_OF(x->slots));
    x->slots[fd] = op == EPOLL_CTL_DEL ? 0 : slot;
    return 0;
}

/* Everything that is watched is ready, always. */
static int wait(struct loop_world *w, uint64_t due_us, struct loop_event *into, int max, struct err *e)
{
    struct world *x = CONTAINER_OF(w, struct world, w);
    int n = 0;
    (void)due_us, (void)e;
    for (size_t i = 0; i < COUNT_OF(x->slots) && n < max; i++)
        if (x->slots[i])
            into[n++] = (struct loop_event){ x->slots[i], EPOLLIN | EPOLLOUT };
    return n;
}

static void world_free(struct loop_world *w) { (void)w; }

static void on_call(void *ctx, struct grpc_server_call *c)
{
    struct world *x = ctx;
    struct str path = grpc_server_call_path(c), message = grpc_server_call_message(c);
    /* every byte can be read */
    ASSERT(message.size == 0 || memchr(message.at, message.at[message.size - 1], message.size));
    ASSERT(path.size > 0 && grpc_server_call_field(c, "content-type").size >= 16);
    x->called++;
    if ((x->options & OPTION_KEEP) && x->kept_count < KEPT_MAX) {
        x->kept[x->kept_count++] = c;
        return;
    }
    x->ended++;
    if (x->options & OPTION_REFUSE)
        grpc_server_refuse(c, CODE_INVALID, "no\n", message);
    else
        grpc_server_reply(c, message);
}

static void on_cancel(void *ctx, struct grpc_server_call *c)
{
    struct world *x = ctx;
    size_t i = 0;
    while (i < x->kept_count && x->kept[i] != c)
        i++;
    ASSERT(i < x->kept_count); /* it is known, and has not ended before */
    x->kept[i] = x->kept[--x->kept_count];
    x->ended++;
}

static void turn(struct world *x, struct loop *l, struct grpc_server *s, int fd)
{
    char sink[4096];
    struct err e;
    ASSERT(loop_turn(l, false, &e) >= 0 && loop_turn(l, false, &e) >= 0);
    grpc_server_check(s);
    ASSERT(grpc_server_counts(s).held_bytes <= HELD_BYTES_MAX + (512 << 10));
    while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
        ;
    x->now_us += x->options & OPTION_TIME ? 7000000 : 1000;
}

static void play(struct world *x, struct loop *l, struct grpc_server *s, int fd, struct str bytes, size_t step)
{
    static const char greeting[] = HTTP2_PREFACE "\0\0\0\4\0\0\0\0";
    (void)!send(fd, greeting, sizeof greeting, MSG_NOSIGNAL | MSG_DONTWAIT);
    for (size_t i = 0; i < bytes.size; i += step) {
        (void)!send(fd, bytes.at + i, MIN(step, bytes.size - i), MSG_NOSIGNAL | MSG_DONTWAIT);
        turn(x, l, s, fd);
        if (x->kept_count > 8) {
            x->ended++;
            grpc_server_reply(x->kept[--x->kept_count], STR("later"));
        }
    }
    turn(x, l, s, fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    static const struct grpc_server_ops ops = { .on_call = on_call, .on_cancel = on_cancel };
    struct world x = { .w = { now_us, control, wait, world_free }, .now_us = 1000000 };
    struct limits limits;
    struct loop *l;
    struct err e;
    int ends[2];
    if (size < 2 || size > INPUT_MAX || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        return 0;
    limits_default(&limits);
    limits.grpc_message_bytes_max = 65536;
    limits.grpc_held_bytes_max = HELD_BYTES_MAX;
    x.options = in[0];
    ASSERT(loop_open_in(&x.w, &l, &e) == 0);
    struct grpc_server *s = grpc_server_new(l, &limits, &ops, &x);
    ASSERT(grpc_server_adopt(s, ends[1], true, &x, &e) == 0);
    play(&x, l, s, ends[0], (struct str){ (const char *)in + 2, size - 2 }, (size_t)(in[1] ? in[1] : 4096));
    grpc_server_free(s);
    ASSERT(x.called == x.ended && x.kept_count == 0);
    loop_free(l);
    close(ends[0]);
    return 0;
}
