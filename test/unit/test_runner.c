/* Attempts over a socket: what is sent, what of the answer is kept, and what each way of ending means. */
#include "invocation/runner.h"
#include "tap.h"

#include <sys/socket.h>
#include <unistd.h>

struct story {
    struct loop *loop;
    struct limits limits;
    struct runner *runner;
    int far; /* the gateway's end */
    bool unreachable;
    uint32_t overs;
    enum invocation_came came;
    uint32_t status, attempt;
    uint64_t retry_after_ms, answer_bytes;
    char answer[4096], why[256], request[8192];
};
static struct story *the_story;

/* The desk's part, without a desk. */
void desk_over(struct desk *d, const struct uuid *id, const struct invocation_end *end)
{
    struct story *s = the_story;
    (void)d;
    ASSERT(id->at[0] == 7);
    s->overs++;
    s->came = end->came;
    s->status = end->answer_status;
    s->attempt = end->attempt;
    s->retry_after_ms = end->retry_after_ms;
    s->answer_bytes = end->answer_bytes;
    snprintf(s->why, sizeof s->why, "%s", end->why ? end->why : "");
    snprintf(s->answer, sizeof s->answer, "%.*s", (int)end->answer_size, end->take_answer ? end->take_answer : "");
    free(end->take_answer);
}

static int connect_to(void *ctx, struct err *e)
{
    struct story *s = ctx;
    int ends[2];
    if (s->unreachable)
        return err_set(e, CODE_UNAVAILABLE, "nobody is there");
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    s->far = ends[1];
    return ends[0];
}

static int64_t wall_ns(void *ctx)
{
    (void)ctx;
    return INT64_C(1700000000000000000);
}

static void story_begin(struct story *s)
{
    struct err e;
    *s = (struct story){ .far = -1 };
    the_story = s;
    limits_default(&s->limits);
    s->limits.invoke_answer_bytes_max = 1024;
    ASSERT(loop_open(&s->loop, &e) == 0);
    s->runner = runner_new(&(struct runner_world){ s->loop, &s->limits, connect_to, s, wall_ns });
}

static void story_done(struct story *s)
{
    runner_free(s->runner);
    loop_free(s->loop);
    if (s->far >= 0)
        (void)close(s->far);
}

static void start(struct story *s, struct str checkpoint)
{
    const struct desk_attempt a = {
        .id = { { 7 } }, .attempt = 3, .ns = "default", .service = "greeter", .host = "h", .checkpoint = checkpoint,
        .deadline_ms = INT64_C(1700000000000) + 5000,
        .request = STR("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"),
    };
    runner_ops.start(s->runner, &a);
}

/* Turns until the request is whole, or the attempt is over. */
static void request_read(struct story *s)
{
    struct err e;
    size_t at = 0;
    while (s->overs == 0 && !strstr(s->request, "hello")) {
        ASSERT(loop_turn(s->loop, at == 0, &e) >= 0);
        ssize_t n = read(s->far, s->request + at, sizeof s->request - 1 - at);
        at += n > 0 ? (size_t)n : 0;
    }
}

static void say(struct story *s, const char *text, size_t pieces_of)
{
    struct err e;
    size_t size = strlen(text);
    for (size_t at = 0; at < size && s->overs == 0; at += pieces_of) {
        ASSERT(write(s->far, text + at, MIN(pieces_of, size - at)) > 0);
        ASSERT(loop_turn(s->loop, true, &e) >= 0);
    }
}

static void end(struct story *s)
{
    struct err e;
    if (s->far >= 0)
        (void)close(s->far);
    s->far = -1;
    for (int i = 0; i < 100 && s->overs == 0; i++)
        ASSERT(loop_turn(s->loop, true, &e) >= 0);
}

TEST(the_stored_request_is_sent_with_what_an_attempt_adds)
{
    struct story s;
    story_begin(&s);
    start(&s, STR("half way"));
    request_read(&s);
    static const char want[] = "POST /x HTTP/1.1\r\nHob-Invocation-Id: 07000000-0000-0000-0000-000000000000\r\n"
                               "Hob-Attempt: 3\r\nConnection: close\r\nHob-Deadline: 5000\r\n"
                               "Hob-Checkpoint: aGFsZiB3YXk=\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    bool same = strcmp(s.request, want) == 0, busy = !runner_idle(s.runner);
    if (!same)
        printf("# %s\n", s.request);
    story_done(&s);
    CHECK(same && busy);
}

TEST(each_way_of_ending_means_what_it_must)
{
    static const struct {
        const char *answer;
        enum invocation_came came;
        uint32_t status;
        uint64_t retry_after_ms;
        const char *kept;
    } rows[] = {
        { "HTTP/1.1 200 OK\r\nX-A: b\r\nHob-Timing: 1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
          INVOCATION_CAME_ANSWER, 200, 0, "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi" },
        { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n",
          INVOCATION_CAME_ANSWER, 201, 0, "HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nhi!" },
        { "HTTP/1.1 204 No Content\r\n\r\n", INVOCATION_CAME_ANSWER, 204, 0,
          "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n" },
        { "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
          INVOCATION_CAME_ANSWER, 503, 7000, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n" },
        { "HTTP/1.1 200 OK\r\n\r\nuntil it ends", INVOCATION_CAME_ANSWER, 200, 0,
          "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nuntil it ends" },
        { "HTTP/1.1 503 Service Unavailable\r\nHob-Problem: queue-full\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n",
          INVOCATION_CAME_REFUSED, 0, 2000, "" },
        { "HTTP/1.1 404 Not Found\r\nHob-Problem: unknown-host\r\nContent-Length: 0\r\n\r\n", INVOCATION_CAME_REFUSED, 0, 0, "" },
        { "HTTP/1.1 502 Bad Gateway\r\nHob-Problem: instance-died\r\nContent-Length: 0\r\n\r\n", INVOCATION_CAME_BROKEN, 0, 0, "" },
        { "HTTP/1.1 504 Gateway Timeout\r\nHob-Problem: deadline\r\nContent-Length: 0\r\n\r\n", INVOCATION_CAME_BROKEN, 0, 0, "" },
        { "HTTP/1.1 508 Loop Detected\r\nHob-Problem: too-many-hops\r\nContent-Length: 0\r\n\r\n", INVOCATION_CAME_ANSWER, 508, 0,
          "HTTP/1.1 508 Loop Detected\r\nContent-Length: 0\r\n\r\n" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", INVOCATION_CAME_BROKEN, 0, 0, "" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", INVOCATION_CAME_BROKEN, 0, 0, "" },
        { "HTTP/1.1 2", INVOCATION_CAME_BROKEN, 0, 0, "" },
        { "nonsense\r\n\r\n", INVOCATION_CAME_BROKEN, 0, 0, "" },
        { "", INVOCATION_CAME_BROKEN, 0, 0, "" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (size_t pieces = 1; pieces < 1000; pieces += 499) {
            struct story s;
            story_begin(&s);
            start(&s, (struct str){ NULL, 0 });
            request_read(&s);
            say(&s, rows[i].answer, pieces);
            end(&s);
            bool right = s.overs == 1 && s.attempt == 3 && s.came == rows[i].came && s.status == rows[i].status &&
                         s.retry_after_ms == rows[i].retry_after_ms && strcmp(s.answer, rows[i].kept) == 0 &&
                         runner_idle(s.runner) && (s.came != INVOCATION_CAME_BROKEN || s.why[0]);
            if (!right)
                printf("# %zu: %u times, came %d, status %u, \"%s\", kept \"%s\"\n", i, s.overs, (int)s.came, s.status, s.why,
                       s.answer);
            story_done(&s);
            CHECK(right);
        }
}

TEST(an_answer_longer_than_is_kept_is_cut_and_says_so)
{
    struct story s;
    char text[3000];
    story_begin(&s);
    start(&s, (struct str){ NULL, 0 });
    request_read(&s);
    int head = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n");
    memset(text + head, 'a', 2000);
    text[head + 2000] = '\0';
    say(&s, text, 700);
    bool cut = strstr(s.answer, "Hob-Answer-Cut: 2000\r\nContent-Length: 1024\r\n\r\na") != NULL;
    uint64_t bytes = s.answer_bytes;
    story_done(&s);
    CHECK(cut);
    CHECK_EQ(bytes, 2000);
}

TEST(one_that_cannot_connect_was_never_had_and_is_told_later)
{
    struct story s;
    story_begin(&s);
    s.unreachable = true;
    start(&s, (struct str){ NULL, 0 });
    uint32_t at_once = s.overs;
    runner_ops.drop(s.runner, &(struct uuid){ { 7 } }, 3); /* is no second end */
    end(&s);
    story_done(&s);
    CHECK_EQ(at_once, 0);
    CHECK_EQ(s.overs, 1);
    CHECK_EQ(s.came, INVOCATION_CAME_REFUSED);
    CHECK(strcmp(s.why, "nobody is there") == 0);
}

TEST(one_that_is_dropped_ends_its_connection_and_others_do_not)
{
    struct story s;
    char byte;
    story_begin(&s);
    start(&s, (struct str){ NULL, 0 });
    request_read(&s);
    runner_ops.drop(s.runner, &(struct uuid){ { 7 } }, 2);
    runner_ops.drop(s.runner, &(struct uuid){ { 8 } }, 3);
    uint32_t others = s.overs;
    runner_ops.drop(s.runner, &(struct uuid){ { 7 } }, 3);
    ssize_t n = read(s.far, &byte, 1);
    story_done(&s);
    CHECK_EQ(others, 0);
    CHECK_EQ(s.overs, 1);
    CHECK_EQ(s.came, INVOCATION_CAME_BROKEN);
    CHECK_EQ(n, 0);
}

TEST_MAIN()
