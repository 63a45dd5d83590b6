#include "sandbox/native_pod.h"
#include "sandbox/native_sandbox.h"
#include "sandbox/native_shell.h"

#include <stdlib.h>
#include <string.h>

void native_pod_over(struct sandbox_pod *p)
{
    p->shell = NULL;
    if (!p->why.code)
        err_set(&p->why, CODE_UNAVAILABLE, "sandbox: the pod is over");
    if (!p->told)
        loop_defer(p->owner->loop, &p->tell_task);
    for (struct list_node *n; (n = list_first(&p->waiting)) != NULL;)
        native_sandbox_fail(CONTAINER_OF(n, struct sandbox, node), &p->why);
}

void native_pod_refuse(struct sandbox_pod *p, const struct err *e)
{
    list_remove(&p->owner->pods_waiting, &p->node);
    p->why = *e;
    loop_defer(p->owner->loop, &p->tell_task);
}

void native_pod_give(struct native *t, struct native_shell *s, uint64_t beside)
{
    const struct native_shell *leader = map_find(&t->shells, native_key(&beside));
    struct list_node *first = leader && leader->pod ? list_first(&leader->pod->waiting) : NULL;
    if (first)
        native_shell_give(s, first);
    else /* who asked is gone */
        native_tell(t, REQUEST_KILL, s->id, 0);
}

void native_pod_take(struct sandbox_pod *p, struct native_shell *s)
{
    struct native *t = p->owner;
    struct request q = { .type = REQUEST_VOLUMES, .id = s->id, .number = (int32_t)p->volume_count };
    struct err e = { 0 };
    if (list_node_linked(&p->node))
        list_remove(&t->pods_waiting, &p->node);
    if (list_node_linked(&s->node))
        list_remove(&t->ready, &s->node);
    p->shell = s;
    s->pod = p;
    native_tell(t, REQUEST_TOOK, s->id, 0);
    if (p->volume_count == 0) {
        loop_defer(t->loop, &p->tell_task);
        return;
    }
    memcpy(q.volume_bytes, p->volume_bytes, sizeof q.volume_bytes);
    if (peer_send(t->launcher, &q, request_size(q.type), NULL, 0, &e) < 0) {
        p->why = e;
        loop_defer(t->loop, &p->tell_task);
    }
}

static void on_pod_tell(struct loop_task *task)
{
    struct sandbox_pod *p = CONTAINER_OF(task, struct sandbox_pod, tell_task);
    if (p->told)
        return;
    p->told = true;
    if (p->why.code)
        p->events->on_failed(p->ctx, &p->why);
    else
        p->events->on_open(p->ctx);
}

void native_pod_on_volumes(struct native *t, const struct notice *n, struct fd_packet *p)
{
    struct native_shell *s = map_find(&t->shells, native_key(&n->id));
    struct sandbox_pod *pod = s ? s->pod : NULL;
    if (!pod)
        return;
    if (p->fd_count != pod->volume_count)
        err_set(&pod->why, n->error.code ? n->error.code : CODE_INTERNAL, "%s", n->error.text);
    for (size_t i = 0; !pod->why.code && i < p->fd_count; i++)
        s->volumes[s->volume_count++] = TAKE_FD(p->fds[i]);
    loop_defer(t->loop, &pod->tell_task);
}

int native_pod_place(const struct sandbox_spec *spec, struct sandbox *sb, struct err *e)
{
    struct sandbox_pod *p = spec->pod;
    if (!p->told || p->why.code || !p->shell || (spec->leads && p->shell->sandbox))
        return err_set(e, CODE_UNAVAILABLE, "the pod is over");
    for (size_t i = 0; i < spec->scratch_count; i++)
        sb->volume_count = MAX(sb->volume_count, spec->scratches[i].volume);
    if (spec->leads) {
        sb->pool_hit = p->pool_hit;
        return native_shell_use(p->shell, sb) ? 0 : err_set(e, CODE_UNAVAILABLE, "the pod is over");
    }
    struct request q = { .type = REQUEST_JOIN, .id = p->shell->id };
    memcpy(q.name, p->name, sizeof q.name);
    int r = peer_send(p->owner->launcher, &q, request_size(q.type), NULL, 0, e);
    if (r < 0)
        return r;
    native_sandbox_wait(sb, &p->waiting);
    return 0;
}

int native_pod_open(struct sandbox_tier *tier, const struct sandbox_pod_spec *spec, const struct sandbox_pod_events *events,
                    void *ctx, struct sandbox_pod **ret, struct err *e)
{
    struct native *t = native_of(tier);
    struct list_node *first = list_first(&t->ready);
    if (spec->volume_count > PROTOCOL_VOLUMES_MAX || strlen(spec->id) >= PROTOCOL_NAME_MAX)
        return err_set(e, CODE_EXHAUSTED, "pod %.80s: %zu shared volumes, %d are possible", spec->id, spec->volume_count,
                       PROTOCOL_VOLUMES_MAX);
    int r = first ? 0 : native_ask(t, REQUEST_WANT, 0, 0, e);
    if (r < 0)
        return r;
    struct sandbox_pod *p = xcalloc(1, sizeof *p);
    p->owner = t;
    p->events = events;
    p->ctx = ctx;
    p->tell_task.run = on_pod_tell;
    list_init(&p->waiting);
    memcpy(p->name, spec->id, strlen(spec->id));
    p->volume_count = (uint32_t)spec->volume_count;
    for (uint32_t i = 0; i < p->volume_count; i++)
        p->volume_bytes[i] = spec->volume_bytes[i];
    p->pool_hit = first != NULL;
    if (first)
        native_pod_take(p, CONTAINER_OF(first, struct native_shell, node));
    else
        list_push(&t->pods_waiting, &p->node);
    *ret = p;
    return 0;
}

void native_pod_free(struct sandbox_pod *p)
{
    if (!p)
        return;
    ASSERT(p->waiting.count == 0);
    loop_undefer(p->owner->loop, &p->tell_task);
    if (list_node_linked(&p->node))
        list_remove(&p->owner->pods_waiting, &p->node); /* the shell that comes is as good for the pool */
    if (p->shell) {
        native_tell(p->owner, REQUEST_KILL, p->shell->id, 0);
        p->shell->pod = NULL;
    }
    free(p);
}
