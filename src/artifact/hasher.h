/* hasher.h -- SHA-256 of a stream and of its leaves, in one pass.
 *
 * A leaf is LEAF_BYTES of a file (the last one shorter). Leaves let a later read from disk be checked
 * in parallel; only the whole digest names a file.
 * Receives bytes in order; owns the hash states and the growing list of leaves.
 * Threading: one thread at a time per object.
 */
#pragma once

#include "codec/digest.h"

#define LEAF_BYTES MIB(4)
struct hasher;

struct hasher *hasher_new(void);
void hasher_free(struct hasher *d);
DEFINE_AUTO(hasher, struct hasher *, hasher_free)
void hasher_clear(struct hasher *d); /* as new: leaves forgotten, too */
void hasher_add(struct hasher *d, const void *data, size_t size);
/* Ends the file: closes its last leaf. What is added next belongs to another file. */
struct digest hasher_end(struct hasher *d);
/* The leaves of all files ended since the last clear, in order; valid until the next call. */
const struct digest *hasher_leaves(const struct hasher *d, size_t *ret_count);

struct digest hasher_of(const void *data, size_t size);
static inline uint64_t hasher_leaf_count(uint64_t bytes)
{
    return bytes / LEAF_BYTES + (bytes % LEAF_BYTES != 0);
}
