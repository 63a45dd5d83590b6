/* Whatever cron string is taken is one that calendar_open() takes too (or an interval that it names), and whose moments go forward. */
#include "workflow/calendar_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct err e = { 0 };
    struct calendar_text t = { 0 };
    AUTO(calendar) struct calendar *c = NULL;
    int64_t after = INT64_C(1767323045000);
    struct calendar_time next;
    if (calendar_text_cron((struct str){ (const char *)in, size }, &t, &e) < 0) {
        ASSERT(e.code == CODE_INVALID && e.text[0]);
        return 0;
    }
    struct calendar_spec s = { .calendars = &t.ranges, .calendar_count = !t.is_interval, .intervals = &t.interval,
                               .interval_count = t.is_interval, .start_ms = INT64_MIN, .end_ms = INT64_MAX,
                               .jitter_ms = (int64_t)size * 1000 };
    int r = calendar_open(&s, NULL, &c, &e);
    ASSERT(r == 0 || t.is_interval);
    for (int i = 0; r == 0 && i < 5 && calendar_next(c, STR("x"), after, &next) == CALENDAR_FOUND; i++) {
        ASSERT(next.nominal_ms > after && next.actual_ms >= next.nominal_ms);
        after = next.nominal_ms;
    }
    calendar_text_done(&t);
    return 0;
}
