/* Readers of text fail at any byte and at any bound: nothing is left (the sanitizer looks), outputs are as they were, the error
 * says where or which, and the next try with what was missing works. */
#include "tap.h"

#include "codec/digest.h"
#include "codec/duration.h"
#include "codec/json.h"
#include "codec/quantity.h"

static const char json_text[] =
    "{\"a\":[1,2.5,-3e2,{\"b\":null,\"c\":[true,false,\"\\u00e9\\n\"]}],\"d\":{\"e\":{\"f\":\"g\"}},\"h\":\"\"}";
static const char yaml_text[] =
    "# two documents\na: [1, 2.5, {b: null, c: [yes, \"\\u00e9\\n\"]}]\nd:\n  e:\n    f: >-\n      folded\n      text\n"
    "---\n- x\n- ? 7\n  : 'single ''quoted'''\n- |\n  block\n...\n";
enum { DOCS = 4 };

static bool says_something(const struct err *e)
{
    return e->code != CODE_OK && strlen(e->text) > 5 && e->text[strlen(e->text) - 1] != '.';
}

/* -1: refused as it should be; otherwise how many documents, all of them freed. */
static int yaml_count(struct str text, const struct limits *l)
{
    json_t *docs[DOCS] = { NULL };
    size_t count = 77;
    struct err e = { 0 };
    int r = yaml_read(text, l, docs, DOCS, &count, &e);
    if (r < 0)
        return count == 77 && says_something(&e) ? -1 : -2;
    for (size_t i = 0; i < count; i++)
        json_decref(docs[i]);
    return (int)count;
}

static int json_value(struct str text, const struct limits *l)
{
    json_t *j = (json_t *)(uintptr_t)77;
    struct err e = { 0 };
    int r = json_read(text, l, &j, &e);
    if (r < 0)
        return j == (json_t *)(uintptr_t)77 && says_something(&e) ? -1 : -2;
    json_decref(j);
    return 1;
}

TEST(text_cut_anywhere_is_refused_or_is_a_smaller_text)
{
    struct limits l;
    int whole = 0;
    limits_default(&l);
    for (size_t size = 0; size <= sizeof json_text - 1; size++) {
        char copy[sizeof json_text]; /* of its own size, so that reading past its end is seen */
        memcpy(copy, json_text, size);
        AUTO_FREE char *exact = xcalloc(1, size + 1);
        memcpy(exact, copy, size);
        int r = json_value((struct str){ exact, size }, &l);
        CHECK(size == sizeof json_text - 1 ? r == 1 : r == -1);
    }
    for (size_t size = 0; size <= sizeof yaml_text - 1; size++) {
        AUTO_FREE char *exact = xcalloc(1, size + 1);
        memcpy(exact, yaml_text, size);
        int r = yaml_count((struct str){ exact, size }, &l);
        CHECK(r >= -1 && r <= 2);
        whole += r == 2;
    }
    CHECK(whole > 0);
    CHECK_EQ(yaml_count(str_of(yaml_text), &l), 2);
}

TEST(a_byte_that_does_not_belong_there_leaves_nothing)
{
    static const char bytes[] = { '\0', '\xff', '{', ']', ':', '"', '\\', '&', '\t', '\x01' };
    struct limits l;
    int refused = 0;
    limits_default(&l);
    for (size_t b = 0; b < sizeof bytes; b++) {
        for (size_t at = 0; at < sizeof json_text - 1; at++) {
            char copy[sizeof json_text];
            memcpy(copy, json_text, sizeof copy);
            copy[at] = bytes[b];
            int r = json_value((struct str){ copy, sizeof copy - 1 }, &l);
            CHECK(r == -1 || r == 1);
            refused += r < 0;
        }
        for (size_t at = 0; at < sizeof yaml_text - 1; at++) {
            char copy[sizeof yaml_text];
            memcpy(copy, yaml_text, sizeof copy);
            copy[at] = bytes[b];
            int r = yaml_count((struct str){ copy, sizeof copy - 1 }, &l);
            CHECK(r >= -1 && r <= DOCS);
            refused += r < 0;
        }
    }
    CHECK(refused > 1000);
}

/* Each bound one short of what is needed, then just enough. */
TEST(every_bound_refuses_one_too_many_and_the_next_try_works)
{
    struct limits l;
    limits_default(&l);
    int first_json = 0, first_yaml = 0;
    for (l.json_nodes_max = 1; !first_json || !first_yaml; l.json_nodes_max++) {
        CHECK(l.json_nodes_max < 100);
        int j = json_value(str_of(json_text), &l), y = yaml_count(str_of(yaml_text), &l);
        CHECK(j == (first_json ? 1 : j) && y == (first_yaml ? 2 : y)); /* once enough, always enough */
        CHECK((j == 1 || j == -1) && (y == 2 || y == -1));
        first_json = first_json || j < 0 ? first_json : (int)l.json_nodes_max;
        first_yaml = first_yaml || y < 0 ? first_yaml : (int)l.json_nodes_max;
    }
    CHECK(first_json > 8 && first_yaml > 8);
    limits_default(&l);
    for (l.json_depth_max = 1, first_json = first_yaml = 0; !first_json || !first_yaml; l.json_depth_max++) {
        CHECK(l.json_depth_max < 20);
        first_json = first_json || json_value(str_of(json_text), &l) < 0 ? first_json : (int)l.json_depth_max;
        first_yaml = first_yaml || yaml_count(str_of(yaml_text), &l) < 0 ? first_yaml : (int)l.json_depth_max;
    }
    CHECK(first_json >= 4 && first_yaml >= 4);
    limits_default(&l);
    json_t *docs[1] = { NULL };
    size_t count = 77;
    struct err e = { 0 };
    CHECK(yaml_read(str_of(yaml_text), &l, docs, 1, &count, &e) < 0 && count == 77 && says_something(&e));
}

TEST(small_readers_refuse_every_cut_without_touching_their_output)
{
    static const char *const quantities[] = { "1536Mi", "100m", "1e3", "0.5Gi" };
    static const char *const durations[] = { "1h30m", "250ms", "1.5s" };
    static const char digest[] = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for (size_t i = 0; i < COUNT_OF(quantities); i++)
        for (size_t size = 0; size <= strlen(quantities[i]); size++) {
            AUTO_FREE char *exact = xcalloc(1, size + 1);
            memcpy(exact, quantities[i], size);
            struct quantity q, before;
            struct err e = { 0 };
            memset(&q, 0x5a, sizeof q);
            before = q;
            if (quantity_parse((struct str){ exact, size }, &q, &e) < 0)
                CHECK(says_something(&e) && memcmp(&q, &before, sizeof q) == 0);
        }
    for (size_t i = 0; i < COUNT_OF(durations); i++)
        for (size_t size = 0; size <= strlen(durations[i]); size++) {
            AUTO_FREE char *exact = xcalloc(1, size + 1);
            memcpy(exact, durations[i], size);
            int64_t ns = 0x5a5a;
            struct err e = { 0 };
            if (duration_parse((struct str){ exact, size }, &ns, &e) < 0)
                CHECK(says_something(&e) && ns == 0x5a5a);
        }
    for (size_t size = 0; size < sizeof digest; size++) {
        AUTO_FREE char *exact = xcalloc(1, size + 1);
        memcpy(exact, digest, size);
        struct digest d;
        struct err e = { 0 };
        int r = digest_parse((struct str){ exact, size }, &d, &e);
        CHECK(size == sizeof digest - 1 ? r == 0 : r < 0 && says_something(&e));
    }
}

TEST_MAIN()
