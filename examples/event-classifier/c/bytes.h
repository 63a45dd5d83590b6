/* bytes.h -- a growable run of bytes with a consumed front. Out of memory ends the process: every
 * size that comes from outside is bounded before it gets here, and a dead function is restarted. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    char *data;
    size_t from, to, room; /* what counts is data[from..to) */
};

static inline size_t bytes_size(const struct bytes *b) { return b->to - b->from; }
static inline const char *bytes_at(const struct bytes *b) { return b->data + b->from; }

static inline void bytes_clear(struct bytes *b) { b->from = b->to = 0; }

static inline void bytes_drop(struct bytes *b, size_t size)
{
    b->from += size;
    if (b->from == b->to)
        bytes_clear(b);
}

/* Space for `size` more bytes at data + to. */
static inline char *bytes_reserve(struct bytes *b, size_t size)
{
    if (b->room - b->to < size && b->from > 0) {
        memmove(b->data, b->data + b->from, b->to - b->from);
        b->to -= b->from;
        b->from = 0;
    }
    if (b->room - b->to < size) {
        b->room = (b->to + size) * 2;
        b->data = realloc(b->data, b->room);
        if (b->data == NULL)
            abort();
    }
    return b->data + b->to;
}

static inline void bytes_add(struct bytes *b, const void *data, size_t size)
{
    if (size > 0)
        memcpy(bytes_reserve(b, size), data, size);
    b->to += size;
}

static inline void bytes_text(struct bytes *b, const char *text) { bytes_add(b, text, strlen(text)); }

__attribute__((format(printf, 2, 3))) static inline void bytes_format(struct bytes *b,
                                                                      const char *format, ...)
{
    char line[512]; /* longer than any format here */
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof line)
        abort();
    bytes_add(b, line, (size_t)size);
}

static inline void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){ 0 };
}
