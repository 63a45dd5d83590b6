/* keep.h -- memory of one answer: pieces that stay where they are until all of them go together. */
#pragma once

#include "base/str.h"

struct keep_chunk;
struct keep { /* zeroed is new */
    struct keep_chunk *chunks;
    size_t bytes; /* given out */
};

void *keep_room(struct keep *k, size_t size); /* aligned as malloc() does; never NULL */
struct str keep_str(struct keep *k, const void *at, size_t size);
void keep_done(struct keep *k);
