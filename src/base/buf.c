#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUF_FIRST = 256 };

void buf_init(struct buf *b, size_t max)
{
    ASSERT(max > 0);
    *b = (struct buf){ .max = max };
}

void buf_done(struct buf *b)
{
    free(b->base);
    *b = (struct buf){ .max = b->max };
}

void buf_relax(struct buf *b, size_t kept)
{
    if (b->size > 0 || b->overflow || b->capacity <= kept)
        return;
    buf_done(b);
}

void buf_clear(struct buf *b)
{
    b->start = 0;
    b->size = 0;
    b->overflow = false;
}

/* After this, `want` more bytes fit behind the live ones; false where max forbids it. */
static bool make_room(struct buf *b, size_t want)
{
    if (want > b->max || b->size > b->max - want)
        return false;
    if (b->start + b->size + want <= b->capacity)
        return true;
    if (b->start > 0 && b->size + want <= b->capacity && b->start >= b->size) {
        memmove(b->base, b->base + b->start, b->size);
        b->start = 0;
        return true;
    }
    size_t grown = b->capacity ? b->capacity : BUF_FIRST;
    while (grown < b->size + want)
        grown *= 2;
    grown = MIN(grown, b->max);
    char *base = xcalloc(1, grown);
    if (b->size > 0)
        memcpy(base, b->base + b->start, b->size);
    free(b->base);
    b->base = base;
    b->start = 0;
    b->capacity = grown;
    return true;
}

void buf_append(struct buf *b, const void *data, size_t size)
{
    if (size == 0 || b->overflow)
        return;
    if (!make_room(b, size)) {
        b->overflow = true;
        return;
    }
    memcpy(b->base + b->start + b->size, data, size);
    b->size += size;
    ASSERT(b->size <= b->max);
}

void buf_str_append(struct buf *b, struct str s) { buf_append(b, s.at, s.size); }

void buf_text(struct buf *b, const char *text) { buf_append(b, text, strlen(text)); }

void buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[512];
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int size = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    ASSERT(size >= 0);
    if ((size_t)size < sizeof small) {
        buf_append(b, small, (size_t)size);
    } else {
        AUTO_FREE char *large = xcalloc(1, (size_t)size + 1);
        (void)vsnprintf(large, (size_t)size + 1, fmt, again);
        buf_append(b, large, (size_t)size);
    }
    va_end(again);
}

void buf_consume(struct buf *b, size_t size)
{
    ASSERT(size <= b->size);
    b->start += size;
    b->size -= size;
    if (b->size == 0)
        b->start = 0;
}

char *buf_reserve(struct buf *b, size_t want, size_t *ret_room)
{
    want = MIN(want, b->max - b->size);
    if (want == 0 || !make_room(b, want)) {
        *ret_room = 0;
        return NULL;
    }
    *ret_room = MIN(b->capacity - b->start - b->size, b->max - b->size);
    return b->base + b->start + b->size;
}

void buf_commit(struct buf *b, size_t size)
{
    ASSERT(b->start + b->size + size <= b->capacity);
    b->size += size;
}

char *buf_take_text(struct buf *b)
{
    char *text = xcalloc(1, b->size + 1);
    if (b->size > 0)
        memcpy(text, buf_at(b), b->size);
    buf_done(b);
    return text;
}
