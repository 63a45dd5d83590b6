/* The journal against a naive one that keeps everything in an array: the same random commits, loads, scans and lists,
 * the same answers. Lists are filtered by filter_matches() there. */
#include "journal_world.h"
#include "store/filter.h"

#include <math.h>

enum { ENTITIES = 64, ATTRIBUTES = 4, ROUNDS = 1500, LISTS = 1200 };

struct entity {
    bool there, current;
    uint64_t made; /* the order in which they were made */
    struct journal_write w;
    struct journal_index index;
    struct journal_attribute attributes[ATTRIBUTES];
    char state[32], extra[16];
};
static struct {
    struct entity at[ENTITIES];
    uint64_t made;
    struct rng rng;
} model;

static const char *const ids[] = { "a", "ab", "abc", "b", "order-7", "order-77", "\xff", "\xff\xffx" };
static const char *const words[] = { "alpha", "beta", "gamma delta", "Beta", "x_y", "al", "am", "be\xfft", "" };
static const char *const names[] = { "Kw", "Text", "Int", "Double", "Bool", "Time", "Kws" };
static const enum journal_type types[] = { JOURNAL_KEYWORD, JOURNAL_TEXT, JOURNAL_INT, JOURNAL_DOUBLE, JOURNAL_BOOL,
                                           JOURNAL_TIME, JOURNAL_KEYWORDS };

static uint64_t below(uint64_t n) { return rng_below(&model.rng, n); }
static int64_t small_int(void)
{
    static const int64_t odd[] = { INT64_MIN, INT64_MAX, INT64_MAX - 1, 9007199254740993, -1 };
    return below(8) == 0 ? odd[below(COUNT_OF(odd))] : (int64_t)below(6);
}
static double small_real(void)
{
    static const double odd[] = { 0.5, -0.0, 9007199254740992.0, 9.3e18, -INFINITY, INFINITY, 2.5 };
    return below(3) == 0 ? odd[below(COUNT_OF(odd))] : (double)below(6);
}

/* ---- entities ---- */

static struct journal_attribute attribute_any(void)
{
    size_t which = below(COUNT_OF(names));
    struct journal_attribute a = { .name = str_of(names[which]), .type = types[which] };
    switch (a.type) {
    case JOURNAL_KEYWORD:
    case JOURNAL_TEXT:
    case JOURNAL_KEYWORDS: a.text = str_of(words[below(COUNT_OF(words))]); break;
    case JOURNAL_BOOL: a.integer = (int64_t)below(2); break;
    case JOURNAL_INT:
    case JOURNAL_TIME: a.integer = small_int(); break;
    case JOURNAL_DOUBLE: a.real = below(10) ? small_real() : NAN; break;
    }
    return a;
}

static void index_any(struct entity *x)
{
    static const char *const kinds[] = { "greet", "charge", "" };
    struct journal_index *i = &x->index;
    *i = (struct journal_index){ .status = (uint32_t)below(4), .type = str_of(kinds[below(3)]),
                                 .queue = str_of(kinds[below(3)]), .start_ns = (int64_t)below(5) - 1,
                                 .execution_ns = small_int(), .close_ns = below(2) ? JOURNAL_NEVER : small_int(),
                                 .history_length = below(5), .history_bytes = below(2) ? below(3) : UINT64_MAX,
                                 .transitions = below(5), .parent_id = str_of(words[below(COUNT_OF(words))]),
                                 .parent_run = run_of(below(4)), .root_id = str_of(words[below(COUNT_OF(words))]),
                                 .root_run = run_of(below(4)), .division = str_of(words[below(COUNT_OF(words))]) };
    snprintf(x->extra, sizeof x->extra, "extra-%u", (unsigned)below(100));
    i->extra = str_of(x->extra);
    i->attributes = x->attributes;
    i->attribute_count = below(ATTRIBUTES + 1);
    for (size_t k = 0; k < i->attribute_count; k++)
        x->attributes[k] = attribute_any();
}

static void state_any(struct entity *x)
{
    snprintf(x->state, sizeof x->state, "state-%u", (unsigned)below(100000));
    x->w.state = str_of(x->state);
    x->w.open = x->index.close_ns == JOURNAL_NEVER;
    x->w.ready = below(3) == 0;
    x->w.due_ms = below(3) == 0 ? JOURNAL_NEVER : (int64_t)below(20);
}

static struct entity *current_of(const char *id)
{
    for (size_t i = 0; i < ENTITIES; i++)
        if (model.at[i].there && model.at[i].current && str_is(model.at[i].w.key.id, id))
            return &model.at[i];
    return NULL;
}

/* Does to the model what it asks the journal for; returns whether the answers agree. */
static const char *commit_any(struct world *w, uint64_t round)
{
    struct entity *x = &model.at[below(ENTITIES)], before = *x;
    struct journal_write now;
    int must = 0;
    if (!x->there) {
        const char *id = ids[below(COUNT_OF(ids))];
        struct entity *over = current_of(id);
        *x = (struct entity){ .w = write_of(JOURNAL_CREATE, id, round + 1, 0) };
        index_any(x);
        state_any(x);
        x->w.index = &x->index;
        bool wrong = below(10) == 0;
        x->w.over = wrong ? run_of(999999) : over ? over->w.key.run : (struct uuid){ { 0 } };
        must = !wrong ? 0 : over ? -CODE_EXISTS : -CODE_ABORTED;
        now = x->w;
        if (must == 0 && over)
            over->current = false;
        x->there = x->current = true;
        x->made = ++model.made;
        x->w.expect = 1;
    } else if (below(4) == 0) {
        now = (struct journal_write){ .op = JOURNAL_DELETE, .key = x->w.key, .expect = x->w.expect, .due_ms = 1 };
        x->there = false;
    } else {
        bool index = below(2);
        if (index)
            index_any(x);
        state_any(x);
        now = x->w;
        now.op = JOURNAL_UPDATE;
        now.index = index ? &x->index : NULL;
        if (below(10) == 0) {
            now.expect++;
            must = -CODE_ABORTED;
        }
        x->w.expect++;
    }
    int r = commit(w, &now, 1);
    if (must < 0) {
        *x = before;
        x->index.attributes = x->attributes;
    }
    x->w.state.at = x->state;
    x->index.extra.at = x->extra;
    return r == must ? NULL : r < 0 ? w->e.text : "it was not refused";
}

/* ---- loads and scans ---- */

static const char *loads_check(struct world *w)
{
    static struct loaded l;
    for (size_t i = 0; i < ENTITIES; i++) {
        struct entity *x = &model.at[i];
        if (!x->there)
            continue;
        if (load(w, &l, x->w.key) != 0)
            return w->e.text;
        if (l.now.expect != x->w.expect || !str_eq(l.now.state, x->w.state) || l.now.open != x->w.open ||
            l.now.ready != x->w.ready || l.now.due_ms != x->w.due_ms)
            return "a row is not what was committed";
        if ((memcmp(&l.current, &x->w.key.run, 16) == 0) != x->current)
            return "another run is current";
    }
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        struct entity *x = current_of(ids[i]);
        int r = load(w, &l, key_of(ids[i], 0));
        if (r != (x ? 0 : -CODE_NOT_FOUND) || (x && memcmp(&l.now.key.run, &x->w.key.run, 16) != 0))
            return "the current run is another";
    }
    return NULL;
}

static const char *scans_check(struct world *w)
{
    static struct scanned s;
    size_t due = 0, ready = 0;
    for (size_t i = 0; i < ENTITIES; i++) {
        due += model.at[i].there && model.at[i].w.due_ms < 10;
        ready += model.at[i].there && model.at[i].w.ready;
    }
    if (scan(w, &s, true, (struct journal_scan){ .kind = JOURNAL_WORKFLOW, .before_ms = 10, .limit = 1000 }) < 0 ||
        s.count != due)
        return "others are due";
    if (scan(w, &s, false, (struct journal_scan){ .kind = JOURNAL_WORKFLOW, .limit = 1000 }) < 0 || s.count != ready)
        return "others are ready";
    return NULL;
}

/* ---- filters ---- */

static struct filter_value value_any(enum journal_type type)
{
    struct filter_value v = { .type = type == JOURNAL_KEYWORDS ? JOURNAL_KEYWORD : type };
    char text[UUID_TEXT];
    static char kept[16][UUID_TEXT];
    struct uuid run = run_of(below(6));
    switch (v.type) {
    case JOURNAL_KEYWORD:
        uuid_format(&run, text);
        v.text = str_of(below(4) ? words[below(COUNT_OF(words))] : below(2) ? ids[below(COUNT_OF(ids))] : "greet");
        if (below(4) == 0) {
            char *to = kept[below(16)];
            memcpy(to, text, sizeof text);
            v.text = str_head(str_of(to), below(3) ? 36 : below(36));
        }
        break;
    case JOURNAL_TEXT: v.text = str_of(below(2) ? "BETA" : "delta"); break;
    case JOURNAL_INT:
        v.integer = small_int();
        if (below(3) == 0)
            v = (struct filter_value){ .type = JOURNAL_DOUBLE, .real = small_real() };
        break;
    case JOURNAL_BOOL: v.integer = (int64_t)below(2); break;
    case JOURNAL_TIME: v.integer = small_int(); break;
    case JOURNAL_DOUBLE: v.real = small_real(); break;
    case JOURNAL_KEYWORDS: break;
    }
    return v;
}

static struct filter_node *condition_any(void)
{
    static const enum filter_op plain[] = { FILTER_EQ, FILTER_NE, FILTER_LT, FILTER_LE, FILTER_GT, FILTER_GE, FILTER_IN,
                                            FILTER_NOT_IN, FILTER_IS_NULL, FILTER_NOT_NULL, FILTER_STARTS,
                                            FILTER_NOT_STARTS };
    static const enum filter_op of_list[] = { FILTER_HAS, FILTER_HAS_NOT, FILTER_IS_NULL, FILTER_NOT_NULL };
    static const enum filter_op of_text[] = { FILTER_WORDS, FILTER_NOT_WORDS, FILTER_IS_NULL, FILTER_NOT_NULL };
    enum filter_column column = (enum filter_column)below(FILTER_DIVISION + 8);
    size_t which = below(COUNT_OF(names));
    column = column > FILTER_DIVISION ? FILTER_ATTRIBUTE : column;
    enum journal_type type = column == FILTER_ATTRIBUTE ? types[which] : filter_column_type(column);
    enum filter_op op = type == JOURNAL_KEYWORDS  ? of_list[below(4)]
                        : type == JOURNAL_TEXT    ? of_text[below(4)]
                        : type == JOURNAL_KEYWORD ? plain[below(12)]
                                                  : plain[below(10)];
    struct filter_node *n = filter_condition(op, column, type, str_of(names[which]));
    bool several = op == FILTER_IN || op == FILTER_NOT_IN || op == FILTER_HAS || op == FILTER_HAS_NOT ||
                   op == FILTER_WORDS || op == FILTER_NOT_WORDS;
    size_t count = op == FILTER_IS_NULL || op == FILTER_NOT_NULL ? 0 : several ? 1 + below(3) : 1;
    while (count-- > 0)
        filter_add_value(n, value_any(type));
    return n;
}

static struct filter_node *node_any(int depth)
{
    if (depth == 0 || below(3) == 0)
        return condition_any();
    struct filter_node *n = filter_node_new(below(2) ? FILTER_AND : FILTER_OR);
    for (size_t parts = below(4); parts > 0; parts--)
        filter_add(n, node_any(depth - 1));
    if (below(4) == 0)
        filter_negate(n);
    return n;
}

/* ---- lists ---- */

struct listed {
    struct journal_list list;
    bool done;
    int r;
    size_t count;
    struct entity *rows[ENTITIES];
    const char *wrong;
    char next[64];
    size_t next_size;
    struct err e;
};
static bool index_same(const struct journal_index *a, const struct journal_index *b)
{
    return a->status == b->status && str_eq(a->type, b->type) && str_eq(a->queue, b->queue) &&
           a->start_ns == b->start_ns && a->execution_ns == b->execution_ns && a->close_ns == b->close_ns &&
           a->history_length == b->history_length &&
           a->history_bytes == MIN(b->history_bytes, (uint64_t)INT64_MAX) && a->transitions == b->transitions &&
           str_eq(a->parent_id, b->parent_id) && memcmp(&a->parent_run, &b->parent_run, 16) == 0 &&
           str_eq(a->root_id, b->root_id) && memcmp(&a->root_run, &b->root_run, 16) == 0 &&
           str_eq(a->division, b->division) && str_eq(a->extra, b->extra);
}
static void on_list(struct journal_list *q, int r, const struct journal_found *rows, size_t count, struct str next,
                    const struct err *e)
{
    struct listed *x = CONTAINER_OF(q, struct listed, list);
    x->done = true;
    x->r = r;
    x->e = *e;
    for (size_t i = 0; i < count; i++) {
        struct entity *found = NULL;
        for (size_t k = 0; k < ENTITIES && !found; k++)
            if (model.at[k].there && memcmp(&model.at[k].w.key.run, &rows[i].key.run, 16) == 0)
                found = &model.at[k];
        if (!found || !str_eq(found->w.key.id, rows[i].key.id) || found->w.open != rows[i].open ||
            !index_same(&rows[i].index, &found->index))
            x->wrong = "a row of a list is not what was committed";
        else if (x->count < ENTITIES)
            x->rows[x->count++] = found;
    }
    if (next.size > 0)
        memcpy(x->next, next.at, MIN(next.size, sizeof x->next));
    x->next_size = next.size;
}

static bool before(const struct entity *a, const struct entity *b)
{
    if (a->index.close_ns != b->index.close_ns)
        return a->index.close_ns > b->index.close_ns;
    if (a->index.start_ns != b->index.start_ns)
        return a->index.start_ns > b->index.start_ns;
    return a->made > b->made;
}

static void on_count(struct journal_count *q, int r, uint64_t count, const struct journal_group *groups,
                     size_t group_count, const struct err *e);
struct counted {
    struct journal_count count;
    bool done;
    int r;
    uint64_t total, by_status[4];
    size_t groups;
    struct err e;
};
static void on_count(struct journal_count *q, int r, uint64_t count, const struct journal_group *groups,
                     size_t group_count, const struct err *e)
{
    struct counted *x = CONTAINER_OF(q, struct counted, count);
    x->done = true;
    x->r = r;
    x->e = *e;
    x->total = count;
    x->groups = group_count;
    for (size_t i = 0; i < group_count; i++)
        if (groups[i].value.type == JOURNAL_INT && groups[i].value.integer < 4)
            x->by_status[groups[i].value.integer] = groups[i].count;
}

static const char *list_check(struct world *w, const struct filter *f, uint32_t limit, size_t *ret_count)
{
    static struct listed x;
    size_t expected = 0;
    for (size_t i = 0; i < ENTITIES; i++)
        expected += model.at[i].there && filter_matches(f, &model.at[i].w.key, &model.at[i].index);
    x = (struct listed){ 0 };
    do {
        x.list = (struct journal_list){ .kind = JOURNAL_WORKFLOW, .ns = STR("default"), .filter = f, .limit = limit,
                                        .after = { x.next, x.next_size }, .on_done = on_list };
        x.done = false;
        if (journal_list(w->journal, &x.list, &w->e) < 0)
            return w->e.text;
        while (!x.done)
            turn(w);
        if (x.r < 0 || x.wrong) {
            w->e = x.e;
            return x.wrong ? x.wrong : w->e.text;
        }
    } while (x.next_size > 0);
    if (x.count != expected)
        return "others match the filter";
    for (size_t i = 0; i < x.count; i++)
        if (!filter_matches(f, &x.rows[i]->w.key, &x.rows[i]->index))
            return "one is listed that does not match";
        else if (i > 0 && !before(x.rows[i - 1], x.rows[i]))
            return "the order is another";
    *ret_count = expected;
    return NULL;
}

static const char *count_check(struct world *w, struct filter *f, size_t expected)
{
    struct counted x = { .count = { .kind = JOURNAL_WORKFLOW, .ns = STR("default"), .filter = f, .on_done = on_count } };
    uint64_t by_status[4] = { 0 };
    for (size_t i = 0; i < ENTITIES; i++)
        if (model.at[i].there && filter_matches(f, &model.at[i].w.key, &model.at[i].index))
            by_status[model.at[i].index.status]++;
    if (journal_count(w->journal, &x.count, &w->e) < 0)
        return w->e.text;
    while (!x.done)
        turn(w);
    w->e = x.e;
    if (x.r < 0)
        return w->e.text;
    if (x.total != expected)
        return "the count is another";
    return f && f->grouped && memcmp(by_status, x.by_status, sizeof by_status) != 0 ? "the groups are others" : NULL;
}

TEST(it_answers_as_a_naive_journal_does)
{
    WORLD(w);
    model.rng = (struct rng){ 11 };
    size_t nothing = 0, everything = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        const char *wrong = commit_any(&w, round);
        if (wrong)
            FAIL("round %u: %s", (unsigned)round, wrong);
        if (round % 150 == 149) {
            wrong = loads_check(&w);
            wrong = wrong ? wrong : scans_check(&w);
            if (wrong)
                FAIL("after round %u: %s", (unsigned)round, wrong);
        }
        if (round % 500 == 250)
            CHECK(world_reopen(&w));
    }
    size_t there = 0;
    for (size_t i = 0; i < ENTITIES; i++)
        there += model.at[i].there;
    for (int i = 0; i < LISTS; i++) {
        AUTO(filter) struct filter *f = filter_new();
        f->root = i ? node_any(3) : NULL;
        size_t count;
        const char *wrong = list_check(&w, f, 1 + (uint32_t)below(40), &count);
        if (wrong)
            FAIL("list %d: %s", i, wrong);
        if (below(2))
            filter_group(f, FILTER_STATUS, JOURNAL_INT, STR(""));
        wrong = count_check(&w, f, count);
        if (wrong)
            FAIL("count %d: %s", i, wrong);
        nothing += count == 0;
        everything += count == there;
    }
    if (there < 20 || nothing > LISTS / 2 || everything > LISTS / 2)
        FAIL("it hardly tested: %zu there, %zu lists empty, %zu of all", there, nothing, everything);
}

TEST(a_page_token_that_no_list_gave_is_refused)
{
    WORLD(w);
    struct listed x = { .list = { .kind = JOURNAL_WORKFLOW, .ns = STR("default"), .limit = 1, .on_done = on_list,
                                  .after = STR("0123456789012345678901234567") } };
    CHECK_EQ(journal_list(w.journal, &x.list, &w.e), 0);
    while (!x.done)
        turn(&w);
    CHECK_EQ(x.r, -CODE_INVALID);
    CHECK(strstr(x.e.text, "page token"));
    x.list.limit = 0;
    CHECK_EQ(journal_list(w.journal, &x.list, &w.e), -CODE_INVALID);
}

TEST_MAIN()
