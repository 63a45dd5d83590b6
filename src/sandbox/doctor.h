/* doctor.h -- what this host gives sandboxes, what it does not, and what that costs.
 *
 * Receives nothing. Tries each means in a child process, so that nothing of it stays; makes and
 * removes control groups of its own name. Emits one finding per means, worst news included. Refuses
 * nothing. Call it as the user who would run hob, in a single-threaded process. */
#pragma once

#include "base/base.h"

enum doctor_state {
    DOCTOR_OK,
    DOCTOR_WARN, /* works, at the stated cost */
    DOCTOR_FAIL, /* no function can be isolated without it */
};
struct doctor_finding { /* texts are borrowed for the call */
    const char *name;   /* stable: "user-namespaces" */
    enum doctor_state state;
    const char *detail; /* what was found */
    const char *cost;   /* what it costs; "" if nothing */
    const char *fix;    /* what to do; "" if nothing */
};

void doctor_run(void (*on_finding)(void *ctx, const struct doctor_finding *f), void *ctx);
