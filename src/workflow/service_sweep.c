/* service_sweep.c -- DeleteNamespace: from its answer on the namespace is not there for anybody; what is in it is deleted behind
 * that, a few at a time, and then its own record. A sweep is no state of its own: a namespace that is stored as deleted is
 * swept, also after a restart. */
#include "workflow/service_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum { AGAIN_US = 1000000, PAUSE_US = 1000 };
static const enum journal_kind swept[] = { JOURNAL_BATCH, JOURNAL_WORKFLOW, JOURNAL_SCHEDULE };

struct sweep {
    struct service *s;
    char *ns;
    size_t kind; /* of `swept` */
    struct journal_list list;
    size_t in_flight, failed;
    struct loop_timer again;
};

struct sweep_op {
    struct op op;
    struct sweep *w;
};

static void sweep_free(struct sweep *w)
{
    loop_cancel(w->s->w.loop, &w->again);
    free(w->ns);
    free(w);
}

static void sweep_later(struct sweep *w, uint64_t us) { loop_after(w->s->w.loop, &w->again, us); }

static void remove_act(struct op *op, const struct durable_view *v)
{
    (void)op;
    if (v->machine)
        v->turn->forget = v->turn->changed = true;
}

static void removed(struct op *op)
{
    struct sweep *w = CONTAINER_OF(op, struct sweep_op, op)->w;
    w->failed += op->no.code && op->no.code != CODE_NOT_FOUND;
    op_free(op);
    if (--w->in_flight == 0)
        sweep_later(w, w->failed ? AGAIN_US : PAUSE_US);
}

static void remove_one(struct sweep *w, const struct journal_key *key)
{
    AUTO_FREE char *id = xstrndup(key->id.at, key->id.size);
    char run[UUID_TEXT];
    uuid_format(&key->run, run);
    struct sweep_op *o = op_new(w->s, NULL, sizeof *o, w->ns, id, run, remove_act);
    if (!o) {
        w->failed++;
        return;
    }
    o->w = w;
    o->op.in.key.kind = swept[w->kind];
    o->op.then = o->op.failed = removed;
    w->in_flight++;
    op_send(&o->op);
}

static void on_list(struct journal_list *q, int r, const struct journal_found *rows, size_t count, struct str next,
                    const struct err *e)
{
    struct sweep *w = CONTAINER_OF(q, struct sweep, list);
    (void)next; /* what was found is gone by the next look */
    (void)e;
    w->failed = 0;
    for (size_t i = 0; i < count && r == 0; i++)
        remove_one(w, &rows[i].key);
    if (w->in_flight)
        return;
    if (r < 0 || w->failed) {
        sweep_later(w, AGAIN_US);
        return;
    }
    w->kind++; /* nothing of this kind is left */
    sweep_later(w, 0);
}

static void sweep_end(struct sweep *w)
{
    struct service *s = w->s;
    map_remove(&s->sweeps, str_of(w->ns));
    service_namespace_forget(s, w->ns);
    sweep_free(w);
}

static void on_again(struct loop_timer *t)
{
    struct sweep *w = CONTAINER_OF(t, struct sweep, again);
    struct err e;
    if (w->kind == COUNT_OF(swept)) {
        sweep_end(w);
        return;
    }
    w->list = (struct journal_list){ .kind = swept[w->kind], .ns = str_of(w->ns),
                                     .limit = (uint32_t)w->s->w.limits->namespace_sweep_max, .on_done = on_list };
    if (journal_list(w->s->w.journal, &w->list, &e) < 0)
        sweep_later(w, AGAIN_US);
}

void service_sweep_begin(struct service *s, const char *ns)
{
    if (map_find(&s->sweeps, str_of(ns)))
        return;
    struct sweep *w = xcalloc(1, sizeof *w);
    *w = (struct sweep){ .s = s, .ns = xstrdup(ns), .again = { .on_due = on_again } };
    map_put(&s->sweeps, str_of(w->ns), w);
    sweep_later(w, 0);
}

void service_sweeps_begin(struct service *s)
{
    const struct map_slot *slot;
    for (uint32_t i = 0; (slot = map_next(&s->namespaces, &i));) {
        const Wt__Namespace *n = ((struct service_namespace *)slot->value)->stored;
        if (n->info->state == TP__NAMESPACE_STATE__NAMESPACE_STATE_DELETED)
            service_sweep_begin(s, n->info->name);
    }
}

/* After the host and the journal: nothing comes back any more. */
void service_sweeps_close(struct service *s)
{
    const struct map_slot *slot;
    for (uint32_t i = 0; (slot = map_next(&s->sweeps, &i)); i = 0) {
        struct sweep *w = slot->value;
        map_remove(&s->sweeps, str_of(w->ns));
        sweep_free(w);
    }
}

/* ---- DeleteNamespace ---- */

static void deleted(struct service *s, struct service_call *c, const struct service_namespace *n)
{
    char name[300];
    const Tp__NamespaceInfo *info = n->stored->info;
    service_sweep_begin(s, info->name);
    if (!c)
        return;
    snprintf(name, sizeof name, "%s-deleted-%.5s", info->name, info->id);
    Tp__DeleteNamespaceResponse w;
    tp__delete_namespace_response__init(&w);
    w.deleted_namespace = name;
    service_reply(c, &w);
}

static struct service_namespace *by_id(struct service *s, const char *id)
{
    const struct map_slot *slot;
    for (uint32_t i = 0; (slot = map_next(&s->namespaces, &i));)
        if (!strcmp(((struct service_namespace *)slot->value)->stored->info->id, id))
            return service_namespace_find(s, ((struct service_namespace *)slot->value)->stored->info->name);
    return NULL;
}

void service_namespace_delete(struct service *s, struct service_call *c)
{
    const Tp__DeleteNamespaceRequest *q = c->q;
    if (!*q->namespace_ == !*q->namespace_id) {
        service_fail(c, CODE_INVALID, *q->namespace_ ? "Only one of namespace name or Id should be set on request."
                                                      : "Namespace or NamespaceId is not set on request.");
        return;
    }
    struct service_namespace *n = *q->namespace_ ? service_namespace_find(s, q->namespace_) : by_id(s, q->namespace_id);
    if (!n) {
        struct refusal no = { 0 };
        (void)service_namespace_missing(*q->namespace_ ? q->namespace_ : q->namespace_id, &no);
        service_refuse(c, &no);
        return;
    }
    Wt__Namespace *w = proto_dup(n->stored);
    w->info->state = TP__NAMESPACE_STATE__NAMESPACE_STATE_DELETED;
    service_namespace_store(s, c, w, deleted);
}
