#include "invocation/runner.h"
#include "codec/base64.h"
#include "net/http1_body.h"
#include "net/http1_write.h"
#include "os/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IN_MAX = 262144,          /* read ahead of what is parsed; more than any head */
    READS_PER_TURN = 16,
    CHECKPOINT_TEXT_MAX = 8192, /* of Hob-Checkpoint: a longer one is asked for at the API */
    RETRY_AFTER_S_MAX = 86400,
};

struct attempt {
    struct runner *runner;
    struct list_node node;
    struct loop_io io;
    struct loop_timer failed; /* to be told, in a turn of its own */
    int fd;
    struct uuid id;
    uint32_t number;
    struct buf out, in, content;
    uint64_t content_bytes;
    struct http1_head head;
    struct http1_body body;
    bool has_head; /* the final one; its bytes stay in `in` */
    size_t fed;
    char *kept_head; /* of the answer's row */
    size_t kept_size;
    enum invocation_came came; /* as far as its head says */
    uint64_t retry_after_ms;
    char why[512];
};
struct runner {
    struct runner_world world;
    struct desk *desk;
    struct list attempts;
};

/* ---- the end of an attempt ------------------------------------------------------------------ */

static void attempt_free(struct attempt *a)
{
    struct loop *l = a->runner->world.loop;
    loop_unwatch(l, &a->io);
    loop_cancel(l, &a->failed);
    if (a->fd >= 0)
        (void)close(a->fd);
    list_remove(&a->runner->attempts, &a->node);
    if (a->has_head)
        http1_body_done(&a->body);
    http1_head_done(&a->head);
    buf_done(&a->out);
    buf_done(&a->in);
    buf_done(&a->content);
    free(a->kept_head);
    free(a);
}

static void over(struct attempt *a, enum invocation_came came, char *take_answer, size_t size)
{
    struct desk *d = a->runner->desk;
    struct uuid id = a->id;
    char why[sizeof a->why];
    memcpy(why, a->why, sizeof why);
    struct invocation_end end = { .came = came, .attempt = a->number, .why = why[0] ? why : NULL,
                                  .retry_after_ms = a->retry_after_ms, .take_answer = take_answer, .answer_size = size,
                                  .answer_bytes = a->content_bytes };
    if (came == INVOCATION_CAME_ANSWER)
        end.answer_status = a->head.status;
    attempt_free(a);
    desk_over(d, &id, &end);
}

static void broke(struct attempt *a, const char *why)
{
    snprintf(a->why, sizeof a->why, "%s", why);
    over(a, INVOCATION_CAME_BROKEN, NULL, 0);
}

static void whole(struct attempt *a)
{
    struct buf answer;
    if (a->came != INVOCATION_CAME_ANSWER) { /* the gateway's own words, and its sentence is in the content */
        over(a, a->came, NULL, 0);
        return;
    }
    buf_init(&answer, a->kept_size + a->content.size + 256);
    buf_append(&answer, a->kept_head, a->kept_size);
    if (a->content_bytes > a->content.size)
        buf_printf(&answer, "Hob-Answer-Cut: %llu\r\n", (unsigned long long)a->content_bytes);
    http1_write_framing(&answer, HTTP1_BODY_LENGTH, a->content.size);
    http1_write_end(&answer);
    buf_append(&answer, buf_at(&a->content), a->content.size);
    ASSERT(!answer.overflow);
    size_t size = answer.size;
    over(a, INVOCATION_CAME_ANSWER, buf_take_text(&answer), size);
}

/* ---- the answer ------------------------------------------------------------------------------- */

enum invocation_came runner_came_of(struct str problem)
{
    /* Before an instance had it, and worth another try. */
    static const char *const refused[] = { "unknown-host", "overloaded", "too-many-connections", "queue-full",
                                           "no-time-left", "start-failed", "queue-timeout" };
    /* An instance had it, or may have had it. */
    static const char *const broken[] = { "instance-died", "bad-answer", "deadline", "response-start-timeout",
                                          "idle-timeout", "internal", "slow-request" };
    for (size_t i = 0; i < COUNT_OF(refused); i++)
        if (str_is(problem, refused[i]))
            return INVOCATION_CAME_REFUSED;
    for (size_t i = 0; i < COUNT_OF(broken); i++)
        if (str_is(problem, broken[i]))
            return INVOCATION_CAME_BROKEN;
    return INVOCATION_CAME_ANSWER; /* of a request that will never be another: too many hops, a head too large */
}

static bool is_ours(struct str name) { return name.size >= 4 && str_eq_nocase(str_head(name, 4), STR("hob-")); }

static void head_take(struct attempt *a)
{
    const struct http1_head *h = &a->head;
    struct str problem = http1_field_named(h, STR("Hob-Problem")), later = http1_field_named(h, STR("Retry-After"));
    uint64_t seconds;
    struct buf kept;
    if (problem.at) {
        a->came = runner_came_of(problem);
        snprintf(a->why, sizeof a->why, STR_FMT ": the gateway said so", (int)MIN(problem.size, 60), problem.at);
    }
    if (later.at && str_u64(later, &seconds))
        a->retry_after_ms = MIN(seconds, (uint64_t)RETRY_AFTER_S_MAX) * 1000;
    buf_init(&kept, 2 * (size_t)h->size + 256);
    http1_write_status(&kept, h->status, h->reason);
    for (uint32_t i = 0; i < h->field_count; i++)
        if (!h->fields[i].hop && !is_ours(h->fields[i].name) &&
            !str_eq_nocase(h->fields[i].name, STR("Content-Length")))
            http1_write_field(&kept, h->fields[i].name, h->fields[i].value);
    ASSERT(!kept.overflow);
    a->kept_size = kept.size;
    a->kept_head = buf_take_text(&kept);
    http1_body_init(&a->body, h);
    a->has_head = true;
    buf_consume(&a->in, h->size);
}

static void content_take(struct attempt *a, struct str data)
{
    size_t room = a->runner->world.limits->invoke_answer_bytes_max - a->content.size;
    buf_append(&a->content, data.at, MIN(room, data.size));
    a->content_bytes += data.size;
}

static bool is_whole(enum http1_result r) { return r == HTTP1_DONE; }

/* True: `a` is over. */
static bool parse(struct attempt *a)
{
    while (!a->has_head) {
        if (a->in.size == a->fed)
            return false;
        a->fed = a->in.size;
        enum http1_result r = http1_head_feed(&a->head, buf_at(&a->in), a->in.size);
        if (r == HTTP1_BAD) {
            broke(a, a->head.refusal.text);
            return true;
        }
        if (r != HTTP1_DONE)
            return false;
        if (!a->head.interim) {
            head_take(a);
            break;
        }
        buf_consume(&a->in, a->head.size);
        http1_head_reset(&a->head);
        a->fed = 0;
    }
    for (;;) {
        size_t used;
        struct str data;
        enum http1_result r = http1_body_feed(&a->body, buf_at(&a->in), a->in.size, &used, &data);
        content_take(a, data);
        buf_consume(&a->in, used);
        if (is_whole(r)) {
            whole(a);
            return true;
        }
        if (r == HTTP1_BAD) {
            broke(a, a->body.refusal.text);
            return true;
        }
        if (r == HTTP1_MORE)
            return false;
    }
}

/* ---- the connection ----------------------------------------------------------------------------- */

static void ended(struct attempt *a)
{
    if (a->has_head && is_whole(http1_body_ended(&a->body)))
        whole(a);
    else
        broke(a, "the connection ended before the answer was whole");
}

static void read_some(struct attempt *a)
{
    for (int i = 0; i < READS_PER_TURN; i++) {
        size_t room;
        char *at = buf_reserve(&a->in, KIB(16), &room);
        if (room == 0) {
            broke(a, "the head of its answer is too large");
            return;
        }
        ssize_t n = fault_hit("runner_read") ? (errno = ECONNRESET, -1) : read(a->fd, at, room);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            ended(a);
            return;
        }
        buf_commit(&a->in, (size_t)n);
        if (parse(a))
            return;
    }
}

static void write_some(struct attempt *a)
{
    while (a->out.size > 0) {
        ssize_t n = send(a->fd, buf_at(&a->out), a->out.size, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) { /* it may answer all the same: what there is to read says how it ended */
            buf_clear(&a->out);
            break;
        }
        buf_consume(&a->out, (size_t)n);
    }
    loop_rewatch(a->runner->world.loop, &a->io, EPOLLIN);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
    struct attempt *a = CONTAINER_OF(io, struct attempt, io);
    if (events & EPOLLOUT)
        write_some(a);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_some(a);
}

static void on_failed(struct loop_timer *t)
{
    over(CONTAINER_OF(t, struct attempt, failed), INVOCATION_CAME_REFUSED, NULL, 0); /* nothing was sent */
}

/* ---- attempts ------------------------------------------------------------------------------------ */

static void request_write(struct attempt *a, const struct desk_attempt *q)
{
    struct runner *r = a->runner;
    struct buf *b = &a->out;
    struct str rest = q->request, line = str_cut(&rest, '\n'); /* with its CR */
    char id[UUID_TEXT];
    uuid_format(&q->id, id);
    buf_str_append(b, line);
    buf_printf(b, "\nHob-Invocation-Id: %s\r\nHob-Attempt: %u\r\nConnection: close\r\n", id, q->attempt);
    if (q->deadline_ms != 0) {
        int64_t left_ms = q->deadline_ms - r->world.wall_ns(r->world.ctx) / 1000000;
        buf_printf(b, "Hob-Deadline: %lld\r\n", (long long)MAX(left_ms, 1));
    }
    if (q->checkpoint.at && (q->checkpoint.size + 2) / 3 * 4 <= CHECKPOINT_TEXT_MAX) {
        buf_text(b, "Hob-Checkpoint: ");
        base64_write(q->checkpoint, b);
        buf_text(b, "\r\n");
    }
    buf_str_append(b, rest);
}

static void runner_start(void *ctx, const struct desk_attempt *q)
{
    struct runner *r = ctx;
    struct attempt *a = xcalloc(1, sizeof *a);
    struct err e;
    a->runner = r;
    a->id = q->id;
    a->number = q->attempt;
    a->came = INVOCATION_CAME_ANSWER;
    a->io.on_ready = on_ready;
    a->failed.on_due = on_failed;
    buf_init(&a->out, q->request.size + CHECKPOINT_TEXT_MAX + 1024);
    buf_init(&a->in, IN_MAX);
    buf_init(&a->content, r->world.limits->invoke_answer_bytes_max);
    http1_head_init(&a->head, HTTP1_RESPONSE, r->world.limits);
    http1_head_answers(&a->head, str_starts(q->request, STR("HEAD ")) ? HTTP_HEAD : HTTP_POST);
    list_push(&r->attempts, &a->node);
    request_write(a, q);
    ASSERT(!a->out.overflow);
    a->fd = r->world.connect(r->world.ctx, &e);
    if (a->fd < 0 || loop_watch(r->world.loop, &a->io, a->fd, EPOLLIN | EPOLLOUT, &e) < 0) {
        snprintf(a->why, sizeof a->why, "%s", e.text);
        loop_after(r->world.loop, &a->failed, 0);
    }
}

static void runner_drop(void *ctx, const struct uuid *id, uint32_t attempt)
{
    struct runner *r = ctx;
    LIST_EACH(&r->attempts, n, tmp) {
        struct attempt *a = CONTAINER_OF(n, struct attempt, node);
        if (a->number != attempt || memcmp(&a->id, id, sizeof *id) != 0)
            continue;
        if (heap_node_linked(&a->failed.node))
            return; /* it is on its way to be told that nothing was sent */
        broke(a, "it was cancelled while the function had it");
        return;
    }
}

const struct desk_ops runner_ops = { runner_start, runner_drop };

struct runner *runner_new(const struct runner_world *w)
{
    struct runner *r = xcalloc(1, sizeof *r);
    r->world = *w;
    list_init(&r->attempts);
    return r;
}

void runner_attach(struct runner *r, struct desk *d) { r->desk = d; }
bool runner_idle(const struct runner *r) { return r->attempts.count == 0; }

void runner_free(struct runner *r)
{
    if (!r)
        return;
    LIST_EACH(&r->attempts, n, tmp)
        attempt_free(CONTAINER_OF(n, struct attempt, node));
    free(r);
}
