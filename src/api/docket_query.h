/* docket_query.h -- what a list of durable invocations is asked for: read, and made a filter of the journal. Pure.
 *
 * Receives texts from outside. Emits values; owns the filter until docket_query_done(). Refuses (CODE_INVALID) what it cannot read. */
#pragma once

#include "invocation/invocation.h"
#include "store/filter.h"

enum { DOCKET_LIMIT_DEFAULT = 50, DOCKET_LIMIT_MAX = 1000, DOCKET_PLACE_MAX = 64 };

struct docket_query {
    struct filter *filter; /* NULL: all */
    char place[DOCKET_PLACE_MAX];
    size_t place_size; /* 0: from the beginning */
};
/* statuses: "dead,failed". after: a `next`, as docket_place_write() wrote it. Empty: not asked for. */
int docket_query_read(struct str ns, struct str service, struct str statuses, struct str after, struct docket_query *ret,
                      struct err *e) MUST_USE;
void docket_query_done(struct docket_query *q);
void docket_place_write(struct str place, struct buf *into); /* as hexadecimal digits: fits into an address */
