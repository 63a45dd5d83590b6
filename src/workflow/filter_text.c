#include "workflow/filter_text.h"

#include "workflow/filter_fields.h"
#include "workflow/filter_lex.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define NO       "operation is not supported: "
#define BAD      "invalid expression: "
#define SHORT(s) (int)MIN((s).size, (size_t)100), (s).at

struct parser {
    struct lex l;
    const struct filter_rules *rules;
    struct filter *f;
    uint64_t depth, parts;
    bool saw_division;
    struct buf scratch; /* of the literal at hand */
    struct err *e;
};

static int no(struct parser *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int no(struct parser *p, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(p->e, CODE_INVALID, "invalid query: %s", text);
}

static int syntax(struct parser *p, const char *want)
{
    if (p->l.kind == LEX_END)
        return no(p, "malformed SQL query: syntax error at the end: %s expected", want);
    return no(p, "malformed SQL query: syntax error at position %zu near '%.*s': %s expected", p->l.place + 1,
              SHORT(str_from(p->l.text, p->l.place)), want);
}

static int count_part(struct parser *p)
{
    if (++p->parts > p->rules->limits->filter_parts_max)
        return no(p, "more than %llu conditions and values (filter_parts_max)",
                  (unsigned long long)p->rules->limits->filter_parts_max);
    return 0;
}

/* ---- literals ---- */

static int number(struct parser *p, bool minus, struct filter_literal *ret)
{
    char text[64];
    uint64_t n;
    struct str raw = p->l.raw;
    int size = snprintf(text, sizeof text, "%s%.*s", minus ? "-" : "", SHORT(raw));
    if (size >= (int)sizeof text || raw.size > 100)
        return no(p, BAD "unable to parse value \"%.*s\"", SHORT(raw));
    buf_text(&p->scratch, text);
    *ret = (struct filter_literal){ .text = buf_str(&p->scratch) };
    if (str_u64(raw, &n) && n <= (uint64_t)INT64_MAX + minus) {
        ret->kind = FILTER_LITERAL_INT;
        ret->integer = minus ? (int64_t)(0 - n) : (int64_t)n;
        return 0;
    }
    ret->kind = FILTER_LITERAL_REAL;
    ret->real = strtod(text, NULL);
    if (!isfinite(ret->real))
        return no(p, BAD "unable to parse value \"%.*s\"", SHORT(raw));
    return 0;
}

static int literal(struct parser *p, struct filter_literal *ret)
{
    bool sign = p->l.kind == LEX_MINUS || p->l.kind == LEX_PLUS, minus = p->l.kind == LEX_MINUS;
    buf_clear(&p->scratch);
    if (sign)
        lex_next(&p->l);
    if (p->l.kind == LEX_NUMBER) {
        int r = number(p, minus, ret);
        if (r < 0)
            return r;
    } else if (sign) {
        return syntax(p, "a number");
    } else if (p->l.kind == LEX_STRING) {
        lex_unescape(p->l.raw, lex_quote(&p->l), &p->scratch);
        *ret = (struct filter_literal){ .kind = FILTER_LITERAL_STRING, .text = buf_str(&p->scratch) };
    } else if (lex_is(&p->l, "true") || lex_is(&p->l, "false")) {
        *ret = (struct filter_literal){ .kind = FILTER_LITERAL_BOOL, .text = p->l.raw,
                                        .integer = lex_is(&p->l, "true") };
    } else if (lex_is(&p->l, "null")) {
        return no(p, BAD "unexpected value null (IS NULL asks for what is not there)");
    } else if (p->l.kind == LEX_NAME) {
        return no(p, NO "column name on the right side of comparison expression (did you forget to quote \"%.*s\"?)",
                  SHORT(p->l.raw));
    } else {
        return syntax(p, "a value");
    }
    lex_next(&p->l);
    return 0;
}

/* One value of the condition; of a Text its words. */
static int value(struct parser *p, const struct filter_field *f, struct filter_node *into)
{
    struct filter_literal l;
    struct filter_value v;
    int r = literal(p, &l);
    if (r < 0 || (r = filter_field_value(f, &l, &v, p->e)) < 0)
        return r;
    if (f->type != JOURNAL_TEXT) {
        filter_add_value(into, v);
        return count_part(p);
    }
    for (struct str rest = v.text, word; filter_word(&rest, &word);) {
        filter_add_value(into, (struct filter_value){ .type = JOURNAL_TEXT, .text = word });
        if ((r = count_part(p)) < 0)
            return r;
    }
    if (into->value_count == 0)
        return no(p, BAD "no tokens found filtering on Text type search attribute %.*s", SHORT(f->name));
    return 0;
}

static int values(struct parser *p, const struct filter_field *f, struct filter_node *into)
{
    if (p->l.kind != LEX_OPEN)
        return syntax(p, "a list of values in parentheses");
    do {
        lex_next(&p->l);
        int r = value(p, f, into);
        if (r < 0)
            return r;
    } while (p->l.kind == LEX_COMMA);
    if (p->l.kind != LEX_CLOSE)
        return syntax(p, "a comma or the closing parenthesis");
    lex_next(&p->l);
    return 0;
}

/* ---- conditions ---- */

static int field(struct parser *p, struct filter_field *ret)
{
    if (p->l.kind == LEX_STRING || p->l.kind == LEX_NUMBER)
        return no(p, BAD "must be a column name but was %.*s", SHORT(p->l.raw));
    if (p->l.kind != LEX_NAME || p->l.raw.size == 0)
        return syntax(p, "the name of a search attribute");
    int r = filter_field_find(p->l.raw, p->rules->find, p->rules->ctx, ret, p->e);
    if (r < 0)
        return r;
    p->saw_division |= ret->column == FILTER_DIVISION;
    lex_next(&p->l);
    return 0;
}

static int operator_refused(struct parser *p, const struct filter_field *f, const char *operator)
{
    return no(p, NO "operator '%s' not supported for %s type search attribute '%.*s'", operator,
              filter_field_type_name(f), SHORT(f->name));
}

static struct filter_node *condition_of(const struct filter_field *f, enum filter_op op)
{
    return filter_condition(op, f->column, f->type, f->attribute);
}

static const struct {
    enum lex_kind kind;
    enum filter_op op;
    const char *text;
} comparisons[] = {
    { LEX_EQ, FILTER_EQ, "=" }, { LEX_NE, FILTER_NE, "!=" }, { LEX_LT, FILTER_LT, "<" },
    { LEX_LE, FILTER_LE, "<=" }, { LEX_GT, FILTER_GT, ">" }, { LEX_GE, FILTER_GE, ">=" },
};

static int comparison(struct parser *p, const struct filter_field *f, struct filter_node **ret)
{
    size_t i = 0;
    while (i < COUNT_OF(comparisons) && comparisons[i].kind != p->l.kind)
        i++;
    if (i == COUNT_OF(comparisons))
        return syntax(p, "an operator");
    enum filter_op op = comparisons[i].op;
    bool equal = op == FILTER_EQ, equality = equal || op == FILTER_NE;
    if (!equality && (f->type == JOURNAL_TEXT || f->type == JOURNAL_KEYWORDS || f->column == FILTER_STATUS))
        return operator_refused(p, f, comparisons[i].text);
    if (f->type == JOURNAL_TEXT)
        op = equal ? FILTER_WORDS : FILTER_NOT_WORDS;
    if (f->type == JOURNAL_KEYWORDS)
        op = equal ? FILTER_HAS : FILTER_HAS_NOT;
    lex_next(&p->l);
    AUTO(filter_node) struct filter_node *n = condition_of(f, op);
    int r = value(p, f, n);
    if (r == 0)
        *ret = TAKE(n);
    return r;
}

/* x BETWEEN a AND b is x >= a AND x <= b */
static int range(struct parser *p, const struct filter_field *f, struct filter_node **ret)
{
    AUTO(filter_node) struct filter_node *both = filter_node_new(FILTER_AND);
    if (f->type == JOURNAL_TEXT || f->type == JOURNAL_KEYWORDS || f->type == JOURNAL_BOOL ||
        f->column == FILTER_STATUS)
        return no(p, BAD "cannot do range condition on search attribute '%.*s' of type %s", SHORT(f->name),
                  filter_field_type_name(f));
    for (int end = 0; end < 2; end++) {
        AUTO(filter_node) struct filter_node *n = condition_of(f, end ? FILTER_LE : FILTER_GE);
        int r = value(p, f, n);
        if (r < 0)
            return r;
        filter_add(both, TAKE(n));
        if (!end && !lex_is(&p->l, "and"))
            return syntax(p, "AND");
        if (!end)
            lex_next(&p->l);
    }
    *ret = TAKE(both);
    return 0;
}

static int is_null(struct parser *p, const struct filter_field *f, struct filter_node **ret)
{
    bool negated = lex_is(&p->l, "not");
    if (negated)
        lex_next(&p->l);
    if (!lex_is(&p->l, "null"))
        return no(p, BAD "'IS' operator can only be used as 'IS NULL' or 'IS NOT NULL'");
    lex_next(&p->l);
    *ret = condition_of(f, negated ? FILTER_NOT_NULL : FILTER_IS_NULL);
    return 0;
}

/* Behind a field, and NOT: IN, STARTS_WITH, BETWEEN. 0: none of them. */
static int word_operator(struct parser *p, const struct filter_field *f, struct filter_node **ret)
{
    bool in = lex_is(&p->l, "in"), starts = lex_is(&p->l, "starts_with");
    if (lex_is(&p->l, "like") || lex_is(&p->l, "regexp") || lex_is(&p->l, "rlike"))
        return operator_refused(p, f, lex_is(&p->l, "like") ? "LIKE" : "REGEXP");
    if (!in && !starts && !lex_is(&p->l, "between"))
        return 0;
    if ((in && f->type == JOURNAL_TEXT) ||
        (starts && (f->type != JOURNAL_KEYWORD || f->column == FILTER_STATUS)))
        return operator_refused(p, f, in ? "IN" : "STARTS_WITH");
    lex_next(&p->l);
    if (!in && !starts) {
        int r = range(p, f, ret);
        return r < 0 ? r : 1;
    }
    AUTO(filter_node) struct filter_node *n =
        condition_of(f, starts ? FILTER_STARTS : f->type == JOURNAL_KEYWORDS ? FILTER_HAS : FILTER_IN);
    int r = in ? values(p, f, n) : value(p, f, n);
    if (r < 0)
        return r;
    *ret = TAKE(n);
    return 1;
}

static int condition(struct parser *p, struct filter_node **ret)
{
    struct filter_field f = { 0 };
    bool name = p->l.kind == LEX_NAME, negated;
    struct lex behind = p->l;
    lex_next(&behind);
    if (name && behind.kind == LEX_OPEN)
        return no(p, NO "function expression");
    int r = field(p, &f);
    if (r < 0 || (r = count_part(p)) < 0)
        return r;
    if (p->l.kind == LEX_END || p->l.kind == LEX_CLOSE || lex_is(&p->l, "and") || lex_is(&p->l, "or"))
        return no(p, BAD "incomplete expression");
    if (lex_is(&p->l, "is")) {
        lex_next(&p->l);
        return is_null(p, &f, ret);
    }
    negated = lex_is(&p->l, "not");
    if (negated)
        lex_next(&p->l);
    r = word_operator(p, &f, ret);
    if (r == 0 && negated)
        return syntax(p, "IN, BETWEEN or STARTS_WITH");
    if (r == 0)
        return comparison(p, &f, ret);
    if (r > 0 && negated)
        filter_negate(*ret);
    return MIN(r, 0);
}

/* ---- their connection ---- */

static int either(struct parser *p, struct filter_node **ret);

static int negation(struct parser *p, struct filter_node **ret)
{
    bool negated = false;
    int r;
    for (; lex_is(&p->l, "not"); lex_next(&p->l))
        negated = !negated;
    if (p->l.kind != LEX_OPEN) {
        r = condition(p, ret);
    } else {
        if (++p->depth > p->rules->limits->filter_depth_max)
            return no(p, "parentheses more than %llu deep (filter_depth_max)",
                      (unsigned long long)p->rules->limits->filter_depth_max);
        lex_next(&p->l);
        AUTO(filter_node) struct filter_node *inner = NULL;
        if ((r = either(p, &inner)) < 0)
            return r;
        if (p->l.kind != LEX_CLOSE)
            return syntax(p, "AND, OR or the closing parenthesis");
        lex_next(&p->l);
        p->depth--;
        *ret = TAKE(inner);
    }
    if (r == 0 && negated)
        filter_negate(*ret);
    return r;
}

/* a AND b OR c AND d: conjunctions of a disjunction. One part alone stands for itself. */
static int joined(struct parser *p, enum filter_op op, struct filter_node **ret)
{
    const char *keyword = op == FILTER_AND ? "and" : "or";
    AUTO(filter_node) struct filter_node *all = NULL;
    int r = op == FILTER_OR ? joined(p, FILTER_AND, &all) : negation(p, &all);
    while (r == 0 && lex_is(&p->l, keyword)) {
        AUTO(filter_node) struct filter_node *more = NULL, *joint = filter_node_new(op);
        lex_next(&p->l);
        r = op == FILTER_OR ? joined(p, FILTER_AND, &more) : negation(p, &more);
        if (r < 0)
            break;
        if (all->op == op) {
            filter_add(all, TAKE(more));
            continue;
        }
        filter_add(joint, TAKE(all));
        filter_add(joint, TAKE(more));
        all = TAKE(joint);
    }
    if (r == 0)
        *ret = TAKE(all);
    return r;
}

static int either(struct parser *p, struct filter_node **ret) { return joined(p, FILTER_OR, ret); }

static bool two_words(struct parser *p, const char *first, const char *second)
{
    struct lex behind = p->l;
    lex_next(&behind);
    return lex_is(&p->l, first) && lex_is(&behind, second);
}

static int group_by(struct parser *p)
{
    struct filter_field f = { 0 };
    lex_next(&p->l);
    lex_next(&p->l);
    int r = field(p, &f);
    if (r < 0)
        return r;
    if (p->l.kind == LEX_COMMA)
        return no(p, NO "'GROUP BY' clause supports only a single field");
    if (!p->rules->counting)
        return no(p, NO "'GROUP BY' clause");
    if (f.column != FILTER_STATUS && f.column != FILTER_DIVISION &&
        !str_starts(f.name, STR("TemporalLowCardinalityKeyword")))
        return no(p, NO "'GROUP BY' clause is not supported for search attribute %.*s", SHORT(f.name));
    filter_group(p->f, f.column, f.type, f.attribute);
    return 0;
}

static int clauses(struct parser *p)
{
    int r = 0;
    bool grouped = two_words(p, "group", "by");
    if (p->l.kind != LEX_END && !grouped && !two_words(p, "order", "by") && !lex_is(&p->l, "limit"))
        r = either(p, &p->f->root);
    grouped = two_words(p, "group", "by");
    if (r == 0 && grouped)
        r = group_by(p);
    if (r < 0)
        return r;
    if (two_words(p, "order", "by"))
        return no(p, NO "'ORDER BY' clause");
    if (lex_is(&p->l, "limit"))
        return no(p, NO "'LIMIT' clause");
    if (p->l.kind != LEX_END)
        return syntax(p, "AND, OR or the end");
    return 0;
}

static void hide_divisions(struct filter *f)
{
    struct filter_node *all = filter_node_new(FILTER_AND);
    filter_add(all, filter_condition(FILTER_IS_NULL, FILTER_DIVISION, JOURNAL_KEYWORD, (struct str){ 0 }));
    if (f->root)
        filter_add(all, TAKE(f->root));
    f->root = all;
}

int filter_text_parse(struct str text, const struct filter_rules *rules, struct filter **ret, struct err *e)
{
    AUTO(filter) struct filter *f = filter_new();
    struct parser p = { .rules = rules, .f = f, .e = e };
    if (text.size > rules->limits->filter_bytes_max)
        return no(&p, "longer than %llu bytes (filter_bytes_max)",
                  (unsigned long long)rules->limits->filter_bytes_max);
    buf_init(&p.scratch, text.size + 64);
    lex_begin(&p.l, text);
    int r = clauses(&p);
    buf_done(&p.scratch);
    if (r < 0)
        return r;
    if (rules->divided && !p.saw_division)
        hide_divisions(f);
    *ret = TAKE(f);
    return 0;
}
