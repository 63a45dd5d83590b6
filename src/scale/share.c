#include "scale/share.h"

static uint32_t waiting(const struct share_claim *claims, uint32_t count, uint32_t but)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        n += claims[i].waits && i != but;
    return n;
}

uint32_t share_grant(const struct share_node *n, const struct share_claim *claims, uint32_t count, uint32_t asker,
                     uint32_t want)
{
    ASSERT(asker < count && want > 0 && n->first <= n->max);
    uint32_t room = n->max > n->held ? n->max - n->held : 0;
    bool is_first = claims[asker].live == 0 && room > 0;
    /* Its first one needs no more than room; the others leave room for those who have none. */
    uint32_t left = room - is_first, kept = MAX(n->first, waiting(claims, count, asker));
    return MIN(want, is_first + (left > kept ? left - kept : 0));
}

static bool is_better_idle(const struct share_claim *a, const struct share_claim *best)
{
    return a->idle && a->live > a->min && (!best || a->idle_since_us < best->idle_since_us);
}

/* Who is above its min-scale gives before who is not; then who holds more. */
static bool is_better_busy(const struct share_claim *a, const struct share_claim *best)
{
    if (a->live < 2)
        return false;
    if (!best)
        return true;
    bool spare = a->live > a->min, best_spare = best->live > best->min;
    return spare != best_spare ? spare : a->live > best->live;
}

enum share_from share_victim(const struct share_node *n, const struct share_claim *claims, uint32_t count,
                             uint32_t asker, uint32_t *ret)
{
    const struct share_claim *idle = NULL, *busy = NULL;
    uint32_t live = 0;
    ASSERT(asker < count);
    for (uint32_t i = 0; i < count; i++) {
        live += claims[i].live;
        if (i == asker)
            continue;
        if (is_better_idle(&claims[i], idle))
            idle = &claims[i];
        if (is_better_busy(&claims[i], busy))
            busy = &claims[i];
    }
    uint32_t leaving = n->held > live ? n->held - live : 0;
    bool enough = leaving > waiting(claims, count, asker);
    if (!idle && (!busy || enough || claims[asker].live > 0))
        return SHARE_NOBODY;
    *ret = (uint32_t)((idle ? idle : busy) - claims);
    return idle ? SHARE_IDLE : SHARE_BUSY;
}
