#include "artifact/fetcher_link.h"
#include "artifact/fetcher_wire.h"
#include "base/buf.h"
#include "os/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PIPE_BYTES = 1 << 20, /* as much as an unprivileged process may ask for: long reads, few wake-ups */
    MESSAGES_PER_TURN = 64,
};

struct fetcher_link {
    struct artifact_transport transport;
    const struct limits *limits;
    fetcher_open_local *open_local;
    void *open_ctx;
    struct loop *loop;
    struct loop_io io;
    int fd; /* -1: no fetcher */
    uint64_t id_next;
    struct list transfers;
};
struct transfer {
    struct list_node node;
    struct transfer_request q; /* url and etag are not kept */
    uint64_t id;
    bool head_came;
};

static void transfer_over(struct fetcher_link *k, struct transfer *x, const struct err *why)
{
    struct transfer_request q = x->q;
    list_remove(&k->transfers, &x->node);
    free(x);
    q.on_end(q.ctx, why ? -(int)why->code : 0, why);
}

static void socket_close(struct fetcher_link *k)
{
    loop_unwatch(k->loop, &k->io);
    fd_auto(&k->fd);
}

/* Those that run now; what their owners start meanwhile is refused, or belongs to the next fetcher. */
static void transfers_fail(struct fetcher_link *k, uint64_t id_end, const struct err *why)
{
    struct list_node *n;
    while ((n = list_first(&k->transfers)) != NULL &&
           CONTAINER_OF(n, struct transfer, node)->id < id_end)
        transfer_over(k, CONTAINER_OF(n, struct transfer, node), why);
}

static void lost(struct fetcher_link *k, const struct err *why)
{
    socket_close(k);
    transfers_fail(k, k->id_next, why);
}

static struct transfer *transfer_find(const struct fetcher_link *k, uint64_t id)
{
    LIST_EACH(&k->transfers, node, next)
        if (CONTAINER_OF(node, struct transfer, node)->id == id)
            return CONTAINER_OF(node, struct transfer, node);
    return NULL;
}

static void on_head(struct transfer *x, const struct wire_message *m)
{
    struct transfer_head h = { .status = (int)m->status, .size = m->size, .from = m->from,
                               .retry_after_ms = m->retry_after_ms };
    _Static_assert(sizeof h.etag == sizeof m->etag, "an etag is copied whole");
    memcpy(h.etag, m->etag, sizeof h.etag);
    x->head_came = true;
    x->q.on_head(x->q.ctx, &h);
}

static int message_take(struct fetcher_link *k, const struct wire_message *m, size_t size, struct err *e)
{
    int r = wire_check(m, size, false, e);
    if (r < 0)
        return r;
    struct transfer *x = transfer_find(k, m->id);
    if (!x)
        return 0; /* cancelled while this was under way */
    if (m->kind == WIRE_HEAD && x->head_came)
        return err_set(e, CODE_INTERNAL, "fetcher socket: two heads for one transfer");
    if (m->kind == WIRE_HEAD) {
        on_head(x, m);
        return 0;
    }
    struct err why = { .code = (enum code)m->code };
    snprintf(why.text, sizeof why.text, "%s", m->text);
    transfer_over(k, x, m->code == CODE_OK ? NULL : &why);
    return 0;
}

static void on_ready(struct loop_io *io, uint32_t events)
{
    struct fetcher_link *k = CONTAINER_OF(io, struct fetcher_link, io);
    struct wire_message m;
    struct err e;
    (void)events;
    for (int i = 0; i < MESSAGES_PER_TURN && k->fd >= 0; i++) {
        struct fd_packet p = { .at = &m, .size = sizeof m };
        int r = fd_packet_recv(k->fd, &p, &e);
        if (r == 2)
            return;
        bool bare = r != 1 || p.fd_count == 0;
        if (r == 1)
            fd_packet_close(&p); /* it has nothing to give us */
        if (r == 0)
            r = err_set(&e, CODE_UNAVAILABLE, "the fetcher ended");
        else if (!bare)
            r = err_set(&e, CODE_INTERNAL, "fetcher socket: a descriptor that was not asked for");
        else if (r == 1)
            r = message_take(k, &m, p.size, &e);
        if (r < 0) {
            e.code = CODE_UNAVAILABLE; /* another fetcher may do better */
            lost(k, &e);
        }
    }
}

void fetcher_link_free(struct fetcher_link *k)
{
    if (!k)
        return;
    for (struct list_node *n; (n = list_first(&k->transfers)) != NULL;) {
        list_remove(&k->transfers, n);
        free(CONTAINER_OF(n, struct transfer, node));
    }
    socket_close(k);
    free(k);
}

void fetcher_link_attach(struct fetcher_link *k, int take_fd)
{
    struct err e, gone;
    uint64_t id_end = k->id_next;
    socket_close(k);
    if (fd_nonblock(take_fd, &e) < 0 || loop_watch(k->loop, &k->io, take_fd, EPOLLIN, &e) < 0)
        (void)close(take_fd);
    else
        k->fd = take_fd;
    err_set(&gone, CODE_UNAVAILABLE, "the fetcher was started again");
    transfers_fail(k, id_end, &gone);
}

bool fetcher_link_up(const struct fetcher_link *k) { return k->fd >= 0; }

/* The reading end stays blocking: it is read by a helper thread. */
static int pipe_make(int *ret_read, int *ret_write, struct err *e)
{
    int r = fd_pipe(ret_read, ret_write, e);
    if (r < 0)
        return r;
    (void)fcntl(*ret_write, F_SETPIPE_SZ, PIPE_BYTES); /* less is only slower */
    return fd_nonblock(*ret_write, e);
}

static struct transfer *start(struct artifact_transport *t, const struct transfer_request *q,
                              struct err *e)
{
    struct fetcher_link *k = CONTAINER_OF(t, struct fetcher_link, transport);
    AUTO_CLOSE int read_fd = -1, write_fd = -1;
    struct wire_message m = { .kind = WIRE_START, .id = k->id_next, .from = (int64_t)q->from };
    if (k->fd < 0) {
        err_set(e, CODE_UNAVAILABLE, "no fetcher runs at the moment");
        return NULL;
    }
    if (k->transfers.count >= k->limits->fetch_concurrent_max * 2) {
        err_set(e, CODE_UNAVAILABLE, "%u downloads run already (limit fetch_concurrent_max)",
                k->transfers.count);
        return NULL;
    }
    if (strlen(q->url) >= sizeof m.text || (q->etag && strlen(q->etag) >= sizeof m.etag)) {
        err_set(e, CODE_INVALID, "url or validator is too long for the fetcher");
        return NULL;
    }
    snprintf(m.text, sizeof m.text, "%s", q->url);
    snprintf(m.etag, sizeof m.etag, "%s", q->etag ? q->etag : "");
    if (pipe_make(&read_fd, &write_fd, e) < 0)
        return NULL;
    const struct fd_packet p = { .at = &m, .size = sizeof m, .fds = { write_fd }, .fd_count = 1 };
    int r = fd_packet_send(k->fd, &p, e);
    if (r == 1)
        r = err_set(e, CODE_UNAVAILABLE, "the fetcher does not keep up");
    if (r < 0)
        return NULL;
    struct transfer *x = xcalloc(1, sizeof *x);
    x->q = *q;
    x->q.url = x->q.etag = NULL;
    x->id = k->id_next++;
    list_push(&k->transfers, &x->node);
    *q->ret_pipe_fd = TAKE_FD(read_fd);
    return x;
}

/* `m` without its id; a memfd of `bytes` goes with it. */
static int memory_send(struct fetcher_link *k, struct wire_message *m, struct str bytes, const struct transfer_request *q,
                       struct err *e)
{
    m->id = k->id_next;
    if (k->fd < 0)
        return err_set(e, CODE_UNAVAILABLE, "no fetcher runs at the moment");
    AUTO_CLOSE int body_fd = fd_memory("post", bytes.at, bytes.size, e);
    if (body_fd < 0)
        return body_fd;
    const struct fd_packet p = { .at = m, .size = sizeof *m, .fds = { body_fd }, .fd_count = 1 };
    int r = fd_packet_send(k->fd, &p, e);
    if (r == 1)
        r = err_set(e, CODE_UNAVAILABLE, "the fetcher does not keep up");
    if (r < 0)
        return r;
    struct transfer *x = xcalloc(1, sizeof *x);
    x->q = *q;
    x->q.url = x->q.etag = NULL;
    x->id = k->id_next++;
    list_push(&k->transfers, &x->node);
    return 0;
}

int fetcher_link_post(struct fetcher_link *k, struct str body, const struct transfer_request *q, struct err *e)
{
    struct wire_message m = { .kind = WIRE_POST };
    return memory_send(k, &m, body, q, e);
}

int fetcher_link_call(struct fetcher_link *k, const char *url, struct str headers, struct str body,
                      const struct transfer_request *q, struct err *e)
{
    struct wire_message m = { .kind = WIRE_CALL, .from = (int64_t)headers.size };
    struct buf all;
    if (strlen(url) >= sizeof m.text)
        return err_set(e, CODE_INVALID, "the address is longer than the fetcher is told (%zu bytes)", sizeof m.text - 1);
    snprintf(m.text, sizeof m.text, "%s", url);
    buf_init(&all, headers.size + body.size);
    buf_str_append(&all, headers);
    buf_str_append(&all, body);
    int r = memory_send(k, &m, buf_str(&all), q, e);
    buf_done(&all);
    return r;
}

static void cancel(struct artifact_transport *t, struct transfer *x)
{
    struct fetcher_link *k = CONTAINER_OF(t, struct fetcher_link, transport);
    struct wire_message m = { .kind = WIRE_CANCEL, .id = x->id };
    struct err ignored;
    list_remove(&k->transfers, &x->node);
    free(x);
    /* Best effort: a fetcher that does not hear it finds the pipe closed at its next write. */
    const struct fd_packet p = { .at = &m, .size = sizeof m };
    int sent = k->fd >= 0 ? fd_packet_send(k->fd, &p, &ignored) : 0;
    (void)sent;
}

static int open_local(struct artifact_transport *t, const char *path,
                      void (*on_open)(void *ctx, int take_fd, const struct err *e), void *ctx,
                      struct err *e)
{
    struct fetcher_link *k = CONTAINER_OF(t, struct fetcher_link, transport);
    return k->open_local(k->open_ctx, path, on_open, ctx, e);
}

int fetcher_link_open(struct loop *l, const struct limits *limits, fetcher_open_local *local,
                      void *ctx, struct fetcher_link **ret, struct err *e)
{
    (void)e;
    struct fetcher_link *k = xcalloc(1, sizeof *k);
    k->transport = (struct artifact_transport){ start, cancel, open_local };
    k->open_local = local;
    k->open_ctx = ctx;
    k->loop = l;
    k->limits = limits;
    k->fd = -1;
    k->id_next = 1;
    k->io.on_ready = on_ready;
    list_init(&k->transfers);
    *ret = k;
    return 0;
}

struct artifact_transport *fetcher_link_transport(struct fetcher_link *k) { return &k->transport; }
