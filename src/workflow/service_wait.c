#include "workflow/service_impl.h"

#include <stdlib.h>

struct service_watched {
    struct uuid run;
    struct list waits;
};

static struct str watched_key(const struct uuid *run) { return (struct str){ (const char *)run->at, sizeof(run->at) }; }

void wait_add(struct wait *w, int64_t until_ns)
{
    ASSERT(!w->in);
    struct service *s = w->s;
    struct service_watched *in = map_find(&s->watched, watched_key(&w->run));
    if (!in) {
        in = xcalloc(1, sizeof(*in));
        in->run = w->run;
        list_init(&in->waits);
        map_put(&s->watched, watched_key(&in->run), in);
    }
    w->in = in;
    list_push(&in->waits, &w->node);
    heap_add(&s->waits, &w->expiry, (uint64_t)until_ns);
    service_look_soon(s);
}

void wait_remove(struct wait *w)
{
    struct service_watched *in = w->in;
    if (!in)
        return;
    w->in = NULL;
    list_remove(&in->waits, &w->node);
    heap_remove(&w->s->waits, &w->expiry);
    if (in->waits.count)
        return;
    map_remove(&w->s->watched, watched_key(&in->run));
    free(in);
}

/* A look may remove its own wait and add others: what is there at the beginning is looked at once, from the front to
 * the back. */
void service_waits_look(struct service *s, const struct uuid *run, struct run *r)
{
    struct service_watched *in = map_find(&s->watched, watched_key(run));
    uint32_t count = in ? in->waits.count : 0;
    for (uint32_t i = 0; i < count; i++) {
        in = map_find(&s->watched, watched_key(run));
        if (!in)
            return;
        struct list_node *n = list_first(&in->waits);
        list_remove(&in->waits, n);
        list_push(&in->waits, n);
        struct wait *w = CONTAINER_OF(n, struct wait, node);
        w->look(w, r);
    }
}

void service_waits_expire(struct service *s)
{
    struct heap_node *n;
    while ((n = heap_first(&s->waits)) && n->key <= (uint64_t)service_now(s)) {
        struct wait *w = CONTAINER_OF(n, struct wait, expiry);
        wait_remove(w);
        w->expired(w);
    }
}
