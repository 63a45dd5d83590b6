#include "serving/gc.h"

#include <stdlib.h>

static int longest_idle_first(const void *a, const void *b)
{
    const struct gc_revision *x = *(struct gc_revision *const *)a, *y = *(struct gc_revision *const *)b;
    int by_idle = (x->idle_ms > y->idle_ms) - (x->idle_ms < y->idle_ms);
    return by_idle ? by_idle : (x->created_ms > y->created_ms) - (x->created_ms < y->created_ms);
}

static bool is_past(int64_t since_ms, uint64_t kept_s, int64_t now_ms)
{
    return kept_s == LIMIT_DISABLED || now_ms - since_ms >= (int64_t)kept_s * 1000;
}

static bool is_stale(const struct gc_revision *v, const struct limits *l, int64_t now_ms)
{
    if (l->gc_create_s == LIMIT_DISABLED && l->gc_active_s == LIMIT_DISABLED)
        return false;
    return is_past(v->created_ms, l->gc_create_s, now_ms) && is_past(v->idle_ms, l->gc_active_s, now_ms);
}

size_t gc_decide(struct gc_revision **rows, size_t count, const struct limits *rules, int64_t now_ms)
{
    size_t gone = 0, left = count;
    if (count > 1)
        qsort(rows, count, sizeof *rows, longest_idle_first);
    for (size_t i = 0; i < count && left > rules->gc_min; i++) {
        rows[i]->goes = is_stale(rows[i], rules, now_ms);
        gone += rows[i]->goes;
        left -= rows[i]->goes;
    }
    for (size_t i = 0; i < count && rules->gc_max != LIMIT_DISABLED && left > rules->gc_max; i++) {
        if (rows[i]->goes)
            continue;
        rows[i]->goes = true;
        gone++;
        left--;
    }
    return gone;
}
