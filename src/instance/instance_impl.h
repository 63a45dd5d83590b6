/* instance_impl.h -- what the files of an instance share: instance.c (its states), instance_needs.c (what a start waits for),
 * instance_spec.c (what its sandbox is to run), instance_hangs.c (its delay in words). Not for anybody else. */
#pragma once

#include "instance/arrival.h"
#include "instance/checks.h"
#include "instance/idle.h"
#include "instance/instance.h"
#include "instance/output.h"

struct instance_internals {
    struct arrival image, models[INSTANCE_MODELS_MAX];
    uint32_t model_count;
    uint64_t launched_us; /* the artifacts were asked for */
    struct config *config; /* as it was then; NULL: it takes nothing, or not known yet */
    struct sandbox *sandbox;
    bool exec_seen, sandbox_over, told_to_end, polled;
    struct idle idle;
    struct loop_timer bound; /* start deadline, later the drain's */
    struct checks checks;
    uint64_t patience_us; /* from the sandbox's order to ready */
    struct output output;
    struct loop_task end_task;
};

static inline uint64_t instance_now_us(const struct instance *i) { return loop_clock_us(i->env->loop); }

/* The one of several containers that the fleet knows. */
static inline bool instance_leads(const struct instance *i) { return i->crew && i->revision->part == CONTAINER_SERVES; }

/* A start that comes to nothing; on_failed now, on_ended later. Nothing when it failed or drains already. */
void instance_fail(struct instance *i, enum phase at, bool retryable, const char *why);
/* Something that it waits for came: goes on if that was the last. */
void instance_begin_if_all(struct instance *i);
void instance_ready_if_all(struct instance *i);
