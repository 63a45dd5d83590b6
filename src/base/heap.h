/* heap.h -- intrusive binary min-heap by a 64-bit key; equal keys leave in order of arrival.
 * A node knows its place, so removal from the middle is O(log n). */
#pragma once

#include "base/base.h"

struct heap_node {
    uint64_t key;
    uint64_t order;
    uint32_t place; /* 1-based; 0: not in a heap */
};
struct heap {
    struct heap_node **nodes;
    uint32_t count, capacity;
    uint64_t order_next;
};

void heap_init(struct heap *h);
void heap_done(struct heap *h); /* must be empty */
void heap_add(struct heap *h, struct heap_node *n, uint64_t key);
void heap_remove(struct heap *h, struct heap_node *n);
static inline struct heap_node *heap_first(const struct heap *h)
{
    return h->count ? h->nodes[0] : NULL;
}
static inline bool heap_node_linked(const struct heap_node *n) { return n->place != 0; }
