/* folders.h -- the small files of a ConfigMap or Secret, as an instance sees them.
 *
 * Receives the folders of an order, checked by order_parse(). Owns one tmpfs with all of them, of just their size:
 * nothing of it is ever on a disk. Emits each folder, or the one file of it, as a detached read-only tree to place
 * somewhere. Files belong to the function's user and have the mode they came with. In a stem, before the seal.
 */
#pragma once

#include "sandbox/order.h"

struct folders_owner { /* the function's ids, as the caller's user namespace has them */
    uint32_t uid, gid;
};

/* at: where the tmpfs is made and mounted. *ret_top: a descriptor of it. */
int folders_make(const struct order *p, const char *at, const struct folders_owner *owner, uint64_t key,
                 int *ret_top, struct err *e) MUST_USE;
/* >= 0: the tree, to be closed. */
int folders_take(int top, const struct order *p, uint32_t index, uint64_t key, struct err *e) MUST_USE;
