#include "node/attempts.h"

#include "api/page.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SEGMENTS = 4 };

struct served { /* an instance */
    struct list_node node;
    struct attempts *a;
    struct instance *instance;
    int fd; /* until it is listened on, and then as long as that */
    struct http_server *server;
};
struct saving { /* asked of the desk */
    struct list_node node;
    struct attempts *a;
    const struct served *from;
    struct http_call *call; /* NULL: nobody is to be told any more */
    struct desk_ask ask;
    char *text;
};
struct attempts {
    struct attempts_world world;
    struct limits limits; /* of the servers */
    struct http_budget budget;
    struct ingress *ingress;
    struct desk *desk; /* NULL: there is none (any more) */
    struct list served, savings;
};

/* ---- what is asked ---- */

struct point {
    struct uuid id;
    uint64_t attempt;
};

static bool refuse(struct http_call *c, int status, const char *title, const char *detail)
{
    page_problem(c, status, title, detail);
    return false;
}

static bool page_is(struct http_call *c, struct uuid *ret_id)
{
    char text[4][40];
    if (http_call_segments(c) != SEGMENTS)
        return false;
    for (uint32_t i = 0; i < SEGMENTS; i++)
        if (!http_call_segment(c, i, text[i], sizeof text[i]))
            return false;
    return strcmp(text[0], "v1") == 0 && strcmp(text[1], "invocations") == 0 && strcmp(text[3], "checkpoint") == 0 &&
           uuid_parse(str_of(text[2]), ret_id);
}

static uint64_t bytes_max(const struct attempts *a)
{
    return MIN(a->limits.invoke_checkpoint_bytes_max, a->limits.http_head_bytes_max / 4); /* the next attempt has it in its head */
}

static bool too_large(const struct attempts *a, struct http_call *c)
{
    char why[120];
    snprintf(why, sizeof why, "a checkpoint has at most %llu bytes here (limit invoke_checkpoint_bytes_max)",
             (unsigned long long)bytes_max(a));
    a->world.on_limit(a->world.ctx, "invoke_checkpoint_bytes_max");
    return refuse(c, 413, "the checkpoint is too large", why);
}

/* Whether it may be listened to: asked before the content, and again when that is here. */
static bool point_find(const struct served *v, struct http_call *c, struct point *ret)
{
    const struct attempts *a = v->a;
    struct str number = http_call_header(c, "Hob-Attempt");
    if (!page_is(c, &ret->id))
        return refuse(c, 404, "no such page", "there is one here: PUT /v1/invocations/{Hob-Invocation-Id}/checkpoint");
    if (!str_is(http_call_method(c), "PUT")) {
        http_answer(c, 405, PAGE_PROBLEM, "Allow: PUT\r\n", STR("{\"title\":\"a checkpoint is PUT\",\"status\":405}\n"));
        return false;
    }
    if (!number.at || !str_u64(number, &ret->attempt) || ret->attempt < 1 || ret->attempt > UINT32_MAX)
        return refuse(c, 400, "bad header", "Hob-Attempt: want the number of the attempt, as it came with it");
    if (!a->desk)
        return refuse(c, 503, "not now", "hob is starting or stopping");
    if (!ingress_has_attempt(a->ingress, v->instance->id, &ret->id, (uint32_t)ret->attempt))
        return refuse(c, 403, "not its attempt", "only an attempt that this instance has now leaves a checkpoint here");
    return true;
}

static bool on_head(void *ctx, struct http_call *c)
{
    const struct served *v = ctx;
    struct str length = http_call_header(c, "Content-Length");
    struct point p;
    uint64_t bytes;
    if (!point_find(v, c, &p))
        return false;
    if (!length.at || !str_u64(length, &bytes))
        return refuse(c, 411, "how long is it?", "a checkpoint comes with its Content-Length");
    return bytes <= bytes_max(v->a) || too_large(v->a, c);
}

/* ---- what the desk says ---- */

static void saving_free(struct saving *s)
{
    list_remove(&s->a->savings, &s->node);
    free(s->text);
    free(s);
}

static void on_told(struct desk_ask *q, int r, const struct desk_told *told, const struct err *e)
{
    struct saving *s = CONTAINER_OF(q, struct saving, ask);
    struct http_call *c = s->call;
    (void)told;
    if (c && r >= 0)
        http_answer(c, 204, NULL, NULL, STR(""));
    else if (c && (r == -CODE_NOT_FOUND || r == -CODE_PRECONDITION)) /* it has just ended */
        page_problem(c, 403, "not its attempt", e->text);
    else if (c)
        page_err(c, e);
    saving_free(s);
}

static void on_request(void *ctx, struct http_call *c)
{
    const struct served *v = ctx;
    struct attempts *a = v->a;
    struct str body = http_call_body(c); /* as long as its head said */
    struct point p;
    if (!point_find(v, c, &p))
        return;
    ASSERT(body.size <= bytes_max(a));
    struct saving *s = xcalloc(1, sizeof *s);
    *s = (struct saving){ .a = a, .from = v, .call = c, .text = xcalloc(1, body.size + 1) };
    if (body.size > 0)
        memcpy(s->text, body.at, body.size);
    s->ask = (struct desk_ask){ .verb = DESK_CHECKPOINT, .id = p.id, .attempt = (uint32_t)p.attempt,
                                .checkpoint = { s->text, body.size }, .on_done = on_told };
    list_push(&a->savings, &s->node);
    desk_ask(a->desk, &s->ask);
}

static void on_limit(void *ctx, const char *limit)
{
    const struct attempts *a = ((const struct served *)ctx)->a;
    a->world.on_limit(a->world.ctx, strcmp(limit, "connections_max") == 0 ? "invoke_checkpoint_connections_max" : limit);
}

/* ---- instances ---- */

static void served_listen(struct served *v)
{
    struct attempts *a = v->a;
    const struct http_server_ops ops = { .on_request = on_request, .on_head = on_head, .on_limit = on_limit, .budget = &a->budget };
    struct err e;
    if (http_server_open(a->world.loop, &a->limits, v->fd, &ops, v, &v->server, &e) < 0)
        log_event(LOG_ERROR, "attempts.unserved", "instance=%s error=\"%s\"", v->instance->id, LOG_QUOTED(e.text));
}

static void *on_served(void *ctx, struct instance *i, int take_fd)
{
    struct attempts *a = ctx;
    struct served *v = xcalloc(1, sizeof *v);
    *v = (struct served){ .a = a, .instance = i, .fd = take_fd };
    list_push(&a->served, &v->node);
    served_listen(v);
    return v;
}

static void on_draining(void *ctx, void *served) /* what it has, it may go on with */
{
    (void)ctx;
    (void)served;
}

static void served_quiet(struct served *v)
{
    LIST_EACH(&v->a->savings, n, tmp) {
        struct saving *s = CONTAINER_OF(n, struct saving, node);
        if (s->from == v) {
            s->call = NULL;
            s->from = NULL;
        }
    }
    http_server_free(TAKE(v->server));
}

static void on_gone(void *ctx, void *served)
{
    struct served *v = served;
    (void)ctx;
    served_quiet(v);
    list_remove(&v->a->served, &v->node);
    (void)close(v->fd);
    free(v);
}

static const struct fleet_servers servers = { on_served, on_draining, on_gone };

/* ---- life ---- */

struct attempts *attempts_new(const struct attempts_world *w)
{
    struct attempts *a = xcalloc(1, sizeof *a);
    a->world = *w;
    a->limits = *w->limits;
    a->limits.connections_max = w->limits->invoke_checkpoint_connections_max;
    list_init(&a->served);
    list_init(&a->savings);
    fleet_serve_attempts(w->fleet, &servers, a);
    return a;
}

void attempts_serve(struct attempts *a, struct ingress *in, struct desk *d)
{
    a->ingress = in;
    a->desk = d;
}

void attempts_close(struct attempts *a)
{
    if (!a)
        return;
    a->desk = NULL;
    LIST_EACH(&a->served, n, tmp)
        served_quiet(CONTAINER_OF(n, struct served, node));
}

void attempts_free(struct attempts *a)
{
    if (!a)
        return;
    ASSERT(a->served.count == 0 && a->savings.count == 0);
    free(a);
}
