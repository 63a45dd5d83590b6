/* crew.h -- the containers of an instance beside the one that serves: who starts when, and who is started again.
 *
 * Receives the instance that serves (the leader), whose revision says who the others are. Owns the pod they share, and each of
 * them as an instance of its own kind (instance.c) that the fleet does not know. Emits: the leader may start (all init
 * containers ran to their end), ready or not ready any more, failed (an init container; a sidecar that cannot run), over
 * (nothing is left of any). Refuses nothing. A sidecar that ends is started again: at once, then after
 * container_backoff_ms, doubling; that ends with crew_tell_end(). Loop thread only (docs/decisions/0007). */
#pragma once

#include "instance/instance.h"

struct crew;

struct crew_events {
    void (*on_go)(struct instance *leader);
    void (*on_turned)(struct instance *leader); /* crew_ready() says what it is now */
    void (*on_failed)(struct instance *leader, enum phase at, bool retryable, const char *why);
    void (*on_over)(struct instance *leader); /* once, never before crew_tell_end() or crew_kill() returned */
};

/* Nothing is emitted before this returned. */
int crew_open(struct instance *leader, const struct crew_events *events, struct crew **ret, struct err *e) MUST_USE;
void crew_free(struct crew *c); /* after the leader's sandbox was freed */

bool crew_may_go(const struct crew *c);
bool crew_ready(const struct crew *c);
bool crew_over(const struct crew *c);
void crew_why(const struct crew *c, char *into, size_t size); /* what it waits for, in words */
void crew_tell_end(struct crew *c); /* SIGTERM; nobody is started any more */
void crew_kill(struct crew *c);

uint64_t crew_turn_us(const struct crew *c); /* when the last init container ended; 0: there is none */
struct sandbox_pod *crew_pod(const struct crew *c);
uint32_t crew_volume(const struct crew *c, const char *name); /* its number, from 1; 0: none of the pod's */

struct crew_look { /* for who asks how they are; borrowed */
    const char *name, *part, *state, *why;
    uint32_t restarts;
};
void crew_each(const struct crew *c, void (*on_member)(void *ctx, const struct crew_look *l), void *ctx);
