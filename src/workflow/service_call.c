#include "workflow/service_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void call_free(struct service_call *c)
{
    loop_undefer(c->s->w.loop, &c->task);
    list_remove(&c->s->calls, &c->node);
    proto_arena_done(&c->arena);
    buf_done(&c->answer);
    refusal_done(&c->no);
    refusal_done(&c->bad);
    proto_free(c->own);
    free(c);
}

static void on_reply(struct loop_task *t)
{
    struct service_call *c = CONTAINER_OF(t, struct service_call, task);
    struct service_reply reply = { .answer = buf_str(&c->answer), .no = c->no.code ? &c->no : NULL };
    c->done(c->owner, &reply);
    call_free(c);
}

static void call_end(struct service_call *c)
{
    ASSERT(!c->ended);
    c->ended = true;
    c->on_gone = NULL;
    c->on_drain = NULL;
    if (c->gone)
        call_free(c);
    else
        loop_defer(c->s->w.loop, &c->task);
}

void service_reply(struct service_call *c, const void *message)
{
    if (!c->gone && message)
        proto_encode(message, &c->answer);
    call_end(c);
}

void service_refuse(struct service_call *c, struct refusal *take_no)
{
    c->no = *take_no;
    *take_no = (struct refusal){ 0 };
    call_end(c);
}

void service_end(struct service_call *c)
{
    ASSERT(c->gone);
    call_end(c);
}

void service_fail(struct service_call *c, enum code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    c->no.code = code;
    vsnprintf(c->no.text, sizeof(c->no.text), fmt, args);
    va_end(args);
    call_end(c);
}

void service_gone(struct service_call *c)
{
    ASSERT(!c->gone);
    c->gone = true;
    if (c->ended)
        call_free(c);
    else if (c->on_gone)
        c->on_gone(c);
}

int64_t service_until(const struct service_call *c, int64_t at_most_ns)
{
    int64_t now = service_now(c->s), until = now + at_most_ns;
    if (c->deadline_ns - SERVICE_SECOND < until)
        until = c->deadline_ns - SERVICE_SECOND;
    return MAX(until, now);
}

/* Every request that speaks of a namespace has it as a text of that name. */
static const char *namespace_of(const ProtobufCMessage *q)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(q->descriptor, "namespace");
    if (!f || f->type != PROTOBUF_C_TYPE_STRING)
        return "";
    return *(char *const *)(const void *)((const char *)q + f->offset);
}

static int call_check(struct service *s, const struct service_call *c, struct refusal *no)
{
    if (c->method->nowhere)
        return 0;
    if (!*c->ns)
        return refuse(no, CODE_INVALID, "Namespace not set on request.");
    if (service_namespace_find(s, c->ns))
        return 0;
    return service_namespace_missing(c->ns, no);
}

int service_ask(struct service *s, const struct service_ask *a, struct service_call **ret, struct refusal *no)
{
    const struct service_method *m = service_method_find(a->method);
    char path[256];
    snprintf(path, sizeof(path), "/temporal.api.workflowservice.v1.WorkflowService/" STR_FMT, STR_ARG(a->method));
    struct temporal_method known;
    if (m && !temporal_method_find(str_of(path), &known)) {
        snprintf(path, sizeof(path), "/temporal.api.operatorservice.v1.OperatorService/" STR_FMT, STR_ARG(a->method));
        m = temporal_method_find(str_of(path), &known) ? m : NULL;
    }
    if (!m)
        return refuse(no, CODE_UNIMPLEMENTED, "hob does not do " STR_FMT " yet", STR_ARG(a->method));
    if (s->draining)
        return refuse(no, CODE_UNAVAILABLE, "hob is stopping");
    struct service_call *c = xcalloc(1, sizeof(*c));
    *c = (struct service_call){ .s = s, .method = m, .done = a->done, .owner = a->owner,
                                .task = { .run = on_reply }, .deadline_ns = INT64_MAX };
    buf_init(&c->answer, MIB(128));
    list_push(&s->calls, &c->node);
    if (a->timeout_ns < INT64_MAX / 4)
        c->deadline_ns = service_now(s) + a->timeout_ns;
    struct err e;
    ProtobufCMessage *q = NULL;
    int r = proto_decode(known.input, a->message, SERVICE_MESSAGE_MEMORY, &c->arena, &q, &e);
    if (r < 0)
        r = refuse(no, -(enum code)r, "%s", e.text);
    if (r == 0) {
        c->q = q;
        c->ns = namespace_of(q);
        c->worker = a->worker ? service_worker_find(s, a->worker) : NULL;
        if (a->worker && !c->worker)
            r = refuse(no, CODE_UNAVAILABLE, "this instance has ended");
        else if (c->worker)
            r = service_worker_check(c->worker, m->name, c->ns, no);
    }
    if (r == 0) {
        r = call_check(s, c, no);
    }
    if (r == 0 && service_attributes_apply(s, c, &c->bad) < 0 &&
        known.input != &tp__respond_workflow_task_completed_request__descriptor) /* there the task fails with it */
        r = refuse(no, c->bad.code, "%s", c->bad.text);
    if (r < 0) {
        call_free(c);
        return r;
    }
    s->counts.calls++;
    *ret = c;
    m->run(s, c);
    return 0;
}
