#include "scale/kpa.h"

#include "scale/load.h"
#include "scale/maxima.h"

#include <stdlib.h>

enum {
    QUEUE_CAPACITY = 100,   /* requests at once of one of Knative's activators (activator-capacity) */
    QUEUES_MIN = 2,
    RECONCILE_PASSES = 3,   /* a change of activity is looked at again; it changes at most twice */
};

struct kpa {
    struct kpa_config c;
    struct load load;
    struct window stable, panic;
    struct maxima delay;
    bool reached;          /* the initial scale, once */
    bool panicking;
    uint64_t panic_us;     /* last moment over the threshold */
    uint32_t panic_max;
    uint64_t active_us;    /* since when the activity is what it is */
    bool queued;           /* Knative would have its queue in the path */
    uint64_t queued_us;    /* since */
    enum kpa_reason base;  /* of the tick, before bounds */
    struct kpa_decision d;
    uint64_t buckets[];    /* of both windows; then the delay's entries */
};

const char *kpa_reason_name(enum kpa_reason r)
{
    static const char *const names[KPA_REASONS] = {
        [KPA_NO_DATA] = "no-data",       [KPA_STABLE] = "stable",         [KPA_PANIC] = "panic",
        [KPA_PANIC_HELD] = "panic-held", [KPA_RATE_UP] = "max-rate-up",   [KPA_RATE_DOWN] = "max-rate-down",
        [KPA_ACTIVATION] = "activation-scale", [KPA_DELAYED] = "scale-down-delay",
        [KPA_MIN] = "min-scale",         [KPA_MAX] = "max-scale",         [KPA_INITIAL] = "initial-scale",
        [KPA_LAST] = "idle-window",      [KPA_RETAINED] = "retention",    [KPA_STARTING] = "starting",
        [KPA_TIMED_OUT] = "timed-out",   [KPA_URGENT] = "waiting",        [KPA_IN_FLIGHT] = "in-flight",
    };
    ASSERT(r < KPA_REASONS);
    return names[r];
}

const char *kpa_activity_name(enum kpa_activity a)
{
    static const char *const names[] = { "activating", "active", "inactive" };
    ASSERT((size_t)a < COUNT_OF(names));
    return names[a];
}

static uint32_t delay_slots(const struct kpa_config *c)
{
    return (uint32_t)((c->delay_us + KPA_TICK_US - 1) / KPA_TICK_US);
}

struct kpa *kpa_new(const struct kpa_config *c, uint32_t ready, uint64_t now_us)
{
    ASSERT(c->max >= 1 && c->max >= c->min && c->target_micro >= KPA_TARGET_MIN && c->total_micro > 0 &&
           c->total_micro <= KPA_TOTAL_MAX);
    ASSERT(c->up_rate_micro > 0 && c->down_rate_micro > 0 && c->panic_threshold_micro > 0);
    _Static_assert(_Alignof(struct maxima_entry) <= _Alignof(uint64_t), "it lies behind the buckets");
    size_t slots = delay_slots(c), buckets = (size_t)c->window_s + c->panic_window_s;
    struct kpa *k = xcalloc(1, sizeof *k + buckets * sizeof k->buckets[0] + slots * sizeof(struct maxima_entry));
    k->c = *c;
    load_init(&k->load, now_us);
    window_init(&k->stable, c->aggregation, c->window_s, k->buckets);
    window_init(&k->panic, c->aggregation, c->panic_window_s, k->buckets + c->window_s);
    if (slots > 0)
        maxima_init(&k->delay, (struct maxima_entry *)(void *)(k->buckets + buckets), (uint32_t)slots);
    k->active_us = k->queued_us = now_us;
    k->panicking = ready > 1;
    k->panic_us = now_us;
    k->panic_max = ready > 1 ? ready : 0;
    k->base = KPA_NO_DATA;
    k->d = (struct kpa_decision){ .wanted = -1, .desired = -1, .ready = ready,
        .panicking = k->panicking, .activity = KPA_ACTIVATING, .queues = QUEUES_MIN };
    k->d.apply = MIN(MAX(MAX(c->initial, c->min), ready), c->max);
    return k;
}

struct kpa *kpa_changed(struct kpa *take_k, const struct kpa_config *c, uint64_t now_us)
{
    struct kpa *k = kpa_new(c, 0, now_us), *was = take_k;
    k->load = was->load;
    window_copy(&k->stable, &was->stable);
    window_copy(&k->panic, was->c.panic_window_s < c->panic_window_s ? &was->stable : &was->panic);
    if (delay_slots(c) > 0 && was->d.desired > 0)
        (void)maxima_record(&k->delay, now_us / KPA_TICK_US, (uint32_t)was->d.desired);
    k->reached = was->reached;
    k->panicking = was->panicking;
    k->panic_us = was->panic_us;
    k->panic_max = was->panic_max;
    k->active_us = was->active_us;
    k->queued = was->queued;
    k->queued_us = was->queued_us;
    k->base = was->base;
    k->d = was->d;
    k->d.apply = MIN(was->d.apply, c->max);
    kpa_free(was);
    return k;
}

void kpa_free(struct kpa *k) { free(k); }
const struct kpa_config *kpa_config(const struct kpa *k) { return &k->c; }
const struct kpa_decision *kpa_last(const struct kpa *k) { return &k->d; }

/* ---- what is measured ------------------------------------------------------------------------------ */

static void catch_up(struct kpa *k, uint64_t now_us)
{
    struct load_second s;
    while (load_next(&k->load, now_us, &s)) {
        uint64_t micro = k->c.metric == KPA_RPS ? s.arrivals_micro : s.concurrency_micro;
        window_record(&k->stable, s.second, micro);
        window_record(&k->panic, s.second, micro);
    }
}

void kpa_level(struct kpa *k, uint32_t level, uint64_t now_us)
{
    catch_up(k, now_us);
    load_level(&k->load, level, now_us);
}

void kpa_arrived(struct kpa *k, uint64_t now_us)
{
    catch_up(k, now_us);
    load_arrived(&k->load, now_us);
}

void kpa_measure(struct kpa *k, bool instances, uint64_t now_us)
{
    catch_up(k, now_us);
    if (instances)
        load_wake(&k->load, now_us);
    else if (k->load.level == 0)
        load_rest(&k->load);
}

bool kpa_at_rest(const struct kpa *k) { return !k->load.awake && k->d.apply == 0; }

/* ---- the tick --------------------------------------------------------------------------------------- */

static uint32_t need(uint64_t micro, uint64_t each_micro)
{
    uint64_t n = (micro + each_micro - 1) / each_micro;
    return n > INT32_MAX ? INT32_MAX : (uint32_t)n;
}

struct rates { uint32_t down, up; };

static struct rates rates_of(const struct kpa_config *c, const struct kpa_input *in)
{
    uint64_t ready = MAX(in->ready, 1u);
    uint64_t up = (c->up_rate_micro * ready + KPA_MICRO - 1) / KPA_MICRO;
    uint64_t down = in->reachable ? ready * KPA_MICRO / c->down_rate_micro : 0;
    return (struct rates){ (uint32_t)MIN(down, (uint64_t)INT32_MAX), (uint32_t)MIN(up, (uint64_t)INT32_MAX) };
}

/* The needed number within the rates, and what it owes to them. */
static uint32_t bounded(const struct kpa_config *c, uint32_t needed, struct rates r, enum kpa_reason *reason)
{
    uint32_t n = MIN(MAX(needed, r.down), r.up);
    if (n != needed)
        *reason = n > needed ? KPA_RATE_DOWN : KPA_RATE_UP;
    if (needed > 0 && c->activation > 1 && n < c->activation) {
        n = c->activation;
        *reason = KPA_ACTIVATION;
    }
    return n;
}

static void panic_update(struct kpa *k, bool over, uint64_t now_us)
{
    if (over) {
        k->panicking = true;
        k->panic_us = now_us;
    } else if (k->panicking && now_us > k->panic_us + (uint64_t)k->c.window_s * LOAD_SECOND_US) {
        k->panicking = false; /* the surge has made its way into the stable average */
        k->panic_max = 0;
    }
}

static uint32_t panicked(struct kpa *k, uint32_t stable, uint32_t panic, enum kpa_reason why_panic,
                         enum kpa_reason *reason)
{
    uint32_t n = MAX(stable, panic);
    if (n >= k->panic_max) {
        k->panic_max = n;
        *reason = panic >= stable ? why_panic : *reason;
        return n;
    }
    *reason = KPA_PANIC_HELD;
    return k->panic_max;
}

static uint32_t delayed(struct kpa *k, uint32_t n, const struct kpa_input *in, enum kpa_reason *reason)
{
    if (delay_slots(&k->c) == 0)
        return n;
    uint32_t most = maxima_record(&k->delay, in->now_us / KPA_TICK_US, n);
    if (most == n || !in->reachable)
        return n;
    *reason = KPA_DELAYED;
    return most;
}

static void burst_update(struct kpa *k, const struct kpa_input *in)
{
    const struct kpa_config *c = &k->c;
    int64_t room = (int64_t)(in->ready * c->total_micro) - (int64_t)k->d.panic_micro;
    int64_t burst = c->burst_micro == KPA_BURST_ALWAYS ? 0 : c->burst_micro;
    int64_t micro = (int64_t)KPA_MICRO, excess = room - burst;
    k->d.excess_burst = c->burst_micro == 0 ? 0
                        : c->burst_micro == KPA_BURST_ALWAYS
                            ? -1
                            : excess / micro - (excess % micro < 0); /* towards minus infinity */
    uint64_t behind = in->ready * c->total_micro + (uint64_t)burst, each = QUEUE_CAPACITY * KPA_MICRO;
    k->d.queues = c->burst_micro == 0 ? QUEUES_MIN : MAX(need(behind, each), (uint32_t)QUEUES_MIN);
}

/* Knative's Scale(): false: nothing was measured, what was decided before stands. */
static bool decide(struct kpa *k, const struct kpa_input *in)
{
    const struct kpa_config *c = &k->c;
    uint64_t now_s = in->now_us / LOAD_SECOND_US, stable_micro, panic_micro = 0;
    if (now_s == 0 || !window_average(&k->stable, now_s - 1, &stable_micro))
        return false;
    (void)window_average(&k->panic, now_s - 1, &panic_micro);
    k->d.stable_micro = stable_micro;
    k->d.panic_micro = panic_micro;

    enum kpa_reason reason = KPA_STABLE, why_panic = KPA_PANIC;
    struct rates r = rates_of(c, in);
    uint32_t needed = need(panic_micro, c->target_micro), ready = MAX(in->ready, 1u);
    uint32_t stable = bounded(c, need(stable_micro, c->target_micro), r, &reason);
    uint32_t panic = bounded(c, needed, r, &why_panic);
    panic_update(k, needed * KPA_MICRO >= c->panic_threshold_micro * ready, in->now_us);
    uint32_t n = k->panicking ? panicked(k, stable, panic, why_panic, &reason) : stable;
    n = delayed(k, n, in, &reason);
    if (n == 0 && k->load.level > 0) { /* came within this second, or is too little for the metric */
        n = 1;
        reason = KPA_IN_FLIGHT;
    }
    k->d.desired = (int32_t)n;
    k->d.panicking = k->panicking;
    k->base = reason;
    burst_update(k, in);
    return true;
}

/* ---- bounds, activity, zero ----------------------------------------------------------------------- */

static void become(struct kpa *k, enum kpa_activity a, uint64_t now_us)
{
    if (k->d.activity != a)
        k->active_us = now_us;
    k->d.activity = a;
}

static bool may_go(const struct kpa *k, const struct kpa_input *in)
{
    const struct kpa_config *c = &k->c;
    uint64_t inactive_us = in->now_us - k->active_us, retention_us = in->reachable ? c->retention_us : 0;
    uint64_t queued_us = c->queued_always ? UINT64_MAX : k->queued ? in->now_us - k->queued_us : 0;
    return (inactive_us >= retention_us && queued_us >= c->grace_us) ||
           inactive_us >= MAX(retention_us, c->grace_us);
}

static void apply(struct kpa *k, uint32_t n, enum kpa_reason reason)
{
    k->d.apply = n;
    k->d.wanted = (int32_t)n;
    k->d.reason = reason;
}

/* Desired is 0, and no bound is above it. */
static void to_zero(struct kpa *k, const struct kpa_input *in)
{
    uint64_t since_us = in->now_us - k->active_us;
    switch (k->d.activity) {
    case KPA_ACTIVATING:
        if (since_us >= k->c.activation_deadline_us) {
            apply(k, 0, KPA_TIMED_OUT);
        } else {
            k->d.wanted = -1;
            k->d.reason = KPA_STARTING;
        }
        return;
    case KPA_ACTIVE:
        if (since_us < (uint64_t)k->c.window_s * LOAD_SECOND_US) {
            apply(k, 1, KPA_LAST);
        } else {
            k->d.wanted = 0;
            k->d.reason = KPA_RETAINED;
        }
        return;
    case KPA_INACTIVE:
        if (k->d.apply == 0 || may_go(k, in)) {
            apply(k, 0, k->d.timed_out ? KPA_TIMED_OUT : k->base);
        } else {
            k->d.wanted = 0;
            k->d.reason = KPA_RETAINED;
        }
        return;
    }
}

static void scale(struct kpa *k, const struct kpa_input *in)
{
    const struct kpa_config *c = &k->c;
    uint32_t min = in->reachable ? c->min : 0;
    bool initial = !k->reached && c->initial > min;
    if (initial)
        min = MIN(c->initial, c->max);
    if (k->d.desired < 0 && k->d.activity != KPA_ACTIVATING && min == 0) {
        k->d.wanted = -1;
        k->d.reason = KPA_NO_DATA;
        return;
    }
    uint32_t desired = (uint32_t)MAX(k->d.desired, 0);
    if (desired < min)
        apply(k, min, initial ? KPA_INITIAL : KPA_MIN);
    else if (desired > c->max)
        apply(k, c->max, KPA_MAX);
    else if (desired > 0)
        apply(k, desired, k->base);
    else if (!c->to_zero)
        apply(k, 1, KPA_LAST);
    else
        to_zero(k, in);
}

static void activity(struct kpa *k, const struct kpa_input *in)
{
    uint32_t min = in->reachable ? k->c.min : 0;
    uint32_t enough = MAX(min, k->reached ? 1 : MIN(k->c.initial, k->c.max));
    if (in->ready >= enough)
        k->reached = true;
    if (k->d.wanted == 0 || enough == 0) {
        k->d.timed_out |= k->d.activity == KPA_ACTIVATING && enough > 0;
        become(k, KPA_INACTIVE, in->now_us);
    } else if (k->d.wanted > 0 || k->d.activity != KPA_INACTIVE) {
        become(k, in->ready < enough ? KPA_ACTIVATING : KPA_ACTIVE, in->now_us);
        k->d.timed_out = false;
    }
}

static void queued_update(struct kpa *k, uint64_t now_us)
{
    bool queued = k->d.wanted == 0 || k->d.excess_burst < 0;
    if (queued && !k->queued)
        k->queued_us = now_us;
    k->queued = queued;
}

const struct kpa_decision *kpa_reconcile(struct kpa *k, const struct kpa_input *in)
{
    k->d.ready = in->ready;
    for (int pass = 0; pass < RECONCILE_PASSES; pass++) {
        enum kpa_activity before = k->d.activity;
        scale(k, in);
        activity(k, in);
        queued_update(k, in->now_us);
        if (k->d.activity == before)
            break;
    }
    ASSERT(k->d.apply <= k->c.max);
    return &k->d;
}

const struct kpa_decision *kpa_tick(struct kpa *k, const struct kpa_input *in)
{
    catch_up(k, in->now_us);
    if (decide(k, in))
        k->d.at_us = in->now_us;
    return kpa_reconcile(k, in);
}

/* ---- a request waits ------------------------------------------------------------------------------- */

const struct kpa_decision *kpa_urgent(struct kpa *k, const struct kpa_input *in)
{
    const struct kpa_config *c = &k->c;
    uint64_t level_micro = k->load.level * KPA_MICRO;
    uint32_t n = c->metric == KPA_CONCURRENCY ? need(level_micro, c->target_micro)
                 : c->room > 0                ? need(level_micro, c->room * KPA_MICRO)
                                              : 1;
    n = MIN(MAX(n, 1u), rates_of(c, in).up);
    n = MIN(MAX(n, c->activation), c->max);
    if (n <= k->d.apply && k->d.desired > 0)
        return &k->d;
    n = MAX(n, k->d.apply);
    k->d.desired = (int32_t)n;
    k->base = KPA_URGENT;
    return kpa_reconcile(k, in);
}
