/* filter_text.h -- the filter of a list or count of workflows, as people and SDKs write it, to
 * store/filter.h.
 *
 * Receives the WHERE of a SELECT, without that word: conditions with = != <> < <= > >= [NOT] IN (…), [NOT]
 * BETWEEN … AND …, IS [NOT] NULL, [NOT] STARTS_WITH, joined by AND, OR, NOT and parentheses; then, for
 * counts, GROUP BY and one field. Fields stand left, bare or in `backquotes`; strings in '…' or "…". Statuses
 * by name or number, times in RFC 3339 or in nanoseconds, durations as "1h30m", "7d", "hh:mm:ss" or
 * nanoseconds. A Text is equal to a string if it has one of its words, a KeywordList if it has it.
 * Emits a tree without NOT, typed by its fields; an empty text is a filter that means all.
 * Refuses, as "invalid query: …" in Temporal's words where it has some: what it cannot read, with the place;
 * fields that nobody knows; operators and values that do not fit; ORDER BY and LIMIT (as Temporal does on SQL
 * stores); CODE_INVALID too: more than limits.filter_bytes_max, filter_depth_max, filter_parts_max. Pure. */
#pragma once

#include "base/limits.h"
#include "store/filter.h"

struct filter_rules {
    const struct limits *limits;
    /* Whether there is a custom attribute of that name, and its type. NULL: there are none. */
    bool (*find)(void *ctx, struct str name, enum journal_type *ret);
    void *ctx;
    bool counting; /* GROUP BY is allowed */
    bool divided;  /* what belongs to a namespace division is hidden, unless the text speaks of divisions */
};

int filter_text_parse(struct str text, const struct filter_rules *rules, struct filter **ret,
                      struct err *e) MUST_USE;
