/* exposition.h -- writes Prometheus' text format 0.0.4: families, samples, escaping.
 *
 * Receives values in base units (seconds, bytes); owns nothing; emits into the caller's buf, whose
 * maximum bounds the page (ask buf->overflow at the end). All samples of a family must follow its
 * header: that order is the caller's part. */
#pragma once

#include "base/buf.h"

/* type: "counter", "gauge", "histogram". */
void exposition_family(struct buf *b, const char *name, const char *type, const char *help);

struct exposition_label {
    const char *name, *value;
};
enum { EXPOSITION_LABELS_MAX = 4 };
struct exposition_labels {
    struct exposition_label at[EXPOSITION_LABELS_MAX]; /* ends at the first without a name */
};
/* suffix: "" or "_total" …; the sample's name is name + suffix. */
void exposition_sample(struct buf *b, const char *name, const char *suffix,
                       struct exposition_labels labels, double value);

/* Counts of microseconds under fixed bounds, exact at the bounds; exposed in seconds. */
enum { BUCKETS = 14 };
struct buckets {
    uint64_t sum_us, count;
    uint32_t at[BUCKETS]; /* not cumulative; what exceeds the last bound is in `count` alone */
};
extern const uint32_t buckets_invoke_us[BUCKETS]; /* OpenTelemetry's advice for faas durations */
extern const uint32_t buckets_phase_us[BUCKETS];  /* 100 µs to 2 min */
void buckets_add(struct buckets *h, const uint32_t bounds_us[static BUCKETS], uint64_t value_us);
void exposition_buckets(struct buf *b, const char *name, struct exposition_labels labels,
                        const struct buckets *h, const uint32_t bounds_us[static BUCKETS]);
