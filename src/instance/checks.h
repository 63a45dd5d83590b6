/* checks.h -- an instance's startup, liveness and readiness probes, tried when health.h says so.
 *
 * Receives the revision's probes and the sandbox, from its program's start on. Owns the tries and their timers.
 * Emits verdicts with the reason, and the connection of a passed tcpSocket probe, for the first request.
 * Refuses nothing; what a verdict leads to is decided by the instance. Loop thread only.
 */
#pragma once

#include "instance/health.h"
#include "instance/probe.h"

struct checks;

struct checks_events {
    /* why: of the try that decided; "" when it passed. May stop the checks. */
    void (*on_verdict)(struct checks *c, enum health_kind k, enum health_verdict v, const char *why);
    void (*on_connection)(struct checks *c, int take_fd);
};

struct checks { /* embedded; zero it first */
    const struct checks_events *events;
    struct health health;
    struct check {
        struct checks *owner;
        enum health_kind kind;
        struct loop_timer timer;
        struct prober prober;
        char why[PROBER_WHY]; /* of its last failure; "" before one */
    } all[HEALTH_KINDS];
    struct prober_request with; /* probe, port and times are set for every try */
    const struct revision *revision;
    bool running;
};

/* What r, id and the rest point to outlives the checks. A try may end before this returns. */
void checks_start(struct checks *c, const struct revision *r, const char *id, struct loop *l,
                  const struct limits *limits, struct sandbox_tier *tier, struct sandbox *sb,
                  const struct checks_events *events);
void checks_stop(struct checks *c); /* fine if never started */
/* Why the instance is not ready: the last failure of the probe that it waits for; "": none was answered yet. */
/* The port that this probe tries and that takes no connection yet; 0: it is not waiting for a port. */
uint16_t checks_refused_port(const struct checks *c);
const char *checks_why(const struct checks *c, enum health_kind *ret_kind);
