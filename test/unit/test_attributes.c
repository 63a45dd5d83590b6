/* Search attributes of requests against what a namespace defines: names, types, sizes, and the type they are given. */
#include "workflow/attributes.h"
#include "tap.h"

#include "codec/proto.h"
#include "codec/temporal.h"

#define TYPE(x) TP__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_##x

static Tp__IndexedValueType find(void *ctx, const char *name)
{
    static const struct {
        const char *name;
        Tp__IndexedValueType type;
    } defined[] = {
        { "AText", TYPE(TEXT) }, { "AKeyword", TYPE(KEYWORD) },       { "AnInt", TYPE(INT) },          { "ADouble", TYPE(DOUBLE) },
        { "ABool", TYPE(BOOL) }, { "ADatetime", TYPE(DATETIME) }, { "AList", TYPE(KEYWORD_LIST) },
    };
    (void)ctx;
    for (size_t i = 0; i < COUNT_OF(defined); i++)
        if (!strcmp(name, defined[i].name))
            return defined[i].type;
    return TYPE(UNSPECIFIED);
}
static const struct attributes_rules rules = { .ns = "shop", .find = find };

static void put(Tp__SearchAttributes *a, const char *name, const char *json)
{
    Tp__SearchAttributes__IndexedFieldsEntry *f = proto_new(&tp__search_attributes__indexed_fields_entry__descriptor);
    proto_set_text(&f->key, name);
    f->value = temporal_payload_new("json/plain", str_of(json));
    proto_push(&a->n_indexed_fields, &a->indexed_fields, f);
}

static int apply(const char *name, const char *json, struct refusal *no, char type[32])
{
    Tp__SearchAttributes *a = proto_new(&tp__search_attributes__descriptor);
    put(a, name, json);
    int r = attributes_apply(a, &rules, no);
    struct str said = temporal_payload_meta(a->indexed_fields[0]->value, "type");
    snprintf(type, 32, STR_FMT, STR_ARG(said));
    proto_free(a);
    return r;
}

TEST(a_value_of_its_type_is_taken_and_says_its_type_from_then_on)
{
    static const char *const fits[][3] = {
        { "AText", "\"two words\"", "Text" },  { "AKeyword", "\"k\"", "Keyword" },     { "AnInt", "-7", "Int" },
        { "ADouble", "1.5", "Double" },        { "ADouble", "2", "Double" },           { "ABool", "true", "Bool" },
        { "ADatetime", "\"2026-01-02T03:04:05.678Z\"", "Datetime" },                   { "AList", "[\"a\",\"b\"]", "KeywordList" },
        { "AList", "\"a\"", "KeywordList" },   { "AnInt", "[7]", "Int" },              { "AnInt", "null", "Int" },
        { "AnInt", "", "Int" },                { "AnInt", "[]", "Int" },               { "BuildIds", "[\"v1\"]", "KeywordList" },
        { "TemporalChangeVersion", "[\"p-1\"]", "KeywordList" }, { "TemporalNamespaceDivision", "\"x\"", "Keyword" },
    };
    for (size_t i = 0; i < COUNT_OF(fits); i++) {
        struct refusal no = { 0 };
        char type[32];
        if (apply(fits[i][0], fits[i][1], &no, type) < 0)
            FAIL("%s = %s: %s", fits[i][0], fits[i][1], no.text);
        CHECK_STR(type, fits[i][2]);
    }
}

TEST(a_value_that_is_not_of_its_type_and_a_name_that_nobody_defined_are_refused_by_name)
{
    static const char *const wrong[][3] = {
        { "AText", "7", "invalid value for search attribute AText of type Text: 7" },
        { "AKeyword", "true", "invalid value for search attribute AKeyword of type Keyword: true" },
        { "AnInt", "\"seven\"", "invalid value for search attribute AnInt of type Int: \"seven\"" },
        { "AnInt", "1.5", "invalid value for search attribute AnInt of type Int: 1.5" },
        { "AnInt", "[1,\"x\"]", "invalid value for search attribute AnInt of type Int: [1,\"x\"]" },
        { "AnInt", "{", "invalid value for search attribute AnInt of type Int: {" },
        { "AnInt", "1,2", "invalid value for search attribute AnInt of type Int: 1,2" },
        { "ADouble", "\"1.5\"", "invalid value for search attribute ADouble of type Double: \"1.5\"" },
        { "ABool", "1", "invalid value for search attribute ABool of type Bool: 1" },
        { "ADatetime", "\"tomorrow\"", "invalid value for search attribute ADatetime of type Datetime: \"tomorrow\"" },
        { "AList", "[\"a\",1]", "invalid value for search attribute AList of type KeywordList: [\"a\",1]" },
        { "Unknown", "1", "Namespace shop has no mapping defined for search attribute Unknown" },
        { "WorkflowId", "\"w\"", "WorkflowId attribute can't be set in SearchAttributes" },
        { "TemporalOfTomorrow", "\"w\"", "TemporalOfTomorrow attribute can't be set in SearchAttributes" },
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct refusal no = { 0 };
        char type[32];
        CHECK_EQ(apply(wrong[i][0], wrong[i][1], &no, type), -CODE_INVALID);
        CHECK_STR(no.text, wrong[i][2]);
        CHECK_STR(type, "");
    }
}

TEST(a_type_that_the_sender_says_does_not_count)
{
    Tp__SearchAttributes *a = proto_new(&tp__search_attributes__descriptor);
    put(a, "AnInt", "7");
    Tp__Payload *p = a->indexed_fields[0]->value;
    Tp__Payload__MetadataEntry *m = proto_new(&tp__payload__metadata_entry__descriptor);
    proto_set_text(&m->key, "type");
    proto_set_bytes(&m->value, STR("Keyword"));
    proto_push(&p->n_metadata, &p->metadata, m);
    struct refusal no = { 0 };
    int r = attributes_apply(a, &rules, &no);
    bool is_int = str_is(temporal_payload_meta(p, "type"), "Int");
    size_t said = p->n_metadata;
    proto_free(a);
    CHECK_EQ(r, 0);
    CHECK(is_int);
    CHECK_EQ(said, 2);
}

/* The most that fits, and one more. */
static int sized(size_t fields, size_t bytes, struct refusal *no)
{
    Tp__SearchAttributes *a = proto_new(&tp__search_attributes__descriptor);
    AUTO_FREE char *json = xcalloc(1, bytes + 1);
    memset(json, 'x', bytes);
    json[0] = json[bytes - 1] = '"';
    for (size_t i = 0; i < fields; i++)
        put(a, "AKeyword", json);
    int r = attributes_apply(a, &rules, no);
    proto_free(a);
    return r;
}

TEST(too_many_too_large_and_too_much_together_are_refused_with_the_bound)
{
    struct refusal no = { 0 };
    CHECK_EQ(sized(ATTRIBUTES_KEYS_MAX, 10, &no), 0);
    CHECK_EQ(sized(ATTRIBUTES_KEYS_MAX + 1, 10, &no), -CODE_INVALID);
    CHECK_STR(no.text, "number of search attributes 101 exceeds limit 100");
    CHECK_EQ(sized(1, ATTRIBUTES_VALUE_BYTES_MAX, &no), 0);
    CHECK_EQ(sized(1, ATTRIBUTES_VALUE_BYTES_MAX + 1, &no), -CODE_INVALID);
    CHECK_STR(no.text, "search attribute AKeyword value size 2049 exceeds size limit 2048");
    CHECK_EQ(sized(18, 2000, &no), 0);
    CHECK_EQ(sized(21, 2000, &no), -CODE_INVALID);
    CHECK(strstr(no.text, "exceeds size limit 40960"));
}

TEST_MAIN()
