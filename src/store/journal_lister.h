/* journal_lister.h -- one connection that lists and counts by filters.
 *
 * Private to src/store/. One thread at a time. What takes longer than limits.journal_query_ms ends with
 * CODE_DEADLINE; with *closing, CODE_CANCELLED. Rows whose checksum does not fit are left out and counted. */
#pragma once

#include "store/journal_sqlite.h"
#include "store/keep.h"

struct journal_lister;
int journal_lister_open(const char *dir, const struct limits *limits, struct journal_stats *stats,
                        const _Atomic bool *closing, struct journal_lister **ret, struct err *e) MUST_USE;
void journal_lister_close(struct journal_lister *l); /* NULL is fine */
DEFINE_AUTO(journal_lister, struct journal_lister *, journal_lister_close)

struct journal_listed { /* lies in `keep` */
    struct journal_found *rows;
    size_t count;
    struct str next;
};
int journal_lister_list(struct journal_lister *l, const struct journal_list *q, struct str after, struct keep *keep,
                        struct journal_listed *ret, struct err *e) MUST_USE;
struct journal_counted {
    uint64_t count;
    struct journal_group *groups;
    size_t group_count;
};
int journal_lister_count(struct journal_lister *l, const struct journal_count *q, struct keep *keep,
                         struct journal_counted *ret, struct err *e) MUST_USE;
