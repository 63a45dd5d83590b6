/* visible_world.h -- Temporal's service over a real journal and a real store in a folder of its own, and calls that wait: for
 * what lists find, what goes on behind answers, and what is still there after a restart. The wall clock is the test's. */
#pragma once

#include "codec/proto.h"
#include "codec/temporal.h"
#include "durable/host.h"
#include "store/store.h"
#include "tap.h"
#include "workflow/service.h"

#include <dirent.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

enum { VISIBLE_KINDS = 3 };
struct world {
    struct limits limits;
    struct loop *loop;
    struct store *store;
    struct journal *journal;
    struct service *service;
    struct durable_host *host;
    struct durable_kind kinds[VISIBLE_KINDS];
    int64_t ahead_ns; /* of the real clock */
    char dir[64];
    bool ready;
};

static inline int64_t world_wall(void *ctx)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + ((struct world *)ctx)->ahead_ns;
}

static inline void world_on_ready(void *ctx, int r, const struct err *e)
{
    (void)e;
    ((struct world *)ctx)->ready = r == 0;
}

/* As hob is killed: nothing is drained, what was committed is there. */
static inline void world_close(struct world *w)
{
    service_drain(w->service);
    journal_free(TAKE(w->journal));
    durable_host_free(TAKE(w->host));
    service_free(TAKE(w->service));
    store_free(TAKE(w->store));
    loop_free(TAKE(w->loop));
}

static inline size_t world_kinds(struct world *w)
{
    w->kinds[0] = service_kind(w->service);
    w->kinds[1] = service_schedule_kind(w->service);
    return 2;
}

static inline bool world_open(struct world *w)
{
    struct err e;
    w->ready = false;
    if (loop_open(&w->loop, &e) < 0 || store_open(w->loop, w->dir, &w->limits, &w->store, &e) < 0 ||
        journal_open(w->loop, w->dir, &w->limits, &w->journal, &e) < 0)
        return false;
    const struct service_world sw = { .loop = w->loop, .store = w->store, .journal = w->journal, .limits = &w->limits,
                                      .wall_ns = world_wall, .ctx = w, .seed = 7, .version = "1" };
    if (service_open(&sw, &w->service, &e) < 0)
        return false;
    const struct durable_world dw = { .loop = w->loop, .journal = w->journal, .limits = &w->limits, .wall_ns = world_wall,
                                      .ctx = w, .seed = 8 };
    if (durable_host_open(&dw, w->kinds, world_kinds(w), &w->host, &e) < 0)
        return false;
    service_attach(w->service, w->host);
    if (durable_host_start(w->host, world_on_ready, w, &e) < 0)
        return false;
    for (int i = 0; i < 100000 && !w->ready; i++)
        if (loop_turn(w->loop, true, &e) < 0)
            return false;
    return w->ready;
}

static inline void world_auto(struct world *w)
{
    if (w->service)
        world_close(w);
    DIR *d = opendir(w->dir);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;)
        (void)unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        closedir(d);
    (void)rmdir(w->dir);
}

#define WORLD(w)                                                                      \
    __attribute__((cleanup(world_auto))) struct world w = { .dir = "/tmp/hob-test-XXXXXX" }; \
    limits_default(&w.limits);                                                        \
    CHECK(mkdtemp(w.dir));                                                            \
    CHECK(world_open(&w))

/* ---- calls: `take_q` is made with proto_new() ---- */

struct call {
    struct service_call *at;
    bool done;
    enum code code;
    char text[512];
    const ProtobufCMessageDescriptor *type;
    void *answer; /* for proto_free() */
};

static inline void call_done(struct call *c) { proto_free(TAKE(c->answer)); }
static inline void call_auto(struct call *c) { call_done(c); }
#define CALL(name) __attribute__((cleanup(call_auto))) struct call name = { 0 }

static inline void call_on_done(void *owner, const struct service_reply *reply)
{
    struct call *c = owner;
    struct err e;
    ProtobufCMessage *m = NULL;
    c->done = true;
    if (reply->no) {
        c->code = reply->no->code;
        memcpy(c->text, reply->no->text, sizeof c->text);
    } else if (proto_decode_new(c->type, reply->answer, MIB(8), &m, &e) < 0) {
        c->code = CODE_INTERNAL;
    }
    c->answer = m;
}

static inline void ask(struct world *w, struct call *c, void *take_q)
{
    const ProtobufCMessageDescriptor *d = ((const ProtobufCMessage *)take_q)->descriptor;
    char method[128], path[256];
    snprintf(method, sizeof method, "%s", d->short_name);
    method[strlen(method) - strlen("Request")] = '\0';
    struct temporal_method known;
    snprintf(path, sizeof path, "/temporal.api.workflowservice.v1.WorkflowService/%s", method);
    if (!temporal_method_find(str_of(path), &known)) {
        snprintf(path, sizeof path, "/temporal.api.operatorservice.v1.OperatorService/%s", method);
        ASSERT(temporal_method_find(str_of(path), &known));
    }
    call_done(c);
    struct buf b;
    buf_init(&b, MIB(8));
    proto_encode(take_q, &b);
    *c = (struct call){ .type = known.output };
    const struct service_ask a = { .method = str_of(method), .message = buf_str(&b), .timeout_ns = INT64_MAX,
                                   .done = call_on_done, .owner = c };
    struct refusal no = { 0 };
    if (service_ask(w->service, &a, &c->at, &no) < 0) {
        c->done = true;
        c->code = no.code;
        memcpy(c->text, no.text, sizeof c->text);
        refusal_done(&no);
    }
    buf_done(&b);
    proto_free(take_q);
}

static inline bool wait_for(struct world *w, struct call *c)
{
    struct err e;
    for (int i = 0; i < 1000000 && !c->done; i++)
        if (loop_turn(w->loop, true, &e) < 0)
            return false;
    return c->done && c->code == CODE_OK;
}

/* Asks, waits; true: it was answered. */
static inline bool did(struct world *w, struct call *c, void *take_q)
{
    ask(w, c, take_q);
    return wait_for(w, c);
}

/* ---- requests ---- */

#define NEW(var, type, message) type *var = proto_new(&message##__descriptor)

static inline bool started(struct world *w, const char *ns, const char *id, const char *keyword)
{
    CALL(c);
    NEW(q, Tp__StartWorkflowExecutionRequest, tp__start_workflow_execution_request);
    proto_set_text(&q->namespace_, ns);
    proto_set_text(&q->workflow_id, id);
    proto_set_text(&q->request_id, id);
    q->workflow_type = proto_new(&tp__workflow_type__descriptor);
    proto_set_text(&q->workflow_type->name, "hello");
    q->task_queue = proto_new(&tp__task_queue__descriptor);
    proto_set_text(&q->task_queue->name, "q");
    if (keyword) {
        char json[128];
        Tp__SearchAttributes__IndexedFieldsEntry *f = proto_new(&tp__search_attributes__indexed_fields_entry__descriptor);
        snprintf(json, sizeof json, "\"%s\"", keyword);
        proto_set_text(&f->key, "Tag");
        f->value = temporal_payload_new("json/plain", str_of(json));
        q->search_attributes = proto_new(&tp__search_attributes__descriptor);
        proto_push(&q->search_attributes->n_indexed_fields, &q->search_attributes->indexed_fields, f);
    }
    return did(w, &c, q);
}

static inline int64_t counted(struct world *w, const char *ns, const char *query)
{
    CALL(c);
    NEW(q, Tp__CountWorkflowExecutionsRequest, tp__count_workflow_executions_request);
    proto_set_text(&q->namespace_, ns);
    proto_set_text(&q->query, query);
    return did(w, &c, q) ? ((const Tp__CountWorkflowExecutionsResponse *)c.answer)->count : -(int64_t)c.code;
}

static inline bool registered(struct world *w, const char *name, int64_t retention_s)
{
    CALL(c);
    NEW(q, Tp__RegisterNamespaceRequest, tp__register_namespace_request);
    proto_set_text(&q->namespace_, name);
    q->workflow_execution_retention_period = temporal_duration_new(retention_s * 1000000000);
    return did(w, &c, q);
}

static inline bool attribute_added(struct world *w, struct call *c, const char *ns, const char *name, Tp__IndexedValueType type)
{
    NEW(q, Tp__AddSearchAttributesRequest, tp__add_search_attributes_request);
    Tp__AddSearchAttributesRequest__SearchAttributesEntry *entry =
        proto_new(&tp__add_search_attributes_request__search_attributes_entry__descriptor);
    proto_set_text(&q->namespace_, ns);
    proto_set_text(&entry->key, name);
    entry->value = type;
    proto_push(&q->n_search_attributes, &q->search_attributes, entry);
    return did(w, c, q);
}

static inline bool terminated(struct world *w, const char *ns, const char *id)
{
    CALL(c);
    NEW(q, Tp__TerminateWorkflowExecutionRequest, tp__terminate_workflow_execution_request);
    proto_set_text(&q->namespace_, ns);
    q->workflow_execution = proto_new(&tp__workflow_execution__descriptor);
    proto_set_text(&q->workflow_execution->workflow_id, id);
    return did(w, &c, q);
}
