/* gc.h -- which Revisions that nobody sends to are old enough to go: Knative's revision garbage collection. Pure.
 *
 * Receives the Revisions of one Configuration that may go at all (not routed, not the latest created or ready, not
 * kept by serving.knative.dev/no-gc), the rules, and the time. Emits a verdict for each: those that are past both
 * ages go, the longest idle first, as long as gc_min are left; of what is left the longest idle beyond gc_max go.
 * Refuses nothing.
 */
#pragma once

#include "base/limits.h"

struct gc_revision {
    int64_t created_ms, idle_ms; /* made; not sent to since */
    bool goes;                   /* the verdict */
};
/* Sorts the rows by idle_ms. Returns how many go. */
size_t gc_decide(struct gc_revision **rows, size_t count, const struct limits *rules, int64_t now_ms);
