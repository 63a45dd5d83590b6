/* filter.h -- which entities a list or a count is about: a tree of typed conditions on what journal_index
 * says.
 *
 * Receives conditions from whoever read them out of a text (workflow/filter_text.h), piece by piece.
 * Owns its nodes, their names and their values; a store walks them and binds the values, it never sees a
 * text.
 * Refuses nothing itself: types fit their columns because the reader saw to it; that they do is asserted.
 *
 * There is no NOT in the tree: filter_negate() pushes it into the conditions. So a condition on a value that
 * an entity does not have is simply false, each with its own negation alike (as NULL is in SQL: neither x = 1
 * nor x != 1 holds of what has no x), and a store may make of each condition whatever is true exactly when it
 * holds.
 *
 * Keywords compare by bytes; integers and reals as numbers, exactly, also with one another; times in ns. */
#pragma once

#include "store/journal.h"

enum filter_column {
    FILTER_ATTRIBUTE, /* by name and type, of journal_index.attributes */
    FILTER_ID,
    FILTER_RUN, /* KEYWORD: as uuid_format() writes it */
    FILTER_TYPE,
    FILTER_QUEUE,
    FILTER_STATUS, /* INT */
    FILTER_START_TIME,
    FILTER_EXECUTION_TIME,
    FILTER_CLOSE_TIME,         /* none while open */
    FILTER_EXECUTION_DURATION, /* INT, ns: from execution_ns to close_ns; none while open */
    FILTER_HISTORY_LENGTH,
    FILTER_HISTORY_BYTES,
    FILTER_TRANSITIONS,
    FILTER_PARENT_ID, /* these four: none where empty, or all zero */
    FILTER_PARENT_RUN,
    FILTER_ROOT_ID,
    FILTER_ROOT_RUN,
    FILTER_DIVISION, /* none where empty */
};

enum filter_op {
    FILTER_AND, /* of parts; of none it is true */
    FILTER_OR,  /* of parts; of none it is false */
    /* Conditions: each is false of an entity that does not have the column, but for FILTER_IS_NULL. */
    FILTER_EQ, FILTER_NE, FILTER_LT, FILTER_LE, FILTER_GT, FILTER_GE, /* one value */
    FILTER_IN, FILTER_NOT_IN, /* one value or more */
    FILTER_STARTS, FILTER_NOT_STARTS, /* KEYWORD: one value */
    /* KEYWORDS: has at least one of the values; is there, and has none of them. */
    FILTER_HAS, FILTER_HAS_NOT,
    /* TEXT: at least one of the values, which are words (filter_word()), is one of its words; none is. */
    FILTER_WORDS, FILTER_NOT_WORDS,
    FILTER_IS_NULL, FILTER_NOT_NULL, /* no value */
};

struct filter_value {
    /* KEYWORD (also for KEYWORDS), TEXT (a word), INT, DOUBLE, BOOL or TIME; that of the column, but an INT
     * column may be compared with a DOUBLE. Never NaN. */
    enum journal_type type;
    struct str text; /* the node's own */
    int64_t integer; /* INT, BOOL, TIME in ns */
    double real;
};

struct filter_node {
    enum filter_op op;
    struct filter_node **parts; /* AND, OR */
    size_t part_count, part_room;
    enum filter_column column; /* conditions */
    enum journal_type type;    /* of the column */
    struct str name;           /* FILTER_ATTRIBUTE: its name; the node's own */
    struct filter_value *values;
    size_t value_count, value_room;
};

struct filter {
    struct filter_node *root; /* NULL: all */
    bool grouped;             /* for counts: of each value of this column */
    enum filter_column group;
    enum journal_type group_type;
    struct str group_name; /* FILTER_ATTRIBUTE; the filter's own */
};

/* ---- making one ---- */

struct filter *filter_new(void);
void filter_free(struct filter *f); /* NULL is fine */
DEFINE_AUTO(filter, struct filter *, filter_free)
void filter_group(struct filter *f, enum filter_column column, enum journal_type type, struct str name);

struct filter_node *filter_node_new(enum filter_op op);
struct filter_node *filter_condition(enum filter_op op, enum filter_column column,
                                     enum journal_type type, struct str name);
void filter_node_free(struct filter_node *n); /* with all below; NULL is fine */
DEFINE_AUTO(filter_node, struct filter_node *, filter_node_free)
/* Of an AND or OR; one of the same kind is dissolved into it, so that depth means parentheses. */
void filter_add(struct filter_node *into, struct filter_node *take_part);
void filter_add_value(struct filter_node *into, struct filter_value v); /* its text is copied */
void filter_negate(struct filter_node *n);

enum journal_type filter_column_type(enum filter_column c); /* not of FILTER_ATTRIBUTE */
/* Whether it fits together: asserts. For tests, fuzzing and whoever takes one over. */
void filter_check(const struct filter *f);

/* ---- what it means ---- */

/* The next word of a TEXT: letters, digits and what is not ASCII; false: none left. Words are the same
 * whatever the case of their ASCII letters. A store cuts its texts with the same function. */
bool filter_word(struct str *rest, struct str *ret);
/* Whether an entity is meant. NULL: every one is. This is the definition; stores are tested against it. */
bool filter_matches(const struct filter *f, const struct journal_key *key,
                    const struct journal_index *index);
