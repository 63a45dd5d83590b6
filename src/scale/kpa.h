/* kpa.h -- how many instances a revision should have: the decision of Knative's pod autoscaler (KPA).
 *
 * Receives the settings, the load as it changes (load.h), and every two seconds how many instances are ready and
 * whether a route leads to the revision. Owns the windows, the panic, the delay, and whether the revision is
 * active. Emits one number with the reason and the figures behind it. Refuses nothing.
 * Pure: no clock, no allocation but in kpa_new() and kpa_changed(), integers but for the exponential average.
 *
 * One tick, where avg60 and avg6 stand for the averages of the stable and the panic window:
 *
 *     up     = ceil(up_rate · max(1, ready))       down = reachable ? floor(max(1, ready) / down_rate) : 0
 *     stable = clamp(ceil(avg60 / target), down, up)            panic alike, of avg6
 *     either raised to activation-scale, if it is asked for and the number before clamping is not 0
 *     over   = ceil(avg6 / target) / max(1, ready) >= panic threshold: begins or refreshes the panic, which
 *              ends when a whole stable window was not over
 *     desired = panicking ? the most that stable or panic asked for since it began : stable
 *     desired = reachable with a delay ? the most that was desired within the delay : desired
 *     excess burst = 0 if the burst capacity is 0, -1 if it is "always", else floor(ready·total - burst - avg6)
 *
 * Then the bounds (min only while reachable; the initial scale until it was reached once), and zero:
 *
 *     ACTIVATING --ready >= max(1, min)--> ACTIVE --desired 0 and active for a stable window--> INACTIVE
 *          ^  \--desired 0 for the activation deadline (INACTIVE, timed out)                        |
 *          '----------------------- desired > 0 and too few are ready ------------------------------'
 *
 * ACTIVE and desired 0: one instance stays. INACTIVE: the last ones go after the retention, once requests
 * have come through the queue for the grace period (`queued_always`: as they do here), else after the longer
 * of the two. What is unreachable has neither min, delay nor retention.
 *
 * Not Knative's, and apart from it: kpa_urgent(), when a request waits and no instance has room: what the
 * waiting and the running need is wanted at once, not at the next tick. And a tick never asks for zero while a
 * request runs or waits, however little the metric makes of it (a long request counts nothing in rps).
 */
#pragma once

#include "scale/window.h"

enum kpa_metric { KPA_CONCURRENCY, KPA_RPS };
enum kpa_activity { KPA_ACTIVATING, KPA_ACTIVE, KPA_INACTIVE };

#define KPA_MICRO        UINT64_C(1000000)
#define KPA_TICK_US      UINT64_C(2000000)
#define KPA_TARGET_MIN   (KPA_MICRO / 100) /* of target × utilization */
#define KPA_TOTAL_MAX    (KPA_MICRO * 100000000) /* times ten thousand instances it still is an int64_t */
#define KPA_BURST_ALWAYS INT64_C(-1)
/* What an activation may take longer than the progress deadline before it is given up. */
#define KPA_ACTIVATION_BUFFER_US UINT64_C(30000000)

/* Numbers and ratios in millionths, as the annotations have at most that precision in effect. */
struct kpa_config {
    enum kpa_metric metric;
    enum window_kind aggregation;
    uint64_t total_micro;           /* per instance, of the metric; from 1 to KPA_TOTAL_MAX */
    uint64_t target_micro;          /* total × utilization, >= KPA_TARGET_MIN */
    int64_t burst_micro;            /* target burst capacity; KPA_BURST_ALWAYS */
    uint32_t window_s, panic_window_s; /* panic: window × its percentage, rounded, >= 1 */
    uint64_t panic_threshold_micro; /* ratio of needed to ready */
    uint64_t up_rate_micro, down_rate_micro; /* both > 1000000 but for tests */
    uint32_t min, max;              /* max >= 1, max >= min */
    uint32_t initial, activation;   /* activation 0: none */
    uint32_t room;                  /* requests at once on one instance; 0: no bound. For kpa_urgent() */
    uint64_t delay_us, retention_us, grace_us;
    uint64_t activation_deadline_us; /* progress deadline + KPA_ACTIVATION_BUFFER_US */
    bool to_zero;                   /* may scale to zero at all */
    bool queued_always;             /* every request comes through our queue, so the grace has always passed */
};

enum kpa_reason { /* what had the last word */
    KPA_NO_DATA,     /* nothing measured yet: as at the start */
    KPA_STABLE,
    KPA_PANIC,
    KPA_PANIC_HELD,  /* would be fewer, but not within a panic */
    KPA_RATE_UP,
    KPA_RATE_DOWN,
    KPA_ACTIVATION,  /* activation-scale */
    KPA_DELAYED,     /* scale-down-delay */
    KPA_MIN,
    KPA_MAX,
    KPA_INITIAL,     /* initial-scale, not reached yet */
    KPA_LAST,        /* no load, but not active for a whole window yet: one stays */
    KPA_RETAINED,    /* zero wanted; the retention or the grace period is not over */
    KPA_STARTING,    /* no load, but the start that was asked for is not over */
    KPA_TIMED_OUT,   /* the start took too long */
    KPA_URGENT,      /* a request waits */
    KPA_IN_FLIGHT,   /* zero by the metric, but a request runs or waits */
    KPA_REASONS,
};
const char *kpa_reason_name(enum kpa_reason r);
const char *kpa_activity_name(enum kpa_activity a);

struct kpa_input {
    uint64_t now_us;
    uint32_t ready;
    bool reachable;
};

struct kpa_decision {
    uint32_t apply;      /* the instances there should be */
    int32_t wanted;      /* as Knative shows it: 0 already while the last one is retained; -1 unknown */
    int32_t desired;     /* of the tick, before bounds; -1: nothing measured yet */
    enum kpa_reason reason;
    enum kpa_activity activity;
    bool timed_out;      /* INACTIVE, because it could not be activated */
    bool panicking;
    uint64_t stable_micro, panic_micro; /* averages of the metric */
    int64_t excess_burst;
    uint32_t queues;     /* queues (activators) that Knative would have in the path: max(2, …) */
    uint32_t ready;      /* what it was told */
    uint64_t at_us;      /* of the last tick; 0: none yet */
};

struct kpa;

/* ready > 1: there were instances before this autoscaler; it begins in a panic that keeps them. */
struct kpa *kpa_new(const struct kpa_config *c, uint32_t ready, uint64_t now_us);
/* The same one with other settings: what was measured, its panic, its activity and its last decision stay, as far as
 * the new bounds allow. For the one it takes, which is gone. */
struct kpa *kpa_changed(struct kpa *take_k, const struct kpa_config *c, uint64_t now_us);
void kpa_free(struct kpa *k);
const struct kpa_config *kpa_config(const struct kpa *k);

/* Time never goes back, over all of these. */
void kpa_level(struct kpa *k, uint32_t level, uint64_t now_us); /* requests that run or wait */
void kpa_arrived(struct kpa *k, uint64_t now_us);               /* one more came */
/* Instances are ready (or not any more): while they are, silence counts as zeros. Without any and without
 * a request nothing is measured, and a window that then stays empty becomes young again. */
void kpa_measure(struct kpa *k, bool instances, uint64_t now_us);

const struct kpa_decision *kpa_tick(struct kpa *k, const struct kpa_input *in); /* each KPA_TICK_US */
/* Between ticks, when `ready` or `reachable` changed: bounds, activity and zero, by the last tick. */
const struct kpa_decision *kpa_reconcile(struct kpa *k, const struct kpa_input *in);
const struct kpa_decision *kpa_urgent(struct kpa *k, const struct kpa_input *in);
const struct kpa_decision *kpa_last(const struct kpa *k);
/* Nothing is measured and nothing wanted: no tick is needed until the level rises. */
bool kpa_at_rest(const struct kpa *k);
