#include "codec/json.h"
#include "tap.h"

static struct limits limits;

static json_t *tree(const char *text)
{
    struct err e = { 0 };
    json_t *j = NULL;
    limits_default(&limits);
    if (json_read(str_of(text), &limits, &j, &e) < 0)
        printf("# %s: %s\n", text, e.text);
    return j;
}

static char *compact(const json_t *j)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    json_write(j, &b);
    return buf_take_text(&b);
}

TEST(json_is_written_as_it_was_read)
{
    static const char *const same[] = {
        "null", "true", "-9223372036854775808", "9223372036854775807", "0.1", "1.5e+300", "1.0",
        "\"\"", "[]", "{}", "[[],{}]", "{\"b\":1,\"a\":[1,2.5,\"x\"]}",
        "\"a\\\"\\\\\\n\\t\\u0001\xc3\xa9/\"", "{\"\":{\"a.b/c\":null}}",
    };
    for (size_t i = 0; i < COUNT_OF(same); i++) {
        AUTO_JSON json_t *j = tree(same[i]);
        CHECK(j);
        AUTO_FREE char *text = compact(j);
        CHECK_STR(text, same[i]);
    }
}

TEST(json_can_be_written_for_people)
{
    AUTO_JSON json_t *j = tree("{\"a\":[1,{}],\"b\":{\"c\":[]}}");
    struct buf b;
    buf_init(&b, 4096);
    json_write_pretty(j, &b);
    AUTO_FREE char *text = buf_take_text(&b);
    CHECK_STR(text, "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": {\n    \"c\": []\n  }\n}");
}

static const struct {
    const char *text, *error, *why;
} bad[] = {
    { "", "line 1", "empty" },
    { "{", "line 1", "cut off" },
    { "{}\n x", "line 2", "something behind; the line is named" },
    { "{\"a\":1,\"a\":2}", "duplicate", "a key twice" },
    { "\"\\u0000\"", "line 1", "a NUL in text" },
    { "\"\xff\"", "line 1", "not UTF-8" },
    { "\"\xc0\xaf\"", "line 1", "overlong UTF-8" },
    { "\"\\ud800\"", "line 1", "half a surrogate pair" },
    { "9223372036854775808", "too big", "beyond 64 bits" },
    { "1e999", "line 1", "beyond a double" },
    { "01", "line 1", "octal is not JSON" },
    { "[1,]", "line 1", "a comma too many" },
    { "{'a':1}", "line 1", "single quotes" },
    { "NaN", "line 1", "not a number" },
    { "// x\n1", "line 1", "comments" },
};

TEST(what_is_not_json_is_refused)
{
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e = { 0 };
        json_t *j = NULL;
        limits_default(&limits);
        int r = json_read(str_of(bad[i].text), &limits, &j, &e);
        if (r != -CODE_INVALID || j || !strstr(e.text, "json: ") || !strstr(e.text, bad[i].error))
            FAIL("'%s' (%s): r=%d '%s'", bad[i].text, bad[i].why, r, e.text);
    }
}

TEST(a_nul_in_the_text_itself_is_refused)
{
    struct err e;
    json_t *j = NULL;
    limits_default(&limits);
    CHECK_EQ(json_read((struct str){ "1\0", 2 }, &limits, &j, &e), -CODE_INVALID);
    CHECK_EQ(json_read((struct str){ "\"a\0b\"", 5 }, &limits, &j, &e), -CODE_INVALID);
}

TEST(depth_and_size_of_a_tree_are_bounded_exactly)
{
    static const struct {
        const char *text;
        bool fits;
    } cases[] = {
        { "[[[]]]", true },         { "[[[[]]]]", false },
        { "{\"a\":[{}]}", true },   { "{\"a\":[{\"b\":[]}]}", false },
        { "[1,2,3,4]", true },      { "[1,2,3,4,5]", false },
        { "[1,[],[2]]", true },     { "[ 1 , [ ] , [ 2 , 3 ] ]", false },
        { "\"[[[[[[[,,,,\"", true }, { "[\"\\\"[[[[,,,,\"]", true },
    };
    limits_default(&limits);
    limits.json_depth_max = 3;
    limits.json_nodes_max = 5;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = { 0 };
        AUTO_JSON json_t *j = NULL;
        int r = json_read(str_of(cases[i].text), &limits, &j, &e);
        if ((r == 0) != cases[i].fits)
            FAIL("'%s': r=%d '%s'", cases[i].text, r, e.text);
    }
}

TEST(a_hundred_thousand_brackets_do_no_harm)
{
    enum { DEEP = 100000 };
    AUTO_FREE char *text = xcalloc(1, DEEP + 1);
    struct err e;
    json_t *j = NULL;
    limits_default(&limits);
    memset(text, '[', DEEP);
    CHECK_EQ(json_read(str_of(text), &limits, &j, &e), -CODE_INVALID);
    CHECK(strstr(e.text, "json_depth_max"));
}

TEST(values_are_found_by_path)
{
    AUTO_JSON json_t *j = tree("{\"a\":{\"b\":[{\"c\":\"x\"},7],\"l\":{\"k.d/n\":\"v\"}},\"n\":null}");
    CHECK_STR(json_text_at(j, "a.b.0.c"), "x");
    CHECK_EQ(json_int_at(j, "a.b.1", 3), 7);
    CHECK_EQ(json_int_at(j, "a.b.2", 3), 3);
    CHECK_EQ(json_int_at(j, "a.b.0.c", 3), 3);
    CHECK(json_at(j, "") == j);
    CHECK(!json_at(j, "a.x.y") && !json_at(j, "a.b.x") && !json_at(j, "a.b.0.c.d"));
    CHECK(!json_text_at(j, "a.b") && !json_text_at(NULL, "a"));
    CHECK(json_is_null(json_at(j, "n")));
    CHECK_STR(json_text_key(j, "a.l", "k.d/n"), "v");
    CHECK(!json_text_key(j, "a.l", "k") && !json_text_key(j, "a.z", "k"));
}

/* The table of RFC 7396, appendix A. */
static const struct {
    const char *target, *patch, *result;
} merges[] = {
    { "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
    { "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
    { "{\"a\":\"b\"}", "{\"a\":null}", "{}" },
    { "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
    { "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
    { "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}" },
    { "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}" },
    { "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
    { "[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]" },
    { "{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]" },
    { "{\"a\":\"foo\"}", "null", "null" },
    { "{\"a\":\"foo\"}", "\"bar\"", "\"bar\"" },
    { "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}" },
    { "[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}" },
    { "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
};

TEST(a_merge_patch_follows_the_rfc_and_spares_its_target)
{
    for (size_t i = 0; i < COUNT_OF(merges); i++) {
        AUTO_JSON json_t *target = tree(merges[i].target);
        AUTO_JSON json_t *patch = tree(merges[i].patch);
        AUTO_JSON json_t *merged = json_merge_patch(target, patch);
        AUTO_FREE char *text = compact(merged);
        AUTO_FREE char *before = compact(target);
        CHECK_STR(text, merges[i].result);
        CHECK_STR(before, merges[i].target);
    }
}

TEST_MAIN()
