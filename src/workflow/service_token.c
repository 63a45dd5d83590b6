#include "workflow/service_impl.h"

#include <stdio.h>

void service_token_write(const struct run_token *t, ProtobufCBinaryData *into)
{
    Wt__TaskToken w;
    wt__task_token__init(&w);
    w.type = (uint32_t)t->type + 1;
    w.ns = (char *)(uintptr_t)t->ns;
    w.workflow_id = (char *)(uintptr_t)t->workflow_id;
    w.run_id = (ProtobufCBinaryData){ sizeof(t->run.at), (uint8_t *)(uintptr_t)t->run.at };
    w.scheduled_id = t->scheduled_id;
    w.started_id = t->started_id;
    w.attempt = t->attempt;
    w.started_ns = t->started_ns;
    w.activity_id = (char *)(uintptr_t)t->activity_id;
    struct buf b;
    buf_init(&b, KIB(8));
    proto_encode(&w, &b);
    ASSERT(!b.overflow);
    proto_set_bytes(into, buf_str(&b));
    buf_done(&b);
}

static bool fits(const char *text, size_t room) { return strlen(text) < room; }

int service_token_read(const ProtobufCBinaryData *from, const char *ns, enum run_task_type type, struct run_token *ret,
                       struct refusal *no)
{
    if (!from->len)
        return refuse(no, CODE_INVALID, "Task token not set on request.");
    __attribute__((cleanup(proto_arena_auto))) struct proto_arena arena = { 0 };
    ProtobufCMessage *m = NULL;
    struct err e;
    if (proto_decode(&wt__task_token__descriptor, proto_bytes(from), KIB(64), &arena, &m, &e) < 0)
        return refuse(no, CODE_INVALID, "Error deserializing task token.");
    const Wt__TaskToken *w = (const Wt__TaskToken *)(const void *)m;
    if (w->type != (uint32_t)type + 1 || w->run_id.len != sizeof(ret->run.at) || !*w->workflow_id ||
        !fits(w->ns, sizeof(ret->ns)) || !fits(w->workflow_id, sizeof(ret->workflow_id)) ||
        !fits(w->activity_id, sizeof(ret->activity_id)) || w->scheduled_id < 1)
        return refuse(no, CODE_INVALID, "Error deserializing task token.");
    if (*ns && strcmp(ns, w->ns))
        return refuse(no, CODE_INVALID, "Operation requested with a token from a different namespace.");
    *ret = (struct run_token){ .type = (enum run_task_type)(w->type - 1), .scheduled_id = w->scheduled_id,
                               .started_id = w->started_id, .attempt = w->attempt, .started_ns = w->started_ns };
    snprintf(ret->ns, sizeof(ret->ns), "%s", w->ns);
    snprintf(ret->workflow_id, sizeof(ret->workflow_id), "%s", w->workflow_id);
    snprintf(ret->activity_id, sizeof(ret->activity_id), "%s", w->activity_id);
    memcpy(ret->run.at, w->run_id.data, sizeof(ret->run.at));
    return 0;
}
