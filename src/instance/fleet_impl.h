/* fleet_impl.h -- what the files of the fleet share: fleet.c (revisions and services), fleet_route.c
 * (names and weights), dispatch.c (requests and slots), dispatch_admit.c (who may wait), dispatch_doubt.c
 * (who broke a connection), fleet_scale.c (how many instances). Not for anybody else. */
#pragma once

#include "instance/backend.h"
#include "instance/fleet.h"
#include "scale/admit.h"
#include "scale/retry.h"

struct fleet_pick {
    struct rev *rev;
    uint32_t weight;
};
struct fleet_host { /* what a host name, or a tag, leads to */
    struct target *target;
    char tag[ROUTE_TAG_MAX]; /* empty: the service's own */
    char *names[2];          /* NULL: none, or another service has it */
    struct fleet_pick *picks;
    uint32_t count;
};

struct target { /* one service; or a Route that is nobody's, without revisions of its own */
    struct fleet *fleet;
    char *key;                  /* "ns/service" */
    struct fleet_host *hosts;   /* as its route table says; the own one first */
    uint32_t host_count;
    bool cluster_local;
    struct rev *serving;        /* has most of the traffic; may not be ready yet; NULL: no Revision at all */
    struct list revs;           /* struct rev, oldest first */
    struct fnlog log;
    bool removed;
    struct list_node removed_node; /* in fleet->removed, from its removal until its last instance ends */
};

struct rev {
    struct fleet_work work;    /* of its task queue, whoever it counts for now: fleet_waiting() */
    uint64_t work_us;          /* when that was said */
    uint64_t busy_us;          /* something ran or waited last */
    struct list_node node; /* in target->revs */
    struct target *target;
    struct revision *spec;
    struct kpa *kpa;
    struct admit admit;
    struct retry_budget retries;
    uint64_t tick_us;      /* when the autoscaler is asked again; 0: it rests */
    int64_t told;          /* what fleet_tell() last said of its decision */
    struct list instances; /* struct instance */
    struct list queue;     /* struct ticket, arrival order */
    uint32_t picks;        /* of any target's hosts that name it */
    uint32_t running;      /* granted and not released */
    uint32_t refusing;     /* tickets about to be told no; they hold the revision */
    uint32_t ready, starting; /* live instances: those that take requests, and those that do not (yet, or
                               * not now: COUNTED_UNREADY); draining ones are neither */
    bool ready_once, reserve; /* reserve: dropped; unreachable: goes to zero and then away */
    bool held; /* wants more than its share of the node leaves it now */
    bool yielded; /* gave an idle instance to another; wants none back until it is asked */
    bool failing, fail_retryable;
    bool config_came; /* what its last start failed for may be there now: until the next one is over */
    const char *config_reason; /* as in fleet_facts */
    uint32_t failures;     /* starts failed in a row */
    uint64_t retry_us;     /* no start before */
    enum phase failed_phase;
    int exit_status;
    char message[256];
    char hangs[256];       /* where its first start hangs, as it was told at hangs_us; "": nowhere */
    uint64_t hangs_us, hangs_due_us; /* due: when it is looked at again */
    bool hangs_late;       /* told after the progress deadline */
    struct instance_resolved resolved;
    struct loop_timer timer;
    struct loop_task evaluate;
    uint64_t created_us;
};


struct fleet {
    struct backend backend;
    struct instance_env env;
    const struct fleet_observer *observer;
    void *ctx;
    struct rng rng;
    struct map by_host;         /* struct fleet_host */
    struct map by_key;          /* struct target */
    struct map by_domain;       /* the cluster-local name it leads to */
    struct list removed;        /* struct target: no name leads to it, but it still drains */
    struct list start_queue;    /* struct instance.wait_node: wait for a start slot */
    struct list due;            /* granted tickets whose on_turn comes at the end of the turn */
    struct loop_task due_task;
    uint32_t live, launching;   /* all instances not ended; those between launch and ready/failed */
    uint32_t revisions;
    struct fleet_serving {
        const struct fleet_servers *ops; /* NULL: nobody */
        void *ctx;
    } of_queues, of_attempts; /* who serves the port inside */
    bool draining, names_lost; /* names_lost: a tag is without a name that may become free */
};

static inline uint64_t fleet_now(const struct fleet *f) { return loop_now_us(f->env.loop); }

/* Once per turn, however many requests came in it: a burst is one decision. */
static inline void fleet_evaluate_soon(struct rev *v)
{
    loop_defer(v->target->fleet->env.loop, &v->evaluate);
}

/* Tasks that wait for it: those of a queue go to who gets the requests. */
static inline uint32_t fleet_tasks_waiting(const struct rev *v)
{
    return v->target->serving == v && !v->reserve && !v->target->removed ? v->work.waiting : 0;
}
/* Somebody waits who nobody but a new instance could serve. */
static inline bool fleet_wanted(const struct rev *v)
{
    return v->queue.count > 0 || (fleet_tasks_waiting(v) > 0 && v->work.unattended);
}

/* fleet.c */
void fleet_tell(struct rev *v); /* its facts, to the observer */
uint64_t fleet_hangs_us(const struct rev *v); /* when it is to be told (again) where its first start hangs */
void fleet_gone_if_empty(struct rev *v); /* may free v, and its target */
struct target *fleet_target(const struct fleet *f, const char *ns, const char *service); /* or NULL */
struct target *fleet_target_make(struct fleet *f, const char *ns, const char *service); /* it, or a new one */
void fleet_target_gone_if_empty(struct target *t); /* no name leads to it: may free it */
struct rev *fleet_rev(const struct target *t, const char *name);                          /* or NULL */
void fleet_rev_check(const struct rev *v);
struct instance *fleet_instance(const struct fleet *f, const char *id); /* or NULL */

/* fleet_work.c */
void fleet_work_served(struct instance *i, int take_fd); /* its port inside is open */
void fleet_work_drain(struct instance *i); /* it takes no new tasks; fine if it never did */
void fleet_work_gone(struct instance *i);  /* nor has any; fine as above. Does not free it */
void fleet_work_cause(const struct rev *v, struct instance *i); /* its start says which task waited, if one did */
bool fleet_work_holds(const struct rev *v, uint64_t now_us); /* too early to go to zero */

/* dispatch.c */
void dispatch_note_load(struct rev *v); /* what runs or waits, to the autoscaler */
void dispatch_let_go(struct rev *v, struct instance *i); /* one request or task less on it; may free i */
void dispatch_open(struct fleet *f);
void dispatch_queue(struct rev *v); /* gives free slots to who waits */
void dispatch_fail_all(struct rev *v); /* who waits is told why it does not start */
void dispatch_refuse_all(struct rev *v, const struct err *e);
struct instance *dispatch_pick(const struct rev *v); /* the least busy trusted one with room, or NULL */

/* dispatch_admit.c: the queue's rules, as scale/admit.h has them */
void dispatch_admit_arrived(struct rev *v); /* before its verdict */
enum admit_verdict dispatch_admit_ask(struct rev *v, const struct ticket *t);
void dispatch_admit_granted(struct rev *v);
void dispatch_admit_released(struct rev *v, const struct lease *l);
bool dispatch_admit_hopeless(const struct rev *v, const struct ticket *t); /* t waits no more */
uint64_t dispatch_admit_surplus(const struct rev *v);
uint32_t dispatch_admit_again_s(const struct rev *v); /* Retry-After */
/* What is said to one who is refused for it, and when it may come again. */
uint32_t dispatch_admit_text(const struct rev *v, enum admit_verdict verdict, struct err *e);

/* dispatch_doubt.c: an instance broke a connection. Its end, if that was it, is known a moment later; until then, or until
 * it has taken a new connection that holds, it gets no request, and for doubt_ms only those that nobody else has room for. */
void doubt_begin(struct instance *i);
void doubt_mute(struct instance *i); /* it did not answer; the second time, it is given up */
void doubt_end(struct instance *i); /* fine without one; before it is freed */

/* fleet_route.c */
void fleet_route_check(const struct target *t);
void fleet_route_forget(const struct rev *v); /* it is about to be freed */
void fleet_route_clear(struct target *t); /* no name leads to it any more */
void fleet_route_regain(struct fleet *f); /* after that: tags that wanted one of its names are reached again */
void fleet_domains_done(struct fleet *f);
/* NULL: unknown host. */
struct rev *fleet_route_pick(struct fleet *f, const struct backend_ask *ask, struct backend_way *ret);

/* fleet_scale.c */
void fleet_scale_open(struct rev *v, bool was_ready);
bool fleet_is_late(const struct rev *v); /* never ready, and its progress deadline has passed */
int64_t fleet_decision_mark(const struct rev *v); /* changes with what is told of the decision */
extern const struct instance_ops fleet_instance_ops;
void fleet_evaluate(struct rev *v); /* may free v */
void fleet_uncount(struct instance *i);
void fleet_give_up(struct instance *i); /* ready, but accepts nobody: drained, and another may start */
void fleet_reap(struct instance *i); /* ended, and nobody holds a connection to it: frees it */
