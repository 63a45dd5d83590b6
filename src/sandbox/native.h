/* native.h -- the node's side of the native tier: sandboxes by way of the launcher.
 *
 * Receives the socket to the launcher. Owns it, the shells that lie ready, and what waits for one.
 * Emits the sandbox_events of each sandbox, and the launcher's own words (struct native_events).
 * Refuses a spec that no stem would accept, before anything is asked of anybody. Loop thread. */
#pragma once

#include "sandbox/protocol.h"
#include "sandbox/sandbox.h"

struct native_events {
    void (*on_fetcher)(void *ctx, int take_fd); /* a fetcher was (re)started: its socket */
    void (*on_drain)(void *ctx);                /* finish, then exit with 0 */
    void (*on_lost)(void *ctx, const struct err *why); /* the launcher is gone: end */
    void (*on_request_log)(void *ctx, int take_fd); /* it was opened, or anew */
};

/* Says hello. Takes the socket even on failure. `limits` and `events` must outlive the tier. */
int native_tier_open(struct loop *l, int take_launcher_fd, const struct limits *limits,
                     const struct native_events *events, void *ctx, struct sandbox_tier **ret,
                     struct err *e) MUST_USE;

/* Tells the launcher that the node has come up. Who ends before that is not started again: hob serve says
 * so and ends, too. */
int native_serving(struct sandbox_tier *t, struct err *e) MUST_USE;

/* Opens a file or folder of the host beneath the launcher's file roots. on_open comes once, never
 * before this returned: with a descriptor it owns, or -1 and the error. */
int native_open_local(struct sandbox_tier *t, const char *path,
                      void (*on_open)(void *ctx, int take_fd, const struct err *e), void *ctx,
                      struct err *e) MUST_USE;

/* What this host enforces; false until the launcher answered. */
bool native_facts(const struct sandbox_tier *t, struct notice_facts *ret);

/* For benchmarks: every sandbox started from now on reports when its stem did what. */
void native_stamps(struct sandbox_tier *t,
                   void (*on_stamps)(void *ctx, const uint64_t at_ns[STEM_STEPS]), void *ctx);
