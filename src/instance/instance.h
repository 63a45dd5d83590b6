/* instance.h -- one instance's life: start-up phases, probes, ready, busy, drain, stop.
 *
 * Receives a revision to run, artifacts, an isolation tier; later stop requests.
 * Owns its sandbox, artifact leases, pipes and idle connections, and its start record.
 * Emits ready, failed (once, instead of ready), not ready and ready again, given up, ended (once, last), log
 * lines.
 * Refuses nothing by itself: how many there are is decided by fleet.c.
 *
 *   WAITING --launch--> STARTING --probe passed, models verified--> READY --stop--> DRAINING --> ENDED
 *      \                    \--failed-------------------------------------------------------------^
 *       \--stop--> ENDED                     READY --the function exits by itself--> ENDED
 *
 * Image, models and sandbox are waited for together; the sandbox's own preparation was done before
 * (docs/decisions/0002). Loop thread only.
 */
#pragma once

#include "artifact/artifact.h"
#include "codec/digest.h"
#include "instance/backend.h"
#include "instance/connect.h"
#include "sandbox/sandbox.h"
#include "serving/config.h"
#include "serving/revision.h"
#include "telemetry/phase.h"

enum instance_state {
    INSTANCE_WAITING,
    INSTANCE_STARTING,
    INSTANCE_READY,
    INSTANCE_DRAINING,
    INSTANCE_ENDED,
};
const char *instance_state_name(enum instance_state s);

struct instance;
struct crew;

struct instance_env { /* outlives every instance */
    struct loop *loop;
    const struct limits *limits;
    struct sandbox_tier *tier;
    struct artifact_store *artifacts;
    struct config_source config; /* ConfigMaps and Secrets, as they are when an instance starts */
};
/* What a revision's references became: "sha256:…", or "" while nobody has read them. Written once, by
 * the first instance that hears of it, and asked for by all that start later, whatever the origin says by
 * then. The owner's, and outlives the instances. */
struct instance_resolved {
    char image[DIGEST_TEXT];
    char (*models)[DIGEST_TEXT]; /* in the order of the models among the mounts */
    uint32_t model_count;        /* INSTANCE_MODELS_MAX at most */
    struct instance_resolved *others; /* of the revision's other containers */
    uint32_t other_count;
};
struct instance_ops {
    void (*on_resolved)(struct instance *i); /* i->resolved says more than before; must not free i */
    void (*on_ready)(struct instance *i);
    /* Before it was ever ready. on_ended follows. */
    void (*on_failed)(struct instance *i, bool retryable);
    /* A ready one: its readiness probe failed (no new requests), or passed again. */
    void (*on_turned)(struct instance *i, bool ready, const char *why);
    /* A ready one: it drains, because its liveness probe failed; it needs a successor. on_ended follows. */
    void (*on_given_up)(struct instance *i, const char *why);
    void (*on_ended)(struct instance *i); /* nothing is left of it; may free it */
    void (*on_line)(struct instance *i, const char *container, struct str line); /* NULL: it has only one */
    /* Of a revision that is bound to a task queue, once, before its program runs: a socket that listens inside. */
    void (*on_served)(struct instance *i, int take_fd);
};

enum {
    INSTANCE_ID = 64,
    INSTANCE_MODELS_MAX = 16,
};

/* Read by fleet.c and the gateway's seam; changed only through the functions below, but for the
 * fields marked (fleet). */
struct instance {
    struct list_node node; /* (fleet) in its revision's list */
    struct list_node wait_node; /* (fleet) waiting for a start slot */
    void *owner;           /* (fleet) */
    const struct revision *revision;
    const struct instance_env *env;
    const struct instance_ops *ops;
    char id[INSTANCE_ID];
    enum instance_state state;
    struct start_record start;
    bool was_ready, failed;
    bool given_up, gone;   /* (fleet) gone: on_ended came; state says so a moment before */
    uint64_t ready_us, idle_since_us;
    uint32_t in_flight;    /* (fleet) requests, and: */
    uint32_t tasks;        /* (fleet) of its task queue, that it works on */
    uint32_t cached;       /* (fleet) open workflows that it has at hand */
    void *served;          /* (fleet) who serves its port inside; NULL: nobody (any more) */
    struct list connecting; /* (fleet) tickets that wait for a connection */
    enum instance_shared { SHARED_NONE, SHARED_CONNECTING, SHARED_DUE, SHARED_OPEN } shared;
                           /* (fleet) h2c: the one connection for all */
    uint64_t requests;     /* (fleet) */
    uint64_t mute_us;      /* (fleet) it did not answer a PING; 0: never */
    struct instance_doubt { /* (fleet) it broke a connection: is it about to end? */
        bool on;
        bool holds; /* it took a new connection, and that held: better than none */
        uint64_t until_us;
        struct loop_timer timer;
        struct connecting *connecting;
        int fd; /* a new connection, while it shows whether it holds */
    } doubt;
    enum instance_counted {
        COUNTED_NOT, COUNTED_WAITING, COUNTED_LAUNCHING, COUNTED_READY,
        COUNTED_UNREADY, /* was ready and will be: counts as starting */
    } counted;             /* (fleet) */
    struct instance_resolved *resolved;
    struct sandbox_exit exit;
    struct crew *crew; /* the containers beside it, or the one that it belongs to; NULL: it is alone */
    bool completed;    /* an init container that ran to its end */
    const char *config_reason; /* failed for what a ConfigMap or Secret lacks: CONFIG_ENV or CONFIG_FILES */
    struct instance_internals *in;
};

/* suffix: five characters that make the name unique, chosen by the caller (randomness comes in). */
struct instance *instance_new(const struct instance_env *env, const struct instance_ops *ops,
                              const struct revision *r, struct instance_resolved *resolved,
                              const char *suffix, void *owner);
void instance_free(struct instance *i); /* any time; what runs is killed, no callback any more */

void instance_launch(struct instance *i); /* WAITING -> STARTING */
/* What an instance that is not ready yet waits for. */
enum phase instance_phase(const struct instance *i);
/* The same in words: the phase, for how long, and why. */
void instance_hangs(const struct instance *i, char *into, size_t size);
/* It polled its task queue. */
void instance_polled(struct instance *i);
/* Drains: SIGTERM when no request is on it any more, at the latest after drain_ms or its timeoutSeconds,
 * whichever is longer; SIGKILL drain_ms after that. on_ended follows. */
void instance_stop(struct instance *i);
void instance_drained(struct instance *i); /* to be told when its last request has left */
void instance_kill(struct instance *i); /* now; on_ended follows */

/* A kept-alive connection, or -1. */
int instance_idle_take(struct instance *i, bool *ret_reused);
/* Keeps it for a while, unless the instance drains: see idle.h. */
void instance_idle_give(struct instance *i, int take_fd);
/* A new one; as connect_start(). */
struct connecting *instance_connect(struct instance *i, uint64_t give_up_us,
                                    void (*on_done)(void *ctx, int take_fd, const struct err *e),
                                    void *ctx);
bool instance_usage(const struct instance *i, uint64_t *ret_cpu_us, uint64_t *ret_memory_bytes);
