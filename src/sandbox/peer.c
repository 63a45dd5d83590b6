#include "sandbox/peer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct waiting {
    struct list_node node;
    struct fd_packet packet; /* packet.at points behind this struct */
};

struct peer {
    struct loop *loop;
    struct loop_io io;
    struct loop_task gone_task;
    int sock;
    struct list waiting;
    size_t packet_max, waiting_max;
    char *room; /* for the packet that is read */
    const struct peer_events *events;
    void *ctx;
    bool gone;
    struct err why;
    bool *freed; /* set while on_packet runs: peer_free() inside it */
};

static void waiting_drop(struct peer *k, struct waiting *w)
{
    list_remove(&k->waiting, &w->node);
    fd_packet_close(&w->packet);
    free(w);
}

/* The callback may free us: it is always the last thing done. */
static void on_gone_task(struct loop_task *t)
{
    struct peer *k = CONTAINER_OF(t, struct peer, gone_task);
    k->events->on_gone(k->ctx, &k->why);
}

static void peer_end(struct peer *k, const struct err *why)
{
    if (k->gone)
        return;
    k->gone = true;
    k->why = *why;
    loop_unwatch(k->loop, &k->io);
    loop_defer(k->loop, &k->gone_task);
}

static void flush(struct peer *k)
{
    struct err e = { 0 };
    LIST_EACH (&k->waiting, n, tmp) {
        struct waiting *w = CONTAINER_OF(n, struct waiting, node);
        int r = fd_packet_send(k->sock, &w->packet, &e);
        if (r < 0)
            peer_end(k, &e);
        if (r != 0)
            return;
        waiting_drop(k, w);
    }
    loop_rewatch(k->loop, &k->io, EPOLLIN);
}

/* One packet. False: nothing more to read now, or k is gone. */
static bool packet_take(struct peer *k)
{
    struct fd_packet p = { .at = k->room, .size = k->packet_max };
    struct err e = { 0 };
    bool freed = false;
    int r = fd_packet_recv(k->sock, &p, &e);
    if (r == 2)
        return false;
    if (r <= 0) {
        peer_end(k, &e);
        return false;
    }
    k->freed = &freed;
    r = k->events->on_packet(k->ctx, &p, &e);
    fd_packet_close(&p);
    if (freed)
        return false;
    k->freed = NULL;
    if (r < 0)
        peer_end(k, &e);
    return !k->gone;
}

static void on_ready(struct loop_io *io, uint32_t events)
{
    struct peer *k = CONTAINER_OF(io, struct peer, io);
    if (events & EPOLLOUT)
        flush(k);
    if (k->gone || !(events & ~(uint32_t)EPOLLOUT))
        return;
    for (int i = 0; i < 64 && packet_take(k); i++) /* bounds one turn */
        ;
}

int peer_open(struct loop *l, int take_sock, size_t packet_max, size_t waiting_max,
              const struct peer_events *events, void *ctx, struct peer **ret, struct err *e)
{
    AUTO(peer) struct peer *k = xcalloc(1, sizeof *k);
    k->loop = l;
    k->sock = take_sock;
    k->packet_max = packet_max;
    k->waiting_max = waiting_max;
    k->events = events;
    k->ctx = ctx;
    k->io.on_ready = on_ready;
    k->gone_task.run = on_gone_task;
    k->room = xcalloc(1, packet_max);
    list_init(&k->waiting);
    int r = fd_nonblock(take_sock, e);
    if (r == 0)
        r = loop_watch(l, &k->io, take_sock, EPOLLIN, e);
    if (r < 0)
        return r;
    *ret = TAKE(k);
    return 0;
}

void peer_free(struct peer *k)
{
    if (!k)
        return;
    if (k->freed)
        *k->freed = true;
    LIST_EACH (&k->waiting, n, tmp)
        waiting_drop(k, CONTAINER_OF(n, struct waiting, node));
    loop_unwatch(k->loop, &k->io);
    loop_undefer(k->loop, &k->gone_task);
    close(k->sock);
    free(k->room);
    free(k);
}

static int queue(struct peer *k, struct fd_packet *p, struct err *e)
{
    if (k->waiting.count >= k->waiting_max) {
        fd_packet_close(p);
        err_set(e, CODE_EXHAUSTED, "peer: %zu packets wait, the other end does not read",
                k->waiting_max);
        peer_end(k, e);
        return -CODE_EXHAUSTED;
    }
    struct waiting *w = xcalloc(1, sizeof *w + p->size);
    w->packet = *p;
    w->packet.at = w + 1;
    memcpy(w + 1, p->at, p->size);
    list_push(&k->waiting, &w->node);
    loop_rewatch(k->loop, &k->io, EPOLLIN | EPOLLOUT);
    return 0;
}

int peer_send(struct peer *k, const void *data, size_t size, int *take_fds, size_t fd_count,
              struct err *e)
{
    struct fd_packet p = { .size = size, .fd_count = fd_count };
    p.at = (void *)(uintptr_t)data; /* only read */
    ASSERT(fd_count <= FD_PACKET_MAX);
    for (size_t i = 0; i < fd_count; i++)
        p.fds[i] = TAKE_FD(take_fds[i]);
    if (k->gone) {
        fd_packet_close(&p);
        return err_set(e, CODE_UNAVAILABLE, "peer: gone");
    }
    int r = k->waiting.count > 0 ? 1 : fd_packet_send(k->sock, &p, e);
    if (r == 1)
        return queue(k, &p, e);
    fd_packet_close(&p);
    if (r < 0)
        peer_end(k, e);
    return r;
}
