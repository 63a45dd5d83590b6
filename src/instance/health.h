/* health.h -- what the results of an instance's three probes mean, and when each is tried next.
 *
 * Receives the probes as declared, results, and the time. Owns nothing but its struct. Emits the moment of
 * each next try and verdicts: started, ready, not ready, dead. Refuses (ASSERT) a result of no try.
 * Pure.
 *
 * Kubernetes' rules: an initial delay counts from the program's start; tries are periodSeconds apart, begin to
 * begin; a state changes after successThreshold or failureThreshold equal results in a row; until the startup
 * probe has passed once the other two wait, and it is not tried again. Knative's: readiness with period 0 is
 * "aggressive": tried as often as useful, each try bounded by 100 ms, until it is ready; then no more.
 *
 * Better than both: while the instance starts, a port that refuses connections is no answer yet. The try waits
 * for it until the next would be due and fails only then; so failures are counted at Kubernetes' pace, and a port
 * that opens between two ticks is found at once.
 */
#pragma once

#include "serving/revision.h"

enum health_kind { HEALTH_STARTUP, HEALTH_LIVENESS, HEALTH_READINESS, HEALTH_KINDS };
const char *health_kind_name(enum health_kind k); /* "Startup", as events of Kubernetes begin */

enum health_verdict {
    HEALTH_SAME,    /* nothing that anybody has to act on */
    HEALTH_STARTED, /* the startup probe passed: the others begin */
    HEALTH_READY,   /* may get requests (again) */
    HEALTH_UNREADY, /* gets no new requests */
    HEALTH_DEAD,    /* startup or liveness failed too often: it has to be replaced. Nothing is tried any more */
};

struct health_check {
    const struct probe *probe; /* NULL: none */
    bool trying, last_passed;
    uint32_t run;              /* equal results in a row */
    uint64_t begun_us, next_us, pause_us;
};
struct health { /* a value; embedded */
    struct health_check checks[HEALTH_KINDS];
    uint64_t since_us; /* the program runs since */
    bool started, ready, ready_once, dead;
};

/* Any may be NULL: without readiness it is ready once started. The probes outlive it. */
void health_init(struct health *h, const struct probe *startup, const struct probe *liveness,
                 const struct probe *readiness, uint64_t now_us);
/* UINT64_MAX: not now: none, trying, held back by the startup probe, or over. */
uint64_t health_next_us(const struct health *h, enum health_kind k);

struct health_try {
    uint64_t timeout_us; /* for the answer, once connected; for a connection, unless: */
    uint64_t port_us;    /* a port that refuses or does not answer is waited for so long; 0: it is a failure */
};
struct health_try health_begin(struct health *h, enum health_kind k, uint64_t now_us);
enum health_verdict health_result(struct health *h, enum health_kind k, bool passed, uint64_t now_us);

/* How long an instance may take from its program's start to ready before its start is given up: the startup
 * probe's own patience where there is one and it is longer, else `usual_us`. */
uint64_t health_patience_us(const struct probe *startup, uint64_t usual_us);
