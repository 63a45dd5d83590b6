#include "telemetry/exporter.h"
#include "tap.h"

struct world {
    struct limits limits;
    struct loop *loop;
    struct exporter *x;
    int posts, limited;
    size_t bytes; /* of the last post */
    char text[64 << 10];
    bool refuse; /* the transport cannot */
};

static int post(void *ctx, struct str body, struct err *e)
{
    struct world *w = ctx;
    w->posts++;
    w->bytes = body.size;
    snprintf(w->text, sizeof w->text, STR_FMT, STR_ARG(body));
    return w->refuse ? err_set(e, CODE_UNAVAILABLE, "nobody is there") : 0;
}
static void on_limit(void *ctx, const char *limit)
{
    struct world *w = ctx;
    w->limited += strcmp(limit, "trace_held_bytes_max") == 0;
}
static const struct exporter_ops ops = { post, on_limit };
static const struct otlp_resource resource = { "hob", "1", NULL };

static void world_open(struct world *w)
{
    struct err e;
    *w = (struct world){ .posts = 0 };
    limits_default(&w->limits);
    w->limits.trace_batch_ms = 0;
    if (loop_open(&w->loop, &e) < 0)
        abort();
    w->x = exporter_new(w->loop, &w->limits, &resource, &ops, w, 1);
}
static void world_close(struct world *w)
{
    exporter_free(w->x);
    loop_free(w->loop);
}
static void turns(struct world *w)
{
    struct err e;
    for (int i = 0; i < 4; i++)
        if (loop_turn(w->loop, false, &e) < 0)
            abort();
}
static void records(struct world *w, int count)
{
    struct invocation_record r = { .ns = "n", .service = "s", .method = "GET", .path = "/", .instance = "i",
                                   .status = 200, .trace = { .span = 7, .sampled = true } };
    r.trace.trace_id[3] = 1;
    for (int i = 0; i < count; i++)
        exporter_record(w->x, &r);
}
static void answer(struct world *w, int status, int64_t retry_after_ms)
{
    exporter_answered(w->x, &(struct exporter_answer){ status, retry_after_ms, status ? NULL : "gone" });
}

TEST(what_comes_together_goes_together_and_one_batch_at_a_time)
{
    struct world w;
    world_open(&w);
    records(&w, 5);
    CHECK(w.posts == 0 && !exporter_idle(w.x));
    turns(&w);
    CHECK_EQ(w.posts, 1);
    CHECK(strstr(w.text, "]}]}]}") && strstr(w.text, "{\"resourceSpans\":") == w.text);
    records(&w, 1);
    turns(&w);
    CHECK_EQ(w.posts, 1); /* the first is not answered yet */
    CHECK(exporter_counts(w.x).held_bytes > w.bytes);
    answer(&w, 200, -1);
    CHECK_EQ(w.posts, 2);
    answer(&w, 204, -1);
    struct exporter_counts c = exporter_counts(w.x);
    CHECK(c.spans == 18 && c.dropped == 0 && c.retries == 0 && c.held_bytes == 0 && exporter_idle(w.x));
    world_close(&w);
}

TEST(what_is_not_sampled_costs_nothing)
{
    struct world w;
    struct invocation_record r = { .method = "GET", .trace = { .span = 7 } };
    world_open(&w);
    r.trace.trace_id[0] = 1;
    exporter_record(w.x, &r);
    CHECK(exporter_idle(w.x) && exporter_counts(w.x).held_bytes == 0);
    world_close(&w);
}

TEST(a_collector_that_is_busy_gets_the_same_again_and_one_that_refuses_does_not)
{
    struct world w;
    world_open(&w);
    w.limits.trace_attempts_max = 3;
    records(&w, 1);
    turns(&w);
    char first[sizeof w.text];
    memcpy(first, w.text, sizeof first);
    answer(&w, 503, 0);
    CHECK_EQ(w.posts, 1);
    turns(&w);
    CHECK_EQ(w.posts, 2);
    CHECK_STR(w.text, first);
    answer(&w, 200, -1);
    CHECK(exporter_counts(w.x).spans == 3 && exporter_counts(w.x).retries == 1);
    records(&w, 1);
    turns(&w);
    answer(&w, 400, 0);
    CHECK(exporter_idle(w.x) && exporter_counts(w.x).dropped == 3);
    records(&w, 1);
    for (int i = 0; i < 3; i++) {
        turns(&w);
        answer(&w, 429, 0);
    }
    turns(&w);
    CHECK_EQ(w.posts, 6); /* given up after the third */
    CHECK(exporter_idle(w.x) && exporter_counts(w.x).dropped == 6);
    world_close(&w);
}

TEST(what_does_not_fit_is_dropped_and_counted_and_nothing_waits_for_the_collector)
{
    struct world w;
    world_open(&w);
    w.limits.trace_held_bytes_max = 131072;
    w.limits.trace_batch_bytes = 65536;
    records(&w, 1000);
    turns(&w);
    struct exporter_counts c = exporter_counts(w.x);
    CHECK(c.held_bytes <= w.limits.trace_held_bytes_max && c.dropped > 0 && (uint64_t)w.limited == c.dropped);
    CHECK(w.bytes <= w.limits.trace_batch_bytes && w.posts == 1);
    for (int i = 0; i < 100 && !exporter_idle(w.x); i++) {
        answer(&w, 200, -1);
        turns(&w);
    }
    CHECK(exporter_idle(w.x));
    CHECK_EQ(exporter_counts(w.x).spans / 3 + exporter_counts(w.x).dropped, 1000);
    world_close(&w);
}

TEST(a_flush_sends_at_once_and_a_transport_that_cannot_is_tried_again)
{
    struct world w;
    world_open(&w);
    w.limits.trace_batch_ms = 600000;
    w.refuse = true;
    records(&w, 1);
    turns(&w);
    CHECK_EQ(w.posts, 0);
    exporter_flush(w.x);
    CHECK(w.posts == 1 && exporter_counts(w.x).retries == 1 && !exporter_idle(w.x));
    w.refuse = false;
    exporter_flush(w.x);
    CHECK_EQ(w.posts, 2);
    answer(&w, 200, -1);
    CHECK(exporter_idle(w.x));
    world_close(&w); /* and with something held: */
    world_open(&w);
    records(&w, 3);
    turns(&w);
    records(&w, 3);
    world_close(&w);
}

TEST(pauses_double_up_to_a_bound_are_the_collectors_where_it_says_and_end)
{
    struct exporter_answer a = { 503, -1, NULL };
    int64_t least[] = { 500, 1000, 2000, 4000, 8000, 15000, 15000 };
    for (uint32_t i = 0; i < COUNT_OF(least); i++) {
        CHECK_EQ(exporter_pause_ms(&a, i + 1, 100, 0), least[i]);
        for (uint64_t random = 1; random < 40000; random += 997) {
            int64_t ms = exporter_pause_ms(&a, i + 1, 100, random);
            CHECK(ms >= least[i] && ms <= 2 * least[i]);
        }
    }
    a.retry_after_ms = 7000;
    CHECK_EQ(exporter_pause_ms(&a, 1, 5, 3), 7000);
    CHECK_EQ(exporter_pause_ms(&a, 5, 5, 3), -1);
    a.retry_after_ms = INT64_MAX;
    CHECK_EQ(exporter_pause_ms(&a, 1, 5, 3), 300000);
    static const struct {
        int status;
        bool again;
    } cases[] = { { 0, true }, { 429, true }, { 502, true }, { 503, true }, { 504, true },
                  { 301, false }, { 400, false }, { 401, false }, { 404, false }, { 413, false }, { 500, false } };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        CHECK_EQ(exporter_pause_ms(&(struct exporter_answer){ cases[i].status, 5, NULL }, 1, 5, 0), cases[i].again ? 5 : -1);
}
TEST_MAIN()
