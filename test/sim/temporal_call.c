/* temporal_call.c -- calls of clients and workers, which get lost; and the trace. */
#include "sim/temporal_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void tw_note(struct tw *w, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (const char *at = text; *at; at++)
        w->hash = (w->hash ^ (uint8_t)*at) * UINT64_C(1099511628211);
    w->hash = (w->hash ^ w->clock.now_us) * UINT64_C(1099511628211);
    if (w->trace)
        printf("%12.6f %s\n", (double)w->clock.now_us / 1e6, text);
}

void tw_wrong(struct tw *w, const char *file, int line, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!w->broken)
        printf("# %s:%d: seed %" PRIu64 " at %.6f s: expected: %s\n", file, line, w->seed, (double)w->clock.now_us / 1e6, text);
    w->broken = true;
}

bool call_passes(enum code code)
{
    return code == CODE_UNAVAILABLE || code == CODE_EXHAUSTED || code == CODE_ABORTED || code == CODE_CANCELLED ||
           code == CODE_DEADLINE || code == CODE_DATA_LOSS || code == CODE_INTERNAL;
}

static void call_free(struct tw_call *c)
{
    list_remove(&c->w->calls, &c->node);
    free(c);
}

static void call_tell(struct tw_call *c, const void *answer, enum code code)
{
    tw_note(c->w, "%s: %s", c->method, answer ? "answered" : code_name(code));
    if (c->told)
        c->told(c, answer, code);
    call_free(c);
}

static void on_done(void *owner, const struct service_reply *reply)
{
    struct tw_call *c = owner;
    ProtobufCMessage *answer = NULL;
    struct err e;
    c->at = NULL;
    if (c->deaf) {
        call_tell(c, NULL, CODE_UNAVAILABLE);
        return;
    }
    if (reply->no) {
        tw_note(c->w, "%s: %s", c->method, reply->no->text);
        EXPECT(c->w, reply->no->code != CODE_INTERNAL);
        call_tell(c, NULL, reply->no->code);
        return;
    }
    int r = proto_decode_new(c->output, reply->answer, MIB(64), &answer, &e);
    EXPECT(c->w, r == 0);
    call_tell(c, answer, r == 0 ? CODE_OK : CODE_INTERNAL);
    proto_free(answer);
}

/* Not while it is being sent: its sender hears later, as of everything. */
static void refuse_later(struct tw_call *c, enum code code)
{
    c->over = true;
    c->code = code;
}

struct tw_call *call_send(struct tw *w, const char *method, void *take_request, uint64_t timeout_us,
                          void (*told)(struct tw_call *c, const void *answer, enum code code), void *who)
{
    char path[160];
    struct temporal_method known = { 0 };
    snprintf(path, sizeof path, "/temporal.api.workflowservice.v1.WorkflowService/%s", method);
    ASSERT(temporal_method_find(str_of(path), &known));
    ASSERT(((const ProtobufCMessage *)take_request)->descriptor == known.input);
    struct tw_call *c = xcalloc(1, sizeof *c);
    *c = (struct tw_call){ .w = w, .method = known.name, .output = known.output, .deadline_us = w->clock.now_us + timeout_us,
                           .told = told, .who = who, .deaf = tw_permille(w, w->rate.deaf) };
    list_push(&w->calls, &c->node);
    struct buf b;
    buf_init(&b, MIB(16));
    proto_encode(take_request, &b);
    proto_free(take_request);
    if (!w->service || tw_permille(w, w->rate.lost)) {
        refuse_later(c, CODE_UNAVAILABLE);
    } else {
        const struct service_ask a = { .method = str_of(method), .message = buf_str(&b),
                                       .timeout_ns = (int64_t)timeout_us * 1000, .done = on_done, .owner = c };
        struct refusal no = { 0 };
        if (service_ask(w->service, &a, &c->at, &no) < 0) {
            EXPECT(w, no.code == CODE_UNAVAILABLE || no.code == CODE_NOT_FOUND);
            c->at = NULL;
            refuse_later(c, no.code);
            refusal_done(&no);
        }
    }
    buf_done(&b);
    return c;
}

void call_drop(struct tw_call *c)
{
    struct service_call *at = TAKE(c->at);
    c->told = NULL;
    if (at)
        service_gone(at);
    call_free(c);
}

static bool one_tick(struct tw *w)
{
    LIST_EACH(&w->calls, node, tmp) {
        struct tw_call *c = CONTAINER_OF(node, struct tw_call, node);
        if (!c->over && c->deadline_us > w->clock.now_us)
            continue;
        struct service_call *at = TAKE(c->at);
        if (at)
            service_gone(at);
        call_tell(c, NULL, c->over ? c->code : CODE_DEADLINE); /* which may end others, and begin some */
        return true;
    }
    return false;
}

void calls_tick(struct tw *w)
{
    for (int left = 100; left > 0 && one_tick(w);)
        left--;
}
