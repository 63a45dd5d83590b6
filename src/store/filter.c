#include "store/filter.h"

#include <math.h>
#include <stdlib.h>

static const enum journal_type column_types[] = {
    [FILTER_ID] = JOURNAL_KEYWORD,
    [FILTER_RUN] = JOURNAL_KEYWORD,
    [FILTER_TYPE] = JOURNAL_KEYWORD,
    [FILTER_QUEUE] = JOURNAL_KEYWORD,
    [FILTER_STATUS] = JOURNAL_INT,
    [FILTER_START_TIME] = JOURNAL_TIME,
    [FILTER_EXECUTION_TIME] = JOURNAL_TIME,
    [FILTER_CLOSE_TIME] = JOURNAL_TIME,
    [FILTER_EXECUTION_DURATION] = JOURNAL_INT,
    [FILTER_HISTORY_LENGTH] = JOURNAL_INT,
    [FILTER_HISTORY_BYTES] = JOURNAL_INT,
    [FILTER_TRANSITIONS] = JOURNAL_INT,
    [FILTER_PARENT_ID] = JOURNAL_KEYWORD,
    [FILTER_PARENT_RUN] = JOURNAL_KEYWORD,
    [FILTER_ROOT_ID] = JOURNAL_KEYWORD,
    [FILTER_ROOT_RUN] = JOURNAL_KEYWORD,
    [FILTER_DIVISION] = JOURNAL_KEYWORD,
};

static const enum filter_op opposites[] = {
    [FILTER_AND] = FILTER_OR,          [FILTER_OR] = FILTER_AND,
    [FILTER_EQ] = FILTER_NE,           [FILTER_NE] = FILTER_EQ,
    [FILTER_LT] = FILTER_GE,           [FILTER_GE] = FILTER_LT,
    [FILTER_GT] = FILTER_LE,           [FILTER_LE] = FILTER_GT,
    [FILTER_IN] = FILTER_NOT_IN,       [FILTER_NOT_IN] = FILTER_IN,
    [FILTER_STARTS] = FILTER_NOT_STARTS, [FILTER_NOT_STARTS] = FILTER_STARTS,
    [FILTER_HAS] = FILTER_HAS_NOT,     [FILTER_HAS_NOT] = FILTER_HAS,
    [FILTER_WORDS] = FILTER_NOT_WORDS, [FILTER_NOT_WORDS] = FILTER_WORDS,
    [FILTER_IS_NULL] = FILTER_NOT_NULL, [FILTER_NOT_NULL] = FILTER_IS_NULL,
};

/* ---- making one ---- */

static struct str own(struct str s)
{
    return (struct str){ xstrndup(s.size ? s.at : "", s.size), s.size };
}

static void disown(struct str s)
{
    union {
        const char *read;
        char *write;
    } text = { s.at };
    free(text.write);
}

static void *more(void *array, size_t count, size_t *room, size_t each)
{
    if (count < *room)
        return array;
    *room = *room ? 2 * *room : 4;
    return xrealloc(array, *room, each);
}

struct filter *filter_new(void) { return xcalloc(1, sizeof(struct filter)); }

void filter_free(struct filter *f)
{
    if (!f)
        return;
    filter_node_free(f->root);
    disown(f->group_name);
    free(f);
}

void filter_group(struct filter *f, enum filter_column column, enum journal_type type, struct str name)
{
    ASSERT(!f->grouped);
    f->grouped = true;
    f->group = column;
    f->group_type = type;
    f->group_name = column == FILTER_ATTRIBUTE ? own(name) : (struct str){ 0 };
}

struct filter_node *filter_node_new(enum filter_op op)
{
    struct filter_node *n = xcalloc(1, sizeof *n);
    n->op = op;
    return n;
}

struct filter_node *filter_condition(enum filter_op op, enum filter_column column,
                                     enum journal_type type, struct str name)
{
    ASSERT(op > FILTER_OR);
    struct filter_node *n = filter_node_new(op);
    n->column = column;
    n->type = type;
    if (column == FILTER_ATTRIBUTE)
        n->name = own(name);
    return n;
}

void filter_node_free(struct filter_node *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->part_count; i++)
        filter_node_free(n->parts[i]);
    for (size_t i = 0; i < n->value_count; i++)
        disown(n->values[i].text);
    disown(n->name);
    free(n->parts);
    free(n->values);
    free(n);
}

void filter_add(struct filter_node *into, struct filter_node *take_part)
{
    ASSERT(into->op == FILTER_AND || into->op == FILTER_OR);
    if (take_part->op != into->op) {
        into->parts = more(into->parts, into->part_count, &into->part_room, sizeof into->parts[0]);
        into->parts[into->part_count++] = take_part;
        return;
    }
    for (size_t i = 0; i < take_part->part_count; i++)
        filter_add(into, take_part->parts[i]);
    take_part->part_count = 0;
    filter_node_free(take_part);
}

void filter_add_value(struct filter_node *into, struct filter_value v)
{
    ASSERT(into->op > FILTER_OR);
    v.text = v.type == JOURNAL_KEYWORD || v.type == JOURNAL_TEXT ? own(v.text) : (struct str){ 0 };
    into->values = more(into->values, into->value_count, &into->value_room, sizeof into->values[0]);
    into->values[into->value_count++] = v;
}

void filter_negate(struct filter_node *n)
{
    n->op = opposites[n->op];
    for (size_t i = 0; i < n->part_count; i++)
        filter_negate(n->parts[i]);
}

enum journal_type filter_column_type(enum filter_column c)
{
    ASSERT(c > FILTER_ATTRIBUTE && (size_t)c < COUNT_OF(column_types));
    return column_types[c];
}

static bool value_fits(const struct filter_node *n, const struct filter_value *v)
{
    if (v->type == JOURNAL_DOUBLE && isnan(v->real))
        return false;
    switch (n->type) {
    case JOURNAL_KEYWORDS: return v->type == JOURNAL_KEYWORD;
    case JOURNAL_INT: return v->type == JOURNAL_INT || v->type == JOURNAL_DOUBLE;
    default: return v->type == n->type;
    }
}

static bool op_fits(const struct filter_node *n)
{
    switch (n->op) {
    case FILTER_IS_NULL:
    case FILTER_NOT_NULL: return n->value_count == 0;
    case FILTER_HAS:
    case FILTER_HAS_NOT: return n->type == JOURNAL_KEYWORDS && n->value_count > 0;
    case FILTER_WORDS:
    case FILTER_NOT_WORDS: return n->type == JOURNAL_TEXT && n->value_count > 0;
    case FILTER_STARTS:
    case FILTER_NOT_STARTS: return n->type == JOURNAL_KEYWORD && n->value_count == 1;
    case FILTER_IN:
    case FILTER_NOT_IN:
        return n->type != JOURNAL_KEYWORDS && n->type != JOURNAL_TEXT && n->value_count > 0;
    default: return n->type != JOURNAL_KEYWORDS && n->type != JOURNAL_TEXT && n->value_count == 1;
    }
}

static void node_check(const struct filter_node *n)
{
    if (n->op == FILTER_AND || n->op == FILTER_OR) {
        ASSERT(n->value_count == 0);
        for (size_t i = 0; i < n->part_count; i++) {
            ASSERT(n->parts[i]->op != n->op);
            node_check(n->parts[i]);
        }
        return;
    }
    ASSERT(n->part_count == 0 && op_fits(n));
    ASSERT(n->column == FILTER_ATTRIBUTE ? n->name.size > 0 : n->type == filter_column_type(n->column));
    for (size_t i = 0; i < n->value_count; i++)
        ASSERT(value_fits(n, &n->values[i]));
}

void filter_check(const struct filter *f)
{
    if (f->root)
        node_check(f->root);
    ASSERT(!f->grouped || f->group != FILTER_ATTRIBUTE || f->group_name.size > 0);
}

/* ---- what it means ---- */

static bool of_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80);
}

bool filter_word(struct str *rest, struct str *ret)
{
    size_t start = 0, end;
    while (start < rest->size && !of_word(rest->at[start]))
        start++;
    for (end = start; end < rest->size && of_word(rest->at[end]);)
        end++;
    if (start == end)
        return false;
    *ret = (struct str){ rest->at + start, end - start };
    *rest = str_from(*rest, end);
    return true;
}

/* What an entity has in a column: none, one value, or (KEYWORDS) several of the same attribute. */
struct held {
    bool there;
    struct filter_value v;
    char uuid[UUID_TEXT];
};

static bool of_run(struct held *h, const struct uuid *u)
{
    static const struct uuid none;
    uuid_format(u, h->uuid);
    h->v.text = str_of(h->uuid);
    return memcmp(u, &none, sizeof none) != 0;
}

static bool of_text(struct held *h, struct str s)
{
    h->v.text = s;
    return s.size > 0;
}

static bool of_number(struct held *h, uint64_t n)
{
    h->v.integer = (int64_t)MIN(n, (uint64_t)INT64_MAX);
    return true;
}

static bool of_time(struct held *h, int64_t ns)
{
    h->v.integer = ns;
    return true;
}

static bool of_column(struct held *h, enum filter_column c, const struct journal_key *key,
                      const struct journal_index *x)
{
    h->v.type = filter_column_type(c);
    switch (c) {
    case FILTER_ID: return of_text(h, key->id);
    case FILTER_RUN: return of_run(h, &key->run);
    case FILTER_TYPE: return of_text(h, x->type);
    case FILTER_QUEUE: return of_text(h, x->queue);
    case FILTER_STATUS: return of_number(h, x->status);
    case FILTER_START_TIME: return of_time(h, x->start_ns);
    case FILTER_EXECUTION_TIME: return of_time(h, x->execution_ns);
    case FILTER_CLOSE_TIME: return of_time(h, x->close_ns) && x->close_ns != JOURNAL_NEVER;
    case FILTER_EXECUTION_DURATION:
        return x->close_ns != JOURNAL_NEVER &&
               !__builtin_sub_overflow(x->close_ns, x->execution_ns, &h->v.integer);
    case FILTER_HISTORY_LENGTH: return of_number(h, x->history_length);
    case FILTER_HISTORY_BYTES: return of_number(h, x->history_bytes);
    case FILTER_TRANSITIONS: return of_number(h, x->transitions);
    case FILTER_PARENT_ID: return of_text(h, x->parent_id);
    case FILTER_PARENT_RUN: return of_run(h, &x->parent_run);
    case FILTER_ROOT_ID: return of_text(h, x->root_id);
    case FILTER_ROOT_RUN: return of_run(h, &x->root_run);
    case FILTER_DIVISION: return of_text(h, x->division);
    case FILTER_ATTRIBUTE: break;
    }
    UNREACHABLE("a column that filter_column_type() knows");
}

/* Below any double there is an integer next to it; where rounding could hide the difference they are
 * compared as integers. */
static int compare_mixed(int64_t i, double d)
{
    if (d >= 9223372036854775808.0)
        return -1;
    if (d < -9223372036854775808.0)
        return 1;
    int64_t whole = (int64_t)d; /* towards zero */
    double part = d - (double)whole;
    if (i != whole)
        return i < whole ? -1 : 1;
    return part > 0 ? -1 : part < 0;
}

static int compare(const struct filter_value *a, const struct filter_value *b)
{
    if (a->type == JOURNAL_KEYWORD) {
        size_t size = MIN(a->text.size, b->text.size);
        int c = size ? memcmp(a->text.at, b->text.at, size) : 0;
        return c ? c : (a->text.size > b->text.size) - (a->text.size < b->text.size);
    }
    if (a->type == JOURNAL_DOUBLE)
        return b->type == JOURNAL_DOUBLE ? (a->real > b->real) - (a->real < b->real)
                                         : -compare_mixed(b->integer, a->real);
    if (b->type == JOURNAL_DOUBLE)
        return compare_mixed(a->integer, b->real);
    return (a->integer > b->integer) - (a->integer < b->integer);
}

static bool is_any(const struct filter_node *n, const struct filter_value *v)
{
    for (size_t i = 0; i < n->value_count; i++)
        if (compare(v, &n->values[i]) == 0)
            return true;
    return false;
}

static bool says_any_word(const struct filter_node *n, struct str text)
{
    for (struct str word; filter_word(&text, &word);)
        for (size_t i = 0; i < n->value_count; i++)
            if (str_eq_nocase(word, n->values[i].text))
                return true;
    return false;
}

static bool holds(const struct filter_node *n, const struct filter_value *v)
{
    switch (n->op) {
    case FILTER_EQ: return compare(v, n->values) == 0;
    case FILTER_NE: return compare(v, n->values) != 0;
    case FILTER_LT: return compare(v, n->values) < 0;
    case FILTER_LE: return compare(v, n->values) <= 0;
    case FILTER_GT: return compare(v, n->values) > 0;
    case FILTER_GE: return compare(v, n->values) >= 0;
    case FILTER_IN:
    case FILTER_HAS: return is_any(n, v);
    case FILTER_NOT_IN:
    case FILTER_HAS_NOT: return !is_any(n, v);
    case FILTER_STARTS: return str_starts(v->text, n->values[0].text);
    case FILTER_NOT_STARTS: return !str_starts(v->text, n->values[0].text);
    case FILTER_WORDS: return says_any_word(n, v->text);
    case FILTER_NOT_WORDS: return !says_any_word(n, v->text);
    case FILTER_NOT_NULL: return true;
    case FILTER_IS_NULL:
    case FILTER_AND:
    case FILTER_OR: break;
    }
    UNREACHABLE("a condition on a value that is there");
}

/* Of several values of one attribute one is enough, but for HAS_NOT all have to agree. */
static bool attribute_holds(const struct filter_node *n, const struct journal_index *x)
{
    bool there = false, one = false, all = true;
    for (size_t i = 0; i < x->attribute_count; i++) {
        const struct journal_attribute *a = &x->attributes[i];
        if (a->type != n->type || !str_eq(a->name, n->name))
            continue;
        struct filter_value v = { a->type == JOURNAL_KEYWORDS ? JOURNAL_KEYWORD : a->type, a->text,
                                  a->integer, a->real };
        if (v.type == JOURNAL_DOUBLE && isnan(v.real))
            continue; /* no value at all, as SQLite has it */
        there = true;
        if (n->op != FILTER_IS_NULL && holds(n, &v))
            one = true;
        else
            all = false;
    }
    if (n->op == FILTER_IS_NULL)
        return !there;
    return there && (n->op == FILTER_HAS_NOT ? all : one);
}

static bool node_matches(const struct filter_node *n, const struct journal_key *key,
                         const struct journal_index *x)
{
    if (n->op == FILTER_AND || n->op == FILTER_OR) {
        for (size_t i = 0; i < n->part_count; i++)
            if (node_matches(n->parts[i], key, x) == (n->op == FILTER_OR))
                return n->op == FILTER_OR;
        return n->op == FILTER_AND;
    }
    if (n->column == FILTER_ATTRIBUTE)
        return attribute_holds(n, x);
    struct held h = { 0 };
    h.there = of_column(&h, n->column, key, x);
    return n->op == FILTER_IS_NULL ? !h.there : h.there && holds(n, &h.v);
}

bool filter_matches(const struct filter *f, const struct journal_key *key,
                    const struct journal_index *index)
{
    return !f || !f->root || node_matches(f->root, key, index);
}
