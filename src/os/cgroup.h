/* cgroup.h -- control groups of version 1, 2, and hosts that mix them.
 *
 * Receives the name under which this hob keeps its groups. Owns `…/<name>/` in each hierarchy and one
 * group per sandbox beneath; removes what a previous life of the same name left, wherever it was.
 * Emits control files that limits are written to, and usage. Refuses to guess: what a host cannot
 * limit is in cgroup_tree_has(), and setting it is a no-op that doctor reports.
 *
 * Place: beneath the group that hob itself was started in, so that a limit on hob's own service also
 * bounds its functions; on version 2, where a group with processes cannot hand down controllers,
 * beneath the nearest ancestor that can.
 */
#pragma once

#include "base/err.h"

#include <sys/types.h>

enum cgroup_kind { CGROUP_CPU, CGROUP_CPUACCT, CGROUP_MEMORY, CGROUP_PIDS, CGROUP_KINDS };

struct cgroup_tree;
struct cgroup;

/* Never fails for lack of controllers: then cgroup_tree_has() is false. */
int cgroup_tree_open(const char *name, struct cgroup_tree **ret, struct err *e) MUST_USE;
void cgroup_tree_free(struct cgroup_tree *t); /* removes <name>/, if it is empty */
DEFINE_AUTO(cgroup_tree, struct cgroup_tree *, cgroup_tree_free)

bool cgroup_tree_has(const struct cgroup_tree *t, enum cgroup_kind kind);
int cgroup_tree_version(const struct cgroup_tree *t, enum cgroup_kind kind); /* 1, 2; 0: none */
/* The directory that holds the groups of `kind`; NULL: none. On version 2 all kinds have the same. */
const char *cgroup_tree_path(const struct cgroup_tree *t, enum cgroup_kind kind);
bool cgroup_tree_is_unified(const struct cgroup_tree *t); /* only version 2 is in use */

/* Kills everything in groups called `name`, in every hierarchy, and removes them. Returns how many
 * groups were there. For the start, before cgroup_tree_open(). */
int cgroup_sweep(const char *name, struct err *e) MUST_USE;

int cgroup_open(struct cgroup_tree *t, const char *id, struct cgroup **ret, struct err *e) MUST_USE;
/* The calling process, which must have one thread, moves itself: on version 1 that waits for nobody, where moving another
 * waits for a grace period of the kernel (ten milliseconds). Also in a fork of the group's owner, before it becomes
 * another user or enters another control group namespace. */
int cgroup_enter(const struct cgroup *g, struct err *e) MUST_USE;

/* Control files for one sandbox, open for writing; -1 where there is none. */
struct cgroup_files {
    int memory, swap, oom_group, cpu_quota, cpu_period, cpu_shares, pids;
    bool memory_v1, cpu_v1;
};
int cgroup_files_open(const struct cgroup *g, struct cgroup_files *ret, struct err *e) MUST_USE;
void cgroup_files_close(struct cgroup_files *f);
struct cgroup_limits {
    uint64_t memory_bytes;
    uint32_t cpu_milli, pids_max;
};
int cgroup_limits_write(const struct cgroup_files *f, const struct cgroup_limits *l,
                        struct err *e) MUST_USE;

struct cgroup_usage {
    uint64_t cpu_us, memory_bytes, memory_peak_bytes, oom_kills;
};
void cgroup_usage(const struct cgroup *g, struct cgroup_usage *ret); /* 0 where the host cannot tell */
/* Files the usage is read from by somebody else (-1: none): see cgroup_usage_parse. */
void cgroup_usage_open(const struct cgroup *g, int *ret_cpu_fd, int *ret_memory_fd);
/* cpuacct.usage (nanoseconds) or cpu.stat (usage_usec N) in microseconds. Pure. */
uint64_t cgroup_cpu_parse(const char *text);
/* An eventfd-style notice of out-of-memory kills for version 1, where the kernel does not end the
 * whole group by itself; -1 where there is none or version 2 does it. */
int cgroup_oom_notice(const struct cgroup *g);

/* 0: removed; 1: still busy, try again soon. */
int cgroup_close(struct cgroup *g, struct err *e) MUST_USE; /* on 0 g is freed */
void cgroup_free(struct cgroup *g);                         /* removes what it can and frees */
DEFINE_AUTO(cgroup, struct cgroup *, cgroup_free)
