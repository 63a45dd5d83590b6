/* native_sandbox.h -- one sandbox of the native tier: its order, its pipes, the shell it was put into, its end.
 *
 * Receives a spec; later signals, commands, wishes for sockets. Owns the order and the writing ends until they are sent, and
 * who waits for a socket. Emits sandbox_events: on_started once, on_ended once and last. Refuses a spec that no stem would
 * accept. The functions without a comment are those of struct sandbox_tier_ops. */
#pragma once

#include "base/buf.h"
#include "sandbox/native_impl.h"
#include "sandbox/runs.h"

struct native_shell;

struct sandbox {
    struct native *owner;
    struct list_node node; /* in waiting, or in its pod's */
    struct list *in;       /* which of them */
    uint32_t volume_count; /* that go with its order */
    const struct sandbox_events *events;
    void *ctx;
    struct native_shell *shell; /* NULL: waits for one, or ended */
    struct buf order;
    int out_fd, phases_fd; /* the writing ends, until the order is sent */
    uint16_t served_port;
    int served_fd; /* listens there, from before the order is sent until the owner takes it; -1 */
    struct runs runs; /* commands beside the function */
    bool pool_hit, started, over;
    struct err why;
    struct list waiters;
    struct loop_task socket_task; /* brings sockets to waiters */
    struct loop_task end_task;    /* a failure that must not be told before start() returned */
};

int native_sandbox_start(struct sandbox_tier *tier, const struct sandbox_spec *spec, const struct sandbox_events *events,
                         void *ctx, struct sandbox **ret, struct sandbox_pipes *ret_pipes, struct err *e) MUST_USE;
void native_sandbox_free(struct sandbox *sb);
void native_sandbox_signal(struct sandbox *sb, int signo);
void native_sandbox_kill(struct sandbox *sb);
int native_sandbox_socket(struct sandbox *sb, struct err *e) MUST_USE;
void native_sandbox_want_socket(struct sandbox *sb, void (*on_socket)(void *ctx, int take_fd), void *ctx);
int native_sandbox_usage(struct sandbox *sb, uint64_t *ret_cpu_us, uint64_t *ret_memory_bytes) MUST_USE;
int native_sandbox_run(struct sandbox *sb, const char *const *argv, uint64_t timeout_us, struct sandbox_run *r,
                       struct err *e) MUST_USE;
void native_sandbox_run_forget(struct sandbox *sb, struct sandbox_run *r);

/* The end, told once. The callback may free it. */
void native_sandbox_over(struct sandbox *sb, const struct sandbox_exit *x);
/* Fails one that has no shell, or whose shell is on its way out. */
void native_sandbox_fail(struct sandbox *sb, const struct err *e);
/* Waits in a list until a shell comes for it. */
void native_sandbox_wait(struct sandbox *sb, struct list *in);
/* A shell, or sockets of it, came: whoever waits for one gets it in the next turn. */
void native_sandbox_on_sockets(struct sandbox *sb);
