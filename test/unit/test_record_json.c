#include "telemetry/record_json.h"
#include "base/rng.h"
#include "tap.h"

static void random_text(struct rng *rng, char *into, size_t size)
{
    size_t n = (size_t)rng_below(rng, size);
    for (size_t i = 0; i < n; i++)
        into[i] = (char)(1 + rng_below(rng, 127));
    into[n] = '\0';
}
static uint64_t some(struct rng *rng, uint64_t max)
{
    switch (rng_below(rng, 4)) {
    case 0: return 0;
    case 1: return max;
    default: return max == UINT64_MAX ? rng_next(rng) : rng_next(rng) % (max + 1);
    }
}

static void random_start(struct rng *rng, struct start_record *s)
{
    random_text(rng, s->id, sizeof s->id);
    s->begin_us = some(rng, INT64_MAX);
    s->begin_wall_ms = (int64_t)some(rng, INT64_MAX);
    for (unsigned p = 0; p < PHASES; p++) {
        struct phase_mark *m = &s->phases[p];
        m->outcome = (enum phase_outcome)rng_below(rng, PHASE_FAILED + 1);
        if (m->outcome == PHASE_ABSENT)
            continue;
        m->start_us = some(rng, INT64_MAX);
        m->duration_us = (int64_t)rng_next(rng); /* a difference may be negative */
        m->bytes = some(rng, INT64_MAX);
    }
    for (unsigned c = 0; c < CACHES; c++)
        s->caches[c] = (enum cache_state)rng_below(rng, CACHE_HIT + 1);
    s->page_cache_permille = (uint32_t)some(rng, UINT32_MAX);
    s->failed = rng_chance(rng, 50);
    s->finished = rng_chance(rng, 50);
    s->failed_phase = s->failed ? (enum phase)rng_below(rng, PHASES) : 0;
    random_text(rng, s->error, sizeof s->error);
}

static void random_record(struct rng *rng, struct invocation_record *r)
{
    memset(r, 0, sizeof *r);
    for (size_t i = 0; i < sizeof r->id.at; i++)
        r->id.at[i] = (uint8_t)rng_next(rng);
    for (size_t i = 0; i < sizeof r->trace.trace_id && rng_chance(rng, 95); i++)
        r->trace.trace_id[i] = (uint8_t)rng_next(rng);
    random_text(rng, r->ns, sizeof r->ns);
    random_text(rng, r->service, sizeof r->service);
    random_text(rng, r->revision, sizeof r->revision);
    random_text(rng, r->instance, sizeof r->instance);
    random_text(rng, r->method, sizeof r->method);
    random_text(rng, r->path, sizeof r->path);
    random_text(rng, r->error, sizeof r->error);
    r->status = (uint16_t)some(rng, UINT16_MAX);
    r->outcome = (enum invocation_outcome)rng_below(rng, INVOCATION_OUTCOMES);
    r->wall_ms = (int64_t)some(rng, INT64_MAX);
    r->arrival_us = some(rng, INT64_MAX);
    r->dispatch_us = (uint32_t)some(rng, UINT32_MAX);
    r->first_byte_us = (uint32_t)some(rng, UINT32_MAX);
    r->total_us = (uint32_t)some(rng, UINT32_MAX);
    r->request_bytes = some(rng, INT64_MAX);
    r->response_bytes = some(rng, INT64_MAX);
    r->cold = rng_chance(rng, 50);
    r->queue_us = (uint32_t)some(rng, UINT32_MAX);
    r->coverage_permille = (uint32_t)some(rng, 1000);
    r->has_start = rng_chance(rng, 50);
    if (r->has_start)
        random_start(rng, &r->start);
}

TEST(a_record_comes_back_as_it_was)
{
    struct rng rng = { 21 };
    for (int i = 0; i < 2000; i++) {
        struct invocation_record in, out;
        struct err e = { 0 };
        random_record(&rng, &in);
        /* what random_text left behind the NUL is not part of the value */
        AUTO_JSON json_t *j = record_to_json(&in);
        AUTO_FREE char *text = json_dumps(j, JSON_COMPACT);
        AUTO_JSON json_t *again = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        memset(&out, 0xee, sizeof out);
        if (!again || record_from_json(again, &out, &e) != 0)
            FAIL("round %d: %s in %s", i, e.text, text);
        AUTO_JSON json_t *second = record_to_json(&out);
        CHECK(json_equal(j, second));
        CHECK(memcmp(&in.id, &out.id, sizeof in.id) == 0);
        CHECK(memcmp(&in.trace, &out.trace, sizeof in.trace) == 0);
        CHECK_STR(in.path, out.path);
        CHECK(in.status == out.status && in.outcome == out.outcome && in.wall_ms == out.wall_ms &&
              in.arrival_us == out.arrival_us && in.dispatch_us == out.dispatch_us &&
              in.first_byte_us == out.first_byte_us && in.total_us == out.total_us &&
              in.request_bytes == out.request_bytes && in.response_bytes == out.response_bytes &&
              in.cold == out.cold && in.queue_us == out.queue_us &&
              in.coverage_permille == out.coverage_permille && in.has_start == out.has_start);
        CHECK(strcmp(in.ns, out.ns) == 0 && strcmp(in.service, out.service) == 0 &&
              strcmp(in.revision, out.revision) == 0 && strcmp(in.instance, out.instance) == 0 &&
              strcmp(in.method, out.method) == 0 && strcmp(in.error, out.error) == 0);
        CHECK(strcmp(in.start.id, out.start.id) == 0 &&
              strcmp(in.start.error, out.start.error) == 0);
        CHECK(in.start.begin_us == out.start.begin_us &&
              in.start.begin_wall_ms == out.start.begin_wall_ms &&
              in.start.page_cache_permille == out.start.page_cache_permille &&
              in.start.failed == out.start.failed && in.start.finished == out.start.finished &&
              in.start.failed_phase == out.start.failed_phase);
        for (unsigned p = 0; p < PHASES; p++)
            CHECK(in.start.phases[p].start_us == out.start.phases[p].start_us &&
                  in.start.phases[p].duration_us == out.start.phases[p].duration_us &&
                  in.start.phases[p].bytes == out.start.phases[p].bytes &&
                  in.start.phases[p].outcome == out.start.phases[p].outcome);
        for (unsigned c = 0; c < CACHES; c++)
            CHECK_EQ(in.start.caches[c], out.start.caches[c]);
    }
}

TEST(the_shape_that_others_rely_on)
{
    struct invocation_record r = { .ns = "default",
                                   .service = "f",
                                   .path = "/a",
                                   .status = 200,
                                   .total_us = 9,
                                   .cold = true,
                                   .has_start = true };
    r.start.phases[PHASE_SANDBOX] = (struct phase_mark){ 3, 4, 0, PHASE_DONE };
    r.start.caches[CACHE_MODEL] = CACHE_HIT;
    AUTO_JSON json_t *j = record_to_json(&r);
    AUTO_FREE char *text = json_dumps(j, JSON_COMPACT);
    CHECK_STR(text, "{\"id\":\"00000000-0000-0000-0000-000000000000\",\"outcome\":\"ok\","
                    "\"namespace\":\"default\",\"service\":\"f\",\"path\":\"/a\",\"status\":200,"
                    "\"totalUs\":9,\"cold\":true,\"start\":{\"phases\":[{\"name\":\"sandbox\","
                    "\"outcome\":\"done\",\"startUs\":3,\"durationUs\":4}],"
                    "\"caches\":{\"model\":\"hit\"}}}");
}

TEST(bytes_that_are_no_utf8_do_not_lose_the_record)
{
    struct invocation_record r = { .path = "/caf\xc3" }, out;
    struct err e;
    AUTO_JSON json_t *j = record_to_json(&r);
    CHECK_EQ(record_from_json(j, &out, &e), 0);
    CHECK_STR(out.path, "/caf?");
    snprintf(r.path, sizeof r.path, "/caf\xc3\xa9");
    AUTO_JSON json_t *fine = record_to_json(&r);
    CHECK_EQ(record_from_json(fine, &out, &e), 0);
    CHECK_STR(out.path, "/caf\xc3\xa9");
}

#define ID "\"id\":\"00000000-0000-0000-0000-000000000000\",\"outcome\":\"ok\""
static const struct {
    const char *text, *named; /* named: what the refusal must mention; NULL: accepted */
} cases[] = {
    { "{" ID "}", NULL },
    { "{" ID ",\"future\":[1],\"start\":{\"phases\":[{\"name\":\"teleport\"}]}}", NULL },
    { "{" ID ",\"status\":65535}", NULL },
    { "{" ID ",\"status\":65536}", "status" },
    { "{" ID ",\"status\":-1}", "status" },
    { "{" ID ",\"status\":\"200\"}", "status" },
    { "{" ID ",\"totalUs\":4294967296}", "totalUs" },
    { "{" ID ",\"requestBytes\":-1}", "requestBytes" },
    { "{" ID ",\"cold\":1}", "cold" },
    { "{" ID ",\"method\":\"0123456789abcdef\"}", "method" },
    { "{" ID ",\"method\":\"0123456789abcde\"}", NULL },
    { "{" ID ",\"start\":[]}", "start" },
    { "{" ID ",\"start\":{\"phases\":[{\"name\":\"sandbox\",\"outcome\":\"well\"}]}}", "sandbox" },
    { "{" ID
      ",\"start\":{\"phases\":[{\"name\":\"sandbox\",\"outcome\":\"done\",\"startUs\":-1}]}}",
      "startUs" },
    { "{" ID ",\"start\":{\"phases\":[7]}}", "phases" },
    { "{" ID ",\"start\":{\"caches\":{\"model\":\"lukewarm\"}}}", "model" },
    { "{" ID ",\"start\":{\"failed\":true}}", "failedPhase" },
    { "{" ID ",\"start\":{\"containers\":[{\"name\":\"a\",\"outcome\":\"well\"}]}}", "containers" },
    { "{" ID ",\"start\":{\"containers\":[{\"name\":7,\"outcome\":\"done\"}]}}", "containers" },
    { "{" ID ",\"start\":{\"containers\":[{\"name\":\"a\",\"outcome\":\"done\",\"durationUs\":3}]}}", NULL },
    { "{" ID ",\"start\":{\"failed\":true,\"failedPhase\":\"sandbox\"}}", NULL },
    { "{\"outcome\":\"ok\"}", "id" },
    { "{\"id\":\"00000000-0000-0000-0000-000000000000\",\"outcome\":\"fine\"}", "outcome" },
    { "[]", "record" },
};

TEST(trees_of_unknown_origin_are_checked)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct invocation_record out = { .status = 7 };
        struct err e = { 0 };
        AUTO_JSON json_t *j = json_loads(cases[i].text, 0, NULL);
        int r = record_from_json(j, &out, &e);
        if (!cases[i].named && r != 0)
            FAIL("%s: %s", cases[i].text, e.text);
        if (cases[i].named &&
            (r != -CODE_INVALID || out.status != 7 || !strstr(e.text, cases[i].named)))
            FAIL("%s: r=%d %s", cases[i].text, r, e.text);
    }
}

TEST(containers_beside_come_back_as_they_were_and_more_than_fit_are_left_out)
{
    struct invocation_record in = { .outcome = INVOCATION_OK, .has_start = true }, out;
    struct err e = { 0 };
    for (uint32_t k = 0; k < START_BESIDES_MAX + 1; k++) {
        beside_begin(&in.start, k, k ? "side" : "setup", k == 0, 100 + k);
        beside_end(&in.start, k, 200, PHASE_DONE);
    }
    CHECK_EQ(in.start.beside_count, START_BESIDES_MAX);
    AUTO_JSON json_t *j = record_to_json(&in);
    json_t *list = json_object_get(json_object_get(j, "start"), "containers");
    (void)json_array_append_new(list, json_pack("{s:s,s:s}", "name", "more", "outcome", "done"));
    CHECK_EQ(record_from_json(j, &out, &e), 0);
    CHECK_EQ(out.start.beside_count, START_BESIDES_MAX);
    for (uint32_t k = 0; k < START_BESIDES_MAX; k++) {
        const struct start_beside *b = &out.start.besides[k];
        CHECK_STR(b->name, k ? "side" : "setup");
        CHECK(b->is_init == (k == 0) && b->mark.outcome == PHASE_DONE);
        CHECK(b->mark.start_us == 100 + k && b->mark.duration_us == (int64_t)(100 - k));
    }
}

TEST_MAIN()
