/* sandbox.h -- an isolation tier: a struct of functions that makes, signals and ends sandboxes.
 *
 * Receives what to run and its limits. Owns the processes, namespaces, cgroups and mounts of every
 * sandbox until it reports their end. Emits: started (the function's own code runs now), ended (how).
 * Refuses: limits it cannot enforce, unless the host lacks the means and `hob doctor` says so.
 * Callbacks come on the loop thread, never before the starting call returned; on_ended comes exactly
 * once and last, when nothing of the sandbox is left on the host.
 * Tiers: native (namespaces, this folder); microvm (later).
 */
#pragma once

#include "base/limits.h"
#include "os/loop.h"

struct sandbox;
struct sandbox_tier;

struct sandbox_mount {
    const char *source; /* relative to the artifact store: "blobs/sha256/…", "bundles/sha256-…" */
    const char *target; /* absolute, inside; made if missing; read-only, nosuid, nodev */
};
struct sandbox_scratch { /* emptyDir: memory-backed, writable, of hard size */
    const char *target;
    uint64_t size_bytes; /* taken from ephemeral_bytes; 0: shares what is left of it with /tmp */
    uint32_t volume;     /* the pod's volume of this number, from 1, with a size of its own; 0: not shared */
    uint32_t same;       /* the same folder once more as the scratch of this number, from 1 and before it; 0: its own */
    bool read_only;
};
struct sandbox_file {
    const char *path; /* below its folder */
    const void *data; /* any bytes */
    size_t size;
    uint32_t mode;    /* 0 to 0777 */
};
struct sandbox_folder { /* small read-only files, made inside in memory and owned by the function: a ConfigMap */
    const char *target;
    const struct sandbox_file *files;
    size_t file_count;
    bool alone; /* the target is the one file, not a folder that has it */
};

struct sandbox_spec { /* borrowed for the call */
    const char *id;               /* instance name, a DNS label; also the host name inside */
    const char *const *argv;      /* NULL-terminated; argv[0] found as execvp would, in the env's PATH */
    const char *const *env;       /* NULL-terminated "NAME=value" */
    const char *workdir;          /* absolute, inside */
    uint32_t uid, gid;
    uint64_t memory_bytes, ephemeral_bytes; /* ephemeral: /tmp plus every scratch, together hard */
    uint32_t cpu_milli, pids_max, fds_max;
    const struct sandbox_mount *mounts;
    size_t mount_count;
    const struct sandbox_scratch *scratches;
    size_t scratch_count;
    const struct sandbox_folder *folders;
    size_t folder_count;
    struct sandbox_pod *pod; /* NULL: it is alone */
    bool leads;    /* goes into the pod's own shell, once; the others join it */
    bool commands; /* run() may be called: a process waits inside for it */
    uint16_t served_port; /* 1024 or above, of 127.0.0.1 inside: taken before the function runs, for the caller to serve.
                           * 0: none. In a pod for the one that leads only */
};

/* A command that runs beside the function; embedded by who waits for it. */
struct sandbox_run {
    struct list_node node;
    uint32_t id;
    /* ran false: it could not be; text says why. Else the text is what it said, cut, any bytes. */
    void (*on_done)(struct sandbox_run *r, bool ran, bool late, int status, struct str text);
};

/* What several sandboxes share: network, ipc, host name, user ids and volumes. When the one that leads has ended, or before it
 * began what was kept for it, all are killed. */
enum { SANDBOX_POD_VOLUMES_MAX = 16 };
struct sandbox_pod;
struct sandbox_pod_spec { /* borrowed for the call */
    const char *id; /* host name */
    const uint64_t *volume_bytes;
    size_t volume_count;
};
struct sandbox_pod_events { /* one of them, once, and not before pod_open() returned */
    void (*on_open)(void *ctx); /* sandboxes may be started in it */
    void (*on_failed)(void *ctx, const struct err *why);
};

struct sandbox_exit {
    int status;       /* exit code 0..255; 128 + signal when killed by one */
    bool oom_killed;  /* the memory limit did it */
    uint64_t cpu_us, memory_peak_bytes; /* 0 where the host cannot tell */
};

struct sandbox_events {
    /* The function's program has been exec'd. pool_hit: the sandbox had been made ahead. */
    void (*on_started)(void *ctx, uint64_t exec_us, bool pool_hit);
    /* Started or not: over. `why` is set when it never ran (its code and text). */
    void (*on_ended)(void *ctx, const struct sandbox_exit *x, const struct err *why);
    /* spec.served_port: a listening socket, non-blocking and close-on-exec, once and just before on_started. What the
     * function has begun to connect waits in it. May be NULL if no spec names a port. */
    void (*on_served)(void *ctx, int take_fd);
};

/* Descriptors the caller owns, all non-blocking and close-on-exec. */
struct sandbox_pipes {
    int out_fd;    /* stdout and stderr of the function, reading end */
    int phases_fd; /* what it writes to HOB_PHASES_FD (3), reading end */
};

struct sandbox_tier_ops {
    const char *name; /* "native" */
    int (*start)(struct sandbox_tier *t, const struct sandbox_spec *spec,
                 const struct sandbox_events *events, void *ctx, struct sandbox **ret,
                 struct sandbox_pipes *ret_pipes, struct err *e);
    /* To the function's process (not its children). ESRCH is fine. */
    void (*signal)(struct sandbox *sb, int signo);
    void (*kill)(struct sandbox *sb); /* everything in it, now; on_ended follows */
    /* An unconnected, non-blocking TCP socket inside the sandbox's network namespace. Usually at
     * once (>= 0, the caller owns it); -CODE_UNAVAILABLE means none is at hand: on_socket of a
     * later want_socket() will bring one, or -1 if the sandbox ended first. It never comes before
     * want_socket() returned. */
    int (*socket)(struct sandbox *sb, struct err *e);
    void (*want_socket)(struct sandbox *sb, void (*on_socket)(void *ctx, int take_fd), void *ctx);
    int (*usage)(struct sandbox *sb, uint64_t *ret_cpu_us, uint64_t *ret_memory_bytes);
    /* With the function's own rights, environment and directory; needs spec.commands. When its time is over, all
     * that it started is killed, and it was late. on_done comes once, and never before this returned; unless
     * run_forget() came first, or the sandbox was freed. NULL: this tier cannot. */
    int (*run)(struct sandbox *sb, const char *const *argv, uint64_t timeout_us, struct sandbox_run *r,
               struct err *e);
    void (*run_forget)(struct sandbox *sb, struct sandbox_run *r); /* fine if it is done */
    /* NULL: this tier has no pods. */
    int (*pod_open)(struct sandbox_tier *t, const struct sandbox_pod_spec *spec, const struct sandbox_pod_events *events,
                    void *ctx, struct sandbox_pod **ret, struct err *e);
    void (*pod_free)(struct sandbox_pod *p); /* after all sandboxes in it were freed */
    /* After on_ended, or before: then it is killed and no callback comes any more. */
    void (*free)(struct sandbox *sb);
    /* So many functions may be called at any moment. NULL: this tier makes nothing ahead for them. */
    void (*pool_expect)(struct sandbox_tier *t, uint32_t functions);
    uint32_t (*pool_ready)(struct sandbox_tier *t);
    uint32_t (*pool_wanted)(struct sandbox_tier *t); /* how many are to be ready: follows what came at once lately, and may come */
    void (*tier_free)(struct sandbox_tier *t);
};
struct sandbox_tier {
    const struct sandbox_tier_ops *ops;
};
