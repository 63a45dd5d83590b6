#include "gateway/accept.h"
#include "gateway/mux.h"
#include "os/fault.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    ACCEPTS_PER_TURN = 64,
    SURPLUS_MAX = 64,         /* told that there are too many; more are just closed */
    ACCEPT_RETRY_US = 100000, /* after descriptors or memory ran out */
    OWN_FIELDS_MAX = 32,      /* that a head has more than it came with */
};

_Static_assert((int)PROBLEM_KINDS < (int)INGRESS_REFUSALS_MAX,
               "refusals are counted by problem kind");

static const char *const limit_names[INGRESS_LIMIT_COUNT] = {
#define X(name) #name,
    INGRESS_LIMITS(X)
#undef X
};

const char *ingress_limit_name(enum ingress_limit l)
{
    ASSERT((unsigned)l < INGRESS_LIMIT_COUNT);
    return limit_names[l];
}

const char *ingress_refusal_name(size_t index)
{
    return index < PROBLEM_KINDS ? problem_name((enum problem_kind)index) : NULL;
}

const struct ingress_counters *ingress_counters(const struct ingress *in) { return &in->counters; }

/* A parser's refusal names the limit that was reached, for people; this is for the counter. */
void ingress_count_limit(struct ingress *in, const char *text)
{
    for (unsigned i = 0; i < INGRESS_LIMIT_COUNT; i++)
        if (strstr(text, limit_names[i]))
            in->counters.limits[i]++;
}

/* ---- what every request needs ------------------------------------------------------------- */

static void entropy_take(struct ingress *in, void *into, size_t size)
{
    if (in->entropy_used + size > sizeof in->entropy) {
        for (size_t got = 0; got < sizeof in->entropy;) {
            ssize_t n = getrandom(in->entropy + got, sizeof in->entropy - got, 0);
            ASSERT(n > 0 || errno == EINTR); /* cannot fail for valid arguments */
            got += n > 0 ? (size_t)n : 0;
        }
        in->entropy_used = 0;
    }
    memcpy(into, in->entropy + in->entropy_used, size);
    in->entropy_used += size;
}

struct uuid ingress_new_id(struct ingress *in, int64_t wall_ms)
{
    uint8_t random[10];
    entropy_take(in, random, sizeof random);
    return uuid_v7_next(&in->id_clock, wall_ms, random);
}

uint64_t ingress_random(struct ingress *in)
{
    uint64_t random;
    entropy_take(in, &random, sizeof random);
    return random;
}

struct str ingress_date(struct ingress *in, int64_t wall_ms)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t s = (time_t)(wall_ms / 1000);
    struct tm t;
    if (in->date_s != s) { /* not strftime: its names follow the locale */
        ASSERT(gmtime_r(&s, &t));
        snprintf(in->date, sizeof in->date, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                 days + 3 * t.tm_wday, t.tm_mday, months + 3 * t.tm_mon, (t.tm_year + 1900) % 10000,
                 t.tm_hour, t.tm_min, t.tm_sec);
        in->date_s = s;
    }
    return str_of(in->date);
}

/* ---- accepting ---------------------------------------------------------------------------- */

static void address_format(const struct sockaddr_storage *sa, char *into, size_t size)
{
    const struct sockaddr_in *v4 = (const void *)sa;
    const struct sockaddr_in6 *v6 = (const void *)sa;
    const char *text = NULL;
    if (sa->ss_family == AF_INET)
        text = inet_ntop(AF_INET, &v4->sin_addr, into, (socklen_t)size);
    else if (sa->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        text = inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, into, (socklen_t)size);
    else if (sa->ss_family == AF_INET6)
        text = inet_ntop(AF_INET6, &v6->sin6_addr, into, (socklen_t)size);
    if (!text)
        snprintf(into, size, "unknown"); /* as RFC 7239 calls it */
}

static void accepted(struct ingress *in, int take_fd, const struct sockaddr_storage *sa)
{
    char address[48];
    const int one = 1;
    bool surplus = in->counters.connections_open >= in->limits->connections_max;
    in->counters.connections++;
    in->counters.limits[INGRESS_LIMIT_connections_max] += surplus;
    if (surplus && in->surplus_open >= SURPLUS_MAX) {
        (void)close(take_fd);
        return;
    }
    if (sa->ss_family != AF_UNIX)
        (void)setsockopt(take_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    address_format(sa, address, sizeof address);
    client_open(in, take_fd, address, surplus);
}

void ingress_adopt(struct ingress *in, int take_fd)
{
    in->counters.connections++;
    client_adopt(in, take_fd);
}

bool ingress_has_attempt(const struct ingress *in, const char *instance, const struct uuid *id, uint32_t attempt)
{
    LIST_EACH(&in->attempts, n, tmp) {
        const struct exchange *x = &CONTAINER_OF(n, struct client, inner_node)->x;
        if (x->leased && x->attempt == attempt && memcmp(&x->attempt_of, id, sizeof *id) == 0 &&
            strcmp(x->lease.instance_id, instance) == 0)
            return true;
    }
    return false;
}

static void accept_pause(struct ingress *in)
{
    loop_unwatch(in->loop, &in->io);
    loop_after(in->loop, &in->retry, ACCEPT_RETRY_US);
}

static void on_acceptable(struct loop_io *io, uint32_t events)
{
    struct ingress *in = CONTAINER_OF(io, struct ingress, io);
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage sa = { .ss_family = AF_UNIX };
        socklen_t size = sizeof sa;
        int fd = fault_hit("accept") ? -1
                                     : accept4(in->listen_fd, (struct sockaddr *)&sa, &size,
                                               SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accepted(in, fd, &sa);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            accept_pause(in);
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static void on_retry(struct loop_timer *t)
{
    struct ingress *in = CONTAINER_OF(t, struct ingress, retry);
    struct err e;
    if (loop_watch(in->loop, &in->io, in->listen_fd, EPOLLIN, &e) < 0)
        loop_after(in->loop, &in->retry, ACCEPT_RETRY_US);
}

/* ---- life --------------------------------------------------------------------------------- */

int ingress_open(struct loop *l, const struct limits *limits, int listen_fd, struct backend *b,
                 struct ingress **ret, struct err *e)
{
    AUTO(ingress) struct ingress *in = xcalloc(1, sizeof *in);
    in->loop = l;
    in->limits = limits;
    in->backend = b;
    in->listen_fd = listen_fd;
    in->room = limits->http_stream_buffer_bytes / 2;
    in->entropy_used = sizeof in->entropy;
    in->date_s = -1;
    list_init(&in->clients);
    list_init(&in->pool);
    list_init(&in->attempts);
    list_init(&in->client_muxes);
    list_init(&in->function_muxes);
    in->head_limits = *limits;
    in->head_limits.http_head_bytes_max = client_out_bytes_max(in);
    in->head_limits.http_line_bytes_max = client_out_bytes_max(in);
    in->head_limits.http_fields_max = limits->http_fields_max + OWN_FIELDS_MAX;
    in->io.on_ready = on_acceptable;
    in->retry.on_due = on_retry;
    int r = loop_watch(l, &in->io, listen_fd, EPOLLIN, e);
    if (r < 0)
        return err_wrap(e, "gateway");
    *ret = TAKE(in);
    return 0;
}

void ingress_desk_set(struct ingress *in, struct desk *d) { in->desk = d; }
void ingress_notes_set(struct ingress *in, enum ingress_notes which) { in->notes = which; }

void ingress_stop(struct ingress *in)
{
    in->stopping = true;
    loop_unwatch(in->loop, &in->io);
    loop_cancel(in->loop, &in->retry);
    LIST_EACH(&in->clients, n, tmp) {
        struct client *c = CONTAINER_OF(n, struct client, node);
        if (c->state == CLIENT_HEAD)
            client_step(c); /* ends it, unless a head has begun to arrive */
        else if (c->state == CLIENT_KEPT)
            accept_stop(c);
    }
    LIST_EACH(&in->client_muxes, n, tmp)
        mux_stop(mux_of(n));
    LIST_EACH(&in->function_muxes, n, tmp)
        mux_stop(mux_of(n));
}

bool ingress_idle(const struct ingress *in)
{
    LIST_EACH(&in->clients, n, tmp) {
        const struct client *c = CONTAINER_OF(n, struct client, node);
        if (c->state != CLIENT_LINGER && (c->state != CLIENT_HEAD || c->net.in.size > 0))
            return false;
    }
    LIST_EACH(&in->client_muxes, n, tmp)
        if (!mux_idle(mux_of(n)))
            return false;
    return true;
}

static void muxes_free(struct list *muxes)
{
    for (struct list_node *n; (n = list_first(muxes)) != NULL;)
        mux_free(mux_of(n));
}

static void client_drop(struct client *c)
{
    if (c->state == CLIENT_HEAD || c->state == CLIENT_LINGER)
        (void)client_dead(c);
    else
        (void)exchange_gone(c);
    client_free(c);
}

void ingress_free(struct ingress *in)
{
    if (!in)
        return;
    loop_unwatch(in->loop, &in->io);
    loop_cancel(in->loop, &in->retry);
    LIST_EACH(&in->clients, n, tmp)
        client_drop(CONTAINER_OF(n, struct client, node));
    for (struct list_node *n; (n = list_first(&in->pool)) != NULL;) {
        list_remove(&in->pool, n);
        client_free(CONTAINER_OF(n, struct client, node));
    }
    muxes_free(&in->client_muxes);
    muxes_free(&in->function_muxes);
    links_free(in);
    free(in);
}
