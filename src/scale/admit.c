#include "scale/admit.h"

enum {
    MEAN_PART = 16, SPREAD_PART = 8, /* of a new sample in the averages: one over */
    OUTLIER = 8,                     /* times the mean; a longer sample counts as that, and more of them move the mean */
    OUTLIER_FLOOR_US = 1000,
    NOISE_PART = 20,                 /* more came than went: by one over that, and by NOISE_MIN */
    NOISE_MIN = 2,
    SURPLUS_PART = 4,                /* the estimate moves: nobody who was let in goes for that */
    RETRY_AFTER_MAX_S = 60,
};

static bool is_known(const struct admit *a) { return a->samples >= ADMIT_SAMPLES_MIN; }

static uint64_t bound_us(const struct admit *a, const struct admit_rules *r)
{
    return MAX(r->wait_us, ADMIT_SERVICES * a->mean_us);
}

void admit_released(struct admit *a, uint64_t held_us)
{
    if (a->samples++ == 0) {
        a->mean_us = held_us;
        a->spread_us = held_us / 2;
        return;
    }
    held_us = MIN(held_us, OUTLIER * a->mean_us + OUTLIER_FLOOR_US);
    uint64_t off_us = held_us > a->mean_us ? held_us - a->mean_us : a->mean_us - held_us;
    a->spread_us = (a->spread_us * (SPREAD_PART - 1) + off_us) / SPREAD_PART;
    a->mean_us = (a->mean_us * (MEAN_PART - 1) + held_us) / MEAN_PART;
}

/* The first slot becomes free half a turn from now, as it were. */
uint64_t admit_wait_us(const struct admit *a, uint64_t waiting, uint64_t slots)
{
    return slots == 0 || !is_known(a) ? 0 : (2 * waiting + 1) * a->mean_us / (2 * slots);
}

/* The first half of the interval may be a burst's, which brings its queue with it. */
static void look(struct admit *a, const struct admit_rules *r, const struct admit_view *v)
{
    if (v->waiting == 0)
        a->overloaded = false;
    if (r->wait_us == 0 || v->grows || admit_wait_us(a, v->waiting, v->slots) <= bound_us(a, r)) {
        a->stands_us = 0;
        return;
    }
    if (a->stands_us != 0 && v->now_us - a->stands_us < r->interval_us / 2)
        return;
    a->halves = a->stands_us == 0 ? 0 : a->halves + 1;
    if (a->halves >= 2 && a->offered > a->granted + MAX(a->granted / NOISE_PART, (uint64_t)NOISE_MIN))
        a->overloaded = true;
    a->stands_us = MAX(v->now_us, UINT64_C(1));
    a->offered = a->granted = 0;
}

void admit_arrived(struct admit *a, const struct admit_rules *r, const struct admit_view *v)
{
    look(a, r, v);
    a->offered++;
}

void admit_granted(struct admit *a, const struct admit_rules *r, const struct admit_view *v)
{
    a->granted++;
    look(a, r, v);
}

enum admit_verdict admit_ask(const struct admit *a, const struct admit_rules *r, const struct admit_view *v,
                             uint64_t deadline_us)
{
    if (!is_known(a) || v->slots_most == 0)
        return ADMIT_TAKE;
    uint64_t wait_us = admit_wait_us(a, v->waiting, v->slots_most);
    uint64_t left_us = deadline_us > v->now_us ? deadline_us - v->now_us : 0;
    /* What is further away is known less well. */
    if (wait_us + wait_us / 8 + a->mean_us + 2 * a->spread_us > left_us || wait_us > r->queue_us)
        return ADMIT_NO_TIME;
    return a->overloaded && !v->grows && wait_us > bound_us(a, r) ? ADMIT_OVERLOADED : ADMIT_TAKE;
}

bool admit_hopeless(const struct admit *a, const struct admit_view *v, uint64_t deadline_us)
{
    uint64_t least_us = a->mean_us - MIN(a->spread_us, a->mean_us / 2);
    return is_known(a) && v->waiting > 0 && deadline_us < v->now_us + least_us;
}

uint64_t admit_surplus(const struct admit *a, const struct admit_rules *r, const struct admit_view *v)
{
    if (!a->overloaded || v->grows || v->slots == 0 || a->mean_us == 0)
        return 0;
    uint64_t keep = bound_us(a, r) * v->slots / a->mean_us;
    return v->waiting > keep + keep / SURPLUS_PART ? v->waiting - keep : 0;
}

uint32_t admit_retry_after_s(const struct admit *a, const struct admit_rules *r, const struct admit_view *v)
{
    uint64_t wait_us = admit_wait_us(a, v->waiting, v->slots);
    uint64_t kept_us = a->overloaded ? bound_us(a, r) : wait_us / 2;
    uint64_t left_s = wait_us > kept_us ? (wait_us - kept_us + 999999) / 1000000 : 1;
    return (uint32_t)MIN(MAX(left_s, UINT64_C(1)), (uint64_t)RETRY_AFTER_MAX_S);
}
