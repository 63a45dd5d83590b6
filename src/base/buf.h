/* buf.h -- growable bytes, born with their maximum.
 *
 * Invariants: size <= capacity <= max. What would go past max is not appended at all, and `overflow`
 * stays true from then on, so a writer appends freely and asks once at the end. Consuming from the
 * front is O(1) (the bytes move only when room is needed at the back). */
#pragma once

#include "base/str.h"

struct buf {
    char *base;      /* allocation; NULL while nothing was ever stored */
    size_t start;    /* consumed bytes at the front */
    size_t size;     /* live bytes, from base + start */
    size_t capacity; /* of the allocation */
    size_t max;
    bool overflow;
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b); /* frees; b may be used again: it keeps its max */
void buf_relax(struct buf *b, size_t kept); /* gives the memory back if empty, and it is more than that */
void buf_clear(struct buf *b); /* forgets contents and overflow, keeps the memory */

static inline char *buf_at(const struct buf *b) { return b->base ? b->base + b->start : NULL; }
static inline struct str buf_str(const struct buf *b) { return (struct str){ buf_at(b), b->size }; }

void buf_append(struct buf *b, const void *data, size_t size);
void buf_str_append(struct buf *b, struct str s);
void buf_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_consume(struct buf *b, size_t size); /* size <= b->size */

/* Room for at least `want` more bytes, or as many as max allows: sets *ret_room (0: full).
 * Write there, then buf_commit() what was written. */
char *buf_reserve(struct buf *b, size_t want, size_t *ret_room);
void buf_commit(struct buf *b, size_t size);

/* The contents as a NUL-terminated string that the caller frees; b is left empty. */
char *buf_take_text(struct buf *b);
