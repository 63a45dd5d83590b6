/* list.h -- intrusive doubly linked list. A node that is not in a list points at nothing. */
#pragma once

#include "base/base.h"

struct list_node {
    struct list_node *prev, *next;
};
struct list {
    struct list_node root;
    uint32_t count;
};

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

static inline void list_init(struct list *l)
{
    l->root.prev = l->root.next = &l->root;
    l->count = 0;
}
static inline bool list_node_linked(const struct list_node *n) { return n->next != NULL; }
static inline void list_insert_before(struct list *l, struct list_node *at, struct list_node *n)
{
    ASSERT(!list_node_linked(n));
    n->prev = at->prev;
    n->next = at;
    n->prev->next = n->next->prev = n;
    l->count++;
}
/* At the back: first in, first out with list_first(). */
static inline void list_push(struct list *l, struct list_node *n)
{
    list_insert_before(l, &l->root, n);
}
static inline void list_push_front(struct list *l, struct list_node *n)
{
    list_insert_before(l, l->root.next, n);
}
static inline void list_remove(struct list *l, struct list_node *n)
{
    ASSERT(list_node_linked(n) && l->count > 0);
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->prev = n->next = NULL;
    l->count--;
}
static inline struct list_node *list_first(const struct list *l)
{
    return l->count ? l->root.next : NULL;
}
/* The current node may be removed inside; no other may. */
#define LIST_EACH(l, n, tmp)                                                               \
    for (struct list_node *n = (l)->root.next, *tmp = n->next; n != &(l)->root; n = tmp,   \
                          tmp = n->next)
