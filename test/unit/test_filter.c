/* What a filter means: each condition on what is there and on what is not, and that a negated tree is the
 * opposite of the tree where everything is there, and never holds together with it. */
#include "tap.h"

#include "base/rng.h"
#include "store/filter.h"

#include <math.h>

static struct filter_value keyword(const char *text)
{
    return (struct filter_value){ .type = JOURNAL_KEYWORD, .text = str_of(text) };
}
static struct filter_value word(const char *text)
{
    return (struct filter_value){ .type = JOURNAL_TEXT, .text = str_of(text) };
}
static struct filter_value integer(int64_t n)
{
    return (struct filter_value){ .type = JOURNAL_INT, .integer = n };
}
static struct filter_value real(double d)
{
    return (struct filter_value){ .type = JOURNAL_DOUBLE, .real = d };
}
static struct filter_value moment(int64_t ns)
{
    return (struct filter_value){ .type = JOURNAL_TIME, .integer = ns };
}

static const struct journal_attribute attributes[] = {
    { .name = { "Color", 5 }, .type = JOURNAL_KEYWORD, .text = { "green", 5 } },
    { .name = { "Note", 4 }, .type = JOURNAL_TEXT, .text = { "Paid, na\xc3\xafve ORDER-7", 19 } },
    { .name = { "Tags", 4 }, .type = JOURNAL_KEYWORDS, .text = { "a", 1 } },
    { .name = { "Tags", 4 }, .type = JOURNAL_KEYWORDS, .text = { "b", 1 } },
    { .name = { "Count", 5 }, .type = JOURNAL_INT, .integer = INT64_C(9007199254740993) },
    { .name = { "Price", 5 }, .type = JOURNAL_DOUBLE, .real = 1.5 },
    { .name = { "Late", 4 }, .type = JOURNAL_BOOL, .integer = 1 },
    { .name = { "Odd", 3 }, .type = JOURNAL_DOUBLE, .real = (double)NAN },
};
static const struct journal_key key = { JOURNAL_WORKFLOW, { "default", 7 }, { "order-17", 8 }, { { 1 } } };
static const struct journal_index row = {
    .status = 1, .type = { "Order", 5 }, .queue = { "q", 1 }, .start_ns = 1000, .execution_ns = 1500,
    .close_ns = 4000, .history_length = 11, .history_bytes = 4096, .transitions = 7,
    .root_id = { "order-17", 8 }, .root_run = { { 1 } }, .attributes = attributes,
    .attribute_count = COUNT_OF(attributes),
};

static bool holds_of(const struct filter_node *n, const struct journal_index *x)
{
    struct filter f = { .root = NULL };
    union {
        const struct filter_node *read;
        struct filter_node *write;
    } both = { n };
    f.root = both.write;
    filter_check(&f);
    return filter_matches(&f, &key, x);
}

/* 1 it holds, -1 its negation does, 0 neither, 7 both */
static int truth(enum filter_op op, enum filter_column c, enum journal_type t, const char *name,
                 struct filter_value v, struct filter_value w, const struct journal_index *x)
{
    AUTO(filter_node) struct filter_node *n = filter_condition(op, c, t, str_of(name));
    if (op < FILTER_IS_NULL)
        filter_add_value(n, v);
    if (w.text.size || w.integer)
        filter_add_value(n, w);
    bool is = holds_of(n, x);
    filter_negate(n);
    bool is_not = holds_of(n, x);
    return is && is_not ? 7 : is ? 1 : is_not ? -1 : 0;
}

#define NONE ((struct filter_value){ 0 })
TEST(a_condition_holds_or_its_negation_does_or_the_value_is_not_there)
{
    const struct {
        const char *why;
        enum filter_op op;
        enum filter_column c;
        enum journal_type t;
        const char *name;
        struct filter_value v, w;
        int truth;
    } cases[] = {
        { "an id", FILTER_EQ, FILTER_ID, JOURNAL_KEYWORD, "", keyword("order-17"), NONE, 1 },
        { "another id", FILTER_EQ, FILTER_ID, JOURNAL_KEYWORD, "", keyword("order-1"), NONE, -1 },
        { "longer is greater", FILTER_GT, FILTER_ID, JOURNAL_KEYWORD, "", keyword("order-1"), NONE, 1 },
        { "by bytes", FILTER_LT, FILTER_ID, JOURNAL_KEYWORD, "", keyword("order-2"), NONE, 1 },
        { "a prefix", FILTER_STARTS, FILTER_ID, JOURNAL_KEYWORD, "", keyword("order-"), NONE, 1 },
        { "no prefix", FILTER_STARTS, FILTER_ID, JOURNAL_KEYWORD, "", keyword("order-171"), NONE, -1 },
        { "the empty prefix", FILTER_STARTS, FILTER_ID, JOURNAL_KEYWORD, "", keyword(""), NONE, 1 },
        { "a run", FILTER_EQ, FILTER_RUN, JOURNAL_KEYWORD, "", keyword("01000000-0000-0000-0000-000000000000"), NONE, 1 },
        { "its status", FILTER_IN, FILTER_STATUS, JOURNAL_INT, "", integer(2), integer(1), 1 },
        { "not its status", FILTER_IN, FILTER_STATUS, JOURNAL_INT, "", integer(2), integer(3), -1 },
        { "closed later", FILTER_GT, FILTER_CLOSE_TIME, JOURNAL_TIME, "", moment(3999), NONE, 1 },
        { "closed then", FILTER_GT, FILTER_CLOSE_TIME, JOURNAL_TIME, "", moment(4000), NONE, -1 },
        { "or then", FILTER_GE, FILTER_CLOSE_TIME, JOURNAL_TIME, "", moment(4000), NONE, 1 },
        { "not below itself", FILTER_LT, FILTER_START_TIME, JOURNAL_TIME, "", moment(1000), NONE, -1 },
        { "not above itself", FILTER_GT, FILTER_START_TIME, JOURNAL_TIME, "", moment(1000), NONE, -1 },
        { "duration", FILTER_EQ, FILTER_EXECUTION_DURATION, JOURNAL_INT, "", integer(2500), NONE, 1 },
        { "no parent", FILTER_EQ, FILTER_PARENT_ID, JOURNAL_KEYWORD, "", keyword("p"), NONE, 0 },
        { "no parent's run", FILTER_NE, FILTER_PARENT_RUN, JOURNAL_KEYWORD, "", keyword("p"), NONE, 0 },
        { "no parent is null", FILTER_IS_NULL, FILTER_PARENT_ID, JOURNAL_KEYWORD, "", NONE, NONE, 1 },
        { "a root is not", FILTER_IS_NULL, FILTER_ROOT_RUN, JOURNAL_KEYWORD, "", NONE, NONE, -1 },
        { "no division", FILTER_IS_NULL, FILTER_DIVISION, JOURNAL_KEYWORD, "", NONE, NONE, 1 },
        { "a keyword", FILTER_EQ, FILTER_ATTRIBUTE, JOURNAL_KEYWORD, "Color", keyword("green"), NONE, 1 },
        { "in its case", FILTER_EQ, FILTER_ATTRIBUTE, JOURNAL_KEYWORD, "Color", keyword("Green"), NONE, -1 },
        { "no such attribute", FILTER_NE, FILTER_ATTRIBUTE, JOURNAL_KEYWORD, "Colour", keyword("green"), NONE, 0 },
        { "of another type", FILTER_NE, FILTER_ATTRIBUTE, JOURNAL_INT, "Color", integer(1), NONE, 0 },
        { "attribute null", FILTER_IS_NULL, FILTER_ATTRIBUTE, JOURNAL_INT, "Nope", NONE, NONE, 1 },
        { "attribute there", FILTER_NOT_NULL, FILTER_ATTRIBUTE, JOURNAL_KEYWORDS, "Tags", NONE, NONE, 1 },
        { "a list has", FILTER_HAS, FILTER_ATTRIBUTE, JOURNAL_KEYWORDS, "Tags", keyword("b"), NONE, 1 },
        { "a list has one of", FILTER_HAS, FILTER_ATTRIBUTE, JOURNAL_KEYWORDS, "Tags", keyword("c"), keyword("a"), 1 },
        { "a list has none of", FILTER_HAS, FILTER_ATTRIBUTE, JOURNAL_KEYWORDS, "Tags", keyword("c"), keyword("d"), -1 },
        { "no list", FILTER_HAS, FILTER_ATTRIBUTE, JOURNAL_KEYWORDS, "Tog", keyword("a"), NONE, 0 },
        { "a word", FILTER_WORDS, FILTER_ATTRIBUTE, JOURNAL_TEXT, "Note", word("paid"), NONE, 1 },
        { "one of the words", FILTER_WORDS, FILTER_ATTRIBUTE, JOURNAL_TEXT, "Note", word("x"), word("order"), 1 },
        { "not part of a word", FILTER_WORDS, FILTER_ATTRIBUTE, JOURNAL_TEXT, "Note", word("na"), NONE, -1 },
        { "not ASCII", FILTER_WORDS, FILTER_ATTRIBUTE, JOURNAL_TEXT, "Note", word("NA\xc3\xafVE"), NONE, 1 },
        { "no text", FILTER_WORDS, FILTER_ATTRIBUTE, JOURNAL_TEXT, "Nate", word("paid"), NONE, 0 },
        { "an integer beyond 53 bits", FILTER_GT, FILTER_ATTRIBUTE, JOURNAL_INT, "Count", real(9007199254740992.0), NONE, 1 },
        { "below a fraction", FILTER_LT, FILTER_HISTORY_LENGTH, JOURNAL_INT, "", real(11.5), NONE, 1 },
        { "above a fraction", FILTER_LT, FILTER_HISTORY_LENGTH, JOURNAL_INT, "", real(10.5), NONE, -1 },
        { "below any", FILTER_LT, FILTER_HISTORY_LENGTH, JOURNAL_INT, "", real(1e300), NONE, 1 },
        { "above any", FILTER_GT, FILTER_HISTORY_LENGTH, JOURNAL_INT, "", real(-1e300), NONE, 1 },
        { "a real", FILTER_EQ, FILTER_ATTRIBUTE, JOURNAL_DOUBLE, "Price", real(1.5), NONE, 1 },
        { "true", FILTER_EQ, FILTER_ATTRIBUTE, JOURNAL_BOOL, "Late", (struct filter_value){ .type = JOURNAL_BOOL, .integer = 1 }, NONE, 1 },
        { "not a number is nothing", FILTER_NE, FILTER_ATTRIBUTE, JOURNAL_DOUBLE, "Odd", real(1), NONE, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int is = truth(cases[i].op, cases[i].c, cases[i].t, cases[i].name, cases[i].v, cases[i].w, &row);
        if (is != cases[i].truth)
            FAIL("%s: %d, expected %d", cases[i].why, is, cases[i].truth);
    }
}

TEST(what_is_open_has_no_end)
{
    struct journal_index open = row;
    open.close_ns = JOURNAL_NEVER;
    CHECK_EQ(truth(FILTER_LT, FILTER_CLOSE_TIME, JOURNAL_TIME, "", moment(INT64_MAX), NONE, &open), 0);
    CHECK_EQ(truth(FILTER_GT, FILTER_EXECUTION_DURATION, JOURNAL_INT, "", integer(0), NONE, &open), 0);
    CHECK_EQ(truth(FILTER_IS_NULL, FILTER_CLOSE_TIME, JOURNAL_TIME, "", NONE, NONE, &open), 1);
}

TEST(no_filter_and_an_empty_one_mean_all)
{
    AUTO(filter) struct filter *f = filter_new();
    CHECK(filter_matches(NULL, &key, &row));
    CHECK(filter_matches(f, &key, &row));
    f->root = filter_node_new(FILTER_AND);
    CHECK(filter_matches(f, &key, &row));
    filter_negate(f->root);
    CHECK(!filter_matches(f, &key, &row));
}

/* Kleene's logic, computed with NOT where it stands: the definition that the tree without NOT has to agree with. */
static struct filter_node *random_tree(struct rng *r, int depth, int *ret_truth)
{
    static const char *const ids[] = { "order-17", "x" };
    if (depth == 0 || rng_chance(r, 30)) {
        bool there = rng_chance(r, 60), same = rng_chance(r, 50);
        struct filter_node *n = there ? filter_condition(FILTER_EQ, FILTER_ID, JOURNAL_KEYWORD, str_of(""))
                                      : filter_condition(FILTER_EQ, FILTER_PARENT_ID, JOURNAL_KEYWORD, str_of(""));
        filter_add_value(n, keyword(ids[!same]));
        *ret_truth = !there ? 0 : same ? 1 : -1;
        return n;
    }
    bool any = rng_chance(r, 50);
    struct filter_node *n = filter_node_new(any ? FILTER_OR : FILTER_AND);
    int all = any ? -1 : 1;
    for (uint64_t count = rng_below(r, 4); count > 0; count--) {
        int part;
        filter_add(n, random_tree(r, depth - 1, &part));
        all = any ? MAX(all, part) : MIN(all, part);
    }
    if (rng_chance(r, 40)) {
        filter_negate(n);
        all = -all;
    }
    *ret_truth = all;
    return n;
}

TEST(negation_pushed_down_means_what_it_meant_above)
{
    struct rng r = { 4 };
    int seen[3] = { 0 };
    for (int i = 0; i < 20000; i++) {
        int truth_above;
        AUTO(filter_node) struct filter_node *n = random_tree(&r, 5, &truth_above);
        CHECK(holds_of(n, &row) == (truth_above > 0));
        filter_negate(n);
        CHECK(holds_of(n, &row) == (truth_above < 0));
        seen[truth_above + 1]++;
    }
    CHECK(seen[0] > 1000 && seen[1] > 1000 && seen[2] > 1000);
}

TEST_MAIN()
