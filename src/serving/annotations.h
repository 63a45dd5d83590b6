/* annotations.h -- the annotations that mean something on a Revision's template: one table.
 *
 * Receives the annotations of spec.template.metadata. Emits typed values, defaults where absent; refuses
 * what Knative refuses, in its words, and unknown keys under hob.dev/. Warns of keys that look like
 * Knative's and are none, and of autoscalers that hob does not have.
 */
#pragma once

#include "codec/json.h"
#include "serving/refusals.h"

#include <stdio.h>

enum annotation {
    ANNOTATION_CLASS,
    ANNOTATION_METRIC,
    ANNOTATION_TARGET,
    ANNOTATION_UTILIZATION,
    ANNOTATION_WINDOW,
    ANNOTATION_PANIC_WINDOW,
    ANNOTATION_PANIC_THRESHOLD,
    ANNOTATION_BURST_CAPACITY,
    ANNOTATION_MIN_SCALE,
    ANNOTATION_MAX_SCALE,
    ANNOTATION_INITIAL_SCALE,
    ANNOTATION_ACTIVATION_SCALE,
    ANNOTATION_SCALE_DOWN_DELAY,
    ANNOTATION_RETENTION,
    ANNOTATION_AGGREGATION,
    ANNOTATION_PROGRESS_DEADLINE,
    ANNOTATION_QUEUE_DEPTH,
    ANNOTATION_START_BUDGET,
    ANNOTATION_START_BUDGET_PERCENTILE,
    ANNOTATION_TASK_QUEUE,
    ANNOTATION_TASK_QUEUE_NAMESPACE,
    ANNOTATION_IMAGE_DIGEST,
    ANNOTATION_IDEMPOTENT,
    ANNOTATION_DURABLE_EVENTS,
    ANNOTATION_CHECKPOINTS,
    ANNOTATION_ATTEMPTS_MAX,
    ANNOTATION_BACKOFF,
    ANNOTATION_BACKOFF_MAX,
    ANNOTATION_RESULT_RETENTION,
    ANNOTATION_CALLBACK,
    ANNOTATION_CALLBACK_HOSTS,
    ANNOTATION_CALLBACK_SECRET,
    ANNOTATIONS,
};

#define AUTOSCALING_GROUP "autoscaling.knative.dev"

/* `at`: the path of the annotations, put in front of each key. */
void annotations_check(const json_t *annotations, const char *at, const struct limits *l,
                       struct refusals *refused, struct refusals *warnings);

/* After a check that refused nothing. The default where it is absent; -1: absent and without one. */
double annotation_number(const json_t *annotations, enum annotation a); /* counts, percentages */
int64_t annotation_ns(const json_t *annotations, enum annotation a);
const char *annotation_text(const json_t *annotations, enum annotation a); /* NULL: absent */
const char *annotation_key(enum annotation a);

void annotations_document(FILE *out);
