#include "base/rng.h"
#include "cli/explain.h"
#include "telemetry/record_json.h"
#include "tap.h"

static const char cold_text[] =
    "{\"id\":\"0198f3a2-7c21-7d00-8000-00c0ffee0001\",\"namespace\":\"default\","
    "\"service\":\"event-classifier\",\"revision\":\"event-classifier-00001\","
    "\"instance\":\"event-classifier-00001-x7k2p\",\"method\":\"POST\",\"path\":\"/classify\","
    "\"status\":200,\"outcome\":\"ok\",\"arrivalUnixMs\":1795431845123,"
    "\"arrivalMonotonicUs\":1000000,\"dispatchUs\":398000,\"firstByteUs\":405200,\"totalUs\":406000,"
    "\"requestBytes\":120,\"responseBytes\":64,\"cold\":true,\"queueUs\":210,"
    "\"coveragePermille\":998,\"start\":{\"id\":\"event-classifier-00001-x7k2p\","
    "\"beginMonotonicUs\":1000210,\"phases\":["
    "{\"name\":\"schedule\",\"startUs\":0,\"durationUs\":80,\"bytes\":0,\"outcome\":\"done\"},"
    "{\"name\":\"image_pull\",\"startUs\":85,\"durationUs\":2,\"bytes\":0,\"outcome\":\"warm\"},"
    "{\"name\":\"model_fetch\",\"startUs\":90,\"durationUs\":212000,\"bytes\":46137344,\"outcome\":\"done\"},"
    "{\"name\":\"model_verify\",\"startUs\":40000,\"durationUs\":180500,\"bytes\":46137344,\"outcome\":\"done\"},"
    "{\"name\":\"sandbox\",\"startUs\":120,\"durationUs\":950,\"bytes\":0,\"outcome\":\"done\"},"
    "{\"name\":\"runtime_init\",\"startUs\":220700,\"durationUs\":96000,\"bytes\":0,\"outcome\":\"done\"},"
    "{\"name\":\"model_load\",\"startUs\":316700,\"durationUs\":80300,\"bytes\":46137344,\"outcome\":\"done\"},"
    "{\"name\":\"ready\",\"startUs\":397000,\"durationUs\":790,\"bytes\":0,\"outcome\":\"done\"},"
    "{\"name\":\"first_request_delta\",\"startUs\":0,\"durationUs\":3600,\"bytes\":0,\"outcome\":\"done\"}],"
    "\"caches\":{\"image\":\"hit\",\"model\":\"miss\",\"page_cache\":\"partial\","
    "\"sandbox_pool\":\"hit\",\"zygote\":\"none\",\"snapshot\":\"unknown\"},"
    "\"pageCachePermille\":124,\"error\":\"\"}}";

static const char stats_text[] =
    "{\"invocations\":900,\"cold\":37,\"starts\":37,\"startsFailed\":1,"
    "\"ready\":{\"count\":37,\"p50Us\":190000,\"p90Us\":300000,\"p99Us\":900000,\"maxUs\":901000},"
    "\"budget\":{\"verdict\":\"missed\",\"budgetMs\":200,\"percentile\":95,\"measuredUs\":850000},"
    "\"phases\":[{\"name\":\"model_fetch\",\"count\":37,\"p50Us\":4,\"p99Us\":5,\"failures\":1},"
    "{\"name\":\"model_verify\",\"count\":37,\"p50Us\":33000,\"p99Us\":5},"
    "{\"name\":\"runtime_init\",\"count\":37,\"p50Us\":95000,\"p99Us\":5},"
    "{\"name\":\"model_load\",\"count\":37,\"p50Us\":50000,\"p99Us\":5}]}";

static const char failed_text[] =
    "{\"id\":\"0198f3a2-7c21-7d00-8000-00c0ffee0002\",\"namespace\":\"default\",\"service\":\"cls\","
    "\"revision\":\"cls-00002\",\"instance\":\"cls-00002-abcde\",\"method\":\"GET\",\"path\":\"/\","
    "\"status\":503,\"outcome\":\"failed\",\"arrivalUnixMs\":1795431845123,"
    "\"arrivalMonotonicUs\":5000,\"totalUs\":81000,\"cold\":true,\"queueUs\":100,"
    "\"error\":\"no instance could be started\",\"start\":{\"id\":\"cls-00002-abcde\","
    "\"beginMonotonicUs\":5100,\"failed\":true,\"finished\":true,\"failedPhase\":\"model_verify\","
    "\"error\":\"model file:///m.bin: its hash is not the pinned one\",\"phases\":["
    "{\"name\":\"schedule\",\"durationUs\":50,\"outcome\":\"done\"},"
    "{\"name\":\"model_fetch\",\"startUs\":60,\"durationUs\":60000,\"bytes\":4096,\"outcome\":\"done\"},"
    "{\"name\":\"model_verify\",\"startUs\":60060,\"durationUs\":20000,\"outcome\":\"failed\"}],"
    "\"caches\":{}}}";

static const char warm_text[] =
    "{\"id\":\"0198f3a2-7c21-7d00-8000-00c0ffee0003\",\"namespace\":\"default\",\"service\":\"cls\","
    "\"revision\":\"cls-00002\",\"instance\":\"cls-00002-abcde\",\"method\":\"GET\",\"path\":\"/\","
    "\"status\":200,\"outcome\":\"ok\",\"arrivalUnixMs\":1795431845123,\"arrivalMonotonicUs\":5000,"
    "\"dispatchUs\":40,\"firstByteUs\":2140,\"totalUs\":2300,\"responseBytes\":2048}";

static const char hostile_text[] =
    "{\"id\":\"0198f3a2-7c21-7d00-8000-00c0ffee0004\",\"namespace\":\"default\",\"service\":\"cls\","
    "\"method\":\"GET\",\"path\":\"/\\u001b[2J\\r\\u009b\",\"status\":502,\"outcome\":\"failed\","
    "\"totalUs\":2300,\"error\":\"it died\\u001b[31m \\u202egnitirw\"}";

static json_t *tree(const char *text)
{
    struct limits l;
    struct err e = { 0 };
    json_t *j = NULL;
    limits_default(&l);
    if (json_read(str_of(text), &l, &j, &e) < 0)
        printf("# %s\n", e.text);
    return j;
}

static struct invocation_record record_of(const char *text)
{
    struct err e = { 0 };
    struct invocation_record r = { 0 };
    AUTO_JSON json_t *j = tree(text);
    if (record_from_json(j, &r, &e) < 0)
        printf("# %s\n", e.text);
    return r;
}


/* What explain_draw() gives for a terminal; the caller frees. */
static char *drawn(const char *record, const char *stats, struct term term)
{
    struct buf b;
    struct invocation_record r = record_of(record);
    struct explain_stats s = { 0 };
    AUTO_JSON json_t *j = stats ? tree(stats) : NULL;
    if (j)
        explain_stats_read(j, &s);
    buf_init(&b, KIB(64));
    explain_draw(&r, &s, &term, &b);
    return buf_take_text(&b);
}

/* Line by line, so that a difference names its line. */
static void golden(const char *text, const char *expected)
{
    struct str got = str_of(text), want = str_of(expected);
    for (int line = 1; got.size || want.size; line++) {
        struct str a = str_cut(&got, '\n'), b = str_cut(&want, '\n');
        if (!str_eq(a, b))
            FAIL("line %d is\n# |" STR_FMT "|\n# and should be\n# |" STR_FMT "|", line, STR_ARG(a),
                 STR_ARG(b));
    }
}

TEST(a_cold_start_on_a_wide_terminal)
{
    AUTO_FREE char *text =
        drawn(cold_text, stats_text, (struct term){ .utf8 = true, .tty = true, .width = 100 });
    golden(text, "POST /classify   answered 200   first byte after 405 ms   cold\n"
           "default/event-classifier   instance event-classifier-00001-x7k2p   2026-11-23 11:04:05.123 UTC\n"
           "invocation 0198f3a2-7c21-7d00-8000-00c0ffee0001\n"
           "\n"
           "                 start      took   usually   wait  0           200 ms\n"
           "queue             0 ms   0.21 ms             <1 %  ▏           ┊            ┊\n"
           "schedule       0.21 ms   0.08 ms             <1 %  ▏           ┊            ┊\n"
           "image_pull     0.29 ms  0.002 ms             <1 %  ◇           ┊            ┊  warm\n"
           "model_fetch    0.30 ms    212 ms  0.004 ms   52 %  █████████████▌           ┊  44.0 MiB at 208 MiB/s\n"
           "model_verify   40.2 ms    180 ms   33.0 ms    2 %  ┊ ░░░░░░░░░░░░▏          ┊  44.0 MiB at 244 MiB/s\n"
           "sandbox        0.33 ms   0.95 ms                   ░           ┊            ┊\n"
           "runtime_init    221 ms   96.0 ms   95.0 ms   24 %  ┊           ┊ ██████▎    ┊\n"
           "model_load      317 ms   80.3 ms   50.0 ms   20 %  ┊           ┊       █████▍  44.0 MiB at 548 MiB/s\n"
           "ready           397 ms   0.79 ms             <1 %  ┊           ┊            ▏\n"
           "handler         398 ms   7.20 ms              2 %  ┊           ┊            ▌\n"
           "answer          405 ms   0.80 ms                   ┊           ┊            ▐  64 B\n"
           "                                                   █ waited for  ░ meanwhile\n"
           "\n"
           "accounted    99.8 % of the 405 ms until the first byte\n"
           "caches       image hit   model miss   page cache 12.4 %   sandbox pool hit\n"
           "first call   its handler took 3.60 ms longer than the median of the warm calls\n"
           "usually      ready after 190 ms (p50), 900 ms (p99) over 37 starts; this one after 397 ms\n"
           "             (model_fetch took 212 ms longer than usual)\n"
           "\n"
           "what cost most\n"
           " 1  model_fetch 212 ms: the model was not in the store: 44.0 MiB at 208 MiB/s from its origin; paid\n"
           "    once per digest and machine\n"
           "    → later starts here do not pay it; to spare the first caller too, deploy and invoke once before\n"
           "      the traffic comes\n"
           " 2  runtime_init 96.0 ms: the function's own start, from exec until it answered its readiness probe\n"
           "    → import and build less before listening, give it more cpu, or keep one instance warm:\n"
           "      autoscaling.knative.dev/min-scale: \"1\"\n"
           " 3  model_load 80.3 ms: the function loaded its model: 44.0 MiB at 548 MiB/s\n"
           "    → map the weights (mmap) instead of reading them: all instances then share one copy; or use a\n"
           "      smaller model\n");
}

TEST(a_cold_start_on_a_narrow_one_without_utf8)
{
    AUTO_FREE char *text = drawn(cold_text, stats_text, (struct term){ .width = 64 });
    golden(text, "POST /classify   answered 200   first byte after 405 ms   cold\n"
           "default/event-classifier   instance event-classifier-00001-x7k2p\n"
           "2026-11-23T11:04:05.123Z\n"
           "invocation 0198f3a2-7c21-7d00-8000-00c0ffee0001\n"
           "\n"
           "                  took   wait  0               200 ms\n"
           "queue          0.21 ms   <1 %  |               .               .\n"
           "schedule       0.08 ms   <1 %  |               .               .\n"
           "image_pull    0.002 ms   <1 %  o               .               .\n"
           "model_fetch     212 ms   52 %  #################|              .\n"
           "model_verify    180 ms    2 %  .  --------------#              .\n"
           "sandbox        0.95 ms         -               .               .\n"
           "runtime_init   96.0 ms   24 %  .               .|########      .\n"
           "model_load     80.3 ms   20 %  .               .        |######|\n"
           "ready          0.79 ms   <1 %  .               .               |\n"
           "handler        7.20 ms    2 %  .               .               #\n"
           "answer         0.80 ms         .               .               |\n"
           "\n"
           "accounted    99.8 % of the 405 ms until the first byte\n"
           "caches       image hit   model miss   page cache 12.4 %\n"
           "             sandbox pool hit\n"
           "first call   its handler took 3.60 ms longer than the median of\n"
           "             the warm calls\n"
           "usually      ready after 190 ms (p50), 900 ms (p99) over 37\n"
           "             starts; this one after 397 ms (model_fetch took 212\n"
           "             ms longer than usual)\n"
           "\n"
           "what cost most\n"
           " 1  model_fetch 212 ms: the model was not in the store: 44.0 MiB\n"
           "    at 208 MiB/s from its origin; paid once per digest and\n"
           "    machine\n"
           "    > later starts here do not pay it; to spare the first caller\n"
           "      too, deploy and invoke once before the traffic comes\n"
           " 2  runtime_init 96.0 ms: the function's own start, from exec\n"
           "    until it answered its readiness probe\n"
           "    > import and build less before listening, give it more cpu,\n"
           "      or keep one instance warm:\n"
           "      autoscaling.knative.dev/min-scale: \"1\"\n"
           " 3  model_load 80.3 ms: the function loaded its model: 44.0 MiB\n"
           "    at 548 MiB/s\n"
           "    > map the weights (mmap) instead of reading them: all\n"
           "      instances then share one copy; or use a smaller model\n");
}

TEST(a_failed_start)
{
    AUTO_FREE char *text = drawn(failed_text, NULL, (struct term){ .utf8 = true, .width = 90 });
    golden(text, "GET /   answered 503   after 81.0 ms   cold   failed\n"
           "default/cls   instance cls-00002-abcde   2026-11-23T11:04:05.123Z\n"
           "invocation 0198f3a2-7c21-7d00-8000-00c0ffee0002\n"
           "\n"
           "                 start      took   wait  0              50 ms\n"
           "queue             0 ms   0.10 ms   <1 %  ▏              ┊\n"
           "schedule       0.10 ms   0.05 ms   <1 %  ▏              ┊\n"
           "model_fetch    0.16 ms   60.0 ms   74 %  ██████████████████▌        4.00 KiB at 66.7 KiB/s\n"
           "model_verify   60.2 ms   20.0 ms   25 %  ┊              ┊  ▐█████▋  failed\n"
           "                                         █ waited for  ░ meanwhile\n"
           "\n"
           "what went wrong\n"
           " 1  the start failed in model_verify: model file:///m.bin: its hash is not the pinned one\n"
           "    → `hob describe cls` shows the condition, `hob logs cls` what the function said\n");
}

TEST(a_warm_call)
{
    AUTO_FREE char *text = drawn(warm_text, NULL, (struct term){ .utf8 = true, .width = 80 });
    golden(text, "GET /   answered 200   first byte after 2.14 ms   warm\n"
           "default/cls   instance cls-00002-abcde   2026-11-23T11:04:05.123Z\n"
           "invocation 0198f3a2-7c21-7d00-8000-00c0ffee0003\n"
           "\n"
           "            start      took   wait  0             1 ms           2 ms\n"
           "queue        0 ms   0.04 ms    2 %  ▌             ┊              ┊\n"
           "handler   0.04 ms   2.10 ms   98 %  ▐██████████████████████████████▋\n"
           "answer    2.14 ms   0.16 ms         ┊             ┊              ┊ ▐██  2.00 KiB\n"
           "\n"
           "what cost most\n"
           " 1  handler 2.10 ms: the function's own work on this request\n");
}

/* What waited in the queue until its deadline was never the function's work. */
TEST(who_was_never_given_to_an_instance_waited)
{
    struct explain x;
    const struct invocation_record r = { .method = "GET", .status = 504, .total_us = 1500133,
                                         .outcome = INVOCATION_TIMEOUT };
    explain_lay_out(&r, &x);
    CHECK_EQ(x.row_count, 1);
    CHECK_EQ(x.rows[0].what, PHASE_QUEUE);
    CHECK_EQ(x.rows[0].duration_us, 1500133);
}

TEST(colour_adds_nothing_but_colour)
{
    struct term plain = { .utf8 = true, .width = 100 }, colour = plain;
    struct buf stripped;
    colour.colour = true;
    AUTO_FREE char *a = drawn(cold_text, stats_text, plain);
    AUTO_FREE char *b = drawn(cold_text, stats_text, colour);
    CHECK(strlen(b) > strlen(a));
    buf_init(&stripped, KIB(64));
    for (const char *at = b; *at; at++)
        if (*at == '\033')
            at = strchr(at, 'm');
        else
            buf_append(&stripped, at, 1);
    AUTO_FREE char *c = buf_take_text(&stripped);
    golden(c, a);
}

TEST(no_line_is_wider_than_the_terminal)
{
    for (uint32_t width = 60; width < 200; width++) {
        AUTO_FREE char *text =
            drawn(cold_text, stats_text, (struct term){ .utf8 = width % 2 == 0, .width = width });
        struct str rest = str_of(text);
        while (rest.size) {
            struct str line = str_cut(&rest, '\n');
            if (term_columns(line) > width)
                FAIL("at %u columns: |" STR_FMT "|", width, STR_ARG(line));
            CHECK(!str_ends(line, STR(" ")));
        }
    }
}

TEST(a_function_cannot_steer_the_terminal_through_its_record)
{
    AUTO_FREE char *text = drawn(hostile_text, NULL, (struct term){ .utf8 = true, .width = 100 });
    CHECK(!strchr(text, '\033') && !strchr(text, '\r'));
    CHECK(strstr(text, "/?[2J") != NULL);  /* the words are there, without their power */
    CHECK(strstr(text, "died?[31m") != NULL);
}

/* ---- blame ---- */

static struct invocation_record cold_record(uint32_t first_byte_us)
{
    struct invocation_record r = { .cold = true, .has_start = true, .first_byte_us = first_byte_us,
                                   .total_us = first_byte_us, .dispatch_us = first_byte_us - 100,
                                   .coverage_permille = 1000, .status = 200 };
    snprintf(r.service, sizeof r.service, "s");
    return r;
}

static void phase_set(struct invocation_record *r, enum phase p, uint64_t start_us,
                      int64_t duration_us)
{
    r->start.phases[p] = (struct phase_mark){ start_us, duration_us, 0, PHASE_DONE };
}

static int64_t blamed(const struct explain *x, unsigned what)
{
    for (size_t i = 0; i < x->row_count; i++)
        if (x->rows[i].what == what)
            return x->rows[i].blame_us;
    return -1;
}

TEST(blame_goes_to_what_ends_last)
{
    struct invocation_record r = cold_record(1000);
    struct explain x;
    phase_set(&r, PHASE_SANDBOX, 0, 300);
    phase_set(&r, PHASE_IMAGE_PULL, 100, 600); /* 100..700 outlasts the sandbox */
    phase_set(&r, PHASE_RUNTIME_INIT, 700, 200);
    explain_lay_out(&r, &x);
    CHECK_EQ(blamed(&x, PHASE_SANDBOX), 100);
    CHECK_EQ(blamed(&x, PHASE_IMAGE_PULL), 600);
    CHECK_EQ(blamed(&x, PHASE_RUNTIME_INIT), 200);
    CHECK_EQ(blamed(&x, EXPLAIN_HANDLER), 100);
    CHECK_EQ(x.unblamed_us, 0);
}

TEST(hashing_is_not_blamed_while_the_bytes_still_come)
{
    struct invocation_record r = cold_record(1000);
    struct explain x;
    phase_set(&r, PHASE_MODEL_FETCH, 0, 800);
    phase_set(&r, PHASE_MODEL_VERIFY, 10, 850); /* follows, and ends at 860 */
    explain_lay_out(&r, &x);
    CHECK_EQ(blamed(&x, PHASE_MODEL_FETCH), 800);
    CHECK_EQ(blamed(&x, PHASE_MODEL_VERIFY), 60);
    CHECK_EQ(x.unblamed_us, 40); /* 860..900, before the dispatch */
}

TEST(a_start_older_than_the_request_is_blamed_only_for_what_the_request_saw)
{
    struct invocation_record r = cold_record(500);
    struct explain x;
    r.arrival_us = 10000;
    r.start.begin_us = 9000;
    phase_set(&r, PHASE_RUNTIME_INIT, 0, 1400); /* -1000..400 */
    explain_lay_out(&r, &x);
    CHECK_EQ(x.rows[0].start_us, -1000);
    CHECK_EQ(blamed(&x, PHASE_RUNTIME_INIT), 400);
}

TEST(blame_and_remainder_add_up_to_the_wait)
{
    struct rng rng = { 11 };
    for (int round = 0; round < 2000; round++) {
        struct invocation_record r = cold_record(101 + (uint32_t)rng_below(&rng, 1000000));
        struct explain x;
        int64_t sum = 0;
        r.queue_us = (uint32_t)rng_below(&rng, 1000);
        for (unsigned p = PHASE_SCHEDULE; p < PHASE_FIRST_REQUEST_DELTA; p++)
            if (rng_chance(&rng, 60))
                phase_set(&r, (enum phase)p, rng_below(&rng, 1200000),
                          (int64_t)rng_below(&rng, 400000));
        explain_lay_out(&r, &x);
        for (size_t i = 0; i < x.row_count; i++) {
            CHECK(x.rows[i].blame_us >= 0 && x.rows[i].blame_us <= x.rows[i].duration_us);
            sum += x.rows[i].blame_us;
        }
        CHECK_EQ(sum + x.unblamed_us, x.wait_us);
    }
}

/* ---- advice ---- */

static const struct explain_advice *advice_about(const struct invocation_record *r, unsigned what,
                                                 struct explain_advice list[EXPLAIN_ADVICE_MAX])
{
    struct explain x;
    explain_lay_out(r, &x);
    size_t count = explain_advise(r, &x, list);
    for (size_t i = 0; i < count; i++)
        if (list[i].what == what)
            return &list[i];
    return NULL;
}

TEST(advice_names_the_dearest_first_and_leaves_out_the_cheap)
{
    struct explain_advice list[EXPLAIN_ADVICE_MAX];
    struct invocation_record r = cold_record(1000000);
    struct explain x;
    phase_set(&r, PHASE_SANDBOX, 0, 50000); /* a twentieth: not worth a word */
    phase_set(&r, PHASE_RUNTIME_INIT, 50000, 250000);
    phase_set(&r, PHASE_MODEL_LOAD, 300000, 699000);
    explain_lay_out(&r, &x);
    CHECK_EQ(explain_advise(&r, &x, list), 2);
    CHECK_EQ(list[0].what, PHASE_MODEL_LOAD);
    CHECK_EQ(list[1].what, PHASE_RUNTIME_INIT);
}

TEST(nothing_is_advised_about_a_start_of_less_than_a_millisecond)
{
    struct explain_advice list[EXPLAIN_ADVICE_MAX];
    struct invocation_record r = cold_record(1000);
    phase_set(&r, PHASE_SANDBOX, 0, 900);
    CHECK(!advice_about(&r, PHASE_SANDBOX, list));
}

TEST(a_missed_pool_is_advised_to_grow_and_a_hit_one_is_not)
{
    struct explain_advice list[EXPLAIN_ADVICE_MAX];
    struct invocation_record r = cold_record(10000);
    phase_set(&r, PHASE_SANDBOX, 0, 9000);
    r.start.caches[CACHE_SANDBOX_POOL] = CACHE_MISS;
    const struct explain_advice *a = advice_about(&r, PHASE_SANDBOX, list);
    CHECK(a && strstr(a->change, "sandbox_pool"));
    r.start.caches[CACHE_SANDBOX_POOL] = CACHE_HIT;
    a = advice_about(&r, PHASE_SANDBOX, list);
    CHECK(a && !a->change[0]);
}

TEST(an_unreported_model_load_is_asked_for_only_where_there_is_a_model)
{
    struct explain_advice list[EXPLAIN_ADVICE_MAX];
    struct invocation_record r = cold_record(100000);
    phase_set(&r, PHASE_RUNTIME_INIT, 0, 90000);
    const struct explain_advice *a = advice_about(&r, PHASE_RUNTIME_INIT, list);
    CHECK(a && !strstr(a->change, "HOB_PHASES_FD"));
    r.start.caches[CACHE_MODEL] = CACHE_HIT;
    a = advice_about(&r, PHASE_RUNTIME_INIT, list);
    CHECK(a && strstr(a->change, "HOB_PHASES_FD"));
    phase_set(&r, PHASE_MODEL_LOAD, 50000, 40000);
    a = advice_about(&r, PHASE_RUNTIME_INIT, list);
    CHECK(a && !strstr(a->change, "HOB_PHASES_FD"));
}

TEST(verification_from_memory_is_not_blamed_on_the_disk)
{
    struct explain_advice list[EXPLAIN_ADVICE_MAX];
    struct invocation_record r = cold_record(100000);
    phase_set(&r, PHASE_MODEL_VERIFY, 0, 90000);
    const struct explain_advice *a = advice_about(&r, PHASE_MODEL_VERIFY, list);
    CHECK(a && !strstr(a->finding, "in memory")); /* not looked at, so nothing is said */
    r.start.caches[CACHE_PAGE_CACHE] = CACHE_HIT;
    r.start.page_cache_permille = 1000;
    a = advice_about(&r, PHASE_MODEL_VERIFY, list);
    CHECK(a && !a->change[0]);
    r.start.page_cache_permille = 100;
    a = advice_about(&r, PHASE_MODEL_VERIFY, list);
    CHECK(a && strstr(a->change, "disk"));
}

TEST(a_first_request_that_was_slow_is_advised_to_warm_up)
{
    struct explain_advice list[EXPLAIN_ADVICE_MAX];
    struct invocation_record r = cold_record(100000);
    r.dispatch_us = 20000;
    phase_set(&r, PHASE_RUNTIME_INIT, 0, 20000);
    const struct explain_advice *a = advice_about(&r, EXPLAIN_HANDLER, list);
    CHECK(a && !a->change[0]);
    phase_set(&r, PHASE_FIRST_REQUEST_DELTA, 0, 60000);
    a = advice_about(&r, EXPLAIN_HANDLER, list);
    CHECK(a && strstr(a->change, "warmup"));
}

TEST(a_record_that_does_not_account_for_its_time_says_so)
{
    struct explain_advice list[EXPLAIN_ADVICE_MAX];
    struct invocation_record r = cold_record(100000);
    r.coverage_permille = 990;
    CHECK(!advice_about(&r, EXPLAIN_KINDS, list));
    r.coverage_permille = 950;
    const struct explain_advice *a = advice_about(&r, EXPLAIN_KINDS, list);
    CHECK(a && a->cost_us == 5000);
}

TEST(stats_are_read_by_name_and_may_hold_anything_else)
{
    struct explain_stats s;
    AUTO_JSON json_t *j = tree(stats_text);
    AUTO_JSON json_t *list = tree("{\"phases\":[{\"name\":\"sandbox\",\"count\":2,\"p50Us\":9},"
                                  "{\"name\":\"of_a_newer_hob\",\"count\":1}],\"ready\":7}");
    explain_stats_read(j, &s);
    CHECK_EQ(s.phases[PHASE_MODEL_LOAD].p50_us, 50000);
    CHECK_EQ(s.failures[PHASE_MODEL_FETCH], 1);
    CHECK_EQ(s.ready.p99_us, 900000);
    CHECK_STR(s.budget, "missed");
    CHECK_EQ(s.budget_measured_us, 850000);
    explain_stats_read(list, &s);
    CHECK_EQ(s.phases[PHASE_SANDBOX].p50_us, 9);
    CHECK_EQ(s.ready.count, 0);
    explain_stats_read(NULL, &s);
    CHECK_EQ(s.invocations, 0);
}

TEST_MAIN()
