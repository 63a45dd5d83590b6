/* What a list of durable invocations is asked for. */
#include "api/docket_query.h"
#include "tap.h"

static bool finds(struct docket_query *q, const char *ns, const char *service, enum invoked_status status)
{
    const struct journal_key key = { .kind = JOURNAL_INVOCATION, .ns = STR("invocations"), .id = STR("x") };
    const struct journal_index index = { .status = status, .queue = str_of(ns), .type = str_of(service), .close_ns = JOURNAL_NEVER };
    return filter_matches(q->filter, &key, &index);
}

TEST(each_condition_leaves_out_what_it_does_not_mean)
{
    struct err e;
    struct docket_query q;
    CHECK_EQ(docket_query_read(STR(""), STR(""), STR(""), STR(""), &q, &e), 0);
    CHECK(!q.filter && q.place_size == 0);
    CHECK_EQ(docket_query_read(STR("a"), STR("b"), STR("done,dead"), STR(""), &q, &e), 0);
    CHECK(finds(&q, "a", "b", INVOKED_DONE));
    CHECK(finds(&q, "a", "b", INVOKED_DEAD));
    CHECK(!finds(&q, "a", "b", INVOKED_FAILED));
    CHECK(!finds(&q, "x", "b", INVOKED_DONE));
    CHECK(!finds(&q, "a", "x", INVOKED_DONE));
    docket_query_done(&q);
    CHECK_EQ(docket_query_read(STR(""), STR("b"), STR(""), STR(""), &q, &e), 0);
    CHECK(finds(&q, "x", "b", INVOKED_FAILED));
    CHECK(!finds(&q, "x", "a", INVOKED_FAILED));
    docket_query_done(&q);
}

TEST(what_cannot_be_read_is_refused)
{
    static const char *const statuses[] = { "x", "done,", ",done", "Done", "done,x", " done", "done dead" };
    static const char *const places[] = { "0", "0g", "zz", "0A", " 0" };
    struct err e;
    struct docket_query q;
    for (size_t i = 0; i < COUNT_OF(statuses); i++) {
        int r = docket_query_read(STR(""), STR(""), str_of(statuses[i]), STR(""), &q, &e);
        if (strcmp(statuses[i], "done,") == 0) { /* nothing behind the comma is nothing */
            CHECK_EQ(r, 0);
            docket_query_done(&q);
        } else {
            CHECK_EQ(r, -CODE_INVALID);
        }
    }
    for (size_t i = 0; i < COUNT_OF(places); i++)
        CHECK_EQ(docket_query_read(STR(""), STR(""), STR(""), str_of(places[i]), &q, &e), -CODE_INVALID);
    char longest[2 * DOCKET_PLACE_MAX + 3];
    memset(longest, '7', sizeof longest);
    CHECK_EQ(docket_query_read(STR(""), STR(""), STR(""), (struct str){ longest, 2 * DOCKET_PLACE_MAX }, &q, &e), 0);
    CHECK_EQ(docket_query_read(STR(""), STR(""), STR(""), (struct str){ longest, 2 * DOCKET_PLACE_MAX + 2 }, &q, &e), -CODE_INVALID);
}

TEST(a_place_comes_back_as_it_went)
{
    struct err e;
    struct docket_query q;
    struct buf text;
    char bytes[DOCKET_PLACE_MAX];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 37 + 200);
    buf_init(&text, 2 * DOCKET_PLACE_MAX);
    docket_place_write((struct str){ bytes, sizeof bytes }, &text);
    CHECK(!text.overflow);
    CHECK_EQ(docket_query_read(STR(""), STR(""), STR(""), buf_str(&text), &q, &e), 0);
    CHECK_EQ(q.place_size, sizeof bytes);
    CHECK(memcmp(q.place, bytes, sizeof bytes) == 0);
    buf_done(&text);
}

TEST_MAIN()
