#include "cli/opt.h"
#include "base/suggest.h"
#include "tap.h"

struct values {
    bool follow, wait;
    const char *file, *output;
    struct opt_list env;
    uint32_t tail, timeout_ms;
};
static const struct opt rows[] = {
#define AT(field) offsetof(struct values, field)
    { "follow", 'f', OPT_FLAG, AT(follow), NULL, "" },
    { "wait", 'w', OPT_FLAG, AT(wait), NULL, "" },
    { "file", 'F', OPT_TEXT, AT(file), "FILE", "" },
    { "env", 'e', OPT_LIST, AT(env), "NAME=VALUE", "" },
    { "tail", 't', OPT_U32, AT(tail), "N", "", .min = 1, .max = 100 },
    { "timeout", 0, OPT_MS, AT(timeout_ms), "TIME", "" },
    { "output", 'o', OPT_CHOICE, AT(output), "FORMAT", "", "table|json|yaml" },
#undef AT
};

struct parsed {
    struct values v;
    struct opt_words words;
    struct err e;
    int r;
};

static void parse(struct parsed *p, bool until_word, const char *const *argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    *p = (struct parsed){ .v = { .wait = true, .tail = 7 } };
    const struct opt_set set = { rows, COUNT_OF(rows), &p->v };
    p->r = opt_parse(&set, 1, argc, argv, until_word, &p->words, &p->e);
}
static void done(struct parsed *p)
{
    const struct opt_set set = { rows, COUNT_OF(rows), &p->v };
    opt_lists_done(&set, 1);
}
#define PARSE(p, ...) parse((p), false, (const char *const[]){ __VA_ARGS__, NULL })

TEST(every_form_of_a_value_is_the_same)
{
    static const char *const forms[][3] = {
        { "--file", "a=b" }, { "--file=a=b" }, { "-F", "a=b" }, { "-Fa=b" }, { "-fF", "a=b" },
    };
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        struct parsed p;
        parse(&p, false, forms[i]);
        if (p.r < 0 || !p.v.file || strcmp(p.v.file, "a=b") != 0)
            FAIL("form %zu: %s", i, p.e.text);
        CHECK_EQ(p.v.follow, i == 4);
    }
}

TEST(flags_can_be_taken_back)
{
    struct parsed p;
    PARSE(&p, "-f", "--no-wait");
    CHECK(p.r == 2 && p.v.follow && !p.v.wait);
    PARSE(&p, "--wait=false", "--follow=true");
    CHECK(p.r == 2 && p.v.follow && !p.v.wait);
    PARSE(&p, "--wait=yes");
    CHECK(p.r == -CODE_INVALID && strstr(p.e.text, "--wait"));
    PARSE(&p, "--no-file");
    CHECK_EQ(p.r, -CODE_INVALID);
    PARSE(&p, "--no-wait=true");
    CHECK_EQ(p.r, -CODE_INVALID);
}

TEST(words_and_options_mix_until_two_dashes)
{
    struct parsed p;
    PARSE(&p, "a", "-e", "X=1", "b", "--", "-e", "--", "c");
    CHECK_EQ(p.r, 8);
    CHECK_EQ(p.words.count, 5);
    CHECK_STR(p.words.at[2], "-e");
    CHECK_STR(p.words.at[3], "--");
    CHECK_EQ(p.v.env.count, 1);
    done(&p);
    PARSE(&p, "-"); /* stdin, by custom: a word */
    CHECK(p.r == 1 && p.words.count == 1);
}

TEST(until_word_stops_at_the_first)
{
    struct parsed p;
    parse(&p, true, (const char *const[]){ "-f", "-t", "3", "get", "--unknown", NULL });
    CHECK_EQ(p.r, 3);
    CHECK(p.v.follow && p.v.tail == 3 && p.words.count == 0);
}

TEST(what_is_wrong_is_refused_with_its_name)
{
    static const struct {
        const char *argv[3], *says;
    } cases[] = {
        { { "--fiel", "x" }, "did you mean --file?" },
        { { "--zzz" }, "no option is called --zzz" },
        { { "-z" }, "-z" },
        { { "--file" }, "--file: a value must follow" },
        { { "-F" }, "--file: a value must follow" },
        { { "--tail", "0" }, "from 1 to 100" },
        { { "--tail", "101" }, "from 1 to 100" },
        { { "--tail", "-1" }, "from 1 to 100" },
        { { "--tail=" }, "from 1 to 100" },
        { { "--timeout", "1.5s" }, "not a duration" },
        { { "--timeout", "50d" }, "not a duration" },
        { { "--output", "jsn" }, "did you mean 'json'?" },
        { { "--output=" }, "none of table|json|yaml" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct parsed p;
        parse(&p, false, cases[i].argv);
        if (p.r != -CODE_INVALID || !strstr(p.e.text, cases[i].says))
            FAIL("%s: r=%d '%s'", cases[i].argv[0], p.r, p.e.text);
        CHECK(p.v.wait && p.v.tail == 7 && !p.v.output); /* untouched */
    }
}

TEST(lists_and_words_are_bounded)
{
    static const char *argv[2 * (OPT_LIST_MAX + 1) + 1];
    struct parsed p;
    for (size_t i = 0; i <= OPT_LIST_MAX; i++) {
        argv[2 * i] = "-e";
        argv[2 * i + 1] = "A=1";
    }
    parse(&p, false, argv);
    CHECK(p.r == -CODE_INVALID && strstr(p.e.text, "more than 256 times"));
    CHECK_EQ(p.v.env.count, OPT_LIST_MAX);
    done(&p);
    for (size_t i = 0; i <= 2 * OPT_LIST_MAX; i++)
        argv[i] = "word";
    parse(&p, false, argv);
    CHECK(p.r == -CODE_INVALID && p.words.count == OPT_WORDS_MAX);
}

TEST(durations)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } cases[] = {
        { "500ms", 500 },
        { "30s", 30000 },
        { "2m", 120000 },
        { "1h", 3600000 },
        { "45", 45000 },
        { "0", 0 },
        { "4294967295ms", 4294967295 },
        { "4294967296ms", -1 },
        { "1194h", -1 },
        { "", -1 },
        { "s", -1 },
        { "-1s", -1 },
        { "1 s", -1 },
        { "1sms", -1 },
        { "18446744073709551615h", -1 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint32_t ms = 12345;
        bool ok = opt_duration_ms(str_of(cases[i].text), &ms);
        if (ok != (cases[i].ms >= 0) || (ok ? (int64_t)ms != cases[i].ms : ms != 12345))
            FAIL("'%s': %d %u", cases[i].text, ok, ms);
    }
}

TEST(distance_counts_edits_and_swaps)
{
    static const struct {
        const char *a, *b;
        uint32_t distance;
    } cases[] = {
        { "", "", 0 },       { "get", "get", 0 },        { "get", "gte", 1 }, { "get", "gets", 1 },
        { "get", "set", 1 }, { "kitten", "sitting", 3 }, { "", "abc", 3 },    { "ab", "ba", 1 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint32_t there = suggest_distance(str_of(cases[i].a), str_of(cases[i].b));
        uint32_t back = suggest_distance(str_of(cases[i].b), str_of(cases[i].a));
        if (there != cases[i].distance || back != there)
            FAIL("%s, %s: %u and %u", cases[i].a, cases[i].b, there, back);
    }
}

TEST(only_what_is_near_is_suggested)
{
    struct suggest s = suggest_begin(STR("exlpain"));
    suggest_offer(&s, STR("apply"));
    suggest_offer(&s, STR("explain"));
    suggest_offer(&s, STR("delete"));
    CHECK(str_is(s.best, "explain"));
    s = suggest_begin(STR("zzzzzz"));
    suggest_offer(&s, STR("apply"));
    CHECK_EQ(s.best.size, 0);
    s = suggest_begin(STR("x"));
    suggest_offer(&s, STR("y")); /* everything short is near everything short */
    CHECK_EQ(s.best.size, 0);
    s = suggest_begin(STR("event-cl"));
    suggest_offer(&s, STR("event-classifier")); /* a beginning is near */
    CHECK(str_is(s.best, "event-classifier"));
}

TEST_MAIN()
