#include "sandbox/demand.h"

void demand_init(struct demand *d, uint32_t base, uint32_t most, uint32_t ahead, uint64_t keep_us)
{
    *d = (struct demand){ .base = base, .most = base == 0 ? 0 : MAX(base, most), .keep_us = keep_us };
    d->ahead = MIN(ahead, d->most);
}

void demand_functions(struct demand *d, uint32_t count) { d->functions = count; }

static void periods_turn(struct demand *d, uint64_t now_us)
{
    if (d->period_us == 0 || now_us - d->period_us < d->keep_us)
        return;
    d->before = now_us - d->period_us < 2 * d->keep_us ? d->now : 0;
    d->now = 0;
    d->period_us = d->before > d->base ? now_us : 0;
}

void demand_start(struct demand *d, uint64_t now_us)
{
    periods_turn(d, now_us);
    if (d->burst == 0 || now_us - d->last_us >= DEMAND_GAP_US || now_us - d->burst_us >= DEMAND_BURST_US) {
        d->burst = 0;
        d->burst_us = now_us;
    }
    d->last_us = now_us;
    d->burst = MIN(d->burst + 1, d->most);
    if (d->burst <= MAX(d->now, d->base))
        return;
    d->now = d->burst;
    if (d->period_us == 0)
        d->period_us = now_us;
}

uint32_t demand_wanted(struct demand *d, uint64_t now_us)
{
    periods_turn(d, now_us);
    uint32_t wanted = MAX(MAX(d->base, MIN(d->functions, d->ahead)), MAX(d->now, d->before));
    ASSERT(wanted <= d->most);
    return wanted;
}

uint64_t demand_due_us(const struct demand *d)
{
    return d->period_us == 0 ? UINT64_MAX : d->period_us + d->keep_us;
}
