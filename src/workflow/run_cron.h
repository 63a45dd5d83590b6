/* run_cron.h -- when a workflow with a cron schedule begins next.
 *
 * Receives the schedule as its client wrote it, the zone's rules, and times. Owns nothing, emits nothing: it decides.
 * Refuses schedules that cannot be read (run_cron_check()). Pure. */
#pragma once

#include "workflow/run_impl.h"

int run_cron_check(const char *schedule, struct err *e) MUST_USE;
/* Both can be read, and name the same zone, or none: the rules that the run was started with are those of both. */
bool run_cron_same_zone(const char *a, const char *b);
struct str run_cron_zone(const Ws__Run *s); /* the rules that it was started with; empty: UTC */
/* From now, whole seconds up. `scheduled_ns`: when the last one was to begin; in the future: that is when. false:
 * never again. */
bool run_cron_delay(const char *schedule, struct str zone, int64_t scheduled_ns, int64_t now_ns,
                    int64_t *ret_delay_ns);
