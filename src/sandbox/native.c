#include "sandbox/native.h"
#include "sandbox/native_impl.h"
#include "sandbox/native_pod.h"
#include "sandbox/native_sandbox.h"
#include "sandbox/native_shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    REQUESTS_WAITING_MAX = 8192,
    OPENS_MAX = 1024,        /* local opens not yet answered */
};

struct local_open {
    struct list_node node;
    uint64_t id;
    void (*on_open)(void *ctx, int take_fd, const struct err *e);
    void *ctx;
};

int native_ask(struct native *t, enum request_type type, uint64_t id, int32_t number, struct err *e)
{
    const struct request q = { .type = type, .id = id, .number = number };
    return peer_send(t->launcher, &q, request_size(type), NULL, 0, e);
}

void native_tell(struct native *t, enum request_type type, uint64_t id, int32_t number)
{
    struct err e = { 0 };
    int r = native_ask(t, type, id, number, &e);
    (void)r;
}

/* ---- notices ---------------------------------------------------------------------------- */

static int on_shell(struct native *t, const struct notice *n, struct fd_packet *p, struct err *e)
{
    struct native_shell *s;
    int r = native_shell_open(t, n, p, &s, e);
    if (r < 0)
        return r;
    if (s->joined) {
        native_pod_give(t, s, n->shell.beside);
        return 0;
    }
    struct list_node *first = list_first(&t->waiting), *pod = list_first(&t->pods_waiting);
    if (first)
        native_shell_give(s, first);
    else if (pod)
        native_pod_take(CONTAINER_OF(pod, struct sandbox_pod, node), s);
    else
        list_push(&t->ready, &s->node);
    return 0;
}

static void on_refused(struct native *t, const struct notice *n)
{
    const struct native_shell *leader = n->id ? map_find(&t->shells, native_key(&n->id)) : NULL;
    struct list *in = !n->id ? &t->waiting : leader && leader->pod ? &leader->pod->waiting : NULL;
    struct list_node *first = in ? list_first(in) : NULL;
    struct list_node *pod = n->id ? NULL : list_first(&t->pods_waiting);
    struct err e = { 0 };
    err_set(&e, n->error.code ? n->error.code : CODE_INTERNAL, "%s", n->error.text);
    if (!first && pod)
        native_pod_refuse(CONTAINER_OF(pod, struct sandbox_pod, node), &e);
    if (!first) /* who asked is gone already */
        return;
    native_sandbox_fail(CONTAINER_OF(first, struct sandbox, node), &e);
}

static void on_ended(struct native *t, const struct notice *n)
{
    struct native_shell *s = map_find(&t->shells, native_key(&n->id));
    if (!s)
        return;
    native_shell_hear_out(s);
    struct sandbox *sb = s->sandbox;
    const struct sandbox_exit x = { .status = n->exit.status,
                                    .oom_killed = n->exit.oom_killed,
                                    .cpu_us = n->exit.cpu_us,
                                    .memory_peak_bytes = n->exit.memory_peak_bytes };
    native_shell_free(s);
    if (sb)
        native_sandbox_over(sb, &x);
}

static void on_opened(struct native *t, const struct notice *n, struct fd_packet *p)
{
    LIST_EACH (&t->opens, node, tmp) {
        struct local_open *o = CONTAINER_OF(node, struct local_open, node);
        if (o->id != n->id)
            continue;
        struct local_open copy = *o;
        struct err e = { 0 };
        list_remove(&t->opens, &o->node);
        free(o);
        if (p->fd_count == 1) {
            copy.on_open(copy.ctx, TAKE_FD(p->fds[0]), NULL);
        } else {
            err_set(&e, n->error.code ? n->error.code : CODE_INTERNAL, "%s", n->error.text);
            e.sys_errno = n->error.sys_errno;
            copy.on_open(copy.ctx, -1, &e);
        }
        return;
    }
}

static int on_notice(void *ctx, struct fd_packet *p, struct err *e)
{
    struct native *t = ctx;
    const struct notice *n = p->at;
    if (p->size != sizeof *n)
        return err_set(e, CODE_INTERNAL, "launcher: a notice of %zu bytes", p->size);
    switch ((enum notice_type)n->type) {
    case NOTICE_WELCOME:
        t->facts = n->facts;
        t->welcomed = true;
        return 0;
    case NOTICE_SHELL: return on_shell(t, n, p, e);
    case NOTICE_REFUSED: on_refused(t, n); return 0;
    case NOTICE_VOLUMES: native_pod_on_volumes(t, n, p); return 0;
    case NOTICE_SOCKETS: native_shell_on_sockets(t, n, p); return 0;
    case NOTICE_ENDED: on_ended(t, n); return 0;
    case NOTICE_OPENED: on_opened(t, n, p); return 0;
    case NOTICE_FETCHER:
        if (p->fd_count == 1 && t->events->on_fetcher)
            t->events->on_fetcher(t->ctx, TAKE_FD(p->fds[0]));
        return 0;
    case NOTICE_REQUEST_LOG:
        if (p->fd_count == 1 && t->events->on_request_log)
            t->events->on_request_log(t->ctx, TAKE_FD(p->fds[0]));
        return 0;
    case NOTICE_DRAIN:
        if (t->events->on_drain)
            t->events->on_drain(t->ctx);
        return 0;
    case NOTICE_TYPES: break;
    }
    return err_set(e, CODE_INTERNAL, "launcher: a notice of type %u", n->type);
}

static void on_launcher_gone(void *ctx, const struct err *why)
{
    struct native *t = ctx;
    if (t->events->on_lost)
        t->events->on_lost(t->ctx, why);
}

static const struct peer_events link_to_launcher = { on_notice, on_launcher_gone };

/* ---- the tier --------------------------------------------------------------------------- */

static void native_pool_expect(struct sandbox_tier *tier, uint32_t functions)
{
    native_shell_pool_expect(native_of(tier), functions);
}
static uint32_t native_pool_ready(struct sandbox_tier *tier) { return native_of(tier)->ready.count; }
static uint32_t native_pool_wanted(struct sandbox_tier *tier) { return native_of(tier)->pool; }

/* Every sandbox must have been freed before. */
/* Who asked is answered: the launcher will not. */
static void opens_end(struct native *t)
{
    struct err e;
    err_set(&e, CODE_CANCELLED, "hob is stopping");
    LIST_EACH (&t->opens, n, tmp) {
        struct local_open *o = CONTAINER_OF(n, struct local_open, node);
        o->on_open(o->ctx, -1, &e);
        free(o);
    }
}

static void native_tier_free(struct sandbox_tier *tier)
{
    if (!tier)
        return;
    struct native *t = native_of(tier);
    const struct map_slot *slot;
    ASSERT(t->waiting.count == 0 && t->pods_waiting.count == 0);
    for (uint32_t i = 0; (slot = map_next(&t->shells, &i)) != NULL; i = 0) {
        struct native_shell *s = slot->value;
        ASSERT(!s->sandbox);
        native_shell_free(s); /* takes it out of the map: begin again */
    }
    map_done(&t->shells);
    loop_cancel(t->loop, &t->pool_timer);
    opens_end(t);
    peer_free(t->launcher);
    free(t);
}
DEFINE_AUTO(tier, struct sandbox_tier *, native_tier_free)

static const struct sandbox_tier_ops native_ops = {
    .name = "native",
    .start = native_sandbox_start,
    .signal = native_sandbox_signal,
    .kill = native_sandbox_kill,
    .socket = native_sandbox_socket,
    .want_socket = native_sandbox_want_socket,
    .usage = native_sandbox_usage,
    .run = native_sandbox_run,
    .run_forget = native_sandbox_run_forget,
    .pod_open = native_pod_open,
    .pod_free = native_pod_free,
    .free = native_sandbox_free,
    .pool_expect = native_pool_expect,
    .pool_ready = native_pool_ready,
    .pool_wanted = native_pool_wanted,
    .tier_free = native_tier_free,
};

int native_tier_open(struct loop *l, int take_launcher_fd, const struct limits *limits,
                     const struct native_events *events, void *ctx, struct sandbox_tier **ret,
                     struct err *e)
{
    struct native *t = xcalloc(1, sizeof *t);
    AUTO(tier) struct sandbox_tier *tier = &t->tier;
    uint64_t seed = 0;
    tier->ops = &native_ops;
    t->loop = l;
    t->limits = limits;
    t->events = events;
    t->ctx = ctx;
    list_init(&t->ready);
    list_init(&t->waiting);
    list_init(&t->pods_waiting);
    list_init(&t->opens);
    native_shell_pool_open(t);
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = 1; /* the keys are ours, not an attacker's */
    map_init(&t->shells, seed);
    int r = peer_open(l, take_launcher_fd, sizeof(struct notice), REQUESTS_WAITING_MAX,
                      &link_to_launcher, t, &t->launcher, e);
    if (r == 0)
        r = native_ask(t, REQUEST_HELLO, 0, PROTOCOL_VERSION, e);
    if (r < 0)
        return err_wrap(e, "native tier");
    *ret = TAKE(tier);
    return 0;
}

int native_serving(struct sandbox_tier *tier, struct err *e)
{
    return native_ask(native_of(tier), REQUEST_SERVING, 0, 0, e);
}

int native_open_local(struct sandbox_tier *tier, const char *path,
                      void (*on_open)(void *ctx, int take_fd, const struct err *e), void *ctx,
                      struct err *e)
{
    struct native *t = native_of(tier);
    struct request q = { .type = REQUEST_OPEN, .id = ++t->next_open };
    if (path[0] != '/' || strlen(path) >= sizeof q.path)
        return err_set(e, CODE_INVALID, "%.200s: not an absolute path of usual length", path);
    if (t->opens.count >= OPENS_MAX)
        return err_set(e, CODE_EXHAUSTED, "%.200s: %d local opens wait already", path, OPENS_MAX);
    snprintf(q.path, sizeof q.path, "%s", path);
    int r = peer_send(t->launcher, &q, sizeof q, NULL, 0, e);
    if (r < 0)
        return r;
    struct local_open *o = xcalloc(1, sizeof *o);
    o->id = q.id;
    o->on_open = on_open;
    o->ctx = ctx;
    list_push(&t->opens, &o->node);
    return 0;
}

bool native_facts(const struct sandbox_tier *tier, struct notice_facts *ret)
{
    const struct native *t = (const struct native *)(const void *)tier;
    _Static_assert(offsetof(struct native, tier) == 0, "the cast above");
    if (t->welcomed)
        *ret = t->facts;
    return t->welcomed;
}

void native_stamps(struct sandbox_tier *tier,
                   void (*on_stamps)(void *ctx, const uint64_t at_ns[STEM_STEPS]), void *ctx)
{
    struct native *t = native_of(tier);
    t->on_stamps = on_stamps;
    t->stamps_ctx = ctx;
}
