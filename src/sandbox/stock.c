#include "sandbox/stock.h"
#include "base/log.h"
#include "os/fd.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    MAKING_MAX = 4,        /* shells under construction at once: they compete for the CPUs */
    REFILL_QUIET_US = 5000, /* no start for this long, then the pool is refilled */
    RETRY_US = 100000,     /* after one that could not be made */
    SHELLS_MAX = 20000,    /* what the uid ranges allow */
};

struct stock {
    struct stock_config config;
    struct shell_maker *maker;
    struct loop *loop;
    bool serving, ending;
    struct loop_timer refill;
    struct list shells;
    uint32_t *slots; /* of each: how many shells use it; more than one are a pod */
    uint32_t slot_count, next_slot;
    uint64_t next_id;
    uint32_t life;                 /* counts nodes */
    uint32_t making, idle, wanted; /* of this life; wanted: WANTs not answered yet */
    uint32_t pool, pool_max;       /* shells to be kept ready: what the node asked for last; and may ask for */
    uint64_t last_took_us, pool_not_before_us;
};

static struct shell *shell_find(struct stock *k, uint64_t id)
{
    LIST_EACH (&k->shells, n, tmp) {
        struct shell *s = CONTAINER_OF(n, struct shell, node);
        if (s->id == id && s->life == k->life && !s->ended)
            return s;
    }
    return NULL;
}

static int slot_take(struct stock *k, uint32_t *ret, struct err *e)
{
    for (uint32_t i = 0; i < k->slot_count; i++) {
        uint32_t slot = (k->next_slot + i) % k->slot_count;
        if (k->slots[slot])
            continue;
        k->slots[slot] = 1;
        k->next_slot = slot + 1; /* the longest unused one: used ids rest a while */
        *ret = slot;
        return 0;
    }
    return err_set(e, CODE_EXHAUSTED, "sandbox: all %u are in use", k->slot_count);
}

static int shell_make(struct stock *k, struct err *e)
{
    struct shell *s;
    uint32_t slot = 0;
    int r = slot_take(k, &slot, e);
    if (r < 0)
        return r;
    r = shell_open(k->maker, k->next_id++, slot, &s, e);
    if (r < 0) {
        k->slots[slot] = 0;
        return r;
    }
    s->life = k->life;
    list_push(&k->shells, &s->node);
    k->making++;
    return 0;
}

/* A shell that was not to be: whoever waits for one is told; the pool just tries again later. */
static void shell_refuse(struct stock *k, const struct err *e)
{
    struct notice n = { .type = NOTICE_REFUSED };
    k->pool_not_before_us = loop_now_us(k->loop) + RETRY_US;
    if (k->wanted == 0) {
        log_event(LOG_WARN, "sandbox.not_made", "cause=\"%s\"", LOG_QUOTED(e->text));
        return;
    }
    k->wanted--;
    notice_error_set(&n, e);
    k->config.notify(k->config.ctx, &n, NULL, 0);
}

/* The only place that decides whether a shell is made. What somebody waits for comes at once; the
 * pool is refilled one by one, when no start happened for a while, so that refilling does not compete with
 * the start that emptied it. */
static void pool_tend(struct stock *k)
{
    struct err e = { 0 };
    uint64_t quiet_us = MAX(k->last_took_us + REFILL_QUIET_US, k->pool_not_before_us);
    if (k->ending || !k->serving)
        return;
    while (k->wanted > k->making && k->making < MAKING_MAX)
        if (shell_make(k, &e) < 0)
            shell_refuse(k, &e);
    uint64_t have = (uint64_t)k->idle + k->making;
    if (k->making > 0 || have >= (uint64_t)k->pool + k->wanted)
        return; /* the one that is being made comes back here */
    if (loop_clock_us(k->loop) < quiet_us)
        loop_at(k->loop, &k->refill, quiet_us);
    else if (shell_make(k, &e) < 0) {
        shell_refuse(k, &e);
        loop_at(k->loop, &k->refill, k->pool_not_before_us);
    }
}

static void on_refill(struct loop_timer *t) { pool_tend(CONTAINER_OF(t, struct stock, refill)); }

/* Everything the node needs to use a shell, in one notice. */
static int shell_offer(struct stock *k, struct shell *s, struct err *e)
{
    struct notice n = { .type = NOTICE_SHELL, .id = s->id, .shell.beside = s->beside };
    int fds[3 + PROTOCOL_VOLUMES_MAX + PROTOCOL_SHELL_SOCKETS], cpu_fd, memory_fd;
    size_t count = 0;
    fds[count++] = s->control_fd;
    shell_usage_open(s, &cpu_fd, &memory_fd);
    if (cpu_fd >= 0 && memory_fd >= 0) {
        n.usage_fds = 2;
        fds[count++] = TAKE_FD(cpu_fd);
        fds[count++] = TAKE_FD(memory_fd);
    }
    fd_auto(&cpu_fd);
    fd_auto(&memory_fd);
    for (uint32_t i = 0; s->beside && i < s->volume_count; i++)
        fds[count + n.shell.volumes++] = TAKE_FD(s->volume_fds[i]);
    count += n.shell.volumes;
    int r = ns_sockets_make(s->netns_fd, k->maker->home_net_fd, fds + count, PROTOCOL_SHELL_SOCKETS, e);
    if (r < 0) {
        while (count > 1) /* the first is still the shell's */
            close(fds[--count]);
        return r;
    }
    s->control_fd = -1;
    k->config.notify(k->config.ctx, &n, fds, count + PROTOCOL_SHELL_SOCKETS);
    return 0;
}

/* ---- pods ---- */

static void join_refuse(struct stock *k, uint64_t leader, const struct err *e)
{
    struct notice n = { .type = NOTICE_REFUSED, .id = leader };
    notice_error_set(&n, e);
    k->config.notify(k->config.ctx, &n, NULL, 0);
}

static void joined_offer(struct stock *k, struct shell *s)
{
    struct err e = { 0 };
    if (shell_offer(k, s, &e) == 0)
        return;
    s->state = SHELL_MAKING; /* the node never heard of it */
    s->why = e;
    shell_kill(s);
}

static uint32_t pod_size(struct stock *k, uint64_t leader)
{
    uint32_t count = 0;
    LIST_EACH (&k->shells, n, tmp)
        count += CONTAINER_OF(n, struct shell, node)->beside == leader;
    return count;
}

/* Nothing of a pod outlives the shell that it was made around. */
static void pod_kill(struct stock *k, uint64_t leader)
{
    LIST_EACH (&k->shells, n, tmp) {
        struct shell *s = CONTAINER_OF(n, struct shell, node);
        if (s->beside == leader)
            shell_kill(s);
    }
}

static int join_begin(struct stock *k, const struct request *q, struct err *e)
{
    struct shell *s, *leader = shell_find(k, q->id);
    if (!leader || leader->state == SHELL_MAKING || leader->beside)
        return err_set(e, CODE_UNAVAILABLE, "sandbox: the pod is over");
    if (k->ending || pod_size(k, leader->id) >= PROTOCOL_JOINED_MAX)
        return err_set(e, CODE_EXHAUSTED, "sandbox: %d are in the pod already", PROTOCOL_JOINED_MAX);
    int r = shell_join(k->maker, k->next_id++, leader, q->name, &s, e);
    if (r < 0)
        return r;
    s->life = k->life;
    k->slots[s->slot]++;
    list_push(&k->shells, &s->node);
    return 0;
}

static void volumes_answer(struct stock *k, const struct request *q)
{
    struct notice n = { .type = NOTICE_VOLUMES, .id = q->id };
    struct shell *s = shell_find(k, q->id);
    int fds[PROTOCOL_VOLUMES_MAX];
    size_t count = (size_t)q->number;
    struct err e = { 0 };
    if (!s)
        return; /* its end is on the way to the node */
    const struct join_volumes v = { .stage_fd = k->maker->stage_fd, .bytes = q->volume_bytes, .count = (uint32_t)count,
                                    .owner = shell_owner(s) };
    int r = s->state == SHELL_MAKING || s->beside || s->pod_fd >= 0
                ? err_set(&e, CODE_INVALID, "sandbox: has its volumes")
                : join_volumes_make(&v, &s->pod_fd, fds, &e);
    if (r == 0)
        s->volume_count = (uint32_t)count;
    else
        notice_error_set(&n, &e);
    k->config.notify(k->config.ctx, &n, fds, r == 0 ? count : 0);
}

/* ---- their life ---- */

static void on_shell_ready(void *ctx, struct shell *s)
{
    struct stock *k = ctx;
    struct err e = { 0 };
    if (s->life != k->life) {
        shell_kill(s);
        return;
    }
    if (s->beside) {
        joined_offer(k, s);
        return;
    }
    ASSERT(k->making > 0);
    k->making--;
    k->idle++;
    if (shell_offer(k, s, &e) < 0) {
        shell_kill(s);
        shell_refuse(k, &e);
    } else if (k->wanted > 0) {
        k->wanted--;
    }
    pool_tend(k);
}

static void on_shell_ended(void *ctx, struct shell *s, const struct notice_exit *x,
                           const struct err *why)
{
    struct stock *k = ctx;
    struct notice n = { .type = NOTICE_ENDED, .id = s->id, .exit = *x };
    struct err cause = { 0 };
    bool ours = s->life == k->life, was_making = s->state == SHELL_MAKING;
    if (why)
        cause = *why;
    if (ours && was_making && !s->beside)
        k->making--;
    else if (ours && s->state == SHELL_IDLE && !s->beside)
        k->idle--;
    list_remove(&k->shells, &s->node);
    ASSERT(k->slots[s->slot] > 0);
    k->slots[s->slot]--;
    if (!s->beside)
        pod_kill(k, s->id);
    uint64_t beside = s->beside;
    shell_free(s);
    if (ours && !was_making)
        k->config.notify(k->config.ctx, &n, NULL, 0);
    else if (ours && beside)
        join_refuse(k, beside, &cause);
    else if (ours && cause.code)
        shell_refuse(k, &cause);
    pool_tend(k);
    k->config.on_ended(k->config.ctx);
}

static void shells_kill(struct stock *k)
{
    LIST_EACH (&k->shells, n, tmp)
        shell_kill(CONTAINER_OF(n, struct shell, node));
}

/* ---- requests ---- */

static void sockets_answer(struct stock *k, const struct request *q)
{
    struct notice n = { .type = NOTICE_SOCKETS, .id = q->id };
    struct shell *s = shell_find(k, q->id);
    int fds[PROTOCOL_SOCKETS_MAX];
    size_t count = (size_t)q->number;
    struct err e = { 0 };
    if (!s)
        return; /* its end is on the way to the node */
    if (ns_sockets_make(s->netns_fd, k->maker->home_net_fd, fds, count, &e) < 0) {
        notice_error_set(&n, &e);
        count = 0;
    }
    k->config.notify(k->config.ctx, &n, fds, count);
}

static void shell_request(struct stock *k, const struct request *q)
{
    struct shell *s = shell_find(k, q->id);
    if (!s || s->state == SHELL_MAKING) /* it ended meanwhile, or was never offered */
        return;
    switch (q->type) {
    case REQUEST_TOOK:
        if (s->state == SHELL_USED)
            return;
        s->state = SHELL_USED;
        if (s->beside)
            return;
        k->idle--;
        k->last_took_us = loop_clock_us(k->loop);
        pool_tend(k);
        return;
    case REQUEST_SIGNAL: shell_signal(s, q->number); return;
    case REQUEST_KILL: shell_kill(s); return;
    default: UNREACHABLE("not about a shell");
    }
}

int stock_request(struct stock *k, const struct request *q, struct err *e)
{
    struct err why = { 0 };
    switch ((enum request_type)q->type) {
    case REQUEST_WANT:
        if (k->wanted >= k->slot_count)
            return err_set(e, CODE_EXHAUSTED, "request: more wants than sandboxes");
        k->wanted++;
        pool_tend(k);
        return 0;
    case REQUEST_POOL:
        if ((uint32_t)q->number > k->pool_max)
            return err_set(e, CODE_EXHAUSTED, "request: a pool of %d, of %u at most", q->number, k->pool_max);
        k->pool = (uint32_t)q->number;
        pool_tend(k);
        return 0;
    case REQUEST_SOCKETS: sockets_answer(k, q); return 0;
    case REQUEST_VOLUMES: volumes_answer(k, q); return 0;
    case REQUEST_JOIN:
        if (join_begin(k, q, &why) < 0)
            join_refuse(k, q->id, &why);
        return 0;
    case REQUEST_TOOK:
    case REQUEST_SIGNAL:
    case REQUEST_KILL: shell_request(k, q); return 0;
    case REQUEST_HELLO:
    case REQUEST_OPEN:
    case REQUEST_SERVING:
    case REQUEST_TYPES: break;
    }
    UNREACHABLE("not about shells");
}

/* ---- the node comes and goes ---- */

void stock_serve(struct stock *k)
{
    k->serving = true;
    pool_tend(k);
}

void stock_pause(struct stock *k) { k->serving = false; }

void stock_forget(struct stock *k)
{
    k->serving = false;
    k->making = k->idle = k->wanted = 0;
    k->pool = (uint32_t)k->config.limits->sandbox_pool;
    k->life++; /* shells of the old life are not anybody's */
    shells_kill(k);
}

void stock_end(struct stock *k)
{
    k->ending = true;
    shells_kill(k);
}

bool stock_is_empty(const struct stock *k) { return k->shells.count == 0; }

struct stock *stock_new(const struct stock_config *c)
{
    const struct limits *l = c->limits;
    struct stock *k = xcalloc(1, sizeof *k);
    k->config = *c;
    k->maker = c->maker;
    k->loop = c->maker->loop;
    k->maker->on_ready = on_shell_ready;
    k->maker->on_ended = on_shell_ended;
    k->maker->ctx = k;
    k->refill.on_due = on_refill;
    k->next_id = 1;
    k->pool = (uint32_t)l->sandbox_pool;
    k->pool_max = (uint32_t)MAX(l->sandbox_pool, l->sandbox_pool_max);
    k->slot_count = (uint32_t)MIN(l->instances_max + k->pool_max + MAKING_MAX, (uint64_t)SHELLS_MAX);
    k->slots = xcalloc(k->slot_count, sizeof *k->slots);
    list_init(&k->shells);
    return k;
}

void stock_free(struct stock *k)
{
    if (!k)
        return;
    LIST_EACH (&k->shells, n, tmp) {
        list_remove(&k->shells, n);
        shell_free(CONTAINER_OF(n, struct shell, node));
    }
    loop_cancel(k->loop, &k->refill);
    free(k->slots);
    free(k);
}
