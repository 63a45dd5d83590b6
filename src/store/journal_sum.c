#include "store/journal_sum.h"
#include "base/crc32c.h"

#include <stdio.h>

static uint32_t add_int(uint32_t sum, uint64_t n)
{
    unsigned char bytes[8];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(n >> 8 * i);
    return crc32c(sum, bytes, sizeof bytes);
}

/* A column holds no more of it. */
static uint32_t add_count(uint32_t sum, uint64_t n) { return add_int(sum, MIN(n, (uint64_t)INT64_MAX)); }

/* With its size, so that no byte can move from one text into the next. */
static uint32_t add_text(uint32_t sum, struct str s) { return crc32c(add_int(sum, s.size), s.at, s.size); }

static uint32_t add_uuid(uint32_t sum, const struct uuid *u) { return crc32c(sum, u->at, sizeof u->at); }

uint32_t journal_sum_key(const struct journal_key *key)
{
    return add_uuid(add_text(add_text(add_int(0, key->kind), key->ns), key->id), &key->run);
}

uint32_t journal_sum_head(uint32_t key, const struct journal_write *w, uint32_t state)
{
    uint32_t sum = add_int(key, w->expect);
    sum = add_int(sum, (uint64_t)(w->open ? 1 : 0) | (uint64_t)(w->ready ? 2 : 0));
    return add_int(add_int(sum, (uint64_t)w->due_ms), state);
}

uint32_t journal_sum_attributes(const struct journal_attribute *a, size_t count)
{
    uint32_t sum = add_int(0, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t real;
        memcpy(&real, &a[i].real, sizeof real);
        sum = add_int(add_text(sum, a[i].name), a[i].type);
        switch (a[i].type) {
        case JOURNAL_KEYWORD:
        case JOURNAL_TEXT:
        case JOURNAL_KEYWORDS: sum = add_text(sum, a[i].text); break;
        case JOURNAL_INT:
        case JOURNAL_BOOL:
        case JOURNAL_TIME: sum = add_int(sum, (uint64_t)a[i].integer); break;
        case JOURNAL_DOUBLE: sum = add_int(sum, real); break;
        }
    }
    return sum;
}

uint32_t journal_sum_index(uint32_t key, const struct journal_index *x, uint32_t attributes)
{
    uint32_t sum = add_int(add_int(key, x->status), attributes);
    sum = add_text(add_text(sum, x->type), x->queue);
    sum = add_int(add_int(add_int(sum, (uint64_t)x->start_ns), (uint64_t)x->execution_ns), (uint64_t)x->close_ns);
    sum = add_count(add_count(add_count(sum, x->history_length), x->history_bytes), x->transitions);
    sum = add_uuid(add_text(sum, x->parent_id), &x->parent_run);
    sum = add_uuid(add_text(sum, x->root_id), &x->root_run);
    return add_text(add_text(sum, x->division), x->extra);
}

uint32_t journal_sum_row(uint32_t key, const struct journal_row *row)
{
    return add_text(add_int(add_int(key, row->first), row->count), row->bytes);
}

const char *journal_key_text(const struct journal_key *key, char into[JOURNAL_KEY_TEXT])
{
    static const char *const kinds[] = { "entity", "workflow", "invocation", "schedule" };
    static const struct uuid none;
    char run[UUID_TEXT];
    uuid_format(&key->run, run);
    bool current = memcmp(&key->run, &none, sizeof none) == 0;
    snprintf(into, JOURNAL_KEY_TEXT, "%s %.*s/%.*s%s%s%s", kinds[MIN((unsigned)key->kind, 3U)],
             (int)MIN(key->ns.size, 64U), key->ns.at, (int)MIN(key->id.size, 200U), key->id.at,
             current ? "" : " (run ", current ? "" : run, current ? "" : ")");
    return into;
}
