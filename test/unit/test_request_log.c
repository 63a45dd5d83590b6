#include "telemetry/request_log.h"
#include "os/fault.h"
#include "os/fd.h"
#include "tap.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

struct world {
    struct limits limits;
    struct loop *loop;
    struct request_log *log;
    int limited;
};
static void on_limit(void *ctx, const char *limit)
{
    struct world *w = ctx;
    w->limited += strcmp(limit, "request_log_bytes_max") == 0;
}
static void world_open(struct world *w)
{
    struct err e;
    *w = (struct world){ .limited = 0 };
    limits_default(&w->limits);
    w->limits.request_log_bytes_max = 65536;
    if (loop_open(&w->loop, &e) < 0 || request_log_open(w->loop, &w->limits, on_limit, w, &w->log, &e) < 0)
        abort();
}
static void world_close(struct world *w)
{
    request_log_free(w->log);
    loop_free(w->loop);
}
static void until_idle(struct world *w)
{
    struct err e;
    while (!request_log_idle(w->log))
        if (loop_turn(w->loop, true, &e) < 0)
            abort();
}
static struct invocation_record record(int n)
{
    struct invocation_record r = { .ns = "default", .service = "f", .revision = "f-00001", .instance = "i", .method = "PUT",
                                   .status = 201, .outcome = INVOCATION_OK, .wall_ms = 1700000000007, .dispatch_us = 5,
                                   .first_byte_us = 6, .total_us = 1234567, .request_bytes = 8, .response_bytes = 9 };
    snprintf(r.path, sizeof r.path, "/%d", n);
    r.trace.trace_id[0] = 0xab;
    return r;
}

TEST(a_line_has_the_shape_that_knative_writes)
{
    static const struct request_note note = { .host = "f.default.localhost", .user_agent = "a \"b\"\n\xff", .referer = "http://x/",
                                              .remote = "::1", .http2 = true };
    struct invocation_record r = record(1);
    struct buf b;
    r.note = &note;
    buf_init(&b, REQUEST_LOG_LINE_MAX);
    request_log_line(&b, &r);
    AUTO_FREE char *text = buf_take_text(&b);
    CHECK(strchr(text, '\n') == text + strlen(text) - 1);
    CHECK_STR(text,
              "{\"time\":\"2023-11-14T22:13:20.007Z\",\"httpRequest\":{\"requestMethod\":\"PUT\",\"requestUrl\":\"/1\","
              "\"requestSize\":\"8\",\"status\":201,\"responseSize\":\"9\",\"userAgent\":\"a \\\"b\\\"\\u000a?\","
              "\"remoteIp\":\"::1\",\"serverIp\":\"\",\"referer\":\"http://x/\",\"latency\":\"1.234567s\","
              "\"protocol\":\"HTTP/2.0\"},\"traceId\":\"ab000000000000000000000000000000\",\"hob\":{"
              "\"invocationId\":\"00000000-0000-0000-0000-000000000000\",\"host\":\"f.default.localhost\","
              "\"namespace\":\"default\",\"service\":\"f\",\"revision\":\"f-00001\",\"instance\":\"i\",\"outcome\":\"ok\","
              "\"cold\":false,\"waitUs\":5,\"firstByteUs\":6}}\n");
    struct request_note worst;
    memset(&worst, 1, sizeof worst);
    worst.host[255] = worst.user_agent[255] = worst.referer[255] = worst.remote[47] = '\0';
    r.note = &worst;
    memset(r.path, 1, sizeof r.path - 1), memset(r.instance, 1, sizeof r.instance - 1);
    memset(r.revision, 1, sizeof r.revision - 1), memset(r.service, 1, sizeof r.service - 1);
    memset(r.ns, 1, sizeof r.ns - 1), memset(r.method, 1, sizeof r.method - 1);
    buf_init(&b, 1 << 20);
    request_log_line(&b, &r);
    CHECK(b.size < REQUEST_LOG_LINE_MAX);
    buf_done(&b);
}

TEST(lines_come_out_whole_and_in_order_and_a_new_file_gets_what_follows)
{
    struct world w;
    char first[] = "/tmp/hob-log-XXXXXX", second[] = "/tmp/hob-log-XXXXXX";
    int a = mkstemp(first), b = mkstemp(second), n = 0;
    CHECK(a >= 0 && b >= 0);
    world_open(&w);
    w.limits.request_log_bytes_max = 1 << 20;
    request_log_free(w.log);
    struct err e;
    CHECK_EQ(request_log_open(w.loop, &w.limits, on_limit, &w, &w.log, &e), 0);
    struct invocation_record r = record(0);
    request_log_record(w.log, &r); /* waits for its file */
    request_log_attach(w.log, fcntl(a, F_DUPFD_CLOEXEC, 0));
    for (n = 1; n < 40; n++) {
        r = record(n);
        request_log_record(w.log, &r);
    }
    until_idle(&w);
    request_log_attach(w.log, fcntl(b, F_DUPFD_CLOEXEC, 0));
    for (; n < 50; n++) {
        r = record(n);
        request_log_record(w.log, &r);
    }
    until_idle(&w);
    CHECK(request_log_counts(w.log).lines == 50 && request_log_counts(w.log).dropped == 0);
    const int files[] = { a, b }, from[] = { 0, 40 }, to[] = { 40, 50 };
    for (int i = 0; i < 2; i++) {
        FILE *f = fdopen(files[i], "r");
        char line[4096];
        rewind(f);
        for (n = from[i]; fgets(line, sizeof line, f); n++) {
            json_t *j = json_loads(line, 0, NULL);
            char path[16];
            snprintf(path, sizeof path, "/%d", n);
            CHECK(j);
            CHECK_STR(json_string_value(json_object_get(json_object_get(j, "httpRequest"), "requestUrl")), path);
            json_decref(j);
        }
        CHECK_EQ(n, to[i]);
        fclose(f);
    }
    world_close(&w);
    unlink(first), unlink(second);
}

TEST(a_reader_that_does_not_read_costs_lines_and_nothing_else)
{
    struct world w;
    struct err e;
    int out = -1, in = -1;
    struct invocation_record r = record(1);
    world_open(&w);
    CHECK_EQ(fd_pipe(&in, &out, &e), 0);
    int flags = fcntl(out, F_GETFL);
    CHECK(fcntl(out, F_SETFL, flags | O_NONBLOCK) == 0);
    while (write(out, &r, sizeof r) > 0 || write(out, &r, 1) > 0) /* full to the brim */
        ;
    CHECK(fcntl(out, F_SETFL, flags) == 0);
    request_log_attach(w.log, out);
    for (int i = 0; i < 2000; i++) {
        request_log_record(w.log, &r);
        if (i % 20 == 0 && loop_turn(w.loop, false, &e) < 0)
            abort();
    }
    CHECK(!request_log_idle(w.log));
    CHECK(request_log_counts(w.log).dropped > 0 && (uint64_t)w.limited == request_log_counts(w.log).dropped);
    world_close(&w); /* comes back, though the pipe is full */
    close(in);
}

TEST(a_file_that_cannot_be_written_is_counted)
{
    struct world w;
    struct invocation_record r = record(1);
    world_open(&w);
    request_log_attach(w.log, open("/dev/full", O_WRONLY | O_CLOEXEC));
    request_log_record(w.log, &r);
    until_idle(&w);
    CHECK(request_log_counts(w.log).dropped == 1 && request_log_counts(w.log).lines == 0);
    world_close(&w);
}

/* A limit of the file's size breaks a line as a full disk does. */
TEST(half_a_line_spoils_none_that_follows)
{
    struct world w;
    char path[] = "/tmp/hob-log-XXXXXX", line[4096];
    struct invocation_record r = record(1);
    struct rlimit before, small;
    int fd = mkstemp(path), good = 0, bad = 0;
    CHECK(fd >= 0 && getrlimit(RLIMIT_FSIZE, &before) == 0);
    world_open(&w);
    void (*ours)(int) = signal(SIGXFSZ, SIG_IGN);
    small = (struct rlimit){ 100, before.rlim_max };
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    request_log_attach(w.log, fcntl(fd, F_DUPFD_CLOEXEC, 0));
    request_log_record(w.log, &r);
    until_idle(&w);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0 && signal(SIGXFSZ, ours) == SIG_IGN);
    CHECK(request_log_counts(w.log).dropped == 1 && request_log_counts(w.log).lines == 0);
    for (int i = 0; i < 2; i++) {
        request_log_record(w.log, &r);
        until_idle(&w);
    }
    FILE *f = fdopen(fd, "r");
    rewind(f);
    while (fgets(line, sizeof line, f)) {
        json_t *j = json_loads(line, 0, NULL);
        *(j ? &good : &bad) += 1;
        json_decref(j);
    }
    CHECK(good == 2 && bad == 1);
    fclose(f);
    world_close(&w);
    unlink(path);
}

TEST_MAIN()
