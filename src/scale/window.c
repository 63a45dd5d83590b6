#include "scale/window.h"

#include <math.h>
#include <string.h>

/* A weight below this is nothing; a weight above that forgets too slowly. Both are Knative's. */
#define WEIGHT_PRECISION 0.0001
#define COEFFICIENT_MIN  0.2

void window_init(struct window *w, enum window_kind kind, uint32_t size_s, uint64_t *buckets)
{
    ASSERT(size_s >= 1 && size_s <= WINDOW_S_MAX);
    *w = (struct window){ .kind = kind, .size_s = size_s, .bucket = buckets };
    memset(buckets, 0, size_s * sizeof *buckets);
    w->coefficient = MAX(1 - pow(WEIGHT_PRECISION, 1.0 / size_s), COEFFICIENT_MIN);
}

/* Empties the buckets of the seconds after the last one up to this one. */
static void advance(struct window *w, uint64_t second)
{
    if (!w->written || second - w->last_s >= w->size_s) {
        memset(w->bucket, 0, w->size_s * sizeof *w->bucket);
        w->total = 0;
        w->first_s = second;
        w->written = true;
    } else {
        for (uint64_t s = w->last_s + 1; s <= second; s++) {
            uint64_t *bucket = &w->bucket[s % w->size_s];
            w->total -= *bucket;
            *bucket = 0;
        }
    }
    w->last_s = second;
}

void window_record(struct window *w, uint64_t second, uint64_t micro)
{
    ASSERT(!w->written || second >= w->last_s);
    advance(w, second);
    w->bucket[second % w->size_s] += micro;
    w->total += micro;
}

void window_copy(struct window *into, const struct window *from)
{
    ASSERT(!into->written);
    if (!from->written)
        return;
    uint64_t most = MIN(from->size_s, into->size_s), kept = MIN(from->last_s - from->first_s + 1, most);
    for (uint64_t s = from->last_s + 1 - kept; s <= from->last_s; s++)
        window_record(into, s, from->bucket[s % from->size_s]);
}

static uint64_t linear(const struct window *w, uint64_t silent_s)
{
    uint64_t total = w->total;
    for (uint64_t s = w->last_s + 1; s <= w->last_s + silent_s; s++)
        total -= w->bucket[s % w->size_s];
    uint64_t count = MIN(w->last_s - w->first_s + 1, w->size_s - silent_s);
    return (total + count / 2) / count;
}

static uint64_t exponential(const struct window *w, uint64_t silent_s)
{
    double weight = w->coefficient * pow(1 - w->coefficient, (double)silent_s), sum = 0;
    for (uint64_t age = silent_s; age < w->size_s; age++) {
        uint64_t back = age - silent_s; /* before the last second; what was never written is 0 */
        sum += weight * (double)w->bucket[(w->last_s + w->size_s - back) % w->size_s];
        weight *= 1 - w->coefficient;
    }
    return (uint64_t)llround(sum);
}

bool window_average(const struct window *w, uint64_t second, uint64_t *ret_micro)
{
    if (!w->written || (second > w->last_s && second - w->last_s > w->size_s))
        return false;
    uint64_t silent_s = second > w->last_s ? second - w->last_s : 0;
    if (silent_s >= w->size_s)
        *ret_micro = 0;
    else
        *ret_micro = w->kind == WINDOW_LINEAR ? linear(w, silent_s) : exponential(w, silent_s);
    return true;
}
