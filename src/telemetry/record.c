#include "telemetry/record.h"

static const char *const names[] = {
    [INVOCATION_OK] = "ok",
    [INVOCATION_FUNCTION_ERROR] = "function_error",
    [INVOCATION_REFUSED] = "refused",
    [INVOCATION_TIMEOUT] = "timeout",
    [INVOCATION_CLIENT_GONE] = "client_gone",
    [INVOCATION_FAILED] = "failed",
};
_Static_assert(COUNT_OF(names) == INVOCATION_OUTCOMES, "every outcome has a name");

const char *invocation_outcome_name(enum invocation_outcome o)
{
    ASSERT((unsigned)o < COUNT_OF(names));
    return names[o];
}

static size_t phases_append(const struct start_record *s, struct interval *into, size_t n)
{
    for (unsigned p = 0; p < PHASES; p++) {
        const struct phase_mark *m = &s->phases[p];
        if (m->outcome == PHASE_ABSENT || m->outcome == PHASE_OPEN || m->duration_us <= 0 ||
            p == PHASE_READY || p == PHASE_FIRST_REQUEST_DELTA)
            continue;
        uint64_t start_us = s->begin_us + m->start_us;
        into[n++] = (struct interval){ start_us, start_us + (uint64_t)m->duration_us };
    }
    for (uint32_t k = 0; k < s->beside_count; k++) {
        const struct phase_mark *m = &s->besides[k].mark;
        uint64_t start_us = s->begin_us + m->start_us;
        if (m->outcome != PHASE_ABSENT && m->outcome != PHASE_OPEN && m->duration_us > 0)
            into[n++] = (struct interval){ start_us, start_us + (uint64_t)m->duration_us };
    }
    return n;
}

uint32_t record_coverage_permille(const struct invocation_record *r)
{
    struct interval in[PHASES + START_BESIDES_MAX + 3];
    size_t n = 0;
    uint64_t first_byte_us = r->arrival_us + r->first_byte_us;
    uint64_t dispatch_us = r->arrival_us + r->dispatch_us;
    if (r->first_byte_us == 0)
        return 0;
    in[n++] = (struct interval){ r->arrival_us, r->arrival_us + r->queue_us };
    in[n++] = (struct interval){ dispatch_us, first_byte_us };
    if (r->has_start) {
        const struct phase_mark *ready = &r->start.phases[PHASE_READY];
        if (ready->outcome != PHASE_ABSENT)
            in[n++] = (struct interval){ r->start.begin_us + ready->start_us, dispatch_us };
        n = phases_append(&r->start, in, n);
    }
    ASSERT(n <= COUNT_OF(in));
    uint64_t covered = interval_union(in, n, r->arrival_us, first_byte_us);
    return (uint32_t)(covered * 1000 / r->first_byte_us);
}
