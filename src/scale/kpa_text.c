#include "scale/kpa_text.h"

#include <stdio.h>

enum { LOAD_TEXT = 128, WHY_TEXT = 224 };

static double plain(uint64_t micro) { return (double)micro / (double)KPA_MICRO; }

static double seconds(uint64_t us) { return (double)us / 1e6; }

/* "12.5 requests at once over 60 s, 70 aimed at per instance" */
static void load_text(const struct kpa_config *c, const struct kpa_decision *d, bool panic, char into[LOAD_TEXT])
{
    snprintf(into, LOAD_TEXT, "%.4g %s over %u s, %.4g aimed at per instance",
             plain(panic ? d->panic_micro : d->stable_micro),
             c->metric == KPA_RPS ? "requests per second" : "requests at once",
             panic ? c->panic_window_s : c->window_s, plain(c->target_micro));
}

static void by_tick(const struct kpa_config *c, const struct kpa_decision *d, char into[WHY_TEXT])
{
    char load[LOAD_TEXT];
    load_text(c, d, d->panicking, load);
    snprintf(into, WHY_TEXT, "%s%s%s", load, d->panicking ? "; in a panic" : "",
             d->reason == KPA_PANIC_HELD  ? ", where none are taken away"
             : d->reason == KPA_RATE_UP   ? "; as many more as one tick may add"
             : d->reason == KPA_RATE_DOWN ? "; as many fewer as one tick may take"
             : d->reason == KPA_DELAYED   ? "; fewer only after scale-down-delay"
                                          : "");
}

static void because(const struct kpa_config *c, const struct kpa_decision *d, char into[WHY_TEXT])
{
    char load[LOAD_TEXT];
    switch (d->reason) {
    case KPA_NO_DATA: snprintf(into, WHY_TEXT, "nothing was measured yet"); return;
    case KPA_STABLE:
    case KPA_PANIC:
    case KPA_PANIC_HELD:
    case KPA_RATE_UP:
    case KPA_RATE_DOWN:
    case KPA_DELAYED: by_tick(c, d, into); return;
    case KPA_ACTIVATION:
        load_text(c, d, d->panicking, load);
        snprintf(into, WHY_TEXT, "activation-scale, with %s", load);
        return;
    case KPA_MIN:
    case KPA_MAX:
        load_text(c, d, d->panicking, load);
        snprintf(into, WHY_TEXT, "%s-scale; %d for %s", d->reason == KPA_MIN ? "min" : "max", MAX(d->desired, 0), load);
        return;
    case KPA_INITIAL: snprintf(into, WHY_TEXT, "initial-scale, which was not reached yet"); return;
    case KPA_LAST:
        if (c->to_zero)
            snprintf(into, WHY_TEXT, "no load, but active for less than the window of %u s", c->window_s);
        else
            snprintf(into, WHY_TEXT, "no load, and the limit scale_to_zero is 0");
        return;
    case KPA_RETAINED:
        snprintf(into, WHY_TEXT, "no load; scale-to-zero-pod-retention-period of %g s", seconds(c->retention_us));
        return;
    case KPA_STARTING: snprintf(into, WHY_TEXT, "no load any more, but the start that was asked for is not over"); return;
    case KPA_TIMED_OUT:
        snprintf(into, WHY_TEXT, "none became ready within %g s; the next request tries again",
                 seconds(c->activation_deadline_us));
        return;
    case KPA_URGENT: snprintf(into, WHY_TEXT, "requests waited and no instance had room"); return;
    case KPA_IN_FLIGHT: snprintf(into, WHY_TEXT, "a request is in flight, too little for the metric"); return;
    case KPA_REASONS: break;
    }
    UNREACHABLE("no such reason");
}

void kpa_explain(const struct kpa_config *c, const struct kpa_decision *d, char into[KPA_TEXT])
{
    char why[WHY_TEXT];
    because(c, d, why);
    snprintf(into, KPA_TEXT, "%u instance%s wanted: %s", d->apply, d->apply == 1 ? "" : "s", why);
}
