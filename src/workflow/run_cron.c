#include "workflow/run_cron.h"
#include "codec/cron.h"

#include <string.h>

int run_cron_check(const char *schedule, struct err *e)
{
    struct cron cron;
    return cron_parse(str_of(schedule), &cron, e);
}

bool run_cron_same_zone(const char *a, const char *b)
{
    struct cron one = { 0 }, other = { 0 };
    struct err e;
    return (run_empty(a) || cron_parse(str_of(a), &one, &e) == 0) &&
           (run_empty(b) || cron_parse(str_of(b), &other, &e) == 0) && !strcmp(one.zone, other.zone);
}

struct str run_cron_zone(const Ws__Run *s) { return proto_bytes(&s->cron_zone); }

static int64_t seconds_down(int64_t ns) { return ns / RUN_SECOND - (ns % RUN_SECOND < 0); }

bool run_cron_delay(const char *schedule, struct str zone, int64_t scheduled_ns, int64_t now_ns,
                    int64_t *ret_delay_ns)
{
    AUTO(zone) struct zone *z = NULL;
    struct cron cron;
    struct err e;
    int64_t next_s;
    if (cron_parse(str_of(schedule), &cron, &e) < 0 || (zone.size && zone_parse(zone, &z, &e) < 0))
        return false;
    if (now_ns < scheduled_ns) {
        next_s = seconds_down(scheduled_ns);
    } else if (cron.every_s > 0) {
        /* The first multiple after now, counted from the last one. */
        int64_t last_s = seconds_down(scheduled_ns), passed_s = seconds_down(now_ns) - last_s;
        next_s = last_s + (passed_s / cron.every_s + 1) * cron.every_s;
    } else if (!cron_next(&cron, z, seconds_down(now_ns), &next_s)) {
        return false;
    }
    int64_t delay_ns = next_s * RUN_SECOND - now_ns;
    *ret_delay_ns = (delay_ns + RUN_SECOND - 1) / RUN_SECOND * RUN_SECOND;
    return true;
}
