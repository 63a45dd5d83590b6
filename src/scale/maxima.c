#include "scale/maxima.h"

void maxima_init(struct maxima *m, struct maxima_entry *entries, uint32_t room)
{
    ASSERT(room >= 1);
    *m = (struct maxima){ .entries = entries, .room = room };
}

static struct maxima_entry *at(const struct maxima *m, uint32_t index)
{
    return &m->entries[(m->first + index) % m->room];
}

uint32_t maxima_record(struct maxima *m, uint64_t slot, uint32_t value)
{
    ASSERT(m->count == 0 || slot >= at(m, m->count - 1)->slot);
    while (m->count > 0 && slot - at(m, 0)->slot >= m->room) {
        m->first = (m->first + 1) % m->room;
        m->count--;
    }
    while (m->count > 0 && at(m, m->count - 1)->value <= value)
        m->count--;
    if (m->count > 0 && at(m, m->count - 1)->slot == slot)
        return at(m, 0)->value; /* a larger one of the same slot leaves with it */
    ASSERT(m->count < m->room); /* one entry per slot, and those before are larger */
    *at(m, m->count++) = (struct maxima_entry){ slot, value };
    return at(m, 0)->value;
}
