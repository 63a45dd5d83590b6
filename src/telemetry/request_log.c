#include "telemetry/request_log.h"

#include "base/log.h"
#include "os/work.h"
#include "telemetry/json_text.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    PIECE_BYTES = 4096, /* PIPE_BUF: a pipe that can be written to takes so much without blocking */
    LOOK_MS = 50,       /* how soon a writer that waits for its reader hears that it is over */
};

struct request_log {
    struct loop *loop;
    const struct limits *limits;
    void (*on_limit)(void *ctx, const char *limit);
    void *ctx;
    struct work_pool *pool;
    struct loop_task write_task;
    struct buf waiting;
    uint32_t waiting_lines;
    int fd, fd_next; /* fd_next: takes over when the write under way is done */
    bool writing, unwell;
    struct request_log_counts counts;
    /* The write under way; the helper's until it is done. */
    struct work work;
    struct buf text;
    uint32_t text_lines;
    int write_errno;
    bool torn; /* what was written to the file ends within a line */
    atomic_bool over; /* the helper stops waiting */
};

/* ---- a line ---- */

static void time_put(struct json_members *m, int64_t wall_ms)
{
    char text[40];
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t used = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + used, sizeof text - used, ".%03dZ", (int)(wall_ms % 1000));
    json_member_text(m, "time", text);
}

/* Knative writes these two as text. */
static void size_put(struct json_members *m, const char *name, uint64_t bytes)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, bytes);
    json_member_text(m, name, text);
}

static void request_put(struct buf *b, const struct invocation_record *r)
{
    static const struct request_note none;
    const struct request_note *n = r->note ? r->note : &none;
    struct json_members m = { .out = b };
    char latency[32];
    snprintf(latency, sizeof latency, "%u.%06us", r->total_us / 1000000, r->total_us % 1000000);
    json_member_text(&m, "requestMethod", r->method);
    json_member_text(&m, "requestUrl", r->path);
    size_put(&m, "requestSize", r->request_bytes);
    json_member_number(&m, "status", r->status);
    size_put(&m, "responseSize", r->response_bytes);
    json_member_text(&m, "userAgent", n->user_agent);
    json_member_text(&m, "remoteIp", n->remote);
    json_member_text(&m, "serverIp", "");
    json_member_text(&m, "referer", n->referer);
    json_member_text(&m, "latency", latency);
    json_member_text(&m, "protocol", n->http2 ? "HTTP/2.0" : "HTTP/1.1");
}

static void hob_put(struct buf *b, const struct invocation_record *r)
{
    struct json_members m = { .out = b };
    char id[UUID_TEXT];
    uuid_format(&r->id, id);
    json_member_text(&m, "invocationId", id);
    json_member_text(&m, "host", r->note ? r->note->host : "");
    json_member_text(&m, "namespace", r->ns);
    json_member_text(&m, "service", r->service);
    json_member_text(&m, "revision", r->revision);
    json_member_text(&m, "instance", r->instance);
    json_member_text(&m, "outcome", invocation_outcome_name(r->outcome));
    json_member_flag(&m, "cold", r->cold);
    json_member_number(&m, "waitUs", r->dispatch_us);
    json_member_number(&m, "firstByteUs", r->first_byte_us);
}

void request_log_line(struct buf *b, const struct invocation_record *r)
{
    struct json_members m = { .out = b };
    char trace[TRACE_ID_TEXT];
    trace_id_format(r->trace.trace_id, trace);
    buf_str_append(b, STR("{"));
    time_put(&m, r->wall_ms);
    buf_str_append(b, STR(",\"httpRequest\":{"));
    request_put(b, r);
    buf_str_append(b, STR("},"));
    m.begun = false;
    json_member_text(&m, "traceId", trace);
    buf_str_append(b, STR(",\"hob\":{"));
    hob_put(b, r);
    buf_str_append(b, STR("}}\n"));
}

/* ---- writing ---- */

/* False: it is over, or was never to be. */
static bool wait_for_room(const struct request_log *g)
{
    struct pollfd room = { g->fd, POLLOUT, 0 };
    while (!atomic_load(&g->over)) {
        int r = poll(&room, 1, LOOK_MS);
        if (r > 0 || (r < 0 && errno != EINTR))
            return r > 0;
    }
    return false;
}

/* How much was written. 0: once more; -1: write_errno. */
static ssize_t piece_write(struct request_log *g, struct str text)
{
    if (!wait_for_room(g)) {
        g->write_errno = ECANCELED;
        return -1;
    }
    ssize_t n = write(g->fd, text.at, MIN(text.size, (size_t)PIECE_BYTES));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n < 0)
        g->write_errno = errno;
    else if (n > 0)
        g->torn = text.at[n - 1] != '\n';
    return n;
}

/* A disk that was full has half a line: it stays one, and spoils none that follows. */
static void text_write(struct work *w)
{
    struct request_log *g = CONTAINER_OF(w, struct request_log, work);
    ssize_t n = 0;
    g->write_errno = 0;
    while (n >= 0 && g->torn)
        n = piece_write(g, STR("\n"));
    while (n >= 0 && g->text.size > 0) {
        n = piece_write(g, buf_str(&g->text));
        buf_consume(&g->text, (size_t)MAX(n, (ssize_t)0));
    }
}

static void write_next(struct request_log *g)
{
    struct err e;
    if (g->writing || g->waiting.size == 0 || g->fd < 0)
        return;
    struct buf empty = g->text;
    g->text = g->waiting;
    g->waiting = empty;
    g->text_lines = g->waiting_lines;
    g->waiting_lines = 0;
    g->writing = work_submit(g->pool, &g->work, &e) >= 0;
    if (!g->writing) /* the pool closes */
        g->counts.dropped += g->text_lines;
}

static void outcome_note(struct request_log *g)
{
    struct err e = { .sys_errno = g->write_errno };
    if (g->write_errno == 0) {
        g->counts.lines += g->text_lines;
        g->unwell = false;
        return;
    }
    g->counts.dropped += g->text_lines;
    errno = e.sys_errno;
    err_sys(&e, "write");
    if (!g->unwell && !atomic_load(&g->over))
        log_event(LOG_WARN, "request_log.failed", "lines=%u error=\"%s\"", g->text_lines, LOG_QUOTED(e.text));
    g->unwell = true;
}

static void on_written(struct work *w)
{
    struct request_log *g = CONTAINER_OF(w, struct request_log, work);
    bool ran = !w->submitted;
    g->writing = false;
    if (ran)
        outcome_note(g);
    buf_clear(&g->text);
    if (g->fd_next >= 0) {
        fd_auto(&g->fd);
        g->fd = TAKE_FD(g->fd_next);
        g->torn = false;
    }
    if (ran)
        write_next(g);
}

static void on_turn(struct loop_task *t) { write_next(CONTAINER_OF(t, struct request_log, write_task)); }

void request_log_attach(struct request_log *g, int take_fd)
{
    int *place = g->writing ? &g->fd_next : &g->fd;
    fd_auto(place);
    *place = take_fd;
    if (!g->writing)
        g->torn = false;
    write_next(g);
}

void request_log_record(struct request_log *g, const struct invocation_record *r)
{
    if (g->waiting.max - g->waiting.size < REQUEST_LOG_LINE_MAX) {
        g->counts.dropped++;
        g->on_limit(g->ctx, "request_log_bytes_max");
        return;
    }
    request_log_line(&g->waiting, r);
    ASSERT(!g->waiting.overflow);
    g->waiting_lines++;
    if (!g->writing)
        loop_defer(g->loop, &g->write_task); /* with what else comes in this turn */
}

bool request_log_idle(const struct request_log *g)
{
    return !g->writing && (g->waiting.size == 0 || g->fd < 0);
}

struct request_log_counts request_log_counts(const struct request_log *g) { return g->counts; }

/* ---- life ---- */

int request_log_open(struct loop *l, const struct limits *limits, void (*on_limit)(void *ctx, const char *limit), void *ctx,
                     struct request_log **ret, struct err *e)
{
    AUTO(request_log) struct request_log *g = xcalloc(1, sizeof *g);
    g->loop = l;
    g->limits = limits;
    g->on_limit = on_limit;
    g->ctx = ctx;
    g->fd = g->fd_next = -1;
    g->write_task.run = on_turn;
    g->work.run = text_write;
    g->work.on_done = on_written;
    buf_init(&g->waiting, limits->request_log_bytes_max / 2); /* one is filled while the other is written */
    buf_init(&g->text, limits->request_log_bytes_max / 2);
    int r = work_pool_open(l, "hob-requests", 1, 1, &g->pool, e);
    if (r < 0)
        return err_wrap(e, "request log");
    *ret = TAKE(g);
    return 0;
}

void request_log_free(struct request_log *g)
{
    if (!g)
        return;
    atomic_store(&g->over, true);
    loop_undefer(g->loop, &g->write_task);
    work_pool_free(g->pool);
    fd_auto(&g->fd);
    fd_auto(&g->fd_next);
    buf_done(&g->waiting);
    buf_done(&g->text);
    free(g);
}
