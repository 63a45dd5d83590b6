/* meter.h -- tells a peer that is too slow from one that only pauses, or that we made wait.
 *
 * Receives when we begin to wait for the peer and how many bytes came. Owns two numbers. Emits the
 * moment at which waiting has been too long. Pure: the clock comes in.
 *
 * Waiting uses up credit; bytes earn it, at the rate asked for; time in which we are the slow
 * side costs nothing. So a peer is cut off exactly when over its whole waiting time it stayed below
 * the rate, after the first 5 s. Credit ends at credit_max_us: sending much does not buy for ever.
 */
#pragma once

#include "base/base.h"

struct meter {
    uint64_t rate_bytes_s; /* 0: never too slow */
    uint64_t credit_us, credit_max_us;
    uint64_t since_us; /* waiting since; 0: not waiting */
};

enum { METER_FIRST_US = 5000000 };

static inline void meter_init(struct meter *m, uint64_t rate_bytes_s, uint64_t credit_max_us)
{
    *m = (struct meter){ rate_bytes_s, METER_FIRST_US, MAX(credit_max_us, METER_FIRST_US), 0 };
}
static inline void meter_wait(struct meter *m, uint64_t now_us)
{
    if (m->since_us == 0)
        m->since_us = now_us;
}
/* No longer waiting; `bytes` came (0 is fine). */
static inline void meter_moved(struct meter *m, uint64_t bytes, uint64_t now_us)
{
    if (m->rate_bytes_s == 0)
        return;
    if (m->since_us != 0) {
        uint64_t waited_us = now_us - m->since_us;
        m->credit_us -= MIN(waited_us, m->credit_us);
        m->since_us = 0;
    }
    if (bytes > 0 && m->credit_us < m->credit_max_us)
        m->credit_us = MIN(m->credit_us + bytes * 1000000 / m->rate_bytes_s, m->credit_max_us);
}
static inline uint64_t meter_due_us(const struct meter *m)
{
    return m->rate_bytes_s == 0 || m->since_us == 0 ? UINT64_MAX : m->since_us + m->credit_us;
}
