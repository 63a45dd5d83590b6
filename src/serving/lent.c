#include "serving/lent.h"

#include "base/list.h"

#include <stdlib.h>

struct text {
    struct list_node node;
    char *plain;
};

static void texts_free(struct lent *l)
{
    LIST_EACH(&l->texts, n, tmp) {
        struct text *t = CONTAINER_OF(n, struct text, node);
        list_remove(&l->texts, n);
        free(t->plain);
        free(t);
    }
}

static void on_task(struct loop_task *t) { texts_free(CONTAINER_OF(t, struct lent, task)); }

void lent_init(struct lent *l, struct loop *loop)
{
    *l = (struct lent){ .loop = loop, .task.run = on_task };
    list_init(&l->texts);
}

void lent_done(struct lent *l)
{
    if (!l->loop)
        return;
    loop_undefer(l->loop, &l->task);
    texts_free(l);
}

const char *lent_text(struct lent *l, const struct packed *packed)
{
    struct text *t = xcalloc(1, sizeof *t);
    t->plain = packed_text(packed);
    list_push(&l->texts, &t->node);
    loop_defer(l->loop, &l->task);
    return t->plain;
}
