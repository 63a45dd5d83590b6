/* map.h -- text keys to borrowed pointers. Keys are copied; values belong to the caller.
 *
 * Open addressing with a per-map random seed, so that chosen keys do not collide on purpose. Not to
 * be changed while it is walked. */
#pragma once

#include "base/str.h"

struct map_slot {
    char *key; /* NULL: free */
    size_t key_size;
    uint64_t hash;
    void *value;
};
struct map {
    struct map_slot *slots;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t count;
    uint64_t seed;
};

void map_init(struct map *m, uint64_t seed);
void map_done(struct map *m); /* values are not touched */
void *map_find(const struct map *m, struct str key); /* NULL: none */
void map_put(struct map *m, struct str key, void *value); /* value not NULL; replaces */
void *map_remove(struct map *m, struct str key);          /* the value taken out, or NULL */

/* Walk: `for (uint32_t i = 0; (s = map_next(m, &i)) != NULL;)`, no order promised. */
const struct map_slot *map_next(const struct map *m, uint32_t *index);
