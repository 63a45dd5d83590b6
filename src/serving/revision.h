/* revision.h -- a decoded, defaulted, validated revision: what to run and how to scale it. A value
 * owned by one allocation for each container; immutable after it was made, but for how it scales. */
#pragma once

#include "codec/json.h"
#include "serving/containers.h"
#include "serving/invoke.h"

enum probe_kind { PROBE_TCP, PROBE_HTTP, PROBE_EXEC, PROBE_GRPC };
struct probe {
    enum probe_kind kind;
    bool tls; /* HTTP: over TLS, whoever answers */
    uint16_t port;
    const char *path, *host;      /* HTTP; host NULL: none given */
    const char *const *headers;   /* "Name: value", NULL-terminated; HTTP */
    const char *const *command;   /* EXEC */
    const char *service;          /* GRPC; NULL or "": the server as a whole */
    uint32_t initial_delay_s, period_s /* 0: Knative's "aggressive" */, timeout_s,
        success_threshold, failure_threshold;
};
struct revision_mount {
    const char *volume, *path;
    bool is_model;
    const char *reference;   /* model: as given */
    const char *digest;      /* model: what the reference is or was resolved to; empty until it is */
    uint64_t size_bytes;     /* emptyDir: sizeLimit, 0 = share of ephemeral-storage */
    bool read_only;          /* emptyDir: asked for; all else is so always */
};
enum port_protocol { PORT_HTTP1, PORT_H2C };

/* The container that serves, and the revision as a whole. The others of its pod have the same form, for whoever
 * runs them; what of it is not about a container is only in the first. */
struct revision {
    enum container_part part;
    const char *container;            /* its name */
    bool unprobed;                    /* ready when it runs; one that serves only if it is: */
    bool ready_on_poll;               /* bound to a task queue without port or probe: ready at its first poll (worker.h) */
    struct revision **others;         /* init containers in their order, then sidecars; NULL: none. Owned */
    uint32_t init_count, other_count; /* other_count: all of them */
    const char *ns, *service, *name;  /* name: "<service>-00001" */
    uint64_t generation;
    const char *image;                /* as given */
    const char *image_digest;         /* "sha256:…", empty until resolved */
    const char *const *command;       /* NULL-terminated; command then args; empty: the bundle's own */
    const char *const *args;
    const char *const *env;           /* user's, "NAME=value" */
    const char *config;               /* config.h: says command, args, env and more at a start; NULL: nothing */
    const char *workdir;              /* NULL: the bundle's own */
    uint16_t port;                    /* 8080 */
    enum port_protocol protocol;
    uint32_t container_concurrency;   /* 0: unlimited */
    uint32_t timeout_s, response_start_timeout_s /* 0: none */, idle_timeout_s /* 0: none */;
    uint32_t uid, gid;                /* 65532 */
    uint64_t memory_bytes, ephemeral_bytes; /* 0: the limit's default */
    uint32_t cpu_milli;               /* 0: the limit's default */
    struct probe readiness;
    const struct probe *liveness, *startup; /* NULL: none */
    const struct revision_mount *mounts;
    size_t mount_count;
    /* scale */
    uint32_t min_scale, max_scale /* 0: limits.scale_max */, initial_scale;
    uint32_t activation_scale;        /* 0: none */
    bool by_rps;                      /* the metric is requests per second, else concurrency */
    bool weighted;                    /* averaged weighted-exponentially, else linearly */
    double total;                     /* of the metric, per instance */
    double target;                    /* the same × utilization, at least 0.01: what is aimed at */
    double burst_capacity;            /* target-burst-capacity; -1: always behind the queue */
    uint64_t window_us;               /* stable window, also the idle window before zero; whole seconds */
    uint32_t panic_window_s;          /* rounded, at least 1 */
    double panic_threshold;           /* needed instances to ready ones; 2 */
    uint64_t retention_us;            /* scale-to-zero-pod-retention-period */
    uint64_t scale_down_delay_us;
    /* hob.dev annotations */
    uint32_t queue_depth;             /* hob.dev/queue-depth, default limits.queue_depth_max */
    uint32_t start_budget_ms;         /* hob.dev/start-budget: 0 none */
    double start_budget_percentile;   /* hob.dev/start-budget-percentile, default 99 */
    uint64_t progress_deadline_us;
    const char *task_queue, *task_namespace; /* hob.dev/task-queue; NULL: none */
    struct invoke_policy invoke;      /* of durable invocations */
};
struct revision_source {
    const char *ns, *service, *name;
    uint64_t generation;
    const json_t *annotations; /* of the template; NULL: none */
    const json_t *pod;         /* spec of the template, defaulted and valid */
    const char *image_digest;  /* NULL: not resolved yet */
    const json_t *pins;        /* of models and other images, as pins.h has them; NULL: none resolved */
};
/* Expands $(NAME) in env, command and args as Kubernetes does. Refuses (CODE_INVALID) what the checks of
 * service.h should have refused, and arguments and environment over sandbox_args_bytes_max. */
int revision_decode(const struct revision_source *s, const struct limits *l, struct revision **ret,
                    struct err *e) MUST_USE;
/* How it scales, decoded anew: the settings of the cluster changed. annotations: as in the source it was made of. */
void revision_rescale(struct revision *r, const json_t *annotations, const struct limits *l);
void revision_free(struct revision *r);
DEFINE_AUTO(revision, struct revision *, revision_free)
