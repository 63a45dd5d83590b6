#include "telemetry/exposition.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const uint32_t buckets_invoke_us[BUCKETS] = { 5000,    10000,   25000,   50000,   75000,
                                              100000,  250000,  500000,  750000,  1000000,
                                              2500000, 5000000, 7500000, 10000000 };
const uint32_t buckets_phase_us[BUCKETS] = { 100,     500,     1000,     2500,     5000,
                                             10000,   25000,   50000,    100000,   250000,
                                             1000000, 5000000, 30000000, 120000000 };

static void escaped(struct buf *b, const char *text, bool quote)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\\')
            buf_text(b, "\\\\");
        else if (*p == '\n')
            buf_text(b, "\\n");
        else if (*p == '"' && quote)
            buf_text(b, "\\\"");
        else
            buf_append(b, p, 1);
    }
}

void exposition_family(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s ", name);
    escaped(b, help, false);
    buf_printf(b, "\n# TYPE %s %s\n", name, type);
}

/* 17 digits bring any double back; the shortest that does is what people want to read. */
static void number(struct buf *b, double value)
{
    if (isnan(value) || isinf(value)) {
        buf_text(b, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buf_text(b, text);
}

void exposition_sample(struct buf *b, const char *name, const char *suffix,
                       struct exposition_labels labels, double value)
{
    buf_text(b, name);
    buf_text(b, suffix);
    for (int i = 0; i < EXPOSITION_LABELS_MAX && labels.at[i].name; i++) {
        buf_printf(b, "%c%s=\"", i ? ',' : '{', labels.at[i].name);
        escaped(b, labels.at[i].value, true);
        buf_text(b, "\"");
    }
    buf_text(b, labels.at[0].name ? "} " : " ");
    number(b, value);
    buf_text(b, "\n");
}

void buckets_add(struct buckets *h, const uint32_t bounds_us[static BUCKETS], uint64_t value_us)
{
    h->count++;
    h->sum_us += value_us;
    for (int i = 0; i < BUCKETS; i++) {
        if (value_us <= bounds_us[i]) {
            h->at[i]++;
            return;
        }
    }
}

void exposition_buckets(struct buf *b, const char *name, struct exposition_labels labels,
                        const struct buckets *h, const uint32_t bounds_us[static BUCKETS])
{
    int last = 0;
    while (last < EXPOSITION_LABELS_MAX && labels.at[last].name)
        last++;
    ASSERT(last < EXPOSITION_LABELS_MAX);
    struct exposition_labels with_bound = labels;
    uint64_t below = 0;
    char bound[32];
    for (int i = 0; i < BUCKETS; i++) {
        below += h->at[i];
        snprintf(bound, sizeof bound, "%g", bounds_us[i] / 1e6);
        with_bound.at[last] = (struct exposition_label){ "le", bound };
        exposition_sample(b, name, "_bucket", with_bound, (double)below);
    }
    with_bound.at[last] = (struct exposition_label){ "le", "+Inf" };
    exposition_sample(b, name, "_bucket", with_bound, (double)h->count);
    exposition_sample(b, name, "_sum", labels, (double)h->sum_us / 1e6);
    exposition_sample(b, name, "_count", labels, (double)h->count);
}
