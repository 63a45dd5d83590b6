#include "api/selector.h"
#include "tap.h"

static const struct {
    const char *selector, *labels;
    bool match;
} cases[] = {
    { "", "{}", true },
    { "  ", "{}", true },
    { "a=b", "{\"a\":\"b\"}", true },
    { "a==b", "{\"a\":\"b\"}", true },
    { "a = b", "{\"a\":\"b\"}", true },
    { "a=b", "{\"a\":\"c\"}", false },
    { "a=b", "{}", false },
    { "a=", "{\"a\":\"\"}", true },
    { "a!=b", "{\"a\":\"c\"}", true },
    { "a!=b", "{}", true }, /* as in Kubernetes: absent is not b */
    { "a!=b", "{\"a\":\"b\"}", false },
    { "a", "{\"a\":\"\"}", true },
    { "a", "{}", false },
    { "!a", "{}", true },
    { "!a", "{\"a\":\"\"}", false },
    { "a in (b,c)", "{\"a\":\"c\"}", true },
    { "a in ( b , c )", "{\"a\":\"d\"}", false },
    { "a notin (b,c)", "{\"a\":\"d\"}", true },
    { "a notin (b)", "{\"a\":\"b\"}", false },
    { "a in (b),c=d,!e", "{\"a\":\"b\",\"c\":\"d\"}", true },
    { "a in (b),c=d,!e", "{\"a\":\"b\",\"c\":\"d\",\"e\":\"\"}", false },
    { "serving.knative.dev/service=f", "{\"serving.knative.dev/service\":\"f\"}", true },
    { "in=b", "{\"in\":\"b\"}", true },
};

TEST(label_selectors)
{
    struct limits l;
    limits_default(&l);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct selector s;
        struct err e = { 0 };
        AUTO_JSON json_t *labels = NULL;
        CHECK_EQ(json_read(str_of(cases[i].labels), &l, &labels, &e), 0);
        if (selector_parse_labels(str_of(cases[i].selector), &s, &e) < 0)
            FAIL("'%s': %s", cases[i].selector, e.text);
        if (selector_labels_match(&s, labels) != cases[i].match)
            FAIL("'%s' on %s", cases[i].selector, cases[i].labels);
    }
    struct selector none;
    struct err e;
    CHECK_EQ(selector_parse_labels(STR("a=b"), &none, &e), 0);
    CHECK(!selector_labels_match(&none, NULL));
}

TEST(what_is_no_selector_is_refused)
{
    static const char *const bad[] = { ",",     "a=b,", "=b",      "a in b", "a in (b", "a in",  "a b",
                                       "a=b c", "!",    "a=b=c",   "a(",     "(a)",     "a in ()c",
                                       "a/b/c", "a=b/c", "a>b" };
    struct selector s;
    struct err e;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (selector_parse_labels(str_of(bad[i]), &s, &e) != -CODE_INVALID)
            FAIL("'%s' was accepted", bad[i]);
    CHECK_EQ(selector_parse_fields(STR("status.phase=x"), NULL, &s, &e), -CODE_INVALID);
    CHECK_STR(e.text, "field label not supported: status.phase");
    CHECK_EQ(selector_parse_fields(STR("metadata.name"), NULL, &s, &e), -CODE_INVALID);
}

TEST(selectors_have_a_bound)
{
    struct selector s;
    struct err e;
    struct buf rows, values;
    buf_init(&rows, 1000);
    buf_init(&values, 1000);
    buf_text(&rows, "a");
    buf_text(&values, "a in (b");
    for (int i = 1; i < SELECTOR_MAX; i++)
        buf_text(&rows, ",a");
    int fits = selector_parse_labels(buf_str(&rows), &s, &e);
    buf_text(&rows, ",a");
    int over = selector_parse_labels(buf_str(&rows), &s, &e);
    for (int i = 1; i <= SELECTOR_VALUES_MAX; i++)
        buf_text(&values, ",c");
    buf_text(&values, ")");
    int over_values = selector_parse_labels(buf_str(&values), &s, &e);
    buf_done(&rows);
    buf_done(&values);
    CHECK_EQ(fits, 0);
    CHECK_EQ(over, -CODE_INVALID);
    CHECK_EQ(over_values, -CODE_INVALID);
}

TEST(field_selectors)
{
    struct selector s;
    struct err e;
    CHECK_EQ(selector_parse_fields(STR("metadata.name=f,metadata.namespace!=x"), NULL, &s, &e), 0);
    CHECK(selector_fields_match(&s, "ns", "f", NULL));
    CHECK(!selector_fields_match(&s, "x", "f", NULL));
    CHECK(!selector_fields_match(&s, "ns", "g", NULL));
    CHECK(selector_fields_simple(&s));
    CHECK(selector_fields_name(&s) && str_is(*selector_fields_name(&s), "f"));
}

TEST(field_selectors_of_a_kind_look_into_the_object)
{
    struct selector s;
    struct err e;
    AUTO_JSON json_t *object = json_pack("{s:{s:s},s:s}", "involvedObject", "name", "f", "type", "Normal");
    const char *others = "involvedObject.name,involvedObject.uid,type";
    CHECK_EQ(selector_parse_fields(STR("reason=x"), others, &s, &e), -CODE_INVALID);
    CHECK_EQ(selector_parse_fields(STR("involved=x"), others, &s, &e), -CODE_INVALID);
    CHECK_EQ(selector_parse_fields(STR("involvedObject.name=f,type!=Warning"), others, &s, &e), 0);
    CHECK(!selector_fields_simple(&s) && !selector_fields_name(&s));
    CHECK(selector_fields_match(&s, "ns", "e", object));
    CHECK_EQ(selector_parse_fields(STR("involvedObject.uid=f"), others, &s, &e), 0);
    CHECK(!selector_fields_match(&s, "ns", "e", object)); /* absent reads as empty */
    CHECK_EQ(selector_parse_fields(STR("involvedObject.uid="), others, &s, &e), 0);
    CHECK(selector_fields_match(&s, "ns", "e", object));
}

TEST_MAIN()
