/* Texts of filters: what they mean for one row, how they are refused, and that AND, OR, NOT and parentheses bind as
 * they do in SQL (random expressions beside their own three-valued evaluation). */
#include "tap.h"

#include "base/buf.h"
#include "base/rng.h"
#include "workflow/filter_text.h"

static bool find(void *ctx, struct str name, enum journal_type *ret)
{
    static const struct {
        const char *name;
        enum journal_type type;
    } custom[] = {
        { "CustomKeywordField", JOURNAL_KEYWORD }, { "CustomTextField", JOURNAL_TEXT },
        { "CustomIntField", JOURNAL_INT }, { "CustomDoubleField", JOURNAL_DOUBLE },
        { "CustomBoolField", JOURNAL_BOOL }, { "CustomDatetimeField", JOURNAL_TIME },
        { "CustomListField", JOURNAL_KEYWORDS }, { "with space", JOURNAL_INT }, { "order", JOURNAL_INT },
    };
    (void)ctx;
    for (size_t i = 0; i < COUNT_OF(custom); i++)
        if (str_is(name, custom[i].name)) {
            *ret = custom[i].type;
            return true;
        }
    return false;
}

#define TEXT(s) { "" s, sizeof(s) - 1 }
static const struct journal_attribute attributes[] = {
    { .name = TEXT("CustomKeywordField"), .type = JOURNAL_KEYWORD, .text = TEXT("it's \"x\"\\") },
    { .name = TEXT("CustomTextField"), .type = JOURNAL_TEXT, .text = TEXT("Order was paid") },
    { .name = TEXT("CustomIntField"), .type = JOURNAL_INT, .integer = -5 },
    { .name = TEXT("CustomDoubleField"), .type = JOURNAL_DOUBLE, .real = 2.5 },
    { .name = TEXT("CustomBoolField"), .type = JOURNAL_BOOL, .integer = 1 },
    { .name = TEXT("CustomDatetimeField"), .type = JOURNAL_TIME, .integer = INT64_C(1767323045678900000) },
    { .name = TEXT("CustomListField"), .type = JOURNAL_KEYWORDS, .text = TEXT("a") },
    { .name = TEXT("CustomListField"), .type = JOURNAL_KEYWORDS, .text = TEXT("b") },
    { .name = TEXT("with space"), .type = JOURNAL_INT, .integer = 3 },
    { .name = TEXT("order"), .type = JOURNAL_INT, .integer = 4 },
    { .name = TEXT("BuildIds"), .type = JOURNAL_KEYWORDS, .text = TEXT("v1") },
    { .name = TEXT("TemporalScheduledById"), .type = JOURNAL_KEYWORD, .text = TEXT("s") },
};
static const struct journal_key key = { JOURNAL_WORKFLOW, TEXT("default"), TEXT("order-17"), { { 1 } } };
static const struct journal_index row = {
    .status = 2, .type = TEXT("Order"), .queue = TEXT("q"), .start_ns = INT64_C(1767323045000000000),
    .execution_ns = INT64_C(1767323045000000000), .close_ns = INT64_C(1767323047500000000),
    .history_length = 11, .root_id = TEXT("order-17"), .attributes = attributes,
    .attribute_count = COUNT_OF(attributes),
};

static struct limits limits;
static int parse(const char *text, bool counting, bool divided, struct filter **ret, struct err *e)
{
    limits_default(&limits);
    struct filter_rules rules = { &limits, find, NULL, counting, divided };
    return filter_text_parse(str_of(text), &rules, ret, e);
}

static const struct {
    const char *text;
    bool holds;
} meant[] = {
    { "", true }, { "  \n", true },
    { "WorkflowId = 'order-17'", true }, { "WorkflowId != 'order-17'", false },
    { "WorkflowId <> \"order-1\"", true }, { "`WorkflowId`='order-17'", true },
    { "ScheduleId = 'order-17'", true },
    { "RunId = '01000000-0000-0000-0000-000000000000'", true },
    { "WorkflowType IN ('A', 'Order') and TaskQueue in ('q')", true },
    { "WorkflowType NOT IN ('A', 'Order')", false },
    { "WorkflowId STARTS_WITH 'order-' AND WorkflowId NOT STARTS_WITH 'order-2'", true },
    { "WorkflowId BETWEEN 'order-1' AND 'order-2'", true },
    { "WorkflowId NOT BETWEEN 'order-1' AND 'order-2'", false },
    { "ExecutionStatus = 'Completed'", true }, { "ExecutionStatus = 2", true },
    { "ExecutionStatus = 'WORKFLOW_EXECUTION_STATUS_COMPLETED'", true },
    { "ExecutionStatus IN ('Running', 'TimedOut', 6)", false }, { "ExecutionStatus != 'Running'", true },
    { "StartTime = '2026-01-02T03:04:05Z'", true }, { "StartTime > '2026-01-02T04:04:04+01:00'", true },
    { "StartTime = 1767323045000000000", true }, { "CloseTime < '9999-12-31T23:59:59Z'", true },
    { "StartTime BETWEEN '2026-01-01T00:00:00Z' AND '2026-01-02T03:04:04.999999999Z'", false },
    { "ExecutionDuration = '2.5s'", true }, { "ExecutionDuration < '00:00:03'", true },
    { "ExecutionDuration >= 2500000000", true }, { "ExecutionDuration > '1d'", false },
    { "ExecutionDuration = '2500000000'", true },
    { "HistoryLength > 10.5 AND HistoryLength <= 11", true }, { "HistoryLength >= 11.01", false },
    { "CustomKeywordField = 'it''s \"x\"\\\\'", true }, { "CustomKeywordField = \"it's \"\"x\"\"\\\\\"", true },
    { "CustomKeywordField = 'it\\'s \\\"x\\\"\\\\'", true },
    { "CustomTextField = 'nobody paid'", true }, { "CustomTextField != 'paid'", false },
    { "CustomIntField = -5", true }, { "CustomIntField < + 5", true }, { "CustomIntField = -5.0", true },
    { "CustomIntField between -6 and -4 and CustomIntField not between 0 and 1", true },
    { "CustomDoubleField > 2 AND CustomDoubleField = 25e-1", true }, { "CustomDoubleField in (1, 2.5)", true },
    { "CustomBoolField = true", true }, { "CustomBoolField = FALSE", false }, { "CustomBoolField IN (false)", false },
    { "CustomDatetimeField = '2026-01-02T03:04:05.6789Z'", true },
    { "CustomListField = 'b'", true }, { "CustomListField IN ('x', 'a')", true },
    { "CustomListField != 'a'", false }, { "CustomListField NOT IN ('x')", true },
    { "`with space` = 3", true }, { "`order` = 4", true }, { "BuildIds = 'v1'", true },
    { "TemporalBuildIds = 'v1'", true }, { "ScheduledById = 's'", true },
    { "ParentWorkflowId IS NULL", true }, { "ParentWorkflowId is not null", false },
    { "ParentWorkflowId = 'x' OR NOT ParentWorkflowId = 'x'", false },
    { "RootWorkflowId = WorkflowId OR TaskQueue = 'q'", true }, /* refused, see below */
    { "NOT TaskQueue = 'x' AND NOT NOT TaskQueue = 'q'", true },
    { "TaskQueue = 'q' OR TaskQueue = 'x' AND WorkflowId = 'x'", true },
    { "(TaskQueue = 'q' OR TaskQueue = 'x') AND WorkflowId = 'x'", false },
    { "NOT (TaskQueue = 'q' AND WorkflowId = 'x')", true },
    { "CustomKeywordField = '\xc3\xa9\n; DROP TABLE x; --'", false },
};

TEST(a_text_means_what_it_says)
{
    for (size_t i = 0; i < COUNT_OF(meant); i++) {
        struct err e = { 0 };
        AUTO(filter) struct filter *f = NULL;
        int r = parse(meant[i].text, false, false, &f, &e);
        if (strstr(meant[i].text, "= WorkflowId")) {
            CHECK(r < 0 && strstr(e.text, "did you forget to quote \"WorkflowId\"?"));
            continue;
        }
        if (r < 0)
            FAIL("%s: %s", meant[i].text, e.text);
        filter_check(f);
        if (filter_matches(f, &key, &row) != meant[i].holds)
            FAIL("%s: expected %d", meant[i].text, meant[i].holds);
    }
}

static const struct {
    const char *text, *error;
} refused[] = {
    { "Nope = 1", "invalid search attribute: Nope" },
    { "workflowid = 'x'", "invalid search attribute: workflowid" },
    { "TemporalCustomIntField = 1", "invalid search attribute: TemporalCustomIntField" },
    { "WorkflowId", "invalid expression: incomplete expression" },
    { "WorkflowId AND RunId = 'x'", "invalid expression: incomplete expression" },
    { "WorkflowId =", "malformed SQL query: syntax error at the end: a value expected" },
    { "WorkflowId = 'x", "syntax error at position 14 near ''x': a value expected" },
    { "WorkflowId = 'x' foo", "syntax error at position 18 near 'foo'" },
    { "WorkflowId ~ 'x'", "syntax error at position 12 near '~ 'x'': an operator expected" },
    { "WorkflowId NOT = 'x'", "IN, BETWEEN or STARTS_WITH expected" },
    { "(WorkflowId = 'x'", "closing parenthesis expected" },
    { "WorkflowId = 'x')", "syntax error at position 17" },
    { "AND WorkflowId = 'x'", "invalid search attribute: AND" },
    { "WorkflowId IN 'x'", "a list of values" },
    { "WorkflowId IN ()", "a value expected" },
    { "WorkflowId IN ('x',)", "a value expected" },
    { "WorkflowId IN ('x' 'y')", "a comma or the closing parenthesis expected" },
    { "WorkflowId LIKE 'x%'", "operation is not supported: operator 'LIKE' not supported for Keyword type search attribute 'WorkflowId'" },
    { "CustomIntField STARTS_WITH 'x'", "operator 'STARTS_WITH' not supported for Int type" },
    { "CustomListField < 'x'", "operator '<' not supported for KeywordList type search attribute 'CustomListField'" },
    { "CustomTextField IN ('x')", "operator 'IN' not supported for Text type" },
    { "CustomTextField >= 'x'", "operator '>=' not supported for Text type" },
    { "ExecutionStatus > 'Running'", "operator '>' not supported for Keyword type search attribute 'ExecutionStatus'" },
    { "CustomTextField = ' '", "no tokens found filtering on Text type search attribute CustomTextField" },
    { "CustomBoolField BETWEEN true AND false", "cannot do range condition on search attribute 'CustomBoolField' of type Bool" },
    { "CustomIntField BETWEEN 1, 2", "AND expected" },
    { "CustomIntField = 'x'", "invalid value type for search attribute CustomIntField of type Int: x (type: string)" },
    { "WorkflowId = 1", "of type Keyword: 1 (type: int64)" },
    { "CustomBoolField = 'true'", "of type Bool: true (type: string)" },
    { "CustomDatetimeField = 'yesterday'", "unable to parse datetime 'yesterday'" },
    { "CustomDatetimeField = 1.5", "of type Datetime: 1.5 (type: float64)" },
    { "ExecutionDuration = 'long'", "invalid duration value for search attribute ExecutionDuration: long" },
    { "ExecutionStatus = 'running'", "invalid ExecutionStatus value 'running'" },
    { "ExecutionStatus = 99", "invalid ExecutionStatus value '99'" },
    { "ExecutionStatus = true", "(type: bool)" },
    { "CustomIntField = 0x10", "syntax error" },
    { "CustomIntField = 12abc", "syntax error" },
    { "CustomDoubleField = 1e999", "unable to parse value \"1e999\"" },
    { "CustomIntField = null", "unexpected value null" },
    { "CustomIntField = - 'x'", "a number expected" },
    { "CustomIntField IS TRUE", "'IS' operator can only be used as 'IS NULL' or 'IS NOT NULL'" },
    { "upper(WorkflowId) = 'X'", "operation is not supported: function expression" },
    { "'x' = WorkflowId", "must be a column name but was x" },
    { "WorkflowId = 'x' ORDER BY StartTime", "operation is not supported: 'ORDER BY' clause" },
    { "order by StartTime desc", "operation is not supported: 'ORDER BY' clause" },
    { "WorkflowId = 'x' LIMIT 5", "operation is not supported: 'LIMIT' clause" },
    { "GROUP BY ExecutionStatus", "operation is not supported: 'GROUP BY' clause" },
    { "WorkflowId = 'x'; DROP TABLE x", "syntax error at position 17" },
    { "WorkflowId = 'x' -- y", "syntax error at position 18" },
    { "((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((WorkflowId = 'x'", "more than 64 deep" },
};

TEST(what_is_wrong_is_named)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct err e = { 0 };
        struct filter *untouched = (struct filter *)(uintptr_t)8, *f = untouched;
        int r = parse(refused[i].text, false, false, &f, &e);
        if (r != -CODE_INVALID || f != untouched || strncmp(e.text, "invalid query: ", 15) != 0 ||
            !strstr(e.text, refused[i].error))
            FAIL("%s: %d %s", refused[i].text, r, e.text);
    }
}

TEST(counts_are_grouped_by_one_field)
{
    struct err e = { 0 };
    AUTO(filter) struct filter *f = NULL, *g = NULL;
    CHECK_EQ(parse("WorkflowType = 'Order' GROUP BY ExecutionStatus", true, false, &f, &e), 0);
    CHECK(f->grouped && f->group == FILTER_STATUS && f->root);
    CHECK_EQ(parse("group by `ExecutionStatus`", true, false, &g, &e), 0);
    CHECK(g->grouped && !g->root);
    CHECK(parse("GROUP BY ExecutionStatus, WorkflowType", true, false, &f, &e) < 0);
    CHECK(strstr(e.text, "supports only a single field"));
    CHECK(parse("GROUP BY WorkflowId", true, false, &f, &e) < 0);
    CHECK(strstr(e.text, "not supported for search attribute WorkflowId"));
}

TEST(divisions_are_hidden_until_asked_for)
{
    struct err e = { 0 };
    struct journal_index other = row;
    other.division = str_of("TemporalScheduler");
    AUTO(filter) struct filter *all = NULL, *some = NULL, *asked = NULL;
    CHECK_EQ(parse("", false, true, &all, &e), 0);
    CHECK_EQ(parse("TaskQueue = 'x' OR TaskQueue = 'q'", false, true, &some, &e), 0);
    CHECK_EQ(parse("TemporalNamespaceDivision = 'TemporalScheduler'", false, true, &asked, &e), 0);
    CHECK(filter_matches(all, &key, &row) && !filter_matches(all, &key, &other));
    CHECK(filter_matches(some, &key, &row) && !filter_matches(some, &key, &other));
    CHECK(!filter_matches(asked, &key, &row) && filter_matches(asked, &key, &other));
}

/* One random expression as text; returns what SQL says of it: 1, -1, or 0 for unknown. */
static int random_text(struct rng *r, int depth, struct buf *into, int above)
{
    static const struct {
        const char *text;
        int truth;
    } leaves[] = {
        { "TaskQueue = 'q'", 1 }, { "TaskQueue NOT IN ('q')", -1 }, { "ParentRunId = 'x'", 0 },
        { "HistoryLength between 10 and 12", 1 }, { "CustomTextField = 'paid'", 1 },
        { "HistoryLength not between 10 and 12", -1 }, { "CloseTime IS NULL", -1 },
    };
    int kind = depth == 0 ? 3 : (int)rng_below(r, 4), truth; /* 0 OR, 1 AND, 2 NOT, 3 leaf: by how they bind */
    bool paren = kind < above || rng_chance(r, 15);
    buf_text(into, paren ? "(" : "");
    if (kind == 3) {
        size_t i = rng_below(r, COUNT_OF(leaves));
        buf_text(into, leaves[i].text);
        truth = leaves[i].truth;
    } else if (kind == 2) {
        buf_text(into, "not ");
        truth = -random_text(r, depth - 1, into, 2);
    } else {
        int left = random_text(r, depth - 1, into, kind);
        buf_text(into, kind ? " AND " : "\tor ");
        int right = random_text(r, depth - 1, into, kind);
        truth = kind ? MIN(left, right) : MAX(left, right);
    }
    buf_text(into, paren ? ")" : "");
    return truth;
}

TEST(connectives_bind_as_in_sql)
{
    struct rng r = { 11 };
    int seen[3] = { 0 };
    for (int i = 0; i < 20000; i++) {
        struct err e = { 0 };
        struct buf text;
        buf_init(&text, 16000);
        int truth = random_text(&r, 5, &text, 0);
        buf_append(&text, "", 1);
        AUTO(filter) struct filter *f = NULL;
        int result = parse(buf_at(&text), false, false, &f, &e);
        bool right = result == 0 && filter_matches(f, &key, &row) == (truth > 0);
        if (result == 0)
            filter_check(f);
        if (!right)
            printf("# %s: %s\n", buf_at(&text), e.text);
        buf_done(&text);
        CHECK(right);
        seen[truth + 1]++;
    }
    CHECK(seen[0] > 1000 && seen[1] > 1000 && seen[2] > 1000);
}

TEST(a_text_cut_anywhere_or_past_a_limit_leaves_nothing)
{
    const char *text = "WorkflowId IN ('a', 'b') AND (CustomTextField = 'x y z' OR NOT CustomIntField BETWEEN -1 AND 2.5) "
                       "GROUP BY ExecutionStatus";
    int taken = 0;
    limits_default(&limits);
    struct filter_rules rules = { &limits, find, NULL, true, true };
    for (size_t size = 0; size <= strlen(text); size++) {
        AUTO_FREE char *exact = xstrndup(text, size);
        struct err e = { 0 };
        AUTO(filter) struct filter *f = NULL;
        int r = filter_text_parse((struct str){ exact, size }, &rules, &f, &e);
        CHECK(r == 0 ? f != NULL : !f && e.text[0]);
        taken += r == 0;
    }
    CHECK(taken >= 3 && taken < 12);
    for (limits.filter_parts_max = 0; limits.filter_parts_max < 11; limits.filter_parts_max++) {
        struct err e = { 0 };
        AUTO(filter) struct filter *f = NULL;
        int r = filter_text_parse(str_of(text), &rules, &f, &e);
        bool fits = limits.filter_parts_max >= 10; /* 3 conditions, 7 values */
        CHECK(fits ? r == 0 : r == -CODE_INVALID && strstr(e.text, "filter_parts_max"));
    }
    limits.filter_bytes_max = strlen(text) - 1;
    struct err e = { 0 };
    struct filter *f = NULL;
    CHECK(filter_text_parse(str_of(text), &rules, &f, &e) == -CODE_INVALID && strstr(e.text, "filter_bytes_max"));
}

TEST_MAIN()
