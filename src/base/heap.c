#include "base/heap.h"

#include <stdlib.h>

void heap_init(struct heap *h) { *h = (struct heap){ 0 }; }

void heap_done(struct heap *h)
{
    ASSERT(h->count == 0);
    free(h->nodes);
    *h = (struct heap){ 0 };
}

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->order < b->order;
}

static void put(struct heap *h, uint32_t index, struct heap_node *n)
{
    h->nodes[index] = n;
    n->place = index + 1;
}

static void sift_up(struct heap *h, uint32_t index, struct heap_node *n)
{
    while (index > 0 && before(n, h->nodes[(index - 1) / 2])) {
        put(h, index, h->nodes[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    put(h, index, n);
}

static void sift_down(struct heap *h, uint32_t index, struct heap_node *n)
{
    for (;;) {
        uint32_t child = index * 2 + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && before(h->nodes[child + 1], h->nodes[child]))
            child++;
        if (!before(h->nodes[child], n))
            break;
        put(h, index, h->nodes[child]);
        index = child;
    }
    put(h, index, n);
}

void heap_add(struct heap *h, struct heap_node *n, uint64_t key)
{
    ASSERT(!heap_node_linked(n));
    if (h->count == h->capacity) {
        h->capacity = h->capacity ? h->capacity * 2 : 64;
        h->nodes = xrealloc(h->nodes, h->capacity, sizeof *h->nodes);
    }
    n->key = key;
    n->order = h->order_next++;
    sift_up(h, h->count++, n);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    ASSERT(heap_node_linked(n) && h->nodes[n->place - 1] == n);
    uint32_t index = n->place - 1;
    struct heap_node *last = h->nodes[--h->count];
    n->place = 0;
    if (last == n)
        return;
    if (index > 0 && before(last, h->nodes[(index - 1) / 2]))
        sift_up(h, index, last);
    else
        sift_down(h, index, last);
}
