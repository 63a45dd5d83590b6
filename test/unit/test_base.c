#include "base/buf.h"
#include "base/heap.h"
#include "base/hist.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/uuid.h"
#include "tap.h"

TEST(a_buffer_refuses_what_goes_past_its_maximum_and_remembers)
{
    struct buf b;
    buf_init(&b, 10);
    buf_text(&b, "12345678");
    CHECK(!b.overflow && b.size == 8);
    buf_text(&b, "abc");
    CHECK(b.overflow && b.size == 8);
    buf_text(&b, "x"); /* would fit, but a hole in the middle would be worse than a short text */
    CHECK_EQ(b.size, 8);
    buf_clear(&b);
    buf_text(&b, "x");
    CHECK(!b.overflow && b.size == 1);
    buf_done(&b);
}

TEST(a_buffer_consumed_at_the_front_keeps_its_order)
{
    struct buf b;
    struct rng r = { 7 };
    uint8_t wrote = 0, read = 0;
    buf_init(&b, 4096);
    for (int i = 0; i < 20000; i++) {
        size_t room, size = (size_t)rng_below(&r, 97);
        if (rng_chance(&r, 50)) {
            char *at = buf_reserve(&b, size, &room);
            size = MIN(size, room);
            for (size_t k = 0; k < size; k++)
                at[k] = (char)wrote++;
            buf_commit(&b, size);
        } else {
            size = MIN(size, b.size);
            for (size_t k = 0; k < size; k++)
                if ((uint8_t)buf_at(&b)[k] != read++)
                    FAIL("byte %zu of step %d is out of order", k, i);
            buf_consume(&b, size);
        }
        CHECK(b.size <= b.max && b.start + b.size <= b.capacity);
    }
    buf_done(&b);
}

TEST(a_map_agrees_with_a_plain_array)
{
    enum { KEYS = 500 };
    static int values[KEYS];
    bool in[KEYS] = { false };
    uint32_t count = 0;
    struct map m;
    struct rng r = { 3 };
    map_init(&m, 99);
    for (int step = 0; step < 50000; step++) {
        uint32_t k = (uint32_t)rng_below(&r, KEYS);
        char key[16];
        snprintf(key, sizeof key, "key-%u", k);
        if (rng_chance(&r, 50)) {
            map_put(&m, str_of(key), &values[k]);
            count += !in[k];
            in[k] = true;
        } else {
            void *out = map_remove(&m, str_of(key));
            CHECK((out != NULL) == in[k] && (!out || out == &values[k]));
            count -= in[k];
            in[k] = false;
        }
        CHECK_EQ(m.count, count);
        uint32_t probe = (uint32_t)rng_below(&r, KEYS);
        snprintf(key, sizeof key, "key-%u", probe);
        CHECK((map_find(&m, str_of(key)) != NULL) == in[probe]);
    }
    uint32_t walked = 0;
    for (uint32_t i = 0; map_next(&m, &i) != NULL;)
        walked++;
    CHECK_EQ(walked, count);
    map_done(&m);
}

TEST(a_heap_gives_keys_in_order_and_equals_in_arrival_order)
{
    enum { N = 1000 };
    static struct heap_node nodes[N];
    struct heap h;
    struct rng r = { 5 };
    heap_init(&h);
    for (int i = 0; i < N; i++)
        heap_add(&h, &nodes[i], rng_below(&r, 50));
    for (int i = 0; i < N; i += 3)
        heap_remove(&h, &nodes[i]);
    uint64_t key = 0, order = 0;
    uint32_t left = h.count;
    for (struct heap_node *n; (n = heap_first(&h)) != NULL; left--) {
        CHECK(n->key > key || (n->key == key && n->order >= order));
        key = n->key;
        order = n->order;
        heap_remove(&h, n);
        CHECK(!heap_node_linked(n));
    }
    CHECK_EQ(left, 0);
    heap_done(&h);
}

TEST(a_percentile_is_the_nearest_rank_also_of_few)
{
    static const struct {
        uint64_t count;
        double percent;
        uint64_t rank;
    } rows[] = {
        { 1, 0, 1 },       { 1, 50, 1 },       { 1, 99, 1 },      { 1, 100, 1 },   { 2, 50, 1 },
        { 2, 50.1, 2 },    { 2, 90, 2 },       { 2, 99, 2 },      { 3, 33, 1 },    { 3, 50, 2 },
        { 3, 90, 3 },      { 3, 99, 3 },       { 4, 25, 1 },      { 4, 50, 2 },    { 4, 75, 3 },
        { 4, 76, 4 },      { 4, 99, 4 },       { 5, 0, 1 },       { 5, 20, 1 },    { 5, 50, 3 },
        { 5, 80, 4 },      { 5, 81, 5 },       { 5, 99, 5 },      { 5, 100, 5 },   { 10, 90, 9 },
        { 99, 99, 99 },    { 100, 7, 7 },      { 100, 99, 99 },   { 101, 99, 100 }, { 200, 99.5, 199 },
        { 1000, 99.9, 999 }, { 10000, 99.99, 9999 }, { 1000001, 99.9, 999001 },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct hist h = { 0 };
        CHECK_EQ(hist_rank(rows[i].count, rows[i].percent), rows[i].rank);
        for (uint64_t v = 1; v <= MIN(rows[i].count, 5U); v++)
            hist_add(&h, v); /* below 8 each value is a slot: exact */
        if (rows[i].count <= 5)
            CHECK_EQ(hist_percentile(&h, rows[i].percent), rows[i].rank);
        hist_done(&h);
    }
}

TEST(a_percentile_is_at_most_an_eighth_above_the_truth)
{
    struct hist h = { 0 };
    CHECK_EQ(hist_percentile(&h, 50), 0);
    for (uint64_t v = 1; v <= 100000; v++)
        hist_add(&h, v);
    for (double p = 1; p < 100; p += 7) {
        double truth = p * 1000, got = (double)hist_percentile(&h, p);
        if (got < truth * 0.999 || got > truth * 1.126)
            FAIL("p%.0f is %.0f, the truth %.0f", p, got, truth);
    }
    CHECK_EQ(hist_percentile(&h, 100), 100000);
    hist_add(&h, UINT64_MAX);
    CHECK_EQ(hist_percentile(&h, 100), UINT64_MAX);
    hist_done(&h);
}

TEST(text_cuts_and_numbers)
{
    struct str rest = STR("a=b=c");
    CHECK(str_is(str_cut(&rest, '='), "a") && str_is(rest, "b=c"));
    CHECK(str_is(str_cut(&rest, ';'), "b=c") && rest.size == 0);
    uint64_t n = 7;
    CHECK(str_u64(STR("18446744073709551615"), &n) && n == UINT64_MAX);
    CHECK(!str_u64(STR("18446744073709551616"), &n) && n == UINT64_MAX);
    CHECK(!str_u64(STR(""), &n) && !str_u64(STR("+1"), &n) && !str_u64(STR(" 1"), &n));
    const struct str none = { 0 };
    CHECK(str_starts(none, STR("")) && str_ends(none, none) && !str_starts(none, STR("x")));
    CHECK(str_starts(STR("abc"), STR("ab")) && str_ends(STR("abc"), STR("bc")));
    CHECK(str_eq_nocase(STR("Content-Length"), STR("content-LENGTH")));
    CHECK(!str_eq_nocase(STR("a@"), STR("a`"))); /* 0x40 and 0x60: only letters fold */
}

TEST(uuids_sort_by_time_and_survive_text)
{
    const uint8_t ones[10] = { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 };
    const uint8_t zeros[10] = { 0 };
    struct uuid a = uuid_v7(1700000000000, ones), b = uuid_v7(1700000000001, zeros), c;
    char text[UUID_TEXT];
    CHECK(memcmp(a.at, b.at, 16) < 0);
    uuid_format(&a, text);
    CHECK_STR(text, "018bcfe5-6800-7fff-bfff-ffffffffffff");
    CHECK(uuid_parse(str_of(text), &c) && memcmp(&a, &c, sizeof a) == 0);
    CHECK(!uuid_parse(STR("018bcfe5-6800-7fff-bfff-fffffffffff"), &c));
    CHECK(!uuid_parse(STR("018bcfe5-6800-7fff-bfff-fffffffffffg"), &c));
    CHECK(!uuid_parse(STR("018bcfe5x6800-7fff-bfff-ffffffffffff"), &c));
}

TEST(uuids_of_one_clock_sort_as_they_were_made)
{
    const uint8_t high[10] = { 255, 255, 255 }, low[10] = { 0 };
    struct uuid_clock clock = { 0 };
    struct uuid last = uuid_v7_next(&clock, 1700000000000, high);
    for (int i = 0; i < 10000; i++) { /* more than a millisecond's count, and a clock that is set back */
        struct uuid next = uuid_v7_next(&clock, 1700000000000 - i % 7, i % 2 ? high : low);
        CHECK(memcmp(last.at, next.at, 16) < 0);
        CHECK(next.at[6] >> 4 == 7 && next.at[8] >> 6 == 2);
        last = next;
    }
    last = uuid_v7_next(&clock, 1700000005000, low);
    CHECK_EQ(clock.ms, 1700000005000);
    CHECK_EQ(clock.count, 0);
}

TEST(every_default_is_inside_its_own_range)
{
    struct limits l;
    struct err e;
    limits_default(&l);
    for (size_t i = 0; i < limit_row_count; i++) {
        char value[24];
        snprintf(value, sizeof value, "%" PRIu64, limit_rows[i].initial);
        CHECK_EQ(limits_set(&l, str_of(limit_rows[i].name), str_of(value), &e), 0);
        CHECK_EQ(limit_value(&l, &limit_rows[i]), limit_rows[i].initial);
        CHECK(limit_rows[i].help[0] != '\0');
    }
    CHECK_EQ(limits_set(&l, STR("no_such"), STR("1"), &e), -CODE_NOT_FOUND);
    CHECK_EQ(limits_set(&l, STR("connection_max"), STR("1"), &e), -CODE_NOT_FOUND);
    CHECK(strstr(e.text, "did you mean 'connections_max'?"));
    CHECK_EQ(limits_set(&l, STR("connections_max"), STR("0"), &e), -CODE_INVALID);
    CHECK(strstr(e.text, "connections_max") && strstr(e.text, "65536"));
    CHECK_EQ(l.connections_max, 4096);
}

TEST_MAIN()
