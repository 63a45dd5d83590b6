#include "telemetry/starts.h"

#include "base/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kept {
    struct list_node node;
    struct last_start last;
};
struct starts {
    const struct limits *limits;
    struct list all; /* the newest first */
};

struct starts *starts_new(const struct limits *limits)
{
    struct starts *s = xcalloc(1, sizeof *s);
    s->limits = limits;
    list_init(&s->all);
    return s;
}

static struct kept *kept_find(const struct starts *s, const char *ns, const char *service)
{
    LIST_EACH(&s->all, node, next) {
        struct kept *k = CONTAINER_OF(node, struct kept, node);
        if (strcmp(k->last.ns, ns) == 0 && strcmp(k->last.service, service) == 0)
            return k;
    }
    return NULL;
}

static struct kept *kept_oldest(const struct starts *s)
{
    struct kept *oldest = NULL;
    LIST_EACH(&s->all, node, next)
        oldest = CONTAINER_OF(node, struct kept, node);
    return oldest;
}

/* What a service or the oldest of them had is used again. */
static struct kept *kept_take(struct starts *s, const char *ns, const char *service)
{
    struct kept *k = kept_find(s, ns, service);
    if (!k && s->all.count >= s->limits->starts_kept_max)
        k = kept_oldest(s);
    if (!k)
        return xcalloc(1, sizeof *k);
    list_remove(&s->all, &k->node);
    return k;
}

void starts_add(struct starts *s, const char *ns, const char *service, const char *revision, const struct start_record *r)
{
    struct kept *k = kept_take(s, ns, service);
    snprintf(k->last.ns, sizeof k->last.ns, "%s", ns);
    snprintf(k->last.service, sizeof k->last.service, "%s", service);
    snprintf(k->last.revision, sizeof k->last.revision, "%s", revision);
    k->last.start = *r;
    list_push_front(&s->all, &k->node);
}

void starts_forget(struct starts *s, const char *ns, const char *service)
{
    struct kept *k = kept_find(s, ns, service);
    if (!k)
        return;
    list_remove(&s->all, &k->node);
    free(k);
}

void starts_each(const struct starts *s, const char *ns, const char *service,
                 void (*on_start)(void *ctx, const struct last_start *l), void *ctx)
{
    LIST_EACH(&s->all, node, next) {
        const struct last_start *l = &CONTAINER_OF(node, struct kept, node)->last;
        if ((!ns[0] || strcmp(l->ns, ns) == 0) && (!service[0] || strcmp(l->service, service) == 0))
            on_start(ctx, l);
    }
}

void starts_free(struct starts *s)
{
    if (!s)
        return;
    for (struct list_node *n; (n = list_first(&s->all)) != NULL;) {
        list_remove(&s->all, n);
        free(CONTAINER_OF(n, struct kept, node));
    }
    free(s);
}
