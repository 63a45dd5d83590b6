#include "store/keep.h"

#include <stdlib.h>

enum { CHUNK_BYTES = 16384, ALIGN = 16 };

struct keep_chunk {
    struct keep_chunk *next;
    size_t used, size;
    _Alignas(ALIGN) char bytes[];
};

void *keep_room(struct keep *k, size_t size)
{
    size_t room = (size + ALIGN - 1) / ALIGN * ALIGN;
    struct keep_chunk *c = k->chunks;
    if (!c || c->size - c->used < room) {
        size_t want = MAX(room, (size_t)CHUNK_BYTES);
        c = xrealloc(NULL, 1, sizeof *c + want);
        *c = (struct keep_chunk){ .next = k->chunks, .size = want };
        k->chunks = c;
    }
    void *at = c->bytes + c->used;
    c->used += room;
    k->bytes += size;
    return at;
}

struct str keep_str(struct keep *k, const void *at, size_t size)
{
    char *copy = keep_room(k, size + 1);
    if (size > 0)
        memcpy(copy, at, size);
    copy[size] = '\0';
    return (struct str){ copy, size };
}

void keep_done(struct keep *k)
{
    for (struct keep_chunk *c = k->chunks; c;) {
        struct keep_chunk *next = c->next;
        free(c);
        c = next;
    }
    *k = (struct keep){ 0 };
}
