/* pod_config.h -- the rules of what a container takes from ConfigMaps and Secrets.
 *
 * Receives parts of a pod after manifest_apply() found nothing wrong with their types, and the path of each as the
 * person wrote it. Emits refusals in Knative's words, and where Knative leaves it to Kubernetes, in Kubernetes'.
 * Whether the objects are there is no matter here: that is asked when an instance starts (config.h). Pure.
 */
#pragma once

#include "codec/json.h"
#include "serving/refusals.h"

void pod_config_env_check(const json_t *env_var, const char *path, struct refusals *refused);
void pod_config_env_from_check(const json_t *env_from, const char *path, struct refusals *refused); /* the list */
void pod_config_volume_check(const json_t *volume, const char *path, struct refusals *refused);
/* volume: the one it mounts, or NULL. */
void pod_config_sub_path_check(const json_t *mount, const json_t *volume, const char *path, struct refusals *refused);
