/* The fleet and its instances, with a fake isolation tier, fake artifacts and simulated time. Only
 * TCP connects are real: loopback answers within the call, so no event is needed. */
#include "fds.h"
#include "instance/fleet_impl.h"
#include "os/fault.h"
#include "tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- simulated time ------------------------------------------------------------------------- */

static uint64_t sim_us;
static uint64_t sim_due_us; /* what the loop would have slept for */
static uint64_t world_now(struct loop_world *w) { return (void)w, sim_us; }
static int world_control(struct loop_world *w, int op, int fd, uint32_t events, uint32_t slot,
                         struct err *e)
{
    (void)w, (void)fd, (void)events, (void)slot;
    return op == EPOLL_CTL_ADD && fault_hit("epoll_ctl") ? err_sys(e, "watch") : 0;
}
static int world_wait(struct loop_world *w, uint64_t due_us, struct loop_event *into, int max,
                      struct err *e)
{
    (void)w, (void)into, (void)max, (void)e;
    sim_due_us = due_us;
    return 0;
}
static void world_free(struct loop_world *w) { (void)w; }
static struct loop_world world = { world_now, world_control, world_wait, world_free };

/* ---- fake artifacts (link-time) ------------------------------------------------------------- */

struct artifact_use {
    struct loop_task task;
    struct loop *loop;
    struct artifact_request q;
    struct artifact_facts facts;
    char wanted[80];
};
static struct {
    struct loop *loop;
    enum fetch_mode { FETCH_OK, FETCH_FAILS, FETCH_HANGS, FETCH_UNVERIFIED } mode;
    bool retryable;
    int uses;
    const char *has;            /* what is there now; NULL: "sha256:x" */
    char asked[4][80];          /* the digests of the last uses; the newest first */
    struct artifact_use *all[8]; /* the first uses since setup() */
    size_t made;
    struct artifact_use *unverified;
} origin;
static void use_run(struct loop_task *t)
{
    struct artifact_use *u = CONTAINER_OF(t, struct artifact_use, task);
    struct err e;
    if (origin.mode == FETCH_FAILS) {
        err_set(&e, CODE_UNAVAILABLE, "origin is dead");
        u->q.on_failed(u, PHASE_IMAGE_PULL, origin.retryable, &e);
        return;
    }
    if (origin.unverified == u) {
        origin.unverified = NULL;
        u->q.on_verified(u);
        return;
    }
    const char *found = origin.has ? origin.has : "sha256:x";
    u->q.on_present(u, "bundles/sha256-x", *u->wanted ? u->wanted : found);
    if (origin.mode == FETCH_UNVERIFIED)
        origin.unverified = u; /* its verifying takes until the test lets it go on */
    else
        u->q.on_verified(u);
}
int artifact_use_start(struct artifact_store *s, const struct artifact_request *q,
                       struct artifact_use **ret, struct err *e)
{
    (void)s;
    if (fault_hit("use"))
        return err_sys(e, "artifact");
    struct artifact_use *u = xcalloc(1, sizeof *u);
    u->q = *q;
    memmove(origin.asked[1], origin.asked[0], sizeof origin.asked - sizeof origin.asked[0]);
    snprintf(origin.asked[0], sizeof origin.asked[0], "%s", q->digest);
    snprintf(u->wanted, sizeof u->wanted, "%s", q->digest);
    u->loop = origin.loop;
    u->facts.was_present = true;
    u->task.run = use_run;
    if (origin.mode != FETCH_HANGS)
        loop_defer(u->loop, &u->task);
    origin.uses++;
    if (origin.made < COUNT_OF(origin.all))
        origin.all[origin.made++] = u;
    *ret = u;
    return 0;
}
void artifact_use_free(struct artifact_use *u)
{
    if (!u)
        return;
    origin.uses--;
    loop_undefer(u->loop, &u->task);
    free(u);
}
void *artifact_use_ctx(const struct artifact_use *u) { return u->q.ctx; }
const struct artifact_facts *artifact_use_facts(const struct artifact_use *u) { return &u->facts; }

/* ---- fake tier -------------------------------------------------------------------------------- */

struct sandbox {
    struct list_node node;
    struct loop_task started, ended;
    struct sandbox_events events;
    void *ctx;
    uint16_t served_port;
    int out_w, phases_w;
    bool over;
    struct sandbox_exit exit;
};
static struct {
    struct sandbox_tier tier;
    struct loop *loop;
    struct list all;
    enum run_mode { RUN_OK, RUN_EXITS, RUN_MUTE } mode;
    int starts, open;
    char says[64]; /* the environment of the last one, of A */
    bool stubborn; /* SIGTERM ends nothing */
    int deaf; /* so many connections are not accepted, though no end was told */
    enum { SOCKETS_READY, SOCKETS_LATE, SOCKETS_NONE } sockets;
} iso;
static void sb_started(struct loop_task *t)
{
    struct sandbox *sb = CONTAINER_OF(t, struct sandbox, started);
    if (sb->served_port)
        sb->events.on_served(sb->ctx, fcntl(sb->out_w, F_DUPFD_CLOEXEC, 0));
    sb->events.on_started(sb->ctx, sim_us, true);
    if (iso.mode == RUN_EXITS) {
        sb->exit.status = 3;
        loop_defer(iso.loop, &sb->ended);
    }
}
static void sb_ended(struct loop_task *t)
{
    struct sandbox *sb = CONTAINER_OF(t, struct sandbox, ended);
    sb->over = true;
    sb->events.on_ended(sb->ctx, &sb->exit, NULL);
}
static int tier_start(struct sandbox_tier *t, const struct sandbox_spec *spec,
                      const struct sandbox_events *events, void *ctx, struct sandbox **ret,
                      struct sandbox_pipes *ret_pipes, struct err *e)
{
    int out[2], phases[2];
    (void)t;
    iso.says[0] = '\0';
    for (const char *const *at = spec->env; *at; at++)
        if (strncmp(*at, "A=", 2) == 0)
            snprintf(iso.says, sizeof iso.says, "%s", *at);
    if (fault_hit("tier"))
        return err_sys(e, "sandbox");
    if (pipe2(out, O_CLOEXEC | O_NONBLOCK) || pipe2(phases, O_CLOEXEC | O_NONBLOCK))
        abort();
    struct sandbox *sb = xcalloc(1, sizeof *sb);
    *sb = (struct sandbox){ .started.run = sb_started, .ended.run = sb_ended, .events = *events,
                            .ctx = ctx, .served_port = spec->served_port, .out_w = out[1], .phases_w = phases[1] };
    list_push(&iso.all, &sb->node);
    iso.starts++;
    iso.open++;
    loop_defer(iso.loop, &sb->started);
    *ret = sb;
    *ret_pipes = (struct sandbox_pipes){ out[0], phases[0] };
    return 0;
}
static void tier_kill(struct sandbox *sb)
{
    if (!sb->over)
        loop_defer(iso.loop, &sb->ended);
}
static void tier_signal(struct sandbox *sb, int signo)
{
    (void)signo;
    if (!iso.stubborn)
        tier_kill(sb);
}
static int tier_socket(struct sandbox *sb, struct err *e)
{
    (void)sb;
    if (iso.sockets != SOCKETS_READY || fault_hit("socket"))
        return err_set(e, CODE_UNAVAILABLE, "none at hand");
    if (iso.mode == RUN_EXITS || (iso.deaf > 0 && iso.deaf--))
        return open("/dev/null", O_RDONLY | O_CLOEXEC); /* nothing listens: connect fails */
    return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}
static void tier_want(struct sandbox *sb, void (*on_socket)(void *, int), void *ctx)
{
    (void)sb;
    on_socket(ctx, iso.sockets == SOCKETS_LATE
                       ? socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
                       : -1);
}
static int tier_usage(struct sandbox *sb, uint64_t *cpu, uint64_t *mem)
{
    return (void)sb, *cpu = *mem = 1, 0;
}
static void tier_sb_free(struct sandbox *sb)
{
    loop_undefer(iso.loop, &sb->started);
    loop_undefer(iso.loop, &sb->ended);
    list_remove(&iso.all, &sb->node);
    close(sb->out_w);
    close(sb->phases_w);
    iso.open--;
    free(sb);
}
static uint32_t tier_expects;
static void tier_expect(struct sandbox_tier *t, uint32_t functions)
{
    (void)t;
    tier_expects = functions;
}
static const struct sandbox_tier_ops tier_ops = {
    .name = "fake", .pool_expect = tier_expect, .start = tier_start, .signal = tier_signal, .kill = tier_kill,
    .socket = tier_socket, .want_socket = tier_want, .usage = tier_usage, .free = tier_sb_free,
};

void revision_free(struct revision *r) { free(r); }
void revision_rescale(struct revision *r, const json_t *annotations, const struct limits *l)
{
    (void)annotations;
    r->min_scale = (uint32_t)l->scale_min_default;
}

static const char *config_map; /* the one ConfigMap there is; NULL: none */
static int config_asked;
static const char *config_find(void *ctx, bool secret, const char *ns, const char *name)
{
    (void)ctx;
    config_asked++;
    return secret || strcmp(ns, "default") != 0 || strcmp(name, "m") != 0 ? NULL : config_map;
}

/* ---- the bench -------------------------------------------------------------------------------- */

static struct bench {
    struct loop *loop;
    struct limits limits;
    struct fleet *fleet;
    struct backend *backend;
    int listen_fd;
    uint16_t port;
    int accepted[64]; /* the functions' ends; of more than that, closed */
    uint32_t accepted_count;
    bool drops; /* all are closed at once */
    int starts_seen, limits_hit, messages; /* messages: changes of the text */
    struct fleet_facts facts, first; /* the last told; of a generation 1 */
    char image[80], model[80]; /* and what was resolved then */
} b;

struct call { /* what the gateway would be */
    struct ticket t;
    struct lease lease;
    enum { CALL_NEW, CALL_WAITS, CALL_RUNS, CALL_REFUSED, CALL_DONE } state;
    enum ticket_result result;
    uint32_t retry_after_s;
    char why[160];
};
static void on_facts(void *c, const struct revision *r, const struct fleet_facts *f)
{
    (void)c;
    b.messages += strcmp(b.facts.message, f->message) != 0;
    b.facts = *f;
    if (r->generation == 1)
        b.first = *f;
    snprintf(b.image, sizeof b.image, "%s", f->resolved->image);
    snprintf(b.model, sizeof b.model, "%s", f->resolved->model_count ? f->resolved->models[0] : "none");
}
static void on_start(void *c, const struct revision *r, const struct start_record *s)
{
    (void)c, (void)r, (void)s;
    b.starts_seen++;
}
static void on_record(void *c, const struct invocation_record *r) { (void)c, (void)r; }
static void on_limit(void *c, const char *l) { (void)c, (void)l, b.limits_hit++; }
static const struct fleet_observer observer = { on_facts, on_start, on_record, on_limit };

static void on_turn(struct ticket *t, enum ticket_result r, const struct lease *l,
                    uint32_t retry_after_s, const struct err *e)
{
    struct call *c = CONTAINER_OF(t, struct call, t);
    ASSERT(c->state == CALL_WAITS); /* once, and never inside ask() */
    ASSERT((r == TICKET_FAILED) == (e && e->code != CODE_EXHAUSTED && e->code != CODE_DEADLINE));
    c->state = r == TICKET_GRANTED ? CALL_RUNS : CALL_REFUSED;
    c->result = r;
    c->retry_after_s = retry_after_s;
    (void)snprintf(c->why, sizeof c->why, "%.159s", e ? e->text : "");
    if (l)
        c->lease = *l;
}
static void settle(void)
{
    struct err e;
    for (int k = 0; k < 12; k++) {
        ASSERT(loop_turn(b.loop, false, &e) >= 0);
        fleet_check(b.fleet);
    }
    for (int fd; (fd = accept4(b.listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0;)
        if (b.drops || b.accepted_count == COUNT_OF(b.accepted))
            close(fd);
        else
            b.accepted[b.accepted_count++] = fd;
}
static void pass(uint64_t us) /* in steps, as timers would have it */
{
    for (uint64_t end = sim_us + us; sim_us < end;) {
        sim_us += MIN(us / 20 + 1, end - sim_us);
        settle();
    }
}
static void setup(void)
{
    struct err e;
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof a;
    memset(&b, 0, sizeof b);
    sim_us = 1000000000;
    b.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ASSERT(bind(b.listen_fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(b.listen_fd, 4096) == 0);
    getsockname(b.listen_fd, (struct sockaddr *)&a, &size);
    b.port = ntohs(a.sin_port);
    ASSERT(loop_open_in(&world, &b.loop, &e) == 0);
    limits_default(&b.limits);
    origin.loop = iso.loop = b.loop;
    origin.mode = FETCH_OK;
    origin.has = config_map = NULL;
    iso.mode = RUN_OK;
    iso.deaf = 0;
    iso.stubborn = false;
    iso.sockets = SOCKETS_READY;
    iso.starts = iso.open = origin.uses = 0;
    origin.made = 0;
    iso.tier.ops = &tier_ops;
    list_init(&iso.all);
    const struct instance_env env = { b.loop, &b.limits, &iso.tier, NULL, { config_find, NULL } };
    ASSERT(fleet_open(&env, &observer, NULL, 42, &b.fleet, &e) == 0);
    b.backend = fleet_backend(b.fleet);
}
static bool teardown(void) /* false: something was left behind */
{
    settle();
    fleet_free(b.fleet);
    loop_free(b.loop);
    close(b.listen_fd);
    while (b.accepted_count > 0)
        close(b.accepted[--b.accepted_count]);
    return iso.open == 0 && origin.uses == 0;
}
static struct revision *revision(const char *service, uint64_t generation)
{
    struct revision *r = xcalloc(1, sizeof *r + 80);
    char *name = (char *)(r + 1);
    snprintf(name, 80, "%s-%05d", service, (int)generation);
    *r = (struct revision){
        .ns = "default", .service = service, .name = name, .generation = generation,
        .image = "file:///x", .port = b.port, .timeout_s = 300, .initial_scale = 1, .total = 100, .target = 70,
        .panic_window_s = 6, .panic_threshold = 2, .burst_capacity = 211,
        .window_us = 60000000, .queue_depth = 1000, .progress_deadline_us = 600000000,
    };
    return r;
}
/* A table with so many hosts, filled by route_share() below; what the catalog would hand over. */
static struct route_table *table(const char *service, uint32_t hosts)
{
    struct route_table *t = xcalloc(1, sizeof *t);
    snprintf(t->ns, sizeof t->ns, "default");
    snprintf(t->name, sizeof t->name, "%s", service);
    t->hosts = xcalloc(hosts, sizeof *t->hosts);
    t->count = hosts;
    return t;
}
static void share(struct route_table *t, uint32_t host, const char *tag, uint64_t generation,
                  uint32_t weight)
{
    struct route_host *h = &t->hosts[host];
    snprintf(h->tag, sizeof h->tag, "%s", tag);
    h->shares = xrealloc(h->shares, h->count + 1, sizeof *h->shares);
    struct route_share *s = &h->shares[h->count++];
    s->weight = weight;
    snprintf(s->revision, sizeof s->revision, "%.60s-%05d", t->name, (int)generation);
}
static void table_set(struct route_table *take_t)
{
    fleet_route_set(b.fleet, take_t);
    route_table_free(take_t);
}
/* Everything to one. */
static void lead(const char *service, uint64_t generation)
{
    struct route_table *t = table(service, 1);
    share(t, 0, "", generation, ROUTE_WEIGHT_ALL);
    table_set(t);
}
static void deploy(struct revision *r, bool was_ready)
{
    const char *service = r->service;
    uint64_t generation = r->generation;
    fleet_add(b.fleet, r, was_ready);
    lead(service, generation);
}
static struct backend_way way; /* of the last that was routed */
static struct rev *routed_as(const char *host, const char *tag, bool from_here)
{
    const struct backend_ask a = { str_of(host), str_of(tag), from_here };
    return b.backend->ops->route(b.backend, &a, &way);
}
static struct rev *routed(const char *host) { return routed_as(host, "", true); }
static const char *name_of(const struct rev *v)
{
    struct target_policy p;
    if (!v)
        return "nobody";
    b.backend->ops->policy(v, &p);
    return p.revision;
}
static void ask(struct call *c, const char *host, uint64_t within_us)
{
    memset(c, 0, sizeof *c);
    c->t.revision = routed(host);
    ASSERT(c->t.revision);
    c->t.arrival_us = sim_us;
    c->t.deadline_us = sim_us + within_us;
    c->t.on_turn = on_turn;
    c->state = CALL_WAITS;
    b.backend->ops->ask(b.backend, &c->t);
    ASSERT(c->state == CALL_WAITS);
}
static void done(struct call *c, bool keep)
{
    ASSERT(c->state == CALL_RUNS);
    c->state = CALL_DONE;
    if (!keep)
        close(c->lease.fd);
    b.backend->ops->release(b.backend, &c->lease, keep ? c->lease.fd : -1, true);
}
#define HOST "f.default.localhost"
#define SECOND UINT64_C(1000000)

/* ---- stories ---------------------------------------------------------------------------------- */

TEST(a_burst_of_200_on_a_cold_function_starts_max_scale_and_answers_all)
{
    static struct call calls[200];
    setup();
    struct revision *r = revision("f", 1);
    r->container_concurrency = 10;
    r->target = 7;
    r->max_scale = 4;
    r->initial_scale = 0;
    deploy(r, false);
    settle();
    CHECK_EQ(iso.starts, 0);
    for (size_t k = 0; k < COUNT_OF(calls); k++)
        ask(&calls[k], HOST, 60 * SECOND);
    settle();
    CHECK_EQ(iso.starts, 4);
    int answered = 0, rounds = 0, cold = 0;
    for (; answered < 200 && rounds < 50; rounds++) {
        int running = 0;
        for (size_t k = 0; k < COUNT_OF(calls); k++)
            running += calls[k].state == CALL_RUNS;
        CHECK(running <= 40);
        for (size_t k = 0; k < COUNT_OF(calls); k++)
            if (calls[k].state == CALL_RUNS) {
                cold += calls[k].lease.cold;
                done(&calls[k], true);
                answered++;
            }
        settle();
    }
    CHECK_EQ(answered, 200);
    CHECK_EQ(rounds, 5);
    CHECK_EQ(cold, 200);
    CHECK_EQ(iso.starts, 4);
    CHECK(teardown());
}

TEST(the_tier_knows_how_many_functions_there_are)
{
    setup();
    deploy(revision("f", 1), true);
    CHECK_EQ(tier_expects, 1);
    fleet_add(b.fleet, revision("f", 2), true);
    CHECK_EQ(tier_expects, 2); /* it may be called by a tag, or when traffic moves */
    fleet_add(b.fleet, revision("g", 1), true);
    CHECK_EQ(tier_expects, 3);
    lead("f", 2);
    fleet_drop(b.fleet, "default", "f", "f-00001");
    settle();
    CHECK_EQ(tier_expects, 2);
    fleet_remove_service(b.fleet, "default", "g");
    settle();
    CHECK_EQ(tier_expects, 1);
    CHECK(teardown());
}

TEST(the_last_request_starts_the_clock_to_zero_and_zero_costs_nothing)
{
    struct call c;
    setup();
    deploy(revision("f", 1), false);
    settle();
    CHECK(b.facts.ready_once && b.facts.actual == 1);
    ask(&c, HOST, SECOND);
    settle();
    CHECK_EQ(c.state, CALL_RUNS);
    CHECK(!c.lease.cold);
    pass(100 * SECOND); /* busy: it stays */
    CHECK_EQ(fleet_totals(b.fleet).ready, 1);
    done(&c, true);
    pass(59 * SECOND);
    CHECK_EQ(fleet_totals(b.fleet).ready, 1);
    pass(2 * SECOND);
    CHECK_EQ(fleet_live(b.fleet), 0);
    CHECK_EQ(iso.open, 0);
    struct err e;
    CHECK(loop_turn(b.loop, true, &e) >= 0);
    CHECK(sim_due_us == UINT64_MAX); /* the loop would sleep for ever */
    ask(&c, HOST, SECOND);
    settle();
    CHECK(c.state == CALL_RUNS && c.lease.cold);
    done(&c, false);
    CHECK(teardown());
}

TEST(a_full_queue_and_a_late_one_are_refused_and_each_is_told_once)
{
    static struct call calls[4];
    setup();
    struct revision *r = revision("f", 1);
    r->container_concurrency = 1;
    r->max_scale = 1;
    r->queue_depth = 2;
    deploy(r, false);
    pass(SECOND);
    for (int k = 0; k < 4; k++)
        ask(&calls[k], HOST, (k == 2 ? 1 : 30) * SECOND);
    settle();
    CHECK_EQ(calls[0].state, CALL_RUNS);
    CHECK(calls[3].state == CALL_REFUSED && calls[3].result == TICKET_FULL);
    CHECK(calls[3].retry_after_s >= 1 && b.limits_hit == 1);
    pass(2 * SECOND);
    CHECK(calls[2].state == CALL_REFUSED && calls[2].result == TICKET_LATE);
    done(&calls[0], true);
    settle();
    CHECK_EQ(calls[1].state, CALL_RUNS);
    CHECK(calls[1].lease.fd_reused && !calls[1].lease.cold);
    done(&calls[1], true);
    CHECK(teardown());
}

static struct revision *one_at_a_time(void)
{
    struct revision *r = revision("f", 1);
    r->container_concurrency = 1;
    r->target = 1;
    r->max_scale = 1;
    return r;
}
static void serve(struct call *c, uint64_t us) /* it has its slot */
{
    sim_us += us;
    settle();
    done(c, true);
    settle();
}
/* So that it is known how long a request takes. */
static void learn(uint64_t us)
{
    for (int k = 0; k < ADMIT_SAMPLES_MIN; k++) {
        struct call c;
        ask(&c, HOST, 300 * SECOND);
        settle();
        serve(&c, us);
    }
}

TEST(who_cannot_be_answered_by_its_deadline_is_told_at_once_and_keeps_nobody_waiting)
{
    struct call c[4];
    setup();
    deploy(one_at_a_time(), false);
    settle();
    learn(SECOND);
    ask(&c[0], HOST, 300 * SECOND);
    ask(&c[1], HOST, 2 * SECOND + SECOND / 2); /* half a turn, and its own; there is some doubt */
    ask(&c[2], HOST, 2 * SECOND);              /* a turn and a half, and its own */
    ask(&c[3], HOST, 20 * SECOND);
    settle();
    CHECK(c[2].state == CALL_REFUSED && c[2].result == TICKET_NO_TIME);
    CHECK(c[0].state == CALL_RUNS && c[1].state == CALL_WAITS && c[3].state == CALL_WAITS);
    serve(&c[0], 2 * SECOND); /* slower than it was */
    CHECK(c[1].state == CALL_REFUSED && c[1].result == TICKET_NO_TIME); /* half a second is not enough */
    CHECK_EQ(c[1].retry_after_s, 1);
    CHECK_EQ(c[3].state, CALL_RUNS); /* its turn came all the same */
    serve(&c[3], SECOND);
    CHECK(teardown());
}

TEST(an_overload_is_cut_to_what_can_be_answered_and_ends_with_its_queue)
{
    static struct call c[300];
    struct call *running = &c[0];
    size_t asked = 0, next = 0, refused = 0, at_once = 0;
    setup();
    deploy(one_at_a_time(), false);
    settle();
    learn(SECOND / 10);
    for (; asked < 250; asked++) { /* fifty a second, and it does ten */
        ask(&c[asked], HOST, 300 * SECOND);
        settle();
        at_once += c[asked].state == CALL_REFUSED;
        if (asked % 5 != 4) {
            sim_us += SECOND / 50;
            continue;
        }
        serve(running, SECOND / 50);
        for (next = 0; next < asked && c[next].state != CALL_RUNS; next++)
            ;
        running = &c[next];
    }
    CHECK_EQ(running->state, CALL_RUNS);
    CHECK(sim_us - running->t.arrival_us <= SECOND * 7 / 10); /* the queue is half a second long */
    CHECK(at_once > 120);
    CHECK(b.limits_hit > 120);
    for (size_t k = 0; k < asked; k++) {
        refused += c[k].state == CALL_REFUSED;
        CHECK(c[k].state != CALL_REFUSED || c[k].result == TICKET_OVERLOAD);
    }
    CHECK(refused > at_once + 20); /* those who had waited longest when it began */
    while (running->state == CALL_RUNS) {
        serve(running, SECOND / 10);
        for (size_t k = 0; k < asked; k++)
            if (c[k].state == CALL_RUNS)
                running = &c[k];
    }
    for (; asked < 300; asked++) { /* nobody waited any more: nobody is refused */
        ask(&c[asked], HOST, 300 * SECOND);
        settle();
        CHECK_EQ(c[asked].state, CALL_RUNS);
        serve(&c[asked], SECOND / 10);
    }
    CHECK(teardown());
}

TEST(a_request_without_a_deadline_waits_for_queue_wait_ms_and_no_longer)
{
    struct call runs, waits;
    setup();
    struct revision *r = revision("f", 1);
    r->container_concurrency = 1;
    r->max_scale = 1;
    deploy(r, false);
    settle();
    ask(&runs, HOST, UINT64_MAX - sim_us);
    ask(&waits, HOST, UINT64_MAX - sim_us);
    settle();
    CHECK_EQ(runs.state, CALL_RUNS);
    pass(b.limits.queue_wait_ms * 1000 - SECOND);
    CHECK_EQ(waits.state, CALL_WAITS);
    pass(2 * SECOND);
    CHECK(waits.state == CALL_REFUSED && waits.result == TICKET_LATE);
    CHECK_EQ(runs.state, CALL_RUNS);
    done(&runs, true);
    CHECK(teardown());
}

TEST(no_request_reaches_an_instance_before_its_artifacts_are_verified)
{
    struct call c;
    setup();
    struct revision *r = revision("f", 1);
    r->initial_scale = 0;
    deploy(r, false);
    origin.mode = FETCH_UNVERIFIED;
    ask(&c, HOST, 60 * SECOND);
    pass(SECOND);
    CHECK(iso.starts == 1 && origin.unverified && c.state == CALL_WAITS);
    loop_defer(b.loop, &origin.unverified->task);
    settle();
    CHECK_EQ(c.state, CALL_RUNS);
    done(&c, true);
    CHECK(teardown());
}

TEST(no_more_starts_run_at_once_than_starts_max)
{
    static struct call calls[10];
    setup();
    b.limits.starts_max = 3;
    struct revision *r = revision("f", 1);
    r->initial_scale = 0;
    r->container_concurrency = 1;
    r->target = 1;
    r->max_scale = 10;
    deploy(r, false);
    origin.mode = FETCH_HANGS;
    for (size_t k = 0; k < COUNT_OF(calls); k++)
        ask(&calls[k], HOST, 60 * SECOND);
    settle();
    CHECK_EQ(origin.uses, 3); /* who waits for its turn has not asked for its image */
    CHECK(b.limits_hit > 0);
    fleet_remove_service(b.fleet, "default", "f");
    settle();
    for (size_t k = 0; k < COUNT_OF(calls); k++)
        CHECK_EQ(calls[k].state, CALL_REFUSED);
    CHECK(teardown());
}

TEST(a_busy_instance_is_not_stopped_while_an_idle_one_is_there)
{
    struct call busy, brief, next;
    char id[64];
    setup();
    struct revision *r = revision("f", 1);
    r->container_concurrency = 1;
    r->target = 1;
    r->max_scale = 2;
    deploy(r, false);
    settle();
    ask(&busy, HOST, 600 * SECOND);
    ask(&brief, HOST, 600 * SECOND);
    pass(SECOND);
    CHECK(busy.state == CALL_RUNS && brief.state == CALL_RUNS && iso.starts == 2);
    snprintf(id, sizeof id, "%s", busy.lease.instance_id);
    done(&brief, true);
    pass(200 * SECOND); /* one is too many now */
    CHECK_EQ(b.facts.actual, 1);
    done(&busy, true);
    ask(&next, HOST, SECOND);
    settle();
    CHECK(next.state == CALL_RUNS && iso.starts == 2);
    CHECK_STR(next.lease.instance_id, id);
    done(&next, true);
    CHECK(teardown());
}

TEST(a_cancelled_ticket_is_never_told_in_any_state)
{
    struct call a, queued, due;
    setup();
    struct revision *r = revision("f", 1);
    r->container_concurrency = 1;
    r->max_scale = 1;
    deploy(r, false);
    settle();
    ask(&due, HOST, SECOND); /* granted, to be told at the end of the turn */
    b.backend->ops->cancel(b.backend, &due.t);
    ask(&a, HOST, SECOND);
    ask(&queued, HOST, SECOND);
    b.backend->ops->cancel(b.backend, &queued.t);
    settle();
    CHECK(due.state == CALL_WAITS && queued.state == CALL_WAITS && a.state == CALL_RUNS);
    done(&a, true);
    pass(3 * SECOND);
    CHECK(due.state == CALL_WAITS && queued.state == CALL_WAITS);
    CHECK(teardown());
}

TEST(a_start_that_fails_tells_the_waiting_at_once_and_pauses)
{
    struct call c, again;
    setup();
    iso.mode = RUN_EXITS;
    struct revision *r = revision("f", 1);
    r->initial_scale = 0;
    deploy(r, false);
    ask(&c, HOST, 60 * SECOND);
    settle();
    CHECK(c.state == CALL_REFUSED && c.result == TICKET_FAILED && c.t.cold);
    CHECK(b.facts.failing && b.facts.exit_status == 3 && b.facts.failed_phase == PHASE_RUNTIME_INIT);
    CHECK(strstr(b.facts.message, "status 3"));
    int starts = iso.starts;
    ask(&again, HOST, 60 * SECOND);
    settle();
    CHECK(again.state == CALL_REFUSED && again.result == TICKET_FAILED && !again.t.cold); /* within the pause: it waited for none */
    CHECK_EQ(iso.starts, starts);
    iso.mode = RUN_OK;
    pass(SECOND);
    ask(&again, HOST, 60 * SECOND);
    settle();
    CHECK_EQ(again.state, CALL_RUNS);
    CHECK(!b.facts.failing);
    done(&again, true);
    CHECK(teardown());
}

TEST(what_cannot_get_better_is_not_tried_again_until_somebody_asks)
{
    setup();
    origin.mode = FETCH_FAILS;
    origin.retryable = false;
    deploy(revision("f", 1), false);
    pass(100 * SECOND);
    CHECK_EQ(b.starts_seen, 1);
    CHECK(b.facts.failing && b.facts.failed_phase == PHASE_IMAGE_PULL && !b.facts.ready_once);
    struct call c;
    ask(&c, HOST, SECOND);
    settle();
    CHECK_EQ(b.starts_seen, 2);
    CHECK(c.state == CALL_REFUSED && c.result == TICKET_FAILED);
    origin.retryable = true;
    pass(100 * SECOND);
    ask(&c, HOST, SECOND);
    settle();
    pass(300 * SECOND);
    CHECK(b.starts_seen > 6 && b.starts_seen < 30); /* tried again, ever more slowly */
    CHECK(teardown());
}

#define TAKES_A_KEY "{\"container\":\"c\",\"env\":[{\"name\":\"A\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"m\",\"key\":\"k\"}}}]}"

TEST(what_lacks_a_config_map_is_told_so_and_starts_when_it_comes)
{
    struct call c;
    setup();
    struct revision *r = revision("f", 1);
    r->config = TAKES_A_KEY;
    b.limits.start_backoff_ms = 60000;
    deploy(r, false);
    settle();
    CHECK(b.facts.failing && b.facts.retryable && iso.starts == 0 && origin.made == 0); /* before any fetch */
    CHECK_STR(b.facts.config_reason, CONFIG_ENV);
    CHECK_STR(b.facts.message, "configmap \"m\" not found");
    ask(&c, HOST, SECOND);
    settle();
    CHECK_EQ(c.state, CALL_REFUSED);
    CHECK_EQ(c.result, TICKET_FAILED);

    config_map = "{\"data\":{\"other\":\"x\"}}";
    fleet_config_changed(b.fleet, "another");
    settle();
    CHECK_STR(b.facts.message, "configmap \"m\" not found"); /* another namespace's is nothing to it */
    fleet_config_changed(b.fleet, "default");
    settle();
    CHECK_STR(b.facts.message, "couldn't find key k in ConfigMap default/m");
    config_map = "{\"data\":{\"k\":\"v\"}}";
    fleet_config_changed(b.fleet, NULL); /* some, nobody knows which */
    settle();
    CHECK(!b.facts.failing && b.facts.ready_once && iso.starts == 1);
    CHECK(!b.facts.config_reason);
    ask(&c, HOST, SECOND);
    settle();
    CHECK_EQ(c.state, CALL_RUNS);
    done(&c, false);
    CHECK(teardown());
}

TEST(a_start_that_waited_for_a_fetch_takes_what_its_config_map_says_by_then)
{
    setup();
    struct revision *r = revision("f", 1);
    r->config = TAKES_A_KEY;
    config_map = "{\"data\":{\"k\":\"old\"}}";
    origin.mode = FETCH_HANGS;
    config_asked = 0;
    deploy(r, false);
    pass(5 * SECOND);
    config_map = "{\"data\":{\"k\":\"new\"}}";
    origin.mode = FETCH_OK;
    loop_defer(b.loop, &origin.all[0]->task);
    settle();
    CHECK(b.facts.ready_once);
    CHECK_STR(iso.says, "A=new");
    CHECK_EQ(config_asked, 2);
    CHECK(teardown());

    setup();
    r = revision("f", 1);
    r->config = TAKES_A_KEY;
    config_map = "{\"data\":{\"k\":\"old\"}}";
    config_asked = 0;
    deploy(r, false);
    settle();
    CHECK_STR(iso.says, "A=old");
    CHECK_EQ(config_asked, 1); /* one that found all here read it once */
    CHECK(teardown());
}

TEST(a_config_map_that_comes_after_the_progress_deadline_is_not_too_late)
{
    setup();
    struct revision *r = revision("f", 1);
    r->config = TAKES_A_KEY;
    r->progress_deadline_us = 10 * SECOND;
    deploy(r, false);
    pass(120 * SECOND);
    CHECK(b.facts.failing && b.facts.config_reason && iso.starts == 0);
    pass(60 * SECOND);
    config_map = "{\"data\":{\"k\":\"v\"}}";
    pass(60 * SECOND);
    CHECK_EQ(iso.starts, 0); /* nobody told it */
    fleet_config_changed(b.fleet, "default");
    settle();
    CHECK(b.facts.ready_once && !b.facts.failing && iso.starts == 1);
    CHECK(teardown());
}

TEST(an_instance_that_dies_with_requests_on_it_goes_when_they_let_go)
{
    struct call c;
    setup();
    struct revision *r = revision("f", 1);
    r->min_scale = 1;
    deploy(r, false);
    settle();
    ask(&c, HOST, SECOND);
    settle();
    CHECK_EQ(c.state, CALL_RUNS);
    CHECK_EQ(iso.starts, 1);
    tier_kill(CONTAINER_OF(list_first(&iso.all), struct sandbox, node));
    settle();
    CHECK_EQ(iso.starts, 2); /* min-scale: replaced at once */
    CHECK_EQ(iso.open, 2);
    done(&c, false);
    settle();
    CHECK_EQ(iso.open, 1);
    CHECK(teardown());
}

TEST(a_request_may_be_over_between_an_instances_end_and_its_telling)
{
    struct call c;
    setup();
    struct revision *r = revision("f", 1);
    r->min_scale = 1;
    deploy(r, false);
    settle();
    ask(&c, HOST, SECOND);
    settle();
    CHECK_EQ(c.state, CALL_RUNS);
    sb_ended(&CONTAINER_OF(list_first(&iso.all), struct sandbox, node)->ended);
    done(&c, false); /* in the same turn: the connection broke as well */
    settle();
    CHECK(iso.starts == 2 && iso.open == 1);
    CHECK(teardown());
}

TEST(a_request_that_an_instance_does_not_accept_moves_to_the_next_once)
{
    struct call first, a, c;
    setup();
    struct revision *r = revision("f", 1);
    r->min_scale = 1;
    deploy(r, false);
    pass(SECOND);
    ask(&first, HOST, SECOND); /* takes the probe's connection with it */
    settle();
    done(&first, false);
    CHECK_EQ(iso.starts, 1);

    iso.deaf = 1;
    ask(&a, HOST, 30 * SECOND);
    pass(SECOND);
    CHECK_EQ(iso.starts, 2);
    CHECK_EQ(iso.open, 1); /* the deaf one has gone */
    CHECK_EQ(a.state, CALL_RUNS);
    done(&a, false);

    iso.deaf = 1;
    origin.mode = FETCH_HANGS; /* the next one does not come */
    ask(&c, HOST, 30 * SECOND);
    pass(SECOND);
    CHECK_EQ(c.state, CALL_WAITS);
    b.backend->ops->cancel(b.backend, &c.t); /* in the queue for the second time */
    pass(SECOND);
    CHECK_EQ(c.state, CALL_WAITS);
    CHECK(teardown());
}

/* ---- functions of HTTP/2: one connection for all ---------------------------------------------- */

enum { SHARED = 5 };

static void shared_setup(uint64_t max_scale)
{
    setup();
    struct revision *r = revision("f", 1);
    r->protocol = PORT_H2C;
    r->min_scale = 1;
    r->max_scale = (uint32_t)max_scale;
    deploy(r, false);
    pass(SECOND);
}
/* How many of them have a connection; -1: not all of them run. */
static int with_connection(const struct call *calls)
{
    int count = 0;
    for (int i = 0; i < SHARED; i++) {
        if (calls[i].state != CALL_RUNS)
            return -1;
        count += calls[i].lease.fd >= 0;
    }
    return count;
}

static void broke(struct call *c) /* what the gateway does when the instance drops the connection */
{
    ASSERT(c->state == CALL_RUNS);
    close(c->lease.fd);
    c->state = CALL_DONE;
    b.backend->ops->release(b.backend, &c->lease, -1, false);
}
static struct revision *one_each(uint32_t instances)
{
    struct revision *r = revision("f", 1);
    r->container_concurrency = 10;
    r->target = 7;
    r->min_scale = r->initial_scale = r->max_scale = instances;
    return r;
}

TEST(an_instance_that_broke_a_connection_gets_no_request_until_it_took_a_new_one)
{
    struct call first, c[4];
    setup();
    deploy(one_each(2), false);
    settle();
    ask(&first, HOST, 60 * SECOND);
    settle();
    const void *doubted = first.lease.instance;
    broke(&first);
    for (int k = 0; k < 4; k++) {
        ask(&c[k], HOST, 60 * SECOND);
        settle();
        CHECK(c[k].state == CALL_RUNS && c[k].lease.instance != doubted);
    }
    pass(40000); /* it takes connections; the other is still the better one, busy as it is */
    ask(&first, HOST, 60 * SECOND);
    settle();
    CHECK(first.lease.instance != doubted);
    done(&first, false);
    pass(300000); /* its function dropped that request only */
    ask(&first, HOST, 60 * SECOND);
    settle();
    CHECK(first.lease.instance == doubted);
    done(&first, false);
    for (int k = 0; k < 4; k++)
        done(&c[k], false);
    CHECK(teardown());
}

TEST(the_only_instance_is_waited_for_while_it_is_doubted_and_replaced_when_it_is_dead)
{
    for (int dead = 0; dead < 2; dead++) {
        struct call first, next;
        setup();
        deploy(one_each(1), false);
        settle();
        ask(&first, HOST, 60 * SECOND);
        settle();
        const void *doubted = first.lease.instance;
        broke(&first);
        ask(&next, HOST, 60 * SECOND);
        settle();
        CHECK_EQ(next.state, CALL_WAITS);
        iso.deaf = dead;
        pass(140000);
        CHECK_EQ(next.state, CALL_RUNS);
        CHECK_EQ(iso.starts, 1 + dead);
        CHECK(dead || next.lease.instance == doubted);
        done(&next, false);
        CHECK(teardown());
    }
}

TEST(a_port_that_takes_a_connection_and_drops_it_is_doubted_until_doubt_ms)
{
    struct call first, next;
    setup();
    deploy(one_each(1), false);
    settle();
    ask(&first, HOST, 60 * SECOND);
    settle();
    broke(&first);
    ask(&next, HOST, 60 * SECOND);
    b.drops = true;
    pass(100000);
    CHECK_EQ(next.state, CALL_WAITS);
    pass(200000);
    CHECK_EQ(next.state, CALL_RUNS);
    CHECK_EQ(iso.starts, 1);
    done(&next, false);
    CHECK(teardown());
}

static void retry(struct call *c)
{
    close(c->lease.fd);
    c->state = CALL_WAITS;
    b.backend->ops->retry(b.backend, &c->t, &c->lease);
}

TEST(a_request_that_may_be_repeated_goes_to_another_instance_but_not_all_of_them)
{
    struct call c;
    int again = 0, refused = 0;
    setup();
    deploy(one_each(2), false);
    settle();
    for (int k = 0; k < 100; k++) {
        ask(&c, HOST, 60 * SECOND);
        settle();
        const void *broken = c.lease.instance;
        retry(&c);
        settle();
        CHECK(c.state == CALL_REFUSED || c.lease.instance != broken);
        refused += c.state == CALL_REFUSED;
        again += c.state == CALL_RUNS;
        CHECK(c.state == CALL_RUNS || c.result == TICKET_FAILED);
        if (c.state == CALL_RUNS)
            done(&c, false);
        pass(300000);
    }
    CHECK(again >= RETRY_SAVED_MAX && again <= RETRY_SAVED_MAX + 100 / RETRY_PART);
    CHECK_EQ(again + refused, 100);
    CHECK(teardown());
}

TEST(a_second_try_may_be_cancelled_and_its_instance_may_end)
{
    struct call c[2];
    setup();
    deploy(one_each(1), false);
    settle();
    for (int k = 0; k < 2; k++)
        ask(&c[k], HOST, 60 * SECOND);
    settle();
    retry(&c[0]);
    retry(&c[1]);
    settle();
    CHECK(c[0].state == CALL_WAITS && c[1].state == CALL_WAITS); /* it is doubted */
    b.backend->ops->cancel(b.backend, &c[0].t);
    tier_kill(CONTAINER_OF(list_first(&iso.all), struct sandbox, node)); /* and with reason */
    settle();
    CHECK(c[0].state == CALL_WAITS && c[1].state == CALL_RUNS);
    CHECK_EQ(iso.starts, 2);
    done(&c[1], true);
    CHECK(teardown());
}

TEST(an_instance_that_is_mute_twice_is_given_up_and_one_that_was_mute_long_ago_is_not)
{
    for (int soon = 0; soon < 2; soon++) {
        struct call c;
        setup();
        deploy(one_each(1), false);
        settle();
        ask(&c, HOST, 3000 * SECOND);
        settle();
        char id[INSTANCE_ID];
        snprintf(id, sizeof id, "%s", c.lease.instance_id);
        b.backend->ops->mute(b.backend, "nobody");
        b.backend->ops->mute(b.backend, id);
        settle();
        CHECK_EQ(fleet_totals(b.fleet).ready, 1);
        pass(soon ? 60 * SECOND : 601 * SECOND);
        b.backend->ops->mute(b.backend, id);
        settle();
        CHECK_EQ(iso.starts, 1 + soon);
        done(&c, false);
        settle();
        ask(&c, HOST, 3000 * SECOND);
        pass(SECOND);
        CHECK_EQ(c.state, CALL_RUNS);
        CHECK_EQ(strcmp(c.lease.instance_id, id) != 0, soon);
        done(&c, false);
        CHECK(teardown());
    }
}

TEST(requests_of_an_h2c_function_get_one_connection_the_first_of_them_first)
{
    struct call calls[SHARED];
    shared_setup(1);
    for (int i = 0; i < SHARED; i++)
        ask(&calls[i], HOST, SECOND);
    settle();
    CHECK_EQ(with_connection(calls), 1);
    CHECK(calls[0].lease.fd >= 0);
    /* Two find it broken: one new one. */
    b.backend->ops->reconnect(b.backend, &calls[1].t, &calls[1].lease);
    b.backend->ops->reconnect(b.backend, &calls[2].t, &calls[2].lease);
    calls[1].state = calls[2].state = CALL_WAITS;
    settle();
    CHECK_EQ(with_connection(calls), 2);
    CHECK(calls[1].lease.fd >= 0);
    for (int i = 0; i < SHARED; i++)
        done(&calls[i], false);
    CHECK_EQ(fleet_totals(b.fleet).running, 0);
    CHECK(teardown());
}

TEST(who_waits_for_anothers_connection_is_served_though_that_one_gives_up)
{
    struct call calls[SHARED], first, second;
    shared_setup(1);
    iso.sockets = SOCKETS_LATE;
    ask(&first, HOST, SECOND);
    for (int i = 0; i < SHARED; i++)
        ask(&calls[i], HOST, SECOND);
    b.backend->ops->cancel(b.backend, &first.t);
    settle();
    CHECK_EQ(with_connection(calls), 1);
    for (int i = 0; i < SHARED; i++)
        done(&calls[i], false);

    ask(&second, HOST, SECOND);
    settle();
    b.backend->ops->reconnect(b.backend, &second.t, &second.lease);
    second.state = CALL_WAITS;
    ask(&calls[0], HOST, SECOND);
    b.backend->ops->cancel(b.backend, &second.t);
    settle();
    CHECK_EQ(calls[0].state, CALL_RUNS);
    CHECK(calls[0].lease.fd >= 0);
    done(&calls[0], false);
    CHECK_EQ(fleet_totals(b.fleet).running, 0);
    CHECK(teardown());
}

TEST(when_the_shared_connection_cannot_be_made_nobody_is_forgotten)
{
    struct call calls[SHARED];
    shared_setup(1);
    iso.sockets = SOCKETS_NONE;
    for (int i = 0; i < SHARED; i++)
        ask(&calls[i], HOST, 5 * SECOND);
    settle();
    iso.sockets = SOCKETS_READY; /* the next instance is fine */
    pass(3 * SECOND);
    CHECK_EQ(with_connection(calls), 1);
    CHECK_EQ(iso.starts, 2);
    for (int i = 0; i < SHARED; i++)
        done(&calls[i], false);
    CHECK_EQ(fleet_totals(b.fleet).running, 0);
    CHECK(teardown());
}

TEST(a_connection_cancelled_on_its_way_is_closed_and_the_next_request_gets_another)
{
    struct call a, c;
    shared_setup(1);
    ask(&a, HOST, SECOND);
    b.backend->ops->cancel(b.backend, &a.t); /* it is due, with the connection */
    ask(&c, HOST, SECOND);
    settle();
    CHECK_EQ(c.state, CALL_RUNS);
    CHECK(c.lease.fd >= 0);
    done(&c, false);
    CHECK(teardown());
}

TEST(a_dropped_revision_serves_who_is_with_it_and_is_forgotten)
{
    struct call runs, waits, next;
    setup();
    struct revision *r = revision("f", 1);
    r->min_scale = 2;
    r->max_scale = 2;
    r->container_concurrency = 1;
    deploy(r, false);
    settle();
    ask(&runs, HOST, SECOND);
    ask(&next, HOST, SECOND);
    ask(&waits, HOST, 10 * SECOND); /* in the queue of the first */
    settle();
    CHECK(runs.state == CALL_RUNS && next.state == CALL_RUNS && waits.state == CALL_WAITS);
    fleet_add(b.fleet, revision("f", 2), false);
    settle();
    CHECK_STR(name_of(routed(HOST)), "f-00001"); /* ready, and asked for by nobody */
    lead("f", 2);
    fleet_drop(b.fleet, "default", "f", "f-00001");
    settle();
    CHECK_STR(name_of(routed(HOST)), "f-00002");
    CHECK_STR(fleet_serving(b.fleet, "default", "f")->name, "f-00002");
    CHECK(waits.state == CALL_WAITS);
    done(&next, true);
    settle();
    CHECK_EQ(waits.state, CALL_RUNS);
    CHECK_STR(name_of(waits.t.revision), "f-00001");
    done(&waits, true);
    done(&runs, true);
    pass(SECOND);
    CHECK_EQ(fleet_totals(b.fleet).revisions, 1); /* min-scale holds nobody who is not reached */
    CHECK_EQ(fleet_totals(b.fleet).ready, 1);
    CHECK(!b.first.active && b.first.ready_once && b.first.actual == 0); /* the last word of the first */
    CHECK(teardown());
}

TEST(a_dropped_revision_that_still_drains_can_be_had_back)
{
    struct call c;
    setup();
    deploy(revision("f", 1), false);
    settle();
    ask(&c, HOST, SECOND);
    settle();
    fleet_add(b.fleet, revision("f", 2), false);
    settle();
    lead("f", 2);
    fleet_drop(b.fleet, "default", "f", "f-00001");
    settle();
    CHECK_EQ(fleet_totals(b.fleet).revisions, 2);
    deploy(revision("f", 1), true); /* a rollback, while it has its request */
    settle();
    CHECK_EQ(iso.starts, 2);
    CHECK_STR(name_of(routed(HOST)), "f-00001");
    done(&c, true);
    pass(5 * SECOND);
    CHECK_EQ(fleet_totals(b.fleet).revisions, 2);
    ask(&c, HOST, SECOND);
    settle();
    CHECK_EQ(c.state, CALL_RUNS);
    done(&c, true);
    CHECK(teardown());
}

TEST(requests_are_shared_by_weight_and_tags_lead_where_they_say)
{
    int seen[3] = { 0 };
    setup();
    fleet_add(b.fleet, revision("f", 1), true);
    fleet_add(b.fleet, revision("f", 2), true);
    struct route_table *t = table("f", 3);
    share(t, 0, "", 1, 9000);
    share(t, 0, "", 2, 1000);
    share(t, 1, "blue", 1, ROUTE_WEIGHT_ALL);
    share(t, 2, "green", 2, ROUTE_WEIGHT_ALL);
    table_set(t);
    for (int k = 0; k < 10000; k++) {
        const char *name = name_of(routed(HOST));
        seen[strcmp(name, "f-00001") == 0 ? 1 : strcmp(name, "f-00002") == 0 ? 2 : 0]++;
    }
    CHECK_EQ(seen[0], 0);
    CHECK(seen[2] > 850 && seen[2] < 1150); /* five standard deviations */
    for (int k = 0; k < 100; k++) {
        CHECK_STR(name_of(routed("green-f.default.localhost")), "f-00002");
        CHECK_STR(name_of(routed("blue-f.default.svc.cluster.local")), "f-00001");
        CHECK_STR(name_of(routed_as(HOST, "green", true)), "f-00002");
        CHECK_STR(name_of(routed_as("green-f.default.localhost", "blue", true)), "f-00002");
    }
    CHECK(routed("red-f.default.localhost") == NULL);
    CHECK(routed_as(HOST, "red", true) != NULL); /* as if it said nothing */
    CHECK(way.tag.size == 0 && way.default_route);
    CHECK(routed_as(HOST, "green", true) && str_is(way.tag, "green") && !way.default_route);
    CHECK(routed_as("green-f.default.localhost", "", true) && str_is(way.tag, "green"));
    b.limits.feature_tag_header = 0;
    CHECK_STR(name_of(routed_as("green-f.default.localhost", "", true)), "f-00002");
    CHECK(way.tag.size == 0 && !way.default_route); /* nobody is told where no header chooses */
    int others = 0;
    for (int k = 0; k < 100; k++)
        others += strcmp(name_of(routed_as(HOST, "green", true)), "f-00001") == 0;
    CHECK(others > 50); /* by weight, whatever the header says */
    b.limits.feature_tag_header = 1;
    CHECK_STR(fleet_serving(b.fleet, "default", "f")->name, "f-00001");
    fleet_route_remove(b.fleet, "default", "f");
    CHECK(routed(HOST) == NULL && routed("green-f.default.localhost") == NULL);
    CHECK(teardown());
}

TEST(a_route_that_is_nobodys_names_revisions_of_several_services)
{
    setup();
    fleet_add(b.fleet, revision("f", 1), true);
    fleet_add(b.fleet, revision("g", 1), true);
    struct route_table *t = table("r", 2);
    share(t, 0, "", 1, ROUTE_WEIGHT_ALL / 2);
    share(t, 0, "", 2, ROUTE_WEIGHT_ALL / 2);
    share(t, 1, "only", 1, ROUTE_WEIGHT_ALL);
    snprintf(t->hosts[0].shares[0].revision, OBJECT_NAME_MAX, "f-00001");
    snprintf(t->hosts[0].shares[1].revision, OBJECT_NAME_MAX, "g-00001");
    snprintf(t->hosts[1].shares[0].revision, OBJECT_NAME_MAX, "g-00001");
    table_set(t);
    int seen[2] = { 0 };
    for (int k = 0; k < 200; k++)
        seen[name_of(routed("r.default.localhost"))[0] == 'g']++;
    CHECK(seen[0] > 50 && seen[1] > 50);
    CHECK_STR(name_of(routed("only-r.default.localhost")), "g-00001");
    CHECK(routed("g.default.localhost") == NULL); /* it has no route of its own */
    fleet_check(b.fleet);
    fleet_remove_service(b.fleet, "default", "g");
    settle();
    for (int k = 0; k < 20; k++)
        CHECK_STR(name_of(routed("r.default.localhost")), "f-00001");
    CHECK(routed("only-r.default.localhost") == NULL);
    fleet_route_remove(b.fleet, "default", "r");
    CHECK(routed("r.default.localhost") == NULL);
    lead("f", 1);
    CHECK(routed(HOST) != NULL);
    CHECK(teardown());
}

TEST(a_domain_leads_where_its_route_does_whenever_that_comes)
{
    setup();
    fleet_domain_set(b.fleet, "api.example.com", "default", "f");
    fleet_domain_set(b.fleet, "other.example.com", "default", "none");
    CHECK(routed("api.example.com") == NULL);
    deploy(revision("f", 1), true);
    CHECK_STR(name_of(routed_as("api.example.com", "", false)), "f-00001");
    CHECK(routed("other.example.com") == NULL && routed("example.com") == NULL);
    fleet_domain_set(b.fleet, "other.example.com", "default", "f");
    CHECK(routed("other.example.com") != NULL);
    fleet_domain_remove(b.fleet, "api.example.com");
    fleet_domain_remove(b.fleet, "api.example.com");
    CHECK(routed("api.example.com") == NULL && routed(HOST) != NULL);
    CHECK(teardown());
}

TEST(a_private_service_has_no_public_name_and_no_distant_client)
{
    setup();
    fleet_add(b.fleet, revision("f", 1), true);
    struct route_table *t = table("f", 1);
    share(t, 0, "", 1, ROUTE_WEIGHT_ALL);
    t->cluster_local = true;
    table_set(t);
    CHECK(routed(HOST) == NULL);
    CHECK(routed("f.default.svc.cluster.local") != NULL);
    CHECK(routed_as("f.default.svc.cluster.local", "", false) == NULL);
    lead("f", 1); /* public again */
    CHECK(routed_as("f.default.svc.cluster.local", "", false) != NULL);
    CHECK(routed_as(HOST, "", false) != NULL);
    CHECK(teardown());
}

TEST(a_service_keeps_its_name_against_a_tag_of_another)
{
    setup();
    fleet_add(b.fleet, revision("f", 1), true);
    struct route_table *t = table("f", 2);
    share(t, 0, "", 1, ROUTE_WEIGHT_ALL);
    share(t, 1, "a", 1, ROUTE_WEIGHT_ALL);
    table_set(t);
    CHECK_STR(name_of(routed("a-f.default.localhost")), "f-00001");
    deploy(revision("a-f", 1), true);
    CHECK_STR(name_of(routed("a-f.default.localhost")), "a-f-00001");
    t = table("f", 2);
    share(t, 0, "", 1, ROUTE_WEIGHT_ALL);
    share(t, 1, "a", 1, ROUTE_WEIGHT_ALL);
    table_set(t);
    CHECK_STR(name_of(routed("a-f.default.localhost")), "a-f-00001");
    fleet_remove_service(b.fleet, "default", "f");
    settle();
    CHECK_STR(name_of(routed("a-f.default.localhost")), "a-f-00001");
    CHECK(teardown());
}

TEST(a_tag_is_reached_again_when_the_service_of_its_name_is_gone)
{
    setup();
    fleet_add(b.fleet, revision("f", 1), true);
    struct route_table *t = table("f", 2);
    share(t, 0, "", 1, ROUTE_WEIGHT_ALL);
    share(t, 1, "a", 1, ROUTE_WEIGHT_ALL);
    table_set(t);
    deploy(revision("a-f", 1), true);
    CHECK_STR(name_of(routed("a-f.default.localhost")), "a-f-00001");
    fleet_remove_service(b.fleet, "default", "a-f");
    settle();
    CHECK_STR(name_of(routed("a-f.default.localhost")), "f-00001");
    CHECK_STR(name_of(routed_as("a-f.default.svc.cluster.local", "", true)), "f-00001");
    CHECK(teardown());
}

TEST(a_deleted_service_refuses_the_waiting_and_outlives_the_running)
{
    struct call runs, waits;
    setup();
    struct revision *r = revision("f", 1);
    r->container_concurrency = 1;
    r->max_scale = 1;
    deploy(r, false);
    settle();
    ask(&runs, HOST, SECOND);
    ask(&waits, HOST, SECOND);
    settle();
    fleet_remove_service(b.fleet, "default", "f");
    settle();
    CHECK(waits.state == CALL_REFUSED && waits.result == TICKET_FAILED);
    CHECK(routed(HOST) == NULL);
    CHECK_EQ(iso.open, 1);
    done(&runs, true);
    settle();
    CHECK_EQ(iso.open, 0);
    CHECK_EQ(fleet_live(b.fleet), 0);
    CHECK(teardown());
}

TEST(what_a_reference_became_first_is_what_every_later_start_asks_for)
{
    static const struct revision_mount mounts[] = {
        { .volume = "s", .path = "/s" },
        { .volume = "w", .path = "/w", .is_model = true, .reference = "file:///w", .digest = "" },
    };
    struct call c;
    setup();
    struct revision *r = revision("f", 1);
    r->mounts = mounts;
    r->mount_count = COUNT_OF(mounts);
    iso.mode = RUN_EXITS; /* it never gets ready: known is known all the same */
    origin.has = "sha256:first";
    deploy(r, false);
    CHECK_STR(b.model, "");
    settle();
    CHECK_STR(b.model, "sha256:first");
    CHECK_STR(b.image, "sha256:first");
    CHECK_STR(origin.asked[0], "");
    iso.mode = RUN_OK;
    origin.has = "sha256:second"; /* somebody changed the file */
    pass(2 * SECOND);
    ask(&c, HOST, 60 * SECOND);
    settle();
    CHECK_EQ(c.state, CALL_RUNS);
    CHECK_STR(origin.asked[0], "sha256:first");
    CHECK_STR(origin.asked[1], "sha256:first");
    CHECK_STR(b.model, "sha256:first");
    done(&c, true);
    CHECK(teardown());
}

TEST(an_origin_that_changes_between_two_first_readers_gives_both_the_same)
{
    setup();
    struct revision *r = revision("f", 1);
    r->initial_scale = r->min_scale = 2;
    origin.mode = FETCH_HANGS;
    deploy(r, false);
    settle();
    CHECK_EQ(fleet_totals(b.fleet).starting, 2);
    for (int k = 0; k < 2; k++) {
        origin.mode = FETCH_OK;
        origin.has = k ? "sha256:second" : "sha256:first";
        use_run(&origin.all[k]->task);
    }
    CHECK_STR(b.image, "sha256:first");
    CHECK_EQ(fleet_totals(b.fleet).starting, 1); /* the second reader failed, and is tried again */
    pass(2 * SECOND);
    CHECK_EQ(fleet_totals(b.fleet).ready, 2);
    CHECK_STR(b.image, "sha256:first");
    CHECK(teardown());
}

/* The launcher may die at any moment, and the node ends at once, whatever still drains. */
TEST(a_deleted_service_that_still_drains_goes_with_the_fleet)
{
    struct revision *r;
    for (int instances = 0; instances < 2; instances++) {
        setup();
        origin.mode = FETCH_HANGS;
        r = revision("waits", 1); /* its lease is on an artifact that never comes */
        r->initial_scale = (uint32_t)instances;
        deploy(r, false);
        settle();
        origin.mode = FETCH_OK;
        r = revision("f", 1);
        r->initial_scale = (uint32_t)instances;
        deploy(r, false);
        settle();
        CHECK_EQ(origin.uses, 2 * instances);
        fleet_remove_service(b.fleet, "default", "waits");
        fleet_remove_service(b.fleet, "default", "f");
        fleet_free(b.fleet);
        CHECK_EQ(iso.open, 0);
        CHECK_EQ(origin.uses, 0);
        loop_free(b.loop);
        close(b.listen_fd);
    }
}

TEST(a_full_node_makes_room_by_stopping_what_is_idle_longest)
{
    struct call c;
    setup();
    b.limits.instances_max = 2;
    deploy(revision("old", 1), false);
    settle();
    pass(SECOND);
    deploy(revision("new", 1), false);
    settle();
    struct revision *r = revision("f", 1);
    r->initial_scale = 0;
    deploy(r, false);
    ask(&c, HOST, 5 * SECOND);
    pass(SECOND);
    CHECK_EQ(c.state, CALL_RUNS);
    struct fleet_totals t;
    CHECK(fleet_service_totals(b.fleet, "default", "old", &t) && t.ready == 0);
    CHECK(fleet_service_totals(b.fleet, "default", "new", &t) && t.ready == 1);
    done(&c, true);
    CHECK(teardown());
}

/* A min-scale that no node has room for made a loop of a thousand looks a second. */
TEST(a_full_node_is_not_asked_all_the_time)
{
    struct call c;
    setup();
    b.limits.instances_max = 2;
    struct revision *r = revision("greedy", 1);
    r->min_scale = 10000;
    deploy(r, false);
    settle();
    pass(SECOND);
    CHECK_EQ(fleet_live(b.fleet), 2);
    int before = b.limits_hit;
    for (int ms = 0; ms < 3000; ms++) {
        sim_us += 1000;
        settle();
    }
    CHECK(b.limits_hit > before);
    CHECK(b.limits_hit - before <= 10);
    /* and yet, who waits with nothing gets room */
    r = revision("f", 1);
    r->initial_scale = 0;
    deploy(r, false);
    ask(&c, HOST, 5 * SECOND);
    for (int ms = 0; ms < 50; ms++) {
        sim_us += 1000;
        settle();
    }
    CHECK_EQ(c.state, CALL_RUNS);
    done(&c, true);
    CHECK(teardown());
}

TEST(a_min_scale_and_a_burst_give_way_to_a_neighbours_first_instance)
{
    struct call c, busy[2];
    struct fleet_totals t;
    setup();
    b.limits.instances_max = 2;
    struct revision *r = revision("greedy", 1);
    r->min_scale = 10000;
    deploy(r, false);
    pass(SECOND);
    CHECK_EQ(fleet_live(b.fleet), 2);
    r = revision("f", 1);
    r->initial_scale = 0;
    r->container_concurrency = 1;
    r->target = r->total = 1;
    r->window_us = 6 * SECOND;
    deploy(r, false);
    ask(&c, HOST, 5 * SECOND);
    pass(SECOND);
    CHECK_EQ(c.state, CALL_RUNS);
    CHECK(fleet_service_totals(b.fleet, "default", "greedy", &t) && t.ready == 1); /* never its last */
    done(&c, false);

    /* A busy one ends what it has first: nothing is cut. */
    fleet_remove_service(b.fleet, "default", "greedy");
    pass(60 * SECOND);
    for (int i = 0; i < 2; i++)
        ask(&busy[i], HOST, 60 * SECOND);
    pass(SECOND);
    CHECK(busy[0].state == CALL_RUNS && busy[1].state == CALL_RUNS);
    deploy(revision("small", 1), true);
    ask(&c, "small.default.localhost", 60 * SECOND);
    pass(SECOND);
    CHECK_EQ(c.state, CALL_WAITS);
    CHECK(fleet_service_totals(b.fleet, "default", "f", &t) && t.ready == 1 && t.running == 2);
    done(&busy[0], false);
    done(&busy[1], false);
    pass(SECOND);
    CHECK_EQ(c.state, CALL_RUNS);
    done(&c, false);
    CHECK(teardown());
}

TEST(a_burst_does_not_take_what_is_for_first_instances)
{
    enum { CALLS = 60 };
    static struct call burst[CALLS];
    struct call c;
    setup();
    b.limits.instances_max = 10;
    b.limits.instances_first_percent = 20;
    struct revision *r = revision("f", 1);
    r->container_concurrency = 1;
    r->target = r->total = 1;
    deploy(r, false);
    pass(SECOND);
    for (int i = 0; i < CALLS; i++)
        ask(&burst[i], HOST, 600 * SECOND);
    pass(SECOND);
    CHECK_EQ(fleet_live(b.fleet), 8);
    deploy(revision("small", 1), true);
    ask(&c, "small.default.localhost", 60 * SECOND);
    pass(SECOND / 10); /* nobody had to end for it */
    CHECK_EQ(c.state, CALL_RUNS);
    CHECK_EQ(fleet_live(b.fleet), 9);
    done(&c, false);
    for (int left = CALLS; left > 0;)
        for (int i = 0; i < CALLS; i++, pass(1000))
            if (burst[i].state == CALL_RUNS)
                done(&burst[i], false), left--;
    CHECK(teardown());
}

/* Steady load of `level` requests at once for a while: each is replaced when it ends, as clients do. */
static void load(struct call *calls, size_t level, uint64_t us)
{
    for (uint64_t end = sim_us + us; sim_us < end;) {
        for (size_t k = 0; k < level; k++) {
            if (calls[k].state == CALL_RUNS)
                done(&calls[k], true);
            if (calls[k].state != CALL_WAITS)
                ask(&calls[k], HOST, 60 * SECOND);
        }
        settle();
        sim_us += SECOND / 4;
        settle();
    }
}
static void load_ends(struct call *calls, size_t count)
{
    for (size_t k = 0; k < count; k++)
        if (calls[k].state == CALL_RUNS)
            done(&calls[k], true);
    settle();
}

TEST(load_that_nobody_queues_for_is_a_panic_at_the_next_tick)
{
    static struct call calls[40];
    memset(calls, 0, sizeof calls);
    setup();
    struct revision *r = revision("f", 1); /* containerConcurrency 0: one instance takes them all */
    r->total = 10;
    r->target = 7;
    deploy(r, false);
    pass(20 * SECOND);
    CHECK_EQ(fleet_totals(b.fleet).ready, 1);
    load(calls, 35, 9 * SECOND);
    CHECK_EQ(fleet_totals(b.fleet).ready, 5);
    const struct kpa_decision *d = kpa_last(fleet_autoscaler(b.fleet, "default", "f"));
    CHECK(d->panicking && d->activity == KPA_ACTIVE);
    CHECK_EQ(b.facts.desired, 5);
    load(calls, 35, 120 * SECOND);
    CHECK_EQ(fleet_totals(b.fleet).ready, 5);
    CHECK(!kpa_last(fleet_autoscaler(b.fleet, "default", "f"))->panicking);
    load_ends(calls, 40);
    CHECK(teardown());
}

/* Knative takes any: a request on it is cut when its grace is over, and the client sees 502. */
TEST(idle_ones_go_first_and_a_busy_one_ends_its_request)
{
    static struct call calls[40];
    struct call held[2];
    memset(calls, 0, sizeof calls);
    setup();
    struct revision *r = revision("f", 1);
    r->total = r->target = 2;
    r->container_concurrency = 2;
    r->window_us = 6 * SECOND;
    r->panic_window_s = 1;
    deploy(r, false);
    pass(SECOND);
    load(calls, 8, 10 * SECOND);
    CHECK_EQ(fleet_totals(b.fleet).ready, 4);
    load_ends(calls, 8);
    ask(&held[0], HOST, 300 * SECOND);
    settle();
    ask(&held[1], HOST, 300 * SECOND);
    settle();
    CHECK(held[0].state == CALL_RUNS && held[1].state == CALL_RUNS);
    CHECK(held[0].lease.instance != held[1].lease.instance);
    const struct instance *first = held[0].lease.instance, *second = held[1].lease.instance;
    for (int s = 0; s < 12 && fleet_totals(b.fleet).ready > 2; s++)
        pass(SECOND);
    CHECK_EQ(fleet_totals(b.fleet).ready, 2); /* those without a request have gone */
    CHECK(first->state == INSTANCE_READY && second->state == INSTANCE_READY);
    pass(10 * SECOND); /* two requests need one instance: one gets no more, and keeps what it has */
    CHECK_EQ(fleet_totals(b.fleet).ready, 1);
    CHECK((first->state == INSTANCE_DRAINING) != (second->state == INSTANCE_DRAINING));
    CHECK_EQ(iso.open, 2);
    CHECK(held[0].state == CALL_RUNS && held[1].state == CALL_RUNS);
    done(&held[0], true);
    done(&held[1], true);
    settle();
    CHECK_EQ(iso.open, 1);
    CHECK(teardown());
}

TEST(a_thousand_functions_at_zero_set_no_timer)
{
    static char names[1000][8];
    struct err e;
    setup();
    for (int k = 0; k < 1000; k++) {
        snprintf(names[k], sizeof names[k], "z%d", k);
        struct revision *r = revision(names[k], 1);
        r->initial_scale = 0;
        deploy(r, false);
    }
    settle();
    CHECK(loop_turn(b.loop, true, &e) >= 0);
    CHECK(sim_due_us == UINT64_MAX);
    CHECK(teardown());
}

TEST(a_start_that_never_comes_is_given_up_and_said_so)
{
    struct call c;
    setup();
    struct revision *r = revision("f", 1);
    r->initial_scale = 0;
    r->window_us = 6 * SECOND;
    r->progress_deadline_us = 20 * SECOND;
    deploy(r, false);
    settle();
    CHECK(!b.facts.active && !b.facts.timed_out);
    origin.mode = FETCH_HANGS;
    ask(&c, HOST, SECOND);
    settle();
    CHECK(b.facts.active && b.facts.activating && b.facts.desired == 1);
    pass(40 * SECOND); /* the request has been refused long ago */
    CHECK(c.state == CALL_REFUSED && c.result == TICKET_LATE);
    CHECK_EQ(fleet_totals(b.fleet).starting, 1);
    pass(13 * SECOND);
    CHECK_EQ(fleet_totals(b.fleet).starting, 0);
    CHECK(!b.facts.active && b.facts.timed_out);
    CHECK(teardown());
}

/* Everything at random; fleet_check() runs after every turn. */
/* Each step of bringing an instance up, and of reaching it, fails once: whoever waits is told once (on_turn
 * asserts that), nothing stays behind, and the next request finds an instance. */
TEST(whatever_fails_while_instances_start_everybody_is_told_and_the_next_is_served)
{
    static struct call calls[5];
    struct call next;
    int nth = 0, refused = 0;
    for (bool fired = true; fired;) {
        int before = fds_open();
        CHECK(++nth < 60);
        setup();
        struct revision *r = revision("f", 1);
        r->initial_scale = 0;
        r->container_concurrency = 2;
        r->target = 2;
        r->max_scale = 3;
        deploy(r, false);
        fault_arm(nth);
        for (size_t k = 0; k < COUNT_OF(calls); k++)
            ask(&calls[k], HOST, 60 * SECOND);
        pass(SECOND);
        fired = fault_fired();
        fault_arm(0);
        pass(10 * SECOND);
        for (size_t k = 0; k < COUNT_OF(calls); k++) {
            CHECK(calls[k].state == CALL_RUNS || (fired && calls[k].state == CALL_REFUSED));
            refused += calls[k].state == CALL_REFUSED;
            if (calls[k].state == CALL_RUNS)
                done(&calls[k], k % 2);
        }
        pass(SECOND);
        ask(&next, HOST, 60 * SECOND);
        pass(SECOND);
        CHECK_EQ(next.state, CALL_RUNS);
        done(&next, true);
        CHECK(teardown());
        CHECK_EQ(fds_open(), before);
    }
    CHECK(nth > 10);
    CHECK(refused < nth); /* mostly somebody else takes over */
}

/* The newest and perhaps another share the requests, a tag names a third; the others are dropped. */
static void random_routes(struct rng *r, uint64_t live[8], size_t *count)
{
    if (*count == 0)
        return;
    uint64_t newest = live[*count - 1], other = live[rng_below(r, *count)];
    uint64_t third = live[rng_below(r, *count)];
    uint32_t weight = (uint32_t)rng_below(r, ROUTE_WEIGHT_ALL - 1) + 1;
    struct route_table *t = table("f", 2);
    share(t, 0, "", newest, other == newest ? ROUTE_WEIGHT_ALL : weight);
    if (other != newest)
        share(t, 0, "", other, ROUTE_WEIGHT_ALL - weight);
    share(t, 1, "tag", third, ROUTE_WEIGHT_ALL);
    table_set(t);
    size_t kept = 0;
    for (size_t k = 0; k < *count; k++) {
        char name[80];
        snprintf(name, sizeof name, "f-%05d", (int)live[k]);
        if (live[k] == newest || live[k] == other || live[k] == third)
            live[kept++] = live[k];
        else
            fleet_drop(b.fleet, "default", "f", name);
    }
    *count = kept;
}

TEST(random_lives_keep_the_invariants)
{
    static struct call calls[60];
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct rng r = { seed };
        setup();
        b.limits.instances_max = 3 + rng_below(&r, 6);
        b.limits.starts_max = 1 + rng_below(&r, 3);
        memset(calls, 0, sizeof calls);
        uint64_t generation = 0, live[8];
        size_t live_count = 0;
        for (int step = 0; step < 400; step++) {
            struct call *c = &calls[rng_below(&r, COUNT_OF(calls))];
            bool here = routed(HOST) != NULL;
            uint64_t dice = rng_below(&r, 100);
            if (dice < 3 || !here) {
                struct revision *v = revision("f", ++generation);
                v->container_concurrency = (uint32_t)rng_below(&r, 3);
                v->target = v->container_concurrency ? v->container_concurrency : 2;
                v->max_scale = (uint32_t)rng_below(&r, 5);
                v->min_scale = v->max_scale ? (uint32_t)rng_below(&r, v->max_scale) : 0;
                v->queue_depth = (uint32_t)rng_below(&r, 20);
                v->window_us = 6 * SECOND;
                fleet_add(b.fleet, v, rng_chance(&r, 20));
                live[live_count++] = generation;
                random_routes(&r, live, &live_count);
            } else if (dice < 4) {
                fleet_remove_service(b.fleet, "default", "f");
                live_count = 0;
            } else if (dice < 7) {
                random_routes(&r, live, &live_count);
            } else if (dice < 50 && c->state != CALL_WAITS && c->state != CALL_RUNS) {
                ask(c, HOST, rng_below(&r, 5 * SECOND));
            } else if (dice < 60 && c->state == CALL_RUNS) {
                done(c, rng_chance(&r, 70));
            } else if (dice < 65 && c->state == CALL_RUNS) {
                broke(c);
            } else if (dice < 70 && c->state == CALL_RUNS) {
                retry(c);
            } else if (dice < 75 && c->state == CALL_WAITS) {
                b.backend->ops->cancel(b.backend, &c->t);
                c->state = CALL_DONE;
            } else if (dice < 80 && list_first(&iso.all)) {
                struct sandbox *sb = CONTAINER_OF(list_first(&iso.all), struct sandbox, node);
                tier_kill(sb);
            } else if (dice < 85) {
                origin.mode = (enum fetch_mode)rng_below(&r, 3);
                origin.retryable = rng_chance(&r, 50);
                iso.mode = (enum run_mode)rng_below(&r, 2);
            } else {
                sim_us += rng_below(&r, 3 * SECOND);
            }
            if (rng_chance(&r, 70))
                settle();
        }
        origin.mode = FETCH_OK;
        iso.mode = RUN_OK;
        pass(200 * SECOND);
        for (size_t k = 0; k < COUNT_OF(calls); k++) {
            if (calls[k].state == CALL_WAITS)
                FAIL("seed %" PRIu64 ": call %zu waits for ever", seed, k);
            if (calls[k].state == CALL_RUNS)
                done(&calls[k], true);
        }
        if (!teardown())
            FAIL("seed %" PRIu64 ": something was left behind", seed);
    }
}

/* ---- probes ------------------------------------------------------------------------------------- */

/* A second port, which a probe looks at: listening again after a while on the same number. */
static int probe_port_open(uint16_t *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(*port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof a;
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ASSERT(bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 4096) == 0);
    getsockname(fd, (struct sockaddr *)&a, &size);
    *port = ntohs(a.sin_port);
    return fd;
}

TEST(an_instance_that_turns_not_ready_keeps_its_requests_and_gets_no_new_ones)
{
    struct call runs, waits;
    uint16_t port = 0;
    setup();
    int fd = probe_port_open(&port);
    struct revision *r = revision("f", 1);
    r->min_scale = r->max_scale = 1;
    r->readiness = (struct probe){ .port = port, .period_s = 1, .timeout_s = 1, .failure_threshold = 2 };
    deploy(r, false);
    pass(SECOND);
    CHECK_EQ(b.facts.actual, 1);
    ask(&runs, HOST, SECOND);
    settle();
    CHECK_EQ(runs.state, CALL_RUNS);

    close(fd);
    pass(SECOND); /* one failure is not two */
    CHECK_EQ(b.facts.actual, 1);
    pass(2 * SECOND);
    CHECK_EQ(b.facts.actual, 0);
    CHECK(b.facts.active && b.facts.starting == 1);
    CHECK_EQ(iso.open, 1);
    ask(&waits, HOST, SECOND);
    pass(2 * SECOND);
    CHECK(waits.state == CALL_REFUSED && waits.result == TICKET_LATE);
    CHECK(strstr(waits.why, "(0 ready, 1 not ready, 0 starting)")); /* as `hob ps` counts it */
    ask(&waits, HOST, 60 * SECOND);
    pass(SECOND);
    CHECK_EQ(waits.state, CALL_WAITS);
    CHECK_EQ(runs.state, CALL_RUNS);
    done(&runs, true);
    pass(SECOND);
    CHECK_EQ(waits.state, CALL_WAITS); /* though there is a slot, and a connection */
    CHECK_EQ(iso.starts, 1);           /* max-scale counts it */

    fd = probe_port_open(&port);
    pass(2 * SECOND);
    CHECK_EQ(b.facts.actual, 1);
    CHECK_EQ(waits.state, CALL_RUNS);
    done(&waits, true);
    close(fd);
    CHECK(teardown());
}

TEST(a_failed_liveness_probe_ends_the_instance_and_brings_another)
{
    struct call runs;
    uint16_t port = 0;
    setup();
    int fd = probe_port_open(&port);
    struct revision *r = revision("f", 1);
    const struct probe liveness = { .port = port, .period_s = 1, .timeout_s = 1, .failure_threshold = 2 };
    r->min_scale = 1;
    r->liveness = &liveness;
    deploy(r, false);
    pass(SECOND);
    ask(&runs, HOST, SECOND);
    settle();
    CHECK_EQ(runs.state, CALL_RUNS);
    close(fd);
    iso.stubborn = true;
    for (int k = 0; k < 40 && iso.starts == 1; k++)
        pass(SECOND / 10);
    CHECK_EQ(iso.starts, 2); /* while the old one still ends */
    const struct instance *old = runs.lease.instance;
    CHECK_EQ(old->state, INSTANCE_DRAINING);
    CHECK(old->given_up && strstr(old->start.error, "Liveness probe failed: "));
    fd = probe_port_open(&port);
    settle();
    pass(b.limits.drain_ms * 1000 + SECOND);
    CHECK_EQ(old->state, INSTANCE_ENDED); /* SIGKILL, whatever is on it */
    CHECK_EQ(iso.open, 2);                /* a request holds its address */
    done(&runs, false);
    pass(5 * SECOND);
    CHECK_EQ(iso.starts, 2);
    CHECK_EQ(iso.open, 1);
    CHECK_EQ(b.facts.actual, 1);
    close(fd);
    CHECK(teardown());
}

TEST(a_failed_startup_probe_fails_the_start_with_its_reason)
{
    uint16_t port = 0;
    setup();
    close(probe_port_open(&port)); /* nobody listens there */
    struct revision *r = revision("f", 1);
    const struct probe startup = { .port = port, .period_s = 2, .timeout_s = 1, .failure_threshold = 3 };
    r->startup = &startup;
    deploy(r, false);
    pass(5 * SECOND);
    CHECK(!b.facts.failing);
    pass(2 * SECOND);
    CHECK(b.facts.failing && b.facts.retryable);
    CHECK_EQ(b.facts.failed_phase, PHASE_RUNTIME_INIT);
    CHECK(strstr(b.facts.message, "Startup probe failed: nothing accepts connections on port"));
    CHECK(teardown());
}

TEST(readiness_waits_for_the_startup_probe)
{
    uint16_t port = 0;
    setup();
    close(probe_port_open(&port));
    struct revision *r = revision("f", 1);
    const struct probe startup = { .port = port, .period_s = 10, .timeout_s = 1, .failure_threshold = 30 };
    r->startup = &startup;
    b.limits.start_ms = 5000; /* its own patience is longer */
    deploy(r, false);
    pass(60 * SECOND);
    CHECK_EQ(b.facts.actual, 0);
    CHECK(!b.facts.failing);
    int fd = probe_port_open(&port);
    pass(SECOND); /* not at the next tick: at once */
    CHECK_EQ(b.facts.actual, 1);
    close(fd);
    CHECK(teardown());
}

TEST(a_revision_that_is_late_without_a_failure_says_where_it_hangs)
{
    setup();
    struct revision *r = revision("f", 1);
    r->progress_deadline_us = 10 * SECOND;
    origin.mode = FETCH_HANGS;
    fleet_add(b.fleet, r, false);
    pass(4 * SECOND);
    CHECK_STR(b.facts.message, "");
    pass(5 * SECOND);
    CHECK(strstr(b.facts.message, ": image_pull for 5 s: its image is not here yet"));
    for (int k = 0; k < 4; k++)
        pass(SECOND);
    CHECK(!b.facts.failing);
    CHECK(strstr(b.facts.message, ": image_pull for 9 s: its image is not here yet"));
    fleet_drop(b.fleet, "default", "f", "f-00001"); /* for being late: what was said stays the reason */
    pass(SECOND);
    CHECK(strstr(b.facts.message, ": image_pull for 9 s: its image is not here yet"));
    CHECK(teardown());
}

TEST(a_first_start_that_hangs_says_on_which_port_nothing_listens_and_not_too_often)
{
    uint16_t port = 0;
    char want[80];
    setup();
    close(probe_port_open(&port));
    struct revision *r = revision("f", 1);
    r->port = port;
    deploy(r, false);
    pass(4 * SECOND);
    CHECK_STR(b.facts.message, "");
    b.messages = 0;
    for (int k = 0; k < 60; k++) {
        pass(SECOND);
        fleet_tell(routed("f.default.localhost")); /* other news come in between: the text waits for its time */
    }
    CHECK(!b.facts.failing);
    snprintf(want, sizeof want, " s: nothing accepts connections on port %u yet", port);
    CHECK(strstr(b.facts.message, ": runtime_init for "));
    CHECK(strstr(b.facts.message, want));
    CHECK(b.messages >= 5 && b.messages <= 6); /* at 5 s and every 10 s after it */
    int fd = probe_port_open(&port);
    pass(SECOND);
    CHECK_EQ(b.facts.actual, 1);
    CHECK_STR(b.facts.message, "");
    close(fd);
    CHECK(teardown());
}

/* ---- task queues ------------------------------------------------------------------------------ */

static struct served { /* who serves the port inside; of the first two instances since work_setup() */
    struct instance *instance;
    int fd;
    bool draining, gone;
} served[8];
static uint32_t served_count;
static void *on_served(void *ctx, struct instance *i, int take_fd)
{
    (void)ctx;
    ASSERT(served_count < COUNT_OF(served));
    served[served_count] = (struct served){ .instance = i, .fd = take_fd };
    return &served[served_count++];
}
static void on_draining(void *ctx, void *s)
{
    (void)ctx;
    ((struct served *)s)->draining = true;
}
static void on_gone(void *ctx, void *s)
{
    (void)ctx;
    struct served *v = s;
    ASSERT(!v->gone);
    v->gone = true;
    close(v->fd);
}
static const struct fleet_servers servers = { on_served, on_draining, on_gone };

static void work(const char *revision, uint32_t waiting, bool unattended)
{
    const struct fleet_work w = { .waiting = waiting, .unattended = unattended,
                                  .first = { .queue = "q", .workflow = "order-7", .waited_us = SECOND } };
    fleet_work(b.fleet, "default", "f", revision, &w);
}
static struct revision *bound_to_a_queue(uint64_t generation)
{
    struct revision *r = revision("f", generation);
    r->task_queue = "q";
    r->task_namespace = "default";
    r->unprobed = r->ready_on_poll = true;
    return r;
}
/* A worker that has been at zero. */
static void work_setup(void)
{
    setup();
    fleet_serve(b.fleet, &servers, NULL);
    served_count = 0;
    deploy(bound_to_a_queue(1), true);
    settle();
    ASSERT(fleet_live(b.fleet) == 0);
}

TEST(a_task_that_nobody_takes_starts_a_worker_and_its_first_poll_makes_it_ready)
{
    work_setup();
    work("f-00001", 1, false); /* somebody else's worker polls */
    pass(3 * SECOND);
    CHECK_EQ(iso.starts, 0);
    work("f-00001", 1, true);
    settle();
    CHECK(iso.starts == 1 && served_count == 1);
    pass(5 * SECOND);
    CHECK_EQ(fleet_totals(b.fleet).ready, 0);
    const struct start_record *s = &served[0].instance->start;
    CHECK_STR(s->task.workflow, "order-7");
    CHECK(s->task.waited_us >= SECOND && s->phases[PHASE_QUEUE].outcome == PHASE_OPEN);
    instance_polled(served[0].instance);
    settle();
    CHECK_EQ(fleet_totals(b.fleet).ready, 1);
    fleet_task_begin(b.fleet, served[0].instance);
    CHECK(s->phases[PHASE_QUEUE].outcome == PHASE_DONE && s->phases[PHASE_READY].outcome == PHASE_DONE);
    work("f-00001", 0, false);
    pass(100 * SECOND); /* at work: it stays */
    CHECK_EQ(fleet_totals(b.fleet).ready, 1);
    fleet_task_end(b.fleet, served[0].instance);
    pass(59 * SECOND);
    CHECK_EQ(fleet_totals(b.fleet).ready, 1);
    pass(3 * SECOND);
    CHECK(fleet_live(b.fleet) == 0 && served[0].draining && served[0].gone);
    CHECK(teardown());
}

TEST(a_worker_that_drains_ends_its_tasks_before_it_is_told_to_end)
{
    work_setup();
    work("f-00001", 1, true);
    settle();
    instance_polled(served[0].instance);
    fleet_task_begin(b.fleet, served[0].instance);
    work("f-00001", 0, false);
    settle();
    CHECK(fleet_stop_instance(b.fleet, served[0].instance->id));
    pass(20 * SECOND);
    CHECK(served[0].draining && !served[0].gone);
    fleet_task_end(b.fleet, served[0].instance);
    settle();
    CHECK(served[0].gone);
    CHECK(teardown());
}

TEST(a_worker_that_dies_takes_its_tasks_along)
{
    work_setup();
    work("f-00001", 1, true);
    settle();
    instance_polled(served[0].instance);
    fleet_task_begin(b.fleet, served[0].instance);
    fleet_task_begin(b.fleet, served[0].instance);
    work("f-00001", 0, false);
    settle();
    loop_defer(iso.loop, &CONTAINER_OF(list_first(&iso.all), struct sandbox, node)->ended);
    settle();
    CHECK(served[0].gone && fleet_totals(b.fleet).running == 0);
    CHECK_EQ(served_count, 2); /* within the window it has a successor */
    CHECK(!served[1].instance->start.task.workflow[0]);
    pass(100 * SECOND); /* which never polls */
    CHECK_EQ(fleet_totals(b.fleet).ready, 0);
    CHECK(teardown());
}

TEST(workflows_at_hand_hold_an_idle_worker_for_one_more_window)
{
    work_setup();
    work("f-00001", 1, true);
    settle();
    instance_polled(served[0].instance);
    fleet_task_begin(b.fleet, served[0].instance);
    work("f-00001", 0, false);
    fleet_cached(b.fleet, served[0].instance, 3);
    settle();
    fleet_task_end(b.fleet, served[0].instance);
    pass(118 * SECOND);
    CHECK_EQ(fleet_totals(b.fleet).ready, 1);
    pass(5 * SECOND);
    CHECK_EQ(fleet_live(b.fleet), 0);
    CHECK(teardown());
}

TEST(what_waits_is_for_the_revision_that_gets_the_requests)
{
    work_setup();
    fleet_add(b.fleet, bound_to_a_queue(2), true);
    settle();
    work("f-00002", 1, true);
    pass(3 * SECOND);
    CHECK_EQ(iso.starts, 0);
    lead("f", 2);
    settle();
    CHECK_EQ(iso.starts, 1);
    CHECK_STR(served[0].instance->revision->name, "f-00002");
    CHECK(teardown());
}

TEST(more_tasks_than_the_target_bring_more_workers)
{
    work_setup();
    work("f-00001", 1, true);
    settle();
    instance_polled(served[0].instance);
    settle();
    work("f-00001", 100, false); /* of 70 each, and it is busy */
    settle();
    CHECK_EQ(iso.starts, 1); /* a moment's backlog is not one */
    pass(20 * SECOND);
    CHECK_EQ(iso.starts, 2);
    CHECK(teardown());
}

TEST(a_worker_without_port_refuses_requests_and_is_not_started_by_them)
{
    struct call c;
    work_setup();
    ask(&c, HOST, SECOND);
    settle();
    CHECK(c.state == CALL_REFUSED && c.result == TICKET_FAILED && iso.starts == 0);
    CHECK(strstr(c.why, "works on task queue q and has no port"));
    CHECK(teardown());
}

TEST_MAIN()
