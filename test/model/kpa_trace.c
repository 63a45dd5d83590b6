/* kpa_trace.c -- the autoscaler, driven by lines on stdin; one line out per decision. The property test compares
 * it with the model in kpa.py. Not part of hob.
 *
 *     new KEY=VALUE …          a new autoscaler; keys as in settings[]
 *     level US N | arrive US | measure US 0|1
 *     tick US READY REACHABLE | reconcile … | urgent …
 */
#include "scale/kpa.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    uint64_t metric, aggregation, total, target, window, panic_window, threshold, up, down, min, max, initial,
        activation, room, delay, retention, grace, deadline, to_zero, queued, ready;
    int64_t burst;
};

static uint64_t *setting(struct settings *s, const char *key)
{
    const struct { const char *key; uint64_t *at; } all[] = {
        { "metric", &s->metric }, { "aggregation", &s->aggregation }, { "total", &s->total },
        { "target", &s->target }, { "window", &s->window }, { "panic_window", &s->panic_window },
        { "threshold", &s->threshold }, { "up", &s->up }, { "down", &s->down }, { "min", &s->min },
        { "max", &s->max }, { "initial", &s->initial }, { "activation", &s->activation },
        { "room", &s->room }, { "delay", &s->delay }, { "retention", &s->retention },
        { "grace", &s->grace }, { "deadline", &s->deadline }, { "to_zero", &s->to_zero },
        { "queued", &s->queued }, { "ready", &s->ready },
    };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (strcmp(all[i].key, key) == 0)
            return all[i].at;
    fprintf(stderr, "no setting %s\n", key);
    exit(2);
}

static struct kpa *begin(char *words)
{
    struct settings s = { 0 };
    for (char *w = strtok_r(NULL, " \n", &words); w; w = strtok_r(NULL, " \n", &words)) {
        char *value = strchr(w, '=');
        ASSERT(value);
        *value++ = '\0';
        if (strcmp(w, "burst") == 0)
            s.burst = strtoll(value, NULL, 10);
        else
            *setting(&s, w) = strtoull(value, NULL, 10);
    }
    const struct kpa_config c = {
        .metric = (enum kpa_metric)s.metric, .aggregation = (enum window_kind)s.aggregation,
        .total_micro = s.total, .target_micro = s.target, .burst_micro = s.burst,
        .window_s = (uint32_t)s.window, .panic_window_s = (uint32_t)s.panic_window,
        .panic_threshold_micro = s.threshold, .up_rate_micro = s.up, .down_rate_micro = s.down,
        .min = (uint32_t)s.min, .max = (uint32_t)s.max, .initial = (uint32_t)s.initial,
        .activation = (uint32_t)s.activation, .room = (uint32_t)s.room, .delay_us = s.delay,
        .retention_us = s.retention, .grace_us = s.grace, .activation_deadline_us = s.deadline,
        .to_zero = s.to_zero, .queued_always = s.queued,
    };
    return kpa_new(&c, (uint32_t)s.ready, 0);
}

static void print(const struct kpa_decision *d)
{
    printf("%u %d %d %s %s %d %d %" PRIu64 " %" PRIu64 " %" PRId64 " %u\n", d->apply, d->wanted, d->desired,
           kpa_reason_name(d->reason), kpa_activity_name(d->activity), d->timed_out, d->panicking,
           d->stable_micro, d->panic_micro, d->excess_burst, d->queues);
}

static void event(struct kpa *k, const char *what, const char *rest)
{
    uint64_t at_us = 0;
    unsigned n = 0, reachable = 1;
    int fields = sscanf(rest, "%" SCNu64 " %u %u", &at_us, &n, &reachable);
    ASSERT(k && fields >= 1);
    const struct kpa_input in = { at_us, n, reachable != 0 };
    if (strcmp(what, "level") == 0)
        kpa_level(k, n, at_us);
    else if (strcmp(what, "arrive") == 0)
        kpa_arrived(k, at_us);
    else if (strcmp(what, "measure") == 0)
        kpa_measure(k, n != 0, at_us);
    else if (strcmp(what, "tick") == 0)
        print(kpa_tick(k, &in));
    else if (strcmp(what, "reconcile") == 0)
        print(kpa_reconcile(k, &in));
    else if (strcmp(what, "urgent") == 0)
        print(kpa_urgent(k, &in));
    else
        UNREACHABLE("no such event");
}

int main(void)
{
    char line[1024];
    struct kpa *k = NULL;
    while (fgets(line, sizeof line, stdin)) {
        char *rest = NULL, *what = strtok_r(line, " \n", &rest);
        if (!what || *what == '#')
            continue;
        if (strcmp(what, "new") == 0) {
            kpa_free(k);
            k = begin(rest);
        } else {
            event(k, what, rest);
        }
    }
    kpa_free(k);
    return 0;
}
