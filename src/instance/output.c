#include "instance/output.h"

#include <errno.h>
#include <unistd.h>

enum {
    PHASE_LINE_MAX = 256,
    READ_PER_TURN = 65536, /* bytes taken from one instance in one turn */
    LAST_READS = 16,       /* of a pipe whose function has ended: 1 MiB, more than a pipe holds */
};

static char read_space[READ_PER_TURN]; /* scratch of the loop thread, empty between calls */

static bool own_phase(enum phase p)
{
    return p == PHASE_MODEL_LOAD || p == PHASE_ALLOCATE || p == PHASE_WARMUP;
}

static void phase_report(struct output *o, struct str line)
{
    enum phase p;
    uint64_t bytes = 0;
    struct str name = str_cut(&line, ' '), verb = str_cut(&line, ' ');
    if (!phase_find(name.at, name.size, &p) || !own_phase(p))
        return;
    if (str_starts(line, STR("bytes=")))
        (void)str_u64(str_from(line, 6), &bytes);
    if (str_is(verb, "begin") || str_is(verb, "end"))
        o->on_phase(o, p, str_is(verb, "begin"), bytes);
}

static void pipe_close(struct output *o, struct loop_io *io)
{
    if (!loop_watched(io))
        return;
    int fd = io->fd;
    loop_unwatch(o->loop, io);
    (void)close(fd);
}

static void on_phases(struct loop_io *io, uint32_t events)
{
    struct output *o = CONTAINER_OF(io, struct output, phases_io);
    char bytes[PHASE_LINE_MAX];
    (void)events;
    ssize_t n = read(io->fd, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        pipe_close(o, io);
        return;
    }
    buf_append(&o->phase_line, bytes, (size_t)n);
    if (o->phase_line.overflow)
        buf_clear(&o->phase_line);
    for (;;) {
        struct str all = buf_str(&o->phase_line), rest = all;
        struct str line = str_cut(&rest, '\n');
        if (line.size == all.size)
            return;
        phase_report(o, line);
        buf_consume(&o->phase_line, line.size + 1);
    }
}

static void lines_take(struct output *o, struct str piece)
{
    while (piece.size > 0) {
        struct str rest = piece;
        struct str head = str_cut(&rest, '\n');
        bool whole = head.size < piece.size;
        if (!o->line_cut) {
            size_t room = o->line.max - o->line.size;
            buf_append(&o->line, head.at, MIN(head.size, room));
            o->line_cut = head.size > room;
        }
        if (whole) {
            o->on_line(o, buf_str(&o->line));
            buf_clear(&o->line);
            o->line_cut = false;
        }
        piece = rest;
    }
}

static void on_refill(struct loop_timer *t)
{
    struct output *o = CONTAINER_OF(t, struct output, refill);
    if (loop_watched(&o->out_io))
        loop_rewatch(o->loop, &o->out_io, EPOLLIN);
}

static void rate_count(struct output *o, size_t bytes)
{
    uint64_t now_us = loop_now_us(o->loop);
    if (now_us - o->window_us >= 1000000) {
        o->window_us = now_us;
        o->window_bytes = 0;
    }
    o->window_bytes += bytes;
    if (o->window_bytes < o->limits->log_rate_bytes_s)
        return;
    loop_rewatch(o->loop, &o->out_io, 0);
    loop_at(o->loop, &o->refill, o->window_us + 1000000);
}

static void out_close(struct output *o)
{
    pipe_close(o, &o->out_io);
    loop_cancel(o->loop, &o->refill);
    if (o->line.size > 0) {
        o->on_line(o, buf_str(&o->line));
        buf_clear(&o->line);
    }
}

static void on_output(struct loop_io *io, uint32_t events)
{
    struct output *o = CONTAINER_OF(io, struct output, out_io);
    (void)events;
    ssize_t n = read(io->fd, read_space, sizeof read_space);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        out_close(o);
        return;
    }
    lines_take(o, (struct str){ read_space, (size_t)n });
    rate_count(o, (size_t)n);
}

int output_open(struct output *o, struct loop *l, const struct limits *limits, int take_out_fd,
                int take_phases_fd, struct err *e)
{
    AUTO_CLOSE int out_fd = take_out_fd, phases_fd = take_phases_fd;
    ASSERT(o->on_line && o->on_phase && !o->loop);
    o->loop = l;
    o->limits = limits;
    o->refill.on_due = on_refill;
    o->out_io.on_ready = on_output;
    o->phases_io.on_ready = on_phases;
    buf_init(&o->line, limits->log_line_bytes_max);
    buf_init(&o->phase_line, PHASE_LINE_MAX * 4);
    int r = loop_watch(l, &o->out_io, out_fd, EPOLLIN, e);
    if (r < 0)
        return r;
    (void)TAKE_FD(out_fd);
    r = loop_watch(l, &o->phases_io, phases_fd, EPOLLIN, e);
    if (r < 0)
        return r;
    (void)TAKE_FD(phases_fd);
    return 0;
}

void output_close(struct output *o)
{
    if (!o->loop)
        return;
    for (int turn = 0; turn < LAST_READS && loop_watched(&o->out_io); turn++) {
        ssize_t n = read(o->out_io.fd, read_space, sizeof read_space);
        if (n <= 0)
            break;
        lines_take(o, (struct str){ read_space, (size_t)n });
    }
    out_close(o);
    pipe_close(o, &o->phases_io);
    buf_done(&o->line);
    buf_done(&o->phase_line);
    o->loop = NULL;
}
