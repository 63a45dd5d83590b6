#include "scale/scaler.h"

#include <math.h>
#include <string.h>

void scaler_init(struct scaler *s, const struct scaler_config *c, uint64_t now_us)
{
    ASSERT(c->max >= 1 && c->max >= c->min && c->target > 0 && c->window_us > 0);
    *s = (struct scaler){ .config = *c, .begin_us = now_us, .noted_us = now_us };
    s->bucket_us = MAX((c->window_us + SCALER_BUCKETS - 1) / SCALER_BUCKETS, UINT64_C(1));
    s->head = now_us / s->bucket_us;
}

/* Fills the buckets up to now with the concurrency that held since the last note. */
static void advance(struct scaler *s, uint64_t now_us)
{
    ASSERT(now_us >= s->noted_us);
    uint64_t bucket = now_us / s->bucket_us;
    if (bucket - s->head >= SCALER_BUCKETS) { /* everything older has left the window */
        memset(s->area, 0, sizeof s->area);
        s->head = bucket - SCALER_BUCKETS + 1;
        s->noted_us = MAX(s->noted_us, s->head * s->bucket_us);
    }
    while (s->head < bucket) {
        uint64_t end_us = (s->head + 1) * s->bucket_us;
        s->area[s->head % SCALER_BUCKETS] += (double)(end_us - s->noted_us) * s->concurrency;
        s->noted_us = end_us;
        s->head++;
        s->area[s->head % SCALER_BUCKETS] = 0;
    }
    s->area[s->head % SCALER_BUCKETS] += (double)(now_us - s->noted_us) * s->concurrency;
    s->noted_us = now_us;
    if (s->concurrency > 0)
        s->active_us = now_us;
}

void scaler_note(struct scaler *s, uint32_t concurrency, uint64_t now_us)
{
    advance(s, now_us);
    s->concurrency = concurrency;
    if (concurrency > 0)
        s->active_us = now_us;
}

double scaler_average(struct scaler *s, uint64_t now_us)
{
    advance(s, now_us);
    double area = 0;
    for (size_t i = 0; i < SCALER_BUCKETS; i++)
        area += s->area[i];
    uint64_t young_us = now_us - s->begin_us;
    uint64_t over_us = MIN(s->config.window_us, young_us);
    return over_us > 0 ? area / (double)over_us : (double)s->concurrency;
}

static uint32_t need(double concurrency, double target, uint32_t max)
{
    double n = ceil(concurrency / target - 1e-9);
    return n >= (double)max ? max : (uint32_t)n;
}

static uint32_t hold(struct scaler *s, uint32_t desired, uint64_t now_us)
{
    if (desired < s->held && now_us < s->held_until_us)
        return s->held;
    s->held = desired;
    s->held_until_us = now_us + s->config.scale_down_delay_us;
    return desired;
}

uint32_t scaler_desired(struct scaler *s, uint32_t ready, uint64_t now_us)
{
    const struct scaler_config *c = &s->config;
    if (ready >= c->initial && !s->initial_reached) {
        s->initial_reached = true;
        if (c->initial > 0)
            s->active_us = now_us; /* what was started on deploy stays for a window */
    }
    uint32_t stable = need(scaler_average(s, now_us), c->target, c->max);
    uint32_t desired = MAX(stable, need(s->concurrency, c->target, c->max));

    uint64_t idle_us = s->active_us ? now_us - s->active_us : UINT64_MAX;
    if (desired == 0 && idle_us < c->window_us + c->retention_us)
        desired = 1;
    else if (s->concurrency == 0 && idle_us >= c->window_us + c->retention_us)
        desired = 0; /* the last bucket may still hold a trace of what ended a window ago */
    desired = hold(s, desired, now_us);

    if (!s->initial_reached)
        desired = MAX(desired, c->initial);
    return MIN(MAX(desired, c->min), c->max);
}

uint64_t scaler_next_us(const struct scaler *s, uint64_t now_us)
{
    if (s->concurrency > 0)
        return now_us + s->bucket_us;
    if (s->active_us == 0 && s->held == 0)
        return UINT64_MAX;
    uint64_t zero_us = s->active_us + s->config.window_us + s->config.retention_us;
    if (now_us < zero_us)
        return MIN(now_us + MAX(s->bucket_us, UINT64_C(1000)), zero_us);
    return s->held > 0 && now_us < s->held_until_us ? s->held_until_us : UINT64_MAX;
}
