/* instance_needs.h -- what a start waits for before its sandbox is filled: ConfigMaps and Secrets, the image, the models.
 *
 * Receives the revision's references, and what the artifact store tells of them. Owns nothing: uses and config are the
 * instance's. Emits instance_begin_if_all() and instance_ready_if_all() when one more is there, instance_fail() when one
 * cannot be. Refuses more models than one instance may mount, and an origin that changed between two first readers. */
#pragma once

#include "instance/instance_impl.h"

/* What the objects say now, asked for before the gigabytes of a model come. False: the start failed. */
bool instance_needs_configs(struct instance *i);
/* A start that had everything takes what it just saw; one that waited for a fetch looks again. False: the start failed. */
bool instance_needs_refresh(struct instance *i);
/* Asks for the image and each model. What was resolved once stays what runs, whatever its origin says now. */
void instance_needs_artifacts(struct instance *i);

bool instance_needs_present(const struct instance_internals *in);
uint64_t instance_needs_present_us(const struct instance_internals *in); /* when the last of them was */
bool instance_needs_verified(const struct instance_internals *in);
