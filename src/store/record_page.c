#include "store/record_page.h"

#include <string.h>

enum { TEXTS = 7 };

/* Followed by the texts without NULs, padding to 8, and the start_record when has_start. */
struct packed {
    struct uuid id;
    uint8_t trace_id[16];
    int64_t wall_ms;
    uint64_t arrival_us, request_bytes, response_bytes;
    uint32_t dispatch_us, first_byte_us, total_us, queue_us, coverage_permille;
    uint32_t size; /* with everything that follows; a multiple of 8 */
    uint16_t status;
    uint8_t outcome;
    bool cold, has_start;
    uint8_t text_sizes[TEXTS];
};

static const struct {
    size_t offset, size;
} texts[TEXTS] = {
#define TEXT(member) \
    { \
        offsetof(struct invocation_record, member), \
            sizeof(((struct invocation_record *)0)->member) \
    }
    TEXT(ns), TEXT(service), TEXT(revision), TEXT(instance), TEXT(method), TEXT(path), TEXT(error),
#undef TEXT
};
_Static_assert(sizeof(((struct invocation_record *)0)->error) <= UINT8_MAX + 1, "sizes are bytes");
_Static_assert(sizeof(struct packed) + sizeof(struct invocation_record) + 8 < RECORD_PAGE_BYTES,
               "a record always fits into an empty page");

static uint32_t round_up(size_t n) { return (uint32_t)((n + 7) & ~(size_t)7); }

static struct packed packed_of(const struct invocation_record *r)
{
    struct packed p = {
        .id = r->id,
        .wall_ms = r->wall_ms,
        .arrival_us = r->arrival_us,
        .request_bytes = r->request_bytes,
        .response_bytes = r->response_bytes,
        .dispatch_us = r->dispatch_us,
        .first_byte_us = r->first_byte_us,
        .total_us = r->total_us,
        .queue_us = r->queue_us,
        .coverage_permille = r->coverage_permille,
        .status = r->status,
        .outcome = (uint8_t)r->outcome,
        .cold = r->cold,
        .has_start = r->has_start,
    };
    memcpy(p.trace_id, r->trace.trace_id, sizeof p.trace_id);
    size_t size = sizeof p;
    for (int i = 0; i < TEXTS; i++) {
        p.text_sizes[i] = (uint8_t)strnlen((const char *)r + texts[i].offset, texts[i].size - 1);
        size += p.text_sizes[i];
    }
    p.size = round_up(size) + (r->has_start ? round_up(sizeof r->start) : 0);
    return p;
}

bool record_page_add(struct record_page *page, const struct invocation_record *r)
{
    struct packed p = packed_of(r);
    if (p.size > page->capacity - page->used)
        return false;
    char *to = page->bytes + page->used;
    memcpy(to, &p, sizeof p);
    to += sizeof p;
    for (int i = 0; i < TEXTS; i++) {
        memcpy(to, (const char *)r + texts[i].offset, p.text_sizes[i]);
        to += p.text_sizes[i];
    }
    if (r->has_start)
        memcpy(page->bytes + page->used + p.size - round_up(sizeof r->start), &r->start,
               sizeof r->start);
    page->used += p.size;
    page->count++;
    return true;
}

bool record_page_next(const struct record_page *page, uint32_t *at, struct invocation_record *ret)
{
    struct packed p;
    ASSERT(*at <= page->used);
    if (*at == page->used)
        return false;
    const char *from = page->bytes + *at;
    memcpy(&p, from, sizeof p);
    *ret = (struct invocation_record){
        .id = p.id,
        .wall_ms = p.wall_ms,
        .arrival_us = p.arrival_us,
        .request_bytes = p.request_bytes,
        .response_bytes = p.response_bytes,
        .dispatch_us = p.dispatch_us,
        .first_byte_us = p.first_byte_us,
        .total_us = p.total_us,
        .queue_us = p.queue_us,
        .coverage_permille = p.coverage_permille,
        .status = p.status,
        .outcome = (enum invocation_outcome)p.outcome,
        .cold = p.cold,
        .has_start = p.has_start,
    };
    memcpy(ret->trace.trace_id, p.trace_id, sizeof p.trace_id);
    const char *text = from + sizeof p;
    for (int i = 0; i < TEXTS; i++) {
        memcpy((char *)ret + texts[i].offset, text, p.text_sizes[i]);
        text += p.text_sizes[i];
    }
    if (p.has_start)
        memcpy(&ret->start, from + p.size - round_up(sizeof ret->start), sizeof ret->start);
    *at += p.size;
    return true;
}
