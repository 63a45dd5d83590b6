#include "codec/json.h"
#include "tap.h"

static struct limits limits;

/* One document as compact JSON, or the error. */
static char *read_text(struct str text)
{
    struct err e = { 0 };
    json_t *docs[1];
    size_t count = 0;
    limits_default(&limits);
    if (yaml_read(text, &limits, docs, 1, &count, &e) < 0)
        return xasprintf("error %d: %s", (int)e.code, e.text);
    if (count == 0)
        return xstrdup("nothing");
    AUTO_JSON json_t *j = docs[0];
    struct buf b;
    buf_init(&b, 1 << 20);
    json_write(j, &b);
    return buf_take_text(&b);
}

static const struct {
    const char *yaml, *json, *why;
} scalars[] = {
    { "true", "true", "" },
    { "True", "true", "" },
    { "yes", "true", "YAML 1.1" },
    { "Y", "true", "YAML 1.1" },
    { "ON", "true", "YAML 1.1" },
    { "no", "false", "YAML 1.1" },
    { "n", "false", "YAML 1.1" },
    { "Off", "false", "YAML 1.1" },
    { "yEs", "\"yEs\"", "only three spellings" },
    { "tRUE", "\"tRUE\"", "only three spellings" },
    { "\"yes\"", "\"yes\"", "quoted is text" },
    { "'1'", "\"1\"", "quoted is text" },
    { "|\n 1\n", "\"1\\n\"", "a block is text" },
    { ">-\n a\n b\n", "\"a b\"", "a folded block" },
    { "~", "nothing", "null" },
    { "[~, null, NULL, Null, ]", "[null,null,null,null]", "null" },
    { "nUll", "\"nUll\"", "only three spellings" },
    { "12", "12", "" },
    { "+12", "12", "" },
    { "-12", "-12", "" },
    { "1_000", "1000", "underscores" },
    { "0x1F", "31", "hexadecimal" },
    { "-0x1f", "-31", "hexadecimal" },
    { "010", "8", "octal, YAML 1.1" },
    { "0o10", "8", "octal, YAML 1.2" },
    { "0b101", "5", "binary" },
    { "08", "8", "no octal, so a float, so an integer" },
    { "0x", "\"0x\"", "no digits" },
    { "0xg", "\"0xg\"", "no such digit" },
    { "1e3", "1000", "a whole float" },
    { "1.0", "1", "a whole float" },
    { "-1.5", "-1.5", "" },
    { ".5", "0.5", "" },
    { "5.", "5", "" },
    { "1.5e-3", "0.0015", "" },
    { "1e300", "1e+300", "" },
    { "1e999", "\"1e999\"", "beyond a double is text" },
    { "1.2.3", "\"1.2.3\"", "a version" },
    { "1e", "\"1e\"", "no exponent" },
    { "1:30", "\"1:30\"", "no base 60" },
    { "-", "[null]", "a sequence" },
    { "+", "\"+\"", "a sign" },
    { ".", "\".\"", "a point" },
    { "2026-11-23", "\"2026-11-23\"", "dates stay text" },
    { "2026-11-23T10:00:00Z", "\"2026-11-23T10:00:00Z\"", "timestamps stay text" },
    { "9223372036854775807", "9223372036854775807", "largest" },
    { "-9223372036854775808", "-9223372036854775808", "smallest" },
    { "a: b", "{\"a\":\"b\"}", "" },
    { "a:", "{\"a\":null}", "" },
    { "a: ''", "{\"a\":\"\"}", "" },
    { "{a: [1, {b: c}]}", "{\"a\":[1,{\"b\":\"c\"}]}", "flow" },
    { "{\"a\": 1, \"b\": [true]}", "{\"a\":1,\"b\":[true]}", "JSON is YAML" },
    { "on: 1", "{\"true\":1}", "keys become text as they were understood" },
    { "1: a\n0x10: b\n1.5: c\n", "{\"1\":\"a\",\"16\":\"b\",\"1.5\":\"c\"}", "number keys" },
    { "'on': 1", "{\"on\":1}", "quoted key" },
    { "a: # x\n  - 1\n  - 2 # y\n", "{\"a\":[1,2]}", "comments" },
    { "a: |+\n  x\n\nb: 1\n", "{\"a\":\"x\\n\\n\",\"b\":1}", "a block keeps its end" },
    { "\"\\u00e9\\x41\\n\"", "\"\xc3\xa9" "A\\n\"", "escapes" },
    { "\xef\xbb\xbf" "a: 1", "{\"a\":1}", "a byte order mark" },
    { "<<: 1", "error 3: yaml: line 1, column 1: merge keys are not accepted", "" },
    { "'<<': 1", "{\"<<\":1}", "quoted it is a key" },
};

TEST(yaml_means_what_kubernetes_takes_it_for)
{
    for (size_t i = 0; i < COUNT_OF(scalars); i++) {
        AUTO_FREE char *text = read_text(str_of(scalars[i].yaml));
        if (strcmp(text, scalars[i].json) != 0)
            FAIL("'%s' (%s): %s, expected %s", scalars[i].yaml, scalars[i].why, text,
                 scalars[i].json);
    }
}

static const struct {
    const char *text, *error, *why;
} bad[] = {
    { "a: &x 1\nb: *x\n", "line 1, column 4: anchors", "anchor on a scalar" },
    { "a: &x [1]", "anchors", "anchor on a sequence" },
    { "a: &x {b: 1}", "anchors", "anchor on a mapping" },
    { "*x", "aliases", "alias" },
    { "!!int 1", "tags", "tag on a scalar" },
    { "!x [1]", "tags", "tag on a sequence" },
    { "!!map {}", "tags", "tag on a mapping" },
    { "a: 1\nb: 2\na: 3\n", "line 3, column 1: key \"a\" already set in map", "duplicate key" },
    { "yes: 1\ntrue: 2\n", "already set", "the same key, spelled otherwise" },
    { "? [a]\n: 1\n", "not a scalar", "a sequence as key" },
    { "? {a: 1}\n: 1\n", "not a scalar", "a mapping as key" },
    { "~: 1", "key is null", "null as key" },
    { ".inf", "no form in JSON", "infinity" },
    { "-.INF", "no form in JSON", "infinity" },
    { ".NaN", "no form in JSON", "not a number" },
    { "9223372036854775808", "64 bits", "too large" },
    { "0xffffffffffffffffff", "64 bits", "too large" },
    { "\"\\0\"", "NUL", "NUL in text" },
    { "\"\\0\": 1", "NUL", "NUL in a key" },
    { "a: [1", "did not find expected ',' or ']'", "cut off" },
    { "a: 1\n\tb: 2", "line 2", "tab as indent" },
    { "a: b: c", "line 1", "two mappings on a line" },
    { "a: 1\n---\nb: 2\n", "more than 1 documents", "a second document" },
    { "%YAML 3.0\n---\n1", "incompatible", "another YAML" },
    { "\xff", "byte 0", "not UTF-8" },
    { "a: \xed\xa0\x80", "byte 3", "a surrogate in UTF-8" },
};

TEST(what_is_refused_says_where_and_why)
{
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        AUTO_FREE char *text = read_text(str_of(bad[i].text));
        if (strncmp(text, "error 3: yaml: ", 15) != 0 || !strstr(text, bad[i].error))
            FAIL("'%s' (%s): %s", bad[i].text, bad[i].why, text);
    }
}

TEST(several_documents_are_read_and_empty_ones_left_out)
{
    struct err e = { 0 };
    json_t *docs[3];
    size_t count = 0;
    limits_default(&limits);
    CHECK_EQ(yaml_read(STR("---\n---\na: 1\n---\n# x\n---\nb: 2\n...\n"), &limits, docs, 3, &count, &e),
             0);
    CHECK_EQ(count, 2);
    AUTO_JSON json_t *first = docs[0];
    AUTO_JSON json_t *second = docs[1];
    CHECK_EQ(json_int_at(first, "a", 0), 1);
    CHECK_EQ(json_int_at(second, "b", 0), 2);
}

TEST(depth_and_size_are_bounded)
{
    struct err e = { 0 };
    json_t *docs[1];
    size_t count;
    limits_default(&limits);
    limits.json_depth_max = 3;
    limits.json_nodes_max = 5;
    CHECK_EQ(yaml_read(STR("[[[1, 2]]]"), &limits, docs, 1, &count, &e), 0);
    json_decref(docs[0]);
    CHECK_EQ(yaml_read(STR("[[[[]]]]"), &limits, docs, 1, &count, &e), -CODE_INVALID);
    CHECK(strstr(e.text, "json_depth_max"));
    CHECK_EQ(yaml_read(STR("[[[1, 2, 3]]]"), &limits, docs, 1, &count, &e), -CODE_INVALID);
    CHECK(strstr(e.text, "json_nodes_max"));
}

TEST(a_hundred_thousand_brackets_do_no_harm)
{
    enum { DEEP = 100000 };
    AUTO_FREE char *text = xcalloc(1, DEEP + 1);
    memset(text, '[', DEEP);
    AUTO_FREE char *brackets = read_text(str_of(text));
    CHECK(strstr(brackets, "json_depth_max"));
    for (size_t i = 0; i < DEEP; i += 2)
        memcpy(text + i, "- ", 2);
    AUTO_FREE char *dashes = read_text(str_of(text));
    CHECK(strstr(dashes, "json_depth_max"));
}

static const char *const written[][2] = {
    { "{\"a\":\"yes\",\"b\":\"1\",\"c\":\"\",\"d\":\"null\",\"e\":true,\"f\":null}",
      "a: \"yes\"\nb: \"1\"\nc: \"\"\nd: \"null\"\ne: true\nf: null\n" },
    { "{\"a\":[1,{\"b\":2}],\"c\":{},\"d\":[]}", "a:\n- 1\n- b: 2\nc: {}\nd: []\n" },
    { "{\"t\":\"2026-11-23T10:00:00Z\",\"m\":\"1:30\",\"v\":\"1.2.3\"}",
      "t: \"2026-11-23T10:00:00Z\"\nm: \"1:30\"\nv: \"1.2.3\"\n" },
    { "{\"a\":\"x\\ny\\n\",\"b\":\"x: y\",\"c\":\"# x\",\"d\":\"a b\"}",
      "a: |\n  x\n  y\nb: 'x: y'\nc: '# x'\nd: a b\n" },
    { "{\"on\":1,\"0x10\":2}", "\"on\": 1\n\"0x10\": 2\n" },
    { "\"\\u0001\"", "\"\\x01\"\n" },
};

TEST(what_is_written_reads_well_and_reads_back_equal)
{
    limits_default(&limits);
    for (size_t i = 0; i < COUNT_OF(written); i++) {
        struct err e = { 0 };
        AUTO_JSON json_t *j = NULL;
        struct buf b;
        buf_init(&b, 1 << 16);
        CHECK_EQ(json_read(str_of(written[i][0]), &limits, &j, &e), 0);
        yaml_write(j, &b);
        AUTO_FREE char *text = buf_take_text(&b);
        CHECK_STR(text, written[i][1]);
        AUTO_FREE char *back = read_text(str_of(text));
        CHECK_STR(back, written[i][0]);
    }
}

TEST_MAIN()
