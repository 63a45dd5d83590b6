#include "artifact/plan.h"
#include "tap.h"

static const char *const names[] = { "take", "restart", "ask all", "retry", "refuse" };

static const struct {
    uint64_t held;
    int64_t size; /* known from before */
    struct transfer_head head;
    enum plan_next want;
    const char *why;
} heads[] = {
    { 0, -1, { 200, 100, -1, -1, "" }, PLAN_TAKE, "a fresh download" },
    { 0, -1, { 200, -1, -1, -1, "" }, PLAN_TAKE, "size unknown" },
    { 0, -1, { 200, 1000, -1, -1, "" }, PLAN_TAKE, "exactly the limit" },
    { 0, -1, { 200, 1001, -1, -1, "" }, PLAN_REFUSE, "one over it" },
    { 40, 100, { 206, 100, 40, -1, "" }, PLAN_TAKE, "resumed" },
    { 40, -1, { 206, -1, 40, -1, "" }, PLAN_TAKE, "resumed, total not said" },
    { 40, 100, { 200, 100, -1, -1, "" }, PLAN_RESTART, "range ignored, or If-Range says it changed" },
    { 40, 100, { 206, 100, 39, -1, "" }, PLAN_REFUSE, "begins one byte early" },
    { 40, 100, { 206, 100, 41, -1, "" }, PLAN_REFUSE, "begins one byte late" },
    { 40, 100, { 206, 100, 0, -1, "" }, PLAN_REFUSE, "calls the whole a part" },
    { 40, 100, { 206, 100, -1, -1, "" }, PLAN_REFUSE, "does not say where it begins" },
    { 0, -1, { 206, 100, 0, -1, "" }, PLAN_REFUSE, "a part nobody asked for" },
    { 40, 100, { 206, 120, 40, -1, "" }, PLAN_ASK_ALL, "another file by now" },
    { 40, -1, { 206, 30, 40, -1, "" }, PLAN_ASK_ALL, "smaller than what is held" },
    { 40, 100, { 416, -1, -1, -1, "" }, PLAN_ASK_ALL, "nothing there any more" },
    { 0, -1, { 416, -1, -1, -1, "" }, PLAN_REFUSE, "416 without a range asked for" },
    { 0, -1, { 404, -1, -1, -1, "" }, PLAN_REFUSE, "not found" },
    { 0, -1, { 403, -1, -1, -1, "" }, PLAN_REFUSE, "forbidden" },
    { 0, -1, { 410, -1, -1, -1, "" }, PLAN_REFUSE, "gone" },
    { 0, -1, { 301, -1, -1, -1, "" }, PLAN_REFUSE, "a redirect that was not followed" },
    { 0, -1, { 204, -1, -1, -1, "" }, PLAN_REFUSE, "success without content" },
    { 0, -1, { 429, -1, -1, 5, "" }, PLAN_RETRY, "slow down" },
    { 0, -1, { 500, -1, -1, -1, "" }, PLAN_RETRY, "broken now" },
    { 40, 100, { 503, -1, -1, -1, "" }, PLAN_RETRY, "unavailable" },
    { 0, -1, { 0, -1, -1, -1, "" }, PLAN_RETRY, "no answer" },
};

TEST(what_an_origin_says_decides_what_comes_next)
{
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        struct plan_held held = { heads[i].held, heads[i].size };
        struct err e = { 0 };
        enum plan_next got = plan_head(&held, &heads[i].head, 1000, &e);
        if (got != heads[i].want)
            FAIL("%s: %s, expected %s", heads[i].why, names[got], names[heads[i].want]);
        if ((got == PLAN_RETRY || got == PLAN_REFUSE) != (e.code != CODE_OK))
            FAIL("%s: code %d", heads[i].why, e.code);
        if (e.code != CODE_OK && plan_code_retryable(e.code) != (got == PLAN_RETRY))
            FAIL("%s: code %s does not say whether to try again", heads[i].why, code_name(e.code));
    }
}

TEST(pauses_double_with_jitter_and_origins_cannot_stretch_them)
{
    struct rng rng = { 1 };
    for (uint32_t attempt = 1; attempt < 40; attempt++) {
        uint64_t whole = UINT64_C(200) << MIN(attempt - 1, 7u), low = UINT64_MAX, high = 0;
        for (int i = 0; i < 200; i++) {
            uint64_t ms = plan_backoff_ms(attempt, -1, &rng);
            low = MIN(low, ms);
            high = MAX(high, ms);
        }
        CHECK(low >= whole / 2 && high <= whole && high > low);
    }
    CHECK(plan_backoff_ms(1, 5000, &rng) >= 5000 && plan_backoff_ms(1, 5000, &rng) < 5100);
    CHECK(plan_backoff_ms(1, INT64_MAX, &rng) < PLAN_RETRY_AFTER_MS_MAX + 100);
}

TEST(room_is_short_by_the_larger_of_disk_and_store)
{
    struct limits l;
    limits_default(&l);
    l.store_free_bytes_min = 100;
    l.store_bytes_max = 0;
    const struct plan_disk disk = { 1000, 500 };
    CHECK_EQ(plan_room_short(&l, &disk, 900), 0);
    CHECK_EQ(plan_room_short(&l, &disk, 901), 1);
    l.store_bytes_max = 1000;
    CHECK_EQ(plan_room_short(&l, &disk, 500), 0);
    CHECK_EQ(plan_room_short(&l, &disk, 501), 1);
    CHECK_EQ(plan_room_short(&l, &disk, 1000), 500);
    const struct plan_disk full = { 50, 500 };
    CHECK_EQ(plan_room_short(&l, &full, 7), 7);
    const struct plan_disk vast = { UINT64_MAX, 500 };
    CHECK(plan_room_short(&l, &vast, UINT64_MAX - 200) > 0); /* no wrap-around into "fits" */
}

TEST(the_least_recently_used_goes_first_and_what_is_used_stays)
{
    struct plan_victim v[] = {
        { .bytes = 10, .last_used_ms = 30 },
        { .bytes = 10, .last_used_ms = 10, .in_use = true },
        { .bytes = 10, .last_used_ms = 20 },
        { .bytes = 10, .last_used_ms = 40 },
    };
    CHECK(plan_evict(v, 4, 15));
    for (size_t i = 0; i < 4; i++)
        CHECK(v[i].chosen == (v[i].last_used_ms == 20 || v[i].last_used_ms == 30));
    CHECK(plan_evict(v, 4, 30));
    CHECK(!plan_evict(v, 4, 31)); /* not enough: then nothing goes for nothing */
    for (size_t i = 0; i < 4; i++)
        CHECK(!v[i].chosen);
    CHECK(plan_evict(v, 4, 0));
    CHECK(!v[0].chosen);
}

TEST_MAIN()
