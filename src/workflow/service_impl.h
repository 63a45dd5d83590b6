/* service_impl.h -- what the files service_*.c share. For nobody else. */
#pragma once

#include "base/map.h"
#include "codec/proto.h"
#include "codec/temporal.h"
#include "workflow/batch.h"
#include "workflow/matching.h"
#include "workflow/run.h"
#include "workflow/schedule.h"
#include "workflow/service.h"
#include "workflow/service.pb-c.h"

#define SERVICE_SECOND INT64_C(1000000000)
enum {
    SERVICE_ID_BYTES_MAX = 1000,           /* Temporal's */
    SERVICE_PAGE_EVENTS = 256,             /* of a history, in a task or a page */
    SERVICE_PAGE_EVENTS_MAX = 1000,        /* what a client may ask for */
    SERVICE_REDIRECTS_MAX = 100,           /* runs of a chain that are followed to its current one */
};
#define SERVICE_PAGE_BYTES    MIB(2)
#define SERVICE_BLOB_BYTES    MIB(2)
#define SERVICE_MESSAGE_MEMORY MIB(64) /* of one decoded request */
#define SERVICE_POLL_NS       (60 * SERVICE_SECOND)
#define SERVICE_WAIT_NS       (20 * SERVICE_SECOND)

struct service_namespace {
    Wt__Namespace *stored;
    bool wanted; /* it is deleted, and is to be made anew then */
};

struct service {
    struct service_world w;
    struct durable_host *host;
    struct matching *matching;
    struct rng rng;
    uint64_t life; /* of this process: tokens of queries name it */
    uint64_t query_next;
    bool draining;
    struct list calls;
    struct map watched; /* run -> struct service_watched: who waits for something of it */
    struct heap waits;  /* by expiry */
    struct map errands; /* those on their way: run, type, id */
    struct map queries; /* given to a worker: number -> struct query */
    struct map namespaces;
    struct map sweeps;    /* namespaces that are deleted -> struct sweep */
    struct map batches;   /* those that go on: run -> struct batching */
    uint64_t batches_begun; /* calls that are about to make one */
    struct list storings; /* of namespaces, on their way to the store */
    struct map workers; /* our own, by id (service_worker.c) */
    struct map held, cached, sticky_of;
    uint64_t worker_last;
    struct map tended; /* what schedules want of workflows: run, number, wish -> struct tending */
    struct loop_timer timer;
    struct loop_task look;
    struct loop_timer missed; /* asks the journal again for what matching had no room for */
    struct service_counts counts;
};

/* ---- calls (service_call.c) ---- */

struct service_method {
    const char *name;
    void (*run)(struct service *s, struct service_call *c);
    bool nowhere; /* it speaks of no namespace, or of one that may not exist */
};
const struct service_method *service_method_find(struct str name); /* service_methods.c */

struct service_call {
    struct service *s;
    const struct service_method *method;
    struct proto_arena arena;
    const void *q;          /* the request; as long as the call */
    void *own;              /* `q`, where it had to be changed; else NULL */
    struct refusal bad;     /* what its commands' attributes are refused for: the task fails */
    const char *ns;         /* "" where it has none */
    int64_t deadline_ns;
    void (*done)(void *owner, const struct service_reply *reply);
    void *owner;
    struct service_worker *worker; /* whose call it is; NULL: not one of ours, or it has ended */
    bool gone, ended;
    void (*on_gone)(struct service_call *c); /* removes what waits; the call is freed by service_end() then */
    void (*on_drain)(struct service_call *c);
    void *work;
    struct list_node node;
    struct loop_task task;
    struct buf answer;
    struct refusal no;
};
/* All three end the call: it is not touched any more. */
void service_reply(struct service_call *c, const void *message);
void service_refuse(struct service_call *c, struct refusal *take_no);
void service_end(struct service_call *c); /* nobody waits any more */
void service_fail(struct service_call *c, enum code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
static inline int64_t service_now(const struct service *s) { return s->w.wall_ns(s->w.ctx); }
int64_t service_until(const struct service_call *c, int64_t at_most_ns); /* a second before its client gives up */

/* ---- one input to a run (service_op.c) ---- */

struct op { /* embedded first; made by op_new(), freed when it is over */
    struct durable_input in;
    struct service *s;
    struct service_call *c; /* NULL: nobody is answered */
    /* Sets `answer`, or fills `no`. May be called again. */
    void (*act)(struct op *op, const struct durable_view *v);
    /* It is durable and not refused. NULL: `answer` is the call's. Takes the op over. */
    void (*then)(struct op *op);
    /* It came to nothing: `no` says why. NULL: the call is refused. Takes the op over. */
    void (*failed)(struct op *op);
    void (*done)(struct op *op); /* frees what is embedded around it; may be NULL */
    void *answer;
    struct refusal no;
    struct uuid run; /* that it came to */
    char *ns, *id;   /* its own */
};
/* NULL: refused already (an id that is missing or too long, a run id that is none). */
void *op_new(struct service *s, struct service_call *c, size_t size, const char *ns, const char *id,
             const char *run, void (*act)(struct op *op, const struct durable_view *v));
void op_send(struct op *op);
void op_free(struct op *op);
int op_missing(struct op *op); /* "workflow not found for ID" */
struct journal_key service_key(const char *ns, const char *id, const struct uuid *run);
Tp__WorkflowExecution *service_execution(const char *id, const struct uuid *run); /* for proto_free() */
bool service_run_parse(const char *text, struct uuid *ret); /* "" is the current one */
bool uuid_none(const struct uuid *u);

/* ---- waiting for something of a run (service_wait.c) ---- */

struct wait { /* embedded; zero it first */
    struct service *s;
    struct uuid run;
    struct list_node node;
    struct heap_node expiry;
    struct service_watched *in;
    void (*look)(struct wait *w, struct run *r); /* after each commit of the run */
    void (*expired)(struct wait *w);
};
void wait_add(struct wait *w, int64_t until_ns);
void wait_remove(struct wait *w); /* fine if it does not wait */
void service_waits_look(struct service *s, const struct uuid *run, struct run *r);
void service_waits_expire(struct service *s);

/* ---- histories (service_history.c) ---- */

struct page { /* embedded; some of a history, read and cut to what was asked for */
    struct service *s;
    struct durable_history history;
    char *ns, *id; /* its own, until it is read */
    struct uuid run;
    int64_t from, to; /* events from <= number < to */
    size_t events_max;
    bool backwards;
    void (*ready)(struct page *p, int r, const struct err *e);
    Tp__History *events; /* what there is; the caller's */
    int64_t next;        /* where the following page begins (backwards: ends); 0: all was read */
};
void page_read(struct page *p); /* `ready` follows, later */
void service_history_token(ProtobufCBinaryData *into, const struct uuid *run, int64_t next, int64_t end, bool backwards);

/* ---- tokens (service_token.c) ---- */

void service_token_write(const struct run_token *t, ProtobufCBinaryData *into);
int service_token_read(const ProtobufCBinaryData *from, const char *ns, enum run_task_type type, struct run_token *ret,
                       struct refusal *no) MUST_USE;

/* ---- tasks on their way to a worker (service_hand.c) ---- */

struct handing { /* embedded; a started task that becomes an answer */
    struct page page;
    char *ns, *id;
    struct uuid run;
    struct run_task_given given;             /* a workflow task, or a query's */
    Tp__PollActivityTaskQueueResponse *activity;
    struct run_token token;
    void (*ready)(struct handing *h, const struct err *e); /* e NULL: the answer is whole */
};
void handing_begin(struct handing *h, struct service *s, const struct journal_key *key);
void handing_done(struct handing *h);

/* ---- the rest, by file ---- */

void service_offer(struct service *s, const struct journal_key *key, const struct run *r); /* service_poll.c */
void service_settle(struct service *s, struct run *r, struct durable_turn *t, const struct matching_run *key);
void service_match(struct service *s); /* what can be matched is; what has expired is answered */
void service_look_soon(struct service *s);
void service_errands_run(struct service *s, const struct journal_key *key, const struct run *r); /* service_errand.c */
void service_errands_close(struct service *s);

void service_schedule_tend(struct service *s, const struct journal_key *key, const struct schedule *m); /* service_tend.c */
void service_tended_close(struct service *s);
extern const struct schedule_zones service_zones; /* service_schedule.c */
bool service_attribute_find(void *ctx, struct str name, enum journal_type *ret); /* service_list.c; ctx: a service_namespace */

int service_namespaces_open(struct service *s, struct err *e) MUST_USE; /* service_namespace.c */
void service_namespaces_close(struct service *s);
struct service_namespace *service_namespace_find(struct service *s, const char *name); /* NULL too while it is deleted */
struct service_namespace *service_namespace_any(struct service *s, const char *name);
/* It is durable, and in force; `c` NULL: nobody waits any more. Without it, an empty message is answered. */
typedef void service_stored_fn(struct service *s, struct service_call *c, const struct service_namespace *n);
/* In place of what is there; c may be NULL. One change of a namespace at a time: else the call is refused, to be repeated. */
void service_namespace_store(struct service *s, struct service_call *c, Wt__Namespace *take_made, service_stored_fn *then);
void service_namespace_forget(struct service *s, const char *name); /* one that is deleted */
int service_namespace_missing(const char *name, struct refusal *no); /* "Namespace … is not found." */
void service_attribute_set(Wt__Namespace *w, const char *name, Tp__IndexedValueType type);
/* A batch operation wants something; it is not there any more. (service_batch_work.c) */
void service_batch_tend(struct service *s, const struct journal_key *key, const struct batch *b);
int service_batch_filter(struct service *s, const char *ns, const char *query, struct filter **ret, struct err *e) MUST_USE;
uint64_t service_batches_running(const struct service *s, const char *ns);
void service_batches_close(struct service *s);
void service_sweep_begin(struct service *s, const char *ns); /* service_sweep.c */
void service_sweeps_begin(struct service *s);
void service_sweeps_close(struct service *s);
/* Before a request runs. (service_attributes.c) */
int service_attributes_apply(struct service *s, struct service_call *c, struct refusal *no) MUST_USE;

/* service_worker.c */
void service_workers_open(struct service *s);
void service_workers_close(struct service *s);
struct service_worker *service_worker_find(const struct service *s, uint64_t id); /* NULL: it has ended */
int service_worker_check(const struct service_worker *w, const char *method, const char *ns, struct refusal *no) MUST_USE;
bool service_worker_drains(const struct service_worker *w);
void service_worker_left(struct service_worker *w); /* it says that it ends: if it drains, its polls are answered now */
bool service_worker_polls(struct service_worker *w, const char *queue, bool sticky); /* false: it drains, and gets no task */
void service_worker_took(struct service_worker *w, const struct run_token *token); /* it has been sent that task */
void service_workers_look(struct service *s, const struct journal_key *key, const struct run *r); /* after a commit; r NULL: gone */
void service_watches_tell(struct service *s);

#define SERVICE_METHOD(name) void service_##name(struct service *s, struct service_call *c)
SERVICE_METHOD(system_info); SERVICE_METHOD(cluster_info); SERVICE_METHOD(namespace_describe);
SERVICE_METHOD(namespace_register); SERVICE_METHOD(namespace_list); SERVICE_METHOD(namespace_update);
SERVICE_METHOD(namespace_deprecate); SERVICE_METHOD(namespace_delete); SERVICE_METHOD(attributes_get); SERVICE_METHOD(attributes_add);
SERVICE_METHOD(attributes_remove); SERVICE_METHOD(attributes_list);
SERVICE_METHOD(batch_start); SERVICE_METHOD(batch_stop); SERVICE_METHOD(batch_describe); SERVICE_METHOD(batch_list);
SERVICE_METHOD(start); SERVICE_METHOD(signal_with_start); SERVICE_METHOD(multi);
SERVICE_METHOD(signal); SERVICE_METHOD(cancel); SERVICE_METHOD(terminate); SERVICE_METHOD(describe);
SERVICE_METHOD(remove); SERVICE_METHOD(options); SERVICE_METHOD(reset);
SERVICE_METHOD(history); SERVICE_METHOD(history_reverse);
SERVICE_METHOD(poll_workflow); SERVICE_METHOD(poll_activity); SERVICE_METHOD(worker_gone);
SERVICE_METHOD(task_completed); SERVICE_METHOD(task_failed); SERVICE_METHOD(sticky_reset);
SERVICE_METHOD(activity_completed); SERVICE_METHOD(activity_failed); SERVICE_METHOD(activity_canceled);
SERVICE_METHOD(activity_beat); SERVICE_METHOD(activity_completed_by_id); SERVICE_METHOD(activity_failed_by_id);
SERVICE_METHOD(activity_canceled_by_id); SERVICE_METHOD(activity_beat_by_id);
SERVICE_METHOD(query); SERVICE_METHOD(query_completed); SERVICE_METHOD(update); SERVICE_METHOD(update_poll);
SERVICE_METHOD(queue_describe); SERVICE_METHOD(queue_partitions); SERVICE_METHOD(worker_heartbeat);
SERVICE_METHOD(schedule_create); SERVICE_METHOD(schedule_describe); SERVICE_METHOD(schedule_update);
SERVICE_METHOD(schedule_patch); SERVICE_METHOD(schedule_delete); SERVICE_METHOD(schedule_list); SERVICE_METHOD(schedule_count);
SERVICE_METHOD(schedule_matching);
SERVICE_METHOD(list); SERVICE_METHOD(count); SERVICE_METHOD(list_open); SERVICE_METHOD(list_closed);
