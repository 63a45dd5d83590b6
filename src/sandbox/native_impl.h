/* native_impl.h -- what the files of the native tier share: native.c (the tier, and the launcher's notices), native_shell.c
 * (shells that the launcher made), native_pod.c (several sandboxes that belong together), native_sandbox.c (one sandbox, from
 * its order to its end). Not for anybody else. */
#pragma once

#include "base/map.h"
#include "os/fd.h"
#include "sandbox/demand.h"
#include "sandbox/native.h"
#include "sandbox/peer.h"

struct native {
    struct sandbox_tier tier;
    struct loop *loop;
    struct peer *launcher;
    const struct limits *limits;
    const struct native_events *events;
    void *ctx;
    bool welcomed;
    struct notice_facts facts;
    struct map shells;   /* by id: every one that the launcher told us of and that did not end */
    struct list ready;   /* shells that lie idle */
    struct demand demand;
    uint32_t pool; /* what the launcher was last asked to keep ready */
    struct loop_timer pool_timer;
    struct list waiting; /* sandboxes that wait for a shell, in order */
    struct list pods_waiting; /* struct sandbox_pod: the same */
    struct list opens;
    uint64_t next_open;
    void (*on_stamps)(void *ctx, const uint64_t at_ns[STEM_STEPS]);
    void *stamps_ctx;
};

static inline struct native *native_of(struct sandbox_tier *t) { return CONTAINER_OF(t, struct native, tier); }

static inline struct str native_key(const uint64_t *id) { return (struct str){ (const char *)id, sizeof *id }; }

int native_ask(struct native *t, enum request_type type, uint64_t id, int32_t number, struct err *e) MUST_USE;
/* For what cannot fail from the caller's view: a broken link reports through on_lost. */
void native_tell(struct native *t, enum request_type type, uint64_t id, int32_t number);
