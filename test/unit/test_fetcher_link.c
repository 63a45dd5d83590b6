#include "artifact/fetcher_link.h"
#include "artifact/fetcher_wire.h"
#include "fds.h"
#include "os/fault.h"
#include "os/fd.h"
#include "tap.h"

#include <unistd.h>

/* The other end is played by the test: a fetcher that may do anything. */
struct world {
    struct limits limits;
    struct loop *loop;
    struct fetcher_link *link;
    struct artifact_transport *t;
    int fetcher; /* its end; -1 */
};
struct user {
    struct transfer *x;
    int pipe_fd, heads, ends, r;
    struct transfer_head head;
    struct err error;
    struct world *w;
    bool again; /* starts another when it ends */
};

static int local(void *ctx, const char *path, void (*on_open)(void *ctx, int take_fd, const struct err *e),
                 void *open_ctx, struct err *e)
{
    struct err why = { 0 };
    (void)e;
    err_set(&why, CODE_NOT_FOUND, "%s", path);
    (*(int *)ctx)++;
    on_open(open_ctx, -1, &why);
    return 0;
}

static int locals;

static bool world_attach(struct world *w)
{
    int node;
    struct err e;
    if (fd_pair(&node, &w->fetcher, &e) < 0 || fd_nonblock(w->fetcher, &e) < 0)
        return false;
    fetcher_link_attach(w->link, node);
    return fetcher_link_up(w->link);
}

static bool world_open(struct world *w)
{
    struct err e;
    *w = (struct world){ .fetcher = -1 };
    limits_default(&w->limits);
    if (loop_open(&w->loop, &e) < 0 || fetcher_link_open(w->loop, &w->limits, local, &locals, &w->link, &e) < 0)
        return false;
    w->t = fetcher_link_transport(w->link);
    return true;
}

static void world_close(struct world *w)
{
    fetcher_link_free(w->link);
    loop_free(w->loop);
    if (w->fetcher >= 0)
        close(w->fetcher);
}

static void on_head(void *ctx, const struct transfer_head *h)
{
    struct user *u = ctx;
    u->heads++;
    u->head = *h;
}

static int begin(struct world *w, struct user *u);

static void on_end(void *ctx, int r, const struct err *e)
{
    struct user *u = ctx;
    u->ends++;
    u->x = NULL;
    u->r = r;
    u->error = e ? *e : (struct err){ 0 };
    if (u->again) {
        u->again = false;
        close(u->pipe_fd);
        u->r = begin(u->w, u);
    }
}

static int begin(struct world *w, struct user *u)
{
    const struct transfer_request q = { .url = "http://h/x", .from = 5, .etag = "\"v\"", .on_head = on_head,
                                        .on_end = on_end, .ctx = u, .ret_pipe_fd = &u->pipe_fd };
    u->w = w;
    u->pipe_fd = -1;
    u->x = w->t->start(w->t, &q, &u->error);
    return u->x ? 0 : -(int)u->error.code;
}

static bool heard(struct world *w, struct wire_message *m, int *ret_fd)
{
    struct err e;
    struct fd_packet p = { .at = m, .size = sizeof *m };
    if (fd_packet_recv(w->fetcher, &p, &e) != 1 || wire_check(m, p.size, true, &e) < 0)
        return false;
    *ret_fd = p.fd_count == 1 ? p.fds[0] : -1;
    return true;
}

static void say(struct world *w, const void *m, size_t size, int fd)
{
    struct err e;
    struct fd_packet p = { .at = (void *)(uintptr_t)m, .size = size, .fds = { fd }, .fd_count = fd >= 0 };
    int r = fd_packet_send(w->fetcher, &p, &e);
    (void)r;
    (void)!loop_turn(w->loop, false, &e);
}

TEST(a_transfer_goes_out_and_its_answers_come_back)
{
    struct world w;
    struct user u = { 0 };
    struct wire_message m;
    int pipe_fd = -1;
    char text[4];
    CHECK(world_open(&w) && world_attach(&w));
    CHECK_EQ(begin(&w, &u), 0);
    CHECK(heard(&w, &m, &pipe_fd));
    CHECK(m.kind == WIRE_START && m.from == 5 && pipe_fd >= 0);
    CHECK_STR(m.text, "http://h/x");
    CHECK_STR(m.etag, "\"v\"");
    const struct wire_message head = { .kind = WIRE_HEAD, .id = m.id, .status = 206, .size = 9, .from = 5,
                                       .retry_after_ms = -1, .etag = "\"w\"" };
    const struct wire_message end = { .kind = WIRE_END, .id = m.id };
    say(&w, &head, sizeof head, -1);
    CHECK(u.heads == 1 && u.head.status == 206 && u.head.size == 9 && u.head.from == 5);
    CHECK_STR(u.head.etag, "\"w\"");
    CHECK(write(pipe_fd, "data", 4) == 4 && read(u.pipe_fd, text, 4) == 4);
    close(pipe_fd);
    say(&w, &end, sizeof end, -1);
    CHECK(u.ends == 1 && u.r == 0);
    say(&w, &end, sizeof end, -1); /* late words about an ended one are ignored */
    CHECK(u.ends == 1 && fetcher_link_up(w.link));
    close(u.pipe_fd);
    world_close(&w);
}

TEST(a_post_goes_out_as_memory_that_nobody_can_change_and_its_answer_comes_back)
{
    struct world w;
    struct user u = { 0 };
    struct wire_message m;
    struct err e;
    int fd = -1;
    char text[8] = "";
    const struct transfer_request q = { .on_head = on_head, .on_end = on_end, .ctx = &u };
    u.w = &w;
    CHECK(world_open(&w));
    CHECK_EQ(fetcher_link_post(w.link, STR("spans"), &q, &e), -CODE_UNAVAILABLE); /* no fetcher yet */
    CHECK(world_attach(&w));
    CHECK_EQ(fetcher_link_post(w.link, STR("spans"), &q, &e), 0);
    CHECK(heard(&w, &m, &fd) && m.kind == WIRE_POST && fd >= 0 && m.text[0] == '\0');
    CHECK(pread(fd, text, sizeof text, 0) == 5 && strcmp(text, "spans") == 0);
    CHECK(pwrite(fd, "x", 1, 0) < 0 && ftruncate(fd, 1) < 0 && ftruncate(fd, 9) < 0);
    close(fd);
    const struct wire_message head = { .kind = WIRE_HEAD, .id = m.id, .status = 503, .size = -1, .from = -1,
                                       .retry_after_ms = 2000 };
    const struct wire_message end = { .kind = WIRE_END, .id = m.id };
    say(&w, &head, sizeof head, -1);
    say(&w, &end, sizeof end, -1);
    CHECK(u.heads == 1 && u.head.status == 503 && u.head.retry_after_ms == 2000 && u.ends == 1 && u.r == 0);
    CHECK_EQ(fetcher_link_post(w.link, STR("more"), &q, &e), 0);
    CHECK(heard(&w, &m, &fd));
    close(fd);
    close(w.fetcher);
    w.fetcher = -1;
    for (int i = 0; i < 3 && u.ends < 2; i++)
        (void)!loop_turn(w.loop, false, &e);
    CHECK(u.ends == 2 && u.r == -CODE_UNAVAILABLE); /* worth another try */
    world_close(&w);
}

TEST(a_call_names_its_address_and_where_its_body_begins)
{
    struct world w;
    struct user u = { 0 };
    struct wire_message m;
    struct err e;
    int fd = -1;
    char text[32] = "", longer[600];
    const struct transfer_request q = { .on_head = on_head, .on_end = on_end, .ctx = &u };
    u.w = &w;
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    CHECK(world_open(&w) && world_attach(&w));
    CHECK_EQ(fetcher_link_call(w.link, longer, STR("a: b\n"), STR("body"), &q, &e), -CODE_INVALID);
    CHECK_EQ(fetcher_link_call(w.link, "http://receiver/", STR("a: b\n"), STR("body"), &q, &e), 0);
    CHECK(heard(&w, &m, &fd) && m.kind == WIRE_CALL && fd >= 0 && m.from == 5);
    CHECK_STR(m.text, "http://receiver/");
    CHECK(pread(fd, text, sizeof text, 0) == 9 && strcmp(text, "a: b\nbody") == 0);
    close(fd);
    const struct wire_message end = { .kind = WIRE_END, .id = m.id, .code = CODE_DENIED, .text = "not there" };
    say(&w, &end, sizeof end, -1);
    CHECK(u.ends == 1 && u.r == -CODE_DENIED);
    world_close(&w);
}

TEST(a_post_that_fails_anywhere_leaves_nothing)
{
    for (int nth = 1, fired = 1; fired; nth++) {
        struct world w;
        struct user u = { 0 };
        struct err e;
        const struct transfer_request q = { .on_head = on_head, .on_end = on_end, .ctx = &u };
        CHECK(nth < 20 && world_open(&w) && world_attach(&w));
        int before = fds_open();
        fault_arm(nth);
        int r = fetcher_link_post(w.link, STR("spans"), &q, &e);
        fired = fault_fired();
        fault_arm(0);
        CHECK_EQ(r < 0, fired);
        CHECK_EQ(fds_open(), before);
        world_close(&w);
        CHECK_EQ(u.ends, 0);
    }
}

TEST(a_cancelled_transfer_says_so_and_hears_nothing_more)
{
    struct world w;
    struct user u = { 0 };
    struct wire_message m;
    int fd = -1;
    CHECK(world_open(&w) && world_attach(&w));
    CHECK_EQ(begin(&w, &u), 0);
    CHECK(heard(&w, &m, &fd));
    close(fd);
    uint64_t id = m.id;
    w.t->cancel(w.t, u.x);
    CHECK(heard(&w, &m, &fd) && m.kind == WIRE_CANCEL && m.id == id);
    const struct wire_message end = { .kind = WIRE_END, .id = id };
    say(&w, &end, sizeof end, -1);
    CHECK(u.ends == 0 && fetcher_link_up(w.link));
    close(u.pipe_fd);
    world_close(&w);
}

TEST(a_fetcher_that_ends_ends_its_transfers_and_the_next_one_serves)
{
    struct world w;
    struct user u[3] = { 0 };
    struct err e;
    CHECK(world_open(&w));
    CHECK_EQ(begin(&w, &u[0]), -CODE_UNAVAILABLE); /* none yet */
    CHECK(world_attach(&w));
    u[0].again = true;
    for (int i = 0; i < 3; i++)
        CHECK_EQ(begin(&w, &u[i]), 0);
    close(w.fetcher);
    w.fetcher = -1;
    CHECK(loop_turn(w.loop, false, &e) >= 0);
    for (int i = 0; i < 3; i++)
        CHECK(u[i].ends == 1 && u[i].r == -CODE_UNAVAILABLE); /* also the one started inside its end */
    CHECK(!fetcher_link_up(w.link));
    close(u[1].pipe_fd), close(u[2].pipe_fd);
    CHECK(world_attach(&w));
    CHECK_EQ(begin(&w, &u[1]), 0);
    int old = w.fetcher;
    u[1].again = true;
    CHECK(world_attach(&w)); /* replaced while it runs: its owner goes on with the new one at once */
    CHECK(u[1].ends == 2 && u[1].r == 0 && u[1].x);
    close(old);
    struct wire_message m;
    int fd = -1;
    CHECK(heard(&w, &m, &fd) && m.kind == WIRE_START);
    close(fd);
    close(u[1].pipe_fd);
    world_close(&w);
}

TEST(a_fetcher_that_breaks_the_protocol_is_cut_off)
{
    for (int kind = 0; kind < 5; kind++) {
        struct world w;
        struct user u = { 0 };
        struct wire_message m;
        int fd = -1;
        CHECK(world_open(&w) && world_attach(&w));
        CHECK_EQ(begin(&w, &u), 0);
        CHECK(heard(&w, &m, &fd));
        close(fd);
        struct wire_message head = { .kind = WIRE_HEAD, .id = m.id, .status = 200, .size = 1, .from = -1,
                                     .retry_after_ms = -1 };
        switch (kind) {
        case 0: say(&w, "hello", 5, -1); break;
        case 1: head.status = 1000; say(&w, &head, sizeof head, -1); break;
        case 2: say(&w, &head, sizeof head, -1); say(&w, &head, sizeof head, -1); break;
        case 3: say(&w, &head, sizeof head, 0); break; /* a descriptor pushed into the node */
        default: head.kind = WIRE_START; say(&w, &head, sizeof head, -1); break;
        }
        if (fetcher_link_up(w.link) || u.ends != 1 || u.r != -CODE_UNAVAILABLE)
            FAIL("kind %d: up %d, ends %d, r %d", kind, fetcher_link_up(w.link), u.ends, u.r);
        close(u.pipe_fd);
        world_close(&w);
    }
}

TEST(bounds_and_the_other_half_of_the_transport)
{
    struct world w;
    struct user u[3] = { 0 };
    struct err e;
    CHECK(world_open(&w) && world_attach(&w));
    w.limits.fetch_concurrent_max = 1;
    CHECK_EQ(begin(&w, &u[0]), 0);
    CHECK_EQ(begin(&w, &u[1]), 0);
    CHECK_EQ(begin(&w, &u[2]), -CODE_UNAVAILABLE);
    CHECK(u[2].pipe_fd == -1);
    int before = locals;
    struct user v = { 0 };
    void (*opened)(void *, int, const struct err *) = on_end; /* same shape: ctx, number, error */
    CHECK_EQ(w.t->open_local(w.t, "/x", opened, &v, &e), 0);
    CHECK(locals == before + 1 && v.ends == 1 && v.r == -1 && v.error.code == CODE_NOT_FOUND);
    close(u[0].pipe_fd), close(u[1].pipe_fd);
    world_close(&w);
}

TEST_MAIN()
