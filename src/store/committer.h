/* committer.h -- group commit: one writer thread that takes whatever waits, writes it as one, and hands it back.
 *
 *   loop thread                writer thread
 *   push ──► waiting ────────► write: all of it, in order
 *   on_done ◄── done ◄──────── in the order of the pushes
 *
 * What is pushed within one turn of the loop is handed over together, at its end: callers that are answered together
 * and go on together share the next sync too.
 *
 * Private to src/store/. Owns the thread and what was pushed, until on_done. Emits on_done on the loop thread,
 * exactly once for each item, never inside committer_push(). How many may wait is the caller's to limit.
 * While write() says that it cannot, it is called again every second, without items if none came: so health
 * returns unasked. Refuses nothing. */
#pragma once

#include "os/loop.h"

struct committer;
struct committer_spec { /* copied */
    const char *name;   /* of the thread */
    void *ctx;
    /* Writer thread. Items, linked by their nodes, are to be left in the list, each with its result. None: is
     * the disk well again? < 0: nothing can be written, and e says why. */
    int (*write)(void *ctx, struct list *items, struct err *e);
    /* Writer thread, after what was written is handed back; idle: nothing came for a while. */
    void (*tend)(void *ctx, bool idle);
    void (*on_done)(void *ctx, struct list_node *item); /* loop thread */
};

int committer_open(struct loop *l, const struct committer_spec *spec, struct committer **ret,
                   struct err *e) MUST_USE;
/* Writes what waits, calls every on_done, ends the thread. Not from within a callback. NULL is fine. */
void committer_free(struct committer *c);
DEFINE_AUTO(committer, struct committer *, committer_free)

void committer_push(struct committer *c, struct list_node *item);
int committer_health(const struct committer *c, struct err *e); /* as of what on_done was last called for */
