/* record_page.h -- a page of packed invocation records, on their way to the disk.
 *
 * A record is 1.5 KiB of fixed fields of which few are full; packed it is about 250 bytes (a cold
 * one 850 more), so the queue of records_waiting_max stays small and the loop thread allocates once
 * per page, not per record. Filled by one thread, then read by another; never both. */
#pragma once

#include "base/list.h"
#include "telemetry/record.h"

enum { RECORD_PAGE_BYTES = 64 * 1024 };

struct record_page {
    struct list_node node;
    uint32_t used, count, capacity; /* capacity: of bytes; RECORD_PAGE_BYTES while it is filled */
    _Alignas(8) char bytes[];
};

/* False: no room; the page is as before. A record always fits into an empty page. */
bool record_page_add(struct record_page *page, const struct invocation_record *r);
/* Walk: `for (uint32_t at = 0; record_page_next(page, &at, &r);)`. Unpacks everything. */
bool record_page_next(const struct record_page *page, uint32_t *at, struct invocation_record *ret);
