#include "gateway/timing.h"

/* "12.345", as printf's %.3f of microseconds would; in the path of every request. */
static void ms_write(struct buf *b, uint64_t us)
{
    char text[32];
    char *at = text + sizeof text;
    for (int digit = 0; digit < 3; digit++, us /= 10)
        *--at = (char)('0' + us % 10);
    *--at = '.';
    do
        *--at = (char)('0' + us % 10);
    while ((us /= 10) > 0);
    buf_append(b, at, (size_t)(text + sizeof text - at));
}

static void entry_write(struct buf *b, bool *first, const char *name, uint64_t us)
{
    if (!*first)
        buf_str_append(b, STR(", "));
    *first = false;
    buf_text(b, name);
    buf_str_append(b, STR(";dur="));
    ms_write(b, us);
}

/* The gateway measures these itself; a start record's own marks of them are about its first request. */
static bool phase_is_of_start(enum phase p)
{
    return p != PHASE_QUEUE && p != PHASE_READY && p != PHASE_FIRST_REQUEST_DELTA;
}

static bool mark_is_over(const struct phase_mark *m)
{
    return m->outcome == PHASE_DONE || m->outcome == PHASE_WARM || m->outcome == PHASE_FAILED;
}

static void start_write(struct buf *b, bool *first, const struct start_record *start)
{
    for (unsigned p = 0; p < PHASES; p++) {
        const struct phase_mark *m = &start->phases[p];
        if (!phase_is_of_start((enum phase)p) || !mark_is_over(m))
            continue;
        entry_write(b, first, phase_name((enum phase)p), (uint64_t)MAX(m->duration_us, 0));
        if (m->outcome == PHASE_WARM)
            buf_str_append(b, STR(";desc=\"warm\""));
    }
}

static uint64_t span_us(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? to_us - from_us : 0;
}

void timing_write(struct buf *b, const struct timing *t)
{
    bool first = true;
    buf_str_append(b, STR("Server-Timing: "));
    if (t->start) {
        entry_write(b, &first, "queue", span_us(t->arrival_us, t->start->begin_us));
        start_write(b, &first, t->start);
        entry_write(b, &first, "ready", span_us(MAX(t->ready_us, t->arrival_us), t->dispatch_us));
    } else {
        entry_write(b, &first, "queue",
                    span_us(t->arrival_us, t->dispatch_us ? t->dispatch_us : t->now_us));
    }
    if (t->dispatch_us)
        entry_write(b, &first, "handler", span_us(t->dispatch_us, t->now_us));
    buf_str_append(b, STR("\r\n"));
}

static const char *cache_verdict(enum cache_state s)
{
    switch (s) {
    case CACHE_HIT: return "hit";
    case CACHE_MISS: return "fwd=miss";
    case CACHE_PARTIAL: return "fwd=partial";
    case CACHE_UNKNOWN:
    case CACHE_NONE: break;
    }
    return NULL;
}

void timing_write_caches(struct buf *b, const struct timing *t)
{
    if (t->dispatch_us && !t->start)
        buf_str_append(b, STR("Cache-Status: hob-instance; hit"));
    else
        buf_str_append(b, STR("Cache-Status: hob-instance; fwd=miss"));
    for (unsigned i = 0; t->start && i < CACHES; i++) {
        const char *verdict = cache_verdict(t->start->caches[i]);
        if (verdict)
            buf_printf(b, ", hob-%s; %s", cache_name((enum cache)i), verdict);
    }
    buf_str_append(b, STR("\r\n"));
}

uint32_t timing_coverage_permille(const struct timing *t)
{
    struct interval in[PHASES + START_BESIDES_MAX + 3];
    size_t n = 0;
    if (!t->start || t->now_us <= t->arrival_us)
        return 1000;
    in[n++] = (struct interval){ t->arrival_us, t->start->begin_us };
    for (unsigned p = 0; p < PHASES; p++) {
        const struct phase_mark *m = &t->start->phases[p];
        if (phase_is_of_start((enum phase)p) && mark_is_over(m) && m->duration_us > 0)
            in[n++] = (struct interval){ m->start_us, m->start_us + (uint64_t)m->duration_us };
    }
    for (uint32_t k = 0; k < t->start->beside_count; k++) {
        const struct phase_mark *m = &t->start->besides[k].mark;
        if (mark_is_over(m))
            in[n++] = (struct interval){ m->start_us, m->start_us + (uint64_t)m->duration_us };
    }
    if (t->dispatch_us) {
        in[n++] = (struct interval){ t->ready_us, t->dispatch_us };
        in[n++] = (struct interval){ t->dispatch_us, t->now_us };
    }
    for (size_t i = 0; i < n; i++)
        in[i].end_us = MAX(in[i].end_us, in[i].start_us);
    uint64_t covered_us = interval_union(in, n, t->arrival_us, t->now_us);
    return (uint32_t)(covered_us * 1000 / (t->now_us - t->arrival_us));
}
