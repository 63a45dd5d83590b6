#include "base/map.h"

#include <stdlib.h>

enum { MAP_FIRST = 16 };

void map_init(struct map *m, uint64_t seed) { *m = (struct map){ .seed = seed }; }

void map_done(struct map *m)
{
    for (uint32_t i = 0; i < m->capacity; i++)
        free(m->slots[i].key);
    free(m->slots);
    *m = (struct map){ .seed = m->seed };
}

/* FNV-1a folded with the seed, then mixed: enough against accidents, and the seed against intent. */
static uint64_t hash_of(const struct map *m, struct str key)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ m->seed;
    for (size_t i = 0; i < key.size; i++)
        h = (h ^ (uint8_t)key.at[i]) * UINT64_C(0x100000001b3);
    h ^= h >> 29;
    h *= UINT64_C(0xbf58476d1ce4e5b9);
    return h ^ h >> 32;
}

/* The slot that holds key, or the free slot where it would go. */
static struct map_slot *slot_of(struct map_slot *slots, uint32_t capacity, uint64_t hash,
                                struct str key)
{
    for (uint32_t i = (uint32_t)hash & (capacity - 1);; i = (i + 1) & (capacity - 1)) {
        struct map_slot *s = &slots[i];
        if (!s->key || (s->hash == hash && s->key_size == key.size &&
                        memcmp(s->key, key.at, key.size) == 0))
            return s;
    }
}

void *map_find(const struct map *m, struct str key)
{
    if (m->count == 0)
        return NULL;
    const struct map_slot *s = slot_of(m->slots, m->capacity, hash_of(m, key), key);
    return s->key ? s->value : NULL;
}

static void grow(struct map *m)
{
    uint32_t capacity = m->capacity ? m->capacity * 2 : MAP_FIRST;
    struct map_slot *slots = xcalloc(capacity, sizeof *slots);
    for (uint32_t i = 0; i < m->capacity; i++) {
        struct map_slot *s = &m->slots[i];
        if (s->key)
            *slot_of(slots, capacity, s->hash, (struct str){ s->key, s->key_size }) = *s;
    }
    free(m->slots);
    m->slots = slots;
    m->capacity = capacity;
}

void map_put(struct map *m, struct str key, void *value)
{
    ASSERT(value);
    if ((m->count + 1) * 4 > m->capacity * 3)
        grow(m);
    uint64_t hash = hash_of(m, key);
    struct map_slot *s = slot_of(m->slots, m->capacity, hash, key);
    if (!s->key) {
        char *copy = xcalloc(1, key.size + 1);
        if (key.size)
            memcpy(copy, key.at, key.size);
        *s = (struct map_slot){ copy, key.size, hash, NULL };
        m->count++;
    }
    s->value = value;
}

void *map_remove(struct map *m, struct str key)
{
    if (m->count == 0)
        return NULL;
    struct map_slot *s = slot_of(m->slots, m->capacity, hash_of(m, key), key);
    if (!s->key)
        return NULL;
    void *value = s->value;
    free(s->key);
    *s = (struct map_slot){ 0 };
    m->count--;
    /* Backward-shift: whatever was pushed past the hole moves back, so no tombstones remain. */
    uint32_t hole = (uint32_t)(s - m->slots);
    for (uint32_t i = (hole + 1) & (m->capacity - 1); m->slots[i].key;
         i = (i + 1) & (m->capacity - 1)) {
        uint32_t home = (uint32_t)m->slots[i].hash & (m->capacity - 1);
        if (((i - home) & (m->capacity - 1)) >= ((i - hole) & (m->capacity - 1))) {
            m->slots[hole] = m->slots[i];
            m->slots[i] = (struct map_slot){ 0 };
            hole = i;
        }
    }
    return value;
}

const struct map_slot *map_next(const struct map *m, uint32_t *index)
{
    while (*index < m->capacity) {
        const struct map_slot *s = &m->slots[(*index)++];
        if (s->key)
            return s;
    }
    return NULL;
}
