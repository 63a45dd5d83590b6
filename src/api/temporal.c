#include "api/temporal.h"
#include "codec/temporal.h"

#include <stdlib.h>

#define WORKFLOW_SERVICE "temporal.api.workflowservice.v1.WorkflowService"
#define OPERATOR_SERVICE "temporal.api.operatorservice.v1.OperatorService"
#define HEALTH_CHECK     "/grpc.health.v1.Health/Check"

enum {
    DETAILS_BYTES_MAX = 1 << 20, /* the server leaves out what is too much for a header */
    HEALTH_MEMORY_MAX = 65536,
};

struct temporal {
    struct temporal_world world;
    struct grpc_server *server;
};

struct waiting { /* a call on its way through the service */
    struct temporal *temporal;
    struct grpc_server_call *call;
    struct service_call *asked;
};

static void refuse_call(struct grpc_server_call *c, const struct refusal *no)
{
    struct buf details;
    buf_init(&details, DETAILS_BYTES_MAX);
    if (no->detail)
        temporal_status_encode(no->code, no->text, no->detail, &details);
    grpc_server_refuse(c, no->code, no->text, details.overflow ? (struct str){ 0 } : buf_str(&details));
    buf_done(&details);
}

static void on_done(void *owner, const struct service_reply *reply)
{
    struct waiting *w = owner;
    struct grpc_server_call *c = w->call;
    free(w);
    if (reply->no)
        refuse_call(c, reply->no);
    else
        grpc_server_reply(c, reply->answer);
}

static void on_cancel(void *ctx, struct grpc_server_call *c)
{
    (void)ctx;
    struct waiting *w = grpc_server_call_owner(c);
    if (!w)
        return;
    service_gone(w->asked);
    free(w);
}

/* ---- health ------------------------------------------------------------------------------------ */

static void health_check(struct grpc_server_call *c)
{
    struct proto_arena arena = { 0 };
    struct err e;
    ProtobufCMessage *asked;
    if (proto_decode(&tp__health_check_request__descriptor, grpc_server_call_message(c), HEALTH_MEMORY_MAX, &arena, &asked,
                     &e) < 0) {
        grpc_server_refuse(c, CODE_INVALID, e.text, (struct str){ 0 });
    } else {
        const char *name = ((const Tp__HealthCheckRequest *)asked)->service;
        bool known = !name[0] || strcmp(name, WORKFLOW_SERVICE) == 0 || strcmp(name, OPERATOR_SERVICE) == 0;
        Tp__HealthCheckResponse answer = TP__HEALTH_CHECK_RESPONSE__INIT;
        struct buf bytes;
        buf_init(&bytes, 64);
        answer.status = TP__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
        proto_encode(&answer, &bytes);
        if (known)
            grpc_server_reply(c, buf_str(&bytes));
        else
            grpc_server_refuse(c, CODE_NOT_FOUND, "unknown service", (struct str){ 0 });
        buf_done(&bytes);
    }
    proto_arena_done(&arena);
}

/* ---- calls ------------------------------------------------------------------------------------- */

/* "/package.Service/Method": the method, if the service is one of ours. */
static bool method_of(struct str path, struct str *ret)
{
    static const char *const services[] = { "/" WORKFLOW_SERVICE "/", "/" OPERATOR_SERVICE "/" };
    for (size_t i = 0; i < COUNT_OF(services); i++) {
        struct str head = str_of(services[i]);
        if (str_starts(path, head)) {
            *ret = str_from(path, head.size);
            return true;
        }
    }
    return false;
}

static int64_t time_left_ns(const struct temporal *t, const struct grpc_server_call *c)
{
    uint64_t deadline = grpc_server_call_deadline_us(c), now = loop_now_us(t->world.loop);
    if (deadline == UINT64_MAX)
        return INT64_MAX;
    return deadline > now ? (int64_t)MIN((deadline - now) * 1000, (uint64_t)INT64_MAX) : 0;
}

/* A worker of ours comes by a socket that only it can reach. */
static int admit(const struct temporal *t, const struct grpc_server_call *c, struct refusal *no)
{
    struct err e;
    struct str given = grpc_server_call_field(c, "authorization");
    if (!t->world.access || grpc_server_call_tag(c) ||
        access_check(t->world.access, false, grpc_server_call_path(c), given, &e) == 0)
        return 0;
    return refuse(no, CODE_UNAUTHENTICATED,
                  given.at ? "the token is not this hob's: the right one is in the data folder's api-token, sent as "
                             "\"authorization: Bearer TOKEN\" (an SDK's API key)"
                           : "this address asks for a token: what is in the data folder's api-token, sent as \"authorization: "
                             "Bearer TOKEN\" (an SDK's API key, without TLS)");
}

static void on_call(void *ctx, struct grpc_server_call *c)
{
    struct temporal *t = ctx;
    struct str path = grpc_server_call_path(c), method;
    if (str_is(path, HEALTH_CHECK)) {
        health_check(c);
        return;
    }
    struct refusal no = { 0 };
    int r;
    if (admit(t, c, &no) < 0) {
        refuse_call(c, &no);
        refusal_done(&no);
        return;
    }
    struct waiting *w = xcalloc(1, sizeof *w);
    *w = (struct waiting){ .temporal = t, .call = c };
    grpc_server_call_own(c, w);
    if (method_of(path, &method)) {
        const struct service_ask ask = { .method = method, .message = grpc_server_call_message(c),
                                         .timeout_ns = time_left_ns(t, c), .done = on_done, .owner = w,
                                         .worker = (uintptr_t)grpc_server_call_tag(c) };
        r = service_ask(t->world.service, &ask, &w->asked, &no);
    } else {
        r = refuse(&no, CODE_UNIMPLEMENTED, "unknown service or method " STR_FMT, STR_ARG(path));
    }
    if (r < 0) {
        free(w);
        grpc_server_call_own(c, NULL);
        refuse_call(c, &no);
        refusal_done(&no);
    }
}

static void on_limit(void *ctx, const char *limit)
{
    struct temporal *t = ctx;
    if (t->world.on_limit)
        t->world.on_limit(t->world.ctx, limit);
}

struct temporal *temporal_new(const struct temporal_world *w)
{
    static const struct grpc_server_ops ops = { .on_call = on_call, .on_cancel = on_cancel, .on_limit = on_limit };
    struct temporal *t = xcalloc(1, sizeof *t);
    t->world = *w;
    t->server = grpc_server_new(w->loop, w->limits, &ops, t);
    return t;
}

int temporal_listen(struct temporal *t, int listen_fd, struct err *e)
{
    struct grpc_listener *kept; /* goes with the server */
    return grpc_server_listen(t->server, listen_fd, NULL, &kept, e);
}

int temporal_listen_worker(struct temporal *t, int listen_fd, uint64_t worker, struct grpc_listener **ret, struct err *e)
{
    return grpc_server_listen(t->server, listen_fd, (void *)(uintptr_t)worker, ret, e); /* a connection may outlive its worker */
}

void temporal_shut(struct temporal *t) { grpc_server_shut(t->server); }

bool temporal_idle(const struct temporal *t) { return grpc_server_counts(t->server).calls == 0; }

struct grpc_server_counts temporal_counts(const struct temporal *t) { return grpc_server_counts(t->server); }

void temporal_free(struct temporal *t)
{
    if (!t)
        return;
    grpc_server_free(t->server);
    free(t);
}
