#include "scale/load.h"

void load_init(struct load *l, uint64_t now_us)
{
    *l = (struct load){ .noted_us = now_us, .second = now_us / LOAD_SECOND_US };
}

static void integrate(struct load *l, uint64_t until_us)
{
    ASSERT(until_us >= l->noted_us);
    uint64_t passed_us = until_us - l->noted_us;
    l->area_us += passed_us * l->level;
    l->seen_us += passed_us;
    l->noted_us = until_us;
}

static void begin(struct load *l, uint64_t second, uint64_t at_us)
{
    l->second = second;
    l->noted_us = at_us;
    l->area_us = l->seen_us = l->arrivals = 0;
}

static void emit(const struct load *l, struct load_second *ret)
{
    ASSERT(l->seen_us > 0);
    *ret = (struct load_second){
        .second = l->second,
        .concurrency_micro = (l->area_us * LOAD_SECOND_US + l->seen_us / 2) / l->seen_us,
        .arrivals_micro = l->arrivals * UINT64_C(1000000), /* a count: not stretched over what was not seen */
    };
}

bool load_next(struct load *l, uint64_t now_us, struct load_second *ret)
{
    uint64_t now_s = now_us / LOAD_SECOND_US;
    if (!l->awake) {
        if (l->seen_us == 0 || now_s == l->second)
            return false;
        emit(l, ret); /* it went to rest within that second */
        begin(l, now_s, now_us);
        return true;
    }
    if (now_s > l->second + LOAD_GAP_S_MAX) {
        uint64_t from_s = now_s - LOAD_GAP_S_MAX;
        begin(l, from_s, from_s * LOAD_SECOND_US);
    }
    if (now_s == l->second) {
        integrate(l, now_us);
        return false;
    }
    uint64_t end_us = (l->second + 1) * LOAD_SECOND_US;
    integrate(l, end_us);
    emit(l, ret);
    begin(l, l->second + 1, end_us);
    return true;
}

void load_wake(struct load *l, uint64_t now_us)
{
    if (l->awake)
        return;
    l->awake = true;
    if (now_us / LOAD_SECOND_US != l->second)
        begin(l, now_us / LOAD_SECOND_US, now_us);
    l->noted_us = now_us;
}

void load_level(struct load *l, uint32_t level, uint64_t now_us)
{
    if (level > 0)
        load_wake(l, now_us);
    l->level = level;
}

void load_arrived(struct load *l, uint64_t now_us)
{
    load_wake(l, now_us);
    l->arrivals++;
}

void load_rest(struct load *l)
{
    ASSERT(l->level == 0);
    l->awake = false;
}
