/* share.h -- who gets an instance when the node has few left. Pure.
 *
 * Receives what every revision holds and wants. Owns nothing. Emits how many instances one may start now,
 * and who has to give one up for it. Refuses nothing.
 *
 *   - A revision without an instance gets its first one before another gets its second: of the room there is, one
 *     for each of those who wait with nothing is not for others, and a part of the node (instances_first_percent) is
 *     for first instances only, so that a burst does not even make them wait for an end.
 *   - On a full node, what is idle elsewhere and above its min-scale goes first, the longest idle one of all. Then, but
 *     only for a first instance, whoever holds the most gives one: it gets no new requests and ends those it has. A
 *     min-scale is a wish for readiness, so it gives way to a first instance too, but never the last of its own.
 *   - Nobody is asked while as many are on their way out as revisions wait with nothing.
 */
#pragma once

#include "base/base.h"

struct share_claim { /* one revision */
    uint32_t live; /* ready or starting; what drains is not */
    uint32_t min;
    bool waits;    /* for its first instance: has none, and may start one now */
    bool idle;     /* one of the ready ones has nothing to do */
    uint64_t idle_since_us;
};
struct share_node {
    uint32_t max, first; /* instances; of them for first ones only */
    uint32_t held;       /* all that have not ended: what drains holds its place */
};

static inline uint32_t share_first(uint32_t max, uint32_t percent)
{
    return (uint32_t)((uint64_t)max * percent / 100);
}

/* How many of `want` (> 0) may start, for claims[asker]. */
uint32_t share_grant(const struct share_node *n, const struct share_claim *claims, uint32_t count, uint32_t asker,
                     uint32_t want);

enum share_from { SHARE_NOBODY, SHARE_IDLE, SHARE_BUSY };
/* Who gives one instance for claims[asker], for whom there was no room: *ret is its index. SHARE_IDLE: its longest idle
 * one; SHARE_BUSY: its least busy one. */
enum share_from share_victim(const struct share_node *n, const struct share_claim *claims, uint32_t count,
                             uint32_t asker, uint32_t *ret);
