#include "sandbox/runs.h"
#include "os/fd.h"
#include "sandbox/runner.h"

enum { WORDS_PER_TURN = 16 }; /* of one runner: it is as untrusted as its function */

static struct sandbox_run *run_find(const struct runs *rs, uint32_t id)
{
    LIST_EACH (&rs->list, n, tmp) {
        struct sandbox_run *r = CONTAINER_OF(n, struct sandbox_run, node);
        if (r->id == id)
            return r;
    }
    return NULL;
}

/* True: rs may be gone. */
static bool run_done(struct runs *rs, const struct runner_word *w)
{
    struct sandbox_run *r = run_find(rs, w->id);
    if (!r)
        return false;
    list_remove(&rs->list, &r->node);
    const struct str text = { w->output, MIN(w->output_size, sizeof w->output) };
    r->on_done(r, true, w->late != 0, w->status, text);
    return true;
}

/* What comes has the trust of the function. Callbacks may free the sandbox, so one is the last thing done; the
 * loop comes back for what is left. */
static void on_runner(struct loop_io *io, uint32_t events)
{
    struct runs *rs = CONTAINER_OF(io, struct runs, io);
    struct runner_word word;
    struct err e = { 0 };
    (void)events;
    for (int i = 0; i < WORDS_PER_TURN; i++) {
        struct fd_packet p = { .at = &word, .size = sizeof word };
        int r = fd_packet_recv(rs->fd, &p, &e);
        if (r == 2)
            return;
        if (r == 1)
            fd_packet_close(&p);
        if (r == 1 && p.size == sizeof word) {
            if (run_done(rs, &word))
                return;
            continue;
        }
        /* It is gone, or speaks in tongues: there are no commands any more. */
        struct list_node *first = list_first(&rs->list);
        if (rs->list.count <= 1)
            loop_unwatch(rs->loop, &rs->io);
        if (!first)
            return;
        struct sandbox_run *run = CONTAINER_OF(first, struct sandbox_run, node);
        list_remove(&rs->list, first);
        run->on_done(run, false, false, 0, STR("what runs commands in the instance has gone"));
        return;
    }
}

void runs_init(struct runs *rs, struct loop *l)
{
    rs->loop = l;
    rs->fd = rs->runner_fd = -1;
    rs->io.on_ready = on_runner;
    list_init(&rs->list);
}

int runs_open(struct runs *rs, struct err *e)
{
    int r = fd_pair(&rs->fd, &rs->runner_fd, e);
    if (r == 0)
        r = fd_nonblock(rs->fd, e);
    return r < 0 ? r : loop_watch(rs->loop, &rs->io, rs->fd, EPOLLIN, e);
}

void runs_done(struct runs *rs)
{
    LIST_EACH (&rs->list, n, tmp)
        list_remove(&rs->list, n);
    loop_unwatch(rs->loop, &rs->io);
    fd_auto(&rs->fd);
    fd_auto(&rs->runner_fd);
}

bool runs_there(const struct runs *rs) { return rs->fd >= 0 && loop_watched(&rs->io); }

int runs_start(struct runs *rs, const char *const *argv, uint64_t timeout_us, struct sandbox_run *r, struct err *e)
{
    struct buf order;
    ASSERT(runs_there(rs));
    buf_init(&order, RUNNER_ORDER_MAX);
    r->id = ++rs->next;
    int result = runner_order_write(r->id, argv, timeout_us, &order, e);
    if (result == 0) {
        const struct fd_packet p = { .at = buf_at(&order), .size = order.size };
        result = fd_packet_send(rs->fd, &p, e);
    }
    buf_done(&order);
    if (result == 1)
        return err_set(e, CODE_EXHAUSTED, "what runs commands in the instance takes none");
    if (result < 0)
        return result;
    list_push(&rs->list, &r->node);
    return 0;
}

void runs_forget(struct runs *rs, struct sandbox_run *r)
{
    if (list_node_linked(&r->node))
        list_remove(&rs->list, &r->node);
}
