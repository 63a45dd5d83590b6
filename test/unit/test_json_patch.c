/* RFC 6902, appendix A by number, and what else a patch from outside may try. */
#include "codec/json_patch.h"
#include "tap.h"

static const struct {
    const char *what, *document, *patch, *result; /* result NULL: refused */
    enum code code;
} cases[] = {
    { "A.1", "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]", "{\"baz\":\"qux\",\"foo\":\"bar\"}", 0 },
    { "A.2", "{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]", "{\"foo\":[\"bar\",\"qux\",\"baz\"]}", 0 },
    { "A.3", "{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]", "{\"foo\":\"bar\"}", 0 },
    { "A.4", "{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "[{\"op\":\"remove\",\"path\":\"/foo/1\"}]", "{\"foo\":[\"bar\",\"baz\"]}", 0 },
    { "A.5", "{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"replace\",\"path\":\"/baz\",\"value\":\"boo\"}]", "{\"baz\":\"boo\",\"foo\":\"bar\"}", 0 },
    { "A.6", "{\"foo\":{\"bar\":\"baz\",\"waldo\":\"fred\"},\"qux\":{\"corge\":\"grault\"}}",
      "[{\"op\":\"move\",\"from\":\"/foo/waldo\",\"path\":\"/qux/thud\"}]",
      "{\"foo\":{\"bar\":\"baz\"},\"qux\":{\"corge\":\"grault\",\"thud\":\"fred\"}}", 0 },
    { "A.7", "{\"foo\":[\"all\",\"grass\",\"cows\",\"eat\"]}", "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]",
      "{\"foo\":[\"all\",\"cows\",\"eat\",\"grass\"]}", 0 },
    { "A.8", "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
      "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"qux\"},{\"op\":\"test\",\"path\":\"/foo/1\",\"value\":2}]",
      "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}", 0 },
    { "A.9", "{\"baz\":\"qux\"}", "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"bar\"}]", NULL, CODE_PRECONDITION },
    { "A.10", "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/child\",\"value\":{\"grandchild\":{}}}]", "{\"foo\":\"bar\",\"child\":{\"grandchild\":{}}}", 0 },
    { "A.11", "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\",\"xyz\":123}]", "{\"foo\":\"bar\",\"baz\":\"qux\"}", 0 },
    { "A.12", "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz/bat\",\"value\":\"qux\"}]", NULL, CODE_PRECONDITION },
    { "A.14", "{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10}]", "{\"/\":9,\"~1\":10}", 0 },
    { "A.15", "{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":\"10\"}]", NULL, CODE_PRECONDITION },
    { "A.16", "{\"foo\":[\"bar\"]}", "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[\"abc\",\"def\"]}]", "{\"foo\":[\"bar\",[\"abc\",\"def\"]]}", 0 },
    { "nothing", "{\"a\":1}", "[]", "{\"a\":1}", 0 },
    { "the whole", "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"b\":2}}]", "{\"b\":2}", 0 },
    { "slash", "{\"/\":9}", "[{\"op\":\"replace\",\"path\":\"/~1\",\"value\":1}]", "{\"/\":1}", 0 },
    { "the empty key", "{\"\":1}", "[{\"op\":\"remove\",\"path\":\"/\"}]", "{}", 0 },
    { "copy", "{\"a\":{\"b\":1}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/c\"}]", "{\"a\":{\"b\":1,\"c\":{\"b\":1}}}", 0 },
    { "copies are apart", "{\"a\":{}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"},{\"op\":\"add\",\"path\":\"/b/x\",\"value\":1}]", "{\"a\":{},\"b\":{\"x\":1}}", 0 },
    { "numbers by value", "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1.0}]", "{\"a\":1}", 0 },
    { "null is a value", "{\"a\":null}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]", "{\"a\":null}", 0 },
    { "members in any order", "{\"a\":{\"x\":1,\"y\":[2]}}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":{\"y\":[2],\"x\":1}}]", "{\"a\":{\"x\":1,\"y\":[2]}}", 0 },
    { "replace what is not there", "{}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":1}]", NULL, CODE_PRECONDITION },
    { "remove what is not there", "{}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", NULL, CODE_PRECONDITION },
    { "remove behind the end", "{\"a\":[]}", "[{\"op\":\"remove\",\"path\":\"/a/-\"}]", NULL, CODE_PRECONDITION },
    { "past the end", "{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/2\",\"value\":1}]", NULL, CODE_PRECONDITION },
    { "a leading zero", "{\"a\":[1,2]}", "[{\"op\":\"remove\",\"path\":\"/a/01\"}]", NULL, CODE_PRECONDITION },
    { "a sign", "{\"a\":[1,2]}", "[{\"op\":\"remove\",\"path\":\"/a/+1\"}]", NULL, CODE_PRECONDITION },
    { "into a number", "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", NULL, CODE_PRECONDITION },
    { "into itself", "{\"a\":{\"b\":{}}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b/c\"}]", NULL, CODE_PRECONDITION },
    { "nothing left", "{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"\"}]", NULL, CODE_PRECONDITION },
    { "no pointer", "{}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", NULL, CODE_INVALID },
    { "a bad escape", "{}", "[{\"op\":\"add\",\"path\":\"/a~2\",\"value\":1}]", NULL, CODE_INVALID },
    { "half an escape", "{}", "[{\"op\":\"add\",\"path\":\"/a~\",\"value\":1}]", NULL, CODE_INVALID },
    { "no value", "{}", "[{\"op\":\"add\",\"path\":\"/a\"}]", NULL, CODE_INVALID },
    { "no from", "{}", "[{\"op\":\"move\",\"path\":\"/a\"}]", NULL, CODE_INVALID },
    { "no op", "{}", "[{\"path\":\"/a\"}]", NULL, CODE_INVALID },
    { "another op", "{}", "[{\"op\":\"Add\",\"path\":\"/a\",\"value\":1}]", NULL, CODE_INVALID },
    { "no list", "{}", "{\"op\":\"add\"}", NULL, CODE_INVALID },
    { "all or nothing", "{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/a\"},{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]", NULL, CODE_PRECONDITION },
};

TEST(the_cases_of_the_rfc_and_their_neighbours)
{
    struct limits l;
    limits_default(&l);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = { 0 };
        json_t *made = NULL;
        AUTO_JSON json_t *document = json_loads(cases[i].document, 0, NULL);
        AUTO_JSON json_t *before = json_deep_copy(document);
        AUTO_JSON json_t *patch = json_loads(cases[i].patch, 0, NULL);
        AUTO_JSON json_t *expected = cases[i].result ? json_loads(cases[i].result, 0, NULL) : NULL;
        int r = json_patch_apply(document, patch, &l, &made, &e);
        AUTO_JSON json_t *result = made;
        if (r != -(int)cases[i].code)
            FAIL("%s: %d, %s", cases[i].what, r, e.text);
        if (r == 0 && !json_equal(result, expected))
            FAIL("%s: %s", cases[i].what, json_dumps(result, 0));
        CHECK(json_equal(document, before) && (r == 0 || e.text[0]));
    }
}

TEST(copies_cannot_grow_without_bound)
{
    struct limits l;
    struct err e;
    json_t *result = NULL;
    limits_default(&l);
    AUTO_JSON json_t *document = json_loads("{\"a\":{\"x\":1}}", 0, NULL);
    AUTO_JSON json_t *wide = json_array(), *deep = json_array();
    for (int i = 0; i < 200; i++) { /* each doubles the document, or makes it one deeper */
        char path[32];
        snprintf(path, sizeof path, "/a/c%d", i);
        (void)json_array_append_new(wide, json_pack("{s:s,s:s,s:s}", "op", "copy", "from", "/a", "path", path));
        (void)json_array_append_new(deep, json_pack("{s:s,s:s,s:s}", "op", "copy", "from", "/a", "path", "/a/x"));
    }
    CHECK_EQ(json_patch_apply(document, wide, &l, &result, &e), -CODE_EXHAUSTED);
    CHECK_EQ(json_patch_apply(document, deep, &l, &result, &e), -CODE_EXHAUSTED);
    /* where a value goes counts, not only how deep it is itself */
    AUTO_JSON json_t *inner = json_loads("[{\"op\":\"add\",\"path\":\"/a/x\",\"value\":[[[[[[[]]]]]]]}]", 0, NULL);
    l.json_depth_max = 8;
    json_t *fits = NULL;
    CHECK_EQ(json_patch_apply(document, inner, &l, &fits, &e), 0);
    json_decref(fits);
    l.json_depth_max = 7;
    CHECK_EQ(json_patch_apply(document, inner, &l, &result, &e), -CODE_EXHAUSTED);
    l.json_patch_ops_max = 199;
    CHECK_EQ(json_patch_apply(document, deep, &l, &result, &e), -CODE_INVALID);
    CHECK(!result);
}

TEST(copied_text_counts_and_moved_text_does_not)
{
    struct limits l;
    struct err e;
    json_t *result = NULL;
    limits_default(&l);
    AUTO_FREE char *long_text = xcalloc(1, (1 << 20) + 1);
    memset(long_text, 'x', 1 << 20);
    AUTO_JSON json_t *in_value = json_pack("{s:{s:s}}", "a", "t", long_text);
    AUTO_JSON json_t *in_key = json_pack("{s:{s:i}}", "a", long_text, 1);
    AUTO_JSON json_t *copies = json_array(), *moves = json_array(), *few = json_array();
    for (int i = 0; i < 20; i++) {
        char path[32];
        snprintf(path, sizeof path, "/c%d", i);
        (void)json_array_append_new(copies, json_pack("{s:s,s:s,s:s}", "op", "copy", "from", "/a", "path", path));
        (void)json_array_append_new(moves, json_pack("{s:s,s:s,s:s}", "op", "move", "from", i % 2 ? "/b" : "/a", "path", i % 2 ? "/a" : "/b"));
        if (i < 2)
            (void)json_array_append(few, json_array_get(copies, (size_t)i));
    }
    CHECK_EQ(json_patch_apply(in_value, copies, &l, &result, &e), -CODE_EXHAUSTED);
    CHECK(strstr(e.text, "json_patch_copy_bytes_max"));
    CHECK_EQ(json_patch_apply(in_key, copies, &l, &result, &e), -CODE_EXHAUSTED);
    CHECK(!result);
    CHECK_EQ(json_patch_apply(in_value, moves, &l, &result, &e), 0);
    CHECK(json_equal(result, in_value));
    json_decref(TAKE(result));
    CHECK_EQ(json_patch_apply(in_value, few, &l, &result, &e), 0);
    CHECK(json_equal(json_object_get(result, "c1"), json_object_get(in_value, "a")));
    json_decref(result);
}

TEST_MAIN()
