/* The way to the function: a connection of its own for each request, kept alive by the backend in
 * between; or, for a function that speaks HTTP/2, a stream of the one connection to its instance. */
#include "gateway/client.h"
#include "gateway/mux.h"
#include "gateway/pipe.h"

#include <stdlib.h>
#include <unistd.h>

/* A connection to an instance, by descriptor. Stays registered with the loop while the backend has it. */
struct link {
    struct loop_io io;
    struct client *user; /* NULL: the backend has it */
    struct ingress *ingress;
    bool spoiled; /* it ended, or spoke, while nobody used it */
};

/* ---- a connection ------------------------------------------------------------------------- */

static void on_ready(struct loop_io *io, uint32_t events)
{
    struct link *k = CONTAINER_OF(io, struct link, io);
    if (k->user) {
        channel_note(&k->user->up, events);
        client_step(k->user);
    } else if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        k->spoiled = true;
    }
}

static struct link *link_at(struct ingress *in, int fd)
{
    uint32_t index = (uint32_t)fd;
    if (index >= in->link_count) {
        uint32_t count = MAX(index + 1, in->link_count ? in->link_count * 2 : 64);
        in->links = xrealloc(in->links, count, sizeof(struct link *));
        memset(in->links + in->link_count, 0, (count - in->link_count) * sizeof(struct link *));
        in->link_count = count;
    }
    if (!in->links[index]) {
        struct link *k = xcalloc(1, sizeof *k);
        k->io.on_ready = on_ready;
        k->ingress = in;
        in->links[index] = k;
    }
    return in->links[index];
}

static enum link_taken connection_take(struct client *c, const struct lease *lease, struct err *e)
{
    struct ingress *in = c->ingress;
    struct link *k = link_at(in, lease->fd);
    ASSERT(!k->user);
    /* A new connection with an old one's number: the old one was closed by the backend. */
    if (!lease->fd_reused)
        loop_forget(in->loop, &k->io);
    if (!loop_watched(&k->io)) {
        k->spoiled = false;
        if (loop_watch(in->loop, &k->io, lease->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, e) <
            0) {
            (void)close(lease->fd);
            return LINK_FAILED;
        }
    }
    if (k->spoiled) {
        loop_unwatch(in->loop, &k->io);
        (void)close(lease->fd);
        in->counters.resent++;
        return LINK_STALE;
    }
    k->user = c;
    c->x.link = k;
    channel_rewind(&c->up);
    channel_attach(&c->up, lease->fd);
    c->up.keep = !c->x.resent;
    return LINK_READY;
}

/* ---- a stream ----------------------------------------------------------------------------- */

static void on_news(struct channel *ch) { client_step(CONTAINER_OF(ch, struct client, up)); }

static enum link_taken stream_take(struct client *c, const struct lease *lease, struct err *e)
{
    struct ingress *in = c->ingress;
    struct mux *m = mux_find(in, lease->instance_id);
    if (m && lease->fd >= 0)
        (void)close(lease->fd); /* somebody was faster; one connection does for all */
    else if (lease->fd >= 0 && !(m = mux_open_function(in, lease->fd, lease->instance_id, e)))
        return LINK_FAILED;
    if (!m)
        return LINK_STALE;
    channel_rewind(&c->up);
    pipe_attach_client(&c->up, m, on_news);
    c->up.keep = !c->x.resent;
    return LINK_READY;
}

/* ---- both --------------------------------------------------------------------------------- */

enum link_taken link_take(struct client *c, const struct lease *lease, struct err *e)
{
    c->x.links++;
    return c->x.policy.h2c ? stream_take(c, lease, e) : connection_take(c, lease, e);
}

bool link_may_resend(const struct client *c)
{
    if (c->x.answer_begun || !c->up.keep)
        return false;
    if (!channel_is_stream(&c->up))
        return true; /* stream.c keeps only what may be sent again */
    return pipe_refused(c->up.pipe) || exchange_may_repeat(c);
}

int link_drop(struct client *c, bool keep)
{
    struct link *k = TAKE(c->x.link);
    if (!k) {
        channel_close(&c->up, !c->x.answer_done);
        return -1;
    }
    k->user = NULL;
    if (keep)
        return channel_give(&c->up);
    loop_unwatch(c->ingress->loop, &k->io);
    channel_close(&c->up, false);
    return -1;
}

void links_free(struct ingress *in)
{
    for (uint32_t i = 0; i < in->link_count; i++) {
        if (in->links[i])
            loop_forget(in->loop, &in->links[i]->io); /* the backend's to close, or closed */
        free(in->links[i]);
    }
    free(in->links);
}
