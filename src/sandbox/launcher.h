/* launcher.h -- the privileged process: makes sandboxes, and supervises the node and the fetcher.
 *
 * Receives requests from the node it started (protocol.h), whom it does not trust. Owns every
 * sandbox, its control group and uid range; the node and the fetcher; the lock on the data folder.
 * Emits notices. Refuses: a malformed request (the node is then ended), a path outside the file
 * roots, more sandboxes than
 * instances_max + the pool's largest size, a pool larger than sandbox_pool_max, a second launcher on the same folder.
 *
 * Run by root it is the real thing; run by an ordinary user it first makes a user namespace and is root
 * of that (docs/decisions/0001). Single-threaded, and to stay so: it enters namespaces.
 */
#pragma once

#include "base/limits.h"

/* What runs in the children. Called in a fork of the launcher, whose standard streams and cwd it has;
 * SIGKILL comes when the launcher dies; must exec or _exit. Every other descriptor of the launcher is
 * close-on-exec. link_fd is at the moment close-on-exec too. */
struct launcher_children {
    void (*run_node)(void *ctx, int link_fd, bool privileged);
    void (*run_fetcher)(void *ctx, int link_fd, bool privileged); /* NULL: there is none */
    void *ctx;
};

struct launcher_config { /* everything must outlive the call */
    const char *data_dir;  /* must exist; locked while we run; its path names the control groups */
    const char *store_dir; /* artifacts; must exist */
    const struct limits *limits;
    const char *const *file_roots; /* absolute */
    size_t file_root_count;
    struct launcher_children children;
    /* Opens the request log, at each node's beginning and at each SIGHUP; NULL: there is none, and SIGHUP ends us. */
    int (*request_log)(void *ctx, struct err *e);
};

/* Until the node ended by its own will (exit 0: returns 0), or SIGTERM or SIGINT came and all is down
 * (0), or the node never came up (an error). Blocks these signals and takes SIGCHLD. Not to be called
 * with threads around. */
int launcher_run(const struct launcher_config *c, struct err *e) MUST_USE;

/* The name of the control groups of the hob that runs on this (real) path. Pure. */
void launcher_group_name(const char *data_path, char *into, size_t size);
