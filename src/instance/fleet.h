/* fleet.h -- every revision that may run on this node: its queue, its instances, how many of them.
 *
 * Receives revisions (deployed or found at boot), requests through the gateway's seam (backend.h), and
 * what instances report, and route tables. Owns the instances, the queues and what a host name leads to;
 * it decides nothing about traffic: a request gets one Revision of the table by weight, or by its tag.
 * Emits facts about revisions (for their conditions), finished starts, finished invocations, log lines.
 * Refuses, at once and counted: a full queue, a revision whose start failed (until its pause is over),
 * more than instances_max or starts_max (the latter waits its turn).
 *
 * Invariants (fleet_check): a request waits only while no instance has room; the in-flight numbers of
 * a revision's instances add up to its running requests; no more live instances than max-scale.
 * Time and randomness come in through the loop and the seed. Loop thread only.
 */
#pragma once

#include "base/map.h"
#include "base/rng.h"
#include "instance/fnlog.h"
#include "instance/instance.h"
#include "scale/kpa.h"
#include "serving/route.h"

struct fleet;

struct fleet_facts { /* of one revision, for its status */
    bool ready_once;      /* as many as initial-scale and min-scale ask for were ready at once */
    bool active;          /* in the autoscaler's eyes: it has load, or had some a window ago */
    bool activating;      /* active, and too few are ready */
    bool timed_out;       /* not active, because none became ready in time */
    uint32_t actual, desired, starting;
    bool failing;         /* the last start failed and none succeeded since */
    enum phase failed_phase;
    bool retryable;
    int exit_status;      /* of the failed start; -1: it did not exit by itself */
    const char *config_reason; /* of the failed start; see instance.h; NULL: another cause. Lives for ever */
    const struct instance_resolved *resolved; /* valid for the call */
    char message[256];    /* why it fails; of one whose first start is slow: where it hangs */
};

struct fleet_observer {
    void (*on_facts)(void *ctx, const struct revision *r, const struct fleet_facts *f);
    void (*on_start)(void *ctx, const struct revision *r, const struct start_record *s);
    void (*on_record)(void *ctx, const struct invocation_record *r);
    void (*on_limit)(void *ctx, const char *limit); /* reached: to be counted by name */
};

int fleet_open(const struct instance_env *env, const struct fleet_observer *observer, void *ctx,
               uint64_t seed, struct fleet **ret, struct err *e) MUST_USE;
void fleet_free(struct fleet *f); /* kills what runs */
DEFINE_AUTO(fleet, struct fleet *, fleet_free)

/* was_ready: it had been Ready before, so it needs no instance to prove itself. One that was dropped and
 * still drains is taken back as it is. Gets no requests before a route names it. */
void fleet_add(struct fleet *f, struct revision *take_r, bool was_ready);
/* No route names it any more: it serves who is with it already, goes to zero, and is forgotten. */
/* The limits in its env say something else: how this one scales is decoded anew; nothing of it is stopped or forgotten. */
void fleet_rescale(struct fleet *f, const char *ns, const char *service, const char *revision, const json_t *annotations);
void fleet_drop(struct fleet *f, const char *ns, const char *service, const char *revision);
/* From now on requests for the service go as the table says; who waits already keeps its Revision. What
 * the table names was added before; what could not be is left out. The own name of a service goes
 * before a tag of another that sounds the same. The table of a Route that is nobody's may name Revisions of any
 * service of its namespace. */
void fleet_route_set(struct fleet *f, const struct route_table *t);
/* No name leads to the service any more; its Revisions stay until they are dropped. */
void fleet_route_remove(struct fleet *f, const char *ns, const char *service);
/* Another name, of any kind, leads to that route, whether it is there yet or not. */
void fleet_domain_set(struct fleet *f, const char *domain, const char *ns, const char *route);
void fleet_domain_remove(struct fleet *f, const char *domain);
void fleet_remove_service(struct fleet *f, const char *ns, const char *service);
/* A ConfigMap or Secret of the namespace (NULL: of some) is there or has changed: what failed for the lack of it is tried again
 * at once, however late. */
void fleet_config_changed(struct fleet *f, const char *ns);
/* Drains everything and starts nothing any more. */
void fleet_drain(struct fleet *f);
uint32_t fleet_live(const struct fleet *f); /* instances not yet ended */

/* ---- task queues (docs/decisions/0012) ---- */

/* Who serves the port inside instances of revisions that are bound to a task queue; at most one, before any starts. */
struct fleet_servers {
    void *(*on_served)(void *ctx, struct instance *i, int take_fd); /* what the next two get; not NULL */
    void (*on_draining)(void *ctx, void *served); /* it is to take nothing new; may come again */
    void (*on_gone)(void *ctx, void *served);     /* it has ended: nothing of it counts any more */
};
void fleet_serve(struct fleet *f, const struct fleet_servers *servers, void *ctx);
/* The same of revisions whose attempts leave checkpoints (docs/decisions/0011). */
void fleet_serve_attempts(struct fleet *f, const struct fleet_servers *servers, void *ctx);
struct fleet_work { /* what waits for workers of a revision */
    uint32_t waiting;           /* tasks in its queue; they count as requests that wait do */
    bool unattended;            /* and nobody else takes them: worth a start from zero */
    struct start_task first;    /* one of them */
};
/* Counts for that revision while it is the one that gets most of its service's requests. */
void fleet_work(struct fleet *f, const char *ns, const char *service, const char *revision, const struct fleet_work *w);
/* A task was handed to the instance, or is over: while it has some, it is as busy as with requests. */
void fleet_task_begin(struct fleet *f, struct instance *i);
void fleet_task_end(struct fleet *f, struct instance *i); /* may free it */
/* Open workflows that it has at hand: for as long again as the window it is not given up for want of tasks alone. */
void fleet_cached(struct fleet *f, struct instance *i, uint32_t count);

struct backend *fleet_backend(struct fleet *f); /* what the gateway talks to */

void fleet_each_instance(struct fleet *f, void (*on_instance)(void *ctx, const struct instance *i),
                         void *ctx);
/* Drains one instance by its name, as if it were not needed; the next request brings another, and
 * min-scale does at once. False: no such instance. */
bool fleet_stop_instance(struct fleet *f, const char *id);
struct fleet_totals {
    uint32_t revisions, instances, ready, starting, queued, running;
};
struct fleet_totals fleet_totals(const struct fleet *f);
/* Gauges of one service, all revisions together; false: unknown. */
bool fleet_service_totals(const struct fleet *f, const char *ns, const char *service,
                          struct fleet_totals *ret);
/* The revision that gets most of the new requests; NULL: no such service. Valid until the loop turns. */
const struct revision *fleet_serving(const struct fleet *f, const char *ns, const char *service);
/* Of that revision: what it said last, and why. NULL: no such service. */
const struct kpa *fleet_autoscaler(const struct fleet *f, const char *ns, const char *service);
void fleet_each_service(const struct fleet *f,
                        void (*on_service)(void *ctx, const struct revision *serving,
                                           const struct fleet_totals *t),
                        void *ctx);
/* Walks everything and asserts the invariants above; for tests and simulation. */
void fleet_check(const struct fleet *f);
struct fnlog *fleet_log(struct fleet *f, const char *ns, const char *service); /* NULL: unknown */
