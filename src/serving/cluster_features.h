/* cluster_features.h -- what of Knative may be switched on and off: the ConfigMap config-features in namespace knative-serving.
 *
 * Receives its data and the limits. Emits the limits feature_*, which say what a manifest and a request may use. Refuses
 * values that are none, what hob cannot do and is to be switched on, and what hob always does and is to be switched off:
 * who reads the map is to find in it what holds. Keys that Knative does not have are no matter of it. Pure.
 *
 * What a cluster of Knative has off at first and hob can do is on here until the map says otherwise. */
#pragma once

#include "base/limits.h"
#include "codec/json.h"
#include "serving/refusals.h"

#define FEATURES_MAP "config-features"

bool cluster_features_known(const char *key);
void cluster_features_read(const json_t *data, struct limits *into, struct refusals *refused);
