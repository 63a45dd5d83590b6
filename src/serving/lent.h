/* lent.h -- packed texts that somebody wants to read, unpacked until the loop goes on.
 *
 * Receives packed texts. Owns what it unpacked until the end of the turn, or until lent_done(). Emits plain text.
 * Refuses nothing: who walks over many unpacks one after another instead (catalog_item_text()). Loop thread only.
 */
#pragma once

#include "codec/packed.h"
#include "os/loop.h"

struct lent { /* embedded; its fields are its own */
    struct loop *loop;
    struct loop_task task;
    struct list texts;
};

void lent_init(struct lent *l, struct loop *loop);
void lent_done(struct lent *l); /* what was lent is gone at once; fine without lent_init() on zeros */
const char *lent_text(struct lent *l, const struct packed *t);
