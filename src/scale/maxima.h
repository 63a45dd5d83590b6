/* maxima.h -- the largest of what was said in the last so many slots of time; the scale-down delay.
 *
 * Receives a value and the number of its slot; numbers never go back. Owns nothing: the room is the
 * caller's. Emits the maximum of the slots (now - room, now]. A value leaves the room when a later one
 * is not smaller, so what is kept falls from the front to the back, and the front is the answer.
 */
#pragma once

#include "base/base.h"

struct maxima_entry { uint64_t slot; uint32_t value; };
struct maxima {
    struct maxima_entry *entries; /* a ring */
    uint32_t room, first, count;
};

void maxima_init(struct maxima *m, struct maxima_entry *entries, uint32_t room); /* room >= 1 */
uint32_t maxima_record(struct maxima *m, uint64_t slot, uint32_t value);         /* the maximum now */
